"""The state of a plugin moves over at a reload, or stays where it was."""

from __future__ import annotations

from typing import Any, Callable, ClassVar, Optional

import pytest

from concurrency import elsewhere
from nitro_dispatch import PluginBase, PluginLoadError, PluginManager, hook
from plugin_classes import MakePlugin
from plugin_files import Folder

log: list[str] = []


@pytest.fixture(autouse=True)
def empty_log() -> None:
    """Begin each test with nothing noted."""
    log.clear()


class Counter(PluginBase):
    """Counts what it hears of; its methods have types of their own."""

    fails_in = ""
    error: BaseException = ValueError("no use")
    at_restore: ClassVar[Callable[[Counter], object]] = lambda counter: None

    def on_load(self) -> None:
        self.note("on_load")
        self.counts: dict[str, int] = {}

    def dump_state(self) -> Optional[dict[str, int]]:
        self.note("dump_state")
        return self.counts

    def restore_state(self, state: dict[str, int]) -> None:
        self.note("restore_state")
        self.counts = state
        type(self).at_restore(self)

    def on_unload(self) -> None:
        log.append(f"on_unload {self.name}")

    @hook("count")
    def count(self, data: str) -> None:
        self.counts[data] = self.counts.get(data, 0) + 1

    def note(self, method: str) -> None:
        """Note a call, and fail where that is wanted."""
        log.append(f"{method} {self.name}")
        if type(self).fails_in == method:
            raise self.error


def loaded(*plugin_classes: type[PluginBase]) -> PluginManager:
    """Load plugins, each of which is made anew as it is when it is reloaded."""
    manager = PluginManager()
    for plugin_class in plugin_classes:
        manager.register(plugin_class)
    manager.load_all()
    log.clear()
    return manager


def chain_of(count: int) -> list[type[Counter]]:
    """Make classes of which each but the first needs the one before."""
    return [
        type(
            f"C{number}",
            (Counter,),
            {"name": f"c{number}", "dependencies": [f"c{number - 1}"] if number else []},
        )
        for number in range(count)
    ]


# -- what moves, and when


def test_the_state_is_handed_over_as_it_is() -> None:
    """The new instance gets the very object that the old one gave, at each reload."""
    (counter,) = chain_of(1)
    manager = loaded(counter)
    old: Any = manager.get_plugin("c0")
    manager.trigger("count", "a")
    new: Any = manager.reload("c0")
    assert new is not old
    assert new.counts is old.counts
    assert new.counts == {"a": 1}
    manager.trigger("count", "a")
    assert manager.reload("c0").counts == {"a": 2}  # type: ignore[attr-defined]


def test_every_plugin_of_a_group_has_its_state_before_the_next_one_starts() -> None:
    """In the order of loading each starts and gets its state; only then the old ones end."""
    manager = loaded(*chain_of(3))
    manager.reload("c0")
    begun = [
        f"{method} c{number}"
        for number in range(3)
        for method in ("on_load", "dump_state", "restore_state")
    ]
    assert log == [*begun, "on_unload c2", "on_unload c1", "on_unload c0"]


def test_the_state_moves_from_the_old_source_to_the_new(folder: Folder) -> None:
    """The old source dumps and the new one restores, for all plugins of a file."""
    source = """
from nitro_dispatch import PluginBase

class First(PluginBase):
    name = "first"
    version = "1.0"
    items = ()

    def dump_state(self):
        return self.version, [*self.items, self.version]

    def restore_state(self, state):
        self.of, self.items = state

class Second(First):
    name = "second"
"""
    manager = folder.load(both=source)
    folder.write("both_plugin.py", source.replace("1.0", "2.0"))
    manager.reload("second")
    folder.write("both_plugin.py", source.replace("1.0", "3.0"))
    manager.reload("first")
    plugins: Any = manager.get_all_plugins()
    states = {name: (plugin.of, plugin.items) for name, plugin in plugins.items()}
    assert states == dict.fromkeys(["first", "second"], ("2.0", ["1.0", "2.0"]))


@pytest.mark.parametrize("state", [0, False, "", {}, (), []])
def test_any_state_but_none_is_restored(make_plugin: MakePlugin, state: object) -> None:
    """An empty state is a state."""
    restored: list[object] = []
    manager = loaded(
        make_plugin(
            "empty",
            dump_state=lambda plugin: state,
            restore_state=lambda plugin, given: restored.append(given),
        )
    )
    manager.reload("empty")
    assert restored == [state]


def test_none_stands_for_no_state(
    make_plugin: MakePlugin, caplog: pytest.LogCaptureFixture
) -> None:
    """What dumps None restores nothing, nor does a plugin that dumps nothing."""
    for body in ({}, {"dump_state": lambda plugin: None}):
        manager = loaded(
            make_plugin("none", restore_state=lambda plugin, given: pytest.fail("called"), **body)
        )
        manager.reload("none")
    assert "restore_state" not in caplog.text


@pytest.mark.parametrize("state", ["state", ""])
def test_a_state_that_nobody_takes_is_dropped_with_a_warning(
    make_plugin: MakePlugin, caplog: pytest.LogCaptureFixture, state: str
) -> None:
    """Where the new class has no `restore_state`, the reload goes on and the log tells of it."""
    manager = loaded(make_plugin("drops", dump_state=lambda plugin: state))
    old = manager.get_plugin("drops")
    assert manager.reload("drops") is not old
    (record,) = [each for each in caplog.records if "dropped" in each.getMessage()]
    assert record.levelname == "WARNING"
    assert "drops has no restore_state" in record.getMessage()


def test_the_state_of_a_disabled_plugin_moves_too() -> None:
    """A disabled plugin is reloaded with its state, and stays disabled."""
    manager = loaded(*chain_of(1))
    manager.trigger("count", "a")
    manager.disable_plugin("c0")
    new: Any = manager.reload("c0")
    assert (new.counts, new.enabled) == ({"a": 1}, False)


def test_a_lazy_plugin_with_state_is_still_imported_at_its_first_event(folder: Folder) -> None:
    """The two methods are no reason to load a plugin early, and work once it is loaded."""
    folder.manager = PluginManager(lazy=True)
    source = """
from nitro_dispatch import PluginBase, hook

class Lazy(PluginBase):
    name = "lazy"
    heard = ()

    @hook("hear")
    def hear(self, data):
        self.heard = (*self.heard, data)
        return self.heard

    def dump_state(self):
        return self.heard

    def restore_state(self, state):
        self.heard = state
"""
    manager = folder.load(lazy=source)
    assert not manager.is_loaded("lazy")
    assert manager.trigger("hear", 1) == (1,)
    manager.reload("lazy")
    assert manager.trigger("hear", 2) == (1, 2)


# -- while it moves


def test_events_are_the_old_ones_until_the_swap() -> None:
    """While the state is restored the old instance hears every event, in each thread."""
    (counter,) = chain_of(1)
    manager = loaded(counter)
    old: Any = manager.get_plugin("c0")

    def look(new: Counter) -> None:
        assert manager.get_plugin("c0") is new
        assert elsewhere(lambda: manager.get_plugin("c0")) is old
        new.counts = {}
        manager.trigger("count", "here")
        elsewhere(lambda: manager.trigger("count", "elsewhere"))

    counter.at_restore = look
    new: Any = manager.reload("c0")
    assert old.counts == {"here": 1, "elsewhere": 1}
    assert new.counts == {}


def test_what_the_old_one_changes_in_a_shared_state_is_not_lost() -> None:
    """An event between the dump and the swap reaches the new instance in the object both have."""
    (counter,) = chain_of(1)
    manager = loaded(counter)
    counter.at_restore = lambda new: manager.trigger("count", "late")
    assert manager.reload("c0").counts == {"late": 1}  # type: ignore[attr-defined]


def test_the_old_one_asks_for_the_old_and_the_new_one_for_the_new() -> None:
    """What dumps sees the other plugins that it has always seen, and what restores the new ones."""
    seen: list[Optional[PluginBase]] = []

    class Asking(PluginBase):
        name = "asking"
        dependencies = ("c0",)

        def dump_state(self) -> str:
            seen.append(self.get_plugin("c0"))
            return "state"

        def restore_state(self, state: str) -> None:
            seen.append(self.get_plugin("c0"))

    manager = loaded(*chain_of(1), Asking)
    old = manager.get_plugin("c0")
    assert seen == []
    new = manager.reload("c0")
    assert seen == [old, new]


# -- what fails

METHODS = ("dump_state", "restore_state")


@pytest.mark.parametrize("place", [0, 1, 2])
@pytest.mark.parametrize("error", [ValueError("no use"), SystemExit(3)], ids=["error", "exit"])
@pytest.mark.parametrize("method", METHODS)
def test_a_failing_method_leaves_the_old_ones_running(
    method: str, error: BaseException, place: int
) -> None:
    """Wherever in a group it is, the error names the plugin and the method, and nothing is new."""
    classes = chain_of(3)
    manager = loaded(*classes)
    manager.disable_plugin("c2")
    manager.trigger("count", "a")
    old: dict[str, Any] = manager.get_all_plugins()
    counts = {name: plugin.counts for name, plugin in old.items()}
    classes[place].fails_in, classes[place].error = method, error
    with pytest.raises(PluginLoadError, match=f"'c{place}' .* in {method}: ") as caught:
        manager.reload("c0")
    assert caught.value.__cause__ is error
    assert (caught.value.plugin, caught.value.hook) == (f"c{place}", method)
    assert manager.get_all_plugins() == old
    assert [plugin.enabled for plugin in old.values()] == [True, True, False]
    assert all(old[name].counts is counts[name] for name in old)
    # The new instances that had come to life have ended, and no old one has.
    assert log[-place - 1 :] == [f"on_unload c{number}" for number in range(place, -1, -1)]
    assert len([line for line in log if line.startswith("on_unload")]) == place + 1
    manager.trigger("count", "a")
    assert [plugin.counts for plugin in old.values()] == [{"a": 2}, {"a": 2}, {}]
    classes[place].fails_in = ""
    new: Any = manager.reload("c0")
    assert new.counts == {"a": 2}


@pytest.mark.parametrize("method", METHODS)
def test_an_interrupt_passes_and_leaves_the_old_one_running(method: str) -> None:
    """`KeyboardInterrupt` in either method reaches the caller, and nothing is new."""
    (counter,) = chain_of(1)
    manager = loaded(counter)
    old: Any = manager.get_plugin("c0")
    counter.fails_in, counter.error = method, KeyboardInterrupt()
    with pytest.raises(KeyboardInterrupt):
        manager.reload("c0")
    assert manager.get_plugin("c0") is old
    manager.trigger("count", "a")
    assert old.counts == {"a": 1}


@pytest.mark.parametrize("body", [{"dump_state": 3}, {"restore_state": None}])
def test_a_method_that_is_none_is_named(make_plugin: MakePlugin, body: dict[str, object]) -> None:
    """An attribute of that name which cannot be called is an error that names it."""
    manager = loaded(make_plugin("odd", **{"dump_state": lambda plugin: 1, **body}))
    (method,) = body
    with pytest.raises(PluginLoadError, match=f"in {method}: .* not callable"):
        manager.reload("odd")
    assert manager.is_loaded("odd")


@pytest.mark.parametrize("method", METHODS)
def test_an_async_method_is_refused(method: str) -> None:
    """What nobody could await fails the reload instead of losing the state."""
    (counter,) = chain_of(1)
    manager = loaded(counter)
    old: Any = manager.get_plugin("c0")

    async def never_run(plugin: PluginBase, *state: object) -> None:
        raise AssertionError("it was run")

    setattr(counter, method, never_run)
    with pytest.raises(PluginLoadError, match=f"in {method}: TypeError: it is async, .* plain"):
        manager.reload("c0")
    assert manager.get_plugin("c0") is old


def test_what_a_failing_restore_registers_is_gone() -> None:
    """Hooks that `restore_state` registers are the new instance's, and go with it."""

    class Registering(PluginBase):
        fails = True

        def dump_state(self) -> str:
            return "late"

        def restore_state(self, state: str) -> None:
            self.register_hook(state, self.hear)
            if self.fails:
                raise RuntimeError("no")

        def hear(self, data: list[object]) -> None:
            data.append(self)

    manager = loaded(Registering)
    with pytest.raises(PluginLoadError):
        manager.reload("Registering")
    assert manager.get_events() == []
    Registering.fails = False
    new = manager.reload("Registering")
    assert manager.trigger("late", []) == [new]


def test_a_failing_on_load_dumps_nothing_of_its_own() -> None:
    """Where a new instance does not start, the old one is not asked for its state."""
    first, second = chain_of(2)
    manager = loaded(first, second)
    second.fails_in = "on_load"
    with pytest.raises(PluginLoadError):
        manager.reload("c0")
    assert log == [
        "on_load c0",
        "dump_state c0",
        "restore_state c0",
        "on_load c1",
        "on_unload c0",
    ]


# -- what comes after


def test_a_plugin_that_a_listener_unloads_is_not_loaded_again() -> None:
    """What hears of a reload may unload the plugin: it stays so, and the caller gets it still."""
    (counter,) = chain_of(1)
    manager = loaded(counter)
    told: list[str] = []

    def unload(data: dict[str, str]) -> None:
        told.append(data["plugin_name"])
        manager.unload("c0")

    manager.register_hook(manager.EVENT_PLUGIN_LOADED, unload)
    assert type(manager.reload("c0")) is counter
    assert told == ["c0"]
    assert not manager.is_loaded("c0")
