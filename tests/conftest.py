"""What all tests need."""

from __future__ import annotations

import importlib
import logging
import os
import signal
import textwrap
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Callable

import pytest
from hypothesis import settings

from firing import fire as fire  # Fixtures for all.
from firing import registry as registry
from nitro_dispatch import PluginBase
from plugin_files import folder as folder
from plugin_files import modules_as_before as modules_as_before
from programs import run_program

# How long one example takes depends on what else the machine does: it proves nothing.
settings.register_profile("nitro_dispatch", deadline=None)
settings.load_profile("nitro_dispatch")

# What tests write must not be found again, and not in the cache of who runs them. Processes that a
# test starts inherit it.
os.environ["NITRO_DISPATCH_CACHE"] = "off"


@pytest.fixture
def make_plugin() -> Callable[..., type[PluginBase]]:
    """Make plugin classes: of a name, what they need, and further attributes of the class."""

    def make(name: object, *needs: str, **attributes: object) -> type[PluginBase]:
        body = {"name": name, "dependencies": list(needs), **attributes}
        return type("Made", (PluginBase,), body)

    return make


@pytest.fixture
def quiet(caplog: pytest.LogCaptureFixture) -> None:
    """Log nothing: the handler of the tests keeps every record, and what errors in it know."""
    caplog.set_level(logging.CRITICAL + 1, "nitro_dispatch")


@pytest.fixture
def run_python(tmp_path: Path) -> Callable[..., str]:
    """Run programs in processes of their own, which must end well, in time, and without a warning.

    A program is given as its source, with arguments, and works in the test's folder. What it prints
    is given back.
    """

    def run(source: str, *arguments: object, seconds: float = 60) -> str:
        done = run_program(source, *arguments, folder=tmp_path, seconds=seconds)
        assert (done.returncode, done.stderr) == (0, ""), done.stdout
        return done.stdout

    return run


@pytest.fixture
def alarm() -> Iterator[None]:
    """Fail where a call of the system waits for ever, as the opening of a pipe may."""

    def fail(*arguments: object) -> None:
        pytest.fail("it waits for ever")

    before = signal.signal(signal.SIGALRM, fail)
    signal.alarm(20)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


@pytest.fixture(scope="module")
def close_archives() -> Iterator[Callable[[], None]]:
    """Close the zip files that were opened so far; what is left is closed after the module.

    The standard library holds those on a path that it has searched for distributions in reference
    cycles. When they are collected, in any later test, the file in one may be the first to go, and
    warns that it was not closed.
    """
    opened: list[zipfile.ZipFile] = []
    initialize: Callable[..., None] = zipfile.ZipFile.__init__

    def remember(archive: zipfile.ZipFile, *arguments: Any, **named: Any) -> None:
        initialize(archive, *arguments, **named)
        opened.append(archive)

    def close() -> None:
        while opened:
            opened.pop().close()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(zipfile.ZipFile, "__init__", remember)
        yield close
        close()


@pytest.fixture
def write_module(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, modules_as_before: None
) -> Callable[[str, str], Path]:
    """Write modules to a folder on `sys.path`, by path and source; after the test they are gone."""
    monkeypatch.syspath_prepend(tmp_path)

    def write(path: str, source: str) -> Path:
        file = tmp_path / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(textwrap.dedent(source))
        importlib.invalidate_caches()
        return file

    return write
