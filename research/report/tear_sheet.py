"""One self-contained page about a candidate, from frames to HTML. It computes no figure of merit and writes no file."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from html import escape
from typing import Any

import plotly.graph_objects as go
import plotly.io
import polars as pl
from plotly.offline import get_plotlyjs

from research.errors import InvalidInput
from research.metrics.costs import cost_share, gross_gain
from research.report import figures, theme
from research.report.monte_carlo_section import MonteCarloPart, monte_carlo_section
from research.report.page import STYLE, cards, chart, mapping_table, section, table
from research.report.series import finite_rows, require
from research.validation.gate import GateVerdict

CARDS = (
    "total_return", "sharpe", "max_drawdown", "deflated_sharpe", "profit_factor", "round_trips", "win_rate",
    "cost_share",
)  # fmt: skip
_COSTS = ("fee", "slippage", "funding")
# Without a server address nothing on the page can be sent anywhere.
_CONFIG = {
    "displaylogo": False, "responsive": True, "plotlyServerURL": "",
    "modeBarButtons": [["toImage", "zoom2d", "pan2d", "resetScale2d"]],
}  # fmt: skip
DISCLAIMER = (
    "Simulated results on past prices. They say what these rules would have done under the costs listed here, "
    "not what they will do; no profit is promised or implied."
)


@dataclass(frozen=True, slots=True)
class TearSheet:
    """What a page is made of; parts left out are left out of the page.

    Parameters
    ----------
    title, subtitle : str
        Of the page: the candidate, and what it was tried on.
    verdict : GateVerdict
        Of the gate: ``passed`` and a table with ``check``, ``figure``, ``rule``, ``threshold``, ``passed``,
        ``reason``, and optionally ``value`` and ``description``.
    trial_count : int
        Every parameter set tried in this build, in all searches and folds. Always shown.
    metrics : mapping of str to mapping
        Section name to figures. A section's name ends in ``(out of sample)`` or ``(in sample)``.
    equity : mapping of str to DataFrame
        Section name, as above, to ``ts``, ``equity`` and optionally ``fee``, ``slippage`` (paid per bar) and
        ``funding`` (received per bar), quote currency. The first row is the start: the equity before the first bar,
        its costs 0.
    folds, trials, importance, exposure, bars, fills : DataFrame, optional
        As the functions of :mod:`research.report.figures` take them.
    trades : DataFrame, optional
        Closed trades of the first section: ``pnl`` (net, quote currency) and any other columns.
    monte_carlo : MonteCarloPart, optional
        Fans, intervals and distributions of many paths.
    selection : DataFrame, optional
        Figures of the choice among all trials, as :func:`research.validation.selection.described` returns them.
    stability : DataFrame, optional
        One row per searched parameter over the folds.
    stress, ladder : DataFrame, optional
        One row per scenario, and per assumption and level, with figures of the result under it.
    controls : DataFrame, optional
        One row per market without an edge that the same pipeline was run on.
    parity : DataFrame, optional
        One row per table compared, with ``difference`` empty where every byte agrees.
    lineage, params : mapping
        Data, code and parameters; nested mappings are flattened to dotted names.
    notes : tuple of str
        What a reader must know before the figures; shown first.
    rolling_days : int
        Window of the rolling Sharpe ratio.

    Raises
    ------
    InvalidInput
        If a section does not say which sample it is, equity begins with a cost, the number of trials is
        negative, or the verdict is not what its checks say.
    """

    title: str
    subtitle: str
    verdict: GateVerdict
    trial_count: int
    metrics: Mapping[str, Mapping[str, float | None]] = field(default_factory=dict)
    equity: Mapping[str, pl.DataFrame] = field(default_factory=dict)
    folds: pl.DataFrame | None = None
    trades: pl.DataFrame | None = None
    trials: pl.DataFrame | None = None
    importance: pl.DataFrame | None = None
    exposure: pl.DataFrame | None = None
    bars: pl.DataFrame | None = None
    fills: pl.DataFrame | None = None
    monte_carlo: MonteCarloPart | None = None
    selection: pl.DataFrame | None = None
    stability: pl.DataFrame | None = None
    stress: pl.DataFrame | None = None
    ladder: pl.DataFrame | None = None
    controls: pl.DataFrame | None = None
    parity: pl.DataFrame | None = None
    lineage: Mapping[str, Any] = field(default_factory=dict)
    params: Mapping[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    rolling_days: int = 30

    def __post_init__(self) -> None:
        endings = (f"({theme.OUT_OF_SAMPLE})", f"({theme.IN_SAMPLE})")
        for name in (*self.metrics, *self.equity):
            if not name.endswith(endings):
                raise InvalidInput(f"section {name!r}", f"must end in {endings[0]} or {endings[1]}")
        for name, frame in self.equity.items():
            paid = [c for c in _COSTS if c in frame.columns and frame.height and frame[c][0] != 0.0]
            if paid:
                raise InvalidInput(f"equity {name!r}.{paid[0]}[0]", "must be 0 at the start", frame[paid[0]][0])
        if self.trial_count < 0:
            raise InvalidInput("trial_count", "must not be negative", self.trial_count)
        require(self.verdict.table, ("check", "figure", "rule", "threshold", "passed", "reason"), "verdict.table")
        if self.verdict.passed != self.verdict.table["passed"].all():
            raise InvalidInput("verdict.passed", "must be what its table says", self.verdict.passed)


def tear_sheet(sheet: TearSheet) -> str:
    """Return a page that opens offline: plotly.js is embedded once, nothing is fetched.

    Parameters
    ----------
    sheet : TearSheet
        Frames may be long: what is drawn of them is thinned.

    Returns
    -------
    str
        HTML, the same for the same input.
    """
    parts = (
        _notes(sheet), _gate(sheet), _key_figures(sheet), _selection(sheet), _equity(sheet), _walk_forward(sheet),
        monte_carlo_section(sheet.monte_carlo, _chart), _stress(sheet), _controls(sheet), _trading(sheet),
        _costs(sheet), _search(sheet), _provenance(sheet),
    )  # fmt: skip
    body = "\n".join(part for part in parts if part)
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(sheet.title)}</title><style>{STYLE}</style>"
        f"<script>{get_plotlyjs()}</script></head><body>\n{_header(sheet)}\n<main>\n{body}\n</main>\n"
        f"<footer>{escape(DISCLAIMER)}</footer></body></html>\n"
    )


def _header(sheet: TearSheet) -> str:
    passed, total = int(sheet.verdict.table["passed"].sum()), sheet.verdict.table.height
    state, sign = ("passed", "✓") if sheet.verdict.passed else ("refused", "✗")
    trials = (
        "no trials recorded"
        if sheet.trial_count == 0
        else f"{theme.number(sheet.trial_count)} trials made in this build"
    )
    return (
        f"<header><div><h1>{escape(sheet.title)}</h1><p>{escape(sheet.subtitle)}</p></div>"
        f'<div class="verdict {state}"><b>{sign} Gate {state}</b>'
        f"<span>{passed} of {total} checks met · {trials}</span></div></header>"
    )


def _notes(sheet: TearSheet) -> str:
    items = "".join(f"<li>{escape(n)}</li>" for n in sheet.notes)
    return section("Read first", "", f"<ul>{items}</ul>") if items else ""


def _gate(sheet: TearSheet) -> str:
    source = sheet.verdict.table
    if {"low", "high"} <= set(source.columns) and source["low"].is_not_null().any():
        source = source.with_columns(pl.lit("").alias("interval"))
    names = [
        c for c in ("check", "figure", "value", "interval", "rule", "reason", "description") if c in source.columns
    ]
    if source["passed"].all():
        names.remove("reason")  # empty where a check was met
    rows = []
    for row in source.iter_rows(named=True):
        state = "passed" if row["passed"] else "refused"
        cells = [f'<span class="tag {state}">{"✓ met" if row["passed"] else "✗ not met"}</span>']
        cells += [_gate_cell(name, row) for name in names]
        rows.append(cells)
    help_text = (
        "Thresholds are those of the parameters below. One check not met refuses the candidate, "
        "and a figure that is unknown is not met. The interval holds 95 % of what resampled days or trades of the same "
        "record come to; it decides nothing."
    )
    numeric = [1 + k for k, name in enumerate(names) if name in ("value", "rule")]
    return section("Gate", help_text, table(["", *(theme.label(n) for n in names)], rows, numeric=numeric))


def _gate_cell(name: str, row: Mapping[str, Any]) -> str:
    if name == "value":
        return theme.number(row["value"], row["figure"])
    if name == "interval":
        ends = [theme.number(row[end], row["figure"]) for end in ("low", "high")]
        return "" if row["low"] is None and row["high"] is None else " … ".join(ends)
    text = escape("" if row[name] is None else str(row[name]))
    # Names of figures are one long word: let them break where a reader would.
    return text.replace(".", ".<wbr>").replace("_", "_<wbr>") if name in ("check", "figure") else text


def _key_figures(sheet: TearSheet) -> str:
    if not sheet.metrics:
        return ""
    count = theme.number(sheet.trial_count)
    blocks = []
    for name, values in sheet.metrics.items():
        chosen = [(theme.label(k), theme.number(values[k], k)) for k in CARDS if k in values]
        trials = [("Trials behind it", count)] if theme.is_out_of_sample(name) else [("Best of trials", count)]
        blocks.append(cards(name, [*chosen, *trials], muted=not theme.is_out_of_sample(name)))
    keys = list(dict.fromkeys(k for values in sheet.metrics.values() for k in values))
    rows = [
        [escape(theme.label(key)), *(theme.number(v[key], key) if key in v else "" for v in sheet.metrics.values())]
        for key in keys
    ]
    whole = table(["Figure", *(escape(n) for n in sheet.metrics)], rows, numeric=range(1, 1 + len(sheet.metrics)))
    help_text = (
        "Judge by the out-of-sample figures; those in sample were selected for being good, the more so the more "
        "trials. n/a is a figure that does not exist: CAGR and Calmar ratio need a year. Ratios are of daily returns, "
        "annualised with 365 days. A trade is one reduction of a position, a round trip its whole life."
    )
    return section(
        "Key figures", help_text, "".join(blocks) + f"<details open><summary>All figures</summary>{whole}</details>"
    )


def _equity(sheet: TearSheet) -> str:
    parts = []
    for number, (name, frame) in enumerate(sheet.equity.items()):
        colour = theme.colour(name)
        parts.append(_chart(
            f"equity-{number}", figures.equity_with_drawdown(frame, f"Equity: {name}", colour),
            "After all costs. Dotted: the equity at the start; below: the distance from the highest equity so far.",
        ))  # fmt: skip
        if not theme.is_out_of_sample(name):
            continue
        parts.append(_chart(
            f"months-{number}", figures.monthly_heatmap(frame, f"Monthly returns: {name}"),
            "Blue is gain and orange loss; the first and last month may be cut short.",
        ))  # fmt: skip
        pair = _chart(
            f"days-{number}", figures.return_distribution(frame, f"Daily returns: {name}", colour),
            "Bars beyond the dashed normal curve on the left are losses that a Sharpe ratio does not see.",
        ) + _chart(
            f"rolling-{number}", figures.rolling_sharpe(frame, sheet.rolling_days, f"Rolling Sharpe: {name}", colour),
            "An edge that is real is spread over time; one that lives in a single stretch is luck or a regime.",
        )  # fmt: skip
        parts.append(f'<div class="pair">{pair}</div>')
    return section("Equity and returns", "", "".join(parts)) if parts else ""


def _walk_forward(sheet: TearSheet) -> str:
    if sheet.folds is None:
        return ""
    drawn = _chart(
        "folds", figures.folds_bar(sheet.folds),
        "Each fold was searched and fitted on the rows before it; grey far above colour is overfitting.",
    )  # fmt: skip
    stable = "" if sheet.stability is None else (
        "<h3>Parameters over the folds</h3><p>Chosen anew in each fold. What drifts, jumps over its whole range or "
        "sits at a bound was not found but drawn.</p>" + _table(sheet.stability)
    )  # fmt: skip
    return section("Walk-forward", "", drawn + stable + _frame(sheet.folds, "Folds"))


def _selection(sheet: TearSheet) -> str:
    if sheet.selection is None:
        return ""
    require(sheet.selection, ("figure", "value", "says", "cannot"), "selection")
    rows = [
        [escape(theme.label(r["figure"])), theme.number(r["value"], r["figure"]), escape(r["says"]),
         escape(f"cannot {r['cannot']}")]
        for r in sheet.selection.iter_rows(named=True)
    ]  # fmt: skip
    help_text = (
        "What choosing the best of all trials does to it. None of these sees a look at the future: a strategy that "
        "reads tomorrow's prices passes them all."
    )
    return section("Selection among all trials", help_text, table(["Figure", "", "Says", "But"], rows, numeric=[1]))


def _stress(sheet: TearSheet) -> str:
    parts = []
    if sheet.stress is not None:
        parts.append("<h3>Scenarios</h3>" + _table(sheet.stress))
    if sheet.ladder is not None:
        parts.append("<h3>Worse and worse assumptions</h3>" + _table(sheet.ladder))
    help_text = (
        "The hold-out traded again on transformed bars and costs, decided anew where bars change. Scenarios are not "
        "forecasts, and say nothing about how likely they are."
    )
    return section("Stress", help_text, "".join(parts)) if parts else ""


def _controls(sheet: TearSheet) -> str:
    parts = []
    if sheet.controls is not None:
        parts.append(
            "<h3>Markets without an edge</h3><p>The same search, fit and gate on them: each must be refused.</p>"
        )
        parts.append(_table(sheet.controls))
    if sheet.parity is not None:
        agrees = bool((sheet.parity["difference"] == "").all())
        told = "Every byte agrees." if agrees else "NOT the same: research and live would not trade alike."
        parts.append(f"<h3>Bar by bar, as live runs it</h3><p>{told}</p>" + _table(sheet.parity))
    return section("Controls", "", "".join(parts)) if parts else ""


def _table(frame: pl.DataFrame) -> str:
    numeric = [k for k, dtype in enumerate(frame.dtypes) if dtype.is_numeric()]
    rows = [_cells(frame.columns, row) for row in frame.iter_rows()]
    return table([escape(theme.label(c)) for c in frame.columns], rows, numeric=numeric)


def _trading(sheet: TearSheet) -> str:
    parts = []
    if sheet.bars is not None and sheet.fills is not None:
        parts.append(_chart(
            "fills", figures.trades_on_price(sheet.bars, sheet.fills),
            "Fills stand at the price paid, spread and slippage included, no earlier than the open after the decision.",
        ))  # fmt: skip
    if sheet.exposure is not None:
        parts.append(_chart(
            "exposure", figures.exposure(sheet.exposure), "Signed share of equity held; above 100 % is leverage."
        ))  # fmt: skip
    if sheet.trades is not None:
        parts.append(_trades(sheet.trades))
    return section("Trading", "", "".join(parts)) if parts else ""


def _trades(trades: pl.DataFrame) -> str:
    require(trades, ("pnl",), "trades")
    known = finite_rows(trades, "pnl").sort("pnl", descending=True)
    total = float(known["pnl"].sum())
    best = float(known["pnl"].head(5).sum())
    text = (
        f"{theme.number(trades.height)} closed trades, net {theme.number(total, 'pnl')} (quote); without the best five "
    )
    text += f"{theme.number(total - best, 'pnl')}."
    half = 5 if known.height > 10 else known.height
    ends = known if half == known.height else pl.concat([known.head(half), known.tail(half)])
    return f"<p>{escape(text)}</p>" + _frame(ends, "Best and worst trades" if half < known.height else "Trades")


def _costs(sheet: TearSheet) -> str:
    rows = []
    for name, frame in sheet.equity.items():
        if not set(_COSTS) <= set(frame.columns) or frame.height < 2:
            continue
        rows.append([escape(name), *_cost_row(frame)])
    if not rows:
        return ""
    heads = [
        "Period",
        "Before costs",
        "Fees",
        "Spread and slippage",
        "Funding",
        "After costs",
        "Costs, share of gross gain",
    ]
    help_text = (
        "In quote currency; negative is paid. Before costs + fees + spread and slippage + funding = after costs. "
        "The share is n/a where there was no gross gain."
    )
    return section("Costs", help_text, table(heads, rows, numeric=range(1, len(heads))))


def _cost_row(frame: pl.DataFrame) -> list[str]:
    """Return the way from gross to net, from the start on."""
    fee, slippage, funding = (float(frame[c].cast(pl.Float64).fill_nan(0.0).sum()) for c in _COSTS)
    known = finite_rows(frame, "equity")["equity"]
    net = float(known[-1]) - float(known[0]) if known.len() else math.nan
    gross, share = gross_gain(net, fee, slippage, funding), cost_share(net, fee, slippage, funding)
    values = [theme.number(v, "pnl") for v in (gross, 0.0 - fee, 0.0 - slippage, funding, net)]
    return [*values, theme.number(share, "share")]


def _search(sheet: TearSheet) -> str:
    parts = []
    if sheet.trials is not None:
        parts.append(_chart(
            "trials", figures.trials_scatter(sheet.trials),
            "The best of many looks good even where there is nothing to find; read its height against the cloud's.",
        ))  # fmt: skip
    if sheet.importance is not None:
        parts.append(_chart(
            "importance", figures.feature_importance(sheet.importance),
            "What the fit used, not what it is worth: a column of noise also gains.",
        ))  # fmt: skip
    text = (
        f"{theme.number(sheet.trial_count)} trials were made in this build, in every search and fold. Not counted: "
        "other builds, and everything tried before this one."
    )
    return section("Search and model", text, "".join(parts)) if parts else ""


def _provenance(sheet: TearSheet) -> str:
    parts = []
    if sheet.lineage:
        parts.append(f"<h3>Data and code</h3>{mapping_table(sheet.lineage)}")
    if sheet.params:
        parts.append(f"<details open><summary>Parameters</summary>{mapping_table(sheet.params)}</details>")
    return section("Where it comes from", "", "".join(parts)) if parts else ""


def _chart(identifier: str, figure: go.Figure, reading: str) -> str:
    drawn = plotly.io.to_html(
        figure, include_plotlyjs=False, full_html=False, div_id=identifier, default_width="100%",
        default_height=f"{figure.layout.height}px", config=_CONFIG,
    )  # fmt: skip
    return chart(drawn, reading)


def _frame(frame: pl.DataFrame, summary: str) -> str:
    return f"<details><summary>{escape(summary)}</summary>{_table(frame)}</details>"


def _cells(names: Iterable[str], row: tuple[Any, ...]) -> list[str]:
    return [
        theme.number(value, name) if isinstance(value, (int, float)) and not isinstance(value, bool)
        else escape(theme.NOT_AVAILABLE if value is None else str(value))
        for name, value in zip(names, row, strict=True)
    ]  # fmt: skip
