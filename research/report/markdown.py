"""A tear sheet's words and tables as GitHub Markdown, for where a page cannot be opened. It draws no figure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from research.report import account_sections as account
from research.report import evidence_sections as evidence
from research.report import theme
from research.report.grids import (
    CAUTION,
    DISCLAIMER,
    Grid,
    costs_grid,
    figures_grid,
    frame_grid,
    gate_grid,
    intervals_grid,
    selection_grid,
)
from research.report.monte_carlo_section import interval_grids
from research.report.page import flat

if TYPE_CHECKING:
    from research.report.tear_sheet import TearSheet


def markdown_report(sheet: TearSheet) -> str:
    """Return a tear sheet as Markdown, the verdict first.

    Parameters
    ----------
    sheet : TearSheet
        As :func:`research.report.tear_sheet` takes it. Parameters are left out: they are logged as such.

    Returns
    -------
    str
        Headings, paragraphs and GitHub tables, the same for the same input. What was given is escaped: it cannot open
        a cell, a link or an element.
    """
    parts = [_verdict(sheet), _notes(sheet), _gate(sheet), _figures(sheet), _selection(sheet), _walk_forward(sheet)]
    parts += [_stress(sheet), _controls(sheet), _resampled(sheet), _account(sheet), _parity(sheet), _lineage(sheet)]
    parts.append(f"*{DISCLAIMER}*")
    return "\n\n".join(part for part in parts if part) + "\n"


def grid_text(content: Grid) -> str:
    r"""Return a table in GitHub's form.

    Examples
    --------
    >>> print(grid_text(Grid(("a", "b"), (("x | y", "1"),), frozenset({1}))))
    | a | b |
    | --- | ---: |
    | x \| y | 1 |
    """
    sides = ["---:" if k in content.numeric else "---" for k in range(len(content.headings))]
    lines = [[escaped(h) or " " for h in content.headings], sides, *([escaped(c) for c in row] for row in content.rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def escaped(text: str) -> str:
    r"""Return text that is text in Markdown too.

    Examples
    --------
    >>> print(escaped("<b> *x* `y` [z](w) a_b | c"))
    &lt;b&gt; \*x\* \`y\` \[z\](w) a\_b \| c
    """
    out = " ".join(text.split()).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    for sign in ("\\", "`", "*", "_", "[", "]", "|"):
        out = out.replace(sign, f"\\{sign}")
    return out


def _verdict(sheet: TearSheet) -> str:
    passed, total = int(sheet.verdict.table["passed"].sum()), sheet.verdict.table.height
    kind, sign = ("passed", "✓") if sheet.verdict.passed else ("refused", "✗")
    said = f"**{sign} Gate {kind}**: {passed} of {total} checks met, {evidence.trials_said(sheet)}."
    return f"# {escaped(sheet.title)}\n\n{said}\n\n{escaped(sheet.subtitle)}"


def _notes(sheet: TearSheet) -> str:
    return "## Read first\n\n" + "\n".join(f"- {escaped(n)}" for n in sheet.notes) if sheet.notes else ""


def _gate(sheet: TearSheet) -> str:
    caution = f"\n\n> {escaped(CAUTION)}" if evidence.is_deceivable(sheet) else ""
    return _section("Gate", evidence.GATE_READING, gate_grid(sheet)) + caution


def _figures(sheet: TearSheet) -> str:
    if not sheet.metrics:
        return ""
    whole = _section("Key figures", evidence.FIGURES_READING, figures_grid(sheet))
    if sheet.intervals is None:
        return whole
    return whole + "\n\n" + _part("95 % intervals", evidence.INTERVALS_READING, intervals_grid(sheet.intervals))


def _selection(sheet: TearSheet) -> str:
    if sheet.selection is None:
        return ""
    return _section("Selection among all trials", CAUTION, selection_grid(sheet.selection))


def _walk_forward(sheet: TearSheet) -> str:
    parts = [] if sheet.folds is None else [_part("Folds", "", frame_grid(sheet.folds))]
    if sheet.stability is not None:
        parts.append(_part("Parameters over the folds", evidence.STABILITY_READING, frame_grid(sheet.stability)))
    return _under("Walk-forward", "", parts)


def _stress(sheet: TearSheet) -> str:
    parts = [] if sheet.stress is None else [_part("Scenarios", "", frame_grid(sheet.stress))]
    if sheet.ladder is not None:
        parts.append(_part("Worse and worse assumptions", "", frame_grid(sheet.ladder)))
    return _under("Stress", evidence.STRESS_READING, parts)


def _controls(sheet: TearSheet) -> str:
    if sheet.controls is None:
        return ""
    return _section("Markets without an edge", evidence.CONTROLS_READING, frame_grid(sheet.controls))


def _resampled(sheet: TearSheet) -> str:
    if sheet.monte_carlo is None:
        return ""
    parts = [
        _part(title, reading, content)
        for title, reading, content, is_told in interval_grids(sheet.monte_carlo)
        if is_told
    ]
    reading = f"Resampled: {sheet.monte_carlo.trades}. Replayed: {sheet.monte_carlo.orders}."
    return _under("Monte Carlo", reading, parts)


def _account(sheet: TearSheet) -> str:
    parts = []
    for name, frame in sheet.equity.items():
        if theme.is_out_of_sample(name):
            parts.append(_part(f"Deepest drawdowns: {name}", "", account.drawdowns_grid(frame)))
            parts.append(_part(f"Months: {name}", "", account.months_grid(frame)))
    costs = costs_grid(sheet.equity)
    if costs is not None:
        parts.append(_part("Costs", account.COSTS_READING, costs))
    if sheet.trades is not None:
        parts.append(f"### Closed trades\n\n{escaped(account.trades_say(sheet.trades))}")
        parts += [_part(heading, "", content) for heading, content in account.trade_grids(sheet.trades)]
    if sheet.daily is not None:
        parts.append(_part("Daily record, by month", account.DAYS_READING, account.daily_grids(sheet.daily)[0]))
    return _under("Account", "", parts)


def _parity(sheet: TearSheet) -> str:
    if sheet.parity is None:
        return ""
    return _section("Bar by bar, as live runs it", evidence.parity_says(sheet), frame_grid(sheet.parity))


def _lineage(sheet: TearSheet) -> str:
    if not sheet.lineage:
        return ""
    content: Mapping[str, object] = sheet.lineage
    return _section("Where it comes from", "", Grid(("Name", "Value"), tuple(flat(content))))


def _under(title: str, reading: str, parts: list[str]) -> str:
    head = f"## {title}" + (f"\n\n{escaped(reading)}" if reading else "")
    return "\n\n".join((head, *parts)) if parts else ""


def _section(title: str, reading: str, content: Grid) -> str:
    return _under(title, reading, [grid_text(content)])


def _part(title: str, reading: str, content: Grid) -> str:
    return "\n\n".join(t for t in (f"### {escaped(title)}", escaped(reading), grid_text(content)) if t)
