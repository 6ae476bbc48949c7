"""The two recursive averages that features share, and how long they remember. It holds no feature.

Both start as the mean of their first ``length`` samples, as in TA-Lib, and both take and return scalars, so that a
loop keeps them in registers: held in ``state`` they would go through memory at every bar, because ``state`` and
``out`` might overlap for all that the compiler knows.
"""

from __future__ import annotations

import math

from research.kernel import kernel

# A recursive feature declares as warm-up the bars after which a different start weighs RESIDUE. The tolerance
# that it then claims is wider, because the output may be a ratio whose scale shrank since that start.
RESIDUE = 1e-13
RECURSIVE_RTOL = 1e-9


@kernel
def exponential_lag(
    count: int, lag: float, length: int, keep: float, sample: float, previous: float
) -> tuple[int, float]:
    r"""Advance an exponential average, held as its distance from the newest sample.

    .. math::

        y_{length} = \tfrac{1}{length} \sum_{i \le length} x_i, \qquad y_t = x_t + d_t, \qquad
        d_t = k \, (d_{t-1} + x_{t-1} - x_t)

    which is the usual :math:`y_t = k y_{t-1} + (1 - k) x_t`.

    Parameters
    ----------
    count : int
        Samples taken so far, counted up to ``length`` and no further.
    lag : float
        Their sum while ``count < length``, afterwards the average less the newest sample.
    length : int
        Samples in the seed.
    keep : float
        Weight of the past: ``(length - 1) / (length + 1)`` for the usual exponential average.
    sample, previous : float
        The newest sample and the one before it (not read while seeding), finite.

    Returns
    -------
    count, lag : int, float
        The advanced pair; the average is ``sample + lag`` once ``count == length``.

    Notes
    -----
    Of equal samples the average is that sample to the bit (once the mean of the seed is), so that the difference of
    two averages in a market that stands still is exactly 0 and not a rounding whose sign a rule could trade on. The
    form with the error in it, ``y += w * (x - y)``, is also slower: its chain is three operations per bar against two
    (1.84 and 1.55 ns).
    """
    if count < length:
        count += 1
        lag += sample
        if count == length:
            lag = lag / length - sample
    else:
        lag = keep * (lag + (previous - sample))
    return count, lag


@kernel
def wilder_average(count: int, level: float, length: int, weight: float, sample: float) -> tuple[int, float]:
    r"""Advance Wilder's average of samples that are not below zero.

    .. math::

        y_t = (1 - w) \, y_{t-1} + w \, x_t, \qquad w = 1 / length

    Parameters
    ----------
    count : int
        Samples taken so far, counted up to ``length`` and no further.
    level : float
        Their sum while ``count < length``, the average afterwards.
    length : int
        Samples in the seed.
    weight : float
        Weight of the newest sample, in (0, 1].
    sample : float
        The newest sample, finite.

    Returns
    -------
    count, level : int, float
        The advanced pair; ``level`` is the average once ``count == length``.

    Notes
    -----
    Only sums and products of what is not negative: unlike :func:`exponential_lag` it cannot fall below zero.
    """
    if count < length:
        count += 1
        level += sample
        if count == length:
            level /= length
    else:
        level = (1.0 - weight) * level + weight * sample
    return count, level


def bars_to_forget(keep: float) -> int:
    """Return the bars after which what came before weighs less than ``RESIDUE``, if each bar keeps ``keep`` of it.

    Examples
    --------
    >>> bars_to_forget(19 / 21)
    300
    """
    return 0 if keep <= 0.0 else math.ceil(math.log(RESIDUE) / math.log(keep))


def exponential_warmup(length: int) -> int:
    """Return the bars after which a cold exponential average of ``length`` has forgotten its start."""
    return length + bars_to_forget((length - 1) / (length + 1))


def wilder_warmup(length: int) -> int:
    """Return the samples after which a cold Wilder average of ``length`` has forgotten its start."""
    return length + bars_to_forget((length - 1) / length)
