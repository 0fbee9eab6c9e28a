"""The compiled dispatch: the hooks of one event as a list of callables of one shape.

A `Chain` is a list of *slots*. In a sync chain a slot takes the data and returns the hook's result;
in an async one it returns an awaitable of it. Whatever a hook needs besides (a time limit, the
event's name, a tracer) is wrapped into its slot when the chain is compiled, so that the loops below
have one shape, and pay for nothing that a hook did not ask for.

A slot of a hook that goes away is overwritten while the chain may be running: the loop that is
under way then finds a slot that does nothing, without a check on each call.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import Any, Callable, NamedTuple, Optional, Union

from nitro_dispatch.awaitables import Heed, close_awaitable, is_awaitable, settled
from nitro_dispatch.deadlines import dismiss
from nitro_dispatch.exceptions import StopPropagation
from nitro_dispatch.execution import Hop, Progress
from nitro_dispatch.failures import FailureHandler, HookFailure, Stopped, Telling
from nitro_dispatch.hooks import HookImpl
from nitro_dispatch.references import reference_to

__all__ = [
    "Chain",
    "HookResult",
    "Slot",
    "Walk",
    "each",
    "each_async",
    "run_recorded",
    "run_sync",
    "walk",
]

Slot = Callable[[Any], Any]


# The annotations of a class body are compiled, which takes 1 ms the first time in a process.
_Answer = NamedTuple(  # noqa: UP014
    "_Answer", [("plugin", str), ("hook", str), ("value", Any)]
)


class HookResult(_Answer):
    """What one hook answered to `collect`.

    Args:
        plugin: The name of the plugin that owns the hook.
        hook: The name of the hook.
        value: What the hook returned.
    """

    __slots__ = ()


class Chain(list[Slot], Heed):
    """The slots of one event, and the hooks that stand behind them.

    Args:
        event: The event that the chain was compiled for.
        hooks: The hook behind each slot; None where a slot deals with its own failures.
        make: Makes the slot of a hook, for one that takes the place of another.
        silent: The slot that does nothing.
        failures: What to do when a hook fails.
    """

    __slots__ = ("__weakref__", "_former", "event", "failures", "hooks", "make", "plain", "silent")

    # A chain is one of a kind, also among those with the same slots.
    __eq__ = object.__eq__
    __hash__ = object.__hash__  # type: ignore[assignment]

    def __init__(
        self,
        event: str,
        hooks: list[Optional[HookImpl]],
        make: Callable[[HookImpl], Slot],
        silent: Slot,
        failures: FailureHandler,
    ) -> None:
        super().__init__([silent] * len(hooks))
        self.event = event
        self.hooks = hooks
        self.make = make
        self.silent = silent
        self.failures = failures
        self.plain: Optional[type] = None
        self._former: list[tuple[Callable[[], object], int]] = []
        seen: set[int] = set()
        for place, hook in enumerate(hooks):
            if hook is not None:
                slot = make(hook)
                self[place] = functools.partial(slot) if id(slot) in seen else slot
                seen.add(id(slot))

    def replace(self, place: int, heir: Optional[HookImpl] = None) -> None:
        """Put another hook, or nothing, in the place of one; the chain may be running."""
        # Before it goes, as it may fail at this very moment: its caller holds it as long as that.
        former = [entry for entry in self._former if entry[0]() is not None]
        if self[place] is not self.silent:
            former.append((reference_to(self[place]), place))
        self._former = former
        if heir is None:
            self[place] = self.silent
        else:
            self.hooks[place] = heir
            self[place] = functools.partial(self.make(heir))

    def behind(self, slot: Slot) -> Iterator[Slot]:
        """Make an iterator that has given a slot last, each of which is one of a kind."""
        steps = iter(self)
        for other in steps:
            if other is slot:
                return steps
        return self.behind_place(next(place for former, place in self._former if former() is slot))

    def behind_place(self, place: int) -> Iterator[Slot]:
        """Make an iterator that has given the slot in a place last."""
        steps = iter(self)
        steps.__setstate__(place + 1)  # type: ignore[attr-defined]
        return steps

    def current(self, steps: Iterator[Slot]) -> Optional[HookImpl]:
        """Name the hook whose slot an iterator gave last, without counting on each call."""
        return self.hooks[len(self) - steps.__length_hint__() - 1]  # type: ignore[attr-defined]

    def failure(self, steps: Iterator[Slot], error: BaseException) -> HookFailure:
        """Say which hook failed; an error that its slot has dealt with is raised again."""
        hook = self.current(steps)
        if hook is None:
            raise error
        return HookFailure(hook, self.event, error)

    def failed(self, steps: Iterator[Slot], error: BaseException) -> None:
        """Deal with a failure where nothing can be awaited."""
        self.failures.handle_sync(self.failure(steps, error))

    def resume(self, steps: Iterator[Slot], error: BaseException, data: Any) -> Any:
        """Deal with a failure and run the hooks behind it."""
        self.failed(steps, error)
        # Most often it was the last or only hook.
        return run_sync(self, steps, data) if steps.__length_hint__() else data  # type: ignore[attr-defined]

    async def failed_async(self, steps: Iterator[Slot], error: BaseException) -> None:
        """Deal with a failure where an async `on_error` can be awaited."""
        await self.failures.handle_async(self.failure(steps, error))

    def failed_in_worker(self, steps: Iterator[Slot], error: BaseException) -> Optional[Telling]:
        """Deal with a failure in a worker thread; what is to be awaited is left to the loop."""
        return self.failures.handle(self.failure(steps, error))

    def refuse(self, steps: Iterator[Slot], awaitable: object) -> None:
        """Give up an awaitable that a sync dispatch came upon: it never becomes the data."""
        close_awaitable(awaitable)
        hook = self.current(steps)
        if hook is not None:
            self.failures.skip(hook)


class Walk:
    """How far a walk through a sync chain came.

    Args:
        data: The data as it is now.
        stopped: Whether a hook stopped the propagation.
        pending: What a hook returned that has to be awaited.
        telling: The `on_error` of a failed hook that has to be awaited.
    """

    __slots__ = ("data", "pending", "stopped", "telling")

    def __init__(
        self,
        data: Any,
        *,
        stopped: bool = False,
        pending: Any = None,
        telling: Optional[Telling] = None,
    ) -> None:
        self.data = data
        self.stopped = stopped
        self.pending = pending
        self.telling = telling

    def close(self) -> None:
        """Give up what has to be awaited."""
        close_awaitable(self.pending)
        close_awaitable(self.telling)


def walk(
    chain: Chain,
    steps: Iterator[Slot],
    data: Any,
    failed: Callable[[Iterator[Slot], BaseException], Optional[Telling]],
    token: Union[Hop, Progress, None] = None,
) -> Walk:
    """Run the slots of a chain until its end, or until something has to be awaited.

    Args:
        chain: The chain to run.
        steps: An iterator over it, which knows how far earlier walks came.
        data: What the next hook is given.
        failed: What to do with a failure.
        token: Is told when a hook begins, and tells whether anybody still waits for its end.
    """
    while True:
        try:
            for slot in steps:
                if token is not None and not token.begins(data):
                    break
                result = slot(data)
                if result is not data:
                    if type(result) is chain.plain:
                        data = result
                    elif result is not None:
                        if chain.awaits(result):
                            return Walk(data, pending=result)
                        data = result
            return Walk(data)
        except Stopped as stopped:
            return Walk(stopped.data, stopped=True)
        except StopPropagation:
            return Walk(data, stopped=True)
        except (Exception, SystemExit) as error:
            telling = failed(steps, error)
            if telling is not None:
                return Walk(data, telling=telling)


def run_sync(chain: Chain, steps: Iterator[Slot], data: Any) -> Any:
    """Run a sync chain to its end.

    Args:
        chain: The chain to run.
        steps: An iterator over it, which knows how far it has been run.
        data: What the next hook is given.

    Returns:
        The data as the hooks left it.
    """
    while True:
        walked = walk(chain, steps, data, chain.failed)
        data = walked.data
        if walked.pending is None:
            return data
        chain.refuse(steps, walked.pending)


def run_recorded(chain: Chain, data: Any) -> Any:
    """Run a sync chain; its errors become the caller's last ones.

    Args:
        chain: The chain to run.
        data: What the hooks are given.

    Returns:
        The data as the hooks left it.
    """
    with chain.failures.recording():
        return run_sync(chain, iter(chain), data)


def each(
    chain: Chain, data: Any, failed: Callable[[HookFailure], object]
) -> Iterator[tuple[HookImpl, Any]]:
    """Give every hook of a sync chain the same data.

    Args:
        chain: The chain to run.
        data: What each hook is given.
        failed: What to do with a failure.

    Yields:
        Each hook that returned something, with its result.
    """
    steps = iter(chain)
    for slot in steps:
        try:
            value = slot(data)
        except StopPropagation:
            return
        except (Exception, SystemExit) as error:
            failed(chain.failure(steps, error))
            continue
        hook = chain.current(steps)
        if value is not data and is_awaitable(value):
            chain.refuse(steps, value)
        elif value is not None and hook is not None:
            yield hook, value


async def each_async(chain: Chain, data: Any) -> list[tuple[HookImpl, Any]]:
    """Give every hook of an async chain the same data, all at once.

    Args:
        chain: The chain to run, with a slot for each hook.
        data: What each hook is given.

    Returns:
        Each hook that returned something, with its result, in the order of the hooks.
    """
    import asyncio  # Slow to import, and only needed by those who use it.

    if not chain:
        return []
    stopped: list[int] = []
    tasks = [
        asyncio.ensure_future(_ask(chain, place, data, stopped)) for place in range(len(chain))
    ]
    waited = False
    try:
        # `gather` would cancel them by itself: a second time, in the midst of their cleanup.
        await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
        waited = True
        values = [task.result() for task in tasks if task.done()]
    except BaseException as error:
        if not tasks[0].get_loop().is_closed():
            for task in tasks:
                dismiss(task)
        # No hook goes on when its dispatch has ended; but one that is closed may not wait for that,
        # and one that is cancelled once more does not, as it would with `gather`.
        if waited or not isinstance(error, GeneratorExit):
            await asyncio.wait(tasks)
        raise
    end = min(stopped, default=len(chain))
    found = zip(chain.hooks[:end], values)
    return [(hook, value) for hook, value in found if hook is not None and value is not None]


async def _ask(chain: Chain, place: int, data: Any, stopped: list[int]) -> Any:
    """Give one hook of an async chain the data; where it stops the others, its place is noted."""
    try:
        value = await chain[place](data)
        if value is data or not is_awaitable(value):
            return value
        return await settled(value, data)
    except StopPropagation:
        stopped.append(place)
    except (Exception, SystemExit) as error:
        hook = chain.hooks[place]
        if hook is None:
            raise
        await chain.failures.handle_async(HookFailure(hook, chain.event, error))
