"""Firing events: what a `PluginManager` and a bare `HookRegistry` have in common.

Both inherit their `trigger` from here, so that there is one function and no layer between.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Collection
from typing import Any, Callable, Final, Optional, TypeVar, overload

from nitro_dispatch.awaitables import awaited
from nitro_dispatch.chain import Chain, HookResult, each, each_async, run_sync
from nitro_dispatch.compiler import Compiler
from nitro_dispatch.events import Event, is_pattern
from nitro_dispatch.exceptions import StopPropagation, shown
from nitro_dispatch.failures import (
    DispatchInTasks,
    FailureHandler,
    Stopped,
    entry_point_of_dispatch,
)
from nitro_dispatch.hooks import HookImpl
from nitro_dispatch.ordering import in_order
from nitro_dispatch.tracing import Trace, Tracer, TraceStep, Tracing, log_call

__all__ = ["ChainStore", "Dispatcher"]

# So many chains of names are kept besides those of the registered events; names that nobody has
# seen before, made of user input for one, must not grow memory without bound.
UNREGISTERED_NAMES: Final = 1024
# One of more characters is compiled each time: a thousand of them could be of any size.
LONGEST_NAME: Final = 1024
# So often a chain is compiled without the lock, if the registrations change meanwhile.
ATTEMPTS: Final = 3

Payload = TypeVar("Payload")


CompileChain = Callable[[str, list[HookImpl]], Chain]


class ChainCache:
    """The chains of one kind.

    Args:
        store: What compiles them.
        compile_chain: Makes the chain of the hooks in their order.

    Attributes:
        chains: Those that are compiled, by the event's name. It is a plain dict, in which the
            interpreter looks up a name in a third of the time that one with `__missing__` takes.
    """

    __slots__ = ("_compile", "_store", "chains")

    def __init__(self, store: ChainStore, compile_chain: CompileChain) -> None:
        self.chains: dict[str, Chain] = {}
        self._store = store
        self._compile = compile_chain

    def find(self, event: str) -> Chain:
        """Find the chain of an event, compiled if need be.

        Raises:
            TypeError: The name is not a string.
        """
        try:
            chain = self.chains.get(event)
        except TypeError:  # What has no hash is no name, which is said as of anything else.
            chain = None
        return self._store.compiled(event, self._compile, self.chains) if chain is None else chain


class ChainStore:
    """The compiled chains of one registry: made at first use, forgotten when something changes.

    Args:
        hooks_for: Lists the hooks to call for an event, in any order.
        registered: Counts the registered events.
        lock: Guards the registrations.
    """

    def __init__(
        self,
        hooks_for: Callable[[str], list[HookImpl]],
        registered: Callable[[], int],
        lock: Any,
    ) -> None:
        self.lock = lock
        self.failures = FailureHandler()
        self.tracing = Tracing()
        self.compiler = Compiler(self.failures, self.tracing, lock)
        self.sync = ChainCache(self, self.compiler.sync)
        self.asynchronous = ChainCache(self, self.compiler.asynchronous)
        self.each = ChainCache(self, self.compiler.each)
        self.each_async = ChainCache(self, self.compiler.each_async)
        self._empty = self.compiler.each("", [])
        found = (self.sync, self.asynchronous, self.each, self.each_async)
        self._caches = tuple(cache.chains for cache in found)
        self._hooks_for = hooks_for
        self._registered = registered
        self._changes = 0

    def compiled(
        self, event: str, compile_chain: CompileChain, cache: Optional[dict[str, Chain]] = None
    ) -> Chain:
        """Compile a chain, without the lock: owners are asked for their names, and logs written.

        Args:
            event: The event under way.
            compile_chain: Makes the chain of the hooks in their order.
            cache: Where to keep it.

        Returns:
            A chain of the hooks that were there when it was finished.

        Raises:
            TypeError: The name is not a string.
        """
        check_event_name(event)
        for _ in range(ATTEMPTS):
            chain, current = self._attempt(event, compile_chain, cache)
            if current:
                return chain
        # Others change the registrations all the time: now they have to wait.
        with self.lock:
            return self._attempt(event, compile_chain, cache)[0]

    def clear(self) -> None:
        """Forget all chains: something that they were compiled from has changed."""
        with self.lock:
            self._changes += 1
            for cache in self._caches:
                cache.clear()

    def forget(self, events: Collection[str]) -> None:
        """Forget the chains of some events or patterns: their hooks have changed."""
        if any(map(is_pattern, events)):
            self.clear()
            return
        with self.lock:
            self._changes += 1
            for event, cache in itertools.product(events, self._caches):
                cache.pop(event, None)

    def _attempt(
        self, event: str, compile_chain: CompileChain, cache: Optional[dict[str, Chain]]
    ) -> tuple[Chain, bool]:
        """Compile a chain, and tell whether nothing that it was compiled from has changed."""
        with self.lock:
            changes = self._changes
            hooks = self._hooks_for(event)
            if not hooks and not self.failures.records:
                # A name that nobody listens to costs half as much without a chain of its own.
                if cache is not None:
                    self._keep(cache, event, self._empty)
                return self._empty, True
        chain = compile_chain(event, in_order(hooks))
        with self.lock:
            current = changes == self._changes
            if current and cache is not None:
                self._keep(cache, event, chain)
        return chain, current

    def _keep(self, cache: dict[str, Chain], event: str, chain: Chain) -> None:
        if len(event) > LONGEST_NAME:
            return
        if len(cache) >= self._registered() + UNREGISTERED_NAMES:
            cache.clear()
        cache[event] = chain


def check_event_name(event: object) -> None:
    """Refuse what cannot be the name of an event under way, which may be empty.

    Args:
        event: What was given as the name.

    Raises:
        TypeError: It is not a string.
    """
    if not isinstance(event, str):
        message = f"an event's name must be a string such as 'user.login'; got {shown(event)}"
        raise TypeError(message) from None


class Dispatcher:
    """Fires events, and says what happens when their hooks fail and who looks on.

    Args:
        store: The chains to run.
    """

    def __init__(self, store: ChainStore) -> None:
        self._store = store
        self._chains = store.sync.chains
        self._failures = store.failures
        self._undo_tracing: Callable[[], None] = _nothing

    @overload
    def trigger(self, event_name: Event[Payload], data: Payload) -> Payload: ...

    @overload
    def trigger(self, event_name: str, data: Any = None) -> Any: ...

    @entry_point_of_dispatch
    def trigger(self, event_name: str, data: Any = None) -> Any:
        """Fire an event: each hook may change the data on its way to the next.

        Args:
            event_name: The event to fire.
            data: What the first hook is given.

        Returns:
            The data as the hooks left it.

        Raises:
            HookError: A hook failed and the strategy is `fail_fast`.
            TypeError: The name is not a string.

        Example:
            >>> from nitro_dispatch import HookRegistry
            >>> registry = HookRegistry()
            >>> registry.register("price", lambda cents: cents + 19)
            >>> registry.trigger("price", 100)
            119
        """
        try:
            chain = self._chains[event_name]
        except (KeyError, TypeError):
            chain = self._store.sync.find(event_name)
        try:
            for slot in chain:
                result = slot(data)
                if result is not data:
                    # Results of one type need only one look, which saves 0.2 us for each other one.
                    if type(result) is chain.plain:
                        data = result
                    elif result is not None:
                        if chain.awaits(result):
                            chain.refuse(chain.behind(slot), result)
                        else:
                            data = result
            return data
        except Stopped as stopped:
            return stopped.data
        except StopPropagation:
            return data
        except (Exception, SystemExit) as error:
            # One `try` around all hooks costs a tenth less than an iterator that could go on here.
            return chain.resume(chain.behind(slot), error, data)

    @overload
    async def trigger_async(self, event_name: Event[Payload], data: Payload) -> Payload: ...

    @overload
    async def trigger_async(self, event_name: str, data: Any = None) -> Any: ...

    @entry_point_of_dispatch
    async def trigger_async(self, event_name: str, data: Any = None) -> Any:
        """Fire an event from async code: async hooks are awaited, sync ones run in a worker.

        Args:
            event_name: The event to fire.
            data: What the first hook is given.

        Returns:
            The data as the hooks left it.

        Raises:
            HookError: A hook failed and the strategy is `fail_fast`.
            TypeError: The name is not a string.

        Example:
            >>> import asyncio
            >>> from nitro_dispatch import HookRegistry
            >>> async def add(number):
            ...     return number + 1
            >>> registry = HookRegistry()
            >>> registry.register("count", add)
            >>> asyncio.run(registry.trigger_async("count", 1))
            2
        """
        chain = self._store.asynchronous.find(event_name)
        steps = iter(chain)
        while True:
            try:
                for slot in steps:
                    result = await slot(data)
                    if result is not data:
                        if type(result) is chain.plain:
                            data = result
                        elif result is not None:
                            data = await awaited(result, data) if chain.awaits(result) else result
                return data
            except Stopped as stopped:
                return stopped.data
            except StopPropagation:
                return data
            except (Exception, SystemExit) as error:
                await chain.failed_async(steps, error)

    @entry_point_of_dispatch
    def collect(self, event_name: str, data: Any = None) -> list[HookResult]:
        """Ask every hook of an event with the same data.

        Args:
            event_name: The event to fire.
            data: What each hook is given.

        Returns:
            The answers in the order of the hooks, without those that were None or failed.

        Raises:
            HookError: A hook failed and the strategy is `fail_fast`.
            TypeError: The name is not a string.

        Example:
            >>> from nitro_dispatch import HookRegistry
            >>> registry = HookRegistry()
            >>> registry.register("bid", lambda item: 3)
            >>> registry.register("bid", lambda item: None)
            >>> registry.collect("bid", "vase")
            [HookResult(plugin='anonymous', hook='<lambda>', value=3)]
        """
        with self._failures.recording():
            answers = each(self._store.each.find(event_name), data, self._failures.handle_sync)
            return [HookResult(hook.plugin_name, hook.name, value) for hook, value in answers]

    @entry_point_of_dispatch
    async def collect_async(self, event_name: str, data: Any = None) -> list[HookResult]:
        """Ask every hook of an event with the same data, all at once.

        Args:
            event_name: The event to fire.
            data: What each hook is given.

        Returns:
            The answers in the order of the hooks, without those that were None or failed.

        Raises:
            HookError: A hook failed and the strategy is `fail_fast`.
            TypeError: The name is not a string.
        """
        with self._failures.recording(), DispatchInTasks():
            answers = await each_async(self._store.each_async.find(event_name), data)
            return [HookResult(hook.plugin_name, hook.name, value) for hook, value in answers]

    @entry_point_of_dispatch
    def first(self, event_name: str, data: Any = None) -> Any:
        """Ask the hooks of an event until one answers.

        Args:
            event_name: The event to fire.
            data: What each hook is given.

        Returns:
            The first answer that is not None, or None.

        Raises:
            HookError: A hook failed and the strategy is `fail_fast`.
            TypeError: The name is not a string.

        Example:
            >>> from nitro_dispatch import HookRegistry
            >>> registry = HookRegistry()
            >>> registry.register("open", lambda path: None)
            >>> registry.register("open", lambda path: f"text of {path}")
            >>> registry.first("open", "a.txt")
            'text of a.txt'
        """
        with self._failures.recording():
            answers = each(self._store.each.find(event_name), data, self._failures.handle_sync)
            return next((value for _, value in answers), None)

    @entry_point_of_dispatch
    def trace(self, event_name: str, data: Any = None) -> Trace:
        """Fire an event once and tell what each hook did to the data.

        Args:
            event_name: The event to fire.
            data: What the first hook is given.

        Returns:
            The result, and a step for each call with the paths that it changed.

        Raises:
            HookError: A hook failed and the strategy is `fail_fast`.
            TypeError: The name is not a string.

        Example:
            >>> from nitro_dispatch import HookRegistry
            >>> registry = HookRegistry()
            >>> registry.register("user.login", lambda data: {**data, "greeted": True})
            >>> registry.trace("user.login", {"name": "Ada"}).steps[0].changes
            (Change(path='greeted', before='<missing>', after=True),)
        """
        steps: list[TraceStep] = []
        traced = functools.partial(self._store.compiler.traced, steps=steps)
        chain = self._store.compiled(event_name, traced)
        with self._failures.recording():
            return Trace(run_sync(chain, iter(chain), data), tuple(steps))

    def add_tracer(self, tracer: Tracer) -> Callable[[], None]:
        """Let an observer know of each call of a hook.

        Args:
            tracer: Called with one `HookCall` after each call of a hook, in the hook's thread.

        Returns:
            A callable that takes the tracer out again.

        Raises:
            TypeError: The tracer is not callable.

        Example:
            >>> from nitro_dispatch import HookRegistry
            >>> registry, calls = HookRegistry(), []
            >>> registry.register("count", lambda number: number + 1)
            >>> remove = registry.add_tracer(calls.append)
            >>> registry.trigger("count", 1)
            2
            >>> remove()
            >>> [(call.hook, call.outcome) for call in calls]
            [('<lambda>', 'returned')]
        """
        if not callable(tracer):
            raise TypeError(f"a tracer must be callable with a HookCall; got {shown(tracer)}")
        # A wrapper is one of a kind, also where the same tracer is added twice.
        own: Tracer = functools.partial(tracer)
        self._change_tracers(lambda tracers: (*tracers, own))

        def remove() -> None:
            self._change_tracers(lambda tracers: tuple(one for one in tracers if one is not own))

        return remove

    def enable_hook_tracing(self, enabled: bool = True) -> None:
        """Log each call of a hook with its time, at level DEBUG.

        Args:
            enabled: Whether to log.
        """
        self._undo_tracing()
        self._undo_tracing = self.add_tracer(log_call) if enabled else _nothing

    def set_error_strategy(self, strategy: str) -> None:
        """Choose what happens when a hook fails.

        Args:
            strategy: "log_and_continue", "fail_fast" or "collect_all".

        Raises:
            ValueError: There is no such strategy; the old one stays.
        """
        self._failures.set_strategy(strategy)
        self._store.clear()

    def get_last_errors(self) -> list[dict[str, Any]]:
        """List the errors of the caller's own last dispatch under `collect_all`.

        Returns:
            A dict with `plugin` (the name), `error` and `event` for each.
        """
        return self._failures.get_last_errors()

    def _change_tracers(self, change: Callable[[tuple[Tracer, ...]], tuple[Tracer, ...]]) -> None:
        with self._store.lock:
            self._store.tracing.tracers = change(self._store.tracing.tracers)
            self._store.clear()

    @entry_point_of_dispatch
    def _notify(self, event_name: str, data: Any) -> None:
        """Tell the listeners of a lifecycle event; none of them can change the outcome."""
        chain = self._store.each.find(event_name)
        if chain:  # Most often nobody listens: ten thousand plugins are soon told of.
            for _ in each(chain, data, self._failures.isolate_sync):
                pass


def _nothing() -> None:
    pass
