"""Champion and challenger: both on the same days at the same costs, and a better champion stays."""

import json
import shutil

import numpy as np
import pytest

from pipelines import backtest, challenge, publish, tracking
from pipelines import promote as promotion
from pipelines.workspace import Workspace
from research.errors import GateRefused
from research.market.bars import NS_PER_DAY, epoch_ns
from research.metrics.returns import daily_returns


@pytest.fixture
def contest(small_build, tmp_path, request):
    """Return parameters, under a model of its own, and a copy of the small build whose policy can be changed."""
    params, built = small_build
    shutil.copytree(built.root, tmp_path, dirs_exist_ok=True)
    shutil.rmtree(tmp_path / "models/promoted", ignore_errors=True)
    named = params.model_copy(update={"publish": params.publish.model_copy(update={"model": request.node.name[:60]})})
    return named, Workspace(tmp_path)


def change_sizer(params, workspace, **changed):
    """Give the candidate another sizer, and make backtest and receipt follow; the gate's files stay as they are."""
    candidate = workspace.read_json("models/candidate/candidate.json")
    candidate["policy"]["sizer_params"] |= changed
    workspace.write_json("models/candidate/candidate.json", candidate)
    backtest.run(params, workspace)
    judged = workspace.read_json("data/reports/gate.json")
    judged["judged"] = {}
    judged["passed"] = True
    workspace.write_json("data/reports/gate.json", judged)
    workspace.write_json("data/reports/publish.json", publish.receipt(params, workspace))


def own_returns(params, workspace):
    equity = workspace.read_frame("data/backtest/equity.parquet")
    return daily_returns(epoch_ns(equity), equity["equity"].to_numpy(), params.costs.initial_cash_quote)


def test_the_first_champion_has_nobody_to_beat(contest):
    params, workspace = contest
    promotion.promote(params, workspace, "champion", override="drill")
    found = workspace.read_json("data/reports/challenge.json")
    assert found == {"compared": False, "reason": "there is no champion yet"}


def test_a_champion_is_not_its_own_challenger(contest):
    params, workspace = contest
    version = promotion.promote(params, workspace, "champion", override="drill")
    assert promotion.promote(params, workspace, "champion", override="drill") == version
    assert "has the candidate's policy" in workspace.read_json("data/reports/challenge.json")["reason"]


def test_the_champion_is_traded_as_it_was_backtested(contest):
    params, workspace = contest
    promotion.promote(params, workspace, "champion", override="drill")
    theirs = own_returns(params, workspace)
    change_sizer(params, workspace, target_volatility=0.0004)
    found = challenge.compare_with_champion(params, workspace)
    ours = own_returns(params, workspace)
    assert found["compared"]
    assert found["days"] == theirs.size == 20
    assert found["sharpe_champion"] == pytest.approx(theirs.mean() / theirs.std(ddof=1) * np.sqrt(365.0), rel=1e-12)
    assert found["sharpe_challenger"] == pytest.approx(ours.mean() / ours.std(ddof=1) * np.sqrt(365.0), rel=1e-12)
    assert found["total_return_champion"] == pytest.approx(np.prod(1.0 + theirs) - 1.0, rel=1e-12)
    assert found["correlation"] > 0.9


def test_a_better_champion_stays_unless_overridden(contest, monkeypatch):
    params, workspace = contest
    version = promotion.promote(params, workspace, "champion", override="drill")
    change_sizer(params, workspace, target_volatility=0.0004)
    worse = {
        "compared": True, "champion": version, "days": 20, "sharpe_champion": 2.0, "sharpe_challenger": 1.0,
        "difference": -1.0, "low": -2.0, "high": -0.1, "probability": 0.02, "correlation": 0.5,
    }  # fmt: skip
    monkeypatch.setattr(promotion, "compare_with_champion", lambda *unused: worse)
    monkeypatch.setattr(promotion, "_require_all_trials", lambda *unused: {})
    before = tracking.aliases(params.publish.model)
    with pytest.raises(GateRefused, match=r"the champion did better: Sharpe ratio 1\.00 against 2\.00 of version 1"):
        promotion.promote(params, workspace, "champion")
    assert tracking.aliases(params.publish.model) == before
    assert workspace.read_json("data/reports/challenge.json")["probability"] == 0.02
    beside = promotion.promote(params, workspace, "challenger")
    assert tracking.aliases(params.publish.model) == {"champion": version, "challenger": beside}
    client, _ = tracking.connect("Default")
    assert "2% likely the higher one" in client.get_model_version(params.publish.model, beside).tags["challenge"]
    promoted = promotion.promote(params, workspace, "champion", override="the old one is retired")
    assert tracking.aliases(params.publish.model)["champion"] == promoted != version


def test_days_that_the_champion_was_chosen_on_do_not_count(contest):
    params, workspace = contest
    promotion.promote(params, workspace, "champion", override="drill")
    change_sizer(params, workspace, target_volatility=0.0004)
    folder = workspace.root / "models/promoted" / params.publish.model
    window = workspace.read_json("data/backtest/window.json")
    move_window(folder, window["start_ns"] + NS_PER_DAY, window["end_ns"] + NS_PER_DAY)
    found = challenge.compare_with_champion(params, workspace)
    assert found == {"compared": False, "reason": "19 days are common to both hold-outs, 20 are needed"}
    move_window(folder, window["start_ns"] - NS_PER_DAY, window["end_ns"] - NS_PER_DAY)
    assert challenge.compare_with_champion(params, workspace)["days"] == 20


def test_a_champion_of_another_market_is_not_compared(contest):
    params, workspace = contest
    promotion.promote(params, workspace, "champion", override="drill")
    change_sizer(params, workspace, target_volatility=0.0004)
    other = params.model_copy(update={"market": params.market.model_copy(update={"symbol": "ETHUSDT"})})
    reason = challenge.compare_with_champion(other, workspace)["reason"]
    assert reason == "version 1, the champion, trades another symbol: SOLUSDT, not ETHUSDT"


@pytest.mark.parametrize(
    ("found", "least", "refused"),
    [
        ({"compared": False}, 0.5, False),
        ({"compared": True, "probability": 0.49}, 0.5, True),
        ({"compared": True, "probability": 0.5}, 0.5, False),
        ({"compared": True, "probability": float("nan")}, 0.5, True),
        ({"compared": True, "probability": 0.0}, None, False),
    ],
)
def test_the_rule(found, least, refused):
    assert challenge.is_refused(found, least) is refused


def move_window(folder, start_ns, end_ns):
    """Rewrite the window of version 1 as a bundle made on other days would have it."""
    from research.bundle import Bundle, manifest_sha256

    place = folder / "1"
    files = {p.relative_to(place).as_posix(): p.read_bytes() for p in place.rglob("*") if p.is_file()}
    manifest = json.loads(files["manifest.json"])
    manifest["window"] = {"start_ns": start_ns, "end_ns": end_ns}
    files["manifest.json"] = json.dumps(manifest).encode()
    Bundle.from_files(files)
    (place / "manifest.json").write_bytes(files["manifest.json"])
    index = json.loads((folder / "index.json").read_bytes())
    index["manifest_sha256"]["1"] = manifest_sha256(files)
    (folder / "index.json").write_text(json.dumps(index))
