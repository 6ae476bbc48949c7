"""Derivatives: funding, open interest, basis."""

from __future__ import annotations

from research.features.derivatives import (
    basis,
    funding,
    funding_time,
    futures_basis,
    long_short_ratio,
    open_interest_change,
    premium,
)
from research.kernel import KernelSpec

SPECS: tuple[KernelSpec, ...] = (
    basis.SPEC,
    funding.SPEC,
    funding_time.SPEC,
    futures_basis.SPEC,
    long_short_ratio.SPEC,
    open_interest_change.SPEC,
    premium.SPEC,
)
