"""Walks through a graph: orders, components, circles and ways."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from nitro_dispatch.graphs import (
    Graph,
    circles,
    components,
    post_order,
    reversed_graph,
    shortest_path,
)

NAMES = "abcdef"
GRAPHS = st.fixed_dictionaries(
    {name: st.lists(st.sampled_from(NAMES), max_size=3, unique=True) for name in NAMES}
)


def reached(graph: Graph, start: str) -> set[str]:
    """Find all that a node leads to, at least one edge away."""
    found: set[str] = set()
    waiting = [start]
    while waiting:
        new = set(graph[waiting.pop()]) - found
        found |= new
        waiting += new
    return found


@given(GRAPHS)
def test_post_order_lists_each_node_after_what_it_leads_to(graph: Graph) -> None:
    """Every node is listed once, and behind what it leads to, unless that leads back to it."""
    order = post_order(graph)
    assert sorted(order) == sorted(graph)
    for name, following in graph.items():
        for node in following:
            if name not in reached(graph, node):
                assert order.index(node) < order.index(name)


@given(GRAPHS)
def test_reversed_graph_turns_every_edge(graph: Graph) -> None:
    """Each edge is there the other way round, and turning twice gives the same edges."""
    backwards = reversed_graph(graph)
    edges = {(name, node) for name, following in graph.items() for node in following}
    assert edges == {(node, name) for name, nodes in backwards.items() for node in nodes}


@given(GRAPHS)
def test_components_join_what_leads_to_each_other(graph: Graph) -> None:
    """Two nodes are of one component exactly if each leads to the other."""
    component_of = components(graph)
    for one in NAMES:
        for other in NAMES:
            both = other in reached(graph, one) and one in reached(graph, other)
            assert (component_of[one] == component_of[other]) == (one == other or both)


@given(GRAPHS)
def test_circles_cover_all_that_is_on_one(graph: Graph) -> None:
    """Every node that leads back to itself is on a circle that begins with its first."""
    found = circles(graph, components(graph))
    for circle in found:
        assert circle[0] == circle[-1] == min(circle, key=list(graph).index)
        assert all(node in graph[name] for name, node in zip(circle, circle[1:]))
    on_one = {name for name in graph if name in reached(graph, name)}
    assert {name for circle in found for name in circle} == on_one


@given(GRAPHS, st.sampled_from(NAMES), st.sampled_from(NAMES))
def test_shortest_path_leads_from_start_to_goal(graph: Graph, start: str, goal: str) -> None:
    """A path follows the edges from one end to the other; there is none where there is no way."""
    path = shortest_path(graph.__getitem__, start, goal)
    assert bool(path) == (goal in reached(graph, start))
    assert all(node in graph[name] for name, node in zip(path, path[1:]))
    assert not path or (path[0], path[-1]) == (start, goal)
    steps, front = 0, {start}
    while path and (goal not in front or not steps):
        steps, front = steps + 1, {node for name in front for node in graph[name]}
    assert not path or len(path) == steps + 1
