"""Discovery stays in its folder, shadows nothing, and takes names as the file system has them."""

from __future__ import annotations

import importlib
import inspect
import json
import os
import pickle
import socket
import sys
import unicodedata
from collections.abc import Iterator
from pathlib import Path

import pytest

from nitro_dispatch import PluginLoadError, PluginManager
from plugin_files import GREETER

pytestmark = pytest.mark.usefixtures("modules_as_before")

each_way = pytest.mark.parametrize("lazy", [False, True], ids=["imported", "lazy"])


def named(name: str) -> str:
    """Write the source of a plugin of another name, which says that."""
    return GREETER.replace('"greeter"', repr(name)).replace('"old"', repr(name))


def write(file: Path, source: str) -> Path:
    """Write a file, with the folders that it is in."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(source, encoding="utf-8")
    return file


def state_of_process() -> dict[str, object]:
    """Tell what the whole program shares and discovery has to leave as it is."""
    modules = {
        name: id(module) for name, module in sys.modules.items() if "_discovered." not in name
    }
    return {
        "path": list(sys.path),
        "hooks": list(sys.path_hooks),
        "searched": set(sys.path_importer_cache),
        "modules": modules,
        "folder": os.getcwd(),
        "environment": dict(os.environ),
    }


# Modules of the library, of every program, of its start, and this one.
TAKEN = [
    *("json", "logging", "os", "nitro_dispatch", "site", "sitecustomize", "__future__", "conftest"),
    __name__.rpartition(".")[2],
]


@each_way
@pytest.mark.parametrize("place", ["{}.py", "{}/__init__.py", "deep/{}.py"])
def test_nothing_of_the_process_changes(tmp_path: Path, lazy: bool, place: str) -> None:
    """Well-known names of files shadow nothing, and what the program shares stays as it is."""

    def use(folder: str, names: list[str]) -> None:
        for name in names:
            write(
                tmp_path / folder / place.format(name), named(name) + "import json; json.dumps(1)\n"
            )
        manager = PluginManager(lazy=lazy)
        assert sorted(manager.discover_plugins(tmp_path / folder, "*", recursive=True)) == names
        manager.load_all()
        assert sorted(manager.trigger("greet", [])) == names
        manager.reload(names[0])
        manager.unload_all()

    use("first", ["sample"])  # The library imports what it needs itself.
    before = state_of_process()
    use("second", sorted(TAKEN))
    assert state_of_process() == before
    assert importlib.import_module("json") is json


NAMES = [
    *("class", "None", "__debug__", "3d printer", "a.b", "a..b", "-", "_", "~", "$HOME"),
    *("a\nb", "a\r\x1b[31mb", "a\u2028b", "a\u202eb", "%s", "{0}", "*", "[!a]", "'", '"', "\\"),
    *("prüfung", "日本", "🐍", "ﬁ", "nul", "a" * 245, os.fsdecode(b"a\xff")),
]


def write_plugin(folder: Path, name: str, source: str) -> Path:
    """Write a plugin file, or skip the test where the file system takes no such name."""
    try:
        return write(folder / f"{name}_plugin.py", source)
    except OSError:
        pytest.skip("this file system takes no such name")


@each_way
@pytest.mark.parametrize("name", NAMES, ids=ascii)
def test_a_file_may_have_any_name(tmp_path: Path, lazy: bool, name: str) -> None:
    """Whatever a file is called it is found, loaded, shown, pickled and reloaded as any other."""
    file = write_plugin(tmp_path, name, named("one"))
    manager = PluginManager(lazy=lazy)
    assert manager.discover_plugins(tmp_path) == ["one"]
    assert manager.load_all() == ["one"]
    assert manager.trigger("greet", []) == ["one"]
    plugin_class = type(manager.load("one"))
    assert pickle.loads(pickle.dumps(plugin_class)) is plugin_class
    assert "class Greeter" in inspect.getsource(plugin_class)
    write(file, named("one").replace("'one']", "'new']"))
    manager.reload("one")
    assert manager.trigger("greet", []) == ["new"]
    assert [info.metadata.origin.file for info in manager.describe()] == [str(file)]


@each_way
@pytest.mark.parametrize("name", NAMES, ids=ascii)
def test_a_name_cannot_forge_a_record(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, lazy: bool, name: str
) -> None:
    """A broken file of any name is one failure under its path, and one record on one line."""
    file = write_plugin(tmp_path, name, "1 / 0")
    manager = PluginManager(lazy=lazy)
    assert manager.discover_plugins(tmp_path) == []
    manager.load_all()
    assert list(manager.failures) == [str(file)]
    (record,) = caplog.records
    assert record.getMessage().isprintable()


@each_way
@pytest.mark.parametrize(
    "twins",
    [
        [unicodedata.normalize("NFC", "prüfung"), unicodedata.normalize("NFD", "prüfung")],
        ["twin", "Twin", "TWIN"],
        ["a b", "a-b", "a.b", "a_b"],
    ],
    ids=["unicode", "case", "punctuation"],
)
def test_twins_are_two(tmp_path: Path, lazy: bool, twins: list[str]) -> None:
    """Files whose names differ in no more than case, form or punctuation each have their module."""
    for twin in twins:
        write(tmp_path / f"{twin}_plugin.py", named(twin))
    if len(os.listdir(tmp_path)) < len(twins):
        pytest.skip("to this file system they are one")
    manager = PluginManager(lazy=lazy)
    assert sorted(manager.discover_plugins(tmp_path)) == sorted(twins)
    manager.load_all()
    assert sorted(manager.trigger("greet", [])) == sorted(twins)
    assert len({type(each).__module__ for each in manager.get_all_plugins().values()}) == len(twins)


@pytest.mark.parametrize("name", ["[ab]", "a*", "a\nb", "{}", "%", " "])
def test_a_folder_may_have_any_name(tmp_path: Path, name: str) -> None:
    """What would be a wildcard in a pattern is none in the folder's name."""
    write(tmp_path / name / "one_plugin.py", named("one"))
    write(tmp_path / "a" / "other_plugin.py", named("other"))
    assert PluginManager().discover_plugins(tmp_path / name) == ["one"]


@each_way
def test_hard_links_are_files(tmp_path: Path, caplog: pytest.LogCaptureFixture, lazy: bool) -> None:
    """Of two names of one file the first in order is the plugin, and the second a conflict."""
    first = write(tmp_path / "b_plugin.py", named("one"))
    try:
        os.link(first, tmp_path / "a_plugin.py")
    except OSError:
        pytest.skip("this file system has no hard links")
    manager = PluginManager(lazy=lazy)
    assert manager.discover_plugins(tmp_path) == ["one"]
    (failure,) = manager.failures.values()
    assert "a_plugin.py" in str(failure)
    assert "b_plugin.py" in str(failure)
    manager.load_all()
    assert manager.trigger("greet", []) == ["one"]


@each_way
@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no such files")
@pytest.mark.usefixtures("alarm")
def test_what_is_no_file_is_not_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lazy: bool
) -> None:
    """A pipe, a socket, a device and a folder with the names of modules are passed over."""
    package = write(tmp_path / "pack_plugin" / "__init__.py", "from .pipe import Greeter\n").parent
    for folder in (tmp_path, package):
        for name in ("pipe", "pipe_plugin"):
            os.mkfifo(folder / f"{name}.py")
        (folder / "zero_plugin.py").symlink_to("/dev/zero")
        (folder / "terminal_plugin.py").symlink_to("/dev/tty")
        (folder / "folder_plugin.py").mkdir()
    (tmp_path / "pipe_of_package_plugin").mkdir()
    os.mkfifo(tmp_path / "pipe_of_package_plugin" / "__init__.py")
    monkeypatch.chdir(tmp_path)  # The path of a socket has to be short.
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind("socket_plugin.py")
    write(tmp_path / "z_plugin.py", named("good"))
    manager = PluginManager(lazy=lazy)
    assert manager.discover_plugins(tmp_path, recursive=True) == ["good"]
    assert manager.load_all() == ["good"]
    assert [Path(origin).parent.name for origin in manager.failures] == ["pack_plugin"]


def test_a_sibling_is_no_module(tmp_path: Path) -> None:
    """A plugin file cannot import what is beside it; that is its own failure, and says of what."""
    write(tmp_path / "helper.py", "raise AssertionError('it is no plugin, and not imported')")
    imports = {
        "a": "import helper",
        "b": "from . import helper",
        "c": "from .helper import x",
        "d": "from .z_plugin import Greeter as Other",
    }
    for name, statement in imports.items():
        write(tmp_path / f"{name}_plugin.py", f"{statement}\n{named(name)}")
    write(tmp_path / "z_plugin.py", named("z"))
    manager = PluginManager()
    assert manager.discover_plugins(tmp_path) == ["z"]
    faults = [failure.error for failure in manager.failures.values()]
    assert [isinstance(fault, ImportError) for fault in faults] == [True] * 4
    assert "helper" not in sys.modules


CHANGES = {
    "adds to the path": "import sys; sys.path.insert(0, __file__.rpartition('/')[0])",
    "is another module": "import sys, types; sys.modules[__name__] = types.ModuleType('x')",
    "takes itself away": "import sys; del sys.modules[__name__]",
    "takes its package away": "import sys; del sys.modules[__name__.rpartition('.')[0]]",
    "is None": "import sys; sys.modules[__name__] = None",
    "has another name": "__name__ = 'json'",
    "has no name": "del __name__",
    "has no file": "del __file__",
    "has no spec": "__spec__ = None",
    "goes elsewhere": "import os; os.chdir('/')",
    "empties the finders' caches": "import sys; sys.path_importer_cache.clear()",
}


@pytest.fixture
def process_as_before(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Put back what plugins do to the process."""
    monkeypatch.chdir(os.getcwd())
    monkeypatch.setattr(sys, "path", list(sys.path))
    before = dict(sys.modules)
    yield
    sys.modules.update(before)


@each_way
@pytest.mark.usefixtures("process_as_before")
@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("then", ["", "1 / 0\n"], ids=["good", "broken"])
def test_what_a_file_does_to_the_process_stops_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lazy: bool, change: str, then: str
) -> None:
    """Whatever a file changes as it is imported, those after it are found, loaded and reloaded."""
    monkeypatch.chdir(tmp_path.parent)
    for name in "ac":
        write(tmp_path / f"{name}_plugin.py", named(name))
    write(tmp_path / "b_plugin.py", named("b") + f"{CHANGES[change]}\n{then}")
    write(tmp_path / "json.py", "raise AssertionError('it takes the place of a module')")
    manager = PluginManager(lazy=lazy)
    assert {"a", "c"} <= set(manager.discover_plugins(tmp_path.name))
    manager.load_all()
    assert {"a", "c"} <= set(manager.trigger("greet", []))
    write(tmp_path / "c_plugin.py", named("c").replace("'c']", "'new']"))
    manager.reload("c")
    assert {"a", "new"} <= set(manager.trigger("greet", []))
    assert ("b" in manager.trigger("greet", [])) <= (not then)
    assert importlib.import_module("json") is json


@each_way
def test_a_folder_is_the_one_of_its_discovery(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lazy: bool
) -> None:
    """A relative folder stays the one that it was when the program goes elsewhere."""
    file = write(tmp_path / "here" / "plugins" / "one_plugin.py", named("one"))
    write(tmp_path / "there" / "plugins" / "one_plugin.py", named("impostor"))
    monkeypatch.chdir(tmp_path / "here")
    manager = PluginManager(lazy=lazy)
    manager.discover_plugins("plugins")
    monkeypatch.chdir(tmp_path / "there")
    manager.load_all()
    assert manager.trigger("greet", []) == ["one"]
    write(file, named("one").replace("'one']", "'new']"))
    manager.reload("one")
    assert manager.trigger("greet", []) == ["new"]


@each_way
def test_a_link_that_leads_elsewhere_is_followed_at_a_reload(tmp_path: Path, lazy: bool) -> None:
    """Where the folder is a link, as of a deployment, a reload reads what it leads to by then."""
    for release in ("first", "second"):
        write(tmp_path / release / "one_plugin.py", GREETER.replace('"old"', repr(release)))
    current = tmp_path / "current"
    current.symlink_to("first", target_is_directory=True)
    manager = PluginManager(lazy=lazy)
    manager.discover_plugins(current)
    manager.load_all()
    assert manager.trigger("greet", []) == ["first"]
    current.unlink()
    current.symlink_to("second", target_is_directory=True)
    manager.reload("greeter")
    assert manager.trigger("greet", []) == ["second"]


def test_a_file_that_becomes_a_folder_is_a_failed_reload(tmp_path: Path) -> None:
    """What is in the place of a plugin file and is none leaves the old plugin running."""
    file = write(tmp_path / "one_plugin.py", named("one"))
    manager = PluginManager()
    manager.discover_plugins(tmp_path)
    manager.load_all()
    file.unlink()
    file.mkdir()
    with pytest.raises(PluginLoadError, match=r"one_plugin\.py"):
        manager.reload("one")
    assert manager.trigger("greet", []) == ["one"]
