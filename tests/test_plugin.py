"""The base class of plugins: its attributes, its hooks, its way to the application."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Callable, Optional

import pytest

from nitro_dispatch import (
    HookRegistry,
    PluginBase,
    PluginLoadError,
    PluginManager,
    ValidationError,
    hook,
)
from plugin_classes import MakePlugin


def load(plugin_class: type[PluginBase], **options: Any) -> tuple[PluginManager, PluginBase]:
    """Load one plugin in a manager of its own."""
    manager = PluginManager(**options)
    return manager, manager.load(manager.register(plugin_class))


# -- hooks


def test_decorated_hooks_precede_those_of_on_load() -> None:
    """Among hooks of one priority the decorated come first, in the order of their definition."""

    class Both(PluginBase):
        def __init__(self) -> None:
            self.register_hook("go", lambda data: [*data, "init"])

        def on_load(self) -> None:
            self.register_hook("go", lambda data: [*data, "on_load"])

        @hook("go")
        def z_first(self, data: Any) -> Any:
            return [*data, "z_first"]

        @hook("go")
        def a_second(self, data: Any) -> Any:
            return [*data, "a_second"]

    manager, _ = load(Both)
    assert manager.trigger("go", []) == ["z_first", "a_second", "init", "on_load"]


def test_an_override_without_the_decorator_stays_a_hook() -> None:
    """A method that overrides a hook is called in its place, with the same options."""

    class Base(PluginBase):
        name = "base"

        @hook("go", priority=90)
        def act(self, data: Any) -> Any:
            return [*data, "base"]

        @hook("go")
        def later(self, data: Any) -> Any:
            return [*data, "later"]

    class Heir(Base):
        name = "heir"

        def act(self, data: Any) -> Any:
            return [*data, "heir"]

    manager, _ = load(Heir)
    assert manager.trigger("go", []) == ["heir", "later"]


def test_an_override_that_is_no_method_is_no_hook_any_more() -> None:
    """A hook can be switched off in a subclass by None."""

    class Base(PluginBase):
        @hook("go")
        def act(self, data: Any) -> Any:
            return [*data, "base"]

    class Mute(Base):
        act = None  # type: ignore[assignment]

    manager, _ = load(Mute)
    assert manager.trigger("go", []) == []


def test_hooks_of_a_mixin_count() -> None:
    """Hooks that a class inherits from something else than a plugin are its hooks."""

    class Mixin:
        @hook("go")
        def act(self, data: Any) -> Any:
            return [*data, type(self).__name__]

    class Plugin(Mixin, PluginBase):
        pass

    manager, _ = load(Plugin)
    assert manager.trigger("go", []) == ["Plugin"]


def test_register_and_unregister_a_hook(make_plugin: MakePlugin) -> None:
    """A plugin registers hooks at any time while it is loaded, and takes them out again."""
    manager, plugin = load(make_plugin("greeter"))

    def greet(data: Any) -> Any:
        return [*data, "greet"]

    plugin.register_hook("go", greet)
    plugin.register_hook("go", lambda data: [*data, "first"], priority=90)
    assert manager.trigger("go", []) == ["first", "greet"]
    assert plugin.unregister_hook("go", greet)
    assert manager.trigger("go", []) == ["first"]
    assert not plugin.unregister_hook("go", greet)
    assert not plugin.unregister_hook("unknown", greet)


def test_a_plugin_takes_out_only_its_own_hooks(make_plugin: MakePlugin) -> None:
    """The same callback of somebody else stays when a plugin unregisters its own."""
    manager, plugin = load(make_plugin("greeter"))

    def greet(data: Any) -> Any:
        return [*data, "greet"]

    manager.register_hook("go", greet)
    plugin.register_hook("go", greet)
    plugin.unregister_hook("go", greet)
    assert manager.trigger("go", []) == ["greet"]


def test_a_hook_of_init_can_be_taken_out_before_the_load() -> None:
    """What `__init__` registers waits for the load, and can be taken out before it."""

    class Early(PluginBase):
        def __init__(self) -> None:
            for event in ("kept", "given.up"):
                self.register_hook(event, self.greet)
            assert self.unregister_hook("given.up", self.greet)
            assert not self.unregister_hook("given.up", self.greet)

        def greet(self, data: Any) -> Any:
            return [*data, "early"]

    manager, _ = load(Early)
    assert manager.get_events() == ["kept"]
    assert manager.trigger("kept", []) == ["early"]


def test_a_hook_registered_in_init_is_checked_at_once() -> None:
    """A hook that cannot be registered is an error in `__init__` already."""

    class Early(PluginBase):
        def __init__(self) -> None:
            self.register_hook("", print)

    with pytest.raises(ValueError, match="Early"):
        Early()


def test_the_options_of_register_hook(make_plugin: MakePlugin) -> None:
    """The options of a plugin's own hook are those of any hook."""
    manager, plugin = load(make_plugin("greeter"))
    registry: HookRegistry = manager._registry
    plugin.register_hook(
        "go", print, 7, 2.5, blocking=False, atomic=True, before=["cache"], after="store"
    )
    (record,) = registry.get_hooks("go")
    assert (record.priority, record.timeout, record.plugin) == (7, 2.5, plugin)
    options = record.options
    assert (options.blocking, options.atomic) == (False, True)
    assert (options.before, options.after) == (("cache",), ("store",))


# -- the way to the application


def test_trigger_from_a_plugin(make_plugin: MakePlugin) -> None:
    """A loaded plugin fires events through its manager, from async code too."""
    manager, plugin = load(make_plugin("greeter"))
    manager.register_hook("go", lambda data: [*data, "heard"])
    assert plugin.trigger("go", []) == ["heard"]
    assert asyncio.run(plugin.trigger_async("go", [])) == ["heard"]
    assert plugin.trigger("go", data=[]) == ["heard"]


def test_a_plugin_without_a_manager(make_plugin: MakePlugin) -> None:
    """An instance that nobody loaded fires nothing, and gets the defaults."""
    plugin = make_plugin("greeter")()
    assert plugin.trigger("go", 1) == 1
    assert asyncio.run(plugin.trigger_async("go", 1)) == 1
    assert plugin.get_config("size") is None
    assert plugin.get_config("size", 5) == 5
    plugin.on_load()
    plugin.on_unload()
    plugin.on_error(ValueError())


def test_get_config(make_plugin: MakePlugin) -> None:
    """A plugin reads its own section, in `on_load` already."""
    seen: list[Any] = []

    def look(self: PluginBase) -> None:
        seen.append((self.get_config("size", 50), self.get_config("ttl", 60)))

    load(make_plugin("cache", on_load=look), config={"cache": {"size": 9}, "store": {"ttl": 1}})
    assert seen == [(9, 60)]


def test_get_config_where_the_section_is_no_mapping(make_plugin: MakePlugin) -> None:
    """A section that is no mapping gives the defaults."""
    _, plugin = load(make_plugin("cache"), config={"cache": "/x"})
    assert plugin.get_config("size", 5) == 5


def test_a_plugin_is_shown_by_name_and_version(make_plugin: MakePlugin) -> None:
    """The text of an instance names it, also where its own values are odd."""
    assert repr(make_plugin("cache", version="1.2")()) == "<Made name='cache' version='1.2'>"
    assert repr(make_plugin(None)()) == "<Made name=None version='1.0.0'>"


def test_init_needs_no_super() -> None:
    """A plugin whose `__init__` does not call its base's is complete all the same."""

    class Proud(PluginBase):
        dependencies: list[str] = []  # noqa: RUF012

        def __init__(self) -> None:
            self.value = 1

    _, plugin = load(Proud)
    assert (plugin.name, plugin.dependencies, plugin.enabled) == ("Proud", [], True)


# -- on_error


def failing_hook(error: BaseException) -> Callable[..., Any]:
    """Make a decorated method that raises."""

    def fail(self: PluginBase, data: Any) -> Any:
        raise error

    return hook("go")(fail)


@pytest.mark.parametrize("error", [ValueError("bad"), SystemExit("bad")], ids=["error", "exit"])
def test_on_error_hears_of_the_plugins_own_failures(
    error: BaseException, make_plugin: MakePlugin
) -> None:
    """What a hook raises is told to the plugin that owns it, and to no other."""
    told: list[Any] = []

    def tell(self: PluginBase, error: BaseException) -> None:
        told.append((self.name, error))

    manager = PluginManager()
    manager.register(make_plugin("bad", act=failing_hook(error), on_error=tell))
    manager.register(make_plugin("good", on_error=tell))
    manager.load_all()
    assert manager.trigger("go", 1) == 1
    assert told == [("bad", error)]


@pytest.mark.parametrize("error", [ValueError("worse"), SystemExit("worse")], ids=["error", "exit"])
def test_what_on_error_raises_is_logged(
    error: BaseException, make_plugin: MakePlugin, caplog: pytest.LogCaptureFixture
) -> None:
    """An `on_error` that fails itself is logged, and the dispatch goes on."""

    def fail(self: PluginBase, reason: BaseException) -> None:
        raise error

    manager, _ = load(make_plugin("bad", act=failing_hook(ValueError("bad")), on_error=fail))
    manager.register_hook("go", lambda data: data + 1)
    assert manager.trigger("go", 1) == 2
    assert "worse" in caplog.text


def test_a_keyboard_interrupt_of_on_error_passes(make_plugin: MakePlugin) -> None:
    """A KeyboardInterrupt in `on_error` passes through the dispatch."""

    def interrupt(self: PluginBase, reason: BaseException) -> None:
        raise KeyboardInterrupt

    manager, _ = load(make_plugin("bad", act=failing_hook(ValueError()), on_error=interrupt))
    with pytest.raises(KeyboardInterrupt):
        manager.trigger("go", 1)


def test_failures_of_a_life_are_not_told_to_on_error(make_plugin: MakePlugin) -> None:
    """`on_error` is for hooks: what `on_load` and `on_unload` raise is not told to it."""
    told: list[Any] = []

    def fail(self: PluginBase) -> None:
        raise OSError("no disk")

    def tell(self: PluginBase, error: BaseException) -> None:
        told.append(error)

    manager = PluginManager()
    manager.register(make_plugin("bad", on_load=fail, on_error=tell))
    manager.register(make_plugin("worse", on_unload=fail, on_error=tell))
    manager.load_all()
    manager.unload_all()
    assert told == []


# -- typed configuration


@dataclass
class Pool:
    size: int = 2


@dataclass
class CacheOptions:
    path: Path
    size: int = 50
    ttl: Optional[float] = None
    tags: list[str] = field(default_factory=list)
    pool: Pool = field(default_factory=Pool)

    def __post_init__(self) -> None:
        if self.size < 1:
            raise ValueError("size must be positive")


def test_settings_are_made_of_the_section(make_plugin: MakePlugin) -> None:
    """A plugin with a model finds its section as an instance of it, in `on_load` already."""
    seen: list[Any] = []
    section = {"path": "/tmp/x", "ttl": 3, "tags": ["a"], "pool": {"size": 5}}
    cache = make_plugin(
        "cache", config_model=CacheOptions, on_load=lambda self: seen.append(self.settings)
    )
    _, plugin = load(cache, config={"cache": section})
    assert plugin.settings == CacheOptions(Path("/tmp/x"), 50, 3, ["a"], Pool(5))
    assert seen == [plugin.settings]
    assert plugin.get_config("path") == "/tmp/x"
    assert cache.settings is None


def test_settings_without_a_section_are_the_defaults(make_plugin: MakePlugin) -> None:
    """Without a section the model's defaults count."""
    _, plugin = load(make_plugin("cache", config_model=Pool))
    assert plugin.settings == Pool()


def test_settings_are_made_anew_for_each_load(make_plugin: MakePlugin) -> None:
    """What the application changed in a section meanwhile is there after the next load."""
    section = {"size": 3}
    manager, plugin = load(make_plugin("cache", config_model=Pool), config={"cache": section})
    manager.unload("cache")
    section["size"] = 4
    assert plugin.settings == Pool(3)
    assert manager.load("cache").settings == Pool(4)


@pytest.mark.parametrize(
    ("section", "faults"),
    [
        ({}, ["path is missing"]),
        ({"path": 3, "size": "large"}, ["path", "size"]),
        ({"path": "/x", "siez": 3}, ["'size'"]),
        ({"path": "/x", "pool": {"size": None}}, ["pool.size"]),
        ({"path": "/x", "size": 0}, ["size must be positive"]),
    ],
)
def test_a_section_that_does_not_fit_is_a_load_error(
    section: dict[str, Any], faults: list[str], make_plugin: MakePlugin
) -> None:
    """All faults of a section are in one error; the plugin is not loaded, and a retry works."""
    manager = PluginManager({"cache": section})
    manager.register(make_plugin("cache", config_model=CacheOptions))
    with pytest.raises(PluginLoadError) as caught:
        manager.load("cache")
    assert isinstance(caught.value.__cause__, ValidationError)
    assert [fault for fault in faults if fault not in str(caught.value)] == []
    assert manager.get_loaded_plugins() == []
    section.clear()
    section["path"] = "/x"
    assert manager.load("cache").settings.path == Path("/x")


def test_a_model_that_is_none_is_a_load_error(make_plugin: MakePlugin) -> None:
    """A model that is no dataclass is the plugin's fault, and stops no other plugin."""
    manager = PluginManager()
    manager.register(make_plugin("bad", config_model=dict))
    manager.register(make_plugin("good", config_model=Pool))
    assert manager.load_all() == ["good"]
    assert isinstance(manager.failures["bad"].error, TypeError)


def test_a_plugin_may_have_settings_of_its_own(make_plugin: MakePlugin) -> None:
    """Without a model the attribute is the plugin's own affair."""
    _, plugin = load(make_plugin("old", settings={"size": 3}), config={"old": {"size": 4}})
    assert plugin.settings == {"size": 3}


def test_metadata_may_be_worked_out_when_they_are_read() -> None:
    """An attribute of the metadata may set another attribute of the class when it is read."""

    class Lazy:
        def __get__(self, plugin: Optional[PluginBase], owner: type[PluginBase]) -> str:
            setattr(owner, f"_version_of_{owner.__name__}", "2.0")
            return "2.0"

    manager = PluginManager()
    manager.register(type("Late", (PluginBase,), {"version": Lazy(), "author": "Ann"}))
    assert [each.metadata.version for each in manager.describe()] == ["2.0"]
