"""Registering: what the manager takes in, under which name, and what it refuses."""

from __future__ import annotations

import abc
import logging
import threading
from pathlib import Path
from typing import Any, Callable

import pytest

from nitro_dispatch import (
    DependencyError,
    HookRegistry,
    PluginBase,
    PluginLoadError,
    PluginManager,
    PluginNotFoundError,
    PluginRegistrationError,
    ValidationError,
    hook,
)
from plugin_classes import MakePlugin


class Abstract(PluginBase, abc.ABC):
    @abc.abstractmethod
    def required(self) -> None: ...


class Concrete(Abstract):
    def required(self) -> None: ...


class Unprintable:
    def __repr__(self) -> str:
        raise RuntimeError("no text")


def test_register_returns_the_name_and_makes_no_instance() -> None:
    """Registering returns the name; `__init__` runs once, when the plugin is loaded."""
    made = []

    class Cache(PluginBase):
        name = "cache"

        def __init__(self) -> None:
            made.append(self)

    manager = PluginManager()
    assert manager.register(Cache) == "cache"
    assert made == []
    assert not manager.is_loaded("cache")
    plugin = manager.load("cache")
    assert made == [plugin]


@pytest.mark.parametrize(
    "candidate",
    [
        PluginBase,
        Abstract,
        Concrete(),
        object,
        3,
        None,
        "cache",
        print,
        list[int],
        Unprintable(),
    ],
    ids=[
        "base",
        "abstract",
        "instance",
        "object",
        "number",
        "none",
        "text",
        "function",
        "generic",
        "unprintable",
    ],
)
def test_what_is_no_plugin_class_is_refused(candidate: Any) -> None:
    """Only a concrete subclass of PluginBase can be registered, and the refusal changes nothing."""
    heard: list[Any] = []
    manager = PluginManager()
    manager.register_hook(PluginManager.EVENT_PLUGIN_REGISTERED, heard.append)
    with pytest.raises(PluginRegistrationError, match="PluginBase"):
        manager.register(candidate)
    assert manager.get_registered_plugins() == []
    assert heard == []


def test_a_concrete_subclass_of_an_abstract_class_is_a_plugin() -> None:
    """A class that fills in what its abstract base leaves open can be registered."""
    assert PluginManager().register(Concrete) == "Concrete"


def test_a_class_without_a_name_is_named_after_the_class() -> None:
    """A class that neither defines nor inherits a name goes by its own."""

    class Nameless(PluginBase):
        pass

    class Named(PluginBase):
        name = "named"

    class Heir(Named):
        pass

    manager = PluginManager()
    assert manager.register(Nameless) == "Nameless"
    assert manager.load("Nameless").name == "Nameless"
    assert manager.register(Heir) == "named"


def test_a_name_from_a_mixin_counts() -> None:
    """A name that a class inherits from something else than a plugin is its name."""

    class Mixin:
        name = "mixed"

    class Mixed(Mixin, PluginBase):
        pass

    assert PluginManager().register(Mixed) == "mixed"


@pytest.mark.parametrize("name", ["", None, 3, b"cache"])
def test_an_explicit_name_that_is_no_text_is_invalid(name: Any, make_plugin: MakePlugin) -> None:
    """An explicit name has to be a text that is not empty."""
    manager = PluginManager()
    with pytest.raises(ValidationError, match="name must be a non-empty string"):
        manager.register(make_plugin(name))
    assert manager.get_registered_plugins() == []


def test_all_faults_are_in_one_message(make_plugin: MakePlugin) -> None:
    """Bad metadata is one ValidationError that names every fault."""
    bad = make_plugin(
        "bad", version=1, description=None, author=3, conflicts="cache", requires_app="newest"
    )
    bad.dependencies = ["store>>1", ""]
    with pytest.raises(ValidationError) as caught:
        PluginManager().register(bad)
    text = str(caught.value)
    for fault in ("version", "description", "author", "store>>1", "conflicts", "requires_app"):
        assert fault in text
    assert len(caught.value.errors) == 7


@pytest.mark.parametrize("by_manager", [True, False], ids=["manager", "argument"])
def test_without_validation_anything_goes(by_manager: bool, make_plugin: MakePlugin) -> None:
    """With validation off, by the manager or by the argument, bad metadata can be registered."""
    bad = make_plugin("bad", version=None, description=3, requires_python="whatever")
    bad.dependencies = "nothing"
    manager = PluginManager(validate_metadata=not by_manager)
    assert manager.register(bad, validate=by_manager) == "bad"
    assert manager.load("bad").version is None


def test_a_version_that_is_no_pep_440_version_is_accepted(make_plugin: MakePlugin) -> None:
    """Any text is a version; only a specifier on it is a problem."""
    manager = PluginManager()
    manager.register(make_plugin("store", version="summer edition"))
    manager.register(make_plugin("plain", "store"))
    manager.register(make_plugin("picky", "store>=1"))
    assert manager.load("plain").name == "plain"
    with pytest.raises(DependencyError, match="summer edition"):
        manager.load("picky")


def test_dependencies_are_copied_for_each_instance() -> None:
    """An instance that changes its dependencies changes neither its class nor other instances."""

    class Store(PluginBase):
        name = "store"
        dependencies: list[str] = []  # noqa: RUF012

    one, other = Store(), Store()
    one.dependencies.append("cache")
    assert (Store.dependencies, other.dependencies, PluginBase.dependencies) == ([], [], [])
    assert PluginManager().register(Store) == "store"


def test_dependencies_may_be_a_tuple(make_plugin: MakePlugin) -> None:
    """A tuple of dependencies is as good as a list."""
    user = make_plugin("user")
    user.dependencies = ("store",)
    manager = PluginManager()
    manager.register(user)
    manager.register(make_plugin("store"))
    assert manager.load_all() == ["store", "user"]


def test_registering_a_name_again_is_for_the_next_load(
    make_plugin: MakePlugin, caplog: pytest.LogCaptureFixture
) -> None:
    """A second class of a name is a warning, and the running instance stays until unloaded."""
    manager = PluginManager()
    manager.register(make_plugin("cache", version="1.0"))
    old = manager.load("cache")
    with caplog.at_level(logging.WARNING, "nitro_dispatch"):
        manager.register(make_plugin("cache", version="2.0"))
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "cache" in caplog.text
    assert manager.get_plugin("cache") is old
    assert manager.load("cache") is old
    manager.unload("cache")
    assert manager.load("cache").version == "2.0"


def test_registering_for_the_first_time_is_no_warning(
    make_plugin: MakePlugin, caplog: pytest.LogCaptureFixture
) -> None:
    """A name that is new, or was unregistered before, is taken without a warning."""
    manager = PluginManager()
    with caplog.at_level(logging.WARNING, "nitro_dispatch"):
        manager.register(make_plugin("cache"))
        manager.unregister("cache")
        manager.register(make_plugin("cache"))
    assert caplog.records == []


def test_a_name_registered_again_keeps_its_place(make_plugin: MakePlugin) -> None:
    """A plugin that is registered again loads where its name stood before."""
    manager = PluginManager()
    for name in ("a", "b", "c", "a"):
        manager.register(make_plugin(name))
    assert manager.get_registered_plugins() == ["a", "b", "c"]
    assert manager.load_all() == ["a", "b", "c"]


def test_what_runs_counts_for_its_dependents_until_the_next_load(make_plugin: MakePlugin) -> None:
    """A dependent is checked against the version that runs, not against one registered since."""
    manager = PluginManager()
    manager.register(make_plugin("store", version="1.0"))
    manager.load("store")
    manager.register(make_plugin("store", "missing", version="2.0"))
    manager.register(make_plugin("old", "store<2"))
    manager.register(make_plugin("new", "store>=2"))
    assert manager.plan().order == ("store", "old")
    assert manager.load_all() == ["old"]
    with pytest.raises(DependencyError, match=r"1\.0"):
        manager.load("new")
    manager.unload("store")
    assert manager.plan().order == ()


def test_registering_again_forgets_the_old_failure(make_plugin: MakePlugin) -> None:
    """What was wrong with the class before says nothing about the class that takes its place."""

    def fail(self: PluginBase) -> None:
        raise RuntimeError("broken")

    manager = PluginManager()
    manager.register(make_plugin("cache", on_load=fail))
    manager.load_all()
    assert list(manager.failures) == ["cache"]
    manager.register(make_plugin("cache"))
    assert manager.failures == {}
    assert manager.load_all() == ["cache"]


def test_registering_its_own_name_while_loading_is_for_the_next_load(
    make_plugin: MakePlugin,
) -> None:
    """A class registered from the `on_load` of the same name does not touch the load under way."""
    manager = PluginManager()

    def replace(self: PluginBase) -> None:
        manager.register(make_plugin("cache", "missing", version="2.0"))

    manager.register(make_plugin("cache", version="1.0", on_load=replace))
    manager.register(make_plugin("user", "cache<2"))
    assert manager.load_all() == ["cache", "user"]
    assert manager.describe()[0].metadata.version == "1.0"


PLUGIN = """
from nitro_dispatch import PluginBase

class Cache(PluginBase):
    name = "cache"
"""


def test_discovery_never_replaces_a_name(tmp_path: Path) -> None:
    """A second file with a name that is taken is a conflict, reported with both origins."""
    one, other = tmp_path / "one_plugin.py", tmp_path / "two_plugin.py"
    one.write_text(PLUGIN)
    other.write_text(PLUGIN)
    manager = PluginManager()
    assert manager.discover_plugins(tmp_path) == ["cache"]
    (failure,) = manager.failures.values()
    assert (failure.name, failure.stage) == ("cache", "discover")
    assert str(one) in str(failure.error)
    assert str(other) in str(failure.error)
    assert manager.load_all() == ["cache"]


def test_discovery_does_not_replace_a_registered_class(
    tmp_path: Path, make_plugin: MakePlugin
) -> None:
    """A class that the application registers itself is not replaced by a file that is found."""
    (tmp_path / "cache_plugin.py").write_text(PLUGIN)
    manager = PluginManager()
    registered = make_plugin("cache")
    manager.register(registered)
    assert manager.discover_plugins(tmp_path) == []
    assert type(manager.load("cache")) is registered
    assert len(manager.failures) == 1


@pytest.mark.parametrize("lazy", [False, True])
def test_the_same_origin_again_is_no_conflict(tmp_path: Path, lazy: bool) -> None:
    """A file that is discovered again is no conflict, and its name is returned again."""
    (tmp_path / "cache_plugin.py").write_text(PLUGIN)
    manager = PluginManager(lazy=lazy)
    heard: list[Any] = []
    manager.register_hook(PluginManager.EVENT_PLUGIN_REGISTERED, heard.append)
    assert manager.discover_plugins(tmp_path) == ["cache"]
    assert manager.discover_plugins(tmp_path) == ["cache"]
    assert manager.failures == {}
    assert len(heard) == 1


REFUSED: list[tuple[dict[str, Any], type[Exception]]] = [
    ({"callback": "no callable"}, TypeError),
    ({"callback": None}, TypeError),
    ({"priority": "high"}, TypeError),
    ({"priority": None}, TypeError),
    ({"priority": float("nan")}, ValueError),
    ({"event_name": ""}, ValueError),
    ({"event_name": None}, TypeError),
    ({"event_name": 3}, TypeError),
    ({"timeout": 0}, ValueError),
    ({"timeout": "1"}, TypeError),
    ({"before": [3]}, TypeError),
]


@pytest.mark.parametrize(("change", "error"), REFUSED, ids=str)
@pytest.mark.parametrize("where", ["manager", "registry", "plugin"])
def test_a_refused_hook_changes_nothing(
    where: str, change: dict[str, Any], error: type[Exception], make_plugin: MakePlugin
) -> None:
    """A hook that cannot be registered leaves no event, no hook and no owner behind."""
    manager, registry = PluginManager(), HookRegistry()
    manager.register(make_plugin("owner"))
    owner = manager.load("owner")
    register: dict[str, Callable[..., None]] = {
        "manager": manager.register_hook,
        "registry": registry.register,
        "plugin": owner.register_hook,
    }
    arguments: dict[str, Any] = {"event_name": "user.login", "callback": print, **change}
    with pytest.raises(error):
        register[where](**arguments)
    assert (manager.get_events(), registry.get_all_events()) == ([], [])
    assert registry.get_hooks("user.login") == []
    assert manager.trigger("user.login", 1) == 1


def test_a_plugin_whose_hook_is_refused_is_not_loaded() -> None:
    """A refused hook in `on_load` is a failure of the load, and no hook of the plugin stays."""

    class Bad(PluginBase):
        name = "bad"

        def on_load(self) -> None:
            self.register_hook("user.login", self.greet)
            self.register_hook("", self.greet)

        @hook("user.logout")
        def greet(self, data: Any) -> Any:
            return [*data, "bad"]

    manager = PluginManager()
    manager.register(Bad)
    with pytest.raises(PluginLoadError, match="bad"):
        manager.load("bad")
    assert manager.get_events() == []
    assert manager.trigger("user.login", []) == []


def test_the_registered_names_are_a_fresh_list(make_plugin: MakePlugin) -> None:
    """The names stand in the order of registration, in a list that belongs to the caller."""
    manager = PluginManager()
    for name in ("b", "a", "c"):
        manager.register(make_plugin(name))
    names = manager.get_registered_plugins()
    assert names == ["b", "a", "c"]
    names.clear()
    assert manager.get_registered_plugins() == ["b", "a", "c"]


# -- unregistering


def test_unregister_unloads_and_forgets(make_plugin: MakePlugin) -> None:
    """An unregistered plugin is unloaded after its dependents, which stay registered."""
    ended: list[str] = []

    def end(self: PluginBase) -> None:
        ended.append(self.name)

    manager = PluginManager()
    manager.register(make_plugin("store", on_unload=end))
    manager.register(make_plugin("user", "store", on_unload=end))
    manager.load_all()
    manager.unregister("store")
    assert ended == ["user", "store"]
    assert manager.get_registered_plugins() == ["user"]
    with pytest.raises(PluginNotFoundError):
        manager.load("store")
    with pytest.raises(DependencyError):
        manager.load("user")


def test_unregister_what_is_not_loaded(make_plugin: MakePlugin) -> None:
    """A plugin that was never loaded, or failed, is just forgotten, and its failure with it."""
    manager = PluginManager()
    manager.register(make_plugin("user", "missing"))
    manager.load_all()
    assert list(manager.failures) == ["user"]
    manager.unregister("user")
    assert manager.get_registered_plugins() == []
    assert manager.failures == {}
    assert manager.plan().problems == ()


def test_unregister_an_unknown_name() -> None:
    """A name that nobody registered is a PluginNotFoundError."""
    with pytest.raises(PluginNotFoundError, match="'cache'"):
        PluginManager().unregister("cache")


@pytest.mark.parametrize("error", [ValueError, SystemExit])
def test_unregister_raises_what_on_unload_raised(
    error: type[BaseException], make_plugin: MakePlugin
) -> None:
    """What `on_unload` raises comes out of unregister, after the plugin is forgotten."""

    def fail(self: PluginBase) -> None:
        raise error("stuck")

    manager = PluginManager()
    manager.register(make_plugin("cache", on_unload=fail))
    manager.load("cache")
    with pytest.raises(Exception) as caught:  # noqa: PT011
        manager.unregister("cache")
    reason = caught.value if error is ValueError else caught.value.__cause__
    assert isinstance(reason, error)
    assert manager.get_registered_plugins() == []
    assert not manager.is_loaded("cache")


def test_unregister_ends_whoever_wants_the_plugin_loaded(make_plugin: MakePlugin) -> None:
    """A listener that loads each plugin again which is unloaded loads no forgotten one."""
    manager, refusals = PluginManager(), list[str]()

    def load_again(data: dict[str, str]) -> None:
        try:
            if len(refusals) < 3:  # Where it is loaded once more each time, this would not end.
                manager.load(data["plugin_name"])
                refusals.append("none")
        except PluginNotFoundError:
            refusals.append("not found")

    manager.register(make_plugin("cache"))
    manager.load("cache")
    manager.register_hook(PluginManager.EVENT_PLUGIN_UNLOADED, load_again)
    manager.unregister("cache")
    assert refusals == ["not found"]
    assert (manager.get_registered_plugins(), manager.get_loaded_plugins()) == ([], [])


def test_unregister_from_its_own_on_load(make_plugin: MakePlugin) -> None:
    """A plugin that is unregistered while it is being loaded does not get loaded."""
    manager = PluginManager()

    def leave(self: PluginBase) -> None:
        manager.unregister("cache")

    manager.register(make_plugin("cache", on_load=leave))
    with pytest.raises(PluginLoadError, match="unregistered"):
        manager.load("cache")
    assert (manager.get_registered_plugins(), manager.get_loaded_plugins()) == ([], [])


def test_unregister_while_another_thread_loads_it(make_plugin: MakePlugin) -> None:
    """A plugin unregistered during its load by another thread is neither loaded nor registered."""
    begun, go_on = threading.Event(), threading.Event()

    def wait(self: PluginBase) -> None:
        begun.set()
        go_on.wait()

    manager = PluginManager()
    manager.register(make_plugin("cache", on_load=wait))
    loading = threading.Thread(target=manager.load_all)
    loading.start()
    begun.wait()
    manager.unregister("cache")
    go_on.set()
    loading.join()
    assert (manager.get_registered_plugins(), manager.get_loaded_plugins()) == ([], [])
    assert manager.get_all_plugins() == {}


def test_unregister_takes_out_all_hooks(make_plugin: MakePlugin) -> None:
    """No hook of an unregistered plugin is left, neither a decorated one nor another."""

    class Greeter(PluginBase):
        name = "greeter"

        def on_load(self) -> None:
            self.register_hook("greet", self.greet)

        @hook("hello.*")
        def greet(self, data: Any) -> Any:
            return [*data, "greeter"]

    manager = PluginManager()
    manager.register(Greeter)
    manager.load("greeter")
    assert manager.trigger("greet", []) == ["greeter"]
    manager.unregister("greeter")
    assert manager.trigger("greet", []) == []
    assert manager.get_events() == []
