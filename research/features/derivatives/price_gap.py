"""Distance of a price from the one it should follow, shared by basis and premium. It holds no feature."""

from __future__ import annotations

import math

from research.features.transforms.standard_score import standard_score
from research.features.validity import CEILING, is_price
from research.kernel import FloatArray, kernel


@kernel
def relative_gap(price: float, anchor: float) -> float:
    """Return ``(price - anchor) / anchor``, at most 1e150, of two prices above zero."""
    return min((price - anchor) / anchor, CEILING)


@kernel
def advance_gap(price: FloatArray, anchor: FloatArray, length: int, state: FloatArray, out: FloatArray) -> None:
    """Advance the relative gap of two columns of prices, its mean and its z-score over the last ``length`` bars."""
    for i in range(price.shape[0]):
        out[0, i] = out[1, i] = out[2, i] = math.nan
        if not (is_price(price[i]) and is_price(anchor[i])):
            continue
        gap = relative_gap(price[i], anchor[i])
        mean, score = standard_score(state, 0, length, gap)
        if not math.isnan(mean):  # the window is full
            out[0, i], out[1, i], out[2, i] = gap, mean, score
