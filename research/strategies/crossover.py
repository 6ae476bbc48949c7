"""Two lines crossing: long above, short or flat below. Registered as the strategy ``crossover``."""

from __future__ import annotations

from research.kernel import UNBOUNDED, FloatArray, KernelSpec, Param, kernel


@kernel
def crossover(
    fast: FloatArray, slow: FloatArray, band_frac: float, allow_short: int, state: FloatArray, out: FloatArray
) -> None:
    """Advance the target of a pair of lines.

    Parameters
    ----------
    fast, slow : (n,) array
        Two lines in the same unit, such as moving averages of the close.
    band_frac : float
        The target changes only where the lines are further apart than this fraction of ``slow``.
    allow_short : int
        0 or 1: what is below goes flat or short.
    state : (1,) array
        The standing target.
    out : (1, n) array
        Target exposure: -1, 0 or 1. A bar with NaN, and one with equal lines, keeps the standing target; before the
        first cross it is that of the side on which the lines are first seen.
    """
    target = state[0]
    below = -1.0 if allow_short == 1 else 0.0
    for i in range(fast.shape[0]):
        apart, needed = fast[i] - slow[i], band_frac * slow[i]
        if apart > needed:  # false where one is NaN
            target = 1.0
        elif apart < -needed:
            target = below
        out[0, i] = target
    state[0] = target


SPEC = KernelSpec(
    name="crossover",
    kernel=crossover,
    inputs=("fast", "slow"),
    params=(Param("band_frac", 0.0, 0.0, 1.0), Param("allow_short", 0, 0, 1)),
    outputs=("",),
    state_size=lambda band_frac, allow_short: 1,
    lookback=lambda band_frac, allow_short: 1,
    warmup=lambda band_frac, allow_short: UNBOUNDED,
    warmup_rtol=0.0,
    unit="target exposure, -1 to 1",
    gap="a bar with NaN keeps the standing target",
    reference="W. Brock, J. Lakonishok, B. LeBaron, Simple Technical Trading Rules, Journal of Finance 47(5), 1992",
)
