"""What a backtest returns: frames, figures and views of one account's ledger; it writes no file."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from research.errors import InvalidInput
from research.execution.account import Ledger
from research.execution.costs import Costs
from research.execution.records import Reason, Status
from research.kernel import FloatArray, IntArray
from research.market.bars import NS_PER_DAY, TS
from research.market.instruments import Instrument
from research.metrics.costs import cost_share
from research.metrics.drawdown import drawdown
from research.metrics.performance import performance
from research.metrics.returns import DAYS_PER_YEAR
from research.metrics.thinning import thinned
from research.metrics.trades import closed_trades, round_trips

if TYPE_CHECKING:
    import plotly.graph_objects as go
    import vectorbt as vbt

_TIMES = ("ts", "decided_ts", "done_ts", "entry_ts", "exit_ts")
PLOT_POINTS = 8_000  # per curve: a screen shows fewer, and a browser takes seconds for 500,000


@dataclass(frozen=True)
class Result:
    """One instrument's backtest.

    Parameters
    ----------
    instrument : Instrument
        What was traded.
    costs : Costs
        As given.
    initial_cash_quote : float
        Equity before the first bar.
    step_ns : int
        Length of a bar.
    funding_settlements : int
        Funding rows within the bars; 0 if none were given.
    funding_on_mark : int
        Those of them whose bar has a recorded mark price; the others are charged on the bar's open.
    ts : (n,) array of int64
        Bar open times.
    close : (n,) array of float64
        Closes, NaN in gaps.
    ledger : Ledger
        The account's rows, fills and orders.
    pending : array of ORDERS
        The order still waiting after the last bar, if any.
    is_ruined : bool
        Whether equity reached zero.
    """

    instrument: Instrument
    costs: Costs
    initial_cash_quote: float
    step_ns: int
    funding_settlements: int
    funding_on_mark: int
    ts: IntArray
    close: FloatArray
    ledger: Ledger
    pending: NDArray[Any]
    is_ruined: bool

    @cached_property
    def equity(self) -> pl.DataFrame:
        """One row per bar: ts (open), equity, position_lots, wallet after its close; fee, slippage, funding in it.

        Fee and slippage are paid, funding received (negative: paid), all in quote currency.
        """
        return records_frame(self.ledger.rows).insert_column(0, pl.Series("ts", self.ts).cast(TS))

    @cached_property
    def fills(self) -> pl.DataFrame:
        """One row per fill; see :data:`research.execution.FILLS`."""
        return records_frame(self.ledger.fills)

    @cached_property
    def orders(self) -> pl.DataFrame:
        """One row per order, rejected, replaced and pending ones included, with status and reason as words."""
        frame = records_frame(np.concatenate((self.ledger.orders, self.pending))).sort("order_id")
        words = [
            pl.col(name).replace_strict({int(kind): kind.name.lower() for kind in kinds}, return_dtype=pl.String)
            for name, kinds in (("status", Status), ("reason", Reason))
        ]
        # A pending order's fate has no time yet.
        done = pl.when(pl.col("status") == int(Status.PENDING)).then(None).otherwise(pl.col("done_ts")).alias("done_ts")
        return frame.with_columns(done, *words)

    @cached_property
    def trades(self) -> pl.DataFrame:
        """One row per closed trade, net of fees and funding; see :data:`research.metrics.TRADES`.

        ``return_on_equity_frac`` is ``pnl`` over the equity before the bar of the entry: compounding it, trade after
        trade, is what the closed trades made of the account. It counts no open position.
        """
        closed = closed_trades(self.ledger.fills)
        before = np.concatenate(([self.initial_cash_quote], self.ledger.rows["equity"]))[closed["entry_bar"]]
        return records_frame(closed).with_columns(pl.Series("return_on_equity_frac", closed["pnl"] / before))

    @property
    def bars_per_year(self) -> float:
        """Bars in 365 days."""
        return DAYS_PER_YEAR * NS_PER_DAY / self.step_ns

    def metrics(self) -> dict[str, float]:
        """Return the headline figures.

        Returns
        -------
        dict of str to float
            Those of :func:`research.metrics.performance`, and: ``round_trips`` (times a position was ended, see
            :func:`research.metrics.round_trips`; ``trades`` counts every reduction), ``final_equity``, ``fees``,
            ``slippage`` (paid) and ``funding`` (received) in quote currency, ``cost_share`` (see
            :func:`research.metrics.cost_share`), ``funding_settlements``, ``funding_on_mark_frac`` (share of them
            charged on a recorded mark price; NaN without any), ``turnover`` (traded notional by initial cash),
            ``exposure_time`` (share of bars with a position), counts of ``fills``, ``orders`` and
            ``orders_rejected``, and ``is_ruined`` (0 or 1).
        """
        rows, fills, orders = self.ledger.rows, self.ledger.fills, self.ledger.orders
        figures = performance(self.equity, self.trades, self.bars_per_year, initial_equity=self.initial_cash_quote)
        traded = float(np.abs(fills["qty"] * fills["price"]).sum())
        final = float(rows["equity"][-1])
        fees, slippage, funding = (float(rows[name].sum()) for name in ("fee", "slippage", "funding"))
        settled = self.funding_settlements
        return figures | {
            "round_trips": float(round_trips(fills["position_qty"])),
            "final_equity": final,
            "fees": fees,
            "slippage": slippage,
            "funding": funding,
            "cost_share": cost_share(final - self.initial_cash_quote, fees, slippage, funding),
            "funding_settlements": float(settled),
            "funding_on_mark_frac": self.funding_on_mark / settled if settled else math.nan,
            "turnover": traded / self.initial_cash_quote,
            "exposure_time": float((rows["position_lots"] != 0).mean()),
            "fills": float(fills.size),
            "orders": float(orders.size + self.pending.size),
            "orders_rejected": float((orders["status"] == Status.REJECTED).sum()),
            "is_ruined": float(self.is_ruined),
        }

    def position_qty(self) -> FloatArray:
        """Return the signed position after each bar's close, base units, shape (n,)."""
        fills = self.ledger.fills
        held, last = np.zeros(self.ts.size), np.zeros(self.ts.size, np.int64)
        held[fills["bar"]], last[fills["bar"]] = fills["position_qty"], fills["bar"]
        return held[np.maximum.accumulate(last)]

    def plot(self) -> go.Figure:
        """Return a plotly figure: equity, drawdown and position over time.

        Long curves are thinned to the lowest and highest equity of each of some thousand stretches, so that no
        drawdown is lost.
        """
        import plotly.graph_objects as go
        from plotly.subplots import make_subplots

        equity = self.ledger.rows["equity"]
        below = drawdown(np.concatenate(([self.initial_cash_quote], equity)))[1:]
        kept = thinned(equity, PLOT_POINTS)
        times = self.ts[kept].astype("datetime64[ns]")
        figure = make_subplots(
            rows=3, cols=1, shared_xaxes=True, vertical_spacing=0.04, row_heights=[0.55, 0.25, 0.2],
            subplot_titles=(f"Equity ({self.instrument.quote})", "Drawdown", f"Position ({self.instrument.base})"),
        )  # fmt: skip
        curves = (
            ("equity", equity, None),
            ("drawdown", below, "tozeroy"),
            ("position", self.position_qty(), "tozeroy"),
        )
        for row, (name, values, fill) in enumerate(curves, start=1):
            line = {"width": 1.2, "shape": "hv" if name == "position" else "linear"}
            figure.add_trace(go.Scatter(x=times, y=values[kept], name=name, line=line, fill=fill), row=row, col=1)
        figure.update_yaxes(tickformat=".1%", row=2, col=1)
        title = f"{self.instrument.venue} {self.instrument.market} {self.instrument.symbol}"
        figure.update_layout(template="plotly_white", title=title, showlegend=False, hovermode="x unified", height=720)
        return figure

    def to_vectorbt(self) -> vbt.Portfolio:
        """Return a vectorbt portfolio of the same fills, for its plots and a second opinion.

        It has neither funding, nor marks, nor lots: each fill is handed over with its quantity, price and fee.
        Closes of gaps are carried forward. Times are UTC without a zone: with one, vectorbt makes objects of them
        (500,000 bars: 9 s for ``value()`` against 0.04).

        Raises
        ------
        InvalidInput
            If the account was ruined, or a purchase borrowed: vectorbt knows no margin and would cut the fill.
        """
        import pandas as pd
        import vectorbt as vbt

        fills = self.ledger.fills
        if self.is_ruined:
            raise InvalidInput("result", "must not be ruined to be shown in vectorbt", f"{fills.size} fills")
        cash = self.initial_cash_quote - np.cumsum(fills["qty"] * fills["price"] + fills["fee"])
        short_of_cash = np.flatnonzero((cash < 0) & (fills["qty"] > 0))
        if short_of_cash.size:
            rule = "must be paid from cash to be shown in vectorbt, which knows no margin (targets below 1 leave room)"
            raise InvalidInput(f"result.fills[{short_of_cash[0]}]", rule, float(cash[short_of_cash[0]]))
        size, price, fees = np.full((3, self.ts.size), np.nan)
        notional = np.abs(fills["qty"]) * fills["price"]
        size[fills["bar"]], price[fills["bar"]] = fills["qty"], fills["price"]
        fees[fills["bar"]] = fills["fee"] / notional
        index = pd.DatetimeIndex(self.ts.astype("datetime64[ns]"))
        close = pd.Series(self.close, index=index).ffill().bfill()
        return vbt.Portfolio.from_orders(
            close, size=size, price=np.where(np.isnan(price), close, price), fees=np.nan_to_num(fees),
            init_cash=self.initial_cash_quote, freq=pd.Timedelta(self.step_ns, unit="ns"),
        )  # fmt: skip


def records_frame(records: NDArray[Any]) -> pl.DataFrame:
    """Return a structured array as a frame, its times as UTC datetimes."""
    names = records.dtype.names or ()
    frame = pl.DataFrame({name: np.ascontiguousarray(records[name]) for name in names})
    return frame.with_columns(pl.col(name).cast(TS) for name in names if name in _TIMES)
