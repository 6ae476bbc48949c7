"""What the order-level replay works on: a market, settings, and the records of a path. It replays nothing."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from research.kernel import FloatArray, IntArray, constant

Records = NDArray[Any]

# Columns of a path's figures behind its statistics; money in quote currency.
FIGURES = (
    "fees", "funding", "slippage", "fills", "trades", "orders", "missed", "refused", "final_equity", "is_liquidated",
)  # fmt: skip
# What may become of an order at an open, or of a decision at a close.
MISSED, FILLED, REFUSED, DECIDED = constant(0), constant(1), constant(2), constant(3)
IDLE, UNDER_WAY, REST = constant(0), constant(1), constant(2)

# What is known of every event, as a frame tells it: the columns after the bars and the target.
EVENT_COLUMNS = ("wanted", "offered", "lots", "price", "distance", "fee", "position_lots")

# One path's account and the order that it has out.
PATH = np.dtype(
    [
        ("wallet", "f8"), ("qty", "f8"), ("entry", "f8"), ("leverage", "f8"), ("closing_frac", "f8"), ("level", "f8"),
        ("lots", "i8"), ("standing", "f8"), ("wish", "f8"), ("given", "i8"), ("given_then", "i8"), ("decided", "i8"),
        ("desired", "i8"), ("stage", "i8"), ("arrival", "i8"), ("multiple", "f8"), ("segment", "i8"), ("since", "i8"),
        ("start", "i8"), ("peak", "f8"), ("lowest", "f8"), ("deepest", "f8"), ("open_fee", "f8"),
        ("open_funding", "f8"), ("won", "f8"), ("lost", "f8"), ("fees", "f8"), ("funding", "f8"), ("slippage", "f8"),
        ("fills", "i8"), ("trades", "i8"), ("orders", "i8"), ("missed", "i8"), ("refused", "i8"), ("logged", "i8"),
    ]
)  # fmt: skip
# What one path did, an order at a time; ``distance`` is what the fill paid beyond the open, before the tick.
EVENTS = np.dtype(
    [
        ("decided_bar", "i8"), ("given_bar", "i8"), ("target", "f8"), ("bar", "i8"), ("outcome", "i8"),
        ("wanted", "i8"), ("offered", "i8"), ("lots", "i8"), ("price", "f8"), ("distance", "f8"), ("fee", "f8"),
        ("position_lots", "i8"),
    ]
)  # fmt: skip


class Market(NamedTuple):
    """What is the same on every path: decisions, prices and terms.

    ``volume`` and ``unit`` may be empty; ``unit`` is the last one known before the bar. ``low`` and ``high`` are a
    bar's extremes of the mark, ``day_low`` and ``day_high`` those of its day, traded closes included; all empty on a
    spot market.
    """

    decision_bar: IntArray
    decision_target: FloatArray
    open: FloatArray
    close: FloatArray
    mark: FloatArray
    low: FloatArray
    high: FloatArray
    volume: FloatArray
    unit: FloatArray
    funding_bar: IntArray
    funding_price: FloatArray
    funding_rate: FloatArray
    day_end: IntArray
    day_low: FloatArray
    day_high: FloatArray
    rules: Records
    rules_from: IntArray
    tiers: Records
    tiers_from: IntArray


class Settings(NamedTuple):
    """The account, and how an order's fate is drawn."""

    cash: float
    latency: int
    is_cross: bool
    in_lots: bool
    cumulative: FloatArray
    scale: float
    log_sd: float
    low: float
    high: float
    miss: float
    partial: float
    least: float
    most: float
    carries: bool
    starts: int


class View(NamedTuple):
    """A market inside the kernel: bare pointers, since counting references at every call took most of the time."""

    open: Any
    close: Any
    mark: Any
    low: Any
    high: Any
    volume: Any
    unit: Any
    day_low: Any
    day_high: Any
    rules: Any
    tiers: Any
    tiers_from: Any
    has_margin: Any
    has_volume: Any
    has_unit: Any
