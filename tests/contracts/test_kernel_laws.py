"""Every registered kernel keeps the laws; a kernel is tested by being registered."""

import importlib
import os
import subprocess
import sys
from functools import cache
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from research.errors import InvalidInput
from research.features import CATALOGUE, FeatureSet, assemble
from research.kernel import UNBOUNDED, KernelSpec
from research.market.bars import conform, on_clock
from research.risk import SIZERS
from research.strategies import STRATEGIES

ROOT = Path(__file__).resolve().parents[2]
REGISTRIES = {"features": CATALOGUE, "strategies": STRATEGIES, "risk": SIZERS}
KERNELS = [(registry, name) for registry, specs in REGISTRIES.items() for name in specs]
every_kernel = pytest.mark.parametrize(("registry", "name"), KERNELS, ids=[f"{r}-{n}" for r, n in KERNELS])


@pytest.fixture(scope="module")
def markets(laws):
    """Return simulated markets by their number of bars."""

    @cache
    def of(n: int):
        return {name: laws.roles(columns) for name, columns in laws.market(n).items()}

    return of


@pytest.fixture(scope="module")
def cases(laws, markets):
    def of(registry: str, name: str):
        spec = REGISTRIES[registry][name]
        found = []
        for arguments in laws.parameter_sets(spec):
            needed = max(spec.warmup(*arguments), spec.lookback(*arguments), 300)  # the warm-up is left well behind
            n = 1_000 * -(-(2 * needed + 600) // 1_000)
            found += [
                laws.Case(spec, arguments, columns, data, registry != "features")
                for data, columns in markets(n).items()
            ]
        return found

    return of


@every_kernel
def test_one_bar_at_a_time_is_the_batch(laws, cases, registry, name):
    for case in cases(registry, name):
        laws.chunk(case, range(1, case.n))


@every_kernel
def test_any_split_gives_the_same_bytes(laws, cases, registry, name):
    known = cases(registry, name)

    @settings(max_examples=40, deadline=None)
    @given(case=st.sampled_from(known), cuts=st.sets(st.floats(0.0, 1.0), max_size=12))
    def check(case, cuts):
        laws.chunk(case, sorted({round(cut * case.n) for cut in cuts}))  # a cut at 0 or n is a chunk without bars

    check()


@every_kernel
def test_output_up_to_a_bar_ignores_what_comes_later(laws, cases, registry, name):
    for case in cases(registry, name):
        for k in (1, 2, case.n // 3, case.n - 1):
            laws.prefix(case, k)


@every_kernel
def test_a_saved_state_goes_on(laws, cases, registry, name):
    for case in cases(registry, name):
        for k in (1, case.n // 2):
            laws.resume_here(case, k)


@every_kernel
def test_a_cold_start_catches_up_within_the_warmup(laws, cases, registry, name):
    compared = 0
    for case in cases(registry, name):
        recursive = case.spec.warmup(*case.arguments) > case.spec.lookback(*case.arguments)
        # Where a market has stopped, the ratio of two decaying averages may fade as slowly as the trace of the start
        # does: no number of bars makes one small against the other. A window promises this too.
        if recursive and case.data == "halted":
            continue
        for k in (1, 17, case.n // 4 + 1):
            compared += laws.restart(case, k)
    assert compared > 500


@pytest.mark.parametrize("name", [name for name, spec in CATALOGUE.items() if spec.warmup(*spec.arguments()) > 0])
def test_the_declared_warmup_is_the_measured_one(laws, markets, name):
    # On the random walk: it holds, and it is no more than what the decay of an average needs. What a register forgets
    # after so many bars, it may by chance have forgotten long before.
    spec = CATALOGUE[name]
    declared, lookback = spec.warmup(*spec.arguments()), spec.lookback(*spec.arguments())
    n = 1_000 * -(-(3 * declared + 2_000) // 1_000)
    case = laws.Case(spec, spec.arguments(), markets(n)["walk"], "walk")
    # Restarts at all times of the day: what begins anew at midnight waits for it.
    measured = laws.measured_warmup(case, [n // 3 + 97 * i for i in range(12)])
    assert lookback <= max(measured, lookback) <= declared
    # An adaptive average forgets as fast as the market lets it: its warm-up is that of the slowest market.
    if spec.warmup_rtol and declared > lookback and name != "kama":
        assert declared <= 2.5 * max(measured, lookback) + 16


@every_kernel
def test_finite_where_bars_are(laws, cases, registry, name):
    for case in cases(registry, name):
        laws.finite(case)


@every_kernel
def test_a_gap_does_what_is_declared(laws, cases, registry, name):
    for case in cases(registry, name):
        laws.gap(case)
        assert case.spec.gap


@every_kernel
def test_kernels_are_pure(laws, cases, registry, name):
    for case in cases(registry, name):
        laws.pure(case)


@every_kernel
def test_a_kernel_is_compiled_once(laws, cases, registry, name):
    # One signature: nothing that a face passes makes a second version of the code.
    spec = REGISTRIES[registry][name]
    cases(registry, name)[0].run()
    assert len(spec.kernel.signatures) == 1


@every_kernel
def test_every_entry_says_what_it_is(registry, name):
    spec = REGISTRIES[registry][name]
    arguments = spec.arguments()
    assert spec.name == name
    assert spec.unit
    assert spec.reference
    assert spec.kernel.py_func.__doc__
    assert len(set(spec.outputs)) == len(spec.outputs)
    assert spec.lookback(*arguments) >= 1
    assert spec.warmup(*arguments) == UNBOUNDED or spec.warmup(*arguments) >= spec.lookback(*arguments)
    for param in spec.params:
        assert param.check(name, param.default) == param.default


@pytest.mark.parametrize("package", REGISTRIES)
def test_every_file_with_a_spec_is_registered(package):
    files = [f for f in (ROOT / "research" / package).rglob("*.py") if f.stem[0] != "_"]
    modules = [importlib.import_module(".".join(f.relative_to(ROOT).with_suffix("").parts)) for f in files]
    specs = [m.SPEC for m in modules if isinstance(getattr(m, "SPEC", None), KernelSpec)]
    assert sorted(spec.name for spec in specs) == sorted(REGISTRIES[package])


def test_saved_states_go_on_in_another_process(laws, cases, tmp_path):
    saved, expected = {}, []
    for registry, name in KERNELS:
        for case in cases(registry, name):
            if case.data not in ("walk", "gaps"):
                continue
            k, i = case.n // 2, len(expected)
            whole, _ = case.run()
            _, state = case.run(stop=k)
            expected.append((case, np.ascontiguousarray(whole[:, k:])))
            saved[f"{i}.spec"] = np.array(f"{registry}/{name}")
            saved[f"{i}.arguments"], saved[f"{i}.state"] = np.array(case.arguments), state
            saved |= {f"{i}.input.{j}": column[k:] for j, column in enumerate(case.inputs)}
    np.savez(tmp_path / "before.npz", count=len(expected), **saved)
    command = [sys.executable, str(Path(laws.__file__)), str(tmp_path / "before.npz"), str(tmp_path / "after.npz")]
    subprocess.run(command, check=True, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}, timeout=300)
    with np.load(tmp_path / "after.npz") as after:
        broken = [str(case) for i, (case, rest) in enumerate(expected) if not laws.same(after[str(i)], rest)]
    assert len(expected) > 60
    assert broken == []


def stored_bars(path: Path, interval: str) -> pl.DataFrame:
    bars = pl.read_parquet(path)
    return on_clock(conform(bars.with_columns(pl.col("ts").cast(pl.Datetime("ns", "UTC"))), "bars"), interval)


def arrays_of(table: pl.DataFrame, names: list[str]) -> dict[str, np.ndarray]:
    columns = {name: table[name].cast(pl.Float64).to_numpy(writable=True) for name in names}
    return {**columns, "ts": table["ts"].to_physical().to_numpy(writable=True)}


@pytest.fixture(scope="module")
def sol_market(market_data, laws):
    """Return SOLUSDT with spot, funding, BTCUSDT and ETHUSDT as recorded, and what was not recorded made up."""
    linear, spot = (market_data / "bybit" / market for market in ("linear", "spot"))
    bars = stored_bars(linear / "SOLUSDT" / "5m.parquet", "5m")[:12_000]
    others = {name: stored_bars(linear / name / "5m.parquet", "5m") for name in ("BTCUSDT", "ETHUSDT")}
    funding = pl.read_parquet(linear / "SOLUSDT" / "funding.parquet").with_columns(interval_hours=pl.lit(8.0))
    table = assemble(
        bars,
        "5m",
        symbols={name: other.select("ts", "open", "high", "low", "close", "volume") for name, other in others.items()},
        prices={"spot": stored_bars(spot / "SOLUSDT" / "5m.parquet", "5m")},
        funding=funding.select(pl.col("ts").cast(bars.schema["ts"]), "rate", "interval_hours"),
    )
    own = ["open", "high", "low", "close", "volume", "spot", "funding_rate", "funding_interval", "funding_age"]
    columns = arrays_of(table, own)
    for name in ("open", "high", "low", "close", "volume"):
        columns[f"reference.{name}"] = table[f"BTCUSDT.{name}"].to_numpy(writable=True)
    columns["basket.close"] = np.stack([table[f"{name}.close"].to_numpy() for name in others], axis=1)
    features = FeatureSet({"trend": {"feature": "ema_spread"}, "quality": {"feature": "efficiency"},
                           "score": {"feature": "log_return"}, "volatility": {},
                           "fast": {"feature": "ema", "length": 9}, "slow": {"feature": "ema"}})  # fmt: skip
    columns |= arrays_of(features.batch(bars), features.columns)
    columns["target"] = STRATEGIES["trend"].run(
        [columns["trend"], columns["quality"]],
        STRATEGIES["trend"].arguments(),
        STRATEGIES["trend"].initial_state(STRATEGIES["trend"].arguments()),
    )[0]
    return laws.around(columns)


@pytest.fixture(scope="module")
def sparse_market(market_data, laws):
    """Return minutes of a market in which more than half of them passed without a trade, each of those absent."""
    bars = stored_bars(market_data / "kraken" / "spot" / "BTCUSDC" / "1m_sparse.parquet", "1m")[:12_000]
    assert bars["close"].is_nan().mean() > 0.6
    return laws.around(arrays_of(bars, ["open", "high", "low", "close", "volume"]))


@every_kernel
def test_the_laws_hold_on_a_real_market(laws, sol_market, registry, name):
    spec = REGISTRIES[registry][name]
    case = laws.Case(spec, spec.arguments(), sol_market, "SOLUSDT 5m", holds=registry != "features")
    rng = np.random.default_rng(1)
    laws.chunk(case, range(1, case.n))
    laws.chunk(case, np.sort(rng.integers(0, case.n, 50)))
    laws.prefix(case, 4_321)
    laws.resume_here(case, 4_321)
    if registry == "features":  # roles are warm features: their own NaN comes first
        laws.finite(case)
    assert laws.restart(case, 500) > 100
    laws.pure(case)


@pytest.mark.parametrize("name", CATALOGUE)
def test_the_laws_hold_where_most_minutes_are_absent(laws, sparse_market, name):
    spec = CATALOGUE[name]
    case = laws.Case(spec, spec.arguments(), sparse_market, "BTCUSDC 1m")
    laws.chunk(case, range(1, case.n))
    laws.prefix(case, 4_321)
    laws.resume_here(case, 4_321)
    laws.finite(case)
    laws.gap(case)
    laws.restart(case, 500)
    laws.pure(case)


def test_apply_is_a_cold_run_that_leaves_its_inputs_alone():
    spec = CATALOGUE["rsi"]
    close = np.cumsum(np.random.default_rng(5).normal(0.0, 1.0, 300)) + 500.0
    close.setflags(write=False)
    arguments = spec.arguments({"length": 9})
    expected = spec.run([close.copy()], arguments, spec.initial_state(arguments))
    assert spec.apply([close], {"length": 9}).tobytes() == expected.tobytes()
    stamps = pl.Series([0, 90]).cast(pl.Duration("ms")) * 60_000 + pl.Series([0, 0]).cast(pl.Datetime("ms"))
    for unit in ("ns", "us", "ms"):
        minutes = CATALOGUE["hour_close"].apply([stamps.cast(pl.Datetime(unit))])[0]
        assert minutes.tolist() == [60.0, 30.0]
    with pytest.raises(InvalidInput, match="datetimes or int64 nanoseconds"):
        CATALOGUE["hour_close"].apply([np.array([np.nan])])
    basket = CATALOGUE["altcoin_index"].apply([close, np.stack([close, close], axis=1)])
    assert basket.shape == (len(CATALOGUE["altcoin_index"].outputs), close.size)
    with pytest.raises(InvalidInput, match="altcoin_index inputs"):
        CATALOGUE["altcoin_index"].apply([close, close])
    with pytest.raises(InvalidInput, match=r"rsi inputs must be close"):
        spec.apply([close, close])
    with pytest.raises(InvalidInput, match=r"ema_spread inputs"):
        CATALOGUE["ema_spread"].apply([close, close[:-1], close])
