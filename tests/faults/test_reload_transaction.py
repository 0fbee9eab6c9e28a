"""Whatever fails, wherever in a group of plugins: a reload happens as a whole, or not at all."""

from __future__ import annotations

import asyncio
import builtins
import contextlib
import gc
import importlib
import linecache
import pickle
import shutil
import sys
import threading
import types
import weakref
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Callable, Optional

import pytest

from concurrency import PATIENCE, Gate, Together, elsewhere
from nitro_dispatch import DependencyError, PluginBase, PluginLoadError, PluginManager
from plugin_classes import MakePlugin
from plugin_files import GREETER, Folder, WriteModule
from programs import RunPython

# -- a group: two plugins of one file, a package that needs one of them, and one that needs that

HEAD = "from nitro_dispatch import PluginBase, hook\n"
CLASS = """
class {title}(PluginBase):
    name = "{name}"
    version = "1.0"
    dependencies = [{needs}]

    def __init__(self):
        self.heard = []

    def on_load(self):
        self.register_hook("greet", self.again, priority=10)

    def dump_state(self):
        return self.heard

    def restore_state(self, state):
        self.heard = state

    @hook("greet")
    def greet(self, data):
        self.heard.append("old")
        return [*data, "{name} old"]

    @hook("gre*", timeout=20)
    async def greet_async(self, data):
        return [*data, "{name} old async"]

    def again(self, data):
        return [*data, "{name} old again"]
"""
NEEDS = {"left": "", "right": "", "pack": '"left"', "far": '"pack"', "other": ""}
FILES = {
    "pair_plugin.py": ["left", "right"],
    "pack_plugin/impl.py": ["pack"],
    "far_plugin.py": ["far"],
    "other_plugin.py": ["other"],
}
# What goes along when the first is reloaded, in the order of loading.
GROUP = ("left", "right", "pack", "far")


def file_of(name: str) -> str:
    """Tell in which file a plugin is."""
    return next(file for file, names in FILES.items() if name in names)


class Group(Folder):
    """The folder of the group."""

    def write_all(self, word: str, head: str = HEAD) -> None:
        """Write all files in one version."""
        parts = f"from . import {word}\nfrom .impl import Pack\n"
        self.write("pack_plugin/__init__.py", head + parts)
        # Of the new version, something from outside holds a class: that is no reason to keep it.
        kept = "import outside\nclass Kept: pass\noutside.kept = Kept\n"
        self.write(f"pack_plugin/{word}.py", kept if word == "new" else "")
        for file, names in FILES.items():
            classes = [
                CLASS.format(name=name, title=name.title(), needs=NEEDS[name]) for name in names
            ]
            self.write(file, head + "".join(classes).replace("old", word))

    def change(self, name: str, old: str, new: str) -> None:
        """Replace a text in the class of a plugin; after an empty one, at the end of its file."""
        file = self.path / file_of(name)
        before, start, source = file.read_text().partition(f"class {name.title()}(")
        source, end, after = source.partition("\nclass ")
        if old:
            assert old in start + source
            changed = (start + source).replace(old, new, 1)
        else:
            changed, after = start + source, after + "\n" + new
        file.write_text(before + changed + end + after)

    def dumps_nothing(self, name: str, error: BaseException) -> None:
        """Let the old instance of a plugin raise when it is asked for its state."""

        def dump_state() -> object:
            raise error

        plugin: Any = self.manager.get_plugin(name)
        plugin.dump_state = dump_state


@pytest.fixture
def group(folder: Folder, write_module: WriteModule) -> Group:
    """Load the group, disable one, and have a new version of all in the files."""
    made = Group(folder.path)
    folder.manager = made.manager
    write_module("only_new.py", "")
    write_module("outside.py", "")
    importlib.import_module("outside")
    made.write_all("old")
    made.load()
    assert made.manager.get_loaded_plugins() == ["left", "pack", "far", "other", "right"]
    made.manager.disable_plugin("right")
    made.write_all("new", HEAD + "import only_new\n")
    return made


def answers(manager: PluginManager) -> list[object]:
    """List what each way to fire an event gives."""
    return [
        manager.trigger("greet", []),
        manager.collect("greet", []),
        manager.first("greet", []),
        *asyncio.run(answers_async(manager)),
    ]


async def answers_async(manager: PluginManager) -> list[object]:
    """List what each way to fire an event from async code gives."""
    return [await manager.trigger_async("greet", []), await manager.collect_async("greet", [])]


class Snapshot:
    """All that can be seen of a manager and its plugins, and the modules that there are."""

    def __init__(self, manager: PluginManager, folder: Path) -> None:
        plugins: dict[str, Any] = manager.get_all_plugins()
        self.plugins = list(plugins.items())
        self.answers = answers(manager)
        self.heard = [list(plugin.heard) for plugin in plugins.values()]
        self.attributes = [dict(vars(plugin)) for plugin in plugins.values()]
        self.enabled = [plugin.enabled for plugin in plugins.values()]
        self.events = manager.get_events()
        self.known = (manager.describe(), manager.plan().order, manager.failures)
        # The library and the interpreter may import modules of their own at any time.
        self.modules = {
            name: module
            for name, module in sys.modules.items()
            if str(getattr(module, "__file__", "")).startswith(str(folder))
        }
        package = sys.modules["nitro_dispatch._discovered"]
        holders = {"": package, **self.modules}
        self.held = {
            (name, attribute): value
            for name, holder in holders.items()
            for attribute, value in vars(holder).items()
            if isinstance(value, types.ModuleType)
        }

    def assert_unchanged(self, manager: PluginManager, folder: Path) -> None:
        """See that nothing is different now, but what the events changed that asked for it."""
        heard = [list(plugin.heard) for _, plugin in self.plugins]
        assert heard == self.heard
        now = Snapshot(manager, folder)
        assert all(one is other for (_, one), (_, other) in zip(now.plugins, self.plugins))
        for each in vars(self):
            if each != "heard":
                assert getattr(now, each) == getattr(self, each), each


@contextlib.contextmanager
def nothing_changes(group: Group) -> Iterator[None]:
    """See that the block changes nothing, and that a reload of mended files then changes all."""
    manager = group.manager
    told: list[dict[str, str]] = []
    manager.register_hook("nitro.*.*", told.append)
    before = Snapshot(manager, group.path)
    old: dict[str, Any] = manager.get_all_plugins()
    yield
    before.assert_unchanged(manager, group.path)
    assert told == []
    for plugin in old.values():
        vars(plugin).pop("dump_state", None)
    group.write_all("new")
    manager.reload("left")
    new: dict[str, Any] = manager.get_all_plugins()
    assert all((new[name] is not old[name]) == (name in GROUP) for name in new)
    assert [new[name].heard for name in GROUP] == [old[name].heard for name in GROUP]
    assert manager.trigger("greet", []) == [
        text if "other" in text else text.replace("old", "new")
        for text in before.answers[0]  # type: ignore[attr-defined]
    ]


# The text of a class to replace, and by what. An empty one stands for the end of the file.
FAULTS = {
    "syntax": ("", "def f(:"),
    "null byte": ("", "\0"),
    "import": ("", "import no_such_module"),
    "error": ("", "raise ValueError('no')"),
    "exit": ("", "raise SystemExit(3)"),
    "hook": ('@hook("greet")', '@hook("greet", priority="high")'),
    "metadata": ('version = "1.0"', "version = 3"),
    "missing": ("dependencies = [", 'dependencies = ["nothing", '),
    "too old": ("dependencies = [", 'dependencies = ["other>=2", '),
    "conflict": ("dependencies", 'conflicts = ["other"]\n    dependencies'),
    "python": ("dependencies", 'requires_python = "<3"\n    dependencies'),
    "init": ("self.heard = []", "raise ValueError('no')"),
    "init exits": ("self.heard = []", "raise SystemExit"),
    "on_load": ("priority=10)", "priority=10)\n        raise ValueError('no')"),
    "on_load exits": ("priority=10)", "priority=10)\n        raise SystemExit"),
    "restore": ("self.heard = state", "raise ValueError('no')"),
    "restore exits": ("self.heard = state", "raise SystemExit"),
    "class gone": ("class", "no_"),
    "renamed": ('name = "', 'name = "other_'),
    "no plugin": ("(PluginBase)", "(object)"),
}
FAULTS["class gone"] = ("(PluginBase):", "Renamed(PluginBase):")


# What is wrong at the end of a file has one place in it.
CASES = [
    (fault, place) for fault in FAULTS for place in GROUP if FAULTS[fault][0] or place != "left"
]


@pytest.mark.parametrize(("fault", "place"), CASES)
def test_any_fault_in_any_place_leaves_all_as_it_was(group: Group, fault: str, place: str) -> None:
    """The error names the plugin at fault, and nothing of any new version is left."""
    old, new = FAULTS[fault]
    with nothing_changes(group):
        group.change(place, old, new)
        with pytest.raises(PluginLoadError) as caught:
            group.manager.reload("left")
        assert caught.value.__cause__ is not None
        # What is wrong with a file is wrong with the first plugin that is read from it.
        is_of_file = old in ("", '@hook("greet")')
        assert caught.value.plugin == (FILES[file_of(place)][0] if is_of_file else place)
        del caught


@pytest.mark.parametrize("place", GROUP)
def test_an_old_one_that_cannot_dump_leaves_all_as_it_was(group: Group, place: str) -> None:
    """A failing `dump_state` in any place ends the reload with an error that names it."""
    group.dumps_nothing(place, ValueError("no"))
    with nothing_changes(group):
        with pytest.raises(
            PluginLoadError, match=f"'{place}' .* in dump_state: ValueError: no"
        ) as caught:
            group.manager.reload("left")
        assert caught.value.plugin == place
        del caught


@pytest.mark.parametrize("gone", ["pair_plugin.py", "pack_plugin", "pack_plugin/impl.py"])
def test_a_file_that_is_gone_leaves_all_as_it_was(group: Group, gone: str) -> None:
    """A file, a package or a module of one that is not there any more is a failure."""
    with nothing_changes(group):
        path = group.path / gone
        shutil.rmtree(path) if path.is_dir() else path.unlink()
        with pytest.raises(PluginLoadError, match="left" if "pair" in gone else "pack"):
            group.manager.reload("left")


INTERRUPTED = [FAULTS[each] for each in ("error", "init", "on_load", "restore")]


@pytest.mark.parametrize("place", GROUP)
@pytest.mark.parametrize("fault", INTERRUPTED, ids=["import", "init", "on_load", "restore"])
def test_an_interrupt_passes_and_leaves_all_as_it_was(
    group: Group, fault: tuple[str, str], place: str
) -> None:
    """`KeyboardInterrupt` reaches the caller from any place, and nothing of the new is left."""
    with nothing_changes(group):
        group.change(place, fault[0], fault[1].replace("ValueError('no')", "KeyboardInterrupt"))
        with pytest.raises(KeyboardInterrupt):
            group.manager.reload("left")


def test_a_new_need_within_the_group_changes_the_order(group: Group) -> None:
    """What the new version needs is made anew before it, and ends after it, though loaded later."""
    more = "priority=10)\n        self.needed = self.get_plugin('right')"
    end = "def on_unload(self):\n        self.trigger('ends', self.name)\n\n    def on_load"
    group.change("left", "dependencies = [", 'dependencies = ["right"')
    group.change("left", "priority=10)", more)
    for name in GROUP:
        group.change(name, "def on_load", end)
    left: Any = group.manager.reload("left")
    assert left.needed is group.manager.get_plugin("right")
    assert type(left.needed) is sys.modules[type(left).__module__].Right
    ended: list[str] = []
    group.manager.register_hook("ends", ended.append)
    group.manager.reload("left")
    assert ended == ["far", "pack", "left", "right"]


def test_what_was_loaded_for_a_new_version_that_failed_stays(group: Group) -> None:
    """A dependency that the new version needs, and that could be loaded, is nobody's fault."""
    group.write("extra_plugin.py", GREETER.replace("greeter", "extra").replace("old", "extra old"))
    manager = group.manager
    manager.discover_plugins(group.path)
    before = manager.get_loaded_plugins()
    group.change("left", "dependencies = [", 'dependencies = ["extra"')
    group.change("far", "priority=10)", "priority=10)\n        raise OSError('no disk')")
    with pytest.raises(PluginLoadError, match=r"'far' .*no disk"):
        manager.reload("left")
    assert manager.get_loaded_plugins() == [*before, "extra"]
    extra = type(manager.get_plugin("extra"))
    assert sys.modules[extra.__module__].Greeter is extra
    answers = manager.trigger("greet", [])
    assert "extra old" in answers
    assert not [text for text in answers if "new" in text]


@pytest.mark.parametrize("by", ["the reload", "a listener"])
def test_what_is_loaded_meanwhile_and_needs_one_of_the_group_goes_along(
    group: Group, by: str
) -> None:
    """A dependent that is loaded while the new version starts has the new instance in the end."""
    more = GREETER.replace("greeter", "late").replace("old", "late old")
    start = """
    dependencies = ["left"]

    def on_load(self):
        self.needed = self.get_plugin("left")
"""
    group.write("late_plugin.py", more + start)
    manager = group.manager
    manager.discover_plugins(group.path)
    if by == "the reload":
        group.change("right", "dependencies = [", 'dependencies = ["late"')
    else:
        group.change("far", "priority=10)", "priority=10)\n        self.trigger('far starts')")
        manager.register_hook("far starts", lambda data: elsewhere(lambda: manager.load("late")))
    manager.reload("left")
    late: Any = manager.get_plugin("late")
    assert late.needed is manager.get_plugin("left")
    assert manager.trigger("greet", []).count("late old") == 1
    left = [text for text in manager.trigger("greet", []) if "left" in text]
    assert left == ["left new", "left new again"]


@pytest.fixture
def reload_while(group: Group) -> Callable[[Callable[[str], object]], Any]:
    """Make what reloads a group that needs one more now, to which something happens meanwhile."""
    manager = group.manager
    group.write("extra_plugin.py", GREETER.replace("greeter", "extra").replace("old", "extra"))
    manager.discover_plugins(group.path)
    manager.load("extra")
    more = "priority=10)\n        self.extra = self.get_plugin('extra')"
    group.change("left", "dependencies = [", 'dependencies = ["extra"')
    group.change("left", "priority=10)", more)
    group.change("far", "priority=10)", "priority=10)\n        self.trigger('far starts')")

    def reload_while(act: Callable[[str], object]) -> Any:
        acts = [act]
        manager.register_hook(
            "far starts", lambda data: acts and elsewhere(lambda: acts.pop()("extra"))
        )
        return manager.reload("left")

    return reload_while


def test_what_only_the_new_version_needs_is_not_unloaded_meanwhile(
    group: Group, reload_while: Callable[[Callable[[str], object]], Any]
) -> None:
    """Where another thread unloads what the old version could do without, the old one stays."""
    before = group.manager.get_plugin("left")
    with pytest.raises(DependencyError, match=r"'left' .*needs 'extra', which was unloaded"):
        reload_while(group.manager.unload)
    assert group.manager.get_plugin("left") is before
    assert group.manager.get_loaded_plugins() == ["left", "pack", "far", "other", "right"]


def test_what_only_the_new_version_needs_is_had_as_it_is_in_the_end(
    group: Group, reload_while: Callable[[Callable[[str], object]], Any]
) -> None:
    """Where another thread reloads what the old version could do without, the new has the new."""
    left = reload_while(group.manager.reload)
    assert left.extra is group.manager.get_plugin("extra")


class Loading:
    """A manager with a plugin that does something when it has found what it needs."""

    def __init__(self, do: Callable[[Loading], object], needs: str = "needed") -> None:
        self.found: list[object] = []
        self.ended: list[object] = []
        self.manager = PluginManager()
        seen = self

        class Needed(PluginBase):
            name = "needed"

        class User(PluginBase):
            name = "user"
            dependencies = (needs,)

            def on_load(self) -> None:
                self.needed = self.get_plugin("needed")
                seen.found.append(self.needed)
                do(seen)

            def on_unload(self) -> None:
                seen.ended.append(self.needed)

        for each in (Needed, User):
            self.manager.register(each)

    def reload(self) -> None:
        """Reload what is needed in another thread, which does not wait for the load."""
        elsewhere(lambda: self.manager.reload("needed"))

    def load_again(self) -> None:
        """Unload what is needed, and load it, in another thread."""
        elsewhere(lambda: self.manager.unload("needed"))
        elsewhere(lambda: self.manager.load("needed"))


@pytest.mark.parametrize("renew", [Loading.reload, Loading.load_again])
def test_what_is_loading_while_its_dependency_is_renewed_has_the_new_one(
    renew: Callable[[Loading], None],
) -> None:
    """No reload waits for a slow `on_load`, which begins once more with the new instance."""
    loading = Loading(lambda loading: renew(loading) if len(loading.found) < 3 else None)
    user: Any = loading.manager.load("user")
    assert user.needed is loading.manager.get_plugin("needed")
    assert loading.ended == loading.found[:2]
    assert loading.manager.failures == {}


def test_what_fails_because_its_dependency_is_reloaded_is_tried_again() -> None:
    """An `on_load` that trips over an instance which has ended has another try."""

    def fail_once(loading: Loading) -> None:
        if len(loading.found) == 1:
            loading.reload()
            raise RuntimeError("what it needs has ended")

    loading = Loading(fail_once)
    user: Any = loading.manager.load("user")
    assert user.needed is loading.manager.get_plugin("needed")
    assert loading.ended == []
    assert loading.manager.failures == {}


def test_what_was_switched_off_before_its_import_stays_off_when_that_is_outdated(
    folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A plugin that is imported while its dependency is reloaded is on or off as it was."""

    def reload_once() -> None:
        monkeypatch.setattr(builtins, "while_imported", lambda: None)
        elsewhere(lambda: manager.reload("needed"))

    monkeypatch.setattr(builtins, "while_imported", reload_once, raising=False)
    folder.write("needed_plugin.py", GREETER.replace("greeter", "needed"))
    user = GREETER.replace('"greeter"', '"user"\n    dependencies = ["needed"]')
    folder.write("user_plugin.py", user.replace("old", "user") + "\nwhile_imported()\n")
    manager = folder.manager = PluginManager(lazy=True)
    folder.load()
    manager.load("needed")
    manager.disable_plugin("user")
    manager.load("user")
    assert manager.trigger("greet", []) == ["old"]
    manager.enable_plugin("user")
    assert manager.trigger("greet", []) == ["old", "user"]


def test_an_on_load_that_has_its_dependency_reloaded_each_time_fails() -> None:
    """A load ends though every attempt at it is outdated by a reload."""
    loading = Loading(Loading.reload)
    with pytest.raises(DependencyError, match="needs 'needed', which is loaded anew"):
        loading.manager.load("user")
    assert loading.ended == loading.found
    assert loading.manager.get_loaded_plugins() == ["needed"]


def test_what_is_loading_while_its_dependency_becomes_too_new_fails() -> None:
    """A load that is begun once more is held against the versions that are there by then."""

    def renew(loading: Loading) -> None:
        loading.manager.register(type("Needed", (PluginBase,), {"name": "needed", "version": "2"}))
        loading.reload()

    loading = Loading(renew, needs="needed<2")
    with pytest.raises(DependencyError, match="user needs needed<2, but version 2 is there"):
        loading.manager.load("user")
    assert len(loading.ended) == 1
    assert loading.manager.get_loaded_plugins() == ["needed"]


def test_a_reload_that_overtakes_itself_fails(make_plugin: MakePlugin) -> None:
    """A new version that loads and unloads what needs it is given up, and the old runs on."""
    manager = PluginManager()

    class Again(PluginBase):
        name = "again"

        def on_load(self) -> None:
            manager.load("user")

        def on_unload(self) -> None:
            if manager.is_loaded("user"):
                manager.unload("user")

    manager.register(make_plugin("again"))
    manager.register(make_plugin("user", "again"))
    old = manager.load("again")
    manager.register(Again)
    with pytest.raises(DependencyError, match="again and again"):
        manager.reload("again")
    assert manager.get_plugin("again") is old


def test_an_on_load_may_reload_its_dependency_itself() -> None:
    """What a plugin reloads while it is loaded is no reason to load it once more."""
    loading = Loading(lambda loading: loading.manager.reload("needed"))
    loading.manager.load("user")
    assert (len(loading.found), loading.ended) == (1, [])


@pytest.mark.parametrize("way", ["load", "reload"])
def test_a_reload_that_went_well_stays_though_one_around_it_fails(folder: Folder, way: str) -> None:
    """What the code of a plugin reloaded, before the plugin itself failed, keeps its new module."""
    manager = folder.load(greeter=GREETER, around=GREETER.replace("greeter", "around"))
    fails = (
        "    def on_load(self):\n        self.trigger('around')\n        raise OSError('no disk')\n"
    )
    folder.write("around_plugin.py", GREETER.replace("greeter", "around") + fails)
    manager.register_hook("around", lambda data: manager.reload("greeter"))
    if way == "load":
        manager.unregister("around")
        manager.discover_plugins(folder.path)
    with pytest.raises(PluginLoadError, match="no disk"):
        getattr(manager, way)("around")
    greeter = type(manager.get_plugin("greeter"))
    assert sys.modules[greeter.__module__].Greeter is greeter


# -- while events flow


def named(answers: Iterable[Any]) -> list[str]:
    """Name the plugins that answered, whether as the old or as the new ones."""
    texts = [each if isinstance(each, str) else each.value[0] for each in answers]
    return [text.partition(" ")[0] for text in texts]


def test_each_event_is_answered_by_the_old_or_by_the_new(folder: Folder) -> None:
    """Under constant reloads, good and broken, no plugin answers twice and none is left out."""
    needs = GREETER.replace('name = "greeter"', 'name = "user"\n    dependencies = ["greeter"]')
    source = GREETER.replace('"old"', '"greeter old"')
    user = needs.replace('"old"', '"user old"')
    manager = folder.load(greeter=source + user.replace("class Greeter", "class User"))
    manager.register_hook("greet", lambda data: [*data, "last"], priority=0)
    expected = ["greeter", "user", "last"]
    done = threading.Event()

    def keep_firing(fire: Callable[[], list[str]]) -> int:
        fired = 0
        while not (fired and done.is_set()):
            assert fire() == expected
            fired += 1
        return fired

    async def keep_firing_async(fire: Callable[[], Any]) -> int:
        fired = 0
        while not (fired and done.is_set()):
            assert named(await fire()) == expected
            fired += 1
        return fired

    def reload() -> int:
        reloaded = 0
        try:
            for number in range(24):
                new = source + user.replace("class Greeter", "class User")
                broken = number % 4 == 3
                text = new.replace(" old", f" n{number}") + "raise SystemExit\n" * broken
                folder.write("greeter_plugin.py", text)
                try:
                    manager.reload("user" if number % 2 else "greeter")
                    reloaded += 1
                except PluginLoadError:
                    assert broken
        finally:
            done.set()
        return reloaded

    fired = Together(
        reload,
        lambda: keep_firing(lambda: named(manager.trigger("greet", []))),
        lambda: keep_firing(lambda: named(manager.collect("greet", []))),
        lambda: keep_firing(lambda: named(manager.trace("greet", []).result)),
        lambda: asyncio.run(keep_firing_async(lambda: manager.trigger_async("greet", []))),
        lambda: asyncio.run(keep_firing_async(lambda: manager.collect_async("greet", []))),
    ).join()
    assert all(isinstance(count, int) and count > 0 for count in fired), fired
    assert fired[0] == 18
    assert manager.trigger("greet", []) == ["greeter n22", "user n22", "last"]


def test_a_new_instance_that_enables_itself_is_not_called_before_it_has_started(
    folder: Folder,
) -> None:
    """Whatever it sets in `on_load`, until the swap the old one answers alone, or nobody."""
    seen: list[object] = []
    manager = folder.manager
    manager.register_hook("starts", lambda data: seen.append(manager.trigger("greet", [])))
    start = "    def on_load(self):\n        self.enabled = True\n        self.trigger('starts')\n"
    folder.load(greeter=GREETER + start)
    folder.write("greeter_plugin.py", GREETER.replace("old", "new") + start)
    manager.reload("greeter")
    manager.disable_plugin("greeter")
    manager.reload("greeter")
    assert seen == [[], ["old"], []]
    assert manager.trigger("greet", []) == []
    manager.enable_plugin("greeter")
    assert manager.trigger("greet", []) == ["new"]


# A package that keeps a module of its own as a global, as `from . import` does.
HOLDER = """
from nitro_dispatch import PluginBase, hook
from . import words

class Holder(PluginBase):
    name = "holder"

    @hook("greet")
    def greet(self, data):
        self.trigger("begun")
        return [*data, words.OWN]

    def dump_state(self):
        return [words.OWN]

    def restore_state(self, state):
        self.heard = state

    def on_unload(self):
        self.trigger("ended", words.OWN)
"""


@pytest.mark.parametrize(("end", "heard"), [("reload", ["old"]), ("unregister", [])])
def test_a_package_that_goes_keeps_its_modules_as_long_as_it_runs(
    folder: Folder, end: str, heard: list[str]
) -> None:
    """What runs on, is asked for its state or ends itself finds the submodules that it imported."""
    begun, ended = Gate(), list[object]()
    folder.manager.register_hook("begun", begun)
    folder.manager.register_hook("ended", ended.append)
    folder.write("holder_plugin/words.py", "OWN = 'old'")
    folder.write("holder_plugin/__init__.py", HOLDER)
    folder.load()
    firing = Together(lambda: folder.manager.trigger("greet", []))
    assert begun.reached.wait(PATIENCE)
    folder.write("holder_plugin/words.py", "OWN = 'new'")
    getattr(folder.manager, end)("holder")
    begun.open.set()
    assert firing.join() == [["old"]]
    assert ended == ["old"]
    now: Any = folder.manager.get_plugin("holder")
    assert getattr(now, "heard", []) == heard
    assert folder.manager.trigger("greet", []) == (["new"] if heard else [])


@pytest.mark.parametrize("fault", ["", "raise ValueError"])
def test_a_package_of_the_application_keeps_what_is_read_again(
    write_module: WriteModule, fault: str
) -> None:
    """Until the new module is there, and for good if it fails, the package holds the old one."""
    write_module("of_host/__init__.py", "from . import held")
    file = write_module("of_host/held.py", GREETER)
    of_host: Any = importlib.import_module("of_host")
    old, seen = of_host.held, list[object]()
    manager = PluginManager()
    manager.register(old.Greeter)
    manager.load("greeter")
    manager.register_hook("seen", seen.append)
    late = f"    def on_load(self):\n        self.trigger('seen', of_host.held)\n        {fault}\n"
    file.write_text(f"import of_host\nBEFORE = of_host.held\n{GREETER}{late}")
    with pytest.raises(PluginLoadError) if fault else contextlib.nullcontext():
        manager.reload("greeter")
    (new,) = seen
    assert vars(new)["BEFORE"] is old
    assert of_host.held is sys.modules["of_host.held"] is (old if fault else new)


# -- what is left behind


def test_a_thousand_reloads_leave_nothing_behind(folder: Folder) -> None:
    """No module, instance, class, thread or cached line remains of what was replaced, or failed."""
    folder.write("pack_plugin/__init__.py", GREETER + "    from .words import WORD\n")
    folder.write("pack_plugin/words.py", "WORD = 1\n")
    keeps = """
    def dump_state(self):
        return [self]

    def restore_state(self, state):
        self.register_hook("late", self.greet, timeout=20)
"""
    needs = GREETER.replace('name = "greeter"', 'name = "user"\n    dependencies = ["greeter"]')
    good = needs + keeps
    manager = folder.load(user=good)
    user = folder.path / "user_plugin.py"
    remains: list[weakref.ref[Any]] = []

    def reload(count: int) -> tuple[int, ...]:
        for number in range(count):
            fails = number % 50 == 49
            user.write_text(good + "raise ValueError") if fails else None
            with pytest.raises(PluginLoadError) if fails else contextlib.nullcontext():
                manager.reload("greeter")
            user.write_text(good) if fails else manager.trigger("late", [])
            for plugin in manager.get_all_plugins().values():
                module = sys.modules[type(plugin).__module__]
                remains.extend(map(weakref.ref, (plugin, type(plugin), module)))
        gc.collect()
        return (
            len(sys.modules),
            threading.active_count(),
            len(manager.get_events()),
            len(linecache.cache),
            len(sys.path_importer_cache),
            len(sys.meta_path),
        )

    before = reload(100)
    objects, blocks = len(gc.get_objects()), sys.getallocatedblocks()
    assert reload(900) == before
    alive = {id(each) for reference in remains if (each := reference()) is not None}
    assert len(alive) == 6
    del alive
    remains.clear()
    gc.collect()
    assert len(gc.get_objects()) - objects < 100
    assert sys.getallocatedblocks() - blocks < 1000


@pytest.mark.parametrize("timeout", [None, 20.0])
@pytest.mark.parametrize("is_async", [False, True], ids=["sync", "async"])
def test_a_dispatch_under_way_keeps_nothing_of_what_was_replaced(
    folder: Folder, is_async: bool, timeout: Optional[float]
) -> None:
    """Only what runs is alive after many reloads, also during an event that it hears."""
    source = GREETER.replace('hook("greet")', f'hook(["greet", "*"], timeout={timeout})')
    manager = folder.load(greeter=source)
    alive: list[list[object]] = []

    def reload(data: object) -> None:
        made = [weakref.ref(manager.get_plugin("greeter"))]
        made += [weakref.ref(manager.reload("greeter")) for _ in range(20)]
        gc.collect()
        alive.append([plugin for each in made if (plugin := each()) is not None])

    manager.register_hook("greet", reload, priority=90)
    if is_async:
        data = asyncio.run(manager.trigger_async("greet", []))
    else:
        data = manager.trigger("greet", [])
    assert data == ["old", "old"]
    assert alive == [[manager.get_plugin("greeter")]]


def test_a_module_stays_for_who_has_found_its_plugin_and_not_loaded_it(folder: Folder) -> None:
    """What one manager unregisters another can still load, and find by the name of its module."""
    folder.write("greeter_plugin.py", GREETER)
    folder.manager.discover_plugins(folder.path)
    for lazy in (False, True):
        other = PluginManager(lazy=lazy)
        other.discover_plugins(folder.path)
        other.load("greeter")
        other.unregister("greeter")
    greeter = type(folder.manager.load("greeter"))
    assert pickle.loads(pickle.dumps(greeter)) is greeter
    folder.write("greeter_plugin.py", GREETER.replace("old", "new"))
    folder.manager.reload("greeter")
    assert folder.manager.trigger("greet", []) == ["new"]


def test_a_lazy_plugin_keeps_its_module_while_another_manager_forgets_it(folder: Folder) -> None:
    """Unloaded after its import, a lazy plugin can still be loaded with its module."""
    managers = [PluginManager(lazy=True) for _ in range(2)]
    folder.write("greeter_plugin.py", GREETER)
    for manager in managers:
        manager.discover_plugins(folder.path)
        manager.load("greeter")
        manager.unload("greeter")
    managers[1].unregister("greeter")
    greeter = type(managers[0].load("greeter"))
    assert sys.modules[greeter.__module__].Greeter is greeter


# -- what is not read again


@pytest.mark.parametrize("name", ["__mp_main__", "made_by_hand"])
def test_a_module_that_was_not_imported_by_its_name_is_not_run_again(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a class whose module was made in another way, such as a main program, an instance is made.

    The main program has the first name in a process of `multiprocessing`.
    """
    module: Any = types.ModuleType(name)
    module.__file__ = str(tmp_path / "program.py")
    Path(module.__file__).write_text("raise SystemExit('run again')")
    monkeypatch.setitem(sys.modules, name, module)
    exec(GREETER, vars(module))
    manager = PluginManager()
    manager.register(module.Greeter)
    old = manager.load("greeter")
    new = manager.reload("greeter")
    assert new is not old
    assert type(new) is type(old)


def test_a_main_module_of_a_package_is_not_run_again(
    run_python: RunPython, write_module: WriteModule
) -> None:
    """A program that was started by the name of its module runs once, though it could be found."""
    write_module(
        "program.py",
        GREETER
        + """
from nitro_dispatch import PluginManager
print("runs")
manager = PluginManager()
manager.register(Greeter)
print(manager.load("greeter") is not manager.reload("greeter"))
""",
    )
    start = "import runpy; runpy.run_module('program', None, '__main__', alter_sys=True)"
    assert run_python(f"import logging; logging.disable(); {start}") == "runs\nTrue\n"


def test_metadata_that_was_not_validated_is_not_validated_at_a_reload(
    write_module: WriteModule,
) -> None:
    """A plugin that was registered without validation is reloaded without it."""
    write_module("strange.py", GREETER + "    version = 3\n")
    manager = PluginManager()
    manager.register(importlib.import_module("strange").Greeter, validate=False)
    manager.load("greeter")
    write_module("strange.py", GREETER + "    version = 4\n")
    new: Any = manager.reload("greeter")
    assert new.version == 4
    write_module("strange.py", GREETER)
    manager.reload("greeter")
    manager.register(importlib.import_module("strange").Greeter)
    write_module("strange.py", GREETER + "    version = 5\n")
    with pytest.raises(PluginLoadError, match="version"):
        manager.reload("greeter")


# -- what an event needs


def test_an_optional_dependency_that_failed_is_tried_once_for_an_event(folder: Folder) -> None:
    """A hook of it came first in the dispatch: the plugin that uses it does without it."""
    folder.manager = PluginManager(lazy=True)
    uses = GREETER.replace(
        'name = "greeter"', 'name = "user"\n    optional_dependencies = ["greeter"]'
    )
    tries: list[object] = []
    folder.manager.register_hook("tried", tries.append)
    failing = GREETER + "\nimport sys\nsys.tries.append(1)\nraise OSError('no disk')\n"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "tries", tries, raising=False)
        manager = folder.load(greeter=failing, user=uses)
        assert manager.trigger("greet", []) == ["old"]
        assert tries == [1]
        folder.write("greeter_plugin.py", GREETER)
        manager.load("greeter")
    assert manager.trigger("greet", []) == ["old", "old"]
