"""Modules that are imported when something of them is first used.

A manager that only registers plugins and fires events neither reads source files nor reloads:
the modules for that would be half of what `import nitro_dispatch` takes. A function of ours imports
none of our modules, so that the imports at the top of each file show what depends on what. A module
that imports another one late says so there too, and the type checker and the check of the floors
read it as an import like any other:

    if TYPE_CHECKING:
        from nitro_dispatch import reload
    else:
        reload = Late("nitro_dispatch.reload")

This is for the few seams at which a whole part of the package hangs, not for single modules; and
for a slow module of the standard library that several functions of one file need.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

__all__ = ["Late"]


class Late:
    """Stands for a module, which is imported when an attribute of it is first read.

    The import system's own locks let each thread wait until the module is complete.

    Args:
        name: The module's full name.

    Example:
        >>> events = Late("nitro_dispatch.events")
        >>> events.is_pattern("user.*")
        True
    """

    def __init__(self, name: str) -> None:
        self._name = name

    def __getattr__(self, attribute: str) -> Any:
        return getattr(import_module(self._name), attribute)
