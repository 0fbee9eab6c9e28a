"""Plugins load in an order that respects what they need, or each reason why not is reported."""

from __future__ import annotations

import json
import os
import pickle
import random
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Callable, ClassVar, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from costs import memory_traced
from nitro_dispatch.metadata import Origin, PluginMetadata, Requirement
from nitro_dispatch.resolver import Edge, Problem, resolve

CASES: Final = sorted(Path(__file__).with_name("resolver_cases").glob("*.json"))
MANY: Final = 5_000


def plugin(name: str, *dependencies: str, **values: object) -> PluginMetadata:
    """Make the metadata of a plugin as its class would give it."""
    return PluginMetadata.from_values(
        {"name": name, "dependencies": dependencies, **values}, origin=Origin()
    )


def described(problem: Problem) -> dict[str, object]:
    """Write a problem as the case files do."""
    return {
        "kind": problem.kind,
        "plugin": problem.plugin,
        "requirement": problem.requirement,
        "found": problem.found,
        "path": list(problem.path),
        "text": str(problem),
    }


@pytest.mark.parametrize("path", CASES, ids=lambda path: path.stem)
def test_case(path: Path) -> None:
    """A case file's plugins give its order, all of its problems, and its reasons."""
    case = json.loads(path.read_text(encoding="utf-8"))
    options = {
        key: case[key] for key in ("app_version", "python_version", "blocked") if key in case
    }
    plan = resolve((plugin(**{"dependencies": (), **p}) for p in case["plugins"]), **options)
    assert list(plan.order) == case["order"]
    assert [described(problem) for problem in plan.problems] == case["problems"]
    for question, answer in case.get("why", {}).items():
        assert [str(edge) for edge in plan.why(*question.split(" -> "))] == answer


def test_there_are_cases() -> None:
    """The folder of cases is found, so that the test above tests something."""
    assert len(CASES) > 30


def test_problem_is_a_plain_record() -> None:
    """A problem made by hand equals the one that was found, path included, and can be stored."""
    plan = resolve([plugin("top", "low>=1"), plugin("low", "gone")])
    made = Problem("dependency", "top", "low>=1", path=("top", "low"))
    assert plan.problems_of("top") == (made,)
    assert hash(plan.problems[0]) == hash(made)
    assert repr(plan.problems[0]) == repr(made)
    assert plan.problems[0] != Problem("dependency", "top", "low>=1", path=("top", "other"))
    assert pickle.loads(pickle.dumps(plan.problems[0])) == made
    assert Problem("blocked", "top").path == () == Problem.path
    with pytest.raises(AttributeError):
        made.kind = "missing"  # type: ignore[misc]
    with pytest.raises(AttributeError):
        made.path = ()  # type: ignore[misc]


def test_dependency_problem_carries_its_causes() -> None:
    """A problem that comes from another plugin carries that plugin's own problems."""
    plan = resolve([plugin("top", "low"), plugin("low", "gone", "lost")])
    assert plan.problems_of("top")[0].causes == plan.problems_of("low")


def test_members_of_a_circle_share_its_path() -> None:
    """The members of a circle hold one and the same path."""
    plan = resolve([plugin("a", "b"), plugin("b", "a")])
    assert plan.problems[0].path is plan.problems[1].path


def test_edges_name_who_declared_them() -> None:
    """An edge tells who needs what in which words, and whether it is optional."""
    plan = resolve([plugin("a", "b>=1", optional_dependencies=["c", "gone"]), *map(plugin, "bc")])
    expected = (Edge("a", "b", "b>=1", False), Edge("a", "c", "c", True))
    assert plan.edges_of("a") == expected
    assert plan.why("a", "c") == expected[1:]
    assert plan.edges_of("b") == plan.edges_of("nobody") == plan.why("b", "a") == ()


def test_problems_of_a_plugin_without_any() -> None:
    """A plugin that can be loaded, or is not known, has no problems."""
    plan = resolve([plugin("a"), plugin("b", "gone")])
    assert plan.problems_of("a") == plan.problems_of("nobody") == ()


def test_running_python_is_the_default() -> None:
    """Without a version of Python the running one is checked."""
    running = f"{sys.version_info[0]}.{sys.version_info[1]}"
    plan = resolve(
        [
            plugin("a", requires_python=f"=={running}.*"),
            plugin("b", requires_python=f"!={running}.*"),
        ]
    )
    assert plan.order == ("a",)
    assert plan.problems[0].found.startswith(f"{running}.")


def test_last_metadata_of_a_name_counts() -> None:
    """Of two plugins of one name the later one counts, in the place of the first."""
    assert resolve([plugin("a", "gone"), plugin("b"), plugin("a")]).order == ("a", "b")


# A small independent model, which recurses and repeats itself: what each rule says, and no more.

NAMES: Final = "abcdefg"


@st.composite
def plugin_sets(draw: st.DrawFn) -> list[PluginMetadata]:
    """Draw a few plugins which need, want and exclude each other, and some that are not there."""
    requirements = st.lists(
        st.sampled_from([*NAMES, *(f"{name}>=2" for name in NAMES), "a<2"]), max_size=2
    )
    return [
        plugin(
            name,
            *draw(requirements),
            version=draw(st.sampled_from(["1.0", "2.0", "2.0", "2.0"])),
            optional_dependencies=draw(requirements),
            conflicts=draw(st.sampled_from([[], [], [], ["b<2"], ["c"]])),
            requires_python=draw(st.sampled_from(["", "", "", "<3.9"])),
        )
        for name in draw(st.lists(st.sampled_from(NAMES), unique=True))
    ]


class Model:
    """What the rules say of a set of plugins."""

    def __init__(self, plugins: list[PluginMetadata], blocked: set[str]) -> None:
        self.known = {one.name: one for one in plugins}
        self.blocked = blocked

    def meets(self, requirement: Requirement) -> bool:
        """Tell whether a plugin of a fitting version is there."""
        target = self.known.get(requirement.name)
        return target is not None and requirement.allows(target.version)

    def closure(self, name: str) -> set[str]:
        """Find all that a plugin needs, itself only if it is on a circle."""
        found: set[str] = set()
        while True:
            more = {
                requirement.name
                for one in {name} | found
                if one in self.known and one not in self.blocked
                for requirement in self.known[one].dependencies
            }
            if more <= found:
                return found
            found |= more

    def is_culprit(self, name: str) -> bool:
        """Tell whether something is wrong with a plugin itself."""
        one = self.known[name]
        return (
            name in self.blocked
            or one.requires_python == "<3.9"
            or not all(map(self.meets, one.dependencies))
            or any(self.meets(c) and c.name not in self.blocked for c in one.conflicts)
            or name in self.closure(name)
        )

    def is_rejected(self, name: str) -> bool:
        """Tell whether something is wrong with a plugin or something that it needs."""
        return any(self.is_culprit(one) for one in {name, *self.closure(name)} & set(self.known))


BLOCKED: Final = st.sets(st.sampled_from(NAMES), max_size=2)


@given(plugin_sets(), BLOCKED)
def test_rejected_exactly_if_something_is_wrong(
    plugins: list[PluginMetadata], blocked: set[str]
) -> None:
    """A plugin is in the order, or has a problem: exactly if it or what it needs has one."""
    plan, model = resolve(plugins, blocked=blocked), Model(plugins, blocked)
    rejected = {one.name for one in plugins if model.is_rejected(one.name)}
    assert {problem.plugin for problem in plan.problems} == rejected
    assert sorted(plan.order) == sorted(model.known.keys() - rejected)
    own = {problem.plugin for problem in plan.problems if problem.kind != "dependency"}
    assert own == {name for name in rejected if model.is_culprit(name)}


@given(plugin_sets(), BLOCKED)
def test_order_respects_every_edge(plugins: list[PluginMetadata], blocked: set[str]) -> None:
    """What a plugin needs precedes it, and what it wants too unless that leads back to it."""
    plan, model = resolve(plugins, blocked=blocked), Model(plugins, blocked)
    place = {name: index for index, name in enumerate(plan.order)}
    wanted: dict[str, set[str]] = {
        name: {r.name for r in model.known[name].optional_dependencies if model.meets(r)}
        & place.keys()
        for name in plan.order
    }
    reached = {name: {name} for name in plan.order}
    for _ in plan.order:
        for name, nodes in reached.items():
            for node in list(nodes):
                nodes |= wanted[node] | {r.name for r in model.known[node].dependencies}
            reached[name] = nodes
    for name in plan.order:
        assert all(place[r.name] < place[name] for r in model.known[name].dependencies)
        counted = {name_ for name_ in wanted[name] if name not in reached[name_]}
        assert all(place[other] < place[name] for other in counted)
        assert counted == {edge.requires for edge in plan.edges_of(name) if edge.optional}


@given(plugin_sets(), BLOCKED)
def test_every_problem_is_reported_and_true(
    plugins: list[PluginMetadata], blocked: set[str]
) -> None:
    """Each single fault is a problem, and each path is a way along what plugins need."""
    plan, model = resolve(plugins, blocked=blocked), Model(plugins, blocked)
    for one in plugins:
        problems = plan.problems_of(one.name)
        kinds = [problem.kind for problem in problems]
        if one.name in blocked:
            assert kinds == ["blocked"]
            continue
        unmet = [str(r) for r in one.dependencies if not model.meets(r)]
        assert [p.requirement for p in problems if p.kind in ("missing", "version")] == unmet
        assert ("python" in kinds) == (one.requires_python == "<3.9")
        assert ("cycle" in kinds) == (one.name in model.closure(one.name))
        for problem in problems:
            steps = list(zip(problem.path, problem.path[1:]))
            assert all(b in {r.name for r in model.known[a].dependencies} for a, b in steps)
            if problem.kind == "cycle":
                assert problem.path[0] == problem.path[-1]
                assert one.name in problem.path
            if problem.kind == "dependency":
                assert problem.path[0] == one.name
                assert problem.causes
                assert {cause.plugin for cause in problem.causes} == {problem.path[-1]}
                assert any(cause.kind != "dependency" for cause in problem.causes)


@given(plugin_sets(), BLOCKED)
def test_why_is_a_shortest_chain(plugins: list[PluginMetadata], blocked: set[str]) -> None:
    """A reason is a chain of edges that count, there exactly if one is, and none is shorter."""
    plan = resolve(plugins, blocked=blocked)
    for start in NAMES:
        distance, frontier = {}, {start}
        for steps in range(1, len(NAMES) + 1):
            frontier = {edge.requires for name in frontier for edge in plan.edges_of(name)}
            distance.update({name: steps for name in frontier if name not in distance})
        for goal in NAMES:
            chain = plan.why(start, goal)
            assert len(chain) == distance.get(goal, 0)
            assert [edge.plugin for edge in chain] == [
                *[start][: len(chain)],
                *(edge.requires for edge in chain[:-1]),
            ]
            assert all(edge in plan.edges_of(edge.plugin) for edge in chain)


def names_up_to(count: int) -> list[str]:
    """Make names of plugins, in no alphabetical order."""
    return [f"p{number}" for number in range(count)]


def chain(names: list[str]) -> list[PluginMetadata]:
    """Let each plugin need the next."""
    pairs = zip(names, names[1:])
    return [*(needing(name, [following]) for name, following in pairs), needing(names[-1], [])]


def needing(name: str, needs: list[str], wants: Sequence[str] = ()) -> PluginMetadata:
    """Make the metadata of a plugin whose names are kept as the objects that they are."""
    return PluginMetadata(
        name,
        dependencies=tuple(map(Requirement, needs)),
        optional_dependencies=tuple(map(Requirement, wants)),
    )


def backward_chain(names: list[str]) -> list[PluginMetadata]:
    """Let each plugin need the one before it."""
    return chain(names)[::-1]


def chain_to_missing(names: list[str]) -> list[PluginMetadata]:
    """Let each plugin need the next, and the last be missing."""
    return chain(names)[:-1]


def all_to_missing(names: list[str]) -> list[PluginMetadata]:
    """Let each plugin need one that is missing."""
    return [needing(name, [names[0]]) for name in names[1:]]


def circle(names: list[str]) -> list[PluginMetadata]:
    """Let each plugin need the next, and the last the first."""
    return [*chain(names)[:-1], needing(names[-1], [names[0]])]


def chain_to_circle(names: list[str]) -> list[PluginMetadata]:
    """Let half of the plugins be a circle, and the others lead to it."""
    half = len(names) // 2
    return [*chain(names)[:half], *circle(names[half:])]


def many_small_circles(names: list[str]) -> list[PluginMetadata]:
    """Let one plugin need all the others, and each of them need it."""
    return [needing(names[0], names[1:]), *(needing(name, [names[0]]) for name in names[1:])]


def many_large_circles(names: list[str]) -> list[PluginMetadata]:
    """Let half of the plugins be one chain, whose end is joined to its start by each other one."""
    half = len(names) // 2
    *first, last = chain(names[:half])
    others = names[half:]
    return [*first, needing(last.name, others), *(needing(name, [names[0]]) for name in others)]


def optional_circle(names: list[str]) -> list[PluginMetadata]:
    """Let each plugin want the next, and the last the first."""
    return [needing(name, [], [names[index - 1]]) for index, name in enumerate(names)]


def acyclic(names: list[str]) -> list[PluginMetadata]:
    """Let plugins need random ones of those after them, and want any."""
    choice = random.Random(len(names))
    return [
        needing(name, choice.choices(names[index + 1 :], k=3), choice.choices(names, k=2))
        for index, name in enumerate(names[:-1])
    ] + [needing(names[-1], [])]


def tangle(names: list[str]) -> list[PluginMetadata]:
    """Let plugins need and want random ones, some of which are missing."""
    choice = random.Random(len(names))
    return [
        needing(name, choice.choices(names, k=choice.randrange(3)), choice.choices(names, k=2))
        for name in names[: -len(names) // 10]
    ]


Shape = Callable[[list[str]], "list[PluginMetadata]"]
SHAPES: Final[list[Shape]] = [
    chain,
    backward_chain,
    chain_to_missing,
    all_to_missing,
    circle,
    chain_to_circle,
    many_small_circles,
    many_large_circles,
    optional_circle,
    acyclic,
    tangle,
]
# Those with a way of thousands of plugins from each of them, and random ones.
LARGE_SHAPES: Final[list[Shape]] = [chain_to_missing, chain_to_circle, many_large_circles, acyclic]


def name_of(shape: Shape) -> str:
    """Name a shape in the list of tests."""
    return shape.__name__


class CountedName(str):
    """A name that counts how often a table looks for any such name."""

    __slots__ = ()
    lookups: ClassVar[int] = 0

    def __hash__(self) -> int:
        CountedName.lookups += 1
        return super().__hash__()

    __eq__ = str.__eq__


@pytest.mark.parametrize("shape", LARGE_SHAPES, ids=name_of)
def test_many_plugins_need_little_memory(shape: Shape) -> None:
    """Thousands of plugins are resolved without recursion, and their paths take no room."""
    plugins = shape(names_up_to(MANY))
    with memory_traced() as memory:
        plan = resolve(plugins)
        _, peak = memory()
    assert {*plan.order, *(problem.plugin for problem in plan.problems)} == {
        one.name for one in plugins
    }
    # A path for each of them would take 100 MB.
    assert peak < 50_000_000
    for problem in (*plan.problems[:1], *plan.problems[-1:]):
        assert str(problem).endswith(("missing", problem.path[-1] if problem.path else ""))


@pytest.mark.parametrize("shape", SHAPES, ids=name_of)
def test_effort_is_linear(shape: Shape) -> None:
    """Twice as many plugins take twice as many steps."""
    lookups = []
    for count in (1000, 2000):
        plugins = shape([CountedName(name) for name in names_up_to(count)])
        CountedName.lookups = 0
        resolve(plugins)
        lookups.append(CountedName.lookups)
    assert lookups[0] > 1000
    assert lookups[1] < 2.3 * lookups[0]


def test_paths_of_many_plugins() -> None:
    """A long path is the whole way, and a long circle the whole circle."""
    names = names_up_to(MANY)
    missing = resolve(chain_to_missing(names)).problems[0]
    assert missing.path == tuple(names[:-1])
    assert str(missing).endswith(f"-> {names[-2]}: {names[-2]} needs {names[-1]}, which is missing")
    problems = resolve(circle(names)).problems
    assert problems[0].path == (*names, names[0])
    assert all(problem.path is problems[0].path for problem in problems)
    assert len(resolve(chain(names)).why(names[0], names[-1])) == MANY - 1


def test_knot_of_too_many_circles() -> None:
    """Where circles are too many to tell apart, each plugin is still told of one."""
    plan = resolve(many_small_circles(names_up_to(100)))
    assert {problem.plugin for problem in plan.problems} == {*names_up_to(100)}
    assert all(str(problem).startswith("circular dependency: p0 -> ") for problem in plan.problems)


def test_plan_does_not_depend_on_the_hash_seed() -> None:
    """Interpreters with different hash seeds make the same plan."""
    code = (
        "import pickle, sys\n"
        "from nitro_dispatch.resolver import resolve\n"
        "plan = resolve(pickle.load(sys.stdin.buffer), blocked={'p1', 'p2', 'p3'})\n"
        "print(plan.order, *plan.problems, *map(plan.edges_of, plan.order), sep='\\n')\n"
    )
    outputs = {
        subprocess.run(
            [sys.executable, "-c", code],
            input=pickle.dumps(tangle(names_up_to(100))),
            env={**os.environ, "PYTHONHASHSEED": seed},
            check=True,
            capture_output=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(outputs) == 1
    output = outputs.pop()
    assert b"circular" in output
    assert b"optional=True" in output
