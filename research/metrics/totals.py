"""Sums over an account's rows in one pass of them; a row is as long as a line of the cache, so that each pass costs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from research.kernel import FloatArray, kernel
from research.metrics.returns import for_kernel


@dataclass(frozen=True, slots=True)
class Totals:
    """What all rows of an account sum up to.

    Parameters
    ----------
    equity : (n,) array of float64
        The rows' own, contiguous.
    fee, slippage, funding, interest : float
        Quote currency; funding received, the others paid.
    ambiguous : float
        Quote currency that the bars' other orders of events would have moved the equity by, summed.
    ambiguous_bars : int
        Bars in which it was not 0.
    largest_margin_ratio : float
        Largest maintenance margin over equity at a close; 0 without one, infinite where no equity stood behind it.
    """

    equity: FloatArray
    fee: float
    slippage: float
    funding: float
    interest: float
    ambiguous: float
    ambiguous_bars: int
    largest_margin_ratio: float


@kernel
def sum_rows(rows: NDArray[Any], equity: FloatArray, sums: FloatArray) -> None:
    """Copy the equity and fill ``sums``: fee, slippage, funding, interest, ambiguous, its bars, margin ratio."""
    fee = slippage = funding = interest = ambiguous = ratio = 0.0
    bars = 0
    for i in range(rows.shape[0]):
        row = rows[i]
        equity[i] = row["equity"]
        fee += row["fee"]
        slippage += row["slippage"]
        funding += row["funding"]
        interest += row["interest"]
        if row["ambiguous"] != 0.0:
            ambiguous += row["ambiguous"]
            bars += 1
        if row["maintenance"] > 0.0:
            ratio = max(ratio, row["maintenance"] / row["equity"] if row["equity"] > 0.0 else np.inf)
    sums[0], sums[1], sums[2], sums[3] = fee, slippage, funding, interest
    sums[4], sums[5], sums[6] = ambiguous, bars, ratio


def totals(rows: NDArray[Any]) -> Totals:
    """Return the sums over an account's rows.

    Parameters
    ----------
    rows : (n,) array of research.execution.ROWS
    """
    equity, sums = np.empty(rows.shape[0]), np.zeros(7)
    sum_rows(for_kernel(rows, rows.dtype), equity, sums)
    fee, slippage, funding, interest, ambiguous, bars, ratio = (float(x) for x in sums)
    return Totals(equity, fee, slippage, funding, interest, ambiguous, int(bars), ratio)
