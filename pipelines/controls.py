"""Stage ``controls``: the whole pipeline on markets in which nothing can be foretold. It must be refused there.

Features, search, training, hold-out, walk-forward, Monte Carlo and the gate's checks run as they do on the market
itself, below a folder that is thrown away; what passes has found an error of the pipeline, or luck. Their trials are
not told to the ledger: nobody chooses among them.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

import polars as pl

from pipelines import backtest, features, monte_carlo, search, train, walk_forward
from pipelines.desk import costs
from pipelines.gate import judge
from pipelines.params import Params
from pipelines.series import traded_series
from pipelines.workspace import REPORTS, Workspace, stage_main
from research.validation.controls import noise_market, permuted_market
from research.validation.stress_market import History, Market

STAGES = (features, search, train, backtest, walk_forward, monte_carlo)
KINDS: dict[str, Callable[[Market, int], Market]] = {"permuted": permuted_market, "noise": noise_market}
_SHOWN = {
    "sharpe_in_sample": "search.best_sharpe_in_sample", "sharpe": "backtest.sharpe",
    "walk_forward_sharpe": "walk_forward.sharpe", "deflated_sharpe": "selection.deflated_sharpe",
    "pbo": "selection.pbo", "spa_p": "selection.spa_p", "trades": "backtest.trades",
}  # fmt: skip
_SCHEMA = {"control": pl.String, "seed": pl.Int64, "passed": pl.Boolean, "failed": pl.String} | dict.fromkeys(
    _SHOWN, pl.Float64
)


def run(params: Params, workspace: Workspace) -> None:
    """Write one row for each control, and how many of them passed."""
    market = traded_market(params, workspace)
    wanted = (("permuted", params.controls.permuted), ("noise", params.controls.noise))
    rows = []
    for kind, count in wanted:
        for number in range(count):
            seed = params.seed + number
            with tempfile.TemporaryDirectory(prefix="control-") as folder:
                control = Workspace(Path(folder))
                write_clean(params, workspace, control, KINDS[kind](market, seed))
                rows.append({"control": kind, "seed": seed} | verdict(params, control))
    table = pl.DataFrame(rows, schema=_SCHEMA)
    workspace.write_frame("data/controls/controls.parquet", table)
    found = {"controls": table.height, "passed": int(table["passed"].sum())}
    told = {
        kind: {name: part[name].to_list() for name in ("passed", *_SHOWN)}
        for kind in KINDS
        if not (part := table.filter(pl.col("control") == kind)).is_empty()
    }
    workspace.write_json(f"{REPORTS}/controls.json", found | told)


def traded_market(params: Params, workspace: Workspace) -> Market:
    """Return the traded series as a market."""
    bars, mark, funding = traded_series(params, workspace)
    traded = params.market
    instrument = workspace.clean.instrument(traded.venue, traded.market, traded.symbol)
    return Market({traded.symbol: History(bars, instrument, mark, funding)}, costs(params), params.costs.latency_bars)


def write_clean(params: Params, workspace: Workspace, control: Workspace, market: Market) -> None:
    """Write a market as the clean series of another workspace."""
    traded, history = params.market, market.reference
    where, interval = (traded.venue, traded.market, traded.symbol), traded.base_interval
    # A row without prices is an absent row in the lake, as in the series that it was made of.
    control.clean.write(history.bars.filter(pl.col("close").is_not_nan()), *where, "bars", interval)
    if history.mark is not None:  # opens alone are read
        whole = history.mark.select("ts", *(pl.col("open").alias(name) for name in ("open", "high", "low", "close")))
        control.clean.write(whole.filter(pl.col("open").is_not_nan()), *where, "mark", interval)
    if history.funding is not None:
        control.clean.write(history.funding, *where, "funding")
    control.clean.write_instrument(workspace.clean.instrument(*where))


def verdict(params: Params, control: Workspace) -> dict[str, object]:
    """Run the stages and return what the checks make of them, those on stress and controls left out."""
    for stage in STAGES:
        stage.run(params, control)
    checks = {n: c for n, c in params.gate.checks.items() if not c.figure.startswith(("stress.", "controls."))}
    found, figures = judge(params, control, checks)
    failed = found.table.filter(~found.table["passed"])["check"].to_list()
    shown = {name: figures.get(figure) for name, figure in _SHOWN.items()}
    return {"passed": found.passed, "failed": ", ".join(failed)} | shown


if __name__ == "__main__":
    stage_main(run)
