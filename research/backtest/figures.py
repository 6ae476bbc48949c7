"""Plotly figures of one backtest's result; a result loads this module when one is asked for. It computes no figure.

Long curves are thinned to the lowest and highest value of each of some thousand stretches, so that no extreme is lost.
Colours are Okabe and Ito's (https://jfly.uni-koeln.de/color/), as in the reports.
"""

from __future__ import annotations

import html
import math
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import numpy as np
import plotly.graph_objects as go
import polars as pl
from plotly.subplots import make_subplots

from research.errors import InvalidInput
from research.kernel import FloatArray, IntArray
from research.metrics.returns import conditional_value_at_risk, value_at_risk
from research.metrics.tables import MONTHS
from research.metrics.thinning import thinned

if TYPE_CHECKING:
    from research.backtest.result import Result

PLOT_POINTS = 8_000  # per curve: a screen shows fewer, and a browser takes seconds for 500,000
MAX_MARKS = 2_000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
BLUE, ORANGE, GREEN, VERMILLION = "#0072B2", "#E69F00", "#009E73", "#D55E00"
PURPLE, SKY, INK, GREY = "#CC79A7", "#56B4E9", "#1f2933", "#7b8794"
MINUS = "\u2212"
PALETTE = (BLUE, ORANGE, GREEN, PURPLE, SKY, VERMILLION, GREY)
DIVERGING = ((0.0, "#b34700"), (0.25, "#eb9a62"), (0.5, "#f7f7f7"), (0.75, "#74add1"), (1.0, "#08519c"))
_FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif"
_AXIS = {
    "gridcolor": "#e4e7eb", "linecolor": GREY, "zerolinecolor": "#9aa5b1", "showline": True, "ticks": "outside",
    "tickcolor": GREY, "ticklen": 4, "automargin": True, "title": {"standoff": 8, "font": {"size": 13}},
}  # fmt: skip


def overview(result: Result) -> go.Figure:
    """Draw equity, drawdown and position over time; see :meth:`research.backtest.Result.plot`."""
    values = result.totals.equity
    kept = thinned(values, PLOT_POINTS)
    below = result.equity["drawdown"].to_numpy()
    bases = {instrument.base for instrument in result.instruments}
    figure = make_subplots(rows=3, cols=1, shared_xaxes=True, vertical_spacing=0.04, row_heights=[0.55, 0.22, 0.23])
    x = _times(result.ts[kept])
    figure.add_trace(_curve(x, values[kept], "equity", BLUE, "%{y:,.2f}"), row=1, col=1)
    figure.add_hline(y=result.initial_cash_quote, line={"color": GREY, "width": 1, "dash": "dot"}, row=1, col=1)
    figure.add_trace(_curve(x, below[kept], "drawdown", VERMILLION, "%{y:.2%}", fill=True), row=2, col=1)
    held = np.atleast_2d(result.position_qty())
    for name, colour, qty in zip(result.legs, _colours(len(held)), held, strict=True):
        only = len(held) == 1
        label = "position" if only else f"position {name}"
        trace = _curve(x, qty[kept], label, colour, "%{y:.6~g}", fill=only, shape="hv")
        figure.add_trace(trace.update(showlegend=not only), row=3, col=1)
    figure.update_yaxes(title_text=f"equity ({result.quote})", tickformat=",~r", row=1, col=1)
    figure.update_yaxes(title_text="drawdown", tickformat=".1%", row=2, col=1)
    figure.update_yaxes(title_text=f"position ({bases.pop() if len(bases) == 1 else 'base'})", row=3, col=1)
    return _finish(figure, _titled(result, "Backtest"), height=720)


def trades_on_price(result: Result, start: Any = None, end: Any = None, leg: str | int = 0) -> go.Figure:
    """Draw entries and exits on the price; see :meth:`research.backtest.Result.plot_trades`."""
    k, (first, stop) = result.leg(leg), _span(result, start, end)
    title = _titled(result, f"Trades of {result.legs[k]}", legs=False)
    if stop <= first:
        return _blank(title, "no bars between start and end")
    figure = go.Figure()
    _add_price(figure, result, k, first, stop)
    name = result.legs[k]
    within = pl.col("exit_bar").is_between(first, stop - 1)
    closed = result.trades.filter((pl.col("leg") == name) & within)
    fills = result.fills.filter((pl.col("leg") == name) & pl.col("bar").is_between(first, stop - 1))
    after, qty = fills["position_qty"].to_numpy(), fills["qty"].to_numpy()
    entered = fills.filter(pl.Series(after * qty > 0))  # grown, or reversed
    if max(closed.height, entered.height) > MAX_MARKS:
        title += f" ({MAX_MARKS:,} of {max(closed.height, entered.height):,} shown: narrow start and end)"
    closed, entered = _every(closed), _every(entered)
    if closed.height <= MAX_MARKS // 4:
        _add_connections(figure, closed)
    for word, symbol, colour, sign in (("long", "triangle-up", BLUE, 1), ("short", "triangle-down", PURPLE, -1)):
        part = entered.filter(pl.col("qty") * sign > 0)
        _add_marks(
            figure, part, "ts", "price", f"entry {word}", symbol, colour, part["qty"].to_numpy(), "%{text:.6~g}", 12
        )
    for role, (symbol, colour) in _EXITS.items():
        part = closed.filter(pl.col("exit_role") == role)
        exits = f"exit: {role.replace('_', ' ')}"
        _add_marks(
            figure, part, "exit_ts", "exit_price", exits, symbol, colour, part["pnl"].to_numpy(), "pnl %{text:+,.2f}"
        )
    figure.update_yaxes(title_text=f"price ({result.quote})", tickformat=",~r")
    figure.update_xaxes(range=_times(result.ts[[first, stop - 1]]))  # what was entered before is cut off
    legend = {"orientation": "v", "x": 1.01, "xanchor": "left", "y": 1.0, "yanchor": "top"}
    return _finish(figure, title, height=520, hovermode="closest", legend=legend)


def monthly_heatmap(result: Result) -> go.Figure:
    """Draw the compounded return of each month, and of each year beside them."""
    table, title = result.monthly_returns(), _titled(result, "Monthly returns")
    if table.is_empty():
        return _blank(title, "no day")
    years = [str(year) for year in table["year"]]
    months, total = table.select(MONTHS).to_numpy(), table.select("total").to_numpy()
    figure = make_subplots(rows=1, cols=2, shared_yaxes=True, column_widths=[0.92, 0.08], horizontal_spacing=0.015)
    names = [name.capitalize() for name in MONTHS]
    for column, (x, values) in enumerate(((names, months), (["Year"], total)), start=1):
        largest = float(np.nanmax(np.abs(values))) or 0.01
        trace = go.Heatmap(
            x=x, y=years, z=values, zmin=-largest, zmax=largest, colorscale=[list(stop) for stop in DIVERGING],
            text=[["" if math.isnan(v) else _percent(v) for v in row] for row in values], texttemplate="%{text}",
            xgap=3, ygap=3, hoverongaps=False, hovertemplate="%{x} %{y}: %{z:.2%}<extra></extra>", showscale=False,
        )  # fmt: skip
        figure.add_trace(trace, row=1, col=column)
    figure.update_yaxes(autorange="reversed", type="category", showgrid=False)
    figure.update_xaxes(showgrid=False, type="category")
    return _finish(figure, title, height=140 + 44 * len(years), hovermode="closest")


def rolling(result: Result, window_days: int = 30) -> go.Figure:
    """Draw Sharpe ratio, return, volatility and drawdown of the last days, for each day."""
    table = result.rolling(window_days).filter(pl.col("volatility").is_not_nan())
    title = _titled(result, f"Rolling figures of {window_days} days")
    if table.is_empty():
        return _blank(title, f"fewer than {window_days} days")
    panels = (
        ("sharpe", "Sharpe", BLUE, "%{y:.2f}", None), ("return", "return", GREEN, "%{y:.2%}", ".0%"),
        ("volatility", "volatility", ORANGE, "%{y:.2%}", ".0%"),
        ("max_drawdown", "max drawdown", VERMILLION, "%{y:.2%}", ".0%"),
    )  # fmt: skip
    figure = make_subplots(rows=4, cols=1, shared_xaxes=True, vertical_spacing=0.035)
    for row, (name, label, colour, hover, ticks) in enumerate(panels, start=1):
        trace = _curve(_days(table["ts"]), table[name].to_numpy(), label, colour, hover, fill=name == "max_drawdown")
        figure.add_trace(trace, row=row, col=1)
        figure.update_yaxes(title_text=label, tickformat=ticks, nticks=5, row=row, col=1)
    return _finish(figure, title, height=680)


def return_histogram(result: Result) -> go.Figure:
    """Draw a histogram of daily returns, the normal curve of equal mean and deviation, and the values at risk."""
    returns, title = result.daily_returns, _titled(result, "Daily returns")
    if returns.size < 3 or float(np.ptp(returns)) == 0.0:
        return _blank(title, "fewer than three days with different returns")
    mean, spread = float(returns.mean()), float(returns.std(ddof=1))
    density, edges = np.histogram(returns, bins=int(min(60, max(10, 2 * math.sqrt(returns.size)))), density=True)
    bars = go.Bar(
        x=0.5 * (edges[1:] + edges[:-1]), y=density, width=np.diff(edges), name="days", opacity=0.75,
        marker={"color": BLUE, "line": {"width": 0}}, hovertemplate="%{x:.2%}<extra></extra>",
    )  # fmt: skip
    grid = np.linspace(edges[0], edges[-1], 200)
    normal = np.exp(-0.5 * ((grid - mean) / spread) ** 2) / (spread * math.sqrt(2.0 * math.pi))
    line = {"color": INK, "width": 1.5, "dash": "dash"}
    figure = go.Figure([bars, go.Scatter(x=grid, y=normal, name="normal", line=line, hoverinfo="skip")])
    top = 1.05 * float(max(density.max(), normal.max()))
    for level, colour in ((0.05, ORANGE), (0.01, VERMILLION)):
        worst, beyond = value_at_risk(returns, level), conditional_value_at_risk(returns, level)
        name = f"VaR {100 * (1 - level):.0f} %: {_percent(worst)}, beyond it {_percent(beyond)} on average"
        line = {"color": colour, "width": 1.5}
        figure.add_scatter(x=[worst, worst], y=[0.0, top], mode="lines", name=name, line=line, hoverinfo="skip")
    scaled = (returns - mean) / spread
    words = (
        f"return of a day<br>{returns.size:,} days · mean {_percent(mean)} · deviation {_percent(spread)} · "
        f"skew {float((scaled**3).mean()):.2f} · excess kurtosis {float((scaled**4).mean()) - 3.0:.2f}"
    ).replace("-", MINUS)
    figure.update_xaxes(tickformat=".2~%", title_text=words, zeroline=False)
    figure.update_yaxes(title_text="density", showticklabels=False, range=[0.0, top])
    legend = {"x": 0.99, "xanchor": "right", "y": 0.99, "yanchor": "top", "bgcolor": "rgba(255,255,255,0.75)"}
    return _finish(figure, title, height=420, hovermode="closest", bargap=0.02, legend=legend)


def excursion_scatter(result: Result) -> go.Figure:
    """Draw each closed trade's net return against its adverse and its favourable excursion."""
    title = _titled(result, "Excursions of closed trades")
    known = result.trades.filter(pl.col("mae_frac").is_finite() & pl.col("return_frac").is_finite())
    if known.is_empty():
        return _blank(title, "no closed trade")
    shown = _every(known)
    if shown.height < known.height:
        title += f" ({shown.height:,} of {known.height:,} shown)"
    figure = make_subplots(rows=1, cols=2, shared_yaxes=True, horizontal_spacing=0.04)
    sides = (
        ("mae_frac", "adverse excursion (MAE), of the entry price", -1.0),
        ("mfe_frac", "favourable excursion (MFE), of the entry price", 1.0),
    )
    for column, (name, label, sign) in enumerate(sides, start=1):
        for word, condition, colour in (("gain", pl.col("pnl") > 0, BLUE), ("loss", pl.col("pnl") <= 0, VERMILLION)):
            part = shown.filter(condition)
            trace = go.Scatter(
                x=part[name].to_numpy(), y=part["return_frac"].to_numpy(), mode="markers", name=word,
                legendgroup=word, showlegend=column == 1, text=part["exit_role"].str.replace_all("_", " ").to_list(),
                marker={"size": 6, "color": colour, "opacity": 0.6},
                hovertemplate="excursion %{x:.2%}, return %{y:.2%}<br>exit: %{text}<extra></extra>",
            )  # fmt: skip
            figure.add_trace(trace, row=1, col=column)
        far = float(shown[name].max() or 0.0)  # type: ignore[arg-type]
        worst = "left at the worst price" if sign < 0 else "left at the best price"
        line = {"color": GREY, "width": 1, "dash": "dot"}
        edge = go.Scatter(x=[0.0, far], y=[0.0, sign * far], mode="lines", line=line, hoverinfo="skip", name=worst)
        figure.add_trace(edge, row=1, col=column)
        figure.update_xaxes(title_text=label, tickformat=".2~%", rangemode="tozero", row=1, col=column)
    figure.update_yaxes(title_text="net return of the trade", tickformat=".2~%", row=1, col=1)
    return _finish(figure, title, height=460, hovermode="closest")


def underwater(result: Result, top: int = 5) -> go.Figure:
    """Draw the drawdown over time, the deepest stretches shaded and numbered."""
    table, title = result.drawdowns(top), _titled(result, "Drawdown")
    table = table.filter(pl.col("depth") <= 0.1 * pl.col("depth").min())  # the others have no room for a number
    if table.is_empty():
        return _blank(title, "no drawdown")
    below = result.equity["drawdown"].to_numpy()
    kept = np.union1d(thinned(below, PLOT_POINTS), np.searchsorted(result.ts, _ns(table["trough"])))
    figure = go.Figure(_curve(_times(result.ts[kept]), below[kept], "drawdown", VERMILLION, "%{y:.2%}", fill=True))
    last = result.equity["ts"][-1]
    for start, end in table.select("start", "end").iter_rows():
        figure.add_vrect(x0=start, x1=end or last, fillcolor=GREY, opacity=0.13, line_width=0, layer="below")
    days = table["length_bars"].to_numpy() * result.step_ns / 86_400e9
    words = [
        f"{_percent(depth)}, {length:,.1f} days{'' if ended else ', not recovered'}"
        for depth, length, ended in zip(table["depth"], days, table["end"].is_not_null(), strict=True)
    ]
    figure.add_scatter(
        x=_times(_ns(table["trough"])), y=table["depth"].to_numpy(), mode="markers+text", name="deepest",
        text=[str(k) for k in range(1, table.height + 1)], textposition="bottom center", customdata=words,
        marker={"size": 7, "color": INK}, textfont={"color": INK, "size": 13},
        hovertemplate="%{customdata}<extra></extra>", showlegend=False,
    )  # fmt: skip
    figure.update_yaxes(title_text="below the highest equity so far", tickformat=".1%", range=[1.15 * below.min(), 0.0])
    figure.update_xaxes(range=_times(result.ts[[0, -1]]))
    return _finish(figure, f"{title}: deepest {words[0]}", height=380)


def exposure(result: Result) -> go.Figure:
    """Draw gross and net exposure, and the margin ratio where the account needed margin."""
    found, title = result.exposure, _titled(result, "Exposure")
    maintenance = result.ledger.rows["maintenance"]
    has_margin = bool((maintenance > 0.0).any())
    kept = np.union1d(thinned(found.gross, PLOT_POINTS // 2), thinned(found.net, PLOT_POINTS // 2))
    figure = make_subplots(
        rows=1 + has_margin, cols=1, shared_xaxes=True, vertical_spacing=0.06,
        row_heights=[0.68, 0.32] if has_margin else [1.0],
    )  # fmt: skip
    x = _times(result.ts[kept])
    for name, values, colour, fill in (("net", found.net, BLUE, True), ("gross", found.gross, GREY, False)):
        trace = _curve(x, values[kept], name, colour, "%{y:.1%}", fill=fill, shape="hv").update(showlegend=True)
        figure.add_trace(trace, row=1, col=1)
    figure.update_yaxes(title_text="share of equity", tickformat=".0%", row=1, col=1)
    if has_margin:
        equity = result.totals.equity
        ratio = np.divide(maintenance, equity, out=np.full(equity.size, np.nan), where=equity > 0.0)
        kept = thinned(ratio, PLOT_POINTS)
        trace = _curve(_times(result.ts[kept]), ratio[kept], "margin ratio", ORANGE, "%{y:.1%}", fill=True, shape="hv")
        figure.add_trace(trace, row=2, col=1)
        figure.update_yaxes(title_text="margin ratio", tickformat=".2~%", rangemode="tozero", row=2, col=1)
    held = f"in the market {_percent(found.bars_held / result.ts.size)} of the time"
    told = f"{title}<br><sub>{held}, {_percent(found.mean_gross)} gross on average</sub>"
    return _finish(figure, told, height=300 + 180 * has_margin)


# Exit role: symbol and colour of its mark.
_EXITS = {
    "target": ("circle", GREY), "command": ("circle", INK), "stop": ("x", VERMILLION), "trail": ("x", ORANGE),
    "break_even": ("x", SKY), "take_profit": ("star", GREEN), "time_stop": ("square", SKY),
    "volatility": ("square", ORANGE), "liquidation": ("hexagram", VERMILLION), "ruin": ("hexagram", INK),
}  # fmt: skip


def _add_price(figure: go.Figure, result: Result, leg: int, first: int, stop: int) -> None:
    """Add the closes of some thousand stretches of bars, and what the price reached in each."""
    high, low, close = (np.atleast_2d(values)[leg, first:stop] for values in (result.high, result.low, result.close))
    begin = np.arange(0, close.size, -(-close.size // 1_500))
    reach = np.fmax.reduceat(high, begin), np.fmin.reduceat(low, begin)
    last = np.append(begin[1:], close.size) - 1
    x, is_known = _times(result.ts[first:stop][begin]), np.isfinite(reach[0])
    edges = np.flatnonzero(np.diff(np.concatenate(([False], is_known, [False])).astype(np.int8)))
    outline_x: list[Any] = []
    outline_y: list[float | None] = []
    for a, b in zip(edges[::2], edges[1::2], strict=True):  # one outline for each run without a gap
        outline_x += [*x[a:b], *x[a:b][::-1], None]
        outline_y += [*reach[0][a:b], *reach[1][a:b][::-1], None]
    figure.add_scatter(
        x=outline_x, y=outline_y, fill="toself", fillcolor=_faint(GREY, 0.3), line={"width": 0}, mode="lines",
        name="low to high", hoverinfo="skip",
    )  # fmt: skip
    line = {"color": INK, "width": 1}
    figure.add_scatter(
        x=x, y=close[last], name="close", line=line, mode="lines", hovertemplate="close %{y:,.6~g}<extra></extra>"
    )


def _add_connections(figure: go.Figure, closed: pl.DataFrame) -> None:
    for word, condition, colour in (("gain", pl.col("pnl") > 0, "#74add1"), ("loss", pl.col("pnl") <= 0, "#eb9a62")):
        part = closed.filter(condition)
        if part.is_empty():
            continue
        ends = np.stack((_times(_ns(part["entry_ts"])), _times(_ns(part["exit_ts"]))), axis=1)
        x = [value for pair in ends for value in (*pair, None)]
        y = [value for pair in part.select("entry_price", "exit_price").iter_rows() for value in (*pair, None)]
        line = {"color": colour, "width": 1.5, "dash": "dot"}
        figure.add_scatter(x=x, y=y, mode="lines", name=word, line=line, hoverinfo="skip")


def _add_marks(
    figure: go.Figure, part: pl.DataFrame, when: str, price: str, name: str, symbol: str, colour: str,
    text: FloatArray, hover: str, size: int = 8,
) -> None:  # fmt: skip
    if part.is_empty():
        return
    marker = {"symbol": symbol, "size": size, "color": colour, "line": {"color": "#ffffff", "width": 0.8}}
    figure.add_scatter(
        x=_times(_ns(part[when])), y=part[price].to_numpy(), mode="markers", name=name, marker=marker, text=text,
        hovertemplate=f"{name}, {hover} at %{{y:,.6~g}}<extra></extra>",
    )  # fmt: skip


def _curve(
    x: np.ndarray, y: FloatArray, name: str, colour: str, hover: str, *, fill: bool = False, shape: str = "linear"
) -> go.Scatter:
    trace = go.Scatter(
        x=x, y=y, name=name, mode="lines", line={"color": colour, "width": 1.2, "shape": shape},
        hovertemplate=hover, showlegend=False,
    )  # fmt: skip
    return trace.update(fill="tozeroy", fillcolor=_faint(colour, 0.2)) if fill else trace


def _finish(figure: go.Figure, title: str, height: int, **layout: Any) -> go.Figure:
    figure.update_xaxes(**_AXIS)
    figure.update_yaxes(**_AXIS)
    defaults: dict[str, Any] = {
        "hovermode": "x unified",
        "legend": {"orientation": "h", "x": 1.0, "xanchor": "right", "y": 1.0, "yanchor": "bottom"},
    }
    return figure.update_layout(
        template="plotly_white", font={"family": _FONT, "size": 13, "color": INK}, colorway=PALETTE, height=height,
        title={"text": title, "font": {"size": 16}, "x": 0.0, "xanchor": "left", "xref": "paper", "y": 0.98,
               "yanchor": "top"},
        margin={"l": 64, "r": 24, "t": 56, "b": 48}, **(defaults | layout),
    )  # fmt: skip


def _blank(title: str, reason: str) -> go.Figure:
    figure = go.Figure()
    figure.add_annotation(
        text=f"Not drawn: {reason}", x=0.5, y=0.5, xref="paper", yref="paper", showarrow=False, font={"color": GREY}
    )
    figure.update_xaxes(visible=False).update_yaxes(visible=False)
    return _finish(figure, title, height=180)


def _titled(result: Result, what: str, *, legs: bool = True) -> str:
    instrument = result.instruments[0]
    where = f"{instrument.venue} {instrument.market}" if len(result.legs) == 1 else instrument.venue
    named = f"{where} {', '.join(result.legs)}" if legs else where
    return html.escape(f"{what} ({named})", quote=False)


def _span(result: Result, start: Any, end: Any) -> tuple[int, int]:
    """Return the first bar and the one after the last of ``[start, end)``."""
    first = 0 if start is None else np.searchsorted(result.ts, _moment("start", start))
    stop = result.ts.size if end is None else np.searchsorted(result.ts, _moment("end", end))
    return int(first), int(stop)


def _moment(name: str, given: Any) -> int:
    """Return a time that a reader gave, ns UTC."""
    try:
        when = datetime.fromisoformat(given) if isinstance(given, str) else given
        when = when.replace(tzinfo=UTC) if when.tzinfo is None else when
        return (when - _EPOCH) // timedelta(microseconds=1) * 1_000
    except (ValueError, AttributeError, TypeError) as error:
        raise InvalidInput(name, "must be a time, UTC, such as 2024-03-01 or 2024-03-01T12:30", given) from error


def _every(frame: pl.DataFrame) -> pl.DataFrame:
    """Return at most :data:`MAX_MARKS` rows, evenly."""
    if frame.height <= MAX_MARKS:
        return frame
    return frame[np.linspace(0, frame.height - 1, MAX_MARKS).astype(np.int64).tolist()]


def _colours(count: int) -> list[str]:
    return [PALETTE[k % len(PALETTE)] for k in range(count)]


def _ns(times: pl.Series) -> IntArray:
    return times.dt.epoch("ns").to_numpy()


def _times(ts: IntArray) -> np.ndarray:
    """Return times as plotly takes them."""
    return (ts // 1_000_000).astype("datetime64[ms]")


def _days(times: pl.Series) -> np.ndarray:
    return _times(_ns(times))


def _percent(value: float) -> str:
    if not math.isfinite(value):
        return "n/a"
    digits = 2 if abs(value) < 0.01 else 1
    text = f"{abs(100.0 * value):,.{digits}f} %"
    return text if value > 0.0 or round(100.0 * value, digits) == 0.0 else MINUS + text


def _faint(colour: str, opacity: float) -> str:
    red, green, blue = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
    return f"rgba({red},{green},{blue},{opacity})"
