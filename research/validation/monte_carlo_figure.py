"""Figures of many paths: a fan of equity, and one statistic with its intervals. Arrays in, no path drawn, no file."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
from numpy.typing import ArrayLike

from research.errors import InvalidInput
from research.validation.fan import quantile

if TYPE_CHECKING:
    import plotly.graph_objects as go

# The reports' colours, told apart with any of the common colour-vision deficiencies (Okabe and Ito); reports stand
# above this layer, so that their theme cannot be asked.
_BLUE, _VERMILLION, _SKY, _INK, _GREY, _GRID = "#0072B2", "#D55E00", "#56B4E9", "#1f2933", "#7b8794", "#e4e7eb"
_BANDS = (("q0.5", "q99.5", "99 %"), ("q2.5", "q97.5", "95 %"), ("q25", "q75", "50 %"))
_BINS = 60


def fan_figure(fan: pl.DataFrame, title: str = "Equity of all paths", observed: ArrayLike | None = None) -> go.Figure:
    """Draw the middle 50, 95 and 99 % of the paths along their way, around their median.

    Parameters
    ----------
    fan : polars.DataFrame
        From :meth:`research.validation.fan.PathsResult.fan`: ``at`` and quantiles, those of the bands among them.
    title : str
        Of the figure.
    observed : (m,) array, optional
        The equity without randomness at the same positions.

    Raises
    ------
    InvalidInput
        If a column is missing, or ``observed`` has another length.

    Examples
    --------
    >>> names = ("at", "q0.5", "q2.5", "q25", "q50", "q75", "q97.5", "q99.5")
    >>> figure = fan_figure(pl.DataFrame({name: [0.0, 1.0] for name in names}))
    >>> [trace.name for trace in figure.data if trace.showlegend is not False]
    ['99 %', '95 %', '50 %', 'median']
    """
    import plotly.graph_objects as go

    for name in ("at", "q50", *(name for band in _BANDS for name in band[:2])):
        if name not in fan.columns:
            raise InvalidInput(f"fan.{name}", "is missing", fan.columns)
    x, figure = fan["at"].to_numpy(), go.Figure()
    for low, high, label in _BANDS:
        edge: dict[str, Any] = {"x": x, "line": {"width": 0}, "hovertemplate": "%{y:,.4g}"}
        figure.add_scatter(y=fan[low].to_numpy(), name=low, showlegend=False, **edge)
        figure.add_scatter(
            y=fan[high].to_numpy(), name=label, fill="tonexty", fillcolor="rgba(0,114,178,0.18)", **edge
        )  # fmt: skip
    figure.add_scatter(x=x, y=fan["q50"].to_numpy(), name="median", line={"color": _BLUE, "width": 2})
    if observed is not None:
        values = np.asarray(observed, dtype=np.float64)
        if values.shape != x.shape:
            raise InvalidInput("observed", f"must have {x.size} values, one for each point", values.shape)
        figure.add_scatter(x=x, y=values, name="observed", line={"color": _VERMILLION, "width": 2, "dash": "dash"})
    figure.update_yaxes(title_text="equity")
    figure.update_xaxes(title_text="since the start")
    return _finished(figure, title, hovermode="x unified")


def statistic_figure(
    values: ArrayLike,
    name: str,
    *,
    observed: float | None = None,
    intervals: Mapping[str, tuple[float, float]] | None = None,
    stands_for: str = "",
    is_share: bool = False,
) -> go.Figure:
    """Draw the distribution of one statistic over the paths, with its intervals.

    Parameters
    ----------
    values : (p,) array
        One per path; those that are not finite are counted in the title.
    name : str
        Of the statistic.
    observed : float, optional
        Without randomness.
    intervals : mapping of str to (low, high), optional
        By name, such as ``95 %``; by default the percentile intervals of 95 and 99 %. One with an end that is not
        finite is left out.
    stands_for : str
        Which randomness the intervals stand for, written below the title.
    is_share : bool
        Write values in per cent.

    Examples
    --------
    >>> figure = statistic_figure(np.linspace(-0.3, -0.1, 500), "max_drawdown", observed=-0.2, is_share=True)
    >>> [note.text for note in figure.layout.annotations]
    ['95 %', '95 %', '99 %', '99 %', 'observed']
    """
    import plotly.graph_objects as go

    given = np.asarray(values, dtype=np.float64)
    known = np.sort(given[np.isfinite(given)])
    title = name.replace("_", " ").capitalize()
    if known.size < given.size:
        title += f" ({given.size - known.size:,} of {given.size:,} paths undefined)"
    if stands_for:
        title += f"<br><sup>{stands_for}</sup>"
    figure = go.Figure()
    if known.size:
        counts, edges = np.histogram(known, bins=_BINS)
        figure.add_bar(
            x=0.5 * (edges[1:] + edges[:-1]), y=counts / given.size, width=np.diff(edges),
            marker={"color": _SKY, "line": {"width": 0}}, hovertemplate="%{x:.4g}: %{y:.1%}<extra></extra>",
        )  # fmt: skip
    if intervals is None:
        intervals = {
            f"{100 * c:g} %": (quantile(known, (1.0 - c) / 2.0), quantile(known, (1.0 + c) / 2.0)) for c in (0.95, 0.99)
        }
    marks = [
        (x, label, _INK, "dot") for label, ends in intervals.items() if all(map(math.isfinite, ends)) for x in ends
    ]
    if observed is not None and math.isfinite(observed):
        marks.append((observed, "observed", _VERMILLION, "solid"))
    for x, label, colour, dash in marks:
        figure.add_vline(x=x, line={"color": colour, "width": 1.5, "dash": dash})
        figure.add_annotation(
            x=x, y=0.9 if label == "observed" else 1.0, yref="paper", text=label, showarrow=False, xanchor="left",
            xshift=3, font={"size": 11, "color": colour}, bgcolor="rgba(255,255,255,0.75)",
        )  # fmt: skip
    figure.update_yaxes(title_text="share of paths", tickformat=".0%", rangemode="tozero")
    figure.update_xaxes(tickformat=".1%" if is_share else "")
    return _finished(figure, title, hovermode="closest", showlegend=False, bargap=0.02)


def _finished(figure: go.Figure, title: str, **layout: Any) -> go.Figure:
    axis = {"gridcolor": _GRID, "linecolor": _GREY, "showline": True, "ticks": "outside", "automargin": True}
    figure.update_xaxes(**axis)
    figure.update_yaxes(**axis)
    figure.update_layout(
        title={"text": title, "x": 0.0, "xanchor": "left", "xref": "paper"}, font={"size": 13, "color": _INK},
        paper_bgcolor="#ffffff", plot_bgcolor="#ffffff", height=380, margin={"l": 64, "r": 24, "t": 64, "b": 48},
        legend={"orientation": "h", "x": 1.0, "xanchor": "right", "y": 1.0, "yanchor": "bottom"}, **layout,
    )  # fmt: skip
    return figure
