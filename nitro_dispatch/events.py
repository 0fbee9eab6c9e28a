"""Events and the patterns that hooks listen to.

An event is named by a dotted string. In a pattern `*` stands for a non-empty part of one segment,
and `**` for a non-empty part that may cross dots; everything else is literal. A name with an empty
segment (`""`, `"user."`, `"a..b"`) is matched by no pattern.
"""

from __future__ import annotations

import re
from functools import partial
from typing import Any, Final, Generic, NoReturn, Optional, TypeVar, Union, overload

from nitro_dispatch.exceptions import shown

__all__ = [
    "APP_SHUTDOWN",
    "APP_STARTUP",
    "LIFECYCLE_EVENTS",
    "PLUGIN_ERROR",
    "PLUGIN_LOADED",
    "PLUGIN_REGISTERED",
    "PLUGIN_UNLOADED",
    "WILDCARD",
    "Event",
    "EventPattern",
    "PatternIndex",
    "is_pattern",
    "validate_event_name",
]

WILDCARD: Final = "*"

PLUGIN_REGISTERED: Final = "nitro.plugin.registered"
PLUGIN_LOADED: Final = "nitro.plugin.loaded"
PLUGIN_UNLOADED: Final = "nitro.plugin.unloaded"
PLUGIN_ERROR: Final = "nitro.plugin.error"
APP_STARTUP: Final = "nitro.app.startup"
APP_SHUTDOWN: Final = "nitro.app.shutdown"

LIFECYCLE_EVENTS: Final = frozenset(
    {
        PLUGIN_REGISTERED,
        PLUGIN_LOADED,
        PLUGIN_UNLOADED,
        PLUGIN_ERROR,
        APP_STARTUP,
        APP_SHUTDOWN,
    }
)

_SEPARATOR: Final = "."
_CROSSING: Final = WILDCARD * 2
# Compiled at its first use: to compile an expression takes 0.1 ms, and not all have patterns.
_TOKEN: Final = r"\*+|[^*]"
# So many integers at most of the length of a pattern are kept to match it.
_MOST_INTEGERS: Final = 64

Payload = TypeVar("Payload")


def is_pattern(text: str) -> bool:
    """Tell whether a text is a pattern, not the name of one event.

    Args:
        text: What a hook was registered under.

    Returns:
        True if it contains a star.

    Example:
        >>> is_pattern("user.*"), is_pattern("user.login")
        (True, False)
    """
    return WILDCARD in text


def validate_event_name(name: object) -> str:
    """Give an event name, or a pattern, back if it can be one.

    Args:
        name: What was given as an event name.

    Returns:
        The same name.

    Raises:
        TypeError: If it is not a string.
        ValueError: If it is empty.

    Example:
        >>> validate_event_name("user.login")
        'user.login'
    """
    if not isinstance(name, str):
        raise TypeError(f"an event name must be a string such as 'user.login', not {shown(name)}")
    if not name:
        raise ValueError("an event name must not be empty; give one such as 'user.login'")
    return name


class Event(str, Generic[Payload]):
    """A declared event: a name that also says what data it carries.

    It is a string, equal to its name, and so can be given wherever an event name can. It cannot be
    changed.

    Args:
        name: The event's name, not empty.
        payload: The class of the data that the event carries, or None if that is not declared.
        description: What the event means, in words.

    Raises:
        TypeError: If the name or the description is not a string or the payload is not a class.
        ValueError: If the name is empty.

    Example:
        >>> login = Event("user.login", payload=dict, description="A user has logged in.")
        >>> login == "user.login"
        True
        >>> login.payload
        <class 'dict'>
    """

    __slots__ = ("description", "payload")

    payload: Optional[type[Payload]]
    description: str

    @overload
    def __new__(
        cls: type[Event[Any]], name: str, *, payload: None = None, description: str = ""
    ) -> Event[Any]: ...

    @overload
    def __new__(
        cls, name: str, *, payload: type[Payload], description: str = ""
    ) -> Event[Payload]: ...

    def __new__(
        cls, name: str, *, payload: Optional[type[Any]] = None, description: str = ""
    ) -> Event[Any]:
        """Create the event."""
        self = super().__new__(cls, validate_event_name(name))
        # Generic aliases such as dict[str, int] pass for classes on Python 3.9 and 3.10 only.
        if payload is not None and not issubclass(type(payload), type):
            raise TypeError(f"the payload of event {name!r} must be a class, not {shown(payload)}")
        if not isinstance(description, str):
            raise TypeError(
                f"the description of event {name!r} must be text, not {shown(description)}"
            )
        object.__setattr__(self, "payload", payload)
        object.__setattr__(self, "description", description)
        return self

    def __setattr__(self, attribute: str, value: object) -> NoReturn:
        """Refuse any change."""
        raise AttributeError(f"event {str(self)!r} is frozen, so {attribute!r} cannot be set")

    def __delattr__(self, attribute: str) -> NoReturn:
        """Refuse any change."""
        raise AttributeError(f"event {str(self)!r} is frozen, so {attribute!r} cannot be deleted")

    def __reduce__(self) -> tuple[partial[Event[Any]], tuple[str]]:
        """Make pickle and copy create the event anew, as nothing can be set on it afterwards."""
        create = partial(type(self), payload=self.payload, description=self.description)
        return create, (str(self),)


class EventPattern:
    """What a hook was registered under: the name of one event or a pattern for many.

    Matching takes time linear in the name, whatever the pattern.

    Args:
        text: The name or pattern.

    Attributes:
        text: The name or pattern as it was given.
        is_literal: True if it is the name of one event.

    Example:
        >>> EventPattern("user.*").matches("user.login")
        True
        >>> EventPattern("user.*").matches("user.login.failed")
        False
        >>> EventPattern("user.**").matches("user.login.failed")
        True
    """

    __slots__ = ("_automaton", "_crosses", "is_literal", "prefix", "suffix", "text")

    def __init__(self, text: str) -> None:
        tokens = re.findall(_TOKEN, text)
        stars = [token for token in tokens if token[0] == WILDCARD]
        self.text: Final = text
        self.is_literal: Final = not stars
        self.prefix: Final = text.partition(WILDCARD)[0]
        self.suffix: Final = text.rpartition(WILDCARD)[2]
        self._crosses = _CROSSING in text
        self._automaton = _Automaton(tokens) if len(stars) > 1 else None

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.text!r})"

    def matches(self, name: str) -> bool:
        """Tell whether a hook under this pattern listens to an event.

        Args:
            name: The event's name. A star in it is an ordinary character.

        Returns:
            True if the pattern matches the whole name.

        Example:
            >>> EventPattern("db.before_*").matches("db.before_save")
            True
        """
        if self.is_literal:
            return name == self.text
        if "" in name.split(_SEPARATOR):
            return False
        enough = len(name) > len(self.prefix) + len(self.suffix)
        ends_match = name.startswith(self.prefix) and name.endswith(self.suffix)
        return enough and ends_match and self.matches_between(name)

    def matches_between(self, name: str) -> bool:
        """Tell whether the part of a name between the pattern's two ends matches.

        Args:
            name: A name without an empty segment, longer than the prefix and suffix together, which
                begins with the one and ends with the other.

        Returns:
            True if the pattern matches the whole name.

        Example:
            >>> EventPattern("a*c").matches_between("abc")
            True
        """
        if self._automaton is not None:
            return self._automaton.accepts(name)
        end = len(name) - len(self.suffix)
        return self._crosses or name.find(_SEPARATOR, len(self.prefix), end) < 0


class _Automaton:
    """A pattern with several stars as a nondeterministic automaton, all its states in one integer.

    Bit n is set while the first n tokens match what has been read. So each character takes one
    step, where a matcher that tries and goes back may take exponentially many.
    """

    __slots__ = ("_accepted", "_final", "_rare", "_stars")

    def __init__(self, tokens: list[str]) -> None:
        places: dict[str, list[int]] = {WILDCARD: [], _CROSSING: [], _SEPARATOR: []}
        for place, token in enumerate(tokens):
            # Three stars and more mean the same as two.
            places.setdefault(token[:2], []).append(place)
        crossing = _bits(places.pop(_CROSSING))
        separators = _bits(places.pop(_SEPARATOR))
        self._stars = _bits(places.pop(WILDCARD)) | crossing
        # Each integer is as long as the pattern: with one for every character that there is, a
        # long pattern would take the square of its length.
        few = len(tokens) // _MOST_INTEGERS
        self._rare = {char: here for char, here in places.items() if len(here) < few}
        self._accepted = {
            char: _bits(here) | self._stars for char, here in places.items() if len(here) >= few
        }
        self._accepted[_SEPARATOR] = separators | crossing
        self._final = 1 << len(tokens)

    def accepts(self, text: str) -> bool:
        """Tell whether the tokens match the whole text."""
        reached = 1
        for char in text:
            accepted = self._accepted.get(char, self._stars)
            if char in self._rare:
                accepted |= _bits(self._rare[char])
            # A star that has taken one character may take the next one too.
            staying = reached & (accepted & self._stars) << 1
            reached = (reached & accepted) << 1 | staying
            if not reached:
                return False
        return bool(reached & self._final)


def _bits(places: list[int]) -> int:
    """Make an integer with the bits at some places, in ascending order, set."""
    bits = bytearray(places[-1] // 8 + 1 if places else 0)
    for place in places:
        bits[place // 8] |= 1 << place % 8
    return int.from_bytes(bits, "little")


class PatternIndex:
    """A set of patterns that finds all that match a name.

    Looking a name up costs about as much as it has segments, however many patterns there are. One
    thread at a time may change the index; any number may look names up meanwhile, without a lock.

    Example:
        >>> index = PatternIndex()
        >>> for text in ("user.*", "*.login", "db.*"):
        ...     index.add(text)
        >>> sorted(index.match("user.login"))
        ['*.login', 'user.*']
    """

    __slots__ = ("_literals", "_root")

    def __init__(self) -> None:
        self._literals: set[str] = set()
        self._root = _Node()

    def add(self, pattern_text: str) -> None:
        """Add a pattern or a name; one that is there already stays there once.

        Args:
            pattern_text: What a hook was registered under.

        Example:
            >>> index = PatternIndex()
            >>> index.add("user.*")
            >>> index.match("user.login")
            ['user.*']
        """
        if not is_pattern(pattern_text):
            self._literals.add(pattern_text)
            return
        node = self._root
        for part in _split(pattern_text):
            branches = node.branches(part)
            branch = branches.get(part)
            if branch is None:
                branch = branches[part] = _Node()
            node = branch
        node.pattern = pattern_text

    def discard(self, pattern_text: str) -> None:
        """Take a pattern or a name out, if it is there.

        Args:
            pattern_text: What was added.

        Example:
            >>> index = PatternIndex()
            >>> index.add("user.*")
            >>> index.discard("user.*")
            >>> index.match("user.login")
            []
        """
        if not is_pattern(pattern_text):
            self._literals.discard(pattern_text)
            return
        node = self._root
        path = []
        for part in _split(pattern_text):
            branches = node.branches(part)
            branch = branches.get(part)
            if branch is None:
                return
            path.append((branches, part, branch))
            node = branch
        node.pattern = ""
        # What leads nowhere any more goes too, so that patterns that come and go need no memory.
        for branches, part, branch in reversed(path):
            if branch.is_empty():
                del branches[part]

    def match(self, name: str) -> list[str]:
        """Find all that match a name.

        Args:
            name: The name of an event that is triggered.

        Returns:
            The patterns as they were added, in no particular order.

        Example:
            >>> index = PatternIndex()
            >>> index.add("user.**")
            >>> index.match("user.login.failed"), index.match("user"), index.match("user..login")
            (['user.**'], [], [])
        """
        matched = [str(name)] if name in self._literals else []
        segments = name.split(_SEPARATOR)
        if "" in segments:
            return matched
        nodes = [self._root]
        start = 0
        for segment in segments:
            following: list[_Node] = []
            for node in nodes:
                if node.tails:
                    matched += [tail.pattern for tail in node.tails.find(name[start:])]
                literal = node.literals.get(segment)
                if literal is not None:
                    following.append(literal)
                if node.segments:
                    following += node.segments.find(segment)
            if not following:
                return matched
            nodes = following
            start += len(segment) + 1
        return matched + [node.pattern for node in nodes if node.pattern]


def _split(pattern_text: str) -> list[str]:
    """Split a pattern into segments; what crosses dots and all that follows is one part."""
    before, crossing, _ = pattern_text.partition(_CROSSING)
    if not crossing:
        return pattern_text.split(_SEPARATOR)
    whole_segments = before.count(_SEPARATOR)
    return pattern_text.split(_SEPARATOR, whole_segments)


class _Node:
    """What may follow one sequence of pattern segments."""

    __slots__ = ("literals", "pattern", "segments", "tails")

    def __init__(self) -> None:
        self.pattern = ""
        self.literals: dict[str, _Node] = {}
        self.segments = _Wildcards()
        self.tails = _Wildcards()

    def branches(self, part: str) -> Union[dict[str, _Node], _Wildcards]:
        """Give the collection that a part of a pattern belongs to."""
        if _CROSSING in part:
            return self.tails
        return self.segments if WILDCARD in part else self.literals

    def is_empty(self) -> bool:
        """Tell whether no pattern ends here or further on."""
        return not (self.pattern or self.literals or self.segments or self.tails)


_Branches = dict[str, tuple[EventPattern, _Node]]


class _Wildcards:
    """Nodes by parts of patterns with a star, found by the literal text at both ends of the part.

    Parts whose ends have the same lengths share one dictionary, so that a lookup costs as much as
    there are different lengths, not parts. What `find` loops over is replaced, never changed.
    """

    __slots__ = ("_by_lengths",)

    def __init__(self) -> None:
        self._by_lengths: dict[tuple[int, int], dict[tuple[str, str], _Branches]] = {}

    def __len__(self) -> int:
        return len(self._by_lengths)

    def get(self, part: str) -> Optional[_Node]:
        """Give the node of a part, or None."""
        lengths, ends = _ends_of(part)
        _, node = self._by_lengths.get(lengths, {}).get(ends, {}).get(part, (None, None))
        return node

    def __setitem__(self, part: str, node: _Node) -> None:
        lengths, ends = _ends_of(part)
        by_ends = self._by_lengths.get(lengths, {})
        branches = {**by_ends.get(ends, {}), part: (EventPattern(part), node)}
        self._by_lengths = {**self._by_lengths, lengths: by_ends}
        by_ends[ends] = branches

    def __delitem__(self, part: str) -> None:
        lengths, ends = _ends_of(part)
        by_ends = self._by_lengths[lengths]
        branches = {text: branch for text, branch in by_ends[ends].items() if text != part}
        if branches:
            by_ends[ends] = branches
            return
        del by_ends[ends]
        if not by_ends:
            kept = {key: value for key, value in self._by_lengths.items() if key != lengths}
            self._by_lengths = kept

    def find(self, text: str) -> list[_Node]:
        """Give the nodes of all parts that match a text without an empty segment."""
        found: list[_Node] = []
        length = len(text)
        for (before, after), by_ends in self._by_lengths.items():
            if length > before + after:
                branches = by_ends.get((text[:before], text[length - after :]))
                if branches is not None:
                    found += [
                        node for pattern, node in branches.values() if pattern.matches_between(text)
                    ]
        return found


def _ends_of(part: str) -> tuple[tuple[int, int], tuple[str, str]]:
    """Give the literal text before the first star and after the last one, and their lengths."""
    before, after = part.partition(WILDCARD)[0], part.rpartition(WILDCARD)[2]
    return (len(before), len(after)), (before, after)
