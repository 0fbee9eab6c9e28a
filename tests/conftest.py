"""What all tests need."""

from __future__ import annotations

import gc
import logging
import os
import signal
import zipfile
from collections.abc import Iterator
from typing import Any, Callable

import pytest
from hypothesis import settings

# Fixtures for all.
from firing import fire as fire
from firing import registry as registry
from plugin_classes import make_plugin as make_plugin
from plugin_files import folder as folder
from plugin_files import modules_as_before as modules_as_before
from plugin_files import write_module as write_module
from programs import run_python as run_python

# How long one example takes depends on what else the machine does: it proves nothing.
settings.register_profile("nitro_dispatch", deadline=None)
settings.load_profile("nitro_dispatch")

# What tests write must not be found again, and not in the cache of who runs them. Processes that a
# test starts inherit it.
os.environ["NITRO_DISPATCH_CACHE"] = "off"

# What a shell runs in the background ignores it, and so would the processes that a test starts.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True, scope="module")
def old_objects_passed_over() -> None:
    """Let tests collect only garbage of their own: all the tests there are make many objects."""
    gc.collect()
    gc.freeze()


@pytest.fixture
def quiet(caplog: pytest.LogCaptureFixture) -> None:
    """Log nothing: the handler of the tests keeps every record, and what errors in it know."""
    caplog.set_level(logging.CRITICAL + 1, "nitro_dispatch")


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
