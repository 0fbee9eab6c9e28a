"""Where to look for plugins and how to set them up, as the table of a pyproject.toml says it."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Callable, Final, NamedTuple, Optional

from nitro_dispatch.cli.errors import CommandError, did_you_mean

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

__all__ = ["FILE", "TABLE", "Settings", "find_settings", "read_settings"]

FILE: Final = "pyproject.toml"
TABLE: Final = "tool.nitro_dispatch"


@dataclass(frozen=True)
class Settings:
    """Where to look for plugins and how to set them up.

    Args:
        entry_points: Whether to look among installed distributions.
        group: The group in which distributions declare their entry points.
        directories: The folders to search.
        pattern: What the names of plugin files match.
        recursive: Whether to search the folders in those folders too.
        allow: The names of the only plugins that may be used; None allows all.
        block: The names of plugins that may not be used.
        app_version: The application's version, None where `requires_app` is not to be checked.
        config: The configuration: a section for each plugin, by the plugin's name.
    """

    entry_points: bool = True
    group: str = "nitro_dispatch.plugins"
    directories: tuple[str, ...] = ()
    pattern: str = "*_plugin.py"
    recursive: bool = False
    allow: Optional[tuple[str, ...]] = None
    block: tuple[str, ...] = ()
    app_version: Optional[str] = None
    config: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


class _Kind(NamedTuple):
    """What a setting has to be, in words and as a test."""

    expected: str
    fits: Callable[[Any], bool]


def _is_list_of_texts(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(each, str) and each for each in value)


def _is_table_of_tables(value: object) -> bool:
    return isinstance(value, dict) and all(isinstance(each, dict) for each in value.values())


_FLAG: Final = _Kind("true or false", lambda value: isinstance(value, bool))
_TEXT: Final = _Kind("a text", lambda value: isinstance(value, str))
_TEXTS: Final = _Kind("a list of texts, none of them empty", _is_list_of_texts)
_KINDS: Final[Mapping[str, _Kind]] = {
    "entry_points": _FLAG,
    "group": _TEXT,
    "directories": _TEXTS,
    "pattern": _TEXT,
    "recursive": _FLAG,
    "allow": _TEXTS,
    "block": _TEXTS,
    "app_version": _TEXT,
    "config": _Kind("a table for each plugin", _is_table_of_tables),
}


def find_settings(folder: Path) -> Settings:
    """Read the nearest pyproject.toml that has a table for us.

    Args:
        folder: Where to begin; the folders around it are looked through too.

    Returns:
        The settings; the defaults where there is no such file.

    Raises:
        CommandError: A file on the way is not TOML, or what it says cannot be used.
    """
    for place in (folder, *folder.parents):
        path = place / FILE
        table = _read_table(path) if path.is_file() else None
        if table is not None:
            return _settings_of(table, path)
    return Settings()


def read_settings(path: Path) -> Settings:
    """Read the settings of one file.

    Args:
        path: A TOML file with the table `[tool.nitro_dispatch]`.

    Returns:
        The settings.

    Raises:
        CommandError: It cannot be read, has no such table, or what that says cannot be used.
    """
    table = _read_table(path)
    if table is None:
        raise CommandError(f"{path} has no table [{TABLE}]")
    return _settings_of(table, path)


def _read_table(path: Path) -> Optional[object]:
    """Read our table of a file, None where there is none."""
    try:
        content: Any = tomllib.loads(path.read_bytes().decode())
    except OSError as error:
        raise CommandError(f"{path} cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise CommandError(f"{path} is not TOML: {error}") from error
    for key in TABLE.split("."):
        content = content.get(key) if isinstance(content, dict) else None
    found: Optional[object] = content
    return found


def _settings_of(table: object, path: Path) -> Settings:
    if not isinstance(table, dict):
        raise CommandError(f"{path}: {TABLE} must be a table")
    faults = list(_faults(table))
    if faults:
        raise CommandError(f"{path}: in [{TABLE}] {'; '.join(faults)}")
    values: dict[str, Any] = {
        key: tuple(value) if isinstance(value, list) else value for key, value in table.items()
    }
    settings = Settings(**values)
    folder = path.absolute().parent
    directories = (folder / os.path.expanduser(each) for each in settings.directories)
    return replace(settings, directories=tuple(map(str, directories)))


def _faults(table: Mapping[str, object]) -> Iterator[str]:
    """Find all that is wrong with a table."""
    for key, value in table.items():
        if key not in _KINDS:
            advice = did_you_mean(key, _KINDS) or f"; known are {', '.join(_KINDS)}"
            yield f"{key!r} is unknown{advice}"
        elif not _KINDS[key].fits(value):
            yield f"{key} must be {_KINDS[key].expected}, not {value!r}"
