"""The files that the benchmark writes: results, a chart, and the page in the documentation."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

import chart
from peers import COUNTS
from results import Report, Result

DOCS: Final = Path(__file__).resolve().parent.parent.parent / "docs"
PAGE: Final = DOCS / "benchmarks.md"
FOLDER: Final = DOCS / "benchmarks"
CHART: Final = "dispatch.svg"

HEAD: Final = """\
# Benchmarks

What an event costs, and what a start costs. Every figure is a ratio to a baseline that was measured
in the same process, turn about, so that it means something on another machine too: 2.0 is twice as
long as the baseline. Where a unit stands instead of a baseline, the figure is that of this machine.
It is the median of rounds, in each of which the quickest of several turns counts; the quartiles are
in the files in [benchmarks](benchmarks). A figure in bold misses its limit.

Each hook has a code object of its own. "1,000 patterns" are 700 of the form `name123.*`, 200 of the
form `*.name123` and 100 with a star inside of two segments; none of them matches. A start is timed
from the start of the interpreter until the event has been answered; the module of each plugin keeps
the processor busy for 5 ms when it is imported, and what a first start may cache is there.

In a clone, `tox -e bench` measures all that with the Python that tox runs on, in three minutes or
so, and `tox -e bench-py39` with that one. It prints a table, and writes the results and a chart to
`build/benchmarks`. `tox -e bench -- --check` fails when a figure is over its limit by more than a
tenth, and `tox -e bench -- --rows "dispatch*"` measures some rows. How each is measured stands in
`tests/benchmarks`, in a module for each subject. What is below was written by
`tox -e bench-py39,bench-py311,bench-py313 -- --publish`.

"""
LIMITS: Final = """\
## Limits

"""
PEERS: Final = """
## Other libraries

What it takes to call as many listeners, as a ratio to straight-line code that calls the same
functions. The libraries do different things for it. nitro-dispatch gives each hook the data that
the one before it returned, and goes on behind one that raises. pluggy, stevedore and blinker give a
list of all results. The signals of psygnal and the events of pyee have no results.

![The ratio by library and number of listeners](benchmarks/dispatch.svg)
"""
MACHINE: Final = """
## Where it was measured

"""


def write(report: Report, folder: Path) -> None:
    """Write the results of one run, and a chart of the libraries that are in them."""
    folder.mkdir(parents=True, exist_ok=True)
    report.write(folder / f"{report.python_series}.json")
    if chart.lines_of(report):
        (folder / CHART).write_text(chart.draw(report), encoding="utf-8")


def publish(report: Report) -> None:
    """Take the results of one run into the documentation."""
    write(report, FOLDER)
    reports = published()
    PAGE.write_text(page(reports), encoding="utf-8")
    # The chart is that of the newest Python.
    write(reports[-1], FOLDER)


def published() -> list[Report]:
    """Read the results in the documentation, those of the oldest Python first."""
    reports = [Report.read(file) for file in FOLDER.glob("*.json")]
    return sorted(reports, key=lambda report: [int(part) for part in report.python.split(".")])


def page(reports: Sequence[Report]) -> str:
    """Write the page."""
    comparisons = "".join(_comparison(report) for report in reversed(reports))
    machines = "".join(_machine(report) for report in reports)
    return HEAD + LIMITS + _limits(reports) + PEERS + comparisons + MACHINE + machines


def _limits(reports: Sequence[Report]) -> str:
    rows = [
        [
            result.what,
            result.baseline if result.is_ratio else f"({result.baseline})",
            f"{result.limit:g}",
            *(_figure(report.result(result.name)) for report in reports),
        ]
        for result in reports[-1].results
        if result.limit is not None
    ]
    return _table(["what", "against", "at most", *(each.python_series for each in reports)], rows)


def _figure(result: Result) -> str:
    text = _rounded(result.median)
    return text if result.meets_limit else f"**{text}**"


def _rounded(figure: float) -> str:
    decimals = 2 if figure < 10 else 1 if figure < 100 else 0
    return f"{figure:.{decimals}f}"


def _comparison(report: Report) -> str:
    head = ["library", *(f"{count} listener{'s' * (count > 1)}" for count in COUNTS)]
    rows = [[line.name, *map(_rounded, line.figures)] for line in chart.lines_of(report)]
    return f"\n### Python {report.python_series}\n\n{_table(head, rows)}"


def _machine(report: Report) -> str:
    versions = ", ".join(f"{name} {version}" for name, version in report.versions.items())
    return f"- Python {report.python}, {report.date}: {report.machine}; {versions}\n"


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)
