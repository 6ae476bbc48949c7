"""Momentum: how far and how fast prices have gone."""

from __future__ import annotations

from research.features.momentum import (
    autocorrelation,
    cci,
    cmf,
    log_return,
    mfi,
    roc,
    rsi,
    rsi_divergence,
    stoch_rsi,
    stochastic,
    tsi,
    volume_divergence,
    williams_r,
)
from research.kernel import KernelSpec

SPECS: tuple[KernelSpec, ...] = (
    autocorrelation.SPEC,
    cci.SPEC,
    cmf.SPEC,
    log_return.SPEC,
    mfi.SPEC,
    roc.SPEC,
    rsi.SPEC,
    rsi_divergence.SPEC,
    stoch_rsi.SPEC,
    stochastic.SPEC,
    tsi.SPEC,
    volume_divergence.SPEC,
    williams_r.SPEC,
)
