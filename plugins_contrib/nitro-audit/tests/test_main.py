from __future__ import annotations

import os
import signal
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from nitro_audit import Journal

TAIL = ("-m", "nitro_audit", "tail", "--path")

Start = Callable[..., subprocess.Popen[str]]

pytestmark = pytest.mark.skipif(os.name == "nt", reason="signals are another matter there")


def test_follow_shows_new_entries_until_it_is_interrupted(path: Path, start: Start) -> None:
    """What is appended later is shown too, and Ctrl-C ends it without a word."""
    with Journal(path) as journal:
        journal.append("event", "old")
        process = start(*TAIL, path, "-n", "1", "--follow", "--event", "event")
        assert process.stdout is not None
        assert process.stdout.readline().endswith(' event "old"\n')
        for text in ("new", "newer"):
            journal.append("other", None)
            journal.append("event", text)
            assert process.stdout.readline().endswith(f' event "{text}"\n')
        process.send_signal(signal.SIGINT)
        assert process.communicate() == ("", "")
        assert process.returncode == -signal.SIGINT


def test_follow_can_begin_with_no_old_entry(path: Path, start: Start) -> None:
    """With no lines wanted only what is appended later is shown."""
    shown = threading.Event()

    def keep_appending() -> None:
        # Nothing tells when the process has begun to follow.
        while not shown.wait(0.02):
            journal.append("event", "new")

    with Journal(path) as journal:
        journal.append("event", "old")
        writer = threading.Thread(target=keep_appending)
        process = start(*TAIL, path, "-n", "0", "--follow")
        writer.start()
        assert process.stdout is not None
        line = process.stdout.readline()
        shown.set()
        writer.join()
    assert line.endswith(' event "new"\n')


def test_a_closed_pipe_ends_it_without_a_word(path: Path, start: Start) -> None:
    """When the reader of the pipe has gone, as `head` does, there is no traceback."""
    with Journal(path) as journal:
        for _ in range(20):
            journal.append("event", "x" * 10_000)
    process = start(*TAIL, path, "-n", "20")
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.readline()
    process.stdout.close()
    assert process.stderr.read() == ""
    assert process.wait() == -signal.SIGPIPE


def test_a_terminal_without_the_letters_gets_escapes(path: Path, start: Start) -> None:
    """Where the encoding lacks a letter it is escaped, and nothing fails."""
    with Journal(path) as journal:
        journal.append("event", "Zoë")
    out, err = start(*TAIL, path, PYTHONIOENCODING="ascii").communicate()
    assert out.endswith('"Zo\\xeb"\n')
    assert err == ""


def test_its_exit_code_tells_of_a_failure(path: Path, start: Start) -> None:
    """A journal that is not there is exit code 1 and one line of text."""
    process = start(*TAIL, path)
    _, err = process.communicate()
    assert process.returncode == 1
    assert len(err.splitlines()) == 1
