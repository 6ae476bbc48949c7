"""Volume bought less volume sold by takers. Registered in the catalogue as ``delta``."""

from __future__ import annotations

import math

from research.features.flow.shares import share_of, taker_delta
from research.features.validity import GAP, is_volume
from research.features.window import WINDOW_RTOL, moments_size, windowed_moments
from research.kernel import FloatArray, KernelSpec, Param, kernel


@kernel
def delta(taker_buy_volume: FloatArray, volume: FloatArray, length: int, state: FloatArray, out: FloatArray) -> None:
    r"""Advance the volume delta of a bar (taker buys less sells), its share of the volume and its z-score.

    .. math::

        \delta_t = b_t - (v_t - b_t), \qquad \frac{\delta_t}{v_t}, \qquad \frac{\delta_t - \bar\delta}{s_\delta}

    Parameters
    ----------
    taker_buy_volume, volume : (n,) array
        Base currency; what takers bought, taken as the volume where it is more, and all that was traded.
    length : int
        Bars in the window of the z-score, the newest among them.
    state : (4 + 2 length,) array
        As ``windowed_moments``.
    out : (3, n) array
        ``delta``: base. ``share``: of the volume, in [-1, 1], 0 where nothing was traded. ``zscore``: sample standard
        deviations, 0 where all deltas are equal. NaN until ``length`` bars were seen.
    """
    for i in range(volume.shape[0]):
        bought, traded = taker_buy_volume[i], volume[i]
        out[0, i] = out[1, i] = out[2, i] = math.nan
        if not (is_volume(bought) and is_volume(traded)):
            continue
        sample = taker_delta(bought, traded)
        mean, m2 = windowed_moments(state, 0, length, sample)
        if m2 >= 0.0:  # NaN until full
            deviation = math.sqrt(m2 / (length - 1))
            out[0, i] = sample
            out[1, i] = share_of(sample, traded)
            out[2, i] = (sample - mean) / deviation if deviation > 0.0 else 0.0


SPEC = KernelSpec(
    name="delta",
    kernel=delta,
    inputs=("taker_buy_volume", "volume"),
    params=(Param("length", 48, 2, 100_000),),
    outputs=("delta", "share", "zscore"),
    state_size=moments_size,
    lookback=lambda length: length,
    warmup=lambda length: length,
    warmup_rtol=WINDOW_RTOL,
    unit="base; share of volume; standard deviations",
    gap=GAP,
    reference="definition; B. P. Welford, Technometrics 4(3), 1962",
)
