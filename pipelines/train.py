"""Stage ``train``: the chosen candidate, fitted on the whole development period. It chooses nothing."""

from __future__ import annotations

from pipelines.desk import candidates, holdout_start, open_desk, policy_spec
from pipelines.params import Params
from pipelines.workspace import REPORTS, Workspace, stage_main
from research.learning.lightgbm_model import importance
from research.predictor import Predictor


def run(params: Params, workspace: Workspace) -> None:
    """Write ``models/candidate``: the policy's specification and its predictor."""
    desk = open_desk(params, workspace)
    choice = workspace.read_json("data/search/choice.json")
    candidate = next(c for c in candidates(params) if c.name == choice["candidate"])
    stop = holdout_start(params, desk.n_rows)
    learned = desk.fit(desk.first_row, stop)
    predictor = learned if candidate.is_learned else Predictor.none()
    spec = policy_spec(params, candidate, choice["params"])
    workspace.write_json(
        "models/candidate/candidate.json", {"policy": spec.to_dict(), "predictor": predictor.to_dict()}
    )
    workspace.write_bytes("models/candidate/predictor.bin", predictor.blob)
    # The booster is described even where a rule won: what the features are worth is of interest either way.
    workspace.write_frame(f"{REPORTS}/importance.csv", importance(learned.model(), desk.columns))
    figures = {"rows": stop - desk.first_row, "features": len(desk.columns), "learned": candidate.is_learned}
    workspace.write_json(f"{REPORTS}/train.json", figures)


if __name__ == "__main__":
    stage_main(run)
