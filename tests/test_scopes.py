"""Facts about the classes of a source file."""

from __future__ import annotations

import inspect
import textwrap
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from nitro_dispatch.sources.literals import UNTOLD, Constant, Reference
from nitro_dispatch.sources.scopes import LocalClass, ModuleScope, read_module


def read(source: str) -> ModuleScope:
    """Read a module from an indented source text."""
    return read_module(textwrap.dedent(source).encode(), "sample.py")


def read_class(source: str) -> LocalClass:
    """Read the last class of a source text."""
    return read(source).classes[-1]


@given(st.lists(st.lists(st.integers(0, 7), unique=True, max_size=3), max_size=8))
def test_lineage_is_that_of_python(graph: list[list[int]]) -> None:
    """The classes of any hierarchy are in the order in which Python asks them for attributes."""
    source = "".join(
        f"class C{number}({', '.join(f'C{base}' for base in bases if base < number)}): ...\n"
        for number, bases in enumerate(graph)
    )
    names: dict[str, Any] = {}
    try:
        exec(source, names)
    except TypeError:
        assume(False)
    for each in read(source).classes:
        assert [one.name for one in each.mro] == [
            one.__name__ for one in names[each.name].__mro__[:-1]
        ]


def test_impossible_lineage_is_survived() -> None:
    """Bases that Python would refuse to put in an order are in some order."""
    module = read("class A: ...\nclass B(A): ...\nclass C(A, B): ...\n")
    assert {each.name for each in module.classes[-1].mro} == {"A", "B", "C"}


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["", "ABC", "metaclass=ABCMeta"]),
            st.lists(st.integers(0, 5), unique=True, max_size=2),
            st.sampled_from(["...", "work = 1", "@abstractmethod\n    def work(self): ..."]),
        ),
        max_size=6,
    )
)
def test_abstract_classes_are_those_of_python(graph: list[tuple[str, list[int], str]]) -> None:
    """A class is abstract exactly when Python says so."""
    source = "from abc import ABC, ABCMeta, abstractmethod\n"
    for number, (maker, bases, body) in enumerate(graph):
        heads = [*(f"C{base}" for base in bases if base < number), *filter(None, [maker])]
        source += f"class C{number}({', '.join(heads)}):\n    {body}\n"
    names: dict[str, Any] = {}
    try:
        exec(source, names)
    except TypeError:
        assume(False)
    for each in read(source).classes:
        assert each.is_abstract is inspect.isabstract(names[each.name])


def test_bases_from_elsewhere() -> None:
    """The bases that the file does not define are kept, but for those that add nothing."""
    found = read_class(
        """
        from abc import ABC
        from typing import Generic
        from .x import Base, T
        class A(Base[int], ABC, Generic[T], object): ...
        class B(A, make()): ...
        """
    ).outside_bases
    assert [(each.text, each.line, each.meaning) for each in found] == [
        ("Base[int]", 5, Reference("Base", "x", 1)),
        ("make()", 6, UNTOLD),
    ]


@pytest.mark.parametrize(
    ("bases", "expected"),
    [
        ("PluginBase, Mixin", True),
        ("Mixin, PluginBase", False),
        ("Mixin", False),
        ("Root, Mixin", True),
        ("Root, Mixin, Other", False),
        ("Mixin, Root", False),
    ],
)
def test_place_behind_a_base(bases: str, expected: bool) -> None:
    """It is known whether a base of the library hides what a class of the file says."""
    found = read_class(
        f"""
        from nitro_dispatch import PluginBase
        class Mixin: ...
        class Root(PluginBase): ...
        class Other(PluginBase): ...
        class Sample({bases}): ...
        """
    )
    [mixin] = [each for each in found.mro if each.name == "Mixin"]
    assert found.is_behind(mixin, "PluginBase") is expected


def test_members_of_classes() -> None:
    """An attribute of a class is found in its bases; what may be an enumeration tells none."""
    module = read(
        """
        from enum import Enum
        class A: x = 1
        class B(A): y = 2
        class C(str, Enum): z = "z"
        """
    )
    known, enumeration = module.look_up("B"), module.look_up("C")
    assert known.member("x") == Constant(1)
    assert known.member("y") == Constant(2)
    assert known.member("z") is UNTOLD
    assert enumeration.member("z") is UNTOLD


def test_names_in_a_class_body() -> None:
    """A class body sees its own names first and the module's else, those of outer classes never."""
    module = read(
        """
        a = b = 1
        class Outer:
            a = 2
            c = a
            class Inner:
                d = a
                e = b
                __f = 3
                g = __f
        """
    )
    outer = module.look_up("Outer")
    assert outer.member("c") == Constant(2)
    inner = outer.member("Inner")
    assert inner.member("d") == Constant(1)
    assert inner.member("e") == Constant(1)
    assert inner.member("_Inner__f") == inner.member("g") == Constant(3)
    assert inner.member("__f") is UNTOLD


def test_builtins_and_import_texts() -> None:
    """A name that the file does not bind may be built in, or come from the one star import."""
    assert read("").look_up("print") == Reference("print", "builtins")
    assert read("").look_up("__file__").trusted
    assert read("").look_up("unknown") is UNTOLD
    assert read("from .x import *").look_up("unknown") == Reference("unknown", "x", 1)
