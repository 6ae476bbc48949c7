"""Minutes to the close of the UTC hour. Registered in the catalogue as ``hour_close``."""

from __future__ import annotations

from research.features.calendar.civil_days import HOUR_NS, MINUTE_NS
from research.kernel import FloatArray, IntArray, KernelSpec, kernel


@kernel
def hour_close(ts: IntArray, state: FloatArray, out: FloatArray) -> None:
    """Write the minutes from the open of each bar to the close of the hour in which it opens.

    Parameters
    ----------
    ts : (n,) array of int64
        Open time, nanoseconds since the epoch, UTC.
    state : (0,) array
        Nothing is remembered.
    out : (1, n) array
        In (0, 60]: 60 for a bar that opens on the hour, 1 for the last bar of one minute. A bar that is as long as
        this number, or longer, closes with the hour or after it.

    Notes
    -----
    Counted from the open of the bar: at its close, when it is known, one bar's length less remains.
    """
    for i in range(ts.shape[0]):
        out[0, i] = (HOUR_NS - ts[i] % HOUR_NS) / MINUTE_NS


SPEC = KernelSpec(
    name="hour_close",
    kernel=hour_close,
    inputs=("ts",),
    params=(),
    outputs=("",),
    state_size=lambda: 0,
    lookback=lambda: 1,
    warmup=lambda: 1,
    warmup_rtol=0.0,
    unit="minutes",
    gap="none: time passes in a gap as elsewhere",
    reference="definition",
)
