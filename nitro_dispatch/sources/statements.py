"""What the statements of a module or class body bind, in order, without running them."""

from __future__ import annotations

import ast
import functools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, Optional, Union

from nitro_dispatch.frozen import Frozen
from nitro_dispatch.sources.literals import (
    NotLiteral,
    evaluate,
    meaning_of,
    resolve,
    without_subscript,
    written,
)
from nitro_dispatch.sources.meanings import (
    Constant,
    Meaning,
    Opaque,
    Reference,
    weight_of,
)

__all__ = ["CHANGED", "Body", "Decorator", "Function", "changed_in_place", "is_mutable"]

_DEFINITIONS: Final = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
_SCRIPT_TEST: Final = "__name__ == '__main__'"
CHANGED: Final = Opaque("may be changed in place")
_NOT_PLAIN: Final = Opaque("is not set by a plain assignment")


class Decorator(Frozen):
    """What stands behind one `@`.

    Args:
        text: The decorator's name as it is written.
        target: What the name stands for.
        is_called: Whether it has parentheses.
        arguments: The values in them.
        keywords: The values by keyword.
        fault: Why the values cannot be told; empty where they can.
    """

    text: str
    target: Meaning
    is_called: bool
    arguments: Sequence[Any]
    keywords: Mapping[str, Any]
    fault: str = ""

    @property
    def weight(self) -> int:
        """How much there is to look at for whoever says what it does."""
        # For that the real decorator is asked, which takes ten times as long as a look.
        return 10 + weight_of([self.arguments, self.keywords])

    @classmethod
    def read(cls, expression: ast.expr, body: Body) -> Decorator:
        """Read a decorator where it stands.

        Args:
            expression: What follows the `@`.
            body: The class or module that it stands in.

        Returns:
            The decorator.
        """
        call = expression if isinstance(expression, ast.Call) else None
        name = without_subscript(call.func if call else expression)
        text, target = written(name), resolve(name, body)
        if call is None:
            return cls(text, target, False, (), {})
        if any(keyword.arg is None for keyword in call.keywords):
            return cls(text, target, True, (), {}, f"@{text} is given its options by **")
        try:
            arguments = [evaluate(argument, body) for argument in call.args]
            keywords = {str(each.arg): evaluate(each.value, body) for each in call.keywords}
        except NotLiteral as error:
            return cls(text, target, True, (), {}, f"an argument of @{text} {error}")
        return cls(text, target, True, arguments, keywords)


class Function(Frozen, Meaning):
    """A function or lambda.

    Args:
        node: Its syntax.
        decorators: Its decorators, the outermost first.
    """

    node: Union[ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda]
    decorators: tuple[Decorator, ...] = ()
    reason = "is a function"

    @property
    def weight(self) -> int:  # type: ignore[override]
        """How much there is to look at for whoever says what it is."""
        return 1 + sum(each.weight for each in self.decorators)

    def is_decorated(self, *names: str) -> bool:
        """Tell whether one of some decorators of the language or its library is applied."""
        return any(each.target.is_standard(*names) for each in self.decorators)

    def member(self, name: str) -> Meaning:
        """Tell that an attribute, such as a property's `setter`, is nothing of its own."""
        return Opaque("belongs to a function", trusted=True)


class Body(Meaning):
    """The names that a module or class body binds.

    Args:
        tree: The syntax of the module or class.

    Attributes:
        names: What each name stands for after what has been read.
        lines: The line in which each name got its meaning.
        stars: The modules of `from module import *`.
    """

    def __init__(self, tree: Union[ast.Module, ast.ClassDef]) -> None:
        self.names: dict[str, Meaning] = {}
        self.lines: dict[str, int] = {}
        self.stars: list[Reference] = []
        # Whether the statement that is being read may not run.
        self.is_conditional = False
        self._statements = tree.body

    def run(self) -> None:
        """Read the statements."""
        for statement, is_conditional in _in_order(self._statements):
            self.is_conditional = is_conditional
            for name, meaning in list(self._bindings(statement)):
                self.bind(name, meaning, statement.lineno)
            if not isinstance(statement, _DEFINITIONS):
                for node in _own_nodes(statement):
                    self.note(node)
        self.is_conditional = False

    def look_up(self, name: str) -> Meaning:
        """Tell what a name stands for at this place."""
        raise NotImplementedError

    def spend(self, amount: int) -> None:
        """Account for what the length of the source does not bound."""
        raise NotImplementedError

    def change(self, meaning: Meaning) -> None:
        """Hear that a value is changed in place, which may have other names as well."""
        raise NotImplementedError

    def define(self, node: ast.ClassDef) -> Meaning:
        """Read a class that is defined here."""
        raise NotImplementedError

    def bind(self, name: str, meaning: Meaning, line: int) -> None:
        """Give a name a meaning."""
        self.names[name] = meaning
        self.lines[name] = line

    def unbind(self, name: str, line: int) -> None:
        """Take a name away."""
        if self.is_conditional:
            self.bind(name, Opaque("may be deleted"), line)
        else:
            self.names.pop(name, None)

    def note(self, node: ast.AST) -> None:
        """Take account of what a part of a statement does besides binding names."""
        changed = changed_in_place(node)
        if isinstance(changed, ast.Name) and is_mutable(self.look_up(changed.id)):
            self.change(self.look_up(changed.id))
            if changed.id in self.names:
                self.bind(changed.id, CHANGED, changed.lineno)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Del):
            self.unbind(node.id, node.lineno)
        elif isinstance(node, ast.NamedExpr):
            self.bind(node.target.id, _NOT_PLAIN, node.lineno)

    def is_call_of(self, call: ast.Call, *functions: str) -> bool:
        """Tell whether one of some functions of the language is called."""
        return resolve(call.func, self).is_standard(*functions)

    def _bindings(self, statement: ast.stmt) -> Iterator[tuple[str, Meaning]]:
        """Tell what names a statement binds; for a compound one, its head."""
        if isinstance(statement, ast.ClassDef):
            yield statement.name, self.define(statement)
        elif isinstance(statement, (ast.FunctionDef, ast.AsyncFunctionDef)):
            decorators = [Decorator.read(each, self) for each in statement.decorator_list]
            yield statement.name, Function(statement, tuple(decorators))
        elif isinstance(statement, ast.Import):
            for alias in statement.names:
                module = alias.name if alias.asname else alias.name.partition(".")[0]
                yield alias.asname or module, Reference("", module)
        elif isinstance(statement, ast.ImportFrom):
            yield from self._imported_from(statement)
        elif isinstance(statement, ast.Assign):
            yield from self._assigned(statement.targets, statement.value)
        elif isinstance(statement, ast.AnnAssign):
            if statement.value is not None:
                yield from self._assigned([statement.target], statement.value)
        else:
            if isinstance(statement, ast.AugAssign):
                self.change(resolve(statement.target, self))
            for name in _stored_names(statement):
                yield name, _NOT_PLAIN

    def _imported_from(self, statement: ast.ImportFrom) -> Iterator[tuple[str, Meaning]]:
        module = Reference("", statement.module or "", statement.level)
        for alias in statement.names:
            if alias.name == "*":
                self.stars.append(module)
            else:
                yield alias.asname or alias.name, module.member(alias.name)

    def _assigned(
        self, targets: Sequence[ast.expr], value: ast.expr
    ) -> Iterator[tuple[str, Meaning]]:
        # As when it runs, a value is made once for however many targets.
        made = functools.cache(self._made)
        parts = value.elts if isinstance(value, (ast.Tuple, ast.List)) else []
        for target in targets:
            elements = target.elts if isinstance(target, (ast.Tuple, ast.List)) else [target]
            names = [each.id for each in elements if isinstance(each, ast.Name)]
            if isinstance(target, ast.Name):
                yield target.id, made(value)
            elif len(names) == len(elements) == len(parts):
                yield from zip(names, map(made, parts))
            else:
                yield from ((name, _NOT_PLAIN) for name in _stored_names(target))

    def _made(self, value: ast.expr) -> Meaning:
        return Function(value) if isinstance(value, ast.Lambda) else meaning_of(value, self)


def changed_in_place(node: ast.AST) -> Optional[ast.expr]:
    """Tell what a part of a statement may change without binding it anew.

    Args:
        node: Any syntax.

    Returns:
        What a method is asked of, as in `names.append`, an element set or something added; None
        for other parts.
    """
    if isinstance(node, ast.AugAssign):
        return node.target
    if isinstance(node, ast.Subscript) and not isinstance(node.ctx, ast.Load):
        return node.value
    return node.value if isinstance(node, ast.Attribute) else None


def is_mutable(meaning: Meaning) -> bool:
    """Tell whether something is a value that can be changed in place."""
    return isinstance(meaning, Constant) and isinstance(meaning.value, (list, set, dict))


def _in_order(body: Sequence[ast.stmt]) -> Iterator[tuple[ast.stmt, bool]]:
    """Give all statements of a body, nested ones too, and whether each may not run."""
    pending = [(statement, False) for statement in reversed(body)]
    while pending:
        statement, conditional = pending.pop()
        yield statement, conditional
        if not isinstance(statement, _DEFINITIONS):
            pending += reversed([*_branches(statement, conditional)])


def _branches(statement: ast.stmt, conditional: bool) -> Iterator[tuple[ast.stmt, bool]]:
    truth = _truth(statement.test) if isinstance(statement, ast.If) else None
    if isinstance(statement, ast.If) and truth is not None:
        for each in statement.body if truth else statement.orelse:
            yield each, conditional
        return
    for block in ("body", "handlers", "orelse", "finalbody", "cases"):
        for part in getattr(statement, block, ()):
            for each in (part,) if isinstance(part, ast.stmt) else part.body:
                yield each, True


def _truth(test: ast.expr) -> Optional[bool]:
    """Tell how a test comes out that is the same in every import, None for others."""
    if isinstance(test, ast.UnaryOp) and isinstance(test.op, ast.Not):
        inner = _truth(test.operand)
        return None if inner is None else not inner
    if isinstance(test, ast.Constant):
        return bool(test.value)
    name = test.attr if isinstance(test, ast.Attribute) else getattr(test, "id", "")
    is_script_test = isinstance(test, ast.Compare) and ast.unparse(test) == _SCRIPT_TEST
    return False if name == "TYPE_CHECKING" or is_script_test else None


def _own_nodes(statement: ast.AST) -> Iterator[ast.AST]:
    """Give the parts of a statement that run with it, without the statements in it."""
    pending: list[ast.AST] = [statement]
    while pending:
        node = pending.pop()
        yield node
        if not isinstance(node, ast.Lambda):
            pending += [
                child for child in ast.iter_child_nodes(node) if not isinstance(child, ast.stmt)
            ]


def _stored_names(node: ast.AST) -> Iterator[str]:
    """Give the names that a target, or the head of a statement, binds."""
    for part in _own_nodes(node):
        if isinstance(part, ast.Name) and isinstance(part.ctx, ast.Store):
            yield part.id
        else:
            # The names of an `except` clause and of a pattern after `case` are plain texts.
            for attribute in ("name", "rest"):
                name = getattr(part, attribute, None)
                if isinstance(name, str):
                    yield name
