"""Frozen records: what a frozen dataclass is, without what one costs at import.

Each class that `dataclasses` makes compiles generated source, 0.5 to 1.5 ms, and to import
`dataclasses` takes 6 to 10 ms, for it imports `inspect`. There are thirty records in this package,
and many programs live no longer than a second. A class here costs 0.01 ms, and an instance as much
as that of a frozen dataclass where all values are given in their order.
"""

from __future__ import annotations

import functools
from operator import attrgetter
from types import MemberDescriptorType
from typing import TYPE_CHECKING, Any, Callable, ClassVar, Final, NoReturn, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from dataclasses import Field

    from typing_extensions import dataclass_transform
else:

    def dataclass_transform(**options: object) -> Callable[[type], type]:
        """Mark a class whose subclasses type checkers are to take for dataclasses."""
        return lambda marked: marked


__all__ = ["Frozen", "replace"]

_put: Final = object.__setattr__


class _OfDataclass:
    """An attribute which the dataclass that corresponds to a record has; made when it is read."""

    def __init__(self, read: Callable[[Any], object]) -> None:
        self._read = read

    def __get__(self, record: object, owner: Any) -> Any:
        return self._read(_dataclass_of(owner))


def _signature(dataclass: Any) -> object:
    # Imported here because it is slow to import, and only asked for by tools for developers.
    from inspect import signature

    return signature(dataclass)


@dataclass_transform(frozen_default=True)
class Frozen:
    """Makes a subclass a frozen record of what it annotates.

    To `dataclasses`, to tools and to type checkers it is a frozen dataclass. A record has no other
    slots than those that it names itself.

    Args:
        *values: The values of the fields, in the order of their definition.
        **named: Values by the names of their fields.

    Raises:
        TypeError: A value is missing, or there is one too many.

    Example:
        >>> class Point(Frozen):
        ...     x: int
        ...     y: int = 0
        >>> Point(1), Point(1) == Point(x=1, y=0)
        (Point(x=1, y=0), True)
    """

    __slots__ = ()
    __match_args__: ClassVar[tuple[str, ...]] = ()

    _defaults: ClassVar[Mapping[str, object]] = {}
    _has_dict: ClassVar[bool] = True
    _aside: ClassVar[frozenset[str]] = frozenset()
    # Gives what counts when two records are compared.
    _compared: ClassVar[Callable[[object], object]] = type

    if TYPE_CHECKING:
        __dataclass_fields__: ClassVar[dict[str, Field[Any]]]
    else:
        __dataclass_fields__ = _OfDataclass(attrgetter("__dataclass_fields__"))
        __dataclass_params__ = _OfDataclass(attrgetter("__dataclass_params__"))
        __signature__ = _OfDataclass(_signature)

    def __init_subclass__(cls, *, aside: Iterable[str] = (), **options: Any) -> None:
        """Find the fields of a class.

        Args:
            aside: The fields that neither count when records are compared nor are shown.
            **options: What other base classes take.
        """
        super().__init_subclass__(**options)
        own = vars(cls).get("__annotations__", {})
        names = tuple(dict.fromkeys((*cls.__match_args__, *own)))
        defaults = {name: getattr(cls, name) for name in names if hasattr(cls, name)}
        cls._defaults = {
            name: default
            for name, default in defaults.items()
            if not isinstance(default, MemberDescriptorType)
        }
        cls._has_dict = cls.__dictoffset__ != 0
        cls._aside = cls._aside.union(aside)
        cls._compared = attrgetter(*(name for name in names if name not in cls._aside))
        cls.__match_args__ = names  # type: ignore[misc]  # Taken for what mypy makes itself.

    def __init__(self, *values: Any, **named: Any) -> None:
        names = self.__match_args__
        if named or len(values) != len(names):
            values = self._complete(values, named)
        if self._has_dict:
            # In one step it takes half of the time.
            self.__dict__.update(zip(names, values))
        else:
            for name, value in zip(names, values):
                _put(self, name, value)

    @classmethod
    def _complete(cls, values: tuple[Any, ...], named: Mapping[str, Any]) -> tuple[Any, ...]:
        """Put named values and defaults into the order of the fields."""
        names = cls.__match_args__
        given = dict(zip(names, values), **named)
        found = {**cls._defaults, **given}
        if len(given) != len(values) + len(named) or found.keys() != set(names):
            raise TypeError(
                f"{cls.__qualname__} takes one value each for {', '.join(names)}; "
                f"got {len(values)} in this order, and for {', '.join(named) or 'none by name'}"
            )
        return tuple(found[name] for name in names)

    @classmethod
    def _of(cls: type[Record], values: dict[str, Any]) -> Record:
        """Make a record of values by name that are known to be right, in a third of the time.

        What is not among them is what the class says. A record with slots cannot be made so.
        """
        record = cls.__new__(cls)
        _put(record, "__dict__", values)
        return record

    def __setattr__(self, name: str, value: object) -> NoReturn:
        _refuse("assign to", name)

    def __delattr__(self, name: str) -> NoReturn:
        _refuse("delete", name)

    def __eq__(self, other: object) -> bool:
        if other.__class__ is not self.__class__:
            return NotImplemented
        return bool(type(self)._compared(self) == type(self)._compared(other))

    def __hash__(self) -> int:
        return hash(type(self)._compared(self))

    def __repr__(self) -> str:
        shown = [name for name in self.__match_args__ if name not in self._aside]
        values = ", ".join(f"{name}={getattr(self, name)!r}" for name in shown)
        return f"{type(self).__qualname__}({values})"

    def __replace__(self, **changes: Any) -> Any:
        """Make a copy in which some values are others; Python calls it so from 3.13 on."""
        values = {name: getattr(self, name) for name in self.__match_args__}
        values.update(changes)
        if len(values) != len(self.__match_args__):
            return type(self)(**values)  # Which says what is wrong.
        # In their order they take a third of the time.
        return type(self)(*values.values())


Record = TypeVar("Record", bound=Frozen)


def replace(record: Record, **changes: Any) -> Record:
    """Make a copy of a record in which some values are others.

    Args:
        record: The record.
        **changes: The other values, by the names of their fields.

    Returns:
        The copy.

    Raises:
        TypeError: There is no such field.
    """
    copy: Record = record.__replace__(**changes)
    return copy


def _refuse(what: str, name: str) -> NoReturn:
    # Imported here because it is slow to import, and needed only where there is a mistake.
    from dataclasses import FrozenInstanceError

    raise FrozenInstanceError(f"cannot {what} field {name!r}")


@functools.cache
def _dataclass_of(record: Any) -> Any:
    """Make the dataclass with the fields of a record."""
    # Imported here because it is slow to import, and the package itself does without.
    from dataclasses import MISSING, field, make_dataclass

    annotations: dict[str, Any] = {}
    for base in reversed(record.__mro__):
        annotations.update(vars(base).get("__annotations__", {}))
    fields = []
    for name in record.__match_args__:
        shown = name not in record._aside
        default: Any = record._defaults.get(name, MISSING)
        fields.append((name, annotations[name], field(default=default, repr=shown, compare=shown)))
    return make_dataclass(record.__name__, fields, frozen=True)
