"""The plugin manager: finds, orders, loads and ends plugins, and fires events."""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Callable, Final, Optional, Union

from nitro_dispatch.catalog import Catalog
from nitro_dispatch.config import Configuration
from nitro_dispatch.discovery import Discovery
from nitro_dispatch.dispatcher import Dispatcher
from nitro_dispatch.ending import raise_fault
from nitro_dispatch.events import (
    APP_SHUTDOWN,
    APP_STARTUP,
    PLUGIN_ERROR,
    PLUGIN_LOADED,
    PLUGIN_REGISTERED,
    PLUGIN_UNLOADED,
)
from nitro_dispatch.exceptions import NitroPluginError, PluginLoadError, shown
from nitro_dispatch.hooks import DEFAULT_PRIORITY, Names
from nitro_dispatch.late import Late
from nitro_dispatch.lifecycle import Lifecycle
from nitro_dispatch.loading import Loading
from nitro_dispatch.metadata import check_version
from nitro_dispatch.plugin import PluginBase
from nitro_dispatch.policy import Policy
from nitro_dispatch.records import PluginFailure, PluginInfo, Registration, ReloadResult
from nitro_dispatch.registry import HookRegistry
from nitro_dispatch.resolver import Plan

if TYPE_CHECKING:
    from nitro_dispatch import overview, reload, watching
    from nitro_dispatch.sources import directory as directory_source
    from nitro_dispatch.sources import entry_points as entry_point_source
else:
    overview = Late("nitro_dispatch.overview")
    reload = Late("nitro_dispatch.reload")
    directory_source = Late("nitro_dispatch.sources.directory")
    entry_point_source = Late("nitro_dispatch.sources.entry_points")
    watching = Late("nitro_dispatch.watching")

__all__ = ["PluginManager"]

ENTRY_POINT_GROUP: Final = "nitro_dispatch.plugins"


class PluginManager(Dispatcher):
    """Adds plugins to an application.

    Used as a context manager it fires the startup event on entry, and on exit the shutdown event,
    and unloads all plugins. Where it watches for changes that ends before.

    Args:
        config: The configuration: a section for each plugin, by the plugin's name.
        log_level: The level of the logger `nitro_dispatch`, such as "DEBUG".
        validate_metadata: Whether the metadata of plugins has to be valid.
        lazy: Whether discovery only describes plugins, which are then imported when an event that
            they listen to first fires.
        app_version: The application's version, against which plugins declare `requires_app`.
        allow: The names of the only plugins that may be used; None allows all.
        block: The names of plugins that may not be used.

    Raises:
        TypeError: The configuration is no mapping, or another argument has the wrong type.
        ValueError: There is no such log level, or PEP 440 does not know the application's version.

    Example:
        >>> from nitro_dispatch import PluginBase, PluginManager, hook
        >>> class Welcome(PluginBase):
        ...     name = "welcome"
        ...
        ...     @hook("user.login")
        ...     def greet(self, data):
        ...         return {**data, "greeted": True}
        >>> manager = PluginManager()
        >>> manager.register(Welcome)
        'welcome'
        >>> manager.load_all()
        ['welcome']
        >>> manager.trigger("user.login", {"username": "Alice"})
        {'username': 'Alice', 'greeted': True}
    """

    EVENT_PLUGIN_REGISTERED: Final = PLUGIN_REGISTERED
    EVENT_PLUGIN_LOADED: Final = PLUGIN_LOADED
    EVENT_PLUGIN_UNLOADED: Final = PLUGIN_UNLOADED
    EVENT_PLUGIN_ERROR: Final = PLUGIN_ERROR
    EVENT_APP_STARTUP: Final = APP_STARTUP
    EVENT_APP_SHUTDOWN: Final = APP_SHUTDOWN

    def __init__(
        self,
        config: Optional[Mapping[str, Any]] = None,
        log_level: Optional[Union[str, int]] = None,
        validate_metadata: bool = True,
        *,
        lazy: bool = False,
        app_version: Optional[str] = None,
        allow: Optional[Iterable[str]] = None,
        block: Iterable[str] = (),
    ) -> None:
        self._configuration = Configuration(config)
        policy = Policy.from_environment(allow=allow, block=block)
        if app_version is not None:
            _check_app_version(app_version)
        if log_level is not None:
            # Programs for the 1.x series may write the level in small letters.
            level = log_level.upper() if isinstance(log_level, str) else log_level
            _set_level(level)
        self._registry = HookRegistry()
        super().__init__(self._registry._store)
        self._lazy = lazy
        self._catalog = Catalog(
            self._registry._lock, policy, validate=validate_metadata, app_version=app_version
        )
        self._lifecycle = Lifecycle(
            self, self._catalog, self._registry, self._configuration, self._notify
        )
        self._loading = Loading(self._lifecycle)
        self._discovery = Discovery(self._catalog, self._announce_registration, lazy=lazy)
        self._watch: Optional[watching.Watch] = None

    # -- registering and discovering

    def register(self, plugin_class: type[PluginBase], validate: bool = True) -> str:
        """Register the class of a plugin; no instance is made until it is loaded.

        Args:
            plugin_class: A concrete subclass of PluginBase.
            validate: Whether its metadata has to be valid.

        Returns:
            The plugin's name.

        Raises:
            PluginRegistrationError: It is no concrete subclass of PluginBase.
            ValidationError: Its metadata is not valid.
        """
        registration = self._catalog.register(plugin_class, validate=validate)
        self._announce_registration(registration)
        return registration.name

    def unregister(self, plugin_name: str) -> None:
        """Unload a plugin if it is loaded, and forget it.

        Args:
            plugin_name: The plugin's name.

        Raises:
            PluginNotFoundError: No plugin has the name.
            Exception: Whatever its `on_unload` raised, after it is forgotten.
        """
        registration = self._catalog.get(plugin_name)
        fault = None
        if not self._catalog.remove(registration):
            fault = self._lifecycle.unload(registration, forget=True)
        self._discovery.forget(registration)
        raise_fault(registration, fault)

    def discover_plugins(
        self,
        directory: Union[str, os.PathLike[str]],
        pattern: str = "*_plugin.py",
        recursive: bool = False,
    ) -> list[str]:
        """Find plugins in a folder and register them.

        A file that is broken hides no other: it is logged, and in `failures` until it is found
        mended, or no more.

        Args:
            directory: The folder; `~` is the user's home.
            pattern: What the names of the files match; a package counts as its name plus `.py`.
            recursive: Whether to search the folders in it too.

        Returns:
            The names of the plugins found.

        Raises:
            PluginDiscoveryError: There is no such folder, or the pattern leads out of it.
        """
        source = directory_source.DirectorySource(directory, pattern=pattern, recursive=recursive)
        return self._discovery.run(source)

    def discover_entry_points(self, group: str = ENTRY_POINT_GROUP) -> list[str]:
        """Find plugins of installed distributions and register them.

        A distribution that is broken hides no other: it is logged, and in `failures` until it is
        found mended, or no more.

        Args:
            group: The group in which distributions declare their entry points.

        Returns:
            The names of the plugins found.
        """
        return self._discovery.run(entry_point_source.EntryPointSource(group))

    # -- loading and unloading

    def load(self, plugin_name: str) -> PluginBase:
        """Load a plugin, what it needs first.

        Args:
            plugin_name: The plugin's name.

        Returns:
            The instance; the same one where it is loaded already.

        Raises:
            PluginNotFoundError: No plugin has the name.
            DependencyError: Something that it needs is not to be had.
            PluginLoadError: Anything else went wrong; `__cause__` is the reason.
        """
        if self._lazy:
            self._discovery.settle()
        return self._loading.load(plugin_name)

    def load_all(self) -> list[str]:
        """Load all plugins that can be loaded; what fails is logged, and in `failures`.

        Returns:
            The names of those loaded now, in the order of loading.
        """
        if self._lazy:
            self._discovery.settle()
        return self._loading.load_all(lazy=self._lazy)

    def unload(self, plugin_name: str) -> None:
        """Unload a plugin, after the plugins that need it.

        Args:
            plugin_name: The plugin's name.

        Raises:
            PluginNotFoundError: No plugin has the name, or it is not loaded.
            NitroPluginError: Its `on_unload` raised SystemExit.
            Exception: Whatever its `on_unload` raised, after everything is detached.
        """
        registration = self._lifecycle.active(plugin_name)
        raise_fault(registration, self._lifecycle.unload(registration))

    def unload_all(self) -> None:
        """Unload all plugins in the reverse order of loading; what goes wrong is logged."""
        self._lifecycle.unload_all()

    def reload(self, plugin_name: str) -> PluginBase:
        """Load a plugin anew from its source, with all from the same file and all that need it.

        What `dump_state` of an old instance returns is given to `restore_state` of the new one.

        Args:
            plugin_name: The plugin's name.

        Returns:
            The new instance.

        Raises:
            PluginNotFoundError: No plugin has the name.
            PluginLoadError: Something went wrong; the old ones run on as they were.
        """
        registration = self._catalog.find(plugin_name)
        if registration is not None and registration.instance is not None:
            watch = self._watch_that_is_on()
            # Else it would reload once more what this reload has read.
            with watch.leaving(registration) if watch else contextlib.nullcontext():
                reloaded = reload.reload_together(self._lifecycle, self._loading, registration)
            if registration.name in reloaded:
                return reloaded[registration.name]
        return self.load(plugin_name)

    def watch(
        self, callback: Optional[Callable[[ReloadResult], object]] = None
    ) -> Callable[[], None]:
        """Reload loaded plugins when their source changes, in a thread in the background.

        What is loaded or discovered later is watched too. Plugins that change together, or have a
        dependent in common, are reloaded together. Whatever fails leaves the old ones running, and
        is tried again at the next change.

        Args:
            callback: Told of each reload, in that thread; None for nobody.

        Returns:
            What ends it, which may be called more than once and from any thread. The end of the
            manager's context or of the program ends it too.

        Raises:
            TypeError: The callback cannot be called.
            NitroPluginError: It is on already, the library `watchfiles` is not installed, or the
                system gives no thread.
        """
        if callback is not None and not callable(callback):
            raise TypeError(f"callback must be a function or None, not {shown(callback)}")
        watch = watching.Watch(self._lifecycle, self._loading, callback)
        with self._catalog.lock:
            if self._watch_that_is_on():
                raise NitroPluginError(
                    "the manager watches its plugins already: call what the first `watch` returned"
                    ", or give that one a callback which does both"
                )
            watch.start()
            self._watch = watch
        return watch.stop

    def __enter__(self) -> PluginManager:
        self._notify(APP_STARTUP, None)
        return self

    def __exit__(self, *exc_info: object) -> None:
        try:
            if self._watch is not None:
                self._watch.stop()
            self._notify(APP_SHUTDOWN, None)
        finally:
            self.unload_all()

    # -- looking

    def get_plugin(self, plugin_name: str) -> Optional[PluginBase]:
        """Get a loaded plugin; one that waits for its first event is imported.

        Args:
            plugin_name: The plugin's name.

        Returns:
            The instance, or None where it is not loaded.
        """
        plugin = self._lifecycle.visible(plugin_name)
        registration = self._catalog.find(plugin_name)
        if plugin is not None or registration is None or registration.armed is None:
            return plugin
        try:
            return self.load(plugin_name)
        except PluginLoadError:  # It is logged, and in `failures`.
            return None

    def get_all_plugins(self) -> dict[str, PluginBase]:
        """Get all loaded plugins by name, in the order of loading."""
        with self._catalog.lock:
            loaded = [(each.name, each.instance) for each in self._lifecycle.loaded.values()]
        return {name: plugin for name, plugin in loaded if plugin is not None}

    def get_registered_plugins(self) -> list[str]:
        """Get the names of the registered plugins, in the order of registration."""
        return [registration.name for registration in self._catalog]

    def get_loaded_plugins(self) -> list[str]:
        """Get the names of the loaded plugins, in the order of loading."""
        return list(self._lifecycle.loaded)

    def is_loaded(self, plugin_name: str) -> bool:
        """Tell whether a plugin is loaded.

        Args:
            plugin_name: The plugin's name.
        """
        return self._lifecycle.visible(plugin_name) is not None

    def plan(self) -> Plan:
        """Tell in which order the plugins load, and what keeps the others from it.

        Returns:
            The plan; nothing is imported for it.
        """
        return self._catalog.plan()

    @property
    def failures(self) -> dict[str, PluginFailure]:
        """What does not work and why, by the plugin's name, or its origin where it has none."""
        return self._catalog.failures()

    def describe(self) -> list[PluginInfo]:
        """Tell what is known of each registered plugin; nothing is imported for it.

        Returns:
            One record for each, in the order of registration.
        """
        return overview.describe(self._catalog, self._registry.hooks_of)

    # -- hooks

    def register_hook(
        self,
        event_name: str,
        callback: Callable[..., Any],
        plugin: Any = None,
        priority: float = DEFAULT_PRIORITY,
        timeout: Optional[float] = None,
        *,
        blocking: bool = True,
        atomic: bool = False,
        before: Names = (),
        after: Names = (),
    ) -> None:
        """Listen for an event; the arguments are those of `HookRegistry.register`."""
        self._registry.register(
            event_name,
            callback,
            plugin,
            priority,
            timeout,
            blocking=blocking,
            atomic=atomic,
            before=before,
            after=after,
        )

    def unregister_hook(
        self, event_name: str, callback: Callable[..., Any], plugin: Any = None
    ) -> bool:
        """Listen for an event no longer; the arguments are those of `HookRegistry.unregister`.

        Returns:
            Whether there was such a hook.
        """
        return self._registry.unregister(event_name, callback, plugin)

    def get_events(self) -> list[str]:
        """Get the events and patterns that have hooks, as registered."""
        return self._registry.get_all_events()

    def enable_plugin(self, plugin_name: str) -> None:
        """Let the hooks of a loaded plugin be called again.

        Args:
            plugin_name: The plugin's name.

        Raises:
            PluginNotFoundError: No plugin has the name, or it is not loaded.
            NitroPluginError: The plugin's class replaces `enabled` by code that fails.
        """
        self._lifecycle.switch(plugin_name, True)

    def disable_plugin(self, plugin_name: str) -> None:
        """Let the hooks of a loaded plugin be called no more, in a dispatch under way too.

        Args:
            plugin_name: The plugin's name.

        Raises:
            PluginNotFoundError: No plugin has the name, or it is not loaded.
            NitroPluginError: The plugin's class replaces `enabled` by code that fails.
        """
        self._lifecycle.switch(plugin_name, False)

    def get_plugin_config(self, plugin_name: str, key: str, default: Any = None) -> Any:
        """Read a value of the section that the configuration has for a plugin.

        Args:
            plugin_name: The plugin's name.
            key: The value's name in the section.
            default: What to return where it is not configured.

        Returns:
            The configured value, or the default.
        """
        return self._configuration.get(plugin_name, key, default)

    def _watch_that_is_on(self) -> Optional[watching.Watch]:
        watch = self._watch
        return watch if watch is not None and watch.is_on else None

    def _announce_registration(self, registration: Registration) -> None:
        watch = self._watch_that_is_on()
        if watch:
            watch.follow(registration)
        self._lifecycle.announce(PLUGIN_REGISTERED, registration.metadata)


def _check_app_version(version: object) -> None:
    if not isinstance(version, str):
        raise TypeError(f"app_version must be a string such as '3.1'; got {shown(version)}")
    try:
        check_version(version)
    except ValueError:
        raise ValueError(
            f"app_version must be a version such as '3.1', as PEP 440 has it; got {shown(version)}"
        ) from None


def _set_level(level: Union[str, int]) -> None:
    """Set the level of the library's logger, or say what a level is."""
    try:
        # Logging itself takes these two.
        if isinstance(level, bool):
            raise TypeError
        if isinstance(level, int) and level < 0:
            raise ValueError
        logging.getLogger("nitro_dispatch").setLevel(level)
    except (TypeError, ValueError) as error:
        kind = TypeError if isinstance(error, TypeError) else ValueError
        raise kind(
            f"log_level must be a level of logging such as 'DEBUG' or 10; got {shown(level)}"
        ) from None
