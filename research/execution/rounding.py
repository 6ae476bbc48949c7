"""The one rounding of quantities to lots and of prices to ticks; it decides no order and reads no instrument.

Backtest, paper and live call these same functions. A quotient of two decimals lands a few ulp beside the whole
number that it means (``0.3 / 0.1`` is 2.9999999999999996), so that a plain floor loses a lot: counts within
:data:`SNAP` of a whole number, relative, are that number. Above one million million lots the snap would exceed
a lot; instruments are nowhere near.
"""

from __future__ import annotations

import math

import numpy as np

from research.kernel import kernel

# A product of four rounded factors is off by at most 4 ulp = 9e-16 relative; wallets carry some thousand more.
SNAP = 1e-12
_LARGEST = 2.0**53  # beyond it float64 no longer holds every whole number


@kernel
def whole_within(count: float) -> int:
    """Return the whole number nearest to zero's side of ``count``, a count within ``SNAP`` of a whole one being it.

    Parameters
    ----------
    count : float
        A count of lots or ticks, of either sign. NaN gives 0.

    Returns
    -------
    int
        Truncated towards zero, bounded by ±2**53.

    Examples
    --------
    >>> whole_within(0.3 / 0.1), whole_within(-2.999), whole_within((0.1 + 0.2) / 0.1)
    (3, -2, 3)
    """
    if math.isnan(count):
        return 0
    bounded = min(max(count, -_LARGEST), _LARGEST)
    nearest = np.rint(bounded)
    if abs(bounded - nearest) <= SNAP * max(1.0, abs(nearest)):
        return int(nearest)
    return int(np.trunc(bounded))


@kernel
def inverse_of(unit: float) -> float:
    """Return the whole number that ``unit`` is one over, 0 where there is none.

    Examples
    --------
    >>> inverse_of(0.1), inverse_of(0.05), inverse_of(2.0), inverse_of(0.3)
    (10.0, 20.0, 0.0, 0.0)
    """
    inverse = np.rint(1.0 / unit)
    return inverse if inverse >= 1.0 and abs(inverse * unit - 1.0) <= SNAP else 0.0


@kernel
def times_unit(count: int, unit: float, inverse: float) -> float:
    """Return :func:`in_units` with the unit's inverse at hand, as kernels have it in their rules."""
    return count / inverse if inverse != 0.0 else count * unit


@kernel
def in_units(count: int, unit: float) -> float:
    """Return ``count`` steps of size ``unit`` as the float nearest to the decimal meant.

    ``3 * 0.1`` is 0.30000000000000004; where the unit is one over a whole number, dividing by that number rounds
    once instead of twice.

    Examples
    --------
    >>> in_units(3, 0.1), in_units(-7, 0.5), in_units(2, 10.0)
    (0.3, -3.5, 20.0)
    """
    return times_unit(count, unit, inverse_of(unit))


@kernel
def side_of(lots: int) -> int:
    """Return the sign of a number of lots: products of lots would overflow, 64 bits hold the product of no two.

    Examples
    --------
    >>> side_of(-3), side_of(0), side_of(4 * 10**9)
    (-1, 0, 1)
    """
    return (1 if lots > 0 else 0) - (1 if lots < 0 else 0)


@kernel
def lots_of(qty: float, qty_step: float) -> int:
    """Return the lots in a quantity of base units, truncated towards zero: never more than asked for.

    Examples
    --------
    >>> lots_of(0.1 + 0.2, 0.1), lots_of(-0.25, 0.1)
    (3, -2)
    """
    return whole_within(qty / qty_step)


@kernel
def exposure_lots(exposure: float, equity: float, price: float, qty_step: float) -> int:
    """Return the signed lots whose value at ``price`` is ``exposure`` times ``equity``, truncated towards zero.

    Parameters
    ----------
    exposure : float
        Target as a fraction of equity, signed: -0.5 is short half of it.
    equity : float
        Quote currency, positive.
    price : float
        Quote per base, positive.
    qty_step : float
        Base units per lot.

    Examples
    --------
    >>> exposure_lots(0.5, 10_000.0, 100.0, 0.1)
    500
    """
    return whole_within(exposure * equity / (price * qty_step))


@kernel
def price_to_tick(price: float, tick: float, side: int) -> float:
    """Return ``price`` on the tick grid, rounded against the order: up for a buy, down for a sale.

    Parameters
    ----------
    price : float
        Quote per base, positive.
    tick : float
        Price increment.
    side : int
        +1 buys, -1 sells.

    Returns
    -------
    float
        A multiple of the tick, at least one tick.

    Examples
    --------
    >>> price_to_tick(0.1 + 0.2, 0.1, 1), price_to_tick(100.07, 0.05, 1), price_to_tick(100.07, 0.05, -1)
    (0.3, 100.1, 100.05)
    """
    return on_tick(price, tick, inverse_of(tick), side)


@kernel
def on_tick(price: float, tick: float, inverse: float, side: int) -> float:
    """Return :func:`price_to_tick` with the tick's inverse at hand, as kernels have it in their rules."""
    count = price / tick
    ticks = whole_within(count)
    if side > 0 and count - ticks > SNAP * max(1.0, count):
        ticks += 1
    return times_unit(max(ticks, 1), tick, inverse)
