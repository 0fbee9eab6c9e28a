"""Atomic hooks: a hook that fails, or comes too late, has changed nothing."""

from __future__ import annotations

import asyncio
import copy
import gc
import itertools
import logging
import textwrap
import threading
from collections.abc import Awaitable
from pathlib import Path
from typing import Any, Callable, Optional

import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from concurrency import PATIENCE, Gate
from firing import FIRE, Fire
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

SOON = 0.05
STRATEGIES = ["log_and_continue", "collect_all", "fail_fast"]

Work = Callable[[Any], Any]


def asynchronous(work: Work) -> Callable[[Any], Awaitable[Any]]:
    """Make an `async def` that suspends before it works, and after."""

    async def hook(data: Any) -> Any:
        await asyncio.sleep(0)
        result = work(data)
        await asyncio.sleep(0)
        return result

    return hook


def returning_awaitable(work: Work) -> Work:
    """Make a plain function that returns a coroutine."""
    hook = asynchronous(work)
    return lambda data: hook(data)


async def in_the_loop(work: Work, data: Any) -> Any:
    """Work in the event loop."""
    return work(data)


# The kinds of hooks, how each is made of what it is to do, and with which options.
SYNC: dict[str, tuple[Callable[[Work], Any], dict[str, Any]]] = {
    "plain": (lambda work: work, {}),
    "timed": (lambda work: work, {"timeout": PATIENCE}),
    "inline": (lambda work: work, {"blocking": False}),
}
ASYNC: dict[str, tuple[Callable[[Work], Any], dict[str, Any]]] = {
    "async": (asynchronous, {}),
    "async timed": (asynchronous, {"timeout": PATIENCE}),
    "lambda": (returning_awaitable, {}),
    "lambda timed": (returning_awaitable, {"timeout": PATIENCE}),
    "lambda inline": (returning_awaitable, {"blocking": False}),
}
KINDS = {**SYNC, **ASYNC}

ASK: dict[str, Fire] = {
    "collect": lambda registry, data: [each.value for each in registry.collect("event", data)],
    "first": lambda registry, data: [registry.first("event", data)],
    "collect_async": lambda registry, data: [
        each.value for each in run(registry.collect_async("event", data))
    ],
}

# A sync dispatch leaves out what has to be awaited.
every_way = pytest.mark.parametrize(
    ("kind", "fire"),
    [
        pytest.param(kind, FIRE[way], id=f"{kind}, {way}")
        for kind in KINDS
        for way in FIRE
        if kind in SYNC or way == "trigger_async"
    ],
)


def add(registry: HookRegistry, kind: str, work: Work, **options: Any) -> None:
    """Register an atomic hook of a kind."""
    make, usual = KINDS[kind]
    registry.register("event", make(work), **{"atomic": True, **usual, **options})


def change(data: list[Any]) -> None:
    """Change the data in place, at two depths."""
    data.append("changed")
    data[0].append("changed")


def changing(outcome: Any = None) -> Work:
    """Make what changes the data in place, and returns or raises something then."""

    def work(data: list[Any]) -> Any:
        change(data)
        if isinstance(outcome, BaseException):
            raise outcome
        return outcome

    return work


def changed(data: list[Any]) -> list[Any]:
    """Change the data in place and return them."""
    change(data)
    return data


BEFORE: list[Any] = [["deep"], "flat"]
AFTER: list[Any] = [["deep", "changed"], "flat", "changed"]


# -- what becomes of the copy


@every_way
def test_what_an_atomic_hook_changes_in_place_counts(
    registry: HookRegistry, kind: str, fire: Fire
) -> None:
    """The copy that a hook changed becomes the data; what the caller gave stays as it was."""
    data = copy.deepcopy(BEFORE)
    add(registry, kind, changing())
    assert fire(registry, data) == AFTER
    assert data == BEFORE


@every_way
def test_what_an_atomic_hook_returns_counts(registry: HookRegistry, kind: str, fire: Fire) -> None:
    """What a hook returns becomes the data, its copy included, and not what it changed besides."""
    data = copy.deepcopy(BEFORE)
    add(registry, kind, changing("returned"))
    registry.register("event", lambda text: [text])
    add(registry, kind, lambda copied: copied)
    assert fire(registry, data) == ["returned"]
    assert data == BEFORE


@every_way
@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("error", [ValueError("no"), SystemExit(3), OSError()], ids=repr)
def test_a_failed_atomic_hook_has_changed_nothing(
    registry: HookRegistry, kind: str, fire: Fire, strategy: str, error: BaseException
) -> None:
    """After a failure the data are the object that was before, unchanged, for hook and caller."""
    data = copy.deepcopy(BEFORE)
    seen: list[Any] = []
    registry.set_error_strategy(strategy)
    add(registry, kind, changing(error))
    registry.register("event", seen.append)
    if strategy == "fail_fast":
        with pytest.raises(HookError) as raised:
            fire(registry, data)
        assert raised.value.__cause__ is error
    else:
        assert fire(registry, data) is data
        assert seen[0] is data
    assert data == BEFORE


@pytest.mark.parametrize("kind", KINDS)
def test_an_interrupted_atomic_hook_has_changed_nothing(registry: HookRegistry, kind: str) -> None:
    """`KeyboardInterrupt` passes, and leaves the caller's data as they were."""
    data = copy.deepcopy(BEFORE)
    add(registry, kind, changing(KeyboardInterrupt()))
    with pytest.raises(KeyboardInterrupt):
        asyncio.run(registry.trigger_async("event", data))
    gc.collect()  # What asyncio says of an interrupted task is said here.
    assert data == BEFORE


@every_way
@pytest.mark.parametrize("atomic", [True, False])
def test_what_a_hook_changed_before_it_stops_counts(
    registry: HookRegistry, kind: str, fire: Fire, atomic: bool
) -> None:
    """`StopPropagation` keeps the data as the hook left them: atomic hooks are no exception."""
    data = copy.deepcopy(BEFORE)
    add(registry, kind, changing(StopPropagation()), atomic=atomic)
    registry.register("event", lambda data: "not called")
    result = fire(registry, data)
    assert result == AFTER
    assert (result is data) is not atomic
    assert data == (BEFORE if atomic else AFTER)


def test_only_atomic_hooks_are_given_copies(registry: HookRegistry) -> None:
    """The hooks around an atomic one are given the data themselves."""
    data, seen = copy.deepcopy(BEFORE), list[Any]()
    registry.register("event", seen.append)
    registry.register("event", seen.append, atomic=True)
    registry.register("event", seen.append)
    assert registry.trigger("event", data) is seen[2]
    assert seen[0] is data
    assert seen[1] is seen[2] is not data
    assert registry.get_hooks("event")[1].options.atomic


def test_a_sync_dispatch_drops_the_copy_of_what_must_be_awaited(registry: HookRegistry) -> None:
    """Where `trigger` cannot await what an atomic hook returned, the hook has changed nothing."""
    data = copy.deepcopy(BEFORE)

    async def later() -> None:
        raise AssertionError("it is awaited")

    def work(data: list[Any]) -> Any:
        change(data)
        return later()

    registry.register("event", work, atomic=True)
    registry.register("event", work, atomic=True, timeout=PATIENCE)
    assert registry.trigger("event", data) is data
    assert registry.trace("event", data).result is data
    assert registry.collect("event", data) == []
    assert data == BEFORE


STEPS = some.tuples(
    some.sampled_from([*SYNC, *ASYNC]),
    some.booleans(),
    some.sampled_from(["changes", "returns", "fails", "stops"]),
)


@settings(max_examples=60)
@given(some.lists(STEPS, max_size=6))
def test_a_mixture_of_hooks_does_what_each_promises(steps: list[tuple[str, bool, str]]) -> None:
    """Any row of hooks, atomic or not, leaves what one after the other should have left."""
    registry = HookRegistry()
    level = logging.getLogger("nitro_dispatch").level
    outcomes: dict[str, Any] = {
        "changes": lambda number: None,
        "returns": lambda number: [["new"], number],
        "fails": lambda number: ValueError(number),
        "stops": lambda number: StopPropagation(),
    }

    def register(kind: str, atomic: bool, what: str, number: int) -> None:
        def work(data: list[Any]) -> Any:
            return changing(outcomes[what](number))(data)

        add(registry, kind, work, atomic=atomic)

    def expected(kinds: dict[str, Any]) -> Any:
        data = copy.deepcopy(BEFORE)
        for number, (kind, atomic, what) in enumerate(steps):
            if kind not in kinds or (what == "fails" and atomic):
                continue
            if what == "returns":
                data = [["new"], number]
                continue
            change(data)
            if what == "stops":
                break
        return data

    for number, (kind, atomic, what) in enumerate(steps):
        register(kind, atomic, what, number)
    logging.getLogger("nitro_dispatch").setLevel(logging.CRITICAL + 1)
    try:
        for way, fire in FIRE.items():
            kinds = KINDS if way == "trigger_async" else SYNC
            assert fire(registry, copy.deepcopy(BEFORE)) == expected(kinds)
    finally:
        logging.getLogger("nitro_dispatch").setLevel(level)


# -- late and cancelled hooks


class Abandoned:
    """A hook that goes on changing its data when nobody waits for it any more."""

    def __init__(self) -> None:
        self.gate = Gate()
        self._ended = threading.Event()

    def work(self, data: list[Any]) -> None:
        """Change the data, be held, and change them again."""
        change(data)
        self.gate()
        change(data)
        self._ended.set()

    async def work_async(self, data: list[Any]) -> None:
        """Change the data, and once more when it is cancelled."""
        change(data)
        self.gate.reached.set()
        try:
            await asyncio.Event().wait()
        finally:
            change(data)
            self._ended.set()

    def go_on(self) -> None:
        """Let it go on to its end."""
        self.gate.open.set()
        assert self._ended.wait(PATIENCE)


@pytest.mark.parametrize("way", FIRE)
@pytest.mark.parametrize("neighbours", [0, 1])
def test_a_late_atomic_hook_has_changed_nothing(
    registry: HookRegistry, way: str, neighbours: int
) -> None:
    """The data stay the object that was, also when the abandoned hook goes on changing its copy.

    Neighbours with the same time limit share one worker thread.
    """
    data, late = copy.deepcopy(BEFORE), Abandoned()
    for _ in range(neighbours):
        registry.register("event", lambda data: None, timeout=SOON)
    registry.register("event", late.work, timeout=SOON, atomic=True)
    for _ in range(neighbours):
        registry.register("event", lambda data: None, timeout=SOON)
    assert FIRE[way](registry, data) is data
    assert data == BEFORE
    late.go_on()
    assert data == BEFORE


@pytest.mark.parametrize("make", [asynchronous, returning_awaitable])
@pytest.mark.parametrize("resists", [True, False])
def test_a_late_async_atomic_hook_has_changed_nothing(
    registry: HookRegistry, make: Callable[[Work], Any], resists: bool
) -> None:
    """An async hook past its limit has changed nothing, also one that resists and goes on."""
    data, told = copy.deepcopy(BEFORE), list[BaseException]()

    class Owner:
        def on_error(self, error: BaseException) -> None:
            told.append(error)

    async def main() -> None:
        never, ended = asyncio.Event(), asyncio.Event()

        async def work(data: list[Any]) -> None:
            change(data)
            try:
                await never.wait()
            except asyncio.CancelledError:
                if not resists:
                    raise
                await never.wait()
            finally:
                change(data)
                ended.set()

        callback = work if make is asynchronous else lambda data: work(data)
        registry.register("event", callback, Owner(), timeout=SOON, atomic=True)
        assert await registry.trigger_async("event", data) is data
        never.set()
        await asyncio.wait_for(ended.wait(), PATIENCE)

    run(main())
    assert data == BEFORE
    assert [type(error) for error in told] == [HookTimeoutError]


@pytest.mark.parametrize("kind", ["plain", "timed", "async", "async timed", "lambda"])
def test_a_cancelled_atomic_hook_has_changed_nothing(registry: HookRegistry, kind: str) -> None:
    """Whoever cancels a dispatch finds the data as they were, also while a worker goes on."""
    data, late = copy.deepcopy(BEFORE), Abandoned()
    callback = {"async": late.work_async, "lambda": lambda data: late.work_async(data)}
    options = KINDS[kind][1]

    async def main() -> None:
        task = asyncio.ensure_future(registry.trigger_async("event", data))
        await asyncio.get_running_loop().run_in_executor(None, late.gate.reached.wait, PATIENCE)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    registry.register("event", callback.get(kind.split()[0], late.work), atomic=True, **options)
    run(main())
    late.go_on()
    assert data == BEFORE


# -- copying


class Uncopyable:
    """Data whose copying does something else."""

    def __init__(self, copying: Callable[[], Any]) -> None:
        self._copying = copying

    def __deepcopy__(self, memo: object) -> Any:
        return self._copying()


def raising(error: BaseException) -> Callable[[], Any]:
    """Make what raises an error."""

    def raise_it() -> None:
        raise error

    return raise_it


@every_way
@pytest.mark.parametrize(
    "error", [TypeError("locked"), SystemExit("locked"), StopPropagation("locked")], ids=repr
)
def test_data_that_cannot_be_copied_are_the_hooks_failure(
    registry: HookRegistry,
    kind: str,
    fire: Fire,
    error: BaseException,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The hook is not called, the others are, and the report says why and what to do."""
    data, called = Uncopyable(raising(error)), list[Any]()
    add(registry, kind, called.append)
    registry.register("event", lambda data: ["reached"])
    assert fire(registry, data) == ["reached"]
    assert called == []
    (line,) = caplog.records
    for part in ("the data cannot be copied", "locked", "__deepcopy__", "atomic=True", "event"):
        assert part in line.getMessage()
    registry.set_error_strategy("fail_fast")
    with pytest.raises(HookError, match=r"cannot be copied: (\w+: )?locked") as raised:
        fire(registry, data)
    assert isinstance(raised.value.cause, HookError)
    assert raised.value.cause.__cause__ is raised.value.cause.cause is error


@pytest.mark.parametrize("error", [KeyboardInterrupt, GeneratorExit, asyncio.CancelledError])
def test_an_interruption_of_the_copying_passes(
    registry: HookRegistry, error: type[BaseException]
) -> None:
    """What is no failure of a hook is none of its copying either."""
    registry.register("event", lambda data: None, atomic=True)
    with pytest.raises(error):
        registry.trigger("event", Uncopyable(raising(error())))


@every_way
def test_data_too_deep_to_copy_are_the_hooks_failure(
    registry: HookRegistry, kind: str, fire: Fire, caplog: pytest.LogCaptureFixture
) -> None:
    """Data that take the whole stack to copy fail the hook, with a text that says so."""
    data: list[Any] = []
    for _ in range(1000):
        data = [data]
    add(registry, kind, lambda data: "called")
    assert fire(registry, data) is data
    assert "the data cannot be copied" in caplog.records[-1].getMessage()


def test_endless_nesting_of_atomic_hooks_is_isolated_at_the_outermost(
    caplog: pytest.LogCaptureFixture, run_python: RunPython
) -> None:
    """Where the copying is what runs out of stack, the outermost hook fails, once."""
    program = """
        import gc, logging
        from nitro_dispatch import HookRegistry
        gc.disable()
        logging.disable()
        told = []
        class Owner:
            def on_error(self, error):
                told.append(type(error).__name__)
        registry = HookRegistry()
        for _ in range(2):
            registry.register("a", lambda data: registry.trigger("b", data), Owner(), atomic=True)
            registry.register("b", lambda data: registry.trigger("a", data), Owner(), atomic=True)
        assert registry.trigger("a", [[1]]) == [[1]]
        print(*told)
    """
    assert run_python(program) == "RecursionError RecursionError\n"


@pytest.mark.parametrize(
    ("kind", "way"),
    [
        ("timed", "trigger"),
        *itertools.product(
            ["timed", "async timed", "lambda timed"], ["trigger_async", "collect_async"]
        ),
    ],
)
def test_to_copy_is_within_the_time_limit(registry: HookRegistry, kind: str, way: str) -> None:
    """A caller is back in time from data that take for ever to copy, and the hook is not called."""
    gate, called = Gate(), list[Any]()
    data = Uncopyable(gate)
    add(registry, kind, called.append, timeout=SOON)
    result = {**FIRE, **ASK}[way](registry, data)
    assert result == [] if way == "collect_async" else result is data
    assert gate.reached.is_set()
    assert called == []
    gate.open.set()


def test_a_slow_copy_for_an_async_hook_does_not_hold_the_event_loop(
    registry: HookRegistry,
) -> None:
    """While the data are copied for an async hook, other tasks go on."""
    gate = Gate()

    async def main() -> Any:
        task = asyncio.ensure_future(registry.trigger_async("event", Uncopyable(gate)))
        while not gate.reached.is_set():
            await asyncio.sleep(0)
        gate.open.set()
        return await task

    add(registry, "async", lambda data: ["called"])
    assert run(main()) == ["called"]


@pytest.mark.parametrize("kind", ["timed", "async timed"])
def test_copies_that_never_end_are_bounded(registry: HookRegistry, kind: str) -> None:
    """So many copies may be abandoned by one hook; then it fails at once, and starts no thread."""
    gate, begun = Gate(), threading.Semaphore(0)

    def copying() -> None:
        begun.release()
        gate()

    add(registry, kind, lambda data: None, timeout=SOON)
    registry.set_error_strategy("collect_all")
    try:
        for _ in range(12):
            run(registry.trigger_async("event", Uncopyable(copying)))
        (error,) = registry.get_last_errors()
        assert "8 earlier calls of this hook still run" in str(error["error"])
        # A caller may be back, and ask again, just before the worker gives its copy up as well.
        assert sum(begun.acquire(blocking=False) for _ in range(12)) in (8, 9)
    finally:
        gate.open.set()


# -- with the other options and dispatches


@pytest.mark.parametrize(
    ("kind", "way"),
    [*itertools.product(SYNC, ASK), *itertools.product(ASYNC, ["collect_async"])],
)
def test_each_atomic_hook_that_is_asked_has_a_copy_of_its_own(
    registry: HookRegistry, kind: str, way: str
) -> None:
    """`collect` and `first` give no hook what another has changed, and take no copy for an answer.

    What a hook returns is its answer, the copy that it was given included.
    """
    data = copy.deepcopy(BEFORE)
    add(registry, kind, changing())
    add(registry, kind, changing(ValueError("failed")))
    for _ in range(2):
        add(registry, kind, changed)
    assert ASK[way](registry, data) == [AFTER, AFTER][: 1 if way == "first" else 2]
    assert data == BEFORE


@pytest.mark.parametrize("way", ASK)
@pytest.mark.parametrize("atomic", [True, False])
def test_an_atomic_hook_that_stops_ends_the_asking(
    registry: HookRegistry, way: str, atomic: bool
) -> None:
    """The answers of the hooks behind one that stops do not count, whether it is atomic or not."""
    add(registry, "plain", lambda data: "first", priority=100)
    add(registry, "plain", changing(StopPropagation()), atomic=atomic)
    add(registry, "plain", lambda data: "last", priority=0)
    assert ASK[way](registry, copy.deepcopy(BEFORE)) == ["first"]


def test_a_trace_tells_what_an_atomic_hook_changed(registry: HookRegistry) -> None:
    """The changes of a step are those that count: none of a hook that failed."""
    for outcome in (ValueError("failed"), None, StopPropagation("enough")):
        add(registry, "plain", changing(outcome))
    steps = registry.trace("event", copy.deepcopy(BEFORE)).steps
    assert [step.outcome for step in steps] == ["failed", "returned", "stopped"]
    paths = [[change.path for change in step.changes or ()] for step in steps]
    assert paths == [[], ["[0][1]", "[2]"], ["[0][2]", "[3]"]]


@pytest.mark.parametrize("kind", KINDS)
def test_a_tracer_is_told_what_an_atomic_hook_raised(registry: HookRegistry, kind: str) -> None:
    """A `HookCall` has the very object that the hook raised, to stop the propagation as well."""
    calls: list[HookCall] = []
    errors = [ValueError("failed"), StopPropagation("enough")]
    registry.add_tracer(calls.append)
    for error in errors:
        add(registry, kind, changing(error))
    assert run(registry.trigger_async("event", copy.deepcopy(BEFORE))) == AFTER
    assert [call.outcome for call in calls] == ["failed", "stopped"]
    assert [call.error for call in calls] == errors


@pytest.mark.parametrize("way", FIRE)
def test_atomic_neighbours_still_share_a_worker(registry: HookRegistry, way: str) -> None:
    """Hooks with equal limits run in one thread, each on what the one before it left."""
    threads: list[Optional[int]] = []

    def work(data: list[int]) -> None:
        threads.append(threading.get_ident())
        data.append(len(data))
        if len(data) == 3:
            raise ValueError("failed")

    for atomic in (True, False, True, True):
        registry.register("event", work, timeout=PATIENCE, atomic=atomic)
    data: list[int] = []
    assert FIRE[way](registry, data) == [0, 1]
    assert data == []
    if way == "trigger":
        assert len(set(threads[:3])) == 1
    assert threading.get_ident() not in threads


@pytest.mark.parametrize("way", ["trigger", "trigger_async"])
def test_an_atomic_hook_may_ask_for_the_name_of_the_event(registry: HookRegistry, way: str) -> None:
    """A second parameter called `event` gets the name, on a sync hook and on an async one."""

    def note(data: list[str], event: str) -> None:
        data.append(event)

    async def note_async(data: list[str], event: str) -> None:
        data.append(event)

    registry.register("*", note, atomic=True)
    registry.register("*", note, atomic=True, timeout=PATIENCE)
    registry.register("*", note_async, atomic=True)
    names = ["event"] * (2 if way == "trigger" else 3)
    assert FIRE[way](registry, []) == names


def test_async_hook_may_be_said_of_an_atomic_one(registry: HookRegistry) -> None:
    """What is called `async_hook` is called in the loop, where it may make a future."""

    class Plugin(PluginBase):
        @hook("event", async_hook=True, atomic=True)
        def work(self, data: list[Any]) -> Any:
            return asyncio.ensure_future(in_the_loop(changing(), data))

        @hook("event", async_hook=True, atomic=True)
        def return_at_once(self, data: list[Any]) -> Any:
            return [*data, "at once"]

    manager = PluginManager()
    manager.load(manager.register(Plugin))
    assert run(manager.trigger_async("event", copy.deepcopy(BEFORE))) == [*AFTER, "at once"]


class Everywhere(PluginBase):
    """A plugin that has an atomic hook from each place that registers one."""

    def __init__(self) -> None:
        self.register_hook("in __init__", changing(), atomic=True)

    def on_load(self) -> None:
        self.register_hook("in on_load", changing(), atomic=True)

    @hook("decorated", atomic=True)
    def decorated(self, data: list[Any]) -> None:
        change(data)


@pytest.mark.parametrize("event", ["decorated", "in __init__", "in on_load", "of the manager"])
def test_atomic_may_be_said_wherever_hooks_are_registered(event: str) -> None:
    """The decorator and each `register_hook` take `atomic`."""
    manager, data = PluginManager(), copy.deepcopy(BEFORE)
    manager.load(manager.register(Everywhere))
    manager.register_hook("of the manager", changing(), atomic=True)
    assert manager.trigger(event, data) == AFTER
    assert data == BEFORE


def test_an_atomic_hook_is_read_from_its_source(tmp_path: Path) -> None:
    """An armed plugin is known to have an atomic hook, and imported it has one."""
    source = """
        from nitro_dispatch import PluginBase, hook

        class Careful(PluginBase):
            name = "careful"

            @hook("event", atomic=True)
            def change(self, data):
                data.append("changed")

            @hook("event", atomic=True)
            async def fail(self, data):
                data.append("changed")
                raise ValueError("failed")
    """
    (tmp_path / "careful_plugin.py").write_text(textwrap.dedent(source))
    manager, data = PluginManager(lazy=True), ["given"]
    manager.discover_plugins(str(tmp_path))
    manager.load_all()
    (info,) = manager.describe()
    assert (info.state, info.unknown) == ("armed", ())
    armed = manager._registry.get_hooks("event")
    assert [each.options.atomic for each in armed] == [True, True]
    assert not manager.is_loaded("careful")
    assert run(manager.trigger_async("event", data)) == ["given", "changed"]
    assert manager.is_loaded("careful")
    assert data == ["given"]


@pytest.mark.parametrize("atomic", [True, False])
def test_a_reload_changes_whether_a_hook_is_atomic(tmp_path: Path, atomic: bool) -> None:
    """The hook that takes the place of another is atomic if its own decorator says so."""
    source = """
        from nitro_dispatch import PluginBase, hook

        class Careful(PluginBase):
            name = "careful"

            @hook("event", atomic={})
            def change(self, data):
                data.append("changed")
    """
    file = tmp_path / "careful_plugin.py"
    file.write_text(textwrap.dedent(source).format(not atomic))
    manager, data = PluginManager(), ["given"]
    manager.discover_plugins(str(tmp_path))
    manager.load_all()
    manager.trigger("event", [])
    file.write_text(textwrap.dedent(source).format(atomic))
    manager.reload("careful")
    assert manager.trigger("event", data) == ["given", "changed"]
    assert data == (["given"] if atomic else ["given", "changed"])
