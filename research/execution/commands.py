"""Orders as a user writes them, as the commands that an account takes; it judges fields, not whether they are wise."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from research.errors import InvalidInput, MisalignedBars, SchemaMismatch
from research.execution.records import COMMANDS, Kind, TimeInForce, TriggerBy
from research.execution.rounding import lots_of
from research.kernel import IntArray
from research.market.bars import TS, epoch_ns
from research.market.instruments import Instrument, Terms

SIDES = {"buy": 1, "sell": -1}
# Kind of the order, and to which side of the market its trigger lies for a buy: 0 has none.
TYPES = {
    "market": (Kind.MARKET, 0),
    "limit": (Kind.LIMIT, 0),
    "stop_market": (Kind.MARKET, 1),
    "stop_limit": (Kind.LIMIT, 1),
    "take_profit_market": (Kind.MARKET, -1),
    "take_profit_limit": (Kind.LIMIT, -1),
    "cancel": (Kind.CANCEL, 0),
}
_FIELDS = (
    "ts", "id", "leg", "side", "type", "qty", "price", "trigger_price", "trigger_by", "time_in_force", "reduce_only",
    "stop_loss", "take_profit",
)  # fmt: skip
_PRICES = {
    "price": "limit_price", "trigger_price": "trigger_price", "stop_loss": "stop_loss", "take_profit": "take_profit",
}  # fmt: skip
_GRID_RTOL = 1e-9  # a price or quantity this near a whole number of steps is one


def commands_of(
    orders: pl.DataFrame, ts: IntArray, instruments: Sequence[Instrument], legs: Sequence[str]
) -> NDArray[Any]:
    """Return the commands that a frame of orders asks for.

    Parameters
    ----------
    orders : polars.DataFrame
        One row per order: ``ts`` (open time of the bar at whose **close** it is given), ``type`` (a key of ``TYPES``),
        ``side`` (buy, sell), ``qty`` (base units, positive), and as needed ``id`` (a positive whole number by which it
        can be cancelled), ``leg`` (name; needed where there are several), ``price`` (of a limit), ``trigger_price``,
        ``trigger_by`` (last, mark), ``time_in_force`` (gtc, ioc, post_only), ``reduce_only``, ``stop_loss`` and
        ``take_profit`` (prices of a bracket). A ``cancel`` ends the order of that ``id``, without one all of the leg.
        Null is not set. Rows are taken in the order of their times, equal ones in the order given.
    ts : (n,) array of int64
        Bar open times, ns UTC.
    instruments : sequence of Instrument
    legs : sequence of str
        Their names.

    Returns
    -------
    array of COMMANDS

    Raises
    ------
    SchemaMismatch
        If a column is unknown, missing, or of another type.
    MisalignedBars
        If a time is not that of a bar.
    InvalidInput
        If a field is unknown or contradicts another, or a price or quantity is off the instrument's grid.
    """
    unknown = [name for name in orders.columns if name not in _FIELDS]
    if unknown:
        raise SchemaMismatch(f"orders.{unknown[0]}", f"is not a field (known: {', '.join(_FIELDS)})")
    for name in ("ts", "type"):
        if name not in orders.columns:
            raise SchemaMismatch(f"orders.{name}", "is required; columns are", orders.columns)
    if not isinstance(orders.schema["ts"], pl.Datetime):
        raise SchemaMismatch("orders.ts", "must be a UTC datetime column", str(orders.schema["ts"]))
    ordered = orders.with_columns(pl.col("ts").cast(TS)).sort("ts", maintain_order=True)
    times = epoch_ns(ordered)
    bars = np.searchsorted(ts, times)
    off = np.flatnonzero(~np.isin(times, ts))
    if off.size:
        raise MisalignedBars(f"orders.ts[{off[0]}]", "must be the open time of a bar", str(ordered["ts"][int(off[0])]))
    found = np.zeros(ordered.height, COMMANDS)
    found["bar"] = bars
    for name in _PRICES.values():
        found[name] = math.nan
    for i, row in enumerate(ordered.iter_rows(named=True)):
        _write(found[i], {name: value for name, value in row.items() if value is not None}, f"orders[{i}]", legs)
        if found[i]["kind"] != Kind.CANCEL:
            terms = instruments[int(found[i]["leg"])].at(int(times[i]))
            _put_on_grid(found[i], row, terms, f"orders[{i}]")
    return found


def _write(command: Any, row: Mapping[str, Any], subject: str, legs: Sequence[str]) -> None:
    """Write the fields of one order, checked against one another."""
    kind, towards = TYPES[_one_of(subject, row, "type", TYPES)]
    command["kind"] = kind
    if "leg" in row or len(legs) > 1:
        command["leg"] = list(legs).index(_one_of(subject, row, "leg", legs))
    tag = row.get("id", 0)
    if isinstance(tag, bool) or not isinstance(tag, int) or tag < 0:
        raise InvalidInput(f"{subject}.id", "must be a positive whole number", tag)
    command["tag"] = tag
    if kind == Kind.CANCEL:
        _refuse_fields(subject, row, set(_FIELDS) - {"ts", "id", "leg", "type"}, "cancel")
        return
    side = SIDES[_one_of(subject, row, "side", SIDES)]
    command["lots"] = side
    command["tif"] = TimeInForce[_one_of(subject, row, "time_in_force", ("gtc", "ioc", "post_only"), "gtc").upper()]
    command["trigger_by"] = TriggerBy[_one_of(subject, row, "trigger_by", ("last", "mark"), "last").upper()]
    command["trigger_direction"] = side * towards
    reduce_only = row.get("reduce_only", False)
    if not isinstance(reduce_only, bool):
        raise InvalidInput(f"{subject}.reduce_only", "must be true or false", reduce_only)
    command["reduce_only"] = reduce_only
    if kind == Kind.MARKET:
        _refuse_fields(subject, row, {"price", "time_in_force"}, row["type"])
    elif "price" not in row:
        raise InvalidInput(f"{subject}.price", f"is required by type {row['type']}")
    if towards == 0:
        _refuse_fields(subject, row, {"trigger_price", "trigger_by"}, row["type"])
    elif "trigger_price" not in row:
        raise InvalidInput(f"{subject}.trigger_price", f"is required by type {row['type']}")
    if reduce_only:
        _refuse_fields(subject, row, {"stop_loss", "take_profit"}, "reduce_only")


def _put_on_grid(command: Any, row: Mapping[str, Any], terms: Terms, subject: str) -> None:
    """Write quantity and prices, refusing what lies off the instrument's grid."""
    qty = row.get("qty")
    if qty is None or not _is_positive(qty):
        raise InvalidInput(f"{subject}.qty", "must be positive and finite", qty)
    lots = lots_of(float(qty), terms.qty_step)
    if lots == 0 or abs(lots * terms.qty_step - qty) > _GRID_RTOL * qty:
        raise InvalidInput(f"{subject}.qty", f"must be a whole number of lots of {terms.qty_step:g}", qty)
    command["lots"] *= lots
    for name, field in _PRICES.items():
        price = row.get(name)
        if price is None:
            continue
        if not _is_positive(price):
            raise InvalidInput(f"{subject}.{name}", "must be positive and finite", price)
        if abs(round(price / terms.tick) * terms.tick - price) > _GRID_RTOL * price:
            raise InvalidInput(f"{subject}.{name}", f"must be a whole number of ticks of {terms.tick:g}", price)
        command[field] = price


def _one_of(subject: str, row: Mapping[str, Any], name: str, allowed: Any, default: str | None = None) -> str:
    value = row.get(name, default)
    if value not in allowed:
        raise InvalidInput(f"{subject}.{name}", f"must be one of {', '.join(allowed)}", value)
    return str(value)


def _refuse_fields(subject: str, row: Mapping[str, Any], names: set[str], why: str) -> None:
    given = [name for name in _FIELDS if name in names and name in row and row[name] is not False]
    if given:
        raise InvalidInput(f"{subject}.{given[0]}", f"must not be set for {why}", row[given[0]])


def _is_positive(value: object) -> bool:
    return not isinstance(value, bool) and isinstance(value, (int, float)) and 0.0 < value < math.inf
