"""Exposure in proportion to the target, whatever the market does. Registered as the sizer ``fixed``."""

from __future__ import annotations

from research.kernel import UNBOUNDED, FloatArray, KernelSpec, Param, kernel


@kernel
def fixed_exposure(target: FloatArray, exposure: float, state: FloatArray, out: FloatArray) -> None:
    """Advance the exposure of a target.

    Parameters
    ----------
    target : (n,) array
        The strategy's target in [-1, 1]; beyond that it counts as -1 or 1.
    exposure : float
        Exposure at a target of 1, as a fraction of equity.
    state : (1,) array
        The standing exposure.
    out : (1, n) array
        Exposure as a signed fraction of equity. A target of NaN is no decision: the standing exposure is kept.
    """
    standing = state[0]
    for i in range(target.shape[0]):
        wanted = target[i]
        if wanted == wanted:
            standing = exposure * min(max(wanted, -1.0), 1.0)
        out[0, i] = standing
    state[0] = standing


SPEC = KernelSpec(
    name="fixed",
    kernel=fixed_exposure,
    inputs=("target",),
    params=(Param("exposure", 1.0, 0.0, 100.0),),
    outputs=("",),
    state_size=lambda exposure: 1,
    lookback=lambda exposure: 1,
    warmup=lambda exposure: UNBOUNDED,
    warmup_rtol=0.0,
    unit="fraction of equity, signed",
    gap="NaN target: the standing exposure stays",
    reference="definition",
)
