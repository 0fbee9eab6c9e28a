"""In which order plugins load, and why some cannot: a pure function of their metadata.

There is one version of each plugin, so nothing is searched for: every requirement is checked once,
circles are the strongly connected parts of the graph, what fails is spread to what needs it, and
the rest is sorted. Each step is linear, and none recurses: a chain may be as long as it likes.
"""

from __future__ import annotations

import itertools
import sys
from collections import deque
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Final, Optional, Union

from nitro_dispatch.frozen import Frozen
from nitro_dispatch.graphs import (
    Graph,
    circles,
    components,
    is_sorted,
    post_order,
    reversed_graph,
    shortest_path,
)
from nitro_dispatch.metadata import PluginMetadata, Requirement

__all__ = ["Edge", "Plan", "Problem", "conflicts", "leads_to", "needs_of", "resolve"]

_ARROW: Final = " -> "

# A text names no more plugins of a path than these, for many long texts together are large.
_MOST_NAMES: Final = 10

_TEXTS: Final[Mapping[str, str]] = {
    "missing": "{plugin} needs {requirement}, which is missing",
    "version": "{plugin} needs {requirement}, but version {found} is there",
    "conflict": "{plugin} conflicts with {requirement}, and version {found} is there",
    "cycle": "circular dependency: {path}",
    "python": "{plugin} needs Python {requirement}, but this is Python {found}",
    "application": "{plugin} needs the application at {requirement}, but this is {found}",
    "blocked": "{plugin} is blocked",
    "dependency": "{path}: {causes}",
}


class _Route(Frozen):
    """A path that is worked out when it is read, for many long ones together are large."""

    plugin: str
    requires: str
    culprit: str
    towards_culprit: Mapping[str, str]

    def __iter__(self) -> Iterator[str]:
        """Give the plugins from the first to the culprit."""
        yield self.plugin
        name = self.requires
        while name != self.culprit:
            yield name
            name = self.towards_culprit[name]
        yield name


class _Path:
    """The attribute `Problem.path`: holds a tuple or a route, and always gives a tuple."""

    def __get__(self, problem: Optional[object], owner: Optional[type] = None) -> tuple[str, ...]:
        """Give the path of a problem; without one, the default of the attribute."""
        return () if problem is None else tuple(problem.__dict__["path"])

    def __set__(self, problem: object, path: Union[tuple[str, ...], _Route]) -> None:
        """Hold the path of a problem."""
        problem.__dict__["path"] = path


class Problem(Frozen, aside=("causes",)):
    """A reason why a plugin cannot be loaded.

    Args:
        kind: One of `missing`, `version`, `conflict`, `cycle`, `python`, `application`, `blocked`
            and `dependency`, the last for a plugin which needs one that has a problem.
        plugin: The plugin that cannot be loaded.
        requirement: What it asked for, as it wrote it.
        found: The version that is there instead.
        path: Plugins of which each needs the next: a whole circle, from the member that was
            registered first back to it, or the way to the plugin that is to blame.
        causes: The problems of the plugin that is to blame.

    Example:
        >>> str(Problem("version", "audit", "store>=1.2", "1.0.0"))
        'audit needs store>=1.2, but version 1.0.0 is there'
    """

    kind: str
    plugin: str
    requirement: str = ""
    found: str = ""
    path: _Path = _Path()
    causes: tuple[Problem, ...] = ()

    def __str__(self) -> str:
        for cause in self.causes:
            # Of what leads to a circle nothing is to be mended, so the circle alone is named; and
            # of a conflict, what declares it.
            if cause.kind == "cycle" or self.kind == "conflict":
                return str(cause)
        return _one_line(
            _TEXTS[self.kind].format(
                plugin=self.plugin,
                requirement=self.requirement,
                found=self.found,
                path=_arrows(self.__dict__["path"]),
                causes="; ".join(map(str, self.causes)),
            )
        )


class Edge(Frozen):
    """One plugin's requirement of another.

    Args:
        plugin: The plugin that declared it.
        requires: The name of the plugin that it requires.
        requirement: The requirement, as declared.
        optional: Whether it counts only where the other plugin can be loaded.

    Example:
        >>> str(Edge("audit", "store", "store>=1.2", optional=False))
        'audit needs store>=1.2'
    """

    plugin: str
    requires: str
    requirement: str
    optional: bool

    def __str__(self) -> str:
        verb = "optionally needs" if self.optional else "needs"
        return _one_line(f"{self.plugin} {verb} {self.requirement}")


class Plan:
    """In which order plugins load, and what keeps the others from it.

    Args:
        order: The plugins that can be loaded, each after what it needs.
        problems: What keeps plugins from being loaded.
        plugins: What each plugin says of itself, by name.
        optional: What each uses besides what it needs, and stands in the order.
        graph: The names of what each leads to, for those in the order.

    Example:
        >>> plan = resolve([PluginMetadata("audit", dependencies=(Requirement("store"),))])
        >>> plan.order, [str(problem) for problem in plan.problems]
        ((), ['audit needs store, which is missing'])
    """

    def __init__(
        self,
        order: Iterable[str],
        problems: Iterable[Problem],
        plugins: Mapping[str, PluginMetadata],
        optional: Mapping[str, Sequence[Requirement]],
        graph: Graph,
    ) -> None:
        self.order: Final = tuple(order)
        self.problems: Final = tuple(problems)
        self._problems: dict[str, list[Problem]] = {}
        for problem in self.problems:
            self._problems.setdefault(problem.plugin, []).append(problem)
        self._plugins = plugins
        self._optional = optional
        self._graph = graph

    def problems_of(self, name: str) -> tuple[Problem, ...]:
        """List what keeps one plugin from being loaded.

        Args:
            name: The plugin's name.

        Returns:
            Its own problems first; none for a plugin in the order, or an unknown one.

        Example:
            >>> resolve([PluginMetadata("audit")], blocked={"audit"}).problems_of("audit")
            (Problem(kind='blocked', plugin='audit', requirement='', found='', path=()),)
        """
        return tuple(self._problems.get(name, ()))

    def edges_of(self, name: str) -> tuple[Edge, ...]:
        """List the requirements of one plugin that count.

        Args:
            name: The plugin's name.

        Returns:
            Every one that is not optional, then the optional ones that stand in the order.

        Example:
            >>> plan = resolve([PluginMetadata("audit", dependencies=(Requirement("store"),))])
            >>> [str(edge) for edge in plan.edges_of("audit")]
            ['audit needs store']
        """
        # Made when they are asked for: ten thousand plugins have many, and few are looked at.
        needed = self._plugins[name].dependencies if name in self._plugins else ()
        return tuple(
            Edge(name, requirement.name, str(requirement), optional)
            for requirements, optional in ((needed, False), (self._optional.get(name, ()), True))
            for requirement in requirements
        )

    def why(self, plugin: str, requires: str) -> tuple[Edge, ...]:
        """Tell why one plugin needs another.

        Args:
            plugin: The plugin that needs the other.
            requires: The plugin that is needed, which may be missing.

        Returns:
            The shortest chain of requirements from the one to the other, empty if there is none.

        Example:
            >>> first = PluginMetadata("a", dependencies=(Requirement("b"),))
            >>> second = PluginMetadata("b", dependencies=(Requirement("c", ">=2"),))
            >>> [str(edge) for edge in resolve([first, second]).why("a", "c")]
            ['a needs b', 'b needs c>=2']
        """
        path = shortest_path(
            lambda name: (edge.requires for edge in self.edges_of(name)), plugin, requires
        )
        return tuple(
            next(edge for edge in self.edges_of(name) if edge.requires == following)
            for name, following in zip(path, path[1:])
        )


def resolve(
    plugins: Iterable[PluginMetadata],
    *,
    app_version: Optional[str] = None,
    python_version: Optional[str] = None,
    blocked: Collection[str] = (),
    problems: Iterable[Problem] = (),
) -> Plan:
    """Put plugins in the order in which they load, and tell what keeps the others from it.

    The order is that of registration, but each plugin comes after its dependencies. A plugin is
    left out exactly if it, or one that it needs, has a problem. Optional dependencies never cause
    one: they count where the other plugin can be loaded and is not itself to come later.

    Args:
        plugins: What the plugins say about themselves, in registration order.
        app_version: The version of the application; None if `requires_app` is not to be checked.
        python_version: The version of Python; None for the running one.
        blocked: The names of plugins that may not be loaded, whatever else there is to say of them.
        problems: What is known besides to keep some of the plugins from being loaded.

    Returns:
        The plan, with all problems at once.

    Example:
        >>> audit = PluginMetadata("audit", dependencies=(Requirement("store", ">=1"),))
        >>> resolve([audit, PluginMetadata("store", "1.2")]).order
        ('store', 'audit')
    """
    known = {plugin.name: plugin for plugin in plugins}
    running = ".".join(map(str, sys.version_info[:3]))
    host = _Host(app_version, python_version or running, frozenset(blocked))
    graph = _RequiredGraph(known, host, problems)
    accepted = [name for name in known if name not in graph.culprit_of]
    optional = _optional_requirements(known, graph.needs, accepted)
    order, whole = graph.order, graph.needs
    if optional or graph.culprit_of:
        whole = {name: [*graph.needs[name], *_names(optional.get(name, ()))] for name in accepted}
        order = post_order(whole)
    return Plan(order, graph.problems(), known, optional, whole)


# For the loading, which asks for each plugin: functions of the library and not the application's.


def conflicts(
    running: Iterable[PluginMetadata], coming: Mapping[str, PluginMetadata]
) -> Iterator[Problem]:
    """Find the plugins that cannot be loaded because one that runs conflicts with them.

    Args:
        running: What the plugins that run say of themselves.
        coming: What those say that are to be loaded, by name.

    Yields:
        A problem of a plugin that is to be loaded.
    """
    for plugin in running:
        for conflict in plugin.conflicts:
            target = coming.get(conflict.name)
            if target and conflict.allows(target.version):
                cause = Problem("conflict", plugin.name, str(conflict), target.version)
                yield Problem("conflict", target.name, plugin.name, plugin.version, causes=(cause,))


def leads_to(plan: Plan, name: str) -> Sequence[str]:
    """Name what one plugin in the order needs or uses.

    Args:
        plan: The plan.
        name: The plugin's name.

    Returns:
        Names; none for a plugin that is not in the order.
    """
    return plan._graph.get(name, ())


def needs_of(plan: Plan, name: str) -> Sequence[str]:
    """Name what one plugin cannot do without.

    Args:
        plan: The plan.
        name: The plugin's name.

    Returns:
        Names; none for an unknown plugin.
    """
    return _names(plan._plugins[name].dependencies) if name in plan._plugins else ()


def _names(requirements: Iterable[Requirement]) -> list[str]:
    return [requirement.name for requirement in requirements]


class _Host(Frozen):
    """What the application lays down: its version, that of Python, and what it has blocked."""

    app_version: Optional[str]
    python_version: str
    blocked: frozenset[str]

    def problems_of(
        self, plugin: PluginMetadata, known: Mapping[str, PluginMetadata]
    ) -> list[Problem]:
        """Find what is wrong with a plugin and what it names, no further than that."""
        if plugin.name in self.blocked:
            return [Problem("blocked", plugin.name)]
        problems = []
        python, running = plugin.requires_python, self.python_version
        if python and not _allows(python, running):
            problems.append(Problem("python", plugin.name, python, running))
        application, version = plugin.requires_app, self.app_version
        if application and version is not None and not _allows(application, version):
            problems.append(Problem("application", plugin.name, application, version))
        for need in plugin.dependencies:
            target = known.get(need.name)
            if target is None:
                problems.append(Problem("missing", plugin.name, str(need)))
            elif need.specifier and not need.allows(target.version):
                problems.append(Problem("version", plugin.name, str(need), target.version))
        for conflict in plugin.conflicts:
            target = known.get(conflict.name)
            if target and conflict.name not in self.blocked and conflict.allows(target.version):
                problems.append(Problem("conflict", plugin.name, str(conflict), target.version))
        return problems


def _allows(specifier: str, version: str) -> bool:
    return Requirement("", specifier).allows(version)


class _RequiredGraph:
    """What needs what without fail, and how problems spread along it."""

    def __init__(
        self, known: Mapping[str, PluginMetadata], host: _Host, problems: Iterable[Problem]
    ) -> None:
        self._known = known
        self.needs: dict[str, list[str]] = {}
        own: dict[str, list[Problem]] = {}
        for name, plugin in known.items():
            own[name] = host.problems_of(plugin, known)
            # What a blocked plugin needs does not matter, so nothing spreads through it.
            needed = () if name in host.blocked else plugin.dependencies
            self.needs[name] = [need.name for need in needed if need.name in known]
        for problem in problems:
            if problem.plugin not in host.blocked:
                own[problem.plugin].append(problem)
        self.order = post_order(self.needs)
        self._component_of: Mapping[str, str] = {}
        if not is_sorted(self.needs, self.order):
            self._component_of = components(self.needs)
            for circle in circles(self.needs, self._component_of):
                for name in circle[:-1]:
                    own[name].append(Problem("cycle", name, path=circle))
        self._own = {name: problems for name, problems in own.items() if problems}
        self.culprit_of, self._towards_culprit = self._spread()

    def _spread(self) -> tuple[dict[str, str], dict[str, str]]:
        """Give each rejected plugin the nearest culprit, and the next plugin on the way to it."""
        culprit_of = {name: name for name in self._own}
        towards_culprit: dict[str, str] = {}
        dependents = reversed_graph(self.needs) if culprit_of else {}
        queue = deque(culprit_of)
        while queue:
            name = queue.popleft()
            for dependent in dependents[name]:
                if dependent not in culprit_of:
                    culprit_of[dependent] = culprit_of[name]
                    towards_culprit[dependent] = name
                    queue.append(dependent)
        return culprit_of, towards_culprit

    def problems(self) -> Iterator[Problem]:
        """List all problems, those of one plugin together."""
        for name in self._known:
            if name in self.culprit_of:
                yield from self._own.get(name, ())
                yield from self._dependency_problems(name)

    def _dependency_problems(self, name: str) -> Iterator[Problem]:
        """Find the problems that a plugin has from what it needs, one for each culprit."""
        if not self.needs[name]:
            return
        blamed = set()
        for requirement in self._known[name].dependencies:
            culprit = self.culprit_of.get(requirement.name)
            if culprit is None or culprit in blamed or self._is_own_circle(name, requirement.name):
                continue
            blamed.add(culprit)
            route = _Route(name, requirement.name, culprit, self._towards_culprit)
            causes = tuple(self._own[culprit])
            yield Problem("dependency", name, str(requirement), path=route, causes=causes)

    def _is_own_circle(self, name: str, requires: str) -> bool:
        """Tell whether a requirement adds nothing to what the plugin's own problems say."""
        component_of = self._component_of
        return (
            name in self._own
            and bool(component_of)
            and component_of[name] == component_of[requires]
        )


def _optional_requirements(
    known: Mapping[str, PluginMetadata], needs: Graph, accepted: Collection[str]
) -> dict[str, list[Requirement]]:
    """Choose the optional requirements that can be met, and lie on no circle."""
    chosen = set(accepted)
    eligible: dict[str, list[Requirement]] = {}
    for name in accepted:
        for requirement in known[name].optional_dependencies:
            target = requirement.name
            if target in chosen and requirement.allows(known[target].version):
                eligible.setdefault(name, []).append(requirement)
    if not eligible:
        return {}
    component_of = components(
        {name: [*needs[name], *_names(eligible.get(name, ()))] for name in accepted}
    )
    return {
        name: [each for each in requirements if component_of[each.name] != component_of[name]]
        for name, requirements in eligible.items()
    }


def _arrows(path: Union[tuple[str, ...], _Route]) -> str:
    """Write a path, a long one without its middle."""
    names = list(itertools.islice(path, _MOST_NAMES + 1))
    if len(names) > _MOST_NAMES:
        last = path.culprit if isinstance(path, _Route) else path[-1]
        names[_MOST_NAMES - 2 :] = ["...", last]
    return _ARROW.join(names)


def _one_line(text: str) -> str:
    """Escape what would break a line of a report: a plugin's name may hold any character."""
    return text if text.isprintable() else repr(text)[1:-1]
