"""Loading and unloading: all or nothing, in the order of the dependencies, from any thread."""

from __future__ import annotations

import contextlib
import logging
import threading
from typing import Any, Callable, Iterator, NoReturn, Optional

from nitro_dispatch.catalog import Catalog, PluginFailure, Registration
from nitro_dispatch.config import Configuration, build_model
from nitro_dispatch.discovery import import_described
from nitro_dispatch.events import PLUGIN_ERROR, PLUGIN_LOADED, PLUGIN_UNLOADED
from nitro_dispatch.exceptions import (
    DependencyError,
    NitroPluginError,
    PluginLoadError,
    PluginNotFoundError,
    describe_error,
)
from nitro_dispatch.failures import printable
from nitro_dispatch.hooks import HookImpl, decorated_hooks, make_hook
from nitro_dispatch.lazy import ArmedPlugin, can_be_armed, stubs
from nitro_dispatch.loader import imports_undone_on_error
from nitro_dispatch.plugin import Host, PluginBase
from nitro_dispatch.registry import HookRegistry
from nitro_dispatch.resolver import Plan, Problem
from nitro_dispatch.turns import Turns

__all__ = ["Attempt", "Lifecycle"]

logger = logging.getLogger(__name__)


class Attempt:
    """One attempt to bring a plugin to life, and how far it came."""

    def __init__(self, registration: Registration) -> None:
        self.registration = registration
        self.stage = "import"
        self.plugin: Optional[PluginBase] = None


class Lifecycle:
    """Brings plugins to life and ends them.

    Args:
        host: The manager, as the plugins see it.
        catalog: The registered plugins.
        registry: Where their hooks go.
        configuration: What they are configured with.
        notify: Tells the listeners of a lifecycle event.
    """

    def __init__(
        self,
        host: Host,
        catalog: Catalog,
        registry: HookRegistry,
        configuration: Configuration,
        notify: Callable[[str, dict[str, Any]], None],
    ) -> None:
        self.catalog = catalog
        self.registry = registry
        self.notify = notify
        self._host = host
        self._configuration = configuration
        self._lock = catalog.lock
        self.turns = Turns(catalog.lock)
        # By name, in the order of loading; armed plugins are not among them.
        self.loaded: dict[str, Registration] = {}
        # What this thread has loaded since a `load_all` of it began, and what it reloads just now.
        self._of_thread = threading.local()

    # -- looking

    def visible(self, name: str) -> Optional[PluginBase]:
        """Find a loaded plugin; a thread that reloads it sees the new instance already."""
        coming: dict[str, PluginBase] = getattr(self._of_thread, "coming", {})
        if name in coming:
            return coming[name]
        with self._lock:
            registration = self.loaded.get(name)
            return None if registration is None else registration.instance

    @contextlib.contextmanager
    def showing(self, coming: dict[str, PluginBase]) -> Iterator[None]:
        """Let this thread see instances that are not yet there for the others."""
        outer: dict[str, PluginBase] = getattr(self._of_thread, "coming", {})
        self._of_thread.coming = coming
        try:
            yield
        finally:
            self._of_thread.coming = outer

    def active(self, name: str) -> Registration:
        """Find a plugin that is loaded or armed.

        Raises:
            PluginNotFoundError: It is neither.
        """
        registration = self.catalog.find(name)
        if registration is None or registration.switch is None:
            raise PluginNotFoundError(
                f"plugin {name!r} is not loaded: load it first", plugin=str(name)
            )
        return registration

    def switch(self, name: str, enabled: bool) -> None:
        """Enable or disable a plugin.

        Raises:
            PluginNotFoundError: It is neither loaded nor armed.
        """
        switch = self.active(name).switch
        if switch is not None:
            switch.enabled = enabled

    def armed(self) -> list[Registration]:
        """List the plugins that are imported when an event of theirs first fires."""
        return [each for each in self.catalog if each.armed is not None]

    # -- loading

    def load(self, name: str) -> PluginBase:
        """Load a plugin and what it needs, dependencies first.

        Raises:
            PluginNotFoundError: No plugin has the name.
            DependencyError: Something that it needs is not to be had.
            PluginLoadError: Anything else went wrong.
        """
        registration = self.catalog.get(name)
        plugin = self.visible(name)
        if plugin is not None:
            return plugin
        plan = self.catalog.plan()
        self._check(plan, registration)
        return self._load_with_needs(plan, registration, set())

    def load_all(self, *, lazy: bool = False) -> list[str]:
        """Load every plugin that can be loaded.

        Args:
            lazy: Whether to arm what can be armed.

        Returns:
            The names of those loaded or armed now, in their order.
        """
        outer = getattr(self._of_thread, "log", None)
        log: list[str] = []
        self._of_thread.log = log
        try:
            plan = self.catalog.plan()
            failed: set[str] = set()
            for name in dict.fromkeys(problem.plugin for problem in plan.problems):
                with contextlib.suppress(NitroPluginError):
                    self._check(plan, self.catalog.get(name))
            for name in plan.order:
                with contextlib.suppress(NitroPluginError):
                    self._load_or_arm(plan, self.catalog.get(name), failed, lazy=lazy)
        finally:
            self._of_thread.log = outer
        if outer is not None:
            outer.extend(log)
        return log

    def _check(self, plan: Plan, registration: Registration) -> None:
        """Refuse a plugin that the plan has no place for.

        Raises:
            DependencyError: It has problems.
        """
        problems = plan.problems_of(registration.name)
        if problems and self.visible(registration.name) is None:
            reason = DependencyError(problems=problems)
            self._fail(registration, "resolve", reason, problem=problems[0])

    def _load_or_arm(
        self, plan: Plan, registration: Registration, failed: set[str], *, lazy: bool
    ) -> None:
        if registration.switch is not None:
            return
        if lazy and can_be_armed(registration):
            self._arm(registration)
        else:
            self._load_with_needs(plan, registration, failed)

    def _load_with_needs(
        self, plan: Plan, registration: Registration, failed: set[str]
    ) -> PluginBase:
        """Load a plugin after what it needs; what has failed already is not tried again."""
        for name in self._still_to_load(plan, registration.name, failed):
            # Its own failure is on record; whether it matters here shows at the edge to it.
            with contextlib.suppress(NitroPluginError):
                self._load_next(plan, self.catalog.get(name), failed)
        return self._load_next(plan, registration, failed)

    def _still_to_load(self, plan: Plan, name: str, failed: set[str]) -> Iterator[str]:
        """List what a plugin needs and is not loaded, each after what it needs itself."""
        entered = {name, *failed}
        path = [(name, iter(plan.edges_of(name)))]
        while path:
            current, edges = path[-1]
            for edge in edges:
                if edge.requires not in entered and self.visible(edge.requires) is None:
                    entered.add(edge.requires)
                    path.append((edge.requires, iter(plan.edges_of(edge.requires))))
                    break
            else:
                path.pop()
                if current != name:
                    yield current

    def _load_next(self, plan: Plan, registration: Registration, failed: set[str]) -> PluginBase:
        """Load a plugin whose dependencies had their turn.

        Raises:
            PluginLoadError: It failed, or one of its dependencies did.
        """
        try:
            for edge in plan.edges_of(registration.name):
                if not edge.optional and self.visible(edge.requires) is None:
                    self._fail_because_of(registration, edge.requires)
            return self._load_one(registration)
        except PluginLoadError:
            failed.add(registration.name)
            raise

    def _load_one(self, registration: Registration) -> PluginBase:
        """Load a plugin whose dependencies are there, or wait for the thread that does it."""
        attempt = Attempt(registration)
        with self.turns.taken(registration):
            if registration.instance is not None:
                return registration.instance
            reason = self._try(attempt)
        if reason is not None:
            self._fail(registration, attempt.stage, reason)
        assert attempt.plugin is not None, "an attempt without a reason to fail has a plugin"
        self.catalog.works(registration.name)
        logger.info("Loaded plugin %s", printable(registration.name))
        self._log_loaded(registration.name)
        self.announce(PLUGIN_LOADED, registration)
        return attempt.plugin

    def _try(self, attempt: Attempt) -> Optional[BaseException]:
        """Bring a plugin to life, or leave nothing of it.

        Returns:
            Why it failed.
        """
        try:
            with imports_undone_on_error():
                plugin = self.bring_to_life(attempt)
                self._commit(attempt.registration, plugin)
        except BaseException as error:
            self._clean_up(attempt)
            if isinstance(error, (Exception, SystemExit)):
                return error
            raise
        return None

    def bring_to_life(self, attempt: Attempt) -> PluginBase:
        """Import, create and start a plugin whose hooks are not called yet.

        Raises:
            BaseException: Whatever the plugin raises; `attempt.stage` says how far it came.
        """
        registration = attempt.registration
        if registration.plugin_class is None:
            registration.plugin_class = import_described(registration)
        plugin_class = registration.plugin_class
        attempt.stage = "init"
        plugin = attempt.plugin = plugin_class()
        if not isinstance(plugin, PluginBase):
            raise TypeError(f"{plugin_class.__qualname__}() gave {plugin!r}, which is no plugin")
        early = plugin._early_hooks
        plugin._manager = self._host
        if plugin_class.config_model is not None:
            section = self._configuration.section(registration.name)
            origin = str(registration.metadata.origin)
            plugin.settings = build_model(
                plugin_class.config_model, section, plugin=registration.name, origin=origin
            )
        self.registry.add(self._declared(plugin))
        self.registry.add(early)
        attempt.stage = "on_load"
        plugin.on_load()
        return plugin

    @staticmethod
    def _declared(plugin: PluginBase) -> list[HookImpl]:
        return [
            make_hook(event, callback, plugin=plugin, options=options)
            for event, callback, options in decorated_hooks(plugin)
        ]

    def _commit(self, registration: Registration, plugin: PluginBase) -> None:
        """Let the others see a plugin: its hooks are called from now on."""
        with self._lock:
            needs = tuple(need.name for need in registration.metadata.dependencies)
            for name in needs:
                if self.visible(name) is None:
                    raise DependencyError(f"it needs {name!r}, which was unloaded meanwhile")
            registration.needs = needs
            registration.instance = plugin
            self.loaded[registration.name] = registration
            armed, registration.armed = registration.armed, None
            if armed is None:
                plugin.enabled = True
            else:
                self.registry.exchange([(armed, plugin)])

    def _clean_up(self, attempt: Attempt) -> None:
        """Leave nothing of a plugin that could not be loaded."""
        self.discard(attempt.plugin)
        self.disarm(attempt.registration)
        if attempt.registration.description is not None:
            attempt.registration.plugin_class = None

    def discard(self, plugin: Optional[PluginBase]) -> None:
        """Detach an instance from everything that it was attached to."""
        if isinstance(plugin, PluginBase):
            self.registry.unregister_plugin(plugin)
            plugin.enabled = False
            plugin._manager = None

    # -- failing

    def _fail(
        self,
        registration: Registration,
        stage: str,
        reason: BaseException,
        *,
        problem: Optional[Problem] = None,
        because: Optional[PluginFailure] = None,
    ) -> NoReturn:
        """Keep a failure in mind, tell the listeners, and raise it."""
        name, origin = registration.name, str(registration.metadata.origin)
        self.disarm(registration)
        self.catalog.fail(PluginFailure(name, origin, stage, reason, problem, because))
        data = {"plugin_name": name, "error": describe_error(reason), "type": type(reason).__name__}
        self.notify(PLUGIN_ERROR, data)
        raise load_error(registration, reason) from reason

    def _fail_because_of(self, registration: Registration, needed: str) -> NoReturn:
        because = self.catalog.failure_of(needed)
        culprit = because
        while culprit is not None and culprit.because is not None:
            culprit = culprit.because
        text = f": {describe_error(culprit.error)}" if culprit is not None else ""
        whose = f" because of {culprit.name!r}" if culprit and culprit.name != needed else ""
        reason = DependencyError(f"it needs {needed!r}, which could not be loaded{whose}{text}")
        self._fail(registration, "resolve", reason, because=because)

    def announce(self, event: str, registration: Registration) -> None:
        """Tell the listeners of a lifecycle event about a plugin."""
        metadata = registration.metadata
        data = {"plugin_name": metadata.name}
        if event != PLUGIN_UNLOADED:
            data["version"] = metadata.version
        self.notify(event, data)

    def _log_loaded(self, name: str) -> None:
        log: Optional[list[str]] = getattr(self._of_thread, "log", None)
        if log is not None:
            log.append(name)

    # -- arming

    def _arm(self, registration: Registration) -> None:
        """Put hooks in place that load the plugin when one of them is first called."""
        armed = ArmedPlugin(registration.name)
        with self._lock:
            registration.needs = tuple(need.name for need in registration.metadata.dependencies)
            registration.armed = armed
            self.registry.add(stubs(registration, armed, wake=self._wake, load=self.load))
            armed.enabled = True
        self._log_loaded(registration.name)

    def _wake(self, stub: HookImpl) -> Optional[HookImpl]:
        """Load the plugin of a hook that is only described.

        Returns:
            The real hook, or None where the plugin could not be loaded.
        """
        try:
            plugin = self.load(stub.plugin_name)
        except NitroPluginError:
            return None
        hooks = self.registry.hooks_of(plugin)
        return next((hook for hook in hooks if hook.order == stub.order), None)

    def disarm(self, registration: Registration) -> None:
        """Take the hooks of an armed plugin away."""
        with self._lock:
            armed, registration.armed = registration.armed, None
        if armed is not None:
            self.registry.unregister_plugin(armed)

    # -- unloading

    def unload(self, name: str) -> None:
        """Unload a plugin, its dependents first.

        Raises:
            PluginNotFoundError: It is not loaded.
            NitroPluginError: Its `on_unload` raised SystemExit.
            Exception: Whatever its `on_unload` raised, after everything is detached.
        """
        registration = self.active(name)
        for dependent in self.dependents(registration):
            self.log_fault(dependent, self._unload_one(dependent))
        fault = self._unload_one(registration)
        if isinstance(fault, Exception):
            raise fault
        if fault is not None:
            raise NitroPluginError(
                f"on_unload of plugin {name!r} raised {type(fault).__name__}", plugin=name
            ) from fault

    def unload_all(self) -> None:
        """Unload everything in the reverse order of loading; what goes wrong is logged."""
        for registration in self.armed():
            self.disarm(registration)
        with self._lock:
            registrations = list(self.loaded.values())
        for registration in reversed(registrations):
            self.log_fault(registration, self._unload_one(registration))

    def dependents(self, registration: Registration) -> list[Registration]:
        """List the active plugins that need one, directly or not, each before what it needs."""
        with self._lock:
            active = [*self.loaded.values(), *self.armed()]
        found = {registration.name}
        users: dict[str, list[Registration]] = {}
        for each in active:
            for need in each.needs:
                users.setdefault(need, []).append(each)
        waiting = [registration.name]
        while waiting:
            for user in users.get(waiting.pop(), ()):
                if user.name not in found:
                    found.add(user.name)
                    waiting.append(user.name)
        needing = [each for each in active if each.name in found and each is not registration]
        return needing[::-1]

    def _unload_one(self, registration: Registration) -> Optional[BaseException]:
        """Unload one plugin, once however many threads ask.

        Returns:
            What its `on_unload` raised.
        """
        with self.turns.taken(registration):
            self.disarm(registration)
            with self._lock:
                plugin, registration.instance = registration.instance, None
                self.loaded.pop(registration.name, None)
            if plugin is None:
                return None
            fault = self.end(plugin)
        logger.info("Unloaded plugin %s", printable(registration.name))
        self.announce(PLUGIN_UNLOADED, registration)
        return fault

    def end(self, plugin: PluginBase) -> Optional[BaseException]:
        """Detach an instance and let it release what it holds.

        Returns:
            What its `on_unload` raised.
        """
        self.registry.unregister_plugin(plugin)
        plugin.enabled = False
        try:
            plugin.on_unload()
        except (Exception, SystemExit) as error:
            return error
        finally:
            # `on_unload` may have registered something.
            self.discard(plugin)
        return None

    @staticmethod
    def log_fault(registration: Registration, fault: Optional[BaseException]) -> None:
        """Log what an `on_unload` raised, if it did."""
        if fault is not None:
            logger.error(
                "on_unload of plugin %s failed: %s: %s",
                printable(registration.name),
                type(fault).__name__,
                printable(describe_error(fault)),
                exc_info=fault,
            )


def load_error(registration: Registration, reason: BaseException) -> PluginLoadError:
    """Wrap the reason for which a plugin could not be loaded, keeping its kind."""
    name, origin = registration.name, str(registration.metadata.origin)
    if isinstance(reason, DependencyError):
        return DependencyError(problems=reason.problems, plugin=name, origin=origin, cause=reason)
    return PluginLoadError(plugin=name, origin=origin, cause=reason)
