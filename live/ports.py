"""The world outside, as protocols: the clock. Only this module reads it."""

from __future__ import annotations

import time
from typing import Protocol


class Clock(Protocol):
    """Tells the time."""

    def now_ns(self) -> int:
        """Return UTC nanoseconds since the epoch."""
        ...


class SystemClock:
    """The machine's clock."""

    def now_ns(self) -> int:
        """Return UTC nanoseconds since the epoch."""
        return time.time_ns()
