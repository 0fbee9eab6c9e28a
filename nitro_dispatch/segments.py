"""Neighbouring hooks that share one slot of a chain: a hop to a worker, a stage, a time limit."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import Any, Callable, NoReturn, Optional, TypeVar

from nitro_dispatch.awaitables import awaited
from nitro_dispatch.chain import Chain, Slot, Walk, walk
from nitro_dispatch.exceptions import StopPropagation
from nitro_dispatch.execution import Hop, Progress, call_with_limit, run_in_worker
from nitro_dispatch.failures import Stopped, entry_point_of_dispatch

__all__ = ["Segment", "TimedRun", "inline", "run_apart", "run_recorded_async"]

Result = TypeVar("Result")


def inline(call: Callable[..., Result], *arguments: Any) -> Result:
    """Run a function here and now."""
    return call(*arguments)


class Segment:
    """A run of hooks inside of an async chain: one slot that deals with its own failures.

    Args:
        chain: The chain of the run; what its slots return is awaited where it has to be.
        where: Runs a function in the event loop's own thread; None for a worker thread.
    """

    __slots__ = ("_where", "chain")

    def __init__(self, chain: Chain, where: Optional[Callable[..., Walk]]) -> None:
        self.chain = chain
        self._where = where

    async def __call__(self, data: Any) -> Any:
        """Run the hooks on the data, and return the data as they left it."""
        steps = iter(self.chain)
        while True:
            if self._where is None:
                run = functools.partial(self._walk_in_worker, steps, data)
                walked = await run_in_worker(run, Walk.close)
            else:
                walked = self._where(walk, self.chain, steps, data, self.chain.failed_in_worker)
            data = walked.data
            if walked.stopped:
                raise Stopped(data)
            if walked.telling is not None:
                await walked.telling.finish()
            elif walked.pending is None:
                return data
            else:
                data = await self._awaited(steps, walked.pending, data)

    async def _awaited(self, steps: Iterator[Slot], pending: Any, data: Any) -> Any:
        try:
            return await awaited(pending, data)
        except Stopped:
            raise
        except StopPropagation:
            raise Stopped(data) from None
        except (Exception, SystemExit) as error:
            await self.chain.failed_async(steps, error)
            return data

    @entry_point_of_dispatch
    def _walk_in_worker(self, steps: Iterator[Slot], data: Any, token: Hop) -> Walk:
        return walk(self.chain, steps, data, self.chain.failed_in_worker, token)


class TimedRun:
    """Neighbours in a sync chain with one time limit: one slot that deals with its own failures.

    They share a hand-off to a worker thread, which costs thirty times a plain call. Each has all of
    its time. The hand-off ends early with a hook that fails, and another begins behind it.

    Args:
        chain: The chain of the neighbours.
        seconds: Their time limit.
    """

    __slots__ = ("_seconds", "chain")

    def __init__(self, chain: Chain, seconds: float) -> None:
        self.chain = chain
        self._seconds = seconds

    def __call__(self, data: Any) -> Any:
        """Run the hooks on the data, and return the data as they left it."""
        chain, place = self.chain, 0
        while place < len(chain):
            progress = Progress(chain.hooks[place:], self._seconds, data)
            steps = chain.behind_place(place - 1)
            run = functools.partial(self._run, steps, progress)
            try:
                walked = call_with_limit(None, run, data, self._seconds, progress, Walk.close)
            except _Apart as apart:
                walked = walk(apart.chain, iter(apart.chain), progress.data, apart.chain.failed)
            except (Exception, SystemExit) as error:
                place += max(progress.begun, 1)
                data = progress.data
                chain.failed(chain.behind_place(place - 1), error)
                continue
            place += progress.begun
            data = walked.data
            if walked.stopped:
                raise Stopped(data)
            if walked.pending is not None:
                chain.refuse(chain.behind_place(place - 1), walked.pending)
        return data

    @entry_point_of_dispatch
    def _run(self, steps: Iterator[Slot], progress: Progress, data: Any) -> Walk:
        return walk(self.chain, steps, data, _raise, progress)


def _raise(steps: Iterator[Slot], error: BaseException) -> NoReturn:
    raise error


class _Apart(Exception):
    """A hook has taken a place in a `TimedRun`, and its limit is not that of its neighbours."""

    def __init__(self, chain: Chain) -> None:
        super().__init__()
        self.chain = chain


def run_apart(chain: Chain, data: Any) -> NoReturn:
    """Let a `TimedRun` run a chain by itself instead of the hook that is called here."""
    raise _Apart(chain)


async def run_recorded_async(segment: Segment, data: Any) -> Any:
    """Run an async chain; its errors become the caller's last ones.

    Args:
        segment: The whole chain.
        data: What the hooks are given.

    Returns:
        The data as the hooks left it.
    """
    with segment.chain.failures.recording():
        return await segment(data)
