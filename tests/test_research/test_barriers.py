"""Triple barriers and overlapping labels against plain loops."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from research.errors import InvalidInput
from research.labels import label_uniqueness, sequential_bootstrap, sequential_probabilities, triple_barrier

# López de Prado (2018), 4.5.3: three labels on six bars.
START, END = [0, 2, 4], [2, 3, 5]
PRICES = [100, 104, 110.2, 111, 108, 100, 97, 93, 92, 91.0, 90.5, 95, 99, 99, 99]


def plain(close, start, target, horizon, profit, loss, side):
    for i in range(start + 1, start + horizon + 1):
        earned = side * (close[i] / close[start] - 1.0)
        if profit and earned >= profit * target:
            return i, "upper", earned, 1
        if loss and earned <= -loss * target:
            return i, "lower", earned, -1
    return start + horizon, "vertical", side * (close[start + horizon] / close[start] - 1.0), 0


@given(
    st.integers(0, 10_000), st.sampled_from([0.0, 0.5, 1.0, 2.0]), st.sampled_from([0.0, 0.5, 1.0]),
    st.sampled_from([1.0, -1.0]), st.integers(1, 20),
)  # fmt: skip
def test_the_first_barrier_is_the_one_of_a_plain_loop(seed, profit, loss, side, horizon):
    rng = np.random.default_rng(seed)
    close = 100.0 * np.exp(np.cumsum(rng.normal(0.0, 0.02, 60)))
    start = np.sort(rng.choice(60, 15, replace=False))
    target = rng.uniform(0.005, 0.05, 15)
    found = triple_barrier(close, start, target, horizon=horizon, profit=profit, loss=loss, side=side)
    wanted = [(int(s), *plain(close, s, t, horizon, profit, loss, side))
              for s, t in zip(start, target, strict=True) if s + horizon < 60]  # fmt: skip
    assert found.rows() == [(s, e, w, pytest.approx(r, rel=1e-12), label) for s, e, w, r, label in wanted]


@pytest.mark.parametrize(
    ("start", "target", "horizon", "profit", "expected"),
    [
        (0, 0.05, 6, 2.0, (2, "upper", 0.102, 1)),
        (4, 0.05, 8, 2.0, (5, "lower", -8.0 / 108.0, -1)),
        (1, 0.2, 8, 1.0, (9, "vertical", -0.125, 0)),
    ],
)
def test_a_path_by_hand(start, target, horizon, profit, expected):
    row = triple_barrier(PRICES, [start], target, horizon=horizon, profit=profit).row(0)[1:]
    assert row == (expected[0], expected[1], pytest.approx(expected[2], abs=1e-12), expected[3])


def test_gaps_meet_no_barrier_and_unknown_labels_are_left_out():
    close = [100.0, np.nan, 100.0, np.nan, 111.0, 100.0]
    assert triple_barrier([100.0, np.nan, np.nan, 100.0], [0], 0.1, horizon=2).height == 0
    found = triple_barrier(close, [0, 2, 5], 0.1, horizon=3)
    assert found.rows() == [(0, 3, "vertical", 0.0, 0), (2, 4, "upper", pytest.approx(0.11), 1)]


@pytest.mark.parametrize(
    ("change", "subject"),
    [
        ({"horizon": 0}, "horizon"), ({"profit": -1.0}, "profit"), ({"start": [9]}, "start"),
        ({"target": 0.0}, r"target\[0\]"),
        ({"side": 0.5}, r"side\[0\]"), ({"start": [1]}, r"close\[0\]"),
    ],
)  # fmt: skip
def test_what_is_no_event_is_refused_by_name(change, subject):
    given = {"start": [0], "target": 0.1, "horizon": 2} | change
    close = [100.0, np.nan, 100.0, 101.0]
    with pytest.raises(InvalidInput, match=subject):
        triple_barrier(close, given.pop("start"), given.pop("target"), **given)


def test_the_books_example():
    assert label_uniqueness(START, END, 6) == pytest.approx([5 / 6, 3 / 4, 1.0], rel=1e-15)
    assert sequential_probabilities(START, END, 6, [1]) == pytest.approx([5 / 14, 3 / 14, 6 / 14], rel=1e-15)
    assert sequential_probabilities(START, END, 6, [1, 2]) == pytest.approx([5 / 11, 3 / 11, 3 / 11], rel=1e-15)


@given(st.integers(0, 10_000), st.integers(1, 12))
def test_uniqueness_is_that_of_the_indicator_matrix(seed, n):
    rng = np.random.default_rng(seed)
    start = rng.integers(0, 20, n)
    end = np.minimum(start + rng.integers(0, 8, n), 19)
    alive = np.array([[s <= t <= e for s, e in zip(start, end, strict=True)] for t in range(20)])
    shares = [np.mean([1.0 / alive[t].sum() for t in range(20) if alive[t, k]]) for k in range(n)]
    assert label_uniqueness(start, end, 20) == pytest.approx(shares, rel=1e-12)
    drawn = rng.integers(0, n, 3).tolist()
    counts = sum(alive[:, k].astype(int) for k in drawn)
    after = np.array([np.mean([1.0 / (1 + counts[t]) for t in range(20) if alive[t, k]]) for k in range(n)])
    assert sequential_probabilities(start, end, 20, drawn) == pytest.approx(after / after.sum(), rel=1e-12)


def test_sequential_samples_overlap_less_than_plain_ones():
    rng = np.random.default_rng(3)
    start = np.sort(rng.integers(0, 180, 60))
    end = start + rng.integers(0, 20, 60)
    drawn = [sequential_bootstrap(start, end, 200, draws=60, seed=k) for k in range(100)]
    assert np.array_equal(drawn[1], sequential_bootstrap(start, end, 200, draws=60, seed=1))
    own = [label_uniqueness(start[k], end[k], 200).mean() for k in drawn]
    plain = [label_uniqueness(start[k], end[k], 200).mean() for k in rng.integers(0, 60, (100, 60))]
    error = np.hypot(np.std(own), np.std(plain)) / 10.0
    assert np.mean(own) > np.mean(plain) + 4.0 * error


def test_the_first_draws_follow_the_probabilities():
    first = [int(sequential_bootstrap(START, END, 6, draws=2, seed=k)[1]) for k in range(4_000)
             if sequential_bootstrap(START, END, 6, draws=1, seed=k)[0] == 1]  # fmt: skip
    shares = np.bincount(first, minlength=3) / len(first)
    assert shares == pytest.approx(sequential_probabilities(START, END, 6, [1]), abs=0.05)


def test_spans_outside_of_the_bars_are_refused():
    for start, end in (([3], [2]), ([0], [6]), ([-1], [2])):
        with pytest.raises(InvalidInput, match=r"span\[0\]"):
            label_uniqueness(start, end, 6)
    with pytest.raises(InvalidInput, match="end"):
        label_uniqueness([0, 1], [1], 6)
    with pytest.raises(InvalidInput, match="drawn"):
        sequential_probabilities(START, END, 6, [3])
    with pytest.raises(InvalidInput, match="draws"):
        sequential_bootstrap(START, END, 6, draws=0, seed=1)
