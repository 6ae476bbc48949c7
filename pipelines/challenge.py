"""The champion on the candidate's hold-out, under the candidate's costs, and how the two compare. It moves no alias."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from pipelines.desk import account_settings, costs
from pipelines.params import Params
from pipelines.series import traded_series
from pipelines.workspace import Workspace
from research.backtest import simulate
from research.bundle import Bundle, manifest_sha256
from research.errors import InvalidInput, PlatformError
from research.kernel import FloatArray
from research.market.bars import NS_PER_DAY, TS, arrays, epoch_ns
from research.metrics.drawdown import max_drawdown
from research.metrics.returns import daily_returns, total_return
from research.policy import BAR_INPUTS, Policy
from research.validation.challenge import challenge

LEAST_DAYS = 20


def champion_of(folder: Path) -> tuple[str, Bundle] | None:
    """Return version and bundle of the champion exported below ``folder``; None where there is none.

    Raises
    ------
    InvalidInput
        If a file of it was altered.
    """
    index = folder / "index.json"
    if not index.is_file():
        return None
    try:
        told = json.loads(index.read_bytes())
        version = told["aliases"].get("champion")
        expected = told["manifest_sha256"].get(version)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InvalidInput(str(index), f"must map aliases to versions: {type(error).__name__} {error}") from error
    if version is None:
        return None
    place = folder / version
    files = {p.relative_to(place).as_posix(): p.read_bytes() for p in sorted(place.rglob("*")) if p.is_file()}
    bundle = Bundle.from_files(files)
    if manifest_sha256(files) != expected:
        raise InvalidInput(f"{place}/manifest.json", "does not match the hash it was promoted with: it was altered")
    return version, bundle


def compare_with_champion(params: Params, workspace: Workspace) -> dict[str, Any]:
    """Return how the candidate did against the champion on days that neither was chosen on.

    The champion's policy is run cold over all bars and traded on the candidate's hold-out at the candidate's costs and
    account, so that what differs is the policy. Only days from the later of the two hold-outs' beginnings count: the
    champion has been fitted and chosen on those before its own.

    Returns
    -------
    dict
        ``compared``; where not, ``reason``. Otherwise ``champion`` (version), the fields of
        :class:`research.validation.challenge.Challenge`, and ``total_return`` and ``max_drawdown`` of both, of daily
        equity.
    """
    found = champion_of(workspace.root / "models/promoted" / params.publish.model)
    if found is None:
        return _not("there is no champion yet")
    version, bundle = found
    candidate = workspace.read_json("models/candidate/candidate.json")
    is_same = bundle.spec.to_dict() == candidate["policy"] and bundle.predictor.to_dict() == candidate["predictor"]
    if is_same and bundle.predictor.blob == workspace.read_bytes("models/candidate/predictor.bin"):
        return _not(f"version {version}, the champion, has the candidate's policy")
    window = workspace.read_json("data/backtest/window.json")
    begin, end = max(window["start_ns"], bundle.window["start_ns"]), window["end_ns"]
    days = max(0, end - begin) // NS_PER_DAY
    if days < LEAST_DAYS:
        return _not(f"{days} days are common to both hold-outs, {LEAST_DAYS} are needed")
    market = params.market
    for name, here, there in (
        ("symbol", market.symbol, bundle.instrument.symbol),
        ("base interval", market.base_interval, bundle.spec.base_interval),
    ):
        if here != there:
            return _not(f"version {version}, the champion, trades another {name}: {there}, not {here}")
    try:
        theirs = _traded(params, workspace, bundle.policy(None), window["start_ns"])
    except PlatformError as error:
        return _not(f"version {version}, the champion, does not run here: {error}")
    equity = workspace.read_frame("data/backtest/equity.parquet")
    ours = daily_returns(epoch_ns(equity), equity["equity"].to_numpy(), params.costs.initial_cash_quote)
    champion, challenger = theirs[-days:], ours[-days:]
    told = {
        f"{name}_{who}": figure
        for who, returns in (("champion", champion), ("challenger", challenger))
        for name, figure in _figures(returns).items()
    }
    return {"compared": True, "champion": version} | asdict(challenge(champion, challenger, seed=params.seed)) | told


def is_refused(found: Mapping[str, Any], least: float | None) -> bool:
    """Return whether a comparison is one that a champion is not replaced on; one that was not possible is not."""
    if least is None or not found["compared"]:
        return False
    return not found["probability"] >= least  # an unknown one is refused


def described(found: Mapping[str, Any]) -> str:
    """Return a comparison in a line."""
    if not found["compared"]:
        return f"not compared: {found['reason']}"
    ends = "unknown" if np.isnan(found["low"]) else f"{found['low']:.2f} to {found['high']:.2f}"
    return (
        f"Sharpe ratio {found['sharpe_challenger']:.2f} against {found['sharpe_champion']:.2f} of version "
        f"{found['champion']} on the same {found['days']} days; difference {found['difference']:.2f} (95 %: {ends}), "
        f"{found['probability']:.0%} likely the higher one"
    )


def _traded(params: Params, workspace: Workspace, policy: Policy, start_ns: int) -> FloatArray:
    """Return the daily returns of a policy on the hold-out, warmed on all bars before it."""
    bars, mark, funding = traded_series(params, workspace)
    is_later = pl.col("ts").cast(TS).to_physical() >= start_ns
    before, window = bars.filter(~is_later), bars.filter(is_later)
    _push(policy, before)
    exposures = _push(policy, window).exposures_per_bar(window.height)
    market = params.market
    result = simulate(
        window, exposures, instrument=workspace.clean.instrument(market.venue, market.market, market.symbol),
        costs=costs(params), funding=funding, mark=None if mark is None else mark.filter(is_later), gaps="hold",
        **account_settings(params),
    )  # fmt: skip
    return daily_returns(result.ts, result.equity["equity"].to_numpy(), result.initial_cash_quote)


def _push(policy: Policy, bars: pl.DataFrame) -> Any:
    return policy.push(epoch_ns(bars), dict(zip(BAR_INPUTS, arrays(bars, BAR_INPUTS), strict=True)))


def _figures(returns: FloatArray) -> dict[str, float]:
    grown = np.concatenate(([1.0], np.cumprod(1.0 + returns)))
    return {"total_return": float(total_return(returns)), "max_drawdown": float(max_drawdown(grown))}


def _not(reason: str) -> dict[str, Any]:
    return {"compared": False, "reason": reason}
