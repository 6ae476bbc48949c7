"""Rank of the average true range within its recent past. Registered in the catalogue as ``atr_percentile``."""

from __future__ import annotations

import math

from research.features.validity import GAP, is_price
from research.features.volatility.tied_rank import rank_size, tied_rank
from research.features.window import WINDOW_RTOL, sum_size, windowed_sum
from research.kernel import FloatArray, KernelSpec, Param, kernel


@kernel
def atr_percentile(
    high: FloatArray, low: FloatArray, close: FloatArray, length: int, window: int, state: FloatArray, out: FloatArray
) -> None:
    r"""Advance the ATR percentile: rank of the mean true range of ``length`` bars among its last ``window`` values.

    .. math::

        a_t = \frac{1}{length} \sum_{i=0}^{length-1} TR_{t-i}, \qquad
        P_t = \frac{\#\{a_j < a_t\} + \tfrac{1}{2} \#\{a_j \approx a_t\}}{window - 1}, \qquad
        j = t - window + 1, \ldots, t - 1

    Parameters
    ----------
    high, low, close : (n,) array
        Quote currency. Trusts low <= close <= high.
    length : int
        True ranges in the average.
    window : int
        Averages in the ranking, the newest among them.
    state : (6 + length + window,) array
        Close of the bar before (0: none); then as ``windowed_sum``; then as ``tied_rank``.
    out : (1, n) array
        In [0, 1]: 0 below all others, 1 above; ties, to one part in :math:`10^9`, count half, so that 0.5 is the
        answer where all bars are alike. NaN until the window is full.

    Notes
    -----
    The average is the simple one, not Wilder's of ``atr``. That one never forgets: after a market has stopped each
    value is below the one before, and a rank among values that differ by the trace of an old start would not be the
    same after a cold start, however late.
    """
    previous = state[0]
    rank_at = 4 + length
    for i in range(close.shape[0]):
        top, bottom, price = high[i], low[i], close[i]
        if not (is_price(top) and is_price(bottom) and is_price(price)):
            out[0, i] = math.nan
            continue
        value = math.nan
        if previous > 0.0:
            total = windowed_sum(state, 1, length, max(top, previous) - min(bottom, previous))
            if total >= 0.0:  # NaN until full
                value = tied_rank(state, rank_at, window, total)
        previous = price
        out[0, i] = value
    state[0] = previous


SPEC = KernelSpec(
    name="atr_percentile",
    kernel=atr_percentile,
    inputs=("high", "low", "close"),
    params=(Param("length", 14, 1, 100_000), Param("window", 100, 2, 5_000)),
    outputs=("",),
    state_size=lambda length, window: 1 + sum_size(length) + rank_size(window),
    lookback=lambda length, window: length + window,
    warmup=lambda length, window: length + window,
    warmup_rtol=WINDOW_RTOL,
    unit="fraction",
    gap=GAP,
    reference="M. G. Kendall, The treatment of ties in ranking problems, Biometrika 33(3), 1945: mid-ranks",
)
