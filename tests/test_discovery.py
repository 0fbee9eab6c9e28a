"""Finding plugins in folders and installed distributions, through the manager."""

from __future__ import annotations

import functools
import inspect
import logging
import os
import pickle
import shutil
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from costs import lines_run
from nitro_dispatch import PluginDiscoveryError, PluginManager, PluginRegistrationError
from plugin_files import GREETER, Folder, discovered_modules
from programs import RunPython

pytestmark = pytest.mark.usefixtures("modules_as_before")

HEAD = "from nitro_dispatch import PluginBase, hook\n"
PLUGIN = (
    HEAD
    + """
class Greeter(PluginBase):
    name = "greeter"

    @hook("greet")
    def greet(self, data):
        return [*data, "greeter"]
"""
)


def named(name: str) -> str:
    """Make the source of a plugin of another name."""
    return PLUGIN.replace("greeter", name)


def write(folder: Path, **sources: str) -> Path:
    """Write a plugin file for each source."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, source in sources.items():
        (folder / f"{name}_plugin.py").write_text(source)
    return folder


@pytest.fixture
def manager() -> PluginManager:
    """Make a manager that imports what it finds."""
    return PluginManager()


def distribution(site: Path, name: str, entry_points: str, version: str = "1.0") -> None:
    """Write the dist-info folder of an installed distribution."""
    info = site / f"{name.replace('-', '_')}-{version}.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    (info / "entry_points.txt").write_text(entry_points)


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Make a folder on `sys.path` for distributions."""
    folder = tmp_path / "site"
    folder.mkdir()
    monkeypatch.syspath_prepend(str(folder))
    return folder


def test_returns_the_names_in_sorted_order_of_the_files(
    manager: PluginManager, tmp_path: Path
) -> None:
    """Discovery gives the names of the plugins found, by file and then by definition."""
    both = named("zebra") + named("yak").replace("Greeter", "Yak").replace(HEAD, "")
    write(tmp_path, b=named("first"), a=both)
    assert manager.discover_plugins(tmp_path) == ["zebra", "yak", "first"]
    assert manager.get_registered_plugins() == ["zebra", "yak", "first"]


def test_a_string_and_a_home_folder_will_do(
    manager: PluginManager, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The folder may be a text, and `~` in it is the user's home."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    write(tmp_path / "plugins", a=PLUGIN)
    assert manager.discover_plugins("~/plugins") == ["greeter"]


@pytest.mark.parametrize("place", ["missing", "file"])
def test_a_place_that_is_no_folder_is_an_error(
    manager: PluginManager, tmp_path: Path, place: str
) -> None:
    """A missing folder, or one that is a file, is a PluginDiscoveryError that names it."""
    (tmp_path / "file").touch()
    with pytest.raises(PluginDiscoveryError, match=place):
        manager.discover_plugins(tmp_path / place)


BROKEN: dict[str, bytes] = {
    "syntax": b"def f(:\n",
    "import": b"import no_such_module_at_all\n",
    "error": b"1 / 0\n",
    "exit": b"raise SystemExit(4)\n",
    "encoding": b"x = '\xff\xfe'\n",
    "null bytes": b"x = 1\x00\n",
    "unknown encoding": b"# coding: no-such-encoding\n",
    "recursion": b"x = " + b"(" * 5000 + b")" * 5000,
    "huge number": PLUGIN.replace('"greeter"', f'"greeter"; version = 0x{"f" * 5_000}').encode(),
    "metadata": PLUGIN.replace('"greeter"', '"greeter"; version = 3').encode(),
    "hook": PLUGIN.replace('@hook("greet")', "@hook('')").encode(),
}


@pytest.mark.parametrize("fault", BROKEN)
@pytest.mark.parametrize("place", ["a", "m", "z"])
@pytest.mark.parametrize("lazy", [False, True])
def test_a_broken_file_hides_no_good_one(
    tmp_path: Path, fault: str, place: str, lazy: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """A file that is broken is logged and in `failures`, wherever it stands among good ones."""
    write(tmp_path, b=named("before"), n=named("after"))
    (tmp_path / f"{place}_plugin.py").write_bytes(BROKEN[fault])
    manager = PluginManager(lazy=lazy)
    assert {"before", "after"} <= set(manager.discover_plugins(tmp_path))
    assert manager.load_all() == ["before", "after"]
    assert manager.trigger("greet", []) == ["before", "after"]
    (failure,) = manager.failures.values()
    assert f"{place}_plugin.py" in failure.origin
    assert failure.stage in ("describe", "import")
    assert any(f"{place}_plugin.py" in record.getMessage() for record in caplog.records)


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root may read any file")
def test_an_unreadable_file_is_a_failure(manager: PluginManager, tmp_path: Path) -> None:
    """A file that may not be read hides no good one."""
    write(tmp_path, a=named("a"), b=named("b"))
    (tmp_path / "a_plugin.py").chmod(0)
    assert manager.discover_plugins(tmp_path) == ["b"]


def test_a_broken_import_leaves_no_module(manager: PluginManager, tmp_path: Path) -> None:
    """What a failing file has imported before it failed is gone, and a retry works."""
    (tmp_path / "lib").mkdir()
    (tmp_path / "lib" / "sample_helper.py").write_text("")
    head = f"import sys\nsys.path.insert(0, {str(tmp_path / 'lib')!r})\nimport sample_helper\n"
    write(tmp_path / "plugins", a=head + "sys.path.pop(0)\n1 / 0\n")
    before = discovered_modules()
    assert manager.discover_plugins(tmp_path / "plugins") == []
    assert "sample_helper" not in sys.modules
    assert discovered_modules() == before
    write(tmp_path / "plugins", a=head + "sys.path.pop(0)\n" + PLUGIN)
    assert manager.discover_plugins(tmp_path / "plugins") == ["greeter"]
    assert "sample_helper" in sys.modules


def test_keyboard_interrupt_passes_and_leaves_no_module(
    manager: PluginManager, tmp_path: Path
) -> None:
    """An interrupt from the keyboard while a file is imported reaches the caller."""
    write(tmp_path, a="raise KeyboardInterrupt\n")
    before = discovered_modules()
    with pytest.raises(KeyboardInterrupt):
        manager.discover_plugins(tmp_path)
    assert discovered_modules() == before


def test_a_file_that_is_forgotten_is_so_while_others_import(
    manager: PluginManager, tmp_path: Path
) -> None:
    """Modules that come and go in other threads keep no broken file from being found again."""
    write(tmp_path, a="raise OSError('no disk')")
    over = threading.Event()

    def come_and_go() -> None:
        names = [f"sample_{number}" for number in range(50)]
        while not over.is_set():
            sys.modules.update(dict.fromkeys(names, sys))
            for name in names:
                del sys.modules[name]

    thread = threading.Thread(target=come_and_go)
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    thread.start()
    try:
        for _ in range(200):
            manager.discover_plugins(tmp_path)
    finally:
        over.set()
        thread.join()
        sys.setswitchinterval(interval)


def test_what_a_plugin_file_holds_is_not_asked_for_its_class(
    manager: PluginManager, tmp_path: Path
) -> None:
    """An object in a plugin file that cannot tell its class yet keeps no plugin from being found.

    Settings are such an object before they are configured.
    """
    settings = """
class Settings:
    @property
    def __class__(self):
        raise RuntimeError("not configured")

settings = Settings()
"""
    write(tmp_path, a=settings + PLUGIN)
    assert manager.discover_plugins(tmp_path) == ["greeter"]


@pytest.mark.parametrize("error", ["OSError", "SystemExit"])
def test_a_class_that_cannot_tell_its_metadata_hides_no_good_one(
    manager: PluginManager, tmp_path: Path, error: str
) -> None:
    """What a class raises when it is asked for its version is a failure of its file."""
    odd = f"""
class Meta(type):
    @property
    def version(cls):
        raise {error}("no disk")

class Odd(PluginBase, metaclass=Meta):
    version = "1.0"
"""
    write(tmp_path, a=HEAD + odd, b=PLUGIN)
    assert manager.discover_plugins(tmp_path) == ["greeter"]
    [failure] = manager.failures.values()
    assert (failure.stage, str(failure.error)) == ("describe", "no disk")
    assert failure.origin == str(tmp_path / "a_plugin.py")


@pytest.mark.parametrize(
    "method",
    [
        "def __eq__(cls, other): return cls is other",
        "def __hash__(cls): raise OSError",
        "__module__ = property(lambda cls: 1 / 0)",
    ],
)
def test_a_class_of_an_odd_metaclass_hides_no_other(
    manager: PluginManager, tmp_path: Path, method: str
) -> None:
    """A metaclass that hashes, compares or tells otherwise hides no other class of its file."""
    odd = f"class Meta(type):\n    {method}\nclass Odd(PluginBase, metaclass=Meta):\n    pass\n"
    write(tmp_path, a=PLUGIN + odd)
    assert "greeter" in manager.discover_plugins(tmp_path)


def test_a_broken_class_found_first_does_not_spoil_its_name(
    manager: PluginManager, tmp_path: Path
) -> None:
    """What was wrong with a class is kept under its origin once a good one has the name."""
    write(tmp_path, a=PLUGIN.replace('"greeter"', '"greeter"; version = 3', 1), b=PLUGIN)
    assert manager.discover_plugins(tmp_path) == ["greeter"]
    assert list(manager.failures) == [str(tmp_path / "a_plugin.py")]
    assert [info.state for info in manager.describe()] == ["registered"]
    write(tmp_path, a=named("mended"))
    assert manager.discover_plugins(tmp_path) == ["mended", "greeter"]
    assert manager.failures == {}


def test_only_concrete_classes_of_the_file_register(manager: PluginManager, tmp_path: Path) -> None:
    """Imported classes, abstract ones and PluginBase do not register, an alias does once."""
    source = (
        PLUGIN
        + """
import abc
from nitro_dispatch import PluginBase as Other
from logging import Logger

class Abstract(PluginBase, abc.ABC):
    name = "abstract"

    @abc.abstractmethod
    def more(self): ...

class Concrete(Abstract):
    name = "concrete"

    def more(self): ...

Alias = Greeter
"""
    )
    write(tmp_path, a=source)
    assert manager.discover_plugins(tmp_path) == ["greeter", "concrete"]
    assert PluginManager(lazy=True).discover_plugins(tmp_path) == ["greeter", "concrete"]


def test_nothing_is_shadowed(manager: PluginManager, tmp_path: Path) -> None:
    """A file named like a module of the standard library takes no module's place."""
    import json

    write(tmp_path)
    for name in ("json", "nitro_dispatch", "sample"):
        (tmp_path / f"{name}.py").write_text(named(name) + "import json; json.dumps\n")
    path = list(sys.path)
    assert manager.discover_plugins(tmp_path, pattern="*.py") == [
        "json",
        "nitro_dispatch",
        "sample",
    ]
    assert sys.modules["json"] is json
    assert "sample" not in sys.modules
    assert sys.path == path


def test_modules_live_under_the_package(manager: PluginManager, tmp_path: Path) -> None:
    """The module's name is the stem and a digest of the path, so that twins do not meet."""
    write(tmp_path / "one", a=named("one"))
    write(tmp_path / "two", a=named("two"))
    for folder in ("one", "two"):
        manager.discover_plugins(tmp_path / folder)
    manager.load_all()
    names = {type(plugin).__module__ for plugin in manager.get_all_plugins().values()}
    assert len(names) == 2
    assert {name.rpartition("_")[0] for name in names} == {"nitro_dispatch._discovered.a_plugin"}


def test_pickle_and_getsource_work(manager: PluginManager, tmp_path: Path) -> None:
    """An object of a plugin's module can be pickled, and its source shown."""
    source = (
        PLUGIN + "\nclass Thing:\n    size = 3\n\n    def make(self):\n        return Thing()\n"
    )
    write(tmp_path, a=source)
    manager.discover_plugins(tmp_path)
    plugin = manager.load("greeter")
    module: Any = sys.modules[type(plugin).__module__]
    assert isinstance(pickle.loads(pickle.dumps(module.Thing())), module.Thing)
    assert "class Greeter" in inspect.getsource(type(plugin))


def test_relative_imports_inside_of_a_package_work(manager: PluginManager, tmp_path: Path) -> None:
    """A package is a plugin by its folder's name, and may import its own modules."""
    package = tmp_path / "pack_plugin"
    (package / "deep").mkdir(parents=True)
    (package / "__init__.py").write_text(named("pack") + "from .deep import words\n")
    (package / "deep" / "__init__.py").write_text("from .words import WORD\n")
    (package / "deep" / "words.py").write_text("from .. import deep\nWORD = 'x'\n")
    (tmp_path / "lone_package").mkdir()
    (tmp_path / "lone_package" / "__init__.py").write_text("1 / 0\n")
    assert manager.discover_plugins(tmp_path) == ["pack"]
    assert manager.failures == {}


def test_the_same_file_again_is_no_conflict(manager: PluginManager, tmp_path: Path) -> None:
    """A second discovery of the same files gives the same names and reports nothing."""
    write(tmp_path, a=named("a"), b=named("b"))
    assert manager.discover_plugins(tmp_path) == ["a", "b"]
    manager.load_all()
    plugin = manager.get_plugin("a")
    assert manager.discover_plugins(tmp_path) == ["a", "b"]
    assert manager.get_plugin("a") is plugin
    assert manager.failures == {}


@pytest.mark.parametrize("lazy", [False, True])
def test_a_taken_name_is_a_conflict(
    tmp_path: Path, lazy: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """Discovery never replaces a name: the second is passed over, with both origins named."""
    manager = PluginManager(lazy=lazy)
    write(tmp_path / "one", a=PLUGIN)
    write(tmp_path / "two", a=PLUGIN, b=named("other"))
    assert manager.discover_plugins(tmp_path / "one") == ["greeter"]
    assert manager.discover_plugins(tmp_path / "two") == ["other"]
    (failure,) = manager.failures.values()
    assert isinstance(failure.error, PluginRegistrationError)
    for folder in ("one", "two"):
        assert str(tmp_path / folder) in str(failure.error)
        assert str(tmp_path / folder) in caplog.text
    plugin = manager.load("greeter")
    assert str(tmp_path / "one") in inspect.getfile(type(plugin))


def test_a_forgotten_plugin_can_be_discovered_again(manager: PluginManager, tmp_path: Path) -> None:
    """After `unregister` the name is free, and the file as it is now is what is found."""
    write(tmp_path, a=PLUGIN)
    manager.discover_plugins(tmp_path)
    manager.unregister("greeter")
    assert manager.get_registered_plugins() == []
    write(tmp_path, a=PLUGIN.replace('[*data, "greeter"]', '["edited"]'))
    assert manager.discover_plugins(tmp_path) == ["greeter"]
    manager.load_all()
    assert manager.trigger("greet", []) == ["edited"]


def test_entry_points_are_found(manager: PluginManager, site: Path) -> None:
    """A distribution's entry point is a plugin, whose name need not be the entry point's."""
    (site / "sample_one.py").write_text(PLUGIN)
    distribution(site, "sample-one", "[nitro_dispatch.plugins]\nanother = sample_one:Greeter\n")
    assert "greeter" in manager.discover_entry_points()
    manager.load("greeter")
    assert manager.trigger("greet", []) == ["greeter"]


def test_another_group_may_be_named(manager: PluginManager, site: Path) -> None:
    """Only the entry points of the group asked for are found."""
    (site / "sample_one.py").write_text(PLUGIN)
    distribution(site, "sample-one", "[my_app.plugins]\ng = sample_one:Greeter\n")
    assert manager.discover_entry_points("my_app.plugins") == ["greeter"]
    assert "greeter" not in PluginManager().discover_entry_points()


ENTRY_POINTS = {
    "module missing": "bad = sample_none:Greeter",
    "attribute missing": "bad = sample_one:Nobody",
    "not a plugin": "bad = sample_one:hook",
    "not concrete": "bad = sample_one:PluginBase",
    "failing module": "bad = sample_failing:Greeter",
    "exiting module": "bad = sample_exiting:Greeter",
    "malformed": "bad = = sample_one",
    "no reference": "bad =",
}


@pytest.mark.parametrize("fault", ENTRY_POINTS)
def test_a_broken_entry_point_hides_no_good_one(
    manager: PluginManager, site: Path, fault: str
) -> None:
    """A fault of one entry point is in `failures` with its distribution, and others are found."""
    (site / "sample_one.py").write_text(PLUGIN)
    (site / "sample_failing.py").write_text("1 / 0\n")
    (site / "sample_exiting.py").write_text("raise SystemExit\n")
    group = f"[t.plugins]\n{ENTRY_POINTS[fault]}\n"
    distribution(site, "sample-a", group + "good = sample_one:Greeter\n", "3.1")
    assert manager.discover_entry_points("t.plugins") == ["greeter"]
    (failure,) = manager.failures.values()
    assert "sample-a 3.1" in failure.origin
    assert failure.stage in ("discover", "import")
    assert {"sample_failing", "sample_exiting"}.isdisjoint(sys.modules)


def test_the_first_distribution_on_the_path_wins(
    manager: PluginManager, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of two distributions that give one name the first wins, and the conflict is reported."""
    for name in ("sample_b", "sample_a"):
        site = tmp_path / name
        distribution(site, name, f"[t.plugins]\ng = {name}:Greeter\n")
        (site / f"{name}.py").write_text(PLUGIN.replace('[*data, "greeter"]', f'["{name}"]'))
        monkeypatch.syspath_prepend(str(site))
    assert manager.discover_entry_points("t.plugins") == ["greeter"]
    manager.load_all()
    assert manager.trigger("greet", []) == ["sample_a"]
    (failure,) = manager.failures.values()
    assert "sample_a" in str(failure.error)
    assert "sample_b" in str(failure.error)


def test_a_distribution_that_is_on_the_path_twice_counts_once(
    manager: PluginManager, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same distribution in two folders of the path is no conflict."""
    for folder in ("one", "two"):
        site = tmp_path / folder
        distribution(site, "sample-one", "[t.plugins]\ng = sample_one:Greeter\n")
        (site / "sample_one.py").write_text(PLUGIN)
        monkeypatch.syspath_prepend(str(site))
    assert manager.discover_entry_points("t.plugins") == ["greeter"]
    assert manager.failures == {}


def test_an_entry_point_may_name_a_module(manager: PluginManager, site: Path) -> None:
    """Without an attribute every plugin class that the module defines is registered."""
    (site / "sample_one.py").write_text(
        named("one") + named("two").replace("Greeter", "Two").replace(HEAD, "")
    )
    distribution(site, "sample-one", "[t.plugins]\nall = sample_one\n")
    assert manager.discover_entry_points("t.plugins") == ["one", "two"]


def test_discovery_tells_of_each_plugin(manager: PluginManager, tmp_path: Path) -> None:
    """The registered event is fired for a plugin that is discovered, once."""
    told: list[Any] = []
    manager.register_hook(PluginManager.EVENT_PLUGIN_REGISTERED, told.append)
    write(tmp_path, a=PLUGIN)
    manager.discover_plugins(tmp_path)
    manager.discover_plugins(tmp_path)
    assert told == [{"plugin_name": "greeter", "version": "1.0.0"}]


def test_plan_and_describe_run_no_file(tmp_path: Path) -> None:
    """A listing and a plan of a folder import nothing: the module would write a file if it ran."""
    ran = tmp_path / "ran"
    write(tmp_path / "plugins", a=f"open({str(ran)!r}, 'w').close()\n" + PLUGIN)
    manager = PluginManager(lazy=True)
    manager.discover_plugins(tmp_path / "plugins")
    assert manager.plan().order == ("greeter",)
    assert [info.metadata.name for info in manager.describe()] == ["greeter"]
    assert not ran.exists()
    manager.load("greeter")
    assert ran.exists()


@pytest.mark.parametrize("lazy", [False, True])
def test_a_blocked_plugin_is_not_imported(tmp_path: Path, lazy: bool) -> None:
    """What an operator blocks by its name does not run, and is shown as blocked."""
    ran = tmp_path / "ran"
    write(tmp_path / "plugins", a=f"open({str(ran)!r}, 'w').close()\n" + PLUGIN, b=named("b"))
    manager = PluginManager(lazy=lazy, block=["greeter"])
    manager.discover_plugins(tmp_path / "plugins")
    assert manager.load_all() == ["b"]
    assert not ran.exists()
    assert {info.metadata.name: info.state for info in manager.describe()}["greeter"] == "blocked"


def test_other_logging_is_left_alone(manager: PluginManager, tmp_path: Path) -> None:
    """Discovery that reports faults changes no handler or level of the root logger."""
    root = logging.getLogger()
    before = (list(root.handlers), root.level)
    write(tmp_path, a="1 / 0\n")
    manager.discover_plugins(tmp_path)
    assert (list(root.handlers), root.level) == before


def test_a_bad_plugin_does_not_spoil_the_good_one_of_its_name(
    manager: PluginManager, tmp_path: Path
) -> None:
    """The fault of a second plugin with a taken name is kept under its origin."""
    write(tmp_path, a=PLUGIN, b=PLUGIN.replace('"greeter"', '"greeter"; version = 3', 1))
    assert manager.discover_plugins(tmp_path) == ["greeter"]
    (key,) = manager.failures
    assert key == str(tmp_path / "b_plugin.py")
    assert [info.state for info in manager.describe()] == ["registered"]


FAULTS = {
    "import": HEAD + "import sample_that_is_not_there\n",
    "syntax": "class (:\n",
    "metadata": PLUGIN + "    version = 3\n",
}


@pytest.mark.parametrize("lazy", [False, True])
@pytest.mark.parametrize("broken", FAULTS.values(), ids=FAULTS)
def test_a_mended_file_is_no_failure_any_more(tmp_path: Path, broken: str, lazy: bool) -> None:
    """What was wrong with a file is forgotten when it is found again without the fault."""
    manager = PluginManager(lazy=lazy)
    write(tmp_path, a=broken)
    manager.discover_plugins(tmp_path)
    manager.load_all()
    assert len(manager.failures) == 1
    write(tmp_path, a=PLUGIN)
    assert manager.discover_plugins(tmp_path) == ["greeter"]
    assert manager.failures == {}
    assert manager.load_all() == ["greeter"]
    manager.unload_all()


def test_a_file_that_stays_broken_stays_a_failure(manager: PluginManager, tmp_path: Path) -> None:
    """Finding a broken file again keeps one failure, which says what is wrong with it now."""
    write(tmp_path, a=FAULTS["import"])
    manager.discover_plugins(tmp_path)
    write(tmp_path, a=FAULTS["syntax"])
    manager.discover_plugins(tmp_path)
    (failure,) = manager.failures.values()
    assert isinstance(failure.error, SyntaxError)


@pytest.mark.parametrize("lazy", [False, True])
def test_a_conflict_that_is_solved_is_no_failure_any_more(tmp_path: Path, lazy: bool) -> None:
    """A name that was taken is free once the other plugin is unregistered."""
    manager = PluginManager(lazy=lazy)
    write(tmp_path / "one", a=PLUGIN)
    write(tmp_path / "two", a=PLUGIN)
    manager.discover_plugins(tmp_path / "one")
    manager.discover_plugins(tmp_path / "two")
    assert len(manager.failures) == 1
    manager.unregister("greeter")
    assert manager.discover_plugins(tmp_path / "two") == ["greeter"]
    assert manager.failures == {}


def test_finding_a_plugin_again_keeps_why_it_failed_to_load(
    manager: PluginManager, tmp_path: Path
) -> None:
    """What went wrong with a class that is imported stays on record: it is the same class."""
    write(tmp_path, a=PLUGIN + "\n    def on_load(self):\n        raise OSError\n")
    manager.discover_plugins(tmp_path)
    assert manager.load_all() == []
    assert manager.discover_plugins(tmp_path) == ["greeter"]
    assert manager.failures["greeter"].stage == "on_load"


def test_a_newer_version_mends_a_distribution(manager: PluginManager, site: Path) -> None:
    """What was wrong with a distribution is forgotten when a later version of it is found."""
    entry_points = "[t.plugins]\ngood = sample_mended:Greeter\n"
    (site / "sample_mended.py").write_text("1 / 0\n")
    distribution(site, "sample", entry_points, "1.0")
    assert manager.discover_entry_points("t.plugins") == []
    assert len(manager.failures) == 1
    shutil.rmtree(site / "sample-1.0.dist-info")
    (site / "sample_mended.py").write_text(PLUGIN)
    distribution(site, "sample", entry_points, "1.1")
    assert manager.discover_entry_points("t.plugins") == ["greeter"]
    assert manager.failures == {}


def test_what_is_installed_while_the_program_runs_is_found(
    tmp_path: Path, run_python: RunPython
) -> None:
    """A discovery finds what has come since the import system looked, and imports nothing slow."""
    program = """
import os, sys, types
sys.path[:0] = ["site", "later"]
folder = os.stat("site")
# A module need not tell what it holds.
Silent = type("Silent", (types.ModuleType,), {"__dict__": property(lambda self: 1 / 0)})
sys.modules["silent"] = Silent("silent")
try:
    import greeter_of_later
except ImportError:
    pass
import nitro_dispatch
before = set(sys.modules)
for place in "site", "later":
    os.makedirs(f"{place}/{place}-1.0.dist-info")
    with open(f"{place}/{place}-1.0.dist-info/entry_points.txt", "w") as file:
        print(f"[nitro_dispatch.plugins]\\n{place} = greeter_of_{place}:Greeter", file=file)
    with open(f"{place}/greeter_of_{place}.py", "w") as file:
        file.write(SOURCE.replace("greeter", place))
# As if the clock of the file system had not ticked meanwhile.
os.utime("site", ns=(folder.st_atime_ns, folder.st_mtime_ns))
print(*nitro_dispatch.PluginManager().discover_entry_points())
print("importlib.metadata" in set(sys.modules) - before)
"""
    (tmp_path / "site").mkdir()
    told = run_python(f"SOURCE = {PLUGIN!r}\n{program}").splitlines()
    assert set(told[0].split()) >= {"site", "later"}
    assert told[1] == "False"


def test_a_namespace_package_that_grows_is_found(tmp_path: Path, run_python: RunPython) -> None:
    """What comes to a package that has no folder of its own, and is loaded, is imported as well."""
    program = """
import os, sys
sys.path[:0] = ["one", "two"]
import nitro_dispatch
manager = nitro_dispatch.PluginManager()
for place in "one", "two":
    os.makedirs(f"{place}/{place}-1.0.dist-info")
    with open(f"{place}/{place}-1.0.dist-info/entry_points.txt", "w") as file:
        print(f"[nitro_dispatch.plugins]\\n{place} = growing.{place}:Greeter", file=file)
    os.mkdir(f"{place}/growing")
    with open(f"{place}/growing/{place}.py", "w") as file:
        file.write(SOURCE.replace("greeter", place))
    print(*manager.discover_entry_points())
"""
    told = run_python(f"SOURCE = {PLUGIN!r}\n{program}").splitlines()
    assert "one" in told[0].split()
    assert set(told[1].split()) >= {"one", "two"}


def test_a_finder_that_cannot_be_asked_keeps_nothing_from_being_found(
    manager: PluginManager, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A finder of the import system that raises whatever is asked of it hides no plugin."""

    class Hostile:
        def __getattr__(self, name: str) -> None:
            raise RuntimeError("broken finder")

        def find_spec(self, name: str, path: object = None, target: object = None) -> None:
            """Find no module."""

    write(tmp_path, a=PLUGIN)
    monkeypatch.setattr(sys, "meta_path", [Hostile(), *sys.meta_path])
    assert manager.discover_plugins(tmp_path) == ["greeter"]


def test_to_forget_a_plugin_costs_no_more_where_there_are_many(folder: Folder) -> None:
    """What a plugin file has left behind is found without a look through all plugins or modules."""
    lines = []
    for count in (8, 400):
        kept = folder.path / str(count)
        kept.mkdir()
        for number in range(count):
            name = f"p{number}"
            (kept / f"{name}_plugin.py").write_text(GREETER.replace("greeter", name))
        manager = PluginManager()
        assert len(manager.discover_plugins(kept)) == count
        lines.append(lines_run(functools.partial(manager.unregister, "p0")))
    assert lines[1] < 1.1 * lines[0]
