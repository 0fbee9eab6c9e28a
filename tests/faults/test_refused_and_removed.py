"""What is refused changes nothing, and what is gone is not called any more."""

from __future__ import annotations

import abc
import asyncio
import sys
import textwrap
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any, Callable, cast

import pytest

import nitro_dispatch
from concurrency import THREADS, Together, elsewhere
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

MakePlugin = Callable[..., type[PluginBase]]

LIFECYCLE = "nitro.plugin.*"


@pytest.fixture(autouse=True)
def forget_plugin_files() -> Iterator[None]:
    """Let the modules of a test's plugin files end with it."""
    before = set(sys.modules)
    yield
    for name in set(sys.modules) - before:
        if "._discovered." in name:
            del sys.modules[name]


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


def own_modules() -> dict[str, object]:
    """Show what is imported, but for what the library imports late, itself included."""
    installed = (sys.prefix, sys.base_prefix, str(Path(nitro_dispatch.__file__).parent))
    files = [(name, getattr(each, "__file__", None)) for name, each in sys.modules.items()]
    return {
        name: sys.modules[name] for name, file in files if file and not file.startswith(installed)
    }


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
            "files": sorted(self.folder.iterdir()),
        }


@pytest.fixture
def scene(tmp_path: Path, make_plugin: MakePlugin, caplog: pytest.LogCaptureFixture) -> Scene:
    """Make a manager with plugins in every state."""
    return Scene(tmp_path, make_plugin, caplog)


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
    scene: Scene, write_module: Callable[[str, str], Path], name: str, state: str
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
