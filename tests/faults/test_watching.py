"""Watching: plugins are reloaded when their sources change, and no save ends the watch or one."""

from __future__ import annotations

import builtins
import gc
import os
import queue
import sys
import threading
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Callable, Optional

import pytest

from concurrency import PATIENCE, THREADS, Gate, Together, elsewhere, needs_fork
from nitro_dispatch import (
    NitroPluginError,
    PluginBase,
    PluginLoadError,
    PluginManager,
    ReloadResult,
    hook,
)
from plugin_files import Folder, WriteModule
from programs import RunPython

PLUGIN = """
from nitro_dispatch import PluginBase, hook

class Made(PluginBase):
    name = {name!r}
    dependencies = {needs!r}

    @hook("say")
    def say(self, words):
        return [*words, {word!r}]
"""


def plugin(name: str, word: str, *needs: str) -> str:
    """Write the source of a plugin that says a word."""
    return PLUGIN.format(name=name, word=word, needs=list(needs))


def replace(file: Path, source: str) -> None:
    """Put another file in the place of the first, as most editors do."""
    other = file.with_suffix(".tmp")
    other.write_text(source)
    other.replace(file)


class Watched(Folder):
    """A folder of plugin files, a manager that watches them, and what it was told."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.results: queue.Queue[ReloadResult] = queue.Queue()
        self.stop: Callable[[], None] = lambda: None

    def save(self, name: str, source: str) -> None:
        """Write a file so that nobody ever finds half of it."""
        file = self.path / name
        file.parent.mkdir(exist_ok=True)
        replace(file, source)

    def watch(self, **sources: str) -> PluginManager:
        """Write a file for each source, load all and begin."""
        self.load(**sources)
        self.stop = self.manager.watch(self.results.put)
        return self.manager

    def told(self) -> ReloadResult:
        """Wait for the next result."""
        return self.results.get(timeout=PATIENCE)

    def reloaded(self) -> tuple[str, ...]:
        """Wait for the next result, which must be a good one, and name the plugins."""
        result = self.told()
        assert result.error is None
        return result.plugins

    def words(self) -> Any:
        """Ask the plugins."""
        return self.manager.trigger("say", [])


@pytest.fixture
def watched(folder: Folder) -> Iterator[Watched]:
    """Make a folder whose plugins and watch are gone when the test is over."""
    made = Watched(folder.path / "plugins")
    made.path.mkdir()
    yield made
    made.stop()
    made.manager.unload_all()


# -- saves


def write_in_place(file: Path, source: str) -> None:
    """Write over what is there."""
    file.write_text(source)


def keep_a_backup(file: Path, source: str) -> None:
    """Rename the old file first."""
    file.rename(file.with_suffix(".py~"))
    file.write_text(source)


def keep_the_times(file: Path, source: str) -> None:
    """Write so that neither the size of the file nor its time tells of it."""
    before = file.stat()
    file.write_text(source)
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))


@pytest.mark.parametrize("save", [write_in_place, replace, keep_a_backup, keep_the_times])
def test_a_save_reloads_and_is_told_once(
    watched: Watched, save: Callable[[Path, str], None]
) -> None:
    """However a file is saved, it is one change, and the callback is told of plugin and file."""
    for name in ("one", "other"):
        watched.save(f"{name}_plugin.py", plugin(name, "old"))
    file = watched.path / "one_plugin.py"
    # On a busy machine a save may take longer than a watch waits for its end.
    with Held(watched):
        save(file, plugin("one", "saved"))
    assert watched.told() == ReloadResult(("one",), (str(file),), None)
    assert watched.words() == ["new", "saved", "old"]
    watched.save("other_plugin.py", plugin("other", "at last"))
    assert watched.reloaded() == ("other",)


def test_a_file_that_comes_back_is_followed(watched: Watched) -> None:
    """A deleted file is told of once and leaves its plugin running; written again it is read."""
    watched.watch(one=plugin("one", "old"), other=plugin("other", "as ever"))
    file = watched.path / "one_plugin.py"
    file.unlink()
    gone = watched.told()
    assert (gone.plugins, gone.files) == ((), (str(file),))
    assert isinstance(gone.error, PluginLoadError)
    watched.save("other_plugin.py", plugin("other", "at last"))
    assert watched.reloaded() == ("other",)
    assert watched.words() == ["old", "at last"]
    watched.save("one_plugin.py", plugin("one", "new"))
    assert watched.reloaded() == ("one",)
    assert watched.words() == ["new", "at last"]


def test_a_folder_that_comes_back_is_followed(watched: Watched) -> None:
    """Where the whole folder is deleted and made again, its files are followed on."""
    watched.watch(one=plugin("one", "old"))
    away = watched.path.rename(watched.path.with_name("away"))
    assert watched.told().error is not None
    away.rename(watched.path)
    assert watched.reloaded() == ("one",)
    for word in ("new", "newer"):
        watched.save("one_plugin.py", plugin("one", word))
        assert watched.reloaded() == ("one",)
        assert watched.words() == [word]


def test_what_is_behind_a_link_is_followed(watched: Watched, tmp_path: Path) -> None:
    """A plugin file that is a symbolic link is reloaded when the file changes that it leads to."""
    file = tmp_path / "elsewhere.py"
    file.write_text(plugin("one", "old"))
    (watched.path / "one_plugin.py").symlink_to(file)
    watched.watch()
    replace(file, plugin("one", "new"))
    assert watched.reloaded() == ("one",)
    assert watched.words() == ["new"]


NO_SOURCES = [
    *("one_plugin.txt", "one_plugin.pyc", "one_plugin.py.swp", "one_plugin.py~"),
    *(".hidden.py", ".#one_plugin.py", "__pycache__/cached.py", ".git/hook.py"),
]


def test_what_is_no_source_is_passed_over(watched: Watched) -> None:
    """Only a change of a visible Python file in a plugin's package is one."""
    watched.save("pack_plugin/__init__.py", plugin("pack", "old"))
    watched.watch(one=plugin("one", "old"))
    for name in NO_SOURCES:
        watched.save(name, "whatever")
        watched.save(f"pack_plugin/{name}", "whatever")
    watched.save("pack_plugin/__init__.py", plugin("pack", "new"))
    result = watched.told()
    assert result.plugins == ("pack",)
    assert [Path(file).name for file in result.files] == ["__init__.py"]


def test_a_save_that_changes_nothing_reloads_nothing(watched: Watched) -> None:
    """A file with another time and the same content is no change."""
    manager = watched.watch(one=plugin("one", "old"), other=plugin("other", "old"))
    before = manager.get_plugin("one")
    watched.save("one_plugin.py", plugin("one", "old"))
    watched.save("other_plugin.py", plugin("other", "new"))
    assert watched.reloaded() == ("other",)
    assert manager.get_plugin("one") is before


@pytest.mark.parametrize(
    ("name", "source"),
    [
        ("words.py", "WORD = 'new'"),
        ("deep/words.py", "WORD = 'new'"),
        ("later/words.py", "WORD = 'new'"),
    ],
)
def test_a_package_is_watched_with_all_inside_of_it(
    watched: Watched, name: str, source: str
) -> None:
    """A module of a package counts, also in a folder that was made meanwhile."""
    watched.save(
        "pack_plugin/__init__.py",
        "import importlib\n"
        "WORD = 'nothing'\n"
        "for name in ('.words', '.deep.words', '.later.words'):\n"
        "    try:\n"
        "        WORD = importlib.import_module(name, __name__).WORD\n"
        "    except ImportError:\n"
        "        continue\n" + plugin("pack", "word").replace("'word'", "WORD"),
    )
    watched.save("pack_plugin/deep/__init__.py", "")
    watched.watch()
    watched.save(f"pack_plugin/{name}", source)
    assert watched.reloaded() == ("pack",)
    assert watched.words() == ["new"]
    (watched.path / "pack_plugin" / name).unlink()
    assert watched.reloaded() == ("pack",)
    assert watched.words() == ["nothing"]


# -- broken saves


@pytest.mark.parametrize(
    "broken",
    [
        "this is no Python",
        "raise SystemExit(3)",
        "raise KeyboardInterrupt",
        plugin("one", "new", "missing"),
        plugin("one", "new") + "    def on_load(self): raise KeyboardInterrupt",
    ],
)
def test_a_broken_save_leaves_the_old_one_running(
    watched: Watched, caplog: pytest.LogCaptureFixture, broken: str
) -> None:
    """It is told and logged, the old one serves on, and the next good save reloads."""
    manager = watched.watch(one=plugin("one", "old"))
    before = manager.get_plugin("one")
    watched.save("one_plugin.py", broken)
    result = watched.told()
    assert (result.plugins, [Path(file).name for file in result.files]) == ((), ["one_plugin.py"])
    assert isinstance(result.error, PluginLoadError)
    assert result.error.plugin == "one"
    assert "A changed plugin is not reloaded" in caplog.text
    assert manager.get_plugin("one") is before
    assert watched.words() == ["old"]
    watched.save("one_plugin.py", plugin("one", "new"))
    assert watched.reloaded() == ("one",)
    assert watched.words() == ["new"]


def test_a_broken_save_that_is_undone_is_mended(watched: Watched) -> None:
    """To put back what runs is a good save too, after which the same fault is told again."""
    watched.watch(one=plugin("one", "old"))
    for _ in range(2):
        watched.save("one_plugin.py", "broken(")
        assert watched.told().error is not None
        watched.save("one_plugin.py", plugin("one", "old"))
        assert watched.reloaded() == ("one",)


class Held:
    """Holds the watch, so that what is saved meanwhile is found at one look."""

    def __init__(
        self, watched: Watched, tell: Optional[Callable[[ReloadResult], object]] = None
    ) -> None:
        self._watched = watched
        self._tell = tell or watched.results.put
        self._gate = Gate()
        watched.watch(hold=plugin("hold", "old"))
        watched.stop()
        watched.stop = watched.manager.watch(self._hear)

    def _hear(self, result: ReloadResult) -> None:
        if result.plugins == ("hold",):
            self._gate()
        else:
            self._tell(result)

    def __enter__(self) -> None:
        self._watched.save("hold_plugin.py", plugin("hold", "new"))
        assert self._gate.reached.wait(PATIENCE)

    def __exit__(self, *exc_info: object) -> None:
        self._gate.open.set()


def test_a_broken_file_hides_no_good_one(watched: Watched) -> None:
    """Of files that are saved together each good one is reloaded, whichever is broken."""
    for name in "abc":
        watched.save(f"{name}_plugin.py", plugin(name, "old"))
    with Held(watched):
        for name in "ac":
            watched.save(f"{name}_plugin.py", plugin(name, "new"))
        watched.save("b_plugin.py", "broken(")
    results = [watched.told() for _ in "abc"]
    assert [result.plugins for result in results] == [("a",), (), ("c",)]
    assert [type(result.error) for result in results] == [type(None), PluginLoadError, type(None)]
    assert watched.words() == ["new", "old", "new", "new"]
    watched.save("b_plugin.py", plugin("b", "new"))
    assert watched.reloaded() == ("b",)


# -- what goes along


def test_what_is_saved_together_is_reloaded_once_and_in_order(watched: Watched) -> None:
    """Dependents go along once, each after what it needs, however many files have changed."""
    watched.save("x_plugin.py", plugin("x", "x old"))
    watched.save("y_plugin.py", plugin("y", "y old"))
    watched.save("a_plugin.py", plugin("a", "a", "x", "y"))
    watched.save("b_plugin.py", plugin("b", "b old", "a"))
    with Held(watched):
        for name in "bxy":
            source = (watched.path / f"{name}_plugin.py").read_text()
            watched.save(f"{name}_plugin.py", source.replace("old", "new"))
    result = watched.told()
    assert result.plugins == ("x", "y", "a", "b")
    assert [Path(file).name[0] for file in result.files] == ["b", "x", "y"]
    assert watched.words() == ["x new", "y new", "a", "b new", "new"]
    watched.save("a_plugin.py", plugin("a", "a new", "x", "y"))
    assert watched.reloaded() == ("a", "b")


def test_what_failed_together_is_tried_again_together(watched: Watched) -> None:
    """A good file that could not be reloaded for a broken one goes along when that is mended."""
    watched.save("x_plugin.py", plugin("x", "x old"))
    watched.save("y_plugin.py", plugin("y", "y old"))
    watched.save("z_plugin.py", plugin("z", "z", "x", "y"))
    with Held(watched):
        watched.save("x_plugin.py", plugin("x", "x new"))
        watched.save("y_plugin.py", "broken(")
    assert watched.told().error is not None
    assert watched.words() == ["new", "x old", "y old", "z"]
    watched.save("y_plugin.py", plugin("y", "y new"))
    result = watched.told()
    assert result.plugins == ("x", "y", "z")
    assert [Path(file).name for file in result.files] == ["y_plugin.py"]
    assert watched.words() == ["new", "x new", "y new", "z"]
    watched.save("y_plugin.py", plugin("y", "y newer"))
    assert watched.reloaded() == ("y", "z")


def test_two_plugins_of_a_file_are_reloaded_once(watched: Watched) -> None:
    """A change of a file with several plugins is one reload of all of them."""
    two = plugin("one", "1 old") + plugin("two", "2 old").replace("Made", "Second")
    watched.watch(both=two)
    watched.save("both_plugin.py", two.replace("old", "new"))
    assert watched.reloaded() == ("one", "two")
    watched.save("both_plugin.py", two)
    assert watched.reloaded() == ("one", "two")


# -- what is followed


def test_what_comes_later_is_followed(watched: Watched, tmp_path: Path) -> None:
    """A plugin that is discovered and loaded during a watch is reloaded at its very first edit."""
    manager = watched.watch(one=plugin("one", "old"))
    later = tmp_path / "later"
    later.mkdir()
    file = later / "two_plugin.py"
    file.write_text(plugin("two", "old"))
    manager.discover_plugins(later)
    manager.load_all()
    replace(file, plugin("two", "new"))
    assert watched.told() == ReloadResult(("two",), (str(file),))
    replace(file, plugin("two", "newer"))
    assert watched.reloaded() == ("two",)


@pytest.fixture
def reading(monkeypatch: pytest.MonkeyPatch) -> Gate:
    """Hold a watch as it is about to read a file."""
    reading, is_file = Gate(), os.path.isfile

    def read(path: str) -> bool:
        if threading.current_thread() in watchers():
            reading()
        return is_file(path)

    monkeypatch.setattr(os.path, "isfile", read)
    return reading


def test_what_is_registered_while_others_are_read_is_followed(
    watched: Watched, reading: Gate
) -> None:
    """An edit is not lost of a plugin that comes between two looks at the others."""
    manager = watched.watch(one=plugin("one", "old"))
    assert reading.reached.wait(PATIENCE)
    watched.save("two_plugin.py", plugin("two", "old"))
    manager.discover_plugins(watched.path)
    manager.load_all()
    watched.save("two_plugin.py", plugin("two", "new"))
    reading.open.set()
    assert watched.reloaded() == ("two",)


def test_an_edit_after_an_import_during_a_look_is_not_lost(watched: Watched, reading: Gate) -> None:
    """What is imported, and then edited, before the watch has come to read it is reloaded."""
    watched.manager = PluginManager(lazy=True)
    manager = watched.watch(one=plugin("one", "old"))
    assert reading.reached.wait(PATIENCE)
    manager.load("one")
    watched.save("one_plugin.py", plugin("one", "new"))
    reading.open.set()
    assert watched.reloaded() == ("one",)
    assert watched.words() == ["new"]


def test_an_edit_during_the_import_is_not_lost(
    watched: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is edited between the read of its source and the end of its import is reloaded."""
    held = Gate()
    monkeypatch.setattr(builtins, "held", held, raising=False)
    watched.manager = PluginManager(lazy=True)
    source = plugin("one", "old") + "\nheld()\n"
    manager = watched.watch(one=source, other=plugin("other", "old"))
    manager.load("other")
    loading = Together(lambda: manager.load("one"))
    assert held.reached.wait(PATIENCE)
    watched.save("one_plugin.py", source.replace("old", "new"))
    watched.save("other_plugin.py", plugin("other", "new"))
    assert watched.reloaded() == ("other",)
    held.open.set()
    loading.join()
    assert watched.reloaded() == ("one",)
    assert watched.words() == ["new", "new"]


# -- reloads by hand

HELD = "\nheld()\n"


class Busy:
    """A watch that looks at nothing until it is told to, as its callback has not come back."""

    def __init__(self, watched: Watched) -> None:
        self.look = threading.Event()
        self._watched = watched
        watched.load(one=plugin("one", "old"), other=plugin("other", "old"))
        watched.stop = watched.manager.watch(self._hear)
        watched.save("other_plugin.py", plugin("other", "edited"))
        assert watched.reloaded() == ("other",)

    def _hear(self, result: ReloadResult) -> None:
        self._watched.results.put(result)
        assert self.look.wait(PATIENCE)

    def has_looked(self) -> None:
        """Wait until the watch has looked at everything, and told of one plugin."""
        self.look.set()
        self._watched.save("other_plugin.py", plugin("other", "looked"))
        assert self._watched.reloaded() == ("other",)


def test_what_is_reloaded_by_hand_is_not_reloaded_again(watched: Watched) -> None:
    """An edit that a reload has read is none for the watch."""
    busy = Busy(watched)
    watched.save("one_plugin.py", plugin("one", "new"))
    by_hand = watched.manager.reload("one")
    busy.has_looked()
    assert watched.manager.get_plugin("one") is by_hand
    assert watched.words() == ["new", "looked"]


@pytest.mark.parametrize("twice", [False, True])
def test_reloads_by_hand_are_waited_for(
    watched: Watched, monkeypatch: pytest.MonkeyPatch, twice: bool
) -> None:
    """A watch leaves a plugin alone, and follows the others, until all who reload it have ended."""
    held = Gate()

    def reload_and_hold() -> None:
        if twice:
            with pytest.raises(PluginLoadError):
                watched.manager.reload("one")
        held()

    monkeypatch.setattr(builtins, "held", reload_and_hold, raising=False)
    busy = Busy(watched)
    watched.save("one_plugin.py", plugin("one", "new") + HELD)
    reloading = Together(lambda: watched.manager.reload("one"))
    assert held.reached.wait(PATIENCE)
    busy.has_looked()
    held.open.set()
    (by_hand,) = reloading.join()
    watched.save("other_plugin.py", plugin("other", "again"))
    assert watched.reloaded() == ("other",)
    assert watched.manager.get_plugin("one") is by_hand


def test_an_edit_during_a_reload_by_hand_is_not_lost(
    watched: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is edited after a reload has read it is reloaded by the watch."""
    held = Gate()
    monkeypatch.setattr(builtins, "held", held, raising=False)
    busy = Busy(watched)
    watched.save("one_plugin.py", plugin("one", "new") + HELD)
    reloading = Together(lambda: watched.manager.reload("one"))
    assert held.reached.wait(PATIENCE)
    watched.save("one_plugin.py", plugin("one", "newer"))
    held.open.set()
    reloading.join()
    busy.look.set()
    assert watched.reloaded() == ("one",)
    assert watched.words() == ["newer", "edited"]


def test_an_edit_that_a_reload_by_hand_could_not_read_is_not_lost(
    watched: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where a reload fails the watch tries it again."""
    held = Gate()
    busy = Busy(watched)
    watched.save("one_plugin.py", plugin("one", "new") + HELD)
    with pytest.raises(PluginLoadError, match="held"):
        watched.manager.reload("one")
    held.open.set()
    monkeypatch.setattr(builtins, "held", held, raising=False)
    busy.look.set()
    assert watched.reloaded() == ("one",)
    assert watched.words() == ["new", "edited"]


@pytest.mark.parametrize("end", ["unload", "unregister"])
def test_what_is_not_loaded_is_left_alone(watched: Watched, end: str) -> None:
    """An edit reloads nothing that was unloaded or forgotten, and loads nothing."""
    manager = watched.watch(one=plugin("one", "old"), other=plugin("other", "old"))
    getattr(manager, end)("one")
    watched.save("one_plugin.py", plugin("one", "new"))
    watched.save("other_plugin.py", plugin("other", "new"))
    assert watched.reloaded() == ("other",)
    assert manager.get_loaded_plugins() == ["other"]


def test_an_edit_before_the_load_is_not_lost(watched: Watched) -> None:
    """What was edited after its import and loaded then is reloaded at once."""
    manager = watched.watch(one=plugin("one", "old"), other=plugin("other", "old"))
    manager.unload("one")
    watched.save("one_plugin.py", plugin("one", "new"))
    watched.save("other_plugin.py", plugin("other", "new"))
    assert watched.reloaded() == ("other",)
    manager.load("one")
    assert watched.reloaded() == ("one",)
    assert watched.words() == ["new", "new"]


def test_what_waits_for_its_first_event_is_read_then(watched: Watched) -> None:
    """An edit of a plugin that is not imported yet is no reload; the edits after that are."""
    watched.manager = PluginManager(lazy=True)
    watched.watch(one=plugin("one", "old"), other=plugin("other", "old"))
    watched.manager.load("other")
    watched.save("one_plugin.py", plugin("one", "new"))
    watched.save("other_plugin.py", plugin("other", "new"))
    assert watched.reloaded() == ("other",)
    assert not watched.manager.is_loaded("one")
    assert watched.words() == ["new", "new"]
    for name in ("other", "one"):
        for word in ("newer", "newest"):
            watched.save(f"{name}_plugin.py", plugin(name, word))
            assert watched.reloaded() == (name,)
    assert watched.words() == ["newest", "newest"]


def test_an_edit_after_the_import_for_another_plugin_is_not_lost(watched: Watched) -> None:
    """What was imported with another plugin of its file is reloaded once it is loaded."""
    watched.manager = PluginManager(lazy=True)
    two = plugin("one", "1 old") + plugin("two", "2 old").replace("Made", "Second")
    manager = watched.watch(both=two, other=plugin("other", "old"))
    manager.load("other")
    manager.load("one")
    manager.unload("one")
    watched.save("both_plugin.py", two.replace("old", "new"))
    watched.save("other_plugin.py", plugin("other", "new"))
    assert watched.reloaded() == ("other",)
    manager.load("two")
    assert watched.reloaded() == ("two",)
    assert watched.words() == ["2 new", "new"]


def test_a_class_that_the_application_registers_is_followed(
    watched: Watched, write_module: WriteModule
) -> None:
    """The file counts that the class is from, and of a package nothing else."""
    write_module("of_application/__init__.py", "")
    write_module("of_application/helper.py", "")
    greeter = write_module("of_application/greeter.py", plugin("one", "old"))
    from of_application.greeter import Made  # type: ignore[import-not-found]

    watched.manager.register(Made)
    watched.watch(other=plugin("other", "old"))
    write_module("of_application/helper.py", "CHANGED = True")
    watched.save("other_plugin.py", plugin("other", "new"))
    assert watched.reloaded() == ("other",)
    replace(greeter, plugin("one", "new"))
    assert watched.reloaded() == ("one",)
    assert watched.words() == ["new", "new"]


@pytest.mark.parametrize("where", ["of_package.impl", "other_package.impl"])
def test_an_installed_package_is_followed(
    watched: Watched, write_module: WriteModule, where: str
) -> None:
    """An edit of the module with a plugin's class counts, of its own package that of any module."""
    write_module("of_package/__init__.py", f"from {where} import Made")
    words = write_module("of_package/words.py", "WORD = 1")
    write_module("other_package/__init__.py", "")
    impl = write_module(f"{where.replace('.', '/')}.py", plugin("one", "old"))
    metadata = "of_package-1.dist-info/"
    write_module(metadata + "METADATA", "Metadata-Version: 2.1\nName: of_package\nVersion: 1\n")
    write_module(metadata + "entry_points.txt", "[nitro_dispatch.plugins]\none = of_package:Made\n")
    watched.manager.discover_entry_points()
    watched.watch(other=plugin("other", "old"))
    replace(words, "WORD = 2")
    if where == "of_package.impl":
        assert watched.reloaded() == ("one",)
    replace(impl, plugin("one", "new"))
    assert watched.told() == ReloadResult(("one",), (str(impl),))
    assert watched.words() == ["new", "old"]


def test_what_is_forgotten_is_not_kept(watched: Watched) -> None:
    """Of a plugin that was unregistered during a watch no class is left."""
    manager = watched.watch(one=plugin("one", "old"), other=plugin("other", "old"))
    plugin_class = weakref.ref(type(manager.load("one")))
    manager.unregister("one")
    watched.save("other_plugin.py", plugin("other", "new"))
    assert watched.reloaded() == ("other",)
    watched.stop()
    gc.collect()
    assert plugin_class() is None


def test_a_class_that_cannot_be_read_again_is_passed_over(watched: Watched) -> None:
    """A plugin whose class is local to a function is no hindrance."""

    class Local(PluginBase):
        @hook("say")
        def say(self, words: list[str]) -> list[str]:
            return [*words, "local"]

    watched.manager.register(Local)
    watched.watch(one=plugin("one", "old"))
    watched.save("one_plugin.py", plugin("one", "new"))
    assert watched.reloaded() == ("one",)
    assert watched.words() == ["local", "new"]


def test_a_watch_listens_to_no_event(watched: Watched) -> None:
    """Of a watch nothing is to be seen among the events and hooks."""
    manager = watched.watch(one=plugin("one", "old"))
    assert manager.get_events() == ["say"]


# -- the callback


def test_a_callback_that_raises_is_logged(
    watched: Watched, caplog: pytest.LogCaptureFixture
) -> None:
    """Whatever a callback raises, it is told the next change too."""
    watched.watch(one=plugin("one", "old"))
    watched.stop()
    errors = [ValueError("no"), SystemExit(2), KeyboardInterrupt()]
    raised = iter(errors)

    def fail(result: ReloadResult) -> None:
        watched.results.put(result)
        raise next(raised)

    watched.stop = watched.manager.watch(fail)
    for word in ("new", "newer", "newest"):
        watched.save("one_plugin.py", plugin("one", word))
        assert watched.reloaded() == ("one",)
        assert watched.words() == [word]
    watched.stop()
    failures = [each for each in caplog.records if "callback of a watch" in each.getMessage()]
    assert [each.exc_info and each.exc_info[1] for each in failures] == errors


def test_a_callback_is_not_needed(watched: Watched) -> None:
    """Without one plugins are reloaded all the same, and the lifecycle events tell of it."""
    manager = watched.watch(one=plugin("one", "old"))
    watched.stop()
    loaded = threading.Event()
    manager.register_hook("nitro.plugin.loaded", lambda data: loaded.set())
    watched.stop = manager.watch()
    watched.save("one_plugin.py", plugin("one", "new"))
    assert loaded.wait(PATIENCE)
    assert watched.words() == ["new"]


@pytest.mark.parametrize("callback", [3, "print", []])
def test_what_cannot_be_called_is_refused(callback: Any) -> None:
    """A callback that is none is a TypeError that says what to give."""
    with pytest.raises(TypeError, match="callback must be a function or None, not"):
        PluginManager().watch(callback)


# -- the end


def watchers() -> list[threading.Thread]:
    """List the threads that watch."""
    return [each for each in threading.enumerate() if each.name == "nitro-dispatch-watch"]


@pytest.mark.parametrize("run", [lambda stop: stop(), elsewhere], ids=["here", "elsewhere"])
def test_what_is_stopped_has_ended(
    watched: Watched, run: Callable[[Callable[[], None]], object]
) -> None:
    """When `stop` returns, from whichever thread, no thread is left; once more it does nothing."""
    watched.watch(one=plugin("one", "old"))
    assert len(watchers()) == 1
    for _ in range(2):
        run(watched.stop)
        assert watchers() == []


def test_a_callback_may_stop_the_watch(watched: Watched) -> None:
    """What was found at the same look is not reloaded any more, and another watch may begin."""

    def stop(result: ReloadResult) -> None:
        watched.stop()
        watched.stop = watched.manager.watch(watched.results.put)
        watched.results.put(result)

    for name in "ab":
        watched.save(f"{name}_plugin.py", plugin(name, "old"))
    with Held(watched, stop):
        (thread,) = watchers()
        for name in "ab":
            watched.save(f"{name}_plugin.py", plugin(name, "new"))
    assert watched.reloaded() == ("a",)
    thread.join(PATIENCE)
    assert not thread.is_alive()
    assert watched.words() == ["new", "old", "new"]
    watched.save("b_plugin.py", plugin("b", "newer"))
    assert watched.reloaded() == ("b",)


def test_a_manager_ends_its_watch(watched: Watched) -> None:
    """With the manager's context ends its watch, before the shutdown event."""
    left: list[int] = []
    with watched.manager as manager:
        watched.watch(one=plugin("one", "old"))
        manager.register_hook("nitro.app.shutdown", lambda data: left.append(len(watchers())))
        assert len(watchers()) == 1
    assert (left, watchers()) == ([0], [])


def test_a_manager_has_one_watch(watched: Watched) -> None:
    """A second watch is an error that says what to do; after the end of the first it is none."""
    manager = watched.watch(one=plugin("one", "old"))
    with pytest.raises(NitroPluginError, match=r"already: call what the first .* returned"):
        manager.watch()
    watched.stop()
    watched.stop = manager.watch(watched.results.put)
    watched.save("one_plugin.py", plugin("one", "new"))
    assert watched.reloaded() == ("one",)


def test_threads_that_watch_at_once_begin_one_watch(watched: Watched) -> None:
    """Of many threads that ask for a watch one has it, and the others are told of that."""
    manager = watched.watch(one=plugin("one", "old"))
    watched.stop()
    results = Together(*[lambda: manager.watch(watched.results.put)] * THREADS).join()
    (watched.stop,) = (each for each in results if not isinstance(each, NitroPluginError))
    assert len(watchers()) == 1
    watched.save("one_plugin.py", plugin("one", "new"))
    assert watched.reloaded() == ("one",)


def test_a_stuck_reload_does_not_hold_who_stops(watched: Watched) -> None:
    """`stop` returns though an `on_load` is stuck, and what comes of that is not told."""
    stuck = Gate()
    watched.manager.register_hook("stuck", stuck)
    watched.watch(one=plugin("one", "old"))
    (thread,) = watchers()
    waiting = "    def on_load(self): self.trigger('stuck')\n"
    watched.save("one_plugin.py", plugin("one", "new") + waiting)
    assert stuck.reached.wait(PATIENCE)
    watched.stop()
    assert thread.is_alive()
    stuck.open.set()
    thread.join(PATIENCE)
    assert (thread.is_alive(), watched.results.empty()) == (False, True)


PROGRAM = """
import os, sys, threading, warnings
from pathlib import Path
from nitro_dispatch import PluginManager

file = Path("plugins", "one_plugin.py")
file.parent.mkdir()
SOURCE = '''
from nitro_dispatch import PluginBase
class One(PluginBase):
    name = "one"
'''

def save(source):
    beside = file.with_suffix(".tmp")
    beside.write_text(source)
    beside.replace(file)

save(SOURCE)
manager = PluginManager()
manager.discover_plugins("plugins")
manager.load_all()
"""


def test_a_watch_holds_no_exit(run_python: RunPython) -> None:
    """A program that never stops its watch ends as ever, whatever that does just then."""
    run_python(PROGRAM + "manager.watch()", seconds=20)


def test_a_stuck_watch_holds_no_exit(run_python: RunPython) -> None:
    """A program ends also while an `on_load` that the watch calls is stuck for ever."""
    program = """
import builtins
reached, never = threading.Event(), threading.Event()
builtins.stick = lambda: (reached.set(), never.wait())
manager.watch()
save(SOURCE + "    def on_load(self): stick()")
assert reached.wait(30)
print("done")
"""
    assert run_python(PROGRAM + program, seconds=20) == "done\n"


@needs_fork
def test_a_child_has_no_watch(run_python: RunPython) -> None:
    """After a fork the child watches nothing, may stop what it has not, and begin of its own."""
    program = (
        PROGRAM
        + """
results = []
def tell(result):
    # In one piece, for the other process writes too.
    os.write(1, f"{os.getpid() == parent} {result.plugins[0]}\\n".encode())
    results.append(result)
    told.set()

parent, told = os.getpid(), threading.Event()
stop = manager.watch(tell)
save(SOURCE + "# 1")
assert told.wait(30)
told.clear()
warnings.simplefilter("ignore", DeprecationWarning)
child = os.fork()
if not child:
    assert threading.active_count() == 1
    again = manager.watch(tell)
    stop()
    save(SOURCE + "# 2")
    assert told.wait(30)
    again()
    sys.exit(len(results) - 2)
_, status = os.waitpid(child, 0)
assert told.wait(30)
stop()
sys.exit(status)
"""
    )
    assert sorted(run_python(program).splitlines()) == [
        "False one",
        "True one",
        "True one",
    ]


# -- what is in the way


def test_the_library_that_watches_is_an_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where it is not installed an error says how to install it."""
    monkeypatch.setitem(sys.modules, "watchfiles", None)
    manager = PluginManager()
    with pytest.raises(NitroPluginError, match=r'pip install "nitro-dispatch\[watch\]"'):
        manager.watch()


def test_a_watch_without_a_thread_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the system gives no thread an error says so, and the manager's end is as ever."""

    def refuse(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    manager = PluginManager()
    with monkeypatch.context() as patch, manager:
        patch.setattr(threading.Thread, "start", refuse)
        with pytest.raises(NitroPluginError, match=r"no thread .*: can't start new thread"):
            manager.watch()
    manager.watch()()


@pytest.mark.parametrize("error", [OSError("too many watches"), SystemExit(1)])
def test_where_nothing_notifies_changes_are_seen_all_the_same(
    watched: Watched,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    error: BaseException,
) -> None:
    """Where the system refuses to tell of changes that is logged once, and they are looked for."""

    def refuse(*folders: str, **options: object) -> Iterator[Optional[object]]:
        raise error

    monkeypatch.setattr("watchfiles.watch", refuse)
    watched.watch(one=plugin("one", "old"))
    for word in ("new", "newer"):
        watched.save("one_plugin.py", plugin("one", word))
        assert watched.reloaded() == ("one",)
    watched.stop()
    assert caplog.text.count("cannot be watched as they should be") == 1
