"""The plugin: writes each event that it is asked to watch into its journal."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final

from nitro_dispatch import PluginBase

from nitro_audit.journal import Journal
from nitro_audit.matching import first_match
from nitro_audit.options import default_path, validate

__all__ = ["AuditOptions", "AuditPlugin"]

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


@dataclass(frozen=True)
class AuditOptions:
    """The plugin's section of the configuration; the framework refuses keys that are not here.

    Args:
        path: The journal's file.
        events: The events and patterns to write.
        max_rows: How many of the newest entries are kept; None keeps all.
        max_age_days: After how many days an entry is deleted; None keeps all.
        busy_timeout: How long to wait while other processes write, in seconds.
        synchronous: When SQLite waits for the disk: "normal" or "full".
        redact: Keys, in any case, whose values are not written.

    Raises:
        ValueError: If any of that cannot be used; the text names all that is wrong.

    Example:
        >>> AuditOptions(max_rows=100).synchronous
        'normal'
    """

    # What they may be is said by the rules that the journal has too.
    path: Any = field(default_factory=default_path)
    events: Any = DEFAULT_EVENTS
    max_rows: Any = DEFAULT_MAX_ROWS
    max_age_days: Any = None
    busy_timeout: Any = 5.0
    synchronous: Any = "normal"
    redact: Any = DEFAULT_REDACT

    def __post_init__(self) -> None:
        """Check the values."""
        validate(**vars(self))


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
    config_model = AuditOptions

    journal: Journal

    def on_load(self) -> None:
        """Open the journal and listen for the events.

        Raises:
            JournalError: If the journal cannot be written.
        """
        options = dict(vars(self.settings))
        events = options.pop("events")
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
