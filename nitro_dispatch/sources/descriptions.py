"""What can be said of a source file and its plugin classes without running it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Optional

from nitro_dispatch.frozen import Frozen
from nitro_dispatch.sources.meanings import Reference

__all__ = ["ClassDescription", "FileDescription", "HookDescription", "Unknown"]


class Unknown(Frozen):
    """Something about a class that its source does not tell.

    Args:
        field: What is unknown: the name of a metadata attribute, "hooks", "bases" (a base may
            add anything) or "class" (the class may not be there, or be another one).
        line: The line in the file, counted from 1.
        reason: Why, in words.

    Example:
        >>> str(Unknown("name", 4, "is not a literal"))
        'name (line 4) is not a literal'
    """

    field: str
    line: int
    reason: str

    def __str__(self) -> str:
        return f"{self.field} (line {self.line}) {self.reason}"


class HookDescription(Frozen):
    """One hook of a plugin class.

    Args:
        method: The name of the method.
        events: The events and patterns that it listens to.
        priority: Higher runs earlier.
        timeout: The time limit in seconds, None for no limit.
        is_async: Whether it returns an awaitable, as far as its definition says.
        blocking: Whether `trigger_async` runs it in a worker thread, if it is not async.
        atomic: Whether it works on a copy of the data, which counts only if it succeeds.
        before: The plugins whose hooks of the same priority it precedes.
        after: The plugins whose hooks of the same priority it follows.
        wants_event: Whether it takes the event's name.
        line: The line of its definition, counted from 1.
    """

    method: str
    events: tuple[str, ...]
    priority: float = 50
    timeout: Optional[float] = None
    is_async: bool = False
    blocking: bool = True
    atomic: bool = False
    before: tuple[str, ...] = ()
    after: tuple[str, ...] = ()
    wants_event: bool = False
    line: int = 0


class ClassDescription(Frozen):
    """What the source of a plugin class says.

    Args:
        class_name: The name of the class.
        line: The line of its definition, counted from 1.
        values: The metadata attributes that it, or a base in the file, sets to a literal.
        hooks: Its hooks, those of bases in the file included, in the order of registration.
        unknown: What the source does not tell.
        runs_code: Whether it brings an `__init__`, an `on_load` or the like: code that is to run
            when the plugin is loaded, not when its first event fires.
        path: The file that defines it.
        faults: Why an import is bound to fail, one text for each hook that is refused.
    """

    class_name: str
    line: int
    values: Mapping[str, object]
    hooks: tuple[HookDescription, ...]
    unknown: tuple[Unknown, ...]
    runs_code: bool
    path: str
    faults: tuple[str, ...] = ()

    @property
    def complete(self) -> bool:
        """Whether nothing about the class is unknown."""
        return not self.unknown


class FileDescription(Frozen):
    """What a source file says, as far as it matters to finding plugin classes.

    References are texts here, for of the many that there are hardly one is asked for.

    Args:
        classes: Its concrete plugin classes, in order of definition.
        names: What each name at its top level is imported from, or, for a class that is defined
            here, its own name without a module; "" for all else and what cannot be told.
        lines: The lines in which those names got their meaning.
        stars: The modules of `from module import *`.
    """

    classes: tuple[ClassDescription, ...]
    names: Mapping[str, str]
    lines: Mapping[str, int]
    stars: tuple[str, ...]

    def find(self, name: str) -> Optional[Reference]:
        """Tell what a name at the top level refers to; None where that cannot be told.

        Example:
            >>> package = FileDescription((), {}, {}, (".plugin:",))
            >>> package.find("AuditPlugin")
            Reference(name='AuditPlugin', module='plugin', level=1)
        """
        if name not in self.names and len(self.stars) == 1:
            return Reference.parse(self.stars[0]).member(name)
        text = self.names.get(name)
        return Reference.parse(text) if text else None
