from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from nitro_audit import Journal

pytestmark = pytest.mark.skipif(os.name == "nt", reason="signals are another matter there")


@contextmanager
def running(*arguments: str, **environment: str) -> Iterator[subprocess.Popen[str]]:
    """Run the command line in a process of its own, which is gone at the end in any case."""
    with subprocess.Popen(
        [sys.executable, "-m", "nitro_audit", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        encoding="utf-8",
        env={**os.environ, **environment},
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def test_follow_shows_new_entries_until_it_is_interrupted(path: Path) -> None:
    """What is appended later is shown too, and Ctrl-C ends it without a word."""
    with Journal(path) as journal:
        journal.append("event", "old")
        follow = ("tail", "--path", str(path), "-n", "1", "--follow", "--event", "event")
        with running(*follow) as process:
            assert process.stdout is not None
            assert process.stderr is not None
            assert process.stdout.readline().endswith(' event "old"\n')
            for text in ("new", "newer"):
                journal.append("other", None)
                journal.append("event", text)
                assert process.stdout.readline().endswith(f' event "{text}"\n')
            process.send_signal(signal.SIGINT)
            assert (process.stdout.read(), process.stderr.read()) == ("", "")
            assert process.wait() == -signal.SIGINT


def test_follow_can_begin_with_no_old_entry(path: Path) -> None:
    """With no lines wanted only what is appended later is shown."""
    shown = threading.Event()

    def keep_appending() -> None:
        # Nothing tells when the process has begun to follow.
        while not shown.wait(0.02):
            journal.append("event", "new")

    with Journal(path) as journal:
        journal.append("event", "old")
        writer = threading.Thread(target=keep_appending)
        with running("tail", "--path", str(path), "-n", "0", "--follow") as process:
            writer.start()
            assert process.stdout is not None
            line = process.stdout.readline()
            shown.set()
            writer.join()
    assert line.endswith(' event "new"\n')


def test_a_closed_pipe_ends_it_without_a_word(path: Path) -> None:
    """When the reader of the pipe has gone, as `head` does, there is no traceback."""
    with Journal(path) as journal:
        for _ in range(20):
            journal.append("event", "x" * 10_000)
    with running("tail", "--path", str(path), "-n", "20") as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == ""
        assert process.wait() == -signal.SIGPIPE


def test_a_terminal_without_the_letters_gets_escapes(path: Path) -> None:
    """Where the encoding lacks a letter it is escaped, and nothing fails."""
    with Journal(path) as journal:
        journal.append("event", "Zoë")
    with running("tail", "--path", str(path), PYTHONIOENCODING="ascii") as process:
        out, err = process.communicate()
    assert out.endswith('"Zo\\xeb"\n')
    assert err == ""


def test_its_exit_code_tells_of_a_failure(path: Path) -> None:
    """A journal that is not there is exit code 1 and one line of text."""
    with running("tail", "--path", str(path)) as process:
        _, err = process.communicate()
    assert process.returncode == 1
    assert len(err.splitlines()) == 1
