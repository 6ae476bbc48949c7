"""Time of the UTC week as a point on a circle, and its day. Registered in the catalogue as ``week_cycle``."""

from __future__ import annotations

import math

from research.features.calendar.civil_days import DAY_NS, weekday
from research.kernel import FloatArray, IntArray, KernelSpec, kernel


@kernel
def week_cycle(ts: IntArray, state: FloatArray, out: FloatArray) -> None:
    r"""Write the day of the week as a cycle: sine and cosine of the time at which each bar opens, weekday, weekend.

    Parameters
    ----------
    ts : (n,) array of int64
        Open time, nanoseconds since the epoch, UTC.
    state : (0,) array
        Nothing is remembered.
    out : (4, n) array
        Sine and cosine of :math:`2 \pi` times the fraction of the week; Monday, midnight, is (0, 1). Weekday, Monday
        0 to Sunday 6. 1 on Saturdays and Sundays, 0 on other days.

    Notes
    -----
    Time and day are those of the bar's open: at its close, when they are known, it is one bar's length later.
    """
    for i in range(ts.shape[0]):
        day = ts[i] // DAY_NS
        at = weekday(day)
        angle = 2.0 * math.pi * ((at + (ts[i] - day * DAY_NS) / DAY_NS) / 7.0)
        out[0, i] = math.sin(angle)
        out[1, i] = math.cos(angle)
        out[2, i] = at
        out[3, i] = 1.0 if at >= 5 else 0.0


SPEC = KernelSpec(
    name="week_cycle",
    kernel=week_cycle,
    inputs=("ts",),
    params=(),
    outputs=("sin", "cos", "weekday", "weekend"),
    state_size=lambda: 0,
    lookback=lambda: 1,
    warmup=lambda: 1,
    warmup_rtol=0.0,
    unit="1; day of the week",
    gap="none: time passes in a gap as elsewhere",
    reference="definition; ISO 8601 weekdays, counted from 0",
)
