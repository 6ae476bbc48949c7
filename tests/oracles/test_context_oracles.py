"""Context features equal plain NumPy over the whole history."""

import numpy as np
import pytest

from research.features.context import SPECS

BY_NAME = {spec.name: spec for spec in SPECS}
N = 3_000


@pytest.fixture(scope="module")
def series():
    rng = np.random.default_rng(2)
    published = np.repeat(rng.normal(4.0, 1.0, N // 90 + 1), 90)[:N]
    published[1_200:1_500] = published[1_200]
    return published


def test_context_holds_the_value_and_tells_its_age():
    value = [5.0, 5.0, 5.0, 5.0, -7.0, np.nan, -7.0]
    age = [0.0, 30.0, 59.0, 60.0, 0.0, 1.0, 600.0]
    held, staleness, fresh = BY_NAME["context"].apply([value, age], {"max_age_minutes": 60.0})
    np.testing.assert_array_equal(held, [5.0, 5.0, 5.0, 5.0, -7.0, np.nan, -7.0])
    np.testing.assert_allclose(staleness, [0.0, 0.5, 59 / 60, 1.0, 0.0, np.nan, 1.0])
    np.testing.assert_array_equal(fresh, [1.0, 1.0, 1.0, 0.0, 1.0, np.nan, 0.0])


def test_context_is_a_week_old_before_it_is_stale():
    ages = np.arange(0.0, 20_160.0, 1.0)
    held, staleness, fresh = BY_NAME["context"].apply([ages * 0.0 + 3.0, ages])
    assert (held == 3.0).all()
    np.testing.assert_array_equal(staleness, np.minimum(ages / 10_080, 1.0))
    np.testing.assert_array_equal(fresh, ages < 7 * 24 * 60)


@pytest.mark.parametrize("length", [2, 60, 400])
def test_context_change_is_a_difference_and_a_zscore(series, length):
    change, score = BY_NAME["context_change"].apply([series], {"length": length})
    assert np.isnan(change[:length]).all()
    assert np.isnan(score[:length]).all()
    np.testing.assert_array_equal(change[length:], series[length:] - series[:-length])
    windows = np.lib.stride_tricks.sliding_window_view(series, length)[1:]
    still = windows.min(axis=1) == windows.max(axis=1)
    deviation = np.where(still, 1.0, windows.std(axis=1, ddof=1))
    expected = np.where(still, 0.0, (windows[:, -1] - windows.mean(axis=1)) / deviation)
    assert still.any() == (length < 300)
    np.testing.assert_allclose(score[length:], expected, rtol=0, atol=1e-9)


def test_context_change_passes_over_bars_without_a_value():
    value = [1.0, 2.0, np.nan, 4.0, 8.0]
    change, _ = BY_NAME["context_change"].apply([value], {"length": 2})
    np.testing.assert_array_equal(change, [np.nan, np.nan, np.nan, 3.0, 6.0])
