"""Time limits and worker threads: the only module that owns threads.

Python cannot stop a function that runs. A call past its time limit is therefore abandoned: its
caller goes on, its outcome is dropped when it comes, and the process can end without it.

Worker threads are daemons, taken from a list of idle ones, each with a queue of its own. Neither
the interpreter's end nor an event loop's waits for them, as both do for the threads of
`concurrent.futures`.
"""

from __future__ import annotations

import contextvars
import os
import sys
import threading
import time
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Callable, Final, Optional, TypeVar

from nitro_dispatch.exceptions import HookError, HookTimeoutError
from nitro_dispatch.locks import fork_safe_lock
from nitro_dispatch.outcomes import Outcome
from nitro_dispatch.references import reference_to

if TYPE_CHECKING:
    import asyncio

__all__ = [
    "ABANDONED_IN_ALL",
    "ABANDONED_LIMIT",
    "Hop",
    "Progress",
    "call_with_limit",
    "run_in_worker",
    "wake",
]

ABANDONED_LIMIT: Final = 8
"""So many abandoned calls of one hook may run before it is refused."""

ABANDONED_IN_ALL: Final = 512
"""So many abandoned calls may run before no further thread is started for calls."""

IDLE_LIMIT: Final = 32
"""So many workers are kept for the next calls; those that are more end."""

T = TypeVar("T")

# ---- Workers


class _Job(Outcome[T]):
    """A call for a worker, in a copy of the context in which the job is made.

    Args:
        call: What the worker calls.
        data: Its argument.
        notify: Is called in the worker when the call has ended, and raises RuntimeError if nobody
            can be told.
        discard: Is called with a result that comes when nobody waits for it any more.
    """

    __slots__ = ("_discard", "_given_up", "_work", "notify")

    _work: Callable[[], T]

    def __init__(
        self,
        call: Callable[[Any], T],
        data: object,
        notify: Callable[[], None],
        discard: Optional[Callable[[T], object]],
    ) -> None:
        super().__init__()
        self._work = partial(contextvars.copy_context().run, call, data)
        self._given_up = False
        self._discard = discard
        self.notify = notify

    def run(self) -> None:
        """Make the call and keep nothing of it but the outcome."""
        work = self._work
        del self._work
        try:
            self.succeed(work())
        except BaseException as error:
            self.fail(error, frames=1)
        if self._given_up:
            self._discard_late()

    def give_up(self) -> None:
        """Wait for the outcome no longer."""
        self._given_up = True
        if self.ended:
            self._discard_late()

    def _discard_late(self) -> None:
        # Whichever thread comes second finds the outcome; if both do, the later finds none.
        value = self.drop()
        if value is not None and self._discard is not None:
            self._discard(value)


class _Worker(threading.Thread):
    """A thread that runs one job after another."""

    def __init__(self) -> None:
        # Imported here because it is slow to import, and not every program needs a worker.
        from queue import SimpleQueue

        super().__init__(name="nitro-dispatch-worker", daemon=True)
        self.jobs: SimpleQueue[_Job[Any]] = SimpleQueue()

    def run(self) -> None:
        """Work until there are idle workers enough."""
        while self._work(self.jobs.get(), _forks):
            pass

    def _work(self, job: _Job[Any], forks: int) -> bool:
        """Run a job and tell whether another may come."""
        job.run()
        if forks != _forks:
            # The call forked and came back in the child, where nobody waits for it.
            return False
        # Idle before its caller goes on, so that the caller's next call finds this same worker.
        stays = _keep(self)
        try:
            job.notify()
        except RuntimeError:
            # The event loop has been closed meanwhile: nobody waits any more.
            job.give_up()
        return stays


_forks = 0
"""So many forks lie between the first process and this one."""

_idle_workers: Final[list[_Worker]] = []
_Abandoned = tuple[Callable[[], object], threading.Lock]
"""The key of an abandoned call, and a lock which is locked until that call ends."""

_abandoned_calls: Final[list[_Abandoned]] = []

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
        HookError: The interpreter ends, the system gives no thread, or too many of those that it
            gave are stuck.
    """
    if sys.is_finalizing():
        # No other thread runs any more: the caller would wait in vain.
        raise HookError("the interpreter is shutting down: no worker thread can run the hook")
    try:
        return _idle_workers.pop()
    except IndexError:
        worker = _Worker()
    if len(_still_running()) >= ABANDONED_IN_ALL:
        raise HookError(
            f"no worker thread is started to run the hook: {ABANDONED_IN_ALL} earlier calls of"
            " hooks still run, though nobody waits for them any more: see what they are stuck at"
        )
    try:
        worker.start()
    except RuntimeError as error:
        message = f"no worker thread can be started to run the hook: {error}"
        raise HookError(message, cause=error) from error
    return worker


# ---- Time limits on functions


class Progress:
    """How far a worker has come with several calls, each of which has the same time limit.

    Args:
        keys: What abandoned calls are counted by, one for each call.
        seconds: The time limit, positive.
        data: What the first call is given.
    """

    __slots__ = ("_began", "_given_up", "_guard", "_keys", "_seconds", "begun", "data")

    def __init__(self, keys: Sequence[object], seconds: float, data: object) -> None:
        self.data = data
        self.begun = 0
        self._keys = keys
        self._seconds = seconds
        self._began = time.monotonic()
        self._given_up = False
        self._guard = threading.Lock()

    def begins(self, data: object) -> bool:
        """Take note, in the worker, that the next call begins.

        Args:
            data: What it is given.

        Returns:
            False if nobody waits any more: then it must not be made.

        Raises:
            HookTimeoutError: Too many earlier calls with its key are abandoned and still run.
        """
        with self._guard:
            if self._given_up:
                return False
            self.begun += 1
            self.data = data
            self._began = time.monotonic()
        if _abandoned_calls:
            _refuse_if_stuck(self._keys[self.begun - 1], self._seconds)
        return True

    def left(self) -> float:
        """Tell how many seconds the call under way has left; if none, no other begins any more."""
        with self._guard:
            left = self._began + self._seconds - time.monotonic()
            self._given_up = left <= 0
        return left

    def give_up(self) -> object:
        """Let no other call begin, and give the key of the one under way."""
        with self._guard:
            self._given_up = True
        # The worker may not have come to the first one.
        return self._keys[max(self.begun - 1, 0)]


def call_with_limit(
    key: object,
    call: Callable[[Any], T],
    data: object,
    seconds: float,
    progress: Optional[Progress] = None,
    discard: Optional[Callable[[T], object]] = None,
) -> T:
    """Call a function and wait for it no longer than its time limit.

    It runs in a worker thread, within a copy of the caller's context. Past the limit it is
    abandoned: it runs on, but what it returns or raises goes nowhere.

    Args:
        key: What abandoned calls are counted by, such as the hook: one object, compared by
            identity, and not kept alive if it can be referred to weakly.
        call: The function.
        data: Its only argument.
        seconds: The time limit, positive. One above `threading.TIMEOUT_MAX` is none.
        progress: Of a function that makes several calls: how far it has come. Each has the time
            limit by itself, and a key of its own instead of the one here.
        discard: Is called with a result that comes too late, in whichever thread.

    Returns:
        What the function returned.

    Raises:
        HookTimeoutError: The limit has passed; or so many earlier calls with this key are abandoned
            and still run (`ABANDONED_LIMIT`) that this one was not begun.
        HookError: There is no thread to be had, as at the interpreter's end, or where so many
            abandoned calls of all keys still run (`ABANDONED_IN_ALL`).
        BaseException: What the function raised, as it is.

    Example:
        >>> call_with_limit("greet", str.upper, "hello", 2.0)
        'HELLO'
    """
    if seconds > threading.TIMEOUT_MAX:
        return call(data)
    if _abandoned_calls and progress is None:
        _refuse_if_stuck(key, seconds)
    done = threading.Lock()
    done.acquire()
    job = _Job(call, data, done.release, discard)
    worker = _find_worker()
    in_time = False
    try:
        worker.jobs.put(job)
        left = seconds
        while not done.acquire(timeout=left) and progress is not None:
            left = progress.left()
            if left <= 0:
                break
        in_time = job.ended
    finally:
        # A signal's handler may raise while this waits; the call is then abandoned as well.
        if not in_time:
            job.give_up()
            _note_abandoned(key if progress is None else progress.give_up(), done)
    if in_time:
        return job.take()
    raise HookTimeoutError(seconds=seconds)


def _refuse_if_stuck(key: object, seconds: float) -> None:
    """Refuse a call of which too many earlier ones are abandoned and still run."""
    if _count_abandoned(key) >= ABANDONED_LIMIT:
        raise HookTimeoutError(
            f"{ABANDONED_LIMIT} earlier calls of this hook still run past their time limit"
            f" of {seconds:g} s: it is not called again until one of them ends",
            seconds=seconds,
        )


def _note_abandoned(key: object, done: threading.Lock) -> None:
    """Remember an abandoned call, without keeping its key alive."""
    with _guard:
        _abandoned_calls.append((reference_to(key), done))


def _count_abandoned(key: object) -> int:
    """Count the abandoned calls with this key which still run."""
    return sum(reference() is key for reference, _ in _still_running())


def _still_running() -> list[_Abandoned]:
    """Forget the abandoned calls that have ended, and list the others."""
    with _guard:
        _abandoned_calls[:] = [entry for entry in _abandoned_calls if entry[1].locked()]
        return list(_abandoned_calls)


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

    def begins(self, data: object) -> bool:
        """Tell whether the next step of the call may begin."""
        return not self.abandoned


async def run_in_worker(
    call: Callable[[Hop], T], discard: Optional[Callable[[T], object]] = None
) -> T:
    """Run a function in a worker thread and await it: one hop there and back.

    It runs within a copy of the caller's context. Cancelling the caller does not wait for it, and
    neither does the end of `asyncio.run`: it runs on, and what it returns or raises goes nowhere.

    Args:
        call: The function. Its only argument tells whether it is still awaited.
        discard: Is called with a result that comes when it is awaited no more, in whichever thread.

    Returns:
        What the function returned.

    Raises:
        HookError: There is no thread to be had, as for `call_with_limit`.
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
    job = _Job(call, hop, partial(_wake_from_thread, loop, waiter), discard)
    _find_worker().jobs.put(job)
    try:
        await waiter
    except BaseException:
        hop.abandoned = True
        _abandon(job, hop)
        raise
    return job.take()


def _abandon(job: _Job[Any], hop: Hop) -> None:
    """Wait for a job no longer, and remember it as long as it runs."""
    job.give_up()
    done = threading.Lock()
    done.acquire()
    job.notify = done.release
    if not job.ended:
        _note_abandoned(hop, done)


def _wake_from_thread(loop: asyncio.AbstractEventLoop, waiter: asyncio.Future[None]) -> None:
    """Wake who awaits the future, from another thread.

    Raises:
        RuntimeError: The event loop has been closed.
    """
    loop.call_soon_threadsafe(wake, waiter)


def wake(waiter: asyncio.Future[None]) -> None:
    """Wake who awaits the future, unless it is awake already or its loop has been closed."""
    if not waiter.done() and not waiter.get_loop().is_closed():
        waiter.set_result(None)


# ---- Forks


def _begin_anew() -> None:
    """Forget, in the child of a fork, the threads of the parent."""
    global _forks
    _forks += 1
    _idle_workers.clear()
    _abandoned_calls.clear()


# Windows has no fork.
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_begin_anew)
