"""Re-optimise on each training window, test on the rows after it, stitch the tests. It neither fits nor trades."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any

import polars as pl
from tqdm.auto import tqdm

from research.errors import InvalidInput, MisalignedBars
from research.validation.splits import Fold

Optimise = Callable[[Fold], tuple[Mapping[str, Any], pl.DataFrame | None]]
Tested = pl.DataFrame | tuple[pl.DataFrame, pl.DataFrame]
Evaluate = Callable[[Mapping[str, Any], Fold], Tested]


@dataclass(frozen=True, slots=True)
class WalkForwardResult:
    """What a walk-forward found.

    Parameters
    ----------
    folds : DataFrame
        One row per fold: ``fold``, the row ranges of :class:`Fold`, and ``param.NAME`` of what was chosen.
    returns : DataFrame
        The out-of-sample series: ``fold`` and the columns of the evaluation, each test row once, in time order.
    trials : DataFrame
        Every trial of every fold, with its ``fold``; empty where the optimisation reports none.
    trades : mapping of int to DataFrame
        Per fold, in order, the trades that its evaluation handed over with the returns; empty where none did.
    """

    folds: pl.DataFrame
    returns: pl.DataFrame
    trials: pl.DataFrame
    trades: Mapping[int, pl.DataFrame] = field(default_factory=dict)


def walk_forward(
    folds: Sequence[Fold], optimise: Optimise, evaluate: Evaluate, threads: int = 1, progress: bool = False
) -> WalkForwardResult:
    """Choose on each training window and test the choice on the window after it.

    Parameters
    ----------
    folds : sequence of Fold
        From :func:`walk_forward_folds`.
    optimise : callable
        ``optimise(fold) -> (choice, trials)``: may look at rows before ``fold.train_stop`` only. ``choice`` maps names
        to values, ``trials`` is a frame or None.
    evaluate : callable
        ``evaluate(choice, fold) -> DataFrame`` with one row per test row of the fold and a column ``ts``, or that and
        a frame of trades. It may read earlier rows to warm up, and starts flat: the cost of the entry is paid again at
        each seam.
    threads : int
        Folds at a time. They pay off where the callables spend their time in kernels, which release the lock.
    progress : bool
        Show a bar where there is a terminal or a notebook.

    Returns
    -------
    WalkForwardResult
        The same for any number of threads, if the callables depend on their arguments alone.

    Raises
    ------
    InvalidInput
        If there are no folds, or an evaluation does not have the fold's rows.
    MisalignedBars
        If the stitched times do not increase.

    Notes
    -----
    An exception out of a callable carries a note with the fold that it happened in.
    """
    if not folds:
        raise InvalidInput("folds", "must not be empty")
    if threads < 1:
        raise InvalidInput("threads", "must be at least 1", threads)

    def run(fold: Fold) -> tuple[Mapping[str, Any], pl.DataFrame | None, pl.DataFrame, pl.DataFrame | None]:
        with _NamesFold(fold):
            choice, trials = optimise(fold)
            tested = evaluate(choice, fold)
            rows, trades = tested if isinstance(tested, tuple) else (tested, None)
            return choice, trials, _stitched(rows, fold), trades

    with ThreadPoolExecutor(threads) as pool:
        # disable=None: shown in a terminal or a notebook, silent elsewhere.
        waiting = tqdm(pool.map(run, folds), total=len(folds), desc="folds", disable=None if progress else True)
        outcomes = list(waiting)
    returns = pl.concat([rows for _, _, rows, _ in outcomes])
    late = returns["ts"].diff().to_physical() <= 0
    if late.any():
        i = int(late.fill_null(False).arg_true()[0])
        raise MisalignedBars(f"returns.ts[{i}]", "must be later than the row before", str(returns["ts"][i]))
    return WalkForwardResult(
        folds=_folds_table(folds, [choice for choice, _, _, _ in outcomes]),
        returns=returns,
        trials=_trials_table(folds, [trials for _, trials, _, _ in outcomes]),
        trades={f.index: trades for f, (_, _, _, trades) in zip(folds, outcomes, strict=True) if trades is not None},
    )


def _stitched(tested: pl.DataFrame, fold: Fold) -> pl.DataFrame:
    subject = f"evaluate(fold {fold.index})"
    if "ts" not in tested.columns or "fold" in tested.columns:
        raise InvalidInput(subject, "must return a column ts and none called fold", tested.columns)
    if tested.height != fold.test_stop - fold.test_start:
        raise InvalidInput(subject, f"must return its {fold.test_stop - fold.test_start} test rows", tested.height)
    share = tested.head(fold.stitch_stop - fold.test_start)
    return share.select(pl.lit(fold.index, dtype=pl.Int64).alias("fold"), pl.all())


def _folds_table(folds: Sequence[Fold], choices: Sequence[Mapping[str, Any]]) -> pl.DataFrame:
    ranges = ("train_start", "train_stop", "test_start", "test_stop", "stitch_stop")
    columns = {name: [getattr(fold, name) for fold in folds] for name in ranges}
    table = pl.DataFrame({"fold": [fold.index for fold in folds]} | columns)
    names = dict.fromkeys(name for choice in choices for name in choice)
    chosen = [
        pl.Series(f"param.{name}", [choice.get(name) for choice in choices], dtype=None, strict=False) for name in names
    ]
    return table.with_columns(chosen)


def _trials_table(folds: Sequence[Fold], trials: Sequence[pl.DataFrame | None]) -> pl.DataFrame:
    tables = [
        table.select(pl.lit(fold.index, dtype=pl.Int64).alias("fold"), pl.all())
        for fold, table in zip(folds, trials, strict=True)
        if table is not None
    ]
    return pl.concat(tables, how="diagonal_relaxed") if tables else pl.DataFrame(schema={"fold": pl.Int64})


class _NamesFold:
    """Adds the fold to an exception that passes through."""

    def __init__(self, fold: Fold) -> None:
        self.fold = fold

    def __enter__(self) -> None:
        return None

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None:
            error.add_note(f"in {self.fold}")
