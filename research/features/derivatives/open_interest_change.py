"""Change of open interest, alone and beside the price. Registered in the catalogue as ``open_interest_change``."""

from __future__ import annotations

import math

from research.features.transforms.standard_score import standard_score
from research.features.validity import GAP, is_price, is_volume
from research.features.window import WINDOW_RTOL, moments_size
from research.kernel import FloatArray, KernelSpec, Param, kernel


@kernel
def open_interest_change(
    close: FloatArray, open_interest: FloatArray, length: int, window: int, state: FloatArray, out: FloatArray
) -> None:
    r"""Advance the open interest change (log), its z-score, and who opens or closes positions.

    .. math::

        \Delta_t = \ln o_t - \ln o_{t-length}

    Parameters
    ----------
    close : (n,) array
        Quote currency.
    open_interest : (n,) array
        Base currency.
    length : int
        Bars between the two values, of open interest and of the price alike. The default is an hour of one minute bars.
    window : int
        Changes in the window of the z-score, the newest among them. The default is a day of one minute bars.
    state : (6 + 2 length + 2 window,) array
        Bars held, up to ``length``; slot of the oldest; ring of the last ``length`` open interests; of closes; then as
        ``windowed_moments``.
    out : (4, n) array
        Log change, 0 if either open interest is 0; distance from its mean over the window in sample standard
        deviations, 0 when all are equal; positions opened, where open interest rose: 1 with a rising price (new
        longs), -1 with a falling one (new shorts); positions closed, where it fell: 1 with a rising price (short
        covering), -1 with a falling one (long liquidation). 0 elsewhere, NaN until the window is full.

    Notes
    -----
    Every contract has a long and a short; which of them pressed is read off the price.
    """
    count, slot = int(state[0]), int(state[1])
    held = state[2 : 2 + length]
    prices = state[2 + length : 2 + 2 * length]
    for i in range(close.shape[0]):
        price, interest = close[i], open_interest[i]
        for j in range(4):
            out[j, i] = math.nan
        if not (is_price(price) and is_volume(interest)):
            continue
        if count < length:
            count += 1
        else:
            before = held[slot]
            change = math.log(interest) - math.log(before) if interest > 0.0 and before > 0.0 else 0.0
            mean, score = standard_score(state, 2 + 2 * length, window, change)
            if not math.isnan(mean):  # the window is full
                way = int(price > prices[slot]) - int(price < prices[slot])
                out[0, i], out[1, i] = change, score
                out[2, i] = way if interest > before else 0.0
                out[3, i] = way if interest < before else 0.0
        held[slot], prices[slot] = interest, price
        slot = slot + 1 if slot + 1 < length else 0
    state[0], state[1] = count, slot


SPEC = KernelSpec(
    name="open_interest_change",
    kernel=open_interest_change,
    inputs=("close", "open_interest"),
    params=(Param("length", 60, 1, 100_000), Param("window", 1_440, 2, 100_000)),
    outputs=("change", "zscore", "opening", "closing"),
    state_size=lambda length, window: 2 + 2 * length + moments_size(window),
    lookback=lambda length, window: length + window,
    warmup=lambda length, window: length + window,
    warmup_rtol=WINDOW_RTOL,
    unit="log change; standard deviations; -1, 0 or 1",
    gap=GAP,
    reference="J. J. Murphy, Technical Analysis of the Financial Markets, 1999, ch. 7: price and open interest",
)
