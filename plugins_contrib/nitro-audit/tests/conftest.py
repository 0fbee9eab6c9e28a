"""What all tests need."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import settings

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
    for variable in ("XDG_STATE_HOME", "PYTHONUNBUFFERED"):
        monkeypatch.delenv(variable, raising=False)
    return folder


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Give a path for a journal, in a folder that is not there yet."""
    return tmp_path / "folder" / "journal.db"


@pytest.fixture
def start() -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Give a function that starts Python in a process, which hangs a minute at most."""
    processes: list[subprocess.Popen[str]] = []

    def start(*arguments: object, **environment: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, *map(str, arguments)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            encoding="utf-8",
            env={**os.environ, **environment},
        )
        processes.append(process)
        return process

    def kill() -> None:
        for process in processes:
            process.kill()

    timer = threading.Timer(60, kill)
    timer.start()
    yield start
    timer.cancel()
    timer.join()
    kill()
    for process in processes:
        with process:
            """Close its streams and wait for its end."""
