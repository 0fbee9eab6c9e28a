"""The compiled dispatch: the hooks of one event as a list of callables of one shape.

A `Chain` is a list of *slots*. In a sync chain a slot takes the data and returns the hook's result;
in an async one it returns an awaitable of it. Whatever a hook needs besides (a time limit, the
event's name, a tracer) is wrapped into its slot when the chain is compiled, so that the loops below
have one shape, and pay for nothing that a hook did not ask for.

A slot of a hook that goes away is overwritten while the chain may be running: the loop that is
under way then finds a slot that does nothing, without a check on each call.
"""

from __future__ import annotations

import functools
from collections.abc import Awaitable, Iterator
from typing import Any, Callable, NamedTuple, Optional

from nitro_dispatch.exceptions import StopPropagation
from nitro_dispatch.execution import Hop, await_with_limit, run_in_worker
from nitro_dispatch.failures import (
    FailureHandler,
    HookFailure,
    close_awaitable,
    entry_point_of_dispatch,
    is_awaitable,
)
from nitro_dispatch.hooks import HookImpl

__all__ = [
    "Chain",
    "HookResult",
    "Segment",
    "each",
    "each_async",
    "run_async",
    "run_recorded",
    "run_recorded_async",
    "run_sync",
]

Slot = Callable[[Any], Any]


class HookResult(NamedTuple):
    """What one hook answered to `collect`.

    Args:
        plugin: The name of the plugin that owns the hook.
        hook: The name of the hook.
        value: What the hook returned.
    """

    plugin: str
    hook: str
    value: Any


class Stopped(StopPropagation):
    """A hook inside of a slot that runs several stopped the propagation; carries the data."""

    def __init__(self, data: Any) -> None:
        super().__init__()
        self.data = data


class Chain(list[Slot]):
    """The slots of one event, and the hooks that stand behind them.

    Args:
        event: The event that the chain was compiled for.
        hooks: The hook behind each slot; None where a slot deals with its own failures.
        make: Makes the slot of a hook, for one that takes the place of another.
        silent: The slot that does nothing.
        failures: What to do when a hook fails.
    """

    __slots__ = ("__weakref__", "event", "failures", "hooks", "make", "silent")

    # A chain is one of a kind, also among those with the same slots.
    __eq__ = object.__eq__
    __hash__ = object.__hash__  # type: ignore[assignment]

    def __init__(
        self,
        event: str,
        hooks: list[Optional[HookImpl]],
        make: Callable[[HookImpl], Slot],
        silent: Slot,
        failures: FailureHandler,
    ) -> None:
        super().__init__([silent] * len(hooks))
        self.event = event
        self.hooks = hooks
        self.make = make
        self.silent = silent
        self.failures = failures
        for place, hook in enumerate(hooks):
            if hook is not None:
                self[place] = make(hook)

    def current(self, steps: Iterator[Slot]) -> Optional[HookImpl]:
        """Name the hook whose slot an iterator gave last, without counting on each call."""
        return self.hooks[len(self) - steps.__length_hint__() - 1]  # type: ignore[attr-defined]

    def failure(self, steps: Iterator[Slot], error: BaseException) -> HookFailure:
        """Say which hook failed; an error that its slot has dealt with is raised again."""
        hook = self.current(steps)
        if hook is None:
            raise error
        return HookFailure(hook, self.event, error)

    def failed(self, steps: Iterator[Slot], error: BaseException) -> None:
        """Deal with a failure where nothing can be awaited."""
        self.failures.handle_sync(self.failure(steps, error))

    async def failed_async(self, steps: Iterator[Slot], error: BaseException) -> None:
        """Deal with a failure where an async `on_error` can be awaited."""
        await self.failures.handle_async(self.failure(steps, error))

    def failed_in_worker(
        self, steps: Iterator[Slot], error: BaseException
    ) -> Optional[Awaitable[object]]:
        """Deal with a failure in a worker thread; what is to be awaited is left to the loop."""
        failure = self.failure(steps, error)
        told = self.failures.handle(failure)
        return None if told is None else self.failures.finish(failure, told)

    def refuse(self, steps: Iterator[Slot], awaitable: object) -> None:
        """Give up an awaitable that a sync dispatch came upon: it never becomes the data."""
        close_awaitable(awaitable)
        hook = self.current(steps)
        if hook is not None:
            self.failures.skip(hook)


class Walk(NamedTuple):
    """How far a walk through a sync chain came."""

    data: Any
    stopped: bool = False
    pending: Optional[Awaitable[Any]] = None


def walk(
    chain: Chain,
    steps: Iterator[Slot],
    data: Any,
    failed: Callable[[Iterator[Slot], BaseException], Optional[Awaitable[object]]],
    hop: Optional[Hop] = None,
) -> Walk:
    """Run the slots of a sync chain until its end, or until something has to be awaited."""
    while True:
        try:
            for slot in steps:
                result = slot(data)
                if result is not None and result is not data:
                    if is_awaitable(result):
                        return Walk(data, pending=result)
                    data = result
                if hop is not None and hop.abandoned:
                    break
            return Walk(data)
        except StopPropagation:
            return Walk(data, stopped=True)
        except (Exception, SystemExit) as error:
            pending = failed(steps, error)
            if pending is not None:
                return Walk(data, pending=pending)


def run_sync(chain: Chain, data: Any) -> Any:
    """Run a sync chain to its end.

    Args:
        chain: The chain to run.
        data: What the hooks are given.

    Returns:
        The data as the hooks left it.
    """
    steps = iter(chain)
    while True:
        walked = walk(chain, steps, data, chain.failed)
        data = walked.data
        if walked.pending is None:
            return data
        chain.refuse(steps, walked.pending)


def run_recorded(chain: Chain, data: Any) -> Any:
    """Run a sync chain; its errors become the caller's last ones.

    Args:
        chain: The chain to run.
        data: What the hooks are given.

    Returns:
        The data as the hooks left it.
    """
    with chain.failures.recording():
        return run_sync(chain, data)


@entry_point_of_dispatch
async def run_async(chain: Chain, data: Any) -> Any:
    """Run an async chain to its end.

    Args:
        chain: The chain to run.
        data: What the hooks are given.

    Returns:
        The data as the hooks left it.
    """
    steps = iter(chain)
    while True:
        try:
            for slot in steps:
                result = await slot(data)
                if result is not None and result is not data:
                    data = await _awaited(result, data) if is_awaitable(result) else result
            return data
        except Stopped as stopped:
            return stopped.data
        except StopPropagation:
            return data
        except (Exception, SystemExit) as error:
            await chain.failed_async(steps, error)


async def run_recorded_async(chain: Chain, data: Any) -> Any:
    """Run an async chain; its errors become the caller's last ones.

    Args:
        chain: The chain to run.
        data: What the hooks are given.

    Returns:
        The data as the hooks left it.
    """
    with chain.failures.recording():
        return await run_async(chain, data)


async def _awaited(result: Any, data: Any) -> Any:
    """Await a result until it can become the data."""
    while is_awaitable(result):
        result = await result
    return data if result is None else result


class Segment:
    """A run of sync hooks inside of an async chain: one slot that deals with its own failures.

    Args:
        chain: The sync chain of the run.
        inline: Whether it runs in the event loop's own thread instead of in a worker.
    """

    def __init__(self, chain: Chain, *, inline: bool) -> None:
        self._chain = chain
        self._inline = inline

    async def __call__(self, data: Any) -> Any:
        """Run the hooks on the data, and return the data as they left it."""
        steps = iter(self._chain)
        while True:
            walked = await self._walk(steps, data)
            data = walked.data
            if walked.stopped:
                raise Stopped(data)
            if walked.pending is None:
                return data
            try:
                data = await _awaited(self._limited(steps, walked.pending), data)
            except StopPropagation:
                raise Stopped(data) from None
            except (Exception, SystemExit) as error:
                await self._chain.failed_async(steps, error)

    async def _walk(self, steps: Iterator[Slot], data: Any) -> Walk:
        if self._inline:
            return walk(self._chain, steps, data, self._chain.failed_in_worker)
        return await run_in_worker(functools.partial(self._walk_in_worker, steps, data))

    @entry_point_of_dispatch
    def _walk_in_worker(self, steps: Iterator[Slot], data: Any, hop: Hop) -> Walk:
        walked = walk(self._chain, steps, data, self._chain.failed_in_worker, hop)
        if hop.abandoned:
            close_awaitable(walked.pending)
        return walked

    def _limited(self, steps: Iterator[Slot], pending: Awaitable[Any]) -> Awaitable[Any]:
        hook = self._chain.current(steps)
        if hook is None or hook.timeout is None:
            return pending
        return await_with_limit(pending, hook.timeout)


def each(
    chain: Chain, data: Any, failed: Callable[[HookFailure], object]
) -> Iterator[tuple[HookImpl, Any]]:
    """Give every hook of a sync chain the same data.

    Args:
        chain: The chain to run.
        data: What each hook is given.
        failed: What to do with a failure.

    Yields:
        Each hook that returned something, with its result.
    """
    steps = iter(chain)
    for slot in steps:
        try:
            value = slot(data)
        except StopPropagation:
            return
        except (Exception, SystemExit) as error:
            failed(chain.failure(steps, error))
            continue
        hook = chain.current(steps)
        if is_awaitable(value):
            chain.refuse(steps, value)
        elif value is not None and hook is not None:
            yield hook, value


async def each_async(chain: Chain, data: Any) -> list[tuple[HookImpl, Any]]:
    """Give every hook of an async chain the same data, all at once.

    Args:
        chain: The chain to run, with a slot for each hook.
        data: What each hook is given.

    Returns:
        Each hook that returned something, with its result, in the order of the hooks.
    """
    import asyncio  # Slow to import, and only needed by those who use it.

    stopped: list[int] = []

    async def one(place: int) -> Any:
        try:
            return await _awaited(chain[place](data), None)
        except StopPropagation:
            stopped.append(place)
        except (Exception, SystemExit) as error:
            hook = chain.hooks[place]
            if hook is None:
                raise
            await chain.failures.handle_async(HookFailure(hook, chain.event, error))

    tasks = [asyncio.ensure_future(one(place)) for place in range(len(chain))]
    try:
        values = await asyncio.gather(*tasks)
    except BaseException:
        for task in tasks:
            task.cancel()
        raise
    end = min(stopped, default=len(chain))
    found = zip(chain.hooks[:end], values)
    return [(hook, value) for hook, value in found if hook is not None and value is not None]
