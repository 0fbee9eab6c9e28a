"""Plugins that stay loaded while others come and go."""

from __future__ import annotations

import asyncio
from typing import Any

from nitro_dispatch import PluginBase, hook

# In seconds: a limit that never strikes, however busy the machine is.
AMPLE = 600


class Steady(PluginBase):
    """Is called once for each event."""

    name = "steady"

    @hook("order.*")
    def note(self, data: dict[str, Any]) -> None:
        data["path"].append(self.name)

    @hook("question")
    def answer(self, data: dict[str, Any]) -> str:
        return self.name


class Limited(PluginBase):
    """Runs in worker threads."""

    name = "limited"

    @hook("order.*", timeout=AMPLE)
    def note(self, data: dict[str, Any]) -> None:
        data["path"].append(self.name)

    @hook("question", timeout=AMPLE)
    def answer(self, data: dict[str, Any]) -> str:
        return self.name


class Awaiting(PluginBase):
    """Runs in an event loop."""

    name = "awaiting"

    @hook("order.async", timeout=AMPLE)
    async def note(self, data: dict[str, Any]) -> None:
        await asyncio.sleep(0)
        data["path"].append(self.name)


class Failing(PluginBase):
    """Fails as often as it is asked to, in each way."""

    name = "failing"

    @hook("order.*")
    def fail(self, data: dict[str, Any]) -> None:
        if data["fails"]:
            raise ValueError("injected")

    @hook("order.async")
    async def fail_later(self, data: dict[str, Any]) -> None:
        await asyncio.sleep(0)
        if data["fails"]:
            raise SystemExit("injected")


class Atomic(PluginBase):
    """Changes the data whole, or not at all."""

    name = "atomic"

    @hook("order.sync", atomic=True)
    def change(self, data: dict[str, Any]) -> None:
        data["path"].append(self.name)
        if data["fails"]:
            raise LookupError("injected")
