from __future__ import annotations

import pytest

from nitro_audit.matching import first_match


@pytest.mark.parametrize(
    ("name", "pattern"),
    [
        ("user.login", "user.login"),
        ("user.logout", "user.*"),
        ("user.login.failed", "**.failed"),
        ("db.save", None),
        ("user.", None),
    ],
)
def test_the_first_pattern_that_matches_is_found(name: str, pattern: str) -> None:
    """Of several patterns that match it is the first, whether it has stars or not."""
    find = first_match(["user.login", "user.*", "**.failed", "user.**"])
    assert find(name) == pattern


def test_the_order_decides_not_the_kind() -> None:
    """A pattern that comes first is found before the literal name."""
    assert first_match(["user.*", "user.login"])("user.login") == "user.*"


def test_of_no_patterns_none_matches() -> None:
    """Without patterns nothing is found."""
    assert first_match([])("user.login") is None
