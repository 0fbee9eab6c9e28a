"""Rows: what a time limit that never strikes costs a sync hook."""

from __future__ import annotations

import threading
from queue import SimpleQueue
from typing import Any, Final

from generated import EVENT, Function, make_hooks, new_data, straight_line
from managers import manager_with
from measuring import Round, Row, loop_over, turn_about


class HandOff:
    """Hands data to a function that another thread runs, and waits for what it returns.

    It is the quickest way that the standard library has: a thread that waits, and a queue in C for
    either direction. It has no time limit and does not survive an exception.

    Args:
        function: What the thread runs.
    """

    def __init__(self, function: Function) -> None:
        self._function = function
        self._questions: SimpleQueue[Any] = SimpleQueue()
        self._answers: SimpleQueue[Any] = SimpleQueue()
        threading.Thread(target=self._answer, daemon=True).start()

    def __call__(self, data: Any) -> Any:
        """Hand over the data and wait."""
        self._questions.put(data)
        return self._answers.get()

    def _answer(self) -> None:
        while True:
            self._answers.put(self._function(self._questions.get()))


def limited(count: int) -> Round:
    """Compare hooks with a time limit with straight-line code that another thread runs."""
    hooks = make_hooks(count)
    data = new_data()
    return turn_about(
        loop_over(
            f"manager.trigger({EVENT!r}, data)", manager=manager_with(hooks, timeout=5), data=data
        ),
        loop_over("hand_off(data)", hand_off=HandOff(straight_line(hooks)), data=data),
    )


HAND_OFF: Final = "one hand-off between threads"
ROWS: Final = (
    *(
        Row(
            f"limit.{count}",
            f"`trigger`, {hooks} with a time limit of 5 s",
            HAND_OFF,
            limited,
            (count,),
            limit,
        )
        for count, hooks, limit in ((1, "1 hook", 1.25), (5, "5 hooks", 1.6))
    ),
)
