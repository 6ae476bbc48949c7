"""Walk-forward windows against hand-written tables and against their definition, and splits as they are drawn."""

import numpy as np
import polars as pl
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from research.errors import InvalidInput
from research.labels import label_end
from research.validation import walk_forward, walk_forward_folds
from research.validation.label_intervals import ROLES
from research.validation.purged_splits import CombinatorialPurgedKFold, PurgedKFold
from research.validation.split_figure import COLUMNS, TESTED_AGAIN, split_figure, split_segments


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


def painted(segments, split, n_rows):
    """Each row's role in a split, None where it has none; every row at most once."""
    roles = [None] * n_rows
    for role, start, stop in segments.filter(pl.col("split") == split).select("role", "start", "stop").rows():
        assert roles[start:stop] == [None] * (stop - start)
        roles[start:stop] = [role] * (stop - start)
    return roles


def test_segments_of_folds_are_their_windows():
    folds = walk_forward_folds(40, train=10, test=8, step=4, purge=2, embargo=3)
    assert split_segments(folds, purge=2).filter(pl.col("split") == 1).select("role", "start", "stop").rows() == [
        ("train", 4, 14), ("purged", 14, 16), ("embargo", 16, 19), ("test", 19, 23), (TESTED_AGAIN, 23, 27),
    ]  # fmt: skip
    whole_gap = split_segments(folds).filter(pl.col("split") == 0).select("role", "start", "stop").rows()
    assert whole_gap[1] == ("purged", 10, 15)


def test_segments_of_purged_splits_are_their_rows():
    ends = np.arange(50) + np.tile([1, 7, 3, 2, 5], 10)
    splitter = CombinatorialPurgedKFold(5, 2, embargo=3, label_end=ends)
    segments = split_segments(splitter)
    for split, (train, test) in enumerate(splitter.split()):
        roles = painted(segments, split, 50)
        assert [row for row, role in enumerate(roles) if role == "train"] == train.tolist()
        assert [row for row, role in enumerate(roles) if role == "test"] == test.tolist()
    assert set(segments["role"]) == set(ROLES)


def test_segments_of_index_arrays_leave_out_what_is_in_neither():
    segments = split_segments([([0, 1, 4], [2]), ([4, 5], [0])], n_rows=7)
    assert painted(segments, 0, 7) == ["train", "train", "test", None, "train", None, None]
    assert painted(segments, 1, 7) == ["test", None, None, None, "train", "train", None]
    with pytest.raises(InvalidInput, match="splits"):
        split_segments([([0, 1, 7], [2])], n_rows=7)
    with pytest.raises(InvalidInput, match="at least one split"):
        split_segments([])


def test_figure_draws_the_segments():
    splitter = PurgedKFold(4, embargo=2, label_end=np.arange(60) + 3)
    figure, segments = split_figure(splitter), split_segments(splitter)
    drawn = [
        (int(y), trace.name, int(base), int(base + x))
        for trace in figure.data
        for y, base, x in zip(trace.y, trace.base, trace.x, strict=True)
    ]
    assert sorted(drawn) == sorted(segments.rows())
    assert figure.layout.yaxis.autorange == "reversed"
    looks = {(trace.marker.color, trace.marker.pattern.shape) for trace in figure.data}
    assert len(looks) == len(figure.data) == 4


def test_figure_over_time_ends_where_the_next_row_begins():
    days = np.datetime64("2024-01-01") + np.arange(40)
    folds = walk_forward_folds(40, train=10, test=5)
    figure = split_figure(folds, ts=pl.Series(days), title="Folds")
    test = next(trace for trace in figure.data if trace.name == "test")
    begins = np.asarray(test.base, dtype="datetime64[ms]")
    assert begins.tolist() == days[[f.test_start for f in folds]].astype("datetime64[ms]").tolist()
    assert np.asarray(test.x).tolist() == [5 * 86_400_000] * 6
    assert figure.layout.title.text == "Folds"
    with pytest.raises(InvalidInput, match="ts must have a time for each of 40 rows; received 39"):
        split_figure(folds, ts=pl.Series(days[:39]))


def test_a_short_purge_among_many_rows_is_drawn_and_bars_stay_few():
    ends = np.arange(200_000) + np.tile([1, 40], 100_000)
    figure = split_figure(PurgedKFold(5, embargo=30, label_end=ends))
    traces = {trace.name: trace for trace in figure.data}
    assert set(traces) == set(ROLES)
    assert sum(len(trace.x) for trace in figure.data) < 40
    assert min(min(traces[name].x) for name in ("purged", "embargo")) >= 200_000 // COLUMNS
    # The row of splits is covered from end to end, without overlap.
    covered = sorted((y, base, base + x) for t in figure.data for y, base, x in zip(t.y, t.base, t.x, strict=True))
    for split in range(5):
        spans = [(start, stop) for y, start, stop in covered if y == split]
        assert [spans[0][0], *(stop for _, stop in spans)] == [*(start for start, _ in spans), 200_000]
    assert len(split_segments(PurgedKFold(5, label_end=ends))) > 100  # every second row before a test is purged


def test_what_is_left_out_of_the_figure_is_told():
    splitter = CombinatorialPurgedKFold(8, 4, label_end=np.arange(80) + 1)
    figure = split_figure(splitter, title="CPCV", max_splits=10)
    assert figure.layout.title.text == "CPCV: first 10 of 70"
    assert max(max(trace.y) for trace in figure.data) == 9
    with pytest.raises(InvalidInput, match="max_splits"):
        split_figure(splitter, max_splits=0)


def test_trades_of_each_fold_are_kept_where_the_evaluation_gives_them():
    folds = walk_forward_folds(30, train=10, test=5)

    def rows_of(fold):
        return pl.DataFrame({"ts": np.arange(fold.test_start, fold.test_stop), "ret": 0.0})

    def evaluate(choice, fold):
        trades = pl.DataFrame({"pnl": [float(fold.index)] * fold.index})
        return (rows_of(fold), trades) if fold.index != 2 else rows_of(fold)

    result = walk_forward(folds, lambda fold: ({}, None), evaluate, threads=2)
    assert {fold: trades["pnl"].to_list() for fold, trades in result.trades.items()} == {0: [], 1: [1.0], 3: [3.0] * 3}
    assert result.returns["ts"].to_list() == list(range(10, 30))
    assert walk_forward(folds, lambda fold: ({}, None), lambda choice, fold: rows_of(fold)).trades == {}
