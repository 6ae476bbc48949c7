"""What else the same trades could have come to: resampled and reordered. It changes no trade and adds no cost."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import ArrayLike

from research.errors import InvalidInput
from research.kernel import FloatArray, kernel

METHODS = {"bootstrap": 0, "circular": 1, "shuffle": 2}
STATISTICS = ("total", "sharpe", "profit_factor", "max_drawdown", "lowest")
# They depend on which returns were drawn, not on their order: a shuffle leaves them as they are.
ORDER_FREE = ("total", "sharpe", "profit_factor")
LEVELS = (0.005, 0.025, 0.05, 0.5, 0.95, 0.975, 0.995)
# Random numbers held at a time (16 MB); the paths do not depend on it.
_DRAWS = 2_000_000


@dataclass(frozen=True, slots=True)
class MonteCarloResult:
    """Statistics of every path.

    Parameters
    ----------
    method : str
        How the paths were made.
    observed : dict of str to float
        The statistics of the returns in the order given.
    paths : DataFrame
        One row per path, one column per statistic (see :func:`monte_carlo`).
    """

    method: str
    observed: dict[str, float]
    paths: pl.DataFrame

    @property
    def varying(self) -> tuple[str, ...]:
        """Statistics that the method can say something about."""
        return tuple(s for s in STATISTICS if self.method != "shuffle" or s not in ORDER_FREE)

    def table(self, levels: tuple[float, ...] = LEVELS) -> pl.DataFrame:
        """Return the distribution of each varying statistic.

        Parameters
        ----------
        levels : tuple of float
            Quantiles in [0, 1].

        Returns
        -------
        DataFrame
            One row per statistic: ``statistic``, ``observed``, ``undefined`` (paths where it does not exist, left
            out of the rest), ``mean`` and one column per level (``q2.5`` for 0.025). Each quantile is the value of
            one path: interpolation has no answer next to an infinite profit factor.
        """
        rows = []
        for name in self.varying:
            values = self._defined(name)
            row: dict[str, object] = {
                "statistic": name,
                "observed": self.observed[name],
                "undefined": self.paths.height - values.size,
                "mean": float(values.mean()) if values.size else math.nan,
            }
            row |= {f"q{100 * level:g}": _quantile(values, level) for level in levels}
            rows.append(row)
        return pl.DataFrame(rows)

    def interval(self, statistic: str, confidence: float = 0.95) -> tuple[float, float]:
        """Return the percentile interval of a statistic.

        Raises
        ------
        InvalidInput
            If the statistic is unknown, or does not depend on what the method varies: reordering trades leaves their
            Sharpe ratio, profit factor and total as they are, and an interval of width 0 is not certainty.
        """
        if statistic not in STATISTICS:
            raise InvalidInput("statistic", f"must be one of {', '.join(STATISTICS)}", statistic)
        if statistic not in self.varying:
            raise InvalidInput(statistic, "does not depend on the order of returns: use method='bootstrap'")
        if not 0.0 < confidence < 1.0:
            raise InvalidInput("confidence", "must lie in (0, 1)", confidence)
        values = self._defined(statistic)
        return _quantile(values, (1.0 - confidence) / 2.0), _quantile(values, (1.0 + confidence) / 2.0)

    def probability_of_drawdown(self, depth: float) -> float:
        """Return the share of paths that fall at least ``depth`` below their peak.

        Parameters
        ----------
        depth : float
            Positive; a fraction of the peak (0.2 is 20 %) where returns compound, else quote currency.
        """
        return self._share_below("max_drawdown", depth)

    def probability_of_ruin(self, loss: float) -> float:
        """Return the share of paths that at some time have lost at least ``loss`` of what they started with.

        Parameters
        ----------
        loss : float
            Positive; a fraction of the initial equity where returns compound, else quote currency.
        """
        return self._share_below("lowest", loss)

    def _share_below(self, statistic: str, depth: float) -> float:
        if not depth > 0.0:
            raise InvalidInput(statistic, "must be asked for a positive depth", depth)
        return float((self.paths[statistic] <= -depth).mean())  # type: ignore[arg-type]

    def _defined(self, statistic: str) -> FloatArray:
        values = self.paths[statistic].to_numpy()
        return np.sort(values[~np.isnan(values)])


def monte_carlo(
    returns: ArrayLike,
    *,
    paths: int = 10_000,
    block: float = 1,
    seed: int,
    method: str = "bootstrap",
    compounding: bool = True,
) -> MonteCarloResult:
    """Return the distribution of statistics over resampled or reordered returns.

    Parameters
    ----------
    returns : (n,) array
        Closed trades in order (net of all costs), or bar returns: simple returns on equity as fractions where they
        compound, profit and loss in quote currency where not.
    paths : int
        Paths to draw, each of n returns.
    block : float
        For ``bootstrap`` the mean, for ``circular`` the length of the blocks drawn, in returns, 1 to n. 1 draws single
        returns; longer blocks keep the dependence within them. Not read by ``shuffle``.
    seed : int
        Seeds the draws.
    method : str
        ``bootstrap``: blocks of geometric length with replacement (stationary); ``circular``: blocks of one length
        with replacement; both give intervals of any statistic. ``shuffle``: a random order, for drawdown alone.
    compounding : bool
        Multiply returns up (True) or add them (False).

    Returns
    -------
    MonteCarloResult
        Statistics, per path: ``total`` (return on the initial equity, or sum), ``sharpe`` (per return, ddof=1, not
        annualised; NaN where all drawn returns are equal), ``profit_factor`` (sum of gains over sum of losses; inf
        without losses, NaN without either), ``max_drawdown`` (at most 0; the start counts as a peak) and ``lowest``
        (lowest total at any time, at most 0). Where returns compound, equity that reaches 0 stays there.

    Raises
    ------
    InvalidInput
        If there are fewer than 2 returns, one is not finite, or a parameter is out of range.

    References
    ----------
    .. [1] D. N. Politis, J. P. Romano, "The Stationary Bootstrap", JASA 89(428), 1994.

    Examples
    --------
    >>> result = monte_carlo([0.03, -0.02, 0.015, -0.01, 0.02], paths=1000, seed=1)
    >>> low, high = result.interval("sharpe", 0.95)
    >>> low < result.observed["sharpe"] < high
    True
    """
    values = np.ascontiguousarray(returns, dtype=np.float64)
    _check(values, paths, block, method)
    rng = np.random.default_rng(seed)
    n = values.size
    out = np.empty((paths, len(STATISTICS)))
    at_once = max(1, _DRAWS // n)
    for first in range(0, paths, at_once):
        stop = min(first + at_once, paths)
        uniform = rng.random((stop - first, n))
        _paths(values, uniform, METHODS[method], float(block), compounding, out[first:stop])
    observed = np.empty(len(STATISTICS))
    _statistics(values, compounding, observed)
    if method == "shuffle":  # equal by definition; computed, they would differ by the rounding of another order
        out[:, : len(ORDER_FREE)] = observed[: len(ORDER_FREE)]
    return MonteCarloResult(
        method=method,
        observed=dict(zip(STATISTICS, observed.tolist(), strict=True)),
        paths=pl.DataFrame(out, schema=list(STATISTICS)),
    )


def _check(values: FloatArray, paths: int, block: float, method: str) -> None:
    if values.ndim != 1 or values.size < 2:
        raise InvalidInput("returns", "must be a series of at least 2 returns", values.shape)
    wrong = np.flatnonzero(~np.isfinite(values))
    if wrong.size:
        raise InvalidInput(f"returns[{wrong[0]}]", "must be finite", float(values[wrong[0]]))
    if method not in METHODS:
        raise InvalidInput("method", f"must be one of {', '.join(METHODS)}", method)
    if paths < 1:
        raise InvalidInput("paths", "must be at least 1", paths)
    if not 1 <= block <= values.size or (method == "circular" and block != int(block)):
        raise InvalidInput("block", f"must lie in [1, {values.size}], whole for circular blocks", block)


def _quantile(ordered: FloatArray, level: float) -> float:
    """Return the smallest value that a share ``level`` of the sorted values does not exceed."""
    if ordered.size == 0:
        return math.nan
    return float(np.quantile(ordered, level, method="inverted_cdf"))


@kernel
def _paths(values, uniform, method, block, compounding, out):  # type: ignore[no-untyped-def]
    n = values.shape[0]
    drawn = np.empty(n)
    for path in range(uniform.shape[0]):
        if method == 2:
            shuffled(values, uniform[path], drawn)
        else:
            resampled(values, uniform[path], block, method == 1, drawn)
        _statistics(drawn, compounding, out[path])


@kernel
def resampled(values, uniform, block, is_circular, drawn):  # type: ignore[no-untyped-def]
    """Draw blocks with replacement, the end of the series continued by its start.

    One uniform number decides both: below 1 / block a new block starts, and where the number lies below that
    (uniform again) says at which return.
    """
    n = values.shape[0]
    restart = 1.0 if is_circular else 1.0 / block
    length = int(block)
    at = 0
    for i in range(n):
        if i == 0:
            at = min(int(uniform[i] * n), n - 1)
        elif (is_circular and i % length == 0) or (not is_circular and uniform[i] < restart):
            at = min(int(uniform[i] / restart * n), n - 1)
        else:
            at = at + 1 if at + 1 < n else 0
        drawn[i] = values[at]


@kernel
def shuffled(values, uniform, drawn):  # type: ignore[no-untyped-def]
    """Draw a permutation, each equally likely (Fisher-Yates)."""
    drawn[:] = values
    for i in range(values.shape[0] - 1, 0, -1):
        j = min(int(uniform[i] * (i + 1)), i)
        drawn[i], drawn[j] = drawn[j], drawn[i]


@kernel
def _statistics(values, compounding, out):  # type: ignore[no-untyped-def]
    """Write total, sharpe, profit_factor, max_drawdown and lowest of one path."""
    path_statistics(values, compounding, np.empty(0, np.int64), np.empty(0), out)


@kernel
def path_statistics(values, compounding, positions, marks, out):  # type: ignore[no-untyped-def]
    """Write the statistics of one path, and its equity at some positions.

    Parameters
    ----------
    values : (n,) array
        Returns in order.
    compounding : bool
        Multiply returns up or add them.
    positions : (m,) array of int64
        Increasing, counted in returns since the start; those beyond the end get the last equity.
    marks : (m,) array
        Filled with the equity there: 1 at the start where returns compound, else 0.
    out : (5,) or (7,) array
        Filled with total, sharpe, profit_factor, max_drawdown and lowest, and where there is room with the share of
        returns after which equity lies below its peak, and the longest run of them.
    """
    n = values.shape[0]
    gain, loss, first = 0.0, 0.0, values[0]
    shifted, shifted_square, is_constant = 0.0, 0.0, True
    equity = 1.0 if compounding else 0.0
    start, peak, low, deepest = equity, equity, equity, 0.0
    under, run, longest, mark = 0, 0, 0, 0
    while mark < positions.shape[0] and positions[mark] == 0:
        marks[mark] = equity
        mark += 1
    for i in range(n):
        value = values[i]
        if value > 0.0:
            gain += value
        else:
            loss -= value
        if value != first:
            is_constant = False
        shifted += value - first
        shifted_square += (value - first) * (value - first)
        if compounding:
            equity = max(equity * (1.0 + value), 0.0)
        else:
            equity += value
        low = min(low, equity)
        if equity < peak:
            under, run = under + 1, run + 1
            longest = max(longest, run)
            deepest = min(deepest, equity / peak - 1.0 if compounding else equity - peak)
        else:
            peak, run = equity, 0
        if mark < positions.shape[0] and positions[mark] == i + 1:
            marks[mark] = equity
            mark += 1
    marks[mark:] = equity
    out[0] = equity - start
    if is_constant:
        out[1] = np.nan
    else:
        variance = (shifted_square - shifted * shifted / n) / (n - 1)
        out[1] = (first + shifted / n) / math.sqrt(variance)
    if loss > 0.0:
        out[2] = gain / loss
    else:
        out[2] = np.inf if gain > 0.0 else np.nan
    out[3] = deepest
    out[4] = low - start
    if out.shape[0] > 5:
        out[5], out[6] = under / n, longest
