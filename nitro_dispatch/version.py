"""The version of the library."""

from __future__ import annotations

__all__ = ["__version__"]

# The build reads it by a pattern, which knows no `Final`.
__version__ = "2.0.0"
