"""Folders of plugin files for tests, and a manager that has loaded what is in them."""

from __future__ import annotations

import importlib
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Callable

import pytest

import nitro_dispatch
from nitro_dispatch import PluginManager

WriteModule = Callable[[str, str], Path]

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


def discovered_modules() -> set[str]:
    """Name the modules of plugin files that are imported."""
    return {name for name in sys.modules if name.startswith("nitro_dispatch._discovered.")}


@pytest.fixture
def modules_as_before(tmp_path: Path) -> Iterator[None]:
    """Forget afterwards what a test imports of plugin files, and of its own folder."""
    before = set(sys.modules)
    yield
    discovered = discovered_modules()
    for name in set(sys.modules) - before:
        file = str(getattr(sys.modules[name], "__file__", None))
        if name in discovered or file.startswith(str(tmp_path)):
            del sys.modules[name]
            package, _, child = name.rpartition(".")
            if package in sys.modules:
                vars(sys.modules[package]).pop(child, None)


@pytest.fixture
def folder(tmp_path: Path, modules_as_before: None) -> Iterator[Folder]:
    """Make a folder whose plugins are gone when the test is over."""
    made = Folder(tmp_path)
    yield made
    made.manager.unload_all()


@pytest.fixture
def write_module(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, modules_as_before: None
) -> WriteModule:
    """Write modules to a folder on `sys.path`, by path and source; after the test they are gone."""
    monkeypatch.syspath_prepend(tmp_path)

    def write(path: str, source: str) -> Path:
        file = tmp_path / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(textwrap.dedent(source))
        importlib.invalidate_caches()
        return file

    return write
