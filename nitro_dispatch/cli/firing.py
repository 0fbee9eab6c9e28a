"""Loads the plugins, fires one event, and keeps account of what was done and what failed."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Optional

from nitro_dispatch import HookCall, PluginManager, PluginNotFoundError
from nitro_dispatch.cli.errors import CommandError
from nitro_dispatch.cli.failures import Failure, Places, describe

__all__ = ["Fired", "fire"]


@dataclass(frozen=True)
class Fired:
    """One event that was fired.

    Args:
        result: The data as the hooks left it.
        steps: The calls of the event's hooks: with what they changed if that was asked for.
        failures: What failed, from the import of the plugins to their end.
        events: The events and patterns that have hooks.
    """

    result: Any
    steps: tuple[HookCall, ...]
    failures: tuple[Failure, ...]
    events: tuple[str, ...]


def fire(
    manager: PluginManager,
    event: str,
    data: Any,
    places: Places,
    *,
    trace: bool,
    asynchronous: bool,
) -> Fired:
    """Load all plugins, fire an event, and unload them.

    Args:
        manager: A manager that has found the plugins.
        event: The event.
        data: What the first hook is given.
        places: Where what failed comes from, as far as it is heard.
        trace: Whether to find out what each hook changes; not together with `asynchronous`.
        asynchronous: Whether async hooks are awaited.

    Returns:
        What became of it.

    Raises:
        CommandError: A plugin raised what is isolated nowhere.
    """
    calls: list[HookCall] = []
    failures: list[Failure] = []
    manager.add_tracer(calls.append)
    with _in_one_line(event):
        manager.load_all()
        with _running(manager, failures):
            events = tuple(manager.get_events())
            result, steps = _dispatch(manager, event, data, trace=trace, asynchronous=asynchronous)
    if steps is None:
        steps = tuple(call for call in calls if call.event == event)
    failed = [call for call in calls if call.outcome in ("failed", "timed out")]
    in_hooks = [Failure.of_hook(call, *places.of(call.error)) for call in failed]
    return Fired(result, steps, (*_refused(manager, places), *in_hooks, *failures), events)


def _dispatch(
    manager: PluginManager, event: str, data: Any, *, trace: bool, asynchronous: bool
) -> tuple[Any, Optional[tuple[HookCall, ...]]]:
    if asynchronous:
        # Imported here because it is slow to import, and needed only for this.
        import asyncio

        return asyncio.run(manager.trigger_async(event, data)), None
    if trace:
        traced = manager.trace(event, data)
        return traced.result, traced.steps
    return manager.trigger(event, data), None


@contextlib.contextmanager
def _in_one_line(event: str) -> Iterator[None]:
    """Make an error of the command of what a plugin raises that would end the program."""
    try:
        yield
    except (Exception, KeyboardInterrupt):
        raise
    except BaseException as error:
        raise CommandError(f"event {event!r} was cut short by {describe(error)}") from error


@contextlib.contextmanager
def _running(manager: PluginManager, failures: list[Failure]) -> Iterator[None]:
    """Be the application around the event, and note what fails when the plugins are unloaded."""
    manager.trigger(manager.EVENT_APP_STARTUP)
    try:
        yield
    finally:
        manager.trigger(manager.EVENT_APP_SHUTDOWN)
        origins = {each.metadata.name: str(each.metadata.origin) for each in manager.describe()}
        for name in reversed(manager.get_loaded_plugins()):
            # One by one, because `unload_all` tells only the log what an `on_unload` raised.
            try:
                manager.unload(name)
            except PluginNotFoundError:
                continue
            except Exception as error:
                failures.append(Failure(name, "on_unload", describe(error), origins.get(name, "")))


def _refused(manager: PluginManager, places: Places) -> list[Failure]:
    """List the plugins that could not be used, save those that the user does not want."""
    blocked = {info.metadata.name for info in manager.describe() if info.state == "blocked"}
    return [
        Failure.of_plugin(failure, places.of(failure.error)[1])
        for failure in manager.failures.values()
        if failure.name not in blocked
    ]
