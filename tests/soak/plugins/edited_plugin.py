"""Plugins whose source changes all the time."""

from __future__ import annotations

from typing import Any

from nitro_dispatch import PluginBase, hook

GENERATION = 0


class Edited(PluginBase):
    """Is reloaded while its hooks run, some of which are stuck."""

    name = "edited"

    @hook("order.*")
    def note(self, data: dict[str, Any]) -> None:
        data["path"].append(self.name)

    @hook("order.stuck", timeout=0.02)
    def be_stuck(self, data: dict[str, Any]) -> None:
        data["released"].wait()

    @hook("question")
    def answer(self, data: dict[str, Any]) -> str:
        return self.name

    @hook("generation")
    def tell(self, data: object) -> int:
        return GENERATION


class Dependent(PluginBase):
    """Goes along with what it needs."""

    name = "dependent"
    dependencies = ("edited",)

    @hook("order.*")
    def note(self, data: dict[str, Any]) -> None:
        data["path"].append(self.name)

    @hook("question")
    def answer(self, data: dict[str, Any]) -> str:
        return self.name
