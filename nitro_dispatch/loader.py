"""Importing plugins: with `unimport` the only module that touches `sys.modules`.

Modules are imported by the import system itself, with a finder of our own in front of the others
from the first plugin on. It notes what a thread imports for a plugin, so that a failed import can
be taken back; it finds the modules of plugin files; and it sees to it that these, and all modules
that were reloaded, are compiled from their source, also if a hook imports them late.
"""

from __future__ import annotations

import contextlib
import importlib
import linecache
import os
import sys
import threading
from collections.abc import Container, Iterable, Iterator, Sequence
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from types import CodeType, ModuleType
from typing import TYPE_CHECKING, Any, Final, Optional

from nitro_dispatch.exceptions import (
    PluginRegistrationError,
    module_of_class,
    qualified_name_of_class,
    shown,
)
from nitro_dispatch.frozen import Frozen
from nitro_dispatch.locks import fork_safe_lock
from nitro_dispatch.plugin import PluginBase, class_values, is_plugin_class
from nitro_dispatch.sources import DISCOVERED_PACKAGE
from nitro_dispatch.unimport import forget_modules, namespace_of, restore_modules, take_back

if TYPE_CHECKING:
    from nitro_dispatch.sources.candidate import Candidate

__all__ = [
    "Imports",
    "Root",
    "can_be_read_again",
    "expect_new_modules",
    "forget_plugin_file",
    "import_plugins",
    "imports_undone_on_error",
    "is_imported",
    "is_inside",
    "keep_module",
    "modules_read_again",
    "plugin_file_of",
    "read_class_again",
    "roots_of",
]


class _SourceLoader(SourceFileLoader):
    """Compiles from the source, whatever byte code there is, and leaves none behind.

    Byte code is matched by the time, in seconds, and the size of its source: a quick edit that
    keeps the size would not be seen.
    """

    def exec_module(self, module: ModuleType) -> None:
        """Run the source; a package read anew alone has its submodules before it asks for them."""
        if hasattr(module, "__path__"):
            for name, child in list(sys.modules.items()):
                parent, _, own_name = name.rpartition(".")
                if parent == module.__name__:
                    setattr(module, own_name, child)
        super().exec_module(module)

    def get_code(self, fullname: str) -> CodeType:
        path = self.get_filename(fullname)
        linecache.cache.pop(path, None)
        return self.source_to_code(self.get_data(path), path)


class Root(Frozen):
    """What is read anew at a reload: one module, or one with all that is inside of it."""

    module: str
    whole: bool


def roots_of(module: str) -> Iterator[Root]:
    """List every root that a module belongs to.

    Args:
        module: The full name of the module.

    Returns:
        An iterator over the module alone, and over all that it is inside of.

    Example:
        >>> [root.module for root in roots_of("app.plugins") if root.whole]
        ['app.plugins', 'app']
    """
    yield Root(module, False)
    while module:
        yield Root(module, True)
        module = module.rpartition(".")[0]


class _OfThread(threading.local):
    """The innermost of the blocks that a thread has entered in which imports are noted."""

    imports: Optional[Imports] = None


class _Finder:
    """Stands in front of the other finders, and leaves to them what is no plugin's."""

    def __init__(self) -> None:
        self._lock = fork_safe_lock()
        self.of_thread = _OfThread()
        # By module the thread that last imported it, if in a block: what others import is theirs.
        self.importers: dict[str, int] = {}
        # Where the plugin files are whose modules are imported under a name of our making.
        self.files: dict[str, tuple[str, bool]] = {}
        # Byte code of these may be stale for as long as the process runs.
        self.read_anew: set[Root] = set()

    def install(self) -> None:
        """Stand in front of the others, unless some other finder was put there since."""
        if self not in sys.meta_path:
            with self._lock:
                if self not in sys.meta_path:
                    sys.meta_path.insert(0, self)

    def find_spec(
        self,
        fullname: str,
        path: Optional[Sequence[str]],
        target: Optional[ModuleType] = None,
    ) -> Optional[ModuleSpec]:
        """Find the module of a plugin file, or of one that is to be read anew."""
        if self.of_thread.imports is None:
            self.importers.pop(fullname, None)
        else:
            self.of_thread.imports.note(fullname)
            self.importers[fullname] = threading.get_ident()
        if fullname in self.files:
            file, is_package = self.files[fullname]
            # Imported here because it is slow to import, and only needed for plugin files.
            from importlib.util import spec_from_file_location

            return spec_from_file_location(
                fullname,
                file,
                loader=_SourceLoader(fullname, file),
                submodule_search_locations=[os.path.dirname(file)] if is_package else None,
            )
        if fullname.startswith(DISCOVERED_PACKAGE + ".") or (
            self.read_anew and not self.read_anew.isdisjoint(roots_of(fullname))
        ):
            return self._from_source(fullname, path, target)
        return None

    def _from_source(
        self, fullname: str, path: Optional[Sequence[str]], target: Optional[ModuleType]
    ) -> Optional[ModuleSpec]:
        for finder in sys.meta_path:
            find_spec = getattr(finder, "find_spec", None)
            spec: Optional[ModuleSpec] = None
            if finder is not self and find_spec is not None:
                spec = find_spec(fullname, path, target)
            if spec is not None:
                if type(spec.loader) is SourceFileLoader and spec.origin is not None:
                    spec.loader = _SourceLoader(fullname, spec.origin)
                return spec
        return None


_finder: Final = _Finder()


def _forget_half_imports() -> None:
    """Forget, in the child of a fork, what other threads were importing for plugins.

    Those threads are gone. What they had half imported is imported anew by who needs it, who would
    otherwise wait for ever for the lock that the import system has for each module.
    """
    # Neither the locks nor what tells that a module is not complete can be had in another way.
    locks = getattr(importlib._bootstrap, "_module_locks", {})
    for name, importer in _finder.importers.items():
        spec = namespace_of(sys.modules.get(name)).get("__spec__")
        is_half = name not in sys.modules or getattr(spec, "_initializing", False)
        if is_half and importer != threading.get_ident():
            forget_modules([name])
            locks.pop(name, None)


# Windows has no fork.
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_half_imports)


def is_inside(module: str, root: str) -> bool:
    """Tell whether a module is a certain one, or inside of it.

    Args:
        module: The full name of the module.
        root: The full name of the other.

    Example:
        >>> is_inside("app.plugins", "app"), is_inside("apple", "app")
        (True, False)
    """
    return module == root or module.startswith(root + ".")


def plugin_file_of(module: str) -> str:
    """Name the module of a plugin file, or of a package that was found as one.

    Args:
        module: The full name of a module.

    Returns:
        The name of that module, or of the package that it is in; "" if no plugin file has it.

    Example:
        >>> plugin_file_of("nitro_dispatch._discovered.shop_1a2b.prices"), plugin_file_of("shop")
        ('nitro_dispatch._discovered.shop_1a2b', '')
    """
    if not module.startswith(f"{DISCOVERED_PACKAGE}."):
        return ""
    return ".".join(module.split(".", 3)[:3])


class Imports:
    """What this thread imports in a block, to be taken back where it was of no use."""

    __slots__ = ("_outer", "names")

    def __init__(self) -> None:
        self.names: list[str] = []

    def __enter__(self) -> Imports:
        _finder.install()
        self._outer = _finder.of_thread.imports
        _finder.of_thread.imports = self
        return self

    def __exit__(self, *exc_info: object) -> None:
        _finder.of_thread.imports = self._outer

    def note(self, name: str) -> None:
        """Hear that a module is imported; so do the blocks around."""
        self.names.append(name)
        if self._outer is not None:
            self._outer.note(name)

    def take_back(self) -> None:
        """Forget the modules noted so far, as far as that can be done.

        It runs while an error is reported, which no error of its own may replace: modules that
        stay do less harm.
        """
        me = threading.get_ident()
        with contextlib.suppress(Exception, SystemExit):
            take_back([name for name in self.names if _finder.importers.get(name) == me])

    def settle(self) -> None:
        """Let the modules noted so far stay, whatever becomes of the blocks around."""
        if self.names:
            self.leave_out(frozenset(self.names))

    def leave_out(self, settled: Container[str]) -> None:
        """Take back no more what stays, whatever becomes of this block and of those around."""
        block: Optional[Imports] = self
        while block is not None:
            block.names = [name for name in block.names if name not in settled]
            block = block._outer


@contextlib.contextmanager
def imports_undone_on_error() -> Iterator[None]:
    """Take back what this thread imports in the block, if the block fails."""
    with Imports() as imports:
        try:
            yield
        except BaseException:
            imports.take_back()
            raise


def keep_module(plugin_class: type[PluginBase]) -> None:
    """Let the module of a class stay, and what it uses, though the load fails that imported it.

    Args:
        plugin_class: A class that is registered.
    """
    imports = _finder.of_thread.imports
    if imports is not None:
        imports.leave_out([module_of_class(plugin_class)])


def forget_plugin_file(candidate: Candidate) -> None:
    """Let a plugin file be read anew when it is found again.

    Args:
        candidate: What the source found.
    """
    names = [candidate.module]
    if candidate.is_package:
        names = [name for name in list(sys.modules) if is_inside(name, candidate.module)]
    forget_modules(names)


def expect_new_modules() -> None:
    """Let the import system look anew: something may have been installed since it last did."""
    # From 3.13 on this imports `importlib.metadata`, 25 ms, only to empty a cache of its own.
    is_slow = sys.version_info >= (3, 13) and "importlib.metadata" not in sys.modules
    for finder in list(sys.meta_path):
        # Finders may be anybody's code, and many have no caches.
        with contextlib.suppress(Exception):
            if finder is PathFinder and is_slow and not _has_namespace():
                sys.path_importer_cache.clear()
            else:
                finder.invalidate_caches()  # type: ignore[attr-defined]


def _has_namespace() -> bool:
    """Tell whether a package is loaded that keeps which folders it has: its path is no list."""
    modules = list(sys.modules.values())
    return any(type(namespace_of(module).get("__path__", [])) is not list for module in modules)


def is_imported(candidate: Candidate) -> bool:
    """Tell whether the module of what a source found is there, or just being imported.

    Args:
        candidate: A plugin file or an entry point.
    """
    return candidate.module in sys.modules


def import_plugins(candidate: Candidate) -> list[type[PluginBase]]:
    """Import what a source found.

    Args:
        candidate: A plugin file or an entry point.

    Returns:
        The plugin classes: those that the file defines, or the one that the entry point names.

    Raises:
        PluginRegistrationError: What the entry point names is no plugin class.
        BaseException: Whatever the import raises.
    """
    if candidate.module.startswith(DISCOVERED_PACKAGE + "."):
        _finder.files[candidate.module] = (candidate.path, candidate.is_package)
    with imports_undone_on_error():
        found: Any = importlib.import_module(candidate.module)
        for part in candidate.attribute.split(".") if candidate.attribute else ():
            found = getattr(found, part)
        if isinstance(found, ModuleType):
            return _classes_defined_in(found)
        if not is_plugin_class(found):
            raise PluginRegistrationError(
                f"{candidate.origin} names {shown(found)}, which is no concrete subclass of "
                "PluginBase: let the entry point name the plugin's class"
            )
        return [found]


def _classes_defined_in(module: ModuleType) -> list[type[PluginBase]]:
    """List the plugin classes of a module, or of a package and its submodules, each once."""
    # By identity: a metaclass may have no hash, or an equality that raises.
    found = {
        id(value): value
        for value in vars(module).values()
        if is_plugin_class(value) and is_inside(module_of_class(value), module.__name__)
    }
    return list(found.values())


def can_be_read_again(plugin_class: type[PluginBase]) -> bool:
    """Tell whether a class can be had anew from its source.

    Args:
        plugin_class: The class of a loaded plugin.

    Returns:
        False for a class that its module does not hold under its qualified name, as it is or as
        another manager read it anew, and for one whose module was not imported under its name:
        `__main__`, which in a process of `multiprocessing` has another name, would run the
        program again.
    """
    module = sys.modules.get(module_of_class(plugin_class))
    spec = getattr(module, "__spec__", None)
    is_imported = getattr(spec, "name", None) == module_of_class(plugin_class)
    if module is None or not is_imported or not getattr(module, "__file__", None):
        return False
    found = _attribute(module, qualified_name_of_class(plugin_class))
    return is_plugin_class(found) and _identity(found) == _identity(plugin_class)


def _identity(plugin_class: Any) -> tuple[object, ...]:
    name = class_values(plugin_class)["name"]
    return (module_of_class(plugin_class), qualified_name_of_class(plugin_class), name)


def _attribute(module: ModuleType, qualified_name: str) -> object:
    found: object = module
    for part in qualified_name.split("."):
        found = getattr(found, part, None)
    return found


@contextlib.contextmanager
def modules_read_again(roots: Iterable[Root]) -> Iterator[None]:
    """Import modules beside the old ones, which come back if the block fails.

    Args:
        roots: What to import anew.
    """
    fresh = set(roots)
    old = _imported(fresh)
    _finder.read_anew |= fresh
    expect_new_modules()
    # Who holds them keeps them until the new ones are there: the old code runs on meanwhile.
    for name in old:
        sys.modules.pop(name, None)
    with Imports() as imports:
        try:
            yield
        except BaseException:
            new = _imported(fresh)
            # First, so that nothing is kept for their sake.
            forget_modules(new.keys() - old.keys())
            for name in new:
                sys.modules.pop(name, None)
            imports.take_back()
            restore_modules(old, new)
            raise
        imports.settle()


def _imported(roots: set[Root]) -> dict[str, ModuleType]:
    names = {root.module for root in roots}
    inside = tuple(f"{root.module}." for root in roots if root.whole)
    return {
        name: module
        for name, module in list(sys.modules.items())
        if name in names or name.startswith(inside)
    }


def read_class_again(plugin_class: type[PluginBase]) -> type[PluginBase]:
    """Import the module of a class inside of `modules_read_again` and find the class in it.

    Args:
        plugin_class: The class as it was.

    Returns:
        The class as the module has it now.

    Raises:
        PluginRegistrationError: The module no longer defines it as a plugin class.
        BaseException: Whatever the import raises.
    """
    module = importlib.import_module(module_of_class(plugin_class))
    found = _attribute(module, qualified_name_of_class(plugin_class))
    if not is_plugin_class(found):
        raise PluginRegistrationError(
            "its source defines no plugin class "
            f"{qualified_name_of_class(plugin_class)} any more: put it back, or unload the plugin"
        )
    return found  # type: ignore[return-value]
