"""What a plugin says about itself: frozen metadata, its requirements and its origin.

The values come from a class that was imported or from source text that was only read; this module
does not know which. It judges them, all faults in one report.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping
from typing import Any, Callable, Final, Optional

from nitro_dispatch.exceptions import ValidationError, shown
from nitro_dispatch.frozen import Frozen

__all__ = ["FIELDS", "Origin", "PluginMetadata", "Requirement"]

# Compiled at its first use: to compile an expression takes 0.1 ms, and not all have requirements.
_OPERATOR: Final = "[<>=!~]"


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


def check_version(text: str) -> None:
    """Make sure that a version can be compared with others.

    Args:
        text: The version.

    Raises:
        ValueError: PEP 440 does not know it.
    """
    # Nearly all are of this kind, for which packaging need not be imported.
    if not re.fullmatch(r"[0-9]+(\.[0-9]+)*", text):
        # Imported here because it is slow to import.
        from packaging.version import Version

        Version(text)


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
            TypeError: It is not a string.
            ValueError: No name is given, or the specifier is none.

        Example:
            >>> Requirement.parse("store>=1.2,<2")
            Requirement(name='store', specifier='>=1.2,<2')
            >>> Requirement.parse("the user's store")
            Requirement(name="the user's store", specifier='')
        """
        if not isinstance(text, str):
            raise TypeError(
                f"a requirement must be a string such as 'store>=1.2,<2', not {shown(text)}"
            )
        # Plain: a subclass of `str` may show itself in another way, or have no hash.
        return _parse_requirement(str.__str__(text))

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


# Many plugins need the same few: a text is read once, which takes a tenth of the time from the
# second time on, and those who need one plugin share one record.
@functools.lru_cache(maxsize=1 << 14)
def _parse_requirement(text: str) -> Requirement:
    operator = re.search(_OPERATOR, text)
    end = operator.start() if operator else len(text)
    name = text[:end].strip() if operator else text[:end]
    if not name:
        raise ValueError(f"{shown(text)} names no plugin; write for example 'store>=1.2,<2'")
    try:
        return Requirement._of({"name": name, "specifier": _checked_specifier(text[end:])})
    except ValueError:
        raise ValueError(
            f"{shown(text)} has a bad version specifier; write for example 'store>=1.2,<2'"
        ) from None


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
        faults: list[str] = []
        if "name" not in values:
            values = {"name": None, **values}
        known: dict[str, Any] = {"name": "", "origin": origin}
        for field, given in values.items():
            if field in _READERS:
                value = _READERS[field](field, given, faults)
                if value is not None:
                    known[field] = value
        if validate and faults:
            raise ValidationError(plugin=known["name"], origin=str(origin), errors=tuple(faults))
        return cls._of(known)


# A reader makes of one attribute what the metadata hold, None standing for the default, and says
# what is wrong with it.


def _read_name(field: str, value: object, faults: list[str]) -> str:
    if isinstance(value, str) and value:
        return str.__str__(value)
    faults.append(f"{field} must be a non-empty string such as 'cache', not {shown(value)}")
    return _text_of(value)


def _read_version(field: str, value: object, faults: list[str]) -> Optional[str]:
    if isinstance(value, str) and value:
        return value
    faults.append(f"{field} must be a non-empty string such as '1.0.0', not {shown(value)}")
    return None


def _read_text(field: str, value: object, faults: list[str]) -> Optional[str]:
    if isinstance(value, str):
        return value
    faults.append(f"{field} must be a string, not {shown(value)}")
    return None


def _read_requirements(
    field: str, value: object, faults: list[str]
) -> Optional[tuple[Requirement, ...]]:
    if not isinstance(value, (list, tuple)):
        example = [value] if isinstance(value, str) and value else ["store", "cache>=1.2,<2"]
        faults.append(f"{field} must be a list such as {shown(example)}, not {shown(value)}")
        return None
    requirements = []
    for entry in value:
        try:
            if not isinstance(entry, str):
                raise ValueError(
                    f"{shown(entry)} is not a string; write for example 'store>=1.2,<2'"
                )
            requirements.append(_parse_requirement(str.__str__(entry)))
        except ValueError as error:
            faults.append(f"{field} must list names of plugins: {error}")
    return tuple(requirements)


def _read_specifier(field: str, value: object, faults: list[str]) -> Optional[str]:
    try:
        if isinstance(value, str):
            return _checked_specifier(value)
    except ValueError:
        pass
    faults.append(f"{field} must be a version specifier such as '>=3.1,<4', not {shown(value)}")
    return None


def _checked_specifier(text: str) -> str:
    """Hand a specifier back, without surrounding blanks, or raise ValueError."""
    specifier = text.strip()
    if specifier:
        _compile_specifier(specifier)
    return specifier


_Reader = Callable[[str, object, list[str]], object]

_READERS: Final[Mapping[str, _Reader]] = {
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

FIELDS: Final = _READERS.keys()


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
