"""Trend: averages and what is built of them."""

from __future__ import annotations

from research.features.trend import (
    adx,
    aroon,
    dema,
    efficiency,
    ema,
    ema_ribbon,
    ema_spread,
    hull_ma,
    ichimoku,
    kama,
    linear_regression,
    macd,
    parabolic_sar,
    sma,
    supertrend,
    tema,
    vwma,
    wma,
)
from research.kernel import KernelSpec

SPECS: tuple[KernelSpec, ...] = (
    adx.SPEC,
    aroon.SPEC,
    dema.SPEC,
    efficiency.SPEC,
    ema.SPEC,
    ema_ribbon.SPEC,
    ema_spread.SPEC,
    hull_ma.SPEC,
    ichimoku.SPEC,
    kama.SPEC,
    linear_regression.SPEC,
    macd.SPEC,
    parabolic_sar.SPEC,
    sma.SPEC,
    supertrend.SPEC,
    tema.SPEC,
    vwma.SPEC,
    wma.SPEC,
)
