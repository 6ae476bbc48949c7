"""Figures of closed trades: how their profits are spread, and where they were made. It judges nothing."""

from __future__ import annotations

import numpy as np
import plotly.graph_objects as go
import polars as pl

from research.report import theme
from research.report.account_tables import by_holding, by_hour
from research.report.figures import blank, finish
from research.report.series import finite_rows, require


def trade_distribution(trades: pl.DataFrame, title: str = "Profit of each trade") -> go.Figure:
    """Draw how many trades made how much: ``pnl``, net, quote currency."""
    require(trades, ("pnl",), "trades")
    values = finite_rows(trades, "pnl")["pnl"].cast(pl.Float64).to_numpy()
    if values.size < 3 or float(np.ptp(values)) == 0.0:
        return blank(title, "fewer than three trades with different profits")
    counts, edges = np.histogram(values, bins=int(min(60, max(10, 2 * np.sqrt(values.size)))))
    middle = 0.5 * (edges[1:] + edges[:-1])
    figure = go.Figure(
        go.Bar(
            x=middle,
            y=counts,
            width=np.diff(edges),
            marker={"color": np.where(middle >= 0, theme.BLUE, theme.VERMILLION).tolist(), "line": {"width": 0}},
            hovertemplate="%{x:,.4g}: %{y} trades<extra></extra>",
        )
    )
    for value, text in ((float(np.median(values)), "median"), (float(values.mean()), "mean")):
        figure.add_vline(x=value, line={"color": theme.INK, "width": 1.2, "dash": "dot" if text == "mean" else "dash"})
    figures = (
        f"median (dashed) {theme.number(float(np.median(values)), 'pnl')}<br>"
        f"mean (dotted) {theme.number(float(values.mean()), 'pnl')}"
    )
    figure.update_xaxes(title_text=f"profit, net (quote)<br>{figures}")
    figure.update_yaxes(title_text="trades")
    return finish(figure, title, height=340, hovermode="closest", showlegend=False, bargap=0.02)


def profit_by_hour(trades: pl.DataFrame, title: str = "Profit by hour of entry (UTC)") -> go.Figure:
    """Draw what the trades entered in each hour of the day made: ``entry_ts`` and ``pnl``."""
    return _bars(by_hour(trades), "hour", title, "hour of entry, UTC")


def profit_by_holding(trades: pl.DataFrame, title: str = "Profit by holding time") -> go.Figure:
    """Draw what the trades made by how long they were held: ``holding_ns`` and ``pnl``."""
    return _bars(by_holding(trades), "held", title, "held for")


def _bars(groups: pl.DataFrame, name: str, title: str, axis: str) -> go.Figure:
    if groups.is_empty() or groups["trades"].sum() == 0:
        return blank(title, "no trades")
    values = groups["pnl"].to_numpy()
    figure = go.Figure(
        go.Bar(
            x=groups[name].cast(pl.String).to_list(),
            y=values,
            customdata=groups["trades"].to_list(),
            marker={"color": np.where(values >= 0, theme.BLUE, theme.VERMILLION).tolist()},
            hovertemplate="%{x}: %{y:,.2f} in %{customdata} trades<extra></extra>",
        )
    )
    figure.add_hline(y=0.0, line={"color": theme.INK, "width": 1})
    figure.update_xaxes(title_text=axis, type="category")
    figure.update_yaxes(title_text="profit, net (quote)", tickformat=",.0f")
    return finish(figure, title, height=320, hovermode="closest", showlegend=False)
