from __future__ import annotations

import enum
import json
import math
import uuid
from collections import OrderedDict
from collections.abc import Callable, Iterator
from datetime import date, datetime, time, timezone, tzinfo
from decimal import Decimal
from pathlib import PurePosixPath
from typing import Any, NoReturn

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nitro_audit.encoder import MAX_DEPTH, MAX_TEXT, MAX_VALUES, REDACTED, encode, storable

NUMBERS = st.integers(-(2**80), 2**80) | st.floats(allow_nan=False, allow_infinity=False)
LEAVES = st.none() | st.booleans() | NUMBERS | st.text(st.characters())
JSON = st.recursive(
    LEAVES, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=20
)


class Broken:
    def __repr__(self) -> str:
        raise ValueError("nobody may see this")


class Color(enum.Enum):
    RED = "red"


class Size(enum.IntEnum):
    BIG = 3


class Word(str):
    def __str__(self) -> str:
        raise ValueError("not this way")

    __hash__ = str.__hash__
    __eq__ = str.__eq__
    casefold = lower = __str__


class Endless(list[int]):
    def __iter__(self) -> Iterator[int]:
        while True:
            yield 1


class Unbound:
    """Like a proxy of a web framework outside of any request."""

    def _fail(self) -> NoReturn:
        raise RuntimeError("working outside of a request")

    __class__ = property(_fail)


class NoZone(tzinfo):
    def utcoffset(self, moment: object) -> NoReturn:
        raise RuntimeError("no such zone")

    dst = tzname = utcoffset


def read(data: object, **options: Any) -> Any:
    """Encode data and decode it strictly."""

    def refuse(constant: str) -> NoReturn:
        raise AssertionError(f"{constant} is not JSON")

    text = encode(data, **options)
    text.encode("utf-8")
    return json.loads(text, parse_constant=refuse)


@settings(max_examples=50)
@given(JSON)
def test_json_comes_back(data: object) -> None:
    """What JSON has is decoded to what it was, lone surrogates included."""
    assert read(data) == data


def test_text_stays_readable() -> None:
    """Letters of any language are written as themselves."""
    assert encode({"name": "Zoë", "city": "東京"}) == '{"name": "Zoë", "city": "東京"}'


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (datetime(2026, 3, 1, 12, 30, tzinfo=timezone.utc), "2026-03-01T12:30:00+00:00"),
        (date(2026, 3, 1), "2026-03-01"),
        (time(12, 30), "12:30:00"),
        (Decimal("1.10"), "1.10"),
        (uuid.UUID(int=7), "00000000-0000-0000-0000-000000000007"),
        (PurePosixPath("/etc/hosts"), "/etc/hosts"),
        (b"\x00\xffabc", r"b'\x00\xffabc'"),
        (bytearray(b"abc"), "b'abc'"),
        (math.nan, "nan"),
        (math.inf, "inf"),
        (-math.inf, "-inf"),
        (1 + 2j, "(1+2j)"),
        (Color.RED, "<Color.RED: 'red'>"),
        (ValueError("no"), "ValueError('no')"),
        (int, "<class 'int'>"),
    ],
)
def test_what_json_lacks_is_shown_as_text(value: object, shown: str) -> None:
    """Each value that JSON has no form for is written as text that tells what it was."""
    assert read([value]) == [shown]


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ((1, (2,)), [1, [2]]),
        ({"b", "a", "c"}, ["a", "b", "c"]),
        (frozenset({2, 1}), [1, 2]),
        ({(1, "a"), "b", None}, ["b", [1, "a"], None]),
        (OrderedDict(a=1), {"a": 1}),
        (Size.BIG, 3),
        ({Word("key"): Word("word")}, {"key": "word"}),
    ],
)
def test_relatives_of_json_types_are_taken_for_them(value: object, shown: object) -> None:
    """Tuples and sets are lists, and subclasses are what they inherit from."""
    assert read(value) == shown


@pytest.mark.parametrize(
    ("make", "error"),
    [
        (Broken, "ValueError"),
        (Unbound, "RuntimeError"),
        (lambda: datetime(2026, 3, 1, tzinfo=NoZone()), "RuntimeError"),
    ],
)
def test_a_value_that_fails_to_show_itself_is_named(make: Callable[[], object], error: str) -> None:
    """What a value's own code raises costs that value alone."""
    value = make()
    shown = f"<{type(value).__name__} that cannot be shown: {error}>"
    assert read({"broken": value, "sound": 1}) == {"broken": shown, "sound": 1}


def test_interrupts_pass() -> None:
    """Ctrl-C while a value shows itself is not taken for the value's failure."""

    class Slow:
        def __repr__(self) -> str:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        encode(Slow())


def test_keys_become_text() -> None:
    """A key that is no text is written as its JSON, or as the text that shows it."""
    keys: list[object] = [2, None, True, 2.5, (1, "a"), date(2026, 3, 1), math.nan, b"k"]
    shown = ["2", "null", "true", "2.5", '[1, "a"]', "2026-03-01", "nan", "b'k'"]
    assert list(read(dict.fromkeys(keys))) == shown


def test_no_key_takes_the_place_of_another() -> None:
    """Keys with the same text keep all their values."""
    shown = read({1: "number", "1": "text", b"a": "bytes", "b'a'": "text too"})
    assert sorted(shown.values()) == ["bytes", "number", "text", "text too"]
    assert shown["1"] == "number"


def test_many_keys_with_one_text_take_linear_space() -> None:
    """Names that are made different do not grow with each key."""

    class Same:
        def __repr__(self) -> str:
            return "same"

    shown = read({Same(): 1 for _ in range(2_000)})
    assert len(shown) == 2_000
    assert max(map(len, shown)) < 30


def test_circles_end() -> None:
    """A container inside itself is shown once, then named."""
    lists: list[object] = [1]
    lists.append(lists)
    names: dict[str, object] = {}
    names["self"] = {"again": names}
    assert read(lists) == [1, "<list that contains itself>"]
    assert read(names) == {"self": {"again": "<dict that contains itself>"}}


def test_what_is_only_shared_is_shown_each_time() -> None:
    """An object that occurs twice side by side is no circle."""
    shared = {"a": 1}
    assert read([shared, shared, {"b": shared}]) == [shared, shared, {"b": shared}]


@pytest.mark.parametrize("wrap", [lambda inner: [inner], lambda inner: {"in": inner}])
def test_deep_nesting_is_cut(wrap: Any) -> None:
    """Below a fixed depth there is a text, even where Python itself could not go."""
    deep: object = "bottom"
    for _ in range(100_000):
        deep = wrap(deep)
    shown = encode(deep)
    assert f"below {MAX_DEPTH} others>" in shown
    assert "bottom" not in shown
    while isinstance(deep, (list, dict)):
        # Taken apart by hand, because the interpreter would do it by recursion.
        deep = deep.popitem()[1] if isinstance(deep, dict) else deep.pop()


def test_the_deepest_that_is_shown() -> None:
    """Data as deep as the limit are written whole."""
    deep: object = "bottom"
    for _ in range(MAX_DEPTH):
        deep = [deep]
    assert read(deep) == deep


def test_data_that_explode_are_cut() -> None:
    """A few objects that contain each other many times do not become a giant text."""
    bomb: list[object] = []
    for _ in range(MAX_DEPTH - 1):
        bomb = [bomb, bomb]
    text = encode(bomb)
    assert f"more than {MAX_VALUES} values" in text
    assert len(text) < 100 * MAX_VALUES


@pytest.mark.parametrize("many", [list(range(MAX_VALUES)), dict.fromkeys(range(MAX_VALUES), 0)])
def test_what_is_too_much_is_left_out_visibly(many: object) -> None:
    """The part that is written ends with a text that says that there was more."""
    shown = read(many)
    last = shown[-1] if isinstance(shown, list) else shown["..."]
    assert last == f"<more than {MAX_VALUES} values>"
    assert len(shown) <= MAX_VALUES


def test_a_container_without_end_ends() -> None:
    """A list whose iterator never stops is cut like a long one."""
    assert len(read(Endless())) == MAX_VALUES


def test_long_texts_of_other_values_are_cut() -> None:
    """A value that JSON lacks cannot fill the journal, but texts are kept whole."""

    class Long:
        def __repr__(self) -> str:
            return "x" * 10 * MAX_TEXT

    assert len(read(Long())) == MAX_TEXT + 3
    assert len(read(bytes(10 * MAX_TEXT))) == MAX_TEXT + 3
    assert len(read("x" * 10 * MAX_TEXT)) == 10 * MAX_TEXT


def test_numbers_too_long_for_python_are_hexadecimal() -> None:
    """A number that the interpreter refuses to write in decimals is still there."""
    assert read(1 << 2_048) == hex(1 << 2_048)
    assert read((1 << 2_048) - 1) == (1 << 2_048) - 1


def test_data_may_change_while_they_are_read() -> None:
    """A representation that changes its own container does not lose the rest of it."""

    class Meddler:
        def __repr__(self) -> str:
            data.clear()
            return "meddler"

    data: Any = {}
    data.update(first=Meddler(), second=2)
    assert read(data) == {"first": "meddler", "second": 2}
    data = []
    data += [Meddler(), 2]
    assert read(data) == ["meddler", 2]


def test_secrets_are_not_written() -> None:
    """The values of the named keys are left out at any depth and in any case of the key."""
    data = {"Password": "hunter2", "user": {"token": {"a": "hunter2"}, "name": "Alice"}}
    shown = read([data], redact=["password", "TOKEN"])
    assert shown == [{"Password": REDACTED, "user": {"token": REDACTED, "name": "Alice"}}]
    assert data["Password"] == "hunter2"


def test_surrogates_can_be_stored() -> None:
    """Text that UTF-8 lacks is escaped, and all other text is left alone."""
    assert storable("é\udc80") == "é\\udc80"
