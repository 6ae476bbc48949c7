"""Named stresses of a market, composable, and a strategy's results under each. It decides and simulates nothing itself.

A stress takes a :class:`research.validation.stress_market.Market` and returns another one; a strategy then decides anew
on what it is given. Every stress is the same for the same seed, and one whose strength is nothing returns the market.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any

import numpy as np
import polars as pl

from research.backtest.result import Result
from research.errors import InvalidInput
from research.execution.costs import BPS_PER_UNIT, Costs
from research.kernel import IntArray, Param
from research.market.instruments import Instrument
from research.validation import stress_market as paths
from research.validation.stress_market import PRICES, History, Market, prices_of

Trade = Callable[[Market], Result]
Scenarios = Mapping[str, Mapping[str, Mapping[str, Any]]]
FLOWS = ("volume", "turnover", "trade_count", "taker_buy_volume")


@dataclass(frozen=True, slots=True)
class OneOf:
    """A parameter that is one of some words.

    Parameters
    ----------
    name, default : str
    options : tuple of str
    """

    name: str
    default: str
    options: tuple[str, ...]

    def check(self, owner: str, given: object) -> str:
        """Return ``given``, or raise :class:`InvalidInput`."""
        if not isinstance(given, str) or given not in self.options:
            raise InvalidInput(f"{owner}.{self.name}", f"must be one of {', '.join(self.options)}", given)
        return given


@dataclass(frozen=True, slots=True)
class StressSpec:
    """A registered stress.

    Parameters
    ----------
    name : str
        Registry key.
    apply : callable
        ``apply(market, **params)`` returns the stressed market.
    params : tuple of Param or OneOf
        Defaults are the stress as it is usually asked for.
    nothing : mapping
        Values of parameters at which the market is returned as it is.
    description : str
        What it does, in one sentence.
    """

    name: str
    apply: Callable[..., Market]
    params: tuple[Param | OneOf, ...]
    nothing: Mapping[str, Any]
    description: str

    def resolve(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """Return all parameters, checked; those not given take their defaults."""
        known = {param.name for param in self.params}
        unknown = sorted(set(given) - known)
        if unknown:
            raise InvalidInput(f"{self.name}.{unknown[0]}", f"is not a parameter ({', '.join(sorted(known))})")
        return {param.name: param.check(self.name, given.get(param.name, param.default)) for param in self.params}

    def __call__(self, market: Market, given: Mapping[str, Any]) -> Market:
        """Return the stressed market."""
        params = self.resolve(given)
        if all(params[name] == value for name, value in self.nothing.items()):
            return market
        return self.apply(market, **params)


def stress(market: Market, stresses: Mapping[str, Mapping[str, Any]]) -> Market:
    """Return the market under several stresses, one after the other in the order given.

    Parameters
    ----------
    market : Market
        Not changed.
    stresses : mapping of str to mapping
        Parameters by name, a key of :data:`STRESSES`. Stresses of the path come before ``spread`` with a share below 1.

    Raises
    ------
    InvalidInput
        If a name or a parameter is unknown or out of range, or a stress would have no effect on this market (five times
        no slippage): it would be taken for one that was withstood.

    Examples
    --------
    >>> from research.market.instruments import sample_instrument
    >>> from research.market.simulated import simulate_market
    >>> from research.market.simulated_spec import MarketSpec
    >>> bars = simulate_market(MarketSpec(days=1, seed=7)).bars["linear", "SOLUSDT"]
    >>> calm = Market({"SOLUSDT": History(bars, sample_instrument("SOLUSDT"))}, Costs(slippage_bps=1.0))
    >>> found = stress(calm, {"drops": {"drops": 1}, "slippage": {"factor": 5}})
    >>> found.costs.slippage_bps, bool(found.reference.bars["close"].min() < 0.85 * bars["close"].min())
    (5.0, True)
    """
    for name, params in stresses.items():
        _spec(name).resolve(params)
    for name, params in stresses.items():
        market = _spec(name)(market, params)
    return market


def run_stresses(
    market: Market, scenarios: Mapping[str, Mapping[str, Mapping[str, Any]]], trade: Trade
) -> pl.DataFrame:
    """Trade a market as it is and under each scenario.

    Parameters
    ----------
    market : Market
    scenarios : mapping of str to mapping
        Stresses by the scenario's name, as :func:`stress` takes them; :data:`SCENARIOS` has the usual ones.
    trade : callable
        ``trade(market)`` decides on the market's bars, features computed on them, and returns the backtest with the
        market's costs, latency, instruments, mark, funding and ``unit``; ``gaps="hold"`` where data may be missing.

    Returns
    -------
    DataFrame
        One row per scenario, ``none`` (the market as it is) first: ``scenario``, ``stresses`` (JSON),
        ``net_return`` (fraction of the initial cash, after all costs), ``sharpe`` (annualised), ``max_drawdown``
        (fraction, at most 0), ``profit_factor``, ``trades``, ``costs`` (fees, slippage and interest paid) and
        ``funding`` (received) in quote currency, ``liquidations``, ``is_ruined``, and the changes of return, ratio and
        drawdown against ``none``. NaN is a figure that does not exist. Ruin is a value.

    Raises
    ------
    InvalidInput
        As :func:`stress`, and if a scenario is called ``none``. What ``trade`` raises is raised with the scenario's
        name.
    """
    if "none" in scenarios:
        raise InvalidInput("scenarios.none", "is the name of the market as it is")
    plain = trade(market)
    known = market.with_held(plain)
    first = figures(plain)
    rows = [{"scenario": "none", "stresses": "{}"} | first]
    for name, stresses in scenarios.items():
        try:
            found = figures(trade(stress(known, stresses)))
        except Exception as error:
            error.add_note(f"under scenario {name}")
            raise
        rows.append({"scenario": name, "stresses": json.dumps(stresses)} | found)
    table = pl.DataFrame(rows)
    compared = ("net_return", "sharpe", "max_drawdown")
    return table.with_columns([(pl.col(name) - first[name]).alias(f"{name}_change") for name in compared])


def figures(result: Result) -> dict[str, float]:
    """Return the figures of a backtest that stresses are compared by."""
    found = result.metrics()
    kept = ("sharpe", "max_drawdown", "profit_factor", "trades")
    return {
        "net_return": found["total_return"],
        **{name: found[name] for name in kept},
        "costs": found["fees"] + found["slippage"] + found["interest"],
        **{name: found[name] for name in ("funding", "liquidations", "is_ruined")},
    }


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
    return replace(market, costs=told).with_histories(
        {name: replace(part, instrument=charging(part.instrument)) for name, part in market.symbols.items()}
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
    rows = paths.common_rows(market)[1:]
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


# ----------------------------------------------------------------- registry
def _spec(name: str) -> StressSpec:
    if name not in STRESSES:
        raise InvalidInput("stress", f"must be one of {', '.join(STRESSES)}", name)
    return STRESSES[name]


def _wide_drops(
    market: Market, drops: int, depth: float, bars: int, recovery: float, recovery_bars: int, gap: str, seed: int
) -> Market:
    return paths.dropped(market, drops, depth, bars, recovery, recovery_bars, int(gap == "yes"), seed)


def _losing(market: Market, factor: int, side: str, unit_bars: int) -> Market:
    return paths.longer_runs(market, factor, side == "long", unit_bars)


_SEED = Param("seed", 0, 0, 2**31 - 1)
_SPECS = (
    StressSpec(
        "atr", paths.wider, (Param("factor", 3.0, 0.0, 20.0),), {"factor": 1.0},
        "log moves and ranges multiplied, first and last price kept",
    ),
    StressSpec(
        "correlations", paths.reversed_correlations, (Param("strength", 1.0, 0.0, 1.0),), {"strength": 0.0},
        "every other symbol's correlation to the first turned round, its variance kept",
    ),
    StressSpec(
        "drops", _wide_drops,
        (
            Param("drops", 3, 0, 10_000), Param("depth", 0.2, 0.0, 0.95), Param("bars", 1, 1, 1_000_000),
            Param("recovery", 0.0, 0.0, 1.0), Param("recovery_bars", 60, 1, 1_000_000),
            OneOf("gap", "no", ("no", "yes")), Param("seed", -1, -1, 2**31 - 1),
        ),
        {"drops": 0}, "sudden falls of all symbols, evenly spaced or (seed of at least 0) at random",
    ),
    StressSpec(
        "losing_runs", _losing,
        (
            Param("factor", 3, 1, 1_000), OneOf("side", "long", ("long", "short")),
            Param("unit_bars", 0, 0, 1_000_000),
        ),
        {"factor": 1}, "days rearranged until the longest losing run is some times as long",
    ),
    StressSpec(
        "slippage", dearer_slippage, (Param("factor", 5.0, 0.0, 1_000.0), Param("add_bps", 0.0, 0.0, 1_000.0)),
        {"factor": 1.0, "add_bps": 0.0}, "every part of the slippage multiplied",
    ),
    StressSpec("fees", dearer_fees, (Param("factor", 2.0, 1.0, 100.0),), {"factor": 1.0}, "all fees multiplied"),
    StressSpec(
        "spread", blown_spread,
        (
            Param("factor", 5.0, 1.0, 1_000.0), Param("add_bps", 0.0, 0.0, 1_000.0),
            Param("share", 1.0, 1e-4, 1.0),
        ),
        {"factor": 1.0, "add_bps": 0.0}, "half spread multiplied, always or in the bars of widest range",
    ),
    StressSpec(
        "latency", later, (Param("factor", 10.0, 1.0, 10_000.0), Param("add_bars", 0, 0, 100_000)),
        {"factor": 1.0, "add_bars": 0}, "orders under way for longer",
    ),
    StressSpec(
        "funding_spikes", spiked_funding,
        (
            Param("factor", 10.0, 0.0, 1_000.0), Param("add", 0.0, 0.0, 0.1), Param("share", 0.1, 0.0, 1.0),
            OneOf("against", "position", ("long", "short", "sign", "position")), _SEED,
        ),
        {"share": 0.0}, "some settlements at many times their rate",
    ),
    StressSpec(
        "gaps", missing, (Param("share", 0.01, 0.0, 0.9), Param("length", 30, 1, 1_000_000), _SEED), {"share": 0.0},
        "outages: bars and marks missing",
    ),
    StressSpec(
        "liquidity", thinner,
        (
            Param("factor", 0.1, 0.0, 1.0), Param("still_share", 0.0, 0.0, 0.95),
            Param("cap_frac", 0.05, 1e-6, 1.0), _SEED,
        ),
        {"factor": 1.0, "still_share": 0.0}, "volume withdrawn, and bars without trades",
    ),
)  # fmt: skip
STRESSES: Mapping[str, StressSpec] = MappingProxyType({spec.name: spec for spec in _SPECS})
# The usual scenarios of one symbol whose costs have a spread, a slippage and a latency of at least a bar.
SCENARIOS: Scenarios = MappingProxyType(
    {
        "atr x3": {"atr": {"factor": 3.0}},
        "slippage x5": {"slippage": {"factor": 5.0}},
        "spread x5": {"spread": {"factor": 5.0}},
        "spread x20 when volatile": {"spread": {"factor": 20.0, "share": 0.05}},
        "fees x2": {"fees": {"factor": 2.0}},
        "latency x10": {"latency": {"factor": 10.0}},
        "three drops of 20 %": {"drops": {"drops": 3, "depth": 0.2}},
        "losing runs x3": {"losing_runs": {"factor": 3}},
        "losing runs x3, shorts": {"losing_runs": {"factor": 3, "side": "short"}},
        "funding spikes": {"funding_spikes": {"factor": 10.0, "add": 0.001}},
        "data gaps": {"gaps": {"share": 0.01, "length": 30}},
        "liquidity withdrawn": {"liquidity": {"factor": 0.1, "still_share": 0.05}},
    }
)
