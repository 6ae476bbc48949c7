"""Walk-forward windows against hand-written tables and against their definition."""

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from research.errors import InvalidInput
from research.labels import label_end
from research.validation import walk_forward_folds


def table(folds):
    return [(f.train_start, f.train_stop, f.test_start, f.test_stop, f.stitch_stop) for f in folds]


def test_rolling_windows():
    assert table(walk_forward_folds(10, train=4, test=2)) == [
        (0, 4, 4, 6, 6),
        (2, 6, 6, 8, 8),
        (4, 8, 8, 10, 10),
    ]


def test_anchored_windows():
    assert table(walk_forward_folds(10, train=4, test=2, anchored=True)) == [
        (0, 4, 4, 6, 6),
        (0, 6, 6, 8, 8),
        (0, 8, 8, 10, 10),
    ]


def test_overlapping_windows_with_purge_and_embargo():
    assert table(walk_forward_folds(14, train=4, test=4, step=2, purge=2, embargo=1)) == [
        (0, 4, 7, 11, 9),
        (2, 6, 9, 13, 11),
    ]


def test_a_year_of_90_30_7_has_36_windows():
    folds = walk_forward_folds(365, train=90, test=30, step=7)
    assert len(folds) == 36
    assert table(folds)[0] == (0, 90, 90, 120, 97)
    assert table(folds)[-1] == (245, 335, 335, 365, 342)
    tested = np.zeros(365, dtype=int)
    stitched = np.zeros(365, dtype=int)
    for fold in folds:
        tested[fold.test] += 1
        stitched[fold.test_start : fold.stitch_stop] += 1
    assert (tested.sum(), (tested > 0).sum(), tested.max()) == (1080, 275, 5)
    assert stitched.max() == 1
    assert np.flatnonzero(stitched).tolist() == list(range(90, 90 + 36 * 7))


def test_150_days_have_5_windows():
    folds = walk_forward_folds(150, train=90, test=30, step=7)
    assert len(folds) == 5
    assert table(folds)[-1][:4] == (28, 118, 118, 148)


lengths = st.integers(1, 30)


@given(st.integers(1, 300), lengths, lengths, lengths, st.integers(0, 5), st.integers(0, 5), st.booleans())
@settings(max_examples=200)
def test_folds_keep_their_promises(n_rows, train, test, step, purge, embargo, anchored):
    assume(step <= test)
    needed = train + purge + embargo + test
    if n_rows < needed:
        with pytest.raises(InvalidInput):
            walk_forward_folds(n_rows, train, test, step, purge, embargo, anchored)
        return
    folds = walk_forward_folds(n_rows, train, test, step, purge, embargo, anchored)
    assert len(folds) == (n_rows - needed) // step + 1
    ends = label_end(n_rows, max(purge, 1))
    covered = []
    for i, fold in enumerate(folds):
        assert fold.index == i
        assert fold.test_start - fold.train_stop == purge + embargo
        assert fold.test_stop - fold.test_start == test
        assert fold.train_stop - fold.train_start == (train + i * step if anchored else train)
        assert fold.train_start >= 0
        assert fold.test_stop <= n_rows
        if purge:  # no label of a training row reads a test row
            assert ends[fold.train].max() < fold.test_start
        covered += range(fold.test_start, fold.stitch_stop)
    # Each row once, in order, without a hole.
    assert covered == list(range(folds[0].test_start, folds[0].test_start + len(folds) * step))


@pytest.mark.parametrize(
    ("subject", "change"),
    [
        ("walk_forward.train", {"train": 0}),
        ("walk_forward.test", {"test": 0}),
        ("walk_forward.step", {"step": 0}),
        ("walk_forward.step", {"step": 31}),
        ("walk_forward.purge", {"purge": -1}),
        ("walk_forward.embargo", {"embargo": -1}),
        ("n_rows", {"n_rows": 119}),
    ],
)
def test_bad_input_is_refused(subject, change):
    with pytest.raises(InvalidInput, match=subject):
        walk_forward_folds(**({"n_rows": 365, "train": 90, "test": 30, "step": 7} | change))
