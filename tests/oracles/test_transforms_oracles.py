"""Transforms equal TA-Lib, pandas, SciPy and NumPy where these have them."""

import math

import numpy as np
import pandas as pd
import pytest
import scipy.special
import scipy.stats
import talib

from research.features.transforms import SPECS

BY_NAME = {spec.name: spec for spec in SPECS}
N = 2_000


@pytest.fixture(scope="module", params=[1.0, 1e-8, 1e7], ids=["near 1", "near 1e-8", "near 1e7"])
def value(request):
    rng = np.random.default_rng(5)
    value = rng.normal(0.0, 1.0, N).cumsum() + 3.0
    value[::3] = np.round(value[::3])  # ties
    value[700:1_000] = value[700]
    return value * request.param


@pytest.fixture(scope="module")
def other():
    other = np.random.default_rng(6).normal(0.0, 2.0, N)
    other[::17] = 0.0
    return other


def feature(name, *inputs, **params):
    out = BY_NAME[name].apply(inputs, params)
    return out if len(out) > 1 else out[0]


def windows(value, length):
    return np.lib.stride_tricks.sliding_window_view(value, length)


def late(length, expected):
    return np.concatenate([np.full(length, np.nan), expected])


@pytest.mark.parametrize("length", [1, 7, 500])
def test_lag_is_pandas_shift(value, length):
    np.testing.assert_array_equal(feature("lag", value, length=length), pd.Series(value).shift(length))


@pytest.mark.parametrize("length", [1, 7, 500])
def test_difference_is_talib_s_momentum(value, length):
    np.testing.assert_array_equal(feature("difference", value, length=length), talib.MOM(value, length))


def test_a_gap_is_no_bar_back():
    value = [1.0, np.nan, 4.0, 9.0]
    np.testing.assert_array_equal(feature("lag", value), [np.nan, np.nan, 1.0, 4.0])
    np.testing.assert_array_equal(feature("difference", value), [np.nan, np.nan, 3.0, 5.0])


@pytest.mark.parametrize("length", [2, 48, 300])
def test_rolling_moments_are_talib_s_and_numpy_s(value, length):
    mean, std = feature("rolling_moments", value, length=length)
    scale = np.abs(value).max()
    np.testing.assert_allclose(mean, talib.SMA(value, length), rtol=0, atol=1e-12 * scale)
    expected = late(length - 1, windows(value, length).std(axis=1, ddof=1))
    np.testing.assert_allclose(std, expected, rtol=0, atol=1e-12 * scale)
    still = late(length - 1, np.ptp(windows(value, length), axis=1)) == 0.0
    assert (std[still] == 0.0).all()


@pytest.mark.parametrize("length", [2, 20, 300])
def test_exponential_mean_is_talib_s_and_that_of_pandas_from_the_same_seed(value, length):
    ours = feature("exponential_mean", value, length=length)
    atol = 1e-13 * np.abs(value).max()
    np.testing.assert_allclose(ours, talib.EMA(value, length), rtol=0, atol=atol)
    seeded = pd.Series(np.concatenate([[value[:length].mean()], value[length:]]))
    expected = late(length - 1, seeded.ewm(alpha=2 / (length + 1), adjust=False).mean())
    np.testing.assert_allclose(ours, expected, rtol=0, atol=atol)


def test_exponential_mean_takes_values_of_either_sign():
    # Seed (2 - 4) / 2 = -1, weight 2/3 to the newest: -1 + 2/3 * 6 = 3, then 3 - 2/3 * 3 = 1.
    ours = feature("exponential_mean", [2.0, -4.0, 5.0, math.nan, 0.0], length=2)
    np.testing.assert_allclose(ours, [math.nan, -1.0, 3.0, math.nan, 1.0], rtol=0, atol=1e-15)
    assert feature("exponential_mean", [0.0, -7.5, 1e12, 0.3], length=1).tolist() == [0.0, -7.5, 1e12, 0.3]
    assert (feature("exponential_mean", np.full(99, -0.25))[19:] == -0.25).all()


@pytest.mark.parametrize("length", [2, 48])
def test_zscore_is_the_distance_in_standard_deviations(value, length):
    seen = windows(value, length)
    still = np.ptp(seen, axis=1) == 0.0
    deviation = np.where(still, 1.0, seen.std(axis=1, ddof=1))
    expected = np.where(still, 0.0, (seen[:, -1] - seen.mean(axis=1)) / deviation)
    np.testing.assert_allclose(feature("zscore", value, length=length), late(length - 1, expected), rtol=0, atol=1e-9)


@pytest.mark.parametrize("length", [2, 20, 100])
def test_rank_is_that_of_pandas_from_0_to_1(value, length):
    # pandas counts ranks from 1 and divides by the window: the least of n is 1 / n there and 0 here.
    ranks = pd.Series(value).rolling(length).rank(method="average")
    np.testing.assert_allclose(feature("rank", value, length=length), (ranks - 1) / (length - 1), rtol=0, atol=1e-14)


def test_rank_is_scipy_s_percentile_among_the_others(value):
    length = 25
    ours = feature("rank", value, length=length)
    for i in range(length - 1, N, 13):
        others = value[i - length + 1 : i]
        assert ours[i] == pytest.approx(scipy.stats.percentileofscore(others, value[i], kind="mean") / 100, abs=1e-14)


def test_rank_of_values_that_a_human_can_order():
    assert feature("rank", [3.0, 1.0, 2.0, 9.0, 9.0, 0.0, 9.0], length=3)[2:].tolist() == [0.5, 1.0, 0.75, 0.0, 0.75]
    assert (feature("rank", np.full(9, 4.2), length=3)[2:] == 0.5).all()


@pytest.mark.parametrize("length", [2, 3, 100])
@pytest.mark.parametrize("q", [0.0, 0.05, 0.5, 0.9, 1.0])
def test_quantile_is_numpy_s(value, length, q):
    expected = late(length - 1, np.quantile(windows(value, length), q, axis=1))
    atol = 1e-15 * np.abs(value).max()
    np.testing.assert_allclose(feature("quantile", value, length=length, q=q), expected, rtol=0, atol=atol)


def test_quantile_is_the_median_by_default(value):
    expected = late(99, np.median(windows(value, 100), axis=1))
    np.testing.assert_allclose(feature("quantile", value), expected, rtol=1e-14, atol=0)


@pytest.mark.parametrize("length", [2, 48, 300])
def test_range_position_is_talib_s_stochastic_of_one_column(value, length):
    ours = feature("range_position", value, length=length)
    theirs = talib.STOCHF(value, value, value, fastk_period=length, fastd_period=1)[0] / 100
    # TA-Lib answers 0 for a window without a range, "as low as can be"; here it is neutral.
    still = late(length - 1, np.ptp(windows(value, length), axis=1)) == 0.0
    assert still.any()
    np.testing.assert_allclose(ours, np.where(still, 0.5, theirs), rtol=0, atol=1e-12)


@pytest.mark.parametrize("order", [0.0, 0.1, 0.4, 1.0, 1.7])
@pytest.mark.parametrize("length", [2, 5, 100])
def test_fractional_difference_is_a_convolution_with_binomial_weights(value, order, length):
    weights = [(-1) ** k * scipy.special.binom(order, k) for k in range(length)]
    expected = late(length - 1, np.convolve(value, weights, mode="valid"))
    ours = feature("fractional_difference", value, length=length, order=order)
    np.testing.assert_allclose(ours, expected, rtol=0, atol=1e-12 * np.abs(value).max())


def test_fractional_difference_of_whole_orders_is_the_ordinary_one(value):
    np.testing.assert_array_equal(feature("fractional_difference", value, order=0.0)[99:], value[99:])
    ours = feature("fractional_difference", value, order=1.0)
    np.testing.assert_array_equal(ours[99:], np.diff(value)[98:])


def test_the_first_weights_are_those_of_the_book():
    impulse = np.concatenate([np.zeros(9), [1.0], np.zeros(9)])
    ours = feature("fractional_difference", impulse, length=5, order=0.5)
    # d = 0.5: 1, -1/2, -1/8, -1/16, -5/128
    assert ours[9:14].tolist() == [1.0, -0.5, -0.125, -0.0625, -0.0390625]
    assert ours[14] == 0.0


def test_product_and_spread_are_numpy_s(value, other):
    np.testing.assert_array_equal(feature("product", value, other), value * other)
    np.testing.assert_array_equal(feature("spread", value, other), value - other)
    np.testing.assert_array_equal(feature("spread", value, other, weight=-0.5), value + 0.5 * other)


def test_ratio_is_numpy_s_and_0_over_0(value, other):
    expected = np.divide(value, other, out=np.zeros(N), where=other != 0.0)
    assert (other == 0.0).any()
    np.testing.assert_array_equal(feature("ratio", value, other), expected)


def test_nothing_is_so_large_that_a_feature_could_not_read_it():
    huge, tiny = [1e150, -1e150, 1e-300], [1e150, 1e150, 1e-300]
    assert feature("product", huge, tiny).tolist() == [1e150, -1e150, 0.0]
    with np.errstate(over="ignore"):  # warns where the kernels run uncompiled
        assert feature("ratio", huge, [1e-300] * 3).tolist() == [1e150, -1e150, 1.0]
    assert feature("spread", huge, tiny, weight=-1.0).tolist() == [1e150, 0.0, 2e-300]
    assert np.isnan(feature("product", [1e151, math.inf, 1.0], [1.0, 1.0, math.nan])).all()


def test_sign_agreement_is_the_product_of_signs(value, other):
    np.testing.assert_array_equal(feature("sign_agreement", value, other), np.sign(value) * np.sign(other))
    both = [1e-200, -1e-200, 1e-200, 0.0], [1e-200, -1e-200, -1e-200, 5.0]
    assert feature("sign_agreement", *both).tolist() == [1.0, 1.0, -1.0, 0.0]  # no product that underflows to 0
