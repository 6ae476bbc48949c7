"""Tables of an equity curve: months, rolling windows and drawdowns; it draws nothing."""

from __future__ import annotations

import numpy as np
import polars as pl

from research.errors import InvalidInput
from research.kernel import FloatArray, IntArray
from research.market.bars import NS_PER_DAY, TS
from research.metrics.drawdown import drawdowns
from research.metrics.returns import DAYS_PER_YEAR, NOISE, bar_returns

MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")


def monthly_returns(day: IntArray, equity: FloatArray, initial_equity: float) -> pl.DataFrame:
    """Return the compounded return of each month and year.

    Parameters
    ----------
    day : (n,) array of int64
        Days since the epoch, UTC, increasing; as :func:`research.metrics.daily_equity` has them.
    equity : (n,) array of float64
        At the end of each day, quote currency.
    initial_equity : float
        Before the first day.

    Returns
    -------
    polars.DataFrame
        ``year``, ``jan`` to ``dec`` and ``total``: fractions, NaN for months without a day, 0 for one that began with
        nothing or less. The first and the last month may be cut short.

    Examples
    --------
    >>> table = monthly_returns(np.array([0, 30, 31]), np.array([101.0, 110.0, 99.0]), 100.0)
    >>> table.select("year", pl.col("jan", "feb", "total").round(12)).row(0)
    (1970, 0.1, -0.1, -0.01)
    """
    month = day.astype("datetime64[D]").astype("datetime64[M]").astype(np.int64)
    if month.size == 0:
        years, values, totals = np.zeros(0, np.int64), np.zeros((0, 12)), np.zeros(0)
    else:
        last = np.flatnonzero(np.append(np.diff(month) != 0, True))
        year = 1970 + month[last] // 12
        years = np.arange(year[0], year[-1] + 1)
        values = np.full((years.size, 12), np.nan)
        values[year - year[0], month[last] % 12] = bar_returns(equity[last], initial_equity)
        ends = np.flatnonzero(np.append(np.diff(year) != 0, True))
        totals = np.full(years.size, np.nan)
        totals[year[ends] - year[0]] = bar_returns(equity[last[ends]], initial_equity)
    columns = dict(zip(MONTHS, np.ascontiguousarray(values.T), strict=True))
    return pl.DataFrame({"year": years, **columns, "total": totals})


def rolling_figures(day: IntArray, returns: FloatArray, window_days: int) -> pl.DataFrame:
    """Return figures of the last ``window_days`` daily returns, for each day.

    Parameters
    ----------
    day : (n,) array of int64
        Days since the epoch, UTC.
    returns : (n,) array of float64
        Simple daily returns.
    window_days : int
        At least 2; days with a bar are counted.

    Returns
    -------
    polars.DataFrame
        ``ts`` (midnight at which the window's last day begins), ``sharpe`` and ``volatility`` (annualised with 365),
        ``return`` (compounded, of the window) and ``max_drawdown`` (of daily equity within it, its first base
        included). NaN until a window is full; ``sharpe`` also where all its returns are equal.

    Raises
    ------
    InvalidInput
        If the window is shorter than 2 days.
    """
    if isinstance(window_days, bool) or not isinstance(window_days, (int, np.integer)) or window_days < 2:
        raise InvalidInput("window_days", "must be a whole number of at least 2", window_days)
    names = ("sharpe", "volatility", "return", "max_drawdown")
    found = {name: np.full(returns.size, np.nan) for name in names}
    if returns.size >= window_days:
        windows = np.lib.stride_tricks.sliding_window_view(returns, window_days)
        full = slice(window_days - 1, None)
        spread = windows.std(axis=1, ddof=1)
        varies = np.ptp(windows, axis=1) > NOISE * (1.0 + np.abs(windows).max(axis=1))
        found["volatility"][full] = spread * np.sqrt(DAYS_PER_YEAR)
        with np.errstate(divide="ignore", invalid="ignore"):
            ratio = windows.mean(axis=1) / spread * np.sqrt(DAYS_PER_YEAR)
        found["sharpe"][full] = np.where(varies, ratio, np.nan)
        growth = np.cumprod(np.concatenate((np.ones((windows.shape[0], 1)), 1.0 + windows), axis=1), axis=1)
        found["return"][full] = growth[:, -1] - 1.0
        found["max_drawdown"][full] = (growth / np.maximum.accumulate(growth, axis=1) - 1.0).min(axis=1)
    return pl.DataFrame({"ts": day * NS_PER_DAY, **found}).with_columns(pl.col("ts").cast(TS))


def drawdown_table(ts: IntArray, equity: FloatArray, initial_equity: float, step_ns: int, top: int) -> pl.DataFrame:
    """Return the deepest drawdowns of a curve.

    Parameters
    ----------
    ts : (n,) array of int64
        Bar open times, ns UTC.
    equity : (n,) array of float64
        After each bar's close, quote currency.
    initial_equity : float
        Before the first bar: a peak at it has the time of the bar before the first.
    step_ns : int
        Length of a bar.
    top : int
        How many at most.

    Returns
    -------
    polars.DataFrame
        Deepest first: ``start`` (bar of the peak), ``trough``, ``end`` (bar that reached the peak again; null in one
        that lasts), ``depth`` (fraction, below 0), ``length_bars`` (from the peak to the end or to the last bar) and
        ``recovery_bars`` (from the trough to the end; null without one).

    Raises
    ------
    InvalidInput
        If ``top`` is less than 1.
    """
    if isinstance(top, bool) or not isinstance(top, (int, np.integer)) or top < 1:
        raise InvalidInput("top", "must be a whole number of at least 1", top)
    found = drawdowns(np.concatenate(([initial_equity], equity)))
    found = found[np.argsort(found["depth"], kind="stable")[:top]]
    times = np.concatenate(([ts[0] - step_ns], ts))
    has_ended = found["recovery"] >= 0
    end = np.where(has_ended, found["recovery"], ts.size)
    frame = pl.DataFrame(
        {
            "start": times[found["peak"]],
            "trough": times[found["trough"]],
            "end": times[end],
            "depth": found["depth"],
            "length_bars": end - found["peak"],
            "recovery_bars": end - found["trough"],
            "has_ended": has_ended,
        }
    )
    known = [pl.when("has_ended").then(pl.col(name)).alias(name) for name in ("end", "recovery_bars")]
    return frame.with_columns(known).drop("has_ended").with_columns(pl.col("start", "trough", "end").cast(TS))
