"""Basis of a dated future over spot, annualised. Registered in the catalogue as ``futures_basis``."""

from __future__ import annotations

import math

from research.features.derivatives.price_gap import relative_gap
from research.features.transforms.standard_score import standard_score
from research.features.validity import GAP, is_price, is_volume
from research.features.window import WINDOW_RTOL, moments_size
from research.kernel import FloatArray, KernelSpec, Param, kernel

MINUTES_PER_YEAR = 525_600.0


@kernel
def futures_basis(
    future: FloatArray,
    spot: FloatArray,
    future_expiry: FloatArray,
    length: int,
    floor_minutes: float,
    state: FloatArray,
    out: FloatArray,
) -> None:
    r"""Advance the futures basis (dated future over spot), per year to its expiry, and the z-score of that.

    .. math::

        b_t = \frac{f_t - s_t}{s_t}, \qquad a_t = b_t \, \frac{365 \cdot 1440}{\max(\tau_t, floor)}

    Parameters
    ----------
    future, spot : (n,) array
        Quote currency.
    future_expiry : (n,) array
        Minutes :math:`\tau` to the expiry of the future, at the close of the bar.
    length : int
        Bars in the window of the z-score, the newest among them. The default is a day of one minute bars.
    floor_minutes : float
        Time to expiry that is annualised by at least: minutes before an expiry one tick would be a return of some
        hundred per cent a year. The default is a day.
    state : (4 + 2 length,) array
        As ``windowed_moments``.
    out : (4, n) array
        Basis as a fraction of the spot price; per year without compounding, 0 in the last minute before the expiry
        and after it; distance of the latter from its mean over the window in sample standard deviations, 0 when all
        are equal; 1 in contango (the future is dearer), -1 in backwardation, 0 at equal prices. NaN until the window
        is full.
    """
    for i in range(future.shape[0]):
        for j in range(4):
            out[j, i] = math.nan
        left = future_expiry[i]
        if not (is_price(future[i]) and is_price(spot[i]) and is_volume(left)):
            continue
        gap = relative_gap(future[i], spot[i])
        annualised = 0.0 if left < 1.0 else gap * (MINUTES_PER_YEAR / max(left, floor_minutes))
        mean, score = standard_score(state, 0, length, annualised)
        if not math.isnan(mean):  # the window is full
            out[0, i], out[1, i], out[2, i] = gap, annualised, score
            out[3, i] = int(gap > 0.0) - int(gap < 0.0)


SPEC = KernelSpec(
    name="futures_basis",
    kernel=futures_basis,
    inputs=("future", "spot", "future_expiry"),
    params=(Param("length", 1_440, 2, 100_000), Param("floor_minutes", 1_440.0, 1.0, 525_600.0)),
    outputs=("fraction", "annualised", "zscore", "contango"),
    state_size=lambda length, floor_minutes: moments_size(length),
    lookback=lambda length, floor_minutes: length,
    warmup=lambda length, floor_minutes: length,
    warmup_rtol=WINDOW_RTOL,
    unit="fraction of the spot price; per year; standard deviations; -1, 0 or 1",
    gap=GAP,
    reference="J. C. Hull, Options, Futures, and Other Derivatives: basis, simple annual rate",
)
