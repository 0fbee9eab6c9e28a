"""What all tests need."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import settings

from nitro_audit import Journal

# How long one example takes depends on what else the machine does: it proves nothing.
settings.register_profile("nitro_audit", deadline=None)
settings.load_profile("nitro_audit")


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Keep each test, and the processes that it starts, out of the real home."""
    folder = tmp_path / "home"
    folder.mkdir()
    for variable in ("HOME", "USERPROFILE", "LOCALAPPDATA"):
        monkeypatch.setenv(variable, str(folder))
    monkeypatch.delenv("XDG_STATE_HOME", raising=False)
    return folder


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Give a path for a journal, in a folder that is not there yet."""
    return tmp_path / "folder" / "journal.db"


@pytest.fixture
def journal(path: Path) -> Journal:
    """Give an empty journal without limits; it is closed by whoever writes to it."""
    return Journal(path)
