"""What the log says of a failure: who, from where, at which line; and nothing that is forged."""

from __future__ import annotations

import asyncio
import functools
import io
import json
import logging
import logging.handlers
import pickle
import queue
import sys
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Callable, Optional

import pytest

from concurrency import PATIENCE, Gate
from nitro_dispatch import HookRegistry, PluginBase, PluginManager, hook

LIBRARY = logging.getLogger("nitro_dispatch")
FORGED = "x\r\nLOG forged\x1b[0m\u2028LOG forged\x85LOG forged"


@pytest.fixture
def manager() -> PluginManager:
    """Make a manager without plugins."""
    return PluginManager()


def fail(data: Any) -> None:
    """Fail."""
    raise KeyError("name")


async def fail_async(data: Any) -> None:
    """Fail, asynchronously."""
    await asyncio.sleep(0)
    raise KeyError("name")


def line_of(function: Any, offset: int = 0) -> str:
    """Name a line of a function by its distance from the first."""
    code = function.__code__
    return f"{code.co_filename}:{code.co_firstlineno + offset}"


def last_error(caplog: pytest.LogCaptureFixture) -> logging.LogRecord:
    """Find the last failure that was logged."""
    return [record for record in caplog.records if record.levelno == logging.ERROR][-1]


# -- who, from where, and at which line

HEAD = "import json\nfrom nitro_dispatch import PluginBase, hook\n\n"
BODY = "class Cache(PluginBase):\n    name = 'cache'\n"

# The source of a plugin that fails in the line with the mark, and what the report begins with.
PLACES = {
    "import": ("raise KeyError('x')  # here", "Plugin without a name ({file}) failed at import"),
    "syntax": ("this is no Python  # here", "Plugin without a name ({file}) failed at "),
    "init": (
        BODY + "    def __init__(self):\n        raise KeyError('x')  # here",
        "Plugin cache ({file}) failed at init",
    ),
    "on_load": (
        BODY + "    def on_load(self):\n        raise KeyError('x')  # here",
        "Plugin cache ({file}) failed at on_load",
    ),
    "on_unload": (
        BODY + "    @hook('fired')\n    def work(self, data): pass\n"
        "    def on_unload(self):\n        raise SystemExit('x')  # here",
        "on_unload of plugin cache ({file}) failed",
    ),
    "hook": (
        BODY + "    @hook('fired')\n    def work(self, data):\n        raise KeyError('x')  # here",
        "hook failed: plugin cache ({file}), event fired, hook work",
    ),
    "pattern": (
        BODY + "    @hook('f*')\n    def work(self, data):\n        raise KeyError('x')  # here",
        "hook failed: plugin cache ({file}), event fired, hook work",
    ),
    "deeper": (
        BODY + "    @hook('fired')\n    def work(self, data):\n        json.loads('{')  # here",
        "hook failed: plugin cache ({file}), event fired, hook work",
    ),
    "registered": (
        BODY + "    def on_load(self):\n"
        "        self.register_hook('fired', lambda data: data['x'])  # here",
        "hook failed: plugin cache ({file}), event fired, hook <lambda>",
    ),
    "on_error": (
        BODY + "    @hook('fired')\n    def work(self, data):\n        raise KeyError\n"
        "    def on_error(self, error):\n        raise KeyError('x')  # here",
        "on_error failed: plugin cache ({file}), event fired, hook work",
    ),
    "listener": (
        BODY + "    @hook('nitro.app.shutdown')\n    def leave(self, data):\n"
        "        raise KeyError('x')  # here",
        "hook failed: plugin cache ({file}), event nitro.app.shutdown, hook leave",
    ),
    "elsewhere": (
        "def helper(data):\n    return data['x']  # here\n\n"
        + BODY
        + "    @hook('fired')\n    def work(self, data):\n        helper({})",
        "hook failed: plugin cache ({file}), event fired, hook work",
    ),
}


@pytest.mark.parametrize("lazy", [False, True], ids=["imported", "lazy"])
@pytest.mark.parametrize(("body", "expected"), PLACES.values(), ids=PLACES)
def test_a_report_names_the_origin_and_the_failing_line(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, body: str, expected: str, lazy: bool
) -> None:
    """Whatever of a plugin fails, the log names its file, and the line of its own that failed."""
    file = tmp_path / "cache_plugin.py"
    file.write_text(HEAD + body)
    manager = PluginManager(lazy=lazy)
    manager.discover_plugins(tmp_path)
    manager.load_all()
    with manager:
        manager.trigger("fired", {})
    number = next(n for n, text in enumerate(file.read_text().split("\n"), 1) if "# here" in text)
    record = last_error(caplog)
    origin = vars(record)["origin"]
    assert str(origin).partition(":")[0] == str(file)
    assert record.getMessage().startswith(expected.format(file=origin))
    assert str(vars(record)["location"]) == f"{file}:{number}"
    assert record.getMessage().endswith(f" ({file}:{number})")


WAYS: dict[str, Callable[[Any], object]] = {
    "trigger": lambda target: target.trigger("fired"),
    "trigger_async": lambda target: asyncio.run(target.trigger_async("fired")),
    "collect": lambda target: target.collect("fired"),
    "collect_async": lambda target: asyncio.run(target.collect_async("fired")),
    "first": lambda target: target.first("fired"),
    "trace": lambda target: target.trace("fired"),
}


@pytest.mark.parametrize("strategy", ["log_and_continue", "collect_all"])
@pytest.mark.parametrize("options", [{}, {"timeout": PATIENCE}, {"blocking": False}], ids=str)
@pytest.mark.parametrize("fire", WAYS.values(), ids=WAYS)
def test_every_way_to_fire_reports_the_same(
    registry: HookRegistry,
    caplog: pytest.LogCaptureFixture,
    fire: Callable[[Any], object],
    options: Any,
    strategy: str,
) -> None:
    """In each dispatch, and in each thread and slot, the report is the same, and there is one."""
    registry.set_error_strategy(strategy)
    registry.register("fired", fail, **options)
    fire(registry)
    (record,) = caplog.records
    where = line_of(fail, 2)
    assert record.getMessage() == (
        f"hook failed: plugin anonymous ({line_of(fail)}), event fired, hook fail: "
        f"KeyError: 'name' ({where})"
    )
    assert {
        name: str(vars(record)[name])
        for name in ("plugin", "origin", "event", "hook", "location", "reason")
    } == {
        "plugin": "anonymous",
        "origin": line_of(fail),
        "event": "fired",
        "hook": "fail",
        "location": where,
        "reason": f"KeyError: 'name' ({where})",
    }


@pytest.mark.parametrize("fire", ["trigger_async", "collect_async"])
def test_async_hooks_and_their_owners_are_reported(
    registry: HookRegistry, caplog: pytest.LogCaptureFixture, fire: str
) -> None:
    """An async hook, and an async `on_error`, are reported with their lines."""

    class Owner:
        async def on_error(self, error: BaseException) -> None:
            await asyncio.sleep(0)
            raise OSError("no disk")

    registry.register("fired", fail_async, Owner())
    WAYS[fire](registry)
    told, failed = caplog.records[::-1]
    assert str(vars(failed)["location"]) == line_of(fail_async, 3)
    assert str(vars(told)["location"]) == line_of(Owner.on_error, 2)
    assert told.getMessage().startswith("on_error failed: plugin Owner (")


def test_the_origin_of_an_installed_plugin_is_its_distribution(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    manager: PluginManager,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A plugin of an entry point is named with distribution, version and entry point.

    The line is that of its package, also where a module of it fails that it did not name.
    """
    info = tmp_path / "sample_audit-1.2.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: sample-audit\nVersion: 1.2\n")
    entry_point = "audit = reported_audit:Audit"
    (info / "entry_points.txt").write_text(f"[nitro_dispatch.plugins]\n{entry_point}\n")
    package = tmp_path / "reported_audit"
    package.mkdir()
    (package / "__init__.py").write_text("from .plugin import Audit\n")
    (package / "deep.py").write_text("import json\ndef open(): json.loads('{')\n")
    (package / "plugin.py").write_text(
        f"from . import deep\n{HEAD}class Audit(PluginBase):\n"
        "    @hook('fired')\n    def work(self, data): data['x']\n"
        "    def on_unload(self): deep.open()\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    manager.discover_entry_points()
    manager.load("Audit")
    manager.trigger("fired", {})
    manager.unload_all()
    for name in [name for name in sys.modules if name.startswith("reported_audit")]:
        monkeypatch.delitem(sys.modules, name)
    hook_failed, unload_failed = caplog.records
    origin = f"sample-audit 1.2 (entry point {entry_point})"
    for record in (hook_failed, unload_failed):
        assert f"plugin Audit ({origin})" in record.getMessage()
        assert str(vars(record)["origin"]) == origin
    assert str(vars(hook_failed)["location"]) == f"{package / 'plugin.py'}:7"
    assert str(vars(unload_failed)["location"]) == f"{package / 'deep.py'}:2"


class Callback:
    """A callable object."""

    def __call__(self, data: Any) -> None:
        fail(data)


CALLBACKS: dict[str, tuple[Any, str]] = {
    "function": (fail, line_of(fail)),
    "partial": (functools.partial(fail), line_of(fail)),
    "object": (Callback(), line_of(Callback.__call__)),
    "method": (Callback().__call__, line_of(Callback.__call__)),
    "builtin": (int, "module builtins"),
}


@pytest.mark.parametrize("owner", [None, object(), "text", Callback()], ids=type)
@pytest.mark.parametrize(("callback", "origin"), CALLBACKS.values(), ids=CALLBACKS)
def test_the_origin_of_a_bare_hook_is_where_its_function_is(
    registry: HookRegistry,
    caplog: pytest.LogCaptureFixture,
    callback: Any,
    origin: str,
    owner: object,
) -> None:
    """Without a manager the origin is the file and line of the function, as far as it has one."""
    if callback is int and isinstance(owner, Callback):
        origin = __file__
    registry.register("fired", callback, owner)
    registry.trigger("fired", {})
    assert str(vars(caplog.records[0])["origin"]) == origin


def test_without_a_line_of_its_own_the_innermost_counts(
    registry: HookRegistry, caplog: pytest.LogCaptureFixture
) -> None:
    """Where no call is the plugin's own, the line is where the error was raised, or none at all."""
    registry.register("fired", functools.partial(json.load, parse_int=fail), priority=2)
    registry.register("fired", int, priority=1)
    registry.trigger("fired", io.StringIO('{"a": 1}'))
    deeper, nowhere = caplog.records
    assert str(vars(deeper)["location"]).startswith(json.__file__)
    assert str(vars(nowhere)["location"]) == ""
    assert nowhere.getMessage().endswith("not '_io.StringIO'")


def test_the_line_of_a_late_hook_is_where_it_is_defined(
    registry: HookRegistry, caplog: pytest.LogCaptureFixture
) -> None:
    """A time limit strikes no line: the report names the hook's first."""
    gate = Gate()
    registry.register("fired", lambda data: gate(), timeout=0.05)
    registry.trigger("fired")
    gate.open.set()
    (record,) = caplog.records
    assert record.getMessage().endswith(
        f"hook <lambda>: took longer than its time limit of 0.05 s ({vars(record)['origin']})"
    )


def test_a_tracer_that_fails_is_reported_with_its_line(
    registry: HookRegistry, caplog: pytest.LogCaptureFixture
) -> None:
    """What a tracer raises is logged with the kind, the text and the line."""
    registry.add_tracer(fail)
    registry.register("fired", lambda data: None)
    registry.trigger("fired")
    expected = f"a tracer failed: KeyError: 'name' ({line_of(fail, 2)})"
    assert [record.getMessage() for record in caplog.records] == [expected]


# -- nothing is forged


class Written(logging.StreamHandler):  # type: ignore[type-arg]  # Python 3.9 knows no argument.
    """A handler as applications have it, which begins each record with LOG."""

    def __init__(self) -> None:
        super().__init__(io.StringIO())
        self.setFormatter(logging.Formatter("LOG %(name)s %(message)s"))
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)
        super().emit(record)

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802
        raise AssertionError("a record cannot be written")

    @property
    def text(self) -> str:
        return str(self.stream.getvalue())


@pytest.fixture
def written() -> Iterator[Written]:
    """Attach a handler to the library's logger, which hears everything."""
    handler, level = Written(), LIBRARY.level
    LIBRARY.addHandler(handler)
    LIBRARY.setLevel(logging.DEBUG)
    yield handler
    LIBRARY.removeHandler(handler)
    LIBRARY.setLevel(level)


def forged_function(error: BaseException) -> Callable[..., Any]:
    """Make a function that raises, with a forged name, in a file with a forged name."""
    source = "def work(data=None, *rest):\n    raise error\n"
    names: dict[str, Any] = {"error": error}
    exec(compile(source, FORGED, "exec"), names)
    function: Callable[..., Any] = names["work"]
    function.__code__ = function.__code__.replace(co_name=FORGED)
    function.__name__ = FORGED
    return function


def forged_error(*, cause: bool = True) -> Exception:
    """Make an error whose class, text, notes and causes all hold forged lines."""
    kind = type(FORGED, (Exception,), {"__notes__": [FORGED, FORGED]})
    error: Exception = kind(FORGED)
    if cause:
        error.__cause__ = forged_error(cause=False)
    return error


def forged_plugin() -> type[PluginBase]:
    """Make a plugin of which everything is forged, and everything fails."""
    raising = forged_function(forged_error())
    attributes = {
        "name": FORGED,
        "on_error": raising,
        "on_unload": raising,
        "work": hook(FORGED)(raising),
        "__module__": FORGED,
    }
    return type(FORGED, (PluginBase,), attributes)


def test_no_text_can_forge_a_line(manager: PluginManager, written: Written, tmp_path: Path) -> None:
    """Names, texts, notes and causes, files and functions of errors begin no line of the log."""
    loaded, failing = forged_plugin(), forged_plugin()
    failing.name = "failing\nLOG forged"
    setattr(failing, "on_load", forged_function(forged_error()))  # noqa: B010
    manager.register(loaded)
    manager.register(loaded)
    manager.register(failing)
    manager.load_all()
    manager.enable_hook_tracing()
    manager.add_tracer(forged_function(forged_error()))
    manager.trigger(FORGED)
    asyncio.run(manager.trigger_async(FORGED))
    (tmp_path / "bad_plugin.py").write_text(f"raise ValueError({FORGED!r})")
    manager.discover_plugins(tmp_path)
    manager.unload_all()
    assert len(written.records) > 8
    lines = [line for line in written.text.splitlines() if not line.startswith("  ")]
    assert len(lines) == len(written.records)
    assert all(line.startswith("LOG nitro_dispatch.") for line in lines)
    assert all(line.isprintable() for line in written.text.split("\n"))


def test_a_traceback_is_otherwise_as_python_shows_it(
    registry: HookRegistry, written: Written
) -> None:
    """Save for the indentation the traceback is Python's own, with causes and source lines."""

    def work(data: Any) -> None:
        try:
            fail(data)
        except KeyError as error:
            raise OSError("no disk") from error

    registry.register("fired", work)
    registry.trigger("fired")
    (record,) = written.records
    assert record.exc_info is not None
    shown = logging.Formatter().formatException(record.exc_info)
    assert str(record.exc_text) == "".join(f"  {line}\n" for line in shown.split("\n"))[:-1]
    assert "  KeyError: 'name'\n" in written.text
    assert written.text.endswith("\n  OSError: no disk\n")


# -- made late, where a handler writes it


class Counting(Exception):
    """An error that counts how often it is formatted."""

    times = 0

    def __str__(self) -> str:
        Counting.times += 1
        return "counted"


def test_nothing_is_formatted_where_nobody_writes(registry: HookRegistry) -> None:
    """Without a handler no text of an error is made; with one it is."""
    registry.register("fired", functools.partial(fail_with, Counting))
    before, propagate = Counting.times, LIBRARY.propagate
    LIBRARY.propagate = False  # The test runner has handlers of its own.
    try:
        registry.trigger("fired")
        assert Counting.times == before
        handler = Written()
        LIBRARY.addHandler(handler)
        registry.trigger("fired")
        LIBRARY.removeHandler(handler)
    finally:
        LIBRARY.propagate = propagate
    assert Counting.times > before


def fail_with(error: Callable[[], BaseException], data: Any) -> None:
    """Raise a new error."""
    raise error()


def test_a_record_goes_to_another_process(registry: HookRegistry, written: Written) -> None:
    """A record passes a queue and a socket as any other, with plain texts and the traceback."""
    registry.register("fired", fail)
    registry.trigger("fired")
    (record,) = written.records
    received: queue.Queue[logging.LogRecord] = queue.Queue()
    logging.handlers.QueueHandler(received).emit(record)
    queued = pickle.loads(pickle.dumps(received.get()))
    pickled = logging.handlers.SocketHandler("localhost", 0).makePickle(record)
    sent = logging.makeLogRecord(pickle.loads(pickled[4:]))
    for copy in (queued, sent):
        assert "hook fail: KeyError: 'name'" in copy.getMessage()
        assert vars(copy)["location"] == line_of(fail, 2)
        assert vars(copy)["origin"] == line_of(fail)
    assert type(sent.exc_text) is str
    assert "KeyError: 'name'" in sent.exc_text


# -- whatever is hostile


def hostile(**attributes: Any) -> Callable[[], BaseException]:
    """Make a class of errors with attributes that are code."""
    return type("Hostile", (Exception,), attributes)


def broken(*arguments: object) -> Any:
    """Stand for code of a plugin that does not work."""
    raise RuntimeError("broken")


class Lying(type):
    """A class that cannot say what it is called, or where it is from."""

    __name__ = property(broken)
    __module__ = property(broken)


class OddText(str):
    """A text that cannot be used."""

    __str__ = __len__ = __format__ = __hash__ = __eq__ = __iter__ = broken
    isprintable = startswith = broken


HOSTILE: dict[str, Callable[[], BaseException]] = {
    "text": hostile(__str__=broken, __repr__=broken),
    "no text": hostile(__str__=lambda self: None),
    "odd text": hostile(__str__=lambda self: OddText("odd")),
    "class": hostile(__class__=property(broken)),
    "lying class": hostile(__class__=KeyError),
    "syntax error": hostile(__class__=SyntaxError),
    "traceback": hostile(__traceback__=property(broken)),
    "no traceback": hostile(__traceback__=None),
    "causes": hostile(__cause__=property(broken), __context__=property(broken)),
    "notes": hostile(__notes__=property(broken)),
    "equal": hostile(__eq__=broken, __hash__=broken, __bool__=broken),
    "attributes": hostile(__getattribute__=broken),
    "exit": lambda: SystemExit(broken),
    "own class": lambda: Lying("Odd", (Exception,), {})(),
}


@pytest.mark.parametrize("fire", WAYS.values(), ids=WAYS)
@pytest.mark.parametrize("error", HOSTILE.values(), ids=HOSTILE)
def test_a_hostile_error_is_reported_and_the_others_go_on(
    registry: HookRegistry,
    written: Written,
    error: Callable[[], BaseException],
    fire: Callable[[Any], object],
) -> None:
    """Whatever an error's class does, its hook is reported once, with its line, and others run."""
    told: list[int] = []
    registry.add_tracer(lambda call: told.append(1))
    registry.register("fired", functools.partial(fail_with, error))
    registry.register("fired", lambda data: told.append(2))
    fire(registry)
    (record,) = written.records
    assert sorted(told) == [1, 1, 2]
    assert f"LOG {record.name} hook failed: plugin anonymous (" in written.text
    assert ", event fired, hook fail_with: " in written.text
    assert f"({line_of(fail_with, 2)})\n  Traceback (most recent call last):\n" in written.text


class Nameless(metaclass=Lying):
    """An owner whose name and class are code that fails."""

    name = property(broken)
    _origin = property(broken)


OWNERS: dict[str, Callable[[], object]] = {
    "code": Nameless,
    "odd": lambda: types.SimpleNamespace(name=OddText("odd")),
    "empty": lambda: types.SimpleNamespace(name=OddText("")),
    "origin": lambda: types.SimpleNamespace(name="odd", _origin="forged"),
    "module": lambda: types.ModuleType("odd"),
    "lost": lambda: type("Lost", (), {"__module__": "not.there"})(),
    "odd module": lambda: type("Lost", (), {"__module__": "odd_module"})(),
    "no module": lambda: type("Lost", (), {"__module__": 5})(),
}


class OddModule:
    """What stands for a module and cannot say in which file it is."""

    __file__ = property(broken)


@pytest.mark.parametrize("owner", OWNERS.values(), ids=OWNERS)
def test_a_hostile_owner_is_reported(
    registry: HookRegistry,
    written: Written,
    monkeypatch: pytest.MonkeyPatch,
    owner: Callable[[], object],
) -> None:
    """Whatever the names and attributes of an owner are, its failing hook is reported."""
    monkeypatch.setitem(sys.modules, "odd_module", OddModule())
    registry.register("fired", fail, owner())
    registry.trigger("fired")
    (record,) = written.records
    assert f"({line_of(fail)}), event fired, hook fail: KeyError: 'name'" in record.getMessage()


def test_a_traceback_of_any_length_is_reported(registry: HookRegistry, written: Written) -> None:
    """A failure with a hundred thousand calls is written, and its innermost own line found."""
    try:
        fail(None)
    except KeyError as error:
        assert error.__traceback__ is not None
        inner = error.__traceback__.tb_next
    assert inner is not None
    traceback: Optional[types.TracebackType] = inner
    for _ in range(100_000):
        traceback = types.TracebackType(traceback, inner.tb_frame, inner.tb_lasti, 7)

    def work(data: Any) -> None:
        raise KeyError("long").with_traceback(traceback)

    registry.register("fired", work)
    registry.trigger("fired")
    (record,) = written.records
    assert str(vars(record)["location"]) == line_of(fail, 2)
    assert written.text.endswith("  KeyError: 'long'\n")


def endless(data: Any) -> Any:
    """Call oneself, without end."""
    return endless(data)


def test_a_recursion_error_is_reported(registry: HookRegistry, written: Written) -> None:
    """A hook that used up the stack is written with its line."""
    registry.register("fired", endless)
    registry.trigger("fired")
    (record,) = written.records
    assert f"({line_of(endless, 2)})" in record.getMessage()
    assert "RecursionError" in written.text


# -- the application's own logging


class Unwilling(logging.Handler):
    """A handler that raises."""

    def __init__(self, error: BaseException) -> None:
        super().__init__()
        self.error = error

    def handle(self, record: logging.LogRecord) -> bool:
        raise self.error


@pytest.fixture(params=[OSError("the disk is full"), SystemExit(1)], ids=["error", "exit"])
def unwilling(request: pytest.FixtureRequest) -> Iterator[None]:
    """Attach a handler that raises at every record."""
    handler, level = Unwilling(request.param), LIBRARY.level
    LIBRARY.addHandler(handler)
    LIBRARY.setLevel(logging.DEBUG)
    yield
    LIBRARY.removeHandler(handler)
    LIBRARY.setLevel(level)


GOOD = "class Good(PluginBase):\n    name = 'good'\n    @hook('fired')\n    def add(self, data):\n"


@pytest.mark.usefixtures("unwilling")
@pytest.mark.parametrize("lazy", [False, True], ids=["imported", "lazy"])
def test_a_handler_that_raises_disturbs_no_plugin_s_life(tmp_path: Path, lazy: bool) -> None:
    """Finding, loading, firing, reloading and unloading go on where nothing can be logged."""
    tmp_path.chmod(0o777)
    (tmp_path / "bad_plugin.py").write_text("raise OSError")
    for name in ("good", "twin"):
        (tmp_path / f"{name}_plugin.py").write_text(HEAD + GOOD + "        return data + 1\n")
    sour = HEAD + BODY + "    def on_load(self): raise OSError\n"
    (tmp_path / "sour_plugin.py").write_text(sour)
    late = HEAD + GOOD.replace("ood", "one") + "        raise OSError\n"
    (tmp_path / "late_plugin.py").write_text(late + "    def on_unload(self): raise OSError\n")
    manager = PluginManager(lazy=lazy)
    manager.enable_hook_tracing()
    found = manager.discover_plugins(tmp_path)
    manager.register(type("Good", (PluginBase,), {"name": "other"}))
    manager.register(type("Good", (PluginBase,), {"name": "other"}))
    assert {"good", "gone", "cache"} == set(found)
    assert {"good", "gone", "other"} == set(manager.load_all())
    assert manager.trigger("fired", 0) == 1
    manager.reload("good")
    manager.reload("gone")
    manager.reload("other")
    assert manager.trigger("fired", 0) == 1
    assert len(manager.failures) == 3
    manager.unload_all()
    assert manager.get_loaded_plugins() == []


@pytest.fixture
def own_factory() -> Iterator[None]:
    """Let the application make records of its own, which have a plugin and a reason already."""
    before = logging.getLogRecordFactory()

    def make(*arguments: Any, **named: Any) -> logging.LogRecord:
        record = before(*arguments, **named)
        record.plugin, record.origin = "the application's", 5
        return record

    logging.setLogRecordFactory(make)
    yield
    logging.setLogRecordFactory(before)


@pytest.mark.usefixtures("own_factory")
def test_attributes_of_the_application_stay(registry: HookRegistry, written: Written) -> None:
    """Where the application's records have one of the names, it keeps it, and hears of it all."""
    registry.register("fired", fail)
    registry.trigger("fired")
    (record,) = written.records
    assert (vars(record)["plugin"], vars(record)["origin"]) == ("the application's", 5)
    assert str(vars(record)["location"]) == line_of(fail, 2)
    assert "plugin anonymous (" in record.getMessage()


def test_a_level_and_a_filter_of_the_application_are_heeded(
    registry: HookRegistry, written: Written
) -> None:
    """What the application does not want to hear of is not written."""
    registry.register("fired", fail)
    LIBRARY.setLevel(logging.CRITICAL)
    registry.trigger("fired")
    LIBRARY.setLevel(logging.DEBUG)
    source = logging.getLogger("nitro_dispatch.failures")
    refuse: Callable[[logging.LogRecord], bool] = lambda record: False  # noqa: E731
    source.addFilter(refuse)
    registry.trigger("fired")
    source.removeFilter(refuse)
    assert written.records == []
    registry.trigger("fired")
    assert len(written.records) == 1
