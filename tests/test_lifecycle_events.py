"""Lifecycle events: what their listeners are told, and that no listener changes what happens."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest

from nitro_dispatch import (
    HookError,
    PluginBase,
    PluginLoadError,
    PluginManager,
    StopPropagation,
    hook,
)
from plugin_classes import MakePlugin

EVENTS = {
    PluginManager.EVENT_PLUGIN_REGISTERED: "nitro.plugin.registered",
    PluginManager.EVENT_PLUGIN_LOADED: "nitro.plugin.loaded",
    PluginManager.EVENT_PLUGIN_UNLOADED: "nitro.plugin.unloaded",
    PluginManager.EVENT_PLUGIN_ERROR: "nitro.plugin.error",
    PluginManager.EVENT_APP_STARTUP: "nitro.app.startup",
    PluginManager.EVENT_APP_SHUTDOWN: "nitro.app.shutdown",
}
STRATEGIES = ["log_and_continue", "fail_fast", "collect_all"]


def listen(manager: PluginManager) -> list[tuple[str, Any]]:
    """Write down each lifecycle event and its data."""
    heard: list[tuple[str, Any]] = []

    def write(data: Any, event: str) -> None:
        heard.append((event.rpartition(".")[2], dict(data) if data is not None else None))

    for event in EVENTS:
        manager.register_hook(event, write)
    return heard


def fail(self: PluginBase) -> None:
    """Fail as the method of a plugin."""
    raise OSError("no disk")


def test_the_names_of_the_events() -> None:
    """The events have the names that programs and plugins write out."""
    for constant, name in EVENTS.items():
        assert constant == name


def test_the_data_of_a_life(make_plugin: MakePlugin) -> None:
    """Each step of a plugin is one event, with name and version, or the name alone at the end."""
    manager = PluginManager()
    heard = listen(manager)
    manager.register(make_plugin("cache", version="1.2"))
    manager.load("cache")
    manager.load("cache")
    manager.unload("cache")
    manager.unregister("cache")
    about = {"plugin_name": "cache", "version": "1.2"}
    assert heard == [
        ("registered", about),
        ("loaded", about),
        ("unloaded", {"plugin_name": "cache"}),
    ]


@pytest.mark.parametrize("load", ["load", "load_all"])
def test_the_data_of_a_failure(load: str, make_plugin: MakePlugin) -> None:
    """A failure is an event with the name, the text of the reason and the name of its class."""
    manager = PluginManager()
    manager.register(make_plugin("cache", on_load=fail))
    manager.register(make_plugin("app", "cache"))
    heard = listen(manager)
    if load == "load":
        with pytest.raises(PluginLoadError):
            manager.load("app")
    else:
        manager.load_all()
    (first, about_cache), (second, about_app) = heard
    assert (first, second) == ("error", "error")
    assert about_cache == {"plugin_name": "cache", "error": "no disk", "type": "OSError"}
    assert sorted(about_app) == ["error", "plugin_name", "type"]
    assert (about_app["plugin_name"], about_app["type"]) == ("app", "DependencyError")
    assert "no disk" in about_app["error"]


def test_a_missing_dependency_is_an_error_event(make_plugin: MakePlugin) -> None:
    """What cannot be loaded because of its dependencies is told as an error too."""
    manager = PluginManager()
    manager.register(make_plugin("app", "missing"))
    heard = listen(manager)
    manager.load_all()
    ((event, data),) = heard
    assert (event, data["plugin_name"], data["type"]) == ("error", "app", "DependencyError")
    assert "missing" in data["error"]


def test_discovered_plugins_are_told_as_registered(tmp_path: Path) -> None:
    """A discovered plugin is told when it is registered, one that is broken is not."""
    source = "from nitro_dispatch import PluginBase\nclass A(PluginBase):\n    name = 'a'\n"
    (tmp_path / "a_plugin.py").write_text(source + "    version = '3.0'\n")
    (tmp_path / "b_plugin.py").write_text("raise OSError")
    manager = PluginManager()
    heard = listen(manager)
    manager.discover_plugins(tmp_path)
    assert heard == [("registered", {"plugin_name": "a", "version": "3.0"})]


def test_dependents_are_told_before_what_they_need(make_plugin: MakePlugin) -> None:
    """The events come in the order in which the plugins begin and end."""
    manager = PluginManager()
    manager.register(make_plugin("app", "store"))
    manager.register(make_plugin("store"))
    heard = listen(manager)
    manager.load_all()
    manager.unload("store")
    assert [(event, data["plugin_name"]) for event, data in heard] == [
        ("loaded", "store"),
        ("loaded", "app"),
        ("unloaded", "app"),
        ("unloaded", "store"),
    ]


def test_a_reload_is_told_as_unloaded_and_loaded(make_plugin: MakePlugin) -> None:
    """A reload is told as the end of the old plugin and the beginning of the new one."""
    manager = PluginManager()
    manager.register(make_plugin("cache"))
    manager.load("cache")
    heard = listen(manager)
    manager.reload("cache")
    assert [event for event, _ in heard] == ["unloaded", "loaded"]


def test_the_state_is_true_when_it_is_told(make_plugin: MakePlugin) -> None:
    """When a listener hears of a plugin, the manager says the same of it."""
    manager = PluginManager()
    states = []

    def look(data: Any, event: str) -> None:
        name = data["plugin_name"]
        plugin = manager.get_plugin(name)
        enabled = plugin is not None and plugin.enabled
        states.append((event.rpartition(".")[2], manager.is_loaded(name), enabled))

    for event in EVENTS:
        manager.register_hook(event, look)
    manager.register(make_plugin("cache"))
    manager.load("cache")
    manager.unload("cache")
    assert states == [
        ("registered", False, False),
        ("loaded", True, True),
        ("unloaded", False, False),
    ]


def test_a_listener_may_use_the_manager(make_plugin: MakePlugin) -> None:
    """A listener may load what is registered and unload what is loaded."""
    manager = PluginManager()
    manager.register_hook(
        PluginManager.EVENT_PLUGIN_REGISTERED, lambda data: manager.load(data["plugin_name"])
    )
    manager.register(make_plugin("cache"))
    assert manager.get_loaded_plugins() == ["cache"]
    manager.register_hook(
        PluginManager.EVENT_PLUGIN_LOADED, lambda data: manager.unload(data["plugin_name"])
    )
    manager.register(make_plugin("store"))
    assert manager.get_loaded_plugins() == ["cache"]


def test_a_plugin_hears_of_its_own_loading() -> None:
    """The hooks of a plugin are called when it is told as loaded, no longer when as unloaded."""
    heard: list[str] = []

    class Observer(PluginBase):
        name = "observer"

        @hook("nitro.plugin.*")
        def observe(self, data: Any, event: str) -> None:
            heard.append(event)

    manager = PluginManager()
    manager.register(Observer)
    manager.load("observer")
    manager.unload("observer")
    assert heard == [PluginManager.EVENT_PLUGIN_LOADED]


# -- listeners that fail


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("error", [ValueError, SystemExit, RecursionError, StopPropagation])
def test_a_failing_listener_changes_nothing(
    strategy: str, error: type[BaseException], make_plugin: MakePlugin
) -> None:
    """Whatever a listener raises, and whatever the strategy, all happens as without it."""

    def spoil(data: Any) -> None:
        raise error("spoilt")

    manager = PluginManager()
    manager.set_error_strategy(strategy)
    for event in EVENTS:
        manager.register_hook(event, spoil)
    assert manager.register(make_plugin("cache")) == "cache"
    manager.register(make_plugin("bad", on_load=fail))
    assert manager.load_all() == ["cache"]
    with pytest.raises(PluginLoadError, match="no disk") as caught:
        manager.load("bad")
    assert isinstance(caught.value.__cause__, OSError)
    assert list(manager.failures) == ["bad"]
    plugin = manager.get_plugin("cache")
    assert plugin is not None
    assert plugin.enabled
    assert manager.reload("cache") is not plugin
    manager.unload("cache")
    with manager:
        manager.load("cache")
    assert manager.get_loaded_plugins() == []


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_the_other_listeners_are_told_all_the_same(
    strategy: str, make_plugin: MakePlugin, caplog: pytest.LogCaptureFixture
) -> None:
    """A listener that fails is logged, and those after it hear the same."""

    def spoil(data: Any) -> Any:
        raise ValueError("spoilt")

    manager = PluginManager()
    manager.set_error_strategy(strategy)
    manager.register_hook(PluginManager.EVENT_PLUGIN_LOADED, spoil, priority=100)
    manager.register_hook(PluginManager.EVENT_PLUGIN_LOADED, lambda data: {}, priority=75)
    heard = listen(manager)
    manager.register(make_plugin("cache"))
    with caplog.at_level(logging.ERROR, "nitro_dispatch"):
        manager.load("cache")
    assert heard[-1] == ("loaded", {"plugin_name": "cache", "version": "1.0.0"})
    assert ["spoilt" in record.getMessage() for record in caplog.records] == [True]


def test_a_keyboard_interrupt_of_a_listener_passes(make_plugin: MakePlugin) -> None:
    """A KeyboardInterrupt in a listener passes, and what has happened has happened."""

    def interrupt(data: Any) -> None:
        raise KeyboardInterrupt

    manager = PluginManager()
    manager.register(make_plugin("cache"))
    manager.register_hook(PluginManager.EVENT_PLUGIN_LOADED, interrupt)
    with pytest.raises(KeyboardInterrupt):
        manager.load("cache")
    assert manager.get_loaded_plugins() == ["cache"]


def test_the_last_errors_of_the_caller_stay(make_plugin: MakePlugin) -> None:
    """Lifecycle events are no dispatch of the caller: its last errors stay as they were."""

    def spoil(data: Any) -> None:
        raise ValueError("spoilt")

    manager = PluginManager()
    manager.set_error_strategy("collect_all")
    manager.register_hook("save", spoil)
    for event in EVENTS:
        manager.register_hook(event, spoil)
    manager.register(make_plugin("bad", "missing"))
    manager.trigger("save")
    before = manager.get_last_errors()
    assert [error["event"] for error in before] == ["save"]
    manager.register(make_plugin("cache"))
    with manager:
        manager.load_all()
        manager.unload("cache")
    assert manager.get_last_errors() == before


# -- the application's life


def test_the_context_manager_fires_startup_and_shutdown(make_plugin: MakePlugin) -> None:
    """On entry there is the startup event, on exit the shutdown event while all is still loaded."""
    manager = PluginManager()
    manager.register(make_plugin("cache"))
    heard: list[Any] = []
    for event in (PluginManager.EVENT_APP_STARTUP, PluginManager.EVENT_APP_SHUTDOWN):
        manager.register_hook(
            event, lambda data, event: heard.append((event, data, manager.get_loaded_plugins()))
        )
    with manager as entered:
        assert entered is manager
        manager.load_all()
    assert heard == [
        (PluginManager.EVENT_APP_STARTUP, None, []),
        (PluginManager.EVENT_APP_SHUTDOWN, None, ["cache"]),
    ]
    assert manager.get_loaded_plugins() == []


def test_an_error_in_the_block_passes_and_all_is_unloaded(make_plugin: MakePlugin) -> None:
    """What the block raises comes out of it, after the shutdown event and `unload_all`."""
    manager = PluginManager()
    heard = listen(manager)
    manager.register(make_plugin("cache", on_unload=fail))
    with pytest.raises(ZeroDivisionError), manager:
        manager.load_all()
        raise ZeroDivisionError
    assert [event for event, _ in heard][-2:] == ["shutdown", "unloaded"]
    assert manager.get_loaded_plugins() == []


def test_a_keyboard_interrupt_at_shutdown_still_unloads_all(make_plugin: MakePlugin) -> None:
    """A KeyboardInterrupt in a shutdown listener passes, and all is unloaded before."""

    def interrupt(data: Any) -> None:
        raise KeyboardInterrupt

    manager = PluginManager()
    manager.register(make_plugin("cache"))
    manager.register_hook(PluginManager.EVENT_APP_SHUTDOWN, interrupt)
    with pytest.raises(KeyboardInterrupt), manager:
        manager.load_all()
    assert manager.get_loaded_plugins() == []


def test_an_application_may_fire_the_events_itself() -> None:
    """Fired by `trigger`, a lifecycle event is an event like any other, strategy included."""

    def spoil(data: Any) -> None:
        raise ValueError("spoilt")

    manager = PluginManager()
    manager.register_hook(PluginManager.EVENT_APP_STARTUP, lambda data: [*data, "ready"])
    assert manager.trigger(PluginManager.EVENT_APP_STARTUP, []) == ["ready"]
    manager.register_hook(PluginManager.EVENT_APP_STARTUP, spoil)
    manager.set_error_strategy("fail_fast")
    with pytest.raises(HookError):
        manager.trigger(PluginManager.EVENT_APP_STARTUP, [])


def test_a_class_that_is_registered_during_a_load_is_not_what_is_loaded(
    make_plugin: MakePlugin,
) -> None:
    """The version of a loaded plugin is its own, though a newer class waits for the next load."""
    manager = PluginManager()

    def register_newer(self: PluginBase) -> None:
        manager.register(make_plugin("cache", version="2.0"))

    manager.register(make_plugin("cache", version="1.0", on_load=register_newer))
    heard = listen(manager)
    manager.load("cache")
    assert heard == [
        ("registered", {"plugin_name": "cache", "version": "2.0"}),
        ("loaded", {"plugin_name": "cache", "version": "1.0"}),
    ]
