"""Threads and forks: nothing is lost or doubled, and nobody waits who need not."""

from __future__ import annotations

import asyncio
import logging
import sys
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Callable

import pytest

from concurrency import PATIENCE, Gate, Together, elsewhere, in_child, needs_fork
from nitro_dispatch import PluginManager, hook
from plugin_classes import MakePlugin
from programs import RunPython

LATE = 20.0

SLOW_FILE = """
from nitro_dispatch import PluginBase, hook
import gate_of_a_test

gate_of_a_test.gate("import")

class Slow(PluginBase):
    name = "slow"

    def on_load(self):
        gate_of_a_test.gate("on_load")

    def on_unload(self):
        gate_of_a_test.gate("on_unload")

    @hook("slow")
    def act(self, data):
        gate_of_a_test.gate("hook")
        return data + 1

    @hook("limited", timeout=20)
    def act_in_time(self, data):
        gate_of_a_test.gate("hook with a limit")
        return data + 1

    @hook("failing")
    def fail(self, data):
        raise ValueError("failed")
"""


class Held:
    """A manager with a plugin that can be held at each place of its code."""

    def __init__(self, folder: Path) -> None:
        self.gate = Gate()
        self.place = ""
        (folder / "slow_plugin.py").write_text(SLOW_FILE)
        self.folder = folder
        self.manager = PluginManager()

    def at(self, place: str) -> None:
        """Be called by the plugin at each place, and hold it at one."""
        if place == self.place:
            self.gate()

    def hold(self, place: str) -> Together:
        """Let another thread do something with the plugin that is held in a place."""
        what, _, self.place = place.partition(": ")
        runs: dict[str, Callable[[], Any]] = {
            "discover": lambda: self.manager.discover_plugins(self.folder),
            "load": lambda: self.manager.load("slow"),
            "reload": lambda: self.manager.reload("slow"),
            "unload": lambda: self.manager.unload("slow"),
            "trigger": lambda: self.manager.trigger("slow", 0),
            "trigger in time": lambda: self.manager.trigger("limited", 0),
            "trigger_async": lambda: asyncio.run(self.manager.trigger_async("slow", 0)),
            "trigger_async in time": lambda: asyncio.run(self.manager.trigger_async("limited", 0)),
            "log": lambda: self.manager.trigger("failing", 0),
        }
        if what != "discover":
            place, self.place = self.place, ""
            self.manager.discover_plugins(self.folder)
            if what != "load":
                self.manager.load("slow")
            self.place = place
        held = Together(runs[what])
        assert self.gate.reached.wait(PATIENCE)
        return held

    def let_go(self) -> None:
        """Hold nothing any more."""
        self.place = ""
        self.gate.open.set()


@pytest.fixture
def held(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, modules_as_before: None
) -> Iterator[Held]:
    """Make a manager with a plugin to hold, which is let go when the test ends."""
    made = Held(tmp_path)
    module: Any = types.ModuleType("gate_of_a_test")
    module.gate = made.at
    monkeypatch.setitem(sys.modules, "gate_of_a_test", module)
    yield made
    made.let_go()
    made.manager.unload_all()


PLACES = (
    "discover: import",
    "load: on_load",
    "reload: import",
    "reload: on_load",
    "reload: on_unload",
    "unload: on_unload",
    "trigger: hook",
    "trigger in time: hook with a limit",
    "trigger_async: hook",
    "trigger_async in time: hook with a limit",
)


# -- nobody waits without need


@pytest.mark.parametrize("place", PLACES)
def test_a_plugin_that_is_held_holds_no_other(
    place: str, held: Held, make_plugin: MakePlugin, tmp_path: Path
) -> None:
    """While one plugin imports, loads, ends or works, all can be done with the others."""
    manager = held.manager
    other = tmp_path / "other"
    other.mkdir()
    (other / "file_plugin.py").write_text(SLOW_FILE.replace("slow", "file").split("    @hook")[0])
    manager.register(make_plugin("quick", act=hook("go")(lambda self, data: data + 1)))
    thread = held.hold(place)

    def use() -> None:
        manager.load("quick")
        assert manager.trigger("go", 0) == 1
        assert asyncio.run(manager.trigger_async("go", 0)) == 1
        manager.disable_plugin("quick")
        manager.enable_plugin("quick")
        manager.reload("quick")
        manager.register(make_plugin("another", "quick", limited=adding("go")))
        manager.load("another")
        assert manager.trigger("go", 0) == 2
        held.place = ""
        assert manager.discover_plugins(other) == ["file"]
        manager.load("file")
        manager.unregister("another")
        manager.unload("quick")
        assert manager.plan().problems == ()

    elsewhere(use)
    held.let_go()
    (result,) = thread.join()
    assert not isinstance(result, BaseException)


def adding(event: str) -> Callable[..., Any]:
    """Make a hook with a time limit."""
    return hook(event, timeout=LATE)(lambda self, data: data + 1)


# -- forks


class Slowly(logging.Handler):
    """A handler that another thread is held in."""

    def __init__(self, gate: Callable[[str], None]) -> None:
        super().__init__()
        self.gate = gate

    def emit(self, record: logging.LogRecord) -> None:
        self.gate("log")


@needs_fork
@pytest.mark.parametrize("place", [*PLACES, "log: log"])
def test_a_fork_while_another_thread_is_held(place: str, held: Held) -> None:
    """A child finds all usable, wherever other threads are, and the parent goes on as it was."""
    manager = held.manager
    handler = Slowly(held.at)
    logging.getLogger("nitro_dispatch").addHandler(handler)
    try:
        thread = held.hold(place)

        def use() -> object:
            held.let_go()
            if "slow" not in manager.get_registered_plugins():
                manager.discover_plugins(held.folder)
            manager.load("slow")
            manager.trigger("failing", 0)
            found = [manager.trigger("slow", 0), manager.trigger("limited", 0)]
            found.append(asyncio.run(manager.trigger_async("slow", 0)))
            found.append(asyncio.run(manager.trigger_async("limited", 0)))
            found.append(len(asyncio.run(manager.collect_async("limited", 0))))
            manager.reload("slow")
            found.append(manager.trigger("slow", 0))
            manager.unload("slow")
            found.append(manager.trigger("slow", 0))
            return found, manager.failures

        assert in_child(use) == "([1, 1, 1, 1, 1, 1, 0], {})"
        held.let_go()
        (result,) = thread.join()
        assert not isinstance(result, BaseException)
    finally:
        logging.getLogger("nitro_dispatch").removeHandler(handler)
    manager.load("slow")
    assert manager.trigger("slow", 0) == 1


@needs_fork
@pytest.mark.parametrize("timeout", [None, LATE])
def test_a_hook_that_forks(timeout: Any, make_plugin: MakePlugin) -> None:
    """A hook may fork, in a worker too, and the child has a manager and event loops of its own."""
    manager = PluginManager()

    def use() -> object:
        return manager.trigger("inner", 0), asyncio.run(manager.trigger_async("inner", 0))

    def fork(self: object, data: Any) -> str:
        return in_child(use)

    manager.register(
        make_plugin(
            "forking",
            fork=hook("fork", timeout=timeout)(fork),
            inner=adding("inner"),
        )
    )
    manager.load_all()
    assert manager.trigger("fork", 0) == "(1, 1)"
    assert asyncio.run(manager.trigger_async("fork", 0)) == "(1, 1)"
    assert manager.trigger("inner", 0) == 1


MULTIPROCESSING = """
import asyncio, multiprocessing, sys, threading
from nitro_dispatch import PluginBase, PluginManager, hook

class Adding(PluginBase):
    name = "adding"

    @hook("add", timeout=20)
    def add(self, data):
        return data + 1

    @hook("add", timeout=20)
    async def add_async(self, data):
        await asyncio.sleep(0)
        return data + 10

manager = PluginManager()
manager.load(manager.register(Adding))

def work(number):
    manager.unload("adding")
    manager.load("adding")
    return manager.trigger("add", number), asyncio.run(manager.trigger_async("add", number))

def main(method):
    # Workers and an event loop have been there before.
    assert work(0) == (1, 11)
    with multiprocessing.get_context(method).Pool(2) as pool:
        print(pool.map(work, range(4)))
    assert work(0) == (1, 11)
"""


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_the_processes_of_multiprocessing(
    method: str, tmp_path: Path, run_python: RunPython
) -> None:
    """A process of each kind has plugins, worker threads and event loops of its own."""
    import multiprocessing

    if method not in multiprocessing.get_all_start_methods():
        pytest.skip("this system has no such processes")
    (tmp_path / "working.py").write_text(MULTIPROCESSING)
    program = f"""
        import warnings
        # Newer Pythons warn of every fork of a process that has threads.
        warnings.simplefilter("ignore", DeprecationWarning)
        if __name__ == "__main__":
            import working
            working.main({method!r})
    """
    expected = [(number + 1, number + 11) for number in range(4)]
    assert run_python(program, seconds=PATIENCE) == f"{expected}\n"


# -- everything at once

BUSY = """
    import asyncio, contextlib, faulthandler, logging, sys, threading, time
    from pathlib import Path
    from nitro_dispatch import NitroPluginError, PluginManager

    faulthandler.dump_traceback_later(25, exit=True)
    SOURCE = '''
    from nitro_dispatch import PluginBase, hook

    class {kind}(PluginBase):
        name = "{name}"
        dependencies = {needs}

        @hook("count")
        def count(self, data):
            return [*data, self.name]

        @hook("count", timeout=20)
        def count_in_time(self, data):
            return [*data, self.name]

        @hook("count_async")
        async def count_async(self, data):
            return [*data, self.name]
    '''
    kinds = {"base": [], "stays": ["base"], "reloads": ["base"], "toggles": [], "comes": ["base"]}
    for name, needs in kinds.items():
        text = SOURCE.format(kind=name.title(), name=name, needs=needs)
        Path(f"{name}_plugin.py").write_text(text)
    manager = PluginManager()
    manager.discover_plugins(".")
    manager.load_all()
    began = time.monotonic()
    faults, counts = [], dict.fromkeys(["sync", "async", "changes"], 0)

    def goes_on():
        return time.monotonic() < began + 1.5 or (min(counts.values()) < 5 and not faults)

    def check(found, each):
        # `reloads` and its likes are there as old or as new; the others, or some hooks, may be not.
        for name in ("base", "stays", "reloads"):
            if found.count(name) != each:
                faults.append((name, found))
        for name in ("toggles", "comes"):
            if found.count(name) > each:
                faults.append((name, found))

    def dispatch():
        while goes_on():
            check(manager.trigger("count", []), 2)
            counts["sync"] += 1

    def dispatch_async():
        async def main():
            while goes_on():
                check(await manager.trigger_async("count", []), 2)
                for found in await asyncio.gather(
                    *[manager.trigger_async("count_async", []) for _ in range(5)]
                ):
                    check(found, 1)
                counts["async"] += 1
        asyncio.run(main())

    def change(*steps):
        def run():
            while goes_on():
                for method, name in steps:
                    # One may be unloaded by now, or loaded by another thread.
                    with contextlib.suppress(NitroPluginError):
                        getattr(manager, method)(name)
                    counts["changes"] += 1
        return run

    def guarded(run):
        def act():
            try:
                run()
            except BaseException as error:
                faults.append(repr(error))
        return act

    logging.getLogger("nitro_dispatch").setLevel(logging.CRITICAL)
    runs = [
        dispatch, dispatch, dispatch_async, dispatch_async,
        change(("reload", "reloads")), change(("reload", "stays")),
        change(("disable_plugin", "toggles"), ("enable_plugin", "toggles")),
        *[change(("unload", "comes"), ("load", "comes"))] * 2,
    ]
    threads = [threading.Thread(target=guarded(run)) for run in runs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    manager.load_all()
    manager.enable_plugin("toggles")
    assert faults == [], faults[:3]
    assert manager.failures == {}, manager.failures
    assert sorted(manager.trigger("count", [])) == sorted([*kinds, *kinds])
    assert sorted(manager.get_loaded_plugins()) == sorted(kinds)
    faulthandler.cancel_dump_traceback_later()
    print("well")
"""


def test_threads_and_event_loops_that_do_everything_at_once(run_python: RunPython) -> None:
    """While plugins are reloaded, switched, unloaded and loaded no hook is lost or doubled."""
    assert run_python(BUSY, seconds=PATIENCE) == "well\n"
