"""The benchmark itself: its arithmetic and its program, but no figure of this machine."""

from __future__ import annotations

import dataclasses
import itertools
import re
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

import chart
import publishing
from measuring import TURN, Row, enough, turn_about
from results import Report, Result
from rows import ROWS

PROGRAM: Final = Path(__file__).with_name("benchmarks")
ROW: Final = Row("group.row", "something", "something else", lambda: lambda: 1.0, limit=2.0)


def run_program(*arguments: object) -> subprocess.CompletedProcess[str]:
    """Run the benchmark's program."""
    command = [sys.executable, str(PROGRAM), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True)


def made_up(median: float) -> Report:
    """Make the report of a run that never was."""
    return Report("3.11.7", "a machine", {}, "2026-01-01", (Result.of(ROW, [median]),))


def test_a_figure_is_the_time_of_one_by_the_time_of_the_other() -> None:
    """The ratio is that of single calls, however many of either fill a turn."""
    one_round = turn_about(lambda calls: calls * 0.003, lambda calls: calls * 0.0001, turns=4)
    assert one_round() == pytest.approx(30)


def test_the_quickest_turn_counts() -> None:
    """What else the machine does in the turns of one does not change the figure."""
    disturbances = itertools.cycle([7.0, 1.0, 5.0])
    one_round = turn_about(
        lambda calls: calls * next(disturbances), lambda calls: calls * 0.5, turns=3
    )
    assert one_round() == pytest.approx(2)


def test_a_turn_is_long_enough() -> None:
    """What is quick is done as often as a turn needs to be measured."""
    assert enough(lambda calls: calls * TURN) == 1
    assert enough(lambda calls: calls * TURN / 100) == 128


def test_the_two_take_turns() -> None:
    """The baseline has a turn after each of the subject."""
    calls: list[str] = []

    def timed(name: str, count: int) -> float:
        calls.append(name)
        return count * TURN

    one_round = turn_about(
        lambda count: timed("subject", count), lambda count: timed("baseline", count), turns=2
    )
    calls.clear()
    one_round()
    assert calls == ["subject", "baseline"] * 2


def test_a_result_is_a_median_with_its_quartiles() -> None:
    """A few figures far off change neither the median nor the spread."""
    result = Result.of(ROW, [1.0, 2.0, 3.0, 4.0, 1000.0])
    assert (result.lower, result.median, result.upper, result.figures) == (2.0, 3.0, 4.0, 5)


def test_a_single_figure_has_no_spread() -> None:
    """A row that is measured once has a result too."""
    result = Result.of(ROW, [5.0])
    assert (result.lower, result.median, result.upper) == (5.0, 5.0, 5.0)


@pytest.mark.parametrize(
    ("median", "meets_limit", "is_regression"),
    [(2.0, True, False), (2.1, False, False), (2.2, False, False), (2.21, False, True)],
)
def test_a_tenth_over_the_limit_may_be_chance(
    median: float, meets_limit: bool, is_regression: bool
) -> None:
    """Over its limit a row misses it; over it by more than a tenth it is a regression."""
    result = Result.of(ROW, [median])
    assert (result.meets_limit, result.is_regression) == (meets_limit, is_regression)
    assert ("MISSED" in result.line(0)) is not meets_limit


def test_a_row_without_a_limit_misses_none() -> None:
    """The figures of other libraries are shown, and nothing is asked of them."""
    result = Result.of(dataclasses.replace(ROW, limit=None), [1000.0])
    assert result.meets_limit
    assert not result.is_regression


def test_a_report_is_read_as_it_was_written(tmp_path: Path) -> None:
    """JSON keeps all of a report."""
    report = made_up(1.5)
    report.write(tmp_path / "report.json")
    assert Report.read(tmp_path / "report.json") == report


@pytest.mark.parametrize(("median", "status"), [(2.1, 0), (2.3, 1)])
def test_the_check_fails_for_a_regression(median: float, status: int, tmp_path: Path) -> None:
    """With `--check` the program fails for a figure that is over its limit by more than a tenth."""
    made_up(median).write(tmp_path / "report.json")
    assert run_program("--read", tmp_path / "report.json").returncode == 0
    checked = run_program("--read", tmp_path / "report.json", "--check")
    assert (checked.returncode, checked.stderr) == (status, "")
    assert ("by more than a tenth: group.row" in checked.stdout) is bool(status)


def test_the_program_measures_a_row(tmp_path: Path) -> None:
    """The program measures the rows asked for, shows them and writes them."""
    run = run_program("--rows", "dispatch.5", "--rounds", 1, "--output", tmp_path)
    assert run.returncode == 0, run.stderr
    (file,) = tmp_path.glob("*.json")
    report = Report.read(file)
    assert file.stem == "{}.{}".format(*sys.version_info)
    (result,) = report.results
    assert result.name == "dispatch.5"
    assert 0 < result.lower <= result.median <= result.upper
    assert run.stdout == result.line(0) + "\n"


def test_the_program_says_which_rows_there_are() -> None:
    """A pattern that matches no row is an error, which names the rows."""
    run = run_program("--rows", "despatch*")
    assert run.returncode == 1
    assert "dispatch.5" in run.stderr


def test_the_page_shows_what_was_measured() -> None:
    """The documentation's page and its chart agree with the files that the benchmark wrote."""
    reports = publishing.published()
    assert publishing.PAGE.read_text("utf-8") == publishing.page(reports)
    assert (publishing.FOLDER / publishing.CHART).read_text("utf-8") == chart.draw(reports[-1])


@pytest.mark.parametrize("report", publishing.published(), ids=lambda report: report.python_series)
def test_every_row_was_measured(report: Report) -> None:
    """The documentation has a result for each row, with the limit and the words of today."""
    measured = [(each.name, each.what, each.baseline, each.limit) for each in report.results]
    expected = [(row.name, row.what, row.baseline, row.limit) for row in ROWS]
    assert set(measured) == set(expected)


def test_the_chart_names_every_library_once() -> None:
    """Each library has its name at the end of its line, and no name is written over another."""
    drawn = chart.draw(publishing.published()[-1])
    names = re.findall(r'y="([\d.]+)"[^>]*>([^<]*): [\d.]+\u00d7', drawn)
    lines = chart.lines_of(publishing.published()[-1])
    assert sorted(name for _, name in names) == sorted(line.name for line in lines)
    places = sorted(float(y) for y, _ in names)
    gaps = [lower - upper for upper, lower in zip(places, places[1:])]
    assert min(gaps) >= chart.LINE_HEIGHT - 0.2


def test_a_page_of_some_rows_is_not_published() -> None:
    """The documentation's page is not renewed from a run that left out rows."""
    run = run_program("--rows", "dispatch.5", "--publish")
    assert run.returncode == 2
    assert "--publish shows all rows" in run.stderr
