"""Statistics against independent implementations: statsmodels, scipy, and plain twins written from the definitions."""

import math
from itertools import combinations
from statistics import NormalDist

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import integrate, optimize, stats
from statsmodels.tsa.stattools import acf, adfuller

from research.errors import InvalidInput
from research.metrics import multiple_testing
from research.metrics.distribution_tests import (
    augmented_dickey_fuller,
    jarque_bera,
    kolmogorov_smirnov,
    population_stability_index,
)
from research.metrics.drawdown_theory import drawdown_q, expected_maximum_drawdown, triple_penance
from research.metrics.effective_trials import (
    effective_trials,
    effective_trials_by_correlation,
    effective_trials_by_eigenvalues,
)
from research.metrics.inference import deflated_sharpe_ratio, expected_maximum_sharpe
from research.metrics.multiple_testing import haircut_sharpe
from research.metrics.sharpe_tests import (
    annualisation_factor,
    annualisation_factor_of_ar1,
    autocorrelation_adjusted_sharpe,
    minimum_track_record_length_at_null,
    most_trials_at_confidence,
    null_variance,
    probabilistic_sharpe_ratio_at_null,
    sharpe_test_power,
    trial_moments,
)

P_VALUES = st.lists(st.floats(0.0, 1.0), min_size=1, max_size=12)


# ---------------------------------------------------------------- Sharpe ratios
@given(st.integers(1, 40), st.floats(-0.9, 0.9))
@settings(max_examples=60)
def test_the_factor_is_that_of_the_whole_matrix_of_correlations(periods, rho):
    lags = np.abs(np.subtract.outer(np.arange(periods), np.arange(periods)))
    assert annualisation_factor_of_ar1(periods, rho) == pytest.approx(periods / math.sqrt((rho**lags).sum()), rel=1e-9)


def test_the_adjusted_ratio_takes_the_correlations_of_statsmodels():
    returns = np.cumsum(np.random.default_rng(1).normal(0.0, 0.01, 300))[::3] + np.random.default_rng(2).random(100)
    rho = acf(returns, nlags=11, fft=False)[1:]
    expected = (
        returns.mean() / returns.std(ddof=1) * 12 / math.sqrt(12 + 2 * sum((12 - k) * rho[k - 1] for k in range(1, 12)))
    )
    assert autocorrelation_adjusted_sharpe(returns, 12) == pytest.approx(expected, rel=1e-10)
    assert annualisation_factor(12, rho) * returns.mean() / returns.std(ddof=1) == pytest.approx(expected, rel=1e-10)


def test_moments_of_trials_are_those_of_scipy():
    returns = np.random.default_rng(3).standard_t(4, (80, 6)) * 0.01
    found = trial_moments(returns)
    assert found.sharpe == pytest.approx(returns.mean(axis=0) / returns.std(axis=0, ddof=1), rel=1e-12)
    assert found.skew == pytest.approx(stats.skew(returns), rel=1e-9)
    assert found.kurtosis == pytest.approx(stats.kurtosis(returns, fisher=False), rel=1e-9)


@given(st.floats(0.02, 0.2), st.floats(-1.0, 1.0), st.floats(3.0, 9.0), st.floats(-0.5, 0.5), st.floats(0.6, 0.99))
@settings(max_examples=60)
def test_the_length_of_2025_is_where_its_probability_reaches_the_confidence(gap, skew, kurtosis, rho, confidence):
    n = minimum_track_record_length_at_null(0.05 + gap, 0.05, skew, kurtosis, confidence, rho)
    assert probabilistic_sharpe_ratio_at_null(0.05 + gap, n, skew, kurtosis, 0.05, rho) == pytest.approx(
        confidence, rel=1e-9
    )


@given(st.floats(0.01, 0.5), st.integers(5, 500), st.floats(0.001, 0.3))
@settings(max_examples=60)
def test_power_where_nothing_is_to_be_found_is_the_level(null, n, level):
    assert sharpe_test_power(null, null, n, -0.5, 6.0, level) == pytest.approx(level, rel=1e-9)
    assert sharpe_test_power(null, null + 0.1, n, 0.0, 3.0, level) > level


@pytest.mark.parametrize(("sharpe", "skew", "kurtosis"), [(0.10, 0.0, 3.0), (0.13, -1.0, 7.0), (0.055, 0.4, 4.0)])
def test_the_most_trials_are_those_of_a_count_upwards(sharpe, skew, kurtosis):
    n = 0
    while deflated_sharpe_ratio(sharpe, 1000, skew, kurtosis, n + 1, 0.0009) >= 0.9:
        n += 1
    assert n > 0
    assert most_trials_at_confidence(sharpe, 1000, skew, kurtosis, 0.0009, 0.9) == n


# ---------------------------------------------------------------- many tests
@given(P_VALUES)
@settings(max_examples=100)
def test_holm_rejects_what_its_own_procedure_rejects(p_values):
    adjusted = multiple_testing.holm(p_values)
    for level in (0.01, 0.05, 0.3):
        order = sorted(range(len(p_values)), key=lambda i: p_values[i])
        rejected = set()
        for step, i in enumerate(order):
            if p_values[i] * (len(p_values) - step) > level:
                break
            rejected.add(i)
        assert set(np.flatnonzero(adjusted <= level)) == rejected


@given(P_VALUES, st.booleans())
@settings(max_examples=100)
def test_step_up_rejects_what_its_own_procedure_rejects(p_values, is_dependent):
    n = len(p_values)
    harmonic = sum(1.0 / i for i in range(1, n + 1)) if is_dependent else 1.0
    adjust = multiple_testing.benjamini_yekutieli if is_dependent else multiple_testing.benjamini_hochberg
    adjusted = adjust(p_values)
    for level in (0.0101, 0.0503, 0.3007):
        ordered = sorted(p_values)
        most = max((k for k in range(1, n + 1) if ordered[k - 1] <= k * level / (n * harmonic)), default=0)
        bound = ordered[most - 1] if most else -1.0
        assert [bool(a <= level) for a in adjusted] == [p <= bound for p in p_values]


@given(st.floats(0.3, 2.5), st.floats(1.0, 10.0), st.integers(1, 300))
@settings(max_examples=60, deadline=None)
def test_the_haircut_ratio_alone_has_the_p_value_of_all_tests(annual, years, tests):
    found = haircut_sharpe(annual, years, tests)
    assert found.p_multiple == pytest.approx(1.0 - (1.0 - found.p_single) ** tests, rel=1e-6, abs=1e-12)
    alone = 2.0 * stats.norm.sf(found.sharpe * math.sqrt(years))
    assert alone == pytest.approx(found.p_multiple, rel=1e-9)
    assert 0.0 <= found.haircut <= 1.0


def test_a_p_value_too_small_for_a_float_cuts_nothing_off():
    for found in (haircut_sharpe(10.0, 20.0, 100), haircut_sharpe(10.0, 20.0, 100, method="bonferroni", n_obs=7_300)):
        assert (found.p_single, found.sharpe, found.haircut) == (0.0, 10.0, 0.0)
    assert haircut_sharpe(1.0, 2.0, 1).haircut == 0.0


# ---------------------------------------------------------------- drawdowns
def survival(depth, drift, length):
    """Return the probability that a unit Brownian motion has no drawdown of ``depth``, by eigenfunctions.

    The drawdown is a motion with drift ``-drift``, reflected at 0 and stopped at ``depth``.
    """
    a = drift * depth
    total = 0.0
    if a > 1.0 + 1e-9:  # the lowest eigenfunction is then hyperbolic
        # The root lies just below a where a is large.
        eta = optimize.brentq(lambda x: a * math.tanh(x) - x, 1e-9, a)
        # a^2 - eta^2 is a^2 / cosh(eta)^2, without the cancellation.
        rate = (drift / math.cosh(eta)) ** 2 / 2.0
        weight = math.sinh(eta) * math.exp(-a) * eta * math.cosh(eta) ** 2
        weight /= a * a * (math.sinh(2 * eta) / (4 * eta) - 0.5)
        total += weight * math.exp(-rate * length)
    for n in range(0 if a <= 1.0 else 1, 60):
        low, high = (n * math.pi + 1e-9, (n + 1) * math.pi - 1e-9) if n else (1e-6, math.pi - 1e-9)
        theta = optimize.brentq(lambda x: a * math.sin(x) - x * math.cos(x), low, high, xtol=1e-14)
        decay = math.exp(-(drift**2 + (theta / depth) ** 2) * length / 2.0)
        total += (
            math.sin(theta)
            * math.exp(-a)
            * theta
            / ((a * a + theta * theta) * (0.5 - math.sin(2 * theta) / (4 * theta)))
            * decay
        )
        if decay < 1e-16:
            break
    return total


@pytest.mark.parametrize(("drift", "length"), [(0.3, 1.0), (-0.3, 1.0), (1.5, 2.0), (-1.0, 2.0), (0.01, 4.0)])
def test_the_expected_drawdown_is_the_integral_of_the_eigenfunctions(drift, length):
    # Below a depth of 0.2 roots of the time the motion has certainly fallen (1e-13).
    root = math.sqrt(length)
    expected = (
        0.2 * root
        + integrate.quad(
            lambda depth: 1.0 - survival(depth, drift, length), 0.2 * root, 9.0 * root, epsabs=1e-10, limit=200
        )[0]
    )
    # 1e-7 is what the function states; the series' own rounding is below it.
    assert expected_maximum_drawdown(drift, 1.0, length) == pytest.approx(expected, rel=2e-7)


@given(st.floats(1e-3, 100.0), st.floats(1e-3, 100.0), st.booleans())
@settings(max_examples=60)
def test_a_longer_record_has_a_deeper_expected_drawdown(x, more, is_rising):
    assert drawdown_q(x + more, is_rising) > drawdown_q(x, is_rising) > 0.0


def test_a_falling_motion_falls_by_its_drift():
    # In the long run: the distance, and how far it rises above its start and has been below its end: each
    # sigma^2 / (2 abs(mu)) on average.
    assert expected_maximum_drawdown(-2.0, 1.0, 400.0) == pytest.approx(800.0 + 0.25 + 0.25, rel=1e-7)


@pytest.mark.parametrize(
    ("mean", "deviation", "phi", "first"),
    [(1.0, 2.0, 0.5, 1.0), (0.1, 1.0, 0.9, -3.0), (0.05, 1.0, 0.5, 3.0), (5.0, 1.0, 0.3, 5.0), (0.1, 2.0, 0.5, 20.0)],
)
def test_triple_penance_is_the_lowest_point_of_the_quantile(mean, deviation, phi, first):
    z = NormalDist().inv_cdf(0.95)
    # Each bet is mean + phi (bet before - mean) + deviation * surprise; over whole bets, from the recursion itself.
    expected, memory, weights, sums = 0.0, first - mean, 0.0, []
    variance = 0.0
    for _ in range(30_000):
        memory *= phi
        expected += mean + memory
        weights = 1.0 + phi * weights  # what the oldest surprise adds to the sum
        variance += (deviation * weights) ** 2
        sums.append(expected - z * math.sqrt(variance))
    found = triple_penance(mean, deviation, 0.95, phi, first)
    lowest = int(np.argmin(sums))
    if sums[lowest] < 0.0:
        # Between whole bets the quantile is at most a little lower.
        assert -sums[lowest] <= found.max_drawdown * (1 + 1e-12)
        assert found.max_drawdown == pytest.approx(-sums[lowest], rel=0.01)
        assert abs(found.time_at_drawdown - (lowest + 1)) <= 1.0
        after = next(i for i in range(lowest, len(sums)) if sums[i] >= 0.0)
        assert after <= found.time_under_water <= after + 1
    else:
        assert found.time_under_water < 1.0  # under water, if at all, only within the first bet


# ---------------------------------------------------------------- distributions
def test_ks_is_that_of_all_ways_to_split_the_sample():
    values = np.random.default_rng(4).normal(size=9)
    first, second = values[:4], values[4:] + 0.8

    def distance(a, b):
        return max(abs(np.mean(a <= x) - np.mean(b <= x)) for x in np.concatenate([a, b]))

    pooled = np.concatenate([first, second])
    seen = distance(first, second)
    splits = [distance(pooled[list(c)], np.delete(pooled, list(c))) for c in combinations(range(9), 4)]
    found = kolmogorov_smirnov(first, second)
    assert found.statistic == pytest.approx(seen, rel=1e-12)
    assert found.p_value == pytest.approx(np.mean(np.array(splits) >= seen - 1e-12), rel=1e-9)


def test_jarque_bera_is_its_formula():
    sample = np.random.default_rng(5).standard_gamma(3.0, 70)
    skew, kurtosis = stats.skew(sample), stats.kurtosis(sample)
    found = jarque_bera(sample)
    assert found.statistic == pytest.approx(70 / 6 * (skew**2 + kurtosis**2 / 4), rel=1e-10)
    assert found.p_value == pytest.approx(math.exp(-found.statistic / 2), rel=1e-10)  # chi-squared of two


@pytest.mark.parametrize("trend", ["n", "c", "ct", "ctt"])
def test_dickey_fuller_takes_the_lags_that_it_is_told(trend):
    walk = np.cumsum(np.random.default_rng(6).normal(size=200))
    fixed = adfuller(walk, maxlag=3, regression=trend, autolag=None, result_object=True)
    found = augmented_dickey_fuller(walk, 3, trend)
    assert found == pytest.approx((fixed.statistic, fixed.pvalue), rel=1e-12)
    assert found.statistic != augmented_dickey_fuller(walk, 0, trend).statistic


@pytest.mark.parametrize("trend", ["n", "c", "ct", "ctt"])
@pytest.mark.parametrize("lags", [0, 1, 5])
def test_dickey_fuller_says_itself_what_is_too_short(trend, lags):
    values = np.random.default_rng(12).normal(size=60)
    n = max(6, 2 * (lags + 2 + (0 if trend == "n" else len(trend))))
    assert math.isfinite(augmented_dickey_fuller(values[:n], lags, trend).statistic)
    with pytest.raises(InvalidInput, match="at least"):
        augmented_dickey_fuller(values[: n - 1], lags, trend)


def test_a_line_is_no_series_for_dickey_fuller():
    for line in (np.arange(30.0), 1e6 + 0.1 * np.arange(30.0), np.ones(30)):
        with pytest.raises(InvalidInput, match="straight line"):
            augmented_dickey_fuller(line)


def test_an_estimator_without_variance_is_nan():
    assert math.isnan(null_variance(0.933, 100, 3.0, 10.0, 0.5))
    assert math.isnan(probabilistic_sharpe_ratio_at_null(0.9, 100, 3.0, 10.0, 0.933, 0.5))
    for periods in (math.nan, math.inf, 0, 2.5):
        with pytest.raises(InvalidInput):
            annualisation_factor_of_ar1(periods, 0.1)
    with pytest.raises(InvalidInput):
        annualisation_factor(5, [[0.1]])


@given(st.lists(st.tuples(st.integers(1, 500), st.integers(1, 500)), min_size=1, max_size=12))
@settings(max_examples=60, deadline=None)
def test_the_stability_index_is_the_entropy_both_ways(counts):
    expected, actual = np.array(counts, dtype=float).T
    both = stats.entropy(expected, actual) + stats.entropy(actual, expected)
    assert population_stability_index(expected, actual) == pytest.approx(both, rel=1e-8, abs=1e-14)


# ---------------------------------------------------------------- trials that are alike
def grouped(groups, size, shared, days=400, seed=7):
    generator = np.random.default_rng(seed)
    common = np.repeat(generator.normal(size=(days, groups)), size, axis=1)
    return math.sqrt(shared) * common + math.sqrt(1.0 - shared) * generator.normal(size=(days, groups * size))


@pytest.mark.parametrize("shared", [-0.5, 0.0, 0.6, 0.95])
def test_two_trials_have_the_closed_form(shared):
    # C. E. Clark, "The Greatest of a Finite Set of Random Variables", Operations Research 9(2), 1961: of two standard
    # normals sqrt((1 - rho) / pi).
    generator = np.random.default_rng(8)
    first, other = generator.normal(size=(2, 300))
    first -= first.mean()
    other -= other.mean() + first * (first @ (other - other.mean())) / (first @ first)
    other *= np.linalg.norm(first) / np.linalg.norm(other)
    pair = np.column_stack([first, shared * first + math.sqrt(1 - shared**2) * other])
    paths = 40_000
    found = effective_trials(pair, paths=paths, seed=9)
    # (max - min) / 2 of two is half the size of a normal difference: its deviation is below 0.6 errors of one.
    assert found.expected_maximum == pytest.approx(math.sqrt((1 - shared) / math.pi), abs=4 * 0.6 / math.sqrt(paths))
    assert 1.0 <= found.by_error <= 2.0
    # Across two trials the variance is (1 - rho): the spread knows all that they share.
    assert found.by_spread == pytest.approx(2.0, abs=0.05)


@pytest.mark.parametrize(("groups", "size", "shared"), [(40, 1, 0.0), (10, 8, 0.9), (1, 50, 0.5), (5, 12, 0.5)])
def test_effective_trials_have_the_best_of_simulated_ratios(groups, size, shared):
    simulated = grouped(groups, size, shared, days=8_000, seed=10)  # every row a draw of all ratios
    best, spread = simulated.max(axis=1).mean(), math.sqrt(simulated.var(axis=1, ddof=1).mean())
    found = effective_trials(grouped(groups, size, shared), seed=11)
    # 400 days leave an error of 5 % in correlations, which moves the best by some 2 %.
    assert found.expected_maximum == pytest.approx(best, rel=0.04)
    again = expected_maximum_sharpe(found.by_error, exact=True)
    assert again == pytest.approx(
        min(found.expected_maximum, expected_maximum_sharpe(groups * size, exact=True)), rel=1e-6
    )
    assert spread * expected_maximum_sharpe(found.by_spread, exact=True) == pytest.approx(best, rel=0.04)


def test_eigenvalues_count_groups_and_the_rest_of_their_members():
    returns = grouped(6, 10, 0.8)
    eigenvalues = np.linalg.eigvalsh(np.corrcoef(returns.T))
    expected = sum((value >= 1) + value - math.floor(value) for value in eigenvalues)
    assert effective_trials_by_eigenvalues(returns) == pytest.approx(expected, rel=1e-9)
    wide = returns[:30]  # more trials than days: the smaller matrix
    expected = sum(
        (value >= 1) + value - math.floor(value) for value in np.linalg.eigvalsh(np.corrcoef(wide.T)) if value > 1e-9
    )
    assert effective_trials_by_eigenvalues(wide) == pytest.approx(expected, rel=1e-9)


def test_the_mean_correlation_is_that_of_all_pairs():
    returns = grouped(3, 4, 0.5)
    returns[:, 5] *= 1_000.0
    matrix = np.corrcoef(returns.T)
    mean = matrix[np.triu_indices(12, 1)].mean()
    assert effective_trials_by_correlation(returns) == pytest.approx(mean + (1 - mean) * 12, rel=1e-10)
    opposite = np.column_stack([returns[:, 0], -returns[:, 0]])
    assert effective_trials_by_correlation(opposite) == 2.0
