"""The desk that candidates are traded on: one instrument's bars, features and costs. It searches nothing.

Fits, scores and cut-out segments are kept, since the trials of a search ask for the same ones again and again.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import polars as pl

from research.backtest import Result, simulate
from research.errors import InvalidInput, MisalignedBars
from research.execution.costs import Costs
from research.kernel import FloatArray, IntArray
from research.labels.forward import scaled_forward_return
from research.learning.dataset import make_dataset
from research.learning.lightgbm_model import fit_lightgbm
from research.market.bars import NS_PER_DAY, epoch_ns, interval_ns, require_clock
from research.market.instruments import Instrument
from research.policy import DecisionRule, PolicySpec
from research.predictor import Predictor


@dataclass(frozen=True)
class Candidate:
    """A strategy, what it reads, what is fixed and what is searched.

    Parameters
    ----------
    name : str
        Under which trials and choice are reported.
    strategy : str
        A key of :data:`research.strategies.STRATEGIES`.
    inputs : mapping of str to str
        Input role of the strategy to feature column, or to ``"score"`` for a predictor's output.
    params : mapping
        Parameters of the strategy that are fixed; those neither here nor in ``space`` take their defaults.
    space : mapping
        Parameters of the strategy that are searched, as :meth:`research.search.Space.from_dict` takes them.

    Notes
    -----
    Nothing is checked until the candidate is traded or its space read.
    """

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
class Segment:
    """What trading a run of decision rows reads, cut out once for all the trials on it.

    Parameters
    ----------
    bars : DataFrame
        The run's base bars.
    mark, funding : DataFrame or None
        Rows of the run's times; of funding also one row before and one after, which say that no settlement is missing.
    columns : (n_features, n) array
        Features of the run's decision rows, each lying in one piece.
    """

    bars: pl.DataFrame
    mark: pl.DataFrame | None
    funding: pl.DataFrame | None
    columns: FloatArray


@dataclass
class Desk:
    """Bars, features and costs that every candidate is traded on.

    Fits, scores and segments are kept, as trials repeat them: 80 trials of a learned and a ruled candidate on three
    segments of 60 days take 1.0 s instead of 3.8. Not for several threads at once.

    Parameters
    ----------
    bars : DataFrame
        Base bars on a complete clock, absent ones NaN. They cover every row of ``table``.
    mark : DataFrame or None
        Mark price (``ts``, ``open``), on times of the bars' clock; where there is none, the bar's open stands in.
    funding : DataFrame or None
        Settlements, as :func:`research.execution.funding.funding_per_bar` takes them. None charges none.
    table : DataFrame
        ``ts``, ``close`` and one column per feature, a row per decision bar, on a complete clock.
    spec : PolicySpec
        Features, clocks and sizer; its strategy is replaced by each candidate's.
    instrument : Instrument
        Ticks, lots, minima, fees and leverage, by date.
    costs : Costs
        Spread, slippage, and fees where they are not the instrument's own.
    learning : mapping
        ``horizon_bars`` (decision bars that a label looks ahead), ``rounds`` (boosting rounds), and LightGBM's
        parameters, for learned candidates.
    account : mapping
        Further keyword arguments of :func:`research.backtest.simulate`; ``initial_cash_quote`` is required.
    seed : int
        Of every fit.

    Raises
    ------
    MisalignedBars
        If bars or table are not on their clocks, the mark is not on the bars', the bars do not cover the table, or
        funding times do not increase.
    InvalidInput
        If ``account`` has no ``initial_cash_quote``.
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
    _scores: dict[tuple[str, int, int], FloatArray] = field(init=False, default_factory=dict)
    _segments: dict[tuple[int, int], Segment] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        if "initial_cash_quote" not in self.account:
            raise InvalidInput("desk.account", "must have initial_cash_quote", sorted(self.account))
        self.columns = [c for c in self.table.columns if c not in ("ts", "close")]
        self.features = np.ascontiguousarray(self.table.select(self.columns).to_numpy())
        self.decision_ts = epoch_ns(self.table)
        self._require_clocks()

    def _require_clocks(self) -> None:
        bar_ts = epoch_ns(self.bars)
        if not self.decision_ts.size or not bar_ts.size:
            raise InvalidInput("desk", "must have rows in bars and table", [bar_ts.size, self.decision_ts.size])
        require_clock(self.decision_ts, self.decision_ns, "desk.table")
        require_clock(bar_ts, self.base_ns, "desk.bars")
        held = (int(bar_ts[0]), int(bar_ts[-1]) + self.base_ns)
        wanted = (int(self.decision_ts[0]), int(self.decision_ts[-1]) + self.decision_ns)
        if held[0] > wanted[0] or held[1] < wanted[1]:
            raise MisalignedBars("desk.bars", f"must cover the table's {wanted[0]} to {wanted[1]} ns", held)
        for name, frame, step_ns in (("mark", self.mark, self.base_ns), ("funding", self.funding, 1)):
            ts = epoch_ns(frame) if frame is not None else np.empty(0, np.int64)
            wrong = np.flatnonzero((ts % step_ns != 0) | np.append(False, np.diff(ts) <= 0)[: ts.size])
            if wrong.size:
                rule = f"must be later than the row before, and a multiple of {step_ns} ns"
                raise MisalignedBars(f"desk.{name}.ts[{wrong[0]}]", rule, int(ts[wrong[0]]))

    @property
    def n_rows(self) -> int:
        """Decision rows."""
        return self.table.height

    @property
    def base_ns(self) -> int:
        """Length of a base bar, ns."""
        return interval_ns(self.spec.base_interval)

    @property
    def decision_ns(self) -> int:
        """Length of a decision bar, ns."""
        return interval_ns(self.spec.decision_interval)

    @property
    def initial_cash_quote(self) -> float:
        """What every backtest starts with."""
        return float(self.account["initial_cash_quote"])

    @property
    def first_row(self) -> int:
        """First decision row that opens a UTC day and stands no earlier than the first with all features known.

        Windows of whole days from here on are those of daily returns.

        Raises
        ------
        InvalidInput
            If there is none.
        """
        known = np.flatnonzero(np.isfinite(self.features).all(axis=1))
        days = np.flatnonzero(self.decision_ts % NS_PER_DAY == 0)
        days = days[days >= known[0]] if known.size else known
        if not days.size:
            rule = "must all be finite before some UTC midnight; the history is shorter than their lookback"
            raise InvalidInput("features", rule)
        return int(days[0])

    def fit(self, start: int, stop: int) -> Predictor:
        """Return the learned predictor of decision rows ``start`` to ``stop`` (excluded), fitted once per pair.

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

    def score(self, predictor: Predictor, start: int, stop: int) -> FloatArray:
        """Return a predictor's score of decision rows ``start`` to ``stop`` (excluded), computed once.

        Returns
        -------
        (stop - start,) array
            NaN where a feature is not finite, and everywhere for a predictor without a model. Not to be written to.
        """
        key = (predictor.sha256, start, stop)
        if key not in self._scores:
            self._scores[key] = predictor.predict(self.features[start:stop])
        return self._scores[key]

    def segment(self, start: int, stop: int) -> Segment:
        """Return bars, mark and funding of decision rows ``start`` to ``stop`` (excluded), cut out once.

        Raises
        ------
        InvalidInput
            If the range is empty or reaches beyond the table.
        """
        key = (start, stop)
        if key not in self._segments:
            if not 0 <= start < stop <= self.n_rows:
                raise InvalidInput("segment", f"must be a range of rows within [0, {self.n_rows}]", key)
            begin, end = int(self.decision_ts[start]), int(self.decision_ts[stop - 1]) + self.decision_ns
            self._segments[key] = Segment(
                bars=_within(self.bars, begin, end),
                mark=None if self.mark is None else _within(self.mark, begin, end),
                funding=None if self.funding is None else _within(self.funding, begin, end, beyond=1),
                columns=np.ascontiguousarray(self.features[start:stop].T),
            )
        return self._segments[key]

    def trade(
        self, candidate: Candidate, params: Mapping[str, Any], predictor: Predictor, start: int, stop: int
    ) -> Result:
        """Return the backtest of a candidate over a run of decision rows, starting flat and cold.

        Parameters
        ----------
        candidate : Candidate
            What decides.
        params : mapping
            Values of its space.
        predictor : Predictor
            Scores the rows where the strategy reads a score.
        start, stop : int
            Decision rows, the second excluded.

        Raises
        ------
        InvalidInput
            If the strategy, a parameter or an input is unknown or out of range, or the rows are.
        FundingHole
            If funding rows do not cover the segment.
        """
        rule = DecisionRule(candidate.policy_spec(self.spec, params), self.columns)
        segment = self.segment(start, stop)
        score = self.score(predictor, start, stop) if rule.needs_score else np.full(stop - start, np.nan)
        _, exposure = rule.decide_columns(segment.columns, score)
        per_decision = self.decision_ns // self.base_ns
        targets = np.full(segment.bars.height, np.nan)
        targets[per_decision - 1 :: per_decision] = exposure
        return simulate(
            segment.bars, targets, instrument=self.instrument, costs=self.costs, funding=segment.funding,
            mark=segment.mark, gaps="hold", **self.account,
        )  # fmt: skip


def _within(frame: pl.DataFrame, begin_ns: int, end_ns: int, beyond: int = 0) -> pl.DataFrame:
    """Return the rows of ``[begin, end)``, by time, and ``beyond`` rows on either side."""
    low, high = np.searchsorted(epoch_ns(frame), [begin_ns, end_ns])
    first = max(0, int(low) - beyond)
    return frame.slice(first, int(high) + beyond - first)
