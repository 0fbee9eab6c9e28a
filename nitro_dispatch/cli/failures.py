"""What does not work, in one record and one line for all kinds of failure."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Optional

from nitro_dispatch import HookCall, NitroPluginError, PluginFailure, PluginInfo
from nitro_dispatch.cli.errors import printable

__all__ = ["Failure", "Places", "describe"]


class Places(logging.Handler):
    """Hears in the library's log where what fails comes from, and at which line it failed."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        # The errors are kept, so that no other takes the identity of one.
        self._heard: dict[int, tuple[BaseException, str, str]] = {}

    @classmethod
    @contextlib.contextmanager
    def heard(cls) -> Iterator[Places]:
        """Listen for a while."""
        logger, places = logging.getLogger("nitro_dispatch"), cls()
        logger.addHandler(places)
        try:
            yield places
        finally:
            logger.removeHandler(places)

    def emit(self, record: logging.LogRecord) -> None:
        """Note what is told of a failure."""
        error = record.exc_info[1] if record.exc_info else None
        if error is not None:
            origin, location = (str(getattr(record, name, "")) for name in ("origin", "location"))
            self._heard[id(error)] = (error, origin, location)

    def of(self, error: Optional[BaseException]) -> tuple[str, str]:
        """Tell where the plugin comes from that has failed, and the file and line, or ""."""
        _, origin, location = self._heard.get(id(error), (error, "", ""))
        return origin, location


@dataclass(frozen=True)
class Failure:
    """Something of a plugin that failed.

    Args:
        plugin: The plugin's name; empty where it has none yet.
        stage: discover, describe, resolve, import, init, on_load, hook or on_unload.
        error: The reason.
        origin: Where the plugin comes from.
        location: The file and line at which it failed; empty where that is not known.
        event: The event under way, for a hook.
        hook: The name of the hook, for a hook.
    """

    plugin: str
    stage: str
    error: str
    origin: str = ""
    location: str = ""
    event: str = ""
    hook: str = ""

    @classmethod
    def of_plugin(cls, failure: PluginFailure, location: str = "") -> Failure:
        """Make the record of a plugin that cannot be used."""
        return cls(failure.name, failure.stage, describe(failure.error), failure.origin, location)

    @classmethod
    def of_unnamed(cls, info: PluginInfo) -> Failure:
        """Make the record of what is found and is no plugin, as its source shows."""
        return cls("", "describe", "; ".join(info.problems), str(info.metadata.origin))

    @classmethod
    def of_hook(cls, call: HookCall, origin: str, location: str) -> Failure:
        """Make the record of a call of a hook that failed."""
        error = "" if call.error is None else describe(call.error)
        return cls(call.plugin, "hook", error, origin, location, call.event, call.hook)

    @property
    def is_conflict(self) -> bool:
        """Whether a plugin is passed over whose name another has."""
        return bool(self.plugin) and self.stage == "discover"

    def __str__(self) -> str:
        if self.is_conflict:
            # The plugin of the name works; the error says which one does not.
            return printable(self.error)
        who = f"{self.plugin} ({self.origin})" if self.plugin and self.origin else ""
        where = f"hook {self.hook} on event {self.event}" if self.hook else self.stage
        line = f" ({self.location})" if self.location else ""
        return printable(f"{who or self.plugin or self.origin}: {where}: {self.error}{line}")


def describe(error: BaseException) -> str:
    """Say what an exception says, and of which kind it is where the library did not raise it.

    Args:
        error: Any exception, a plugin's own included.

    Returns:
        The text.

    Example:
        >>> describe(KeyError("username"))
        "KeyError: 'username'"
        >>> describe(NitroPluginError("the store is closed"))
        'the store is closed'
    """
    # The library knows how to read what may be the plugin's code.
    return str(NitroPluginError(cause=error))
