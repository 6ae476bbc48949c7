"""The market that a strategy is tried on, and its path taken apart and put together again. It trades nothing.

A path is held as each bar's log prices over the close before it. Whatever is done to these *moves*, the bars that are
built from them lie on the clock and on ticks, with high and low around open and close.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
import polars as pl

from research.backtest.legs import PATH, clock_of, mark_columns
from research.backtest.result import Result
from research.errors import InvalidInput, MisalignedBars
from research.execution.costs import Costs
from research.execution.funding import opens_of
from research.kernel import FloatArray, IntArray
from research.market.bars import TS, arrays, epoch_ns
from research.market.instruments import Instrument

PRICES = ("open", "high", "low", "close")


@dataclass(frozen=True, slots=True, eq=False)
class History:
    """What is known of one symbol's market.

    Parameters
    ----------
    bars : polars.DataFrame
        ``ts`` on a complete clock and open, high, low, close; a row with NaN is a gap. Other columns are carried along.
    instrument : Instrument
        Its ticks hold for the bars built; its fees may be stressed.
    mark, funding : polars.DataFrame, optional
        As :func:`research.backtest.simulate` takes them.
    unit : (n,) array, optional
        A price distance per bar, known at its close, that costs are counted in. Where a stress has made one, a backtest
        must be given it as ``unit``: its costs read it, and the backtest refuses to run without.
    held : (n,) array, optional
        Signed position after each close in the unstressed run: what a stress means by the position.
    """

    bars: pl.DataFrame
    instrument: Instrument
    mark: pl.DataFrame | None = None
    funding: pl.DataFrame | None = None
    unit: FloatArray | None = None
    held: FloatArray | None = None

    def held_at_settlements(self, name: str) -> FloatArray:
        """Return the signed position of the unstressed run at each funding row: after the last close before it.

        Raises
        ------
        InvalidInput
            If funding or positions are not known; ``name`` is what the error calls the symbol.
        """
        if self.held is None or self.funding is None:
            raise InvalidInput(f"{name}.held", "must be known where funding goes against the position: see with_held")
        ts, step_ns = clock_of(self.bars)
        bar, _ = opens_of(epoch_ns(self.funding), int(ts[0]), step_ns)
        return np.where((bar >= 1) & (bar <= ts.size), self.held[np.clip(bar - 1, 0, ts.size - 1)], 0.0)


@dataclass(frozen=True, slots=True, eq=False)
class Market:
    """All that a backtest is told of the world: prices, costs and delay.

    Parameters
    ----------
    symbols : mapping of str to History
        At least one, on one clock. The first is the reference where a stress needs one.
    costs : Costs
    latency_bars : int
        As :func:`research.backtest.simulate` takes it.

    Raises
    ------
    InvalidInput
        If there is no symbol, a column is not as long as the bars, or the latency is negative.
    MisalignedBars
        If a clock has holes, or two differ.
    """

    symbols: Mapping[str, History]
    costs: Costs = field(default_factory=Costs)
    latency_bars: int = 0

    def __post_init__(self) -> None:
        if not self.symbols:
            raise InvalidInput("market.symbols", "must be at least one", 0)
        if isinstance(self.latency_bars, bool) or not isinstance(self.latency_bars, int) or self.latency_bars < 0:
            raise InvalidInput("market.latency_bars", "must be a whole number of at least 0", self.latency_bars)
        first = self.ts
        for name, history in self.symbols.items():
            ts, _ = clock_of(history.bars)
            if not np.array_equal(ts, first):
                raise MisalignedBars(f"{name}.bars.ts", f"must be the {first.size} times of the first symbol", ts.size)
            for column in ("unit", "held"):
                values = getattr(history, column)
                if values is not None and np.shape(values) != ts.shape:
                    raise InvalidInput(f"{name}.{column}", f"must be {ts.size}, one for each bar", np.shape(values))

    @property
    def reference(self) -> History:
        """The first symbol; the only one where there is one."""
        return next(iter(self.symbols.values()))

    @property
    def ts(self) -> IntArray:
        """Open times of the bars, ns UTC."""
        return epoch_ns(self.reference.bars)

    def with_histories(self, histories: Mapping[str, History]) -> Market:
        """Return the market with other histories."""
        return replace(self, symbols=dict(histories))

    def with_held(self, result: Result) -> Market:
        """Return the market with the positions of a run on it; unchanged where the run had other legs than symbols."""
        held = np.atleast_2d(result.position_qty())
        if held.shape != (len(self.symbols), self.ts.size):
            return self
        pairs = zip(self.symbols.items(), held, strict=True)
        return self.with_histories({name: replace(history, held=row) for (name, history), row in pairs})


def prices_of(history: History) -> FloatArray:
    """Return open, high, low and close, shape (4, n), NaN throughout where one of them is."""
    prices = np.stack(arrays(history.bars, PRICES))
    return np.where(np.isnan(prices).any(axis=0), np.nan, prices)


def moves_of(history: History) -> FloatArray:
    """Return each bar's log prices over the close before it.

    Returns
    -------
    (4, n) array
        Open, high, low, close; NaN in gaps, which are passed over. The first bar's are over its own open.

    Raises
    ------
    InvalidInput
        If no bar has prices, or one is not positive and finite.
    """
    prices = prices_of(history)
    rows = np.flatnonzero(~np.isnan(prices[0]))
    if not rows.size:
        raise InvalidInput("bars", "must have prices in at least one row", 0)
    known = prices[:, rows]
    bad = np.flatnonzero(~((known > 0.0) & np.isfinite(known)).all(axis=0))
    if bad.size:
        raise InvalidInput(f"bars[{rows[bad[0]]}]", "must have positive, finite prices", known[:, bad[0]].tolist())
    logs = np.log(known)
    moves = np.full(prices.shape, np.nan)
    moves[:, rows] = logs - np.concatenate(([logs[0, 0]], logs[3, :-1]))
    return moves


def common_rows(market: Market) -> IntArray:
    """Return the rows in which every symbol has prices."""
    return np.flatnonzero(~np.isnan([prices_of(history)[0] for history in market.symbols.values()]).any(axis=0))


def with_moves(history: History, moves: FloatArray, source: IntArray | None = None) -> History:
    """Return the history whose bars make these moves.

    Parameters
    ----------
    history : History
        Where the path begins: its first price.
    moves : (4, n) array
        As of :func:`moves_of`, NaN where the history's are.
    source : (n,) array of int64, optional
        The row of the history that each new one stems from: volume, other columns and the mark's distance come from
        there. By default its own.

    Returns
    -------
    History
        Prices on ticks, at least one tick; turnover follows the price. The mark keeps its ratio to the traded price of
        the row it stems from; in a gap it follows the last close. Funding rows stay at their times, as they are.

    Raises
    ------
    InvalidInput
        If moves have gaps elsewhere, leave what a price can be, or the history has a ``unit``: that is of another path,
        so that stresses of costs come after those of paths.
    """
    if history.unit is not None:
        raise InvalidInput("history.unit", "must not be set before the path is changed: stress the costs after it")
    prices, n = prices_of(history), history.bars.height
    rows = np.arange(n) if source is None else source
    is_gap = np.isnan(prices[0])
    if moves.shape != prices.shape or not np.array_equal(np.isnan(moves).any(axis=0), is_gap):
        raise InvalidInput("moves", f"must be (4, {n}), NaN in the gaps of the bars alone", moves.shape)
    started = prices[0, np.flatnonzero(~is_gap)[0]]
    level = np.log(started) + np.cumsum(np.where(is_gap, 0.0, moves[3]))
    with np.errstate(over="ignore"):
        built = np.exp(np.concatenate(([np.log(started)], level[:-1])) + moves)
    if np.isinf(built).any():
        raise InvalidInput("moves", "must lead to finite prices", float(np.nanmax(level)))
    built = _on_ticks(built, history)
    close = dict(zip(PRICES, built, strict=True))["close"]
    columns = [pl.Series(name, values) for name, values in zip(PRICES, _around(built), strict=True)]
    bars = history.bars[pl.Series(rows)].with_columns(history.bars["ts"], *columns)
    if "turnover" in bars.columns:
        bars = bars.with_columns(pl.col("turnover") * pl.Series(close / prices[3, rows]))
    mark = None if history.mark is None else _mark_of(history, prices, built, np.exp(level), rows)
    return replace(history, bars=bars.select(history.bars.columns), mark=mark)


def shifted(moves: FloatArray, shift: FloatArray) -> FloatArray:
    """Return moves whose closes are shifted, bodies follow and wicks stay as long as they were.

    Parameters
    ----------
    moves : (4, n) array
        As of :func:`moves_of`.
    shift : (n,) array
        Added to each bar's log return; where it is 0 the bar's own shape is kept to the bit.

    Examples
    --------
    >>> bar = np.array([[0.0], [0.02], [-0.01], [0.01]])
    >>> [round(float(x), 2) for x in shifted(bar, np.array([-0.2])).ravel()]
    [0.0, 0.01, -0.2, -0.19]
    """
    opened, high, low, close = moves
    moved = close + shift
    upper, lower = high - np.maximum(opened, close), np.minimum(opened, close) - low
    found = np.stack([opened, np.maximum(opened, moved) + upper, np.minimum(opened, moved) - lower, moved])
    return np.where(shift == 0.0, moves, found)


def _around(prices: FloatArray) -> FloatArray:
    """Return prices with high and low around the others: exp need not be monotone in its last bit."""
    opened, _, _, close = prices
    return np.stack([opened, prices.max(axis=0), prices.min(axis=0), close])


def _on_ticks(prices: FloatArray, history: History) -> FloatArray:
    """Return prices, shape (k, n), on the ticks of their dates, at least one; ``123.45`` and not ``123.4500...02``."""
    ts = epoch_ns(history.bars)
    terms = history.instrument.terms
    history.instrument.at(int(ts[0]))  # refuses bars before the first terms
    ticks = np.array([part.tick for part in terms])
    tick = ticks[np.searchsorted([part.from_ns for part in terms], ts, side="right") - 1]
    count = np.maximum(np.rint(prices / tick), 1.0)
    inverse = np.rint(1.0 / tick)
    is_fraction = np.abs(inverse * tick - 1.0) < 1e-9
    return np.where(is_fraction, count / np.maximum(inverse, 1.0), count * tick)


def _mark_of(
    history: History, prices: FloatArray, built: FloatArray, level: FloatArray, rows: IntArray
) -> pl.DataFrame | None:
    """Return the mark at the traded prices that were built."""
    ts, step_ns = clock_of(history.bars)
    found = mark_columns(history.mark, ts, step_ns)
    told = {"mark": "open", **PATH}
    is_gap = np.isnan(prices[3])
    last = np.maximum.accumulate(np.where(is_gap, -1, np.arange(ts.size)))
    followed = np.where(last >= 0, level / prices[3, np.maximum(last, 0)], 1.0)
    columns = {}
    for name, values in found.items():
        k = PRICES.index(told[name])
        columns[told[name]] = np.where(is_gap, values * followed, built[k] * (values / prices[k])[rows])
    ticked = dict(zip(columns, _on_ticks(np.stack(list(columns.values())), history), strict=True))
    if len(ticked) == len(PRICES):
        ticked = dict(zip(PRICES, _around(np.stack([ticked[name] for name in PRICES])), strict=True))
    frame = pl.DataFrame({"ts": ts, **ticked}).with_columns(pl.col("ts").cast(TS))
    return frame.filter(pl.col("open").is_not_nan())


def rearranged(history: History, source: IntArray) -> History:
    """Return the history with the bars of ``source`` in place of its own, each with its move, range and volume."""
    return with_moves(history, moves_of(history)[:, source], source)
