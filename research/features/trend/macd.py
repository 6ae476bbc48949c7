"""Moving average convergence divergence. Registered in the catalogue as ``macd``."""

from __future__ import annotations

import math

from research.features.smoothing import RECURSIVE_RTOL, exponential_lag, exponential_warmup
from research.features.validity import GAP, is_price
from research.kernel import FloatArray, KernelSpec, Param, kernel


@kernel
def macd(close: FloatArray, fast: int, slow: int, signal: int, state: FloatArray, out: FloatArray) -> None:
    r"""Advance the MACD: difference of two exponential averages, its own average (signal), and the histogram.

    .. math::

        line_t = ema_{fast,t} - ema_{slow,t}, \qquad signal_t = ema_{signal}(line)_t, \qquad
        histogram_t = line_t - signal_t

    Parameters
    ----------
    close : (n,) array
        Quote currency.
    fast : int
        Length of the average of the close that the other is taken from, usually the shorter one.
    slow : int
        Length of the average of the close that is taken from it.
    signal : int
        Length of the average of their difference, the signal line.
    state : (9,) array
        Closes taken, up to the longer length; newest close; newest line; then count and lag of the fast, the slow
        and the signal average, as ``exponential_lag``.
    out : (3, n) array
        Line, signal and histogram (line less signal) in quote currency; all NaN until the signal is seeded.

    Notes
    -----
    As in TA-Lib both averages start at the same bar: the shorter one is seeded with the *last* closes of the longer
    one's seed, so that the line is not that of two separate ``ema``.
    """
    longest = max(fast, slow)
    keep_fast = (fast - 1.0) / (fast + 1.0)
    keep_slow = (slow - 1.0) / (slow + 1.0)
    keep_signal = (signal - 1.0) / (signal + 1.0)
    taken, previous, line = int(state[0]), state[1], state[2]
    count_fast, lag_fast = int(state[3]), state[4]
    count_slow, lag_slow = int(state[5]), state[6]
    count_signal, lag_signal = int(state[7]), state[8]
    for i in range(close.shape[0]):
        price = close[i]
        if not is_price(price):
            out[0, i] = out[1, i] = out[2, i] = math.nan
            continue
        if count_signal == signal:  # as below once all are seeded, without its questions: 1.9 ns per bar against 3.1
            lag_fast = keep_fast * (lag_fast + (previous - price))
            lag_slow = keep_slow * (lag_slow + (previous - price))
            before, line = line, lag_fast - lag_slow  # the close that both lag behind cancels
            lag_signal = keep_signal * (lag_signal + (before - line))
            out[0, i], out[1, i], out[2, i] = line, line + lag_signal, -lag_signal
            previous = price
            continue
        out[0, i] = out[1, i] = out[2, i] = math.nan
        taken = min(taken + 1, longest)
        if taken > longest - fast:
            count_fast, lag_fast = exponential_lag(count_fast, lag_fast, fast, keep_fast, price, previous)
        if taken > longest - slow:
            count_slow, lag_slow = exponential_lag(count_slow, lag_slow, slow, keep_slow, price, previous)
        previous = price
        if taken < longest:
            continue
        before, line = line, lag_fast - lag_slow
        count_signal, lag_signal = exponential_lag(count_signal, lag_signal, signal, keep_signal, line, before)
        if count_signal == signal:
            out[0, i], out[1, i], out[2, i] = line, line + lag_signal, -lag_signal
    state[0], state[1], state[2] = taken, previous, line
    state[3], state[4] = count_fast, lag_fast
    state[5], state[6] = count_slow, lag_slow
    state[7], state[8] = count_signal, lag_signal


def _warmup(fast: int, slow: int, signal: int) -> int:
    # The signal forgets only after what it averages has forgotten.
    return exponential_warmup(max(fast, slow)) + exponential_warmup(signal)


SPEC = KernelSpec(
    name="macd",
    kernel=macd,
    inputs=("close",),
    params=(Param("fast", 12, 2, 100_000), Param("slow", 26, 2, 100_000), Param("signal", 9, 1, 100_000)),
    outputs=("line", "signal", "histogram"),
    state_size=lambda fast, slow, signal: 9,
    lookback=lambda fast, slow, signal: max(fast, slow) + signal - 1,
    warmup=_warmup,
    warmup_rtol=RECURSIVE_RTOL,
    unit="quote",
    gap=GAP,
    reference="G. Appel, 1979; TA-Lib MACD (both averages seeded at the same bar)",
)
