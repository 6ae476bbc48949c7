"""Ratios, bet sizes and strategy risk against published tables, brute force and their own inverses."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from research import metrics
from research.errors import InvalidInput
from research.metrics import bet_sizing, strategy_risk

# Bacon (2008), monthly returns in percent, as in the help pages of PerformanceAnalytics.
MONTHLY = (
    0.3, 2.6, 1.1, -1.0, 1.5, 2.5, 1.6, 6.7, -1.4, 4.0, -0.5, 8.1, 4.0, -3.7, -6.1, 1.7, -4.9, -2.2, 7.0, 5.8, -6.5,
    2.4, -0.5, -0.9,
)  # fmt: skip
BACON = np.array(MONTHLY) / 100.0
PNL = [120.0, -80.0, 45.0, -60.0, 200.0, -95.0, 30.0, 75.0, -40.0, 150.0, -110.0, 60.0]


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (metrics.downside_potential(BACON, 0.005), 0.0137),
        (metrics.omega(BACON, 0.005) - 1.0, 0.2917),
        (metrics.adjusted_sharpe(BACON, 12), 0.7591),
        (metrics.martin_ratio(BACON, 12), 1.6945),
        (metrics.pain_ratio(BACON, 12), 2.5926),
        (metrics.d_ratio(BACON), 0.4013),
        (metrics.gain_loss_ratio(BACON), metrics.omega(BACON)),
    ],
)
def test_bacons_table(found, expected):
    assert found == pytest.approx(expected, abs=1e-4)


def test_tails_of_a_normal_sample_agree_with_its_distribution():
    from scipy.stats import norm

    sample = norm.ppf((np.arange(100_000) + 0.5) / 100_000, 0.001, 0.02)
    assert metrics.gaussian_value_at_risk(sample) == pytest.approx(metrics.value_at_risk(sample), rel=1e-3)
    assert metrics.tail_ratio(sample - 0.001) == pytest.approx(1.0, rel=1e-9)
    assert metrics.tail_ratio(sample) > 1.0


def test_figures_that_do_not_exist_are_nan_and_gains_without_loss_infinite():
    for name in (
        "tail_ratio",
        "gaussian_value_at_risk",
        "downside_potential",
        "gain_loss_ratio",
        "d_ratio",
        "pain_index",
    ):
        assert math.isnan(getattr(metrics, name)([])), name
    assert metrics.gain_loss_ratio([0.1, 0.2]) == math.inf
    assert metrics.d_ratio([0.1, 0.2]) == 0.0
    assert metrics.pain_ratio([0.1, 0.2], 12) == math.inf
    assert math.isnan(metrics.martin_ratio([0.0, 0.0], 12))
    assert math.isnan(metrics.adjusted_sharpe([0.01, 0.01], 12))


def test_burke_counts_each_drawdown_once():
    returns = [0.1, -0.1, 0.2, -0.05, -0.05, 0.3]
    depths = [-0.1, 0.95 * 0.95 - 1.0]
    yearly = np.prod(1.0 + np.array(returns)) ** 2 - 1.0
    assert metrics.burke_ratio(returns, 12) == pytest.approx(yearly / math.hypot(*depths), rel=1e-12)


def test_trades_in_units_of_risk():
    assert metrics.expectancy_ratio(PNL) == pytest.approx(0.31926406926406914, rel=1e-12)
    assert bet_sizing.kelly_of_trades(PNL) == pytest.approx(0.2530637254901961, rel=1e-12)
    assert metrics.system_quality_number(PNL, ddof=0) == pytest.approx(0.8717176028945975, rel=1e-12)
    assert metrics.system_quality_number(PNL) == pytest.approx(0.8346060633196627, rel=1e-12)


@given(st.floats(0.05, 0.95), st.floats(0.2, 5.0), st.floats(0.2, 2.0))
def test_no_fraction_grows_faster_than_kellys(p_win, gain, loss):
    best = bet_sizing.kelly_fraction(p_win, gain, loss)
    grid = np.linspace(max(best - 0.1, -0.9 / gain), min(best + 0.1, 0.99 / loss), 41)
    growth = [bet_sizing.kelly_growth(f, p_win, gain, loss) for f in grid]
    assert max(growth) <= bet_sizing.kelly_growth(best, p_win, gain, loss) + 1e-15
    edge = bet_sizing.zero_growth_fraction(p_win, gain, loss)
    assert (edge == 0.0) == (best <= 0.0)
    if best > 1e-3:
        assert best < edge < 1.0 / loss
        below, above = (bet_sizing.kelly_growth(edge * (1.0 + d), p_win, gain, loss) for d in (-1e-12, 1e-12))
        assert below >= -1e-15
        assert above <= 1e-15


def test_thorps_examples():
    assert bet_sizing.kelly_growth(0.06, 0.53) == pytest.approx(0.0018010815582060503, rel=1e-12)
    found = bet_sizing.continuous_kelly(0.11, 0.15, 0.06)
    assert (found.fraction, found.growth, found.deviation) == pytest.approx((2.0 / 0.9, 0.104 / 0.9, 1.0 / 3.0))
    assert bet_sizing.kelly_growth_share(0.5) == 0.75
    assert bet_sizing.kelly_growth_share(2.0) == 0.0


def test_several_assets_maximise_the_growth_of_a_diffusion():
    drift, spread = np.array([0.1, 0.2, 0.05]), np.array([[0.04, 0.01, 0.0], [0.01, 0.09, -0.02], [0.0, -0.02, 0.05]])
    best = bet_sizing.kelly_weights(drift, spread, 0.02)

    def growth(weights):
        return weights @ (drift - 0.02) - 0.5 * weights @ spread @ weights

    around = np.random.default_rng(1).normal(0.0, 0.3, (200, 3)) + best
    assert max(growth(w) for w in around) < growth(best)
    with pytest.raises(InvalidInput, match="positive definite"):
        bet_sizing.kelly_weights([0.1, 0.1], [[1.0, 2.0], [2.0, 1.0]])


def test_the_fraction_of_returns_is_mean_over_variance():
    assert bet_sizing.kelly_of_returns(BACON) == pytest.approx(BACON.mean() / BACON.var(ddof=1), rel=1e-12)
    assert math.isnan(bet_sizing.kelly_of_returns([0.01, 0.01]))


def test_sizes_from_probabilities_are_monotone_and_odd():
    p = np.linspace(0.01, 0.99, 99)
    sizes = bet_sizing.probability_bet_size(p)
    assert (np.diff(sizes) > 0.0).all()
    assert np.allclose(sizes, -sizes[::-1], atol=1e-12)
    assert bet_sizing.probability_bet_size([0.0, 1.0]).tolist() == [-1.0, 1.0]
    assert float(bet_sizing.probability_bet_size(0.6)) == pytest.approx(0.1617435136141736, rel=1e-12)
    with pytest.raises(InvalidInput, match="probability"):
        bet_sizing.probability_bet_size(1.2)


@given(st.floats(0.3, 0.8), st.floats(10.0, 5_000.0), st.floats(0.2, 3.0), st.floats(-3.0, -0.2))
def test_precision_bets_and_ratio_are_each_others_inverse(precision, bets, gain, loss):
    ratio = strategy_risk.bets_sharpe(precision, bets, gain, loss)
    if abs(ratio) > 1e-3:
        assert strategy_risk.bets_needed(precision, ratio, gain, loss) == pytest.approx(bets, rel=1e-6)
        assert strategy_risk.precision_needed(ratio, bets, gain, loss) == pytest.approx(precision, rel=1e-6)


def test_a_strategy_fails_as_often_as_its_precision_is_too_low():
    rng = np.random.default_rng(5)
    returns = np.where(rng.random(4_000) < 0.55, 0.01, -0.01)
    often = strategy_risk.failure_probability(returns, 400.0, 3.0, years=2.0)
    seldom = strategy_risk.failure_probability(returns, 400.0, 1.0, years=2.0)
    few = [0.01, 0.01, -0.01, 0.01, 0.01, -0.01]
    assert strategy_risk.failure_probability(few, 5_000.0, 2.0) > 0.01  # six bets are no certainty
    assert bet_sizing.kelly_growth(-1.0, 0.4) == -math.inf
    needed = strategy_risk.precision_needed(3.0, 400.0, 0.01, -0.01)
    seen = rng.binomial(800, float((returns > 0).mean()), 200_000) / 800
    assert often == pytest.approx(float((seen < needed).mean()), abs=0.02)
    assert seldom < 0.2 < often
    with pytest.raises(InvalidInput, match="gains and losses"):
        strategy_risk.failure_probability([0.01, 0.02], 400.0, 1.0)


@pytest.mark.parametrize(
    ("call", "subject"),
    [
        (lambda: bet_sizing.kelly_fraction(1.2), "p_win"),
        (lambda: bet_sizing.kelly_fraction(0.5, gain=0.0), "gain"),
        (lambda: bet_sizing.continuous_kelly(0.1, 0.0), "deviation"),
        (lambda: strategy_risk.bets_sharpe(0.5, 10.0, gain=-1.0, loss=1.0), "gain"),
        (lambda: strategy_risk.bets_sharpe(1.0, 10.0), "precision"),
        (lambda: strategy_risk.precision_needed(1.0, 0.0), "bets"),
    ],
)
def test_impossible_bets_are_refused_by_name(call, subject):
    with pytest.raises(InvalidInput, match=subject):
        call()
