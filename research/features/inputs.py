"""The columns that features read: what a value means, and how a coarser bar is made of finer ones. It computes nothing.

A feature names its inputs by role. Most roles are column names of :data:`INPUTS`. The others are bound by an entry of a
``FeatureSet``:

``value``, ``other``
    Any columns, named by ``of``: of the bars, or outputs of other entries. The default of ``value`` is ``close``.
``reference.X``
    Column ``X`` of the symbol named by ``reference``, in a table the column ``SYMBOL.X``.
``basket.X``
    Column ``X`` of every symbol in the list ``basket``, as one (n, members) array.
``series``, ``series.age``
    A context series named by ``series``, and the minutes since its newest value became available.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

TIME, PRICE, SIZE, SIGNED = (
    "time",
    "price",
    "size",
    "signed",
)  # what a readable value is; see research.features.validity
FIRST, LAST, HIGHEST, LOWEST, SUM, MEAN = "first", "last", "highest", "lowest", "sum", "mean"
NONE = "none"  # a longer bar has no such value: it is made of trades, not of bars
BOUND = ("value", "other", "reference", "basket", "series")


@dataclass(frozen=True, slots=True)
class Input:
    """A column that kernels read.

    Parameters
    ----------
    kind : str
        ``"time"`` (int64 ns), ``"price"`` (above zero), ``"size"`` (not below zero) or ``"signed"`` (finite).
    merge : str
        How finer bars make a coarser one: ``"first"``, ``"last"``, ``"highest"``, ``"lowest"``, ``"sum"``, ``"mean"``,
        or ``"none"``: they do not.
    unit : str
        Unit.
    source : str
        Where it comes from.
    """

    kind: str
    merge: str
    unit: str
    source: str


INPUTS: dict[str, Input] = {
    "ts": Input(TIME, FIRST, "ns UTC", "open time of the bar"),
    "open": Input(PRICE, FIRST, "quote", "bars"),
    "high": Input(PRICE, HIGHEST, "quote", "bars"),
    "low": Input(PRICE, LOWEST, "quote", "bars"),
    "close": Input(PRICE, LAST, "quote", "bars"),
    "volume": Input(SIZE, SUM, "base", "bars"),
    "turnover": Input(SIZE, SUM, "quote", "bars"),
    "trade_count": Input(SIZE, SUM, "trades", "bars"),
    "taker_buy_volume": Input(SIZE, SUM, "base", "bars, or trades"),
    # Prices of the same thing elsewhere, at the close of the bar.
    "mark": Input(PRICE, LAST, "quote", "mark bars"),
    "index": Input(PRICE, LAST, "quote", "index bars"),
    "spot": Input(PRICE, LAST, "quote", "close of the spot market's bars"),
    "future": Input(PRICE, LAST, "quote", "close of a dated future's bars"),
    "future_expiry": Input(SIZE, LAST, "minutes to its expiry at the close of the bar", "its instrument"),
    # The newest that was available at the close of the bar.
    "funding_rate": Input(SIGNED, LAST, "fraction per interval", "funding rows, as last settled"),
    "funding_interval": Input(PRICE, LAST, "hours", "funding rows"),
    "funding_age": Input(SIZE, LAST, "minutes since that settlement", "funding rows"),
    "open_interest": Input(SIZE, LAST, "base", "open interest rows"),
    "buy_ratio": Input(SIZE, LAST, "fraction of accounts that are long", "long/short ratio rows"),
    "sell_ratio": Input(SIZE, LAST, "fraction of accounts that are short", "long/short ratio rows"),
}  # fmt: skip

# Order flow within the bar, from trades, book updates and liquidations.
INPUTS |= {
    "buy_count": Input(SIZE, SUM, "trades whose taker bought", "trades"),
    "max_trade": Input(SIZE, HIGHEST, "base", "trades: the largest one"),
    "log_size_sum": Input(SIGNED, SUM, "sum of ln(quantity in base)", "trades"),
    "log_size_square_sum": Input(SIZE, SUM, "sum of its square", "trades"),
    "large_buy_volume": Input(SIZE, SUM, "base", "trades that are large, by the taker's side"),
    "large_sell_volume": Input(SIZE, SUM, "base", "trades that are large, by the taker's side"),
    "large_count": Input(SIZE, SUM, "trades", "trades that are large"),
    "footprint_poc": Input(PRICE, NONE, "quote", "trades: the price level with the most volume"),
    "footprint_high_delta": Input(SIGNED, NONE, "base", "trades: taker buys less sells at the highest price level"),
    "footprint_low_delta": Input(SIGNED, NONE, "base", "trades: taker buys less sells at the lowest price level"),
    "footprint_buy_imbalances": Input(SIZE, NONE, "levels", "trades: buying outweighs the selling one level below"),
    "footprint_sell_imbalances": Input(SIZE, NONE, "levels", "trades: selling outweighs the buying one level above"),
    "bid_price": Input(PRICE, LAST, "quote", "book"),
    "ask_price": Input(PRICE, LAST, "quote", "book"),
    "bid_size": Input(SIZE, LAST, "base", "book, at the best price"),
    "ask_size": Input(SIZE, LAST, "base", "book, at the best price"),
    "bid_depth_5": Input(SIZE, LAST, "base", "book, best 5 levels"),
    "ask_depth_5": Input(SIZE, LAST, "base", "book, best 5 levels"),
    "bid_depth_10": Input(SIZE, LAST, "base", "book, best 10 levels"),
    "ask_depth_10": Input(SIZE, LAST, "base", "book, best 10 levels"),
    "bid_depth_20": Input(SIZE, LAST, "base", "book, best 20 levels"),
    "ask_depth_20": Input(SIZE, LAST, "base", "book, best 20 levels"),
    "spread_mean": Input(SIZE, MEAN, "quote", "book: mean of ask less bid over the time of the bar"),
    "order_flow_imbalance": Input(SIGNED, SUM, "base", "book: best-level additions less removals, bid less ask"),
    "bid_wall_size": Input(SIZE, LAST, "base; 0: no wall", "book: the largest level of k times the average"),
    "ask_wall_size": Input(SIZE, LAST, "base; 0: no wall", "book: the largest level of k times the average"),
    "bid_wall_distance": Input(SIZE, LAST, "fraction of the mid price; 0: no wall", "book"),
    "ask_wall_distance": Input(SIZE, LAST, "fraction of the mid price; 0: no wall", "book"),
    "bid_wall_age": Input(SIZE, LAST, "seconds that it has stood; 0: no wall", "book"),
    "ask_wall_age": Input(SIZE, LAST, "seconds that it has stood; 0: no wall", "book"),
    "long_liquidation_volume": Input(SIZE, SUM, "base", "liquidations of longs (sell orders)"),
    "short_liquidation_volume": Input(SIZE, SUM, "base", "liquidations of shorts (buy orders)"),
}  # fmt: skip


_DEPTH = re.compile(r"(bid|ask)_depth_[1-9][0-9]*")


def column_input(column: str) -> Input | None:
    """Return what is known of a column of the bars, of another symbol's too; None if it is no such column.

    Examples
    --------
    >>> column_input("BTCUSDT.volume").merge, column_input("bid_depth_50").kind, column_input("rsi")
    ('sum', 'size', None)
    """
    symbol, dot, name = column.rpartition(".")
    if dot and not symbol:
        return None
    if _DEPTH.fullmatch(name):
        return INPUTS["bid_depth_5"]
    return None if dot and name == "ts" else INPUTS.get(name)


def role_input(role: str, source: str) -> Input:
    """Return what a role's values are when a column plays it.

    Examples
    --------
    >>> role_input("reference.close", "ETHUSDT.close").kind, role_input("value", "volume").kind
    ('price', 'signed')
    >>> role_input("series", "etf.volume").merge, role_input("value", "BTCUSDT.volume").merge
    ('last', 'sum')
    """
    if role in ("series", "series.age"):
        return Input(kind_of(role), LAST, "", "")
    found = column_input(source)
    return Input(kind_of(role), found.merge if found is not None else LAST, "", "")


def kind_of(role: str) -> str:
    """Return what a readable value of a role is: a key of :data:`INPUTS` or a bound role.

    Examples
    --------
    >>> kind_of("volume"), kind_of("reference.close"), kind_of("value"), kind_of("series.age")
    ('size', 'price', 'signed', 'size')
    """
    if role == "series.age":
        return SIZE
    name = role.rsplit(".", 1)[-1]
    return INPUTS[name].kind if name in INPUTS else SIGNED
