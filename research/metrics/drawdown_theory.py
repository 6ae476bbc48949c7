"""Drawdowns that chance alone brings: of a Brownian motion, and of bets with or without memory. It sees no record."""

from __future__ import annotations

import math
from statistics import NormalDist
from typing import NamedTuple

import numpy as np

from research.errors import InvalidInput
from research.kernel import FloatArray

_NORMAL = NormalDist()
# Terms of the Euler inversion: nine digits of the result, and 1e5 times rounding (Abate and Whitt 2006).
_TERMS = 15


def expected_maximum_drawdown(drift: float, volatility: float, length: float) -> float:
    """Return the expected maximum drawdown of a Brownian motion with drift.

    Parameters
    ----------
    drift, volatility : float
        Per unit of time; the motion is of sums of returns or of log prices, so that a drawdown is a distance.
    length : float
        Time, not negative.

    Returns
    -------
    float
        Positive, in units of the motion; relative error below 1e-7.

    Raises
    ------
    InvalidInput
        If ``volatility`` is not positive, ``length`` negative, or an input not finite.

    Notes
    -----
    The Laplace transform of the time of the first drawdown of a size is known [1]_; its integral over sizes is that of
    the expected maximum, inverted by Euler summation. The table printed in [2]_ is off by up to 0.4 %.

    References
    ----------
    .. [1] H. M. Taylor, "A Stopped Brownian Motion Formula", Annals of Probability 3(2), 1975.
    .. [2] M. Magdon-Ismail, A. F. Atiya, A. Pratap, Y. S. Abu-Mostafa, "On the Maximum Drawdown of a Brownian Motion",
       Journal of Applied Probability 41(1), 2004.

    Examples
    --------
    >>> round(expected_maximum_drawdown(0.0, 0.6, 1.0), 6)  # sqrt(pi / 2) sigma sqrt(T)
    0.751988
    """
    for name, value in (("drift", drift), ("volatility", volatility), ("length", length)):
        if not math.isfinite(value):
            raise InvalidInput(name, "must be finite", value)
    if not volatility > 0.0:
        raise InvalidInput("volatility", "must be positive", volatility)
    if length < 0.0:
        raise InvalidInput("length", "must not be negative", length)
    if length == 0.0:
        return 0.0
    if drift == 0.0:
        return math.sqrt(math.pi / 2.0) * volatility * math.sqrt(length)
    ratio = drift / volatility**2
    s, weights = _euler(length)
    gamma = np.sqrt(ratio * ratio + 2.0 * s / volatility**2)
    # The smaller of the weights (1 - ratio / gamma) / 2 and (1 + ratio / gamma) / 2, without the cancellation.
    smaller = s / volatility**2 / (gamma * (gamma + abs(ratio)))
    transform = _integral(smaller, drift > 0.0) / (2.0 * gamma * s)
    return float(weights @ transform.real)


def drawdown_q(x: float, positive_drift: bool) -> float:
    """Return Q of Magdon-Ismail: E[MDD] = 2 sigma^2 / abs(mu) Q(mu^2 T / (2 sigma^2)).

    Parameters
    ----------
    x : float
        Not negative.
    positive_drift : bool
        Which of the two branches.

    Raises
    ------
    InvalidInput
        If ``x`` is negative or not finite.

    Examples
    --------
    >>> round(drawdown_q(0.5, True), 6), round(drawdown_q(0.5, False), 6)
    (0.462538, 0.885794)
    """
    if not (math.isfinite(x) and x >= 0.0):
        raise InvalidInput("x", "must be finite and not negative", x)
    return 0.5 * expected_maximum_drawdown(1.0 if positive_drift else -1.0, 1.0, 2.0 * x)


def _euler(time: float) -> tuple[np.ndarray, FloatArray]:
    """Return points and weights at which a Laplace transform sums up to its function at a time."""
    m = _TERMS
    xi = np.ones(2 * m + 1)
    xi[0], xi[2 * m] = 0.5, 0.5**m
    for k in range(1, m):
        xi[2 * m - k] = xi[2 * m - k + 1] + 0.5**m * math.comb(m, k)
    order = np.arange(2 * m + 1)
    points = (m * math.log(10.0) / 3.0 + 1j * math.pi * order) / time
    return points, 10.0 ** (m / 3.0) / time * np.where(order % 2 == 0, 1.0, -1.0) * xi


def _integral(smaller: np.ndarray, is_rising: bool) -> np.ndarray:
    """Return the integral over t in (0, 1) of t^(a - 1) / ((1 - a) + a t), for complex ``a``.

    ``smaller`` is 1 - a of a rising motion and ``a`` of a falling one. There the integral grows as 1 / a: that part is
    taken out.
    """
    nodes, weights = np.polynomial.legendre.leggauss(16)
    edges = np.linspace(0.0, 90.0, 181)
    half = 0.5 * np.diff(edges)
    v = (edges[:-1, None] + half[:, None] * (1.0 + nodes)).ravel()  # t = exp(-v)
    w = (half[:, None] * weights).ravel()
    b = smaller[:, None]
    if is_rising:
        return np.exp(-(1.0 - b) * v) / (b + (1.0 - b) * np.exp(-v)) @ w
    rest = np.exp(-(b + 1.0) * v) / ((1.0 - b) + b * np.exp(-v)) @ w
    return 1.0 / (smaller * (1.0 - smaller)) - smaller / (1.0 - smaller) * rest


class Penance(NamedTuple):
    """How deep a strategy may fall without losing what it is, and how long it stays under water.

    Parameters
    ----------
    max_drawdown : float
        Positive, in units of the bets.
    time_at_drawdown, time_under_water : float
        Bets until the deepest point, and until what was lost is expected to be back, at the same confidence.
    """

    max_drawdown: float
    time_at_drawdown: float
    time_under_water: float


def triple_penance(
    mean: float, deviation: float, confidence: float = 0.95, autocorrelation: float = 0.0, first: float | None = None
) -> Penance:
    """Return the drawdown that bets of a positive mean exceed with probability ``1 - confidence`` only.

    Parameters
    ----------
    mean : float
        Of a bet; positive.
    deviation : float
        Of a bet where bets are independent; of its surprise where they have memory.
    confidence : float
        In (0.5, 1).
    autocorrelation : float
        Of order one, in [0, 1).
    first : float, optional
        Outcome of the bet before the first; by default the mean. Only memory makes it matter.

    Returns
    -------
    Penance
        Of independent bets in closed form: the recovery takes three times as long as the fall.

    Raises
    ------
    InvalidInput
        If an input is out of range.

    References
    ----------
    .. [1] D. H. Bailey, M. Lopez de Prado, "Stop-Outs under Serial Correlation and the Triple Penance Rule", Journal of
       Risk 18(2), 2015.

    Examples
    --------
    >>> [round(value, 3) for value in triple_penance(1.0, 2.0)]
    [2.706, 2.706, 10.822]
    """
    if not 0.0 < mean < math.inf:
        raise InvalidInput("mean", "must be positive and finite: otherwise a drawdown has no bound", mean)
    if not 0.0 < deviation < math.inf:
        raise InvalidInput("deviation", "must be positive and finite", deviation)
    if first is not None and not math.isfinite(first):
        raise InvalidInput("first", "must be finite", first)
    if not 0.5 < confidence < 1.0:
        raise InvalidInput("confidence", "must lie in (0.5, 1)", confidence)
    if not 0.0 <= autocorrelation < 1.0:
        raise InvalidInput("autocorrelation", "must lie in [0, 1)", autocorrelation)
    z = _NORMAL.inv_cdf(confidence)
    if autocorrelation == 0.0:
        return Penance(
            (z * deviation) ** 2 / (4.0 * mean), (0.5 * z * deviation / mean) ** 2, (z * deviation / mean) ** 2
        )
    from scipy.optimize import brentq, minimize_scalar

    phi, start = autocorrelation, mean if first is None else first

    def worst(bets: float) -> float:
        """Return the sum of bets that is exceeded with ``confidence``."""
        expected = phi * (1.0 - phi**bets) / (1.0 - phi) * (start - mean) + mean * bets
        spread = (1.0 - phi ** (2.0 * (bets + 1.0))) / (1.0 - phi**2) - 2.0 * (1.0 - phi ** (bets + 1.0)) / (1.0 - phi)
        variance = (deviation / (1.0 - phi)) ** 2 * max(spread + bets + 1.0, 0.0)
        return expected - z * math.sqrt(variance)

    # Past this the sum cannot be below 0: its deviation is at most that of bets without memory and the long-run spread.
    long_run = z * deviation / (1.0 - phi)
    behind = max(mean - start, 0.0) * phi / (1.0 - phi) + mean
    end = ((long_run + math.sqrt(long_run**2 + 4.0 * mean * behind)) / (2.0 * mean)) ** 2
    # A good first bet lifts the sum before it falls, so that it has two low points: the deeper is looked for.
    grid = np.concatenate([[0.0], np.geomspace(1e-3 * min(1.0, end), end, 400)])
    at = int(np.argmin([worst(bets) for bets in grid]))
    around = (float(grid[max(at - 1, 0)]), float(grid[min(at + 1, grid.size - 1)]))
    deepest = minimize_scalar(worst, bounds=around, method="bounded", options={"xatol": 1e-10 * around[1]})
    if deepest.fun >= 0.0:
        return Penance(0.0, 0.0, 0.0)
    return Penance(-float(deepest.fun), float(deepest.x), float(brentq(worst, deepest.x, end, xtol=1e-12)))
