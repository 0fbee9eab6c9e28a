"""Where plugins may be, and what they say of themselves without being run."""

from __future__ import annotations

from typing import Final

__all__ = ["DISCOVERED_PACKAGE"]

# The modules of plugin files are imported under names in it.
DISCOVERED_PACKAGE: Final = "nitro_dispatch._discovered"
