"""What share of an account's gross gain its costs took; it charges nothing."""

from __future__ import annotations

import math


def gross_gain(net_gain: float, fees: float, slippage: float, funding: float, interest: float = 0.0) -> float:
    """Return what an account would have gained without costs, quote currency.

    Parameters
    ----------
    net_gain : float
        Final less initial equity.
    fees, slippage : float
        Paid, positive.
    funding : float
        Received; negative where more was paid.
    interest : float
        Paid on what was borrowed.

    Examples
    --------
    >>> gross_gain(100.0, fees=10.0, slippage=5.0, funding=-5.0)
    120.0
    """
    return net_gain + fees + slippage + interest - funding


def cost_share(net_gain: float, fees: float, slippage: float, funding: float, interest: float = 0.0) -> float:
    """Return fees, slippage, interest and paid funding over the gain before them.

    Parameters
    ----------
    net_gain, fees, slippage, funding, interest : float
        As :func:`gross_gain` takes them.

    Returns
    -------
    float
        Fraction; above 1 where costs turned a gain into a loss, negative where the funding received exceeds fees and
        slippage. NaN where nothing was gained before costs, or a figure is not finite: there is nothing to share.

    Examples
    --------
    >>> round(cost_share(100.0, fees=10.0, slippage=5.0, funding=-5.0), 4)
    0.1667
    >>> cost_share(-30.0, fees=10.0, slippage=5.0, funding=0.0)
    nan
    """
    gross = gross_gain(net_gain, fees, slippage, funding, interest)
    if not (math.isfinite(gross) and gross > 0.0):
        return math.nan
    return (fees + slippage + interest - funding) / gross
