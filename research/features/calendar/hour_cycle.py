"""Time of the UTC day as a point on a circle. Registered in the catalogue as ``hour_cycle``."""

from __future__ import annotations

import math

from research.kernel import FloatArray, IntArray, KernelSpec, kernel

# Not imported from research.market: a fingerprint covers every module that a kernel's file imports.
DAY_NS = 86_400_000_000_000


@kernel
def hour_cycle(ts: IntArray, state: FloatArray, out: FloatArray) -> None:
    r"""Write the hour of the day as a cycle: sine and cosine of the time of day at which each bar opens.

    Parameters
    ----------
    ts : (n,) array of int64
        Open time, nanoseconds since the epoch, UTC. The one input that is not a float: 2**63 ns do not fit into one.
    state : (0,) array
        Nothing is remembered.
    out : (2, n) array
        Sine and cosine of :math:`2 \pi` times the fraction of the day; midnight is (0, 1).

    Notes
    -----
    The time of day is that of the bar's open: at its close, when it is known, it is one bar's length later.
    """
    for i in range(ts.shape[0]):
        angle = 2.0 * math.pi * ((ts[i] % DAY_NS) / DAY_NS)
        out[0, i] = math.sin(angle)
        out[1, i] = math.cos(angle)


SPEC = KernelSpec(
    name="hour_cycle",
    kernel=hour_cycle,
    inputs=("ts",),
    params=(),
    outputs=("sin", "cos"),
    state_size=lambda: 0,
    lookback=lambda: 1,
    warmup=lambda: 1,
    warmup_rtol=0.0,
    unit="1",
    gap="none: time passes in a gap as elsewhere",
    reference="definition",
)
