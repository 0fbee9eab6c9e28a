from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from nitro_audit import Journal, default_path
from nitro_audit.cli import main

Capture = pytest.CaptureFixture[str]


@pytest.fixture
def filled(path: Path) -> str:
    """Give the path of a journal with twelve entries, all made at one moment."""
    with Journal(path) as journal:
        for place in range(11):
            journal.append("user.login", {"place": place})
        journal.append("db.save", None)
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("UPDATE entries SET time = '2026-03-01T12:30:00.000000+00:00'")
    return str(path)


def test_tail_shows_the_newest_ten(filled: str, capsys: Capture) -> None:
    """Each line has the time, the event and the data; the newest is last."""
    assert main(["tail", "--path", filled]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 10
    assert lines[0] == '2026-03-01T12:30:00.000000+00:00 user.login {"place": 2}'
    assert lines[-1] == "2026-03-01T12:30:00.000000+00:00 db.save null"


@pytest.mark.parametrize(
    ("options", "count"),
    [
        (["--lines", "3"], 3),
        (["-n", "100"], 12),
        (["-n", "0"], 0),
        (["--event", "db.*"], 1),
        (["--event", "user.*", "-n", "2"], 2),
        (["--event", "other"], 0),
    ],
)
def test_tail_shows_what_is_asked_for(
    filled: str, options: list[str], count: int, capsys: Capture
) -> None:
    """The number of lines and the events can be chosen."""
    assert main(["tail", "--path", filled, *options]) == 0
    assert len(capsys.readouterr().out.splitlines()) == count


def test_tail_gives_json(filled: str, capsys: Capture) -> None:
    """With --json each line is an object with all that an entry has."""
    assert main(["tail", "--path", filled, "--json", "-n", "2"]) == 0
    first, second = map(json.loads, capsys.readouterr().out.splitlines())
    assert first == {
        "number": 11,
        "time": "2026-03-01T12:30:00+00:00",
        "event": "user.login",
        "data": {"place": 10},
    }
    assert second["data"] is None


def test_tail_cannot_move_the_cursor(path: Path, capsys: Capture) -> None:
    """Control characters and what cannot be written are escaped, letters are not."""
    with Journal(path) as journal:
        journal.append("evil\x1b[2J\nnext", "Zoë\x9b\udc80")
    assert main(["tail", "--path", str(path)]) == 0
    (line,) = capsys.readouterr().out.splitlines()
    assert line.endswith(r' evil\x1b[2J\nnext "Zoë\x9b\udc80"')


def test_json_is_plain_ascii(path: Path, capsys: Capture) -> None:
    """Lines of JSON come through any terminal and pipe."""
    with Journal(path) as journal:
        journal.append("event", "Zoë\x9b\udc80")
    assert main(["tail", "--path", str(path), "--json"]) == 0
    out = capsys.readouterr().out
    assert out.isascii()
    assert json.loads(out)["data"] == "Zoë\x9b\udc80"


@pytest.mark.parametrize("command", ["tail", "prune"])
def test_no_journal_is_an_error(path: Path, command: str, capsys: Capture) -> None:
    """Where there is no journal, the error names the path, and none is created."""
    assert main([command, "--path", str(path)]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(f"nitro_audit: journal {str(path)!r}: ")
    assert "there is no journal there yet: give the path that the plugin is configured with" in err
    assert len(err.splitlines()) == 1
    assert not path.parent.exists()


def test_the_default_path_is_used(home: Path, capsys: Capture) -> None:
    """Without --path it is the journal that the plugin uses without configuration."""
    with Journal(default_path()) as journal:
        journal.append("event", None)
    assert home in default_path().parents
    assert main(["tail"]) == 0
    assert " event null\n" in capsys.readouterr().out


def test_prune_deletes_and_shrinks(path: Path, capsys: Capture) -> None:
    """What is past the limits is deleted, and the file gives its room back."""
    with Journal(path) as journal:
        for _ in range(50):
            journal.append("event", "x" * 10_000)
    size = path.stat().st_size
    assert main(["prune", "--path", str(path), "--max-rows", "2", "--max-age-days", "1"]) == 0
    assert capsys.readouterr().out == "48 deleted, 2 kept\n"
    assert path.stat().st_size < size / 5


def test_limits_that_make_no_sense_are_an_error(filled: str, capsys: Capture) -> None:
    """A limit that cannot be used is explained, and nothing is deleted."""
    with pytest.raises(SystemExit) as caught:
        main(["prune", "--path", filled, "--max-rows", "0"])
    assert caught.value.code == 2
    assert "max_rows must be a whole number above 0" in capsys.readouterr().err
    assert Journal(filled).count() == 12


@pytest.mark.parametrize("command", ["tail", "prune"])
def test_a_folder_is_no_journal(tmp_path: Path, command: str, capsys: Capture) -> None:
    """A folder as the path is called one."""
    assert main([command, "--path", str(tmp_path)]) == 1
    error = capsys.readouterr().err
    assert f"journal {str(tmp_path)!r}: IsADirectoryError: it is a folder; give the path" in error


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["tail", "-n", "-1"], "give a whole number, 0 or above, not '-1'"),
        (["tail", "-n", "x"], "give a whole number, 0 or above, not 'x'"),
        (["tail", "--event", ""], "give the name of an event, or a pattern"),
        (["prune", "--max-rows", "x"], "max_rows must be a whole number above 0, or None, not 'x'"),
        (["prune", "--max-age-days", "nan"], "max_age_days must be a number above 0"),
    ],
)
def test_a_wrong_value_is_explained(arguments: list[str], text: str, capsys: Capture) -> None:
    """The error says what to give, and names nothing private."""
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert text in error
    assert " _" not in error


@pytest.mark.parametrize(
    "arguments",
    [[], ["head"], ["tail", "--lines", "-1"], ["tail", "--lines", "x"], ["prune", "-f"]],
)
def test_arguments_that_make_no_sense_are_explained(arguments: list[str], capsys: Capture) -> None:
    """Wrong usage ends with exit code 2 and the right usage."""
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2
    assert "usage: python -m nitro_audit" in capsys.readouterr().err
