"""Stage ``stress``: the hold-out under named stresses and under worse and worse assumptions. It tunes nothing.

The policy decides anew on every stressed path, from the state that it had before the hold-out.
"""

from __future__ import annotations

import math

import polars as pl

from pipelines.desk import account_settings, costs, open_desk
from pipelines.holdout import holdout, trained_policy
from pipelines.params import Params
from pipelines.workspace import REPORTS, Workspace, stage_main
from research.errors import InvalidInput
from research.policy import Policy
from research.search.desk import Desk
from research.validation.ladder import ASSUMPTIONS, assumption_ladder, break_even_table
from research.validation.policy_trade import PolicyTrade
from research.validation.stress import STRESSES, run_stresses
from research.validation.stress_market import History, Market

_TOLD = ("net_return", "sharpe", "max_drawdown", "profit_factor", "trades", "liquidations")


def run(params: Params, workspace: Workspace) -> None:
    """Write the table of scenarios, the ladder of assumptions and the levels at which the gain is gone."""
    check(params)
    desk = open_desk(params, workspace)
    market = holdout_market(params, desk)
    trade = trader(params, trained_policy(workspace), workspace.read_bytes("data/backtest/warm_start.bin"))
    asked = params.stress
    scenarios = run_stresses(market, asked.scenarios, trade, idle="leave out")
    has_funding = market.reference.funding is not None  # a spot market has none to make worse
    rungs = {name: levels for name, levels in asked.ladder.items() if has_funding or name != "funding_bps"}
    bounds = {name: high for name, high in asked.break_even.items() if has_funding or name != "funding_bps"}
    ladder = assumption_ladder(market, trade, rungs)
    even = break_even_table(market, trade, bounds, tolerance=asked.tolerance)
    for name, frame in (("scenarios", scenarios), ("ladder", ladder), ("break_even", even)):
        workspace.write_frame(f"data/stress/{name}.parquet", frame)
    idle = [name for name in asked.scenarios if name not in scenarios["scenario"]]
    workspace.write_json(f"{REPORTS}/stress.json", figures(scenarios, even) | {"without_effect": idle})
    shown = scenarios.select("scenario", "net_return", "max_drawdown").fill_nan(None)
    workspace.write_frame(f"{REPORTS}/stress.csv", shown)


def check(params: Params) -> None:
    """Refuse stresses, parameters of theirs, and assumptions that are unknown or out of range.

    Raises
    ------
    InvalidInput
        Naming the key of the parameter file.
    """
    asked = params.stress
    for scenario, stresses in asked.scenarios.items():
        for name, given in stresses.items():
            key = f"stress.scenarios.{scenario}"
            if name not in STRESSES:
                raise InvalidInput(f"{key}.{name}", f"is not a stress ({', '.join(STRESSES)})")
            try:
                STRESSES[name].resolve(given)
            except InvalidInput as error:
                raise InvalidInput(f"{key}.{error.subject}", error.rule, error.received) from error
    for section, levels in (("ladder", asked.ladder), ("break_even", asked.break_even)):
        for name in levels:
            if name not in ASSUMPTIONS:
                raise InvalidInput(f"stress.{section}.{name}", f"is not an assumption ({', '.join(ASSUMPTIONS)})")


def holdout_market(params: Params, desk: Desk) -> Market:
    """Return the hold-out as the market that stresses change."""
    window, mark = holdout(params, desk)
    history = History(window, desk.instrument, mark, desk.funding)
    return Market({params.market.symbol: history}, costs(params), params.costs.latency_bars)


def trader(params: Params, policy: Policy, warm_start: bytes) -> PolicyTrade:
    """Return the function that decides anew on a market's bars, from the state before the hold-out, and trades them."""
    policy.restore(warm_start)
    account = account_settings(params)
    del account["latency_bars"]  # the market's
    return PolicyTrade(policy, **account)


def figures(scenarios: pl.DataFrame, even: pl.DataFrame) -> dict[str, object]:
    """Return the figures of each scenario, the worst of them, and the break-even levels.

    A scenario that would change nothing here (five times no slippage) has none: a check that asks for it is not met.
    ``ruined`` counts scenarios that ended in liquidation or ruin; an infinite level is one beyond the range looked at.
    """
    told: dict[str, object] = {
        str(row["scenario"]): {name: row[name] for name in _TOLD} for row in scenarios.iter_rows(named=True)
    }
    stressed = scenarios.filter(pl.col("scenario") != "none")
    is_ruined = (stressed["liquidations"] > 0.0) | (stressed["is_ruined"] > 0.0)
    drawdowns = [d for d in stressed["max_drawdown"] if not math.isnan(d)]
    return told | {
        "scenarios": stressed.height,
        "ruined": int(is_ruined.sum()),
        "losing": int((stressed["net_return"] <= 0.0).sum()),
        "worst_drawdown": min(drawdowns, default=math.nan),
        "break_even": {
            row["assumption"]: row["high"] if math.isinf(row["level"]) else row["level"]
            for row in even.iter_rows(named=True)
        },
    }


if __name__ == "__main__":
    stage_main(run)
