"""Programs for tests, each in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Callable, Optional

import pytest

import nitro_dispatch

RunPython = Callable[..., str]


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


@pytest.fixture
def run_python(tmp_path: Path) -> RunPython:
    """Run programs in processes of their own, which must end well, in time, and without a warning.

    A program is given as its source, with arguments, and works in the test's folder. What it prints
    is given back.
    """

    def run(source: str, *arguments: object, seconds: float = 60) -> str:
        done = run_program(source, *arguments, folder=tmp_path, seconds=seconds)
        assert (done.returncode, done.stderr) == (0, ""), done
        return done.stdout

    return run
