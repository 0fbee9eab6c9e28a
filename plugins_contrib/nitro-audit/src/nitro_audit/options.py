"""What the options of a journal may be, whether code or a configuration file gives them."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

import platformdirs

__all__ = ["default_path", "validate"]

_MOST_ROWS: Final = 2**63 - 1
_LONGEST_AGE: Final = 365_000
_LONGEST_WAIT: Final = 86_400


def default_path() -> Path:
    """Tell where the journal is if nobody says otherwise: in the user's folder for state.

    Returns:
        The file's path; nothing is created.

    Example:
        >>> default_path().name
        'journal.db'
    """
    return platformdirs.user_state_path("nitro-audit", appauthor=False) / "journal.db"


def validate(**options: object) -> None:
    """Check options by their names.

    Args:
        options: What was given.

    Raises:
        ValueError: If an option cannot be used; the text names all of them.

    Example:
        >>> validate(max_rows=100, synchronous="often")
        Traceback (most recent call last):
        ValueError: synchronous must be 'normal' or 'full', not 'often'
    """
    faults = [
        f"{name} must be {expected}, not {options[name]!r}"
        for name, (is_valid, expected) in _RULES.items()
        if name in options and not is_valid(options[name])
    ]
    if faults:
        raise ValueError("; ".join(faults))


def _is_path(value: object) -> bool:
    return isinstance(value, (str, os.PathLike)) and value != ""


def _is_number_of_rows(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 < value <= _MOST_ROWS


def _is_age(value: object) -> bool:
    return _is_number(value, _LONGEST_AGE)


def _is_wait(value: object) -> bool:
    return _is_number(value, _LONGEST_WAIT)


def _is_number(value: object, most: float) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and 0 < value <= most


def _is_list_of_texts(value: object) -> bool:
    # A set serves as well, but one text would be taken for a list of its characters.
    return isinstance(value, (list, tuple, set, frozenset)) and all(
        isinstance(item, str) and item for item in value
    )


_RULES: Final[Mapping[str, tuple[Callable[[object], bool], str]]] = {
    "path": (_is_path, "the path of a file"),
    "events": (_is_list_of_texts, "a list of event names and patterns"),
    "max_rows": (
        lambda value: value is None or _is_number_of_rows(value),
        "a whole number above 0, or None",
    ),
    "max_age_days": (
        lambda value: value is None or _is_age(value),
        f"a number above 0, at most {_LONGEST_AGE}, or None",
    ),
    "busy_timeout": (_is_wait, f"a number of seconds above 0, at most {_LONGEST_WAIT}"),
    "synchronous": (lambda value: value in ("normal", "full"), "'normal' or 'full'"),
    "redact": (_is_list_of_texts, "a list of keys"),
}
