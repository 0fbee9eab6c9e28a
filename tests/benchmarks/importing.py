"""Rows: what it costs to import the library, in a new interpreter each time."""

from __future__ import annotations

from typing import Final

from interpreters import timed_inside
from measuring import Round, Row, turn_about

# What every program imports: a root that imports lazily would not flatter itself.
IMPORT: Final = "from nitro_dispatch import PluginBase, PluginManager, hook"
# What most programs have imported before.
COMMON: Final = "import dataclasses, logging, threading, typing"


def over_interpreter(before: str) -> Round:
    """Compare the import, after others, with that of pluggy in the bare interpreter."""
    return turn_about(
        timed_inside(IMPORT, before=before),
        timed_inside("from pluggy import HookimplMarker, HookspecMarker, PluginManager"),
        turns=4,
    )


ROWS: Final = (
    Row(
        "import.bare",
        "`import nitro_dispatch` over the bare interpreter",
        "`import pluggy` over the bare interpreter",
        over_interpreter,
        ("",),
        1.6,
        rounds=10,
    ),
    Row(
        "import.own",
        "what `import nitro_dispatch` adds of its own, where `logging`, `typing`, `threading` and "
        "`dataclasses` have been imported before",
        "the whole of `import pluggy`, over the bare interpreter",
        over_interpreter,
        (COMMON,),
        0.7,
        rounds=10,
    ),
)
