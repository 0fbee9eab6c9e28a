"""Plugins that are imported when an event of theirs first fires."""

from __future__ import annotations

import functools
from typing import Any, Callable, Optional

from nitro_dispatch.hooks import HookImpl, HookOptions, LazyHook
from nitro_dispatch.plugin import PluginBase, Switch
from nitro_dispatch.records import Registration

__all__ = ["ArmedPlugin", "can_be_armed", "stubs"]


class ArmedPlugin(Switch):
    """Owns the hooks of a plugin until it is imported.

    Args:
        name: The plugin's name.
    """

    def __init__(self, name: str) -> None:
        self.name = name


def can_be_armed(registration: Registration) -> bool:
    """Tell whether enough is known of a plugin to put off its import.

    Args:
        registration: The plugin.

    Returns:
        True where its description is complete and it has no code that should run at loading.
    """
    description = registration.description
    return (
        registration.plugin_class is None
        and description is not None
        and description.complete
        and not description.runs_code
    )


def stubs(
    registration: Registration,
    armed: ArmedPlugin,
    *,
    wake: Callable[[HookImpl], None],
    real: Callable[[HookImpl], Optional[HookImpl]],
    load: Callable[[str], PluginBase],
) -> list[LazyHook]:
    """Make a hook that loads the plugin for each hook that its source describes.

    Args:
        registration: The plugin.
        armed: The owner of the hooks.
        wake: Loads the plugin.
        real: Finds the real hook.
        load: Loads the plugin.

    Returns:
        The hooks, in the order in which the plugin would register them.
    """
    assert registration.description is not None, "only a described plugin is armed"
    return [
        LazyHook(
            event,
            functools.partial(_call_method, load, registration.name, hook.method),
            armed,
            HookOptions(
                hook.priority,
                hook.timeout,
                False,
                hook.blocking,
                hook.atomic,
                hook.before,
                hook.after,
            ),
            hook.is_async,
            hook.wants_event,
            0,
            hook.method,
            wake,
            real,
        )
        for hook in registration.description.hooks
        for event in hook.events
    ]


def _call_method(load: Callable[[str], PluginBase], name: str, method: str, data: Any) -> Any:
    """Call a hook the way its record promises, for who calls it without a dispatch."""
    return getattr(load(name), method)(data)
