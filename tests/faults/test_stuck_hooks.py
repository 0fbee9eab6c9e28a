"""A caller is back near the time limit, whatever a hook does; nothing waits for a stuck one."""

from __future__ import annotations

import asyncio
import functools
import gc
import itertools
import signal
import socket
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Coroutine, Generator, Iterator
from pathlib import Path
from typing import Any, Callable

import pytest

from concurrency import PATIENCE, Together, elsewhere
from loops import run_quietly
from nitro_dispatch import (
    HookCall,
    HookRegistry,
    HookTimeoutError,
    PluginBase,
    PluginManager,
    hook,
)
from plugin_classes import MakePlugin
from programs import RunPython, run_program

SOON = 0.02
LATE = 20.0
A_WHILE = 0.5
"""In seconds: how long something is stuck that nobody can let go."""

Callback = Callable[[Any], Any]


class Stuck:
    """Ways for a hook to be stuck, until the test lets go."""

    def __init__(self) -> None:
        self.may_end = threading.Event()
        self.ended = threading.Semaphore(0)
        self.lock = threading.Lock()
        self.lock.acquire()
        self.near, self.far = socket.socketpair()
        self.inner = HookRegistry()
        self.inner.register("stuck", self.wait)
        self.inner.register("limited", self.wait, timeout=LATE)
        self.inner.register("limited soon", self.wait, timeout=SOON)

    def let_go(self) -> None:
        """Let everything end that is stuck."""
        self.may_end.set()
        self.lock.release()
        self.far.close()

    def wait(self, data: Any) -> None:
        self.may_end.wait(PATIENCE)

    def sleep(self, data: Any) -> None:
        time.sleep(A_WHILE)

    def busy(self, data: Any) -> None:
        while not self.may_end.is_set():
            sum(range(100))

    def generator(self, data: Any) -> None:
        for _ in itertools.takewhile(lambda _: not self.may_end.is_set(), itertools.count()):
            pass

    def socket(self, data: Any) -> None:
        self.near.recv(1)

    def held_lock(self, data: Any) -> None:
        with self.lock:
            self.lock.release()
            self.lock.acquire()

    def process(self, data: Any) -> None:
        command = [sys.executable, "-c", "import sys; sys.stdin.read()"]
        with subprocess.Popen(command, stdin=subprocess.PIPE) as child:
            self.may_end.wait(PATIENCE)
            assert child.stdin is not None
            child.stdin.close()
            child.wait(PATIENCE)

    def catches_all(self, data: Any) -> None:
        while not self.may_end.is_set():
            try:
                self.may_end.wait(PATIENCE)
                raise SystemExit
            except BaseException:
                continue

    def dispatches(self, data: Any) -> None:
        self.inner.trigger("stuck")

    def dispatches_with_a_limit(self, data: Any) -> None:
        self.inner.trigger("limited")

    def dispatches_for_ever(self, data: Any) -> None:
        while not self.may_end.is_set():
            self.inner.trigger("limited soon")

    def runs_a_loop(self, data: Any) -> None:
        asyncio.run(self.poll(data))

    def returns_late_awaitables(self, data: Any) -> Any:
        self.may_end.wait(PATIENCE)
        return self.poll(data)

    async def poll(self, data: Any) -> None:
        """Wait in an event loop for what happens in a thread."""
        while not self.may_end.is_set():
            await asyncio.sleep(0.01)

    def way(self, name: str) -> Callback:
        """Give one way, which tells of its end, by its name."""
        function = getattr(self, name)

        def act(data: Any) -> Any:
            try:
                return function(data)
            finally:
                self.ended.release()

        return act


@pytest.fixture
def stuck() -> Iterator[Stuck]:
    """Ways to be stuck, none of which outlasts the test by long."""
    ways = Stuck()
    yield ways
    ways.let_go()
    ways.near.close()


WAYS = (
    "wait",
    "sleep",
    "busy",
    "generator",
    "socket",
    "held_lock",
    "process",
    "catches_all",
    "dispatches",
    "dispatches_with_a_limit",
    "dispatches_for_ever",
    "runs_a_loop",
    "returns_late_awaitables",
)


def values(answers: list[Any]) -> str:
    """Join what hooks answered to `collect`, each without the data that all were given."""
    return "".join(answer.value.lstrip("0") for answer in answers)


Fire = Callable[[HookRegistry], Any]
SYNC: dict[str, Fire] = {
    "trigger": lambda registry: registry.trigger("event", "0"),
    "trace": lambda registry: registry.trace("event", "0").result,
    "collect": lambda registry: "0" + values(registry.collect("event", "0")),
    "first": lambda registry: registry.first("event", "0") + "b",
}
ASYNC: dict[str, Callable[[HookRegistry], Coroutine[Any, Any, Any]]] = {
    "trigger_async": lambda registry: registry.trigger_async("event", "0"),
    "collect_async": lambda registry: collected(registry),
}


async def collected(registry: HookRegistry) -> str:
    """Join what hooks answer to `collect_async`."""
    return "0" + values(await registry.collect_async("event", "0"))


def in_a_loop(fire: Callable[[HookRegistry], Coroutine[Any, Any, Any]]) -> Fire:
    """Fire in an event loop."""
    return lambda registry: run_quietly(fire(registry))


FIRE: dict[str, Fire] = {**SYNC, **{name: in_a_loop(fire) for name, fire in ASYNC.items()}}


def registry_with(callback: Callback, **options: Any) -> HookRegistry:
    """Make a registry with a hook in question between two that do their work."""
    registry = HookRegistry()
    registry.set_error_strategy("collect_all")
    registry.register("event", lambda data: data + "a", timeout=LATE)
    registry.register("event", callback, **{"timeout": SOON, **options})
    registry.register("event", lambda data: data + "b", timeout=LATE)
    return registry


def errors_of(registry: HookRegistry) -> list[type]:
    """Give the types of the errors of the last dispatch."""
    return [type(entry["error"]) for entry in registry.get_last_errors()]


# -- the caller comes back


@pytest.mark.parametrize("fire", FIRE)
@pytest.mark.parametrize("way", WAYS)
def test_a_caller_is_back_while_the_hook_is_stuck(way: str, fire: str, stuck: Stuck) -> None:
    """However a sync hook is stuck and however its event is fired, the others do their work."""
    registry = registry_with(stuck.way(way))
    assert FIRE[fire](registry) == "0ab"
    assert errors_of(registry) == ([] if fire == "first" else [HookTimeoutError])
    assert not stuck.ended.acquire(blocking=False)


def test_a_hook_that_is_said_not_to_block_is_limited(stuck: Stuck) -> None:
    """A sync hook with a limit runs in a worker, also where it is marked `blocking=False`."""
    registry = registry_with(stuck.way("wait"), blocking=False)
    for fire in FIRE.values():
        assert fire(registry) == "0ab"
    assert not stuck.ended.acquire(blocking=False)


@pytest.mark.parametrize("fire", FIRE)
def test_a_lazy_hook_may_be_stuck(fire: str, tmp_path: Path, stuck: Stuck) -> None:
    """A hook whose plugin is imported by the event itself is limited like any other."""
    (tmp_path / "slow_plugin.py").write_text(
        textwrap.dedent("""
            import threading
            from nitro_dispatch import PluginBase, hook

            class Slow(PluginBase):
                name = "slow"
                may_end = threading.Event()

                @hook("event", timeout=0.02)
                def act(self, data):
                    self.may_end.wait(30)
        """)
    )
    manager = PluginManager(lazy=True)
    manager.discover_plugins(tmp_path)
    assert manager.load_all() == ["slow"]
    manager.register_hook("event", lambda data: data + "b")
    fired: Any = manager
    assert FIRE[fire](fired) in ("0b", "0bb")
    slow: Any = manager.get_plugin("slow")
    slow.may_end.set()


# -- async hooks


async def wait_for_ever(data: Any) -> str:
    """Be stuck until somebody cancels it."""
    await asyncio.Event().wait()
    return "never"


async def swallow(data: Any) -> str:
    """Be stuck, and hear no cancellation."""
    while True:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            continue


async def swallow_and_return(data: Any) -> Any:
    """Answer a cancellation with another thing to wait for."""
    try:
        await asyncio.Event().wait()
    except asyncio.CancelledError:
        return wait_for_ever(data)


async def clean_up_for_ever(data: Any) -> None:
    """Be stuck in the cleanup."""
    try:
        await asyncio.Event().wait()
    finally:
        await asyncio.Event().wait()


async def shield(data: Any) -> None:
    """Wait for something that is not cancelled."""
    await asyncio.shield(asyncio.ensure_future(asyncio.sleep(A_WHILE)))


async def poll(data: Any) -> None:
    """Be stuck, busy, and give way again and again."""
    while True:
        await asyncio.sleep(0)


async def dispatch(data: Any) -> None:
    """Fire an event to a hook that is stuck and has no limit."""
    registry = HookRegistry()
    registry.register("stuck", wait_for_ever)
    await registry.trigger_async("stuck", data)


async def dispatch_with_limits(data: Any) -> None:
    """Fire events for ever to hooks that are stuck and have limits of their own."""
    registry = HookRegistry()
    registry.register("stuck", wait_for_ever, timeout=SOON)
    while True:
        await registry.trigger_async("stuck", data)


async def return_coroutine(data: Any) -> Any:
    """Forget an `await`."""
    return wait_for_ever(data)


async def suspend_and_return(data: Any) -> Any:
    """Forget an `await`, after another."""
    await asyncio.sleep(0)
    return wait_for_ever(data)


async def return_in_turn(data: Any) -> Any:
    """Return what returns a coroutine in its turn."""
    return return_coroutine(data)


async def return_for_ever(data: Any) -> Any:
    """Return itself."""
    return return_for_ever(data)


async def suspend_and_return_for_ever(data: Any) -> Any:
    """Return itself after a while."""
    await asyncio.sleep(0)
    return suspend_and_return_for_ever(data)


async def return_task(data: Any) -> Any:
    """Return a task."""
    return asyncio.ensure_future(wait_for_ever(data))


async def return_future(data: Any) -> Any:
    """Return a future of which nothing ever becomes."""
    return asyncio.get_running_loop().create_future()


class Endless:
    """Something that can be awaited, for ever."""

    def __await__(self) -> Generator[Any, Any, Any]:
        return wait_for_ever(None).__await__()


async def return_awaitable(data: Any) -> Any:
    """Return something of another type that can be awaited."""
    return Endless()


class CallableObject:
    """Is stuck when called, or what it returns is, or what that comes to."""

    def __init__(self, function: Callback) -> None:
        self.function = function

    def __call__(self, data: Any) -> Any:
        return self.function(data)


ASYNC_WAYS = (
    wait_for_ever,
    swallow,
    swallow_and_return,
    clean_up_for_ever,
    shield,
    poll,
    dispatch,
    dispatch_with_limits,
    return_coroutine,
    suspend_and_return,
    return_in_turn,
    return_for_ever,
    suspend_and_return_for_ever,
    return_task,
    return_future,
    return_awaitable,
)
KINDS: dict[str, Callable[[Callback], Callback]] = {
    "async def": lambda function: function,
    "lambda": lambda function: lambda data: function(data),
    "partial": functools.partial,
    "callable object": CallableObject,
}


@pytest.mark.parametrize("fire", ASYNC)
@pytest.mark.parametrize("kind", KINDS)
def test_a_caller_is_back_while_an_async_hook_is_stuck(kind: str, fire: str) -> None:
    """However a hook is stuck that is awaited, or what it comes to, the others do their work."""
    registries = {way.__name__: registry_with(KINDS[kind](way)) for way in ASYNC_WAYS}

    async def one(registry: HookRegistry) -> tuple[Any, list[type]]:
        return await ASYNC[fire](registry), errors_of(registry)

    async def main() -> list[tuple[Any, list[type]]]:
        return await asyncio.gather(*map(one, registries.values()))

    began = time.monotonic()
    found = dict(zip(registries, run_quietly(main())))
    assert found == dict.fromkeys(registries, ("0ab", [HookTimeoutError]))
    assert time.monotonic() - began < LATE / 2


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seconds", [0.05, LATE])
def test_what_a_hook_returns_has_what_is_left_of_its_time(kind: str, seconds: float) -> None:
    """A coroutine that a hook returns has the rest of its hook's time, as long as there is some."""
    waits = 0.04

    async def last(data: str) -> str:
        await asyncio.sleep(waits)
        return data + "x"

    async def second(data: str) -> Any:
        await asyncio.sleep(waits)
        return last(data)

    registry = registry_with(KINDS[kind](second), timeout=seconds)
    assert FIRE["trigger_async"](registry) == ("0axb" if seconds == LATE else "0ab")
    assert errors_of(registry) == ([] if seconds == LATE else [HookTimeoutError])


def test_the_time_that_a_sync_hook_took_counts() -> None:
    """A sync hook that returns an awaitable has not its whole time once more to wait for that."""
    may_end = threading.Event()

    def slow(data: str) -> Any:
        may_end.wait(0.6)
        return asyncio.sleep(0.6, data + "x")

    registry = registry_with(slow, timeout=1.0)
    assert FIRE["trigger_async"](registry) == "0ab"
    assert errors_of(registry) == [HookTimeoutError]


@pytest.mark.parametrize("timeout", [None, LATE])
def test_awaitable_data_are_not_awaited(timeout: Any) -> None:
    """Data that could be awaited come back as they are, however the hook hands them back."""

    async def same(data: object) -> object:
        return data

    async def suspend(data: object) -> object:
        await asyncio.sleep(0)
        return data

    registry = HookRegistry()
    for callback in (same, suspend, lambda data: data, lambda data: suspend(data)):
        registry.register("event", callback, timeout=timeout)

    async def main() -> None:
        data = asyncio.get_running_loop().create_future()
        assert await registry.trigger_async("event", data) is data
        answers = await registry.collect_async("event", data)
        assert [answer.value for answer in answers] == [data] * 4

    run_quietly(main())


def test_a_tracer_is_told_of_the_limit_that_an_awaitable_passes() -> None:
    """For a tracer too a hook has taken too long whose coroutine returns one that is stuck."""
    calls: list[HookCall] = []
    for way in (return_coroutine, suspend_and_return, return_in_turn):
        registry = registry_with(way)
        registry.add_tracer(calls.append)
        FIRE["trigger_async"](registry)
        assert [call.outcome for call in calls] == ["returned", "timed out", "returned"]
        calls.clear()


# -- threads


def test_a_stuck_hook_leaves_few_threads(stuck: Stuck) -> None:
    """A thousand dispatches of a hook that is stuck leave the threads of a few."""
    registry = registry_with(stuck.wait, timeout=0.001)
    before = threading.active_count()

    async def main() -> None:
        for _ in range(500):
            assert await registry.trigger_async("event", "0") == "0ab"

    for _ in range(500):
        assert registry.trigger("event", "0") == "0ab"
    run_quietly(main())
    # Those that are stuck, and two: an async dispatch makes its hop, and the hook another.
    assert threading.active_count() - before <= 8 + 2


LATE_HOOKS = """
    import contextlib, threading
    from nitro_dispatch import HookError, HookRegistry

    ever = threading.Event()
    registry = HookRegistry()
    for place in range(2000):
        registry.register(f"event{place}", lambda data: ever.wait(), timeout=0.0001)
    for place in range(2000):
        assert registry.trigger(f"event{place}", 1) == 1
"""
CANCELLED_DISPATCHES = """
    import asyncio, contextlib, threading
    from nitro_dispatch import HookError, HookRegistry

    ever = threading.Event()
    registry = HookRegistry()
    begun = threading.Semaphore(0)
    registry.register("event", lambda data: begun.release() or ever.wait())

    async def main():
        for _ in range(1000):
            task = asyncio.ensure_future(registry.trigger_async("event", 1))
            while not (begun.acquire(blocking=False) or task.done()):
                await asyncio.sleep(0.001)
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError, HookError):
                await task

    asyncio.run(main())
"""


@pytest.mark.parametrize("program", [LATE_HOOKS, CANCELLED_DISPATCHES], ids=["late", "cancelled"])
def test_all_stuck_hooks_together_leave_a_bounded_number_of_threads(
    program: str, run_python: RunPython
) -> None:
    """However many hooks are stuck, threads have an end, said clearly; later all is well again."""
    report = """
    print(threading.active_count() <= 512 + 33)
    registry.set_error_strategy("fail_fast")
    registry.register("another", lambda data: data + 1, timeout=20)
    try:
        registry.trigger("another", 1)
    except HookError as error:
        print(error)
    ever.set()
    while True:
        with contextlib.suppress(HookError):
            print(registry.trigger("another", 1))
            break
    """
    limit, reason, result = run_python(program + report, seconds=PATIENCE).splitlines()
    assert limit == "True"
    assert "no worker thread is started to run the hook: 512 earlier calls of hooks" in reason
    assert result == "2"


# -- the end of a process and of an event loop

ENDS: dict[str, tuple[str, int, str]] = {
    "the end of main": ("pass", 0, ""),
    "sys.exit": ("sys.exit(3)", 3, ""),
    "an exception": ("raise ValueError('mine')", 1, "ValueError: mine"),
    "KeyboardInterrupt": ("raise KeyboardInterrupt", -signal.SIGINT, "KeyboardInterrupt"),
}
STUCK_PROGRAM = """
import asyncio, sys, threading, time
from nitro_dispatch import HookRegistry

def busy(data):
    while True:
        pass

async def swallow(data):
    while True:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            pass

registry = HookRegistry()
for way in (lambda data: threading.Event().wait(), lambda data: time.sleep(600), busy, swallow):
    registry.register("event", way, timeout=0.02)
registry.register("unlimited", lambda data: threading.Event().wait())

async def main():
    assert await registry.trigger_async("event", 1) == 1
    unlimited = asyncio.ensure_future(registry.trigger_async("unlimited", 1))
    await asyncio.sleep(0.01)
    raise_at_the_end()
"""


@pytest.mark.parametrize("end", ENDS)
def test_the_end_of_a_process_waits_for_no_stuck_hook(end: str) -> None:
    """However a program ends, it ends, and as it meant to, while hooks of all kinds are stuck."""
    statement, status, message = ENDS[end]
    program = f"""
def raise_at_the_end():
    {statement}

registry.trigger("event", 1)
asyncio.run(main())
"""
    done = run_program(STUCK_PROGRAM + program, seconds=PATIENCE)
    assert (done.returncode, "".join(done.stderr.splitlines()[-1:])) == (status, message)


# -- what becomes of the plugin


class Slow:
    """The parts of a plugin whose first call is stuck, and those after it are not."""

    def __init__(self, make: Callable[..., type[PluginBase]], outcome: Any = "late") -> None:
        self.may_end, self.ended, self.begun = (threading.Event() for _ in range(3))
        self.outcome = outcome
        self.told: list[BaseException] = []
        self.unloaded: list[str] = []
        self.manager = PluginManager()
        self.plugin = make(
            "slow",
            on_error=lambda _, error: self.told.append(error),
            on_unload=lambda _: self.unloaded.append("slow"),
            act=hook("event", timeout=0.05)(lambda _, data: self.act(data)),
            act_async=hook("async", timeout=0.05, async_hook=True)(
                lambda _, data: self.act_async(data)
            ),
            act_unlimited=hook("unlimited")(lambda _, data: self.act(data)),
        )
        self.manager.load(self.manager.register(self.plugin))

    def is_first(self) -> bool:
        """Tell whether a call is the first."""
        if self.begun.is_set():
            return False
        self.begun.set()
        return True

    def act(self, data: Any) -> Any:
        """Be stuck, and come to an end after all."""
        if not self.is_first():
            return data + 1
        self.may_end.wait(PATIENCE)
        return self.end()

    async def act_async(self, data: Any) -> Any:
        """Be stuck without hearing a cancellation, and come to an end after all."""
        if not self.is_first():
            return data + 1
        while not self.may_end.is_set():
            try:
                await asyncio.sleep(0.001)
            except asyncio.CancelledError:
                continue
        return self.end()

    def end(self) -> Any:
        """Return the outcome or raise it."""
        self.ended.set()
        if self.outcome == "coroutine":
            return wait_for_ever(None)
        if isinstance(self.outcome, BaseException):
            raise self.outcome
        return self.outcome

    def change(self, how: str) -> None:
        """Do something with the plugin, from another thread, which must not have to wait."""
        elsewhere(lambda: getattr(self.manager, how)("slow"))


CHANGES = {"unload": 0, "unregister": 0, "disable_plugin": 0, "reload": 1}
"""What can be done with a plugin, and what its hooks add to the data afterwards."""
OUTCOMES: dict[str, Callable[[], Any]] = {
    "result": lambda: "late",
    "exception": lambda: ValueError("late"),
    "SystemExit": lambda: SystemExit("late"),
    "coroutine": lambda: "coroutine",
}


@pytest.fixture
def _no_word(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """See to it that no thread ends with an exception."""
    told: list[str] = []
    monkeypatch.setattr(threading, "excepthook", lambda arguments: told.append(str(arguments)))
    yield
    gc.collect()
    assert told == []


@pytest.mark.usefixtures("_no_word")
@pytest.mark.parametrize("outcome", OUTCOMES)
@pytest.mark.parametrize("change", CHANGES)
def test_a_plugin_can_be_changed_while_its_hook_is_stuck(
    change: str,
    outcome: str,
    make_plugin: MakePlugin,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Nobody waits for the hook, and what it comes to later is no longer of any account."""
    slow = Slow(make_plugin, OUTCOMES[outcome]())
    assert slow.manager.trigger("event", 0) == 0
    slow.change(change)
    assert not slow.ended.is_set()
    assert slow.unloaded == ([] if change == "disable_plugin" else ["slow"])
    assert slow.manager.trigger("event", 0) == CHANGES[change]
    told, lines = list(slow.told), len(caplog.records)
    assert [type(error) for error in told] == [HookTimeoutError]
    slow.may_end.set()
    assert slow.ended.wait(PATIENCE)
    wait_for_workers()
    assert (slow.told, len(caplog.records)) == (told, lines)
    assert slow.manager.trigger("event", 0) == CHANGES[change]


def wait_for_workers() -> None:
    """Wait until the worker that was stuck has come back: it works once more."""
    registry = HookRegistry()
    registry.register("event", lambda data: threading.current_thread(), timeout=LATE)
    for _ in range(3):
        registry.trigger("event")


@pytest.mark.parametrize("outcome", OUTCOMES)
@pytest.mark.parametrize("change", CHANGES)
def test_a_plugin_can_be_changed_while_its_async_hook_is_stuck(
    change: str,
    outcome: str,
    make_plugin: MakePlugin,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """What was left behind in the event loop is of no account either."""
    slow = Slow(make_plugin, OUTCOMES[outcome]())

    async def main() -> None:
        assert await slow.manager.trigger_async("async", 0) == 0
        slow.change(change)
        assert not slow.ended.is_set()
        assert await slow.manager.trigger_async("async", 0) == CHANGES[change]
        told, lines = list(slow.told), len(caplog.records)
        slow.may_end.set()
        while len(asyncio.all_tasks()) > 1:
            await asyncio.sleep(0.001)
        assert slow.ended.is_set()
        assert (slow.told, len(caplog.records)) == (told, lines)

    run_quietly(main())


@pytest.mark.parametrize("change", CHANGES)
def test_a_plugin_can_be_changed_while_a_hook_without_a_limit_is_stuck(
    change: str, make_plugin: MakePlugin
) -> None:
    """Only who fired its event waits for the hook."""
    slow = Slow(make_plugin)
    waiting = Together(lambda: slow.manager.trigger("unlimited", 0))
    assert slow.begun.wait(PATIENCE)
    slow.change(change)
    assert elsewhere(lambda: slow.manager.trigger("unlimited", 0)) == CHANGES[change]
    assert not slow.ended.is_set()
    slow.may_end.set()
    assert waiting.join() == ["late"]


# -- neighbours


def test_each_neighbour_has_all_of_its_time() -> None:
    """In an async dispatch too the time that a hook takes is not that of the next one."""

    async def work(data: int) -> int:
        await asyncio.sleep(0.4)
        return data + 1

    async def work_after_another(data: int) -> Any:
        return work(data)

    def block(data: int) -> int:
        threading.Event().wait(0.4)
        return data + 1

    async def main() -> None:
        hooks = (work, work_after_another, block, lambda data: work(data))
        dispatches = []
        for callback in hooks:
            registry = HookRegistry()
            for _ in range(3):
                # Together they take longer than one limit.
                registry.register("event", callback, timeout=1.0)
            dispatches.append(registry.trigger_async("event", 0))
        assert await asyncio.gather(*dispatches) == [3] * len(hooks)

    run_quietly(main())


@pytest.mark.parametrize("way", [return_coroutine, suspend_and_return, wait_for_ever, swallow])
def test_a_stuck_neighbour_takes_no_time_of_the_next(way: Callback) -> None:
    """Hooks behind one that was stuck have all of their time, and end as they would alone."""

    async def work(data: str) -> str:
        await asyncio.sleep(0.05)
        return data + "b"

    registry = HookRegistry()
    registry.set_error_strategy("collect_all")
    for callback in (way, work, way, lambda data: work(data)):
        registry.register("event", callback, timeout=SOON if callback is way else LATE)
    assert FIRE["trigger_async"](registry) == "0bb"
    assert errors_of(registry) == [HookTimeoutError] * 2
