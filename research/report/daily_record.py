"""One row per UTC day of an account, from equity to equity, that must reconcile or is refused. It writes no file."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
import polars as pl
from numpy.typing import ArrayLike

from research.errors import InvalidInput
from research.kernel import FloatArray, IntArray
from research.market.bars import NS_PER_DAY, TS, epoch_ns
from research.metrics.exposure import positions_at_closes
from research.report.series import require

TOLERANCE = 1e-9  # of the largest of: initial cash, equity, value of a position. 120 days of 1m bars: 6e-16 seen
_EQUITY = ("ts", "equity", "fee", "slippage", "funding", "interest")
_FILLS = ("bar", "leg", "qty", "price", "fee", "realised", "position_qty")
_TRADES = ("exit_bar", "gross")
# Of a day, in the order in which they lead from the opening to the closing equity; then what was done.
SUMS = (
    "realised", "unrealised_change", "fees", "funding", "interest", "deposits", "slippage", "turnover", "trades",
    "fills",
)  # fmt: skip


def daily_record(
    equity: pl.DataFrame,
    fills: pl.DataFrame,
    trades: pl.DataFrame,
    close: ArrayLike,
    *,
    initial_cash_quote: float,
    tolerance: float = TOLERANCE,
) -> pl.DataFrame:
    """Return what each day did to an account.

    Parameters
    ----------
    equity : DataFrame
        One row per bar: ``ts`` (open), ``equity`` (after the close), ``fee``, ``slippage``, ``interest`` (paid) and
        ``funding`` (received), quote currency; as :attr:`research.backtest.Result.equity` has them.
    fills : DataFrame
        In order: ``bar`` (row of ``equity``), ``leg`` (0, 1 …), ``qty`` (signed, base units), ``price``, ``fee``,
        ``realised`` (before fees, quote currency) and ``position_qty`` (after the fill).
    trades : DataFrame
        Closed trades: ``exit_bar`` and ``gross`` (before fees and funding, quote currency).
    close : (n,) or (S, n) array_like
        Close of each bar, per leg; NaN in gaps, where a position keeps the last one known.
    initial_cash_quote : float
        Equity before the first bar.
    tolerance : float
        Largest difference allowed, as a share of the largest of initial cash, equity and value of a position.

    Returns
    -------
    polars.DataFrame
        One row per UTC day from the first bar's to the last bar's, days without a bar included. Quote currency:
        ``day``, ``opening``, ``realised`` (closed trades, before fees), ``unrealised_change`` (of open positions),
        ``fees`` and ``interest`` (paid, at least 0), ``funding`` (received; negative is paid), ``deposits`` (0: the
        account has none), ``closing``; ``slippage`` (within the prices of the fills, so within realised and
        unrealised: not taken off again), ``turnover`` (traded value), ``trades`` (closed), ``fills``; as fractions
        ``day_drawdown_frac`` (deepest, from the highest close of equity of that day, the opening included),
        ``drawdown_frac`` (deepest, from the highest of all days so far) and ``largest_exposure`` (gross value of the
        positions by equity at a close; NaN where equity is not above 0); ``position`` at the day's last close, base
        units, with several legs ``position_0``, ``position_1`` ….

    Raises
    ------
    SchemaMismatch
        If a column is missing.
    InvalidInput
        If equity has no row or is unknown, ``close`` has another length, a position has no close yet, or the record
        does not reconcile: closing = opening + realised + unrealised_change - fees + funding - interest + deposits on
        each day, realised = gross of the trades closed on it, fees = those of its fills, and nothing is unrealised
        where nothing is held.

    Notes
    -----
    The unrealised part is worked out from fills and closes alone: value of the positions, less what was paid for
    them, less what was realised. Equity, which the engine keeps in another way, has no part in it: that is what makes
    the first of these a check.

    Examples
    --------
    >>> bars = pl.Series("ts", [0, NS_PER_DAY]).cast(TS)
    >>> costs = {"fee": [1.0, 0.0], "slippage": [0.0, 0.0], "funding": [0.0, -0.5], "interest": [0.0, 0.0]}
    >>> curve = pl.DataFrame({"ts": bars, "equity": [1004.0, 1013.5], **costs})
    >>> bought = {"bar": [0], "leg": [0], "qty": [1.0], "price": [95.0], "fee": [1.0], "realised": [0.0]}
    >>> none = pl.DataFrame(schema={"exit_bar": pl.Int64, "gross": pl.Float64})
    >>> made = daily_record(
    ...     curve, pl.DataFrame(bought | {"position_qty": [1.0]}), none, [100.0, 110.0], initial_cash_quote=1000.0
    ... )
    >>> made.select("opening", "unrealised_change", "fees", "funding", "closing").rows()
    [(1000.0, 5.0, 1.0, 0.0, 1004.0), (1004.0, 10.0, 0.0, -0.5, 1013.5)]
    """
    for name, frame, needed in (("equity", equity, _EQUITY), ("fills", fills, _FILLS), ("trades", trades, _TRADES)):
        require(frame, needed, name)
    ts = epoch_ns(equity.with_columns(pl.col("ts").cast(TS)))
    worth = _known(equity["equity"], "equity")
    at_close = np.atleast_2d(np.asarray(close, dtype=np.float64))
    if ts.size == 0 or at_close.shape[1] != ts.size:
        raise InvalidInput("close", f"must have one value for each of the {ts.size} bars, at least one", at_close.shape)
    book = _Book(fills, at_close, ts.size)
    scale = tolerance * max(abs(initial_cash_quote), float(np.abs(worth).max()), float(book.gross.max()))
    book.refuse_unrealised_when_flat(scale)

    day = ts // NS_PER_DAY - ts[0] // NS_PER_DAY
    days = int(day[-1]) + 1
    last = np.searchsorted(day, np.arange(days), side="right") - 1  # a day without a bar: the last one before it
    closing = worth[last]
    opening = np.concatenate(([initial_cash_quote], closing[:-1]))
    open_profit = book.unrealised[last]
    paid = {name: _per_day(day, equity[name], days) for name in ("fee", "slippage", "funding", "interest")}
    realised = _per_day(day[book.bar], fills["realised"], days)
    exit_day = day[trades["exit_bar"].to_numpy()]
    columns = {
        "opening": opening,
        "realised": realised,
        "unrealised_change": np.diff(open_profit, prepend=0.0),
        "fees": paid["fee"],
        "funding": paid["funding"],
        "interest": paid["interest"],
        "deposits": np.zeros(days),
        "closing": closing,
        "slippage": paid["slippage"],
        "turnover": np.bincount(day[book.bar], np.abs(book.paid), days),
        "trades": np.bincount(exit_day, minlength=days),
        "fills": np.bincount(day[book.bar], minlength=days),
        **_depths(day, worth, initial_cash_quote, days),
        "largest_exposure": _largest(day, book.gross, worth, days),
        **book.positions(last),
    }
    dates = (ts[0] // NS_PER_DAY + np.arange(days)).astype("datetime64[D]")
    record = pl.DataFrame({"day": dates, **columns})
    _refuse(record["day"], realised - _per_day(exit_day, trades["gross"], days), scale, "gross of the trades closed")
    _refuse(record["day"], paid["fee"] - _per_day(day[book.bar], fills["fee"], days), scale, "fees of the fills")
    _refuse(record["day"], residual(record), scale, "closing equity")
    return record


def residual(record: pl.DataFrame) -> FloatArray:
    """Return closing less opening less everything between them, for each row of a record, quote currency."""
    led = (
        pl.col("opening") + pl.col("realised") + pl.col("unrealised_change") - pl.col("fees") + pl.col("funding")
        - pl.col("interest") + pl.col("deposits")
    )  # fmt: skip
    return record.select((pl.col("closing") - led).alias("residual"))["residual"].to_numpy()


class Backtested(Protocol):
    """What a daily record needs of a :class:`research.backtest.Result`, by the names that it has there."""

    # D102: each is described where it is defined, in that class.

    @property
    def initial_cash_quote(self) -> float: ...  # noqa: D102
    @property
    def equity(self) -> pl.DataFrame: ...  # noqa: D102
    @property
    def trades(self) -> pl.DataFrame: ...  # noqa: D102
    @property
    def close(self) -> FloatArray: ...  # noqa: D102
    @property
    def ledger(self) -> Any: ...  # noqa: D102


def daily_record_of(result: Backtested, tolerance: float = TOLERANCE) -> pl.DataFrame:
    """Return the daily record of a backtest; see :func:`daily_record`."""
    fills = pl.DataFrame({name: result.ledger.fills[name] for name in _FILLS})
    return daily_record(
        result.equity, fills, result.trades, result.close,
        initial_cash_quote=result.initial_cash_quote, tolerance=tolerance,
    )  # fmt: skip


def monthly_sums(record: pl.DataFrame) -> pl.DataFrame:
    """Return a daily record by month: first opening, last closing, sums between them, extremes beside them.

    Columns are those of the record, ``month`` (``2024-08``) in place of ``day`` and ``days`` after it.
    """
    held = [name for name in record.columns if name.startswith("position")]
    return record.group_by(pl.col("day").dt.strftime("%Y-%m").alias("month"), maintain_order=True).agg(
        pl.len().cast(pl.Int64).alias("days"),
        pl.col("opening").first(),
        *(pl.col(name).sum() for name in SUMS[:6]),
        pl.col("closing").last(),
        *(pl.col(name).sum() for name in SUMS[6:]),
        pl.col("day_drawdown_frac", "drawdown_frac").min(),
        pl.col("largest_exposure").max(),
        pl.col(held).last(),
    )


class _Book:
    """What is held and what it cost, bar by bar, from fills and closes alone."""

    def __init__(self, fills: pl.DataFrame, close: FloatArray, bars: int) -> None:
        legs = close.shape[0]
        self.bar: IntArray = fills["bar"].cast(pl.Int64).to_numpy()
        leg = fills["leg"].cast(pl.Int64).to_numpy()
        if self.bar.size and (self.bar.min() < 0 or self.bar.max() >= bars or leg.min() < 0 or leg.max() >= legs):
            raise InvalidInput(
                "fills", f"must lie in {bars} bars of {legs} legs", (int(self.bar.max()), int(leg.max()))
            )
        self.paid = _known(fills["qty"], "fills.qty") * _known(fills["price"], "fills.price")
        self.held = positions_at_closes(self.bar, leg, _known(fills["position_qty"], "position_qty"), legs, bars)
        known = np.maximum.accumulate(np.where(np.isfinite(close), np.arange(bars), -1), axis=1)
        price = np.where(known >= 0, np.take_along_axis(close, np.maximum(known, 0), axis=1), 0.0)
        if bool(((known < 0) & (self.held != 0.0)).any()):
            raise InvalidInput("close", "must be known at or before the first bar with a position", "NaN")
        value = self.held * price
        self.gross = np.abs(value).sum(axis=0)
        booked = self.paid + fills["realised"].cast(pl.Float64).to_numpy()
        self.unrealised = value.sum(axis=0) - np.cumsum(np.bincount(self.bar, booked, bars))

    def refuse_unrealised_when_flat(self, allowed: float) -> None:
        """Refuse realised profits that leave something open where nothing is held."""
        left = np.where((self.held == 0.0).all(axis=0), np.abs(self.unrealised), 0.0)
        if float(left.max()) > allowed:
            at = int(left.argmax())
            raise InvalidInput(f"fills.realised until bar {at}", "must leave nothing unrealised where flat", left[at])

    def positions(self, rows: IntArray) -> dict[str, FloatArray]:
        """Return what is held after each of some bars, by the names of the record."""
        if len(self.held) == 1:
            return {"position": self.held[0, rows]}
        return {f"position_{leg}": one[rows] for leg, one in enumerate(self.held)}


def _known(series: pl.Series, subject: str) -> FloatArray:
    values: FloatArray = series.cast(pl.Float64).fill_null(float("nan")).to_numpy()
    if not np.isfinite(values).all():
        raise InvalidInput(subject, "must be finite", float(values[~np.isfinite(values)][0]))
    return values


def _per_day(day: IntArray, series: pl.Series, days: int) -> FloatArray:
    sums: FloatArray = np.bincount(day, _known(series, series.name), days).astype(np.float64)  # of nothing: integers
    return sums


def _depths(day: IntArray, worth: FloatArray, initial: float, days: int) -> dict[str, FloatArray]:
    """Return the deepest fall within each day, and from the highest so far; 0 on days without a bar."""
    peak = np.maximum.accumulate(np.concatenate(([initial], worth)))[1:]
    within, whole = np.zeros(days), np.zeros(days)
    before = initial
    first = np.searchsorted(day, np.arange(days))
    for d, (start, stop) in enumerate(zip(first, np.append(first[1:], day.size), strict=True)):
        if start == stop:
            whole[d] = worth[start - 1] / peak[start - 1] - 1.0 if peak[start - 1] > 0 else np.nan
            continue
        path = np.concatenate(([before], worth[start:stop]))
        with np.errstate(divide="ignore", invalid="ignore"):
            within[d] = (path / np.maximum.accumulate(path) - 1.0).min()
            whole[d] = (worth[start:stop] / peak[start:stop] - 1.0).min()
        before = path[-1]
    return {"day_drawdown_frac": within, "drawdown_frac": whole}


def _largest(day: IntArray, gross: FloatArray, worth: FloatArray, days: int) -> FloatArray:
    """Return the largest gross value by equity at a close of each day; a day without a bar has that of the last."""
    with np.errstate(divide="ignore", invalid="ignore"):
        share = np.where(worth > 0, gross / worth, np.where(gross > 0, np.nan, 0.0))
    found = np.full(days, -np.inf)
    np.maximum.at(found, day, share)
    empty = np.setdiff1d(np.arange(days), day)
    found[empty] = share[np.searchsorted(day, empty) - 1]
    return found


def _refuse(day: pl.Series, difference: FloatArray, allowed: float, what: str) -> None:
    """Refuse a record that differs by more than is allowed, naming the first such day."""
    wrong = np.flatnonzero(~(np.abs(difference) <= allowed))
    if wrong.size:
        first = int(wrong[0])
        raise InvalidInput(
            f"daily record of {day[first]}", f"must reconcile with the {what} within {allowed:.3g}; it differs by",
            float(difference[first]),
        )  # fmt: skip
