"""What a plugin says about itself: frozen metadata, its requirements and its origin.

The values come from a class that was imported or from source text that was only read; this module
does not know which. It judges them, all faults in one report.
"""

from __future__ import annotations

import re
import reprlib
from collections.abc import Mapping
from typing import Any, Callable, Final

from nitro_dispatch.exceptions import ValidationError
from nitro_dispatch.frozen import Frozen

__all__ = ["FIELDS", "Origin", "PluginMetadata", "Requirement"]

_OPERATOR: Final = re.compile("[<>=!~]")

# A value out of a plugin may be huge, and its `__repr__` may raise: reprlib survives both.
_shown: Final = reprlib.Repr()
_shown.maxstring = _shown.maxother = 80


class Origin(Frozen):
    """Where a plugin comes from, for messages.

    Args:
        distribution: The name of the installed distribution.
        version: The version of that distribution.
        entry_point: The entry point as declared, for example `audit = nitro_audit:AuditPlugin`.
        file: The path of the source file.
        line: The line in that file, counted from 1; 0 where it is not known.
        module: The name of the module.

    Example:
        >>> str(Origin("nitro-audit", "1.0.0", "audit = nitro_audit:AuditPlugin"))
        'nitro-audit 1.0.0 (entry point audit = nitro_audit:AuditPlugin)'
        >>> str(Origin(file="/srv/plugins/audit_plugin.py", line=12))
        '/srv/plugins/audit_plugin.py:12'
        >>> str(Origin(module="app.plugins"))
        'module app.plugins'
    """

    distribution: str = ""
    version: str = ""
    entry_point: str = ""
    file: str = ""
    line: int = 0
    module: str = ""

    def __str__(self) -> str:
        entry_point = f"entry point {self.entry_point}" if self.entry_point else ""
        if self.distribution:
            release = f"{self.distribution} {self.version}".rstrip()
            return f"{release} ({entry_point})" if entry_point else release
        if entry_point:
            return entry_point
        if self.file:
            return f"{self.file}:{self.line}" if self.line else self.file
        return f"module {self.module}" if self.module else ""


class Requirement(Frozen):
    """The name of a plugin, and the versions of it that will do.

    Args:
        name: The plugin's name.
        specifier: The versions, as in PEP 440; empty where any will do.

    Example:
        >>> requirement = Requirement.parse("store >= 1.2, < 2")
        >>> requirement.name, requirement.allows("1.5"), requirement.allows("2.0")
        ('store', True, False)
    """

    name: str
    specifier: str = ""

    @classmethod
    def parse(cls, text: str) -> Requirement:
        """Read a requirement as a plugin's author writes it.

        Args:
            text: A name, or a name and a version specifier. Without an operator character
                (`<`, `>`, `=`, `!`, `~`) the whole text is the name, whatever its characters.

        Returns:
            The requirement.

        Raises:
            ValueError: No name is given, or the specifier is none.

        Example:
            >>> Requirement.parse("store>=1.2,<2")
            Requirement(name='store', specifier='>=1.2,<2')
            >>> Requirement.parse("the user's store")
            Requirement(name="the user's store", specifier='')
        """
        operator = _OPERATOR.search(text)
        end = operator.start() if operator else len(text)
        name = text[:end].strip() if operator else text
        if not name:
            raise ValueError(f"{text!r} names no plugin; write for example 'store>=1.2,<2'")
        try:
            return cls(name, _checked_specifier(text[end:]))
        except ValueError:
            raise ValueError(
                f"{text!r} has a bad version specifier; write for example 'store>=1.2,<2'"
            ) from None

    def __str__(self) -> str:
        return f"{self.name}{self.specifier}"

    def allows(self, version: str) -> bool:
        """Tell whether a version will do, pre-releases included.

        Args:
            version: The version that is there.

        Returns:
            True without a specifier; with one, False also for a version that PEP 440 does not know.

        Example:
            >>> Requirement("store", ">=1.2").allows("2.0rc1")
            True
            >>> Requirement("store", ">=1.2").allows("summer edition")
            False
        """
        if not self.specifier:
            return True
        try:
            return _compile_specifier(self.specifier)(version)
        except ValueError:
            return False


class PluginMetadata(Frozen):
    """What a plugin says about itself.

    Args:
        name: The plugin's unique name.
        version: Its version, by preference as in PEP 440.
        description: What it does, for people.
        author: Who wrote it.
        dependencies: What must be loaded before it.
        optional_dependencies: What is loaded before it if it is there.
        conflicts: What it cannot be loaded with.
        requires_app: The versions of the application that it works with.
        requires_python: The versions of Python that it works with.
        origin: Where it comes from.

    Example:
        >>> PluginMetadata("audit", dependencies=(Requirement("store"),)).version
        '1.0.0'
    """

    name: str
    version: str = "1.0.0"
    description: str = ""
    author: str = ""
    dependencies: tuple[Requirement, ...] = ()
    optional_dependencies: tuple[Requirement, ...] = ()
    conflicts: tuple[Requirement, ...] = ()
    requires_app: str = ""
    requires_python: str = ""
    origin: Origin = Origin()

    @classmethod
    def from_values(
        cls, values: Mapping[str, object], *, origin: Origin, validate: bool = True
    ) -> PluginMetadata:
        """Make metadata of the attributes of a plugin class.

        Args:
            values: The attributes by name, as the class has them; an absent one takes its default,
                one that is no metadata is passed over.
            origin: Where the plugin comes from.
            validate: Whether bad values are an error. Where they are not, the default takes the
                place of a bad value, a bad requirement is left out, and the name is whatever text
                there is.

        Returns:
            The metadata.

        Raises:
            ValidationError: Values are bad; its `errors` names all of them.

        Example:
            >>> values = {"name": "audit", "dependencies": ["store>=1.2"]}
            >>> PluginMetadata.from_values(values, origin=Origin()).dependencies
            (Requirement(name='store', specifier='>=1.2'),)
        """
        readings = {
            field: read(values.get(field))
            for field, read in _READERS.items()
            if field in values or field == "name"
        }
        known: dict[str, Any] = {
            field: reading.value for field, reading in readings.items() if reading.value is not None
        }
        errors = [
            f"{field} {fault}" for field, reading in readings.items() for fault in reading.faults
        ]
        if validate and errors:
            raise ValidationError(plugin=known["name"], origin=str(origin), errors=tuple(errors))
        return cls(origin=origin, **known)


class _Reading(Frozen):
    """What one attribute says, None standing for the default, and what is wrong with it."""

    value: object
    faults: tuple[str, ...] = ()


def _read_name(value: object) -> _Reading:
    if isinstance(value, str) and value:
        return _Reading(value)
    fault = f"must be a non-empty string such as 'cache', not {_shown.repr(value)}"
    return _Reading(_text_of(value), (fault,))


def _read_version(value: object) -> _Reading:
    if isinstance(value, str) and value:
        return _Reading(value)
    fault = f"must be a non-empty string such as '1.0.0', not {_shown.repr(value)}"
    return _Reading(None, (fault,))


def _read_text(value: object) -> _Reading:
    if isinstance(value, str):
        return _Reading(value)
    return _Reading(None, (f"must be a string, not {_shown.repr(value)}",))


def _read_requirements(value: object) -> _Reading:
    if not isinstance(value, (list, tuple)):
        example = [value] if isinstance(value, str) and value else ["store", "cache>=1.2,<2"]
        fault = f"must be a list such as {_shown.repr(example)}, not {_shown.repr(value)}"
        return _Reading(None, (fault,))
    requirements, faults = [], []
    for entry in value:
        try:
            requirements.append(_read_requirement(entry))
        except ValueError as error:
            faults.append(f"must list names of plugins: {error}")
    return _Reading(tuple(requirements), tuple(faults))


def _read_requirement(entry: object) -> Requirement:
    if not isinstance(entry, str):
        raise ValueError(f"{_shown.repr(entry)} is not a string; write for example 'store>=1.2,<2'")
    return Requirement.parse(entry)


def _read_specifier(value: object) -> _Reading:
    try:
        if isinstance(value, str):
            return _Reading(_checked_specifier(value))
    except ValueError:
        pass
    fault = f"must be a version specifier such as '>=3.1,<4', not {_shown.repr(value)}"
    return _Reading(None, (fault,))


def _checked_specifier(text: str) -> str:
    """Hand a specifier back, without surrounding blanks, or raise ValueError."""
    specifier = text.strip()
    if specifier:
        _compile_specifier(specifier)
    return specifier


_READERS: Final[Mapping[str, Callable[[object], _Reading]]] = {
    "name": _read_name,
    "version": _read_version,
    "description": _read_text,
    "author": _read_text,
    "dependencies": _read_requirements,
    "optional_dependencies": _read_requirements,
    "conflicts": _read_requirements,
    "requires_app": _read_specifier,
    "requires_python": _read_specifier,
}

FIELDS: Final = tuple(_READERS)


def _text_of(value: object) -> str:
    """Tell what text there is in something that should be a name."""
    if value is None:
        return ""
    try:
        return str(value)
    except (Exception, SystemExit):
        # The object is the plugin's: it must not break the report about it.
        return ""


def _compile_specifier(specifier: str) -> Callable[[str], bool]:
    """Make a test of versions, which raises ValueError for a version that PEP 440 does not know.

    Raises:
        ValueError: PEP 440 does not know the specifier.
    """
    # Imported here because packaging is slow to import, and most plugins name no versions.
    from packaging.specifiers import SpecifierSet
    from packaging.version import Version

    accepted = SpecifierSet(specifier)
    return lambda version: accepted.contains(Version(version), prereleases=True)
