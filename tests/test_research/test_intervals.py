"""Intervals by resampling, and champion against challenger."""

import math

import numpy as np
import pytest

from research.errors import InvalidInput
from research.validation.challenge import challenge
from research.validation.intervals import (
    DAILY,
    PER_TRADE,
    backtest_intervals,
    bootstrap_intervals,
    max_drawdown_of,
    mean_of,
    payoff_ratio_of,
    profit_factor_of,
    stationary_positions,
    win_rate_of,
)

INF = math.inf


def test_blocks_follow_the_record_and_begin_anywhere():
    n, block = 50, 5.0
    positions = stationary_positions(n, 4_000, block, np.random.default_rng(1))
    follows = (positions[:, 1:] - positions[:, :-1]) % n == 1
    # A position follows the one before it unless a block begins, and then by chance in one of n.
    assert follows.mean() == pytest.approx(1.0 - 1.0 / block * (1.0 - 1.0 / n), abs=0.003)
    assert np.bincount(positions.ravel(), minlength=n).std() < 0.03 * positions.size / n


def test_a_block_of_one_draws_each_position_alone():
    positions = stationary_positions(8, 20_000, 1.0, np.random.default_rng(2))
    assert np.corrcoef(positions[:, 0], positions[:, 1])[0, 1] == pytest.approx(0.0, abs=0.03)


def test_the_interval_of_a_mean_covers_as_often_as_it_says():
    hits = 0
    for seed in range(300):
        record = np.random.default_rng(seed).normal(1.0, 2.0, 60)
        low, high = bootstrap_intervals({"x": record}, {"mean": mean_of("x")}, paths=400, block=1.0, seed=seed)["mean"]
        hits += low <= 1.0 <= high
    assert 0.90 <= hits / 300 <= 0.975  # a percentile bootstrap of 60 values covers a little less than 95 %


def test_a_wider_level_contains_a_narrower_one_and_blocks_widen_a_dependent_record():
    steps = np.random.default_rng(3).normal(0.0, 1.0, 400)
    record = {"x": np.convolve(steps, np.ones(20), "valid")}
    narrow, wide, alone = (
        bootstrap_intervals(record, {"mean": mean_of("x")}, paths=2_000, **settings)["mean"]
        for settings in ({"block": 20.0}, {"block": 20.0, "level": 0.99}, {"block": 1.0})
    )
    assert wide[0] < narrow[0] < narrow[1] < wide[1]
    assert narrow[1] - narrow[0] > 2.0 * (alone[1] - alone[0])


def test_statistics_of_samples():
    sample = {"pnl": np.array([[1.0, -2.0, 3.0, 0.0], [1.0, 2.0, 0.0, 0.0], [-1.0, -1.0, -2.0, 0.0], [0.0] * 4])}
    assert win_rate_of(sample).tolist() == [0.5, 0.5, 0.0, 0.0]
    assert profit_factor_of(sample)[:3].tolist() == [2.0, INF, 0.0]
    assert payoff_ratio_of(sample)[0] == 1.0
    assert np.isnan(profit_factor_of(sample)[3])
    assert np.isnan(payoff_ratio_of(sample)[1:]).all()
    falls = max_drawdown_of({"ret": np.array([[-0.5, 0.2, 1.0], [0.1, 0.1, 0.1]])})
    assert falls.tolist() == [-0.5, 0.0]  # the first day's loss counts


def test_a_record_without_losses_keeps_an_infinite_end():
    found = backtest_intervals(
        np.full(30, 0.01), np.ones(30), np.array([1.0] * 29 + [-1e-9]), np.full(30, 2.0), paths=300
    )
    assert set(found) == set(DAILY) | set(PER_TRADE)
    assert found["profit_factor"][1] == INF
    assert found["holding_hours"] == (2.0, 2.0)
    assert all(math.isnan(end) for end in found["sharpe"])  # equal days have no ratio


def test_too_short_a_record_has_no_interval():
    assert all(math.isnan(e) for e in bootstrap_intervals({"x": np.ones(1)}, {"m": mean_of("x")})["m"])


@pytest.mark.parametrize(
    ("more", "subject"),
    [({"paths": 0}, "paths"), ({"level": 1.0}, "level"), ({"block": 0.5}, "block")],
)
def test_settings_out_of_range_are_refused(more, subject):
    with pytest.raises(InvalidInput) as caught:
        bootstrap_intervals({"x": np.ones(5)}, {"m": mean_of("x")}, **more)
    assert caught.value.subject == subject
    with pytest.raises(InvalidInput, match="one length"):
        bootstrap_intervals({"x": np.ones(5), "y": np.ones(4)}, {})


def test_a_challenger_that_is_the_champion_is_neither_better_nor_worse():
    days = np.random.default_rng(4).normal(0.001, 0.01, 90)
    found = challenge(days, days, paths=500)
    assert (found.difference, found.low, found.high, found.probability) == (0.0, 0.0, 0.0, 0.5)
    assert found.correlation == pytest.approx(1.0)


def test_a_difference_that_both_share_the_noise_of_is_seen():
    generator = np.random.default_rng(5)
    market = generator.normal(0.0, 0.02, 200)
    champion, challenger = market + 0.001, market + generator.normal(0.0, 0.001, 200) + 0.002
    together = challenge(champion, challenger, paths=2_000)
    apart = challenge(champion, generator.permutation(challenger), paths=2_000)
    assert 0.0 < together.low < together.difference < together.high
    assert apart.low < 0.0 < apart.high  # the same returns on other days prove nothing


@pytest.mark.parametrize(
    ("champion", "challenger", "subject"),
    [([0.1] * 5, [0.1] * 4, "challenger"), ([0.1, 0.2], [0.1, 0.2], "challenger"),
     ([0.1, math.nan, 0.1], [0.1] * 3, r"champion[1]"), ([0.1] * 3, [0.1, 0.1, INF], r"challenger[2]")],
)  # fmt: skip
def test_series_that_cannot_be_compared_are_refused(champion, challenger, subject):
    with pytest.raises(InvalidInput) as caught:
        challenge(champion, challenger)
    assert caught.value.subject == subject


def test_a_series_that_does_not_vary_has_no_ratio_to_compare():
    found = challenge([0.0] * 10, np.linspace(-0.01, 0.02, 10))
    assert math.isnan(found.sharpe_champion)
    assert math.isnan(found.probability)
