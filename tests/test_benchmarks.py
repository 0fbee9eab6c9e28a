"""The benchmark itself: its arithmetic and its program, but no figure of this machine."""

from __future__ import annotations

import dataclasses
import itertools
import re
import subprocess
import sys
from pathlib import Path
from typing import Final, Optional

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
    result = Result.of(ROW, [median])
    return Report("3.11.7", "a machine", {"nitro-dispatch": "2"}, "2026-01-01", (result,))


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
    assert run.stdout == f"{Result.head(len(result.name))}\n{result.line(0)}\n"


def test_the_table_names_the_unit() -> None:
    """A figure that is no ratio has its unit beside it."""
    bytes_row = dataclasses.replace(ROW, baseline="bytes", is_ratio=False)
    assert " 1.5 times " in Result.of(ROW, [1.5]).line(0)
    assert " 1.5 bytes " in Result.of(bytes_row, [1.5]).line(0)


def test_the_program_says_which_rows_there_are() -> None:
    """A pattern that matches no row is an error, which names the rows."""
    run = run_program("--rows", "despatch*")
    assert run.returncode == 1
    assert "dispatch.5" in run.stderr


def test_the_page_shows_what_was_measured() -> None:
    """The documentation's page and its charts agree with the files that the benchmark wrote."""
    reports = publishing.published()
    assert publishing.PAGE.read_text("utf-8") == publishing.page(reports)
    charts = {file.name: file.read_text("utf-8") for file in publishing.FOLDER.glob("*.svg")}
    assert charts == {publishing.chart_name(report): chart.draw(report) for report in reports}


def test_the_page_says_which_rows_miss_their_limits() -> None:
    """What misses its limit is listed with the reason that is known, by much before by little."""
    limits = [("limit.1", 1.05), ("group.row", 1.2), ("limit.5", 1.0), ("limit.9", 1.11)]
    results = [
        dataclasses.replace(Result.of(ROW, [median]), name=name, limit=1.0)
        for name, median in limits
    ]
    report = dataclasses.replace(made_up(1.0), results=tuple(results))
    shown = publishing.page([report])
    assert "Python 3.11: `group.row`, `limit.9`; by no more than a tenth `limit.1`\n" in shown
    assert "- `limit.*`: " in shown
    assert "- `scale.plugins_*`: " not in shown
    assert "- The others: " in shown


def test_the_page_says_that_no_row_misses_its_limit() -> None:
    """Where all is well nothing is listed."""
    assert "no row misses its" in publishing.page([made_up(1.0)])


@pytest.mark.parametrize("report", publishing.published(), ids=lambda report: report.python_series)
def test_every_row_was_measured(report: Report) -> None:
    """The documentation has a result for each row, with the limit and the words of today."""
    measured = [(each.name, each.what, each.baseline, each.limit) for each in report.results]
    expected = [(row.name, row.what, row.baseline, row.limit) for row in ROWS]
    assert set(measured) == set(expected)
    assert publishing.lacking(report) == ""


def test_the_chart_names_every_library_once() -> None:
    """Each library has its name at the end of its line, and no name is written over another."""
    drawn = chart.draw(publishing.published()[-1])
    names = re.findall(r'y="([\d.]+)"[^>]*>([^<]*): [\d.]+\u00d7', drawn)
    lines = chart.lines_of(publishing.published()[-1])
    assert sorted(name for _, name in names) == sorted(line.name for line in lines)
    places = sorted(float(y) for y, _ in names)
    gaps = [lower - upper for upper, lower in zip(places, places[1:])]
    assert min(gaps) >= chart.LINE_HEIGHT - 0.2


@pytest.mark.parametrize("option", [("--rows", "dispatch.5"), ("--rounds", 1)])
def test_a_part_is_not_measured_to_be_published(option: tuple[str, object]) -> None:
    """The documentation's page is not renewed from a run that leaves out rows or rounds."""
    run = run_program(*option, "--publish")
    assert run.returncode == 2
    assert "--publish shows all rows and rounds" in run.stderr


@pytest.mark.parametrize("figures", [None, 1])
def test_results_of_a_part_are_not_published(figures: Optional[int], tmp_path: Path) -> None:
    """Results that lack a row, or rounds of one, are refused before anything is written."""
    report = publishing.published()[-1]
    first, *others = report.results
    part = [] if figures is None else [dataclasses.replace(first, figures=figures)]
    dataclasses.replace(report, results=(*part, *others)).write(tmp_path / "part.json")
    output = tmp_path / "output"
    run = run_program("--read", tmp_path / "part.json", "--publish", "--output", output)
    assert run.returncode == 2
    assert f"some lack: {first.name}\n" in run.stderr
    assert not output.exists()
    assert publishing.published()[-1] == report


@pytest.mark.parametrize("content", [None, "", "[]", "{}", '{"results": [1]}'])
def test_a_file_without_results_is_an_error(content: Optional[str], tmp_path: Path) -> None:
    """What cannot be read as results is refused in a sentence that names the file."""
    file = tmp_path / "report.json"
    if content is not None:
        file.write_text(content)
    run = run_program("--read", file)
    assert run.returncode == 2
    assert f"{file} has no results" in run.stderr


@pytest.mark.parametrize("rounds", ["0", "-1", "few"])
def test_there_is_at_least_one_round(rounds: str) -> None:
    """A number of rounds that is none is refused."""
    run = run_program("--rounds", rounds)
    assert run.returncode == 2
    assert "--rounds" in run.stderr
