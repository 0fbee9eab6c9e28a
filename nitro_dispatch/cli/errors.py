"""What the command line cannot do, said in one line."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches

__all__ = ["CommandError", "did_you_mean", "printable"]


class CommandError(Exception):
    """What was asked for cannot be done; the text is one line that says what to do."""


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Suggest the nearest right spelling.

    Args:
        name: What was written.
        known: What could have been meant.

    Returns:
        The end of a sentence; empty where nothing is near.

    Example:
        >>> did_you_mean("app-version", ["allow", "app_version"])
        "; did you mean 'app_version'?"
        >>> did_you_mean("colour", ["allow", "block"])
        ''
    """
    folded = {_folded(each): each for each in known}
    near = get_close_matches(_folded(name), folded, n=1)
    return f"; did you mean {folded[near[0]]!r}?" if near else ""


def _folded(name: str) -> str:
    return name.casefold().replace("-", "_")


def printable(text: object) -> str:
    r"""Escape what could move the cursor of a terminal, or forge a line.

    Args:
        text: A text out of a plugin.

    Returns:
        The text in one line.

    Example:
        >>> printable("red \x1b[31m")
        'red \\x1b[31m'
    """
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode("ascii")
        for character in str(text)
    )
