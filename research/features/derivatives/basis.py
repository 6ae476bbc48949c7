"""Distance of the perpetual from its spot market. Registered in the catalogue as ``basis``."""

from __future__ import annotations

from research.features.derivatives.price_gap import advance_gap
from research.features.validity import GAP
from research.features.window import WINDOW_RTOL, moments_size
from research.kernel import FloatArray, KernelSpec, Param, kernel


@kernel
def basis(close: FloatArray, spot: FloatArray, length: int, state: FloatArray, out: FloatArray) -> None:
    r"""Advance the perpetual basis: close over the spot price, its mean and its z-score.

    .. math::

        b_t = \frac{c_t - s_t}{s_t}

    Parameters
    ----------
    close : (n,) array
        Close of the perpetual, quote currency.
    spot : (n,) array
        Close of the spot market at the same time, quote currency.
    length : int
        Bars in the window, the newest among them. The default is a day of one minute bars.
    state : (4 + 2 length,) array
        As ``windowed_moments``.
    out : (3, n) array
        Basis as a fraction of the spot price, above 0 where the perpetual is dearer; its mean over the window; its
        distance from that mean in sample standard deviations, 0 when all are equal. NaN until the window is full.

    Notes
    -----
    A perpetual has no expiry to annualise by: what holding the basis earns is the funding, see ``funding``.
    """
    advance_gap(close, spot, length, state, out)


SPEC = KernelSpec(
    name="basis",
    kernel=basis,
    inputs=("close", "spot"),
    params=(Param("length", 1_440, 2, 100_000),),
    outputs=("fraction", "mean", "zscore"),
    state_size=moments_size,
    lookback=lambda length: length,
    warmup=lambda length: length,
    warmup_rtol=WINDOW_RTOL,
    unit="fraction of the spot price; standard deviations",
    gap=GAP,
    reference="J. C. Hull, Options, Futures, and Other Derivatives: basis, with the sign of futures less spot",
)
