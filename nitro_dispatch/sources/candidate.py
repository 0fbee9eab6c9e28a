"""What a source finds: a place where plugins may be, and what they say there unimported."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.machinery import (
    SOURCE_SUFFIXES,
    FileFinder,
    ModuleSpec,
    PathFinder,
    SourceFileLoader,
)
from importlib.util import find_spec
from typing import Final, Optional, Protocol

from nitro_dispatch.metadata import Origin

__all__ = ["DISCOVERED_PACKAGE", "Candidate", "Source", "find_source"]

DISCOVERED_PACKAGE: Final = "nitro_dispatch._discovered"


@dataclass(frozen=True)
class Candidate:
    """A place where plugins may be."""

    origin: Origin
    module: str
    path: str = ""
    attribute: str = ""
    is_package: bool = False
    names: tuple[str, ...] = ()
    error: Optional[BaseException] = None
    stage: str = ""


class Source(Protocol):
    """A place where plugins may be."""

    def find(self) -> list[Candidate]:
        """Find the candidates, in a fixed order, importing nothing."""
        ...


def find_source(module: str, path: Optional[Sequence[str]] = None) -> str:
    """Find the source file of a module, importing neither it nor the packages that it is in.

    Args:
        module: The module's full name.
        path: The folders to search, as in `sys.path`. Without them it is found as an import would
            find it now, also by the finders of editable installs.

    Returns:
        The absolute path of the file, for a package that of its `__init__.py`; "" where there is no
        such module, or no source of it on the disk.

    Example:
        >>> find_source("email.message").endswith("message.py")
        True
        >>> find_source("email.no_such_module")
        ''
    """
    top_level, *rest = module.split(".")
    spec = _find_top_level(top_level, path)
    for name in rest:
        spec = _find_submodule(name, spec)
    if spec is None or not spec.origin or not os.path.isfile(spec.origin):
        return ""
    return os.path.abspath(spec.origin) if spec.origin.endswith(".py") else ""


def _find_top_level(name: str, path: Optional[Sequence[str]]) -> Optional[ModuleSpec]:
    try:
        return find_spec(name) if path is None else PathFinder.find_spec(name, path)
    except Exception:
        # Finders are the code of anybody. Where one fails the import will fail, and tell how.
        return None


def _find_submodule(name: str, package: Optional[ModuleSpec]) -> Optional[ModuleSpec]:
    """Find a module in the folders of a package; `find_spec` would import the package for that."""
    portions: list[str] = []
    for folder in (package and package.submodule_search_locations) or ():
        finder = FileFinder(folder, (SourceFileLoader, SOURCE_SUFFIXES))
        spec = finder.find_spec(name)
        if spec is not None and spec.loader is not None:
            return spec
        portions += (spec and spec.submodule_search_locations) or []
    namespace = ModuleSpec(name, None, is_package=True)
    namespace.submodule_search_locations = portions
    return namespace
