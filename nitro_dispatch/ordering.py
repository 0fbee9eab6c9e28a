"""The order in which the hooks of an event run."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Iterable, Mapping, Sequence

from nitro_dispatch.hooks import HookImpl
from nitro_dispatch.reports import log_safely, printable

__all__ = ["in_order"]

logger = logging.getLogger(__name__)


def in_order(hooks: Iterable[HookImpl]) -> list[HookImpl]:
    """Put hooks into the order of their dispatch.

    Args:
        hooks: Hooks in any order.

    Returns:
        Higher priority first, ties by registration, `before` and `after` respected among ties.
    """
    ordered = sorted(hooks, key=lambda hook: (-hook.priority, hook.order))
    if not any(hook.options.before or hook.options.after for hook in ordered):
        return ordered
    ties = itertools.groupby(ordered, key=lambda hook: hook.priority)
    return [hook for _, group in ties for hook in _constrained(list(group))]


def _constrained(ties: Sequence[HookImpl]) -> list[HookImpl]:
    """Sort hooks of one priority by what they say of each other, otherwise as they stand."""
    # Imported here because it is slow to import, and few hooks say anything of others.
    from heapq import heappop, heappush

    followers = _followers(ties)
    waiting = [0] * len(ties)
    for follower in itertools.chain.from_iterable(followers):
        waiting[follower] += 1
    left = dict.fromkeys(range(len(ties)))
    ready = [place for place in left if not waiting[place]]
    placed: list[int] = []
    while left:
        if not ready:
            # The first of them goes first; all that is said besides still holds.
            contradicting = _contradicting(followers, left)
            _warn_of_contradiction(ties[place] for place in contradicting)
            ready.append(contradicting[0])
        place = heappop(ready)
        del left[place]
        placed.append(place)
        for follower in followers[place]:
            waiting[follower] -= 1
            if not waiting[follower] and follower in left:
                heappush(ready, follower)
    return [ties[place] for place in placed]


def _followers(ties: Sequence[HookImpl]) -> list[list[int]]:
    """List for each hook the places of those that have to come later."""
    by_plugin: dict[str, list[int]] = {}
    for place, hook in enumerate(ties):
        by_plugin.setdefault(hook.plugin_name, []).append(place)
    followers: list[list[int]] = [[] for _ in ties]
    for place, hook in enumerate(ties):
        for name in hook.options.before:
            followers[place] += [other for other in by_plugin.get(name, ()) if other != place]
        for name in hook.options.after:
            for other in by_plugin.get(name, ()):
                if other != place:
                    followers[other].append(place)
    return followers


def _contradicting(followers: list[list[int]], left: Mapping[int, object]) -> list[int]:
    """Find hooks each of which has to come before the others, and no other before them."""
    later = {place: [other for other in followers[place] if other in left] for place in left}
    earlier: dict[int, list[int]] = {place: [] for place in later}
    for place, others in later.items():
        for other in others:
            earlier[other].append(place)
    place = next(iter(later))
    while True:
        found = _reached(earlier, place)
        beyond = found - _reached(later, place)
        if not beyond:
            return sorted(found)
        place = min(beyond)


def _reached(links: Mapping[int, list[int]], start: int) -> set[int]:
    found: set[int] = set()
    waiting = [start]
    while waiting:
        new = [place for place in links[waiting.pop()] if place not in found]
        found.update(new)
        waiting += new
    return found


def _warn_of_contradiction(hooks: Iterable[HookImpl]) -> None:
    names = dict.fromkeys(printable(hook.plugin_name) for hook in hooks)
    message = "before= and after= contradict each other among %s"
    log_safely(logger, logging.WARNING, message, ", ".join(names))
