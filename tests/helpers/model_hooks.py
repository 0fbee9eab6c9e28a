"""Hooks and events as simple as can be: one thread, one list of hooks, nothing compiled."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from contextlib import suppress
from typing import Any, Optional

from nitro_dispatch import HookError, StopPropagation
from scripted import Behaviour

FAULTS = (Exception, SystemExit)


class Imitation(Behaviour):
    """A plugin of a model; a subclass for each model has that as an attribute."""

    hooks: ModelOfHooks
    is_alive = False
    _enabled = False

    @property
    def enabled(self) -> bool:
        return self._enabled

    @enabled.setter
    def enabled(self, value: bool) -> None:
        self._enabled = value

    def register_hook(self, event: str, callback: Any, priority: int) -> None:
        self.hooks.register_hook(event, callback, self, priority)

    def unregister_hook(self, event: str, callback: Any) -> bool:
        mine = self.hooks.of(self)
        found = [hook for hook in mine if (hook.event, hook.call) == (event, callback)]
        self.hooks.remove(found)
        return bool(found)


class Hook:
    """One registered hook."""

    def __init__(self, event: str, call: Any, owner: Any, priority: int, place: int) -> None:
        self.event, self.call, self.owner = event, call, owner
        self.priority, self.place = priority, place
        self.name = call.__name__
        self.is_async = owner is not None and owner.spec.is_async(self.name)

    @property
    def is_on(self) -> bool:
        return self.owner is None or bool(self.owner.enabled)

    def hears(self, event: str) -> bool:
        pattern = re.escape(self.event).replace(r"\*\*", ".+").replace(r"\*", "[^.]+")
        return re.fullmatch(pattern, event) is not None

    def answer(self, data: Any, event: str) -> Any:
        answer = self.call(data, event)
        if not self.is_async:
            return answer
        try:
            answer.send(None)
        except StopIteration as end:
            return end.value


class ModelOfHooks:
    """What a manager does with hooks and events."""

    def __init__(self) -> None:
        self._hooks: list[Hook] = []
        self._places = 0
        self._under_way: list[list[Optional[Hook]]] = []
        self._strategy = "log_and_continue"
        self._keeps_account = False
        self._errors: list[list[dict[str, Any]]] = []
        self._last_errors: list[dict[str, Any]] = []

    # -- who listens

    def register_hook(self, event: str, call: Any, plugin: Any = None, priority: int = 50) -> None:
        self._places += 1
        self._hooks.append(Hook(event, call, plugin, priority, self._places))

    def of(self, owner: Imitation) -> list[Hook]:
        return [hook for hook in self._hooks if hook.owner is owner]

    def get_events(self) -> list[str]:
        return list(dict.fromkeys(hook.event for hook in self._hooks))

    def remove(self, hooks: list[Hook]) -> None:
        self._hooks = [hook for hook in self._hooks if hook not in hooks]
        self.put_in_place(hooks, None)

    def put_in_place(self, hooks: list[Hook], heir: Optional[Hook]) -> None:
        """Put another hook, or none, in the place of some in the dispatches under way."""
        for chain in self._under_way:
            chain[:] = [heir if hook in hooks else hook for hook in chain]

    def exchange(self, old: Imitation, new: Imitation) -> None:
        """Let each new hook take the place of the old one of the same event and name."""
        new._enabled = old._enabled
        heirs = self.of(new)
        for hook in self.of(old):
            same = [heir for heir in heirs if (heir.event, heir.name) == (hook.event, hook.name)]
            if same:
                heirs.remove(same[0])
                same[0].place = hook.place
                self.put_in_place([hook], same[0])
            self.remove([hook])

    # -- events

    def trigger(self, event: str, data: Any = None) -> Any:
        return self._last(data, self._answers(event, data, flows=True))

    async def trigger_async(self, event: str, data: Any = None) -> Any:
        return self._last(data, self._answers(event, data, flows=True, is_async=True))

    def collect(self, event: str, data: Any = None) -> list[tuple[str, str, Any]]:
        answers = self._answers(event, data)
        return [(hook.owner.name, hook.name, answer) for hook, answer in answers]

    def first(self, event: str, data: Any = None) -> Any:
        return next((answer for _, answer in self._answers(event, data)), None)

    @staticmethod
    def _last(data: Any, answers: Iterable[tuple[Hook, Any]]) -> Any:
        return [data, *(answer for _, answer in answers)][-1]

    def notify(self, what: str, **data: str) -> None:
        """Tell of something that the manager has done: what fails now changes nothing."""
        for _ in self._answers(f"nitro.plugin.{what}", data, matters=False):
            pass

    def _answers(
        self,
        event: str,
        data: Any,
        *,
        flows: bool = False,
        is_async: bool = False,
        matters: bool = True,
    ) -> Iterator[tuple[Hook, Any]]:
        """Call the hooks of an event, and give those that answered, with the answer."""
        in_order = sorted(self._hooks, key=lambda hook: (-hook.priority, hook.place))
        may_run = [hook for hook in in_order if hook.is_on and (is_async or not hook.is_async)]
        chain: list[Optional[Hook]] = [hook for hook in may_run if hook.hears(event)]
        self._under_way.append(chain)
        keeps_account = matters and self._keeps_account
        self._errors += [[]] if keeps_account else []
        try:
            for place in range(len(chain)):
                hook = chain[place]
                if hook is None or not hook.is_on or (hook.is_async and not is_async):
                    continue
                try:
                    answer = hook.answer(data, event)
                except StopPropagation:
                    return
                except FAULTS as error:
                    # One that has reloaded its own plugin fails as the new one.
                    failed = chain[place] or hook
                    self._failed(failed, event, error, self._strategy if matters else "")
                    continue
                if answer is not None:
                    data = answer if flows else data
                    yield hook, answer
        finally:
            self._under_way.pop()
            errors = self._errors.pop() if keeps_account else []
            if keeps_account and not self._errors:
                self._last_errors = errors

    def _failed(self, hook: Hook, event: str, error: BaseException, strategy: str) -> None:
        if strategy == "collect_all":
            entry = {"plugin": hook.owner.name, "error": error, "event": event}
            self._errors[-1].append(entry)
        with suppress(*FAULTS):
            hook.owner.on_error(error)
        if strategy == "fail_fast":
            raise HookError

    def set_error_strategy(self, strategy: str) -> None:
        self._strategy = strategy
        # From then on, in the dispatches that begin.
        self._keeps_account |= strategy == "collect_all"

    def get_last_errors(self) -> list[dict[str, Any]]:
        return self._last_errors
