"""Walks through a graph of names: orders, circles and ways, each without recursion.

A graph gives for each name the names that it leads to, all of which are in the graph too.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable, Mapping, Sequence
from typing import Callable, Final

__all__ = [
    "Graph",
    "circles",
    "components",
    "is_sorted",
    "post_order",
    "reversed_graph",
    "shortest_path",
]

Graph = Mapping[str, Sequence[str]]

# Circles that share members are each looked for anew, which takes time and room with their number:
# past this many a tangle of plugins counts as leading to those already found.
_MOST_CIRCLES: Final = 20


def post_order(graph: Graph) -> list[str]:
    """List each node after what it leads to, otherwise in the order of the graph."""
    order: list[str] = []
    seen: set[str] = set()
    for root in graph:
        stack = [] if root in seen else [(root, iter(graph[root]))]
        seen.add(root)
        while stack:
            name, remaining = stack[-1]
            for node in remaining:
                if node not in seen:
                    seen.add(node)
                    stack.append((node, iter(graph[node])))
                    break
            else:
                order.append(name)
                stack.pop()
    return order


def is_sorted(graph: Graph, order: Iterable[str]) -> bool:
    """Tell whether an order has each node behind what it leads to, so that none is on a circle."""
    before: set[str] = set()
    for name in order:
        if not before.issuperset(graph[name]):
            return False
        before.add(name)
    return True


def reversed_graph(graph: Graph) -> dict[str, list[str]]:
    """Turn every edge of a graph round."""
    backwards: dict[str, list[str]] = {name: [] for name in graph}
    for name, following in graph.items():
        for node in following:
            backwards[node].append(name)
    return backwards


def components(graph: Graph) -> dict[str, str]:
    """Give each node one node that stands for its strongly connected component (Kosaraju)."""
    backwards = reversed_graph(graph)
    component_of: dict[str, str] = {}
    for root in reversed(post_order(graph)):
        stack = [root]
        while stack:
            name = stack.pop()
            if name not in component_of:
                component_of[name] = root
                stack.extend(backwards[name])
    return component_of


def circles(graph: Graph, component_of: Mapping[str, str]) -> list[tuple[str, ...]]:
    """Find short circles until every node that is on one is on one of these."""
    inside = {
        name: [node for node in following if component_of[node] == component_of[name]]
        for name, following in graph.items()
    }
    rank = {name: place for place, name in enumerate(graph)}
    found: list[tuple[str, ...]] = []
    covered: set[str] = set()
    count = Counter[str]()
    for name in graph:
        if inside[name] and name not in covered and count[component_of[name]] < _MOST_CIRCLES:
            count[component_of[name]] += 1
            *members, _ = shortest_path(inside.__getitem__, name, name)
            first = members.index(min(members, key=rank.__getitem__))
            found.append((*members[first:], *members[: first + 1]))
            covered.update(members)
    return found


def shortest_path(
    following: Callable[[str], Iterable[str]], start: str, goal: str
) -> tuple[str, ...]:
    """Find the nodes from start to goal, at least one edge apart; none if there is no way."""
    came_from: dict[str, str] = {}
    queue = deque([start])
    while queue and goal not in came_from:
        name = queue.popleft()
        for node in following(name):
            if node not in came_from:
                came_from[node] = name
                queue.append(node)
    if goal not in came_from:
        return ()
    path = [goal, came_from[goal]]
    while path[-1] != start:
        path.append(came_from[path[-1]])
    return tuple(reversed(path))
