"""Funding rate, per year, against its past, and paid lately. Registered in the catalogue as ``funding``."""

from __future__ import annotations

import math

from research.features.transforms.standard_score import standard_score
from research.features.validity import CEILING, GAP, is_number, is_price, is_volume
from research.features.window import WINDOW_RTOL, moments_size, sum_size, windowed_sum
from research.kernel import FloatArray, IntArray, KernelSpec, Param, kernel

MINUTE_NS = 60_000_000_000
HOURS_PER_YEAR = 8_760.0
MOST_MISSED = 1_000.0


@kernel
def funding(
    ts: IntArray,
    funding_rate: FloatArray,
    funding_interval: FloatArray,
    funding_age: FloatArray,
    length: int,
    state: FloatArray,
    out: FloatArray,
) -> None:
    r"""Advance the funding rate: as settled, per year, as a z-score, and summed over the settlements of a window.

    Parameters
    ----------
    ts : (n,) array of int64
        Open time, nanoseconds since the epoch, UTC. With the age it tells one settlement from the next.
    funding_rate : (n,) array
        Rate of the last settlement, fraction of the position's value per interval; above 0 longs pay.
    funding_interval : (n,) array
        Hours between settlements.
    funding_age : (n,) array
        Minutes since the last settlement, at the close of the bar.
    length : int
        Bars in the window, the newest among them. The default is a week of one minute bars: 21 settlements.
    state : (9 + 3 length,) array
        Interval of the bar before (0: none); minute of its last settlement; then as ``windowed_sum`` and
        ``windowed_moments``.
    out : (4, n) array
        Rate; per year without compounding, ``rate * 24 / interval * 365``; distance of the rate from its mean over
        the window in sample standard deviations, 0 when all are equal; sum of the rates settled within the window:
        what a long paid, a short received, as a fraction of its value. NaN until ``length`` bars have followed one.

    Notes
    -----
    The z-score takes bars as its sample, a rate counting as long as it stood, and not settlements: how many bars those
    need depends on an interval that is an input. Several settlements since the bar before (a bar longer than the
    interval, or bars missing) are all taken at the newest rate, as their own never was in a bar. They are counted by
    the longer interval where it changed, so that the first of a shorter one is not taken for two.
    """
    before, settled = state[0], state[1]
    for i in range(ts.shape[0]):
        rate, hours, age = funding_rate[i], funding_interval[i], funding_age[i]
        for j in range(4):
            out[j, i] = math.nan
        if not (is_number(rate) and is_price(hours) and is_volume(age)):
            continue
        minute = ts[i] / MINUTE_NS - age
        if before > 0.0:
            times = 0.0
            if minute > settled + 0.5:  # the age may be rounded to whole minutes
                intervals = (minute - settled) / (60.0 * max(hours, before))
                times = min(max(math.floor(intervals + 0.5), 1.0), MOST_MISSED)
            paid = windowed_sum(state, 2, length, rate * times)
            _, score = standard_score(state, 5 + length, length, rate)
            if not math.isnan(paid):  # the window is full
                out[0, i] = rate
                out[1, i] = min(max(rate / hours * HOURS_PER_YEAR, -CEILING), CEILING)
                out[2, i], out[3, i] = score, paid
        before, settled = hours, minute
    state[0], state[1] = before, settled


SPEC = KernelSpec(
    name="funding",
    kernel=funding,
    inputs=("ts", "funding_rate", "funding_interval", "funding_age"),
    params=(Param("length", 10_080, 2, 100_000),),
    outputs=("rate", "annualised", "zscore", "paid"),
    state_size=lambda length: 2 + sum_size(length) + moments_size(length),
    lookback=lambda length: length + 1,
    warmup=lambda length: length + 1,
    warmup_rtol=WINDOW_RTOL,
    unit="fraction per interval; per year; standard deviations; fraction of the position's value",
    gap=GAP,
    reference="Bybit, Introduction to Funding Rate",
)
