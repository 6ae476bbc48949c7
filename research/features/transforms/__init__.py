"""Transforms: features of any column, another feature's output among them."""

from __future__ import annotations

from research.features.transforms import (
    difference,
    exponential_mean,
    fractional_difference,
    lag,
    product,
    quantile,
    range_position,
    rank,
    ratio,
    rolling_moments,
    sign_agreement,
    spread,
    zscore,
)
from research.kernel import KernelSpec

SPECS: tuple[KernelSpec, ...] = (
    difference.SPEC,
    exponential_mean.SPEC,
    fractional_difference.SPEC,
    lag.SPEC,
    product.SPEC,
    quantile.SPEC,
    range_position.SPEC,
    rank.SPEC,
    ratio.SPEC,
    rolling_moments.SPEC,
    sign_agreement.SPEC,
    spread.SPEC,
    zscore.SPEC,
)
