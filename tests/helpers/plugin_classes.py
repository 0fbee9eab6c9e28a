"""Plugin classes made for tests, and a manager that knows some."""

from __future__ import annotations

from typing import Any, Callable

import pytest

from nitro_dispatch import PluginBase, PluginManager

MakePlugin = Callable[..., type[PluginBase]]


@pytest.fixture
def make_plugin() -> MakePlugin:
    """Make plugin classes: of a name, what they need, and further attributes of the class."""

    def make(name: object, *needs: str, **attributes: object) -> type[PluginBase]:
        body = {"name": name, "dependencies": list(needs), **attributes}
        return type("Made", (PluginBase,), body)

    return make


def manager_with(*plugins: type[PluginBase], **options: Any) -> PluginManager:
    """Make a manager that knows some plugins."""
    manager = PluginManager(**options)
    for plugin in plugins:
        manager.register(plugin)
    return manager
