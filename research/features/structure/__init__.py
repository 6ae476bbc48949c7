"""Structure: swings, levels and what breaks them."""

from __future__ import annotations

from research.features.structure import (
    break_of_structure,
    change_of_character,
    fair_value_gaps,
    fibonacci_levels,
    liquidity_sweep,
    order_blocks,
    pivot_camarilla,
    pivot_classic,
    pivot_fibonacci,
    round_numbers,
    support_resistance,
    swings,
    trading_range,
)
from research.kernel import KernelSpec

SPECS: tuple[KernelSpec, ...] = (
    break_of_structure.SPEC,
    change_of_character.SPEC,
    fair_value_gaps.SPEC,
    fibonacci_levels.SPEC,
    liquidity_sweep.SPEC,
    order_blocks.SPEC,
    pivot_camarilla.SPEC,
    pivot_classic.SPEC,
    pivot_fibonacci.SPEC,
    round_numbers.SPEC,
    support_resistance.SPEC,
    swings.SPEC,
    trading_range.SPEC,
)
