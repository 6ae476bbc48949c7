"""Order flow: aggressors, the book, liquidations."""

from __future__ import annotations

from research.features.flow import (
    amihud,
    book_imbalance,
    cvd,
    delta,
    flow_momentum,
    footprint,
    kyle_lambda,
    large_trades,
    liquidations,
    microprice,
    order_flow_imbalance,
    quoted_spread,
    taker_ratio,
    trade_imbalance,
    trade_size,
    vpin,
    walls,
)
from research.kernel import KernelSpec

SPECS: tuple[KernelSpec, ...] = (
    amihud.SPEC,
    book_imbalance.SPEC,
    cvd.SPEC,
    delta.SPEC,
    flow_momentum.SPEC,
    footprint.SPEC,
    kyle_lambda.SPEC,
    large_trades.SPEC,
    liquidations.SPEC,
    microprice.SPEC,
    order_flow_imbalance.SPEC,
    quoted_spread.SPEC,
    taker_ratio.SPEC,
    trade_imbalance.SPEC,
    trade_size.SPEC,
    vpin.SPEC,
    walls.SPEC,
)
