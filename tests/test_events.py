"""Facts about events, patterns and the index of patterns."""

from __future__ import annotations

import copy
import pickle
import random
import re
import sys
import threading
from types import FrameType
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from nitro_dispatch import events
from nitro_dispatch.events import (
    LIFECYCLE_EVENTS,
    Event,
    EventPattern,
    PatternIndex,
    is_pattern,
    validate_event_name,
)

# Few different characters, so that names and patterns often meet; the others are special to regular
# expressions, or to careless code.
TEXTS = st.text(alphabet="aab*.", max_size=9) | st.text(alphabet="a*.+(\n\\ü", max_size=7)
PATTERNS: st.SearchStrategy[str] = TEXTS.filter(is_pattern)


class LoginData(dict[str, str]):
    """A payload class that pickle can find."""


def model_matches(text: str, name: str) -> bool:
    """Match as the documentation says it, by a backtracking regular expression."""
    if "*" not in text:
        return text == name
    if "" in name.split("."):
        return False
    pieces = [
        "[^.]+" if piece == "*" else "(.|\n)+" if piece[0] == "*" else re.escape(piece)
        for piece in re.findall(r"\*+|[^*]+", text)
    ]
    return re.fullmatch("".join(pieces), name) is not None


def count_calls(index: PatternIndex, name: str) -> int:
    """Count the functions, built in or not, that one lookup calls."""
    calls = 0

    def count(frame: FrameType, kind: str, argument: Any) -> None:
        nonlocal calls
        calls += kind in ("call", "c_call")

    before = sys.getprofile()
    sys.setprofile(count)
    try:
        index.match(name)
    finally:
        sys.setprofile(before)
    return calls


def index_of(*texts: str) -> PatternIndex:
    """Make an index that holds the given patterns."""
    index = PatternIndex()
    for text in texts:
        index.add(text)
    return index


@pytest.mark.parametrize(
    ("text", "name", "expected"),
    [
        ("user.login", "user.login", True),
        ("user.login", "user.logout", False),
        ("user.*", "user.login", True),
        ("user.*", "user.login.failed", False),
        ("user.*", "user", False),
        ("user.*", "user.", False),
        ("*", "user", True),
        ("*", "user.login", False),
        ("*", "", False),
        ("db.before_*", "db.before_save", True),
        ("db.before_*", "db.before_", False),
        ("db.before_*", "db.before_a.b", False),
        ("*.*", "a.b", True),
        ("user.**", "user.login.failed", True),
        ("user.**", "user", False),
        ("user.**", "user.a.", False),
        ("**", "a.b.c", True),
        ("**", "a..b", False),
        ("**", ".a", False),
        ("***", "a.b", True),
        ("a**b", "a.b", True),
        ("a**b", "ab", False),
        ("**.login", "user.login", True),
        ("**.login", "login", False),
        ("**.before_*", "app.db.before_save", True),
        ("**.before_*", "app.db.before_save.x", False),
        ("a.**.z", "a.b.c.z", True),
        ("a.**.z", "a.z", False),
        ("a*b*c", "aXbYc", True),
        ("a*b*c", "abbc", False),
        ("a*b", "ab", False),
        ("aba*aba", "ababa", False),
        ("user+(x).*", "user+(x).y", True),
        ("user+.*", "userr.y", False),
        ("*", "a\nb", True),
        ("**", "a\n.b", True),
        ("a*", "a*", True),
        ("a.*.c", "a.*.c", True),
        ("user.", "user.", True),
        ("*.", "user.", False),
        ("", "", True),
    ],
)
def test_documented_meaning(text: str, name: str, expected: bool) -> None:
    """A pattern, and an index that holds it, match exactly the names that are documented."""
    assert EventPattern(text).matches(name) is expected
    assert index_of(text).match(name) == [text] * expected
    assert model_matches(text, name) is expected


@settings(max_examples=300)
@given(text=TEXTS, name=TEXTS)
def test_pattern_agrees_with_model(text: str, name: str) -> None:
    """A pattern matches exactly the names that a regular expression of the same meaning matches."""
    assert EventPattern(text).matches(name) is model_matches(text, name)


@settings(max_examples=200)
@given(texts=st.lists(TEXTS, max_size=12), name=TEXTS)
def test_index_agrees_with_model(texts: list[str], name: str) -> None:
    """An index gives each of its patterns that matches, once, and no other."""
    expected = {text for text in texts if model_matches(text, name)}
    assert sorted(index_of(*texts).match(name)) == sorted(expected)


@given(text=PATTERNS, data=st.data())
def test_pattern_matches_what_is_filled_in(text: str, data: st.DataObject) -> None:
    """A pattern matches every name made by filling its stars, unless a segment is empty."""
    filling = st.text(alphabet="ab*", min_size=1, max_size=3)
    name = re.sub(r"\*+", lambda _: data.draw(filling), text)
    assert EventPattern(text).matches(name) is ("" not in name.split("."))


class IndexMachine(RuleBasedStateMachine):
    """An index beside a plain set of texts."""

    def __init__(self) -> None:
        super().__init__()
        self.index = PatternIndex()
        self.texts: set[str] = set()

    @rule(text=TEXTS)
    def add(self, text: str) -> None:
        """Add to both."""
        self.index.add(text)
        self.texts.add(text)

    @rule(text=TEXTS)
    def discard_any(self, text: str) -> None:
        """Take out what may not be there."""
        self.index.discard(text)
        self.texts.discard(text)

    @rule(choice=st.randoms(use_true_random=False))
    def discard_present(self, choice: random.Random) -> None:
        """Take out something that is there."""
        if self.texts:
            self.discard_any(choice.choice(sorted(self.texts)))

    @rule(name=TEXTS)
    def match(self, name: str) -> None:
        """Compare a lookup."""
        expected = [text for text in self.texts if model_matches(text, name)]
        assert sorted(self.index.match(name)) == sorted(expected)

    @invariant()
    def empty_when_all_are_out(self) -> None:
        """Compare the memory of an index without patterns with that of a new one."""
        if not any(map(is_pattern, self.texts)):
            assert self.index._root.is_empty()


TestIndexMachine = IndexMachine.TestCase
TestIndexMachine.settings = settings(max_examples=40, stateful_step_count=20)


@pytest.mark.parametrize("star", ["*", "**"])
@pytest.mark.parametrize("count", [30, 300])
def test_hostile_pattern_ends(star: str, count: int) -> None:
    """A pattern of many stars decides about a long name that almost matches, in linear time."""
    pattern = EventPattern(f"a{star}" * count + "b")
    name = "a" * 5_000
    assert not pattern.matches(name)
    assert not index_of(pattern.text).match(name)
    assert pattern.matches(name + "b")


def test_hostile_mixture_of_stars_ends() -> None:
    """A pattern of many stars of both kinds decides about a long dotted name in linear time."""
    pattern = EventPattern("**a*" * 40 + ".*.z")
    name = ".".join(["a" * 40] * 60)
    assert not pattern.matches(name)
    assert pattern.matches(name + ".z")


def test_name_of_many_segments() -> None:
    """A name of 50,000 segments and a pattern of as many match without recursion."""
    segments = ["a"] * 50_000
    index = index_of(".".join([*segments, "*"]), "**.b")
    assert index.match(".".join([*segments, "b"])) == ["**.b", ".".join([*segments, "*"])]
    index.discard(".".join([*segments, "*"]))
    assert index.match(".".join([*segments, "b"])) == ["**.b"]


def test_cost_does_not_grow_with_patterns() -> None:
    """A lookup that matches none of 2,000 patterns takes as many steps as with 20."""
    few, many = (
        index_of(
            *(f"name{number}.*" for number in range(100, 100 + size)),
            *(f"*.name{number}" for number in range(100, 100 + size)),
            *(f"first{number}*.*second" for number in range(100, 100 + size)),
            *(f"**.name{number}" for number in range(100, 100 + size)),
        )
        for size in (5, 500)
    )
    assert count_calls(many, "user.login") == count_calls(few, "user.login") < 60


def test_index_keeps_what_others_share() -> None:
    """Taking a pattern out leaves those that begin like it, or go on from it, in place."""
    index = index_of("a.*", "a.*.c", "a*c", "a*b*c", "a.**")
    index.discard("a.*")
    index.discard("a*c")
    index.discard("never.added.*")
    assert sorted(index.match("a.b.c")) == ["a.**", "a.*.c"]
    assert index.match("a.b") == ["a.**"]
    assert index.match("aXbYc") == ["a*b*c"]


def test_lookups_while_patterns_change() -> None:
    """Lookups in other threads go on, and find what stays, while one thread changes the index."""
    index = index_of("user.*")
    over = threading.Event()
    wrong: list[object] = []

    def look_up() -> None:
        while not over.is_set():
            try:
                if "user.*" not in index.match("user.x1y"):
                    wrong.append("lost a pattern")
            except RuntimeError as error:
                wrong.append(error)

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    readers = [threading.Thread(target=look_up) for _ in range(2)]
    try:
        for reader in readers:
            reader.start()
        for number in range(300):
            texts = [f"user.x{number}*", f"*.{'x' * (number % 20)}*y", f"user.*{number}*y", "u**"]
            for text in texts:
                index.add(text)
            for text in texts:
                index.discard(text)
    finally:
        over.set()
        sys.setswitchinterval(interval)
        for reader in readers:
            reader.join()
    assert not wrong


def test_event_is_its_name() -> None:
    """An event is equal to its name, hashes like it and carries what it was declared with."""
    login = Event("user.login", payload=LoginData, description="A user has logged in.")
    assert login == "user.login"
    assert hash(login) == hash("user.login")
    assert isinstance(login, str)
    assert login.payload is LoginData
    assert login.description == "A user has logged in."
    assert index_of("user.*").match(login) == ["user.*"]


def test_event_defaults() -> None:
    """An event that declares nothing has no payload class and no description."""
    event = Event("app.idle")
    assert event.payload is None
    assert event.description == ""


def test_event_with_type_argument() -> None:
    """An event may be given its payload type in brackets."""
    assert Event[LoginData]("user.login", payload=LoginData).payload is LoginData


@pytest.mark.parametrize("name", [None, 3, b"user.login", ["user.login"]])
def test_event_name_must_be_text(name: Any) -> None:
    """A name that is not a string is a TypeError that shows it."""
    with pytest.raises(TypeError, match=re.escape(repr(name))):
        Event(name)
    with pytest.raises(TypeError, match=re.escape(repr(name))):
        validate_event_name(name)


def test_event_name_must_not_be_empty() -> None:
    """An empty name is a ValueError."""
    with pytest.raises(ValueError, match="empty"):
        Event("")


@pytest.mark.parametrize("payload", ["dict", dict[str, int], 3])
def test_event_payload_must_be_a_class(payload: Any) -> None:
    """A payload that is no class is a TypeError that names the event."""
    with pytest.raises(TypeError, match=r"user\.login"):
        Event("user.login", payload=payload)


def test_event_description_must_be_text() -> None:
    """A description that is not text is a TypeError that names the event."""
    description: Any = 3
    with pytest.raises(TypeError, match=r"user\.login"):
        Event("user.login", description=description)


@pytest.mark.parametrize("attribute", ["payload", "description", "other"])
def test_event_is_frozen(attribute: str) -> None:
    """Nothing can be set on an event or deleted from it."""
    event = Event("user.login", payload=LoginData)
    with pytest.raises(AttributeError, match="frozen"):
        setattr(event, attribute, str)
    with pytest.raises(AttributeError, match="frozen"):
        delattr(event, attribute)
    assert event.payload is LoginData


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_event_pickles(protocol: int) -> None:
    """A pickled event comes back with all that it carries, in every protocol."""
    event = Event("user.login", payload=LoginData, description="words")
    back = pickle.loads(pickle.dumps(event, protocol))
    assert type(back) is Event
    assert (back, back.payload, back.description) == (event, LoginData, "words")


@pytest.mark.parametrize("copier", [copy.copy, copy.deepcopy])
def test_event_copies(copier: Any) -> None:
    """A copied event carries the same as the original."""
    event = Event("user.login", payload=LoginData, description="words")
    twin = copier(event)
    assert type(twin) is Event
    assert (twin, twin.payload, twin.description) == (event, LoginData, "words")


def test_subclass_of_event_stays_what_it_is() -> None:
    """A copy of an object of a subclass is an object of the subclass."""

    class Declared(Event[dict[str, str]]):
        pass

    assert type(copy.copy(Declared("user.login", payload=dict))) is Declared


def test_lifecycle_events_are_those_documented() -> None:
    """The six lifecycle events have the names of the documentation and are all listed."""
    assert {name: name for name in LIFECYCLE_EVENTS} == {
        events.PLUGIN_REGISTERED: "nitro.plugin.registered",
        events.PLUGIN_LOADED: "nitro.plugin.loaded",
        events.PLUGIN_UNLOADED: "nitro.plugin.unloaded",
        events.PLUGIN_ERROR: "nitro.plugin.error",
        events.APP_STARTUP: "nitro.app.startup",
        events.APP_SHUTDOWN: "nitro.app.shutdown",
    }


def test_pattern_shows_its_text() -> None:
    """The representation of a pattern shows its text."""
    assert repr(EventPattern("user.*")) == "EventPattern('user.*')"


def test_all_names_exist() -> None:
    """Every name that the module exports exists."""
    assert all(hasattr(events, name) for name in events.__all__)
