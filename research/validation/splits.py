"""Row ranges of training and test windows. It cuts no data and knows no dates."""

from __future__ import annotations

from dataclasses import dataclass

from research.errors import InvalidInput


@dataclass(frozen=True, slots=True)
class Fold:
    """One window of a walk-forward, as half-open ranges of rows.

    Parameters
    ----------
    index : int
        Position among the folds, from 0.
    train_start, train_stop : int
        Rows to learn from.
    test_start, test_stop : int
        Rows to test on, all later.
    stitch_stop : int
        Test rows before it are this fold's share of the out-of-sample series; later ones belong to the next folds.
    """

    index: int
    train_start: int
    train_stop: int
    test_start: int
    test_stop: int
    stitch_stop: int

    @property
    def train(self) -> slice:
        """Rows to learn from."""
        return slice(self.train_start, self.train_stop)

    @property
    def test(self) -> slice:
        """Rows to test on."""
        return slice(self.test_start, self.test_stop)


def walk_forward_folds(
    n_rows: int,
    train: int,
    test: int,
    step: int | None = None,
    purge: int = 0,
    embargo: int = 0,
    anchored: bool = False,
) -> list[Fold]:
    """Return the windows of a rolling or anchored walk-forward.

    Parameters
    ----------
    n_rows : int
        Rows available.
    train, test : int
        Rows of a training and of a test window.
    step : int, optional
        Rows from one window to the next, at most ``test``; defaults to ``test``.
    purge : int
        Rows left out between training and test: at least as many as the longest label looks ahead, so that a label of
        the last training row ends before the first test row.
    embargo : int
        Further rows left out there, because features of neighbouring rows share their past.
    anchored : bool
        Start every training window at row 0 (``train`` is then the length of the first).

    Returns
    -------
    list of Fold
        ``(n_rows - train - purge - embargo - test) // step + 1`` folds.

    Raises
    ------
    InvalidInput
        If a length is out of range or not even one fold fits.

    Notes
    -----
    With ``step`` below ``test`` the test windows overlap: 365 days in windows of 90 and 30 with a step of 7 test 275
    distinct days 1,080 times, and a statistic over their concatenation believes in four times the evidence there is.
    The stitched series takes the first ``step`` rows of each window, so that every row is counted once and is traded
    by a model of the same age as in live. The last ``test - step`` rows of the last window are left out of it.

    Examples
    --------
    >>> folds = walk_forward_folds(365, train=90, test=30, step=7)
    >>> len(folds), folds[-1]
    (36, Fold(index=35, train_start=245, train_stop=335, test_start=335, test_stop=365, stitch_stop=342))
    """
    step = test if step is None else step
    for name, value, low in (("train", train, 1), ("test", test, 1), ("purge", purge, 0), ("embargo", embargo, 0)):
        if value < low:
            raise InvalidInput(f"walk_forward.{name}", f"must be at least {low}", value)
    if not 1 <= step <= test:
        rule = f"must lie in [1, test = {test}]: a larger step leaves rows that no window tests"
        raise InvalidInput("walk_forward.step", rule, step)
    gap = purge + embargo
    needed = train + gap + test
    if n_rows < needed:
        raise InvalidInput("n_rows", f"must be at least train + purge + embargo + test = {needed}", n_rows)
    folds = []
    for index, start in enumerate(range(0, n_rows - needed + 1, step)):
        test_start = start + train + gap
        folds.append(
            Fold(
                index=index,
                train_start=0 if anchored else start,
                train_stop=start + train,
                test_start=test_start,
                test_stop=test_start + test,
                stitch_stop=test_start + step,
            )
        )
    return folds
