"""Layouts of the account's state, rows, fills and orders; it computes nothing."""

from __future__ import annotations

from enum import IntEnum

import numpy as np


class Status(IntEnum):
    """What became of an order."""

    PENDING = 0
    FILLED = 1
    REJECTED = 2
    REPLACED = 3


class Reason(IntEnum):
    """Why an order was rejected, or why it was made when no target asked for it."""

    NONE = 0
    BELOW_MIN_QTY = 1
    ABOVE_MAX_QTY = 2
    BELOW_MIN_NOTIONAL = 3
    ABOVE_LEVERAGE = 4
    INSUFFICIENT_EQUITY = 5
    RUINED = 6


# One row per bar. Quote currency; `fee` and `slippage` are paid (>= 0), `funding` is received (negative: paid).
# `equity` and `wallet` are after the bar's close, `position_lots` is signed.
ROWS = np.dtype(
    [
        ("equity", "f8"),
        ("position_lots", "i8"),
        ("wallet", "f8"),
        ("fee", "f8"),
        ("slippage", "f8"),
        ("funding", "f8"),
    ]
)

# One row per fill. `ts` is when it happened (a bar's open; at ruin a bar's close), `bar` counts bars since the
# account began, `lots` and `qty` are signed, `reference` is the price before spread, slippage and tick,
# `slippage` = qty * (price - reference), `realised` is gross, `funding` was received since the fill before.
FILLS = np.dtype(
    [
        ("ts", "i8"),
        ("bar", "i8"),
        ("order_id", "i8"),
        ("lots", "i8"),
        ("qty", "f8"),
        ("reference", "f8"),
        ("price", "f8"),
        ("fee", "f8"),
        ("slippage", "f8"),
        ("realised", "f8"),
        ("funding", "f8"),
        ("position_lots", "i8"),
        ("position_qty", "f8"),
    ]
)

# One row per order, written when its fate is known. `decided_ts` is the close that decided it, `done_ts` the time
# it was filled, rejected or replaced.
ORDERS = np.dtype(
    [
        ("order_id", "i8"),
        ("decided_ts", "i8"),
        ("done_ts", "i8"),
        ("target", "f8"),
        ("lots", "i8"),
        ("filled_lots", "i8"),
        ("status", "i8"),
        ("reason", "i8"),
    ]
)

# Everything that the kernel remembers between bars. `wish` is the last target given, `standing` the last one acted
# upon; `pending_id` is 0 where no order waits, `pending_wait` counts the opens up to the first at which it may fill,
# that one included: above 0 the order is under way, at 0 it has arrived.
STATE = np.dtype(
    [
        ("bar", "i8"),
        ("last_ts", "i8"),
        ("term", "i8"),
        ("lots", "i8"),
        ("qty", "f8"),
        ("entry_price", "f8"),
        ("wallet", "f8"),
        ("equity", "f8"),
        ("last_close", "f8"),
        ("funding_since_fill", "f8"),
        ("wish", "f8"),
        ("standing", "f8"),
        ("is_ruined", "i8"),
        ("last_order_id", "i8"),
        ("pending_id", "i8"),
        ("pending_lots", "i8"),
        ("pending_target", "f8"),
        ("pending_ts", "i8"),
        ("pending_wait", "i8"),
    ]
)

# The rules in force over a chunk: the instrument's dated terms and the account's settings, in the kernel's units.
RULES = np.dtype(
    [
        ("step_ns", "i8"),
        ("is_spot", "i8"),
        ("latency_bars", "i8"),
        ("max_leverage", "f8"),
        ("venue_leverage", "f8"),
        ("tick", "f8"),
        ("qty_step", "f8"),
        ("min_lots", "i8"),
        ("max_lots", "f8"),
        ("min_notional_quote", "f8"),
        ("taker_frac", "f8"),
        ("adverse_frac", "f8"),
    ]
)
