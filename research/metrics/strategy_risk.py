r"""How precise a strategy must be for a Sharpe ratio, and how likely it is not. It knows bets alone, and no market.

Bets are independent and have two outcomes, :math:`\pi_+` with probability p and :math:`\pi_-` otherwise; n of them a
year. Source: M. López de Prado, "Advances in Financial Machine Learning", 2018, chapter 15.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike

from research.errors import InvalidInput
from research.metrics.returns import finite_series


def bets_sharpe(precision: float, bets: float, gain: float = 1.0, loss: float = -1.0) -> float:
    r"""Return the yearly Sharpe ratio of bets.

    .. math:: \theta = \frac{(\pi_+ - \pi_-) p + \pi_-}{(\pi_+ - \pi_-) \sqrt{p (1 - p)}} \sqrt n

    Parameters
    ----------
    precision : float
        p, in (0, 1).
    bets : float
        n, in a year.
    gain, loss : float
        Outcomes; ``loss`` below ``gain``, usually negative.

    Examples
    --------
    >>> round(bets_sharpe(0.55, 396.0), 12)
    2.0
    """
    _check(gain, loss, bets)
    _require(0.0 < precision < 1.0, "precision", "must lie in (0, 1)", precision)
    apart = gain - loss
    return (apart * precision + loss) / (apart * math.sqrt(precision * (1.0 - precision))) * math.sqrt(bets)


def bets_needed(precision: float, target_sharpe: float, gain: float = 1.0, loss: float = -1.0) -> float:
    """Return how many bets a year make the ratio; infinite where the mean outcome is 0 or of the other sign.

    Examples
    --------
    >>> round(bets_needed(0.55, 2.0), 9)
    396.0
    """
    _check(gain, loss, 1.0)
    _require(0.0 < precision < 1.0, "precision", "must lie in (0, 1)", precision)
    apart = gain - loss
    mean = apart * precision + loss
    if mean == 0.0 or mean * target_sharpe < 0.0:
        return math.inf if target_sharpe != 0.0 else 0.0
    return target_sharpe**2 * apart**2 * precision * (1.0 - precision) / mean**2


def precision_needed(target_sharpe: float, bets: float, gain: float = 1.0, loss: float = -1.0) -> float:
    """Return the precision that makes the ratio.

    Parameters
    ----------
    target_sharpe : float
        Yearly.
    bets : float
        In a year.
    gain, loss : float
        As for :func:`bets_sharpe`.

    Returns
    -------
    float
        The root of the ratio's square that has the target's sign.

    Examples
    --------
    >>> round(precision_needed(2.0, 396.0), 12)
    0.55
    """
    _check(gain, loss, bets)
    apart, squared = gain - loss, target_sharpe**2
    a = (bets + squared) * apart**2
    b = (2.0 * bets * loss - squared * apart) * apart
    c = bets * loss**2
    root = math.sqrt(max(b * b - 4.0 * a * c, 0.0))
    return (-b + math.copysign(root, target_sharpe if target_sharpe != 0.0 else 1.0)) / (2.0 * a)


def failure_probability(returns: ArrayLike, bets: float, target_sharpe: float, years: float | None = None) -> float:
    """Return how likely a strategy's true precision is below the one that the ratio needs.

    Parameters
    ----------
    returns : (n,) array_like
        Of closed bets, some above 0 and some not.
    bets : float
        In a year.
    target_sharpe : float
        Yearly.
    years : float, optional
        The precision is taken as normal around the sample's, with the variance ``p (1 - p) / n`` of the n bets seen; of
        ``bets * years`` bets where it is asked what so many years would show. (The book's snippet has ``p (1 - p)`` as
        a deviation, whatever the number of bets.)

    Raises
    ------
    InvalidInput
        If all bets have one sign: there is no loss, or no gain, to reckon with.
    """
    from scipy.special import ndtr

    values = finite_series(returns, "returns")
    won, lost = values[values > 0.0], values[values <= 0.0]
    _require(won.size > 0 and lost.size > 0, "returns", "must have gains and losses", [won.size, lost.size])
    _require(years is None or (math.isfinite(years) and years > 0.0), "years", "must be positive", years)
    precision = won.size / values.size
    needed = precision_needed(target_sharpe, bets, float(won.mean()), float(lost.mean()))
    seen = float(values.size) if years is None else bets * years
    deviation = math.sqrt(precision * (1.0 - precision) / seen)
    return float(ndtr((needed - precision) / deviation))


def _check(gain: float, loss: float, bets: float) -> None:
    _require(bool(np.isfinite([gain, loss]).all()) and gain > loss, "gain", f"must be above the loss {loss}", gain)
    _require(math.isfinite(bets) and bets > 0.0, "bets", "must be positive", bets)


def _require(is_met: bool, subject: str, rule: str, value: object) -> None:
    if not is_met:
        raise InvalidInput(subject, rule, value)
