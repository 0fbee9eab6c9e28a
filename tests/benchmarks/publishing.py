"""The files that the benchmark writes: results, a chart, and the page in the documentation."""

from __future__ import annotations

import fnmatch
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

import chart
from peers import COUNTS
from results import Report, Result
from rows import ROWS

DOCS: Final = Path(__file__).resolve().parent.parent.parent / "docs"
PAGE: Final = DOCS / "benchmarks.md"
FOLDER: Final = DOCS / "benchmarks"

HEAD: Final = """\
# Benchmarks

What an event costs, and what a start costs. A figure is a ratio to a baseline that was measured
turn about with it, so that it means something on another machine too: 2.0 is twice as long as the
baseline. Both are measured in the same process, but imports and starts in a new interpreter each
time. Where a unit stands instead of a baseline, the figure is that of this machine; memory is not
timed and has no turns. Each figure is the median of rounds, in each of which the quickest turn
counts; the quartiles are in the files in [benchmarks](benchmarks). A figure in bold misses its
limit.

Each hook is a plain function with a code object of its own: it changes a dict in place and returns
it, or returns `data + 1` where a row speaks of a new object. "1,000 patterns" are 700 of the form
`name123.*`, 200 of the form `*.name123` and 100 with a star inside of two segments; none of them
matches. Listing is the search of the source for entry points, without any cache of folders. A start
is timed from the start of the interpreter until the event has been answered; the module of each
plugin keeps the processor busy for 5 ms when it is imported, and what a first start caches is
there.

In a clone, `tox -e bench` measures all that with the Python that tox runs on, in three minutes or
so, and `tox -e bench-py39` with that one. It prints a table, and writes the results and a chart to
`build/benchmarks`. `tox -e bench -- --rows limit.1` measures one row, and with `--rows "limit.*"`
all whose names begin so. `tox -e bench -- --check` fails when a figure is over its limit by more
than a tenth. How each is measured stands in `tests/benchmarks`, in a module for each subject. What
is below was written by `tox -e bench-py39,bench-py311,bench-py313 -- --publish`.

"""
LIMITS: Final = """\
## Limits

"""
MISSES: Final = """
A limit is a goal for a quiet machine. `--check` allows a tenth more, which may be chance. These
rows miss their limits at present, and `--check` names those that do so by more than a tenth:

"""
WHY: Final = """
Why they do:

"""
NO_MISSES: Final = """
A limit is a goal for a quiet machine, and no row misses its own.
"""
# Why rows miss their limits, by a pattern of their names.
REASONS: Final = {
    "limit.*": "to wait with a timeout costs up to a sixth more than to wait without one, as the "
    "baseline does; the rest is what allows to abandon a call: a job with a copy of the context, "
    "and a worker that goes back to the list of idle ones.",
    "scale.plugins_*": "`graphlib` sorts names, and here each plugin is a class besides, which is "
    "read, checked, made and told of.",
}
PEERS: Final = """
## Other libraries

What it takes to call as many listeners, as a ratio to straight-line code that calls the same
functions. The libraries do different things for it. nitro-dispatch gives each hook the data that
the one before it returned, and goes on behind one that raises. pluggy, stevedore and blinker give a
list of all results. The signals of psygnal and the events of pyee have no results, and `emit_fast`
leaves out psygnal's checks and locks. stevedore's manager maps a function over extensions that were
made for it, and 1.2.0 is measured in an environment of its own. That the starts of pluggy and
stevedore take so much longer, in the table above, comes mostly from 97 modules of 5 ms that
nitro-dispatch does not import. The rows are called as `dispatch.5.pluggy` is, so that
`--rows "dispatch.*.pluggy"` measures those of pluggy.
"""
MACHINE: Final = """
## Where it was measured

"""


def write(report: Report, folder: Path) -> None:
    """Write the results of one run, and a chart of the libraries that are in them."""
    folder.mkdir(parents=True, exist_ok=True)
    report.write(folder / f"{report.python_series}.json")
    if chart.lines_of(report):
        (folder / chart_name(report)).write_text(chart.draw(report), encoding="utf-8")


def chart_name(report: Report) -> str:
    """Name the file of the chart."""
    return f"{report.python_series}.svg"


def lacking(report: Report) -> str:
    """Name the rows that a full run measures and this one did not, or in fewer rounds."""
    rounds = {result.name: result.figures for result in report.results}
    return ", ".join(row.name for row in ROWS if rounds.get(row.name, 0) < row.rounds)


def publish(report: Report) -> None:
    """Take the results of one run into the documentation."""
    write(report, FOLDER)
    PAGE.write_text(page(published()), encoding="utf-8")


def published() -> list[Report]:
    """Read the results in the documentation, those of the oldest Python first."""
    reports = [Report.read(file) for file in FOLDER.glob("*.json")]
    return sorted(reports, key=lambda report: [int(part) for part in report.python.split(".")])


def page(reports: Sequence[Report]) -> str:
    """Write the page."""
    comparisons = "".join(_comparison(report) for report in reversed(reports))
    machines = "".join(_machine(report) for report in reports)
    limits = LIMITS + _limits(reports) + _misses(reports)
    return HEAD + limits + PEERS + comparisons + MACHINE + machines


def _limits(reports: Sequence[Report]) -> str:
    rows = [
        [
            f"`{result.name}`",
            result.what,
            result.baseline if result.is_ratio else f"({result.baseline})",
            f"{result.limit:g}",
            *(_figure(report.result(result.name)) for report in reports),
        ]
        for result in reports[-1].results
        if result.limit is not None
    ]
    pythons = [report.python_series for report in reports]
    return _table(["row", "what", "against", "at most", *pythons], rows)


def _misses(reports: Sequence[Report]) -> str:
    """Say which rows miss their limits, and why."""
    misses = {
        report.python_series: [each for each in report.results if not each.meets_limit]
        for report in reports
    }
    names = {result.name for results in misses.values() for result in results}
    if not names:
        return NO_MISSES
    pythons = "".join(
        f"- Python {python}: {_listed(results)}\n" for python, results in misses.items() if results
    )
    explained = {pattern: set(fnmatch.filter(names, pattern)) for pattern in REASONS}
    reasons = [f"- `{name}`: {REASONS[name]}\n" for name, rows in explained.items() if rows]
    if names.difference(*explained.values()):
        reasons.append("- The others: see the table.\n")
    return MISSES + pythons + WHY + "".join(reasons)


def _listed(results: Sequence[Result]) -> str:
    """List the rows that miss their limits by much, then those by little."""
    by_much, by_little = (
        ", ".join(f"`{each.name}`" for each in results if each.is_regression is is_regression)
        for is_regression in (True, False)
    )
    return "; ".join(filter(None, [by_much, by_little and f"by no more than a tenth {by_little}"]))


def _figure(result: Result) -> str:
    text = _rounded(result.median)
    return text if result.meets_limit else f"**{text}**"


def _rounded(figure: float) -> str:
    decimals = 2 if figure < 10 else 1 if figure < 100 else 0
    return f"{figure:.{decimals}f}"


def _comparison(report: Report) -> str:
    head = ["library", *(f"{count} listener{'s' * (count > 1)}" for count in COUNTS)]
    rows = [[line.name, *map(_rounded, line.figures)] for line in chart.lines_of(report)]
    picture = f"![{chart.describe(report)}](benchmarks/{chart_name(report)})"
    return f"\n### Python {report.python_series}\n\n{_table(head, rows)}\n{picture}\n"


def _machine(report: Report) -> str:
    versions = ", ".join(f"{name} {version}" for name, version in report.versions.items())
    return f"- Python {report.python}, {report.date}: {report.machine}; {versions}\n"


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)
