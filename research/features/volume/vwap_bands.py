"""Volume-weighted means and variances, joined part by part, and the bands drawn from them. It holds no feature."""

from __future__ import annotations

from research.kernel import FloatArray, kernel

# A deviation of prices below this is none: the quotient of the largest price and a smaller one would overflow.
LEAST_DEVIATION = 1e-150
ROUNDING = 1e-12  # of a price


@kernel
def join_weighted(
    weight: float, mean: float, variance: float, other_weight: float, other_mean: float, other_variance: float
) -> tuple[float, float, float]:
    r"""Return weight, mean and variance of two parts together; a part of weight 0 counts for nothing.

    .. math::

        \mu = \mu_a + s (\mu_b - \mu_a), \qquad
        \sigma^2 = (1 - s) \, \sigma_a^2 + s \, \sigma_b^2 + s (1 - s) (\mu_b - \mu_a)^2, \qquad
        s = \frac{w_b}{w_a + w_b}

    Notes
    -----
    The variance is a sum of what is not negative, and is exactly 0 for equal samples. Held as the variance and not as
    the sum of weighted squares, which at a volume of 1e150 overflows; the usual running update
    ``w * (x - old mean) * (x - new mean)`` gives 0 after a volume 1e20 times the sum before it. The
    mean is reckoned from the heavier part, and so keeps its digits when the lighter one is of another magnitude.

    References
    ----------
    .. [1] T. F. Chan, G. H. Golub, R. J. LeVeque, "Updating Formulae and a Pairwise Algorithm for Computing Sample
       Variances", COMPSTAT 1982.
    """
    total = weight + other_weight
    if total == 0.0:
        return 0.0, 0.0, 0.0
    keep, share = weight / total, other_weight / total
    gap = other_mean - mean
    joined = mean + gap * share if share < 0.5 else other_mean - gap * keep
    return total, joined, keep * variance + share * (other_variance + keep * (gap * gap))


@kernel
def write_bands(out: FloatArray, i: int, level: float, deviation: float, price: float) -> None:
    """Write level, its bands at one and two deviations, and the price's distance in deviations (0 where they are 0)."""
    out[0, i] = level
    out[1, i] = level + deviation
    out[2, i] = level - deviation
    out[3, i] = level + 2.0 * deviation
    out[4, i] = level - 2.0 * deviation
    # Prices that tie leave a deviation that is their rounding: a distance in it would be any number.
    least = max(LEAST_DEVIATION, ROUNDING * abs(level))
    out[5, i] = (price - level) / deviation if deviation > least else 0.0
