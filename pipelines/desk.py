"""Parameters and files as the objects that research works on, for the stages from ``search`` on. It decides nothing."""

from __future__ import annotations

from typing import Any

from pipelines.params import Params
from pipelines.series import traded_series
from pipelines.workspace import Workspace
from research.errors import InvalidInput
from research.execution.costs import Costs
from research.market.bars import NS_PER_DAY, interval_ns
from research.policy import PolicySpec
from research.search.desk import Candidate, Desk


def candidates(params: Params) -> list[Candidate]:
    """Return the candidates of ``search.candidates``."""
    return [
        Candidate(name, c.strategy, c.inputs, c.params, c.space) for name, c in sorted(params.search.candidates.items())
    ]


def policy_spec(params: Params, candidate: Candidate, chosen: dict[str, Any]) -> PolicySpec:
    """Return the policy of a candidate with chosen parameters."""
    market, search = params.market, params.search
    spec = PolicySpec(
        base_interval=market.base_interval,
        decision_interval=market.decision_interval,
        features=params.features.columns,
        strategy=candidate.strategy,
        strategy_inputs={},
        sizer=search.sizer,
        volatility=search.volatility,
        sizer_params=search.sizer_params,
    )
    return candidate.policy_spec(spec, chosen)


def costs(params: Params) -> Costs:
    """Return the costs of ``costs``."""
    given = params.costs
    return Costs(
        taker_fee_bps=given.taker_fee_bps, half_spread_bps=given.half_spread_bps, slippage_bps=given.slippage_bps
    )


def account_settings(params: Params) -> dict[str, Any]:
    """Return what an account is opened with, as keyword arguments."""
    given = params.costs
    return {
        "initial_cash_quote": given.initial_cash_quote,
        "latency_bars": given.latency_bars,
        "max_leverage": given.max_leverage,
    }


def open_desk(params: Params, workspace: Workspace) -> Desk:
    """Return the desk that candidates are traded on."""
    bars, mark, funding = traded_series(params, workspace)
    market = params.market
    return Desk(
        bars=bars,
        mark=mark,
        funding=funding,
        table=workspace.read_frame("data/features/table.parquet"),
        spec=policy_spec(params, candidates(params)[0], {}),
        instrument=workspace.clean.instrument(market.venue, market.market, market.symbol),
        costs=costs(params),
        learning=params.train.model_dump(),
        account=account_settings(params),
        seed=params.seed,
    )


def rows_per_day(params: Params) -> int:
    """Return decision rows in a day."""
    return NS_PER_DAY // interval_ns(params.market.decision_interval)


def holdout_start(params: Params, n_rows: int) -> int:
    """Return the first decision row of the hold-out.

    Raises
    ------
    InvalidInput
        If less than half of the rows would be left for development.
    """
    start = n_rows - params.backtest.holdout_days * rows_per_day(params)
    if start < n_rows // 2:
        rule = f"must leave at least half of the {n_rows / rows_per_day(params):.1f} days for development"
        raise InvalidInput("backtest.holdout_days", rule, params.backtest.holdout_days)
    return start
