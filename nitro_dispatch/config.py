"""The configuration of plugins: in layers, by sections, and made into typed models.

A section is what the configuration holds under a plugin's name. One that is no mapping is none, for
programs keep values of their own beside the sections.
"""

from __future__ import annotations

import types
from collections.abc import Iterable, Mapping
from typing import (
    TYPE_CHECKING,
    Any,
    Final,
    Literal,
    Optional,
    TypeVar,
    Union,
    get_args,
    get_origin,
    get_type_hints,
)

from nitro_dispatch.exceptions import ValidationError, describe_error, error_text, shown
from nitro_dispatch.late import Late

if TYPE_CHECKING:
    import dataclasses
    import pathlib
else:
    # Both are slow to import, and only needed for models.
    dataclasses = Late("dataclasses")
    pathlib = Late("pathlib")

__all__ = ["Configuration", "build_model"]

Model = TypeVar("Model")

_ABSENT: Final = object()

# `X | Y` has a type of its own, which Python 3.9 does not know.
_UNIONS: Final = (Union, getattr(types, "UnionType", Union))


class Configuration:
    """The configuration of all plugins, in layers that are looked up when a value is asked for.

    Args:
        layers: Sections by the plugin's name, later layers over earlier ones: key by key where both
            sections are mappings, else the later one alone. They are kept, not copied, so that a
            program may still change them. None is no layer.

    Raises:
        TypeError: A layer is no mapping.

    Example:
        >>> configuration = Configuration({"cache": {"size": 5, "ttl": 60}}, {"cache": {"size": 9}})
        >>> configuration.get("cache", "size"), configuration.get("cache", "ttl")
        (9, 60)
    """

    def __init__(self, *layers: Optional[Mapping[str, object]]) -> None:
        for layer in layers:
            if layer is not None and not isinstance(layer, Mapping):
                raise TypeError(
                    "the configuration must be a mapping from names of plugins to their sections, "
                    f"not {shown(layer)} ({type(layer).__name__})"
                )
        self._layers = tuple(layer for layer in layers if layer is not None)

    def get(self, plugin: str, key: str, default: object = None) -> object:
        """Look up one value.

        Args:
            plugin: The plugin's name.
            key: The name of the value in the plugin's section.
            default: What to give where there is no such value.

        Returns:
            The value in the last layer that has one.

        Example:
            >>> Configuration({"cache": {"size": 50}}).get("cache", "ttl", 60)
            60
        """
        for section in self._sections(plugin):
            value = section.get(key, _ABSENT)
            if value is not _ABSENT:
                return value
        return default

    def section(self, plugin: str) -> dict[str, object]:
        """Merge the section of one plugin from all layers.

        Args:
            plugin: The plugin's name.

        Returns:
            A new dictionary, empty where there is no section.

        Example:
            >>> Configuration({"cache": {"size": 50}}, {"cache": {"ttl": 60}}).section("cache")
            {'size': 50, 'ttl': 60}
        """
        merged: dict[str, object] = {}
        for section in reversed(list(self._sections(plugin))):
            merged.update(section)
        return merged

    def _sections(self, plugin: str) -> Iterable[Mapping[str, object]]:
        """List the sections of one plugin, the last layer first, down to one that is no mapping."""
        for layer in reversed(self._layers):
            section = layer.get(plugin, _ABSENT)
            if isinstance(section, Mapping):
                yield section
            elif section is not _ABSENT:
                return


def build_model(
    model: type[Model], section: Mapping[str, object], *, plugin: str, origin: str
) -> Model:
    """Make a typed configuration of a plugin's section.

    A string may stand for a `Path`, a list for a tuple and a mapping for a dataclass: they become
    what the field says. A whole number does for a float; True and False do for bool alone.

    Args:
        model: A dataclass. Its fields may be of the types str, int, float, bool, None, Path and
            Literal, of lists, tuples, dictionaries and unions of these, and of dataclasses again;
            a field of another class takes its instances.
        section: The plugin's section.
        plugin: The plugin's name, for the error.
        origin: Where the plugin comes from, for the error.

    Returns:
        An instance of the model.

    Raises:
        ValidationError: Keys are unknown or missing, values are of the wrong type, or the model
            itself refuses them; its `errors` names all of them.
        TypeError: The model is no dataclass, or its annotations cannot be read.

    Example:
        >>> from dataclasses import dataclass
        >>> @dataclass
        ... class CacheOptions:
        ...     size: int = 50
        >>> build_model(CacheOptions, {"size": 9}, plugin="cache", origin="")
        CacheOptions(size=9)
    """
    builder = _Builder()
    built: Model = builder.build(model, section)
    if builder.faults:
        about = f"plugin {plugin!r} ({origin})" if origin else f"plugin {plugin!r}"
        raise ValidationError(
            f"{about} has an invalid configuration: {'; '.join(builder.faults)}",
            plugin=plugin,
            origin=origin,
            errors=tuple(builder.faults),
        )
    return built


class _Builder:
    """Makes values of annotated types, and notes all that does not fit."""

    def __init__(self) -> None:
        self.faults: list[str] = []

    def build(self, model: type[Any], section: Mapping[str, object], prefix: str = "") -> Any:
        """Make a dataclass, or note why it cannot be and give None."""
        hints, known = _read_model(model)
        noted = len(self.faults)
        self.faults += [_unknown(prefix, key, known) for key in section if key not in known]
        values = {}
        for name, field in known.items():
            if name in section:
                values[name] = self.convert(hints[name], section[name], prefix + name)
            elif _is_required(field):
                self.faults.append(f"{prefix}{name} is missing: expected {_name_of(hints[name])}")
        if len(self.faults) > noted:
            return None
        try:
            return model(**values)
        except (TypeError, ValueError) as error:
            # A model may check its own values, and what it finds belongs into the same report.
            self.faults.append(f"{prefix[:-1] or model.__name__}: {error_text(error)}")
            return None

    def convert(self, annotation: Any, value: object, key: str) -> object:
        """Make a value of an annotated type, or note that it cannot be and give None."""
        kind, arguments = get_origin(annotation) or annotation, get_args(annotation)
        if kind in _UNIONS:
            return self._convert_member(annotation, value, key)
        if dataclasses.is_dataclass(kind) and isinstance(value, Mapping):
            return self.build(annotation, value, f"{key}.")
        if kind is dict and arguments and isinstance(value, Mapping):
            return self._convert_items(arguments, value, key)
        if kind in (list, tuple) and isinstance(value, (kind, list)):
            item_types = _item_types(kind, arguments, len(value))
            if len(item_types) == len(value):
                pairs = enumerate(zip(item_types, value))
                return kind(self.convert(each, item, f"{key}[{i}]") for i, (each, item) in pairs)
        elif _fits(kind, arguments, value):
            return pathlib.Path(value) if kind is pathlib.Path and isinstance(value, str) else value
        self.faults.append(_mismatch(annotation, value, key))
        return None

    def _convert_items(
        self, arguments: tuple[Any, ...], value: Mapping[Any, object], key: str
    ) -> dict[object, object]:
        """Make a dictionary with keys and values of annotated types."""
        key_type, value_type = arguments
        converted = {}
        for name, item in value.items():
            place = shown(name)
            new_name = self.convert(key_type, name, f"{key}, its key {place}")
            converted[new_name] = self.convert(value_type, item, f"{key}[{place}]")
        return converted

    def _convert_member(self, union: Any, value: object, key: str) -> object:
        """Make a value of the first type of a union that it fits."""
        faults: list[str] = []
        for member in get_args(union):
            attempt = _Builder()
            converted = attempt.convert(member, value, key)
            if not attempt.faults:
                return converted
            # A fault inside of the value tells more than that the value as a whole does not fit.
            if not faults and attempt.faults != [_mismatch(member, value, key)]:
                faults = attempt.faults
        self.faults += faults or [_mismatch(union, value, key)]
        return None


def _read_model(model: Any) -> tuple[dict[str, Any], dict[str, dataclasses.Field[Any]]]:
    """Find the annotations and the fields of a dataclass."""
    if not (isinstance(model, type) and dataclasses.is_dataclass(model)):
        raise TypeError(f"a configuration model must be a dataclass, not {shown(model)}")
    try:
        hints = get_type_hints(model)
    except (Exception, SystemExit) as error:
        # An annotation is any code of the plugin's: a name that is not there, `X | Y` before 3.10.
        raise TypeError(
            f"the annotations of {model.__qualname__} cannot be read: {describe_error(error)}"
        ) from error
    return hints, {field.name: field for field in dataclasses.fields(model) if field.init}


def _is_required(field: dataclasses.Field[Any]) -> bool:
    missing = dataclasses.MISSING
    return field.default is missing and field.default_factory is missing


def _item_types(kind: Any, arguments: tuple[Any, ...], count: int) -> tuple[Any, ...]:
    """Give the annotation of each item that a list or tuple should have."""
    if not arguments:
        return (Any,) * count
    if kind is list or arguments[1:] == (...,):
        return arguments[:1] * count
    return arguments


def _fits(kind: Any, arguments: tuple[Any, ...], value: object) -> bool:
    """Tell whether a value which has no parts is of a type."""
    if kind is Any:
        return True
    if kind is Literal:
        return any(type(value) is type(choice) and value == choice for choice in arguments)
    if isinstance(value, bool):
        # To Python True is a whole number; in a configuration it is a mistake for one.
        return kind in (bool, object)
    alternative = {float: int, pathlib.Path: str}.get(kind, kind)
    return isinstance(kind, type) and isinstance(value, (kind, alternative))


def _mismatch(annotation: Any, value: object, key: str) -> str:
    return f"{key}: expected {_name_of(annotation)}, found {shown(value)}"


def _unknown(prefix: str, key: object, known: Iterable[str]) -> str:
    # Imported here because it is needed only where there is a mistake to report.
    from difflib import get_close_matches

    folded = {name.casefold(): name for name in known}
    near = get_close_matches(key.casefold() if isinstance(key, str) else "", folded, n=1)
    advice = f"did you mean {folded[near[0]]!r}?" if near else f"expected one of {list(known)}"
    return f"{prefix}{shown(key)} is unknown: {advice}"


def _name_of(annotation: Any) -> str:
    """Write an annotation for people."""
    kind, arguments = get_origin(annotation), get_args(annotation)
    if kind in _UNIONS:
        return " or ".join(map(_name_of, arguments))
    if kind is Literal:
        return " or ".join(map(repr, arguments))
    if kind is not None:
        return f"{_name_of(kind)}[{', '.join(map(_name_of, arguments))}]"
    if annotation is ...:
        return "..."
    name = getattr(annotation, "__name__", str(annotation))
    return "None" if name == "NoneType" else str(name)
