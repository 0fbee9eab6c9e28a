"""The hook registry: who listens to which event."""

from __future__ import annotations

import itertools
from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import Any, Callable, Optional

from nitro_dispatch.callables import same_callable
from nitro_dispatch.dispatcher import ChainStore, Dispatcher, check_event_name
from nitro_dispatch.events import LIFECYCLE_EVENTS, PatternIndex, is_pattern
from nitro_dispatch.exceptions import shown
from nitro_dispatch.hooks import (
    DEFAULT_PRIORITY,
    HookImpl,
    LazyHook,
    Names,
    make_hook,
)
from nitro_dispatch.locks import fork_safe_lock
from nitro_dispatch.ordering import in_order
from nitro_dispatch.plugin import Switch, is_off, is_switched

__all__ = ["HookRegistry"]


class HookRegistry(Dispatcher):
    """Keeps the hooks of an application and fires its events; usable without any plugin.

    Example:
        >>> registry = HookRegistry()
        >>> registry.register("user.*", lambda data: {**data, "seen": True})
        >>> registry.trigger("user.login", {})
        {'seen': True}
    """

    def __init__(self) -> None:
        self._lock = fork_safe_lock()
        # A dict instead of a list: it keeps the order, and one of ten thousand is removed at once.
        self._hooks: dict[str, dict[HookImpl, None]] = {}
        # Lists take a third of the room: by the identity of their owner hooks go in one step.
        self._owned: dict[int, list[HookImpl]] = {}
        self._patterns = PatternIndex()
        self._order = itertools.count()
        super().__init__(ChainStore(self._active_hooks, self._hooks.__len__, self._lock))

    def register(
        self,
        event_name: str,
        callback: Callable[..., Any],
        plugin: Any = None,
        priority: float = DEFAULT_PRIORITY,
        timeout: Optional[float] = None,
        *,
        blocking: bool = True,
        atomic: bool = False,
        before: Names = (),
        after: Names = (),
    ) -> None:
        """Listen for an event.

        Args:
            event_name: The event, with wildcards if wanted.
            callback: What is called with the data.
            plugin: The owner of the hook, any object.
            priority: Higher runs earlier.
            timeout: The time limit in seconds, None for no limit.
            blocking: Whether `trigger_async` runs a sync callback in a worker thread.
            atomic: Whether the callback works on a copy of the data, which counts only if it
                succeeds.
            before: The plugins whose hooks of the same priority this one precedes.
            after: The plugins whose hooks of the same priority this one follows.

        Raises:
            TypeError: An argument has the wrong type.
            ValueError: An argument has the right type and a value that cannot be used.
        """
        hook = make_hook(
            event_name,
            callback,
            plugin=plugin,
            priority=priority,
            timeout=timeout,
            blocking=blocking,
            atomic=atomic,
            before=before,
            after=after,
        )
        self.add([hook])

    def add(self, hooks: Sequence[HookImpl]) -> None:
        """Take in hooks that are checked already, all of them in one step.

        Args:
            hooks: The hooks, in the order that they are to keep among equals.

        Raises:
            TypeError: One is no hook; none of them is taken in.
        """
        if not hooks:
            return
        for hook in hooks:
            if not isinstance(hook, HookImpl):
                raise TypeError(f"hooks must be a list of HookImpl objects; got {shown(hook)}")
        with self._lock:
            for hook in hooks:
                hook._place(next(self._order))
                self._insert(hook)
            self._forget(hooks)

    def unregister(self, event_name: str, callback: Callable[..., Any], plugin: Any = None) -> bool:
        """Listen for an event no longer; a dispatch under way does not call the hook any more.

        Args:
            event_name: The event or pattern, as registered.
            callback: What was registered for it.
            plugin: The owner that it was registered with, None if without one.

        Returns:
            Whether there was such a hook.

        Example:
            >>> registry = HookRegistry()
            >>> registry.register("user.login", print)
            >>> registry.unregister("user.login", print), registry.unregister("user.login", print)
            (True, False)
        """
        with self._lock:
            found = [
                hook
                for hook in self._hooks.get(event_name, ())
                if hook.plugin is plugin and same_callable(hook.callback, callback)
            ]
            return self._remove(found) > 0

    def unregister_plugin(self, plugin: Any) -> int:
        """Take out all hooks of an owner.

        Args:
            plugin: The owner.

        Returns:
            How many there were.
        """
        with self._lock:
            return self._remove(list(self._owned.get(id(plugin), ())))

    def clear_event(self, event_name: str) -> None:
        """Take out all hooks that were registered for an event.

        Args:
            event_name: The event or pattern, as registered.
        """
        with self._lock:
            self._remove(list(self._hooks.get(event_name, ())))

    def clear_all(self) -> None:
        """Take out all hooks."""
        with self._lock:
            self._remove([hook for hooks in self._hooks.values() for hook in hooks])

    def get_hooks(self, event_name: str) -> list[HookImpl]:
        """List the hooks of an event, those of matching patterns included.

        Args:
            event_name: The name of the event.

        Returns:
            The hooks in the order of their dispatch, those of disabled plugins included.

        Raises:
            TypeError: The name is not a string.
        """
        check_event_name(event_name)
        with self._lock:
            hooks = list(self._listeners(event_name))
        # Putting them in order may run code of their owners, which no lock is held for.
        return in_order(hooks)

    def get_all_events(self) -> list[str]:
        """List the events and patterns that have hooks, as registered."""
        with self._lock:
            return list(self._hooks)

    def hooks_of(self, owner: Any) -> list[HookImpl]:
        """List the hooks of an owner, in the order of their registration.

        Args:
            owner: The owner.

        Returns:
            Its hooks.
        """
        with self._lock:
            return list(self._owned.get(id(owner), ()))

    def exchange(self, pairs: Sequence[tuple[Switch, Switch]]) -> None:
        """Put owners in the place of others, in one step.

        A hook takes the place among equals of the one that it replaces, in a dispatch under way
        too, so that each runs as the old one or as the new one. The new owner is enabled exactly
        if the old one is.

        Args:
            pairs: The old and the new owner of each.
        """
        with self._lock:
            heirs: dict[HookImpl, Optional[HookImpl]] = {}
            for old, new in pairs:
                Switch._take_over(new, old)
                heirs.update(self._succession(old, new))
            self._take_out(heirs)
            self._store.compiler.exchange(heirs)
            self._store.clear()

    def owner_switched(self, owner: Any) -> None:
        """Hear that an owner was enabled or disabled.

        Args:
            owner: The owner.
        """
        with self._lock:
            hooks = self._owned.get(id(owner), ())
            if is_off(owner):
                self._store.compiler.silence(lambda hook: hook.plugin is owner)
            else:
                self._store.compiler.restore(hooks)
            self._forget(hooks)

    def _forget(self, hooks: Iterable[HookImpl]) -> None:
        """Forget the chains that hooks are or should be in."""
        self._store.forget({hook.event for hook in hooks})

    def _succession(self, old: Any, new: Any) -> Iterator[tuple[HookImpl, Optional[HookImpl]]]:
        """Give each hook of the new owner the place of the old one of the same event and name."""
        waiting: dict[tuple[str, str], list[HookImpl]] = {}
        for hook in self._owned.get(id(new), ()):
            waiting.setdefault((hook.event, hook.name), []).append(hook)
        for hook in self._owned.get(id(old), ()):
            heirs = waiting.get((hook.event, hook.name))
            if not heirs:
                yield hook, None
                continue
            heir = heirs.pop(0)
            heir._place(hook.order)
            yield hook, heir

    def _active_hooks(self, event_name: str) -> list[HookImpl]:
        """List the hooks to call for an event, in any order."""
        hooks = self._listeners(event_name)
        if event_name in LIFECYCLE_EVENTS:
            # The manager's own events do not wake a plugin that listens to everything.
            hooks = (
                hook for hook in hooks if not isinstance(hook, LazyHook) or hook.event == event_name
            )
        return [hook for hook in hooks if not is_off(hook.plugin)]

    def _listeners(self, event_name: str) -> Iterator[HookImpl]:
        # The text of a pattern is a name as well, which need not be one that the pattern matches.
        if not is_pattern(event_name):
            yield from self._hooks.get(event_name, ())
        for pattern in self._patterns.match(event_name):
            yield from self._hooks[pattern]

    def _insert(self, hook: HookImpl) -> None:
        if hook.event not in self._hooks:
            self._hooks[hook.event] = {}
            if is_pattern(hook.event):
                self._patterns.add(hook.event)
        self._hooks[hook.event][hook] = None
        if hook.plugin is None:
            return
        self._owned.setdefault(id(hook.plugin), []).append(hook)
        if is_switched(hook.plugin):
            Switch._attach(hook.plugin, self)

    def _take_out(self, hooks: Collection[HookImpl]) -> None:
        for hook in hooks:
            listeners = self._hooks[hook.event]
            del listeners[hook]
            if not listeners:
                del self._hooks[hook.event]
                if is_pattern(hook.event):
                    self._patterns.discard(hook.event)
        gone = set(hooks)
        owners = {id(hook.plugin): hook.plugin for hook in hooks if hook.plugin is not None}
        for identity, owner in owners.items():
            left = [hook for hook in self._owned[identity] if hook not in gone]
            if left:
                self._owned[identity] = left
                continue
            del self._owned[identity]
            if is_switched(owner):
                Switch._detach(owner, self)

    def _remove(self, hooks: Collection[HookImpl]) -> int:
        if hooks:
            self._take_out(hooks)
            self._store.compiler.silence(set(hooks).__contains__)
            self._forget(hooks)
        return len(hooks)
