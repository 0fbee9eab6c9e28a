"""Which plugins come from which plugin file, so that no file is read anew that is in use."""

from __future__ import annotations

import weakref
from typing import Any, Final

from nitro_dispatch.exceptions import module_of_class
from nitro_dispatch.loader import is_inside, plugin_file_of
from nitro_dispatch.records import Registration

__all__ = ["FileUsers", "is_in_use"]

# Those of all managers: two may have found the same file.
_of_all: Final[dict[weakref.ref[FileUsers], None]] = {}


class FileUsers:
    """The registered plugins of one manager, by the plugin files from which they had a class.

    Args:
        lock: Guards them, as it does the registrations.
    """

    def __init__(self, lock: Any) -> None:
        self._lock = lock
        # By the names of the modules.
        self._users: dict[str, list[Registration]] = {}
        _of_all[weakref.ref(self, _of_all.pop)] = None

    def add(self, registration: Registration) -> None:
        """Hear, under the lock, that a plugin is registered, or another class for it."""
        module = ""
        if registration.plugin_class is not None:
            module = module_of_class(registration.plugin_class)
        elif registration.candidate is not None:
            # Its class, which is only described, will come from there.
            module = registration.candidate.module
        file = plugin_file_of(module)
        if file and file not in registration.files:
            registration.files += (file,)
            self._users.setdefault(file, []).append(registration)

    def remove(self, registration: Registration) -> None:
        """Hear, under the lock, that a plugin is unregistered."""
        for file in registration.files:
            self._users[file].remove(registration)
            if not self._users[file]:
                del self._users[file]
        registration.files = ()

    def of(self, file: str) -> list[Registration]:
        """List the plugins that have, or had, a class from a plugin file."""
        with self._lock:
            return list(self._users.get(file, ()))


def is_in_use(file: str) -> bool:
    """Tell whether a manager has a plugin, or the class of one, from a plugin file.

    Args:
        file: The full name of its module, or of the package that it is.
    """
    users = [each for reference in list(_of_all) if (each := reference()) is not None]
    return any(
        is_inside(module_of_class(plugin_class), file)
        for those in users
        for each in those.of(file)
        # Another class may have been registered over that of the instance.
        for plugin_class in (each.plugin_class, type(each.instance))
        if plugin_class is not None
    )
