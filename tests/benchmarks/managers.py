"""Managers with hooks, as the rows need them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from generated import EVENT, Function
from nitro_dispatch import PluginBase, PluginManager


def manager_with(hooks: Iterable[Function], *, event: str = EVENT, **options: Any) -> PluginManager:
    """Make a manager with one plugin, which has all the hooks.

    Args:
        hooks: The hooks.
        event: What they listen to.
        options: What else `register_hook` takes.
    """
    manager = PluginManager()

    class Listening(PluginBase):
        name = "listening"

        def on_load(self) -> None:
            for hook in hooks:
                self.register_hook(event, hook, **options)

    manager.load(manager.register(Listening))
    return manager


def add_patterns(manager: PluginManager) -> None:
    """Let a plugin listen to 1,000 patterns, none of which matches what the rows fire."""

    class Elsewhere(PluginBase):
        name = "elsewhere"

        def on_load(self) -> None:
            for pattern in thousand_patterns():
                self.register_hook(pattern, print)

    manager.load(manager.register(Elsewhere))


def thousand_patterns() -> Iterator[str]:
    """List 1,000 patterns: by the first segment, by the last, and with a star inside of two."""
    for number in range(700):
        yield f"name{number}.*"
    for number in range(200):
        yield f"*.name{number}"
    for number in range(100):
        yield f"first*{number}.second*{number}"
