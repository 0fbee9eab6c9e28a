"""The life of a plugin: brought to life, switched, and ended, from any thread."""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from types import CoroutineType, MappingProxyType
from typing import Any, Callable, Optional

from nitro_dispatch.attempts import Attempt, Attempts
from nitro_dispatch.catalog import Catalog
from nitro_dispatch.config import Configuration, build_model
from nitro_dispatch.dependents import Dependents, Leaving
from nitro_dispatch.discovery import import_described
from nitro_dispatch.ending import log_faults
from nitro_dispatch.events import PLUGIN_UNLOADED
from nitro_dispatch.exceptions import (
    DependencyError,
    NitroPluginError,
    PluginNotFoundError,
    describe_error,
    shown,
)
from nitro_dispatch.hooks import HookImpl, decorated_hooks, make_hook
from nitro_dispatch.metadata import PluginMetadata
from nitro_dispatch.plugin import (
    Host,
    PluginBase,
    Switch,
    enable,
    is_switched,
    switch_off,
    switch_own,
)
from nitro_dispatch.records import Registration
from nitro_dispatch.registry import HookRegistry
from nitro_dispatch.reports import log_safely, printable
from nitro_dispatch.turns import Turns

__all__ = ["Lifecycle"]

logger = logging.getLogger(__name__)


class _OfThread(threading.local):
    """The new instances of what a thread reloads just now, by name."""

    coming: Mapping[str, PluginBase] = MappingProxyType({})


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
        self.dependents = Dependents(catalog.lock)
        self.attempts = Attempts()
        self._of_thread = _OfThread()

    # -- looking

    def visible(self, name: str) -> Optional[PluginBase]:
        """Find a loaded plugin; a thread that reloads it sees the new instance already."""
        coming = self._of_thread.coming
        if name in coming:
            return coming[name]
        with self._lock:
            registration = self.loaded.get(name)
            return None if registration is None else registration.instance

    def lacking(self, names: Iterable[str]) -> Optional[str]:
        """Name the first of some plugins that this thread does not see loaded; None if all are."""
        for name in names:
            if name not in self.loaded and name not in self._of_thread.coming:
                return name
        return None

    @contextlib.contextmanager
    def showing(self, coming: dict[str, PluginBase]) -> Iterator[None]:
        """Let this thread see instances that are not yet there for the others."""
        outer = self._of_thread.coming
        self._of_thread.coming = coming
        try:
            yield
        finally:
            self._of_thread.coming = outer

    def active(self, name: str) -> Registration:
        """Find a plugin that is loaded or armed.

        Raises:
            PluginNotFoundError: It is neither, or no plugin has the name.
        """
        registration = self.catalog.get(name)
        if registration.switch is None:
            origin = str(registration.metadata.origin)
            raise PluginNotFoundError(
                f"plugin {name!r} ({origin}) is not loaded: load it first",
                plugin=name,
                origin=origin,
            )
        return registration

    def switch(self, name: str, enabled: bool) -> None:
        """Enable or disable a plugin.

        Raises:
            PluginNotFoundError: It is neither loaded nor armed.
            NitroPluginError: Its class replaces `enabled` by code that fails.
        """
        registration = self.active(name)
        with self._lock:
            switch = registration.switch
            if switch is None:
                return
            if is_switched(switch):
                # In one step with the look at it: another may be about to take its place.
                enable(switch, enabled)
                return
        try:
            enable(switch, enabled)
        except (Exception, SystemExit) as error:
            origin, verb = str(registration.metadata.origin), "enabled" if enabled else "disabled"
            raise NitroPluginError(
                f"plugin {name!r} ({origin}) cannot be {verb}, since its own `enabled` failed: "
                f"{describe_error(error)}",
                plugin=name,
                origin=origin,
                cause=error,
            ) from error

    def armed(self) -> list[Registration]:
        """List the plugins that are imported when an event of theirs first fires."""
        return [each for each in self.catalog if each.armed is not None]

    def bring_to_life(self, attempt: Attempt) -> PluginBase:
        """Import, create and start a plugin whose hooks are not called yet.

        Raises:
            BaseException: Whatever the plugin raises; `attempt.stage` says how far it came.
        """
        registration = attempt.registration
        if registration.coming is not None:
            # In a child process the thread that was at it is gone, but not what it had made.
            self.discard(registration.coming)
        plugin_class = self._class_of(registration)
        attempt.stage = "init"
        plugin = attempt.plugin = registration.coming = plugin_class()
        if not isinstance(plugin, PluginBase):
            raise TypeError(
                f"{plugin_class.__qualname__}() gave {shown(plugin)}, which is no plugin"
            )
        switch_off(plugin)
        self._attach(plugin, registration, plugin_class.config_model)
        attempt.stage = "on_load"
        _call(plugin, "on_load")
        attempt.is_alive = True
        return plugin

    def _class_of(self, registration: Registration) -> type[PluginBase]:
        """Find the class of a plugin, which is imported if there is only a description of it."""
        plugin_class = registration.plugin_class
        if plugin_class is None:
            plugin_class = import_described(registration)
            # What its source does not tell may not be valid.
            self.catalog.from_class(plugin_class, candidate=registration.candidate)
            registration.take_class(plugin_class)
        return plugin_class

    def _attach(
        self, plugin: PluginBase, registration: Registration, config_model: Optional[type]
    ) -> None:
        """Give a new instance its manager, its settings and its hooks."""
        plugin._start()
        early = plugin._early_hooks
        plugin._belong_to(self._host)
        origin = registration.metadata.origin
        object.__setattr__(plugin, "_origin", origin)
        if config_model is not None:
            section = self._configuration.section(registration.name)
            settings: object = build_model(
                config_model, section, plugin=registration.name, origin=str(origin)
            )
            object.__setattr__(plugin, "settings", settings)
        declared = [
            make_hook(event, callback, plugin=plugin, options=options)
            for event, callback, options in decorated_hooks(plugin)
        ]
        self.registry.add([*declared, *early])

    def commit(self, attempt: Attempt) -> PluginBase:
        """Let the others see a plugin: its hooks are called from now on.

        Raises:
            NitroPluginError: It was unregistered meanwhile, or something that it needs was unloaded
                or loaded anew.
        """
        registration, plugin = attempt.registration, attempt.plugin
        assert plugin is not None, "what came to life is there"
        armed = registration.armed
        switched = switch_own(plugin, armed is None or armed.enabled)
        with self._lock:
            self._check_still_wanted(attempt)
            registration.instance, registration.coming = plugin, None
            self.loaded[registration.name] = registration
            self.catalog.works(registration.name)
            self.attempts.outdate((registration.name,))
            self.keep_needs(registration, attempt.metadata)
            armed, registration.armed = registration.armed, None
            if armed is not None:
                self.registry.exchange([(armed, plugin)])
            elif not switched:
                Switch._switch(plugin, True)
        return plugin

    def _check_still_wanted(self, attempt: Attempt) -> None:
        name = attempt.registration.name
        if self.catalog.find(name) is not attempt.registration:
            raise PluginNotFoundError(f"plugin {name!r} was unregistered meanwhile", plugin=name)
        self.check_needs([need.name for need in attempt.metadata.dependencies])
        if attempt.outdated_by:
            needed = attempt.outdated_by
            raise DependencyError(f"it needs {needed!r}, which is loaded anew again and again")

    def check_needs(self, names: Collection[str]) -> None:
        """See, under the lock, that plugins are there which one needs that comes to life.

        Raises:
            DependencyError: One is not, or is about to be unloaded.
        """
        gone = self.lacking(names) or self.dependents.leaving_among(names)
        if gone is not None:
            raise DependencyError(f"it needs {gone!r}, which was unloaded meanwhile")

    def keep_needs(self, registration: Registration, metadata: Optional[PluginMetadata]) -> None:
        """Keep in mind, under the lock, what a plugin needs from now on; None: it runs no more."""
        before = registration.in_force
        self.dependents.keep(registration, metadata)
        if before is not (metadata or registration.metadata):
            self.catalog.changed()

    def discard(self, plugin: Optional[PluginBase]) -> None:
        """Detach an instance from everything that it was attached to."""
        if isinstance(plugin, PluginBase):
            # First, so that the plugin's own code cannot attach it once more.
            PluginBase._belong_to(plugin, None)
            self.registry.unregister_plugin(plugin)
            switch_off(plugin)

    def abort(self, attempt: Attempt) -> Optional[BaseException]:
        """Leave nothing of an attempt.

        Returns:
            What `on_unload` raised of a plugin that was alive already.
        """
        if attempt.is_alive and attempt.plugin is not None:
            return self.end(attempt.plugin)
        self.discard(attempt.plugin)
        return None

    def announce(self, event: str, metadata: PluginMetadata) -> None:
        """Tell the listeners of a lifecycle event about a plugin, as it was at the event."""
        data = {"plugin_name": metadata.name}
        if event != PLUGIN_UNLOADED:
            data["version"] = metadata.version
        self.notify(event, data)

    def arm(self, registration: Registration, armed: Switch, hooks: Sequence[HookImpl]) -> bool:
        """Put hooks in place that load a plugin when one of them is first called.

        Returns:
            Whether they are; not if another thread armed, loaded or unregistered it meanwhile.
        """
        with self._lock:
            is_known = self.catalog.find(registration.name) is registration
            if registration.switch is not None or not is_known:
                return False
            self.keep_needs(registration, registration.metadata)
            registration.armed = armed
            self.registry.add(hooks)
            armed.enabled = True
            return True

    def disarm(self, registration: Registration) -> None:
        """Take the hooks of an armed plugin away."""
        with self._lock:
            armed, registration.armed = registration.armed, None
            if armed is not None:
                self.keep_needs(registration, None)
                self.registry.unregister_plugin(armed)

    # -- unloading

    def unload(
        self, registration: Registration, *, forget: bool = False
    ) -> Optional[BaseException]:
        """Unload a plugin, its dependents first.

        Args:
            registration: The plugin.
            forget: Whether to unregister it in the same step, so that nothing can load it again.

        Returns:
            What its `on_unload` raised.

        Raises:
            BaseException: What interrupted an `on_unload`, when all have ended.
        """
        faults = []
        try:
            with self.dependents.leaving(registration) as leaving:
                for each in list(leaving.plugins)[:-1]:
                    faults.append((each, self._unload_one(each, leaving, forget=False)))
                return self._unload_one(registration, leaving, forget=forget)
        finally:
            log_faults(faults)

    def unload_all(self) -> None:
        """Unload everything in the reverse order of loading; what goes wrong is logged."""
        for registration in self.armed():
            self.disarm(registration)
        with self._lock:
            registrations = list(self.loaded.values())
        faults = []
        for registration in reversed(registrations):
            try:
                faults.append((registration, self.unload(registration)))
            except BaseException as error:
                # Another thread has it, and waits for this one; or an `on_unload` was interrupted.
                faults.append((registration, error))
        log_faults(faults)

    def _unload_one(
        self, registration: Registration, leaving: Leaving, *, forget: bool
    ) -> Optional[BaseException]:
        """Unload one plugin, once however many threads ask.

        Returns:
            What its `on_unload` raised.
        """
        with self.turns.taken(registration):
            self.disarm(registration)
            with self._lock:
                # From now on who needs it loads it anew, after this turn.
                del leaving.plugins[registration]
                plugin, registration.instance = registration.instance, None
                if forget:
                    self.catalog.remove(registration)
                if plugin is None:
                    return None
                self.loaded.pop(registration.name, None)
                self.keep_needs(registration, None)
                # In the same step: whoever sees it gone sees no hook of it called.
                self.registry.unregister_plugin(plugin)
            fault = self.end(plugin)
        log_safely(logger, logging.INFO, "Unloaded plugin %s", printable(registration.name))
        self.announce(PLUGIN_UNLOADED, registration.metadata)
        return fault

    def end(self, plugin: PluginBase) -> Optional[BaseException]:
        """Detach an instance and let it release what it holds.

        Returns:
            What its `on_unload` raised.
        """
        self.registry.unregister_plugin(plugin)
        switch_off(plugin)
        try:
            _call(plugin, "on_unload")
        except BaseException as error:
            return error
        finally:
            # `on_unload` may have registered something.
            self.discard(plugin)
        return None


def _call(plugin: PluginBase, method: str) -> None:
    """Call a method which nobody can await: one that is async is closed, with a warning."""
    result = getattr(plugin, method)()
    # No other awaitable is given up: a task that the method began goes on by itself.
    if type(result) is CoroutineType:
        result.close()
        log_safely(
            logger,
            logging.WARNING,
            "%s of plugin %s is async and was not run: make it a plain method",
            method,
            printable(plugin.name),
        )
