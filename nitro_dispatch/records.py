"""What the manager keeps of each plugin, and what it tells of it."""

from __future__ import annotations

import os
import threading
from collections.abc import Container, Mapping
from typing import TYPE_CHECKING, Optional

from nitro_dispatch.exceptions import PluginLoadError, describe_error, qualified_name_of_class
from nitro_dispatch.frozen import Frozen
from nitro_dispatch.metadata import PluginMetadata, Requirement
from nitro_dispatch.plugin import PluginBase, Switch
from nitro_dispatch.resolver import Problem

if TYPE_CHECKING:
    from nitro_dispatch.sources.candidate import Candidate
    from nitro_dispatch.sources.descriptions import ClassDescription, Unknown

__all__ = ["PluginFailure", "PluginInfo", "Registration", "ReloadResult", "Unread"]


class PluginFailure(Frozen, aside=("problem", "because", "culprit")):
    """Why a plugin does not work.

    Args:
        name: The plugin's name; empty where it has none yet.
        origin: Where it comes from.
        stage: How far it came: discover, describe, resolve, import, init or on_load.
        error: The reason.
        problem: What the resolver says, where it was the resolver that refused the plugin.
        because: The failure of what it needs, where that is the reason.
        culprit: The failure at the end of all those reasons.
    """

    name: str
    origin: str
    stage: str
    error: BaseException
    problem: Optional[Problem] = None
    because: Optional[PluginFailure] = None
    culprit: Optional[PluginFailure] = None

    @property
    def via(self) -> tuple[str, ...]:
        """The plugins from this one to the culprit, each of which needs the next."""
        # Worked out when it is read: five thousand long chains together would be large.
        names: list[str] = []
        failure: PluginFailure = self
        while failure.because is not None:
            names.append(failure.name)
            failure = failure.because
        rest = failure.problem.path if failure.problem is not None else ()
        return (*names, *(rest or ((failure.name,) if names else ())))

    def __str__(self) -> str:
        return f"{self.name or self.origin} ({self.stage}): {describe_error(self.error)}"


class Registration:
    """One plugin that the application knows of, and what has become of it so far.

    Args:
        metadata: What it says of itself.
        plugin_class: Its class; None while it is only described.
        candidate: What a source found; None for a class that the application registers itself.
        description: What could be read of its class without an import.
        validate: Whether the metadata has to be valid, also when the class is read anew.
    """

    # Ten thousand dicts less, at 300 bytes, which the garbage collection looks through.
    __slots__ = (
        "armed",
        "candidate",
        "coming",
        "description",
        "files",
        "instance",
        "metadata",
        "name",
        "owner",
        "place",
        "plugin_class",
        "refusal",
        "running",
        "validate",
    )

    def __init__(
        self,
        metadata: PluginMetadata,
        plugin_class: Optional[type[PluginBase]] = None,
        candidate: Optional[Candidate] = None,
        description: Optional[ClassDescription] = None,
        *,
        validate: bool = True,
    ) -> None:
        self.name = metadata.name
        self.metadata = metadata
        self.plugin_class = plugin_class
        self.candidate = candidate
        self.description = description
        self.validate = validate
        self.refusal = ""
        # Its place among the registered, which it keeps when its class is replaced.
        self.place = 0
        # The modules of plugin files from which it has had a class.
        self.files: tuple[str, ...] = ()
        self.instance: Optional[PluginBase] = None
        self.armed: Optional[Switch] = None
        # What it was loaded or armed with: a class registered since is for the next load.
        self.running: Optional[PluginMetadata] = None
        # The instance that a thread is bringing to life just now.
        self.coming: Optional[PluginBase] = None
        # The thread that loads, unloads or reloads it just now.
        self.owner: Optional[threading.Thread] = None

    @property
    def switch(self) -> Optional[Switch]:
        """What is switched when the plugin is enabled or disabled: None while it is not loaded."""
        return self.instance if self.instance is not None else self.armed

    @property
    def in_force(self) -> PluginMetadata:
        """What counts for those that need it: the metadata of what runs, while it does."""
        return self.running if self.running is not None else self.metadata

    @property
    def needs(self) -> tuple[Requirement, ...]:
        """What it cannot run without, while it is loaded or armed."""
        return self.running.dependencies if self.running is not None else ()

    @property
    def source(self) -> str:
        """Its source file, of a package the folder, which ends in a separator; "" if unknown."""
        return self.metadata.origin.file if self.candidate is None else self.candidate.source

    def replace(self, newer: Registration) -> None:
        """Take another class for the next load."""
        self.metadata, self.plugin_class = newer.metadata, newer.plugin_class
        self.candidate, self.description = newer.candidate, newer.description
        self.refusal, self.validate = newer.refusal, newer.validate

    def take_class(self, plugin_class: type[PluginBase]) -> bool:
        """Take the class that was only described, unless another was registered meanwhile.

        Returns:
            Whether it is taken.
        """
        if self.plugin_class is None:
            self.plugin_class = plugin_class
        return self.plugin_class is plugin_class

    def is_same_as(self, other: Registration) -> bool:
        """Tell whether two registrations stand for one class, found twice."""
        return self._identity() == other._identity()

    def _identity(self) -> tuple[str, ...]:
        # What is read of a package is of the file that defines a class, what is imported is not.
        origin = self.metadata.origin if self.candidate is None else self.candidate.origin
        class_name = ""
        if self.description is not None:
            class_name = self.description.class_name
        elif self.plugin_class is not None:
            class_name = qualified_name_of_class(self.plugin_class)
        if origin.file:
            return (os.path.realpath(origin.file), class_name)
        return (origin.distribution, origin.entry_point or origin.module, class_name)


class Unread(Frozen):
    """Something found of which only an import can tell what it is.

    Args:
        candidate: What was found.
        description: What could be read of one class of it, if anything.
        reason: Why nothing could be read.
        is_missing: Whether it is likely that an import will find nothing.
    """

    candidate: Candidate
    description: Optional[ClassDescription] = None
    reason: str = ""
    is_missing: bool = False

    def is_among(self, imported: Mapping[Candidate, Container[str]]) -> bool:
        """Tell whether an import has shown what it is.

        Args:
            imported: The names of the imported classes of each candidate.
        """
        classes = imported.get(self.candidate)
        if classes is None or self.description is None:
            return classes is not None
        return self.description.class_name in classes


class PluginInfo(Frozen):
    """What is known of a plugin without importing it.

    Args:
        metadata: What it says of itself.
        state: "registered", "armed" (imported at its first event), "loaded", "disabled",
            "blocked", "failed", or "unknown" (only an import can tell what it is).
        events: The events and patterns that it listens to, as far as known.
        problems: Why it cannot be loaded, one text for each reason.
        unknown: What could not be read from the source, each with its line and the reason.
    """

    metadata: PluginMetadata
    state: str
    events: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()
    unknown: tuple[Unknown, ...] = ()


class ReloadResult(Frozen):
    """What a watch did about source files that have changed.

    Args:
        plugins: The names of the plugins that were reloaded, each after what it needs.
        files: The paths of the files that have changed, which may be gone.
        error: Why nothing was reloaded, and the old ones run on; None where all went well.
    """

    plugins: tuple[str, ...]
    files: tuple[str, ...]
    error: Optional[PluginLoadError] = None
