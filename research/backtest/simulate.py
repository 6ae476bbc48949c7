"""A backtest of one instrument in one call; it decides nothing and sizes nothing beyond the target given."""

from __future__ import annotations

import numpy as np
import polars as pl
from numpy.typing import ArrayLike

from research.backtest.result import Result
from research.errors import InvalidInput, MisalignedBars, SchemaMismatch
from research.execution.account import Account
from research.execution.costs import Costs
from research.execution.funding import funding_per_bar, opens_of
from research.kernel import FloatArray, IntArray
from research.market.bars import arrays, epoch_ns, require_clock
from research.market.instruments import Instrument


def simulate(
    bars: pl.DataFrame,
    targets: ArrayLike | pl.Series | pl.DataFrame,
    *,
    instrument: Instrument,
    costs: Costs = Costs(),  # noqa: B008 - frozen
    funding: pl.DataFrame | None = None,
    mark: pl.DataFrame | None = None,
    initial_cash_quote: float = 10_000.0,
    latency_bars: int = 0,
    max_leverage: float = 1.0,
) -> Result:
    """Trade target exposures on bars and return everything that happened.

    Parameters
    ----------
    bars : polars.DataFrame
        ``ts`` on a complete clock (see :func:`research.market.bars.on_clock`) and open, high, low, close. A row
        with NaN is a gap: nothing fills, equity keeps the last close.
    targets : (n,) array_like, polars.Series, or polars.DataFrame with ``ts`` and one more column
        Exposure decided on each bar's close, as a signed fraction of equity. NaN is no new decision. It acts at
        the next valid bar's open, plus ``latency_bars``.
    instrument : Instrument
        Ticks, lots, minima, fees and leverage, by date.
    costs : Costs
        Spread, slippage, and fees where they are not the instrument's own.
    funding : polars.DataFrame, optional
        Rows as of :func:`research.execution.funding.funding_per_bar`. Without it no funding is charged, and the
        result's ``funding_settlements`` is 0.
    mark : polars.DataFrame, optional
        Mark price, ``ts`` and ``open``, on times of the bars' clock; where it has none, the bar's open stands in.
    initial_cash_quote : float
        Positive.
    latency_bars : int
        Bars an order is under way beyond the next open.
    max_leverage : float
        Bound of the targets.

    Returns
    -------
    Result
        Ruin, rejected orders and no trade at all are values in it.

    Raises
    ------
    MisalignedBars
        If times are not on one clock, or targets or mark are on another.
    InvalidInput
        If targets are not as many as bars, infinite, or beyond ``max_leverage``; a price is not positive; or a
        spot market is given funding or short targets.
    FundingHole
        If funding rows do not cover the bars.

    Notes
    -----
    Memory is about 150 bytes per bar beside the frame given; :class:`research.execution.Account` takes blocks.
    """
    ts = epoch_ns(bars)
    step_ns = _step_of(ts)
    open_, high, low, close = arrays(bars, ["open", "high", "low", "close"])
    wanted = _targets(targets, ts, max_leverage)
    account = Account(instrument, costs, initial_cash_quote, latency_bars, max_leverage, step_ns)
    mark_opens = _mark_opens(mark, ts, step_ns)
    rate, settlements, on_mark = np.zeros(ts.size), 0, 0
    if funding is not None:
        if instrument.market == "spot":
            raise InvalidInput("funding", "must be None on a spot market", f"{funding.height} rows")
        rate, settlements = funding_per_bar(ts, step_ns, funding)
        on_mark = _settled_on_mark(epoch_ns(funding), ts, step_ns, mark_opens)
    ledger = account.push(ts, open_, high, low, close, mark_opens, rate, wanted)
    return Result(
        instrument=instrument,
        costs=costs,
        initial_cash_quote=float(initial_cash_quote),
        step_ns=step_ns,
        funding_settlements=settlements,
        funding_on_mark=on_mark,
        ts=ts,
        close=np.where(np.isnan(open_ + high + low), np.nan, close),
        ledger=ledger,
        pending=account.pending(),
        is_ruined=account.is_ruined,
    )


def _step_of(ts: IntArray) -> int:
    """Return the step of a complete clock of at least two bars."""
    if ts.size < 2:
        raise InvalidInput("bars", "must have at least 2 rows", ts.size)
    step_ns = int(ts[1] - ts[0])
    if step_ns <= 0:
        raise MisalignedBars("bars.ts[1]", "must be later than the bar before it", int(ts[1]))
    require_clock(ts, step_ns)
    return step_ns


def _targets(targets: ArrayLike | pl.Series | pl.DataFrame, ts: IntArray, max_leverage: float) -> FloatArray:
    """Return one target per bar, NaN for no decision."""
    if isinstance(targets, pl.DataFrame):
        names = [name for name in targets.columns if name != "ts"]
        if "ts" not in targets.columns or len(names) != 1:
            raise SchemaMismatch("targets", "must have the columns ts and one more", targets.columns)
        times = epoch_ns(targets)
        if times.shape != ts.shape or (times != ts).any():
            raise MisalignedBars("targets.ts", f"must equal the bars' {ts.size} times", times.size)
        wanted = arrays(targets, names)[0]
    elif isinstance(targets, pl.Series):
        wanted = arrays(targets.to_frame("target"), ["target"])[0]
    else:
        wanted = np.array(targets, dtype=np.float64)
    if wanted.shape != ts.shape:
        raise InvalidInput("targets", f"must be {ts.size}, one for each bar", wanted.shape)
    beyond = np.flatnonzero(np.abs(wanted) > max_leverage)  # infinite ones too; NaN never is
    if beyond.size:
        rule = f"must lie within max_leverage, ±{max_leverage:g}"
        raise InvalidInput(f"targets[{beyond[0]}]", rule, float(wanted[beyond[0]]))
    return wanted


def _mark_opens(mark: pl.DataFrame | None, ts: IntArray, step_ns: int) -> FloatArray:
    """Return the mark price at each bar's open, NaN where the frame has none."""
    opens = np.full(ts.size, np.nan)
    if mark is None:
        return opens
    times = epoch_ns(mark)
    within = (times >= ts[0]) & (times <= ts[-1])
    offset = times[within] - ts[0]
    if (offset % step_ns).any() or (np.diff(times) <= 0).any():
        raise MisalignedBars("mark.ts", f"must increase, on the bars' clock of {step_ns} ns", str(mark["ts"].dtype))
    opens[offset // step_ns] = arrays(mark, ["open"])[0][within]
    return opens


def _settled_on_mark(settled: IntArray, ts: IntArray, step_ns: int, mark_opens: FloatArray) -> int:
    """Return how many settlements within the bars are due at the open of one with a mark price."""
    bar, _ = opens_of(settled, int(ts[0]), step_ns)
    return int(np.isfinite(mark_opens[bar[(bar >= 0) & (bar < ts.size)]]).sum())
