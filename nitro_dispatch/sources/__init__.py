"""Where plugins may be, and what they say of themselves without being run."""

from __future__ import annotations

import os
from typing import Final

from nitro_dispatch.exceptions import PluginDiscoveryError

__all__ = ["DISCOVERED_PACKAGE", "OPEN_FLAGS", "NothingThere"]

# The modules of plugin files are imported under names in it.
DISCOVERED_PACKAGE: Final = "nitro_dispatch._discovered"

# For a file of which it is not known what it is. Windows would translate the ends of lines.
# Elsewhere a pipe would keep the process waiting for somebody to write to it.
OPEN_FLAGS: Final = os.O_RDONLY | getattr(os, "O_BINARY", 0) | getattr(os, "O_NONBLOCK", 0)


class NothingThere(PluginDiscoveryError):
    """An entry point names what no import will find, as far as can be told without one."""
