"""The benchmark: what events and starts cost, by hand-written code and by other libraries.

It measures the `nitro_dispatch` that is installed.
"""

from __future__ import annotations

import argparse
import fnmatch
import sys
from collections.abc import Iterable
from pathlib import Path

import peers
import publishing
from results import Report, Result
from rows import ROWS
from running import measure


def main() -> int:
    """Run what the command line asks for, and return the status."""
    parser = _parser()
    options = parser.parse_args()
    if options.publish:
        if options.rows != "*" or options.rounds is not None:
            parser.error("--publish shows all rows and rounds: leave out --rows and --rounds")
        if options.read is not None and (lacking := publishing.lacking(options.read)):
            parser.error(f"--publish shows all rows and rounds, and some lack: {lacking}")
    if options.read is None:
        report = _measured(options)
    else:
        report = options.read
        _show(report.results, [result.name for result in report.results])
    if options.output is not None:
        publishing.write(report, options.output)
    if options.publish:
        publishing.publish(report)
    regressions = [result.name for result in report.results if result.is_regression]
    if options.check and regressions:
        print(f"over their limits by more than a tenth: {', '.join(regressions)}")
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python tests/benchmarks", description=__doc__)
    parser.add_argument(
        "--check",
        action="store_true",
        help="fail when a figure is over its limit by more than a tenth, and name those rows",
    )
    parser.add_argument(
        "--rows",
        default="*",
        metavar="PATTERN",
        help='the rows to measure, such as limit.1 or "start.*" (default: all)',
    )
    parser.add_argument(
        "--rounds",
        type=_rounds,
        metavar="N",
        help="so many rounds a row at most (default: as many as the row needs)",
    )
    parser.add_argument(
        "--output",
        type=Path,
        metavar="FOLDER",
        help="where to write results as JSON and a chart (default: nowhere)",
    )
    parser.add_argument("--publish", action="store_true", help="renew the documentation's page")
    parser.add_argument(
        "--read", type=_report, metavar="FILE", help="read results from JSON, measure nothing"
    )
    return parser


def _rounds(text: str) -> int:
    if not text.isdecimal() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"{text!r} is no number from 1 on")
    return int(text)


def _report(file: str) -> Report:
    try:
        return Report.read(Path(file))
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise argparse.ArgumentTypeError(f"{file} has no results: {error!r}") from error


def _measured(options: argparse.Namespace) -> Report:
    rows = [row for row in ROWS if fnmatch.fnmatchcase(row.name, options.rows)]
    if not rows:
        names = ", ".join(row.name for row in ROWS)
        sys.exit(f"no row is called {options.rows!r}: use one of {names}")
    measured = measure(rows, rounds=options.rounds)
    results = _show((Result.of(*each) for each in measured), [row.name for row in rows])
    return Report.of(results, ("nitro-dispatch", *peers.DISTRIBUTIONS))


def _show(results: Iterable[Result], names: Iterable[str]) -> list[Result]:
    """Print each result as soon as it is there, and give all of them."""
    width = max(map(len, names))
    print(Result.head(width), flush=True)
    shown = []
    for result in results:
        print(result.line(width), flush=True)
        shown.append(result)
    return shown


sys.exit(main())
