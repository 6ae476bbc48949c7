"""Tear sheets are complete, offline, escaped and small; figures keep the extremes."""

import gzip
import json
import re
from base64 import b64decode
from dataclasses import replace
from functools import cache
from html.parser import HTMLParser

import numpy as np
import plotly.graph_objects as go
import polars as pl
import pytest
from plotly.offline import get_plotlyjs

from research.errors import InvalidInput, SchemaMismatch
from research.market.bars import NS_PER_DAY, NS_PER_MINUTE, TS
from research.report import MonteCarloPart, account_tables, figures, markdown_report, theme, trade_figures
from research.report.charts import UNSUPPORTED, packed_library
from research.report.series import daily, monthly, rolling_sharpe, thin
from research.report.tear_sheet import TearSheet, tear_sheet
from research.validation.gate import Check, GateVerdict, evaluate_gate
from research.validation.resampling import METHODS, resample_trades

START = 1_704_067_200_000_000_000  # 2024-01-01
HOLDOUT, FOLDED, DEVELOPED = "Hold-out (out of sample)", "Walk-forward (out of sample)", "Development (in sample)"
RESAMPLED = "300 closed trades of walk-forward and hold-out, 150 days"


def equity(days: int, seed: int = 1, step_minutes: int = 1, drift: float = 2e-6) -> pl.DataFrame:
    n = days * 1_440 // step_minutes
    rng = np.random.default_rng(seed)
    path = 10_000.0 * np.exp(np.cumsum(rng.normal(drift * step_minutes, 4e-4 * step_minutes**0.5, n)))
    ts = START + np.arange(n) * step_minutes * NS_PER_MINUTE
    paid, received = np.where(rng.random(n) < 0.01, 1.5, 0.0), rng.normal(0, 0.01, n)
    paid[0] = received[0] = 0.0
    frame = {"ts": ts, "equity": path, "fee": paid, "slippage": 0.5 * paid, "funding": received}
    return pl.DataFrame(frame).with_columns(pl.col("ts").cast(TS))


@cache
def paths_table() -> pl.DataFrame:
    """Intervals of two methods, one of them with ruined paths."""
    returns = np.random.default_rng(8).normal(0.004, 0.06, 300)
    report = resample_trades(returns, paths=400, seed=1, methods=("shuffle", "block"), block=4, ruin_loss=0.5)
    return report.table().with_columns(unit=pl.lit("trade"))


def closed_trades() -> pl.DataFrame:
    rng = np.random.default_rng(8)
    entry = START + np.sort(rng.integers(0, 50 * 1_440, 120)) * NS_PER_MINUTE
    held, side, pnl = rng.integers(1, 300, 120) * NS_PER_MINUTE, rng.choice([-1, 1], 120), rng.normal(5, 40, 120)
    made = pl.DataFrame({"side": side, "entry_ts": entry, "holding_ns": held, "pnl": pnl})
    return made.with_columns(pl.col("entry_ts").cast(TS))


def sheet(**changes) -> TearSheet:
    rng = np.random.default_rng(3)
    curve = equity(60)
    close = 100.0 * np.exp(np.cumsum(rng.normal(0, 1e-3, 86_400)))
    bars = pl.DataFrame({"ts": curve["ts"], "open": close, "high": close * 1.001, "low": close * 0.999, "close": close})
    at = np.sort(rng.choice(86_400, 240, replace=False))
    fills = pl.DataFrame({"ts": curve["ts"][at.tolist()], "price": close[at], "qty": np.where(at % 2, 1.0, -1.0)})
    paths = np.cumprod(1 + rng.normal(1e-3, 0.02, (2_000, 60)), axis=1)
    levels = (0.05, 0.25, 0.5, 0.75, 0.95)
    fan = pl.DataFrame({"day": np.arange(60)} | {f"p{100 * q:02.0f}": np.quantile(paths, q, axis=0) for q in levels})
    parts = {
        "title": "Trend and learned candidates on SOLUSDT", "subtitle": "Simulated market, 180 days of 1m bars",
        "verdict": evaluate_gate(
            {"backtest.sharpe": 1.9, "backtest.max_drawdown": -0.09,
             "monte_carlo.closed_trade_return_p05": float("nan")},
            [
                Check("holdout_sharpe", "backtest.sharpe", ">=", 1.5, "the hold-out must carry the claim on its own"),
                Check("drawdown", "backtest.max_drawdown", ">=", -0.25, "the loss that stops the strategy"),
                Check("luck", "monte_carlo.closed_trade_return_p05", ">", 0.0, "at most one in twenty may lose"),
            ],
        ),
        "trial_count": 95,
        "metrics": {
            HOLDOUT: {"total_return": 0.123, "sharpe": 1.9, "max_drawdown": -0.09, "profit_factor": float("inf"),
                      "trades": 120.0, "round_trips": 80.0,
                      "win_rate": 0.46, "cost_share": float("nan"), "expectancy": 10.25, "days": 60.0},
            FOLDED: {"total_return": 0.07, "sharpe": 1.2, "max_drawdown": -0.12, "trades": 180.0,
                     "deflated_sharpe": 0.87},
            DEVELOPED: {"total_return": 0.55, "sharpe": 3.4, "max_drawdown": -0.06, "trades": 390.0},
        },
        "equity": {HOLDOUT: curve, FOLDED: equity(90, 5), DEVELOPED: equity(120, 2, drift=5e-6)},
        "folds": pl.DataFrame(
            {"fold": [0, 1, 2, 3], "sharpe_out_of_sample": [1.2, -0.4, 2.0, 0.7],
             "sharpe_in_sample": [3.0, 2.6, 3.3, 2.9]}
        ),
        "trades": closed_trades(),
        "trials": pl.DataFrame(
            {"candidate": ["trend"] * 40 + ["learned"] * 40, "value": np.append(rng.normal(0.8, 0.7, 79), np.nan)}
        ),
        "importance": pl.DataFrame({"column": ["rsi", "zscore", "ret_3"], "gain_frac": [0.5, 0.3, 0.2]}),
        "exposure": pl.DataFrame({"ts": curve["ts"], "exposure": np.sign(np.sin(np.arange(86_400) / 900.0)) * 0.6}),
        "bars": bars, "fills": fills,
        "monte_carlo": MonteCarloPart(
            trades=RESAMPLED, orders="the orders of the hold-out, executed again 2000 times", ruin_loss_frac=0.5,
            fans={"trades": fan}, quantiles=paths_table(),
            samples={"closed_trade_return": paths[:, -1] - 1,
                     "closed_trade_drawdown": -np.abs(rng.normal(0.1, 0.03, 2_000))},
            observed={"closed_trade_return": 0.07, "closed_trade_drawdown": -0.09},
        ),
        "lineage": {"data": {"venue": "simulated", "rows": 259_200}, "git_commit": "0123abc (clean)"},
        "params": {"seed": 7, "costs": {"half_spread_bps": 0.5, "taker_fee_bps": None}},
        "notes": ("The market is simulated with a known edge.",),
    }  # fmt: skip
    return TearSheet(**(parts | changes))


class Links(HTMLParser):
    """Collects what a browser would fetch."""

    def __init__(self) -> None:
        super().__init__()
        self.found, self.tags = [], []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.found += [value for name, value in attrs if name in ("src", "href", "srcset", "data", "action", "poster")]


@pytest.fixture(scope="module")
def page() -> str:
    return tear_sheet(sheet())


def outside_plotly(page: str) -> str:
    """Return the page without the packed plotly.js."""
    assert page.count(packed_library()) == 1
    return page.replace(packed_library(), "")


def places(page: str) -> dict[str, tuple[int, dict]]:
    """Return each figure's place: its height in pixels and what is drawn there."""
    found = re.findall(
        r'<div class="plot" id="([^"]+)" style="height:(\d+)px"><script type="application/json">(.*?)</script></div>',
        page,
    )
    return {name: (int(height), json.loads(drawn)) for name, height, drawn in found}


def test_page_fetches_nothing(page):
    links = Links()
    links.feed(page)
    assert links.found == []
    assert "link" not in links.tags
    assert "iframe" not in links.tags
    rest = outside_plotly(page)
    assert "http:" not in rest
    assert "https:" not in rest
    assert "url(" not in rest
    assert "@import" not in rest


def test_plotly_is_packed_once_whole_and_page_stays_small(page):
    packed = re.search('<script id="plotly-gzip" type="application/octet-stream">([^<]*)</script>', page)
    assert page.count('id="plotly-gzip"') == 1
    assert gzip.decompress(b64decode(packed[1], validate=True)).decode() == get_plotlyjs()
    assert get_plotlyjs()[:2_000] not in page
    assert len(page.encode()) < 3_000_000  # 2.5 MB, 2.0 of them the library; 5.3 unpacked
    assert b64decode(packed[1])[4:8] == b"\0\0\0\0"  # no time of making


def test_places_have_the_height_of_their_figure_and_what_draws_them_comes_last(page):
    found = places(page)
    assert len(found) == page.count('class="plot"') == page.count("<figure>")
    for height, drawn in found.values():
        assert drawn["layout"]["height"] == height
        assert not drawn["layout"]["title"].get("text")  # it stands over the place, where it can wrap
    assert page.index("DecompressionStream(") > max(page.index(f'id="{name}"') for name in found)
    assert "Equity: Hold-out (out of sample)</h4>" in page


def test_page_says_so_where_the_library_cannot_be_unpacked(page):
    assert 'typeof DecompressionStream === "undefined"' in page
    assert f'role="status" hidden data-unsupported="{UNSUPPORTED}"' in page


def test_page_is_the_same_for_the_same_input(page):
    assert tear_sheet(sheet()) == page


def test_verdict_trials_and_reasons_are_shown(page):
    assert "✗ Gate refused" in page
    assert "2 of 3 checks met" in page
    assert "95 trials that the ledger knows of on this market" in page
    assert "monte_carlo.closed_trade_return_p05 must be &gt; 0; it is unknown (NaN)" in page
    with pytest.raises(InvalidInput, match="must be what its table says"):
        sheet(verdict=GateVerdict(True, sheet().verdict.table))
    passed = tear_sheet(sheet(verdict=evaluate_gate({"x": 2.0}, [Check("x", "x", ">", 1.0)])))
    assert "✓ Gate passed" in passed
    assert page.index("<h2>Read first") < page.index("<h2>Gate")


def test_every_section_says_which_sample_it_is(page):
    for name in (HOLDOUT, FOLDED, DEVELOPED):
        assert page.count(name) >= 3
    with pytest.raises(InvalidInput, match="must end in"):
        sheet(metrics={"Hold-out": {"sharpe": 1.0}})
    with pytest.raises(InvalidInput, match="must end in"):
        sheet(equity={"Development": equity(2)})


def test_figures_that_do_not_exist_are_not_available(page):
    rest = outside_plotly(page)
    text = "".join(part.split("<script")[0] for part in rest.split("</script>"))
    assert text.count(theme.NOT_AVAILABLE) >= 3  # value of the check, profit factor, cost share
    for word in (">nan", ">inf", "> nan", "NaN %", "None<"):
        assert word not in text


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf"), None])
@pytest.mark.parametrize("name", ["sharpe", "total_return", "trades", "fees_quote", ""])
def test_unknown_numbers_are_written_as_not_available(value, name):
    assert theme.number(value, name) == "n/a"


@pytest.mark.parametrize(
    ("value", "name", "text"),
    [
        (0.1234, "total_return", "12.3 %"), (-0.0912, "max_drawdown", "−9.1 %"), (0.0004, "return", "0.04 %"),
        (120.0, "trades", "120"), (1.5, "profit_factor", "1.50"), (3, "", "3"), (0.00123, "sharpe_day", "0.00123"),
        (1234567.891, "fees_quote", "1\u2009234\u2009567.89"), (0.0, "sharpe", "0.00"), (-0.021, "var_95", "−2.1 %"),
        (-0.05, "closed_trade_return_p05", "−5.0 %"), (0.46, "backtest.win_rate", "46.0 %"),
        (0.9999, "deflated_sharpe", "> 0.99"), (0.0001, "pbo", "< 0.01"), (0.9512, "probabilistic_sharpe", "0.95"),
        (1440.0, "longest_drawdown_bars", "1\u2009440"),
    ],
)  # fmt: skip
def test_numbers_are_written_in_their_unit(value, name, text):
    assert theme.number(value, name) == text


EVIL = "</script><img src=x onerror=alert(1)>&\"'"


def test_everything_given_is_escaped():
    plain = sheet()
    trials = plain.trials.with_columns(pl.lit(EVIL).alias("candidate"))
    importance = pl.DataFrame({"column": [EVIL], "gain_frac": [1.0]})
    trades = pl.DataFrame({EVIL: [EVIL], "pnl": [1.0]})
    section = f"{EVIL} (out of sample)"
    hostile = sheet(
        title=EVIL, subtitle=EVIL, notes=(EVIL,), params={EVIL: {EVIL: EVIL}}, lineage={EVIL: [EVIL]}, trials=trials,
        importance=importance, trades=trades, metrics={section: {EVIL: 1.0}}, equity={section: equity(3)},
        verdict=evaluate_gate({EVIL: 1.0}, [Check(EVIL, EVIL, ">", 2.0, EVIL)]), folds=plain.folds.rename({"fold": "f"})
        .with_columns(pl.lit(EVIL).alias("fold")),
        monte_carlo=MonteCarloPart(
            EVIL, EVIL, 0.5,
            quantiles=paths_table().with_columns(pl.lit(EVIL).alias(n) for n in ("method", "unit", "stands_for")),
            fans={"trades": plain.monte_carlo.fans["trades"].rename({"day": EVIL})}, samples={EVIL: np.arange(10.0)},
        ),
    )  # fmt: skip
    found = tear_sheet(hostile)
    assert "<img" not in found
    links = Links()
    links.feed(found)
    assert links.found == []
    assert links.tags.count("img") == 0


def test_missing_parts_are_left_out():
    bare = outside_plotly(tear_sheet(TearSheet("t", "s", sheet().verdict, 0)))
    for heading in ("Key figures", "Equity and returns", "Walk-forward", "Monte Carlo", "Trading", "Costs", "Search"):
        assert f"<h2>{heading}" not in bare
    assert "<h2>Gate</h2>" in bare
    assert "no trials recorded" in bare


def test_costs_are_kept_apart_and_add_up():
    ts = pl.Series("ts", START + np.arange(4) * NS_PER_DAY).cast(TS)
    frame = pl.DataFrame(
        {"ts": ts, "equity": [1000.0, 1005.0, 1010.0, 1100.0], "fee": [0.0, 4.0, 0.0, 6.0],
         "slippage": [0.0, 2.0, 0.0, 3.0], "funding": [0.0, 0.0, -5.0, 0.0]}
    )  # fmt: skip
    found = tear_sheet(TearSheet("t", "s", sheet().verdict, 1, equity={HOLDOUT: frame}))
    row = found.split("<h2>Costs</h2>")[1].split("<tbody>")[1].split("</tr>")[0]
    cells = [cell.split("</td>")[0] for cell in row.split('<td class="n">')[1:]]
    assert cells == ["120.00", "−10.00", "−5.00", "−5.00", "100.00", "16.7 %"]


def test_costs_begin_after_the_first_row():
    early = equity(3).with_columns(pl.lit(1.0).alias("fee"))
    with pytest.raises(InvalidInput, match=r"\.fee\[0\] must be 0 at the start"):
        sheet(equity={HOLDOUT: early})


def test_resampled_figures_say_of_what_they_are(page):
    part = page.split("<h2>Monte Carlo</h2>")[1].split("</section>")[0]
    assert part.count(RESAMPLED) == 4  # section, fan, two histograms
    assert "Closed trade return over resampled paths" in part
    assert "step from closed trade to closed trade and see no fall within one" in part
    for changes in ({"trades": ""}, {"orders": ""}, {"fans": {"folds": pl.DataFrame()}}):
        with pytest.raises(InvalidInput):
            replace(sheet().monte_carlo, **changes)
    with pytest.raises(SchemaMismatch, match="stands_for"):
        replace(sheet().monte_carlo, quantiles=paths_table().drop("stands_for"))


def test_every_interval_is_told_with_what_it_stands_for_and_none_where_nothing_varies(page):
    part = page.split("<h2>Monte Carlo</h2>")[1].split("</section>")[0]
    blocks = part.split("<details")[1:]
    assert [block.split("<summary>")[1].split("<")[0] for block in blocks] == [
        "Trades in another order", "Trades drawn in stretches",
    ]  # fmt: skip
    assert [block.startswith(" open") for block in blocks] == [False, True]
    for block, method in zip(blocks, ("shuffle", "block"), strict=True):
        rows = paths_table().filter(method=method)
        assert f"The intervals stand for: {METHODS[method][1]}." in block
        share = rows["ruin_probability"][0]
        told = "none" if share == 0.0 else f"{100 * share:.1f} %"
        assert f"lose 50 % of the first equity: {told}." in block
        body = block.split("<tbody>")[1]
        assert body.count("<tr>") == rows.height == 7
        fixed = 3 if method == "shuffle" else 0
        assert body.count("is the same for every order of the same trades") == fixed
    depth = paths_table().filter(method="block", statistic="max_drawdown").row(0, named=True)
    low, high = (f"{100 * depth[end]:.1f} %".replace("-", "−") for end in ("low99", "high99"))
    assert f"{low} … {high}" in blocks[1]
    assert "Sharpe per trade" in blocks[1]


def test_the_part_is_small_and_empty_parts_are_left_out():
    fan = pl.DataFrame({"trade": np.arange(101)} | {f"q{level}": np.ones(101) for level in (0.5, 25, 50, 75, 99.5)})
    drawn = tear_sheet(sheet(monte_carlo=replace(sheet().monte_carlo, fans={"trades": fan, "execution": fan})))
    assert len(drawn.split("<h2>Monte Carlo</h2>")[1].split("</section>")[0]) < 60_000
    empty = MonteCarloPart("trades", "orders", 0.5, fans={"trades": pl.DataFrame()}, quantiles=paths_table().head(0))
    assert "<h2>Monte Carlo" not in outside_plotly(tear_sheet(sheet(monte_carlo=empty)))


def test_thinning_keeps_order_ends_and_extremes():
    rng = np.random.default_rng(0)
    values = rng.normal(size=200_000)
    values[[777, 123_456]] = 50.0, -50.0
    values[5_000:9_000] = np.nan
    frame = pl.DataFrame({"i": np.arange(200_000), "x": values})
    short = thin(frame, "x", 2_000)
    assert short.height <= 2_002
    assert short["i"].is_sorted()
    assert (short["i"][0], short["i"][-1]) == (0, 199_999)
    assert {777, 123_456} <= set(short["i"])
    assert thin(frame.head(2_000), "x", 2_000).equals(frame.head(2_000))


def test_days_and_months_compound_to_the_whole():
    curve = equity(75, seed=9)
    _, returns = daily(curve)
    whole = curve["equity"][-1] / curve["equity"][0] - 1.0
    assert returns.size == 75
    assert np.prod(1.0 + returns) - 1.0 == pytest.approx(whole, rel=1e-12)  # 75 roundings
    table = monthly(curve)
    assert table.select("year", "month").rows() == [(2024, 1), (2024, 2), (2024, 3)]
    assert np.prod(1.0 + table["ret"].to_numpy()) - 1.0 == pytest.approx(whole, rel=1e-12)


def test_rolling_sharpe_is_the_sharpe_of_each_window():
    returns = np.random.default_rng(4).normal(0.001, 0.02, 50)
    found = rolling_sharpe(returns, 20)
    assert np.isnan(found[:19]).all()
    for i in (19, 33, 49):
        window = returns[i - 19 : i + 1]
        # two orders of summation
        assert found[i] == pytest.approx(window.mean() / window.std(ddof=1) * 365**0.5, rel=1e-12)
    assert np.isnan(rolling_sharpe(np.full(30, 0.01), 20)).all()


def test_running_best_of_trials_never_falls_and_failures_are_counted():
    figure = figures.trials_scatter(pl.DataFrame({"value": [1.0, None, 3.0, 2.0, float("nan"), 5.0, 4.0]}))
    best = figure.data[-1]
    assert best.x.tolist() == [1, 3, 6, 7]
    assert best.y.tolist() == [1.0, 3.0, 5.0, 5.0]
    assert "7, 2 without a value" in figure.layout.title.text


def test_fills_stand_on_their_own_side_at_their_price():
    base = sheet()
    figure = figures.trades_on_price(base.bars, base.fills)
    candles, buys, sells = figure.data
    assert len(candles.x) <= figures.MAX_CANDLES
    assert candles.high.max() == base.bars["high"].max()
    assert candles.low.min() == base.bars["low"].min()
    assert buys.y.tolist() == base.fills.filter(pl.col("qty") > 0)["price"].to_list()
    assert len(sells.y) == base.fills.filter(pl.col("qty") < 0).height


def test_bands_of_paths_are_nested_around_the_median():
    fan = sheet().monte_carlo.fans["trades"]
    figure = figures.monte_carlo_fan(fan)
    assert [trace.name for trace in figure.data] == ["p05", "90 %", "p25", "50 %", "median"]
    assert figure.layout.yaxis.type == "linear"
    wide = figures.monte_carlo_fan(fan.with_columns(p95=100.0, observed=1.0))
    assert [trace.name for trace in wide.data][-2:] == ["median", "observed"]
    assert wide.layout.yaxis.type == "log"
    assert figures.monte_carlo_fan(fan.with_columns(p95=100.0, p05=0.0)).layout.yaxis.type == "linear"  # ruin


EMPTY = {
    "equity_with_drawdown": {"ts": TS, "equity": pl.Float64}, "monthly_heatmap": {"ts": TS, "equity": pl.Float64},
    "return_distribution": {"ts": TS, "equity": pl.Float64}, "rolling_sharpe": {"ts": TS, "equity": pl.Float64},
    "folds_bar": {"fold": pl.Int64, "sharpe_out_of_sample": pl.Float64}, "exposure": {"ts": TS, "exposure": pl.Float64},
    "feature_importance": {"column": pl.String, "gain_frac": pl.Float64}, "trials_scatter": {"value": pl.Float64},
    "monte_carlo_fan": {"day": pl.Int64, "p50": pl.Float64},
}  # fmt: skip


@pytest.mark.parametrize("name", EMPTY)
def test_figure_without_rows_says_so(name):
    figure = getattr(figures, name)(pl.DataFrame(schema=EMPTY[name]))
    assert isinstance(figure, go.Figure)
    assert figure.layout.annotations[0].text.startswith("Not drawn: ")


@pytest.mark.parametrize("name", [n for n in EMPTY if n != "monte_carlo_fan"])
def test_figure_names_the_column_it_lacks(name):
    column = list(EMPTY[name])[-1]
    with pytest.raises(SchemaMismatch, match=column):
        getattr(figures, name)(pl.DataFrame(schema=EMPTY[name]).drop(column))


def test_drawdowns_have_their_peak_bottom_and_end():
    ts = pl.Series("ts", START + np.array([0, 0, 1, 2, 3, 5, 6]) * NS_PER_DAY).cast(TS)
    frame = pl.DataFrame({"ts": ts, "equity": [100.0, 90.0, 100.0, 120.0, 96.0, 108.0, 114.0]})
    found = account_tables.deepest_drawdowns(frame)
    assert found["depth_frac"].to_list() == pytest.approx([-24 / 120, -10 / 100], rel=1e-12)  # two quotients
    assert found["days"].to_list() == [4.0, 1.0]  # the first lasts; it counts to the last row
    days = found.select(pl.col("start", "bottom", "end").dt.strftime("%m-%d"))
    assert days.rows() == [("01-03", "01-04", None), ("01-01", "01-01", "01-02")]


def test_months_without_a_day_are_left_out():
    ts = pl.Series("ts", START + np.array([0, 0, 40, 400]) * NS_PER_DAY).cast(TS)
    found = account_tables.months(pl.DataFrame({"ts": ts, "equity": [100.0, 110.0, 99.0, 198.0]}))
    assert found.columns == ["year", "jan", "feb", "total"]
    assert found.row(0) == ("2024", pytest.approx(0.1), pytest.approx(-0.1), pytest.approx(-0.01))
    assert found.row(1) == ("2025", None, 1.0, 1.0)


@pytest.mark.parametrize("group", [account_tables.by_side, account_tables.by_hour, account_tables.by_holding])
def test_groups_of_trades_keep_every_trade_and_every_profit(group):
    trades = closed_trades()
    found = group(trades)
    if group is account_tables.by_side:
        assert found["side"].to_list() == ["long", "short", "both"]
        both, found = found[-1], found[:-1]
        assert both["worst_pnl"][0] == trades["pnl"].min()
    assert found["trades"].sum() == 120
    assert found["pnl"].sum() == pytest.approx(trades["pnl"].sum(), rel=1e-12)
    assert (found["win_rate"] * found["trades"]).sum() == pytest.approx((trades["pnl"] > 0).sum(), rel=1e-12)


def test_a_trade_at_a_bound_is_in_the_longer_group_and_in_the_hour_of_its_entry():
    hours = [0.2, 0.25, 1.0, 3.9, 4.0, 24.0]
    at = START + np.array([0, 59, 60, 60, 61, 23 * 60 + 59]) * NS_PER_MINUTE
    trades = pl.DataFrame(
        {"entry_ts": at, "holding_ns": [int(h * 60) * NS_PER_MINUTE for h in hours], "pnl": [1.0, -2, 3, -4, 5, 0]}
    ).with_columns(pl.col("entry_ts").cast(TS))
    held = account_tables.by_holding(trades).select("held", "trades", "pnl", "win_rate").rows()
    assert held == [
        ("under 15 min", 1, 1.0, 1.0), ("15 min to 1 h", 1, -2.0, 0.0), ("1 h to 4 h", 2, -1.0, 0.5),
        ("4 h to 24 h", 1, 5.0, 1.0), ("24 h and more", 1, 0.0, 0.0),
    ]  # fmt: skip
    hour = account_tables.by_hour(trades)
    assert hour["hour"].to_list() == list(range(24))
    assert {h: n for h, n in hour.select("hour", "trades").rows() if n} == {0: 2, 1: 3, 23: 1}
    assert trade_figures.profit_by_hour(trades).data[0].y.tolist()[:2] == [-1.0, 4.0]


def test_figures_of_trades_keep_every_trade():
    trades = closed_trades()
    assert sum(trade_figures.trade_distribution(trades).data[0].y) == 120
    assert sum(trade_figures.profit_by_holding(trades).data[0].customdata) == 120
    for draw in (trade_figures.trade_distribution, trade_figures.profit_by_hour, trade_figures.profit_by_holding):
        assert draw(trades.head(0)).layout.annotations[0].text.startswith("Not drawn: ")


def test_folds_are_shaded_where_they_lie():
    curve = equity(6, step_minutes=60)
    folded = curve.with_columns(pl.Series("fold", np.repeat([0, 1, 2], 48)))
    drawn = figures.equity_with_drawdown(folded)
    shades = [shape for shape in drawn.layout.shapes if shape.type == "rect"]
    assert [str(shape.x0)[:10] for shape in shades] == ["2024-01-01", "2024-01-03", "2024-01-05"]
    assert [shape.opacity for shape in shades] == [0.1, 0.0, 0.1]
    assert not [shape for shape in figures.equity_with_drawdown(curve).layout.shapes if shape.type == "rect"]


def test_what_selection_figures_cannot_see_is_said_beside_them():
    verdict = evaluate_gate({"selection.pbo": 0.1}, [Check("overfitting", "selection.pbo", "<=", 0.2)])
    for told in (tear_sheet(sheet(verdict=verdict)), markdown_report(sheet(verdict=verdict))):
        assert "can see a leak" in told
        assert "PBO has little power" in told
    assert "can see a leak" not in markdown_report(sheet())  # no check reads one, and nothing was selected


def test_numbers_rounded_to_nothing_have_no_sign():
    assert [theme.number(v, n) for v, n in ((-1e-13, "pnl"), (-0.004, "pnl"), (-0.006, "pnl"), (-1e-9, "return"))] == [
        "0.00", "0.00", "−0.01", "0.00 %",
    ]  # fmt: skip


def tables_of(text: str) -> list[list[str]]:
    """Return the lines of each table of a Markdown text, read apart from what wrote them."""
    return [block.splitlines() for block in text.split("\n\n") if block.startswith("| ")]


def test_markdown_has_the_verdict_first_whole_tables_and_no_figures(page):
    told = markdown_report(sheet())
    lines = told.splitlines()
    assert lines[0] == "# Trend and learned candidates on SOLUSDT"
    assert lines[2] == "**✗ Gate refused**: 2 of 3 checks met, 95 trials that the ledger knows of on this market."
    assert "must be &gt; 0; it is unknown (NaN)" in told
    found = tables_of(told)
    assert len(found) >= 8
    for table in found:
        widths = {len(re.findall(r"(?<!\\)\|", line)) for line in table}
        assert len(widths) == 1
    assert len(told.encode()) < 30_000
    assert told == markdown_report(sheet())
    assert "data:" not in told
    headings = [line for line in lines if line.startswith("## ")]
    assert headings == [
        "## Read first", "## Gate", "## Key figures", "## Walk-forward", "## Monte Carlo", "## Account",
        "## Where it comes from",
    ]  # fmt: skip


def test_markdown_of_hostile_text_opens_nothing():
    hostile = EVIL + "\n| a | [x](y) `z` **b**"
    told = markdown_report(
        sheet(
            title=hostile, subtitle=hostile, notes=(hostile,), lineage={hostile: hostile},
            verdict=evaluate_gate({hostile: 1.0}, [Check(hostile, hostile, ">", 2.0, hostile)]),
        )
    )  # fmt: skip
    assert "<" not in told.replace("&lt;", "")
    assert "**b**" not in told
    assert re.search(r"(?<!\\)\[x", told) is None
    for table in tables_of(told):
        assert len({len(re.findall(r"(?<!\\)\|", line)) for line in table}) == 1


def test_a_search_in_which_nothing_traded_is_drawn_without_a_best():
    drawn = figures.trials_scatter(pl.DataFrame({"value": [np.nan, np.nan, np.nan], "candidate": ["a", "a", "b"]}))
    best = next(trace for trace in drawn.data if trace.name == "best so far")
    assert len(best.y) == 0
    rising = figures.trials_scatter(pl.DataFrame({"value": [np.nan, 1.0, 0.5, 2.0]}))
    assert list(next(trace for trace in rising.data if trace.name == "best so far").y) == [1.0, 2.0]
