"""How a figure is taken: two things turn about, in many short turns of one process."""

from __future__ import annotations

import asyncio
import atexit
import gc
import itertools
import math
import time
from collections.abc import Coroutine
from dataclasses import dataclass
from typing import Any, Callable, Final, Optional

# One turn of the subject or of the baseline takes at least so long, in seconds: the shorter it is,
# the more turns pass between two interruptions by other programs.
TURN: Final = 0.001
# So many turns of both make a round; then the processes of other rows have theirs.
TURNS: Final = 10

Timed = Callable[[int], float]
"""Does something so many times, and returns how many seconds that took."""

Round = Callable[[], float]
"""Takes a figure."""


@dataclass(frozen=True)
class Row:
    """One line of the benchmark.

    Args:
        name: What it is called on the command line and in the files; all up to the first dot is its
            group, whose rows are measured in turns.
        what: What is measured, in words.
        baseline: What the figure is a ratio to, in words; or its unit.
        setup: Prepares the measurement, in a process of its own.
        arguments: What `setup` is called with; JSON can hold it.
        limit: How high the median may be; None for the figures of others.
        is_ratio: Whether the figure is a ratio to the baseline.
        rounds: How many rounds it takes.
        requirement: A distribution that it needs an environment of its own for.
    """

    name: str
    what: str
    baseline: str
    setup: Callable[..., Round]
    arguments: tuple[Any, ...] = ()
    limit: Optional[float] = None
    is_ratio: bool = True
    rounds: int = 20
    requirement: str = ""

    @property
    def group(self) -> str:
        """What it is measured together with."""
        return self.name.partition(".")[0]


def turn_about(subject: Timed, baseline: Timed, *, turns: int = TURNS) -> Round:
    """Compare the subject with the baseline.

    Args:
        subject: What is measured.
        baseline: What it is measured by.
        turns: How many turns each has in a round.

    Returns:
        A round, whose figure is how long one subject takes, by how long one baseline takes. Of the
        turns of each the quickest counts: what else the machine does can only make a turn longer.
    """
    subjects, baselines = enough(subject), enough(baseline)

    def ratio() -> float:
        quickest_subject = quickest_baseline = math.inf
        for _ in range(turns):
            quickest_subject = min(quickest_subject, subject(subjects) / subjects)
            quickest_baseline = min(quickest_baseline, baseline(baselines) / baselines)
        return quickest_subject / quickest_baseline

    return ratio


def enough(timed: Timed) -> int:
    """Tell how many times something has to be done to fill a turn."""
    calls = 1
    while timed(calls) < TURN:
        calls *= 2
    return calls


def clocked(prepare: Callable[[], Callable[[], object]]) -> Timed:
    """Time what takes long and has to be prepared anew each time.

    Args:
        prepare: Makes the function whose call is timed. What the call before has left is gone.
    """

    def timed(calls: int) -> float:
        seconds = 0.0
        for _ in range(calls):
            run = prepare()
            gc.collect()
            started = time.perf_counter()
            # What it returns is dropped after the clock has stopped.
            result = run()
            seconds += time.perf_counter() - started
            del result, run
        return seconds

    return timed


def loop_over(statement: str, **names: object) -> Timed:
    """Time a statement as a program has it: in a loop, without a function around it.

    Args:
        statement: The statement.
        names: What its names stand for.
    """
    timed: Timed = _loop("def", statement, names)
    return timed


def loop_over_awaits(statement: str, **names: object) -> Timed:
    """Time a statement that awaits, in an event loop of its own.

    Args:
        statement: The statement.
        names: What its names stand for.
    """
    event_loop = asyncio.new_event_loop()
    atexit.register(event_loop.close)
    run: Callable[[int], Coroutine[Any, Any, float]] = _loop("async def", statement, names)
    return lambda calls: event_loop.run_until_complete(run(calls))


def _loop(definition: str, statement: str, names: dict[str, object]) -> Any:
    source = (
        f"{definition} run(calls):\n"
        "    started = perf_counter()\n"
        "    for _ in repeat(None, calls):\n"
        f"        {statement}\n"
        "    return perf_counter() - started\n"
    )
    namespace = {**names, "perf_counter": time.perf_counter, "repeat": itertools.repeat}
    exec(compile(source, "<loop>", "exec"), namespace)
    return namespace["run"]
