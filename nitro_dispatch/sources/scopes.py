"""The names of a source file and the classes in it, told without running the file."""

from __future__ import annotations

import ast
import builtins
import functools
from collections import ChainMap, Counter, deque
from collections.abc import Sequence
from itertools import islice
from typing import Final, Optional, Union

from nitro_dispatch.frozen import Frozen
from nitro_dispatch.sources.literals import meaning_of, resolve, without_subscript, written
from nitro_dispatch.sources.meanings import UNTOLD, Constant, Meaning, Opaque, Reference
from nitro_dispatch.sources.statements import (
    CHANGED,
    Body,
    Decorator,
    Function,
    changed_in_place,
    is_mutable,
)

__all__ = ["LocalClass", "ModuleScope", "OutsideBase", "read_module"]

# A few lines that hand on much to many classes would take minutes to be told, and all memory.
_MOST_REPEATED: Final = 300_000

_SETTERS: Final = ("setattr", "delattr")
_IMPORT_TEXTS: Final = frozenset({"__name__", "__file__", "__module__", "__qualname__"})


def read_module(source: bytes, path: str) -> ModuleScope:
    """Read what a source text defines, without running it.

    Args:
        source: The content of the file.
        path: The path of the file, for messages.

    Returns:
        Its names.

    Raises:
        SyntaxError: It is not Python, or its declared encoding is not known.
        ValueError: It has null bytes, is nested too deeply or repeats too much.

    Example:
        >>> read_module(b"from .events import LOGIN as EVENT", "audit.py").names
        {'EVENT': Reference(name='LOGIN', module='events', level=1)}
    """
    try:
        module = ModuleScope(ast.parse(source, path), path)
        module.run()
    except (RecursionError, MemoryError):
        raise ValueError(f"{path} is nested too deeply to be read") from None
    return module


class ModuleScope(Body):
    """What a source file defines.

    Args:
        tree: The syntax of the file.
        path: The path of the file, for messages.

    Attributes:
        classes: The classes at its top level, in order of definition.
    """

    def __init__(self, tree: ast.Module, path: str) -> None:
        super().__init__(tree)
        self.classes: list[LocalClass] = []
        self._path = path
        self._spent = 0
        self._global: set[str] = set()
        self._changed: set[str] = set()
        # By identity, and kept, so that no other value can take the place of one of them.
        self._changed_values: dict[int, object] = {}
        # A function may change what the module binds, and a later statement what a class has got.
        for node in ast.walk(tree):
            if isinstance(node, ast.Global):
                self._global.update(node.names)
            changed = changed_in_place(node)
            if isinstance(changed, ast.Name):
                self._changed.add(changed.id)

    def look_up(self, name: str) -> Meaning:
        """Tell what a name stands for at this place."""
        if name in self.names:
            return self.told(self.names[name])
        if name in _IMPORT_TEXTS:
            return Opaque("is known when it is imported", trusted=True)
        if hasattr(builtins, name):
            return Reference(name, builtins.__name__)
        return self.stars[0].member(name) if len(self.stars) == 1 else UNTOLD

    def spend(self, amount: int) -> None:
        """Account for what the length of the source does not bound.

        Args:
            amount: How much of what the file has once is copied or looked at again.

        Raises:
            ValueError: That is too much for one file.
        """
        self._spent += amount
        if self._spent > _MOST_REPEATED:
            raise ValueError(
                f"{self._path} repeats too much to be read: its classes inherit, or its names "
                "stand for, more than anybody writes"
            )

    def change(self, meaning: Meaning) -> None:
        """Hear that a value is changed in place, which may have other names as well."""
        if isinstance(meaning, Constant) and is_mutable(meaning):
            self._changed_values[id(meaning.value)] = meaning.value

    def told(self, meaning: Meaning) -> Meaning:
        """Give a meaning back, unless it is a value that was changed under whatever name."""
        is_value = isinstance(meaning, Constant) and id(meaning.value) in self._changed_values
        return CHANGED if is_value else meaning

    def define(self, node: ast.ClassDef) -> Meaning:
        """Read a class that is defined here."""
        defined = LocalClass(node, self)
        if self.is_conditional:
            defined.doubts.append((node.lineno, "is defined under a condition"))
        self.classes.append(defined)
        return defined

    def bind(self, name: str, meaning: Meaning, line: int) -> None:
        """Give a name a meaning; in one of several branches it may have another one already."""
        if name in self._changed:
            self.change(meaning)
        if self.is_conditional and name in self.names:
            meaning = Opaque("is bound in more than one way")
        elif name in self._global:
            meaning = Opaque("is changed by a function")
        super().bind(name, self.told(meaning), line)

    def note(self, node: ast.AST) -> None:
        """Take account of what changes a class after its definition."""
        super().note(node)
        changed = changed_in_place(node)
        if isinstance(node, ast.Attribute) and not isinstance(node.ctx, ast.Load):
            self._note_change(node.value, ast.Constant(node.attr), node.lineno)
        elif isinstance(changed, ast.Attribute) and isinstance(changed.value, ast.Name):
            if is_mutable(resolve(changed, self)):
                self.change(resolve(changed, self))
                self._note_change(changed.value, ast.Constant(changed.attr), changed.lineno)
        elif isinstance(node, ast.Call) and len(node.args) > 1 and self.is_call_of(node, *_SETTERS):
            self._note_change(node.args[0], node.args[1], node.lineno)

    def _note_change(self, owner: ast.expr, attribute: ast.expr, line: int) -> None:
        target, name = resolve(owner, self), meaning_of(attribute, self)
        if isinstance(target, LocalClass) and isinstance(name, Constant):
            target.bind(str(name.value), Opaque("is changed outside the class"), line)
        elif isinstance(target, LocalClass):
            target.doubts.append((line, "has attributes that are changed outside the class"))


class OutsideBase(Frozen, aside=("line",)):
    """A base of a class that the file does not define.

    Args:
        text: How it is written.
        line: The line in which it is.
        meaning: What it stands for.
    """

    text: str
    line: int
    meaning: Meaning

    @property
    def lineage(self) -> Lineage:
        """The base itself: nothing is known of its bases."""
        return [self]


class LocalClass(Body):
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
        lineages = [each.lineage for each in bases]
        module.spend(len(bases) * sum(map(len, lineages)))
        self.lineage: Lineage = [self, *_merge(lineages, bases)]
        self.mro = [each for each in self.lineage if isinstance(each, LocalClass)]
        for keyword in node.keywords:
            if keyword.arg == "metaclass":
                self.metaclass = meaning_of(keyword.value, module)
        # Whether it looks for abstract methods: those of classes that do not are no matter.
        makers = [*(each.meaning for each in self._outside), *(each.metaclass for each in self.mro)]
        self._demands_methods = any(
            each is not None and each.is_standard("ABC", "ABCMeta") for each in makers
        )
        for decorator in (Decorator.read(each, module) for each in node.decorator_list):
            if not decorator.target.is_standard("final"):
                self.doubts.append((node.lineno, f"is decorated by @{decorator.text}"))
        self.run()

    @property
    def outside_bases(self) -> list[OutsideBase]:
        """The bases from which it may inherit what the file does not tell."""
        neutral = ("object", "ABC", "Generic", "Protocol")
        return [each for each in self._outside if not each.meaning.is_standard(*neutral)]

    @property
    def _outside(self) -> list[OutsideBase]:
        return [each for each in self.lineage if isinstance(each, OutsideBase)]

    @property
    def runs_metaclass(self) -> bool:
        """Whether a metaclass has its hand in it that does more than look for abstract methods."""
        return any(
            each.metaclass is not None and not each.metaclass.is_standard("ABCMeta", "type")
            for each in self.mro
        )

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
        attributes = ChainMap(*(each.names for each in self.mro))
        return any(_is_abstract(attributes[name]) for name in demanded)

    @functools.cached_property
    def content(self) -> int:
        """How much its own body says, for whoever says it again."""
        return 1 + len(self.doubts) + sum(each.weight for each in self.names.values())

    def spend(self, amount: int) -> None:
        """Account for what the length of the source does not bound."""
        self._module.spend(amount)

    def change(self, meaning: Meaning) -> None:
        """Hear that a value is changed in place, which may have other names as well."""
        self._module.change(meaning)

    def told(self, meaning: Meaning) -> Meaning:
        """Give a meaning back, unless it is a value that was changed under whatever name."""
        return self._module.told(meaning)

    def owner_of(self, name: str) -> Optional[LocalClass]:
        """Find the class that has an attribute, this one or a base that the file defines."""
        return next((each for each in self.mro if name in each.names), None)

    def is_behind(self, owner: LocalClass, base: str) -> bool:
        """Tell whether a base of this library's is asked for an attribute before another base."""
        places = [
            place
            for place, each in enumerate(self.lineage)
            if isinstance(each, OutsideBase) and each.meaning.is_own(base)
        ]
        return bool(places) and places[-1] < self.lineage.index(owner)

    def look_up(self, name: str) -> Meaning:
        """Tell what a name stands for in the class body."""
        own = self.names.get(self._mangled(name))
        return self.told(own) if own is not None else self._module.look_up(name)

    def member(self, name: str) -> Meaning:
        """Tell what an attribute stands for; an enumeration's is not what its body says."""
        owner = self.owner_of(name)
        strange = [each for each in self.outside_bases if not each.meaning.is_own("PluginBase")]
        return UNTOLD if owner is None or strange else self.told(owner.names[name])

    def define(self, node: ast.ClassDef) -> Meaning:
        """Read a class that is defined here."""
        return LocalClass(node, self._module)

    def bind(self, name: str, meaning: Meaning, line: int) -> None:
        """Give an attribute a meaning; in a branch it may not even be there."""
        if self.is_conditional:
            self.change(meaning)  # Perhaps under this name, which does not tell any more.
            meaning = Opaque("is bound under a condition")
        super().bind(self._mangled(name), meaning, line)

    def unbind(self, name: str, line: int) -> None:
        """Take an attribute away."""
        super().unbind(self._mangled(name), line)

    def note(self, node: ast.AST) -> None:
        """Take account of calls that may bind any name."""
        super().note(node)
        if isinstance(node, ast.Call) and self.is_call_of(node, "exec", "locals", "vars"):
            self.doubts.append((node.lineno, "changes its namespace by a call"))

    def _mangled(self, name: str) -> str:
        """Give a private name the form that it has outside the class."""
        is_private = name.startswith("__") and not name.endswith("__")
        return f"_{self.name.lstrip('_')}{name}" if is_private else name


Lineage = list[Union[LocalClass, OutsideBase]]


def _read_base(node: ast.expr, module: ModuleScope) -> Union[LocalClass, OutsideBase]:
    meaning = resolve(without_subscript(node), module)
    if isinstance(meaning, LocalClass):
        return meaning
    return OutsideBase(written(node), node.lineno, meaning)


def _merge(lineages: Sequence[Lineage], bases: Lineage) -> Lineage:
    """Put the bases of a class, and theirs, in the order that Python gives them (C3)."""
    if len(lineages) == 1:
        return lineages[0]
    pending = [deque(lineage) for lineage in (*lineages, bases) if lineage]
    waiting = Counter(each for lineage in (*lineages, bases) for each in lineage[1:])
    merged: dict[Union[LocalClass, OutsideBase], None] = {}
    while pending:
        heads = [lineage[0] for lineage in pending]
        # Without a head that waits nowhere Python refuses the class, and any order will do.
        first = next((head for head in heads if not waiting[head]), heads[0])
        merged[first] = None
        for lineage in pending:
            if lineage[0] == first:
                lineage.popleft()
                waiting.subtract(islice(lineage, 1))
        pending = [lineage for lineage in pending if lineage]
    return list(merged)


def _is_abstract(meaning: Meaning) -> bool:
    return isinstance(meaning, Function) and meaning.is_decorated("abstractmethod")
