"""Runs the rows: a process for each, and rounds in turns."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import subprocess
import sys
import tempfile
import venv
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final, Optional

from measuring import Row

WORKER: Final = Path(__file__).with_name("worker.py")


class Process:
    """The process in which a row is measured; a context manager, at whose end it ends.

    Args:
        row: The row.
        python: The command of the interpreter.
        folder: Where it makes its temporary files, which it leaves there.
    """

    def __init__(self, row: Row, python: Sequence[str], folder: str) -> None:
        self._name = row.name
        setup = (row.setup.__module__, row.setup.__name__, json.dumps(row.arguments))
        self._process = subprocess.Popen(
            [*python, str(WORKER), *setup],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "TMPDIR": folder},
        )
        self._read()

    def __enter__(self) -> Process:
        return self

    def __exit__(self, *_: object) -> None:
        # Its input ends, and so does it.
        with self._process:
            pass

    def do_round(self) -> float:
        """Let it do a round while nothing else runs, and return the figure."""
        assert self._process.stdin is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        return float(self._read())

    def _read(self) -> str:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"the process of {self._name} has ended; what it wrote is above")
        return line


def measure(
    rows: Iterable[Row], *, rounds: Optional[int] = None
) -> Iterator[tuple[Row, list[float]]]:
    """Measure rows, group by group.

    Args:
        rows: The rows.
        rounds: How many rounds each has at most.

    Yields:
        Each row with its figures.
    """
    groups: dict[str, list[Row]] = {}
    for row in rows:
        groups.setdefault(row.group, []).append(row)
    with tempfile.TemporaryDirectory() as folder:
        pythons = _environments((row.requirement for row in rows), Path(folder))
        for group in groups.values():
            yield from _measure_in_turns(group, pythons, folder, rounds)


def _measure_in_turns(
    rows: list[Row], pythons: Mapping[str, Sequence[str]], folder: str, rounds: Optional[int]
) -> Iterator[tuple[Row, list[float]]]:
    figures: dict[str, list[float]] = {row.name: [] for row in rows}
    with contextlib.ExitStack() as stack:
        waiting = [
            (row, stack.enter_context(Process(row, pythons[row.requirement], folder)))
            for row in rows
        ]
        for done in itertools.count():
            waiting = [
                (row, process)
                for row, process in waiting
                if done < (row.rounds if rounds is None else min(rounds, row.rounds))
            ]
            if not waiting:
                break
            for row, process in waiting:
                figures[row.name].append(process.do_round())
    for row in rows:
        yield row, figures[row.name]


def _environments(requirements: Iterable[str], folder: Path) -> dict[str, list[str]]:
    """Make a virtual environment for each requirement; give the interpreter's command of each."""
    pythons: dict[str, list[str]] = {}
    for requirement in dict.fromkeys(requirements):
        if not requirement:
            pythons[requirement] = [sys.executable]
            continue
        environment = folder / requirement
        venv.create(environment, symlinks=os.name != "nt", with_pip=True)
        python = str(environment / ("Scripts" if os.name == "nt" else "bin") / "python")
        command = [python, "-m", "pip", "install", "-q", "--disable-pip-version-check", requirement]
        subprocess.run(command, check=True)
        # Whatever PYTHONPATH adds must not hide what was installed.
        pythons[requirement] = [python, "-E"]
    return pythons
