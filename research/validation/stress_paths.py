"""Stresses of the path: what becomes of a market's prices. They change no cost.

:mod:`research.validation.stress` has them by name.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from research.errors import InvalidInput
from research.validation.stress_market import (
    History,
    Market,
    common_rows,
    moves_of,
    rearranged,
    shifted,
    with_moves,
)


def wider(market: Market, factor: float) -> Market:
    """Return the market with every log move and range ``factor`` times as large, first and last price as they were.

    Scaling a path scales its drift too; what that adds is taken out of every bar alike, so that ranges are multiplied
    exactly and the whole comes to what it came to.
    """

    def scaled(history: History) -> History:
        moves = moves_of(history)
        rows = np.flatnonzero(~np.isnan(moves[3]))
        found = factor * moves
        if rows.size > 1:
            found[:, rows[1:]] -= (factor - 1.0) * moves[3, rows].sum() / (rows.size - 1)
        return with_moves(history, found)

    return market.with_histories({name: scaled(history) for name, history in market.symbols.items()})


def reversed_correlations(market: Market, strength: float) -> Market:
    r"""Return the market in which each other symbol's correlation to the first is :math:`(1 - 2s)` times what it was.

    Each return is split by least squares into what the first symbol's explains and the rest. The explained part changes
    its sign (at strength 1), the rest is scaled so that the symbol's own variance stays; mean and wicks stay too.
    Correlations among the others are as they were at strength 1.
    """
    if len(market.symbols) < 2:
        rule = "has no effect: needs at least two symbols, with one there is no correlation"
        raise InvalidInput("correlations", rule, len(market.symbols))
    rows = common_rows(market)
    if rows.size < 3:
        raise InvalidInput("correlations", "needs at least 3 bars that all symbols have", rows.size)
    first = moves_of(market.reference)[3, rows]
    centred = first - first.mean()
    square = float(centred @ centred)
    if square == 0.0:
        raise InvalidInput("correlations", "needs a first symbol that moves", 0.0)
    found = {}
    for name, history in market.symbols.items():
        if history is market.reference:
            found[name] = history
            continue
        moves = moves_of(history)
        own = moves[3, rows] - moves[3, rows].mean()
        explained = centred * (float(own @ centred) / square)
        rest = own - explained
        before, after = float(explained @ explained), (1.0 - 2.0 * strength) ** 2 * float(explained @ explained)
        left = float(rest @ rest)
        scale = np.sqrt((left + before - after) / left) if left > 0.0 else 1.0
        shift = np.zeros(moves.shape[1])
        shift[rows] = (1.0 - 2.0 * strength) * explained + scale * rest - own
        found[name] = with_moves(history, shifted(moves, shift))
    return market.with_histories(found)


def dropped(
    market: Market, drops: int, depth: float, bars: int, recovery: float, recovery_bars: int, gap: int, seed: int
) -> Market:
    """Return the market in which all symbols fall by ``depth`` at the same ``drops`` times.

    The bars are cut into as many stretches as there are drops; each drop lies in the middle of its own, or with a seed
    of at least 0 anywhere in it. It falls by equal log steps over ``bars`` bars, then wins back the share ``recovery``
    of what was lost over ``recovery_bars``. With ``gap`` each step comes between two bars and no stop is met on the
    way; otherwise within the bar.
    """
    rows = common_rows(market)[1:]
    span = bars + (recovery_bars if recovery > 0.0 else 0)
    edges = np.linspace(0, rows.size, drops + 1).astype(np.int64)
    if int(np.diff(edges).min()) < span:
        raise InvalidInput("drops.drops", f"must leave {span} of {rows.size} bars to each", drops)
    generator = np.random.default_rng(seed) if seed >= 0 else None
    falls, rises = np.zeros(market.ts.size), np.zeros(market.ts.size)
    fall = np.log1p(-depth)
    rise = np.log1p(-depth * (1.0 - recovery)) - fall
    for low, high in pairwise(edges):
        room = int(high - low) - span
        at = int(low) + (room // 2 if generator is None else int(generator.integers(room + 1)))
        falls[rows[at : at + bars]] = fall / bars
        rises[rows[at + bars : at + span]] = rise / recovery_bars

    def fallen(history: History) -> History:
        moves = moves_of(history)
        return with_moves(history, moves + falls + rises if gap else shifted(moves, falls + rises))

    return market.with_histories({name: fallen(history) for name, history in market.symbols.items()})


def longer_runs(market: Market, factor: int, is_long: bool, unit_bars: int) -> Market:
    """Return the market rearranged so that its longest losing run is ``factor`` times as long.

    A run is a sequence of UTC days (or of blocks of ``unit_bars`` bars) that each lose for a holder of the first
    symbol: close to close, down for a long, up for a short. Losing days from after the run, nearest first, and then
    from before it, are moved to its end; the others close up in their order. Where there are not enough, all losing
    days are in it. Days are the same, once each, so that the distribution of returns and the last price are as they
    were. Only days with as many bars as most have are moved, and never the first. All symbols are rearranged alike;
    funding rows stay at their dates.
    """
    rows = common_rows(market)
    ts = market.ts[rows]
    group = ts // (24 * 3_600 * 10**9) if unit_bars == 0 else np.arange(rows.size) // unit_bars
    starts = np.flatnonzero(np.diff(group, prepend=group[0] - 1))
    sizes = np.diff(np.append(starts, rows.size))
    whole = np.flatnonzero(sizes == np.bincount(sizes).argmax())
    whole = whole[whole > 0]
    earned = np.add.reduceat(moves_of(market.reference)[3, rows], starts)[whole] * (1.0 if is_long else -1.0)
    order = _gathered(earned < 0.0, factor)
    source = np.arange(market.ts.size)
    blocks = [rows[begin : begin + size] for begin, size in zip(starts[whole], sizes[whole], strict=True)]
    for place, taken in zip(blocks, order, strict=True):
        source[place] = blocks[taken]
    return market.with_histories({name: rearranged(history, source) for name, history in market.symbols.items()})


def _gathered(is_loss: np.ndarray, factor: int) -> list[int]:
    """Return the order of blocks in which the (earliest) longest run of losses is ``factor`` times as long.

    Examples
    --------
    >>> _gathered(np.array([True, False, True, True, False, True]), 2)
    [1, 2, 3, 5, 0, 4]
    """
    best, length = (0, 0), 0
    for k, lost in enumerate([*is_loss.tolist(), False]):
        if not lost and length > best[1] - best[0]:
            best = (k - length, k)
        length = length + 1 if lost else 0
    if best == (0, 0):
        raise InvalidInput("losing_runs", "has no effect: no whole block but the first loses", 0)
    losses = np.flatnonzero(is_loss).tolist()
    after, before = [k for k in losses if k >= best[1]], [k for k in losses if k < best[0]]
    joined = (after + before[::-1])[: (factor - 1) * (best[1] - best[0])]
    if factor > 1 and not joined:
        raise InvalidInput("losing_runs", "has no effect: all losing blocks are in the longest run", best[1] - best[0])
    rest = [k for k in range(is_loss.size) if not best[0] <= k < best[1] and k not in set(joined)]
    run = [*range(*best), *joined]
    return [k for k in rest if k < best[0]] + run + [k for k in rest if k >= best[1]]
