"""One self-contained page about a candidate, from frames to HTML. It computes no figure of merit and writes no file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from html import escape
from typing import Any

import polars as pl

from research.errors import InvalidInput
from research.report import account_sections, evidence_sections, theme
from research.report.charts import drawn_chart as _chart
from research.report.charts import library, state
from research.report.grids import COSTS, DISCLAIMER
from research.report.monte_carlo_section import MonteCarloPart, monte_carlo_section
from research.report.page import STYLE, section
from research.report.series import require
from research.validation.gate import GateVerdict


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
        Every parameter set that the ledger knows of on this market. Always shown.
    metrics : mapping of str to mapping
        Section name to figures. A section's name ends in ``(out of sample)`` or ``(in sample)``.
    equity : mapping of str to DataFrame
        Section name, as above, to ``ts``, ``equity`` and optionally ``fee``, ``slippage`` (paid per bar) and
        ``funding`` (received per bar), quote currency, and ``fold``, drawn as shades. The first row is the start: the
        equity before the first bar, its costs 0.
    folds, trials, importance, exposure, bars, fills : DataFrame, optional
        As the functions of :mod:`research.report.figures` take them.
    trades : DataFrame, optional
        Closed trades of the first section: ``pnl`` (net, quote currency) and any other columns. With ``side``,
        ``entry_ts`` or ``holding_ns`` they are told apart by it.
    daily : DataFrame, optional
        A daily record of the first section, see :func:`research.report.daily_record.daily_record`.
    intervals : DataFrame, optional
        ``figure``, ``value``, ``low``, ``high``: the first section's figures with their 95 % intervals.
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
    daily: pl.DataFrame | None = None
    intervals: pl.DataFrame | None = None
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
            paid = [c for c in COSTS if c in frame.columns and frame.height and frame[c][0] != 0.0]
            if paid:
                raise InvalidInput(f"equity {name!r}.{paid[0]}[0]", "must be 0 at the start", frame[paid[0]][0])
        if self.trial_count < 0:
            raise InvalidInput("trial_count", "must not be negative", self.trial_count)
        require(self.verdict.table, ("check", "figure", "rule", "threshold", "passed", "reason"), "verdict.table")
        if self.verdict.passed != self.verdict.table["passed"].all():
            raise InvalidInput("verdict.passed", "must be what its table says", self.verdict.passed)


def tear_sheet(sheet: TearSheet) -> str:
    """Return a page that opens offline: plotly.js is embedded once, compressed, and nothing is fetched.

    Parameters
    ----------
    sheet : TearSheet
        Frames may be long: what is drawn of them is thinned.

    Returns
    -------
    str
        HTML, the same for the same input.
    """
    evidence, account = evidence_sections, account_sections
    parts = (
        _notes(sheet), evidence.gate(sheet), evidence.key_figures(sheet), evidence.selection(sheet),
        account.equity(sheet), evidence.walk_forward(sheet), monte_carlo_section(sheet.monte_carlo, _chart),
        evidence.stress(sheet), evidence.controls(sheet), account.trading(sheet), account.costs(sheet),
        account.days(sheet),
        evidence.search(sheet), evidence.provenance(sheet),
    )  # fmt: skip
    body = "\n".join(part for part in parts if part)
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(sheet.title)}</title><style>{STYLE}</style>"
        f"</head><body>\n{_header(sheet)}\n<main>\n{state()}\n{body}\n</main>\n"
        f"<footer>{escape(DISCLAIMER)}</footer>\n{library()}\n</body></html>\n"
    )


def _header(sheet: TearSheet) -> str:
    passed, total = int(sheet.verdict.table["passed"].sum()), sheet.verdict.table.height
    kind, sign = ("passed", "✓") if sheet.verdict.passed else ("refused", "✗")
    trials = evidence_sections.trials_said(sheet)
    return (
        f"<header><div><h1>{escape(sheet.title)}</h1><p>{escape(sheet.subtitle)}</p></div>"
        f'<div class="verdict {kind}"><b>{sign} Gate {kind}</b>'
        f"<span>{passed} of {total} checks met · {trials}</span></div></header>"
    )


def _notes(sheet: TearSheet) -> str:
    items = "".join(f"<li>{escape(n)}</li>" for n in sheet.notes)
    return section("Read first", "", f"<ul>{items}</ul>") if items else ""
