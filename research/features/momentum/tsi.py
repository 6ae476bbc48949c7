"""True strength index after Blau. Registered in the catalogue as ``tsi``."""

from __future__ import annotations

import math

from research.features.smoothing import RECURSIVE_RTOL, bars_to_forget
from research.features.validity import GAP, is_price
from research.kernel import FloatArray, KernelSpec, Param, kernel


@kernel
def tsi(close: FloatArray, slow: int, fast: int, signal: int, state: FloatArray, out: FloatArray) -> None:
    r"""Advance the true strength index (TSI): twice smoothed changes over their twice smoothed sizes, and its signal.

    .. math::

        TSI_t = 100 \, \frac{EMA_{fast}(EMA_{slow}(c_t - c_{t-1}))}{EMA_{fast}(EMA_{slow}(|c_t - c_{t-1}|))}

    Parameters
    ----------
    close : (n,) array
        Quote currency.
    slow : int
        Length of the first average, that of the changes.
    fast : int
        Length of the second average, that of the first one.
    signal : int
        Length of the average of the index.
    state : (9,) array
        Close of the bar before (0: none); values in the first, the second and the signal average, up to their lengths;
        first average of changes and of sizes; second ones; signal. Averages are sums until complete.
    out : (2, n) array
        Index and signal in [-100, 100]: 100 if every price rose. 0 as long as no price has moved. Both NaN until the
        signal is complete.

    Notes
    -----
    Every average has the weight ``2 / (length + 1)`` and starts as the mean of its first ``length`` values.

    Changes and their sizes are smoothed by the same operations in the same order: rounded or not, the first never
    outgrow the second.
    """
    weight_slow, weight_fast, weight_signal = 2.0 / (slow + 1.0), 2.0 / (fast + 1.0), 2.0 / (signal + 1.0)
    previous, count_slow, count_fast, count_signal = state[0], int(state[1]), int(state[2]), int(state[3])
    move_slow, size_slow, move_fast, size_fast, line = state[4], state[5], state[6], state[7], state[8]
    for i in range(close.shape[0]):
        price = close[i]
        out[0, i] = out[1, i] = math.nan
        if not is_price(price):
            continue
        if previous <= 0.0:
            previous = price
            continue
        change = price - previous
        previous = price
        _, move_slow = mean_first(count_slow, move_slow, slow, weight_slow, change)
        count_slow, size_slow = mean_first(count_slow, size_slow, slow, weight_slow, abs(change))
        if count_slow < slow:
            continue
        _, move_fast = mean_first(count_fast, move_fast, fast, weight_fast, move_slow)
        count_fast, size_fast = mean_first(count_fast, size_fast, fast, weight_fast, size_slow)
        if count_fast < fast:
            continue
        index = 100.0 * (move_fast / size_fast) if size_fast > 0.0 else 0.0
        count_signal, line = mean_first(count_signal, line, signal, weight_signal, index)
        if count_signal == signal:
            out[0, i], out[1, i] = index, line
    state[0], state[1], state[2], state[3] = previous, count_slow, count_fast, count_signal
    state[4], state[5], state[6], state[7], state[8] = move_slow, size_slow, move_fast, size_fast, line


@kernel
def mean_first(count: int, level: float, length: int, weight: float, sample: float) -> tuple[int, float]:
    """Advance an average of weight ``weight`` whose start is the mean of its first ``length`` samples.

    Where samples and averages are of either sign: ``wilder_average`` with another promise.
    """
    if count < length:
        count += 1
        level += sample
        if count == length:
            level /= length
    else:
        level = (1.0 - weight) * level + weight * sample
    return count, level


def _warmup(slow: int, fast: int, signal: int) -> int:
    return slow + fast + signal - 1 + bars_to_forget((max(slow, fast, signal) - 1.0) / (max(slow, fast, signal) + 1.0))


SPEC = KernelSpec(
    name="tsi",
    kernel=tsi,
    inputs=("close",),
    params=(Param("slow", 25, 1, 100_000), Param("fast", 13, 1, 100_000), Param("signal", 13, 1, 100_000)),
    outputs=("line", "signal"),
    state_size=lambda slow, fast, signal: 9,
    lookback=lambda slow, fast, signal: slow + fast + signal - 1,
    warmup=_warmup,
    warmup_rtol=RECURSIVE_RTOL,
    unit="-100 to 100",
    gap=GAP,
    reference="W. Blau, True Strength Index, Technical Analysis of Stocks & Commodities 9(11), 1991",
)
