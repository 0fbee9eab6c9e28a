"""What a source finds: a place where plugins may be, and what they say there without being run."""

from __future__ import annotations

import functools
import os
import re
import sys
from collections.abc import Hashable, Sequence
from contextlib import suppress
from importlib.machinery import (
    SOURCE_SUFFIXES,
    FileFinder,
    ModuleSpec,
    PathFinder,
    SourceFileLoader,
)
from importlib.util import find_spec
from typing import Callable, Final, Optional, Protocol, TypeVar, cast

from nitro_dispatch.exceptions import PluginDiscoveryError
from nitro_dispatch.frozen import Frozen
from nitro_dispatch.metadata import Origin
from nitro_dispatch.sources import DISCOVERED_PACKAGE, NothingThere
from nitro_dispatch.sources.cache import describe_file
from nitro_dispatch.sources.descriptions import ClassDescription, FileDescription
from nitro_dispatch.sources.meanings import Reference

__all__ = ["DISCOVERED_PACKAGE", "Candidate", "Source", "find_source", "later"]

T = TypeVar("T")

# A class that more modules hand on is not looked for: they are likely to do so in a circle.
_LONGEST_CHAIN: Final = 50

# A module whose source has one of these may get names that are not written in it.
_NAMES_ARE_MADE: Final = "__dict__|__getattr__|eval|exec|globals|locals|modules|setattr|vars"


class _Postponable:
    """A field of a candidate whose value may be left to a function of the candidate."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __get__(self, candidate: Optional[Candidate], owner: type) -> object:
        if candidate is None:
            return self
        value = candidate.__dict__[self._name]
        if callable(value):
            value = candidate.__dict__[self._name] = value(candidate)
        return value

    def __set__(self, candidate: Candidate, value: object) -> None:
        candidate.__dict__[self._name] = value


def _postponable(*names: str) -> Callable[[type[T]], type[T]]:
    """Let values of a record be left open with `later`; its defaults stay what they are."""

    def extend(record: type[T]) -> type[T]:
        for name in names:
            setattr(record, name, _Postponable(name))
        return record

    return extend


# To find the source file and to read whose it is takes longer than to find an entry point.
@_postponable("origin", "path", "is_package", "names")
class Candidate(Frozen):
    """A place where plugins may be, found without importing anything.

    Args:
        origin: Where it comes from, for messages.
        module: The name of the module to import; for one from a folder a name of our making.
        path: The source file, for a package its `__init__.py`; "" if there is none on the disk.
        attribute: The object in the module that an entry point names; "" for every plugin class.
        is_package: Whether the module is a package.
        names: What an allow or block list may call it before it is read: the file's name with and
            without its ending, or the names of the entry point and of its distribution.
        error: Why it is broken, None if it is not.
        stage: "discover" if it is broken.

    Example:
        >>> Candidate(Origin(file="audit_plugin.py"), "audit_plugin", "audit_plugin.py").attribute
        ''
    """

    origin: Origin
    module: str
    path: str = ""
    attribute: str = ""
    is_package: bool = False
    names: tuple[str, ...] = ()
    error: Optional[BaseException] = None
    stage: str = ""

    @property
    def source(self) -> str:
        """The source file, of a package the folder, which ends in a separator; "" if unknown."""
        return os.path.join(os.path.dirname(self.path), "") if self.is_package else self.path

    def describe(self) -> tuple[ClassDescription, ...]:
        """Read what the plugin classes say of themselves, importing nothing.

        Of an entry point the class is described that it names, also where another module of the
        same package defines it. Of a package those are described that its `__init__.py` defines or
        imports from the package, in the order in which it does so.

        Returns:
            The descriptions; none where there is no plugin class.

        Raises:
            NothingThere: There is no such module, or nothing of that name in it.
            PluginDiscoveryError: Only an import can tell what the entry point names, or there is no
                source file.
            OSError: A file cannot be read.
            SyntaxError: A file is not Python.
            ValueError: A file has null bytes, is nested too deeply or repeats too much.
            BaseException: The `error` of a broken candidate.

        Example:
            >>> json = Candidate(Origin(module="json"), "json", find_source("json"))
            >>> json.describe()
            ()
        """
        if self.error is not None:
            raise self.error
        return _Reader(self).describe()


def later(work_out: Callable[[Candidate], T]) -> T:
    """Leave a value of a candidate open until it is read for the first time.

    Args:
        work_out: Tells the value, given the candidate.

    Returns:
        What stands for the value; as `origin`, `path`, `is_package` or `names` of a candidate only.

    Example:
        >>> Candidate(Origin(), "audit", later(lambda candidate: candidate.module + ".py")).path
        'audit.py'
    """
    return cast("T", work_out)


class Source(Protocol):
    """Something that finds candidates."""

    @property
    def place(self) -> Hashable:
        """Where it looks, and for what: equal in two that find the same."""
        ...

    def find(self) -> list[Candidate]:
        """Find the candidates, importing nothing.

        Returns:
            The candidates, broken ones included, in an order which is the same every time.

        Raises:
            PluginDiscoveryError: The place cannot be searched at all.
        """
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
        >>> os.path.basename(find_source("email.message"))
        'message.py'
        >>> find_source("email.no_such_module")
        ''
    """
    top_level, *rest = module.split(".")
    spec = _find_top_level(top_level, path)
    for name in rest:
        spec = _find_submodule(name, spec)
    return _source_of(spec)


def _find_top_level(name: str, path: Optional[Sequence[str]]) -> Optional[ModuleSpec]:
    try:
        return find_spec(name) if path is None else PathFinder.find_spec(name, path)
    except Exception:
        # Finders may be anybody's code. Where one fails the import will fail too, and tell how.
        return None


def _find_submodule(name: str, package: Optional[ModuleSpec]) -> Optional[ModuleSpec]:
    """Find a module in the folders of a package, which `find_spec` would import for that."""
    portions: list[str] = []
    for folder in (package and package.submodule_search_locations) or ():
        spec = FileFinder(folder, (SourceFileLoader, SOURCE_SUFFIXES)).find_spec(name)
        if spec is not None and spec.loader is not None:
            return spec
        portions += (spec and spec.submodule_search_locations) or []
    if not portions:
        return None
    namespace = ModuleSpec(name, None)
    namespace.submodule_search_locations = portions
    return namespace


def _is_missing(module: str) -> bool:
    """Tell whether an import would find no such module, unless the code of a package makes it."""
    name, *rest = module.split(".")
    spec = _find_top_level(name, None)
    try:
        for part in rest:
            if spec is None:
                break
            name, folders = f"{name}.{part}", spec.submodule_search_locations or ()
            found = (finder.find_spec(name, folders) for finder in sys.meta_path)
            spec = next(filter(None, found), None)
    except Exception:
        # Finders may be anybody's code, and some need the package to be imported.
        return False
    return spec is None and name not in sys.modules


def _source_of(spec: Optional[ModuleSpec]) -> str:
    origin = (spec and spec.origin) or ""
    is_source = origin.endswith(".py") and os.path.isfile(origin)
    return os.path.abspath(origin) if is_source else ""


class _Module(Frozen):
    """A module that is only read."""

    name: str
    path: str
    is_package: bool

    def imported_from(self, reference: Reference) -> str:
        """Name the module that something is imported from in this one, "" if there can be none."""
        if not reference.level:
            return reference.module
        parents = self.name.split(".")
        if not self.is_package:
            parents.pop()
        parents = parents[: len(parents) - reference.level + 1]
        return ".".join([*parents, *filter(None, [reference.module])]) if parents else ""


class _Reader:
    """Reads the modules of a candidate that can be found from its own file by path joins.

    Args:
        candidate: The candidate.
    """

    def __init__(self, candidate: Candidate) -> None:
        self._candidate = candidate
        self._start = _Module(candidate.module, candidate.path, candidate.is_package)
        self._files: dict[str, FileDescription] = {}

    @functools.cached_property
    def _top(self) -> str:
        """Name the outermost package."""
        name = self._start.name
        return name if name.startswith(f"{DISCOVERED_PACKAGE}.") else name.partition(".")[0]

    @functools.cached_property
    def _folder(self) -> str:
        """Find the folder of the outermost package, "" for a module in none."""
        name, folder = self._start.name, os.path.dirname(self._start.path)
        if not self._start.is_package:
            name = name.rpartition(".")[0]
        if not _is_inside(name, self._top):
            return ""
        for _ in range(name.count(".") - self._top.count(".")):
            folder = os.path.dirname(folder)
        return folder

    def describe(self) -> tuple[ClassDescription, ...]:
        """Describe what the candidate stands for."""
        if not self._start.path:
            name = self._start.name
            if _is_missing(name):
                raise self._nothing_there(f"there is no module {name}")
            raise self._unreadable(f"there is no source file of the module {name}")
        module, class_name = self._resolve(self._start, self._candidate.attribute)
        if not class_name:
            return self._describe_module(module)
        described = self._describe_class(module, class_name)
        if not described:
            raise self._unreadable(f"{class_name} in {module.path} does not look like a plugin")
        return described

    def _describe_module(self, module: _Module) -> tuple[ClassDescription, ...]:
        """Describe the classes of a module, and for a package those it imports from itself."""
        found = [(each.line, each) for each in self._read(module).classes]
        definitions = self._imported_classes(module) if module.is_package else {}
        for (definer, class_name), line in definitions.items():
            found += [(line, each) for each in self._describe_class(definer, class_name)]
        return tuple(each for _, each in sorted(found, key=lambda pair: pair[0]))

    def _describe_class(self, module: _Module, class_name: str) -> tuple[ClassDescription, ...]:
        classes = self._read(module).classes
        return tuple(each for each in classes if each.class_name == class_name)[-1:]

    def _imported_classes(self, package: _Module) -> dict[tuple[_Module, str], int]:
        """Map the classes that a package imports from its own modules to the lines of that."""
        described = self._read(package)
        for star in map(Reference.parse, described.stars):
            if _is_inside(package.imported_from(star), package.name):
                raise self._unreadable(f"{package.path} imports {star.module} with a star")
        lines: dict[tuple[_Module, str], int] = {}
        for name in described.names:
            reference = described.find(name)
            if reference is not None and not reference.is_local:
                # What cannot be told is left out, as is a class that a file makes by a call.
                with suppress(PluginDiscoveryError):
                    module, class_name = self._resolve(*self._next(package, name, "", reference))
                    if module.name.startswith(f"{package.name}."):
                        lines.setdefault((module, class_name), described.lines[name])
        return lines

    def _resolve(self, module: _Module, name: str) -> tuple[_Module, str]:
        """Follow a dotted name to the module that defines it.

        Returns:
            The module, and the name of the class there; "" where the name stands for the module.

        Raises:
            PluginDiscoveryError: The way cannot be told, or leads out of the package.
        """
        for _ in range(_LONGEST_CHAIN):
            if not name:
                return module, ""
            head, _, rest = name.partition(".")
            reference = self._read(module).find(head) if module.path else None
            if reference is not None and reference.is_local:
                if rest:
                    raise self._unreadable(f"{name} is inside of a class in {module.path}")
                return module, reference.name
            module, name = self._next(module, head, rest, reference)
        raise self._unreadable(
            f"{self._candidate.attribute} is imported in a circle, or over too many modules"
        )

    def _next(
        self, module: _Module, head: str, rest: str, reference: Optional[Reference]
    ) -> tuple[_Module, str]:
        """Take one step to where a name is defined."""
        source = module.name if reference is None else module.imported_from(reference)
        name = head if reference is None else reference.name
        if source == module.name and name == head:
            # What a package does not bind, or imports from itself, can only be a module in it.
            source, name = f"{module.name}.{head}", ""
        found = self._find(source)
        if found is None:
            place = f"{head} in {module.path or module.name}"
            if reference is None:
                if self._is_nowhere(head, module) and _is_missing(source):
                    raise self._nothing_there(f"there is no {place}")
                raise self._unreadable(f"what is {place} cannot be told")
            source = source or "outside of all packages"
            raise self._unreadable(
                f"{place} is imported from {source}, of which this package has no source"
            )
        return found, ".".join(filter(None, [name, rest]))

    def _find(self, name: str) -> Optional[_Module]:
        """Find a module in the outermost package, None where there is none."""
        if not self._folder or not _is_inside(name, self._top):
            return None
        init = os.path.join(self._folder, "__init__.py")
        top = ModuleSpec(self._top, None, origin=init)
        top.submodule_search_locations = [self._folder]
        spec: Optional[ModuleSpec] = top
        for part in filter(None, name[len(self._top) :].split(".")):
            spec = _find_submodule(part, spec)
        if spec is None:
            return None
        return _Module(name, _source_of(spec), spec.submodule_search_locations is not None)

    def _read(self, module: _Module) -> FileDescription:
        """Read a module, whose names and classes may both be asked for, once."""
        if module.path not in self._files:
            self._files[module.path] = describe_file(module.path)
        return self._files[module.path]

    def _is_nowhere(self, name: str, module: _Module) -> bool:
        """Tell whether a name is not written in a module that has no other names either."""
        # Another name may be written in more than one way.
        if not (module.path and name.isascii()) or self._read(module).stars:
            return False
        with open(module.path, "rb") as file:
            source = file.read()
        return not re.search(rf"\b({_NAMES_ARE_MADE}|{name})\b".encode(), source)

    def _nothing_there(self, reason: str) -> NothingThere:
        origin = str(self._candidate.origin)
        return NothingThere(
            f"{origin} cannot be imported: {reason}; mend the entry point or install what it names",
            origin=origin,
        )

    def _unreadable(self, reason: str) -> PluginDiscoveryError:
        origin = str(self._candidate.origin)
        return PluginDiscoveryError(
            f"{origin} cannot be read without importing it: {reason}", origin=origin
        )


def _is_inside(module: str, package: str) -> bool:
    return module == package or module.startswith(f"{package}.")
