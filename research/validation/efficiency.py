"""How much of what the training windows of a walk-forward promise is left on their tests. It annualises, no more."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import ArrayLike

from research.errors import InvalidInput
from research.kernel import FloatArray
from research.metrics.returns import DAYS_PER_YEAR


@dataclass(frozen=True, slots=True)
class Efficiency:
    """What was earned out of sample over what was promised in sample.

    Parameters
    ----------
    folds : DataFrame
        One row per fold: ``fold``, ``in_sample`` and ``out_of_sample`` (annual rates), ``days`` (the out-of-sample
        ones), ``efficiency`` (their ratio; NaN where the promise was not positive: a loss that was promised and came is
        no efficiency of 1).
    overall : float
        All that was earned out of sample over all that the in-sample rates promise for the same days; NaN where they
        promise nothing.
    median : float
        Of the folds' efficiencies; NaN without any.
    share_kept : float
        Share of the folds with a positive promise that earned something; NaN without any.
    """

    folds: pl.DataFrame
    overall: float
    median: float
    share_kept: float


def walk_forward_efficiency(
    in_sample: ArrayLike,
    out_of_sample: ArrayLike,
    in_sample_days: ArrayLike | None = None,
    out_of_sample_days: ArrayLike | None = None,
    compounding: bool = True,
) -> Efficiency:
    r"""Return how much of each fold's in-sample result was left out of sample, per fold and overall.

    .. math:: e_i = r^{out}_i / r^{in}_i, \quad
              e = \sum_i d_i r^{out}_i \Big/ \sum_i d_i r^{in}_i

    with annual rates r and out-of-sample days d. The overall figure is no mean of the ratios: one promise near zero
    would rule that.

    Parameters
    ----------
    in_sample, out_of_sample : (n,) array
        Per fold, total returns as fractions where days are given, else rates that need none (an annual Sharpe ratio).
        Where a rate is NaN, or the in-sample one is infinite, the fold stays out of every figure but its own row.
    in_sample_days, out_of_sample_days : (n,) array, optional
        Days that the returns were made in, positive; both or neither. Give the out-of-sample figures of the stitched
        part of each window, or overlapping days count more than once.
    compounding : bool
        Take the annual rate of growth, ``365 / days * ln(1 + return)``, which stays finite for a good week (10 % in 7
        days is a rate of 5, and a compound return of 14,300 %) and is minus infinity for a loss of everything. Without
        it ``365 / days * return``. Not read without days.

    Raises
    ------
    InvalidInput
        If lengths differ, days are not positive, only one of them is given, or a compounding return is below -1.

    References
    ----------
    .. [1] R. Pardo, The Evaluation and Optimization of Trading Strategies, 2nd ed., Wiley 2008, chapter 11, who
       divides annualised rates of profit and leaves signs to the reader.

    Examples
    --------
    >>> found = walk_forward_efficiency([0.30, -0.05], [0.02, 0.01], [90, 90], [7, 7], compounding=False)
    >>> found.folds["efficiency"].round(3).to_list(), round(found.overall, 3), found.share_kept
    ([0.857, nan], 1.543, 1.0)
    """
    inside, outside = _series("in_sample", in_sample), _series("out_of_sample", out_of_sample)
    if inside.size != outside.size or inside.size == 0:
        raise InvalidInput("out_of_sample", f"must have a figure per fold, {inside.size}, at least 1", outside.size)
    if (in_sample_days is None) != (out_of_sample_days is None):
        raise InvalidInput("in_sample_days", "must be given where out_of_sample_days is, and only there")
    days = np.ones(inside.size)
    if in_sample_days is not None and out_of_sample_days is not None:
        inside = _annual("in_sample", inside, in_sample_days, compounding)
        outside = _annual("out_of_sample", outside, out_of_sample_days, compounding)
        days = _series("out_of_sample_days", out_of_sample_days)
    promised = inside > 0.0
    ratio = np.divide(outside, inside, out=np.full(inside.size, np.nan), where=promised & np.isfinite(inside))
    known = np.isfinite(inside) & ~np.isnan(outside)  # a loss of everything is known
    promise = float(days[known] @ inside[known])
    earned = float(days[known] @ outside[known])
    table = pl.DataFrame(
        {"fold": np.arange(inside.size), "in_sample": inside, "out_of_sample": outside, "days": days}
    ).with_columns(pl.Series("efficiency", ratio))
    defined = ratio[~np.isnan(ratio)]
    return Efficiency(
        folds=table,
        overall=earned / promise if promise > 0.0 else math.nan,
        median=float(np.median(defined)) if defined.size else math.nan,
        share_kept=float(np.mean(defined > 0.0)) if defined.size else math.nan,
    )


def _series(name: str, given: ArrayLike) -> FloatArray:
    values = np.asarray(given, dtype=np.float64)
    if values.ndim != 1:
        raise InvalidInput(name, "must be a series", values.shape)
    return values


def _annual(name: str, returns: FloatArray, days: ArrayLike, compounding: bool) -> FloatArray:
    lengths = _series(f"{name}_days", days)
    if lengths.shape != returns.shape or not (np.isfinite(lengths) & (lengths > 0.0)).all():
        raise InvalidInput(f"{name}_days", f"must be positive, one per fold, {returns.size}", lengths.tolist())
    if not compounding:
        return DAYS_PER_YEAR / lengths * returns
    if (returns < -1.0).any():
        raise InvalidInput(name, "must be at least -1 where returns compound", float(returns.min()))
    with np.errstate(divide="ignore"):
        return DAYS_PER_YEAR / lengths * np.log1p(returns)
