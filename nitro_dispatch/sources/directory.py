"""The source that finds plugin files and packages in a folder, importing nothing."""

from __future__ import annotations

import hashlib
import logging
import os
import re
import stat
from fnmatch import fnmatchcase
from typing import Final, Optional, Union

from nitro_dispatch.exceptions import PluginDiscoveryError, describe_error, shown
from nitro_dispatch.metadata import Origin
from nitro_dispatch.reports import log_safely
from nitro_dispatch.sources import DISCOVERED_PACKAGE
from nitro_dispatch.sources.candidate import Candidate

__all__ = ["DirectorySource", "is_passed_over"]

_logger: Final = logging.getLogger(__name__)

_INIT: Final = "__init__.py"

# These two belong to the package that their folder is: alone they are no plugins.
_PARTS_OF_A_PACKAGE: Final = frozenset([_INIT, "__main__.py"])

# Elsewhere the mode does not tell the rights: on Windows every folder would look open to all.
_MODE_TELLS_RIGHTS: Final = os.name == "posix"


class DirectorySource:
    """Finds plugin files and packages in a folder.

    A package is found when its folder's name plus `.py` matches the pattern; it is not searched for
    more. Hidden files and folders and `__pycache__` are passed over. A folder or file that anybody
    may write to is logged as a warning.

    Args:
        directory: The folder; `~` stands for the user's home.
        pattern: What the names of files must match, with the wildcards of `fnmatch`. Case counts.
        recursive: Whether to search the sub-folders too, those behind symbolic links included.

    Raises:
        PluginDiscoveryError: The directory is an empty text; or the pattern is empty, or is a path:
            such a one could leave the folder.
        TypeError: The directory is no path, or the pattern no string.

    Example:
        >>> import pathlib, tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     pathlib.Path(folder, "audit_plugin.py").touch()
        ...     [candidate.names for candidate in DirectorySource(folder).find()]
        [('audit_plugin', 'audit_plugin.py')]
    """

    def __init__(
        self,
        directory: Union[str, os.PathLike[str]],
        *,
        pattern: str = "*_plugin.py",
        recursive: bool = False,
    ) -> None:
        # Links in the path stay as they were given: it is this path that the user knows, and a
        # deployment that points a link elsewhere is followed by a reload.
        self._folder = os.path.abspath(os.path.expanduser(_checked_directory(directory)))
        self._pattern = _checked_pattern(pattern)
        self._recursive = recursive
        self.place = (self._folder, self._pattern, recursive)

    def find(self) -> list[Candidate]:
        """Find the candidates, importing nothing.

        Returns:
            The candidates, in sorted order of their paths. A file counts once, whatever links lead
            to it. A match that cannot be read, and a sub-folder that cannot be searched, is a
            candidate with an `error`.

        Raises:
            PluginDiscoveryError: The folder is missing, is a file, or cannot be read.

        Example:
            >>> DirectorySource("no/such/folder").find()  # doctest: +ELLIPSIS
            Traceback (most recent call last):
            nitro_dispatch.exceptions.PluginDiscoveryError: cannot search ...
        """
        pending = self._open_folder()
        candidates = []
        seen = {os.path.realpath(self._folder)}
        while pending:
            path = pending.pop()
            try:
                source = self._source_of(path)
                if not source and not (self._recursive and os.path.isdir(path)):
                    continue
                identity = os.path.realpath(path)
                if identity in seen:
                    continue
                seen.add(identity)
                if source != path:
                    _warn_if_open_to_all(path)
                if source:
                    _check_file(source)
                    candidates.append(_candidate(path, source))
                else:
                    pending.extend(_children(path))
            except OSError as error:
                candidates.append(_candidate(path, path, error))
        return candidates

    def _open_folder(self) -> list[str]:
        """List the folder itself, which must be there."""
        try:
            _warn_if_open_to_all(self._folder)
            return _children(self._folder)
        except (OSError, ValueError) as error:
            reason = describe_error(error)
            if os.path.isfile(self._folder):
                reason = "it is a file; give the folder that it is in"
            elif not os.path.exists(self._folder):
                reason = "there is no such folder; create it, or give another"
            raise PluginDiscoveryError(
                f"cannot search {self._folder} for plugins: {reason}"
            ) from error

    def _source_of(self, path: str) -> str:
        """Tell which file holds the source of a plugin file or package; "" if it is neither.

        Raises:
            OSError: The name is a plugin's, but what it is cannot be told.
        """
        name = os.path.basename(path)
        if (
            name.endswith(".py")
            and name not in _PARTS_OF_A_PACKAGE
            and fnmatchcase(name, self._pattern)
            and stat.S_ISREG(os.stat(path).st_mode)
        ):
            return path
        if fnmatchcase(f"{name}.py", self._pattern) and os.path.isdir(path):
            return _init_of(path)
        return ""


def _checked_directory(directory: object) -> str:
    if not isinstance(directory, (str, bytes, os.PathLike)):
        raise TypeError(f"directory must be a path such as 'plugins', not {shown(directory)}")
    path = os.fsdecode(directory)
    if not path:
        # It would stand for the working folder, and comes of a variable that is not set.
        raise PluginDiscoveryError(
            "the directory is an empty text; give the folder to search, '.' for the working folder"
        )
    return path


def _checked_pattern(pattern: str) -> str:
    if not isinstance(pattern, str):
        raise TypeError(f"pattern must be a string such as '*_plugin.py', not {shown(pattern)}")
    if pattern in {"", ".", ".."} or "/" in pattern or "\\" in pattern:
        raise PluginDiscoveryError(
            f"the pattern {pattern!r} is no pattern for the names of files; give one such as "
            "'*_plugin.py', and name a sub-folder in the directory, or search recursively"
        )
    return pattern


def is_passed_over(name: str) -> bool:
    """Tell whether a file or folder is not looked at in a folder of plugins.

    Args:
        name: Its name.

    Returns:
        True for what is hidden, and for the byte code.

    Example:
        >>> is_passed_over(".git"), is_passed_over("greeter_plugin.py")
        (True, False)
    """
    return name.startswith(".") or name == "__pycache__"


def _children(folder: str) -> list[str]:
    """List what may be looked at in a folder, the last in sorted order first."""
    names = [name for name in os.listdir(folder) if not is_passed_over(name)]
    return [os.path.join(folder, name) for name in sorted(names, reverse=True)]


def _init_of(folder: str) -> str:
    """Tell where the `__init__.py` of a folder is; "" if it has none.

    Raises:
        OSError: The folder cannot be looked into.
    """
    path = os.path.join(folder, _INIT)
    try:
        return path if stat.S_ISREG(os.stat(path).st_mode) else ""
    except FileNotFoundError:
        return ""


def _check_file(path: str) -> None:
    """Raise OSError if a file cannot be read, and warn if anybody may write to it."""
    with open(path, "rb"):
        _warn_if_open_to_all(path)


def _candidate(path: str, source: str, error: Optional[OSError] = None) -> Candidate:
    name = os.path.basename(path)
    stem = name[: -len(".py")] if name.endswith(".py") else name
    return Candidate(
        origin=Origin(file=source),
        module=_module_name(stem, os.path.realpath(path)),
        path=source,
        is_package=source != path,
        names=tuple(dict.fromkeys((stem, name))),
        error=error,
        stage="discover" if error else "",
    )


def _module_name(stem: str, real_path: str) -> str:
    """Make the name of a module that shadows nothing, the same for a file in every process."""
    digest = hashlib.sha256(os.fsencode(os.path.normcase(real_path))).hexdigest()[:16]
    identifier = re.sub(r"\W|^(?=\d)", "_", stem, flags=re.ASCII)
    return f"{DISCOVERED_PACKAGE}.{identifier}_{digest}"


def _warn_if_open_to_all(path: str) -> None:
    if _MODE_TELLS_RIGHTS and os.stat(path).st_mode & stat.S_IWOTH:
        log_safely(
            _logger,
            logging.WARNING,
            "anybody may write to %r, and so choose the code that runs as a plugin; take that "
            "right away with chmod o-w",
            path,
        )
