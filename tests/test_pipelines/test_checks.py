"""Parameters against the registries: every wrong name is refused with its key, before a stage has done any work."""

from pathlib import Path

import pytest

from pipelines import features, run, search
from pipelines.checks import check_params
from pipelines.params import load_params
from pipelines.workspace import Workspace
from research.errors import InvalidInput

ROOT = Path(__file__).resolve().parents[2]
TREND, LEARNED = "search.candidates.trend", "search.candidates.learned"
WRONG = [
    ("features.columns.rsi={length: 0}", "features.columns.rsi: rsi.length must lie in"),
    ("features.columns.rsi={length: 14.5}", "features.columns.rsi: rsi.length must be a whole number"),
    ("features.columns.rsi={lenght: 14}", "features.columns.rsi: rsi.lenght is not a parameter"),
    ("features.columns.momentum={length: 14}", "features.columns.momentum: "),
    ("features.columns.close={feature: ema}", "features.columns.close must not be called"),
    ("features.columns.score={feature: ema}", "features.columns.score must not be called"),
    ("search.sizer=kelly", "search.sizer must be one of fixed, volatility_target"),
    ("search.sizer_params={max_exposre: 1.0}", "search.sizer_params: volatility_target.max_exposre is not a parameter"),
    ("search.sizer_params={band: -1.0}", "search.sizer_params: volatility_target.band must lie in"),
    ("search.volatility=volatility.x", "search.volatility must be a feature column"),
    (f"{TREND}.strategy=trendy", f"{TREND}.strategy must be one of crossover, threshold, trend"),
    (f"{TREND}.inputs.tend=rsi", f"{TREND}.inputs.tend is not an input of trend"),
    (f"{TREND}.inputs.trend=nothing", f"{TREND}.inputs.trend must be score or a feature column"),
    (f"{TREND}.inputs={{trend: rsi}}", f"{TREND}.inputs.quality is required by trend"),
    (f"{LEARNED}.inputs={{}}", f"{LEARNED}.inputs.score is required by threshold"),
    (f"{TREND}.params={{alow_short: 1}}", f"{TREND}.params: trend.alow_short is not a parameter"),
    (f"{TREND}.params={{allow_short: 2}}", f"{TREND}.params: trend.allow_short must lie in [0, 1]"),
    (f"{TREND}.params={{enter: 1.0}}", f"{TREND}.space.enter must not be fixed in params as well"),
    (f"{TREND}.space.entr={{low: 0.5, high: 4.0}}", f"{TREND}.space.entr: trend.entr is not a parameter"),
    (f"{TREND}.space.enter={{low: 4.0, high: 0.5}}", f"{TREND}: space.enter.low must not exceed high"),
    (f"{TREND}.space.enter={{low: -1.0, high: 4.0}}", f"{TREND}.space.enter: trend.enter must lie in"),
    (f"{TREND}.space.enter={{low: 1.0, high: 2.0e+6}}", f"{TREND}.space.enter: trend.enter must lie in"),
    (f"{TREND}.space.enter={{lo: 1.0}}", f"{TREND}: space.enter"),
    (f"{TREND}.space.allow_short={{choices: [0, 2]}}", f"{TREND}.space.allow_short: trend.allow_short must lie in"),
    (f"{LEARNED}.space.min_hold_bars={{low: 1.0, high: 5.0}}", f"{LEARNED}.space.min_hold_bars must be of whole"),
]


def loaded(*overrides):
    return load_params(ROOT / "params.yaml", overrides)


@pytest.mark.parametrize(
    "path", [ROOT / "params.yaml", *sorted((ROOT / "profiles").glob("*.yaml"))], ids=lambda p: p.name
)
def test_what_is_shipped_passes(path):
    check_params(load_params(path))


@pytest.mark.parametrize(("override", "named"), WRONG)
def test_a_wrong_name_or_value_is_refused_with_its_key(override, named):
    params = loaded(override)
    with pytest.raises(InvalidInput) as caught:
        check_params(params)
    assert str(caught.value).startswith(named)


def test_the_sizers_own_default_is_held_against_the_leverage():
    params = loaded("costs.max_leverage=0.5", "search.sizer_params={band: 0.5}")
    with pytest.raises(
        InvalidInput, match=r"search\.sizer_params\.max_exposure must not exceed costs\.max_leverage 0\.5"
    ):
        check_params(params)


def test_windows_must_fit_beside_the_lookback():
    exact = ("walk_forward.train_days=210", "walk_forward.test_days=30")  # 240 days, and a lookback of some hours
    with pytest.raises(InvalidInput, match=r"walk_forward\.train_days and test_days must fit into the 239\.\d+ days"):
        check_params(loaded(*exact))
    check_params(loaded("walk_forward.train_days=209", exact[1]))


def test_no_stage_works_on_parameters_that_a_later_one_would_refuse(tmp_path):
    with pytest.raises(InvalidInput, match=r"search\.sizer must be one of"):
        run.run(loaded("search.sizer=kelly"), Workspace(tmp_path))
    with pytest.raises(InvalidInput, match=r"search\.sizer must be one of"):
        search.run(loaded("search.sizer=kelly"), Workspace(tmp_path))
    with pytest.raises(InvalidInput, match=r"features\.columns\.rsi: rsi\.length"):
        features.run(loaded("features.columns.rsi={length: 0}"), Workspace(tmp_path))
    assert list(tmp_path.iterdir()) == []


def test_the_command_says_what_is_wrong(tmp_path):
    with pytest.raises(
        SystemExit, match=r"InvalidInput: search\.sizer must be one of fixed, volatility_target; received 'kelly'$"
    ):
        run.main(["--params", str(ROOT / "params.yaml"), "--root", str(tmp_path), "--set", "search.sizer=kelly"])
