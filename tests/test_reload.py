"""Reloading is a transaction: the new takes the place of the old, or nothing happens."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import gc
import importlib
import inspect
import os
import pickle
import subprocess
import sys
import threading
import weakref
from pathlib import Path
from typing import Any

import pytest

from costs import lines_run
from nitro_dispatch import (
    DependencyError,
    PluginBase,
    PluginLoadError,
    PluginManager,
    PluginNotFoundError,
    hook,
)
from nitro_dispatch.records import Registration
from plugin_classes import MakePlugin
from plugin_files import GREETER as PLUGIN
from plugin_files import Folder, WriteModule, discovered_modules


def test_new_code_takes_the_place_of_the_old(folder: Folder) -> None:
    """After a reload the hooks and the instance are those of the new source."""
    manager = folder.load(greeter=PLUGIN)
    old = manager.get_plugin("greeter")
    folder.write("greeter_plugin.py", PLUGIN.replace("old", "new"))
    new = manager.reload("greeter")
    assert new is not old
    assert manager.get_plugin("greeter") is new
    assert manager.trigger("greet", []) == ["new"]


def test_an_edit_of_the_same_size_within_the_same_second_is_seen(folder: Folder) -> None:
    """No stale byte code is used, also where neither the time nor the size of the file changes."""
    manager = folder.load(greeter=PLUGIN)
    file = folder.path / "greeter_plugin.py"
    times = (file.stat().st_atime_ns, file.stat().st_mtime_ns)
    for word in ("new", "two", "six"):
        folder.write("greeter_plugin.py", PLUGIN.replace("old", word))
        os.utime(file, ns=times)
        manager.reload("greeter")
        assert manager.trigger("greet", []) == [word]


def test_a_submodule_of_a_package_is_read_anew(folder: Folder) -> None:
    """A plugin that is a package is reloaded with all of its submodules, stale byte code or not."""
    folder.write("pack_plugin/__init__.py", "from .impl import Pack\n")
    words = folder.write("pack_plugin/words.py", 'WORD = "old"\n')
    folder.write(
        "pack_plugin/impl.py",
        PLUGIN.replace("Greeter", "Pack").replace('"old"', "WORD") + "from .words import WORD\n",
    )
    manager = folder.load()
    assert manager.trigger("greet", []) == ["old"]
    times = (words.stat().st_atime_ns, words.stat().st_mtime_ns)
    words.write_text('WORD = "new"\n')
    os.utime(words, ns=times)
    manager.reload("greeter")
    assert manager.trigger("greet", []) == ["new"]
    assert {name.rpartition(".")[2] for name in discovered_modules()} >= {"impl", "words"}


def test_everything_from_the_same_file_goes_along(folder: Folder) -> None:
    """A reload of one plugin makes all others of its file anew."""
    both = PLUGIN + '\nclass Second(PluginBase):\n    name = "second"\n'
    manager = folder.load(both=both)
    old = manager.get_all_plugins()
    manager.reload("greeter")
    assert all(manager.get_plugin(name) is not plugin for name, plugin in old.items())
    assert list(manager.get_all_plugins()) == list(old)


def test_every_dependent_goes_along(folder: Folder) -> None:
    """A reload makes anew what needs the plugin, directly or not, and nothing else."""
    needs = "\nfrom nitro_dispatch import PluginBase\nclass P(PluginBase):\n    name = {!r}\n"
    manager = folder.load(
        greeter=PLUGIN,
        near=needs.format("near") + '    dependencies = ["greeter"]\n',
        far=needs.format("far") + '    dependencies = ["near"]\n',
        other=needs.format("other"),
    )
    old = manager.get_all_plugins()
    manager.reload("greeter")
    changed = {name for name, plugin in old.items() if manager.get_plugin(name) is not plugin}
    assert changed == {"greeter", "near", "far"}


def test_new_instances_come_before_old_ones_go(folder: Folder) -> None:
    """`on_load` of the new runs before `on_unload` of the old."""
    log: list[str] = []
    source = PLUGIN + (
        "    def on_load(self):\n        self._manager.log.append('load')\n"
        "    def on_unload(self):\n        self._manager.log.append('unload')\n"
    )
    folder.manager.log = log  # type: ignore[attr-defined]
    manager = folder.load(greeter=source)
    manager.reload("greeter")
    assert log == ["load", "load", "unload"]


FAULTS = {
    "syntax": "def f(:",
    "import": "import no_such_module_at_all",
    "exit": "raise SystemExit(3)",
    "init": PLUGIN + "    def __init__(self):\n        raise RuntimeError('no')\n",
    "on_load": PLUGIN + "    def on_load(self):\n        raise RuntimeError('no')\n",
    "exit in on_load": PLUGIN + "    def on_load(self):\n        raise SystemExit(1)\n",
    "metadata": PLUGIN.replace('name = "greeter"', 'name = "greeter"; version = 3'),
    "dependency": PLUGIN.replace('"greeter"', '"greeter"; dependencies = ["nothing"]'),
    "renamed": PLUGIN.replace('"greeter"', '"other"'),
    "class gone": "x = 1",
    "no plugin": "class Greeter: pass",
    "abstract": PLUGIN.replace("(PluginBase)", "(PluginBase, abc.ABC)").replace(
        "    @hook", "    @abc.abstractmethod\n    def more(self): ...\n\n    @hook"
    ),
}
FAULTS["abstract"] = "import abc\n" + FAULTS["abstract"]

REASONS = {
    "renamed": r"_plugin.py\): its name is 'other' now: call it 'greeter' again, or unregister",
    "class gone": r"_plugin.py\): its source defines no plugin class Greeter any more: put it back",
}


@pytest.mark.parametrize("fault", FAULTS)
def test_any_failure_leaves_the_old_one_running(folder: Folder, fault: str) -> None:
    """A reload that fails raises PluginLoadError, and the old plugin runs on as it was."""
    source = PLUGIN + "    state = 0\n"
    manager = folder.load(greeter=source, other=PLUGIN.replace("greeter", "second"))
    old: Any = manager.get_plugin("greeter")
    old.state = 7
    module = sys.modules[type(old).__module__]
    before = discovered_modules()
    folder.write("greeter_plugin.py", FAULTS[fault])
    with pytest.raises(PluginLoadError, match=REASONS.get(fault)) as caught:
        manager.reload("greeter")
    assert caught.value.__cause__ is not None
    assert manager.get_plugin("greeter") is old
    assert (old.enabled, old.state) == (True, 7)
    assert manager.trigger("greet", []) == ["old", "old"]
    assert discovered_modules() == before
    assert sys.modules[type(old).__module__] is module
    folder.write("greeter_plugin.py", source.replace("old", "new"))
    manager.reload("greeter")
    assert manager.trigger("greet", []) == ["new", "old"]


def test_a_finder_that_cannot_be_asked_keeps_nothing_from_being_reloaded(
    folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A finder of the import system that raises when it is to look anew does not stop a reload."""

    class Hostile:
        def find_spec(self, name: str, path: object = None, target: object = None) -> None:
            """Find no module."""

        def invalidate_caches(self) -> None:
            raise RuntimeError("broken finder")

    manager = folder.load(greeter=PLUGIN)
    folder.write("greeter_plugin.py", PLUGIN.replace("old", "new"))
    monkeypatch.setattr(sys, "meta_path", [*sys.meta_path, Hostile()])
    manager.reload("greeter")
    assert manager.trigger("greet", []) == ["new"]


def test_a_file_that_is_gone_is_a_failure(folder: Folder) -> None:
    """A reload of a plugin whose file was deleted leaves the old one running."""
    manager = folder.load(greeter=PLUGIN)
    (folder.path / "greeter_plugin.py").unlink()
    with pytest.raises(PluginLoadError, match=r"greeter_plugin.py\): its source file is gone: put"):
        manager.reload("greeter")
    assert manager.trigger("greet", []) == ["old"]


def test_a_failing_dependent_brings_all_back(folder: Folder) -> None:
    """Where a dependent cannot be made anew, the plugin itself stays the old one too."""
    dependent = PLUGIN.replace('"greeter"', '"user"; dependencies = ["greeter"]')
    manager = folder.load(greeter=PLUGIN, user=dependent)
    old = manager.get_all_plugins()
    folder.write("greeter_plugin.py", PLUGIN.replace("old", "new"))
    folder.write("user_plugin.py", dependent + "    def on_load(self): raise RuntimeError('no')\n")
    with pytest.raises(PluginLoadError, match="no"):
        manager.reload("greeter")
    assert manager.get_all_plugins() == old
    assert manager.trigger("greet", []) == ["old", "old"]


def test_what_had_come_to_life_is_ended_again(folder: Folder) -> None:
    """New instances whose `on_load` has run release what they hold when a later one fails."""
    log: list[str] = []
    folder.manager.log = log  # type: ignore[attr-defined]
    source = PLUGIN + (
        "    def on_load(self):\n        self._manager.log.append('load')\n"
        "    def on_unload(self):\n        self.ended = True\n"
    )
    dependent = PLUGIN.replace('"greeter"', '"user"; dependencies = ["greeter"]')
    manager = folder.load(greeter=source, user=dependent)
    failing = dependent + (
        "    def on_load(self):\n"
        "        self._manager.new = self._manager.get_plugin('greeter')\n"
        "        raise RuntimeError('no')\n"
    )
    folder.write("user_plugin.py", failing)
    with pytest.raises(PluginLoadError):
        manager.reload("greeter")
    new = manager.new  # type: ignore[attr-defined]
    assert new is not manager.get_plugin("greeter")
    assert new.ended
    assert not new.enabled


def test_what_had_come_to_life_ends_with_its_own_modules(
    folder: Folder, write_module: WriteModule
) -> None:
    """What a new instance imports in `on_unload` is new, and nothing of it is left afterwards."""
    write_module("helper_a.py", "ended = []")
    folder.write("cache_plugin/inner.py", "")
    folder.write("cache_plugin/__init__.py", PLUGIN.replace("greeter", "cache"))
    user = PLUGIN.replace("greeter", "user") + "\n    dependencies = ['cache']\n"
    manager = folder.load(user=user)
    ended: list[str] = []
    manager.register_hook("ended", ended.append)
    folder.write("cache_plugin/inner.py", "new = 'new'")
    end = """
    def on_unload(self):
        import helper_a
        from .inner import new
        self.trigger("ended", new)
"""
    folder.write("cache_plugin/__init__.py", PLUGIN.replace("greeter", "cache") + end)
    folder.write(
        "user_plugin.py", user + "    def on_load(self):\n        raise OSError('no disk')"
    )
    with pytest.raises(PluginLoadError, match="no disk"):
        manager.reload("cache")
    assert ended == ["new"]
    assert "helper_a" not in sys.modules
    assert manager.trigger("greet", []) == ["old", "old"]


def test_a_dependency_that_is_no_longer_met_is_an_error(folder: Folder) -> None:
    """New metadata under which the plan has no place for the plugin is a DependencyError."""
    manager = folder.load(greeter=PLUGIN)
    folder.write("greeter_plugin.py", PLUGIN.replace('"greeter"', '"greeter"; dependencies=["x"]'))
    with pytest.raises(DependencyError, match="x"):
        manager.reload("greeter")


def test_a_new_dependency_is_loaded(folder: Folder) -> None:
    """A dependency that the new source adds, and that is registered, is loaded for it."""
    manager = folder.load(greeter=PLUGIN, second=PLUGIN.replace("greeter", "second"))
    manager.unload("second")
    folder.write(
        "greeter_plugin.py", PLUGIN.replace('"greeter"', '"greeter"; dependencies = ["second"]')
    )
    manager.reload("greeter")
    assert manager.is_loaded("second")


def test_until_the_swap_only_the_reloading_thread_sees_the_new(folder: Folder) -> None:
    """`get_plugin` answers the reloading thread with the new instance, another with the old."""
    source = PLUGIN + ("    def on_load(self):\n        self._manager.look(self)\n")
    seen: dict[str, Any] = {}

    def look(plugin: PluginBase) -> None:
        def elsewhere() -> None:
            seen["elsewhere"] = folder.manager.get_plugin("greeter")

        thread = threading.Thread(target=elsewhere)
        thread.start()
        thread.join()
        seen["here"] = folder.manager.get_plugin("greeter")
        seen["events"] = folder.manager.trigger("greet", [])

    folder.manager.look = lambda plugin: None  # type: ignore[attr-defined]
    manager = folder.load(
        greeter=source,
        user=PLUGIN.replace('"greeter"', '"user"; dependencies = ["greeter"]')
        + "    def on_load(self):\n        self._manager.look(self)\n",
    )
    old = manager.get_plugin("greeter")
    folder.manager.look = look  # type: ignore[attr-defined]
    manager.reload("greeter")
    assert seen["here"] is manager.get_plugin("greeter")
    assert seen["elsewhere"] is old
    assert seen["events"] == ["old", "old"]


def test_hooks_keep_their_place_among_ties(folder: Folder) -> None:
    """A reloaded hook stands where the old one stood among hooks of equal priority."""
    manager = folder.load(a=PLUGIN.replace("greeter", "a").replace("old", "a"))
    folder.load(b=PLUGIN.replace("greeter", "b").replace("old", "b"))
    manager.register_hook("greet", lambda data: [*data, "c"])
    manager.reload("a")
    assert manager.trigger("greet", []) == ["a", "b", "c"]


def test_a_disabled_plugin_stays_disabled(folder: Folder) -> None:
    """A reload neither enables nor disables."""
    manager = folder.load(greeter=PLUGIN)
    manager.disable_plugin("greeter")
    new = manager.reload("greeter")
    assert not new.enabled
    assert manager.trigger("greet", []) == []
    manager.enable_plugin("greeter")
    assert manager.trigger("greet", []) == ["old"]


OWN_ENABLED = """state = False
    enabled = property(
        lambda self: self.state, lambda self, value: setattr(self, "state", value)
    )"""


@pytest.mark.parametrize("own", ["enabled = True", OWN_ENABLED])
def test_a_plugin_with_an_enabled_in_its_class_stays_as_it_is(folder: Folder, own: str) -> None:
    """A bool in the class, or an `enabled` of its own, is switched after a reload as before it."""
    source = PLUGIN.replace('name = "greeter"', 'name = "greeter"\n    ' + own)
    manager = folder.load(greeter=source)
    assert manager.reload("greeter").enabled
    assert manager.trigger("greet", []) == ["old"]
    manager.disable_plugin("greeter")
    assert not manager.reload("greeter").enabled
    assert manager.trigger("greet", []) == []
    manager.enable_plugin("greeter")
    assert manager.trigger("greet", []) == ["old"]


def test_a_reload_in_the_middle_of_a_dispatch_skips_no_hook(folder: Folder) -> None:
    """A hook that is yet to come in a dispatch under way runs as the new one."""
    manager = folder.load(greeter=PLUGIN)

    def reload(data: list[str]) -> list[str]:
        folder.write("greeter_plugin.py", PLUGIN.replace("old", "new"))
        manager.reload("greeter")
        return [*data, "reloaded"]

    manager.register_hook("greet", reload, priority=100)
    assert manager.trigger("greet", []) == ["reloaded", "new"]


# How hooks may be declared: the options of the decorator, and whether they are async.
WAYS = {
    "sync": ("", ""),
    "inline": (", blocking=False", ""),
    "timed": (", timeout=20", ""),
    "async": ("", "async "),
    "async timed": (", timeout=20", "async "),
}


def two_hooks(way: str, word: str, *, work: str = "pass", timeout: str = "20") -> str:
    """Write a plugin with two hooks that are neighbours."""
    options, prefix = WAYS[way]
    options = options.replace("20", timeout)
    hooks = "".join(
        f"""
    @hook("greet"{options})
    {prefix}def {name}(self, data):
        {work}
        return [*data, "{word}"]
"""
        for name in ("first", "second")
    )
    return f"""
import threading
from nitro_dispatch import PluginBase, hook

class Greeter(PluginBase):
    name = "greeter"
{hooks}"""


def reload_under_way(folder: Folder, old: str, new: str) -> PluginManager:
    """Load a plugin, and reload another version of it with the next event before its hooks run."""
    manager = folder.load(greeter=old)

    def reload(data: list[str]) -> list[str]:
        folder.write("greeter_plugin.py", new)
        manager.reload("greeter")
        return [*data, "reloaded"]

    manager.register_hook("greet", reload, priority=100)
    return manager


@pytest.mark.parametrize("new", WAYS)
@pytest.mark.parametrize("old", WAYS)
def test_hooks_of_another_kind_run_in_their_own_way(folder: Folder, old: str, new: str) -> None:
    """In an async dispatch under way each hook of the new source runs, whatever its kind."""
    manager = reload_under_way(folder, two_hooks(old, "old"), two_hooks(new, "new"))
    assert asyncio.run(manager.trigger_async("greet", [])) == ["reloaded", "new", "new"]
    assert asyncio.run(manager.trigger_async("greet", [])) == ["reloaded", "new", "new"]


@pytest.mark.parametrize("new", ["async", "async timed"])
@pytest.mark.parametrize("old", ["sync", "inline", "timed"])
@pytest.mark.parametrize("fire", ["trigger", "collect"])
def test_a_hook_that_has_become_async_is_skipped(
    folder: Folder, fire: str, old: str, new: str, caplog: pytest.LogCaptureFixture
) -> None:
    """A sync dispatch under way runs no step of it, and warns of it once."""
    manager = reload_under_way(
        folder, two_hooks(old, "old"), two_hooks(new, "new", work="raise SystemExit")
    )
    getattr(manager, fire)("greet", [])
    warned = [record for record in caplog.records if "Skipping async hook" in record.getMessage()]
    failed = [record for record in caplog.records if "hook failed" in record.getMessage()]
    assert (len(warned), failed) == (2, [])


@pytest.mark.parametrize("old", WAYS)
def test_a_hook_that_has_become_sync_runs_in_a_worker(folder: Folder, old: str) -> None:
    """The event loop is not blocked by it, although the hook whose place it has did not block."""
    new = two_hooks("sync", "new", work="assert threading.current_thread().name != 'MainThread'")
    manager = reload_under_way(folder, two_hooks(old, "old"), new)
    assert asyncio.run(manager.trigger_async("greet", [])) == ["reloaded", "new", "new"]


def test_a_hook_has_the_time_limit_of_the_new_source(folder: Folder) -> None:
    """A longer limit counts in a dispatch under way, for each hook by itself."""
    work = "threading.Event().wait(0.2)"
    old = two_hooks("timed", "old", timeout="0.1")
    manager = reload_under_way(folder, old, two_hooks("timed", "new", work=work))
    assert manager.trigger("greet", []) == ["reloaded", "new", "new"]


def test_a_plugin_that_is_disabled_under_way_stays_so_when_it_is_reloaded(folder: Folder) -> None:
    """Its hooks run neither as the old nor as the new ones, in the dispatch under way too."""
    manager = folder.load(greeter=PLUGIN)

    def disable(data: list[str]) -> list[str]:
        manager.disable_plugin("greeter")
        manager.reload("greeter")
        return [*data, "disabled"]

    manager.register_hook("greet", disable, priority=100)
    assert manager.trigger("greet", []) == ["disabled"]
    assert asyncio.run(manager.trigger_async("greet", [])) == ["disabled"]


def test_a_dispatch_in_another_thread_runs_each_hook_as_old_or_as_new(folder: Folder) -> None:
    """Under constant reloading every dispatch calls the hook exactly once."""
    manager = folder.load(greeter=PLUGIN)
    results: list[list[str]] = []
    done = threading.Event()

    def dispatch() -> None:
        while not done.is_set():
            results.append(manager.trigger("greet", []))

    thread = threading.Thread(target=dispatch)
    thread.start()
    for number in range(30):
        folder.write("greeter_plugin.py", PLUGIN.replace("old", f"n{number:02}"))
        manager.reload("greeter")
    done.set()
    thread.join()
    assert {len(result) for result in results} == {1}


def test_a_hook_that_the_new_source_lacks_is_gone(folder: Folder) -> None:
    """What the new class does not declare is not called any more, in a dispatch under way too."""
    manager = folder.load(greeter=PLUGIN)

    def reload(data: list[str]) -> None:
        folder.write("greeter_plugin.py", PLUGIN.replace('"greet"', '"other"'))
        manager.reload("greeter")

    manager.register_hook("greet", reload, priority=100)
    assert manager.trigger("greet", []) == []
    assert manager.trigger("other", []) == ["old"]


def test_a_class_local_to_a_function_is_made_anew(caplog: pytest.LogCaptureFixture) -> None:
    """A class that its module does not hold gets a new instance, with a warning."""

    class Local(PluginBase):
        name = "local"

        @hook("greet")
        def greet(self, data: Any) -> Any:
            return [*data, id(self)]

    manager = PluginManager()
    manager.register(Local)
    old = manager.load("local")
    new = manager.reload("local")
    assert new is not old
    assert type(new) is Local
    assert manager.trigger("greet", []) == [id(new)]
    assert "cannot be read again" in caplog.text


def test_a_program_is_not_run_again(tmp_path: Path) -> None:
    """A class from `__main__` is made anew without running the program a second time."""
    program = PLUGIN + (
        "from nitro_dispatch import PluginManager\n"
        "print('runs')\n"
        "manager = PluginManager()\n"
        "manager.register(Greeter)\n"
        "old = manager.load('greeter')\n"
        "print(manager.reload('greeter') is not old, manager.trigger('greet', []))\n"
    )
    file = tmp_path / "program.py"
    file.write_text(program)
    run = subprocess.run(
        [sys.executable, file], capture_output=True, text=True, check=True, timeout=60
    )
    assert run.stdout == "runs\nTrue ['old']\n"


def test_a_plugin_that_is_not_loaded_is_loaded(folder: Folder) -> None:
    """A reload of a plugin that is registered only loads it."""
    folder.write("greeter_plugin.py", PLUGIN)
    folder.manager.discover_plugins(folder.path)
    assert folder.manager.reload("greeter") is folder.manager.get_plugin("greeter")


def test_an_unknown_name_is_not_found() -> None:
    """A reload of a name that nobody registered is a PluginNotFoundError."""
    with pytest.raises(PluginNotFoundError, match="nobody"):
        PluginManager().reload("nobody")


def test_a_fault_of_the_old_one_does_not_undo_the_reload(
    folder: Folder, caplog: pytest.LogCaptureFixture
) -> None:
    """What the old plugin's `on_unload` raises is logged, and the new one is in place."""
    manager = folder.load(greeter=PLUGIN + "    def on_unload(self): raise SystemExit(9)\n")
    folder.write("greeter_plugin.py", PLUGIN.replace("old", "new"))
    manager.reload("greeter")
    assert "on_unload of plugin greeter (" in caplog.text
    assert manager.trigger("greet", []) == ["new"]


def test_reloads_leak_nothing(folder: Folder) -> None:
    """After many reloads there is one instance, one module and as many threads as before."""
    manager = folder.load(greeter=PLUGIN)
    threads = threading.active_count()
    count = len(sys.modules)
    old = [weakref.ref(manager.reload("greeter")) for _ in range(50)]
    gc.collect()
    assert sum(reference() is not None for reference in old) == 1
    assert len(sys.modules) == count
    assert threading.active_count() == threads
    assert len(manager.get_events()) == 1


def test_the_source_of_the_new_class_can_be_shown(folder: Folder) -> None:
    """`inspect.getsource` gives the text that runs, not the one before."""
    manager = folder.load(greeter=PLUGIN)
    inspect.getsource(type(manager.load("greeter")))
    folder.write("greeter_plugin.py", PLUGIN.replace("old", "new"))
    assert "new" in inspect.getsource(type(manager.reload("greeter")))


def test_lifecycle_events_tell_of_a_reload(folder: Folder) -> None:
    """A reload tells that the old plugin was unloaded and the new one loaded."""
    manager = folder.load(greeter=PLUGIN)
    told: list[str] = []

    def listen(data: dict[str, str], event: str) -> None:
        told.append(f"{event} {data['plugin_name']}")

    manager.register_hook("nitro.plugin.*", listen)
    manager.reload("greeter")
    assert told == ["nitro.plugin.unloaded greeter", "nitro.plugin.loaded greeter"]


def test_threads_that_reload_at_once_deadlock_nowhere(folder: Folder) -> None:
    """Eight threads that reload two plugins that need each other's file all succeed."""
    dependent = PLUGIN.replace('"greeter"', '"user"; dependencies = ["greeter"]')
    manager = folder.load(greeter=PLUGIN, user=dependent)
    faults: list[BaseException] = []

    def reload(name: str) -> None:
        try:
            for _ in range(5):
                manager.reload(name)
        except BaseException as error:
            faults.append(error)

    threads = [threading.Thread(target=reload, args=(name,)) for name in ["greeter", "user"] * 4]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert faults == []
    assert manager.trigger("greet", []) == ["old", "old"]


CHAIN = """
from nitro_dispatch import PluginBase

for number in range(COUNT):
    needs = [f"p{number - 1}"] if number else []
    body = {"name": f"p{number}", "dependencies": needs, "__module__": __name__}
    globals()[f"P{number}"] = type(f"P{number}", (PluginBase,), body)
"""


def test_a_reload_costs_no_more_for_each_of_many_dependents(folder: Folder) -> None:
    """Twice as long a chain of dependents takes about twice the steps to reload."""
    lines = []
    for count in (200, 400):
        (folder.path / str(count)).mkdir()
        folder.write(f"{count}/chain_plugin.py", CHAIN.replace("COUNT", str(count)))
        manager = PluginManager()
        manager.discover_plugins(folder.path / str(count))
        assert len(manager.load_all()) == count
        lines.append(lines_run(functools.partial(manager.reload, "p0")))
        assert len(manager.get_loaded_plugins()) == count
    assert lines[1] < 2.5 * lines[0]


def test_a_reload_makes_the_class_that_was_registered_since(
    write_module: WriteModule,
) -> None:
    """What was registered over a loaded plugin is what its reload makes, read from its source."""
    write_module("first_words.py", PLUGIN)
    write_module("other_words.py", PLUGIN.replace("old", "other"))
    first = importlib.import_module("first_words")
    manager = PluginManager()
    manager.register(first.Greeter)
    manager.load("greeter")
    manager.register(importlib.import_module("other_words").Greeter)
    assert manager.trigger("greet", []) == ["old"]
    write_module("other_words.py", PLUGIN.replace("old", "newer"))
    manager.reload("greeter")
    assert manager.trigger("greet", []) == ["newer"]
    assert sys.modules["first_words"] is first
    manager.unload("greeter")
    manager.load("greeter")
    assert manager.trigger("greet", []) == ["newer"]


def test_a_class_that_is_registered_during_a_reload_is_for_the_next_load(
    folder: Folder, make_plugin: MakePlugin
) -> None:
    """What the code of the new source registers under its own name is not lost to the swap."""
    manager = folder.load(greeter=PLUGIN)
    newest = make_plugin("greeter", version="3.0")
    manager.register_hook("new", lambda data: manager.register(newest))
    start = "\n    version = '2.0'\n    def on_load(self):\n        self.trigger('new')\n"
    folder.write("greeter_plugin.py", PLUGIN.replace("old", "new") + start)
    heard: list[dict[str, str]] = []
    manager.register_hook(manager.EVENT_PLUGIN_LOADED, heard.append)
    manager.reload("greeter")
    assert manager.trigger("greet", []) == ["new"]
    assert heard == [{"plugin_name": "greeter", "version": "2.0"}]
    manager.unload("greeter")
    assert type(manager.load("greeter")) is newest


def test_reloads_take_their_turns_in_one_order(folder: Folder) -> None:
    """Reloads of the same plugins from two threads wait for each other, in whatever load order."""
    manager = folder.load(
        alpha="from nitro_dispatch import PluginBase\nclass Alpha(PluginBase): name = 'alpha'\n",
        beta=NEEDS_ALPHA.replace("NAME", "beta"),
        gamma=NEEDS_ALPHA.replace("NAME", "gamma"),
    )
    manager.unload("beta")
    manager.load("beta")
    assert manager.get_loaded_plugins() == ["alpha", "gamma", "beta"]
    registrations = {each.name: each for each in manager._catalog}
    taken: list[str] = []
    turns = manager._lifecycle.turns
    whole = turns.taken

    def taking(registration: Registration) -> contextlib.AbstractContextManager[None]:
        taken.append(registration.name)
        return whole(registration)

    turns.taken = taking  # type: ignore[method-assign,assignment]
    manager.reload("alpha")
    assert taken == sorted(taken, key=lambda name: registrations[name].place)
    assert set(taken) == {"alpha", "beta", "gamma"}


NEEDS_ALPHA = """
from nitro_dispatch import PluginBase

class Needing(PluginBase):
    name = "NAME"
    dependencies = ["alpha"]
"""


def test_a_group_that_changed_meanwhile_is_worked_out_anew(folder: Folder) -> None:
    """A dependent that was loaded while the reload waited for its turn goes along."""
    manager = folder.load(
        alpha="from nitro_dispatch import PluginBase\nclass Alpha(PluginBase): name = 'alpha'\n"
    )
    folder.write("beta_plugin.py", NEEDS_ALPHA.replace("NAME", "beta"))
    manager.discover_plugins(folder.path)
    turns = manager._lifecycle.turns
    whole = turns.taken
    late: list[PluginBase] = []

    def taking(registration: Registration) -> contextlib.AbstractContextManager[None]:
        if not late:
            late.append(PluginBase())
            late.append(manager.load("beta"))
        return whole(registration)

    turns.taken = taking  # type: ignore[method-assign,assignment]
    manager.reload("alpha")
    assert manager.get_plugin("beta") is not late[1]


def test_a_reload_that_would_wait_for_itself_says_of_which_plugin(folder: Folder) -> None:
    """A plugin whose `on_load` reloads it gets an error that names it and its origin."""
    manager = PluginManager()
    errors: list[DependencyError] = []

    class Again(PluginBase):
        name = "again"

        def on_load(self) -> None:
            if manager.is_loaded("again"):
                with pytest.raises(DependencyError, match="circular load") as caught:
                    manager.reload("again")
                errors.append(caught.value)

    manager.register(Again)
    manager.load("again")
    manager.reload("again")
    assert [error.plugin for error in errors] == ["again"]


def test_what_a_hook_imports_late_is_read_from_its_source(
    folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No stale byte code is used where a hook imports a submodule only after the reload."""
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    folder.write(
        "pack_plugin/__init__.py",
        PLUGIN.replace("return", "from . import words\n        return").replace(
            '"old"', "words.WORD"
        ),
    )
    words = folder.write("pack_plugin/words.py", 'WORD = "old"\n')
    times = (words.stat().st_atime_ns, words.stat().st_mtime_ns)
    manager = folder.load()
    assert manager.trigger("greet", []) == ["old"]
    words.write_text('WORD = "new"\n')
    os.utime(words, ns=times)
    manager.reload("greeter")
    assert manager.trigger("greet", []) == ["new"]


def test_the_finder_stands_once_among_the_others(folder: Folder) -> None:
    """Loads and reloads leave one finder behind, whoever replaced the list meanwhile."""

    def own() -> list[object]:
        return [each for each in sys.meta_path if type(each).__module__.startswith("nitro_")]

    manager = folder.load(greeter=PLUGIN)
    manager.reload("greeter")
    assert len(own()) == 1
    sys.meta_path.remove(own()[0])  # type: ignore[arg-type]
    manager.reload("greeter")
    assert len(own()) == 1


def test_a_package_of_the_application_is_read_anew_alone(
    write_module: WriteModule,
) -> None:
    """A class that the application registers takes no submodule of its package along."""
    write_module(
        "whole_app/__init__.py",
        "import whole_app.state\nSEEN = whole_app.state.SEEN\n" + PLUGIN,
    )
    write_module("whole_app/state.py", "SEEN = []\n")
    write_module("whole_app/other.py", PLUGIN.replace("greeter", "other"))
    app = importlib.import_module("whole_app")
    other = importlib.import_module("whole_app.other")
    manager = PluginManager()
    manager.register(app.Greeter)
    manager.register(other.Greeter)
    manager.load_all()
    kept = manager.get_plugin("other")
    write_module(
        "whole_app/__init__.py",
        "import whole_app.state\nSEEN = whole_app.state.SEEN\n" + PLUGIN.replace("old", "newer"),
    )
    manager.reload("greeter")
    assert manager.trigger("greet", []) == ["newer", "old"]
    assert manager.get_plugin("other") is kept
    assert sys.modules["whole_app"] is not app
    assert sys.modules["whole_app"].SEEN is app.SEEN
    assert sys.modules["whole_app.other"] is other
    write_module("whole_app/__init__.py", "raise ValueError('broken')\n")
    reloaded = sys.modules["whole_app"]
    with pytest.raises(PluginLoadError, match="broken"):
        manager.reload("greeter")
    assert sys.modules["whole_app"] is reloaded
    assert sys.modules["whole_app.other"] is other


def test_each_manager_reads_anew_for_itself(folder: Folder) -> None:
    """A reload of one manager does not keep another from reading the file again."""
    manager = folder.load(greeter=PLUGIN)
    other = PluginManager()
    other.discover_plugins(folder.path)
    kept = other.load("greeter")
    manager.reload("greeter")
    assert other.get_plugin("greeter") is kept
    folder.write("greeter_plugin.py", PLUGIN.replace("old", "new"))
    other.reload("greeter")
    assert other.trigger("greet", []) == ["new"]
    assert manager.trigger("greet", []) == ["old"]


def test_a_module_stays_until_no_manager_uses_it(folder: Folder) -> None:
    """What one manager unregisters another can go on to use, and what none uses is read anew."""
    manager = folder.load(greeter=PLUGIN)
    other = PluginManager()
    other.discover_plugins(folder.path)
    used = type(other.load("greeter"))
    manager.discover_plugins(folder.path)
    manager.unregister("greeter")
    assert inspect.getmodule(used) is sys.modules[used.__module__]
    assert pickle.loads(pickle.dumps(used)) is used
    other.unregister("greeter")
    assert used.__module__ not in sys.modules
    folder.write("greeter_plugin.py", PLUGIN.replace("old", "new"))
    manager.discover_plugins(folder.path)
    manager.load("greeter")
    assert manager.trigger("greet", []) == ["new"]
