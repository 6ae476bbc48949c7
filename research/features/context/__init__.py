"""Context: series from outside the market, by the time at which they were available."""

from __future__ import annotations

from research.features.context import context, context_change
from research.kernel import KernelSpec

SPECS: tuple[KernelSpec, ...] = (context.SPEC, context_change.SPEC)
