"""The list of strategies. It decides nothing; a strategy is added by one file and one line here."""

from __future__ import annotations

from research.kernel import KernelSpec
from research.strategies import crossover, threshold, trend

STRATEGIES: dict[str, KernelSpec] = {module.SPEC.name: module.SPEC for module in (crossover, threshold, trend)}
