"""Facts about reading plugin classes from source text without running it."""

from __future__ import annotations

import pickle
import re
import sys
import textwrap
import types
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nitro_dispatch.hooks import declared_hooks, decorated_hooks, make_hook
from nitro_dispatch.plugin import class_values, is_plugin_class
from nitro_dispatch.sources import static
from nitro_dispatch.sources.descriptions import ClassDescription, HookDescription, Unknown
from nitro_dispatch.sources.literals import Reference
from nitro_dispatch.sources.static import read_file, read_source

IMPORTS = "from nitro_dispatch import PluginBase, hook\n"


def describe(source: str) -> tuple[ClassDescription, ...]:
    """Describe the classes of an indented source text that may use PluginBase and hook."""
    return read_source((IMPORTS + textwrap.dedent(source)).encode(), "sample_plugin.py").classes


def describe_one(source: str) -> ClassDescription:
    """Describe the only class of a source text."""
    [description] = describe(source)
    return description


def run(source: str) -> dict[str, list[Any]]:
    """Run a source text for real and give its concrete plugin classes, by the names they have."""
    module = types.ModuleType("sample_plugin")
    exec(compile(source, "sample_plugin.py", "exec", dont_inherit=True), vars(module))
    found: dict[str, list[Any]] = {}
    for value in vars(module).values():
        if is_plugin_class(value) and value.__module__ == module.__name__:
            same = found.setdefault(value.__name__, [])
            same += [value] if value not in same else []
    return found


def real_hooks(plugin_class: Any) -> list[tuple[object, ...]]:
    """List what the library makes of the hooks of a class."""
    plugin = plugin_class.__new__(plugin_class)
    names = [name for _, name in declared_hooks(plugin_class)]
    records = [
        make_hook(event, method, options=options)
        for event, method, options in decorated_hooks(plugin)
    ]
    return [
        (
            *(name, each.event, each.priority, each.timeout, each.is_async, each.wants_event),
            *(each.options.blocking, each.options.atomic),
            *(each.options.before, each.options.after),
        )
        for name, each in zip(names, records)
    ]


def read_hooks(description: ClassDescription) -> list[tuple[object, ...]]:
    """List what was read of the hooks of a class, in the same form."""
    return [
        (
            *(each.method, event, each.priority, each.timeout, each.is_async, each.wants_event),
            *(each.blocking, each.atomic, each.before, each.after),
        )
        for each in description.hooks
        for event in each.events
    ]


def assert_sound(source: str) -> tuple[ClassDescription, ...]:
    """Check that all that is said about a source text comes true when it is imported."""
    descriptions = read_source(source.encode(), "sample_plugin.py").classes
    real = run(source)
    assert set(real) <= {description.class_name for description in descriptions}
    for description in descriptions:
        unknown = {each.field for each in description.unknown}
        # What would have kept the file from being imported was not there.
        assert "class" in unknown or description.faults == ()
        if unknown & {"class", "bases"}:
            continue
        # Of several classes that are called the same, each has a description.
        assert any(is_true(description, unknown, each) for each in real[description.class_name]), (
            description,
            [(class_values(each), real_hooks(each)) for each in real[description.class_name]],
        )
    return descriptions


def is_true(description: ClassDescription, unknown: set[str], plugin_class: Any) -> bool:
    """Tell whether a class is as it is described, what is unknown aside."""
    real, read = (
        {field: value for field, value in values.items() if field not in unknown}
        for values in (
            class_values(plugin_class),
            {"name": description.class_name, **description.values},
        )
    )
    return real == read and (
        "hooks" in unknown or read_hooks(description) == real_hooks(plugin_class)
    )


COMPLETE = {
    "all metadata": """
        from nitro_dispatch import PluginBase
        class Audit(PluginBase):
            name = "audit"
            version = "1.2"
            description = "Writes down " "who did what."
            author: str = "Somebody"
            dependencies = ["store>=1.2,<2", "cache"]
            optional_dependencies = ("mail",)
            conflicts: "list[str]" = []
            requires_app = ">=3"
            requires_python = ">=3.9"
    """,
    "no metadata": """
        from nitro_dispatch import PluginBase
        class Audit(PluginBase):
            pass
    """,
    "annotations alone": """
        from typing import ClassVar
        from nitro_dispatch import PluginBase
        class Audit(PluginBase):
            name: str
            version: ClassVar[str] = "2.0"
    """,
    "spellings of the base": """
        import nitro_dispatch
        import nitro_dispatch as nd
        import nitro_dispatch.plugin
        import nitro_dispatch.plugin as np
        from nitro_dispatch import PluginBase as PB, plugin
        from nitro_dispatch.plugin import PluginBase
        Base = PB
        class A(PB): name = "a"
        class B(nd.PluginBase): name = "b"
        class C(nitro_dispatch.plugin.PluginBase): name = "c"
        class D(np.PluginBase): name = "d"
        class E(plugin.PluginBase): name = "e"
        class F(Base): name = "f"
        class G(PluginBase): name = "g"
    """,
    "star import": """
        from nitro_dispatch import *
        class A(PluginBase):
            @hook("a")
            def greet(self, data): ...
    """,
    "spellings of the decorator": """
        import nitro_dispatch as nd
        from nitro_dispatch import PluginBase, hook as listens
        from nitro_dispatch.hooks import hook
        on = hook
        class A(PluginBase):
            @nd.hook("a")
            def a(self, data): ...
            @listens("b")
            def b(self, data): ...
            @hook("c")
            def c(self, data): ...
            @on("d")
            def d(self, data): ...
    """,
    "all hook options": """
        from nitro_dispatch import PluginBase, hook
        class A(PluginBase):
            @hook("a.*", 70, 2.5, True)
            def a(self, data): ...
            @hook(event_name="b", priority=-1, timeout=None, blocking=False)
            def b(self, data): ...
            @hook(["c", "d", "c"], before="x", after=["y", "z"])
            def c(self, data): ...
            @hook("e", timeout=1e300, priority=1.5)
            def e(self, data): ...
    """,
    "signatures": """
        from nitro_dispatch import PluginBase, hook
        class A(PluginBase):
            @hook("a")
            async def a(self, data): ...
            @hook("b")
            def b(self, data, event): ...
            @hook("c")
            def c(self, data, other=1, event=None): ...
            @hook("d")
            def d(self, data, /, *, event): ...
            @hook("e")
            def e(self, event): ...
            @hook("f")
            async def f(self, data, event=""): ...
            @hook("g")
            def g(self, *args): ...
            @hook("h")
            def __call__(self, data, event): ...
    """,
    "static and class methods": """
        from nitro_dispatch import PluginBase, hook
        class A(PluginBase):
            @hook("a")
            @staticmethod
            def a(data, event): ...
            @hook("b")
            @classmethod
            def b(cls, data, event): ...
            @hook("c")
            @staticmethod
            def c(data, other, event): ...
            @staticmethod
            @hook("d")
            def d(data, event): ...
            @classmethod
            @hook("e")
            async def e(cls, data, event): ...
    """,
    "constants": """
        from nitro_dispatch import Event, PluginBase, PluginManager, hook
        from nitro_dispatch.events import PLUGIN_LOADED
        import nitro_dispatch.events as ev
        LOGIN = "user.login"
        SPACE: str = "user"
        FIRST, SECOND = "one", ("two", "three")
        NEEDS = ["store"]
        PRIORITY = -5
        LOGOUT = Event("user.logout", payload=dict, description="Gone")
        TYPED = Event[dict](name="user.typed")
        class Names:
            SAVE = "db.save"
            LOAD = SAVE + "ed"
        class A(PluginBase):
            name = f"{SPACE}-{1}"
            dependencies = NEEDS + ["cache"]
            conflicts = SECOND
            prefix = "db"
            @hook(LOGIN, priority=PRIORITY)
            def a(self, data): ...
            @hook([SPACE + ".x", f"{SPACE}.y", LOGOUT, TYPED, FIRST])
            def b(self, data): ...
            @hook(prefix + ".z", after=SECOND)
            def c(self, data): ...
            @hook((PLUGIN_LOADED, ev.APP_STARTUP, PluginManager.EVENT_PLUGIN_ERROR))
            def d(self, data): ...
            @hook([Names.SAVE, Names.LOAD])
            def e(self, data): ...
            @hook(Event("user.here"))
            def f(self, data): ...
    """,
    "constants change between classes": """
        from nitro_dispatch import PluginBase
        VERSION = "1"
        class A(PluginBase): version = VERSION
        VERSION = "2"
        class B(PluginBase): version = VERSION
    """,
    "later definitions win": """
        from nitro_dispatch import PluginBase, hook
        class A(PluginBase):
            name = "one"
            name = "two"
            @hook("a")
            def a(self, data): ...
            def a(self, data): ...
            @hook("b")
            def b(self, data): ...
            @hook("c")
            def b(self, data): ...
            @hook("d")
            def d(self, data): ...
            d = None
            @hook("e")
            def e(self, data): ...
            del e
    """,
    "inheritance": """
        from nitro_dispatch import PluginBase, hook
        class Base(PluginBase):
            name = "base"
            version = "1.5"
            dependencies = ["store"]
            @hook("a", priority=7)
            def a(self, data): ...
            @hook("b")
            def b(self, data): ...
            @hook("c", async_hook=True)
            def c(self, data): ...
            @hook("d")
            async def d(self, data): ...
            @hook("e")
            def e(self, data): ...
            @hook("f")
            def f(self, data): ...
        class Child(Base):
            name = "child"
            async def a(self, data, event): ...
            @hook(["b2", "b3"], priority=1)
            def b(self, data): ...
            def c(self, data): ...
            def d(self, data): ...
            e = None
            @property
            def f(self): ...
        class Grandchild(Child):
            version = "2"
            def e(self, data): ...
            a = lambda self, data, event: data
            @staticmethod
            def d(data, event): ...
    """,
    "mixins and diamonds": """
        from abc import ABC
        from typing import Generic, TypeVar
        from nitro_dispatch import PluginBase, hook
        T = TypeVar("T")
        class Audited:
            author = "mixin"
            @hook("audit")
            def audit(self, data): ...
        class Root(PluginBase, ABC, Generic[T]):
            author = "root"
            description = "root"
            @hook("root")
            def root(self, data): ...
        class Left(Root[int]):
            description = "left"
            def root(self, data, event): ...
        class Right(Root[str]):
            description = "right"
            version = "right"
            @hook("right")
            def root(self, data): ...
        class Both(Left, Right): ...
        class Mixed(Audited, Both): ...
        class MixedAfter(Both, Audited): ...
    """,
    "abstract classes": """
        import abc
        from abc import ABC, ABCMeta, abstractmethod
        from nitro_dispatch import PluginBase, hook
        class Shape(PluginBase, ABC):
            @hook("a")
            @abstractmethod
            def a(self, data): ...
            @property
            @abc.abstractmethod
            def size(self): ...
        class Half(Shape):
            def a(self, data): ...
        class Whole(Half):
            size = 3
        class Meta(PluginBase, metaclass=ABCMeta):
            @abstractmethod
            def b(self): ...
        class NotEnforced(PluginBase):
            @abstractmethod
            def b(self): ...
        class StillNotEnforced(NotEnforced, ABC): ...
    """,
    "harmless attributes": """
        import logging, re, threading
        from collections import defaultdict
        from pathlib import Path
        from nitro_dispatch import PluginBase, hook
        log = logging.getLogger(__name__)
        class Settings: ...
        class A(PluginBase):
            __slots__ = ()
            log = logging.getLogger(__name__)
            logger = log
            lock = threading.Lock()
            pattern = re.compile("a" "b").pattern
            home = Path(__file__ if False else "x").parent
            counts = defaultdict(list)
            seen = set()
            table = {n: [n] for n in range(3)}
            handlers = [print, len]
            config_model = Settings
            other_model = Settings
            limit = 3 * 4
            text = "a,b".split(",")
            class Meta:
                name = "inner"
            @property
            def size(self): ...
            @size.setter
            def size(self, value): ...
            @hook("a")
            def a(self, data): ...
    """,
    "aliases of methods": """
        from nitro_dispatch import PluginBase, hook
        @hook("shared")
        def shared(self, data, event): ...
        class A(PluginBase):
            @hook("a")
            def a(self, data): ...
            b = a
            c = shared
    """,
    "private names": """
        from nitro_dispatch import PluginBase, hook
        class _A(PluginBase):
            __event = "a"
            @hook(__event)
            def __a(self, data): ...
    """,
    "classes that are gone": """
        from nitro_dispatch import PluginBase
        class A(PluginBase): name = "first"
        class A(A): name = "second"
        class B(PluginBase): name = "gone"
        del B
        class C(PluginBase): name = "hidden"
        C = None
        class D(PluginBase): name = "kept"
        E = D
        del D
    """,
    "classes inside others": """
        from nitro_dispatch import PluginBase
        class Outer:
            class Inner(PluginBase): name = "inner"
        def make():
            class Made(PluginBase): name = "made"
    """,
    "type checking": """
        from typing import TYPE_CHECKING, final
        import typing
        if TYPE_CHECKING:
            from elsewhere import PluginBase, hook
            NAME = "wrong"
        else:
            from nitro_dispatch import PluginBase, hook
            NAME = "right"
        if not typing.TYPE_CHECKING:
            VERSION = "1"
        if __name__ == "__main__":
            NAME = "run"
        if not not False or typing.TYPE_CHECKING:
            OTHER = "run"
        @final
        class A(PluginBase):
            name = NAME
            version = VERSION
            if TYPE_CHECKING:
                version = "3"
            @hook("a")
            def a(self, data): ...
    """,
    "guarded imports": """
        try:
            from nitro_dispatch import PluginBase, hook
            import json as parser
        except ImportError as error:
            raise SystemExit(1)
        import contextlib
        with contextlib.suppress(ImportError):
            import tomllib
        class A(PluginBase):
            name = "a"
            parser = parser
            @hook("a")
            def a(self, data): ...
    """,
    "bad values": """
        from nitro_dispatch import PluginBase
        class A(PluginBase):
            name = None
            version = 3
            dependencies = "store"
            description = ...
            author = b"bytes"
            conflicts = {"a": (-1, 1.5, 2j, True, {1, 2})}
    """,
}


@pytest.mark.parametrize("source", COMPLETE.values(), ids=COMPLETE)
def test_what_is_read_is_what_is_imported(source: str) -> None:
    """Metadata and hooks that are read agree with those of the real classes, and nothing lacks."""
    descriptions = assert_sound(textwrap.dedent(source))
    assert [each.unknown for each in descriptions] == [()] * len(descriptions)
    assert all(each.complete for each in descriptions)


UNKNOWN = {
    "a call": ("name = compute()", "name", 1, "is not a literal"),
    "an unknown name": ("name = NAME", "name", 1, "depends on NAME, which cannot be told"),
    "an imported name": ("name = IMPORTED", "name", 1, "is imported from .names"),
    "a function": ("def name(self): ...", "name", 1, "is a function"),
    "a property": ("@property\n    def name(self): ...", "name", 2, "is a function"),
    "a lambda": ("version = lambda: 1", "version", 1, "is a function"),
    "a class": ("class author: ...", "author", 1, "is a class"),
    "an import": ("from names import version", "version", 1, "is imported from names"),
    "a format": ("name = f'{1:>3}'", "name", 1, "is not a literal"),
    "a conversion": ("name = f'{1!r}'", "name", 1, "is not a literal"),
    "a comprehension": ("dependencies = [d for d in 'ab']", "dependencies", 1, "not a literal"),
    "a branch": ("if compute():\n        name = 'a'", "name", 2, "under a condition"),
    "a loop": ("for name in ('a', 'b'): ...", "name", 1, "not set by a plain assignment"),
    "an operator": ("dependencies = []\n    dependencies += ['a']", "dependencies", 2, "plain"),
    "a changed list": ("conflicts = []\n    conflicts.append('a')", "conflicts", 2, "be changed"),
    "unpacking": ("name, version = compute()", "version", 1, "not set by a plain assignment"),
    "a star target": ("name, *rest = 'a', 'b'", "name", 1, "not set by a plain assignment"),
    "a deletion": ("name = 'a'\n    if compute():\n        del name", "name", 3, "condition"),
    "a global": ("name = COUNTED", "name", 1, "which is changed by a function"),
    "a changed constant": ("dependencies = CHANGED", "dependencies", 1, "may be changed"),
    "a walrus": ("version = WALRUS", "version", 1, "not set by a plain assignment"),
    "an inner walrus": ("version = 'a'; author = (version := 'b')", "version", 1, "not set by"),
    "a changed element": (
        "conflicts = ['a']\n    conflicts[0] = 'b'",
        "conflicts",
        2,
        "be changed",
    ),
    "a branched constant": ("version = BRANCHED", "version", 1, "in more than one way"),
    "a foreign constant": ("version = Level.HIGH", "version", 1, "cannot be told"),
    "a dictionary": ("version = [TABLE]", "version", 1, "is a dictionary"),
    "a nested constant": ("version = [NESTED]", "version", 1, "is nested"),
    "an unhashable key": ("version = {[]: 1}", "version", 1, "is not valid"),
    "options": ("@hook(**{'event_name': 'a'})\n    def a(self): ...", "hooks", 2, r"by \*\*"),
    "starred": ("@hook(*['a'])\n    def a(self): ...", "hooks", 2, "an argument of @hook"),
    "an event": ("@hook(IMPORTED)\n    def a(self): ...", "hooks", 2, "imported from .names"),
    "a priority": ("@hook('a', priority=len('a'))\n    def a(self): ...", "hooks", 2, "literal"),
    "no parentheses": ("@hook\n    def a(self): ...", "hooks", 2, "needs the event"),
    "a bad priority": ("@hook('a', 'b')\n    def a(self): ...", "hooks", 2, "refused"),
    "an empty event": ("@hook('')\n    def a(self): ...", "hooks", 2, "refused"),
    "no such option": ("@hook('a', x=1)\n    def a(self): ...", "hooks", 2, "refused"),
    "stacking": ("@hook('a')\n    @hook('b')\n    def a(self): ...", "hooks", 3, "stacked"),
    "a wrapper": ("@wrap\n    @hook('a')\n    def a(self): ...", "hooks", 3, "wrapped by @wrap"),
    "a decorator": ("@wrap('a')\n    def a(self): ...", "hooks", 2, "made a hook by @wrap"),
    "a made hook": ("a = hook('a')(compute)", "hooks", 1, "is not a literal"),
    "an imported hook": ("a = IMPORTED", "hooks", 1, "is imported from .names"),
    "a branched hook": ("if compute():\n        def a(self): ...", "hooks", 2, "condition"),
    "a partial": ("a = functools.partial(IMPORTED)", "hooks", 1, "is not a literal"),
    "locals": ("for n in 'ab':\n        locals()[n] = hook(n)(compute)", "class", 2, "namespace"),
}

BEFORE = """
import functools
from nitro_dispatch import PluginBase, hook
from .names import IMPORTED, Enum
TABLE = {}
NESTED = [[]]
CHANGED = []
COUNTED = 1
BRANCHED = "a"
if IMPORTED and (WALRUS := "b"):
    BRANCHED = "b"
class Level(Enum):
    HIGH = "high"
class Sample(PluginBase):
"""

AFTER = """
def count():
    global COUNTED
    CHANGED.append("a")
def wrap(function): ...
def compute(): ...
"""


@pytest.mark.parametrize(("body", "field", "line", "reason"), UNKNOWN.values(), ids=UNKNOWN)
def test_what_is_no_literal_is_unknown(body: str, field: str, line: int, reason: str) -> None:
    """What only running would tell is unknown, with its line and the reason in words."""
    source = f"{BEFORE}    {body}{AFTER}".encode()
    [description] = read_source(source, "sample_plugin.py").classes
    assert not description.complete
    [unknown] = [each for each in description.unknown if each.field == field]
    assert unknown.line == line + BEFORE.count("\n")
    assert re.search(reason, unknown.reason), unknown
    assert field not in description.values


SAMPLE = "class Sample(PluginBase):\n    name = 'a'\n    needs = ['a']\n"

CHANGED_CLASSES = {
    "set": ("Sample.name = 'b'", "name", "is changed outside the class"),
    "set in a branch": ("if compute(): Sample.name = 'b'", "name", "is changed outside the class"),
    "set by a loop": ("for Sample.version in 'ab': ...", "version", "is changed outside the class"),
    "setattr": ("setattr(Sample, 'name', 'b')", "name", "is changed outside the class"),
    "setattr of a computed name": ("setattr(Sample, compute(), 'b')", "class", "attributes that"),
    "setattr of starred": ("setattr(Sample, *compute())", "class", "attributes that"),
    "deleted": ("del Sample.name", "name", "is changed outside the class"),
    "delattr": ("delattr(Sample, 'name')", "name", "is changed outside the class"),
    "a hook": ("Sample.greet = hook('a')(compute)", "hooks", "greet is changed outside the class"),
    "a method of its list": ("Sample.needs.append('b')", "hooks", "needs is changed outside"),
    "an element of its list": ("Sample.needs[0] = 'b'", "hooks", "needs is changed outside"),
    "an alias": ("Other = Sample\nOther.name = 'b'", "name", "is changed outside the class"),
    "replaced": ("Sample = compute(Sample)", "class", "may be replaced"),
    "deleted in a branch": ("if compute():\n    del Sample", "class", "may be replaced"),
}


@pytest.mark.parametrize(
    ("statement", "field", "reason"), CHANGED_CLASSES.values(), ids=CHANGED_CLASSES
)
def test_what_changes_a_class_later_is_seen(statement: str, field: str, reason: str) -> None:
    """A class that is changed after its definition is unknown in what may have changed."""
    description = describe_one(f"{SAMPLE}{statement}\n")
    [unknown] = description.unknown
    assert unknown.field == field
    assert reason in unknown.reason
    assert unknown.line > 4


@pytest.mark.parametrize(
    "source",
    [
        "L = ['a']\nK = L\nK.append('b')\nclass A(PluginBase): dependencies = L",
        "K = L = ['a']\nclass A(PluginBase): dependencies = L\nK += ['b']",
        "L = ['a']\nclass A(PluginBase):\n  dependencies = L\n  conflicts = L\n  del conflicts[:]",
        "L = ['a']\nclass A(PluginBase): dependencies = L\nclass B(A): 0\nB.dependencies.append(1)",
        "L = ['a']\nclass B(PluginBase): x = L\nB.x += 'b'\nclass A(PluginBase): dependencies = L",
        "L, K = ['a'], ['b']\nif L: K = L\nK.append('b')\nclass A(PluginBase): dependencies = L",
        "L, K = ['a'], ['b']\nif L: K = L\nK += L\nclass A(PluginBase): dependencies = L",
        "L = ['a']\nclass B:\n  if L: x = L\n  x.append(1)\nclass A(PluginBase): dependencies = L",
    ],
)
def test_a_value_that_is_changed_under_another_name_is_unknown(source: str) -> None:
    """What is changed in place is unknown under all its names, also for what has it already."""
    [described] = [each for each in describe(source) if each.class_name == "A"]
    doubts = {each.field: each.reason for each in described.unknown}
    assert "may be changed in place" in doubts["dependencies"]


def test_change_of_a_base_reaches_the_subclass_that_inherits_it() -> None:
    """What is set on a base later is unknown in a subclass, unless that sets it itself."""
    _, inherits, overrides = describe(
        """
        class A(PluginBase): name = "a"
        class B(A): pass
        class C(A): name = "c"
        A.name = "z"
        """
    )
    assert [unknown.field for unknown in inherits.unknown] == ["name"]
    assert overrides.complete


@pytest.mark.parametrize(
    "source",
    [
        "if compute():\n    class A(PluginBase): name = 'a'\n",
        "try:\n    class A(PluginBase): name = 'a'\nexcept Exception: pass\n",
        "@compute\nclass A(PluginBase): name = 'a'\n",
        "@compute.all('x')\nclass A(PluginBase): name = 'a'\n",
        "if compute():\n    class A(B): ...\nelse:\n    class A(PluginBase): name = 'a'\n",
    ],
)
def test_class_that_may_be_another_is_unknown(source: str) -> None:
    """A class that is decorated or defined under a condition is given once, and as unknown."""
    description = describe_one(source)
    assert {unknown.field for unknown in description.unknown} == {"class"}
    assert description.values == {"name": "a"}


def test_subclass_of_a_decorated_class_is_unknown() -> None:
    """What a decorator may have done to a base it may have done to the subclass."""
    _, child = describe("@compute\nclass A(PluginBase): ...\nclass B(A): ...\n")
    assert [unknown.field for unknown in child.unknown] == ["class"]


@pytest.mark.parametrize(
    "body",
    [
        "name = 'audit'",
        "@hook('a')\n    def a(self, data): ...",
        "def on_load(self): ...",
    ],
)
def test_foreign_base_of_what_looks_like_a_plugin(body: str) -> None:
    """A class with a base from another module is given, with unknown bases, if it looks right."""
    description = describe_one(f"from .base import Audited\nclass A(Audited):\n    {body}\n")
    [unknown] = description.unknown
    assert unknown == Unknown("bases", 3, "Audited is imported from .base")


@pytest.mark.parametrize("base", ["AuditPlugin", "base.Plugin", "PluginMixin[int]"])
def test_foreign_base_that_is_called_a_plugin(base: str) -> None:
    """A class whose foreign base has "plugin" in its name is given."""
    assert not describe_one(f"class A({base}): ...").complete


@pytest.mark.parametrize(
    "statement",
    [
        "Base = compute()",
        "if compute():\n    Base = PluginBase\nelse:\n    Base = object",
        "if compute():\n    class Base(PluginBase): ...\nelse:\n    Base = object",
    ],
)
def test_base_that_the_file_makes(statement: str) -> None:
    """A class is given whose base the file makes in a way that cannot be told."""
    *_, description = describe(f"{statement}\nclass A(Base): ...\n")
    assert [unknown.field for unknown in description.unknown] == ["bases"]


@pytest.mark.parametrize(
    "statement",
    [
        "class A(compute()): ...",
        "from collections import namedtuple\nB = namedtuple('B', 'a')\nclass A(B): ...",
        "import enum\nclass A(enum.Enum): name = 'a'",
        "class A(ValueError):\n    name = 'a'\n    def on_load(self): ...",
        "class A:\n    name = 'a'\n    @hook('a')\n    def a(self, data): ...",
        "from .base import Audited\nclass A(Audited): version = '1'",
        "A = type('A', (PluginBase,), {})",
    ],
)
def test_other_classes_are_not_given(statement: str) -> None:
    """What cannot be a plugin, or does not look like one, is not described."""
    assert describe(statement) == ()


def test_foreign_mixin_of_a_plugin_makes_its_bases_unknown() -> None:
    """A plugin with a further base that is not in the file may inherit anything."""
    [first, second] = describe(
        """
        import threading
        from .mixins import Mixin
        class A(Mixin, PluginBase): name = "a"
        class B(PluginBase, threading.local): name = "b"
        """
    )
    assert first.unknown == (Unknown("bases", 5, "Mixin is imported from .mixins"),)
    assert second.unknown[0].reason == "threading.local is imported from threading"
    assert first.values == {"name": "a"}


def test_metadata_behind_the_base_is_unknown() -> None:
    """What a mixin says that is listed after PluginBase is hidden by what that says itself."""
    description = describe_one(
        """
        class Mixin:
            author = "mixin"
            @hook("a")
            def a(self, data): ...
        class A(PluginBase, Mixin): name = "a"
        """
    )
    assert description.unknown == (Unknown("author", 4, "is hidden by that of PluginBase"),)
    assert [each.method for each in description.hooks] == ["a"]


def test_abstract_class_with_foreign_base_is_given() -> None:
    """A class whose abstract methods a foreign base may implement is not left out."""
    source = """
        from abc import ABC, abstractmethod
        from .mixins import Mixin
        class A(Mixin, PluginBase, ABC):
            @abstractmethod
            def work(self): ...
    """
    assert [unknown.field for unknown in describe_one(source).unknown] == ["bases"]


def test_fallback_for_the_base_makes_it_unknown() -> None:
    """A base that is bound in two ways is unknown."""
    source = """
        try:
            from nitro_dispatch import PluginBase as Base
        except ImportError:
            Base = object
        class A(Base): name = "a"
    """
    [unknown] = describe_one(source).unknown
    assert unknown == Unknown("bases", 7, "Base is bound in more than one way")


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("class A(PluginBase): ...", False),
        ("class A(PluginBase):\n    def on_unload(self): ...", False),
        ("class A(PluginBase):\n    def on_load(self): ...", True),
        ("class A(PluginBase):\n    on_load = None", True),
        ("class A(PluginBase):\n    def __init__(self): ...", True),
        ("class A(PluginBase):\n    def __new__(cls): ...", True),
        ("class A(PluginBase):\n    def __init_subclass__(cls): ...", True),
        ("class M:\n    def on_load(self): ...\nclass A(M, PluginBase): ...", True),
        ("class M(type): ...\nclass A(PluginBase, metaclass=M): ...", True),
        ("class M(type): ...\nclass B(metaclass=M): ...\nclass A(B, PluginBase): ...", True),
        ("import abc\nclass A(PluginBase, metaclass=abc.ABCMeta): ...", False),
        ("class A(PluginBase, metaclass=type): ...", False),
    ],
)
def test_code_that_runs_at_load(source: str, expected: bool) -> None:
    """A class with code for its load, of its own or inherited in the file, cannot be armed."""
    assert describe_one(source).runs_code is expected


def test_lines_are_those_of_the_definitions() -> None:
    """The lines of a class and its hooks are those of `class` and `def`, decorators aside."""
    source = """
        class Base(PluginBase):
            @hook("a")
            def a(self, data): ...
            @hook("b")
            def b(self, data): ...
        class Child(Base):

            def a(self, data): ...
    """
    base, child = describe(source)
    assert (base.line, child.line) == (3, 8)
    assert [each.line for each in base.hooks] == [5, 7]
    assert [each.line for each in child.hooks] == [10, 7]


def test_hook_is_described_with_its_options() -> None:
    """The description of a hook has what its decorator and its signature say."""
    source = """
        class A(PluginBase):
            @hook(["a", "b.*"], 7, timeout=2, blocking=False, atomic=True, before="x", after=["y"])
            async def greet(self, data, event): ...
    """
    assert describe_one(source).hooks == (
        HookDescription(
            "greet",
            ("a", "b.*"),
            priority=7,
            timeout=2,
            is_async=True,
            blocking=False,
            atomic=True,
            before=("x",),
            after=("y",),
            wants_event=True,
            line=5,
        ),
    )


def test_override_of_a_hook_by_what_is_unknown_is_unknown() -> None:
    """A hook that a subclass overrides with something that may be no method is unknown."""
    source = """
        import functools
        class A(PluginBase):
            @hook("a")
            def a(self, data): ...
        class B(A):
            a = set()
        class C(A):
            @functools.lru_cache
            def a(self, data): ...
        class D(B):
            @hook("d")
            def a(self, data): ...
        class E(B):
            def a(self, data): ...
    """
    unknown = {each.class_name: [u.field for u in each.unknown] for each in describe(source)}
    assert unknown == {"A": [], "B": ["hooks"], "C": ["hooks"], "D": ["hooks"], "E": ["hooks"]}


def test_several_star_imports_tell_nothing() -> None:
    """A name that may come from two modules is not taken to be in either."""
    source = b"from nitro_dispatch import *\nfrom .x import *\nclass A(PluginBase): name = 'a'\n"
    [description] = read_source(source, "sample_plugin.py").classes
    assert description.unknown == (Unknown("bases", 3, "PluginBase cannot be told"),)


def test_file_is_read_and_not_run(tmp_path: Path) -> None:
    """Describing a file leaves no trace of its code having run."""
    path = tmp_path / "sample_plugin.py"
    path.write_text(f"{IMPORTS}1 / 0\nclass A(PluginBase): name = 'a'\n")
    [description] = read_file(path).classes
    assert description.values == {"name": "a"}
    assert list(tmp_path.iterdir()) == [path]
    assert read_file(str(path)).classes == (description,)


def test_missing_file(tmp_path: Path) -> None:
    """A file that cannot be read is an OSError."""
    with pytest.raises(FileNotFoundError):
        read_file(tmp_path / "missing_plugin.py")


@pytest.mark.parametrize(
    "source",
    [
        "# -*- coding: latin-1 -*-\n{}".encode("latin-1"),
        "#!/usr/bin/python\n# vim: set fileencoding=cp1252 :\n{}".encode("cp1252"),
        "{}".encode("utf-8-sig"),
        b"{}",
    ],
    ids=["latin-1", "cp1252", "byte order mark", "utf-8"],
)
def test_declared_encoding_is_honoured(source: bytes) -> None:
    """A source text is decoded as its encoding declaration or byte order mark says."""
    text = f"{IMPORTS}class A(PluginBase): author = 'Zo\xeb'\n"
    encoding = "latin-1" if b"coding" in source else "utf-8"
    [description] = read_source(source.replace(b"{}", text.encode(encoding)), "a.py").classes
    assert description.values == {"author": "Zo\xeb"}


@pytest.mark.parametrize(
    "source",
    [
        b"class A(:",
        b"# coding: no-such-encoding\n",
        b"x = '\xff'\n",
        b"x = '\x00'\n",
        b"x = " + b"(" * 500 + b")" * 500,
        b"x = " + b"-" * 100_000 + b"1",
        b"x = " + b"lambda: " * 100_000 + b"1",
        b"if a:\n pass\n" + b"elif b:\n pass\n" * 20_000,
        b"x = 1" + b"0" * 5_000,
    ],
    ids=["syntax", "encoding", "bytes", "null", "brackets", "minus", "lambda", "elif", "digits"],
)
def test_source_that_cannot_be_read(source: bytes) -> None:
    """A source text that Python cannot read, or not within its limits, is an error of a kind."""
    if source.endswith(b"0") and not hasattr(sys, "set_int_max_str_digits"):
        pytest.skip("this Python reads numbers of any length")
    with pytest.raises((SyntaxError, ValueError)):
        read_source(source, "sample_plugin.py")


@pytest.mark.parametrize("term", ["a.a", "1 + 1", "'a' + 'a'", "a()"])
def test_deep_expression_is_survived(term: str) -> None:
    """A deep expression makes the file unreadable at most, and often only that value."""
    part = term[1:] if term.startswith("a") else term[term.index(" ") :]
    deep = term + part * 20_000
    source = f"{IMPORTS}x = {deep}\nclass A(PluginBase):\n    name = {deep}\n"
    try:
        [description] = read_source(source.encode(), "sample_plugin.py").classes
    except ValueError as error:
        assert "sample_plugin.py is nested too deeply" in str(error)
    else:
        assert [unknown.field for unknown in description.unknown] == ["name"]


def test_names_cannot_fill_the_memory() -> None:
    """Values that double from line to line are given up, not computed."""
    doubling = "".join(
        f"text{n + 1} = text{n} + text{n}\nlist{n + 1} = [list{n}, list{n}]\n"
        f"pair{n + 1} = (pair{n}, pair{n})\nf{n + 1} = f'{{f{n}}}{{f{n}}}'\n"
        for n in range(200)
    )
    source = f"text0 = f0 = 'aaaa'\nlist0 = []\npair0 = ()\n{doubling}\nclass A(PluginBase):\n"
    names = "    name = text200\n    version = f200\n    author = list200\n"
    description = describe_one(f"{source}{names}    description = pair200")
    assert {each.field for each in description.unknown} == {
        "name",
        "version",
        "author",
        "description",
    }


def test_long_chains_need_no_recursion() -> None:
    """Long chains of branches and of classes are read."""
    branches = "".join(f"elif b == {n}:\n    pass\n" for n in range(400))
    classes = "".join(f"class A{n + 1}(A{n}): ...\n" for n in range(300))
    source = f"if a:\n    pass\n{branches}class A0(PluginBase): name = 'a'\n{classes}"
    assert describe(source)[-1].values == {"name": "a"}


def test_descriptions_pickle() -> None:
    """A description survives pickling, so that it can be kept."""
    description = describe_one("class A(PluginBase):\n    name = 'a'\n    version = compute()\n")
    assert pickle.loads(pickle.dumps(description)) == description


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("class X: ...", Reference("X")),
        ("class Y: ...\nX = Y", Reference("Y")),
        ("from .plugin import X", Reference("X", "plugin", 1)),
        ("from ..a.b import Y as X", Reference("Y", "a.b", 2)),
        ("from pkg.plugin import X", Reference("X", "pkg.plugin")),
        ("from . import X", Reference("X", "", 1)),
        ("from .plugin import Y\nX = Y", Reference("Y", "plugin", 1)),
        ("from . import plugin\nX = plugin.X", Reference("X", "plugin", 1)),
        ("import pkg.plugin as p\nX = p.X", Reference("X", "pkg.plugin")),
        ("import pkg.plugin\nX = pkg.plugin.X", Reference("X", "pkg.plugin")),
        ("from .plugin import *", Reference("X", "plugin", 1)),
        ("from .plugin import *\nclass X: ...", Reference("X")),
        ("try:\n    from .fast import X\nexcept ImportError:\n    X = None", None),
        ("from .a import *\nfrom .b import *", None),
        ("X = make()", None),
        ("X = 3", None),
        ("def X(): ...", None),
        ("class X: ...\ndel X", None),
        ("", None),
    ],
)
def test_reference(source: str, expected: Reference) -> None:
    """A top-level name is a class of the file, imported from a module, or not to be told."""
    assert read_source(source.encode(), "__init__.py").find("X") == expected


def test_reference_to_a_builtin_is_none() -> None:
    """A name that only the language defines is no name of the module."""
    assert read_source(b"", "__init__.py").find("print") is None


MODULE_LINES = [
    "N = 'n1'",
    "N = 'n2'",
    "L = ['x']",
    "L.append('y')",
    "N = N + 'z'",
    "if FLAG:\n    N = 'n3'",
    "if not FLAG:\n    N = 'n4'",
    "if FLAG:\n    class A(PluginBase): name = N",
    "M = compute(N)",
    "A.name = 'changed'",
    "if FLAG: setattr(A, 'version', '9')",
    "del B",
    "C = A",
    "A.extra = hook('x')(lambda self, data: data)",
    "on = hook('on')",
    "LIMIT = -1",
    "if FLAG: LIMIT = -1",
    "LIMIT = -1\nLIMIT = 2",
    "def hook(*events, **options): return on",
]
CLASS_LINES = [
    "name = N",
    "name = 'own'",
    "name = compute('c')",
    "version = f'{N}.1'",
    "dependencies = L",
    "dependencies = L + ['z']",
    "dependencies = ['q']\n    dependencies.append('r')",
    "del name",
    "f = None",
    "f = function",
    "f = compute(function)",
    "g = f",
    "def f(self, data): ...",
    "async def f(self, data, event): ...",
    "f = lambda self, data, event: data",
    "@hook(N)\n    def f(self, data): ...",
    "@hook(N, priority=3)\n    async def f(self, data): ...",
    "@hook(['a', N], async_hook=True)\n    def g(self, data, event): ...",
    "@hook(compute('e'))\n    def g(self, data): ...",
    "@compute\n    @hook('w')\n    def g(self, data): ...",
    "@hook('s')\n    @staticmethod\n    def f(data, event): ...",
    "@property\n    def f(self): ...",
    "@abstractmethod\n    def f(self): ...",
    "@on\n    def g(self, data): ...",
    "if FLAG:\n        @hook('b')\n        def f(self, data): ...",
    "if not FLAG:\n        name = 'flagged'",
    "for name in ['l1', 'l2']: ...",
    "class g: ...",
    "name, version = 't', N",
    "f = set()",
    "@hook('r', timeout=LIMIT)\n    def f(self, data): ...",
    "if not FLAG:\n        @hook('r', timeout=-1)\n        def g(self, data): ...",
    "try:\n        @hook('')\n        def g(self, data): ...\n    except ValueError: ...",
    "@hook('r')\n    @on\n    @hook('s')\n    def f(self, data): ...",
    "@hook('r')\n    @anew\n    @hook('s')\n    def f(self, data): ...",
    "def hook(*events, **options): return on",
]
HEADS = ["PluginBase", "A", "B", "A, B", "B, A", "Mixin, A", "PluginBase, ABC", "B, Mixin", "Mixin"]

GENERATED_START = """
from abc import ABC, abstractmethod
from nitro_dispatch import PluginBase, hook
FLAG = len("a") == 1
N = "n0"
L = ["w"]
def compute(value): return value
def on(function): return function
def anew(function): return lambda self, data: function(self, data)
LIMIT = 1
def function(self, data, event): ...
class Mixin:
    author = "mixin"
    @hook("mixin")
    def f(self, data): ...
class A(PluginBase): ...
class B(PluginBase): ...
"""

CLASSES = st.builds(
    lambda name, head, lines: f"class {name}({head}):\n    " + "\n    ".join(["pass", *lines]),
    st.sampled_from("ABC"),
    st.sampled_from(HEADS),
    st.lists(st.sampled_from(CLASS_LINES), max_size=4),
)


def test_a_class_that_may_have_been_kept_under_another_name_may_be_there() -> None:
    """Where a name stands for what cannot be told, a class whose own name is taken may be that."""
    statements = [
        "if FLAG:",
        "    class A(PluginBase): name = N",
        "C = A",
        "class A(PluginBase, ABC):",
        "    @abstractmethod",
        "    def f(self): ...",
    ]
    described = assert_sound(GENERATED_START + "\n".join(statements))
    reasons = [each.reason for one in described for each in one.unknown if one.class_name == "A"]
    assert "may be C" in reasons


@settings(max_examples=300)
@given(st.lists(CLASSES | st.sampled_from(MODULE_LINES), min_size=1, max_size=7))
def test_what_is_said_of_generated_files_is_true(statements: list[str]) -> None:
    """Whatever a file does, nothing that is said without a doubt turns out wrong at import."""
    source = GENERATED_START + "\n".join(statements)
    try:
        run(source)
    except (NameError, TypeError, ValueError, AttributeError):
        # The statements do not go together, so there are no real classes to compare with.
        read_source(source.encode(), "sample_plugin.py")
    else:
        assert_sound(source)


def test_all_names_exist() -> None:
    """Every name that the module exports exists."""
    assert all(hasattr(static, name) for name in static.__all__)
