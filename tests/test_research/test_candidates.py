"""The desk and the search of candidates: kept fits, scores and segments change no figure, and clocks are held."""

from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from research.backtest import simulate
from research.errors import FundingHole, InvalidInput, MisalignedBars
from research.execution.costs import Costs
from research.features import FeatureSet
from research.market.bars import epoch_ns
from research.market.resample import resample
from research.market.simulated import simulate_market
from research.market.simulated_spec import DEFAULT_SYMBOLS, MarketSpec
from research.metrics.returns import daily_returns, sharpe
from research.policy import DecisionRule, PolicySpec
from research.predictor import Predictor
from research.search.candidates import choose, middle, segments
from research.search.desk import Candidate, Desk

FEATURES = {"trend": {"feature": "ema_spread", "fast": 12, "slow": 48}, "rsi": {}, "volatility": {"length": 48}}
TREND = Candidate("trend", "trend", {"trend": "trend", "quality": "rsi"}, {"min_quality": 0.0, "exit": 0.1},
                  {"enter": {"low": 0.2, "high": 3.0}})  # fmt: skip
LEARNED = Candidate("learned", "threshold", {"score": "score"}, {"exit": 0.0}, {"enter": {"low": 0.01, "high": 0.3}})
CASH = 10_000.0


@pytest.fixture(scope="module")
def market():
    return simulate_market(MarketSpec(symbols=DEFAULT_SYMBOLS[2:], days=12, seed=3))


@pytest.fixture
def given(market):
    bars = market.bars["linear", "SOLUSDT"]
    decision = resample(bars, "1m", "5m")
    table = FeatureSet(FEATURES).batch(decision)
    table.insert_column(1, decision["close"])
    spec = PolicySpec("1m", "5m", FEATURES, "trend", {}, "volatility_target", "volatility",
                      sizer_params={"target_volatility": 0.001, "max_exposure": 1.0, "band": 0.5})  # fmt: skip
    learning = {"horizon_bars": 12, "rounds": 15, "learning_rate": 0.1, "num_leaves": 7, "min_data_in_leaf": 50,
                "feature_fraction": 1.0, "lambda_l2": 1.0}  # fmt: skip
    return {
        "bars": bars, "mark": market.mark["SOLUSDT"], "funding": market.funding["SOLUSDT"], "table": table,
        "spec": spec, "instrument": market.instruments["linear", "SOLUSDT"], "costs": Costs(half_spread_bps=0.5),
        "seed": 7, "learning": learning, "account": {"initial_cash_quote": CASH, "max_leverage": 2.0},
    }  # fmt: skip


@pytest.fixture
def desk(given):
    return Desk(**given)


def searched(desk, stop=2_000, **more):
    settings = {"trials": 4, "folds": 2, "sampler": "tpe", "seed": 5} | more
    return choose(desk, [TREND, LEARNED], desk.first_row, stop, **settings)


def test_a_kept_segment_trades_as_a_fresh_backtest_of_all_the_rows_does(desk, given):
    start, stop, params = 600, 1_500, {"enter": 0.4}
    desk.trade(TREND, {"enter": 2.0}, Predictor.none(), start, stop)  # the segment is now a kept one
    traded = desk.trade(TREND, params, Predictor.none(), start, stop)
    rule = DecisionRule(TREND.policy_spec(given["spec"], params), desk.columns)
    _, exposure = rule.decide(desk.features[start:stop], np.full(stop - start, np.nan))
    window = given["bars"].slice(5 * start, 5 * (stop - start))
    targets = np.full(window.height, np.nan)
    targets[4::5] = exposure
    whole = simulate(
        window, targets, instrument=given["instrument"], costs=given["costs"], mark=given["mark"],
        funding=given["funding"], initial_cash_quote=CASH, max_leverage=2.0,
    )  # fmt: skip
    assert whole.trades.height > 3
    assert whole.funding_settlements == traded.funding_settlements > 0
    assert traded.equity.equals(whole.equity)
    assert traded.fills.equals(whole.fills)


def test_scores_are_asked_once_per_fit_and_segment(desk, monkeypatch):
    calls, predict = [], Predictor.predict
    monkeypatch.setattr(Predictor, "predict", lambda self, x: calls.append(self.sha256) or predict(self, x))
    found = searched(desk, trials=6)
    assert found.trials.height == 12
    assert len(calls) == len(set(calls)) == 2  # two segments, each with its own fit


def test_kept_scores_change_nothing(desk, given, monkeypatch):
    kept = searched(desk)
    with monkeypatch.context() as patched:
        patched.setattr(Desk, "score", lambda self, predictor, a, b: predictor.predict(self.features[a:b]))
        fresh = searched(Desk(**given))
    assert kept.trials.equals(fresh.trials)
    assert kept.daily.tobytes() == fresh.daily.tobytes()
    assert (kept.candidate.name, kept.params, kept.value) == (fresh.candidate.name, fresh.params, fresh.value)


def test_scores_of_two_fits_on_one_segment_are_kept_apart(desk):
    one, two = desk.fit(desk.first_row, 800), desk.fit(desk.first_row, 1_200)
    assert not np.array_equal(desk.score(one, 1_300, 1_500), desk.score(two, 1_300, 1_500))
    assert desk.score(one, 1_300, 1_500) is desk.score(one, 1_300, 1_500)
    assert np.isnan(desk.score(Predictor.none(), 1_300, 1_500)).all()


def test_the_choice_is_the_best_trial_and_its_daily_returns(desk):
    found = searched(desk)
    assert found.value == found.trials["value"].fill_nan(None).max()
    parts = segments(desk.first_row, 2_000, 2)
    results = [
        desk.trade(found.candidate, found.params,
                   desk.fit(desk.first_row, part[0]) if found.candidate.is_learned else Predictor.none(), *part)
        for part in parts
    ]  # fmt: skip
    days = [daily_returns(epoch_ns(r.equity), r.equity["equity"].to_numpy(), CASH) for r in results]
    assert np.concatenate(days).tobytes() == found.daily.tobytes()
    per_day = found.daily.mean() / found.daily.std(ddof=1)
    assert found.value == pytest.approx(per_day * 365**0.5, rel=1e-12)


def test_that_none_traded_is_a_value(desk):
    still = replace(TREND, space={"enter": {"low": 1e5, "high": 2e5}})
    found = choose(desk, [still], desk.first_row, 2_000, trials=2, folds=2, sampler="random", seed=1)
    assert found.candidate is still
    assert found.params == {"enter": 150_000.0}
    assert np.isnan(found.value)
    assert found.daily.size == 0
    assert found.trials.height == 2


def test_mark_is_cut_by_time_and_not_by_position(desk, given):
    holed = Desk(**{**given, "mark": given["mark"].filter(pl.int_range(pl.len()) % 7 != 0)})
    part = holed.segment(600, 1_500)
    assert part.mark is not None
    assert part.mark["ts"][0] >= part.bars["ts"][0]
    assert part.mark["ts"][-1] <= part.bars["ts"][-1]
    every, some = (d.trade(TREND, {"enter": 0.4}, Predictor.none(), 600, 1_500) for d in (desk, holed))
    # Hours of settlement are multiples of 480 minutes: some of their marks are gone, others stand where they stood.
    paid, expected = some.equity["funding"].to_numpy(), every.equity["funding"].to_numpy()
    assert np.array_equal(paid != 0, expected != 0)
    present = np.isin(epoch_ns(every.equity), epoch_ns(holed.mark))
    assert (expected[present] != 0).any()
    first_change = int(np.flatnonzero(paid != expected)[0])
    assert not present[first_change]
    assert np.array_equal(paid[:first_change], expected[:first_change])


def shifted(frame, ns):
    return frame.with_columns(pl.col("ts") + pl.duration(nanoseconds=ns))


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (lambda g: {"mark": shifted(g["mark"], 1_000_000_000)}, r"desk\.mark\.ts\[0\]"),
        (lambda g: {"mark": g["mark"].reverse()}, r"desk\.mark\.ts\[1\]"),
        (lambda g: {"funding": g["funding"].reverse()}, r"desk\.funding\.ts\[1\]"),
        (lambda g: {"bars": g["bars"].filter(pl.int_range(pl.len()) != 50)}, r"desk\.bars\.ts\[50\]"),
        (lambda g: {"table": g["table"].filter(pl.int_range(pl.len()) != 50)}, r"desk\.table\.ts\[50\]"),
        (lambda g: {"bars": g["bars"].head(-1)}, r"desk\.bars must cover"),
        (lambda g: {"bars": g["bars"].tail(-1)}, r"desk\.bars must cover"),
    ],
)
def test_rows_off_their_clock_are_refused(given, change, named):
    with pytest.raises(MisalignedBars, match=named):
        Desk(**{**given, **change(given)})


def test_wrong_arguments_are_named(desk, given):
    with pytest.raises(InvalidInput, match=r"desk\.account must have initial_cash_quote"):
        Desk(**{**given, "account": {}})
    with pytest.raises(InvalidInput, match="must have rows"):
        Desk(**{**given, "bars": given["bars"].clear()})
    for rows in ((-1, 5), (5, 5), (0, desk.n_rows + 1)):
        with pytest.raises(InvalidInput, match="segment must be a range of rows"):
            desk.segment(*rows)
    with pytest.raises(InvalidInput, match="candidates must be at least one"):
        choose(desk, [], 0, 100, trials=1, folds=1, sampler="tpe", seed=1)
    blank = given["table"].with_columns(pl.lit(float("nan")).alias("rsi"))
    with pytest.raises(InvalidInput, match="must all be finite before some UTC midnight"):
        _ = Desk(**{**given, "table": blank}).first_row


def test_a_missing_settlement_is_seen_in_its_segment_and_only_there(given):
    at = given["funding"].height // 2
    hole = epoch_ns(given["funding"])[at]
    desk = Desk(**{**given, "funding": given["funding"].filter(pl.int_range(pl.len()) != at)})
    row = int(np.searchsorted(desk.decision_ts, hole))
    with pytest.raises(FundingHole):
        desk.trade(TREND, {"enter": 0.4}, Predictor.none(), row - 20, row + 20)
    desk.trade(TREND, {"enter": 0.4}, Predictor.none(), row + 20, row + 200)


def test_the_middle_of_a_space():
    assert middle({}) == {}
    assert middle({"a": {"low": 2, "high": 4}, "b": {"low": 0.0, "high": 1.0}}) == {"a": 3, "b": 0.5}


def test_the_daily_returns_of_every_trial_are_kept_by_its_row(desk):
    found = searched(desk, stop=desk.first_row + 9 * 288)  # long enough for segments of whole days
    assert found.returns.columns == ["day", *(str(row) for row in range(found.trials.height))]
    days = found.returns["day"]
    assert days.dtype == pl.Date
    assert days.is_sorted()
    assert days.n_unique() == len(days) == int(found.trials["days"][0])
    ratios = [sharpe(found.returns[str(row)].to_numpy(), 1.0) for row in range(found.trials.height)]
    assert ratios == pytest.approx(found.trials["sharpe_day"].to_list(), nan_ok=True, rel=1e-12)
    best = int(found.trials["value"].fill_nan(-np.inf).arg_max())
    assert found.returns[str(best)].to_list() == found.daily.tolist()
