"""Command: register the candidate as a bundle, move an alias, export it for live. It goes around no gate unrecorded.

``python -m pipelines.promote [--alias champion] [--override REASON]``
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from pipelines import tracking
from pipelines.desk import account_settings, costs
from pipelines.params import Params, load_params
from pipelines.publish import build_key, log_parent
from pipelines.workspace import REPORTS, Workspace
from research.bundle import REFERENCE, Bundle
from research.errors import GateRefused, PlatformError
from research.policy import Policy, PolicySpec
from research.predictor import Predictor

REFUSED = 3  # exit code of a refused promotion


def main(argv: Sequence[str] | None = None) -> int:
    """Promote, or say why not; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m pipelines.promote")
    parser.add_argument("--params", default="params.yaml")
    parser.add_argument("--root", default=".", type=Path)
    parser.add_argument("--set", action="append", default=[], metavar="SECTION.KEY=VALUE")
    parser.add_argument("--alias", default="champion", choices=["champion", "challenger"])
    parser.add_argument(
        "--override", metavar="REASON", help="promote although the gate refused; recorded with the model"
    )
    given = parser.parse_args(argv)
    console = Console(width=None if sys.stdout.isatty() else 140)
    try:
        params, workspace = load_params(given.params, given.set), Workspace(given.root)
        _print_gate(console, workspace)
        version = promote(params, workspace, given.alias, given.override)
    except GateRefused as error:
        console.print(f"[bold red]REFUSED[/] {error}")
        return REFUSED
    except (PlatformError, OSError) as error:
        console.print(f"[red]{type(error).__name__}[/]: {error}")
        return 1
    console.print(f"[bold green]PROMOTED[/] {params.publish.model} version {version} is @{given.alias}")
    return 0


def promote(params: Params, workspace: Workspace, alias: str, override: str | None = None) -> str:
    """Register the candidate, move ``alias`` to it and export it; return the version.

    Raises
    ------
    GateRefused
        If the gate refused and no override is given: nothing is registered, exported or moved.
    """
    gate = workspace.read_json(f"{REPORTS}/gate.json")
    if not gate["passed"] and not override:
        raise GateRefused(
            f"{len(gate['failed'])} of {gate['checks']} checks failed: {', '.join(gate['failed'])}; no alias was moved"
        )
    bundle = make_bundle(params, workspace, override)
    files = bundle.to_files()
    digest = hashlib.sha256(files["manifest.json"]).hexdigest()
    model = params.publish.model
    version = tracking.registered_as(model, digest)
    with tempfile.TemporaryDirectory() as folder:
        _write_all(Path(folder), files)
        if version is None:
            run_id = log_parent(params, workspace, build_key(params, workspace))
            tags = {
                "bundle_sha256": digest,
                "gate": "overridden" if override else "passed",
                **tracking.lineage(workspace.root),
            }
            version = tracking.register(params.publish.experiment, model, Path(folder), run_id, tags)
    target = workspace.root / "models/promoted" / model
    _export(target, version, files)
    for name in dict.fromkeys(("challenger", alias)):
        tracking.set_alias(model, name, version)
    _write_atomic(target / "aliases.json", json.dumps(tracking.aliases(model), indent=1, sort_keys=True).encode())
    return version


def make_bundle(params: Params, workspace: Workspace, override: str | None = None) -> Bundle:
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
            n: workspace.read_json(f"{REPORTS}/{n}.json") for n in ("backtest", "walk_forward", "monte_carlo")
        },
        "trials": {
            stage: workspace.read_frame(f"data/{stage}/trials.parquet").height for stage in ("search", "walk_forward")
        },
        "features": workspace.read_json(f"{REPORTS}/features.json"),
        "feature_quantiles": workspace.read_json("data/backtest/feature_quantiles.json"),
    }
    return Bundle(
        name=params.publish.model, spec=spec, predictor=predictor,
        instrument=workspace.clean.instrument(market.venue, market.market, market.symbol),
        costs=costs(params), account=account_settings(params), window=workspace.read_json("data/backtest/window.json"),
        fingerprint=Policy(spec, predictor).fingerprint, files=files, papers=papers,
    )  # fmt: skip


def _print_gate(console: Console, workspace: Workspace) -> None:
    table = Table(title="Gate", title_justify="left")
    for column in ("check", "figure", "value", "rule", "passed", "because"):
        table.add_column(column)
    for row in workspace.read_frame(f"{REPORTS}/gate.csv").iter_rows(named=True):
        passed = str(row["passed"]).lower() == "true"
        figure = _shown(row["value"], row["figure"])
        mark = "[green]yes[/]" if passed else "[bold red]NO[/]"
        table.add_row(row["check"], row["figure"], figure, row["rule"], mark, row["description"])
    console.print(table)


def _shown(value: object, name: str) -> str:
    """Return a figure as text; a probability is never rounded to a certainty."""
    if value is None:
        return "n/a"
    number = float(str(value))
    is_probability = name.endswith(("deflated_sharpe", "probabilistic_sharpe"))
    return ">0.9999" if is_probability and 0.9999 < number < 1.0 else f"{number:.4g}"


def _export(target: Path, version: str, files: dict[str, bytes]) -> None:
    """Write ``target/version`` as a whole; an export that is there already holds the same bytes."""
    target.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(dir=target, prefix=".export-"))
    _write_all(temporary, files)
    shutil.rmtree(target / version, ignore_errors=True)
    os.replace(temporary, target / version)


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
