"""The champion of before against a candidate, on the same days, costs and account. It moves no alias."""

from __future__ import annotations

import json
import math
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from rich.console import Console
from rich.table import Table

from pipelines.desk import account_settings, costs
from pipelines.params import Params
from pipelines.series import traded_series
from pipelines.workspace import Workspace
from research.backtest import Result, simulate
from research.bundle import Bundle, manifest_sha256
from research.errors import GateRefused, InvalidInput, PlatformError
from research.kernel import FloatArray
from research.market.bars import NS_PER_DAY, TS, arrays, epoch_ns
from research.metrics.returns import daily_returns, is_constant
from research.policy import BAR_INPUTS, Policy
from research.validation.challenge import challenge

Series = tuple[pl.DataFrame, pl.DataFrame | None, pl.DataFrame | None]

COMPARED, ALONE, SAME = "compared", "no champion", "same bundle"
NOT_COMPARABLE, NOT_POSSIBLE = "not comparable", "not possible"


def compare(params: Params, workspace: Workspace, candidate: Bundle, registered: str | None = None) -> dict[str, Any]:
    """Return how the candidate does against the exported champion, or why that cannot be said.

    Parameters
    ----------
    candidate : Bundle
        What is to be promoted; a paper ``challenge`` of it is not read.
    registered : str, optional
        The champion's version according to the registry, named where none is exported here.

    Returns
    -------
    dict
        ``status``: :data:`COMPARED`, with the figures of :func:`research.validation.challenge.challenge` and of both
        runs (fractions; None is unknown); :data:`ALONE`; :data:`SAME`, with ``kept``, the comparison that this bundle
        was promoted with; :data:`NOT_COMPARABLE`, another market or a champion that does not load or run here;
        :data:`NOT_POSSIBLE`, too few days or a ratio that does not exist. ``reason`` says why, ``champion`` is its
        version.

    Raises
    ------
    PlatformError
        If the candidate itself cannot be run: that is no property of the champion.
    """
    folder = workspace.root / "models/promoted" / params.publish.model
    try:
        version, champion = _champion(folder)
    except (PlatformError, OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        return _without(NOT_COMPARABLE, f"the champion does not load: {error}", registered)
    if version is None or champion is None:
        if registered is None:
            return _without(ALONE, "no version of this model is champion", None)
        return _without(
            NOT_COMPARABLE, f"champion version {registered} of the registry is not exported here", registered
        )
    if _same(champion, candidate):
        past = champion.papers.get("challenge") or _without(ALONE, "not recorded by the promotion of then", None)
        return _without(SAME, f"version {version} is this candidate already", version) | {"kept": past}
    elsewhere = _elsewhere(champion, candidate)
    if elsewhere:
        return _without(NOT_COMPARABLE, elsewhere, version)
    series = traded_series(params, workspace)
    start, days = _common(champion, candidate, series[0])
    least = params.gate.challenge.min_days
    if days < least:
        reason = f"{max(days, 0)} days that neither was fitted on are left, {least} are needed"
        return _without(NOT_POSSIBLE, reason, version)
    challenger = _traded(Policy(candidate.spec, candidate.predictor), series, start, params, candidate)
    try:
        of_champion = _traded(champion.policy(None), series, start, params, candidate)
    except PlatformError as error:
        return _without(NOT_COMPARABLE, f"the champion does not run on these bars: {error}", version)
    return _figures(of_champion, challenger, params.seed) | {"champion": version}


def kept(record: dict[str, Any]) -> dict[str, Any]:
    """Return what goes into the bundle's papers: promoting a bundle again must not change its bytes."""
    return dict(record["kept"]) if record["status"] == SAME else record


def require_ahead(params: Params, record: dict[str, Any], alias: str, override: str | None) -> None:
    """Refuse a champion that is more probably worse than the one before, unless overridden or switched off.

    The rule reads what was recorded: a candidate that became champion by an override needs one again.

    Raises
    ------
    GateRefused
        If the comparison was possible and its probability is below ``gate.challenge.min_probability``.
    """
    least, found = params.gate.challenge.min_probability, kept(record)
    if alias != "champion" or override or least is None or found["status"] != COMPARED:
        return
    if found["probability"] < least:
        raise GateRefused(
            f"the Sharpe ratio is higher than that of champion version {found['champion']} with probability "
            f"{found['probability']:.4g}, gate.challenge.min_probability is {least:g} ({found['days']} days from "
            f"{found['first_day']}); no alias was moved"
        )


def print_challenge(console: Console, record: dict[str, Any]) -> None:
    """Print a comparison as a table, or why there is none."""
    found = kept(record)
    if record is not found and record["status"] == SAME:
        console.print(f"[bold]Challenge[/] {SAME}: {record['reason']}; the comparison it was promoted with is kept")
    if found["status"] != COMPARED:
        console.print(f"[bold]Challenge[/] {found['status']}: {found['reason']}")
        return
    table = Table(
        title=f"Challenge of version {found['champion']}, both from {found['first_day']}", title_justify="left"
    )
    for column in ("figure", "champion", "challenger"):
        table.add_column(column)
    for name in ("sharpe", "total_return", "max_drawdown", "trades"):
        table.add_row(name, *(_shown(found[f"{name}_{who}"]) for who in ("champion", "challenger")))
    ends = f"{_shown(found['low'])} to {_shown(found['high'])}"
    for name, value in (
        ("days", str(found["days"])),
        ("difference of Sharpe ratios", _shown(found["difference"])),
        ("95 % interval", ends),
        ("probability of the higher ratio", _shown(found["probability"])),
        ("correlation of daily returns", _shown(found["correlation"])),
    ):
        table.add_row(name, "", value)
    console.print(table)


def _champion(folder: Path) -> tuple[str | None, Bundle | None]:
    """Return version and bundle of the exported champion; None where there is none."""
    index_file = folder / "index.json"
    if not index_file.is_file():
        return None, None
    index = json.loads(index_file.read_bytes())
    version = index["aliases"].get("champion")
    if version is None:
        return None, None
    place = folder / version
    files = {p.relative_to(place).as_posix(): p.read_bytes() for p in sorted(place.rglob("*")) if p.is_file()}
    bundle = Bundle.from_files(files)
    if manifest_sha256(files) != index["manifest_sha256"][version]:
        raise InvalidInput(f"{place}/manifest.json", "does not match the hash it was promoted with: it was altered")
    return version, bundle


def _same(champion: Bundle, candidate: Bundle) -> bool:
    """Return whether two bundles differ in their papers alone."""
    ours, theirs = (
        (b.fingerprint, b.spec.to_dict(), b.predictor.sha256, dict(b.window), dict(b.files))
        for b in (candidate, champion)
    )
    return ours == theirs


def _elsewhere(champion: Bundle, candidate: Bundle) -> str | None:
    """Return what of its market the champion does not share; a decision clock of its own is no hindrance."""
    instruments, specs = zip(*((b.instrument, b.spec) for b in (champion, candidate)), strict=True)
    pairs = {name: [getattr(i, name) for i in instruments] for name in ("venue", "market", "symbol")}
    pairs["base_interval"] = [spec.base_interval for spec in specs]
    differing = [f"{name} {old} and not {new}" for name, (old, new) in pairs.items() if old != new]
    return f"the champion trades {', '.join(differing)}" if differing else None


def _common(champion: Bundle, candidate: Bundle, bars: pl.DataFrame) -> tuple[int, int]:
    """Return where the days begin that neither was fitted on, ns, and how many whole ones the bars hold."""
    start = max(int(champion.window["start_ns"]), int(candidate.window["start_ns"]), int(epoch_ns(bars.head(1))[0]))
    start = -(-start // NS_PER_DAY) * NS_PER_DAY
    # The traded series ends at a midnight, with the last bar of its day.
    return start, int(epoch_ns(bars.tail(1))[0]) // NS_PER_DAY + 1 - start // NS_PER_DAY


def _traded(policy: Policy, series: Series, start: int, params: Params, terms: Bundle) -> Result:
    """Return the run of a cold policy that has read all bars before ``start`` and is flat there, on the given terms."""
    bars, mark, funding = series
    is_before = pl.col("ts").cast(TS).to_physical() < start
    before, window = bars.filter(is_before), bars.filter(~is_before)
    known = _push(policy, before).features
    unknown = [c for i, c in enumerate(policy.columns) if not np.isfinite(known[:, i]).any()]
    if unknown:
        raise InvalidInput(f"features {', '.join(unknown)}", "must be known before the first common day: too few bars")
    decisions = _push(policy, window)
    return simulate(
        window, decisions.exposures_per_bar(window.height), instrument=terms.instrument, costs=costs(params),
        funding=funding, mark=None if mark is None else mark.filter(~is_before).head(window.height), gaps="hold",
        **account_settings(params),
    )  # fmt: skip


def _push(policy: Policy, bars: pl.DataFrame) -> Any:
    return policy.push(epoch_ns(bars), dict(zip(BAR_INPUTS, arrays(bars, BAR_INPUTS), strict=True)))


def _figures(champion: Result, challenger: Result, seed: int) -> dict[str, Any]:
    """Return the comparison of two runs of the same bars, or that a ratio does not exist."""
    old, new = (_daily(result) for result in (champion, challenger))
    flat = [who for who, returns in (("champion", old), ("challenger", new)) if is_constant(returns)]
    if flat:
        return _without(NOT_POSSIBLE, f"no Sharpe ratio: the daily returns of {' and '.join(flat)} do not vary", None)
    found = challenge(old, new, seed=seed)
    if not math.isfinite(found.probability):
        rule = "more than one in a hundred samples of the days has no Sharpe ratio: too few days with a trade"
        return _without(NOT_POSSIBLE, rule, None)
    figures: dict[str, Any] = {"status": COMPARED, "reason": "", **asdict(found)}
    figures["first_day"] = str(np.datetime64(int(champion.ts[0]) // NS_PER_DAY, "D"))
    for who, result in (("champion", champion), ("challenger", challenger)):
        metrics = result.metrics()
        figures |= {f"{name}_{who}": metrics[name] for name in ("total_return", "max_drawdown", "trades")}
    return {k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in figures.items()}


def _daily(result: Result) -> FloatArray:
    return daily_returns(result.ts, result.equity["equity"].to_numpy(), result.initial_cash_quote)


def _without(status: str, reason: str, champion: str | None) -> dict[str, Any]:
    return {"status": status, "reason": reason, "champion": champion}


def _shown(value: float | None) -> str:
    """Return a figure as text; a probability is never rounded to a certainty that it is not."""
    return "n/a" if value is None else f"{value:.4g}" if value in (0.0, 1.0) or not 0.9999 < value < 1.0 else ">0.9999"
