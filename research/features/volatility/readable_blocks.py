"""Whether a run of bars can be read without looking at each. It holds no feature."""

from __future__ import annotations

from research.features.validity import CEILING
from research.kernel import FloatArray, kernel

# Bars that are looked at together: three columns of them stay in the first cache while they are read once more.
# Measured for the average true range: 1.48 ns per bar with 64, 1.23 with 256, 2.0 with 1,024.
BLOCK = 256


@kernel
def all_prices(first: FloatArray, second: FloatArray, third: FloatArray) -> bool:
    """Return whether every value of three columns is a price.

    Without a branch per bar this is done several bars at a time, as is what follows it: a check per bar takes as
    long as the true range itself.
    """
    readable = True
    for i in range(third.shape[0]):
        a, b, c = first[i], second[i], third[i]
        readable &= (a > 0.0) & (a <= CEILING) & (b > 0.0) & (b <= CEILING) & (c > 0.0) & (c <= CEILING)
    return readable
