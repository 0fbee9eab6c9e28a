"""Enabling and disabling: whose hooks are called, and from when on."""

from __future__ import annotations

import textwrap
import threading
from pathlib import Path
from typing import Any

import pytest

from nitro_dispatch import HookRegistry, PluginBase, PluginLoadError, PluginManager, hook
from nitro_dispatch.plugin import Switch
from plugin_classes import MakePlugin


class Greeter(PluginBase):
    name = "greeter"

    @hook("greet")
    def greet(self, data: Any) -> Any:
        return [*data, self.name]


@pytest.fixture
def manager() -> PluginManager:
    """Make a manager with a greeter that is loaded."""
    made = PluginManager()
    made.register(Greeter)
    made.load("greeter")
    return made


def plugin_of(manager: PluginManager) -> PluginBase:
    """Get the greeter."""
    plugin = manager.get_plugin("greeter")
    assert plugin is not None
    return plugin


def test_a_plugin_is_enabled_once_on_load_has_returned() -> None:
    """Until `on_load` has returned a plugin is not enabled, and its hooks are not called."""
    seen: list[Any] = []

    class Early(Greeter):
        def __init__(self) -> None:
            seen.append(self.enabled)
            self.register_hook("greet", self.greet)

        def on_load(self) -> None:
            self.register_hook("greet", self.greet)
            seen.append((self.enabled, self.trigger("greet", [])))

    manager = PluginManager()
    manager.register(Early)
    assert manager.load("greeter").enabled
    assert seen == [False, (False, [])]
    assert manager.trigger("greet", []) == ["greeter"] * 3


def test_enabled_in_init_does_not_count() -> None:
    """A plugin that sets `enabled` in its `__init__` is still not enabled before it is loaded."""
    seen: list[Any] = []

    class Eager(Greeter):
        def __init__(self) -> None:
            self.enabled = True

        def on_load(self) -> None:
            seen.append((self.enabled, self.trigger("greet", [])))

    manager = PluginManager()
    manager.register(Eager)
    manager.load("greeter")
    assert seen == [(False, [])]


def test_a_new_instance_is_not_enabled() -> None:
    """An instance that nobody loaded is not enabled."""
    assert Greeter().enabled is False


def test_disable_and_enable(manager: PluginManager) -> None:
    """The hooks of a disabled plugin are not called, until it is enabled again."""
    plugin = plugin_of(manager)
    manager.disable_plugin("greeter")
    assert plugin.enabled is False
    assert manager.trigger("greet", []) == []
    assert manager.is_loaded("greeter")
    assert manager.get_events() == ["greet"]
    manager.disable_plugin("greeter")
    manager.enable_plugin("greeter")
    assert plugin_of(manager).enabled is True
    assert manager.trigger("greet", []) == ["greeter"]


def test_setting_enabled_is_the_same(manager: PluginManager) -> None:
    """Setting the attribute is the same as asking the manager, also after events were fired."""
    plugin = plugin_of(manager)
    assert manager.trigger("greet", []) == ["greeter"]
    plugin.enabled = False
    assert manager.trigger("greet", []) == []
    manager.enable_plugin("greeter")
    assert plugin_of(manager).enabled
    plugin.enabled = 0  # type: ignore[assignment]
    assert plugin_of(manager).enabled is False
    assert manager.trigger("greet", []) == []


def test_a_disabled_plugin_keeps_its_dependents(make_plugin: MakePlugin) -> None:
    """To disable a plugin disables no other, and unloads none."""
    manager = PluginManager()
    manager.register(Greeter)
    manager.register(make_plugin("user", "greeter"))
    manager.load("user")
    manager.disable_plugin("greeter")
    user = manager.get_plugin("user")
    assert user is not None
    assert user.enabled


def test_a_plugin_is_enabled_again_by_the_next_load(manager: PluginManager) -> None:
    """To be disabled ends with the instance: a plugin that is loaded again is enabled."""
    manager.disable_plugin("greeter")
    manager.unload("greeter")
    assert manager.load("greeter").enabled
    assert manager.trigger("greet", []) == ["greeter"]


def test_hooks_registered_while_disabled_wait(manager: PluginManager) -> None:
    """A hook that a disabled plugin registers is called once the plugin is enabled."""
    plugin = plugin_of(manager)
    plugin.enabled = False
    plugin.register_hook("wave", lambda data: [*data, "wave"])
    assert manager.trigger("wave", []) == []
    plugin.enabled = True
    assert manager.trigger("wave", []) == ["wave"]


def test_a_plugin_may_disable_itself_in_a_hook(make_plugin: MakePlugin) -> None:
    """A plugin that disables itself in a hook has none of its hooks called from then on."""

    def stop(self: PluginBase, data: Any) -> Any:
        self.enabled = False
        return [*data, "first"]

    def never(self: PluginBase, data: Any) -> Any:
        return [*data, "never"]

    manager = PluginManager()
    manager.register(
        make_plugin("one", stop=hook("go", priority=90)(stop), never=hook("go")(never))
    )
    manager.load("one")
    assert manager.trigger("go", []) == ["first"]
    assert manager.trigger("go", []) == []


def test_an_owner_in_a_bare_registry_can_be_switched() -> None:
    """In a bare registry a plugin's `enabled` switches its hooks just the same."""
    registry = HookRegistry()
    plugin = Greeter()
    registry.register("greet", plugin.greet, plugin)
    assert registry.trigger("greet", []) == []
    plugin.enabled = True
    assert registry.trigger("greet", []) == ["greeter"]
    plugin.enabled = False
    assert registry.trigger("greet", []) == []


def test_any_owner_with_enabled_is_asked() -> None:
    """The `enabled` of any owner counts at each call; an owner without one counts as enabled."""

    class Owner:
        name = "owner"
        enabled = True

    registry = HookRegistry()
    owner = Owner()
    registry.register("greet", lambda data: [*data, "owner"], owner)
    registry.register("greet", lambda data: [*data, "object"], object())
    assert registry.trigger("greet", []) == ["owner", "object"]
    owner.enabled = False
    assert registry.trigger("greet", []) == ["object"]


def test_a_class_attribute_enabled_does_not_enable_early() -> None:
    """A class that says `enabled = True` is nevertheless enabled only when it is loaded."""
    seen: list[Any] = []

    class Eager(Greeter):
        enabled = True

        def on_load(self) -> None:
            seen.append((self.enabled, self.trigger("greet", [])))

    manager = PluginManager()
    manager.register(Eager)
    plugin = manager.load("greeter")
    assert seen == [(False, [])]
    assert manager.trigger("greet", []) == ["greeter"]
    manager.disable_plugin("greeter")
    assert manager.trigger("greet", []) == []
    manager.unload("greeter")
    assert not plugin.enabled


def test_a_class_attribute_enabled_leaves_the_switch() -> None:
    """A plain bool in a class body does not take the place of the switch of plugins."""

    class Own(PluginBase):
        @property  # type: ignore[misc]
        def enabled(self) -> bool:
            return True

    made = type("Made", (Greeter,), {"enabled": True})
    of_own = type("OfOwn", (Own,), {"enabled": False})
    assert made.enabled is Switch.enabled  # type: ignore[attr-defined]
    assert of_own.enabled is False  # type: ignore[attr-defined]


def test_a_plugin_disabled_while_armed_stays_so(tmp_path: Path) -> None:
    """What was switched before the import counts after it, also with an `enabled` of its own."""
    (tmp_path / "two_plugin.py").write_text(
        textwrap.dedent(
            """
            from nitro_dispatch import PluginBase, hook

            class Said(PluginBase):
                enabled = True

                @hook("greet")
                def greet(self, data):
                    return [*data, "said"]

            class Own(Said):
                state = True

                @property
                def enabled(self):
                    return self.state

                @enabled.setter
                def enabled(self, value):
                    self.state = value
            """
        )
    )
    manager = PluginManager(lazy=True)
    manager.discover_plugins(tmp_path)
    manager.load_all()
    assert not manager.is_loaded("Said")
    assert not manager.is_loaded("Own")
    for name in ("Said", "Own"):
        manager.disable_plugin(name)
        assert not manager.load(name).enabled
    assert manager.trigger("greet", []) == []
    for name in ("Said", "Own"):
        manager.enable_plugin(name)
    assert manager.trigger("greet", []) == ["said", "said"]


def test_a_plugin_may_work_out_itself_whether_it_is_enabled() -> None:
    """A class with an `enabled` of its own that cannot be set loads, and is asked at each call."""

    class Moody(Greeter):
        mood = False

        @property  # type: ignore[misc]
        def enabled(self) -> bool:
            return self.mood

    manager = PluginManager()
    manager.register(Moody)
    plugin = manager.load("greeter")
    assert manager.trigger("greet", []) == []
    plugin.mood = True  # type: ignore[attr-defined]
    assert manager.trigger("greet", []) == ["greeter"]
    manager.unload("greeter")
    assert manager.get_events() == []


def test_an_enabled_that_fails_leaves_nothing() -> None:
    """A class whose own `enabled` fails when it is set is a load failure like any other."""

    class Broken(Greeter):
        @property
        def enabled(self) -> bool:
            return True

        @enabled.setter
        def enabled(self, value: bool) -> None:
            raise ValueError("stuck")

    manager = PluginManager()
    manager.register(Broken)
    with pytest.raises(PluginLoadError, match="stuck"):
        manager.load("greeter")
    assert manager.get_loaded_plugins() == []
    assert manager.get_events() == []


def test_the_code_of_enabled_runs_without_a_lock() -> None:
    """A class whose own `enabled` waits for another thread that uses the manager loads."""
    manager = PluginManager()

    class Asking(Greeter):
        state = False

        @property
        def enabled(self) -> bool:
            return self.state

        @enabled.setter
        def enabled(self, value: bool) -> None:
            other = threading.Thread(target=manager.get_registered_plugins, daemon=True)
            other.start()
            other.join(timeout=10)
            assert not other.is_alive()
            self.state = value

    manager.register(Asking)
    assert manager.load("greeter").enabled


def test_the_code_of_setattr_runs_without_a_lock() -> None:
    """A class whose own `__setattr__` waits for another thread that uses the manager loads."""
    manager = PluginManager()

    class Watched(Greeter):
        def __setattr__(self, name: str, value: object) -> None:
            other = threading.Thread(target=manager.get_registered_plugins, daemon=True)
            other.start()
            other.join(timeout=10)
            assert not other.is_alive(), name
            super().__setattr__(name, value)

    manager.register(Watched)
    assert manager.load("greeter").enabled
    manager.disable_plugin("greeter")
    assert not manager.reload("greeter").enabled
    manager.unload("greeter")
