"""The process of one row: sets it up, then does a round whenever it is told to.

    python worker.py MODULE FUNCTION ARGUMENTS

The arguments are a list in JSON. A line from the standard input asks for a round; the answer is a
line with its figure. The first line that is written says that all is set up.
"""

from __future__ import annotations

import importlib
import json
import sys


def main(module: str, function: str, arguments: str) -> None:
    """Set up the measurement, and serve until the input ends."""
    one_round = getattr(importlib.import_module(module), function)(*json.loads(arguments))
    print("ready", flush=True)
    for _ in sys.stdin:
        print(one_round(), flush=True)


main(*sys.argv[1:])
