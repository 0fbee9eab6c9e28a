"""Whatever threads ask of one manager at once, what must hold for each of them and all holds.

Hypothesis makes up what each thread does; how their steps meet is up to the interpreter, so a
failure is shown as it came. Longer than by default: `NITRO_DISPATCH_EXAMPLES=2000 pytest
tests/faults/test_random_threads.py`.
"""

from __future__ import annotations

import asyncio
import functools
import gc
import itertools
import logging
import os
import sys
import weakref
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Optional

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from concurrency import Together
from nitro_dispatch import (
    DependencyError,
    PluginBase,
    PluginLoadError,
    PluginManager,
    PluginNotFoundError,
    hook,
)

EXAMPLES = int(os.environ.get("NITRO_DISPATCH_EXAMPLES", 150))

NEEDS: dict[str, list[str]] = {
    "base": [],
    "left": ["base"],
    "right": ["base"],
    "top": ["left", "right"],
    "lone": [],
}
STEADY = "steady"

# What an operation may raise, besides what a plugin raised itself in `on_unload`.
ALLOWED: dict[str, tuple[type[Exception], ...]] = {
    "load": (PluginLoadError, PluginNotFoundError),
    "reload": (PluginLoadError, PluginNotFoundError),
    "unload": (PluginNotFoundError, DependencyError, ZeroDivisionError),
    "unregister": (PluginNotFoundError, DependencyError, ZeroDivisionError),
    "enable_plugin": (PluginNotFoundError,),
    "disable_plugin": (PluginNotFoundError,),
}
OPERATIONS = st.one_of(
    st.tuples(st.sampled_from([*ALLOWED, "register"]), st.sampled_from(list(NEEDS))),
    st.tuples(
        st.sampled_from(["load_all", "trigger", "trigger_async", "collect", "first", "own_hook"]),
    ),
)
PROGRAMS = st.lists(st.lists(OPERATIONS, min_size=3, max_size=12), min_size=2, max_size=5)
FAILING = st.sets(st.integers(7, 20) | st.integers(-20, -1), max_size=6)


class Witness(PluginBase):
    """A plugin that keeps a book of its own life."""

    world: World
    gone_at: Optional[int] = None

    def __init__(self) -> None:
        self.number = next(self.world.births)
        self.book: list[str] = []
        self.world.witnesses.append(self)

    def on_load(self) -> None:
        self.book.append("on_load")
        self.register_hook("go", self.late)
        if self.number in self.world.failing:
            raise ZeroDivisionError
        self.book.append("loaded")

    def on_unload(self) -> None:
        self.book.append("on_unload")
        if -self.number in self.world.failing:
            raise ZeroDivisionError

    @hook("go")
    def early(self, data: Passing) -> Passing:
        return data.through(self, "early")

    def late(self, data: Passing) -> Passing:
        return data.through(self, "late")


class Passing:
    """What goes through the hooks of one dispatch: when that began, and who saw it."""

    def __init__(self, began_at: int, seen: tuple[tuple[Witness, str], ...] = ()) -> None:
        self.began_at = began_at
        self.seen = seen

    def through(self, plugin: Witness, which: str) -> Passing:
        gone_at = plugin.gone_at
        assert gone_at is None or gone_at > self.began_at, "a hook is called of what is unloaded"
        return Passing(self.began_at, (*self.seen, (plugin, which)))


class World:
    """A manager, the plugins that threads share, and what they have to keep to.

    Args:
        failing: The numbers of the instances whose `on_load` fails; negative: whose `on_unload`.
    """

    def __init__(self, failing: set[int]) -> None:
        self.failing: set[int] = set()
        self.births = itertools.count(1)
        self._ticks = itertools.count()
        self.witnesses: list[Witness] = []
        self.manager = PluginManager()
        self.manager.set_error_strategy("fail_fast")
        for name in [*NEEDS, STEADY]:
            self.register(name)
        self.manager.load_all()
        self.failing = failing

    def now(self) -> int:
        """Tell the time: a number that only grows, whichever thread asks."""
        return next(self._ticks)

    def register(self, name: str) -> None:
        body = {"name": name, "dependencies": NEEDS.get(name, []), "world": self}
        self.manager.register(type("Made", (Witness,), body))

    def run(self, program: list[tuple[str, ...]]) -> None:
        """Do one thing after another, and look around after each."""
        for action, *names in program:
            if action in ALLOWED:
                self.change(action, *names)
            else:
                getattr(self, action)(*names)
            self.look()

    def change(self, action: str, name: str) -> None:
        before, ended = self.manager.get_plugin(name), action in ("unload", "unregister")
        try:
            getattr(self.manager, action)(name)
        except ZeroDivisionError:
            assert ended  # Raised in `on_unload`, at the very end.
        except ALLOWED[action]:
            ended = False
        if ended and isinstance(before, Witness):
            before.gone_at = self.now()

    def load_all(self) -> None:
        self.manager.load_all()

    def trigger(self) -> None:
        self.check(self.manager.trigger("go", Passing(self.now())).seen)

    def trigger_async(self) -> None:
        passing: Passing = asyncio.run(self.manager.trigger_async("go", Passing(self.now())))
        self.check(passing.seen)

    def collect(self) -> None:
        answers = self.manager.collect("go", Passing(self.now()))
        self.check([each for answer in answers for each in answer.value.seen])

    def first(self) -> None:
        assert len(self.manager.first("go", Passing(self.now())).seen) == 1

    def own_hook(self) -> None:
        """Listen for a while: the hook is called in that time, and not after."""
        calls: list[object] = []
        self.manager.register_hook("go", calls.append)
        self.trigger()
        mine = len(calls)
        assert mine >= 1
        self.manager.unregister_hook("go", calls.append)
        began_at = self.now()
        self.trigger()
        assert all(isinstance(each, Passing) and each.began_at < began_at for each in calls)

    @staticmethod
    def check(seen: Iterable[tuple[Witness, str]]) -> None:
        """Each hook of a plugin is called at most once, and those of the steady one always."""
        counts = Counter((plugin.name, which) for plugin, which in seen)
        assert max(counts.values()) == 1
        assert (STEADY, "early") in counts
        assert (STEADY, "late") in counts

    def look(self) -> None:
        """Nothing is shown as loaded that was unloaded before."""
        began_at = self.now()
        for plugin in self.manager.get_all_plugins().values():
            assert isinstance(plugin, Witness)
            assert plugin.gone_at is None or plugin.gone_at > began_at
        names = self.manager.get_loaded_plugins()
        assert len(names) == len(set(names))
        assert {each.stage for each in self.manager.failures.values()} <= {"resolve", "on_load"}

    def check_story(self) -> None:
        """What the manager tells agrees with the books of the plugins."""
        alive = [each for each in self.witnesses if each.book[-1] == "loaded"]
        loaded = self.manager.get_all_plugins()
        assert sorted(map(id, alive)) == sorted(map(id, loaded.values()))
        assert list(loaded) == self.manager.get_loaded_plugins()
        assert len({each.name for each in alive}) == len(alive)
        for each in self.witnesses:
            begun = ["on_load"] if each.number in self.failing else ["on_load", "loaded"]
            assert each.book in (begun, [*begun, "on_unload"][:3])
        assert loaded.keys().isdisjoint(self.manager.failures)
        assert all(need in loaded for name in loaded for need in NEEDS.get(name, []))
        called = self.manager.trigger("go", Passing(self.now())).seen
        enabled = [each for each in alive if each.enabled]
        assert Counter(called) == Counter(
            (each, which) for each in enabled for which in ("early", "late")
        )
        assert self.manager.get_events() == ["go"]

    def end(self) -> None:
        """Nothing is left in the end."""
        self.manager.unload_all()
        assert not any(each.book[-1] == "loaded" for each in self.witnesses)
        assert (self.manager.get_events(), self.manager.get_loaded_plugins()) == ([], [])
        for name in self.manager.get_registered_plugins():
            self.manager.unregister(name)
        assert self.manager.failures == {}
        references = [weakref.ref(each) for each in self.witnesses]
        self.witnesses.clear()
        gc.collect()
        assert [reference for reference in references if reference()] == []


@pytest.fixture
def rush() -> Iterator[None]:
    """Let threads take turns often, and write no log of what is made to fail."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    logging.disable()
    yield
    logging.disable(logging.NOTSET)
    sys.setswitchinterval(interval)


@pytest.mark.usefixtures("rush")
def test_threads_that_do_anything_at_once_keep_to_the_contract() -> None:
    """Each call gives what it may, each plugin lives once, no hook is lost, and nothing is left."""

    # How threads meet is not repeated by the same example: there is nothing to shrink or to keep.
    @settings(max_examples=EXAMPLES, phases=[Phase.generate], database=None)
    @given(programs=PROGRAMS, failing=FAILING)
    def run(programs: list[list[tuple[str, ...]]], failing: set[int]) -> None:
        world = World(failing)
        runs = [functools.partial(world.run, program) for program in programs]
        assert Together(*runs).join() == [None] * len(programs)
        world.check_story()
        world.end()

    run()
