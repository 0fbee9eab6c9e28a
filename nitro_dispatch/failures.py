"""What happens when a hook fails: who is told, what is isolated, and what propagates."""

from __future__ import annotations

import contextlib
import contextvars
import logging
import sys
import threading
import weakref
from collections.abc import Awaitable, Iterator
from dataclasses import dataclass
from enum import Enum
from types import CodeType, FrameType
from typing import Any, Callable, Final, Optional, TypeVar

from nitro_dispatch.exceptions import HookError, HookTimeoutError, describe_error
from nitro_dispatch.hooks import HookImpl

__all__ = [
    "ErrorStrategy",
    "FailureHandler",
    "HookFailure",
    "close_awaitable",
    "entry_point_of_dispatch",
    "is_awaitable",
    "printable",
]

logger = logging.getLogger(__name__)

Function = TypeVar("Function", bound=Callable[..., Any])

# The code objects of the functions in which a dispatch begins.
_DISPATCHES: Final[set[CodeType]] = set()


class ErrorStrategy(str, Enum):
    """What a dispatch does when one of its hooks fails."""

    LOG_AND_CONTINUE = "log_and_continue"
    FAIL_FAST = "fail_fast"
    COLLECT_ALL = "collect_all"

    @classmethod
    def of(cls, name: object) -> ErrorStrategy:
        """Find a strategy by its name.

        Raises:
            ValueError: There is no such strategy.

        Example:
            >>> ErrorStrategy.of("fail_fast").value
            'fail_fast'
        """
        try:
            return cls(name)
        except ValueError:
            known = ", ".join(repr(strategy.value) for strategy in cls)
            raise ValueError(f"unknown error strategy {name!r}: use one of {known}") from None


@dataclass(frozen=True)
class HookFailure:
    """One failure of one hook.

    Args:
        hook: The hook that failed.
        event: The event under way.
        error: What it raised.
    """

    hook: HookImpl
    event: str
    error: BaseException


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
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode("ascii")
        for character in str(value)
    )


def is_awaitable(value: object) -> bool:
    """Tell whether a result has to be awaited.

    The type is asked, not the object: data with a catch-all `__getattr__` is still data.
    """
    return hasattr(type(value), "__await__")


def close_awaitable(awaitable: object) -> None:
    """Give up an awaitable that nobody will await, without a warning by the interpreter."""
    give_up = getattr(awaitable, "close", None) or getattr(awaitable, "cancel", None)
    if give_up is not None:
        with contextlib.suppress(Exception):
            give_up()


def entry_point_of_dispatch(function: Function) -> Function:
    """Mark a function as one in which a dispatch begins, so that nested ones can be told."""
    _DISPATCHES.add(function.__code__)
    return function


def _is_nested() -> bool:
    """Tell whether the dispatch under way was begun by a hook of another one."""
    found = 0
    frame: Optional[FrameType] = sys._getframe(1)
    while frame is not None and found < 2:
        found += frame.f_code in _DISPATCHES
        frame = frame.f_back
    return found > 1


class _LastErrors:
    """The errors of each caller's own last dispatch: a task's, and a thread's."""

    def __init__(self) -> None:
        self._current: contextvars.ContextVar[Optional[list[dict[str, Any]]]]
        self._current = contextvars.ContextVar("errors_of_the_dispatch_under_way", default=None)
        self._of_thread = threading.local()
        self._of_task: weakref.WeakKeyDictionary[Any, list[dict[str, Any]]]
        self._of_task = weakref.WeakKeyDictionary()

    @contextlib.contextmanager
    def recording(self) -> Iterator[None]:
        """Begin a dispatch; at its end its errors become the caller's last ones."""
        errors: list[dict[str, Any]] = []
        token = self._current.set(errors)
        try:
            yield
        finally:
            self._current.reset(token)
            self._of_thread.errors = errors
            task = _current_task()
            if task is not None:
                self._of_task[task] = errors

    def add(self, failure: HookFailure) -> None:
        errors = self._current.get()
        if errors is not None:
            errors.append(
                {
                    "plugin": failure.hook.plugin_name,
                    "error": failure.error,
                    "event": failure.event,
                }
            )

    def get(self) -> list[dict[str, Any]]:
        task = _current_task()
        if task is not None:
            return list(self._of_task.get(task, ()))
        return list(getattr(self._of_thread, "errors", ()))


def _current_task() -> Optional[object]:
    # Where nobody has imported asyncio there is no task, and it is not worth importing it.
    asyncio = sys.modules.get("asyncio")
    if asyncio is None:
        return None
    try:
        task: Optional[object] = asyncio.current_task()
    except (RuntimeError, AttributeError):
        return None
    return task


class FailureHandler:
    """Decides for one registry what becomes of the failures of its hooks."""

    def __init__(self) -> None:
        self.strategy = ErrorStrategy.LOG_AND_CONTINUE
        # Dispatches keep account of their errors from the first time that somebody wants to know.
        self.records = False
        self._last_errors = _LastErrors()
        self._skipped: weakref.WeakSet[HookImpl] = weakref.WeakSet()

    def set_strategy(self, name: object) -> None:
        """Choose what happens from now on; an unknown name is a ValueError and changes nothing."""
        self.strategy = ErrorStrategy.of(name)
        self.records = self.records or self.strategy is ErrorStrategy.COLLECT_ALL

    def recording(self) -> contextlib.AbstractContextManager[None]:
        """Begin a dispatch whose errors become the caller's last ones."""
        return self._last_errors.recording() if self.records else contextlib.nullcontext()

    def get_last_errors(self) -> list[dict[str, Any]]:
        """List the errors of the caller's own last dispatch."""
        return self._last_errors.get()

    def handle(self, failure: HookFailure) -> Optional[Awaitable[object]]:
        """Do with a failure what the strategy says.

        Args:
            failure: What failed.

        Returns:
            What is left to be awaited, where the plugin's `on_error` is async.

        Raises:
            HookError: The strategy is `fail_fast`; `__cause__` is the hook's error.
            RecursionError: The hook ran out of stack inside of a nested dispatch; the outermost
                one has stack enough to deal with it.
        """
        if isinstance(failure.error, RecursionError) and _is_nested():
            raise failure.error
        if self.strategy is ErrorStrategy.FAIL_FAST:
            self.give_up(failure.hook, self._tell_owner(failure))
            raise _as_hook_error(failure) from failure.error
        if self.strategy is ErrorStrategy.COLLECT_ALL:
            self._last_errors.add(failure)
        return self.isolate(failure)

    def isolate(self, failure: HookFailure) -> Optional[Awaitable[object]]:
        """Log a failure and tell the owner of the hook, whatever the strategy.

        Args:
            failure: What failed.

        Returns:
            What is left to be awaited, where the plugin's `on_error` is async.
        """
        self._log(failure, "hook failed", failure.error)
        return self._tell_owner(failure)

    def isolate_sync(self, failure: HookFailure) -> None:
        """Isolate a failure where nothing can be awaited."""
        self.give_up(failure.hook, self.isolate(failure))

    def handle_sync(self, failure: HookFailure) -> None:
        """Do with a failure what the strategy says, where nothing can be awaited."""
        self.give_up(failure.hook, self.handle(failure))

    def give_up(self, hook: HookImpl, told: Optional[Awaitable[object]]) -> None:
        """Close what an async `on_error` returned, with a warning."""
        if told is not None:
            close_awaitable(told)
            logger.warning(
                "on_error of plugin %s is async and was not run: use trigger_async",
                printable(hook.plugin_name),
            )

    async def handle_async(self, failure: HookFailure) -> None:
        """Do with a failure what the strategy says, and await an async `on_error`."""
        told = self.handle(failure)
        if told is not None:
            await self.finish(failure, told)

    async def finish(self, failure: HookFailure, told: Awaitable[object]) -> None:
        """Await what an async `on_error` returned; what it raises is logged."""
        try:
            await told
        except (Exception, SystemExit) as error:
            self._log(failure, "on_error failed", error)

    def skip(self, hook: HookImpl) -> None:
        """Warn, once a hook, that a sync dispatch cannot run an async hook."""
        if hook not in self._skipped:
            self._skipped.add(hook)
            logger.warning(
                "Skipping async hook %s of plugin %s in trigger: use trigger_async to run it",
                printable(hook.name),
                printable(hook.plugin_name),
            )

    def _tell_owner(self, failure: HookFailure) -> Optional[Awaitable[object]]:
        try:
            on_error = getattr(failure.hook.plugin, "on_error", None)
            told: Any = on_error(failure.error) if callable(on_error) else None
        except (Exception, SystemExit) as error:
            self._log(failure, "on_error failed", error)
            return None
        return told if is_awaitable(told) else None

    def _log(self, failure: HookFailure, what: str, error: BaseException) -> None:
        names = {
            "plugin": printable(failure.hook.plugin_name),
            "event": printable(failure.event),
            "hook": printable(failure.hook.name),
        }
        # A handler of the application that raises must not turn into a failure of the dispatch.
        with contextlib.suppress(Exception):
            logger.error(
                "%s: plugin %s, event %s, hook %s: %s: %s",
                what,
                *names.values(),
                type(error).__name__,
                printable(describe_error(error)),
                exc_info=error,
                extra=names,
            )


def _as_hook_error(failure: HookFailure) -> HookError:
    """Wrap what a hook raised, keeping its kind."""
    about: dict[str, Any] = {
        "plugin": failure.hook.plugin_name,
        "hook": failure.hook.name,
        "event": failure.event,
        "cause": failure.error,
    }
    if isinstance(failure.error, HookTimeoutError):
        return HookTimeoutError(seconds=failure.error.seconds, **about)
    return HookError(**about)
