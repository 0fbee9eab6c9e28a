"""Programs for tests, each in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Optional

import nitro_dispatch


def run_program(
    source: str, *arguments: object, folder: Optional[Path] = None, seconds: float = 60
) -> subprocess.CompletedProcess[str]:
    """Run a program with the package that is tested, where warnings are errors.

    Args:
        source: The program.
        *arguments: What it finds in `sys.argv`.
        folder: Where it works.
        seconds: When it must have ended.

    Returns:
        Its status, and what it wrote.
    """
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", textwrap.dedent(source), *map(str, arguments)],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(Path(nitro_dispatch.__file__).parent.parent)},
        capture_output=True,
        text=True,
        timeout=seconds,
        check=False,
    )
