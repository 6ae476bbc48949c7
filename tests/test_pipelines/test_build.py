"""The stages as one: same bytes from the same parameters, the hold-out unseen, bad data refused."""

import hashlib
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from pipelines import features, search, train, validate, walk_forward
from pipelines.workspace import Workspace
from research.errors import NotInLake, QualityRefused
from research.market.bars import TS, epoch_ns
from research.market.quality import POLICIES


def hashes(root: Path, *folders: str) -> dict[str, str]:
    files = [p for f in folders for p in sorted((root / f).rglob("*")) if p.is_file()]
    assert files
    return {p.relative_to(root).as_posix(): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}


def test_two_builds_of_the_same_parameters_have_the_same_bytes(small_build, small_overrides, build_pipeline, tmp_path):
    _, first = small_build
    _, second = build_pipeline(tmp_path, *small_overrides)
    assert hashes(first.root, "data", "models/candidate") == hashes(second.root, "data", "models/candidate")


def test_another_seed_gives_another_market(small_build, small_overrides, build_pipeline, tmp_path):
    _, first = small_build
    _, second = build_pipeline(tmp_path, *small_overrides, "seed=8")
    assert hashes(first.root, "data/clean") != hashes(second.root, "data/clean")


def test_nothing_that_is_chosen_or_fitted_has_seen_the_holdout(small_build, tmp_path):
    params, workspace = small_build
    start_ns = workspace.read_json("data/backtest/window.json")["start_ns"]
    other = Workspace(tmp_path)
    where = (params.market.venue, params.market.market, params.market.symbol)
    bars = workspace.clean.bars(*where, "1m")
    rng = np.random.default_rng(1)
    later = pl.Series(np.where(epoch_ns(bars) >= start_ns, rng.uniform(0.5, 2.0, bars.height), 1.0))
    scrambled = bars.with_columns(pl.col("open", "high", "low", "close", "volume") * later)
    other.clean.write(scrambled, *where, "bars", "1m")
    other.clean.write(workspace.clean.funding(*where), *where, "funding")
    other.clean.write(workspace.clean.mark(*where, "1m"), *where, "mark", "1m")
    other.clean.write_instrument(workspace.clean.instrument(*where))
    for stage in (features, search, train, walk_forward):
        stage.run(params, other)
    assert hashes(workspace.root, "data/features") != hashes(other.root, "data/features")
    seen = ("data/search", "data/walk_forward", "models/candidate")
    assert hashes(workspace.root, *seen) == hashes(other.root, *seen)


def test_bars_missing_beyond_the_limit_refuse_the_series(small_build, tmp_path):
    params, workspace = small_build
    where = (params.market.venue, params.market.market, params.market.symbol)
    bars = workspace.lake.bars(*where, "1m")
    other = Workspace(tmp_path)
    other.lake.write(bars.filter(pl.col("ts").dt.hour() != 7), *where, "bars", "1m")
    with pytest.raises(QualityRefused, match=r"0\.04\d+ exceeds validate\.max_missing_frac 0\.02"):
        validate.run(params, other)
    assert not (tmp_path / "data/clean").exists()


def test_a_series_that_is_not_in_the_lake_is_named(small_build, tmp_path):
    params, workspace = small_build
    other = Workspace(tmp_path)
    where = (params.market.venue, params.market.market)
    other.lake.write(workspace.lake.bars(*where, "BTCUSDT", "1m"), *where, "BTCUSDT", "bars", "1m")
    with pytest.raises(NotInLake, match="SOLUSDT"):
        validate.run(params, other)


def lake_of(workspace, root, symbols, changes):
    """Copy series of a lake below another root, each frame through the change of its (symbol, kind)."""
    other = Workspace(root)
    for symbol in symbols:
        where = ("simulated", "linear", symbol)
        for kind, interval in (("bars", "1m"), ("mark", "1m"), ("funding", None)):
            frame = workspace.lake.read(*where, kind, interval).head(20_000)
            other.lake.write(changes.get((symbol, kind), lambda f: f)(frame), *where, kind, interval)
        other.lake.write_instrument(workspace.lake.instrument(*where))
    return other


def crossed(frame, rows=slice(100, 103)):
    """Return bars of which some have a high below their low."""
    at = pl.int_range(pl.len()).is_between(rows.start, rows.stop - 1)
    return frame.with_columns(pl.when(at).then(pl.col("low") * 0.5).otherwise(pl.col("high")).alias("high"))


def with_policies(params, **policies):
    return params.model_copy(update={"validate_": params.validate_.model_copy(update=policies)})


def test_a_defect_of_a_series_that_is_not_traded_is_reported_and_refuses_nothing(small_build, tmp_path):
    params, workspace = small_build
    params = with_policies(
        params, policies={"crossed": "error", "gap": "error"}, funding_policies={"hole": "error", "cap": "error"}
    )

    def holed(frame):
        return frame.filter(pl.int_range(pl.len()) != 5)

    changes = {("BTCUSDT", "bars"): crossed, ("BTCUSDT", "mark"): holed, ("BTCUSDT", "funding"): holed}
    other = lake_of(workspace, tmp_path, ["BTCUSDT", "SOLUSDT"], changes)
    validate.run(params, other)
    found = other.read_frame("data/reports/quality.parquet").filter(pl.col("policy") == "error")
    assert found.select("series", "rule", "rows").rows() == [
        ("simulated_linear_BTCUSDT_bars_1m", "crossed", 3),
        ("simulated_linear_BTCUSDT_funding", "hole", 1),
        ("simulated_linear_BTCUSDT_mark_1m", "gap", 1),
    ]
    assert other.clean.series()["symbol"].unique().to_list() == ["SOLUSDT"]
    page = other.read_bytes("data/reports/quality/simulated_linear_BTCUSDT_bars_1m.html").decode()
    assert '<tr class="found"><td>crossed</td><td>error</td>' in page


@pytest.mark.parametrize("kind", ["bars", "mark", "funding"])
def test_the_same_defect_of_the_traded_series_refuses_the_build(kind, small_build, tmp_path):
    params, workspace = small_build
    params = with_policies(params, policies={"gap": "error"}, funding_policies={"hole": "error"})
    changes = {("SOLUSDT", kind): lambda frame: frame.filter(pl.int_range(pl.len()) != 5)}
    rule, suffix = ("hole", "") if kind == "funding" else ("gap", "_1m")
    with pytest.raises(
        QualityRefused, match=rf"simulated_linear_SOLUSDT_{kind}{suffix}: \w+ must not hold {rule} rows"
    ):
        validate.run(params, lake_of(workspace, tmp_path, ["SOLUSDT"], changes))
    assert not (tmp_path / "data/clean").exists()


def test_rules_that_can_not_be_kept_do_not_refuse_an_untraded_series_either():
    stated = dict.fromkeys(POLICIES, "error")
    passing = validate._reporting(stated, POLICIES)
    assert set(passing.values()) == {"keep", "drop"}
    assert [rule for rule, policy in passing.items() if policy not in POLICIES[rule]] == []
    assert validate._reporting({"gap": "keep", "crossed": "nan"}, POLICIES) == {"gap": "keep", "crossed": "nan"}


def test_impossible_mark_prices_are_reported_and_taken_out(small_build, tmp_path):
    params, workspace = small_build

    def negative(frame):
        at = pl.int_range(pl.len())
        return crossed(frame).with_columns(pl.when(at == 500).then(-1.0).otherwise(pl.col("open")).alias("open"))

    other = lake_of(workspace, tmp_path, ["SOLUSDT"], {("SOLUSDT", "mark"): negative})
    validate.run(params, other)
    found = other.read_frame("data/reports/quality.parquet").filter(
        (pl.col("series") == "simulated_linear_SOLUSDT_mark_1m") & (pl.col("policy") == "nan")
    )
    # An open of -1 lies below its low, too.
    assert found.select("rule", "rows").rows() == [("nonpositive", 1), ("crossed", 3), ("crossed", 1)]
    where = ("simulated", "linear", "SOLUSDT")
    given, clean = other.lake.mark(*where, "1m"), other.clean.mark(*where, "1m")
    wrong = pl.int_range(pl.len()).is_between(100, 102) | (pl.int_range(pl.len()) == 500)
    assert clean.equals(given.filter(~wrong))
    page = other.read_bytes("data/reports/quality/simulated_linear_SOLUSDT_mark_1m.html").decode()
    assert "<td>crossed</td>" in page
    assert "volume" not in page


def test_funding_policies_reach_the_rules(small_build, tmp_path):
    params, workspace = small_build
    changes = {("SOLUSDT", "funding"): lambda f: f.with_columns(pl.lit(0.05).alias("rate"))}
    other = lake_of(workspace, tmp_path, ["SOLUSDT"], changes)
    validate.run(params, other)
    with pytest.raises(QualityRefused, match="SOLUSDT_funding: funding must not hold cap rows"):
        validate.run(with_policies(params, funding_policies={"cap": "error"}), other)


def test_the_walk_forward_names_its_return(small_build):
    _, workspace = small_build
    folds = workspace.read_frame("data/walk_forward/folds.parquet")
    assert "ret" not in folds.columns
    shown = workspace.read_frame("data/reports/folds.csv")
    assert shown["total_return"].to_list() == pytest.approx(folds["total_return"].to_list(), rel=1e-12)
    stitched = workspace.read_json("data/reports/walk_forward.json")
    whole = np.prod(1.0 + workspace.read_frame("data/walk_forward/returns.parquet")["ret"].to_numpy()) - 1.0
    assert stitched["total_return"] == pytest.approx(whole, rel=1e-9)
    assert np.prod(1.0 + folds["total_return"].to_numpy()) - 1.0 == pytest.approx(whole, rel=1e-9)


def test_gaps_in_the_lake_go_through_every_stage(small_build, small_overrides, build_pipeline, tmp_path):
    params, workspace = small_build
    where = (params.market.venue, params.market.market, params.market.symbol)
    downloaded = Workspace(tmp_path / "downloads").lake
    bars = workspace.lake.bars(*where, "1m")
    at = pl.int_range(pl.len())
    holes = bars.filter(~at.is_between(20_000, 20_100) & ~at.is_between(70_003, 70_011) & (at != 75_000))
    downloaded.write(holes, *where, "bars", "1m")
    downloaded.write(workspace.lake.funding(*where), *where, "funding")
    downloaded.write_instrument(workspace.lake.instrument(*where))
    _, built = build_pipeline(
        tmp_path / "build", *small_overrides, "ingest.source=lake", f"ingest.lake.folder={downloaded.root}"
    )
    table = built.read_frame("data/features/table.parquet")
    assert table["close"].is_nan().sum() == 20 + 1  # whole decision bars without a minute
    equity = built.read_frame("data/backtest/equity.parquet")
    assert equity.height == workspace.read_frame("data/backtest/equity.parquet").height
    assert equity["equity"].is_finite().all()


def test_real_bars_go_through_every_stage(market_data, build_pipeline, tmp_path):
    _, built = build_pipeline(
        tmp_path, f"ingest.files.folder={market_data}", "ingest.files.end='2025-07-01'", "backtest.holdout_days=20",
        "walk_forward.train_days=20", "walk_forward.test_days=10", "walk_forward.step_days=10", "search.trials=4",
        "search.folds=2", "walk_forward.trials=2", "monte_carlo.paths=200",
        params="profiles/bybit_sol_5m.yaml",
    )  # fmt: skip
    figures = built.read_json("data/reports/backtest.json")
    assert figures["days"] == 20
    assert figures["funding_settlements"] == 60
    source = pl.read_parquet(market_data / "bybit/linear/SOLUSDT/5m.parquet")
    table = built.read_frame("data/features/table.parquet")
    last = source.filter(pl.col("ts") < pl.datetime(2025, 7, 1, time_zone="UTC"))
    assert table["close"][-1] == last["close"][-1]
    assert table["ts"].dtype == TS
    assert not built.read_json("data/reports/gate.json")["passed"]  # no claim on eighty days of a real market
