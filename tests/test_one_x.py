"""Programs written for nitro-dispatch 1.x, which run unchanged.

They use what 1.x had, imported from the package root, the way its documentation shows it.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from pathlib import Path
from typing import Any

import pytest

from nitro_dispatch import (
    DependencyError,
    HookError,
    HookRegistry,
    HookTimeoutError,
    NitroPluginError,
    PluginBase,
    PluginDiscoveryError,
    PluginLoadError,
    PluginManager,
    PluginNotFoundError,
    PluginRegistrationError,
    StopPropagation,
    ValidationError,
    hook,
)


class WelcomePlugin(PluginBase):
    name = "welcome"

    @hook("user.login", priority=100)
    def greet_user(self, data: Any) -> Any:
        data["greeted"] = True
        return data


def test_the_quick_start() -> None:
    """The first program of the documentation greets its user."""
    manager = PluginManager()
    manager.register(WelcomePlugin)
    manager.load_all()
    result = manager.trigger("user.login", {"username": "Alice"})
    assert result == {"username": "Alice", "greeted": True}


def test_a_pipeline_of_plugins() -> None:
    """Plugins with priorities, decorated and registered by hand, filter data in their order."""

    class ValidationPlugin(PluginBase):
        name = "validator"
        version = "1.1.0"
        description = "Checks articles"
        author = "The newspaper"

        @hook("before_save", priority=100)
        def validate(self, data: Any) -> Any:
            if not data.get("title"):
                raise ValueError("Title required")
            data["log"].append("validated")
            return data

    class LoggingPlugin(PluginBase):
        name = "logger"

        def __init__(self) -> None:
            super().__init__()
            self.saved: list[str] = []

        def on_load(self) -> None:
            self.register_hook("before_save", self.log_data, priority=10)

        def log_data(self, data: Any) -> None:
            self.saved.append(data["title"])

    class SlugPlugin(PluginBase):
        name = "slug"
        dependencies = ["validator"]  # noqa: RUF012

        @hook("before_save")
        def add_slug(self, data: Any) -> Any:
            return {**data, "slug": data["title"].lower()}

    manager = PluginManager()
    for plugin_class in (SlugPlugin, LoggingPlugin, ValidationPlugin):
        manager.register(plugin_class)
    manager.load_all()
    assert manager.get_loaded_plugins() == ["validator", "slug", "logger"]
    assert manager.get_registered_plugins() == ["slug", "logger", "validator"]
    article = manager.trigger("before_save", {"title": "News", "log": []})
    assert article == {"title": "News", "slug": "news", "log": ["validated"]}
    plugin = manager.get_plugin("logger")
    assert isinstance(plugin, LoggingPlugin)
    assert plugin.saved == ["News"]
    assert (plugin.name, plugin.version, plugin.enabled) == ("logger", "1.0.0", True)
    # The validator fails, the others go on with what there is.
    article = manager.trigger("before_save", {"title": "", "log": []})
    assert article == {"title": "", "slug": "", "log": []}
    manager.unload_all()
    assert manager.get_all_plugins() == {}


def test_a_stopped_event() -> None:
    """A hook that raises StopPropagation keeps those of lower priority from the data."""

    class Guard(PluginBase):
        name = "guard"

        @hook("process_data", priority=100)
        def check(self, data: Any) -> Any:
            if not data.get("valid"):
                raise StopPropagation("Invalid data")
            return data

        @hook("process_data", priority=10)
        def process(self, data: Any) -> Any:
            return {**data, "processed": True}

    manager = PluginManager()
    manager.register(Guard)
    manager.load("guard")
    assert manager.trigger("process_data", {"valid": True})["processed"]
    assert manager.trigger("process_data", {"valid": False}) == {"valid": False}


def test_an_async_program() -> None:
    """Async hooks are awaited by `trigger_async`, among the sync ones."""

    class FetchPlugin(PluginBase):
        name = "fetch"

        @hook("data.fetch", priority=90)
        async def fetch(self, data: Any) -> Any:
            await asyncio.sleep(0)
            return {**data, "fetched": True}

        @hook("data.fetch", priority=50)
        def count(self, data: Any) -> Any:
            return {**data, "keys": len(data)}

    async def main() -> Any:
        manager = PluginManager()
        manager.register(FetchPlugin)
        manager.load_all()
        return await manager.trigger_async("data.fetch", {"url": "/x"})

    assert asyncio.run(main()) == {"url": "/x", "fetched": True, "keys": 2}


def test_a_slow_hook() -> None:
    """A hook past its time limit is given up, and its plugin is told."""
    go_on = threading.Event()

    class SlowPlugin(PluginBase):
        name = "slow"

        def on_load(self) -> None:
            self.errors: list[Exception] = []

        def on_error(self, error: Any) -> None:
            self.errors.append(error)

        @hook("process_data", timeout=0.05)
        def slow_process(self, data: Any) -> Any:
            go_on.wait(30)
            return "too late"

    manager = PluginManager()
    manager.register(SlowPlugin)
    plugin = manager.load("slow")
    assert isinstance(plugin, SlowPlugin)
    assert manager.trigger("process_data", "in time") == "in time"
    assert [type(error) for error in plugin.errors] == [HookTimeoutError]
    go_on.set()


def test_wildcards() -> None:
    """Wildcard hooks hear the events of their part of the hierarchy."""

    class AuditPlugin(PluginBase):
        name = "audit"

        def on_load(self) -> None:
            self.heard: list[Any] = []

        @hook("user.*")
        def audit_user_events(self, data: Any) -> None:
            self.heard.append(("user", data))

        @hook("db.before_*")
        def audit_db_operations(self, data: Any) -> None:
            self.heard.append(("db", data))

    manager = PluginManager()
    manager.register(AuditPlugin)
    plugin = manager.load("audit")
    assert isinstance(plugin, AuditPlugin)
    for place, event in enumerate(["user.login", "db.before_save", "db.after_save", "user"]):
        manager.trigger(event, place)
    assert plugin.heard == [("user", 0), ("db", 1)]


PLUGIN_FILE = '''
from nitro_dispatch import PluginBase, hook


class {name}Plugin(PluginBase):
    """Says what it is."""

    name = "{name}"

    @hook("describe")
    def describe(self, data):
        return data + ["{text}"]
'''


def test_discovery_and_hot_reload(tmp_path: Path) -> None:
    """Files are discovered, loaded, and reloaded after they changed."""
    (tmp_path / "deep").mkdir()
    (tmp_path / "one_plugin.py").write_text(PLUGIN_FILE.format(name="one", text="one"))
    (tmp_path / "deep" / "two_plugin.py").write_text(PLUGIN_FILE.format(name="two", text="two"))
    (tmp_path / "helper.py").write_text("raise RuntimeError('not a plugin')")
    (tmp_path / "bad_plugin.py").write_text("raise RuntimeError('broken')")
    manager = PluginManager()
    discovered = manager.discover_plugins(str(tmp_path), pattern="*_plugin.py", recursive=True)
    assert sorted(discovered) == ["one", "two"]
    assert sorted(manager.load_all()) == ["one", "two"]
    assert sorted(manager.trigger("describe", [])) == ["one", "two"]
    (tmp_path / "one_plugin.py").write_text(PLUGIN_FILE.format(name="one", text="one, but new"))
    manager.reload("one")
    assert sorted(manager.trigger("describe", [])) == ["one, but new", "two"]
    with pytest.raises(PluginDiscoveryError):
        manager.discover_plugins(tmp_path / "nowhere")


def test_plugins_are_switched() -> None:
    """A plugin can be switched off and on at run time."""
    manager = PluginManager()
    manager.register(WelcomePlugin)
    manager.load_all()
    manager.disable_plugin("welcome")
    assert manager.trigger("user.login", {}) == {}
    manager.enable_plugin("welcome")
    assert manager.trigger("user.login", {}) == {"greeted": True}


def test_lifecycle_events() -> None:
    """An application hears of its plugins by the manager's constants."""
    heard: list[str] = []
    manager = PluginManager()

    def on_plugin_loaded(data: Any) -> Any:
        heard.append(f"loaded: {data['plugin_name']}")
        return data

    def on_plugin_error(data: Any) -> None:
        heard.append(f"error: {data['plugin_name']}: {data['type']}: {data['error']}")

    class Broken(PluginBase):
        name = "broken"

        def on_load(self) -> None:
            raise OSError("no disk")

    manager.register_hook(PluginManager.EVENT_PLUGIN_LOADED, on_plugin_loaded)
    manager.register_hook(PluginManager.EVENT_PLUGIN_ERROR, on_plugin_error)
    manager.register_hook("nitro.plugin.registered", lambda data: heard.append(data["version"]))
    manager.register_hook("nitro.plugin.unloaded", lambda data: heard.append("unloaded"))
    manager.register(WelcomePlugin)
    manager.register(Broken)
    manager.load_all()
    manager.unload("welcome")
    assert heard == [
        "1.0.0",
        "1.0.0",
        "loaded: welcome",
        "error: broken: OSError: no disk",
        "unloaded",
    ]


def test_tracing(caplog: pytest.LogCaptureFixture) -> None:
    """With tracing on, each hook is logged with the plugin's name."""
    logger = logging.getLogger("nitro_dispatch")
    level = logger.level
    try:
        manager = PluginManager(log_level="DEBUG")
        manager.register(WelcomePlugin)
        manager.load_all()
        caplog.clear()
        manager.enable_hook_tracing(True)
        manager.trigger("user.login", {})
        assert "welcome" in caplog.text
        caplog.clear()
        manager.enable_hook_tracing(False)
        manager.trigger("user.login", {})
        assert "greet_user" not in caplog.text
    finally:
        logger.setLevel(level)


class FailingPlugin(PluginBase):
    name = "failing"

    @hook("save", priority=60)
    def fail(self, data: Any) -> Any:
        raise ValueError("disk full")

    @hook("save", priority=40)
    def go_on(self, data: Any) -> Any:
        return [*data, "went on"]


def test_error_strategies() -> None:
    """The three strategies go on, stop, or collect."""
    manager = PluginManager()
    manager.register(FailingPlugin)
    manager.load_all()
    assert manager.trigger("save", []) == ["went on"]
    manager.set_error_strategy("fail_fast")
    with pytest.raises(HookError) as caught:
        manager.trigger("save", [])
    assert isinstance(caught.value.__cause__, ValueError)
    manager.set_error_strategy("collect_all")
    assert manager.trigger("save", []) == ["went on"]
    (error,) = manager.get_last_errors()
    assert (error["plugin"], error["event"]) == ("failing", "save")
    assert isinstance(error["error"], ValueError)
    with pytest.raises(ValueError, match="strategy"):
        manager.set_error_strategy("pray")


def test_configuration() -> None:
    """A plugin reads its section, with defaults for what is not there."""

    class CachePlugin(PluginBase):
        name = "cache"

        def on_load(self) -> None:
            self.max_size = self.get_config("max_size", 50)
            self.ttl = self.get_config("ttl", 1800)

    manager = PluginManager(config={"cache": {"max_size": 100}})
    manager.register(CachePlugin)
    plugin = manager.load("cache")
    assert isinstance(plugin, CachePlugin)
    assert (plugin.max_size, plugin.ttl) == (100, 1800)
    assert manager.get_plugin_config("cache", "max_size") == 100


def test_what_goes_wrong_can_be_caught() -> None:
    """The errors of loading are caught by the classes that they had."""

    class Needy(PluginBase):
        name = "needy"
        dependencies = ["nobody"]  # noqa: RUF012

    class Nameless(PluginBase):
        name = ""

    class Chicken(PluginBase):
        name = "chicken"
        dependencies = ["egg"]  # noqa: RUF012

    class Egg(PluginBase):
        name = "egg"
        dependencies = ["chicken"]  # noqa: RUF012

    class Broken(PluginBase):
        name = "broken"

        def on_load(self) -> None:
            raise OSError("no disk")

    manager = PluginManager()
    for plugin_class in (Needy, Chicken, Egg, Broken):
        manager.register(plugin_class)
    try:
        manager.load("broken")
    except PluginLoadError as error:
        assert "no disk" in f"Failed to load plugin: {error}"
        assert isinstance(error.__cause__, OSError)
    for name, word in (("needy", "nobody"), ("chicken", "[Cc]ircular")):
        with pytest.raises(PluginLoadError, match=word) as caught:
            manager.load(name)
        assert isinstance(caught.value.__cause__, DependencyError)
    with pytest.raises(ValidationError):
        manager.register(Nameless)
    assert manager.register(Nameless, validate=False) == ""
    for call in (manager.load, manager.unload, manager.unregister, manager.enable_plugin):
        with pytest.raises(PluginNotFoundError):
            call("unknown")
    assert manager.get_plugin("unknown") is None
    assert not manager.is_loaded("needy")
    for error_class in (PluginLoadError, HookTimeoutError, PluginRegistrationError):
        assert issubclass(error_class, NitroPluginError)


def test_events_between_plugins() -> None:
    """A plugin fires events that another one hears, and takes a hook out again."""

    class Shop(PluginBase):
        name = "shop"

        def buy(self, item: str) -> Any:
            return self.trigger("shop.bought", {"item": item})

    class Mailer(PluginBase):
        name = "mailer"

        def on_load(self) -> None:
            self.register_hook("shop.*", self.mail, 80)

        def stop(self) -> None:
            self.unregister_hook("shop.*", self.mail)

        def mail(self, data: Any) -> Any:
            data["mailed"] = True
            return data

        def on_unload(self) -> None:
            self.unregister_hook("shop.*", self.mail)

    manager = PluginManager()
    manager.register(Shop)
    manager.register(Mailer)
    manager.load_all()
    shop, mailer = manager.get_plugin("shop"), manager.get_plugin("mailer")
    assert isinstance(shop, Shop)
    assert isinstance(mailer, Mailer)
    assert shop.buy("tea") == {"item": "tea", "mailed": True}
    assert manager.get_events() == ["shop.*"]
    mailer.stop()
    assert shop.buy("tea") == {"item": "tea"}
    manager.unload("mailer")


def test_hooks_of_the_application() -> None:
    """The application registers functions of its own, with the arguments in their old order."""
    manager = PluginManager()

    def add(data: int) -> int:
        return data + 1

    def double(data: int) -> int:
        return data * 2

    manager.register_hook("count", add, None, 10, None)
    manager.register_hook("count", double, priority=20, timeout=5.0)
    assert manager.trigger("count", 5) == 11
    manager.unregister_hook("count", double)
    assert manager.trigger("count", 5) == 6
    assert manager.trigger("unknown", 5) == 5
    assert manager.trigger("unknown") is None


def test_a_registry_alone() -> None:
    """The registry works without a manager, and its hooks are read by key."""
    registry = HookRegistry()

    def add(data: int) -> int:
        return data + 1

    owner = WelcomePlugin()
    registry.register("count", add, priority=5)
    registry.register("count", lambda data: None, owner, timeout=2.0)
    records = registry.get_hooks("count")
    assert [record["priority"] for record in records] == [50, 5]
    assert records[0]["plugin"] is owner
    assert records[0]["timeout"] == 2.0
    assert records[1]["callback"] is add
    assert registry.trigger("count", 1) == 2
    assert registry.get_all_events() == ["count"]
    assert registry.unregister_plugin(owner) == 1
    assert registry.unregister("count", add) is True
    assert registry.unregister("count", add) is False
    registry.register("count", add)
    registry.clear_event("count")
    registry.clear_all()
    assert registry.trigger("count", 1) == 1
