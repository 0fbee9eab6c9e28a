"""What a source file and the classes in it define, statement by statement, without running them."""

from __future__ import annotations

import ast
import builtins
from collections import ChainMap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Optional, Union

from nitro_dispatch.sources.literals import (
    Constant,
    Meaning,
    NotLiteral,
    Opaque,
    Reference,
    evaluate,
    meaning_of,
    resolve,
    without_subscript,
)

__all__ = [
    "Decorator",
    "Function",
    "LocalClass",
    "ModuleScope",
    "OutsideBase",
    "Scope",
    "is_named",
]

_DEFINITIONS: Final = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
_IMPORT_TEXTS: Final = frozenset({"__name__", "__file__", "__module__", "__qualname__"})
_WRITERS: Final = frozenset({"exec", "locals", "vars"})
_SETTERS: Final = frozenset({"setattr", "delattr"})
_NEUTRAL_BASES: Final = frozenset({"object", "ABC", "Generic", "Protocol"})


@dataclass(frozen=True)
class Decorator:
    """What stands behind one `@`.

    Args:
        text: The decorator's name as it is written.
        target: What the name stands for, None where that cannot be told.
        is_called: Whether it has parentheses.
        arguments: The values in them.
        keywords: The values by keyword.
        fault: Why the values cannot be told; empty where they can.
    """

    text: str
    target: Optional[Meaning]
    is_called: bool = False
    arguments: Sequence[Any] = ()
    keywords: Mapping[str, Any] = field(default_factory=dict)
    fault: str = ""

    @property
    def is_trusted(self) -> bool:
        """Whether it belongs to the language or the standard library."""
        return self.target is not None and self.target.trusted

    def is_standard(self, *names: str) -> bool:
        """Tell whether it is what the standard library has under one of some names."""
        return self.is_trusted and is_named(self.target, *names)

    def is_own(self, name: str) -> bool:
        """Tell whether it is what this library has under a name."""
        return isinstance(self.target, Reference) and self.target.is_own(name)

    @classmethod
    def read(cls, expression: ast.expr, scope: Scope) -> Decorator:
        """Read a decorator where it stands.

        Args:
            expression: What follows the `@`.
            scope: The class or module that it stands in.

        Returns:
            The decorator.
        """
        call = expression if isinstance(expression, ast.Call) else None
        name = without_subscript(call.func if call else expression)
        text, target = ast.unparse(name), resolve(name, scope)
        if call is None:
            return cls(text, target)
        if any(keyword.arg is None for keyword in call.keywords):
            return cls(text, target, True, fault=f"@{text} is given its options by **")
        try:
            arguments = [evaluate(argument, scope) for argument in call.args]
            keywords = {str(each.arg): evaluate(each.value, scope) for each in call.keywords}
        except NotLiteral as error:
            return cls(text, target, True, fault=f"an argument of @{text} {error}")
        return cls(text, target, True, arguments, keywords)


@dataclass(frozen=True)
class Function(Meaning):
    """A function or lambda.

    Args:
        node: Its syntax.
        decorators: Its decorators, the outermost first.
    """

    node: Union[ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda]
    decorators: tuple[Decorator, ...] = ()
    reason = "is a function"

    def member(self, name: str) -> Meaning:
        """Tell that an attribute, such as a property's `setter`, is nothing of its own."""
        return Opaque("belongs to a function", trusted=True)


class Scope(Meaning):
    """The names that a module or class body binds, in order.

    Args:
        tree: The syntax of the module or class.

    Attributes:
        names: What each name stands for at the end of what has been read.
        lines: The line in which each name got its meaning.
        stars: The modules of `from module import *`.
    """

    def __init__(self, tree: Union[ast.Module, ast.ClassDef]) -> None:
        self.names: dict[str, Meaning] = {}
        self.lines: dict[str, int] = {}
        self.stars: list[Reference] = []
        self._body = tree.body
        self._global: set[str] = set()
        self._touched: set[str] = set()
        for node in ast.walk(tree):
            if isinstance(node, ast.Global):
                self._global.update(node.names)
            elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
                self._touched.add(node.value.id)

    def look_up(self, name: str) -> Optional[Meaning]:
        """Tell what a name stands for at this place."""
        raise NotImplementedError

    def define(self, node: ast.ClassDef, *, conditional: bool) -> Meaning:
        """Read a class that is defined here."""
        raise NotImplementedError

    def bind(self, name: str, meaning: Meaning, line: int, *, conditional: bool) -> None:
        """Give a name a meaning."""
        if name in self._global:
            meaning = Opaque("is changed by a function")
        elif name in self._touched and _is_mutable(meaning):
            meaning = Opaque("may be changed by a method of it")
        self.names[name] = meaning
        self.lines[name] = line

    def unbind(self, name: str, line: int, *, conditional: bool) -> None:
        """Take a name away."""
        if conditional:
            self.bind(name, Opaque("may be deleted"), line, conditional=True)
        else:
            self.names.pop(name, None)

    def run(self) -> None:
        """Read the body."""
        for statement, conditional in _in_order(self._body):
            for name, meaning in list(self._bindings(statement, conditional)):
                self.bind(name, meaning, statement.lineno, conditional=conditional)
            if not isinstance(statement, _DEFINITIONS):
                for node in _own_nodes(statement):
                    self.note(node, conditional=conditional)

    def note(self, node: ast.AST, *, conditional: bool) -> None:
        """Take account of what else a part of a statement changes."""
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Del):
            self.unbind(node.id, node.lineno, conditional=conditional)
        elif isinstance(node, ast.Attribute) and not isinstance(node.ctx, ast.Load):
            self._note_change(node.value, ast.Constant(node.attr), node.lineno)
        elif isinstance(node, ast.Call) and is_named(resolve(node.func, self), *_SETTERS):
            changed, attribute = [*node.args, node, node][:2]
            self._note_change(changed, attribute, node.lineno)

    def _note_change(self, changed: ast.expr, attribute: ast.expr, line: int) -> None:
        target = resolve(changed, self)
        if not isinstance(target, LocalClass):
            return
        name = meaning_of(attribute, self)
        if isinstance(name, Constant):
            outside = Opaque("is set outside the class")
            target.bind(str(name.value), outside, line, conditional=False)
        else:
            target.doubts.append((line, "has attributes that are set outside the class"))

    def _bindings(self, statement: ast.stmt, conditional: bool) -> Iterator[tuple[str, Meaning]]:
        """Tell what names a statement binds; for a compound one, its head."""
        if isinstance(statement, ast.ClassDef):
            yield statement.name, self.define(statement, conditional=conditional)
        elif isinstance(statement, (ast.FunctionDef, ast.AsyncFunctionDef)):
            decorators = [Decorator.read(each, self) for each in statement.decorator_list]
            yield statement.name, Function(statement, tuple(decorators))
        elif isinstance(statement, (ast.Import, ast.ImportFrom)):
            yield from self._imported(statement)
        elif isinstance(statement, ast.Assign):
            for target in statement.targets:
                yield from self._assigned(target, statement.value)
        elif isinstance(statement, ast.AnnAssign):
            if statement.value is not None:
                yield from self._assigned(statement.target, statement.value)
        else:
            for name in _stored_names(statement):
                yield name, Opaque("is not set by a plain assignment")

    def _imported(
        self, statement: Union[ast.Import, ast.ImportFrom]
    ) -> Iterator[tuple[str, Meaning]]:
        for alias in statement.names:
            if isinstance(statement, ast.ImportFrom):
                module = Reference("", statement.module or "", statement.level)
                if alias.name == "*":
                    self.stars.append(module)
                else:
                    yield alias.asname or alias.name, module.member(alias.name)
            elif alias.asname:
                yield alias.asname, Reference("", alias.name)
            else:
                top = alias.name.partition(".")[0]
                yield top, Reference("", top)

    def _assigned(self, target: ast.expr, value: ast.expr) -> Iterator[tuple[str, Meaning]]:
        if isinstance(target, ast.Name):
            if isinstance(value, ast.Lambda):
                yield target.id, Function(value)
            else:
                yield target.id, meaning_of(value, self)
            return
        parts = value.elts if isinstance(value, (ast.Tuple, ast.List)) else []
        targets = target.elts if isinstance(target, (ast.Tuple, ast.List)) else []
        if len(parts) == len(targets) and all(isinstance(each, ast.Name) for each in targets):
            for each, part in zip(targets, parts):
                yield from self._assigned(each, part)
        else:
            for name in _stored_names(target):
                yield name, Opaque("is not set by a plain assignment")


@dataclass(frozen=True)
class OutsideBase:
    """A base of a class that the file does not define.

    Args:
        text: How it is written.
        line: The line in which it is.
        meaning: What it stands for, None where that cannot be told.
    """

    text: str
    line: int = field(compare=False)
    meaning: Optional[Meaning]

    @property
    def lineage(self) -> _Lineage:
        """All that is known of its bases: nothing."""
        return [self]

    @property
    def is_neutral(self) -> bool:
        """Whether it adds nothing that a plugin could inherit."""
        return self.is_trusted and is_named(self.meaning, *_NEUTRAL_BASES)

    @property
    def is_trusted(self) -> bool:
        """Whether it belongs to the language or the standard library."""
        return self.meaning is not None and self.meaning.trusted

    @property
    def reason(self) -> str:
        """Why it cannot be read, to follow its name in a sentence."""
        return self.meaning.reason if self.meaning is not None else "cannot be told"

    def is_own(self, name: str) -> bool:
        """Tell whether it is what this library has under a name."""
        return isinstance(self.meaning, Reference) and self.meaning.is_own(name)


class ModuleScope(Scope):
    """What a source file defines.

    Attributes:
        classes: The classes at its top level, in order of definition.

    Example:
        >>> module = ModuleScope(ast.parse("from .events import LOGIN as EVENT"))
        >>> module.run()
        >>> module.look_up("EVENT")
        Reference(name='LOGIN', module='events', level=1)
    """

    reason = "is a module"

    def __init__(self, tree: ast.Module) -> None:
        super().__init__(tree)
        self.classes: list[LocalClass] = []

    def look_up(self, name: str) -> Optional[Meaning]:
        """Tell what a name stands for at this place."""
        if name in self.names:
            return self.names[name]
        if name in _IMPORT_TEXTS:
            return Opaque("is known when it is imported", trusted=True)
        if hasattr(builtins, name):
            return Reference(name, builtins.__name__)
        return self.stars[0].member(name) if len(self.stars) == 1 else None

    def define(self, node: ast.ClassDef, *, conditional: bool) -> Meaning:
        """Read a class that is defined here."""
        defined = LocalClass(node, self)
        if conditional:
            defined.doubts.append((node.lineno, "is defined under a condition"))
        self.classes.append(defined)
        return defined

    def bind(self, name: str, meaning: Meaning, line: int, *, conditional: bool) -> None:
        """Give a name a meaning; in one of several branches it may have another one already."""
        if conditional and name in self.names:
            meaning = Opaque("is bound in more than one way")
        super().bind(name, meaning, line, conditional=conditional)


class LocalClass(Scope):
    """A class that the file defines.

    Args:
        node: Its syntax.
        module: The file's names so far.

    Attributes:
        name: Its name.
        line: The line of its definition.
        doubts: Lines and reasons why it may be another class than its body says.
        metaclass: What its metaclass stands for, where it names one.
        lineage: The class and all its bases in the order in which attributes are looked up.
        mro: Those of them that the file defines.
    """

    reason = "is a class"

    def __init__(self, node: ast.ClassDef, module: ModuleScope) -> None:
        super().__init__(node)
        self.name, self.line = node.name, node.lineno
        self.doubts: list[tuple[int, str]] = []
        self.metaclass: Optional[Meaning] = None
        self._module = module
        bases = [_read_base(base, module) for base in node.bases]
        self.lineage: _Lineage = [self, *_merge([each.lineage for each in bases], bases)]
        self.mro = [each for each in self.lineage if isinstance(each, LocalClass)]
        for keyword in node.keywords:
            if keyword.arg == "metaclass":
                self.metaclass = meaning_of(keyword.value, module)
        for decorator in map(_without_call, node.decorator_list):
            target = resolve(decorator, module)
            if not (target is not None and target.trusted and is_named(target, "final")):
                text = ast.unparse(decorator)
                self.doubts.append((node.lineno, f"is decorated by @{text}"))
        self.run()

    @property
    def outside_bases(self) -> list[OutsideBase]:
        """The bases that the file does not define, those of its bases included."""
        return [each for each in self._outside if not each.is_neutral]

    @property
    def _outside(self) -> list[OutsideBase]:
        return [each for each in self.lineage if isinstance(each, OutsideBase)]

    @property
    def runs_metaclass(self) -> bool:
        """Whether a metaclass has its hand in it that does more than look for abstract methods."""
        metaclasses = [each.metaclass for each in self.mro if each.metaclass is not None]
        return not all(each.trusted and is_named(each, "ABCMeta", "type") for each in metaclasses)

    @property
    def is_abstract(self) -> bool:
        """Whether abstract methods are left, so that it has no instances."""
        demanded = {
            name
            for each in self.mro
            if each._demands_methods
            for name, meaning in each.names.items()
            if _is_abstract(meaning)
        }
        attributes = self.attributes
        return any(_is_abstract(attributes[name]) for name in demanded)

    @property
    def _demands_methods(self) -> bool:
        """Whether it looks for abstract methods: those of classes that do not are no matter."""
        makers = [*(each.meaning for each in self._outside), *(each.metaclass for each in self.mro)]
        return any(is_named(each, "ABC", "ABCMeta") for each in makers)

    def look_up(self, name: str) -> Optional[Meaning]:
        """Tell what a name stands for in the class body."""
        own = self.names.get(self._mangled(name))
        return own if own is not None else self._module.look_up(name)

    @property
    def attributes(self) -> dict[str, Meaning]:
        """What each attribute stands for, those of bases that the file defines included."""
        return dict(ChainMap(*(each.names for each in self.mro)))

    def owner_of(self, name: str) -> Optional[LocalClass]:
        """Find the class that has an attribute, this one or a base that the file defines."""
        return next((each for each in self.mro if name in each.names), None)

    def is_behind(self, owner: LocalClass, base: str) -> bool:
        """Tell whether a base of this library's is asked for an attribute before another base."""
        places = [
            place
            for place, each in enumerate(self.lineage)
            if isinstance(each, OutsideBase) and each.is_own(base)
        ]
        return bool(places) and places[-1] < self.lineage.index(owner)

    def member(self, name: str) -> Optional[Meaning]:
        """Tell what an attribute stands for; an enumeration's is not what its body says."""
        owner = self.owner_of(name)
        if owner is None or any(not base.is_own("PluginBase") for base in self.outside_bases):
            return None
        return owner.names[name]

    def define(self, node: ast.ClassDef, *, conditional: bool) -> Meaning:
        """Read a class that is defined here."""
        return LocalClass(node, self._module)

    def bind(self, name: str, meaning: Meaning, line: int, *, conditional: bool) -> None:
        """Give an attribute a meaning; in a branch it may not even be there."""
        if conditional:
            meaning = Opaque("is bound under a condition")
        super().bind(self._mangled(name), meaning, line, conditional=conditional)

    def unbind(self, name: str, line: int, *, conditional: bool) -> None:
        """Take an attribute away."""
        super().unbind(self._mangled(name), line, conditional=conditional)

    def note(self, node: ast.AST, *, conditional: bool) -> None:
        """Take account of what else a part of a statement changes."""
        super().note(node, conditional=conditional)
        if isinstance(node, ast.Call) and is_named(resolve(node.func, self), *_WRITERS):
            self.doubts.append((node.lineno, "changes its namespace by a call"))

    def _mangled(self, name: str) -> str:
        if name.startswith("__") and not name.endswith("__"):
            return f"_{self.name.lstrip('_')}{name}"
        return name


_Lineage = list[Union[LocalClass, OutsideBase]]


def _read_base(node: ast.expr, module: ModuleScope) -> Union[LocalClass, OutsideBase]:
    meaning = resolve(without_subscript(node), module)
    if isinstance(meaning, LocalClass):
        return meaning
    return OutsideBase(ast.unparse(node), node.lineno, meaning)


def _merge(lineages: Sequence[_Lineage], bases: _Lineage) -> _Lineage:
    """Put the bases of a class, and theirs, in the order that Python gives them (C3)."""
    if len(lineages) == 1:
        return lineages[0]
    merged: _Lineage = []
    pending = [lineage for lineage in (*lineages, bases) if lineage]
    while pending:
        heads = [lineage[0] for lineage in pending]
        tails = [each for lineage in pending for each in lineage[1:]]
        # Without a head that is in no tail Python refuses the class, and any order will do.
        first = next((head for head in heads if head not in tails), heads[0])
        merged.append(first)
        shorter = ([each for each in lineage if each != first] for lineage in pending)
        pending = [lineage for lineage in shorter if lineage]
    return merged


def is_named(meaning: Optional[Meaning], *names: str) -> bool:
    """Tell whether something comes from outside the file under one of some names."""
    return isinstance(meaning, Reference) and meaning.name in names


def _is_abstract(meaning: Meaning) -> bool:
    return isinstance(meaning, Function) and any(
        each.is_standard("abstractmethod") for each in meaning.decorators
    )


def _is_mutable(meaning: Meaning) -> bool:
    return isinstance(meaning, Constant) and isinstance(meaning.value, (list, set, dict))


def _without_call(expression: ast.expr) -> ast.expr:
    """Give what a decorator names, without its parentheses."""
    return expression.func if isinstance(expression, ast.Call) else expression


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
    text = ast.unparse(test)
    if text.rpartition(".")[2] == "TYPE_CHECKING" or text == "__name__ == '__main__'":
        return False
    return None


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
