"""Command: register the candidate as a bundle, move an alias, export it for live. It goes around no gate unrecorded.

``python -m pipelines.promote [--alias champion] [--override REASON]``
"""

from __future__ import annotations

import argparse
import fcntl
import hashlib
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from pipelines import tracking
from pipelines.challenge import compare, kept, print_challenge, require_ahead
from pipelines.desk import account_settings, costs
from pipelines.gate import selection
from pipelines.params import Params, load_params
from pipelines.publish import data_key, log_parent, receipt
from pipelines.trial_ledger import build_ledger
from pipelines.workspace import REPORTS, Workspace
from research.bundle import REFERENCE, Bundle, fingerprint, manifest_sha256
from research.errors import GateRefused, InvalidInput, PlatformError
from research.policy import Policy, PolicySpec
from research.predictor import Predictor
from research.validation import Check, evaluate_gate

REFUSED = 3  # exit code of a refused promotion


def main(argv: Sequence[str] | None = None) -> int:
    """Promote, or say why not; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m pipelines.promote")
    parser.add_argument("--params", default="params.yaml")
    parser.add_argument("--root", default=".", type=Path)
    parser.add_argument("--set", action="append", default=[], metavar="SECTION.KEY=VALUE")
    parser.add_argument("--alias", default="champion", choices=["champion", "challenger"])
    parser.add_argument(
        "--override", metavar="REASON", help="promote although gate or champion refused; recorded with the model"
    )
    given = parser.parse_args(argv)
    console = Console(width=None if sys.stdout.isatty() else 140)
    try:
        params, workspace = load_params(given.params, given.set), Workspace(given.root)
        _print_gate(console, workspace)
        version = promote(
            params, workspace, given.alias, given.override, lambda record: print_challenge(console, record)
        )
    except GateRefused as error:
        console.print(f"[bold red]REFUSED[/] {error}")
        return REFUSED
    except (PlatformError, OSError) as error:
        console.print(f"[red]{type(error).__name__}[/]: {error}")
        return 1
    console.print(f"[bold green]PROMOTED[/] {params.publish.model} version {version} is @{given.alias}")
    return 0


def promote(
    params: Params,
    workspace: Workspace,
    alias: str,
    override: str | None = None,
    told: Callable[[dict[str, Any]], None] = lambda record: None,
) -> str:
    """Register the candidate, move ``alias`` to it and export it; return the version.

    ``told`` receives the comparison with the champion of before, also where that refuses.

    Interrupted anywhere, the champion of before still loads, and the same call completes the promotion.

    Raises
    ------
    GateRefused
        If the gate refused, or the champion is probably better, and no override is given: nothing is registered,
        exported or moved.
    InvalidInput
        If files or parameters are not those that the gate judged.
    """
    _require_judged(params, workspace)
    gate = workspace.read_json(f"{REPORTS}/gate.json")
    if not gate["passed"] and not override:
        raise GateRefused(
            f"{len(gate['failed'])} of {gate['checks']} checks failed: {', '.join(gate['failed'])}; no alias was moved"
        )
    counted = _require_all_trials(params, workspace, override)
    bundle = make_bundle(params, workspace, override, counted)
    for warm in ("start", "end"):
        bundle.policy(warm)
    model = params.publish.model
    target = workspace.root / "models/promoted" / model
    target.mkdir(parents=True, exist_ok=True)
    with (target / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # released when the file is closed: two promotions never interleave
        record = compare(params, workspace, bundle, tracking.aliases(model).get("champion"))
        workspace.write_json(f"{REPORTS}/challenge.json", record)
        told(record)
        require_ahead(params, record, alias, override)
        files = replace(bundle, papers={**bundle.papers, "challenge": kept(record)}).to_files()
        tags = {"gate": "overridden" if override else "passed", **_challenge_tags(kept(record))}
        version = _registered(params, workspace, files, tags)
        _export(target, version, files)
        for name in dict.fromkeys(("challenger", alias)):
            tracking.set_alias(model, name, version)
        _write_index(target, tracking.aliases(model))
    return version


def _require_judged(params: Params, workspace: Workspace) -> None:
    """Refuse what changed since the gate: its figures, the candidate, the backtest, or the parameters."""
    judged, here = workspace.read_json(f"{REPORTS}/publish.json")["sha256"], receipt(params, workspace)["sha256"]
    changed = [name for name in here if judged.get(name) != here[name]]
    if changed:
        raise InvalidInput(", ".join(changed), "must be what the gate judged: run dvc repro before promoting")
    gated = workspace.read_json(f"{REPORTS}/gate.json")["judged"]
    stale = [name for name, digest in gated.items() if hashlib.sha256(workspace.read_bytes(name)).hexdigest() != digest]
    if stale:
        raise InvalidInput(", ".join(stale), "must be what the gate read: run dvc repro before promoting")


def _require_all_trials(params: Params, workspace: Workspace, override: str | None) -> dict[str, float]:
    """Deflate once more, by every trial known now: what was tried after the gate, or elsewhere, counts as well.

    Known are the trials of the workspace's ledger, and those of the builds on the same series and hold-out that the
    tracking store has, which may be those of other checkouts. Most are in both: the larger number counts.
    """
    key = receipt(params, workspace)["build_key"]
    builds, others = tracking.trials_of_other_builds(params.publish.experiment, data_key(workspace), key)
    figures = selection(params, workspace, at_least=build_ledger(workspace).count() + others)
    checks = [Check(n, c.figure, c.op, c.threshold) for n, c in params.gate.checks.items() if c.figure in figures]
    if checks and not override:
        verdict = evaluate_gate(figures, checks)
        if not verdict.passed:
            reasons = "; ".join(verdict.table.filter(~verdict.table["passed"])["reason"].to_list())
            trials = int(figures["selection.trials"])
            raise GateRefused(f"with all {trials} trials of {builds + 1} builds and the ledger: {reasons}")
    return {
        "builds": builds + 1.0,
        "trials": figures["selection.trials"],
        "deflated_sharpe": figures["selection.deflated_sharpe"],
    }


def _challenge_tags(record: dict[str, Any]) -> dict[str, str]:
    """Return a comparison as tags of the version."""
    names = ("champion", "days", "difference", "low", "high", "probability")
    return {"challenge": record["status"]} | {
        f"challenge.{name}": str(record[name]) for name in names if record.get(name) is not None
    }


def _registered(params: Params, workspace: Workspace, files: dict[str, bytes], told: dict[str, str]) -> str:
    """Return the version that holds these files, registered now, with these tags, where there is none."""
    model, digest = params.publish.model, manifest_sha256(files)
    version = tracking.registered_as(model, digest)
    if version is not None:
        return version
    with tempfile.TemporaryDirectory() as folder:
        _write_all(Path(folder), files)
        run_id = log_parent(params, workspace, receipt(params, workspace)["build_key"])
        tags = {"bundle_sha256": digest, **told, **tracking.lineage(workspace.root)}
        return tracking.register(params.publish.experiment, model, Path(folder), run_id, tags)


def make_bundle(
    params: Params, workspace: Workspace, override: str | None = None, counted: dict[str, float] | None = None
) -> Bundle:
    """Return the candidate as a bundle, with its proof and its papers."""
    candidate = workspace.read_json("models/candidate/candidate.json")
    spec = PolicySpec.from_dict(candidate["policy"])
    predictor = Predictor.from_dict(candidate["predictor"], workspace.read_bytes("models/candidate/predictor.bin"))
    market = params.market
    files = {f"warm_{when}.bin": workspace.read_bytes(f"data/backtest/warm_{when}.bin") for when in ("start", "end")}
    for name in REFERENCE:
        stored = "ledger_orders" if name == "orders" else name  # as the account keeps them, not in words
        files[f"reference/{name}.parquet"] = workspace.read_bytes(f"data/backtest/{stored}.parquet")
    papers: dict[str, Any] = {
        "lineage": tracking.lineage(workspace.root),
        "gate": {
            **workspace.read_json(f"{REPORTS}/gate.json"),
            "table": workspace.read_frame(f"{REPORTS}/gate.csv").to_dicts(),
        },
        "override": override,
        "out_of_sample": {
            n: workspace.read_json(f"{REPORTS}/{n}.json")
            for n in ("backtest", "walk_forward", "monte_carlo", "stress", "controls")
        },
        "trials": {
            stage: workspace.read_frame(f"data/{stage}/trials.parquet").height for stage in ("search", "walk_forward")
        },
        "selection_over_all_builds": counted,
        "features": workspace.read_json(f"{REPORTS}/features.json"),
        "feature_quantiles": workspace.read_json("data/backtest/feature_quantiles.json"),
    }
    terms = (
        workspace.clean.instrument(market.venue, market.market, market.symbol),
        costs(params),
        account_settings(params),
    )
    return Bundle(
        name=params.publish.model,
        spec=spec,
        predictor=predictor,
        instrument=terms[0],
        costs=terms[1],
        account=terms[2],
        window=workspace.read_json("data/backtest/window.json"),
        fingerprint=fingerprint(Policy(spec, predictor), *terms),
        files=files,
        papers=papers,
    )


def _print_gate(console: Console, workspace: Workspace) -> None:
    table = Table(title="Gate", title_justify="left")
    for column in ("check", "figure", "value", "95 % interval", "rule", "passed", "because"):
        table.add_column(column)
    for row in workspace.read_frame(f"{REPORTS}/gate.csv").iter_rows(named=True):
        passed = str(row["passed"]).lower() == "true"
        figure = _shown(row["value"], row["figure"])
        mark = "[green]yes[/]" if passed else "[bold red]NO[/]"
        ends = [_shown(row[end], row["figure"]) for end in ("low", "high")]
        around = "" if ends == ["n/a", "n/a"] else " to ".join(ends)
        table.add_row(row["check"], row["figure"], figure, around, row["rule"], mark, row["description"])
    console.print(table)


def _shown(value: object, name: str) -> str:
    """Return a figure as text; a probability is never rounded to a certainty."""
    if value is None:
        return "n/a"
    number = float(str(value))
    is_probability = name.endswith(("deflated_sharpe", "probabilistic_sharpe"))
    return ">0.9999" if is_probability and 0.9999 < number < 1.0 else f"{number:.4g}"


def _export(target: Path, version: str, files: dict[str, bytes]) -> None:
    """Write ``target/version`` as a whole, unless it is there already; the folder is never without its files."""
    place = target / version
    manifest = place / "manifest.json"
    if manifest.is_file() and manifest.read_bytes() == files["manifest.json"]:
        return
    for left in target.glob(".export-*"):  # of a promotion that was killed: the lock says that none is under way
        shutil.rmtree(left)
    temporary = Path(tempfile.mkdtemp(dir=target, prefix=".export-"))
    temporary.chmod(0o755)  # mkdtemp's 0700 would hide it from the account that trades
    _write_all(temporary, files)
    if place.exists():  # the same version of another store: the new files first, then the old ones away
        os.replace(place, target / f".export-old-{version}")
    os.replace(temporary, place)
    shutil.rmtree(target / f".export-old-{version}", ignore_errors=True)


def _write_index(target: Path, aliases: dict[str, str]) -> None:
    """Write which alias is which version, and the hash of each version's manifest, of what is exported here."""
    here = {p.name: manifest_sha256({"manifest.json": (p / "manifest.json").read_bytes()}) for p in _versions(target)}
    index = {"aliases": {a: v for a, v in sorted(aliases.items()) if v in here}, "manifest_sha256": here}
    _write_atomic(target / "index.json", json.dumps(index, indent=1, sort_keys=True).encode())


def _versions(target: Path) -> list[Path]:
    return sorted(p for p in target.iterdir() if not p.name.startswith(".") and (p / "manifest.json").is_file())


def _write_all(folder: Path, files: dict[str, bytes]) -> None:
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


def _write_atomic(path: Path, content: bytes) -> None:
    temporary = path.with_name(f".{path.name}.tmp")
    temporary.write_bytes(content)
    os.replace(temporary, path)


if __name__ == "__main__":
    sys.exit(main())
