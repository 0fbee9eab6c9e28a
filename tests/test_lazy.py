"""Plugins that are imported when an event that they listen to first fires."""

from __future__ import annotations

import asyncio
import builtins
import contextlib
import functools
import logging
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Callable

import pytest

from nitro_dispatch import HookImpl, PluginManager, PluginNotFoundError
from plugin_classes import MakePlugin

HEAD = "import pathlib\nfrom nitro_dispatch import PluginBase, hook\n"
TRACE = "pathlib.Path(__file__ + '.ran').touch()\n"
GREETER = (
    HEAD
    + TRACE
    + """
class Greeter(PluginBase):
    name = "greeter"
    version = "1.2"

    @hook("greet")
    def greet(self, data):
        return [*data, "greeter"]
"""
)


class Folder:
    """A folder of plugin files, and a lazy manager."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.manager = PluginManager(lazy=True)

    def discover(self, **sources: str) -> PluginManager:
        """Write a file for each source and discover them."""
        for name, source in sources.items():
            (self.path / f"{name}_plugin.py").write_text(source)
        self.manager.discover_plugins(self.path)
        return self.manager

    def arm(self, **sources: str) -> PluginManager:
        """Discover plugins and arm or load all."""
        self.discover(**sources).load_all()
        return self.manager

    def ran(self) -> list[str]:
        """Name the files that were run, in sorted order."""
        return sorted(file.name.partition("_")[0] for file in self.path.glob("*.ran"))


@pytest.fixture
def folder(tmp_path: Path, modules_as_before: None) -> Iterator[Folder]:
    """Make a folder whose plugins are gone when the test is over."""
    made = Folder(tmp_path)
    yield made
    made.manager.unload_all()


def named(name: str, body: str = "", source: str = GREETER) -> str:
    """Make the source of a plugin of another name, with more in its class."""
    return source.replace("greeter", name) + body


def test_discovery_only_describes(folder: Folder) -> None:
    """Discovery, plan, describe and load_all run no file; the names are known all the same."""
    manager = folder.discover(greeter=GREETER)
    assert manager.get_registered_plugins() == ["greeter"]
    assert manager.plan().order == ("greeter",)
    assert [(info.metadata.version, info.events) for info in manager.describe()] == [
        ("1.2", ("greet",))
    ]
    assert manager.load_all() == ["greeter"]
    assert folder.ran() == []


def test_an_armed_plugin_is_not_loaded(folder: Folder) -> None:
    """An armed plugin is in load_all's result, and `is_loaded` is False."""
    manager = folder.discover(greeter=GREETER)
    assert manager.load_all() == ["greeter"]
    assert manager.load_all() == []
    assert not manager.is_loaded("greeter")
    assert manager.get_loaded_plugins() == []
    assert [info.state for info in manager.describe()] == ["armed"]
    assert manager.get_events() == ["greet"]


def test_the_first_matching_event_imports(folder: Folder) -> None:
    """The first event that a plugin listens to imports it, and its hook runs in that dispatch."""
    manager = folder.arm(greeter=GREETER)
    manager.trigger("another", [])
    assert folder.ran() == []
    assert manager.trigger("greet", []) == ["greeter"]
    assert folder.ran() == ["greeter"]
    assert manager.is_loaded("greeter")
    assert manager.trigger("greet", []) == ["greeter"]


def test_dependencies_come_first(folder: Folder) -> None:
    """Waking a plugin loads what it needs before it."""
    user = named("user", "    dependencies = ['base']\n")
    manager = folder.arm(base=named("base").replace("greet", "other"), user=user)
    assert manager.trigger("greet", []) == ["user"]
    assert manager.get_loaded_plugins() == ["base", "user"]


@pytest.mark.parametrize(
    "body",
    [
        "    def __init__(self):\n        super().__init__()\n",
        "    def on_load(self):\n        pass\n",
        "    description = str(1)\n",
        "    @hook('a' + str(1))\n    def more(self, data): ...\n",
    ],
    ids=["init", "on_load", "metadata", "hook"],
)
def test_what_is_not_completely_described_is_loaded(folder: Folder, body: str) -> None:
    """A plugin with code to run, or of which something is unknown, is loaded by load_all."""
    manager = folder.discover(greeter=GREETER + body)
    assert folder.ran() == []
    assert manager.load_all() == ["greeter"]
    assert manager.is_loaded("greeter")


def test_a_base_that_cannot_be_read_keeps_from_arming(folder: Folder) -> None:
    """A class whose base is defined elsewhere may inherit anything, so it is loaded."""
    source = GREETER.replace("(PluginBase)", "(Base)").replace(
        "class", "from collections import abc as _\nBase = type('Base', (PluginBase,), {})\nclass"
    )
    manager = folder.discover(greeter=source)
    assert manager.load_all() == ["greeter"]
    assert manager.is_loaded("greeter")


def test_a_name_that_is_not_a_literal_is_known_after_the_import(folder: Folder) -> None:
    """A plugin whose name must be computed is imported by load_all, and has its real name."""
    source = GREETER.replace('"greeter"\n    version', '"gre" + str(len("et"))\n    version')
    manager = folder.discover(greeter=source)
    assert folder.ran() == []
    (info,) = manager.describe()
    assert info.state == "unknown"
    assert [(each.field, each.line > 0) for each in info.unknown] == [("name", True)]
    assert manager.load_all() == ["gre2"]


def test_what_seems_not_to_be_there_is_imported_all_the_same(
    write_module: Callable[[str, str], Path],
) -> None:
    """A package may make a module as it is imported: then the plugin in it works."""
    making = """
        import sys, types
        from nitro_dispatch import PluginBase
        class Made(PluginBase):
            name = "made"
        inner = sys.modules["maker.inner"] = types.ModuleType("maker.inner")
        inner.__file__ = __file__
        inner.Made = Made
    """
    write_module("maker/__init__.py", making)
    write_module("maker-1.dist-info/METADATA", "Name: maker\nVersion: 1\n")
    write_module(
        "maker-1.dist-info/entry_points.txt",
        "[nitro_dispatch.plugins]\nmade = maker.inner:Made\n",
    )
    manager = PluginManager(lazy=True)
    manager.discover_entry_points()
    assert [
        each.state for each in manager.describe() if each.metadata.origin.distribution == "maker"
    ] == ["failed"]
    assert "made" in manager.load_all()


def test_a_dependency_that_is_not_a_literal_is_known_before_the_order(folder: Folder) -> None:
    """What matters to the plan is imported when there is no other way to know it."""
    a_user = named("a", "    dependencies = [str('b')]\n")
    manager = folder.discover(a=a_user, b=named("b"))
    assert manager.load_all() == ["b", "a"]
    assert manager.get_loaded_plugins() == ["b", "a"]


@pytest.mark.parametrize("call", ["load", "get_plugin"])
def test_to_ask_for_the_plugin_imports_it(folder: Folder, call: str) -> None:
    """`load` and `get_plugin` give the instance of an armed plugin."""
    manager = folder.arm(greeter=GREETER)
    plugin = getattr(manager, call)("greeter")
    assert plugin.name == "greeter"
    assert folder.ran() == ["greeter"]
    assert manager.get_plugin("greeter") is plugin


def test_an_armed_plugin_is_disabled_and_enabled(folder: Folder) -> None:
    """A disabled plugin is not woken; enabled again it is; disabled it stays after a load."""
    manager = folder.arm(greeter=GREETER)
    manager.disable_plugin("greeter")
    assert manager.trigger("greet", []) == []
    assert folder.ran() == []
    plugin = manager.load("greeter")
    assert not plugin.enabled
    assert manager.trigger("greet", []) == []
    manager.enable_plugin("greeter")
    assert manager.trigger("greet", []) == ["greeter"]


def test_an_armed_plugin_is_unloaded(folder: Folder) -> None:
    """An unloaded plugin is not woken, and unloading it once more is an error."""
    manager = folder.arm(greeter=GREETER)
    manager.unload("greeter")
    assert manager.trigger("greet", []) == []
    assert folder.ran() == []
    with pytest.raises(PluginNotFoundError):
        manager.unload("greeter")


def test_unloading_what_an_armed_plugin_needs_disarms_it(folder: Folder) -> None:
    """A dependent that is only armed goes with the plugin that it needs."""
    user = named("user", "    dependencies = ['base']\n")
    manager = folder.arm(base=named("base").replace("greet", "other"), user=user)
    manager.load("base")
    manager.unload("base")
    assert manager.trigger("greet", []) == []


def test_its_place_among_ties_is_fixed_at_arming(folder: Folder) -> None:
    """A plugin that is woken late runs where it was armed among hooks of equal priority."""
    manager = folder.arm(a=named("a"), b=named("b"), c=named("c"))
    manager.load("c")
    manager.load("b")
    assert manager.trigger("greet", []) == ["a", "b", "c"]


def test_the_hooks_of_one_plugin_are_woken_in_one_dispatch(folder: Folder) -> None:
    """Two hooks of a plugin on one event both run in the dispatch that wakes it."""
    second = (
        "    @hook('greet', priority=1)\n    def later(self, data):\n        return [*data, 2]\n"
    )
    manager = folder.arm(greeter=GREETER + second)
    assert manager.trigger("greet", []) == ["greeter", 2]


def test_options_of_a_hook_hold_before_and_after_the_import(folder: Folder) -> None:
    """Priority, event parameter and time limit of a described hook are those of the real one."""
    hook = (
        "    @hook('gr*', priority=90, timeout=5)\n"
        "    def wild(self, data, event):\n        return [*data, event]\n"
    )
    manager = folder.arm(greeter=GREETER + hook)
    before = {hook.name: (hook.priority, hook.timeout) for hook in hooks_of(manager)}
    assert manager.trigger("greet", []) == ["greet", "greeter"]
    assert {hook.name: (hook.priority, hook.timeout) for hook in hooks_of(manager)} == before


def hooks_of(manager: PluginManager) -> list[HookImpl]:
    """List the hooks that listen to the event of these tests."""
    return manager._registry.get_hooks("greet")


@pytest.mark.parametrize("event", ["nitro.plugin.loaded", "nitro.app.startup"])
def test_own_events_wake_only_who_names_them(folder: Folder, event: str) -> None:
    """A wildcard does not wake a plugin for the manager's own events, a literal name does."""
    wild = named("wild").replace('"greet"', '"**"')
    literal = named("literal").replace('"greet"', f'"{event}"')
    manager = folder.arm(wild=wild, literal=literal, third=named("third"))
    manager.load("third")
    if event.endswith("startup"):
        manager.__enter__()
    assert folder.ran() == ["literal", "third"]


def test_a_failing_import_is_a_load_failure_once(
    folder: Folder, caplog: pytest.LogCaptureFixture
) -> None:
    """A plugin that fails when it is woken is reported once, and the dispatch goes on."""
    manager = folder.arm(bad=named("bad") + "\nraise SystemExit(1)\n", good=named("good"))
    assert manager.trigger("greet", []) == ["good"]
    assert manager.failures["bad"].stage == "import"
    assert manager.trigger("greet", []) == ["good"]
    assert len([each for each in caplog.records if each.levelno == logging.ERROR]) == 1
    assert manager.get_plugin("bad") is None


def test_a_failing_dependency_is_a_load_failure_of_both(folder: Folder) -> None:
    """Where a dependency fails, the woken plugin fails because of it, and others go on."""
    user = named("user", "    dependencies = ['base']\n")
    base = named("base").replace("greet", "other") + "\n1 / 0\n"
    manager = folder.arm(base=base, user=user, good=named("good"))
    assert manager.trigger("greet", []) == ["good"]
    assert manager.failures["user"].via == ("user", "base")


@pytest.mark.parametrize("first", ["base", "user"])
def test_a_failing_import_is_tried_once_for_all_that_need_it(folder: Folder, first: str) -> None:
    """What needs a failed plugin, itself or by others, fails with it in the same dispatch."""
    errors: list[str] = []
    priority = '"greet", priority=90'
    base = named("base") + "\n1 / 0\n"
    user = named("user", "    dependencies = ['base']\n")
    last = named("last", "    dependencies = ['user']\n")
    if first == "base":
        base = base.replace('"greet"', priority)
    else:
        user = user.replace('"greet"', priority)
    twin = named("twin", "    dependencies = ['base']\n")
    manager = folder.arm(base=base, user=user, last=last, twin=twin, good=named("good"))
    manager.register_hook("nitro.plugin.error", lambda data: errors.append(data["plugin_name"]))
    for _ in range(2):
        assert manager.trigger("greet", []) == ["good"]
    assert errors[:2] == ["base", "user"]
    assert sorted(errors) == ["base", "last", "twin", "user"]
    assert manager.failures["last"].via == ("last", "user", "base")
    assert {info.state for info in manager.describe()} == {"failed", "loaded"}
    assert manager.get_plugin("user") is None
    assert manager.load_all() == ["base", "user", "last", "twin"]


def test_what_needs_a_plugin_that_fails_at_once_is_not_armed(folder: Folder) -> None:
    """`load_all` names no plugin whose dependency it could not load."""
    base = named("base", "\n    def on_load(self):\n        1 / 0\n")
    user = named("user", "    dependencies = ['base']\n")
    manager = folder.discover(base=base, user=user, good=named("good"))
    assert manager.load_all() == ["good"]
    assert manager.failures["user"].via == ("user", "base")
    assert manager.trigger("greet", []) == ["good"]


def test_arming_forgets_the_last_attempt(folder: Folder) -> None:
    """What could not be loaded for want of a dependency is no failure once that is there."""
    manager = folder.arm(user=named("user", "    dependencies = ['base']\n"))
    assert manager.failures["user"].stage == "resolve"
    folder.arm(base=named("base"))
    assert manager.failures == {}
    assert {info.state for info in manager.describe()} == {"armed"}


def test_async_dispatch_imports_in_a_worker(folder: Folder) -> None:
    """`trigger_async` imports off the event loop's thread, for sync and async hooks."""
    source = GREETER.replace("def greet", "async def greet") + "import threading\n"
    manager = folder.arm(
        greeter=source + "THREAD = threading.current_thread()\n",
        sync=named("sync") + "import threading\nTHREAD = threading.current_thread()\n",
    )
    assert asyncio.run(manager.trigger_async("greet", [])) == ["greeter", "sync"]
    for name in ("greeter", "sync"):
        module: Any = sys.modules[type(manager.load(name)).__module__]
        assert module.THREAD is not threading.current_thread()


def test_sync_dispatch_does_not_wake_for_an_async_hook(folder: Folder) -> None:
    """An async hook is skipped in `trigger`, so its plugin is not imported for it."""
    manager = folder.arm(greeter=GREETER.replace("def greet", "async def greet"))
    assert manager.trigger("greet", []) == []
    assert folder.ran() == []


def test_collect_and_first_wake_too(folder: Folder) -> None:
    """`collect`, `first` and `collect_async` import what they call, and name the real plugin."""
    manager = folder.arm(a=named("a"))
    assert [(each.plugin, each.value) for each in manager.collect("greet", [])] == [("a", ["a"])]
    folder.arm(b=named("b").replace('"greet"', '"x"'))
    assert manager.first("x", []) == ["b"]
    folder.arm(c=named("c").replace('"greet"', '"y"'))
    answers = asyncio.run(manager.collect_async("y", []))
    assert [(each.plugin, each.hook, each.value) for each in answers] == [("c", "greet", ["c"])]


def test_a_difference_between_source_and_class_is_a_warning(
    folder: Folder, caplog: pytest.LogCaptureFixture
) -> None:
    """After the import the real class is compared with what was read; both values are named."""
    change = "\nfor value in ['9.9']:\n    globals()['Greeter'].version = value\n"
    manager = folder.arm(greeter=GREETER + change)
    manager.trigger("greet", [])
    assert "'9.9'" in caplog.text
    assert "'1.2'" in caplog.text


def test_no_difference_is_no_warning(folder: Folder, caplog: pytest.LogCaptureFixture) -> None:
    """Where the class is what was read, nothing is logged."""
    manager = folder.arm(greeter=GREETER + "    dependencies = []\n")
    manager.trigger("greet", [])
    assert caplog.records == []


def test_threads_that_wake_at_once_import_once(folder: Folder) -> None:
    """Eight threads that fire the first event together each get the hook's result."""
    counted = "import builtins\nbuiltins.imports = getattr(builtins, 'imports', 0) + 1\n"
    manager = folder.arm(greeter=counted + GREETER)
    barrier = threading.Barrier(8)
    results: list[list[str]] = []

    def fire() -> None:
        barrier.wait()
        results.append(manager.trigger("greet", []))

    threads = [threading.Thread(target=fire) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    import builtins

    assert results == [["greeter"]] * 8
    assert builtins.__dict__.pop("imports") == 1


def test_a_described_hook_can_be_called_by_its_record(folder: Folder) -> None:
    """The callback of a record works as the real one does, and imports the plugin."""
    manager = folder.arm(greeter=GREETER)
    (record,) = manager._registry.get_hooks("greet")
    assert record["plugin_name"] == "greeter"
    assert record["callback"]([]) == ["greeter"]


def test_a_broken_file_is_a_value(folder: Folder) -> None:
    """A file that is no Python is in `failures`, and hides no other."""
    manager = folder.discover(bad="def f(:\n", good=named("good"))
    assert manager.get_registered_plugins() == ["good"]
    (failure,) = manager.failures.values()
    assert (failure.name, failure.stage) == ("", "describe")
    assert failure.origin.endswith("bad_plugin.py")


DYNAMIC = GREETER.replace('"greeter"', 'str("greeter")', 1)


def test_discovering_again_adds_no_unknown_plugin(folder: Folder) -> None:
    """What an import has shown to be a plugin is not unknown when it is found again."""
    manager = folder.arm(greeter=DYNAMIC)
    for _ in range(3):
        manager.discover_plugins(folder.path)
    assert [info.state for info in manager.describe()] == ["loaded"]


def test_discovering_again_keeps_what_is_unknown_once(folder: Folder) -> None:
    """Each class that only an import can name is unknown once, however often it is found."""
    classes = "\nclass Other(PluginBase):\n    name = str('other')\n"
    manager = folder.discover(greeter=DYNAMIC + classes, literal=named("literal"))
    folder.manager.discover_plugins(folder.path)
    states = [info.state for info in manager.describe()]
    assert states == ["registered", "unknown", "unknown"]
    assert sorted(manager.load_all()) == ["greeter", "literal", "other"]


def test_a_class_without_a_literal_name_is_found_beside_one_that_has_it(folder: Folder) -> None:
    """That one class of a file is registered does not hide another that could not be read."""
    classes = "\nclass Other(PluginBase):\n    name = str('other')\n"
    manager = folder.arm(greeter=GREETER + classes)
    assert manager.get_registered_plugins() == ["greeter", "other"]


def test_reload_finds_a_name_that_only_an_import_can_tell(folder: Folder) -> None:
    """`reload` of a plugin that is not loaded loads it, as `load` does, whatever its name is."""
    manager = folder.discover(greeter=DYNAMIC)
    assert manager.reload("greeter").name == "greeter"
    with pytest.raises(PluginNotFoundError):
        manager.reload("nobody")


def test_a_mended_import_is_read_anew(folder: Folder) -> None:
    """A plugin whose import failed is described by its file as it is when it is found again."""
    manager = folder.arm(bad=named("bad") + "\n1 / 0\n")
    manager.trigger("greet", [])
    assert manager.failures["bad"].stage == "import"
    folder.discover(bad=named("bad", source=GREETER.replace("1.2", "1.3")))
    assert manager.failures == {}
    assert [info.metadata.version for info in manager.describe()] == ["1.3"]
    assert manager.load_all() == ["bad"]
    assert manager.trigger("greet", []) == ["bad"]


def test_a_package_that_is_described_in_part_is_no_conflict_with_itself(folder: Folder) -> None:
    """The class of a submodule is found once, though its package is imported for another class."""
    package = folder.path / "greeters_plugin"
    package.mkdir()
    (package / "inner.py").write_text(GREETER)
    # Its name and its base are open: only an import can tell whether it is a plugin.
    other = (
        HEAD
        + "class Other(pathlib and PluginBase):\n    @hook('greet')\n    def other(self, data): ..."
    )
    (package / "__init__.py").write_text("from .inner import Greeter\n" + other)
    manager = folder.discover()
    assert manager.load_all() == ["greeter", "Other"]
    assert manager.failures == {}


def test_a_class_that_is_registered_during_the_import_is_for_the_next_load(
    folder: Folder, make_plugin: MakePlugin
) -> None:
    """What is registered under the name of a plugin that is just imported is not lost to it."""
    newest = make_plugin("greeter")
    manager = folder.arm(greeter=GREETER + "\nimport builtins\nbuiltins.during_import()\n")
    with pytest.MonkeyPatch.context() as patch:
        register = functools.partial(manager.register, newest)
        patch.setattr(builtins, "during_import", register, raising=False)
        assert manager.trigger("greet", []) == ["greeter"]
    manager.unload("greeter")
    assert type(manager.load("greeter")) is newest


@contextlib.contextmanager
def another_thread_during_import(call: Callable[[], None]) -> Iterator[None]:
    """Let another thread make a call while a file is imported that runs `during_import`."""
    other = threading.Thread(target=call)

    def during_import() -> None:
        other.start()
        other.join(0.2)  # It waits for the import, and does not end before.

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(builtins, "during_import", during_import, raising=False)
        yield
        other.join()


def test_a_thread_waits_for_the_import_that_tells_of_a_plugin(folder: Folder) -> None:
    """What only an import can tell is found by each thread that asks while another imports it."""
    # The name and the base are open.
    source = HEAD + "import builtins\nbuiltins.during_import()\nclass Open(pathlib and PluginBase):"
    manager = folder.discover(open=source + "\n    @hook('greet')\n    def greet(self, data): ...")
    found: list[object] = []
    with another_thread_during_import(lambda: found.append(manager.load("Open"))):
        first = manager.load("Open")
    assert found == [first]


def test_a_failing_import_is_tried_once_by_threads_that_wait_for_it(folder: Folder) -> None:
    """A dispatch that waits while another thread imports a plugin in vain goes on without it."""
    source = GREETER + "\nimport builtins\nbuiltins.during_import()\nraise OSError('no disk')"
    manager = folder.arm(greeter=source)
    failures: list[object] = []
    manager.register_hook(manager.EVENT_PLUGIN_ERROR, failures.append)
    greeted: list[object] = []

    def greet() -> None:
        greeted.append(manager.trigger("greet", []))

    with another_thread_during_import(greet):
        greet()
    assert greeted == [[], []]
    assert len(failures) == 1


def test_threads_that_arm_at_once_leave_no_hook_behind(folder: Folder) -> None:
    """A plugin is armed once, however many threads load all, and nothing is left of it then."""
    sources = {f"greeter{number}": named(f"greeter{number}") for number in range(20)}
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        manager = folder.discover(**sources)
        for _ in range(20):
            begin = threading.Barrier(4)

            def run(begin: threading.Barrier = begin) -> None:
                begin.wait()
                manager.load_all()

            threads = [threading.Thread(target=run) for _ in range(4)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            manager.unload_all()
            assert manager.get_events() == []
    finally:
        sys.setswitchinterval(interval)
