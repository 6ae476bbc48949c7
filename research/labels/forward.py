"""Labels from future closes: the only code that looks forward. It makes no feature, and nothing in live imports it."""

from __future__ import annotations

import numpy as np

from research.errors import InvalidInput
from research.kernel import FloatArray, IntArray


def forward_return(close: FloatArray, horizon: int) -> FloatArray:
    """Return the log return from the close of each bar to the close ``horizon`` bars later.

    Parameters
    ----------
    close : (n,) array
        Closes on a complete clock, quote per base; NaN where a bar is absent.
    horizon : int
        Bars ahead, at least 1.

    Returns
    -------
    (n,) array
        NaN in the last ``horizon`` rows, and where either close is NaN.

    Raises
    ------
    InvalidInput
        If ``horizon`` is below 1 or a close is not positive.

    Examples
    --------
    >>> forward_return(np.array([1.0, 2.0, 8.0]), 1).round(3)
    array([0.693, 1.386,   nan])
    """
    _require_horizon(horizon)
    wrong = np.flatnonzero((close <= 0.0) | np.isinf(close))
    if wrong.size:
        raise InvalidInput(f"close[{wrong[0]}]", "must be positive and finite, or NaN", float(close[wrong[0]]))
    label = np.full(close.shape, np.nan)
    label[:-horizon] = np.log(close[horizon:] / close[:-horizon])
    return label


def scaled_forward_return(close: FloatArray, volatility: FloatArray, horizon: int) -> FloatArray:
    r"""Return the forward log return in units of its expected deviation.

    .. math:: y_t = \ln(C_{t+h} / C_t) / (\sigma_t \sqrt{h})

    Parameters
    ----------
    close : (n,) array
        As in :func:`forward_return`.
    volatility : (n,) array
        Standard deviation of the log return of one bar, known at the close of bar t; not annualised.
    horizon : int
        Bars ahead, at least 1.

    Returns
    -------
    (n,) array
        Dimensionless; NaN where the forward return is, and where the volatility is NaN or not positive.
    """
    if volatility.shape != close.shape:
        raise InvalidInput("volatility", f"must have as many rows as close, {close.shape}", volatility.shape)
    scale = np.where(volatility > 0.0, volatility, np.nan) * np.sqrt(float(horizon))
    return forward_return(close, horizon) / scale


def label_end(n_rows: int, horizon: int) -> IntArray:
    """Return the last row that the label of each row reads.

    A row may train a model that is tested from row s only where its label ends before s.

    Parameters
    ----------
    n_rows : int
        Rows on a complete clock.
    horizon : int
        Bars ahead, at least 1.

    Returns
    -------
    (n_rows,) array of int64
        ``t + horizon``; ``n_rows`` or more where the label does not exist.

    Examples
    --------
    >>> label_end(4, 2).tolist()
    [2, 3, 4, 5]
    """
    _require_horizon(horizon)
    return np.arange(n_rows, dtype=np.int64) + horizon


def _require_horizon(horizon: int) -> None:
    if horizon < 1:
        raise InvalidInput("horizon", "must be at least 1 bar", horizon)
