"""Monte Carlo against closed forms and exhaustive enumeration."""

import itertools
import math
import sys

import numpy as np
import pytest

from research.errors import InvalidInput
from research.validation import monte_carlo

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


def within(share, expected, draws):
    """Four standard errors of a share over independent draws."""
    return abs(share - expected) < 4 * math.sqrt(expected * (1 - expected) / draws)


@pytest.mark.parametrize("compounding", [True, False])
@pytest.mark.parametrize("seed", range(5))
def test_observed_statistics_equal_a_plain_twin(seed, compounding):
    values = np.random.default_rng(seed).normal(0.001, 0.05, 80)
    found = monte_carlo(values, paths=1, seed=0, compounding=compounding).observed
    for name, expected in twin(values.tolist(), compounding).items():
        assert found[name] == pytest.approx(expected, rel=1e-11), name  # sums in another order


def test_iid_bootstrap_equals_the_enumeration_of_all_resamples():
    everything = [twin(path, False) for path in itertools.product(TRADES, repeat=5)]
    result = monte_carlo(TRADES, paths=40_000, seed=5, compounding=False)
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
    found = monte_carlo(ORDERS, paths=40_000, seed=6, method="shuffle", compounding=False)
    depth = found.paths["max_drawdown"].to_numpy()
    assert set(depth.round(9)) == set(exact.round(9))
    assert depth.mean() == pytest.approx(exact.mean(), abs=4 * exact.std() / 200)
    for level in np.unique(exact):
        assert abs((depth <= level + 1e-9).mean() - (exact <= level + 1e-9).mean()) < 0.011  # 4 SE at worst


@pytest.mark.parametrize("compounding", [True, False])
def test_shuffle_keeps_the_returns_and_claims_no_interval_on_what_they_fix(compounding):
    values = np.random.default_rng(1).normal(0, 0.03, 50)
    result = monte_carlo(values, paths=500, seed=2, method="shuffle", compounding=compounding)
    for name in ("total", "sharpe", "profit_factor"):
        assert result.paths[name].n_unique() == 1
        assert result.paths[name][0] == result.observed[name]
        with pytest.raises(InvalidInput, match="does not depend on the order"):
            result.interval(name)
    assert result.table()["statistic"].to_list() == ["max_drawdown", "lowest"]
    assert result.paths["max_drawdown"].n_unique() > 400
    low, high = result.interval("max_drawdown")
    assert low < high <= 0.0


def test_the_variance_of_an_iid_mean_is_that_of_the_population_over_n():
    values = np.random.default_rng(3).normal(0, 1, 200)
    total = monte_carlo(values, paths=40_000, seed=4, compounding=False).paths["total"].to_numpy()
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
    total = monte_carlo(x, paths=40_000, block=5, seed=9, compounding=False).paths["total"].to_numpy()
    assert (total / n).var() == pytest.approx(exact, rel=0.03)
    assert exact > 2 * x.var() / n


def test_circular_blocks_of_the_whole_length_are_rotations():
    values = np.array([0.5, -0.25, 0.125, -0.5])
    result = monte_carlo(values, paths=300, block=4, seed=1, method="circular", compounding=False)
    rotations = {twin(np.roll(values, k).tolist(), False)["max_drawdown"] for k in range(4)}
    assert set(result.paths["max_drawdown"]) == rotations
    assert set(result.paths["total"]) == {values.sum()}  # sums of binary fractions are exact in any order


def test_the_same_seed_gives_the_same_paths_and_a_prefix_of_more(monkeypatch):
    values = np.random.default_rng(1).normal(0, 0.02, 40)
    one = monte_carlo(values, paths=300, block=3, seed=8)
    assert one.paths.equals(monte_carlo(values, paths=300, block=3, seed=8).paths)
    assert one.paths.equals(monte_carlo(values, paths=900, block=3, seed=8).paths.head(300))
    assert not one.paths.equals(monte_carlo(values, paths=300, block=3, seed=9).paths)
    monkeypatch.setattr(sys.modules[monte_carlo.__module__], "_DRAWS", 130)  # three paths at a time
    assert one.paths.equals(monte_carlo(values, paths=300, block=3, seed=8).paths)


def test_ruin_stays_ruin():
    result = monte_carlo([0.5, -1.2, 3.0], paths=2000, seed=1, method="shuffle")
    assert result.observed["total"] == -1.0
    assert set(result.paths["max_drawdown"]) == {-1.0}
    assert result.probability_of_ruin(1.0) == 1.0


def test_without_losses_the_profit_factor_is_infinite_and_quantiles_bear_it():
    wins = monte_carlo([0.01, 0.02, 0.01], paths=200, seed=1)
    assert wins.observed["profit_factor"] == math.inf
    assert wins.interval("profit_factor") == (math.inf, math.inf)
    assert wins.probability_of_drawdown(1e-9) == 0.0
    mixed = monte_carlo(TRADES, paths=5000, seed=1, compounding=False)
    low, high = mixed.interval("profit_factor", 0.9)
    assert 0.0 <= low < 1.0 < high == math.inf


def test_paths_without_a_sharpe_ratio_are_counted_and_left_out():
    result = monte_carlo([0.01, -0.01], paths=4000, seed=3)
    row = result.table().filter(statistic="sharpe").row(0, named=True)
    assert within(row["undefined"] / 4000, 0.5, 4000)  # both draws the same
    assert row["q50"] == pytest.approx(0.0, abs=1e-12)
    nothing = monte_carlo([0.0, 0.0], paths=10, seed=3)
    assert math.isnan(nothing.observed["profit_factor"])
    assert nothing.table().filter(statistic="sharpe").row(0, named=True)["undefined"] == 10


def test_bad_input_is_refused():
    good = [0.01, -0.02, 0.03]
    bad = [
        lambda: monte_carlo([0.01], seed=1),
        lambda: monte_carlo([0.01, math.nan], seed=1),
        lambda: monte_carlo(good, seed=1, paths=0),
        lambda: monte_carlo(good, seed=1, block=0),
        lambda: monte_carlo(good, seed=1, block=4),
        lambda: monte_carlo(good, seed=1, block=1.5, method="circular"),
        lambda: monte_carlo(good, seed=1, method="jackknife"),
        lambda: monte_carlo(good, seed=1, paths=5).interval("sortino"),
        lambda: monte_carlo(good, seed=1, paths=5).interval("sharpe", 95),
        lambda: monte_carlo(good, seed=1, paths=5).probability_of_drawdown(-0.2),
    ]
    for call in bad:
        with pytest.raises(InvalidInput):
            call()
