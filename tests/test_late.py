"""Modules that are imported when something of them is first used."""

from __future__ import annotations

import sys
import threading
from pathlib import Path

import pytest

from nitro_dispatch.late import Late


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Make a folder whose modules can be imported."""
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path


def test_the_first_use_imports(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """To name a module late imports nothing; to read an attribute of it does."""
    (folder / "late_one.py").write_text("answer = 42\n")
    monkeypatch.delitem(sys.modules, "late_one", raising=False)
    late = Late("late_one")
    assert "late_one" not in sys.modules
    assert late.answer == 42
    assert "late_one" in sys.modules


def test_a_module_in_a_package_is_named_in_full() -> None:
    """Of a dotted name the last module is meant, as it is at any time."""
    late = Late("importlib.machinery")
    assert late.ModuleSpec is sys.modules["importlib.machinery"].ModuleSpec


def test_what_is_missing_is_reported_as_by_an_import(folder: Path) -> None:
    """A module that is not there is an ImportError, an attribute that is not an AttributeError."""
    (folder / "late_two.py").write_text("")
    with pytest.raises(ModuleNotFoundError, match="late_none"):
        Late("late_none").answer  # noqa: B018
    with pytest.raises(AttributeError, match="answer"):
        Late("late_two").answer  # noqa: B018


def test_no_thread_sees_half_a_module(folder: Path) -> None:
    """A thread that comes while another one imports waits until the module is complete."""
    (folder / "late_three.py").write_text(
        "import late_gate\nlate_gate.begun.set()\nassert late_gate.go.wait(60)\nanswer = 42\n"
    )
    (folder / "late_gate.py").write_text(
        "import threading\nbegun = threading.Event()\ngo = threading.Event()\n"
    )
    gate, late = Late("late_gate"), Late("late_three")
    answers: list[int] = []
    threads = [threading.Thread(target=lambda: answers.append(late.answer)) for _ in range(2)]
    threads[0].start()
    assert gate.begun.wait(60)
    threads[1].start()
    gate.go.set()
    for thread in threads:
        thread.join(60)
    assert answers == [42, 42]
