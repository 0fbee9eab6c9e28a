"""The plugin: writes each event that it is asked to watch into its journal."""

from __future__ import annotations

from functools import partial
from typing import Final

from nitro_dispatch import PluginBase

from nitro_audit.journal import Journal
from nitro_audit.matching import first_match
from nitro_audit.options import default_path, validate

__all__ = ["AuditPlugin"]

DEFAULT_EVENTS: Final = ("**",)
DEFAULT_MAX_ROWS: Final = 100_000
DEFAULT_REDACT: Final = (
    "access_token",
    "api_key",
    "authorization",
    "cookie",
    "passwd",
    "password",
    "refresh_token",
    "secret",
    "token",
)

# So low that the hook is called after all others, and what it writes is the final data.
PRIORITY: Final = -10_000

_FRAMEWORK: Final = "nitro."


class AuditPlugin(PluginBase):
    """Keeps a journal of the events that its configuration names, by default of all.

    The events of the framework itself are written only for a pattern that begins with "nitro.".
    The data of an event are never changed.

    Attributes:
        journal: The journal, from when the plugin is loaded; other plugins may read and add to it.

    Example:
        >>> from nitro_dispatch import PluginManager
        >>> path = getfixture("tmp_path") / "journal.db"
        >>> with PluginManager({"audit": {"path": path, "events": ["user.*"]}}) as manager:
        ...     name = manager.register(AuditPlugin)
        ...     journal = manager.load(name).journal
        ...     data = manager.trigger("user.login", {"username": "Alice"})
        ...     [entry.event for entry in journal.tail()]
        ['user.login']
    """

    name = "audit"
    version = "1.0.0"
    description = "Keeps a journal of events in SQLite."
    author = "The Nitro Dispatch authors"

    journal: Journal

    def on_load(self) -> None:
        """Open the journal and listen for the events.

        Raises:
            ValueError: If the configuration cannot be used; the text names all that is wrong.
            JournalError: If the journal cannot be written.
        """
        events = self.get_config("events", DEFAULT_EVENTS)
        options = {
            "path": self.get_config("path", default_path()),
            "max_rows": self.get_config("max_rows", DEFAULT_MAX_ROWS),
            "max_age_days": self.get_config("max_age_days"),
            "busy_timeout": self.get_config("busy_timeout", 5.0),
            "synchronous": self.get_config("synchronous", "normal"),
            "redact": self.get_config("redact", DEFAULT_REDACT),
        }
        validate(events=events, **options)
        self.journal = Journal(**options)
        # What is wrong with the file shows now, and not at the first event.
        self.journal.prune()
        self._first_match = first_match(events)
        self._first_match_of_framework = first_match(
            pattern for pattern in events if pattern.startswith(_FRAMEWORK)
        )
        for pattern in dict.fromkeys(events):
            self.register_hook(pattern, partial(self.record, pattern=pattern), priority=PRIORITY)

    def on_unload(self) -> None:
        """Close the journal."""
        self.journal.close()

    def record(self, data: object, event: str, *, pattern: str) -> None:
        """Write an event into the journal; of several patterns that it matches, for the first only.

        Args:
            data: The event's data, as all other hooks have left them.
            event: The event's name.
            pattern: What was listened for.

        Raises:
            JournalError: If the entry could not be written.
        """
        is_own = event.startswith(_FRAMEWORK)
        find = self._first_match_of_framework if is_own else self._first_match
        if find(event) == pattern:
            self.journal.append(event, data)
