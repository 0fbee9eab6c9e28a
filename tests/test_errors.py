"""What happens when hooks fail: isolation, strategies, and what is told to whom."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextvars
import gc
import logging
import sys
import threading
from collections.abc import Iterator
from typing import Any, Callable, Optional

import pytest

from firing import FIRE, Fire, ToldOwner, fail, fail_async
from loops import run
from nitro_dispatch import (
    HookError,
    HookRegistry,
    HookTimeoutError,
    NitroPluginError,
    PluginBase,
    PluginManager,
    StopPropagation,
    hook,
)
from programs import RunPython

STRATEGIES = ["log_and_continue", "fail_fast", "collect_all"]


class AsyncOwner(ToldOwner):
    """An owner whose `on_error` is async."""

    async def on_error(self, error: BaseException) -> None:
        await asyncio.sleep(0)
        self.told.append(error)


@pytest.fixture
def collecting() -> HookRegistry:
    """Make an empty registry that collects errors."""
    registry = HookRegistry()
    registry.set_error_strategy("collect_all")
    return registry


def raising(error: BaseException) -> Callable[[Any], None]:
    """Make a hook that raises an error."""

    def raise_it(data: Any) -> None:
        raise error

    return raise_it


@pytest.fixture
def _collected() -> Iterator[None]:
    """Let asyncio complain of a task that was interrupted before the next test begins."""
    yield
    gc.collect()


KINDS: dict[str, dict[str, Any]] = {
    "plain": {},
    "inline": {"blocking": False},
    "timed": {"timeout": 20},
}


@pytest.fixture(params=list(KINDS.values()), ids=list(KINDS))
def options(request: pytest.FixtureRequest) -> Any:
    """Give the options of one kind of hook after another."""
    return request.param


# -- the strategies


def test_a_callable_that_is_registered_twice_fails_as_the_second(fire: Fire) -> None:
    """Only the hooks behind the one that failed still run, not those behind its twin."""
    registry = HookRegistry()

    def fail_if_counted(data: int) -> None:
        if data:
            raise ValueError("failed")

    for _ in range(2):
        registry.register("event", fail_if_counted)
        registry.register("event", lambda data: data + 1)
    assert fire(registry, 0) == 2


def test_a_hook_that_takes_itself_out_and_fails_is_named(
    fire: Fire, caplog: pytest.LogCaptureFixture
) -> None:
    """The failure of a hook that is registered no longer has its name, and the others run."""
    registry = HookRegistry()

    def leave(data: Any) -> None:
        registry.clear_event("event")
        registry.register("event", lambda data: data + 1)
        raise ValueError("left")

    registry.register("event", leave, ToldOwner("leaver"))
    assert fire(registry, 0) == 0
    assert [record.__dict__["plugin"] for record in caplog.records] == ["leaver"]
    assert fire(registry, 0) == 1


@pytest.mark.parametrize("error", [ValueError("bad"), SystemExit(3), StopIteration(), OSError()])
def test_a_failure_is_isolated(
    registry: HookRegistry, fire: Fire, options: Any, error: BaseException
) -> None:
    """What a hook raises, `SystemExit` included, ends neither the dispatch nor the program."""
    registry.register("event", lambda data: data + 1)
    registry.register("event", raising(error), ToldOwner(), **options)
    registry.register("event", lambda data: data + 10)
    assert fire(registry, 0) == 11


def test_a_failure_keeps_what_was_changed_in_place(registry: HookRegistry, fire: Fire) -> None:
    """The data that a failed hook was given goes on to the next."""

    def change_and_fail(data: list[int]) -> None:
        data.append(1)
        raise ValueError

    registry.register("event", change_and_fail)
    assert fire(registry, []) == [1]


def test_fail_fast_raises_from_the_cause(registry: HookRegistry, fire: Fire, options: Any) -> None:
    """`fail_fast` raises HookError from what the first failed hook raised, and calls no other."""
    called: list[object] = []
    error = ValueError("bad data")
    registry.set_error_strategy("fail_fast")
    registry.register("event", raising(error), ToldOwner("cache"), **options)
    registry.register("event", called.append)
    with pytest.raises(HookError) as raised:
        fire(registry, 0)
    assert raised.value.__cause__ is raised.value.cause is error
    assert (raised.value.plugin, raised.value.hook) == ("cache", "raise_it")
    assert raised.value.event == "event"
    for part in ("cache", "raise_it", "event", "bad data"):
        assert part in str(raised.value)
    assert not isinstance(raised.value, HookTimeoutError)
    assert called == []


def test_fail_fast_wraps_system_exit(registry: HookRegistry, fire: Fire) -> None:
    """Under `fail_fast` a `SystemExit` out of a hook becomes the cause of a HookError."""
    registry.set_error_strategy("fail_fast")
    registry.register("event", raising(SystemExit(3)))
    with pytest.raises(HookError) as raised:
        fire(registry, 0)
    assert isinstance(raised.value.__cause__, SystemExit)


def test_collect_all_lists_every_failure(collecting: HookRegistry) -> None:
    """`get_last_errors` has a dict with plugin, error and event for each, in their order."""
    first, second = ValueError("first"), KeyError("second")
    collecting.register("event", raising(first), ToldOwner("a"))
    collecting.register("*", raising(second))
    assert collecting.trigger("event", 1) == 1
    assert collecting.get_last_errors() == [
        {"plugin": "a", "error": first, "event": "event"},
        {"plugin": "anonymous", "error": second, "event": "event"},
    ]


def test_the_list_of_errors_is_the_callers_own(collecting: HookRegistry) -> None:
    """Changing the list that `get_last_errors` returned changes nothing."""
    collecting.register("event", fail)
    collecting.trigger("event")
    collecting.get_last_errors().clear()
    assert len(collecting.get_last_errors()) == 1


def test_the_plugin_in_an_error_is_its_name() -> None:
    """The manager's errors name the plugin by its name."""

    class Plugin(PluginBase):
        name = "cache"

        @hook("event")
        def act(self, data: Any) -> None:
            raise ValueError

    manager = PluginManager()
    manager.set_error_strategy("collect_all")
    manager.load(manager.register(Plugin))
    manager.trigger("event")
    assert [error["plugin"] for error in manager.get_last_errors()] == ["cache"]


@pytest.mark.parametrize("name", ["bogus", "", "FAIL_FAST", None, 5, ["fail_fast"]])
def test_an_unknown_strategy_changes_nothing(registry: HookRegistry, name: Any) -> None:
    """An unknown strategy is a ValueError that lists the known ones, and the old one stays."""
    registry.register("event", fail)
    registry.set_error_strategy("fail_fast")
    with pytest.raises(ValueError, match=r"log_and_continue.*fail_fast.*collect_all"):
        registry.set_error_strategy(name)
    with pytest.raises(HookError):
        registry.trigger("event")


def test_a_strategy_holds_from_the_next_dispatch(registry: HookRegistry) -> None:
    """Changing the strategy changes what becomes of failures, as often as it is done."""
    registry.register("event", fail)
    assert registry.trigger("event", 1) == 1
    registry.set_error_strategy("collect_all")
    registry.trigger("event")
    assert len(registry.get_last_errors()) == 1
    registry.set_error_strategy("fail_fast")
    with pytest.raises(HookError):
        registry.trigger("event")
    registry.set_error_strategy("log_and_continue")
    assert registry.trigger("event", 1) == 1
    assert registry.get_last_errors() == []


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_the_manager_and_its_plugins_share_the_strategy(strategy: str) -> None:
    """A dispatch that a plugin begins obeys the strategy of the manager."""

    class Plugin(PluginBase):
        @hook("event")
        def act(self, data: Any) -> None:
            raise ValueError

    manager = PluginManager()
    manager.set_error_strategy(strategy)
    plugin = manager.load(manager.register(Plugin))
    if strategy == "fail_fast":
        with pytest.raises(HookError):
            plugin.trigger("event")
    else:
        assert plugin.trigger("event", 1) == 1
    assert len(manager.get_last_errors()) == (strategy == "collect_all")


# -- whose errors they are


def test_without_a_dispatch_there_are_no_errors(collecting: HookRegistry) -> None:
    """A caller who has fired nothing has no errors, in a task as outside."""
    assert collecting.get_last_errors() == []

    async def main() -> list[dict[str, Any]]:
        return collecting.get_last_errors()

    assert run(main()) == []


@pytest.mark.parametrize("event", ["clean", "unheard"])
def test_a_clean_dispatch_empties_the_errors(collecting: HookRegistry, event: str) -> None:
    """Each dispatch without a failure, even one without hooks, leaves no errors."""
    collecting.register("event", fail)
    collecting.register("clean", lambda data: data)
    clean: list[Callable[[], object]] = [
        lambda: collecting.trigger(event),
        lambda: run(collecting.trigger_async(event)),
        lambda: collecting.collect(event),
        lambda: run(collecting.collect_async(event)),
        lambda: collecting.first(event),
        lambda: collecting.trace(event),
    ]
    for dispatch in clean:
        collecting.trigger("event")
        assert len(collecting.get_last_errors()) == 1
        dispatch()
        assert collecting.get_last_errors() == []


def test_errors_stay_until_the_next_dispatch(collecting: HookRegistry) -> None:
    """Registering, unregistering and another strategy leave the errors as they are."""
    collecting.register("event", fail)
    collecting.trigger("event")
    collecting.register("other", fail)
    collecting.clear_all()
    collecting.set_error_strategy("log_and_continue")
    assert len(collecting.get_last_errors()) == 1


def test_errors_belong_to_one_registry(collecting: HookRegistry) -> None:
    """A dispatch in another registry does not touch the errors."""
    other = HookRegistry()
    other.set_error_strategy("collect_all")
    collecting.register("event", fail)
    collecting.trigger("event")
    other.trigger("event")
    assert len(collecting.get_last_errors()) == 1
    assert other.get_last_errors() == []


def test_each_thread_has_its_own_errors(collecting: HookRegistry) -> None:
    """A thread sees the errors of its own last dispatch, and nobody else's."""
    collecting.register("event", fail)
    collecting.trigger("event")
    seen: list[int] = []

    def use() -> None:
        seen.append(len(collecting.get_last_errors()))
        collecting.trigger("unheard")
        seen.append(len(collecting.get_last_errors()))
        collecting.register("event", fail)
        collecting.trigger("event")
        seen.append(len(collecting.get_last_errors()))

    thread = threading.Thread(target=use)
    thread.start()
    thread.join()
    assert seen == [0, 0, 2]
    assert len(collecting.get_last_errors()) == 1


def test_each_task_has_its_own_errors(collecting: HookRegistry) -> None:
    """Of tasks that fire at once each sees the errors of its own last dispatch."""

    async def fail_named(data: str, event: str) -> None:
        await asyncio.sleep(0)
        raise ValueError(data)

    async def use(name: str, times: int) -> list[str]:
        assert collecting.get_last_errors() == []
        for _ in range(times):
            await collecting.trigger_async("event", name)
            await asyncio.sleep(0)
        return [str(error["error"]) for error in collecting.get_last_errors()]

    async def main() -> None:
        await collecting.trigger_async("event", "main")
        calls = [use("a", 1), use("b", 3), use("c", 2), use("d", 0)]
        names = await asyncio.gather(*calls)
        assert names == [["a"] * 2, ["b"] * 2, ["c"] * 2, []]
        assert [str(error["error"]) for error in collecting.get_last_errors()] == ["main"] * 2

    collecting.register("event", fail_named)
    collecting.register("event", lambda data: fail_named(data, ""))
    run(main())


def test_a_task_sees_its_sync_dispatches_too(collecting: HookRegistry) -> None:
    """Inside a task a sync dispatch counts as the task's, not as the thread's."""
    collecting.register("event", fail)

    async def look() -> int:
        return len(collecting.get_last_errors())

    async def main() -> tuple[int, int]:
        collecting.trigger("event")
        return await look(), await asyncio.ensure_future(look())

    assert run(main()) == (1, 0)


def test_the_errors_of_a_finished_loop_are_the_threads(collecting: HookRegistry) -> None:
    """After `asyncio.run` the thread has the errors of the last dispatch in it."""
    collecting.register("event", fail)
    collecting.register("event", fail_async)
    asyncio.run(collecting.trigger_async("event"))
    assert len(collecting.get_last_errors()) == 2
    asyncio.run(collecting.trigger_async("unheard"))
    assert collecting.get_last_errors() == []


def test_failures_in_worker_threads_are_the_callers(collecting: HookRegistry) -> None:
    """What fails in a worker thread or within a time limit counts for who fired the event."""
    collecting.register("event", fail, ToldOwner("sync"))
    collecting.register("event", fail, ToldOwner("timed"), timeout=20)
    collecting.register("event", fail_async, ToldOwner("async"))
    collecting.register("event", fail_async, ToldOwner("async timed"), timeout=20)
    collecting.register("event", lambda data: fail_async(data), ToldOwner("lambda"))
    collecting.register(
        "event", lambda data: fail_async(data), ToldOwner("lambda timed"), timeout=20
    )

    async def main() -> list[str]:
        await collecting.trigger_async("event")
        return [error["plugin"] for error in collecting.get_last_errors()]

    expected = ["sync", "timed", "async", "async timed", "lambda", "lambda timed"]
    assert run(main()) == expected
    collecting.trigger("event")
    assert [error["plugin"] for error in collecting.get_last_errors()] == ["sync", "timed"]


def test_nested_dispatches_have_their_own_errors(collecting: HookRegistry) -> None:
    """A hook sees the errors of what it fired; the outer dispatch has its own afterwards."""
    seen: list[list[str]] = []

    def look() -> None:
        seen.append([error["plugin"] for error in collecting.get_last_errors()])

    def outer(data: object) -> None:
        look()
        collecting.trigger("inner")
        look()
        collecting.trigger("unheard")
        look()
        raise ValueError

    collecting.register("inner", fail, ToldOwner("inner"))
    collecting.register("outer", fail, ToldOwner("before"))
    collecting.register("outer", outer, ToldOwner("outer"))
    collecting.trigger("inner")
    collecting.trigger("outer")
    look()
    assert seen == [[], ["inner"], [], ["before", "outer"]]


@pytest.mark.parametrize("kind", ["plain", "inline", "timed", "async", "async timed", "lambda"])
def test_nested_dispatches_of_any_hook_have_their_own_errors(
    collecting: HookRegistry, kind: str
) -> None:
    """A hook of any kind, in whichever thread, sees the errors of what it fired only."""
    seen: list[list[str]] = []

    def look() -> None:
        seen.append([error["plugin"] for error in collecting.get_last_errors()])

    def outer(data: object) -> None:
        look()
        collecting.trigger("inner")
        look()
        raise ValueError

    async def outer_async(data: object) -> None:
        look()
        await collecting.trigger_async("inner")
        look()
        raise ValueError

    hooks: dict[str, Callable[..., Any]] = {
        "async": outer_async,
        "async timed": outer_async,
        "lambda": lambda data: outer_async(data),
    }
    options: dict[str, Any] = {"inline": {"blocking": False}, "lambda": {"blocking": False}}
    timed: dict[str, Any] = {"timeout": 20} if "timed" in kind else {}
    collecting.register("inner", fail, ToldOwner("inner"))
    collecting.register(
        "outer", hooks.get(kind, outer), ToldOwner("outer"), **options.get(kind, {}), **timed
    )

    async def main() -> None:
        await collecting.trigger_async("outer")
        look()

    for _ in range(2):
        run(main())
    assert seen == [[], ["inner"], ["outer"]] * 2


def test_a_worker_thread_has_no_errors_of_others(collecting: HookRegistry) -> None:
    """A hook in a worker thread does not see what hooks of other callers fired there."""
    seen: list[int] = []
    collecting.register("inner", fail)
    collecting.register("first", lambda data: collecting.trigger("inner"))
    collecting.register("second", lambda data: seen.append(len(collecting.get_last_errors())))
    run(collecting.trigger_async("first"))
    run(collecting.trigger_async("second"))
    assert seen == [0]


def test_a_task_that_a_hook_starts_has_its_own_errors(collecting: HookRegistry) -> None:
    """A task that outlives the dispatch which it was started in sees its own errors."""
    tasks: list[asyncio.Task[Any]] = []

    async def start(data: object) -> None:
        tasks.append(asyncio.ensure_future(later()))

    async def later() -> list[str]:
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        await collecting.trigger_async("inner")
        return [error["plugin"] for error in collecting.get_last_errors()]

    async def main() -> None:
        await collecting.trigger_async("outer")
        assert await tasks[0] == ["inner"]
        assert [error["plugin"] for error in collecting.get_last_errors()] == ["outer"]

    collecting.register("outer", start)
    collecting.register("outer", fail, ToldOwner("outer"))
    collecting.register("inner", fail, ToldOwner("inner"))
    run(main())


def test_a_loop_inside_a_hook_has_its_own_errors(collecting: HookRegistry) -> None:
    """A hook that runs an event loop sees the errors of what was fired in it."""
    seen: list[list[str]] = []

    def outer(data: object) -> None:
        asyncio.run(collecting.trigger_async("inner"))
        seen.append([error["plugin"] for error in collecting.get_last_errors()])

    collecting.register("inner", fail_async, ToldOwner("inner"))
    collecting.register("outer", outer)
    collecting.trigger("outer")
    assert seen == [["inner"]]
    assert collecting.get_last_errors() == []


@pytest.mark.usefixtures("_collected")
def test_a_dispatch_that_is_cut_off_keeps_its_errors(collecting: HookRegistry) -> None:
    """A dispatch that an interruption ends has the errors that came before it."""
    collecting.register("event", fail)
    collecting.register("event", raising(KeyboardInterrupt()))
    with pytest.raises(KeyboardInterrupt):
        collecting.trigger("event")
    assert len(collecting.get_last_errors()) == 1


def test_errors_do_not_depend_on_the_context(collecting: HookRegistry) -> None:
    """A dispatch in a copy of the context counts for its thread."""
    collecting.register("event", fail)
    contextvars.copy_context().run(collecting.trigger, "event")
    assert len(collecting.get_last_errors()) == 1


# -- what propagates


@pytest.mark.usefixtures("_collected")
@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("error", [KeyboardInterrupt, GeneratorExit, asyncio.CancelledError])
def test_interruptions_propagate(
    registry: HookRegistry, options: Any, strategy: str, error: type[BaseException]
) -> None:
    """`KeyboardInterrupt`, `GeneratorExit` and cancellation end a sync dispatch as they are."""
    owner = ToldOwner()
    registry.set_error_strategy(strategy)
    registry.register("event", raising(error()), owner, **options)
    for dispatch in (registry.trigger, registry.collect, registry.first, registry.trace):
        with pytest.raises(error):
            dispatch("event")
    assert owner.told == []


@pytest.mark.usefixtures("_collected")
@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("kind", ["plain", "inline", "timed", "async", "lambda"])
def test_interruptions_propagate_out_of_async_dispatches(
    registry: HookRegistry, strategy: str, kind: str
) -> None:
    """`KeyboardInterrupt` out of a hook of any kind, in a worker too, ends the event loop."""

    async def interrupt_async(data: object) -> None:
        raise KeyboardInterrupt

    hooks: dict[str, Callable[..., Any]] = {
        "async": interrupt_async,
        "lambda": lambda data: interrupt_async(data),
    }
    registry.set_error_strategy(strategy)
    owner = ToldOwner()
    callback = hooks.get(kind, raising(KeyboardInterrupt()))
    registry.register("event", callback, owner, **KINDS.get(kind, {}))
    for dispatch in (registry.trigger_async, registry.collect_async):
        with pytest.raises(KeyboardInterrupt):
            asyncio.run(dispatch("event"))
    assert owner.told == []


def test_errors_of_concurrent_futures_are_failures(registry: HookRegistry) -> None:
    """The cancellation of a future of `concurrent.futures` is an exception like any other."""
    registry.register("event", raising(concurrent.futures.CancelledError()))
    assert registry.trigger("event", 1) == 1


def test_stopping_in_a_nested_hook_is_no_failure(registry: HookRegistry) -> None:
    """A `StopPropagation` that a hook catches and raises on stops its own dispatch."""

    def forward(data: int) -> None:
        try:
            raise StopPropagation("inner")
        except StopPropagation as stopped:
            raise StopPropagation("outer") from stopped

    registry.set_error_strategy("fail_fast")
    registry.register("event", forward)
    registry.register("event", lambda data: data + 1)
    assert registry.trigger("event", 0) == 0


# -- running out of stack


@pytest.fixture
def shallow(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """Let the stack end early."""
    # A log record would keep an error, and with it all frames of the stack, until the next test.
    caplog.set_level(logging.CRITICAL, logger="nitro_dispatch")
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(400)
    yield
    sys.setrecursionlimit(limit)
    gc.collect()


# Until 3.11, and wherever each step is traced (as it is to measure coverage), a coroutine complains
# if there was not even stack for its first step.
COMPLAINT = "ignore:coroutine .* was never awaited:RuntimeWarning"
COMPLAINS = sys.version_info < (3, 11) or sys.gettrace() is not None
may_complain = pytest.mark.filterwarnings(COMPLAINT if COMPLAINS else "error")


@pytest.mark.usefixtures("shallow")
@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("method", ["trigger", "collect", "first", "trace"])
def test_endless_nesting_is_isolated_at_the_outermost(strategy: str, method: str) -> None:
    """A dispatch nested without end fails once, as the outermost hook's RecursionError."""
    owner = ToldOwner("recursive")
    registry = HookRegistry()
    registry.set_error_strategy(strategy)
    dispatch = getattr(registry, method)
    registry.register("event", lambda data: dispatch("event", data), owner)
    if strategy == "fail_fast":
        with pytest.raises(HookError) as raised:
            dispatch("event", 1)
        assert isinstance(raised.value.__cause__, RecursionError)
    else:
        dispatch("event", 1)
    assert [type(error) for error in owner.told] == [RecursionError]
    errors = [type(error["error"]) for error in registry.get_last_errors()]
    assert errors == [RecursionError] * (strategy == "collect_all")


@may_complain
@pytest.mark.usefixtures("shallow")
@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("kind", ["async", "inline", "plain", "lambda"])
def test_endless_async_nesting_is_isolated(strategy: str, kind: str) -> None:
    """An endless nesting in an async dispatch fails as RecursionError, and never escapes."""
    registry = HookRegistry()
    registry.set_error_strategy(strategy)
    owner = ToldOwner("recursive")

    async def nest_async(data: Any) -> Any:
        return await registry.trigger_async("event", data)

    hooks: dict[str, Callable[..., Any]] = {
        "async": nest_async,
        "lambda": lambda data: nest_async(data),
    }
    blocking = kind == "plain"
    nest = hooks.get(kind, lambda data: registry.trigger("event", data))
    registry.register("event", nest, owner, blocking=blocking)

    async def main() -> list[type]:
        if strategy == "fail_fast":
            with pytest.raises(HookError) as raised:
                await registry.trigger_async("event", 1)
            assert isinstance(raised.value.__cause__, RecursionError)
        else:
            assert await registry.trigger_async("event", 1) == 1
        return [type(error["error"]) for error in registry.get_last_errors()]

    assert run(main()) == [RecursionError] * (strategy == "collect_all")
    assert [type(error) for error in owner.told] == [RecursionError]


@pytest.mark.usefixtures("shallow")
@pytest.mark.parametrize("timeout", [None, 30])
@pytest.mark.parametrize("steps", [0, 1])
def test_nesting_in_an_async_hook_is_isolated_there(timeout: Optional[float], steps: int) -> None:
    """A dispatch nested in an async hook lets the error pass, in each step of the hook."""
    registry = HookRegistry()
    owners = ToldOwner("outer"), ToldOwner("inner")

    async def nest(data: Any) -> None:
        for _ in range(steps):
            await asyncio.sleep(0)
        registry.trigger("inner", data)

    registry.register("outer", nest, owners[0], timeout=timeout)
    registry.register("inner", lambda data: registry.trigger("inner", data), owners[1])
    assert run(registry.trigger_async("outer", 1)) == 1
    assert [len(owner.told) for owner in owners] == [1, 0]


@pytest.mark.usefixtures("shallow")
def test_nesting_through_two_registries_is_isolated_at_the_outermost() -> None:
    """It is the outermost dispatch of all that isolates, whichever registry it is of."""
    one, other = HookRegistry(), HookRegistry()
    owners = ToldOwner("one"), ToldOwner("other")
    one.register("event", lambda data: other.trigger("event", data), owners[0])
    other.register("event", lambda data: one.trigger("event", data), owners[1])
    assert one.trigger("event", 1) == 1
    assert [len(owner.told) for owner in owners] == [1, 0]


@pytest.mark.usefixtures("shallow")
def test_a_recursion_that_is_no_nesting_is_a_failure(registry: HookRegistry, fire: Fire) -> None:
    """A hook that recurses by itself fails alone, and the dispatch goes on."""

    def recurse(data: int) -> int:
        return recurse(data + 1)

    registry.register("event", recurse)
    registry.register("event", lambda data: data + 1)
    assert fire(registry, 0) == 1


def test_running_out_of_stack_does_not_end_the_interpreter(run_python: RunPython) -> None:
    """With the usual limit an endless nesting ends well, in every kind of dispatch."""
    # The finalizer of an event loop complains if it has to run where the stack ends.
    program = """
import asyncio, gc
from nitro_dispatch import HookRegistry

gc.disable()
for strategy in ("log_and_continue", "collect_all"):
    registry = HookRegistry()
    registry.set_error_strategy(strategy)
    registry.enable_hook_tracing(True)
    async def nest(data):
        return await registry.trigger_async("async", data)
    registry.register("async", nest)
    registry.register("sync", lambda data: registry.trigger("sync", data))
    registry.register("timed", lambda data: registry.trigger("sync", data), timeout=60)
    assert registry.trigger("sync", 1) == registry.trigger("timed", 1) == 1
    for event in ("async", "sync", "timed"):
        assert asyncio.run(registry.trigger_async(event, 1)) == 1
print("survived")
"""
    assert run_python(program, seconds=120) == "survived\n"


# -- who is told


def test_the_owner_is_told(registry: HookRegistry, fire: Fire, options: Any) -> None:
    """`on_error` of the hook's owner is called with what the hook raised, under each strategy."""
    for strategy in STRATEGIES:
        owner, bystander = ToldOwner(), ToldOwner()
        error = ValueError("failed")
        registry.set_error_strategy(strategy)
        registry.register("event", lambda data: None, bystander)
        registry.register("event", raising(error), owner, **options)
        try:
            fire(registry, 1)
        except HookError:
            assert strategy == "fail_fast"
        assert owner.told == [error]
        assert bystander.told == []
        registry.clear_all()


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("kind", ["plain", "inline", "timed", "async", "lambda", "lambda timed"])
def test_an_async_on_error_is_awaited(
    registry: HookRegistry, strategy: str, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    """In an async dispatch an async `on_error` is awaited, once, under each strategy."""
    owner = AsyncOwner()
    hooks: dict[str, Callable[..., Any]] = {"async": fail_async}
    callback = (lambda data: fail_async(data)) if "lambda" in kind else hooks.get(kind, fail)
    options = {"timeout": 20} if "timed" in kind else KINDS.get(kind, {})
    registry.set_error_strategy(strategy)
    registry.register("event", callback, owner, **options)
    registry.register("event", lambda data: data + 1)
    if strategy == "fail_fast":
        with pytest.raises(HookError) as raised:
            run(registry.trigger_async("event", 0))
        assert isinstance(raised.value.__cause__, ValueError)
    else:
        assert run(registry.trigger_async("event", 0)) == 1
    assert [str(error) for error in owner.told] == ["failed"]
    assert len(caplog.records) == (strategy != "fail_fast")


def test_an_async_on_error_has_no_time_limit(registry: HookRegistry) -> None:
    """The time limit is the hook's, not that of the `on_error` which follows."""

    class Patient(ToldOwner):
        async def on_error(self, error: BaseException) -> None:
            await asyncio.sleep(0.6)
            self.told.append(error)

    owner = Patient()
    registry.register("event", fail, owner, timeout=0.5)
    run(registry.trigger_async("event", 0))
    assert [type(error) for error in owner.told] == [ValueError]


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_an_async_on_error_is_closed_by_a_sync_dispatch(
    registry: HookRegistry, strategy: str, caplog: pytest.LogCaptureFixture
) -> None:
    """In `trigger` an async `on_error` is closed with a warning that names the plugin."""
    owner = AsyncOwner("asy\nnc")
    registry.set_error_strategy(strategy)
    registry.register("event", fail, owner)
    if strategy == "fail_fast":
        with pytest.raises(HookError):
            registry.trigger("event")
    else:
        registry.trigger("event")
    assert owner.told == []
    warnings = [line for line in caplog.records if line.levelno == logging.WARNING]
    (line,) = warnings
    assert r"asy\nnc" in line.getMessage()
    assert "trigger_async" in line.getMessage()


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("error", [KeyError("again"), SystemExit(3), StopPropagation("again")])
@pytest.mark.parametrize("asynchronous", [True, False])
def test_what_on_error_raises_is_logged(
    registry: HookRegistry,
    strategy: str,
    error: BaseException,
    asynchronous: bool,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """An `on_error` that fails is logged, and changes nothing else."""

    class Bad(ToldOwner):
        def on_error(self, error_of_hook: BaseException) -> Any:
            raise error

    class BadAsync(ToldOwner):
        async def on_error(self, error_of_hook: BaseException) -> None:
            raise error

    registry.set_error_strategy(strategy)
    registry.register("event", fail, BadAsync("bad") if asynchronous else Bad("bad"))
    registry.register("event", lambda data: data + 1)
    if strategy == "fail_fast":
        with pytest.raises(HookError, match="failed"):
            run(registry.trigger_async("event", 0))
    else:
        assert run(registry.trigger_async("event", 0)) == 1
    (line,) = [line for line in caplog.records if "on_error" in line.getMessage()]
    assert line.exc_info is not None
    assert line.exc_info[1] is error
    assert "bad" in line.getMessage()


@pytest.mark.usefixtures("_collected")
def test_an_interruption_of_on_error_propagates(registry: HookRegistry, fire: Fire) -> None:
    """`KeyboardInterrupt` out of `on_error` ends the dispatch."""

    class Interrupted(ToldOwner):
        def on_error(self, error: BaseException) -> None:
            raise KeyboardInterrupt

    registry.register("event", fail, Interrupted())
    with pytest.raises(KeyboardInterrupt):
        fire(registry, 0)


def test_on_error_may_be_anything(registry: HookRegistry) -> None:
    """An owner's `on_error` that cannot be called is passed over."""
    owner: Any = ToldOwner()
    owner.on_error = "not callable"
    registry.register("event", fail, owner)
    assert registry.trigger("event", 1) == 1


def test_on_error_may_fire_events_and_unload(registry: HookRegistry) -> None:
    """An `on_error` may use the registry, and take its own hooks out."""

    class Leaving(ToldOwner):
        def on_error(self, error: BaseException) -> None:
            self.told.append(error)
            registry.unregister_plugin(self)
            registry.trigger("event")

    owner = Leaving()
    registry.register("event", fail, owner)
    registry.register("event", fail, owner)
    assert registry.trigger("event", 1) == 1
    assert len(owner.told) == 1


# -- what is logged


class Unprintable:
    """Data that raises wherever it is formatted."""

    def _raise(self, *arguments: object) -> Any:
        raise RuntimeError("the data was formatted")

    __repr__ = __str__ = __format__ = _raise


def test_a_failure_is_logged_with_names_and_traceback(
    registry: HookRegistry, fire: Fire, caplog: pytest.LogCaptureFixture
) -> None:
    """The log line of a failure names plugin, event and hook, in its text and as attributes."""
    registry.register("event", fail, ToldOwner("cache"))
    data = Unprintable()
    assert fire(registry, data) is data
    (line,) = caplog.records
    assert line.levelno == logging.ERROR
    assert line.name.startswith("nitro_dispatch")
    assert vars(line)["plugin"] == "cache"
    assert vars(line)["event"] == "event"
    assert vars(line)["hook"] == "fail"
    assert line.exc_info is not None
    assert isinstance(line.exc_info[1], ValueError)
    for part in ("plugin cache", "event event", "hook fail", "ValueError: failed"):
        assert part in line.getMessage()
    assert 'raise ValueError("failed")' in caplog.text


def test_data_that_cannot_be_formatted_is_survived(
    registry: HookRegistry, options: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """No strategy, log level or tracer formats the data of an event."""
    caplog.set_level(logging.DEBUG)
    registry.enable_hook_tracing(True)
    registry.register("event", fail, ToldOwner(), **options)
    registry.register("event", lambda data: Unprintable(), **options)
    registry.register("event", lambda data: fail_async(data), **options)
    for strategy in ("log_and_continue", "collect_all"):
        registry.set_error_strategy(strategy)
        for fire in FIRE.values():
            assert isinstance(fire(registry, Unprintable()), Unprintable)
    assert "the data was formatted" not in caplog.text


def test_control_characters_are_escaped(
    registry: HookRegistry, caplog: pytest.LogCaptureFixture
) -> None:
    """Neither a name nor an exception's text can forge a line of the log."""
    forged = "x\r\nERROR forged\x1b[0m\u2028"

    def callback(data: object) -> None:
        raise type(forged, (Exception,), {})(f"{forged}!")

    callback.__name__ = forged
    registry.register(forged, callback, ToldOwner(forged))
    registry.trigger(forged)
    (line,) = caplog.records
    text = line.getMessage()
    assert text.isprintable()
    assert text.count(r"x\r\nERROR forged\x1b[0m\u2028") == 5
    for name in ("plugin", "event", "hook"):
        assert vars(line)[name] == r"x\r\nERROR forged\x1b[0m\u2028"


def test_readable_characters_stay(registry: HookRegistry, caplog: pytest.LogCaptureFixture) -> None:
    """Letters of any script, and backslashes, are logged as they are."""
    registry.register("événement", fail, ToldOwner("プラグ\\イン"))
    registry.trigger("événement")
    text = caplog.records[0].getMessage()
    assert "plugin プラグ\\イン (" in text
    assert ", event événement, " in text


class TextRaises(Exception):
    """An exception that cannot say what it is."""

    def __str__(self) -> str:
        raise RuntimeError("no text")


class TextIsNone(Exception):
    """An exception whose text is no string."""

    def __str__(self) -> Any:
        return None


@pytest.mark.parametrize("error", [TextRaises, TextIsNone])
@pytest.mark.parametrize("strategy", STRATEGIES)
def test_an_exception_without_a_text_is_survived(
    registry: HookRegistry, fire: Fire, strategy: str, error: type[Exception]
) -> None:
    """An exception whose `__str__` does not work is isolated, wrapped and told like any other."""
    owner = ToldOwner("cache")
    registry.set_error_strategy(strategy)
    registry.register("event", raising(error()), owner)
    if strategy == "fail_fast":
        with pytest.raises(HookError) as raised:
            fire(registry, 1)
        assert "cache" in str(raised.value)
        assert error.__name__ in str(raised.value)
    else:
        assert fire(registry, 1) == 1
    assert len(owner.told) == 1


def test_an_event_of_an_enumeration_is_logged_by_its_name(
    registry: HookRegistry, caplog: pytest.LogCaptureFixture
) -> None:
    """A name that is a subclass of `str` is logged by its text, however it shows itself."""

    class Odd(str):
        def __str__(self) -> str:
            return "something else"

    registry.register("user.login", fail)
    registry.trigger(Odd("user.login"))
    assert "event user.login," in caplog.records[0].getMessage()


class BadHandler(logging.Handler):
    """A handler that raises."""

    def handle(self, record: logging.LogRecord) -> bool:
        raise OSError("the disk is full")


def test_a_handler_that_raises_does_not_disturb(
    registry: HookRegistry, options: Any, fire: Fire
) -> None:
    """An application's log handler that raises does not make a dispatch fail."""
    handler = BadHandler()
    logger = logging.getLogger("nitro_dispatch")
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.DEBUG)
    try:
        registry.enable_hook_tracing(True)
        registry.add_tracer(raising(ValueError("tracer")))
        registry.register("event", fail, AsyncOwner("a"), before="b", **options)
        registry.register("event", fail_async, ToldOwner("b"), before="a", **options)
        registry.register("event", lambda data: data + 1)
        assert fire(registry, 0) == 1
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)


def test_a_failure_is_logged_once(
    registry: HookRegistry, fire: Fire, caplog: pytest.LogCaptureFixture
) -> None:
    """One failure is one line; under `fail_fast` it is raised instead."""
    registry.register("event", fail, ToldOwner())
    fire(registry, 1)
    registry.set_error_strategy("collect_all")
    fire(registry, 1)
    registry.set_error_strategy("fail_fast")
    with pytest.raises(HookError):
        fire(registry, 1)
    assert len(caplog.records) == 2


# -- nested strategies


def test_the_failure_of_a_nested_dispatch_is_the_outer_hooks(registry: HookRegistry) -> None:
    """Under `fail_fast` a HookError out of a nested dispatch fails the hook that fired it."""
    registry.set_error_strategy("fail_fast")
    registry.register("inner", fail, ToldOwner("inner"))
    registry.register("outer", lambda data: registry.trigger("inner"), ToldOwner("outer"))
    with pytest.raises(HookError) as raised:
        registry.trigger("outer")
    assert raised.value.plugin == "outer"
    cause = raised.value.__cause__
    assert isinstance(cause, HookError)
    assert cause.plugin == "inner"
    assert isinstance(cause.__cause__, ValueError)


def test_all_errors_of_the_library_are_of_three_kinds(registry: HookRegistry) -> None:
    """What a dispatch raises of itself is a NitroPluginError, ValueError or TypeError."""
    assert issubclass(HookError, NitroPluginError)
    assert issubclass(HookTimeoutError, HookError)
    for misuse in (
        lambda: registry.trigger(None),  # type: ignore[call-overload]
        lambda: registry.trigger([]),  # type: ignore[call-overload]
        lambda: registry.add_tracer(None),  # type: ignore[arg-type]
        lambda: registry.register("event", None),  # type: ignore[arg-type]
    ):
        with pytest.raises((NitroPluginError, ValueError, TypeError)):
            misuse()
