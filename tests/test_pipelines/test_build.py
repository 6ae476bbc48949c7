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
        "search.folds=2", "walk_forward.trials=2", "monte_carlo.paths=200", params="profiles/bybit_sol_5m.yaml",
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
