"""From settings to plugins: a manager that has looked where it should, and what it found."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Callable, Final

from nitro_dispatch import (
    Edge,
    Plan,
    PluginInfo,
    PluginManager,
    PluginMetadata,
    Problem,
)
from nitro_dispatch.cli.errors import CommandError, did_you_mean
from nitro_dispatch.cli.failures import Failure
from nitro_dispatch.cli.layout import short_paths
from nitro_dispatch.cli.settings import Settings

__all__ = ["Findings", "find_plugins", "idle_entries", "is_told"]

_NOTHING_TOLD: Final = PluginMetadata("")

Progress = Callable[[str], AbstractContextManager[None]]


def find_plugins(settings: Settings, progress: Progress, *, lazy: bool) -> PluginManager:
    """Make a manager and let it look for plugins.

    Args:
        settings: Where to look.
        progress: Tells the user what is done meanwhile.
        lazy: Whether the plugins are only described, and none imported.

    Returns:
        The manager, with no plugin loaded yet.

    Raises:
        PluginDiscoveryError: There is no such folder, or the pattern leads out of it.
        TypeError: A setting has the wrong form.
    """
    manager = PluginManager(
        settings.config,
        lazy=lazy,
        app_version=settings.app_version,
        allow=settings.allow,
        block=settings.block,
    )
    if settings.entry_points:
        with progress("Looking among installed distributions"):
            manager.discover_entry_points(settings.group)
    for directory in settings.directories:
        with progress(f"Looking in {directory}"):
            manager.discover_plugins(directory, settings.pattern, settings.recursive)
    return manager


@dataclass(frozen=True)
class Findings:
    """What is known of the plugins without importing any.

    Args:
        plugins: The plugins by name, in the order of their registration.
        unread: What is found, but only an import can tell what it is or what its name is.
        broken: What cannot be read, and so has no place among the plugins.
        conflicts: What is passed over because another plugin has its name.
        plan: In which order the plugins load.
    """

    plugins: Mapping[str, PluginInfo]
    unread: tuple[PluginInfo, ...]
    broken: tuple[Failure, ...]
    conflicts: tuple[Failure, ...]
    plan: Plan

    @classmethod
    def of(cls, manager: PluginManager) -> Findings:
        """Ask a manager what it knows."""
        infos = manager.describe()
        known = [info for info in infos if info.state != "unknown"]
        plugins = {info.metadata.name: info for info in known if info.metadata.name}
        unread = tuple(info for info in infos if info.state == "unknown")
        broken = [Failure.of_unnamed(info) for info in known if not info.metadata.name]
        conflicts: list[Failure] = []
        # What is wrong with a plugin that has a place is among its problems.
        for key, failure in manager.failures.items():
            if key not in plugins:
                told = Failure.of_plugin(failure)
                (conflicts if told.is_conflict else broken).append(told)
        return cls(plugins, unread, tuple(broken), tuple(conflicts), manager.plan())

    @property
    def infos(self) -> list[PluginInfo]:
        """All that is known of plugins, first of those whose names are known for sure."""
        return [*self.plugins.values(), *self.unread]

    @property
    def failures(self) -> tuple[Failure, ...]:
        """What is found and has no place among the plugins."""
        return (*self.broken, *self.conflicts)

    @property
    def problems(self) -> list[Problem]:
        """What keeps plugins from being loaded, save that the user does not want them."""
        return [problem for problem in self.plan.problems if problem.kind != "blocked"]

    @property
    def is_sound(self) -> bool:
        """Whether nothing keeps a plugin from being loaded, save that the user does not want it."""
        usable = (info for info in self.plugins.values() if info.state != "blocked")
        return not (self.failures or any(info.problems for info in usable))

    @property
    def blocked(self) -> list[PluginInfo]:
        """The plugins that may not be used."""
        return [info for info in self.plugins.values() if info.state == "blocked"]

    def get(self, name: str) -> PluginInfo:
        """Find a plugin by its name.

        Raises:
            CommandError: There is none.
        """
        for info in self.infos:
            if info.metadata.name == name:
                return info
        for failure in self.failures:
            if failure.plugin == name:
                raise CommandError(short_paths(failure.error))
        nameless = len(self.unread) + sum(not failure.plugin for failure in self.broken)
        text = f"no plugin {name!r} is found{did_you_mean(name, self.plugins)}"
        if nameless:
            text += f" (`list` shows {nameless} more, broken or not known by name)"
        raise CommandError(text)

    def users_of(self, name: str) -> Iterator[Edge]:
        """Find the requirements that lead to a plugin."""
        for user in self.plugins:
            for edge in self.plan.edges_of(user):
                if edge.requires == name:
                    yield edge


def idle_entries(manager: PluginManager, settings: Settings) -> Iterator[str]:
    """Find the entries of the allow and block lists that are likely misspelled.

    Those of the environment variables are looked at too.

    Args:
        manager: A manager that has looked for plugins.
        settings: With the lists.

    Yields:
        A text for each entry that fits no plugin.
    """
    known = _names_in(manager)
    for option, listed in (("allow", settings.allow or ()), ("block", settings.block)):
        variable = f"NITRO_DISPATCH_{option.upper()}"
        told = [(f"--{option} {entry!r}", entry) for entry in listed]
        told += [(f"{variable}={entry!r}", entry) for entry in _names_in_variable(variable)]
        for text, entry in told:
            # The block list takes the name of a distribution in every spelling.
            wanted = (entry, _normalized(entry)) if option == "block" else (entry,)
            if not any(_fits(each, known) for each in wanted):
                yield f"{text} fits no plugin{did_you_mean(entry, known)}"


def _names_in_variable(variable: str) -> list[str]:
    return [name.strip() for name in os.environ.get(variable, "").split(",") if name.strip()]


def _fits(entry: str, names: Iterable[str]) -> bool:
    return any(name == entry or fnmatchcase(name, entry) for name in names)


def _normalized(name: str) -> str:
    """Spell the name of a distribution as PEP 503 does."""
    return re.sub(r"[-_.]+", "-", name).lower()


def _names_in(manager: PluginManager) -> list[str]:
    """List what an allow or block list may call the plugins that were found."""
    names: list[str] = []
    for info in manager.describe():
        origin = info.metadata.origin
        distribution = _normalized(origin.distribution)
        names += [info.metadata.name, origin.distribution, distribution]
        names += [distribution.replace("-", "_"), origin.entry_point.partition("=")[0].strip()]
        names += _names_of_file(origin.file)
    for failure in manager.failures.values():
        names += [failure.name, *_names_of_file(failure.origin)]
    return [name for name in dict.fromkeys(names) if name]


def _names_of_file(path: str) -> list[str]:
    folder, name = os.path.split(path)
    name = os.path.basename(folder) if name == "__init__.py" else name
    return [name, name[: -len(".py")] if name.endswith(".py") else name]


def is_told(info: PluginInfo, field: str) -> bool:
    """Tell whether a plugin's source says a value of its metadata.

    Args:
        info: What is known of the plugin.
        field: The name of the attribute.

    Returns:
        False where only an import can tell; the value in the metadata then stands for nothing.
    """
    unknown = {each.field for each in info.unknown}
    # What is not known whole may set what has a default here.
    is_open = not unknown.isdisjoint(("bases", "class"))
    is_default = getattr(info.metadata, field) == getattr(_NOTHING_TOLD, field)
    return field not in unknown and not (is_open and is_default)
