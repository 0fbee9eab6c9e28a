"""The exceptions of the library, which carry objects and make their text late.

Every class accepts a single message, and `str()` gives it back. Raised by the library itself, an
exception carries what it is about instead (the plugin, its origin, the hook, the event, the cause),
and its text is made only when somebody reads it.
"""

from __future__ import annotations

import reprlib
from collections.abc import Sequence
from types import TracebackType
from typing import Callable, Final, Optional

__all__ = [
    "DependencyError",
    "HookError",
    "HookTimeoutError",
    "NitroPluginError",
    "PluginDiscoveryError",
    "PluginLoadError",
    "PluginNotFoundError",
    "PluginRegistrationError",
    "StopPropagation",
    "ValidationError",
    "describe_error",
    "error_text",
    "module_of_class",
    "name_of_class",
    "qualified_name_of_class",
    "shown",
    "traceback_of",
]

_TracebackOf = Callable[[BaseException], Optional[TracebackType]]

traceback_of: Final[_TracebackOf] = vars(BaseException)["__traceback__"].__get__
"""Give the traceback of an exception, which its class may have replaced by code of its own."""

name_of_class: Final[Callable[[type], str]] = vars(type)["__name__"].__get__
"""Give the name of a class, which its metaclass may have replaced by code of its own."""

qualified_name_of_class: Final[Callable[[type], str]] = vars(type)["__qualname__"].__get__
"""Give the qualified name of a class, likewise."""

module_of_class: Final[Callable[[type], str]] = vars(type)["__module__"].__get__
"""Give the name of the module of a class, likewise."""

_short: Final = reprlib.Repr()
_short.maxstring = _short.maxother = 80


def shown(value: object) -> str:
    """Show a value in a message, though it may be huge, and its `__repr__` may raise.

    Args:
        value: What somebody gave.

    Returns:
        Its representation, shortened.

    Example:
        >>> shown(["store", 5])
        "['store', 5]"
    """
    try:
        return _short.repr(value)
    except (Exception, SystemExit):
        return f"<{name_of_class(type(value))}>"


def error_text(error: BaseException) -> str:
    """Tell what an exception says, also when it cannot say it.

    Args:
        error: Any exception, a plugin's own included.

    Returns:
        The exception's text, or the name of its class where it has none.

    Example:
        >>> error_text(ValueError("no such user"))
        'no such user'
    """
    try:
        # Plain: a plugin may give a subclass of `str`, which shows itself in another way.
        return str.__str__(str(error)) or name_of_class(type(error))
    except (Exception, SystemExit):
        # A plugin's exception class is the plugin's code: it must not break the report about it.
        return "(its text cannot be read)"


def describe_error(error: BaseException) -> str:
    """Tell what an exception says, and of which kind it is where the library did not raise it.

    Args:
        error: Any exception, a plugin's own included.

    Returns:
        The kind and the text; the text alone of an exception of the library, or where it is no more
        than the kind.

    Example:
        >>> describe_error(KeyError("username"))
        "KeyError: 'username'"
        >>> describe_error(NitroPluginError("the store is closed"))
        'the store is closed'
        >>> describe_error(KeyboardInterrupt())
        'KeyboardInterrupt'
    """
    kind, text = name_of_class(type(error)), error_text(error)
    is_own = issubclass(type(error), NitroPluginError)
    return text if is_own or text == kind else f"{kind}: {text}"


class NitroPluginError(Exception):
    """The base of all exceptions of this library.

    Args:
        message: The whole text. Without it the text is made of what follows.
        plugin: The name of the plugin that the error is about.
        origin: Where the plugin comes from: a distribution and version, or a file and line.
        hook: The name of the hook, or another method, that the error is about.
        event: The event under way.
        cause: The exception that led to this one.

    Example:
        >>> str(NitroPluginError("it is closed"))
        'it is closed'
        >>> NitroPluginError(plugin="cache").plugin
        'cache'
    """

    def __init__(
        self,
        message: str = "",
        *,
        plugin: str = "",
        origin: str = "",
        hook: str = "",
        event: str = "",
        cause: Optional[BaseException] = None,
    ) -> None:
        super().__init__(*([message] if message else []))
        self.message = message
        self.plugin = plugin
        self.origin = origin
        self.hook = hook
        self.event = event
        self.cause = cause

    def __str__(self) -> str:
        return str(self.message) if self.message else self._describe()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({str(self)!r})"

    def _describe(self) -> str:
        """Make the text from the objects that the exception carries."""
        return self._because("plugin error" if self._about() else "", self._about())

    def _about(self) -> str:
        """Name the plugin with its origin."""
        name = f"plugin {self.plugin!r}" if self.plugin else ""
        return f"{name} ({self.origin})" if name and self.origin else name or self.origin

    def _because(self, *parts: str) -> str:
        """Join the parts of a sentence and add the text of the cause."""
        text = " ".join(part for part in parts if part)
        if self.cause is None:
            return text
        return f"{text}: {describe_error(self.cause)}" if text else describe_error(self.cause)


class PluginRegistrationError(NitroPluginError):
    """Something that is no plugin or no hook was to be registered, or a name that is taken."""


class ValidationError(NitroPluginError):
    """The metadata of a plugin is not valid.

    Args:
        message: The whole text. Without it the text lists the errors.
        plugin: The name of the plugin.
        origin: Where the plugin comes from.
        errors: What is wrong, one text for each fault.

    Example:
        >>> print(ValidationError(plugin="cache", errors=("version must be a string, not 3",)))
        plugin 'cache' has invalid metadata: version must be a string, not 3
    """

    def __init__(
        self,
        message: str = "",
        *,
        plugin: str = "",
        origin: str = "",
        errors: tuple[str, ...] = (),
    ) -> None:
        super().__init__(message, plugin=plugin, origin=origin)
        self.errors = errors

    def _describe(self) -> str:
        if not self.errors:
            return ""
        return f"{self._about() or 'a plugin'} has invalid metadata: {'; '.join(self.errors)}"


class PluginNotFoundError(NitroPluginError):
    """No plugin has this name, or the one that has it is not loaded."""


class PluginDiscoveryError(NitroPluginError):
    """A place where plugins should be found cannot be searched."""


class PluginLoadError(NitroPluginError):
    """A plugin could not be loaded; `__cause__` is the reason."""

    def _describe(self) -> str:
        where = f"in {self.hook}" if self.hook else ""
        return self._because("failed to load", self._about(), where) if self._about() else ""


class DependencyError(PluginLoadError):
    """A plugin could not be loaded because something that it needs is not to be had.

    Args:
        message: The whole text. Without it the text lists the problems.
        problems: What is wrong, each with a one-line text.
        plugin: The name of the plugin.
        origin: Where the plugin comes from.
        cause: The exception that led to this one.
    """

    def __init__(
        self,
        message: str = "",
        *,
        problems: Sequence[object] = (),
        plugin: str = "",
        origin: str = "",
        cause: Optional[BaseException] = None,
    ) -> None:
        super().__init__(message, plugin=plugin, origin=origin, cause=cause)
        self.problems = tuple(problems)

    def _describe(self) -> str:
        if not self.problems:
            return super()._describe()
        text = "; ".join(dict.fromkeys(map(str, self.problems)))
        # Of what leads to a circle nothing is to be mended, so the circle stands for itself.
        if not self._about() or text.startswith("circular dependency"):
            return text
        return f"failed to load {self._about()}: {text}"


class HookError(NitroPluginError):
    """A hook failed under the strategy `fail_fast`; `__cause__` is what it raised."""

    def _describe(self) -> str:
        if not self.hook:
            return ""
        where = f"of {self._about()}" if self._about() else ""
        return self._because(f"hook {self.hook!r}", where, f"failed on event {self.event!r}")


class HookTimeoutError(HookError):
    """A hook took longer than its time limit.

    Args:
        message: The whole text. Without it the text names the hook and its limit.
        seconds: The time limit, in seconds.
        plugin: The name of the plugin that owns the hook.
        hook: The name of the hook.
        event: The event under way.
        cause: The exception that led to this one.
    """

    def __init__(
        self,
        message: str = "",
        *,
        seconds: float = 0.0,
        plugin: str = "",
        hook: str = "",
        event: str = "",
        cause: Optional[BaseException] = None,
    ) -> None:
        super().__init__(message, plugin=plugin, hook=hook, event=event, cause=cause)
        self.seconds = seconds

    def _describe(self) -> str:
        limit = f"took longer than its time limit of {self.seconds:g} s"
        if not self.hook:
            return limit if self.seconds else ""
        if self.cause is not None and self.cause.args:
            # A hook that was not even called has a cause which says why.
            return super()._describe()
        return f"hook {self.hook!r} of {self._about()} {limit} on event {self.event!r}"


class StopPropagation(NitroPluginError):
    """Raised by a hook to end the chain of an event and keep the data."""
