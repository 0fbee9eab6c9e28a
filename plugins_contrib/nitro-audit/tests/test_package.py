from __future__ import annotations

import os
import subprocess
import sys
import textwrap
import venv
from pathlib import Path
from zipfile import ZipFile

import pytest

import nitro_audit

PROJECT = Path(__file__).resolve().parent.parent
CORE = PROJECT.parent.parent

SCRIPT = """
    import sys
    from nitro_dispatch import PluginManager

    with PluginManager() as manager:
        print(manager.discover_entry_points(), manager.load_all())
        manager.trigger("user.login", {"username": "Alice"})
        print(manager.get_plugin("audit").journal.tail()[0].data)
"""


def run(*command: object) -> str:
    return subprocess.run(
        list(map(str, command)), stdout=subprocess.PIPE, text=True, check=True
    ).stdout


def test_all_public_names_exist() -> None:
    """Everything that the package says it has is there, in order."""
    assert sorted(nitro_audit.__all__) == nitro_audit.__all__
    assert all(hasattr(nitro_audit, name) for name in nitro_audit.__all__)


@pytest.mark.slow
def test_it_works_when_it_is_installed(tmp_path: Path, home: Path) -> None:
    """From its wheel, in a new environment, it is found, loaded and used without configuration."""
    wheels, environment = tmp_path / "wheels", tmp_path / "environment"
    pip = ("-m", "pip", "--quiet", "--disable-pip-version-check")
    run(sys.executable, *pip, "wheel", "--no-deps", "--wheel-dir", wheels, PROJECT, CORE)
    venv.create(environment, with_pip=True)
    python = environment / ("Scripts" if os.name == "nt" else "bin") / "python"
    run(python, *pip, "install", "--find-links", wheels, "nitro-audit")
    assert run(python, "-I", "-W", "error", "-c", textwrap.dedent(SCRIPT)) == (
        "['audit'] ['audit']\n{'username': 'Alice'}\n"
    )
    line = run(python, "-I", "-m", "nitro_audit", "tail")
    assert line.endswith(' user.login {"username": "Alice"}\n')
    assert list(home.rglob("journal.db"))


@pytest.mark.slow
def test_the_wheel_has_what_it_needs_and_no_more(tmp_path: Path) -> None:
    """The wheel holds the package with its types, the licence and the entry point."""
    run(sys.executable, "-m", "pip", "--quiet", "wheel", "--no-deps", "-w", tmp_path, PROJECT)
    (wheel,) = tmp_path.glob("*.whl")
    with ZipFile(wheel) as archive:
        names = archive.namelist()
        (entry_points,) = (name for name in names if name.endswith("/entry_points.txt"))
        assert b"audit = nitro_audit:AuditPlugin" in archive.read(entry_points)
    assert "nitro_audit/py.typed" in names
    assert any(name.endswith("/LICENSE") for name in names)
    assert {name.split("/")[0] for name in names} == {
        "nitro_audit",
        "nitro_audit-1.0.0.dist-info",
    }
