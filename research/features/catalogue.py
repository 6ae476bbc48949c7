"""The list of features by family. It computes nothing.

To add a feature, write one file that holds its kernel and its ``SPEC`` in the folder of its family and list it in the
family's ``SPECS``: that makes it available to ``FeatureSet`` and puts it under the laws in ``tests/contracts``. An
independent twin goes to ``tests/oracles``.
"""

from __future__ import annotations

from research.features import (
    calendar,
    candles,
    context,
    cross,
    derivatives,
    flow,
    momentum,
    moves,
    structure,
    transforms,
    trend,
    volatility,
    volume,
)
from research.kernel import KernelSpec

FAMILIES: dict[str, tuple[KernelSpec, ...]] = {
    "trend": trend.SPECS,
    "momentum": momentum.SPECS,
    "volatility": volatility.SPECS,
    "volume": volume.SPECS,
    "structure": structure.SPECS,
    "candles": candles.SPECS,
    "flow": flow.SPECS,
    "derivatives": derivatives.SPECS,
    "cross": cross.SPECS,
    "calendar": calendar.SPECS,
    "moves": moves.SPECS,
    "context": context.SPECS,
    "transforms": transforms.SPECS,
}

CATALOGUE: dict[str, KernelSpec] = {spec.name: spec for specs in FAMILIES.values() for spec in specs}
