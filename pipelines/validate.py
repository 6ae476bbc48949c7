"""Stage ``validate``: quality rules over the lake, and the traded series on its clock. It repairs nothing silently."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import replace

import polars as pl

from pipelines.params import Params
from pipelines.workspace import REPORTS, Workspace, stage_main
from research.errors import NotInLake, QualityRefused
from research.market.bars import SCHEMAS
from research.market.lake import Lake
from research.market.quality import DEFAULT_POLICIES, POLICIES, QualityResult, check_quality
from research.market.quality_funding import DEFAULT_FUNDING_POLICIES, FUNDING_POLICIES, check_funding
from research.market.quality_report import quality_html

# A mark price has no volume: what these rules would find or measure is not there.
VOLUME_RULES = ("stale", "volume_invalid", "volume_spike")
Where = tuple[str, str, str]


def run(params: Params, workspace: Workspace) -> None:
    """Check every bar, mark and funding series of the lake; write ``data/clean`` for the one that is traded.

    A rule with policy ``error`` refuses the build where it finds rows of the traded series; of any other series its
    findings are in the report, with that policy, and the build goes on.

    Raises
    ------
    QualityRefused
        If a rule with policy ``error`` found rows of the traded series, or more of its bars are missing than allowed.
    NotInLake
        If the traded bars are not in the lake.
    """
    lake, market = workspace.lake, params.market
    traded = (market.venue, market.market, market.symbol)
    results: dict[str, QualityResult] = {}
    for row in lake.series().iter_rows(named=True):
        where = (row["venue"], row["market"], row["symbol"])
        if row["kind"] in ("bars", "mark", "funding"):
            is_traded = where == traded and row["interval"] in (market.base_interval, None)
            name = _name(where, row["kind"], row["interval"])
            results[name] = _checked(params, lake, where, row["kind"], row["interval"], is_traded)
    traded_name = _name(traded, "bars", market.base_interval)
    if traded_name not in results:
        raise NotInLake(f"{traded_name}: not in the lake")
    bars = results[traded_name]
    missing = float(bars.frame["close"].is_nan().mean() or 0.0)  # type: ignore[arg-type]
    if missing > params.validate_.max_missing_frac:
        rule = (
            f"share of missing bars {missing:.4f} exceeds validate.max_missing_frac {params.validate_.max_missing_frac}"
        )
        raise QualityRefused(f"{traded_name}: {rule}")
    _write_clean(params, workspace, results)
    report = pl.concat([r.report.insert_column(0, pl.lit(n).alias("series")) for n, r in sorted(results.items())])
    workspace.write_frame(f"{REPORTS}/quality.parquet", report)
    shutil.rmtree(workspace.root / REPORTS / "quality", ignore_errors=True)
    for name, result in results.items():
        workspace.write_bytes(f"{REPORTS}/quality/{name}.html", quality_html(result, name).encode())
    figures = {"series": len(results), "rows": bars.frame.height, "missing_frac": missing, "findings": report.height}
    workspace.write_json(f"{REPORTS}/validate.json", figures)


def _name(where: Where, kind: str, interval: str | None) -> str:
    return "_".join(part for part in (*where, kind, interval) if part)


def _checked(
    params: Params, lake: Lake, where: Where, kind: str, interval: str | None, is_traded: bool
) -> QualityResult:
    """Return what the rules make of one series of the lake; one that is not traded is never refused."""
    given, settings = lake.read(*where, kind, interval), params.validate_
    if kind == "funding":
        stated, allowed = {**DEFAULT_FUNDING_POLICIES, **settings.funding_policies}, FUNDING_POLICIES
    else:
        stated, allowed = {**DEFAULT_POLICIES, **settings.policies}, POLICIES
    policies = stated if is_traded else _reporting(stated, allowed)
    try:
        if interval is None:
            result = check_funding(given, policies)
        elif kind == "mark":
            result = _check_mark(given, interval, policies)
        else:
            result = check_quality(given, interval, policies)
    except QualityRefused as error:
        raise QualityRefused(f"{_name(where, kind, interval)}: {error}") from error
    return result if is_traded else _as_stated(result, stated)


def _reporting(stated: Mapping[str, str], allowed: Mapping[str, tuple[str, ...]]) -> dict[str, str]:
    """Return policies that find the same rows and refuse none: nothing is written of the series they are for."""
    passing = {rule: "keep" if "keep" in allowed[rule] else "drop" for rule in stated}
    return {rule: passing[rule] if policy == "error" else policy for rule, policy in stated.items()}


def _as_stated(result: QualityResult, stated: Mapping[str, str]) -> QualityResult:
    """Return a result whose findings carry the policy that was asked for: ``error`` is what trading it would meet."""
    policy = pl.col("rule").replace_strict(stated, return_dtype=pl.String).alias("policy")
    return replace(result, report=result.report.with_columns(policy), summary=result.summary.with_columns(policy))


def _check_mark(mark: pl.DataFrame, interval: str, policies: Mapping[str, str]) -> QualityResult:
    """Return what the rules on times and prices make of mark bars."""
    # A constant volume is one that the rules about volume find nothing in.
    found = check_quality(mark.with_columns(pl.lit(1.0).alias("volume")), interval, policies)
    applies = ~pl.col("rule").is_in(VOLUME_RULES)
    return QualityResult(found.frame.select(*SCHEMAS["mark"]), found.report, found.summary.filter(applies))


def _write_clean(params: Params, workspace: Workspace, results: Mapping[str, QualityResult]) -> None:
    """Write the lake that is traded on: bars that passed, funding, mark and the instrument."""
    market = params.market
    where, interval = (market.venue, market.market, market.symbol), market.base_interval
    kinds: list[tuple[str, str | None]] = [("bars", interval)]
    if market.market == "linear":
        kinds += [("mark", interval), ("funding", None)]
    with workspace.replacing("data/clean") as folder:
        clean = Lake(folder)
        for kind, of in kinds:
            name = _name(where, kind, of)
            if kind == "mark" and name not in results:
                continue  # funding is then charged on the bar's open
            if name not in results:
                raise NotInLake(f"{name}: not in the lake")
            frame = results[name].frame
            # A row without prices is an absent row in the lake; on_clock makes it NaN again.
            clean.write(frame if of is None else frame.filter(pl.col("close").is_not_nan()), *where, kind, of)
        clean.write_instrument(workspace.lake.instrument(*where))


if __name__ == "__main__":
    stage_main(run)
