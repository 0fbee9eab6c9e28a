"""Results that have to be awaited: known, closed, deferred, and carried from thread to thread."""

from __future__ import annotations

import contextlib
from collections.abc import Coroutine, Generator
from types import CoroutineType, GeneratorType
from types import coroutine as coroutine_function
from typing import Any, Callable, Final, Optional

__all__ = ["Deferred", "Heed", "awaited", "close_awaitable", "is_awaitable", "settled"]


_CO_ITERABLE_COROUTINE: Final = 0x100  # As in `inspect`, which is slow to import.


def is_awaitable(value: object) -> bool:
    """Tell whether a result has to be awaited.

    The type is asked, not the object: data with a catch-all `__getattr__` is still data.

    Args:
        value: What a hook returned.

    Returns:
        True for a coroutine, a future, and whatever else `await` takes.

    Example:
        >>> is_awaitable({"greeted": True})
        False
    """
    if type(value) is GeneratorType:
        return bool(value.gi_code.co_flags & _CO_ITERABLE_COROUTINE)
    try:
        return hasattr(type(value), "__await__")
    except (Exception, SystemExit):  # A metaclass is the code of others.
        return False


class Heed:
    """Tells which results have to be awaited, and looks only once at those of one type.

    Attributes:
        plain: The type of a result of late, none of which has to be awaited.
    """

    __slots__ = ()

    plain: Optional[type]

    def awaits(self, result: object) -> bool:
        """Tell whether a result has to be awaited; if none of its type has, keep that in mind."""
        # For a coroutine nothing is called: it would be lost if that took the rest of the stack.
        if type(result) is CoroutineType or is_awaitable(result):
            return True
        if type(result) is not GeneratorType:
            # The slot is the subclass's, as it may have a layout of its own.
            self.plain = type(result)  # type: ignore[misc]
        return False


def close_awaitable(awaitable: object) -> None:
    """Give up an awaitable that nobody will await, without a warning by the interpreter.

    Args:
        awaitable: A coroutine, a future, or any other object that can be awaited.
    """
    # These methods may be code of the plugin.
    with contextlib.suppress(Exception, SystemExit):
        give_up = getattr(awaitable, "close", None) or getattr(awaitable, "cancel", None)
        if give_up is not None:
            give_up()


async def settled(result: Any, data: Any) -> Any:
    """Await a result, and what it comes to, until that has not to be awaited.

    Args:
        result: Something that has to be awaited.
        data: The data as it is, which is not awaited.

    Returns:
        What it came to in the end.
    """
    result = await result
    while result is not data and is_awaitable(result):
        # Coroutines that return one another for ever must not keep the event loop to themselves.
        try:
            await _pause()
        except BaseException:
            close_awaitable(result)
            raise
        result = await result
    return result


@coroutine_function
def _pause() -> Any:
    yield


async def awaited(result: Any, data: Any) -> Any:
    """Await a result until it can become the data.

    Args:
        result: Something that has to be awaited.
        data: The data as it is.

    Returns:
        What it came to in the end; the data where that is None.
    """
    result = await settled(result, data)
    return data if result is None else result


class Deferred:
    """An awaitable which is to be awaited in a certain way, such as within a time limit.

    Args:
        awaitable: What is to be awaited.
        way: Makes a coroutine of it.
        closed: Is told if it is closed instead.
    """

    __slots__ = ("_awaitable", "_closed", "_way")

    def __init__(
        self,
        awaitable: Any,
        way: Callable[[Any], Coroutine[Any, Any, Any]],
        closed: Optional[Callable[[], None]] = None,
    ) -> None:
        self._awaitable = awaitable
        self._way = way
        self._closed = closed

    def __await__(self) -> Generator[Any, Any, Any]:
        return self._way(self._awaitable).__await__()

    def close(self) -> None:
        """Give the awaitable up."""
        close_awaitable(self._awaitable)
        if self._closed is not None:
            self._closed()
