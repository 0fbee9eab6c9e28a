"""Rows: what `trigger` costs."""

from __future__ import annotations

from typing import Final

from generated import CHANGES, EVENT, RENEWS, make_hooks, new_data, straight_line
from managers import add_patterns, manager_with
from measuring import Round, Row, loop_over, turn_about
from nitro_dispatch import PluginManager

TRIGGER: Final = f"manager.trigger({EVENT!r}, data)"


def trigger(count: int, body: str, data: object) -> Round:
    """Compare `trigger` with straight-line code of the same meaning."""
    hooks = make_hooks(count, body)
    return turn_about(
        loop_over(TRIGGER, manager=manager_with(hooks), data=data),
        loop_over("straight_line(data)", straight_line=straight_line(hooks), data=data),
    )


def no_hook() -> Round:
    """Compare `trigger` with a function that looks in a dict and finds nothing."""
    table: dict[str, list[object]] = {}

    def look_up(event: str, data: object) -> object:
        hooks = table.get(event)
        if hooks is None:
            return data
        raise AssertionError("the table is empty")

    return turn_about(
        loop_over(TRIGGER, manager=PluginManager(), data=None),
        loop_over(f"look_up({EVENT!r}, data)", look_up=look_up, data=None),
    )


def no_hook_among_patterns() -> Round:
    """Compare a manager that has 1,000 patterns with one that has none."""
    manager = PluginManager()
    add_patterns(manager)
    return turn_about(
        loop_over(TRIGGER, manager=manager, data=None),
        loop_over(TRIGGER, manager=PluginManager(), data=None),
    )


STRAIGHT: Final = "straight-line code with the same meaning"
ROWS: Final = (
    *(
        Row(
            f"dispatch.{count}",
            f"`trigger`, {hooks} the data",
            STRAIGHT,
            trigger,
            (count, CHANGES, new_data()),
            limit,
        )
        for count, hooks, limit in (
            (1, "1 hook that changes", 2.0),
            (5, "5 hooks that change", 1.5),
            (20, "20 hooks that change", 1.35),
            (100, "100 hooks that change", 1.25),
        )
    ),
    Row(
        "dispatch.new",
        "`trigger`, 5 hooks that return a new object",
        STRAIGHT,
        trigger,
        (5, RENEWS, 1000),
        1.9,
    ),
    Row("dispatch.none", "`trigger`, no hook", "a function that looks in a dict", no_hook, (), 1.8),
    Row(
        "dispatch.patterns",
        "`trigger`, no hook, 1,000 patterns elsewhere, a name seen before",
        "the same without the patterns",
        no_hook_among_patterns,
        (),
        1.3,
    ),
)
