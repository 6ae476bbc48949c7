"""A sweep's surface: hand-made peaks, plateaus and slopes, a plain Python twin, and figures that hold their frames."""

import itertools
import math
import statistics

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from research.backtest.neighbours import direction, ranks
from research.backtest.plateau import Plateau, neighbourhoods, plateau
from research.backtest.surface import Surface, best
from research.errors import InvalidInput

SIDE = 9
NAMES = ("rule.a", "rule.b")


def square(height, side=SIDE):
    """Return a full grid of two parameters, with uneven steps, and ``height(i, j)`` as its Sharpe ratio."""
    rows = [
        {"rule.a": 2**i, "rule.b": 10.0 * j, "sharpe": float(height(i, j)), "trades": 50}
        for i, j in itertools.product(range(side), repeat=2)
    ]
    return pl.DataFrame(rows)


def point(i, j):
    return {"rule.a": 2**i, "rule.b": 10.0 * j}


def test_lone_spike_is_a_peak():
    found = plateau(square(lambda i, j: 3.0 if (i, j) == (4, 4) else 0.1 * ((i + j) % 2)), NAMES, "sharpe")
    assert (found.at, found.value, found.verdict) == (point(4, 4), 3.0, "peak")
    assert (found.neighbours, found.possible, found.share_within) == (4, 4, 0.0)
    assert (found.neighbour_median, found.neighbour_worst, found.neighbour_mean) == pytest.approx((0.1, 0.1, 0.1))
    assert found.robustness == pytest.approx(0.1 / 3.0)
    # The robust point is one of the rough plain, whose worst is the plain's: not the spike, whose neighbours are too.
    assert found.centre_worst == pytest.approx(0.1)


def test_flat_top_is_a_plateau_and_its_middle_the_centre():
    table = square(lambda i, j: 1.0 if 3 <= i <= 5 and 3 <= j <= 5 else 0.0)
    found = plateau(table, NAMES, "sharpe")
    assert found == Plateau("sharpe", point(4, 4), 1.0, 4, 4, 1.0, 1.0, 1.0, 1.0, 1.0, "plateau", point(4, 4), 1.0, 1.0)
    corner = plateau(table, NAMES, "sharpe", at=point(3, 3))
    assert (corner.verdict, corner.share_within, corner.neighbour_mean) == ("peak", 0.5, 0.5)
    assert corner.centre == point(4, 4)
    # Two steps from the middle is the plain.
    assert plateau(table, NAMES, "sharpe", at=point(4, 4), steps=2).share_within == 0.5


def test_spike_beside_a_plateau_is_not_the_centre():
    heights = {(1, 1): 5.0} | {(i, j): 2.0 for i in (5, 6, 7) for j in (5, 6, 7)}
    found = plateau(square(lambda i, j: heights.get((i, j), 0.0)), NAMES, "sharpe")
    assert (found.at, found.verdict) == (point(1, 1), "peak")
    assert (found.centre, found.centre_value, found.centre_worst) == (point(6, 6), 2.0, 2.0)


def test_pyramid_top_is_a_slope():
    found = plateau(square(lambda i, j: 10.0 - abs(i - 4) - abs(j - 4), side=9), NAMES, "sharpe", tolerance=0.05)
    assert (found.at, found.verdict, found.share_within) == (point(4, 4), "slope", 0.0)
    assert found.robustness == pytest.approx(0.9)


def test_positive_best_whose_neighbours_lose_is_a_peak_however_wide_the_surface():
    found = plateau(square(lambda i, j: 0.5 - 1.0 * (abs(i - 4) + abs(j - 4)) ** 2), NAMES, "sharpe")
    assert found.share_within == 1.0  # of a spread of tens
    assert (found.neighbour_median, found.robustness, found.verdict) == (-0.5, -1.0, "peak")
    halved = plateau(square(lambda i, j: 2.5 - 1.6 * (abs(i - 4) + abs(j - 4)) ** 2), NAMES, "sharpe")
    assert (halved.share_within, halved.verdict) == (1.0, "slope")  # robustness 0.36


def test_constant_surface_is_a_plateau_even_with_rounding():
    table = square(lambda i, j: 0.7 * (1.0 + 1e-15 * ((i * 7 + j * 3) % 5)))
    assert set(neighbourhoods(table, NAMES, "sharpe")["verdict"]) == {"plateau"}


@pytest.mark.parametrize(("at", "count"), [((0, 0), 2), ((0, 4), 3), ((8, 8), 2), ((4, 4), 4)])
def test_corner_and_edge_have_fewer_neighbours(at, count):
    found = plateau(square(lambda i, j: i + j), NAMES, "sharpe", at=point(*at))
    assert (found.neighbours, found.possible) == (count, count)
    assert plateau(square(lambda i, j: i + j), NAMES, "sharpe", at=point(*at), steps=2).neighbours == 2 * count


def test_random_draws_have_no_neighbours():
    rng = np.random.Generator(np.random.PCG64(3))
    table = pl.DataFrame({"rule.a": rng.random(60), "rule.b": rng.random(60), "sharpe": rng.random(60)})
    found = plateau(table, None, "sharpe")
    assert (found.verdict, found.centre, found.neighbours) == ("unknown", None, 0)
    assert all(math.isnan(x) for x in (found.neighbour_median, found.share_within, found.robustness))


def test_holes_and_values_that_do_not_exist_are_no_neighbours():
    table = square(lambda i, j: math.nan if (i, j) in ((3, 4), (4, 5)) else 1.0)
    middle = plateau(table, NAMES, "sharpe", at=point(4, 4))
    assert (middle.neighbours, middle.possible, middle.verdict) == (2, 4, "plateau")
    removed = table.filter((pl.col("rule.a") != 2**5) | (pl.col("rule.b") != 40.0))
    assert plateau(removed, NAMES, "sharpe", at=point(4, 4)).verdict == "unknown"  # one of four is left
    assert plateau(table, NAMES, "sharpe", at=point(3, 4)).verdict == "unknown"  # it has no value itself
    infinite = table.with_columns(sharpe=pl.when(pl.col("rule.a") == 1).then(math.inf).otherwise("sharpe"))
    assert plateau(infinite, NAMES, "sharpe").value == 1.0


def test_categories_are_fixed():
    one = square(lambda i, j: 1.0 if i == 4 else 0.0)
    other = square(lambda i, j: 9.0)
    table = pl.concat([
        frame.with_columns(pl.lit(word).alias("rule.side"), pl.lit(flag).alias("rule.short"))
        for frame, word, flag in ((one, "both", True), (other, "long", False))
    ])  # fmt: skip
    params = (*NAMES, "rule.side", "rule.short")
    for kind in (pl.String, pl.Categorical, pl.Enum(["long", "both"])):
        typed = table.with_columns(pl.col("rule.side").cast(kind))
        found = plateau(typed, params, "sharpe", at=point(4, 4) | {"rule.side": "both", "rule.short": True})
        assert (found.neighbours, found.neighbour_worst, found.neighbour_mean) == (4, 0.0, 0.5)


def test_less_is_better_where_it_is():
    assert [direction(name) for name in ("sharpe", "max_drawdown", "funding", "var_95", "own_figure")] == [1] * 5
    assert [direction(name) for name in ("volatility", "fees_quote", "longest_drawdown_bars", "is_ruined")] == [-1] * 4
    table = square(lambda i, j: 0.2 if (i, j) == (4, 4) else 0.5).rename({"sharpe": "volatility"})
    found = plateau(table, NAMES, "volatility")
    assert (found.at, found.value, found.verdict) == (point(4, 4), 0.2, "peak")
    assert (found.neighbour_worst, found.robustness) == (0.5, pytest.approx(0.4))
    mirrored = plateau(table.with_columns(sharpe=-pl.col("volatility")), NAMES, "sharpe")
    assert (mirrored.verdict, mirrored.centre, mirrored.neighbour_worst) == ("peak", found.centre, -0.5)
    falling = table.rename({"volatility": "max_drawdown"}).with_columns(-pl.col("max_drawdown"))
    assert best(falling, "max_drawdown")["max_drawdown"].to_list() == [-0.2]


def twin(rows, params, ordered, metric, steps):
    """Return the neighbours' figures of every row by looking at every pair."""
    values = [sorted({row[name] for row in rows}) for name in params]
    places = [[values[k].index(row[name]) for k, name in enumerate(params)] for row in rows]
    found = []
    for here in places:
        beside, possible = [], 0
        for k in range(len(params)):
            if ordered[k]:
                possible += sum(0 <= here[k] + s < len(values[k]) for s in range(-steps, steps + 1) if s)
        for there, row in zip(places, rows, strict=True):
            apart = [abs(a - b) for a, b in zip(here, there, strict=True)]
            moved = [k for k, distance in enumerate(apart) if distance]
            if len(moved) == 1 and ordered[moved[0]] and apart[moved[0]] <= steps and math.isfinite(row[metric]):
                beside.append(row[metric])
        known = (statistics.median(beside), min(beside), statistics.fmean(beside)) if beside else (math.nan,) * 3
        found.append((len(beside), possible, *known))
    return found


@st.composite
def sparse_tables(draw):
    """Draw some combinations of up to four parameters, numbers and words, with a metric that may not exist."""
    axes = draw(
        st.lists(
            st.one_of(
                st.lists(st.integers(-5, 50), min_size=1, max_size=5, unique=True),
                st.lists(st.floats(-2, 2, allow_nan=False).map(lambda x: x + 0.0), min_size=1, max_size=4, unique=True),
                st.lists(st.sampled_from(["x", "y", "z"]), min_size=1, max_size=3, unique=True),
                st.just([False, True]),
            ),
            min_size=1,
            max_size=4,
        )
    )
    every = list(itertools.product(*axes))
    chosen = draw(st.lists(st.sampled_from(every), min_size=1, max_size=40, unique=True))
    rows = [dict(zip((f"p.{k}" for k in range(len(axes))), combination, strict=True)) for combination in chosen]
    for row in rows:
        row["sharpe"] = draw(st.sampled_from([math.nan, -1.0, 0.0, 0.5, 0.51, 1.0, 1.04, 3.0]))
    return rows


@given(sparse_tables(), st.integers(1, 3))
def test_neighbours_are_those_a_plain_loop_finds(rows, steps):
    table = pl.DataFrame(rows)
    params = [name for name in table.columns if name != "sharpe"]
    ordered = [table[name].dtype.is_numeric() for name in params]
    hoods = neighbourhoods(table, None, "sharpe", steps)
    for name, mine in zip(
        ("neighbours", "possible", "neighbour_median", "neighbour_worst", "neighbour_mean"),
        zip(*twin(rows, params, ordered, "sharpe", steps), strict=True),
        strict=True,
    ):
        np.testing.assert_allclose(hoods[name].to_numpy(), mine, rtol=1e-12, atol=1e-12, err_msg=name)


@given(sparse_tables(), st.randoms(use_true_random=False))
def test_order_of_rows_and_columns_changes_nothing(rows, random):
    if not any(math.isfinite(row["sharpe"]) for row in rows):
        return
    table = pl.DataFrame(rows)
    shuffled = table[random.sample(range(len(rows)), len(rows))]
    params = [name for name in table.columns if name != "sharpe"]
    here, there = (repr(plateau(frame, params, "sharpe")) for frame in (table, shuffled))
    assert here == there
    assert_frame_equal(
        neighbourhoods(table, None, "sharpe").sort(params), neighbourhoods(shuffled, None, "sharpe").sort(params)
    )
    assert_frame_equal(Surface(table).best(5), Surface(shuffled).best(5))


@given(sparse_tables())
def test_point_judged_alone_is_the_point_among_all(rows):
    table = pl.DataFrame(rows)
    hoods = neighbourhoods(table, None, "sharpe")
    if not any(math.isfinite(row["sharpe"]) for row in rows):
        with pytest.raises(InvalidInput, match="finite value"):
            plateau(table, None, "sharpe")
        return
    for number, row in enumerate(rows):
        found = plateau(table, None, "sharpe", at=row)
        for name in ("neighbours", "possible", "share_within", "robustness", "verdict"):
            mine, theirs = getattr(found, name), hoods[name][number]
            assert mine == theirs or (mine != mine and theirs != theirs)


@given(st.integers(0, 2**32 - 1), st.floats(0.1, 50.0), st.floats(-3.0, 3.0))
def test_scale_changes_no_verdict_and_what_is_above_is_best(seed, factor, shift):
    rng = np.random.Generator(np.random.PCG64(seed))
    table = square(lambda i, j: 0.0, side=6).with_columns(sharpe=pl.Series(np.round(rng.normal(size=36), 2)))
    scaled = table.with_columns(pl.col("sharpe") * factor)
    assert neighbourhoods(table, NAMES, "sharpe")["verdict"].equals(neighbourhoods(scaled, NAMES, "sharpe")["verdict"])
    moved = table.with_columns(pl.col("sharpe") + shift)
    assert Surface(moved).best().select(NAMES).equals(Surface(table).best().select(NAMES))


def test_ranks_of_large_and_unlike_values():
    table = pl.DataFrame({"p.a": [2**62, -(2**62), 0], "p.b": [1e300, -1e300, 0.0], "p.c": [True, False, True]})
    assert ranks(table, table.columns).tolist() == [[2, 2, 1], [0, 0, 0], [1, 1, 1]]


def test_many_distinct_values_form_no_key_that_overflows():
    n = 2_000
    wide = pl.DataFrame({f"p.{k}": np.arange(n) * 1.5 for k in range(8)} | {"sharpe": np.zeros(n)})  # n**8 cells
    hoods = neighbourhoods(wide, None, "sharpe")
    assert hoods["neighbours"].sum() == 0
    beside = wide.with_columns(pl.lit(0.0).alias(f"p.{k}") for k in range(7))
    assert neighbourhoods(beside, None, "sharpe")["neighbours"].sum() == 2 * n - 2


def test_best_rows():
    table = pl.DataFrame({
        "p.a": [1, 2, 3, 4, 5, 6], "sharpe": [0.5, math.nan, 2.0, 1.0, None, 9.0], "trades": [40, 40, 40, 40, 40, 3],
        "p.side": ["long", "long", "short", "long", "long", "long"],
    })  # fmt: skip
    assert best(table, "sharpe")["p.a"].to_list() == [6]
    assert best(table, "sharpe", n=9)["p.a"].to_list() == [6, 3, 4, 1, 2, 5]
    assert best(table, "sharpe", n=2, min_trades=30)["p.a"].to_list() == [3, 4]
    assert best(table, "sharpe", where=pl.col("p.side") == "long", min_trades=30)["p.a"].to_list() == [4]
    assert best(table, "sharpe", min_trades=1_000).is_empty()
    with pytest.raises(InvalidInput, match=r"^n must be at least 1"):
        best(table, "sharpe", n=0)
    with pytest.raises(InvalidInput, match="trades"):
        best(table.drop("trades"), "sharpe", min_trades=1)


def swept():
    rows = [
        {"f.fast": fast, "f.slow": slow, "exit.on": on, "sharpe": fast + slow / 100 - 2 * on, "volatility": fast / 10}
        for fast, slow, on in itertools.product((3, 1, 2), (10, 300), (False, True))
    ]
    return Surface(pl.DataFrame(rows))


def test_cells_reduce_the_other_parameters():
    surface = swept()
    cells = surface.cells("f.fast", "f.slow")
    assert cells.columns == ["f.fast", "f.slow", "sharpe", "combinations"]
    assert cells.row(1)[:2] + cells.row(1)[3:] == (2, 10, 2)
    assert cells["sharpe"].to_list() == pytest.approx([0.1, 1.1, 2.1, 3, 4, 5])
    assert surface.cells("f.slow", "f.fast", reduce="max")["sharpe"].to_list() == pytest.approx(
        [1.1, 4, 2.1, 5, 3.1, 6]
    )
    assert surface.cells("exit.on", "f.fast", "volatility", "mean").row(0) == (False, 1, 0.1, 2)
    holes = Surface(surface.table.with_columns(sharpe=pl.when(pl.col("f.fast") > 1).then("sharpe")))
    assert holes.cells("f.fast", "f.slow")["combinations"].to_list() == [0, 2, 2] * 2
    assert math.isnan(holes.cells("f.fast", "f.slow")["sharpe"][0])
    for wrong in (("f.fast", "f.fast"), ("f.fast", "sharpe"), ("f.none", "f.slow")):
        with pytest.raises(InvalidInput):
            surface.cells(*wrong)
    with pytest.raises(InvalidInput, match="median, mean, max, min"):
        surface.cells("f.fast", "f.slow", reduce="sum")


def test_slices_take_all_others_together():
    slices = swept().slices()
    assert slices["param"].to_list() == ["f.fast"] * 3 + ["f.slow"] * 2 + ["exit.on"] * 2
    assert slices["value"].to_list() == ["1", "2", "3", "10", "300", "False", "True"]
    assert slices["number"].to_list() == [1, 2, 3, 10, 300, None, None]
    assert slices.columns[3:] == ["combinations", "lower", "median", "upper", "best"]
    # fast = 1: Sharpe ratios -0.9, 1.1, 2.0, 4.0
    assert slices.row(0)[3:] == pytest.approx((4, 0.6, 1.55, 2.5, 4.0))
    assert swept().slices("volatility")["best"].to_list()[3] == 0.1  # less is better
    with pytest.raises(InvalidInput, match="more than one value"):
        Surface(pl.DataFrame({"p.a": [1], "sharpe": [1.0]})).slices()


def test_heat_map_holds_its_cells_and_marks_the_best():
    surface = Surface(swept().table.filter((pl.col("f.fast") != 2) | (pl.col("f.slow") != 300)))
    figure = surface.heat_map("f.fast", "f.slow")
    drawn = figure.data[0]
    assert (list(drawn.x), list(drawn.y)) == (["1", "2", "3"], ["10", "300"])
    np.testing.assert_allclose(np.asarray(drawn.z), [[0.1, 1.1, 2.1], [3.0, np.nan, 5.0]])
    assert (drawn.text[0][0], drawn.text[1][1], drawn.text[1][2]) == ("0.1", "", "5")
    outline = figure.layout.shapes[0]
    assert (outline.x0, outline.x1, outline.y0, outline.y1) == (1.5, 2.5, 0.5, 1.5)
    assert figure.layout.xaxis.type == "category"
    calm = surface.heat_map("f.fast", "f.slow", "volatility").layout.shapes[0]
    assert (calm.x0, calm.y0) == (-0.5, -0.5)


def test_heat_map_of_many_cells_writes_none_and_rings_the_best():
    figure = Surface(square(lambda i, j: -((i - 3) ** 2) - (j - 8) ** 2, side=20)).heat_map("rule.a", "rule.b")
    assert figure.data[0].text is None
    assert (figure.data[1].x[0], figure.data[1].y[0]) == ("8", "80")
    n = 600
    drawn = pl.DataFrame({"p.a": np.arange(n) / 7, "p.b": np.arange(n) / 3, "sharpe": np.ones(n)})
    with pytest.raises(InvalidInput, match="250000 cells"):
        Surface(drawn).heat_map("p.a", "p.b")


def test_plot_of_slices_has_a_panel_for_each_parameter_that_varies():
    surface = Surface(swept().table.with_columns(pl.lit(3).alias("f.constant")))
    assert surface.varied == ("f.fast", "f.slow", "exit.on")
    figure = surface.plot_slices()
    assert [note.text for note in figure.layout.annotations] == list(surface.varied)
    medians = figure.data[3]
    assert (list(medians.x), list(medians.y)) == ([1, 2, 3], surface.slices()["median"].to_list()[:3])
    whiskers = figure.data[-1].error_y
    assert list(whiskers.array) == pytest.approx(list(surface.slices()["upper"][-2:] - surface.slices()["median"][-2:]))


GOOD = pl.DataFrame({"p.a": [1, 2], "sharpe": [0.0, 1.0], "word": ["a", "b"]})


@pytest.mark.parametrize(
    ("table", "arguments", "message"),
    [
        (GOOD.clear(), {}, "table must have at least one row"),
        (GOOD, {"metric": "sortino"}, "metric must be a column of the table"),
        (GOOD, {"metric": "word"}, "must hold numbers to be a metric"),
        (GOOD, {"params": ["p.b"]}, "params must name columns of the table"),
        (GOOD, {"params": ["p.a", "p.a"]}, "params must name each column once"),
        (GOOD, {"params": ["p.a", "sharpe"]}, "metric must not be a parameter"),
        (GOOD.drop("p.a"), {}, "params must name at least one column"),
        (pl.concat([GOOD, GOOD]), {}, "table must have one row per combination"),
        (GOOD.with_columns(pl.Series("p.a", [1, None])), {}, "must hold a value in every row"),
        (GOOD.with_columns(pl.Series("p.a", [1.0, math.nan])), {}, "must hold a value in every row"),
        (GOOD.with_columns(pl.Series("p.a", [[1], [2]])), {}, "must hold numbers, booleans or strings"),
    ],
)
def test_what_is_no_surface_is_refused(table, arguments, message):
    with pytest.raises(InvalidInput, match=message):
        Surface(table, **arguments)
    with pytest.raises(InvalidInput, match=message):
        plateau(table, arguments.get("params"), arguments.get("metric", "sharpe"))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"at": {"p.a": 3}}, "at must be a row of the table"),
        ({"at": {"p.a": "1"}}, "at must be a row of the table"),
        ({"at": {}}, "at must have a value of p.a"),
        ({"steps": 0}, "steps must be at least 1"),
        ({"tolerance": -0.1}, "tolerance must be at least 0"),
        ({"tolerance": math.nan}, "tolerance must be at least 0"),
    ],
)
def test_what_is_no_point_is_refused(arguments, message):
    with pytest.raises(InvalidInput, match=message):
        Surface(GOOD).plateau(**arguments)


def test_constant_parameter_need_not_be_named():
    surface = Surface(GOOD.with_columns(pl.lit(5).alias("p.fixed")))
    assert surface.plateau({"p.a": 2}).at == {"p.a": 2, "p.fixed": 5}
