"""What is refused changes nothing, and what is gone is not called any more."""

from __future__ import annotations

import abc
import asyncio
import builtins
import textwrap
import threading
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import Any, Callable, cast

import pytest

from concurrency import PATIENCE, THREADS, Gate, Together, elsewhere
from loops import run
from nitro_dispatch import (
    HookRegistry,
    PluginBase,
    PluginDiscoveryError,
    PluginLoadError,
    PluginManager,
    PluginNotFoundError,
    PluginRegistrationError,
    ValidationError,
    hook,
)
from plugin_classes import MakePlugin
from plugin_files import Folder, WriteModule, own_modules

LIFECYCLE = "nitro.plugin.*"


# -- what is refused


ARMED = """
    from nitro_dispatch import PluginBase, hook

    class Armed(PluginBase):
        name = "armed"

        @hook("seldom")
        def act(self, data):
            return [*data, "armed"]
"""


def answering(name: str, **options: Any) -> Any:
    """Make a hook that adds a name to the data."""
    return hook("event", **options)(lambda self, data: [*data, name])


class Scene:
    """A manager with plugins in every state, and everything that can be seen of it."""

    STATES = ("loaded", "disabled", "armed", "failed", "registered")

    def __init__(self, folder: Path, make_plugin: MakePlugin, caplog: Any) -> None:
        self.folder = folder
        self.caplog = caplog
        self.manager = manager = PluginManager(lazy=True)
        (folder / "armed_plugin.py").write_text(textwrap.dedent(ARMED))
        manager.discover_plugins(folder)
        plugins = {
            "loaded": {"act": answering("loaded", before="disabled")},
            "disabled": {"act": answering("disabled")},
            "failed": {"on_load": lambda self: 1 / 0, "act": answering("failed")},
        }
        for name, attributes in plugins.items():
            manager.register(make_plugin(name, **attributes))
        manager.load_all()
        manager.register(make_plugin("registered", "loaded>=1", act=answering("registered")))
        manager.register_hook("ev*", lambda data: [*data, "pattern"], priority=70)
        manager.disable_plugin("disabled")
        self.heard: list[Any] = []
        manager.register_hook(LIFECYCLE, self.heard.append)
        caplog.clear()

    def everything(self) -> dict[str, Any]:
        """Show all that is public, and all that lies around it."""
        manager = self.manager
        plan = manager.plan()
        return {
            "registered": manager.get_registered_plugins(),
            "loaded": manager.get_loaded_plugins(),
            "instances": manager.get_all_plugins(),
            "enabled": [plugin.enabled for plugin in manager.get_all_plugins().values()],
            "failures": manager.failures,
            "plan": (plan.order, plan.problems),
            "described": manager.describe(),
            "events": manager.get_events(),
            "steps": [(each.plugin, each.hook) for each in manager.trace("event", []).steps],
            "result": manager.trigger("event", []),
            "answers": manager.collect("event", []),
            "first": manager.first("event", []),
            "heard": list(self.heard),
            "logged": [record.getMessage() for record in self.caplog.records],
            "modules": own_modules(),
            "files": sorted(self.folder.glob("*.py")),
        }


@pytest.fixture
def scene(folder: Folder, make_plugin: MakePlugin, caplog: pytest.LogCaptureFixture) -> Scene:
    """Make a manager with plugins in every state."""
    return Scene(folder.path, make_plugin, caplog)


class Abstract(PluginBase, abc.ABC):
    @abc.abstractmethod
    def required(self) -> None: ...


class Unreadable(type):
    """Makes classes of which one field of the metadata cannot be read."""

    @property
    def author(cls) -> str:
        raise OSError("no author")


class Anonymous(PluginBase, metaclass=Unreadable):
    name = "loaded"
    author = "somebody"


BAD_ARGUMENTS: list[tuple[dict[str, Any], type[Exception]]] = [
    ({"event_name": ""}, ValueError),
    ({"event_name": None}, TypeError),
    ({"event_name": ["event", "other"]}, TypeError),
    ({"callback": None}, TypeError),
    ({"callback": "no callable"}, TypeError),
    ({"priority": "high"}, TypeError),
    ({"priority": float("nan")}, ValueError),
    ({"timeout": 0}, ValueError),
    ({"timeout": -1}, ValueError),
    ({"timeout": float("inf")}, ValueError),
    ({"timeout": float("nan")}, ValueError),
    ({"timeout": "1"}, TypeError),
    ({"timeout": True}, TypeError),
    ({"before": 3}, TypeError),
    ({"before": ["disabled", ""]}, TypeError),
    ({"after": ["loaded", 3]}, TypeError),
    ({"after": object()}, TypeError),
]


def register(scene: Scene, plugin_class: Any, validate: bool = True) -> None:
    """Register a class, or what is none."""
    scene.manager.register(plugin_class, validate)


def register_hook(scene: Scene, where: str, **change: Any) -> None:
    """Register a hook in one of the three ways."""
    loaded = scene.manager.get_plugin("loaded")
    assert loaded is not None
    arguments: dict[str, Any] = {"event_name": "event", "callback": lambda data: [], **change}
    if where == "plugin":
        loaded.register_hook(**arguments)
    else:
        scene.manager.register_hook(**arguments, plugin=loaded if where == "owner" else None)


def refusals() -> dict[str, tuple[Callable[[Scene], object], type[Exception]]]:
    """List calls that are refused, and by which error."""
    calls: dict[str, tuple[Callable[[Scene], object], type[Exception]]] = {
        "register what cannot be read": (partial(register, plugin_class=Anonymous), OSError),
        "set_error_strategy": (lambda each: each.manager.set_error_strategy(""), ValueError),
        "add_tracer": (lambda each: each.manager.add_tracer(cast("Any", "tracer")), TypeError),
        "discover in no folder": (
            lambda each: each.manager.discover_plugins(each.folder / "nowhere"),
            PluginDiscoveryError,
        ),
        "discover outside": (
            lambda each: each.manager.discover_plugins(each.folder, pattern="../*.py"),
            PluginDiscoveryError,
        ),
    }
    for validate in (True, False):
        for wrong in (
            PluginBase,
            Abstract,
            PluginBase(),
            object,
            3,
            None,
            "name",
            print,
            list[int],
        ):
            call = partial(register, plugin_class=wrong, validate=validate)
            calls[f"register {wrong!r} {validate=}"] = (call, PluginRegistrationError)
    faults: dict[str, Any] = {"version": 3, "dependencies": ["store>>1"], "author": None}
    for state in (*Scene.STATES, ""):
        body = {"name": state, "act": answering("faulty"), **faults}
        call = partial(register, plugin_class=type("Faulty", (PluginBase,), body))
        calls[f"register faults as {state!r}"] = (call, ValidationError)
    for where in ("manager", "owner", "plugin"):
        for change, error in BAD_ARGUMENTS:
            call = partial(register_hook, where=where, **change)
            calls[f"register_hook {change} {where}"] = (call, error)
    return calls


def here(scene: Scene, run: Callable[[], None]) -> None:
    """Run something as it is."""
    run()


def in_thread(scene: Scene, run: Callable[[], None]) -> None:
    """Run something in another thread."""
    elsewhere(run)


def in_hook(scene: Scene, run: Callable[[], None]) -> None:
    """Run something in a hook whose dispatch goes on."""
    scene.manager.register_hook("outer", lambda data: run())
    scene.manager.register_hook("outer", lambda data: "went on", priority=10)
    scene.manager.set_error_strategy("fail_fast")
    assert scene.manager.trigger("outer") == "went on"


def in_async_hook(scene: Scene, run: Callable[[], None]) -> None:
    """Run something in an async hook."""

    async def act(data: object) -> str:
        run()
        return "went on"

    scene.manager.register_hook("outer", act)
    scene.manager.set_error_strategy("fail_fast")
    assert asyncio.run(scene.manager.trigger_async("outer")) == "went on"


def in_on_load(scene: Scene, run: Callable[[], None]) -> None:
    """Run something in the `on_load` of a plugin, which loads all the same."""
    host = type("Host", (PluginBase,), {"on_load": lambda self: run()})
    scene.manager.load(scene.manager.register(host))
    assert scene.manager.is_loaded("Host")


@pytest.mark.parametrize("place", [here, in_thread, in_hook, in_async_hook, in_on_load])
def test_a_refused_call_changes_nothing(scene: Scene, place: Callable[..., None]) -> None:
    """After each call that is refused, wherever it is made, all is as it was before."""
    changed: list[tuple[str, str]] = []

    def refuse_all() -> None:
        for name, (refused, error) in refusals().items():
            before = scene.everything()
            with pytest.raises(error):
                refused(scene)
            after = scene.everything()
            changed.extend((name, key) for key in before if before[key] != after[key])

    place(scene, refuse_all)
    assert changed == []


def test_the_scene_shows_what_changes(scene: Scene, make_plugin: MakePlugin) -> None:
    """Where a call is not refused, a look at everything shows it."""
    before = scene.everything()
    scene.manager.register(make_plugin("newer", act=answering("newer")))
    scene.manager.register(make_plugin("loaded", act=answering("newer")))
    scene.manager.register_hook("event", lambda data: [*data, "newer"], before="disabled")
    after = scene.everything()
    changed = {key for key in before if before[key] != after[key]}
    assert {"described", "steps", "result", "answers", "heard", "logged"} <= changed


def test_lists_handed_out_before_a_refusal_stay(scene: Scene) -> None:
    """What getters have returned is the caller's own, also when calls are refused afterwards."""
    before = scene.everything()
    copies = {key: list(value) for key, value in before.items() if isinstance(value, list)}
    for refused, error in refusals().values():
        with pytest.raises(error):
            refused(scene)
    assert {key: before[key] for key in copies} == copies


@pytest.mark.parametrize("state", Scene.STATES)
@pytest.mark.parametrize("name", ["'{}'", "str('{}')"], ids=["described", "imported"])
def test_a_name_that_is_taken_changes_nothing_but_the_failures(
    scene: Scene, write_module: WriteModule, name: str, state: str
) -> None:
    """A found plugin whose name is taken is one more failure, and leaves no module."""
    write_module("helper_of_other.py", "")
    source = "import helper_of_other\n" + textwrap.dedent(ARMED).replace("seldom", "event")
    # What is no literal has to be imported to be known.
    source = source.replace('"armed"', name.format(state), 1)
    file = write_module("other/other_plugin.py", source)
    before = scene.everything()
    assert scene.manager.discover_plugins(file.parent) == []
    with pytest.raises(PluginNotFoundError):
        scene.manager.load("nobody")
    after = scene.everything()
    assert {key for key in before if before[key] != after[key]} == {"failures", "logged"}
    assert len(after["failures"]) == len(before["failures"]) + 1


@pytest.mark.parametrize("where", ["declared", "__init__", "on_load"])
@pytest.mark.parametrize("position", range(3))
def test_a_class_with_one_bad_hook_leaves_none(scene: Scene, where: str, position: int) -> None:
    """Whichever of a plugin's hooks is refused, the others are not left behind."""
    events = [f"event.{place}" for place in range(3)]

    class Bad(PluginBase):
        name = "bad"

        def __init__(self) -> None:
            if where == "declared":
                setattr(self, f"act_{position}", None)
            else:
                self.register_in("__init__")

        def on_load(self) -> None:
            self.register_in("on_load")

        def register_in(self, place: str) -> None:
            for number, event in enumerate(events):
                if where == place:
                    self.register_hook(event if number != position else "", self.act_0)

        @hook(events[0])
        def act_0(self, data: Any) -> Any: ...

        @hook(events[1])
        def act_1(self, data: Any) -> Any: ...

        @hook(events[2])
        def act_2(self, data: Any) -> Any: ...

    scene.manager.register(Bad)
    before = scene.everything()
    with pytest.raises(PluginLoadError, match="bad"):
        scene.manager.load("bad")
    after = scene.everything()
    concerned = {"failures", "described", "heard", "logged"}
    assert {key for key in before if before[key] != after[key]} == concerned


@pytest.mark.parametrize("events", [["", "b", "c"], ["a", "", "c"], ["a", "b", None], [3], []])
def test_a_refused_decorator_leaves_no_mark(events: Any) -> None:
    """A function that `@hook` refused for one of its events listens to none of them."""

    def act(self: Any, data: Any) -> Any:
        return "called"

    with pytest.raises((TypeError, ValueError)):
        hook(events)(act)
    manager = PluginManager()
    plugin = type("Plain", (PluginBase,), {"act": act})
    manager.load(manager.register(plugin))
    assert manager.get_events() == []
    assert hook("a")(act) is act
    manager.reload("Plain")
    assert manager.get_events() == ["a"]


def test_a_refused_second_decorator_leaves_the_first() -> None:
    """Where `@hook` is refused on a hook, that listens to what it listened to before."""

    class Greeter(PluginBase):
        @hook("a", priority=7)
        def act(self, data: Any) -> Any:
            return "called"

        with pytest.raises(TypeError, match="stacked"):
            hook("b")(act)

    manager = PluginManager()
    manager.load(manager.register(Greeter))
    assert manager.get_events() == ["a"]


def test_refusals_in_many_threads_change_nothing() -> None:
    """While threads register what is refused, what others register is all there, in order."""
    registry, manager = HookRegistry(), PluginManager()

    def refused() -> None:
        for change, error in BAD_ARGUMENTS * 5:
            arguments: dict[str, Any] = {"event_name": "event", "callback": print, **change}
            with pytest.raises(error):
                registry.register(**arguments)
            with pytest.raises(ValidationError):
                manager.register(type("Faulty", (PluginBase,), {"name": "good 1", "version": 3}))

    def accepted(thread: int) -> None:
        for number in range(20):
            registry.register("event", lambda data, mine=(thread, number): [*data, mine])
            name = f"good {thread * 20 + number}"
            manager.register(type("Good", (PluginBase,), {"name": name}))

    goods = [lambda thread=thread: accepted(thread) for thread in range(THREADS // 2)]
    assert set(Together(*goods, *[refused] * (THREADS // 2)).join()) == {None}
    answers = registry.trigger("event", [])
    assert sorted(answers) == [(t, n) for t in range(THREADS // 2) for n in range(20)]
    for thread in range(THREADS // 2):
        assert [n for t, n in answers if t == thread] == list(range(20))
    assert len(manager.load_all()) == len(answers)
    assert registry.get_all_events() == ["event"]


# -- what is gone

HOOKS = """
from nitro_dispatch import PluginBase, hook

class Going(PluginBase):
    name = "NAME"
    dependencies = ["base"]

    @hook("event.now", priority=FIRST, blocking=False)
    def begin(self, data):
        data.act(self.name)

    @hook("event.now")
    def plain(self, data):
        data.note(self.name, "plain")

    @hook("event.*")
    def pattern(self, data, event):
        data.note(self.name, event)

    @hook("event.now", blocking=False)
    def inline(self, data):
        data.note(self.name, "inline")

    @hook("event.now", timeout=20)
    def timed(self, data):
        data.note(self.name, "timed")

    @hook("event.now", timeout=20)
    def timed_too(self, data):
        data.note(self.name, "timed too")

    @hook("event.now")
    async def awaited(self, data):
        data.note(self.name, "awaited")

    @hook("event.now", timeout=20)
    async def awaited_in_time(self, data):
        data.note(self.name, "awaited in time")
"""
NO_HOOKS = HOOKS.partition("    @hook")[0]
SYNC = {"plain", "event.now", "inline", "timed", "timed too"}
ALL = SYNC | {"awaited", "awaited in time"}


class Data:
    """What hooks are given: it notes who was called, and lets the first hook of a plugin act."""

    def __init__(self, acting: str = "", act: Callable[[], object] = lambda: None) -> None:
        self.called: list[tuple[str, str]] = []
        self._acts = {acting: act}

    def __deepcopy__(self, memo: object) -> Data:
        return self

    def note(self, plugin: str, hook: str) -> None:
        self.called.append((plugin, hook))

    def act(self, plugin: str) -> None:
        self._acts.get(plugin, lambda: None)()


Fire = Callable[[PluginManager, Data], object]


SYNC_FIRE: dict[str, Fire] = {
    "trigger": lambda manager, data: manager.trigger("event.now", data),
    "collect": lambda manager, data: manager.collect("event.now", data),
    "first": lambda manager, data: manager.first("event.now", data),
    "trace": lambda manager, data: manager.trace("event.now", data),
}
FIRE: dict[str, Fire] = {
    **SYNC_FIRE,
    "trigger_async": lambda manager, data: run(manager.trigger_async("event.now", data)),
    "collect_async": lambda manager, data: run(manager.collect_async("event.now", data)),
}


class Stage:
    """A plugin that is loaded and one that is armed, which are about to go, and two that stay."""

    def __init__(self, folder: Folder, make_plugin: MakePlugin, fire: str) -> None:
        self.fire = fire
        self.manager = manager = PluginManager(lazy=True)
        manager.set_error_strategy("fail_fast")
        self.folder = folder
        self.write(HOOKS)
        manager.register(make_plugin("base"))
        manager.register(make_plugin("other", act=self.noting("other")))
        manager.discover_plugins(folder.path)
        manager.load_all()
        manager.load("loaded")
        for priority in (80, 50, 10):
            manager.register_hook("event.now", self.note, priority=priority)

    def write(self, source: str) -> None:
        for name, priority in (("loaded", 90), ("armed", 15)):
            text = source.replace("NAME", name).replace("FIRST", f"{priority}")
            self.folder.write(f"{name}_plugin.py", text)

    @staticmethod
    def note(data: Data) -> None:
        data.note("nobody", "")

    @staticmethod
    def noting(name: str) -> Any:
        return hook("event.now", priority=20)(lambda self, data: data.note(name, ""))

    def called(self, data: Data) -> dict[str, set[str]]:
        """Tell which hooks of which plugin were called; those of nobody are always."""
        assert data.called.count(("nobody", "")) == 3
        found: dict[str, set[str]] = {}
        for plugin, each in data.called:
            found.setdefault(plugin, set()).add(each)
        del found["nobody"]
        assert len(data.called) == 3 + sum(map(len, found.values()))
        return found

    def all_called(self) -> dict[str, set[str]]:
        """Tell what is called where nothing goes."""
        kinds = SYNC if self.fire in SYNC_FIRE else ALL
        return {"other": {""}, "loaded": kinds, "armed": kinds}


@pytest.fixture(params=FIRE)
def stage(request: pytest.FixtureRequest, folder: Folder, make_plugin: MakePlugin) -> Stage:
    """Make a manager whose event is fired in one way after another."""
    return Stage(folder, make_plugin, request.param)


# Where hooks are called in turn. `collect_async` calls all at once: what runs in a worker need not
# come before the others.
IN_TURN = sorted(FIRE.keys() - {"collect_async"})

# -- what goes: each makes a change, and tells what is called after it


def disable(stage: Stage) -> dict[str, set[str]]:
    """Disable both by the manager."""
    stage.manager.disable_plugin("loaded")
    stage.manager.disable_plugin("armed")
    return {"other": {""}}


def set_enabled(stage: Stage) -> dict[str, set[str]]:
    """Disable the loaded one by its attribute."""
    plugin = stage.manager.get_all_plugins()["loaded"]
    plugin.enabled = False
    return {name: hooks for name, hooks in stage.all_called().items() if name != "loaded"}


def unload(stage: Stage) -> dict[str, set[str]]:
    """Unload both."""
    stage.manager.unload("loaded")
    stage.manager.unload("armed")
    return {"other": {""}}


def unload_dependency(stage: Stage) -> dict[str, set[str]]:
    """Unload what both need."""
    stage.manager.unload("base")
    return {"other": {""}}


def unload_all(stage: Stage) -> dict[str, set[str]]:
    """Unload everything."""
    stage.manager.unload_all()
    return {}


def unregister(stage: Stage) -> dict[str, set[str]]:
    """Forget both."""
    stage.manager.unregister("loaded")
    stage.manager.unregister("armed")
    return {"other": {""}}


def unregister_hooks(stage: Stage) -> dict[str, set[str]]:
    """Take three hooks out of the loaded one."""
    plugin: Any = stage.manager.get_plugin("loaded")
    stage.manager.unregister_hook("event.now", plugin.plain, plugin)
    stage.manager.unregister_hook("event.*", plugin.pattern, plugin)
    plugin.unregister_hook("event.now", plugin.timed_too)
    expected = stage.all_called()
    return {**expected, "loaded": expected["loaded"] - {"plain", "event.now", "timed too"}}


def reload(stage: Stage) -> dict[str, set[str]]:
    """Reload both from sources without hooks."""
    stage.write(NO_HOOKS)
    stage.manager.reload("loaded")
    stage.manager.reload("armed")
    return {"other": {""}}


def enable_again(stage: Stage) -> dict[str, set[str]]:
    """Disable both and enable them again."""
    disable(stage)
    stage.manager.enable_plugin("loaded")
    stage.manager.enable_plugin("armed")
    return stage.all_called()


def enable_again_what_was_reloaded(stage: Stage) -> dict[str, set[str]]:
    """Disable both, reload them as they are, and enable them again."""
    disable(stage)
    stage.manager.reload("loaded")
    stage.manager.reload("armed")
    stage.manager.enable_plugin("loaded")
    stage.manager.enable_plugin("armed")
    return stage.all_called()


Change = Callable[[Stage], dict[str, set[str]]]
CHANGES: list[Change] = [
    disable,
    set_enabled,
    unload,
    unload_dependency,
    unload_all,
    unregister,
    unregister_hooks,
    reload,
    enable_again,
    enable_again_what_was_reloaded,
]

# -- who makes the change: each lets an event be under way, and makes the change before the others


def fire_with(stage: Stage, first: Callable[..., object], **options: Any) -> Data:
    """Fire the event with one more hook in front."""
    data = Data()
    stage.manager.register_hook("event.now", first, priority=99, **options)
    FIRE[stage.fire](stage.manager, data)
    return data


def by_earlier_hook(stage: Stage, change: Callable[[], object]) -> Data:
    """Change it in a hook that runs earlier, in the thread of the dispatch."""
    return fire_with(stage, lambda data: change() and None, blocking=False)


def by_neighbour(stage: Stage, change: Callable[[], object]) -> Data:
    """Change it in a hook that shares a hop to a worker, and a hand-off, with those that go."""
    return fire_with(stage, lambda data: change() and None)


def by_timed_hook(stage: Stage, change: Callable[[], object]) -> Data:
    """Change it in a hook with a time limit."""
    return fire_with(stage, lambda data: change() and None, timeout=20)


def by_async_hook(stage: Stage, change: Callable[[], object]) -> Data:
    """Change it in an async hook."""

    async def act(data: object) -> None:
        change()

    return fire_with(stage, act)


def by_itself(stage: Stage, change: Callable[[], object]) -> Data:
    """Change it in the first hook of a plugin that goes."""
    data = Data("loaded", change)
    FIRE[stage.fire](stage.manager, data)
    return data


def by_nested_dispatch(stage: Stage, change: Callable[[], object]) -> Data:
    """Change it in a hook of an event that an earlier hook fires."""
    stage.manager.register_hook("inner", lambda data: change() and None)
    return fire_with(stage, lambda data: stage.manager.trigger("inner"), blocking=False)


def by_on_error(stage: Stage, change: Callable[[], object]) -> Data:
    """Change it where a plugin hears that its hook has failed."""

    class Clumsy(PluginBase):
        def on_error(self, error: BaseException) -> None:
            change()

    stage.manager.set_error_strategy("log_and_continue")
    plugin = stage.manager.load(stage.manager.register(Clumsy))
    data = Data()
    plugin.register_hook("event.now", lambda data: 1 / 0, 99, blocking=False)
    FIRE[stage.fire](stage.manager, data)
    return data


def by_thread(stage: Stage, change: Callable[[], object]) -> Data:
    """Change it in another thread, while a hook is held that runs earlier."""
    gate = Gate()
    firing = Together(lambda: fire_with(stage, gate, blocking=False))
    assert gate.reached.wait(PATIENCE)
    change()
    gate.open.set()
    (data,) = firing.join()
    assert isinstance(data, Data), data
    return data


def by_task(stage: Stage, change: Callable[[], object]) -> Data:
    """Change it in another task, while the chain waits for an earlier async hook."""
    data = Data()

    async def main() -> None:
        reached, go_on = asyncio.Event(), asyncio.Event()

        async def wait(data: object) -> None:
            reached.set()
            await go_on.wait()

        stage.manager.register_hook("event.now", wait, priority=99)
        dispatch = asyncio.ensure_future(stage.manager.trigger_async("event.now", data))
        await reached.wait()
        change()
        go_on.set()
        await dispatch

    run(main())
    return data


Way = Callable[[Stage, Callable[[], object]], Data]
WAYS: dict[Way, Iterable[str]] = {
    by_earlier_hook: FIRE,
    by_itself: FIRE,
    by_nested_dispatch: FIRE,
    by_on_error: FIRE,
    by_thread: FIRE,
    by_neighbour: IN_TURN,
    by_timed_hook: IN_TURN,
    by_async_hook: sorted(FIRE.keys() - SYNC_FIRE.keys()),
    by_task: ["trigger_async"],
}
CASES = [pytest.param(fire, way, id=f"{fire}-{way.__name__}") for way in WAYS for fire in WAYS[way]]


def test_all_are_called_where_nothing_changes(stage: Stage) -> None:
    """Where no plugin goes, each hook of each kind is called, and an armed plugin is imported."""
    data = Data()
    FIRE[stage.fire](stage.manager, data)
    assert stage.called(data) == stage.all_called()
    assert stage.manager.is_loaded("armed")


@pytest.mark.parametrize("change", CHANGES, ids=lambda each: each.__name__)
@pytest.mark.parametrize(("stage", "way"), CASES, indirect=["stage"])
def test_what_has_gone_is_not_called_any_more(stage: Stage, way: Way, change: Change) -> None:
    """Whoever takes a hook away while an event is under way: it is not called, the others are."""
    expected: list[dict[str, set[str]]] = []
    data = way(stage, lambda: expected.append(change(stage)))
    assert [stage.called(data)] == expected
    if change is not reload:
        assert stage.manager.is_loaded("armed") == ("armed" in expected[0])


GOING = {
    "disable": lambda manager: manager.disable_plugin("armed"),
    "unload": lambda manager: manager.unload("armed"),
    "unregister": lambda manager: manager.unregister("armed"),
}


@pytest.mark.parametrize("go", GOING.values(), ids=GOING)
@pytest.mark.parametrize("stage", IN_TURN, indirect=True)
def test_what_goes_as_it_is_woken_is_not_called(
    stage: Stage, go: Callable[[PluginManager], None]
) -> None:
    """A plugin that a listener ends as its first event loads it is not called for that event."""
    stage.manager.register_hook(PluginManager.EVENT_PLUGIN_LOADED, lambda data: go(stage.manager))
    data = Data()
    FIRE[stage.fire](stage.manager, data)
    expected = stage.all_called()
    del expected["armed"]
    assert stage.called(data) == expected


@pytest.mark.parametrize("go", GOING.values(), ids=GOING)
@pytest.mark.parametrize("fire", ["trigger_async", "collect_async"])
def test_what_goes_while_a_chain_waits_for_its_import_is_not_called(
    fire: str,
    go: Callable[[PluginManager], None],
    folder: Folder,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A plugin that ends when a worker has loaded it, before its turn in the loop, is silent."""
    importing, loaded = Gate(), threading.Event()
    monkeypatch.setattr(builtins, "importing", importing, raising=False)
    # Async hooks alone: a sync one runs in the worker that has loaded its plugin.
    first, *hooks = HOOKS.replace("NAME", "armed").replace('["base"]', "[]").split("    @hook")
    source = "    @hook".join([f"import builtins; builtins.importing()\n{first}", *hooks[-2:]])
    folder.write("armed_plugin.py", source)
    manager = PluginManager(lazy=True)
    manager.discover_plugins(folder.path)
    manager.load_all()
    manager.register_hook(PluginManager.EVENT_PLUGIN_LOADED, lambda data: loaded.set())
    data = Data()

    async def main() -> None:
        dispatch = asyncio.ensure_future(getattr(manager, fire)("event.now", data))
        assert await asyncio.to_thread(importing.reached.wait, PATIENCE)
        # From here on the loop stands still.
        importing.open.set()
        assert loaded.wait(PATIENCE)
        go(manager)
        await dispatch

    run(main())
    assert data.called == []
