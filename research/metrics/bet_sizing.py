"""How much to bet, in closed form: Kelly's fractions, and sizes from a model's probability. It sizes no order.

What a policy holds is decided by the sizers of :mod:`research.risk`; these say what a size would be worth.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from research.errors import InvalidInput
from research.kernel import FloatArray
from research.metrics.returns import finite_series, is_constant
from research.metrics.trades import payoff_ratio, win_rate


@dataclass(frozen=True, slots=True)
class ContinuousKelly:
    """What Kelly's fraction of a diffusion comes to, per unit of time of its drift.

    Parameters
    ----------
    fraction : float
        Of wealth in the risky asset.
    growth : float
        Expected growth rate of wealth at that fraction.
    deviation : float
        Standard deviation of that growth rate.
    growth_unlevered : float
        Growth rate at a fraction of 1.
    """

    fraction: float
    growth: float
    deviation: float
    growth_unlevered: float


def kelly_fraction(p_win: float, gain: float = 1.0, loss: float = 1.0) -> float:
    r"""Return the fraction of wealth that makes a repeated bet grow fastest.

    .. math:: f^* = \frac{p}{l} - \frac{1 - p}{g}

    Parameters
    ----------
    p_win : float
        Probability of a gain, in [0, 1].
    gain, loss : float
        Won and lost per unit bet, positive; 1 and 1 are even money, and :math:`f^* = 2p - 1`.

    Returns
    -------
    float
        Negative where the bet is not worth taking.

    References
    ----------
    .. [1] E. O. Thorp, "The Kelly Criterion in Blackjack, Sports Betting, and the Stock Market", 2006, section 2.

    Examples
    --------
    >>> round(kelly_fraction(0.53), 12)
    0.06
    """
    _require(0.0 <= p_win <= 1.0, "p_win", "must lie in [0, 1]", p_win)
    for name, value in (("gain", gain), ("loss", loss)):
        _require(math.isfinite(value) and value > 0.0, name, "must be positive", value)
    return p_win / loss - (1.0 - p_win) / gain


def kelly_growth(fraction: float, p_win: float, gain: float = 1.0, loss: float = 1.0) -> float:
    r"""Return the expected log growth of wealth per bet, :math:`p \ln(1 + g f) + (1 - p) \ln(1 - l f)`.

    Minus infinity where an outcome takes everything: a loss, or, bet against, a gain.
    """
    if (fraction * loss >= 1.0 and p_win < 1.0) or (fraction * gain <= -1.0 and p_win > 0.0):
        return -math.inf
    won = p_win * math.log1p(gain * fraction) if p_win > 0.0 else 0.0
    return won + ((1.0 - p_win) * math.log1p(-loss * fraction) if p_win < 1.0 else 0.0)


def zero_growth_fraction(p_win: float, gain: float = 1.0, loss: float = 1.0) -> float:
    """Return the fraction above Kelly's at which growth is gone: who bets more is ruined slowly, however good the bet.

    0 where the bet is not worth taking.

    Examples
    --------
    >>> round(zero_growth_fraction(0.53), 4)
    0.1197
    """
    best = kelly_fraction(p_win, gain, loss)
    if best <= 0.0:
        return 0.0
    low, high = best, 1.0 / loss
    while high - low > 1e-15 * high and low < (middle := 0.5 * (low + high)) < high:
        low, high = (middle, high) if kelly_growth(middle, p_win, gain, loss) > 0.0 else (low, middle)
    return 0.5 * (low + high)


def continuous_kelly(drift: float, deviation: float, risk_free: float = 0.0) -> ContinuousKelly:
    r"""Return Kelly's fraction :math:`(\mu - r) / \sigma^2` of a diffusion, and what it grows at.

    Parameters
    ----------
    drift, deviation, risk_free : float
        Per unit of time; the deviation is positive.

    References
    ----------
    .. [1] Thorp 2006, section 7: growth :math:`r + S^2 / 2` and deviation S, S the Sharpe ratio.

    Examples
    --------
    >>> found = continuous_kelly(0.11, 0.15, 0.06)
    >>> round(found.fraction, 4), round(found.growth, 4), round(found.growth_unlevered, 5)
    (2.2222, 0.1156, 0.09875)
    """
    _require(math.isfinite(deviation) and deviation > 0.0, "deviation", "must be positive", deviation)
    ratio = (drift - risk_free) / deviation
    return ContinuousKelly(
        ratio / deviation, risk_free + 0.5 * ratio**2, abs(ratio), drift - 0.5 * deviation**2
    )  # fmt: skip


def kelly_weights(drift: ArrayLike, covariance: ArrayLike, risk_free: float = 0.0) -> FloatArray:
    r"""Return the weights :math:`\Sigma^{-1} (\mu - r)` at which several assets together grow fastest.

    Parameters
    ----------
    drift : (n,) array_like
    covariance : (n, n) array_like
        Positive definite.

    Raises
    ------
    InvalidInput
        If shapes do not fit or the covariance has no inverse.
    """
    means, spread = np.asarray(drift, dtype=np.float64), np.asarray(covariance, dtype=np.float64)
    _require(means.ndim == 1 and spread.shape == (means.size,) * 2, "covariance", "must be (n, n)", spread.shape)
    try:
        np.linalg.cholesky(spread)
    except np.linalg.LinAlgError as error:
        raise InvalidInput("covariance", "must be positive definite") from error
    return np.asarray(np.linalg.solve(spread, means - risk_free), dtype=np.float64)


def kelly_growth_share(fraction: float) -> float:
    r"""Return the share :math:`c (2 - c)` of the greatest excess growth that a ``fraction`` c of Kelly's bet keeps.

    Of a diffusion, over the riskless rate: half of Kelly's bet keeps three quarters of it, twice the bet nothing.
    """
    return fraction * (2.0 - fraction)


def kelly_of_returns(returns: ArrayLike, risk_free: float = 0.0) -> float:
    """Return mean excess over variance (``ddof=1``) of returns per period; NaN where they do not vary.

    Bacon and others quote the half of it.
    """
    values = finite_series(returns, "returns")
    if values.size < 2 or is_constant(values):
        return math.nan
    return float((values.mean() - risk_free) / values.var(ddof=1))


def kelly_of_trades(pnl: ArrayLike) -> float:
    """Return win rate less loss rate over payoff ratio: Kelly's fraction of the mean loss. NaN where one side is empty.

    Break-even trades count as losses, as in the win rate.
    """
    wins, payoff = win_rate(pnl), payoff_ratio(pnl)
    return wins - (1.0 - wins) / payoff


def probability_bet_size(probability: ArrayLike, classes: int = 2, step: float = 0.0) -> FloatArray:
    r"""Return sizes from the probability that a classifier gives to the class it chose.

    .. math:: z = \frac{p - 1/K}{\sqrt{p (1 - p)}}, \quad m = 2 \Phi(z) - 1

    Parameters
    ----------
    probability : array_like
        In (0, 1); 0 and 1 are certainties and give -1 and 1.
    classes : int
        K, at least 2. A meta-label has two.
    step : float
        Sizes are rounded to multiples of it; 0 leaves them.

    Returns
    -------
    array
        In [-1, 1]; negative where the class is less likely than by chance. The side is another matter.

    References
    ----------
    .. [1] M. López de Prado, "Advances in Financial Machine Learning", 2018, 10.3.

    Examples
    --------
    >>> float(probability_bet_size(0.6).round(4)), float(probability_bet_size(0.6, step=0.1).round(2))
    (0.1617, 0.2)
    """
    from scipy.special import ndtr

    given = np.asarray(probability, dtype=np.float64)
    _require(bool(np.all((given >= 0.0) & (given <= 1.0))), "probability", "must lie in [0, 1]", given)
    _require(classes >= 2, "classes", "must be at least 2", classes)
    _require(0.0 <= step <= 1.0, "step", "must lie in [0, 1]", step)
    with np.errstate(divide="ignore"):
        size = 2.0 * ndtr((given - 1.0 / classes) / np.sqrt(given * (1.0 - given))) - 1.0
    return np.clip(np.round(size / step) * step, -1.0, 1.0) if step > 0.0 else size


def _require(is_met: bool, subject: str, rule: str, value: object) -> None:
    if not is_met:
        raise InvalidInput(subject, rule, value)
