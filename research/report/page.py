"""The parts that a page is built of: style, sections, tables, cards. It knows no figure and no strategy.

Headings and cells of :func:`table` are HTML, escaped by the caller; every other text is escaped here.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from html import escape
from typing import Any

from research.report import theme
from research.report.grids import Grid

SHORT = 20  # characters up to which a cell stays on one line
LONG = 48  # characters from which a column of text keeps a width to be read at, and the table scrolls instead

STYLE = f"""
:root {{ --ink: {theme.INK}; --soft: #52606d; --line: {theme.GRID}; --ground: #f5f7fa;
  --good: #00694d; --bad: #a34700; }}
* {{ box-sizing: border-box; }}
body {{ margin: 0; background: var(--ground); color: var(--ink); font: 15px/1.5 {theme.FONT}; }}
header {{ display: flex; flex-wrap: wrap; gap: 16px; justify-content: space-between; align-items: center;
  padding: 24px max(24px, calc(50% - 596px)); background: #ffffff; border-bottom: 1px solid var(--line); }}
h1 {{ margin: 0; font-size: 26px; line-height: 1.25; }}
header p {{ margin: 4px 0 0; color: var(--soft); }}
h2 {{ margin: 0 0 4px; font-size: 19px; }}
h3 {{ margin: 16px 0 8px; font-size: 15px; }}
main {{ max-width: 1240px; margin: 0 auto; padding: 16px 24px; }}
section {{ background: #ffffff; border: 1px solid var(--line); border-radius: 8px;
  padding: 20px 24px; margin: 16px 0; }}
.help, figcaption {{ color: var(--soft); margin: 0 0 12px; max-width: 90ch; font-size: 14px; }}
figure {{ margin: 12px 0 20px; min-width: 0; }}
.pair {{ display: grid; grid-template-columns: minmax(0, 1fr) minmax(0, 1fr); gap: 0 24px; }}
@media (max-width: 960px) {{ .pair {{ grid-template-columns: minmax(0, 1fr); }} }}
header > div:first-child {{ flex: 1 1 320px; }}
.verdict {{ padding: 10px 18px; border-radius: 8px; border: 2px solid; max-width: 420px; }}
.verdict b {{ display: block; font-size: 20px; }}
.passed {{ color: var(--good); border-color: var(--good); background: #e6f5f0; }}
.refused {{ color: var(--bad); border-color: var(--bad); background: #fdf0e7; }}
.tag {{ display: inline-block; padding: 1px 8px; border-radius: 10px; white-space: nowrap; font-size: 13px;
  font-weight: 600; }}
.scroll {{ overflow-x: auto; margin: 0 0 12px; }}
table {{ border-collapse: collapse; width: 100%; font-size: 14px; font-variant-numeric: tabular-nums; }}
th {{ text-align: left; font-weight: 600; color: var(--soft); border-bottom: 2px solid var(--line);
  padding: 6px 12px 6px 0; vertical-align: bottom; }}
td {{ border-bottom: 1px solid var(--line); padding: 6px 12px 6px 0; vertical-align: top; overflow-wrap: break-word; }}
td.n, th.n {{ text-align: right; }}
td.n, td.s {{ white-space: nowrap; }}
th.n {{ min-width: 5.5em; }}
td.n + td:not(.n), th.n + th:not(.n) {{ padding-left: 12px; }}
td.t, th.t {{ min-width: 24ch; }}
td {{ min-width: 9ch; }}
td.n, td.s {{ min-width: 0; }}
table.pairs td {{ overflow-wrap: anywhere; }}
table.pairs td:first-child {{ color: var(--soft); width: 34%; }}
.cards {{ display: grid; grid-template-columns: repeat(auto-fit, minmax(128px, 1fr)); gap: 10px; margin: 6px 0 18px; }}
.card {{ border: 1px solid var(--line); border-top: 3px solid {theme.BLUE}; border-radius: 6px; padding: 8px 12px; }}
.card b {{ display: block; font-size: 21px; font-variant-numeric: tabular-nums; white-space: nowrap; }}
.card span {{ color: var(--soft); font-size: 13px; }}
.muted .card {{ border-top-color: #cbd2d9; color: var(--soft); }}
summary {{ cursor: pointer; font-weight: 600; padding: 6px 0; }}
footer {{ max-width: 1240px; margin: 0 auto; padding: 8px 24px 32px; color: var(--soft); font-size: 13px; }}
.plot {{ width: 100%; }}
h4 {{ margin: 0 0 2px; font-size: 15px; font-weight: 600; }}
#figures-state {{ background: #fdf0e7; color: var(--bad); border: 1px solid; border-radius: 6px; padding: 8px 14px; }}
.caption {{ margin: 12px 0 4px; font-weight: 600; }}
.caution {{ border-left: 3px solid {theme.ORANGE}; padding: 2px 0 2px 12px; margin: 8px 0 14px; max-width: 90ch; }}
@media (max-width: 600px) {{
  body {{ font-size: 14px; }}
  header {{ padding: 16px; gap: 10px; }}
  h1 {{ font-size: 21px; }}
  .verdict {{ width: 100%; max-width: none; }}
  main {{ padding: 4px 8px; }}
  section {{ padding: 14px 12px; margin: 10px 0; }}
  .cards {{ grid-template-columns: repeat(2, minmax(0, 1fr)); gap: 8px; }}
  .card b {{ font-size: 18px; }}
  table {{ font-size: 13px; }}
  .scroll td:first-child, .scroll th:first-child {{ position: sticky; left: 0; background: #ffffff; }}
  table.pairs td {{ display: block; width: auto; border: 0; padding: 0 0 4px; }}
  table.pairs tr {{ display: block; border-bottom: 1px solid var(--line); padding: 4px 0; }}
  table.pairs td:first-child {{ width: auto; }}
}}
@page {{ size: A4; margin: 14mm 14mm 16mm; }}
@media print {{
  body {{ background: #ffffff; font-size: 10pt; }}
  header {{ padding: 0 0 10px; }}
  main, footer {{ max-width: none; padding: 0; }}
  section {{ border: 0; border-radius: 0; border-top: 1px solid var(--line); padding: 10px 0; margin: 0; }}
  h2, h3, h4, summary, .help, .caption {{ break-after: avoid; }}
  p, li {{ break-inside: avoid; }}
  figure, tr, .card, .cards, .verdict {{ break-inside: avoid; }}
  thead {{ display: table-header-group; }}
  .scroll {{ overflow: visible; }}
  table {{ font-size: 7.5pt; }}
  th, td {{ padding: 3px 6px 3px 0; }}
  th.n {{ min-width: 0; }}
  td, td.t, th.t {{ min-width: 0; }}
  td {{ overflow-wrap: anywhere; }}
  .pair {{ grid-template-columns: minmax(0, 1fr) minmax(0, 1fr); gap: 0 24px; }}
  .modebar {{ display: none !important; }}
  * {{ -webkit-print-color-adjust: exact; print-color-adjust: exact; }}
}}
"""


def section(title: str, reading: str, content: str) -> str:
    """Return a section; ``content`` is HTML."""
    help_text = f'<p class="help">{escape(reading)}</p>' if reading else ""
    return f"<section><h2>{escape(title)}</h2>{help_text}{content}</section>"


def table(headings: Sequence[str], rows: Iterable[Sequence[str]], numeric: Collection[int] = ()) -> str:
    """Return a table of HTML cells; the columns in ``numeric`` stand right-aligned."""
    rows = list(rows)
    side = [' class="n"' if k in numeric else "" for k in range(len(headings))]
    for k in range(len(headings)):
        longest = max((len(row[k]) for row in rows), default=0)
        if not side[k] and (longest > LONG or longest <= SHORT):
            side[k] = ' class="t"' if longest > LONG else ' class="s"'
    head = "".join(f"<th{side[k]}>{text}</th>" for k, text in enumerate(headings))
    body = "".join(
        "<tr>" + "".join(f"<td{side[k]}>{cell}</td>" for k, cell in enumerate(row)) + "</tr>" for row in rows
    )
    return f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'


def grid(content: Grid, breakable: Collection[int] = ()) -> str:
    """Return a table of text, escaped; in the columns of ``breakable`` a long name may break at its dots and dashes.

    Examples
    --------
    >>> ">a &lt; b</td>" in grid(Grid(("x",), (("a < b",),)))
    True
    """
    rows = [cells(row, breakable) for row in content.rows]
    return table([escape(h) for h in content.headings], rows, numeric=content.numeric)


def cells(row: Sequence[str], breakable: Collection[int] = ()) -> list[str]:
    """Return a row of text as cells of HTML, as :func:`grid` has them."""
    return [
        escape(text).replace(".", ".<wbr>").replace("_", "_<wbr>") if k in breakable else escape(text)
        for k, text in enumerate(row)
    ]


def paragraph(text: str, kind: str = "") -> str:
    """Return a paragraph of text, of a class of the style where one is named."""
    opened = f'<p class="{escape(kind)}">' if kind else "<p>"
    return f"{opened}{escape(text)}</p>"


def folded(summary: str, content: str, is_open: bool = False) -> str:
    """Return HTML that a reader opens; ``content`` is HTML."""
    return f"<details{' open' if is_open else ''}><summary>{escape(summary)}</summary>{content}</details>"


def mapping_table(values: Mapping[str, Any]) -> str:
    """Return a mapping as two columns, nested mappings under dotted names.

    Examples
    --------
    >>> "<td>a.b</td><td>1 &lt; 2</td>" in mapping_table({"a": {"b": "1 < 2"}})
    True
    """
    rows = "".join(f"<tr><td>{escape(name)}</td><td>{escape(text)}</td></tr>" for name, text in flat(values))
    return f'<div class="scroll"><table class="pairs"><tbody>{rows}</tbody></table></div>'


def cards(title: str, values: Iterable[tuple[str, str]], muted: bool = False) -> str:
    """Return figures as cards under a heading."""
    drawn = "".join(f'<div class="card"><span>{escape(k)}</span><b>{escape(v)}</b></div>' for k, v in values)
    return f'<h3>{escape(title)}</h3><div class="cards{" muted" if muted else ""}">{drawn}</div>'


def flat(values: Mapping[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    """Return nested mappings as (dotted name, text)."""
    rows: list[tuple[str, str]] = []
    for key, value in values.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping) and value:
            rows += flat(value, f"{name}.")
        else:
            rows.append((name, _text(value)))
    return rows


def _text(value: Any) -> str:
    if value is None:
        return "none"
    if isinstance(value, float):
        return theme.NOT_AVAILABLE if value != value or value in (float("inf"), float("-inf")) else f"{value:g}"
    if isinstance(value, (list, tuple)):
        return ", ".join(_text(v) for v in value)
    return str(value)
