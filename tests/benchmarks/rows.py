"""All rows of the benchmark."""

from __future__ import annotations

from typing import Final

import dispatching
import dispatching_async
import failing
import peers
import time_limits
from measuring import Row

ROWS: Final[tuple[Row, ...]] = (
    *dispatching.ROWS,
    *dispatching_async.ROWS,
    *time_limits.ROWS,
    *failing.ROWS,
    *peers.ROWS,
)
