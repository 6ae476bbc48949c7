"""Numbers printed in papers, and what they are when computed: each with its source."""

import math

import numpy as np
import pytest

from research.errors import InvalidInput
from research.metrics import multiple_testing
from research.metrics.distribution_tests import (
    augmented_dickey_fuller,
    expected_stability_index,
    jarque_bera,
    kolmogorov_smirnov,
    population_stability_index,
)
from research.metrics.drawdown_theory import drawdown_q, expected_maximum_drawdown, triple_penance
from research.metrics.inference import (
    deflated_sharpe_ratio,
    expected_maximum_sharpe,
    minimum_track_record_length,
    probabilistic_sharpe_ratio,
    sharpe_moments,
)
from research.metrics.multiple_testing import haircut_sharpe
from research.metrics.sharpe_tests import (
    annualisation_factor,
    annualisation_factor_of_ar1,
    autocorrelation_adjusted_sharpe,
    deflated_sharpe_ratios,
    minimum_track_record_length_at_null,
    most_trials_at_confidence,
    null_variance,
    probabilistic_sharpe_ratio_at_null,
    probabilistic_sharpe_ratios,
    sharpe_standard_error,
    sharpe_test_power,
    trial_moments,
)


# ---------------------------------------------------------------- Lo (2002), Financial Analysts Journal 58(4)
@pytest.mark.parametrize(
    ("sharpe", "n", "printed"),
    [(0.5, 12, 0.306), (1.0, 24, 0.250), (1.5, 60, 0.188), (3.0, 60, 0.303), (2.0, 125, 0.155), (0.75, 500, 0.051)],
)
def test_table_1_of_lo(sharpe, n, printed):
    assert round(sharpe_standard_error(sharpe, n), 3) == printed


@pytest.mark.parametrize(
    ("periods", "rho", "printed"),
    [(12, 0.2, 2.88), (12, -0.2, 4.17), (12, 0.0, 3.46), (250, 0.9, 3.70), (36, 0.5, 3.53), (125, 0.5, 6.49)],
)
def test_table_2_of_lo(periods, rho, printed):
    assert round(annualisation_factor_of_ar1(periods, rho), 2) == printed


def test_without_memory_the_factor_is_the_square_root():
    assert annualisation_factor(365) == pytest.approx(math.sqrt(365), rel=1e-15)
    assert math.isnan(annualisation_factor(3, [-1.0, -1.0]))
    returns = np.random.default_rng(1).normal(0.001, 0.01, 900)
    plain = returns.mean() / returns.std(ddof=1)
    assert autocorrelation_adjusted_sharpe(returns, 1) == pytest.approx(plain, rel=1e-12)
    assert autocorrelation_adjusted_sharpe(np.repeat(returns, 5), 5) < 0.6 * plain * math.sqrt(5)
    assert math.isnan(autocorrelation_adjusted_sharpe([0.1] * 9, 3))


def test_the_adjusted_ratio_of_an_autoregression_is_that_of_its_formula():
    generator = np.random.default_rng(2)
    steps, series = generator.normal(0.0, 1.0, 60_000), np.zeros(60_000)
    for i in range(1, series.size):
        series[i] = 0.3 * series[i - 1] + steps[i]
    series += 0.1
    plain = series.mean() / series.std(ddof=1)
    assert autocorrelation_adjusted_sharpe(series, 20) == pytest.approx(
        plain * annualisation_factor_of_ar1(20, 0.3), rel=0.03
    )


# ---------------------------------------------------------------- Lopez de Prado, Lipton, Zoonekynd (2025)
def test_the_example_of_2025():
    moments = {"n_obs": 24, "skew": -2.448, "kurtosis": 10.164}
    ratio = 0.036 / 0.079
    assert round(probabilistic_sharpe_ratio_at_null(ratio, **moments), 3) == 0.987
    assert round(probabilistic_sharpe_ratio_at_null(ratio, benchmark=0.1, **moments), 3) == 0.939
    assert round(minimum_track_record_length_at_null(ratio, 0.0, -2.448, 10.164), 3) == 13.029
    assert round(1.0 - sharpe_test_power(0.0, 0.5, **moments), 3) == 0.315
    assert round(probabilistic_sharpe_ratio(0.458, **moments), 3) == 0.913  # the form of 2012 on the same returns


def test_the_null_variance_is_met_by_simulation():
    generator = np.random.default_rng(3)
    shocks = generator.gamma(2.0, 1.0, (4_000, 200)) - 2.0
    returns = 0.15 * math.sqrt(2.0) + shocks  # skew 1.414, kurtosis 6
    drawn = returns.mean(axis=1) / returns.std(axis=1)
    assert drawn.var() == pytest.approx(null_variance(0.15, 200, math.sqrt(2.0), 6.0), rel=0.06)
    carried = np.zeros((4_000, 300))
    for i in range(1, 300):
        carried[:, i] = 0.4 * carried[:, i - 1] + generator.normal(0.0, math.sqrt(1 - 0.16), 4_000)
    drawn = (carried[:, 50:].mean(axis=1)) / carried[:, 50:].std(axis=1)
    assert drawn.var() == pytest.approx(null_variance(0.0, 250, autocorrelation=0.4), rel=0.07)


# ---------------------------------------------------------------- Bailey, Lopez de Prado (2014), JPM 40(5)
def test_how_many_trials_the_example_bears():
    annual, variance = 2.5 / math.sqrt(250), 0.5 / 250
    assert most_trials_at_confidence(annual, 1250, 0.0, 3.0, variance) == 88
    assert most_trials_at_confidence(annual, 1250, -3.0, 10.0, variance) == 46
    assert most_trials_at_confidence(-annual, 1250, 0.0, 3.0, variance) == 0
    assert round(minimum_track_record_length(2 / 52**0.5, 1 / 52**0.5) / 52, 2) == 2.83


def test_many_trials_at_once_are_each_trial_alone():
    returns = np.random.default_rng(4).standard_t(5, (120, 30)) * 0.01 + np.linspace(-0.002, 0.004, 30)
    returns[:, 3] = 0.01
    moments = trial_moments(returns)
    alone = [sharpe_moments(column) for column in returns.T]
    for name in ("sharpe", "skew", "kurtosis"):
        assert getattr(moments, name) == pytest.approx([getattr(m, name) for m in alone], rel=1e-10, nan_ok=True)
    assert math.isnan(moments.sharpe[3])
    ratios = probabilistic_sharpe_ratios(moments, 0.02)
    singles = [probabilistic_sharpe_ratio(m.sharpe, m.n_obs, m.skew, m.kurtosis, 0.02) for m in np.delete(alone, 3)]
    assert np.delete(ratios, 3) == pytest.approx(singles, rel=1e-10)
    spread = float(np.nanvar(moments.sharpe, ddof=1))
    deflated = [deflated_sharpe_ratio(m.sharpe, 120, m.skew, m.kurtosis, 30, spread) for m in np.delete(alone, 3)]
    assert np.delete(deflated_sharpe_ratios(moments), 3) == pytest.approx(deflated, rel=1e-9)
    assert expected_maximum_sharpe(30, spread) > 0
    assert np.isnan(deflated_sharpe_ratios(trial_moments(np.zeros((5, 2))))).all()


# ---------------------------------------------------------------- multiple tests
# Y. Benjamini, Y. Hochberg, JRSS B 57 (1995), section 3: fifteen p-values of a trial of thrombolysis.
FIFTEEN = [
    0.0001,
    0.0004,
    0.0019,
    0.0095,
    0.0201,
    0.0278,
    0.0298,
    0.0344,
    0.0459,
    0.324,
    0.4262,
    0.5719,
    0.6528,
    0.759,
    1.0,
]


def test_the_example_of_benjamini_and_hochberg():
    assert int((multiple_testing.benjamini_hochberg(FIFTEEN) <= 0.05).sum()) == 4
    assert int((multiple_testing.bonferroni(FIFTEEN) <= 0.05).sum()) == 3


def test_adjusted_p_values_are_those_of_statsmodels():
    from statsmodels.stats.multitest import multipletests

    values = np.random.default_rng(5).random(40) ** 2
    for ours, theirs in (("bonferroni", "bonferroni"), ("holm", "holm"), ("benjamini_hochberg", "fdr_bh"),
                         ("benjamini_yekutieli", "fdr_by")):  # fmt: skip
        assert getattr(multiple_testing, ours)(values) == pytest.approx(
            multipletests(values, method=theirs)[1], rel=1e-12
        )


def test_the_exhibits_of_harvey_and_liu():
    # C. R. Harvey, Y. Liu, "Backtesting", JPM 42(1), 2015: 0.75 over 20 years, 200 tests; and the program's exhibit.
    found = haircut_sharpe(0.75, 20, 200)
    assert (round(found.p_single, 4), round(found.p_multiple, 2), round(found.sharpe, 2)) == (0.0008, 0.15, 0.32)
    annual = 1.0 * annualisation_factor_of_ar1(12, 0.1) / math.sqrt(12)
    program = haircut_sharpe(annual, 10, 100, method="bonferroni", n_obs=120)
    assert round(annual, 3) == 0.912
    assert (round(program.p_multiple, 3), round(program.sharpe, 3), round(program.haircut, 3)) == (0.465, 0.232, 0.746)


def test_a_haircut_among_known_tests_is_never_larger_than_the_blind_one():
    others = np.random.default_rng(6).random(99)
    blind = haircut_sharpe(1.0, 10, 100, method="bonferroni")
    for method in ("holm", "bhy"):
        found = haircut_sharpe(1.0, 10, 100, method=method, other_p_values=others)
        assert found.p_single < found.p_multiple
    assert haircut_sharpe(1.0, 10, 100, method="holm", other_p_values=others).p_multiple <= blind.p_multiple
    assert haircut_sharpe(1.0, 10, 1).haircut == pytest.approx(0.0, abs=1e-12)
    assert haircut_sharpe(0.1, 1, 1_000).sharpe == pytest.approx(0.0, abs=1e-9)


# ---------------------------------------------------------------- drawdowns
# Magdon-Ismail et al. (2004): their table is off by up to 0.4 %; these were found by two methods, to all digits.
@pytest.mark.parametrize(
    ("x", "rising", "falling"),
    [(0.0005, 0.0196102, None), (0.5, 0.4625377, 0.8857938), (1.0, None, 1.4466032), (5.0, None, 5.4993405),
     (10.0, 1.0875393, None), (50.0, 1.4749986, None)],
)  # fmt: skip
def test_q_of_magdon_ismail(x, rising, falling):
    if rising is not None:
        assert drawdown_q(x, True) == pytest.approx(rising, abs=6e-8)
    if falling is not None:
        assert drawdown_q(x, False) == pytest.approx(falling, abs=6e-8)


def test_for_long_records_q_is_the_logarithm():
    # Q(x) -> ln(x) / 4 + (ln 4 + gamma) / 4
    assert drawdown_q(500.0, True) == pytest.approx(math.log(500.0) / 4 + 0.49088, abs=2e-3)
    # The next term is of the order of ln(x) / x: at a hundred million it leaves rounding alone.
    constant = (math.log(4.0) + 0.57721566490153) / 4.0
    assert drawdown_q(1e8, True) == pytest.approx(math.log(1e8) / 4 + constant, rel=1e-8)
    assert drawdown_q(1e8, False) == pytest.approx(1e8 + 0.25, rel=1e-8)


@pytest.mark.parametrize("drift", [-0.5, 0.0, 0.8])
def test_the_expected_drawdown_is_that_of_simulated_motions(drift):
    steps, paths = 4_000, 3_000
    generator, drawn = np.random.default_rng(7), []
    for _ in range(6):
        moves = generator.normal(drift / steps, 1.0 / math.sqrt(steps), (paths // 6, steps))
        walk = np.concatenate([np.zeros((paths // 6, 1)), np.cumsum(moves, axis=1)], axis=1)
        drawn.append((np.maximum.accumulate(walk, axis=1) - walk).max(axis=1))
    found = np.concatenate(drawn)
    # A walk of steps misses 0.58 of a step's deviation at either end.
    gap = 2 * 0.5826 / math.sqrt(steps)
    assert found.mean() + gap == pytest.approx(
        expected_maximum_drawdown(drift, 1.0, 1.0), abs=4 * found.std() / math.sqrt(paths)
    )


def test_drawdowns_scale_and_are_continuous_in_the_drift():
    assert expected_maximum_drawdown(0.2, 3.0, 4.0) == pytest.approx(
        3.0 * 2.0 * expected_maximum_drawdown(0.4 / 3, 1.0, 1.0)
    )
    near = expected_maximum_drawdown(1e-6, 1.0, 1.0)
    assert near == pytest.approx(expected_maximum_drawdown(0.0, 1.0, 1.0), rel=1e-5)
    assert expected_maximum_drawdown(1.0, 1.0, 0.0) == 0.0


def test_the_example_of_the_triple_penance_rule():
    # D. H. Bailey, M. Lopez de Prado, Journal of Risk 18(2), 2015: phi 0.5, mean 1, deviation 2.
    found = triple_penance(1.0, 2.0, 0.95, 0.5, 1.0)
    assert found == pytest.approx((9.15586, 12.4833, 41.5524), rel=1e-5)
    alone = triple_penance(1.0, 2.0)
    assert alone.time_under_water == pytest.approx(4.0 * alone.time_at_drawdown)
    faint = triple_penance(1.0, 2.0, 0.95, 1e-6)
    assert faint.max_drawdown == pytest.approx(alone.max_drawdown, rel=1e-4)
    assert triple_penance(1.0, 2.0, 0.95, 0.5, -5.0).max_drawdown > found.max_drawdown


# ---------------------------------------------------------------- distributions
def test_jarque_bera_of_the_weights_of_eleven_students():
    # SciPy's example.
    found = jarque_bera([148, 154, 158, 160, 161, 162, 166, 170, 182, 195, 236])
    assert found == pytest.approx((6.982848, 0.030457), rel=1e-4)
    assert math.isnan(jarque_bera([1.0] * 5).p_value)


def test_a_walk_has_a_unit_root_and_its_steps_have_none():
    steps = np.random.default_rng(8).normal(size=400)
    assert augmented_dickey_fuller(steps, 2).p_value < 1e-6
    assert augmented_dickey_fuller(np.cumsum(steps), 2).p_value > 0.05
    y = np.cumsum(steps)[:120]
    # The regression itself: difference on level, constant and one lagged difference.
    change = np.diff(y)
    design = np.column_stack([y[1:-1], np.ones(118), change[:-1]])
    beta, squares, *_ = np.linalg.lstsq(design, change[1:], rcond=None)
    error = math.sqrt(squares[0] / (118 - 3) * np.linalg.inv(design.T @ design)[0, 0])
    assert augmented_dickey_fuller(y, 1).statistic == pytest.approx(beta[0] / error, rel=1e-9)


def test_ks_of_shifted_samples():
    first, second = np.random.default_rng(9).normal(size=(2, 80))
    same, apart = kolmogorov_smirnov(first, second), kolmogorov_smirnov(first, second + 1.0)
    assert same.p_value > 0.01 > apart.p_value
    grid = np.sort(np.concatenate([first, second + 1.0]))
    share = [abs(np.mean(first <= x) - np.mean(second + 1.0 <= x)) for x in grid]
    assert apart.statistic == pytest.approx(max(share))


def test_the_stability_index():
    moved = population_stability_index([100] * 10, [80, 95, 110, 120, 105, 98, 102, 90, 100, 100])
    assert moved == pytest.approx(0.0106964, rel=1e-5)
    assert population_stability_index([1, 2, 3], [10, 20, 30]) == 0.0
    assert population_stability_index([1, 0], [1, 1]) == math.inf
    generator = np.random.default_rng(10)
    edges = np.linspace(0.0, 1.0, 11)
    drawn = [
        population_stability_index(*(np.histogram(generator.random(400), edges)[0] for _ in range(2)))
        for _ in range(600)
    ]
    assert np.mean(drawn) == pytest.approx(expected_stability_index(10, 400, 400), rel=0.08)


@pytest.mark.parametrize(
    ("call", "subject"),
    [
        (lambda: sharpe_standard_error(1.0, 0), "n_obs"),
        (lambda: annualisation_factor(0), "periods"),
        (lambda: annualisation_factor(5, [0.1, 2.0]), "autocorrelations[1]"),
        (lambda: autocorrelation_adjusted_sharpe([0.1, 0.2], 5), "returns"),
        (lambda: null_variance(0.1, 10, 3.0, 3.0), "kurtosis"),
        (lambda: null_variance(0.1, 10, autocorrelation=1.0), "autocorrelation"),
        (lambda: sharpe_test_power(0.0, 0.1, 10, level=0.0), "level"),
        (lambda: trial_moments(np.ones(3)), "returns"),
        (lambda: most_trials_at_confidence(0.1, 10, 0.0, 3.0, 0.1, 1.0), "confidence"),
        (lambda: multiple_testing.holm([0.5, 1.5]), "p_values[1]"),
        (lambda: multiple_testing.holm([]), "p_values"),
        (lambda: haircut_sharpe(-1.0, 1.0, 1), "sharpe_annual"),
        (lambda: haircut_sharpe(1.0, 1.0, 3, method="holm"), "other_p_values"),
        (lambda: haircut_sharpe(1.0, 1.0, 3, method="sidak"), "method"),
        (lambda: expected_maximum_drawdown(0.1, 0.0, 1.0), "volatility"),
        (lambda: expected_maximum_drawdown(0.1, 1.0, -1.0), "length"),
        (lambda: drawdown_q(-1.0, True), "x"),
        (lambda: triple_penance(0.0, 1.0), "mean"),
        (lambda: triple_penance(math.inf, 1.0), "mean"),
        (lambda: triple_penance(1.0, math.nan), "deviation"),
        (lambda: triple_penance(1.0, 1.0, 0.95, 0.5, math.nan), "first"),
        (lambda: triple_penance(1.0, 1.0, 0.95, 1.0), "autocorrelation"),
        (lambda: jarque_bera([1.0, 2.0]), "values"),
        (lambda: augmented_dickey_fuller([1.0] * 20), "values"),
        (lambda: augmented_dickey_fuller(np.arange(20.0), trend="x"), "trend"),
        (lambda: kolmogorov_smirnov([], [1.0]), "first"),
        (lambda: population_stability_index([1, 2], [1]), "actual"),
        (lambda: population_stability_index([0, 0], [1, 1]), "expected"),
        (lambda: expected_stability_index(0, 1, 1), "n_bins"),
    ],
)
def test_what_cannot_be_used_is_refused(call, subject):
    with pytest.raises(InvalidInput) as caught:
        call()
    assert caught.value.subject == subject
