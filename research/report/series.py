"""Series as figures need them: days, months, windows, and fewer points that keep the extremes. It draws nothing."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl

from research.errors import SchemaMismatch
from research.kernel import FloatArray, IntArray
from research.market.bars import NS_PER_DAY, TS, epoch_ns
from research.metrics.returns import DAYS_PER_YEAR, bar_returns, daily_equity
from research.metrics.thinning import thinned

POINTS = 2_000  # a chart is some 1,300 pixels wide: two points a bucket show every extreme that a pixel could


def require(frame: pl.DataFrame, columns: Sequence[str], subject: str) -> None:
    """Refuse a frame that lacks a column.

    Raises
    ------
    SchemaMismatch
        Naming the first one that is missing.
    """
    missing = [c for c in columns if c not in frame.columns]
    if missing:
        raise SchemaMismatch(f"{subject}.{missing[0]}", "is required; columns are", frame.columns)


def thin(frame: pl.DataFrame, column: str, points: int = POINTS) -> pl.DataFrame:
    """Return at most ``points + 2`` rows of a long frame, every bucket's lowest and highest among them.

    Parameters
    ----------
    frame : DataFrame
        In time order; a short one is returned as it is.
    column : str
        Whose extremes are kept. A bucket of NaN alone keeps its first row.
    points : int
        At least 2.

    Returns
    -------
    DataFrame
        Rows of ``frame``, in order, the first and the last included.

    Examples
    --------
    >>> spike = pl.DataFrame({"x": [0.0] * 500 + [9.0] + [0.0] * 499})
    >>> short = thin(spike, "x", points=10)
    >>> short.height <= 12, short["x"].max()
    (True, 9.0)
    """
    return frame[thinned(frame[column].cast(pl.Float64).fill_null(float("nan")).to_numpy(), points)]


def times(frame: pl.DataFrame, column: str = "ts") -> np.ndarray:
    """Return times as plotly takes them: datetime64 in milliseconds, UTC."""
    return (epoch_ns(frame.with_columns(pl.col(column).cast(TS)), column) // 1_000_000).astype("datetime64[ms]")


def finite_rows(frame: pl.DataFrame, column: str) -> pl.DataFrame:
    """Return the rows where a column is known."""
    return frame.filter(pl.col(column).cast(pl.Float64).is_finite())


def daily(frame: pl.DataFrame) -> tuple[np.ndarray, FloatArray]:
    """Return days and their returns from an equity frame.

    Returns
    -------
    day : (n,) array of datetime64[D]
        The first day is measured from the frame's first row.
    returns : (n,) array of float64
        Simple, fractions.
    """
    known = finite_rows(frame, "equity")
    if known.is_empty():
        return np.zeros(0, "datetime64[D]"), np.zeros(0)
    equity = known["equity"].cast(pl.Float64).to_numpy()
    day, closing = daily_equity(_ns(known), equity)
    return day.astype("datetime64[D]"), bar_returns(closing, initial_equity=float(equity[0]))


def monthly(frame: pl.DataFrame) -> pl.DataFrame:
    """Return the compounded return of each month: year, month, ret; the first and last may be cut short."""
    day, returns = daily(frame)
    table = pl.DataFrame({"day": (day.astype(np.int64) * NS_PER_DAY), "ret": returns}).with_columns(
        pl.col("day").cast(TS)
    )
    return (
        table.group_by(pl.col("day").dt.year().alias("year"), pl.col("day").dt.month().alias("month"))
        .agg(((pl.col("ret") + 1.0).product() - 1.0).alias("ret"))
        .sort("year", "month")
    )


def rolling_sharpe(returns: FloatArray, window: int) -> FloatArray:
    """Return the annualised Sharpe ratio of each window of days; NaN before one is full or where it is constant."""
    out = np.full(returns.size, np.nan)
    if returns.size < window or window < 2:
        return out
    windows = np.lib.stride_tricks.sliding_window_view(returns, window)
    spread = windows.std(axis=1, ddof=1)
    # Below this a window is constant but for rounding, and its ratio does not exist.
    known = spread > 1e-15
    out[window - 1 :][known] = windows.mean(axis=1)[known] / spread[known] * np.sqrt(DAYS_PER_YEAR)
    return out


def _ns(frame: pl.DataFrame) -> IntArray:
    return epoch_ns(frame.with_columns(pl.col("ts").cast(TS)))
