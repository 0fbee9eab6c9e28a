"""Hooks and owners that tests register, and the ways to fire an event at them."""

from __future__ import annotations

import asyncio
from typing import Any, Callable

import pytest

from loops import run
from nitro_dispatch import HookRegistry, StopPropagation

Fire = Callable[[HookRegistry, Any], Any]
FIRE: dict[str, Fire] = {
    "trigger": lambda registry, data: registry.trigger("event", data),
    "trace": lambda registry, data: registry.trace("event", data).result,
    "trigger_async": lambda registry, data: run(registry.trigger_async("event", data)),
}


@pytest.fixture(params=list(FIRE.values()), ids=list(FIRE))
def fire(request: pytest.FixtureRequest) -> Any:
    """Give one way to fire `event` after another."""
    return request.param


@pytest.fixture
def registry() -> HookRegistry:
    """Make an empty registry."""
    return HookRegistry()


class Owner:
    """An owner of hooks with a name, and nothing else."""

    def __init__(self, name: str = "owner") -> None:
        self.name = name


class ToldOwner(Owner):
    """An owner that notes what it is told."""

    def __init__(self, name: str = "owner") -> None:
        super().__init__(name)
        self.told: list[BaseException] = []

    def on_error(self, error: BaseException) -> Any:
        self.told.append(error)


def add_one(data: int) -> int:
    """Count a call."""
    return data + 1


def stop(data: Any) -> None:
    """End the propagation."""
    raise StopPropagation("enough")


def fail(data: Any) -> None:
    """Fail."""
    raise ValueError("failed")


async def fail_async(data: Any) -> None:
    """Fail, asynchronously."""
    await asyncio.sleep(0)
    raise ValueError("failed")
