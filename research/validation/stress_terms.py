"""Stresses of what trading costs and of what a market offers: costs, delay, funding, outages, volume. No price moves.

:mod:`research.validation.stress` has them by name.
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import polars as pl

from research.errors import InvalidInput
from research.execution.costs import BPS_PER_UNIT, Costs
from research.kernel import IntArray
from research.market.instruments import Instrument
from research.validation.stress_market import PRICES, History, Market, common_rows, prices_of

FLOWS = ("volume", "turnover", "trade_count", "taker_buy_volume")


# ----------------------------------------------------------------- costs and delay
def dearer_slippage(market: Market, factor: float, add_bps: float) -> Market:
    """Return the market with every part of the slippage multiplied, and a fixed part added."""
    costs = market.costs
    parts = {name: getattr(costs, name) * factor for name in ("slippage_unit_frac", "participation_frac")}
    parts |= {"impact_unit_frac": costs.impact_unit_frac * factor}
    return _dearer(market, replace(costs, slippage_bps=costs.slippage_bps * factor + add_bps, **parts), "slippage")


def dearer_fees(market: Market, factor: float) -> Market:
    """Return the market with all fees multiplied: the costs' own, their schedule's and the instruments' dated ones.

    A rebate shrinks by the same factor.
    """

    def worse(fee: float) -> float:
        return fee * factor if fee > 0.0 else fee / factor

    def charging(instrument: Instrument) -> Instrument:
        terms = [
            replace(part, taker_fee_bps=worse(part.taker_fee_bps), maker_fee_bps=worse(part.maker_fee_bps))
            for part in instrument.terms
        ]
        return replace(instrument, terms=tuple(terms))

    costs = market.costs
    told = replace(
        costs,
        taker_fee_bps=None if costs.taker_fee_bps is None else worse(costs.taker_fee_bps),
        maker_fee_bps=None if costs.maker_fee_bps is None else worse(costs.maker_fee_bps),
        fee_schedule=tuple((start, worse(taker), worse(maker)) for start, taker, maker in costs.fee_schedule),
    )
    charged = {name: charging(part.instrument) for name, part in market.symbols.items()}
    if told == costs and all(charged[name] == part.instrument for name, part in market.symbols.items()):
        raise InvalidInput("fees.factor", "has no effect: there are no fees to multiply", factor)
    return replace(market, costs=told).with_histories(
        {name: replace(part, instrument=charged[name]) for name, part in market.symbols.items()}
    )


def blown_spread(market: Market, factor: float, add_bps: float, share: float) -> Market:
    """Return the market with a half spread of ``factor`` times what it was plus ``add_bps``.

    Below a ``share`` of 1, only orders in that share of bars with the widest range of log prices pay what is beyond the
    usual: it is then a price distance per bar in each history's ``unit``, which costs read.
    """
    costs = market.costs
    wide = costs.half_spread_bps * factor + add_bps
    if share >= 1.0:
        return _dearer(market, replace(costs, half_spread_bps=wide), "spread")
    if costs.reads_unit or any(history.unit is not None for history in market.symbols.values()):
        raise InvalidInput("spread.share", "must be 1 where the unit is in use by other costs", share)
    if wide == costs.half_spread_bps:
        raise InvalidInput("spread.factor", "has no effect: there is no spread to widen; give add_bps", factor)
    beyond = (wide - costs.half_spread_bps) / BPS_PER_UNIT

    def charged(history: History) -> History:
        opened, high, low, _ = prices_of(history)
        reach = np.log(high / low)
        is_wide = reach >= np.nanquantile(reach, 1.0 - share)
        distance = np.where(is_wide, beyond * opened, 0.0)
        # An account reads the unit that was known before a bar opened.
        return replace(history, unit=np.append(distance[1:], 0.0))

    told = replace(market, costs=replace(costs, slippage_unit_frac=1.0))
    return told.with_histories({name: charged(history) for name, history in market.symbols.items()})


def later(market: Market, factor: float, add_bars: int) -> Market:
    """Return the market with orders under way ``factor`` times as many bars, rounded up, plus ``add_bars``."""
    bars = math.ceil(market.latency_bars * factor) + add_bars
    if bars == market.latency_bars:
        raise InvalidInput("latency.factor", "has no effect: there is no latency to multiply; give add_bars", factor)
    return replace(market, latency_bars=bars)


def _dearer(market: Market, costs: Costs, subject: str) -> Market:
    if costs == market.costs:
        raise InvalidInput(f"{subject}.factor", "has no effect: there is none to multiply; give add_bps")
    return replace(market, costs=costs)


# ----------------------------------------------------------------- funding, gaps and volume
def spiked_funding(market: Market, factor: float, add: float, share: float, against: str, seed: int) -> Market:
    """Return the market in which a ``share`` of settlements takes ``factor`` times the rate plus ``add``, in size.

    Who pays: longs (``long``), shorts (``short``), whoever paid before (``sign``; at a rate of 0 longs), or whoever has
    a position in the unstressed run (``position``), where nobody has one whoever paid before.
    """
    if all(history.funding is None for history in market.symbols.values()):
        raise InvalidInput("funding_spikes", "has no effect: no symbol has funding rows")
    generator = np.random.default_rng(seed)

    def spiked(name: str, history: History) -> History:
        if history.funding is None:
            return history
        rates = history.funding["rate"].to_numpy()
        hit = np.sort(generator.permutation(rates.size)[: round(share * rates.size)])
        side = np.where(rates < 0.0, -1.0, 1.0)
        if against in ("long", "short"):
            side = np.full(rates.size, 1.0 if against == "long" else -1.0)
        elif against == "position":
            held = history.held_at_settlements(name)
            side = np.where(held == 0.0, side, np.sign(held))
        found = rates.copy()
        found[hit] = side[hit] * (factor * np.abs(rates[hit]) + add)
        return replace(history, funding=history.funding.with_columns(pl.Series("rate", found)))

    return market.with_histories({name: spiked(name, history) for name, history in market.symbols.items()})


def missing(market: Market, share: float, length: int, seed: int) -> Market:
    """Return the market with outages of ``length`` bars, the same for all symbols, that take a ``share`` of its bars.

    Bars and mark have NaN in them, funding stays. The first and last bar are kept, and at least one bar between two
    outages. A share so small that no outage fits into it takes one.
    """
    n = market.ts.size
    outages = max(1, round(share * n / length))
    edges = np.linspace(1, n - 1, outages + 1).astype(np.int64)
    room = int(np.diff(edges).min()) - length - 1
    if room < 0:
        raise InvalidInput("gaps.share", f"must leave a bar between {outages} outages of {length} in {n} bars", share)
    starts = edges[:-1] + np.random.default_rng(seed).integers(room + 1, size=outages)
    is_out = np.zeros(n, dtype=bool)
    is_out[(starts[:, None] + np.arange(length)).ravel()] = True
    hidden = pl.Series(is_out)
    times = market.reference.bars["ts"].filter(hidden)

    def without(history: History) -> History:
        mark = history.mark
        if mark is not None:
            mark = _blank(mark, mark["ts"].is_in(times.cast(mark.schema["ts"]).to_list()))
        return replace(history, bars=_blank(history.bars, hidden), mark=mark)

    return market.with_histories({name: without(history) for name, history in market.symbols.items()})


def _blank(frame: pl.DataFrame, mask: pl.Series) -> pl.DataFrame:
    """Return the frame with the masked rows' floats NaN and everything else in them null, times kept."""
    empty = {name: math.nan if dtype.is_float() else None for name, dtype in frame.schema.items() if name != "ts"}
    return frame.with_columns(
        [
            pl.when(mask).then(pl.lit(value)).otherwise(pl.col(name)).cast(frame.schema[name]).alias(name)
            for name, value in empty.items()
        ]
    )


def thinner(market: Market, factor: float, still_share: float, cap_frac: float, seed: int) -> Market:
    """Return the market with ``factor`` times the volume, and a ``still_share`` of bars in which nothing trades.

    A bar without trades stands at the close before it, with a volume of 0; the next one begins where it did. Volume
    counts for fills through a cap: where costs have none, an order takes at most ``cap_frac`` of a bar's volume.
    """
    costs = market.costs
    told = replace(costs, volume_cap_frac=cap_frac) if costs.volume_cap_frac is None else costs
    generator = np.random.default_rng(seed)
    rows = common_rows(market)[1:]
    still = np.sort(generator.permutation(rows)[: round(still_share * rows.size)])

    def thinned(name: str, history: History) -> History:
        if "volume" not in history.bars.columns:
            raise InvalidInput(f"{name}.bars.volume", "is required: there is no volume to withdraw")
        flows = [column for column in FLOWS if column in history.bars.columns]
        bars = history.bars.with_columns(
            [(pl.col(column) * factor).cast(history.bars.schema[column]) for column in flows]
        )
        return replace(history, bars=_stilled(bars, still, flows))

    return replace(
        market, costs=told, symbols={name: thinned(name, history) for name, history in market.symbols.items()}
    )


def _stilled(bars: pl.DataFrame, rows: IntArray, flows: list[str]) -> pl.DataFrame:
    is_still = np.zeros(bars.height, dtype=bool)
    is_still[rows] = True
    close = pl.when(pl.Series(is_still)).then(None).otherwise(pl.col("close").fill_nan(None)).forward_fill()
    return bars.with_columns(
        *[pl.when(pl.Series(is_still)).then(close).otherwise(pl.col(name)).alias(name) for name in PRICES],
        *[pl.when(pl.Series(is_still)).then(0).otherwise(pl.col(name)).cast(bars.schema[name]).alias(name)
          for name in flows],
    )  # fmt: skip
