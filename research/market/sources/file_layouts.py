"""Which column of a file means what, by publisher. It opens no file.

A layout is told by its column names or, where a file has no header, by the number and look of its fields.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from research.errors import InvalidInput, SchemaMismatch
from research.market.bars import OPTIONAL, SCHEMAS

_TIME = ("ts", "timestamp", "time", "date", "datetime", "unix", "opentime", "opents", "starttime", "start", "startat")
_PRICES = {
    "open": ("open", "o", "openprice"),
    "high": ("high", "h", "highprice"),
    "low": ("low", "l", "lowprice"),
    "close": ("close", "c", "closeprice"),
}
_BARS = {
    "ts": _TIME,
    **_PRICES,
    "volume": ("volume", "v", "vol", "basevolume", "volumebase", "baseassetvolume"),
    "turnover": ("turnover", "quotevolume", "quoteassetvolume", "volumequote"),
    "trade_count": ("tradecount", "trades", "count", "numberoftrades", "numtrades"),
    "taker_buy_volume": ("takerbuyvolume", "takerbuybasevolume", "takerbuybaseassetvolume"),
}
_TRADES = {
    "ts": (*_TIME, "transacttime"),
    "trade_id": ("tradeid", "id", "trdmatchid", "aggtradeid", "execid"),
    "price": ("price", "p"),
    "qty": ("qty", "quantity", "size", "volume", "amount", "v"),
    "side": ("side", "isbuyermaker"),
}
_FUNDING = {
    "ts": (*_TIME, "calctime", "fundingtime", "fundingratetimestamp"),
    "rate": ("rate", "fundingrate", "lastfundingrate"),
    "interval_hours": ("intervalhours", "fundingintervalhours"),
}
_KLINES = (
    "open_time", "open", "high", "low", "close", "volume", "close_time", "quote_volume", "count",
    "taker_buy_volume", "taker_buy_quote_volume", "ignore",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Layout:
    """One publisher's table.

    Parameters
    ----------
    name : str
        As users state it.
    aliases : mapping of str to tuple of str
        Our column to the names it may have, lower-case letters and digits only.
    known_by : frozenset of str
        Names that must all be there; a layout without any is taken only when stated, or as the last resort.
    headerless : tuple of tuple of str
        Names of the fields of files without a header.
    looks : mapping of str to pattern
        What a headerless field must look like.
    time_unit : str, optional
        Of its times, where the publisher fixes it.
    utc_offset_hours : float, optional
        Its clock.
    """

    name: str
    aliases: Mapping[str, tuple[str, ...]]
    known_by: frozenset[str] = frozenset()
    headerless: tuple[tuple[str, ...], ...] = ()
    looks: Mapping[str, str] = field(default_factory=dict)
    time_unit: str | None = None
    utc_offset_hours: float | None = None


_MAKER = {"is_buyer_maker": r"(?i)true|false", "transact_time": r"\d+", "time": r"\d+"}
LAYOUTS: dict[str, tuple[Layout, ...]] = {
    "bars": (
        Layout("binance_klines", {**_BARS, "ts": ("opentime",)}, frozenset({"opentime", "closetime"}), (_KLINES,)),
        Layout(
            "bybit_metatrader4", {name: (name,) for name in ("ts", "open", "high", "low", "close", "volume")},
            headerless=(("ts", "open", "high", "low", "close", "volume"),),
            looks={"ts": r"\d{4}\.\d{2}\.\d{2} \d{2}:\d{2}"}, utc_offset_hours=3.0,
        ),
        Layout("freqtrade", {**_BARS, "ts": ("date",)}),
        Layout("generic", _BARS),
    ),
    "mark": (
        Layout("binance_klines", {"ts": ("opentime",), **_PRICES}, frozenset({"opentime", "closetime"}), (_KLINES,)),
        Layout("freqtrade", {"ts": ("date",), **_PRICES}),
        Layout("generic", {"ts": _TIME, **_PRICES}),
    ),
    "funding": (
        Layout("binance_funding", _FUNDING, known_by=frozenset({"calctime", "lastfundingrate"})),
        # freqtrade keeps rates in a candle: the rate is its open, the other prices are 0.
        Layout("freqtrade", {"ts": ("date",), "rate": ("open",)}, frozenset({"date", "open", "close", "volume"})),
        Layout("generic", _FUNDING),
    ),
    "trades": (
        Layout("bybit_trades", _TRADES, known_by=frozenset({"trdmatchid", "tickdirection"}), time_unit="s"),
        Layout(
            "bybit_spot_trades", _TRADES, known_by=frozenset({"id", "timestamp", "price", "volume", "side"}),
            time_unit="ms",
        ),
        Layout(
            "binance_agg_trades", _TRADES, known_by=frozenset({"aggtradeid", "isbuyermaker"}), looks=_MAKER,
            headerless=tuple(
                ("agg_trade_id", "price", "quantity", "first_trade_id", "last_trade_id", "transact_time",
                 "is_buyer_maker", *more) for more in ((), ("is_best_match",))
            ),
        ),
        Layout(
            "binance_trades", _TRADES, known_by=frozenset({"id", "isbuyermaker"}), looks=_MAKER,
            headerless=tuple(
                ("id", "price", "qty", "quote_qty", "time", "is_buyer_maker", *more)
                for more in ((), ("is_best_match",))
            ),
        ),
        Layout("generic", _TRADES),
    ),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Meaning:
    """Where each of our columns lies in one file.

    Parameters
    ----------
    layout : Layout
        Whose file it is.
    columns : dict of str to str
        Our column to the file's.
    is_maker_flag : bool
        The side is told as whether the buyer was the maker.
    """

    layout: Layout
    columns: dict[str, str]
    is_maker_flag: bool


def plain(name: str) -> str:
    """Return a column name reduced to lower-case letters and digits."""
    return re.sub(r"[^a-z0-9]", "", name.lower())


def meaning(
    kind: str,
    names: Sequence[str],
    first: Sequence[str],
    has_header: bool,
    *,
    layout: str = "auto",
    stated: Mapping[str, str] | None = None,
    subject: str = "file",
) -> Meaning:
    """Return what the columns of a file mean.

    Parameters
    ----------
    kind : str
        A key of :data:`LAYOUTS`.
    names : sequence of str
        The file's columns.
    first : sequence of str
        Fields of its first line, looked at where it has no header.
    has_header : bool
        Whether the first line holds names.
    layout : str
        ``auto``, or the name of one of the kind's layouts.
    stated : mapping of str to str, optional
        Our column to the file's, where the names do not say it or say it twice.
    subject : str
        What errors name.

    Raises
    ------
    SchemaMismatch
        If a column that the kind requires is not found, or two could be it; the error lists what was found.
    """
    choices = LAYOUTS[kind]
    if layout != "auto" and layout not in {c.name for c in choices}:
        raise InvalidInput("layout", f"must be auto or one of {', '.join(c.name for c in choices)} for {kind}", layout)
    stated = dict(stated or {})
    for ours, theirs in stated.items():
        if ours not in SCHEMAS[kind]:
            raise InvalidInput(f"columns[{ours!r}]", f"must be a column of {kind} ({', '.join(SCHEMAS[kind])})")
        if theirs not in names:
            raise SchemaMismatch(f"{subject}: column {theirs!r}", "is not in the file; it has", list(names))
    if not has_header:
        chosen, given = _headerless(choices, first, layout, kind, subject)
        renamed = dict(zip(given, names, strict=True))
    else:
        known = {plain(n) for n in names}
        fitting = [c for c in choices if c.name == layout or (layout == "auto" and c.known_by and c.known_by <= known)]
        chosen = fitting[0] if fitting else choices[-1]
        renamed = {n: n for n in names}
    columns: dict[str, str] = {}
    for ours in SCHEMAS[kind]:
        candidates = [theirs for name, theirs in renamed.items() if plain(name) in chosen.aliases.get(ours, ())]
        if ours in stated:
            columns[ours] = stated[ours]
        elif len(candidates) > 1:
            raise SchemaMismatch(f"{subject}: {ours}", "could be any of several columns; state columns=", candidates)
        elif candidates:
            columns[ours] = candidates[0]
        elif ours not in OPTIONAL.get(kind, set()) and not (kind == "funding" and ours == "interval_hours"):
            raise SchemaMismatch(f"{subject}: {ours}", f"is not among the columns ({chosen.name} layout)", list(names))
    side = next((name for name, theirs in renamed.items() if theirs == columns.get("side")), "")
    return Meaning(chosen, columns, plain(side) == "isbuyermaker")


def _headerless(
    choices: Sequence[Layout], first: Sequence[str], layout: str, kind: str, subject: str
) -> tuple[Layout, tuple[str, ...]]:
    for choice in choices:
        if layout not in ("auto", choice.name):
            continue
        for given in choice.headerless:
            if len(given) == len(first) and all(
                re.fullmatch(choice.looks[name], value)
                for name, value in zip(given, first, strict=True)
                if name in choice.looks
            ):
                return choice, given
    rule = (
        f"has no header, and its {len(first)} fields are no {'known' if layout == 'auto' else layout} layout of {kind}"
    )
    raise SchemaMismatch(subject, rule, list(first))
