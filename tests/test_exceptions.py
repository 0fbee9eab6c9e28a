"""The exceptions of the library: what they accept, carry and say."""

from __future__ import annotations

import copy
import inspect
import pickle
from typing import Any

import pytest

import nitro_dispatch
from nitro_dispatch import (
    DependencyError,
    HookError,
    HookTimeoutError,
    NitroPluginError,
    PluginDiscoveryError,
    PluginLoadError,
    PluginNotFoundError,
    PluginRegistrationError,
    StopPropagation,
    ValidationError,
)

CLASSES: list[type[NitroPluginError]] = [
    DependencyError,
    HookError,
    HookTimeoutError,
    NitroPluginError,
    PluginDiscoveryError,
    PluginLoadError,
    PluginNotFoundError,
    PluginRegistrationError,
    StopPropagation,
    ValidationError,
]

each_class = pytest.mark.parametrize("kind", CLASSES)


def test_no_exception_is_missing_here() -> None:
    """These tests know every exception that the package has."""
    public = [getattr(nitro_dispatch, name) for name in nitro_dispatch.__all__]
    found = [item for item in public if inspect.isclass(item) and issubclass(item, BaseException)]
    assert sorted(CLASSES, key=str) == sorted(found, key=str)


@each_class
def test_all_have_one_base(kind: type[NitroPluginError]) -> None:
    """Each exception is a NitroPluginError, and so an Exception."""
    assert issubclass(kind, NitroPluginError)
    assert issubclass(kind, Exception)


def test_kinds_of_kinds() -> None:
    """Who catches the wider kind catches the narrower."""
    assert issubclass(DependencyError, PluginLoadError)
    assert issubclass(HookTimeoutError, HookError)


@each_class
@pytest.mark.parametrize("message", ["it is closed", "a\nb", "ünï", "%s {0}", " "])
def test_a_message_is_given_back(kind: type[NitroPluginError], message: str) -> None:
    """Each class accepts a single message, and `str` gives it back as it is."""
    error = kind(message)
    assert str(error) == message
    assert error.args == (message,)
    assert message in repr(error) or repr(message)[1:-1] in repr(error)


@each_class
def test_a_message_is_not_needed(kind: type[NitroPluginError]) -> None:
    """Each class can be raised without anything, and then says nothing."""
    with pytest.raises(kind) as raised:
        raise kind
    assert str(raised.value) == ""
    assert raised.value.args == ()


@each_class
def test_a_message_goes_before_what_is_carried(kind: type[NitroPluginError]) -> None:
    """With a message and a plugin the text is the message, and the plugin is there."""
    error = kind("the text", plugin="cache")
    assert str(error) == "the text"
    assert error.plugin == "cache"


@each_class
def test_exceptions_can_be_copied_and_pickled(kind: type[NitroPluginError]) -> None:
    """A copy, as one that crosses to another process, says and carries the same."""
    for original in (kind("the text"), kind(plugin="cache"), kind()):
        for twin in (copy.copy(original), pickle.loads(pickle.dumps(original))):
            assert type(twin) is kind
            assert str(twin) == str(original)
            assert twin.plugin == original.plugin


GREET = "hook 'greet' of plugin 'cache'"


class Mute(Exception):
    """An exception that cannot say what it is."""

    def __str__(self) -> str:
        raise RuntimeError("no text")


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (NitroPluginError(plugin="cache"), "plugin error plugin 'cache'"),
        (
            PluginLoadError(plugin="cache", origin="app.py:1", cause=OSError("no disk")),
            "failed to load plugin 'cache' (app.py:1): OSError: no disk",
        ),
        (PluginLoadError(cause=OSError("no disk")), ""),
        (
            DependencyError(plugin="cache", problems=["needs 'store'", "needs 'disk'"]),
            "failed to load plugin 'cache': needs 'store'; needs 'disk'",
        ),
        (
            DependencyError(plugin="cache", problems=["circular dependency: a -> b -> a"]),
            "circular dependency: a -> b -> a",
        ),
        (
            ValidationError(plugin="cache", errors=("no name", "no version")),
            "plugin 'cache' has invalid metadata: no name; no version",
        ),
        (
            HookError(plugin="cache", hook="greet", event="login", cause=ValueError("bad")),
            f"{GREET} failed on event 'login': ValueError: bad",
        ),
        (
            HookError(plugin="cache", hook="greet", event="login", cause=Mute()),
            f"{GREET} failed on event 'login': Mute: (its text cannot be read)",
        ),
        (
            HookError(hook="greet", event="login", cause=KeyError()),
            "hook 'greet' failed on event 'login': KeyError",
        ),
        (HookTimeoutError(seconds=2.5), "took longer than its time limit of 2.5 s"),
        (
            HookTimeoutError(
                plugin="cache",
                hook="greet",
                event="login",
                seconds=2.5,
                cause=HookTimeoutError(seconds=2.5),
            ),
            f"{GREET} took longer than its time limit of 2.5 s on event 'login'",
        ),
        (
            HookTimeoutError(
                plugin="cache",
                hook="greet",
                event="login",
                seconds=2.5,
                cause=HookTimeoutError("it was not called"),
            ),
            f"{GREET} failed on event 'login': it was not called",
        ),
    ],
)
def test_texts_are_made_of_what_is_carried(error: NitroPluginError, text: str) -> None:
    """Without a message the text names the plugin, the hook, the event and the cause."""
    assert str(error) == text


def test_texts_are_made_late() -> None:
    """What an exception carries is formatted when somebody reads it, not before."""

    class Cause(Exception):
        text = "early"

        def __str__(self) -> str:
            return self.text

    cause = Cause()
    error = PluginLoadError(plugin="cache", cause=cause)
    cause.text = "late"
    assert str(error).endswith("late")


@pytest.mark.parametrize("message", [5, None, ["a"]])
def test_a_message_need_not_be_text(message: Any) -> None:
    """A message of another kind does not keep an exception from being read."""
    assert isinstance(str(NitroPluginError(message)), str)


def test_its_representation_shows_the_text() -> None:
    """What is made of objects is readable in a list of errors too."""
    assert repr(HookTimeoutError(seconds=2.0)).startswith("HookTimeoutError('took longer than")
    assert repr(NitroPluginError("it is closed")) == "NitroPluginError('it is closed')"
