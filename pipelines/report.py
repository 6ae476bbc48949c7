"""Stage ``report``: one offline page with the verdict, the figures and where they came from. It computes no figure."""

from __future__ import annotations

import hashlib
import math
from typing import Any

import polars as pl

from pipelines.params import Params
from pipelines.series import traded_series
from pipelines.workspace import REPORTS, Workspace, flat, stage_main
from research.market.bars import NS_PER_DAY, TS
from research.report import MonteCarloPart, TearSheet, daily_record, markdown_report, tear_sheet
from research.validation import GateVerdict
from research.validation.selection import described

_HOLDOUT, _WALK_FORWARD, _SEARCH = "Hold-out (out of sample)", "Walk-forward (out of sample)", "Search (in sample)"
_SHOWN = (
    "sharpe",
    "sortino",
    "total_return",
    "cagr",
    "calmar",
    "volatility",
    "max_drawdown",
    "profit_factor",
    "win_rate",
    "round_trips",
    "trades",
    "expectancy",
    "exposure_time",
    "turnover",
    "cost_share",
    "fees",
    "slippage",
    "funding",
    "funding_on_mark_frac",
    "probabilistic_sharpe",
    "days",
)
_PRICE_DAYS = 7  # a fill is a dot on a candle: more days and neither can be told apart


def run(params: Params, workspace: Workspace) -> None:
    """Write the hold-out's daily record, the page ``tear_sheet.html``, and its tables as ``report.md``."""
    bars, _, _ = traded_series(params, workspace)
    record = _daily(params, workspace, bars)
    workspace.write_frame(f"{REPORTS}/daily_record.csv", record)
    sheet = _sheet(params, workspace, bars, record)
    workspace.write_bytes(f"{REPORTS}/tear_sheet.html", tear_sheet(sheet).encode())
    workspace.write_bytes(f"{REPORTS}/report.md", markdown_report(sheet).encode())


def _sheet(params: Params, workspace: Workspace, bars: pl.DataFrame, record: pl.DataFrame) -> TearSheet:
    figures = {
        name: workspace.read_json(f"{REPORTS}/{name}.json")
        for name in ("backtest", "walk_forward", "monte_carlo", "gate", "search")
    }
    gate, holdout, rolled = figures["gate"], figures["backtest"], figures["walk_forward"]
    choice = workspace.read_json("data/search/choice.json")
    folds = workspace.read_frame("data/walk_forward/folds.parquet")
    market, cash = params.market, params.costs.initial_cash_quote
    return TearSheet(
        title=params.report.title,
        subtitle=f"{market.venue} {market.market} {market.symbol}: {choice['candidate']} candidate, decisions every "
        f"{market.decision_interval}, executed on {market.base_interval} bars",
        verdict=GateVerdict(gate["passed"], _gate_table(workspace)),
        trial_count=int(gate["selection.trials"]),
        metrics={
            _HOLDOUT: {name: holdout[name] for name in _SHOWN},
            _WALK_FORWARD: {
                "sharpe": rolled["sharpe"],
                "total_return": rolled["total_return"],
                "max_drawdown": rolled["max_drawdown"],
                "probabilistic_sharpe": rolled["probabilistic_sharpe"],
                "efficiency": rolled["efficiency"],
                "share_kept": rolled["share_kept"],
                "days": rolled["days"],
            },
            _SEARCH: {
                "sharpe": gate["selection.sharpe"],
                "expected_maximum_sharpe": gate["selection.expected_maximum_sharpe"],
                "deflated_sharpe": gate["selection.deflated_sharpe"],
            },
        },
        equity={
            _HOLDOUT: _from_start(workspace.read_frame("data/backtest/equity.parquet"), cash),
            _WALK_FORWARD: _from_start(_walk_forward_equity(workspace, cash), cash),
        },
        folds=folds.rename({"sharpe": "sharpe_out_of_sample"}),
        trades=workspace.read_frame("data/backtest/trades.parquet"),
        daily=record,
        intervals=_intervals(workspace, holdout),
        trials=workspace.read_frame("data/search/trials.parquet").select("value", "candidate"),
        selection=described(_selection(gate)),
        stability=_stability(workspace),
        stress=_stress(workspace),
        ladder=_ladder(workspace),
        controls=workspace.read_frame("data/controls/controls.parquet"),
        parity=workspace.read_frame("data/backtest/parity.parquet").select("table", "rows", "expected", "difference"),
        importance=workspace.read_frame(f"{REPORTS}/importance.csv"),
        exposure=workspace.read_frame("data/backtest/decisions.parquet").select("ts", "exposure"),
        **_last_days(workspace, bars),
        monte_carlo=_monte_carlo(params, workspace, figures["monte_carlo"]),
        lineage={
            "features": workspace.read_json(f"{REPORTS}/features.json"),
            "data": workspace.read_json(f"{REPORTS}/validate.json") | _hashes(workspace),
            "choice": flat(choice),
        },
        params=params.model_dump(by_alias=True),
        notes=_notes(params, holdout),
    )


def _selection(gate: dict[str, Any]) -> dict[str, float]:
    """Return the gate's figures of the selection, by the names that explain them."""
    prefix = "selection."
    return {name.removeprefix(prefix): _known(v) for name, v in gate.items() if name.startswith(prefix)}


def _known(value: float | None) -> float:
    return math.nan if value is None else float(value)


def _stability(workspace: Workspace) -> pl.DataFrame:
    """Return what a reader looks for in the stability of the parameters."""
    names = ("param", "folds", "distinct", "commonest_share", "dispersion", "jump", "at_bound", "trend", "p_value")
    return workspace.read_frame("data/walk_forward/stability.parquet").select(names)


def _stress(workspace: Workspace) -> pl.DataFrame:
    """Return what each scenario came to."""
    names = ("scenario", "net_return", "sharpe", "max_drawdown", "profit_factor", "trades", "costs", "funding")
    return workspace.read_frame("data/stress/scenarios.parquet").select(*names, "liquidations")


def _ladder(workspace: Workspace) -> pl.DataFrame:
    """Return what each level of an assumption came to, with the level at which the gain is gone beside it."""
    even = workspace.read_frame("data/stress/break_even.parquet")
    beyond = pl.format("> {}", pl.col("high").cast(pl.Int64))  # still a gain at the highest level looked at
    level = pl.when(pl.col("level").is_infinite()).then(beyond).otherwise(pl.col("level").round(1).cast(pl.String))
    even = even.select("assumption", break_even=level)
    names = ("assumption", "level", "net_return", "sharpe", "max_drawdown", "profit_factor", "trades")
    ladder = workspace.read_frame("data/stress/ladder.parquet").select(names)
    return ladder.join(even, on="assumption", how="left", maintain_order="left")


def _monte_carlo(params: Params, workspace: Workspace, figures: dict[str, Any]) -> MonteCarloPart:
    """Return what is shown of resampled trades and of orders executed again."""
    folder = "data/monte_carlo"
    paths = workspace.read_frame(f"{folder}/paths.parquet")
    return MonteCarloPart(
        trades="{trades:.0f} closed trades of walk-forward and hold-out, {days:g} days".format(**figures),
        orders="the orders of the hold-out, executed again {execution_paths:.0f} times".format(**figures),
        ruin_loss_frac=params.monte_carlo.ruin_loss_frac,
        fans={name: workspace.read_frame(f"{folder}/fan_{name}.parquet") for name in ("trades", "execution")},
        quantiles=workspace.read_frame(f"{folder}/quantiles.parquet"),
        samples={name: paths[name].drop_nulls().to_numpy() for name in paths.columns},
        observed={n: _known(v) for n, v in workspace.read_json(f"{folder}/observed.json").items()},
    )


def _daily(params: Params, workspace: Workspace, bars: pl.DataFrame) -> pl.DataFrame:
    """Return the hold-out's daily record, from the account's tables and the bars that it was valued on."""
    equity, fills, trades = (
        workspace.read_frame(f"data/backtest/{name}.parquet") for name in ("equity", "fills", "trades")
    )
    close = equity.select("ts").join(bars.select("ts", "close"), on="ts", how="left", maintain_order="left")["close"]
    return daily_record(
        equity, fills, trades, close.fill_null(float("nan")).to_numpy(),
        initial_cash_quote=params.costs.initial_cash_quote,
    )  # fmt: skip


def _intervals(workspace: Workspace, holdout: dict[str, Any]) -> pl.DataFrame:
    """Return the hold-out's figures with their intervals."""
    found = workspace.read_json("data/backtest/intervals.json")
    rows = [(name, holdout[name], *ends) for name, ends in found.items()]
    schema = dict.fromkeys(("value", "low", "high"), pl.Float64)
    return pl.DataFrame(rows, schema={"figure": pl.String, **schema}, orient="row")


def _gate_table(workspace: Workspace) -> pl.DataFrame:
    words = [pl.col(name).fill_null("") for name in ("reason", "description")]
    return (
        workspace.read_frame(f"{REPORTS}/gate.csv")
        .with_columns(pl.col("reason", "description").cast(pl.String))
        .with_columns(words)
    )


def _walk_forward_equity(workspace: Workspace, cash: float) -> pl.DataFrame:
    """Return the stitched returns as equity from the initial cash."""
    returns = workspace.read_frame("data/walk_forward/returns.parquet")
    return returns.select("ts", "fold", ((pl.col("ret") + 1.0).cum_prod() * cash).alias("equity"))


def _from_start(equity: pl.DataFrame, cash: float) -> pl.DataFrame:
    """Return an equity frame with a first row of the cash at the first bar's open, before any cost."""
    kept = ("ts", "fold")
    start = equity.head(1).select(
        pl.col(name) if name in kept else pl.lit(cash if name == "equity" else 0).cast(t).alias(name)
        for name, t in equity.schema.items()
    )
    return pl.concat([start, equity])


def _hashes(workspace: Workspace) -> dict[str, str]:
    """Return SHA-256 of what the figures were computed from: equal hashes, equal input."""
    folder = workspace.root / "data/clean"
    digest = hashlib.sha256()
    for path in sorted(p for p in folder.rglob("*") if p.is_file() and not p.name.startswith(".")):
        digest.update(
            f"{path.relative_to(folder).as_posix()} {hashlib.sha256(path.read_bytes()).hexdigest()}\n".encode()
        )
    table = hashlib.sha256(workspace.read_bytes("data/features/table.parquet"))
    return {"clean_lake_sha256": digest.hexdigest(), "feature_table_sha256": table.hexdigest()}


def _last_days(workspace: Workspace, bars: pl.DataFrame) -> dict[str, Any]:
    """Return bars and fills of the last days, for the figure of fills on the price."""
    since = (
        pl.col("ts").cast(TS).to_physical()
        >= workspace.read_json("data/backtest/window.json")["end_ns"] - _PRICE_DAYS * NS_PER_DAY
    )
    fills = workspace.read_frame("data/backtest/fills.parquet").filter(since)
    return {"bars": bars.filter(since).select("ts", "open", "high", "low", "close"), "fills": fills}


def _notes(params: Params, holdout: dict[str, Any]) -> tuple[str, ...]:
    """Return what must be known before the figures."""
    notes = [
        "The hold-out was seen by no search and no fit of this build. Earlier builds count as trials where the ledger "
        "knows them; your own looks at it do not.",
        "Market orders fill at the next base bar's open, spread and slippage against them, at the taker fee.",
        "One account in cross margin at the venue's dated tiers, liquidated when its margin is gone; no stop stands "
        "at the venue.",
    ]
    if params.ingest.source == "simulated":
        edge = params.ingest.simulated.edge
        notes.insert(
            0,
            f"The market is simulated, with a planted edge of size {edge:g}: nothing here is a claim about a real one.",
        )
    if params.ingest.source == "files":
        notes.append(
            "Instrument terms are samples (fees of an account without tier, present ticks, lots and leverage), not the "
            "venue's at the time: replace them before a figure near a threshold is believed."
        )
    settled, on_mark = holdout["funding_settlements"], holdout["funding_on_mark_frac"]
    if on_mark is not None and on_mark < 1.0:
        notes.append(
            f"{settled * (1.0 - on_mark):.0f} of the hold-out's {settled:.0f} funding settlements had no recorded mark "
            "price: they were charged on the bar's open."
        )
    return tuple(notes)


if __name__ == "__main__":
    stage_main(run)
