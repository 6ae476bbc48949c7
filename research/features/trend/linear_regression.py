"""Straight line through the last closes. Registered in the catalogue as ``linear_regression``."""

from __future__ import annotations

import math

from research.features.validity import GAP, is_price
from research.features.window import WINDOW_RTOL
from research.kernel import FloatArray, KernelSpec, Param, kernel

# Share of the variance that rounding leaves beside a straight line.
STRAIGHT = 1e-13


@kernel
def linear_regression(close: FloatArray, length: int, state: FloatArray, out: FloatArray) -> None:
    r"""Advance the linear regression line of the last ``length`` closes: slope, end, R squared and deviation.

    .. math::

        b_t = \frac{\sum_k (k - \bar k)(c_k - \bar c)}{\sum_k (k - \bar k)^2}, \qquad
        value_t = \bar c + b_t \, \tfrac{length - 1}{2}, \qquad k = 1 \dots length

    Parameters
    ----------
    close : (n,) array
        Quote currency.
    length : int
        Bars in the window.
    state : (6 + 3 length,) array
        Closes in the block under way; 1 once a block is complete; the anchor; the plain and the weighted sum of the
        block's differences from it and that of their squares; the closes of the block and, in the places that it has
        not reached, the weighted suffix sums of the block before; its suffix sums of squares; its plain ones.
    out : (5, n) array
        Slope in quote currency per bar; the same as a fraction of the close; where the line stands at the newest bar,
        in quote currency; share of the variance that the line explains, in [0, 1], 0 where no price moved; root mean
        square distance of the closes from the line, in quote currency. NaN until the window is full.

    Notes
    -----
    Blocks and anchor are those of ``sma``, the weighted sum that of ``wma``: squares of differences from a close in the
    window, so that their sum exceeds that around the mean by ``length`` at most and little is lost between them.
    A line that leaves less than 1e-13 of the variance is taken for straight: that much is rounding.
    """
    taken, full, anchor = max(0, int(state[0])), state[1], state[2]
    plain, weighted, square = state[3], state[4], state[5]
    ring, squares, sums = state[6 : 6 + length], state[6 + length : 6 + 2 * length], state[6 + 2 * length :]
    newest = float(length)
    share = 1.0 / newest
    middle, half = 0.5 * (newest + 1.0), 0.5 * (newest - 1.0)
    spacing = newest * (newest * newest - 1.0) / 12.0  # sum of the squared places around their mean
    per_spacing = 1.0 / spacing
    for i in range(close.shape[0]):
        price = close[i]
        if not is_price(price):
            for row in range(5):
                out[row, i] = math.nan
            continue
        step = price - anchor
        ring[taken] = price
        weighted += newest * step - plain
        plain += step
        square += step * step
        taken += 1
        if taken < length:
            total, rising, spread = plain + sums[taken], weighted + ring[taken], square + squares[taken]
        else:
            total, rising, spread = 0.0, 0.0, 0.0
            for j in range(length - 1, -1, -1):
                step = ring[j] - price
                total += step
                rising += total
                spread += step * step
                ring[j], squares[j], sums[j] = rising, spread, total
            taken, full, anchor = 0, 1.0, price
            plain = weighted = square = 0.0
        if full == 0.0:
            for row in range(5):
                out[row, i] = math.nan
            continue
        slope = (rising - middle * total) * per_spacing
        out[0, i] = slope
        out[2, i] = anchor + (total * share + slope * half)
        out[3, i] = spread - total * total * share
    state[0], state[1], state[2] = taken, full, anchor
    state[3], state[4], state[5] = plain, weighted, square
    # Once more over the bars, NaN or not: in loops of their own the divisions go side by side (1.1 ns per bar less).
    slopes, fractions, shares, distances = out[0], out[1], out[3], out[4]
    for i in range(close.shape[0]):
        fractions[i] = slopes[i] / close[i]
    for i in range(close.shape[0]):
        spread = shares[i]
        explained = slopes[i] * slopes[i] * spacing
        left = spread - explained
        straight = left <= STRAIGHT * spread
        of_straight = 1.0 if spread > 0.0 else 0.0
        shares[i] = of_straight if straight else explained / spread
        distances[i] = 0.0 if straight else math.sqrt(left * share)


SPEC = KernelSpec(
    name="linear_regression",
    kernel=linear_regression,
    inputs=("close",),
    params=(Param("length", 14, 2, 100_000),),
    outputs=("slope", "slope_frac", "value", "r2", "deviation"),
    state_size=lambda length: 6 + 3 * length,
    lookback=lambda length: length,
    warmup=lambda length: length,
    warmup_rtol=WINDOW_RTOL,
    unit="quote; slope per bar; slope_frac per bar as a fraction of the close; r2 in [0, 1]",
    gap=GAP,
    reference="least squares; TA-Lib LINEARREG and LINEARREG_SLOPE",
)
