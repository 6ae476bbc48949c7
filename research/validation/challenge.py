"""Champion against challenger on the same days. It runs neither, and moves no alias."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from research.errors import InvalidInput
from research.validation.intervals import default_block, sharpe_of, stationary_positions


@dataclass(frozen=True, slots=True)
class Challenge:
    """How a challenger did against a champion on the same days.

    Parameters
    ----------
    days : int
    sharpe_champion, sharpe_challenger : float
        Annualised; NaN where all days are equal.
    difference : float
        Challenger less champion.
    low, high : float
        95 % interval of the difference, from days resampled in pairs.
    probability : float
        Share of samples in which the challenger's ratio is the higher one; samples in which they are equal count half.
    correlation : float
        Of their daily returns; NaN where one of them does not vary.
    """

    days: int
    sharpe_champion: float
    sharpe_challenger: float
    difference: float
    low: float
    high: float
    probability: float
    correlation: float


def challenge(champion: ArrayLike, challenger: ArrayLike, *, paths: int = 10_000, seed: int = 0) -> Challenge:
    """Compare the Sharpe ratios of two series of daily returns.

    Parameters
    ----------
    champion, challenger : (n,) array_like
        Simple daily returns of the same days, at least 3.
    paths : int
        Samples of the stationary bootstrap, mean block the cube root of ``n``. Days are drawn in pairs, so that what
        moves both does not count as a difference.
    seed : int

    Returns
    -------
    Challenge

    Raises
    ------
    InvalidInput
        If the series differ in length, are shorter than 3, or hold a value that is not finite.

    Notes
    -----
    Both have seen the same market: that one did better on it is weak evidence where the interval holds 0, however much
    better it did.

    References
    ----------
    .. [1] O. Ledoit, M. Wolf, "Robust performance hypothesis testing with the Sharpe ratio", Journal of Empirical
       Finance 15(5), 2008: resampling in pairs and in blocks. Their studentised interval holds its level better in
       short samples; the plain percentile interval is used here, and is somewhat too narrow.

    Examples
    --------
    >>> days = np.sin(np.arange(60.0))
    >>> found = challenge(0.01 * days, 0.01 * days + 0.004, paths=500)
    >>> found.days, found.probability
    (60, 1.0)
    """
    first, second = (np.asarray(series, dtype=np.float64) for series in (champion, challenger))
    if first.ndim != 1 or first.shape != second.shape or first.size < 3:
        raise InvalidInput(
            "challenger", f"must be as many days as the champion's {first.shape}, 3 or more", second.shape
        )
    for name, series in (("champion", first), ("challenger", second)):
        wrong = np.flatnonzero(~np.isfinite(series))
        if wrong.size:
            raise InvalidInput(f"{name}[{wrong[0]}]", "must be finite", float(series[wrong[0]]))
    if paths < 1:
        raise InvalidInput("paths", "must be at least 1", paths)
    positions = stationary_positions(first.size, paths, default_block(first.size), np.random.default_rng(seed))
    apart = sharpe_of({"ret": second[positions]}) - sharpe_of({"ret": first[positions]})
    known = apart[np.isfinite(apart)]
    is_known = known.size >= 0.99 * apart.size
    low, high = (float(v) for v in np.quantile(known, [0.025, 0.975])) if is_known else (math.nan, math.nan)
    ahead = float(np.mean(known > 0.0) + 0.5 * np.mean(known == 0.0)) if is_known else math.nan
    old, new = (float(sharpe_of({"ret": series[None]})[0]) for series in (first, second))
    varies = np.ptp(first) > 0.0 and np.ptp(second) > 0.0
    correlation = float(np.corrcoef(first, second)[0, 1]) if varies else math.nan
    return Challenge(first.size, old, new, new - old, low, high, ahead, correlation)
