"""Who did what: the records that observers of the hooks are given."""

from __future__ import annotations

import contextlib
import copy
import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from typing import Any, Callable, Final, Optional

from nitro_dispatch.exceptions import HookTimeoutError, StopPropagation
from nitro_dispatch.failures import is_awaitable, printable
from nitro_dispatch.hooks import HookImpl

__all__ = ["Change", "HookCall", "Trace", "TraceStep", "Tracer", "Tracing", "changes_between"]

logger = logging.getLogger(__name__)

MISSING: Final = "<missing>"


@dataclass(frozen=True)
class HookCall:
    """One call of one hook, as a tracer is told of it.

    Args:
        event: The event under way.
        plugin: The name of the plugin that owns the hook.
        hook: The name of the hook.
        started: When the call began, in seconds since the epoch.
        seconds: How long it took.
        outcome: "returned" (a result), "passed" (None), "stopped" (the propagation), "failed",
            "timed out", or "interrupted" (by cancellation or from the keyboard).
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


@dataclass(frozen=True)
class Change:
    """One place in the data that a hook changed.

    Args:
        path: Where, such as `user.tags[0]`; empty for the data itself.
        before: What was there, or "<missing>".
        after: What is there now, or "<missing>".
    """

    path: str
    before: object
    after: object


@dataclass(frozen=True)
class TraceStep(HookCall):
    """One call of one hook in a trace.

    Args:
        changes: What the hook changed; None where the data cannot be copied.
    """

    changes: Optional[tuple[Change, ...]] = ()


@dataclass(frozen=True)
class Trace:
    """One dispatch, step by step.

    Args:
        result: The data as the hooks left it.
        steps: The calls, in their order.
    """

    result: Any
    steps: tuple[TraceStep, ...]


class Tracing:
    """The tracers of one registry."""

    def __init__(self) -> None:
        self.tracers: tuple[Tracer, ...] = ()

    @contextlib.contextmanager
    def observe(self, hook: HookImpl, event: str) -> Iterator[list[Any]]:
        """Watch one call of a hook; its result is to be put into the list that this yields."""
        result: list[Any] = []
        outcome, error = "passed", None
        started, clock = time.time(), time.perf_counter()
        try:
            yield result
            if result[0] is not None:
                outcome = "returned"
        except BaseException as raised:
            outcome, error = _outcome_of(raised), raised
            raise
        finally:
            seconds = time.perf_counter() - clock
            self.tell(
                HookCall(event, hook.plugin_name, hook.name, started, seconds, outcome, error)
            )
            error = None  # The frame must not keep the error, which keeps the frame.

    def tell(self, call: HookCall) -> None:
        """Tell every tracer of a call; one that fails is logged."""
        for tracer in self.tracers:
            try:
                tracer(call)
            except Exception:
                logger.exception("The tracer %r failed", tracer)


def _outcome_of(error: BaseException) -> str:
    if isinstance(error, StopPropagation):
        return "stopped"
    if isinstance(error, HookTimeoutError):
        return "timed out"
    return "failed" if isinstance(error, (Exception, SystemExit)) else "interrupted"


def log_call(call: HookCall) -> None:
    """Log a call at level DEBUG; the tracer behind `enable_hook_tracing`.

    Args:
        call: The call to log.
    """
    logger.debug(
        "event %s: hook %s of plugin %s %s after %.3f ms",
        printable(call.event),
        printable(call.hook),
        printable(call.plugin),
        call.outcome,
        call.seconds * 1000,
    )


def watched(
    event: str, steps: list[TraceStep], hook: HookImpl, slot: Callable[[Any], Any]
) -> Callable[[Any], Any]:
    """Wrap the slot of a hook so that a trace sees what it changes.

    Args:
        event: The event under way.
        steps: Where each call is noted.
        hook: The hook behind the slot.
        slot: The slot to wrap.

    Returns:
        A slot of the same shape.
    """

    def watch(data: Any) -> Any:
        before, comparable = copied(data)
        result: Any = None

        def note(call: HookCall) -> None:
            left = data if result is None or is_awaitable(result) else result
            after, copyable = copied(left)
            changes = tuple(changes_between(before, after)) if comparable and copyable else None
            steps.append(TraceStep(**vars(call), changes=changes))

        observer = Tracing()
        observer.tracers = (note,)
        with observer.observe(hook, event) as found:
            result = slot(data)
            found.append(result)
        return result

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
    if id(before) in above:
        return
    old, new = _parts(before), _parts(after)
    if old is None or new is None or type(before) is not type(after):
        if not _same(before, after):
            yield Change(path, before, after)
        return
    for key in dict.fromkeys([*old, *new]):
        place = key if key.startswith("[") or not path else f".{key}"
        if key not in old or key not in new:
            yield Change(path + place, old.get(key, MISSING), new.get(key, MISSING))
        else:
            yield from changes_between(old[key], new[key], path + place, above=(*above, id(before)))


def _parts(value: object) -> Optional[dict[str, object]]:
    """Take a container apart; None for what is no container."""
    if isinstance(value, Mapping):
        return {str(key) if isinstance(key, str) else f"[{key!r}]": value[key] for key in value}
    if isinstance(value, Sequence) and not isinstance(value, (str, bytes, bytearray)):
        return {f"[{place}]": part for place, part in enumerate(value)}
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: getattr(value, field.name) for field in fields(value)}
    return dict(vars(value)) if hasattr(value, "__dict__") and vars(value) else None


def _same(before: object, after: object) -> bool:
    if before is after:
        return True
    try:
        equal: Any = before == after
        # Arrays compare element by element.
        return bool(equal.all() if hasattr(equal, "all") else equal)
    except Exception:  # The comparison is the data's own code.
        return False


def copied(data: Any) -> tuple[Any, bool]:
    """Copy the data deeply, if it can be copied.

    Args:
        data: The data of an event.

    Returns:
        The copy and True, or the data itself and False.
    """
    try:
        return copy.deepcopy(data), True
    except Exception:
        return data, False
