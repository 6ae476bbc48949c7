"""A promotion meets the champion of before on the same days: what is compared, what is refused, what is recorded."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
from rich.console import Console

from live.bundle_files import load_bundle
from pipelines import challenge, tracking
from pipelines import promote as promotion
from pipelines.challenge import ALONE, COMPARED, NOT_COMPARABLE, NOT_POSSIBLE, SAME
from pipelines.workspace import Workspace
from research.bundle import fingerprint, manifest_sha256
from research.errors import GateRefused
from research.market.bars import NS_PER_DAY
from research.policy import Policy

BETTER = {"inputs": "trend_fast", "enter": 2.0, "exit": 0.3, "min_quality": 0.1}
WORSE = {"inputs": "trend_slow", "enter": 1.0, "exit": 0.2, "min_quality": 0.1}
NEVER = {"inputs": "trend_slow", "enter": 1e6, "exit": 0.2, "min_quality": 0.1}


@pytest.fixture
def copied(small_build, tmp_path, request):
    """Return a copy of the small build with a model name of the test's own; its gate is taken as passed."""
    params, workspace = small_build
    other = Workspace(tmp_path / "copy")
    shutil.copytree(workspace.root, other.root, ignore=shutil.ignore_patterns("lake", "promoted"))
    name = "".join(c if c.isalnum() else "-" for c in request.node.name)
    return params.model_copy(update={"publish": params.publish.model_copy(update={"model": name})}), other


@pytest.fixture
def passing(monkeypatch):
    """Let the small build through the gate, so that the champion alone can refuse it."""
    read = Workspace.read_json

    def passed(self, name):
        found = read(self, name)
        return found | {"passed": True} if name.endswith("gate.json") else found

    monkeypatch.setattr(Workspace, "read_json", passed)
    monkeypatch.setattr(promotion, "_require_all_trials", lambda *unused: None)


def variant(bundle, chosen, **changes):
    """Return a bundle with the trend rule's parameters changed, as its own promotion would have made it."""
    given = dict(chosen)
    inputs, spec = {**bundle.spec.strategy_inputs, "trend": given.pop("inputs")}, changes.pop("spec", bundle.spec)
    made = replace(bundle, spec=replace(spec, strategy_inputs=inputs, strategy_params=given), **changes)
    terms = (made.instrument, made.costs, made.account)
    return replace(made, fingerprint=fingerprint(Policy(made.spec, made.predictor), *terms))


def crown(params, workspace, bundle, version="7"):
    """Export a bundle as champion, by hand."""
    folder = workspace.root / "models/promoted" / params.publish.model
    files = bundle.to_files()
    for name, content in files.items():
        path = folder / version / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    index = {"aliases": {"champion": version}, "manifest_sha256": {version: manifest_sha256(files)}}
    (folder / "index.json").write_text(json.dumps(index))


def everything(folder):
    return {p: p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file() and p.name != ".lock"}


def ruled(params, **rule):
    changed = params.gate.challenge.model_copy(update=rule)
    return params.model_copy(update={"gate": params.gate.model_copy(update={"challenge": changed})})


def compared(params, workspace, chosen, **changes):
    candidate = promotion.make_bundle(params, workspace)
    crown(params, workspace, variant(candidate, chosen, **changes))
    return challenge.compare(params, workspace, candidate)


def test_a_candidate_behind_the_champion_is_refused_and_nothing_moves(copied, passing, monkeypatch, capsys):
    params, workspace = copied
    candidate = promotion.make_bundle(params, workspace)
    crown(params, workspace, variant(candidate, BETTER))
    promoted = workspace.root / "models/promoted"
    before = everything(promoted)
    monkeypatch.setattr(promotion, "load_params", lambda *unused: params)
    assert promotion.main(["--root", str(workspace.root)]) == promotion.REFUSED
    shown = capsys.readouterr().out
    assert "Challenge of version 7" in shown
    assert "REFUSED" in shown
    assert "95 % interval" in shown
    assert everything(promoted) == before
    assert tracking.aliases(params.publish.model) == {}
    record = workspace.read_json("data/reports/challenge.json")
    assert record["status"] == COMPARED
    assert record["sharpe_champion"] > record["sharpe_challenger"]
    assert record["probability"] < 0.5
    assert f"{record['probability']:.4g}" in shown


def test_an_override_is_recorded_with_the_comparison_and_needed_again(copied, passing):
    params, workspace = copied
    crown(params, workspace, variant(promotion.make_bundle(params, workspace), BETTER))
    version = promotion.promote(params, workspace, "champion", override="the old one trades too much")
    bundle, at = load_bundle(f"{params.publish.model}@champion", workspace.root / "models/promoted")
    assert at == version
    assert bundle.papers["override"] == "the old one trades too much"
    assert bundle.papers["challenge"] == workspace.read_json("data/reports/challenge.json")
    client, _ = tracking.connect("Default")
    tags = client.get_model_version(params.publish.model, version).tags
    assert (tags["challenge"], tags["challenge.champion"], tags["gate"]) == (COMPARED, "7", "overridden")
    assert float(tags["challenge.probability"]) == bundle.papers["challenge"]["probability"]
    # Now it is the champion itself: that neither makes a version nor washes the override off.
    assert promotion.promote(params, workspace, "champion", override="the old one trades too much") == version
    with pytest.raises(GateRefused, match="champion version 7"):
        promotion.promote(params, workspace, "champion")


def test_a_challenger_is_never_refused_and_a_candidate_ahead_becomes_champion(copied, passing):
    params, workspace = copied
    crown(params, workspace, variant(promotion.make_bundle(params, workspace), BETTER))
    promotion.promote(params, workspace, "challenger")
    assert workspace.read_json("data/reports/challenge.json")["probability"] < 0.5
    assert set(tracking.aliases(params.publish.model)) == {"challenger"}
    crown(params, workspace, variant(promotion.make_bundle(params, workspace), WORSE))
    version = promotion.promote(params, workspace, "champion")
    bundle, _ = load_bundle(f"{params.publish.model}@champion", workspace.root / "models/promoted")
    assert bundle.papers["challenge"]["probability"] > 0.5
    assert promotion.promote(params, workspace, "champion") == version


def test_the_first_champion_has_nobody_to_meet(copied, passing):
    params, workspace = copied
    version = promotion.promote(params, workspace, "champion")
    bundle, _ = load_bundle(f"{params.publish.model}@champion", workspace.root / "models/promoted")
    assert bundle.papers["challenge"]["status"] == ALONE
    assert promotion.promote(params, workspace, "champion") == version
    record = workspace.read_json("data/reports/challenge.json")
    assert (record["status"], record["champion"], record["kept"]["status"]) == (SAME, version, ALONE)


def test_both_trade_at_the_candidates_terms_and_from_cold(copied):
    params, workspace = copied
    candidate = promotion.make_bundle(params, workspace)
    record = compared(params, workspace, BETTER)
    # On equal windows the challenger's run is the hold-out's backtest.
    figures = workspace.read_json("data/reports/backtest.json")
    assert record["days"] == figures["days"] == 20
    for name in ("total_return", "max_drawdown", "trades"):
        assert record[f"{name}_challenger"] == figures[name]
    assert record["sharpe_challenger"] == pytest.approx(figures["sharpe"], rel=1e-12)
    assert record["difference"] == record["sharpe_challenger"] - record["sharpe_champion"]
    # What the champion assumed, and the state it was left in, change nothing.
    files = {**candidate.files, "warm_start.bin": b"none", "warm_end.bin": b"none"}
    cheap = {"costs": replace(candidate.costs, taker_fee_bps=0.0, slippage_bps=0.0), "files": files}
    rich = {"account": {**candidate.account, "initial_cash_quote": 5e6}, **cheap}
    assert compared(params, workspace, BETTER, **rich) == record


@pytest.mark.parametrize(("shift", "status"), [(5, COMPARED), (-30, COMPARED), (11, NOT_POSSIBLE), (400, NOT_POSSIBLE)])
def test_only_days_that_neither_was_fitted_on_count(copied, shift, status):
    params, workspace = copied
    params = ruled(params, min_days=10)
    window = workspace.read_json("data/backtest/window.json")
    moved = {"start_ns": window["start_ns"] + shift * NS_PER_DAY + (1 if shift == 5 else 0), "end_ns": window["end_ns"]}
    record = compared(params, workspace, BETTER, window=moved)
    assert record["status"] == status
    if status == COMPARED:
        # A champion whose hold-out begins within a day leaves that day out.
        assert record["days"] == (14 if shift == 5 else 20)
        first = window["start_ns"] // NS_PER_DAY + (6 if shift == 5 else 0)
        assert record["first_day"] == str(np.datetime64(first, "D"))
    else:
        assert record["reason"].startswith(f"{max(20 - shift, 0)} days")
        challenge.require_ahead(params, record, "champion", None)


def test_another_market_and_a_champion_that_does_not_run_are_not_comparable(copied):
    params, workspace = copied
    candidate = promotion.make_bundle(params, workspace)
    other = replace(candidate.instrument, symbol="ETHUSDT")
    record = compared(params, workspace, BETTER, instrument=other)
    assert (record["status"], record["champion"]) == (NOT_COMPARABLE, "7")
    assert "symbol ETHUSDT and not SOLUSDT" in record["reason"]
    challenge.require_ahead(params, record, "champion", None)
    crown(params, workspace, replace(variant(candidate, BETTER), fingerprint="of other kernels"))
    record = challenge.compare(params, workspace, candidate)
    assert (record["status"], record["champion"]) == (NOT_COMPARABLE, "7")
    assert "was made by kernels" in record["reason"]
    # A feature that looks back further than there are bars before the hold-out.
    features = {**candidate.spec.features, "trend_fast": {"feature": "sma", "length": 20_000}}
    spec = replace(candidate.spec, features=features)
    record = compared(params, workspace, BETTER, spec=spec)
    assert record["status"] == NOT_COMPARABLE
    assert "features trend_fast must be known" in record["reason"]
    altered = workspace.root / "models/promoted" / params.publish.model / "7/warm_end.bin"
    altered.write_bytes(altered.read_bytes() + b" ")
    record = challenge.compare(params, workspace, candidate)
    assert record["status"] == NOT_COMPARABLE
    assert "was altered" in record["reason"]


def test_a_champion_of_the_registry_that_is_not_here_is_named(copied):
    params, workspace = copied
    record = challenge.compare(params, workspace, promotion.make_bundle(params, workspace), "3")
    assert (record["status"], record["champion"]) == (NOT_COMPARABLE, "3")


def test_a_champion_that_never_trades_has_no_ratio(copied):
    params, workspace = copied
    record = compared(params, workspace, NEVER)
    assert record["status"] == NOT_POSSIBLE
    assert "of champion do not vary" in record["reason"]


def test_the_rule_asks_for_a_probability_or_for_nothing(copied):
    params, _ = copied
    record = {"status": COMPARED, "champion": "7", "probability": 0.6, "days": 20, "first_day": "2024-02-10"}
    for least in (None, 0.0, 0.5, 0.6):
        challenge.require_ahead(ruled(params, min_probability=least), record, "champion", None)
    strict = ruled(params, min_probability=0.61)
    with pytest.raises(GateRefused, match=r"probability 0\.6, gate\.challenge\.min_probability is 0\.61"):
        challenge.require_ahead(strict, record, "champion", None)
    with pytest.raises(GateRefused):
        challenge.require_ahead(strict, {"status": SAME, "reason": "", "kept": record}, "champion", None)
    challenge.require_ahead(strict, record, "challenger", None)
    challenge.require_ahead(strict, record, "champion", "reason")


def test_the_same_policy_in_other_papers_is_told_to_be_the_same(copied, capsys):
    params, workspace = copied
    candidate = promotion.make_bundle(params, workspace)
    crown(params, workspace, replace(candidate, papers={}))
    record = challenge.compare(params, workspace, candidate)
    assert (record["status"], record["kept"]["status"]) == (SAME, ALONE)
    challenge.print_challenge(Console(width=140), record)
    assert "version 7 is this candidate already" in capsys.readouterr().out
