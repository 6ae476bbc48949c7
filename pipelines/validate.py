"""Stage ``validate``: quality rules over the lake, and the traded series on its clock. It repairs nothing silently."""

from __future__ import annotations

import shutil

import polars as pl

from pipelines.params import Params
from pipelines.workspace import REPORTS, Workspace, stage_main
from research.errors import NotInLake, QualityRefused
from research.market.quality import QualityResult, check_quality
from research.market.quality_funding import check_funding
from research.market.quality_report import quality_html


def run(params: Params, workspace: Workspace) -> None:
    """Check every bar and funding series of the lake; write ``data/clean`` for the one that is traded."""
    lake, market = workspace.lake, params.market
    traded_name = _name(market.venue, market.market, market.symbol, "bars", market.base_interval)
    results: dict[str, QualityResult] = {}
    for row in lake.series().iter_rows(named=True):
        where = (row["venue"], row["market"], row["symbol"])
        name = _name(*where, row["kind"], row["interval"])
        if row["kind"] == "bars":
            results[name] = check_quality(
                lake.bars(*where, row["interval"]), row["interval"], params.validate_.policies
            )
        elif row["kind"] == "funding":
            results[name] = check_funding(lake.funding(*where))
    if traded_name not in results:
        raise NotInLake(f"{traded_name}: not in the lake")
    bars = results[traded_name]
    missing = float(bars.frame["close"].is_nan().mean() or 0.0)  # type: ignore[arg-type]
    if missing > params.validate_.max_missing_frac:
        rule = (
            f"share of missing bars {missing:.4f} exceeds validate.max_missing_frac {params.validate_.max_missing_frac}"
        )
        raise QualityRefused(f"{traded_name}: {rule}")
    _write_clean(params, workspace, bars.frame, results)
    report = pl.concat([r.report.insert_column(0, pl.lit(n).alias("series")) for n, r in sorted(results.items())])
    workspace.write_frame(f"{REPORTS}/quality.parquet", report)
    shutil.rmtree(workspace.root / REPORTS / "quality", ignore_errors=True)
    for name, result in results.items():
        workspace.write_bytes(f"{REPORTS}/quality/{name}.html", quality_html(result, name).encode())
    figures = {"series": len(results), "rows": bars.frame.height, "missing_frac": missing, "findings": report.height}
    workspace.write_json(f"{REPORTS}/validate.json", figures)


def _name(venue: str, market: str, symbol: str, kind: str, interval: str | None) -> str:
    return "_".join(part for part in (venue, market, symbol, kind, interval) if part)


def _write_clean(params: Params, workspace: Workspace, bars: pl.DataFrame, results: dict[str, QualityResult]) -> None:
    """Write the lake that is traded on: bars that passed, funding, mark and the instrument."""
    shutil.rmtree(workspace.root / "data/clean", ignore_errors=True)
    raw, clean, market = workspace.lake, workspace.clean, params.market
    where = (market.venue, market.market, market.symbol)
    # A bar without prices is an absent row in the lake; on_clock makes it NaN again.
    clean.write(bars.filter(pl.col("close").is_not_nan()), *where, "bars", market.base_interval)
    clean.write_instrument(raw.instrument(*where))
    if market.market == "linear":
        clean.write(results[_name(*where, "funding", None)].frame, *where, "funding")
        try:
            mark = raw.mark(*where, market.base_interval)
        except NotInLake:  # funding is then charged on the bar's open
            return
        clean.write(mark, *where, "mark", market.base_interval)


if __name__ == "__main__":
    stage_main(run)
