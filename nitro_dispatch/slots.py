"""How one hook becomes a slot of a chain: what is wrapped around it, and where it runs."""

from __future__ import annotations

import functools
import time
from typing import Any, Callable, Optional

from nitro_dispatch.atomic import copied, keeping_copy, on_copy, on_copy_async
from nitro_dispatch.awaitables import Deferred, is_awaitable, settled
from nitro_dispatch.chain import Slot
from nitro_dispatch.deadlines import await_with_limit, first_step
from nitro_dispatch.execution import Hop, call_with_limit, run_in_worker
from nitro_dispatch.hooks import HookImpl, LazyHook
from nitro_dispatch.plugin import is_switched
from nitro_dispatch.tracing import Tracing

__all__ = ["Slots", "asks_owner", "runs_in"]


class Slots:
    """Makes the slots of the hooks of one chain.

    Args:
        event: The event that the chain is compiled for.
        tracing: Who is told of each hook.
        around: Wraps the slot of each hook in a sync chain, of which it is given both.
        asked: Whether each hook is only asked for an answer, which no copy of the data is.
    """

    __slots__ = ("_around", "_asked", "_tracing", "event")

    def __init__(
        self,
        event: str,
        tracing: Tracing,
        around: Optional[Callable[..., Slot]] = None,
        *,
        asked: bool = False,
    ) -> None:
        self.event = event
        self._tracing = tracing
        self._around = around
        self._asked = asked

    def plain(self, hook: HookImpl) -> Slot:
        """Make a slot that does no more than to call a hook."""
        slot = self._call(hook)
        return functools.partial(on_copy, slot) if hook.options.atomic else slot

    def sync(self, hook: HookImpl) -> Slot:
        """Make a slot of a sync chain."""
        if isinstance(hook, LazyHook):
            return functools.partial(self._wake, hook)
        if hook.is_async:
            # One that took the place of a sync hook: who called it knows what may be awaited.
            return self._async(hook)
        slot = self.plain(hook)
        if hook.timeout is not None:
            slot = _limited(hook, slot, hook.timeout)
        return self._observed(hook, slot if self._around is None else self._around(hook, slot))

    def asynchronous(self, hook: HookImpl) -> Slot:
        """Make a slot of an async chain, for a hook of either kind."""
        if hook.is_async:
            return self._async(hook)
        way = _inline if runs_in(hook) == "inline" else _hopping
        return functools.partial(way, self.sync(hook))

    def of_segment(self, where: str, hook: HookImpl) -> Slot:
        """Make a slot of a segment of an async chain.

        Args:
            where: How the hooks of the segment run, as `runs_in` says.
            hook: The hook.
        """
        if runs_in(hook) != where:
            # It took the place of another hook, and is awaited in its own way.
            return self.asynchronous(hook)
        if where == "on stage":
            assert hook.timeout is not None, "on stage are hooks with time limits"
            slot = functools.partial(first_step, self._awaitable(hook), hook.timeout)
            return self._observed(hook, slot)
        return self.sync(hook)

    def _observed(self, hook: HookImpl, slot: Slot, *, is_async: bool = False) -> Slot:
        """Let tracers know of the calls of a slot, and its owner say whether it is called."""
        if self._tracing.tracers:
            traced = self._tracing.call_async if is_async else self._tracing.call
            slot = functools.partial(traced, self.event, hook, slot)
        # Outermost, as a hook that is not called has neither a time limit nor a trace.
        gated = _gated_async if is_async else _gated
        return functools.partial(gated, hook.plugin, slot) if asks_owner(hook) else slot

    def _async(self, hook: HookImpl) -> Slot:
        if isinstance(hook, LazyHook):
            return functools.partial(self._wake_async, hook)
        slot = self._awaitable(hook)
        if hook.timeout is not None:
            slot = functools.partial(_limited_async, slot, hook.timeout)
        return self._observed(hook, slot, is_async=True)

    def _awaitable(self, hook: HookImpl) -> Slot:
        slot = self._call(hook)
        atomic = hook.options.atomic
        if atomic or hook.options.is_async:
            # Where the hook only says that it is async, what it returns has the last word.
            slot = functools.partial(_trusting, slot)
        return functools.partial(on_copy_async, _copying(hook), slot) if atomic else slot

    def _call(self, hook: HookImpl) -> Slot:
        """Make what calls a hook, with the copy of the data if it is atomic."""
        slot = hook.callback
        if hook.wants_event:
            slot = functools.partial(slot, event=self.event)
        keeps_copy = hook.options.atomic and not self._asked
        return functools.partial(keeping_copy, slot) if keeps_copy else slot

    def _wake(self, hook: LazyHook, data: Any) -> Any:
        """Load the plugin of a hook that is only described, then run the real hook."""
        hook.wake(hook)
        real = hook.real(hook)
        return None if real is None else self.sync(real)(data)

    async def _wake_async(self, hook: LazyHook, data: Any) -> Any:
        """Load the plugin in a worker thread, then run the real hook."""
        await run_in_worker(lambda hop: hook.wake(hook))
        # Before its turn had come in the loop, the plugin may have been disabled or unloaded.
        real = hook.real(hook)
        return None if real is None else await self.asynchronous(real)(data)


def runs_in(hook: HookImpl) -> str:
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


def asks_owner(hook: HookImpl) -> bool:
    """Tell whether the owner may have an `enabled` that can only be asked at each call."""
    return hook.plugin is not None and not is_switched(hook.plugin)


def _copying(hook: HookImpl) -> Slot:
    """Make what copies the data for an async hook, within the time limit of that."""
    if hook.timeout is None:
        return copied
    return functools.partial(call_with_limit, hook, copied, seconds=hook.timeout)


def _gated(owner: Any, slot: Slot, data: Any) -> Any:
    return slot(data) if getattr(owner, "enabled", True) else None


async def _gated_async(owner: Any, slot: Slot, data: Any) -> Any:
    return await slot(data) if getattr(owner, "enabled", True) else None


def _limited(hook: HookImpl, slot: Slot, seconds: float) -> Slot:
    call = functools.partial(_timed, slot, seconds)
    return functools.partial(call_with_limit, hook, call, seconds=seconds, discard=_close_deferred)


def _timed(slot: Slot, seconds: float, data: Any) -> Any:
    """Call a slot in a worker thread; what it returns to be awaited has the rest of the time."""
    began = time.monotonic()
    result = slot(data)
    if not _is_pending(result, data):
        return result
    way = functools.partial(await_with_limit, seconds=seconds, data=data, began=began)
    return Deferred(result, way)


def _is_pending(result: Any, data: Any) -> bool:
    return result is not None and result is not data and is_awaitable(result)


def _close_deferred(result: Any) -> None:
    if isinstance(result, Deferred):
        result.close()


async def _limited_async(slot: Slot, seconds: float, data: Any) -> Any:
    return await await_with_limit(slot(data), seconds, data)


async def _trusting(slot: Slot, data: Any) -> Any:
    result = slot(data)
    return await result if result is not data and is_awaitable(result) else result


async def _inline(slot: Slot, data: Any) -> Any:
    return slot(data)


async def _hopping(slot: Slot, data: Any) -> Any:
    def run(hop: Hop) -> Any:
        result = slot(data)
        if not _is_pending(result, data):
            return result
        return Deferred(result, functools.partial(settled, data=data))

    return await run_in_worker(run, _close_deferred)
