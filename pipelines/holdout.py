"""The trained policy and the hold-out that it is judged on, for the stages that trade it. It trades nothing."""

from __future__ import annotations

import polars as pl

from pipelines.desk import holdout_start
from pipelines.params import Params
from pipelines.workspace import Workspace
from research.market.bars import TS
from research.policy import Policy, PolicySpec
from research.predictor import Predictor
from research.search.desk import Desk


def trained_policy(workspace: Workspace) -> Policy:
    """Return the policy of the trained candidate, cold."""
    candidate = workspace.read_json("models/candidate/candidate.json")
    predictor = Predictor.from_dict(candidate["predictor"], workspace.read_bytes("models/candidate/predictor.bin"))
    return Policy(PolicySpec.from_dict(candidate["policy"]), predictor)


def holdout(params: Params, desk: Desk) -> tuple[pl.DataFrame, pl.DataFrame | None]:
    """Return bars and mark of the hold-out; the mark is None where the market has none."""
    start_ns = int(desk.decision_ts[holdout_start(params, desk.n_rows)])
    is_held_out = pl.col("ts").cast(TS).to_physical() >= start_ns
    window = desk.bars.filter(is_held_out)
    return window, None if desk.mark is None else desk.mark.filter(is_held_out).head(window.height)
