"""Monte Carlo against closed forms and exhaustive enumeration."""

import itertools
import math

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from research.errors import InvalidInput
from research.validation import resampling
from research.validation.fan import PATH_STATISTICS, PathsResult, fan_positions, quantile
from research.validation.monte_carlo_figure import fan_figure, statistic_figure
from research.validation.resampling import METHODS, REORDERS, automatic_block, resample_trades

TRADES = [3.0, -2.0, 1.5, -1.0, 2.0]
ORDERS = [120.0, -80.0, 45.0, -60.0, 200.0, -95.0, 30.0]


def twin(values, compounding):
    """Plain statistics of one path."""
    equity = [1.0 if compounding else 0.0]
    for value in values:
        equity.append(max(equity[-1] * (1 + value), 0.0) if compounding else equity[-1] + value)
    peaks = list(itertools.accumulate(equity, max))
    falls = [e / p - 1 if compounding else e - p for e, p in zip(equity, peaks, strict=True)]
    gain, loss = sum(v for v in values if v > 0), sum(-v for v in values if v < 0)
    return {
        "total": equity[-1] - equity[0],
        "sharpe": np.mean(values) / np.std(values, ddof=1) if len(set(values)) > 1 else math.nan,
        "profit_factor": gain / loss if loss else (math.inf if gain else math.nan),
        "max_drawdown": min(falls),
        "lowest": min(equity) - equity[0],
    }


def one(values, method="bootstrap", **given):
    """The paths of one method."""
    return resample_trades(values, methods=(method,), **given)[method]


def within(share, expected, draws):
    """Four standard errors of a share over independent draws."""
    return abs(share - expected) < 4 * math.sqrt(expected * (1 - expected) / draws)


@pytest.mark.parametrize("compounding", [True, False])
@pytest.mark.parametrize("seed", range(5))
def test_observed_statistics_equal_a_plain_twin(seed, compounding):
    values = np.random.default_rng(seed).normal(0.001, 0.05, 80)
    found = one(values, paths=1, seed=0, compounding=compounding).observed
    for name, expected in twin(values.tolist(), compounding).items():
        assert found[name] == pytest.approx(expected, rel=1e-11), name  # sums in another order


def test_iid_bootstrap_equals_the_enumeration_of_all_resamples():
    everything = [twin(path, False) for path in itertools.product(TRADES, repeat=5)]
    result = one(TRADES, paths=40_000, seed=5, compounding=False)
    factor = result.paths["profit_factor"].to_numpy()
    exact = np.array([e["profit_factor"] for e in everything])
    assert within(np.isposinf(factor).mean(), np.isposinf(exact).mean(), 40_000)  # 0.6^5: no loss drawn
    assert within((factor < 1).mean(), (exact < 1).mean(), 40_000)
    assert within((factor > 3).mean(), (exact > 3).mean(), 40_000)
    assert not np.isneginf(factor).any()
    depth = np.array([e["max_drawdown"] for e in everything])
    assert within(result.probability_of_drawdown(4.0), (depth <= -4).mean(), 40_000)
    low = np.array([e["lowest"] for e in everything])
    assert within(result.probability_of_ruin(3.0), (low <= -3).mean(), 40_000)
    assert result.paths["max_drawdown"].mean() == pytest.approx(depth.mean(), abs=4 * depth.std() / 200)


def test_shuffle_equals_the_enumeration_of_all_orders():
    exact = np.array([twin(order, False)["max_drawdown"] for order in itertools.permutations(ORDERS)])
    found = one(ORDERS, "shuffle", paths=40_000, seed=6, compounding=False)
    depth = found.paths["max_drawdown"].to_numpy()
    assert set(depth.round(9)) == set(exact.round(9))
    assert depth.mean() == pytest.approx(exact.mean(), abs=4 * exact.std() / 200)
    for level in np.unique(exact):
        assert abs((depth <= level + 1e-9).mean() - (exact <= level + 1e-9).mean()) < 0.011  # 4 SE at worst


@pytest.mark.parametrize("compounding", [True, False])
def test_shuffle_keeps_what_the_returns_fix(compounding):
    values = np.random.default_rng(1).normal(0, 0.03, 50)
    result = one(values, "shuffle", paths=500, seed=2, compounding=compounding)
    for name in ("total", "sharpe", "profit_factor"):
        assert result.paths[name].n_unique() == 1
        assert result.paths[name][0] == result.observed[name]
    assert result.paths["max_drawdown"].n_unique() > 400
    low, high = result.interval("max_drawdown")
    assert low < high <= 0.0


def test_the_variance_of_an_iid_mean_is_that_of_the_population_over_n():
    values = np.random.default_rng(3).normal(0, 1, 200)
    total = one(values, paths=40_000, seed=4, compounding=False).paths["total"].to_numpy()
    # Standard error of a variance over 40,000 draws is 0.7 %.
    assert (total / 200).var() == pytest.approx(values.var() / 200, rel=0.03)
    assert (total / 200).mean() == pytest.approx(values.mean(), abs=4 * values.std() / math.sqrt(200 * 40_000))


def test_the_variance_of_a_block_bootstrapped_mean_has_its_closed_form():
    # Politis & Romano 1994, lemma 1, on an AR(1) whose iid variance would be wrong by a factor above 2.
    noise = np.random.default_rng(35).standard_normal(600)
    series = [0.0]
    for e in noise:
        series.append(0.5 * series[-1] + e)
    x = np.array(series[-400:])
    n, p = x.size, 1 / 5.0
    d = x - x.mean()
    covariance = np.array([np.sum(d[: n - i] * d[i:]) / n for i in range(n)])
    i = np.arange(1, n)
    kappa = (1 - i / n) * (1 - p) ** i + (i / n) * (1 - p) ** (n - i)
    exact = (covariance[0] + 2 * np.sum(kappa * covariance[1:])) / n
    total = one(x, "block", paths=40_000, block=5, seed=9, compounding=False).paths["total"].to_numpy()
    assert (total / n).var() == pytest.approx(exact, rel=0.03)
    assert exact > 2 * x.var() / n


def test_rotations_are_those_of_the_whole_series():
    values = np.array([0.5, -0.25, 0.125, -0.5])
    result = one(values, "rotate", paths=300, seed=1, compounding=False)
    rotations = {twin(np.roll(values, k).tolist(), False)["max_drawdown"] for k in range(4)}
    assert set(result.paths["max_drawdown"]) == rotations


@pytest.mark.parametrize("method", METHODS)
def test_the_same_seed_gives_the_same_paths_and_a_prefix_of_more(monkeypatch, method):
    values = np.random.default_rng(1).normal(0, 0.02, 40)
    found = one(values, method, paths=300, block=3, seed=8).paths
    assert found.equals(one(values, method, paths=300, block=3, seed=8).paths)
    assert found.equals(one(values, method, paths=900, block=3, seed=8).paths.head(300))
    assert not found.equals(one(values, method, paths=300, block=3, seed=9).paths)
    monkeypatch.setattr(resampling, "_DRAWS", 130)  # three paths at a time
    assert found.equals(one(values, method, paths=300, block=3, seed=8).paths)


def test_ruin_stays_ruin():
    result = one([0.5, -1.2, 3.0], "shuffle", paths=2000, seed=1)
    assert result.observed["total"] == -1.0
    assert set(result.paths["max_drawdown"]) == {-1.0}
    assert result.probability_of_ruin(1.0) == 1.0


def test_without_losses_the_profit_factor_is_infinite_and_quantiles_bear_it():
    wins = one([0.01, 0.02, 0.01], paths=200, seed=1)
    assert wins.observed["profit_factor"] == math.inf
    assert wins.interval("profit_factor") == (math.inf, math.inf)
    assert wins.probability_of_drawdown(1e-9) == 0.0
    mixed = one(TRADES, paths=5000, seed=1, compounding=False)
    low, high = mixed.interval("profit_factor", 0.9)
    assert 0.0 <= low < 1.0 < high == math.inf


def test_paths_without_a_sharpe_ratio_are_counted_and_left_out():
    result = one([0.01, -0.01], paths=4000, seed=3)
    row = result.table().filter(statistic="sharpe").row(0, named=True)
    assert within(row["undefined"] / 4000, 0.5, 4000)  # both draws the same
    assert row["median"] == pytest.approx(0.0, abs=1e-12)
    nothing = one([0.0, 0.0], paths=10, seed=3)
    assert math.isnan(nothing.observed["profit_factor"])
    assert nothing.table().filter(statistic="sharpe").row(0, named=True)["undefined"] == 10


# ---------------------------------------------------------------- resampling with what it stands for
FAN_OF = [0.05, -0.02, 0.03, -0.04, 0.01, 0.02, -0.03, 0.04]
returns_of = st.lists(st.floats(-0.3, 0.3).map(lambda v: round(v, 3)), min_size=2, max_size=30)


@settings(max_examples=40, deadline=None)
@given(returns_of, st.integers(0, 1000), st.booleans())
def test_every_path_is_one_of_its_method(values, seed, compounding):
    report = resample_trades(values, paths=40, seed=seed, block=min(3.0, len(values)), compounding=compounding)
    plain = twin(values, compounding)
    for name, result in report.results.items():
        paths = result.paths
        assert paths.columns == list(PATH_STATISTICS)
        for statistic in ("total", "max_drawdown", "lowest"):
            assert result.observed[statistic] == pytest.approx(plain[statistic], abs=1e-12)
        assert (paths["max_drawdown"] <= paths["lowest"] + 1e-12).all() or not compounding
        assert paths["under_water_share"].is_between(0.0, 1.0).all()
        assert (paths["longest_under_water"] <= len(values)).all()
        assert set(result.fixed) == ({"total", "sharpe", "profit_factor"} if name in REORDERS else set())
        assert not np.isneginf(paths["profit_factor"].to_numpy()).any()
        if name == "rotate":
            rotated = [twin(np.roll(values, k).tolist(), compounding)["max_drawdown"] for k in range(len(values))]
            assert all(min(abs(np.array(rotated) - depth)) < 1e-12 for depth in paths["max_drawdown"])


def test_what_reordering_cannot_change_has_a_reason_instead_of_an_interval():
    report = resample_trades(FAN_OF, paths=400, seed=1)
    table = report.table()
    assert table.height == len(METHODS) * len(PATH_STATISTICS)
    for row in table.iter_rows(named=True):
        ends = [row["low95"], row["high95"], row["low99"], row["high99"]]
        if row["method"] in REORDERS and row["statistic"] in ("total", "sharpe", "profit_factor"):
            assert all(map(math.isnan, [*ends, row["mean"], row["median"]]))
            assert row["note"] == "is the same for every order of the same trades"
            assert row["stands_for"] == ""
            assert report[row["method"]].interval(row["statistic"]) == pytest.approx((math.nan,) * 2, nan_ok=True)
        else:
            assert ends[2] <= ends[0] <= ends[1] <= ends[3]
            assert row["note"] == ""
            assert row["stands_for"] == METHODS[row["method"]][1]
    assert len({randomness for _, randomness in METHODS.values()}) == len(METHODS)


def test_methods_do_not_depend_on_which_others_are_asked_for():
    every = resample_trades(FAN_OF, paths=60, seed=3)
    alone = resample_trades(FAN_OF, paths=60, seed=3, methods=("block",))
    assert every["block"].paths.equals(alone["block"].paths)
    assert not every["block"].paths.equals(resample_trades(FAN_OF, paths=60, seed=4, methods=("block",))["block"].paths)
    with pytest.raises(InvalidInput, match="must be one of block"):
        alone["shuffle"]


def test_only_blocks_read_the_length_of_blocks():
    one, five = (resample_trades(FAN_OF, paths=60, seed=3, block=length) for length in (1.0, 5.0))
    assert {name for name in METHODS if not one[name].paths.equals(five[name].paths)} == {"block"}


def test_ruin_is_counted_at_any_time_of_a_path():
    report = resample_trades([0.5, -0.5, 0.5, -0.5], paths=6_000, seed=1, methods=("shuffle",), ruin_loss=0.7)
    # Of the six orders of two gains and two losses only the one with both losses first falls to 0.25.
    assert within(report["shuffle"].probability_of_ruin(0.7), 1 / 6, 6_000)
    assert report.table()["ruin_probability"][0] == report["shuffle"].probability_of_ruin(0.7)
    # Both losses in a row: half of the orders.
    assert within(report["shuffle"].probability_of_drawdown(0.74), 0.5, 6_000)


def test_the_fan_is_of_the_paths_and_its_memory_is_bounded():
    result = resample_trades(FAN_OF * 40, paths=12_000, seed=1, methods=("bootstrap",), points=50)["bootstrap"]
    assert result.fan_values.shape == (10_000, 50)
    assert result.fan_values[:, -1] == pytest.approx(1.0 + result.paths["total"].to_numpy()[:10_000], rel=1e-12)
    assert set(result.fan_values[:, 0]) == {1.0}
    fan = result.fan((0.025, 0.5, 0.975))
    assert fan.columns == ["at", "mean", "q2.5", "q50", "q97.5"]
    assert (fan["q2.5"] <= fan["q50"]).all()
    assert fan["q50"][-1] == quantile(np.sort(result.fan_values[:, -1]), 0.5)
    assert fan_positions(7, 100).tolist() == list(range(8))


def test_a_later_start_keeps_its_last_equity_in_the_fan():
    result = resample_trades([0.1, 0.2, 0.3], paths=200, seed=1, methods=("start",))["start"]
    assert set(result.fan_values[:, -1].round(12)) == {round(1.1 * 1.2 * 1.3, 12), round(1.2 * 1.3, 12)}


def test_block_lengths_grow_with_dependence_and_stay_within_the_series():
    noise = np.random.default_rng(6).standard_normal(500)
    walk = [0.0]
    for e in noise:
        walk.append(0.9 * walk[-1] + e)
    assert automatic_block(noise) < 6.0 < automatic_block(walk) <= 501.0
    assert automatic_block(np.ones(50)) == 1.0
    assert 1.0 <= automatic_block(noise[:20]) <= 20.0
    assert resample_trades(walk, paths=5, seed=1, compounding=False).block == automatic_block(walk)


def test_bad_resampling_is_refused():
    for changes in (
        {"paths": 0}, {"block": 0.5}, {"block": 9.0}, {"methods": ()}, {"methods": ("bagging",)}, {"ruin_loss": 0.0},
        {"max_dropped_frac": 1.0}, {"points": 1},
    ):  # fmt: skip
        with pytest.raises(InvalidInput):
            resample_trades(FAN_OF, **{"paths": 3, "seed": 1, **changes})
    for wrong in ([0.1], [0.1, math.inf], [[0.1, 0.2]]):
        with pytest.raises(InvalidInput):
            resample_trades(wrong, seed=1)
    result = resample_trades(FAN_OF, paths=3, seed=1)["bootstrap"]
    for call in (
        lambda: result.interval("sortino"), lambda: result.interval("total", 1.0),
        lambda: result.probability_of_ruin(0.0),
    ):  # fmt: skip
        with pytest.raises(InvalidInput):
            call()


def test_statistics_that_exist_on_no_path_say_so():
    paths = pl.DataFrame({"sharpe": [math.nan] * 3, "total": [1.0, 2.0, 3.0]})
    empty = np.empty((0, 2))
    result = PathsResult("m", "chance", "day", {"sharpe": 0.0, "total": 2.0}, paths, {}, np.zeros(2), empty)
    first, second = result.table().iter_rows(named=True)
    assert (first["note"], first["undefined"], first["stands_for"]) == ("exists on no path", 3, "")
    assert math.isnan(first["low95"])
    assert (second["low95"], second["high99"], second["median"]) == (1.0, 3.0, 2.0)


def test_figures_show_bands_intervals_and_what_was_left_out():
    result = resample_trades(FAN_OF, paths=500, seed=1, methods=("bootstrap",))["bootstrap"]
    fan = result.fan()
    figure = fan_figure(fan, observed=np.ones(fan.height))
    assert [t.name for t in figure.data if t.showlegend is not False] == ["99 %", "95 %", "50 %", "median", "observed"]
    assert list(figure.data[0].y) == fan["q0.5"].to_list()
    with pytest.raises(InvalidInput, match="observed"):
        fan_figure(fan, observed=np.ones(3))
    with pytest.raises(InvalidInput, match=r"fan\.q2\.5"):
        fan_figure(fan.drop("q2.5"))
    depth = result.paths["max_drawdown"].to_numpy()
    drawn = statistic_figure(depth, "max_drawdown", observed=-0.05, stands_for=result.randomness)
    assert [shape.x0 for shape in drawn.layout.shapes] == [
        *result.interval("max_drawdown", 0.95), *result.interval("max_drawdown", 0.99), -0.05,
    ]  # fmt: skip
    assert sum(drawn.data[0].y) == pytest.approx(1.0)
    assert result.randomness in drawn.layout.title.text
    holed = statistic_figure([1.0, 2.0, math.inf], "profit_factor", intervals={"95 %": (1.0, math.inf)})
    assert "1 of 3 paths undefined" in holed.layout.title.text
    assert not holed.layout.shapes
    assert not statistic_figure([math.nan], "sharpe").data
