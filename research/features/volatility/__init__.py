"""Volatility: how much prices move, whichever way."""

from __future__ import annotations

from research.features.volatility import (
    atr,
    atr_percentile,
    bollinger,
    donchian,
    garman_klass,
    keltner,
    parkinson,
    realised_moments,
    rogers_satchell,
    squeeze,
    true_range,
    volatility,
    volatility_percentile,
    yang_zhang,
)
from research.kernel import KernelSpec

SPECS: tuple[KernelSpec, ...] = (
    atr.SPEC,
    atr_percentile.SPEC,
    bollinger.SPEC,
    donchian.SPEC,
    garman_klass.SPEC,
    keltner.SPEC,
    parkinson.SPEC,
    realised_moments.SPEC,
    rogers_satchell.SPEC,
    squeeze.SPEC,
    true_range.SPEC,
    volatility.SPEC,
    volatility_percentile.SPEC,
    yang_zhang.SPEC,
)
