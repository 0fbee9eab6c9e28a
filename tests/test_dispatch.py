"""Firing events from sync code: `trigger`, `collect` and `first`."""

from __future__ import annotations

import asyncio
import contextvars
import functools
import logging
import threading
import types
from collections.abc import Generator
from typing import Any, Callable, Optional

import pytest

from firing import Owner, fail, stop
from nitro_dispatch import (
    Event,
    HookCall,
    HookError,
    HookRegistry,
    HookResult,
    PluginBase,
    PluginManager,
    StopPropagation,
    hook,
)


def given_back(answer: object, data: Any) -> object:
    """Answer what is bound."""
    return answer


# -- the way of the data


def test_the_data_flows_through_the_hooks(registry: HookRegistry) -> None:
    """Each hook is given what the one before returned, and the last result is returned."""
    registry.register("event", lambda data: [*data, "a"])
    registry.register("event", lambda data: [*data, "b"])
    assert registry.trigger("event", []) == ["a", "b"]


@pytest.mark.parametrize("result", [0, "", False, [], {}, 0.0, b""])
def test_a_falsy_result_replaces_the_data(registry: HookRegistry, result: object) -> None:
    """Any result but None replaces the data."""
    registry.register("event", lambda data: result)
    registry.register("event", lambda data: None)
    assert registry.trigger("event", "data") is result


def test_none_keeps_the_data(registry: HookRegistry) -> None:
    """A hook that returns None passes on what it was given, changed in place or not."""

    def change(data: dict[str, int]) -> None:
        data["changed"] = 1

    registry.register("event", lambda data: None)
    registry.register("event", change)
    data: dict[str, int] = {}
    assert registry.trigger("event", data) is data
    assert data == {"changed": 1}


def test_without_data_hooks_are_given_none(registry: HookRegistry) -> None:
    """An event fired without data gives its hooks None, and returns what they make of it."""
    seen: list[object] = []
    registry.register("event", seen.append)
    assert registry.trigger("event") is None
    assert seen == [None]
    registry.register("event", lambda data: "made")
    assert registry.trigger("event") == "made"


def test_without_hooks_the_data_is_returned(registry: HookRegistry) -> None:
    """An event that nobody listens to returns its data as it is."""
    data = object()
    assert registry.trigger("event", data) is data


def test_the_data_may_be_anything(registry: HookRegistry) -> None:
    """The library neither compares, formats, hashes nor measures the data."""

    class Hostile:
        def _raise(self, *arguments: object) -> Any:
            raise RuntimeError("touched")

        __eq__ = __hash__ = __bool__ = __len__ = __repr__ = __str__ = __format__ = _raise
        __iter__ = __getattr__ = _raise

    one, other = Hostile(), Hostile()
    registry.register("event", lambda data: None)
    registry.register("event", fail)
    registry.register("event", lambda data: other)
    assert registry.trigger("event", one) is other
    assert registry.collect("event", one)[0].value is other
    assert registry.first("event", one) is other


def test_data_with_every_attribute_is_no_awaitable(registry: HookRegistry) -> None:
    """Data that has whatever attribute is asked for is data, not something to be awaited."""

    class Anything:
        def __getattr__(self, name: str) -> Any:
            return self

    anything = Anything()
    registry.register("event", lambda data: anything)
    assert registry.trigger("event") is anything


def test_a_generator_is_data(registry: HookRegistry) -> None:
    """A plain generator is a result like any other."""
    registry.register("event", lambda data: (number for number in data))
    assert list(registry.trigger("event", [1, 2])) == [1, 2]


def test_the_manager_dispatches_as_its_registry_does() -> None:
    """A manager has all the ways of firing that a registry has."""
    manager = PluginManager()
    manager.register_hook("event", lambda data: data + 1)
    assert manager.trigger("event", 0) == 1
    assert manager.collect("event", 0) == [HookResult("anonymous", "<lambda>", 1)]
    assert manager.first("event", 0) == 1
    assert manager.trace("event", 0).result == 1


def test_a_subclass_may_override_the_dispatch() -> None:
    """A manager's subclass that overrides `trigger` is what its plugins fire events through."""

    class Loud(PluginManager):
        def trigger(self, event_name: str, data: Any = None) -> Any:
            return super().trigger(event_name, data).upper()

    class Plugin(PluginBase):
        @hook("outer")
        def act(self, data: str) -> Any:
            return self.trigger("inner", data)

    manager = Loud()
    manager.load(manager.register(Plugin))
    manager.register_hook("inner", lambda data: data + "b")
    plugin = manager.get_plugin("Plugin")
    assert plugin is not None
    assert plugin.trigger("inner", "a") == "AB"
    assert manager.trigger("outer", "a") == "AB"


def test_a_plugin_without_a_manager_fires_into_the_void() -> None:
    """A plugin that nobody loaded gets its data back."""
    plugin = PluginBase()
    assert plugin.trigger("event", 1) == 1
    assert asyncio.run(plugin.trigger_async("event", 1)) == 1


# -- stopping


def test_stopping_ends_the_chain_and_keeps_the_data(registry: HookRegistry) -> None:
    """`StopPropagation` keeps what the hooks before it made, and what it changed in place."""

    def change_and_stop(data: list[str]) -> None:
        data.append("b")
        raise StopPropagation

    registry.register("event", lambda data: [*data, "a"])
    registry.register("event", change_and_stop)
    registry.register("event", lambda data: [*data, "never"])
    assert registry.trigger("event", []) == ["a", "b"]


def test_stopping_is_no_failure(registry: HookRegistry, caplog: pytest.LogCaptureFixture) -> None:
    """`StopPropagation` and its subclasses are neither logged nor collected nor raised."""

    class Vetoed(StopPropagation):
        pass

    def veto(data: object) -> None:
        raise Vetoed("no")

    registry.register("event", veto)
    for strategy in ("log_and_continue", "fail_fast", "collect_all"):
        registry.set_error_strategy(strategy)
        assert registry.trigger("event", 1) == 1
        assert registry.get_last_errors() == []
    assert caplog.records == []


def test_stopping_ends_the_innermost_dispatch_only(registry: HookRegistry) -> None:
    """`StopPropagation` out of a nested dispatch's hook does not stop the outer one."""
    registry.register("inner", stop)
    registry.register("outer", lambda data: registry.trigger("inner", data) + "a")
    registry.register("outer", lambda data: data + "b")
    assert registry.trigger("outer", "") == "ab"


@pytest.mark.parametrize("strategy", ["log_and_continue", "fail_fast", "collect_all"])
def test_stopping_keeps_the_data_under_every_strategy(
    registry: HookRegistry, strategy: str
) -> None:
    """Each strategy keeps the data that the hooks before the stop made."""
    registry.set_error_strategy(strategy)
    registry.register("event", lambda data: data + 1)
    registry.register("event", stop, timeout=5)
    registry.register("event", lambda data: data + 10)
    assert registry.trigger("event", 0) == 1
    assert registry.trace("event", 0).result == 1


# -- hooks that are async


async def coroutine_function(data: Any) -> str:
    """Return what must not become the data."""
    return "awaited"


class CallableObject:
    """Returns an awaitable although it is no async function."""

    def __call__(self, data: Any) -> Any:
        return coroutine_function(data)


class Awaitable:
    """An awaitable of a class of its own, which cannot be closed."""

    def __await__(self) -> Generator[Any, Any, str]:
        yield
        return "awaited"


class BadAwaitable(Awaitable):
    """An awaitable whose `close` raises."""

    @property
    def close(self) -> object:
        raise RuntimeError("close")


@types.coroutine
def generator_coroutine(data: Any) -> Generator[Any, Any, str]:
    """Return what must not become the data, in the old way."""
    yield
    return "awaited"


ASYNC_HOOKS: dict[str, Callable[..., Any]] = {
    "async def": coroutine_function,
    "partial": functools.partial(coroutine_function),
    "lambda": lambda data: coroutine_function(data),
    "partial of a lambda": functools.partial(lambda data: coroutine_function(data)),
    "callable object": CallableObject(),
    "partial of an object": functools.partial(CallableObject()),
    "awaitable": lambda data: Awaitable(),
    "awaitable that cannot be closed": lambda data: BadAwaitable(),
    "generator-based": generator_coroutine,
    "class": lambda data: type("Local", (Awaitable,), {})(),
}


@pytest.fixture(params=list(ASYNC_HOOKS.values()), ids=list(ASYNC_HOOKS))
def async_hook(request: pytest.FixtureRequest) -> Any:
    """Give a hook of one async kind after another."""
    return request.param


@pytest.mark.parametrize("strategy", ["log_and_continue", "fail_fast", "collect_all"])
@pytest.mark.parametrize("timeout", [None, 5])
def test_a_sync_dispatch_skips_async_hooks(
    registry: HookRegistry,
    async_hook: Any,
    timeout: Any,
    strategy: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """`trigger` never makes an awaitable the data; it closes it with one warning a hook."""
    registry.set_error_strategy(strategy)
    registry.register("event", lambda data: data + "a")
    registry.register("event", async_hook, Owner("asy\nnc"), timeout=timeout)
    registry.register("event", lambda data: data + "b")
    for _ in range(3):
        assert registry.trigger("event", "") == "ab"
    (line,) = caplog.records
    assert line.levelno == logging.WARNING
    assert "trigger_async" in line.getMessage()
    assert r"asy\nnc" in line.getMessage()


def test_the_warning_comes_once_for_each_hook(
    registry: HookRegistry, async_hook: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """A hook is warned of once, whichever way it is reached; another one by itself."""
    registry.register("*", async_hook, Owner("one"))
    registry.register("event", async_hook, Owner("two"))
    for _ in range(2):
        registry.trigger("event")
        registry.trigger("other")
        registry.collect("event")
        registry.first("event")
        registry.trace("event")
        registry.set_error_strategy("collect_all")
    assert sorted(line.getMessage().count("two") for line in caplog.records) == [0, 1]


def test_each_result_is_looked_at_where_its_type_may_have_to_be_awaited(
    registry: HookRegistry, async_hook: Any
) -> None:
    """A plain result before an awaitable, of the same type if there is one, changes nothing."""
    registry.register("event", lambda data: [*data, "a"])
    registry.register("event", lambda data: (each for each in data))
    registry.register("event", async_hook)
    registry.register("event", lambda data: {"b": list(data)})
    registry.register("event", async_hook)
    assert registry.trigger("event", []) == {"b": ["a"]}


def test_a_future_is_cancelled(registry: HookRegistry) -> None:
    """A task that a sync hook returns to `trigger` is cancelled."""

    async def main() -> bool:
        task = asyncio.ensure_future(asyncio.Event().wait())
        registry.register("event", lambda data: task)
        assert registry.trigger("event", 1) == 1
        await asyncio.wait([task])
        return task.cancelled()

    assert asyncio.run(main())


def test_awaitable_data_is_passed_through(registry: HookRegistry) -> None:
    """Data that can be awaited is the caller's own, and comes back as it was given."""
    given = Awaitable()
    registry.register("event", lambda data: data)
    registry.register("event", lambda data: None)
    assert registry.trigger("event", given) is given
    registry.set_error_strategy("collect_all")
    assert registry.trigger("event", given) is given


def test_a_hook_may_say_that_it_is_async(
    registry: HookRegistry, caplog: pytest.LogCaptureFixture
) -> None:
    """A hook with `async_hook=True` is not called by `trigger`, whatever it would return."""

    class Plugin(PluginBase):
        @hook("event", async_hook=True)
        def act(self, data: Any) -> str:
            return "called"

    manager = PluginManager()
    manager.load(manager.register(Plugin))
    assert manager.trigger("event", "data") == "data"
    assert len(caplog.records) == 1


# -- context


variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="unset")


@pytest.mark.parametrize("timeout", [None, 5])
def test_context_variables_reach_hooks(registry: HookRegistry, timeout: Any) -> None:
    """A hook sees the context variables of who fires the event, with a time limit too."""
    registry.register("event", lambda data: variable.get(), timeout=timeout)
    token = variable.set("set")
    try:
        assert registry.trigger("event") == "set"
        assert registry.first("event") == "set"
        assert registry.collect("event")[0].value == "set"
        assert registry.trace("event").result == "set"
    finally:
        variable.reset(token)


def test_hooks_run_in_the_callers_thread(registry: HookRegistry) -> None:
    """A sync dispatch runs its hooks, those without a time limit, in the thread that fires."""
    registry.register("event", lambda data: threading.get_ident())
    assert registry.trigger("event") == threading.get_ident()


def test_a_sync_dispatch_works_inside_a_loop(registry: HookRegistry) -> None:
    """`trigger` may be called by async code."""
    registry.register("event", lambda data: data + 1)

    async def main() -> Any:
        return registry.trigger("event", 0)

    assert asyncio.run(main()) == 1


# -- collect and first


def test_collect_gives_every_hook_the_same_data(registry: HookRegistry) -> None:
    """`collect` lists each answer with its plugin and hook, in the order of the hooks."""

    def double(data: int) -> int:
        return data * 2

    registry.register("event", double, Owner("low"), 1)
    registry.register("event", lambda data: data + 1, priority=99)
    answers = registry.collect("event", 5)
    assert answers == [HookResult("anonymous", "<lambda>", 6), HookResult("low", "double", 10)]
    assert answers[1].plugin == "low"
    assert answers[1].hook == "double"
    assert answers[1].value == 10


def test_collect_leaves_out_none_and_failures_only(registry: HookRegistry) -> None:
    """Of the answers only None and failures are missing, falsy ones are not."""
    answers: list[object] = [0, None, "", False, []]
    for answer in answers:
        registry.register("event", functools.partial(given_back, answer))
        registry.register("event", fail)
    assert [answer.value for answer in registry.collect("event")] == [0, "", False, []]


def test_collect_without_hooks_is_empty(registry: HookRegistry) -> None:
    """`collect` of an event that nobody listens to is an empty list."""
    assert registry.collect("event", 1) == []


def test_collect_stops_where_a_hook_stops(registry: HookRegistry) -> None:
    """`StopPropagation` keeps the answers that `collect` has so far."""
    registry.register("event", lambda data: 1)
    registry.register("event", stop)
    registry.register("event", lambda data: 3)
    assert [answer.value for answer in registry.collect("event")] == [1]


def test_collect_never_answers_with_an_awaitable(registry: HookRegistry, async_hook: Any) -> None:
    """An awaitable is no answer: it is closed."""
    registry.register("event", async_hook)
    registry.register("event", lambda data: 2)
    assert [answer.value for answer in registry.collect("event")] == [2]
    assert registry.first("event") == 2


def test_collect_obeys_the_strategy(registry: HookRegistry) -> None:
    """A failure in `collect` is logged, collected, or raised as HookError."""
    registry.register("event", lambda data: 1)
    registry.register("event", fail, Owner("bad"))
    registry.set_error_strategy("collect_all")
    assert len(registry.collect("event")) == 1
    assert [error["plugin"] for error in registry.get_last_errors()] == ["bad"]
    registry.set_error_strategy("fail_fast")
    with pytest.raises(HookError, match="bad"):
        registry.collect("event")


def test_first_asks_no_further(registry: HookRegistry) -> None:
    """`first` returns the first answer that is not None, and asks nobody after that."""
    asked: list[str] = []
    registry.register("event", lambda data: asked.append("a"))
    registry.register("event", lambda data: 0)
    registry.register("event", lambda data: asked.append("c"))
    assert registry.first("event") == 0
    assert asked == ["a"]


def test_first_goes_on_after_a_failure(registry: HookRegistry) -> None:
    """`first` isolates a failure and asks the next; where nobody answers it returns None."""
    registry.register("event", fail, Owner("bad"))
    assert registry.first("event", "data") is None
    registry.register("event", lambda data: "answer")
    assert registry.first("event") == "answer"
    registry.set_error_strategy("collect_all")
    assert registry.first("event") == "answer"
    assert [error["plugin"] for error in registry.get_last_errors()] == ["bad"]
    registry.set_error_strategy("fail_fast")
    with pytest.raises(HookError, match="bad"):
        registry.first("event")


def test_first_stops_where_a_hook_stops(registry: HookRegistry) -> None:
    """`StopPropagation` before any answer makes `first` return None."""
    registry.register("event", stop)
    registry.register("event", lambda data: "never")
    assert registry.first("event") is None


# -- nesting


def test_hooks_may_fire_events(registry: HookRegistry) -> None:
    """A hook may fire other events, and its own again, with its own data."""
    registry.register("down", lambda data: registry.trigger("down", data - 1) if data else "end")
    assert registry.trigger("down", 20) == "end"


def test_events_may_be_typed() -> None:
    """A typed event says by its payload what `trigger` takes and returns."""
    priced = Event("priced", payload=int)
    registry = HookRegistry()
    registry.register(priced, lambda cents: cents + 19)
    price: int = registry.trigger(priced, 100)
    assert price == 119


@pytest.mark.parametrize("traced", [False, True])
@pytest.mark.parametrize("timeout", [None, 5.0])
def test_data_that_could_be_awaited_is_passed_on_as_it_is(
    registry: HookRegistry, traced: bool, timeout: Optional[float]
) -> None:
    """A future that the caller fires an event with is neither awaited nor cancelled."""

    async def main() -> None:
        future = asyncio.get_running_loop().create_future()
        registry.register("event", lambda data: data, timeout=timeout)
        if traced:
            registry.add_tracer(lambda call: None)
        assert registry.trigger("event", future) is future
        assert await registry.trigger_async("event", future) is future
        assert [answer.value for answer in registry.collect("event", future)] == [future]
        answers = await registry.collect_async("event", future)
        assert [answer.value for answer in answers] == [future]
        assert registry.first("event", future) is future
        assert not future.cancelled()

    asyncio.run(main())


def test_system_exit_out_of_what_is_only_asked_for_a_name_is_isolated(
    registry: HookRegistry,
) -> None:
    """An owner's name, an exception's text or a tracer that exits stops nobody."""

    class Exiting(Exception):
        def __str__(self) -> str:
            raise SystemExit(1)

    class Owner:
        enabled = True

        @property
        def name(self) -> str:
            raise SystemExit(2)

        def fail(self, data: Any) -> Any:
            raise Exiting

    def exit_too(call: HookCall) -> None:
        raise SystemExit(3)

    owner = Owner()
    registry.register("event", owner.fail, owner)
    registry.register("event", lambda data: data + 1)
    registry.add_tracer(exit_too)
    assert registry.trigger("event", 1) == 2
