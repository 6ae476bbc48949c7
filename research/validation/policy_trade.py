"""Policies as the functions that stresses, ladders and controls trade with: they decide anew each time and fit none."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl

from research.backtest.combinations import spec_at
from research.backtest.result import Result
from research.backtest.simulate import simulate
from research.backtest.sweep import Sweep
from research.errors import InvalidInput
from research.kernel import FloatArray
from research.market.bars import arrays, epoch_ns
from research.policy import BAR_INPUTS, Policy, PolicySpec
from research.predictor import Predictor
from research.validation.stress_market import Market


class PolicyTrade:
    """``trade(market)`` of one symbol: the policy's decisions on the market's bars, and their backtest.

    Parameters
    ----------
    policy : Policy
        Its state at this moment is the one that every market begins with; it is left as the last market left it.
    **account
        Further keyword arguments of :func:`research.backtest.simulate`: initial cash, leverage, margin, exits. What
        the market has (instrument, costs, latency, mark, funding, unit) is not among them.

    Raises
    ------
    InvalidInput
        If an argument is the market's, or a market has several symbols.

    Examples
    --------
    >>> from research.execution import Costs
    >>> from research.market import simulate_market
    >>> from research.market.simulated_spec import MarketSpec
    >>> from research.policy import PolicySpec
    >>> from research.predictor import Predictor
    >>> from research.validation.stress_market import History
    >>> made = simulate_market(MarketSpec(days=2, seed=7))
    >>> spec = PolicySpec(
    ...     base_interval="1m",
    ...     decision_interval="5m",
    ...     features={"trend": {"feature": "ema_spread", "fast": 12, "slow": 48}},
    ...     strategy="trend",
    ...     strategy_inputs={"trend": "trend", "quality": "trend"},
    ...     strategy_params={"enter": 1.0},
    ...     sizer="fixed",
    ...     sizer_params={"exposure": 0.5},
    ... )
    >>> bars = made.bars["linear", "SOLUSDT"]
    >>> market = Market({"SOLUSDT": History(bars, made.instruments["linear", "SOLUSDT"])}, Costs())
    >>> trade = PolicyTrade(Policy(spec, Predictor.none()))
    >>> trade(market).equity.equals(trade(market).equity)
    True
    """

    def __init__(self, policy: Policy, **account: Any) -> None:
        taken = sorted({"instrument", "costs", "latency_bars", "mark", "funding", "unit", "gaps"} & set(account))
        if taken:
            raise InvalidInput(taken[0], "is the market's: give it there", account[taken[0]])
        self._policy, self._state, self._account = policy, policy.snapshot(), account
        # A stress of costs leaves the bars as they are, and with them the decisions.
        self._known: tuple[pl.DataFrame, FloatArray] | None = None

    def exposures(self, bars: pl.DataFrame) -> FloatArray:
        """Return the target exposure of each bar, NaN where nothing was decided."""
        self._policy.restore(self._state)
        inputs = dict(zip(BAR_INPUTS, arrays(bars, BAR_INPUTS), strict=True))
        return self._policy.push(epoch_ns(bars), inputs).exposures_per_bar(bars.height)

    def __call__(self, market: Market) -> Result:
        """Return the backtest of the policy's decisions on a market."""
        if len(market.symbols) != 1:
            raise InvalidInput("market.symbols", "must be one for a policy", sorted(market.symbols))
        history = market.reference
        if self._known is None:
            self._known = (history.bars, self.exposures(history.bars))
        bars, decided = self._known
        targets = decided if history.bars is bars else self.exposures(history.bars)
        return simulate(
            history.bars, targets, instrument=history.instrument, costs=market.costs, funding=history.funding,
            mark=history.mark, unit=history.unit, latency_bars=market.latency_bars, gaps="hold", **self._account,
        )  # fmt: skip


class SearchedTrade:
    """``trade(market)`` of a search: a grid is swept on the market, and the best of it is traded there.

    What a negative control has to be given where the strategy was chosen: a rule that was chosen on one market and is
    traded on another carries its choice to the first alone, and its p-value is too small.

    Parameters
    ----------
    spec : PolicySpec
        What is swept.
    grid : mapping of str to sequence
        Values by path, as :class:`research.backtest.Sweep` takes them; features, strategy and sizer alone.
    metric : str
        Column of the sweep's table, the greater the better. Of equal ones the first wins, and the first of all where no
        combination has a value.
    **account
        As for :class:`PolicyTrade`.
    """

    def __init__(
        self, spec: PolicySpec, grid: Mapping[str, Sequence[Any]], metric: str = "sharpe", **account: Any
    ) -> None:
        self._spec, self._grid, self._metric, self._account = spec, dict(grid), metric, account

    def __call__(self, market: Market) -> Result:
        """Return the backtest of the best combination on a market."""
        history = market.reference
        table = Sweep(
            history.bars, self._spec, self._grid, instrument=history.instrument, costs=market.costs,
            funding=history.funding, mark=history.mark, latency_bars=market.latency_bars, **self._account,
        ).run(progress=False).table  # fmt: skip
        if self._metric not in table.columns:
            raise InvalidInput("metric", "must be a column of the sweep's table", self._metric)
        best = int(np.argmax(np.nan_to_num(table[self._metric].to_numpy(), nan=-np.inf)))
        chosen = spec_at(self._spec, {path: table[path][best] for path in self._grid})
        return PolicyTrade(Policy(chosen, Predictor.none()), **self._account)(market)
