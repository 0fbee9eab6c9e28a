"""Atomic hooks: each works on a copy of the data, which counts only if the hook succeeds.

A hook that fails or comes too late has then changed nothing, also where it is abandoned in its
worker thread and goes on.
"""

from __future__ import annotations

import functools
from typing import Any, Callable

from nitro_dispatch.awaitables import Deferred, awaited, is_awaitable
from nitro_dispatch.exceptions import HookError, StopPropagation, describe_error
from nitro_dispatch.execution import run_in_worker
from nitro_dispatch.failures import Stopped

__all__ = ["copied", "keeping_copy", "on_copy", "on_copy_async"]

Slot = Callable[[Any], Any]


def copied(data: Any) -> Any:
    """Copy the data for an atomic hook.

    Args:
        data: The data.

    Returns:
        A deep copy.

    Raises:
        HookError: The data cannot be copied.
        RecursionError: There is no stack left to copy it.
    """
    # Imported here because it is slow to import, and only needed by atomic hooks.
    from copy import deepcopy

    try:
        return deepcopy(data)
    except RecursionError as error:
        # By its kind a nested dispatch knows that it is to pass.
        raise RecursionError(_no_copy(error)) from error
    except (Exception, SystemExit) as error:  # Copying is the data's own code.
        raise HookError(_no_copy(error), cause=error) from error


def _no_copy(error: BaseException) -> str:
    return (
        f"the data cannot be copied: {describe_error(error)};"
        " an atomic hook needs data whose parts `copy.deepcopy` can copy:"
        " give their class a `__deepcopy__`, or the hook no `atomic=True`"
    )


def on_copy(slot: Slot, data: Any) -> Any:
    """Call a slot with a copy of the data.

    Args:
        slot: The slot of an atomic hook.
        data: The data, which stay as they are.

    Returns:
        What the slot returned.
    """
    return slot(copied(data))


async def on_copy_async(copying: Slot, slot: Slot, data: Any) -> Any:
    """Await a slot with a copy of the data, made in a worker thread as it may take long.

    Args:
        copying: Makes the copy.
        slot: The slot of an atomic hook, which returns an awaitable.
        data: The data, which stay as they are.

    Returns:
        What the awaitable came to.
    """
    return await slot(await run_in_worker(lambda hop: copying(data)))


def keeping_copy(slot: Slot, copy: Any) -> Any:
    """Call a slot, and let the copy that it works on be the result where it gives none.

    Args:
        slot: The slot of an atomic hook.
        copy: What it is given.

    Returns:
        The data as the slot left it, or something that has to be awaited for that.

    Raises:
        Stopped: The slot stopped the propagation; what it did to the copy before counts.
    """
    try:
        result = slot(copy)
    except StopPropagation as stopped:
        raise Stopped(copy) from stopped
    if result is None:
        return copy
    if result is not copy and is_awaitable(result):
        return Deferred(result, functools.partial(_keeping_copy_async, copy))
    return result


async def _keeping_copy_async(copy: Any, awaitable: Any) -> Any:
    try:
        return await awaited(awaitable, copy)
    except StopPropagation as stopped:
        raise Stopped(copy) from stopped
