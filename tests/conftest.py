"""What all tests need."""

from __future__ import annotations

from hypothesis import settings

# How long one example takes depends on what else the machine does: it proves nothing.
settings.register_profile("nitro_dispatch", deadline=None)
settings.load_profile("nitro_dispatch")
