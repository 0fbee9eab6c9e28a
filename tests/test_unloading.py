"""Unloading: dependents first, everything detached, and what `on_unload` raised told at the end."""

from __future__ import annotations

import logging
import threading
from typing import Any, Callable

import pytest

from concurrency import elsewhere
from nitro_dispatch import (
    NitroPluginError,
    PluginBase,
    PluginLoadError,
    PluginManager,
    PluginNotFoundError,
    hook,
)
from plugin_classes import MakePlugin


class Ended:
    """A manager whose plugins write down in which order they end."""

    def __init__(self, make_plugin: MakePlugin) -> None:
        self.names: list[str] = []
        self.manager = PluginManager()
        self._make_plugin = make_plugin

    def register(self, name: str, *needs: str, **attributes: Any) -> None:
        """Register a plugin that ends with what its `ending` does."""
        ending: Callable[[], object] = attributes.pop("ending", lambda: None)

        def on_unload(plugin: PluginBase) -> None:
            self.names.append(plugin.name)
            ending()

        self.manager.register(self._make_plugin(name, *needs, on_unload=on_unload, **attributes))


@pytest.fixture
def ended(make_plugin: MakePlugin) -> Ended:
    """Make a manager that tells how its plugins end."""
    return Ended(make_plugin)


def raising(error: BaseException) -> Callable[[], None]:
    """Make a function that raises."""

    def fail() -> None:
        raise error

    return fail


class Greeter(PluginBase):
    name = "greeter"

    def __init__(self) -> None:
        self.seen: list[object] = []

    def on_load(self) -> None:
        self.register_hook("greet.*", self.greet)
        self.register_hook("other", self.greet)

    def on_unload(self) -> None:
        self.seen.append((self.enabled, self.trigger("greet", []), self.get_config("size")))
        self.register_hook("late", self.greet)

    @hook("greet")
    def greet(self, data: Any) -> Any:
        return [*data, "greeter"]


def test_unload_detaches_everything() -> None:
    """An unloaded plugin has no hook, is disabled, and has no way to the manager."""
    manager = PluginManager({"greeter": {"size": 3}})
    manager.register(Greeter)
    plugin = manager.load("greeter")
    manager.unload("greeter")
    assert isinstance(plugin, Greeter)
    assert plugin.seen == [(False, [], 3)]
    assert manager.get_events() == []
    for event in ("greet", "greet.x", "other", "late"):
        assert manager.trigger(event, []) == []
    assert not plugin.enabled
    assert not manager.is_loaded("greeter")
    assert manager.get_plugin("greeter") is None
    assert (manager.get_loaded_plugins(), manager.get_all_plugins()) == ([], {})
    assert manager.get_registered_plugins() == ["greeter"]
    assert plugin.trigger("greet", 1) == 1
    assert plugin.get_config("size", 0) == 0


def test_an_unloaded_plugin_can_be_loaded_again() -> None:
    """After an unload there is a new instance, whose hooks are called once each."""
    manager = PluginManager()
    manager.register(Greeter)
    old = manager.load("greeter")
    manager.unload("greeter")
    assert manager.load("greeter") is not old
    assert manager.trigger("greet", []) == ["greeter"]
    assert manager.trigger("greet.x", []) == ["greeter"]


def test_the_hooks_are_gone_before_on_unload(ended: Ended) -> None:
    """While `on_unload` runs, no hook of the plugin is called any more, by no thread."""
    results: list[Any] = []

    def look() -> None:
        other = threading.Thread(target=lambda: results.append(ended.manager.trigger("greet", 1)))
        other.start()
        other.join()

    def greet(self: PluginBase, data: Any) -> Any:
        return "greeted"

    ended.register("greeter", greet=hook("greet")(greet), ending=look)
    ended.manager.load("greeter")
    ended.manager.unload("greeter")
    assert results == [1]


def test_unload_ends_the_dependents_first(ended: Ended) -> None:
    """What needs a plugin, directly or not, is unloaded before it; nothing else is."""
    ended.register("store")
    ended.register("cache", "store")
    ended.register("other")
    ended.register("app", "cache", "other")
    ended.register("guest", optional_dependencies=["store"])
    ended.manager.load_all()
    ended.manager.unload("store")
    assert ended.names == ["app", "cache", "store"]
    assert ended.manager.get_loaded_plugins() == ["other", "guest"]


def test_dependents_end_before_what_they_need_in_a_diamond(ended: Ended) -> None:
    """Where ways part and meet again, each plugin ends once, after all that need it."""
    ended.register("base")
    for side in ("left", "right"):
        ended.register(side, "base")
    ended.register("top", "left", "right")
    ended.register("tip", "top", "base")
    ended.manager.load_all()
    ended.manager.unload("base")
    assert ended.names == ["tip", "top", "right", "left", "base"]


def test_a_reload_keeps_the_place_among_dependents(ended: Ended) -> None:
    """Dependents end in the reverse order of loading, whichever of them was reloaded since."""
    for name, *needs in (("base",), ("first", "base"), ("second", "base")):
        ended.register(name, *needs)
    ended.manager.load_all()
    ended.manager.reload("first")
    ended.names.clear()
    ended.manager.unload("base")
    assert ended.names == ["second", "first", "base"]


@pytest.mark.parametrize("unload", ["unload", "enable_plugin", "disable_plugin"])
def test_what_is_not_loaded_is_not_found(unload: str, make_plugin: MakePlugin) -> None:
    """Unload, enable and disable want a loaded plugin; others are a PluginNotFoundError."""
    manager = PluginManager()
    manager.register(make_plugin("cache"))
    manager.register(make_plugin("store"))
    manager.load("store")
    manager.unload("store")
    for name in ("cache", "store", "unknown", ""):
        with pytest.raises(PluginNotFoundError) as caught:
            getattr(manager, unload)(name)
        assert caught.value.plugin == name


def test_unload_raises_what_on_unload_raised(ended: Ended) -> None:
    """An Exception of `on_unload` comes out as it is, after everything is detached."""
    error = OSError("stuck")
    ended.register("store", ending=raising(error))
    ended.manager.load_all()
    with pytest.raises(OSError, match="stuck") as caught:
        ended.manager.unload("store")
    assert caught.value is error
    assert ended.manager.get_loaded_plugins() == []
    assert ended.manager.load("store").name == "store"


def test_a_system_exit_of_on_unload_is_a_cause(ended: Ended) -> None:
    """A SystemExit of `on_unload` does not end the program: it is a NitroPluginError's cause."""
    ended.register("store", ending=raising(SystemExit(3)))
    ended.manager.load_all()
    with pytest.raises(NitroPluginError, match=r"store.*SystemExit") as caught:
        ended.manager.unload("store")
    assert isinstance(caught.value.__cause__, SystemExit)
    assert ended.manager.get_loaded_plugins() == []


def test_a_keyboard_interrupt_of_on_unload_passes(ended: Ended) -> None:
    """A KeyboardInterrupt in `on_unload` passes, and the plugin is unloaded all the same."""
    ended.register("store", ending=raising(KeyboardInterrupt()))
    ended.manager.load_all()
    with pytest.raises(KeyboardInterrupt):
        ended.manager.unload("store")
    assert ended.manager.get_loaded_plugins() == []
    assert ended.manager.load("store").name == "store"


def test_a_dependent_that_fails_to_end_stops_nobody(
    ended: Ended, caplog: pytest.LogCaptureFixture
) -> None:
    """What the `on_unload` of a dependent raises is logged, and the plugin itself is unloaded."""
    ended.register("store")
    for error in (ValueError("stuck"), SystemExit("stuck too")):
        ended.register(type(error).__name__, "store", ending=raising(error))
    ended.manager.load_all()
    with caplog.at_level(logging.ERROR, "nitro_dispatch"):
        ended.manager.unload("store")
    assert ended.names == ["SystemExit", "ValueError", "store"]
    assert [record.exc_info is not None for record in caplog.records] == [True, True]
    assert "stuck too" in caplog.records[0].getMessage()
    assert ended.manager.get_loaded_plugins() == []


@pytest.mark.parametrize("way", ["unload", "unload_all", "reload"])
def test_an_interrupt_passes_when_all_have_ended(ended: Ended, way: str) -> None:
    """A KeyboardInterrupt in one `on_unload` keeps no other plugin from its own."""
    ended.register("store")
    ended.register("first", "store")
    ended.register("second", "store", ending=raising(KeyboardInterrupt()))
    ended.manager.load_all()
    with pytest.raises(KeyboardInterrupt):
        getattr(ended.manager, way)(*([] if way == "unload_all" else ["store"]))
    assert ended.names == ["second", "first", "store"]
    left = ["store", "first", "second"] if way == "reload" else []
    assert ended.manager.get_loaded_plugins() == left


def test_unload_all_goes_in_reverse_load_order(ended: Ended) -> None:
    """All plugins end, the last loaded first."""
    for name in ("a", "b", "c"):
        ended.register(name)
    for name in ("b", "c", "a"):
        ended.manager.load(name)
    ended.manager.unload_all()
    assert ended.names == ["a", "c", "b"]
    ended.manager.unload_all()
    assert ended.names == ["a", "c", "b"]


def test_unload_all_never_raises(ended: Ended, caplog: pytest.LogCaptureFixture) -> None:
    """Whatever `on_unload` raises is logged, each once, and all are unloaded."""
    for error in (ValueError("one"), SystemExit("two"), NitroPluginError("three")):
        ended.register(type(error).__name__, ending=raising(error))
    ended.manager.load_all()
    with caplog.at_level(logging.ERROR, "nitro_dispatch"):
        ended.manager.unload_all()
    texts = [record.getMessage() for record in caplog.records]
    assert [number in text for number, text in zip(("three", "two", "one"), texts)] == [True] * 3
    assert ended.manager.get_loaded_plugins() == []


def test_unload_from_on_unload(ended: Ended) -> None:
    """An `on_unload` may unload others, also the one whose end has led to its own."""
    ended.register("store")
    ended.register("user", "store", ending=lambda: ended.manager.unload("store"))
    ended.register("other", ending=lambda: ended.manager.unload_all())
    ended.manager.load_all()
    ended.manager.unload("store")
    assert ended.names == ["user", "store"]
    ended.manager.load_all()
    ended.names.clear()
    ended.manager.unload("other")
    assert sorted(ended.names) == ["other", "store", "user"]
    assert ended.manager.get_loaded_plugins() == []


def test_a_plugin_that_unloads_itself_while_it_loads(ended: Ended) -> None:
    """In its own `on_load` a plugin is not loaded yet, so it cannot be unloaded."""
    ended.register("store", on_load=lambda self: ended.manager.unload("store"))
    with pytest.raises(PluginLoadError) as caught:
        ended.manager.load("store")
    assert isinstance(caught.value.__cause__, PluginNotFoundError)
    assert ended.names == []


def test_nothing_comes_to_need_a_plugin_that_is_going(ended: Ended) -> None:
    """A plugin that is loaded while what it needs is being unloaded is not left without it."""

    def load_another() -> None:
        with pytest.raises(PluginLoadError, match="unloaded meanwhile"):
            ended.manager.load("late")
        with pytest.raises(PluginLoadError, match="unloaded meanwhile"):
            ended.manager.load("later")

    ended.register("store")
    ended.register("cache", "store")
    ended.register("user", "cache", ending=load_another)
    ended.register("late", "store")
    ended.register("later", "cache")
    ended.manager.load("user")
    ended.manager.unload("store")
    # What had come to life is ended again, before it could be seen.
    assert sorted(ended.names) == ["cache", "late", "later", "store", "user"]
    assert [name for name in ended.names if "late" not in name] == ["user", "cache", "store"]
    assert ended.manager.get_loaded_plugins() == []
    assert ended.manager.load("later").name == "later"


def test_nothing_comes_to_need_what_a_second_thread_is_still_to_unload(ended: Ended) -> None:
    """What two threads unload can be needed again only when both of them are done."""
    reached, go_on = threading.Event(), threading.Event()

    def wait() -> None:
        reached.set()
        assert go_on.wait(timeout=10)

    ended.register("store")
    ended.register("middle", "store")
    ended.register("top", "middle", ending=wait)
    ended.register("late", "middle")
    ended.manager.load("top")
    slow = threading.Thread(target=ended.manager.unload, args=("store",), daemon=True)
    slow.start()
    assert reached.wait(timeout=10)
    ended.manager.unload("store")
    with pytest.raises(PluginLoadError, match="unloaded meanwhile"):
        ended.manager.load("late")
    go_on.set()
    slow.join(timeout=10)
    assert ended.manager.load("late").name == "late"
    assert ended.manager.get_loaded_plugins() == ["store", "middle", "late"]


@pytest.mark.parametrize("run", [lambda load: load(), elsewhere], ids=["here", "elsewhere"])
def test_what_is_unloaded_can_be_needed_anew(
    ended: Ended, run: Callable[[Callable[[], object]], object]
) -> None:
    """Who hears that a plugin is unloaded may load it again, with what needs it, in any thread."""
    ended.register("store")
    ended.register("user", "store")
    ended.manager.load("user")

    def load_again(data: dict[str, str]) -> None:
        if data["plugin_name"] == "store":
            run(lambda: ended.manager.load("user"))

    ended.manager.register_hook("nitro.plugin.unloaded", load_again)
    ended.manager.unload("store")
    assert ended.names == ["user", "store"]
    assert ended.manager.get_loaded_plugins() == ["store", "user"]


def test_a_plugin_loaded_during_unload_all_goes_before_what_it_needs(ended: Ended) -> None:
    """What an `on_unload` loads in `unload_all` does not outlive what it needs."""
    ended.register("store")
    ended.register("user", ending=lambda: ended.manager.load("late"))
    ended.register("late", "store")
    ended.manager.load("store")
    ended.manager.load("user")
    ended.manager.unload_all()
    assert ended.names == ["user", "late", "store"]


def test_two_threads_that_unload_all_at_once(ended: Ended) -> None:
    """Of two `unload_all` that meet in the plugins' code, neither raises and neither waits."""
    meeting = threading.Barrier(2)
    raised: list[BaseException] = []

    def unload_all_too() -> None:
        meeting.wait()
        ended.manager.unload_all()

    def unload(name: str) -> None:
        try:
            ended.manager.unload(name)
        except BaseException as error:
            raised.append(error)

    for name in ("a", "b"):
        ended.register(name, ending=unload_all_too)
    ended.manager.load_all()
    threads = [threading.Thread(target=unload, args=(name,)) for name in ("a", "b")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert raised == []
    assert sorted(ended.names) == ["a", "b"]
    assert ended.manager.get_loaded_plugins() == []


def test_unload_all_during_a_reload(ended: Ended, caplog: pytest.LogCaptureFixture) -> None:
    """An `unload_all` that comes upon a plugin in the middle of its reload passes it over."""
    loads: list[PluginBase] = []

    def on_load(self: PluginBase) -> None:
        loads.append(self)
        if len(loads) == 2:
            ended.manager.unload_all()

    ended.register("other")
    ended.register("store", on_load=on_load)
    ended.manager.load_all()
    with caplog.at_level(logging.ERROR, "nitro_dispatch"):
        new = ended.manager.reload("store")
    assert new is loads[1]
    assert ended.names == ["other", "store"]
    assert ended.manager.get_all_plugins() == {"store": new}
    (record,) = caplog.records
    assert "store" in record.getMessage()


def test_a_plugin_unloaded_meanwhile_is_not_listed_as_none(ended: Ended) -> None:
    """All loaded plugins are listed from one look at each: an unload in between changes nothing."""
    ended.register("store")
    plugin = ended.manager.load("store")

    class Leaving:
        name = "store"
        looks = 0

        @property
        def instance(self) -> Any:
            self.looks += 1
            return plugin if self.looks == 1 else None

    ended.manager._lifecycle.loaded["store"] = Leaving()  # type: ignore[assignment]
    assert ended.manager.get_all_plugins() == {"store": plugin}
