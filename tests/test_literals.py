"""Facts about the values and names of expressions that are read, not run."""

from __future__ import annotations

import ast
import math
from typing import Optional

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nitro_dispatch.sources.literals import (
    UNTOLD,
    Constant,
    Meaning,
    NotLiteral,
    Opaque,
    Reference,
    evaluate,
    meaning_of,
    resolve,
)

SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text()
    | st.binary()
)
LITERALS = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.lists(inner, max_size=3).map(tuple)
        | st.dictionaries(SCALARS, inner, max_size=3)
        | st.sets(SCALARS, min_size=1, max_size=3)
    ),
)


class Known:
    """Names with given meanings."""

    def __init__(self, **meanings: Meaning) -> None:
        self.meanings = meanings

    def look_up(self, name: str) -> Meaning:
        """Tell what a name stands for."""
        return self.meanings.get(name, UNTOLD)

    def spend(self, amount: int) -> None:
        """Spend as much as anybody likes."""


NAMES = Known(
    text=Constant("abc"),
    numbers=Constant([1, 2]),
    nested=Constant([[1]]),
    long=Constant("x" * 4_096),
    later=Opaque("comes later"),
    Event=Reference("Event", "nitro_dispatch.events"),
    Other=Reference("Event", "elsewhere"),
    nd=Reference("", "nitro_dispatch"),
    re=Reference("", "re"),
    helper=Reference("helper", "", 1),
    set=Reference("set", "builtins"),
    getattr=Reference("getattr", "builtins"),
)


def parse(text: str) -> ast.expr:
    """Parse an expression."""
    return ast.parse(text, mode="eval").body


def value_of(text: str) -> object:
    """Read the value of an expression."""
    return evaluate(parse(text), NAMES)


@given(LITERALS)
def test_literals_have_their_value(value: object) -> None:
    """What `repr` writes of a literal is read back, as `ast.literal_eval` does."""
    text = repr(value)
    assert repr(value_of(text)) == repr(ast.literal_eval(text))


@given(st.text())
def test_any_text_is_read_or_refused(text: str) -> None:
    """An expression whose value is told has that value when it is run without any names."""
    try:
        tree = ast.parse(text, mode="eval")
        value = evaluate(tree.body, Known())
    except (SyntaxError, ValueError, NotLiteral):
        return
    assert repr(value) == repr(eval(compile(tree, "", "eval"), {"__builtins__": {}}))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("text", "abc"),
        ("text + 'd' + 'e'", "abcde"),
        ("[text, 1]", ["abc", 1]),
        ("numbers + [3]", [1, 2, 3]),
        ("(1,) + (text,)", (1, "abc")),
        ("f'{text}-{1}-{True}'", "abc-1-True"),
        ("f'plain'", "plain"),
        ("-1", -1),
        ("-1.5", -1.5),
        ("Event('a')", "a"),
        ("Event[dict](text, payload=dict)", "abc"),
        ("nd.Event(name='a' + 'b')", "ab"),
        ("nd.events.PLUGIN_LOADED", "nitro.plugin.loaded"),
        ("nd.PluginManager.EVENT_APP_SHUTDOWN", "nitro.app.shutdown"),
        ("nd.manager.PluginManager.EVENT_PLUGIN_ERROR", "nitro.plugin.error"),
        ("{'a': [text]}", {"a": ["abc"]}),
    ],
)
def test_value(text: str, expected: object) -> None:
    """Names of literals, simple sums of them and declared events have a value."""
    assert value_of(text) == expected


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("unknown", "depends on unknown, which cannot be told"),
        ("later", "depends on later, which comes later"),
        ("re.A", "depends on re.A, which is imported from re"),
        ("helper", "depends on helper, which is imported from ."),
        ("getattr", "depends on getattr, which is built in"),
        ("nd.events.WILDCARD", "depends on nd.events.WILDCARD, which is imported from nitro_disp"),
        ("text.upper", "cannot be told"),
        ("f()", "is not a literal"),
        ("Event()", "is not a literal"),
        ("Other('a')", "is not a literal"),
        ("set()", "is not a literal"),
        ("1 + 1", "is not a literal"),
        ("'a' + 1", "is not a literal"),
        ("'a' * 3", "is not a literal"),
        ("-'a'", "is not a literal"),
        ("not 1", "is not a literal"),
        ("[*numbers]", "is not a literal"),
        ("{**text}", "is not a literal"),
        ("{[]: 1}", "is not valid"),
        ("{numbers}", "is not valid"),
        ("f'{1!r}'", "is not a literal"),
        ("f'{1:d}'", "is not a literal"),
        ("f'{numbers}'", "is not a literal"),
        ("[nested]", "which is nested"),
        ("long + 'x'", "too long"),
        ("f'{long}x'", "too long"),
        ("text[0]", "is not a literal"),
        ("lambda: 1", "is not a literal"),
    ],
)
def test_no_value(text: str, reason: str) -> None:
    """Anything else has no value that can be told, and the reason is given in words."""
    with pytest.raises(NotLiteral) as caught:
        value_of(text)
    assert reason in str(caught.value)


def test_deep_expression_is_refused() -> None:
    """An expression that is too deep for recursion is refused, not an error of its own."""
    deep: ast.expr = ast.Constant("a")
    for _ in range(5_000):
        deep = ast.BinOp(deep, ast.Add(), ast.Constant("a"))
    with pytest.raises(NotLiteral, match="nested too deeply"):
        evaluate(deep, NAMES)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("nd", Reference("", "nitro_dispatch")),
        ("nd.PluginBase", Reference("PluginBase", "nitro_dispatch")),
        ("nd.plugin.PluginBase", Reference("PluginBase", "nitro_dispatch.plugin")),
        ("helper.x.y", Reference("y", "helper.x", 1)),
        ("unknown.x", None),
        ("text.x", None),
        ("later.x", None),
        ("f().x", None),
    ],
)
def test_resolve(text: str, expected: Optional[Reference]) -> None:
    """A dotted name leads to where it is imported from."""
    assert resolve(parse(text), NAMES) == (expected or UNTOLD)


@pytest.mark.parametrize(
    ("text", "trusted"),
    [
        ("re.compile('a').match", True),
        ("set(numbers)", True),
        ("[helper, unknown]", True),
        ("{n: n for n in unknown()}", True),
        ("'a,b'.split(',')", True),
        ("3 * 4", True),
        ("helper('a')", False),
        ("re.compile(helper)", False),
        ("getattr(re, 'A')", False),
        ("unknown", False),
        ("later", False),
        ("(helper if text else 1)", False),
    ],
)
def test_trust(text: str, trusted: bool) -> None:
    """A value is trusted if only literals and the standard library make it, or it is a display."""
    assert meaning_of(parse(text), NAMES).trusted is trusted


def test_meaning_of_names() -> None:
    """A name stands for what it is bound to, also where that has no value."""
    assert meaning_of(parse("text"), NAMES) == Constant("abc")
    assert meaning_of(parse("helper"), NAMES) == Reference("helper", "", 1)
    assert meaning_of(parse("nested"), NAMES) == Constant([[1]])


def test_reference_knows_its_home() -> None:
    """A reference tells whether it is of this library, the standard one, or the file's own."""
    assert Reference("hook", "nitro_dispatch.hooks").is_own("hook")
    assert not Reference("hook", "nitro_dispatch_extra").is_own("hook")
    assert not Reference("hook", "nitro_dispatch", 1).is_own("hook")
    assert not Reference("hook", "nitro_dispatch").is_own("PluginBase")
    assert Reference("ABC", "abc").is_standard("ABCMeta", "ABC")
    assert not Reference("ABC", "abc", 1).is_standard("ABC")
    assert not Reference("ABC", "abcd").is_standard("ABC")
    assert not UNTOLD.is_own("hook")
    assert not UNTOLD.is_standard("ABC")


def test_infinity_is_read() -> None:
    """A number that is too large for a float is the infinity that Python makes of it."""
    assert value_of("-1e999") == -math.inf
