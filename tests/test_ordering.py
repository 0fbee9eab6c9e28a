"""In which order the hooks of an event are called."""

from __future__ import annotations

import itertools
import logging
import math
import random
import threading
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from firing import Owner
from nitro_dispatch import HookRegistry, PluginBase, PluginManager, hook


def listen(registry: HookRegistry, name: str, event: str = "event", **options: Any) -> None:
    """Register a hook that notes the name of its owner."""
    registry.register(event, lambda data: data.append(name), Owner(name), **options)


def order(registry: HookRegistry, event: str = "event") -> str:
    """Fire an event and give the names of the owners in the order of their calls."""
    called: list[str] = registry.trigger(event, [])
    assert [record.plugin_name for record in registry.get_hooks(event)] == called
    return " ".join(called)


def test_higher_priorities_come_first(registry: HookRegistry) -> None:
    """Hooks run by priority, higher first, of whatever size and kind the numbers are."""
    priorities: list[float] = [0, -1, 0.5, 10**400, -math.inf, math.inf, 50, True]
    for priority in priorities:
        listen(registry, str(float(priority) if priority != 10**400 else "big"), priority=priority)
    assert order(registry) == "inf big 50.0 1.0 0.5 0.0 -1.0 -inf"


def test_the_default_priority_is_fifty(registry: HookRegistry) -> None:
    """A hook without a priority runs between 51 and 49, whichever way it is registered."""

    class Plugin(PluginBase):
        name = "plugin"

        @hook("event")
        def act(self, data: list[str]) -> None:
            data.append("declared")

        def on_load(self) -> None:
            self.register_hook("event", lambda data: data.append("registered"))

    manager = PluginManager()
    manager.register_hook("event", lambda data: data.append("49"), priority=49)
    manager.load(manager.register(Plugin))
    manager.register_hook("event", lambda data: data.append("51"), priority=51)
    assert manager.trigger("event", []) == ["51", "declared", "registered", "49"]


def test_ties_run_in_the_order_of_registration(registry: HookRegistry) -> None:
    """Hooks of equal priority run as registered, whether by name or by pattern."""
    listen(registry, "first", "user.*")
    listen(registry, "second", "user.login")
    listen(registry, "third", "**")
    listen(registry, "fourth", "user.login", priority=50.0)
    assert order(registry, "user.login") == "first second third fourth"


def test_a_hook_registered_again_goes_to_the_end(registry: HookRegistry) -> None:
    """A hook that was taken out and registered again is the last among its equals."""
    owner = Owner("a")

    def note(data: list[str]) -> None:
        data.append("a")

    registry.register("event", note, owner)
    listen(registry, "b")
    registry.unregister("event", note, owner)
    registry.register("event", note, owner)
    assert order(registry) == "b a"


def test_before_and_after_order_equals(registry: HookRegistry) -> None:
    """`before` and `after` put a hook before or after those of the plugins that they name."""
    listen(registry, "a", after="c")
    listen(registry, "b")
    listen(registry, "c")
    listen(registry, "d", before=["b", "c"])
    assert order(registry) == "d b c a"


def test_priority_outranks_before_and_after(registry: HookRegistry) -> None:
    """`before` and `after` say nothing of hooks of another priority."""
    listen(registry, "low", priority=1, before="high")
    listen(registry, "high", priority=2)
    assert order(registry) == "high low"


def test_naming_an_absent_plugin_is_harmless(registry: HookRegistry) -> None:
    """A plugin that has no hook for the event may be named all the same."""
    listen(registry, "a", after="absent")
    listen(registry, "b", before=("absent", "elsewhere"))
    listen(registry, "elsewhere", "other")
    assert order(registry) == "a b"


def test_all_hooks_of_a_named_plugin_count(registry: HookRegistry) -> None:
    """A hook comes after every hook of the plugin that it names."""
    owner = Owner("cache")
    listen(registry, "late", after="cache")
    for _ in range(2):
        registry.register("event", lambda data: data.append("cache"), owner)
    listen(registry, "other")
    assert order(registry) == "cache cache late other"


def test_a_plugin_may_order_its_own_hooks(registry: HookRegistry) -> None:
    """A hook that names its own plugin is ordered against the plugin's other hooks."""

    class Plugin(PluginBase):
        name = "plugin"

        @hook("event")
        def one(self, data: list[str]) -> None:
            data.append("one")

        @hook("event", before="plugin")
        def two(self, data: list[str]) -> None:
            data.append("two")

    manager = PluginManager()
    manager.load(manager.register(Plugin))
    assert manager.trigger("event", []) == ["two", "one"]


def test_both_sides_may_say_the_same(
    registry: HookRegistry, caplog: pytest.LogCaptureFixture
) -> None:
    """What two hooks say of each other in agreement, or twice, is no contradiction."""
    listen(registry, "b", after=["a", "a"])
    listen(registry, "a", before=["b"])
    assert order(registry) == "a b"
    assert caplog.records == []


def test_a_long_chain_is_followed(registry: HookRegistry) -> None:
    """What is said of each other reaches through any number of hooks."""
    for number in range(50):
        listen(registry, str(number), after=str(number + 1))
    assert order(registry) == " ".join(str(number) for number in reversed(range(50)))


def test_a_contradiction_is_a_warning(
    registry: HookRegistry, caplog: pytest.LogCaptureFixture
) -> None:
    """Where plugins contradict each other all are called, and a warning names them alone."""
    listen(registry, "innocent", after="c")
    listen(registry, "a", before="b")
    listen(registry, "b", before="c")
    listen(registry, "c", before="a")
    assert registry.trigger("event", []) == ["a", "b", "c", "innocent"]
    (line,) = caplog.records
    assert line.levelno == logging.WARNING
    assert line.getMessage().endswith("contradict each other among a, b, c")


def test_what_does_not_contradict_still_holds(registry: HookRegistry) -> None:
    """A contradiction among some leaves in force what is said besides."""
    listen(registry, "x", after="y")
    listen(registry, "y", after="x")
    listen(registry, "late", after="late too")
    listen(registry, "late too", after="x")
    listen(registry, "early", before="y")
    called = registry.trigger("event", [])
    assert sorted(called) == ["early", "late", "late too", "x", "y"]
    assert called.index("x") < called.index("late too") < called.index("late")
    assert called.index("early") < called.index("y")


def test_two_contradictions_are_two_warnings(
    registry: HookRegistry, caplog: pytest.LogCaptureFixture
) -> None:
    """Each circle is named for itself."""
    for one, other in (("a", "b"), ("b", "a"), ("c", "d"), ("d", "c")):
        listen(registry, one, before=other)
    assert registry.trigger("event", []) == ["a", "b", "c", "d"]
    assert [line.getMessage().rpartition("among ")[2] for line in caplog.records] == [
        "a, b",
        "c, d",
    ]


def test_names_in_the_warning_are_escaped(
    registry: HookRegistry, caplog: pytest.LogCaptureFixture
) -> None:
    """A plugin's name cannot forge a line of the log."""
    listen(registry, "a\nERROR", before="b")
    listen(registry, "b", before="a\nERROR")
    registry.trigger("event", [])
    (line,) = caplog.records
    assert line.getMessage().endswith(r"among a\nERROR, b")


def test_collect_and_first_go_by_the_same_order(registry: HookRegistry) -> None:
    """`collect`, `first` and `trace` call the hooks in the order of `trigger`."""
    registry.register("event", lambda data: "a", Owner("a"), after="b")
    registry.register("event", lambda data: "b", Owner("b"))
    registry.register("event", lambda data: "c", Owner("c"), 99)
    assert [answer.value for answer in registry.collect("event")] == ["c", "b", "a"]
    assert registry.first("event") == "c"
    assert [step.plugin for step in registry.trace("event").steps] == ["c", "b", "a"]


def test_the_order_does_not_depend_on_the_threads(registry: HookRegistry) -> None:
    """Hooks that threads register keep the order in which each thread registered its own."""

    def register(prefix: str) -> None:
        for number in range(50):
            listen(registry, f"{prefix}{number:02}")

    threads = [threading.Thread(target=register, args=(prefix,)) for prefix in "abc"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    called = order(registry).split()
    for prefix in "abc":
        own = [name for name in called if name.startswith(prefix)]
        assert own == sorted(own)


def test_ordering_looks_at_each_hook_a_few_times_only() -> None:
    """Ten times the hooks, each of which names another, are ten times the work."""

    class Counting:
        looks = 0

        def __init__(self, number: int) -> None:
            self.number = number

        @property
        def name(self) -> str:
            Counting.looks += 1
            return str(self.number)

    def looks_for(count: int) -> int:
        registry = HookRegistry()
        for number in range(count):
            registry.register("event", print, Counting(number), after=[str(number + 1)])
        Counting.looks = 0
        assert len(registry.get_hooks("event")) == count
        return Counting.looks

    assert looks_for(2_000) == 10 * looks_for(200)


NAMES = "abcdef"
Said = tuple[str, tuple[str, ...], tuple[str, ...]]


@given(
    st.lists(
        st.tuples(
            st.sampled_from(NAMES),
            st.lists(st.sampled_from(NAMES), max_size=2).map(tuple),
            st.lists(st.sampled_from(NAMES), max_size=2).map(tuple),
        ),
        max_size=7,
    )
)
def test_what_can_be_kept_is_kept(said: list[Said]) -> None:
    """All hooks are called once, and all that they say holds unless it contradicts itself."""
    registry = HookRegistry()
    for place, (name, before, after) in enumerate(said):
        registry.register(
            "event",
            lambda data, place=place: data.append(place),
            Owner(name),
            before=before,
            after=after,
        )
    called = registry.trigger("event", [])
    assert sorted(called) == list(range(len(said)))
    wanted = [
        (first, second)
        for first, second in itertools.permutations(range(len(said)), 2)
        if said[second][0] in said[first][1] or said[first][0] in said[second][2]
    ]
    for first, second in wanted:
        if not leads(wanted, second, first):
            assert called.index(first) < called.index(second)


def leads(wanted: list[tuple[int, int]], start: int, end: int) -> bool:
    """Tell whether what is wanted puts one hook before another, directly or not."""
    found = {start}
    while more := {second for first, second in wanted if first in found} - found:
        found |= more
    return end in found


def test_the_same_hooks_always_have_the_same_order() -> None:
    """The order depends on what is registered, not on chance."""
    numbers = random.Random(7)
    said = [
        (str(number % 9), [str(numbers.randrange(9))], numbers.choice([1, 2]))
        for number in range(40)
    ]
    orders = set()
    for _ in range(3):
        registry = HookRegistry()
        for name, after, priority in said:
            listen(registry, name, after=after, priority=priority)
        orders.add(" ".join(registry.trigger("event", [])))
    assert len(orders) == 1
