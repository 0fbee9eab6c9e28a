"""Names match as written, in bounded time and memory, whatever the pattern."""

from __future__ import annotations

import functools
import gc
import re
import tempfile
import time
from pathlib import Path
from typing import Callable

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from costs import lines_run, memory_traced
from nitro_dispatch import HookRegistry, PluginManager

# What is special to regular expressions, to `fnmatch`, to formats, to lines and to encodings.
SPECIAL = (
    "^$|?+\\()[]{}-!#%&~,:'\"/ \n\r\t\0\x85\u2028\u0301\u00e9e\u0130\u212a\ud800\udc00\U0001f40d"
)
texts = st.one_of(
    st.text("ab.*", max_size=8),
    st.text("ab.*" + SPECIAL, max_size=8),
    st.lists(
        st.sampled_from(["a", "b", ".", "*", "**", "***", "a.b", ".*.", "[a]", "", "*.", "\n"]),
        max_size=7,
    ).map("".join),
)
patterns = texts.filter(bool)


def matches(pattern: str, name: str) -> bool:
    """Match as the documentation says it, character by character."""
    if "*" not in pattern:
        return pattern == name
    if "" in name.split("."):
        return False
    reached = {0}
    for token in re.findall(r"\*+|[^*]", pattern):
        if token[0] == "*":
            ends = {(here, end) for here in reached for end in range(here + 1, len(name) + 1)}
            reached = {end for here, end in ends if len(token) > 1 or "." not in name[here:end]}
        else:
            reached = {here + 1 for here in reached if name[here : here + 1] == token}
    return len(name) in reached


def a_name_of(data: st.DataObject, several: list[str]) -> str:
    """Give a name that one of some patterns is likely to match."""
    pattern = data.draw(st.sampled_from(several))
    fillings = st.text("ab", min_size=1, max_size=3) | texts
    filled = re.sub(r"\*+", lambda _: data.draw(fillings), pattern)
    return data.draw(st.sampled_from([filled, filled, pattern]) | texts)


@settings(max_examples=150)
@given(several=st.lists(patterns, min_size=1, max_size=6), data=st.data())
def test_names_match_as_written(several: list[str], data: st.DataObject) -> None:
    """Every name calls the hooks whose patterns match it as documented, and no other, in order."""
    manager = PluginManager()
    hooks = [(pattern, lambda data, pattern=pattern: [*data, pattern]) for pattern in several]
    for pattern, hook in hooks:
        manager.register_hook(pattern, hook)
    for _ in range(3):
        name = a_name_of(data, several)
        expected = [pattern for pattern, _ in hooks if matches(pattern, name)]
        # The second time it is known, and each way to fire has its own chains.
        for _ in range(2):
            assert manager.trigger(name, []) == expected
        assert manager.first(name, []) == ([expected[0]] if expected else None)
        assert sorted(manager.get_events()) == sorted({pattern for pattern, _ in hooks})
        if hooks:
            manager.unregister_hook(*hooks.pop(data.draw(st.integers(0, len(hooks) - 1))))


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(several=st.lists(patterns, min_size=1, max_size=5), data=st.data())
def test_names_wake_as_written(tmp_path: Path, several: list[str], data: st.DataObject) -> None:
    """A name imports the armed plugins whose patterns match it as documented, and no other."""
    source = "from nitro_dispatch import PluginBase, hook\n" + "".join(
        f"class P{number}(PluginBase):\n"
        f"    @hook([{pattern!a}])\n"
        f"    def listen(self, data): return [*data, {number}]\n"
        for number, pattern in enumerate(several)
    )
    # A module is imported once, so each example has a file of its own.
    folder = Path(tempfile.mkdtemp(dir=tmp_path))
    (folder / "a_plugin.py").write_text(source)
    manager = PluginManager(lazy=True)
    manager.discover_plugins(folder)
    assert manager.load_all() == [f"P{number}" for number in range(len(several))]
    name = a_name_of(data, several)
    expected = [number for number, pattern in enumerate(several) if matches(pattern, name)]
    assert manager.trigger(name, []) == expected
    assert manager.get_loaded_plugins() == [f"P{number}" for number in expected]
    manager.unload_all()


# By what they are, patterns and what a name for which they are slow is made of.
HOSTILE: dict[str, tuple[list[str], str]] = {
    "stars": (["*a*a*a*b"], "a"),
    "many stars": (["*a" * 60 + "b"], "a"),
    "crossing stars": (["**.**.**"], "a."),
    "many crossing stars": (["**a" * 60 + ".b"], "a.a"),
    "both kinds": (["**a*" * 40 + ".*.z"], "aa."),
    "only stars": (["*" * 5_000], "a"),
    "stars and dots": ([".".join(["*"] * 60), "*." * 60 + "**.b"], "a."),
    "ends that overlap": (["a" * 50 + "*" + "a" * 50, "aba*aba"], "a"),
    "a regular expression": (["(a+)+*$", "(a|a)*b", "[a-z]*[0-9]"], "a"),
    "thousands": ([f"a*{'a' * (number % 40)}*{number}" for number in range(3_000)], "a"),
    "thousands of segments": ([f"*.a{number}.**" for number in range(3_000)], "a."),
    "no character twice": (["*" + "".join(map(chr, range(0x4E00, 0x7E00))) + "*"], "\u4e00"),
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_time_grows_with_the_name_and_not_faster(kind: str, alarm: None) -> None:
    """Twice the name takes twice the steps at most, and a name of any length comes to an end."""
    several, unit = HOSTILE[kind]
    registry = HookRegistry()
    for pattern in several:
        registry.register(pattern, lambda data: data)
    # With a segment that is not empty at the end, lest nothing be looked at.
    first, second, third = (
        lines_run(functools.partial(registry.trigger, unit * length + "x"))
        for length in (200, 400, 800)
    )
    # The first may have taken a step more, which is taken once.
    assert third - second <= 2.2 * max(second - first, 0) + 50
    # What runs in C takes no line: a backtracking search would not end before the alarm.
    registry.trigger(unit * 20_000 + "x")


def test_a_lookup_takes_as_many_steps_for_thousands_of_patterns() -> None:
    """The steps for a name depend on the patterns that are like it, not on how many there are."""

    def steps_among(count: int) -> int:
        registry = HookRegistry()
        for number in range(1_000, 1_000 + count):
            for pattern in ("user{}.*", "**.done{}", "{}*ed", "a.*.{}", "{}.**.{}"):
                registry.register(pattern.format(number, number), lambda data: data)
        registry.trigger("warm.up")
        return lines_run(lambda: registry.trigger("user.logged.in"))

    assert steps_among(2_000) <= steps_among(20) + 20


def growth(fire: Callable[[int], object], count: int) -> int:
    """Measure what is left in memory of many calls, in bytes."""
    for number in range(3_000):
        fire(-number)
    gc.collect()
    with memory_traced() as memory:
        for number in range(count):
            fire(number)
        gc.collect()
        return memory()[0]


@pytest.mark.parametrize("name", ["user.{}", "unheard.{}", "user..{}", "{}"])
def test_unseen_names_leave_nothing_behind(tmp_path: Path, name: str) -> None:
    """Five times as many names take no more memory than a few thousand, whoever listens."""
    (tmp_path / "a_plugin.py").write_text(
        "from nitro_dispatch import PluginBase, hook\n"
        "class Armed(PluginBase):\n"
        "    @hook('user.*.never')\n"
        "    def listen(self, data): pass\n"
    )
    manager = PluginManager(lazy=True)
    manager.discover_plugins(tmp_path)
    assert manager.load_all() == ["Armed"]
    manager.register_hook("user.*", lambda data: data)
    manager.register_hook("u*er.**", lambda data: data)
    assert growth(lambda number: manager.trigger(name.format(number)), 15_000) < 800_000


def test_long_names_leave_nothing_behind() -> None:
    """Names of a hundred thousand characters are not kept, however many there are."""
    registry = HookRegistry()
    registry.register("user.*", lambda data: data)
    padding = "a" * 100_000
    assert growth(lambda number: registry.trigger(f"user.{number}{padding}"), 300) < 1_000_000


def test_a_pattern_takes_memory_in_proportion_to_its_length() -> None:
    """A pattern of many different characters takes no square of their number."""
    pattern = "*" + "".join(chr(0x10000 + number) for number in range(20_000)) + "*"
    registry = HookRegistry()
    started = time.process_time()
    with memory_traced() as memory:
        registry.register(pattern, lambda data: data + 1)
        _, peak = memory()
    assert peak < 20_000_000
    assert registry.trigger(f"a{pattern[1:-1]}b", 0) == 1
    assert registry.trigger(f"a{pattern[2:-1]}b", 0) == 0
    assert time.process_time() - started < 20


@pytest.mark.parametrize("name", ["", ".", "user.", ".user", "user..login", "..."])
def test_a_name_that_nobody_can_listen_to_gives_the_data_back(name: str) -> None:
    """A name with an empty segment calls no pattern, and gives the data back as it is."""
    manager = PluginManager()
    for pattern in ("*", "**", "user.*", "*.*", "**.*", "u**"):
        manager.register_hook(pattern, lambda data: pytest.fail("it is called"))
    data = object()
    assert manager.trigger(name, data) is data
