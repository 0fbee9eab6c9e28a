"""What can be told of a callable without calling it."""

from __future__ import annotations

import functools
import inspect
import sys
from typing import Any, Callable

import pytest

from nitro_dispatch import hook
from nitro_dispatch.callables import is_async, same_callable, unwrapped, wants_event


async def coroutine(data: Any) -> Any:
    """Be async."""
    return data


def plain(data: Any, event: str = "") -> Any:
    """Be a plain function that asks for the event."""
    return data


@functools.wraps(coroutine)
def wrapper(data: Any) -> Any:
    """Look like the function inside, and be plain."""
    return coroutine(data)


class Holder:
    async def method(self, data: Any) -> Any:
        return data

    async def __call__(self, data: Any) -> Any:
        return data

    @hook("user.login")
    async def marked(self, data: Any) -> Any:
        return data


@pytest.mark.parametrize(
    ("callback", "expected"),
    [
        (coroutine, True),
        (Holder().method, True),
        (Holder.method, True),
        (Holder().marked, True),
        (Holder(), True),
        (functools.partial(Holder().method), True),
        (plain, False),
        (wrapper, False),
        (print, False),
        (Holder, False),
        ([].append, False),
    ],
)
def test_what_looks_async_is(callback: Callable[..., Any], expected: bool) -> None:
    """A callable is async if Python's own `inspect` says so of what it leads to."""
    assert is_async(callback) is expected


@pytest.mark.skipif(sys.version_info < (3, 12), reason="`inspect` has it from Python 3.12 on")
def test_a_function_may_be_marked_as_async() -> None:
    """A plain function that `inspect.markcoroutinefunction` has marked is async."""

    def marked(data: Any) -> Any:
        return coroutine(data)

    inspect.markcoroutinefunction(marked)  # type: ignore[attr-defined,unused-ignore]
    assert is_async(marked)
    assert is_async(functools.partial(marked))


def test_the_function_in_partials_is_found() -> None:
    """Of partials in each other the innermost function counts; anything else stands for itself."""
    assert unwrapped(functools.partial(functools.partial(plain))) is plain
    assert unwrapped(plain) is plain


@pytest.mark.parametrize(
    ("callback", "expected"),
    [
        (plain, True),
        (functools.partial(plain), True),
        (functools.partial(plain, event="bound"), False),
        (functools.wraps(plain)(lambda *args: None), True),
        (coroutine, False),
        (wrapper, False),
        (print, False),
        (Holder().method, False),
    ],
)
def test_the_second_parameter_asks_for_the_event(
    callback: Callable[..., Any], expected: bool
) -> None:
    """A callable wants the event if its parameter after the data is called so, and is free."""
    assert wants_event(callback) is expected


def test_bound_methods_compare_by_object_and_function() -> None:
    """Two lookups of one method are the same callable, those of another object are not."""
    one, other = Holder(), Holder()
    assert same_callable(one.method, one.method)
    assert not same_callable(one.method, other.method)
    assert not same_callable(one, other)
