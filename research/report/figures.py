"""Every figure of the reports, one function each: frames in, ``go.Figure`` out. It writes no file and judges nothing.

Long series are thinned to what a screen can show, extremes kept. A frame without enough rows gives a figure that
says so.
"""

from __future__ import annotations

import html
import math
from typing import Any

import numpy as np
import plotly.graph_objects as go
import polars as pl
from numpy.typing import NDArray
from plotly.subplots import make_subplots

from research.kernel import FloatArray
from research.metrics.drawdown import drawdown
from research.report import theme
from research.report.series import (
    daily,
    finite_rows,
    monthly,
    require,
    thin,
    times,
)
from research.report.series import rolling_sharpe as rolling_sharpe_of

MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
MAX_FILLS = 1_500
MAX_CANDLES = 700
MAX_TRIALS = 5_000


def equity_with_drawdown(frame: pl.DataFrame, title: str = "Equity", colour: str = theme.BLUE) -> go.Figure:
    """Draw equity over its drawdown from the highest equity so far.

    Parameters
    ----------
    frame : DataFrame
        ``ts`` and ``equity`` (quote currency, after the bar's close). The first row is the first peak. Optionally
        ``fold``: every other one is shaded.
    title, colour : str
        Of the figure and its line.
    """
    require(frame, ("ts", "equity"), "equity")
    known = finite_rows(frame, "equity")
    if known.height < 2:
        return blank(title, "fewer than two rows of equity")
    below = pl.Series("below", drawdown(known["equity"].to_numpy()))
    known = known.select("ts", "equity").with_columns(below)
    figure = make_subplots(rows=2, cols=1, shared_xaxes=True, row_heights=[0.7, 0.3], vertical_spacing=0.06)
    top, bottom = thin(known, "equity"), thin(known, "below")
    figure.add_scatter(
        x=times(top), y=_array(top["equity"]), name="equity", line={"color": colour, "width": 1.6},
        hovertemplate="%{y:,.2f}", row=1, col=1,
    )  # fmt: skip
    figure.add_hline(y=float(known["equity"][0]), line={"color": theme.GREY, "width": 1, "dash": "dot"}, row=1, col=1)
    figure.add_scatter(
        x=times(bottom), y=_array(bottom["below"]), name="drawdown", fill="tozeroy",
        line={"color": theme.VERMILLION, "width": 1}, fillcolor=_faint(theme.VERMILLION, 0.25),
        hovertemplate="%{y:.2%}", row=2, col=1,
    )  # fmt: skip
    if "fold" in frame.columns:
        _mark_folds(figure, frame)
    figure.update_yaxes(title_text="equity (quote)", tickformat=",.0f", row=1, col=1)
    figure.update_yaxes(title_text="drawdown", tickformat=".1%", row=2, col=1)
    return finish(figure, title, height=430, showlegend=False)


def _mark_folds(figure: go.Figure, frame: pl.DataFrame) -> None:
    """Shade every other fold; some ten of them have their number."""
    bounds = frame.group_by("fold", maintain_order=True).agg(pl.col("ts").first())
    starts, names = times(bounds), bounds["fold"].cast(pl.String).to_list()
    ends = np.append(starts[1:], times(frame.tail(1)))
    for k, (start, end) in enumerate(zip(starts, ends, strict=True)):
        shade = {"x0": str(start), "x1": str(end), "xref": "x", "y0": 0.0, "y1": 1.0, "yref": "paper"}
        figure.add_shape(
            type="rect", layer="below", line={"width": 0}, fillcolor=theme.GREY, opacity=0.1 if k % 2 == 0 else 0.0,
            **shade,
        )  # fmt: skip
        if k % max(1, len(names) // 9) == 0:
            figure.add_annotation(
                x=str(start), y=1.0, xref="x", yref="paper",
                text=html.escape(names[k]),
                showarrow=False, xanchor="left", yanchor="bottom", font={"size": 11, "color": theme.GREY},
            )  # fmt: skip


def monthly_heatmap(frame: pl.DataFrame, title: str = "Monthly returns") -> go.Figure:
    """Draw the compounded return of each month (UTC), years down and months across, from ``ts`` and ``equity``."""
    require(frame, ("ts", "equity"), "equity")
    table = monthly(frame)
    if table.is_empty():
        return blank(title, "no equity")
    years = list(range(table["year"].min(), table["year"].max() + 1))  # type: ignore[operator, type-var, arg-type]
    grid = np.full((len(years), 12), np.nan)
    for year, month, value in table.iter_rows():
        grid[years.index(year), month - 1] = value
    largest = float(np.nanmax(np.abs(grid))) or 0.01
    text = [["" if math.isnan(v) else theme.number(v, "return") for v in row] for row in grid]
    figure = go.Figure(
        go.Heatmap(
            x=MONTHS,
            y=[str(y) for y in years],
            z=grid,
            text=text,
            texttemplate="%{text}",
            zmin=-largest,
            zmax=largest,
            colorscale=[list(stop) for stop in theme.DIVERGING],
            xgap=3,
            ygap=3,
            hoverongaps=False,
            hovertemplate="%{x} %{y}: %{z:.2%}<extra></extra>",
            colorbar={"tickformat": ".0%", "thickness": 10, "len": 0.9},
        )
    )
    figure.update_yaxes(autorange="reversed", type="category", showgrid=False)
    figure.update_xaxes(showgrid=False)
    return finish(figure, title, height=150 + 46 * len(years), hovermode="closest")


def return_distribution(frame: pl.DataFrame, title: str = "Daily returns", colour: str = theme.BLUE) -> go.Figure:
    """Draw a histogram of daily returns of ``ts`` and ``equity``, with the normal curve of equal mean and deviation."""
    require(frame, ("ts", "equity"), "equity")
    _, returns = daily(frame)
    if returns.size < 3 or float(np.ptp(returns)) == 0.0:
        return blank(title, "fewer than three days with different returns")
    mean, spread = float(returns.mean()), float(returns.std(ddof=1))
    scaled = (returns - mean) / spread
    figure = go.Figure()
    figure.add_histogram(
        x=returns, histnorm="probability density", name="days", marker={"color": colour}, opacity=0.75,
        nbinsx=int(min(60, max(10, 2 * math.sqrt(returns.size)))), hovertemplate="%{x}<extra></extra>",
    )  # fmt: skip
    grid = np.linspace(float(returns.min()), float(returns.max()), 200)
    density = np.exp(-0.5 * ((grid - mean) / spread) ** 2) / (spread * math.sqrt(2.0 * math.pi))
    figure.add_scatter(
        x=grid, y=density, name="normal", line={"color": theme.INK, "width": 1.5, "dash": "dash"}, hoverinfo="skip"
    )
    figures = (
        f"{returns.size} days · mean {theme.number(mean, 'return')}<br>deviation {theme.number(spread, 'return')} · "
        f"skew {theme.number(float((scaled**3).mean()))}<br>"
        f"excess kurtosis {theme.number(float((scaled**4).mean()) - 3.0)} · "
        f"worst {theme.number(float(returns.min()), 'return')}"
    )
    figure.update_xaxes(tickformat=".1%", title_text=figures)
    figure.update_yaxes(title_text="density", showticklabels=False)
    return finish(figure, title, height=356, hovermode="closest")


def rolling_sharpe(
    frame: pl.DataFrame, window_days: int = 30, title: str = "Rolling Sharpe ratio", colour: str = theme.BLUE
) -> go.Figure:
    """Draw the annualised Sharpe ratio of the last ``window_days`` daily returns of ``ts`` and ``equity``."""
    require(frame, ("ts", "equity"), "equity")
    day, returns = daily(frame)
    values = rolling_sharpe_of(returns, window_days)
    known = np.isfinite(values)
    if not known.any():
        return blank(title, f"fewer than {window_days} days")
    figure = go.Figure(
        go.Scatter(
            x=day[known], y=values[known], line={"color": colour, "width": 1.6}, hovertemplate="%{y:.2f}<extra></extra>"
        )
    )
    figure.add_hline(y=0.0, line={"color": theme.INK, "width": 1})
    figure.update_yaxes(title_text=f"Sharpe of {window_days} days, annualised")
    return finish(figure, title, height=356, showlegend=False)


def folds_bar(folds: pl.DataFrame, title: str = "Walk-forward folds (out of sample)") -> go.Figure:
    """Draw the Sharpe ratio of each fold on the rows after its training window.

    Parameters
    ----------
    folds : DataFrame
        ``fold``, ``sharpe_out_of_sample`` and optionally ``sharpe_in_sample``: what the choice had on its own window.
    title : str
        Of the figure.
    """
    require(folds, ("fold", "sharpe_out_of_sample"), "folds")
    if folds.is_empty():
        return blank(title, "no folds")
    fold = folds["fold"].cast(pl.String).to_list()
    tested = _array(folds["sharpe_out_of_sample"])
    figure = go.Figure()
    if "sharpe_in_sample" in folds.columns:
        figure.add_bar(
            x=fold, y=_array(folds["sharpe_in_sample"]), name="in sample (what was chosen)",
            marker={"color": "#cbd2d9", "line": {"color": theme.GREY, "width": 1}}, hovertemplate="%{y:.2f}",
        )  # fmt: skip
    colours = [theme.BLUE if value >= 0 else theme.VERMILLION for value in tested]
    figure.add_bar(x=fold, y=tested, name="out of sample", marker={"color": colours}, hovertemplate="%{y:.2f}")
    figure.add_hline(y=0.0, line={"color": theme.INK, "width": 1})
    figure.update_xaxes(title_text="fold", type="category")
    figure.update_yaxes(title_text="Sharpe, annualised")
    return finish(figure, title, height=340, barmode="group")


def monte_carlo_fan(quantiles: pl.DataFrame, title: str = "Resampled paths") -> go.Figure:
    """Draw quantiles of paths as nested bands around the median, named by the share of paths within.

    Parameters
    ----------
    quantiles : DataFrame
        First column the step (a number or ``ts``), then columns ``p05``, ``p50``, ``p95`` … or ``q2.5``, ``q50`` …:
        growth of 1, and optionally ``observed``. Where it spans more than a tenfold the axis is logarithmic.
    title : str
        Of the figure.
    """
    names = sorted((name for name in quantiles.columns[1:] if name != "observed"), key=_level)
    if not names or quantiles.height < 2:
        return blank(title, "no paths")
    first = quantiles.columns[0]
    x = times(quantiles, first) if quantiles.schema[first].is_temporal() else quantiles[first].to_numpy()
    figure = go.Figure()
    for low, high in zip(names[: len(names) // 2], reversed(names), strict=False):
        edge: dict[str, Any] = {"x": x, "line": {"width": 0}, "hovertemplate": "%{y:.3f}"}
        figure.add_scatter(y=_single(quantiles[low]), showlegend=False, name=low, **edge)
        figure.add_scatter(
            y=_single(quantiles[high]), fill="tonexty", fillcolor=_faint(theme.BLUE, 0.18),
            name=f"{_level(high) - _level(low):g} %", **edge,
        )  # fmt: skip
    lines = [("observed", theme.VERMILLION, "dash")] if "observed" in quantiles.columns else []
    if len(names) % 2:
        lines.insert(0, (names[len(names) // 2], theme.BLUE, "solid"))
    for name, colour, dash in lines:
        figure.add_scatter(
            x=x, y=_single(quantiles[name]), name="median" if _is_middle(name) else name,
            line={"color": colour, "width": 2, "dash": dash}, hovertemplate="%{y:.3f}",
        )  # fmt: skip
    figure.add_hline(y=1.0, line={"color": theme.GREY, "width": 1, "dash": "dot"})
    lowest, highest = float(np.nanmin(_array(quantiles[names[0]]))), float(np.nanmax(_array(quantiles[names[-1]])))
    scale = "log" if lowest > 0.0 and highest > 10.0 * lowest else "linear"
    figure.update_yaxes(title_text="growth of 1", type=scale)
    figure.update_xaxes(title_text="" if quantiles.schema[first].is_temporal() else label_of(first))
    return finish(figure, title, height=360)


def monte_carlo_hist(
    samples: FloatArray, name: str, observed: float | None = None, title: str | None = None
) -> go.Figure:
    """Draw the distribution of one statistic over resampled paths.

    Parameters
    ----------
    samples : (n,) array
        One value per path; values that are not finite are left out and counted in the title.
    name : str
        Of the statistic; it decides how numbers are written.
    observed : float, optional
        The statistic of the returns as they came.
    title : str, optional
        Of the figure.
    """
    title = f"{theme.label(name)} over resampled paths" if title is None else title
    values = np.asarray(samples, dtype=np.float64)
    known = values[np.isfinite(values)]
    if known.size < 2:
        return blank(title, "no paths")
    if known.size < values.size:
        title += f" ({values.size - known.size:,} of {values.size:,} paths undefined)"
    counts, edges = np.histogram(known, bins=50)
    figure = go.Figure(
        go.Bar(
            x=0.5 * (edges[1:] + edges[:-1]),
            y=counts / known.size,
            width=np.diff(edges),
            opacity=0.8,
            marker={"color": theme.SKY, "line": {"width": 0}},
            hovertemplate="%{x:.3g}: %{y:.1%}<extra></extra>",
        )
    )
    marks = [(float(np.quantile(known, q)), f"{100 * q:g} %", theme.INK, "dot") for q in (0.05, 0.5, 0.95)]
    if observed is not None and math.isfinite(observed):
        marks.append((observed, f"observed {theme.number(observed, name)}", theme.VERMILLION, "solid"))
    for k, (x, text, colour, dash) in enumerate(marks):
        figure.add_vline(x=x, line={"color": colour, "width": 1.5, "dash": dash})
        figure.add_annotation(
            x=x, y=1.0 if k < 3 else 0.9, yref="paper", text=text, showarrow=False, xanchor="left",
            xshift=3, font={"size": 11, "color": colour}, bgcolor="rgba(255,255,255,0.75)",
        )  # fmt: skip
    figure.update_yaxes(title_text="share of paths", tickformat=".0%", rangemode="tozero")
    figure.update_xaxes(tickformat=".0%" if theme.number(0.5, name).endswith("%") else "")
    return finish(figure, title, height=320, hovermode="closest", showlegend=False, bargap=0.02)


def trades_on_price(bars: pl.DataFrame, fills: pl.DataFrame, title: str = "Fills on the price") -> go.Figure:
    """Draw bars and where orders were filled.

    Parameters
    ----------
    bars : DataFrame
        ``ts``, ``open``, ``high``, ``low``, ``close``; merged to some hundred candles where there are more.
    fills : DataFrame
        ``ts``, ``price`` and ``qty`` (signed). More than some thousand are thinned evenly, and the title says so.
    title : str
        Of the figure.
    """
    require(bars, ("ts", "open", "high", "low", "close"), "bars")
    require(fills, ("ts", "price", "qty"), "fills")
    valid = finite_rows(bars, "close")
    if valid.is_empty():
        return blank(title, "no bars")
    candles = _merged(valid)
    figure = go.Figure(
        go.Candlestick(
            x=times(candles),
            **{c: _array(candles[c]) for c in ("open", "high", "low", "close")},
            name="price",
            increasing={"line": {"color": "#52606d", "width": 1}, "fillcolor": "#ffffff"},
            decreasing={"line": {"color": "#52606d", "width": 1}, "fillcolor": "#9aa5b1"},
        )
    )
    shown = fills
    if fills.height > MAX_FILLS:
        shown = fills[np.linspace(0, fills.height - 1, MAX_FILLS).astype(np.int64).tolist()]
        title += f" ({MAX_FILLS:,} of {fills.height:,} shown)"
    for name, condition, symbol, colour in (
        ("buy", pl.col("qty") > 0, "triangle-up", theme.BLUE),
        ("sell", pl.col("qty") < 0, "triangle-down", theme.VERMILLION),
    ):
        side = shown.filter(condition)
        figure.add_scatter(
            x=times(side), y=_array(side["price"]), mode="markers", name=name, customdata=_array(side["qty"]),
            marker={"symbol": symbol, "size": 8, "color": colour, "line": {"color": "#ffffff", "width": 0.8}},
            hovertemplate=f"{name} %{{customdata:.4g}} at %{{y:,.6g}}<extra></extra>",
        )  # fmt: skip
    figure.update_yaxes(title_text="price (quote)")
    figure.update_xaxes(rangeslider={"visible": False})
    return finish(figure, title, height=430, hovermode="closest")


def exposure(frame: pl.DataFrame, title: str = "Exposure", colour: str = theme.BLUE) -> go.Figure:
    """Draw ``exposure`` (signed share of equity) over ``ts``."""
    require(frame, ("ts", "exposure"), "exposure")
    known = finite_rows(frame, "exposure")
    if known.is_empty():
        return blank(title, "no exposure")
    line = thin(known.select("ts", "exposure"), "exposure")
    figure = go.Figure(
        go.Scatter(
            x=times(line),
            y=_array(line["exposure"]),
            line={"color": colour, "width": 1, "shape": "hv"},
            fill="tozeroy",
            fillcolor=_faint(colour, 0.2),
            hovertemplate="%{y:.1%}<extra></extra>",
        )
    )
    values = known["exposure"]
    held = theme.number(float((values != 0).mean() or 0.0), "share")  # type: ignore[arg-type]
    gross = theme.number(float(values.abs().mean() or 0.0), "exposure")  # type: ignore[arg-type]
    figure.update_yaxes(title_text="share of equity", tickformat=".0%")
    return finish(
        figure, f"{title}: in the market {held} of the time, {gross} on average", height=280, showlegend=False
    )


def feature_importance(table: pl.DataFrame, title: str = "Feature importance (in sample)", top: int = 25) -> go.Figure:
    """Draw what each feature contributed to a fit.

    Parameters
    ----------
    table : DataFrame
        ``column`` and ``gain_frac`` (share of the total gain).
    title : str
        Of the figure.
    top : int
        Features shown, largest first.
    """
    require(table, ("column", "gain_frac"), "importance")
    ordered = finite_rows(table, "gain_frac").sort("gain_frac", descending=True).head(top)
    if ordered.is_empty():
        return blank(title, "no feature was used")
    if ordered.height < table.height:
        title += f", {ordered.height} of {table.height}"
    figure = go.Figure(
        go.Bar(
            x=_array(ordered["gain_frac"]),
            y=_texts(ordered["column"]),
            orientation="h",
            marker={"color": theme.GREY},
            hovertemplate="%{y}: %{x:.1%}<extra></extra>",
        )
    )
    figure.update_yaxes(autorange="reversed", type="category", showgrid=False)
    figure.update_xaxes(tickformat=".0%", title_text="share of gain")
    return finish(figure, title, height=110 + 24 * ordered.height, hovermode="closest")


def trials_scatter(trials: pl.DataFrame, title: str = "Trials of the search (in sample)") -> go.Figure:
    """Draw every trial's objective in the order of trial, with the best so far.

    Parameters
    ----------
    trials : DataFrame
        ``value`` (NaN or null: the trial failed or never traded), optionally ``candidate``; one row per trial.
    title : str
        Of the figure.
    """
    require(trials, ("value",), "trials")
    if trials.is_empty():
        return blank(title, "no trials")
    values = _array(trials["value"])
    failed = int((~np.isfinite(values)).sum())
    title += f": {values.size:,}" + (f", {failed:,} without a value" if failed else "")
    number = np.arange(1, values.size + 1)
    shown = np.isfinite(values) & (number % (1 + values.size // MAX_TRIALS) == 0)
    if values.size > MAX_TRIALS:
        title += f" ({int(shown.sum()):,} drawn)"
    groups = trials["candidate"].cast(pl.String).fill_null("") if "candidate" in trials.columns else None
    figure = go.Figure()
    for k, name in enumerate([None] if groups is None else sorted(groups.unique().to_list())):
        mine = shown if groups is None else shown & (groups == name).to_numpy()
        figure.add_scatter(
            x=number[mine], y=values[mine], mode="markers", name="trial" if name is None else html.escape(name),
            marker={"size": 6, "color": theme.PALETTE[k % len(theme.PALETTE)], "opacity": 0.7},
            hovertemplate="%{y:.3f}",
        )  # fmt: skip
    best = np.fmax.accumulate(np.where(np.isfinite(values), values, -np.inf))
    known = np.isfinite(best) & (best > np.concatenate(([-np.inf], best[:-1])))  # the steps alone
    known[-1] = np.isfinite(best[-1])
    figure.add_scatter(
        x=number[known], y=best[known], name="best so far", mode="lines",
        line={"color": theme.INK, "width": 1.5, "shape": "hv"},
        hovertemplate="%{y:.3f}",
    )  # fmt: skip
    figure.update_xaxes(title_text="trial", zeroline=False)
    figure.update_yaxes(title_text="objective")
    return finish(figure, title, height=340)


def label_of(name: str) -> str:
    """Return an axis title for a column, safe to show."""
    return html.escape(theme.label(name))


def _merged(bars: pl.DataFrame) -> pl.DataFrame:
    """Return at most :data:`MAX_CANDLES` candles that cover the bars."""
    size = -(-bars.height // MAX_CANDLES)
    if size == 1:
        return bars
    group = bars.with_columns(pl.int_range(pl.len()).floordiv(size).alias("_group")).group_by(
        "_group", maintain_order=True
    )
    return group.agg(
        pl.col("ts").first(), pl.col("open").first(), pl.col("high").max(), pl.col("low").min(), pl.col("close").last()
    )


def finish(figure: go.Figure, title: str, **layout: Any) -> go.Figure:
    """Return a figure with the template, its title escaped and its layout."""
    return figure.update_layout(template=theme.template(), title_text=html.escape(title, quote=False), **layout)


def blank(title: str, reason: str) -> go.Figure:
    """Return a figure that says why there is nothing to draw."""
    figure = go.Figure()
    figure.add_annotation(
        text=f"Not drawn: {reason}",
        x=0.5,
        y=0.5,
        xref="paper",
        yref="paper",
        showarrow=False,
        font={"color": theme.GREY},
    )
    figure.update_xaxes(visible=False).update_yaxes(visible=False)
    return finish(figure, title, height=180)


def _array(series: pl.Series) -> FloatArray:
    return series.cast(pl.Float64).fill_null(float("nan")).to_numpy()


def _single(series: pl.Series) -> NDArray[np.float32]:
    """Return what a line is drawn from where many lie on one page: half the bytes, and still beyond any screen."""
    return _array(series).astype(np.float32)


def _texts(series: pl.Series) -> list[str]:
    return [html.escape(str(value), quote=False) for value in series]


def _level(name: str) -> float:
    return float(name.lstrip("pq"))


def _is_middle(name: str) -> bool:
    return name != "observed" and _level(name) == 50.0


def _faint(colour: str, opacity: float) -> str:
    red, green, blue = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
    return f"rgba({red},{green},{blue},{opacity})"
