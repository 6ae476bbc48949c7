"""An exponential average made to feed another one, for averages of averages. It holds no feature."""

from __future__ import annotations

import math

from research.features.smoothing import RESIDUE, bars_to_forget
from research.kernel import kernel


@kernel
def cascade_lag(
    count: int, lag: float, length: int, keep: float, sample: float, fall: float
) -> tuple[int, float, float]:
    r"""Advance an exponential average, held as its distance from the newest sample, and tell how far it fell.

    It is ``exponential_lag`` of ``research.features.smoothing`` but for its ends: it takes the fall of the samples
    instead of the sample before, and gives the fall of the average, which the next average takes. With
    :math:`q_t = d_{t-1} + x_{t-1} - x_t` the new distance is :math:`d_t = k q_t` and the fall
    :math:`y_{t-1} - y_t = (1 - k) q_t`, so that no average is added up only to be subtracted from its successor
    (measured: 2.4 ns per bar of ``tema`` become 2.0).

    Parameters
    ----------
    count : int
        Samples taken so far, counted up to ``length`` and no further.
    lag : float
        Their sum while ``count < length``, afterwards the average less the newest sample.
    length : int
        Samples in the seed, which is their mean.
    keep : float
        Weight of the past.
    sample : float
        The newest sample; read only while seeding.
    fall : float
        The sample before less the newest one; not read while seeding.

    Returns
    -------
    count, lag, fall : int, float, float
        The advanced pair, and the average before less the newest one (0 while seeding).
    """
    if count < length:
        count += 1
        lag += sample
        if count == length:
            lag = lag / length - sample
        return count, lag, 0.0
    pull = lag + fall
    return count, keep * pull, (1.0 - keep) * pull


def bars_to_forget_through(keep: float, depth: int) -> int:
    r"""Return the bars after which ``depth`` averages, each of the one before, weigh the past below ``RESIDUE``.

    After :math:`k` bars the last of them holds at most :math:`k^i (1 / keep - 1)^i keep^k / i!` of an error that is
    :math:`i` averages upstream.

    Examples
    --------
    >>> bars_to_forget_through(19 / 21, 1), bars_to_forget_through(19 / 21, 2)
    (300, 335)
    """
    bars = bars_to_forget(keep)
    if bars == 0:
        return 0
    for _ in range(100):  # each round adds to the bars what the longer tail asks for; three or four suffice
        tail = sum((bars * (1.0 / keep - 1.0)) ** i / math.factorial(i) for i in range(depth))
        needed = math.ceil(math.log(RESIDUE / tail) / math.log(keep))
        if needed <= bars:
            break
        bars = needed
    return bars
