"""Rows: what others take to call as many listeners, by the same straight-line code.

Each imports its library when it is set up, as each has a process of its own. A listener is a plain
function, connected in the way that the library's documentation begins with.
"""

from __future__ import annotations

import types
from typing import Any, Callable, Final

from generated import Function, make_function, make_hooks, new_data, straight_line
from measuring import Round, Row, Timed, loop_over, turn_about


def pluggy(hooks: list[Function]) -> Timed:
    """Call the hook of a plugin manager; each plugin is a module with one implementation."""
    import pluggy

    specification = types.ModuleType("specification")
    vars(specification)["changed"] = pluggy.HookspecMarker("bench")(lambda data: None)
    manager = pluggy.PluginManager("bench")
    manager.add_hookspecs(specification)
    implementation = pluggy.HookimplMarker("bench")
    for number, hook in enumerate(hooks):
        plugin = types.ModuleType(f"plugin_{number}")
        vars(plugin)["changed"] = implementation(hook)
        manager.register(plugin)
    return loop_over("manager.hook.changed(data=data)", manager=manager, data=new_data())


def blinker(hooks: list[Function]) -> Timed:
    """Send a signal; the sender is the data."""
    from blinker import Signal

    signal = Signal()
    for hook in hooks:
        signal.connect(hook)
    return loop_over("signal.send(data)", signal=signal, data=new_data())


def psygnal(hooks: list[Function], method: str = "emit") -> Timed:
    """Emit a signal of an instance."""
    from psygnal import Signal

    class Order:
        changed = Signal(dict)

    order = Order()
    for hook in hooks:
        order.changed.connect(hook)
    return loop_over(f"order.changed.{method}(data)", order=order, data=new_data())


def psygnal_fast(hooks: list[Function]) -> Timed:
    """Emit a signal without what `emit_fast` leaves out."""
    return psygnal(hooks, "emit_fast")


def pyee(hooks: list[Function]) -> Timed:
    """Emit an event."""
    from pyee.base import EventEmitter

    emitter = EventEmitter()
    for hook in hooks:
        emitter.on("changed", hook)
    return loop_over("emitter.emit('changed', data)", emitter=emitter, data=new_data())


def stevedore(hooks: list[Function]) -> Timed:
    """Map a function over the extensions of a manager."""
    from stevedore import ExtensionManager
    from stevedore.extension import Extension

    extensions = [Extension(hook.__name__, None, hook, None) for hook in hooks]
    manager = ExtensionManager.make_test_instance(extensions)
    call = make_function("call", "def call(extension, data): return extension.plugin(data)\n")
    return loop_over("manager.map(call, data)", manager=manager, call=call, data=new_data())


def nitro_dispatch_1x(hooks: list[Function]) -> Timed:
    """Fire an event of the series 1.x."""
    from nitro_dispatch import PluginBase, PluginManager

    class Listening(PluginBase):
        name = "listening"

        def on_load(self) -> None:
            for hook in hooks:
                self.register_hook("changed", hook)

    manager = PluginManager()
    manager.register(Listening)
    manager.load("listening")
    return loop_over("manager.trigger('changed', data)", manager=manager, data=new_data())


PEERS: Final[dict[str, Callable[[list[Function]], Timed]]] = {
    "pluggy": pluggy,
    "blinker": blinker,
    "psygnal": psygnal,
    "psygnal emit_fast": psygnal_fast,
    "pyee": pyee,
    "stevedore": stevedore,
    "nitro-dispatch 1.2.0": nitro_dispatch_1x,
}
# What cannot be installed beside the others.
REQUIREMENTS: Final = {"nitro-dispatch 1.2.0": "nitro-dispatch==1.2.0"}
COUNTS: Final = (1, 5, 20, 100)
DISTRIBUTIONS: Final = ("pluggy", "blinker", "psygnal", "pyee", "stevedore")


def row_name(peer: str, count: int) -> str:
    """Name the row of a peer with so many listeners."""
    return f"dispatch.{count}.{peer.replace(' ', '-')}"


def listeners(peer: str, count: int) -> Round:
    """Compare a peer with straight-line code that calls the same functions."""
    hooks = make_hooks(count)
    seen: dict[str, Any] = new_data()
    baseline = loop_over("straight_line(data)", straight_line=straight_line(hooks), data=seen)
    return turn_about(PEERS[peer](hooks), baseline)


ROWS: Final = tuple(
    Row(
        row_name(peer, count),
        f"{peer}, {count} {'listener' if count == 1 else 'listeners'}",
        "straight-line code that calls the same functions",
        listeners,
        (peer, count),
        requirement=REQUIREMENTS.get(peer, ""),
    )
    for peer in PEERS
    for count in COUNTS
)
