"""Reloading as a transaction: the new is made beside the old, and only then takes its place."""

from __future__ import annotations

import contextlib
import itertools
import logging
import os
from collections.abc import Iterable, Iterator
from typing import Any, Callable, Final, Optional

from nitro_dispatch.attempts import Attempt
from nitro_dispatch.callables import is_async
from nitro_dispatch.ending import log_faults
from nitro_dispatch.events import PLUGIN_LOADED, PLUGIN_UNLOADED
from nitro_dispatch.exceptions import DependencyError, PluginRegistrationError
from nitro_dispatch.graphs import post_order
from nitro_dispatch.lifecycle import Lifecycle
from nitro_dispatch.loader import (
    Root,
    can_be_read_again,
    modules_read_again,
    read_class_again,
    roots_of,
)
from nitro_dispatch.loading import Loading, load_error
from nitro_dispatch.plugin import PluginBase, is_enabled, switch_own
from nitro_dispatch.records import Registration
from nitro_dispatch.reports import log_safely, printable

__all__ = ["going_along", "reload_together", "root_of"]

logger = logging.getLogger(__name__)

# So many times a reload is begun: one that brings about itself what overtakes it would never end.
_TRIES: Final = 100


def reload_together(
    lifecycle: Lifecycle, loading: Loading, *registrations: Registration
) -> dict[str, PluginBase]:
    """Reload plugins, what comes from the same files, and what needs them.

    Args:
        lifecycle: Where the plugins live.
        loading: Loads what the new plugins need besides.
        *registrations: The plugins to reload, one or more.

    Returns:
        The new instances by name, each after what it needs; none where the plugins were unloaded
        before it was their turn.

    Raises:
        PluginLoadError: Something went wrong; the old ones run on as they were.
    """
    for _ in range(_TRIES):
        with contextlib.suppress(_Overtaken):
            return _Reload(lifecycle, loading, *registrations).run()
    reason = "while it is reloaded, what needs it or what it needs is loaded anew again and again"
    raise load_error(registrations[0], DependencyError(reason))


class _Reload:
    """One try to reload plugins that go together; the arguments are those of `reload_together`."""

    def __init__(
        self, lifecycle: Lifecycle, loading: Loading, *registrations: Registration
    ) -> None:
        self._lifecycle = lifecycle
        self._loading = loading
        self._catalog = lifecycle.catalog
        self._registrations = registrations
        # What to read anew for each plugin; None where its class cannot be read again.
        self._roots: dict[str, Optional[Root]] = {}
        self._read_anew: dict[str, type[PluginBase]] = {}
        self._old: dict[str, PluginBase] = {}
        self._coming: dict[str, PluginBase] = {}
        self._successors: dict[str, Registration] = {}
        self._attempts: list[Attempt] = []
        # Whose fault it is what goes wrong just now, and in which method that hands over a state.
        self._at = registrations[0]
        self._method = ""

    def run(self) -> dict[str, PluginBase]:
        """Reload.

        Returns:
            The new instances by name, each after what it needs.

        Raises:
            PluginLoadError: Something went wrong; the old ones run on as they were.
            _Overtaken: It has to begin once more; the old ones run on as they were.
        """
        with contextlib.ExitStack() as turns:
            group = self._taken(turns)
            old = {each.name: each.instance for each in group if each.instance is not None}
            self._old, self._roots = old, {each.name: root_of(each) for each in group}
            self._replace(group)
            faults = [(each, self._lifecycle.end(old[each.name])) for each in reversed(group)]
        for each in group:
            log_safely(logger, logging.INFO, "Reloaded plugin %s", printable(each.name))
        for event in (PLUGIN_UNLOADED, PLUGIN_LOADED):
            for each in group:
                self._lifecycle.announce(event, self._successors[each.name].metadata)
        log_faults(faults)
        return self._coming

    def _taken(self, turns: contextlib.ExitStack) -> list[Registration]:
        """Have the plugins that go along to oneself, and list them.

        Raises:
            PluginLoadError: To wait for one of them would be to wait for ever.
        """
        while True:
            group = going_along(self._lifecycle, *self._registrations)
            try:
                # All reloads take their turns in one order, and so never wait in a circle.
                for each in sorted(group, key=lambda each: each.place):
                    turns.enter_context(self._lifecycle.turns.taken(each))
            except DependencyError as error:
                raise load_error(self._at, error) from error
            # Another thread may have loaded or unloaded some before it was this one's turn.
            if group == going_along(self._lifecycle, *self._registrations):
                return group
            turns.close()

    def _replace(self, group: list[Registration]) -> None:
        """Make the new instances and put them in the place of the old ones."""
        roots = [root for root in self._roots.values() if root is not None]
        try:
            with modules_read_again(roots), self._ended_on_error():
                for each in group:
                    self._successors[each.name] = self._read_again(each)
                order = self._in_order(group)
                with self._lifecycle.showing(self._coming):
                    for each in order:
                        self._renew(each)
                for each in group:
                    self._at = each
                    switch_own(self._coming[each.name], is_enabled(self._old[each.name]))
                self._swap(group)
        except (Exception, SystemExit) as error:
            raise load_error(self._at, error, self._method) from error
        finally:
            self._lifecycle.attempts.end(*self._attempts)

    def _read_again(self, registration: Registration) -> Registration:
        """Make the registration of the class as its source has it now."""
        self._at = registration
        # Another class may have been registered than that of the old instance.
        new_class = registration.plugin_class
        assert new_class is not None, "what is loaded has a class"
        self._read_anew[registration.name] = new_class
        if self._roots[registration.name] is not None:
            new_class = _read_anew(registration, new_class)
        else:
            log_safely(
                logger,
                logging.WARNING,
                "The class %s of plugin %s cannot be read again: it is made anew as it is",
                printable(new_class.__qualname__),
                printable(registration.name),
            )
        successor = self._catalog.from_class(
            new_class, candidate=registration.candidate, validate=registration.validate
        )
        if successor.name != registration.name:
            raise PluginRegistrationError(
                f"its name is {successor.name!r} now: call it {registration.name!r} again, or "
                "unregister the plugin and discover it anew"
            )
        return successor

    def _in_order(self, group: list[Registration]) -> list[Registration]:
        """Put plugins behind what their new metadata needs, which is loaded if it is not.

        Raises:
            DependencyError: With the new metadata they cannot be loaded together.
        """
        plan = self._catalog.plan_with(self._successors)
        problems = {each: plan.problems_of(each.name) for each in group}
        for each, found in problems.items():
            if found:
                self._at = each
                raise DependencyError(problems=list(itertools.chain(*problems.values())))
        places = {name: place for place, name in enumerate(plan.order)}
        group = sorted(group, key=lambda each: places[each.name])
        for each in group:
            self._at = each
            for edge in plan.edges_of(each.name):
                if not edge.optional and self._lifecycle.visible(edge.requires) is None:
                    self._loading.load(edge.requires)
        self._check_complete(group)
        return group

    def _check_complete(self, group: list[Registration]) -> None:
        """See that nothing was loaded meanwhile that needs one of the group, and so its instance.

        Raises:
            _Overtaken: Something was.
        """
        for each in group:
            for user in self._lifecycle.dependents.of(each):
                if user.instance is not None and user.name not in self._successors:
                    raise _Overtaken

    def _check_new_needs(self, group: list[Registration]) -> None:
        """See that what only the new versions need is there: another thread may have its turn.

        Raises:
            DependencyError: It was unloaded.
            _Overtaken: It was loaded anew.
        """
        for each in group:
            self._at = each
            before = {need.name for need in each.needs}
            needs = self._successors[each.name].metadata.dependencies
            self._lifecycle.check_needs([need.name for need in needs if need.name not in before])
        if any(attempt.outdated_by for attempt in self._attempts):
            raise _Overtaken

    def _renew(self, registration: Registration) -> None:
        """Make a new instance, and let it have the state of the old one, which still serves."""
        self._at = registration
        attempt = self._lifecycle.attempts.begin(self._successors[registration.name])
        self._attempts.append(attempt)
        new = self._coming[registration.name] = self._lifecycle.bring_to_life(attempt)
        self._method = "dump_state"
        with self._lifecycle.showing({}):  # What the old one asks for is what it has always had.
            state = _plain(self._old[registration.name].dump_state)()
        if state is not None and type(new).restore_state is PluginBase.restore_state:
            log_safely(
                logger,
                logging.WARNING,
                "Plugin %s has no restore_state: the state that its old instance dumped is dropped",
                printable(registration.name),
            )
        elif state is not None:
            self._method = "restore_state"
            _plain(new.restore_state)(state)
        self._method = ""

    def _swap(self, group: list[Registration]) -> None:
        with self._catalog.lock:
            self._check_complete(group)
            self._check_new_needs(group)
            self._lifecycle.attempts.outdate(self._old)
            self._lifecycle.registry.exchange(
                [(self._old[each.name], self._coming[each.name]) for each in group]
            )
            for each in group:
                successor = self._successors[each.name]
                # A class that was registered meanwhile is for the next load.
                if each.plugin_class is self._read_anew[each.name]:
                    each.metadata = successor.metadata
                    each.plugin_class = successor.plugin_class
                self._lifecycle.keep_needs(each, successor.metadata)
                each.instance = self._coming[each.name]
            self._catalog.changed()

    @contextlib.contextmanager
    def _ended_on_error(self) -> Iterator[None]:
        """End the new instances if the block fails, while the modules are there that they know."""
        try:
            yield
        except BaseException:
            abort = self._lifecycle.abort
            log_faults([(each.registration, abort(each)) for each in reversed(self._attempts)])
            raise


def _read_anew(registration: Registration, plugin_class: type[PluginBase]) -> type[PluginBase]:
    try:
        return read_class_again(plugin_class)
    except (ImportError, OSError) as error:
        path = registration.candidate.path if registration.candidate is not None else ""
        if path and not os.path.exists(path):
            raise PluginRegistrationError(
                "its source file is gone: put it back, or unload the plugin"
            ) from error
        raise


class _Overtaken(BaseException):
    """Something was loaded meanwhile that needs one of those that are reloaded, or is needed."""


def _plain(method: Callable[..., Any]) -> Callable[..., Any]:
    """Hand back a method that can be called without being awaited.

    Raises:
        TypeError: It is async.
    """
    if is_async(method):
        raise TypeError("it is async, which a reload cannot await: make it a plain method")
    return method


def going_along(lifecycle: Lifecycle, *registrations: Registration) -> list[Registration]:
    """List the loaded plugins that a reload of some would reload, each after what it needs.

    Args:
        lifecycle: Where the plugins live.
        *registrations: The plugins to reload.
    """
    with lifecycle.catalog.lock:
        loaded = list(lifecycle.loaded.values())
    inside = _by_root(loaded)
    names: set[str] = set()
    waiting = list(registrations)
    while waiting:
        current = waiting.pop()
        if current.instance is not None and current.name not in names:
            names.add(current.name)
            root = root_of(current)
            waiting += inside.pop(root, []) if root is not None else []
            waiting += lifecycle.dependents.of(current)
    together = {each.name: each for each in loaded if each.name in names}
    needs = {
        name: [need.name for need in each.needs if need.name in together]
        for name, each in together.items()
    }
    # An earlier reload may have brought new needs, of what was loaded later.
    return [together[name] for name in post_order(needs)]


def root_of(registration: Registration) -> Optional[Root]:
    """Name what is to be read anew for a plugin.

    Args:
        registration: The plugin.

    Returns:
        A module or a package; None if the plugin's class cannot be read again.
    """
    plugin_class = registration.plugin_class
    if plugin_class is None or not can_be_read_again(plugin_class):
        return None
    candidate = registration.candidate
    # An entry point or a folder names a package: all that is inside of it is read anew. A module
    # that the application imported itself may be its own package, of which nothing else is.
    if candidate is not None:
        whole = Root(candidate.module, True)
        if whole in roots_of(plugin_class.__module__):
            return whole
    return Root(plugin_class.__module__, False)


def _by_root(loaded: Iterable[Registration]) -> dict[Root, list[Registration]]:
    """List the loaded plugins by everything with which they are read anew."""
    found: dict[Root, list[Registration]] = {}
    for each in loaded:
        for root in roots_of(type(each.instance).__module__):
            found.setdefault(root, []).append(each)
    return found
