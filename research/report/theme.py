"""Colours, the plotly template and how numbers are written, once for every figure and page. It draws nothing."""

from __future__ import annotations

import math
import re

import plotly.graph_objects as go

# Okabe and Ito's palette: told apart with any of the common colour-vision deficiencies.
# M. Okabe, K. Ito, "Color Universal Design", https://jfly.uni-koeln.de/color/
BLUE, ORANGE, GREEN, VERMILLION = "#0072B2", "#E69F00", "#009E73", "#D55E00"
PURPLE, SKY, INK, GREY = "#CC79A7", "#56B4E9", "#1f2933", "#7b8794"
PALETTE = (BLUE, ORANGE, GREEN, PURPLE, SKY, VERMILLION, GREY)
GRID, PAPER = "#e4e7eb", "#ffffff"
# Losses orange, gains blue, nothing white: order is kept in greyscale distance from the middle too.
DIVERGING = ((0.0, "#b34700"), (0.25, "#eb9a62"), (0.5, "#f7f7f7"), (0.75, "#74add1"), (1.0, "#08519c"))
FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif"

OUT_OF_SAMPLE, IN_SAMPLE = "out of sample", "in sample"
NOT_AVAILABLE = "n/a"
MINUS = "\u2212"

# How a figure is written, by the end of its name; the first that matches holds.
_FORMATS = (
    (re.compile(r"(deflated|probabilistic)_sharpe$|(^|_)(probability|pbo|psr|dsr|p_?value)$"), "probability"),
    (re.compile(r"(_quote|(^|_)(pnl|expectancy|gross|fees?|slippage|funding))$"), "quote"),
    (
        re.compile(
            r"(^|_)(trades|trips|fills|orders|bars|days|trials|rows|folds|paths|count|rejected|splits|liquidations)$"
        ),
        "count",
    ),
    (
        re.compile(
            r"(_frac|(^|_)(return|drawdown|volatility|cagr|share|rate|exposure|exposure_time|c?var_\d+|ulcer_index)(_p\d+)?)$"
        ),
        "percent",
    ),
)
_ABBREVIATIONS = {
    "cagr": "CAGR",
    "var": "VaR",
    "cvar": "CVaR",
    "pnl": "PnL",
    "pbo": "PBO",
    "psr": "PSR",
    "dsr": "DSR",
    "spa": "SPA",
}
_ABBREVIATIONS |= {name: name.capitalize() for name in ("sharpe", "sortino", "calmar", "omega")}
_UNITS = {"frac": "", "quote": "(quote)", "bps": "(bps)", "bars": "(bars)", "ns": "(ns)", "ms": "(ms)"}


def template() -> go.layout.Template:
    """Return the one plotly template of the reports."""
    axis = {
        "gridcolor": GRID, "linecolor": GREY, "zerolinecolor": "#9aa5b1", "zerolinewidth": 1, "showline": True,
        "ticks": "outside", "tickcolor": GREY, "ticklen": 4, "automargin": True,
        "title": {"standoff": 8, "font": {"size": 13}},
    }  # fmt: skip
    layout = go.Layout(
        font={"family": FONT, "size": 13, "color": INK},
        title={"font": {"size": 16}, "x": 0.0, "xanchor": "left", "xref": "paper", "y": 0.97, "yanchor": "top"},
        colorway=PALETTE,
        paper_bgcolor=PAPER,
        plot_bgcolor=PAPER,
        margin={"l": 64, "r": 24, "t": 56, "b": 48},
        hovermode="x unified",
        hoverlabel={"bgcolor": PAPER, "font": {"family": FONT, "size": 12}},
        legend={"orientation": "h", "x": 0.0, "xanchor": "left", "y": 1.0, "yanchor": "bottom"},
        xaxis=axis,
        yaxis=axis,
        bargap=0.15,
        separators=".\u2009",
    )
    return go.layout.Template(layout=layout)


def number(value: float | int | None, name: str = "") -> str:
    """Return a number as readers see it, in the unit that its name tells.

    Parameters
    ----------
    value : float, int or None
        None, NaN and the infinities are written ``n/a``: a figure that does not exist is not a large one.
    name : str
        As metrics are named: shares, returns and drawdowns are written in per cent, counts as whole numbers,
        ``_quote`` with two decimals, anything else with three significant decimals.

    Examples
    --------
    >>> number(0.1234, "total_return"), number(1.5, "sharpe"), number(12345.678, "fees_quote")
    ('12.3 %', '1.50', '12\u2009345.68')
    >>> number(float("nan"), "sharpe"), number(-0.05, "max_drawdown"), number(41.0, "trades")
    ('n/a', '−5.0 %', '41')
    """
    if value is None or not math.isfinite(value):
        return NOT_AVAILABLE
    kind, size = _kind(name), abs(value)
    if kind == "probability" and (0.0 < value < 0.005 or 0.995 <= value < 1.0):
        text = "< 0.01" if value < 0.5 else "> 0.99"  # never rounded to a certainty
    elif kind == "percent":
        text = f"{100.0 * value:,.{2 if 0.0 < size < 0.01 else 1}f} %"
    elif float(value).is_integer() and (kind == "count" or isinstance(value, int)):
        text = f"{value:,.0f}"
    elif kind == "quote" or size >= 0.1 or size == 0.0:
        text = f"{value:,.2f}"
    else:
        text = f"{value:.3g}"
    if value < 0 and not re.search("[1-9]", text):
        text = text.removeprefix("-")  # rounded to nothing: no sign is left of it
    return text.replace(",", "\u2009").replace("-", MINUS)


def label(name: str) -> str:
    """Return a metric's name as a heading.

    Examples
    --------
    >>> label("max_drawdown"), label("total_return_frac"), label("fees_quote"), label("cagr")
    ('Max drawdown', 'Total return', 'Fees (quote)', 'CAGR')
    """
    words = name.replace(".", " ").split("_")
    unit = _UNITS.get(words[-1]) if len(words) > 1 else None
    if unit is not None:
        words = [*words[:-1], unit] if unit else words[:-1]
    words = [_ABBREVIATIONS.get(word, word) for word in words]
    text = " ".join(words)
    return text[:1].upper() + text[1:]


def is_out_of_sample(section: str) -> bool:
    """Return whether a section's name ends in ``(out of sample)``."""
    return section.endswith(f"({OUT_OF_SAMPLE})")


def colour(section: str) -> str:
    """Return the colour of a section: blue where it is out of sample, grey where the choice was made on it."""
    return BLUE if is_out_of_sample(section) else GREY


def _kind(name: str) -> str:
    last = name.rsplit(".", maxsplit=1)[-1]
    return next((kind for pattern, kind in _FORMATS if pattern.search(last)), "")
