"""Plugins whose source changes all the time."""

from __future__ import annotations

import itertools
from typing import Any

from nitro_dispatch import PluginBase, hook

GENERATION = 0


class Edited(PluginBase):
    """Is reloaded while its hooks run, some of which are stuck."""

    name = "edited"

    def on_load(self) -> None:
        self.calls = itertools.count()

    def dump_state(self) -> object:
        return self.calls

    def restore_state(self, state: Any) -> None:
        self.calls = state

    @hook("order.*")
    def note(self, data: dict[str, Any]) -> None:
        data["path"].append(self.name)
        if data["counts"]:
            next(self.calls)

    @hook("calls")
    def count(self, data: object) -> int:
        return next(self.calls)

    @hook("order.stuck", timeout=0.02)
    def be_stuck(self, data: dict[str, Any]) -> None:
        data["released"].wait()

    @hook("question")
    def answer(self, data: dict[str, Any]) -> str:
        next(self.calls)
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
