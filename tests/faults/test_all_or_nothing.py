"""Loading is all or nothing, at any depth."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Callable

import pytest

from nitro_dispatch import PluginBase, PluginLoadError, PluginManager, hook

MakePlugin = Callable[..., type[PluginBase]]

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
