"""How hooks become a chain: the one description that sync and async dispatch share."""

from __future__ import annotations

import functools
import heapq
import itertools
import logging
import weakref
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Callable, Optional

from nitro_dispatch.chain import Chain, Segment, Slot, run_recorded
from nitro_dispatch.execution import await_with_limit, call_with_limit, run_in_worker
from nitro_dispatch.failures import FailureHandler, is_awaitable, printable
from nitro_dispatch.hooks import HookImpl, LazyHook
from nitro_dispatch.plugin import is_switched
from nitro_dispatch.tracing import Tracing

__all__ = ["Compiler", "in_order"]

logger = logging.getLogger(__name__)


def in_order(hooks: Iterable[HookImpl]) -> list[HookImpl]:
    """Put hooks into the order of their dispatch.

    Args:
        hooks: Hooks in any order.

    Returns:
        Higher priority first, ties by registration, `before` and `after` respected among ties.
    """
    ordered = sorted(hooks, key=lambda hook: (-hook.priority, hook.order))
    if not any(hook.options.before or hook.options.after for hook in ordered):
        return ordered
    ties = itertools.groupby(ordered, key=lambda hook: hook.priority)
    return [hook for _, group in ties for hook in _constrained(list(group))]


def _constrained(ties: Sequence[HookImpl]) -> list[HookImpl]:
    """Sort hooks of one priority by what they say of each other, otherwise as they stand."""
    followers: list[list[int]] = [[] for _ in ties]
    for place, hook in enumerate(ties):
        for other, neighbour in enumerate(ties):
            if other == place:
                continue
            if neighbour.plugin_name in hook.options.before:
                followers[place].append(other)
            if neighbour.plugin_name in hook.options.after:
                followers[other].append(place)
    waiting = [sum(place in found for found in followers) for place in range(len(ties))]
    ready = [place for place, count in enumerate(waiting) if not count]
    placed: list[int] = []
    while ready:
        place = heapq.heappop(ready)
        placed.append(place)
        for follower in followers[place]:
            waiting[follower] -= 1
            if not waiting[follower]:
                heapq.heappush(ready, follower)
    left = [place for place, count in enumerate(waiting) if count > 0]
    if left:
        names = sorted({printable(ties[place].plugin_name) for place in left})
        logger.warning("before= and after= contradict each other among %s", ", ".join(names))
    return [ties[place] for place in [*placed, *left]]


def _silent(data: Any) -> None:
    """The slot of a hook that has gone, in a sync chain."""


async def _silent_async(data: Any) -> None:
    """The slot of a hook that has gone, in an async chain."""


class Compiler:
    """Makes the chains of one registry, and changes those that are in use.

    Args:
        failures: What to do when a hook fails.
        tracing: Who is told of each hook.
    """

    def __init__(self, failures: FailureHandler, tracing: Tracing) -> None:
        self._failures = failures
        self._tracing = tracing
        # Also those that are in no cache any more: a dispatch may be going through them.
        self._live: weakref.WeakSet[Chain] = weakref.WeakSet()

    def sync(self, event: str, hooks: Iterable[HookImpl]) -> Chain:
        """Compile the chain behind `trigger`."""
        chain = self.each(event, hooks)
        if not self._failures.records:
            return chain
        # One slot that runs the whole chain and keeps account of the errors of this dispatch.
        recorded = Chain(event, [None], chain.make, _silent, self._failures)
        recorded[0] = functools.partial(run_recorded, chain)
        return recorded

    def each(self, event: str, hooks: Iterable[HookImpl]) -> Chain:
        """Compile the chain behind `collect` and `first`: one slot for each hook."""
        return self._sync_chain(event, [hook for hook in hooks if not self._is_skipped(hook)])

    def asynchronous(self, event: str, hooks: Iterable[HookImpl]) -> Chain:
        """Compile the chain behind `trigger_async`: neighbouring sync hooks share one slot."""
        slots: list[tuple[Optional[HookImpl], Slot]] = []
        for where, group in itertools.groupby(hooks, key=_runs_in):
            if where == "loop":
                slots.extend((hook, self._async_slot(event, hook)) for hook in group)
            else:
                segment = Segment(self._sync_chain(event, list(group)), inline=where == "inline")
                slots.append((None, segment))
        chain = self._async_chain(event, [hook for hook, _ in slots])
        chain[:] = [slot for _, slot in slots]
        return chain

    def each_async(self, event: str, hooks: Iterable[HookImpl]) -> Chain:
        """Compile the chain behind `collect_async`: one slot for each hook."""
        return self._async_chain(event, list(hooks))

    def traced(self, event: str, hooks: Iterable[HookImpl], around: Callable[..., Slot]) -> Chain:
        """Compile a sync chain each of whose slots is wrapped once more, for one dispatch."""
        kept = [hook for hook in hooks if not self._is_skipped(hook)]
        chain = self._sync_chain(event, kept)
        chain[:] = [around(hook, slot) for hook, slot in zip(kept, chain)]
        return chain

    def silence(self, gone: Callable[[HookImpl], bool]) -> None:
        """Take hooks out of every chain that may be running.

        Args:
            gone: Tells whether a hook is one of them.
        """
        for chain in list(self._live):
            for place, hook in enumerate(chain.hooks):
                if hook is not None and gone(hook):
                    chain[place] = chain.silent

    def exchange(self, heirs: Mapping[HookImpl, Optional[HookImpl]]) -> None:
        """Put hooks in the place of others in every chain that may be running.

        Args:
            heirs: The new hook by the old one, None where there is none.
        """
        for chain in list(self._live):
            for place, hook in enumerate(chain.hooks):
                if hook is None or hook not in heirs:
                    continue
                heir = heirs[hook]
                if heir is not None:
                    chain.hooks[place] = heir
                chain[place] = chain.silent if heir is None else chain.make(heir)

    def _is_skipped(self, hook: HookImpl) -> bool:
        if hook.is_async:
            self._failures.skip(hook)
        return hook.is_async

    def _sync_chain(self, event: str, hooks: list[HookImpl]) -> Chain:
        return self._living(event, hooks, functools.partial(self._sync_slot, event), _silent)

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
        self._live.add(chain)
        return chain

    def _sync_slot(self, event: str, hook: HookImpl) -> Slot:
        if isinstance(hook, LazyHook):
            return functools.partial(self._wake, event, hook)
        slot = _plain_slot(event, hook)
        if hook.timeout is not None:
            slot = functools.partial(_limited, hook, slot, hook.timeout)
        if _asks_owner(hook):
            slot = functools.partial(_gated, hook.plugin, slot)
        if self._tracing.tracers:
            slot = functools.partial(_traced, self._tracing, event, hook, slot)
        return slot

    def _async_slot(self, event: str, hook: HookImpl) -> Slot:
        if isinstance(hook, LazyHook):
            return functools.partial(self._wake_async, event, hook)
        slot = _plain_slot(event, hook)
        if hook.options.is_async:
            # The hook only says that it is async: what it returns has the last word.
            slot = functools.partial(_trusting, slot)
        if hook.timeout is not None:
            slot = functools.partial(_limited_async, slot, hook.timeout)
        if _asks_owner(hook):
            slot = functools.partial(_gated_async, hook.plugin, slot)
        if self._tracing.tracers:
            slot = functools.partial(_traced_async, self._tracing, event, hook, slot)
        return slot

    def _any_async_slot(self, event: str, hook: HookImpl) -> Slot:
        """Make a slot of its own for a hook of either kind."""
        where = _runs_in(hook)
        if where == "loop":
            return self._async_slot(event, hook)
        slot = self._sync_slot(event, hook)
        return functools.partial(_inline if where == "inline" else _hopping, slot)

    def _wake(self, event: str, hook: LazyHook, data: Any) -> Any:
        """Load the plugin of a hook that is only described, then run the real hook."""
        real = hook.wake(hook)
        return None if real is None else self._sync_slot(event, real)(data)

    async def _wake_async(self, event: str, hook: LazyHook, data: Any) -> Any:
        """Load the plugin in a worker thread, then run the real hook."""
        real = await run_in_worker(lambda hop: hook.wake(hook))
        return None if real is None else await self._any_async_slot(event, real)(data)


def _runs_in(hook: HookImpl) -> str:
    """Say where an async dispatch runs a hook: in the "loop", "inline" in it, or in a "worker"."""
    if hook.is_async:
        return "loop"
    may_block = hook.options.blocking or hook.timeout is not None or isinstance(hook, LazyHook)
    return "worker" if may_block else "inline"


def _asks_owner(hook: HookImpl) -> bool:
    """Tell whether the owner has an `enabled` of its own, which can only be asked at each call."""
    return not is_switched(hook.plugin) and hasattr(hook.plugin, "enabled")


def _plain_slot(event: str, hook: HookImpl) -> Slot:
    return functools.partial(hook.callback, event=event) if hook.wants_event else hook.callback


def _gated(owner: Any, slot: Slot, data: Any) -> Any:
    return slot(data) if owner.enabled else None


async def _gated_async(owner: Any, slot: Slot, data: Any) -> Any:
    return await slot(data) if owner.enabled else None


def _limited(hook: HookImpl, slot: Slot, seconds: float, data: Any) -> Any:
    return call_with_limit(hook, slot, data, seconds)


async def _limited_async(slot: Slot, seconds: float, data: Any) -> Any:
    return await await_with_limit(slot(data), seconds)


def _traced(tracing: Tracing, event: str, hook: HookImpl, slot: Slot, data: Any) -> Any:
    with tracing.observe(hook, event) as result:
        result.append(slot(data))
    return result[0]


async def _traced_async(tracing: Tracing, event: str, hook: HookImpl, slot: Slot, data: Any) -> Any:
    with tracing.observe(hook, event) as result:
        result.append(await slot(data))
    return result[0]


async def _trusting(slot: Slot, data: Any) -> Any:
    result = slot(data)
    return await result if is_awaitable(result) else result


async def _inline(slot: Slot, data: Any) -> Any:
    return slot(data)


async def _hopping(slot: Slot, data: Any) -> Any:
    return await run_in_worker(lambda hop: slot(data))
