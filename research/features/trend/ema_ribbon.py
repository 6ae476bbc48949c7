"""Five exponential averages side by side. Registered in the catalogue as ``ema_ribbon``."""

from __future__ import annotations

import math

from research.features.smoothing import RECURSIVE_RTOL, exponential_lag, exponential_warmup
from research.features.validity import GAP, is_price
from research.kernel import FloatArray, KernelSpec, Param, kernel


@kernel
def ema_ribbon(
    close: FloatArray,
    first: int,
    second: int,
    third: int,
    fourth: int,
    fifth: int,
    state: FloatArray,
    out: FloatArray,
) -> None:
    r"""Advance the EMA ribbon: order, spread and slope of five exponential moving averages of the close.

    .. math::

        order_t = \tfrac{1}{4} \sum_{j=1}^{4} \operatorname{sgn}(e_{j,t} - e_{j+1,t}), \qquad
        spread_t = \frac{e_{1,t} - e_{5,t}}{e_{5,t}}, \qquad
        slope_t = \frac{\bar e_t}{\bar e_{t-1}} - 1

    with :math:`e_j` the averages in the order of their parameters and :math:`\bar e` their mean.

    Parameters
    ----------
    close : (n,) array
        Quote currency.
    first : int
        Length of the first average. The five lengths rise if an order of 1 is to mean an uptrend.
    second : int
        Length of the second average.
    third : int
        Length of the third average.
    fourth : int
        Length of the fourth average.
    fifth : int
        Length of the fifth average, which the spread is measured from and divided by.
    state : (12,) array
        Newest close; newest mean (0: none); count and lag of each average, as ``exponential_lag``.
    out : (3, n) array
        Share of neighbouring pairs that stand in the order of an uptrend less those in that of a downtrend, in
        [-1, 1]; spread and change of the mean over one bar as fractions. NaN until all were seeded a bar ago. All 0
        in a market that stands still.

    Notes
    -----
    The averages are those of ``ema``, each seeded on its own first bars. Where two averages meet to the last digit the
    order hangs on their rounding; in a market that stands still they come to be equal, and no pair counts.
    """
    keep_1, keep_2 = (first - 1.0) / (first + 1.0), (second - 1.0) / (second + 1.0)
    keep_3, keep_4 = (third - 1.0) / (third + 1.0), (fourth - 1.0) / (fourth + 1.0)
    keep_5 = (fifth - 1.0) / (fifth + 1.0)
    previous, mean = state[0], state[1]
    n_1, lag_1, n_2, lag_2, n_3, lag_3 = int(state[2]), state[3], int(state[4]), state[5], int(state[6]), state[7]
    n_4, lag_4, n_5, lag_5 = int(state[8]), state[9], int(state[10]), state[11]
    for i in range(close.shape[0]):
        price = close[i]
        if not is_price(price):
            out[0, i] = out[1, i] = out[2, i] = math.nan
            continue
        n_1, lag_1 = exponential_lag(n_1, lag_1, first, keep_1, price, previous)
        n_2, lag_2 = exponential_lag(n_2, lag_2, second, keep_2, price, previous)
        n_3, lag_3 = exponential_lag(n_3, lag_3, third, keep_3, price, previous)
        n_4, lag_4 = exponential_lag(n_4, lag_4, fourth, keep_4, price, previous)
        n_5, lag_5 = exponential_lag(n_5, lag_5, fifth, keep_5, price, previous)
        previous = price
        before = mean
        if n_1 == first and n_2 == second and n_3 == third and n_4 == fourth and n_5 == fifth:
            mean = price + 0.2 * (lag_1 + lag_2 + lag_3 + lag_4 + lag_5)
        if before == 0.0:
            out[0, i] = out[1, i] = out[2, i] = math.nan
            continue
        e_1, e_2, e_3, e_4, e_5 = price + lag_1, price + lag_2, price + lag_3, price + lag_4, price + lag_5
        rising = int(e_1 > e_2) + int(e_2 > e_3) + int(e_3 > e_4) + int(e_4 > e_5)
        falling = int(e_1 < e_2) + int(e_2 < e_3) + int(e_3 < e_4) + int(e_4 < e_5)
        out[0, i] = 0.25 * (rising - falling)
        out[1, i] = (e_1 - e_5) / e_5
        out[2, i] = mean / before - 1.0
    state[0], state[1] = previous, mean
    state[2], state[3], state[4], state[5], state[6], state[7] = n_1, lag_1, n_2, lag_2, n_3, lag_3
    state[8], state[9], state[10], state[11] = n_4, lag_4, n_5, lag_5


SPEC = KernelSpec(
    name="ema_ribbon",
    kernel=ema_ribbon,
    inputs=("close",),
    params=(
        Param("first", 8, 1, 100_000),
        Param("second", 13, 1, 100_000),
        Param("third", 21, 1, 100_000),
        Param("fourth", 34, 1, 100_000),
        Param("fifth", 55, 1, 100_000),
    ),
    outputs=("order", "spread", "slope"),
    state_size=lambda *lengths: 12,
    lookback=lambda *lengths: max(lengths) + 1,
    warmup=lambda *lengths: exponential_warmup(max(lengths)) + 1,
    warmup_rtol=RECURSIVE_RTOL,
    unit="order in [-1, 1]; spread and slope as fractions",
    gap=GAP,
    reference="several ema side by side; the lengths are Fibonacci numbers by custom; no outside source",
)
