"""The manager: its names, arguments and defaults, its configuration, and its log level."""

from __future__ import annotations

import gc
import inspect
import logging
import weakref
from collections.abc import Iterator
from types import MappingProxyType
from typing import Any, Callable

import pytest

import nitro_dispatch
from nitro_dispatch import HookRegistry, NitroPluginError, PluginBase, PluginManager, hook
from plugin_classes import MakePlugin

NOTHING: Any = inspect.Parameter.empty

# What the public description promises: the arguments in their order, with their defaults.
MANAGER: dict[str, dict[str, Any]] = {
    "__init__": {"config": None, "log_level": None, "validate_metadata": True},
    "register": {"plugin_class": NOTHING, "validate": True},
    "unregister": {"plugin_name": NOTHING},
    "load": {"plugin_name": NOTHING},
    "load_all": {},
    "unload": {"plugin_name": NOTHING},
    "unload_all": {},
    "reload": {"plugin_name": NOTHING},
    "discover_plugins": {"directory": NOTHING, "pattern": "*_plugin.py", "recursive": False},
    "discover_entry_points": {"group": "nitro_dispatch.plugins"},
    "register_hook": {
        "event_name": NOTHING,
        "callback": NOTHING,
        "plugin": None,
        "priority": 50,
        "timeout": None,
    },
    "unregister_hook": {"event_name": NOTHING, "callback": NOTHING, "plugin": None},
    "trigger": {"event_name": NOTHING, "data": None},
    "trigger_async": {"event_name": NOTHING, "data": None},
    "collect": {"event_name": NOTHING, "data": None},
    "collect_async": {"event_name": NOTHING, "data": None},
    "first": {"event_name": NOTHING, "data": None},
    "trace": {"event_name": NOTHING, "data": None},
    "get_plugin": {"plugin_name": NOTHING},
    "get_all_plugins": {},
    "get_registered_plugins": {},
    "get_loaded_plugins": {},
    "is_loaded": {"plugin_name": NOTHING},
    "get_events": {},
    "enable_plugin": {"plugin_name": NOTHING},
    "disable_plugin": {"plugin_name": NOTHING},
    "enable_hook_tracing": {"enabled": True},
    "set_error_strategy": {"strategy": NOTHING},
    "get_last_errors": {},
    "get_plugin_config": {"plugin_name": NOTHING, "key": NOTHING, "default": None},
    "add_tracer": {"tracer": NOTHING},
    "plan": {},
    "describe": {},
}
PLUGIN: dict[str, dict[str, Any]] = {
    "on_load": {},
    "on_unload": {},
    "on_error": {"error": NOTHING},
    "register_hook": {
        "event_name": NOTHING,
        "callback": NOTHING,
        "priority": 50,
        "timeout": None,
    },
    "unregister_hook": {"event_name": NOTHING, "callback": NOTHING},
    "trigger": {"event_name": NOTHING, "data": None},
    "trigger_async": {"event_name": NOTHING, "data": None},
    "get_config": {"key": NOTHING, "default": None},
}
REGISTRY: dict[str, dict[str, Any]] = {
    "__init__": {},
    "register": MANAGER["register_hook"],
    "unregister": MANAGER["unregister_hook"],
    "unregister_plugin": {"plugin": NOTHING},
    "clear_event": {"event_name": NOTHING},
    "clear_all": {},
    "get_hooks": {"event_name": NOTHING},
    "get_all_events": {},
    "trigger": MANAGER["trigger"],
    "trigger_async": MANAGER["trigger_async"],
    "enable_hook_tracing": {"enabled": True},
    "set_error_strategy": {"strategy": NOTHING},
    "get_last_errors": {},
}
PROMISED = [
    (owner, method, arguments)
    for owner, methods in (
        (PluginManager, MANAGER),
        (PluginBase, PLUGIN),
        (HookRegistry, REGISTRY),
    )
    for method, arguments in methods.items()
]


def positional(function: Callable[..., object]) -> dict[str, Any]:
    """List what may be given to a function by place, with the defaults."""
    return {
        name: parameter.default
        for name, parameter in inspect.signature(function).parameters.items()
        if parameter.kind is parameter.POSITIONAL_OR_KEYWORD and name != "self"
    }


@pytest.mark.parametrize(
    ("owner", "method", "arguments"),
    PROMISED,
    ids=[f"{owner.__name__}.{method}" for owner, method, _ in PROMISED],
)
def test_the_arguments_are_those_promised(
    owner: type, method: str, arguments: dict[str, Any]
) -> None:
    """Each method takes the promised arguments, by name and by place, with those defaults."""
    assert positional(getattr(owner, method)) == arguments


def test_the_arguments_of_hook() -> None:
    """The decorator takes the promised arguments, with those defaults."""
    assert positional(hook) == {
        "event_name": NOTHING,
        "priority": 50,
        "timeout": None,
        "async_hook": False,
    }


def test_the_attributes_of_a_plugin() -> None:
    """A plugin that says nothing of itself has the promised attributes."""
    plugin = type("Plain", (PluginBase,), {})()
    assert plugin.name == "Plain"
    assert plugin.version == "1.0.0"
    assert (plugin.description, plugin.author, plugin.dependencies) == ("", "", [])
    assert plugin.enabled is False


def test_the_exceptions_have_one_base() -> None:
    """Every exception of the package is a NitroPluginError, and takes a single message."""
    names = [name for name in nitro_dispatch.__all__ if name.endswith(("Error", "Propagation"))]
    assert len(names) == 10
    for name in names:
        error = getattr(nitro_dispatch, name)("it is closed")
        assert isinstance(error, NitroPluginError)
        assert str(error) == "it is closed"


def test_every_method_and_argument_is_documented() -> None:
    """Each public method has a docstring, which names all its arguments."""
    for owner in (PluginManager, PluginBase, HookRegistry):
        for name, method in inspect.getmembers(owner, inspect.isfunction):
            if name.startswith("_"):
                continue
            text = inspect.getdoc(method) or ""
            assert text, name
            if "Args:" in text:
                missing = [each for each in positional(method) if f"{each}:" not in text]
                assert missing == [], name


# -- looking


@pytest.mark.parametrize("name", ["unknown", "registered", "unloaded", "failed", "", None, 3])
def test_a_plugin_that_is_not_loaded_is_none(name: Any, make_plugin: MakePlugin) -> None:
    """What is not loaded, for whatever reason, is not there, and no error either."""

    def fail(self: PluginBase) -> None:
        raise OSError("no disk")

    manager = PluginManager()
    manager.register(make_plugin("unloaded"))
    manager.register(make_plugin("failed", on_load=fail))
    manager.load_all()
    manager.unload("unloaded")
    manager.register(make_plugin("registered"))
    assert manager.get_plugin(name) is None
    assert manager.is_loaded(name) is False


def test_managers_know_nothing_of_each_other(make_plugin: MakePlugin) -> None:
    """The same class in two managers is two plugins."""
    greet = hook("greet")(lambda self, data: [*data, self.get_config("word")])
    greeter = make_plugin("greeter", greet=greet)
    one = PluginManager({"greeter": {"word": "hello"}})
    other = PluginManager({"greeter": {"word": "good day"}})
    for manager in (one, other):
        manager.register(greeter)
    assert one.load("greeter") is not other.load("greeter")
    assert (one.trigger("greet", []), other.trigger("greet", [])) == (["hello"], ["good day"])
    one.disable_plugin("greeter")
    assert (one.trigger("greet", []), other.trigger("greet", [])) == ([], ["good day"])
    one.unregister("greeter")
    assert other.is_loaded("greeter")


def test_a_manager_goes_with_its_plugins(make_plugin: MakePlugin) -> None:
    """Nothing global keeps a manager or its plugins alive that nobody holds any more."""
    manager = PluginManager()
    manager.register(make_plugin("cache", greet=hook("greet")(lambda self, data: data)))
    plugin = manager.load("cache")
    manager.trigger("greet")
    gone: list[weakref.ref[Any]] = [weakref.ref(manager), weakref.ref(plugin)]
    del manager, plugin
    gc.collect()
    assert [each() for each in gone] == [None, None]


def test_an_unloaded_instance_is_let_go(make_plugin: MakePlugin) -> None:
    """After its unload nothing of the library holds an instance."""
    manager = PluginManager()
    manager.register(make_plugin("cache", greet=hook("greet")(lambda self, data: data)))
    gone = weakref.ref(manager.load("cache"))
    manager.trigger("greet")
    manager.unload("cache")
    gc.collect()
    assert gone() is None


def test_a_subclass_may_override_methods(make_plugin: MakePlugin) -> None:
    """What a subclass of the manager overrides is what its plugins call."""
    calls: list[str] = []

    class Watching(PluginManager):
        def trigger(self, event_name: str, data: Any = None) -> Any:
            calls.append(event_name)
            return super().trigger(event_name, data)

        def get_plugin_config(self, plugin_name: str, key: str, default: Any = None) -> Any:
            return f"{plugin_name}.{key}"

    manager = Watching()
    manager.register(make_plugin("cache"))
    plugin = manager.load("cache")
    assert plugin.trigger("greet", 1) == 1
    assert calls == ["greet"]
    assert plugin.get_config("size") == "cache.size"


# -- configuration


def test_get_plugin_config() -> None:
    """A value comes from the plugin's section; where there is none, the default does."""
    config: dict[str, Any] = {"cache": {"size": 100, "off": None, "empty": {}}}
    manager = PluginManager(config)
    assert manager.get_plugin_config("cache", "size") == 100
    assert manager.get_plugin_config("cache", "off", 5) is None
    assert manager.get_plugin_config("cache", "empty", 5) == {}
    assert manager.get_plugin_config("cache", "ttl") is None
    assert manager.get_plugin_config("cache", "ttl", 60) == 60
    assert manager.get_plugin_config("store", "size", default=1) == 1
    assert PluginManager().get_plugin_config("cache", "size", 2) == 2


def test_a_section_need_not_be_a_mapping() -> None:
    """A value of the application's own beside the sections is no section."""
    manager = PluginManager({"project_root": "/x", "number": 3, "nothing": None, "list": ["size"]})
    for name in ("project_root", "number", "nothing", "list"):
        assert manager.get_plugin_config(name, "size", 1) == 1


@pytest.mark.parametrize("config", [["cache"], "cache", 3, {1, 2}, object()])
def test_a_configuration_has_to_be_a_mapping(config: Any) -> None:
    """A configuration that is no mapping is a TypeError."""
    with pytest.raises(TypeError, match="mapping"):
        PluginManager(config)


def test_a_configuration_may_be_any_mapping_and_change_later() -> None:
    """Any mapping will do, and what the application changes in it counts from then on."""
    section = {"size": 1}
    manager = PluginManager(MappingProxyType({"cache": MappingProxyType(section)}))
    section["size"] = 2
    assert manager.get_plugin_config("cache", "size") == 2


def test_a_value_is_given_as_it_is() -> None:
    """A configured value is the application's own object, no copy."""
    connection = object()
    manager = PluginManager({"cache": {"connection": connection}})
    assert manager.get_plugin_config("cache", "connection") is connection


# -- the log level


@pytest.fixture
def library_logger() -> Iterator[logging.Logger]:
    """Give the library's logger, and put its level back."""
    logger = logging.getLogger("nitro_dispatch")
    level = logger.level
    yield logger
    logger.setLevel(level)


@pytest.mark.parametrize(
    ("given", "level"),
    [
        ("DEBUG", logging.DEBUG),
        ("info", logging.INFO),
        ("Warning", logging.WARNING),
        (logging.ERROR, logging.ERROR),
        (0, logging.NOTSET),
    ],
)
def test_log_level_sets_the_library_logger(
    given: Any, level: int, library_logger: logging.Logger
) -> None:
    """The level is that of the library's logger, whatever the case of its name."""
    root = logging.getLogger()
    before = (root.level, list(root.handlers))
    PluginManager(log_level=given)
    assert library_logger.level == level
    assert (root.level, list(root.handlers)) == before


def test_without_a_log_level_the_logger_stays(library_logger: logging.Logger) -> None:
    """A manager without a level leaves the level that somebody has set."""
    library_logger.setLevel(logging.CRITICAL)
    PluginManager()
    assert library_logger.level == logging.CRITICAL


@pytest.mark.parametrize("level", ["LOUD", "", object(), 1.5, ["DEBUG"], True, -1])
def test_an_unknown_log_level_is_an_error(level: Any, library_logger: logging.Logger) -> None:
    """What is no level is a ValueError or a TypeError, and the level stays."""
    library_logger.setLevel(logging.CRITICAL)
    with pytest.raises((ValueError, TypeError)):
        PluginManager(log_level=level)
    assert library_logger.level == logging.CRITICAL


def test_the_library_logger_is_silent_by_default() -> None:
    """The library's logger has a handler that says nothing, so nothing lands on stderr."""
    handlers = logging.getLogger("nitro_dispatch").handlers
    assert [type(handler) for handler in handlers] == [logging.NullHandler]
