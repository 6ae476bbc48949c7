"""A strategy under worse and worse assumptions about its costs, and the level at which its gain is gone.

It assumes nothing about what a market charges and changes no price.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType

import numpy as np
import polars as pl

from research.errors import InvalidInput
from research.validation.stress import Trade, figures
from research.validation.stress_market import History, Market

# Assumptions whose levels are whole numbers.
WHOLE = ("delay_bars",)
RUNGS: Mapping[str, tuple[float, ...]] = MappingProxyType(
    {
        "fee_bps": (0.0, 2.0, 5.5, 10.0, 20.0),
        "half_spread_bps": (0.0, 1.0, 2.0, 5.0, 10.0),
        "slippage_bps": (0.0, 1.0, 2.0, 5.0, 10.0),
        "delay_bars": (0.0, 1.0, 2.0, 5.0, 10.0),
        "funding_bps": (0.0, 0.5, 1.0, 2.0, 5.0),
    }
)


@dataclass(frozen=True, slots=True)
class BreakEven:
    """Where a gain is gone.

    Parameters
    ----------
    assumption : str
    level : float
        The level at which the net return crosses 0, all other assumptions as they are, within the tolerance; for whole
        numbers the least found with no gain. 0 where there is no gain even at 0; ``inf`` where there is still one at
        the highest level looked at.
    runs : int
        Backtests that it took.
    """

    assumption: str
    level: float
    runs: int


def assuming(market: Market, assumption: str, level: float) -> Market:
    """Return the market under one assumption.

    Parameters
    ----------
    market : Market
    assumption : str
        ``fee_bps``: every fill pays it, maker or taker, whatever schedule or instrument say. ``half_spread_bps`` and
        ``slippage_bps``: of :class:`research.execution.Costs`. ``delay_bars``: an order is under way as many bars.
        ``funding_bps``: at every settlement the position held pays so much more, or receives so much less; which side
        that is the histories' ``held`` tells.
    level : float
        At least 0; instead of what the market has, but for funding, to which it is added.

    Raises
    ------
    InvalidInput
        If the assumption is unknown, the level is negative or not finite or not whole where it must be, there are no
        funding rows to make worse, or positions are not known.
    """
    if assumption not in ASSUMPTIONS:
        raise InvalidInput("assumption", f"must be one of {', '.join(ASSUMPTIONS)}", assumption)
    if isinstance(level, bool) or not (math.isfinite(level) and level >= 0.0):
        raise InvalidInput(assumption, "must be finite and at least 0", level)
    if assumption in WHOLE and level != int(level):
        raise InvalidInput(assumption, "must be a whole number", level)
    return ASSUMPTIONS[assumption](market, float(level))


def assumption_ladder(
    market: Market, trade: Trade, rungs: Mapping[str, Sequence[float]] = RUNGS
) -> pl.DataFrame:  # fmt: skip
    """Trade a market at every level of every assumption, one at a time.

    Parameters
    ----------
    market : Market
    trade : callable
        As :func:`research.validation.stress.run_stresses` takes it.
    rungs : mapping of str to sequence of float
        Levels by assumption, as :func:`assuming` takes them.

    Returns
    -------
    DataFrame
        One row per assumption and level, in the order given: ``assumption``, ``level``, and the figures of
        :func:`research.validation.stress.figures`: net return, Sharpe ratio, deepest drawdown, profit factor, trades,
        costs, funding, liquidations, ruin.

    Raises
    ------
    InvalidInput
        As :func:`assuming`, before anything is traded where it can be known. What ``trade`` raises is raised.

    Notes
    -----
    A strategy without costs need not be the best one: a worse price may keep it out of a bad trade. Rows need not fall.
    """
    for assumption, levels in rungs.items():
        if assumption not in ASSUMPTIONS:
            raise InvalidInput("rungs", f"must name assumptions ({', '.join(ASSUMPTIONS)})", assumption)
        if not len(levels):
            raise InvalidInput(f"rungs.{assumption}", "must have at least one level", 0)
    known = _with_positions(market, trade) if "funding_bps" in rungs else market
    steps = [(name, float(level), assuming(known, name, level)) for name, levels in rungs.items() for level in levels]
    return pl.DataFrame([{"assumption": name, "level": level} | figures(trade(stood)) for name, level, stood in steps])


def break_even(
    market: Market, trade: Trade, assumption: str, *, high: float, tolerance: float = 0.01, most: int = 60
) -> BreakEven:
    """Return the level of an assumption at which a strategy's net return crosses zero.

    Parameters
    ----------
    market : Market
    trade : callable
        As :func:`research.validation.stress.run_stresses` takes it.
    assumption : str
        As :func:`assuming` takes it.
    high : float
        Highest level looked at, positive.
    tolerance : float
        Width, in the assumption's unit, of the bracket that ends the search; whole numbers end it at neighbours.
    most : int
        Backtests at most, at least 3; the bracket is then what it is.

    Returns
    -------
    BreakEven

    Raises
    ------
    InvalidInput
        If ``high``, ``tolerance`` or ``most`` are out of range, or as :func:`assuming`.

    Notes
    -----
    The bracket always holds a crossing, so that a return which jumps (lots, ticks, a stop met or not) does no harm. A
    return that crosses several times has several answers, of which this is one. A bracket is cut where a line through
    its ends would cross zero, an end that stays being drawn half as high (the Illinois rule [1]_), so that near-linear
    costs take few runs.

    References
    ----------
    .. [1] M. Dowell, P. Jarratt, "A modified regula falsi method for computing the root of an equation", BIT 11, 1971.
    """
    for name, value, least in (("high", high, 0.0), ("tolerance", tolerance, 0.0), ("most", most, 2)):
        if not (math.isfinite(value) and value > least):
            raise InvalidInput(name, f"must be finite and above {least:g}", value)
    if assumption in WHOLE and high != int(high):
        raise InvalidInput("high", "must be a whole number", high)
    known, runs = (_with_positions(market, trade), 1) if assumption == "funding_bps" else (market, 0)

    def gain(level: float) -> float:
        nonlocal runs
        runs += 1
        return float(figures(trade(assuming(known, assumption, level)))["net_return"])

    low, top = 0.0, float(high)
    above = gain(low)
    if not above > 0.0:
        return BreakEven(assumption, 0.0, runs)
    below = gain(top)
    if below > 0.0:
        return BreakEven(assumption, math.inf, runs)
    is_whole, stayed = assumption in WHOLE, 0
    while top - low > (1.0 if is_whole else tolerance) and runs < most:
        cut = _between(low, top, above, below, is_whole)
        found = gain(cut)
        if found > 0.0:
            low, above, below = cut, found, below / 2.0 if stayed == 1 else below
            stayed = 1
        else:
            top, below, above = cut, found, above / 2.0 if stayed == -1 else above
            stayed = -1
    if is_whole:
        return BreakEven(assumption, top, runs)
    return BreakEven(assumption, low + (top - low) * above / (above - below), runs)


def break_even_table(
    market: Market, trade: Trade, bounds: Mapping[str, float], *, tolerance: float = 0.01
) -> pl.DataFrame:
    """Return the break-even level of several assumptions.

    Parameters
    ----------
    market, trade, tolerance
        As :func:`break_even` takes them.
    bounds : mapping of str to float
        Highest level by assumption.

    Returns
    -------
    DataFrame
        ``assumption``, ``level`` (see :class:`BreakEven`), ``high`` and ``runs``.
    """
    found = [break_even(market, trade, name, high=high, tolerance=tolerance) for name, high in bounds.items()]
    rows = [(item.assumption, item.level, float(bounds[item.assumption]), item.runs) for item in found]
    schema = {"assumption": pl.String, "level": pl.Float64, "high": pl.Float64, "runs": pl.Int64}
    return pl.DataFrame(rows, schema=schema, orient="row")


def _between(low: float, top: float, above: float, below: float, is_whole: bool) -> float:
    """Return where to cut a bracket: where the line crosses zero, but not within a twentieth of its ends."""
    share = min(max(above / (above - below), 0.05), 0.95)
    cut = low + share * (top - low)
    return min(max(float(round(cut)), low + 1.0), top - 1.0) if is_whole else cut


def _with_positions(market: Market, trade: Trade) -> Market:
    """Return the market with the positions of a run on it as it is."""
    return market.with_held(trade(market))


def _paying(market: Market, level: float) -> Market:
    if all(history.funding is None for history in market.symbols.values()):
        raise InvalidInput("funding_bps", "has no effect: no symbol has funding rows")

    def worse(name: str, history: History) -> History:
        if history.funding is None:
            return history
        side = np.sign(history.held_at_settlements(name))
        rates = pl.Series("rate", history.funding["rate"].to_numpy() + side * level / 1e4)
        return replace(history, funding=history.funding.with_columns(rates))

    return market.with_histories({name: worse(name, history) for name, history in market.symbols.items()})


def _charging(market: Market, level: float) -> Market:
    return replace(market, costs=replace(market.costs, taker_fee_bps=level, maker_fee_bps=level))


ASSUMPTIONS: Mapping[str, Callable[[Market, float], Market]] = MappingProxyType(
    {
        "fee_bps": _charging,
        "half_spread_bps": lambda market, level: replace(market, costs=replace(market.costs, half_spread_bps=level)),
        "slippage_bps": lambda market, level: replace(market, costs=replace(market.costs, slippage_bps=level)),
        "delay_bars": lambda market, level: replace(market, latency_bars=int(level)),
        "funding_bps": _paying,
    }
)
