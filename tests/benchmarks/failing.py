"""Rows: what a hook that raises costs."""

from __future__ import annotations

import logging
from typing import Final

from generated import EVENT, RAISES, Function, make_hooks
from managers import manager_with
from measuring import Round, Row, loop_over, turn_about

logging.getLogger("application").addHandler(logging.NullHandler())
logger = logging.getLogger("application.dispatch")


def raising() -> Round:
    """Compare a dispatch to a hook that raises with a `try` around a call of it."""
    (hook,) = make_hooks(1, RAISES)
    return turn_about(
        loop_over(f"manager.trigger({EVENT!r}, 1)", manager=manager_with([hook])),
        loop_over("call_safely(hook, 1)", call_safely=call_safely, hook=hook),
    )


def call_safely(hook: Function, data: object) -> object:
    """Call a hook as who wants to go on does, with the same logging call as the library's."""
    try:
        result = hook(data)
        if result is not None:
            data = result
    except Exception as error:
        names = {"plugin": "listening", "event": EVENT, "hook": hook.__name__}
        logger.error(
            "%s: plugin %s, event %s, hook %s: %s: %s",
            "hook failed",
            *names.values(),
            type(error).__name__,
            error,
            exc_info=error,
            extra=names,
        )
    return data


ROWS: Final = (
    Row(
        "failure.log",
        "`trigger`, a hook that raises, under `log_and_continue`, no handler attached",
        "`try` and `except` with the same logging call",
        raising,
        (),
        1.3,
    ),
)
