"""Closed trades reordered, resampled and begun at another one of them, each with what its intervals stand for.

It changes no trade: what another execution would have made of the same decisions is
:mod:`research.validation.replayed_execution`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import ArrayLike

from research.errors import InvalidInput
from research.kernel import FloatArray, IntArray, kernel
from research.validation.fan import CONFIDENCES, FAN_PATHS, FAN_POINTS, PATH_STATISTICS, PathsResult, fan_positions
from research.validation.path_kernel import ORDER_FREE, path_statistics, resampled, shuffled

_INVARIANT = "is the same for every order of the same trades"
# Method: its number in the kernel, and what differs from path to path.
METHODS: Mapping[str, tuple[int, str]] = {
    "shuffle": (0, "the order in which the same trades came"),
    "bootstrap": (1, "which trades happened and how often, each independent of the others"),
    "block": (2, "which stretches of trades happened and how often, their order kept within a stretch"),
    "start": (3, "at which trade one began: those before it are left out"),
    "rotate": (4, "at which trade one began: those before it come after the last"),
}
REORDERS = ("shuffle", "rotate")
# Random numbers held at a time (16 MB); the paths do not depend on it.
_DRAWS = 2_000_000
_FEWEST = 20  # returns from which a block length is estimated


@dataclass(frozen=True, slots=True, eq=False)
class ResamplingReport:
    """The results of several methods on the same trades.

    Parameters
    ----------
    results : dict of str to PathsResult
        By method.
    ruin_loss : float
        The loss at which :meth:`table` counts a path as ruined.
    block : float
        Mean block length of the method ``block``, in trades.
    """

    results: Mapping[str, PathsResult]
    ruin_loss: float
    block: float

    def __getitem__(self, method: str) -> PathsResult:
        """Return the result of one method."""
        if method not in self.results:
            raise InvalidInput("method", f"must be one of {', '.join(self.results)}", method)
        return self.results[method]

    def table(self, confidences: tuple[float, ...] = CONFIDENCES) -> pl.DataFrame:
        """Return the tables of all methods (see :meth:`PathsResult.table`) with ``ruin_probability``.

        That of a method is the share of its paths that at some time have lost at least ``ruin_loss``, on every row.
        """
        ruin = {name: result.probability_of_ruin(self.ruin_loss) for name, result in self.results.items()}
        return pl.concat(
            [r.table(confidences).with_columns(ruin_probability=pl.lit(ruin[name])) for name, r in self.results.items()]
        )


def resample_trades(
    returns: ArrayLike,
    *,
    paths: int = 10_000,
    seed: int,
    methods: Sequence[str] = tuple(METHODS),
    block: float | None = None,
    ruin_loss: float = 0.5,
    max_dropped_frac: float = 0.5,
    compounding: bool = True,
    points: int = FAN_POINTS,
) -> ResamplingReport:
    """Return the distribution of statistics over resampled, reordered and later begun trades.

    Parameters
    ----------
    returns : (n,) array
        Closed trades in order, net of all costs: simple returns on equity as fractions where they compound, profit and
        loss in quote currency where not.
    paths : int
        Paths of each method.
    seed : int
        Seeds the draws of each method, the same whichever others are asked for.
    methods : sequence of str
        ``shuffle`` (a random order), ``bootstrap`` (single trades with replacement), ``block`` (stationary blocks with
        replacement), ``start`` (a random number of first trades left out), ``rotate`` (the same, put behind the last).
    block : float, optional
        Mean length of the blocks, 1 to n. By default that of :func:`automatic_block`.
    ruin_loss : float
        Loss that counts as ruin: a fraction of the initial equity where returns compound, else quote currency.
    max_dropped_frac : float
        ``start`` leaves out at most this share of the trades, in [0, 1), and always leaves 2.
    compounding : bool
        Multiply returns up (True) or add them (False).
    points : int
        Points of the fan.

    Returns
    -------
    ResamplingReport
        ``sharpe`` per trade, time under water in trades. For methods that only reorder, total, Sharpe ratio and profit
        factor have no interval: an interval of width 0 would look like certainty.

    Raises
    ------
    InvalidInput
        If there are fewer than 2 returns, one is not finite, or a parameter is out of range.

    References
    ----------
    .. [1] D. N. Politis, J. P. Romano, "The Stationary Bootstrap", JASA 89(428), 1994.

    Examples
    --------
    >>> report = resample_trades([0.03, -0.02, 0.015, -0.01, 0.02], paths=500, seed=1, methods=("shuffle", "bootstrap"))
    >>> report["shuffle"].interval("sharpe"), report["shuffle"].fixed["sharpe"]
    ((nan, nan), 'is the same for every order of the same trades')
    >>> low, high = report["bootstrap"].interval("sharpe", 0.99)
    >>> low < report["bootstrap"].observed["sharpe"] < high
    True
    """
    values = np.ascontiguousarray(returns, dtype=np.float64)
    _check(values, paths, methods, ruin_loss, max_dropped_frac, points)
    length = automatic_block(values) if block is None else float(block)
    if not 1.0 <= length <= values.size:
        raise InvalidInput("block", f"must lie in [1, {values.size}]", block)
    most_dropped = min(int(max_dropped_frac * values.size), values.size - 2)
    at = fan_positions(values.size, points)
    results = {
        name: _result(values, name, paths, seed, length, most_dropped, compounding, at)
        for name in dict.fromkeys(methods)
    }
    return ResamplingReport(results, float(ruin_loss), length)


def automatic_block(values: ArrayLike) -> float:
    """Return the mean block length of the stationary bootstrap that suits the dependence of a series, 1 to n.

    1 where fewer than 20 values or constant ones say nothing of it.

    References
    ----------
    .. [1] D. N. Politis, H. White, "Automatic Block-Length Selection for the Dependent Bootstrap", Econometric
       Reviews 23(1), 2004, as corrected by A. Patton, D. N. Politis, H. White, Econometric Reviews 28(4), 2009.

    Examples
    --------
    >>> automatic_block([0.5] * 20), automatic_block([1.0, 2.0])
    (1.0, 1.0)
    """
    from arch.bootstrap import optimal_block_length

    series = np.asarray(values, dtype=np.float64)
    if series.size < _FEWEST or series.min() == series.max():
        return 1.0
    found = float(optimal_block_length(series)["stationary"].iloc[0])
    return min(max(1.0, found), float(series.size)) if math.isfinite(found) else 1.0


def _check(
    values: FloatArray, paths: int, methods: Sequence[str], ruin_loss: float, dropped: float, points: int
) -> None:
    if values.ndim != 1 or values.size < 2:
        raise InvalidInput("returns", "must be a series of at least 2 returns", values.shape)
    wrong = np.flatnonzero(~np.isfinite(values))
    if wrong.size:
        raise InvalidInput(f"returns[{wrong[0]}]", "must be finite", float(values[wrong[0]]))
    if paths < 1:
        raise InvalidInput("paths", "must be at least 1", paths)
    if not methods:
        raise InvalidInput("methods", "must not be empty", methods)
    for name in methods:
        if name not in METHODS:
            raise InvalidInput("methods", f"must be of {', '.join(METHODS)}", name)
    if not ruin_loss > 0.0:
        raise InvalidInput("ruin_loss", "must be positive", ruin_loss)
    if not 0.0 <= dropped < 1.0:
        raise InvalidInput("max_dropped_frac", "must lie in [0, 1)", dropped)
    if points < 2:
        raise InvalidInput("points", "must be at least 2", points)


def _result(
    values: FloatArray, name: str, paths: int, seed: int, block: float, most_dropped: int, compounding: bool,
    at: FloatArray,
) -> PathsResult:  # fmt: skip
    n, (method, randomness) = values.size, METHODS[name]
    rng = np.random.default_rng([seed, method])
    positions = at.astype(np.int64)
    out, fan = np.empty((paths, len(PATH_STATISTICS))), np.empty((min(paths, FAN_PATHS), at.size))
    at_once = max(1, _DRAWS // n)
    for first in range(0, paths, at_once):
        stop = min(first + at_once, paths)
        uniform = rng.random((stop - first, n if method <= 2 else 1))
        _draw_paths(values, uniform, method, block, most_dropped, compounding, positions, fan[first:stop], out[first:])
    observed = np.empty(len(PATH_STATISTICS))
    path_statistics(values, compounding, positions, np.empty(at.size), observed)
    fixed = dict.fromkeys(ORDER_FREE, _INVARIANT) if name in REORDERS else {}
    if fixed:  # equal by definition; computed, they would differ by the rounding of another order
        out[:, : len(ORDER_FREE)] = observed[: len(ORDER_FREE)]
    return PathsResult(
        method=name,
        randomness=randomness,
        unit="trade",
        observed=dict(zip(PATH_STATISTICS, observed.tolist(), strict=True)),
        paths=pl.DataFrame(out, schema=list(PATH_STATISTICS)),
        fixed=fixed,
        fan_at=at,
        fan_values=fan,
    )


@kernel
def _draw_paths(
    values: FloatArray, uniform: FloatArray, method: int, block: float, most_dropped: int, compounding: bool,
    positions: IntArray, fan: FloatArray, out: FloatArray,
) -> None:  # fmt: skip
    """Draw one path per row of ``uniform``; write its statistics, and its equity as far as ``fan`` has rows."""
    n = values.shape[0]
    drawn, marks = np.empty(n), np.empty(positions.shape[0])
    for path in range(uniform.shape[0]):
        length = n
        if method == 0:
            shuffled(values, uniform[path], drawn)
        elif method <= 2:
            resampled(values, uniform[path], block if method == 2 else 1.0, drawn)
        elif method == 3:
            dropped = min(int(uniform[path, 0] * (most_dropped + 1)), most_dropped)
            length = n - dropped
            drawn[:length] = values[dropped:]
        else:
            first = min(int(uniform[path, 0] * n), n - 1)
            drawn[: n - first] = values[first:]
            drawn[n - first :] = values[:first]
        path_statistics(drawn[:length], compounding, positions, marks, out[path])
        if path < fan.shape[0]:
            fan[path] = marks
