"""Volume: what was traded, and at which prices."""

from __future__ import annotations

from research.features.volume import (
    obv,
    obv_change,
    relative_volume,
    rolling_vwap,
    session_vwap,
    volume_profile,
    volume_spike,
    volume_zscore,
)
from research.kernel import KernelSpec

SPECS: tuple[KernelSpec, ...] = (
    obv.SPEC,
    obv_change.SPEC,
    relative_volume.SPEC,
    rolling_vwap.SPEC,
    session_vwap.SPEC,
    volume_profile.SPEC,
    volume_spike.SPEC,
    volume_zscore.SPEC,
)
