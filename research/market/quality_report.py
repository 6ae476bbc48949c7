"""A quality result as one HTML page: tables and a line of closes, no script, nothing loaded. It writes no file."""

from __future__ import annotations

from html import escape

import numpy as np
import polars as pl

from research.kernel import FloatArray
from research.market.bars import epoch_ns
from research.market.quality import QualityResult

_WIDTH, _HEIGHT = 960, 160
_POINTS = 960  # one per pixel: a longer series is drawn as the lowest and highest of each pixel
_STYLE = """
body{font:14px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:1000px;color:#1c2430;background:#fff}
h1{font-size:1.3rem}h2{font-size:1rem;margin-top:2rem}
table{border-collapse:collapse;width:100%;font-variant-numeric:tabular-nums}
th,td{padding:.25rem .6rem;border-bottom:1px solid #e3e7ee;text-align:right}
th:first-child,td:first-child,th:nth-child(2),td:nth-child(2){text-align:left}
tr.found td{background:#fff6e6}
svg{width:100%;height:auto;border:1px solid #e3e7ee;background:#fbfcfe}
p.note{color:#5b6675}
@media(prefers-color-scheme:dark){body{color:#dfe5ee;background:#12161c}th,td{border-color:#2a323d}
tr.found td{background:#3a2f16}svg{background:#171c24;border-color:#2a323d}p.note{color:#93a0b0}}
"""


def quality_html(result: QualityResult, title: str, most_rows: int = 200) -> str:
    """Return a self-contained page about a quality result.

    Parameters
    ----------
    result : QualityResult
        Of bars or of funding rows.
    title : str
        Any text; it is escaped.
    most_rows : int
        Findings listed; when there are more, the page says how many were left out.

    Returns
    -------
    str
        A whole HTML document. Writing it is the caller's.

    Examples
    --------
    >>> from research.market.quality import check_quality
    >>> from research.market.simulated import MarketSpec, simulate_market
    >>> bars = simulate_market(MarketSpec(days=1)).bars["linear", "BTCUSDT"]
    >>> page = quality_html(check_quality(bars, "1m"), "BTC & co")
    >>> "<h1>BTC &amp; co</h1>" in page, "<script" in page
    (True, False)
    """
    report = result.report
    shown = report.head(most_rows)
    left_out = report.height - shown.height
    note = f'<p class="note">{left_out} further findings are in the report but not listed.</p>' if left_out else ""
    findings = _table(shown, ()) + note if report.height else '<p class="note">None.</p>'
    found = tuple(bool(n) for n in result.summary["ranges"])
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f"<title>{escape(title)}</title><style>{_STYLE}</style></head><body>"
        f"<h1>{escape(title)}</h1><p>{escape(_extent(result.frame))}</p>{_figure(result)}"
        f"<h2>Rules</h2>{_table(result.summary, found)}<h2>Findings</h2>{findings}</body></html>\n"
    )


def _extent(frame: pl.DataFrame) -> str:
    if frame.is_empty():
        return "No rows remain."
    first, last = frame["ts"][0], frame["ts"][-1]
    price = "close" if "close" in frame.columns else "rate"
    absent = int(frame[price].is_nan().sum())
    return f"{frame.height:,} rows from {first:%Y-%m-%d %H:%M} to {last:%Y-%m-%d %H:%M} UTC, {absent:,} of them NaN."


def _table(frame: pl.DataFrame, marked: tuple[bool, ...]) -> str:
    head = "".join(f"<th>{escape(name)}</th>" for name in frame.columns)
    lines = []
    for i, row in enumerate(frame.iter_rows()):
        kind = ' class="found"' if i < len(marked) and marked[i] else ""
        lines.append(f"<tr{kind}>" + "".join(f"<td>{escape(_text(cell))}</td>" for cell in row) + "</tr>")
    return f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(lines)}</tbody></table>"


def _text(cell: object) -> str:
    if cell is None:
        return ""
    if isinstance(cell, float):
        return f"{cell:.6g}"
    if hasattr(cell, "strftime"):
        return f"{cell:%Y-%m-%d %H:%M:%S}"
    return f"{cell:,}" if isinstance(cell, int) else str(cell)


def _figure(result: QualityResult) -> str:
    """Return an SVG of closes (or rates), gaps left open, findings as ticks below."""
    frame = result.frame
    name = "close" if "close" in frame.columns else "rate"
    values = frame[name].to_numpy()
    finite = values[np.isfinite(values)]
    if finite.size < 2:
        return ""
    low, high = float(finite.min()), float(finite.max())
    span = (high - low) or 1.0
    ts = epoch_ns(frame)
    width = float(ts[-1] - ts[0]) or 1.0
    position, drawn = _thinned((ts - ts[0]) / width * _WIDTH, values)
    path, pen = [], "M"
    for x, y in zip(position, drawn, strict=True):
        if np.isfinite(y):
            path.append(f"{pen}{x:.1f} {(_HEIGHT - 20) * (1.0 - (y - low) / span) + 4:.1f}")
            pen = "L"
        else:
            pen = "M"
    ticks = []
    for row in result.report.head(1_000).iter_rows(named=True):
        at = (int(row["start_ts"].timestamp() * 1e9) - int(ts[0])) / width * _WIDTH
        label = escape(f"{row['rule']} {row['start_ts']:%Y-%m-%d %H:%M} rows {row['rows']}")
        ticks.append(f'<rect x="{at:.1f}" y="{_HEIGHT - 12}" width="2" height="10"><title>{label}</title></rect>')
    return (
        f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{name} and findings">'
        f'<path d="{"".join(path)}" fill="none" stroke="#2f6fde" stroke-width="1"/>'
        f'<g fill="#d9822b">{"".join(ticks)}</g></svg>'
        f'<p class="note">{escape(name)} from {low:.8g} to {high:.8g}; marks below: findings.</p>'
    )


def _thinned(position: FloatArray, values: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return at most two points per pixel, the lowest and the highest; a block without values stays a hole."""
    if values.size <= 2 * _POINTS:
        return position, values
    edges = np.linspace(0, values.size, _POINTS + 1).astype(np.int64)
    block_low = np.minimum.reduceat(np.where(np.isfinite(values), values, np.inf), edges[:-1])
    block_high = np.maximum.reduceat(np.where(np.isfinite(values), values, -np.inf), edges[:-1])
    both = np.stack((block_low, block_high), axis=1).ravel()
    return np.repeat(position[edges[:-1]], 2), np.where(np.isfinite(both), both, np.nan)
