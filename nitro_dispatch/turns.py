"""Turns: one thread at a time changes a plugin, and no lock is held while it does."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from typing import Any, Optional

from nitro_dispatch.exceptions import DependencyError
from nitro_dispatch.records import Registration

__all__ = ["Turns"]


class Turns:
    """Lets threads wait for each other, plugin by plugin, but never in a circle.

    Args:
        lock: Guards the owners of the registrations; held only to look and to change them.
    """

    def __init__(self, lock: Any) -> None:
        self._lock = lock
        self._released = threading.Condition(lock)
        self._waiting_for: dict[threading.Thread, Registration] = {}

    @contextlib.contextmanager
    def taken(self, registration: Registration) -> Iterator[None]:
        """Have a plugin to oneself, so that its own code may run without a lock.

        Args:
            registration: The plugin to load, unload or reload.

        Raises:
            DependencyError: To wait for the plugin would be to wait for oneself, or for a thread
                that waits for this one.
        """
        me = threading.current_thread()
        with self._lock:
            while self._is_taken(registration):
                self._wait(registration, me)
            registration.owner = me
        try:
            yield
        finally:
            with self._lock:
                registration.owner = None
                self._released.notify_all()

    @staticmethod
    def is_mine(registration: Registration) -> bool:
        """Tell whether this thread has a plugin to itself.

        Args:
            registration: The plugin.
        """
        return registration.owner is threading.current_thread()

    def _wait(self, registration: Registration, me: threading.Thread) -> None:
        if registration.owner is me:
            raise DependencyError(
                f"circular load: the code of plugin {registration.name!r} asks for the plugin "
                "itself while it is being loaded or unloaded"
            )
        if self._waits_for(registration, me):
            raise DependencyError(
                f"plugin {registration.name!r} is being loaded or unloaded by another thread, "
                "which waits for this one: try again when it is done"
            )
        self._waiting_for[me] = registration
        try:
            self._released.wait()
        finally:
            del self._waiting_for[me]

    @staticmethod
    def _is_taken(registration: Registration) -> bool:
        # A thread that is not there any more (after a fork, in the child) holds nothing.
        return registration.owner is not None and registration.owner.is_alive()

    def _waits_for(self, registration: Optional[Registration], me: threading.Thread) -> bool:
        """Tell whether the owner of a plugin is this thread, or waits for it in the end."""
        while registration is not None and registration.owner is not None:
            if registration.owner is me:
                return True
            registration = self._waiting_for.get(registration.owner)
        return False
