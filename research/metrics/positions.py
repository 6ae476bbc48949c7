"""Whole lives of positions, from flat to flat or to a reversal, of one leg and of two that are one position."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from research.kernel import kernel
from research.metrics.returns import for_kernel

# One row per position. `qty` is the largest held, positive base units; `entry_price` and `exit_price` are averages
# over all fills that grew and that shrank it; `reductions` counts the latter, `exit_role` is that of the last;
# `gross`, `fee` (paid), `funding` (received) and `pnl` = gross - fee + funding in quote currency; `slippage` (paid) is
# within the prices already; `return_frac` = pnl over `qty` at the entry price. One still open has `exit_bar` -1.
ROUND_TRIPS = np.dtype(
    [
        ("leg", "i8"),
        ("entry_ts", "i8"),
        ("exit_ts", "i8"),
        ("entry_bar", "i8"),
        ("exit_bar", "i8"),
        ("side", "i8"),
        ("qty", "f8"),
        ("entry_price", "f8"),
        ("exit_price", "f8"),
        ("reductions", "i8"),
        ("gross", "f8"),
        ("fee", "f8"),
        ("slippage", "f8"),
        ("funding", "f8"),
        ("pnl", "f8"),
        ("return_frac", "f8"),
        ("exit_role", "i8"),
    ]
)

# What is gathered of a leg's open position, beside the row that it becomes.
_OPEN = np.dtype([("held", "f8"), ("average", "f8"), ("entered", "f8"), ("left", "f8"), ("row", ROUND_TRIPS)])

# One row per position in two legs, as :func:`pair_positions` says.
PAIR_TRADES = np.dtype(
    [
        ("entry_ts", "i8"),
        ("exit_ts", "i8"),
        ("entry_bar", "i8"),
        ("exit_bar", "i8"),
        ("side", "i8"),
        ("qty_a", "f8"),
        ("qty_b", "f8"),
        ("entry_price_a", "f8"),
        ("entry_price_b", "f8"),
        ("exit_price_a", "f8"),
        ("exit_price_b", "f8"),
        ("basis_entry_bps", "f8"),
        ("basis_exit_bps", "f8"),
        ("gross_a", "f8"),
        ("gross_b", "f8"),
        ("gross", "f8"),
        ("fee", "f8"),
        ("slippage", "f8"),
        ("funding", "f8"),
        ("pnl", "f8"),
        ("return_frac", "f8"),
    ]
)


@kernel
def begin_position(leg: Any, fill: Any, qty: float, share: float) -> None:
    """Open a position with the part of a fill that grows it."""
    row = leg["row"]
    row["leg"], row["entry_ts"], row["entry_bar"] = fill["leg"], fill["ts"], fill["bar"]
    row["side"], row["qty"], row["exit_bar"] = 1 if qty > 0.0 else -1, abs(qty), -1
    row["exit_ts"], row["exit_role"], row["exit_price"], row["reductions"] = 0, 0, 0.0, 0
    row["gross"], row["funding"], row["pnl"], row["return_frac"] = 0.0, 0.0, 0.0, 0.0
    row["fee"], row["slippage"] = fill["fee"] * share, fill["slippage"] * share
    leg["average"], leg["entered"], leg["left"] = fill["price"], abs(qty), 0.0
    row["entry_price"] = fill["price"]


@kernel
def match_positions(fills: NDArray[Any], legs: NDArray[Any], trips: NDArray[Any]) -> int:
    """Write one row for every position that ended; return how many. ``legs`` then holds those still open."""
    count = 0
    for k in range(fills.shape[0]):
        fill = fills[k]
        leg = legs[fill["leg"]]
        row = leg["row"]
        qty, after, price, held = fill["qty"], fill["position_qty"], fill["price"], leg["held"]
        if held == 0.0:
            begin_position(leg, fill, after, 1.0)
            row["funding"] = fill["funding"]
        elif (held > 0.0) == (qty > 0.0):
            leg["average"] += (price - leg["average"]) * (qty / after)
            leg["entered"] += abs(qty)
            row["entry_price"] += (price - row["entry_price"]) * (abs(qty) / leg["entered"])
            row["qty"] = max(row["qty"], abs(after))
            row["fee"] += fill["fee"]
            row["slippage"] += fill["slippage"]
            row["funding"] += fill["funding"]
        else:
            has_ended = after == 0.0 or (after > 0.0) != (held > 0.0)
            closed = abs(held) if has_ended else abs(qty)
            share = closed / abs(qty)
            leg["left"] += closed
            row["exit_price"] += (price - row["exit_price"]) * (closed / leg["left"])
            row["gross"] += row["side"] * closed * (price - leg["average"])
            row["fee"] += fill["fee"] * share
            row["slippage"] += fill["slippage"] * share
            row["funding"] += fill["funding"]
            row["reductions"] += 1
            row["exit_role"] = fill["role"]
            if has_ended:
                row["exit_ts"], row["exit_bar"] = fill["ts"], fill["bar"]
                row["pnl"] = row["gross"] - row["fee"] + row["funding"]
                row["return_frac"] = row["pnl"] / (row["qty"] * row["entry_price"])
                trips[count] = row
                count += 1
                if after != 0.0:
                    begin_position(leg, fill, after, 1.0 - share)
        leg["held"] = after
    return count


def closed_positions(fills: NDArray[Any], *, with_open: bool = False) -> NDArray[Any]:
    """Return every position that was held, as a whole: how it was entered, left, and what it made.

    Parameters
    ----------
    fills : array of research.execution.FILLS
        All fills since the positions were last flat, in order.
    with_open : bool
        Whether those not yet ended follow, with ``exit_bar`` -1 and no ``pnl``.

    Returns
    -------
    array of ROUND_TRIPS
        In the order of their ends. A reversal ends one and begins the next.
    """
    trips = np.zeros(fills.shape[0], ROUND_TRIPS)
    legs = np.zeros(int(fills["leg"].max()) + 1 if fills.size else 0, _OPEN)
    found = trips[: match_positions(for_kernel(fills, fills.dtype), legs, trips)]
    return np.concatenate((found, legs["row"][legs["held"] != 0.0])) if with_open else found


def pair_positions(fills: NDArray[Any], a: int, b: int) -> NDArray[Any]:
    """Return the positions of two legs as one: those of a coin and the perpetual sold against it, say.

    A position begins where the first of the legs is entered with both flat, and ends where both are flat again, or
    where both are reversed in one bar. One in which a leg is still open is not in it.

    Parameters
    ----------
    fills : array of research.execution.FILLS
        Of all legs, in order.
    a, b : int
        The legs; ``side`` is that of ``a``.

    Returns
    -------
    array of PAIR_TRADES
        ``basis_entry_bps`` and ``basis_exit_bps`` are what the average price of ``b`` lay above that of ``a``, in
        basis points of the latter; NaN where only one leg was entered, whose prices and quantity are then NaN and 0.
        ``gross`` is the profit of the prices of both legs, ``pnl`` = gross - fee + funding, ``return_frac`` is it
        over the notional of ``a`` at its entry (of ``b`` where ``a`` was not entered). Interest is charged to the
        account and not known per position.
    """
    trips = closed_positions(fills[(fills["leg"] == a) | (fills["leg"] == b)], with_open=True)
    last = np.where(trips["exit_bar"] < 0, np.iinfo(np.int64).max, trips["exit_bar"])
    groups: list[list[int]] = []
    begin, end = -1, -1
    for k in np.lexsort((last, trips["entry_bar"])):
        entry = trips["entry_bar"][k]
        # Within one bar, a leg that comes again is the next position.
        joins = entry < end or (entry == begin and not (trips["leg"][groups[-1]] == trips["leg"][k]).any())
        if groups and joins:
            groups[-1].append(k)
            end = max(end, last[k])
        else:
            groups.append([k])
            begin, end = entry, last[k]
    closed = [trips[group] for group in groups if (trips["exit_bar"][group] >= 0).all()]
    found = np.zeros(len(closed), PAIR_TRADES)
    for row, parts in zip(found, closed, strict=True):
        _join(row, parts[parts["leg"] == a], parts[parts["leg"] == b])
    return found


def _join(row: Any, of_a: NDArray[Any], of_b: NDArray[Any]) -> None:
    """Fill one row of PAIR_TRADES from the positions of both legs, either of which may have none or several."""
    both = np.concatenate((of_a, of_b))
    row["entry_ts"], row["entry_bar"] = both["entry_ts"].min(), both["entry_bar"].min()
    row["exit_ts"], row["exit_bar"] = both["exit_ts"].max(), both["exit_bar"].max()
    row["side"] = of_a["side"][0] if of_a.size else -of_b["side"][0]
    for name, parts in (("a", of_a), ("b", of_b)):
        qty = parts["qty"]
        row[f"qty_{name}"] = qty.max() if qty.size else 0.0
        for when in ("entry", "exit"):
            price = float(np.average(parts[f"{when}_price"], weights=qty)) if qty.size else np.nan
            row[f"{when}_price_{name}"] = price
        row[f"gross_{name}"] = parts["gross"].sum()
    for when in ("entry", "exit"):
        row[f"basis_{when}_bps"] = (row[f"{when}_price_b"] / row[f"{when}_price_a"] - 1.0) * 1e4
    for name in ("gross", "fee", "slippage", "funding"):
        row[name] = both[name].sum()
    row["pnl"] = row["gross"] - row["fee"] + row["funding"]
    notional = row["qty_a"] * row["entry_price_a"] if of_a.size else row["qty_b"] * row["entry_price_b"]
    row["return_frac"] = row["pnl"] / notional
