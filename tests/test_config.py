"""Configuration is looked up in layers, and becomes typed models or one report of all faults."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, Dict, List, Literal, Optional, Tuple, Union  # noqa: UP035

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nitro_dispatch.config import Configuration, build_model
from nitro_dispatch.exceptions import ValidationError


@dataclass
class Server:
    host: str
    port: int = 80


@dataclass(frozen=True)
class Options:
    """One field of each type that a model may have."""

    text: str = ""
    whole: int = 0
    real: float = 0.0
    flag: bool = False
    nothing: None = None
    maybe: Optional[int] = None
    either: Union[int, str, None] = None
    names: list[str] = field(default_factory=list)
    sizes: dict[str, int] = field(default_factory=dict)
    pair: tuple[int, str] = (0, "")
    numbers: tuple[float, ...] = ()
    level: Literal["low", "high", 3] = "low"
    folder: Path = Path()
    folders: dict[str, list[Path]] = field(default_factory=dict)
    server: Server = field(default_factory=lambda: Server("localhost"))
    spare: Optional[Server] = None
    servers: list[Server] = field(default_factory=list)
    anything: Any = None
    thing: object = None
    plain_list: list = field(default_factory=list)  # type: ignore[type-arg]
    plain_tuple: tuple = ()  # type: ignore[type-arg]
    plain_dict: dict = field(default_factory=dict)  # type: ignore[type-arg]
    old_list: List[int] = field(default_factory=list)  # noqa: UP006
    old_dict: Dict[str, int] = field(default_factory=dict)  # noqa: UP006
    old_tuple: Tuple[int, ...] = ()  # noqa: UP006
    raw: bytes = b""


def build(section: Mapping[str, object]) -> Options:
    """Make options of a section of the plugin cache."""
    return build_model(Options, section, plugin="cache", origin="/srv/cache_plugin.py:3")


def faults_of(section: Mapping[str, object], model: type[object] = Options) -> tuple[str, ...]:
    """Tell what is wrong with a section."""
    with pytest.raises(ValidationError) as caught:
        build_model(model, section, plugin="cache", origin="here")
    return caught.value.errors


def test_value_of_a_section() -> None:
    """A value is found under its plugin's name and key; the default stands for an absent one."""
    configuration = Configuration({"cache": {"size": 50, "none": None}})
    assert configuration.get("cache", "size", 1) == 50
    assert configuration.get("cache", "none", 1) is None
    assert configuration.get("cache", "ttl") is None
    assert configuration.get("cache", "ttl", 60) == 60
    assert configuration.get("other", "size", 60) == 60


@pytest.mark.parametrize("section", ["/x", None, 3, ["size"], {"size"}])
def test_section_that_is_no_mapping(section: object) -> None:
    """A value beside the sections is no section, so the default stands for what it should hold."""
    configuration = Configuration({"project_root": section})
    assert configuration.get("project_root", "size", 7) == 7
    assert configuration.section("project_root") == {}


def test_no_configuration() -> None:
    """Without a layer there are no values, and None is no layer."""
    for configuration in (Configuration(), Configuration(None), Configuration(None, {}, None)):
        assert configuration.get("cache", "size", 7) == 7
        assert configuration.section("cache") == {}


def test_later_layers_win_key_by_key() -> None:
    """A later layer replaces single values of a section, and keeps the others."""
    configuration = Configuration(
        {"cache": {"size": 1, "ttl": 1}, "log": {"level": "low"}},
        None,
        {"cache": {"size": 2, "deep": {"a": 1}}},
        MappingProxyType({"cache": {"size": 3, "deep": {"b": 1}}}),
    )
    assert configuration.section("cache") == {"size": 3, "ttl": 1, "deep": {"b": 1}}
    assert configuration.get("cache", "size") == 3
    assert configuration.get("cache", "ttl") == 1
    assert configuration.get("log", "level") == "low"


def test_later_layer_that_is_no_section_wins_as_a_whole() -> None:
    """Where one of two sections is no mapping they are not merged, and the later one counts."""
    below = {"cache": {"size": 1}}
    assert Configuration(below, {"cache": "off"}).section("cache") == {}
    assert Configuration(below, {"cache": "off"}).get("cache", "size", 7) == 7
    configuration = Configuration(below, {"cache": None}, {"cache": {"ttl": 2}})
    assert configuration.section("cache") == {"ttl": 2}
    assert configuration.get("cache", "size", 7) == 7


def test_layers_are_kept_by_reference() -> None:
    """What a program changes in its configuration later is seen."""
    config: dict[str, object] = {}
    configuration = Configuration(config, {"cache": {"ttl": 60}})
    config["cache"] = section = {"size": 50}
    assert configuration.get("cache", "size") == 50
    section["size"] = 51
    assert configuration.section("cache") == {"size": 51, "ttl": 60}


def test_section_is_a_new_dictionary() -> None:
    """What is done to a section that was handed out does not change the configuration."""
    config = {"cache": {"size": 50}}
    configuration = Configuration(config)
    configuration.section("cache").clear()
    assert config == {"cache": {"size": 50}}
    assert configuration.section("cache") == {"size": 50}


@pytest.mark.parametrize("layer", [["cache"], "cache", 3, {"cache"}, False, [], ""])
def test_layer_that_is_no_mapping(layer: Any) -> None:
    """A layer that is no mapping, an empty one too, is a TypeError that names what was given."""
    with pytest.raises(TypeError, match="must be a mapping") as caught:
        Configuration({}, layer)
    assert repr(layer) in str(caught.value)
    assert type(layer).__name__ in str(caught.value)


LAYERS = st.lists(
    st.none()
    | st.dictionaries(
        st.sampled_from(["a", "b"]),
        st.sampled_from(["text", None]) | st.dictionaries(st.sampled_from("xyz"), st.integers()),
    )
)


@given(LAYERS)
def test_value_and_section_agree(layers: list[Any]) -> None:
    """A value asked for alone is the one in the merged section."""
    configuration = Configuration(*layers)
    for plugin in ("a", "b"):
        section = configuration.section(plugin)
        found = {key: configuration.get(plugin, key, "absent") for key in "xyz"}
        assert found == {key: section.get(key, "absent") for key in "xyz"}


def test_empty_section_gives_the_defaults() -> None:
    """Fields that the section leaves out take their defaults."""
    assert build({}) == Options()


@pytest.mark.parametrize(
    ("key", "given_value", "value"),
    [
        ("text", "a", "a"),
        ("whole", 3, 3),
        ("real", 0.5, 0.5),
        ("real", 3, 3),
        ("flag", True, True),
        ("nothing", None, None),
        ("maybe", None, None),
        ("maybe", 3, 3),
        ("either", "a", "a"),
        ("either", 3, 3),
        ("names", ["a", "b"], ["a", "b"]),
        ("sizes", {"a": 1}, {"a": 1}),
        ("pair", [1, "a"], (1, "a")),
        ("pair", (1, "a"), (1, "a")),
        ("numbers", [1, 0.5, 2], (1, 0.5, 2)),
        ("numbers", [], ()),
        ("level", "high", "high"),
        ("level", 3, 3),
        ("folder", "/srv", Path("/srv")),
        ("folder", Path("/srv"), Path("/srv")),
        ("folders", {"a": ["/b", "/c"]}, {"a": [Path("/b"), Path("/c")]}),
        ("server", {"host": "a"}, Server("a")),
        ("server", Server("b"), Server("b")),
        ("spare", {"host": "a", "port": 1}, Server("a", 1)),
        ("spare", None, None),
        ("servers", [{"host": "a"}, {"host": "b"}], [Server("a"), Server("b")]),
        ("anything", {"a": [1]}, {"a": [1]}),
        ("anything", True, True),
        ("thing", False, False),
        ("plain_list", [1, "a"], [1, "a"]),
        ("plain_tuple", [1, "a"], (1, "a")),
        ("plain_dict", {1: "a"}, {1: "a"}),
        ("old_list", [1], [1]),
        ("old_dict", {"a": 1}, {"a": 1}),
        ("old_tuple", [1], (1,)),
        ("raw", b"a", b"a"),
    ],
)
def test_fitting_value(key: str, given_value: object, value: object) -> None:
    """A value of the annotated type is taken, and what stands for one becomes one."""
    built = getattr(build({key: given_value}), key)
    assert built == value
    assert type(built) is type(value)


@pytest.mark.parametrize(
    ("key", "value", "fault"),
    [
        ("text", 3, "text: expected str, found 3"),
        ("text", None, "text: expected str, found None"),
        ("whole", "3", "whole: expected int, found '3'"),
        ("whole", True, "whole: expected int, found True"),
        ("whole", 0.5, "whole: expected int, found 0.5"),
        ("real", "a", "real: expected float, found 'a'"),
        ("real", True, "real: expected float, found True"),
        ("flag", 1, "flag: expected bool, found 1"),
        ("flag", "yes", "flag: expected bool, found 'yes'"),
        ("nothing", 0, "nothing: expected None, found 0"),
        ("maybe", "a", "maybe: expected int or None, found 'a'"),
        ("either", 0.5, "either: expected int or str or None, found 0.5"),
        ("names", "a", "names: expected list[str], found 'a'"),
        ("names", ("a",), "names: expected list[str], found ('a',)"),
        ("names", ["a", 3], "names[1]: expected str, found 3"),
        ("sizes", [1], "sizes: expected dict[str, int], found [1]"),
        ("sizes", {"a": "b"}, "sizes['a']: expected int, found 'b'"),
        ("sizes", {1: 2}, "sizes, its key 1: expected str, found 1"),
        ("pair", [1], "pair: expected tuple[int, str], found [1]"),
        ("pair", ["a", "b"], "pair[0]: expected int, found 'a'"),
        ("numbers", [1, "a"], "numbers[1]: expected float, found 'a'"),
        ("numbers", 1, "numbers: expected tuple[float, ...], found 1"),
        ("level", "middle", "level: expected 'low' or 'high' or 3, found 'middle'"),
        ("level", 3.0, "level: expected 'low' or 'high' or 3, found 3.0"),
        ("folder", 3, "folder: expected Path, found 3"),
        ("folders", {"a": ["/b", 3]}, "folders['a'][1]: expected Path, found 3"),
        ("server", "a", "server: expected Server, found 'a'"),
        ("server", {}, "server.host is missing: expected str"),
        ("server", {"host": "a", "prt": 3}, "server.'prt' is unknown: did you mean 'port'?"),
        ("spare", 3, "spare: expected Server or None, found 3"),
        ("spare", {"host": 3}, "spare.host: expected str, found 3"),
        ("servers", [{"host": "a"}, {}], "servers[1].host is missing: expected str"),
        ("plain_list", 3, "plain_list: expected list, found 3"),
        ("old_list", ["a"], "old_list[0]: expected int, found 'a'"),
        ("old_dict", 3, "old_dict: expected dict[str, int], found 3"),
        ("raw", "a", "raw: expected bytes, found 'a'"),
    ],
)
def test_value_of_a_wrong_type(key: str, value: object, fault: str) -> None:
    """A value that does not fit is one fault: where it is, what was expected and what was found."""
    assert faults_of({key: value}) == (fault,)


def test_unknown_key() -> None:
    """An unknown key is answered with the nearest right spelling, or with all keys."""
    assert faults_of({"txet": 1}) == ("'txet' is unknown: did you mean 'text'?",)
    assert faults_of({"FOLDERS": {}}) == ("'FOLDERS' is unknown: did you mean 'folders'?",)
    expected = "'colour' is unknown: expected one of ['host', 'port']"
    assert faults_of({"host": "a", "colour": "red"}, Server) == (expected,)
    strange: dict[Any, object] = {"host": "a", 3: 4, Hostile(): 5}
    assert [fault.split(" is ")[1] for fault in faults_of(strange, Server)] == [
        "unknown: expected one of ['host', 'port']"
    ] * 2


def test_all_faults_come_in_one_report() -> None:
    """One error names the plugin, its origin and every fault."""
    section = {"texd": 1, "whole": "a", "servers": [{"prot": 1}, 3], "flag": "no"}
    with pytest.raises(ValidationError) as caught:
        build(section)
    error = caught.value
    assert (error.plugin, error.origin) == ("cache", "/srv/cache_plugin.py:3")
    assert error.errors == (
        "'texd' is unknown: did you mean 'text'?",
        "whole: expected int, found 'a'",
        "flag: expected bool, found 'no'",
        "servers[0].'prot' is unknown: did you mean 'port'?",
        "servers[0].host is missing: expected str",
        "servers[1]: expected Server, found 3",
    )
    assert str(error) == (
        "plugin 'cache' (/srv/cache_plugin.py:3) has an invalid configuration: "
        + "; ".join(error.errors)
    )


def test_report_without_origin() -> None:
    """A plugin of which the origin is not known is named alone."""
    with pytest.raises(ValidationError, match=r"^plugin 'cache' has an invalid configuration: "):
        build_model(Server, {}, plugin="cache", origin="")


class Hostile:
    """An object whose text cannot be read."""

    def __repr__(self) -> str:
        raise RuntimeError("no text")


def test_value_without_text_does_not_break_the_report() -> None:
    """A value whose text raises, and a huge one, are reported like any other."""
    (fault,) = faults_of({"text": Hostile()})
    assert fault.startswith("text: expected str, found <Hostile")
    assert len(faults_of({"whole": "x" * 100_000})[0]) < 200


@dataclass
class Range:
    low: int
    high: int
    width: int = field(init=False)

    def __post_init__(self) -> None:
        if self.low > self.high:
            raise ValueError("low is above high")
        self.width = self.high - self.low


@dataclass
class Ranges:
    inner: Range
    outer: Optional[Range] = None
    name: str = ""


def test_fault_found_by_the_model() -> None:
    """What a model says of its own values belongs into the same report."""
    upside_down = {"low": 2, "high": 1}
    assert faults_of(upside_down, Range) == ("Range: low is above high",)
    assert faults_of({"inner": upside_down, "outer": upside_down, "name": 3}, Ranges) == (
        "inner: low is above high",
        "outer: low is above high",
        "name: expected str, found 3",
    )


def test_field_that_the_model_sets_itself() -> None:
    """A field that is no argument of the model is not taken from the section."""
    assert build_model(Range, {"low": 1, "high": 3}, plugin="a", origin="").width == 2
    expected = "'width' is unknown: expected one of ['low', 'high']"
    assert faults_of({"low": 1, "high": 3, "width": 9}, Range) == (expected,)


class NoModel:
    """A class that is no dataclass."""


@dataclass
class Unreadable:
    value: NotThere  # type: ignore[name-defined]  # noqa: F821


@pytest.mark.parametrize("model", [NoModel, dict, Server("a"), None])
def test_model_that_is_no_dataclass(model: Any) -> None:
    """A model that is no dataclass is the author's mistake, not the configuration's."""
    with pytest.raises(TypeError, match="must be a dataclass, not"):
        build_model(model, {}, plugin="cache", origin="")


def test_annotations_that_cannot_be_read() -> None:
    """A model whose annotations name what is not there is a TypeError that says so."""
    with pytest.raises(TypeError, match=r"annotations of Unreadable cannot be read: .*NotThere"):
        build_model(Unreadable, {}, plugin="cache", origin="")


@dataclass
class Modern:
    value: int | None = None


def test_union_in_the_new_spelling() -> None:
    """`X | Y` is a union as well, where Python can read it, and else the error tells of it."""
    if sys.version_info < (3, 10):
        with pytest.raises(TypeError, match=r"annotations of Modern cannot be read: .*\|"):
            build_model(Modern, {}, plugin="a", origin="")
    else:
        assert build_model(Modern, {"value": 3}, plugin="a", origin="") == Modern(3)
        assert faults_of({"value": "a"}, Modern) == ("value: expected int or None, found 'a'",)
