"""Quality rules: planted defects are all reported, nothing else is touched, and real defects are found."""

import math
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from research.errors import InvalidInput, MisalignedBars, QualityRefused, SchemaMismatch
from research.market.bars import TS, epoch_ns, require_clock
from research.market.quality import (
    DEFAULT_POLICIES,
    POLICIES,
    REPORT_SCHEMA,
    QualityResult,
    check_quality,
)
from research.market.quality_funding import DEFAULT_FUNDING_POLICIES, FUNDING_POLICIES, check_funding
from research.market.quality_report import quality_html
from research.market.quality_rules import Thresholds

MINUTE = 60 * 10**9
HOUR = 60 * MINUTE
START = 1_704_067_200 * 10**9  # 2024-01-01
SIZE = 240
KEEP_ALL = {rule: "keep" for rule, allowed in POLICIES.items() if "keep" in allowed}


def clean_bars(seed: int, size: int = SIZE) -> pl.DataFrame:
    """Return bars that no rule finds anything in: Gaussian returns, log-normal volume."""
    rng = np.random.default_rng(seed)
    close = 100.0 * np.exp(np.cumsum(1e-3 * rng.standard_normal(size)))
    open_ = np.concatenate(([100.0], close[:-1]))
    volume = np.exp(3.0 + 0.3 * rng.standard_normal(size))
    return pl.DataFrame(
        {
            "ts": START + MINUTE * np.arange(size),
            "open": open_,
            "high": np.maximum(open_, close) * 1.0002,
            "low": np.minimum(open_, close) * 0.9998,
            "close": close,
            "volume": volume,
            "turnover": volume * close,
            "trade_count": rng.integers(1, 50, size),
            "taker_buy_volume": volume * rng.random(size),
        }
    ).with_columns(pl.col("ts").cast(TS))


def changed(bars: pl.DataFrame, row: int, **values: float) -> pl.DataFrame:
    at = pl.int_range(pl.len()) == row
    return bars.with_columns(pl.when(at).then(v).otherwise(pl.col(k)).alias(k) for k, v in values.items())


def found(result: QualityResult, rule: str) -> set[int]:
    """Return the row numbers of the clean clock that a rule's ranges cover."""
    rows: set[int] = set()
    for line in result.report.filter(pl.col("rule") == rule).iter_rows(named=True):
        first, last = (int(line[k].timestamp()) * 10**9 for k in ("start_ts", "end_ts"))
        rows |= set(range((first - START) // MINUTE, (last - START) // MINUTE + 1))
    return rows


def as_bytes(frame: pl.DataFrame, rows: list[int]) -> bytes:
    kept = frame[rows]
    return b"".join(kept[c].cast(pl.Float64).fill_null(float("nan")).to_numpy().tobytes() for c in kept.columns[1:])


# Nothing wrong, nothing changed


@pytest.mark.parametrize("seed", range(5))
def test_clean_bars_come_back_as_they_were(seed: int) -> None:
    bars = clean_bars(seed)
    result = check_quality(bars, "1m")
    assert result.report.is_empty()
    assert result.frame.equals(bars)
    assert result.report.schema == REPORT_SCHEMA
    assert result.summary["rule"].to_list() == list(POLICIES)
    assert result.summary["rows"].sum() == 0


def test_defaults_are_allowed_and_complete() -> None:
    for defaults, allowed in ((DEFAULT_POLICIES, POLICIES), (DEFAULT_FUNDING_POLICIES, FUNDING_POLICIES)):
        assert list(defaults) == list(allowed)
        assert all(policy in allowed[rule] for rule, policy in defaults.items())


def test_no_rows_are_no_findings() -> None:
    result = check_quality(clean_bars(0)[:0], "1m")
    assert result.frame.is_empty()
    assert result.report.is_empty()


def test_one_bar_has_nothing_to_be_measured_against() -> None:
    bars = clean_bars(0, 1)
    result = check_quality(bars, "1m")
    assert result.frame.equals(bars)
    assert result.report.is_empty()


# Planted defects

VALUE_DEFECTS = ("nonfinite", "nonpositive", "crossed", "spike", "volume_invalid", "volume_spike", "stale")
ONE_ROW = {
    "nonfinite": lambda row: {"close": math.inf},
    "nonpositive": lambda row: {"low": 0.0},
    "crossed": lambda row: {"high": row["low"] * 0.999},
    "spike": lambda row: {c: row[c] * 1.5 for c in ("open", "high", "low", "close")},
    "volume_invalid": lambda row: {"volume": -1.0},
    "volume_spike": lambda row: {"volume": row["volume"] * 1e6},
}


@st.composite
def planted(draw: st.DrawFn) -> tuple[int, dict[str, list[int]], dict[str, str]]:
    """Return a seed, the rows of each defect (far enough apart not to meet) and a policy for each."""
    places = draw(st.permutations(range(5, SIZE - 10, 8)))
    kinds = draw(st.lists(st.sampled_from(("gap", "duplicate", "unordered", *VALUE_DEFECTS)), max_size=8))
    where: dict[str, list[int]] = {}
    for kind, place in zip(kinds, places, strict=False):
        where.setdefault(kind, []).append(place)
    policies = {kind: draw(st.sampled_from([p for p in POLICIES[kind] if p != "error"])) for kind in set(kinds)}
    return draw(st.integers(0, 4)), where, {"unordered": "keep", "spike": "keep", **policies}


@settings(deadline=None, max_examples=120)
@given(planted())
def test_every_planted_defect_is_reported_and_no_other_row_touched(
    case: tuple[int, dict[str, list[int]], dict[str, str]],
) -> None:
    seed, where, policies = case
    clean = clean_bars(seed)
    bars = clean
    for kind, rows in where.items():
        for row in rows:
            if kind in ONE_ROW:
                bars = changed(bars, row, **ONE_ROW[kind](bars.row(row, named=True)))
            elif kind == "stale":
                level = bars["close"][row - 1]
                for k in range(row, row + 3):
                    flat = dict.fromkeys(("open", "high", "low", "close"), level)
                    bars = changed(bars, k, **flat, volume=0.0, turnover=0.0, taker_buy_volume=0.0)
    intended = bars  # what each row says, before rows are removed, repeated and moved
    order = [i for i in range(SIZE) if i not in where.get("gap", [])]
    for row in where.get("duplicate", []):
        order.insert(order.index(row), row)
    for row in where.get("unordered", []):
        at = order.index(row)
        order[at], order[at + 1] = order[at + 1], order[at]
    result = check_quality(bars[order], "1m", policies)

    expected = {kind: set(rows) for kind, rows in where.items()}
    if "stale" in where:
        expected["stale"] = {k for row in where["stale"] for k in range(row, row + 3)}
    for kind in POLICIES:
        if kind != "jump":  # a planted spike or the bar after a stale run is a jump too, rightly
            assert found(result, kind) == expected.get(kind, set()), kind
    emptied = set(where.get("gap", []))
    for kind, rows in expected.items():
        if policies[kind] in ("drop", "nan") and kind != "duplicate":
            emptied |= rows
    assert result.frame["ts"].to_list() == clean["ts"].to_list()
    rest = [i for i in range(SIZE) if i not in emptied]
    assert as_bytes(result.frame, rest) == as_bytes(intended, rest)
    empty = result.frame[sorted(emptied)]
    for name in empty.columns[1:]:
        assert empty[name].cast(pl.Float64).fill_null(float("nan")).is_nan().all()


@settings(deadline=None, max_examples=30)
@given(planted())
def test_a_result_examined_again_is_unchanged(case: tuple[int, dict[str, list[int]], dict[str, str]]) -> None:
    seed, where, _ = case
    bars = clean_bars(seed)
    for kind, rows in where.items():
        for row in rows:
            if kind in ONE_ROW:
                bars = changed(bars, row, **ONE_ROW[kind](bars.row(row, named=True)))
    once = check_quality(bars, "1m")
    twice = check_quality(once.frame, "1m")
    assert twice.frame.equals(once.frame, null_equal=True)
    assert set(twice.report["rule"]) <= {"gap", "spike", "jump", "volume_spike"}  # what the defaults leave


# Rules one by one


def bars_with(rule: str) -> pl.DataFrame:
    bars = clean_bars(1)
    if rule in ONE_ROW:
        return changed(bars, 50, **ONE_ROW[rule](bars.row(50, named=True)))
    if rule == "unordered":
        return bars[[1, 0, *range(2, SIZE)]]
    if rule == "off_grid":
        late = pl.when(pl.int_range(pl.len()) == 9).then(pl.col("ts").dt.offset_by("7s"))
        return bars.with_columns(late.otherwise("ts").alias("ts"))
    if rule == "duplicate":
        return bars[[0, 0, *range(1, SIZE)]]
    if rule == "conflict":
        return pl.concat([bars[:10], changed(bars, 9, volume=1.0)[9:10], bars[10:]])
    if rule == "gap":
        return bars[[0, *range(5, SIZE)]]
    if rule == "jump":
        prices = ("open", "high", "low", "close")
        after = pl.int_range(pl.len()) >= 100
        return bars.with_columns(pl.when(after).then(pl.col(c) * 1.2).otherwise(pl.col(c)).alias(c) for c in prices)
    flat = dict.fromkeys(("open", "high", "low", "close"), bars["close"][59])
    for k in (60, 61, 62):
        bars = changed(bars, k, **flat, volume=0.0, turnover=0.0, taker_buy_volume=0.0)
    return bars


@pytest.mark.parametrize("rule", list(POLICIES))
def test_policy_error_refuses_with_rule_count_and_rows(rule: str) -> None:
    policies = {**KEEP_ALL, "duplicate": "drop", "conflict": "nan", "off_grid": "drop", rule: "error"}
    rows = {"gap": 4, "stale": 3, "conflict": 2}.get(rule, 1)
    with pytest.raises(QualityRefused, match=rf"bars must not hold {rule} rows .* received {rows}, first: 2024-01-01T"):
        check_quality(bars_with(rule), "1m", policies)


@pytest.mark.parametrize("rule", [r for r in POLICIES if "keep" in POLICIES[r]])
def test_policy_keep_reports_and_changes_nothing(rule: str) -> None:
    bars = bars_with(rule)
    result = check_quality(bars, "1m", KEEP_ALL)
    line = result.summary.filter(pl.col("rule") == rule).row(0, named=True)
    assert line["rows"] > 0
    assert line["policy"] == "keep"
    kept = result.frame.join(bars, on="ts", how="semi")
    assert kept.equals(bars.sort("ts"), null_equal=True)


def test_dropping_the_first_bar_shortens_the_clock_and_nan_does_not() -> None:
    bars = changed(clean_bars(2), 0, volume=-1.0)
    assert check_quality(bars, "1m", {"volume_invalid": "drop"}).frame.equals(bars[1:])
    blank = check_quality(bars, "1m", {"volume_invalid": "nan"}).frame
    assert blank["ts"][0] == bars["ts"][0]
    assert math.isnan(blank["close"][0])
    assert blank["trade_count"][0] is None


def test_gaps_are_reported_as_ranges_and_become_nan() -> None:
    bars = clean_bars(3)
    result = check_quality(bars.filter(~pl.int_range(pl.len()).is_in([20, 21, 22, 70])), "1m")
    gaps = result.report.filter(pl.col("rule") == "gap")
    assert gaps["rows"].to_list() == [3, 1]
    assert gaps["start_ts"].to_list() == [bars["ts"][20], bars["ts"][70]]
    assert gaps["end_ts"].to_list() == [bars["ts"][22], bars["ts"][70]]
    require_clock(epoch_ns(result.frame), MINUTE)
    assert result.frame["close"].is_nan().sum() == 4


def test_a_conflict_is_never_decided() -> None:
    bars = bars_with("conflict")
    for policy in ("nan", "drop"):
        result = check_quality(bars, "1m", {"conflict": policy})
        assert math.isnan(result.frame["close"][9])
        assert result.report.select("rule", "rows").rows() == [("conflict", 2)]


def test_a_lasting_jump_is_no_spike() -> None:
    result = check_quality(bars_with("jump"), "1m")
    assert result.report.select("rule", "rows").rows() == [("jump", 1)]
    # log(1.2) over a robust scale of about 0.1 %
    assert 120 < result.report["value"][0] < 260


def test_a_wick_that_comes_and_goes_within_a_bar_is_a_spike() -> None:
    bars = clean_bars(4)
    result = check_quality(changed(bars, 80, low=bars["low"][80] * 0.8), "1m")
    assert result.report.select("rule", "rows").rows() == [("spike", 1)]


def test_the_first_bar_can_be_a_spike() -> None:
    bars = clean_bars(4)
    row = bars.row(0, named=True)
    result = check_quality(changed(bars, 0, **ONE_ROW["spike"](row)), "1m")
    assert found(result, "spike") == {0}


def test_two_flat_bars_are_not_stale_and_a_move_ends_a_run() -> None:
    bars = bars_with("stale")
    assert found(check_quality(bars, "1m"), "stale") == {60, 61, 62}
    assert not found(check_quality(bars, "1m", thresholds=Thresholds(stale_bars=4)), "stale")
    traded = changed(bars, 61, volume=1.0)
    assert not found(check_quality(traded, "1m"), "stale")


@pytest.mark.parametrize(
    "values",
    [
        {"volume": math.nan},
        {"volume": math.inf},
        {"turnover": -1.0},
        {"taker_buy_volume": 1e9},
        {"trade_count": -1},
        {"turnover": math.inf},
    ],
)
def test_impossible_flow_is_found(values: dict[str, float]) -> None:
    assert found(check_quality(changed(clean_bars(0), 33, **values), "1m"), "volume_invalid") == {33}


def test_flow_that_was_not_recorded_is_no_finding() -> None:
    bars = clean_bars(0).select("ts", "open", "high", "low", "close", "volume")
    result = check_quality(bars, "1m")
    assert result.report.is_empty()
    assert result.frame["turnover"].is_nan().all()


def test_a_constant_series_divides_by_no_zero() -> None:
    flat = clean_bars(0).with_columns(
        *(pl.lit(100.0).alias(c) for c in ("open", "high", "low", "close", "volume")), taker_buy_volume=pl.lit(50.0)
    )
    assert check_quality(flat, "1m").report.is_empty()
    stepped = changed(flat, 100, **dict.fromkeys(("open", "high", "low", "close"), 100.01))
    assert check_quality(stepped, "1m").report.is_empty()  # one tick of 0.01 is no jump


# Refusals


@pytest.mark.parametrize(
    ("policies", "subject"),
    [
        ({"spikes": "keep"}, "policies.spikes"),
        ({"gap": "drop"}, "policies.gap"),
        ({"duplicate": "keep"}, "policies.duplicate"),
        ({"crossed": "repair"}, "policies.crossed"),
    ],
)
def test_impossible_policies_are_refused(policies: dict[str, str], subject: str) -> None:
    with pytest.raises(InvalidInput, match=subject):
        check_quality(clean_bars(0), "1m", policies)


def test_bad_frames_and_thresholds_are_refused() -> None:
    bars = clean_bars(0)
    with pytest.raises(SchemaMismatch, match="volume"):
        check_quality(bars.drop("volume"), "1m")
    with pytest.raises(InvalidInput, match="interval"):
        check_quality(bars, "7m")
    null = bars.with_columns(pl.when(pl.int_range(pl.len()) == 3).then(None).otherwise("ts").alias("ts"))
    with pytest.raises(InvalidInput, match=r"bars\.ts\[3\]"):
        check_quality(null, "1m")
    far = pl.concat([bars, bars[:1].with_columns(pl.col("ts").dt.offset_by("200y"))])
    with pytest.raises(InvalidInput, match="span"):
        check_quality(far, "1m")
    for change in ({"spike_z": 0.0}, {"volume_z": math.nan}, {"stale_bars": 1}, {"window_bars": 2.5}):
        with pytest.raises(InvalidInput, match=next(iter(change))):
            Thresholds(**change)


def test_off_grid_rows_are_refused_by_default_not_moved() -> None:
    with pytest.raises(QualityRefused, match="off_grid"):
        check_quality(bars_with("off_grid"), "1m")
    result = check_quality(bars_with("off_grid"), "1m", {"off_grid": "drop"})
    assert result.report.filter(pl.col("rule") == "off_grid")["value"].to_list() == [7e9]
    assert math.isnan(result.frame["close"][9])


# Funding


def funding_rows(*hours: float, rate: float = 1e-4, interval: float = 8.0) -> pl.DataFrame:
    ts = [START + int(h * HOUR) for h in hours]
    frame = pl.DataFrame({"ts": ts, "rate": [rate] * len(ts), "interval_hours": [interval] * len(ts)})
    return frame.with_columns(pl.col("ts").cast(TS))


def funding_findings(frame: pl.DataFrame, **policies: str) -> list[tuple[str, int, float]]:
    return check_funding(frame, policies).report.select("rule", "rows", "value").rows()


def test_whole_funding_passes_unchanged() -> None:
    rows = funding_rows(*range(0, 80, 8))
    result = check_funding(rows)
    assert result.frame.equals(rows)
    assert result.report.is_empty()


def test_funding_holes_are_measured_by_the_rows_own_interval() -> None:
    assert funding_findings(funding_rows(0, 8, 32, 40)) == [("hole", 1, 2.0)]
    dated = pl.concat([funding_rows(0, 8, 16), funding_rows(20, 24, 32, interval=4.0)])
    assert funding_findings(dated) == [("hole", 1, 1.0)]
    assert funding_findings(funding_rows(0, 8, 12, 16)) == [("overlap", 2, 4.0)]


def test_funding_jitter_is_snapped_and_reported() -> None:
    rows = funding_rows(0, 8 + 0.004 / 3600, 16 - 0.002 / 3600, 24)
    result = check_funding(rows)
    assert result.frame.equals(funding_rows(0, 8, 16, 24))
    assert result.report.select("rule", "policy", "rows").rows() == [("jitter", "snap", 2)]
    assert check_funding(rows, {"jitter": "keep"}).frame.equals(rows)


def test_funding_told_twice_late_or_beyond_the_cap_is_found() -> None:
    rows = funding_rows(0, 8, 16, 24)
    assert funding_findings(rows[[0, 1, 1, 2, 3]]) == [("duplicate", 1, 2.0)]
    contradiction = pl.concat([rows, rows[1:2].with_columns(rate=pl.lit(2e-4))]).sort("ts", maintain_order=True)
    with pytest.raises(QualityRefused, match="conflict"):
        check_funding(contradiction)
    assert check_funding(contradiction, {"conflict": "drop"}).frame.equals(rows[[0, 2, 3]])
    with pytest.raises(QualityRefused, match="unordered"):
        check_funding(rows[[1, 0, 2, 3]])
    assert check_funding(rows[[1, 0, 2, 3]], {"unordered": "keep"}).frame.equals(rows)
    wild = rows.with_columns(pl.when(pl.int_range(4) == 2).then(-0.03).otherwise("rate").alias("rate"))
    assert funding_findings(wild) == [("cap", 1, -0.03)]
    assert math.isnan(check_funding(wild, {"cap": "nan"}).frame["rate"][2])
    assert funding_findings(funding_rows(0, 8, 16.3, 24))[0][0] == "off_hour"
    for column, rule in (("rate", "nonfinite"), ("interval_hours", "interval")):
        broken = rows.with_columns(pl.when(pl.int_range(4) == 1).then(math.nan).otherwise(column).alias(column))
        with pytest.raises(QualityRefused, match=rule):
            check_funding(broken)
        assert funding_findings(broken, **{rule: "drop"})[0][0] == rule
    with pytest.raises(InvalidInput, match="cap_frac"):
        check_funding(rows, cap_frac=0.0)


# HTML


class Balanced(HTMLParser):
    """Fails on a tag closed out of turn and remembers what it saw."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[str] = []
        self.addresses: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append(tag)
        self.addresses += [v or "" for k, v in attrs if k in ("src", "href")]
        if tag != "meta":
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


@pytest.mark.parametrize("rule", list(POLICIES))
def test_the_page_is_whole_escaped_and_loads_nothing(rule: str) -> None:
    policies = {**KEEP_ALL, "conflict": "nan", "off_grid": "drop"}
    page = quality_html(check_quality(bars_with(rule), "1m", policies), "<script>alert('a & b')</script>")
    parser = Balanced()
    parser.feed(page)
    assert not parser.open
    assert not parser.addresses
    assert "script" not in parser.seen
    assert "&lt;script&gt;" in page
    assert parser.seen.count("svg") == 1
    assert f"<td>{rule}</td>" in page.split("<h2>Findings</h2>")[1]


def test_the_page_says_what_it_left_out() -> None:
    bars = clean_bars(0).filter(pl.int_range(pl.len()) % 3 != 1)
    result = check_quality(bars, "1m")
    assert result.report.height == 80
    assert "70 further findings" in quality_html(result, "gaps", most_rows=10)
    assert "further" not in quality_html(result, "gaps")


def test_long_empty_and_funding_results_have_pages() -> None:
    long = quality_html(check_quality(clean_bars(0, 50_000), "1m"), "long")
    assert len(long) < 60_000  # at most two points a pixel
    assert "No rows remain" in quality_html(check_quality(clean_bars(0)[:0], "1m"), "none")
    assert "hole" in quality_html(check_funding(funding_rows(0, 8, 32)), "funding")


# Real data


def stored(folder: Path, name: str) -> pl.DataFrame:
    return pl.read_parquet(folder / f"{name}.parquet").sort("ts")


def test_the_missing_month_of_fil_is_one_gap(market_data: Path) -> None:
    result = check_quality(stored(market_data, "binance/usdm/FILUSDT/1m"), "1m")
    gap = result.report.filter(pl.col("rule") == "gap")
    assert gap.select("rows", "value").rows() == [(44_640, 44_640.0)]
    assert f"{gap['start_ts'][0]:%Y-%m-%d %H:%M}" == "2023-07-01 00:00"
    assert f"{gap['end_ts'][0]:%Y-%m-%d %H:%M}" == "2023-07-31 23:59"
    assert result.frame.height == 132_480 + 44_640
    with pytest.raises(QualityRefused, match=r"gap rows .* received 44640"):
        check_quality(stored(market_data, "binance/usdm/FILUSDT/1m"), "1m", {"gap": "error"})


def test_the_launch_prints_of_eth_are_spikes_of_tiny_volume(market_data: Path) -> None:
    result = check_quality(stored(market_data, "binance/usdm/ETHUSDT/1h"), "1h")
    for rule in ("spike", "volume_spike"):
        first = result.report.filter(pl.col("rule") == rule).row(0, named=True)
        assert f"{first['start_ts']:%Y-%m-%d %H}" == "2019-11-27 07", rule  # 146.0, the first hour
        assert first["rows"] == 2


def test_the_halt_of_september_2023_is_stale(market_data: Path) -> None:
    result = check_quality(stored(market_data, "binance/usdm/BTCUSDT/5m"), "5m")
    halt = result.report.filter(pl.col("rule") == "stale")
    assert halt["rows"].to_list() == [3]
    assert f"{halt['start_ts'][0]:%Y-%m-%d %H:%M}" == "2023-09-12 08:35"
    assert f"{halt['end_ts'][0]:%Y-%m-%d %H:%M}" == "2023-09-12 08:45"


def test_outages_of_binance_spot_are_27_gaps(market_data: Path) -> None:
    gaps = check_quality(stored(market_data, "binance/spot/BTCUSDT/1h"), "1h").report.filter(pl.col("rule") == "gap")
    assert (gaps.height, gaps["rows"].sum(), gaps["rows"].max()) == (27, 122, 33)


def test_good_real_bars_are_left_alone(market_data: Path) -> None:
    bars = stored(market_data, "bybit/linear/SOLUSDT/5m")
    result = check_quality(bars, "5m")
    assert result.report.is_empty()
    assert result.frame.select(bars.columns).equals(bars.with_columns(pl.col("ts").cast(TS)))


def test_real_funding_has_the_recorded_jitter(market_data: Path) -> None:
    hours = {"binance/usdm/SOLUSDT": (8.0, 93), "binance/usdm/ENAUSDT": (4.0, 181), "bybit/linear/SOLUSDT": (8.0, 0)}
    for name, (interval, jittered) in hours.items():
        rows = stored(market_data, f"{name}/funding").select("ts", "rate").with_columns(interval_hours=pl.lit(interval))
        result = check_funding(rows)
        assert set(result.report["rule"]) <= {"jitter"}
        assert result.report["rows"].sum() == jittered
        assert (epoch_ns(result.frame) % (3600 * 10**9) == 0).all()


def test_hourly_funding_read_as_eight_hourly_is_found(market_data: Path) -> None:
    rows = stored(market_data, "hyperliquid/perp/BTCUSDC/funding").select("ts", "rate")
    wrong = check_funding(rows.with_columns(interval_hours=pl.lit(8.0)))
    assert wrong.summary.filter(pl.col("rule") == "overlap")["rows"][0] > 18_000


def test_bars_on_no_clock_are_refused_by_the_platform_but_cleaned_here() -> None:
    bars = bars_with("gap")
    with pytest.raises(MisalignedBars):
        require_clock(epoch_ns(bars), MINUTE)
    require_clock(epoch_ns(check_quality(bars, "1m").frame), MINUTE)
