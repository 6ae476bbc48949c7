"""What a backtest returns: frames, figures and views of one account's ledger; it writes no file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from research.backtest.result_frames import leg_names, records_frame, worded_frame
from research.backtest.result_metrics import result_metrics
from research.errors import InvalidInput
from research.execution import Costs, Ledger, Margin
from research.execution.records import Status
from research.kernel import FloatArray, IntArray
from research.market.bars import NS_PER_DAY, TS
from research.market.instruments import Instrument
from research.metrics.drawdown import drawdown
from research.metrics.excursions import excursions
from research.metrics.exposure import Exposures, exposures, positions_at_closes
from research.metrics.positions import closed_positions, pair_positions
from research.metrics.returns import DAYS_PER_YEAR, bar_returns, day_ends
from research.metrics.tables import drawdown_table, monthly_returns, rolling_figures
from research.metrics.totals import Totals, totals
from research.metrics.trades import closed_trades
from research.risk.exits import Exits

if TYPE_CHECKING:
    import plotly.graph_objects as go
    import vectorbt as vbt


@dataclass(frozen=True, eq=False)
class Result:
    """The backtest of one account, with one leg or several. Frames and figures are made when they are asked for.

    Parameters
    ----------
    instruments : tuple of Instrument
        What was traded, one for each of the S legs. A leg is named by its symbol, or where two have one symbol by
        ``symbol:market``.
    costs : Costs or tuple of Costs
        As given, for all legs or one for each.
    margin : Margin
        As given.
    exits : Exits, tuple of Exits or None, or None
        As given, for all legs or one for each.
    initial_cash_quote : float
        Equity before the first bar.
    step_ns : int
        Length of a bar.
    funding_settlements : int
        Funding rows within the bars; 0 if none were given.
    funding_on_mark : int
        Those of them whose bar has a recorded mark price; the others are charged on the bar's open.
    ts : (n,) array of int64
        Bar open times, from the account's first bar on: fills count bars from there.
    high, low, close : (n,) or (S, n) arrays of float64
        Of the bars, per leg; NaN in gaps.
    ledger : Ledger
        The account's rows, fills, orders and lots held.
    pending : array of ORDERS
        The orders still open after the last bar.
    is_ruined : bool
        Whether equity reached zero.
    intrabar : str
        ``worse`` or ``better``: which of the possible orders of events within a bar the account took where they differ.

    Notes
    -----
    Two results are equal where :meth:`to_files` gives equal bytes; ``==`` asks whether they are the same object.
    """

    instruments: tuple[Instrument, ...]
    costs: Costs | tuple[Costs, ...]
    margin: Margin
    exits: Exits | tuple[Exits | None, ...] | None
    initial_cash_quote: float
    step_ns: int
    funding_settlements: int
    funding_on_mark: int
    ts: IntArray
    high: FloatArray
    low: FloatArray
    close: FloatArray
    ledger: Ledger
    pending: NDArray[Any]
    is_ruined: bool
    intrabar: str = "worse"

    def __repr__(self) -> str:
        first, last = (datetime.fromtimestamp(int(t) // 10**9, UTC).strftime("%Y-%m-%d") for t in self.ts[[0, -1]])
        final = float(self.ledger.rows["equity"][-1])
        return (
            f"Result({', '.join(self.legs)}: {self.ts.size:,} bars, {first} to {last}, "
            f"{self.ledger.fills.size:,} fills, "
            f"equity {self.initial_cash_quote:,.2f} -> {final:,.2f} {self.quote}{', ruined' * self.is_ruined})"
        )

    # ----------------------------------------------------------------- legs
    @cached_property
    def legs(self) -> tuple[str, ...]:
        """Names of the legs."""
        return leg_names(self.instruments)

    @property
    def instrument(self) -> Instrument:
        """What was traded, where it is one.

        Raises
        ------
        InvalidInput
            If there are several legs.
        """
        return self.instruments[self._only("has no one instrument")]

    @property
    def quote(self) -> str:
        """Currency of the account."""
        return self.instruments[0].quote

    @property
    def bars_per_year(self) -> float:
        """Bars in 365 days."""
        return DAYS_PER_YEAR * NS_PER_DAY / self.step_ns

    def leg(self, name: str | int) -> int:
        """Return the index of a leg.

        Parameters
        ----------
        name : str or int
            One of :attr:`legs`, or its index.

        Raises
        ------
        InvalidInput
            If there is no such leg.
        """
        if isinstance(name, (int, np.integer)) and not isinstance(name, bool) and 0 <= name < len(self.legs):
            return int(name)
        if isinstance(name, str) and name in self.legs:
            return self.legs.index(name)
        raise InvalidInput("leg", f"must be one of {', '.join(self.legs)}, or its index", name)

    # ----------------------------------------------------------------- frames
    @cached_property
    def equity(self) -> pl.DataFrame:
        """One row per bar: ts (open), the fields of :data:`research.execution.ROWS`, and drawdown.

        In quote currency: equity and wallet after the bar's close, fee, slippage and interest paid, funding received
        (negative: paid), maintenance margin of the positions held, and ambiguous, by how much the bar's other order
        of events would have moved the equity. position_lots are those of the first leg. drawdown is a fraction, at
        most 0, from the highest equity so far, the initial cash included.
        """
        below = drawdown(np.concatenate(([self.initial_cash_quote], self.totals.equity)))[1:]
        frame = records_frame(self.ledger.rows).insert_column(0, pl.Series("ts", self.ts).cast(TS))
        return frame.with_columns(pl.Series("drawdown", below))

    @cached_property
    def positions(self) -> pl.DataFrame:
        """One row per bar: ts (open) and, named as its leg, each leg's signed position after the close, base units."""
        columns = dict(zip(self.legs, self._held, strict=True))
        return pl.DataFrame({"ts": self.ts, **columns}).with_columns(pl.col("ts").cast(TS))

    @cached_property
    def fills(self) -> pl.DataFrame:
        """One row per fill, see :data:`research.execution.FILLS`; leg by name, role as a word, is_maker as a truth."""
        return worded_frame(self.ledger.fills, self.legs)

    @cached_property
    def orders(self) -> pl.DataFrame:
        """One row per order, refused, replaced and open ones included, see :data:`research.execution.ORDERS`.

        Leg by name; status, reason, role and kind as words. The fate of a pending one has no time: done_ts is null.
        """
        frame = worded_frame(np.concatenate((self.ledger.orders, self.pending)), self.legs).sort("order_id")
        is_open = pl.col("status") == Status.PENDING.name.lower()
        return frame.with_columns(pl.when(is_open).then(None).otherwise(pl.col("done_ts")).alias("done_ts"))

    @cached_property
    def trades(self) -> pl.DataFrame:
        """One row per closed trade, net of fees and funding; see :data:`research.metrics.TRADES`.

        A trade is a **reduction** of a position, exit_role what the order that made it was for. mae_frac and mfe_frac
        are the maximum adverse and favourable excursion since the position was opened, fractions of the entry price
        of at least 0; the bars of entry and exit are counted whole, see :func:`research.metrics.excursions`.
        holding_ns lies between the opens of the bars of entry and exit. return_on_equity_frac is pnl over the equity
        before the bar of the entry: compounding it, trade after trade, is what the closed trades made of an account
        with one leg. It counts no open position. Interest is charged to the account and is in none of them.
        """
        return self._positions_frame(closed_trades(self.ledger.fills))

    @cached_property
    def round_trips(self) -> pl.DataFrame:
        """One row per position that was held and ended, as a whole; see :data:`research.metrics.ROUND_TRIPS`.

        From flat to flat or to a reversal: average entry and exit, qty the largest held, reductions how many fills
        shrank it, and mae_frac, mfe_frac (of the average entry), holding_ns and return_on_equity_frac as in
        :attr:`trades`.
        """
        return self._positions_frame(closed_positions(self.ledger.fills))

    def pair_trades(self, a: str | int, b: str | int) -> pl.DataFrame:
        """Return the positions of two legs as one, such as a coin bought and its perpetual sold.

        Parameters
        ----------
        a, b : str or int
            Two legs.

        Returns
        -------
        polars.DataFrame
            One row per position that ended, see :func:`research.metrics.pair_positions`, with holding_ns and
            return_on_equity_frac.

        Raises
        ------
        InvalidInput
            If a leg is unknown, or both are the same.
        """
        first, second = self.leg(a), self.leg(b)
        if first == second:
            raise InvalidInput("b", "must be another leg than a", b)
        pairs = pair_positions(self.ledger.fills, first, second)
        return worded_frame(pairs, self.legs).with_columns(self._holding(pairs))

    def position_qty(self) -> FloatArray:
        """Return the signed position after each bar's close, base units, shape (n,), or (S, n) with several legs."""
        return self._held[0] if len(self.legs) == 1 else self._held

    # ----------------------------------------------------------------- figures
    def metrics(self) -> dict[str, float]:
        """Return the headline figures.

        Returns
        -------
        dict of str to float
            Of the curve and of the trades: those of :func:`research.metrics.curve_performance` and
            :func:`research.metrics.trade_performance`. Beside them:

            - ``trades_per_day``, and of long and short positions apart ``long_trades``, ``long_win_rate``,
              ``long_pnl``, ``short_trades`` …; ``round_trips`` (positions that ended; ``trades`` counts every
              reduction), ``holding_hours`` (their mean length);
            - ``final_equity``; ``fees``, ``slippage``, ``interest`` (paid) and ``funding`` (received) in quote
              currency, ``cost_share`` (see :func:`research.metrics.cost_share`), ``funding_settlements``,
              ``funding_on_mark_frac`` (share of them charged on a recorded mark price; NaN without any);
            - ``pnl_worst`` and ``pnl_best``: the gain if in each ambiguous bar the events had come in the worse or
              the better order, all else equal: what would have followed from another order is not in it;
              ``ambiguous_bars`` counts those bars;
            - ``turnover`` (traded notional by initial cash) and ``turnover_per_year``; ``exposure_time`` (share of
              bars with a position), ``gross_exposure`` (mean value of the positions by equity, over all bars where
              both are known), ``max_margin_ratio`` (largest maintenance margin by equity at a close);
            - counts of ``fills``, ``maker_fills``, ``orders``, ``orders_rejected`` and ``liquidations`` (positions
              that the venue closed), ``maker_share`` (of the traded notional; NaN without a fill), and ``is_ruined``
              (0 or 1).
        """
        return result_metrics(self)

    def monthly_returns(self) -> pl.DataFrame:
        """Return year, jan to dec and total: compounded returns (UTC); see :func:`research.metrics.monthly_returns`."""
        day, last = self._days
        return monthly_returns(day, self.totals.equity[last], self.initial_cash_quote)

    def rolling(self, window_days: int = 30) -> pl.DataFrame:
        """Return ts, sharpe, volatility, return and max_drawdown of the last ``window_days`` daily returns.

        See :func:`research.metrics.rolling_figures`.
        """
        return rolling_figures(self._days[0], self.daily_returns, window_days)

    def drawdowns(self, top: int = 10) -> pl.DataFrame:
        """Return the ``top`` deepest drawdowns: start, trough, end, depth, length_bars and recovery_bars.

        See :func:`research.metrics.drawdown_table`.
        """
        return drawdown_table(self.ts, self.totals.equity, self.initial_cash_quote, self.step_ns, top)

    @cached_property
    def daily_returns(self) -> FloatArray:
        """Simple returns of the UTC days that have a bar, shape (m,)."""
        return bar_returns(self.totals.equity[self._days[1]], self.initial_cash_quote)

    @cached_property
    def totals(self) -> Totals:
        """Sums over the rows, and their equity as a contiguous array."""
        return totals(self.ledger.rows)

    @cached_property
    def exposure(self) -> Exposures:
        """Gross and net value of the positions over equity, at each close."""
        fills = self.ledger.fills
        return exposures(fills["bar"], fills["leg"], fills["position_qty"], self.close, self.totals.equity)

    # ----------------------------------------------------------------- views
    def plot(self) -> go.Figure:
        """Return a plotly figure: equity, drawdown and position over time."""
        from research.backtest import figures

        return figures.overview(self)

    def plot_trades(
        self, start: str | datetime | None = None, end: str | datetime | None = None, leg: str | int = 0
    ) -> go.Figure:
        """Return a figure of entries and exits on the price of one leg, exits by what they were for.

        Parameters
        ----------
        start, end : str or datetime, optional
            Bars of ``[start, end)``, UTC; ``"2024-03-01"``. Default: all.
        leg : str or int
            Which one.

        Raises
        ------
        InvalidInput
            If there is no such leg, or a time cannot be read.
        """
        from research.backtest import figures

        return figures.trades_on_price(self, start, end, leg)

    def plot_monthly(self) -> go.Figure:
        """Return a heat map of :meth:`monthly_returns`."""
        from research.backtest import figures

        return figures.monthly_heatmap(self)

    def plot_rolling(self, window_days: int = 30) -> go.Figure:
        """Return a figure of :meth:`rolling`: Sharpe ratio, return, volatility and drawdown of each window."""
        from research.backtest import figures

        return figures.rolling(self, window_days)

    def plot_returns(self) -> go.Figure:
        """Return a histogram of daily returns with the normal curve and the values at risk."""
        from research.backtest import figures

        return figures.return_histogram(self)

    def plot_excursions(self) -> go.Figure:
        """Return a figure of each trade's return against its adverse and its favourable excursion."""
        from research.backtest import figures

        return figures.excursion_scatter(self)

    def plot_underwater(self, top: int = 5) -> go.Figure:
        """Return a figure of the drawdown, its ``top`` deepest stretches marked."""
        from research.backtest import figures

        return figures.underwater(self, top)

    def plot_exposure(self) -> go.Figure:
        """Return a figure of gross and net exposure, and of the margin ratio where margin was needed."""
        from research.backtest import figures

        return figures.exposure(self)

    def to_vectorbt(self) -> vbt.Portfolio:
        """Return a vectorbt portfolio of the same fills, for its plots and a second opinion.

        It has neither funding, nor interest, nor marks, nor lots: each fill is handed over with its quantity, price
        and fee. Closes of gaps are carried forward. Times are UTC without a zone: with one, vectorbt makes objects of
        them (500,000 bars: 9 s for ``value()`` against 0.04).

        Raises
        ------
        InvalidInput
            If the account has several legs or was ruined; if a bar has more than one fill, since vectorbt takes one
            order per bar; or if a purchase borrowed: vectorbt knows no margin and would cut the fill.
        """
        from research.backtest.vectorbt_view import portfolio

        return portfolio(self)

    # ----------------------------------------------------------------- bytes
    def to_files(self) -> dict[str, bytes]:
        """Return everything as named file contents: Parquet tables and ``settings.json``; equal results, equal bytes.

        :meth:`from_files` makes the same result of them, to the bit. ``pipelines.result_folder`` writes them.
        """
        from research.backtest.result_files import files_of

        return files_of(self)

    @classmethod
    def from_files(cls, files: Mapping[str, bytes]) -> Result:
        """Return the result that :meth:`to_files` described.

        Raises
        ------
        SchemaMismatch
            If a file is missing or unknown, cannot be read, or is of another layout.
        """
        from research.backtest.result_files import result_of

        return result_of(files)

    # ----------------------------------------------------------------- parts
    @cached_property
    def _held(self) -> FloatArray:
        fills = self.ledger.fills
        after = fills["position_qty"]
        return positions_at_closes(fills["bar"], fills["leg"], after, len(self.instruments), self.ts.size)

    @cached_property
    def _days(self) -> tuple[IntArray, IntArray]:
        return day_ends(self.ts)

    def _only(self, rule: str) -> int:
        if len(self.instruments) > 1:
            raise InvalidInput("result", f"{rule}: it has {len(self.instruments)} legs", ", ".join(self.legs))
        return 0

    def _positions_frame(self, closed: NDArray[Any]) -> pl.DataFrame:
        """Return trades or round trips as a frame, with their excursions, length and return on the account."""
        leg, entry, exit_, side = (closed[name] for name in ("leg", "entry_bar", "exit_bar", "side"))
        against, favour = excursions(leg, entry, exit_, side, closed["entry_price"], self.high, self.low)
        moves = [pl.Series("mae_frac", against), pl.Series("mfe_frac", favour)]
        return worded_frame(closed, self.legs).with_columns(*moves, *self._holding(closed))

    def _holding(self, closed: NDArray[Any]) -> list[pl.Series]:
        """Return how long each position was held, and its profit over the equity before its bar of entry."""
        entry = closed["entry_bar"]
        before = np.where(entry > 0, self.totals.equity[np.maximum(entry, 1) - 1], self.initial_cash_quote)
        return [
            pl.Series("holding_ns", closed["exit_ts"] - closed["entry_ts"]),
            pl.Series("return_on_equity_frac", closed["pnl"] / before),
        ]
