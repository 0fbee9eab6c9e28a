"""Plugins for any application: found, ordered, loaded, and called by events."""

from __future__ import annotations

__all__ = ["__version__"]

__version__ = "2.0.0"
