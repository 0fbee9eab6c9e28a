"""Locks that a child process finds free."""

from __future__ import annotations

import os
import threading
import time
import weakref
from typing import Final

__all__ = ["FORK_PATIENCE", "fork_safe_lock"]

FORK_PATIENCE: Final = 1.0
"""So many seconds a fork waits in all for locks that another thread holds."""


class _ForkSafeLocks:
    """All locks made by `fork_safe_lock`, which a fork takes before it copies the process."""

    def __init__(self) -> None:
        self._mutex = threading.RLock()
        self._locks: weakref.WeakSet[threading.RLock] = weakref.WeakSet()
        self._taken: list[threading.RLock] = []
        self._missed: list[threading.RLock] = []

    def make(self) -> threading.RLock:
        """Make a lock, not while another thread forks."""
        lock = threading.RLock()
        with self._mutex:
            self._locks.add(lock)
        return lock

    def take_all(self) -> None:
        """Take every lock, in whatever order the other threads take and release theirs."""
        self._mutex.acquire()
        deadline = time.monotonic() + FORK_PATIENCE
        waiting = list(self._locks)
        while waiting:
            lock = waiting.pop()
            patience = 0.0 if self._taken else max(0.0, deadline - time.monotonic())
            if lock.acquire(timeout=patience):
                self._taken.append(lock)
            elif self._taken:
                # Its holder may itself wait for a lock taken here: give all back and begin with it.
                waiting += [*self._taken, lock]
                self._release_taken()
            else:
                self._missed.append(lock)

    def release_all(self) -> None:
        """Release every lock, on either side of the fork.

        What the forking thread held before it still holds, in the child too, and releases there.
        """
        self._release_taken()
        self._missed.clear()
        self._mutex.release()

    def release_in_child(self) -> None:
        """Release every lock, also those whose holder did not let go in time and is gone now."""
        for lock in self._missed:
            # The method by which `threading` and `logging` free their own locks in a child.
            lock._at_fork_reinit()  # type: ignore[attr-defined]
        self.release_all()

    def _release_taken(self) -> None:
        while self._taken:
            self._taken.pop().release()


_fork_safe_locks: Final = _ForkSafeLocks()


def fork_safe_lock() -> threading.RLock:
    """Make a reentrant lock which a child process finds free, whichever thread held it.

    `os.fork` copies only the thread that calls it: a lock that another thread holds at that moment
    would stay locked in the child for ever, and what it guards half changed. Therefore a fork first
    takes all these locks, and releases them on both sides. It waits for their holders, but no
    longer than `FORK_PATIENCE` seconds, as a holder may in turn wait for the forking thread.

    Returns:
        A `threading.RLock`, as fast as any.

    Example:
        >>> lock = fork_safe_lock()
        >>> with lock, lock:
        ...     print("held twice")
        held twice
    """
    return _fork_safe_locks.make()


# Windows has no fork.
if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_fork_safe_locks.take_all,
        after_in_parent=_fork_safe_locks.release_all,
        after_in_child=_fork_safe_locks.release_in_child,
    )
