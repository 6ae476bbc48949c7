"""Gate, registry and export: what passes is promoted as a whole, what is refused leaves no trace."""

import json
import shutil

import numpy as np
import polars as pl
import pytest

from live.bundle_files import load_bundle
from live.registry import download_bundle
from pipelines import gate, publish, tracking
from pipelines import promote as promotion
from pipelines.gate import selection_figures
from pipelines.trials import record_trials
from pipelines.workspace import Workspace
from research.errors import GateRefused, InvalidInput, TrackingError
from research.validation.trial_ledger import Study, TrialLedger


def test_the_default_profile_passes_without_an_override(default_build):
    _, workspace = default_build
    verdict = workspace.read_json("data/reports/gate.json")
    assert verdict["passed"], verdict
    assert verdict["selection.trials"] == 620.0  # 2 candidates x 40 trials, and x 15 in each of 18 folds


@pytest.mark.slow
def test_without_the_edge_the_same_gate_refuses_and_leaves_no_champion(build_pipeline, tmp_path, capsys):
    params, workspace = build_pipeline(tmp_path, "ingest.simulated.edge=0.0", "publish.model=no-edge")
    verdict = workspace.read_json("data/reports/gate.json")
    assert not verdict["passed"]
    assert {"sharpe", "walk_forward", "deflated_sharpe"} <= set(verdict["failed"])
    arguments = ["--root", str(tmp_path), "--set", "ingest.simulated.edge=0.0", "--set", "publish.model=no-edge"]
    assert promotion.main(arguments) == promotion.REFUSED
    shown = capsys.readouterr().out
    assert "REFUSED" in shown
    assert "walk_forward" in shown
    assert tracking.aliases("no-edge") == {}
    assert not (tmp_path / "models/promoted").exists()
    with pytest.raises(GateRefused, match="deflated_sharpe"):
        promotion.promote(params, workspace, "champion")


def test_a_promoted_bundle_is_registered_and_exported_with_the_same_bytes(promoted):
    params, workspace, version = promoted
    model = params.publish.model
    assert tracking.aliases(model) == {"champion": version, "challenger": version}
    folder = workspace.root / "models/promoted" / model
    index = json.loads((folder / "index.json").read_text())
    assert index["aliases"] == {"champion": version, "challenger": version}
    assert set(index["manifest_sha256"]) == {version}
    exported, at = load_bundle(f"{model}@champion", workspace.root / "models/promoted")
    registered, registered_at = download_bundle(f"models:/{model}@champion")
    assert at == registered_at == version
    assert exported.to_files() == registered.to_files()


def test_a_bundle_tells_what_it_came_from(promoted):
    params, workspace, _ = promoted
    bundle, _ = load_bundle(f"{params.publish.model}@champion", workspace.root / "models/promoted")
    papers = bundle.papers
    assert set(papers["lineage"]) >= {"git_commit", "git_dirty"}
    assert papers["trials"] == {"search": 80, "walk_forward": 540}
    assert papers["gate"]["passed"]
    assert len(papers["gate"]["table"]) == len(params.gate.checks)
    assert papers["override"] is None
    assert papers["features"]["fingerprint"] == bundle.policy(None).feature_set.fingerprint
    assert set(papers["feature_quantiles"]) == set(bundle.policy(None).columns)


def test_promoting_the_same_candidate_again_makes_no_new_version(promoted):
    params, workspace, version = promoted
    assert promotion.promote(params, workspace, "champion") == version


@pytest.mark.parametrize(
    "change", ["costs.taker_fee_bps=0.0", "costs.max_leverage=3.0", "gate.checks.drawdown.threshold=-0.3", "seed=8"]
)
def test_parameters_that_the_gate_did_not_judge_are_not_promoted(promoted, capsys, change):
    params, workspace, version = promoted
    assert promotion.main(["--root", str(workspace.root), "--set", change]) == 1
    assert "must be what the gate judged" in capsys.readouterr().out.replace("\n", " ")
    assert tracking.aliases(params.publish.model)["champion"] == version


@pytest.mark.parametrize(
    "name",
    [
        "models/candidate/predictor.bin",
        "data/backtest/warm_end.bin",
        "data/backtest/fills.parquet",
        "data/reports/gate.json",
        "data/reports/backtest.json",
    ],
)
def test_files_that_the_gate_did_not_judge_are_not_promoted(promoted, tmp_path, name):
    params, workspace, _ = promoted
    shutil.copytree(workspace.root, tmp_path / "copy", ignore=shutil.ignore_patterns("lake"))
    path = tmp_path / "copy" / name
    path.write_bytes(path.read_bytes() + b" ")
    with pytest.raises(InvalidInput, match="must be what the gate judged") as caught:
        promotion.promote(params, Workspace(tmp_path / "copy"), "champion")
    assert name in str(caught.value)


def test_figures_made_after_the_gate_are_not_promoted(promoted, tmp_path):
    """The receipt can be made anew; what the gate read cannot."""
    params, workspace, _ = promoted
    other = Workspace(tmp_path / "copy")
    shutil.copytree(workspace.root, other.root, ignore=shutil.ignore_patterns("lake"))
    figures = other.read_json("data/reports/backtest.json")
    other.write_json("data/reports/backtest.json", {**figures, "sharpe": 99.0})
    publish.run(params, other)
    with pytest.raises(InvalidInput, match="must be what the gate read"):
        promotion.promote(params, other, "champion")


class Killed(BaseException):
    """Stands for kill -9."""


@pytest.mark.parametrize("step", ["register", "_export", "set_alias", "_write_index", "_write_all"])
def test_a_promotion_killed_anywhere_leaves_a_champion_that_loads(small_build, tmp_path, monkeypatch, step):
    params, workspace = small_build
    other = Workspace(tmp_path / "copy")
    shutil.copytree(workspace.root, other.root, ignore=shutil.ignore_patterns("lake"))
    named = params.model_copy(update={"publish": params.publish.model_copy(update={"model": f"killed-{step}"})})
    promoted_folder = other.root / "models/promoted"
    first = promotion.promote(named, other, "champion", override="first")
    holder = tracking if hasattr(tracking, step) else promotion

    def killed(*arguments, **named_arguments):
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(holder, step, killed)
        with pytest.raises(Killed):
            promotion.promote(named, other, "champion", override="second")
    bundle, version = load_bundle(f"killed-{step}@champion", promoted_folder)
    assert version == first
    assert bundle.papers["override"] == "first"
    second = promotion.promote(named, other, "champion", override="second")
    bundle, version = load_bundle(f"killed-{step}@champion", promoted_folder)
    assert version == second == str(int(first) + 1)
    assert bundle.papers["override"] == "second"
    assert [p.name for p in (promoted_folder / f"killed-{step}").glob(".export-*")] == []
    registered, _ = download_bundle(f"models:/killed-{step}@champion")
    assert registered.to_files() == bundle.to_files()


def test_an_older_version_keeps_its_own_bytes_in_the_registry(small_build):
    params, workspace = small_build
    named = params.model_copy(update={"publish": params.publish.model_copy(update={"model": "two-versions"})})
    promotion.promote(named, workspace, "champion", override="one")
    promotion.promote(named, workspace, "challenger", override="two")
    champion, _ = download_bundle("models:/two-versions@champion")
    challenger, _ = download_bundle("models:/two-versions@challenger")
    assert (champion.papers["override"], challenger.papers["override"]) == ("one", "two")


def test_trials_of_other_builds_on_the_same_data_count_as_well(promoted, monkeypatch):
    params, workspace, version = promoted
    counted = []

    def told(daily, sharpes, n_trials):
        # The planted edge outlives any number of trials: what a count does to a figure is tested beside the function.
        counted.append(n_trials)
        return selection_figures(daily, sharpes, n_trials) | {"selection.deflated_sharpe": 0.5}

    monkeypatch.setattr(tracking, "trials_of_other_builds", lambda *unused: (40, 1_000))
    monkeypatch.setattr(gate, "selection_figures", told)
    with pytest.raises(GateRefused, match="with all 1620 trials of 41 builds and the ledger"):
        promotion.promote(params, workspace, "champion")
    assert counted == [620 + 1_000]
    assert tracking.aliases(params.publish.model)["champion"] == version


def test_what_was_tried_by_hand_counts_for_gate_and_promotion(small_build, tmp_path):
    params, built = small_build
    workspace = Workspace(tmp_path)
    shutil.copytree(built.root, tmp_path, dirs_exist_ok=True)
    before = gate.selection(params, workspace)
    days = built.read_frame("data/search/returns.parquet")["day"]
    noise = np.random.default_rng(1).normal(0.0, 0.02, (days.len(), 30))
    columns = {str(k): np.ascontiguousarray(noise[:, k]) for k in range(30)}
    tried = [{"length": k} for k in range(30)]
    told = record_trials(params, workspace, "by hand", tried, pl.DataFrame({"day": days} | columns), terms={})
    assert told.count() == 30
    after = gate.selection(params, workspace)
    own = sum(built.read_frame(f"data/{stage}/trials.parquet").height for stage in ("search", "walk_forward"))
    assert (before["selection.trials"], after["selection.trials"]) == (own, own + 30)
    # They were on the search's own days: the best is judged among them as well, and ratios lie further apart.
    assert after["selection.expected_maximum_sharpe"] > before["selection.expected_maximum_sharpe"]
    assert after["selection.deflated_sharpe"] < before["selection.deflated_sharpe"]
    record_trials(params, workspace, "by hand", tried, pl.DataFrame({"day": days} | columns), terms={})
    again = gate.selection(params, workspace)  # another look at the same trials
    assert [n for n, v in again.items() if v != after[n] and not (np.isnan(v) and np.isnan(after[n]))] == []


def test_near_copies_told_to_the_ledger_lower_no_hurdle(small_build, tmp_path):
    params, built = small_build
    workspace = Workspace(tmp_path)
    shutil.copytree(built.root, tmp_path, dirs_exist_ok=True)
    days = pl.Series("day", np.arange("2024-01-05", "2024-05-05", dtype="datetime64[D]"))
    name = TrialLedger(workspace.read_frame("data/search/ledger.parquet")).frame.row(0, named=True)
    study = Study("search", name["data_hash"], "2024-01-05/2024-05-04")
    noise = np.random.default_rng(5).normal(0.0005, 0.02, (days.len(), 12))
    own = TrialLedger()
    for k in range(12):
        own.add(study, {"k": k}, source="optuna", returns=noise[:, k], days=days)
    workspace.write_frame("data/search/ledger.parquet", own.frame)
    workspace.write_frame("data/search/daily.parquet", pl.DataFrame({"ret": noise[:, 0]}))
    before = gate.selection(params, workspace)
    loser = np.random.default_rng(3).normal(-0.004, 0.02, days.len())
    copies = {str(k): loser + 1e-6 * np.random.default_rng(k).normal(size=days.len()) for k in range(50)}
    tried = [{"copy": k} for k in range(50)]
    record_trials(params, workspace, "copies", tried, pl.DataFrame({"day": days} | copies), terms={})
    part = pl.DataFrame({"day": [days[0], days[-1]], "0": [0.01, 0.0]})  # the same window, two of its days
    record_trials(params, workspace, "short", [{"days": 2}], part, terms={})
    after = gate.selection(params, workspace)
    assert after["selection.trials"] == before["selection.trials"] + 51
    assert after["selection.deflated_sharpe"] < before["selection.deflated_sharpe"]
    for figure in ("pbo", "spa_p", "effective_trials"):  # among the search's own, on all of its days
        assert np.isfinite(before[f"selection.{figure}"])
        assert after[f"selection.{figure}"] == before[f"selection.{figure}"]


def test_a_strategy_without_skill_does_not_pass_by_forgetting_its_trials(small_build, tmp_path, monkeypatch):
    monkeypatch.setattr(gate, "snooping_figures", lambda *unused, **unused_too: {})  # of 400 trials: ten seconds
    params, built = small_build
    workspace = Workspace(tmp_path)
    shutil.copytree(built.root, tmp_path, dirs_exist_ok=True)
    days = pl.Series("day", np.arange("2024-01-05", "2024-07-05", dtype="datetime64[D]"))
    noise = np.random.default_rng(2).normal(0.0, 0.02, (days.len(), 400))
    best = noise[:, int(np.argmax(noise.mean(axis=0) / noise.std(axis=0)))]
    own = TrialLedger(workspace.read_frame("data/search/ledger.parquet"))
    name = own.frame.row(0, named=True)
    alone = TrialLedger()
    for k in range(2):
        alone.add(
            Study("luck", name["data_hash"], "2024-01-05/2024-07-04"),
            {"k": k},
            source="manual",
            returns=noise[:, k],
            days=days,
        )
    for stage in ("search", "walk_forward"):
        workspace.write_frame(f"data/{stage}/ledger.parquet", alone.frame)
    workspace.write_frame("data/search/daily.parquet", pl.DataFrame({"ret": best}))
    shutil.rmtree(tmp_path / "data/trials")
    forgotten = gate.selection(params, workspace)["selection.deflated_sharpe"]
    columns = {str(k): np.ascontiguousarray(noise[:, k]) for k in range(400)}
    tried = [{"k": k} for k in range(400)]
    record_trials(params, workspace, "luck", tried, pl.DataFrame({"day": days} | columns), terms={}, source="sweep")
    counted = gate.selection(params, workspace)["selection.deflated_sharpe"]
    assert forgotten > 0.95
    assert counted < 0.8


def test_other_builds_are_found_by_their_data(small_build, small_overrides, build_pipeline, tmp_path):
    params, workspace = small_build
    key = publish.receipt(params, workspace)["build_key"]
    data = publish.data_key(workspace)
    before = tracking.trials_of_other_builds(params.publish.experiment, data, key)
    build_pipeline(tmp_path, *small_overrides, "search.sizer_params.band=0.4")
    builds, trials = tracking.trials_of_other_builds(params.publish.experiment, data, key)
    assert builds == before[0] + 1
    figures = [workspace.read_json(f"data/reports/{stage}.json") for stage in ("search", "walk_forward")]
    assert trials == before[1] + sum(found["trials"] for found in figures)
    assert tracking.trials_of_other_builds(params.publish.experiment, "other data", key) == (0, 0)


def test_a_store_that_cannot_be_reached_is_named(monkeypatch, tmp_path):
    (tmp_path / "mlflow.db").write_text("this is no database, but long enough to look like one" * 40)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    with pytest.raises(TrackingError, match=r"mlflow\.db"):
        tracking.connect("anything")


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
    assert sorted(int(run.data.params["fold"]) for run in folds) == list(range(18))
    assert parent.data.metrics["backtest.sharpe"] == workspace.read_json("data/reports/backtest.json")["sharpe"]
    assert parent.data.params["train.horizon_bars"] == "12"
    for name, trials in (("search", 80), ("walk_forward", 540)):
        stored = client.download_artifacts(parent.info.run_id, f"trials/{name}/trials.parquet", str(tmp_path))
        assert pl.read_parquet(stored).height == trials
    stored = {artifact.path for artifact in client.list_artifacts(parent.info.run_id, "report")}
    written = {"report/tear_sheet.html", "report/report.md", "report/daily_record.csv"}
    assert stored == written | {"report/quality"}


def test_more_trials_deflate_the_same_returns_further():
    daily = np.random.default_rng(3).normal(0.004, 0.02, 200)
    trials = np.random.default_rng(4).normal(0.1, 0.05, 40)
    few, many = selection_figures(daily, trials, 40), selection_figures(daily, trials, 4_000)
    assert few["selection.deflated_sharpe"] > many["selection.deflated_sharpe"]
    assert few["selection.sharpe"] == many["selection.sharpe"]


def test_a_search_that_never_traded_has_no_deflated_sharpe():
    figures = selection_figures(np.zeros(50), np.array([np.nan, np.nan]), 2)
    assert np.isnan(figures["selection.deflated_sharpe"])
