"""Candles: shapes of one to three bars."""

from __future__ import annotations

from research.features.candles import candle_shape, engulfing, hikkake, inside_bar, pin_bar, three_soldiers
from research.kernel import KernelSpec

SPECS: tuple[KernelSpec, ...] = (
    candle_shape.SPEC,
    engulfing.SPEC,
    hikkake.SPEC,
    inside_bar.SPEC,
    pin_bar.SPEC,
    three_soldiers.SPEC,
)
