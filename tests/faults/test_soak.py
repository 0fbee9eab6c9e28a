"""A short soak run: what the long one shows is looked at, and nothing is wrong."""

from __future__ import annotations

import re
from pathlib import Path

from programs import RunPython

SOAK = Path(__file__).resolve().parent.parent / "soak" / "soak.py"


def test_nothing_is_lost_doubled_or_left_behind(run_python: RunPython) -> None:
    """Under load and constant change each hook is called once, and each failure is told once."""
    told = run_python(
        """
        import runpy, sys
        sys.argv.pop(0)
        runpy.run_path(sys.argv[0], run_name="__main__")
        """,
        *(SOAK, "--seconds", 2),
    )
    assert re.search(r"^dispatches +[1-9]", told, re.MULTILINE)
    assert re.search(r"^failures injected +[1-9]", told, re.MULTILINE)
