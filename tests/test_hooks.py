"""What a hook is: the decorator, its options, and the record of it."""

from __future__ import annotations

import dataclasses
import functools
import math
import threading
from collections.abc import Mapping
from typing import Any, Callable

import pytest

from nitro_dispatch import Event, HookImpl, HookRegistry, PluginBase, PluginManager, hook


def registered(callback: Callable[..., Any], **options: Any) -> HookImpl:
    """Register a callback for `event` and give the record of it."""
    registry = HookRegistry()
    registry.register("event", callback, **options)
    (record,) = registry.get_hooks("event")
    return record


def loaded(*plugin_classes: type[PluginBase]) -> PluginManager:
    """Load plugins into a new manager."""
    manager = PluginManager()
    for plugin_class in plugin_classes:
        manager.load(manager.register(plugin_class))
    return manager


# -- the decorator


def test_the_decorator_hands_the_function_back() -> None:
    """`@hook` marks a function and returns that very function, which can be called as before."""

    def greet(self: object, data: str) -> str:
        return data.upper()

    assert hook("user.login")(greet) is greet
    assert greet(None, "a") == "A"


def test_a_hook_can_name_several_events() -> None:
    """A hook that names several events is called for each, and once where it names one twice."""

    class Plugin(PluginBase):
        @hook(["a", Event("b"), "a"])
        def count(self, data: int) -> int:
            return data + 1

    manager = loaded(Plugin)
    assert (manager.trigger("a", 0), manager.trigger("b", 0)) == (1, 1)
    assert manager.get_events() == ["a", "b"]


def test_the_decorator_cannot_be_stacked() -> None:
    """`@hook` twice on one function is a TypeError that says what to do instead."""
    with pytest.raises(TypeError, match=r"cannot be stacked.*\['a', 'b'\]"):

        class Plugin(PluginBase):
            @hook("b")
            @hook("a")
            def greet(self, data: object) -> None: ...


@pytest.mark.parametrize("wrap", [staticmethod, classmethod])
def test_the_decorator_cannot_be_stacked_across_a_static_or_class_method(
    wrap: Callable[[Any], Any],
) -> None:
    """`@hook` on both sides of `@staticmethod` or `@classmethod` is a TypeError too."""
    inner = hook("a")(lambda *arguments: None)
    with pytest.raises(TypeError, match="cannot be stacked"):
        hook("b")(wrap(inner))


@pytest.mark.parametrize(
    "given",
    [lambda self, data: None, 3, None, b"event", 5.5],
    ids=lambda given: type(given).__name__,
)
def test_the_decorator_needs_an_event(given: Any) -> None:
    """`@hook` without an event's name is a TypeError that shows how it is written."""
    with pytest.raises(TypeError, match="event"):
        hook(given)


@pytest.mark.parametrize("events", ["", [], [""], ["a", ""]])
def test_an_event_must_not_be_empty(events: Any) -> None:
    """`@hook` with an empty name, or none at all, is a ValueError."""
    with pytest.raises(ValueError, match="event"):
        hook(events)


@pytest.mark.parametrize("target", [5, len, "text", None, [].append])
def test_what_cannot_be_marked_is_refused(target: Any) -> None:
    """`@hook` on what is no function of Python's is a TypeError."""
    with pytest.raises(TypeError, match="decorates a function"):
        hook("event")(target)


BAD_OPTIONS: list[tuple[dict[str, Any], type[Exception]]] = [
    ({"priority": "high"}, TypeError),
    ({"priority": None}, TypeError),
    ({"priority": math.nan}, ValueError),
    ({"timeout": "1"}, TypeError),
    ({"timeout": True}, TypeError),
    ({"timeout": 0}, ValueError),
    ({"timeout": -1.5}, ValueError),
    ({"timeout": math.inf}, ValueError),
    ({"timeout": math.nan}, ValueError),
    ({"before": 3}, TypeError),
    ({"before": [""]}, TypeError),
    ({"after": ["a", None]}, TypeError),
]


@pytest.mark.parametrize(("options", "error"), BAD_OPTIONS)
def test_bad_options_are_refused_where_they_are_given(
    options: dict[str, Any], error: type[Exception]
) -> None:
    """A bad option is refused by the decorator itself, before any event fires."""
    with pytest.raises(error, match=next(iter(options))):
        hook("event", **options)


@pytest.mark.parametrize(("options", "error"), BAD_OPTIONS)
def test_a_refused_registration_changes_nothing(
    options: dict[str, Any], error: type[Exception]
) -> None:
    """A registration with a bad option leaves neither a hook nor an event behind."""
    manager = PluginManager()
    with pytest.raises(error, match=r"event 'user\.login'"):
        manager.register_hook("user.login", print, **options)
    assert manager.get_events() == []


@pytest.mark.parametrize("callback", [None, "text", 5, PluginBase()])
def test_a_hook_must_be_callable(callback: Any) -> None:
    """Registering what cannot be called is a TypeError that names owner and event."""

    class Plugin(PluginBase):
        name = "cache"

    manager = loaded(Plugin)
    plugin = manager.get_plugin("cache")
    assert plugin is not None
    with pytest.raises(TypeError, match=r"plugin 'cache', event 'user\.login'.*callable"):
        plugin.register_hook("user.login", callback)
    assert manager.get_events() == []


@pytest.mark.parametrize(("event", "error"), [("", ValueError), (None, TypeError), (5, TypeError)])
def test_a_hook_needs_an_event(event: Any, error: type[Exception]) -> None:
    """Registering for an empty name is a ValueError, for what is no string a TypeError."""
    registry = HookRegistry()
    with pytest.raises(error, match="event"):
        registry.register(event, print)
    assert registry.get_all_events() == []


def test_options_may_be_large() -> None:
    """A priority may be any number that can be ordered, and a limit no lock can wait is none."""
    assert registered(print, priority=10**400).priority == 10**400
    assert registered(print, priority=-math.inf).priority == -math.inf
    assert registered(print, timeout=threading.TIMEOUT_MAX * 2).timeout is None
    assert registered(print, timeout=10**400).timeout is None


def test_before_and_after_take_one_name_or_several() -> None:
    """`before` and `after` take a plugin's name or any iterable of names."""
    record = registered(print, before="audit", after=iter(["cache", "store"]))
    assert record.options.before == ("audit",)
    assert record.options.after == ("cache", "store")


def test_names_may_be_of_a_type_without_a_hash() -> None:
    """`before` and `after` take strings of any type, as the plain texts that they are."""

    class Text(str):
        __hash__ = None  # type: ignore[assignment]

    record = registered(print, before=Text("audit"), after=[Text("cache")])
    assert record.options.before == ("audit",)
    assert [type(name) for name in record.options.after] == [str]


# -- what a class declares


def test_static_and_class_methods_can_be_hooks() -> None:
    """`@hook` works on both sides of `@staticmethod` and `@classmethod`."""

    class Plugin(PluginBase):
        @staticmethod
        @hook("inside.static")
        def one(data: str) -> str:
            return data + "1"

        @hook("outside.static")
        @staticmethod
        def two(data: str) -> str:
            return data + "2"

        @classmethod
        @hook("inside.class")
        def three(cls, data: str, event: str) -> str:
            return data + cls.__name__ + event

        @hook("outside.class")
        @classmethod
        def four(cls, data: str) -> str:
            return data + "4"

    manager = loaded(Plugin)
    results = [manager.trigger(event, ">") for event in manager.get_events()]
    assert sorted(results) == [">1", ">2", ">4", ">Plugininside.class"]


def test_an_override_without_the_decorator_stays_a_hook() -> None:
    """A method that overrides a hook is called in its place, with its options."""

    class Base(PluginBase):
        @hook("event", priority=7)
        def act(self, data: object) -> str:
            return "base"

    class Derived(Base):
        def act(self, data: object) -> str:
            return "derived"

    registry_hooks = loaded(Derived)._registry.get_hooks("event")
    assert [record.priority for record in registry_hooks] == [7]
    assert loaded(Derived).trigger("event") == "derived"


def test_an_override_with_the_decorator_has_its_own_options() -> None:
    """A method that overrides a hook with a decorator listens to its own events only."""

    class Base(PluginBase):
        @hook("old")
        def act(self, data: object) -> str:
            return "base"

    class Derived(Base):
        @hook("new")
        def act(self, data: object) -> str:
            return "derived"

    assert loaded(Derived).get_events() == ["new"]


def test_an_override_with_none_takes_a_hook_out() -> None:
    """A hook that a subclass sets to None is a hook no longer."""

    class Base(PluginBase):
        @hook("event")
        def act(self, data: object) -> str:
            return "base"

    class Derived(Base):
        act = None  # type: ignore[assignment]

    assert loaded(Derived).get_events() == []


def test_hooks_are_inherited_from_any_class() -> None:
    """Hooks of mixins that are no plugins count, and those of base classes come first."""

    class Mixin:
        @hook("event")
        def from_mixin(self, data: list[str]) -> None:
            data.append("mixin")

    class Plugin(Mixin, PluginBase):
        @hook("event")
        def own(self, data: list[str]) -> None:
            data.append("own")

    assert loaded(Plugin).trigger("event", []) == ["mixin", "own"]


def test_attributes_that_raise_are_no_hooks() -> None:
    """A class attribute whose own attributes cannot be read does not keep a plugin from loading."""

    class Settings:
        def __getattr__(self, name: str) -> object:
            raise RuntimeError("the settings are not configured")

    class Plugin(PluginBase):
        settings_of_application = Settings()

        @hook("event")
        def act(self, data: object) -> str:
            return "called"

    assert loaded(Plugin).trigger("event") == "called"


def test_any_attribute_for_the_asking_is_no_mark() -> None:
    """A class attribute that has every attribute asked for is not taken for a hook."""

    class Anything:
        def __getattr__(self, name: str) -> object:
            return self

    class Plugin(PluginBase):
        anything = Anything()

    assert loaded(Plugin).get_events() == []


# -- the record


def test_a_record_can_be_read_like_a_dict() -> None:
    """A hook's record has the keys that the dicts of the 1.x series had."""
    owner = type("Owner", (), {"name": "owner"})()
    record = registered(print, plugin=owner, priority=7, timeout=2.0)
    expected = {
        "event": "event",
        "callback": print,
        "plugin": owner,
        "plugin_name": "owner",
        "priority": 7,
        "timeout": 2.0,
        "is_async": False,
        "sequence": 0,
    }
    assert dict(record) == expected
    assert record["priority"] == record.get("priority") == record.priority == 7
    assert "timeout" in record
    assert "data" not in record
    assert isinstance(record, Mapping)


def test_an_unknown_key_is_a_key_error() -> None:
    """A key that no hook has is a KeyError that lists those there are."""
    with pytest.raises(KeyError, match="plugin_name"):
        registered(print)["colour"]


def test_a_record_is_frozen_and_one_of_a_kind() -> None:
    """A record cannot be changed, and equals no other with the same values."""
    record = registered(print)
    with pytest.raises(dataclasses.FrozenInstanceError):
        record.event = "other"  # type: ignore[misc]
    assert record != registered(print)
    assert record == record
    assert len({record, registered(print)}) == 2


class NameRaises:
    @property
    def name(self) -> str:
        raise RuntimeError("no name")


@pytest.mark.parametrize(
    ("owner", "name"),
    [
        (None, "anonymous"),
        (type("Named", (), {"name": "given"})(), "given"),
        (type("Nameless", (), {})(), "Nameless"),
        (type("Empty", (), {"name": ""})(), "Empty"),
        (type("Number", (), {"name": 5})(), "Number"),
        (NameRaises(), "NameRaises"),
        (0, "int"),
        ("", "str"),
    ],
)
def test_an_owner_has_a_name_whatever_it_is(owner: object, name: str) -> None:
    """An owner is called by its `name`, or its class where it has none that can be used."""
    assert registered(print, plugin=owner).plugin_name == name


def test_a_hook_has_a_name_whatever_it_is() -> None:
    """A hook is called by its function's name, or its class where it has none that can be used."""

    class Odd:
        @property
        def __name__(self) -> str:
            raise RuntimeError("no name")

        def __call__(self, data: object) -> None: ...

    assert registered(print).name == "print"
    assert registered(functools.partial(functools.partial(print, "x"), "y")).name == "print"
    assert registered(Odd()).name == "Odd"


# -- what kind of callable it is


class AsyncCallable:
    async def __call__(self, data: object) -> None: ...


class InheritsAsyncCall(AsyncCallable): ...


class SyncCallable:
    def __call__(self, data: object) -> None: ...


async def coroutine_function(data: object) -> None:
    """Do nothing, asynchronously."""


@pytest.mark.parametrize(
    ("callback", "is_async"),
    [
        (coroutine_function, True),
        (functools.partial(functools.partial(coroutine_function)), True),
        (AsyncCallable(), True),
        (InheritsAsyncCall(), True),
        (functools.partial(InheritsAsyncCall()), True),
        (AsyncCallable().__call__, True),
        (lambda data: coroutine_function(data), False),
        (SyncCallable(), False),
        (AsyncCallable, False),
        (print, False),
    ],
)
def test_async_callables_are_recognized(callback: Callable[..., Any], is_async: bool) -> None:
    """A callable counts as async from the start where its code says that it is."""
    assert registered(callback).is_async is is_async


def test_a_hook_can_say_that_it_is_async() -> None:
    """`async_hook=True` makes a hook async that is no `async def`."""

    class Plugin(PluginBase):
        @hook("event", async_hook=True)
        def act(self, data: object) -> object:
            return coroutine_function(data)

    (record,) = loaded(Plugin)._registry.get_hooks("event")
    assert record.is_async


class WantsEvent:
    def method(self, data: object, event: str) -> str:
        return event

    def __call__(self, data: object, event: str) -> str:
        return event


def follows(function: Callable[..., Any]) -> Callable[..., Any]:
    """Decorate a function as many libraries do."""

    @functools.wraps(function)
    def wrapper(*arguments: Any, **options: Any) -> Any:
        return function(*arguments, **options)

    return wrapper


def keyword_only(data: object, *, event: str) -> str:
    """Tell the event, which can only be given by name."""
    return event


def with_default(data: object, event: str = "none") -> str:
    """Tell the event, which need not be given."""
    return event


@pytest.mark.parametrize(
    "callback",
    [
        WantsEvent().method,
        WantsEvent(),
        lambda data, event: event,
        keyword_only,
        with_default,
        follows(keyword_only),
        follows(WantsEvent().method),
        functools.partial(lambda prefix, data, event: event, "prefix"),
    ],
)
def test_a_second_parameter_called_event_is_given_the_name(callback: Callable[..., Any]) -> None:
    """A hook whose second parameter is called `event` is given the name of the event under way."""
    registry = HookRegistry()
    registry.register("user.*", callback)
    assert registry.trigger("user.login", {}) == "user.login"


def test_no_other_parameter_is_given_the_name() -> None:
    """Another name, another place, or a name bound already is no request for the event."""

    def other_name(data: object, name: str = "default") -> str:
        return name

    def third(data: object, other: int = 0, event: str = "default") -> str:
        return event

    def first(event: str) -> str:
        return event

    assert registry_with(other_name).trigger("event", "data") == "default"
    assert registry_with(third).trigger("event", "data") == "default"
    assert registry_with(first).trigger("event", "data") == "data"
    bound = functools.partial(keyword_only, event="bound")
    assert registry_with(bound).trigger("event", "data") == "bound"


def registry_with(callback: Callable[..., Any]) -> HookRegistry:
    """Make a registry with one hook for `event`."""
    registry = HookRegistry()
    registry.register("event", callback)
    return registry


def test_a_callable_with_odd_attributes_can_be_registered() -> None:
    """A callable object whose attributes raise, or are whatever is asked for, is a hook."""

    class Raises:
        def __getattr__(self, name: str) -> object:
            raise RuntimeError(name)

        def __call__(self, data: int) -> int:
            return data + 1

    class Anything:
        def __getattr__(self, name: str) -> Any:
            return self

        def __call__(self, data: int) -> int:
            return data + 1

    for callback in (Raises(), Anything()):
        assert registry_with(callback).trigger("event", 1) == 2
