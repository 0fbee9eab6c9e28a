"""Loading: dependencies first, all or nothing, and one failure stops nobody else."""

from __future__ import annotations

import importlib
import logging
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Callable, Optional

import pytest

from costs import lines_run, memory_traced
from nitro_dispatch import (
    DependencyError,
    PluginBase,
    PluginFailure,
    PluginLoadError,
    PluginManager,
    PluginNotFoundError,
    ValidationError,
    hook,
)
from plugin_classes import MakePlugin, manager_with
from plugin_files import WriteModule
from programs import RunPython

CHAIN = 5_000


def failing(error: BaseException) -> Callable[[Any], None]:
    """Make a method that raises."""

    def fail(self: Any) -> None:
        raise error

    return fail


def test_load_returns_the_one_instance(make_plugin: MakePlugin) -> None:
    """Loading gives an instance, the same one however often it is asked for."""
    cache = make_plugin("cache")
    manager = manager_with(cache)
    plugin = manager.load("cache")
    assert type(plugin) is cache
    assert manager.load("cache") is plugin
    assert manager.get_plugin("cache") is plugin
    assert manager.get_all_plugins() == {"cache": plugin}
    assert manager.is_loaded("cache")


def test_load_loads_the_dependencies_first(make_plugin: MakePlugin) -> None:
    """What a plugin needs is loaded before it, and only that."""
    manager: PluginManager = manager_with(
        make_plugin("app", "cache", "store"),
        make_plugin("cache", "store"),
        make_plugin("store"),
        make_plugin("other"),
    )
    manager.load("app")
    assert manager.get_loaded_plugins() == ["store", "cache", "app"]


def test_a_dependency_is_there_in_on_load(make_plugin: MakePlugin) -> None:
    """In `on_load` a plugin can get and use what it needs, and is itself not there yet."""
    seen = []

    def look(self: PluginBase) -> None:
        seen.append((manager.is_loaded("store"), manager.get_plugin("app"), self.enabled))

    manager = manager_with(make_plugin("app", "store", on_load=look), make_plugin("store"))
    manager.load("app")
    assert seen == [(True, None, False)]


def test_an_unknown_name_is_not_found(make_plugin: MakePlugin) -> None:
    """An unknown name is a PluginNotFoundError, which says the nearest name that is known."""
    manager = manager_with(make_plugin("cache"))
    with pytest.raises(PluginNotFoundError, match="did you mean 'cache'") as caught:
        manager.load("chache")
    assert caught.value.plugin == "chache"
    with pytest.raises(PluginNotFoundError, match="discover it first"):
        manager.load("weather")
    assert manager.failures == {}


# -- what a plugin's code may do wrong


@pytest.mark.parametrize("error", [ValueError("no disk"), SystemExit("no disk")], ids=type)
@pytest.mark.parametrize(("method", "stage"), [("__init__", "init"), ("on_load", "on_load")])
def test_code_that_fails_is_a_load_error(
    method: str, stage: str, error: BaseException, make_plugin: MakePlugin
) -> None:
    """What `__init__` or `on_load` raises is the cause of a PluginLoadError that repeats it."""
    manager = manager_with(make_plugin("cache", **{method: failing(error)}))
    with pytest.raises(PluginLoadError, match=r"cache.*no disk") as caught:
        manager.load("cache")
    assert caught.value.__cause__ is error
    assert not isinstance(caught.value, DependencyError)
    failure = manager.failures["cache"]
    assert (failure.name, failure.stage, failure.error) == ("cache", stage, error)
    assert failure.via == ()


def test_nothing_of_a_failed_plugin_is_left() -> None:
    """After a failure in `on_load` there is no hook, no instance, and no way to the manager."""
    made: list[Half] = []

    class Half(PluginBase):
        name = "half"

        def __init__(self) -> None:
            made.append(self)
            self.register_hook("early", self.greet)

        def on_load(self) -> None:
            self.register_hook("late.*", self.greet)
            raise ValueError("no disk")

        @hook("decorated")
        def greet(self, data: Any) -> Any:
            return "greeted"

    manager = manager_with(Half)
    with pytest.raises(PluginLoadError):
        manager.load("half")
    assert manager.get_events() == []
    assert manager.get_plugin("half") is None
    assert not manager.is_loaded("half")
    assert (manager.get_loaded_plugins(), manager.get_all_plugins()) == ([], {})
    assert manager.get_registered_plugins() == ["half"]
    (plugin,) = made
    assert not plugin.enabled
    assert plugin.trigger("decorated", 1) == 1
    for event in ("early", "late.x", "decorated"):
        assert manager.trigger(event, 1) == 1
    with pytest.raises(PluginNotFoundError):
        manager.unload("half")


def test_a_retry_works(make_plugin: MakePlugin) -> None:
    """A plugin that failed can be loaded once its reason is gone, with a new instance."""
    instances: list[PluginBase] = []

    def fail_once(self: PluginBase) -> None:
        instances.append(self)
        if len(instances) == 1:
            raise OSError("busy")

    manager = manager_with(make_plugin("store", on_load=fail_once), make_plugin("app", "store"))
    assert manager.load_all() == []
    assert list(manager.failures) == ["store", "app"]
    assert manager.load("app").name == "app"
    assert manager.failures == {}
    assert manager.get_plugin("store") is instances[1]


@pytest.mark.parametrize("method", ["__init__", "on_load"])
def test_a_keyboard_interrupt_passes(method: str, make_plugin: MakePlugin) -> None:
    """A KeyboardInterrupt is nobody's failure: it passes, and leaves nothing of the plugin."""
    interrupted = make_plugin("slow", **{method: failing(KeyboardInterrupt())})
    manager = manager_with(interrupted, make_plugin("after"))
    for load in (lambda: manager.load("slow"), manager.load_all):
        with pytest.raises(KeyboardInterrupt):
            load()
    assert manager.get_loaded_plugins() == []
    assert manager.get_events() == []
    assert manager.failures == {}
    assert manager.load("after").name == "after"


def test_a_class_that_makes_something_else_is_a_load_error(make_plugin: MakePlugin) -> None:
    """A class whose `__new__` gives no plugin cannot be loaded."""

    def give_a_number(cls: type) -> int:
        return 3

    manager = manager_with(make_plugin("odd", __new__=give_a_number))
    with pytest.raises(PluginLoadError, match="no plugin"):
        manager.load("odd")
    assert manager.failures["odd"].stage == "init"


def test_an_init_that_wants_arguments_is_a_load_error(make_plugin: MakePlugin) -> None:
    """A plugin is made without arguments; one that asks for some cannot be loaded."""

    def ask(self: PluginBase, path: str) -> None: ...

    manager = manager_with(make_plugin("odd", __init__=ask))
    with pytest.raises(PluginLoadError, match="path"):
        manager.load("odd")


@dataclass
class Options:
    size: int
    path: Optional[Path] = None


class Unreadable(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no text")


def test_an_error_without_a_readable_text_is_survived(make_plugin: MakePlugin) -> None:
    """An exception whose `__str__` raises is a failure like any other."""
    manager: PluginManager = manager_with(
        make_plugin("odd", on_load=failing(Unreadable())), make_plugin("user", "odd")
    )
    assert manager.load_all() == []
    with pytest.raises(PluginLoadError, match="Unreadable"):
        manager.load("odd")
    assert "Unreadable" in str(manager.failures["user"])


@pytest.mark.parametrize("exits", ["on_load", "__init__"])
def test_an_error_whose_text_exits_stops_no_other(make_plugin: MakePlugin, exits: str) -> None:
    """An exception whose `__str__` raises SystemExit ends neither `load_all` nor the program."""
    text = {"__str__": failing(SystemExit(3)), "__repr__": failing(SystemExit(3))}
    error = type("Exits", (Exception,), text)()
    odd = make_plugin("odd", **{exits: failing(error)})
    manager = manager_with(make_plugin("first"), odd, make_plugin("user", "odd"), make_plugin("z"))
    assert manager.load_all() == ["first", "z"]
    assert "Exits" in str(manager.failures["odd"])
    assert manager.failures["user"].via == ("user", "odd")
    with pytest.raises(PluginLoadError, match="Exits"):
        manager.load("odd")


# -- dependencies


def test_a_missing_dependency_is_a_dependency_error(make_plugin: MakePlugin) -> None:
    """What needs a plugin that nobody registered cannot be loaded, nor what needs that."""
    manager = manager_with(make_plugin("app", "cache"), make_plugin("cache", "store>=1"))
    with pytest.raises(DependencyError, match="store>=1") as caught:
        manager.load("cache")
    assert isinstance(caught.value.__cause__, DependencyError)
    with pytest.raises(DependencyError, match=r"app -> cache.*store>=1"):
        manager.load("app")
    assert manager.get_loaded_plugins() == []


def test_an_incompatible_dependency_is_a_dependency_error(make_plugin: MakePlugin) -> None:
    """A version that does not do is a DependencyError with both versions; nothing is loaded."""
    manager = manager_with(make_plugin("app", "store>=1.2,<2"), make_plugin("store", version="2.0"))
    with pytest.raises(DependencyError, match=r"store>=1\.2,<2.*2\.0"):
        manager.load("app")
    assert manager.load("store").version == "2.0"


def test_a_circle_is_named_without_what_leads_to_it(make_plugin: MakePlugin) -> None:
    """The error of a circle contains "circular" and the circle alone, also for who leads to it."""
    manager: PluginManager = manager_with(
        make_plugin("visitor", "guest"),
        make_plugin("guest", "a"),
        make_plugin("a", "b"),
        make_plugin("b", "c"),
        make_plugin("c", "a"),
        make_plugin("bystander"),
    )
    for name in ("a", "b", "c", "guest", "visitor"):
        with pytest.raises(DependencyError) as caught:
            manager.load(name)
        text = str(caught.value)
        assert "circular" in text
        assert "a -> b -> c -> a" in text
        assert "guest" not in text
        assert "visitor" not in text
    assert manager.failures["visitor"].via == ("visitor", "guest", "a")
    assert manager.load_all() == ["bystander"]


def test_a_plugin_that_needs_itself_is_a_circle(make_plugin: MakePlugin) -> None:
    """A plugin that names itself is the shortest circle."""
    with pytest.raises(DependencyError, match=r"circular.*a -> a"):
        manager_with(make_plugin("a", "a")).load("a")


def test_a_failed_dependency_is_named_with_its_reason(make_plugin: MakePlugin) -> None:
    """What needs a plugin that fails at run time fails too, by a text that names the culprit."""
    manager: PluginManager = manager_with(
        make_plugin("app", "cache"),
        make_plugin("cache", "store"),
        make_plugin("store", on_load=failing(OSError("no disk"))),
    )
    with pytest.raises(DependencyError, match=r"'cache'.*'store'.*no disk"):
        manager.load("app")
    failures = manager.failures
    assert {name: failure.stage for name, failure in failures.items()} == {
        "store": "on_load",
        "cache": "resolve",
        "app": "resolve",
    }
    assert failures["app"].via == ("app", "cache", "store")
    assert failures["cache"].via == ("cache", "store")
    assert failures["store"].via == ()


def test_dependencies_loaded_for_a_failed_plugin_stay(make_plugin: MakePlugin) -> None:
    """A plugin that was loaded for another one is its own, whatever becomes of the other."""
    manager: PluginManager = manager_with(
        make_plugin("app", "store", on_load=failing(OSError())), make_plugin("store")
    )
    with pytest.raises(PluginLoadError):
        manager.load("app")
    assert manager.get_loaded_plugins() == ["store"]


def test_an_optional_dependency_that_fails_stops_nobody(make_plugin: MakePlugin) -> None:
    """An optional dependency is loaded before, and its failure does not matter."""
    manager: PluginManager = manager_with(
        make_plugin("app", optional_dependencies=["cache", "store", "absent"]),
        make_plugin("cache", on_load=failing(OSError())),
        make_plugin("store"),
    )
    manager.load("app")
    assert manager.get_loaded_plugins() == ["store", "app"]
    assert list(manager.failures) == ["cache"]


def test_a_dependency_unloaded_during_the_load_is_a_failure(make_plugin: MakePlugin) -> None:
    """A plugin whose `on_load` unloads what it needs is not loaded."""

    def saw_off(self: PluginBase) -> None:
        manager.unload("store")

    manager = manager_with(make_plugin("app", "store", on_load=saw_off), make_plugin("store"))
    with pytest.raises(DependencyError, match="'store'"):
        manager.load("app")
    assert manager.get_loaded_plugins() == []


def test_a_plugin_that_loads_itself_fails(make_plugin: MakePlugin) -> None:
    """To ask in `on_load` for the plugin itself is circular; the plugin may survive the error."""
    refusals: list[str] = []

    def ask(self: PluginBase) -> None:
        try:
            manager.load("app")
        except DependencyError as error:
            refusals.append(str(error))

    manager = manager_with(make_plugin("app", on_load=ask))
    assert manager.load("app").name == "app"
    assert "circular" in refusals[0]
    assert manager.failures == {}


def test_code_that_loads_in_a_circle_is_circular(make_plugin: MakePlugin) -> None:
    """Two plugins whose `on_load` load each other fail, and do not wait for ever."""
    manager: PluginManager = manager_with(
        make_plugin("a", on_load=lambda self: manager.load("b")),
        make_plugin("b", on_load=lambda self: manager.load("a")),
    )
    with pytest.raises(PluginLoadError, match="circular"):
        manager.load("a")
    assert manager.get_loaded_plugins() == []


# -- load_all


def test_load_all_returns_what_it_loaded_now(make_plugin: MakePlugin) -> None:
    """The names are those loaded now, in registration order, each after its dependencies."""
    manager: PluginManager = manager_with(
        make_plugin("c", "a"), make_plugin("b"), make_plugin("a"), make_plugin("d", "b")
    )
    manager.load("b")
    names = manager.load_all()
    assert names == ["a", "c", "d"]
    assert manager.load_all() == []
    manager.unload("d")
    assert manager.load_all() == ["d"]
    assert manager.get_loaded_plugins() == ["b", "a", "c", "d"]


def test_load_all_includes_what_on_load_loads(make_plugin: MakePlugin) -> None:
    """A plugin that another one loads in its `on_load` is among the names, before it."""
    manager: PluginManager = manager_with(
        make_plugin("host", on_load=lambda self: manager.load("guest")), make_plugin("guest")
    )
    assert manager.load_all() == ["guest", "host"]


def test_a_failure_stops_no_unaffected_plugin(make_plugin: MakePlugin) -> None:
    """Whatever goes wrong with some, all others are loaded, in order."""
    manager: PluginManager = manager_with(
        make_plugin("x1", on_load=failing(ValueError())),
        make_plugin("ok1"),
        make_plugin("x2", "missing"),
        make_plugin("x3", "x1"),
        make_plugin("x4", "x4"),
        make_plugin("ok2", "ok3"),
        make_plugin("x5", __init__=failing(SystemExit(3))),
        make_plugin("ok3"),
        make_plugin("x6", requires_python="<3"),
        make_plugin("x7", conflicts=["ok1"]),
        make_plugin("ok4", optional_dependencies=["x1"]),
    )
    assert manager.load_all() == ["ok1", "ok3", "ok2", "ok4"]
    assert sorted(manager.failures) == [f"x{number}" for number in range(1, 8)]


def test_load_all_tries_each_failing_plugin_once(make_plugin: MakePlugin) -> None:
    """A plugin that fails is not tried again in one `load_all`, however many need it."""
    tries = []

    def fail(self: PluginBase) -> None:
        tries.append(self)
        raise OSError("no disk")

    users = [make_plugin(f"user{number}", "store") for number in range(3)]
    manager = manager_with(*users, make_plugin("store", on_load=fail))
    assert manager.load_all() == []
    assert len(tries) == 1
    manager.load_all()
    assert len(tries) == 2


def test_load_all_inside_of_on_load(make_plugin: MakePlugin) -> None:
    """A plugin may load all others in its `on_load`; those that need it come when it is there."""
    nested = []
    manager: PluginManager = manager_with(
        make_plugin("user", "host"),
        make_plugin("host", on_load=lambda self: nested.extend(manager.load_all())),
        make_plugin("user_of_user", "user"),
        make_plugin("other"),
    )
    errors: list[Any] = []
    manager.register_hook(PluginManager.EVENT_PLUGIN_ERROR, errors.append)
    assert manager.load_all() == ["other", "host", "user", "user_of_user"]
    assert nested == ["other"]
    assert (errors, manager.failures) == ([], {})


def test_plugins_registered_during_load_all_wait_for_the_next(make_plugin: MakePlugin) -> None:
    """What `on_load` registers is loaded when somebody asks for it."""
    late = make_plugin("late")
    manager = PluginManager()
    manager.register(make_plugin("host", on_load=lambda self: manager.register(late)))
    assert manager.load_all() == ["host"]
    assert manager.load_all() == ["late"]


def test_an_unregistered_plugin_drops_out_of_load_all(make_plugin: MakePlugin) -> None:
    """What `on_load` unregisters is passed over, and what needs it is a failure."""
    manager: PluginManager = manager_with(
        make_plugin("host", on_load=lambda self: manager.unregister("guest")),
        make_plugin("guest"),
        make_plugin("user", "guest"),
        make_plugin("other"),
    )
    assert manager.load_all() == ["host", "other"]
    assert list(manager.failures) == ["user"]


def test_the_loaded_names_are_fresh(make_plugin: MakePlugin) -> None:
    """Every getter gives a list or dict that belongs to the caller."""
    manager = manager_with(make_plugin("a"), make_plugin("bad", "missing"))
    names = manager.load_all()
    for given in (names, manager.get_loaded_plugins(), manager.get_all_plugins()):
        given.clear()
    manager.failures.clear()
    assert manager.get_loaded_plugins() == ["a"]
    assert list(manager.get_all_plugins()) == ["a"]
    assert list(manager.failures) == ["bad"]


# -- failures


def test_failures_hold_every_stage(tmp_path: Path, make_plugin: MakePlugin) -> None:
    """Each failure says how far the plugin came, by its name or by its origin without one."""
    files = {
        "a_plugin.py": "from nitro_dispatch import PluginBase\nclass A(PluginBase): name = 'a'",
        "b_plugin.py": "from nitro_dispatch import PluginBase\nclass A(PluginBase): name = 'a'",
        "c_plugin.py": "raise SystemExit('no licence')",
        "d_plugin.py": "def broken(:",
        "e_plugin.py": "from nitro_dispatch import PluginBase\nclass E(PluginBase): version = 3",
    }
    for name, source in files.items():
        (tmp_path / name).write_text(source)
    manager = PluginManager()
    assert manager.discover_plugins(tmp_path) == ["a"]
    manager.register(make_plugin("f", "missing"))
    manager.register(make_plugin("g", __init__=failing(ValueError())))
    manager.register(make_plugin("h", on_load=failing(ValueError())))
    manager.load_all()
    stages = {name: failure.stage for name, failure in manager.failures.items()}
    assert stages == {
        str(tmp_path / "b_plugin.py"): "discover",
        str(tmp_path / "c_plugin.py"): "import",
        str(tmp_path / "d_plugin.py"): "import",
        "E": "describe",
        "f": "resolve",
        "g": "init",
        "h": "on_load",
    }
    for failure in manager.failures.values():
        assert isinstance(failure, PluginFailure)
        assert failure.origin
        assert failure.via == ()


@pytest.mark.parametrize(
    ("last_line", "error"),
    [
        ("raise ValueError('no disk')", ValueError),
        ("raise SystemExit('no disk')", SystemExit),
        ("import no_such_module_anywhere", ImportError),
    ],
)
def test_a_file_that_fails_at_import_when_it_is_loaded(
    last_line: str, error: type[BaseException], tmp_path: Path
) -> None:
    """A described plugin whose import fails is a PluginLoadError of the stage import."""
    file = tmp_path / "late_plugin.py"
    source = "from nitro_dispatch import PluginBase\nclass Late(PluginBase): name = 'late'\n"
    file.write_text(source + last_line)
    manager = PluginManager(lazy=True)
    assert manager.discover_plugins(tmp_path) == ["late"]
    before = set(sys.modules)
    with pytest.raises(PluginLoadError, match="late") as caught:
        manager.load("late")
    assert isinstance(caught.value.__cause__, error)
    assert manager.failures["late"].stage == "import"
    assert not any("late_plugin" in name for name in set(sys.modules) - before)
    file.write_text(source)
    assert manager.load("late").name == "late"
    assert manager.failures == {}


def test_a_keyboard_interrupt_at_import_leaves_no_module(tmp_path: Path) -> None:
    """A KeyboardInterrupt in the middle of an import passes through load, and a retry works."""
    file = tmp_path / "slow_plugin.py"
    source = "from nitro_dispatch import PluginBase\nclass Slow(PluginBase): name = 'slow'\n"
    file.write_text(source + "raise KeyboardInterrupt")
    manager = PluginManager(lazy=True)
    manager.discover_plugins(tmp_path)
    before = set(sys.modules)
    with pytest.raises(KeyboardInterrupt):
        manager.load("slow")
    assert not any("slow_plugin" in name for name in set(sys.modules) - before)
    assert manager.failures == {}
    file.write_text(source)
    assert manager.load("slow").name == "slow"


def test_a_failure_is_logged_with_its_cause(
    make_plugin: MakePlugin, caplog: pytest.LogCaptureFixture
) -> None:
    """Each failure is one error in the log, with name, origin, stage and traceback."""
    error = OSError("no disk")
    manager = manager_with(make_plugin("store\nevil", on_load=failing(error)))
    with caplog.at_level(logging.ERROR, "nitro_dispatch"):
        manager.load_all()
    (record,) = caplog.records
    assert r"store\nevil" in record.getMessage()
    assert "on_load" in record.getMessage()
    assert "no disk" in record.getMessage()
    assert record.exc_info is not None
    assert record.exc_info[1] is error


def test_the_name_of_an_exception_forges_no_log_line(
    make_plugin: MakePlugin, caplog: pytest.LogCaptureFixture
) -> None:
    """A line feed in the name of an exception's class is escaped in the log."""
    forged = type("Evil\nERROR forged", (Exception,), {})
    manager = manager_with(make_plugin("store", on_load=failing(forged("no disk"))))
    manager.load_all()
    (record,) = caplog.records
    assert r"Evil\nERROR forged: no disk" in record.getMessage()


# -- modules


def loaded_modules(*names: str) -> list[str]:
    """Name those of some modules that are imported."""
    return [name for name in names if name in sys.modules]


def test_modules_of_a_failed_load_are_gone(
    make_plugin: MakePlugin, write_module: WriteModule
) -> None:
    """What `on_load` imported before it failed is gone, and a retry imports it anew."""
    write_module("helper_a/__init__.py", "")
    write_module("helper_a/inner.py", "import helper_b\nVALUE = 1")
    write_module("helper_b.py", "")
    values = []

    def use(self: PluginBase) -> None:
        from helper_a import inner  # type: ignore[import-not-found]

        values.append(inner.VALUE)
        if inner.VALUE == 1:
            raise OSError("old helper")

    manager = manager_with(make_plugin("user", on_load=use))
    with pytest.raises(PluginLoadError):
        manager.load("user")
    assert loaded_modules("helper_a", "helper_a.inner", "helper_b") == []
    write_module("helper_a/inner.py", "VALUE = 'another'")
    manager.load("user")
    assert values == [1, "another"]


def test_modules_that_were_there_before_stay(
    make_plugin: MakePlugin, write_module: WriteModule
) -> None:
    """What was imported before the load stays, the very same module."""
    write_module("helper_a.py", "")
    import helper_a

    def use(self: PluginBase) -> None:
        import helper_a

        raise OSError(helper_a.__name__)

    with pytest.raises(PluginLoadError):
        manager_with(make_plugin("user", on_load=use)).load("user")
    assert sys.modules["helper_a"] is helper_a


@pytest.mark.parametrize(
    "how",
    [
        "import helper_a",
        "import helper_a as other_name",
        "from helper_a import function",
        "from helper_a import Class",
        "from helper_a import instance",
        "from helper_b import function",
    ],
)
def test_modules_that_somebody_else_uses_stay(
    how: str, make_plugin: MakePlugin, write_module: WriteModule
) -> None:
    """A module that another one has come to use during the load stays imported."""
    write_module(
        "helper_a.py",
        "def function(): ...\nclass Class: ...\ninstance = Class()",
    )
    write_module("helper_b.py", "from helper_a import function")
    write_module("bystander.py", "")
    import bystander  # type: ignore[import-not-found]

    def use(self: PluginBase) -> None:
        import helper_a  # noqa: F401
        import helper_b  # type: ignore[import-not-found]  # noqa: F401

        exec(how, vars(bystander))
        raise OSError("no disk")

    with pytest.raises(PluginLoadError):
        manager_with(make_plugin("user", on_load=use)).load("user")
    assert loaded_modules("helper_a") == ["helper_a"]


def test_a_submodule_of_a_failed_load_is_gone_from_its_package(
    make_plugin: MakePlugin, write_module: WriteModule
) -> None:
    """What the load has imported into a package that was there before is taken out of it again."""
    write_module("helper_a/__init__.py", "")
    write_module("helper_a/inner.py", "")
    import helper_a

    def use(self: PluginBase) -> None:
        import helper_a.inner  # type: ignore[import-not-found]

        raise OSError(helper_a.inner.__name__)

    with pytest.raises(PluginLoadError):
        manager_with(make_plugin("user", on_load=use)).load("user")
    assert loaded_modules("helper_a", "helper_a.inner") == ["helper_a"]
    assert not hasattr(helper_a, "inner")


def test_a_package_stays_of_which_somebody_uses_a_module(
    make_plugin: MakePlugin, write_module: WriteModule
) -> None:
    """What stays after a failed load can be imported once more under its full name."""
    write_module("helper_a/__init__.py", "")
    write_module("helper_a/inner.py", "class Class: ...")
    write_module("bystander.py", "")
    import bystander

    def use(self: PluginBase) -> None:
        exec("from helper_a.inner import Class", vars(bystander))
        raise OSError("no disk")

    with pytest.raises(PluginLoadError):
        manager_with(make_plugin("user", on_load=use)).load("user")
    import helper_a.inner

    assert helper_a.inner.Class is bystander.Class


@pytest.mark.parametrize("lazy", [False, True])
@pytest.mark.parametrize("how", ["register", "discover"])
def test_modules_of_what_a_failed_load_registered_stay(
    how: str, lazy: bool, make_plugin: MakePlugin, write_module: WriteModule
) -> None:
    """A class that `on_load` registered before it failed keeps its module, and what that uses."""
    write_module("helper_a.py", "")
    write_module("helper_b.py", "")
    # Not every value is a literal: a lazy manager has to import it, too.
    file = write_module(
        "guest_plugin.py",
        """
        from nitro_dispatch import PluginBase
        import helper_a

        class Guest(PluginBase):
            name = "guest"
            version = str(2)
        """,
    )

    def use(self: PluginBase) -> None:
        importlib.import_module("helper_b")
        if how == "register":
            manager.register(importlib.import_module("guest_plugin").Guest)
        else:
            manager.discover_plugins(file.parent)
        manager.register(make_plugin("other"))
        manager.load("other")
        raise OSError("no disk")

    manager = PluginManager(lazy=lazy)
    manager.register(make_plugin("host", on_load=use))
    with pytest.raises(PluginLoadError, match="no disk"):
        manager.load("host")
    assert loaded_modules("helper_a", "helper_b") == ["helper_a"]
    guest = type(manager.load("guest"))
    assert vars(sys.modules[guest.__module__])["Guest"] is guest


# -- many plugins


def chain(make_plugin: MakePlugin, length: int, **first: Any) -> list[type[PluginBase]]:
    """Make plugins of which each needs the one before."""
    others = [make_plugin(f"p{place}", f"p{place - 1}") for place in range(1, length)]
    return [make_plugin("p0", **first), *others]


def test_a_long_chain_loads_and_unloads(make_plugin: MakePlugin) -> None:
    """Five thousand plugins of which each needs the next can be loaded and unloaded."""
    plugins = chain(make_plugin, CHAIN)
    names = [f"p{place}" for place in range(CHAIN)]
    manager = manager_with(*reversed(plugins))
    assert manager.load_all() == names
    manager.unload("p0")
    assert manager.get_loaded_plugins() == []
    manager.load(names[-1])
    assert manager.get_loaded_plugins() == names
    manager.unload_all()
    assert manager.get_loaded_plugins() == []


@pytest.mark.usefixtures("quiet")
@pytest.mark.parametrize(
    ("bottom", "load"),
    [("missing", "load_all"), ("raises", "load"), ("circle", "load_all")],
)
def test_a_long_chain_with_a_failure_at_the_bottom(
    bottom: str, load: str, make_plugin: MakePlugin
) -> None:
    """However long a chain, its failures are small: short texts, and no path held for each."""
    plugins = chain(make_plugin, CHAIN, on_load=failing(OSError("x" * 10_000)))
    if bottom == "missing":
        del plugins[0]
    elif bottom == "circle":
        plugins[0] = make_plugin("p0", "p0")
    manager = manager_with(*reversed(plugins))
    last = f"p{CHAIN - 1}"
    with memory_traced() as memory:
        if load == "load":
            with pytest.raises(DependencyError):
                manager.load(last)
        else:
            assert manager.load_all() == []
        _, peak = memory()
    assert peak < 20_000_000
    failure = manager.failures[last]
    assert len(failure.via) >= CHAIN - 1
    assert len(str(failure)) < 12_000
    assert len(str(failure.error)) < 12_000


def test_the_text_of_a_long_circle_is_short(make_plugin: MakePlugin) -> None:
    """A circle of five thousand is told by its ends, not member by member."""
    plugins = chain(make_plugin, CHAIN)
    plugins[0] = make_plugin("p0", f"p{CHAIN - 1}")
    with pytest.raises(DependencyError, match=r"circular.*p0 -> .* -> p0") as caught:
        manager_with(*plugins).load("p7")
    assert len(str(caught.value)) < 1_000


def growth(run: Callable[[int], object], size: int = 30) -> float:
    """Tell how many times as much code runs for eight times as many plugins."""
    run(size)  # What is made at first use does not count.
    return lines_run(lambda: run(8 * size)) / lines_run(lambda: run(size))


@pytest.mark.parametrize("needs", ["nothing", "the one before", "the first"])
@pytest.mark.parametrize("order", ["all then load_all", "all then each", "one by one"])
def test_loading_grows_linearly(order: str, needs: str, make_plugin: MakePlugin) -> None:
    """Registering and loading in any order takes twice as long for twice as many plugins."""

    def make(place: int) -> type[PluginBase]:
        needed = {"nothing": None, "the one before": place - 1, "the first": 0}[needs]
        return make_plugin(f"p{place}", *([f"p{needed}"] if place and needed is not None else []))

    def run(count: int) -> None:
        manager = PluginManager()
        for place in range(count):
            manager.register(make(place))
            if order == "one by one":
                manager.load(f"p{place}")
        if order == "all then load_all":
            manager.load_all()
        elif order == "all then each":
            for place in reversed(range(count)):
                manager.load(f"p{place}")
        assert len(manager.get_loaded_plugins()) == count

    assert growth(run) < 10


@pytest.mark.parametrize("how", ["unload the first", "unload each", "unload_all"])
def test_unloading_grows_linearly(how: str, make_plugin: MakePlugin) -> None:
    """Unloading takes twice as long for twice as many plugins."""
    managers: dict[int, PluginManager] = {}

    def run(count: int) -> None:
        manager = managers[count]
        if how == "unload the first":
            manager.unload("p0")
        elif how == "unload each":
            for place in reversed(range(count)):
                manager.unload(f"p{place}")
        else:
            manager.unload_all()
        assert manager.get_loaded_plugins() == []
        manager.load_all()

    for count in (30, 240):
        managers[count] = manager_with(*chain(make_plugin, count))
        managers[count].load_all()
    assert growth(run) < 10


@pytest.mark.usefixtures("quiet")
@pytest.mark.parametrize("needs", ["nothing", "the one before"])
def test_failing_grows_linearly(needs: str, make_plugin: MakePlugin) -> None:
    """Many failures take twice as long for twice as many plugins."""

    def fail(self: PluginBase) -> None:
        raise OSError("no disk")

    def run(count: int) -> None:
        if needs == "nothing":
            plugins = [make_plugin(f"p{place}", on_load=fail) for place in range(count)]
        else:
            plugins = chain(make_plugin, count, on_load=fail)
        manager = manager_with(*plugins)
        assert manager.load_all() == []
        assert len(manager.failures) == count

    assert growth(run) < 10


# -- configuration


def test_an_invalid_configuration_is_a_load_error(make_plugin: MakePlugin) -> None:
    """A section that does not fit the plugin's model is a PluginLoadError with all faults."""
    manager = PluginManager({"cache": {"size": "large", "colour": "red"}})
    manager.register(make_plugin("cache", config_model=Options))
    with pytest.raises(PluginLoadError, match=r"size.*") as caught:
        manager.load("cache")
    assert isinstance(caught.value.__cause__, ValidationError)
    assert "colour" in str(caught.value)
    assert manager.failures["cache"].stage == "init"


def test_what_on_load_acquired_is_released_where_the_load_fails_after_it(
    make_plugin: MakePlugin,
) -> None:
    """A plugin whose dependency goes while it is loaded has its `on_unload` called."""
    manager, ended = PluginManager(), []
    manager.register(make_plugin("store"))
    manager.register(
        make_plugin(
            "user",
            "store",
            on_load=lambda self: manager.unload("store"),
            on_unload=lambda self: ended.append(self.name),
        )
    )
    with pytest.raises(DependencyError, match="store"):
        manager.load("user")
    assert ended == ["user"]
    assert manager.get_loaded_plugins() == []


def test_modules_of_a_plugin_that_was_loaded_on_the_way_stay(
    make_plugin: MakePlugin, write_module: WriteModule
) -> None:
    """A failed plugin does not take the modules with it of one that its `on_load` has loaded."""
    write_module("helper_a.py", "")
    write_module("helper_b.py", "")

    def use_a(self: PluginBase) -> None:
        importlib.import_module("helper_a")

    def use_b(self: PluginBase) -> None:
        manager.load("guest")
        importlib.import_module("helper_b")
        raise OSError("no disk")

    manager = manager_with(make_plugin("guest", on_load=use_a), make_plugin("host", on_load=use_b))
    with pytest.raises(PluginLoadError, match="no disk"):
        manager.load("host")
    assert manager.is_loaded("guest")
    assert "helper_a" in sys.modules
    assert "helper_b" not in sys.modules


class _Unconfigured:
    """A settings object that is made at its first use, and cannot be made yet."""

    @property
    def __class__(self) -> Any:
        raise RuntimeError("not configured")

    @__class__.setter
    def __class__(self, value: Any) -> None: ...


@pytest.mark.parametrize("faulty", [False, True])
def test_nothing_stands_between_a_failure_and_its_report(
    faulty: bool,
    make_plugin: MakePlugin,
    write_module: WriteModule,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Whatever goes wrong while imports are taken back, the reason stays and nothing is left."""
    write_module("helper_a.py", "")

    def use(self: PluginBase) -> None:
        importlib.import_module("helper_a")
        raise OSError("no disk")

    def fault(*arguments: object) -> None:
        raise RuntimeError("not to be seen")

    if faulty:
        monkeypatch.setattr("nitro_dispatch.loader.take_back", fault)
    bad = make_plugin("bad", on_load=use, act=hook("go")(lambda self, data: "called"))
    manager = manager_with(bad, make_plugin("good"))
    with monkeypatch.context() as patch:
        patch.setitem(globals(), "settings", _Unconfigured())
        assert manager.load_all() == ["good"]
    assert type(manager.failures["bad"].error) is OSError
    assert manager.get_events() == []
    assert loaded_modules("helper_a") == (["helper_a"] if faulty else [])


def test_modules_of_a_failed_load_are_gone_though_its_end_is_interrupted(
    make_plugin: MakePlugin, write_module: WriteModule
) -> None:
    """An interrupt in the `on_unload` of what failed late leaves neither modules nor hooks."""
    write_module("helper_a.py", "")
    write_module("helper_b.py", "")

    def use(self: PluginBase) -> None:
        importlib.import_module("helper_a")
        manager.unload("store")

    def end(self: PluginBase) -> None:
        importlib.import_module("helper_b")
        raise KeyboardInterrupt

    act = hook("go")(lambda self, data: "called")
    user = make_plugin("user", "store", on_load=use, on_unload=end, act=act)
    manager = manager_with(make_plugin("store"), user)
    with pytest.raises(KeyboardInterrupt):
        manager.load("user")
    assert loaded_modules("helper_a", "helper_b") == []
    assert manager.get_events() == []


@pytest.mark.parametrize("how", ["discover_plugins", "reload"])
def test_the_library_s_own_modules_of_a_failed_load_stay(
    how: str, write_module: WriteModule, run_python: RunPython
) -> None:
    """What the library imports late, while a plugin asks for it and fails, is imported once."""
    write_module("folder/found_plugin.py", FOUND)
    new, gone = run_python(PROGRAM, how).splitlines()
    assert int(new) > 0
    assert gone == "[]"


FOUND = """
    from nitro_dispatch import PluginBase
    class Found(PluginBase):
        name = "found"
"""
PROGRAM = """
    import sys
    from nitro_dispatch import PluginBase, PluginLoadError, PluginManager

    OWN, FILE = "nitro_dispatch.", "found_plugin"

    def own():
        modules = dict(sys.modules).items()
        return {name: each for name, each in modules if name.startswith(OWN) and FILE not in name}

    class Guest(PluginBase):
        name = "guest"

    class Host(PluginBase):
        name = "host"

        def on_load(self):
            if sys.argv[1] == "reload":
                try:
                    manager.reload("guest")
                except PluginLoadError:
                    pass
            else:
                manager.discover_plugins("folder")
            seen.append(own())
            raise OSError

    seen = [own()]
    manager = PluginManager(log_level="CRITICAL")
    manager.register(Guest)
    manager.register(Host)
    manager.load("guest")
    try:
        manager.load("host")
    except PluginLoadError:
        seen.append(own())
    before, during, after = seen
    print(len(during.keys() - before.keys()))
    print([name for name in during if during[name] is not after.get(name)])
"""


@pytest.mark.parametrize("method", ["on_load", "on_unload"])
def test_an_async_method_of_the_life_is_closed_with_a_warning(
    method: str, make_plugin: MakePlugin, caplog: pytest.LogCaptureFixture
) -> None:
    """Nobody can await it: it is not run, which the log says, and no coroutine is left behind."""

    async def never_run(plugin: PluginBase) -> None:
        raise AssertionError("it was run")

    manager = manager_with(make_plugin("cache", **{method: never_run}))
    manager.load("cache")
    manager.unload("cache")
    expected = f"{method} of plugin cache is async and was not run: make it a plain method"
    assert [record.getMessage() for record in caplog.records] == [expected]
