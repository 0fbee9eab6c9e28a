"""What code costs, by measures that do not depend on how fast the machine is."""

from __future__ import annotations

import sys
import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, Callable


def lines_run(run: Callable[[], object]) -> int:
    """Count the lines of Python that something runs, in this thread."""
    count = 0

    def trace(frame: FrameType, kind: str, argument: object) -> Any:
        nonlocal count
        count += kind == "line"
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        run()
    finally:
        sys.settrace(before)
    return count


@contextmanager
def memory_traced() -> Iterator[Callable[[], tuple[int, int]]]:
    """Give what tells how much memory the block has taken so far: what is left of it, and most."""
    tracemalloc.start()
    try:
        yield tracemalloc.get_traced_memory
    finally:
        tracemalloc.stop()
