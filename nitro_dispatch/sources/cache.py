"""What was read of source files, kept on the disk: a second start need not read them again.

To read a file takes a millisecond, to find again what was read of it a thirtieth of that. Each file
has an entry of its own, which counts as long as the file is the same. What goes wrong with the
cache is no fault of a plugin: then the file is read.
"""

from __future__ import annotations

import contextlib
import functools
import logging
import os
import stat
import sys
import time
from collections.abc import Iterable
from importlib.util import source_hash
from itertools import product
from typing import TYPE_CHECKING, Any, Final, Optional, Union

from nitro_dispatch.exceptions import describe_error
from nitro_dispatch.late import Late
from nitro_dispatch.reports import log_safely, printable
from nitro_dispatch.sources import OPEN_FLAGS
from nitro_dispatch.sources.descriptions import (
    ClassDescription,
    FileDescription,
    HookDescription,
    Unknown,
)
from nitro_dispatch.version import __version__

if TYPE_CHECKING:
    from nitro_dispatch.sources import static
else:
    # With `ast` it takes 3 ms to import, as long as to find a hundred entries.
    static = Late("nitro_dispatch.sources.static")

__all__ = ["describe_file"]

_logger: Final = logging.getLogger(__name__)

_VARIABLE: Final = "NITRO_DISPATCH_CACHE"
_NAME: Final = "nitro_dispatch"

# Another release may read a file in another way, and another Python takes other files for valid.
_READER: Final = f"{__version__} {sys.implementation.name} {sys.hexversion:x}"

# What says how a file is read, in the folder of the package. Where somebody works on the library it
# changes within a release.
_READING_MODULES: Final = (
    *("callables", "events", "hooks", "metadata", "sources/descriptions", "sources/literals"),
    *("sources/meanings", "sources/scopes", "sources/statements", "sources/static"),
)

# A file that is changed twice within one tick of the file system's clock looks the same after both.
# In nanoseconds, for the slowest of those clocks, that of FAT.
_TICK: Final = 2_000_000_000

# An entry is a file of ours, never a link.
_FLAGS: Final = OPEN_FLAGS | getattr(os, "O_NOFOLLOW", 0)

# Of which folders it has been told that they are of no use, and why.
_told: Final[set[tuple[str, str]]] = set()


def describe_file(path: str) -> FileDescription:
    """Tell what a source file says, from the cache if it has not changed since it was read.

    Args:
        path: The Python file.

    Returns:
        What it says of plugin classes, and where its names come from.

    Raises:
        OSError: The file cannot be read.
        SyntaxError: It is not Python, or its declared encoding is not known.
        ValueError: It has null bytes, is nested too deeply or repeats too much.
    """
    entry = _entry_of(path)
    if not entry:
        return static.read_file(path)
    # Before the file is read: where it changes meanwhile, this stamp will never be seen again.
    status = os.stat(path)
    # The last of them cannot be set at will. It tells one file from another in its place even where
    # both were given the same time, as reproducible packages are.
    times = [status.st_mtime_ns, status.st_ctime_ns]
    stamp = [_READER, _state_of_reader(), path, status.st_size, *times]
    description = _load(path, entry, stamp)
    if description is None:
        is_settled = time.time_ns() - max(times) > _TICK
        description = static.read_file(path)
        if is_settled:
            _store(path, entry, stamp, description)
    return description


def _entry_of(path: str) -> str:
    """Tell where the entry of a file is, "" if nothing is to be kept on the disk."""
    folder = _folder(os.environ.get(_VARIABLE, ""))
    if not folder:
        return ""
    # The hash of the import system is there already, which `hashlib` would take 3 ms to be. Two
    # files of one hash take turns: an entry tells which it is of.
    return os.path.join(folder, source_hash(os.fsencode(f"{_READER} {path}")).hex())


@functools.lru_cache(maxsize=1)
def _state_of_reader() -> str:
    """Tell one state of the modules that read from another; "" where they are no files."""
    package = os.path.dirname(os.path.dirname(__file__))
    try:
        found = [os.stat(os.path.join(package, f"{name}.py")) for name in _READING_MODULES]
    except OSError:
        return ""
    state = [(status.st_size, status.st_mtime_ns) for status in found]
    return source_hash(repr(state).encode()).hex()


# It tells only once why the cache is off.
@functools.lru_cache(maxsize=1)
def _folder(setting: str) -> str:
    """Tell in which folder the entries are, "" if nothing is to be kept on the disk."""
    folder = _expanded(setting) if setting else _default_folder()
    # A relative path would stand for another folder wherever the program runs.
    if os.path.isabs(folder):
        return folder
    if setting != "off":
        reason = f"{_VARIABLE}={setting!r} is no absolute path" if setting else "there is no home"
        message = "nothing that is read of source files is kept: %s"
        log_safely(_logger, logging.DEBUG, message, reason)
    return ""


def _expanded(path: str) -> str:
    """Put the user's home for `~`; where there is none the path stays relative."""
    # An empty variable would make the root of the file system the home.
    return path if os.environ.get("HOME") == "" else os.path.expanduser(path)


def _default_folder() -> str:
    """Tell where users keep caches; a relative path where that cannot be told."""
    if sys.platform == "linux":
        # To import `platformdirs` takes 8 ms, a fifth of a start, and it says the same.
        caches = os.environ.get("XDG_CACHE_HOME", "")
        caches = caches if os.path.isabs(caches) else _expanded("~/.cache")
        return os.path.join(caches, _NAME)
    else:  # noqa: RET505  # Else mypy would miss what is in it.
        # Imported here because it is slow to import, and only needed on systems of other customs.
        from platformdirs import user_cache_dir

        try:
            return user_cache_dir(_NAME, appauthor=False) if _expanded("~") != "~" else ""
        except RuntimeError:  # There is no home.
            return ""


def _load(path: str, entry: str, stamp: list[object]) -> Optional[FileDescription]:
    """Find what was read of a file; None if there is nothing of this very file, or nothing good."""
    # Imported here because it is slow to import, and not needed by who imports all plugins.
    import json

    try:
        found, description = json.loads(_read_own(entry))
        return _read_file(description) if found == stamp else None
    except FileNotFoundError:
        return None
    except Exception as error:
        _tell("read", path, entry, error)
        return None


def _tell(action: str, path: str, entry: str, error: Exception) -> None:
    """Log why an entry is of no use."""
    reason = describe_error(error)
    if isinstance(error, OSError):
        # It is likely to be so with every entry in the folder.
        place = (os.path.dirname(entry), error.strerror or reason)
        if place in _told:
            return
        _told.add(place)
    message = "%s, the entry of %s, cannot be %s: %s"
    log_safely(_logger, logging.DEBUG, message, *map(printable, (entry, path, action, reason)))


def _read_own(entry: str) -> bytes:
    # The system's own calls: a file object takes twice the time.
    descriptor = os.open(entry, _FLAGS)
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise OSError("it is no regular file")
        if hasattr(os, "geteuid") and status.st_uid != os.geteuid():
            # Who else can write here could let a plugin seem to listen to nothing.
            raise PermissionError("it belongs to another user")
        return os.read(descriptor, status.st_size)
    finally:
        os.close(descriptor)


def _store(path: str, entry: str, stamp: list[object], description: FileDescription) -> None:
    """Keep what was read of a file, unless it cannot be had back as it was."""
    # Imported here for the same reason as above.
    import json

    try:
        text = json.dumps([stamp, description], default=_values_of)
        if _read_file(json.loads(text)[1]) == description:
            _write(entry, text)
    except Exception as error:
        _tell("written", path, entry, error)


def _write(entry: str, text: str) -> None:
    """Put a file in place at once, whoever reads or writes it at the same time."""
    os.makedirs(os.path.dirname(entry), 0o700, exist_ok=True)
    temporary = f"{entry}.{os.urandom(8).hex()}"
    try:
        with open(temporary, "x", opener=_open_private) as file:
            file.write(text)
        os.replace(temporary, entry)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise


def _open_private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def _values_of(record: object) -> list[object]:
    """Give the values of a record, which JSON does not know."""
    values = {**vars(record)}
    if isinstance(record, ClassDescription):
        # JSON has lists only, and a tuple of dependencies is as common as a list.
        values["values"] = {
            name: {"tuple": value} if isinstance(value, tuple) else value
            for name, value in record.values.items()
        }
    return list(values.values())


# What reads an entry takes nothing for granted: each function raises if a value is of another type.
# The types of all values of a record are compared at once, which takes a third of the time.


def _types(*alternatives: Union[type, tuple[type, ...]]) -> frozenset[tuple[type, ...]]:
    """List the types that the values of a record may have together."""
    return frozenset(
        product(*(each if isinstance(each, tuple) else (each,) for each in alternatives))
    )


_FILE: Final = _types(list, dict, dict, list)
_CLASS: Final = _types(str, int, dict, list, list, bool, str, list)
_NUMBER: Final = (int, float)
_HOOK: Final = _types(
    str, list, _NUMBER, (*_NUMBER, type(None)), bool, bool, bool, list, list, bool, int
)
_UNKNOWN: Final = _types(str, int, str)


def _read_file(values: Any) -> FileDescription:
    classes, names, lines, stars = _checked(values, _FILE)
    _check_each(names.values(), str)
    _check_each(lines.values(), int)
    return FileDescription(tuple(map(_read_class, classes)), names, lines, _texts(stars))


def _read_class(values: Any) -> ClassDescription:
    name, line, literals, hooks, unknown, runs_code, path, faults = _checked(values, _CLASS)
    for field, value in literals.items():
        if isinstance(value, dict):
            literals[field] = tuple(value["tuple"])
    hooks, unknown = tuple(map(_read_hook, hooks)), tuple(map(_read_unknown, unknown))
    known = (name, line, literals, hooks, unknown, runs_code, path)
    return ClassDescription(*known, _texts(faults))


def _read_hook(values: Any) -> HookDescription:
    # What is a list there is a tuple here.
    known: list[Any] = [
        _texts(each) if type(each) is list else each for each in _checked(values, _HOOK)
    ]
    return HookDescription(*known)


def _read_unknown(values: Any) -> Unknown:
    return Unknown(*_checked(values, _UNKNOWN))


def _checked(values: Any, allowed: frozenset[tuple[type, ...]]) -> Any:
    if tuple(map(type, values)) not in allowed:
        raise TypeError(f"{values!r} is not what was written")
    return values


def _texts(values: Any) -> tuple[str, ...]:
    _check_each(values, str)
    return tuple(values)


def _check_each(values: Iterable[object], allowed: type) -> None:
    if not set(map(type, values)) <= {allowed}:
        raise TypeError(f"{values!r} is not what was written")
