"""A policy as the function that stresses, ladders and controls trade with: it decides anew each time and fits none."""

from __future__ import annotations

from typing import Any

import polars as pl

from research.backtest.result import Result
from research.backtest.simulate import simulate
from research.errors import InvalidInput
from research.kernel import FloatArray
from research.market.bars import arrays, epoch_ns
from research.policy import BAR_INPUTS, Policy
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
