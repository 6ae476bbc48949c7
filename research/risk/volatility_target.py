"""Exposure scaled to a target volatility, with a no-trade band. Registered as the sizer ``volatility_target``."""

from __future__ import annotations

import math

from research.kernel import UNBOUNDED, FloatArray, KernelSpec, Param, kernel


@kernel
def volatility_target(
    target: FloatArray,
    volatility: FloatArray,
    target_volatility: float,
    max_exposure: float,
    band: float,
    state: FloatArray,
    out: FloatArray,
) -> None:
    r"""Advance the exposure that gives a target position a constant volatility.

    .. math::

        x_t = s_t \, \min\!\left(x_{max}, \; \frac{\sigma^*}{\sigma_t}\right)

    Parameters
    ----------
    target : (n,) array
        The strategy's :math:`s_t` in [-1, 1]; beyond that it counts as -1 or 1.
    volatility : (n,) array
        :math:`\sigma_t`, standard deviation of the return of one bar, as a fraction.
    target_volatility : float
        :math:`\sigma^*`, in the same unit.
    max_exposure : float
        :math:`x_{max}`, as a fraction of equity; no output exceeds it.
    band : float
        The standing exposure is kept until :math:`x_t` differs from it by more than ``band`` times itself.
    state : (1,) array
        The standing exposure.
    out : (1, n) array
        Exposure as a signed fraction of equity, of the target's sign or 0. Never NaN.

    Notes
    -----
    - A target of 0 gives 0 at once, and a change of sign acts at once: the band holds back sizes, not decisions.
    - A target of NaN is no decision: the standing exposure is kept.
    - A volatility that is NaN, infinite or not above zero says nothing: the standing exposure is kept if its sign is
      the target's, otherwise the answer is 0. It opens no position, not even in a market that stands still, which a
      division would meet with ``max_exposure``.
    """
    standing = state[0]
    for i in range(target.shape[0]):
        wanted, deviation = target[i], volatility[i]
        if wanted == wanted:
            wanted = min(max(wanted, -1.0), 1.0)
            same_side = wanted * standing > 0.0
            if 0.0 < deviation < math.inf:
                exposure = wanted * min(max_exposure, target_volatility / deviation)
                if not (same_side and abs(exposure - standing) <= band * abs(standing)):
                    standing = exposure
            elif not same_side:
                standing = 0.0
        out[0, i] = standing
    state[0] = standing


SPEC = KernelSpec(
    name="volatility_target",
    kernel=volatility_target,
    inputs=("target", "volatility"),
    params=(
        Param("target_volatility", 0.002, 0.0, 1.0),
        Param("max_exposure", 1.0, 0.0, 100.0),
        Param("band", 0.1, 0.0, 10.0),
    ),
    outputs=("",),
    state_size=lambda target_volatility, max_exposure, band: 1,
    lookback=lambda target_volatility, max_exposure, band: 1,
    warmup=lambda target_volatility, max_exposure, band: UNBOUNDED,
    warmup_rtol=0.0,
    unit="fraction of equity, signed",
    gap="NaN target: the standing exposure stays; NaN volatility: it stays on the target's side, otherwise 0",
    reference="A. Moreira, T. Muir, Volatility-Managed Portfolios, Journal of Finance 72(4), 2017; band: none",
)
