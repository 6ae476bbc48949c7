"""Stage ``ingest``: simulated market, files or a downloaded lake into the lake. It opens no socket."""

from __future__ import annotations

from dataclasses import replace

import polars as pl

from pipelines.params import Params
from pipelines.workspace import Workspace, stage_main
from research.errors import InvalidInput, NotInLake
from research.market.instruments import sample_instrument
from research.market.lake import Lake
from research.market.simulated import simulate_market
from research.market.simulated_spec import DEFAULT_SYMBOLS, MarketSpec
from research.market.sources.files import read_market_folder


def run(params: Params, workspace: Workspace) -> None:
    """Fill ``data/lake`` from nothing, so that what a run reads is what its parameters say."""
    source = {"simulated": _simulated, "files": _files, "lake": _lake}[params.ingest.source]
    with workspace.replacing("data/lake") as folder:  # what was there stays until all of the new lake is
        lake = Lake(folder)
        source(params, lake)
        if lake.series().is_empty():
            raise InvalidInput("ingest", f"found no rows in source {params.ingest.source!r}")


def _simulated(params: Params, lake: Lake) -> None:
    settings = params.ingest.simulated
    known = {symbol.symbol: symbol for symbol in DEFAULT_SYMBOLS}
    unknown = [name for name in settings.symbols if name not in known]
    if unknown:
        raise InvalidInput("ingest.simulated.symbols", f"must be among {', '.join(known)}", unknown[0])
    symbols = tuple(known[name] for name in settings.symbols)
    market = simulate_market(
        MarketSpec(symbols=symbols, start=settings.start, days=settings.days, edge=settings.edge, seed=params.seed)
    )
    venue = params.market.venue
    for (where, symbol), frame in market.bars.items():
        lake.write(frame, venue, where, symbol, "bars", "1m")
    for symbol, frame in market.mark.items():
        lake.write(frame, venue, "linear", symbol, "mark", "1m")
    for symbol, frame in market.funding.items():
        lake.write(frame, venue, "linear", symbol, "funding")
    for instrument in market.instruments.values():
        lake.write_instrument(replace(instrument, venue=venue))


def _files(params: Params, lake: Lake) -> None:
    settings, market = params.ingest.files, params.market
    kinds: list[tuple[str, str | None]] = [("bars", market.base_interval)]
    if market.market == "linear":
        kinds.append(("funding", None))
        if settings.mark_interval is not None:
            kinds.append(("mark", settings.mark_interval))
    for kind, interval in kinds:
        folder = settings.market_folder or market.market
        frame = read_market_folder(settings.folder, market.venue, folder, market.symbol, kind, interval)
        lake.write(
            _between(frame, settings.start, settings.end), market.venue, market.market, market.symbol, kind, interval
        )
    lake.write_instrument(sample_instrument(market.symbol, market.market, venue=market.venue))


def _lake(params: Params, lake: Lake) -> None:
    settings, market = params.ingest.lake, params.market
    stored = Lake(settings.folder)
    where = (market.venue, market.market, market.symbol)
    lake.write(
        stored.bars(*where, market.base_interval, start=settings.start, end=settings.end),
        *where,
        "bars",
        market.base_interval,
    )
    if market.market == "linear":
        lake.write(stored.funding(*where), *where, "funding")
        try:
            mark = stored.mark(*where, market.base_interval, start=settings.start, end=settings.end)
        except NotInLake:  # the engine then charges funding on the bar's open, and says so
            mark = None
        if mark is not None:
            lake.write(mark, *where, "mark", market.base_interval)
    lake.write_instrument(stored.instrument(*where))


def _between(frame: pl.DataFrame, start: str | None, end: str | None) -> pl.DataFrame:
    """Return the rows of a day range, its end excluded."""
    if start is not None:
        frame = frame.filter(pl.col("ts") >= pl.lit(start).str.to_datetime(time_zone="UTC"))
    if end is not None:
        frame = frame.filter(pl.col("ts") < pl.lit(end).str.to_datetime(time_zone="UTC"))
    return frame


if __name__ == "__main__":
    stage_main(run)
