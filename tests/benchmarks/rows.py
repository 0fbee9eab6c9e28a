"""All rows of the benchmark."""

from __future__ import annotations

from typing import Final

import dispatching
import dispatching_async
import failing
import importing
import listing
import peers
import scale
import starting
import time_limits
from measuring import Row

ROWS: Final[tuple[Row, ...]] = (
    *dispatching.ROWS,
    *dispatching_async.ROWS,
    *time_limits.ROWS,
    *failing.ROWS,
    *scale.ROWS,
    *listing.ROWS,
    *importing.ROWS,
    *starting.ROWS,
    *peers.ROWS,
)
