"""Stage ``publish``: parameters, figures, folds and trials into MLflow. It registers and promotes nothing."""

from __future__ import annotations

import hashlib
from typing import Any

from pipelines.params import Params
from pipelines.tracking import lineage, log_build
from pipelines.workspace import REPORTS, Workspace, flat, stage_main

_FIGURES = ("validate", "features", "search", "train", "backtest", "walk_forward", "monte_carlo", "gate")
# Folder of the run to the file or folder that is copied into it.
_ARTIFACTS = {
    "report": f"{REPORTS}/tear_sheet.html",
    "report/quality": f"{REPORTS}/quality",
    "gate": f"{REPORTS}/gate.csv",
    "trials/search": "data/search/trials.parquet",
    "trials/walk_forward": "data/walk_forward/trials.parquet",
    "features": "data/features/lineage.parquet",
}


def run(params: Params, workspace: Workspace) -> None:
    """Log the build once; the receipt holds its key and no run id, so that a rebuild gives the same bytes."""
    key = build_key(params, workspace)
    log_parent(params, workspace, key)
    workspace.write_json(f"{REPORTS}/publish.json", {"build_key": key})


def build_key(params: Params, workspace: Workspace) -> str:
    """Return the hash of everything that the gate depends on."""
    decided = params.model_dump_json(by_alias=True, exclude={"report", "publish"})
    digest = hashlib.sha256(decided.encode())
    for name in _FIGURES:
        digest.update(workspace.read_bytes(f"{REPORTS}/{name}.json"))
    return digest.hexdigest()[:16]


def log_parent(params: Params, workspace: Workspace, key: str) -> str:
    """Return the id of this build's parent run, logged where it is not yet."""
    figures = {name: workspace.read_json(f"{REPORTS}/{name}.json") for name in _FIGURES}
    numbers = {k: float(v) for k, v in flat(figures).items() if isinstance(v, (int, float))}
    gate: dict[str, Any] = figures["gate"]
    tags = {**lineage(workspace.root), "gate": "passed" if gate["passed"] else "refused"}
    tags["feature_fingerprint"] = figures["features"]["fingerprint"]
    return log_build(
        params.publish.experiment, key, params=params.model_dump(by_alias=True), metrics=numbers, tags=tags,
        folds=workspace.read_frame("data/walk_forward/folds.parquet").to_dicts(),
        artifacts={folder: workspace.root / name for folder, name in _ARTIFACTS.items()},
    )  # fmt: skip


if __name__ == "__main__":
    stage_main(run)
