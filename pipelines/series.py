"""The traded series as every stage reads it: clean bars on their clock, mark, funding. It changes no value."""

from __future__ import annotations

import polars as pl

from pipelines.params import Params
from pipelines.workspace import Workspace
from research.errors import InvalidInput, NotInLake
from research.market.bars import NS_PER_DAY, epoch_ns, interval_ns, on_clock


def traded_series(
    params: Params, workspace: Workspace
) -> tuple[pl.DataFrame, pl.DataFrame | None, pl.DataFrame | None]:
    """Return bars on their clock in whole decision bars, mark on the same clock, and funding; spot has neither."""
    market = params.market
    where, interval = (market.venue, market.market, market.symbol), market.base_interval
    base = interval_ns(interval)
    stored = workspace.clean.bars(*where, interval)
    ts = epoch_ns(stored)
    # Whole UTC days: a part of a day would count as one in daily returns.
    start = -(-int(ts[0]) // NS_PER_DAY) * NS_PER_DAY
    end = (int(ts[-1]) + base) // NS_PER_DAY * NS_PER_DAY
    if end <= start:
        raise InvalidInput("/".join((*where, interval)), "must span at least one whole UTC day", stored.height)
    bars = on_clock(stored.filter(pl.col("ts").to_physical().is_between(start, end - 1)), interval, start, end)
    if market.market == "spot":
        return bars, None, None
    try:
        # Opens alone: a live feed has no more at the time of a bar, and a replay must see what the backtest saw.
        opens = workspace.clean.mark(*where, interval, start=start, end=end).select("ts", "open")
        mark = on_clock(opens, interval, start, end)
    except NotInLake:
        mark = None
    return bars, mark, workspace.clean.funding(*where)
