"""Candidates of a search: a strategy's parameters, scored by trading them on validation segments. It reads no file.

A segment is a run of decision rows. A learned candidate is fitted on rows before a segment (purged of labels that
reach into it), a rule needs no fit; both are then decided, sized and traded by the kernels that live runs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any

import numpy as np
import polars as pl

from research.backtest import Result, simulate
from research.errors import InvalidInput
from research.execution.costs import Costs
from research.kernel import FloatArray, IntArray
from research.labels.forward import scaled_forward_return
from research.learning.dataset import make_dataset
from research.learning.lightgbm_model import fit_lightgbm
from research.market.bars import epoch_ns, interval_ns
from research.market.instruments import Instrument
from research.metrics.returns import bar_returns, daily_equity, sharpe
from research.policy import DecisionRule, PolicySpec
from research.predictor import Predictor
from research.search.study import StudyResult, optimise


@dataclass
class Desk:
    """Bars, features and costs that every candidate is traded on.

    Parameters
    ----------
    bars : DataFrame
        Base bars on a complete clock.
    mark, funding : DataFrame or None
        As :func:`research.backtest.simulate` takes them.
    table : DataFrame
        ``ts``, ``close`` and one column per feature, a row per decision bar, on a complete clock.
    spec : PolicySpec
        Features, clocks and sizer; its strategy is replaced by each candidate's.
    learning : mapping
        ``horizon_bars``, ``rounds`` and LightGBM's parameters, for learned candidates.
    account : mapping
        Keyword arguments of :func:`research.backtest.simulate` beyond these.
    """

    bars: pl.DataFrame
    mark: pl.DataFrame | None
    funding: pl.DataFrame | None
    table: pl.DataFrame
    spec: PolicySpec
    instrument: Instrument
    costs: Costs
    learning: Mapping[str, Any]
    account: Mapping[str, Any]
    seed: int
    columns: list[str] = field(init=False)
    features: FloatArray = field(init=False)
    decision_ts: IntArray = field(init=False)
    _fits: dict[tuple[int, int], Predictor] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        self.columns = [c for c in self.table.columns if c not in ("ts", "close")]
        self.features = np.ascontiguousarray(self.table.select(self.columns).to_numpy())
        self.decision_ts = epoch_ns(self.table)

    @property
    def n_rows(self) -> int:
        """Decision rows."""
        return self.table.height

    @property
    def base_ns(self) -> int:
        """Length of a base bar."""
        return interval_ns(self.spec.base_interval)

    @property
    def decision_ns(self) -> int:
        """Length of a decision bar."""
        return interval_ns(self.spec.decision_interval)

    @property
    def first_row(self) -> int:
        """First decision row whose features are all known."""
        known = np.flatnonzero(np.isfinite(self.features).all(axis=1))
        if not known.size:
            raise InvalidInput("features", "must all be finite on some row; the history is shorter than their lookback")
        return int(known[0])

    def fit(self, start: int, stop: int) -> Predictor:
        """Return the learned predictor of rows ``start`` to ``stop``, fitted once per pair.

        Labels that end at or after ``stop`` are purged.
        """
        key = (start, stop)
        if key not in self._fits:
            horizon = int(self.learning["horizon_bars"])
            volatility = self.table[self.spec.volatility].to_numpy()
            label = scaled_forward_return(self.table["close"].to_numpy()[:stop], volatility[:stop], horizon)
            dataset = make_dataset(
                self.features[start:stop], self.columns, label[start:stop], self.decision_ts[start:stop], horizon
            )
            settings = {k: v for k, v in self.learning.items() if k not in ("horizon_bars", "rounds")}
            booster = fit_lightgbm(dataset, settings, seed=self.seed, rounds=int(self.learning["rounds"]))
            self._fits[key] = Predictor.from_lightgbm(booster, self.columns)
        return self._fits[key]

    def trade(
        self, candidate: Candidate, params: Mapping[str, Any], predictor: Predictor, start: int, stop: int
    ) -> Result:
        """Return the backtest of a candidate over decision rows ``start`` to ``stop``, starting flat and cold."""
        rule = DecisionRule(candidate.policy_spec(self.spec, params), self.columns)
        features = self.features[start:stop]
        score = predictor.predict(features) if rule.needs_score else np.full(stop - start, np.nan)
        _, exposure = rule.decide(features, score)
        per_decision = self.decision_ns // self.base_ns
        first = int((self.decision_ts[start] - epoch_ns(self.bars.head(1))[0]) // self.base_ns)
        length = (stop - start) * per_decision
        targets = np.full(length, np.nan)
        targets[per_decision - 1 :: per_decision] = exposure
        window = self.bars.slice(first, length)
        return simulate(
            window, targets, instrument=self.instrument, costs=self.costs,
            funding=self.funding, mark=None if self.mark is None else self.mark.slice(first, length), **self.account,
        )  # fmt: skip


@dataclass(frozen=True)
class Candidate:
    """A strategy, what it reads, what is fixed and what is searched."""

    name: str
    strategy: str
    inputs: Mapping[str, str]
    params: Mapping[str, Any]
    space: Mapping[str, Mapping[str, Any]]

    @property
    def is_learned(self) -> bool:
        """Whether the strategy reads the predictor's score."""
        return "score" in self.inputs.values()

    def policy_spec(self, spec: PolicySpec, params: Mapping[str, Any]) -> PolicySpec:
        """Return ``spec`` with this strategy and these parameters."""
        return replace(
            spec, strategy=self.strategy, strategy_inputs=dict(self.inputs), strategy_params={**self.params, **params}
        )


@dataclass(frozen=True)
class Choice:
    """The best candidate of a search, its parameters, its daily returns and every trial that led there."""

    candidate: Candidate
    params: dict[str, Any]
    value: float
    trials: pl.DataFrame
    daily: FloatArray


def segments(start: int, stop: int, folds: int) -> list[tuple[int, int]]:
    """Return validation segments: the range in ``folds + 1`` equal parts, the first kept for fitting alone.

    Examples
    --------
    >>> segments(0, 100, 3)
    [(25, 50), (50, 75), (75, 100)]
    """
    edges = np.linspace(start, stop, folds + 2).astype(int)
    if np.diff(edges).min() < 1:
        raise InvalidInput("segments", f"need at least {folds + 1} rows", stop - start)
    return [(int(a), int(b)) for a, b in pairwise(edges[1:])]


def choose(
    desk: Desk, candidates: list[Candidate], start: int, stop: int, *, trials: int, folds: int, sampler: str, seed: int,
    progress: bool = False,
) -> Choice:  # fmt: skip
    """Search every candidate on rows ``start`` to ``stop`` and return the best.

    Parameters
    ----------
    trials : int
        For each candidate.
    folds : int
        Validation segments; the objective is the annualised Sharpe ratio of their daily returns, stitched.

    Returns
    -------
    Choice
        ``trials`` has one row per trial of every candidate, ``sharpe_day`` its Sharpe ratio per day.
    """
    parts = segments(start, stop, folds)
    best: tuple[Candidate, StudyResult] | None = None
    tables = []
    for number, candidate in enumerate(candidates):

        def objective(params: dict[str, Any], candidate: Candidate = candidate) -> tuple[float, dict[str, float]]:
            per_segment = np.concatenate([_validate(desk, candidate, params, start, part) for part in parts])
            per_day = sharpe(per_segment, periods_per_year=1.0) if per_segment.size > 1 else float("nan")
            return per_day * 365.0**0.5, {"sharpe_day": per_day, "days": float(per_segment.size)}

        study = optimise(
            objective, candidate.space, trials=trials, seed=seed + number, sampler=sampler, progress=progress
        )
        tables.append(study.trials.with_columns(pl.lit(candidate.name).alias("candidate")))
        if np.isfinite(study.best_value) and (best is None or study.best_value > best[1].best_value):
            best = (candidate, study)
    table = pl.concat(tables, how="diagonal_relaxed")
    if best is None:
        return Choice(candidates[0], _centre(candidates[0]), float("nan"), table, np.empty(0))
    chosen, params = best[0], dict(best[1].best_params)
    returns = np.concatenate([_validate(desk, chosen, params, start, part) for part in parts])
    return Choice(chosen, params, float(best[1].best_value), table, returns)


def _validate(
    desk: Desk, candidate: Candidate, params: Mapping[str, Any], start: int, part: tuple[int, int]
) -> FloatArray:
    predictor = desk.fit(start, part[0]) if candidate.is_learned else Predictor.none()
    return daily(desk.trade(candidate, params, predictor, *part).equity, float(desk.account["initial_cash_quote"]))


def trades_on_equity(result: Result) -> pl.DataFrame:
    """Return the closed trades with ``equity_frac``: net profit over the equity before the bar of the entry."""
    equity = np.concatenate(([result.initial_cash_quote], result.equity["equity"].to_numpy()))
    trades = result.trades
    before = equity[trades["entry_bar"].to_numpy()]
    return trades.with_columns(pl.Series("equity_frac", trades["pnl"].to_numpy() / before))


def daily(equity: pl.DataFrame, initial_equity: float) -> FloatArray:
    """Return the simple return of each UTC day of an equity frame (``ts``, ``equity``)."""
    _, values = daily_equity(epoch_ns(equity), equity["equity"].to_numpy())
    return bar_returns(values, initial_equity)


def _centre(candidate: Candidate) -> dict[str, Any]:
    """Return the middle of a space: what is left when no trial traded."""
    return {
        name: axis["choices"][0] if "choices" in axis else type(axis["low"])((axis["low"] + axis["high"]) / 2)
        for name, axis in candidate.space.items()
    }
