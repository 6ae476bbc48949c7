"""Price of a symbol in units of a reference's. Registered in the catalogue as ``relative_strength``."""

from __future__ import annotations

import math

from research.features.validity import GAP, is_price
from research.features.window import moments_size, windowed_moments
from research.kernel import FloatArray, KernelSpec, Param, kernel

# A log ratio of 10 is known to 1e-15; where a window hardly moves, its deviation is known that much less.
RATIO_RTOL = 1e-7


@kernel
def relative_strength(
    close: FloatArray, reference_close: FloatArray, length: int, state: FloatArray, out: FloatArray
) -> None:
    r"""Advance the relative strength against a reference: log ratio of closes, its change and its z-score.

    .. math::

        q_t = \ln \frac{c_t}{c^{ref}_t}, \qquad q_t - q_{t-length}, \qquad
        \frac{q_t - \bar q}{s_q} \text{ over the last } length

    Parameters
    ----------
    close, reference_close : (n,) array
        Quote currency.
    length : int
        Bars of the change, and log ratios in the window of the z-score, the newest among them.
    state : (6 + 3 length,) array
        Log ratios held, up to ``length``; slot of the oldest; ring of the last ``length``; then as
        ``windowed_moments``.
    out : (3, n) array
        ``log_ratio``: as above. ``change``: log return less that of the reference over ``length`` bars, above 0 where
        the symbol is the stronger one. ``zscore``: sample standard deviations, 0 where all ratios are equal. NaN until
        ``length + 1`` bars were seen.
    """
    count, slot = int(state[0]), int(state[1])
    ring = 2
    for i in range(close.shape[0]):
        price, reference = close[i], reference_close[i]
        out[0, i] = out[1, i] = out[2, i] = math.nan
        if not (is_price(price) and is_price(reference)):
            continue
        log_ratio = math.log(price / reference)
        mean, m2 = windowed_moments(state, ring + length, length, log_ratio)
        if count == length:
            deviation = math.sqrt(m2 / (length - 1))
            out[0, i] = log_ratio
            out[1, i] = log_ratio - state[ring + slot]
            out[2, i] = 0.0 if deviation == 0.0 else (log_ratio - mean) / deviation
        else:
            count += 1
        state[ring + slot] = log_ratio
        slot = slot + 1 if slot + 1 < length else 0
    state[0], state[1] = count, slot


SPEC = KernelSpec(
    name="relative_strength",
    kernel=relative_strength,
    inputs=("close", "reference.close"),
    params=(Param("length", 60, 2, 100_000),),
    outputs=("log_ratio", "change", "zscore"),
    state_size=lambda length: 2 + length + moments_size(length),
    lookback=lambda length: length + 1,
    warmup=lambda length: length + 1,
    warmup_rtol=RATIO_RTOL,
    unit="log of a ratio of prices; its change; standard deviations",
    gap=GAP,
    reference="R. A. Levy, Relative Strength as a Criterion for Investment Selection, Journal of Finance 22(4), 1967",
)
