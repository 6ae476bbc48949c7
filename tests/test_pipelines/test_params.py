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
        ("costs.slippage_bps=two", "costs.slippage_bps"),
        ("costs.max_leverage=.nan", "costs.max_leverage"),
        ("ingest.source=ftp", "ingest.source"),
        ("ingest.simulated.days=0", "ingest.simulated.days"),
        ("ingest.simulated.start=01/02/2024", "start"),
        ("ingest.simulated.symbols=[BTCUSDT]", "SOLUSDT"),
        ("validate.policies={gap: fill}", "validate.policies.gap"),
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
    with pytest.raises(InvalidInput, match="must be YAML"):
        load_params(tmp_path / "broken.yaml")
    with pytest.raises(InvalidInput, match="mapping of sections"):
        load_params(tmp_path / "list.yaml")
