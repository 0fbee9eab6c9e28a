"""Who did what: the records that observers of the hooks are given."""

from __future__ import annotations

import logging
import time
from collections.abc import Awaitable, Iterator, Mapping, Sequence
from typing import Any, Callable, Final, Optional

from nitro_dispatch.awaitables import Deferred, is_awaitable
from nitro_dispatch.exceptions import StopPropagation
from nitro_dispatch.failures import Stopped, own_timeout
from nitro_dispatch.frozen import Frozen
from nitro_dispatch.hooks import HookImpl
from nitro_dispatch.reports import Text, line_of, log_failure, log_safely, printable

__all__ = [
    "Change",
    "HookCall",
    "Trace",
    "TraceStep",
    "Tracer",
    "Tracing",
    "changes_between",
    "log_call",
    "watched",
]

logger = logging.getLogger(__name__)

MISSING: Final = "<missing>"
_NO_COPY: Final = object()

Slot = Callable[[Any], Any]


class HookCall(Frozen):
    """One call of one hook, as a tracer is told of it.

    Args:
        event: The event under way.
        plugin: The name of the plugin that owns the hook.
        hook: The name of the hook.
        started: When the call began, in seconds since the epoch.
        seconds: How long it took.
        outcome: "returned" (a result, such as the copy of an atomic hook), "passed" (None),
            "stopped" (the propagation), "failed", "timed out", "interrupted" (by cancellation or
            from the keyboard), or "skipped" (an awaitable that `trigger` came upon).
        error: What the hook raised, if it did.
    """

    event: str
    plugin: str
    hook: str
    started: float
    seconds: float
    outcome: str
    error: Optional[BaseException] = None


Tracer = Callable[[HookCall], object]


class Change(Frozen):
    """One place in the data that a hook changed.

    Args:
        path: Where, such as `user.tags[0]`; empty for the data itself.
        before: What was there, or "<missing>".
        after: What is there now, or "<missing>".
    """

    path: str
    before: object
    after: object


class TraceStep(HookCall):
    """One call of one hook in a trace.

    Args:
        changes: What the hook changed; None where the data cannot be copied or compared.
    """

    changes: Optional[tuple[Change, ...]] = ()


class Trace(Frozen):
    """One dispatch, step by step.

    Args:
        result: The data as the hooks left it.
        steps: The calls, in their order.
    """

    result: Any
    steps: tuple[TraceStep, ...]


class Tracing:
    """Lets tracers know of the calls of hooks.

    Args:
        tracers: Who is told.
    """

    def __init__(self, *tracers: Tracer) -> None:
        self.tracers = tracers

    def call(self, event: str, hook: HookImpl, slot: Slot, data: Any) -> Any:
        """Call the slot of a hook, which may return an awaitable that is still to be awaited."""
        observation = _Observation(self, event, hook)
        with observation:
            result = slot(data)
        if result is not data and is_awaitable(result):
            return Deferred(result, observation.watch, observation.skipped)
        return observation.returned(result)

    async def call_async(self, event: str, hook: HookImpl, slot: Slot, data: Any) -> Any:
        """Call the slot of a hook and await it."""
        observation = _Observation(self, event, hook)
        with observation:
            result = await slot(data)
        return observation.returned(result)

    def tell(self, call: HookCall) -> None:
        """Tell every tracer of a call; one that fails is logged."""
        for tracer in self.tracers:
            try:
                tracer(call)
            except (Exception, SystemExit) as error:
                log_failure(logger, error, "a tracer failed", {"location": Text(line_of, error)})


class _Observation:
    """One call of a hook, of which tracers are told when it ends."""

    __slots__ = ("_clock", "_event", "_hook", "_started", "_tracing")

    def __init__(self, tracing: Tracing, event: str, hook: HookImpl) -> None:
        self._tracing = tracing
        self._event = event
        self._hook = hook
        self._started = time.time()
        self._clock = time.perf_counter()

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: Optional[BaseException], traceback: object) -> None:
        if error is not None:
            # What stops with the data of a hook was made of what the hook raised.
            raised = error.__cause__ if issubclass(type(error), Stopped) else error
            self._end(_outcome_of(error), raised)

    async def watch(self, awaitable: Awaitable[Any]) -> Any:
        """Await what the call came to."""
        with self:
            result = await awaitable
        return self.returned(result)

    def returned(self, result: Any) -> Any:
        """Hear that the call ended, and hand its result back."""
        self._end("passed" if result is None else "returned")
        return result

    def skipped(self) -> None:
        """Hear that nobody will await what the call came to."""
        self._end("skipped")

    def _end(self, outcome: str, error: Optional[BaseException] = None) -> None:
        seconds = time.perf_counter() - self._clock
        plugin, hook = self._hook.plugin_name, self._hook.name
        self._tracing.tell(
            HookCall(self._event, plugin, hook, self._started, seconds, outcome, error)
        )


def _outcome_of(error: BaseException) -> str:
    if issubclass(type(error), StopPropagation):
        return "stopped"
    if own_timeout(error) is not None:
        return "timed out"
    return "failed" if isinstance(error, (Exception, SystemExit)) else "interrupted"


def log_call(call: HookCall) -> None:
    """Log a call at level DEBUG; the tracer behind `enable_hook_tracing`.

    Args:
        call: The call to log.
    """
    log_safely(
        logger,
        logging.DEBUG,
        "event %s: hook %s of plugin %s %s after %.3f ms",
        printable(call.event),
        printable(call.hook),
        printable(call.plugin),
        call.outcome,
        call.seconds * 1000,
    )


def watched(steps: list[TraceStep], event: str, hook: HookImpl, slot: Slot) -> Slot:
    """Wrap the slot of a hook so that a trace sees what it changes.

    Args:
        steps: Where each call is noted.
        event: The event under way.
        hook: The hook behind the slot.
        slot: The slot to wrap.

    Returns:
        A slot of the same shape.
    """

    def watch(data: Any) -> Any:
        before = _copied(data)
        result: Any = None

        def call(data: Any) -> Any:
            nonlocal result
            try:
                result = slot(data)
            except Stopped as stopped:
                result = stopped.data
                raise
            return result

        def note(call: HookCall) -> None:
            left = data if result is None or is_awaitable(result) else result
            steps.append(TraceStep(**vars(call), changes=_changes(before, _copied(left))))

        return Tracing(note).call(event, hook, call, data)

    return watch


def changes_between(
    before: object, after: object, path: str = "", *, above: tuple[int, ...] = ()
) -> Iterator[Change]:
    """Find the places in which two versions of the data differ.

    Args:
        before: The data before.
        after: The data after.
        path: Where in the data these two stand.
        above: The identities of the containers around `before`, by which a circle is known.

    Yields:
        The innermost places that differ, in the order of the data.

    Example:
        >>> [change.path for change in changes_between({"a": [1, 2]}, {"a": [1, 3], "b": 0})]
        ['a[1]', 'b']
    """
    if before is after or id(before) in above:
        return
    above = (*above, id(before))
    old, new = _parts(before), _parts(after)
    if type(before) is not type(after) or not (old or new):
        if not _same(before, after, above):
            yield Change(path, before, after)
        return
    for key in dict.fromkeys([*old, *new]):
        if key not in old or key not in new:
            place = _place(path, key)
            yield Change(place, old.get(key, MISSING), new.get(key, MISSING))
        elif old[key] is not new[key]:
            yield from changes_between(old[key], new[key], _place(path, key), above=above)


def _parts(value: object) -> Mapping[Any, object]:
    """Take a container apart; what is none has no parts."""
    if isinstance(value, Mapping):
        return value
    if isinstance(value, Sequence) and not isinstance(value, (str, bytes, bytearray)):
        return dict(enumerate(value))
    if isinstance(value, type):
        return {}
    # Imported here because it is slow to import, and only needed to trace.
    from dataclasses import fields, is_dataclass

    if is_dataclass(value):
        return {field.name: getattr(value, field.name) for field in fields(value)}
    return getattr(value, "__dict__", {})


def _place(path: str, key: object) -> str:
    if not isinstance(key, str):
        return f"{path}[{key!r}]"
    return f"{path}.{key}" if path else key


def _same(before: object, after: object, above: tuple[int, ...]) -> bool:
    if type(before) is not type(after):
        return False
    try:
        if type(before).__eq__ is object.__eq__:
            # Two copies of one object are never identical: they are compared by what makes a copy.
            old, new = before.__reduce_ex__(4)[1:], after.__reduce_ex__(4)[1:]
            return not any(changes_between(old, new, above=above))
        equal: Any = before == after
        # Arrays compare element by element.
        return bool(equal.all() if hasattr(equal, "all") else equal)
    except (Exception, SystemExit):  # The comparison is the data's own code.
        return False


def _copied(data: object) -> object:
    # Imported here because it is slow to import, and only needed to trace.
    from copy import deepcopy

    try:
        return deepcopy(data)
    except (Exception, SystemExit):  # Copying is the data's own code.
        return _NO_COPY


def _changes(before: object, after: object) -> Optional[tuple[Change, ...]]:
    if before is _NO_COPY or after is _NO_COPY:
        return None
    try:
        return tuple(changes_between(before, after))
    except (Exception, SystemExit):  # Comparing and naming the parts is the data's own code.
        return None
