"""Hooks that come and go while an event is under way."""

from __future__ import annotations

import asyncio
import threading
from typing import Any, Callable

import pytest

from firing import FIRE, Fire
from loops import run
from nitro_dispatch import HookRegistry, PluginBase, PluginManager, StopPropagation, hook


class Owner:
    """An owner of hooks with a plain `enabled` attribute."""

    def __init__(self, name: str = "owner") -> None:
        self.name = name
        self.enabled = True


@pytest.fixture(params=["log_and_continue", "collect_all"])
def registry(request: pytest.FixtureRequest) -> HookRegistry:
    """Make an empty registry, with and without account of the errors."""
    registry = HookRegistry()
    registry.set_error_strategy(request.param)
    return registry


def append(data: list[str]) -> None:
    """Note a call in the data."""
    data.append("called")


async def append_async(data: list[str]) -> None:
    """Note a call in the data, asynchronously."""
    data.append("called")


WAYS: dict[str, Fire] = {
    **FIRE,
    "collect": lambda registry, data: (registry.collect("event", data), data)[1],
    "first": lambda registry, data: registry.first("event", data) or data,
}


@pytest.fixture(params=list(WAYS.values()), ids=list(WAYS))
def fire(request: pytest.FixtureRequest) -> Any:
    """Give one way to fire `event` after another."""
    return request.param


KINDS: dict[str, tuple[Callable[..., Any], dict[str, Any]]] = {
    "sync": (append, {}),
    "inline": (append, {"blocking": False}),
    "timed": (append, {"timeout": 20}),
    "lambda": (lambda data: append_async(data), {}),
    "async": (append_async, {}),
    "async timed": (append_async, {"timeout": 20}),
}


@pytest.fixture(params=list(KINDS.values()), ids=list(KINDS))
def kind(request: pytest.FixtureRequest) -> Any:
    """Give a callback and its options, of one kind of hook after another."""
    return request.param


class Scene:
    """A registry with a hook that makes a change, and one that the change is made to."""

    def __init__(self, registry: HookRegistry, callback: Callable[..., Any], options: Any) -> None:
        self.registry = registry
        self.callback = callback
        self.plugin = PluginBase()
        self.plugin.enabled = True
        self.owner = Owner()
        registry.register("event", callback, self.plugin, 10, **options)
        registry.register("event", callback, self.owner, 10, **options)

    def take_out(self) -> None:
        self.registry.unregister("event", self.callback, self.plugin)
        self.registry.unregister("event", self.callback, self.owner)

    def take_owners_out(self) -> None:
        self.registry.unregister_plugin(self.plugin)
        self.registry.unregister_plugin(self.owner)

    def disable(self) -> None:
        self.plugin.enabled = False
        self.owner.enabled = False

    def clear_event(self) -> None:
        self.registry.clear_event("event")

    def clear_all(self) -> None:
        self.registry.clear_all()


CHANGES = ["take_out", "take_owners_out", "disable", "clear_event", "clear_all"]


# -- one thread


def test_a_hook_added_starts_with_the_next_dispatch(
    registry: HookRegistry, fire: Fire, kind: Any
) -> None:
    """A hook that another one adds is not called in the dispatch under way, but in the next."""
    callback, options = kind

    def add(data: list[str]) -> None:
        registry.register("event", callback, priority=99, **options)
        registry.register("event", callback, priority=10, **options)
        registry.unregister("event", add)

    registry.register("event", add)
    assert fire(registry, []) == []
    assert run(registry.trigger_async("event", [])) == ["called"] * 2


@pytest.mark.parametrize("change", CHANGES)
def test_a_hook_that_goes_is_not_called_any_more(
    registry: HookRegistry, fire: Fire, kind: Any, change: str
) -> None:
    """A hook removed or disabled by an earlier one is not called in the dispatch under way."""
    scene = Scene(registry, *kind)
    registry.register("event", lambda data: getattr(scene, change)(), priority=20)
    assert fire(registry, []) == []


@pytest.mark.parametrize("change", CHANGES)
def test_an_async_hook_makes_changes_too(registry: HookRegistry, kind: Any, change: str) -> None:
    """What an async hook removes or disables is not called in the dispatch under way."""
    scene = Scene(registry, *kind)

    async def make_change(data: object) -> None:
        await asyncio.sleep(0)
        getattr(scene, change)()

    registry.register("event", make_change, priority=20)
    assert run(registry.trigger_async("event", [])) == []


@pytest.mark.parametrize("change", CHANGES)
def test_a_nested_dispatch_makes_changes_to_the_outer(
    registry: HookRegistry, fire: Fire, kind: Any, change: str
) -> None:
    """What a nested dispatch removes or disables is not called in the outer one either."""
    scene = Scene(registry, *kind)
    registry.register("inner", lambda data: getattr(scene, change)())
    registry.register("event", lambda data: registry.trigger("inner"))
    assert fire(registry, []) == []


@pytest.mark.parametrize("change", CHANGES)
def test_a_chain_that_is_kept_no_longer_hears_of_changes(
    registry: HookRegistry, fire: Fire, kind: Any, change: str
) -> None:
    """Changes reach a dispatch whose chain was dropped since it began."""
    scene = Scene(registry, *kind)

    def drop_and_change(data: object) -> None:
        # What is unregistered drops all chains, and the other dispatch makes new ones.
        registry.unregister("event", drop_and_change)
        registry.collect("event", [])
        getattr(scene, change)()

    registry.register("event", drop_and_change)
    assert fire(registry, []) == []


def test_a_hook_may_take_itself_out(registry: HookRegistry, fire: Fire) -> None:
    """A hook that removes itself has run, and the one after it is called."""

    def once(data: list[str]) -> None:
        registry.unregister("event", once)
        data.append("once")

    registry.register("event", once)
    registry.register("event", append)
    assert fire(registry, []) == ["once", "called"]
    assert registry.trigger("event", []) == ["called"]


def test_a_hook_that_removes_itself_may_fail_or_stop(registry: HookRegistry) -> None:
    """What a hook raises after it removed itself counts like any failure or stop."""

    def fail(data: list[str]) -> None:
        registry.unregister("event", fail)
        raise ValueError("gone and failed")

    def stop(data: list[str]) -> None:
        registry.unregister("event", stop)
        raise StopPropagation

    registry.set_error_strategy("collect_all")
    registry.register("event", fail)
    registry.register("event", stop)
    registry.register("event", append)
    assert registry.trigger("event", []) == []
    assert [str(entry["error"]) for entry in registry.get_last_errors()] == ["gone and failed"]
    assert registry.trigger("event", []) == ["called"]


def test_hooks_of_patterns_go_too(registry: HookRegistry, fire: Fire) -> None:
    """A hook that listens to a pattern is not called any more when it has been removed."""
    registry.register("**", lambda data: registry.clear_event("ev*"))
    registry.register("ev*", append)
    assert fire(registry, []) == []


def test_a_hook_removed_and_added_again_starts_with_the_next(
    registry: HookRegistry, fire: Fire
) -> None:
    """The same callback registered anew is a new hook."""

    def renew(data: object) -> None:
        registry.unregister("event", append)
        registry.register("event", append)

    registry.register("event", renew)
    registry.register("event", append)
    assert fire(registry, []) == []
    registry.unregister("event", renew)
    assert fire(registry, []) == ["called"]


def test_enabling_starts_with_the_next_dispatch(registry: HookRegistry) -> None:
    """A plugin that is enabled while an event is under way is called in the next dispatch."""
    plugin = PluginBase()
    registry.register("event", lambda data: setattr(plugin, "enabled", True))
    registry.register("event", append, plugin)
    assert registry.trigger("event", []) == []
    assert registry.trigger("event", []) == ["called"]


def test_a_nested_dispatch_sees_changes_already(registry: HookRegistry) -> None:
    """A hook added while an outer dispatch is under way is called in a nested one."""

    def add_and_nest(data: list[str]) -> None:
        registry.unregister("event", add_and_nest)
        registry.register("event", append)
        registry.trigger("event", data)

    registry.register("event", add_and_nest)
    assert registry.trigger("event", []) == ["called"]


# -- several threads and tasks


@pytest.mark.parametrize("change", CHANGES)
def test_changes_of_another_thread_reach_a_sync_dispatch(
    registry: HookRegistry, kind: Any, change: str
) -> None:
    """A hook removed or disabled by another thread is not called in a dispatch under way."""
    scene = Scene(registry, *kind)

    def let_another_thread(data: object) -> None:
        thread = threading.Thread(target=getattr(scene, change))
        thread.start()
        thread.join(20)
        assert not thread.is_alive()

    registry.register("event", let_another_thread, priority=20)
    assert registry.trigger("event", []) == []


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("waits_in", ["worker", "loop"])
def test_changes_reach_an_async_dispatch_that_waits(
    registry: HookRegistry, kind: Any, change: str, waits_in: str
) -> None:
    """While a hook waits in a worker or in the loop, another task takes later hooks out."""
    scene = Scene(registry, *kind)
    begun, may_end = threading.Event(), threading.Event()

    def wait(data: object) -> None:
        begun.set()
        assert may_end.wait(20)

    async def wait_async(data: object) -> None:
        begun.set()
        while not may_end.is_set():
            await asyncio.sleep(0.001)

    async def main() -> Any:
        task = asyncio.ensure_future(registry.trigger_async("event", []))
        while not begun.is_set():
            await asyncio.sleep(0.001)
        getattr(scene, change)()
        may_end.set()
        return await task

    registry.register("event", wait if waits_in == "worker" else wait_async, priority=20)
    assert run(main()) == []


def test_collect_async_does_not_call_what_has_gone(registry: HookRegistry) -> None:
    """A hook that is taken out before its turn in `collect_async` is not asked."""
    asked: list[str] = []

    async def take_out(data: object) -> None:
        registry.unregister("event", late)

    async def late(data: object) -> None:
        asked.append("late")

    registry.register("event", take_out)
    registry.register("event", late)
    assert run(registry.collect_async("event")) == []
    assert asked == []


# -- plugins of a manager


def loaded(*plugin_classes: type[PluginBase]) -> PluginManager:
    """Load plugins into a new manager."""
    manager = PluginManager()
    for plugin_class in plugin_classes:
        manager.load(manager.register(plugin_class))
    return manager


class Late(PluginBase):
    """A plugin whose resources are gone when it is unloaded."""

    name = "late"

    def on_load(self) -> None:
        self.open = True

    def on_unload(self) -> None:
        self.open = False

    @hook("event", priority=10)
    def act(self, data: list[str]) -> None:
        assert self.open
        data.append("called")

    @hook("event", priority=10)
    async def act_async(self, data: list[str]) -> None:
        self.act(data)


@pytest.mark.parametrize("asynchronous", [True, False])
@pytest.mark.parametrize(
    "change",
    [
        lambda manager: manager.unload("late"),
        lambda manager: manager.disable_plugin("late"),
        lambda manager: manager.unregister("late"),
        lambda manager: manager.unload_all(),
        lambda manager: setattr(manager.get_plugin("late"), "enabled", False),
    ],
    ids=["unload", "disable", "unregister", "unload_all", "enabled"],
)
def test_a_plugin_that_goes_is_not_called_any_more(
    change: Callable[[PluginManager], None], asynchronous: bool
) -> None:
    """A plugin unloaded or disabled by a hook is not called in the dispatch under way."""
    manager = loaded(Late)
    manager.set_error_strategy("fail_fast")
    manager.register_hook("event", lambda data: change(manager), priority=20)
    if asynchronous:
        assert run(manager.trigger_async("event", [])) == []
    else:
        assert manager.trigger("event", []) == []


def test_a_plugin_may_unload_itself(caplog: pytest.LogCaptureFixture) -> None:
    """A hook that unloads its own plugin ends well, and is its last."""

    class Leaving(Late):
        name = "leaving"

        @hook("event", priority=20)
        def leave(self, data: list[str]) -> list[str]:
            manager.unload("leaving")
            return ["left"]

    manager = loaded(Leaving)
    manager.set_error_strategy("fail_fast")
    assert manager.trigger("event", []) == ["left"]
    assert manager.trigger("event", []) == []
    assert not manager.is_loaded("leaving")


@pytest.mark.parametrize("asynchronous", [True, False])
def test_across_a_reload_each_hook_runs_once(asynchronous: bool) -> None:
    """Reloaded while an event is under way, a plugin's hooks run, none twice and none left out."""
    manager = PluginManager()
    manager.set_error_strategy("fail_fast")
    manager.register(Late)
    manager.load("late")
    manager.register_hook("event", lambda data: reload_once(), priority=20)
    reloads: list[PluginBase] = []

    def reload_once() -> None:
        if not reloads:
            reloads.append(manager.reload("late"))

    for _ in range(2):
        if asynchronous:
            assert run(manager.trigger_async("event", [])) == ["called"] * 2
        else:
            assert manager.trigger("event", []) == ["called"]
    assert manager.get_plugin("late") is reloads[0]


@pytest.mark.parametrize("tracer", [True, False])
def test_across_a_reload_a_trace_goes_on(tracer: bool) -> None:
    """A trace, and a tracer, see the hook that takes the place of another one."""
    manager = loaded(Late)
    calls: list[str] = []
    if tracer:
        manager.add_tracer(lambda call: calls.append(call.hook))

    def reload(data: object) -> None:
        manager.reload("late")

    manager.register_hook("event", reload, priority=20)
    trace = manager.trace("event", [])
    assert [step.hook for step in trace.steps] == ["reload", "act"]
    assert trace.steps[1].changes is not None
    assert [change.path for change in trace.steps[1].changes] == ["[0]"]
    assert calls == ["reload", "act"] * tracer


def test_reloads_in_another_thread_leave_out_no_hook() -> None:
    """However often a plugin is reloaded meanwhile, each dispatch calls its hook once."""
    manager = loaded(Late)
    manager.set_error_strategy("fail_fast")
    end = threading.Event()

    def reload() -> None:
        while not end.is_set():
            manager.reload("late")

    thread = threading.Thread(target=reload)
    thread.start()
    try:
        results = [manager.trigger("event", []) for _ in range(300)]
    finally:
        end.set()
        thread.join()
    assert [result for result in results if result != ["called"]] == []


# -- tracers


def test_a_tracer_starts_with_the_next_dispatch(registry: HookRegistry) -> None:
    """A tracer added by a hook hears of the next dispatch, and one taken out of no more."""
    calls: list[str] = []
    removals: list[Callable[[], None]] = []

    def add(data: object) -> None:
        removals.append(registry.add_tracer(lambda call: calls.append(call.hook)))

    def take_out(data: object) -> None:
        removals.pop()()

    registry.register("add", add)
    registry.register("add", append)
    registry.register("take out", append)
    registry.register("take out", take_out)
    registry.register("take out", append)
    registry.trigger("add", [])
    assert calls == []
    registry.trigger("take out", [])
    assert calls == ["append"]


def test_a_strategy_may_change_under_way(registry: HookRegistry) -> None:
    """A hook may change the strategy: what fails after that obeys the new one."""

    def fail(data: object) -> None:
        raise ValueError

    registry.register("event", lambda data: registry.set_error_strategy("log_and_continue"))
    registry.register("event", fail)
    registry.register("event", append)
    registry.set_error_strategy("fail_fast")
    assert registry.trigger("event", []) == ["called"]
