"""The interval that each funding row was paid for, told from the times of its neighbours. It reads no rate."""

from __future__ import annotations

import numpy as np

from research.errors import InvalidInput
from research.kernel import FloatArray, IntArray

NS_PER_HOUR = 3_600_000_000_000
LONGEST_HOURS = 8.0  # no venue that we know pays less often; a longer interval has to be stated
CONTEXT_ROWS = 4  # rows on either side that decide about one: three differences


def funding_interval_hours(ts: IntArray, subject: str = "funding") -> FloatArray:
    """Return the hours for which each settlement was paid.

    A row's interval is the time since the row before it, unless that is longer than the median of the (up to seven)
    differences around it, or than 8 hours: then a row is missing before it, and it gets the median. So a change of
    interval is followed, and a hole stays visible: ``ts - interval_hours`` is later than the row before.

    Parameters
    ----------
    ts : (n,) array of int64
        Settlement times, ns, increasing. Jitter of an exchange (milliseconds, seldom minutes) does not matter:
        times are rounded to the whole hour before they are compared.
    subject : str
        What errors name.

    Returns
    -------
    (n,) array of float64
        Whole hours. The first row takes the interval of the second. NaN for a row that stands alone.

    Raises
    ------
    InvalidInput
        If two settlements fall into one hour: it would be charged twice.

    Notes
    -----
    Four equal gaps in a row of a series that is otherwise denser look like a change of interval and are taken for
    one. Where a source states intervals, state them instead of calling this.

    Examples
    --------
    >>> hours = np.array([0, 8, 16, 32, 40, 44, 48, 52, 56])       # 24 is missing; then four-hourly
    >>> funding_interval_hours(hours * NS_PER_HOUR).tolist()
    [8.0, 8.0, 8.0, 8.0, 8.0, 4.0, 4.0, 4.0, 4.0]
    """
    if ts.size < 2:
        return np.full(ts.size, np.nan)
    hours = np.rint(ts / NS_PER_HOUR)
    steps = np.diff(hours)
    wrong = np.flatnonzero(steps <= 0)
    if wrong.size:
        i = int(wrong[0]) + 1
        raise InvalidInput(f"{subject}.ts[{i}]", "must be at least an hour after the settlement before it", int(ts[i]))
    reach = CONTEXT_ROWS - 1
    usual = np.array([_lower_median(steps[max(0, i - reach) : i + reach + 1]) for i in range(steps.size)])
    intervals = np.minimum(np.minimum(steps, usual), LONGEST_HOURS)
    return np.concatenate((intervals[:1], intervals))


def _lower_median(values: FloatArray) -> float:
    return float(np.sort(values)[(values.size - 1) // 2])
