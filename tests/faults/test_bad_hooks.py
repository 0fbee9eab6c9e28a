"""One bad hook, whatever is wrong with it, stops neither the others nor the host."""

from __future__ import annotations

import asyncio
import builtins
import concurrent.futures
import contextlib
import functools
import gc
import itertools
import logging
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Callable

import pytest

from concurrency import PATIENCE
from loops import run
from nitro_dispatch import (
    HookError,
    HookRegistry,
    HookTimeoutError,
    NitroPluginError,
    PluginBase,
    PluginLoadError,
    PluginManager,
    StopPropagation,
    hook,
)
from programs import RunPython

STRATEGIES = ["log_and_continue", "collect_all", "fail_fast"]

Raise = Callable[[], BaseException]


@pytest.fixture(autouse=True)
def records() -> Iterator[list[logging.LogRecord]]:
    """Keep what the library logs, and show none of it: that is not what is tested here."""
    kept: list[logging.LogRecord] = []

    class Keeper(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            kept.append(record)

    handler = Keeper()
    logger = logging.getLogger("nitro_dispatch")
    logger.addHandler(handler)
    logger.propagate = False
    yield kept
    logger.propagate = True
    logger.removeHandler(handler)


def values(answers: list[Any]) -> Any:
    """Give the only answer."""
    (answer,) = answers
    return answer.value


# Each gives what the last hook, which alone returns something, has returned.
DISPATCH: dict[str, Callable[[Any], Any]] = {
    "trigger": lambda host: host.trigger("event"),
    "trace": lambda host: host.trace("event").result,
    "first": lambda host: host.first("event"),
    "collect": lambda host: values(host.collect("event")),
    "trigger_async": lambda host: run(host.trigger_async("event")),
    "collect_async": lambda host: values(run(host.collect_async("event"))),
}
ASYNC = ("trigger_async", "collect_async")

every_dispatch = pytest.mark.parametrize("way", DISPATCH)
every_strategy = pytest.mark.parametrize("strategy", STRATEGIES)


# -- what may be raised


def broken(*arguments: object, **named: object) -> Any:
    """Raise, wherever it is put."""
    raise RuntimeError("it is broken")


def error_with(name: str, attribute: object, base: type[BaseException] = Exception) -> Raise:
    """Make a class of exceptions of which one attribute is code of a plugin."""
    made: Raise = type("Odd", (base,), {name: attribute})
    return made


class BrokenName(type):
    """A metaclass that does not say what its classes are called."""

    def __getattribute__(cls, name: str) -> Any:
        return broken() if name in ("__name__", "__qualname__") else super().__getattribute__(name)


class BrokenText(str):
    """A text that is not shown."""

    __str__ = __repr__ = __format__ = __len__ = __eq__ = isprintable = broken
    __hash__ = None  # type: ignore[assignment]


def saying(kind: type[BaseException], error: BaseException) -> type[BaseException]:
    """Say that an error is of another kind."""
    return kind


def chained() -> BaseException:
    """Make an exception whose causes go round in a circle."""
    one, other = ValueError("one"), ValueError("other")
    one.__cause__, other.__cause__ = other, one
    return one


ONE_OF_ALL = ValueError("the same object each time")

ERRORS: dict[str, Raise] = {
    "Exception": Exception,
    "SystemExit": lambda: SystemExit(3),
    "StopIteration": lambda: StopIteration("stop"),
    "StopAsyncIteration": StopAsyncIteration,
    "MemoryError": MemoryError,
    "RecursionError": RecursionError,
    "a cancelled future": concurrent.futures.CancelledError,
    "a time limit of its own": lambda: HookTimeoutError("mine", seconds=1),
    "a HookError": lambda: HookError("mine"),
    "the same object": lambda: ONE_OF_ALL,
    "causes in a circle": chained,
    "constructor": error_with("__init__", broken),
    "__str__": error_with("__str__", broken),
    "__str__ exits": error_with("__str__", lambda error: sys.exit("str")),
    "__str__ gives no text": error_with("__str__", lambda error: 3),
    "__str__ gives an odd text": error_with("__str__", lambda error: BrokenText("odd")),
    "__repr__": error_with("__repr__", broken),
    "__eq__": error_with("__eq__", broken),
    "__hash__": error_with("__hash__", broken),
    "__bool__": error_with("__bool__", broken),
    "__getattribute__": error_with("__getattribute__", broken),
    "__setattr__": error_with("__setattr__", broken),
    "__traceback__": error_with("__traceback__", property(broken)),
    "with_traceback": error_with("with_traceback", broken),
    "__cause__": error_with("__cause__", property(broken)),
    "__context__": error_with("__context__", property(broken)),
    "args": error_with("args", property(broken)),
    "__class__": error_with("__class__", property(broken)),
    "a metaclass": BrokenName("Odd", (Exception,), {}),
    **{
        f"__class__ says {kind.__name__}": error_with(
            "__class__", property(functools.partial(saying, kind))
        )
        for kind in (
            KeyboardInterrupt,
            GeneratorExit,
            RecursionError,
            StopPropagation,
            HookTimeoutError,
        )
    },
}
if sys.version_info >= (3, 11):
    ERRORS["ExceptionGroup"] = lambda: builtins.ExceptionGroup("several", [ValueError(), OSError()])

every_error = pytest.mark.parametrize("error", ERRORS.values(), ids=ERRORS)

# What happens where a plugin is told of a failure, as in a log: half of the errors above differ
# in nothing there.
FEW = {
    name: ERRORS[name]
    for name in ("Exception", "SystemExit", "__str__", "__traceback__", "__class__", "a metaclass")
}
few_errors = pytest.mark.parametrize("error", FEW.values(), ids=FEW)


class Bad:
    """Hooks of every kind that fail in one way, and their owner, which notes what it is told."""

    name = "bad"

    def __init__(self, error: Raise) -> None:
        self.error = error
        self.raised: list[BaseException] = []
        self.told: list[BaseException] = []

    def on_error(self, error: BaseException) -> None:
        self.told.append(error)

    def fail(self, data: Any) -> None:
        try:
            raise self.error()
        except BaseException as error:
            self.raised.append(error)
            raise

    async def fail_async(self, data: Any) -> None:
        await asyncio.sleep(0)
        self.fail(data)

    def fail_later(self, data: Any) -> Any:
        return self.fail_async(data)

    def kinds(self, way: str) -> list[tuple[Callable[..., Any], dict[str, Any]]]:
        """List the callbacks that a dispatch can run, with their options."""
        limit = {"timeout": PATIENCE}
        sync: list[dict[str, Any]] = [{}, limit, {"atomic": True}, {"blocking": False}, limit]
        pending: list[dict[str, Any]] = [{}, limit] if way in ASYNC else []
        return [
            *((self.fail, options) for options in sync),
            *((self.fail_async, options) for options in pending),
            *((self.fail_later, options) for options in pending),
        ]


@every_dispatch
@pytest.mark.parametrize(
    ("strategy", "error"),
    [
        *(pytest.param("collect_all", error, id=name) for name, error in ERRORS.items()),
        *(
            pytest.param("log_and_continue", error, id=f"{name}, logged")
            for name, error in FEW.items()
        ),
    ],
)
def test_whatever_hooks_raise_the_others_run(
    way: str, error: Raise, strategy: str, records: list[logging.LogRecord]
) -> None:
    """First, in the middle and last, hooks of every kind fail alone, and each is reported."""
    registry, bad, ran = HookRegistry(), Bad(error), list[int]()
    registry.set_error_strategy(strategy)
    kinds = bad.kinds(way)
    for number, (callback, options) in enumerate(kinds):
        registry.register("event", callback, bad, **options)
        registry.register("event", lambda data, number=number: ran.append(number))
    registry.register("event", lambda data: "returned")
    registry.register("event", bad.fail, bad)
    last = way != "first"
    assert DISPATCH[way](registry) == "returned"
    # Those that are asked all at once come in any order.
    assert (sorted(ran) if way == "collect_async" else ran) == [*range(len(kinds))]
    assert len(bad.told) == len(kinds) + last
    assert len(records) == len(kinds) + last
    assert {vars(record)["plugin"] for record in records} == {"bad"}
    recorded = [each["error"] for each in registry.get_last_errors()]
    assert len(recorded) == (len(bad.told) if strategy == "collect_all" else 0)


@every_dispatch
@every_error
def test_whatever_hooks_raise_fail_fast_says_so(way: str, error: Raise) -> None:
    """Under `fail_fast` each kind of hook ends the dispatch by a HookError that can be shown."""
    for callback, options in Bad(error).kinds(way):
        registry, bad = HookRegistry(), Bad(error)
        registry.set_error_strategy("fail_fast")
        registry.register("event", getattr(bad, callback.__name__), bad, **options)
        registry.register("event", lambda data: "returned")
        with pytest.raises(HookError) as raised:
            DISPATCH[way](registry)
        cause: Any = raised.value.__cause__
        if type(cause) is RuntimeError and type(cause.__cause__) is StopIteration:
            # Python makes something else of it where a coroutine raises it.
            cause = cause.__cause__
        assert cause is bad.raised[0]
        assert "hook" in str(raised.value)
        assert len(bad.told) == 1


@every_dispatch
@every_strategy
def test_what_is_no_exception_by_its_class_passes(way: str, strategy: str) -> None:
    """What derives from BaseException alone interrupts, as the cancellations of other libraries do.

    It passes as it is, like `KeyboardInterrupt`, and the registry works on.
    """
    interruption = type("Interruption", (BaseException,), {})
    errors: list[type[BaseException]] = [interruption, GeneratorExit]
    if sys.version_info >= (3, 11):
        errors.append(lambda: builtins.BaseExceptionGroup("several", [interruption()]))  # type: ignore[arg-type]
    for error in errors:
        for callback, options in Bad(error).kinds(way):
            registry, bad = HookRegistry(), Bad(error)
            registry.set_error_strategy(strategy)
            registry.register("event", getattr(bad, callback.__name__), bad, **options)
            with pytest.raises(BaseException) as raised:  # noqa: PT011
                DISPATCH[way](registry)
            assert raised.value is bad.raised[0]
            assert bad.told == []
            registry.clear_all()
            registry.register("event", lambda data: "works")
            assert DISPATCH[way](registry) == "works"


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_collect_async_awaits_all_where_a_hook_raises_generator_exit(strategy: str) -> None:
    """The others are cancelled and have ended when the GeneratorExit of one reaches the caller."""
    registry, ended = HookRegistry(), list[str]()
    registry.set_error_strategy(strategy)

    async def wait(data: Any) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            ended.append("ended")

    async def main() -> None:
        with pytest.raises(GeneratorExit):
            await registry.collect_async("event")
        assert ended == ["ended"] * 2

    registry.register("event", wait)
    registry.register("event", Bad(GeneratorExit).fail_async)
    registry.register("event", wait, timeout=PATIENCE)
    run(main())


# -- what may be returned


class Odd:
    """A result that raises where it is asked for anything."""

    __bool__ = __len__ = __eq__ = __repr__ = __str__ = __getattr__ = broken
    __hash__ = None  # type: ignore[assignment]
    __class__ = property(broken)


class OddClass(type):
    """A metaclass that raises where its classes are asked for what they do not have."""

    def __getattr__(cls, name: str) -> Any:
        return broken()


async def produce() -> Any:
    """Be an asynchronous generator."""
    yield 1


RESULTS: dict[str, Callable[[], Any]] = {
    "a generator": lambda: (number for number in [1]),
    "an asynchronous generator": produce,
    "what raises wherever it is asked": Odd,
    "what has an odd class": OddClass("Strange", (), {}),
    "an iterator": lambda: iter([1]),
    "a class": lambda: Odd,
    "NotImplemented": lambda: NotImplemented,
}


@every_dispatch
@pytest.mark.parametrize("make", RESULTS.values(), ids=RESULTS)
def test_whatever_hooks_return_is_data(way: str, make: Callable[[], Any]) -> None:
    """Whatever cannot be awaited is the data, or an answer, and the library asks nothing of it."""
    result = make()
    for _, options in Bad(Exception).kinds(way)[:5]:
        if "atomic" in options:
            continue
        registry = HookRegistry()
        registry.register("event", lambda data: result, **options)
        if "trigger" in way or way == "trace":
            registry.register("event", lambda data: data)
        assert DISPATCH[way](registry) is result


class OddAwaitable:
    """What says that it can be awaited, and cannot."""

    def __init__(self, steps: Callable[[], Any]) -> None:
        self._steps = steps

    def __await__(self) -> Iterator[Any]:
        steps: Iterator[Any] = self._steps()
        return steps

    close = cancel = property(broken)


@pytest.mark.parametrize("timeout", [None, PATIENCE])
@pytest.mark.parametrize("way", ASYNC)
@pytest.mark.parametrize(
    "steps",
    [broken, lambda: None, lambda: 3, lambda: iter(["no future"]), lambda: sys.exit("awaited")],
    ids=["raises", "None", "a number", "odd step", "exits"],
)
def test_what_cannot_be_awaited_is_its_hooks_failure(
    way: str, steps: Callable[[], Any], timeout: Any, records: list[logging.LogRecord]
) -> None:
    """An awaitable that does not work fails its hook, and no other."""
    registry = HookRegistry()
    registry.register("event", lambda data: OddAwaitable(steps), timeout=timeout)
    registry.register("event", lambda data: "returned")
    assert DISPATCH[way](registry) == "returned"
    assert [record.levelname for record in records] == ["ERROR"]


@pytest.mark.parametrize("way", [way for way in DISPATCH if way not in ASYNC])
def test_a_sync_dispatch_gives_up_what_cannot_even_be_closed(
    way: str, records: list[logging.LogRecord]
) -> None:
    """`trigger` skips what has to be awaited, though giving it up raises."""
    registry = HookRegistry()
    registry.register("event", lambda data: OddAwaitable(broken))
    registry.register("event", lambda data: "returned")
    assert DISPATCH[way](registry) == "returned"
    assert [record.levelname for record in records] == ["WARNING"]


# -- whose hooks they are

BODIES: dict[str, dict[str, Any]] = {
    "falsy": {"__bool__": lambda plugin: False},
    "empty": {"__len__": lambda plugin: 0},
    "unhashable": {"__hash__": None},
    "equal to all": {"__eq__": lambda *both: True, "__hash__": lambda plugin: 0},
    **{
        name: {name: broken}
        for name in ("__bool__", "__len__", "__eq__", "__hash__", "__repr__", "__str__")
    },
    "__getattr__": {"__getattr__": broken},
    "__format__": {"__format__": broken, "__iter__": broken, "__contains__": broken},
    "__class__": {"__class__": property(broken)},
}
every_body = pytest.mark.parametrize("body", BODIES.values(), ids=BODIES)


def odd_plugin(body: dict[str, Any], told: list[BaseException]) -> type[PluginBase]:
    """Make a plugin class with odd methods, whose hooks work and fail in turn."""

    class Odd(PluginBase):
        name = "odd"

        @hook("event", priority=90)
        def work(self, data: Any) -> None:
            """Do nothing."""

        @hook("event", priority=80)
        def fail(self, data: Any) -> None:
            raise ValueError("failed")

        @hook("event", priority=70, timeout=PATIENCE)
        def fail_in_time(self, data: Any) -> None:
            raise ValueError("failed")

        @hook("event", priority=60)
        async def fail_async(self, data: Any) -> None:
            raise ValueError("failed")

        def on_error(self, error: BaseException) -> None:
            told.append(error)

    return type("Odd", (Odd,), body)


@every_body
def test_a_plugin_with_odd_methods_lives_as_any_other(body: dict[str, Any]) -> None:
    """It is loaded, dispatched to, switched, reloaded and unloaded, and told of its failures."""
    told: list[BaseException] = []
    manager = PluginManager()
    manager.register(odd_plugin(body, told))
    manager.register_hook("event", lambda data: "returned")
    plugin = manager.load("odd")
    assert manager.get_plugin("odd") is plugin
    assert manager.is_loaded("odd")
    for strategy, (way, dispatch) in itertools.product(STRATEGIES[:2], DISPATCH.items()):
        manager.set_error_strategy(strategy)
        told.clear()
        assert dispatch(manager) == "returned"
        assert len(told) == (3 if way in ASYNC else 2)
    manager.disable_plugin("odd")
    assert not plugin.enabled
    told.clear()
    assert manager.trigger("event") == "returned"
    assert told == []
    manager.enable_plugin("odd")
    manager.trigger("event")
    assert len(told) == 2
    assert manager.reload("odd") is not plugin
    manager.trigger("event")
    assert len(told) == 4
    assert [info.state for info in manager.describe()] == ["loaded"]
    manager.unload("odd")
    manager.trigger("event")
    assert len(told) == 4
    assert manager.get_all_plugins() == {}


def fickle(part: str, moment: str) -> type[PluginBase]:
    """Make a plugin class of which a part fails from some moment of its life on."""
    reached: list[str] = []

    def fail_if_reached(plugin: Any, *arguments: Any) -> Any:
        if moment in reached:
            sys.exit(f"{part} is broken")
        return True if part == "enabled" else getattr(object, part)(plugin, *arguments)

    class Fickle(PluginBase):
        name = "fickle"

        def __init__(self) -> None:
            reached.append("__init__")

        def on_load(self) -> None:
            reached.append("on_load")

        def on_unload(self) -> None:
            reached.append("on_unload")

        @hook("event")
        def work(self, data: Any) -> None:
            reached.append("hook")

    failing = property(fail_if_reached, fail_if_reached) if part == "enabled" else fail_if_reached
    return type("Fickle", (Fickle,), {part: failing})


@pytest.mark.parametrize("moment", ["__init__", "on_load", "hook", "on_unload"])
@pytest.mark.parametrize("part", ["__getattribute__", "__setattr__", "enabled"])
def test_a_plugin_that_breaks_holds_up_nobody(part: str, moment: str) -> None:
    """A plugin whose attributes fail from some moment on can be seen, switched and ended."""
    manager = PluginManager()
    manager.register(fickle(part, moment))

    def other(data: Any) -> str:
        return "returned"

    manager.register_hook("event", other, priority=1)
    manager.load_all()
    for dispatch in [*DISPATCH.values(), *DISPATCH.values()]:
        assert dispatch(manager) == "returned"
    assert [info.metadata.name for info in manager.describe()] == ["fickle"]
    for act in (manager.disable_plugin, manager.reload, manager.enable_plugin, manager.unload):
        with contextlib.suppress(NitroPluginError):
            act("fickle")
        assert manager.trigger("event") == "returned"
    manager.unload_all()
    assert manager.get_all_plugins() == {}
    manager.unregister_hook("event", other)
    assert manager.get_events() == []


@every_body
@every_dispatch
def test_an_owner_with_odd_methods_owns_hooks_as_any_other(
    body: dict[str, Any], way: str, records: list[logging.LogRecord]
) -> None:
    """In a bare registry, too, the failures of an odd owner's hooks are told and logged."""
    told: list[BaseException] = []
    members = {"name": "odd", "enabled": True, "on_error": lambda owner, error: told.append(error)}
    owner = type("Owner", (), {**members, **body})()
    registry = HookRegistry()
    registry.register("event", broken, owner)
    registry.register("event", lambda data: "returned", owner)
    assert DISPATCH[way](registry) == "returned"
    assert len(told) == 1
    assert [vars(record)["plugin"] for record in records] == ["odd"]
    assert registry.unregister("event", broken, owner)
    assert registry.unregister_plugin(owner) == 1


# -- what they do to themselves

DOINGS: dict[str, Callable[[Any, PluginManager], object]] = {
    "unregisters": lambda plugin, manager: plugin.unregister_hook("event", plugin.act),
    "unloads": lambda plugin, manager: manager.unload("acting"),
    "unloads all": lambda plugin, manager: manager.unload_all(),
    "forgets": lambda plugin, manager: manager.unregister("acting"),
    "disables": lambda plugin, manager: manager.disable_plugin("acting"),
    "switches off": lambda plugin, manager: setattr(plugin, "enabled", False),
    "clears": lambda plugin, manager: manager._registry.unregister_plugin(plugin),
}


@every_dispatch
@pytest.mark.parametrize("fails", [True, False])
@pytest.mark.parametrize("act", DOINGS.values(), ids=DOINGS)
def test_a_hook_may_end_itself_and_fail(
    way: str, act: Callable[[Any, PluginManager], object], fails: bool
) -> None:
    """A hook that takes itself, or its plugin, out is called no more; the others run all the same.

    What it raises after that is its failure still, in hooks of each kind.
    """
    kinds: list[dict[str, Any]] = [{}, {"timeout": PATIENCE}, {"blocking": False}]
    for is_async, options in itertools.product((False, True) if way in ASYNC else (False,), kinds):
        manager, calls, told = PluginManager(), list[str](), list[BaseException]()

        class Acting(PluginBase):
            name = "acting"

            def on_load(self, is_async: bool = is_async, options: Any = options) -> None:
                self.act = self.work_async if is_async else self.work
                self.register_hook("event", self.act, **options)

            def work(self, data: Any, manager: Any = manager, calls: Any = calls) -> None:
                calls.append("acted")
                act(self, manager)
                if fails:
                    raise ValueError("failed")

            async def work_async(self, data: Any) -> None:
                await asyncio.sleep(0)
                self.work(data)

            def on_error(self, error: BaseException, told: Any = told) -> None:
                told.append(error)

        manager.load(manager.register(Acting))
        for priority in (90, 10):
            manager.register_hook(
                "event", lambda data, calls=calls: calls.append("ran"), None, priority
            )
        manager.register_hook("event", lambda data: "returned", priority=0)
        assert DISPATCH[way](manager) == "returned"
        assert sorted(calls) == ["acted", "ran", "ran"]
        assert len(told) == fails
        assert DISPATCH[way](manager) == "returned"
        assert sorted(calls) == ["acted"] + ["ran"] * 4


# -- two that call each other


def test_hooks_that_trigger_each_other_stop_nobody(run_python: RunPython) -> None:
    """An endless exchange of two plugins fails the outermost hook, in every kind of dispatch."""
    program = """
        import asyncio, gc, logging
        from nitro_dispatch import HookError, PluginBase, PluginManager

        # The finalizer of an event loop complains if it has to run where the stack ends.
        gc.disable()
        logging.disable()

        def play(method, strategy, options):
            told, ran, manager = [], [], PluginManager()
            dispatch = getattr(manager, method)

            class Player(PluginBase):
                def on_load(self):
                    hit = self.hit_later if options else self.hit
                    self.register_hook(self.name, hit, **options)

                def hit(self, data):
                    return dispatch(self.other, data)

                async def hit_later(self, data):
                    await asyncio.sleep(0)
                    return await self.hit(data)

                def on_error(self, error):
                    told.append((self.name, type(error)))

            for name, other in (("ping", "pong"), ("pong", "ping")):
                player = type("Player", (Player,), {"name": name, "other": other})
                manager.load(manager.register(player))
            manager.register_hook("ping", lambda data: ran.append(data))
            manager.set_error_strategy(strategy)
            try:
                result = dispatch("ping", 1)
                if method.endswith("async"):
                    asyncio.run(asyncio.wait_for(result, 60))
            except HookError as error:
                assert strategy == "fail_fast" and isinstance(error.__cause__, RecursionError)
            else:
                assert strategy != "fail_fast" and ran[-1] == 1
            assert told == [("ping", RecursionError)], (method, strategy, options, told)

        asynchronous = ("trigger_async", "collect_async")
        plays = [(method, {}) for method in ("trigger", "collect", "first", "trace", *asynchronous)]
        # What suspends within a time limit has a task of its own, and with it a stack.
        plays += [(method, {"timeout": 60}) for method in asynchronous]
        for method, options in plays:
            for strategy in ("log_and_continue", "collect_all", "fail_fast"):
                play(method, strategy, options)
        print("survived")
    """
    assert run_python(program) == "survived\n"


def test_a_hook_may_have_its_event_fired_anew_for_ever() -> None:
    """What a hook of `collect_async` starts, and goes on behind it, is nested in nothing."""
    registry, rounds = HookRegistry(), sys.getrecursionlimit() + 100

    async def main() -> None:
        ended, count = asyncio.Event(), itertools.count(1)

        async def fire_later() -> None:
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            await registry.collect_async("event")

        async def again(data: Any) -> None:
            if next(count) < rounds:
                tasks.append(asyncio.ensure_future(fire_later()))
            else:
                ended.set()

        tasks: list[asyncio.Task[None]] = []
        registry.register("event", again, Bad(Exception))
        await registry.collect_async("event")
        await ended.wait()
        await asyncio.gather(*tasks)

    run(main())


# -- the other places where code of plugins runs


def test_a_bad_plugin_stops_no_other() -> None:
    """Whatever `__init__` and `on_load` raise, `load_all` loads the others and says what failed."""
    for place, (name, error) in itertools.product(("__init__", "on_load"), ERRORS.items()):
        manager, bad = PluginManager(), Bad(error)

        def fail(plugin: PluginBase, bad: Bad = bad) -> None:
            bad.fail(None)

        for number in range(3):
            code = {place: fail} if number == 1 else {}
            manager.register(type("Plugin", (PluginBase,), {"name": f"{number}", **code}))
        assert manager.load_all() == ["0", "2"], (place, name)
        assert manager.failures["1"].stage == place.strip("_")
        assert manager.failures["1"].error is bad.raised[0]
        with pytest.raises(PluginLoadError) as raised:
            manager.load("1")
        assert "'1'" in str(raised.value)
        assert manager.get_events() == []
        manager.unload_all()


@few_errors
@pytest.mark.parametrize("lazy", [True, False])
def test_a_file_that_raises_stops_no_other(tmp_path: Path, error: Raise, lazy: bool) -> None:
    """Whatever a file raises at import, the plugins of the others are found and loaded."""
    source = """
        import nitro_dispatch
        {fault}
        class Plugin(nitro_dispatch.PluginBase):
            name = {name!r}
    """
    sys.modules["faults"] = faults = type(sys)("faults")
    vars(faults).update(error=error)
    try:
        for number in range(3):
            fault = "import faults; raise faults.error()" if number == 1 else ""
            text = textwrap.dedent(source).format(fault=fault, name=f"plugin {number}")
            (tmp_path / f"p{number}_plugin.py").write_text(text)
        manager = PluginManager(lazy=lazy)
        manager.discover_plugins(str(tmp_path))
        manager.load_all()
        for number in (0, 2):
            assert manager.load(f"plugin {number}").name == f"plugin {number}"
        (failure,) = manager.failures.values() or [None]
        if not lazy:
            assert failure is not None
            assert failure.stage == "import"
        with pytest.raises(Exception, match="plugin 1"):
            manager.load("plugin 1")
        manager.unload_all()
    finally:
        del sys.modules["faults"]


@few_errors
@every_dispatch
@pytest.mark.parametrize("kind", ["sync", "async"])
def test_whatever_on_error_raises_the_others_run(way: str, error: Raise, kind: str) -> None:
    """An `on_error` that fails in turn ends no dispatch, under no strategy."""

    class Worse(Bad):
        def on_error(self, error: BaseException) -> Any:
            self.told.append(error)
            return self.fail_async(None) if kind == "async" else self.fail(None)

    for strategy in STRATEGIES:
        registry, worse = HookRegistry(), Worse(error)
        registry.set_error_strategy(strategy)
        registry.register("event", broken, worse)
        registry.register("event", lambda data: "returned")
        if strategy == "fail_fast":
            with pytest.raises(HookError, match="it is broken"):
                DISPATCH[way](registry)
        else:
            assert DISPATCH[way](registry) == "returned"
        assert len(worse.told) == 1


@few_errors
@every_dispatch
def test_whatever_a_tracer_raises_the_hooks_run(way: str, error: Raise) -> None:
    """A tracer that fails keeps no hook from running, and no other tracer from being told."""
    registry, calls = HookRegistry(), list[str]()
    for tracer in (Bad(error).fail, lambda call: calls.append(call.outcome), Bad(error).fail):
        registry.add_tracer(tracer)
    registry.register("event", broken)
    registry.register("event", lambda data: "returned")
    assert DISPATCH[way](registry) == "returned"
    assert sorted(calls) == ["failed", "returned"]


@few_errors
@every_strategy
def test_whatever_on_unload_raises_all_are_unloaded(error: Raise, strategy: str) -> None:
    """`unload_all`, and the end of the manager's context, unload the others and never raise."""
    ended: list[str] = []
    with PluginManager() as manager:
        manager.set_error_strategy(strategy)
        for number in range(3):

            def on_unload(plugin: PluginBase, number: int = number) -> None:
                ended.append(plugin.name)
                if number == 1:
                    raise error()

            body = {"name": f"{number}", "on_unload": on_unload}
            manager.load(manager.register(type("Plugin", (PluginBase,), body)))
    assert ended == ["2", "1", "0"]
    assert manager.get_all_plugins() == {}


@few_errors
def test_unload_raises_whatever_on_unload_raised(error: Raise) -> None:
    """The plugin is unloaded, and its error reaches the caller, `SystemExit` as a cause."""
    manager, bad = PluginManager(), Bad(error)
    body = {"name": "bad", "on_unload": lambda plugin: bad.fail(None)}
    manager.load(manager.register(type("Plugin", (PluginBase,), body)))
    with pytest.raises(Exception) as raised:  # noqa: PT011
        manager.unload("bad")
    exits = type(bad.raised[0]) is SystemExit
    assert (raised.value.__cause__ if exits else raised.value) is bad.raised[0]
    assert not manager.is_loaded("bad")


@few_errors
@every_strategy
def test_whatever_a_lifecycle_listener_raises_changes_no_outcome(
    error: Raise, strategy: str, tmp_path: Path
) -> None:
    """Listeners of all six events fail, and plugins are registered, loaded and unloaded."""
    manager, heard, bad = PluginManager(), list[str](), Bad(error)
    manager.set_error_strategy(strategy)
    manager.register_hook("nitro.**", bad.fail, bad, priority=100)
    manager.register_hook("nitro.**", lambda data, event: heard.append(event))
    manager.register_hook("nitro.**", bad.fail, bad, priority=0, timeout=PATIENCE)
    reason = ValueError("no network")

    def on_load(plugin: PluginBase) -> None:
        raise reason

    with manager:
        manager.register(type("Good", (PluginBase,), {"name": "good"}))
        manager.register(type("Failing", (PluginBase,), {"name": "failing", "on_load": on_load}))
        assert manager.load_all() == ["good"]
        assert manager.failures["failing"].error is reason
        with pytest.raises(PluginLoadError, match="no network") as raised:
            manager.load("failing")
        assert raised.value.__cause__ is reason
    assert manager.get_all_plugins() == {}
    names = ["startup", *["registered"] * 2, "loaded", *["error"] * 2, "shutdown", "unloaded"]
    assert [event.rsplit(".", 1)[1] for event in heard] == names
    assert len(bad.told) == 2 * len(names)


class BadHandler(logging.Handler):
    """A handler that raises."""

    def __init__(self, error: Raise) -> None:
        super().__init__()
        self.error = error
        self.records = 0

    def handle(self, record: logging.LogRecord) -> bool:
        self.records += 1
        raise self.error()


@few_errors
def test_a_handler_that_raises_stops_nothing(error: Raise, tmp_path: Path) -> None:
    """Whatever a handler of the log raises, plugins are found, loaded, called and unloaded."""
    logger, handler = logging.getLogger("nitro_dispatch"), BadHandler(error)
    (tmp_path / "broken_plugin.py").write_text("raise ValueError('broken')")
    (tmp_path / "unreadable_plugin.py").write_text("class")
    source = """
        from nitro_dispatch import PluginBase, hook
        class Good(PluginBase):
            name = "good"
            @hook("event")
            def fail(self, data):
                raise ValueError("failed")
            @hook("event")
            async def skipped(self, data):
                raise ValueError("failed")
            def on_unload(self):
                raise ValueError("failed")
    """
    (tmp_path / "good_plugin.py").write_text(textwrap.dedent(source))
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.DEBUG)
    try:
        manager = PluginManager()
        manager.enable_hook_tracing(True)
        assert manager.discover_plugins(str(tmp_path)) == ["good"]
        assert len(manager.failures) == 2
        manager.register(type("Failing", (PluginBase,), {"on_load": broken}))
        manager.register(type("Failing", (PluginBase,), {"on_load": broken}))
        assert manager.load_all() == ["good"]
        manager.register_hook("event", lambda data: "returned")
        for way, dispatch in DISPATCH.items():
            assert dispatch(manager) == "returned", way
        assert manager.reload("good").name == "good"
        manager.unload_all()
        assert manager.get_all_plugins() == {}
        assert handler.records > 10
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)


# -- what passes leaves nothing behind


@pytest.mark.parametrize("place", ["__init__", "on_load"])
@pytest.mark.parametrize("error", [KeyboardInterrupt, GeneratorExit, asyncio.CancelledError])
@pytest.mark.parametrize("method", ["load", "load_all", "dependent"])
def test_an_interrupted_load_leaves_no_half_state(
    place: str, error: type[BaseException], method: str, tmp_path: Path
) -> None:
    """What interrupts a load passes, and the plugin is not there; the next attempt succeeds."""
    source = """
        from nitro_dispatch import PluginBase
        class Late(PluginBase):
            name = "late"
            dependencies = ["interrupted"]
    """
    manager = PluginManager(lazy=True)
    attempts = iter([error(), None, None])

    class Interrupted(PluginBase):
        name = "interrupted"

        @hook("event")
        def answer(self, data: Any) -> str:
            return "returned"

    def fail(plugin: PluginBase) -> None:
        interruption = next(attempts)
        if interruption is not None:
            raise interruption

    setattr(Interrupted, place, fail)
    manager.register(Interrupted)
    (tmp_path / "late_plugin.py").write_text(textwrap.dedent(source))
    if method == "dependent":
        manager.discover_plugins(str(tmp_path))
    begin: Callable[[], object] = {
        "load": lambda: manager.load("interrupted"),
        "load_all": manager.load_all,
        "dependent": lambda: manager.load("late"),
    }[method]
    with pytest.raises(error):
        begin()
    assert manager.get_all_plugins() == {}
    assert manager.trigger("event", "given") == "given"
    begin()
    assert manager.is_loaded("interrupted")
    assert manager.trigger("event", "given") == "returned"


@pytest.mark.parametrize("method", ["trigger_async", "collect_async"])
@pytest.mark.parametrize("error", [KeyboardInterrupt, asyncio.CancelledError, GeneratorExit])
def test_an_interrupted_dispatch_leaves_nothing_to_be_awaited(
    method: str, error: type[BaseException], recwarn: pytest.WarningsRecorder
) -> None:
    """The hooks around one that interrupts end, and no coroutine is left that nobody awaits."""
    registry = HookRegistry()

    async def wait(data: Any) -> None:
        await asyncio.sleep(0)

    for priority in (90, 10):
        registry.register("event", wait, priority=priority)
        registry.register("event", wait, priority=priority, timeout=PATIENCE)
        registry.register("event", lambda data: wait(data), priority=priority)
        registry.register("event", lambda data: wait(data), priority=priority, atomic=True)
    registry.register("event", Bad(error).fail_async)
    for _ in range(2):
        with pytest.raises(error):
            asyncio.run(getattr(registry, method)("event"))
        gc.collect()
    assert [str(warning.message) for warning in recwarn] == []
