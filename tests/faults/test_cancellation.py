"""Cancellation goes through promptly, whatever a dispatch is at, and leaves nothing behind."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import signal
import sys
import textwrap
import threading
import types
import weakref
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, Callable, Optional

import pytest

from concurrency import PATIENCE
from loops import run_quietly
from nitro_dispatch import HookRegistry, PluginManager
from programs import run_program

SOON = 0.02
LATE = 20.0

if sys.version_info >= (3, 12):
    FACTORIES = [None, asyncio.eager_task_factory]
else:
    FACTORIES = [None]


class Scene:
    """A dispatch that is held up in a certain place."""

    def __init__(self, place: Optional[Place] = None) -> None:
        self.registry = HookRegistry()
        self.may_end = threading.Event()
        self.called_after: list[object] = []
        self.resists = False
        self._loop = asyncio.get_running_loop()
        self._reached = asyncio.Event()
        if place is not None:
            place(self)

    @property
    def name(self) -> str:
        """The name of the owner of the hooks."""
        return "owner"

    async def on_error(self, error: BaseException) -> None:
        """Be told of a failure, for ever."""
        await self.wait(error)

    def reach(self) -> None:
        """Let it be known, from any thread, that the place is reached."""
        self._loop.call_soon_threadsafe(self._reached.set)

    async def reached(self) -> None:
        """Wait until the dispatch has come to the place."""
        await asyncio.wait_for(self._reached.wait(), PATIENCE)

    async def held_up(self, fire: Fire) -> asyncio.Future[Any]:
        """Fire the event, and give the task of it once the dispatch has come to the place."""
        task = asyncio.ensure_future(fire(self.registry))
        await self.reached()
        return task

    async def wait(self, data: Any) -> Any:
        """Wait for ever."""
        self.reach()
        await asyncio.Event().wait()

    async def swallow(self, data: Any) -> None:
        """Wait, and hear no cancellation."""
        while not self.may_end.is_set():
            try:
                self.reach()
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                continue

    async def swallow_from_limit_on(self, data: Any) -> None:
        """Wait, past the limit too."""
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            await self.swallow(data)

    async def clean_up(self, data: Any) -> None:
        """Wait, and take a while to clean up."""
        try:
            await self.wait(data)
        finally:
            await asyncio.sleep(LATE)

    async def return_for_ever(self, data: Any) -> Any:
        """Return itself."""
        self.reach()
        return self.return_for_ever(data)

    async def dispatch(self, data: Any) -> None:
        """Wait for another dispatch."""
        self.registry.register("inner", self.wait)
        await self.registry.trigger_async("inner")

    async def fail(self, data: Any) -> None:
        raise ValueError("failed")

    def block(self, data: Any) -> None:
        """Block a thread."""
        self.reach()
        self.may_end.wait(PATIENCE)

    def block_and_return(self, data: Any) -> Any:
        """Block a thread, and have nothing awaited after all."""
        self.block(data)
        return self.wait(data)

    def block_and_fail(self, data: Any) -> None:
        """Block a thread, and fail when nobody is there any more."""
        self.block(data)
        raise ValueError("failed")

    def add(self, callback: Callable[[Any], Any], **options: Any) -> None:
        """Let a hook hold the dispatch up, and others see whether it goes on."""
        self.registry.register("event", callback, self, **options)
        for blocking in (True, False):
            self.registry.register("event", self.called_after.append, blocking=blocking)


Place = Callable[[Scene], None]


def plain(name: str, **options: Any) -> Place:
    """Hold a dispatch up by a method of the scene."""
    return lambda scene: scene.add(getattr(scene, name), **options)


def lazily(name: str, **options: Any) -> Place:
    """Hold a dispatch up by what a sync function returns."""
    return lambda scene: scene.add(lambda data: getattr(scene, name)(data), **options)


PLACES: dict[str, Place] = {
    "async hook": plain("wait"),
    "async hook with a limit": plain("wait", timeout=LATE),
    "lambda": lazily("wait"),
    "lambda with a limit": lazily("wait", timeout=LATE),
    "inline lambda": lazily("wait", blocking=False),
    "returning for ever": plain("return_for_ever"),
    "returning for ever with a limit": plain("return_for_ever", timeout=LATE),
    "nested dispatch": plain("dispatch"),
    "nested dispatch with a limit": plain("dispatch", timeout=LATE),
    "sync hook": plain("block"),
    "sync hook with a limit": plain("block", timeout=LATE),
    "sync hook that is said not to block": plain("block", timeout=LATE, blocking=False),
    "sync hook that returns a coroutine": plain("block_and_return"),
    "sync hook with a limit that returns a coroutine": plain("block_and_return", timeout=LATE),
    "sync hook that fails": plain("block_and_fail"),
    "sync hook with a limit that fails": plain("block_and_fail", timeout=LATE),
    "on_error": plain("fail"),
    "on_error of a hook with a limit": plain("fail", timeout=LATE),
    "on_error of a lambda": lazily("fail"),
    "cleanup past a limit": plain("swallow_from_limit_on", timeout=SOON),
    "cancellation swallowed": plain("swallow", timeout=LATE),
    "cancellation swallowed, of a lambda": lazily("swallow", timeout=LATE),
}
FIRE: dict[str, Callable[[HookRegistry], Coroutine[Any, Any, Any]]] = {
    "trigger_async": lambda registry: registry.trigger_async("event", "data"),
    "collect_async": lambda registry: registry.collect_async("event", "data"),
}
Fire = Callable[[HookRegistry], Coroutine[Any, Any, Any]]


@pytest.fixture(params=list(FIRE.values()), ids=list(FIRE))
def fire(request: pytest.FixtureRequest) -> Any:
    """Fire an event in one way after the other."""
    return request.param


@pytest.fixture(params=FACTORIES, ids=lambda factory: "eager" if factory else "lazy tasks")
def run(request: pytest.FixtureRequest) -> Callable[..., Any]:
    """Run a coroutine in a loop with tasks of one kind after the other."""
    return lambda coroutine: run_quietly(coroutine, request.param)


async def end_of(task: asyncio.Future[Any]) -> None:
    """Wait for the end of a task, not for ever."""
    await asyncio.wait([task], timeout=PATIENCE)
    assert task.done()


async def cancelled(task: asyncio.Future[Any]) -> None:
    """Wait for a task to be cancelled, not for ever."""
    await end_of(task)
    assert task.cancelled()


@pytest.mark.parametrize("place", PLACES)
def test_a_dispatch_ends_when_it_is_cancelled(place: str, fire: Fire, run: Any) -> None:
    """Wherever a dispatch is, its task is cancelled at once, and no later hook is called."""

    async def main() -> None:
        scene = Scene(PLACES[place])
        task = await scene.held_up(fire)
        task.cancel()
        await cancelled(task)
        scene.may_end.set()
        # `collect_async` calls all at once.
        assert scene.called_after == [] or fire is FIRE["collect_async"]

    run(main())


@pytest.mark.parametrize("place", PLACES)
def test_a_dispatch_can_be_given_so_much_time(place: str, fire: Fire, run: Any) -> None:
    """`asyncio.wait_for` around a dispatch ends it, wherever it is."""

    async def main() -> None:
        scene = Scene(PLACES[place])
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(fire(scene.registry), SOON)
        scene.may_end.set()

    run(main())


@pytest.mark.skipif(sys.version_info < (3, 11), reason="there is no `asyncio.timeout` before 3.11")
@pytest.mark.parametrize("place", PLACES)
def test_the_scopes_of_asyncio_end_a_dispatch(place: str, fire: Fire, run: Any) -> None:
    """`asyncio.timeout` and a `TaskGroup` end a dispatch, and cancel nothing else."""
    scopes: Any = asyncio

    async def fail_then(scene: Scene) -> None:
        await scene.reached()
        raise ValueError("of the group")

    async def main() -> None:
        scene = Scene(PLACES[place])
        with pytest.raises(TimeoutError):
            async with scopes.timeout(SOON):
                await fire(scene.registry)
        scene.may_end.set()
        current: Any = asyncio.current_task()
        assert current.cancelling() == 0
        scene = Scene(PLACES[place])
        with pytest.raises(BaseException, match="in a TaskGroup") as raised:
            async with scopes.TaskGroup() as group:
                group.create_task(fire(scene.registry))
                group.create_task(fail_then(scene))
        group_of_errors: Any = raised.value
        assert [type(error) for error in group_of_errors.exceptions] == [ValueError]
        scene.may_end.set()
        await asyncio.sleep(0)

    run(main())


@pytest.mark.parametrize("place", PLACES)
def test_a_dispatch_is_cancelled_that_has_hardly_begun(place: str, fire: Fire, run: Any) -> None:
    """Before its first step and soon after it, a dispatch is cancelled like any coroutine."""

    async def main() -> None:
        for turns in range(5):
            scene = Scene(PLACES[place])
            task = asyncio.ensure_future(fire(scene.registry))
            for _ in range(turns):
                await asyncio.sleep(0)
            task.cancel()
            await cancelled(task)
            scene.may_end.set()

    run(main())


SLOW_PLACES: dict[str, Place] = {
    **PLACES,
    "cleanup": plain("clean_up"),
    "cleanup with a limit": plain("clean_up", timeout=LATE),
}


@pytest.mark.parametrize("place", SLOW_PLACES)
def test_a_second_cancellation_waits_for_nothing(place: str, fire: Fire, run: Any) -> None:
    """A dispatch that is cancelled again goes on with neither a hook nor its cleanup."""

    async def main() -> None:
        scene = Scene(SLOW_PLACES[place])
        task = await scene.held_up(fire)
        for _ in range(2):
            task.cancel()
            await asyncio.sleep(0)
        await cancelled(task)
        scene.may_end.set()

    run(main())


def test_collect_async_is_not_held_by_who_swallows_two_cancellations(run: Any) -> None:
    """Without a limit too, as each hook has a task of its own; what it raises goes nowhere."""

    async def main() -> None:
        scene = Scene()

        async def swallow_and_fail(data: Any) -> None:
            await scene.swallow(data)
            raise KeyError("late")

        scene.registry.register("event", swallow_and_fail)
        task = asyncio.ensure_future(scene.registry.collect_async("event"))
        await scene.reached()
        for _ in range(2):
            task.cancel()
            await asyncio.sleep(0)
        await asyncio.wait([task], timeout=PATIENCE)
        # It would keep the event loop from its end, too.
        scene.may_end.set()
        assert task.cancelled()

    run(main())


# -- at the same time as something else


@pytest.mark.parametrize("timeout", [None, LATE])
@pytest.mark.parametrize("first", ["cancel", "end"])
def test_a_cancellation_and_the_end_at_once(first: str, timeout: Any, fire: Fire, run: Any) -> None:
    """A dispatch whose hook ends in the very tick of its cancellation is cancelled."""

    async def main() -> None:
        scene = Scene()
        future: asyncio.Future[str] = asyncio.get_running_loop().create_future()

        async def wait(data: Any) -> Any:
            scene.reach()
            return scene.wait(await future)

        scene.registry.register("event", wait, timeout=timeout)
        task = await scene.held_up(fire)
        if first == "cancel":
            task.cancel()
        if not future.done():
            future.set_result("ended")
        if first == "end":
            task.cancel()
        await cancelled(task)

    run(main())


@pytest.mark.parametrize("timeout", [None, LATE])
@pytest.mark.parametrize("next_hook", ["wait", "block", "fail"])
def test_a_cancellation_between_two_hooks(next_hook: str, timeout: Any, run: Any) -> None:
    """A dispatch that is cancelled while a hook is on its way back ends at the next one."""

    async def main() -> None:
        scene = Scene()

        async def dispatch() -> None:
            tasks.append(asyncio.current_task())
            await scene.registry.trigger_async("event")

        async def cancel(data: Any) -> None:
            tasks[0].cancel()

        tasks: list[Any] = []
        scene.registry.register("event", cancel, timeout=timeout)
        scene.add(getattr(scene, next_hook), timeout=timeout)
        task = asyncio.ensure_future(dispatch())
        await cancelled(task)
        assert scene.called_after == []
        scene.may_end.set()

    run(main())


# -- a plugin that is imported when it is needed


def test_a_cancelled_dispatch_does_not_wait_for_an_import(
    tmp_path: Path, fire: Any, run: Any
) -> None:
    """An import in a worker goes on when its dispatch is cancelled, and serves the next one."""
    (tmp_path / "slow_plugin.py").write_text(
        textwrap.dedent("""
            from nitro_dispatch import PluginBase, hook
            import gate_of_a_test

            gate_of_a_test.reached()
            gate_of_a_test.may_end.wait(30)

            class Slow(PluginBase):
                name = "slow"

                @hook("event")
                async def act(self, data):
                    return "done"
        """)
    )

    async def main() -> None:
        scene = Scene()
        gate: Any = types.ModuleType("gate_of_a_test")
        gate.reached, gate.may_end = scene.reach, scene.may_end
        with pytest.MonkeyPatch.context() as patch:
            patch.setitem(sys.modules, "gate_of_a_test", gate)
            manager = PluginManager(lazy=True)
            manager.discover_plugins(tmp_path)
            manager.load_all()
            task = asyncio.ensure_future(fire(manager))
            await scene.reached()
            task.cancel()
            await cancelled(task)
            assert not manager.is_loaded("slow")
            scene.may_end.set()
            result = await asyncio.wait_for(fire(manager), PATIENCE)
            assert "done" in str(result)
            assert manager.is_loaded("slow")
            manager.unload_all()

    run(main())


# -- the end of the event loop


@pytest.mark.parametrize("place", PLACES)
def test_the_end_of_asyncio_run_does_not_wait(place: str, fire: Fire, run: Any) -> None:
    """A dispatch that nobody awaits ends with its event loop, wherever it is."""
    scenes: list[Scene] = []

    async def main() -> None:
        scene = Scene(PLACES[place])
        scenes.append(scene)
        tasks.append(await scene.held_up(fire))

    tasks: list[asyncio.Future[Any]] = []
    run(main())
    assert tasks[0].cancelled()
    scenes[0].may_end.set()


@pytest.mark.parametrize("place", PLACES)
def test_an_event_loop_may_be_closed_under_a_dispatch(
    place: str, fire: Fire, caplog: pytest.LogCaptureFixture
) -> None:
    """A dispatch whose event loop is closed under it goes with it, and only asyncio tells of it."""
    scenes: list[Scene] = []

    async def main() -> None:
        scene = Scene(PLACES[place])
        scenes.append(scene)
        tasks.append(await scene.held_up(fire))

    tasks: list[asyncio.Future[Any]] = []
    loop = asyncio.new_event_loop()
    loop.run_until_complete(main())
    loop.close()
    scenes[0].may_end.set()
    tasks.clear()
    scenes.clear()
    gc.collect()
    # asyncio itself tells of every task that its event loop did not finish.
    complaints = [record for record in caplog.records if record.name == "asyncio"]
    lines = [record.message.split("\n")[0] for record in complaints]
    assert set(lines) <= {"Task was destroyed but it is pending!"}
    caplog.clear()


@pytest.mark.parametrize(
    "place", ["async hook with a limit", "cleanup past a limit", "cancellation swallowed"]
)
def test_nothing_is_kept_of_a_dispatch_whose_event_loop_is_closed(place: str, fire: Fire) -> None:
    """What a closed event loop was to cancel or had left behind goes, with all that it knows."""

    async def main() -> Callable[[], object]:
        scene = Scene(PLACES[place])
        task = await scene.held_up(fire)
        task.cancel()
        return weakref.ref(scene)

    loop = asyncio.new_event_loop()
    scene = loop.run_until_complete(main())
    loop.close()
    gc.collect()
    assert scene() is None


def test_nothing_is_kept_of_what_was_left_behind_and_has_ended(
    fire: Fire,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """What ends in the background goes with all that it knows, while its event loop goes on."""

    async def main() -> None:
        scene = Scene()
        scene.registry.register("event", scene.swallow_from_limit_on, timeout=SOON)
        await asyncio.ensure_future(fire(scene.registry))
        scene.may_end.set()
        (left,) = (task for task in asyncio.all_tasks() if task is not asyncio.current_task())
        left.cancel()
        await end_of(left)
        known = weakref.ref(scene), weakref.ref(left)
        del scene, left
        gc.collect()
        assert [each() for each in known] == [None, None]

    # A record of the log would know of it.
    caplog.set_level(logging.CRITICAL, "nitro_dispatch")
    run_quietly(main())


PROGRAM = """
import asyncio, os, signal, sys, threading, time
from nitro_dispatch import HookRegistry

registry = HookRegistry()

def interrupt():
    os.kill(os.getpid(), signal.SIGINT)

def block(data):
    interrupt()
    threading.Event().wait()

async def wait(data):
    asyncio.get_running_loop().call_soon(interrupt)
    await asyncio.Event().wait()

async def swallow(data):
    while True:
        try:
            await wait(data)
        except asyncio.CancelledError:
            continue

async def fail(data):
    raise KeyboardInterrupt

async def main():
    # A signal that comes just before an event loop waits is only seen when it wakes.
    asyncio.ensure_future(tick())
    await registry.{fire}("event")

async def tick():
    while True:
        await asyncio.sleep(0.05)

registry.register("event", {hook}, timeout={timeout})
asyncio.run(main())
"""


@pytest.mark.skipif(os.name == "nt", reason="Windows has other signals")
@pytest.mark.parametrize("fire", list(FIRE))
@pytest.mark.parametrize(
    ("hook", "timeout"),
    [("block", None), ("block", 600), ("wait", None), ("wait", 600), ("swallow", 600)],
)
def test_an_interrupt_from_the_keyboard_ends_the_program(
    hook: str, timeout: Any, fire: str
) -> None:
    """Wherever a dispatch is, the program ends at once, and says no more than that."""
    program = PROGRAM.format(hook=hook, timeout=timeout, fire=fire)
    done = run_program(program, seconds=PATIENCE)
    assert (done.returncode, done.stderr.splitlines()[-1]) == (-signal.SIGINT, "KeyboardInterrupt")
    for complaint in ("never", "destroyed", "Exception ignored"):
        assert complaint not in done.stderr
