"""Time limits of hooks, as who fires events meets them."""

from __future__ import annotations

import asyncio
import functools
import threading
import time
from collections.abc import Iterator
from typing import Any, Callable

import pytest

from firing import Fire, ToldOwner
from loops import run
from nitro_dispatch import (
    HookCall,
    HookError,
    HookRegistry,
    HookTimeoutError,
    PluginBase,
    PluginManager,
    StopPropagation,
    hook,
)
from programs import RunPython

SOON = 0.02
BRIEF = 0.1
LATE = 20


class Hanging:
    """Hooks that do not come back until the test lets them go."""

    def __init__(self) -> None:
        self.begun = threading.Semaphore(0)
        self.ended = threading.Semaphore(0)
        self.may_end = threading.Event()
        self.calls = 0

    def hang(self, data: Any) -> str:
        self.calls += 1
        self.begun.release()
        self.may_end.wait(LATE)
        self.ended.release()
        return "late"

    def hang_and_fail(self, data: Any) -> None:
        self.hang(data)
        raise ValueError("late")

    def hang_and_exit(self, data: Any) -> None:
        self.hang(data)
        raise SystemExit("late")


@pytest.fixture
def hanging() -> Iterator[Hanging]:
    """Make hooks that hang, and let them go when the test ends."""
    hooks = Hanging()
    yield hooks
    hooks.may_end.set()


@pytest.fixture
def registry() -> HookRegistry:
    """Make an empty registry that collects errors."""
    registry = HookRegistry()
    registry.set_error_strategy("collect_all")
    return registry


async def wait_for_ever(data: Any) -> None:
    """Never come back."""
    await asyncio.Event().wait()


def only_error(registry: HookRegistry) -> BaseException:
    """Give the error of the last dispatch."""
    (entry,) = registry.get_last_errors()
    error: BaseException = entry["error"]
    return error


# -- sync hooks


def test_a_hook_past_its_limit_is_left_behind(
    registry: HookRegistry, hanging: Hanging, fire: Fire
) -> None:
    """The caller goes on at once, with the data that the hook was given."""
    owner = ToldOwner("slow")
    registry.register("event", lambda data: data + 1)
    registry.register("event", hanging.hang, owner, timeout=SOON)
    registry.register("event", lambda data: data + 10)
    assert fire(registry, 0) == 11
    error = only_error(registry)
    assert isinstance(error, HookTimeoutError)
    assert error.seconds == SOON
    assert owner.told == [error]
    assert not hanging.may_end.is_set()


def test_fail_fast_raises_the_time_limit(hanging: Hanging, fire: Fire) -> None:
    """Under `fail_fast` a time limit is a HookTimeoutError that names hook, plugin and seconds."""
    registry = HookRegistry()
    registry.set_error_strategy("fail_fast")
    registry.register("event", hanging.hang, ToldOwner("slow"), timeout=SOON)
    with pytest.raises(HookTimeoutError) as raised:
        fire(registry, 0)
    error = raised.value
    assert (error.plugin, error.hook, error.event, error.seconds) == ("slow", "hang", "event", SOON)
    assert isinstance(error.__cause__, HookTimeoutError)
    for part in ("slow", "hang", "event", "0.02"):
        assert part in str(error)


def test_a_hook_within_its_limit_is_like_any_other(registry: HookRegistry, fire: Fire) -> None:
    """What a hook returns, raises or stops within its limit counts as without one."""
    registry.register("event", lambda data: data + 1, timeout=LATE)
    registry.register("event", lambda data: None, timeout=LATE)
    assert fire(registry, 0) == 1
    assert registry.get_last_errors() == []


@pytest.mark.parametrize("late", ["hang", "hang_and_fail", "hang_and_exit"])
def test_what_comes_late_goes_nowhere(
    registry: HookRegistry,
    hanging: Hanging,
    fire: Fire,
    late: str,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """A late result, and a late exception, neither change nor tell nor print anything."""
    owner = ToldOwner()
    data = {"seen": 1}
    registry.register("event", getattr(hanging, late), owner, timeout=SOON)
    assert fire(registry, data) is data
    told, lines = list(owner.told), len(caplog.records)
    hanging.may_end.set()
    assert hanging.ended.acquire(timeout=LATE)
    # The worker is there for the next hook when it is done with the late one.
    registry.register("next", lambda data: None, timeout=LATE)
    registry.trigger("next")
    assert owner.told == told
    assert len(caplog.records) == lines
    assert data == {"seen": 1}
    assert capfd.readouterr().err == ""


def test_a_late_coroutine_is_closed(registry: HookRegistry, hanging: Hanging) -> None:
    """A coroutine that a hook returns past its limit is not left over."""
    closed = threading.Event()

    class Closable:
        def __await__(self) -> Iterator[None]:
            yield

        def close(self) -> None:
            closed.set()

    def late(data: Any) -> Any:
        hanging.hang(data)
        return Closable()

    registry.register("event", late, timeout=SOON)
    assert registry.trigger("event", 1) == 1
    hanging.may_end.set()
    assert closed.wait(LATE)


def test_worker_threads_are_reused(registry: HookRegistry) -> None:
    """Calls one after another need one thread, in sync and async dispatches."""
    threads: set[int] = set()
    registry.register("event", lambda data: threads.add(threading.get_ident()), timeout=LATE)
    for _ in range(20):
        registry.trigger("event")
    assert len(threads) == 1


def test_abandoned_calls_are_bounded(registry: HookRegistry, hanging: Hanging) -> None:
    """At the bound of calls left behind a hook fails at once, and can be called again later."""
    other = Hanging()
    registry.register("event", hanging.hang, timeout=0.001)
    registry.register("other", other.hang, timeout=0.001)
    before = threading.active_count()
    for _ in range(50):
        registry.trigger("event")
    assert threading.active_count() - before <= 16
    assert hanging.calls <= 16
    calls = hanging.calls
    registry.trigger("event")
    error = only_error(registry)
    assert isinstance(error, HookTimeoutError)
    assert hanging.calls == calls
    # Another hook has a bound of its own.
    registry.trigger("other")
    assert other.begun.acquire(timeout=LATE)
    other.may_end.set()
    hanging.may_end.set()
    for _ in range(calls):
        assert hanging.ended.acquire(timeout=LATE)
    registry.clear_event("event")
    registry.register("event", lambda data: "well", timeout=LATE)
    assert registry.trigger("event") == "well"


def test_a_bounded_hook_says_why_it_was_not_called(hanging: Hanging) -> None:
    """The error of a hook that was not called tells it from one that took too long."""
    registry = HookRegistry()
    registry.set_error_strategy("fail_fast")
    registry.register("event", hanging.hang, ToldOwner("slow"), timeout=0.001)
    texts = []
    for _ in range(20):
        with pytest.raises(HookTimeoutError) as raised:
            registry.trigger("event")
        texts.append(str(raised.value))
    assert "longer than its time limit" in texts[0]
    assert "earlier calls" in texts[-1]
    for part in ("slow", "hang", "event"):
        assert part in texts[0]
        assert part in texts[-1]


def test_the_process_still_ends(run_python: RunPython) -> None:
    """A hook left behind, in a dispatch of either kind, does not keep the process alive."""
    program = """
import asyncio, threading
from nitro_dispatch import HookRegistry

registry = HookRegistry()
registry.register("event", lambda data: threading.Event().wait(), timeout=0.01)
registry.register("event", lambda data: threading.Event().wait(), timeout=0.01, blocking=False)
assert registry.trigger("event", 1) == 1
assert asyncio.run(registry.trigger_async("event", 1)) == 1
print("end")
"""
    assert run_python(program) == "end\n"


# -- async hooks


def test_an_async_hook_past_its_limit_is_cancelled(registry: HookRegistry) -> None:
    """An async hook is cancelled at its limit, and cleans up before the caller goes on."""
    outcome: list[str] = []

    async def wait(data: Any) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            outcome.append("cleaned up")

    owner = ToldOwner()
    registry.register("event", wait, owner, timeout=SOON)
    registry.register("event", lambda data: data + len(outcome))
    assert run(registry.trigger_async("event", 0)) == 1
    assert isinstance(only_error(registry), HookTimeoutError)
    assert owner.told == [only_error(registry)]


def test_an_async_hook_that_swallows_cancellation_is_left_behind(registry: HookRegistry) -> None:
    """An async hook that does not let itself be cancelled does not hold its caller up."""
    released: list[asyncio.Event] = []

    async def stubborn(data: Any) -> str:
        while not released[0].is_set():
            try:
                await released[0].wait()
            except asyncio.CancelledError:
                continue
        return "late"

    async def main() -> Any:
        released.append(asyncio.Event())
        result = await registry.trigger_async("event", "data")
        released[0].set()
        return result

    registry.register("event", stubborn, timeout=SOON)
    assert run(main()) == "data"
    assert isinstance(only_error(registry), HookTimeoutError)


def hold_up_the_loop(data: Any) -> list[str]:
    """Let nothing else run until the limit has passed."""
    began = time.monotonic()
    while time.monotonic() - began <= SOON:
        continue
    data.append("late")
    return ["late"]


async def hold_up_at_once(data: Any) -> Any:
    """Come late with the first step."""
    return hold_up_the_loop(data)


async def hold_up_later(data: Any) -> Any:
    """Come late with another step."""
    await asyncio.sleep(0)
    return hold_up_the_loop(data)


async def hold_up_and_come_to_more(data: Any) -> Any:
    """Come late, with something to be awaited."""
    hold_up_the_loop(data)
    return wait_for_ever(data)


@pytest.mark.parametrize("atomic", [True, False])
@pytest.mark.parametrize("by_sync", [True, False])
@pytest.mark.parametrize(
    "late",
    [hold_up_at_once, hold_up_later, hold_up_and_come_to_more],
    ids=lambda each: each.__name__,
)
def test_what_holds_up_the_loop_past_its_limit_has_failed(
    registry: HookRegistry, late: Callable[[Any], Any], by_sync: bool, atomic: bool
) -> None:
    """A result is late too where no timer could tell, and an atomic hook then changes nothing."""
    callback = (lambda data: late(data)) if by_sync else late
    registry.register("event", callback, ToldOwner(), timeout=SOON, atomic=atomic)
    assert run(registry.trigger_async("event", [])) == ([] if atomic else ["late"])
    assert isinstance(only_error(registry), HookTimeoutError)
    assert run(registry.collect_async("event", [])) == []
    assert isinstance(only_error(registry), HookTimeoutError)


AWAITABLES: dict[str, Callable[..., Any]] = {
    "async def": wait_for_ever,
    "partial": functools.partial(wait_for_ever),
    "lambda": lambda data: wait_for_ever(data),
}


@pytest.mark.parametrize("callback", list(AWAITABLES.values()), ids=list(AWAITABLES))
@pytest.mark.parametrize("blocking", [True, False])
def test_awaitables_of_any_callable_are_limited(
    registry: HookRegistry, callback: Callable[..., Any], blocking: bool
) -> None:
    """An awaitable has the time limit of the hook that it comes out of, in the midst too."""
    registry.register("event", lambda data: data + 1, blocking=blocking)
    registry.register("event", callback, ToldOwner("slow"), timeout=SOON, blocking=blocking)
    registry.register("event", lambda data: data + 10, blocking=blocking)
    assert run(registry.trigger_async("event", 0)) == 11
    assert isinstance(only_error(registry), HookTimeoutError)
    assert [answer.value for answer in run(registry.collect_async("event", 0))] == [1, 10]
    assert isinstance(only_error(registry), HookTimeoutError)


def test_collect_async_limits_each_hook(registry: HookRegistry, hanging: Hanging) -> None:
    """In `collect_async` a hook past its limit is left out, the others answer."""
    registry.register("event", hanging.hang, timeout=SOON)
    registry.register("event", wait_for_ever, timeout=SOON)
    registry.register("event", lambda data: "answer", timeout=LATE)
    assert [answer.value for answer in run(registry.collect_async("event"))] == ["answer"]
    errors = [type(entry["error"]) for entry in registry.get_last_errors()]
    assert errors == [HookTimeoutError] * 2


def test_collect_and_first_obey_time_limits(registry: HookRegistry, hanging: Hanging) -> None:
    """`collect` and `first` go on past a hook that takes too long."""
    registry.register("event", hanging.hang, timeout=SOON)
    registry.register("event", lambda data: "answer")
    assert [answer.value for answer in registry.collect("event")] == ["answer"]
    assert registry.first("event") == "answer"
    assert isinstance(only_error(registry), HookTimeoutError)


def test_a_cancelled_dispatch_does_not_wait_for_the_limit(registry: HookRegistry) -> None:
    """Cancelling a dispatch ends a hook with a time limit at once, and is no time limit."""
    calls: list[HookCall] = []

    async def main() -> None:
        task = asyncio.ensure_future(registry.trigger_async("event"))
        for _ in range(5):
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    registry.register("event", wait_for_ever, timeout=LATE)
    registry.add_tracer(calls.append)
    run(main())
    assert [call.outcome for call in calls] == ["interrupted"]


# -- what is no time limit


def test_a_timeout_error_of_the_hook_is_its_failure(registry: HookRegistry) -> None:
    """A `TimeoutError` that a hook raises is its own, with a limit as without."""
    own = TimeoutError("the server does not answer")

    def fail(data: Any) -> None:
        raise own

    async def fail_async(data: Any) -> None:
        raise own

    async def time_out(data: Any) -> None:
        await asyncio.wait_for(asyncio.Event().wait(), SOON)

    for callback in (fail, fail_async, lambda data: fail_async(data)):
        registry.register("event", callback, timeout=LATE)
    assert run(registry.trigger_async("event", 1)) == 1
    assert [entry["error"] for entry in registry.get_last_errors()] == [own] * 3
    registry.clear_all()
    registry.register("event", time_out, timeout=LATE)
    run(registry.trigger_async("event"))
    assert isinstance(only_error(registry), asyncio.TimeoutError)
    registry.set_error_strategy("fail_fast")
    with pytest.raises(HookError) as raised:
        run(registry.trigger_async("event"))
    assert not isinstance(raised.value, HookTimeoutError)


def test_the_limit_of_a_nested_hook_is_not_that_of_the_outer(
    registry: HookRegistry, hanging: Hanging
) -> None:
    """A nested dispatch that fails by a time limit fails the outer hook in the ordinary way."""
    calls: list[HookCall] = []
    registry.set_error_strategy("fail_fast")
    registry.register("inner", hanging.hang, ToldOwner("inner"), timeout=SOON)
    registry.register("outer", lambda data: registry.trigger("inner"), ToldOwner("outer"))
    registry.add_tracer(calls.append)
    with pytest.raises(HookError) as raised:
        registry.trigger("outer")
    assert not isinstance(raised.value, HookTimeoutError)
    assert isinstance(raised.value.__cause__, HookTimeoutError)
    assert [call.outcome for call in calls] == ["timed out", "failed"]


def test_a_limit_that_no_lock_can_wait_is_none(registry: HookRegistry, fire: Fire) -> None:
    """A time limit above `threading.TIMEOUT_MAX` is none, and needs no thread."""
    limit = threading.TIMEOUT_MAX * 2
    registry.register("event", lambda data: threading.get_ident(), timeout=limit, blocking=False)
    assert fire(registry, 0) == threading.get_ident()


# -- where limits are given


def test_limits_can_be_given_everywhere(hanging: Hanging) -> None:
    """The decorator, the manager and the plugin itself all take a time limit."""

    class Declared(PluginBase):
        @hook("declared", timeout=SOON)
        def act(self, data: Any) -> Any:
            return hanging.hang(data)

        def on_load(self) -> None:
            self.register_hook("registered", self.act, timeout=SOON)

    manager = PluginManager()
    manager.set_error_strategy("fail_fast")
    manager.load(manager.register(Declared))
    manager.register_hook("manager", hanging.hang, timeout=SOON)
    for event in ("declared", "registered", "manager"):
        with pytest.raises(HookTimeoutError):
            manager.trigger(event)


def test_the_limit_counts_each_hook_by_itself(registry: HookRegistry) -> None:
    """Hooks one after another each have all of their time."""
    for _ in range(3):
        # Together they take longer than one limit.
        registry.register("event", lambda data: threading.Event().wait(0.4) or data, timeout=1.0)
    registry.trigger("event")
    assert registry.get_last_errors() == []


def test_neighbours_with_limits_do_not_share_a_task_that_one_keeps(registry: HookRegistry) -> None:
    """An async hook that cancels its own task, or lets another do it, cancels no other hook."""
    tasks: list[Any] = []

    async def keep(data: str) -> str:
        tasks.append(asyncio.current_task())
        return data + "a"

    async def cancel_itself(data: str) -> str:
        own: Any = asyncio.current_task()
        own.cancel()
        return data + "b"

    async def work(data: str) -> str:
        asyncio.get_running_loop().call_soon(tasks[0].cancel)
        await asyncio.sleep(0.01)
        return data + "c"

    for callback in (keep, cancel_itself, work):
        registry.register("event", callback, timeout=LATE)
    assert run(registry.trigger_async("event", "")) == "abc"
    assert registry.get_last_errors() == []


# -- neighbours with one time limit


def test_neighbours_share_a_worker_and_what_it_is_told(registry: HookRegistry) -> None:
    """Hooks in a row with one time limit run in one thread, each after the other."""
    threads: list[threading.Thread] = []
    for limit in (LATE, LATE, LATE, LATE + 1):
        registry.register(
            "event", lambda data: threads.append(threading.current_thread()), timeout=limit
        )
    registry.trigger("event")
    assert len(threads) == 4
    assert threads[0] is threads[1] is threads[2]


def test_a_neighbour_past_its_limit_is_left_behind_alone(
    registry: HookRegistry, hanging: Hanging, fire: Fire
) -> None:
    """Those before it have done their work, and those behind it do it once."""
    counted: list[str] = []

    def count(data: str) -> str:
        counted.append(data)
        return data + "b"

    registry.register("event", lambda data: data + "a", timeout=BRIEF)
    registry.register("event", hanging.hang, timeout=BRIEF)
    registry.register("event", count, timeout=BRIEF)
    registry.register("event", hanging.hang, timeout=BRIEF)
    assert fire(registry, "") == "ab"
    errors = [entry["error"] for entry in registry.get_last_errors()]
    assert [type(error) for error in errors] == [HookTimeoutError, HookTimeoutError]
    hanging.may_end.set()
    for _ in range(2):
        assert hanging.ended.acquire(timeout=LATE)
    assert counted == ["a"]


def test_a_late_awaitable_of_a_neighbour_is_closed(hanging: Hanging) -> None:
    """A coroutine that a hook in a row returns past its limit is not left over."""
    registry = HookRegistry()
    closed = threading.Event()

    class Late:
        def __await__(self) -> Iterator[Any]:
            yield

        def close(self) -> None:
            closed.set()

    def hang(data: Any) -> Any:
        hanging.hang(data)
        return Late()

    registry.register("event", hang, timeout=BRIEF)
    registry.register("event", lambda data: data + 1, timeout=BRIEF)
    assert registry.trigger("event", 0) == 1
    hanging.may_end.set()
    assert closed.wait(LATE)


def test_late_data_are_not_closed(registry: HookRegistry, hanging: Hanging, fire: Fire) -> None:
    """A hook past its limit that returns the data, a file for one, does nothing to them."""

    class File:
        closed = False

        def close(self) -> None:
            self.closed = True

    def hang(data: Any) -> Any:
        hanging.hang(data)
        return data

    file = File()
    registry.register("event", hang, timeout=SOON)
    while "it is not called again" not in str(registry.get_last_errors()):
        assert fire(registry, file) is file
    hanging.may_end.set()
    # Called again, it is done with the late result of one call at least.
    while registry.get_last_errors():
        assert fire(registry, file) is file
    assert not file.closed


def test_what_a_neighbour_does_counts_as_without_a_limit(
    fire: Fire, caplog: pytest.LogCaptureFixture
) -> None:
    """A failure, an awaitable and a stop in the midst of a row are those of their own hooks."""
    registry = HookRegistry()
    owners = [PluginBase() for _ in range(5)]
    for owner, name in zip(owners, "abcde"):
        owner.name = name
        owner.enabled = True

    def fail(data: Any) -> None:
        raise ValueError(data)

    def stop(data: Any) -> None:
        raise StopPropagation

    registry.register("event", lambda data: data + "a", owners[0], timeout=LATE)
    registry.register("event", fail, owners[1], timeout=LATE)
    registry.register("event", lambda data: data + "c", owners[2], timeout=LATE)
    registry.register("event", stop, owners[3], timeout=LATE)
    registry.register("event", lambda data: data + "e", owners[4], timeout=LATE)
    assert fire(registry, "") == "ac"
    (record,) = caplog.records
    assert record.__dict__["plugin"] == "b"
    assert str(record.exc_info and record.exc_info[1]) == "a"


def test_an_awaitable_of_a_neighbour_never_becomes_the_data(registry: HookRegistry) -> None:
    """`trigger` passes over a hook in a row that returns a coroutine, and goes on behind it."""

    async def later(data: Any) -> str:
        return "awaited"

    for append in ("a", "b"):
        registry.register("event", lambda data, append=append: data + append, timeout=LATE)
        registry.register("event", lambda data: later(data), timeout=LATE)
    assert registry.trigger("event", "") == "ab"
    assert run(registry.trigger_async("event", "")) == "awaited"


def test_a_neighbour_that_is_taken_out_meanwhile_is_not_called(registry: HookRegistry) -> None:
    """A hook in a row takes out the next one and adds another, which begins with the next event."""
    called: list[str] = []

    def second(data: Any) -> None:
        called.append("second")

    def first(data: Any) -> None:
        called.append("first")
        registry.unregister("event", second)
        registry.register("event", lambda data: called.append("new"), timeout=LATE)

    registry.register("event", first, timeout=LATE)
    registry.register("event", second, timeout=LATE)
    registry.register("event", lambda data: called.append("third"), timeout=LATE)
    registry.trigger("event")
    assert called == ["first", "third"]


def test_a_neighbour_is_bounded_by_itself(hanging: Hanging) -> None:
    """At the bound of a hook in a row it is not called, and those around it are."""
    registry = HookRegistry()
    calls: list[str] = []
    registry.register("event", lambda data: calls.append("before"), timeout=BRIEF)
    registry.register("event", hanging.hang, timeout=BRIEF)
    registry.register("event", lambda data: calls.append("behind"), timeout=BRIEF)
    before = threading.active_count()
    for _ in range(20):
        registry.trigger("event")
    assert threading.active_count() - before <= 16
    assert hanging.calls <= 16
    registry.set_error_strategy("collect_all")
    calls.clear()
    registry.trigger("event")
    (entry,) = registry.get_last_errors()
    assert "it is not called again" in str(entry["error"])
    assert calls == ["before", "behind"]


def test_disabled_hooks_take_no_time(registry: HookRegistry, hanging: Hanging) -> None:
    """A hook whose owner is disabled needs neither thread nor time."""
    owner: Any = ToldOwner()
    owner.enabled = False
    registry.register("event", hanging.hang, owner, timeout=SOON)
    assert registry.trigger("event", 1) == run(registry.trigger_async("event", 1)) == 1
    assert hanging.calls == 0
