"""Sums of pairs of returns and of their products over a window, shared by correlation and beta. It holds no feature.

As in ``research.features.window`` nothing is subtracted from a running sum. A kernel adds each pair to the five sums of
the block under way, kept in locals, and writes it to the block's rows; a complete block is folded here.
"""

from __future__ import annotations

from research.kernel import FloatArray, kernel

COLUMNS = 5
# A sum of squared deviations below this share of the sum of squares is the rounding of equal returns.
LEAST_SHARE = 1e-12


def rows_size(length: int) -> int:
    """Return the slots of the rows of a block: the sums of x, y, their squares and their product, for each pair."""
    return COLUMNS * length


@kernel
def fold_block(state: FloatArray, rows: int, length: int) -> None:
    """Turn the rows of a complete block, whose first two columns are x and y, into its suffix sums."""
    x_sum, y_sum, xx_sum, yy_sum, xy_sum = 0.0, 0.0, 0.0, 0.0, 0.0
    for at in range(rows + COLUMNS * (length - 1), rows - 1, -COLUMNS):
        x, y = state[at], state[at + 1]
        x_sum += x
        y_sum += y
        xx_sum += x * x
        yy_sum += y * y
        xy_sum += x * y
        state[at], state[at + 1] = x_sum, y_sum
        state[at + 2], state[at + 3], state[at + 4] = xx_sum, yy_sum, xy_sum


@kernel
def deviations(total: float, squares: float, mean: float) -> float:
    """Return a sum of squared deviations from a sum, a sum of squares and the mean; 0 where it is a rounding.

    Returns vary by more than they are on average, so that the difference keeps its digits.
    """
    left = squares - total * mean
    return left if left > LEAST_SHARE * squares else 0.0
