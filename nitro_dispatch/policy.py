"""Which plugins may be used: allow and block lists, from the application and the environment.

A policy is asked before a plugin is imported, with every name that the plugin goes by.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from typing import Final, Optional

from nitro_dispatch.exceptions import shown

__all__ = ["Policy"]

_ALLOW_VARIABLE: Final = "NITRO_DISPATCH_ALLOW"
_BLOCK_VARIABLE: Final = "NITRO_DISPATCH_BLOCK"


class Policy:
    """Which plugins are permitted, by name.

    Names may have the wildcards of `fnmatch`: `*`, `?` and `[...]`. Case counts, save that an entry
    of the block list refuses its normal form too: `Nitro.Audit` is another spelling of the
    distribution nitro-audit.

    Args:
        allow: The names of what is permitted; None permits all, an empty list nothing.
        block: The names of what is refused, also where `allow` has them.

    Raises:
        TypeError: A list is one string, or has something else than strings in it.

    Example:
        >>> policy = Policy(allow=["nitro-*"], block=["nitro-audit"])
        >>> policy.refusal("nitro-store")
        ''
        >>> policy.refusal("nitro-audit")
        "blocked by the block list entry 'nitro-audit'"
        >>> policy.refusal("weather")
        "not in the allow list ('nitro-*')"
    """

    # Each list maps its entries to what a refusal calls them.
    _allow: Optional[dict[str, str]]
    _block: dict[str, str]

    def __init__(self, *, allow: Optional[Iterable[str]] = None, block: Iterable[str] = ()) -> None:
        self._allow = None
        if allow is not None:
            self._allow = {name: repr(name) for name in _checked_names("allow", allow)}
        self._block = {
            name: f"the block list entry {name!r}" for name in _checked_names("block", block)
        }

    @classmethod
    def from_environment(
        cls,
        environ: Mapping[str, str] = os.environ,
        *,
        allow: Optional[Iterable[str]] = None,
        block: Iterable[str] = (),
    ) -> Policy:
        """Make a policy which also has the names that environment variables give.

        `NITRO_DISPATCH_ALLOW` and `NITRO_DISPATCH_BLOCK` hold names, separated by commas. They add
        to the lists given. A variable without a name in it counts as not set. The variables are
        read now, and not again.

        Args:
            environ: The environment variables.
            allow: The names of what is permitted; None, without the variable, permits all.
            block: The names of what is refused.

        Returns:
            The policy.

        Raises:
            TypeError: A list is one string, or has something else than strings in it.

        Example:
            >>> policy = Policy.from_environment({"NITRO_DISPATCH_BLOCK": "audit, store"})
            >>> policy.refusal("store")
            "blocked by NITRO_DISPATCH_BLOCK='store'"
        """
        policy = cls(allow=allow, block=block)
        policy._block.update(_names_in_variable(environ, _BLOCK_VARIABLE))
        allowed = _names_in_variable(environ, _ALLOW_VARIABLE)
        if allowed:
            policy._allow = {**(policy._allow or {}), **allowed}
        return policy

    @property
    def is_restrictive(self) -> bool:
        """Whether there is any plugin that it could refuse."""
        return bool(self._block) or self._allow is not None

    def refusal(self, *names: str) -> str:
        """Tell why a plugin is refused.

        Args:
            *names: All names that the plugin goes by: its own, its entry point's, its
                distribution's. One is enough to be permitted, and one is enough to be blocked.

        Returns:
            One line that says what refused it, or an empty text if it is permitted.

        Example:
            >>> Policy(block=["audit"]).refusal("Audit", "nitro-audit")
            ''
        """
        for entry, described in self._block.items():
            # Rather one plugin too many is blocked than one that was spelled as pip allows.
            if _fits(names, entry) or _fits(names, _normalized(entry)):
                return f"blocked by {described}"
        if self._allow is None or any(_fits(names, entry) for entry in self._allow):
            return ""
        return f"not in the allow list ({', '.join(self._allow.values()) or 'it is empty'})"


def _checked_names(option: str, names: object) -> list[str]:
    """Make a list of names, or raise TypeError that says what to give."""
    if isinstance(names, str) or not isinstance(names, Iterable):
        example = names if isinstance(names, str) else "audit"
        raise TypeError(
            f"{option} must be a list of names such as [{shown(example)}], not {shown(names)}"
        )
    listed = list(names)
    for name in listed:
        if not isinstance(name, str):
            raise TypeError(f"{option} must be a list of names, and {shown(name)} is not a string")
    return listed


def _names_in_variable(environ: Mapping[str, str], variable: str) -> dict[str, str]:
    names = (name.strip() for name in environ.get(variable, "").split(","))
    return {name: f"{variable}={name!r}" for name in names if name}


def _fits(names: tuple[str, ...], entry: str) -> bool:
    """Tell whether an entry fits one of the names."""
    # Imported here because not every program has a list.
    from fnmatch import fnmatchcase

    # An entry is tried literally too: the name of a plugin may have brackets in it.
    return any(name == entry or fnmatchcase(name, entry) for name in names)


def _normalized(name: str) -> str:
    """Spell the name of a distribution as PEP 503 does."""
    return re.sub(r"[-_.]+", "-", name).lower()
