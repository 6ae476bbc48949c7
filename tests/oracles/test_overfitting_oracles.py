"""CSCV against a plain twin, tests of the best trial against arch and closed forms, and their size on noise."""

import math
from itertools import combinations

import numpy as np
import pytest
from arch.bootstrap import MCS, RealityCheck, StationaryBootstrap
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import norm

from research.errors import InvalidInput
from research.metrics.effective_trials import effective_trials
from research.validation.confidence_set import model_confidence_set
from research.validation.overfitting import (
    number_of_splits,
    pbo_spread,
    pbo_without_skill,
    probability_of_backtest_overfitting,
)
from research.validation.selection import NAMES, described, snooping_figures
from research.validation.snooping import (
    block_length,
    block_length_of_ar1,
    reality_check,
    resampled_means,
    stationary_bootstrap_variance,
    superior_predictive_ability,
    superior_trials,
)


def noise(seed, days, trials, scale=0.01):
    return scale * np.random.default_rng(seed).standard_normal((days, trials))


# ---------------------------------------------------------------- CSCV
def plain_cscv(returns, blocks):
    """Return (logits, in sample, out of sample), one split at a time from the rows themselves."""
    length = len(returns) // blocks
    cut = np.split(returns[len(returns) - blocks * length :], blocks)
    logits, inside, outside = [], [], []
    for taken in combinations(range(blocks), blocks // 2):
        train = np.concatenate([cut[k] for k in range(blocks) if k in taken])
        test = np.concatenate([cut[k] for k in range(blocks) if k not in taken])
        ratios = [[c.mean() / c.std(ddof=1) if np.ptp(c) > 0 else 0.0 for c in half.T] for half in (train, test)]
        best = max(range(returns.shape[1]), key=lambda k: ratios[0][k])
        rank = sum(other <= ratios[1][best] for other in ratios[1])
        share = rank / (returns.shape[1] + 1)
        logits.append(math.log(share / (1 - share)))
        inside.append(ratios[0][best])
        outside.append(ratios[1][best])
    return np.array(logits), np.array(inside), np.array(outside)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32), st.sampled_from([2, 4, 6, 8]), st.integers(2, 7), st.integers(0, 5), st.booleans())
def test_cscv_is_that_of_the_plain_twin(seed, blocks, trials, more, has_flat):
    returns = noise(seed, blocks * 5 + more, trials) + 0.002 * np.arange(trials)
    if has_flat:
        returns[:, 0] = 0.0
    found = probability_of_backtest_overfitting(returns, blocks)
    logits, inside, outside = plain_cscv(returns, blocks)
    assert found.logits == pytest.approx(logits, abs=1e-12)
    assert found.in_sample == pytest.approx(inside, rel=1e-9, abs=1e-12)
    assert found.out_of_sample == pytest.approx(outside, rel=1e-9, abs=1e-12)
    assert found.pbo == np.mean(logits <= 0)
    assert found.dropped_rows == more % blocks
    assert found.n_splits == number_of_splits(blocks) == math.comb(blocks, blocks // 2)
    if np.ptp(inside) > 1e-6:
        assert found.slope == pytest.approx(np.polyfit(inside, outside, 1)[0], rel=1e-6, abs=1e-9)


def test_a_large_mean_loses_no_digits():
    returns = noise(1, 96, 6)
    assert probability_of_backtest_overfitting(returns + 1e6, 8).in_sample == pytest.approx(
        plain_cscv(returns + 1e6, 8)[1], rel=1e-7
    )


def test_trials_without_skill_come_to_a_half_and_one_with_skill_to_little():
    flat = [probability_of_backtest_overfitting(noise(seed, 240, 20), 8).pbo for seed in range(60)]
    assert np.mean(flat) == pytest.approx(0.5, abs=0.08)
    edge = np.where(np.arange(20) == 7, 0.004, 0.0)
    skilled = [probability_of_backtest_overfitting(noise(seed, 240, 20) + edge, 8) for seed in range(20)]
    assert np.mean([found.pbo for found in skilled]) < 0.12
    assert np.mean([np.mean(found.chosen == 7) for found in skilled]) > 0.9
    equal = [probability_of_backtest_overfitting(noise(seed, 240, 20) + 0.003, 8).pbo for seed in range(60)]
    assert np.mean(equal) == pytest.approx(0.5, abs=0.08)  # equal skill is not told from none


def test_the_spread_of_pbo_is_wide_where_nothing_is_to_be_found():
    spread = pbo_spread(noise(3, 240, 20), 8, samples=60)
    assert np.all(np.diff(spread) >= 0)
    assert spread[-1] - spread[0] > 0.3
    # A bootstrap with replacement comes to 0.26 here.
    middles = [pbo_spread(noise(seed, 240, 20), 8, samples=10).mean() for seed in range(40)]
    assert np.mean(middles) == pytest.approx(0.5, abs=0.1)


def test_the_spread_is_of_two_thirds_of_the_days_in_order(monkeypatch):
    seen, found = [], probability_of_backtest_overfitting(noise(1, 32, 2), 4)
    monkeypatch.setattr(
        "research.validation.overfitting.probability_of_backtest_overfitting",
        lambda values, blocks: seen.append(values[:, 0].astype(int)) or found,
    )
    days = np.tile(np.arange(90.0)[:, None], (1, 2))
    pbo_spread(days, 4, samples=30, block_days=7.0)
    assert len(seen) == 31  # the first one refuses what cannot be used
    for rows in seen[1:]:
        assert rows.size == 60
        assert np.all(np.diff(rows) > 0)
        runs = np.split(rows, np.flatnonzero(np.diff(rows) > 1) + 1)
        # Runs of seven, but for the first and the last of the record and the one that is cut at 60 days.
        assert sum(run.size % 7 != 0 for run in runs) <= 3
    assert len({tuple(rows) for rows in seen[1:]}) == 30
    seen.clear()
    pbo_spread(days[:35], 16, samples=3)
    assert [rows.size for rows in seen[1:]] == [32] * 3


def test_without_skill_pbo_is_a_half_whatever_the_skill_of_the_record():
    skilled = noise(4, 240, 20) + np.where(np.arange(20) == 7, 0.006, 0.0)
    found = pbo_without_skill(skilled, 8, samples=100)
    assert np.all(np.diff(found) >= 0)
    assert found.mean() == pytest.approx(0.5, abs=0.08)  # four errors of 100 with a deviation of 0.2
    assert np.quantile(found, 0.05) < 0.3 < 0.7 < np.quantile(found, 0.95)
    # Trials that never differ but by their size have one choice throughout, and ties rank it highest.
    one = noise(5, 240, 1)
    assert pbo_without_skill(np.column_stack([one, np.full(240, 0.01)]), 8, samples=5).max() <= 1.0
    p_values = [
        np.mean(pbo_without_skill(returns, 8, samples=20) <= probability_of_backtest_overfitting(returns, 8).pbo)
        for returns in (noise(seed, 120, 20) for seed in range(60))
    ]
    assert np.mean(p_values) == pytest.approx(0.5, abs=0.15)  # uniform: four errors of 60


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32), st.integers(2, 9), st.floats(-0.004, 0.01))
def test_dominance_is_that_of_every_ratio(seed, trials, edge):
    returns = noise(seed, 60, trials) + np.where(np.arange(trials) == 0, edge, 0.0)
    found = probability_of_backtest_overfitting(returns, 6)
    best, mean = found.out_of_sample.tolist(), found.mean_out_of_sample.tolist()
    points = sorted(best + mean)
    ahead = [sum(m <= x for m in mean) - sum(b <= x for b in best) for x in points]
    # Summed up to x, the difference of distributions is the mean shortfall below x.
    short = [sum(max(x - m, 0.0) for m in mean) - sum(max(x - b, 0.0) for b in best) for x in points]
    assert found.dominance.first_order == (min(ahead) >= 0 and max(ahead) > 0)
    assert found.dominance.second_order == (min(short) >= -1e-9 and max(short) > 1e-9)
    assert found.dominance.second_order or not found.dominance.first_order


def test_the_mean_out_of_sample_is_of_all_trials():
    returns = noise(6, 40, 5)
    found = probability_of_backtest_overfitting(returns, 4)
    taken = list(combinations(range(4), 2))
    for k, halves in enumerate(taken):
        test = np.concatenate([returns[10 * j : 10 * j + 10] for j in range(4) if j not in halves])
        assert found.mean_out_of_sample[k] == pytest.approx((test.mean(axis=0) / test.std(axis=0, ddof=1)).mean())
    skilled = probability_of_backtest_overfitting(returns + [0.0, 0.0, 0.05, 0.0, 0.0], 4)
    assert skilled.dominance == (True, True)
    assert probability_of_backtest_overfitting(returns[:, [0, 0]], 4).dominance == (False, False)


@pytest.mark.parametrize("spread", [pbo_spread, pbo_without_skill])
def test_what_a_spread_cannot_use_is_refused(spread):
    for arguments, subject in (
        ({"samples": 0}, "samples"),
        ({"block_days": 0.5}, "block_days"),
        ({"blocks": 3}, "blocks"),
    ):
        with pytest.raises(InvalidInput) as caught:
            spread(noise(1, 64, 3), **{"blocks": 4, **arguments})
        assert caught.value.subject == subject


@pytest.mark.parametrize(
    ("returns", "blocks", "subject"),
    [
        (noise(1, 32, 3), 7, "blocks"), (noise(1, 99, 3), 22, "blocks"), (noise(1, 32, 1), 4, "returns"),
        (noise(1, 7, 3), 4, "returns"), (np.full((32, 2), np.nan), 4, "returns[0, 0]"), (np.ones(32), 4, "returns"),
    ],
)  # fmt: skip
def test_what_cscv_cannot_use_is_refused(returns, blocks, subject):
    with pytest.raises(InvalidInput) as caught:
        probability_of_backtest_overfitting(returns, blocks)
    assert caught.value.subject == subject


# ---------------------------------------------------------------- bootstrap
@pytest.mark.parametrize("block", [1.0, 4.0, 20.0])
def test_the_variance_of_a_mean_is_that_of_arch(block):
    series = np.convolve(np.random.default_rng(5).standard_normal(304), np.ones(5), "valid")
    drawn = StationaryBootstrap(block, series, seed=1).apply(np.mean, 6_000)
    assert stationary_bootstrap_variance(series, block) == pytest.approx(drawn.var(), rel=0.08)
    columns = np.stack([series, 3.0 * series], axis=1)
    assert stationary_bootstrap_variance(columns, block) == pytest.approx(
        np.array([1.0, 9.0]) * stationary_bootstrap_variance(series, block), rel=1e-12
    )


def test_block_lengths():
    assert block_length_of_ar1(0.0, 500) == (0.0, 0.0)
    steps = np.random.default_rng(6).standard_normal(3_000)
    series = np.zeros(3_000)
    for i in range(1, 3_000):
        series[i] = 0.6 * series[i - 1] + steps[i]
    stationary, circular = block_length(series)
    assert stationary == pytest.approx(block_length_of_ar1(0.6, 3_000)[0], rel=0.5)
    assert circular == pytest.approx(1.5 ** (1 / 3) * stationary)


def test_the_reality_check_is_that_of_arch():
    returns = noise(7, 300, 12, 1.0) * np.geomspace(0.3, 3.0, 12) + 0.05
    peer = RealityCheck(np.zeros(300), -returns, block_size=4, reps=4_000, bootstrap="stationary", seed=3)
    peer.compute()
    assert reality_check(returns, block=4.0) == pytest.approx(peer.pvalues["upper"], abs=0.03)


def test_one_real_column_among_orthogonal_ones_has_the_closed_form():
    columns = np.linalg.qr(noise(8, 800, 10) - noise(8, 800, 10).mean(axis=0))[0] * math.sqrt(800)
    columns[:, 3] += 2.0 / math.sqrt(800)
    expected = 1.0 - norm.cdf(2.0) ** 10
    found = superior_predictive_ability(columns, block=1.0)
    assert found.best == 3
    assert found.statistic == pytest.approx(2.0, rel=1e-9)
    assert found.consistent == pytest.approx(expected, abs=0.015)
    assert reality_check(columns, block=1.0) == pytest.approx(expected, abs=0.015)


def test_bounds_are_in_order_and_bad_trials_do_not_hide_a_good_one():
    returns = noise(9, 300, 40)
    returns[:, 0] += 0.0008
    returns[:, 10:] -= 0.004
    found = superior_predictive_ability(returns)
    assert found.lower <= found.consistent <= found.upper
    assert 3.0 * found.consistent < found.upper < 0.1


def test_a_scale_of_one_trial_changes_nothing_but_whites_check():
    returns = noise(10, 250, 8) + 0.0008
    scaled = returns * np.array([1.0, 100.0, 1.0, 1.0, 0.01, 1.0, 1.0, 1.0])
    same, other = superior_predictive_ability(returns), superior_predictive_ability(scaled)
    assert other.statistic == pytest.approx(same.statistic, rel=1e-9)
    assert (other.lower, other.consistent, other.upper) == (same.lower, same.consistent, same.upper)
    assert superior_trials(scaled).tolist() == superior_trials(returns).tolist()


@pytest.mark.slow
def test_the_tests_reject_noise_as_often_as_they_say():
    p = [superior_predictive_ability(noise(seed, 200, 30), paths=1_000).consistent for seed in range(600)]
    found = [superior_trials(noise(seed, 200, 30), paths=1_000).size > 0 for seed in range(600)]
    # A binomial count of 600 at 5 % has a deviation of 0.9 %.
    assert np.mean(np.array(p) <= 0.05) == pytest.approx(0.05, abs=0.03)
    assert np.mean(found) == pytest.approx(0.05, abs=0.03)


def test_stepwise_finds_the_real_ones_and_they_are_not_all_the_best():
    returns = noise(11, 400, 25)
    returns[:, [2, 9]] += [0.003, 0.004]
    assert superior_trials(returns).tolist() == [2, 9]


# ---------------------------------------------------------------- confidence set
def plain_set(values, level, block, paths, seed):
    """Return the set, each statistic from the samples' means anew and pair by pair."""
    mean = values.mean(axis=0)
    drawn = np.concatenate(list(resampled_means(values, block, paths, seed))) - mean
    left = list(range(values.shape[1]))
    while len(left) > 1:
        observed, chance = {}, np.zeros(paths)
        for i in left:
            for j in left:
                if i != j:
                    apart = drawn[:, j] - drawn[:, i]
                    deviation = math.sqrt(np.mean(apart**2))
                    observed[i] = max(observed.get(i, -math.inf), (mean[j] - mean[i]) / deviation)
                    chance = np.maximum(chance, apart / deviation)
        worst = max(left, key=lambda i: observed[i])
        if np.mean(chance > observed[worst]) > level:
            break
        left.remove(worst)
    return left


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 7), st.floats(0.0, 0.01), st.sampled_from([0.05, 0.2]))
def test_the_confidence_set_is_that_of_the_plain_twin(seed, trials, ladder, level):
    returns = noise(seed, 90, trials) * np.linspace(1.0, 3.0, trials) + ladder * np.arange(trials)
    kept = model_confidence_set(returns, level=level, block=3.0, paths=60, seed=seed)
    assert kept.tolist() == plain_set(returns, level, 3.0, 60, seed)


def test_the_confidence_set_is_that_of_arch():
    returns = noise(11, 400, 25)
    returns[:, [2, 9]] += [0.003, 0.004]
    kept = model_confidence_set(returns, paths=2_000)
    assert 9 in kept
    assert 0 not in kept
    peer = MCS(-returns, size=0.05, reps=2_000, block_size=7, bootstrap="stationary", seed=0)
    peer.compute()
    assert kept.tolist() == sorted(peer.included)


def test_the_confidence_set_studentises_and_settles_what_is_certain():
    quiet = noise(12, 300, 12) * np.where(np.arange(12) == 4, 0.1, 1.0)
    quiet[:, 4] -= 0.0025  # worse by 2.5 errors of the loud ones' difference, by 25 of its own
    assert 4 not in model_confidence_set(quiet)
    one = noise(13, 300, 1)
    assert model_confidence_set(np.hstack([one, one, one])).tolist() == [0, 1, 2]
    assert model_confidence_set(np.hstack([one - 1e-5, one, one])).tolist() == [1, 2]  # the same but for a fee
    assert model_confidence_set(np.full((50, 3), 0.01)).tolist() == [0, 1, 2]
    assert model_confidence_set(np.full((50, 3), [0.01, 0.02, 0.02])).tolist() == [1, 2]
    assert model_confidence_set(one).tolist() == [0]


def test_the_confidence_set_holds_the_best_as_often_as_it_says():
    steps = 0.001 * np.arange(8)
    held = [7 in model_confidence_set(noise(seed, 150, 8) + steps, level=0.2, paths=200) for seed in range(300)]
    assert np.mean(held) > 0.8 - 4 * math.sqrt(0.2 * 0.8 / 300)


def test_a_search_that_never_trades_has_no_p_value():
    found = superior_predictive_ability(np.zeros((100, 3)))
    assert math.isnan(found.consistent)
    assert superior_trials(np.zeros((100, 3))).size == 0


@pytest.mark.parametrize("test", [reality_check, superior_predictive_ability, superior_trials, model_confidence_set])
def test_what_the_tests_cannot_use_is_refused(test):
    with pytest.raises(InvalidInput, match="must be finite"):
        test(np.full((10, 2), np.inf))
    with pytest.raises(InvalidInput, match=r"performance must be \(days, trials\)"):
        test(np.ones(10))
    with pytest.raises(InvalidInput, match="paths must be at least 1"):
        test(noise(1, 10, 2), paths=0)
    with pytest.raises(InvalidInput, match="block must be at least 1"):
        test(noise(1, 10, 2), block=0.0)


# ---------------------------------------------------------------- figures
def test_figures_of_a_selection():
    returns = noise(14, 200, 12)
    returns[:, 5] += 0.004
    found = snooping_figures(returns, paths=1_000, samples=20)
    assert tuple(found) == NAMES
    assert found["spa_p"] < 0.01
    assert found["superior_trials"] == 1.0
    assert found["pbo"] < 0.05
    assert found["pbo_p05"] < found["pbo_p95"] < 0.2
    assert found["effective_trials"] == effective_trials(returns).by_spread
    assert found["pbo_p_value"] < 0.2
    flat = [snooping_figures(noise(s, 200, 12), paths=100, samples=20)["pbo_p_value"] for s in range(12)]
    assert 0.25 < np.mean(flat) < 0.75  # uniform: a mean of twelve is off by 0.083
    table = described(found)
    assert set(table["figure"]) == set(NAMES)
    assert table["cannot"].str.len_chars().min() > 5
    assert all(math.isnan(value) for value in snooping_figures(returns[:20]).values())
