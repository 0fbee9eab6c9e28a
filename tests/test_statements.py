"""Facts about what the statements of a body bind."""

from __future__ import annotations

import ast
import sys
import textwrap
from typing import Optional

import pytest

from nitro_dispatch.sources.literals import Constant, Reference
from nitro_dispatch.sources.scopes import ModuleScope, read_module
from nitro_dispatch.sources.statements import (
    Function,
    changed_in_place,
    is_mutable,
)


def read(source: str) -> ModuleScope:
    """Read a module from an indented source text."""
    return read_module(textwrap.dedent(source).encode(), "sample.py")


BINDING = {
    "assignment": "a = 1; b = c = 'x'; d: int = 2; e: int",
    "unpacking": "a, b = 1, 2; [c, (d, *e)] = 3, (4, 5)",
    "import": "import os; import os.path; import os.path as path; from re import compile as c, sub",
    "definitions": "def f(x): y = 1\nasync def g(): ...\nclass C:\n    z = 1\n",
    "for": "for a, b in [(1, 2)]:\n    c = a\nelse:\n    d = 1",
    "while": "n = 1\nwhile n:\n    n -= 1\n    m = n",
    "with": "from contextlib import nullcontext as n\nwith n(1) as a, n(2) as b: c = a",
    "try": "try:\n    a = 1 / 0\nexcept ZeroDivisionError as e:\n    b = 1\nfinally:\n    c = 2",
    "if": "if len('a'):\n    a = 1\nelif print:\n    b = 2\nelse:\n    c = 3",
    "walrus": "print if (a := 1) else 2; b = (c := 3); [d := n for n in [1]]",
    "deletion": "a = b = 1\ndel a\n",
    "lambda": "f = lambda x: (y := x)",
    "subscript": "a = [1]\na[0] = 2\na[:] = []",
    "augmented": "a = 1\na += 1",
    "comprehension": "a = [b for b in [1]]",
    "global": "global a\na = 1",
}


@pytest.mark.parametrize("source", BINDING.values(), ids=BINDING)
def test_all_names_are_found(source: str) -> None:
    """Every name that is bound when a module is run is among those that are read."""
    real: dict[str, object] = {}
    exec(source, real)
    assert set(real) - {"__builtins__", "__annotations__"} <= set(read(source).names)


@pytest.mark.parametrize("source", BINDING.values(), ids=BINDING)
def test_values_that_are_told_are_true(source: str) -> None:
    """A name whose value is told has that value when the module is run."""
    real: dict[str, object] = {}
    exec(source, real)
    for name, meaning in read(source).names.items():
        if isinstance(meaning, Constant) and name in real:
            assert real[name] == meaning.value


@pytest.mark.skipif(sys.version_info < (3, 10), reason="`match` is new in Python 3.10")
def test_names_in_patterns_are_found() -> None:
    """The names that a `match` statement binds are read."""
    source = """
        match {"a": [1, 2, 3], "b": 4}:
            case {"a": [x, *y], **z} as whole:
                w = x
            case other:
                pass
    """
    assert set(read(source).names) == {"x", "y", "z", "whole", "w", "other"}


@pytest.mark.skipif(sys.version_info < (3, 12), reason="`type` is new in Python 3.12")
def test_type_aliases_are_found() -> None:
    """The name of a type alias, and classes with type parameters, are read."""
    module = read("type Number = int\nclass A[T](list[T]): b = 1\n")
    assert set(module.names) == {"Number", "A"}
    assert module.classes[0].names == {"b": Constant(1)}


@pytest.mark.parametrize(
    ("source", "value"),
    [
        ("a = 1; a = 2", 2),
        ("a = 1\nb = a\na = 2\na = b", 1),
        ("if False:\n    a = 1\nelse:\n    a = 2", 2),
        ("if True:\n    a = 1\nelse:\n    a = 2", 1),
        ("a = 1\nif TYPE_CHECKING:\n    a = 2", 1),
        ("a = 1\nif not t.TYPE_CHECKING:\n    a = 2", 2),
        ("a = 1\nif __name__ == '__main__':\n    a = 2", 1),
        ("a = 1\nif x or t.TYPE_CHECKING:\n    a = 2", None),
        ("a = 1\nif x:\n    a = 2", None),
        ("if x:\n    a = 2", 2),
        ("if x:\n    a = 2\nelse:\n    a = 3", None),
        ("a = 1\nfor a in x: ...", None),
        ("a = 1\nwhile x:\n    del a", None),
        ("a = 1\na += 1", None),
        ("a = 1\nb = (a := 2)", None),
        ("a = 1\ndef f():\n    global a", None),
        ("a = [1]\nb = a[0]", [1]),
        ("a = [1]\na.append(2)", None),
        ("a = [1]\na[0] = 2", None),
        ("a = [1]\ndef f(): del a[0]", None),
        ("a = 'x'\nb = a.upper()", "x"),
    ],
)
def test_value_at_the_end(source: str, value: Optional[object]) -> None:
    """The value of a name is the one that it has in the end, where that is sure."""
    meaning = read(source).look_up("a")
    assert (meaning.value if isinstance(meaning, Constant) else None) == value


def test_lines_and_stars() -> None:
    """The line of each name and the modules of star imports are kept."""
    module = read("a = 1\nfrom .b import *\nfrom c.d import *\n\nfrom e import f as g")
    assert module.lines == {"a": 1, "g": 5}
    assert module.stars == [Reference("", "b", 1), Reference("", "c.d")]


def test_decorators_are_read_where_they_stand() -> None:
    """The arguments of a decorator have the values that names have at that place."""
    module = read("n = 1\n@x.y[int](n, k='v')\n@z\n@w(*n)\n@w(**n)\ndef f(): ...\nn = 2")
    function = module.look_up("f")
    assert isinstance(function, Function)
    first, second, third, fourth = function.decorators
    assert (first.text, first.is_called, first.fault) == ("x.y", True, "")
    assert (list(first.arguments), dict(first.keywords)) == ([1], {"k": "v"})
    assert (second.text, second.is_called) == ("z", False)
    assert third.fault == "an argument of @w is not a literal"
    assert fourth.fault == "@w is given its options by **"


@pytest.mark.parametrize(
    ("source", "changed"),
    [("a.append", "a"), ("a.b.pop", "a.b"), ("a[0]", None), ("a", None), ("a()", None)],
)
def test_changed_in_place(source: str, changed: Optional[str]) -> None:
    """What a method is asked of may be changed by it; what is only read may not."""
    found = changed_in_place(ast.parse(source, mode="eval").body)
    assert (ast.unparse(found) if found is not None else None) == changed


MUTABLE: list[object] = [[], set(), {}]
FIXED: list[object] = ["", (), 1, None]


def test_mutable_values() -> None:
    """Lists, sets and dictionaries can be changed in place, texts and tuples cannot."""
    assert all(is_mutable(Constant(value)) for value in MUTABLE)
    assert not any(is_mutable(Constant(value)) for value in FIXED)
