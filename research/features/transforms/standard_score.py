"""A sample's distance from the mean of a window, shared by the features that give a z-score. It holds no feature."""

from __future__ import annotations

import math

from research.features.window import windowed_moments
from research.kernel import FloatArray, kernel


@kernel
def standard_score(state: FloatArray, base: int, length: int, sample: float) -> tuple[float, float]:
    """Take a sample and return the mean of the last ``length`` and its own z-score among them, NaN before.

    The z-score is in sample standard deviations (divisor ``length - 1``) and 0 when all samples are equal. Memory as
    ``windowed_moments``.
    """
    mean, m2 = windowed_moments(state, base, length, sample)
    deviation = math.sqrt(m2 / (length - 1))
    return mean, 0.0 if deviation == 0.0 else (sample - mean) / deviation  # NaN until full: not equal to 0
