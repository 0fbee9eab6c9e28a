"""Taking an import back."""

from __future__ import annotations

import importlib
import json.decoder
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from nitro_dispatch.unimport import forget_module, take_back

NAMES = ("unimport_package", "unimport_package.part", "unimport_other")


@pytest.fixture(autouse=True)
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """Import a package with one module, and another module."""
    (tmp_path / "unimport_package").mkdir()
    (tmp_path / "unimport_package" / "__init__.py").write_text("")
    (tmp_path / "unimport_package" / "part.py").write_text("class Thing: ...\n")
    (tmp_path / "unimport_other.py").write_text("")
    monkeypatch.syspath_prepend(tmp_path)
    for name in NAMES:
        importlib.import_module(name)
    yield sys.modules["unimport_package"]
    for name in NAMES:
        sys.modules.pop(name, None)


def imported() -> list[str]:
    """List the modules of the test that are still there."""
    return [name for name in NAMES if name in sys.modules]


def test_a_forgotten_module_is_gone_from_its_package(package: ModuleType) -> None:
    """A module that is forgotten is not to be had from the package that it is in, either."""
    forget_module("unimport_package.part")
    assert imported() == ["unimport_package", "unimport_other"]
    assert not hasattr(package, "part")


def test_what_its_package_holds_under_the_name_may_be_something_else(package: ModuleType) -> None:
    """Something that has taken the place of a module in its package stays."""
    vars(package)["part"] = "something else"
    forget_module("unimport_package.part")
    assert vars(package)["part"] == "something else"


def test_to_forget_what_is_not_there_changes_nothing() -> None:
    """A module that was never imported can be forgotten."""
    forget_module("unimport_package.none")
    assert imported() == list(NAMES)


def test_modules_are_taken_back() -> None:
    """Modules that nobody uses are removed, those that are not there passed over."""
    take_back([*NAMES, "unimport_none"])
    assert imported() == []


def test_what_others_use_stays(package: ModuleType) -> None:
    """A module stays of which a module from outside holds something, with what it uses itself."""
    vars(sys.modules["unimport_other"])["thing"] = vars(package)["part"].Thing
    take_back(NAMES[:2])
    assert imported() == ["unimport_package.part", "unimport_other"]


def test_the_standard_library_stays() -> None:
    """What belongs to the standard library, or is built in, is not imported twice."""
    take_back(["json", "json.decoder", "sys"])
    assert sys.modules["json"] is json
    assert sys.modules["json.decoder"] is json.decoder
    assert "sys" in sys.modules
