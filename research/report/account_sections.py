"""Sections of the page about one account: curve, months, drawdowns, trades, costs and days. They compute nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

from research.metrics.tables import MONTHS
from research.report import account_tables, figures, theme, trade_figures
from research.report.charts import drawn_chart
from research.report.grids import Grid, costs_grid, frame_grid
from research.report.page import folded, grid, paragraph, section
from research.report.series import finite_rows, require

if TYPE_CHECKING:
    from research.report.tear_sheet import TearSheet

COSTS_READING = (
    "In quote currency; negative is paid. Before costs + fees + spread and slippage + funding = after costs. "
    "The share is n/a where there was no gross gain."
)
DAYS_READING = (
    "In quote currency, by UTC day. Closing = opening + realised + change of unrealised − fees + funding − interest, "
    "or the record is refused; nothing is paid in or out. Slippage is within the prices. The whole "
    "record is a file of its own."
)
_TOLD = (
    "entry_ts", "exit_ts", "side", "qty", "entry_price", "exit_price", "fee", "funding", "pnl", "return_frac",
    "exit_role",
)  # fmt: skip
DRAWDOWN_NAMES = {"start": "From", "bottom": "Bottom", "end": "Recovered", "depth_frac": "Depth", "days": "Days"}


def equity(sheet: TearSheet) -> str:
    """Return the curve of each section, and of those out of sample its drawdowns, months, days and windows."""
    parts = []
    for number, (name, frame) in enumerate(sheet.equity.items()):
        colour = theme.colour(name)
        folds = " Every other fold is shaded, numbers above." if "fold" in frame.columns else ""
        parts.append(drawn_chart(
            f"equity-{number}", figures.equity_with_drawdown(frame, f"Equity: {name}", colour),
            "After all costs. Dotted: the equity at the start; below: the distance from the highest equity so far."
            + folds,
        ))  # fmt: skip
        if not theme.is_out_of_sample(name):
            continue
        parts.append(paragraph(f"Deepest drawdowns: {name}", "caption") + grid(drawdowns_grid(frame)))
        parts.append(drawn_chart(
            f"months-{number}", figures.monthly_heatmap(frame, f"Monthly returns: {name}"),
            "Blue is gain and orange loss; the first and last month may be cut short.",
        ))  # fmt: skip
        parts.append(grid(months_grid(frame)))
        pair = drawn_chart(
            f"days-{number}", figures.return_distribution(frame, f"Daily returns: {name}", colour),
            "Bars beyond the dashed normal curve on the left are losses that a Sharpe ratio does not see.",
        ) + drawn_chart(
            f"rolling-{number}", figures.rolling_sharpe(frame, sheet.rolling_days, f"Rolling Sharpe: {name}", colour),
            "An edge that is real is spread over time; one that lives in a single stretch is luck or a regime.",
        )  # fmt: skip
        parts.append(f'<div class="pair">{pair}</div>')
    return section("Equity and returns", "", "".join(parts)) if parts else ""


def drawdowns_grid(frame: pl.DataFrame) -> Grid:
    """Return the deepest drawdowns of a curve as a table; one that lasts is not yet recovered."""
    return frame_grid(account_tables.deepest_drawdowns(frame), DRAWDOWN_NAMES, unknown="not yet")


def months_grid(frame: pl.DataFrame) -> Grid:
    """Return the months of a curve as a table."""
    return frame_grid(account_tables.months(frame), units=dict.fromkeys((*MONTHS, "total"), "return"), unknown="")


def trading(sheet: TearSheet) -> str:
    """Return fills, exposure, and the trades: their spread, and by side, hour and holding time."""
    parts = []
    if sheet.bars is not None and sheet.fills is not None:
        parts.append(drawn_chart(
            "fills", figures.trades_on_price(sheet.bars, sheet.fills),
            "Fills stand at the price paid, spread and slippage included, no earlier than the open after the decision.",
        ))  # fmt: skip
    if sheet.exposure is not None:
        parts.append(drawn_chart(
            "exposure", figures.exposure(sheet.exposure),
            "Signed share of equity that was decided; above 100 % is leverage.",
        ))  # fmt: skip
    if sheet.trades is not None:
        parts.append(_trades(sheet.trades))
    return section("Trading", "", "".join(parts)) if parts else ""


def _trades(trades: pl.DataFrame) -> str:
    known = finite_rows(trades, "pnl").sort("pnl", descending=True)
    told = [name for name in _TOLD if name in known.columns]
    known = known.select(told) if len(told) > 2 else known
    half = 5 if known.height > 10 else known.height
    ends = known if half == known.height else pl.concat([known.head(half), known.tail(half)])
    drawn = [drawn_chart(
        "trade-pnl", trade_figures.trade_distribution(trades),
        "A profit that hangs on a few bars at the far right is not one to count on.",
    )]  # fmt: skip
    if {"holding_ns", "pnl"} <= set(trades.columns):
        drawn.append(drawn_chart(
            "trade-holding", trade_figures.profit_by_holding(trades),
            "Net of fees and funding. Where losers are cut, the short trades lose: no reason by itself to hold on.",
        ))  # fmt: skip
    if {"entry_ts", "pnl"} <= set(trades.columns):
        drawn.append(drawn_chart(
            "trade-hours", trade_figures.profit_by_hour(trades),
            "Net of fees and funding. Twenty-four small groups: some look good or bad by chance.",
        ))  # fmt: skip
    tables = "".join(f"<h3>{heading}</h3>{grid(content)}" for heading, content in trade_grids(trades))
    extremes = folded("Best and worst trades" if half < known.height else "Trades", grid(frame_grid(ends)))
    pairs = f'<div class="pair">{"".join(drawn[:2])}</div>{"".join(drawn[2:])}' if len(drawn) > 1 else drawn[0]
    return f"<h3>Closed trades</h3>{paragraph(trades_say(trades))}{pairs}{tables}{extremes}"


def trades_say(trades: pl.DataFrame) -> str:
    """Return how many trades made how much, with and without the best five."""
    require(trades, ("pnl",), "trades")
    known = finite_rows(trades, "pnl").sort("pnl", descending=True)
    total, best = float(known["pnl"].sum()), float(known["pnl"].head(5).sum())
    return (
        f"{theme.number(trades.height)} closed trades, net {theme.number(total, 'pnl')} (quote); without the best five "
        f"{theme.number(total - best, 'pnl')}."
    )


def trade_grids(trades: pl.DataFrame) -> list[tuple[str, Grid]]:
    """Return the trades by side and by holding time, as far as their columns tell, under headings."""
    names = {"pnl": "Profit, net", "mean_pnl": "Mean", "worst_pnl": "Worst", "win_rate": "Won"}
    parts = []
    if trades.height and "side" in trades.columns and trades.schema["side"].is_numeric():
        parts.append(("By side", frame_grid(account_tables.by_side(trades), names)))
    if trades.height and "holding_ns" in trades.columns:
        parts.append(("By holding time", frame_grid(account_tables.by_holding(trades), names)))
    return parts


def costs(sheet: TearSheet) -> str:
    """Return fees, slippage and funding apart."""
    found = costs_grid(sheet.equity)
    return "" if found is None else section("Costs", COSTS_READING, grid(found))


def days(sheet: TearSheet) -> str:
    """Return the daily record: its months, and its last days."""
    if sheet.daily is None:
        return ""
    by_month, last = daily_grids(sheet.daily)
    return section(
        "Daily record",
        DAYS_READING,
        f"<h3>Months</h3>{grid(by_month)}<h3>Last {len(last.rows)} days</h3>{grid(last)}",
    )


def daily_grids(record: pl.DataFrame) -> tuple[Grid, Grid]:
    """Return a daily record's months and last days as tables."""
    units = dict.fromkeys(("opening", "realised", "unrealised_change", "interest", "closing", "turnover"), "pnl")
    names = {
        "unrealised_change": "Unrealised, change", "day_drawdown_frac": "Deepest drawdown in a day",
        "largest_exposure": "Largest exposure",
    }  # fmt: skip
    by_month, last = account_tables.daily_tables(record)
    return frame_grid(by_month, names, units), frame_grid(last, names, units)
