"""What a funding row covers, and where rows are missing: the one rule for charging, checking and downloading.

It changes no row and knows no rate.
"""

from __future__ import annotations

import numpy as np

from research.kernel import FloatArray, IntArray
from research.market.bars import NS_PER_MINUTE
from research.market.quality_rules import BoolArray

NS_PER_HOUR = 60 * NS_PER_MINUTE
# Recorded settlement times are late by some milliseconds; no interval is shorter than an hour.
JITTER_NS = NS_PER_MINUTE


def uncovered_ns(ts: IntArray, interval_hours: FloatArray) -> FloatArray:
    """Return the time between each row and the row before it that its interval does not cover.

    Parameters
    ----------
    ts : (n,) array of int64
        Settlement times, ns UTC, increasing.
    interval_hours : (n,) array of float64
        Hours that ended with each settlement.

    Returns
    -------
    (n,) array of float64
        Nanoseconds; negative where two rows tell the same time twice. NaN for the first row, and where an interval is.

    Examples
    --------
    >>> hours = np.array([0, 8, 24, 28])
    >>> (uncovered_ns(hours * NS_PER_HOUR, np.array([8.0, 8.0, 8.0, 8.0])) / NS_PER_HOUR).tolist()
    [nan, 0.0, 8.0, -4.0]
    """
    if not ts.size:
        return np.zeros(0)
    between = np.concatenate(([np.nan], np.diff(ts).astype(np.float64)))
    return between - np.rint(interval_hours * NS_PER_HOUR)


def funding_holes(ts: IntArray, interval_hours: FloatArray) -> BoolArray:
    """Return which rows have at least one settlement missing before them.

    A row is alone where the row before it is further away than its interval and :data:`JITTER_NS`. What lies before
    the first row and after the last is the caller's to compare with what it needs.

    Parameters
    ----------
    ts : (n,) array of int64
        Settlement times, ns UTC, increasing.
    interval_hours : (n,) array of float64
        Hours that ended with each settlement; NaN says nothing and finds nothing.

    Examples
    --------
    >>> funding_holes(np.array([0, 8, 24]) * NS_PER_HOUR, np.array([8.0, 8.0, 8.0])).tolist()
    [False, False, True]
    """
    return uncovered_ns(ts, interval_hours) > JITTER_NS
