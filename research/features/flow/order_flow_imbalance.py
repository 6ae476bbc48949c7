"""Order flow at the best prices over their depth. Registered in the catalogue as ``order_flow_imbalance``."""

from __future__ import annotations

import math

from research.features.flow.paired_sums import pair_size, windowed_pair
from research.features.validity import CEILING, GAP, is_number, is_volume
from research.features.window import WINDOW_RTOL, moments_size, windowed_moments
from research.kernel import FloatArray, KernelSpec, Param, kernel


@kernel
def order_flow_imbalance(
    order_flow_imbalance: FloatArray,
    bid_size: FloatArray,
    ask_size: FloatArray,
    length: int,
    state: FloatArray,
    out: FloatArray,
) -> None:
    r"""Advance the order flow imbalance (OFI) at the best prices, over the depth that is usual there.

    .. math::

        \frac{o_t}{D_t}, \qquad \frac{\sum_{i < length} o_{t-i}}{D_t}, \qquad
        D_t = \frac{1}{length} \sum_{i < length} \frac{q^{bid}_{t-i} + q^{ask}_{t-i}}{2}

    Parameters
    ----------
    order_flow_imbalance : (n,) array
        Sizes added at the best bid and taken off the best ask, less the reverse, base currency, summed over the bar.
    bid_size, ask_size : (n,) array
        At the best prices at the close of the bar, base currency.
    length : int
        Bars in the window, the newest among them.
    state : (8 + 4 length,) array
        As ``windowed_pair``, then as ``windowed_moments``.
    out : (3, n) array
        ``depths``: of the bar, in mean depths of one side; ``rolling``: the sum over the window in the same unit; 0
        where the book was empty throughout. ``zscore``: :math:`o_t` within the window, sample standard deviations, 0
        where all are equal. NaN until ``length`` bars were seen.

    Notes
    -----
    In the paper's simplest book the mid price moves by half a tick for every depth of imbalance: the slope of price
    changes on the imbalance falls with the depth, and that on the imbalance in depths does not.
    """
    moments = 4 + 2 * length
    for i in range(bid_size.shape[0]):
        flow, bid, ask = order_flow_imbalance[i], bid_size[i], ask_size[i]
        out[0, i] = out[1, i] = out[2, i] = math.nan
        if not (is_number(flow) and is_volume(bid) and is_volume(ask)):
            continue
        total, depths = windowed_pair(state, 0, length, flow, 0.5 * (bid + ask))
        mean, m2 = windowed_moments(state, moments, length, flow)
        if m2 >= 0.0:  # NaN until full
            depth = depths / length
            deviation = math.sqrt(m2 / (length - 1))
            out[0, i] = min(max(flow / depth, -CEILING), CEILING) if depth > 0.0 else 0.0
            out[1, i] = min(max(total / depth, -CEILING), CEILING) if depth > 0.0 else 0.0
            out[2, i] = (flow - mean) / deviation if deviation > 0.0 else 0.0


SPEC = KernelSpec(
    name="order_flow_imbalance",
    kernel=order_flow_imbalance,
    inputs=("order_flow_imbalance", "bid_size", "ask_size"),
    params=(Param("length", 20, 2, 100_000),),
    outputs=("depths", "rolling", "zscore"),
    state_size=lambda length: pair_size(length) + moments_size(length),
    lookback=lambda length: length,
    warmup=lambda length: length,
    warmup_rtol=WINDOW_RTOL,
    unit="mean depths; mean depths; standard deviations",
    gap=GAP,
    reference=(
        "R. Cont, A. Kukanov, S. Stoikov, The Price Impact of Order Book Events, "
        "Journal of Financial Econometrics 12(1), 2014"
    ),
)
