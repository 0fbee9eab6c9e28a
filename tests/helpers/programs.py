"""Programs for tests that end in their own way."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import nitro_dispatch
from concurrency import PATIENCE


def end_of_program(source: str) -> tuple[int, list[str]]:
    """Run a program in a process of its own, where warnings are errors.

    Args:
        source: The program.

    Returns:
        Its status, and the lines of its errors.
    """
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", source],
        env={**os.environ, "PYTHONPATH": str(Path(nitro_dispatch.__file__).parent.parent)},
        stderr=subprocess.PIPE,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    return done.returncode, done.stderr.splitlines()
