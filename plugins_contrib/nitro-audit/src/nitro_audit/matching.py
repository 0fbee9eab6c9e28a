"""Which patterns an event's name matches, by the framework's own rules."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import Final, Optional

from nitro_dispatch import HookRegistry

__all__ = ["first_match"]

_REMEMBERED: Final = 1_024


def first_match(patterns: Iterable[str]) -> Callable[[str], Optional[str]]:
    """Make a function that finds the first pattern that matches a name.

    Args:
        patterns: Event names and patterns, as for hooks.

    Returns:
        A function of an event's name; it returns a pattern, or None if none matches.

    Example:
        >>> find = first_match(["user.*", "**"])
        >>> find("user.login"), find("user.login.failed"), find("user.")
        ('user.*', '**', None)
    """
    registry = HookRegistry()
    for pattern in patterns:
        registry.register(pattern, _ignore)

    # The same few names come again and again, and the memory for them has to have a bound.
    @lru_cache(maxsize=_REMEMBERED)
    def find(name: str) -> Optional[str]:
        # Hooks of equal priority are in the order of their registration.
        return next((hook.event for hook in registry.get_hooks(name)), None)

    return find


def _ignore(data: object) -> None:
    """Stand for a hook."""
