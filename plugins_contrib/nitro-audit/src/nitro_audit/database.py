"""The journal's file: opening it, sharing it with others, and saying what is wrong with it."""

from __future__ import annotations

import os
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Final, Optional
from weakref import WeakSet

from nitro_dispatch import NitroPluginError

__all__ = ["Database", "JournalError"]

# What marks a file as a journal: "naud" in ASCII, and the number of the form of its table.
_MARK: Final = (0x6E617564, 1)

_CREATE: Final = (
    """
    CREATE TABLE entries (
        number INTEGER PRIMARY KEY AUTOINCREMENT,
        time TEXT NOT NULL,
        event TEXT NOT NULL,
        data TEXT NOT NULL
    )
    """,
    "CREATE INDEX entries_by_time ON entries (time)",
    f"PRAGMA application_id = {_MARK[0]}",
    f"PRAGMA user_version = {_MARK[1]}",
)

_RETRY_SECONDS: Final = 0.005


class JournalError(NitroPluginError):
    """A journal cannot be read or written; `__cause__` is the reason.

    Args:
        message: The whole text. Without it the text names the file, the reason and what to do.
        path: The journal's file.
        cause: What the file system or SQLite said.

    Example:
        >>> print(JournalError(path="/x/journal.db", cause=sqlite3.DatabaseError("it is a song")))
        journal '/x/journal.db': it is a song; give another path, or move the file away
    """

    def __init__(
        self, message: str = "", *, path: str = "", cause: Optional[BaseException] = None
    ) -> None:
        super().__init__(message, cause=cause)
        self.path = path

    def _describe(self) -> str:
        return f"{self._because(f'journal {self.path!r}')}; {self._advice()}"

    def _advice(self) -> str:
        if isinstance(self.cause, FileNotFoundError):
            return "there is no journal there yet: give the path that the plugin is configured with"
        if isinstance(self.cause, IsADirectoryError):
            return "give the path of the file in it, or of a new one"
        if isinstance(self.cause, (OSError, sqlite3.OperationalError)):
            return "check the folder, its permissions and the space left, or give another path"
        return "give another path, or move the file away"


class Database:
    """Lends out connections to a journal's file, one user at a time.

    There is one connection for writing, which stays open. It is closed before the process forks,
    because SQLite forbids that a child uses it or as much as closes it; parent and child then open
    one each. It is also given up when the file is no longer the one that was opened.

    Args:
        path: The file, absolute.
        busy_timeout: How long to wait while other processes write, in seconds.
        synchronous: When SQLite waits for the disk: "normal" or "full".
    """

    def __init__(self, path: Path, *, busy_timeout: float, synchronous: str) -> None:
        self.path: Final = path
        self._busy_timeout = busy_timeout
        self._synchronous = synchronous
        self._lock = threading.RLock()
        self._connection: Optional[sqlite3.Connection] = None
        self._opened: Optional[os.stat_result] = None
        with _forking:
            _databases.add(self)

    @contextmanager
    def connected(self) -> Iterator[sqlite3.Connection]:
        """Lend the connection for writing, outside of any transaction; create what is missing.

        Raises:
            JournalError: If the file cannot be opened, or a statement fails.
        """
        with self._lock:
            try:
                yield self._current()
            except BaseException as error:
                # A connection that failed is not trusted any more. Closing it also rolls back.
                self._disconnect()
                if isinstance(error, (OSError, sqlite3.Error)):
                    raise JournalError(path=str(self.path), cause=error) from error
                raise

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """Lend the connection for one transaction, committed at the end.

        Raises:
            JournalError: If the transaction failed. Nothing of it is then in the file.
        """
        with self.connected() as connection:
            connection.execute("BEGIN IMMEDIATE")
            yield connection
            connection.execute("COMMIT")

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """Lend a connection that can only read and creates nothing.

        Raises:
            JournalError: If there is no such file, or it is no journal or damaged.
        """
        # The lock keeps the process from forking meanwhile.
        with self._lock:
            try:
                # If the file is missing, this says so more clearly than SQLite does.
                self.path.stat()
                _refuse_folder(self.path)
                uri = f"{self.path.as_uri()}?mode=ro"
                with closing(sqlite3.connect(uri, uri=True, timeout=self._busy_timeout)) as reader:
                    if not _is_journal(reader):
                        raise sqlite3.DatabaseError("the file is empty")
                    yield reader
            except (OSError, ValueError, sqlite3.Error) as error:
                raise JournalError(path=str(self.path), cause=error) from error

    def close(self) -> None:
        """Close the file until it is needed again."""
        with self._lock:
            self._disconnect()

    def suspend(self) -> None:
        """Close the file and let nobody open it until `resume`."""
        self._lock.acquire()
        self._disconnect()

    def resume(self) -> None:
        """Let the file be opened again."""
        self._lock.release()

    def _current(self) -> sqlite3.Connection:
        if self._connection is None or not self._is_in_place():
            self._disconnect()
            self._connection = self._open()
            self._opened = self.path.stat()
        return self._connection

    def _is_in_place(self) -> bool:
        """Tell whether the path still leads to the file that was opened.

        SQLite goes on to write into a file that was moved or deleted, where nobody would look.
        """
        try:
            return self._opened is not None and os.path.samestat(self._opened, self.path.stat())
        except FileNotFoundError:
            return False

    def _open(self) -> sqlite3.Connection:
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        is_new = not self.path.exists()
        _refuse_folder(self.path)
        # The lock replaces SQLite's own check that only one thread uses the connection.
        connection = sqlite3.connect(
            self.path, timeout=self._busy_timeout, isolation_level=None, check_same_thread=False
        )
        try:
            if is_new:
                # Events may hold what is nobody else's business.
                self.path.chmod(0o600)
            _create_if_empty(connection)
            _use_write_ahead_log(connection, self._busy_timeout)
            connection.execute(f"PRAGMA synchronous = {self._synchronous}")
        except BaseException:
            connection.close()
            raise
        return connection

    def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()


def _refuse_folder(path: Path) -> None:
    # SQLite says no more than that it cannot be opened.
    if path.is_dir():
        raise IsADirectoryError("it is a folder")


def _create_if_empty(connection: sqlite3.Connection) -> None:
    connection.execute("BEGIN IMMEDIATE")
    if _is_journal(connection):
        # Unlike a commit, even one of nothing, this does not have to wait for readers.
        connection.execute("ROLLBACK")
        return
    for statement in _CREATE:
        connection.execute(statement)
    connection.execute("COMMIT")


def _is_journal(connection: sqlite3.Connection) -> bool:
    """Tell a journal from an empty file; anything else is refused."""
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    (tables,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    if (application, version) == _MARK:
        return True
    if application or version or tables:
        raise sqlite3.DatabaseError("it is no journal that this version of nitro-audit can use")
    return False


def _use_write_ahead_log(connection: sqlite3.Connection, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not _is_write_ahead_log_on(connection):
        if time.monotonic() > deadline:
            raise sqlite3.OperationalError("its write-ahead log cannot be switched on")
        time.sleep(_RETRY_SECONDS)


def _is_write_ahead_log_on(connection: sqlite3.Connection) -> bool:
    """Switch the write-ahead log on, unless another process is in the way."""
    try:
        (mode,) = connection.execute("PRAGMA journal_mode = WAL").fetchone()
    except sqlite3.OperationalError as error:
        # Here SQLite does not wait for one that is about to write, whatever the busy timeout.
        if "locked" in str(error):
            return False
        raise
    return bool(mode == "wal")


_forking: Final = threading.RLock()
_databases: Final[WeakSet[Database]] = WeakSet()
_suspended: Final[list[Database]] = []


def _before_fork() -> None:
    _forking.acquire()
    for database in list(_databases):
        database.suspend()
        _suspended.append(database)


def _after_fork() -> None:
    while _suspended:
        _suspended.pop().resume()
    _forking.release()


# Where a process cannot fork, there is nothing to register with.
if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_before_fork, after_in_parent=_after_fork, after_in_child=_after_fork
    )
