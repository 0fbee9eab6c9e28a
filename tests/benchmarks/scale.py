"""Rows: what large numbers of hooks, names and plugins cost."""

from __future__ import annotations

import gc
import itertools
import random
import time
import tracemalloc
from graphlib import TopologicalSorter
from typing import Callable, Final

from generated import EVENT, make_hooks, new_data, straight_line
from managers import add_patterns, manager_with
from measuring import TURNS, Round, Row, Timed, clocked, turn_about
from nitro_dispatch import HookRegistry, PluginBase, PluginManager

MANY: Final = 5_000
UNSEEN: Final = 100_000
# So many names fill a turn, and whatever is kept of names several times.
NAMES: Final = 3_000


def twice_the_hooks() -> Round:
    """Compare the registration of 10,000 hooks on one event with that of 5,000."""
    hooks = make_hooks(2 * MANY)

    def registration(count: int) -> Timed:
        def register(registry: HookRegistry) -> None:
            for hook in hooks[:count]:
                registry.register(EVENT, hook)

        def prepare() -> Callable[[], object]:
            registry = HookRegistry()
            return lambda: register(registry)

        return clocked(prepare)

    return turn_about(registration(2 * MANY), registration(MANY), turns=3)


def hook_memory() -> Round:
    """Take the memory of a hook that a plugin has registered and that was dispatched to."""
    hooks = make_hooks(MANY)
    # The interpreter allocates something for each function when it is first called.
    straight_line(hooks)(new_data())

    def bytes_a_hook() -> float:
        kept = []

        def register_and_dispatch() -> None:
            kept.append(manager_with(hooks))
            kept[0].trigger(EVENT, new_data())

        return growth(register_and_dispatch) / MANY

    return bytes_a_hook


def manager_with_patterns() -> PluginManager:
    """Make a manager with 1,000 patterns."""
    manager = PluginManager()
    add_patterns(manager)
    return manager


def unseen_names() -> Round:
    """Take the microseconds that a name costs which was never seen before."""
    manager = manager_with_patterns()
    numbers = itertools.count()

    def one_turn() -> float:
        names = [f"unseen{number}.event" for number in itertools.islice(numbers, NAMES)]
        started = time.perf_counter()
        for name in names:
            manager.trigger(name)
        return (time.perf_counter() - started) / NAMES * 1e6

    return lambda: min(one_turn() for _ in range(TURNS))


def unseen_memory() -> Round:
    """Take the megabytes that 100,000 names leave which were never seen before."""
    manager = manager_with_patterns()
    numbers = itertools.count()

    def trigger_unseen() -> None:
        for number in itertools.islice(numbers, UNSEEN):
            manager.trigger(f"unseen{number}.event")

    return lambda: growth(trigger_unseen) / 1e6


def growth(work: Callable[[], object]) -> float:
    """Tell by how many bytes a piece of work lets the memory grow that Python has allocated."""
    gc.collect()
    tracemalloc.start()
    try:
        work()
        gc.collect()
        return tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()


def random_graph(count: int) -> dict[str, list[str]]:
    """Make a graph without circles in which each node needs up to five others, in any order."""
    chance = random.Random(count)
    names = [f"plugin{number}" for number in range(count)]
    graph = {
        name: chance.sample(names[:number], chance.randint(0, min(number, 5)))
        for number, name in enumerate(names)
    }
    chance.shuffle(names)
    return {name: graph[name] for name in names}


def loading(count: int) -> Timed:
    """Time registering and loading plugins that do nothing but need each other."""
    classes = [
        type(name, (PluginBase,), {"name": name, "dependencies": needed})
        for name, needed in random_graph(count).items()
    ]

    def run(manager: PluginManager) -> None:
        for plugin_class in classes:
            manager.register(plugin_class)
        assert len(manager.load_all()) == count

    def prepare() -> Callable[[], object]:
        manager = PluginManager()
        return lambda: run(manager)

    return clocked(prepare)


def load_and_sort(count: int, turns: int) -> Round:
    """Compare loading plugins with sorting their graph."""
    graph = random_graph(count)
    sorting = clocked(lambda: lambda: list(TopologicalSorter(graph).static_order()))
    return turn_about(loading(count), sorting, turns=turns)


def twice_the_plugins() -> Round:
    """Compare loading 10,000 plugins with loading 5,000."""
    return turn_about(loading(2 * MANY), loading(MANY), turns=3)


GRAPHLIB: Final = "`graphlib` on the same graph"
ROWS: Final = (
    Row(
        "scale.hooks",
        "registering 10,000 hooks on one event",
        "registering 5,000",
        twice_the_hooks,
        (),
        2.3,
        rounds=10,
    ),
    Row(
        "scale.hook_memory",
        "memory of a hook, 5,000 registered and dispatched to",
        "bytes",
        hook_memory,
        (),
        200,
        is_ratio=False,
        rounds=3,
    ),
    Row(
        "scale.unseen",
        "`trigger` of a name never seen before, 1,000 patterns",
        "µs",
        unseen_names,
        (),
        6,
        is_ratio=False,
    ),
    Row(
        "scale.unseen_memory",
        "memory that 100,000 such names leave",
        "MB",
        unseen_memory,
        (),
        3,
        is_ratio=False,
        rounds=3,
    ),
    *(
        Row(
            f"scale.plugins_{count}",
            f"registering and loading {count:,} plugins of a random graph, in any order",
            GRAPHLIB,
            load_and_sort,
            (count, turns),
            6,
            rounds=5,
        )
        for count, turns in ((1_000, 10), (10_000, 3))
    ),
    Row(
        "scale.plugins",
        "registering and loading 10,000 plugins of a random graph",
        "registering and loading 5,000",
        twice_the_plugins,
        (),
        2.3,
        rounds=5,
    ),
)
