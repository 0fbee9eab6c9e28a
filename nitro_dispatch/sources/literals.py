"""What the expressions of a source file stand for, as far as is known without running it."""

from __future__ import annotations

import ast
from typing import Final, Protocol

from nitro_dispatch import events
from nitro_dispatch.sources.meanings import (
    UNTOLD,
    Constant,
    Meaning,
    Opaque,
    Reference,
    shortened,
)

__all__ = [
    "UNTOLD",
    "Constant",
    "Meaning",
    "Names",
    "NotLiteral",
    "Opaque",
    "Reference",
    "evaluate",
    "meaning_of",
    "resolve",
    "without_subscript",
    "written",
]

# A name may stand for no longer value, and a sum may be no longer: a few lines that double a value
# again and again would fill the memory.
_LONGEST: Final = 4_096

_LIFECYCLE: Final = {
    constant: getattr(events, constant)
    for constant in events.__all__
    if getattr(events, constant) in events.LIFECYCLE_EVENTS
}

_DISPLAYS: Final = (
    *(ast.List, ast.Tuple, ast.Set, ast.Dict, ast.JoinedStr, ast.Compare),
    *(ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp),
)


class NotLiteral(Exception):
    """The value of an expression cannot be told without running it; the text says why."""

    def __init__(self, reason: str) -> None:
        super().__init__(shortened(reason))


class Names(Protocol):
    """What the names of one piece of source stand for."""

    def look_up(self, name: str) -> Meaning:
        """Tell what a name stands for."""
        ...

    def spend(self, amount: int) -> None:
        """Account for what the length of the source does not bound.

        Args:
            amount: How many characters or elements are copied or looked at.

        Raises:
            ValueError: That is too much for one file.
        """
        ...


def resolve(expression: ast.expr, names: Names) -> Meaning:
    """Tell what a name, dotted or not, stands for.

    Args:
        expression: Any expression.
        names: What the names in it stand for.

    Returns:
        The meaning; `UNTOLD` for any other expression.
    """
    attributes = []
    while isinstance(expression, ast.Attribute):
        attributes.append(expression.attr)
        expression = expression.value
    meaning = names.look_up(expression.id) if isinstance(expression, ast.Name) else UNTOLD
    for attribute in reversed(attributes):
        meaning = meaning.member(attribute)
    return meaning


def without_subscript(expression: ast.expr) -> ast.expr:
    """Take type arguments off: `Event[dict]` is `Event`."""
    return expression.value if isinstance(expression, ast.Subscript) else expression


def written(expression: ast.expr) -> str:
    """Tell how an expression is written, as far as a message needs it."""
    # Most often it is a name, for which `unparse` would take a hundred times as long.
    return shortened(expression.id if isinstance(expression, ast.Name) else ast.unparse(expression))


def meaning_of(expression: ast.expr, names: Names) -> Meaning:
    """Tell what an expression stands for.

    Args:
        expression: Any expression.
        names: What the names in it stand for.

    Returns:
        A `Constant` if its value can be told, what it names if it is a name, else `Opaque`.
    """
    try:
        return Constant(evaluate(expression, names))
    except NotLiteral as error:
        named = resolve(expression, names)
        if named is UNTOLD or isinstance(named, Opaque):
            return Opaque(str(error), trusted=_is_trusted(expression, names))
        return named


def _is_trusted(expression: ast.expr, names: Names) -> bool:
    """Tell whether no code of the plugin takes part, or the value is a collection anyhow."""
    if isinstance(expression, _DISPLAYS):
        return True
    return all(
        names.look_up(node.id).trusted
        for node in ast.walk(expression)
        if isinstance(node, ast.Name)
    )


def evaluate(expression: ast.expr, names: Names) -> object:
    """Tell the value of an expression without running any code of its file.

    Literals, names of such, sums of texts, lists or tuples, f-strings of them and declared events
    have one.

    Args:
        expression: Any expression.
        names: What the names in it stand for.

    Returns:
        The value; for `Event("user.login")` the event's name.

    Raises:
        NotLiteral: The value cannot be told.

    Example:
        >>> class NoNames:
        ...     def look_up(self, name): return UNTOLD
        ...     def spend(self, amount): pass
        >>> evaluate(ast.parse("['user' + '.login', f'user.{1}']", mode="eval").body, NoNames())
        ['user.login', 'user.1']
    """
    try:
        return _value(expression, names)
    except RecursionError:
        raise NotLiteral("is nested too deeply") from None
    except TypeError as error:
        raise NotLiteral(f"is not valid: {error}") from None


def _value(node: ast.AST, names: Names) -> object:
    if isinstance(node, ast.Constant):
        return node.value
    if isinstance(node, (ast.Name, ast.Attribute)):
        return _named_value(node, names)
    if isinstance(node, ast.List):
        return [_value(element, names) for element in node.elts]
    if isinstance(node, ast.Tuple):
        return tuple(_value(element, names) for element in node.elts)
    if isinstance(node, ast.Set):
        return {_value(element, names) for element in node.elts}
    if isinstance(node, ast.Dict) and None not in node.keys:
        keys = [_value(key, names) for key in node.keys if key is not None]
        return dict(zip(keys, (_value(value, names) for value in node.values)))
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        return _negative(_value(node.operand, names))
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        return _sum(_value(node.left, names), _value(node.right, names))
    if isinstance(node, ast.JoinedStr):
        return _bounded("".join(_formatted(part, names) for part in node.values))
    if isinstance(node, ast.Call):
        return _event_name(node, names)
    raise NotLiteral("is not a literal")


def _negative(value: object) -> object:
    if isinstance(value, (int, float)):
        return -value
    raise NotLiteral("is not a literal")


def _sum(left: object, right: object) -> object:
    if isinstance(left, str) and isinstance(right, str):
        return _bounded(left + right)
    if isinstance(left, list) and isinstance(right, list):
        return _bounded(left + right)
    if isinstance(left, tuple) and isinstance(right, tuple):
        return _bounded(left + right)
    raise NotLiteral("is not a literal")


def _bounded(value: object) -> object:
    """Refuse a value that is long."""
    if isinstance(value, (str, list, tuple, set)) and len(value) > _LONGEST:
        raise NotLiteral("is too long to be read")
    return value


def _formatted(part: ast.expr, names: Names) -> str:
    if isinstance(part, ast.FormattedValue):
        value = _value(part.value, names)
        if part.conversion != -1 or part.format_spec is not None or not _is_scalar(value):
            raise NotLiteral("is not a literal")
        try:
            return str(value)
        except ValueError:
            raise NotLiteral("has too many digits to be read") from None
    return str(_value(part, names))


def _is_scalar(value: object) -> bool:
    return not isinstance(value, (list, tuple, set, dict))


def _named_value(node: ast.expr, names: Names) -> object:
    meaning = resolve(node, names)
    if isinstance(meaning, Constant):
        value = meaning.value
        # Names of names of collections could stand for a value that is larger than any memory.
        if isinstance(value, (list, tuple, set)) and not all(map(_is_scalar, value)):
            raise NotLiteral(f"depends on {written(node)}, which is nested")
        if isinstance(value, dict):
            raise NotLiteral(f"depends on {written(node)}, which is a dictionary")
        # All else that a value is made of stands in the source each time.
        names.spend(meaning.weight)
        return _bounded(value)
    if isinstance(meaning, Reference) and meaning.is_own(meaning.name):
        # `PluginManager.EVENT_PLUGIN_LOADED` is the same as `events.PLUGIN_LOADED`.
        constant = meaning.name.removeprefix("EVENT_")
        if constant in _LIFECYCLE:
            return _LIFECYCLE[constant]
    raise NotLiteral(f"depends on {written(node)}, which {meaning.reason}")


def _event_name(call: ast.Call, names: Names) -> object:
    """Tell the name of a declared event, `Event("user.login", ...)`."""
    called = resolve(without_subscript(call.func), names)
    given = [*call.args, *(keyword.value for keyword in call.keywords if keyword.arg == "name")]
    if called.is_own("Event") and given:
        return _value(given[0], names)
    raise NotLiteral("is not a literal")
