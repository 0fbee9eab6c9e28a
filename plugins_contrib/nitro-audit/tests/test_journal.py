from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import textwrap
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest

from nitro_audit import Entry, Journal, JournalError

Start = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def journal(path: Path) -> Iterator[Journal]:
    with Journal(path) as journal:
        yield journal


def age(path: Path, days: float, where: str = "1") -> None:
    """Make entries look as if they had been made earlier."""
    moment = datetime.now(timezone.utc) - timedelta(days=days)
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(
            f"UPDATE entries SET time = ? WHERE {where}",
            (moment.isoformat(timespec="microseconds"),),
        )


def numbers(entries: list[Entry]) -> list[int]:
    return [entry.number for entry in entries]


def test_an_entry_says_what_happened_when(journal: Journal) -> None:
    """An entry has its number, the time in UTC, the event and the data."""
    before = datetime.now(timezone.utc)
    number = journal.append("user.login", {"username": "Alice"})
    (entry,) = journal.tail()
    assert entry == Entry(number, entry.time, "user.login", {"username": "Alice"})
    assert before <= entry.time <= datetime.now(timezone.utc)
    assert entry.time.utcoffset() == timedelta(0)


def test_the_file_can_be_read_by_other_tools(journal: Journal, path: Path) -> None:
    """The table is plain: a number, the time as ISO text, the event, and the data as JSON."""
    journal.append("user.login", {"username": "Alice"})
    with closing(sqlite3.connect(path)) as connection:
        query = "SELECT number, time, event, json_extract(data, '$.username') FROM entries"
        ((number, time, event, username),) = connection.execute(query).fetchall()
    assert (number, event, username) == (1, "user.login", "Alice")
    assert len(time) == len("2026-03-01T12:30:00.000000+00:00")
    assert time.endswith("+00:00")


@pytest.mark.parametrize("data", [None, "text", {"none"}, object(), {1: b"\x00"}, ["\udc80"]])
def test_any_data_can_be_kept(journal: Journal, data: object) -> None:
    """No data are such that there would be no entry."""
    journal.append("anything", data)
    assert len(journal.tail()) == 1


def test_any_event_name_can_be_kept(journal: Journal) -> None:
    """Names with zeros, line breaks and what UTF-8 lacks are kept, the latter escaped."""
    for name in ("a\0b", "a\nb", "", "a..b", "a\udc80"):
        journal.append(name, None)
    assert [entry.event for entry in journal.tail()] == ["a\0b", "a\nb", "", "a..b", "a\\udc80"]


def test_secrets_are_not_in_the_file(path: Path) -> None:
    """The values of redacted keys are nowhere on the disk."""
    with Journal(path, redact=["password"]) as journal:
        journal.append("user.login", {"password": "hunter2"})
        assert journal.tail()[0].data == {"password": "<redacted>"}
        assert all(b"hunter2" not in file.read_bytes() for file in path.parent.iterdir())


def test_tail_gives_the_newest_in_order(journal: Journal) -> None:
    """The count limits how many are read, the newest are last, and None reads all."""
    for place in range(15):
        journal.append("event", place)
    assert [entry.data for entry in journal.tail(3)] == [12, 13, 14]
    assert len(journal.tail()) == 10
    assert len(journal.tail(None)) == journal.count() == 15
    assert journal.tail(0) == []


def test_a_negative_count_is_refused(journal: Journal) -> None:
    """Nobody can want fewer than no entries."""
    journal.append("event", None)
    with pytest.raises(ValueError, match="negative"):
        journal.tail(-1)


@pytest.mark.parametrize(
    ("pattern", "found"),
    [
        (None, [1, 2, 3, 4]),
        ("**", [1, 2, 3]),
        ("user.*", [1]),
        ("user.**", [1, 2]),
        ("db.save", [3]),
        ("nothing", []),
    ],
)
def test_tail_filters_by_event(journal: Journal, pattern: str, found: list[int]) -> None:
    """A pattern means what it means for hooks, and the count is of those that it matches."""
    for event in ("user.login", "user.login.failed", "db.save", "odd..name"):
        journal.append(event, None)
    assert numbers(journal.tail(event=pattern)) == found
    assert numbers(journal.tail(1, event=pattern)) == found[-1:]


def test_tail_goes_on_after_an_entry(journal: Journal) -> None:
    """What comes after an entry can be read, filtered or not."""
    for event in ("a", "b", "a", "b"):
        journal.append(event, None)
    assert numbers(journal.tail(None, after=2)) == [3, 4]
    assert numbers(journal.tail(None, after=2, event="a")) == [3]
    assert journal.tail(None, after=4) == []


def test_an_entry_that_somebody_broke_is_an_error(journal: Journal, path: Path) -> None:
    """Data that are no JSON any more are reported with the path."""
    journal.append("event", None)
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("UPDATE entries SET data = '{'")
    with pytest.raises(JournalError, match=r"journal\.db"):
        journal.tail()


def test_only_the_newest_rows_are_kept(path: Path) -> None:
    """There are never more rows than allowed, and numbers go on."""
    with Journal(path, max_rows=3) as journal:
        for place in range(10):
            journal.append("event", place)
            assert journal.count() == min(place + 1, 3)
        assert numbers(journal.tail()) == [8, 9, 10]


def test_rows_past_their_age_are_deleted_by_the_next(path: Path) -> None:
    """An old entry goes when a new one comes; a young one stays."""
    with Journal(path, max_age_days=2) as journal:
        for _ in range(3):
            journal.append("event", None)
        age(path, 2.01, "number = 2")
        age(path, 1.99, "number = 3")
        journal.append("event", None)
        assert numbers(journal.tail()) == [1, 3, 4]


def test_numbers_are_never_given_again(path: Path) -> None:
    """After all entries were deleted, the next number is still a new one."""
    with Journal(path, max_age_days=1) as journal:
        journal.append("event", None)
        age(path, 2)
        assert journal.prune() == 1
        assert journal.tail() == []
        assert journal.append("event", None) == 2


def test_prune_applies_both_limits_and_counts(journal: Journal, path: Path) -> None:
    """What is deleted by either limit is counted."""
    for _ in range(10):
        journal.append("event", None)
    age(path, 5, "number > 8")
    with Journal(path, max_rows=4, max_age_days=1) as limited:
        assert limited.prune() == 8
        assert numbers(limited.tail()) == [7, 8]
        assert limited.prune() == 0


def test_prune_without_limits_deletes_nothing(journal: Journal) -> None:
    """A journal without limits keeps all."""
    journal.append("event", None)
    assert journal.prune() == 0
    assert journal.count() == 1


def test_the_room_of_deleted_entries_can_be_given_back(path: Path) -> None:
    """Compacting makes the file smaller, and nothing that was deleted is left in it."""
    with Journal(path) as journal:
        for _ in range(50):
            journal.append("event", "to be forgotten" * 1_000)
    size = path.stat().st_size
    with Journal(path, max_rows=1) as journal:
        journal.append("event", "kept")
        journal.compact()
    assert path.stat().st_size < size / 10
    assert b"forgotten" not in path.read_bytes()


def test_a_journal_can_be_used_after_it_was_closed(journal: Journal) -> None:
    """Closing gives the file back, and the next entry opens it again."""
    journal.append("event", None)
    journal.close()
    journal.close()
    assert journal.append("event", None) == 2


def test_closing_leaves_one_file(path: Path) -> None:
    """After the last journal was closed, all is in the one file."""
    with Journal(path) as journal:
        journal.append("event", None)
    assert list(path.parent.iterdir()) == [path]


def test_the_path_is_the_users(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A tilde is the home, and a relative path stays what it was when the folder changes."""
    monkeypatch.chdir(tmp_path)
    relative = Journal("journal.db")
    monkeypatch.chdir(home)
    assert relative.path == tmp_path / "journal.db"
    assert Journal("~/journal.db").path == home / "journal.db"


@pytest.mark.parametrize("name", ["a b#c?d%20e.db", "jöurnal.db", ":memory:", "file:x.db"])
def test_odd_names_of_files_are_names_of_files(tmp_path: Path, name: str) -> None:
    """What SQLite could take for something else is the name of a file."""
    with Journal(tmp_path / name) as journal:
        journal.append("event", None)
        assert journal.count() == 1
        assert (tmp_path / name).is_file()


def test_options_are_checked(path: Path) -> None:
    """An option that cannot be used is refused before anything is created."""
    with pytest.raises(ValueError, match=r"max_rows must be .*; synchronous must be "):
        Journal(path, max_rows=0, synchronous="off")
    assert not path.parent.exists()


def test_a_journal_is_shown_with_its_path(path: Path) -> None:
    """The representation tells which file it is."""
    assert repr(Journal(path)) == f"Journal({str(path)!r})"


def test_threads_share_a_journal(journal: Journal) -> None:
    """Entries of many threads all arrive, each with a number of its own."""
    given: list[int] = []

    def write() -> None:
        given.extend(journal.append("event", None) for _ in range(50))

    threads = [threading.Thread(target=write) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(given) == numbers(journal.tail(None)) == list(range(1, 201))


def test_two_journals_of_one_process_share_a_file(journal: Journal, path: Path) -> None:
    """Closing one of two journals of a file takes nothing from the other."""
    with Journal(path) as other:
        journal.append("event", None)
        other.append("event", None)
    journal.append("event", None)
    assert journal.count() == 3


def test_data_may_use_the_journal_while_they_are_written(journal: Journal) -> None:
    """A representation that writes an entry of its own does not lock the journal up."""

    class Talkative:
        def __repr__(self) -> str:
            return f"entry {journal.append('inner', None)}"

    journal.append("outer", Talkative())
    assert [entry.data for entry in journal.tail()] == [None, "entry 1"]


@pytest.mark.skipif(os.name == "nt", reason="a process is killed in another way there")
def test_a_killed_process_loses_no_entry(path: Path, start: Start) -> None:
    """Each entry whose number a process had told before it was killed is in the journal."""
    script = """
        import sys
        from nitro_audit import Journal

        journal = Journal(sys.argv[1])
        while True:
            print(journal.append("event", "x" * 2_000), flush=True)
    """
    for _ in range(2):
        process = start("-c", textwrap.dedent(script), path)
        assert process.stdout is not None
        told = [int(process.stdout.readline()) for _ in range(700)]
        process.send_signal(signal.SIGKILL)
        told += [int(line) for line in process.stdout if line.endswith("\n")]
        assert process.wait() == -signal.SIGKILL
        with Journal(path) as journal:
            assert set(told) <= set(numbers(journal.tail(None)))
            # At most the one that was committed when the process was killed had not been told yet.
            assert journal.count() - told[-1] in (0, 1)
            journal.append("event", None)
        with closing(sqlite3.connect(path)) as connection:
            assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
