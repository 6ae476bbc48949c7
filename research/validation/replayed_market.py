"""What the order-level replay reads of a run, made once, and the columns that tell an account a path's drawn fates."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from research.errors import InvalidInput
from research.execution.costs import Costs
from research.execution.portfolio import Portfolio
from research.kernel import FloatArray, IntArray
from research.market.instruments import Instrument
from research.metrics.returns import day_ends
from research.validation.replayed_records import DECIDED, MISSED, Market

_PRICES = ("open", "high", "low", "close")
_NONE = np.empty(0)


def market_of(columns: Mapping[str, FloatArray], ts: IntArray, portfolio: Portfolio) -> Market:
    """Return decisions, prices and terms as the kernel reads them.

    Parameters
    ----------
    columns : mapping of str to (n,) array
        From :func:`research.backtest.legs.columns_of`, ``target`` among them.
    ts : (n,) array of int64
        Bar open times, ns UTC.
    portfolio : Portfolio
        An account of the one leg: its rules by date.

    Raises
    ------
    InvalidInput
        If a bar is a gap, or the lot changes within the bars.
    """
    gaps = np.flatnonzero(np.isnan(sum(columns[name] for name in _PRICES)))
    if gaps.size:
        raise InvalidInput(f"bars[{gaps[0]}]", "must have prices: gaps are replayed by accounts alone", math.nan)
    stretches = portfolio.stretches(ts)
    steps = {float(rules["qty_step"][0]) for _, _, rules, _ in stretches}
    if len(steps) > 1:
        raise InvalidInput("instrument.terms", "must keep one qty_step within the bars", sorted(steps))
    instrument, costs = portfolio.instruments[0], portfolio.costs[0]
    decision_bar, decision_target = decisions_of(columns["target"])
    mark, low, high = _marks(columns)
    _, last = day_ends(ts)
    first = np.concatenate(([0], last[:-1] + 1))
    is_spot = instrument.market == "spot"
    rate = columns.get("funding_rate", _NONE)
    funding_bar = np.flatnonzero(rate)
    sizes = np.array([tiers.shape[0] for _, _, _, tiers in stretches])
    return Market(
        decision_bar=decision_bar,
        decision_target=decision_target,
        open=np.array(columns["open"]),
        close=np.array(columns["close"]),
        mark=mark,
        low=_NONE if is_spot else low,
        high=_NONE if is_spot else high,
        volume=np.array(columns["volume"]) if costs.reads_volume else _NONE,
        unit=_known_before(columns["unit"]) if costs.reads_unit else _NONE,
        funding_bar=funding_bar,
        funding_price=mark[funding_bar],
        funding_rate=np.array(rate)[funding_bar],
        day_end=last,
        day_low=_NONE if is_spot else np.minimum.reduceat(np.minimum(low, columns["close"]), first),
        day_high=_NONE if is_spot else np.maximum.reduceat(np.maximum(high, columns["close"]), first),
        rules=np.concatenate([rules for _, _, rules, _ in stretches]),
        rules_from=np.array([begin for begin, _, _, _ in stretches]),
        tiers=np.concatenate([tiers for _, _, _, tiers in stretches]),
        tiers_from=np.cumsum(sizes) - sizes,
    )


def decisions_of(target: FloatArray) -> tuple[IntArray, FloatArray]:
    """Return the bars in which the target is another one than before, and those targets; before the first it is 0.

    Examples
    --------
    >>> bar, target = decisions_of(np.array([0.0, 0.5, np.nan, 0.5, 0.0]))
    >>> bar.tolist(), target.tolist()
    ([1, 4], [0.5, 0.0])
    """
    given = np.flatnonzero(~np.isnan(target))
    values = target[given]
    changes = values != np.concatenate(([0.0], values[:-1]))
    return given[changes], values[changes]


def require_lots(target: FloatArray, instrument: Instrument) -> None:
    """Refuse targets that are no whole lots, or short on a spot market."""
    given = np.flatnonzero(~np.isnan(target))
    values = target[given]
    bad = np.flatnonzero(~((np.abs(values) < 2.0**53) & (values == np.rint(values))))
    if bad.size:
        subject = f"targets[{given[bad[0]]}]"
        raise InvalidInput(subject, "must be whole lots, NaN for no decision", float(values[bad[0]]))
    short = np.flatnonzero(values < 0.0)
    if short.size and instrument.market == "spot":
        subject = f"targets[{given[short[0]]}]"
        raise InvalidInput(subject, "must not be short on a spot market", float(values[short[0]]))


def twin_of(log: NDArray[Any], given: Mapping[str, Any], bars: pl.DataFrame, carries: bool) -> dict[str, Any]:
    """Return the keywords of a backtest that does what a path did, of which the account decides all but the draws.

    Sizes, ticks, fees, funding and margin are the account's. An order waits where no volume is left for it, is cut by
    what there is of it, and pays its distance from the open as one unit of slippage.

    Parameters
    ----------
    log : array of EVENTS
        A whole path's.
    given : mapping
        The run's keywords.
    bars : polars.DataFrame
        The run's.
    carries : bool
        Whether rests are filled at the next open.
    """
    n = bars.height
    targets, volume, unit = (np.full(n, math.nan) for _ in range(3))
    instrument: Instrument = given["instrument"]
    step = instrument.terms[-1].qty_step
    sent = log[log["outcome"] == DECIDED]
    for row, until in zip(sent, np.append(sent["bar"][1:], n - 1)[: sent.size], strict=True):
        targets[row["bar"]] = row["target"]
        met = log[(log["decided_bar"] == row["bar"]) & (log["bar"] > row["bar"])]
        volume[row["bar"] + 1 : met["bar"][0] if met.size else until + 1] = 0.0
        for fate in met:
            at = fate["bar"]
            unit[at - 1] = fate["distance"]
            if fate["offered"] != fate["wanted"]:
                volume[at] = abs(fate["offered"]) * step
                if not carries or fate["outcome"] == MISSED:
                    volume[at + 1 : until + 1] = 0.0
    costs: Costs = given["costs"]
    told = replace(
        costs, half_spread_bps=0.0, slippage_bps=0.0, slippage_unit_frac=1.0, participation_frac=0.0,
        impact_unit_frac=0.0, volume_cap_frac=1.0, carry=True,
    )  # fmt: skip
    prices = bars.select("ts", *_PRICES).with_columns(pl.Series("volume", volume))
    return {
        **given, "bars": prices, "targets": targets, "unit": unit, "costs": told, "latency_bars": 0, "latency_ms": 0.0,
    }  # fmt: skip


def _known_before(unit: FloatArray) -> FloatArray:
    """Return the last unit known before each bar's open."""
    at = np.maximum.accumulate(np.where(np.isnan(unit), -1, np.arange(unit.size)))
    known = np.where(at >= 0, unit[np.maximum(at, 0)], math.nan)
    return np.concatenate(([math.nan], known[:-1]))


def _marks(columns: Mapping[str, FloatArray]) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Return the mark at each open, and each bar's lowest and highest mark, as the account reads them."""
    opened, absent = columns["open"], np.full(columns["open"].size, math.nan)
    recorded = columns.get("mark", absent)
    mark = np.where(np.isnan(recorded), opened, recorded)
    way = [columns.get(f"mark_{name}", absent) for name in ("high", "low", "close")]
    is_unknown = np.isnan(way[0] + way[1] + way[2])
    basis = mark - opened
    high, low, close = (
        np.where(is_unknown, columns[name] + basis, values)
        for name, values in zip(("high", "low", "close"), way, strict=True)
    )
    return mark, np.minimum.reduce([mark, low, close]), np.maximum.reduce([mark, high, close])
