"""The life of plugins as simple as can be: one thread, no locks, everything worked out anew.

In which order plugins load it asks the resolver, which has tests of its own.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any, Optional

from model_hooks import FAULTS, Imitation, ModelOfHooks
from nitro_dispatch import (
    DependencyError,
    NitroPluginError,
    Plan,
    PluginFailure,
    PluginLoadError,
    PluginMetadata,
    PluginNotFoundError,
    Requirement,
)
from nitro_dispatch.resolver import resolve
from scripted import Spec

Class = type[Imitation]


class Registration:
    """One registered plugin; while it runs, what it was loaded with is what counts for others."""

    def __init__(self, plugin_class: Class) -> None:
        self.name = plugin_class.name
        self.plugin_class = plugin_class
        self.instance: Optional[Imitation] = None
        self.is_busy = False

    @property
    def metadata(self) -> PluginMetadata:
        return metadata_of((self.instance or self.plugin_class).spec)


class Attempt:
    """One attempt to bring a plugin to life."""

    def __init__(self, plugin_class: Class) -> None:
        self.stage = "init"
        self._plugin_class = plugin_class
        self._plugin: Optional[Imitation] = None

    def run(self) -> Imitation:
        plugin = self._plugin = self._plugin_class()
        for place, listener in enumerate(plugin.spec.listeners):
            if not listener.late:
                plugin.listen(place)
        self.stage = "on_load"
        plugin.on_load()
        plugin.is_alive = True
        return plugin

    def undo(self) -> None:
        if self._plugin is not None and self._plugin.is_alive:
            end(self._plugin)
        elif self._plugin is not None:
            discard(self._plugin)


def end(plugin: Imitation) -> Optional[BaseException]:
    """Detach a plugin and let it release what it holds; give what it raised."""
    discard(plugin)
    try:
        plugin.on_unload()
    except FAULTS as error:
        return error
    finally:
        discard(plugin)
    return None


def discard(plugin: Imitation) -> None:
    """Detach a plugin."""
    plugin.hooks.remove(plugin.hooks.of(plugin))
    plugin.enabled = False


class ModelOfLife(ModelOfHooks):
    """What a manager does with plugins that are registered."""

    def __init__(self) -> None:
        super().__init__()
        self._registered: dict[str, Registration] = {}
        self._loaded: dict[str, Registration] = {}
        self._coming: dict[str, Imitation] = {}
        self._leaving: list[list[Registration]] = []
        self._log: Optional[dict[str, None]] = None
        self.failures: dict[str, PluginFailure] = {}

    # -- looking

    def get_plugin(self, name: str) -> Optional[Imitation]:
        return self._coming.get(name) or self.get_all_plugins().get(name)

    def is_loaded(self, name: str) -> bool:
        return self.get_plugin(name) is not None

    def get_all_plugins(self) -> dict[str, Imitation]:
        return {name: each.instance for name, each in self._loaded.items() if each.instance}

    def get_loaded_plugins(self) -> list[str]:
        return list(self._loaded)

    def get_registered_plugins(self) -> list[str]:
        return list(self._registered)

    def plan(self, others: Optional[Mapping[str, PluginMetadata]] = None) -> Plan:
        known = {name: each.metadata for name, each in self._registered.items()}
        return resolve({**known, **(others or {})}.values())

    def _forget(self, registration: Registration) -> None:
        if self._registered.get(registration.name) is registration:
            del self._registered[registration.name]
            self.failures.pop(registration.name, None)

    def _find(self, name: str) -> Registration:
        if name not in self._registered:
            raise PluginNotFoundError
        return self._registered[name]

    def _tell_of(self, what: str, plugin: Any) -> None:
        self.notify(what, plugin_name=plugin.name, version=plugin.version)

    # -- loading

    def load(self, name: str) -> Imitation:
        registration, plugin = self._find(name), self.get_plugin(name)
        if plugin is not None:
            return plugin
        # What is loaded needs nothing more.
        loaded = {n: PluginMetadata(n, each.metadata.version) for n, each in self._loaded.items()}
        plan = self.plan(loaded)
        self._check(plan, registration)
        return self._load_after_needs(registration, plan, set())

    def load_all(self) -> list[str]:
        outer, log = self._log, dict[str, None]()
        self._log = log
        try:
            plan, failed = self.plan(), set[str]()
            for name in dict.fromkeys(problem.plugin for problem in plan.problems):
                with suppress(NitroPluginError):
                    self._check(plan, self._find(name))
            held = {name for name, each in self._registered.items() if each.is_busy}
            for name in plan.order:
                held |= set() if held.isdisjoint(needs_in(plan, name)) else {name}
            for name in plan.order:
                with suppress(NitroPluginError):
                    registration = self._find(name)
                    if name not in held and registration.instance is None:
                        self._load_after_needs(registration, plan, failed)
        finally:
            self._log = outer
        if outer is not None:
            outer.update(log)
        return list(log)

    def _check(self, plan: Plan, registration: Registration) -> None:
        if plan.problems_of(registration.name) and not self.is_loaded(registration.name):
            self._fail(registration, "resolve", DependencyError())

    def _fail(self, registration: Registration, stage: str, reason: BaseException) -> None:
        name = registration.name
        if self._log is not None:
            self._log.pop(name, None)
        # What has been unregistered meanwhile concerns nobody but who wanted it loaded.
        if self._registered.get(name) is registration:
            self.failures[name] = PluginFailure(name, "", stage, reason)
            self.notify("error", plugin_name=name, type=type(reason).__name__)
        raise load_error(reason)

    def _load_after_needs(self, wanted: Registration, plan: Plan, failed: set[str]) -> Imitation:
        try:
            for name in self._still_to_load(wanted.name, plan, failed, {wanted.name}):
                with suppress(NitroPluginError):
                    self._load_after_needs(self._find(name), plan, failed)
            if not all(self.is_loaded(name) for name in needs_in(plan, wanted.name)):
                self._fail(wanted, "resolve", DependencyError())
            return self._load_one(wanted)
        except PluginLoadError:
            failed.add(wanted.name)
            raise

    def _still_to_load(
        self, name: str, plan: Plan, failed: set[str], entered: set[str]
    ) -> Iterator[str]:
        for needed in [edge.requires for edge in plan.edges_of(name)]:
            if needed not in entered | failed and not self.is_loaded(needed):
                entered.add(needed)
                yield from self._still_to_load(needed, plan, failed, entered)
                yield needed

    def _load_one(self, registration: Registration) -> Imitation:
        reason: Optional[BaseException] = None
        with self._busy([registration]):
            if registration.instance is not None:
                return registration.instance
            attempt = Attempt(registration.plugin_class)
            try:
                plugin = attempt.run()
                self._check_still_wanted(registration, plugin)
            except FAULTS as error:
                attempt.undo()
                reason = error
            else:
                registration.instance = plugin
                self._loaded[registration.name] = registration
                plugin.enabled = True
        if reason is not None:
            self._fail(registration, attempt.stage, reason)
        self.failures.pop(registration.name, None)
        if self._log is not None:
            self._log[registration.name] = None
        self._tell_of("loaded", plugin)
        return plugin

    def _check_still_wanted(self, registration: Registration, plugin: Imitation) -> None:
        if self._registered.get(registration.name) is not registration:
            raise PluginNotFoundError
        self._check_needs(need.name for need in metadata_of(plugin.spec).dependencies)

    def _check_needs(self, names: Iterable[str]) -> None:
        leaving = {each.name for going in self._leaving for each in going}
        if any(not self.is_loaded(name) or name in leaving for name in names):
            raise DependencyError

    @contextmanager
    def _busy(self, registrations: list[Registration]) -> Iterator[None]:
        """Refuse what a plugin's own code asks for while the plugin is loaded or unloaded."""
        if any(each.is_busy for each in registrations):
            raise DependencyError
        for each in registrations:
            each.is_busy = True
        try:
            yield
        finally:
            for each in registrations:
                each.is_busy = False

    # -- switching and unloading

    def enable_plugin(self, name: str) -> None:
        self._active(name).enabled = True

    def disable_plugin(self, name: str) -> None:
        self._active(name).enabled = False

    def _active(self, name: str) -> Imitation:
        if name not in self._loaded:
            raise PluginNotFoundError
        return self.get_all_plugins()[name]

    def unload(self, name: str) -> None:
        self._active(name)
        raise_fault(self._unload(self._loaded[name]))

    def unload_all(self) -> None:
        for registration in reversed(list(self._loaded.values())):
            with suppress(DependencyError):
                self._unload(registration)

    def _unload(self, registration: Registration, forget: bool = False) -> Optional[BaseException]:
        going = [*self._users(registration), registration]
        self._leaving.append(list(going))
        try:
            return [self._unload_one(each, forget and each is registration) for each in going][-1]
        finally:
            self._leaving.pop()

    def _users(self, registration: Registration) -> list[Registration]:
        """List what needs a plugin, directly or not, the latest first, each before its needs."""
        found: list[Registration] = []
        for each in reversed(list(self._loaded.values())):
            if any(need.name == registration.name for need in each.metadata.dependencies):
                found += [user for user in [*self._users(each), each] if user not in found]
        return found

    def _unload_one(self, registration: Registration, forget: bool) -> Optional[BaseException]:
        with self._busy([registration]):
            self._leaving[-1].remove(registration)
            plugin, registration.instance = registration.instance, None
            if forget:
                self._forget(registration)
            if plugin is None:
                return None
            del self._loaded[registration.name]
            fault = end(plugin)
        self.notify("unloaded", plugin_name=registration.name)
        return fault


def metadata_of(spec: Spec) -> PluginMetadata:
    """Make the record that the resolver wants."""
    needs = tuple(map(Requirement.parse, spec.needs))
    uses = tuple(map(Requirement.parse, spec.uses))
    return PluginMetadata(spec.name, spec.version, dependencies=needs, optional_dependencies=uses)


def needs_in(plan: Plan, name: str) -> list[str]:
    """Name what a plugin cannot do without."""
    return [edge.requires for edge in plan.edges_of(name) if not edge.optional]


def load_error(reason: BaseException) -> PluginLoadError:
    """Wrap the reason for which a plugin could not be loaded, keeping its kind."""
    return DependencyError() if isinstance(reason, DependencyError) else PluginLoadError()


def raise_fault(fault: Optional[BaseException]) -> None:
    """Raise what an `on_unload` raised, if it did."""
    if isinstance(fault, SystemExit):
        raise NitroPluginError
    if fault is not None:
        raise fault
