"""Drawdown and return figures of a long equity curve in one pass of it; single figures are in the modules beside.

A curve of a million bars takes some ten passes when each figure makes its own: more than 20 ms instead of 4.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from research.errors import InvalidInput
from research.kernel import FloatArray, IntArray, kernel
from research.metrics.drawdown import Drawdown
from research.metrics.returns import NOISE, finite_series, for_kernel


@dataclass(frozen=True, slots=True)
class CurveFigures:
    """What one pass finds.

    Parameters
    ----------
    n_bars : int
        Bars, the equity before the first not counted.
    deepest : Drawdown
        The deepest drawdown; indices count from the equity before the first bar, which is 0.
    longest_drawdown_bars : int
        Most consecutive bars below a peak.
    drawdown_squares : float
        Sum of squared drawdowns.
    mean_return : float
        Mean simple return of a bar; NaN without a bar.
    return_deviation : float
        Their standard deviation (``ddof=1``); NaN with fewer than two bars, or where all returns are equal but for
        rounding.
    """

    n_bars: int
    deepest: Drawdown
    longest_drawdown_bars: int
    drawdown_squares: float
    mean_return: float
    return_deviation: float


@kernel
def curve_pass(equity: FloatArray, initial: float, found: FloatArray, where: IntArray) -> None:
    """Fill ``found`` (depth, sum of squares, mean, deviation) and ``where`` (peak, trough, recovery, longest)."""
    n = equity.shape[0]
    peak, per_peak, peak_at, run, longest = initial, 1.0 / initial, 0, 0, 0
    depth, deepest_peak, trough, recovery, squares = 0.0, 0, 0, 0, 0.0
    goal = -np.inf  # the peak that the deepest drawdown has yet to reach again
    before, total, spread, lowest, highest = initial, 0.0, 0.0, np.inf, -np.inf
    for i in range(n):
        value = equity[i]
        change = (value - before) / before if before > 0.0 else 0.0
        before = value
        total += change
        spread += change * change
        lowest, highest = min(lowest, change), max(highest, change)
        if value >= peak:
            if value > peak:
                peak, per_peak = value, 1.0 / value
            peak_at, run = i + 1, 0
        else:
            below = (value - peak) * per_peak  # a division a bar is what the pass would wait for
            squares += below * below
            run += 1
            longest = max(longest, run)
            if below < depth * (1.0 - NOISE):
                below = (value - peak) / peak
                if below < depth:
                    depth, deepest_peak, trough, recovery, goal = below, peak_at, i + 1, -1, peak
        if recovery < 0 and value >= goal:
            recovery = i + 1
    mean = total / n if n else np.nan
    deviation = np.nan
    if n > 1 and highest - lowest > NOISE * (1.0 + max(abs(lowest), abs(highest))):
        if n * mean * mean <= 0.01 * spread:  # as with the returns of bars: little is lost in the difference
            spread -= n * mean * mean
        else:
            before, spread = initial, 0.0
            for i in range(n):
                change = (equity[i] - before) / before if before > 0.0 else 0.0
                before = equity[i]
                spread += (change - mean) ** 2
        deviation = np.sqrt(spread / (n - 1))
    found[0], found[1], found[2], found[3] = depth, squares, mean, deviation
    where[0], where[1], where[2], where[3] = deepest_peak, trough, recovery, longest


def curve_figures(equity: ArrayLike, initial_equity: float) -> CurveFigures:
    """Return the drawdown and bar-return figures of a curve.

    Parameters
    ----------
    equity : (n,) array_like
        Equity after each bar, quote currency.
    initial_equity : float
        Equity before the first bar, positive: the first peak and the base of the first return.

    Raises
    ------
    InvalidInput
        If an equity is not finite, or the initial one is not positive.

    Examples
    --------
    >>> figures = curve_figures([90.0, 95.0, 100.0, 99.0], 100.0)
    >>> figures.deepest, figures.longest_drawdown_bars
    (Drawdown(depth=-0.1, peak=0, trough=1, recovery=3), 2)
    """
    values = for_kernel(equity, np.float64)
    if not (np.isfinite(initial_equity) and initial_equity > 0):
        raise InvalidInput("initial_equity", "must be positive and finite", initial_equity)
    found, where = np.zeros(4), np.zeros(4, np.int64)
    curve_pass(values, float(initial_equity), found, where)
    if not np.isfinite(found[1:3]).all():  # where a value is not: looking at each beforehand is a pass more
        finite_series(values, "equity")
    deepest = Drawdown(float(found[0]), int(where[0]), int(where[1]), int(where[2]))
    return CurveFigures(values.size, deepest, int(where[3]), float(found[1]), float(found[2]), float(found[3]))
