"""Folders of plugin files for tests, and a manager that has loaded what is in them."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import nitro_dispatch
from nitro_dispatch import PluginManager

GREETER = """
from nitro_dispatch import PluginBase, hook

class Greeter(PluginBase):
    name = "greeter"

    @hook("greet")
    def greet(self, data):
        return [*data, "old"]
"""


def own_modules() -> dict[str, object]:
    """Show what is imported, but for what the library imports late, itself included."""
    installed = (sys.prefix, sys.base_prefix, str(Path(nitro_dispatch.__file__).parent))
    files = [(name, getattr(each, "__file__", None)) for name, each in sys.modules.items()]
    return {
        name: sys.modules[name] for name, file in files if file and not file.startswith(installed)
    }


class Folder:
    """A folder of plugin files, and a manager that has loaded them."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.manager = PluginManager()

    def write(self, name: str, source: str) -> Path:
        file = self.path / name
        file.parent.mkdir(exist_ok=True)
        file.write_text(source)
        return file

    def load(self, **sources: str) -> PluginManager:
        """Write a file for each source, discover and load all."""
        for name, source in sources.items():
            self.write(f"{name}_plugin.py", source)
        self.manager.discover_plugins(self.path)
        self.manager.load_all()
        return self.manager


def forget_plugin_files(before: set[str]) -> None:
    """Forget the modules of plugin files that were imported since only these modules were."""
    for name in set(sys.modules) - before:
        package, _, child = name.rpartition(".")
        if package.endswith("._discovered"):
            vars(sys.modules[package]).pop(child, None)
        if "._discovered." in name:
            del sys.modules[name]


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Folder]:
    """Make a folder whose plugins are gone when the test is over."""
    made = Folder(tmp_path)
    before = set(sys.modules)
    yield made
    made.manager.unload_all()
    forget_plugin_files(before)
