"""Accounts that are long over those that are short. Registered in the catalogue as ``long_short_ratio``."""

from __future__ import annotations

import math

from research.features.transforms.standard_score import standard_score
from research.features.validity import GAP, is_volume
from research.features.window import WINDOW_RTOL, moments_size
from research.kernel import FloatArray, KernelSpec, Param, kernel

LEAST = 1e-6


@kernel
def long_short_ratio(
    buy_ratio: FloatArray, sell_ratio: FloatArray, length: int, state: FloatArray, out: FloatArray
) -> None:
    r"""Advance the long/short ratio of accounts as a logarithm, and its z-score.

    .. math::

        r_t = \ln \frac{\max(b_t, 10^{-6})}{\max(s_t, 10^{-6})}

    Parameters
    ----------
    buy_ratio, sell_ratio : (n,) array
        Fractions of the accounts with a position that are long and short.
    length : int
        Bars in the window, the newest among them. The default is a day of one minute bars.
    state : (4 + 2 length,) array
        As ``windowed_moments``.
    out : (2, n) array
        Log ratio, above 0 where most are long; distance from its mean over the window in sample standard deviations,
        0 when all are equal. NaN until the window is full.

    Notes
    -----
    Accounts are counted, not contracts: every long contract has its short one, so that a crowd of small longs faces
    few large shorts.
    """
    for i in range(buy_ratio.shape[0]):
        out[0, i] = out[1, i] = math.nan
        if not (is_volume(buy_ratio[i]) and is_volume(sell_ratio[i])):
            continue
        sample = math.log(max(buy_ratio[i], LEAST) / max(sell_ratio[i], LEAST))
        mean, score = standard_score(state, 0, length, sample)
        if not math.isnan(mean):  # the window is full
            out[0, i], out[1, i] = sample, score


SPEC = KernelSpec(
    name="long_short_ratio",
    kernel=long_short_ratio,
    inputs=("buy_ratio", "sell_ratio"),
    params=(Param("length", 1_440, 2, 100_000),),
    outputs=("log_ratio", "zscore"),
    state_size=moments_size,
    lookback=lambda length: length,
    warmup=lambda length: length,
    warmup_rtol=WINDOW_RTOL,
    unit="log of a ratio; standard deviations",
    gap=GAP,
    reference="Bybit API v5, Get Long Short Ratio: buyRatio, sellRatio",
)
