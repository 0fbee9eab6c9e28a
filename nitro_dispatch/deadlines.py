"""Time limits on what is awaited."""

from __future__ import annotations

import threading
from collections.abc import Awaitable, Coroutine, Generator
from contextvars import Context, copy_context
from functools import cache, partial
from sys import getrefcount
from time import monotonic
from types import CoroutineType
from types import coroutine as coroutine_function
from typing import TYPE_CHECKING, Any, Callable, Final, NoReturn, Optional, TypeVar

from nitro_dispatch.awaitables import Deferred, close_awaitable, is_awaitable, settled
from nitro_dispatch.exceptions import HookTimeoutError
from nitro_dispatch.execution import wake
from nitro_dispatch.failures import entry_point_of_dispatch
from nitro_dispatch.outcomes import Outcome
from nitro_dispatch.stage import SpareTask, bring_back, on_stage, spare_task

if TYPE_CHECKING:
    import asyncio

__all__ = ["CLEANUP_SECONDS", "await_with_limit", "dismiss", "first_step"]

CLEANUP_SECONDS: Final = 0.1
"""So long a cancelled coroutine may clean up before its caller goes on without it."""

T = TypeVar("T")


class _Suspended(Outcome[T]):
    """A coroutine that has suspended: to await it is to wait for its end, up to its time limit."""

    __slots__ = (
        "_abandoned",
        "_before",
        "_began",
        "_cancelled",
        "_context",
        "_coroutine",
        "_data",
        "_seconds",
        "_spare",
        "_waited",
        "_waiter",
    )

    def __init__(
        self,
        coroutine: Coroutine[Any, Any, T],
        waited: object,
        seconds: float,
        began: float,
        before: Context,
        spare: SpareTask,
        data: object,
    ) -> None:
        super().__init__()
        self._coroutine = coroutine
        self._waited = waited
        self._seconds = seconds
        self._began = began
        self._before = before
        self._spare = spare
        self._data = data
        self._context = spare.context
        self._cancelled = False
        self._abandoned = False
        self._waiter: Optional[asyncio.Future[None]] = None
        spare.ended = before
        spare.give(self)

    def __await__(self) -> Generator[Any, Any, T]:
        return self._take_in_time().__await__()

    async def _take_in_time(self) -> Any:
        await self.wait()
        result: Any = self.take()
        if self._awaits(result):
            return await await_with_limit(result, self._seconds, self._data, self._began)
        return result

    def _awaits(self, result: object) -> bool:
        return result is not self._data and is_awaitable(result)

    async def wait(self) -> None:
        """Wait for the end.

        Raises:
            HookTimeoutError: The limit has passed.
        """
        # Loaded by now; at the top of the module it would be loaded with the package.
        import asyncio

        try:
            left = self._began + self._seconds - monotonic()
            waiter = _waiter_class()(self.cancel, loop=self._spare.loop)
            in_time = await self._ended_within(max(left, 0.0), waiter)
        except asyncio.CancelledError:
            await self._abandon()
            raise
        except GeneratorExit:
            # The caller is closed and may not await any more.
            self.cancel()
            self._abandoned = True
            self._discard()
            raise
        if not in_time:
            await self._abandon()
            raise HookTimeoutError(seconds=self._seconds)

    async def _ended_within(self, seconds: float, waiter: asyncio.Future[None]) -> bool:
        """Wait for the end, no longer than some seconds, and tell whether it has come."""
        if not self.ended:
            self._waiter = waiter
            timer = self._spare.loop.call_later(seconds, wake, waiter)
            try:
                await waiter
            finally:
                timer.cancel()
                self._waiter = None
        return self.ended

    async def _abandon(self) -> None:
        """Cancel the task, give it a moment to clean up, and leave it to itself."""
        self.cancel()
        try:
            await self._ended_within(CLEANUP_SECONDS, self._spare.loop.create_future())
        finally:
            self._abandoned = True
            self._discard()
            self._end_for_good()

    def _end_for_good(self) -> None:
        """End what resists, if the task itself is to end, as at the end of `asyncio.run`."""
        # That cancels it once, and waits for it.
        cancelled_by_others = self._spare.task.cancels > 1
        if cancelled_by_others and not self.ended and not self._spare.loop.is_closed():
            self._spare.task.cancel()

    def _discard(self) -> None:
        result = self.drop()
        if self._awaits(result):
            close_awaitable(result)

    def cancel(self) -> None:
        """Cancel the task, once; it may take its time."""
        if not self._cancelled and not self._spare.loop.is_closed():
            self._cancelled = True
            dismiss(self._spare.task)

    def take(self) -> T:
        """Return the value or raise the exception, and set the context variables that it set."""
        bring_back(self._context, self._before)
        return super().take()

    @entry_point_of_dispatch
    async def run(self, cancelled: Optional[BaseException]) -> None:
        """Step the coroutine to its end, and note the outcome: this is what the task runs.

        Args:
            cancelled: A cancellation that came before the task could begin.
        """
        try:
            result = await self._steps(cancelled)
            if monotonic() - self._began > self._seconds:
                _refuse_late(result, self._seconds, self._data)
            self.succeed(result)
        except BaseException as error:
            if self._abandoned and isinstance(error, KeyboardInterrupt):
                # Nobody takes the outcome any more, and what the user typed must not be lost.
                raise
            self.fail(error, frames=2)
        if self._abandoned:
            self._discard()
        if self._waiter is not None:
            wake(self._waiter)

    @coroutine_function
    def _steps(self, cancelled: Optional[BaseException]) -> Any:
        """Step the coroutine to its end, or to a cancellation that it resists once abandoned."""
        step = self._context.run
        resisted = False
        try:
            waited = self._waited
            if cancelled is not None and not _cancel(waited, cancelled):
                waited = step(self._coroutine.throw, cancelled)
            while True:
                try:
                    sent = yield waited
                except BaseException as error:
                    waited = step(self._coroutine.throw, error)
                    if _is_cancellation(error):
                        if self._abandoned and resisted:
                            raise
                        resisted = True
                else:
                    waited = step(self._coroutine.send, sent)
        except StopIteration as end:
            return end.value
        finally:
            self._coroutine.close()


@cache
def _waiter_class() -> Any:
    """Make the class of what callers wait for, once asyncio is loaded."""
    # Loaded by now; at the top of the module it would be loaded with the package.
    import asyncio

    class Waiter(asyncio.Future):  # type: ignore[type-arg]
        """A future that passes a cancellation on at once, as a task does that awaits another.

        The end of `asyncio.run` cancels both tasks: to hear of it twice, one after the other, would
        disturb the cleanup of a coroutine.
        """

        def __init__(self, cancelled: Callable[[], None], **options: Any) -> None:
            super().__init__(**options)
            self._cancelled = cancelled

        def cancel(self, *arguments: Any, **options: Any) -> bool:
            self._cancelled()
            return super().cancel(*arguments, **options)

    return Waiter


def _cancel(waited: Any, cancelled: BaseException) -> bool:
    """Cancel what a coroutine waits for, if that can be done: the coroutine will hear of it."""
    # Loaded by now; at the top of the module it would be loaded with the package.
    import asyncio

    return asyncio.isfuture(waited) and waited.cancel(*cancelled.args)


def _is_cancellation(error: BaseException) -> bool:
    # Loaded by now; at the top of the module it would be loaded with the package.
    import asyncio

    return isinstance(error, asyncio.CancelledError)


def dismiss(task: asyncio.Task[Any]) -> None:
    """Cancel a task of which nobody wants to hear any more; it may take its time.

    Args:
        task: A task of an event loop that is not closed.
    """
    # An event loop keeps its tasks only weakly, but its timers until their time or its own end.
    keeper = task.get_loop().call_later(threading.TIMEOUT_MAX, task.done)
    task.add_done_callback(partial(_forget, keeper))
    # Nobody need know either if the loop is closed before the task has ended.
    task._log_destroy_pending = False  # type: ignore[attr-defined]
    task.cancel()


def _forget(keeper: asyncio.TimerHandle, task: asyncio.Task[Any]) -> None:
    """Let go of what was left behind, and look at its exception, lest asyncio complain of it."""
    keeper.cancel()
    if not task.cancelled():
        task.exception()


def first_step(
    call: Callable[[Any], Awaitable[T]], seconds: float, data: Any, began: Optional[float] = None
) -> Any:
    """Let what a function returns take its first step, `on_stage`.

    Args:
        call: The function, which returns a coroutine or something else that can be awaited.
        seconds: The time limit, positive.
        data: The argument of the function.
        began: When the time began, as `time.monotonic` tells it; None for now.

    Returns:
        What the coroutine returned. If it has suspended, if what it returned has to be awaited in
        its turn, or if the task on stage is known to one before it: an awaitable of that, with what
        is left of its time, which raises `HookTimeoutError` as `await_with_limit` does.

    Raises:
        HookTimeoutError: The first step was the last, and took longer than the limit.
        BaseException: What the function or the coroutine raised, as it is.
    """
    made: Any = call(data)
    spare: Any = spare_task.get()
    # One before it keeps the task, or has cancelled it.
    if getrefcount(spare.task) != spare.references:
        return Deferred(made, partial(await_with_limit, seconds=seconds, data=data))
    coroutine = made if type(made) is CoroutineType else settled(made, data)
    before = copy_context()
    if began is None:
        began = monotonic()
    steps = spare.first_steps
    try:
        result = steps.send(coroutine)
    except BaseException:
        spare.begin()
        raise
    if steps.gi_yieldfrom is not None:
        return _Suspended(coroutine, result, seconds, began, before, spare, data)
    if monotonic() - began > seconds:
        _refuse_late(result, seconds, data)
    if type(result) is spare.plain or result is data or not spare.awaits(result):
        return result
    return Deferred(result, partial(await_with_limit, seconds=seconds, data=data, began=began))


def _refuse_late(result: object, seconds: float, data: object) -> NoReturn:
    """Refuse what is late though no timer told: it held up the event loop, and so its own timer."""
    if result is not data and is_awaitable(result):
        close_awaitable(result)
    raise HookTimeoutError(seconds=seconds)


def _outcome_of(
    awaitable: Awaitable[T], seconds: float, data: object, began: Optional[float]
) -> Outcome[T]:
    """Let something take its first step, and give its outcome, which may be still to come."""
    outcome: Outcome[T] = Outcome()
    try:
        result = first_step(partial(settled, awaitable), seconds, data, began)
    except BaseException as error:
        outcome.fail(error, frames=2)
    else:
        if isinstance(result, _Suspended):
            return result
        outcome.succeed(result)
    return outcome


async def await_with_limit(
    awaitable: Awaitable[T], seconds: float, data: object = None, began: Optional[float] = None
) -> T:
    """Await something, and what it comes to in its turn, no longer than its time limit.

    It does not run in the caller's task; the context variables that it sets reach the caller.

    Past the limit it is cancelled. It has `CLEANUP_SECONDS` to come to its end; then it is left
    behind, as a background task which the next cancellation ends for good, so that `asyncio.run`
    need not wait for it. What it returns or raises then goes nowhere.

    Args:
        awaitable: A coroutine, a future, or any other object that can be awaited.
        seconds: The time limit, positive. One above `threading.TIMEOUT_MAX` is none.
        data: What it may come to and is not awaited, also if it could be.
        began: When the time began, as `time.monotonic` tells it; None for now.

    Returns:
        What the awaitable came to in the end.

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
        result: T = await settled(awaitable, data)
        return result
    try:
        outcome: Outcome[T] = on_stage(_outcome_of, awaitable, seconds, data, began)
    except RecursionError:
        # It has not begun: tasks are nested too deeply.
        close_awaitable(awaitable)
        raise
    if isinstance(outcome, _Suspended):
        await outcome.wait()
    return outcome.take()
