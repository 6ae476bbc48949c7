"""Time to the next funding settlement by the clock. Registered in the catalogue as ``funding_countdown``."""

from __future__ import annotations

from research.features.calendar.civil_days import DAY_NS, HOUR_NS, MINUTE_NS
from research.kernel import FloatArray, IntArray, KernelSpec, Param, kernel


@kernel
def funding_countdown(ts: IntArray, interval_hours: int, state: FloatArray, out: FloatArray) -> None:
    """Write the minutes from each bar's open to the next funding settlement, and the share of the interval gone.

    Parameters
    ----------
    ts : (n,) array of int64
        Open time, nanoseconds since the epoch, UTC.
    interval_hours : int
        Hours between settlements, counted from midnight UTC; midnight always is one, so that the last interval of the
        day is shorter where they do not divide 24.
    state : (0,) array
        Nothing is remembered.
    out : (2, n) array
        Minutes, above 0: a bar that opens at a settlement waits for the next one. Share of the interval that is gone,
        in [0, 1).

    Notes
    -----
    It asks only the clock; ``funding_time`` reads the interval and the settlement that the venue published.

    Counted from the open of the bar: at its close, when it is known, one bar's length less remains. ``funding_time``
    counts from the close.
    """
    interval = interval_hours * HOUR_NS
    for i in range(ts.shape[0]):
        in_day = ts[i] % DAY_NS
        gone = in_day % interval
        whole = min(interval, DAY_NS - (in_day - gone))
        out[0, i] = (whole - gone) / MINUTE_NS
        out[1, i] = gone / whole


SPEC = KernelSpec(
    name="funding_countdown",
    kernel=funding_countdown,
    inputs=("ts",),
    params=(Param("interval_hours", 8, 1, 24),),
    outputs=("minutes", "elapsed"),
    state_size=lambda interval_hours: 0,
    lookback=lambda interval_hours: 1,
    warmup=lambda interval_hours: 1,
    warmup_rtol=0.0,
    unit="minutes; fraction of the interval",
    gap="none: time passes in a gap as elsewhere",
    reference="Bybit, Introduction to Funding Rate: settlements at 00:00, 08:00 and 16:00 UTC",
)
