"""Cross-market: one symbol against others on one clock."""

from __future__ import annotations

from research.features.cross import (
    altcoin_index,
    beta,
    cointegration_spread,
    correlation,
    lead_lag,
    relative_strength,
)
from research.kernel import KernelSpec

SPECS: tuple[KernelSpec, ...] = (
    altcoin_index.SPEC,
    beta.SPEC,
    cointegration_spread.SPEC,
    correlation.SPEC,
    lead_lag.SPEC,
    relative_strength.SPEC,
)
