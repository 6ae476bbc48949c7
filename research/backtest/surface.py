"""A sweep's table looked at: best rows, one parameter or two at a time, peaks and plateaus; it runs no backtest."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np
import polars as pl

from research.backtest.neighbours import direction, is_ordered, metric_of, parameters_of
from research.backtest.plateau import TOLERANCE, Plateau, neighbourhoods, plateau
from research.errors import InvalidInput

if TYPE_CHECKING:
    import plotly.graph_objects as go

Reduce = Literal["median", "mean", "max", "min"]
WRITTEN_CELLS = 150  # more values than this cannot be read in their cells
INK, BLUE, GREY = "#1f2933", "#0072B2", "#7b8794"
MAX_CELLS = 250_000  # 3 MB of a page, drawn in 2 s; draws at random have a row and a column of their own each
# Losses orange, gains blue, nothing white; of one sign alone, from white at one end.
DIVERGING = [[0.0, "#b34700"], [0.25, "#eb9a62"], [0.5, "#f7f7f7"], [0.75, "#74add1"], [1.0, "#08519c"]]
LOSSES = [[0.0, "#b34700"], [0.5, "#eb9a62"], [1.0, "#f7f7f7"]]
GAINS = [[0.0, "#f7f7f7"], [0.5, "#74add1"], [1.0, "#08519c"]]


def best(
    table: pl.DataFrame, metric: str, n: int = 1, where: pl.Expr | None = None, min_trades: int = 0
) -> pl.DataFrame:
    """Return the best rows of a sweep by a metric.

    The best of many is better than it will be again: :func:`plateau` asks whether its neighbours agree, and
    :func:`research.validation.deflated_sharpe_ratio` what the number of trials alone explains.

    Parameters
    ----------
    table : polars.DataFrame
        One row per combination.
    metric : str
        Column to sort by, its direction by :func:`research.backtest.neighbours.direction`. NaN and null come last.
    n : int
        Rows to return, at least 1.
    where : polars.Expr, optional
        Rows to choose from.
    min_trades : int
        Leaves out rows with fewer in the column ``trades``; 0 asks for no such column.

    Returns
    -------
    polars.DataFrame
        At most ``n`` rows, best first; of equals in the order of the table. Empty if no row qualifies.

    Raises
    ------
    InvalidInput
        If the table is empty, a column is missing or holds no numbers, or ``n`` is below 1.

    Examples
    --------
    >>> table = pl.DataFrame({"rule.a": [1, 2, 3], "max_drawdown": [-0.3, -0.1, -0.01], "trades": [90, 80, 2]})
    >>> best(table, "max_drawdown", min_trades=30).row(0)
    (2, -0.1, 80)
    """
    if table.is_empty():
        raise InvalidInput("table", "must have at least one row", 0)
    if n < 1:
        raise InvalidInput("n", "must be at least 1", n)
    key = pl.Series("key", metric_of(table, metric)).fill_nan(None)
    kept = pl.repeat(True, pl.len()) if where is None else where
    if min_trades > 0:
        metric_of(table, "trades")
        kept = kept & (pl.col("trades") >= min_trades)
    rows = table.select(row=pl.int_range(pl.len()).filter(kept))
    order = rows.with_columns(key.gather(rows["row"]))
    order = order.sort("key", descending=direction(metric) > 0, nulls_last=True, maintain_order=True)
    return table[order["row"].head(n)]


@dataclass(frozen=True)
class Surface:
    """A metric over the parameters of a sweep.

    Parameters
    ----------
    table : polars.DataFrame
        One row per combination, in any order: parameter columns (numbers, booleans, strings) and metrics.
    metric : str
        The metric meant where a method is given none.
    params : sequence of str, optional
        Parameter columns; without it those with a dot in their name, as a sweep names them.

    Raises
    ------
    InvalidInput
        If the table is empty, a column is missing or of another kind, or two rows are the same combination.

    Examples
    --------
    >>> table = pl.DataFrame({"fast.length": [5, 5, 9, 9], "slow.length": [20, 50, 20, 50], "sharpe": [1.0, 2, 3, 4]})
    >>> surface = Surface(table)
    >>> surface.params, surface.best().row(0)
    (('fast.length', 'slow.length'), (9, 50, 4.0))
    >>> surface.cells("fast.length", "slow.length")["sharpe"].to_list()
    [1.0, 3.0, 2.0, 4.0]
    """

    table: pl.DataFrame
    metric: str = "sharpe"
    params: Sequence[str] | None = None

    def __post_init__(self) -> None:
        """Check the table, and put its rows in the order of the parameters."""
        names = parameters_of(self.table, self.params)
        object.__setattr__(self, "params", names)
        self._values(self.metric)
        object.__setattr__(self, "table", self.table.sort(names))

    @property
    def varied(self) -> tuple[str, ...]:
        """Parameters with more than one value."""
        return tuple(name for name in self._names if self.table[name].n_unique() > 1)

    def best(
        self, n: int = 1, where: pl.Expr | None = None, min_trades: int = 0, metric: str | None = None
    ) -> pl.DataFrame:
        """Return the best rows, of equals those with the least parameters first; see :func:`best`."""
        return best(self.table, metric or self.metric, n, where, min_trades)

    def plateau(
        self,
        at: Mapping[str, Any] | None = None,
        steps: int = 1,
        tolerance: float = TOLERANCE,
        metric: str | None = None,
    ) -> Plateau:
        """Judge one point, the best if none is given, by its neighbours; see :func:`plateau`."""
        return plateau(self.table, self._names, metric or self.metric, at, steps, tolerance)

    def neighbourhoods(self, steps: int = 1, tolerance: float = TOLERANCE, metric: str | None = None) -> pl.DataFrame:
        """Return every point beside its neighbours; see :func:`neighbourhoods`."""
        return neighbourhoods(self.table, self._names, metric or self.metric, steps, tolerance)

    def cells(self, x: str, y: str, metric: str | None = None, reduce: Reduce = "median") -> pl.DataFrame:
        """Return a metric over two parameters, the others reduced.

        Parameters
        ----------
        x, y : str
            Parameters.
        metric : str, optional
            Without it the surface's.
        reduce : str
            ``median``, ``mean``, ``max`` or ``min`` over the combinations of a cell. ``max`` shows what choosing the
            others afterwards would have given, which nobody can trade.

        Returns
        -------
        polars.DataFrame
            Columns ``x`` and ``y`` by their names, the metric (NaN where no combination has one) and
            ``combinations`` (with a metric); sorted by y, then x. Cells without a row are left out.
        """
        metric = metric or self.metric
        for name in (x, y):
            if name not in self._names:
                raise InvalidInput("parameter", f"must be one of {', '.join(self._names)}", name)
        if x == y:
            raise InvalidInput("y", "must not be x", y)
        if reduce not in get_args(Reduce):
            raise InvalidInput("reduce", f"must be one of {', '.join(get_args(Reduce))}", reduce)
        known = self.table.select(x, y, self._values(metric))
        reduced = getattr(pl.col(metric), reduce)().fill_null(float("nan"))
        return known.group_by(x, y).agg(reduced, combinations=pl.col(metric).count()).sort(y, x)

    def slices(self, metric: str | None = None) -> pl.DataFrame:
        """Return a metric's distribution at each value of each parameter that varies, all others taken together.

        Returns
        -------
        polars.DataFrame
            One row per parameter and value, in order: ``param``, ``value`` (as text), ``number`` (null for booleans
            and strings), ``combinations`` (with a metric), ``lower`` and ``upper`` (quartiles, linearly interpolated),
            ``median``, ``best``; NaN where no combination has a metric.
        """
        metric = metric or self.metric
        values, at = self._values(metric), pl.col(metric)
        figures = {
            "combinations": at.count(), "lower": at.quantile(0.25, "linear"), "median": at.median(),
            "upper": at.quantile(0.75, "linear"), "best": at.max() if direction(metric) > 0 else at.min(),
        }  # fmt: skip
        parts = []
        for name in self.varied:
            part = self.table.select(name, values).group_by(name).agg(**figures).sort(name)
            texts = pl.Series("value", _texts(part[name]), dtype=pl.String)
            number = part[name].cast(pl.Float64) if is_ordered(part[name]) else pl.lit(None, pl.Float64)
            parts.append(part.select(pl.lit(name).alias("param"), texts, number.alias("number"), *figures))
        if not parts:
            raise InvalidInput("table", "must have a parameter with more than one value", list(self._names))
        return pl.concat(parts).with_columns(pl.col("lower", "median", "upper", "best").fill_null(float("nan")))

    def heat_map(self, x: str, y: str, metric: str | None = None, reduce: Reduce = "median") -> go.Figure:
        """Draw :meth:`cells`, values written where they are few, the best cell marked.

        Values stand at equal distances, whatever lies between them: a step of the grid is a step of the figure.

        Raises
        ------
        InvalidInput
            As :meth:`cells` does, and if there are more than 250,000 cells: values drawn at random want rounding.
        """
        import plotly.graph_objects as go

        metric = metric or self.metric
        cells = self.cells(x, y, metric, reduce)
        across, down = (self.table[name].unique().sort() for name in (x, y))
        if len(across) * len(down) > MAX_CELLS:
            raise InvalidInput(f"{x} x {y}", f"must have at most {MAX_CELLS} cells", len(across) * len(down))
        grid = np.full((len(down), len(across)), np.nan)
        column, row = (
            values.to_frame().with_row_index("place").join(cells.select(name), on=name, how="right")["place"].to_numpy()
            for name, values in ((x, across), (y, down))
        )
        grid[row, column] = cells[metric].to_numpy()
        grid[~np.isfinite(grid)] = np.nan
        xs, ys = _texts(across), _texts(down)
        written = grid.size <= WRITTEN_CELLS
        figure = go.Figure(
            go.Heatmap(
                x=xs, y=ys, z=grid, xgap=1 if written else 0, ygap=1 if written else 0, hoverongaps=False,
                text=[["" if v != v else f"{v:.3g}" for v in line] for line in grid] if written else None,
                texttemplate="%{text}" if written else None, colorbar={"thickness": 12, "title": {"text": metric}},
                hovertemplate=f"{x} %{{x}}<br>{y} %{{y}}<br>{metric} %{{z:.4g}}<extra></extra>", **_scale(grid, metric),
            )
        )  # fmt: skip
        score = direction(metric) * grid
        if np.isfinite(score).any():
            i, j = (int(k) for k in np.unravel_index(np.nanargmax(score), grid.shape))
            _mark(figure, i, j, xs[j], ys[i], written)
        others = len(self.varied) - sum(name in self.varied for name in (x, y))
        of = f"{reduce} over {others} other parameter{'s' if others > 1 else ''}" if others else "each combination"
        figure.update_xaxes(title=x, type="category", showgrid=False, categoryorder="array", categoryarray=xs)
        figure.update_yaxes(title=y, type="category", showgrid=False, categoryorder="array", categoryarray=ys)
        return _finish(figure, f"{metric}: {of}, best marked", 140 + min(max(30 * len(down), 180), 640))

    def plot_slices(self, metric: str | None = None) -> go.Figure:
        """Draw :meth:`slices`: per parameter the median, the quartiles as a band or bars, and the best, dotted."""
        from plotly.subplots import make_subplots

        metric = metric or self.metric
        slices = self.slices(metric)
        across = min(3, len(self.varied))
        down = -(-len(self.varied) // across)
        figure = make_subplots(
            rows=down, cols=across, shared_yaxes="all", subplot_titles=self.varied, horizontal_spacing=0.03,
            vertical_spacing=0.28 / down,
        )  # fmt: skip
        for k, name in enumerate(self.varied):
            part = slices.filter(pl.col("param") == name)
            for trace in _slice_traces(part, is_ordered(self.table[name])):
                figure.add_trace(trace, row=k // across + 1, col=k % across + 1)
        figure.update_yaxes(title_text=metric, col=1)
        figure.update_xaxes(zeroline=False)
        title = f"{metric} at each value: median, quartiles (shaded), best (dotted)"
        return _finish(figure, title, 130 + 250 * down)

    @property
    def _names(self) -> tuple[str, ...]:
        return tuple(self.params or ())

    def _values(self, metric: str) -> pl.Series:
        """Return a metric, null where it does not exist, so that polars leaves it out."""
        if metric in self._names:
            raise InvalidInput("metric", "must not be a parameter", metric)
        return pl.Series(metric, metric_of(self.table, metric)).fill_nan(None)


def _texts(values: pl.Series) -> list[str]:
    """Return distinct values as distinct texts, six digits where they are enough."""
    if not values.dtype.is_float():
        return [str(value) for value in values.to_list()]
    short = [f"{value:.6g}" for value in values.to_list()]
    return short if len(set(short)) == len(short) else [repr(value) for value in values.to_list()]


def _scale(grid: np.ndarray, metric: str) -> dict[str, Any]:
    """Return colours: about nothing where there are gains and losses; where less is better, darker is better too."""
    finite = grid[np.isfinite(grid)]
    if finite.size and finite.min() < 0.0 < finite.max():
        largest = float(np.abs(finite).max())
        return {"colorscale": DIVERGING, "zmin": -largest, "zmax": largest}
    losses = bool(finite.size) and finite.max() <= 0.0
    return {"colorscale": LOSSES if losses else GAINS, "reversescale": not losses and direction(metric) < 0}


def _mark(figure: go.Figure, i: int, j: int, x: str, y: str, by_outline: bool) -> None:
    """Mark a cell: with its outline, or where cells are too small to have one, with a ring around it."""
    if by_outline:
        edges = {"x0": j - 0.5, "x1": j + 0.5, "y0": i - 0.5, "y1": i + 0.5}
        figure.add_shape(type="rect", **edges, line={"color": INK, "width": 3})
    else:
        ring = {"symbol": "circle-open", "size": 18, "color": INK, "line": {"width": 3}}
        figure.add_scatter(x=[x], y=[y], mode="markers", marker=ring, showlegend=False, hoverinfo="skip")


def _slice_traces(part: pl.DataFrame, ordered: bool) -> list[go.Scatter]:
    import plotly.graph_objects as go

    lower, middle, upper, top = (part[name].to_numpy() for name in ("lower", "median", "upper", "best"))
    x = part["number"].to_numpy() if ordered else part["value"].to_list()
    hover = {"text": part["value"].to_list(), "hovertemplate": "%{text}: %{y:.4g}<extra></extra>"}
    dots = go.Scatter(
        x=x, y=top, mode="lines+markers" if ordered else "markers", name="best", **hover,
        line={"color": GREY, "width": 1, "dash": "dot"}, marker={"color": GREY, "size": 5, "symbol": "diamond-open"},
    )  # fmt: skip
    if not ordered:
        bars = {"array": upper - middle, "arrayminus": middle - lower, "color": BLUE, "thickness": 1.5, "width": 8}
        dot = {"color": BLUE, "size": 9}
        return [dots, go.Scatter(x=x, y=middle, mode="markers", marker=dot, error_y=bars, **hover)]
    edge = {"mode": "lines", "line": {"width": 0}, "hoverinfo": "skip"}
    return [
        go.Scatter(x=x, y=lower, **edge),
        go.Scatter(x=x, y=upper, fill="tonexty", fillcolor="rgba(0,114,178,0.18)", **edge),
        dots,
        go.Scatter(x=x, y=middle, mode="lines+markers", line={"color": BLUE, "width": 2}, marker={"size": 6}, **hover),
    ]


def _finish(figure: go.Figure, title: str, height: int) -> go.Figure:
    figure.update_layout(
        template="plotly_white", title=title, height=height, showlegend=False,
        margin={"l": 70, "r": 30, "t": 80, "b": 60},
    )  # fmt: skip
    return figure
