"""What was measured: a median with its spread for each row, where and with what."""

from __future__ import annotations

import datetime
import importlib.metadata
import json
import os
import platform
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, Optional

from measuring import Row

# A figure over its limit by no more than this share of it may be chance.
TOLERANCE: Final = 0.1


@dataclass(frozen=True)
class Result:
    """What was measured of one row.

    Args:
        name: The row's name.
        what: What was measured.
        baseline: What the figures are a ratio to, or their unit.
        is_ratio: Whether they are ratios.
        limit: How high the median may be.
        lower: The lower quartile.
        median: The median.
        upper: The upper quartile.
        figures: How many figures there are.
    """

    name: str
    what: str
    baseline: str
    is_ratio: bool
    limit: Optional[float]
    lower: float
    median: float
    upper: float
    figures: int

    @classmethod
    def of(cls, row: Row, figures: Sequence[float]) -> Result:
        """Sum up the figures of a row."""
        # A single figure is all its quartiles.
        several = [*figures, *figures] if len(figures) == 1 else figures
        lower, median, upper = (
            float(f"{quartile:.4g}")
            for quartile in statistics.quantiles(several, n=4, method="inclusive")
        )
        return cls(
            row.name,
            row.what,
            row.baseline,
            row.is_ratio,
            row.limit,
            lower,
            median,
            upper,
            len(figures),
        )

    @property
    def meets_limit(self) -> bool:
        """Whether the median is within the limit; a row without one always is."""
        return self.limit is None or self.median <= self.limit

    def line(self, width: int) -> str:
        """Write the result as a line for a terminal, with so much room for the name."""
        limit = "" if self.limit is None else f"at most {self.limit:g}"
        miss = "" if self.meets_limit else "MISSED"
        unit = "times" if self.is_ratio else self.baseline
        spread = f"{self.lower:.4g} - {self.upper:.4g}"
        return _line(width, self.name, f"{self.median:.4g}", unit, spread, f"{limit:13} {miss}")

    @staticmethod
    def head(width: int) -> str:
        """Write the line that stands above those of the results."""
        return _line(width, "row", "median", "unit", "quartiles", "limit")

    @property
    def is_regression(self) -> bool:
        """Whether the median is over the limit by more than chance explains."""
        return self.limit is not None and self.median > self.limit * (1 + TOLERANCE)


@dataclass(frozen=True)
class Report:
    """All results of one run.

    Args:
        python: The version of Python.
        machine: What it ran on.
        versions: The versions of the libraries.
        date: The day, as ISO 8601 has it.
        results: The results.
    """

    python: str
    machine: str
    versions: dict[str, str]
    date: str
    results: tuple[Result, ...]

    @classmethod
    def of(cls, results: Iterable[Result], distributions: Iterable[str]) -> Report:
        """Make the report of results that were measured here and now.

        Args:
            results: The results.
            distributions: The distributions whose versions matter.
        """
        return cls(
            platform.python_version(),
            f"{_processor()}, {os.cpu_count()} cores, {platform.system()}",
            {name: _version(name) for name in distributions},
            datetime.datetime.now(datetime.timezone.utc).date().isoformat(),
            tuple(results),
        )

    @classmethod
    def read(cls, file: Path) -> Report:
        """Read a report that was written."""
        values: dict[str, Any] = json.loads(file.read_text("utf-8"))
        results = tuple(Result(**result) for result in values.pop("results"))
        return cls(**values, results=results)

    def result(self, name: str) -> Result:
        """Give the result of the row with this name."""
        return next(result for result in self.results if result.name == name)

    @property
    def python_series(self) -> str:
        """The version of Python without its last number."""
        return self.python.rpartition(".")[0]

    def write(self, file: Path) -> None:
        """Write the report as JSON."""
        file.write_text(json.dumps(asdict(self), indent=1) + "\n", encoding="utf-8")


def _line(width: int, name: str, median: str, unit: str, spread: str, limit: str) -> str:
    return f"{name.ljust(width)}  {median:>8} {unit:5}  {spread:>19}  {limit}".rstrip()


def _version(distribution: str) -> str:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"


def _processor() -> str:
    """Name the processor's model, which `platform` leaves out on Linux."""
    information = Path("/proc/cpuinfo")
    if information.exists():
        for line in information.read_text("utf-8").splitlines():
            key, _, value = line.partition(":")
            if key.strip() == "model name":
                return value.strip()
    return platform.processor() or platform.machine()
