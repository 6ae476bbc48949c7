"""Intervals around the figures of one backtest, by resampling its days and its trades. It draws no path of prices.

Days and trades are resampled in blocks of random length (the stationary bootstrap), so that what follows each other in
the record mostly does so in the sample: the interval tells how much the figure owes to which stretches of this record
happened, not what another market would have done.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping

import numpy as np

from research.errors import InvalidInput
from research.kernel import FloatArray, IntArray
from research.metrics.returns import DAYS_PER_YEAR

_CELLS = 2_000_000  # of a chunk of samples: 16 MB of positions
Interval = tuple[float, float]


def stationary_positions(n: int, paths: int, block: float, generator: np.random.Generator) -> IntArray:
    """Return positions of a record of ``n`` that samples of it take, in blocks of geometric length.

    Parameters
    ----------
    n : int
        Length of the record and of each sample, at least 1.
    paths : int
        Samples.
    block : float
        Mean length of a block, at least 1; 1 draws every position anew.
    generator : numpy.random.Generator
        Drawn from.

    Returns
    -------
    (paths, n) array of int64
        The end of the record is continued by its start.

    References
    ----------
    .. [1] D. N. Politis, J. P. Romano, "The Stationary Bootstrap", JASA 89(428), 1994.
    """
    at = generator.integers(0, n, (paths, n))
    begins = generator.random((paths, n)) < 1.0 / block
    begins[:, 0] = True
    since = np.arange(n) - np.maximum.accumulate(np.where(begins, np.arange(n), 0), axis=1)
    first = np.take_along_axis(at, np.arange(n) - since, axis=1)
    return (first + since) % n


def default_block(n: int) -> float:
    """Return the mean block length where none is known: the cube root of the record's length."""
    return max(1.0, float(n) ** (1.0 / 3.0))


def bootstrap_intervals(
    record: Mapping[str, FloatArray],
    statistics: Mapping[str, Callable[[Mapping[str, FloatArray]], FloatArray]],
    *,
    paths: int = 10_000,
    block: float | None = None,
    level: float = 0.95,
    seed: int = 0,
) -> dict[str, Interval]:
    """Return the interval of each statistic of a record whose rows are resampled together.

    Parameters
    ----------
    record : mapping of str to (n,) array
        Columns of the same length.
    statistics : mapping of str to callable
        Each takes columns of shape (m, n), m samples, and returns (m,) values.
    paths : int
        Samples.
    block : float, optional
        Mean length of a block; by default the cube root of ``n``.
    level : float
        Coverage, in (0, 1): the interval lies between the percentiles that leave half of the rest on either side.
    seed : int

    Returns
    -------
    dict of str to (float, float)
        NaN on both sides where a record is shorter than 2, or more than one sample in a hundred has no value. Samples
        without a value are left out; infinite ones count.

    Raises
    ------
    InvalidInput
        If columns differ in length or a setting is out of range.
    """
    lengths = {name: len(values) for name, values in record.items()}
    if len(set(lengths.values())) != 1:
        raise InvalidInput("record", "must have columns of one length", lengths)
    if paths < 1:
        raise InvalidInput("paths", "must be at least 1", paths)
    if not 0.0 < level < 1.0:
        raise InvalidInput("level", "must lie in (0, 1)", level)
    n = next(iter(lengths.values()))
    if n < 2:
        return dict.fromkeys(statistics, (math.nan, math.nan))
    mean_block = default_block(n) if block is None else block
    if not mean_block >= 1.0:
        raise InvalidInput("block", "must be at least 1", mean_block)
    found: dict[str, list[FloatArray]] = {name: [] for name in statistics}
    for positions in _chunks(n, paths, mean_block, seed):
        sample = {name: np.asarray(values, np.float64)[positions] for name, values in record.items()}
        for name, statistic in statistics.items():
            found[name].append(statistic(sample))
    return {name: _percentiles(np.concatenate(values), level) for name, values in found.items()}


def _chunks(n: int, paths: int, block: float, seed: int) -> Iterator[IntArray]:
    generator = np.random.default_rng(seed)
    size = max(1, _CELLS // n)
    for begin in range(0, paths, size):
        yield stationary_positions(n, min(size, paths - begin), block, generator)


def _percentiles(values: FloatArray, level: float) -> Interval:
    known = np.sort(values[~np.isnan(values)])
    if known.size < 0.99 * values.size:
        return math.nan, math.nan
    # Whole ranks: between two infinite values there is no number to interpolate.
    low = math.floor((1.0 - level) / 2.0 * (known.size - 1))
    return float(known[low]), float(known[known.size - 1 - low])


# ---------------------------------------------------------------- statistics of samples, one row each
def _ratio(over: FloatArray, under: FloatArray) -> FloatArray:
    with np.errstate(divide="ignore", invalid="ignore"):
        return over / under


def sharpe_of(sample: Mapping[str, FloatArray]) -> FloatArray:
    """Return annualised Sharpe ratios of daily returns ``ret``; NaN where all days are equal, up to rounding."""
    returns = sample["ret"]
    varies = np.ptp(returns, axis=1) > 1e-12 * np.abs(returns).max(axis=1)
    deviation = np.where(varies, returns.std(axis=1, ddof=1), np.nan)
    return returns.mean(axis=1) / deviation * math.sqrt(DAYS_PER_YEAR)


def sortino_of(sample: Mapping[str, FloatArray]) -> FloatArray:
    """Return annualised Sortino ratios of daily returns ``ret``; the deviation is over all days."""
    returns = sample["ret"]
    downside = np.sqrt((np.minimum(returns, 0.0) ** 2).mean(axis=1))
    return _ratio(returns.mean(axis=1), downside) * math.sqrt(DAYS_PER_YEAR)


def total_return_of(sample: Mapping[str, FloatArray]) -> FloatArray:
    """Return compounded returns of daily returns ``ret``."""
    return np.prod(1.0 + sample["ret"], axis=1) - 1.0


def max_drawdown_of(sample: Mapping[str, FloatArray]) -> FloatArray:
    """Return the deepest drawdowns between ends of days, negative fractions."""
    equity = np.cumprod(1.0 + sample["ret"], axis=1)
    peak = np.maximum(np.maximum.accumulate(equity, axis=1), 1.0)
    return np.minimum((equity / peak - 1.0).min(axis=1), 0.0)


def mean_of(name: str) -> Callable[[Mapping[str, FloatArray]], FloatArray]:
    """Return the statistic that is the mean of a column."""
    return lambda sample: sample[name].mean(axis=1)


def win_rate_of(sample: Mapping[str, FloatArray]) -> FloatArray:
    """Return shares of trades with ``pnl`` above 0."""
    return (sample["pnl"] > 0.0).mean(axis=1)


def profit_factor_of(sample: Mapping[str, FloatArray]) -> FloatArray:
    """Return gains over losses of ``pnl``; infinite without a loss, NaN without either."""
    pnl = sample["pnl"]
    return _ratio(np.maximum(pnl, 0.0).sum(axis=1), np.abs(np.minimum(pnl, 0.0)).sum(axis=1))


def payoff_ratio_of(sample: Mapping[str, FloatArray]) -> FloatArray:
    """Return the mean gain over the mean loss of ``pnl``; NaN where one of the two is missing."""
    pnl = sample["pnl"]
    gain = _ratio(np.maximum(pnl, 0.0).sum(axis=1), (pnl > 0.0).sum(axis=1).astype(np.float64))
    loss = _ratio(np.abs(np.minimum(pnl, 0.0)).sum(axis=1), (pnl < 0.0).sum(axis=1).astype(np.float64))
    return _ratio(gain, loss)


DAILY = {
    "sharpe": sharpe_of, "sortino": sortino_of, "total_return": total_return_of, "max_drawdown": max_drawdown_of,
    "trades_per_day": mean_of("trades"),
}  # fmt: skip
PER_TRADE = {
    "win_rate": win_rate_of, "profit_factor": profit_factor_of, "payoff_ratio": payoff_ratio_of,
    "holding_hours": mean_of("hours"), "expectancy": mean_of("pnl"),
}  # fmt: skip


def backtest_intervals(
    daily: FloatArray, trades_of_day: FloatArray, pnl: FloatArray, hours: FloatArray, *,
    paths: int = 10_000, level: float = 0.95, seed: int = 0,
) -> dict[str, Interval]:  # fmt: skip
    """Return intervals of a backtest's figures: daily ones from its days, those of trades from its trades.

    Parameters
    ----------
    daily : (n_days,) array
        Simple returns.
    trades_of_day : (n_days,) array
        Trades that were closed on each of these days.
    pnl, hours : (n_trades,) array
        Net profit and holding time of each trade, in order of their exits.
    paths, level, seed
        As :func:`bootstrap_intervals` takes them.

    Returns
    -------
    dict of str to (float, float)
        For each key of ``DAILY`` and ``PER_TRADE``.

    Raises
    ------
    InvalidInput
        As :func:`bootstrap_intervals`.
    """
    days, trades = {"ret": daily, "trades": trades_of_day}, {"pnl": pnl, "hours": hours}
    of_days = bootstrap_intervals(days, DAILY, paths=paths, level=level, seed=seed)
    return of_days | bootstrap_intervals(trades, PER_TRADE, paths=paths, level=level, seed=seed + 1)
