"""Sections of the page about what was found and how far it can be believed. They compute nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from research.report import figures, theme
from research.report.charts import drawn_chart
from research.report.grids import (
    CAUTION,
    figures_grid,
    frame_grid,
    gate_grid,
    intervals_grid,
    selection_grid,
)
from research.report.page import cards, cells, folded, grid, mapping_table, paragraph, section, table

if TYPE_CHECKING:
    from research.report.tear_sheet import TearSheet

CARDS = (
    "total_return", "sharpe", "max_drawdown", "deflated_sharpe", "profit_factor", "round_trips", "win_rate",
    "cost_share",
)  # fmt: skip
GATE_READING = (
    "Thresholds are those of the parameters below. One check not met refuses the candidate, "
    "and a figure that is unknown is not met. The interval holds 95 % of what resampled days or trades of the same "
    "record come to; it decides nothing."
)
FIGURES_READING = (
    "Judge by the out-of-sample figures; those in sample were selected for being good, the more so the more "
    "trials. n/a is a figure that does not exist: CAGR and Calmar ratio need a year. Ratios are of daily returns, "
    "annualised with 365 days. A trade is one reduction of a position, a round trip its whole life."
)
INTERVALS_READING = (
    "Of the hold-out, with days (or trades) resampled in blocks: what chance alone makes of the same record. They "
    "know no change of regime and no choice among trials."
)
SELECTION_READING = "What choosing the best of all trials does to it."
STRESS_READING = (
    "The hold-out traded again on transformed bars and costs, decided anew where bars change. Scenarios are not "
    "forecasts, and say nothing about how likely they are."
)
STABILITY_READING = (
    "Chosen anew in each fold. What drifts, jumps over its whole range or sits at a bound was not found but drawn."
)
CONTROLS_READING = "The same search, fit and gate on them: each must be refused."


def gate(sheet: TearSheet) -> str:
    """Return the gate's checks."""
    found = gate_grid(sheet)
    where = found.headings.index("Figure")
    rows = [
        [f'<span class="tag {"passed" if row[0].startswith("✓") else "refused"}">{row[0]}</span>', *row[1:]]
        for row in (cells(row, {1, where}) for row in found.rows)
    ]
    caution = paragraph(CAUTION, "caution") if is_deceivable(sheet) else ""
    return section("Gate", GATE_READING, table(list(found.headings), rows, numeric=found.numeric) + caution)


def is_deceivable(sheet: TearSheet) -> bool:
    """Return whether a check reads a deflated Sharpe ratio or PBO, which see no leak."""
    return any(name.endswith(("pbo", "deflated_sharpe")) for name in sheet.verdict.table["figure"])


def key_figures(sheet: TearSheet) -> str:
    """Return the figures of each section, as cards and as a table, and the intervals of the hold-out's."""
    if not sheet.metrics:
        return ""
    count = theme.number(sheet.trial_count)
    blocks = []
    for name, values in sheet.metrics.items():
        chosen = [(theme.label(k), theme.number(values[k], k)) for k in CARDS if k in values]
        trials = [("Trials behind it", count)] if theme.is_out_of_sample(name) else [("Best of trials", count)]
        blocks.append(cards(name, [*chosen, *trials], muted=not theme.is_out_of_sample(name)))
    whole = folded("All figures", grid(figures_grid(sheet)), is_open=True)
    between = "" if sheet.intervals is None else (
        "<h3>95 % intervals</h3>" + paragraph(INTERVALS_READING, "help") + grid(intervals_grid(sheet.intervals))
    )  # fmt: skip
    return section("Key figures", FIGURES_READING, "".join(blocks) + between + whole)


def selection(sheet: TearSheet) -> str:
    """Return what the choice among all trials did, and what no figure of it can see."""
    if sheet.selection is None:
        return ""
    return section(
        "Selection among all trials",
        SELECTION_READING,
        paragraph(CAUTION, "caution") + grid(selection_grid(sheet.selection)),
    )


def walk_forward(sheet: TearSheet) -> str:
    """Return the folds, and how stable the parameters chosen in them are."""
    if sheet.folds is None:
        return ""
    drawn = drawn_chart(
        "folds", figures.folds_bar(sheet.folds),
        "Each fold was searched and fitted on the rows before it; grey far above colour is overfitting.",
    )  # fmt: skip
    stable = "" if sheet.stability is None else (
        f"<h3>Parameters over the folds</h3>{paragraph(STABILITY_READING, 'help')}{grid(frame_grid(sheet.stability))}"
    )  # fmt: skip
    return section("Walk-forward", "", drawn + stable + folded("Folds", grid(frame_grid(sheet.folds))))


def stress(sheet: TearSheet) -> str:
    """Return the scenarios, and the ladders of worse and worse assumptions."""
    parts = []
    if sheet.stress is not None:
        parts.append("<h3>Scenarios</h3>" + grid(frame_grid(sheet.stress)))
    if sheet.ladder is not None:
        parts.append("<h3>Worse and worse assumptions</h3>" + grid(frame_grid(sheet.ladder)))
    return section("Stress", STRESS_READING, "".join(parts)) if parts else ""


def controls(sheet: TearSheet) -> str:
    """Return the markets without an edge, and the proof bar by bar."""
    parts = []
    if sheet.controls is not None:
        parts.append(f"<h3>Markets without an edge</h3>{paragraph(CONTROLS_READING, 'help')}")
        named = frame_grid(sheet.controls)
        parts.append(grid(named, {k for k in range(len(named.headings)) if k not in named.numeric}))
    if sheet.parity is not None:
        parts.append(f"<h3>Bar by bar, as live runs it</h3>{paragraph(parity_says(sheet), 'help')}")
        parts.append(grid(frame_grid(sheet.parity)))
    return section("Controls", "", "".join(parts)) if parts else ""


def parity_says(sheet: TearSheet) -> str:
    """Return whether research and live agree, in words; empty where they were not compared."""
    if sheet.parity is None:
        return ""
    agrees = bool((sheet.parity["difference"] == "").all())
    return "Every byte agrees." if agrees else "NOT the same: research and live would not trade alike."


def search(sheet: TearSheet) -> str:
    """Return the trials, and what the fit used."""
    parts = []
    if sheet.trials is not None:
        parts.append(drawn_chart(
            "trials", figures.trials_scatter(sheet.trials),
            "The best of many looks good even where there is nothing to find; read its height against the cloud's.",
        ))  # fmt: skip
    if sheet.importance is not None:
        parts.append(drawn_chart(
            "importance", figures.feature_importance(sheet.importance),
            "What the fit used, not what it is worth: a column of noise also gains.",
        ))  # fmt: skip
    text = (
        f"{trials_said(sheet)}: searches, folds, sweeps and earlier builds. Not counted: what was tried by eye, or "
        "elsewhere."
    )
    return section("Search and model", text, "".join(parts)) if parts else ""


def trials_said(sheet: TearSheet) -> str:
    """Return how many trials there were, in words."""
    if sheet.trial_count == 0:
        return "no trials recorded"
    return f"{theme.number(sheet.trial_count)} trials that the ledger knows of on this market"


def provenance(sheet: TearSheet) -> str:
    """Return where data, code and parameters come from."""
    parts = []
    if sheet.lineage:
        parts.append(f"<h3>Data and code</h3>{mapping_table(sheet.lineage)}")
    if sheet.params:
        parts.append(folded("Parameters", mapping_table(sheet.params), is_open=True))
    return section("Where it comes from", "", "".join(parts)) if parts else ""
