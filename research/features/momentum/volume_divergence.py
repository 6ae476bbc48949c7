"""Divergence of price and on-balance volume between pivots. Registered in the catalogue as ``volume_divergence``."""

from __future__ import annotations

import math

from research.features.momentum.pivot_pairs import (
    DIVERGENCES,
    KINDS,
    OUTPUTS,
    confirmed_pivots,
    diverge,
    pivots_size,
    record_divergences,
)
from research.features.momentum.price_bars import is_bar
from research.features.validity import GAP, is_volume
from research.kernel import FloatArray, KernelSpec, Param, kernel


@kernel
def volume_divergence(
    high: FloatArray,
    low: FloatArray,
    close: FloatArray,
    volume: FloatArray,
    left: int,
    right: int,
    max_age: int,
    state: FloatArray,
    out: FloatArray,
) -> None:
    r"""Advance the volume (OBV) divergences, regular and hidden, between the two newest confirmed pivots of price.

    .. math::

        s_{pq} = \frac{\sum_{p < i \le q} \operatorname{sign}(c_i - c_{i-1}) \, v_i}{\sum_{p < i \le q} v_i}

    Bullish is a lower low after net buying, :math:`s > 0`, bearish a higher high after net selling; hidden bullish is a
    higher low after net selling, hidden bearish a lower high after net buying.

    Parameters
    ----------
    high, low, close : (n,) array
        Quote currency.
    volume : (n,) array
        Base currency, not below zero.
    left : int
        Bars before a pivot, all of which it has to exceed: a pivot high with its high, a pivot low with its low.
    right : int
        Bars after a pivot, none of which may exceed it. It is confirmed, and known, that many bars late.
    max_age : int
        Bars that two pivots may lie apart, and that a divergence is remembered.
    state : (15 + 2 right + pivots_size,) array
        Bars seen, up to the lookback; close of the bar before (0: none); slot of the volumes of ``right`` bars ago; for
        lows, then for highs: bars for which the newest pivot can still be paired, its price, signed and whole volume
        since; as ``record_divergences``; rings of signed and of whole volumes; as ``confirmed_pivots``.
    out : (8, n) array
        Four strengths, :math:`|s|` in (0, 1] at the bar that confirms the newer pivot, ``right`` bars after it, and 0
        at all others; then the bars since the newest of each, ``max_age`` if there is none younger. NaN until the first
        bar that could confirm a pivot.

    Notes
    -----
    On-balance volume itself is a sum over all history. Only its change between two pivots is needed, summed from one to
    the other: a restarted kernel gives the same bits.
    """
    pivots = 15 + 2 * right
    lookback = left + right + 1
    seen, previous, slot = int(state[0]), state[1], int(state[2])
    low_for, older_low, low_signed, low_traded = state[3], state[4], state[5], state[6]
    high_for, older_high, high_signed, high_traded = state[7], state[8], state[9], state[10]
    for i in range(close.shape[0]):
        for row in range(OUTPUTS):
            out[row, i] = math.nan
        price, traded = close[i], volume[i]
        if not (is_bar(high[i], low[i], price) and is_volume(traded)):
            continue
        signed = traded if price > previous else -traded if price < previous else 0.0
        previous = price
        # What was traded counts for a pair once its bar is where a pivot would be: ``right`` bars ago.
        at = 15 + 2 * slot
        signed_then, traded_then = state[at], state[at + 1]
        state[at], state[at + 1] = signed, traded
        slot = slot + 1 if slot + 1 < right else 0
        low_for, low_signed, low_traded = low_for - 1.0, low_signed + signed_then, low_traded + traded_then
        high_for, high_signed, high_traded = high_for - 1.0, high_signed + signed_then, high_traded + traded_then
        is_low, is_high, bottom, top = confirmed_pivots(state, pivots, left, right, high[i], low[i])
        if seen < lookback:
            seen += 1
            if seen < lookback:
                continue
        for row in range(KINDS):
            out[row, i] = 0.0
        if is_low:
            if low_for > 0.0 and low_traded > 0.0:
                out[0, i], out[2, i] = diverge(1.0, bottom - older_low, low_signed / low_traded)
            low_for, older_low, low_signed, low_traded = max_age + 1.0, bottom, 0.0, 0.0
        if is_high:
            if high_for > 0.0 and high_traded > 0.0:
                out[1, i], out[3, i] = diverge(-1.0, top - older_high, high_signed / high_traded)
            high_for, older_high, high_signed, high_traded = max_age + 1.0, top, 0.0, 0.0
        record_divergences(state, 11, max_age, out, i)
    state[0], state[1], state[2] = seen, previous, slot
    state[3], state[4], state[5], state[6] = low_for, older_low, low_signed, low_traded
    state[7], state[8], state[9], state[10] = high_for, older_high, high_signed, high_traded


SPEC = KernelSpec(
    name="volume_divergence",
    kernel=volume_divergence,
    inputs=("high", "low", "close", "volume"),
    params=(Param("left", 5, 1, 500), Param("right", 5, 1, 500), Param("max_age", 60, 1, 100_000)),
    outputs=DIVERGENCES,
    state_size=lambda left, right, max_age: 15 + 2 * right + pivots_size(left, right),
    lookback=lambda left, right, max_age: left + right + 1,
    # The oldest divergence that is remembered may rest on a pivot that is max_age older than it.
    warmup=lambda left, right, max_age: left + right + 2 * max_age,
    warmup_rtol=0.0,
    unit="fraction of the volume, and bars",
    gap=GAP,
    reference="J. E. Granville, Granville's New Key to Stock Market Profits, 1963 (on-balance volume)",
)
