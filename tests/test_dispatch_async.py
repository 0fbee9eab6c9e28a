"""Firing events from async code: `trigger_async` and `collect_async`."""

from __future__ import annotations

import asyncio
import contextvars
import functools
import gc
import inspect
import threading
import types
from collections.abc import Coroutine, Generator
from typing import Any, Callable

import pytest

from firing import Owner, fail, stop
from loops import run
from nitro_dispatch import (
    Event,
    HookError,
    HookRegistry,
    HookResult,
    PluginBase,
    PluginManager,
    StopPropagation,
    hook,
)


@pytest.fixture(params=["log_and_continue", "fail_fast", "collect_all"])
def strict(request: pytest.FixtureRequest) -> HookRegistry:
    """Make an empty registry of one strategy after another."""
    registry = HookRegistry()
    registry.set_error_strategy(request.param)
    return registry


# -- the way of the data


def test_the_data_flows_through_hooks_of_all_kinds(strict: HookRegistry) -> None:
    """Sync, inline and async hooks take turns with the data, by priority and registration."""

    async def b(data: str) -> str:
        await asyncio.sleep(0)
        return data + "b"

    strict.register("event", lambda data: data + "a")
    strict.register("event", b)
    strict.register("event", lambda data: data + "c", blocking=False)
    strict.register("event", lambda data: data + "d")
    strict.register("event", lambda data: None)
    strict.register("event", lambda data: data + "0", priority=99)
    assert run(strict.trigger_async("event", "")) == "0abcd"


@pytest.mark.parametrize("result", [0, "", False, [], {}])
@pytest.mark.parametrize("blocking", [True, False])
def test_a_falsy_result_replaces_the_data(
    strict: HookRegistry, result: object, blocking: bool
) -> None:
    """Any result but None replaces the data, of a sync hook as of an async one."""

    async def nothing(data: object) -> None: ...

    async def give(data: object) -> object:
        return result

    strict.register("sync", lambda data: result, blocking=blocking)
    strict.register("async", give)
    for event in ("sync", "async"):
        strict.register(event, nothing)
        assert run(strict.trigger_async(event, "data")) is result


def test_without_hooks_the_data_is_returned(strict: HookRegistry) -> None:
    """An event that nobody listens to returns its data as it is, None without."""
    data = object()
    assert run(strict.trigger_async("event", data)) is data
    assert run(strict.trigger_async("")) is None


def test_the_name_must_be_a_string(registry: HookRegistry) -> None:
    """Firing an event whose name is no string is a TypeError when it is awaited."""
    name: Any = None
    for coroutine in (registry.trigger_async(name), registry.collect_async(name)):
        with pytest.raises(TypeError, match="must be a string"):
            run(coroutine)


def test_it_is_a_coroutine_function(registry: HookRegistry) -> None:
    """`trigger_async` and `collect_async` are known as async to who asks, as frameworks do."""
    for owner in (registry, PluginManager(), PluginBase()):
        assert inspect.iscoroutinefunction(owner.trigger_async)
    assert inspect.iscoroutinefunction(registry.collect_async)


def test_a_dispatch_starts_when_it_is_awaited(registry: HookRegistry) -> None:
    """A hook added between the call and the await is called, and one removed is not."""

    def early(data: str) -> str:
        return data + "early"

    registry.register("event", early)
    coroutine = registry.trigger_async("event", "")
    registry.register("event", lambda data: data + "late")
    registry.unregister("event", early)
    assert run(coroutine) == "late"


def test_a_plugin_fires_through_its_manager() -> None:
    """A plugin's `trigger_async` is its manager's, a subclass's override included."""

    class Loud(PluginManager):
        async def trigger_async(self, event_name: str, data: Any = None) -> Any:
            return (await super().trigger_async(event_name, data)).upper()

    class Plugin(PluginBase):
        @hook("outer")
        async def act(self, data: str) -> Any:
            return await self.trigger_async("inner", data)

    manager = Loud()
    plugin = manager.load(manager.register(Plugin))
    manager.register_hook("inner", lambda data: data + "b")
    assert run(plugin.trigger_async("inner", "a")) == "AB"
    assert run(manager.trigger_async("outer", "a")) == "AB"


def test_the_name_of_the_event_is_given(strict: HookRegistry) -> None:
    """An async hook may ask for the event's name too."""

    async def name(data: object, event: str) -> str:
        return event

    strict.register("user.*", name)
    assert run(strict.trigger_async("user.login")) == "user.login"


def test_awaitable_data_is_passed_through(strict: HookRegistry) -> None:
    """Data that can be awaited is the caller's own, and comes back as it was given."""

    async def same(data: object) -> object:
        return data

    given = Awaitable("never awaited")
    strict.register("event", same)
    strict.register("event", lambda data: data)
    strict.register("event", lambda data: data, blocking=False)
    assert run(strict.trigger_async("event", given)) is given


def test_events_may_be_typed(registry: HookRegistry) -> None:
    """A typed event says by its payload what `trigger_async` takes and returns."""
    priced = Event("priced", payload=int)
    registry.register(priced, lambda cents: cents + 19)

    async def main() -> int:
        price: int = await registry.trigger_async(priced, 100)
        return price

    assert asyncio.run(main()) == 119


# -- awaitables that come out of sync callables


class Awaitable:
    """An awaitable of a class of its own."""

    def __init__(self, value: object) -> None:
        self.value = value

    def __await__(self) -> Generator[Any, Any, object]:
        yield from asyncio.sleep(0).__await__()
        return self.value


async def append(data: str, letter: str = "x") -> str:
    """Append a letter, asynchronously."""
    await asyncio.sleep(0)
    return data + letter


class CallableObject:
    """Returns an awaitable although it is no async function."""

    def __call__(self, data: str) -> Any:
        return append(data)


@types.coroutine
def generator_coroutine(data: str) -> Generator[Any, Any, str]:
    """Append a letter, asynchronously, in the old way."""
    yield
    return data + "x"


async def twice(data: str) -> Any:
    """Return another awaitable."""
    return append(data)


ASYNC_HOOKS: dict[str, Callable[..., Any]] = {
    "async def": append,
    "partial": functools.partial(append, letter="x"),
    "lambda": lambda data: append(data),
    "partial of a lambda": functools.partial(lambda data: append(data)),
    "callable object": CallableObject(),
    "partial of an object": functools.partial(CallableObject()),
    "awaitable": lambda data: Awaitable(data + "x"),
    "generator-based": generator_coroutine,
    "awaitable of an awaitable": twice,
    "lambda of that": lambda data: twice(data),
    "task": lambda data: asyncio.ensure_future(append(data)),
}


@pytest.fixture(params=list(ASYNC_HOOKS.values()), ids=list(ASYNC_HOOKS))
def async_hook(request: pytest.FixtureRequest) -> Any:
    """Give a hook of one async kind after another."""
    return request.param


@pytest.mark.parametrize("timeout", [None, 20])
@pytest.mark.parametrize("blocking", [True, False])
def test_awaitables_are_awaited_in_their_turn(
    strict: HookRegistry, request: pytest.FixtureRequest, blocking: bool, timeout: Any
) -> None:
    """An awaitable is awaited where its hook stands, in the midst of sync hooks as well."""
    for name, async_hook in ASYNC_HOOKS.items():
        if name == "task" and (blocking or timeout):
            continue  # A task can only be made in the loop's own thread.
        strict.register(name, lambda data: data + "a", blocking=blocking)
        strict.register(name, async_hook, blocking=blocking, timeout=timeout)
        strict.register(name, lambda data: data + "b", blocking=blocking)
        strict.register(name, async_hook, blocking=blocking, timeout=timeout)
        strict.register(name, lambda data: data + "c", blocking=blocking)
        assert run(strict.trigger_async(name, "")) == "axbxc", name


def test_an_awaitable_of_none_keeps_the_data(strict: HookRegistry) -> None:
    """An awaitable that comes to None passes on what its hook was given."""

    async def nothing(data: object) -> None: ...

    for blocking in (True, False):
        strict.register("event", lambda data: nothing(data), blocking=blocking)
    assert run(strict.trigger_async("event", "data")) == "data"


@pytest.mark.parametrize("blocking", [True, False])
def test_an_awaitable_that_fails_is_its_hooks_failure(
    registry: HookRegistry, blocking: bool
) -> None:
    """What an awaitable raises is the failure of the hook that returned it, told once."""
    told: list[BaseException] = []

    class Plugin(Owner):
        def on_error(self, error: BaseException) -> None:
            told.append(error)

    async def fail_later(data: object) -> None:
        raise ValueError("later")

    registry.set_error_strategy("collect_all")
    registry.register("event", lambda data: fail_later(data), Plugin("bad"), blocking=blocking)
    registry.register("event", lambda data: data + 1, blocking=blocking)

    async def main() -> list[dict[str, Any]]:
        assert await registry.trigger_async("event", 0) == 1
        return registry.get_last_errors()

    (error,) = run(main())
    assert error["plugin"] == "bad"
    assert told == [error["error"]]
    registry.set_error_strategy("fail_fast")
    with pytest.raises(HookError, match="later") as raised:
        run(registry.trigger_async("event", 0))
    assert isinstance(raised.value.__cause__, ValueError)
    assert len(told) == 2


# -- stopping


async def stop_async(data: Any) -> None:
    """End the propagation, asynchronously."""
    raise StopPropagation("enough")


STOPS: dict[str, tuple[Callable[..., Any], dict[str, Any]]] = {
    "sync": (stop, {}),
    "inline": (stop, {"blocking": False}),
    "timed": (stop, {"timeout": 20}),
    "async": (stop_async, {}),
    "async timed": (stop_async, {"timeout": 20}),
    "lambda": (lambda data: stop_async(data), {}),
    "lambda inline": (lambda data: stop_async(data), {"blocking": False}),
    "lambda timed": (lambda data: stop_async(data), {"timeout": 20}),
}


@pytest.mark.parametrize(("stops", "options"), list(STOPS.values()), ids=list(STOPS))
@pytest.mark.parametrize("blocking", [True, False])
def test_stopping_ends_the_chain_and_keeps_the_data(
    strict: HookRegistry, stops: Callable[..., Any], options: dict[str, Any], blocking: bool
) -> None:
    """`StopPropagation` out of a hook of any kind keeps what the hooks before it made."""
    strict.register("event", append)
    strict.register("event", lambda data: data + "a", blocking=blocking)
    strict.register("event", stops, **options)
    strict.register("event", lambda data: data + "never", blocking=blocking)
    strict.register("event", append)
    assert run(strict.trigger_async("event", "")) == "xa"


# -- threads


def test_a_run_of_sync_hooks_makes_one_hop(registry: HookRegistry) -> None:
    """Neighbouring sync hooks run one after another in one worker thread of the library."""
    threads: list[threading.Thread] = []

    def note(data: object) -> None:
        threads.append(threading.current_thread())

    for _ in range(3):
        registry.register("event", note)
    run(registry.trigger_async("event"))
    (thread,) = set(threads)
    assert thread is not threading.main_thread()
    assert thread.daemon
    assert "nitro" in thread.name


def test_inline_and_async_hooks_run_in_the_loop(strict: HookRegistry) -> None:
    """Hooks marked `blocking=False`, and async ones, run in the thread of the event loop."""
    threads: list[int] = []

    async def note_async(data: object) -> None:
        threads.append(threading.get_ident())

    strict.register("event", lambda data: threads.append(threading.get_ident()), blocking=False)
    strict.register("event", note_async)
    run(strict.trigger_async("event"))
    assert threads == [threading.get_ident()] * 2


def test_the_decorator_can_say_that_a_hook_does_not_block() -> None:
    """`@hook(blocking=False)` runs a sync hook in the thread of the event loop."""

    class Plugin(PluginBase):
        @hook("event", blocking=False)
        def act(self, data: object) -> int:
            return threading.get_ident()

    manager = PluginManager()
    manager.load(manager.register(Plugin))
    assert run(manager.trigger_async("event")) == threading.get_ident()


def test_a_sync_hook_does_not_block_the_loop(strict: HookRegistry) -> None:
    """While a sync hook runs, the event loop does other things."""
    asked, answered = threading.Event(), threading.Event()

    def wait(data: object) -> bool:
        asked.set()
        return answered.wait(20)

    async def answer() -> None:
        while not asked.is_set():
            await asyncio.sleep(0.001)
        answered.set()

    async def main() -> Any:
        result, _ = await asyncio.gather(strict.trigger_async("event"), answer())
        return result

    strict.register("event", wait)
    assert run(main()) is True


def test_the_end_of_a_loop_waits_for_no_hook(registry: HookRegistry) -> None:
    """`asyncio.run` ends while a sync hook of a cancelled dispatch still runs."""
    begun, may_end, ended = threading.Event(), threading.Event(), threading.Event()

    def hang(data: object) -> None:
        begun.set()
        may_end.wait(30)
        ended.set()

    async def main() -> None:
        task = asyncio.ensure_future(registry.trigger_async("event"))
        while not begun.is_set():
            await asyncio.sleep(0.001)
        task.cancel()

    registry.register("event", hang)
    asyncio.run(main())
    assert not ended.is_set()
    may_end.set()
    assert ended.wait(20)


# -- context variables

variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="unset")


@pytest.mark.parametrize("timeout", [None, 20])
@pytest.mark.parametrize("blocking", [True, False])
def test_context_variables_reach_hooks(strict: HookRegistry, timeout: Any, blocking: bool) -> None:
    """A hook of any kind sees the context variables of who fires the event."""

    async def look(data: object) -> None:
        seen.append(variable.get())

    def look_sync(data: object) -> None:
        seen.append(variable.get())

    async def main() -> None:
        variable.set("set")
        await strict.trigger_async("event")
        await strict.collect_async("event")

    seen: list[str] = []
    hooks: list[Callable[..., Any]] = [look, look_sync, lambda data: look(data)]
    for each in hooks:
        strict.register("event", each, blocking=blocking, timeout=timeout)
    run(main())
    assert seen == ["set"] * 6


# -- cancellation


def test_a_cancelled_dispatch_calls_no_further_hook(strict: HookRegistry) -> None:
    """Cancelled while a sync hook runs, a dispatch ends with it: no later one is called."""
    begun, may_end, ended = threading.Event(), threading.Event(), threading.Event()
    called: list[str] = []

    def hang(data: object) -> None:
        begun.set()
        may_end.wait(20)

    def after(data: object) -> None:
        called.append("after")

    class Ends:
        """Known to be gone when its worker has let go of the dispatch."""

        def __del__(self) -> None:
            ended.set()

    async def main() -> None:
        task = asyncio.ensure_future(strict.trigger_async("event", Ends()))
        while not begun.is_set():
            await asyncio.sleep(0.001)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        del task

    strict.register("event", hang)
    strict.register("event", after)
    run(main())
    may_end.set()
    assert ended.wait(20)
    assert called == []


def test_a_failure_after_cancellation_calls_no_further_hook(registry: HookRegistry) -> None:
    """A hook that fails when its dispatch was cancelled is the last one all the same."""
    begun, may_end, failed = threading.Event(), threading.Event(), threading.Event()
    called: list[str] = []

    class Plugin(Owner):
        def on_error(self, error: BaseException) -> None:
            failed.set()

    def hang(data: object) -> None:
        begun.set()
        may_end.wait(20)
        raise ValueError("late")

    async def main() -> None:
        task = asyncio.ensure_future(registry.trigger_async("event"))
        while not begun.is_set():
            await asyncio.sleep(0.001)
        task.cancel()
        await asyncio.wait([task])

    registry.register("event", hang, Plugin("late"))
    registry.register("event", lambda data: called.append("after"))
    run(main())
    may_end.set()
    assert failed.wait(20)
    # The next dispatch takes the worker that has let go of the other one.
    run(registry.trigger_async("other"))
    assert called == []


@pytest.mark.parametrize("returned", [True, False])
@pytest.mark.parametrize("timeout", [None, 20])
@pytest.mark.parametrize("collect", [True, False])
def test_a_coroutine_of_a_cancelled_dispatch_is_closed(
    registry: HookRegistry, returned: bool, timeout: Any, collect: bool
) -> None:
    """A coroutine that a sync hook returns to a dispatch cancelled meanwhile is not left over."""
    begun, may_end, notified, closed = (threading.Event() for _ in range(4))

    class Closable(Awaitable):
        def close(self) -> None:
            closed.set()

    def hang(data: object) -> Any:
        begun.set()
        may_end.wait(20)
        return Closable("never")

    def notify_when_called(loop: Any) -> None:
        call = loop.call_soon_threadsafe

        def call_and_notify(*arguments: Any, **options: Any) -> Any:
            handle = call(*arguments, **options)
            notified.set()
            return handle

        loop.call_soon_threadsafe = call_and_notify

    async def main() -> None:
        notify_when_called(asyncio.get_running_loop())
        fire = registry.collect_async if collect else registry.trigger_async
        task = asyncio.ensure_future(fire("event"))
        while not begun.is_set():
            await asyncio.sleep(0.001)
        if returned:
            # The worker has handed its result over, and the loop has not yet come to it.
            may_end.set()
            assert notified.wait(20)
        task.cancel()
        await asyncio.wait([task])
        may_end.set()

    registry.register("event", hang, timeout=timeout)
    run(main())
    assert closed.wait(20)


def test_an_async_on_error_of_a_cancelled_dispatch_is_closed(registry: HookRegistry) -> None:
    """An async `on_error` that a dispatch cancelled meanwhile cannot await is not left over."""
    begun, may_end, closed = (threading.Event() for _ in range(3))

    class Closable(Awaitable):
        def close(self) -> None:
            closed.set()

    class Plugin(Owner):
        def on_error(self, error: BaseException) -> Any:
            return Closable("never")

    def hang(data: object) -> Any:
        begun.set()
        may_end.wait(20)
        raise ValueError("failed")

    async def main() -> None:
        task = asyncio.ensure_future(registry.trigger_async("event"))
        while not begun.is_set():
            await asyncio.sleep(0.001)
        task.cancel()
        await asyncio.wait([task])
        may_end.set()

    registry.register("event", hang, Plugin("late"))
    run(main())
    assert closed.wait(20)


def test_cancellation_reaches_an_async_hook(strict: HookRegistry) -> None:
    """Cancelling a dispatch cancels the async hook that it awaits, and calls no later one."""
    outcome: list[str] = []

    async def wait(data: object) -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            outcome.append("cancelled")
            raise

    async def main() -> None:
        task = asyncio.ensure_future(strict.trigger_async("event"))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    for each in (wait, lambda data: wait(data)):
        strict.register("event", each, blocking=False)
        strict.register("event", lambda data: outcome.append("after"), blocking=False)
        run(main())
        strict.clear_all()
    assert outcome == ["cancelled"] * 2


@pytest.mark.parametrize("blocking", [True, False])
def test_a_cancellation_raised_by_a_hook_propagates(strict: HookRegistry, blocking: bool) -> None:
    """`CancelledError` out of a hook is no failure, but cancels the dispatch."""

    def cancelled(data: object) -> None:
        raise asyncio.CancelledError

    async def main() -> None:
        with pytest.raises(asyncio.CancelledError):
            await strict.trigger_async("event")

    strict.register("event", cancelled, blocking=blocking)
    run(main())


def test_a_dispatch_can_be_closed(strict: HookRegistry) -> None:
    """A dispatch that is given up, in whatever context, ends without a word."""

    async def wait(data: object) -> None:
        await asyncio.Event().wait()

    async def main() -> None:
        coroutine = strict.trigger_async("event")
        contextvars.copy_context().run(coroutine.send, None)
        contextvars.copy_context().run(coroutine.close)
        contextvars.copy_context().run(strict.trigger_async("event").close)

    strict.register("event", wait)
    run(main())


# -- collect_async


def test_collect_async_asks_all_at_once(strict: HookRegistry) -> None:
    """Hooks that wait for each other, sync and async ones, all come to an answer."""
    barrier = threading.Barrier(3)

    async def meet_async(data: int) -> int:
        await asyncio.get_running_loop().run_in_executor(None, barrier.wait, 20)
        return data

    def meet(data: int) -> int:
        barrier.wait(20)
        return data + 1

    strict.register("event", meet)
    strict.register("event", meet_async, Owner("second"))
    strict.register("event", lambda data: meet_async(data), Owner("third"), blocking=False)
    answers = run(strict.collect_async("event", 5))
    assert answers == [
        HookResult("anonymous", "meet", 6),
        HookResult("second", "meet_async", 5),
        HookResult("third", "<lambda>", 5),
    ]


def test_collect_async_answers_in_hook_order(strict: HookRegistry) -> None:
    """The answers stand in the order of the hooks, whichever comes first."""
    later: list[asyncio.Event] = []

    async def wait(data: object) -> str:
        await later[0].wait()
        return "waited"

    async def release(data: object) -> str:
        later[0].set()
        return "released"

    async def main() -> list[HookResult]:
        later.append(asyncio.Event())
        return await strict.collect_async("event")

    strict.register("event", release, priority=1)
    strict.register("event", wait, priority=2)
    assert [answer.value for answer in run(main())] == ["waited", "released"]


def test_collect_async_leaves_out_none_and_failures_only(registry: HookRegistry) -> None:
    """Of the answers only None and failures are missing; each failure is told and collected."""
    told: list[str] = []

    class Plugin(Owner):
        async def on_error(self, error: BaseException) -> None:
            await asyncio.sleep(0)
            told.append(self.name)

    async def fail_async(data: object) -> None:
        raise ValueError("failed")

    registry.set_error_strategy("collect_all")
    registry.register("event", lambda data: 0)
    registry.register("event", fail, Plugin("a"))
    registry.register("event", fail_async, Plugin("b"))
    registry.register("event", lambda data: fail_async(data), Plugin("c"))
    registry.register("event", lambda data: None)
    registry.register("event", lambda data: "")

    async def main() -> list[Any]:
        answers = await registry.collect_async("event")
        assert sorted(error["plugin"] for error in registry.get_last_errors()) == ["a", "b", "c"]
        return [answer.value for answer in answers]

    assert run(main()) == [0, ""]
    assert sorted(told) == ["a", "b", "c"]


def test_collect_async_stops_where_a_hook_stops(strict: HookRegistry) -> None:
    """`StopPropagation` keeps the answers of the hooks before it."""
    strict.register("event", lambda data: 1)
    strict.register("event", stop_async)
    strict.register("event", lambda data: 3)
    strict.register("event", stop)
    assert [answer.value for answer in run(strict.collect_async("event"))] == [1]


def test_collect_async_fails_fast(registry: HookRegistry) -> None:
    """Under `fail_fast` the first failure ends the others, none of which goes on afterwards."""
    outcome: list[str] = []
    begun: list[asyncio.Event] = []

    async def wait(data: object) -> None:
        begun[0].set()
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            outcome.append("ended")

    async def fail_async(data: object) -> None:
        await begun[0].wait()
        raise ValueError("failed")

    async def main() -> None:
        begun.append(asyncio.Event())
        with pytest.raises(HookError, match="bad"):
            await registry.collect_async("event")
        assert outcome == ["ended"]

    registry.set_error_strategy("fail_fast")
    registry.register("event", wait)
    registry.register("event", fail_async, Owner("bad"))
    run(main())


async def cancel_begun(collecting: Coroutine[Any, Any, object]) -> None:
    """Let hooks that are collected from begin, then cancel who collects, and wait for the end."""
    task = asyncio.ensure_future(collecting)
    for _ in range(3):
        await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


def test_collect_async_can_be_cancelled(strict: HookRegistry) -> None:
    """Cancelling `collect_async` cancels its hooks."""
    outcome: list[str] = []

    async def wait(data: object) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            outcome.append("ended")

    async def main() -> None:
        await cancel_begun(strict.collect_async("event"))
        assert outcome == ["ended", "ended"]

    strict.register("event", wait)
    strict.register("event", wait)
    run(main())


def test_collect_async_cancels_its_hooks_once(strict: HookRegistry) -> None:
    """A hook may clean up at leisure when its `collect_async` is cancelled."""
    outcome: list[str] = []

    async def wait(data: object) -> None:
        await asyncio.Event().wait()

    async def clean_up(data: object) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            for _ in range(5):
                await asyncio.sleep(0)
            outcome.append("cleaned up")

    async def main() -> None:
        await cancel_begun(strict.collect_async("event"))
        assert outcome == ["cleaned up"]

    strict.register("event", wait)
    strict.register("event", clean_up)
    run(main())


def test_collect_async_can_be_closed(
    strict: HookRegistry, caplog: pytest.LogCaptureFixture
) -> None:
    """A `collect_async` that is closed instead of cancelled cancels its hooks too."""
    outcome: list[str] = []

    async def wait(data: object) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            outcome.append("ended")

    async def main() -> None:
        coroutine = strict.collect_async("event")
        coroutine.send(None)
        await asyncio.sleep(0)
        coroutine.close()
        for _ in range(3):
            await asyncio.sleep(0)
        assert outcome == ["ended", "ended"]

    strict.register("event", wait)
    strict.register("event", wait)
    run(main())
    gc.collect()
    assert caplog.records == []


def test_collect_async_may_be_thrown_away_with_its_event_loop(
    strict: HookRegistry, caplog: pytest.LogCaptureFixture
) -> None:
    """One whose event loop was closed under way ends without a noise of its own."""

    async def wait(data: object) -> None:
        await asyncio.Event().wait()

    async def main() -> None:
        tasks.append(asyncio.ensure_future(strict.collect_async("event")))
        for _ in range(3):
            await asyncio.sleep(0)

    strict.register("event", wait)
    strict.register("event", wait)
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


def test_collect_async_without_hooks_is_empty(strict: HookRegistry) -> None:
    """`collect_async` of an event that nobody listens to is an empty list."""
    assert run(strict.collect_async("event", 1)) == []


# -- owners


def test_disabled_owners_are_passed_over(strict: HookRegistry) -> None:
    """A hook whose owner is disabled is not called, be it sync or async, a plugin or not."""
    any_owner: Any = Owner("any")
    any_owner.enabled = False
    for owner in (any_owner, PluginBase()):
        strict.register("event", append, owner)
        strict.register("event", append, owner, timeout=20)
        strict.register("event", lambda data: append(data), owner)
        strict.register("event", lambda data: data + "y", owner)
        strict.register("event", lambda data: data + "z", owner, blocking=False)
    assert run(strict.trigger_async("event", "")) == ""
    assert run(strict.collect_async("event", "")) == []
    any_owner.enabled = True
    assert run(strict.trigger_async("event", "")) == "xxxyz"


# -- many at once


def test_dispatches_of_many_tasks_do_not_mix(strict: HookRegistry) -> None:
    """A hundred dispatches at once each have their own data."""

    async def main() -> list[Any]:
        return await asyncio.gather(*(strict.trigger_async("event", str(n)) for n in range(100)))

    strict.register("event", lambda data: data + "a")
    strict.register("event", append)
    strict.register("event", lambda data: append(data))
    assert run(main()) == [f"{number}axx" for number in range(100)]


def test_loops_in_many_threads_do_not_mix(strict: HookRegistry) -> None:
    """Event loops of several threads may use one registry."""
    strict.register("event", lambda data: data + "a")
    strict.register("event", append)
    results: list[Any] = []

    def use() -> None:
        results.extend(run(strict.trigger_async("event", "")) for _ in range(10))

    threads = [threading.Thread(target=use) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == ["ax"] * 40
