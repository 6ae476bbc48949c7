"""Durations, for plans and for saving now and then; it never tells the time, and no result depends on it."""

from __future__ import annotations

import time


class Stopwatch:
    """Counts seconds from the moment it is made or was last reset."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Begin anew."""
        self._begin = time.perf_counter()

    @property
    def seconds(self) -> float:
        """Seconds since."""
        return time.perf_counter() - self._begin
