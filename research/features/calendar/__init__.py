"""Calendar: where a bar stands in the day, the week and the exchange's timetable."""

from __future__ import annotations

from research.features.calendar import (
    funding_countdown,
    hour_close,
    hour_cycle,
    option_expiry,
    sessions,
    week_cycle,
)
from research.kernel import KernelSpec

SPECS: tuple[KernelSpec, ...] = (
    funding_countdown.SPEC,
    hour_close.SPEC,
    hour_cycle.SPEC,
    option_expiry.SPEC,
    sessions.SPEC,
    week_cycle.SPEC,
)
