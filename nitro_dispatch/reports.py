"""What is written to the log of plugins, whatever their code says of itself.

A name, the text of an exception and a traceback may hold any characters. In the log none of them
begins a line of its own, so that nothing of a plugin's can be taken for what somebody else said.
"""

from __future__ import annotations

import contextlib
import functools
import logging
import os
import sys
from collections.abc import Iterator
from traceback import format_exception, format_tb
from types import CodeType, FunctionType, TracebackType
from typing import Any, Callable, Final, Optional

from nitro_dispatch.callables import function_of, unwrapped
from nitro_dispatch.exceptions import describe_error, module_of_class, traceback_of
from nitro_dispatch.metadata import Origin

__all__ = [
    "Text",
    "line_of",
    "line_of_hook",
    "log_failure",
    "log_safely",
    "origin_of_class",
    "origin_of_hook",
    "printable",
]

# So many of the innermost calls are shown: to show all of an endless recursion may take seconds.
LONGEST_TRACEBACK: Final = 200

# The files of this library, and of what imports modules: where they fail somebody else is to blame.
_LIBRARY: Final = os.path.join(os.path.dirname(__file__), "")
_IMPORTING: Final = "<frozen importlib"


def printable(value: object) -> str:
    r"""Escape what could forge a line in a log.

    Args:
        value: A name or another text.

    Returns:
        The text with its control characters escaped.

    Example:
        >>> printable("a\nb")
        'a\\nb'
    """
    if type(value) is str and value.isprintable():
        return value
    # A subclass of `str` may show itself in another way, as an enumeration does.
    text = str.__str__(value) if isinstance(value, str) else str(value)
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode("ascii")
        for character in text
    )


class Text:
    """A text for the log, made only where a handler writes it.

    Args:
        make: Makes the text.
        *about: What it is made of.

    Example:
        >>> "{}".format(Text(str.upper, "late"))
        'LATE'
    """

    __slots__ = ("_about", "_make")

    def __init__(self, make: Callable[..., object], *about: object) -> None:
        self._make = make
        self._about = about

    def __str__(self) -> str:
        try:
            return str(self._make(*self._about))
        except (Exception, SystemExit):  # It may be made by the plugin's code.
            return "(unreadable)"

    def __repr__(self) -> str:
        return repr(str(self))

    def __radd__(self, before: str) -> str:
        return before + str(self)

    def __reduce__(self) -> tuple[type[str], tuple[str]]:
        """Go to another process, as records do through a queue or a socket, as what it says."""
        return str, (str(self),)


def log_safely(
    target: logging.Logger, level: int, message: str, *args: object, **options: Any
) -> None:
    """Log; a handler of the application that raises does not disturb who has something to say."""
    with contextlib.suppress(Exception, SystemExit):
        target.log(level, message, *args, **options)


def log_failure(
    target: logging.Logger, error: BaseException, message: str, about: dict[str, object]
) -> None:
    """Log that something of a plugin's failed; that never fails itself.

    Args:
        target: The logger.
        error: What was raised.
        message: What failed. It names what it is about as in `"hook failed: plugin %(plugin)s"`.
        about: What the message names, such as the `location`; attributes of the record too.
    """
    try:
        if not target.isEnabledFor(logging.ERROR):
            return
        about["reason"] = Text(_reason, error, about["location"])
        exc_info = (type(error), error, traceback_of(error))
        message = f"{message}: %(reason)s"
        # It is always called from here, which need not be found out anew, in 1 µs.
        record = target.makeRecord(
            target.name, logging.ERROR, __file__, _LINE, message, (about,), exc_info, _FUNCTION
        )
        record.exc_text = Text(_format_traceback, *exc_info)  # type: ignore[assignment]
        attributes = vars(record)
        for name, value in about.items():
            # What the application's own records have under the name stays as it is.
            attributes.setdefault(name, value)
        target.handle(record)
    except (Exception, SystemExit):
        pass


_LINE: Final = log_failure.__code__.co_firstlineno
_FUNCTION: Final = log_failure.__name__


def _reason(error: BaseException, location: object) -> str:
    """Say why something failed, and at which line if that is known."""
    reason, place = printable(describe_error(error)), str(location)
    return f"{reason} ({place})" if place else reason


def _format_traceback(
    kind: type[BaseException], error: BaseException, traceback: Optional[TracebackType]
) -> str:
    """Format a traceback so that none of its lines can be taken for one of the log's own."""
    try:
        parts = format_exception(kind, error, traceback, -LONGEST_TRACEBACK)
    except (Exception, SystemExit):  # Its causes and notes may be code of its class.
        header = "Traceback (most recent call last):\n"
        parts = [header, *format_tb(traceback, -LONGEST_TRACEBACK), describe_error(error)]
    lines = "".join(parts).rstrip("\n").split("\n")
    return "\n".join(f"  {printable(line)}" for line in lines)


# ---- Where plugins are, and where they failed


def line_of(error: BaseException, *places: str) -> str:
    """Find the line at which a plugin failed.

    Args:
        error: What it raised.
        *places: The plugin's files, and its folders, which end in a separator; "" is none.

    Returns:
        The file and the line of the innermost call in one of these places; otherwise of the
        innermost that is neither of this library nor of the import system, if any. For source that
        is no Python it is where that is told.

    Example:
        >>> try:
        ...     exec(compile("{}['name']", "cache_plugin.py", "eval"))
        ... except KeyError as error:
        ...     line_of(error, "cache_plugin.py")
        'cache_plugin.py:1'
    """
    own: Optional[TracebackType] = None
    foreign: Optional[TracebackType] = None
    inside = tuple(filter(None, places))
    for call in _calls(error):
        file = call.tb_frame.f_code.co_filename
        if file.startswith(inside):
            own = call
        elif not file.startswith((_LIBRARY, _IMPORTING)):
            foreign = call
    if own is None and isinstance(error, SyntaxError):
        return printable(f"{error.filename}:{error.lineno}")
    found = own or foreign
    if found is None:
        return ""
    return printable(f"{found.tb_frame.f_code.co_filename}:{found.tb_lineno}")


def _calls(error: BaseException) -> Iterator[TracebackType]:
    """List the calls that an exception came through, the innermost last."""
    traceback = traceback_of(error)
    while traceback is not None:
        yield traceback
        traceback = traceback.tb_next


def line_of_hook(error: BaseException, owner: object, callback: object) -> str:
    """Find the line at which a hook failed, or where it is defined if it was not its own.

    Args:
        error: What it raised.
        owner: The owner of the hook.
        callback: What was called.

    Returns:
        The file and the line; empty where neither is known.
    """
    definition = _definition(callback)
    files = [origin.file for origin in (definition, origin_of_class(type(owner))) if origin]
    return line_of(error, *files) or printable(definition or "")


def origin_of_hook(owner: object, callback: object) -> str:
    """Say where the owner of a hook comes from, without running its code.

    Args:
        owner: The owner of the hook.
        callback: What is called.

    Returns:
        The origin of a plugin that a manager has loaded. Of another owner, or of none, where the
        function is defined; the file or module of a class where that is not known.
    """
    try:
        origin = object.__getattribute__(owner, "_origin")
    except (Exception, SystemExit):
        origin = None
    if type(origin) is not Origin:
        thing = callback if owner is None else owner
        origin = _definition(callback) or origin_of_class(type(thing))
    return printable(origin)


def _definition(callback: object) -> Optional[Origin]:
    """Say where a function is defined; None for what has no Python code."""
    function = function_of(unwrapped(callback))
    if type(function) is not FunctionType:
        # Of a callable object only the class is asked: its attributes may be anything.
        function = type(function).__call__
    code = getattr(function, "__code__", None)
    if type(code) is not CodeType:
        return None
    return Origin(file=code.co_filename, line=code.co_firstlineno)


def origin_of_class(owner: type) -> Origin:
    """Say where a class comes from that the application registers itself.

    Args:
        owner: The class.

    Returns:
        Its module, and the file of that where there is one.
    """
    module = module_of_class(owner)
    return _origin_in(module, getattr(sys.modules.get(module), "__file__", None) or "")


@functools.lru_cache(maxsize=128)
def _origin_in(module: str, file: str) -> Origin:
    """Make one record for all the classes of a module."""
    return Origin(file=file, module=module)
