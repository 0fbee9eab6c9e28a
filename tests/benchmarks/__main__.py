"""The benchmark: what events and starts cost, by hand-written code and by other libraries.

It measures the `nitro_dispatch` that is installed.
"""

from __future__ import annotations

import argparse
import fnmatch
import sys
from pathlib import Path

import peers
import publishing
from results import Report, Result, table
from rows import ROWS
from running import measure


def main() -> int:
    """Run what the command line asks for, and return the status."""
    options = _parser().parse_args()
    report = _measured(options) if options.read is None else Report.read(options.read)
    print(table(report.results))
    if options.output is not None:
        options.output.mkdir(parents=True, exist_ok=True)
        report.write(options.output / f"{report.python_series}.json")
    if options.publish:
        publishing.publish(report)
    regressions = [result.name for result in report.results if result.is_regression]
    if options.check and regressions:
        print(f"over their limits by more than a tenth: {', '.join(regressions)}")
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python tests/benchmarks", description=__doc__)
    parser.add_argument("--check", action="store_true", help="fail when a figure is over its limit")
    parser.add_argument("--rows", default="*", metavar="PATTERN", help="the rows to measure: dis*")
    parser.add_argument("--rounds", type=int, metavar="N", help="so many rounds a row at most")
    parser.add_argument("--output", type=Path, metavar="FOLDER", help="where to write the results")
    parser.add_argument("--publish", action="store_true", help="renew the documentation's page")
    parser.add_argument("--read", type=Path, metavar="FILE", help="read results, measure nothing")
    return parser


def _measured(options: argparse.Namespace) -> Report:
    rows = [row for row in ROWS if fnmatch.fnmatchcase(row.name, options.rows)]
    if not rows:
        names = ", ".join(row.name for row in ROWS)
        sys.exit(f"no row is called {options.rows!r}: use one of {names}")
    results = [Result.of(row, figures) for row, figures in measure(rows, rounds=options.rounds)]
    return Report.of(results, ("nitro-dispatch", *peers.DISTRIBUTIONS))


sys.exit(main())
