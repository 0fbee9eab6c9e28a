"""Threads and forks: the manager may be used from everywhere at once."""

from __future__ import annotations

import asyncio
import sys
import threading
from collections.abc import Iterator
from typing import Any, Callable, Optional

import pytest

from concurrency import PATIENCE, THREADS, Gate, Together, elsewhere, in_child, needs_fork
from nitro_dispatch import (
    DependencyError,
    PluginBase,
    PluginLoadError,
    PluginManager,
    PluginNotFoundError,
    hook,
)
from nitro_dispatch.turns import Turns
from plugin_classes import MakePlugin

# -- turns


class Watched:
    """A registration whose turn ends just after somebody has looked at its owner."""

    def __init__(self) -> None:
        self.looks = 0
        self._owner: Optional[threading.Thread] = None
        self.end = threading.Event()
        self.ended = threading.Event()

    @property
    def owner(self) -> Optional[threading.Thread]:
        owner = self._owner
        self.looks -= 1
        if self.looks == 0:
            self.end.set()
            assert self.ended.wait(PATIENCE)
        return owner

    @owner.setter
    def owner(self, owner: Optional[threading.Thread]) -> None:
        self._owner = owner
        if owner is None:
            self.ended.set()


@pytest.mark.parametrize("looks", [1, 2, 3, 4])
def test_a_turn_may_end_at_any_moment(looks: int) -> None:
    """Whenever another thread's turn ends, the next one begins, and nothing is raised."""
    turns, registration = Turns(threading.RLock()), Watched()
    watched: Any = registration
    taken = threading.Event()

    def hold() -> None:
        turns.take(watched)
        registration.looks = looks
        taken.set()
        assert registration.end.wait(PATIENCE)
        turns.give_back(watched)

    def follow() -> None:
        assert taken.wait(PATIENCE)
        turns.take(watched)
        assert registration._owner is threading.current_thread()

    assert Together(hold, follow).join() == [None, None]


# -- everything at once


def test_threads_register_load_and_trigger_at_once(make_plugin: MakePlugin) -> None:
    """Eight threads that register, load and trigger at once get the right answers."""
    manager = PluginManager()
    loads: list[str] = []

    def plugin(name: str, *needs: str) -> type[PluginBase]:
        return make_plugin(
            name,
            *needs,
            on_load=lambda self: loads.append(self.name),
            act=hook(f"go.{name}")(lambda self, data: [*data, self.name]),
            count=hook("count")(lambda self, data: data + 1),
        )

    manager.register(plugin("shared"))

    def run(thread: int) -> None:
        for place in range(20):
            name = f"p{thread}.{place}"
            manager.register(plugin(name, "shared"))
            assert manager.load(name) is manager.get_plugin(name)
            assert manager.trigger(f"go.{name}", []) == [name]
            assert manager.trigger("count", 0) > 0
            manager.load_all()
            if place % 3 == 0:
                manager.unregister(name)
                assert manager.trigger(f"go.{name}", []) == []

    results = Together(*[lambda thread=thread: run(thread) for thread in range(THREADS)]).join()
    assert results == [None] * THREADS
    kept = {f"p{thread}.{place}" for thread in range(THREADS) for place in range(20) if place % 3}
    assert set(manager.get_loaded_plugins()) == {"shared", *kept}
    assert loads.count("shared") == 1
    assert manager.trigger("count", 0) == len(kept) + 1
    assert manager.failures == {}
    manager.unload("shared")
    assert manager.get_events() == []


def test_a_plugin_is_loaded_once_however_many_threads_ask(make_plugin: MakePlugin) -> None:
    """Threads that load one plugin at once get one instance, whose `on_load` ran once."""
    loads: list[PluginBase] = []
    gate = Gate()

    def on_load(self: PluginBase) -> None:
        loads.append(self)
        gate()

    manager = PluginManager()
    manager.register(make_plugin("cache", on_load=on_load))
    threads = Together(*[lambda: manager.load("cache")] * THREADS)
    assert gate.reached.wait(PATIENCE)
    assert not manager.is_loaded("cache")
    assert manager.get_plugin("cache") is None
    gate.open.set()
    assert threads.join() == loads * THREADS


def test_threads_that_share_a_dependency_invent_no_circle(make_plugin: MakePlugin) -> None:
    """Threads whose plugins need the same one wait for it, each of them, and all are loaded."""
    gate = Gate()
    manager = PluginManager()
    manager.register(make_plugin("base", on_load=gate))
    for place in range(THREADS):
        manager.register(make_plugin(f"middle{place}", "base"))
        manager.register(make_plugin(f"top{place}", f"middle{place}", f"middle{-place % THREADS}"))
    threads = Together(
        *[lambda place=place: manager.load(f"top{place}").name for place in range(THREADS)]
    )
    assert gate.reached.wait(PATIENCE)
    gate.open.set()
    assert threads.join() == [f"top{place}" for place in range(THREADS)]
    assert manager.failures == {}


def test_threads_that_load_all_at_once(make_plugin: MakePlugin) -> None:
    """Of threads that load all at once, each plugin is loaded, and named, by one of them."""
    manager = PluginManager()
    for place in range(50):
        manager.register(make_plugin(f"p{place}", *([f"p{place - 1}"] if place % 5 else [])))
    results = Together(*[manager.load_all] * THREADS).join()
    names = [name for result in results for name in result]
    assert sorted(names) == sorted(f"p{place}" for place in range(50))


def test_who_waited_for_a_failed_load_tries_it_again(make_plugin: MakePlugin) -> None:
    """A load that fails in one thread is tried anew by the one that waited for it."""
    gate = Gate()
    tries: list[int] = []

    def on_load(self: PluginBase) -> None:
        tries.append(len(tries))
        if tries == [0]:
            gate()
            raise OSError("busy")

    manager = PluginManager()
    manager.register(make_plugin("store", on_load=on_load))
    first = Together(lambda: manager.load("store"))
    assert gate.reached.wait(PATIENCE)
    second = Together(lambda: manager.load("store"))
    gate.open.set()
    assert isinstance(first.join()[0], PluginLoadError)
    assert second.join() == [manager.get_plugin("store")]
    assert manager.failures == {}


# -- nobody waits without need


@pytest.mark.parametrize("method", ["__init__", "on_load", "on_unload"])
def test_slow_code_of_one_plugin_stops_no_other(method: str, make_plugin: MakePlugin) -> None:
    """While the code of one plugin takes its time, everything else can be done with others."""
    gate = Gate()
    manager = PluginManager()
    manager.register(make_plugin("slow", **{method: gate}))
    manager.register(make_plugin("quick", act=hook("go")(lambda self, data: [*data, "quick"])))
    if method == "on_unload":
        manager.load("slow")
        threads = Together(lambda: manager.unload("slow"))
    else:
        threads = Together(lambda: manager.load("slow"))
    assert gate.reached.wait(PATIENCE)

    def use() -> None:
        assert manager.load("quick").name == "quick"
        assert manager.trigger("go", []) == ["quick"]
        assert asyncio.run(manager.trigger_async("go", [])) == ["quick"]
        manager.disable_plugin("quick")
        manager.enable_plugin("quick")
        manager.register(make_plugin("another"))
        manager.register_hook("other", print)
        manager.unregister_hook("other", print)
        assert manager.get_plugin("slow") is None
        assert not manager.is_loaded("slow")
        assert manager.get_loaded_plugins() == ["quick"]
        assert manager.plan().order == ("slow", "quick", "another")
        assert manager.reload("quick").name == "quick"
        manager.unload("quick")

    elsewhere(use)
    gate.open.set()
    threads.join()
    assert manager.is_loaded("slow") is (method != "on_unload")


@pytest.mark.parametrize("where", ["__init__", "on_load", "on_unload", "listener", "hook"])
def test_no_lock_is_held_while_code_of_others_runs(where: str, make_plugin: MakePlugin) -> None:
    """Code that is called may wait for another thread that uses the manager."""
    manager = PluginManager()
    waited: list[str] = []

    def use() -> None:
        name = f"helper{len(manager.get_registered_plugins())}"
        manager.register(make_plugin(name))
        manager.load(name)
        manager.unload(name)

    def wait(*arguments: Any) -> None:
        waited.append(where)
        elsewhere(use)

    if where == "listener":
        manager.register(make_plugin("asking"))
        remaining = [manager.EVENT_PLUGIN_LOADED, manager.EVENT_PLUGIN_UNLOADED]

        def once(data: Any, event: str) -> None:
            if event in remaining:
                remaining.remove(event)
                wait()

        for event in list(remaining):
            manager.register_hook(event, once)
    elif where == "hook":
        manager.register(make_plugin("asking", act=hook("go")(wait)))
    else:
        manager.register(make_plugin("asking", **{where: wait}))
    manager.load("asking")
    manager.trigger("go")
    manager.unload("asking")
    assert waited == [where] * (2 if where == "listener" else 1)


def test_who_loads_a_plugin_that_is_being_unloaded_waits(make_plugin: MakePlugin) -> None:
    """A plugin is loaded again only when its old instance has ended."""
    gate = Gate()
    steps: list[str] = []

    def on_unload(self: PluginBase) -> None:
        gate()
        steps.append("ended")

    manager = PluginManager()
    manager.register(
        make_plugin("store", on_load=lambda self: steps.append("begun"), on_unload=on_unload)
    )
    old = manager.load("store")
    unloading = Together(lambda: manager.unload("store"))
    assert gate.reached.wait(PATIENCE)
    loading = Together(lambda: manager.load("store"))
    gate.open.set()
    assert unloading.join() == [None]
    (new,) = loading.join()
    assert new is not old
    assert steps == ["begun", "ended", "begun"]


def test_code_that_loads_in_a_circle_across_threads(make_plugin: MakePlugin) -> None:
    """Two threads whose plugins wait for each other do not wait for ever: one is told why."""
    loading = {"a": threading.Event(), "b": threading.Event()}

    def load_other(name: str) -> Callable[[PluginBase], None]:
        def on_load(self: PluginBase) -> None:
            loading[self.name].set()
            assert loading[name].wait(PATIENCE)
            manager.load(name)

        return on_load

    manager = PluginManager()
    manager.register(make_plugin("a", on_load=load_other("b")))
    manager.register(make_plugin("b", on_load=load_other("a")))
    results = Together(lambda: manager.load("a"), lambda: manager.load("b")).join()
    errors = [result for result in results if isinstance(result, PluginLoadError)]
    assert errors
    assert any("circular" in str(error) for error in errors)
    assert all(isinstance(error, DependencyError) for error in errors)


# -- the end


@pytest.mark.parametrize("how", ["unload", "unload_all", "unregister"])
def test_on_unload_runs_once_however_many_threads_ask(how: str, make_plugin: MakePlugin) -> None:
    """Threads that unload the same plugins at once end each of them once."""
    ended: list[str] = []
    manager = PluginManager()
    for name, *needs in (("store",), ("cache", "store"), ("app", "cache", "store")):
        manager.register(make_plugin(name, *needs, on_unload=lambda self: ended.append(self.name)))
    manager.load_all()
    runs: dict[str, Callable[[], None]] = {
        "unload": lambda: manager.unload("store"),
        "unload_all": manager.unload_all,
        "unregister": lambda: manager.unregister("store"),
    }
    results = Together(*[runs[how]] * THREADS).join()
    assert sorted(ended) == ["app", "cache", "store"]
    assert all(result is None or isinstance(result, PluginNotFoundError) for result in results)
    assert None in results
    assert manager.get_loaded_plugins() == []
    assert manager.get_all_plugins() == {}


def test_loading_and_unloading_at_once_leaves_no_half(make_plugin: MakePlugin) -> None:
    """Whatever order threads load and unload in, no plugin is left without what it needs."""
    alive: set[str] = set()
    manager = PluginManager()
    needs = {"base": [], "middle": ["base"], "top": ["middle", "base"]}

    def on_load(self: PluginBase) -> None:
        assert alive.issuperset(self.dependencies)
        alive.add(self.name)

    for name, needed in needs.items():
        manager.register(
            make_plugin(
                name, *needed, on_load=on_load, on_unload=lambda self: alive.discard(self.name)
            )
        )

    def load() -> None:
        for _ in range(100):
            try:
                manager.load("top")
            except PluginLoadError as error:
                assert "unloaded meanwhile" in str(error) or "could not be loaded" in str(error)

    def unload() -> None:
        for place in range(100):
            try:
                manager.unload(list(needs)[place % 3])
            except PluginNotFoundError:
                continue

    results = Together(*[load, unload] * 3).join()
    assert results == [None] * 6
    loaded = manager.get_loaded_plugins()
    for name in loaded:
        assert set(loaded).issuperset(needs[name])
    manager.unload_all()
    assert alive == set()
    assert manager.load("top").name == "top"


@pytest.fixture
def hasty() -> Iterator[None]:
    """Let threads take turns as often as can be."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(interval)


def test_a_switch_during_a_reload_is_not_lost(
    make_plugin: MakePlugin, hasty: None, quiet: None
) -> None:
    """What is switched stays so, also where another instance takes the plugin's place just then."""
    manager = PluginManager()
    manager.register(make_plugin("store"))
    manager.load("store")
    enough = threading.Event()

    def is_enabled() -> bool:
        plugin: Any = None
        while plugin is not manager.get_plugin("store"):
            plugin = manager.get_plugin("store")
            enabled = plugin.enabled
        return bool(enabled)

    def switch() -> None:
        while not enough.is_set():
            manager.disable_plugin("store")
            assert not is_enabled()
            manager.enable_plugin("store")
            assert is_enabled()

    switching = Together(switch)
    for _ in range(1000):
        manager.reload("store")
    enough.set()
    assert switching.join() == [None]


# -- forks


@needs_fork
def test_a_child_has_a_usable_manager(make_plugin: MakePlugin) -> None:
    """In a child what was loaded is loaded, all can be done, and the parent sees none of it."""
    manager = PluginManager()
    manager.register(make_plugin("store", act=hook("go")(lambda self, data: [*data, self.name])))
    store = manager.load("store")

    def use() -> object:
        assert manager.get_plugin("store") is store
        manager.register(make_plugin("cache", "store"))
        manager.load_all()
        before = manager.trigger("go", [])
        again = asyncio.run(manager.trigger_async("go", []))
        manager.unload("store")
        return before, again, manager.get_loaded_plugins()

    assert in_child(use) == "(['store'], ['store'], [])"
    assert manager.get_registered_plugins() == ["store"]
    assert manager.trigger("go", []) == ["store"]


@needs_fork
@pytest.mark.parametrize("method", ["__init__", "on_load", "on_unload"])
def test_a_fork_while_another_thread_is_in_a_plugin(method: str, make_plugin: MakePlugin) -> None:
    """What another thread was in the middle of, the child can do itself, from the beginning."""
    gate = Gate()
    manager = PluginManager()

    def act(self: PluginBase, data: Any) -> Any:
        return [*data, self.name]

    manager.register(make_plugin("slow", act=hook("go")(act), **{method: gate}))
    manager.register(make_plugin("user", "slow"))
    if method == "on_unload":
        manager.load("slow")
        threads = Together(lambda: manager.unload("slow"))
    else:
        threads = Together(lambda: manager.load("slow"))
    assert gate.reached.wait(PATIENCE)
    waiting = Together(lambda: manager.load("user"))

    def use() -> object:
        gate.open.set()
        loaded = manager.is_loaded("slow")
        manager.load("user")
        heard = manager.trigger("go", [])
        manager.unload("slow")
        return loaded, heard, manager.get_loaded_plugins(), manager.get_events()

    assert in_child(use) == "(False, ['slow'], [], [])"
    gate.open.set()
    threads.join()
    assert waiting.join() == [manager.get_plugin("user")]
    assert manager.trigger("go", []) == ["slow"]


@needs_fork
@pytest.mark.skipif(
    "coverage" in sys.modules,
    reason="coverage has a lock of its own, which a fork may leave to a busy thread for ever",
)
def test_forks_while_other_threads_are_busy(make_plugin: MakePlugin) -> None:
    """However busy the other threads are with the manager, each child finds it free."""
    manager = PluginManager()
    manager.register(make_plugin("store", act=hook("go")(lambda self, data: [*data, self.name])))
    enough = threading.Event()

    def busy(thread: int) -> None:
        name = f"busy{thread}"
        while not enough.is_set():
            manager.register(make_plugin(name, "store"))
            manager.load(name)
            manager.trigger("go", [])
            manager.unregister(name)

    threads = Together(*[lambda thread=thread: busy(thread) for thread in range(3)])

    def use() -> object:
        manager.unload_all()
        manager.load("store")
        return manager.trigger("go", [])

    answers = [in_child(use) for _ in range(10)]
    enough.set()
    assert threads.join() == [None] * 3
    assert answers == ["['store']"] * 10
