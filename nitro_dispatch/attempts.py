"""Attempts to bring plugins to life, and what outdates them."""

from __future__ import annotations

import threading
from collections.abc import Container
from typing import Optional

from nitro_dispatch.plugin import PluginBase
from nitro_dispatch.records import Registration

__all__ = ["Attempt", "Attempts"]


class Attempt:
    """One attempt to bring a plugin to life, and how far it came."""

    __slots__ = (
        "is_alive",
        "metadata",
        "outdated_by",
        "plugin",
        "registration",
        "stage",
        "thread",
    )

    def __init__(self, registration: Registration) -> None:
        self.registration = registration
        self.thread = threading.current_thread()
        # Another class may be registered meanwhile, for the next load.
        self.metadata = registration.metadata
        self.stage = "import"
        self.plugin: Optional[PluginBase] = None
        # From the end of `on_load` on, `on_unload` has something to release.
        self.is_alive = False
        # What it needs and was loaded anew, perhaps when it knew the old instance already.
        self.outdated_by = ""


class Attempts:
    """The attempts under way: to load a plugin, or to make the next instance of one."""

    def __init__(self) -> None:
        self._under_way: set[Attempt] = set()

    def begin(self, registration: Registration) -> Attempt:
        """Begin an attempt, which this thread makes.

        Args:
            registration: The plugin.
        """
        attempt = Attempt(registration)
        self._under_way.add(attempt)
        return attempt

    def end(self, *attempts: Attempt) -> None:
        """Hear that attempts are over, whatever came of them.

        Args:
            *attempts: The attempts.
        """
        self._under_way.difference_update(attempts)

    def outdate(self, names: Container[str]) -> None:
        """Hear, under the lock, of new instances: they outdate what others load for the old.

        Args:
            names: The plugins of which this thread made them.
        """
        me = threading.current_thread()
        others = [each for each in list(self._under_way) if each.thread is not me]
        for attempt in others:
            for need in attempt.metadata.dependencies:
                if need.name in names:
                    attempt.outdated_by = need.name
