"""A caller is back near the time limit, whatever a hook does; nothing waits for a stuck one."""

from __future__ import annotations

import asyncio
import functools
import gc
import itertools
import socket
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Awaitable, Generator, Iterator
from pathlib import Path
from typing import Any, Callable

import pytest

from concurrency import PATIENCE
from nitro_dispatch import (
    HookCall,
    HookRegistry,
    HookTimeoutError,
    PluginManager,
)

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
ASYNC: dict[str, Callable[[HookRegistry], Awaitable[Any]]] = {
    "trigger_async": lambda registry: registry.trigger_async("event", "0"),
    "collect_async": lambda registry: collected(registry),
}


async def collected(registry: HookRegistry) -> str:
    """Join what hooks answer to `collect_async`."""
    return "0" + values(await registry.collect_async("event", "0"))


def in_a_loop(fire: Callable[[HookRegistry], Awaitable[Any]]) -> Fire:
    """Fire in an event loop, which must not have anything to complain of."""

    async def main(registry: HookRegistry) -> Any:
        asyncio.get_running_loop().set_exception_handler(lambda loop, context: told.append(context))
        return await fire(registry)

    def run(registry: HookRegistry) -> Any:
        result = asyncio.run(main(registry))
        gc.collect()
        assert told == []
        return result

    told: list[dict[str, Any]] = []
    return run


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


@pytest.mark.parametrize("way", ["wait", "busy"])
def test_a_hook_that_is_said_not_to_block_is_limited(way: str, stuck: Stuck) -> None:
    """A sync hook with a limit runs in a worker, also where it is marked `blocking=False`."""
    registry = registry_with(stuck.way(way), blocking=False)
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

    async def main(_: HookRegistry) -> list[tuple[Any, list[type]]]:
        return await asyncio.gather(*map(one, registries.values()))

    began = time.monotonic()
    found = dict(zip(registries, in_a_loop(main)(HookRegistry())))
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

    asyncio.run(main())


def test_a_tracer_is_told_of_the_limit_that_an_awaitable_passes() -> None:
    """For a tracer too a hook has taken too long whose coroutine returns one that is stuck."""
    calls: list[HookCall] = []
    for way in (return_coroutine, suspend_and_return, return_in_turn):
        registry = registry_with(way)
        registry.add_tracer(calls.append)
        FIRE["trigger_async"](registry)
        assert [call.outcome for call in calls] == ["returned", "timed out", "returned"]
        calls.clear()
