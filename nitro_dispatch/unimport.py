"""Taking an import back: modules are removed as if they had never been imported."""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Iterable, Mapping
from importlib.machinery import BuiltinImporter, ExtensionFileLoader, FrozenImporter
from types import FunctionType, ModuleType
from typing import Any, Final

from nitro_dispatch.sources import DISCOVERED_PACKAGE

__all__ = ["forget_modules", "namespace_of", "restore_modules", "take_back"]

# Asked in this way, modules and classes run no code of their own: one that is loaded late would be
# loaded, and another might raise.
_namespace_of_module: Final[Any] = vars(ModuleType)["__dict__"].__get__
_namespace_of_class: Final[Any] = vars(type)["__dict__"].__get__
_OWN_PACKAGE: Final = __name__.partition(".")[0]
_SITE_PACKAGES: Final = tuple(os.sep + name + os.sep for name in ("site-packages", "dist-packages"))


def take_back(names: Iterable[str]) -> None:
    """Remove modules again that were imported for nothing.

    What somebody else has come to use stays, and so do the library's own modules, the standard
    library and packages with compiled modules, which cannot be imported twice.

    Args:
        names: The full names of the modules.
    """
    new = {name: sys.modules[name] for name in names if name in sys.modules and not _is_own(name)}
    compiled = {
        name.partition(".")[0]
        for name, module in new.items()
        if issubclass(type(namespace_of(module).get("__loader__")), ExtensionFileLoader)
    }
    new = {
        name: module
        for name, module in new.items()
        if name.partition(".")[0] not in compiled and not _is_standard(module)
    }
    used = _used_from_outside(new) if new else set()
    forget_modules(new.keys() - used)


def _is_own(name: str) -> bool:
    """Tell whether a module is the library's, which plugin files are not."""
    inside = f"{name}.".startswith(f"{_OWN_PACKAGE}.")
    return inside and not name.startswith(f"{DISCOVERED_PACKAGE}.")


@functools.cache
def _standard_library() -> tuple[str, ...]:
    """Tell in which folders the standard library is."""
    # Imported here because it is slow to import, and only needed where an import failed.
    from sysconfig import get_path

    return tuple(os.path.realpath(get_path(key)) + os.sep for key in ("stdlib", "platstdlib"))


def _is_standard(module: ModuleType) -> bool:
    namespace = namespace_of(module)
    file = namespace.get("__file__")
    if not isinstance(file, str):
        loader = namespace.get("__loader__")
        return loader is BuiltinImporter or loader is FrozenImporter
    path = os.path.realpath(file)
    inside = path.startswith(_standard_library())
    return inside and not any(folder in path for folder in _SITE_PACKAGES)


def _used_from_outside(new: Mapping[str, ModuleType]) -> set[str]:
    """Find the modules of which a module from outside holds something, and what they use."""
    used: set[str] = set()
    users = [name for name in list(sys.modules) if name not in new]
    while users:
        user = users.pop()
        found = {
            name
            for attribute, value in list(namespace_of(sys.modules.get(user)).items())
            # A package holds its submodules because the import system puts them there.
            if (name := _module_of(value)) in new and name != f"{user}.{attribute}"
        }
        # Without its package a module could not be imported once more under its full name.
        found.add(user.rpartition(".")[0])
        fresh = (found & new.keys()) - used
        used |= fresh
        users += fresh
    return used


def namespace_of(holder: object) -> Mapping[str, object]:
    """Give what a module or a class holds, without running its code.

    Args:
        holder: Any object; one that is neither holds nothing.

    Returns:
        The values by name, as they are.

    Example:
        >>> namespace_of(sys)["__name__"], namespace_of(3)
        ('sys', {})
    """
    kind = type(holder)
    if issubclass(kind, ModuleType):
        found = _namespace_of_module(holder)
    else:
        found = _namespace_of_class(holder) if issubclass(kind, type) else None
    # Up to Python 3.12 there is None for what C code has not made ready, as in `unicodedata`.
    return found or {}


def _module_of(value: object) -> str:
    """Name the module that a value, or its class, is or comes from, without running its code."""
    kind = type(value)
    name: object
    if issubclass(kind, ModuleType):
        name = namespace_of(value).get("__name__")
    elif kind is FunctionType:
        name = value.__module__
    else:
        name = namespace_of(value if issubclass(kind, type) else kind).get("__module__")
    return name if type(name) is str else ""


def forget_modules(names: Iterable[str]) -> None:
    """Remove modules as if they had never been imported.

    Args:
        names: The full names of the modules.
    """
    gone = [(name, sys.modules.pop(name, None)) for name in names]
    # A package that goes itself keeps its submodules: code of it may be running.
    for name, module in gone:
        parent, _, child = name.rpartition(".")
        holder = sys.modules.get(parent)
        if module is not None and namespace_of(holder).get(child) is module:
            delattr(holder, child)


def restore_modules(old: Mapping[str, ModuleType], new: Mapping[str, ModuleType]) -> None:
    """Let modules be imported again as they were, also by the packages that hold the new ones.

    Args:
        old: The modules by name, as they were.
        new: What took their place; it is in `sys.modules` no more.
    """
    sys.modules.update(old)
    for name in old.keys() & new.keys():
        parent, _, child = name.rpartition(".")
        holder = sys.modules.get(parent)
        if namespace_of(holder).get(child) is new[name]:
            setattr(holder, child, old[name])
