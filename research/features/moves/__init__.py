"""Moves: progress in steps of a fixed amount of quote currency."""

from __future__ import annotations

from research.features.moves import consolidation, move_speed, target_distance, target_moves_today
from research.kernel import KernelSpec

SPECS: tuple[KernelSpec, ...] = (
    consolidation.SPEC,
    move_speed.SPEC,
    target_distance.SPEC,
    target_moves_today.SPEC,
)
