"""The arrays that a running account is made of, and its book of open orders; it knows no price and fills nothing."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

from research.execution.records import BOOK_CAPACITY, Kind, Reason, Role, Status
from research.kernel import constant, inlined_kernel, inner_kernel

Records = Any  # NumPy structured arrays and their rows, fields as in research.execution.records
Record = Any

_REJECTED, _CANCELLED = constant(Status.REJECTED), constant(Status.CANCELLED)
_RUINED, _NOTHING_TO_REDUCE = constant(Reason.RUINED), constant(Reason.NOTHING_TO_REDUCE)
_TARGET, _TIME_STOP, _VOLATILITY = constant(Role.TARGET), constant(Role.TIME_STOP), constant(Role.VOLATILITY)
_CANCEL = constant(Kind.CANCEL)

PER_LEG = 8  # rows of the book beyond its capacity that each leg's targets and exits may need


class Books(NamedTuple):
    """An account at work, as tables of the layouts in :mod:`research.execution.records`.

    Parameters
    ----------
    account : (3,) table of STATE
        The first row; the others are room for :func:`keep`, as the last two thirds of ``legs`` and ``book``.
    settings : (1,) table of ACCOUNT_RULES
    legs : (3 S,) table of LEG
    rules : (S,) table of RULES
    tiers : (S * T,) table of TIERS
        T = ``settings["tier_rows"]`` of each leg.
    book : (3 K,) table of BOOK
        The first ``account["n_open"]`` rows are open orders, by id; K = ``settings["book_rows"]``.
    fills, orders : tables of FILLS and ORDERS
        Filled up to ``account["fills_written"]`` and ``account["orders_written"]``.
    """

    account: Records
    settings: Records
    legs: Records
    rules: Records
    tiers: Records
    book: Records
    fills: Records
    orders: Records


def book_size(n_legs: int, open_orders: int = BOOK_CAPACITY) -> int:
    """Return the rows that the open orders of so many legs need."""
    return open_orders + PER_LEG * n_legs


@inner_kernel
def keep(b: Books, slot: int) -> None:
    """Keep the state of the account, to be brought back by :func:`restore`; ``slot`` is 1 or 2."""
    n_legs, size = b.settings[0]["n_legs"], b.settings[0]["book_rows"]
    b.account[slot] = b.account[0]
    for k in range(n_legs):
        b.legs[slot * n_legs + k] = b.legs[k]
    for j in range(b.account[0]["n_open"]):
        b.book[slot * size + j] = b.book[j]


@inner_kernel
def restore(b: Books, slot: int) -> None:
    """Bring back the state that was kept, and forget the fills and orders since."""
    n_legs, size = b.settings[0]["n_legs"], b.settings[0]["book_rows"]
    b.account[0] = b.account[slot]
    for k in range(n_legs):
        b.legs[k] = b.legs[slot * n_legs + k]
    for j in range(b.account[0]["n_open"]):
        b.book[j] = b.book[slot * size + j]


@inner_kernel
def open_order(b: Books, leg: int, role: int, kind: int, decided_ts: int, lots: int) -> int:
    """Append an order with the next id and neutral terms; return its row."""
    account = b.account[0]
    account["last_order_id"] += 1
    j = account["n_open"]
    account["n_open"] += 1
    row = b.book[j]
    row["order_id"], row["tag"], row["leg"], row["role"], row["kind"] = account["last_order_id"], 0, leg, role, kind
    row["tif"], row["decided_ts"], row["wait"], row["target"], row["desired"] = 0, decided_ts, 0, math.nan, 0
    row["ordered"], row["lots"], row["filled"] = lots, lots, 0
    row["limit_price"], row["trigger_price"] = math.nan, math.nan
    row["trigger_direction"], row["trigger_by"], row["reduce_only"], row["carries"] = 0, 0, 0, 1
    row["is_resting"], row["is_armed"], row["has_arrived"], row["note"], row["pair_id"] = 0, 0, 0, 0, 0
    row["stop_loss"], row["take_profit"] = math.nan, math.nan
    return j


@inlined_kernel
def record_order(b: Books, row: Record, ts: int, status: int, reason: int) -> None:
    """Write the fate of an order into ``orders``."""
    out = b.orders[b.account[0]["orders_written"]]
    out["order_id"], out["tag"], out["leg"], out["role"], out["kind"] = (
        row["order_id"], row["tag"], row["leg"], row["role"], row["kind"],
    )  # fmt: skip
    out["decided_ts"], out["done_ts"], out["target"] = row["decided_ts"], ts, row["target"]
    out["limit_price"], out["trigger_price"] = row["limit_price"], row["trigger_price"]
    out["lots"], out["filled_lots"], out["status"], out["reason"] = row["ordered"], row["filled"], status, reason
    b.account[0]["orders_written"] += 1
    b.account[0]["orders"] += 1
    if status == _REJECTED:
        b.account[0]["rejected"] += 1


@inner_kernel
def end_order(b: Books, j: int, ts: int, status: int, reason: int) -> None:
    """Record the fate of the order in row ``j`` and close the gap that it leaves in the book."""
    row = b.book[j]
    record_order(b, row, ts, status, reason)
    leg = b.legs[row["leg"]]
    if leg["pending_id"] == row["order_id"]:
        leg["pending_id"] = 0
    if leg["closing_id"] == row["order_id"]:
        leg["closing_id"] = 0
    if leg["leaving_id"] == row["order_id"]:
        leg["leaving_id"] = 0
    last = b.account[0]["n_open"] - 1
    for i in range(j, last):
        b.book[i] = b.book[i + 1]
    b.account[0]["n_open"] = last


@inlined_kernel
def row_of(b: Books, order_id: int) -> int:
    """Return the row of an open order, -1 where it is open no more."""
    for j in range(b.account[0]["n_open"]):
        if b.book[j]["order_id"] == order_id:
            return j
    return -1


@inner_kernel
def end_void_orders(b: Books, leg: int, ts: int) -> None:
    """End what only reduces a position that is flat now: arrived reduce-only orders, and closing orders under way."""
    j = 0
    while j < b.account[0]["n_open"]:
        row = b.book[j]
        is_closing = row["role"] == _TIME_STOP or row["role"] == _VOLATILITY
        if row["leg"] == leg and row["reduce_only"] != 0 and (row["has_arrived"] != 0 or is_closing):
            end_order(b, j, ts, _CANCELLED, _NOTHING_TO_REDUCE)
        else:
            j += 1


@inner_kernel
def end_all_orders(b: Books, ts: int) -> None:
    """End every open order of an account that is ruined."""
    while b.account[0]["n_open"] > 0:
        end_order(b, 0, ts, _REJECTED, _RUINED)


@inlined_kernel
def is_busy(b: Books) -> bool:
    """Tell whether an order is under way, or has arrived and meets every open until it is done."""
    for j in range(b.account[0]["n_open"]):
        row = b.book[j]
        if row["has_arrived"] == 0 or (row["is_resting"] == 0 and row["is_armed"] == 0):
            return True
    return False


@inlined_kernel
def target_is_under_way(b: Books, leg: int) -> bool:
    """Tell whether the leg's order to a target has still to arrive."""
    order_id = b.legs[leg]["pending_id"]
    if order_id == 0:
        return False
    j = row_of(b, order_id)
    return j >= 0 and b.book[j]["has_arrived"] == 0 and b.book[j]["wait"] > 0
