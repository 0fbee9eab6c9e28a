"""The source that finds the entry points of installed distributions, importing none of them."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final, Optional

from nitro_dispatch.exceptions import PluginDiscoveryError, describe_error
from nitro_dispatch.frozen import Frozen, replace
from nitro_dispatch.metadata import Origin
from nitro_dispatch.sources.candidate import Candidate, find_source

if TYPE_CHECKING:
    if sys.version_info >= (3, 12):
        from importlib.metadata import Distribution
    else:
        from importlib_metadata import Distribution

__all__ = ["EntryPointSource"]

_FILE: Final = "entry_points.txt"

# An object reference; the extras after it are an old custom without a meaning.
_REFERENCE: Final = re.compile(
    r"(?P<module>[^\s:\[\]]+)\s*(?::\s*(?P<attribute>[^\s:\[\]]+)\s*)?(?:\[[^\[\]]*\])?"
)


class EntryPointSource:
    """Finds the entry points of one group in the distributions that are installed.

    Args:
        group: The group under which plugins declare themselves.
        path: The folders to search, as in `sys.path`, which is searched by default.

    Raises:
        TypeError: The group is no string or empty, or the path is a string.

    Example:
        >>> EntryPointSource("my_app.plugins", path=[]).find()
        []
    """

    def __init__(
        self, group: str = "nitro_dispatch.plugins", *, path: Optional[Sequence[str]] = None
    ) -> None:
        if not (group and isinstance(group, str)):
            raise TypeError(f"group must be a text such as 'my_app.plugins', not {group!r}")
        if isinstance(path, str):
            raise TypeError(f"path must be a list of folders such as [{path!r}], not {path!r}")
        self._group = group
        self._path = path

    def find(self) -> list[Candidate]:
        """Find the candidates, importing nothing.

        Returns:
            The candidates: distributions in the order of the path, in one folder by name, the entry
            points of each as declared. A distribution that is there twice counts once, and the
            first wins. What cannot be read, and a line that is no entry point, is a candidate with
            an `error`.

        Example:
            >>> broken = [found for found in EntryPointSource().find() if found.error]
        """
        candidates: list[Candidate] = []
        seen: set[str] = set()
        for folder in sys.path if self._path is None else self._path:
            try:
                releases = _releases_in(folder)
            except Exception as error:
                # What finds distributions may be anybody's code, and an entry of the path anything.
                text = f"{folder!r} cannot be searched for distributions"
                candidates.append(_fault(Origin(file=str(folder)), text, cause=error))
                continue
            for release in releases:
                if release.key not in seen:
                    seen.add(release.key)
                    candidates += self._candidates_of(release)
        return candidates

    def _candidates_of(self, release: _Release) -> list[Candidate]:
        try:
            lines = list(_lines_of_group(release.read_entry_points(), self._group))
        except Exception as error:
            # A file may be broken in as many ways as there are finders to read it.
            origin = replace(release.origin, file=release.file)
            text = f"the entry points of {release.origin} cannot be read from {release.file}"
            return [_fault(origin, text, release.names, error)]
        return [self._candidate(release, line) for line in lines]

    def _candidate(self, release: _Release, line: _Line) -> Candidate:
        origin = replace(release.origin, entry_point=line.text)
        if line.fault:
            origin = replace(origin, file=release.file, line=line.number)
            place = f"line {line.number} of {release.file}"
            text = f"{release.origin} declares {line.text!r} in {place}, where {line.fault}"
            return _fault(origin, text, (line.name, *release.names))
        path = find_source(line.module, self._path)
        return Candidate(
            origin=origin,
            module=line.module,
            path=path,
            attribute=line.attribute,
            is_package=os.path.basename(path) == "__init__.py",
            names=(line.name, *release.names),
        )


class _Release:
    """A distribution as it lies in one folder of the path."""

    def __init__(self, distribution: Distribution) -> None:
        self._distribution = distribution
        # This folder has no public name; a distribution of another kind of finder may have none.
        self._folder: Any = getattr(distribution, "_path", None)

    @cached_property
    def key(self) -> str:
        """The normalized name, the same for all releases of a distribution."""
        # The folder's name tells it: to read the metadata of everything installed would be slow.
        name = self._name_and_version_of_folder[0] or self.origin.distribution
        return _normalized(name or self.file)

    @cached_property
    def file(self) -> str:
        """The path of the file with the entry points, for messages."""
        return _FILE if self._folder is None else str(self._folder.joinpath(_FILE))

    @cached_property
    def origin(self) -> Origin:
        """The distribution's name and version, as its metadata says, else as the folder does."""
        name, version = self._name_and_version_of_folder
        try:
            metadata: Any = self._distribution.metadata
            name, version = metadata.get("Name") or name, metadata.get("Version") or version
        except Exception:
            # Metadata may be missing, or broken in any way: the folder's name is what is known.
            pass
        return Origin(distribution=name, version=version)

    @property
    def names(self) -> tuple[str, ...]:
        """The distribution's name in all spellings that an allow or block list may have."""
        normalized = _normalized(self.origin.distribution)
        spellings = [self.origin.distribution, normalized, normalized.replace("-", "_")]
        return tuple(dict.fromkeys(name for name in spellings if name))

    def read_entry_points(self) -> bytes:
        """Read the file, empty where there is none; raise whatever keeps it from being read."""
        if self._folder is None:
            return (self._distribution.read_text(_FILE) or "").encode()
        try:
            # `read_text` says of a file that may not be read that there is none.
            content: bytes = self._folder.joinpath(_FILE).read_bytes()
        except (FileNotFoundError, NotADirectoryError, KeyError):
            return b""
        return content

    @cached_property
    def _name_and_version_of_folder(self) -> tuple[str, str]:
        folder: str = getattr(self._folder, "name", "")
        # An unpacked egg has all in `EGG-INFO`, which tells nothing.
        name, _, rest = folder.rpartition(".")[0].partition("-")
        return name, rest.partition("-")[0]


def _releases_in(folder: str) -> list[_Release]:
    """List the distributions in one folder of the path, sorted by name."""
    # Imported here because both are slow to import, and not every program has entry points.
    if sys.version_info >= (3, 12):
        from importlib.metadata import distributions
    else:
        from importlib_metadata import distributions

    # The backport's newer releases have a type of their own for what they find.
    found: Iterable[Any] = distributions(path=[folder])
    releases = [_Release(distribution) for distribution in found]
    # Interrupted, pip leaves folders behind whose names begin with a tilde, and disregards them.
    releases = [release for release in releases if not release.key.startswith("~")]
    return sorted(releases, key=lambda release: (release.key, release.file))


def _normalized(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


class _Line(Frozen):
    """A line of a file with entry points: one of them, or what is wrong with it."""

    number: int
    text: str
    name: str = ""
    module: str = ""
    attribute: str = ""
    fault: str = ""


def _lines_of_group(content: bytes, group: str) -> Iterator[_Line]:
    """Read the entry points of a group, and the faults that may hide some.

    The standard parser cannot be used: with one bad line it gives none of the good ones.
    """
    if group.encode() not in content:
        # Most files have none of the group. One that is not UTF-8 could, written otherwise.
        content.decode()
        return
    section: Optional[str] = None
    found = False
    for number, line in enumerate(content.splitlines(), 1):
        text = line.decode(errors="backslashreplace").strip()
        if not text or text[0] in "#;":
            continue
        if text[0] == "[":
            section = text[1:-1].strip() if text[-1] == "]" else ""
            if not section:
                yield _Line(number, text, fault="the name of a section should stand in [brackets]")
            elif section == group and found:
                yield _Line(number, text, fault="the section begins a second time")
            found = found or section == group
        elif section is None:
            section = ""
            yield _Line(number, text, fault=f"the section should begin first, with [{group}]")
        elif section == group:
            yield _read_line(number, line)


def _read_line(number: int, line: bytes) -> _Line:
    text = line.decode(errors="backslashreplace").strip()
    name, _, value = (part.strip() for part in text.partition("="))
    match = _REFERENCE.fullmatch(value)
    module, attribute = match.group("module", "attribute") if match else ("", None)
    parts = module.split(".") + (attribute.split(".") if attribute else [])
    fault = ""
    if not _is_utf8(line):
        fault = "the text should be UTF-8"
    elif not name or not all(part.isidentifier() for part in parts):
        fault = "'name = package.module:ClassName' should stand"
    return _Line(number, text, name, module, attribute or "", fault)


def _is_utf8(line: bytes) -> bool:
    try:
        line.decode()
    except UnicodeDecodeError:
        return False
    return True


def _fault(
    origin: Origin,
    text: str,
    names: tuple[str, ...] = (),
    cause: Optional[BaseException] = None,
) -> Candidate:
    reason = f": {describe_error(cause)}" if cause else ""
    error = PluginDiscoveryError(f"{text}{reason}", origin=str(origin), cause=cause)
    error.__cause__ = cause
    return Candidate(origin=origin, module="", names=names, error=error, stage="discover")
