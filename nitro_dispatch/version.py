"""The version of the library."""

from __future__ import annotations

from typing import Final

__all__ = ["__version__"]

__version__: Final = "2.0.0"
