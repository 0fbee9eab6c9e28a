"""Who did what: tracers, the trace of a dispatch, and the log of the calls."""

from __future__ import annotations

import asyncio
import collections
import contextvars
import dataclasses
import logging
import threading
import time
from typing import Any, Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from firing import Owner, add_one, fail, fail_async, stop
from loops import run
from nitro_dispatch import (
    Change,
    HookCall,
    HookError,
    HookRegistry,
    HookTimeoutError,
    PluginBase,
    PluginManager,
    StopPropagation,
    Trace,
    TraceStep,
    hook,
)
from nitro_dispatch.tracing import changes_between


async def add_one_async(data: int) -> int:
    """Count a call, asynchronously."""
    await asyncio.sleep(0)
    return data + 1


async def wait_for_ever() -> None:
    """Never come back."""
    await asyncio.Event().wait()


# -- tracers


def test_a_tracer_is_told_of_each_call(registry: HookRegistry) -> None:
    """A tracer is given one frozen record for each call, in the order of the calls."""
    calls: list[HookCall] = []
    registry.add_tracer(calls.append)
    registry.register("user.*", add_one, Owner("cache"))
    registry.register("user.login", fail)
    before = time.time()
    registry.trigger("user.login", 0)
    first, second = calls
    assert (first.event, first.plugin, first.hook) == ("user.login", "cache", "add_one")
    assert (first.outcome, first.error) == ("returned", None)
    assert before - 1 <= first.started <= time.time() + 1
    assert 0 <= first.seconds < 20
    assert (second.plugin, second.hook, second.outcome) == ("anonymous", "fail", "failed")
    assert isinstance(second.error, ValueError)
    with pytest.raises(dataclasses.FrozenInstanceError):
        first.event = "other"  # type: ignore[misc]


OUTCOMES: dict[str, tuple[Callable[..., Any], dict[str, Any], str]] = {
    "a result": (lambda data: 0, {}, "returned"),
    "none": (lambda data: None, {}, "passed"),
    "a stop": (stop, {}, "stopped"),
    "a failure": (fail, {}, "failed"),
    "an exit": (lambda data: exec("raise SystemExit"), {}, "failed"),
    "a time limit": (lambda data: threading.Event().wait(1), {"timeout": 0.01}, "timed out"),
    "in time": (lambda data: 0, {"timeout": 20}, "returned"),
    "a failure in time": (fail, {"timeout": 20}, "failed"),
}
ASYNC_OUTCOMES: dict[str, tuple[Callable[..., Any], dict[str, Any], str]] = {
    "async": (add_one_async, {}, "returned"),
    "async failure": (fail_async, {}, "failed"),
    "async in time": (add_one_async, {"timeout": 20}, "returned"),
    "lambda": (lambda data: add_one_async(data), {}, "returned"),
    "lambda failure": (lambda data: fail_async(data), {}, "failed"),
    "lambda in time": (lambda data: add_one_async(data), {"timeout": 20}, "returned"),
    "async time limit": (lambda data: wait_for_ever(), {"timeout": 0.01}, "timed out"),
}


@pytest.mark.parametrize(
    ("callback", "options", "outcome"), list(OUTCOMES.values()), ids=list(OUTCOMES)
)
@pytest.mark.parametrize("method", ["trigger", "collect", "first", "trace"])
def test_outcomes_of_sync_dispatches(
    registry: HookRegistry,
    callback: Callable[..., Any],
    options: dict[str, Any],
    outcome: str,
    method: str,
) -> None:
    """Whatever becomes of a call, a tracer is told of it once, in every sync dispatch."""
    calls: list[HookCall] = []
    registry.add_tracer(calls.append)
    registry.register("event", callback, **options)
    getattr(registry, method)("event", 0)
    assert [call.outcome for call in calls] == [outcome]
    assert (calls[0].error is None) is (outcome in ("returned", "passed"))


@pytest.mark.parametrize(
    ("callback", "options", "outcome"),
    [*OUTCOMES.values(), *ASYNC_OUTCOMES.values()],
    ids=[*OUTCOMES, *ASYNC_OUTCOMES],
)
@pytest.mark.parametrize("method", ["trigger_async", "collect_async"])
@pytest.mark.parametrize("blocking", [True, False])
def test_outcomes_of_async_dispatches(
    registry: HookRegistry,
    callback: Callable[..., Any],
    options: dict[str, Any],
    outcome: str,
    method: str,
    blocking: bool,
) -> None:
    """A call that has to be awaited has ended when the awaitable has, and is told of once."""
    calls: list[HookCall] = []
    registry.add_tracer(calls.append)
    registry.register("event", callback, **options, blocking=blocking)
    run(getattr(registry, method)("event", 0))
    assert [call.outcome for call in calls] == [outcome]


@pytest.mark.parametrize("error", [KeyboardInterrupt, asyncio.CancelledError, GeneratorExit])
def test_an_interrupted_call_is_told_of_too(
    registry: HookRegistry, error: type[BaseException]
) -> None:
    """A call that an interruption ends has the outcome "interrupted"."""
    calls: list[HookCall] = []

    def interrupt(data: object) -> None:
        raise error

    registry.add_tracer(calls.append)
    registry.register("event", interrupt)
    with pytest.raises(error):
        registry.trigger("event")
    assert [call.outcome for call in calls] == ["interrupted"]


def test_a_call_whose_awaitable_is_refused_is_skipped(registry: HookRegistry) -> None:
    """A call that gives `trigger` something to await has the outcome "skipped"."""
    calls: list[HookCall] = []
    registry.add_tracer(calls.append)
    registry.register("event", lambda data: add_one_async(data))
    registry.register("event", lambda data: add_one_async(data), timeout=20)
    registry.register("event", add_one_async)
    assert registry.trigger("event", 0) == 0
    assert [call.outcome for call in calls] == ["skipped"] * 2
    assert [step.outcome for step in registry.trace("event", 0).steps] == ["skipped"] * 2


def test_the_time_of_a_call_includes_what_is_awaited(registry: HookRegistry) -> None:
    """A call that is awaited takes as long as the awaitable does."""
    calls: list[HookCall] = []
    registry.add_tracer(calls.append)
    registry.register("event", lambda data: asyncio.sleep(0.03))
    run(registry.trigger_async("event"))
    assert calls[0].seconds >= 0.02


def test_hooks_that_are_not_called_are_not_told_of(registry: HookRegistry) -> None:
    """A tracer does not hear of hooks that are disabled, gone, or behind a stop."""
    calls: list[HookCall] = []
    any_owner: Any = Owner()
    any_owner.enabled = False
    registry.add_tracer(calls.append)
    registry.register("event", add_one, any_owner)
    registry.register("event", add_one_async, any_owner)
    registry.register("event", add_one, PluginBase())
    registry.register("event", stop)
    registry.register("event", add_one)
    registry.trigger("event", 0)
    run(registry.trigger_async("event", 0))
    assert [step.hook for step in registry.trace("event", 0).steps] == ["stop"]
    assert [call.hook for call in calls] == ["stop"] * 3


def test_adding_a_tracer_returns_what_takes_it_out(registry: HookRegistry) -> None:
    """Each tracer is taken out by what `add_tracer` returned for it, once or more often."""
    calls: list[HookCall] = []
    registry.register("event", add_one)
    remove_first = registry.add_tracer(calls.append)
    remove_second = registry.add_tracer(calls.append)
    registry.trigger("event", 0)
    assert len(calls) == 2
    remove_first()
    remove_first()
    registry.trigger("event", 0)
    assert len(calls) == 3
    remove_second()
    registry.trigger("event", 0)
    assert len(calls) == 3


def test_threads_add_and_take_out_tracers_at_once(registry: HookRegistry) -> None:
    """No tracer is lost where several threads add and take out their own."""
    calls: list[str] = []
    registry.register("event", add_one)

    def change(name: str) -> None:
        for _ in range(100):
            registry.add_tracer(lambda call: None)()
        registry.add_tracer(lambda call: calls.append(name))

    threads = [threading.Thread(target=change, args=(name,)) for name in "abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    registry.trigger("event", 0)
    assert sorted(calls) == list("abcd")


@pytest.mark.parametrize("tracer", [None, 5, "text"])
def test_a_tracer_must_be_callable(registry: HookRegistry, tracer: Any) -> None:
    """What cannot be called is a TypeError."""
    with pytest.raises(TypeError, match="callable"):
        registry.add_tracer(tracer)


def test_a_tracer_that_fails_is_logged(
    registry: HookRegistry, caplog: pytest.LogCaptureFixture
) -> None:
    """A tracer that fails disturbs neither the dispatch nor the other tracers."""

    class Bad:
        def __repr__(self) -> str:
            raise RuntimeError("repr")

        def __call__(self, call: HookCall) -> None:
            raise ValueError("the tracer is broken")

    calls: list[HookCall] = []
    registry.add_tracer(Bad())
    registry.add_tracer(calls.append)
    registry.set_error_strategy("fail_fast")
    registry.register("event", add_one)
    assert registry.trigger("event", 0) == 1
    assert len(calls) == 1
    assert "the tracer is broken" in caplog.text


def test_a_tracer_may_fire_events(registry: HookRegistry) -> None:
    """A tracer may use the registry that it observes."""
    calls: list[str] = []

    def trace(call: HookCall) -> None:
        calls.append(call.event)
        if call.event == "event":
            registry.trigger("traced", 0)

    registry.add_tracer(trace)
    registry.register("event", add_one)
    registry.register("traced", add_one)
    assert registry.trigger("event", 0) == 1
    assert calls == ["event", "traced"]


def test_a_tracer_hears_in_the_thread_and_context_of_the_hook(registry: HookRegistry) -> None:
    """A tracer is told in the hook's thread, and sees the caller's context variables."""
    variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable")
    seen: list[tuple[str, int]] = []
    threads: list[int] = []

    async def main() -> None:
        variable.set("set")
        await registry.trigger_async("event")

    registry.add_tracer(lambda call: seen.append((variable.get(), threading.get_ident())))
    registry.register("event", lambda data: threads.append(threading.get_ident()))
    run(main())
    assert seen == [("set", threads[0])]


def test_a_manager_has_the_tracers_of_its_plugins() -> None:
    """What a plugin fires is told to the tracers of its manager."""

    class Plugin(PluginBase):
        name = "plugin"

        @hook("outer")
        def outer(self, data: int) -> Any:
            return self.trigger("inner", data)

        @hook("inner")
        def inner(self, data: int) -> int:
            return data + 1

    manager = PluginManager()
    calls: list[HookCall] = []
    manager.add_tracer(calls.append)
    manager.load(manager.register(Plugin))
    assert manager.trigger("outer", 0) == 1
    assert [(call.plugin, call.hook) for call in calls] == [
        ("plugin", "inner"),
        ("plugin", "outer"),
    ]


# -- the log


def test_hook_tracing_logs_each_call(
    registry: HookRegistry, caplog: pytest.LogCaptureFixture
) -> None:
    """`enable_hook_tracing` logs each call at DEBUG, with its names, outcome and time."""
    caplog.set_level(logging.DEBUG)
    registry.enable_hook_tracing(True)
    registry.register("event", add_one, Owner("cache"))
    registry.trigger("event", 0)
    (line,) = caplog.records
    assert line.levelno == logging.DEBUG
    for part in ("event event", "hook add_one", "plugin cache", "returned", "ms"):
        assert part in line.getMessage()


def test_hook_tracing_is_switched(registry: HookRegistry, caplog: pytest.LogCaptureFixture) -> None:
    """Enabling twice logs once, disabling ends it, and the other tracers stay."""
    caplog.set_level(logging.DEBUG)
    calls: list[HookCall] = []
    registry.add_tracer(calls.append)
    registry.register("event", add_one)
    registry.enable_hook_tracing()
    registry.enable_hook_tracing(True)
    registry.trigger("event", 0)
    assert len(caplog.records) == 1
    registry.enable_hook_tracing(False)
    registry.enable_hook_tracing(False)
    registry.trigger("event", 0)
    assert len(caplog.records) == 1
    assert len(calls) == 2


def test_hook_tracing_escapes_names(
    registry: HookRegistry, caplog: pytest.LogCaptureFixture
) -> None:
    """No name can forge a line of the trace."""
    caplog.set_level(logging.DEBUG)
    registry.enable_hook_tracing()
    registry.register("a\nb", add_one, Owner("c\rd"))
    registry.trigger("a\nb", 0)
    assert r"event a\nb: hook add_one of plugin c\rd" in caplog.records[0].getMessage()


# -- the trace of a dispatch


def test_a_trace_tells_who_changed_what(registry: HookRegistry) -> None:
    """`trace` dispatches once, and tells the paths that each hook changed, before and after."""

    def rename(data: dict[str, Any]) -> None:
        data["user"]["name"] = "Ada"
        data["tags"].append("new")

    def replace(data: dict[str, Any]) -> dict[str, Any]:
        return {"user": {"name": "Eve"}, "count": 1}

    registry.register("event", rename, Owner("renamer"))
    registry.register("event", lambda data: None)
    registry.register("event", replace)
    trace = registry.trace("event", {"user": {"name": "Bob"}, "tags": ["old"]})
    assert isinstance(trace, Trace)
    assert trace.result == {"user": {"name": "Eve"}, "count": 1}
    first, second, third = trace.steps
    assert isinstance(first, TraceStep)
    assert isinstance(first, HookCall)
    assert (first.plugin, first.hook, first.outcome) == ("renamer", "rename", "passed")
    assert first.changes == (
        Change("user.name", "Bob", "Ada"),
        Change("tags[1]", "<missing>", "new"),
    )
    assert second.changes == ()
    assert third.changes == (
        Change("user.name", "Ada", "Eve"),
        Change("tags", ["old", "new"], "<missing>"),
        Change("count", "<missing>", 1),
    )


def test_a_trace_calls_each_hook_once(registry: HookRegistry) -> None:
    """Tracing a dispatch has the effects of one dispatch, and gives its very data."""
    calls: list[object] = []
    data = {"a": [1]}
    registry.register("event", calls.append)
    assert registry.trace("event", data).result is data
    assert calls == [data]
    assert calls[0] is data
    registry.clear_all()
    assert registry.trace("event", data) == Trace(data, ())


def test_a_trace_keeps_copies(registry: HookRegistry) -> None:
    """What a later hook changes in place is not changed in the steps before."""

    def add(data: dict[str, list[int]]) -> None:
        data.setdefault("numbers", []).append(1)

    registry.register("event", add)
    registry.register("event", add)
    first, second = registry.trace("event", {}).steps
    assert first.changes == (Change("numbers", "<missing>", [1]),)
    assert second.changes == (Change("numbers[1]", "<missing>", 1),)


def test_a_trace_shows_what_a_failed_hook_changed(registry: HookRegistry) -> None:
    """A hook that fails or stops has changed in place what it has changed."""

    def change_and_fail(data: list[int]) -> None:
        data.append(1)
        raise ValueError("failed")

    def change_and_stop(data: list[int]) -> None:
        data.append(2)
        raise StopPropagation

    registry.register("event", change_and_fail)
    registry.register("event", change_and_stop)
    registry.register("event", lambda data: [])
    trace = registry.trace("event", [])
    assert trace.result == [1, 2]
    assert [step.outcome for step in trace.steps] == ["failed", "stopped"]
    assert [step.changes for step in trace.steps] == [
        (Change("[0]", "<missing>", 1),),
        (Change("[1]", "<missing>", 2),),
    ]


def test_a_trace_obeys_the_strategy(registry: HookRegistry) -> None:
    """Under `fail_fast` a trace raises, under `collect_all` it collects."""
    registry.register("event", fail)
    registry.set_error_strategy("collect_all")
    registry.trace("event")
    assert len(registry.get_last_errors()) == 1
    registry.set_error_strategy("fail_fast")
    with pytest.raises(HookError):
        registry.trace("event")


def test_a_trace_is_its_own(registry: HookRegistry) -> None:
    """Traces leave nothing behind, and tracers hear of a traced dispatch as of any other."""
    calls: list[HookCall] = []
    registry.add_tracer(calls.append)
    registry.register("event", add_one)
    for _ in range(2):
        assert len(registry.trace("event", 0).steps) == 1
    registry.trigger("event", 0)
    assert len(calls) == 3


def test_a_trace_includes_hooks_with_a_time_limit(registry: HookRegistry) -> None:
    """A step of a hook that took too long says so."""
    registry.register("event", lambda data: threading.Event().wait(1), timeout=0.01)
    registry.register("event", add_one, timeout=20)
    trace = registry.trace("event", 0)
    assert [step.outcome for step in trace.steps] == ["timed out", "returned"]
    assert isinstance(trace.steps[0].error, HookTimeoutError)
    assert trace.steps[1].changes == (Change("", 0, 1),)


def test_nested_dispatches_are_no_steps(registry: HookRegistry) -> None:
    """A trace has the steps of its own dispatch only."""
    registry.register("inner", add_one)
    registry.register("outer", lambda data: registry.trigger("inner", data))
    assert [step.event for step in registry.trace("outer", 0).steps] == ["outer"]


# -- data of any kind


def test_data_that_cannot_be_copied_has_no_changes(registry: HookRegistry) -> None:
    """Where the data cannot be copied the changes are None, and the dispatch is as ever."""

    class Uncopyable:
        def __deepcopy__(self, memo: object) -> object:
            raise RuntimeError("copied")

    registry.register("event", lambda data: {"lock": threading.Lock()})
    registry.register("event", lambda data: Uncopyable())
    registry.register("event", add_one)
    trace = registry.trace("event", 0)
    assert isinstance(trace.result, Uncopyable)
    assert [step.changes for step in trace.steps] == [None] * 3


def test_data_that_cannot_be_compared_is_survived(registry: HookRegistry) -> None:
    """Data whose comparison, keys or length raise does not make a step disappear."""

    class Hostile:
        def __eq__(self, other: object) -> bool:
            raise RuntimeError("eq")

        __hash__ = None  # type: ignore[assignment]

    class HostileMapping(collections.UserDict):  # type: ignore[type-arg]
        def __iter__(self) -> Any:
            raise RuntimeError("iter")

    class HostileKey:
        def __repr__(self) -> str:
            raise RuntimeError("repr")

    registry.register("event", lambda data: Hostile())
    registry.register("event", lambda data: None)
    registry.register("event", lambda data: HostileMapping())
    registry.register("event", lambda data: None)
    registry.register("event", lambda data: {HostileKey(): 1})
    registry.register("event", lambda data: {HostileKey(): 2})
    assert len(registry.trace("event", 0).steps) == 6


def test_circles_end(registry: HookRegistry) -> None:
    """Data that contains itself is compared once around."""
    data: dict[str, Any] = {"name": "a", "list": []}
    data["self"] = data
    data["list"].append(data)

    def rename(data: dict[str, Any]) -> None:
        data["name"] = "b"

    registry.register("event", rename)
    assert registry.trace("event", data).steps[0].changes == (Change("name", "a", "b"),)


def test_deep_data_is_survived(registry: HookRegistry) -> None:
    """Data deeper than the stack does not break a trace."""
    deep: list[Any] = []
    for _ in range(100_000):
        deep = [deep]
    registry.register("event", lambda data: None)
    (step,) = registry.trace("event", deep).steps
    assert step.changes is None
    # Freed from the inside out, as the interpreter itself would run out of stack.
    while deep:
        deep = deep.pop()


class Plain:
    """An object with attributes, compared by identity."""


class Slots:
    """An object without a `__dict__`, compared by identity."""

    __slots__ = ("value",)

    def __init__(self, value: object) -> None:
        self.value = value


@dataclasses.dataclass
class Record:
    """A dataclass."""

    name: str
    tags: list[str]


def test_objects_that_did_not_change_are_not_reported(registry: HookRegistry) -> None:
    """Objects that only their identity tells apart are no change where nothing changed."""
    given_object = Plain()
    vars(given_object)["inner"] = Plain()
    data = {
        "object": object(),
        "plain": given_object,
        "slots": Slots(Slots(1)),
        "error": ValueError("x", Plain()),
        "record": Record("a", ["b"]),
        "class": Plain,
        "function": add_one,
        "set": {1, 2},
        "none": None,
    }
    registry.register("event", lambda data: None)
    assert registry.trace("event", data).steps[0].changes == ()


def test_attributes_and_fields_are_paths(registry: HookRegistry) -> None:
    """Attributes, fields, items and keys of any kind have a path."""
    plain = Plain()
    data = {"record": Record("a", ["b"]), 5: {"x.y": 1}, "plain": plain, "slots": Slots(1)}

    def change(data: Any) -> None:
        data["record"].tags[0] = "c"
        data[5]["x.y"] = 2
        data["plain"].added = True
        data["slots"].value = 2
        data[("t",)] = None

    registry.register("event", change)
    changes = registry.trace("event", data).steps[0].changes
    assert changes is not None
    assert [change.path for change in changes] == [
        "record.tags[0]",
        "[5].x.y",
        "plain.added",
        "slots",
        "[('t',)]",
    ]


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (1, True),
        (1, 1.0),
        ([1], (1,)),
        ("a", b"a"),
        (None, False),
        ({}, []),
        (ValueError, KeyError),
    ],
)
def test_another_type_is_a_change(before: object, after: object) -> None:
    """A value replaced by one of another type is a change, equal or not."""
    assert list(changes_between(before, after)) == [Change("", before, after)]
    assert [c.path for c in changes_between({"a": before}, {"a": after})] == ["a"]


def test_keys_that_look_alike_are_told_apart() -> None:
    """A text key is not mistaken for a number in brackets."""
    changes = list(changes_between({"[0]": 1, 0: 2}, {"[0]": 1, 0: 3}))
    assert changes == [Change("[0]", 2, 3)]


trees = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=2), inner),
    max_leaves=8,
)


@given(trees, trees)
def test_changes_are_found_exactly_where_trees_differ(before: Any, after: Any) -> None:
    """There are changes if and only if the data differs, and each says what is there."""
    changes = list(changes_between(before, after))
    assert bool(changes) is (repr(before) != repr(after) and not alike(before, after))
    for change in changes:
        assert repr(change.before) != repr(change.after)


def alike(one: Any, other: Any) -> bool:
    """Compare two trees, whose dicts may be in any order, by value and type."""
    if type(one) is not type(other):
        return False
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(alike(one[key], other[key]) for key in one)
    if isinstance(one, list):
        return len(one) == len(other) and all(map(alike, one, other))
    return bool(one == other)
