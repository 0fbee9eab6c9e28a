"""Reads the plugin classes of a source file without running it.

A plugin's class body is its manifest: metadata and `@hook(...)` decorators are nearly always
literals. What is not is marked unknown, and what the reader says of a class is then not complete.
"""

from __future__ import annotations

import ast
import os
from typing import Final, Optional, Union

from nitro_dispatch.frozen import replace
from nitro_dispatch.hooks import decorated_hooks, hook
from nitro_dispatch.metadata import FIELDS
from nitro_dispatch.sources.descriptions import (
    ClassDescription,
    FileDescription,
    HookDescription,
    Unknown,
)
from nitro_dispatch.sources.literals import NotLiteral
from nitro_dispatch.sources.meanings import Constant, Meaning, Opaque, Reference, shortened
from nitro_dispatch.sources.scopes import LocalClass, ModuleScope, OutsideBase, read_module
from nitro_dispatch.sources.statements import Decorator, Function

__all__ = ["read_file", "read_source"]

_RUNNING: Final = ("__init__", "__new__", "__init_subclass__", "on_load")
_TRANSPARENT: Final = ("abstractmethod", "classmethod", "final", "override", "staticmethod")
# What a plugin keeps in these attributes is never called as a hook.
_NO_HOOKS: Final = frozenset({*FIELDS, "config_model"})


def read_file(path: Union[str, os.PathLike[str]]) -> FileDescription:
    """Read all that matters of a file.

    Args:
        path: The Python file.

    Returns:
        What it says of plugin classes, and where its names come from.

    Raises:
        OSError: The file cannot be read.
        SyntaxError: It is not Python, or its declared encoding is not known.
        ValueError: It has null bytes, is nested too deeply or repeats too much.
    """
    with open(path, "rb") as file:
        return read_source(file.read(), os.fspath(path))


def read_source(source: bytes, path: str) -> FileDescription:
    """Read all that matters of a source text.

    A class is a plugin's if its bases lead to `PluginBase`. If they lead elsewhere, it may be one:
    then it is described, with unknown bases, if it has a hook, a `name` that is literal, an
    `on_load`, a base with "plugin" in its name, or a base that the file makes in a way that cannot
    be told.

    Args:
        source: The content of the file.
        path: The path of the file, for messages.

    Returns:
        What it says of the concrete plugin classes at its top level, in order of definition, and
        where its names come from.

    Raises:
        SyntaxError: It is not Python, or its declared encoding is not known.
        ValueError: It has null bytes, is nested too deeply or repeats too much.

    Example:
        >>> source = b'''
        ... from nitro_dispatch import PluginBase, hook
        ...
        ... class Greeter(PluginBase):
        ...     name = "greeter"
        ...
        ...     @hook("user.login", priority=100)
        ...     def greet(self, data): ...
        ... '''
        >>> [greeter] = read_source(source, "greeter_plugin.py").classes
        >>> greeter.values, greeter.hooks[0].events, greeter.complete
        ({'name': 'greeter'}, ('user.login',), True)
    """
    module = read_module(source, path)
    described = [_describe(each, path) for each in _bound_classes(module)]
    names = {name: _reference_to(meaning) for name, meaning in module.names.items()}
    return FileDescription(
        classes=tuple(description for description in described if description is not None),
        names=names,
        lines={name: module.lines[name] for name in names if names[name]},
        stars=tuple(map(str, module.stars)),
    )


def _reference_to(meaning: Meaning) -> str:
    if isinstance(meaning, LocalClass):
        meaning = Reference(meaning.name)
    return str(meaning) if isinstance(meaning, Reference) and not meaning.is_builtin else ""


def _bound_classes(module: ModuleScope) -> list[LocalClass]:
    """Give the classes that the module has, or may have, when it has been imported."""
    bound = {id(meaning) for meaning in module.names.values()}
    names = module.names.items()
    opaque = {name: module.lines[name] for name, meaning in names if isinstance(meaning, Opaque)}
    last, name = max(((line, name) for name, line in opaque.items()), default=(0, ""))
    for each in module.classes:
        if id(each) in bound:
            continue
        if each.name in opaque:
            each.doubts.append((opaque[each.name], "may be replaced under its name"))
        elif last > each.line:
            each.doubts.append((last, shortened(f"may be {name}")))
        else:
            continue
        bound.add(id(each))
    return [each for each in module.classes if id(each) in bound]


def _describe(plugin: LocalClass, path: str) -> Optional[ClassDescription]:
    """Describe a class, if it is a concrete plugin class or may be one."""
    # What one base says is said again for each class that inherits it.
    plugin.spend(sum(each.content for each in plugin.mro))
    hooks = _Hooks(plugin)
    foreign = [base for base in plugin.outside_bases if not base.meaning.is_own("PluginBase")]
    is_plugin = len(foreign) < len(plugin.outside_bases)
    is_abstract = plugin.is_abstract and not foreign
    if is_abstract or not (is_plugin or _may_be_plugin(plugin, hooks, foreign)):
        return None
    values, unread = _read_values(plugin)
    doubts = [Unknown("class", *doubt) for each in plugin.mro for doubt in each.doubts]
    bases = [
        Unknown("bases", each.line, shortened(f"{each.text} {each.meaning.reason}"))
        for each in foreign
    ]
    return ClassDescription(
        class_name=plugin.name,
        line=plugin.line,
        values=values,
        hooks=hooks.described,
        unknown=(*doubts, *bases, *unread, *hooks.unknown),
        runs_code=plugin.runs_metaclass or any(map(plugin.owner_of, _RUNNING)),
        path=path,
        faults=tuple(hooks.faults),
    )


def _may_be_plugin(plugin: LocalClass, hooks: _Hooks, foreign: list[OutsideBase]) -> bool:
    """Tell whether a class looks like a plugin whose bases cannot be read."""
    named = plugin.owner_of("name")
    strange = [base for base in foreign if not base.meaning.trusted]
    return bool(strange) and (
        bool(hooks.described)
        or (named is not None and isinstance(named.names["name"], Constant))
        or plugin.owner_of("on_load") is not None
        or any("plugin" in base.text.lower() for base in strange)
        # The file itself makes the base: of a plugin class, as likely as not.
        or any(isinstance(base.meaning, Opaque) for base in strange)
    )


def _read_values(plugin: LocalClass) -> tuple[dict[str, object], list[Unknown]]:
    """Give the metadata that is literal, and what is not."""
    values: dict[str, object] = {}
    unknown = []
    for field in FIELDS:
        owner = plugin.owner_of(field)
        if owner is None:
            continue
        meaning = plugin.told(owner.names[field])
        if plugin.is_behind(owner, "PluginBase"):
            unknown.append(Unknown(field, owner.lines[field], "is hidden by that of PluginBase"))
        elif isinstance(meaning, Constant):
            values[field] = meaning.value
        else:
            unknown.append(Unknown(field, owner.lines[field], meaning.reason))
    return values, unknown


class _Refused(NotLiteral):
    """A decorator raises an error when it runs; the text says why."""


class _Hooks:
    """The hooks of a class, found as `decorated_hooks` finds those of an instance.

    Args:
        plugin: The class.

    Attributes:
        faults: Why the class cannot be defined, one text for each hook that is refused.
    """

    def __init__(self, plugin: LocalClass) -> None:
        self._plugin = plugin
        self._marks: dict[str, HookDescription] = {}
        self._doubts: dict[str, Unknown] = {}
        self.faults: list[str] = []
        for owner in reversed(plugin.mro):
            for name, meaning in owner.names.items():
                self._take_in(name, meaning, owner.lines[name])

    @property
    def unknown(self) -> list[Unknown]:
        """What cannot be told of the hooks."""
        return list(self._doubts.values())

    @property
    def described(self) -> tuple[HookDescription, ...]:
        """The hooks in the order in which they are registered."""
        return tuple(self._completed(mark) for mark in self._marks.values())

    def _take_in(self, name: str, meaning: Meaning, line: int) -> None:
        """Take account of an attribute, which may add a hook or override one of a base."""
        try:
            mark = _read_mark(name, meaning, overrides=name in self._marks)
        except NotLiteral as doubt:
            self._doubts[name] = Unknown("hooks", line, shortened(f"{name} {doubt}"))
            if isinstance(doubt, _Refused):
                self.faults.append(f"in line {line} {name} {doubt}")
            return
        if mark is not None:
            # Its place among the hooks is that of what it overrides, so a doubt about that stays.
            self._marks[name] = mark
        elif not _is_callable(meaning):
            self._marks.pop(name, None)
            self._doubts.pop(name, None)

    def _completed(self, mark: HookDescription) -> HookDescription:
        """Add what the method itself tells, which need not be the one that was decorated."""
        owner = self._plugin.owner_of(mark.method) or self._plugin
        method = owner.names[mark.method]
        if not isinstance(method, Function):
            return replace(mark, line=owner.lines[mark.method])
        return replace(
            mark,
            is_async=mark.is_async or isinstance(method.node, ast.AsyncFunctionDef),
            wants_event=_wants_event(method),
            line=owner.lines[mark.method],
        )


def _is_callable(meaning: Meaning) -> bool:
    """Tell whether something takes the place of a hook without ending it."""
    if isinstance(meaning, Function):
        return not meaning.is_decorated("property")
    return isinstance(meaning, LocalClass)


def _read_mark(name: str, meaning: Meaning, *, overrides: bool) -> Optional[HookDescription]:
    """Read what makes an attribute a hook.

    Args:
        name: The attribute's name.
        meaning: What it stands for.
        overrides: Whether it takes the place of a hook.

    Returns:
        The hook as its decorator describes it, None without such a decorator.

    Raises:
        NotLiteral: It cannot be told whether it is a hook, or it is a hook that is refused.
    """
    if isinstance(meaning, Function):
        return _read_decorators(name, meaning.decorators, overrides=overrides)
    harmless = meaning.trusted or name in _NO_HOOKS
    if isinstance(meaning, (Constant, LocalClass)) or (harmless and not overrides):
        return None
    raise NotLiteral(meaning.reason)


def _read_decorators(
    name: str, decorators: tuple[Decorator, ...], *, overrides: bool
) -> Optional[HookDescription]:
    marking = [each for each in decorators if each.target.is_own("hook")]
    for decorator in decorators:
        if marking and decorator is marking[0]:
            if len(marking) > 1:
                raise _stacked(decorators)
            return _describe_hook(name, decorator)
        if decorator.target.is_standard(*_TRANSPARENT):
            continue
        if marking:
            raise NotLiteral(f"is wrapped by @{decorator.text} on top of @hook")
        if not decorator.target.trusted:
            raise NotLiteral(f"may be made a hook by @{decorator.text}")
        if overrides and not decorator.target.is_standard("property"):
            raise NotLiteral(f"overrides a hook and is decorated by @{decorator.text}")
    return None


def _stacked(decorators: tuple[Decorator, ...]) -> NotLiteral:
    """Say that a function has several marks, of which another decorator may keep one back."""
    is_sure = all(
        each.target.is_own("hook") or each.target.is_standard(*_TRANSPARENT) for each in decorators
    )
    kind = _Refused if is_sure else NotLiteral
    return kind("has @hook twice, which cannot be stacked: write @hook(['a', 'b'])")


def _describe_hook(method: str, decorator: Decorator) -> HookDescription:
    """Ask the real decorator what its arguments mean: only literals take part."""
    if not decorator.is_called:
        raise _Refused("is refused: @hook needs the event's name, as in @hook('user.login')")
    if decorator.fault:
        raise NotLiteral(f"cannot be read, as {decorator.fault}")
    try:
        marked = hook(*decorator.arguments, **decorator.keywords)(lambda data: data)
    except (TypeError, ValueError) as error:
        raise _Refused(f"is refused by @hook: {error}") from None
    declared = decorated_hooks(type("Described", (), {"marked": marked})())
    options = declared[0][2]
    return HookDescription(
        method,
        tuple(event for event, _, _ in declared),
        priority=options.priority,
        timeout=options.timeout,
        is_async=options.is_async,
        blocking=options.blocking,
        atomic=options.atomic,
        before=options.before,
        after=options.after,
    )


def _wants_event(function: Function) -> bool:
    """Tell whether the parameter after the data is called `event`."""
    arguments = function.node.args
    every = (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs)
    place = 1 if function.is_decorated("staticmethod") else 2
    return [each.arg for each in every][place : place + 1] == ["event"]
