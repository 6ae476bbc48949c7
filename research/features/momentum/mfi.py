"""Money flow index. Registered in the catalogue as ``mfi``."""

from __future__ import annotations

import math

from research.features.momentum.price_bars import is_bar
from research.features.validity import GAP, is_volume
from research.features.window import WINDOW_RTOL
from research.kernel import FloatArray, KernelSpec, Param, kernel

# Typical prices nearer to each other than this part of themselves are equal: the thirds of prices on a grid of ticks
# round apart by 1e-16 of themselves, and a tick is never below 1e-12 of a price.
TIE = 1e-12


@kernel
def mfi(
    high: FloatArray,
    low: FloatArray,
    close: FloatArray,
    volume: FloatArray,
    length: int,
    state: FloatArray,
    out: FloatArray,
) -> None:
    r"""Advance the share of money that flowed on rising prices in all that flowed, over the last ``length`` changes.

    .. math::

        MFI_t = 100 \, \frac{P_t}{P_t + N_t}, \qquad p_t = \tfrac{1}{3} (h_t + l_t + c_t)

    with :math:`P` and :math:`N` the sums of :math:`p_t v_t` over the bars on which the typical price :math:`p` rose
    and fell, by more than 1e-12 of itself.

    Parameters
    ----------
    high, low, close : (n,) array
        Quote currency.
    volume : (n,) array
        Base currency, not below zero.
    length : int
        Changes in the window.
    state : (5 + 2 length,) array
        Typical price of the bar before (0: none); changes in the block under way; 1 once a block is complete; the
        block's sums of rising and of falling flows; its rising flows and, from there on, the suffix sums of the block
        before; the same for falling flows.
    out : (1, n) array
        In [0, 100]: 100 if money flowed on rises alone. 50 where none flowed at all. NaN until ``length`` changes were
        seen.

    Notes
    -----
    Nothing is ever subtracted from a sum, so that a window in which nothing flowed has sums of exactly 0, not the
    rounding of what has left it. TA-Lib subtracts, and answers 0 wherever less than 1 flowed in all, whatever the
    currency.
    """
    previous, taken, full = state[0], max(0, int(state[1])), state[2]
    rise, fall = state[3], state[4]
    rises, falls = state[5 : 5 + length], state[5 + length :]
    scale = 100.0 if full > 0.0 else math.nan
    for i in range(close.shape[0]):
        highest, lowest, price, traded = high[i], low[i], close[i], volume[i]
        if not (is_bar(highest, lowest, price) and is_volume(traded)):
            out[0, i] = math.nan
            continue
        typical = (highest + lowest + price) / 3.0
        if previous <= 0.0:
            previous = typical
            out[0, i] = math.nan
            continue
        flow = typical * traded
        change, least = typical - previous, TIE * typical
        rising = flow if change > least else 0.0
        falling = flow if change < -least else 0.0
        previous = typical
        rises[taken] = rising
        falls[taken] = falling
        taken += 1
        if taken < length:
            rise += rising
            fall += falling
            rising = rise + rises[taken]
            falling = fall + falls[taken]
        else:
            for j in range(length - 2, -1, -1):
                rising += rises[j]
                falling += falls[j]
                rises[j], falls[j] = rising, falling
            taken, rise, fall, full, scale = 0, 0.0, 0.0, 1.0, 100.0
        total = rising + falling
        out[0, i] = scale * (rising / total if total > 0.0 else 0.5)
    state[0], state[1], state[2], state[3], state[4] = previous, taken, full, rise, fall


SPEC = KernelSpec(
    name="mfi",
    kernel=mfi,
    inputs=("high", "low", "close", "volume"),
    params=(Param("length", 14, 1, 100_000),),
    outputs=("",),
    state_size=lambda length: 5 + 2 * length,
    lookback=lambda length: length + 1,
    warmup=lambda length: length + 1,
    warmup_rtol=WINDOW_RTOL,
    unit="0 to 100",
    gap=GAP,
    reference="G. Quong, A. Soudack, Volume-weighted RSI: Money Flow, Technical Analysis of Stocks & Commodities 7(3), "
    "1989; TA-Lib MFI",
)
