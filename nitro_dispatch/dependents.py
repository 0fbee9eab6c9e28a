"""Which plugins cannot run without which, and which of them are about to go."""

from __future__ import annotations

import contextlib
import threading
from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import Any, Optional

from nitro_dispatch.metadata import PluginMetadata
from nitro_dispatch.records import Registration

__all__ = ["Dependents", "Leaving"]


class Leaving:
    """What a thread is about to unload and has not yet, in this order.

    Args:
        plugins: The plugins; the thread takes each out, under the lock, as it takes the instance.
    """

    def __init__(self, plugins: Iterable[Registration]) -> None:
        self.thread = threading.current_thread()
        self.plugins = dict.fromkeys(plugins)


class Dependents:
    """The plugins, loaded or armed, that need others.

    Args:
        lock: Guards them, as it does the registrations.
    """

    def __init__(self, lock: Any) -> None:
        self._lock = lock
        # Those loaded or armed, in this order.
        self._running: dict[Registration, None] = {}
        # The same by the name of what they need, from the first time that somebody asks: most
        # programs unload nothing but everything, at their end.
        self._users: Optional[defaultdict[str, dict[Registration, None]]] = None
        # What threads are about to unload: nothing can come to need it until all have done so.
        self._leaving: list[Leaving] = []

    def keep(self, registration: Registration, metadata: Optional[PluginMetadata]) -> None:
        """Keep in mind, under the lock, what a plugin needs from now on; None: it runs no more."""
        runs_on = metadata is not None and registration.running is not None
        if runs_on and registration.armed is None:
            # Reloaded, it keeps its place in the order of loading: its users are looked for anew.
            registration.running, self._users = metadata, None
            return
        self._running.pop(registration, None)
        if self._users is not None:
            for need in registration.needs:
                self._users[need.name].pop(registration, None)
        registration.running = metadata
        if metadata is not None:
            self._running[registration] = None
            if self._users is not None:
                self._enter(self._users, registration)

    @staticmethod
    def _enter(
        users: defaultdict[str, dict[Registration, None]], registration: Registration
    ) -> None:
        for need in registration.needs:
            users[need.name][registration] = None

    def of(self, registration: Registration) -> list[Registration]:
        """List the plugins that name one among what they need."""
        with self._lock:
            if self._users is None:
                self._users = defaultdict(dict)
                for each in self._running:
                    self._enter(self._users, each)
            return list(self._users.get(registration.name, ()))

    @contextlib.contextmanager
    def leaving(self, registration: Registration) -> Iterator[Leaving]:
        """Let nothing come to need a plugin that this thread is to unload, nor its dependents.

        Yields:
            The plugins that need it, directly or not, each before what it needs, and then itself.
        """
        with self._lock:
            leaving = Leaving(self._all_of(registration))
            self._leaving.append(leaving)
        try:
            yield leaving
        finally:
            with self._lock:
                self._leaving.remove(leaving)

    def leaving_among(self, names: Iterable[str]) -> Optional[str]:
        """Name the first of some plugins that a thread is about to unload; None if none is."""
        if not self._leaving:
            return None
        with self._lock:
            # In a child process the thread that was at it is gone.
            going = [leaving.plugins for leaving in self._leaving if leaving.thread.is_alive()]
            names_going = {each.name for plugins in going for each in plugins}
        return next((name for name in names if name in names_going), None)

    def _all_of(self, registration: Registration) -> list[Registration]:
        found: dict[Registration, None] = {registration: None}
        order = []
        path = [(registration, self._latest_users(registration))]
        while path:
            current, users = path[-1]
            user = next((each for each in users if each not in found), None)
            if user is None:
                order.append(current)
                path.pop()
            else:
                found[user] = None
                path.append((user, self._latest_users(user)))
        return order

    def _latest_users(self, registration: Registration) -> Iterator[Registration]:
        return reversed(self.of(registration))
