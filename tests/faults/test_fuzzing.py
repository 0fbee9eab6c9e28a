"""Hostile bytes in all that is read of plugins before any of them runs.

Sources, distributions and entries of the cache are made by grammars and then mutated. Each example
goes the way that an application goes: a lazy manager discovers, describes and plans. What is broken
must be a failure of a documented kind, the good ones beside it be found, and nothing run.

`NITRO_DISPATCH_FUZZ=100` tries a hundred times as many examples, other ones in each run.
"""

from __future__ import annotations

import asyncio
import builtins
import json
import logging
import os
import shutil
import signal
import sys
import tempfile
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Callable

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nitro_dispatch import NitroPluginError, PluginManager
from nitro_dispatch.sources import cache
from programs import RunPython

FACTOR = int(os.environ.get("NITRO_DISPATCH_FUZZ", "1"))
CHECKS = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large]
# How long one example may take, in seconds: the slowest takes a hundredth of that.
PATIENCE = 20

GROUP = "fuzz.plugins"
GOOD = """
from nitro_dispatch import PluginBase, hook
class Good(PluginBase):
    name = "{name}"
    @hook("greet")
    def greet(self, data):
        return [*(data or ()), "{name}"]
"""
GOOD_NAMES = {"first", "last"}
# What runs of a file leaves a trace.
CANARY = "import builtins\nbuiltins.nitro_canary = True\n"


def fuzzed(examples: int, *strategies: Any, **named: Any) -> Callable[[Any], Any]:
    """Run a test with examples of strategies, as many as are asked for."""

    def decorate(test: Any) -> Any:
        limits = settings(
            max_examples=examples * FACTOR,
            deadline=None,
            derandomize=FACTOR == 1,
            database=None,
            suppress_health_check=CHECKS,
        )
        with_examples: Any = given(*strategies, **named)
        return limits(with_examples(test))

    return decorate


@pytest.fixture(autouse=True)
def bounded() -> Iterator[None]:
    """Fail where an example takes for ever, or where something of what is read runs."""

    def fail(*arguments: object) -> None:
        pytest.fail("it takes for ever")  # Not an `Exception`, which finders of others may silence.

    before = signal.signal(signal.SIGALRM, fail)
    level = logging.getLogger("nitro_dispatch").level
    # Thousands of failures would be logged, each with its traceback.
    logging.getLogger("nitro_dispatch").setLevel(logging.CRITICAL)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)
    logging.getLogger("nitro_dispatch").setLevel(level)


@pytest.fixture
def no_more_path(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave only the standard library on the path, so that little else is searched."""
    monkeypatch.setattr(sys, "path", [each for each in sys.path if "site-packages" not in each])


def read_all(manager: PluginManager) -> None:
    """Ask a manager for all that it can tell without an import."""
    manager.describe()
    plan = manager.plan()
    for text in (*manager.failures.values(), *plan.problems, *manager.describe()):
        str(text)


def check(manager: PluginManager, found: list[str]) -> None:
    """Check what a lazy manager made of hostile things between good ones."""
    read_all(manager)
    assert set(found) >= GOOD_NAMES
    assert set(manager.plan().order) >= GOOD_NAMES
    states = {info.state for info in manager.describe() if info.metadata.name in GOOD_NAMES}
    assert states == {"registered"}
    for failure in manager.failures.values():
        assert failure.stage in ("discover", "describe", "resolve")
        assert isinstance(failure.error, (NitroPluginError, OSError, SyntaxError, ValueError))
    assert not hasattr(builtins, "nitro_canary")


# -- source files

# What is odd wherever it stands in a file.
ODDITIES: st.SearchStrategy[bytes] = st.builds(
    lambda piece, times: piece * times,
    st.sampled_from(
        [
            *(
                b"\0",
                b"\xef\xbb\xbf",
                b"\xff\xfe",
                b"\x0c",
                b"\x1a",
                b"\r",
                b"\r\n",
                b"\\\n",
                b"\x80",
            ),
            *(
                b"\xed\xa0\x80",
                "\u2028".encode(),
                "\ufb01".encode(),
                "\U0001d54f".encode(),
                b"(",
                b"[",
                b'f"{',
            ),
            *(
                b"'''",
                b'"""',
                b"#",
                b"@",
                b"\t",
                b"-",
                b"not ",
                b".a",
                b"lambda: ",
                b"if 1:\n",
                b"9",
            ),
            *(b"1e999", b"1j", b"global name\n", b"del A\n", b"import nitro_dispatch as hook\n"),
            *(b"async ", b"await ", b"+ L", b"@hook('e')\n", b"x = ", b"\n", b" ", b";", b"[0]"),
        ]
    ),
    st.sampled_from([1, 1, 1, 20, 150, 3_000]),
)
CODECS = [
    *("utf-8", "latin-1", "ascii", "utf-7", "utf-16", "utf-32", "utf-8-sig", "cp1252", "cp037"),
    *("rot13", "idna", "punycode", "unicode_escape", "raw_unicode_escape", "undefined", "hex"),
    *("base64", "zlib", "bz2", "uu", "quopri", "mbcs", "oem", "shift_jis", "hz", "no such", "../x"),
]

names = st.sampled_from(
    ["A", "B", "C", "x", "L", "hook", "PluginBase", "other", "name", "f", "ABC"]
)
scalars = st.sampled_from(
    [
        *("'a'", "'a.*'", "''", "1", "-1", "0", "2.5", "None", "True", "b'a'", "1e999", "-1e999"),
        *("'1.0'", "'store>=1'", "'>=3'", "'<'", "'\\ud800'", "'\\0'", "1j", "...", "0xfffffff"),
        *(
            "'**'",
            "' '",
            "'\\n'",
            "__name__",
            "__file__",
            "f''",
            "''.join",
            "-'a'",
            "{1: 2}",
            "set()",
        ),
        *("'n' * 9", "0xHUGE", "-0xHUGE", "'HUGE'"),
    ]
)
expressions = st.recursive(
    scalars | names,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3).map(lambda parts: f"[{', '.join(parts)}]"),
        st.lists(inner, max_size=3).map(
            lambda parts: f"({' '.join(part + ',' for part in parts)})"
        ),
        st.lists(inner, min_size=1, max_size=3).map(lambda parts: "{" + ", ".join(parts) + "}"),
        st.tuples(inner, inner).map(" + ".join),
        st.tuples(inner, inner).map(lambda two: "{{{}: {}}}".format(*two)),
        st.tuples(inner, inner).map(lambda two: "{}[{}]".format(*two)),
        st.tuples(inner, inner).map(lambda two: "(z := {}, {})".format(*two)),
        st.tuples(inner, inner, inner).map(lambda three: "{} if {} else {}".format(*three)),
        inner.map(lambda one: f"f'{{{one}}}'" if "'" not in one else f"({one})"),
        inner.map(lambda one: f"-{one}"),
        inner.map(lambda one: f"Event({one})"),
        inner.map(lambda one: f"lambda self, data: {one}"),
        inner.map(lambda one: f"[{one} for x in L]"),
        st.tuples(inner, names).map(".".join),
        st.tuples(inner, inner, inner).map(lambda three: "{}({}, key={})".format(*three)),
    ),
    max_leaves=6,
)
arguments = st.lists(
    st.tuples(
        st.sampled_from(
            ["", "", "priority=", "timeout=", "before=", "after=", "async_hook=", "blocking=", "**"]
        ),
        expressions,
    ).map("".join),
    max_size=3,
).map(", ".join)
decorators = st.one_of(
    arguments.map(lambda given: f"@hook({given})"),
    st.sampled_from(["@hook('e')", "@hook(['e', 'f.*'], priority=3)", "@hook", "@staticmethod"]),
    st.sampled_from(["@property", "@classmethod", "@abstractmethod", "@other.x", "@final"]),
    expressions.map(lambda one: f"@{one}"),
)
functions = st.builds(
    lambda marks, start, name, rest: "\n".join([*marks, f"{start} {name}({rest}): pass"]),
    st.lists(decorators, max_size=3),
    st.sampled_from(["def", "async def"]),
    st.sampled_from(["f", "g", "name", "__init__", "on_load", "__init_subclass__", "__f"]),
    st.sampled_from(["self, data", "self, data, event", "", "*a, **k", "self, data, *, event"]),
)
FIELDS = st.sampled_from(
    ["name", "version", "dependencies", "conflicts", "requires_python", "author", "config_model"]
)
assignments = st.one_of(
    st.tuples(FIELDS | names, expressions).map(" = ".join),
    st.tuples(names, names, expressions).map(" = ".join),
    st.tuples(FIELDS, expressions).map(": object = ".join),
    st.tuples(names, names, expressions).map(lambda three: "{}, {} = {}".format(*three)),
    st.tuples(names, expressions).map(" += ".join),
    expressions,
    names.map(lambda name: f"del {name}"),
    names.map(lambda name: f"global {name}"),
)


def indented(lines: list[str], head: str) -> str:
    """Put statements below a head."""
    return f"{head}\n" + textwrap.indent("\n".join(lines or ["pass"]), "    ")


def in_blocks(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    """Put statements into compound ones."""
    bodies = st.lists(inner, max_size=4)
    heads = st.sampled_from(
        [
            *("if x:", "if True:", "if not TYPE_CHECKING:", "while x:", "for name in L:"),
            *("with other as f:", "if __name__ == '__main__':", "def g():", "async def g():"),
        ]
    )
    classes = st.builds(
        lambda marks, name, given: "\n".join([*marks, f"class {name}({given}):"]),
        st.lists(decorators, max_size=1),
        names,
        st.lists(
            st.sampled_from(["PluginBase", "PluginBase", "A", "B", "ABC", "metaclass=ABCMeta"])
            | expressions,
            max_size=3,
        ).map(", ".join),
    )
    return st.one_of(
        st.builds(indented, bodies, heads | classes | classes),
        st.builds(
            lambda tried, caught: (
                f"{indented(tried, 'try:')}\n{indented(caught, 'except x as f:')}"
            ),
            bodies,
            bodies,
        ),
    )


statements = st.recursive(assignments | functions, in_blocks, max_leaves=10)
# What plugins are like, so that the reader comes to what it says of them.
members = st.one_of(
    st.tuples(FIELDS, scalars | names).map(" = ".join),
    st.tuples(FIELDS, st.lists(scalars | names, max_size=2)).map(
        lambda two: f"{two[0]} = [{', '.join(two[1])}]"
    ),
    st.builds(
        lambda events, options, start, name: (
            f"@hook({events}{options})\n{start} {name}(self, data): 0"
        ),
        scalars
        | names
        | st.lists(scalars | names, max_size=3).map(lambda several: f"[{', '.join(several)}]"),
        st.sampled_from(
            ["", "", ", 7", ", priority=L", ", timeout=2.5", ", before='a'", ", after=L"]
        ),
        st.sampled_from(["def", "async def"]),
        st.sampled_from(["f", "g", "name"]),
    ),
    st.sampled_from(["f = None", "g = f", "f = other.g", "del f", "A.name = x", "L.append(x)"]),
)
plugins = st.builds(
    lambda name, bases, body: indented(body, f"class {name}({bases}):"),
    st.sampled_from("ABC"),
    st.sampled_from(
        ["PluginBase", "PluginBase", "A", "B, A", "A, ABC", "other.Base", "C, PluginBase"]
    ),
    st.lists(members | members | statements, max_size=5),
)
named = st.sampled_from(
    [
        "L = ['a', 'b']",
        "x = 'x'",
        "x += x",
        "L = L + [x]",
        "x = f'{x}{x}'",
        "x = 3",
        "L = x, x",
        "L = {1: 2}",
    ]
)
IMPORTS = st.sampled_from(
    [
        "from nitro_dispatch import PluginBase, hook, Event",
        "from nitro_dispatch import *\nfrom other import *",
        "from abc import ABC, ABCMeta, abstractmethod\nimport other",
        "import nitro_dispatch\nPluginBase, hook = nitro_dispatch.PluginBase, nitro_dispatch.hook",
        "from . import other\nfrom .. import x as L",
        "from __future__ import annotations",
    ]
)
sources = st.builds(
    lambda imports, lines: "\n".join([CANARY, *imports, *lines, ""]).replace("HUGE", "f" * 5_000),
    st.lists(IMPORTS, max_size=2).map(lambda more: ["from nitro_dispatch import *", *more]),
    st.lists(plugins | plugins | named | statements, min_size=1, max_size=6),
)


def mutated(data: st.DataObject, content: bytes, oddities: st.SearchStrategy[bytes]) -> bytes:
    """Spoil bytes in a few places."""
    for _ in range(data.draw(st.integers(0, 3), "mutations")):
        start = data.draw(st.integers(0, len(content)))
        end = data.draw(st.integers(start, min(len(content), start + 40)))
        kind = data.draw(st.sampled_from(["cut", "odd", "odd", "twice", "bytes"]))
        middle = {"cut": b"", "twice": content[start:end] * 2}.get(kind)
        if middle is None:
            middle = data.draw(oddities if kind == "odd" else st.binary(max_size=9))
        content = content[:start] + middle + content[end:]
    return content


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Write two good plugin files with a place between them."""
    for stem, name in (("a", "first"), ("z", "last")):
        (tmp_path / f"{stem}_plugin.py").write_text(GOOD.format(name=name))
    return tmp_path


def discover_beside(folder: Path, content: bytes) -> PluginManager:
    """Discover a hostile file between good ones, and check what comes of it."""
    (folder / "m_plugin.py").write_bytes(content)
    manager = PluginManager(lazy=True)
    signal.alarm(PATIENCE)
    check(manager, manager.discover_plugins(folder))
    signal.alarm(0)
    return manager


@pytest.mark.filterwarnings("ignore::SyntaxWarning", "ignore::DeprecationWarning")
@fuzzed(80, source=sources, data=st.data())
def test_no_source_harms_what_is_beside_it(folder: Path, source: str, data: st.DataObject) -> None:
    """Whatever a file holds, a lazy discovery ends, finds the good ones, and runs nothing of it."""
    codec = data.draw(st.sampled_from(["utf-8", "utf-8", "utf-8", *CODECS]))
    cookie = "" if codec == "utf-8" else f"# -*- coding: {codec} -*-\n"
    content = (cookie + source).encode("utf-8", "surrogatepass")
    discover_beside(folder, mutated(data, content, ODDITIES))


# What is written once and read in more than one way: values that names share, targets that share a
# value, and classes that share what they inherit.
SHARED = [
    *(
        "L = ['a']",
        "K = L",
        "L = K = ['b']",
        "K.append('c')",
        "L += ['d']",
        "L[0] = 'e'",
        "K = [*L]",
    ),
    *("K, L = L, K", "(K, L) = M = ['f'], ['g']", "M = L", "del K[:]", "N = 'n'", "N = N + 'm'"),
    *("N = O = 'o'", "O = f'{N}.o'", "M = tuple(L)", "K = L + ['h']", "L = L", "K.clear()"),
    *("for L in [['i']]: pass", "if N:\n    L = K", "def grow(): L.append('j')", "grow()"),
    *("A.dependencies.append('k')", "B.dependencies = L", "A.name = N", "del A.dependencies"),
    *(
        "A.dependencies += ['l']",
        "setattr(B, 'dependencies', K)",
    ),
]
SHARING = [
    *(
        "dependencies = L",
        "dependencies = K",
        "conflicts = dependencies",
        "dependencies.append('p')",
    ),
    *("dependencies = conflicts = ['q']", "dependencies, conflicts = L, K", "name = N", "name = O"),
    *(
        "dependencies = L + K",
        "conflicts = M",
        "version = N",
        "dependencies = list(L)",
        "L = ['r']",
    ),
    *(
        "@hook(L)\n    def f(self, data): pass",
        "@hook(N)\n    def g(self, data): pass",
        "f = g = None",
    ),
    *("@hook([N, *L])\n    def g(self, data): pass", "@hook(O)\n    async def f(self, data): pass"),
    *("dependencies += ['s']", "dependencies[:] = []", "for name in L: pass", "L.append('t')"),
]
shared_sources = st.lists(
    st.sampled_from(SHARED)
    | st.builds(
        lambda name, base, body: f"class {name}({base}):\n    " + "\n    ".join(["pass", *body]),
        st.sampled_from("AB"),
        st.sampled_from(["PluginBase", "PluginBase", "A", "B"]),
        st.lists(st.sampled_from(SHARING), max_size=4),
    ),
    max_size=8,
).map(
    lambda lines: "\n".join(
        [
            "from nitro_dispatch import PluginBase, hook",
            "L, K, M, N, O = ['u'], ['v'], ('w',), 'x', 'y'",
            "class A(PluginBase): dependencies = ['z']",
            "class B(PluginBase): dependencies = ['z']",
            *lines,
        ]
    )
)


def facts(manager: PluginManager) -> dict[str, object]:
    """List what a manager is sure of."""
    return {
        info.metadata.name: (
            info.metadata.dependencies,
            info.metadata.conflicts,
            sorted(info.events),
        )
        for info in manager.describe()
        if info.state != "unknown" and not info.unknown
    }


@fuzzed(100, source=shared_sources)
def test_what_is_read_is_what_is_imported(tmp_path: Path, source: str) -> None:
    """What a description says without a doubt is what the classes turn out to have."""
    with tempfile.TemporaryDirectory(dir=tmp_path) as folder:
        Path(folder, "m_plugin.py").write_text(source)
        imported, described = PluginManager(), PluginManager(lazy=True)
        imported.discover_plugins(folder)
        if imported.failures:
            return  # The statements do not go together: there is nothing to compare with.
        described.discover_plugins(folder)
        real = facts(imported)
        for name, fact in facts(described).items():
            assert real.get(name) == fact, source


# -- what is small to write and large to say

HEAD = "from nitro_dispatch import PluginBase, hook\nimport other\n"


def times(count: int, line: str) -> str:
    """Repeat a line with numbers in it."""
    return "".join(line.format(n=number, next=number + 1) for number in range(count))


def worst() -> dict[str, str]:
    """Make sources that are small to write, and large or long to say."""
    return {
        "brackets": "(" * 1_000_000,
        "minus": "x = " + "-" * 1_000_000 + "1",
        "attributes": "x = other" + ".a" * 100_000,
        "calls": "x = other" + "()" * 100_000,
        "sum": "x = 'a'" + " + 'a'" * 100_000,
        "lambdas": "x = " + "lambda: " * 100_000 + "1",
        "f-strings": "x = " + "f'{" * 1_000 + "}'" * 1_000,
        "digits": "x = 1" + "0" * 1_000_000,
        "hexadecimal digits": "x = 0x1" + "f" * 1_000_000 + "\ny = f'{x}'",
        "a long line": f"x = '{'a' * 1_000_000}'",
        "a long name": f"{'a' * 1_000_000} = 1",
        "null bytes": "\0" * 1_000_000,
        "form feeds": "\f" * 1_000_000,
        "indentation": "".join(f"{' ' * depth}if 1:\n" for depth in range(1_000)),
        "else if": "if x: 0\n" + times(30_000, "elif x == {n}: 0\n"),
        "decorators": "@other.x\n" * 10_000 + "class A(PluginBase): 0",
        "hook decorators": "class A(PluginBase):\n"
        + " @staticmethod\n" * 9_000
        + " @hook('a')\n" * 9_000
        + " def f(): 0",
        "outside bases": f"class A({times(9_000, 'other.B{n},')} PluginBase): 0",
        "bases": times(9_000, "class B{n}: 0\n")
        + f"class A({times(9_000, 'B{n},')} PluginBase): 0",
        "a chain of classes": "class A0(PluginBase): 0\n"
        + times(9_000, "class A{next}(A{n}): 0\n"),
        "a net of classes": "class A0(PluginBase): 0\nclass B0(A0): 0\n"
        + times(900, "class A{next}(A{n}, B{n}): 0\nclass B{next}(A{n}, B{n}): 0\n"),
        "bases twice": "class A0(PluginBase): 0\n" + times(1_000, "class A{next}(A{n}, A{n}): 0\n"),
        "inherited hooks": "class A(PluginBase):\n"
        + times(2_000, " @hook('a')\n def f{n}(s, d): 0\n")
        + times(2_000, "class A{n}(A): 0\n"),
        "inherited decorators": "class A(PluginBase):\n"
        + " @staticmethod\n" * 9_000
        + " def f(): 0\n"
        + times(2_000, "class A{n}(A): 0\n"),
        "inherited doubts": "class A(PluginBase): 0\n"
        + "setattr(A, x, 1)\n" * 4_000
        + times(4_000, "class A{n}(A): 0\n"),
        "an inherited base": f"class A(PluginBase, other[{'0,' * 200_000}]): 0\n"
        + times(2_000, "class A{n}(A): 0\n"),
        "classes without a name": "class A(PluginBase): 0\n" * 10_000
        + times(10_000, "x{n} = other()\n"),
        "targets": f"{times(9_000, 'x{n} = ')}[{'0,' * 40_000}]",
        "targets in brackets": f"{times(9_000, 'x{n}, = ')}[{'0,' * 40_000}],",
        "names of names": "x0 = other()\n" + times(16_000, "x{next} = x{n}\n"),
        "names of attributes": "x0 = other\n" + times(16_000, "x{next} = x{n}.aaaaaaaaa\n"),
        "names of a long module": f"import {'a' * 400_000} as x\n" + times(9_000, "x{n} = x.a\n"),
        "sums of names": f"L = [{'0,' * 2_000}]\n" + times(30_000, "x{n} = L + L\n"),
        "a list of a name": f"x = {'a' * 4_000!r}\nL = [{'x,' * 4_000}]\n"
        + times(400, "class A{n}(PluginBase): dependencies = L\n"),
        "bad requirements": f"x = {'<' * 4_000!r}\nL = [{'x,' * 4_000}]\n"
        + times(400, "class A{n}(PluginBase): dependencies = conflicts = L\n"),
        "events by a name": f"L = [{times(4_000, repr('e{n}') + ',')}]\nclass A(PluginBase):\n"
        + times(4_000, " @hook(L)\n def f{n}(self, data): 0\n"),
    }


@pytest.mark.slow
def test_what_a_file_is_read_for_is_bounded(tmp_path: Path, run_python: RunPython) -> None:
    """However large what a file makes of itself, it is read in ten seconds and a gigabyte.

    Without a bound each takes minutes, or more memory than there is. The good ones are found.
    """
    sources = worst()
    for name, source in sources.items():
        folder = tmp_path / name
        folder.mkdir()
        (folder / "a_plugin.py").write_text(GOOD.format(name="first"))
        (folder / "m_plugin.py").write_text(HEAD + source)
        (folder / "z_plugin.py").write_text(GOOD.format(name="last"))
    told = run_python(
        """
        import os, resource, signal, sys, warnings
        from nitro_dispatch import PluginManager
        warnings.simplefilter("ignore")
        room = (1 << 30) + resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        resource.setrlimit(resource.RLIMIT_AS, (room, room))
        for folder in sys.argv[1:]:
            # The time that it computes, whatever else the machine does meanwhile.
            signal.setitimer(signal.ITIMER_VIRTUAL, 10)
            manager = PluginManager(lazy=True)
            found = {"first", "last"} & set(manager.discover_plugins(folder))
            manager.describe()
            manager.plan()
            kinds = {type(failure.error).__name__ for failure in manager.failures.values()}
            print(folder, len(found), "MemoryError" in kinds, flush=True)
        """,
        *sources,
        seconds=600,
    )
    assert told.splitlines() == [f"{name} 2 False" for name in sources]


# -- installed distributions

REFERENCES = [
    *(
        "fuzz_good_first:Good",
        "os",
        "os:path",
        "os.path:join",
        "fuzz_none:Good",
        "fuzz_broken",
        ":",
        "",
    ),
    *(
        "fuzz_good_first:Good.greet",
        "fuzz_good_first",
        "a..b:C",
        "a:b:c",
        "a b:c",
        "fuzz:x [extra]",
    ),
    *(
        "nitro_dispatch:PluginBase",
        "__main__:x",
        "builtins:print",
        "1a:b",
        "\u00e4:\u00f6",
        "a" * 9_000,
    ),
    *(
        "a." * 3_000 + "a",
        "a:" + "b." * 3_000 + "b",
        "class:def",
        "fuzz_package.deep.er:X",
        "a:b\0c",
    ),
]
entry_lines = st.one_of(
    st.tuples(
        st.sampled_from(
            ["good", "a", "", " ", "=", "a b", "[x", "#", "\u00fc", "a" * 9_000, "a.b-c", "\0"]
        ),
        st.sampled_from(["=", " = ", "", ":", "==", "\t=\t"]),
        st.sampled_from(REFERENCES),
    ).map("".join),
    st.sampled_from(
        [
            *(
                f"[{GROUP}]",
                f"[ {GROUP} ]",
                f"[{GROUP}",
                GROUP,
                f"[{GROUP}]]",
                "[other]",
                "[]",
                "[",
            ),
            *("", "# a comment", "; another", "\x0b", "\x1c", "\x85", "\u2028", "  indented", "\\"),
        ]
    ),
)
entry_files = st.lists(entry_lines, max_size=8).map(lambda lines: [f"[{GROUP}]", *lines])
metadata_lines = st.sampled_from(
    [
        *(
            "Metadata-Version: 2.1",
            "Name: fuzz",
            "Name:",
            "Name: ~",
            "Name: first",
            "Version: 1",
            "name:x",
        ),
        *(
            "Name: a\0b",
            "Name: \x1b[31m",
            "Version: \u00e9",
            "",
            "Description: x",
            "Name: " + "n" * 9_000,
        ),
        *(
            " folded",
            "Name: a\n b",
            "Version: " + "1." * 3_000,
            "\ud800",
            "Keywords: " + "k," * 9_000,
        ),
    ]
)
metadata = st.lists(metadata_lines, max_size=5)
odd_lines = st.builds(
    lambda piece, count: piece * count,
    st.sampled_from(
        [b"\0", b"\xff", b"\r", b"\r\n", b"\n", b"[", b"]", b"=", b":", b" ", b"\xef\xbb\xbf"]
    ),
    st.sampled_from([1, 1, 2, 5_000]),
)
FOLDERS = [
    *("fuzz-1.0.dist-info", "fuzz.dist-info", ".dist-info", "-.dist-info", "~uzz-1.dist-info"),
    *("first-1.0.dist-info", "FIRST-2.EGG-INFO", "fuzz-1-py3.9.egg-info", "a\nb-1.dist-info"),
    *(
        "\udc80-1.dist-info",
        "__-__.dist-info",
        "fuzz-1.0.dist-info.dist-info",
        "fuzz.egg",
        "fuzz.zip",
    ),
]
# What lies in the place of a file: its bytes, or something that is none.
SHAPES = ["file", "file", "file", "folder", "pipe", "loop", "nothing", "closed"]


def place(path: Path, shape: str, content: bytes) -> None:
    """Put a file, or what is none, in a place."""
    if shape == "folder":
        path.mkdir()
    elif shape == "pipe":
        os.mkfifo(path)
    elif shape == "loop":
        path.symlink_to(path.name)
    elif shape != "nothing":
        path.write_bytes(content)
        path.chmod(0 if shape == "closed" else 0o600)


def place_distribution(site: Path, name: str, reference: str) -> None:
    """Put a good distribution in a folder."""
    info = site / f"{name}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[{GROUP}]\n{name} = {reference}\n")


@pytest.fixture
def good_modules(tmp_path: Path, no_more_path: None, modules_as_before: None) -> Path:
    """Put on the path the modules of good distributions, and one that fails."""
    modules = tmp_path / "modules"
    modules.mkdir()
    for name in ("first", "last"):
        (modules / f"fuzz_good_{name}.py").write_text(GOOD.format(name=name))
    (modules / "fuzz_broken.py").write_text(f"{CANARY}class (")
    sys.path.append(str(modules))
    return modules


@fuzzed(80, folder=st.sampled_from(FOLDERS), lines=entry_files, said=metadata, data=st.data())
def test_no_distribution_harms_what_is_beside_it(
    tmp_path: Path,
    good_modules: Path,
    folder: str,
    lines: list[str],
    said: list[str],
    data: st.DataObject,
) -> None:
    """Whatever lies in the folder of a distribution, a discovery ends and finds the good ones."""
    shapes = st.sampled_from(SHAPES)
    site = Path(tempfile.mkdtemp(dir=tmp_path))
    place_distribution(site, "a_first", "fuzz_good_first:Good")
    place_distribution(site, "z_last", "fuzz_good_last:Good")
    content = mutated(data, "\n".join(lines).encode(), odd_lines)
    about = mutated(data, "\n".join(said).encode("utf-8", "surrogatepass"), odd_lines)
    info = site / folder
    if data.draw(st.integers(0, 9)) == 0:
        place(info, data.draw(shapes), content)
    else:
        info.mkdir()
        place(info / "entry_points.txt", data.draw(shapes), content)
        place(info / "METADATA", data.draw(shapes), about)
        for other in ("RECORD", "top_level.txt", "direct_url.json", "PKG-INFO"):
            place(info / other, data.draw(shapes), about)
    manager = PluginManager(lazy=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "path", [str(site), str(info), *sys.path])
        signal.alarm(PATIENCE)
        check(manager, manager.discover_entry_points(GROUP))
        signal.alarm(0)


# -- the cache

odd_values: Any = st.recursive(
    st.sampled_from(
        [
            None,
            True,
            -1,
            0,
            3,
            1e308,
            float("nan"),
            float("inf"),
            "",
            "a",
            "name",
            "*",
            "\ud800",
            "\0",
            10**4_000,
            -(10**400),
        ]
    ),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["name", "version", "tuple", "dependencies", ""]), inner)
    ),
    max_leaves=5,
)
RAW = [
    *(b"", b"null", b"[]", b"[[], []]", b"{}", b"[" * 50_000, b'{"a":' * 50_000, b"\x80\x04\x95."),
    *(b"NaN", b"1e999", b"9" * 9_000, b'"' + b"a" * 50_000, b"\0" * 9_000, b"\xff\xfe[\0]\0"),
    *(b"[[NaN, Infinity], -Infinity]", b'["\\ud800", "\\ud800"]', b"[1, 2, 3]", b"\xef\xbb\xbf[]"),
]


def places_in(value: Any) -> Iterator[tuple[Any, Any]]:
    """Name every place in a JSON document, by its container and the key there."""
    for key in range(len(value)) if isinstance(value, list) else value:
        yield value, key
        if isinstance(value[key], (list, dict)):
            yield from places_in(value[key])


def spoiled(data: st.DataObject, content: bytes) -> bytes:
    """Put something else in the place of parts of an entry, which stays one of its file."""
    stamp, description = json.loads(content)
    for _ in range(data.draw(st.integers(1, 3), "changes")):
        places = list(places_in(description))
        if not places:
            break
        container, key = data.draw(st.sampled_from(places))
        kind = data.draw(st.sampled_from(["part", "part", "missing", "twice"]))
        if kind == "part":
            container[key] = data.draw(odd_values)
        elif kind == "missing":
            del container[key]
        elif isinstance(container, list):
            container.append(container[key])
    return json.dumps([stamp, description]).encode()


SPOILED = {
    "m": "from nitro_dispatch import PluginBase, hook\n"
    "class Armed(PluginBase):\n"
    "    name, version, dependencies = 'armed', '1.0', ('first',)\n"
    "    @hook(['greet', 'a.*'], priority=3, timeout=2, before='last')\n"
    "    def greet(self, data): raise OSError\n"
    "    @hook('greet', blocking=False)\n"
    "    async def other(self, data, event): pass\n",
    "n": "from nitro_dispatch import *\nfrom .other import x\nimport other\n"
    "class Vague(other.Plugin):\n    name, version = 'vague', x\n"
    "    @hook('greet', after=['first'])\n    def greet(self, data): pass\n",
}


# Where an entry is, and what it holds.
Entry = tuple[Path, bytes]


@pytest.fixture
def entries(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, modules_as_before: None
) -> dict[str, Entry]:
    """Fill a cache with what is read of plugin files, and tell its entries by their files."""
    caches = tmp_path / "caches"
    monkeypatch.setenv("NITRO_DISPATCH_CACHE", str(caches))
    # What has just been written is kept at once.
    monkeypatch.setattr(cache, "_TICK", -time.time_ns())
    for stem, source in SPOILED.items():
        (folder / f"{stem}_plugin.py").write_text(source)
    PluginManager(lazy=True).discover_plugins(folder)
    found = [(entry, entry.read_bytes()) for entry in caches.iterdir()]
    # An entry begins with a stamp, which names the file.
    return {Path(json.loads(content)[0][2]).name[0]: (entry, content) for entry, content in found}


@fuzzed(80, data=st.data())
def test_no_entry_of_the_cache_harms_anything(
    folder: Path, entries: dict[str, Entry], data: st.DataObject
) -> None:
    """Whatever the cache holds, an application starts, and what is not in it is read."""
    assert len(entries) == 4
    for path, content in entries.values():
        shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
        path.write_bytes(content)
    path, content = entries[data.draw(st.sampled_from("mn"))]
    kind = data.draw(st.sampled_from(["parts", "parts", "parts", "bytes", "raw", "other", "shape"]))
    if kind == "parts":
        content = spoiled(data, content)
    elif kind == "bytes":
        content = mutated(data, content, st.sampled_from(RAW))
    elif kind == "raw":
        content = data.draw(st.sampled_from(RAW))
    elif kind == "other":
        content = entries[data.draw(st.sampled_from("amnz"))][1]
    path.unlink()
    place(path, data.draw(st.sampled_from(SHAPES)) if kind == "shape" else "file", content)
    manager = PluginManager(lazy=True)
    signal.alarm(PATIENCE)
    check(manager, manager.discover_plugins(folder))
    loaded = manager.load_all()
    assert set(loaded) >= GOOD_NAMES
    greeted = manager.trigger("greet", [])
    assert [name for name in greeted if name in GOOD_NAMES] == ["first", "last"]
    asyncio.run(manager.trigger_async("greet", []))
    read_all(manager)
    manager.unload_all()
    signal.alarm(0)
