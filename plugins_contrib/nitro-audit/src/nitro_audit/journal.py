"""The journal: one entry for each event, in an SQLite file that many processes may write to."""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Callable, Collection
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Final, Optional, Union

from nitro_audit.database import Database
from nitro_audit.encoder import encode, storable
from nitro_audit.matching import first_match
from nitro_audit.options import validate

__all__ = ["Entry", "Journal"]


@dataclass(frozen=True)
class Entry:
    """One row of a journal.

    Attributes:
        number: Grows from entry to entry and is never given again.
        time: When the entry was made, in UTC.
        event: The event's name.
        data: The event's data, as far as JSON has them.
    """

    number: int
    time: datetime
    event: str
    data: object


class Journal:
    """Keeps events in an SQLite file.

    An entry whose number `append` has returned is there whatever becomes of the process. Any number
    of threads and processes may use a file at once, also after a fork. The file is opened when it
    is first needed, also again after `close`; if it is moved away, the next entry begins a new one.

    Args:
        path: The file. It and its folder are created as needed, for the user's own eyes.
        max_rows: How many of the newest entries are kept; None keeps all.
        max_age_days: After how many days an entry is deleted; None keeps all.
        busy_timeout: How long to wait while other processes write, in seconds.
        synchronous: "normal", whose entries survive the process, or "full", whose entries also
            survive a power failure and each wait for the disk.
        redact: Keys, in any case, whose values are not written.

    Attributes:
        path: The file, absolute.

    Raises:
        ValueError: If any of that cannot be used; the text names all that is wrong.

    Example:
        >>> folder = getfixture("tmp_path")
        >>> with Journal(folder / "journal.db", max_rows=1000) as journal:
        ...     number = journal.append("user.login", {"username": "Alice"})
        ...     journal.tail(1)[0].data
        {'username': 'Alice'}
    """

    def __init__(
        self,
        path: Union[str, os.PathLike[str]],
        *,
        max_rows: Optional[int] = None,
        max_age_days: Optional[float] = None,
        busy_timeout: float = 5.0,
        synchronous: str = "normal",
        redact: Collection[str] = (),
    ) -> None:
        validate(
            path=path,
            max_rows=max_rows,
            max_age_days=max_age_days,
            busy_timeout=busy_timeout,
            synchronous=synchronous,
            redact=redact,
        )
        # Made absolute, because the application may change its working directory.
        self.path: Final = Path(os.path.abspath(Path(path).expanduser()))
        self._max_rows = max_rows
        self._max_age = None if max_age_days is None else timedelta(days=max_age_days)
        self._redact = tuple(redact)
        self._database = Database(self.path, busy_timeout=busy_timeout, synchronous=synchronous)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({str(self.path)!r})"

    def __enter__(self) -> Journal:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def count(self) -> int:
        """Count the entries.

        Returns:
            How many there are.

        Raises:
            JournalError: If there is no journal or it cannot be read.
        """
        with self._database.reading() as connection:
            (count,) = connection.execute("SELECT count(*) FROM entries").fetchone()
        return int(count)

    def append(self, event: str, data: object) -> int:
        """Add an entry, and delete those that are then past the limits.

        Args:
            event: The event's name.
            data: Anything; what JSON lacks is shown as text.

        Returns:
            The entry's number, once the entry is committed.

        Raises:
            JournalError: If the entry could not be written.
        """
        # The data is read before the lock is taken, because that may run the application's code.
        text = encode(data, redact=self._redact)
        with self._database.writing() as connection:
            cursor = connection.execute(
                "INSERT INTO entries (time, event, data) VALUES (?, ?, ?)",
                (_text_of(datetime.now(timezone.utc)), storable(event), text),
            )
            self._delete_old(connection)
        # It is None only where nothing was inserted.
        return cursor.lastrowid or 0

    def tail(
        self, count: Optional[int] = 10, *, event: Optional[str] = None, after: int = 0
    ) -> list[Entry]:
        """Read the newest entries.

        Args:
            count: How many at most; None reads all.
            event: The name or pattern of the events to read; None reads all.
            after: The number of an entry; only later ones are read.

        Returns:
            The entries, the newest last.

        Raises:
            JournalError: If there is no journal or it cannot be read.
            ValueError: If the count is negative.
        """
        if count is not None and count < 0:
            raise ValueError(f"the count of entries must not be negative, not {count!r}")
        with self._database.reading() as connection:
            connection.create_function("is_wanted", 1, _filter(event), deterministic=True)
            rows = connection.execute(
                "SELECT number, time, event, data FROM entries "
                "WHERE number > ? AND is_wanted(event) ORDER BY number DESC LIMIT ?",
                (after, -1 if count is None else count),
            )
            return [_entry(*row) for row in rows][::-1]

    def prune(self) -> int:
        """Delete the entries that are past the limits; create the journal if there is none.

        Returns:
            How many entries were deleted.

        Raises:
            JournalError: If the journal cannot be written.
        """
        with self._database.writing() as connection:
            return self._delete_old(connection)

    def compact(self) -> None:
        """Give the room of deleted entries back to the file system.

        Raises:
            JournalError: If the journal cannot be written.
        """
        with self._database.connected() as connection:
            connection.execute("VACUUM")

    def close(self) -> None:
        """Close the file until it is needed again."""
        self._database.close()

    def _delete_old(self, connection: sqlite3.Connection) -> int:
        deleted = 0
        if self._max_rows is not None:
            deleted += connection.execute(
                "DELETE FROM entries WHERE number <= (SELECT max(number) FROM entries) - ?",
                (self._max_rows,),
            ).rowcount
        if self._max_age is not None:
            deleted += connection.execute(
                "DELETE FROM entries WHERE time < ?",
                (_text_of(datetime.now(timezone.utc) - self._max_age),),
            ).rowcount
        return deleted


def _text_of(moment: datetime) -> str:
    # All the same length, so that the order of the texts is that of the moments.
    return moment.isoformat(timespec="microseconds")


def _entry(number: int, moment: str, event: str, data: str) -> Entry:
    return Entry(number, datetime.fromisoformat(moment), event, json.loads(data))


def _filter(event: Optional[str]) -> Callable[[str], bool]:
    if event is None:
        return lambda name: True
    find = first_match([event])
    return lambda name: find(name) is not None
