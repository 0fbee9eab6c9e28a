"""The command line: reads a journal, follows it, and deletes what is old."""

from __future__ import annotations

import argparse
import io
import json
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, Optional

from nitro_audit.database import JournalError
from nitro_audit.journal import Entry, Journal
from nitro_audit.options import default_path, validate

__all__ = ["main"]

_POLL_SECONDS: Final = 0.25


def main(arguments: Optional[Sequence[str]] = None) -> int:
    """Run the command line.

    Args:
        arguments: What follows the program's name; None takes it from `sys.argv`.

    Returns:
        The exit code: 0, or 1 if the journal cannot be used.

    Raises:
        SystemExit: If the arguments make no sense, or after the help.
    """
    options = _parser().parse_args(arguments)
    if isinstance(sys.stdout, io.TextIOWrapper):
        # An event in a language that the terminal lacks is no reason to fail.
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        if options.command == "tail":
            _tail(options)
        else:
            _prune(options)
    except (JournalError, ValueError) as error:
        sys.stderr.write(f"nitro_audit: {_printable(str(error))}\n")
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m nitro_audit", description="Read the journal of the audit plugin."
    )
    commands = parser.add_subparsers(dest="command", required=True)
    tail = commands.add_parser("tail", help="show the newest entries")
    tail.add_argument("-n", "--lines", type=_count, default=10, help="how many (default: 10)")
    tail.add_argument(
        "--event", type=_pattern, metavar="PATTERN", help="only events like this, as in 'user.*'"
    )
    tail.add_argument("--json", action="store_true", help="one JSON object a line")
    tail.add_argument("-f", "--follow", action="store_true", help="go on with new entries")
    prune = commands.add_parser("prune", help="delete old entries and shrink the file")
    prune.add_argument(
        "--max-rows", type=_limit("max_rows", int), metavar="N", help="keep this many"
    )
    prune.add_argument(
        "--max-age-days", type=_limit("max_age_days", float), metavar="D", help="keep the last days"
    )
    for command in (tail, prune):
        command.add_argument(
            "--path", type=Path, default=default_path(), help="the journal (default: %(default)s)"
        )
    return parser


def _count(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"give a whole number, 0 or above, not {text!r}")
    return int(text)


def _pattern(text: str) -> str:
    if not text:
        raise argparse.ArgumentTypeError("give the name of an event, or a pattern such as 'user.*'")
    return text


def _limit(name: str, read: Callable[[str], object]) -> Callable[[str], object]:
    """Make a function that reads a limit and tells what is wrong with it as a journal does."""

    def read_limit(text: str) -> object:
        try:
            value = read(text)
        except ValueError:
            value = text
        try:
            validate(**{name: value})
        except ValueError as error:
            raise argparse.ArgumentTypeError(str(error)) from error
        return value

    return read_limit


def _tail(options: argparse.Namespace) -> None:
    journal = Journal(options.path)
    # At least one is read, because the entries to follow are those after it.
    entries = journal.tail(max(options.lines, 1), event=options.event)
    _show(entries if options.lines else [], options.json)
    while options.follow:
        time.sleep(_POLL_SECONDS)
        last = entries[-1].number if entries else 0
        newer = journal.tail(None, event=options.event, after=last)
        _show(newer, options.json)
        entries = newer or entries


def _prune(options: argparse.Namespace) -> None:
    with Journal(
        options.path, max_rows=options.max_rows, max_age_days=options.max_age_days
    ) as journal:
        # Counting first: it fails where there is no journal, and pruning would create one.
        journal.count()
        deleted = journal.prune()
        journal.compact()
        sys.stdout.write(f"{deleted} deleted, {journal.count()} kept\n")


def _show(entries: Sequence[Entry], as_json: bool) -> None:
    for entry in entries:
        sys.stdout.write(f"{_json_line(entry) if as_json else _text_line(entry)}\n")
    sys.stdout.flush()


def _json_line(entry: Entry) -> str:
    return json.dumps(
        {
            "number": entry.number,
            "time": entry.time.isoformat(),
            "event": entry.event,
            "data": entry.data,
        }
    )


def _text_line(entry: Entry) -> str:
    data = json.dumps(entry.data, ensure_ascii=False)
    moment = entry.time.isoformat(timespec="microseconds")
    return f"{moment} {_printable(entry.event)} {_printable(data)}"


def _printable(text: str) -> str:
    """Escape what could move a terminal's cursor or cannot be written at all."""
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape").decode("ascii")
        for char in text
    )
