"""Rows: what `trigger_async` costs."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from generated import CHANGES, EVENT, make_hooks, new_data, straight_line
from managers import manager_with
from measuring import Round, Row, loop_over_awaits, turn_about

TRIGGER: Final = f"await manager.trigger_async({EVENT!r}, data)"
HOOKS: Final = 5


def async_hooks() -> Round:
    """Compare a dispatch to async hooks with awaiting them one after the other."""
    hooks = make_hooks(HOOKS, CHANGES, definition="async def")
    data = new_data()
    return turn_about(
        loop_over_awaits(TRIGGER, manager=manager_with(hooks), data=data),
        loop_over_awaits(
            "await straight_line(data)", straight_line=straight_line(hooks, awaits=True), data=data
        ),
    )


def async_hooks_with_limit() -> Round:
    """Compare a dispatch to async hooks that have a time limit with one to hooks without."""
    hooks = make_hooks(HOOKS, CHANGES, definition="async def")
    data = new_data()
    return turn_about(
        loop_over_awaits(TRIGGER, manager=manager_with(hooks, timeout=5), data=data),
        loop_over_awaits(TRIGGER, manager=manager_with(hooks), data=data),
    )


def sync_hooks() -> Round:
    """Compare a dispatch to sync hooks with straight-line code that an executor runs."""
    hooks = make_hooks(HOOKS)
    data = new_data()
    return turn_about(
        loop_over_awaits(TRIGGER, manager=manager_with(hooks), data=data),
        loop_over_awaits(
            "await get_running_loop().run_in_executor(executor, straight_line, data)",
            get_running_loop=asyncio.get_running_loop,
            executor=ThreadPoolExecutor(1),
            straight_line=straight_line(hooks),
            data=data,
        ),
    )


ROWS: Final = (
    Row("async.5", "`trigger_async`, 5 async hooks", "bare awaits", async_hooks, (), 1.3),
    Row(
        "async.limit",
        "`trigger_async`, 5 async hooks with a time limit of 5 s",
        "the same without the time limit",
        async_hooks_with_limit,
        (),
        6,
    ),
    Row(
        "async.sync",
        "`trigger_async`, 5 sync hooks",
        "one hand-off to an executor",
        sync_hooks,
        (),
        1.3,
    ),
)
