"""Time to the next funding settlement as the venue published it. Registered in the catalogue as ``funding_time``."""

from __future__ import annotations

import math

from research.features.validity import GAP, is_price, is_volume
from research.kernel import FloatArray, KernelSpec, kernel


@kernel
def funding_time(funding_interval: FloatArray, funding_age: FloatArray, state: FloatArray, out: FloatArray) -> None:
    """Write the minutes from each bar's close to the next funding settlement, and the share of the interval gone.

    Parameters
    ----------
    funding_interval : (n,) array
        Hours between settlements.
    funding_age : (n,) array
        Minutes since the last settlement, at the close of the bar.
    state : (0,) array
        Nothing is remembered.
    out : (2, n) array
        Minutes from the close of the bar, 0 where the settlement is due but has not been published; share in [0, 1].

    Notes
    -----
    Counted from the close of the bar. ``funding_countdown`` asks the clock alone, for an interval that is known
    beforehand, and counts from the open: one bar's length more, where no settlement falls into the bar.
    """
    for i in range(funding_interval.shape[0]):
        hours, age = funding_interval[i], funding_age[i]
        if not (is_price(hours) and is_volume(age)):
            out[0, i] = out[1, i] = math.nan
            continue
        whole = 60.0 * hours
        out[0, i] = max(whole - age, 0.0)
        out[1, i] = min(age / whole, 1.0)


SPEC = KernelSpec(
    name="funding_time",
    kernel=funding_time,
    inputs=("funding_interval", "funding_age"),
    params=(),
    outputs=("minutes", "elapsed"),
    state_size=lambda: 0,
    lookback=lambda: 1,
    warmup=lambda: 1,
    warmup_rtol=0.0,
    unit="minutes; fraction of the interval",
    gap=GAP,
    reference="Bybit, Introduction to Funding Rate",
)
