"""Random numbers that are functions of seed, path and order, so that any path can be drawn alone and on any thread.

It keeps no state and draws nothing in sequence.
"""

from __future__ import annotations

import math

import numpy as np

from research.kernel import FloatArray, inlined_kernel, kernel

# SplitMix64: G. Steele, D. Lea, C. Flood, "Fast Splittable Pseudorandom Number Generators", OOPSLA 2014, figure 16.
_GOLDEN, _FIRST, _SECOND = (
    np.uint64(0x9E3779B97F4A7C15),
    np.uint64(0xBF58476D1CE4E5B9),
    np.uint64(0x94D049BB133111EB),
)
_S27, _S30, _S31, _S12, _ONE = np.uint64(27), np.uint64(30), np.uint64(31), np.uint64(12), np.uint64(1)

# What is drawn for an order: its place among the numbers of the order.
DELAY, SLIPPAGE, MISS, PARTIAL, FRACTION = 0, 1, 2, 3, 4
PER_ORDER = 8
START = 2**62  # the one number of a path that belongs to no order

# M. J. Wichura, "Algorithm AS 241: The Percentage Points of the Normal Distribution", Applied Statistics 37(3), 1988,
# routine PPND16, whose relative error is about 1e-16: numerator and denominator near the middle, in the tails and far
# out in them, lowest power first.
_MIDDLE = (
    (3.3871328727963666080e0, 1.3314166789178437745e2, 1.9715909503065514427e3, 1.3731693765509461125e4,
     4.5921953931549871457e4, 6.7265770927008700853e4, 3.3430575583588128105e4, 2.5090809287301226727e3),
    (1.0, 4.2313330701600911252e1, 6.8718700749205790830e2, 5.3941960214247511077e3,
     2.1213794301586595867e4, 3.9307895800092710610e4, 2.8729085735721942674e4, 5.2264952788528545610e3),
)  # fmt: skip
_TAIL = (
    (1.42343711074968357734e0, 4.63033784615654529590e0, 5.76949722146069140550e0, 3.64784832476320460504e0,
     1.27045825245236838258e0, 2.41780725177450611770e-1, 2.27238449892691845833e-2, 7.74545014278341407640e-4),
    (1.0, 2.05319162663775882187e0, 1.67638483018380384940e0, 6.89767334985100004550e-1,
     1.48103976427480074590e-1, 1.51986665636164571966e-2, 5.47593808499534494600e-4, 1.05075007164441684324e-9),
)  # fmt: skip
_FAR = (
    (6.65790464350110377720e0, 5.46378491116411436990e0, 1.78482653991729133580e0, 2.96560571828504891230e-1,
     2.65321895265761230930e-2, 1.24266094738807843860e-3, 2.71155556874348757815e-5, 2.01033439929228813265e-7),
    (1.0, 5.99832206555887937690e-1, 1.36929880922735805310e-1, 1.48753612908506148525e-2,
     7.86869131145613259100e-4, 1.84631831751005468180e-5, 1.42151175831644588870e-7, 2.04426310338993978564e-15),
)  # fmt: skip


@inlined_kernel
def _mixed(z):  # type: ignore[no-untyped-def]
    z = (z ^ (z >> _S30)) * _FIRST
    z = (z ^ (z >> _S27)) * _SECOND
    return z ^ (z >> _S31)


@kernel
def key_of(seed: int, path: int):  # type: ignore[no-untyped-def]
    """Return the key of a path's random numbers, a uint64.

    Parameters
    ----------
    seed, path : int
        At least 0; every pair has a stream of its own.
    """
    return _mixed(_mixed(np.uint64(seed) + _GOLDEN) + (np.uint64(path) + _ONE) * _GOLDEN)


@kernel
def uniform(key, number):  # type: ignore[no-untyped-def]
    """Return random number ``number`` of a path, uniform in (0, 1), one of 2**52.

    Parameters
    ----------
    key : uint64
        From :func:`key_of`, which is a plain int outside kernels: wrap it.
    number : int
        At least 0. Of an order: the bar in which its target was given, times ``PER_ORDER``, plus what is drawn.

    Examples
    --------
    >>> key = np.uint64(key_of(7, 3))
    >>> uniform(key, 0) == uniform(key, 0), uniform(key, 0) == uniform(key, 1), 0.0 < uniform(key, 2) < 1.0
    (True, False, True)
    """
    bits = _mixed(np.uint64(key) + (np.uint64(number) + _ONE) * _GOLDEN)
    return (np.float64(bits >> _S12) + 0.5) * 2.220446049250313e-16


@inlined_kernel
def _polynomial(x, square, fourth, c):  # type: ignore[no-untyped-def]
    """Return a polynomial of degree 7 in pairs, whose terms do not wait for one another as Horner's do."""
    low = (c[0] + c[1] * x) + (c[2] + c[3] * x) * square
    high = (c[4] + c[5] * x) + (c[6] + c[7] * x) * square
    return low + high * fourth


@inlined_kernel
def _ratio(x, coefficients):  # type: ignore[no-untyped-def]
    square = x * x
    fourth = square * square
    return _polynomial(x, square, fourth, coefficients[0]) / _polynomial(x, square, fourth, coefficients[1])


@kernel
def normal_quantile(p):  # type: ignore[no-untyped-def]
    """Return the standard normal quantile of ``p`` in (0, 1).

    References
    ----------
    .. [1] M. J. Wichura, "Algorithm AS 241", Applied Statistics 37(3), 1988.

    Examples
    --------
    >>> round(normal_quantile(0.975), 12), normal_quantile(0.5)
    (1.95996398454, 0.0)
    """
    q = p - 0.5
    if abs(q) <= 0.425:
        return q * _ratio(0.180625 - q * q, _MIDDLE)
    r = math.sqrt(-math.log(p if q < 0.0 else 1.0 - p))
    found = _ratio(r - 1.6, _TAIL) if r <= 5.0 else _ratio(r - 5.0, _FAR)
    return -found if q < 0.0 else found


@kernel
def delay_of(u: float, cumulative: FloatArray) -> int:
    """Return how many bars later than modelled an order arrives: the first whose cumulative probability exceeds ``u``.

    Examples
    --------
    >>> delay_of(0.6, np.array([0.5, 0.8, 1.0]))
    1
    """
    bars = 0
    for i in range(cumulative.shape[0] - 1):  # to its end: where it would stop is what no processor foresees
        bars += 1 if u >= cumulative[i] else 0
    return bars


@kernel
def multiple_of(u: float, scale: float, log_sd: float, low: float, high: float) -> float:
    """Return the multiple of the modelled spread and slippage that an order pays.

    ``scale`` times a lognormal of mean 1 where ``log_sd`` is above 0, else times a uniform from ``low`` to ``high``.
    """
    if log_sd > 0.0:
        return scale * math.exp(log_sd * normal_quantile(u) - 0.5 * log_sd * log_sd)
    return scale * (low + (high - low) * u)
