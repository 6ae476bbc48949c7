"""Purged and combinatorial splits against all pairs of labels, and paths against an enumeration written plainly."""

import itertools
import math

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.base import clone
from sklearn.dummy import DummyClassifier
from sklearn.linear_model import LinearRegression
from sklearn.model_selection import GridSearchCV, cross_val_predict, cross_val_score

from research.errors import InvalidInput
from research.validation.cv_paths import cpcv_counts, path_assignment, stitch_paths
from research.validation.label_intervals import ROLES, LabelIntervals
from research.validation.purged_splits import (
    CombinatorialPurgedKFold,
    PurgedKFold,
    combinatorial_purged_splits,
    group_bounds,
    purged_kfold,
    purged_train,
    walk_forward_splits,
)
from research.validation.splits import walk_forward_folds

# Label ends of the check cases that follow: one irregular horizon per row.
ENDS_40 = [2, 5, 4, 7, 7, 9, 8, 8, 10, 13, 14, 16, 14, 16, 19, 16, 20, 22, 23, 23,
           25, 22, 26, 27, 27, 30, 31, 29, 33, 34, 32, 35, 36, 35, 36, 36, 39, 42, 40, 41]  # fmt: skip
ENDS_36 = [4, 3, 5, 4, 6, 6, 8, 10, 12, 13, 12, 14, 16, 16, 17, 16, 20, 20, 19, 20,
           24, 24, 26, 25, 25, 29, 30, 30, 30, 30, 33, 33, 33, 36, 38, 39]  # fmt: skip


def overlap(a, b, closed):
    """Whether two labels share a moment."""
    (a_start, a_end), (b_start, b_end) = a, b
    if closed:
        return a_start <= b_end and b_start <= a_end
    return a_start < b_end and b_start < a_end


def roles_by_pairs(starts, ends, tested, embargo, closed, embargo_from):
    """What each row is, from every pair of a row and a test row. ``tested`` are the test rows."""
    labels = list(zip(starts, ends, strict=True))
    clock = sorted(set(starts))
    tested, found = set(tested), []
    blocks = []
    for row in sorted(tested):
        if blocks and blocks[-1][-1] == row - 1:
            blocks[-1].append(row)
        else:
            blocks.append([row])
    held = set()  # starts under embargo
    for block in blocks:
        if embargo_from == "block":
            later = [t for t in clock if t > starts[block[-1]]]
        else:
            last = max(ends[row] for row in block)
            later = [t for t in clock if (t > last if closed else t >= last)]
        held |= set(later[:embargo])
    for row, label in enumerate(labels):
        after = [block for block in blocks if block[-1] < row]
        if row in tested:
            found.append("test")
        elif any(overlap(label, labels[other], closed) for other in tested):
            found.append("purged")
        elif after and starts[row] in held:
            found.append("embargo")
        else:
            found.append("train")
    return found


@st.composite
def labelled(draw, min_rows=4):
    """Starts that ascend with ties and gaps, ends of any length, whether closed."""
    closed = draw(st.booleans())
    n = draw(st.integers(min_rows, 40))
    steps = draw(st.lists(st.integers(0, 3), min_size=n, max_size=n))
    lengths = draw(st.lists(st.integers(0 if closed else 1, 12), min_size=n, max_size=n))
    starts = np.cumsum(steps)
    return starts, starts + np.array(lengths), closed


@given(labelled(), st.data())
@settings(max_examples=300)
def test_roles_are_those_of_all_pairs(labels, data):
    starts, ends, closed = labels
    tested = sorted(data.draw(st.sets(st.integers(0, starts.size - 1), min_size=1)))
    embargo = data.draw(st.integers(0, 6))
    embargo_from = data.draw(st.sampled_from(["label_end", "block"]))
    runs = [list(run) for _, run in itertools.groupby(tested, key=lambda row: row - tested.index(row))]
    blocks = [(run[0], run[-1] + 1) for run in runs]
    found = LabelIntervals(ends, starts, closed).roles(blocks, embargo, embargo_from)
    expected = roles_by_pairs(starts.tolist(), ends.tolist(), tested, embargo, closed, embargo_from)
    assert [ROLES[role] for role in found] == expected
    train = purged_train(ends, blocks, embargo, starts, closed, embargo_from)
    assert train.tolist() == [row for row, role in enumerate(expected) if role == "train"]


@given(labelled(min_rows=6), st.integers(2, 6), st.data())
@settings(max_examples=150)
def test_splits_never_leak_and_drop_nothing_needlessly(labels, n_groups, data):
    starts, ends, closed = labels
    n_test, embargo = data.draw(st.integers(1, n_groups - 1)), data.draw(st.integers(0, 4))
    bounds = np.concatenate(([0], np.cumsum([len(part) for part in np.array_split(starts, n_groups)])))
    expected = []
    for groups in itertools.combinations(range(n_groups), n_test):
        tested = [row for g in groups for row in range(bounds[g], bounds[g + 1])]
        roles = roles_by_pairs(starts.tolist(), ends.tolist(), tested, embargo, closed, "label_end")
        expected.append(([row for row, role in enumerate(roles) if role == "train"], tested))
    found = combinatorial_purged_splits(ends, n_groups, n_test, embargo, starts, closed)
    for train, test in expected:
        if not train:
            with pytest.raises(InvalidInput, match="must leave a row to train on"):
                next(found)
            return
        got = next(found)
        assert (got[0].tolist(), got[1].tolist()) == (train, test)
    assert next(found, None) is None


@given(st.integers(30, 120), st.integers(2, 8), st.integers(1, 15), st.data())
@settings(max_examples=100)
def test_walk_forward_trains_on_labels_that_end_before_the_test(n_rows, test, longest, data):
    ends = np.arange(n_rows) + np.array(data.draw(st.lists(st.integers(1, longest), min_size=n_rows, max_size=n_rows)))
    folds = walk_forward_folds(n_rows, train=20, test=test, anchored=data.draw(st.booleans()))
    for fold, (train, tested) in zip(folds, walk_forward_splits(folds, ends), strict=True):
        rows = range(fold.train_start, fold.train_stop)
        assert train.tolist() == [row for row in rows if ends[row] < fold.test_start]
        assert tested.tolist() == list(range(fold.test_start, fold.test_stop))


def test_walk_forward_without_a_training_label_is_refused():
    folds = walk_forward_folds(40, train=5, test=5)
    with pytest.raises(InvalidInput, match=r"folds\[0\] must have a training label"):
        list(walk_forward_splits(folds, np.arange(40) + 10))


# Sets of training rows that two other implementations agree on: purgedcv 0.1.11 (half-open) and holdout-backtest
# 0.1.0 (closed), embargo counted from the block.
def test_training_rows_where_ends_pass_starts():
    block = [(16, 24)]
    rows = purged_train(ENDS_40, block, closed=False, embargo_from="block")
    assert rows.tolist() == [*range(14), 15, *range(27, 40)]


def test_training_rows_of_closed_labels():
    assert purged_train(ENDS_36, [(27, 36)], embargo_from="block").tolist() == list(range(25))


def test_embargo_counts_after_the_last_label_or_after_the_block():
    ends = np.arange(20) + 3
    assert purged_train(ends, [(5, 10)], embargo=2).tolist() == [0, 1, *range(15, 20)]
    assert purged_train(ends, [(5, 10)], embargo=2, embargo_from="block").tolist() == [0, 1, *range(13, 20)]
    assert purged_train(ends, [(5, 10)], embargo=5, embargo_from="block").tolist() == [0, 1, *range(15, 20)]


def test_one_long_label_reaches_over_later_blocks_and_is_kept_out_of_both_sides():
    ends = np.arange(12)
    ends[1] = 9  # read by a test on rows 8, 9; its own test reads all up to row 9
    assert purged_train(ends, [(8, 10)]).tolist() == [0, *range(2, 8), 10, 11]
    assert purged_train(ends, [(0, 2)]).tolist() == [10, 11]


def test_embargo_counts_bars_where_symbols_share_a_clock():
    starts = np.repeat(np.arange(10), 3)
    rows = purged_train(starts, [(9, 15)], embargo=2, label_start=starts)
    assert starts[rows].tolist() == [t for t in (0, 1, 2, 7, 8, 9) for _ in range(3)]


def test_times_of_any_unit_are_as_rows():
    hour = 3_600_000_000_000
    starts = np.arange(30) * hour
    ends = starts + np.tile([1, 2, 3], 10) * hour
    rows = [train.tolist() for train, _ in purged_kfold(ends // hour, 4, 2)]
    assert [t.tolist() for t, _ in purged_kfold(ends, 4, 2, starts)] == rows
    as_dates = [pl.Series(x).cast(pl.Datetime("ns")).cast(pl.Datetime("ms")) for x in (ends, starts)]
    assert [t.tolist() for t, _ in purged_kfold(as_dates[0], 4, 2, as_dates[1])] == rows


@pytest.mark.parametrize(("n_rows", "n_groups"), [(10, 3), (11, 4), (12, 4), (7, 7), (1000, 6)])
def test_groups_are_those_of_array_split(n_rows, n_groups):
    bounds = group_bounds(n_rows, n_groups)
    assert np.diff(bounds).tolist() == [len(part) for part in np.array_split(np.arange(n_rows), n_groups)]


@pytest.mark.parametrize(("n_groups", "n_test"), [(n, k) for n in range(2, 9) for k in range(1, n)])
def test_counts_and_coverage_of_paths(n_groups, n_test):
    splits = list(itertools.combinations(range(n_groups), n_test))
    counts = cpcv_counts(n_groups, n_test)
    assert (counts.splits, counts.paths * n_groups) == (len(splits), len(splits) * n_test)
    assigned = path_assignment(n_groups, n_test)
    assert assigned.shape == (n_groups, counts.paths)
    used = [(split, group) for group in range(n_groups) for split in assigned[group].tolist()]
    # Every test of every split is in one path, and nothing else is.
    assert sorted(used) == sorted((split, group) for split, groups in enumerate(splits) for group in groups)
    for group in range(n_groups):  # the p-th path takes the p-th split that tests the group
        assert assigned[group].tolist() == [s for s, groups in enumerate(splits) if group in groups]


# Lopez de Prado (2018), Figs 12.1 and 12.2: 6 groups, 2 of them tested, 15 splits, 5 paths (numbered from 0 here).
def test_published_assignment_of_six_groups():
    assert path_assignment(6, 2).tolist() == [
        [0, 1, 2, 3, 4], [0, 5, 6, 7, 8], [1, 5, 9, 10, 11], [2, 6, 9, 12, 13], [3, 7, 10, 12, 14], [4, 8, 11, 13, 14]
    ]  # fmt: skip


# Section 12.3: phi[6, 2] = 5; ten groups, eight of them tested, give 45 splits and 36 paths.
def test_published_counts():
    assert (cpcv_counts(6, 2).splits, cpcv_counts(6, 2).paths) == (15, 5)
    assert (cpcv_counts(10, 8).splits, cpcv_counts(10, 8).paths) == (45, 36)


@given(st.integers(2, 6), st.integers(0, 20), st.data())
@settings(max_examples=60)
def test_paths_hold_each_row_once_from_the_split_assigned(n_groups, extra, data):
    n_test = data.draw(st.integers(1, n_groups - 1))
    n_rows = n_groups + extra
    groups_of = np.repeat(np.arange(n_groups), [len(p) for p in np.array_split(np.arange(n_rows), n_groups)])
    outcomes = []
    for split, groups in enumerate(itertools.combinations(range(n_groups), n_test)):
        rows = np.flatnonzero(np.isin(groups_of, groups))
        outcomes.append(np.column_stack([np.full(rows.size, split), rows]))
    stitched = stitch_paths(outcomes, n_rows, n_groups, n_test)
    paths = cpcv_counts(n_groups, n_test).paths
    assert stitched.shape == (paths, n_rows, 2)
    assert stitched.dtype == np.int64
    for path in range(paths):
        assert stitched[path, :, 1].tolist() == list(range(n_rows))
        assert stitched[path, :, 0].tolist() == path_assignment(n_groups, n_test)[groups_of, path].tolist()
    some = [paths - 1, 0]
    assert (stitch_paths(outcomes, n_rows, n_groups, n_test, some) == stitched[some]).all()


def test_paths_of_a_model_that_knows_its_training_mean():
    """From splits to paths: each prediction is the mean of what its split trained on."""
    y = np.random.default_rng(3).normal(size=60)
    ends = np.arange(60) + 4
    splits = list(combinatorial_purged_splits(ends, 5, 2, embargo=1))
    predicted = [np.full(test.size, y[train].mean()) for train, test in splits]
    paths = stitch_paths(predicted, 60, 5, 2)
    for group, path in itertools.product(range(5), range(4)):
        train, test = splits[path_assignment(5, 2)[group, path]]
        rows = np.arange(12 * group, 12 * (group + 1))
        assert np.isin(rows, test).all()
        assert (paths[path, rows] == y[train].mean()).all()


@pytest.mark.parametrize(
    ("change", "subject"),
    [
        ({"outcomes": [[1.0]] * 2}, "outcomes must have one entry per split"),
        ({"outcomes": [[1.0, 2.0], [1.0], [1.0, 2.0]]}, r"outcomes\[1\]"),
        ({"paths": [2]}, "paths"),
        ({"n_test_groups": 3}, "n_test_groups"),
    ],
)
def test_wrong_outcomes_are_refused(change, subject):
    given_ = {"outcomes": [[1.0, 2.0]] * 3, "n_rows": 3, "n_groups": 3, "n_test_groups": 2} | change
    with pytest.raises(InvalidInput, match=subject):
        stitch_paths(**given_)


def test_scikit_learn_takes_the_splitters():
    rng = np.random.default_rng(1)
    X = rng.normal(size=(120, 3))
    y = X @ [1.0, -2.0, 0.5] + 0.01 * rng.normal(size=120)
    ends = np.arange(120) + 5
    for splitter, n_splits in (
        (PurgedKFold(4, embargo=2, label_end=ends), 4),
        (CombinatorialPurgedKFold(6, 2, embargo=2, label_end=ends), 15),
    ):
        assert splitter.get_n_splits(X, y) == n_splits
        scores = cross_val_score(LinearRegression(), X, y, cv=splitter)
        by_hand = []
        for train, test in splitter.split(X, y):
            model = LinearRegression().fit(X[train], y[train])
            by_hand.append(model.score(X[test], y[test]))
        assert scores.tolist() == by_hand
        assert len(by_hand) == n_splits
        assert min(by_hand) > 0.99
    search = GridSearchCV(DummyClassifier(), {"strategy": ["prior", "uniform"]}, cv=PurgedKFold(3, label_end=ends))
    assert clone(search).fit(X, y > 0).n_splits_ == 3
    with pytest.raises(ValueError, match="only works for partitions"):  # rows are predicted more than once
        cross_val_predict(LinearRegression(), X, y, cv=CombinatorialPurgedKFold(4, 2, label_end=ends))


def test_splitters_and_functions_split_alike():
    ends = np.array(ENDS_40)
    for splitter, found in (
        (PurgedKFold(5, 2, label_end=ends, closed=False), purged_kfold(ends, 5, 2, closed=False)),
        (CombinatorialPurgedKFold(5, 2, 1, label_end=ends, embargo_from="block"),
         combinatorial_purged_splits(ends, 5, 2, 1, embargo_from="block")),
    ):  # fmt: skip
        pairs = list(zip(splitter.split(), found, splitter.roles(), strict=True))
        assert len(pairs) == splitter.get_n_splits()
        for (train, test), (train_too, test_too), roles in pairs:
            assert train.tolist() == train_too.tolist() == np.flatnonzero(roles == ROLES.index("train")).tolist()
            assert test.tolist() == test_too.tolist() == np.flatnonzero(roles == ROLES.index("test")).tolist()


@pytest.mark.parametrize("n_splits", [1, 31])
def test_a_number_of_folds_that_rows_do_not_allow_is_refused_by_its_name(n_splits):
    with pytest.raises(InvalidInput, match=r"n_splits must lie in \[2, rows = 30\]"):
        PurgedKFold(n_splits, label_end=ENDS)
    with pytest.raises(InvalidInput, match="n_splits"):
        purged_kfold(ENDS, n_splits)


def test_rows_of_another_table_are_refused():
    splitter = PurgedKFold(3, label_end=np.arange(30) + 1)
    with pytest.raises(InvalidInput, match="X must have a row per label, 30; received 29"):
        splitter.split(np.zeros((29, 2)))


ENDS = np.arange(30) + 2


@pytest.mark.parametrize(
    ("subject", "arguments"),
    [
        ("n_groups", {"n_groups": 1}),
        ("n_groups", {"n_groups": 31}),
        ("n_groups must give at most", {"n_groups": 24, "n_test_groups": 12}),
        ("n_test_groups", {"n_test_groups": 0}),
        ("n_test_groups", {"n_test_groups": 5}),
        ("embargo", {"embargo": -1}),
        ("embargo", {"embargo": 0.5}),
        ("embargo", {"embargo": True}),
        ("embargo_from", {"embargo_from": "test"}),
        ("label_start", {"label_start": np.arange(29)}),
        (r"label_start\[3\]", {"label_start": [0, 1, 2, 1, *range(4, 30)]}),
        (r"label_end\[4\]", {"label_end": [*range(4), 3, *range(5, 30)]}),
        (r"label_end\[0\]", {"label_end": np.arange(30), "closed": False}),
        ("label_end", {"label_end": ENDS.astype(float)}),
        ("label_end", {"label_end": np.full(30, "NaT", dtype="datetime64[ns]"), "label_start": np.arange(30)}),
        ("label_start must be given", {"label_end": ENDS.astype("datetime64[s]")}),
    ],
)
def test_bad_input_is_refused_before_the_first_split(subject, arguments):
    given_ = {"label_end": ENDS, "n_groups": 5, "n_test_groups": 1} | arguments
    with pytest.raises(InvalidInput, match=subject):
        combinatorial_purged_splits(**given_)
    with pytest.raises(InvalidInput, match=subject):
        CombinatorialPurgedKFold(given_.pop("n_groups"), given_.pop("n_test_groups"), **given_)


@pytest.mark.parametrize("block", [(-1, 3), (3, 3), (28, 31)])
def test_blocks_outside_the_rows_are_refused(block):
    with pytest.raises(InvalidInput, match="blocks"):
        purged_train(ENDS, [block])


def test_a_fraction_of_splits_that_is_too_many_is_not_enumerated():
    assert cpcv_counts(60, 30).splits == math.comb(60, 30)
    with pytest.raises(InvalidInput, match="at most 1,000,000 splits"):
        path_assignment(60, 30)
