"""Time limits on what is awaited."""

from __future__ import annotations

import contextvars
import sys
import threading
import types
from collections.abc import Awaitable, Coroutine, Generator
from typing import TYPE_CHECKING, Any, Final, Optional, TypeVar

from nitro_dispatch.exceptions import HookTimeoutError
from nitro_dispatch.execution import Outcome, wake

if TYPE_CHECKING:
    import asyncio

__all__ = ["CLEANUP_SECONDS", "await_with_limit"]

CLEANUP_SECONDS: Final = 0.1
"""So long a cancelled coroutine may clean up before its caller goes on without it."""

T = TypeVar("T")

_UNSET: Final = object()

_background_tasks: Final[set[asyncio.Task[None]]] = set()
"""What was left behind: an event loop itself holds its tasks only weakly."""


class _TimedTask(Outcome[T]):
    """Something awaited in a task of its own, which can be left behind."""

    __slots__ = ("_abandoned", "_after", "_before", "_coroutine", "_task", "_waiter")

    def __init__(self, awaitable: Awaitable[T]) -> None:
        super().__init__()
        self._coroutine: Coroutine[Any, Any, T] = (
            awaitable if isinstance(awaitable, types.CoroutineType) else _await(awaitable)
        )
        self._abandoned = False
        self._before = self._after = contextvars.copy_context()
        self._waiter: Optional[asyncio.Future[None]] = None
        self._task = _start_task(self._run())

    async def ended_within(self, seconds: float) -> bool:
        """Wait for the end, no longer than some seconds, and tell whether it has come."""
        if not self.ended:
            loop = self._task.get_loop()
            self._waiter = loop.create_future()
            timer = loop.call_later(seconds, wake, self._waiter)
            try:
                await self._waiter
            finally:
                timer.cancel()
        return self.ended

    async def abandon(self) -> None:
        """Cancel the task, give it a moment to clean up, and leave it to itself."""
        self.cancel()
        try:
            await self.ended_within(CLEANUP_SECONDS)
        finally:
            self._abandoned = True

    def cancel(self) -> None:
        """Cancel the task, which may take its time."""
        if self._task.get_loop().is_closed():
            return
        _background_tasks.add(self._task)
        self._task.add_done_callback(_forget)
        self._task.cancel()

    def take(self) -> T:
        """Return the value or raise the exception, and set the context variables that it set."""
        for variable, value in self._after.items():
            if self._before.get(variable, _UNSET) is not value:
                variable.set(value)
        return super().take()

    async def _run(self) -> None:
        """Note the outcome: this is what the task runs."""
        try:
            self.succeed(await self)
        except BaseException as error:
            if self._abandoned and isinstance(error, KeyboardInterrupt):
                # Nobody takes the outcome any more, and what the user typed must not be lost.
                raise
            self.fail(error, frames=2)
        self._after = contextvars.copy_context()
        if self._waiter is not None:
            wake(self._waiter)

    def __await__(self) -> Generator[Any, Any, T]:
        """Step the coroutine to its end, or to a cancellation that it resists once abandoned."""
        cancelled = False
        try:
            if sys.version_info < (3, 12):
                # Here `_start_task` stops and the task begins.
                yield
            waited = self._coroutine.send(None)
            while True:
                try:
                    sent = yield waited
                except BaseException as error:
                    waited = self._coroutine.throw(error)
                    if _is_cancellation(error):
                        if self._abandoned and cancelled:
                            raise
                        cancelled = True
                else:
                    waited = self._coroutine.send(sent)
        except StopIteration as end:
            return end.value  # type: ignore[no-any-return]
        finally:
            self._coroutine.close()


def _is_cancellation(error: BaseException) -> bool:
    # Loaded by now; at the top of the module it would be loaded with the package.
    import asyncio

    return isinstance(error, asyncio.CancelledError)


def _forget(task: asyncio.Task[None]) -> None:
    """Let go of what was left behind, and look at its exception, lest asyncio complain of it."""
    _background_tasks.discard(task)
    if not task.cancelled():
        task.exception()


async def _await(awaitable: Awaitable[T]) -> T:
    """Make a coroutine of anything that can be awaited."""
    return await awaitable


def _start_task(coroutine: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
    """Start a task; from Python 3.12 on its first step is done at once."""
    # Loaded by now; at the top of the module it would be loaded with the package.
    import asyncio

    loop = asyncio.get_running_loop()
    task: asyncio.Task[None]
    if sys.version_info >= (3, 12):
        task = asyncio.Task(coroutine, loop=loop, eager_start=True)
    else:
        # Begun already, it learns of a cancellation that comes before the task's first step.
        coroutine.send(None)
        task = loop.create_task(coroutine)
    return task


async def await_with_limit(awaitable: Awaitable[T], seconds: float) -> T:
    """Await something no longer than its time limit.

    It runs in a task of its own, from its first step to its last. Scopes such as `asyncio.timeout`
    and `asyncio.TaskGroup` work by cancelling the task in which they were entered: were that the
    caller's, nobody could tell such a cancellation from one of the caller, and what is left behind
    could still cancel the caller later. The context variables that it sets reach the caller.

    Past the limit it is cancelled. It has `CLEANUP_SECONDS` to come to its end; then it is left
    behind, as a background task which the next cancellation ends for good, so that `asyncio.run`
    need not wait for it. What it returns or raises then goes nowhere.

    Args:
        awaitable: A coroutine, a future, or any other object that can be awaited.
        seconds: The time limit, positive. One above `threading.TIMEOUT_MAX` is none.

    Returns:
        What the awaitable came to.

    Raises:
        HookTimeoutError: The limit has passed.
        asyncio.CancelledError: The caller was cancelled; the awaitable has then been cancelled too.
        BaseException: What the awaitable raised, as it is.

    Example:
        >>> import asyncio
        >>> asyncio.run(await_with_limit(asyncio.sleep(0.01, "rested"), 2.0))
        'rested'
    """
    if seconds > threading.TIMEOUT_MAX:
        return await awaitable
    # asyncio is slow to import: who fires no event asynchronously does not pay for it.
    import asyncio

    timed = _TimedTask(awaitable)
    try:
        in_time = await timed.ended_within(seconds)
    except asyncio.CancelledError:
        await timed.abandon()
        raise
    except GeneratorExit:
        # The caller is closed and may not await any more.
        timed.cancel()
        raise
    if in_time:
        return timed.take()
    await timed.abandon()
    # The exception may be kept, and this frame with it: the late outcome must not be in it.
    del timed
    raise HookTimeoutError(seconds=seconds)
