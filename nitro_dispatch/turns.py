"""Turns: one thread at a time changes a plugin, and no lock is held while it does."""

from __future__ import annotations

import threading
from collections.abc import Iterable
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

    def taken(self, registration: Registration) -> _Turn:
        """Have a plugin to oneself, so that its own code may run without a lock.

        Args:
            registration: The plugin to load, unload or reload.

        Raises:
            DependencyError: On entry: to wait for the plugin would be to wait for oneself, or for
                a thread that waits for this one.
        """
        return _Turn(self, registration)

    @staticmethod
    def mine(registrations: Iterable[Registration]) -> list[Registration]:
        """List the plugins that this thread has to itself.

        Args:
            registrations: The plugins to look through.
        """
        me = threading.current_thread()
        return [registration for registration in registrations if registration.owner is me]

    def take(self, registration: Registration) -> None:
        """Begin a turn, after that of another thread."""
        me = threading.current_thread()
        with self._lock:
            while self._is_taken(registration):
                self._wait(registration, me)
            registration.owner = me

    def give_back(self, registration: Registration) -> None:
        """End a turn."""
        registration.owner = None
        # Whoever waits has said so before it looked at the owner for the last time.
        if self._waiting_for:
            with self._lock:
                self._released.notify_all()

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
            if self._is_taken(registration):
                self._released.wait()
        finally:
            del self._waiting_for[me]

    @staticmethod
    def _is_taken(registration: Registration) -> bool:
        # Looked at once: a turn ends without the lock, at any moment.
        owner = registration.owner
        # A thread that is not there any more (after a fork, in the child) holds nothing.
        return owner is not None and owner.is_alive()

    def _waits_for(self, registration: Optional[Registration], me: threading.Thread) -> bool:
        """Tell whether the owner of a plugin is this thread, or waits for it in the end."""
        while registration is not None:
            owner = registration.owner
            if owner is me:
                return True
            registration = None if owner is None else self._waiting_for.get(owner)
        return False


class _Turn:
    """One turn, as a context manager; a generator would take three times as long."""

    __slots__ = ("_registration", "_turns")

    def __init__(self, turns: Turns, registration: Registration) -> None:
        self._turns = turns
        self._registration = registration

    def __enter__(self) -> None:
        self._turns.take(self._registration)

    def __exit__(self, *exc_info: object) -> None:
        self._turns.give_back(self._registration)
