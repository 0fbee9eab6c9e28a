"""The base class of all plugins."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Sequence
from typing import Any, Callable, ClassVar, Final, Optional, Protocol, TypeVar

from nitro_dispatch.callables import same_callable
from nitro_dispatch.hooks import DEFAULT_PRIORITY, HookImpl, Names, make_hook
from nitro_dispatch.metadata import FIELDS, Origin

__all__ = [
    "PluginBase",
    "Switch",
    "class_values",
    "enable",
    "is_enabled",
    "is_off",
    "is_plugin_class",
    "is_switched",
    "switch_off",
    "switch_own",
]

# What the library itself sets and reads of an instance passes by the `__setattr__` and the
# `__getattribute__` of its class: they may refuse everything, at any time, and then the instance
# could be neither switched off nor cleared away.
_own: Final = object.__getattribute__


class Host(Protocol):
    """What a plugin needs of the manager that loaded it."""

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
    ) -> None: ...

    def unregister_hook(
        self, event_name: str, callback: Callable[..., Any], plugin: Any = None
    ) -> bool: ...

    def trigger(self, event_name: str, data: Any = None) -> Any: ...

    async def trigger_async(self, event_name: str, data: Any = None) -> Any: ...

    def get_plugin(self, plugin_name: str) -> Optional[PluginBase]: ...

    def get_plugin_config(self, plugin_name: str, key: str, default: Any = None) -> Any: ...


class Switched(Protocol):
    """A registry that is told when an owner of its hooks is switched on or off."""

    def owner_switched(self, owner: Any) -> None: ...


class Switch:
    """An owner of hooks that can be switched on and off."""

    # This class declares no hooks; what inherits from it may, unless it says so as well.
    _hookless = True
    # None while the owner is a plugin that starts, which is not to be switched before it has.
    _enabled: Optional[bool] = False
    _registries: tuple[Switched, ...] = ()

    @property
    def enabled(self) -> bool:
        """Whether the owner's hooks are called; setting it takes effect at once."""
        return _own(self, "_enabled") is True

    @enabled.setter
    def enabled(self, value: bool) -> None:
        Switch._enable(self, value)

    def _start(self) -> None:
        """Be disabled until `_switch` or `_take_over` is called, whatever is set meanwhile."""
        object.__setattr__(self, "_enabled", None)

    def _enable(self, value: bool) -> None:
        if _own(self, "_enabled") is not None:
            Switch._switch(self, bool(value))

    # The registry calls what follows under its lock, where no code of a plugin may run.

    def _switch(self, value: bool) -> None:
        object.__setattr__(self, "_enabled", value)
        for registry in _own(self, "_registries"):
            registry.owner_switched(self)

    def _attach(self, registry: Switched) -> None:
        """Tell a registry from now on when the owner is switched."""
        registries = _own(self, "_registries")
        if registry not in registries:
            object.__setattr__(self, "_registries", (*registries, registry))

    def _detach(self, registry: Switched) -> None:
        """Tell a registry no longer when the owner is switched."""
        rest = tuple(other for other in _own(self, "_registries") if other is not registry)
        object.__setattr__(self, "_registries", rest)

    def _take_over(self, other: Switch) -> None:
        """Be switched as another owner is; the registry that arranges it knows already."""
        object.__setattr__(self, "_enabled", _own(other, "_enabled"))


class PluginBase(Switch):
    """What every plugin inherits from: its metadata, its life, and its way to the application.

    The class attributes are the plugin's manifest. Written as literals, they are read from the
    source without running it.

    Example:
        >>> class Cache(PluginBase):
        ...     name = "cache"
        ...     version = "1.2.0"
        ...     dependencies = ["store>=1.2,<2"]
        >>> Cache()
        <Cache name='cache' version='1.2.0'>
    """

    name: str = ""
    version: str = "1.0.0"
    description: str = ""
    author: str = ""
    dependencies: Sequence[str] = []
    optional_dependencies: Sequence[str] = []
    conflicts: Sequence[str] = []
    requires_app: str = ""
    requires_python: str = ""
    # A dataclass that the plugin's section of the configuration must fit; its instance is there
    # as `settings` when the plugin is loaded.
    config_model: ClassVar[Optional[type]] = None
    settings: Any = None

    _hookless = True
    _manager: Optional[Host] = None
    # Where the manager found it, for reports.
    _origin: Optional[Origin] = None
    _early_hooks: Sequence[HookImpl] = ()

    def __init_subclass__(cls, **options: Any) -> None:
        """Leave the switch in force where a class only says that its plugins are enabled."""
        super().__init_subclass__(**options)
        replaced = getattr(super(cls, cls), "enabled", None)
        if isinstance(vars(cls).get("enabled"), bool) and replaced is Switch.enabled:
            type.__delattr__(cls, "enabled")

    def __new__(cls: type[Plugin], *args: Any, **kwargs: Any) -> Plugin:
        """Give each instance lists of its own, also where `__init__` is not called."""
        plugin = super().__new__(cls)
        dependencies = cls.dependencies
        if isinstance(dependencies, list):
            object.__setattr__(plugin, "dependencies", list(dependencies))
        if cls.name is PluginBase.name:
            object.__setattr__(plugin, "name", class_values(cls)["name"])
        return plugin

    def on_load(self) -> None:
        """Acquire what the plugin needs; called once, when it is loaded."""

    def on_unload(self) -> None:
        """Release what the plugin holds; called once, when it is unloaded."""

    def on_error(self, error: BaseException) -> Any:
        """Hear that one of the plugin's hooks failed; may be async.

        Args:
            error: What the hook raised.
        """

    def dump_state(self) -> Any:
        """Give what is to live on in the plugin's next instance; called when it is reloaded.

        This instance serves on until the next one is complete, and for good if that fails. So
        dumping must not change it.

        Returns:
            Any object, which is handed over as it is and not copied; None for nothing.

        Example:
            >>> class Counter(PluginBase):
            ...     def on_load(self):
            ...         self.counts = {}
            ...
            ...     def dump_state(self):
            ...         return self.counts
            ...
            ...     def restore_state(self, state):
            ...         self.counts = state
        """
        return None

    def restore_state(self, state: Any) -> None:
        """Take over what the plugin's last instance dumped; called after `on_load`, at a reload.

        Whatever it raises ends the reload, and the last instance serves on.

        Args:
            state: What `dump_state` of the last instance returned, which may be of another version
                of the plugin; never None.
        """

    def register_hook(
        self,
        event_name: str,
        callback: Callable[..., Any],
        priority: float = DEFAULT_PRIORITY,
        timeout: Optional[float] = None,
        *,
        blocking: bool = True,
        atomic: bool = False,
        before: Names = (),
        after: Names = (),
    ) -> None:
        """Listen for an event; the hook lives as long as the plugin is loaded.

        Args:
            event_name: The event, with wildcards if wanted.
            callback: What is called with the data.
            priority: Higher runs earlier.
            timeout: The time limit in seconds, None for no limit.
            blocking: Whether `trigger_async` runs a sync callback in a worker thread.
            atomic: Whether the callback works on a copy of the data, which counts only if it
                succeeds.
            before: The plugins whose hooks of the same priority this one precedes.
            after: The plugins whose hooks of the same priority this one follows.

        Raises:
            TypeError: An argument has the wrong type.
            ValueError: An argument has the right type and a value that cannot be used.

        Example:
            >>> class Logger(PluginBase):
            ...     def on_load(self):
            ...         self.register_hook("user.*", self.log, priority=10)
            ...
            ...     def log(self, data, event):
            ...         print(event)
        """
        options: dict[str, Any] = {
            "priority": priority,
            "timeout": timeout,
            "blocking": blocking,
            "atomic": atomic,
            "before": before,
            "after": after,
        }
        if self._manager is not None:
            self._manager.register_hook(event_name, callback, self, **options)
        else:
            # Before the plugin is loaded (in `__init__`) the hook waits for the manager.
            early = make_hook(event_name, callback, plugin=self, **options)
            self._wait_with([*self._early_hooks, early])

    def unregister_hook(self, event_name: str, callback: Callable[..., Any]) -> bool:
        """Listen for an event no longer.

        Args:
            event_name: The event or pattern, as registered.
            callback: What was registered for it.

        Returns:
            Whether there was such a hook.
        """
        manager, before = self._manager, self._early_hooks
        found = manager is not None and manager.unregister_hook(event_name, callback, self)
        kept = [
            early
            for early in before
            if early.event != event_name or not same_callable(early.callback, callback)
        ]
        self._wait_with(kept)
        return found or len(kept) < len(before)

    def trigger(self, event_name: str, data: Any = None) -> Any:
        """Fire an event through the manager that loaded the plugin.

        Args:
            event_name: The event to fire.
            data: What its hooks are given.

        Returns:
            The data as the hooks left it; unchanged where no manager loaded the plugin.
        """
        return data if self._manager is None else self._manager.trigger(event_name, data)

    async def trigger_async(self, event_name: str, data: Any = None) -> Any:
        """Fire an event from async code through the manager that loaded the plugin.

        Args:
            event_name: The event to fire.
            data: What its hooks are given.

        Returns:
            The data as the hooks left it; unchanged where no manager loaded the plugin.
        """
        if self._manager is None:
            return data
        return await self._manager.trigger_async(event_name, data)

    def get_plugin(self, plugin_name: str) -> Optional[PluginBase]:
        """Get another loaded plugin, such as one that is named in `dependencies`.

        Args:
            plugin_name: The other plugin's name.

        Returns:
            Its instance; None where it is not loaded, or where no manager loaded this one.

        Example:
            >>> class Report(PluginBase):
            ...     dependencies = ["store"]
            ...
            ...     def on_load(self):
            ...         self.store = self.get_plugin("store")
        """
        return None if self._manager is None else self._manager.get_plugin(plugin_name)

    def get_config(self, key: str, default: Any = None) -> Any:
        """Read a value of the plugin's section in the application's configuration.

        Args:
            key: The value's name in the section.
            default: What to return where it is not configured.

        Returns:
            The configured value, or the default.
        """
        if self._manager is None:
            return default
        return self._manager.get_plugin_config(self.name, key, default)

    def _belong_to(self, host: Optional[Host]) -> None:
        """Have a way to the application, or none any more."""
        object.__setattr__(self, "_manager", host)

    def _wait_with(self, hooks: Iterable[HookImpl]) -> None:
        """Keep hooks until there is a way to the application."""
        object.__setattr__(self, "_early_hooks", tuple(hooks))

    def __repr__(self) -> str:
        return f"<{type(self).__name__} name={self.name!r} version={self.version!r}>"


def is_switched(owner: object) -> bool:
    """Tell whether an owner of hooks tells the registry itself when it is switched.

    Args:
        owner: The owner of a hook.

    Returns:
        True for a plugin, unless its class replaces `enabled`; False for any other object.
    """
    return getattr(type(owner), "enabled", None) is Switch.enabled


def is_off(owner: Any) -> bool:
    """Tell whether an owner of hooks is switched off; one that is asked at each call is not.

    Args:
        owner: The owner of a hook.

    Returns:
        True for a plugin that is not enabled.
    """
    return is_switched(owner) and _own(owner, "_enabled") is not True


def is_enabled(plugin: Switch) -> bool:
    """Tell whether a plugin is enabled.

    Args:
        plugin: The plugin, which is asked where its class replaces `enabled`.

    Returns:
        True if it is.

    Raises:
        BaseException: What such a class raises.
    """
    return not is_off(plugin) if is_switched(plugin) else bool(plugin.enabled)


def enable(plugin: Switch, enabled: bool) -> None:
    """Enable or disable a plugin.

    Args:
        plugin: The plugin, which is told where its class replaces `enabled`.
        enabled: Whether its hooks are to be called.

    Raises:
        BaseException: What such a class raises.
    """
    if is_switched(plugin):
        Switch._enable(plugin, enabled)
    else:
        plugin.enabled = enabled


def switch_off(plugin: Switch) -> None:
    """Disable a plugin; one whose class replaces `enabled` by code that fails stays as it is.

    Args:
        plugin: The plugin.
    """
    # Each plugin comes by here, and `contextlib.suppress` would take 0.3 µs.
    try:
        if is_enabled(plugin):
            enable(plugin, False)
    except (Exception, SystemExit):
        pass


def switch_own(plugin: Switch, enabled: bool) -> bool:
    """Switch a plugin whose class replaces `enabled`: that is its code, not to be run locked.

    Args:
        plugin: The plugin.
        enabled: Whether its hooks are to be called.

    Returns:
        Whether the plugin is one of these.
    """
    if is_switched(plugin):
        return False
    with contextlib.suppress(AttributeError):
        enable(plugin, enabled)
    return True


# Behind the class: a text would be compiled, which takes 1 ms the first time in a process.
Plugin = TypeVar("Plugin", bound=PluginBase)


def is_plugin_class(candidate: Any) -> bool:
    """Tell whether something is a class that can be loaded as a plugin.

    Args:
        candidate: Any object.

    Returns:
        True for a concrete subclass of PluginBase.

    Example:
        >>> is_plugin_class(PluginBase), is_plugin_class(3)
        (False, False)
    """
    # `isinstance` would ask an object for its class, which one that stands for the settings of an
    # application may not be able to tell yet.
    return (
        issubclass(type(candidate), type)
        and issubclass(candidate, PluginBase)
        and candidate is not PluginBase
        # Only a metaclass makes classes abstract.
        and (type(candidate) is type or not _is_abstract(candidate))
    )


def _is_abstract(plugin_class: type) -> bool:
    # Imported here because it is slow to import, and few plugins have a metaclass.
    from inspect import isabstract

    try:
        return isabstract(plugin_class)
    except (Exception, SystemExit):
        return False  # A metaclass that does not let itself be asked: that shows where it matters.


def class_values(plugin_class: type[PluginBase]) -> dict[str, Any]:
    """Read the metadata that a plugin's class defines or inherits.

    Args:
        plugin_class: A subclass of PluginBase.

    Returns:
        The raw values by attribute; `name` is the class's own where it has none.

    Example:
        >>> class Cache(PluginBase):
        ...     version = "2.0"
        >>> class_values(Cache)
        {'name': 'Cache', 'version': '2.0'}
    """
    values: dict[str, Any] = {"name": plugin_class.__name__}
    for owner in plugin_class.__mro__:
        if id(owner) not in _COMMON:
            # A copy: to read one attribute may set another, as a lazy one does.
            for field in list(vars(owner)):
                if field in FIELDS:
                    values[field] = getattr(plugin_class, field)
    return values


# What all plugins have is no metadata of any one. By identity: a metaclass may compare otherwise.
_COMMON: Final = frozenset(map(id, PluginBase.__mro__))
