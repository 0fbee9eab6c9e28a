"""Results that have to be awaited: known, closed, deferred, and carried from thread to thread."""

from __future__ import annotations

import contextlib
from collections.abc import Coroutine, Generator
from types import GeneratorType
from typing import Any, Callable, Final, Optional

__all__ = ["Deferred", "awaited", "close_awaitable", "is_awaitable"]


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
    return hasattr(type(value), "__await__")


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


async def awaited(result: Any, data: Any) -> Any:
    """Await a result until it can become the data.

    Args:
        result: Something that has to be awaited.
        data: The data as it is.

    Returns:
        What it came to; the data where that is None.
    """
    while result is not data and is_awaitable(result):
        result = await result
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
