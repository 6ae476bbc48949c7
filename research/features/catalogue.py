"""The list of features. It computes nothing.

To add a feature, write one file that holds its kernel and its ``SPEC`` and list it here: that makes it available to
``FeatureSet`` and puts it under the laws in ``tests/contracts``. An independent twin goes to ``tests/oracles``.
"""

from __future__ import annotations

from research.features import (
    atr,
    autocorrelation,
    efficiency,
    ema,
    ema_spread,
    hour_cycle,
    log_return,
    macd,
    parkinson,
    rsi,
    volatility,
    volume_zscore,
    zscore,
)
from research.kernel import KernelSpec

CATALOGUE: dict[str, KernelSpec] = {
    module.SPEC.name: module.SPEC
    for module in (
        atr,
        autocorrelation,
        efficiency,
        ema,
        ema_spread,
        hour_cycle,
        log_return,
        macd,
        parkinson,
        rsi,
        volatility,
        volume_zscore,
        zscore,
    )
}
