"""The command line `nitro-dispatch`: lists plugins, plans their order, and fires events.

The rooms: `program` runs a command and turns what goes wrong into one line and an exit code;
`commands` has the commands. What to do: `options`, `settings` from a pyproject.toml, and `payload`,
the data of an event. Doing it with a manager: `finding` and `firing`; `failures` and `errors` are
what goes wrong. Telling: `documents` makes JSON, `rendering` views for people in the `layout` of
all, and `terminal` writes.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Optional

__all__ = ["main"]

try:
    from nitro_dispatch.cli.program import run
except ModuleNotFoundError as error:
    if (error.name or "").partition(".")[0] == "nitro_dispatch":
        raise
    _missing = error.name

    def run(arguments: Sequence[str]) -> int:
        """Stand in for the command line where what it is built with is not installed."""
        sys.stderr.write(
            f"nitro-dispatch: the command line needs {_missing}: "
            'pip install "nitro-dispatch[cli]"\n'
        )
        return 2


def main(arguments: Optional[Sequence[str]] = None) -> int:
    """Run the command line.

    Args:
        arguments: What follows the program's name; None takes it from `sys.argv`.

    Returns:
        The exit code: 0 where all is well, and for `list` and `show` whatever they find; 1 where
        `plan` finds problems or in `trigger` something failed; 2 where the command could not be
        done; 130 where it was interrupted.

    Example:
        >>> main(["plan", "--no-entry-points", "--json"])
        {
          "order": [],
          "problems": [],
          "blocked": [],
          "failures": []
        }
        0
    """
    return run(sys.argv[1:] if arguments is None else arguments)
