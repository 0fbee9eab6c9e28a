"""Loading is all or nothing, at any depth."""

from __future__ import annotations

import asyncio
import builtins
import contextlib
import gc
import importlib
import itertools
import sys
import weakref
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Callable, Optional

import pytest

from concurrency import PATIENCE, THREADS, Gate, Together, elsewhere
from nitro_dispatch import (
    DependencyError,
    PluginBase,
    PluginLoadError,
    PluginManager,
    hook,
)
from plugin_classes import MakePlugin
from plugin_files import Folder, WriteModule, own_modules


class Recorder:
    """Writes down what lifecycle events tell of plugins, which has to be true as it is told."""

    def __init__(self, manager: PluginManager) -> None:
        self.manager = manager
        self.heard: list[tuple[str, str]] = []
        self.untrue: list[tuple[str, str]] = []
        manager.register_hook("nitro.plugin.*", self.hear)

    def hear(self, data: Any, event: str) -> None:
        kind, name = event.rpartition(".")[2], data["plugin_name"]
        plugin = self.manager.get_plugin(name)
        is_there = self.manager.is_loaded(name) and plugin is not None and plugin.enabled
        has_failed = name in self.manager.failures
        truth = {"loaded": is_there and not has_failed, "error": has_failed and not is_there}
        if not truth.get(kind, not is_there):
            self.untrue.append((kind, name))
        self.heard.append((kind, name))

    def story(self) -> list[tuple[str, str]]:
        """Give what was told since it was last asked for."""
        assert self.untrue == []
        told, self.heard = self.heard, []
        return told


# -- graphs


def chain(length: int) -> dict[str, list[str]]:
    """Let each plugin need the one before."""
    return {f"p{place}": [f"p{place - 1}"] if place else [] for place in range(length)}


# What each plugin needs; the last one needs all others, directly or not. A question mark stands
# before what is optional.
GRAPHS: dict[str, Mapping[str, list[str]]] = {
    "one": chain(1),
    "three": chain(3),
    "fifty": chain(50),
    "diamond": {"low": [], "left": ["low"], "right": ["low"], "top": ["left", "right"]},
    "optional": {"low": [], "maybe": ["low"], "top": ["?maybe", "low"]},
    "optional below": {"maybe": [], "middle": ["?maybe"], "top": ["middle"]},
}


def affected(graph: Mapping[str, list[str]], culprit: str) -> list[str]:
    """Name who cannot be loaded where one cannot, the culprit first."""
    found = [culprit]
    for name, needs in graph.items():
        if not set(found).isdisjoint(needs):
            found.append(name)
    return found


# -- faults


class Fault:
    """What goes wrong with one plugin, until it is mended."""

    def __init__(self, manager: PluginManager, error: BaseException, before: str) -> None:
        self.manager = manager
        self.error = error
        self.before = before
        self.mended = False

    def strike(self, plugin: PluginBase) -> None:
        """Do what the plugin does before it fails, and fail."""
        if self.mended:
            return
        if self.before == "hooks":
            plugin.register_hook("event", lambda data: [*data, "half"])
            plugin.register_hook("half.*", print, timeout=3)
        elif self.before == "events":
            assert plugin.name not in plugin.trigger("event", [])
        elif self.before == "others":
            self.manager.load("aside")
        elif self.before == "itself":
            self.manager.load(plugin.name)
        raise self.error


WHERE = {
    "__init__": ["", "hooks", "itself"],
    "on_load": ["", "hooks", "events", "others", "itself"],
    "a hook": [""],
}
FAULTS = [
    pytest.param(where, before, error, id=f"{where}-{before or 'at once'}-{error.__name__}")
    for where, befores in WHERE.items()
    for before in befores
    for error in ((OSError,) if before else (OSError, SystemExit))
]


class World:
    """A manager with the plugins of a graph, one of which fails, and one aside."""

    def __init__(self, graph: Mapping[str, list[str]], culprit: str, **fault: Any) -> None:
        self.made: dict[str, list[weakref.ref[PluginBase]]] = {}
        self.manager = PluginManager()
        self.observe: Callable[[], object] = lambda: None
        self.where: str = fault["where"]
        self.fault = Fault(self.manager, fault["error"]("no disk"), fault["before"])
        for name, needs in graph.items():
            self.manager.register(self.make(name, needs, fails=name == culprit))
        self.manager.register(self.make("aside", [], fails=False))
        self.recorder = Recorder(self.manager)

    def make(self, name: str, needs: Iterable[str], *, fails: bool) -> type[PluginBase]:
        world = self

        class Made(PluginBase):
            dependencies = tuple(need for need in needs if need[0] != "?")
            optional_dependencies = tuple(need[1:] for need in needs if need[0] == "?")

            def __init__(self) -> None:
                world.made.setdefault(name, []).append(weakref.ref(self))
                self.step("__init__")

            def on_load(self) -> None:
                self.step("on_load")

            def on_unload(self) -> None:
                world.observe()

            def step(self, place: str) -> None:
                world.observe()
                if fails and world.where == place:
                    world.fault.strike(self)
                if fails and world.where == "a hook" and not world.fault.mended:
                    vars(self)["act"] = None

            @hook("event")
            def act(self, data: Any) -> Any:
                return [*data, name]

        Made.name = name
        return Made

    def look(self, *, settled: bool = True) -> list[str]:
        """Name the loaded plugins, of which everything that is public says the same.

        Args:
            settled: Whether no plugin is just being loaded, whose hooks are not called yet.
        """
        names = self.manager.get_loaded_plugins()
        instances = self.manager.get_all_plugins()
        assert list(instances) == names
        assert self.manager.trigger("event", []) == names
        if settled:
            assert self.manager.get_events() == ["nitro.plugin.*", *(["event"] if names else [])]
        for name in self.manager.get_registered_plugins():
            plugin = self.manager.get_plugin(name)
            assert plugin is instances.get(name)
            assert self.manager.is_loaded(name) is (name in names)
            assert plugin is None or plugin.enabled
        states = {info.metadata.name: info.state for info in self.manager.describe()}
        assert [name for name in states if states[name] == "loaded"] == sorted(
            names, key=list(states).index
        )
        assert [name for name in states if states[name] == "failed"] == sorted(
            self.manager.failures, key=list(states).index
        )
        return names

    def alive(self, name: str) -> int:
        """Count the instances of a plugin that are still there."""
        return sum(made() is not None for made in self.made.get(name, []))


Load = Callable[["World", list[str]], None]


def load_last(world: World, names: list[str]) -> None:
    """Load the plugin that needs the others, and then the one aside."""
    with contextlib.suppress(PluginLoadError):
        world.manager.load(names[-1])
    world.manager.load("aside")


def load_all(world: World, names: list[str]) -> None:
    """Load all plugins."""
    world.manager.load_all()


def prove(world: World, graph: Mapping[str, list[str]], culprit: str, load: Load) -> None:
    """Load a world in which one plugin fails, look at it, and load it once more when mended."""
    names, failed = list(graph), affected(graph, culprit)
    good = [name for name in [*names, "aside"] if name not in failed]
    load(world, names)
    assert sorted(world.look()) == sorted(good)
    told = [*(("loaded", name) for name in good), *(("error", name) for name in failed)]
    assert sorted(world.recorder.story()) == sorted(told)
    check_failures(world, failed)
    assert [name for name in failed if name in world.made] == [culprit]
    world.fault.mended = True
    world.fault.error = OSError()
    assert sorted(world.manager.load_all()) == sorted(failed)
    assert sorted(world.look()) == sorted([*names, "aside"])
    assert world.manager.failures == {}
    assert sorted(world.recorder.story()) == sorted(("loaded", name) for name in failed)


CASES = [
    pytest.param(GRAPHS[name], *fault.values, id=f"{name}-{fault.id}")
    for name in GRAPHS
    for fault in (FAULTS if name != "fifty" else FAULTS[::4])
]


@pytest.mark.usefixtures("quiet")
@pytest.mark.parametrize("load", [load_last, load_all])
@pytest.mark.parametrize(("graph", "where", "before", "error"), CASES)
def test_a_load_is_all_or_nothing(
    graph: Mapping[str, list[str]],
    where: str,
    before: str,
    error: type[BaseException],
    load: Load,
) -> None:
    """Whatever fails at whatever depth: nothing of it is left, the others load, a retry works."""
    names = list(graph)
    for culprit in dict.fromkeys((names[0], names[len(names) // 2], names[-1])):
        world = World(graph, culprit, where=where, before=before, error=error)
        prove(world, graph, culprit, load)


@pytest.mark.usefixtures("quiet")
def test_instances_that_failed_go_with_their_errors() -> None:
    """No instance of a failed plugin is left when its error is forgotten, which knew it."""
    worlds = []
    for fault in FAULTS:
        where, before, error = fault.values
        world = World(chain(3), "p1", where=where, before=before, error=error)
        prove(world, chain(3), "p1", load_all)
        worlds.append(world)
    gc.collect()
    assert [world.alive("p1") for world in worlds] == [1] * len(FAULTS)


@pytest.mark.usefixtures("quiet")
@pytest.mark.parametrize("load", [load_last, load_all])
@pytest.mark.parametrize("spoilt", [ValueError, SystemExit, RecursionError])
@pytest.mark.parametrize("strategy", ["log_and_continue", "fail_fast", "collect_all"])
@pytest.mark.parametrize("where", WHERE)
def test_a_listener_that_raises_leaves_no_half_state(
    where: str, strategy: str, spoilt: type[BaseException], load: Load
) -> None:
    """Whatever listeners raise as a load fails: all is as without them, and the error as well."""

    def spoil(data: Any) -> None:
        raise spoilt("spoilt")

    for culprit in ("low", "left", "top"):
        graph = GRAPHS["diamond"]
        world = World(graph, culprit, where=where, before="", error=OSError)
        world.manager.set_error_strategy(strategy)
        for priority in (99, 1):
            world.manager.register_hook("nitro.plugin.*", spoil, priority=priority)
        prove(world, graph, culprit, load)


def check_failures(world: World, failed: list[str]) -> None:
    """Compare what is on record with what has failed."""
    failures = world.manager.failures
    assert sorted(failures) == sorted(failed)
    culprit = failures[failed[0]]
    if world.where == "a hook":
        assert isinstance(culprit.error, TypeError)
    elif world.fault.before == "itself":
        assert isinstance(culprit.error, DependencyError)
        assert "circular" in str(culprit.error)
    else:
        assert culprit.error is world.fault.error
    assert culprit.stage == ("on_load" if world.where == "on_load" else "init")
    for name in failed[1:]:
        assert failures[name].culprit == culprit
        assert failures[name].via[-1] == failed[0]


@pytest.mark.parametrize("load", [load_last, load_all])
@pytest.mark.parametrize("error", [KeyboardInterrupt, GeneratorExit, asyncio.CancelledError])
@pytest.mark.parametrize("where", ["__init__", "on_load"])
@pytest.mark.parametrize("culprit", range(3))
def test_an_interrupt_passes_and_leaves_nothing(
    culprit: int, where: str, error: type[BaseException], load: Load
) -> None:
    """An interrupt at whatever depth passes, is no failure, and leaves nothing of the plugin."""
    graph = chain(3)
    world = World(graph, f"p{culprit}", where=where, before="hooks", error=error)
    with pytest.raises(error) as caught:
        load(world, list(graph))
    assert caught.value is world.fault.error
    before = list(graph)[:culprit]
    assert world.look() == before
    assert world.recorder.story() == [("loaded", name) for name in before]
    assert world.manager.failures == {}
    world.fault.mended = True
    assert world.manager.load_all() == [*list(graph)[culprit:], "aside"]
    assert world.look() == [*graph, "aside"]


@pytest.mark.parametrize("load", [load_last, load_all])
@pytest.mark.parametrize("event", ["loaded", "error"])
def test_an_interrupt_of_a_listener_leaves_no_half_state(event: str, load: Load) -> None:
    """What a listener interrupts has happened: a plugin is loaded whole, or has failed whole."""
    graph = GRAPHS["diamond"]
    world = World(graph, "right", where="on_load", before="hooks", error=OSError)
    interrupts = [KeyboardInterrupt()]

    def interrupt(data: Any) -> None:
        if interrupts:
            raise interrupts.pop()

    world.manager.register_hook(f"nitro.plugin.{event}", interrupt, priority=99)
    with pytest.raises(KeyboardInterrupt):
        load(world, list(graph))
    world.manager.unregister_hook(f"nitro.plugin.{event}", interrupt)
    assert world.look() == (["low"] if event == "loaded" else ["low", "left"])
    assert list(world.manager.failures) == ([] if event == "loaded" else ["right"])
    world.fault.mended = True
    world.manager.load_all()
    assert sorted(world.look()) == sorted([*graph, "aside"])
    assert world.manager.failures == {}


@pytest.mark.parametrize("before", WHERE["on_load"])
@pytest.mark.parametrize("culprit", GRAPHS["diamond"])
def test_no_thread_ever_sees_a_half(culprit: str, before: str) -> None:
    """At each step of loads, failures and unloads another thread sees plugins whole or not."""
    graph = GRAPHS["diamond"]
    world = World(graph, culprit, where="on_load", before=before, error=OSError)
    seen: list[list[str]] = []
    world.observe = lambda: seen.append(elsewhere(lambda: world.look(settled=False)))
    world.manager.register_hook("nitro.plugin.*", lambda data: world.observe(), priority=1)
    world.manager.load_all()
    world.fault.mended = True
    world.manager.load_all()
    assert len(seen[-1]) == len(graph) + 1
    world.manager.unload_all()
    assert seen[-1] == []


def test_threads_that_wait_for_a_failing_load_hear_of_it_once_each() -> None:
    """Each thread that asks for a plugin which fails tries it once, and has the error of that."""
    gate = Gate()
    errors: list[OSError] = []

    def fail(self: PluginBase) -> None:
        errors.append(OSError(f"no disk {len(errors)}"))
        if len(errors) == 1:
            gate()
        raise errors[-1]

    manager = PluginManager()
    manager.register(type("Bad", (PluginBase,), {"on_load": fail, "act": hook("event")(fail)}))
    manager.register(type("User", (PluginBase,), {"dependencies": ["Bad"]}))
    recorder = Recorder(manager)
    asking = Together(*[lambda: manager.load("Bad")] * THREADS)
    assert gate.reached.wait(PATIENCE)
    using = Together(lambda: manager.load("User"))
    assert manager.trigger("event", 7) == 7
    gate.open.set()
    refused = asking.join()
    (refused_user,) = using.join()
    assert {type(error) for error in refused} == {PluginLoadError}
    assert isinstance(refused_user, DependencyError)
    causes = [error.__cause__ for error in refused]
    assert len(set(map(id, causes))) == THREADS
    assert set(map(id, causes)) <= set(map(id, errors))
    assert len(errors) == THREADS + 1
    assert recorder.story().count(("error", "Bad")) == len(errors)
    assert manager.get_events() == ["nitro.plugin.*"]


# -- files

BAD = """
import builtins
{imports}
from nitro_dispatch import PluginBase, hook

class Bad(PluginBase):
    name = "bad"

    @hook("event")
    def act(self, data):
        return [*data, "bad"]

    @hook("event")
    async def act_async(self, data):
        return [*data, "bad"]
{methods}

class Twin(PluginBase):
    name = "twin"

    @hook("event")
    def act(self, data):
        return [*data, "twin"]

builtins.step("plugin", globals())
"""
METHODS = """
    def __init__(self):
        import helper_late
        builtins.step("__init__")

    def on_load(self):
        self.register_hook("event", self.act)
        builtins.step("on_load")
"""
STEP = "import builtins\nbuiltins.step(__name__.rpartition('.')[2])\n"
GOOD = """
from nitro_dispatch import PluginBase, hook

class Good(PluginBase):
    name = "good"

    @hook("event", priority=10)
    def act(self, data):
        return [*data, "good"]
"""


class Files:
    """A plugin file, or package, that imports others, any of which may fail."""

    def __init__(self, folder: Folder, write_module: WriteModule, layout: str) -> None:
        self.folder = folder
        self.place = ""
        self.error: Optional[BaseException] = None
        write_module("helper_whole.py", STEP)
        write_module("helper_parts/__init__.py", "")
        write_module("helper_parts/helper_part.py", "import helper_whole\n" + STEP)
        write_module("helper_late.py", "")
        importlib.import_module("helper_parts")
        self.imports = "import helper_parts.helper_part"
        self.name = "bad/bad_plugin.py"
        if layout == "package":
            self.name = "bad/bad_plugin/__init__.py"
            self.imports += "\nfrom . import submodule"
            folder.path.joinpath("bad").mkdir()
            folder.write("bad/bad_plugin/submodule.py", "from . import sibling\n" + STEP)
            folder.write("bad/bad_plugin/sibling.py", "import helper_whole\n" + STEP)
        folder.write("good_plugin.py", GOOD)

    def manager(self, methods: str = "", *, lazy: bool) -> PluginManager:
        """Make a manager that knows the good plugin."""
        self.folder.write(self.name, BAD.format(imports=self.imports, methods=methods))
        manager = PluginManager(lazy=lazy)
        manager.discover_plugins(self.folder.path)
        manager.load("good")
        return manager

    def armed(self) -> PluginManager:
        """Make a lazy manager that has armed the plugins of the file."""
        manager = self.manager(lazy=True)
        manager.discover_plugins(self.folder.path / "bad")
        assert manager.load_all() == ["bad", "twin"]
        return manager

    def step(self, place: str, namespace: Optional[dict[str, Any]] = None) -> None:
        """Fail, if it is the turn of this place."""
        if self.place == place and self.error is not None:
            raise self.error
        if namespace is not None and self.place == "gone":
            del namespace["Bad"]
        if namespace is not None and self.place == "hooks":
            namespace["Bad"].act = hook("event")(Data())

    def left(self) -> dict[str, object]:
        """Show the modules that are there, and what packages hold of them."""
        holders = [sys.modules[name] for name in ("helper_parts", "nitro_dispatch._discovered")]
        return {**own_modules(), **{holder.__name__ + ".": dir(holder) for holder in holders}}


class Data:
    """Anything that cannot be called."""


@pytest.fixture
def files(
    request: pytest.FixtureRequest,
    folder: Folder,
    write_module: WriteModule,
    monkeypatch: pytest.MonkeyPatch,
) -> Files:
    """Make a plugin file, or package, that imports others."""
    made = Files(folder, write_module, request.param)
    monkeypatch.setattr(builtins, "step", made.step, raising=False)
    return made


FIRST: dict[str, Callable[[PluginManager], object]] = {
    "load": lambda manager: [manager.load(name) for name in ("bad", "twin")],
    "get_plugin": lambda manager: [manager.get_plugin(name) for name in ("bad", "twin")],
    "trigger": lambda manager: manager.trigger("event", []),
    "collect": lambda manager: manager.collect("event", []),
    "trace": lambda manager: manager.trace("event", []),
    "trigger_async": lambda manager: asyncio.run(manager.trigger_async("event", [])),
    "collect_async": lambda manager: asyncio.run(manager.collect_async("event", [])),
}


# Which module fails, of which kind of plugin file.
PLACES = [
    *itertools.product(["file"], ["plugin", "helper_part"]),
    *itertools.product(["package"], ["plugin", "submodule", "sibling", "helper_whole"]),
]
IMPORTS = [
    pytest.param(*where, error, first, id=f"{where[1]}-{where[0]}-{error.__name__}-{first}")
    for where in PLACES
    for error, firsts in (
        (OSError, list(FIRST)),
        (SystemExit, ["trigger", "collect_async"]),
        (KeyboardInterrupt, ["load", "trigger", "trigger_async"]),
    )
    for first in firsts
]


@pytest.mark.parametrize(("files", "place", "error", "first"), IMPORTS, indirect=["files"])
def test_an_import_is_all_or_nothing(
    files: Files, place: str, error: type[BaseException], first: str
) -> None:
    """An armed plugin whose import fails in whatever module leaves none, and can be mended."""
    manager = files.armed()
    before = files.left()
    files.place, files.error = place, error("no disk")
    with contextlib.suppress(KeyboardInterrupt, PluginLoadError):
        FIRST[first](manager)
    assert files.left() == before
    assert manager.get_loaded_plugins() == ["good"]
    if error is not KeyboardInterrupt and first != "load":
        assert sorted(manager.failures) == ["bad", "twin"]
        assert manager.get_events() == ["event"]
        assert manager.trigger("event", []) == ["good"]
    files.place = ""
    manager.load_all()
    # What an interrupt has left armed keeps its place.
    assert sorted(manager.trigger("event", [])) == ["bad", "good", "twin"]
    assert manager.failures == {}
    assert files.left() != before


@pytest.mark.parametrize("first", FIRST)
@pytest.mark.parametrize("place", ["gone", "hooks"])
@pytest.mark.parametrize("files", ["file", "package"], indirect=True)
def test_a_class_that_is_not_what_it_was_described_as_leaves_nothing(
    files: Files, place: str, first: str
) -> None:
    """An armed plugin whose class is gone after the import, or has a bad hook, fails by itself."""
    manager = files.armed()
    recorder = Recorder(manager)
    files.place = place
    with contextlib.suppress(PluginLoadError):
        FIRST[first](manager)
    assert manager.trigger("event", []) == ["twin", "good"]
    assert manager.get_loaded_plugins() == ["good", "twin"]
    assert list(manager.failures) == ["bad"]
    assert sorted(recorder.story()) == [("error", "bad"), ("loaded", "twin")]
    files.place = ""
    manager.unload("twin")
    assert manager.load_all() == ["bad", "twin"]


@pytest.mark.parametrize("error", [OSError, SystemExit, KeyboardInterrupt])
@pytest.mark.parametrize("place", ["__init__", "on_load"])
@pytest.mark.parametrize("lazy", [True, False])
@pytest.mark.parametrize("files", ["package"], indirect=True)
def test_what_code_of_a_plugin_imports_goes_with_it(
    files: Files, lazy: bool, place: str, error: type[BaseException]
) -> None:
    """What `__init__` or `on_load` imported before it failed is gone, as is what was described."""
    manager = files.manager(METHODS, lazy=lazy)
    manager.discover_plugins(files.folder.path / "bad")
    before = files.left()
    files.place, files.error = place, error("no disk")
    for load in (lambda: manager.load("bad"), manager.load_all):
        with contextlib.suppress(KeyboardInterrupt, PluginLoadError):
            load()
        if manager.is_loaded("twin"):
            manager.unload("twin")
        assert "helper_late" not in sys.modules
        assert not manager.is_loaded("bad")
        if error is not KeyboardInterrupt:
            assert list(manager.failures) == ["bad"]
    if not lazy:
        assert files.left() == before
    files.place = ""
    manager.load_all()
    assert sorted(manager.trigger("event", [])) == ["bad", "bad", "good", "twin"]
    assert "helper_late" in sys.modules


@pytest.mark.parametrize("error", [OSError, SystemExit, KeyboardInterrupt])
@pytest.mark.parametrize(("files", "place"), PLACES, indirect=["files"])
def test_a_discovery_is_all_or_nothing(
    files: Files, place: str, error: type[BaseException]
) -> None:
    """A file that fails as it is found leaves no module and no plugin, and can be mended."""
    manager = files.manager(lazy=False)
    recorder = Recorder(manager)
    before = files.left()
    files.place, files.error = place, error("no disk")
    for _ in range(2):
        with contextlib.suppress(KeyboardInterrupt):
            assert manager.discover_plugins(files.folder.path / "bad") == []
        assert files.left() == before
        assert manager.get_registered_plugins() == ["good"]
        failures = [failure.error for failure in manager.failures.values()]
        assert failures == ([] if error is KeyboardInterrupt else [files.error])
    assert recorder.story() == []
    files.place = ""
    assert manager.discover_plugins(files.folder.path / "bad") == ["bad", "twin"]
    assert manager.load_all() == ["bad", "twin"]
    assert manager.trigger("event", []) == ["bad", "twin", "good"]
    assert manager.failures == {}


@pytest.mark.parametrize(
    ("lazy", "fault"),
    [
        (False, "name = ''"),
        (False, "version = 3"),
        # What is no literal has to be imported, for the name or for the plan.
        (True, "name = str()"),
        (True, "name = 'bad'; dependencies = list([3])"),
    ],
)
@pytest.mark.parametrize("files", ["package"], indirect=True)
def test_bad_metadata_leave_no_module(files: Files, lazy: bool, fault: str) -> None:
    """A plugin whose metadata turn out bad was imported for nothing, and can be mended."""
    manager = files.manager(lazy=lazy)
    source = BAD.format(imports=files.imports, methods="").partition("class Twin")[0]
    before = files.left()
    for body in (fault, "name = 'bad'"):
        files.folder.write(files.name, source.replace('name = "bad"', body))
        manager.discover_plugins(files.folder.path / "bad")
        manager.load_all()
        if body is fault:
            assert files.left() == before
            assert len(manager.failures) == 1
    assert manager.failures == {}
    assert manager.trigger("event", []) == ["bad", "good"]


@pytest.mark.parametrize(
    ("find", "replace"),
    [
        ("", ""),
        ('builtins.step("plugin", globals())', "1 / 0"),
        ('"bad"', "''"),
        ('"bad"', '"good"'),
        ("class Bad", "class Other"),
        ("(PluginBase)", ""),
    ],
    ids=["nothing", "import", "metadata", "taken", "gone", "no plugin"],
)
@pytest.mark.parametrize("files", ["file"], indirect=True)
def test_an_entry_point_that_is_refused_leaves_no_module(
    files: Files, write_module: WriteModule, find: str, replace: str
) -> None:
    """What an entry point names is imported for nothing where it is refused, and can be mended."""
    group = "tests.all_or_nothing"
    write_module("bad-1.dist-info/METADATA", "Metadata-Version: 2.1\nName: bad\nVersion: 1\n")
    write_module("bad-1.dist-info/entry_points.txt", f"[{group}]\nbad = entry_bad:Bad\n")
    manager = files.manager(lazy=False)
    before = files.left()
    source = BAD.format(imports=files.imports, methods="")
    if find:
        write_module("entry_bad.py", source.replace(find, replace, 1))
        assert manager.discover_entry_points(group) == []
        assert files.left() == before
        assert len(manager.failures) == 1
    write_module("entry_bad.py", source + "# Of another length, for byte code is told by that.")
    assert manager.discover_entry_points(group) == ["bad"]
    assert manager.load_all() == ["bad"]
    assert manager.failures == {}
    assert manager.trigger("event", []) == ["bad", "good"]


@pytest.mark.parametrize("who", ["plugin", "application"])
def test_a_failed_load_takes_nothing_from_another_thread(
    who: str, write_module: WriteModule, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What another thread is just importing itself is not taken back by a load that fails."""
    write_module("helper_whole.py", STEP)
    failing, importing = Gate(), Gate()
    first = [OSError("not yet")]

    def step(place: str) -> None:
        if first:
            raise first.pop()
        importing()

    def try_in_vain(self: PluginBase) -> None:
        with contextlib.suppress(OSError):
            importlib.import_module("helper_whole")
        failing()
        raise OSError("no disk")

    def use(self: object = None) -> object:
        return importlib.import_module("helper_whole")

    monkeypatch.setattr(builtins, "step", step, raising=False)
    manager = PluginManager()
    for name, on_load in (("Bad", try_in_vain), ("Good", use)):
        manager.register(type(name, (PluginBase,), {"on_load": on_load}))
    bad = Together(lambda: manager.load("Bad"))
    assert failing.reached.wait(PATIENCE)
    good = Together(use if who == "application" else partial(manager.load, "Good"))
    assert importing.reached.wait(PATIENCE)
    failing.open.set()
    assert isinstance(bad.join()[0], PluginLoadError)
    importing.open.set()
    (result,) = good.join()
    assert not isinstance(result, BaseException), result
    assert "helper_whole" in sys.modules


# -- classes that do not want to be cleared away


def refuse(self: Any, *arguments: Any) -> None:
    """Refuse every change of an instance."""
    raise AttributeError("frozen")


@dataclass
class Limits:
    most: int = 3


@dataclass(frozen=True)
class Frozen(PluginBase):
    number: int = 3
    config_model = Limits

    def on_load(self) -> None:
        self.register_hook("event", self.twice)
        self.register_hook("event", self.take)
        self.unregister_hook("event", self.twice)

    def take(self, data: Any) -> Any:
        return (self.number, self.settings.most)

    def twice(self, data: Any) -> Any: ...


def test_a_frozen_plugin_loads() -> None:
    """A plugin that lets nothing be set on it loads, and ends, like any other."""
    manager = PluginManager()
    plugin = manager.load(manager.register(Frozen))
    assert manager.trigger("event") == (3, 3)
    manager.unload("Frozen")
    assert (manager.get_events(), plugin.trigger("event", 7)) == ([], 7)


@pytest.mark.parametrize("stage", ["__init__", "on_load"])
def test_a_frozen_plugin_that_fails_stops_no_other(stage: str, make_plugin: MakePlugin) -> None:
    """A plugin that lets nothing be set on it and fails is a failure, and leaves nothing."""
    reason = OSError("no disk")

    def fail(self: PluginBase) -> None:
        raise reason

    act = hook("event")(lambda self, data: "called")
    manager = PluginManager()
    manager.register(make_plugin("bad", act=act, __setattr__=refuse, **{stage: fail}))
    manager.register(make_plugin("good"))
    assert manager.load_all() == ["good"]
    assert manager.failures["bad"].error is reason
    assert manager.get_events() == []


def test_a_plugin_that_attaches_itself_as_it_is_cleared_away_is_gone() -> None:
    """What the own `enabled` of a plugin registers as its failed load ends is not left behind."""

    class Clinging(PluginBase):
        @property
        def enabled(self) -> bool:
            return True

        @enabled.setter
        def enabled(self, value: bool) -> None:
            self.register_hook("event", print)

        def on_load(self) -> None:
            raise OSError("no disk")

    manager = PluginManager()
    with pytest.raises(PluginLoadError, match="no disk"):
        manager.load(manager.register(Clinging))
    assert manager.get_events() == []
