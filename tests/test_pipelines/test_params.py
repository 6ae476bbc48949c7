"""Parameters: what is wrong is named, and a profile changes only what it says."""

from pathlib import Path

import pytest
import yaml

from pipelines.params import load_params, parse_params
from research.errors import InvalidInput

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize(
    ("override", "named"),
    [
        ("seed=many", "seed"),
        ("seed=-1", "seed"),
        ("seed=1.5", "seed"),
        ("market.symbol=sol", "market.symbol"),
        ("market.base_interval=7m", "market.base_interval"),
        ("market.decision_interval=1m", "decision_interval"),
        ("market.venues=bybit", "market.venues"),
        ("costs.slippage_bps=-1", "costs.slippage_bps"),
        ("monte_carlo.block=0", "monte_carlo.block"),
        ("monte_carlo.execution.delay_probabilities=[0.5, 0.4]", "delay_probabilities must add up to 1; received 0.9"),
        ("monte_carlo.execution.partial_low=0.9", "partial_low must not exceed partial_high 0.75"),
        ("monte_carlo.execution.miss_probability=1.5", "monte_carlo.execution.miss_probability"),
        ("costs.slippage_bps=two", "costs.slippage_bps"),
        ("costs.max_leverage=.nan", "costs.max_leverage"),
        ("ingest.source=ftp", "ingest.source"),
        ("ingest.simulated.days=0", "ingest.simulated.days"),
        ("ingest.simulated.start=01/02/2024", "start"),
        ("ingest.simulated.symbols=[BTCUSDT]", "SOLUSDT"),
        ("validate.policies={gap: fill}", "validate.policies.gap"),
        ("validate.policies={gaps: keep}", "validate.policies.gaps is not a rule"),
        ("validate.policies={gap: nan}", "validate.policies.gap must be one of error, keep"),
        ("validate.funding_policies={holes: keep}", "validate.funding_policies.holes is not a rule"),
        ("validate.funding_policies={hole: snap}", "validate.funding_policies.hole must be one of error, keep"),
        ("ingest.simulated.symbols=[SOLUSDT, DOGEUSDT]", "ingest.simulated.symbols must be among"),
        ("ingest.simulated.symbols=[SOLUSDT, SOLUSDT]", "ingest.simulated.symbols must each be named once"),
        ("ingest.simulated.start='2024-02-30'", "ingest.simulated.start must be a day"),
        ("ingest.simulated.start='20240101'", "ingest.simulated.start must be a day"),
        ("ingest.files.start=last week", "ingest.files.start must be a day"),
        ("ingest.files.end='2024-01-01T12:00'", "ingest.files.end must be a day"),
        ("ingest.files={folder: f, start: '2024-02-01', end: '2024-02-01'}", "ingest.files.start must be before end"),
        ("ingest.files.mark_interval=7m", "ingest.files.mark_interval"),
        ("ingest.lake.start=x", "ingest.lake.start must be a day"),
        ("ingest.lake.end=x", "ingest.lake.end must be a day"),
        ("ingest.lake={folder: f, start: '2024-02-02', end: '2024-02-01'}", "ingest.lake.start must be before end"),
        ("costs.taker_fee_bps=-1", "costs.taker_fee_bps"),
        ("costs.max_leverage=0.5", "search.sizer_params.max_exposure must not exceed costs.max_leverage 0.5"),
        ("market.market=spot", "costs.max_leverage must be at most 1 on a spot market"),
        ("backtest.holdout_days=181", "backtest.holdout_days must leave at least half of the 360 days"),
        ("walk_forward.train_days=211", "walk_forward.train_days and test_days must fit into the 240 days"),
        ("gate.checks.drawdown.figure=max_drawdown", "gate.checks.drawdown.figure must begin with"),
        ("gate.checks.drawdown.figure=backtests.max_drawdown", "gate.checks.drawdown.figure must begin with"),
        ("gate.checks.drawdown.figure=backtest.", "gate.checks.drawdown.figure must begin with"),
        ("validate.policies={spike: drop}", "spike"),
        ("validate.policies={volume_spike: nan}", "look ahead"),
        ("search.volatility=nothing", "search.volatility"),
        ("walk_forward.step_days=60", "walk_forward.step_days"),
        ("gate.checks={}", "gate.checks"),
        ("gate.checks.drawdown.op='=='", "gate.checks.drawdown.op"),
        ("publish.model=a b", "publish.model"),
    ],
)
def test_a_wrong_value_is_refused_and_named(override, named):
    if override.startswith("market.decision_interval"):
        with pytest.raises(InvalidInput, match=named):
            load_params(ROOT / "params.yaml", ["market.base_interval=5m", override, "ingest.source=files"])
        return
    with pytest.raises(InvalidInput) as caught:
        load_params(ROOT / "params.yaml", [override])
    assert named in str(caught.value)


FROM_FILES = ["ingest.source=files", "market.base_interval=5m"]


@pytest.mark.parametrize(("mark", "market"), [("1m", "linear"), ("15m", "linear"), ("5m", "spot")])
def test_a_mark_on_another_clock_than_the_bars_is_refused_and_not_left_unused(mark, market):
    given = [*FROM_FILES, f"ingest.files.mark_interval={mark}", f"market.market={market}", "costs.max_leverage=1.0"]
    with pytest.raises(InvalidInput, match=r"ingest\.files\.mark_interval must be null"):
        load_params(ROOT / "params.yaml", given)


def test_a_mark_on_the_bars_clock_is_taken():
    loaded = load_params(ROOT / "params.yaml", [*FROM_FILES, "ingest.files.mark_interval=5m"])
    assert loaded.ingest.files.mark_interval == "5m"


def test_days_are_compared_where_they_are_known():
    stated = ["ingest.files.start='2024-01-01'", "ingest.files.end='2024-07-01'"]
    with pytest.raises(InvalidInput, match=r"backtest\.holdout_days must leave at least half of the 182 days"):
        load_params(ROOT / "params.yaml", [*FROM_FILES, *stated])
    assert load_params(ROOT / "params.yaml", [*FROM_FILES, stated[0]]).ingest.days is None
    # The limits themselves are allowed: half of the days, and windows that fill what is left.
    exact = ["backtest.holdout_days=91", "walk_forward.train_days=61", "walk_forward.test_days=30"]
    assert load_params(ROOT / "params.yaml", [*FROM_FILES, *stated, *exact]).ingest.days == 182


def test_known_rules_and_outputs_are_taken():
    given = ["validate.policies={jump: error}", "validate.funding_policies={jitter: snap, hole: error}"]
    assert load_params(ROOT / "params.yaml", given).validate_.funding_policies == {"jitter": "snap", "hole": "error"}
    assert load_params(ROOT / "params.yaml", ["search.volatility=hour.sin"]).search.volatility == "hour.sin"


def test_a_missing_section_is_named():
    values = yaml.safe_load((ROOT / "params.yaml").read_text())
    del values["gate"]
    with pytest.raises(InvalidInput, match="gate is required"):
        parse_params(values)


def test_an_override_of_an_unknown_section_is_refused():
    with pytest.raises(InvalidInput, match="must name an existing section"):
        load_params(ROOT / "params.yaml", ["searching.trials=3"])
    with pytest.raises(InvalidInput, match=r"section\.key=value"):
        load_params(ROOT / "params.yaml", ["trials"])


@pytest.mark.parametrize("profile", sorted((ROOT / "profiles").glob("*.yaml")), ids=lambda p: p.name)
def test_a_profile_is_valid_and_keeps_what_it_does_not_name(profile):
    default, loaded = load_params(ROOT / "params.yaml"), load_params(profile)
    named = yaml.safe_load(profile.read_text())
    assert loaded.market.symbol == named["market"]["symbol"]
    assert "features" not in named
    assert loaded.features == default.features
    assert loaded.gate == default.gate


def test_text_that_is_not_yaml_or_not_a_mapping_is_refused(tmp_path):
    (tmp_path / "broken.yaml").write_text("seed: [1")
    (tmp_path / "list.yaml").write_text("- 1\n")
    (tmp_path / "bytes.yaml").write_bytes(b"\xff\xfe\x00")
    (tmp_path / "a.yaml").write_text("extends: b.yaml\n")
    (tmp_path / "b.yaml").write_text("extends: a.yaml\n")
    with pytest.raises(InvalidInput, match="must be YAML"):
        load_params(tmp_path / "bytes.yaml")
    with pytest.raises(InvalidInput, match="must not lead back"):
        load_params(tmp_path / "a.yaml")
    with pytest.raises(InvalidInput, match="override seed must be YAML"):
        load_params(ROOT / "params.yaml", ["seed=[1"])
    with pytest.raises(InvalidInput, match="must be YAML"):
        load_params(tmp_path / "broken.yaml")
    with pytest.raises(InvalidInput, match="mapping of sections"):
        load_params(tmp_path / "list.yaml")
