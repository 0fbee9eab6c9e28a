"""Time limits and worker threads: the only module that owns threads.

Python cannot stop a function that runs. A call past its time limit is therefore abandoned: its
caller goes on, its outcome is dropped when it comes, and the process can end without it.

Worker threads are daemons, taken from a list of idle ones, each with a queue of its own. Neither
the interpreter's end nor an event loop's waits for them, as both do for the threads of
`concurrent.futures`.
"""

from __future__ import annotations

import contextlib
import contextvars
import os
import sys
import threading
import time
import types
import weakref
from collections.abc import Awaitable, Coroutine, Generator
from functools import partial
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any, Callable, Final, Generic, Optional, TypeVar

from nitro_dispatch.exceptions import HookError, HookTimeoutError

if TYPE_CHECKING:
    import asyncio

__all__ = [
    "ABANDONED_LIMIT",
    "Hop",
    "await_with_limit",
    "call_with_limit",
    "fork_safe_lock",
    "run_in_worker",
]

ABANDONED_LIMIT: Final = 8
"""So many abandoned calls of one hook may run before it is refused."""

IDLE_LIMIT: Final = 32
"""So many workers are kept for the next calls; those that are more end."""

CLEANUP_SECONDS: Final = 0.1
"""So long a cancelled coroutine may clean up before its caller goes on without it."""

FORK_PATIENCE: Final = 1.0
"""So many seconds a fork waits in all for locks that another thread holds."""

T = TypeVar("T")

_UNSET: Final = object()


# ---- Locks


class _ForkSafeLocks:
    """All locks made by `fork_safe_lock`, which a fork takes before it copies the process."""

    def __init__(self) -> None:
        self._mutex = threading.RLock()
        self._locks: weakref.WeakSet[threading.RLock] = weakref.WeakSet()
        self._taken: list[threading.RLock] = []
        self._missed: list[threading.RLock] = []

    def make(self) -> threading.RLock:
        """Make a lock, not while another thread forks."""
        lock = threading.RLock()
        with self._mutex:
            self._locks.add(lock)
        return lock

    def take_all(self) -> None:
        """Take every lock, in whatever order the other threads take and release theirs."""
        self._mutex.acquire()
        deadline = time.monotonic() + FORK_PATIENCE
        waiting = list(self._locks)
        while waiting:
            lock = waiting.pop()
            patience = 0.0 if self._taken else max(0.0, deadline - time.monotonic())
            if lock.acquire(timeout=patience):
                self._taken.append(lock)
            elif self._taken:
                # Its holder may itself wait for a lock taken here: give all back and begin with it.
                waiting += [*self._taken, lock]
                self._release_taken()
            else:
                self._missed.append(lock)

    def release_all(self) -> None:
        """Release every lock, on either side of the fork.

        What the forking thread held before it still holds, in the child too, and releases there.
        """
        self._release_taken()
        self._missed.clear()
        self._mutex.release()

    def release_in_child(self) -> None:
        """Release every lock, also those whose holder did not let go in time and is gone now."""
        for lock in self._missed:
            # The method by which `threading` and `logging` free their own locks in a child.
            lock._at_fork_reinit()  # type: ignore[attr-defined]
        self.release_all()

    def _release_taken(self) -> None:
        while self._taken:
            self._taken.pop().release()


_fork_safe_locks: Final = _ForkSafeLocks()


def fork_safe_lock() -> threading.RLock:
    """Make a reentrant lock which a child process finds free, whichever thread held it.

    `os.fork` copies only the thread that calls it: a lock that another thread holds at that moment
    would stay locked in the child for ever, and what it guards half changed. Therefore a fork first
    takes all these locks, and releases them on both sides. It waits for their holders, but no
    longer than `FORK_PATIENCE` seconds, as a holder may in turn wait for the forking thread.

    Returns:
        A `threading.RLock`, as fast as any.

    Example:
        >>> lock = fork_safe_lock()
        >>> with lock, lock:
        ...     print("held twice")
        held twice
    """
    return _fork_safe_locks.make()


# ---- Outcomes


class _Outcome(Generic[T]):
    """What a call ended with, carried from where it ran to where it is awaited.

    A future would not do: it takes no `StopIteration`, it complains when nobody asks for its
    exception, and a task lets `SystemExit` end the event loop.
    """

    __slots__ = ("_error", "_value", "ended")

    _value: T
    _error: Optional[BaseException]

    def __init__(self) -> None:
        self.ended = False

    def succeed(self, value: T) -> None:
        """Note the value that the call returned."""
        self._value = value
        self._error = None
        self.ended = True

    def fail(self, error: BaseException, frames: int) -> None:
        """Note the exception that the call raised.

        The first frames of its traceback are those that caught it. They hold this outcome, and with
        them the exception would hold itself.
        """
        traceback = error.__traceback__
        for _ in range(frames):
            traceback = traceback and traceback.tb_next
        self._error = error.with_traceback(traceback)
        self.ended = True

    def take(self) -> T:
        """Return the value or raise the exception, once, and keep neither."""
        if self._error is not None:
            error, self._error = self._error, None
            try:
                raise error
            finally:
                del error
        value = self._value
        del self._value
        return value


# ---- Workers


class _Job(_Outcome[T]):
    """A call for a worker, in a copy of the context in which the job is made."""

    __slots__ = ("_work", "notify")

    _work: Callable[[], T]

    def __init__(self, call: Callable[[Any], T], data: object, notify: Callable[[], None]) -> None:
        super().__init__()
        self._work = partial(contextvars.copy_context().run, call, data)
        self.notify = notify

    def run(self) -> None:
        """Make the call and keep nothing of it but the outcome."""
        work = self._work
        del self._work
        try:
            self.succeed(work())
        except BaseException as error:
            self.fail(error, frames=1)


class _Worker(threading.Thread):
    """A thread that runs one job after another."""

    def __init__(self) -> None:
        super().__init__(name="nitro-dispatch-worker", daemon=True)
        self.jobs: SimpleQueue[_Job[Any]] = SimpleQueue()

    def run(self) -> None:
        """Work until there are idle workers enough."""
        process = os.getpid()
        while self._work(self.jobs.get(), process):
            pass

    def _work(self, job: _Job[Any], process: int) -> bool:
        """Run a job and tell whether another may come."""
        job.run()
        if os.getpid() != process:
            # The call forked and came back in the child, where nobody waits for it.
            return False
        # Idle before its caller goes on, so that the caller's next call finds this same worker.
        stays = _keep(self)
        job.notify()
        return stays


_idle_workers: Final[list[_Worker]] = []
_abandoned_calls: Final[list[tuple[Callable[[], object], threading.Lock]]] = []
"""The key of each abandoned call, and a lock which is locked until that call ends."""

_guard: Final = fork_safe_lock()
"""Held while one of these two lists is changed in a way that depends on what is in it."""


def _keep(worker: _Worker) -> bool:
    """Put a worker on the list of idle ones, unless there are enough."""
    with _guard:
        stays = len(_idle_workers) < IDLE_LIMIT
        if stays:
            _idle_workers.append(worker)
    return stays


def _find_worker() -> _Worker:
    """Take an idle worker, or start one.

    Raises:
        HookError: The interpreter ends, or the system gives no thread.
    """
    if sys.is_finalizing():
        # No other thread runs any more: the caller would wait in vain.
        raise HookError("the interpreter is shutting down: no worker thread can run the hook")
    try:
        return _idle_workers.pop()
    except IndexError:
        worker = _Worker()
    try:
        worker.start()
    except RuntimeError as error:
        message = f"no worker thread can be started to run the hook: {error}"
        raise HookError(message, cause=error) from error
    return worker


# ---- Time limits on functions


def call_with_limit(
    key: object, call: Callable[[Any], object], data: object, seconds: float
) -> object:
    """Call a function and wait for it no longer than its time limit.

    It runs in a worker thread, within a copy of the caller's context. Past the limit it is
    abandoned: it runs on, but what it returns or raises goes nowhere.

    Args:
        key: What abandoned calls are counted by, such as the hook: one object, compared by
            identity, and not kept alive if it can be referred to weakly.
        call: The function.
        data: Its only argument.
        seconds: The time limit, positive. One above `threading.TIMEOUT_MAX` is none.

    Returns:
        What the function returned.

    Raises:
        HookTimeoutError: The limit has passed; or so many earlier calls with this key are abandoned
            and still run (`ABANDONED_LIMIT`) that this one was not begun.
        HookError: There is no thread to be had, as at the interpreter's end.
        BaseException: What the function raised, as it is.

    Example:
        >>> call_with_limit("greet", str.upper, "hello", 2.0)
        'HELLO'
    """
    if seconds > threading.TIMEOUT_MAX:
        return call(data)
    if _abandoned_calls and _count_abandoned(key) >= ABANDONED_LIMIT:
        raise HookTimeoutError(
            f"{ABANDONED_LIMIT} earlier calls of this hook still run past their time limit"
            f" of {seconds:g} s: it is not called again until one of them ends",
            seconds=seconds,
        )
    done = threading.Lock()
    done.acquire()
    job = _Job(call, data, done.release)
    worker = _find_worker()
    try:
        worker.jobs.put(job)
        done.acquire(timeout=seconds)
    finally:
        # A signal's handler may raise while this waits; the call is then abandoned as well.
        in_time = job.ended
        if not in_time:
            _note_abandoned(key, done)
    if in_time:
        return job.take()
    # The exception may be kept, and this frame with it: the late outcome must not be in it.
    del job
    raise HookTimeoutError(seconds=seconds)


def _note_abandoned(key: object, done: threading.Lock) -> None:
    """Remember an abandoned call, without keeping its key alive."""
    try:
        reference: Callable[[], object] = weakref.ref(key)
    except TypeError:
        reference = partial(_identity, key)
    with _guard:
        _abandoned_calls.append((reference, done))


def _identity(key: object) -> object:
    return key


def _count_abandoned(key: object) -> int:
    """Count the abandoned calls with this key which still run, and forget those that do not."""
    with _guard:
        _abandoned_calls[:] = [entry for entry in _abandoned_calls if entry[1].locked()]
        return sum(reference() is key for reference, _ in _abandoned_calls)


# ---- Hops from an event loop to a worker


class Hop:
    """A call that an event loop has handed to a worker, as that call sees it.

    Attributes:
        abandoned: True once the awaiting side has gone, cancelled perhaps. A call of several steps
            looks at it before each of them.
    """

    __slots__ = ("abandoned",)

    def __init__(self) -> None:
        self.abandoned = False


async def run_in_worker(call: Callable[[Hop], T]) -> T:
    """Run a function in a worker thread and await it: one hop there and back.

    It runs within a copy of the caller's context. Cancelling the caller does not wait for it, and
    neither does the end of `asyncio.run`: it runs on, and what it returns or raises goes nowhere.

    Args:
        call: The function. Its only argument tells whether it is still awaited.

    Returns:
        What the function returned.

    Raises:
        HookError: There is no thread to be had, as at the interpreter's end.
        BaseException: What the function raised, as it is; but `StopIteration`, which no coroutine
            can raise, as the cause of the `RuntimeError` that Python makes of it.

    Example:
        >>> import asyncio
        >>> asyncio.run(run_in_worker(lambda hop: hop.abandoned))
        False
    """
    # asyncio is slow to import: who fires no event asynchronously does not pay for it.
    import asyncio

    loop = asyncio.get_running_loop()
    waiter = loop.create_future()
    hop = Hop()
    job = _Job(call, hop, partial(_wake_from_thread, loop, waiter))
    _find_worker().jobs.put(job)
    try:
        await waiter
    except BaseException:
        hop.abandoned = True
        # The exception may be kept, and this frame with it: the late outcome must not be in it.
        del job
        raise
    return job.take()


def _wake_from_thread(loop: asyncio.AbstractEventLoop, waiter: asyncio.Future[None]) -> None:
    """Wake who awaits the future, from another thread."""
    # A loop that has been closed meanwhile says so: then nobody waits any more.
    with contextlib.suppress(RuntimeError):
        loop.call_soon_threadsafe(_wake, waiter)


def _wake(waiter: asyncio.Future[None]) -> None:
    """Wake who awaits the future, unless it is awake already or its loop has been closed."""
    if not waiter.done() and not waiter.get_loop().is_closed():
        waiter.set_result(None)


# ---- Time limits on coroutines


_background_tasks: Final[set[asyncio.Task[None]]] = set()
"""What was left behind: an event loop itself holds its tasks only weakly."""


class _TimedTask(_Outcome[T]):
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
            timer = loop.call_later(seconds, _wake, self._waiter)
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
            _wake(self._waiter)

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


# ---- Forks


def _begin_anew() -> None:
    """Forget, in the child of a fork, the threads of the parent, and free the locks."""
    _idle_workers.clear()
    _abandoned_calls.clear()
    _fork_safe_locks.release_in_child()


# Windows has no fork.
if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_fork_safe_locks.take_all,
        after_in_parent=_fork_safe_locks.release_all,
        after_in_child=_begin_anew,
    )
