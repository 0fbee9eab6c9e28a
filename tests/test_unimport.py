"""Taking an import back."""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import json.decoder
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any, Callable, NoReturn

import pytest

from nitro_dispatch.unimport import forget_modules, take_back

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
    forget_modules(["unimport_package.part"])
    assert imported() == ["unimport_package", "unimport_other"]
    assert not hasattr(package, "part")


def test_what_its_package_holds_under_the_name_may_be_something_else(package: ModuleType) -> None:
    """Something that has taken the place of a module in its package stays."""
    vars(package)["part"] = "something else"
    forget_modules(["unimport_package.part"])
    assert vars(package)["part"] == "something else"


def test_to_forget_what_is_not_there_changes_nothing() -> None:
    """A module that was never imported can be forgotten."""
    forget_modules(["unimport_package.none"])
    assert imported() == list(NAMES)


def test_modules_are_taken_back() -> None:
    """Modules that nobody uses are removed, those that are not there passed over."""
    take_back([*NAMES, "unimport_none"])
    assert imported() == []


def test_what_others_use_stays(package: ModuleType) -> None:
    """A module stays of which a module from outside holds something, with the package around it."""
    vars(sys.modules["unimport_other"])["thing"] = vars(package)["part"].Thing
    take_back(NAMES[:2])
    assert imported() == list(NAMES)
    assert vars(package)["part"] is sys.modules["unimport_package.part"]


def test_a_module_that_put_something_else_in_its_place_is_taken_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """An object that stands for a module is removed like one, as is what its class uses."""
    monkeypatch.setitem(sys.modules, "unimport_other", sys.modules["unimport_package"].part.Thing())
    take_back(NAMES)
    assert imported() == []


def test_a_module_that_still_waits_for_its_first_use_is_taken_back(tmp_path: Path) -> None:
    """One that was to be loaded late is removed without being loaded, and hides no other."""
    with loaded_late(tmp_path):
        take_back([*NAMES, "unimport_late"])
        assert "unimport_late" not in sys.modules
    assert imported() == []


def test_the_standard_library_stays() -> None:
    """What belongs to the standard library, or is built in, is not imported twice."""
    take_back(["json", "json.decoder", "sys"])
    assert sys.modules["json"] is json
    assert sys.modules["json.decoder"] is json.decoder
    assert "sys" in sys.modules


def test_the_library_s_own_modules_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    """The library's modules are not imported twice, as plugin files and others' modules are."""
    own = ["nitro_dispatch", "nitro_dispatch._discovered", "nitro_dispatch.late_part"]
    others = ["nitro_dispatch._discovered.a_plugin", "nitro_dispatch_extras"]
    for name in own + others:
        module = sys.modules.get(name) or module_at(name, "/srv/part.py")
        monkeypatch.setitem(sys.modules, name, module)
    take_back(own + others)
    assert [name for name in own + others if name in sys.modules] == own


def module_at(name: str, file: str) -> ModuleType:
    """Make a module that looks as if it came from a file."""
    module = ModuleType(name)
    module.__file__ = file
    return module


def rude(self: object, *arguments: object) -> NoReturn:
    """Stand for code that raises, as that of a settings object does before it is configured."""
    raise RuntimeError("not configured")


class RudeMeta(type):
    """The type of classes that raise whatever they are asked for."""

    __getattribute__ = rude


def rude_class() -> Any:
    """Make a class with instances that raise whatever they are asked for."""
    body = {"__class__": property(rude), "__getattribute__": rude, "__eq__": rude}
    return RudeMeta("Rude", (), body)


RudeModule = type("RudeModule", (ModuleType,), {"__dict__": property(rude), "__getattr__": rude})


@pytest.mark.parametrize(
    "make",
    [
        rude_class,
        lambda: object.__new__(rude_class()),
        lambda: RudeModule("rude"),
        lambda: type("Odd", (), {"__module__": []}),
    ],
    ids=["class", "instance", "module", "class of no module"],
)
def test_no_code_of_others_runs(
    make: Callable[[], object], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever other modules hold, or are, modules are taken back without running its code."""
    value = make()
    with monkeypatch.context() as patch:
        patch.setitem(vars(json), "thing", value)
        patch.setitem(sys.modules, "unimport_thing", value)
        take_back(NAMES)
    assert imported() == []


@contextlib.contextmanager
def loaded_late(folder: Path) -> Iterator[None]:
    """Have a module that waits for its first use, which would fail."""
    (folder / "unimport_late.py").write_text("raise RuntimeError('loaded')")
    spec = importlib.util.find_spec("unimport_late")
    assert spec is not None
    assert spec.loader is not None
    spec.loader = importlib.util.LazyLoader(spec.loader)
    module = sys.modules["unimport_late"] = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
        yield
    finally:
        sys.modules.pop("unimport_late", None)


def test_a_module_that_is_loaded_late_is_not_loaded(tmp_path: Path) -> None:
    """A module outside that waits for its first use still waits for it afterwards."""
    with loaded_late(tmp_path):
        take_back(NAMES)
    assert imported() == []
