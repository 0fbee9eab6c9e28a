"""Rows: what it costs to list the plugins that are installed."""

from __future__ import annotations

import importlib
import importlib.metadata
import sys
import tempfile
from pathlib import Path
from typing import Any, Callable, Final

from measuring import Round, Row, clocked, turn_about
from nitro_dispatch.sources.entry_points import EntryPointSource

GROUP: Final = "nitro_dispatch.plugins"
DISTRIBUTIONS: Final = 500
PLUGINS: Final = 100
# As many have commands, and thus a file with entry points that are no plugins.
COMMANDS: Final = 100


def entry_points() -> Round:
    """Compare the source of entry points with the standard library's function."""
    folder = tempfile.mkdtemp()
    install(Path(folder))
    sys.path.insert(0, folder)
    assert len(EntryPointSource(GROUP).find()) == len(list_by_standard_library()) == PLUGINS
    return turn_about(
        clocked(lambda: without_caches(EntryPointSource(GROUP).find)),
        clocked(lambda: without_caches(list_by_standard_library)),
        turns=2,
    )


def without_caches(function: Callable[[], object]) -> Callable[[], object]:
    """Forget what both know of the path's folders: a program lists its plugins once."""
    importlib.invalidate_caches()
    if sys.version_info < (3, 13):
        # It does not reach these folders, and Python 3.9 remembers none.
        folders: Any = vars(importlib.metadata)["FastPath"]
        getattr(folders.__new__, "cache_clear", bool)()
    return function


def list_by_standard_library() -> Any:
    """List the entry points of the group by `importlib.metadata`."""
    found: Any = importlib.metadata.entry_points
    # Python 3.9 groups them, and has no argument.
    return found()[GROUP] if sys.version_info < (3, 10) else found(group=GROUP)


def install(folder: Path) -> None:
    """Write what installers leave of 500 distributions, 100 of which are plugins."""
    for number in range(DISTRIBUTIONS):
        name = f"distribution_{number}"
        info = folder / f"{name}-1.{number}.dist-info"
        info.mkdir()
        head = f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.{number}\n"
        (info / "METADATA").write_text(head + "Classifier: Topic :: Software Development\n" * 20)
        (info / "RECORD").write_text(f"{name}/__init__.py,,\n" * 20)
        (info / "WHEEL").write_text(
            "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        (info / "INSTALLER").write_text("pip\n")
        (folder / name).mkdir()
        (folder / name / "__init__.py").write_text("")
        if number < PLUGINS:
            (info / "entry_points.txt").write_text(f"[{GROUP}]\n{name} = {name}:Plugin\n")
        elif number < PLUGINS + COMMANDS:
            (info / "entry_points.txt").write_text(f"[console_scripts]\n{name} = {name}:main\n")


ROWS: Final = (
    Row(
        "list.entry_points",
        "listing 100 plugins among 500 distributions, by the source itself, no folder cached",
        "`importlib.metadata.entry_points(group=...)`",
        entry_points,
        (),
        0.3,
    ),
)
