"""What does not work, in one record and one line for all kinds of failure."""

from __future__ import annotations

from dataclasses import dataclass

from nitro_dispatch import HookCall, NitroPluginError, PluginFailure, PluginInfo
from nitro_dispatch.cli.errors import printable

__all__ = ["Failure", "describe"]


@dataclass(frozen=True)
class Failure:
    """Something of a plugin that failed.

    Args:
        plugin: The plugin's name; empty where it has none yet.
        origin: Where it comes from; empty for a hook.
        stage: discover, describe, resolve, import, init, on_load, hook or on_unload.
        event: The event under way, for a hook.
        hook: The name of the hook, for a hook.
        error: The reason.
    """

    plugin: str
    stage: str
    error: str
    origin: str = ""
    event: str = ""
    hook: str = ""

    @classmethod
    def of_plugin(cls, failure: PluginFailure) -> Failure:
        """Make the record of a plugin that cannot be used."""
        return cls(failure.name, failure.stage, describe(failure.error), failure.origin)

    @classmethod
    def of_unnamed(cls, info: PluginInfo) -> Failure:
        """Make the record of what is found and is no plugin, as its source shows."""
        return cls("", "describe", "; ".join(info.problems), str(info.metadata.origin))

    @classmethod
    def of_hook(cls, call: HookCall) -> Failure:
        """Make the record of a call of a hook that failed."""
        error = "" if call.error is None else describe(call.error)
        return cls(call.plugin, "hook", error, event=call.event, hook=call.hook)

    def __str__(self) -> str:
        where = f"hook {self.hook} on event {self.event}" if self.hook else self.stage
        return printable(f"{self.plugin or self.origin}: {where}: {self.error}")


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
