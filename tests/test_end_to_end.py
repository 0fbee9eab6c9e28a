"""From a plugin that pip installs to a dispatched event: real wheels, a real environment."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import venv
from pathlib import Path
from typing import Any

import pytest

PROJECT = Path(__file__).parents[1]

pytestmark = pytest.mark.slow

PYPROJECT = """
[build-system]
requires = ["hatchling"]
build-backend = "hatchling.build"

[project]
name = "{name}"
version = "{version}"
requires-python = ">=3.9"

[project.entry-points."nitro_dispatch.plugins"]
{entry_point}

[tool.hatch.build.targets.wheel]
packages = ["{package}"]
"""

STORE = """
import pathlib

from nitro_dispatch import PluginBase, hook

pathlib.Path("store-was-imported").touch()


class Store(PluginBase):
    name = "store"
    version = "1.4"

    def __init__(self):
        super().__init__()
        self.saved = []

    @hook("user.*", priority=10)
    def save(self, data, event):
        self.saved.append(event)
        return {**data, "saved": len(self.saved)}
"""

EDITABLE = """
from nitro_dispatch import PluginBase, hook


class Editable(PluginBase):
    name = "editable"
    dependencies = ["store>=1,<2"]

    @hook("user.login", priority=5)
    def edit(self, data):
        return {**data, "edited": "old"}
"""

LOCAL = """
from nitro_dispatch import PluginBase, hook


class Local(PluginBase):
    name = "local"
    dependencies = ["store>=1.2"]

    @hook("user.login", priority=100)
    def first(self, data):
        return {**data, "local": True}
"""

PROGRAM = """
import json, os, sys
from nitro_dispatch import PluginManager

with PluginManager(lazy="lazy" in sys.argv) as manager:
    found = manager.discover_entry_points() + manager.discover_plugins("plugins")
    planned = list(manager.plan().order)
    imported = os.path.exists("store-was-imported")
    loaded = manager.load_all()
    report = {
        "found": found,
        "planned": planned,
        "imported by the plan": imported,
        "loaded": loaded,
        "result": manager.trigger("user.login", {"username": "Alice"}),
        "why": [str(edge) for edge in manager.plan().why("local", "store")],
        "origins": [str(info.metadata.origin) for info in manager.describe()],
        "failures": [str(failure) for failure in manager.failures.values()],
    }
    source = os.path.join("editable-plugin", "editable_plugin.py")
    text = open(source).read()
    open(source, "w").write(text.replace('"old"', '"new"'))
    manager.reload("editable")
    report["reloaded"] = manager.trigger("user.login", {})["edited"]
    open(source, "w").write(text)
print(json.dumps(report))
"""


def distribution(folder: Path, name: str, version: str, source: str, class_name: str) -> Path:
    """Write the project of a plugin distribution."""
    package = name.replace("-", "_")
    project = folder / name
    project.mkdir()
    (project / f"{package}.py").write_text(source)
    entry_point = f'another-name = "{package}:{class_name}"'
    text = PYPROJECT.format(name=name, version=version, entry_point=entry_point, package=package)
    # A distribution of one module has no package folder.
    text = text.replace(f'packages = ["{package}"]', f'include = ["{package}.py"]')
    (project / "pyproject.toml").write_text(text)
    return project


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make an environment with the library's wheel, a plugin's wheel and an editable plugin."""
    place = tmp_path_factory.mktemp("place")
    venv.create(place / "environment", with_pip=False)
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    store = distribution(place, "store-plugin", "1.4", STORE, "Store")
    editable = distribution(place, "editable-plugin", "0.1", EDITABLE, "Editable")
    wheels = place / "wheels"
    build = [*pip, "wheel", "--no-deps", "--no-build-isolation", "-w"]
    subprocess.run([*build, wheels, PROJECT, store], check=True)
    install = [*pip, "--python", python(place), "install"]
    subprocess.run([*install, *wheels.iterdir(), "--editable", editable], check=True)
    (place / "plugins").mkdir()
    (place / "plugins" / "local_plugin.py").write_text(LOCAL)
    (place / "program.py").write_text(PROGRAM)
    return place


def python(place: Path) -> str:
    """Name the Python of the environment."""
    folder = "Scripts" if os.name == "nt" else "bin"
    return str(place / "environment" / folder / "python")


def run(place: Path, *arguments: str) -> dict[str, Any]:
    """Run the program in the environment and read its report."""
    (place / "store-was-imported").unlink(missing_ok=True)
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        [python(place), "program.py", *arguments],
        cwd=place,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    report: dict[str, Any] = json.loads(done.stdout)
    return report


@pytest.mark.parametrize("mode", ["eager", "lazy"])
def test_installed_and_local_plugins_work_together(place: Path, mode: str) -> None:
    """Plugins of a wheel, of an editable install and of a folder are ordered, loaded and called."""
    report = run(place, mode)
    assert sorted(report["found"]) == ["editable", "local", "store"]
    assert report["planned"].index("store") < report["planned"].index("editable")
    assert report["loaded"] == report["planned"]
    assert report["result"] == {"username": "Alice", "local": True, "saved": 1, "edited": "old"}
    assert report["failures"] == []
    assert report["reloaded"] == "new"


def test_a_plan_of_an_installed_plugin_imports_nothing(place: Path) -> None:
    """With lazy=True the module of an installed plugin has not run when the plan is there."""
    assert run(place, "lazy")["imported by the plan"] is False
    assert run(place, "eager")["imported by the plan"] is True


def test_origins_name_distribution_and_version(place: Path) -> None:
    """Each plugin's origin tells where it is from: the distribution and version, or the file."""
    origins = sorted(run(place, "lazy")["origins"])
    assert origins[0].endswith(f"{Path('plugins') / 'local_plugin.py'}:5")
    assert origins[1:] == [
        "editable-plugin 0.1 (entry point another-name = editable_plugin:Editable)",
        "store-plugin 1.4 (entry point another-name = store_plugin:Store)",
    ]


def test_the_plan_tells_why(place: Path) -> None:
    """The chain from a local plugin to an installed one names who declared the requirement."""
    assert run(place, "lazy")["why"] == ["local needs store>=1.2"]
