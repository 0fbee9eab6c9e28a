"""The life of a plugin: brought to life, switched, and ended, from any thread."""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Iterator
from typing import Any, Callable, Optional

from nitro_dispatch.catalog import Catalog, Registration
from nitro_dispatch.config import Configuration, build_model
from nitro_dispatch.discovery import import_described
from nitro_dispatch.events import PLUGIN_UNLOADED
from nitro_dispatch.exceptions import (
    DependencyError,
    NitroPluginError,
    PluginNotFoundError,
    describe_error,
)
from nitro_dispatch.failures import printable
from nitro_dispatch.hooks import HookImpl, decorated_hooks, make_hook
from nitro_dispatch.plugin import Host, PluginBase
from nitro_dispatch.registry import HookRegistry
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
        # What this thread reloads just now.
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

    def commit(self, registration: Registration, plugin: PluginBase) -> None:
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

    def discard(self, plugin: Optional[PluginBase]) -> None:
        """Detach an instance from everything that it was attached to."""
        if isinstance(plugin, PluginBase):
            self.registry.unregister_plugin(plugin)
            plugin.enabled = False
            plugin._manager = None

    def announce(self, event: str, registration: Registration) -> None:
        """Tell the listeners of a lifecycle event about a plugin."""
        metadata = registration.metadata
        data = {"plugin_name": metadata.name}
        if event != PLUGIN_UNLOADED:
            data["version"] = metadata.version
        self.notify(event, data)

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
