"""References that keep alive nothing that can do without them."""

from __future__ import annotations

import functools
import weakref
from typing import Callable

__all__ = ["reference_to"]


def reference_to(thing: object) -> Callable[[], object]:
    """Refer to something weakly, or strongly where its type has no weak references.

    Args:
        thing: Any object.

    Returns:
        What gives the object; None once it is gone.

    Example:
        >>> reference_to("text")()
        'text'
    """
    try:
        return weakref.ref(thing)
    except TypeError:
        return functools.partial(_identity, thing)


def _identity(thing: object) -> object:
    return thing
