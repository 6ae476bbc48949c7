"""Sharpe inference against the numbers printed in the papers."""

import math
from statistics import NormalDist

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import integrate, stats

from research.errors import InvalidInput
from research.metrics.effective_trials import (
    effective_trials,
    effective_trials_by_correlation,
    effective_trials_by_eigenvalues,
)
from research.metrics.inference import (
    deflated_sharpe_ratio,
    effective_number_of_trials,
    expected_maximum_sharpe,
    minimum_backtest_length,
    minimum_track_record_length,
    probabilistic_sharpe_ratio,
    probabilistic_sharpe_ratio_from_returns,
    sharpe_moments,
)


@pytest.mark.parametrize(
    ("sharpe", "n_obs", "skew", "kurtosis", "printed"),
    [
        # Bailey & Lopez de Prado 2012, "The Sharpe Ratio Efficient Frontier", p. 10.
        (0.458, 24, 0.0, 3.0, 0.982),
        (0.458, 24, -2.448, 10.164, 0.913),
        (0.45755, 36, -2.448, 10.164, 0.953),  # printed from the unrounded ratio
    ],
)
def test_psr_gives_the_printed_probability(sharpe, n_obs, skew, kurtosis, printed):
    assert round(probabilistic_sharpe_ratio(sharpe, n_obs, skew, kurtosis), 3) == printed


def test_psr_from_returns_uses_ddof_1_and_biased_raw_moments():
    returns = np.random.default_rng(3).standard_t(5, size=60) * 0.02 + 0.004
    expected = probabilistic_sharpe_ratio(
        returns.mean() / returns.std(ddof=1), 60, stats.skew(returns), stats.kurtosis(returns, fisher=False), 0.05
    )
    # Two ways of summing the same moments: a few ulps.
    assert probabilistic_sharpe_ratio_from_returns(returns, 0.05) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize(
    ("periods", "skew", "kurtosis", "printed_years"),
    # Bailey & Lopez de Prado 2012, p. 11: annual Sharpe 2 against 1 at 95 %.
    [(252, 0.0, 3.0, 2.73), (52, 0.0, 3.0, 2.83), (12, 0.0, 3.0, 3.24), (12, -0.72, 5.78, 4.99)],
)
def test_minimum_track_record_gives_the_printed_years(periods, skew, kurtosis, printed_years):
    root = math.sqrt(periods)
    assert round(minimum_track_record_length(2 / root, 1 / root, skew, kurtosis, 0.95) / periods, 2) == printed_years


@pytest.mark.parametrize(("n", "printed"), [(10, 1.57), (1000, 3.26)])
def test_expected_maximum_gives_the_printed_approximation(n, printed):
    # Bailey & Lopez de Prado 2014, eq. 1; Lopez de Prado 2018, "10 reasons".
    assert round(expected_maximum_sharpe(n), 2) == printed


@pytest.mark.parametrize(
    ("n", "tabulated"),
    # Harter 1961, Biometrika 48: expected values of normal order statistics. Closed forms: 1/sqrt(pi), 3/(2 sqrt(pi)).
    [(2, 1 / math.sqrt(math.pi)), (3, 1.5 / math.sqrt(math.pi)), (5, 1.16296), (10, 1.53875), (100, 2.50759)],
)
def test_exact_maximum_is_the_normal_order_statistic(n, tabulated):
    assert expected_maximum_sharpe(n, exact=True) == pytest.approx(tabulated, abs=6e-6)  # five printed digits


@pytest.mark.parametrize("n", [1, 1.7, 7, 3_000, 1_000_000])
def test_exact_maximum_equals_an_adaptive_integral(n):
    density = lambda x: x * n * math.exp(stats.norm.logpdf(x) + (n - 1) * stats.norm.logcdf(x))  # noqa: E731
    expected = integrate.quad(density, -12, 12, points=[0, 2, 4, 6], limit=400)[0]
    assert expected_maximum_sharpe(n, exact=True) == pytest.approx(expected, abs=1e-7)  # quad's own error bound


def test_one_trial_selects_nothing():
    assert expected_maximum_sharpe(1, variance=0.4) == 0.0
    assert expected_maximum_sharpe(1, variance=0.4, mean=0.1) == 0.1
    assert deflated_sharpe_ratio(0.1, 200, 0.0, 3.0, 1, 0.4) == probabilistic_sharpe_ratio(0.1, 200)


@given(st.floats(1.0, 3.0), st.floats(1.0, 1e6))
@settings(max_examples=60)
def test_more_trials_never_lower_the_bar(low, factor):
    assert 0.0 <= expected_maximum_sharpe(low) <= expected_maximum_sharpe(low * factor) + 1e-12


def test_dsr_gives_the_printed_example():
    # Bailey & Lopez de Prado 2014, pp. 9-10: annual Sharpe 2.5, variance 0.5, 1,250 days of 250 a year.
    def dsr(n, skew=-3.0, kurtosis=10.0):
        return deflated_sharpe_ratio(2.5 / math.sqrt(250), 1250, skew, kurtosis, n, 0.5 / 250)

    assert round(expected_maximum_sharpe(100, 0.5 / 250), 4) == 0.1132
    assert round(dsr(100), 4) == 0.9004
    assert round(dsr(46), 4) == 0.9505
    assert round(dsr(88, 0.0, 3.0), 4) == 0.9505
    assert dsr(88, 0.0, 3.0) >= 0.95 > dsr(89, 0.0, 3.0)


def test_minimum_backtest_length_gives_the_printed_years():
    # Bailey, Borwein, Lopez de Prado & Zhu 2014, theorem 3.1: "5 years ... no more than 45".
    assert minimum_backtest_length(45, 1.0) == pytest.approx(5.0, abs=0.006)
    assert minimum_backtest_length(7, 1.0) == pytest.approx(1.923, abs=5e-4)  # the paper rounds up to 2
    assert minimum_backtest_length(45, 1.0) < 2 * math.log(45)


def test_effective_trials_run_from_all_to_one():
    assert effective_number_of_trials(100, 0.3) == pytest.approx(70.3, rel=1e-15)
    assert effective_number_of_trials(100, 1.0) == 1.0
    assert effective_number_of_trials(100, -0.2) == effective_number_of_trials(100, 0.0) == 100.0


def test_track_record_length_is_where_psr_reaches_the_confidence():
    n = minimum_track_record_length(0.1, 0.02, -0.5, 6.0, 0.975)
    assert probabilistic_sharpe_ratio(0.1, n, -0.5, 6.0, 0.02) == pytest.approx(0.975, rel=1e-12)
    assert minimum_track_record_length(0.02, 0.02) == math.inf


def test_psr_is_calibrated_on_normal_noise():
    rng = np.random.default_rng(11)
    scores = [probabilistic_sharpe_ratio_from_returns(rng.standard_normal(250)) for _ in range(2000)]
    share = np.mean(np.array(scores) > 0.95)
    assert abs(share - 0.05) < 4 * math.sqrt(0.05 * 0.95 / 2000)  # four standard errors of 2,000 draws


def test_a_constant_series_has_no_sharpe_ratio():
    moments = sharpe_moments(np.full(50, 0.001))
    assert math.isnan(moments.sharpe)
    assert math.isnan(probabilistic_sharpe_ratio_from_returns(np.full(50, 0.001)))
    assert math.isnan(deflated_sharpe_ratio(0.1, 100, 0.0, 3.0, 10, math.nan))


@pytest.mark.parametrize(
    "call",
    [
        lambda: probabilistic_sharpe_ratio(0.1, 1),
        lambda: probabilistic_sharpe_ratio(0.458, 24, -2.448, 10.164 - 6.0),  # below Pearson's bound 1 + skew^2
        lambda: probabilistic_sharpe_ratio_from_returns([0.1]),
        lambda: probabilistic_sharpe_ratio_from_returns([0.1, math.nan, 0.2]),
        lambda: expected_maximum_sharpe(0),
        lambda: expected_maximum_sharpe(math.nan),
        lambda: expected_maximum_sharpe(10, variance=-1.0),
        lambda: minimum_track_record_length(0.1, confidence=1.0),
        lambda: minimum_backtest_length(10, 0.0),
        lambda: effective_number_of_trials(10, 1.5),
    ],
)
def test_bad_input_is_refused(call):
    with pytest.raises(InvalidInput):
        call()


def test_psr_without_skill_is_one_half():
    assert probabilistic_sharpe_ratio(0.0, 500, -1.0, 8.0) == 0.5
    assert probabilistic_sharpe_ratio(0.1, 101) == NormalDist().cdf(0.1 * math.sqrt(100 / 1.005))


# ---------------------------------------------------------------- trials that are alike
ESTIMATES = (
    lambda returns: effective_trials(returns, paths=200).by_error,
    effective_trials_by_eigenvalues,
    effective_trials_by_correlation,
)


@pytest.mark.parametrize("estimate", ESTIMATES)
def test_copies_of_one_trial_are_one_and_flat_ones_none(estimate):
    one = np.random.default_rng(1).normal(0.001, 0.01, (90, 1))
    copies = one @ np.array([[1.0, 2.0, 1e-5, 7.0, 1e5]])
    flat = np.zeros((90, 3))
    assert estimate(copies) == 1.0
    assert estimate(np.hstack([flat, copies, flat + 0.01])) == 1.0
    assert estimate(one) == 1.0
    assert math.isnan(estimate(flat))
    assert math.isnan(estimate(np.empty((5, 0))))


@pytest.mark.parametrize("estimate", ESTIMATES)
@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), days=st.integers(4, 40), trials=st.integers(2, 60))
def test_effective_trials_are_at_least_one_and_at_most_all(estimate, seed, days, trials):
    generator = np.random.default_rng(seed)
    returns = generator.normal(size=(days, trials)) + 2.0 * generator.random() * generator.normal(size=(days, 1))
    found = estimate(returns)
    assert 1.0 <= found <= trials + 1e-9
    # A mean, a positive scale and the order of trials say nothing of how alike they are: equal but for rounding.
    other = (returns * (1.0 + generator.random(trials)) + generator.normal(size=trials))[:, ::-1]
    assert estimate(other) == pytest.approx(found, rel=1e-6)


def test_what_trials_share_lowers_their_number_once():
    generator = np.random.default_rng(2)
    own, shared = generator.normal(size=(800, 60)), generator.normal(size=(800, 1))
    alike = math.sqrt(0.2) * own + math.sqrt(0.8) * shared
    found = effective_trials(alike)
    assert found.by_error < 6.0 < effective_trials_by_correlation(alike)
    # The spread across trials has already lost what they share: beside it all of them count.
    assert found.by_spread > 50.0
    assert effective_trials(own).by_error > 50.0


def test_effective_trials_repeat_by_seed_and_do_not_depend_on_the_chunks(monkeypatch):
    returns = np.random.default_rng(3).normal(size=(50, 20))
    found = effective_trials(returns, paths=500, seed=4)
    assert effective_trials(returns, paths=500, seed=4) == found
    assert effective_trials(returns, paths=500, seed=5) != found
    monkeypatch.setattr("research.metrics.effective_trials._AT_ONCE", 700)
    assert effective_trials(returns, paths=500, seed=4) == pytest.approx(found, rel=1e-9)  # another order of sums


@pytest.mark.parametrize(
    "estimate", [effective_trials, effective_trials_by_eigenvalues, effective_trials_by_correlation]
)
def test_effective_trials_refuse_what_is_no_matrix(estimate):
    hole = np.array([[1.0, 2.0], [0.5, math.nan]])
    for returns, subject in ((np.ones(5), "returns"), (np.ones((1, 5)), "returns"), (hole, "returns[1, 1]")):
        with pytest.raises(InvalidInput) as caught:
            estimate(returns)
        assert caught.value.subject == subject
    with pytest.raises(InvalidInput):
        effective_trials(np.eye(3), paths=0)
