"""Kaufman's adaptive moving average of the close. Registered in the catalogue as ``kama``."""

from __future__ import annotations

import math

from research.features.smoothing import RECURSIVE_RTOL, bars_to_forget
from research.features.validity import GAP, is_price
from research.kernel import FloatArray, KernelSpec, Param, kernel


@kernel
def kama(close: FloatArray, length: int, fast: int, slow: int, state: FloatArray, out: FloatArray) -> None:
    r"""Advance Kaufman's adaptive moving average (KAMA): fast where prices run straight, slow where they do not.

    .. math::

        k_t = k_{t-1} + w_t^2 \, (c_t - k_{t-1}), \qquad
        w_t = E_t \, \tfrac{2}{fast + 1} + (1 - E_t) \, \tfrac{2}{slow + 1}

    with the efficiency ratio :math:`E` of the last ``length`` changes as in ``efficiency``, but 1 where no price moved.

    Parameters
    ----------
    close : (n,) array
        Quote currency.
    length : int
        Changes in the window of the efficiency ratio.
    fast : int
        Length of the exponential average whose weight is taken, squared, at an efficiency of 1.
    slow : int
        Length of the exponential average whose weight is taken, squared, at an efficiency of 0.
    state : (5 + 2 length,) array
        Changes in the block under way; 1 once a block is complete; their sum; newest close (0: none); the average less
        that close; the sizes of the block's changes and, in the places that it has not reached, the suffix sums of the
        block before, as in ``sma``; ring of closes, that of ``length`` bars ago in the place of the next change.
    out : (1, n) array
        Quote currency; NaN until ``length`` changes were seen. The average starts at the close before the first output.

    Notes
    -----
    In a market that stands still :math:`E` is 0/0: 1 as in TA-Lib, so that the average goes to the price.

    The weight hangs on the market, and so does the memory. The warm-up is that of a market that does nothing but
    alternate, and so takes the smallest weight for ever; on a driftless random walk a twentieth of it was enough (254
    of 7,180 bars with the defaults).
    """
    weight_slow = 2.0 / (slow + 1.0)
    reach = 2.0 / (fast + 1.0) - weight_slow
    taken, full, prefix = max(0, int(state[0])), state[1], state[2]
    previous, lag = state[3], state[4]
    changes, closes = state[5 : 5 + length], state[5 + length :]
    for i in range(close.shape[0]):
        price = close[i]
        if not is_price(price):
            out[0, i] = math.nan
            continue
        if previous == 0.0:
            closes[length - 1] = previous = price
            out[0, i] = math.nan
            continue
        made, change = abs(price - closes[taken]), abs(price - previous)
        closes[taken], changes[taken] = price, change
        taken += 1
        if taken < length:
            prefix += change
            gone = prefix + changes[taken]
        else:
            gone = 0.0
            for j in range(length - 1, 0, -2):
                pair = changes[j] + changes[j - 1]
                changes[j] += gone
                gone += pair
                changes[j - 1] = gone
            if length % 2 == 1:
                gone += changes[0]
                changes[0] = gone
            taken, full, prefix = 0, 1.0, 0.0
        if full > 0.0:
            straight = made / gone
            efficiency = straight if straight < 1.0 else 1.0  # also of 0/0, and of a ratio that rounding puts above 1
            weight = efficiency * reach + weight_slow
            lag = (1.0 - weight * weight) * (lag + (previous - price))
            out[0, i] = price + lag
        else:
            out[0, i] = math.nan
        previous = price
    state[0], state[1], state[2], state[3], state[4] = taken, full, prefix, previous, lag


def _warmup(length: int, fast: int, slow: int) -> int:
    smallest = 2.0 / (max(fast, slow) + 1.0)
    return length + 1 + bars_to_forget(1.0 - smallest * smallest)


SPEC = KernelSpec(
    name="kama",
    kernel=kama,
    inputs=("close",),
    params=(Param("length", 10, 1, 100_000), Param("fast", 2, 1, 100_000), Param("slow", 30, 1, 100_000)),
    outputs=("",),
    state_size=lambda length, fast, slow: 5 + 2 * length,
    lookback=lambda length, fast, slow: length + 1,
    warmup=_warmup,
    warmup_rtol=RECURSIVE_RTOL,
    unit="quote",
    gap=GAP,
    reference="P. J. Kaufman, Smarter Trading, 1995; TA-Lib KAMA",
)
