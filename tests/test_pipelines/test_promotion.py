"""Gate, registry and export: what passes is promoted as a whole, what is refused leaves no trace."""

import json

import polars as pl
import pytest

from live.bundle_files import load_bundle
from live.registry import download_bundle
from pipelines import promote as promotion
from pipelines import tracking
from pipelines.gate import selection_figures
from research.errors import GateRefused


def test_the_default_profile_passes_without_an_override(default_build):
    _, workspace = default_build
    verdict = workspace.read_json("data/reports/gate.json")
    assert verdict["passed"], verdict
    assert verdict["selection.trials"] == 230.0  # 2 candidates x 40 trials, and x 15 in each of 5 folds


def test_without_the_edge_the_same_gate_refuses_and_leaves_no_champion(build_pipeline, tmp_path, capsys):
    params, workspace = build_pipeline(tmp_path, "ingest.simulated.edge=0.0", "publish.model=no-edge")
    verdict = workspace.read_json("data/reports/gate.json")
    assert not verdict["passed"]
    assert {"holdout_sharpe", "walk_forward_sharpe", "deflated_sharpe"} <= set(verdict["failed"])
    arguments = ["--root", str(tmp_path), "--set", "ingest.simulated.edge=0.0", "--set", "publish.model=no-edge"]
    assert promotion.main(arguments) == promotion.REFUSED
    shown = capsys.readouterr().out
    assert "REFUSED" in shown
    assert "holdout_sharpe" in shown
    assert tracking.aliases("no-edge") == {}
    assert not (tmp_path / "models/promoted").exists()
    with pytest.raises(GateRefused, match="deflated_sharpe"):
        promotion.promote(params, workspace, "champion")


def test_a_promoted_bundle_is_registered_and_exported_with_the_same_bytes(promoted):
    params, workspace, version = promoted
    model = params.publish.model
    assert tracking.aliases(model) == {"champion": version, "challenger": version}
    folder = workspace.root / "models/promoted" / model
    assert json.loads((folder / "aliases.json").read_text()) == {"champion": version, "challenger": version}
    exported, at = load_bundle(f"{model}@champion", workspace.root / "models/promoted")
    registered, registered_at = download_bundle(f"models:/{model}@champion")
    assert at == registered_at == version
    assert exported.to_files() == registered.to_files()


def test_a_bundle_tells_what_it_came_from(promoted):
    params, workspace, _ = promoted
    bundle, _ = load_bundle(f"{params.publish.model}@champion", workspace.root / "models/promoted")
    papers = bundle.papers
    assert set(papers["lineage"]) >= {"git_commit", "git_dirty"}
    assert papers["trials"] == {"search": 80, "walk_forward": 150}
    assert papers["gate"]["passed"]
    assert len(papers["gate"]["table"]) == len(params.gate.checks)
    assert papers["override"] is None
    assert papers["features"]["fingerprint"] == bundle.policy(None).feature_set.fingerprint
    assert set(papers["feature_quantiles"]) == set(bundle.policy(None).columns)


def test_promoting_the_same_candidate_again_makes_no_new_version(promoted):
    params, workspace, version = promoted
    assert promotion.promote(params, workspace, "champion") == version


def test_an_override_promotes_and_is_recorded(small_build):
    params, workspace = small_build
    named = params.model_copy(update={"publish": params.publish.model_copy(update={"model": "overridden"})})
    assert not workspace.read_json("data/reports/gate.json")["passed"]
    version = promotion.promote(named, workspace, "champion", override="drill of the runbook")
    bundle, _ = load_bundle("overridden@champion", workspace.root / "models/promoted")
    assert bundle.papers["override"] == "drill of the runbook"
    client, _ = tracking.connect("Default")
    assert client.get_model_version("overridden", version).tags["gate"] == "overridden"


def test_a_challenger_does_not_move_the_champion(promoted, small_build):
    params, workspace, version = promoted
    small_params, small = small_build
    same_model = small_params.model_copy(update={"publish": params.publish})
    newer = promotion.promote(same_model, small, "challenger", override="challenge")
    assert tracking.aliases(params.publish.model) == {"champion": version, "challenger": newer}
    assert int(newer) > int(version)
    promotion.promote(params, workspace, "champion")  # other tests expect both aliases on the default build


def test_a_build_is_a_parent_run_with_its_folds_as_children(default_build, tmp_path):
    params, workspace = default_build
    client, experiment = tracking.connect(params.publish.experiment)
    key = workspace.read_json("data/reports/publish.json")["build_key"]
    parents = client.search_runs([experiment], f"tags.build_key = '{key}' and tags.state = 'complete'")
    assert len(parents) == 1
    parent = parents[0]
    folds = client.search_runs([experiment], f"tags.`mlflow.parentRunId` = '{parent.info.run_id}'")
    assert sorted(int(run.data.params["fold"]) for run in folds) == [0, 1, 2, 3, 4]
    assert parent.data.metrics["backtest.sharpe"] == workspace.read_json("data/reports/backtest.json")["sharpe"]
    assert parent.data.params["train.horizon_bars"] == "12"
    for name, trials in (("search", 80), ("walk_forward", 150)):
        stored = client.download_artifacts(parent.info.run_id, f"trials/{name}/trials.parquet", str(tmp_path))
        assert pl.read_parquet(stored).height == trials
    stored = {artifact.path for artifact in client.list_artifacts(parent.info.run_id, "report")}
    assert stored == {"report/tear_sheet.html", "report/quality"}


def test_more_trials_deflate_the_same_returns_further():
    import numpy as np

    daily = np.random.default_rng(3).normal(0.004, 0.02, 200)
    trials = np.random.default_rng(4).normal(0.1, 0.05, 40)
    few, many = selection_figures(daily, trials, 40), selection_figures(daily, trials, 4_000)
    assert few["selection.deflated_sharpe"] > many["selection.deflated_sharpe"]
    assert few["selection.sharpe"] == many["selection.sharpe"]


def test_a_search_that_never_traded_has_no_deflated_sharpe():
    import numpy as np

    figures = selection_figures(np.zeros(50), np.array([np.nan, np.nan]), 2)
    assert np.isnan(figures["selection.deflated_sharpe"])
