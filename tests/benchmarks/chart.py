"""The chart of what a dispatch costs, by library and number of listeners, as SVG."""

from __future__ import annotations

import math
from html import escape
from typing import Final, NamedTuple

from peers import COUNTS, PEERS, row_name
from results import Report

WIDTH: Final = 860
HEIGHT: Final = 520
# Where the lines are drawn; the names stand to the right of them.
LEFT: Final = 70
RIGHT: Final = 620
TOP: Final = 70
BOTTOM: Final = 450
# The axis is logarithmic: equal steps are equal factors.
TICKS: Final = (1, 2, 5, 10, 20, 50)
# The least distance between two names.
LINE_HEIGHT: Final = 17
OWN_COLOR: Final = "#c0392b"
COLORS: Final = ("#2471a3", "#117a65", "#7d3c98", "#b7950b", "#5d6d7e", "#a04000", "#1b2631")


class Line(NamedTuple):
    """What one library takes.

    Args:
        name: The library.
        color: Its color.
        figures: Its figure for each number of listeners.
    """

    name: str
    color: str
    figures: list[float]


def lines_of(report: Report) -> list[Line]:
    """List what each library takes that was measured: this one first."""
    medians = {result.name: result.median for result in report.results}
    own = f"nitro-dispatch {report.versions['nitro-dispatch']}"
    names = {own: [f"dispatch.{count}" for count in COUNTS]}
    names.update({peer: [row_name(peer, count) for count in COUNTS] for peer in PEERS})
    return [
        Line(library, color, [medians[row] for row in rows])
        for (library, rows), color in zip(names.items(), (OWN_COLOR, *COLORS))
        if medians.keys() >= set(rows)
    ]


def draw(report: Report) -> str:
    """Draw the chart.

    Args:
        report: The results to show.

    Returns:
        The content of an SVG file.
    """
    lines = lines_of(report)
    top = next(tick for tick in TICKS if tick >= max(max(line.figures) for line in lines))
    parts = [
        _text(LEFT, 28, f"What an event costs on Python {report.python}: lower is better", size=18),
        _text(
            LEFT,
            50,
            "How many times as long as hand-written straight-line code, on a logarithmic scale; "
            "beside the names for 100 listeners",
        ),
        *(_grid(tick, top) for tick in TICKS if tick <= top),
        *(
            _text(_x(place), BOTTOM + 22, str(count), "middle")
            for place, count in enumerate(COUNTS)
        ),
        _text((LEFT + RIGHT) / 2, BOTTOM + 46, "listeners", "middle"),
        # The last is drawn over the others.
        *(_curve(line, top) for line in reversed(lines)),
        *_names(lines, top),
    ]
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" '
        'font-family="Helvetica, Arial, sans-serif" role="img" aria-labelledby="title desc">\n'
        '<title id="title">What an event costs</title>\n'
        f'<desc id="desc">{escape(describe(report))}</desc>\n'
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>\n'
        + "\n".join(parts)
        + "\n</svg>\n"
    )


def describe(report: Report) -> str:
    """Say in words what the chart shows."""
    figures = ", ".join(
        f"{line.name} {line.figures[0]:.2f} and {line.figures[-1]:.2f}" for line in lines_of(report)
    )
    return (
        "How many times as long as straight-line code an event takes on Python "
        f"{report.python_series}, with {COUNTS[0]} listener and with {COUNTS[-1]}, "
        f"lower is better: {figures}"
    )


def _x(place: int) -> float:
    """Place a number of listeners on the axis."""
    return LEFT + (RIGHT - LEFT) * (place + 0.5) / len(COUNTS)


def _y(figure: float, top: float) -> float:
    """Place a figure on the logarithmic axis."""
    return BOTTOM - (BOTTOM - TOP) * math.log(max(figure, 1)) / math.log(top)


def _text(
    x: float, y: float, text: str, anchor: str = "start", *, size: int = 13, color: str = "#333"
) -> str:
    return (
        f'<text x="{x:g}" y="{y:.1f}" font-size="{size}" text-anchor="{anchor}" fill="{color}">'
        f"{escape(text)}</text>"
    )


def _grid(tick: int, top: float) -> str:
    y = _y(tick, top)
    line = f'<line x1="{LEFT}" x2="{RIGHT}" y1="{y:.1f}" y2="{y:.1f}" stroke="#ddd"/>'
    return line + _text(LEFT - 10, y + 4, f"{tick}\u00d7", "end")


def _curve(line: Line, top: float) -> str:
    points = [(_x(place), _y(figure, top)) for place, figure in enumerate(line.figures)]
    width = 4 if line.color == OWN_COLOR else 2
    path = " ".join(f"{x:g},{y:.1f}" for x, y in points)
    dots = "".join(f'<circle cx="{x:g}" cy="{y:.1f}" r="{width}"/>' for x, y in points)
    return (
        f'<g fill="{line.color}"><polyline points="{path}" fill="none" stroke="{line.color}" '
        f'stroke-width="{width}"/>{dots}</g>'
    )


def _names(lines: list[Line], top: float) -> list[str]:
    """Write the names at the ends of the lines, the lowest first, none over another."""
    names = []
    limit = math.inf
    for line in sorted(lines, key=lambda line: line.figures[-1]):
        y = min(_y(line.figures[-1], top), limit)
        limit = y - LINE_HEIGHT
        text = f"{line.name}: {line.figures[-1]:.2f}\u00d7"
        names.append(_text(_x(len(COUNTS) - 1) + 14, y + 4, text, color=line.color))
    return names
