"""Plugins that are switched off and on, unloaded and loaded."""

from __future__ import annotations

from typing import Any

from nitro_dispatch import PluginBase, hook


class Switched(PluginBase):
    """Is called once for an event while it is enabled."""

    name = "switched"

    @hook("order.*")
    def note(self, data: dict[str, Any]) -> None:
        data["path"].append(self.name)


class Visiting(PluginBase):
    """Is called once for an event while it is loaded."""

    name = "visiting"

    @hook("order.*")
    def note(self, data: dict[str, Any]) -> None:
        data["path"].append(self.name)
