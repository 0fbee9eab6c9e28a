"""Facts about time limits, worker threads and the locks that a fork leaves free."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import dataclasses
import functools
import gc
import logging
import os
import subprocess
import sys
import textwrap
import threading
import time
import traceback
import weakref
from collections.abc import AsyncIterator, Awaitable, Coroutine, Generator, Iterator
from typing import Any, Callable, ClassVar, Optional

import pytest

from nitro_dispatch import deadlines, execution
from nitro_dispatch.deadlines import await_with_limit
from nitro_dispatch.exceptions import HookError, HookTimeoutError
from nitro_dispatch.execution import (
    ABANDONED_LIMIT,
    IDLE_LIMIT,
    Hop,
    call_with_limit,
    run_in_worker,
)
from nitro_dispatch.locks import fork_safe_lock
from programs import RunPython

LONG = 60.0
"""Seconds that no test takes unless what it proves is broken."""

SHORT = 0.01
"""A time limit, in seconds, for what does not end by itself."""

needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")

user: contextvars.ContextVar[str] = contextvars.ContextVar("user", default="nobody")


class Thing:
    """Something that weak references can refer to."""


class PluginError(Exception):
    """An exception of a plugin's own."""


class FleetingError(Exception):
    """An exception of which none should be alive when it has been handled."""

    alive: ClassVar[weakref.WeakSet[FleetingError]] = weakref.WeakSet()

    def __init__(self) -> None:
        self.alive.add(self)


@pytest.fixture
def _no_collector() -> Iterator[None]:
    """See to it that nothing dies by the garbage collector."""
    gc.disable()
    yield
    gc.enable()


@dataclasses.dataclass(frozen=True)
class FrozenError(Exception):
    """An exception none of whose attributes can be set."""

    reason: str = "frozen"


MakeError = Callable[[], BaseException]

MAKE_ERRORS: list[MakeError] = [
    lambda: ValueError("no such user"),
    lambda: PluginError("of its own"),
    lambda: FrozenError(),
    lambda: TimeoutError("the database did not answer"),
    lambda: asyncio.TimeoutError(),
    lambda: asyncio.CancelledError(),
    lambda: HookTimeoutError("a nested dispatch", seconds=1.0),
    lambda: SystemExit(3),
    lambda: KeyboardInterrupt(),
    lambda: GeneratorExit(),
]
"""A new exception for each test, as raising one adds to its traceback."""


def name_of(make: Callable[[], object]) -> str:
    """Name what a function makes, in the name of a test."""
    return type(make()).__name__


def nothing() -> None:
    """Make no exception but a result."""


class Workers:
    """Sees the workers come back."""

    def __init__(self, keep: Callable[[execution._Worker], bool]) -> None:
        self._keep = keep
        self._condition = threading.Condition()
        self.refused: list[execution._Worker] = []

    def keep(self, worker: execution._Worker) -> bool:
        """Let a worker come back, and tell those who wait for it."""
        stays = self._keep(worker)
        with self._condition:
            if not stays:
                self.refused.append(worker)
            self._condition.notify_all()
        return stays

    def alive(self) -> list[execution._Worker]:
        """Return the workers that live, busy or not."""
        return [each for each in threading.enumerate() if isinstance(each, execution._Worker)]

    def wait_until_idle(self) -> None:
        """Wait until no worker has anything to do, abandoned calls included."""
        with self._condition:
            assert self._condition.wait_for(self._are_idle, LONG), "a worker has not come back"
        for worker in self.refused:
            worker.join(LONG)
        for _, done in execution._abandoned_calls:
            # A worker is idle a moment before its last call counts as ended.
            assert done.acquire(timeout=LONG)
            done.release()

    def _are_idle(self) -> bool:
        home = [*execution._idle_workers, *self.refused]
        return all(worker in home for worker in self.alive())


@pytest.fixture(autouse=True)
def workers(monkeypatch: pytest.MonkeyPatch) -> Iterator[Workers]:
    """See to it that each test leaves all workers idle, and that none of them complains."""
    complaints: list[str] = []
    seen = Workers(execution._keep)
    monkeypatch.setattr(execution, "_keep", seen.keep)
    monkeypatch.setattr(threading, "excepthook", lambda args: complaints.append(str(args)))
    yield seen
    seen.wait_until_idle()
    assert len(seen.alive()) == len(execution._idle_workers) <= IDLE_LIMIT
    assert complaints == []


@pytest.fixture(autouse=True)
def _impatience(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wait only for a moment for what resists its cancellation."""
    monkeypatch.setattr(deadlines, "CLEANUP_SECONDS", SHORT)


@pytest.fixture
def _patience(_impatience: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Wait, even on a busy machine, for what cleans up when it is cancelled."""
    monkeypatch.setattr(deadlines, "CLEANUP_SECONDS", LONG)


@pytest.fixture(autouse=True)
def _silence(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """See to it that nothing is logged: asyncio logs exceptions that nobody asked for."""
    yield
    gc.collect()
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []


class Stuck:
    """A function that ends when it is told to, and says when it is called and when it ends."""

    def __init__(self, outcome: Any = None) -> None:
        self.outcome = outcome
        self.called = threading.Semaphore(0)
        self.may_end = threading.Event()

    def __call__(self, data: Any) -> Any:
        """Wait, then return the outcome or raise it."""
        self.called.release()
        assert self.may_end.wait(LONG)
        if isinstance(self.outcome, BaseException):
            raise self.outcome
        return self.outcome


@pytest.fixture
def stuck() -> Iterator[Stuck]:
    """A function that does not end before the test does."""
    function = Stuck()
    yield function
    function.may_end.set()


def run_script(script: str) -> str:
    """Run a program in a process of its own, which must end well and say nothing besides."""
    ran = subprocess.run(
        # Newer Pythons warn of every fork of a process that has threads.
        [
            sys.executable,
            "-W",
            "ignore::DeprecationWarning",
            "-c",
            PRELUDE,
            textwrap.dedent(script),
        ],
        capture_output=True,
        text=True,
        timeout=LONG,
    )
    assert (ran.returncode, ran.stderr) == (0, "")
    return ran.stdout


# A module, so that functions defined in the script can be found by nothing else than the script.
PRELUDE = """
import asyncio, os, sys, threading
from nitro_dispatch import deadlines, execution, locks
from nitro_dispatch.exceptions import HookError, HookTimeoutError
from nitro_dispatch.deadlines import *
from nitro_dispatch.execution import *
from nitro_dispatch.locks import *

def in_child(action):
    # Fork, let the child print what the action returns, and wait for its end.
    sys.stdout.flush()
    child = os.fork()
    if not child:
        print(action(), flush=True)
        os._exit(0)
    os.waitpid(child, 0)

def in_thread(action):
    thread = threading.Thread(target=action)
    thread.start()
    return thread

exec(sys.argv[1])
"""


# ---- Locks and forks


def test_a_lock_is_a_plain_reentrant_lock() -> None:
    """It costs what `threading.RLock` costs, as it is one."""
    assert type(fork_safe_lock()) is type(threading.RLock())


def test_locks_may_die() -> None:
    """A lock that nobody holds a reference to is not kept for the next fork."""
    lock: Optional[threading.RLock] = fork_safe_lock()
    assert lock is not None
    reference = weakref.ref(lock)
    lock = None
    assert reference() is None


@needs_fork
def test_a_child_finds_what_a_lock_guards_whole() -> None:
    """A fork waits for another thread to end what it does under a lock, which then is free."""
    printed = run_script("""
        lock, held, forking = fork_safe_lock(), threading.Event(), threading.Event()
        state = [0, 0]

        def change():
            with lock:
                state[0] = 1
                held.set()
                forking.wait()
                state[1] = 1

        def look():
            with lock:
                return state

        # Registered later, so that it runs before the fork takes its locks.
        os.register_at_fork(before=forking.set)
        changing = in_thread(change)
        held.wait()
        in_child(look)
        changing.join()
        print(look())
    """)
    assert printed == "[1, 1]\n[1, 1]\n"


@needs_fork
def test_a_fork_leaves_the_lock_with_the_thread_that_forks() -> None:
    """Who forks while it holds a lock holds it on both sides, until it releases it there."""
    printed = run_script("""
        lock = fork_safe_lock()

        def is_free():
            def ask(): answers.append(lock.acquire(timeout=0))
            answers = []
            in_thread(ask).join()
            return answers[0]

        def leave():
            lock.__exit__(None, None, None)
            return is_free()

        with lock:
            in_child(is_free)
            in_child(leave)
            print(is_free())
        print(is_free())
    """)
    assert printed == "False\nTrue\nFalse\nTrue\n"


@needs_fork
@pytest.mark.parametrize("order", ["first, second", "second, first"])
def test_a_fork_waits_for_nested_locks_in_any_order(order: str) -> None:
    """Threads may nest the locks as they like without a deadlock with a fork."""
    printed = run_script(f"""
        first, second = fork_safe_lock(), fork_safe_lock()
        held, forking = threading.Event(), threading.Event()
        locks.FORK_PATIENCE = 3600.0
        log = []

        def nest(outer, inner):
            with outer:
                held.set()
                forking.wait()
                with inner:
                    log.append("nested")

        os.register_at_fork(before=forking.set)
        nesting = in_thread(lambda: nest({order}))
        held.wait()
        in_child(lambda: (log, first.acquire(timeout=0), second.acquire(timeout=0)))
        nesting.join()
    """)
    assert printed == "(['nested'], True, True)\n"


@needs_fork
def test_a_fork_does_not_wait_for_ever() -> None:
    """Where a lock's holder waits for the thread that forks, the fork goes on, the lock freed."""
    printed = run_script("""
        mine, other = fork_safe_lock(), fork_safe_lock()
        held = threading.Event()
        locks.FORK_PATIENCE = 0.05

        def wait_for_mine():
            with other:
                held.set()
                with mine:
                    pass

        def use():
            with other, mine:
                return "usable"

        with mine:
            waiting = in_thread(wait_for_mine)
            held.wait()
            in_child(use)
        waiting.join()
        print(use())
        in_child(use)
    """)
    assert printed == "usable\nusable\nusable\n"


@needs_fork
def test_threads_may_fork_at_once() -> None:
    """Two forks at the same moment, and locks made meanwhile, do not disturb each other."""
    printed = run_script("""
        locks = [fork_safe_lock() for _ in range(5)]
        start = threading.Barrier(4)

        def fork_often():
            start.wait()
            for _ in range(10):
                child = os.fork()
                if not child:
                    os._exit(0 if all(lock.acquire(timeout=0) for lock in locks) else 1)
                statuses.append(os.waitpid(child, 0)[1])

        def lock_often():
            start.wait()
            for _ in range(300):
                with locks[0], locks[1], fork_safe_lock():
                    pass
                with locks[1], locks[0]:
                    pass

        statuses = []
        # The two orders would deadlock with each other, fork or none, were this not one thread.
        threads = [in_thread(fork_often), in_thread(fork_often), in_thread(lock_often)]
        start.wait()
        for thread in threads:
            thread.join()
        print(statuses == [0] * 20)
    """)
    assert printed == "True\n"


# ---- Time limits on functions


def test_a_call_within_its_limit_returns_its_result() -> None:
    """The function gets the data and runs in another thread; its result comes back."""

    def double(data: Any) -> Any:
        return data * 2, threading.get_ident()

    result: Any = call_with_limit(Thing(), double, 21, LONG)
    assert result[0] == 42
    assert result[1] != threading.get_ident()


def test_none_is_a_result() -> None:
    """A function that returns nothing is no function that did not end."""
    assert call_with_limit(Thing(), lambda data: None, 1, LONG) is None


def test_the_callers_context_reaches_the_function() -> None:
    """The function sees the caller's context variables, and what it sets stays with it."""

    def read_and_set(data: Any) -> str:
        seen = user.get()
        user.set("worker")
        return seen

    token = user.set("alice")
    try:
        assert call_with_limit(Thing(), read_and_set, None, LONG) == "alice"
        assert user.get() == "alice"
    finally:
        user.reset(token)
    assert call_with_limit(Thing(), read_and_set, None, LONG) == "nobody"


def test_sequential_calls_share_one_thread() -> None:
    """1,000 calls one after the other need only one worker."""
    threads = {
        call_with_limit("key", lambda data: threading.get_ident(), None, LONG) for _ in range(1000)
    }
    assert len(threads) == 1


def test_a_worker_is_idle_before_its_caller_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """The caller's next call finds the worker of this one, however slowly it comes back."""
    gone_on = threading.Event()
    seen: list[bool] = []
    keep = execution._keep

    def keep_slowly(worker: execution._Worker) -> bool:
        seen.append(gone_on.wait(SHORT))
        return keep(worker)

    monkeypatch.setattr(execution, "_keep", keep_slowly)
    call_with_limit("key", str, None, LONG)
    gone_on.set()
    assert seen == [False]


def test_calls_nest() -> None:
    """A function that runs in a worker may itself call another with a limit."""

    def nest(depth: Any) -> Any:
        inner: Any = call_with_limit("key", nest, depth - 1, LONG) if depth else -1
        return inner + 1

    assert call_with_limit("key", nest, 20, LONG) == 20


@pytest.mark.parametrize("make_error", [*MAKE_ERRORS, StopIteration], ids=name_of)
def test_an_exception_is_raised_as_it_is(make_error: MakeError) -> None:
    """The caller gets the very exception, with the traceback of the function."""
    error = make_error()

    def fail_inside(data: Any) -> None:
        raise error

    with pytest.raises(type(error)) as caught:
        call_with_limit(Thing(), fail_inside, None, LONG)
    assert caught.value is error
    names = [frame.name for frame in traceback.extract_tb(caught.tb)]
    assert names[1:] == ["call_with_limit", "take", "fail_inside"]


@pytest.mark.usefixtures("_no_collector")
def test_an_exception_dies_when_its_handler_ends() -> None:
    """The exception of a call and its traceback make no reference cycle."""

    def fail(data: Any) -> None:
        raise FleetingError

    with contextlib.suppress(FleetingError):
        call_with_limit(Thing(), fail, None, LONG)
    assert not FleetingError.alive


def test_an_idle_worker_keeps_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """The function, its data and its result are free as soon as the caller lets them go."""

    class KeptJob(execution._Job[Any]):
        """A job that is kept, as a worker does for a moment after its caller has gone on."""

        def __init__(self, *args: Any) -> None:
            super().__init__(*args)
            jobs.append(self)

    jobs: list[KeptJob] = []
    monkeypatch.setattr(execution, "_Job", KeptJob)
    data = Thing()
    function = functools.partial(lambda data: [data])
    references: list[Callable[[], object]] = [weakref.ref(data), weakref.ref(function)]
    result = call_with_limit(Thing(), function, data, LONG)
    assert result == [data]
    del data, function, result
    assert [reference() for reference in references] == [None, None]
    assert len(jobs) == 1


def test_past_the_limit_the_caller_goes_on(stuck: Stuck) -> None:
    """The caller gets its exception while the function still runs."""
    with pytest.raises(HookTimeoutError) as caught:
        call_with_limit(Thing(), stuck, None, SHORT)
    assert caught.value.seconds == SHORT
    assert stuck.called.acquire(timeout=LONG)
    assert not stuck.may_end.is_set()


@pytest.mark.parametrize("make", [nothing, *MAKE_ERRORS, StopIteration], ids=name_of)
def test_a_late_outcome_goes_nowhere(make: Callable[[], object], workers: Workers) -> None:
    """What an abandoned call returns or raises is neither logged nor printed."""
    late = Stuck(make())
    with pytest.raises(HookTimeoutError):
        call_with_limit(Thing(), late, None, SHORT)
    late.may_end.set()
    workers.wait_until_idle()


def test_a_late_result_is_freed(stuck: Stuck, workers: Workers) -> None:
    """A late result is not kept alive by the exception that its caller got instead."""
    freed = threading.Event()
    stuck.outcome = Thing()
    weakref.finalize(stuck.outcome, freed.set)
    with pytest.raises(HookTimeoutError) as caught:
        call_with_limit("key", stuck, None, SHORT)
    stuck.may_end.set()
    workers.wait_until_idle()
    stuck.outcome = None
    assert freed.wait(LONG)
    assert caught.value.__traceback__ is not None


def test_a_worker_comes_back_when_its_late_call_ends(stuck: Stuck, workers: Workers) -> None:
    """An abandoned call keeps its worker until it ends; then the worker serves again."""

    def thread(data: Any) -> int:
        return threading.get_ident()

    first = call_with_limit("key", thread, None, LONG)
    with pytest.raises(HookTimeoutError):
        call_with_limit("key", stuck, None, SHORT)
    second = call_with_limit("key", thread, None, LONG)
    assert second != first
    stuck.may_end.set()
    workers.wait_until_idle()
    assert call_with_limit("key", thread, None, LONG) == first


def abandon(key: object, function: Stuck, times: int = ABANDONED_LIMIT) -> None:
    """Let calls of a stuck function be abandoned."""
    for _ in range(times):
        with pytest.raises(HookTimeoutError, match=r"^$|time limit of 0\.01 s$"):
            call_with_limit(key, function, None, SHORT)


def test_abandoned_calls_are_bounded(stuck: Stuck, workers: Workers) -> None:
    """At the bound a call fails at once, unbegun, until one of the abandoned calls has ended."""
    key, another = Thing(), Thing()
    abandon(key, stuck)
    for _ in range(3):
        with pytest.raises(HookTimeoutError, match="8 earlier calls of this hook still") as caught:
            call_with_limit(key, stuck, None, LONG)
        assert caught.value.seconds == LONG
    assert call_with_limit(another, lambda data: data, 1, LONG) == 1
    stuck.may_end.set()
    workers.wait_until_idle()
    assert call_with_limit(key, lambda data: data, 2, LONG) == 2
    assert execution._abandoned_calls == []
    begun = [stuck.called.acquire(blocking=False) for _ in range(ABANDONED_LIMIT + 1)]
    assert begun == [True] * ABANDONED_LIMIT + [False]


def test_one_ended_call_makes_room_for_one(stuck: Stuck, workers: Workers) -> None:
    """The bound counts only the abandoned calls that still run."""
    key, one = Thing(), Stuck()
    abandon(key, one, times=1)
    abandon(key, stuck, times=ABANDONED_LIMIT - 1)
    (_, done), *_ = execution._abandoned_calls
    one.may_end.set()
    assert done.acquire(timeout=LONG)
    done.release()
    abandon(key, stuck, times=1)
    with pytest.raises(HookTimeoutError, match="earlier calls"):
        call_with_limit(key, stuck, None, LONG)


def test_keys_are_told_apart_by_identity(stuck: Stuck) -> None:
    """Two keys that are equal, and that cannot be hashed or weakly referred to, are two keys."""
    key, equal = [1], [1]
    abandon(key, stuck)
    assert call_with_limit(equal, lambda data: data, 1, LONG) == 1
    with pytest.raises(HookTimeoutError, match="earlier calls"):
        call_with_limit(key, stuck, None, LONG)


def test_a_key_is_not_kept_alive(stuck: Stuck) -> None:
    """A key may die while its abandoned calls run."""
    key: Optional[Thing] = Thing()
    abandon(key, stuck, times=1)
    reference = weakref.ref(key) if key is not None else None
    key = None
    assert reference is not None
    assert reference() is None


def test_either_the_result_or_the_limit_wins(workers: Workers) -> None:
    """Calls that end at the very moment of their limit either return or time out, not both."""
    key, never, seconds, wins, losses = Thing(), threading.Event(), 0.001, 0, 0

    def take_a_moment(data: Any) -> Any:
        never.wait(0.001)
        return data

    for turn in range(200):
        # The limit is kept near the time that such a call takes here and now.
        try:
            assert call_with_limit(key, take_a_moment, turn, seconds) == turn
            wins += 1
            seconds *= 0.98
        except HookTimeoutError as error:
            losses += not error.message
            seconds *= 1.05
    assert wins
    assert losses
    workers.wait_until_idle()
    assert execution._count_abandoned(key) == 0


def test_a_result_that_is_there_at_the_deadline_is_delivered(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A caller that wakes late still finds the result which came after its wait."""

    class Overslept:
        """A lock whose `acquire` always gives up, here after what it waited for."""

        def __init__(self) -> None:
            self._lock = real()

        def acquire(self, timeout: float = -1) -> bool:
            assert self._lock.acquire(timeout=LONG)
            return False

        def release(self) -> None:
            self._lock.release()

    real = threading.Lock
    call_with_limit("key", str, None, LONG)  # No thread is started while the lock is another.
    monkeypatch.setattr(threading, "Lock", Overslept)
    assert call_with_limit("key", lambda data: data, 1, SHORT) == 1


def test_a_limit_above_the_longest_timeout_is_none() -> None:
    """Without a limit the function runs in the caller's own thread."""
    thread = call_with_limit(
        "key", lambda data: threading.get_ident(), None, threading.TIMEOUT_MAX * 2
    )
    assert thread == threading.get_ident()
    assert call_with_limit("key", lambda data: data, 1, threading.TIMEOUT_MAX) == 1


def test_idle_workers_are_bounded(workers: Workers) -> None:
    """Of more workers than `IDLE_LIMIT` at once, those that come back last end."""
    together = threading.Barrier(IDLE_LIMIT + 8)

    def call() -> None:
        call_with_limit("key", lambda data: together.wait(LONG), None, LONG)

    callers = [threading.Thread(target=call) for _ in range(IDLE_LIMIT + 8)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    workers.wait_until_idle()
    assert len(workers.refused) == 8
    assert len(execution._idle_workers) == IDLE_LIMIT


def no_thread(self: threading.Thread) -> None:
    """Start no thread, as at the interpreter's end."""
    raise RuntimeError("can't start new thread")


def test_without_a_thread_a_call_fails_clearly(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where no thread can be started, the caller is told why, and nothing counts as abandoned."""
    with monkeypatch.context() as patch:
        patch.setattr(execution, "_idle_workers", [])
        patch.setattr(threading.Thread, "start", no_thread)
        with pytest.raises(HookError, match=r"no worker .*: can't start new thread") as caught:
            call_with_limit("key", str, None, LONG)
        assert isinstance(caught.value.__cause__, RuntimeError)
        with pytest.raises(HookError, match=r"no worker .*: can't start new thread"):
            asyncio.run(run_in_worker(lambda hop: None))
    assert execution._abandoned_calls == []


@pytest.mark.parametrize("warm", [True, False], ids=["idle worker", "no worker"])
def test_a_call_at_the_interpreters_end_fails_clearly(warm: bool) -> None:
    """While the interpreter is taken down, a call fails instead of waiting for a dead thread."""
    printed = run_script(f"""
        if {warm}:
            call_with_limit("key", str, 1, 60.0)

        class Last:
            def __del__(self, call=call_with_limit, error=HookError, write=os.write):
                try:
                    call("key", str, 1, 3600.0)
                except error as reason:
                    write(1, str(reason).encode())

        last = Last()
    """)
    assert "the interpreter is shutting down" in printed


@pytest.mark.skipif(sys.platform == "win32", reason="signals reach no thread there")
def test_an_interrupted_caller_abandons_its_call() -> None:
    """Ctrl-C ends the wait at once, and the call counts as abandoned."""
    printed = run_script("""
        import signal
        interrupted = threading.Event()

        def interrupt_once(*args):
            if not interrupted.is_set():
                interrupted.set()
                raise KeyboardInterrupt

        def interrupt(data):
            # One that comes just before the main thread falls asleep does not wake it.
            while not interrupted.wait(0.01):
                signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)
            threading.Event().wait()

        signal.signal(signal.SIGINT, interrupt_once)
        try:
            call_with_limit("key", interrupt, None, 3600.0)
        except KeyboardInterrupt:
            print("interrupted", execution._count_abandoned("key"))
    """)
    assert printed == "interrupted 1\n"


@pytest.mark.parametrize("late", ["threading.Event().wait()", "threading.Event().wait(0.2)"])
def test_the_process_ends_without_its_abandoned_calls(late: str) -> None:
    """The interpreter's end waits for no worker, stuck or idle."""
    printed = run_script(f"""
        try:
            call_with_limit("key", lambda data: {late}, None, 0.01)
        except HookTimeoutError as error:
            print(error.seconds)

        async def main():
            hop = asyncio.ensure_future(run_in_worker(lambda hop: {late}))
            await asyncio.sleep(0)
            hop.cancel()

        asyncio.run(main())
    """)
    assert printed == "0.01\n"


@needs_fork
def test_a_child_has_workers_of_its_own() -> None:
    """After a fork neither the idle workers nor the abandoned calls of the parent count."""
    printed = run_script("""
        def call(): return call_with_limit("key", str, 1, 60.0)
        def hop(): return asyncio.run(run_in_worker(lambda hop: "hopped"))

        for _ in range(ABANDONED_LIMIT):
            try:
                call_with_limit("key", lambda data: threading.Event().wait(), None, 0.01)
            except HookTimeoutError:
                pass
        try:
            call()
        except HookTimeoutError as error:
            print(error)
        call_with_limit("another key", str, 2, 60.0)
        print(len(execution._idle_workers))
        in_child(call)
        in_child(hop)
        print(len(execution._idle_workers))
        print(call_with_limit("another key", str, 3, 60.0))
    """)
    assert printed == (
        "8 earlier calls of this hook still run past their time limit of 60 s: it is not called"
        " again until one of them ends\n1\n1\nhopped\n1\n3\n"
    )


@needs_fork
def test_a_worker_that_forks_does_not_haunt_the_child() -> None:
    """A function that forks and comes back on both sides leaves no child that waits for calls."""
    printed = run_script("""
        child = call_with_limit("key", lambda data: os.fork(), None, 60.0)
        print(os.waitpid(child, 0)[1])
        print(call_with_limit("key", str, 1, 60.0))
        child = asyncio.run(run_in_worker(lambda hop: os.fork()))
        print(os.waitpid(child, 0)[1])
    """)
    assert printed == "0\n1\n0\n"


# ---- Hops from an event loop to a worker


def test_a_hop_runs_in_a_worker() -> None:
    """The function runs in a worker and its result comes back to the event loop."""

    async def main() -> tuple[str, int]:
        return await run_in_worker(lambda hop: (user.get(), threading.get_ident()))

    token = user.set("alice")
    try:
        name, thread = asyncio.run(main())
    finally:
        user.reset(token)
    assert name == "alice"
    assert thread != threading.get_ident()


def test_hops_run_at_once() -> None:
    """Hops of several tasks run side by side, while the event loop goes on."""
    together = threading.Barrier(5)

    async def main() -> list[int]:
        return await asyncio.gather(
            *(run_in_worker(lambda hop: together.wait(LONG)) for _ in range(5))
        )

    assert sorted(asyncio.run(main())) == [0, 1, 2, 3, 4]


async def outcome_of(awaitable: Awaitable[object]) -> BaseException:
    """Return what is raised where something is awaited."""
    try:
        await awaitable
    except BaseException as error:
        return error
    raise AssertionError("nothing was raised")


@pytest.mark.parametrize("make_error", MAKE_ERRORS, ids=name_of)
def test_a_hop_raises_in_the_awaiting_task(make_error: MakeError) -> None:
    """The very exception is raised where the hop is awaited, and does not end the event loop."""
    error = make_error()

    def fail_inside(hop: Hop) -> None:
        raise error

    raised = asyncio.run(outcome_of(run_in_worker(fail_inside)))
    assert raised is error
    names = [frame.name for frame in traceback.extract_tb(raised.__traceback__)]
    assert names == ["outcome_of", "run_in_worker", "take", "fail_inside"]


def test_a_hop_turns_stop_iteration_into_a_runtime_error() -> None:
    """A coroutine cannot raise `StopIteration`: Python makes it the cause of a `RuntimeError`."""

    def fail(hop: Hop) -> None:
        raise StopIteration("end")

    raised = asyncio.run(outcome_of(run_in_worker(fail)))
    assert isinstance(raised, RuntimeError)
    assert isinstance(raised.__cause__, StopIteration)


@pytest.mark.usefixtures("_no_collector")
def test_the_exception_of_a_hop_dies_when_its_handler_ends() -> None:
    """The exception of a hop and its traceback make no reference cycle."""

    def fail(hop: Hop) -> None:
        raise FleetingError

    async def main() -> None:
        with contextlib.suppress(FleetingError):
            await run_in_worker(fail)
        assert not FleetingError.alive

    asyncio.run(main())


@pytest.mark.parametrize("make", [nothing, *MAKE_ERRORS, StopIteration], ids=name_of)
def test_a_cancelled_hop_is_left(make: Callable[[], Any], workers: Workers) -> None:
    """Cancelling does not wait for the function, which learns of it; its late outcome is lost."""
    called, may_look = threading.Event(), threading.Event()
    seen: list[bool] = []

    def work(hop: Hop) -> None:
        seen.append(hop.abandoned)
        called.set()
        assert may_look.wait(LONG)
        seen.append(hop.abandoned)
        if make is not nothing:
            raise make()

    async def main() -> None:
        task = asyncio.ensure_future(run_in_worker(work))
        await run_in_worker(lambda hop: called.wait(LONG))
        task.cancel()
        assert isinstance(await outcome_of(task), asyncio.CancelledError)
        assert not may_look.is_set()
        may_look.set()
        await run_in_worker(lambda hop: workers_but_this_are_idle(workers))

    asyncio.run(main())
    assert seen == [False, True]


def workers_but_this_are_idle(workers: Workers) -> bool:
    """Wait, in a worker, until all others are idle."""
    with workers._condition:
        return workers._condition.wait_for(
            lambda: len(workers.alive()) == len(execution._idle_workers) + 1, LONG
        )


def test_a_late_result_of_a_hop_is_freed(stuck: Stuck, workers: Workers) -> None:
    """A late result is not kept alive by the cancellation that its caller got instead."""
    freed = threading.Event()
    stuck.outcome = Thing()
    weakref.finalize(stuck.outcome, freed.set)

    async def main() -> BaseException:
        task = asyncio.ensure_future(run_in_worker(stuck))
        await run_in_worker(lambda hop: stuck.called.acquire(timeout=LONG))
        task.cancel()
        return await outcome_of(task)

    raised = asyncio.run(main())
    stuck.may_end.set()
    workers.wait_until_idle()
    stuck.outcome = None
    assert freed.wait(LONG)
    assert raised.__traceback__ is not None


def test_a_hop_survives_the_end_of_its_event_loop(workers: Workers) -> None:
    """The end of `asyncio.run` waits for no worker, and what comes later disturbs nobody."""
    called, may_end = threading.Event(), threading.Event()

    def work(hop: Hop) -> None:
        called.set()
        assert may_end.wait(LONG)

    async def main() -> None:
        task = asyncio.ensure_future(run_in_worker(work))
        await run_in_worker(lambda hop: called.wait(LONG))
        assert not task.done()

    asyncio.run(main())
    assert not may_end.is_set()
    may_end.set()
    workers.wait_until_idle()


def test_a_closed_hop_counts_as_abandoned(workers: Workers) -> None:
    """A coroutine that is thrown away without its event loop tells the function all the same."""
    called, may_look = threading.Event(), threading.Event()
    seen: list[bool] = []

    def work(hop: Hop) -> None:
        called.set()
        assert may_look.wait(LONG)
        seen.append(hop.abandoned)

    async def main() -> None:
        coroutine = run_in_worker(work)
        coroutine.send(None)
        assert called.wait(LONG)
        coroutine.close()

    asyncio.run(main())
    may_look.set()
    workers.wait_until_idle()
    assert seen == [True]


# ---- Time limits on coroutines


async def at_once(value: Any = "done") -> Any:
    """Return without ever suspending."""
    if isinstance(value, BaseException):
        raise value
    return value


async def soon(value: Any = "done") -> Any:
    """Return after the event loop has gone round a few times."""
    for _ in range(3):
        await asyncio.sleep(0)
    await asyncio.sleep(0.001)
    return await at_once(value)


class Plain:
    """Something that can be awaited and is no coroutine."""

    def __init__(self, make: Callable[[], Coroutine[Any, Any, Any]]) -> None:
        self._make = make

    def __await__(self) -> Generator[Any, Any, Any]:
        """Await what it was made with."""
        return self._make().__await__()


def future_of(value: Any) -> asyncio.Future[Any]:
    """Make a future that has its result already."""
    future = asyncio.get_running_loop().create_future()
    future.set_result(value)
    return future


MAKERS: list[Callable[[], Awaitable[Any]]] = [
    at_once,
    soon,
    lambda: Plain(at_once),
    lambda: Plain(soon),
    lambda: future_of("done"),
    lambda: asyncio.ensure_future(soon()),
    lambda: asyncio.gather(soon(), at_once()),
]


@pytest.mark.parametrize("make", MAKERS)
def test_whatever_can_be_awaited_comes_to_its_result(make: Callable[[], Awaitable[Any]]) -> None:
    """Coroutines, futures, tasks and other awaitables give the result that `await` gives."""

    async def main() -> tuple[Any, Any]:
        return await make(), await await_with_limit(make(), LONG)

    plain, limited = asyncio.run(main())
    assert plain == limited


@pytest.mark.parametrize("make", [at_once, soon])
@pytest.mark.parametrize("make_error", MAKE_ERRORS, ids=name_of)
def test_an_awaited_exception_is_raised_as_it_is(
    make: Callable[[Any], Coroutine[Any, Any, Any]], make_error: MakeError
) -> None:
    """The very exception is raised where it is awaited, and does not end the event loop."""
    error = make_error()
    raised = asyncio.run(outcome_of(await_with_limit(make(error), LONG)))
    assert raised is error
    names = [frame.name for frame in traceback.extract_tb(raised.__traceback__)]
    assert names[:3] == ["outcome_of", "await_with_limit", "take"]
    assert not {"_run", "__await__"} & set(names)
    assert names[-1] == "at_once"


@pytest.mark.usefixtures("_no_collector")
@pytest.mark.parametrize("turns", [0, 3])
def test_an_awaited_exception_dies_when_its_handler_ends(turns: int) -> None:
    """The exception of a coroutine and its traceback make no reference cycle."""

    async def fail() -> None:
        for _ in range(turns):
            await asyncio.sleep(0)
        raise FleetingError

    async def main() -> None:
        with contextlib.suppress(FleetingError):
            await await_with_limit(fail(), LONG)
        assert not FleetingError.alive

    asyncio.run(main())


@pytest.mark.skipif(sys.version_info < (3, 12), reason="a task's first step cannot be made at once")
def test_what_never_suspends_does_not_suspend_its_caller() -> None:
    """A coroutine that returns at once costs no turn of the event loop and leaves no task."""

    async def main() -> None:
        before = asyncio.all_tasks()
        with pytest.raises(StopIteration, match="done"):
            await_with_limit(at_once(), LONG).send(None)
        assert asyncio.all_tasks() == before

    asyncio.run(main())


@pytest.mark.usefixtures("_patience")
def test_a_limit_that_strikes_cancels() -> None:
    """Past the limit the coroutine is cancelled, and has cleaned up when its caller is told."""
    log: list[str] = []

    async def slow() -> None:
        try:
            await asyncio.sleep(LONG)
        except asyncio.CancelledError:
            log.append("cancelled")
            raise
        finally:
            await asyncio.sleep(0)
            log.append("cleaned up")

    async def main() -> None:
        raised = await outcome_of(await_with_limit(slow(), SHORT))
        assert isinstance(raised, HookTimeoutError)
        assert raised.seconds == SHORT
        assert log == ["cancelled", "cleaned up"]

    asyncio.run(main())


@pytest.mark.parametrize("make", [nothing, *MAKE_ERRORS], ids=name_of)
def test_what_comes_after_the_cancellation_is_too_late(make: Callable[[], object]) -> None:
    """A coroutine that answers its cancellation with a result or an error has timed out as well."""

    async def resist() -> Any:
        try:
            await asyncio.sleep(LONG)
        except asyncio.CancelledError:
            return await at_once(make())

    raised = asyncio.run(outcome_of(await_with_limit(resist(), SHORT)))
    assert isinstance(raised, HookTimeoutError)


class Stubborn:
    """A coroutine function whose coroutines take no notice of being cancelled."""

    def __init__(self, outcome: Any = None) -> None:
        self.outcome = outcome
        self.cancelled = 0
        self.started = asyncio.Event()
        self.may_end = asyncio.Event()
        self.ended = asyncio.Event()

    async def __call__(self) -> Any:
        """Wait, then return the outcome or raise it."""
        self.started.set()
        try:
            while not self.may_end.is_set():
                try:
                    await self.may_end.wait()
                except asyncio.CancelledError:
                    self.cancelled += 1
            return await at_once(self.outcome)
        finally:
            self.ended.set()


LATE: list[Callable[[], object]] = [
    nothing,
    *(make for make in MAKE_ERRORS if not isinstance(make(), KeyboardInterrupt)),
]


@pytest.mark.parametrize("make", LATE, ids=name_of)
def test_what_resists_its_cancellation_is_left_behind(make: Callable[[], object]) -> None:
    """Its caller goes on; it ends in the background, and its outcome goes nowhere."""

    async def main() -> None:
        stubborn = Stubborn(make())
        raised = await outcome_of(await_with_limit(stubborn(), SHORT))
        assert isinstance(raised, HookTimeoutError)
        assert stubborn.cancelled == 1
        assert not stubborn.ended.is_set()
        gc.collect()
        stubborn.may_end.set()
        await stubborn.ended.wait()

    asyncio.run(main())


def test_an_interrupt_is_never_lost() -> None:
    """Ctrl-C that hits what was left behind ends the event loop, as it does elsewhere."""

    async def main() -> None:
        stubborn = Stubborn(KeyboardInterrupt())
        assert isinstance(await outcome_of(await_with_limit(stubborn(), SHORT)), HookTimeoutError)
        stubborn.may_end.set()
        await stubborn.ended.wait()

    loop = asyncio.new_event_loop()
    task = loop.create_task(main())
    with pytest.raises(KeyboardInterrupt):
        loop.run_until_complete(task)
    loop.run_until_complete(asyncio.wait({task}))
    for left in asyncio.all_tasks(loop):
        left.cancel()
    loop.close()


def test_a_late_result_of_a_coroutine_is_freed() -> None:
    """A late result is not kept alive by the exception that its caller got instead."""

    async def main() -> None:
        stubborn = Stubborn(Thing())
        reference = weakref.ref(stubborn.outcome)
        raised = await outcome_of(await_with_limit(stubborn(), SHORT))
        stubborn.may_end.set()
        await stubborn.ended.wait()
        await asyncio.sleep(0)
        stubborn.outcome = None
        assert reference() is None
        assert raised.__traceback__ is not None

    asyncio.run(main())


def test_what_a_coroutine_was_given_is_freed() -> None:
    """Who awaits something within a limit keeps, when that has ended, nothing that it knew."""

    async def main() -> None:
        async def keep(thing: Thing) -> None:
            await asyncio.sleep(0)

        thing = Thing()
        reference = weakref.ref(thing)
        await await_with_limit(keep(thing), LONG, thing)
        del thing
        # This step of the task knows what has woken it.
        await asyncio.sleep(0)
        gc.collect()
        assert reference() is None

    asyncio.run(main())


def test_the_end_of_asyncio_run_does_not_wait_for_what_was_left_behind() -> None:
    """What resists every cancellation is closed, so that `asyncio.run` comes to its end."""
    stubborn: list[Stubborn] = []

    async def main() -> None:
        stubborn.append(Stubborn())
        assert isinstance(
            await outcome_of(await_with_limit(stubborn[0](), SHORT)), HookTimeoutError
        )

    asyncio.run(main())
    assert stubborn[0].cancelled == 2
    assert stubborn[0].ended.is_set()


def test_what_finishes_its_work_in_the_background_may_wait_there() -> None:
    """One that was left behind goes on waiting and waking until it has come to its end."""

    async def main() -> None:
        async def tidy() -> None:
            try:
                await asyncio.sleep(LONG)
            finally:
                await may_tidy.wait()
                log.append(await soon("tidied"))
                for _ in range(2):
                    failed = asyncio.get_running_loop().create_future()
                    asyncio.get_running_loop().call_soon(failed.set_exception, PluginError())
                    log.append(type(await outcome_of(failed)))
                tidied.set()

        log: list[object] = []
        may_tidy, tidied = asyncio.Event(), asyncio.Event()
        raised = await outcome_of(await_with_limit(tidy(), SHORT))
        assert isinstance(raised, HookTimeoutError)
        assert log == []
        may_tidy.set()
        await tidied.wait()
        assert log == ["tidied", PluginError, PluginError]

    asyncio.run(main())


def test_what_was_left_behind_is_kept_alive() -> None:
    """A background task runs on though nobody but itself refers to what it waits for."""

    async def main() -> None:
        async def resist() -> None:
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.sleep(LONG)
            future = asyncio.get_running_loop().create_future()
            futures.append(weakref.ref(future))
            await future
            ended.set()

        futures: list[weakref.ref[asyncio.Future[None]]] = []
        ended = asyncio.Event()
        raised = await outcome_of(await_with_limit(resist(), SHORT))
        assert isinstance(raised, HookTimeoutError)
        del raised
        gc.collect()
        future = futures[0]()
        assert future is not None
        future.set_result(None)
        await ended.wait()

    asyncio.run(main())


def test_a_late_cancellation_may_be_cleaned_up_after() -> None:
    """One that learns of its cancellation only after it was left behind may clean up at leisure."""

    async def main() -> None:
        async def delegate() -> None:
            try:
                await task
            finally:
                log.append(await soon("cleaned up"))
                ended.set()

        log: list[str] = []
        stubborn, ended = Stubborn(), asyncio.Event()
        task = asyncio.ensure_future(stubborn())
        raised = await outcome_of(await_with_limit(delegate(), SHORT))
        assert isinstance(raised, HookTimeoutError)
        assert stubborn.cancelled == 1
        stubborn.outcome = asyncio.CancelledError()
        stubborn.may_end.set()
        await ended.wait()
        assert log == ["cleaned up"]

    asyncio.run(main())


@pytest.mark.usefixtures("_patience")
def test_a_cancelled_caller_cancels_what_it_awaits() -> None:
    """A cancellation from outside reaches the coroutine, and its caller is then cancelled."""

    async def main() -> None:
        async def slow() -> None:
            started.set()
            try:
                await asyncio.sleep(LONG)
            finally:
                await asyncio.sleep(0)
                log.append("cleaned up")

        log: list[str] = []
        started = asyncio.Event()
        task = asyncio.ensure_future(await_with_limit(slow(), LONG))
        await started.wait()
        task.cancel()
        assert isinstance(await outcome_of(task), asyncio.CancelledError)
        assert log == ["cleaned up"]

    asyncio.run(main())


def test_the_end_of_asyncio_run_cancels_once() -> None:
    """A coroutine may clean up when all tasks are cancelled, its caller's and its own."""
    log: list[str] = []

    async def slow() -> None:
        try:
            await asyncio.sleep(LONG)
        finally:
            log.append(await soon("cleaned up"))

    async def main() -> None:
        callers.extend(asyncio.ensure_future(await_with_limit(slow(), LONG)) for _ in range(20))
        await soon()

    callers: list[asyncio.Future[None]] = []
    asyncio.run(main())
    assert log == ["cleaned up"] * 20


@pytest.mark.parametrize("make", LATE, ids=name_of)
def test_what_resists_does_not_hold_a_cancelled_caller(make: Callable[[], object]) -> None:
    """A caller that is cancelled goes on although the coroutine swallows its cancellation."""

    async def main() -> None:
        stubborn = Stubborn(make())
        task = asyncio.ensure_future(await_with_limit(stubborn(), LONG))
        await stubborn.started.wait()
        task.cancel()
        assert isinstance(await outcome_of(task), asyncio.CancelledError)
        assert not stubborn.ended.is_set()
        stubborn.may_end.set()
        await stubborn.ended.wait()

    asyncio.run(main())


def test_a_swallowed_cancellation_still_cancels_the_caller() -> None:
    """A plugin cannot keep the application from cancelling its own task."""

    async def main() -> None:
        async def swallow() -> str:
            started.set()
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.sleep(LONG)
            return "went on"

        started = asyncio.Event()
        task = asyncio.ensure_future(await_with_limit(swallow(), LONG))
        await started.wait()
        task.cancel()
        assert isinstance(await outcome_of(task), asyncio.CancelledError)

    asyncio.run(main())


@pytest.mark.usefixtures("_patience")
def test_a_second_cancellation_does_not_wait_for_the_first() -> None:
    """A caller that is cancelled while the coroutine cleans up goes on at once."""

    async def main() -> None:
        stubborn = Stubborn()
        task = asyncio.ensure_future(await_with_limit(stubborn(), LONG))
        await stubborn.started.wait()
        task.cancel()
        while not stubborn.cancelled:
            await asyncio.sleep(0)
        task.cancel()
        assert isinstance(await outcome_of(task), asyncio.CancelledError)
        stubborn.may_end.set()
        await stubborn.ended.wait()

    asyncio.run(main())


@contextlib.asynccontextmanager
async def scope() -> AsyncIterator[Callable[[], None]]:
    """End a block by cancelling the current task, as `asyncio.timeout` and others do."""
    task: Any = asyncio.current_task()
    struck = False

    def strike() -> None:
        nonlocal struck
        struck = task.cancel()

    try:
        yield strike
    except asyncio.CancelledError:
        if not struck:
            raise
        if sys.version_info >= (3, 11):
            task.uncancel()
        raise TimeoutError("of the scope") from None


def test_a_scope_inside_may_strike_and_the_coroutine_go_on() -> None:
    """A time limit which the coroutine sets itself is its own affair."""

    async def with_fallback() -> str:
        for _ in range(2):
            with contextlib.suppress(TimeoutError):
                async with scope() as strike:
                    asyncio.get_running_loop().call_soon(strike)
                    try:
                        await asyncio.sleep(LONG)
                    finally:
                        # Longer than a cancelled coroutine has: this one was not cancelled at all.
                        await asyncio.sleep(deadlines.CLEANUP_SECONDS * 2)
        return str(await soon("fallback"))

    assert asyncio.run(await_with_limit(with_fallback(), LONG)) == "fallback"


@pytest.mark.skipif(sys.version_info < (3, 11), reason="Python 3.11 brings these scopes")
def test_the_scopes_of_asyncio_work_inside() -> None:
    """`asyncio.timeout`, `asyncio.wait_for` and `asyncio.TaskGroup` behave as without a limit."""
    scopes: Any = asyncio

    async def fail() -> None:
        raise PluginError

    async def use() -> list[str]:
        log = []
        try:
            async with scopes.timeout(SHORT):
                await asyncio.sleep(LONG)
        except TimeoutError:
            log.append("timeout")
        try:
            await asyncio.wait_for(asyncio.sleep(LONG), SHORT)
        except TimeoutError:
            log.append(await soon("wait_for"))
        try:
            async with scopes.TaskGroup() as group:
                group.create_task(fail())
                await asyncio.sleep(LONG)
        except Exception as error:
            log.append(type(error).__name__)
        return log

    async def main() -> list[str]:
        log = await await_with_limit(use(), LONG)
        assert scopes.current_task().cancelling() == 0
        return log

    assert asyncio.run(main()) == ["timeout", "wait_for", "ExceptionGroup"]


def test_a_scope_left_behind_does_not_cancel_the_caller() -> None:
    """A time limit inside what was left behind strikes there, and not the caller."""

    async def main() -> None:
        async def resist() -> None:
            with contextlib.suppress(TimeoutError):
                async with scope() as strike:
                    strikes.append(strike)
                    try:
                        await asyncio.sleep(LONG)
                    finally:
                        await asyncio.shield(may_end)
            ended.set()

        strikes: list[Callable[[], None]] = []
        may_end, ended = asyncio.get_running_loop().create_future(), asyncio.Event()
        raised = await outcome_of(await_with_limit(resist(), SHORT))
        assert isinstance(raised, HookTimeoutError)
        asyncio.get_running_loop().call_soon(strikes[0])
        await ended.wait()
        may_end.cancel()

    asyncio.run(main())


@pytest.mark.usefixtures("_patience")
def test_a_future_is_cancelled_at_its_limit() -> None:
    """A future and a task that are awaited are cancelled as a coroutine is."""

    async def main() -> None:
        future = asyncio.get_running_loop().create_future()
        task = asyncio.ensure_future(asyncio.sleep(LONG))
        for awaitable in (future, task, Plain(lambda: asyncio.sleep(LONG))):
            raised = await outcome_of(await_with_limit(awaitable, SHORT))
            assert isinstance(raised, HookTimeoutError)
        assert future.cancelled()
        assert task.cancelled()

    asyncio.run(main())


@pytest.mark.parametrize("steps", [0, 3])
@pytest.mark.parametrize("error", [None, PluginError()], ids=["returns", "raises"])
def test_context_variables_come_back(steps: int, error: Optional[PluginError]) -> None:
    """What a coroutine sets its caller sees, and what it does not set stays the caller's."""
    other: contextvars.ContextVar[str] = contextvars.ContextVar("other")

    async def set_them() -> None:
        assert user.get() == "alice"
        for _ in range(steps):
            await asyncio.sleep(0)
        other.set("set")
        user.set("bob")
        if error:
            raise error

    async def main() -> tuple[str, str]:
        user.set("alice")
        with contextlib.suppress(PluginError):
            await await_with_limit(set_them(), LONG)
        return user.get(), other.get()

    assert asyncio.run(main()) == ("bob", "set")


def test_context_variables_of_the_caller_stay_as_they_are() -> None:
    """What the caller's context is given meanwhile is not put back."""

    async def main() -> str:
        user.set("alice")
        ended = asyncio.Event()

        async def look() -> None:
            await asyncio.sleep(0)
            ended.set()

        coroutine = await_with_limit(look(), LONG)
        coroutine.send(None)
        user.set("bob")
        await ended.wait()
        with pytest.raises(StopIteration):
            coroutine.send(None)
        return user.get()

    assert asyncio.run(main()) == "bob"


def test_without_a_limit_nothing_comes_between() -> None:
    """A limit above `threading.TIMEOUT_MAX` is none: the coroutine runs in the caller's task."""

    async def current() -> int:
        await asyncio.sleep(0)
        return id(asyncio.current_task())

    async def main() -> None:
        found = await await_with_limit(current(), threading.TIMEOUT_MAX * 2)
        assert found == id(asyncio.current_task())
        assert await await_with_limit(soon(), threading.TIMEOUT_MAX) == "done"

    asyncio.run(main())


@pytest.mark.usefixtures("_patience")
def test_limits_nest() -> None:
    """The inner of two limits strikes as well as the outer."""

    async def main() -> None:
        inner = await_with_limit(asyncio.sleep(LONG), SHORT)
        raised = await outcome_of(await_with_limit(inner, LONG))
        assert isinstance(raised, HookTimeoutError)
        assert raised.seconds == SHORT
        inner = await_with_limit(asyncio.sleep(LONG), LONG)
        raised = await outcome_of(await_with_limit(inner, SHORT))
        assert isinstance(raised, HookTimeoutError)
        assert raised.seconds == SHORT

    asyncio.run(main())


def test_no_timer_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    """A limit that does not strike leaves nothing in the event loop."""
    timers: list[asyncio.TimerHandle] = []

    async def main() -> None:
        loop = asyncio.get_running_loop()
        call_later = loop.call_later

        def note(*args: Any, **options: Any) -> asyncio.TimerHandle:
            timers.append(call_later(*args, **options))
            return timers[-1]

        monkeypatch.setattr(loop, "call_later", note)
        await await_with_limit(asyncio.ensure_future(at_once()), LONG)

    asyncio.run(main())
    assert [timer.cancelled() for timer in timers] == [True]


@pytest.mark.usefixtures("_patience")
def test_a_cancellation_before_the_first_step_leaves_no_coroutine_unawaited() -> None:
    """Where all tasks are cancelled in the turn in which one is made, nothing complains."""

    async def main() -> None:
        task = asyncio.ensure_future(await_with_limit(soon(), LONG))
        await asyncio.sleep(0)
        for each in asyncio.all_tasks() - {asyncio.current_task()}:
            each.cancel()
        assert isinstance(await outcome_of(task), asyncio.CancelledError)

        task = asyncio.ensure_future(await_with_limit(soon(), LONG))
        await asyncio.sleep(0)
        for each in asyncio.all_tasks() - {asyncio.current_task(), task}:
            each.cancel()
        assert isinstance(await outcome_of(task), asyncio.CancelledError)

    asyncio.run(main())


def test_who_waits_for_all_tasks_waits_only_for_real_ones() -> None:
    """A task that is kept for the next coroutine is nobody else's business."""

    async def main() -> None:
        for make in (at_once, soon, at_once):
            await await_with_limit(make(), LONG)
            assert asyncio.all_tasks() == {asyncio.current_task()}

    asyncio.run(main())


@pytest.mark.parametrize("steps", [0, 1])
@pytest.mark.parametrize("turns", [0, 1], ids=["at once", "later"])
def test_a_coroutine_that_cancels_its_own_task_cancels_nothing_else(steps: int, turns: int) -> None:
    """Neither its caller nor the coroutines with a limit after it hear of the cancellation."""

    async def main() -> None:
        async def cancel_itself() -> str:
            own: Any = asyncio.current_task()
            own.cancel()
            for _ in range(steps):
                with pytest.raises(asyncio.CancelledError):
                    await asyncio.sleep(0)
            return "done"

        for _ in range(turns):
            await asyncio.sleep(0)
        for _ in range(2):
            assert await await_with_limit(cancel_itself(), LONG) == "done"
            assert await await_with_limit(soon(), LONG) == "done"
        await asyncio.sleep(0)

    asyncio.run(main())


@pytest.mark.parametrize("cancels", ["itself", "in a callback"])
def test_a_cancellation_cancels_what_the_first_step_waits_for(cancels: str) -> None:
    """One that comes before the task's second step reaches what is awaited, as in any task."""

    async def main() -> None:
        async def delegate() -> bool:
            own: Any = asyncio.current_task()
            if cancels == "itself":
                own.cancel()
            else:
                asyncio.get_running_loop().call_soon(own.cancel)
            task = asyncio.ensure_future(asyncio.sleep(LONG))
            with pytest.raises(asyncio.CancelledError):
                await task
            return task.cancelled()

        assert await asyncio.ensure_future(delegate())
        assert await await_with_limit(delegate(), LONG)

    asyncio.run(main())


@pytest.mark.parametrize("make", [at_once, soon])
def test_a_coroutine_sees_one_current_task_that_is_not_its_callers(
    make: Callable[[], Coroutine[Any, Any, str]],
) -> None:
    """From its first step to its last it runs in one task, and its caller in another, as before."""

    async def main() -> None:
        async def look() -> str:
            current = asyncio.current_task()
            assert current is not caller
            result = await await_with_limit(make(), LONG)
            assert asyncio.current_task() is current
            await make()
            assert asyncio.current_task() is current
            return result

        caller = asyncio.current_task()
        for _ in range(2):
            assert await await_with_limit(look(), LONG) == "done"
            assert asyncio.current_task() is caller

    asyncio.run(main())


@pytest.mark.parametrize("make", [at_once, soon])
def test_an_event_loop_in_a_thread_with_the_same_context_has_tasks_of_its_own(
    make: Callable[[], Coroutine[Any, Any, str]],
) -> None:
    """What is kept for the next coroutine is of no use to another event loop."""

    async def main() -> None:
        await await_with_limit(at_once(), LONG)
        inner = contextvars.copy_context()

        def run() -> str:
            return inner.run(asyncio.run, await_with_limit(make(), LONG))

        assert await run_in_worker(lambda hop: run()) == "done"
        assert await await_with_limit(make(), LONG) == "done"

    asyncio.run(main())


def test_a_token_of_a_context_variable_serves_in_later_steps() -> None:
    """What is set in the first step can be reset after the coroutine has suspended."""

    async def main() -> None:
        async def bound() -> None:
            token = user.set("bob")
            await asyncio.sleep(0)
            user.reset(token)

        user.set("alice")
        await await_with_limit(bound(), LONG)
        assert user.get() == "alice"

    asyncio.run(main())


@pytest.mark.parametrize("steps", [0, 1])
def test_a_context_variable_that_is_reset_stays_reset(steps: int) -> None:
    """What a coroutine sets and takes back again its caller never sees."""
    other: contextvars.ContextVar[str] = contextvars.ContextVar("other", default="unset")

    async def main() -> None:
        async def borrow() -> None:
            token = other.set("borrowed")
            for _ in range(steps):
                await asyncio.sleep(0)
            other.reset(token)

        await await_with_limit(borrow(), LONG)
        assert other.get() == "unset"

    asyncio.run(main())


def test_what_is_past_its_limit_brings_no_context_variable_back() -> None:
    """What a coroutine set before its time limit struck stays its own."""

    async def main() -> None:
        async def set_it() -> None:
            user.set("bob")
            await asyncio.sleep(LONG)

        user.set("alice")
        assert isinstance(await outcome_of(await_with_limit(set_it(), SHORT)), HookTimeoutError)
        assert user.get() == "alice"

    asyncio.run(main())


@pytest.mark.parametrize("steps", [0, 1])
def test_values_of_context_variables_are_not_compared(steps: int) -> None:
    """Whether a value is another one is told by its identity, without code of the value."""

    class Value:
        __hash__ = None  # type: ignore[assignment]

        def __eq__(self, other: object) -> bool:
            raise AssertionError("compared")

    variable: contextvars.ContextVar[Any] = contextvars.ContextVar("variable")

    async def main() -> None:
        async def set_it() -> None:
            for _ in range(steps):
                await asyncio.sleep(0)
            variable.set(new)

        old, new = Value(), Value()
        variable.set(old)
        await await_with_limit(set_it(), LONG)
        assert variable.get() is new

    asyncio.run(main())


def test_the_time_before_a_coroutine_suspends_counts() -> None:
    """One that has used up its time when it first suspends is cancelled there."""

    async def main() -> None:
        async def block() -> None:
            threading.Event().wait(SHORT * 2)
            await asyncio.sleep(LONG)

        started = time.monotonic()
        assert isinstance(await outcome_of(await_with_limit(block(), SHORT)), HookTimeoutError)
        assert time.monotonic() - started < LONG

    asyncio.run(main())


def test_a_task_that_a_coroutine_keeps_is_no_others() -> None:
    """Who cancels the task of a coroutine that has ended cancels nobody."""

    async def main() -> None:
        async def keep() -> None:
            tasks.append(asyncio.current_task())

        async def work() -> str:
            asyncio.get_running_loop().call_soon(tasks[0].cancel)
            await asyncio.sleep(0.01)
            return "worked"

        tasks: list[Any] = []
        await await_with_limit(keep(), LONG)
        assert await await_with_limit(work(), LONG) == "worked"
        assert tasks[0].done()

    asyncio.run(main())


def test_who_waits_for_the_task_of_a_coroutine_is_told_of_its_end() -> None:
    """A callback that a coroutine adds to its task is called, although it never suspended."""

    async def main() -> None:
        async def ask() -> None:
            current: Any = asyncio.current_task()
            current.add_done_callback(lambda task: ended.set())

        ended = asyncio.Event()
        await await_with_limit(ask(), LONG)
        await asyncio.wait_for(ended.wait(), LONG)

    asyncio.run(main())


def test_a_closed_caller_cancels_what_it_awaited() -> None:
    """A caller that is closed instead of cancelled leaves nothing running behind it."""

    async def main() -> None:
        async def slow() -> None:
            started.set()
            try:
                await asyncio.sleep(LONG)
            finally:
                log.append("cleaned up")

        log: list[str] = []
        started = asyncio.Event()
        coroutine = await_with_limit(slow(), LONG)
        coroutine.send(None)
        await started.wait()
        coroutine.close()
        await soon()
        assert log == ["cleaned up"]

    asyncio.run(main())


def test_what_resists_a_closed_caller_is_left_behind() -> None:
    """The end of `asyncio.run` waits no longer for it than for what is past its limit."""
    stubborn: list[Stubborn] = []

    async def main() -> None:
        stubborn.append(Stubborn())
        coroutine = await_with_limit(stubborn[0](), LONG)
        coroutine.send(None)
        await stubborn[0].started.wait()
        coroutine.close()
        await soon()

    asyncio.run(asyncio.wait_for(main(), LONG))
    assert stubborn[0].cancelled == 2
    assert stubborn[0].ended.is_set()


def test_an_event_loop_may_be_closed_meanwhile(caplog: pytest.LogCaptureFixture) -> None:
    """What is thrown away together with its event loop ends without a noise of its own."""

    async def main() -> None:
        tasks.append(asyncio.ensure_future(await_with_limit(asyncio.sleep(LONG), LONG)))
        await soon()

    tasks: list[asyncio.Future[Any]] = []
    loop = asyncio.new_event_loop()
    loop.run_until_complete(main())
    loop.close()
    tasks.clear()
    gc.collect()
    # asyncio itself tells of every task that its event loop did not finish.
    assert {record.message.split("\n")[0] for record in caplog.records} == {
        "Task was destroyed but it is pending!"
    }
    caplog.clear()


def test_asyncio_is_not_imported_before_it_is_needed(run_python: RunPython) -> None:
    """Neither importing the module nor a sync call pulls in asyncio."""
    script = """
        import sys
        from nitro_dispatch.execution import call_with_limit
        call_with_limit("key", str, 1, 60.0)
        print("asyncio" in sys.modules)
    """
    assert run_python(script) == "False\n"
