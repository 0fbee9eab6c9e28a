from __future__ import annotations

import math
import sys
from pathlib import Path

import pytest

from nitro_audit import default_path
from nitro_audit.options import validate


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("path", "~/journal.db"),
        ("path", Path("journal.db")),
        ("events", ["**"]),
        ("events", []),
        ("max_rows", None),
        ("max_rows", 1),
        ("max_rows", 2**63 - 1),
        ("max_age_days", None),
        ("max_age_days", 0.5),
        ("max_age_days", 30),
        ("busy_timeout", 0.1),
        ("synchronous", "full"),
        ("redact", {"password"}),
    ],
)
def test_values_that_can_be_used(name: str, value: object) -> None:
    """An option takes all values that mean something."""
    validate(**{name: value})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("path", ""),
        ("path", None),
        ("path", b"journal.db"),
        ("events", "user.*"),
        ("events", [""]),
        ("events", [1]),
        ("events", None),
        ("max_rows", 0),
        ("max_rows", -1),
        ("max_rows", 1.5),
        ("max_rows", True),
        ("max_rows", "100"),
        ("max_rows", 2**63),
        ("max_age_days", 0),
        ("max_age_days", -1),
        ("max_age_days", math.nan),
        ("max_age_days", math.inf),
        ("max_age_days", 10**7),
        ("max_age_days", True),
        ("max_age_days", "30"),
        ("busy_timeout", 0),
        ("busy_timeout", None),
        ("busy_timeout", math.inf),
        ("synchronous", "off"),
        ("synchronous", ["normal"]),
        ("redact", "password"),
        ("redact", [None]),
    ],
)
def test_values_that_cannot_be_used(name: str, value: object) -> None:
    """The error names the option and quotes the value."""
    with pytest.raises(ValueError, match=f"^{name} must be .*, not ") as caught:
        validate(**{name: value})
    assert str(caught.value).endswith(repr(value))


def test_all_faults_are_in_one_report() -> None:
    """Whoever has made two mistakes is told of both."""
    with pytest.raises(ValueError, match=r"max_rows must be .*; busy_timeout must be "):
        validate(max_rows=0, busy_timeout=0, synchronous="full")


def test_the_default_path_is_in_the_users_own_folder(home: Path) -> None:
    """Without configuration the journal is below the home, and asking creates nothing."""
    path = default_path()
    assert home in path.parents
    assert path.parts[-2:] == ("nitro-audit", "journal.db") or sys.platform == "win32"
    assert list(home.iterdir()) == []
