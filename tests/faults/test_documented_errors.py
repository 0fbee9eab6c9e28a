"""Every error of the library's own is of a documented type, and says what to change."""

from __future__ import annotations

import ast
import asyncio
import builtins
import dataclasses
import importlib
import inspect
import logging
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Callable, Final, Union

import pytest

import nitro_dispatch
from nitro_dispatch import (
    DependencyError,
    Event,
    HookImpl,
    HookRegistry,
    NitroPluginError,
    PluginBase,
    PluginDiscoveryError,
    PluginLoadError,
    PluginManager,
    PluginMetadata,
    PluginNotFoundError,
    PluginRegistrationError,
    Requirement,
    ValidationError,
    hook,
)

PACKAGE: Final = Path(nitro_dispatch.__file__).parent


class Odd:
    """An object whose representation is code that fails."""

    def __repr__(self) -> str:
        raise RuntimeError("no representation")


class Cache(PluginBase):
    """A plugin."""

    name = "cache"


class Needy(PluginBase):
    """A plugin that needs one that is not there."""

    name = "needy"
    dependencies = ("stare>=1",)


class Sour(PluginBase):
    """A plugin that cannot be started."""

    name = "sour"

    def on_load(self) -> None:
        raise KeyError("disk")

    def on_unload(self) -> None:
        raise SystemExit(1)


class Gone(PluginBase):
    """A plugin that cannot be ended."""

    name = "gone"

    def on_unload(self) -> None:
        raise SystemExit(1)


@pytest.fixture
def manager() -> PluginManager:
    """Make a manager with plugins of which some cannot be loaded."""
    manager = PluginManager()
    for plugin in (Cache, Needy, Sour, Gone):
        manager.register(plugin)
    manager.load("gone")
    return manager


# -- the arguments


def work(data: Any) -> None:
    """Be a hook."""


def registering(**options: Any) -> list[Callable[[], object]]:
    """Register a hook in each of the ways that there are."""
    event, callback = options.pop("event_name", "fired"), options.pop("callback", work)
    return [
        lambda: HookRegistry().register(event, callback, **options),
        lambda: PluginManager().register_hook(event, callback, **options),
        lambda: Cache().register_hook(event, callback, **options),
    ]


def decorating(event: Any = "fired", function: Any = work, **options: Any) -> Callable[[], object]:
    """Mark a function as a hook."""
    return lambda: hook(event, **options)(function)


def firing(event: Any) -> list[Callable[[], object]]:
    """Fire an event in each of the ways that there are."""
    registry = HookRegistry()
    return [
        lambda: registry.trigger(event),
        lambda: registry.collect(event),
        lambda: registry.first(event),
        lambda: registry.trace(event),
        lambda: registry.get_hooks(event),
        lambda: asyncio.run(registry.trigger_async(event)),
        lambda: asyncio.run(registry.collect_async(event)),
    ]


ODD: Final[Any] = Odd()
LIST: Final[Any] = []
NO_STRINGS: Final[tuple[Any, ...]] = (None, 5, b"fired", LIST, {}, ODD)
EVENT: Final = r"'user\.login'"
COUNT: Final = "number of seconds|positive"

# What is done wrongly, the type that the docstring names, and what the text must have in it.
MISUSES: Final[list[tuple[Callable[[], object], type[Exception], str]]] = [
    *((way, TypeError, EVENT) for name in NO_STRINGS for way in firing(name)),
    *((way, TypeError, EVENT) for name in NO_STRINGS for way in registering(event_name=name)),
    *((way, ValueError, EVENT) for way in registering(event_name="")),
    *(
        (way, TypeError, "event 'fired': a hook must be callable")
        for callback in NO_STRINGS
        for way in registering(callback=callback)
    ),
    *(
        (way, TypeError, "'fired': priority must be a number")
        for value in (None, "5", LIST, ODD)
        for way in registering(priority=value)
    ),
    *((way, ValueError, "'fired': priority") for way in registering(priority=float("nan"))),
    *(
        (way, TypeError, "'fired': timeout must be a number of seconds")
        for value in ("5", LIST, True, ODD)
        for way in registering(timeout=value)
    ),
    *(
        (way, ValueError, "'fired': timeout must be .*positive")
        for value in (0, -1, float("inf"), float("nan"))
        for way in registering(timeout=value)
    ),
    *(
        (way, TypeError, f"'fired': {option} must be a plugin's name")
        for option in ("before", "after")
        for value in (None, 5, "", [""], [5], ODD)
        for way in registering(**{option: value})
    ),
    *(
        (way, TypeError, f"'fired': {option} must be True or False; got ")
        for option in ("blocking", "atomic")
        for value in (None, 1, "yes", LIST, ODD)
        for way in registering(**{option: value})
    ),
    *((decorating(name), TypeError, r"@hook\('user.login'\)") for name in (None, 5, work, ODD)),
    (decorating(""), ValueError, EVENT),
    (decorating(LIST), ValueError, r"@hook\('user.login'\)"),
    (decorating(["fired", None]), TypeError, EVENT),
    (decorating(["fired", ""]), ValueError, EVENT),
    (decorating(priority="5"), TypeError, "priority must be a number"),
    (decorating(timeout=0), ValueError, "timeout must be"),
    (decorating(timeout="5"), TypeError, "timeout must be"),
    (decorating(before=5), TypeError, "before must be a plugin's name"),
    (decorating(blocking=1), TypeError, "blocking must be True or False; got 1"),
    (decorating(atomic="yes"), TypeError, "atomic must be True or False; got 'yes'"),
    *((decorating(function=each), TypeError, "decorates a function") for each in (5, "x")),
    (lambda: hook("a")(hook("b")(lambda data: None)), TypeError, r"@hook\(\['a', 'b'\]\)"),
    *((lambda name=name: Event(name), TypeError, EVENT) for name in NO_STRINGS),
    (lambda: Event(""), ValueError, EVENT),
    (lambda: Event("a", payload=LIST), TypeError, "'a' must be a class"),
    (lambda: Event("a", payload=ODD), TypeError, "'a' must be a class"),
    (lambda: Event("a", description=ODD), TypeError, "'a' must be text"),
    (lambda: setattr(Event("a"), "payload", int), AttributeError, "'a' is frozen"),
    (lambda: delattr(Event("a"), "payload"), AttributeError, "'a' is frozen"),
    *(
        (lambda each=each: HookRegistry().add_tracer(each), TypeError, "callable with a HookCall")
        for each in NO_STRINGS
    ),
    *(
        (lambda each=each: HookRegistry().set_error_strategy(each), ValueError, "'fail_fast'")
        for each in (*NO_STRINGS, "", "fail")
    ),
    *(
        (lambda each=each: PluginManager(each), TypeError, "mapping from names of plugins")
        for each in (5, "x", LIST, ODD)
    ),
    *(
        (lambda each=each: PluginManager(log_level=each), kind, "'DEBUG'")
        for each, kind in (
            *((LIST, TypeError), (b"DEBUG", TypeError), (True, TypeError)),
            *(("loud", ValueError), (-1, ValueError)),
        )
    ),
    *(
        (lambda each=each: PluginManager(app_version=each), TypeError, r"'3\.1'")
        for each in (3, 3.1, ODD)
    ),
    *(
        (lambda each=each: PluginManager(app_version=each), ValueError, f"app_version .*{each!r}")
        for each in ("xx", "", "3.1 beta two", "3..1", "v", "³")
    ),
    *(
        (lambda option=option, each=each: PluginManager(**{option: each}), TypeError, option)
        for option in ("allow", "block")
        for each in (5, "cache", [5], [ODD], ODD)
    ),
    *(
        (lambda each=each: Requirement.parse(each), TypeError, "'store>=1.2,<2'")
        for each in NO_STRINGS
    ),
    *(
        (lambda each=each: Requirement.parse(each), ValueError, "'store>=1.2,<2'")
        for each in ("", ">=1", "store>=one")
    ),
]


@pytest.mark.parametrize(("misuse", "kind", "text"), MISUSES)
def test_a_wrong_argument_is_named(
    misuse: Callable[[], object], kind: type[Exception], text: str
) -> None:
    """An argument that cannot be used is the documented error, which says what to give."""
    with pytest.raises(kind, match=text) as raised:
        misuse()
    assert type(raised.value) is kind


# -- the wrong state, or the wrong plugin


class Unnamed(PluginBase):
    """A plugin with bad metadata."""

    name = ""
    version = 3  # type: ignore[assignment]


Misuse = Callable[[PluginManager], object]

MISUSES_OF_A_MANAGER: Final[list[tuple[Misuse, type[Exception], str]]] = [
    *(
        (lambda manager, each=each: manager.register(each), PluginRegistrationError, "PluginBase")
        for each in (*NO_STRINGS, PluginBase, int, Cache())
    ),
    (lambda manager: manager.register(Unnamed), ValidationError, "name .*'cache'.*version .*'1.0"),
    (lambda manager: manager.load("cach"), PluginNotFoundError, "did you mean 'cache'"),
    (lambda manager: manager.load("zzz"), PluginNotFoundError, "'zzz'.*register .* or discover"),
    (lambda manager: manager.load(LIST), PluginNotFoundError, "no plugin \\[\\]"),
    (lambda manager: manager.load("needy"), DependencyError, "'needy'.*stare"),
    (lambda manager: manager.load("sour"), PluginLoadError, "'sour'.*KeyError: 'disk'"),
    (lambda manager: manager.reload("zzz"), PluginNotFoundError, "'zzz'"),
    (lambda manager: manager.unregister("zzz"), PluginNotFoundError, "'zzz'"),
    *(
        (
            lambda manager, method=method, name=name: getattr(manager, method)(name),
            PluginNotFoundError,
            text,
        )
        for method in ("unload", "enable_plugin", "disable_plugin")
        for name, text in (
            ("cache", rf"plugin 'cache' \({re.escape(__file__)}\) is not loaded: load it first"),
            ("cach", "no plugin 'cach' is registered: did you mean 'cache'"),
            ("zzz", "no plugin 'zzz' is registered: register .* or discover"),
            (5, "no plugin 5 is registered"),
            (None, "no plugin None is registered"),
        )
    ),
    (lambda manager: manager.unload("gone"), NitroPluginError, "on_unload .*'gone'.*SystemExit"),
    (lambda manager: manager.unregister("gone"), NitroPluginError, "'gone'.*SystemExit"),
    *(
        (lambda manager, each=each: manager.discover_plugins(each), TypeError, "'plugins'")
        for each in (None, 5, LIST, ODD)
    ),
    (lambda manager: manager.discover_plugins("/no/where"), PluginDiscoveryError, "/no/where"),
    (lambda manager: manager.discover_plugins(""), PluginDiscoveryError, "give the folder"),
    (lambda manager: manager.discover_plugins(__file__), PluginDiscoveryError, "is a file"),
    (
        lambda manager: manager.discover_plugins(PACKAGE, "../*.py"),
        PluginDiscoveryError,
        "give one such as",
    ),
    *(
        (lambda manager, each=each: manager.discover_plugins(PACKAGE, each), TypeError, "_plugin")
        for each in NO_STRINGS
    ),
    *(
        (lambda manager, each=each: manager.discover_entry_points(each), TypeError, "group")
        for each in (*NO_STRINGS, "")
    ),
    *(
        (lambda manager, each=each: manager.watch(each), TypeError, "callback must be")
        for each in (5, "x", ODD)
    ),
]


@pytest.mark.parametrize(("misuse", "kind", "text"), MISUSES_OF_A_MANAGER)
def test_a_wrong_use_of_a_manager_is_named(
    manager: PluginManager,
    misuse: Misuse,
    kind: type[Exception],
    text: str,
) -> None:
    """What cannot be done with a plugin is the documented error, which names it and the remedy."""
    with pytest.raises(kind, match=text) as raised:
        misuse(manager)
    assert type(raised.value) is kind


def test_a_record_is_frozen_and_says_what_it_has() -> None:
    """A record cannot be changed, made of too few values, or asked for what it has not."""
    metadata = PluginMetadata("cache")
    with pytest.raises(AttributeError, match="cannot assign to field 'name'"):
        setattr(metadata, "name", "other")  # noqa: B010
    with pytest.raises(TypeError, match="PluginMetadata takes one value each for name, version"):
        PluginMetadata()  # type: ignore[call-arg]
    registry = HookRegistry()
    registry.register("fired", work)
    (record,) = registry.get_hooks("fired")
    assert isinstance(record, HookImpl)
    with pytest.raises(KeyError, match="a hook has event, callback"):
        record["colour"]


# -- a hook that can never be called


class Empty:
    """A callable object that takes nothing."""

    def __call__(self) -> None: ...


class Owner:
    """An owner of hooks, with methods that take too little and too much."""

    name = "cache"

    def nothing(self) -> None: ...

    def two(self, data: Any, other: Any) -> None: ...


def positional(data: Any, event: str, /) -> None:
    """Take the event's name, which is given by keyword, by its position only."""


WRONG_SIGNATURES: Final = {
    "three": (lambda data, other, third: None, "(data, other, third)"),
    "keyword": (lambda data, *, flag: None, "(data, flag)"),
    "positional": (positional, "(data, event)"),
    "method": (Owner().nothing, "()"),
    "method of two": (Owner().two, "(data, other)"),
    "object": (Empty(), "()"),
    "lambda": (lambda: None, "()"),
}


@pytest.mark.parametrize(("callback", "shown"), WRONG_SIGNATURES.values(), ids=WRONG_SIGNATURES)
def test_a_hook_that_cannot_be_called_is_warned_of(
    caplog: pytest.LogCaptureFixture, callback: Any, shown: str
) -> None:
    """A hook whose parameters do not fit is registered, with a warning that says what would."""
    registry = HookRegistry()
    registry.register("fired", callback, Owner())
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert "of plugin cache (" in record.getMessage()
    assert record.getMessage().endswith(
        f"on event fired cannot be called with its parameters {shown}: "
        "let it take (data) or (data, event)"
    )
    caplog.clear()
    assert registry.trigger("fired", 1) == 1
    assert "TypeError" in caplog.text


class Unreadable:
    """A callable object whose signature is code that fails."""

    __signature__ = property(lambda self: 1 / 0)

    def __call__(self, *rest: Any) -> None: ...


RIGHT_SIGNATURES: Final = [
    work,
    lambda data=None, more=0, *rest, flag=False: None,
    lambda *rest, **named: None,
    lambda data, event: None,
    lambda data, *, event: None,
    Unreadable(),
    print,
    dict,
    int,
    [].append,
    lambda data, extra=1: None,
    Owner.nothing,
]


@pytest.mark.parametrize("callback", RIGHT_SIGNATURES)
def test_no_hook_that_can_be_called_is_warned_of(
    caplog: pytest.LogCaptureFixture, callback: Any
) -> None:
    """Nothing is said of a hook that can be called, or of which that cannot be told."""
    HookRegistry().register("fired", callback)
    assert caplog.records == []


def test_a_plugin_s_own_hooks_are_warned_of_when_it_is_loaded(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A decorated method with wrong parameters is told at loading, once, and loads."""

    class Short(PluginBase):
        @hook("fired")
        def work(self) -> None: ...

    manager = PluginManager()
    manager.register(Short)
    assert manager.load_all() == ["Short"]
    (record,) = caplog.records
    assert "hook work of plugin Short (" in record.getMessage()


# -- the source of the package

Function = Union[ast.FunctionDef, ast.AsyncFunctionDef]
FILES: Final = sorted(PACKAGE.rglob("*.py"))

# What the library raises besides its own family: what the system and the interpreter raise too, and
# what a protocol of Python wants.
PLAIN: Final = (ValueError, TypeError, OSError, RecursionError)
# What is caught again within the library, as are those with a private name, or by the command line.
INTERNAL: Final = {"CommandError", "NotImplementedError", "NotLiteral"}
PROTOCOLS: Final = {
    "__getitem__": KeyError,
    "__getattr__": AttributeError,
    "__setattr__": AttributeError,
    "__delattr__": AttributeError,
    "_refuse": AttributeError,
}


def raises(tree: ast.AST) -> Iterator[tuple[str, str]]:
    """Find what is raised by name, with the function that does it."""
    for function in ast.walk(tree):
        if isinstance(function, (ast.FunctionDef, ast.AsyncFunctionDef)):
            for node in own_nodes(function):
                called = node.exc.func if isinstance(node.exc, ast.Call) else node.exc
                if isinstance(called, ast.Name) and called.id[0].isupper():
                    yield function.name, called.id


def own_nodes(function: Function) -> Iterator[ast.Raise]:
    """Find the `raise` statements of a function, without those of functions in it."""
    waiting: list[ast.AST] = list(function.body)
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.Raise):
            yield node
        elif not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            waiting += ast.iter_child_nodes(node)


def named(file: Path, name: str) -> Any:
    """Find a class by the name that it has in a file of the package."""
    is_package = file.name == "__init__.py"
    module = ".".join(file.relative_to(PACKAGE.parent).with_suffix("").parts)
    places = [importlib.import_module(module[: -len(".__init__")] if is_package else module)]
    places += [nitro_dispatch, dataclasses, builtins]
    return next(getattr(place, name) for place in places if hasattr(place, name))


def documented(docstring: str) -> list[str]:
    """List the exceptions that a docstring names."""
    section = re.search(r"\n *Raises:\n(.*?)(?:\n\n|\Z)", docstring, re.DOTALL)
    return re.findall(r"^ +(\w+):", section[1], re.MULTILINE) if section else []


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(PACKAGE)))
def test_the_package_raises_documented_types_only(file: Path) -> None:
    """What the package raises is of the library's family, or one of a few errors of Python."""
    for function, name in raises(ast.parse(file.read_bytes())):
        if not name.startswith("_") and name not in INTERNAL:
            allowed = (NitroPluginError, *PLAIN, PROTOCOLS.get(function, NitroPluginError))
            assert issubclass(named(file, name), allowed), (function, name)


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(PACKAGE)))
def test_a_docstring_names_what_its_function_raises(file: Path) -> None:
    """A public function or method that raises something itself says so in its docstring."""
    missing = []
    for function in ast.walk(ast.parse(file.read_bytes())):
        if not isinstance(function, (ast.FunctionDef, ast.AsyncFunctionDef)):
            continue
        docstring = ast.get_docstring(function, clean=False)
        if docstring is None or function.name.startswith("_"):
            continue
        told = tuple(named(file, name) for name in documented(docstring))
        missing += [
            (function.name, name)
            for _, name in raises(ast.Module([function], []))
            if not name.startswith("_")
            and name not in INTERNAL
            and not issubclass(named(file, name), told)
        ]
    assert missing == []


PUBLIC: Final = [
    (f"{each.__name__}.{name}", member)
    for each in (getattr(nitro_dispatch, name) for name in nitro_dispatch.__all__)
    if inspect.isclass(each)
    for name, member in [("__init__", each), *vars(each).items()]
    if callable(member) and getattr(member, "__doc__", None)
]


@pytest.mark.parametrize(("name", "member"), PUBLIC, ids=[name for name, _ in PUBLIC])
def test_the_public_api_documents_types_that_exist(name: str, member: Any) -> None:
    """What a public docstring says is raised is an exception that an application can name."""
    for kind in documented(member.__doc__):
        assert hasattr(nitro_dispatch, kind) or hasattr(builtins, kind)
