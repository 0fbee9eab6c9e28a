"""Where coroutines take their first step.

What has a time limit does not run in its caller's task. Scopes such as `asyncio.timeout` and
`asyncio.TaskGroup` work by cancelling the task in which they were entered: were that the caller's,
nobody could tell such a cancellation from one of the caller, and what is left behind could still
cancel the caller later.

Most coroutines end with their first step, and to make a task costs ten times as much. So the first
step is taken at once, in the name of a spare task. One that suspends goes on in this task from its
first step to its last. One that ends leaves it to the next, unless it keeps a reference to it.
"""

from __future__ import annotations

import sys
from collections.abc import Coroutine
from contextvars import Context, ContextVar, copy_context
from functools import cache
from operator import is_
from sys import getrefcount
from types import coroutine as coroutine_function
from typing import TYPE_CHECKING, Any, Callable, Final, Optional, Protocol, TypeVar
from weakref import getweakrefcount

from nitro_dispatch.awaitables import Heed
from nitro_dispatch.execution import wake

if TYPE_CHECKING:
    import asyncio

__all__ = ["SpareTask", "bring_back", "on_stage", "spare_task"]

T = TypeVar("T")

_UNSET: Final = object()


class Steps(Protocol):
    """The further steps of a coroutine that has suspended."""

    async def run(self, cancelled: Optional[BaseException]) -> None:
        """Take them, which begin with a cancellation if one has come meanwhile."""


class SpareTask(Heed):
    """A task that waits for a coroutine which has taken its first step in the task's name."""

    __slots__ = (
        "_given",
        "context",
        "depth",
        "ended",
        "first_steps",
        "loop",
        "on_stage",
        "plain",
        "references",
        "task",
        "work",
    )

    context: Context
    """What runs on stage."""

    depth: int
    """So many spare tasks are nested, each begun by a coroutine in the one around it."""

    ended: Context
    """The context as those left it that have ended on stage."""

    first_steps: Any
    """The generator of `begin`."""

    references: int
    """So many there are to the task on stage as long as no coroutine keeps one.

    Zero, which there never are, once a coroutine has cancelled the task or observes it.
    """

    task: Any
    """An `asyncio.Task` whose `cancels` counts how often it has been cancelled."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        # Loaded by now; at the top of the module it would be loaded with the package.
        import asyncio

        around: Optional[SpareTask] = getattr(asyncio.current_task(loop), "spare", None)
        self.depth = 1 if around is None else around.depth + 1
        if self.depth > sys.getrecursionlimit():
            raise RecursionError("hooks await events that call each other without end")
        self.loop = loop
        self.on_stage = False
        self.plain = None
        self.work = loop.create_future()
        self.begin()
        self._given: Optional[Steps] = None
        self.task = _start_task(self._run(), loop)
        self.task.spare = self

    def begin(self) -> None:
        """Start a generator to which coroutines are sent, one after the other.

        It takes the first step of each and gives what the coroutine returned. One that suspends it
        rests in, which its `gi_yieldfrom` tells, and gives what is waited for. One that raises ends
        it.
        """
        self.first_steps = _take_first_steps()
        self.first_steps.send(None)

    def give(self, steps: Steps) -> None:
        """Let the task take the further steps of a coroutine."""
        # Loaded by now; at the top of the module it would be loaded with the package.
        import asyncio

        self._given = steps
        asyncio._register_task(self.task)
        wake(self.work)

    async def _run(self) -> None:
        # Loaded by now; at the top of the module it would be loaded with the package.
        import asyncio

        cancelled: Optional[BaseException] = None
        try:
            await self._work_given()
        except asyncio.CancelledError as error:
            if self._given is None:
                raise
            cancelled = error
        # The caller's context may keep this task until its next dispatch, but not what that is for.
        steps, self._given = self._given, None
        if steps is not None:
            await steps.run(cancelled)

    @coroutine_function
    def _work_given(self) -> Any:
        if sys.version_info < (3, 12):
            # Here `_start_task` stops and the task begins.
            yield
        yield from self.work


spare_task: ContextVar[Optional[SpareTask]] = ContextVar("spare_task", default=None)
"""The spare task of this context, or one that was: of another event loop, or used up."""


def on_stage(call: Callable[..., T], *arguments: Any) -> T:
    """Run a function in which coroutines take their first step, in the name of a spare task.

    It runs within a copy of the caller's context; the variables that it sets reach the caller.

    Args:
        call: The function.
        *arguments: What it is given.

    Returns:
        What the function returned.

    Raises:
        BaseException: What the function raised, as it is.
    """
    # asyncio is slow to import: who fires no event asynchronously does not pay for it.
    import asyncio

    loop = asyncio.get_running_loop()
    spare = around = spare_task.get()
    if spare is None or spare.loop is not loop or spare.on_stage or spare.work.done():
        spare = SpareTask(loop)
        spare_task.set(spare)
    spare.context = spare.ended = copy_context()
    spare.on_stage = True
    enter, leave = asyncio._enter_task, asyncio._leave_task
    caller = asyncio.current_task(loop)
    if caller is not None:
        leave(loop, caller)
    enter(loop, spare.task)
    spare.references = getrefcount(spare.task)
    try:
        return spare.context.run(call, *arguments)
    finally:
        if getrefcount(spare.task) != spare.references or getweakrefcount(spare.task):
            # Somebody knows it: it ends, as the task of a coroutine does, and serves no other.
            wake(spare.work)
        leave(loop, spare.task)
        if caller is not None:
            enter(loop, caller)
        spare.on_stage = False
        if around is not None and around.on_stage:
            spare_task.set(around)
        bring_back(spare.ended, copy_context())


@coroutine_function
def _take_first_steps() -> Any:
    # What a coroutine returns to its own `send` comes as an exception, which is half of the cost.
    coroutine = yield
    while True:
        coroutine = yield (yield from coroutine)


def bring_back(context: Context, before: Context) -> None:
    """Set the context variables that have changed in another context."""
    # Most often nothing was set: then both have the same in the same order. To ask whether the two
    # contexts are equal would run code of the values.
    if len(context) == len(before) and all(map(is_, context.values(), before.values())):
        return
    for variable, value in context.items():
        if variable is not spare_task and before.get(variable, _UNSET) is not value:
            variable.set(value)


def _start_task(coroutine: Coroutine[Any, Any, None], loop: asyncio.AbstractEventLoop) -> Any:
    """Start a task of which nobody hears until it has something to do."""
    # Loaded by now; at the top of the module it would be loaded with the package.
    import asyncio

    task: Any
    if sys.version_info >= (3, 12):
        task = _task_class()(coroutine, loop=loop, eager_start=True)
    else:
        # Begun already, it learns of a cancellation that comes before the task's first step.
        coroutine.send(None)
        task = _task_class()(coroutine, loop=loop)
    # Who waits for all tasks must not wait for it, and nobody need know if it never ends.
    asyncio._unregister_task(task)
    task._log_destroy_pending = False
    return task


@cache
def _task_class() -> Any:
    """Make the class of the spare tasks, once asyncio is loaded."""
    # Loaded by now; at the top of the module it would be loaded with the package.
    import asyncio

    class Task(asyncio.Task):  # type: ignore[type-arg]
        """A task that lets be known what was done to it."""

        spare: SpareTask
        cancels = 0

        def cancel(self, *arguments: Any, **options: Any) -> bool:
            self.spare.references = 0
            self.cancels += 1
            return super().cancel(*arguments, **options)

        def add_done_callback(self, *arguments: Any, **options: Any) -> None:
            self.spare.references = 0
            super().add_done_callback(*arguments, **options)

        def uncancel(self) -> int:
            # From Python 3.11 on: `asyncio.timeout` takes back that it has cancelled the task.
            self.cancels -= 1
            around: Any = super()
            left: int = around.uncancel()
            return left

    return Task
