"""Taking an import back: modules are removed as if they had never been imported."""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Iterable, Mapping
from importlib.machinery import ExtensionFileLoader
from types import FunctionType, ModuleType
from typing import Any, Final

__all__ = ["forget_module", "take_back"]

_SITE_PACKAGES: Final = tuple(os.sep + name + os.sep for name in ("site-packages", "dist-packages"))


def take_back(names: Iterable[str]) -> None:
    """Remove modules again that were imported for nothing.

    What somebody else has come to use stays, and so do the standard library and packages with
    compiled modules, which cannot be imported twice.

    Args:
        names: The full names of the modules.
    """
    new = {name: sys.modules[name] for name in names if name in sys.modules}
    compiled = {
        name.partition(".")[0]
        for name, module in new.items()
        if isinstance(getattr(module, "__loader__", None), ExtensionFileLoader)
    }
    new = {
        name: module
        for name, module in new.items()
        if name.partition(".")[0] not in compiled and not _is_standard(module)
    }
    used = _used_from_outside(new) if new else set()
    for name in new:
        if name not in used:
            forget_module(name)


@functools.cache
def _standard_library() -> tuple[str, ...]:
    """Tell in which folders the standard library is."""
    # Imported here because it is slow to import, and only needed where an import failed.
    from sysconfig import get_path

    return tuple(os.path.realpath(get_path(key)) + os.sep for key in ("stdlib", "platstdlib"))


def _is_standard(module: ModuleType) -> bool:
    file = getattr(module, "__file__", None)
    if not isinstance(file, str):
        return getattr(module, "__path__", None) is None
    path = os.path.realpath(file)
    inside = path.startswith(_standard_library())
    return inside and not any(folder in path for folder in _SITE_PACKAGES)


def _used_from_outside(new: Mapping[str, ModuleType]) -> set[str]:
    """Find the modules of which a module from outside holds something, and what they use."""
    used: set[str] = set()
    users = [module for name, module in list(sys.modules.items()) if name not in new]
    while users:
        user = users.pop()
        for attribute, value in list(getattr(user, "__dict__", {}).items()):
            name = _module_of(value)
            # A package holds its submodules because the import system puts them there.
            is_child = name == f"{getattr(user, '__name__', '')}.{attribute}"
            if name in new and name not in used and not is_child:
                used.add(name)
                users.append(new[name])
    return used


def _module_of(value: Any) -> str:
    """Name the module that a value, or its class, is or comes from, without running its code."""
    if type(value) is ModuleType:
        return value.__name__
    if isinstance(type(value), type) and isinstance(value, (type, FunctionType)):
        return str(value.__module__)
    return str(type.__getattribute__(type(value), "__module__"))


def forget_module(name: str) -> None:
    """Remove a module as if it had never been imported.

    Args:
        name: The full name of the module.
    """
    module = sys.modules.pop(name, None)
    parent, _, child = name.rpartition(".")
    holder = sys.modules.get(parent)
    if module is not None and holder is not None and vars(holder).get(child) is module:
        delattr(holder, child)
