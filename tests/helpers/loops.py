"""Event loops for tests, which must not have anything to complain of."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Coroutine
from typing import Any, Callable, Optional

from concurrency import PATIENCE


def run(coroutine: Coroutine[Any, Any, Any]) -> Any:
    """Run a coroutine in an event loop of its own, not for ever."""
    results: list[Any] = []

    async def main() -> None:
        # Not what the task returns: `asyncio.run` shows that.
        results.append(await asyncio.wait_for(coroutine, PATIENCE))

    asyncio.run(main())
    return results.pop()


def run_quietly(
    coroutine: Coroutine[Any, Any, Any], make_task: Optional[Callable[..., Any]] = None
) -> Any:
    """Run a coroutine in an event loop of its own.

    What nobody awaited or asked for shows when it is collected: as a complaint of the event loop,
    or as a warning, which is an error.

    Args:
        coroutine: What to run.
        make_task: The factory of the loop's tasks.
    """
    complaints: list[dict[str, Any]] = []

    async def main() -> Any:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda loop, context: complaints.append(context))
        loop.set_task_factory(make_task)
        result = await coroutine
        gc.collect()
        return result

    result = asyncio.run(main())
    gc.collect()
    assert complaints == []
    return result
