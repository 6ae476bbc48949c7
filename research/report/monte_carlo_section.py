"""The Monte Carlo part of a page: fans, intervals with what they stand for, distributions. It draws no path."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import plotly.graph_objects as go
import polars as pl

from research.errors import InvalidInput
from research.kernel import FloatArray
from research.report import figures, theme
from research.report.grids import Grid
from research.report.page import folded, grid, paragraph, section
from research.report.series import require

# Statistics of a path that a reader asks for, with the metric whose unit they are written in.
SHOWN = {
    "total": "total_return", "sharpe": "sharpe", "profit_factor": "profit_factor", "max_drawdown": "max_drawdown",
    "lowest": "total_return", "under_water_share": "under_water_share", "longest_under_water": "trades",
}  # fmt: skip
_LABELS = {
    "total": "Return", "sharpe": "Sharpe per {unit}", "max_drawdown": "Drawdown", "lowest": "Lowest return on the way",
    "under_water_share": "Share of {unit}s under water", "longest_under_water": "Longest time under water, {unit}s",
}  # fmt: skip
_TITLES = {
    "shuffle": "Trades in another order", "bootstrap": "Trades drawn one by one", "block": "Trades drawn in stretches",
    "start": "Begun at a later trade", "rotate": "Begun at a later trade, the first ones last",
    "replayed_execution": "Orders executed again, one by one",
    "replayed_account": "Orders executed again, a backtest for each path",
}  # fmt: skip
# Drawn open: the methods that fans and gate are of; the others are there to be compared with.
_OPEN = ("block", "replayed_execution", "replayed_account")
_NEEDED = (
    "method", "unit", "statistic", "observed", "median", "low95", "high95", "low99", "high99", "stands_for", "note",
    "ruin_probability",
)  # fmt: skip

Draw = Callable[[str, go.Figure, str], str]


@dataclass(frozen=True, slots=True)
class MonteCarloPart:
    """What is shown of many paths; parts left out are left out of the page.

    Parameters
    ----------
    trades : str
        Of which trades the resampled paths are: sample and length.
    orders : str
        Of which orders the replayed paths are.
    ruin_loss_frac : float
        Loss that ``ruin_probability`` counts, a fraction of the first equity.
    fans : mapping of str to DataFrame
        ``trades`` and ``execution``: quantiles of growth of 1, see :func:`research.report.figures.monte_carlo_fan`.
    quantiles : DataFrame, optional
        As :meth:`research.validation.fan.PathsResult.table` of one or more methods, with ``unit`` and
        ``ruin_probability``.
    samples : mapping of str to array
        Statistic to one value per path: of orders executed again where its name begins with ``execution``, else of
        trades drawn in stretches.
    observed : mapping of str to float
        The same statistics without randomness.

    Raises
    ------
    InvalidInput
        If it is not said of what the paths are, or a fan has another name.
    SchemaMismatch
        If a column of the quantiles is missing.
    """

    trades: str
    orders: str
    ruin_loss_frac: float
    fans: Mapping[str, pl.DataFrame] = field(default_factory=dict)
    quantiles: pl.DataFrame | None = None
    samples: Mapping[str, FloatArray] = field(default_factory=dict)
    observed: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name, given in (("trades", self.trades), ("orders", self.orders)):
            if not given:
                raise InvalidInput(name, "must say of what the paths were drawn", given)
        for name in self.fans:
            if name not in ("trades", "execution"):
                raise InvalidInput("fans", "must be of trades and execution", name)
        if self.quantiles is not None:
            require(self.quantiles, _NEEDED, "quantiles")


def monte_carlo_section(part: MonteCarloPart | None, draw: Draw) -> str:
    """Return the section; empty without parts.

    Parameters
    ----------
    part : MonteCarloPart or None
        What is shown.
    draw : callable
        ``(identifier, figure, reading)`` to HTML.
    """
    if part is None:
        return ""
    found = [_pair(_fans(part, draw)), _intervals(part), _pair(_histograms(part, draw))]
    help_text = (
        f"Two kinds of chance, and no other. Resampled: {part.trades}, pooled: no single run above has these totals, "
        "and their drawdowns step from closed trade to closed trade and see no fall within one. Replayed: "
        f"{part.orders}, each at the prices of its drawn time. Neither invents a market that the sample has not seen."
    )
    content = "".join(found)
    return section("Monte Carlo", help_text, content) if content else ""


def _fans(part: MonteCarloPart, draw: Draw) -> list[str]:
    told = {
        "trades": ("Resampled trades", f"Of {part.trades}, drawn in stretches: the width is what luck with them does."),
        "execution": ("Orders executed again", f"Of {part.orders}: the width is what execution alone does."),
    }
    return [
        draw(f"fan-{name}", figures.monte_carlo_fan(fan, told[name][0]), told[name][1])
        for name, fan in part.fans.items()
        if not fan.is_empty()
    ]


def _histograms(part: MonteCarloPart, draw: Draw) -> list[str]:
    reading = "Where the observed value lies in the middle it is typical; the 5 % mark is the bad case to plan for."
    drawn = []
    for k, (name, values) in enumerate(part.samples.items()):
        is_replayed = name.startswith("execution")
        title = f"{theme.label(name)} over {'replayed' if is_replayed else 'resampled'} paths"
        figure = figures.monte_carlo_hist(values, name, part.observed.get(name), title)
        of = part.orders if is_replayed else f"{part.trades}, drawn in stretches"
        drawn.append(draw(f"sample-{k}", figure, f"Of {of}. {reading}"))
    return drawn


def _pair(drawn: list[str]) -> str:
    return f'<div class="pair">{"".join(drawn)}</div>' if drawn else ""


def interval_grids(part: MonteCarloPart) -> list[tuple[str, str, Grid, bool]]:
    """Return title, reading and table of each method, and whether fans and gate are of it."""
    if part.quantiles is None or part.quantiles.is_empty():
        return []
    found = []
    for (method,), rows in part.quantiles.group_by("method", maintain_order=True):
        name = str(method)
        told = next((text for text in rows["stands_for"] if text), "nothing: no statistic varies")
        ruin = _probability(float(rows["ruin_probability"][0]))
        reading = (
            f"The intervals stand for: {told}. Paths that at some time lose {100 * part.ruin_loss_frac:g} % of the "
            f"first equity: {ruin}."
        )
        cells = tuple(_cells(row) for row in rows.iter_rows(named=True) if row["statistic"] in SHOWN)
        heads = ("Statistic", "Observed", "Median", "95 % of paths", "99 % of paths")
        title = _TITLES.get(name, theme.label(name))
        found.append((title, reading, Grid(heads, cells, frozenset(range(1, 5))), name in _OPEN))
    return found


def _intervals(part: MonteCarloPart) -> str:
    """Return one table per method, under what its intervals stand for."""
    blocks = [
        folded(title, paragraph(reading, "help") + grid(content), is_open)
        for title, reading, content, is_open in interval_grids(part)
    ]
    return "<h3>Intervals, and what each stands for</h3>" + "".join(blocks) if blocks else ""


def _cells(row: Mapping[str, object]) -> tuple[str, ...]:
    statistic, unit = str(row["statistic"]), str(row["unit"])
    label = _LABELS.get(statistic, theme.label(statistic)).format(unit=unit)
    name = SHOWN[statistic]
    written = {key: theme.number(row[key], name) for key in _NEEDED[3:9]}  # type: ignore[arg-type]
    if row["note"]:
        return label, written["observed"], "", str(row["note"]), ""
    ends = [f"{written[f'low{c}']} … {written[f'high{c}']}" for c in ("95", "99")]
    return label, written["observed"], written["median"], *ends


def _probability(share: float) -> str:
    """Return a share of paths; none of them is not never."""
    return "none" if share == 0.0 else theme.number(share, "ruin_share")
