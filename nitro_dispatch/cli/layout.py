"""How the views are laid out: tables and lists that fold, states in colour, short paths."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple, Union

from rich import box
from rich.console import Console, ConsoleOptions, RenderResult
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from nitro_dispatch.cli.errors import printable

__all__ = [
    "ANY_WIDTH",
    "Part",
    "Parts",
    "duration",
    "facts",
    "section",
    "short_paths",
    "state",
    "table",
]

# A text is printed as it is, and the terminal breaks its lines; a table folds what is too wide.
Part = Union[str, Text, Table, "_Fitted"]

_STYLES: Final = {
    "blocked": "yellow",
    "failed": "bold red",
    "interrupted": "bold red",
    "registered": "green",
    "returned": "green",
    "stopped": "yellow",
    "timed out": "bold red",
    "unknown": "yellow",
}
_RIGHT: Final = ("", "took")
_NAMES: Final = ("name", "plugin")
ANY_WIDTH: Final = 1_000_000


class Parts(NamedTuple):
    """What stands in one line where there is room, and in one line each where there is not.

    Args:
        parts: The parts.
        separator: What stands between them in one line.
    """

    parts: Sequence[str]
    separator: str = ", "


Cell = Union[str, Text, Parts]


def table(columns: Sequence[str], rows: Sequence[Sequence[Cell]]) -> list[Part]:
    """Make a table; a column that has nothing in it is left out.

    Args:
        columns: The titles.
        rows: A cell for each column.

    Returns:
        The parts; none where there are no rows.
    """
    if not rows:
        return []
    filled = [place for place in range(len(columns)) if any(_is_filled(row[place]) for row in rows)]
    titles = [columns[place] for place in filled]
    return [_Fitted(titles, [[row[place] for place in filled] for row in rows])]


def _is_filled(cell: Cell) -> bool:
    return bool(cell.parts if isinstance(cell, Parts) else cell)


class _Fitted:
    """A table that sets the parts of its cells in lines of their own if it is too wide else."""

    def __init__(self, columns: Sequence[str], rows: Sequence[Sequence[Cell]]) -> None:
        self._columns = columns
        self._rows = rows

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        made = self._make(stacked=False)
        unlimited = options.update(max_width=ANY_WIDTH)
        if Measurement.get(console, unlimited, made).maximum > options.max_width:
            made = self._make(stacked=True)
        yield made

    def _make(self, *, stacked: bool) -> Table:
        made = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0), header_style="bold")
        for title in self._columns:
            made.add_column(
                title,
                justify="right" if title in _RIGHT else "left",
                style="cyan" if title in _NAMES else "",
                overflow="fold",
            )
        for row in self._rows:
            made.add_row(*(_laid_out(cell, stacked=stacked) for cell in row))
        return made


def _laid_out(cell: Cell, *, stacked: bool) -> Union[str, Text]:
    if isinstance(cell, Parts):
        return ("\n" if stacked else cell.separator).join(cell.parts)
    return cell


def section(title: str, style: str, rows: Iterable[Sequence[str]]) -> list[Part]:
    """Make a list beneath a title, and a blank line beneath that.

    Args:
        title: The title.
        style: How the title looks.
        rows: The cells of each row.

    Returns:
        The parts; none where there is nothing to list.
    """
    listed = list(rows)
    if not listed:
        return []
    grid = Table.grid(padding=(0, 2), pad_edge=False)
    for _ in listed[0]:
        grid.add_column(overflow="fold")
    for row in listed:
        grid.add_row(*row)
    return [Text(title, style=style), grid, Text()]


def facts(values: Iterable[tuple[str, Union[str, Text]]]) -> Table:
    """Make a list of facts, each with its label; one that is empty is left out."""
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="bold", no_wrap=True)
    grid.add_column(overflow="fold")
    for label, value in values:
        if str(value):
            grid.add_row(label, value)
    return grid


def state(text: str) -> Text:
    """Show the state of a plugin, or the outcome of a call."""
    return Text(printable(text), style=_STYLES.get(text, ""))


def duration(seconds: float) -> str:
    """Show how long something took.

    Example:
        >>> duration(0.0000123), duration(0.25), duration(12.5)
        ('0.012 ms', '250 ms', '12.5 s')
    """
    if seconds >= 1:
        return f"{seconds:.3g} s"
    milliseconds = seconds * 1000
    return f"{milliseconds:.3g} ms" if milliseconds >= 1 else f"{milliseconds:.3f} ms"


def short_paths(text: str) -> str:
    """Write the paths in a text as a person at this place would write them.

    Args:
        text: A path, or a sentence with paths.

    Returns:
        The text, with what is in the current folder named from there, and what is in the home
        folder with a tilde.

    Example:
        >>> short_paths(f"{os.path.join(os.getcwd(), 'plugins')}:3 and /plugins")
        'plugins:3 and /plugins'
    """
    for folder, sign in ((_current_folder(), ""), (os.path.expanduser("~"), f"~{os.sep}")):
        # The root has nothing before it that is worth leaving out.
        if len(folder) > 1:
            prefix = re.escape(os.path.join(folder, ""))
            text = sign.join(re.split(rf"(?<![\w.~/\\-]){prefix}", text))
    return text


def _current_folder() -> str:
    try:
        return os.getcwd()
    except OSError:
        return ""
