"""The hook registry: who listens to which event, used alone."""

from __future__ import annotations

import gc
import logging
import threading
from typing import Any, Callable

import pytest

from costs import memory_traced
from firing import Owner, add_one
from nitro_dispatch import Event, HookRegistry, PluginBase


class Equal(Owner):
    """Equal to everything, and cannot be hashed."""

    def __eq__(self, other: object) -> bool:
        return True

    __hash__ = None  # type: ignore[assignment]


class Falsy(Owner):
    """False where it is asked."""

    def __bool__(self) -> bool:
        return False


class Hostile:
    """Raises whatever is done to it."""

    def __eq__(self, other: object) -> bool:
        raise RuntimeError("eq")

    def __hash__(self) -> int:
        raise RuntimeError("hash")

    def __bool__(self) -> bool:
        raise RuntimeError("bool")

    def __len__(self) -> int:
        raise RuntimeError("len")

    def __repr__(self) -> str:
        raise RuntimeError("repr")

    def __str__(self) -> str:
        raise RuntimeError("str")

    @property
    def name(self) -> str:
        raise RuntimeError("name")

    @property
    def on_error(self) -> object:
        raise RuntimeError("on_error")


OWNERS: dict[str, Callable[[], Any]] = {
    "plain": Owner,
    "equal to everything": Equal,
    "falsy": Falsy,
    "hostile": Hostile,
    "empty list": list,
    "zero": lambda: 0,
    "a class": lambda: Owner,
}


@pytest.fixture(params=list(OWNERS.values()), ids=list(OWNERS))
def owner(request: pytest.FixtureRequest) -> Any:
    """Make an owner of one kind after another."""
    return request.param()


# -- registering and unregistering


def test_unregistering_says_whether_there_was_a_hook(registry: HookRegistry) -> None:
    """`unregister` takes a hook out and returns True, and False where there is none."""
    registry.register("event", add_one)
    assert registry.unregister("event", add_one) is True
    assert registry.unregister("event", add_one) is False
    assert registry.trigger("event", 0) == 0


@pytest.mark.parametrize("event", ["other", "", "*", None, 5])
def test_unregistering_where_nobody_listens_is_harmless(registry: HookRegistry, event: Any) -> None:
    """`unregister` and `clear_event` for something that has no hooks do nothing."""
    registry.register("event", add_one)
    assert registry.unregister(event, add_one) is False
    registry.clear_event(event)
    assert registry.trigger("event", 0) == 1


def test_unregistering_takes_out_each_registration_of_the_callback(
    registry: HookRegistry,
) -> None:
    """A callback that was registered twice is called twice, and taken out at once."""
    registry.register("event", add_one)
    registry.register("event", add_one, priority=3)
    assert registry.trigger("event", 0) == 2
    assert registry.unregister("event", add_one) is True
    assert registry.get_all_events() == []


def test_unregistering_names_the_owner_too(registry: HookRegistry, owner: Any) -> None:
    """A hook is taken out only under the owner that it was registered with."""
    registry.register("event", add_one, owner)
    registry.register("event", add_one, Owner("other"))
    registry.register("event", add_one)
    assert registry.unregister("event", add_one, Equal()) is False
    assert registry.unregister("event", add_one) is True
    assert registry.trigger("event", 0) == 2
    assert registry.unregister("event", add_one, owner) is True
    assert [record.plugin_name for record in registry.get_hooks("event")] == ["other"]


def test_bound_methods_are_taken_out_by_equality(registry: HookRegistry) -> None:
    """A method is the same callback each time it is read, also a built-in one."""
    words: list[str] = []
    registry.register("event", words.append)
    registry.register("event", Counter().count)
    assert registry.unregister("event", words.append) is True
    assert registry.unregister("event", Counter().count) is False
    assert registry.unregister("event", [].append) is False


class Counter:
    """An object whose method is a hook, equal to all others of its kind."""

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Counter)

    __hash__ = None  # type: ignore[assignment]

    def count(self, data: int) -> int:
        return data + 1


def test_callable_objects_are_taken_out_by_identity(registry: HookRegistry) -> None:
    """Taking a hook out does not ask callable objects whether they are equal."""

    class Picky:
        def __eq__(self, other: object) -> bool:
            raise RuntimeError("compared")

        __hash__ = None  # type: ignore[assignment]

        def __call__(self, data: int) -> int:
            return data + 1

    one, other = Picky(), Picky()
    registry.register("event", one)
    registry.register("event", other)
    assert registry.unregister("event", other) is True
    assert registry.unregister("event", other) is False
    assert registry.trigger("event", 0) == 1


def test_all_hooks_of_an_owner_are_taken_out(registry: HookRegistry, owner: Any) -> None:
    """`unregister_plugin` takes out what one owner has, whatever it is, and counts it."""
    registry.register("a", add_one, owner)
    registry.register("b.*", add_one, owner)
    registry.register("a", add_one, Equal())
    registry.register("a", add_one)
    assert registry.unregister_plugin(owner) == 2
    assert registry.unregister_plugin(owner) == 0
    assert registry.get_all_events() == ["a"]
    assert registry.trigger("a", 0) == 2


def test_unregistering_a_stranger_is_harmless(registry: HookRegistry) -> None:
    """`unregister_plugin` of what owns no hook, None included, counts none."""
    registry.register("event", add_one)
    assert registry.unregister_plugin(Owner()) == 0
    assert registry.unregister_plugin(None) == 0
    assert registry.trigger("event", 0) == 1


def test_an_owner_of_any_kind_has_hooks_that_are_called(registry: HookRegistry, owner: Any) -> None:
    """A hook is called, and its failure isolated, whatever object owns it."""

    def fail(data: object) -> None:
        raise ValueError("failed")

    registry.register("event", fail, owner)
    registry.register("event", add_one, owner)
    assert registry.trigger("event", 0) == 1


def test_clearing_an_event_leaves_the_others(registry: HookRegistry) -> None:
    """`clear_event` takes out what was registered under exactly that name or pattern."""
    for event in ("user.login", "user.*", "user.**"):
        registry.register(event, add_one)
    registry.clear_event("user.*")
    assert registry.get_all_events() == ["user.login", "user.**"]
    assert registry.trigger("user.login", 0) == 2


def test_clearing_everything_leaves_a_usable_registry(registry: HookRegistry) -> None:
    """After `clear_all` nobody listens, and somebody can again."""
    plugin = Owner()
    registry.register("event", add_one, plugin)
    registry.register("*", add_one)
    registry.clear_all()
    assert registry.get_all_events() == []
    assert registry.trigger("event", 0) == 0
    assert registry.unregister_plugin(plugin) == 0
    registry.register("event", add_one)
    assert registry.trigger("event", 0) == 1


# -- looking


def test_events_are_listed_as_registered(registry: HookRegistry) -> None:
    """`get_all_events` lists names and patterns in the order of registration, each once."""
    for event in ("b", "a.*", "b", "**"):
        registry.register(event, add_one)
    assert registry.get_all_events() == ["b", "a.*", "**"]


def test_an_event_without_hooks_is_listed_no_longer(registry: HookRegistry) -> None:
    """An event goes from the list with its last hook, and firing one puts none on it."""
    registry.register("event", add_one)
    registry.trigger("never.registered")
    assert registry.get_all_events() == ["event"]
    registry.unregister("event", add_one)
    assert registry.get_all_events() == []


def test_hooks_are_listed_in_the_order_of_dispatch(registry: HookRegistry) -> None:
    """`get_hooks` lists what a name is heard by, patterns included, by priority."""
    registry.register("user.login", add_one, Owner("last"), 1)
    registry.register("user.*", add_one, Owner("first"), 99)
    registry.register("user.logout", add_one, Owner("never"))
    registry.register("**", add_one, Owner("middle"))
    names = [record["plugin_name"] for record in registry.get_hooks("user.login")]
    assert names == ["first", "middle", "last"]


def test_lists_are_the_callers_own(registry: HookRegistry) -> None:
    """Changing a list that a getter returned changes nothing in the registry."""
    registry.register("event", add_one)
    registry.get_hooks("event").clear()
    registry.get_all_events().clear()
    assert len(registry.get_hooks("event")) == len(registry.get_all_events()) == 1


@pytest.mark.parametrize("name", [None, 5, b"event", ("event",)])
def test_a_name_must_be_a_string(registry: HookRegistry, name: Any) -> None:
    """Asking for, or firing, an event whose name is no string is a TypeError that names it."""
    for use in (registry.get_hooks, registry.trigger, registry.collect, registry.trace):
        with pytest.raises(TypeError, match="must be a string"):
            use(name)


# -- switching owners


@pytest.mark.parametrize("stranger", [5, None, "hook", print])
def test_hooks_are_taken_in_all_or_none(registry: HookRegistry, stranger: Any) -> None:
    """Where one of several is no hook none is registered, and the error says what was expected."""
    other = HookRegistry()
    other.register("a", lambda data: data + 1)
    with pytest.raises(TypeError, match="must be a list of HookImpl objects"):
        registry.add([*other.get_hooks("a"), stranger])
    assert registry.get_all_events() == []
    registry.add(other.get_hooks("a"))
    assert registry.trigger("a", 1) == 2


def test_a_plugin_alone_is_switched_by_its_attribute(registry: HookRegistry) -> None:
    """A plugin that no manager loaded is silent until its `enabled` is set, at any time."""
    plugin = PluginBase()
    registry.register("event", add_one, plugin)
    assert registry.trigger("event", 0) == 0
    plugin.enabled = True
    assert registry.trigger("event", 0) == 1
    plugin.enabled = False
    assert registry.trigger("event", 0) == 0
    assert len(registry.get_hooks("event")) == 1


def test_a_plugin_is_switched_in_every_registry(registry: HookRegistry) -> None:
    """Setting `enabled` is heard by all registries in which the plugin has hooks."""
    other = HookRegistry()
    plugin = PluginBase()
    registry.register("event", add_one, plugin)
    other.register("event", add_one, plugin)
    plugin.enabled = True
    assert (registry.trigger("event", 0), other.trigger("event", 0)) == (1, 1)
    plugin.enabled = False
    assert (registry.trigger("event", 0), other.trigger("event", 0)) == (0, 0)


def test_an_owner_with_a_plain_attribute_is_asked_each_time(registry: HookRegistry) -> None:
    """An owner's plain `enabled` attribute counts at every call."""
    plugin: Any = Owner()
    plugin.enabled = False
    registry.register("event", add_one, plugin)
    assert registry.trigger("event", 0) == 0
    plugin.enabled = True
    assert registry.trigger("event", 0) == 1


def test_an_owner_without_the_attribute_counts_as_enabled(registry: HookRegistry) -> None:
    """An owner need have no `enabled`, and may be given one, or lose it, at any time."""
    plugin: Any = Owner()
    registry.register("event", add_one, plugin)
    assert registry.trigger("event", 0) == 1
    plugin.enabled = False
    assert registry.trigger("event", 0) == 0
    del plugin.enabled
    assert registry.trigger("event", 0) == 1


def test_a_plugin_class_may_replace_the_attribute(registry: HookRegistry) -> None:
    """A plugin whose class defines `enabled` in its own way is asked at every call."""
    answers = [True, False, True]

    class Plugin(PluginBase):
        @property
        def enabled(self) -> bool:
            return answers.pop(0)

        @enabled.setter
        def enabled(self, value: bool) -> None: ...

    registry.register("event", add_one, Plugin())
    assert [registry.trigger("event", 0) for _ in range(3)] == [1, 0, 1]


def test_an_attribute_that_raises_is_the_owners_failure(
    registry: HookRegistry, caplog: pytest.LogCaptureFixture
) -> None:
    """Where `enabled` cannot be read the hook has failed, and the others are called."""

    class Broken(Owner):
        @property
        def enabled(self) -> bool:
            raise RuntimeError("cannot tell")

    registry.register("event", add_one, Broken("broken"))
    registry.register("event", add_one)
    assert registry.trigger("event", 0) == 1
    (line,) = caplog.records
    assert "cannot tell" in line.getMessage()
    assert "broken" in line.getMessage()


def test_something_that_only_looks_like_a_plugin_is_an_owner(registry: HookRegistry) -> None:
    """An owner whose `__class__` says that it is a plugin, as a mock's may, is any object."""

    class Disguised(Owner):
        @property
        def __class__(self) -> type:
            return PluginBase

        @__class__.setter
        def __class__(self, value: type) -> None: ...

    plugin: Any = Disguised()
    registry.register("event", add_one, plugin)
    assert registry.trigger("event", 0) == 1
    plugin.enabled = False
    assert registry.trigger("event", 0) == 0
    assert registry.unregister_plugin(plugin) == 1


# -- events


def test_a_typed_event_works_wherever_a_name_does(registry: HookRegistry) -> None:
    """An `Event` and its name are one and the same to every method."""
    login = Event("user.login", payload=int)
    registry.register(login, add_one)
    registry.register("user.*", add_one)
    assert registry.trigger("user.login", 0) == registry.trigger(login, 0) == 2
    assert [answer.value for answer in registry.collect(login, 0)] == [1, 1]
    assert registry.first(login, 0) == 1
    assert registry.trace(login, 0).result == 2
    assert len(registry.get_hooks(login)) == 2
    assert registry.get_all_events() == ["user.login", "user.*"]
    assert registry.unregister("user.login", add_one) is True
    registry.register("user.login", add_one)
    registry.clear_event(login)
    assert registry.get_all_events() == ["user.*"]


def test_a_typed_event_can_be_a_pattern(registry: HookRegistry) -> None:
    """An `Event` with a star is the pattern of that text."""
    registry.register(Event("user.*"), add_one)
    assert registry.trigger("user.login", 0) == 1


@pytest.mark.parametrize("name", ["", "user.", ".login", "user..login", "."])
def test_a_name_that_no_pattern_matches_returns_the_data(registry: HookRegistry, name: str) -> None:
    """Firing a name with an empty segment is no error, and no pattern hears it."""
    for pattern in ("*", "**", "user.*", "user.**", "*.login", "**.login"):
        registry.register(pattern, add_one)
    assert registry.trigger(name, 0) == 0


def test_an_odd_name_is_heard_by_who_registered_it(registry: HookRegistry) -> None:
    """A hook registered under exactly an odd name hears it."""
    registry.register("user.", add_one)
    assert registry.trigger("user.", 0) == 1


@pytest.mark.parametrize(
    ("pattern", "heard", "unheard"),
    [
        ("user.*", ["user.a", "user.a b", "user.\n", "user.*"], ["user", "user.a.b", "xuser.a"]),
        ("*", ["a", "*"], ["a.b"]),
        ("**", ["a", "a.b.c"], []),
        ("db.before_*", ["db.before_save"], ["db.before_", "db.before_a.b", "db.after_a"]),
        ("a.**.z", ["a.b.z", "a.b.c.z"], ["a.z", "a..z"]),
        ("x+y.*", ["x+y.a"], ["xxy.a"]),
        ("[ab].*", ["[ab].c"], ["a.c"]),
        ("a\nb.*", ["a\nb.c"], ["a.b"]),
    ],
)
def test_patterns_hear_what_they_say(
    registry: HookRegistry, pattern: str, heard: list[str], unheard: list[str]
) -> None:
    """A star stands for part of one segment, two cross dots, and all else is literal."""
    registry.register(pattern, add_one)
    assert [name for name in heard + unheard if registry.trigger(name, 0)] == heard


def test_a_hook_is_called_once_for_a_name_equal_to_its_pattern(registry: HookRegistry) -> None:
    """Firing the very text of a pattern calls its hooks once."""
    registry.register("user.*", add_one)
    assert registry.trigger("user.*", 0) == 1
    registry.register(".*", add_one)
    assert registry.trigger(".*", 0) == 0  # It has an empty segment.


def test_matching_takes_no_time_to_speak_of(registry: HookRegistry) -> None:
    """A pattern of many stars is matched against a long name without trying every way."""
    registry.register("*a" * 30 + ".**", add_one)
    assert registry.trigger("a" * 20_000 + "b.c", 0) == 0


# -- memory and threads


def test_unseen_names_do_not_grow_memory(registry: HookRegistry) -> None:
    """However many names were never seen before, what they leave behind is bounded."""
    registry.register("known", add_one)
    registry.register("*.known", add_one)
    for number in range(2_000):
        registry.trigger(f"warm.{number}")
    with memory_traced() as memory:
        for number in range(20_000):
            registry.trigger(f"unseen.{number}")
        gc.collect()
        grown, _ = memory()
    assert grown < 2_000_000
    assert registry.trigger("a.known", 0) == 1


def test_owners_that_are_gone_are_forgotten(registry: HookRegistry) -> None:
    """A registry keeps nothing of an owner whose hooks were taken out."""
    before = len(gc.get_objects())
    for _ in range(500):
        plugin = Owner()
        registry.register("event", Counter().count, plugin)
        registry.trigger("event", 0)
        registry.unregister_plugin(plugin)
    gc.collect()
    assert len(gc.get_objects()) - before < 300


def test_threads_register_and_fire_at_once(registry: HookRegistry) -> None:
    """Hooks that come and go in threads never disturb a dispatch in another."""
    registry.register("event", add_one, priority=99)
    end = threading.Event()

    def change() -> None:
        while not end.is_set():
            plugin = PluginBase()
            registry.register("event", add_one, plugin)
            plugin.enabled = True
            registry.register("**", add_one, plugin)
            registry.unregister_plugin(plugin)

    threads = [threading.Thread(target=change) for _ in range(3)]
    for thread in threads:
        thread.start()
    try:
        results = {registry.trigger("event", 0) for _ in range(2_000)}
    finally:
        end.set()
        for thread in threads:
            thread.join()
    assert results <= {1, 2, 3, 4, 5, 6, 7}
    assert registry.trigger("event", 0) == 1


def test_no_lock_is_held_while_owners_are_asked(registry: HookRegistry) -> None:
    """An owner that is asked for its name may wait for another thread, which registers a hook."""
    waited: list[bool] = []

    class Slow:
        @property
        def name(self) -> str:
            if len(waited) < 3:
                other = threading.Thread(target=registry.register, args=("other", add_one))
                other.start()
                other.join(5)
                waited.append(not other.is_alive())
            return "slow"

    registry.register("event", add_one, Slow(), before="first")
    registry.register("event", add_one, Owner("first"))
    assert registry.trigger("event", 0) == 2
    assert len(registry.get_hooks("event")) == 2
    assert waited == [True, True, True]


def test_a_dispatch_begins_however_often_something_changes(registry: HookRegistry) -> None:
    """An owner that registers a hook each time it is asked for its name keeps no dispatch up."""

    class Busy:
        @property
        def name(self) -> str:
            registry.register("other", add_one)
            return "busy"

    registry.register("event", add_one, Busy(), before="first")
    assert registry.trigger("event", 0) == 1


def test_no_lock_is_held_while_something_is_logged(registry: HookRegistry) -> None:
    """A log handler may wait for another thread, which registers a hook."""
    waited: list[bool] = []

    class Handler(logging.Handler):
        def handle(self, record: logging.LogRecord) -> bool:
            other = threading.Thread(target=registry.register, args=("other", add_one))
            other.start()
            other.join(5)
            waited.append(not other.is_alive())
            return True

    async def skipped(data: int) -> None: ...

    registry.register("event", skipped)
    registry.register("event", add_one)
    handler = Handler()
    logger = logging.getLogger("nitro_dispatch")
    logger.addHandler(handler)
    try:
        assert registry.trigger("event", 0) == 1
    finally:
        logger.removeHandler(handler)
    assert waited == [True]


def test_a_dispatch_takes_no_lock(registry: HookRegistry) -> None:
    """An event that was fired before is fired again while another thread changes registrations."""
    registry.register("event", add_one)
    registry.trigger("event", 0)
    results: list[int] = []
    with registry._store.lock:
        thread = threading.Thread(target=lambda: results.append(registry.trigger("event", 0)))
        thread.start()
        thread.join(10)
    assert results == [1]
