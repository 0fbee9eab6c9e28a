"""What can be told of a callable without calling it."""

from __future__ import annotations

import functools
from types import BuiltinMethodType, FunctionType, MethodType
from typing import TYPE_CHECKING, Any, Final

from nitro_dispatch.late import Late

if TYPE_CHECKING:
    import inspect
else:
    # It takes 5 ms to import, and most hooks are plain functions, which need none of it.
    inspect = Late("inspect")

__all__ = [
    "MARK",
    "function_of",
    "is_async",
    "parameters_of",
    "same_callable",
    "takes_data",
    "unwrapped",
    "wants_event",
]

# The attribute that `@hook` leaves on a function.
MARK: Final = "_nitro_hook"

_CO_COROUTINE: Final = 0x80  # As in `inspect`.


def unwrapped(callback: Any) -> Any:
    """Take the function out of a `functools.partial`, or of several in each other.

    Args:
        callback: Any callable.

    Returns:
        The function; a callable that is no partial is handed back.
    """
    while isinstance(callback, functools.partial):
        callback = callback.func
    return callback


def function_of(callback: Any) -> Any:
    """Take the function out of a bound method.

    Args:
        callback: Any callable.

    Returns:
        The function; a callable that is no method is handed back.
    """
    return callback.__func__ if isinstance(callback, MethodType) else callback


def is_async(callback: Any) -> bool:
    """Tell whether a callable says of itself that it returns an awaitable.

    Args:
        callback: Any callable.

    Returns:
        True for an `async def`, as it is, bound, in a partial or as the `__call__` of an object.

    Example:
        >>> async def greet(data): ...
        >>> is_async(functools.partial(greet, {})), is_async(print)
        (True, False)
    """
    function = function_of(unwrapped(callback))
    # Of a function without attributes `vars` would make an empty dict, of 64 bytes, that stays.
    if type(function) is FunctionType and not hasattr(function, "_is_coroutine_marker"):
        return bool(function.__code__.co_flags & _CO_COROUTINE)
    if not (inspect.isroutine(function) or inspect.isclass(function)):
        # Of a callable object only the class is asked: its attributes may be anything.
        function = type(function).__call__
    return inspect.iscoroutinefunction(function)


def wants_event(callback: Any) -> bool:
    """Tell whether the parameter after the data is called `event`.

    Args:
        callback: Any callable.

    Example:
        >>> wants_event(lambda data, event: None), wants_event(lambda data: None)
        (True, False)
    """
    if isinstance(callback, functools.partial) and "event" in callback.keywords:
        return False
    function = function_of(callback)
    code = function.__code__ if isinstance(function, FunctionType) else None
    if code is not None and not hasattr(function, "__wrapped__"):
        # Reading the code object is a hundred times as fast as a signature.
        place = 1 if function is callback else 2
        # The names are only looked at where there is one more: from Python 3.12 on that they were
        # takes 80 bytes a function.
        count = code.co_argcount + code.co_kwonlyargcount
        return count > place and bool(code.co_varnames[place] == "event")
    try:
        parameters = list(inspect.signature(callback).parameters)
    except (Exception, SystemExit):  # The signature may be somebody else's code.
        return False
    return parameters[1:2] == ["event"]


def takes_data(callback: Any, *, event: bool) -> bool:
    """Tell whether a callable can be called with the data, and the event's name where it asks.

    Args:
        callback: Any callable.
        event: Whether it is given the event's name.

    Returns:
        Whether it can be; True where its signature cannot be read.

    Example:
        >>> takes_data(lambda data: None, event=False), takes_data(lambda: None, event=False)
        (True, False)
    """
    function = function_of(callback)
    code = function.__code__ if type(function) is FunctionType else None
    if code is not None and not (code.co_kwonlyargcount or code.co_posonlyargcount):
        given = (1 if function is callback else 2) + event
        least = code.co_argcount - len(function.__defaults__ or ())
        # So it is with nearly all hooks, and nothing has to be imported to tell.
        if least <= given <= code.co_argcount and not hasattr(function, "__wrapped__"):
            return True
    try:
        signature = inspect.signature(callback)
    except (Exception, SystemExit):  # The signature may be somebody else's code.
        return True
    try:
        signature.bind(None, **({"event": ""} if event else {}))
    except TypeError:
        return False
    return True


def parameters_of(callback: Any) -> str:
    """Show the parameters of a callable whose signature can be read.

    Args:
        callback: Such a callable.

    Returns:
        Their names, in parentheses.

    Example:
        >>> parameters_of(lambda data, *rest: None)
        '(data, rest)'
    """
    return f"({', '.join(inspect.signature(callback).parameters)})"


def same_callable(one: Any, other: Any) -> bool:
    """Compare callables without asking a callable object, whose `__eq__` is a plugin's code.

    Args:
        one: A callable.
        other: Another one.

    Returns:
        Whether they are one object, or one method of one object.

    Example:
        >>> names = []
        >>> same_callable(names.append, names.append), same_callable(names.append, names.pop)
        (True, False)
    """
    if one is other:
        return True
    methods = (MethodType, BuiltinMethodType)
    return isinstance(one, methods) and isinstance(other, methods) and bool(one == other)
