"""Stage ``publish``: parameters, figures, folds and trials into MLflow. It registers and promotes nothing."""

from __future__ import annotations

import hashlib
from typing import Any

from pipelines.params import Params
from pipelines.tracking import lineage, log_build
from pipelines.workspace import REPORTS, Workspace, flat, stage_main

_FIGURES = (
    "validate", "features", "search", "train", "backtest", "walk_forward", "monte_carlo", "stress", "controls",
    "gate",
)  # fmt: skip
# Folder of the run to the files and folders that are copied into it.
_ARTIFACTS = {
    "report": (f"{REPORTS}/tear_sheet.html", f"{REPORTS}/report.md", f"{REPORTS}/daily_record.csv"),
    "report/quality": (f"{REPORTS}/quality",),
    "gate": (f"{REPORTS}/gate.csv",),
    "trials/search": ("data/search/trials.parquet",),
    "trials/walk_forward": ("data/walk_forward/trials.parquet",),
    "stress": ("data/stress",),
    "controls": ("data/controls",),
    "features": ("data/features/lineage.parquet",),
}

# Files that become the bundle, beside the figures: what is promoted is what was judged.
_JUDGED = (
    "models/candidate/candidate.json",
    "models/candidate/predictor.bin",
    *(f"data/backtest/{n}.parquet" for n in ("decisions", "ledger_orders", "fills", "equity")),
    *(f"data/backtest/{n}" for n in ("warm_start.bin", "warm_end.bin", "window.json", "feature_quantiles.json")),
)


def run(params: Params, workspace: Workspace) -> None:
    """Log the build once; the receipt holds hashes and no run id, so that a rebuild gives the same bytes."""
    made = receipt(params, workspace)
    log_parent(params, workspace, made["build_key"])
    workspace.write_json(f"{REPORTS}/publish.json", made)


def receipt(params: Params, workspace: Workspace) -> dict[str, Any]:
    """Return what this build is: the hash of everything that the gate judged, as a whole and file by file.

    A promotion refuses files and parameters that are not those of the receipt.
    """
    decided = params.model_dump_json(by_alias=True, exclude={"report", "publish"})
    parts = {"params": hashlib.sha256(decided.encode()).hexdigest()}
    for name in (*(f"{REPORTS}/{figure}.json" for figure in _FIGURES), *_JUDGED):
        parts[name] = hashlib.sha256(workspace.read_bytes(name)).hexdigest()
    whole = hashlib.sha256("".join(f"{name} {part}\n" for name, part in parts.items()).encode()).hexdigest()
    return {"build_key": whole[:16], "sha256": parts}


def data_key(workspace: Workspace) -> str:
    """Return the hash of the clean series and of where the hold-out begins: what builds on the same data share."""
    digest = hashlib.sha256(str(workspace.read_json("data/backtest/window.json")["start_ns"]).encode())
    for path in sorted((workspace.root / "data/clean").rglob("*.parquet")):
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()[:16]


def log_parent(params: Params, workspace: Workspace, key: str) -> str:
    """Return the id of this build's parent run, logged where it is not yet."""
    figures = {name: workspace.read_json(f"{REPORTS}/{name}.json") for name in _FIGURES}
    numbers = {k: float(v) for k, v in flat(figures).items() if isinstance(v, (int, float))}
    gate: dict[str, Any] = figures["gate"]
    tags = {**lineage(workspace.root), "gate": "passed" if gate["passed"] else "refused"}
    tags["feature_fingerprint"] = figures["features"]["fingerprint"]
    tags["data_key"] = data_key(workspace)
    return log_build(
        params.publish.experiment, key, params=params.model_dump(by_alias=True), metrics=numbers, tags=tags,
        folds=workspace.read_frame("data/walk_forward/folds.parquet").to_dicts(),
        artifacts={folder: [workspace.root / n for n in names] for folder, names in _ARTIFACTS.items()},
    )  # fmt: skip


if __name__ == "__main__":
    stage_main(run)
