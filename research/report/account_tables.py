"""Tables of one account's curve, trades and days, as frames. They count and add up; they judge nothing."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import polars as pl

from research.market.bars import NS_PER_DAY, TS, epoch_ns
from research.market.funding_rows import NS_PER_HOUR
from research.metrics.returns import day_ends
from research.metrics.tables import MONTHS, drawdown_table, monthly_returns
from research.report.daily_record import monthly_sums
from research.report.series import finite_rows, require

HOLDING_HOURS = (0.25, 1.0, 4.0, 24.0)  # bounds between groups; a trade at a bound is in the longer one


def deepest_drawdowns(equity: pl.DataFrame, top: int = 5) -> pl.DataFrame:
    """Return the deepest drawdowns of ``ts`` and ``equity``, whose first row is the start.

    Returns
    -------
    polars.DataFrame
        Deepest first: ``depth_frac`` (below 0), ``days`` (from the peak to the end, or to the last row), ``start`` (of
        the peak), ``bottom``, and ``end`` (the peak reached again; null in one that lasts).
    """
    require(equity, ("ts", "equity"), "equity")
    known = finite_rows(equity, "equity")
    schema: dict[str, Any] = {"depth_frac": pl.Float64, "days": pl.Float64, "start": TS, "bottom": TS, "end": TS}
    if known.height < 3:
        return pl.DataFrame(schema=schema)
    ts, values = epoch_ns(known.with_columns(pl.col("ts").cast(TS))), known["equity"].cast(pl.Float64).to_numpy()
    found = drawdown_table(ts[1:], values[1:], float(values[0]), 1, top)
    start = pl.col("start").clip(lower_bound=known["ts"].cast(TS)[0])  # a peak at the start has a time before it
    end = pl.col("end").fill_null(known["ts"].cast(TS)[-1])
    days = (end - start).dt.total_nanoseconds() / NS_PER_DAY
    return found.select(
        pl.col("depth").alias("depth_frac"), days.alias("days"), start.alias("start"),
        pl.col("trough").alias("bottom"), "end",
    )  # fmt: skip


def months(equity: pl.DataFrame) -> pl.DataFrame:
    """Return ``year``, the months (``jan`` …) that have a day in any year, and ``total``; null without a day.

    Of ``ts`` and ``equity``, the first row being the start.
    """
    require(equity, ("ts", "equity"), "equity")
    known = finite_rows(equity, "equity")
    ts, values = epoch_ns(known.with_columns(pl.col("ts").cast(TS))), known["equity"].cast(pl.Float64).to_numpy()
    day, last = day_ends(ts)
    table = monthly_returns(day, values[last], float(values[0]) if values.size else 1.0)
    known = table.with_columns(pl.col("year").cast(pl.String), pl.col(*MONTHS, "total").fill_nan(None))
    return known.select("year", *(m for m in MONTHS if known[m].null_count() < known.height), "total")


def by_side(trades: pl.DataFrame) -> pl.DataFrame:
    """Return the trades of each side and of both: see :func:`by_group`."""
    require(trades, ("side", "pnl"), "trades")
    named = trades.with_columns(pl.when(pl.col("side") > 0).then(pl.lit("long")).otherwise(pl.lit("short")).alias("of"))
    both = by_group(trades.with_columns(pl.lit("both").alias("of")), "of")
    return pl.concat([by_group(named, "of"), both]).rename({"of": "side"})


def by_hour(trades: pl.DataFrame) -> pl.DataFrame:
    """Return the trades by the hour of the day (UTC) in which they were entered, hours without a trade included."""
    require(trades, ("entry_ts", "pnl"), "trades")
    found = by_group(trades.with_columns(pl.col("entry_ts").cast(TS).dt.hour().cast(pl.Int64).alias("hour")), "hour")
    return pl.DataFrame({"hour": list(range(24))}).join(found, on="hour", how="left").with_columns(
        pl.col("trades").fill_null(0), pl.col("pnl").fill_null(0.0)
    )  # fmt: skip


def by_holding(trades: pl.DataFrame) -> pl.DataFrame:
    """Return the trades by how long they were held, in groups between :data:`HOLDING_HOURS`."""
    require(trades, ("holding_ns", "pnl"), "trades")
    names = _holding_names()
    hours = pl.col("holding_ns") / NS_PER_HOUR
    group = sum((hours >= bound).cast(pl.Int64) for bound in HOLDING_HOURS)
    found = by_group(trades.with_columns(pl.lit(0).cast(pl.Int64).add(group).alias("group")), "group")
    return found.select(
        pl.col("group").replace_strict(dict(enumerate(names)), return_dtype=pl.String).alias("held"),
        pl.exclude("group"),
    )  # fmt: skip


def _holding_names() -> list[str]:
    texts = ["15 min" if h == 0.25 else f"{h:g} h" for h in HOLDING_HOURS]
    between = [f"{low} to {high}" for low, high in pairwise(texts)]
    return [f"under {texts[0]}", *between, f"{texts[-1]} and more"]


def by_group(trades: pl.DataFrame, name: str) -> pl.DataFrame:
    """Return ``trades``, ``win_rate``, ``pnl`` (net, sum), ``mean_pnl`` and ``worst_pnl`` of each group, by its name.

    A trade that made nothing is not won.
    """
    pnl = pl.col("pnl").cast(pl.Float64)
    return trades.group_by(name).agg(
        pl.len().cast(pl.Int64).alias("trades"), (pnl > 0).mean().alias("win_rate"), pnl.sum().alias("pnl"),
        pnl.mean().alias("mean_pnl"), pnl.min().alias("worst_pnl"),
    ).sort(name)  # fmt: skip


def daily_tables(record: pl.DataFrame, last: int = 10) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Return a daily record's months, and its ``last`` days, with the columns that fit a page."""
    shown = (
        "opening", "realised", "unrealised_change", "fees", "funding", "interest", "closing", "turnover", "trades",
        "fills", "day_drawdown_frac", "largest_exposure",
    )  # fmt: skip
    return monthly_sums(record).select("month", "days", *shown), record.tail(last).select("day", *shown)
