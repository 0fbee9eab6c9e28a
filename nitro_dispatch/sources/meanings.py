"""What a name in a source file may stand for, told without running it."""

from __future__ import annotations

import builtins
from typing import Final

from nitro_dispatch.frozen import Frozen

__all__ = ["UNTOLD", "Constant", "Meaning", "Opaque", "Reference", "shortened", "weight_of"]

_PACKAGE: Final = "nitro_dispatch"

# What is made of texts that a file has once may be kept for each of its lines or classes: where
# that grew with them, a small file could fill the memory.
_LONGEST_TEXT: Final = 200
_LONGEST_MODULE: Final = 1_000

# What these modules offer never makes a hook or a plugin of what has nothing to do with either.
_STANDARD: Final = (
    *("abc", "asyncio", "collections", "contextlib", "contextvars", "dataclasses", "datetime"),
    *("decimal", "enum", "functools", "itertools", "json", "logging", "math", "operator", "os"),
    *("pathlib", "queue", "random", "re", "string", "sys", "tempfile", "threading", "time"),
    *("types", "typing", "typing_extensions", "uuid", "weakref"),
)


def shortened(text: str) -> str:
    """Cut a text that is to be read by people.

    Args:
        text: Any text.

    Returns:
        The text, or its beginning with dots.

    Example:
        >>> shortened("is not a literal")
        'is not a literal'
        >>> len(shortened("a" * 5_000))
        200
    """
    return text if len(text) <= _LONGEST_TEXT else f"{text[: _LONGEST_TEXT - 3]}..."


class Meaning:
    """What a name or an expression stands for; of this class itself, what cannot be told.

    Attributes:
        reason: Why it has no value that can be told, to follow the name in a sentence.
        trusted: Whether only literals and the standard library take part in it, so that it is
            neither a plugin nor a hook.
        weight: How much there is to copy or to look at for whoever says it.
    """

    reason: str = "cannot be told"
    trusted: bool = False
    weight: int = 1

    def member(self, name: str) -> Meaning:
        """Tell what one of its attributes stands for."""
        return UNTOLD

    def is_own(self, name: str) -> bool:
        """Tell whether it is what this library has under a name, in any of its modules."""
        return False

    def is_standard(self, *names: str) -> bool:
        """Tell whether it is what the language or its library has under one of some names."""
        return False


UNTOLD: Final = Meaning()


def weight_of(value: object) -> int:
    """Tell how much there is in a value: characters, and elements of a collection.

    Args:
        value: A literal.

    Returns:
        The number of them, at least 1.

    Example:
        >>> weight_of("cache"), weight_of(["cache", "store"]), weight_of(3)
        (6, 13, 1)
    """
    if isinstance(value, dict):
        value = list(value.items())
    if isinstance(value, (list, tuple, set)):
        return 1 + sum(map(weight_of, value))
    return 1 + len(value) if isinstance(value, (str, bytes)) else 1


class Constant(Frozen, Meaning):
    """A value.

    Args:
        value: What `ast.literal_eval` would give, or a little more: names and sums are known too.
    """

    value: object
    trusted = True

    @property
    def weight(self) -> int:  # type: ignore[override]
        """How much there is to copy or to look at for whoever says it."""
        return weight_of(self.value)


class Opaque(Frozen, Meaning):
    """Something that only running the file would tell."""

    reason: str
    trusted: bool = False


class Reference(Frozen, Meaning):
    """A name that a module has.

    Args:
        name: The name there; empty for the module itself.
        module: The module that it is imported from; empty for the file that was read.
        level: The leading dots of a relative import.

    Example:
        >>> Reference("AuditPlugin", "plugin", 1).reason
        'is imported from .plugin'
        >>> Reference("AuditPlugin").is_local
        True
        >>> Reference.parse(".plugin:AuditPlugin")
        Reference(name='AuditPlugin', module='plugin', level=1)
    """

    name: str
    module: str = ""
    level: int = 0

    @classmethod
    def parse(cls, text: str) -> Reference:
        """Read what `str` gives of a reference."""
        module, _, name = text.partition(":")
        absolute = module.lstrip(".")
        return cls(name, absolute, len(module) - len(absolute))

    def __str__(self) -> str:
        return f"{'.' * self.level}{self.module[:_LONGEST_MODULE]}:{self.name}"

    @property
    def is_local(self) -> bool:
        """Whether the file that was read defines it."""
        return not (self.module or self.level)

    def is_own(self, name: str) -> bool:
        """Tell whether it is what this library has under a name, in any of its modules."""
        return self.name == name and self._is_below(_PACKAGE)

    def is_standard(self, *names: str) -> bool:
        """Tell whether it is what the language or its library has under one of some names."""
        return self.name in names and self._is_below(builtins.__name__, *_STANDARD)

    @property
    def is_builtin(self) -> bool:
        """Whether the language defines it."""
        return self.module == builtins.__name__ and not self.level

    @property
    def reason(self) -> str:  # type: ignore[override]
        """Why it has no value that can be told."""
        if self.is_builtin:
            return "is built in"
        return f"is imported from {'.' * self.level}{self.module}"

    @property
    def trusted(self) -> bool:  # type: ignore[override]
        """Whether it is a class of the language or belongs to the standard library."""
        if self.is_builtin:
            return isinstance(getattr(builtins, self.name, None), type)
        return self._is_below(*_STANDARD)

    def _is_below(self, *packages: str) -> bool:
        return not self.level and self.module.partition(".")[0] in packages

    def member(self, name: str) -> Reference:
        """Name one of its attributes."""
        module = f"{self.module[:_LONGEST_MODULE]}.{self.name}".strip(".")
        return Reference(name, module, self.level)
