"""Illiquidity after Amihud: return per money traded. Registered in the catalogue as ``amihud``."""

from __future__ import annotations

import math

from research.features.flow.paired_sums import pair_size, windowed_pair
from research.features.validity import CEILING, GAP, is_price, is_volume
from research.features.window import WINDOW_RTOL
from research.kernel import FloatArray, KernelSpec, Param, kernel

MILLION = 1e6


@kernel
def amihud(close: FloatArray, turnover: FloatArray, length: int, state: FloatArray, out: FloatArray) -> None:
    r"""Advance the Amihud illiquidity: mean size of a one-bar log return per million of turnover.

    .. math::

        a_t = 10^6 \, \frac{|\ln c_t / c_{t-1}|}{u_t}, \qquad A_t = \frac{1}{m} \sum_{i < length,\ u_{t-i} > 0} a_{t-i}

    with m the bars in the sum, those with a turnover.

    Parameters
    ----------
    close : (n,) array
        Quote currency.
    turnover : (n,) array
        Quote currency.
    length : int
        Bars in the window, the newest among them.
    state : (5 + 2 length,) array
        Close of the bar before (0: none); then as ``windowed_pair``.
    out : (2, n) array
        ``illiquidity``: :math:`A_t`, log return per million quote, 0 where nothing was traded. ``relative``:
        :math:`a_t / A_t`, 1 where the bar had no turnover or no price moved. NaN until ``length`` returns were seen.
    """
    previous = state[0]
    for i in range(close.shape[0]):
        price, spent = close[i], turnover[i]
        out[0, i] = out[1, i] = math.nan
        if not (is_price(price) and is_volume(spent)):
            continue
        if previous > 0.0:
            own, traded = 0.0, 0.0
            if spent > 0.0:
                own, traded = min(MILLION * abs(math.log(price / previous)) / spent, CEILING), 1.0
            total, bars = windowed_pair(state, 1, length, own, traded)
            if bars >= 0.0:  # NaN until full
                mean = total / bars if bars > 0.0 else 0.0
                out[0, i] = mean
                out[1, i] = own / mean if traded > 0.0 and mean > 0.0 else 1.0
        previous = price
    state[0] = previous


SPEC = KernelSpec(
    name="amihud",
    kernel=amihud,
    inputs=("close", "turnover"),
    params=(Param("length", 60, 1, 100_000),),
    outputs=("illiquidity", "relative"),
    state_size=lambda length: 1 + pair_size(length),
    lookback=lambda length: length + 1,
    warmup=lambda length: length + 1,
    warmup_rtol=WINDOW_RTOL,
    unit="log return per million quote; multiples of the mean",
    gap=GAP,
    reference="Y. Amihud, Illiquidity and stock returns, Journal of Financial Markets 5(1), 2002",
)
