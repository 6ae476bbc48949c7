"""Funding rate, per year, against its past, and paid lately. Registered in the catalogue as ``funding``."""

from __future__ import annotations

import math

from research.features.validity import CEILING, GAP, is_number, is_price, is_volume
from research.kernel import FloatArray, IntArray, KernelSpec, Param, kernel

MINUTE_NS = 60_000_000_000
HOURS_PER_YEAR = 8_760.0
LONGEST_INTERVAL = 480  # minutes: that of the warm-up


@kernel
def funding(
    ts: IntArray,
    funding_rate: FloatArray,
    funding_interval: FloatArray,
    funding_age: FloatArray,
    settlements: int,
    state: FloatArray,
    out: FloatArray,
) -> None:
    r"""Advance the funding rate: as settled, per year, and against and summed over the last settlements.

    .. math::

        z = \frac{r_0 - \bar r}{s}, \qquad paid = \sum_{j < settlements} r_j

    with :math:`r_0` the newest settled rate, :math:`\bar r` and :math:`s` the mean and the sample standard deviation
    of it and those before it.

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
    settlements : int
        Settlements that count, the newest among them. The default is a week of those of 8 hours.
    state : (5 + settlements,) array
        Interval of the bar before (0: none); minute of its last settlement; settlements known, up to
        ``settlements``; z-score; sum; their rates, newest first.
    out : (4, n) array
        Rate; per year without compounding, ``rate * 24 / interval * 365``; z-score, 0 while fewer than two
        settlements are known and when all are equal; sum of the rates: what a long paid, a short received, as a
        fraction of its value. Never NaN on a readable bar: while fewer settlements are known, those count.

    Notes
    -----
    The sample is one rate per settlement, not per bar: after a stretch of equal rates a z-score over bars would
    measure how many bars the new one has stood. Several settlements since the bar before (a bar longer than the
    interval, or bars missing) are all taken at the newest rate, as their own never was in a bar. They are counted by
    the longer interval where it changed, so that the first of a shorter one is not taken for two. A rate that changes
    without a settlement replaces the newest.

    The warm-up is that of bars of one minute and settlements every 8 hours, the longest usual interval, with one
    interval to spare for a rate that is published late: a longer interval needs as many times more bars, longer bars
    and shorter intervals fewer.
    """
    before, settled, known = state[0], state[1], int(state[2])
    score, paid = state[3], state[4]
    rates = state[5 : 5 + settlements]
    for i in range(ts.shape[0]):
        rate, hours, age = funding_rate[i], funding_interval[i], funding_age[i]
        if not (is_number(rate) and is_price(hours) and is_volume(age)):
            for j in range(4):
                out[j, i] = math.nan
            continue
        minute = ts[i] / MINUTE_NS - age
        times = 0
        if before <= 0.0:
            times = 1
        elif minute > settled + 0.5:  # the age may be rounded to whole minutes
            intervals = min((minute - settled) / (60.0 * max(hours, before)), 1.0 * settlements)
            times = int(max(math.floor(intervals + 0.5), 1.0))
        if times > 0 or rate != rates[0]:
            for j in range(settlements - 1, times - 1, -1):
                rates[j] = rates[j - times]
            for j in range(max(times, 1)):
                rates[j] = rate
            known = min(known + times, settlements)
            score, paid = _score_and_sum(rates, known)
        before, settled = hours, minute
        out[0, i] = rate
        out[1, i] = min(max(rate / hours * HOURS_PER_YEAR, -CEILING), CEILING)
        out[2, i], out[3, i] = score, paid
    state[0], state[1], state[2], state[3], state[4] = before, settled, known, score, paid


@kernel
def _score_and_sum(rates: FloatArray, known: int) -> tuple[float, float]:
    # Gaps to the newest: of equal rates they are exactly 0.
    gaps, total, squares = 0.0, 0.0, 0.0
    for j in range(known):
        gaps += rates[j] - rates[0]
        total += rates[j]
    mean = gaps / known
    for j in range(known):
        gap = rates[j] - rates[0] - mean
        squares += gap * gap
    return (-mean / math.sqrt(squares / (known - 1)) if squares > 0.0 else 0.0), total


SPEC = KernelSpec(
    name="funding",
    kernel=funding,
    inputs=("ts", "funding_rate", "funding_interval", "funding_age"),
    params=(Param("settlements", 21, 2, 1_000),),
    outputs=("rate", "annualised", "zscore", "paid"),
    state_size=lambda settlements: 5 + settlements,
    lookback=lambda settlements: 1,
    warmup=lambda settlements: settlements * LONGEST_INTERVAL,
    warmup_rtol=0.0,
    unit="fraction per interval; per year; standard deviations; fraction of the position's value",
    gap=GAP,
    reference="Bybit, Introduction to Funding Rate",
)
