"""How hooks become a chain: the one description that sync and async dispatch share."""

from __future__ import annotations

import functools
import itertools
import weakref
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Callable, Final, Optional

from nitro_dispatch.chain import Chain, Slot, Walk, run_recorded
from nitro_dispatch.failures import FailureHandler
from nitro_dispatch.hooks import HookImpl, LazyHook
from nitro_dispatch.plugin import is_off
from nitro_dispatch.segments import Segment, TimedRun, inline, run_apart, run_recorded_async
from nitro_dispatch.slots import Slots, asks_owner, runs_in
from nitro_dispatch.stage import on_stage
from nitro_dispatch.tracing import TraceStep, Tracing, watched

__all__ = ["Compiler"]

# The hook in a place of a chain, or the slot that several share.
_Place = tuple[Optional[HookImpl], Optional[Slot]]


def _silent(data: Any) -> None:
    """The slot of a hook that has gone, in a sync chain."""


async def _silent_async(data: Any) -> None:
    """The slot of a hook that has gone, in an async chain."""


class Compiler:
    """Makes the chains of one registry, and changes those that are in use.

    Args:
        failures: What to do when a hook fails.
        tracing: Who is told of each hook.
        lock: Guards the chains in use.
    """

    def __init__(self, failures: FailureHandler, tracing: Tracing, lock: Any) -> None:
        self._failures = failures
        self._tracing = tracing
        self._lock = lock
        # Also those that are in no cache any more: a dispatch may be going through them.
        self._live: weakref.WeakSet[Chain] = weakref.WeakSet()
        # Those among them in which hooks were silenced: no new dispatch begins with one.
        self._silenced: weakref.WeakSet[Chain] = weakref.WeakSet()

    def sync(self, event: str, hooks: Iterable[HookImpl]) -> Chain:
        """Compile the chain behind `trigger`: neighbours with one time limit share one slot."""
        slots = Slots(event, self._tracing)
        places: list[_Place] = []
        for seconds, group in itertools.groupby(self._not_skipped(hooks), key=self._shared_limit):
            neighbours = list(group)
            if seconds is None or len(neighbours) == 1:
                places.extend((hook, None) for hook in neighbours)
            else:
                run = self._living(event, neighbours, slots.plain, _silent)
                run.make = functools.partial(self._slot_apart, slots)
                places.append((None, TimedRun(run, seconds)))
        chain = _with_shared(self._sync_chain(slots, [hook for hook, _ in places]), places)
        return self._recorded(chain, run_recorded, chain) if self._failures.records else chain

    def each(self, event: str, hooks: Iterable[HookImpl]) -> Chain:
        """Compile the chain behind `collect` and `first`: one slot for each hook."""
        slots = Slots(event, self._tracing, asked=True)
        return self._sync_chain(slots, self._not_skipped(hooks))

    def traced(self, event: str, hooks: Iterable[HookImpl], *, steps: list[TraceStep]) -> Chain:
        """Compile the chain behind `trace`, each of whose slots notes the steps of a dispatch."""
        slots = Slots(event, self._tracing, functools.partial(watched, steps, event))
        return self._sync_chain(slots, self._not_skipped(hooks))

    def asynchronous(self, event: str, hooks: Iterable[HookImpl]) -> Chain:
        """Compile the chain behind `trigger_async`: neighbouring sync hooks share one slot."""
        slots = Slots(event, self._tracing)
        places: list[_Place] = []
        for where, group in itertools.groupby(hooks, key=runs_in):
            if where == "loop":
                places.extend((hook, None) for hook in group)
            else:
                make = functools.partial(slots.of_segment, where)
                segment = self._living(event, list(group), make, _silent)
                places.append((None, Segment(segment, _WAYS[where])))
        chain = _with_shared(self._async_chain(slots, [hook for hook, _ in places]), places)
        if not self._failures.records:
            return chain
        return self._recorded(chain, run_recorded_async, Segment(chain, inline))

    def each_async(self, event: str, hooks: Iterable[HookImpl]) -> Chain:
        """Compile the chain behind `collect_async`: one slot for each hook."""
        return self._async_chain(Slots(event, self._tracing, asked=True), list(hooks))

    def silence(self, gone: Callable[[HookImpl], bool]) -> None:
        """Take hooks out of every chain that may be running.

        Args:
            gone: Tells whether a hook is one of them.
        """
        for chain in list(self._live):
            for place, hook in enumerate(chain.hooks):
                if hook is not None and gone(hook):
                    chain.replace(place)
                    self._silenced.add(chain)

    def restore(self, hooks: Iterable[HookImpl]) -> None:
        """Let hooks that were silenced be called again, in every chain that may be running.

        Args:
            hooks: Those of an owner that is enabled.
        """
        # Each plugin comes by here as it is loaded, and most often there is no such chain.
        if not self._silenced:
            return
        enabled = set(hooks)
        for chain in list(self._silenced):
            for place, hook in enumerate(chain.hooks):
                if hook is not None and hook in enabled:
                    chain.replace(place, hook)

    def exchange(self, heirs: Mapping[HookImpl, Optional[HookImpl]]) -> None:
        """Put hooks in the place of others in every chain that may be running.

        Args:
            heirs: The new hook by the old one, None where there is none.
        """
        for chain in list(self._live):
            for place, hook in enumerate(chain.hooks):
                if hook is not None and hook in heirs:
                    heir = heirs[hook]
                    if heir is not None and is_off(heir.plugin):
                        # So was the other: its slot is silent, until the new one is switched on.
                        chain.hooks[place] = heir
                    else:
                        chain.replace(place, heir)

    def _not_skipped(self, hooks: Iterable[HookImpl]) -> list[HookImpl]:
        """Leave out the async hooks, which a sync dispatch cannot run, with a warning."""
        kept = []
        for hook in hooks:
            if hook.is_async:
                self._failures.skip(hook)
            else:
                kept.append(hook)
        return kept

    def _recorded(self, chain: Chain, run: Callable[..., Any], whole: object) -> Chain:
        """Make a chain of one slot that runs a whole one and keeps account of its errors."""
        recorded = Chain(chain.event, [None], chain.make, chain.silent, self._failures)
        recorded[0] = functools.partial(run, whole)
        return recorded

    def _shared_limit(self, hook: HookImpl) -> Optional[float]:
        """Tell the time limit that a hook may share with its neighbours, None where it may not."""
        alone = isinstance(hook, LazyHook) or asks_owner(hook) or self._tracing.tracers
        return None if alone else hook.timeout

    def _sync_chain(self, slots: Slots, hooks: Sequence[Optional[HookImpl]]) -> Chain:
        return self._living(slots.event, hooks, slots.sync, _silent)

    def _async_chain(self, slots: Slots, hooks: Sequence[Optional[HookImpl]]) -> Chain:
        return self._living(slots.event, hooks, slots.asynchronous, _silent_async)

    def _living(
        self,
        event: str,
        hooks: Sequence[Optional[HookImpl]],
        make: Callable[[HookImpl], Slot],
        silent: Slot,
    ) -> Chain:
        chain = Chain(event, list(hooks), make, silent, self._failures)
        with self._lock:
            self._live.add(chain)
        return chain

    def _slot_apart(self, slots: Slots, hook: HookImpl) -> Slot:
        """Make the slot of a hook that took the place of one in a `TimedRun`."""
        return functools.partial(run_apart, self._sync_chain(slots, [hook]))


def _with_shared(chain: Chain, places: Iterable[_Place]) -> Chain:
    """Put in the slots that hooks share; the chain has made those of single hooks itself."""
    for place, (_, shared) in enumerate(places):
        if shared is not None:
            chain[place] = shared
    return chain


_WAYS: Final[Mapping[str, Optional[Callable[..., Walk]]]] = {
    "worker": None,
    "inline": inline,
    "on stage": on_stage,
}
