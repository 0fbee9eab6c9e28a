from __future__ import annotations

import os
import sqlite3
import stat
import subprocess
import textwrap
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
from nitro_dispatch import NitroPluginError

from nitro_audit import database as database_module
from nitro_audit.database import Database, JournalError

Start = Callable[..., subprocess.Popen[str]]

INSERT = "INSERT INTO entries (time, event, data) VALUES ('', '', '')"


@pytest.fixture
def database(path: Path) -> Iterator[Database]:
    database = Database(path, busy_timeout=5, synchronous="normal")
    yield database
    database.close()


def insert(database: Database) -> None:
    with database.writing() as connection:
        connection.execute(INSERT)


def count(database: Database) -> object:
    with database.reading() as connection:
        return connection.execute("SELECT count(*) FROM entries").fetchone()[0]


def test_a_file_is_created_for_the_user_alone(database: Database, path: Path) -> None:
    """Neither the file, nor what SQLite puts beside it, nor its folder is open to others."""
    insert(database)
    assert len(list(path.parent.iterdir())) == 3
    for made in (path.parent, *path.parent.iterdir()):
        assert stat.S_IMODE(made.stat().st_mode) & 0o077 == 0 or os.name == "nt"


def test_permissions_that_somebody_gave_stay(database: Database, path: Path) -> None:
    """A file that is there already keeps its mode, so that a group can share it."""
    insert(database)
    database.close()
    path.chmod(0o640)
    insert(database)
    assert stat.S_IMODE(path.stat().st_mode) == 0o640 or os.name == "nt"


@pytest.mark.parametrize(("synchronous", "level"), [("normal", 1), ("full", 2)])
def test_the_log_is_written_ahead(path: Path, synchronous: str, level: int) -> None:
    """The file uses a write-ahead log, and the disk is waited for as often as was asked."""
    database = Database(path, busy_timeout=5, synchronous=synchronous)
    with closing(database), database.connected() as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        assert connection.execute("PRAGMA synchronous").fetchone() == (level,)


def test_a_failed_transaction_leaves_nothing(database: Database) -> None:
    """What a transaction wrote before it failed is gone, and the next one works."""
    with pytest.raises(RuntimeError), database.writing() as connection:
        connection.execute(INSERT)
        raise RuntimeError
    insert(database)
    assert count(database) == 1


def test_reading_creates_nothing(database: Database, path: Path) -> None:
    """Where there is no journal, reading says so with the path and leaves no file."""
    with pytest.raises(JournalError, match="No such file") as caught:
        count(database)
    assert str(path) in str(caught.value)
    assert isinstance(caught.value.__cause__, FileNotFoundError)
    assert not path.parent.exists()


def test_reading_cannot_write(database: Database) -> None:
    """The connection for reading refuses to write."""
    insert(database)
    with pytest.raises(JournalError, match="readonly"), database.reading() as connection:
        connection.execute(INSERT)
    assert count(database) == 1


def test_a_folder_that_cannot_be_is_an_error_with_the_path(tmp_path: Path) -> None:
    """Below a file there can be no folder; the error names the journal and says what to do."""
    (tmp_path / "file").touch()
    path = tmp_path / "file" / "folder" / "journal.db"
    database = Database(path, busy_timeout=5, synchronous="normal")
    with pytest.raises(JournalError, match="check the folder") as caught:
        insert(database)
    assert str(path) in str(caught.value)
    assert isinstance(caught.value, NitroPluginError)


def test_a_path_that_is_a_folder_is_an_error(tmp_path: Path) -> None:
    """A folder in the place of the file is reported in words."""
    database = Database(tmp_path, busy_timeout=5, synchronous="normal")
    with pytest.raises(JournalError, match="it is a folder; give the path"):
        insert(database)


@pytest.mark.parametrize("content", [b"not a database, but long enough to be one" * 99, b"short"])
def test_a_file_of_another_kind_is_refused(database: Database, path: Path, content: bytes) -> None:
    """A file that is no database is neither read nor changed."""
    path.parent.mkdir()
    path.write_bytes(content)
    for use in (insert, count):
        with pytest.raises(JournalError, match="not a database; give another path, or move"):
            use(database)
    assert path.read_bytes() == content


@pytest.mark.parametrize(
    "statement",
    ["CREATE TABLE entries (number)", "PRAGMA user_version = 2", "PRAGMA application_id = 5"],
)
def test_a_database_of_others_is_refused(database: Database, path: Path, statement: str) -> None:
    """A database that is no journal, or one of a later version, is neither read nor changed."""
    path.parent.mkdir()
    with closing(sqlite3.connect(path)) as other:
        other.execute(statement)
        other.commit()
    content = path.read_bytes()
    for use in (insert, count):
        with pytest.raises(JournalError, match="no journal that this version"):
            use(database)
    assert path.read_bytes() == content


def test_an_empty_file_becomes_a_journal(database: Database, path: Path) -> None:
    """A file that somebody has only touched is used."""
    path.parent.mkdir()
    path.touch()
    with pytest.raises(JournalError, match="the file is empty"):
        count(database)
    insert(database)
    assert count(database) == 1


def test_a_damaged_journal_is_an_error(database: Database, path: Path) -> None:
    """A journal whose pages were overwritten is reported, by writers and by readers."""
    insert(database)
    database.close()
    content = path.read_bytes()
    path.write_bytes(content[:100] + b"\xff" * (len(content) - 100))
    for use in (insert, count):
        with pytest.raises(JournalError, match="malformed; give another path, or move"):
            use(database)


@pytest.mark.parametrize("replace", [False, True])
def test_a_journal_that_is_moved_away_is_begun_anew(
    database: Database, path: Path, replace: bool
) -> None:
    """What is written after a move is where the path leads, and the old file is whole."""
    insert(database)
    insert(database)
    moved = path.with_name("old.db")
    for ending in ("", "-wal", "-shm"):
        path.with_name(path.name + ending).rename(moved.with_name(moved.name + ending))
    if replace:
        with closing(Database(path, busy_timeout=5, synchronous="normal")) as other:
            insert(other)
    insert(database)
    assert count(database) == 1 + replace
    assert count(Database(moved, busy_timeout=5, synchronous="normal")) == 2


def test_a_deleted_journal_is_begun_anew(database: Database, path: Path) -> None:
    """After the file alone was deleted, entries go into a new one at the same path."""
    insert(database)
    path.unlink()
    insert(database)
    assert count(database) == 1


def test_waiting_for_others_ends(path: Path) -> None:
    """Where another process does not let go, writing fails in time, and works later."""
    with closing(Database(path, busy_timeout=0.05, synchronous="normal")) as database:
        insert(database)
        with closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            with pytest.raises(JournalError, match="locked"):
                insert(database)
            assert count(database) == 1
        insert(database)
        assert count(database) == 2


def test_creating_waits_for_another_that_creates(
    database: Database, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another process that gets in between two steps of creating does not make it fail."""
    create, waited = database_module._create_if_empty, []

    def get_in_between(connection: sqlite3.Connection) -> None:
        create(connection)
        other.execute("BEGIN IMMEDIATE")

    def go_away(seconds: float) -> None:
        waited.append(seconds)
        other.execute("ROLLBACK")

    path.parent.mkdir()
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        monkeypatch.setattr(database_module, "_create_if_empty", get_in_between)
        monkeypatch.setattr(time, "sleep", go_away)
        insert(database)
    assert len(waited) == 1
    assert count(database) == 1


def test_a_log_that_cannot_be_switched_on_is_an_error(database: Database, path: Path) -> None:
    """A reader that never ends keeps a file from getting its log, which is an error in time."""
    with database.connected() as connection:
        connection.execute("PRAGMA journal_mode = DELETE")
    database.close()
    with closing(sqlite3.connect(path, isolation_level=None)) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT * FROM entries").fetchall()
        hasty = Database(path, busy_timeout=0.05, synchronous="normal")
        with pytest.raises(JournalError, match="write-ahead log cannot be switched on"):
            insert(hasty)


def test_processes_that_create_it_at_once_share_it(path: Path, start: Start) -> None:
    """Of several processes that find no journal, one creates it and all write into it."""
    script = """
        import sys
        from pathlib import Path
        from nitro_audit.database import Database

        database = Database(Path(sys.argv[1]), busy_timeout=30, synchronous="normal")
        print("ready", flush=True)
        sys.stdin.readline()
        for _ in range(20):
            with database.writing() as connection:
                connection.execute(sys.argv[2])
        database.close()
    """
    processes = [start("-c", textwrap.dedent(script), path, INSERT) for _ in range(4)]
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    for process in processes:
        assert process.communicate() == ("", "")
    assert count(Database(path, busy_timeout=5, synchronous="normal")) == 80


def test_a_fork_at_any_time_is_safe(path: Path, start: Start) -> None:
    """While other threads write, children write too and end in the normal way; no entry is lost."""
    script = """
        import os, signal, sys, threading
        from pathlib import Path
        from nitro_audit.database import Database

        database = Database(Path(sys.argv[1]), busy_timeout=30, synchronous="normal")
        parent, stop, written = os.getpid(), threading.Event(), [0, 0]

        def insert():
            with database.writing() as connection:
                connection.execute(sys.argv[2])

        def keep_writing(place):
            while not stop.is_set():
                insert()
                written[place] += 1

        insert()
        threads = [threading.Thread(target=keep_writing, args=[place]) for place in (0, 1)]
        for thread in threads:
            thread.start()
        children = []
        for _ in range(8):
            child = os.fork()
            if not child:
                # Should it hang, it ends, and the test fails.
                signal.alarm(30)
                for _ in range(5):
                    insert()
                sys.exit()
            children.append(child)
        ends = [os.waitpid(child, 0)[1] for child in children]
        stop.set()
        for thread in threads:
            thread.join()
        database.close()
        print(1 + sum(written) + 8 * 5, ends)
    """
    # Newer versions of Python warn of every fork beside threads.
    options = ("-W", "ignore::DeprecationWarning", "-c")
    output, errors = start(*options, textwrap.dedent(script), path, INSERT).communicate()
    assert errors == ""
    written, ends = output.split(" ", 1)
    assert ends == f"{[0] * 8}\n"
    database = Database(path, busy_timeout=5, synchronous="normal")
    assert count(database) == int(written)
    with database.reading() as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


def test_no_connection_is_carried_into_a_child(path: Path, start: Start) -> None:
    """After a fork neither process has the file open until it needs it."""
    script = """
        import os, sys
        from pathlib import Path
        from nitro_audit.database import Database

        database = Database(Path(sys.argv[1]), busy_timeout=5, synchronous="normal")
        with database.writing() as connection:
            connection.execute(sys.argv[2])
        is_child = not os.fork()
        folder = os.path.dirname(os.path.realpath(sys.argv[1]))
        links = (f"/proc/self/fd/{number}" for number in os.listdir("/proc/self/fd"))
        opened = [link for link in links if os.path.realpath(link).startswith(folder)]
        if is_child:
            os._exit(len(opened))
        print(os.wait()[1], opened)
    """
    process = start("-c", textwrap.dedent(script), path, INSERT)
    assert process.communicate() == ("0 []\n", "")


def test_a_full_disk_is_an_error_and_passes(path: Path, start: Start) -> None:
    """What cannot be written is reported with the path, and once there is room it goes on."""
    script = """
        import resource, sys
        from pathlib import Path
        from nitro_audit.database import Database, JournalError

        database = Database(Path(sys.argv[1]), busy_timeout=5, synchronous="normal")

        def insert(size):
            with database.writing() as connection:
                connection.execute(
                    "INSERT INTO entries (time, event, data) VALUES ('', '', ?)", ("x" * size,)
                )

        insert(10)
        _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, hard))
        try:
            insert(1_000_000)
        except JournalError as error:
            print(error)
        resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
        insert(1_000_000)
        database.close()
    """
    output, errors = start("-c", textwrap.dedent(script), path).communicate()
    assert errors == ""
    assert output.startswith(f"journal {str(path)!r}: ")
    assert output.endswith(
        "check the folder, its permissions and the space left, or give another path\n"
    )
    assert count(Database(path, busy_timeout=5, synchronous="normal")) == 2


def test_an_error_accepts_a_message_alone() -> None:
    """A journal error can be made like any exception of the framework."""
    assert str(JournalError("it is closed")) == "it is closed"
