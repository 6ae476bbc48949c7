"""Labels: what they read, where they end."""

import numpy as np
import pytest

from research.errors import InvalidInput
from research.labels import forward_return, label_end, scaled_forward_return


def closes(n=60, seed=1):
    return 100.0 * np.exp(np.cumsum(np.random.default_rng(seed).normal(0, 0.01, n)))


def test_forward_return_is_the_log_ratio_of_two_closes():
    close = closes()
    label = forward_return(close, 3)
    for t in range(57):
        assert label[t] == np.log(close[t + 3] / close[t])
    assert np.isnan(label[57:]).all()


@pytest.mark.parametrize("horizon", [1, 5, 59])
def test_a_label_reads_its_own_bar_and_its_end_and_nothing_else(horizon):
    close = closes()
    base = forward_return(close, horizon)
    end = label_end(close.size, horizon)
    for changed in range(close.size):
        other = close.copy()
        other[changed] *= 1.01
        moved = np.flatnonzero((forward_return(other, horizon) != base) & np.isfinite(base))
        reads = [t for t in range(close.size) if end[t] < close.size and changed in (t, end[t])]
        assert moved.tolist() == reads


def test_a_label_that_ends_before_a_row_does_not_change_with_it():
    close = closes()
    before = label_end(close.size, 4) < 30
    other = close.copy()
    other[30:] *= 2.0
    assert forward_return(other, 4)[before].tobytes() == forward_return(close, 4)[before].tobytes()
    assert before.sum() == 26


def test_a_gap_unlabels_the_two_rows_that_read_it():
    close = closes(20)
    close[10] = np.nan
    assert np.flatnonzero(np.isnan(forward_return(close, 3))).tolist() == [7, 10, 17, 18, 19]


def test_horizon_beyond_the_rows_leaves_no_label():
    assert np.isnan(forward_return(closes(5), 5)).all()
    assert np.isnan(forward_return(closes(5), 9)).all()


def test_scaled_label_has_unit_deviation_on_a_random_walk():
    close = closes(20_000, seed=4)
    label = scaled_forward_return(close, np.full(close.size, 0.01), 1)
    # Standard error of a deviation over 20,000 draws is 0.005.
    assert np.nanstd(label) == pytest.approx(1.0, abs=0.02)


def test_scaled_label_is_nan_without_a_positive_volatility():
    close = closes(6)
    label = scaled_forward_return(close, np.array([0.01, 0.0, np.nan, -0.1, 0.01, 0.01]), 1)
    assert np.isfinite(label).tolist() == [True, False, False, False, True, False]
    assert label[0] == np.log(close[1] / close[0]) / 0.01


def test_inputs_are_left_as_they_were():
    close, volatility = closes(), np.full(60, 0.01)
    kept = close.tobytes(), volatility.tobytes()
    scaled_forward_return(close, volatility, 2)
    assert (close.tobytes(), volatility.tobytes()) == kept


@pytest.mark.parametrize(
    "call",
    [
        lambda: forward_return(closes(), 0),
        lambda: label_end(5, 0),
        lambda: forward_return(np.array([1.0, 0.0, 1.0]), 1),
        lambda: forward_return(np.array([1.0, np.inf, 1.0]), 1),
        lambda: scaled_forward_return(closes(), np.ones(3), 1),
    ],
)
def test_bad_input_is_refused(call):
    with pytest.raises(InvalidInput):
        call()
