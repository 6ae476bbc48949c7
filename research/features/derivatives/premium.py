"""Premium of the mark price over the index. Registered in the catalogue as ``premium``."""

from __future__ import annotations

from research.features.derivatives.price_gap import advance_gap
from research.features.validity import GAP
from research.features.window import WINDOW_RTOL, moments_size
from research.kernel import FloatArray, KernelSpec, Param, kernel


@kernel
def premium(mark: FloatArray, index: FloatArray, length: int, state: FloatArray, out: FloatArray) -> None:
    r"""Advance the premium of the mark price over the index price, its mean and its z-score.

    .. math::

        p_t = \frac{m_t - i_t}{i_t}

    Parameters
    ----------
    mark, index : (n,) array
        Quote currency.
    length : int
        Bars in the window, the newest among them. The default is one funding interval of 8 hours in one minute bars.
    state : (4 + 2 length,) array
        As ``windowed_moments``.
    out : (3, n) array
        Premium as a fraction of the index; its mean over the window; its distance from that mean in sample standard
        deviations, 0 when all are equal. NaN until the window is full.

    Notes
    -----
    The venue's own premium index takes the prices at which a given size could be bought and sold instead of the mark
    price; the mark price is built from it and lies near.
    """
    advance_gap(mark, index, length, state, out)


SPEC = KernelSpec(
    name="premium",
    kernel=premium,
    inputs=("mark", "index"),
    params=(Param("length", 480, 2, 100_000),),
    outputs=("fraction", "mean", "zscore"),
    state_size=moments_size,
    lookback=lambda length: length,
    warmup=lambda length: length,
    warmup_rtol=WINDOW_RTOL,
    unit="fraction of the index; standard deviations",
    gap=GAP,
    reference="Bybit, Introduction to Funding Rate: premium index",
)
