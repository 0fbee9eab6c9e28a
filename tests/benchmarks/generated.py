"""Functions made from source, one by one.

Each has a code object of its own, as the hooks of different plugins have. Where all share one, the
interpreter specializes it for one caller, and every dispatcher looks faster than it is.
"""

from __future__ import annotations

from typing import Any, Callable, Final

Function = Callable[[Any], Any]

EVENT: Final = "order.changed"

# The bodies of hooks. The first changes a dict in place and returns it.
CHANGES: Final = 'data["count"] += 1; return data'
RENEWS: Final = "return data + 1"
RAISES: Final = "raise ValueError(data)"


def new_data() -> dict[str, int]:
    """Make the data of an event."""
    return {"count": 0}


def make_hooks(count: int, body: str = CHANGES, *, definition: str = "def") -> list[Function]:
    """Make functions that take the data of an event.

    Args:
        count: How many.
        body: What each does.
        definition: "def" or "async def".
    """
    return [
        make_function(f"hook_{number}", f"{definition} hook_{number}(data): {body}\n")
        for number in range(count)
    ]


def straight_line(hooks: list[Function], *, awaits: bool = False) -> Function:
    """Write by hand what a dispatch does: call one hook after the other, and keep what it returns.

    There is no `try`: nothing that a hook did not ask for.

    Args:
        hooks: The hooks, which the code has as globals, as a module has its functions.
        awaits: Whether the hooks are async; then the function is too.
    """
    names = {f"hook_{number}": hook for number, hook in enumerate(hooks)}
    prefix, suffix = ("async ", "await ") if awaits else ("", "")
    lines = [f"{prefix}def straight_line(data):"]
    for name in names:
        lines += [
            f"    result = {suffix}{name}(data)",
            "    if result is not None:",
            "        data = result",
        ]
    return make_function("straight_line", "\n".join([*lines, "    return data", ""]), **names)


def make_function(name: str, source: str, **names: object) -> Function:
    """Run the source of a function and give the function.

    Args:
        name: Its name.
        source: Its source.
        names: Its globals.
    """
    namespace = dict(names)
    exec(compile(source, f"<{name}>", "exec"), namespace)
    function: Any = namespace[name]
    return function  # type: ignore[no-any-return]
