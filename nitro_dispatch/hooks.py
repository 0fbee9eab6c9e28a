"""What a hook is: the `@hook` decorator, its options, and the record that the registry keeps."""

from __future__ import annotations

import functools
import logging
import threading
from collections.abc import Iterable, Iterator, Mapping
from types import FunctionType, MethodType
from typing import Any, Callable, Final, Optional, TypeVar, Union

from nitro_dispatch.callables import (
    MARK,
    is_async,
    parameters_of,
    takes_data,
    unwrapped,
    wants_event,
)
from nitro_dispatch.events import validate_event_name
from nitro_dispatch.exceptions import name_of_class, shown
from nitro_dispatch.frozen import Frozen
from nitro_dispatch.reports import Text, log_safely, origin_of_hook, printable

__all__ = [
    "HookImpl",
    "HookOptions",
    "LazyHook",
    "declared_hooks",
    "decorated_hooks",
    "hook",
    "make_hook",
    "owner_name",
]

logger = logging.getLogger(__name__)

ANONYMOUS: Final = "anonymous"
DEFAULT_PRIORITY: Final = 50
_KEYS: Final = (
    *("event", "callback", "plugin", "plugin_name"),
    *("priority", "timeout", "is_async", "sequence"),
)

Events = Union[str, Iterable[str]]
Names = Union[str, Iterable[str]]
Marked = TypeVar("Marked")


class HookOptions(Frozen):
    """How a hook is called, as `@hook` or `register_hook` says it, checked.

    Args:
        priority: Higher runs earlier.
        timeout: The time limit in seconds, None for no limit.
        is_async: Whether the hook says of itself that it is async.
        blocking: Whether `trigger_async` runs a sync hook in a worker thread.
        atomic: Whether the hook works on a copy of the data, which counts only if it succeeds.
        before: The plugins whose hooks of the same priority this one precedes.
        after: The plugins whose hooks of the same priority this one follows.
    """

    priority: float = DEFAULT_PRIORITY
    timeout: Optional[float] = None
    is_async: bool = False
    blocking: bool = True
    atomic: bool = False
    before: tuple[str, ...] = ()
    after: tuple[str, ...] = ()

    @classmethod
    def checked(
        cls,
        priority: object = DEFAULT_PRIORITY,
        timeout: object = None,
        is_async: bool = False,
        blocking: object = True,
        atomic: object = False,
        before: Names = (),
        after: Names = (),
    ) -> HookOptions:
        """Make options of what a caller gave.

        Raises:
            TypeError: An option has the wrong type.
            ValueError: An option has the right type and a value that cannot be used.

        Example:
            >>> HookOptions.checked(priority=10, before="audit").before
            ('audit',)
        """
        return _shared_options(
            _checked_priority(priority),
            _checked_timeout(timeout),
            bool(is_async),
            _checked_flag("blocking", blocking),
            _checked_flag("atomic", atomic),
            _checked_names("before", before),
            _checked_names("after", after),
        )


# Nearly all hooks have the same few: one record for each saves a hook 200 bytes, and a microsecond.
_shared_options: Final = functools.lru_cache(maxsize=256, typed=True)(HookOptions)


def _checked_priority(priority: object) -> float:
    if not isinstance(priority, (int, float)):
        raise TypeError(f"priority must be a number, higher runs earlier; got {shown(priority)}")
    # Not `math.isnan`, which takes no integer beyond the range of floats.
    if priority != priority:
        raise ValueError("priority must be a number that can be ordered; got NaN")
    return priority


def _checked_timeout(timeout: object) -> Optional[float]:
    if timeout is None:
        return None
    if isinstance(timeout, bool) or not isinstance(timeout, (int, float)):
        raise TypeError(f"timeout must be a number of seconds or None; got {shown(timeout)}")
    if not 0 < timeout < float("inf"):
        raise ValueError(
            f"timeout must be a positive, finite number of seconds; got {shown(timeout)}"
        )
    # No lock can wait longer than this: such a limit would never strike.
    return None if timeout > threading.TIMEOUT_MAX else timeout


def _checked_flag(option: str, flag: object) -> bool:
    if isinstance(flag, bool):
        return flag
    raise TypeError(f"{option} must be True or False; got {shown(flag)}")


def _checked_names(option: str, names: Names) -> tuple[str, ...]:
    found: object = (names,) if isinstance(names, str) else names
    if isinstance(found, Iterable):
        found = tuple(found)
        if all(isinstance(name, str) and name for name in found):
            # Plain: a subclass of `str` may have no hash.
            return tuple(map(str.__str__, found))
    raise TypeError(f"{option} must be a plugin's name or several; got {shown(names)}")


class _Mark(Frozen):
    """What `@hook` leaves on a function: the events and how to call it."""

    events: tuple[str, ...]
    options: HookOptions


def hook(
    event_name: Events,
    priority: float = DEFAULT_PRIORITY,
    timeout: Optional[float] = None,
    async_hook: bool = False,
    *,
    blocking: bool = True,
    atomic: bool = False,
    before: Names = (),
    after: Names = (),
) -> Callable[[Marked], Marked]:
    """Mark a method of a plugin as a hook; the method itself stays as it is.

    Args:
        event_name: The event to listen for, with wildcards if wanted, or several of them.
        priority: Higher runs earlier; equal priorities run in the order of registration.
        timeout: The time limit in seconds, None for no limit.
        async_hook: Whether the hook returns an awaitable although it is no `async def`.
        blocking: Whether `trigger_async` runs a sync hook in a worker thread; False runs it
            in the event loop's own thread, which saves a hand-off and blocks the loop.
        atomic: Whether the hook works on a deep copy of the data, which takes their place only if
            it succeeds in time: a failed or late hook has changed nothing.
        before: The plugins whose hooks of the same priority this one precedes.
        after: The plugins whose hooks of the same priority this one follows.

    Returns:
        A decorator that marks the function and hands it back.

    Raises:
        TypeError: An argument has the wrong type, or the function is marked already.
        ValueError: An argument has the right type and a value that cannot be used.

    Example:
        >>> class Greeter:
        ...     @hook("user.login", priority=100)
        ...     def greet(self, data):
        ...         return {**data, "greeted": True}
        >>> Greeter().greet({})
        {'greeted': True}
    """
    events = (event_name,) if isinstance(event_name, str) else _several_events(event_name)
    mark = _Mark(
        tuple(dict.fromkeys(validate_event_name(event) for event in events)),
        HookOptions.checked(priority, timeout, async_hook, blocking, atomic, before, after),
    )

    def decorate(function: Marked) -> Marked:
        if _mark_of(function) is not None:
            raise TypeError(
                f"@hook cannot be stacked on {shown(function)}: "
                "name all its events in one decorator, @hook(['a', 'b'])"
            )
        try:
            setattr(function, MARK, mark)
        except AttributeError:
            raise TypeError(f"@hook decorates a function; got {shown(function)}") from None
        return function

    return decorate


def _several_events(events: object) -> tuple[object, ...]:
    if callable(events) or not isinstance(events, Iterable):
        raise TypeError(
            f"@hook needs the event's name, as in @hook('user.login'); got {shown(events)}"
        )
    found = tuple(events)
    if not found:
        raise ValueError("@hook needs at least one event's name, as in @hook('user.login')")
    return found


def _mark_of(attribute: object) -> Optional[_Mark]:
    """Find the mark on a function, or on the function inside a static or class method."""
    mark = _attribute(attribute, MARK)
    if mark is None and isinstance(attribute, (staticmethod, classmethod)):
        mark = _attribute(attribute.__func__, MARK)
    return mark if isinstance(mark, _Mark) else None


def _attribute(thing: object, name: str) -> object:
    """Read an attribute, which may be somebody else's code; None where that fails."""
    try:
        return getattr(thing, name, None)
    except (Exception, SystemExit):
        return None


def decorated_hooks(plugin: object) -> list[tuple[str, Callable[..., Any], HookOptions]]:
    """List the hooks that a plugin's class declares, in the order of definition.

    Base classes come first. A method that overrides a hook without the decorator stays one, with
    the options of the method that it overrides.

    Args:
        plugin: The instance whose bound methods are wanted.

    Returns:
        An event, a bound method and its options for each.

    Example:
        >>> class Greeter:
        ...     @hook(["user.login", "user.logout"])
        ...     def greet(self, data): ...
        >>> [event for event, method, options in decorated_hooks(Greeter())]
        ['user.login', 'user.logout']
    """
    return [
        (event, getattr(plugin, name), mark.options)
        for name, mark in _marks(type(plugin)).items()
        for event in mark.events
    ]


def declared_hooks(plugin_class: type) -> list[tuple[str, str]]:
    """List the hooks that a class declares, without an instance.

    Args:
        plugin_class: The class.

    Returns:
        An event and the name of a method for each.
    """
    marks = _marks(plugin_class).items()
    return [(event, name) for name, mark in marks for event in mark.events]


def _marks(plugin_class: type) -> dict[str, _Mark]:
    marks: dict[str, _Mark] = {}
    for owner in reversed(plugin_class.__mro__):
        # What every plugin inherits from is not searched for each of them, at 3 µs.
        if owner is object or "_hookless" in vars(owner):
            continue
        for name, attribute in vars(owner).items():
            kind = type(attribute)
            # Metadata, for one: nothing of these types can be marked, which is told in no time.
            is_plain = kind is str or kind is list or kind is tuple or attribute is None
            mark = None if is_plain else _mark_of(attribute)
            if mark is not None:
                marks[name] = mark
            elif name in marks and not _is_method(attribute):
                del marks[name]
    return marks


def _is_method(attribute: object) -> bool:
    return callable(attribute) or isinstance(attribute, (staticmethod, classmethod))


def owner_name(owner: object) -> str:
    """Name the owner of a hook, whatever object it is.

    Args:
        owner: A plugin, any other object, or None.

    Returns:
        Its `name`, or its class's where it has none that can be used.

    Example:
        >>> owner_name(None)
        'anonymous'
    """
    return ANONYMOUS if owner is None else _name_of(owner, "name")


def _name_of(thing: object, attribute: str) -> str:
    name: Any = _attribute(thing, attribute)
    # A name may be of a class that is the plugin's code, and so may a class.
    is_usable = issubclass(type(name), str) and str.__len__(name)
    found: str = name if is_usable else name_of_class(type(thing))
    return found


class HookImpl(Frozen, Mapping[str, Any]):
    """One hook in the registry: who listens to what, and how it is called.

    It can also be read like a dict, as programs for the 1.x series do.

    Args:
        event: The event or pattern, as registered.
        callback: What is called with the data.
        plugin: The owner, or None.
        options: How it is called.
        is_async: Whether the callback is known to return an awaitable.
        wants_event: Whether the callback asks for the event's name.
        order: The place among hooks of equal priority.

    Example:
        >>> record = make_hook("user.login", print, priority=7)
        >>> record.priority, record["priority"], record["plugin_name"]
        (7, 7, 'anonymous')
    """

    __slots__ = (
        "__weakref__",
        "callback",
        "event",
        "is_async",
        "options",
        "order",
        "plugin",
        "wants_event",
    )

    # A hook is one of a kind, also among those with the same values.
    __eq__ = object.__eq__
    __hash__ = object.__hash__

    event: str
    callback: Callable[..., Any]
    plugin: Any
    options: HookOptions
    is_async: bool
    wants_event: bool
    order: int

    @property
    def priority(self) -> float:
        """Higher runs earlier."""
        return self.options.priority

    @property
    def timeout(self) -> Optional[float]:
        """The time limit in seconds, None for no limit."""
        return self.options.timeout

    @property
    def plugin_name(self) -> str:
        """The owner's name, 'anonymous' for none."""
        return owner_name(self.plugin)

    @property
    def name(self) -> str:
        """The callback's name."""
        callback = self.callback
        if isinstance(callback, (FunctionType, MethodType)):
            return callback.__name__
        return _name_of(unwrapped(callback), "__name__")

    @property
    def sequence(self) -> int:
        """The place among hooks of equal priority."""
        return self.order

    def _place(self, order: int) -> None:
        """Give a place to a hook that a registry takes in: frozen otherwise, it is not copied."""
        object.__setattr__(self, "order", order)

    def __getitem__(self, key: str) -> Any:
        if key not in _KEYS:
            raise KeyError(f"{key!r}; a hook has {', '.join(_KEYS)}")
        return getattr(self, key)

    def __iter__(self) -> Iterator[str]:
        return iter(_KEYS)

    def __len__(self) -> int:
        return len(_KEYS)


class LazyHook(HookImpl):
    """A hook known by its description only: its plugin is imported when it is first called.

    Args:
        method: The name of the method that the real hook has.
        wake: Loads the plugin.
        real: Finds the real hook; None where it is not to be called, or not there.
    """

    __slots__ = ("method", "real", "wake")

    method: str
    wake: Callable[[HookImpl], None]
    real: Callable[[HookImpl], Optional[HookImpl]]

    @property
    def name(self) -> str:
        """The method's name."""
        return self.method


def make_hook(
    event: object,
    callback: Callable[..., Any],
    *,
    plugin: object = None,
    priority: object = DEFAULT_PRIORITY,
    timeout: object = None,
    blocking: bool = True,
    atomic: bool = False,
    before: Names = (),
    after: Names = (),
    options: Optional[HookOptions] = None,
) -> HookImpl:
    """Check what a caller wants to register and make the record of it.

    Args:
        event: The event or pattern to listen for.
        callback: What is to be called with the data.
        plugin: The owner, or None.
        priority: Higher runs earlier.
        timeout: The time limit in seconds, None for no limit.
        blocking: Whether `trigger_async` runs a sync callback in a worker thread.
        atomic: Whether the callback works on a copy of the data, which counts only if it succeeds.
        before: The plugins whose hooks of the same priority this one precedes.
        after: The plugins whose hooks of the same priority this one follows.
        options: All of the options at once, checked before.

    Returns:
        The record.

    Raises:
        TypeError: An argument has the wrong type; the text names the owner.
        ValueError: An argument has the right type and a value that cannot be used.
    """
    try:
        name = validate_event_name(event)
        if not callable(callback):
            raise TypeError(f"a hook must be callable; got {shown(callback)}")
        if options is None:
            options = HookOptions.checked(priority, timeout, False, blocking, atomic, before, after)
    except (TypeError, ValueError) as error:
        kind = TypeError if isinstance(error, TypeError) else ValueError
        raise kind(f"plugin {owner_name(plugin)!r}, event {shown(event)}: {error}") from None
    asks = wants_event(callback)
    is_known_async = options.is_async or is_async(callback)
    hook = HookImpl(name, callback, plugin, options, is_known_async, asks, 0)
    if not takes_data(callback, event=asks):
        _warn_of_parameters(hook)
    return hook


def _warn_of_parameters(hook: HookImpl) -> None:
    """Say that a hook will fail whenever it is called; programs for 1.x may have such hooks."""
    log_safely(
        logger,
        logging.WARNING,
        "hook %s of plugin %s (%s) on event %s cannot be called with its parameters %s: "
        "let it take (data) or (data, event)",
        printable(hook.name),
        printable(hook.plugin_name),
        Text(origin_of_hook, hook.plugin, hook.callback),
        printable(hook.event),
        Text(parameters_of, hook.callback),
    )
