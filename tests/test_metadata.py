"""What a plugin says about itself is read in full, or refused in one report."""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nitro_dispatch.exceptions import ValidationError
from nitro_dispatch.metadata import FIELDS, Origin, PluginMetadata, Requirement
from programs import RunPython

ORIGIN = Origin(file="/srv/audit_plugin.py", line=3)


class Hostile:
    """An object of a plugin whose text cannot be read."""

    def __repr__(self) -> str:
        raise RuntimeError("no text")


def read(**values: object) -> PluginMetadata:
    """Read the attributes of a plugin called audit, with validation."""
    return PluginMetadata.from_values({"name": "audit", **values}, origin=ORIGIN)


def errors_of(**values: object) -> tuple[str, ...]:
    """Tell what is wrong with the attributes of a plugin called audit."""
    with pytest.raises(ValidationError) as caught:
        read(**values)
    return caught.value.errors


@pytest.mark.parametrize(
    ("origin", "text"),
    [
        (
            Origin("nitro-audit", "1.0.0", "audit = nitro_audit:Audit"),
            "nitro-audit 1.0.0 (entry point audit = nitro_audit:Audit)",
        ),
        (Origin("nitro-audit", "1.0.0"), "nitro-audit 1.0.0"),
        (Origin("nitro-audit"), "nitro-audit"),
        (Origin(entry_point="audit = a:B"), "entry point audit = a:B"),
        (Origin(file="/x_plugin.py", line=12, module="app"), "/x_plugin.py:12"),
        (Origin(file="/x_plugin.py"), "/x_plugin.py"),
        (Origin(module="app.plugins"), "module app.plugins"),
        (Origin(), ""),
    ],
)
def test_origin_text(origin: Origin, text: str) -> None:
    """An origin's text names the distribution, else the file and line, else the module."""
    assert str(origin) == text


@pytest.mark.parametrize(
    ("text", "name", "specifier"),
    [
        ("store", "store", ""),
        ("store>=1.2,<2", "store", ">=1.2,<2"),
        ("  store  >= 1.2 ", "store", ">= 1.2"),
        ("my store==1.*", "my store", "==1.*"),
        ("store~=1.2", "store", "~=1.2"),
        ("store!=1.2", "store", "!=1.2"),
        ("store===summer", "store", "===summer"),
    ],
)
def test_requirement_is_a_name_and_a_specifier(text: str, name: str, specifier: str) -> None:
    """A requirement splits at its first operator character."""
    assert Requirement.parse(text) == Requirement(name, specifier)


@given(st.text("ab .-_/:;,[]@()'\"\n\0é雪🐍", min_size=1))
def test_text_without_operator_is_a_plain_name(text: str) -> None:
    """Without an operator character the whole text is the name, whatever its characters."""
    assert Requirement.parse(text) == Requirement(text)
    assert str(Requirement.parse(text)) == text


@pytest.mark.parametrize(
    "text", ["", ">=1", "  ==2", "a>", "a=1", "a>=banana", "a>=1;b", "a!", "~"]
)
def test_bad_requirement_is_refused(text: str) -> None:
    """A requirement without a name or with a bad specifier is a ValueError that quotes it."""
    with pytest.raises(ValueError, match="write for example") as caught:
        Requirement.parse(text)
    assert repr(text) in str(caught.value)


def test_requirement_text_reads_back() -> None:
    """The text of a requirement parses to the same requirement."""
    requirement = Requirement("store", ">=1.2,<2")
    assert str(requirement) == "store>=1.2,<2"
    assert Requirement.parse(str(requirement)) == requirement


@pytest.mark.parametrize(
    ("specifier", "version", "allowed"),
    [
        ("", "1.0", True),
        ("", "summer edition", True),
        (">=1.2,<2", "1.2", True),
        (">=1.2,<2", "2.0", False),
        (">=1.2", "1.3.dev1", True),
        (">=1.2", "2.0rc1", True),
        (">=1.2", "1.2rc1", False),
        (">=1.2", "summer edition", False),
        ("===summer", "summer", False),
        ("===1.0", "1.0", True),
        (">=1.2", "", False),
    ],
)
def test_allowed_versions(specifier: str, version: str, allowed: bool) -> None:
    """Pre-releases are allowed, and with a specifier only versions that PEP 440 knows are."""
    assert Requirement("store", specifier).allows(version) is allowed


def test_fields_are_the_attributes_without_origin() -> None:
    """FIELDS names every attribute of the metadata but the origin, in their order."""
    assert (*FIELDS, "origin") == tuple(f.name for f in dataclasses.fields(PluginMetadata))


def test_absent_values_take_their_defaults() -> None:
    """A plugin that only has a name is valid."""
    assert read() == PluginMetadata("audit", "1.0.0", "", "", (), (), (), "", "", ORIGIN)


def test_all_values_are_read() -> None:
    """Every attribute arrives in the metadata, and others are passed over."""
    values: dict[str, object] = {
        "version": "summer edition",
        "description": "Writes a log.",
        "author": "Ada",
        "dependencies": ["store>=1.2", "user base"],
        "optional_dependencies": ("cache",),
        "conflicts": ["spy<2"],
        "requires_app": " >=3 ",
        "requires_python": ">=3.9,<4",
        "enabled": True,
    }
    assert read(**values) == PluginMetadata(
        "audit",
        "summer edition",
        "Writes a log.",
        "Ada",
        (Requirement("store", ">=1.2"), Requirement("user base")),
        (Requirement("cache"),),
        (Requirement("spy", "<2"),),
        ">=3",
        ">=3.9,<4",
        ORIGIN,
    )


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("name", ""),
        ("name", None),
        ("name", 3),
        ("name", b"audit"),
        ("version", ""),
        ("version", None),
        ("version", 1.0),
        ("description", None),
        ("author", ["Ada"]),
        ("dependencies", None),
        ("dependencies", "store"),
        ("dependencies", {"store"}),
        ("dependencies", {"store": ">=1"}),
        ("dependencies", [""]),
        ("dependencies", [None]),
        ("dependencies", ["store>=banana"]),
        ("optional_dependencies", [3]),
        ("conflicts", "store"),
        ("requires_app", 3),
        ("requires_app", "3"),
        ("requires_python", None),
        ("requires_python", ">=banana"),
    ],
)
def test_bad_value_is_one_fault(field: str, value: object) -> None:
    """Each bad value is one fault, which names the attribute and shows how to write it."""
    (error,) = errors_of(**{field: value})
    assert error.startswith(f"{field} must ")
    assert "such as" in error or "a string" in error or "for example" in error


def test_missing_name_is_a_fault() -> None:
    """Metadata without a name is refused."""
    with pytest.raises(ValidationError, match="name must be a non-empty string"):
        PluginMetadata.from_values({}, origin=ORIGIN)


def test_all_faults_come_in_one_report() -> None:
    """One error names the plugin, its origin and every fault, in the order of the attributes."""
    with pytest.raises(ValidationError) as caught:
        read(version=2, dependencies=["", "ok", 3, "store>=x"], requires_app="soon")
    assert [error.split()[0] for error in caught.value.errors] == [
        "version",
        "dependencies",
        "dependencies",
        "dependencies",
        "requires_app",
    ]
    text = str(caught.value)
    assert "plugin 'audit' (/srv/audit_plugin.py:3)" in text
    assert all(error in text for error in caught.value.errors)
    assert "'soon'" in text


def test_texts_may_be_of_a_type_without_a_hash() -> None:
    """Names and requirements may be strings of any type, and are read as plain texts."""

    class Text(str):
        __hash__ = None  # type: ignore[assignment]

    metadata = read(name=Text("audit"), dependencies=[Text("store>=1")], conflicts=[Text("cache")])
    assert type(metadata.name) is str
    assert metadata.dependencies == (Requirement("store", ">=1"),)
    assert metadata.conflicts == (Requirement("cache"),)
    assert errors_of(dependencies=[Text(">=1")])
    assert Requirement.parse(Text("store")) == Requirement("store")


def test_string_of_dependencies_is_explained() -> None:
    """A string where a list belongs is answered with the list to write."""
    (error,) = errors_of(dependencies="store")
    assert error == "dependencies must be a list such as ['store'], not 'store'"


def test_value_without_text_does_not_break_the_report() -> None:
    """An object whose text raises, and a huge one, are reported like any other bad value."""
    assert len(errors_of(name=Hostile(), version=Hostile(), dependencies=[Hostile()])) == 3
    in_disguise = type("list", (Hostile,), {})()
    for value in (["x" * 10_000] * 1000, 1 << 100_000, in_disguise):
        assert len(errors_of(version=value)[0]) < 1000
    assert len(errors_of(conflicts=["<" * 10_000])[0]) < 1000


def test_without_validation_defaults_take_the_place_of_bad_values() -> None:
    """With validation off bad values and bad requirements are left out."""
    metadata = PluginMetadata.from_values(
        {
            "name": "",
            "version": 3,
            "description": None,
            "author": "Ada",
            "dependencies": ["store", 3, "cache>=x", ""],
            "conflicts": "store",
            "requires_app": "soon",
        },
        origin=ORIGIN,
        validate=False,
    )
    assert metadata == PluginMetadata(
        "", author="Ada", dependencies=(Requirement("store"),), origin=ORIGIN
    )


@pytest.mark.parametrize(
    ("value", "name"), [("audit", "audit"), ("", ""), (None, ""), (3, "3"), (Hostile(), "")]
)
def test_without_validation_the_name_is_what_text_there_is(value: object, name: str) -> None:
    """With validation off the name is the text of whatever stands for it."""
    metadata = PluginMetadata.from_values({"name": value}, origin=ORIGIN, validate=False)
    assert metadata.name == name


ANYTHING = st.recursive(
    st.sampled_from([None, True, 3, 0.5, b"", "store", "store>=1", ">=3"])
    | st.builds(Hostile)
    | st.text("a1.>=,~ ", max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.tuples(inner) | st.dictionaries(st.just("store"), inner)
    ),
)


@given(st.dictionaries(st.sampled_from([*FIELDS, "other"]), ANYTHING))
def test_any_values_are_read_or_refused(values: dict[str, object]) -> None:
    """No value whatever raises anything but a ValidationError, and without validation nothing."""
    relaxed = PluginMetadata.from_values(values, origin=ORIGIN, validate=False)
    try:
        strict = PluginMetadata.from_values(values, origin=ORIGIN)
    except ValidationError as error:
        assert error.errors
        assert all(fault in str(error) for fault in error.errors)
    else:
        assert strict == relaxed


def test_plain_names_do_not_import_packaging(run_python: RunPython) -> None:
    """Metadata without version specifiers is read without importing packaging."""
    program = """
    import sys
    from nitro_dispatch.metadata import Origin, PluginMetadata
    values = {'name': 'a', 'version': 'x', 'dependencies': ['b', 'c d'], 'requires_app': ''}
    metadata = PluginMetadata.from_values(values, origin=Origin())
    print(metadata.dependencies[0].allows('x'), 'packaging' in sys.modules)
    """
    assert run_python(program) == "True False\n"
