"""What many paths of one strategy say together: intervals, probabilities and a fan of equity. It draws no path."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import ArrayLike

from research.errors import InvalidInput
from research.kernel import FloatArray

# Of every path, in the order of the kernels that write them.
PATH_STATISTICS = (
    "total", "sharpe", "profit_factor", "max_drawdown", "lowest", "under_water_share", "longest_under_water",
)  # fmt: skip
CONFIDENCES = (0.95, 0.99)
FAN_LEVELS = (0.005, 0.025, 0.05, 0.25, 0.5, 0.75, 0.95, 0.975, 0.995)
FAN_POINTS = 100
# Paths are exchangeable: the first ones are a sample of all, and the fan's memory (8 MB) does not grow with the paths.
FAN_PATHS = 10_000


@dataclass(frozen=True, slots=True, eq=False)
class PathsResult:
    """Statistics of every path of one method.

    Parameters
    ----------
    method : str
        How the paths were made.
    randomness : str
        What differs from path to path, in words: the intervals stand for that and for nothing else.
    unit : str
        What ``sharpe`` and the time under water count: ``trade`` or ``day``.
    observed : dict of str to float
        The statistics without randomness.
    paths : polars.DataFrame
        One row per path, one column per statistic: ``total`` (return on the initial equity, or sum), ``sharpe`` (per
        unit, ddof=1, not annualised; NaN where returns are equal or fewer than 2), ``profit_factor`` (inf without
        losses, NaN without trades that won or lost), ``max_drawdown`` (at most 0, the start counts as a peak),
        ``lowest`` (lowest total at any time, at most 0), ``under_water_share`` (share of units that end below the
        highest equity so far) and ``longest_under_water`` (units).
    fixed : mapping of str to str
        Statistics that the method leaves as they are, and why: they have no interval.
    fan_at : (m,) array
        Positions of the fan's points, in units since the start.
    fan_values : (p, m) array
        Equity of the first p paths there, at most ``FAN_PATHS``.
    """

    method: str
    randomness: str
    unit: str
    observed: Mapping[str, float]
    paths: pl.DataFrame
    fixed: Mapping[str, str]
    fan_at: FloatArray
    fan_values: FloatArray

    def interval(self, statistic: str, confidence: float = 0.95) -> tuple[float, float]:
        """Return the percentile interval of a statistic; (NaN, NaN) where the method leaves it as it is.

        Each end is the value of one path: interpolation has no answer next to an infinite profit factor.

        Raises
        ------
        InvalidInput
            If the statistic is unknown, or the confidence is no number in (0, 1).
        """
        values = self._defined(statistic)
        if not 0.0 < confidence < 1.0:
            raise InvalidInput("confidence", "must lie in (0, 1)", confidence)
        if statistic in self.fixed:
            return math.nan, math.nan
        return quantile(values, (1.0 - confidence) / 2.0), quantile(values, (1.0 + confidence) / 2.0)

    def table(self, confidences: tuple[float, ...] = CONFIDENCES) -> pl.DataFrame:
        """Return one row per statistic.

        Returns
        -------
        polars.DataFrame
            ``method``, ``statistic``, ``observed``, ``undefined`` (paths where it does not exist, left out of the
            rest), ``mean``, ``median``, per confidence ``low95`` and ``high95``, ``stands_for`` (the randomness of the
            interval) and ``note``: why there is no interval, empty where there is one. Without one the numbers of the
            paths are NaN.
        """
        rows = []
        for name in self.paths.columns:
            values, is_fixed = self._defined(name), name in self.fixed
            row: dict[str, object] = {
                "method": self.method,
                "statistic": name,
                "observed": self.observed[name],
                "undefined": self.paths.height - values.size,
                "mean": math.nan if is_fixed or not values.size else float(values.mean()),
                "median": math.nan if is_fixed else quantile(values, 0.5),
            }
            for confidence in confidences:
                low, high = self.interval(name, confidence)
                row |= {f"low{100 * confidence:g}": low, f"high{100 * confidence:g}": high}
            note = self.fixed.get(name, "" if values.size else "exists on no path")
            rows.append(row | {"stands_for": "" if note else self.randomness, "note": note})
        return pl.DataFrame(rows)

    def fan(self, levels: tuple[float, ...] = FAN_LEVELS) -> pl.DataFrame:
        """Return quantiles of the equity of the paths along their way.

        Returns
        -------
        polars.DataFrame
            ``at`` (units since the start), ``mean`` and one column per level (``q2.5`` for 0.025).
        """
        columns: dict[str, FloatArray] = {"at": self.fan_at, "mean": self.fan_values.mean(axis=0)}
        found = np.quantile(self.fan_values, levels, axis=0, method="inverted_cdf")
        columns |= {f"q{100 * level:g}": values for level, values in zip(levels, found, strict=True)}
        return pl.DataFrame(columns)

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
        return float((self.paths[statistic].to_numpy() <= -depth).mean())

    def _defined(self, statistic: str) -> FloatArray:
        if statistic not in self.paths.columns:
            raise InvalidInput("statistic", f"must be one of {', '.join(self.paths.columns)}", statistic)
        values = self.paths[statistic].to_numpy()
        return np.sort(values[~np.isnan(values)])


def quantile(ordered: ArrayLike, level: float) -> float:
    """Return the smallest value that a share ``level`` of the sorted values does not exceed; NaN without values.

    Examples
    --------
    >>> quantile([1.0, 2.0, float("inf")], 0.5), quantile([1.0, 2.0, float("inf")], 0.9)
    (2.0, inf)
    """
    values = np.asarray(ordered, dtype=np.float64)
    if values.size == 0:
        return math.nan
    return float(np.quantile(values, level, method="inverted_cdf"))


def fan_positions(n: int, points: int = FAN_POINTS) -> FloatArray:
    """Return about ``points`` positions from 0 to ``n``, whole numbers, both ends among them.

    Examples
    --------
    >>> fan_positions(4, 100).tolist(), fan_positions(1000, 3).tolist()
    ([0.0, 1.0, 2.0, 3.0, 4.0], [0.0, 500.0, 1000.0])
    """
    return np.unique(np.rint(np.linspace(0.0, float(n), max(2, points))))
