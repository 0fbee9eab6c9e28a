"""The source that finds the entry points of installed distributions, importing none of them."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator, Sequence
from typing import Final, Optional

from nitro_dispatch.exceptions import PluginDiscoveryError, describe_error, shown
from nitro_dispatch.frozen import Frozen, replace
from nitro_dispatch.metadata import Origin
from nitro_dispatch.sources.candidate import Candidate, find_source, later
from nitro_dispatch.sources.distributions import Release, releases_in

__all__ = ["EntryPointSource"]

# The module and the attribute of an object reference; the extras after it have no meaning any more.
_REFERENCE: Final = re.compile(r"([^\s:\[\]]+)\s*(?::\s*([^\s:\[\]]+)\s*)?(?:\[[^\[\]]*\])?")


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
            raise TypeError(f"group must be a text such as 'my_app.plugins', not {shown(group)}")
        if isinstance(path, str):
            raise TypeError(
                f"path must be a list of folders such as [{shown(path)}], not {shown(path)}"
            )
        self.place = (group, None if path is None else tuple(path))
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
        seen: set[object] = set()
        for folder in sys.path if self._path is None else self._path:
            releases, faults = releases_in(folder)
            for fault in faults:
                # A finder that fails does so at each folder.
                if fault.origin not in seen:
                    seen.add(fault.origin)
                    candidates.append(_fault(fault.origin, fault.text, cause=fault.cause))
            for release in releases:
                if release.key not in seen:
                    seen.add(release.key)
                    candidates += self._candidates_of(release)
        return candidates

    def _candidates_of(self, release: Release) -> list[Candidate]:
        try:
            content = release.read_entry_points()
            lines = _lines_of_group(content, self._group) if content else []
        except Exception as error:
            # A file may be broken in as many ways as there are finders to read it.
            origin = replace(release.origin, file=release.file)
            text = f"the entry points of {release.origin} cannot be read from {release.file}"
            return [_fault(origin, text, release.names, error)]
        return [self._candidate(release, line) for line in lines]

    def _candidate(self, release: Release, line: _Line) -> Candidate:
        if line.fault:
            origin = replace(
                release.origin, entry_point=line.text, file=release.file, line=line.number
            )
            place = f"line {line.number} of {release.file}"
            text = f"{release.origin} declares {line.text!r} in {place}, where {line.fault}"
            return _fault(origin, text, (line.name, *release.names))
        return Candidate(
            later(lambda _: _origin_of(release, line)),
            line.module,
            later(self._source_of),
            line.attribute,
            later(_is_package),
            later(lambda _: (line.name, *release.names)),
            None,
            "",
        )

    def _source_of(self, candidate: Candidate) -> str:
        return find_source(candidate.module, self._path)


def _origin_of(release: Release, line: _Line) -> Origin:
    # `replace` would add 0.7 ms to a start with 100 plugins.
    return Origin(release.origin.distribution, release.origin.version, line.text, "", 0, "")


def _is_package(candidate: Candidate) -> bool:
    return os.path.basename(candidate.path) == "__init__.py"


class _Line(Frozen):
    """A line of a file with entry points: one of them, or what is wrong with it."""

    number: int
    text: str
    name: str = ""
    module: str = ""
    attribute: str = ""
    fault: str = ""


def _lines_of_group(content: bytes, group: str) -> list[_Line]:
    """Read the entry points of a group, and the faults that may hide some.

    The standard parser cannot be used: with one bad line it gives none of the good ones.
    """
    if group.encode() not in content:
        # Most files have none of the group. One that is not UTF-8 could, written otherwise.
        content.decode()
        return []
    return list(_read_lines(content, group))


def _read_lines(content: bytes, group: str) -> Iterator[_Line]:
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
            yield _read_line(number, text, is_utf8=_is_utf8(line))


def _read_line(number: int, text: str, *, is_utf8: bool) -> _Line:
    name, _, value = text.partition("=")
    name = name.rstrip()
    match = _REFERENCE.fullmatch(value.lstrip())
    module, attribute = match.groups(default="") if match else ("", "")
    parts = [*module.split("."), *(attribute.split(".") if attribute else ())]
    fault = ""
    if not is_utf8:
        fault = "the text should be UTF-8"
    elif not (name and all(map(str.isidentifier, parts))):
        fault = "'name = package.module:ClassName' should stand"
    return _Line(number, text, name, module, attribute, fault)


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
