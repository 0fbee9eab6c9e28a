"""Threads for tests: many that begin at once, and places to hold one at."""

from __future__ import annotations

import os
import signal
import threading
import warnings
import weakref
from typing import Any, Callable, NoReturn

import pytest

THREADS = 8
PATIENCE = 30  # In seconds: who has not come by then waits for ever.

needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")


class Together:
    """Threads that begin at the same moment, and what came of them."""

    def __init__(self, *runs: Callable[[], object]) -> None:
        self.results: list[Any] = [None] * len(runs)
        self._barrier = threading.Barrier(len(runs))
        self._threads = [
            threading.Thread(target=self._run, args=(place, run), daemon=True)
            for place, run in enumerate(runs)
        ]
        for thread in self._threads:
            thread.start()

    def _run(self, place: int, run: Callable[[], object]) -> None:
        self._barrier.wait()
        try:
            self.results[place] = run()
        except BaseException as error:
            self.results[place] = error

    def join(self) -> list[Any]:
        """Wait for all, and give what each returned or raised."""
        for thread in self._threads:
            thread.join(PATIENCE)
            assert not thread.is_alive(), "a thread waits for ever"
        return self.results


_gates: weakref.WeakSet[Gate] = weakref.WeakSet()


class Gate:
    """A place in a plugin's code that a test can hold it at."""

    def __init__(self) -> None:
        self.reached = threading.Event()
        self.open = threading.Event()
        _gates.add(self)

    def __call__(self, *arguments: Any) -> None:
        self.reached.set()
        assert self.open.wait(PATIENCE)


def elsewhere(run: Callable[[], Any]) -> Any:
    """Run something in another thread, and give what it returned."""
    (result,) = Together(run).join()
    if isinstance(result, BaseException):
        raise result
    return result


def in_child(run: Callable[[], object]) -> str:
    """Run something in a forked child, and give the text of what it returned or raised."""
    reading, writing = os.pipe()
    with warnings.catch_warnings():
        # To fork while other threads run is what these tests are about.
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()
    if child == 0:
        _answer(run, writing)
    os.close(writing)
    with os.fdopen(reading) as pipe:
        answer = pipe.read()
    os.waitpid(child, 0)
    return answer


def _answer(run: Callable[[], object], pipe: int) -> NoReturn:
    signal.alarm(PATIENCE)
    for gate in _gates:
        # A thread that is gone may have been about to wait, and have held the lock of the event.
        gate.open = threading.Event()
    try:
        answer = str(run())
    except BaseException as error:
        answer = f"{type(error).__name__}: {error}"
    os.write(pipe, answer.encode())
    os._exit(0)
