"""Event data as JSON text, whatever the data is.

What JSON has is written as it is. What it lacks is shown as text, and sets as lists. Nothing that
an application puts into an event makes the encoder fail, hang or use memory without bound.
"""

from __future__ import annotations

import json
import math
from collections.abc import Collection, Iterable
from datetime import date, datetime, time
from decimal import Decimal
from itertools import islice
from pathlib import PurePath
from typing import Any, Final, Union
from uuid import UUID

__all__ = ["MAX_DEPTH", "MAX_TEXT", "MAX_VALUES", "REDACTED", "encode", "storable"]

MAX_DEPTH: Final = 32
"""How many containers may lie inside each other."""

MAX_VALUES: Final = 100_000
"""How many values one event's data may consist of."""

MAX_TEXT: Final = 2_000
"""How many characters show a value that JSON lacks."""

REDACTED: Final = "<redacted>"
"""What stands for a value that is not to be written."""

# The interpreter refuses to read decimals longer than a limit, which can be as low as 640 digits.
_MAX_INTEGER_BITS: Final = 2_048

_Json = Union[None, bool, int, float, str, list[Any], dict[str, Any]]


def encode(data: object, *, redact: Collection[str] = ()) -> str:
    """Write data as JSON.

    Args:
        data: Anything.
        redact: Keys, in any case, whose values are replaced by `"<redacted>"` in every mapping.

    Returns:
        JSON text that can be encoded as UTF-8.

    Example:
        >>> encode({"user": "Zoë", "roles": {"admin"}, 7: float("nan"), "password": "secret"},
        ...        redact=["password"])
        '{"user": "Zoë", "roles": ["admin"], "7": "nan", "password": "<redacted>"}'
    """
    reader = _Reader(frozenset(key.casefold() for key in redact))
    return storable(json.dumps(reader.read(data), ensure_ascii=False, allow_nan=False))


def storable(text: str) -> str:
    """Escape what cannot be written as UTF-8: lone surrogates, in the way that JSON does.

    Args:
        text: Any text.

    Returns:
        Text that SQLite can store.

    Example:
        >>> print(storable("user.\\udc80"))
        user.\\udc80
    """
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


class _Reader:
    """Reads one event's data into what the json module writes as it is."""

    def __init__(self, redact: frozenset[str]) -> None:
        self._redact = redact
        self._entered: set[int] = set()
        self._left = MAX_VALUES

    def read(self, value: object) -> _Json:
        """Read a value; one whose own code fails is shown by the name of its class."""
        self._left -= 1
        try:
            return self._read(value)
        except Exception as error:
            return f"<{type(value).__name__} that cannot be shown: {type(error).__name__}>"

    def _read(self, value: object) -> _Json:
        if value is None or isinstance(value, bool):
            return value
        if isinstance(value, str):
            return str.__str__(value)
        if isinstance(value, int):
            return _integer(int.__index__(value))
        if isinstance(value, float):
            number = float.__float__(value)
            return number if math.isfinite(number) else repr(number)
        if isinstance(value, (dict, list, tuple, set, frozenset)):
            return self._enter(value)
        return _text(value)

    def _enter(self, container: Collection[object]) -> _Json:
        """Read a container unless it is inside itself or too deep."""
        identity = id(container)
        if identity in self._entered:
            return f"<{type(container).__name__} that contains itself>"
        if len(self._entered) == MAX_DEPTH:
            return f"<{type(container).__name__} below {MAX_DEPTH} others>"
        self._entered.add(identity)
        try:
            if isinstance(container, dict):
                return self._mapping(container.items())
            values = self._values(container)
            # The order of a set differs from run to run, and equal data should look equal.
            ordered = isinstance(container, (list, tuple))
            return values if ordered else sorted(values, key=json.dumps)
        finally:
            self._entered.remove(identity)

    def _values(self, values: Iterable[object]) -> list[_Json]:
        # All is taken before any is read: reading runs code that may change the container.
        taken = list(islice(values, max(self._left, 0) + 1))
        read: list[_Json] = []
        for value in taken:
            if self._left <= 0:
                return [*read, _too_many()]
            read.append(self.read(value))
        return read

    def _mapping(self, items: Iterable[tuple[object, object]]) -> dict[str, _Json]:
        taken = list(islice(items, max(self._left, 0) + 1))
        read: dict[str, _Json] = {}
        for key, value in taken:
            if self._left <= 0:
                return {**read, "...": _too_many()}
            name = self._key(key)
            secret = name.casefold() in self._redact
            while name in read:
                # Keys as different as 1 and "1" may have the same text; none takes another's place.
                name = f"{name} ({type(key).__name__} #{len(read)})"
            read[name] = REDACTED if secret else self.read(value)
        return read

    def _key(self, key: object) -> str:
        read = self.read(key)
        return read if isinstance(read, str) else json.dumps(read, ensure_ascii=False)


def _integer(number: int) -> Union[int, str]:
    return number if number.bit_length() <= _MAX_INTEGER_BITS else _cut(hex(number))


def _text(value: object) -> str:
    if isinstance(value, (datetime, date, time)):
        return value.isoformat()
    if isinstance(value, (Decimal, UUID, PurePath)):
        return str(value)
    if isinstance(value, (bytes, bytearray)):
        # Cut twice, as the representation of a byte has up to four characters.
        return _cut(repr(bytes(value[:MAX_TEXT])))
    return _cut(repr(value))


def _cut(text: str) -> str:
    return text if len(text) <= MAX_TEXT else f"{text[:MAX_TEXT]}..."


def _too_many() -> str:
    return f"<more than {MAX_VALUES} values>"
