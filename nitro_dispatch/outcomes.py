"""Outcomes: what a call ended with, carried from where it ran to where it is awaited."""

from __future__ import annotations

from typing import Generic, Optional, TypeVar, cast

from nitro_dispatch.exceptions import traceback_of

__all__ = ["Outcome"]

T = TypeVar("T")


class Outcome(Generic[T]):
    """What a call ended with, carried from where it ran to where it is awaited.

    A future would not do: it takes no `StopIteration`, it complains when nobody asks for its
    exception, and a task lets `SystemExit` end the event loop.
    """

    __slots__ = ("_error", "_value", "ended")

    _value: Optional[T]
    _error: Optional[BaseException]

    def __init__(self) -> None:
        self._value = self._error = None
        self.ended = False

    def succeed(self, value: T) -> None:
        """Note the value that the call returned."""
        self._value = value
        self.ended = True

    def fail(self, error: BaseException, frames: int) -> None:
        """Note the exception that the call raised.

        The first frames of its traceback are those that caught it. They hold this outcome, and with
        them the exception would hold itself.
        """
        # Where code of its class raised instead, who waits for the outcome would do so for ever.
        traceback = traceback_of(error)
        for _ in range(frames):
            traceback = traceback and traceback.tb_next
        self._error = BaseException.with_traceback(error, traceback)
        self.ended = True

    def take(self) -> T:
        """Return the value or raise the exception, once, and keep neither."""
        if self._error is not None:
            error, self._error = self._error, None
            try:
                raise error
            finally:
                del error
        return cast("T", self.drop())

    def drop(self) -> Optional[T]:
        """Keep neither the value, which is given back, nor the exception."""
        value = self._value
        self._value = self._error = None
        return value
