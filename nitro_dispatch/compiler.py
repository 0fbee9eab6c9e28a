"""How hooks become a chain: the one description that sync and async dispatch share."""

from __future__ import annotations

import functools
import itertools
import weakref
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Callable, Final, Optional

from nitro_dispatch.awaitables import Deferred, awaited, is_awaitable
from nitro_dispatch.chain import Chain, Slot, Walk, run_recorded
from nitro_dispatch.deadlines import await_with_limit, first_step
from nitro_dispatch.execution import Hop, call_with_limit, run_in_worker
from nitro_dispatch.failures import FailureHandler
from nitro_dispatch.hooks import HookImpl, LazyHook
from nitro_dispatch.plugin import is_switched
from nitro_dispatch.segments import Segment, TimedRun, inline, run_apart, run_recorded_async
from nitro_dispatch.stage import on_stage
from nitro_dispatch.tracing import TraceStep, Tracing, watched

__all__ = ["Compiler"]

# The hook in a place of a chain, or the slot that several share.
_Place = tuple[Optional[HookImpl], Optional[Slot]]


def _silent(data: Any) -> None:
    """The slot of a hook that has gone, in a sync chain."""


async def _silent_async(data: Any) -> None:
    """The slot of a hook that has gone, in an async chain."""


class Compiler:
    """Makes the chains of one registry, and changes those that are in use.

    Args:
        failures: What to do when a hook fails.
        tracing: Who is told of each hook.
        lock: Guards the chains in use.
    """

    def __init__(self, failures: FailureHandler, tracing: Tracing, lock: Any) -> None:
        self._failures = failures
        self._tracing = tracing
        self._lock = lock
        # Also those that are in no cache any more: a dispatch may be going through them.
        self._live: weakref.WeakSet[Chain] = weakref.WeakSet()

    def sync(self, event: str, hooks: Iterable[HookImpl]) -> Chain:
        """Compile the chain behind `trigger`: neighbours with one time limit share one slot."""
        slots: list[_Place] = []
        for seconds, group in itertools.groupby(self._not_skipped(hooks), key=self._shared_limit):
            neighbours = list(group)
            if seconds is None or len(neighbours) == 1:
                slots.extend((hook, None) for hook in neighbours)
            else:
                run = self._living(
                    event, neighbours, functools.partial(_plain_slot, event), _silent
                )
                run.make = functools.partial(self._slot_apart, event)
                slots.append((None, TimedRun(run, seconds)))
        chain = _with_shared(self._sync_chain(event, [hook for hook, _ in slots]), slots)
        return self._recorded(chain, run_recorded, chain) if self._failures.records else chain

    def each(self, event: str, hooks: Iterable[HookImpl]) -> Chain:
        """Compile the chain behind `collect` and `first`: one slot for each hook."""
        return self._sync_chain(event, self._not_skipped(hooks))

    def traced(self, event: str, hooks: Iterable[HookImpl], *, steps: list[TraceStep]) -> Chain:
        """Compile the chain behind `trace`, each of whose slots notes the steps of a dispatch."""
        around = functools.partial(watched, steps, event)
        return self._sync_chain(event, self._not_skipped(hooks), around)

    def asynchronous(self, event: str, hooks: Iterable[HookImpl]) -> Chain:
        """Compile the chain behind `trigger_async`: neighbouring sync hooks share one slot."""
        slots: list[_Place] = []
        for where, group in itertools.groupby(hooks, key=_runs_in):
            if where == "loop":
                slots.extend((hook, None) for hook in group)
            else:
                make = functools.partial(self._segment_slot, event, where)
                segment = self._living(event, list(group), make, _silent)
                slots.append((None, Segment(segment, _WAYS[where])))
        chain = _with_shared(self._async_chain(event, [hook for hook, _ in slots]), slots)
        if not self._failures.records:
            return chain
        return self._recorded(chain, run_recorded_async, Segment(chain, inline))

    def each_async(self, event: str, hooks: Iterable[HookImpl]) -> Chain:
        """Compile the chain behind `collect_async`: one slot for each hook."""
        return self._async_chain(event, list(hooks))

    def silence(self, gone: Callable[[HookImpl], bool]) -> None:
        """Take hooks out of every chain that may be running.

        Args:
            gone: Tells whether a hook is one of them.
        """
        for chain in list(self._live):
            for place, hook in enumerate(chain.hooks):
                if hook is not None and gone(hook):
                    chain.replace(place)

    def exchange(self, heirs: Mapping[HookImpl, Optional[HookImpl]]) -> None:
        """Put hooks in the place of others in every chain that may be running.

        Args:
            heirs: The new hook by the old one, None where there is none.
        """
        for chain in list(self._live):
            for place, hook in enumerate(chain.hooks):
                if hook is not None and hook in heirs:
                    heir = heirs[hook]
                    chain.replace(place, None if heir is None or _is_off(heir) else heir)

    def _not_skipped(self, hooks: Iterable[HookImpl]) -> list[HookImpl]:
        """Leave out the async hooks, which a sync dispatch cannot run, with a warning."""
        kept = []
        for hook in hooks:
            if hook.is_async:
                self._failures.skip(hook)
            else:
                kept.append(hook)
        return kept

    def _recorded(self, chain: Chain, run: Callable[..., Any], whole: object) -> Chain:
        """Make a chain of one slot that runs a whole one and keeps account of its errors."""
        recorded = Chain(chain.event, [None], chain.make, chain.silent, self._failures)
        recorded[0] = functools.partial(run, whole)
        return recorded

    def _shared_limit(self, hook: HookImpl) -> Optional[float]:
        """Tell the time limit that a hook may share with its neighbours, None where it may not."""
        alone = isinstance(hook, LazyHook) or _asks_owner(hook) or self._tracing.tracers
        return None if alone else hook.timeout

    def _sync_chain(
        self,
        event: str,
        hooks: Sequence[Optional[HookImpl]],
        around: Optional[Callable[..., Slot]] = None,
    ) -> Chain:
        make = functools.partial(self._sync_slot, event, around=around)
        return self._living(event, hooks, make, _silent)

    def _async_chain(self, event: str, hooks: Sequence[Optional[HookImpl]]) -> Chain:
        make = functools.partial(self._any_async_slot, event)
        return self._living(event, hooks, make, _silent_async)

    def _living(
        self,
        event: str,
        hooks: Sequence[Optional[HookImpl]],
        make: Callable[[HookImpl], Slot],
        silent: Slot,
    ) -> Chain:
        chain = Chain(event, list(hooks), make, silent, self._failures)
        with self._lock:
            self._live.add(chain)
        return chain

    def _sync_slot(
        self, event: str, hook: HookImpl, *, around: Optional[Callable[..., Slot]] = None
    ) -> Slot:
        if isinstance(hook, LazyHook):
            return functools.partial(self._wake, event, hook, around)
        if hook.is_async:
            # One that took the place of a sync hook: who called it knows what may be awaited.
            return self._async_slot(event, hook)
        slot = _plain_slot(event, hook)
        if hook.timeout is not None:
            slot = _limited(hook, slot, hook.timeout)
        return self._observed(event, hook, slot if around is None else around(hook, slot))

    def _segment_slot(self, event: str, where: str, hook: HookImpl) -> Slot:
        """Make a slot of a segment of an async chain."""
        if _runs_in(hook) != where:
            # It took the place of another hook, and is awaited in its own way.
            return self._any_async_slot(event, hook)
        if where == "on stage":
            assert hook.timeout is not None, "on stage are hooks with time limits"
            slot = functools.partial(first_step, _awaitable_slot(event, hook), hook.timeout)
            return self._observed(event, hook, slot)
        return self._sync_slot(event, hook)

    def _slot_apart(self, event: str, hook: HookImpl) -> Slot:
        """Make the slot of a hook that took the place of one in a `TimedRun`."""
        return functools.partial(run_apart, self._sync_chain(event, [hook]))

    def _observed(self, event: str, hook: HookImpl, slot: Slot) -> Slot:
        """Let tracers know of the calls of a slot, and its owner say whether it is called."""
        if self._tracing.tracers:
            slot = functools.partial(self._tracing.call, event, hook, slot)
        # Outermost, as a hook that is not called has neither a time limit nor a trace.
        return functools.partial(_gated, hook.plugin, slot) if _asks_owner(hook) else slot

    def _async_slot(self, event: str, hook: HookImpl) -> Slot:
        if isinstance(hook, LazyHook):
            return functools.partial(self._wake_async, event, hook)
        slot = _awaitable_slot(event, hook)
        if hook.timeout is not None:
            slot = functools.partial(_limited_async, slot, hook.timeout)
        if self._tracing.tracers:
            slot = functools.partial(self._tracing.call_async, event, hook, slot)
        return functools.partial(_gated_async, hook.plugin, slot) if _asks_owner(hook) else slot

    def _any_async_slot(self, event: str, hook: HookImpl) -> Slot:
        """Make a slot of its own for a hook of either kind."""
        if hook.is_async:
            return self._async_slot(event, hook)
        way = _inline if _runs_in(hook) == "inline" else _hopping
        return functools.partial(way, self._sync_slot(event, hook))

    def _wake(
        self, event: str, hook: LazyHook, around: Optional[Callable[..., Slot]], data: Any
    ) -> Any:
        """Load the plugin of a hook that is only described, then run the real hook."""
        real = hook.wake(hook)
        return None if real is None else self._sync_slot(event, real, around=around)(data)

    async def _wake_async(self, event: str, hook: LazyHook, data: Any) -> Any:
        """Load the plugin in a worker thread, then run the real hook."""
        real = await run_in_worker(lambda hop: hook.wake(hook))
        return None if real is None else await self._any_async_slot(event, real)(data)


def _with_shared(chain: Chain, places: Iterable[_Place]) -> Chain:
    """Put in the slots that hooks share; the chain has made those of single hooks itself."""
    for place, (_, shared) in enumerate(places):
        if shared is not None:
            chain[place] = shared
    return chain


def _runs_in(hook: HookImpl) -> str:
    """Say how an async dispatch runs a hook.

    Returns:
        "loop" for a slot of its own that is awaited. Others share one with their neighbours: in a
        "worker" thread, "inline", or "on stage" for async hooks with time limits, which are made
        ready for that once for all of them.
    """
    if hook.is_async:
        return "loop" if hook.timeout is None or isinstance(hook, LazyHook) else "on stage"
    may_block = hook.options.blocking or hook.timeout is not None or isinstance(hook, LazyHook)
    return "worker" if may_block else "inline"


_WAYS: Final[Mapping[str, Optional[Callable[..., Walk]]]] = {
    "worker": None,
    "inline": inline,
    "on stage": on_stage,
}


def _is_off(hook: HookImpl) -> bool:
    return is_switched(hook.plugin) and not hook.plugin.enabled


def _asks_owner(hook: HookImpl) -> bool:
    """Tell whether the owner may have an `enabled` that can only be asked at each call."""
    return hook.plugin is not None and not is_switched(hook.plugin)


def _plain_slot(event: str, hook: HookImpl) -> Slot:
    return functools.partial(hook.callback, event=event) if hook.wants_event else hook.callback


def _awaitable_slot(event: str, hook: HookImpl) -> Slot:
    slot = _plain_slot(event, hook)
    # Where the hook only says that it is async, what it returns has the last word.
    return functools.partial(_trusting, slot) if hook.options.is_async else slot


def _gated(owner: Any, slot: Slot, data: Any) -> Any:
    return slot(data) if getattr(owner, "enabled", True) else None


async def _gated_async(owner: Any, slot: Slot, data: Any) -> Any:
    return await slot(data) if getattr(owner, "enabled", True) else None


def _limited(hook: HookImpl, slot: Slot, seconds: float) -> Slot:
    way = functools.partial(await_with_limit, seconds=seconds)
    call = functools.partial(_deferring, slot, way)
    return functools.partial(call_with_limit, hook, call, seconds=seconds, discard=_close_deferred)


def _deferring(slot: Slot, way: Callable[[Any], Any], data: Any) -> Any:
    """Call a slot in a worker thread; an awaitable is awaited in its way, or closed if too late."""
    result = slot(data)
    if result is None or result is data or not is_awaitable(result):
        return result
    return Deferred(result, way)


def _close_deferred(result: Any) -> None:
    if isinstance(result, Deferred):
        result.close()


async def _limited_async(slot: Slot, seconds: float, data: Any) -> Any:
    return await await_with_limit(slot(data), seconds)


async def _trusting(slot: Slot, data: Any) -> Any:
    result = slot(data)
    return await result if result is not data and is_awaitable(result) else result


async def _inline(slot: Slot, data: Any) -> Any:
    return slot(data)


async def _hopping(slot: Slot, data: Any) -> Any:
    def run(hop: Hop) -> Any:
        return _deferring(slot, functools.partial(awaited, data=None), data)

    return await run_in_worker(run, _close_deferred)
