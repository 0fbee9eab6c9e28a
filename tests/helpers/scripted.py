"""Plugins that do what they are told, alike for a manager and for the model of one."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Callable, ClassVar

from nitro_dispatch import PluginBase, StopPropagation, hook

# So deep plugins do something that makes other plugins do something, and so often at one operation.
_DEEPEST = 2
_OFTENEST = 20

Operation = tuple[Any, ...]
"""The name of a method of a manager, or of `Behaviour` after a plugin's name, and arguments."""


@dataclass(frozen=True)
class Listener:
    """One hook of a plugin; a `late` one is registered in `on_load`."""

    event: str
    priority: int = 50
    answer: str = "adds"
    is_async: bool = False
    late: bool = False


@dataclass(frozen=True)
class Spec:
    """What a plugin's class says of it."""

    name: str
    version: str = "1.0"
    needs: tuple[str, ...] = ()
    uses: tuple[str, ...] = ()
    listeners: tuple[Listener, ...] = ()

    def is_async(self, method: str) -> bool:
        return self.listeners[int(method[len("hook") :])].is_async

    def source(self) -> str:
        """Write the class, for a namespace that has `Base`, `Listener`, `Spec` and `hook`."""
        lines = [
            f"class {self.name.title()}(Base):",
            f"    name = {self.name!r}",
            f"    version = {self.version!r}",
            f"    dependencies = {list(self.needs)!r}",
            f"    optional_dependencies = {list(self.uses)!r}",
            f"    spec = {self!r}",
        ]
        for place, listener in enumerate(self.listeners):
            mark = f"    @hook({listener.event!r}, priority={listener.priority})"
            lines += [] if listener.late else [mark]
            lines.append(f"    {'async ' * listener.is_async}def hook{place}(self, data, event):")
            lines.append(f"        return self.answer({place}, data, event)")
        return "\n".join(lines) + "\n"


class Orders:
    """What plugins are told: faults and operations, by a plugin's name and a place in its code."""

    def __init__(self) -> None:
        self.faults: dict[tuple[str, str], type[BaseException]] = {}
        self.acts: dict[tuple[str, str], Operation] = {}
        self.probing = False


class Side:
    """One of two managers that get the same orders, and what its plugins wrote down.

    Args:
        orders: What the plugins are told.
        manager: The manager.
        base: What the plugins inherit from.
    """

    def __init__(self, orders: Orders, manager: Any, base: type[Behaviour]) -> None:
        self.orders = orders
        self.manager = manager
        self.journal: list[object] = []
        self.births = itertools.count()
        self._base = base
        self._depth = 0
        self._acted = 0
        base.side = self
        manager.register_hook("nitro.plugin.*", self.hear, priority=1000)

    def make(self, spec: Spec) -> Any:
        """Make a class that cannot be read again, for it is in no file."""
        names = {"Listener": Listener, "Spec": Spec, "hook": hook, "Base": self._base}
        exec(spec.source(), names)
        return names[spec.name.title()]

    def outcome(self, operation: Operation) -> object:
        """Do something, and tell what it gave, or the type of what it raised."""
        self._acted *= self._depth > 0
        try:
            return _plain(self._do(*operation))
        except (Exception, SystemExit) as error:
            return type(error)

    def _do(self, action: str, *arguments: Any) -> object:
        if action == "register":
            return self.manager.register(self.make(*arguments))
        if action == "trigger_async":
            return asyncio.run(self.manager.trigger_async(*arguments))
        if action in ("listen", "ignore", "switch"):
            plugin = self.manager.get_plugin(arguments[0])
            return plugin and getattr(plugin, action)(*arguments[1:])
        return getattr(self.manager, action)(*arguments)

    def enter(self, plugin: Behaviour, place: str, *details: object) -> None:
        """Write down that code of a plugin runs, and let it do what it is told to do there."""
        if self.orders.probing:
            return
        key = (plugin.name, place)
        self.journal.append((*key, plugin.number, plugin.enabled, *details))
        if key in self.orders.acts and self._depth < _DEEPEST and self._acted < _OFTENEST:
            self._acted += 1
            with self._deeper():
                self.journal.append(("did", *key, self.outcome(self.orders.acts[key])))
        if key in self.orders.faults:
            raise self.orders.faults[key](place)

    @contextmanager
    def _deeper(self) -> Iterator[None]:
        self._depth += 1
        try:
            yield
        finally:
            self._depth -= 1

    def hear(self, data: dict[str, str], event: str) -> None:
        """Write down an event of the manager's own, in which the texts of errors may differ."""
        told = {key: value for key, value in data.items() if key != "error"}
        self.journal.append((event, told))

    def probe(self, event: str) -> object:
        """Fire an event at which every hook only adds its name: tell who is called."""
        self.orders.probing = True
        try:
            return self.outcome(("trigger", event, ()))
        finally:
            self.orders.probing = False


class Behaviour:
    """The code of all plugins; what they are a subclass of besides provides the rest."""

    side: ClassVar[Side]
    spec: ClassVar[Spec]
    name: str
    enabled: bool
    register_hook: Callable[..., None]
    unregister_hook: Callable[..., bool]

    def __init__(self) -> None:
        self.number = next(self.side.births)
        self.side.enter(self, "init")

    def on_load(self) -> None:
        for place, listener in enumerate(self.spec.listeners):
            if listener.late:
                self.listen(place)
        self.side.enter(self, "on_load")

    def on_unload(self) -> None:
        self.side.enter(self, "on_unload")

    def dump_state(self) -> object:
        self.side.enter(self, "dump_state")
        return self.number

    def restore_state(self, state: object) -> None:
        self.side.enter(self, "restore_state", state)

    def on_error(self, error: BaseException) -> None:
        self.side.enter(self, "on_error", type(error))

    def answer(self, place: int, data: Any, event: str) -> Any:
        """Answer an event in the way of one of the hooks."""
        told = {**data, "error": ""} if isinstance(data, dict) else data
        self.side.enter(self, "hook", place, event, told)
        answer = "adds" if self.side.orders.probing else self.spec.listeners[place].answer
        if answer == "stops":
            raise StopPropagation
        if answer == "passes" or not isinstance(data, tuple):
            return None
        return (*data, f"{self.name}{self.number}.{place}")

    def listen(self, place: int) -> None:
        """Register a hook once more."""
        if place < len(self.spec.listeners):
            listener = self.spec.listeners[place]
            callback = getattr(self, f"hook{place}")
            self.register_hook(listener.event, callback, priority=listener.priority)

    def ignore(self, place: int) -> None:
        """Take a hook out, however often it is registered."""
        if place < len(self.spec.listeners):
            self.unregister_hook(self.spec.listeners[place].event, getattr(self, f"hook{place}"))

    def switch(self, enabled: bool) -> None:
        """Enable or disable the plugin by the attribute."""
        self.enabled = enabled


class Real(Behaviour, PluginBase):
    """A plugin for the manager."""


def _plain(value: object) -> object:
    """Show a value without what differs between the two sides."""
    if isinstance(value, Behaviour):
        return (value.name, value.number)
    if isinstance(value, dict):
        return {key: _plain(each) for key, each in value.items()}
    return value
