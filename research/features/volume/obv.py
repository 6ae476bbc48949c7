"""On-balance volume after Granville. Registered in the catalogue as ``obv``."""

from __future__ import annotations

import math

from research.features.validity import GAP, is_price, is_volume
from research.kernel import UNBOUNDED, FloatArray, KernelSpec, kernel


@kernel
def obv(close: FloatArray, volume: FloatArray, state: FloatArray, out: FloatArray) -> None:
    r"""Advance the on-balance volume (OBV): sum of all volume, signed by its bar's change of the close.

    .. math::

        OBV_t = OBV_{t-1} + \operatorname{sgn}(c_t - c_{t-1}) \, v_t, \qquad OBV_1 = v_1

    Parameters
    ----------
    close : (n,) array
        Quote currency.
    volume : (n,) array
        Base currency, not below zero.
    state : (2,) array
        Close of the bar before (0: none); the sum.
    out : (1, n) array
        Base currency, of either sign.

    Notes
    -----
    A sum since the first bar ever seen: its level depends on where it was started and no number of bars mends that.
    Only its changes say something, and those ``obv_change`` gives with a bounded memory.
    """
    previous, level = state[0], state[1]
    for i in range(close.shape[0]):
        price, traded = close[i], volume[i]
        if not (is_price(price) and is_volume(traded)):
            out[0, i] = math.nan
            continue
        # The very first bar counts in full, as in TA-Lib: its price lies above the 0 that stands for none.
        rose, fell = 1.0 if price > previous else 0.0, 1.0 if price < previous else 0.0
        level += (rose - fell) * traded
        previous = price
        out[0, i] = level
    state[0], state[1] = previous, level


SPEC = KernelSpec(
    name="obv",
    kernel=obv,
    inputs=("close", "volume"),
    params=(),
    outputs=("",),
    state_size=lambda: 2,
    lookback=lambda: 1,
    warmup=lambda: UNBOUNDED,
    warmup_rtol=0.0,
    unit="base",
    gap=GAP,
    reference="J. E. Granville, Granville's New Key to Stock Market Profits, 1963; TA-Lib OBV",
)
