"""The manager does what a simple model of it does, whatever is asked of both.

Hypothesis makes up the plugins, what they are told to do in their own code, and what the
application asks for. To let it run longer, with other examples each time:
`NITRO_DISPATCH_EXAMPLES=5000 pytest tests/faults/test_model.py`.
"""

from __future__ import annotations

import logging
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Callable, Optional

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from model import Model
from model_hooks import Imitation
from nitro_dispatch import PluginManager
from plugin_files import discovered_modules
from scripted import Listener, Operation, Orders, Real, Side, Spec

EXAMPLES = int(os.environ.get("NITRO_DISPATCH_EXAMPLES", 40))

FILES = {"one_plugin.py": ("e",), "pair_plugin.py": ("f", "g")}
OWN_NAMES = ["a", "b", "c", "d"]
NAMES = [*OWN_NAMES, "e", "f", "g"]
EVENTS = ["go", "go.on"]
HEADER = "from nitro_dispatch import hook\nfrom scripted import Listener, Real as Base, Spec\n"
BROKEN: dict[str, Callable[[str], str]] = {
    "syntax": lambda source: "def f(:",
    "import": lambda source: source + "import no_such_module_at_all\n",
    "exit": lambda source: source + "raise SystemExit(3)\n",
    "gone": lambda source: "x = 1\n",
    "renamed": lambda source: source.replace("    name = '", "    name = 'other_"),
}


def sampled(*values: Any) -> st.SearchStrategy[Any]:
    """Choose one of some values; what is given twice is chosen twice as often."""
    return st.sampled_from(values)


def requirements(name: str, earlier: int) -> st.SearchStrategy[tuple[str, ...]]:
    """Make up what a plugin needs: most often of the plugins before it, lest nothing loads."""
    names = NAMES[: NAMES.index(name)] * earlier + NAMES
    one = st.builds(str.__add__, st.sampled_from(names), sampled("", "", "", "", ">=2", "<2"))
    several = st.lists(one, max_size=2, unique_by=lambda each: each[0])
    return st.just(()) | several.map(tuple)


LISTENERS = st.builds(
    Listener,
    event=sampled(*EVENTS, *EVENTS, "go.*", "*", "**", "nitro.plugin.loaded", "nitro.plugin.*"),
    priority=sampled(50, 50, 10, 90),
    answer=sampled("adds", "adds", "adds", "passes", "stops"),
    is_async=sampled(False, False, False, True),
    late=sampled(False, False, True),
)


def specs(name: str) -> st.SearchStrategy[Spec]:
    """Make up what a class says of its plugin."""
    return st.builds(
        Spec,
        st.just(name),
        sampled("1.0", "2.0"),
        needs=requirements(name, 9),
        uses=requirements(name, 0),
        listeners=st.lists(LISTENERS, max_size=3).map(tuple),
    )


ANY = st.sampled_from(NAMES)
LIFE: st.SearchStrategy[Operation] = st.tuples(
    sampled("load", "unload", "unload", "reload", "reload", "unregister"), ANY
)
REGISTER: st.SearchStrategy[Operation] = st.tuples(
    sampled("register"), st.sampled_from(OWN_NAMES).flatmap(specs)
)
ALL: st.SearchStrategy[Operation] = st.tuples(sampled("load_all", "load_all", "unload_all"))
SWITCHES: st.SearchStrategy[Operation] = st.one_of(
    st.tuples(sampled("enable_plugin", "disable_plugin"), ANY),
    st.tuples(sampled("switch"), ANY, st.booleans()),
    st.tuples(sampled("listen", "ignore"), ANY, st.integers(0, 2)),
    st.tuples(sampled("set_error_strategy"), sampled("log_and_continue", "fail_fast")),
)
# Errors are kept from the first dispatch on that begins after this: not set in one under way.
COLLECT_ALL: Operation = ("set_error_strategy", "collect_all")
EVENT: st.SearchStrategy[Operation] = st.tuples(
    sampled("trigger", "collect", "first"), st.sampled_from(EVENTS), st.just(())
)
FIRE: st.SearchStrategy[Operation] = EVENT | st.tuples(
    sampled("trigger_async"), st.sampled_from(EVENTS), st.just(())
)
ACTS: st.SearchStrategy[Optional[Operation]] = st.one_of(
    st.none(), LIFE, LIFE, LIFE, ALL, SWITCHES, EVENT, REGISTER
)
PLACES = sampled(
    "init", "on_load", "on_unload", "on_error", "dump_state", "restore_state", *["hook"] * 6
)
FAULTS = sampled(None, None, ValueError, SystemExit)


def contents(file: str) -> st.SearchStrategy[tuple[Spec, ...]]:
    """Make up the classes that a file holds."""
    return st.tuples(*map(specs, FILES[file]))


class Both(RuleBasedStateMachine):
    """A manager and its model, of which the same is asked."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.discovered = discovered_modules()
        self.orders = Orders()
        self.disk: dict[str, dict[str, Any]] = {file: {} for file in FILES}
        model = Model(self.disk)
        base = type("Bound", (Imitation,), {"hooks": model})
        self.real = Side(self.orders, PluginManager(), Real)
        self.model = Side(self.orders, model, base)

    def ask(self, *operation: Any) -> None:
        """Ask the same of both: they give or raise the same, and the plugins do the same."""
        outcomes = [side.outcome(operation) for side in (self.real, self.model)]
        assert outcomes[0] == outcomes[1]
        assert self.real.journal == self.model.journal
        self.real.journal.clear()
        self.model.journal.clear()

    @initialize(
        plugins=st.tuples(*map(specs, OWN_NAMES)),
        files=st.tuples(*map(contents, FILES)),
        acts=st.dictionaries(st.tuples(ANY, PLACES), ACTS.filter(bool), max_size=4),
    )
    def begin(
        self,
        plugins: tuple[Spec, ...],
        files: tuple[tuple[Spec, ...], ...],
        acts: dict[tuple[str, str], Operation],
    ) -> None:
        for file, classes in zip(FILES, files):
            self.write(file, classes, "")
        for spec in plugins:
            self.ask("register", spec)
        self.discover()
        self.ask("load_all")
        self.orders.acts.update(acts)

    @rule(operation=LIFE)
    def live(self, operation: Operation) -> None:
        self.ask(*operation)

    @rule(operation=REGISTER | ALL)
    def begin_anew(self, operation: Operation) -> None:
        self.ask(*operation)

    @rule(operation=SWITCHES | st.just(COLLECT_ALL))
    def switch(self, operation: Operation) -> None:
        self.ask(*operation)

    @rule(operation=FIRE)
    def fire(self, operation: Operation) -> None:
        self.ask(*operation)

    @rule(operation=FIRE, name=ANY, act=ACTS)
    def fire_at_one_that_acts(self, operation: Operation, name: str, act: Operation) -> None:
        self.let_do(name, "hook", act)
        self.ask(*operation)

    @rule(name=ANY, place=PLACES, fault=FAULTS)
    def let_fail(self, name: str, place: str, fault: Optional[type[BaseException]]) -> None:
        self.orders.faults.pop((name, place), None)
        if fault is not None:
            self.orders.faults[name, place] = fault

    @rule(name=ANY, place=PLACES, act=ACTS)
    def let_do(self, name: str, place: str, act: Optional[Operation]) -> None:
        self.orders.acts.pop((name, place), None)
        if act is not None:
            self.orders.acts[name, place] = act

    @rule(data=st.data(), file=st.sampled_from(list(FILES)), broken=sampled("", "", "", *BROKEN))
    def rewrite(self, data: st.DataObject, file: str, broken: str) -> None:
        self.write(file, data.draw(contents(file)), broken)
        self.ask("reload", FILES[file][-1])

    def write(self, file: str, classes: tuple[Spec, ...], broken: str) -> None:
        source = HEADER + "\n".join(spec.source() for spec in classes)
        (self.folder / file).write_text(BROKEN[broken](source) if broken else source)
        readable = () if broken else classes
        self.disk[file] = {spec.name: self.model.make(spec) for spec in readable}

    @precondition(lambda self: all(self.disk.values()))
    @rule()
    def discover(self) -> None:
        self.ask("discover_plugins", self.folder)

    @invariant()
    def both_show_the_same(self) -> None:
        real, model = shown_by(self.real), shown_by(self.model)
        differences = {
            what: (real[what], model[what]) for what in real if real[what] != model[what]
        }
        assert not differences, differences

    def teardown(self) -> None:
        self.orders.faults.clear()
        self.orders.acts.clear()
        for name in self.real.manager.get_registered_plugins():
            self.real.manager.unregister(name)
        shutil.rmtree(self.folder)
        assert self.real.manager.get_events() == ["nitro.plugin.*"]
        assert discovered_modules() == self.discovered


def shown_by(side: Side) -> dict[str, object]:
    """Tell all that can be seen of a manager from outside."""
    manager = side.manager
    plugins, plan = manager.get_all_plugins(), manager.plan()
    return {
        "registered": manager.get_registered_plugins(),
        "loaded": manager.get_loaded_plugins(),
        "plugins": {name: (each.number, each.enabled) for name, each in plugins.items()},
        "is loaded": [manager.is_loaded(name) for name in NAMES],
        "failures": {
            name: (each.name, each.stage, type(each.error))
            for name, each in manager.failures.items()
        },
        "events": sorted(manager.get_events()),
        "errors": [
            (each["plugin"], type(each["error"]), each["event"])
            for each in manager.get_last_errors()
        ],
        "plan": (plan.order, [(problem.plugin, problem.kind) for problem in plan.problems]),
        "called": [side.probe(event) for event in EVENTS],
    }


@pytest.fixture
def silence() -> Iterator[None]:
    """Write no log: thousands of failures are made up."""
    logging.disable()
    yield
    logging.disable(logging.NOTSET)


@pytest.mark.usefixtures("silence")
def test_the_manager_does_what_its_model_does() -> None:
    """What is asked of a manager and of its model gives the same, does the same, and is shown."""
    run: Any = run_state_machine_as_test  # Releases for old Pythons have no types for it.
    run(Both, settings=settings(max_examples=EXAMPLES, stateful_step_count=30))
