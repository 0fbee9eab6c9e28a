"""What happens when a hook fails: who is told, what is isolated, and what propagates."""

from __future__ import annotations

import contextlib
import contextvars
import logging
import sys
import threading
import weakref
from collections.abc import Iterator
from enum import Enum
from types import CodeType, FrameType
from typing import Any, Callable, Final, NoReturn, Optional, TypeVar, cast

from nitro_dispatch.awaitables import close_awaitable, is_awaitable
from nitro_dispatch.exceptions import HookError, HookTimeoutError, StopPropagation, shown
from nitro_dispatch.frozen import Frozen
from nitro_dispatch.hooks import HookImpl
from nitro_dispatch.reports import (
    Text,
    line_of_hook,
    log_failure,
    log_safely,
    origin_of_hook,
    printable,
)

__all__ = [
    "DispatchInTasks",
    "ErrorStrategy",
    "FailureHandler",
    "HookFailure",
    "Stopped",
    "Telling",
    "entry_point_of_dispatch",
    "own_timeout",
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
        for strategy in cls:
            if isinstance(name, str) and name == strategy.value:
                return strategy
        known = ", ".join(repr(strategy.value) for strategy in cls)
        raise ValueError(f"unknown error strategy {shown(name)}: use one of {known}")


# Before Python 3.12 a member of an enumeration costs a call each time that it is looked up.
_COLLECT_ALL: Final = ErrorStrategy.COLLECT_ALL
_FAIL_FAST: Final = ErrorStrategy.FAIL_FAST


class Stopped(StopPropagation):
    """A hook stopped the propagation inside of a slot that knows the data; carries them."""

    def __init__(self, data: Any) -> None:
        super().__init__()
        self.data = data


class HookFailure:
    """One failure of one hook.

    Args:
        hook: The hook that failed.
        event: The event under way.
        error: What it raised.
    """

    # A plain class: that of a frozen record would be made in three times the time.
    __slots__ = ("error", "event", "hook")

    def __init__(self, hook: HookImpl, event: str, error: BaseException) -> None:
        self.hook = hook
        self.event = event
        self.error = error


def own_timeout(error: BaseException) -> Optional[HookTimeoutError]:
    """Give an error back if it says that the hook which raised it took too long.

    One that comes out of a dispatch which the hook began names another hook.
    """
    # Asked for its class, the plugin's error may say another, or raise.
    if issubclass(type(error), HookTimeoutError):
        timeout = cast("HookTimeoutError", error)
        return None if timeout.hook else timeout
    return None


def entry_point_of_dispatch(function: Function) -> Function:
    """Mark a function as one in which a dispatch begins, so that nested ones can be told."""
    _DISPATCHES.add(function.__code__)
    return function


class DispatchInTasks:
    """A dispatch under way that runs each hook in a task, of which the stack does not tell.

    Raises:
        RecursionError: So many are nested as calls may be: no stack would ever end that.
    """

    # A generator made into a context manager would take three times the time.
    __slots__ = ("_token", "around", "depth", "ended")

    def __init__(self) -> None:
        self.ended = False
        self.around = _in_tasks_under_way()
        self.depth: int = 1 if self.around is None else self.around.depth + 1
        if self.depth > sys.getrecursionlimit():
            raise RecursionError("hooks fire events that call each other without end")

    def __enter__(self) -> None:
        self._token = _in_tasks.set(self)

    def __exit__(self, *raised: object) -> None:
        self.ended = True
        # One that is given up may be closed in a context of somebody else.
        with contextlib.suppress(ValueError):
            _in_tasks.reset(self._token)
        del self._token


_in_tasks: contextvars.ContextVar[Optional[DispatchInTasks]]
_in_tasks = contextvars.ContextVar("dispatch_in_tasks", default=None)


def _in_tasks_under_way() -> Optional[DispatchInTasks]:
    # What a hook has started may go on when its dispatch has ended.
    found = _in_tasks.get()
    while found is not None and found.ended:
        found = found.around
    return found


def _is_nested() -> bool:
    """Tell whether the dispatch under way was begun by a hook of another one."""
    around = _in_tasks_under_way()
    found = 0 if around is None else around.depth
    frame: Optional[FrameType] = sys._getframe(1)
    while frame is not None and found < 2:
        found += frame.f_code in _DISPATCHES
        frame = frame.f_back
    return found > 1


Errors = list[dict[str, Any]]


class _Last(Frozen):
    """The errors of a dispatch, and those of the dispatch around it, of which a hook began it."""

    around: Optional[Errors]
    errors: Errors


class _LastErrors:
    """The errors of each caller's own last dispatch: a task's, and a thread's.

    They are kept with those of the dispatch around it. A hook thus sees what it has dispatched
    itself, and not what its worker thread did before for somebody else.
    """

    def __init__(self) -> None:
        self._current: contextvars.ContextVar[Optional[Errors]]
        self._current = contextvars.ContextVar("errors_of_the_dispatch_under_way", default=None)
        self._of_thread = threading.local()
        self._of_task: weakref.WeakKeyDictionary[Any, _Last]
        self._of_task = weakref.WeakKeyDictionary()

    @contextlib.contextmanager
    def recording(self) -> Iterator[None]:
        """Begin a dispatch; at its end its errors become the caller's last ones."""
        around = self._current.get()
        errors: Errors = []
        token = self._current.set(errors)
        try:
            yield
        finally:
            # An async dispatch that is given up may be closed in a context of somebody else.
            with contextlib.suppress(ValueError):
                self._current.reset(token)
                self._keep(_Last(around, errors))

    def _keep(self, last: _Last) -> None:
        self._of_thread.last = last
        task = _current_task()
        if task is not None:
            self._of_task[task] = last

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

    def get(self) -> Errors:
        task = _current_task()
        last: Optional[_Last]
        last = getattr(self._of_thread, "last", None) if task is None else self._of_task.get(task)
        return list(last.errors) if last and last.around is self._current.get() else []


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
        self._strategy = ErrorStrategy.LOG_AND_CONTINUE
        # Dispatches keep account of their errors from the first time that somebody wants to know.
        self.records = False
        self._last_errors = _LastErrors()
        self._skipped: weakref.WeakSet[HookImpl] = weakref.WeakSet()

    def set_strategy(self, name: object) -> None:
        """Choose what happens from now on; an unknown name is a ValueError and changes nothing."""
        self._strategy = ErrorStrategy.of(name)
        self.records = self.records or self._strategy is _COLLECT_ALL

    def recording(self) -> contextlib.AbstractContextManager[None]:
        """Begin a dispatch whose errors become the caller's last ones."""
        return self._last_errors.recording() if self.records else contextlib.nullcontext()

    def get_last_errors(self) -> Errors:
        """List the errors of the caller's own last dispatch."""
        return self._last_errors.get()

    def handle(self, failure: HookFailure) -> Optional[Telling]:
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
        if issubclass(type(failure.error), RecursionError) and _is_nested():
            raise failure.error
        if self._strategy is _FAIL_FAST:
            return _tell_owner(failure, fatal=True)
        if self._strategy is _COLLECT_ALL:
            self._last_errors.add(failure)
        return self.isolate(failure)

    def isolate(self, failure: HookFailure) -> Optional[Telling]:
        """Log a failure and tell the owner of the hook, whatever the strategy.

        Args:
            failure: What failed.

        Returns:
            What is left to be awaited, where the plugin's `on_error` is async.
        """
        _log_failure(failure, "hook failed", failure.error)
        return _tell_owner(failure, fatal=False)

    def isolate_sync(self, failure: HookFailure) -> None:
        """Isolate a failure where nothing can be awaited."""
        telling = self.isolate(failure)
        if telling is not None:
            telling.give_up()

    def handle_sync(self, failure: HookFailure) -> None:
        """Do with a failure what the strategy says, where nothing can be awaited."""
        telling = self.handle(failure)
        if telling is not None:
            telling.give_up()

    async def handle_async(self, failure: HookFailure) -> None:
        """Do with a failure what the strategy says, and await an async `on_error`."""
        telling = self.handle(failure)
        if telling is not None:
            await telling.finish()

    def skip(self, hook: HookImpl) -> None:
        """Warn, once a hook, that a sync dispatch cannot run an async hook."""
        if hook not in self._skipped:
            self._skipped.add(hook)
            log_safely(
                logger,
                logging.WARNING,
                "Skipping async hook %s of plugin %s in trigger: use trigger_async to run it",
                printable(hook.name),
                printable(hook.plugin_name),
            )


class Telling:
    """How the owner of a hook is told of its failure, and what comes after that.

    Args:
        failure: What failed.
        told: What `on_error` returned.
        fatal: Whether the failure ends the dispatch.
    """

    __slots__ = ("_failure", "_fatal", "_told")

    def __init__(self, failure: HookFailure, told: Any, *, fatal: bool) -> None:
        self._failure = failure
        self._told = told
        self._fatal = fatal

    async def finish(self) -> None:
        """Await what an async `on_error` returned; what it raises is logged."""
        try:
            await self._told
        except (Exception, SystemExit) as error:
            _log_failure(self._failure, "on_error failed", error)
        if self._fatal:
            _end_dispatch(self._failure)

    def give_up(self) -> None:
        """Close what an async `on_error` returned, with a warning."""
        self.close()
        log_safely(
            logger,
            logging.WARNING,
            "on_error of plugin %s is async and was not run: use trigger_async",
            printable(self._failure.hook.plugin_name),
        )
        if self._fatal:
            _end_dispatch(self._failure)

    def close(self) -> None:
        """Close what an async `on_error` returned: its dispatch has been given up."""
        close_awaitable(self._told)


def _tell_owner(failure: HookFailure, *, fatal: bool) -> Optional[Telling]:
    owner = failure.hook.plugin
    told: object = None
    try:
        on_error = getattr(owner, "on_error", None)
        if on_error is not None and callable(on_error):
            told = on_error(failure.error)
    except (Exception, SystemExit) as error:
        _log_failure(failure, "on_error failed", error)
    if told is not None and is_awaitable(told):
        return Telling(failure, told, fatal=fatal)
    if fatal:
        _end_dispatch(failure)
    return None


def _log_failure(failure: HookFailure, what: str, error: BaseException) -> None:
    hook = failure.hook
    log_failure(
        logger,
        error,
        f"{what}: plugin %(plugin)s (%(origin)s), event %(event)s, hook %(hook)s",
        {
            "plugin": printable(hook.plugin_name),
            "origin": Text(origin_of_hook, hook.plugin, hook.callback),
            "event": printable(failure.event),
            "hook": printable(hook.name),
            "location": Text(line_of_hook, error, hook.plugin, hook.callback),
        },
    )


def _end_dispatch(failure: HookFailure) -> NoReturn:
    """Raise the error of a failed hook whose owner knows of it.

    Raises:
        HookError: Always; `__cause__` is what the hook raised.
    """
    raise _as_hook_error(failure) from failure.error


def _as_hook_error(failure: HookFailure) -> HookError:
    """Wrap what a hook raised, keeping its kind."""
    about: dict[str, Any] = {
        "plugin": failure.hook.plugin_name,
        "hook": failure.hook.name,
        "event": failure.event,
        "cause": failure.error,
    }
    timeout = own_timeout(failure.error)
    if timeout is not None:
        return HookTimeoutError(seconds=timeout.seconds, **about)
    return HookError(**about)
