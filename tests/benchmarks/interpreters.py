"""New interpreters, for what can only be measured once in each."""

from __future__ import annotations

import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Sequence

from measuring import Timed


def timed_inside(statement: str, *, before: str = "") -> Timed:
    """Time a statement in a new interpreter, by that interpreter's own clock.

    The interpreter is a bare one: its `site`, which would run what an environment has in `.pth`
    files, stays out. In those of virtualenv that imports `typing` and more before Python 3.10.

    Args:
        statement: The statement.
        before: What is done before the clock starts.
    """
    source = (
        f"import sys; sys.path.append({sysconfig.get_path('purelib')!r})\n"
        f"{before}\n"
        "from time import perf_counter\n"
        "started = perf_counter()\n"
        f"{statement}\n"
        "print(perf_counter() - started)\n"
    )
    command = [sys.executable, "-S", "-c", source]
    return lambda calls: sum(float(output_of(command)) for _ in range(calls))


def output_of(command: Sequence[str]) -> str:
    """Run a command where no folder of sources hides what is installed; give what it prints."""
    with tempfile.TemporaryDirectory() as folder:
        return subprocess.run(
            command, cwd=folder, stdout=subprocess.PIPE, text=True, check=True
        ).stdout
