"""Funding rate of the interval under way from its premium. Registered in the catalogue as ``predicted_funding``."""

from __future__ import annotations

import math

from research.features.derivatives.price_gap import relative_gap
from research.features.validity import GAP, is_price
from research.kernel import FloatArray, IntArray, KernelSpec, Param, kernel

MINUTE_NS = 60_000_000_000
DAY_NS = 1_440 * MINUTE_NS


@kernel
def predicted_funding(
    ts: IntArray,
    mark: FloatArray,
    index: FloatArray,
    interval_hours: int,
    interest: float,
    band: float,
    state: FloatArray,
    out: FloatArray,
) -> None:
    r"""Advance the premium averaged since the last settlement, and the rate that it would settle at.

    .. math::

        P_t = \frac{\sum_j j \, p_j}{\sum_j j}, \qquad
        F_t = P_t + \min(\max(I - P_t, -band), band), \qquad I = interest \cdot \frac{interval}{24}

    with :math:`p_j` the premium of the mark price over the index in minute :math:`j` of the interval: the later, the
    heavier.

    Parameters
    ----------
    ts : (n,) array of int64
        Open time, nanoseconds since the epoch, UTC.
    mark, index : (n,) array
        Quote currency.
    interval_hours : int
        Hours between settlements, counted from midnight UTC; midnight always is one.
    interest : float
        Interest rate per day.
    band : float
        Furthest that the interest may pull the rate from the premium, per interval.
    state : (3,) array
        Number of the interval, 24 to a day; sum of the weighted premiums since it began; of their weights.
    out : (2, n) array
        Rate, fraction per interval; average premium.

    Notes
    -----
    A cold start in the middle of an interval averages what it saw of it, and is right from the next settlement on: the
    warm-up counts bars of one minute, and longer bars need fewer. The mark price stands for the prices at which a given
    size could be traded, which the venue takes, and its cap and floor, which differ by instrument, are not applied.
    """
    interval = interval_hours * 60 * MINUTE_NS
    drift = interest * interval_hours / 24.0
    at, premiums, weights = state[0], state[1], state[2]
    for i in range(ts.shape[0]):
        if not (is_price(mark[i]) and is_price(index[i])):
            out[0, i] = out[1, i] = math.nan
            continue
        day = ts[i] // DAY_NS
        in_day = ts[i] - day * DAY_NS
        part = in_day // interval
        number = 24.0 * day + part
        if number != at:
            at, premiums, weights = number, 0.0, 0.0
        weight = (in_day - part * interval) // MINUTE_NS + 1.0
        premiums += weight * relative_gap(mark[i], index[i])
        weights += weight
        average = premiums / weights
        out[0, i] = average + min(max(drift - average, -band), band)
        out[1, i] = average
    state[0], state[1], state[2] = at, premiums, weights


SPEC = KernelSpec(
    name="predicted_funding",
    kernel=predicted_funding,
    inputs=("ts", "mark", "index"),
    params=(
        Param("interval_hours", 8, 1, 24),
        Param("interest", 0.0003, -1.0, 1.0),
        Param("band", 0.0005, 0.0, 1.0),
    ),
    outputs=("rate", "premium"),
    state_size=lambda interval_hours, interest, band: 3,
    lookback=lambda interval_hours, interest, band: 1,
    warmup=lambda interval_hours, interest, band: 60 * interval_hours,
    warmup_rtol=0.0,
    unit="fraction per interval",
    gap=GAP,
    reference="Bybit, Introduction to Funding Rate: time-weighted premium, clamped interest rate",
)
