"""Frozen records: to all who ask they are frozen dataclasses."""

from __future__ import annotations

import copy
import dataclasses
import inspect
import pickle
from typing import Any, Optional

import pytest

from nitro_dispatch.frozen import Frozen, replace


class Point(Frozen, aside=("note",)):
    """A record with everything that a record may have."""

    x: int
    y: int = 0
    note: Optional[str] = None


class Place(Point):
    """A record with one field more than its base."""

    name: str = "here"


class Renamed(Place):
    """A record with the fields of its base."""


class Slotted(Frozen):
    """A record without a `__dict__`."""

    __slots__ = ("x", "y")

    x: int
    y: int


@dataclasses.dataclass(frozen=True)
class Twin:
    """The same as Point, made by `dataclasses`."""

    x: int
    y: int = 0
    note: Optional[str] = dataclasses.field(default=None, repr=False, compare=False)


@dataclasses.dataclass(frozen=True)
class Marker(Point):
    """A dataclass of which a record is the base."""

    colour: str = "red"


def facts(record: Any) -> list[tuple[object, ...]]:
    """List what `dataclasses` knows of the fields of a record."""
    return [
        (each.name, each.type, each.default, each.repr, each.compare)
        for each in dataclasses.fields(record)
    ]


@pytest.mark.parametrize(
    "record", [Point(1, 2, "a"), Point(1, y=2, note="a"), Point(note="a", y=2, x=1)]
)
def test_values_are_given_in_order_or_by_name(record: Point) -> None:
    """A value belongs to the field of its place, or of its name."""
    assert (record.x, record.y, record.note) == (1, 2, "a")


def test_what_is_not_given_has_its_default() -> None:
    """A field that has a default need not be given, in a subclass neither."""
    assert (Point(1).y, Point(x=1).note, Place(1).name, Renamed(1).name) == (
        0,
        None,
        "here",
        "here",
    )


@pytest.mark.parametrize(
    ("values", "named"),
    [
        ((), {}),
        ((), {"y": 1}),
        ((), {"y": 1, "z": 1}),
        ((1,), {"x": 1}),
        ((1,), {"z": 1}),
        ((1, 2, "a", 4), {}),
        ((1, 2, "a", 4), {"x": 1}),
    ],
)
def test_each_field_takes_one_value(values: tuple[Any, ...], named: dict[str, Any]) -> None:
    """A value missing, given twice or of no field is a TypeError that names the fields."""
    with pytest.raises(TypeError, match=r"Point takes .* x, y, note"):
        Point(*values, **named)


@pytest.mark.parametrize("record", [Point(1), Slotted(1, 2)], ids=repr)
def test_a_record_cannot_be_changed(record: Any) -> None:
    """To assign to an attribute or to delete one is the error that a frozen dataclass raises."""
    with pytest.raises(dataclasses.FrozenInstanceError, match="assign to field 'x'"):
        record.x = 2
    with pytest.raises(dataclasses.FrozenInstanceError, match="assign to field 'new'"):
        record.new = 2
    with pytest.raises(dataclasses.FrozenInstanceError, match="delete field 'x'"):
        del record.x
    assert record.x == 1


def test_records_compare_by_class_and_values() -> None:
    """Records are equal, and have one hash, if their class and values are the same."""
    assert Point(1, 2) == Point(1, 2)
    assert hash(Point(1, 2)) == hash(Point(1, 2))
    assert Point(1, 2) != Point(1, 3)
    assert Place(1) != Renamed(1)
    assert Point(1, 0) != (1, 0, None)
    assert len({Point(1), Point(1, 0), Point(2)}) == 2


def test_what_is_set_aside_does_not_count() -> None:
    """A field set aside is neither compared nor shown, in a subclass neither."""
    assert Point(1, note="a") == Point(1, note="b")
    assert hash(Point(1, note="a")) == hash(Point(1, note="b"))
    assert Place(1, note="a") == Place(1, note="b")
    assert repr(Place(1, note="a")) == "Place(x=1, y=0, name='here')"


def test_a_copy_has_other_values() -> None:
    """`replace` makes a record of the same class, with other values for some fields."""
    place = Place(1, 2, "a")
    assert replace(place, y=3).note == "a"
    assert replace(place, y=3) == dataclasses.replace(place, y=3) == Place(1, 3)
    assert replace(Slotted(1, 2), x=3).x == 3
    with pytest.raises(TypeError, match="Place takes"):
        replace(place, z=3)


@pytest.mark.parametrize(
    "again", [copy.copy, copy.deepcopy, lambda it: pickle.loads(pickle.dumps(it))]
)
def test_a_record_is_copied_and_pickled(again: Any) -> None:
    """A record that is copied or pickled is the same afterwards, what is set aside included."""
    record = again(Place(1, note="a"))
    assert (record, record.note) == (Place(1), "a")


def test_to_dataclasses_a_record_is_a_frozen_dataclass() -> None:
    """`dataclasses` finds the fields of a record with all that it knows of its own."""
    assert all(map(dataclasses.is_dataclass, (Point, Point(1))))
    assert facts(Point) == facts(Twin)
    assert [field.name for field in dataclasses.fields(Renamed(1))] == ["x", "y", "note", "name"]
    assert dataclasses.asdict(Point(1)) == {"x": 1, "y": 0, "note": None}
    assert dataclasses.fields(Slotted)[0].default is dataclasses.MISSING


def test_a_dataclass_may_have_a_record_as_its_base() -> None:
    """A frozen dataclass that derives from a record has the fields of both."""
    assert repr(Marker(1)) == "Marker(x=1, y=0, colour='red')"
    assert Marker(1) == Marker(1, note="a")


def test_tools_see_the_signature() -> None:
    """`inspect` tells which values a record takes."""
    assert inspect.signature(Point) == inspect.signature(Twin)
    assert Place.__match_args__ == ("x", "y", "note", "name")
