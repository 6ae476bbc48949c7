"""A backtest of one instrument, or of several on one account, in one call; it decides nothing beyond what is given."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl

from research.backtest.legs import Column, Leg, clock_of, columns_of, fine_columns
from research.backtest.result import Result
from research.errors import InvalidInput, MisalignedBars
from research.execution.commands import commands_of
from research.execution.costs import Costs
from research.execution.margin import Margin
from research.execution.portfolio import COLUMNS, Portfolio
from research.execution.rules import Limits
from research.kernel import FloatArray, IntArray
from research.market.bars import NS_PER_MS, epoch_ns
from research.market.instruments import Instrument
from research.risk.exits import Exits


def simulate(
    bars: pl.DataFrame,
    targets: Column | None = None,
    *,
    instrument: Instrument,
    costs: Costs = Costs(),  # noqa: B008 - frozen
    margin: Margin = Margin(),  # noqa: B008 - frozen
    exits: Exits | None = None,
    orders: pl.DataFrame | None = None,
    funding: pl.DataFrame | None = None,
    mark: pl.DataFrame | None = None,
    unit: Column | None = None,
    trail_low: Column | None = None,
    trail_high: Column | None = None,
    fine: pl.DataFrame | None = None,
    initial_cash_quote: float = 10_000.0,
    latency_bars: int = 0,
    latency_ms: float = 0.0,
    max_leverage: float = 1.0,
    intrabar: str = "worse",
    gaps: str = "refuse",
) -> Result:
    """Trade target exposures and orders on bars and return everything that happened.

    Parameters
    ----------
    bars : polars.DataFrame
        ``ts`` on a complete clock (see :func:`research.market.bars.on_clock`) and open, high, low, close; ``volume``
        (base units) where costs read it. A row with NaN is a gap: nothing fills, equity keeps the last close.
    targets : (n,) array_like, polars.Series, or polars.DataFrame with ``ts`` and one more column, optional
        Exposure decided on each bar's close, as a signed fraction of equity. NaN is no new decision. It acts at
        the next valid bar's open, plus the latency.
    instrument : Instrument
        Ticks, lots, minima, fees, leverage and margin tiers, by date.
    costs : Costs
        Spread, slippage, volume cap, and fees where they are not the instrument's own.
    margin : Margin
        Cross or isolated, leverage, borrowing.
    exits : Exits, optional
        Stop, take-profits, trailing, break-even, time and volatility stop of every position.
    orders : polars.DataFrame, optional
        Explicit orders, as of :func:`research.execution.commands.commands_of`.
    funding : polars.DataFrame, optional
        Rows as of :func:`research.execution.funding.funding_per_bar`. Without it no funding is charged, and the
        result's ``funding_settlements`` is 0.
    mark, unit, trail_low, trail_high, fine : optional
        As :class:`Leg` has them.
    initial_cash_quote : float
        Positive.
    latency_bars : int
        Bars an order is under way beyond the next open.
    latency_ms : float
        The same in milliseconds, rounded up to whole bars and added: an order that would arrive within a bar meets the
        open after it.
    max_leverage : float
        Bound of the targets.
    intrabar : str
        ``worse`` keeps, of a bar's two possible orders of events, the one that leaves less equity; ``better`` the
        other.
    gaps : str
        ``refuse`` raises where a bar is a gap while a position is open, since its equity is then not known; ``hold``
        keeps the last close.

    Returns
    -------
    Result
        Ruin, liquidation, rejected orders and no trade at all are values in it.

    Raises
    ------
    MisalignedBars
        If times are not on one clock, or targets, mark, orders or finer bars are on another.
    SchemaMismatch
        If a frame has unknown, missing or unusable columns.
    InvalidInput
        If targets are not as many as bars, infinite, or beyond ``max_leverage``; a price is not positive or a gap meets
        an open position; a setting lies outside its range or beyond the instrument's tiers; or a spot market is given
        funding or short targets that it cannot borrow for.
    FundingHole
        If funding rows do not cover the bars.

    Notes
    -----
    Memory is about 80 bytes per bar beside the frame given; :class:`research.execution.Account` takes blocks.
    """
    leg = Leg(bars, instrument, targets, funding, mark, unit, trail_low, trail_high, fine)
    return simulate_portfolio(
        {instrument.symbol: leg}, costs=costs, margin=margin, exits=exits, orders=orders,
        initial_cash_quote=initial_cash_quote, latency_bars=latency_bars, latency_ms=latency_ms,
        max_leverage=max_leverage, intrabar=intrabar, gaps=gaps,
    )  # fmt: skip


def simulate_portfolio(
    legs: Mapping[str, Leg],
    *,
    costs: Costs = Costs(),  # noqa: B008 - frozen
    margin: Margin = Margin(),  # noqa: B008 - frozen
    exits: Exits | None = None,
    limits: Limits = Limits(),  # noqa: B008 - frozen
    pairs: Sequence[tuple[str, str]] = (),
    orders: pl.DataFrame | None = None,
    initial_cash_quote: float = 10_000.0,
    latency_bars: int = 0,
    latency_ms: float = 0.0,
    max_leverage: float = 1.0,
    intrabar: str = "worse",
    gaps: str = "refuse",
) -> Result:
    """Trade several instruments on one account and return everything that happened.

    Parameters
    ----------
    legs : mapping of str to Leg
        By name, on one clock. Names are used by ``pairs`` and ``orders``; the result has its own
        (:attr:`Result.legs`).
    limits : Limits
        Bounds of gross, net and single exposure.
    pairs : sequence of (str, str)
        Spot and linear leg that are traded as one position: the target of the first moves both.
    costs, margin, exits, orders, initial_cash_quote, latency_bars, latency_ms, max_leverage, intrabar, gaps
        As :func:`simulate` takes them; a leg's own costs and exits come first.

    Returns
    -------
    Result

    Raises
    ------
    MisalignedBars, SchemaMismatch, InvalidInput, FundingHole
        As :func:`simulate`, and if a name is unknown or the legs are not on one clock.
    """
    if not legs:
        raise InvalidInput("legs", "must not be empty", 0)
    if gaps not in ("refuse", "hold"):
        raise InvalidInput("gaps", "must be refuse or hold", gaps)
    names, parts = list(legs), list(legs.values())
    ts, step_ns = clock_of(parts[0].bars)
    for name, leg in zip(names[1:], parts[1:], strict=True):
        if not np.array_equal(epoch_ns(leg.bars), ts):
            rule = f"must have the clock of {names[0]} ({ts.size} bars)"
            raise MisalignedBars(f"{name}.bars.ts", rule, leg.bars.height)
    instruments = tuple(leg.instrument for leg in parts)
    each_costs = tuple(leg.costs or costs for leg in parts)
    each_exits = tuple(leg.exits or exits for leg in parts)
    portfolio = Portfolio(
        instruments, each_costs, initial_cash_quote,
        latency_in_bars(latency_bars, latency_ms, step_ns), max_leverage, step_ns,
        margin=margin, exits=each_exits, limits=limits,
        pairs=[(_index(names, a), _index(names, b)) for a, b in pairs], intrabar=intrabar,
    )  # fmt: skip
    _require_units(names, parts, each_costs, each_exits)
    known, settlements, on_mark = [], 0, 0
    for leg in parts:
        columns, settled, marked = columns_of(leg, ts, step_ns, max_leverage)
        known.append(columns)
        settlements, on_mark = settlements + settled, on_mark + marked
    stacked = _stacked(known, ts.size)
    commands = None if orders is None else commands_of(orders, ts, instruments, names)
    ledger = portfolio.push(ts, stacked, commands=commands, fine=_fine(parts, ts, step_ns))
    high, low, close = (_without_gaps(stacked, name) for name in ("high", "low", "close"))
    result = Result(
        instruments=instruments,
        costs=each_costs if len(set(each_costs)) > 1 else each_costs[0],
        margin=margin,
        exits=each_exits if len(set(each_exits)) > 1 else each_exits[0],
        initial_cash_quote=float(initial_cash_quote),
        step_ns=step_ns,
        funding_settlements=settlements,
        funding_on_mark=on_mark,
        ts=ts,
        high=high,
        low=low,
        close=close,
        ledger=ledger,
        pending=portfolio.pending(),
        is_ruined=portfolio.is_ruined,
        intrabar=intrabar,
    )
    if gaps == "refuse":
        _refuse_gaps(result, close, names)
    return result


def latency_in_bars(latency_bars: int, latency_ms: float, step_ns: int) -> int:
    """Return a latency in whole bars, milliseconds rounded up.

    Examples
    --------
    >>> latency_in_bars(1, 250.0, 60 * 10**9), latency_in_bars(0, 60_000.0, 60 * 10**9), latency_in_bars(0, 0.0, 1)
    (2, 1, 0)
    """
    is_number = isinstance(latency_ms, (int, float)) and not isinstance(latency_ms, bool)
    if not (is_number and 0.0 <= latency_ms < math.inf):
        raise InvalidInput("latency_ms", "must be a finite number of at least 0", latency_ms)
    return latency_bars + math.ceil(latency_ms * NS_PER_MS / step_ns)


def _require_units(
    names: Sequence[str], parts: Sequence[Leg], costs: Sequence[Costs], exits: Sequence[Exits | None]
) -> None:
    """Refuse exits and costs that read a column which is not given."""
    for name, leg, cost, rules in zip(names, parts, costs, exits, strict=True):
        if leg.unit is None and (cost.reads_unit or (rules is not None and rules.reads_unit)):
            raise InvalidInput(f"{name}.unit", "is required by costs or exits that are counted in units")
        if cost.reads_volume and "volume" not in leg.bars.columns:
            raise InvalidInput(f"{name}.bars.volume", "is required by costs that depend on the volume")
        if rules is not None and rules.trail == "level" and leg.trail_low is None and leg.trail_high is None:
            raise InvalidInput(f"{name}.trail_low", "or trail_high is required by exits.trail level")


def _stacked(known: Sequence[Mapping[str, FloatArray]], n: int) -> dict[str, FloatArray]:
    """Return the legs' columns as (S, n) arrays; with one leg they are not copied."""
    found: dict[str, FloatArray] = {}
    for name in COLUMNS:
        if any(name in columns for columns in known):
            if len(known) == 1:
                found[name] = known[0][name].reshape(1, -1)
            else:
                absent = 0.0 if name == "funding_rate" else math.nan
                found[name] = np.stack([columns.get(name, np.full(n, absent)) for columns in known])
    return found


def _fine(parts: Sequence[Leg], ts: IntArray, step_ns: int) -> Any:
    """Return the legs' finer bars as (4, S, n * m), None where no leg has any."""
    given = [leg.fine is not None for leg in parts]
    if not any(given):
        return None
    found = [None if leg.fine is None else fine_columns(leg.fine, ts, step_ns) for leg in parts]
    sizes = {part.shape[1] for part in found if part is not None}
    if len(sizes) > 1:
        raise MisalignedBars("fine.ts", "must be on one clock for all legs", sorted(sizes))
    absent = np.full((4, sizes.pop()), np.nan)
    return np.stack([absent if part is None else part for part in found], axis=1)


def _without_gaps(stacked: Mapping[str, FloatArray], name: str) -> FloatArray:
    """Return a column with NaN wherever a bar is a gap; (n,) for one leg. Without gaps it is not copied."""
    found = stacked[name]
    for price in ("open", "high", "low", "close"):
        gaps = np.isnan(stacked[price])
        if gaps.any():
            found = np.where(gaps, np.nan, found)
    return found[0] if found.shape[0] == 1 else found


def _refuse_gaps(result: Result, close: FloatArray, names: Sequence[str]) -> None:
    """Refuse a gap while a position is open."""
    closes = np.atleast_2d(close)
    held = result.ledger.held if len(names) > 1 else result.ledger.rows["position_lots"].reshape(1, -1)
    for name, prices, lots in zip(names, closes, held, strict=True):
        bad = np.flatnonzero(np.isnan(prices) & (lots != 0))
        if bad.size:
            rule = "must have prices while a position is open (gaps='hold' keeps the last close)"
            when = str(np.datetime64(int(result.ts[bad[0]]), "ns").astype("datetime64[s]"))
            raise InvalidInput(f"{name}.bars[{bad[0]}]", rule, f"NaN at {when}")


def _index(names: Sequence[str], name: str) -> int:
    if name not in names:
        raise InvalidInput("pairs", f"must name legs ({', '.join(names)})", name)
    return names.index(name)
