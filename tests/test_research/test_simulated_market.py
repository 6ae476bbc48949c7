"""The simulated market: bytes, prefix, bars, funding, the planted edge, and likeness to real bars."""

import hashlib
import math
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from research.errors import InvalidInput
from research.market.bars import SCHEMAS, conform, epoch_ns, require_clock
from research.market.instruments import sample_instrument
from research.market.simulated import SimulatedMarket, simulate_market
from research.market.simulated_kernels import funding_rates, regime_path
from research.market.simulated_spec import (
    DEFAULT_SYMBOLS,
    REGIMES,
    TRENDING,
    BasisSpec,
    FundingSpec,
    MarketSpec,
    RegimeSpec,
    SymbolSpec,
    VolatilitySpec,
)

ROOT = Path(__file__).resolve().parents[2]
NAMES = tuple(s.symbol for s in DEFAULT_SYMBOLS)
FIVE = 5


@pytest.fixture(scope="module")
def market() -> SimulatedMarket:
    return simulate_market(MarketSpec(days=120, seed=3))


@pytest.fixture(scope="module")
def edgeless() -> SimulatedMarket:
    return simulate_market(MarketSpec(days=120, seed=3, edge=0.0))


def digest(found: SimulatedMarket) -> str:
    total = hashlib.sha256()
    frames = [*found.bars.values(), *found.mark.values(), *found.funding.values(), *found.premium.values()]
    for frame in [*frames, found.latent]:
        for column in frame:
            total.update(column.name.encode() + column.to_physical().to_numpy().tobytes())
    return total.hexdigest()


def closes(bars: pl.DataFrame, minutes: int = FIVE) -> np.ndarray:
    return bars["close"].to_numpy()[minutes - 1 :: minutes]


def five_minute_bars(bars: pl.DataFrame) -> pl.DataFrame:
    return bars.group_by_dynamic("ts", every="5m").agg(pl.col("close").last(), pl.col("volume").sum())


def autocorrelation(x: np.ndarray, lag: int) -> float:
    return float(np.corrcoef(x[:-lag], x[lag:])[0, 1])


# Bytes


def test_the_same_specification_gives_the_same_bytes() -> None:
    spec = MarketSpec(days=3, seed=11)
    assert digest(simulate_market(spec)) == digest(simulate_market(spec))


def test_another_seed_gives_another_market() -> None:
    assert digest(simulate_market(MarketSpec(days=1, seed=1))) != digest(simulate_market(MarketSpec(days=1, seed=2)))


def test_another_process_gives_the_same_bytes() -> None:
    code = (
        "import hashlib\n"
        "from research.market.simulated import MarketSpec, simulate_market\n"
        "m = simulate_market(MarketSpec(days=2, seed=5))\n"
        "h = hashlib.sha256()\n"
        "for f in [*m.bars.values(), *m.mark.values(), *m.funding.values(), *m.premium.values(), m.latent]:\n"
        "    for c in f: h.update(c.name.encode() + c.to_physical().to_numpy().tobytes())\n"
        "print(h.hexdigest())\n"
    )
    environment = {**os.environ, "PYTHONHASHSEED": "77"}  # Python's own hash of names must not matter
    run = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    assert run.stdout.strip() == digest(simulate_market(MarketSpec(days=2, seed=5)))


def test_more_days_change_no_earlier_row() -> None:
    short, long = simulate_market(MarketSpec(days=2, seed=4)), simulate_market(MarketSpec(days=5, seed=4))
    for key, bars in short.bars.items():
        assert bars.equals(long.bars[key][: bars.height])
    for name in NAMES:
        assert short.mark[name].equals(long.mark[name][: short.mark[name].height])
        assert short.premium[name].equals(long.premium[name][: short.premium[name].height])
        assert short.funding[name].equals(long.funding[name][: short.funding[name].height])
    assert short.latent.equals(long.latent[: short.latent.height])


def test_another_symbol_changes_nothing_of_the_others() -> None:
    both = simulate_market(MarketSpec(days=2, seed=4))
    alone = simulate_market(MarketSpec(days=2, seed=4, symbols=DEFAULT_SYMBOLS[2:]))
    for place in ("linear", "spot"):
        assert alone.bars[place, "SOLUSDT"].equals(both.bars[place, "SOLUSDT"])
    assert alone.funding["SOLUSDT"].equals(both.funding["SOLUSDT"])


def test_the_edge_moves_the_drift_and_leaves_the_noise(market: SimulatedMarket, edgeless: SimulatedMarket) -> None:
    for name in NAMES:
        assert market.latent[f"volatility.{name}"].equals(edgeless.latent[f"volatility.{name}"])
        moved = np.diff(market.latent[f"log_price.{name}"].to_numpy())
        still = np.diff(edgeless.latent[f"log_price.{name}"].to_numpy())
        # Log prices are sums of some 1.4 million steps: differences carry their rounding, about 1e-15 each.
        np.testing.assert_allclose(moved - still, market.latent[f"drift.{name}"].to_numpy()[1:], rtol=0, atol=1e-12)
        assert not edgeless.latent[f"drift.{name}"].to_numpy().any()


# Bars


@pytest.mark.parametrize("place", ["linear", "spot"])
@pytest.mark.parametrize("name", NAMES)
def test_bars_are_whole_consistent_and_on_the_grid(market: SimulatedMarket, place: str, name: str) -> None:
    bars = market.bars[place, name]
    assert bars.equals(conform(bars, "bars"))
    assert bars.columns == list(SCHEMAS["bars"])
    assert bars.height == 120 * 1_440
    require_clock(epoch_ns(bars), 60 * 10**9)
    assert bars.null_count().sum_horizontal()[0] == 0
    column = {c: bars[c].to_numpy() for c in bars.columns[1:]}
    assert all(np.isfinite(v).all() for v in column.values())
    assert (column["low"] <= np.minimum(column["open"], column["close"])).all()
    assert (column["high"] >= np.maximum(column["open"], column["close"])).all()
    assert (column["low"] > 0).all()
    assert (column["volume"] > 0).all()
    assert (column["trade_count"] >= 1).all()
    assert (column["open"][1:] == column["close"][:-1]).all()
    assert (column["taker_buy_volume"] >= 0).all()
    assert (column["taker_buy_volume"] <= column["volume"]).all()
    # One part in 1e12: the mean of prints is rounded once.
    assert (column["turnover"] >= column["volume"] * column["low"] * (1 - 1e-12)).all()
    assert (column["turnover"] <= column["volume"] * column["high"] * (1 + 1e-12)).all()
    terms = market.instruments[place, name].at(market.spec.start_ns)
    assert market.instruments[place, name] == sample_instrument(name, place)
    for field, step in (
        ("open", terms.tick), ("high", terms.tick), ("low", terms.tick), ("close", terms.tick),
        ("volume", terms.qty_step), ("taker_buy_volume", terms.qty_step),
    ):  # fmt: skip
        decimals = max(0, round(-math.log10(step)))
        # Exact: the value is the double nearest to its decimal, as if parsed from an exchange's message.
        np.testing.assert_array_equal(column[field], np.round(column[field], decimals))


def test_prices_start_where_asked(market: SimulatedMarket) -> None:
    for symbol in DEFAULT_SYMBOLS:
        first = market.bars["spot", symbol.symbol]["open"][0]
        assert abs(math.log(first / symbol.price_quote)) < 0.01  # one print's move, far below a day's 2 to 4 percent


def test_symbols_move_together_through_the_common_factor(edgeless: SimulatedMarket) -> None:
    returns = np.array([np.diff(np.log(closes(edgeless.bars["linear", n]))) for n in NAMES])
    found = np.corrcoef(returns)[np.triu_indices(3, 1)]
    # Declared: 0.77 of each variance is common. The jumps and the wander of the shares' volatilities move it a little.
    assert (np.abs(found - 0.77) < 0.08).all(), found


def test_daily_volatility_is_the_declared_one() -> None:
    spec = MarketSpec(days=400, seed=9, edge=0.0, symbols=DEFAULT_SYMBOLS[2:])
    moves = np.diff(simulate_market(spec).latent["log_price.SOLUSDT"].to_numpy())
    # Volatility persists for days: over 12 seeds of 120 days the ratio spreads by 6 to 7 %, so by 4 % in 400 days.
    assert abs(moves.std() * math.sqrt(1_440) / 0.0375 - 1.0) < 0.12


# Basis, mark, funding


def test_basis_reverts_with_the_declared_half_life() -> None:
    basis = BasisSpec(mean_bps=3.0, sd_bps=5.0, half_life_minutes=90.0)
    spec = MarketSpec(days=150, seed=2, symbols=DEFAULT_SYMBOLS[:1], basis=basis)
    found = simulate_market(spec)
    pair = [np.log(found.bars[place, "BTCUSDT"]["close"].to_numpy()) for place in ("linear", "spot")]
    log_basis = (pair[0] - pair[1]) * 1e4
    # The ratio of two autocorrelations is free of the bounce, which adds to lag 0 only.
    ratio = autocorrelation(log_basis, 120) / autocorrelation(log_basis, 60)
    half_life = -60.0 * math.log(2.0) / math.log(ratio)
    # Over 20 seeds the estimate has mean 90.3 and a standard deviation of 6.1 minutes (7 %); three of them.
    assert abs(half_life / 90.0 - 1.0) < 0.21
    assert abs(log_basis.mean() - 3.0) < 0.6  # standard error 5 * sqrt(2 * 130 / 216,000) = 0.17
    assert abs(log_basis.std() - math.hypot(5.0, 0.5 * math.sqrt(2))) < 0.5


def test_premium_is_perpetual_close_over_index(market: SimulatedMarket) -> None:
    for name in NAMES:
        frame = market.premium[name]
        close = market.bars["linear", name]["close"].to_numpy()
        np.testing.assert_array_equal(frame["premium"].to_numpy(), close / frame["index"].to_numpy() - 1.0)
        np.testing.assert_allclose(
            frame["index"].to_numpy(), np.exp(market.latent[f"log_price.{name}"].to_numpy()), rtol=1e-15
        )


@pytest.mark.parametrize("hours", [8, 4])
def test_funding_follows_from_the_premium(hours: int) -> None:
    terms = FundingSpec(interval_hours=hours, cap_frac=0.0004)
    basis = BasisSpec(mean_bps=2.0, sd_bps=8.0)  # wide, so that clamp and cap both act
    found = simulate_market(MarketSpec(days=20, seed=6, funding=terms, basis=basis))
    interest, minutes = 0.0001 * hours / 8.0, hours * 60
    capped = clamped = 0
    for name in NAMES:
        rows, premium = found.funding[name], found.premium[name]
        assert rows.columns == list(SCHEMAS["funding"])
        assert rows.height == 20 * 24 // hours
        assert (rows["interval_hours"] == hours).all()
        at = rows["ts"].to_list()
        assert (at[0].hour, at[0].minute, at[1].hour) == (0, 0, hours)
        for settled, rate in zip(at[1:], rows["rate"].to_list()[1:], strict=True):
            past = premium.filter((pl.col("ts") < settled) & (pl.col("ts") >= settled - pl.duration(minutes=minutes)))[
                "premium"
            ].to_list()
            weighted = math.fsum((k + 1) * p for k, p in enumerate(past)) / math.fsum(range(1, minutes + 1))
            spread = interest - weighted
            clamped += abs(spread) < 0.0005
            expected = weighted + (0.0005 if spread > 0.0005 else -0.0005 if spread < -0.0005 else spread)
            capped += abs(expected) > 0.0004
            expected = 0.0004 if expected > 0.0004 else -0.0004 if expected < -0.0004 else expected
            assert abs(rate - expected) <= 0.51e-8  # published to eight decimals
    assert clamped
    assert capped


def test_premium_within_the_clamp_pays_interest() -> None:
    out = np.empty(1)
    funding_rates(np.full(480, -0.0003), 480, 0.0001, 0.0005, 0.005, out)
    assert out[0] == pytest.approx(0.0001, abs=1e-18)


def test_mark_stays_by_the_index_and_bounces_less_than_trades(market: SimulatedMarket) -> None:
    for name in NAMES:
        mark = market.mark[name]
        assert mark.columns == list(SCHEMAS["mark"])
        assert mark.height == 120 * 1_440
        values = mark.select("open", "high", "low", "close").to_numpy().T
        assert (values[2] <= values.min(axis=0)).all()
        assert (values[1] >= values.max(axis=0)).all()
        index, premium = market.premium[name]["index"].to_numpy(), market.premium[name]["premium"].to_numpy()
        mark_premium = values[3] / index - 1.0
        assert np.abs(mark_premium).max() < market.spec.funding.mark_clip_frac + 1e-4
        assert abs(mark_premium.mean() - premium.mean()) < 0.1e-4
        assert np.diff(mark_premium).std() < np.diff(premium).std()


def test_mark_premium_is_clipped() -> None:
    basis, funding = BasisSpec(mean_bps=100.0), FundingSpec(mark_clip_frac=0.001)
    found = simulate_market(MarketSpec(days=1, symbols=DEFAULT_SYMBOLS[:1], basis=basis, funding=funding))
    above = found.mark["BTCUSDT"]["close"].to_numpy() / found.premium["BTCUSDT"]["index"].to_numpy() - 1.0
    np.testing.assert_allclose(above, 0.001, rtol=0, atol=0.06 / 40_000.0)  # half a tick


# Regimes and season


def test_regimes_last_and_share_time_as_declared() -> None:
    spec = RegimeSpec(into=(1.0, 2.0, 0.5))
    rng = np.random.default_rng(0)
    size = 6_000_000
    leaving, entering = rng.random((2, size))
    out = np.empty(size, dtype=np.int64)
    exits = 1.0 / (60.0 * np.array(spec.mean_hours))
    regime_path(leaving, entering, np.array(spec.fractions()), exits, np.array(spec.into), np.zeros(2), out)
    shares = np.bincount(out, minlength=3) / size
    # About 4,700 stays: a standard error of some 2.5 % of each share.
    np.testing.assert_allclose(shares, spec.fractions(), rtol=0.1)
    changes = np.flatnonzero(np.diff(out))
    stays, kinds = np.diff(changes), out[changes[:-1] + 1]
    for regime, hours in enumerate(spec.mean_hours):
        assert abs(stays[kinds == regime].mean() / 60.0 / hours - 1.0) < 0.12


def test_regimes_scale_volatility_and_confine_the_drift(market: SimulatedMarket) -> None:
    regime = market.latent["regime"].to_numpy()
    assert set(np.unique(regime)) == {0, 1, 2}
    assert set(market.regimes["regime"].unique()) == set(REGIMES)
    for name in NAMES:
        drift = market.latent[f"drift.{name}"].to_numpy()
        assert not drift[regime != TRENDING].any()
        assert drift[regime == TRENDING].all()
        volatility = market.latent[f"volatility.{name}"].to_numpy()
        calm, trending, volatile = (volatility[regime == k].mean() for k in range(3))
        assert calm < trending < volatile


def test_drift_has_the_documented_size(market: SimulatedMarket) -> None:
    active = market.latent["regime"].to_numpy() == TRENDING
    for symbol in DEFAULT_SYMBOLS:
        per_five_bps = market.latent[f"drift.{symbol.symbol}"].to_numpy()[active] * 5 * 1e4
        # Some 40 days of trend with correlation time of 4.3 hours: 110 independent values of each square, 13 % of
        # the variance, 7 % of its root; three standard errors.
        assert abs(per_five_bps.std() / market.spec.drift_sd_bps(symbol) - 1.0) < 0.21


# The edge


def trend_rule(log_price: np.ndarray) -> np.ndarray:
    """Hold the sign of an EMA spread over volatility, entered beyond 3, left below 0.5."""
    smooth = {n: pl.Series(log_price).ewm_mean(span=n, adjust=False).to_numpy() for n in (12, 72)}
    square = pl.Series(np.diff(log_price, prepend=log_price[0]) ** 2).ewm_mean(span=288, adjust=False).to_numpy()
    spread = (smooth[12] - smooth[72]) / np.sqrt(np.maximum(square, 1e-12))
    position, held = np.zeros(log_price.size), 0
    for i in range(288, log_price.size):
        if held * spread[i] < 0.5:
            held = 0
        if held == 0 and abs(spread[i]) > 3.0:
            held = int(np.sign(spread[i]))
        position[i] = held
    return position


def net_sharpe(market: SimulatedMarket) -> float:
    close = closes(market.bars["linear", "SOLUSDT"])
    position = trend_rule(np.log(close))
    gain = position[:-1] * np.diff(close) / close[:-1]
    cost = 7e-4 * np.abs(np.diff(position, prepend=0.0))[:-1]  # 5.5 bps fee and 1.5 bps slippage a side
    daily = (gain - cost)[: (gain.size // 288) * 288].reshape(-1, 288).sum(axis=1)
    return float(daily.mean() / daily.std() * math.sqrt(365.0))


@pytest.fixture(scope="module")
def sharpes() -> dict[float, list[float]]:
    symbols = DEFAULT_SYMBOLS[2:]
    return {
        edge: [net_sharpe(simulate_market(MarketSpec(seed=s, edge=edge, symbols=symbols))) for s in range(4)]
        for edge in (0.0, 1.0)
    }


def test_a_plain_trend_rule_earns_the_edge_after_costs(sharpes: dict[float, list[float]]) -> None:
    # 120 days give a standard error of sqrt(365 / 120) = 1.7 each and 0.9 for the mean of four. Over ten seeds the
    # mean is 8.1, with edge 0 it is -2.9.
    assert min(sharpes[1.0]) > 3.0
    assert 5.0 < np.mean(sharpes[1.0]) < 11.0


def test_without_edge_the_same_rule_loses(sharpes: dict[float, list[float]]) -> None:
    # Costs of two round trips a day are a Sharpe of -2; the mean of four has a standard error of 0.9.
    assert np.mean(sharpes[0.0]) < 0.0
    assert max(sharpes[0.0]) < 3.0


def test_the_edge_hardly_shows_in_autocorrelation(market: SimulatedMarket, edgeless: SimulatedMarket) -> None:
    for name in NAMES:
        for found in (market, edgeless):
            returns = np.diff(np.log(closes(found.bars["linear", name])))
            # Standard error 1 / sqrt(34,560) = 0.005, some two times that for clustered returns.
            assert max(abs(autocorrelation(returns, lag)) for lag in range(1, 11)) < 0.05


def robust_t(past: np.ndarray, now: np.ndarray) -> float:
    """Return the t statistic of E[past * now] = 0 that holds for clustered volatility (White 1980)."""
    product = past * now
    return float(product.sum() / np.sqrt((product**2).sum()))


def test_without_edge_efficient_returns_are_a_martingale_difference(
    market: SimulatedMarket, edgeless: SimulatedMarket
) -> None:
    worst = []
    for name in NAMES:
        returns = np.expm1(np.diff(edgeless.latent[f"log_price.{name}"].to_numpy()))
        worst += [abs(robust_t(returns[:-lag], returns[lag:])) for lag in (1, 2, 3, 5, 15, 60, 240, 1_440)]
        trend = pl.Series(returns).ewm_mean(span=360, adjust=False).to_numpy()
        worst += [abs(robust_t(trend[:-1], returns[1:])), abs(robust_t(np.ones(returns.size), returns))]
        with_edge = np.expm1(np.diff(market.latent[f"log_price.{name}"].to_numpy()))
        trend = pl.Series(with_edge).ewm_mean(span=360, adjust=False).to_numpy()
        assert robust_t(trend[:-1], with_edge[1:]) > 8.0  # the same test sees the planted drift
    # 30 correlated statistics: one beyond 4 by chance has a probability below 0.002.
    assert max(worst) < 4.0, worst


def test_without_edge_the_mean_simple_return_is_zero_and_the_mean_log_return_is_not() -> None:
    linear, spot = sample_instrument("SOLUSDT"), sample_instrument("SOLUSDT", "spot")
    symbols = tuple(SymbolSpec(f"S{i}", 1_000.0, 0.5, 0.0, linear=linear, spot=spot) for i in range(10))
    jumpy = VolatilitySpec(jumps_per_day=5.0)
    found = simulate_market(MarketSpec(days=60, seed=1, edge=0.0, symbols=symbols, volatility=jumpy))
    logs = np.concatenate([np.diff(found.latent[f"log_price.{s.symbol}"].to_numpy()) for s in symbols])
    error = logs.std() / math.sqrt(logs.size)
    assert logs.mean() < -4.0 * error  # half the variance: what an uncompensated drift would look like
    assert abs(np.expm1(logs).mean()) < 3.5 * error


# Likeness


def facts(bars: pl.DataFrame) -> dict[str, float]:
    """Return the stylised facts of 5m bars with columns ts, close, volume."""
    returns = np.diff(np.log(bars["close"].to_numpy()))
    moves, volume = np.abs(returns), bars["volume"].to_numpy()[1:]
    hour, weekday = bars["ts"].dt.hour().to_numpy()[1:], bars["ts"].dt.weekday().to_numpy()[1:]
    by_hour = np.array([moves[hour == h].mean() for h in range(24)]) / moves.mean()
    volume_by_hour = np.array([volume[hour == h].mean() for h in range(24)]) / volume.mean()
    centred = returns - returns.mean()
    traded = volume > 0
    logs = np.log(moves[traded] + 1e-6), np.log(volume[traded])
    return {
        "kurtosis": float((centred**4).mean() / (centred**2).mean() ** 2 - 3.0),
        "largest_autocorrelation": max(abs(autocorrelation(returns, k)) for k in range(1, 11)),
        "moves_after_bar": autocorrelation(moves, 1),
        "moves_after_hour": autocorrelation(moves, 12),
        "moves_after_day": autocorrelation(moves, 288),
        "move_to_volume": float(np.corrcoef(moves, volume)[0, 1]),
        "log_move_to_log_volume": float(np.corrcoef(*logs)[0, 1]),
        "log_volume_sd": float(logs[1].std()),
        "american_hours": float(by_hour[13:16].mean()),
        "night_hours": float(by_hour[3:7].mean()),
        "american_volume": float(volume_by_hour[13:16].mean()),
        "weekend": float(moves[weekday >= 6].mean() / moves[weekday < 6].mean()),
    }


# How far outside the range of the real series a simulated one may lie: a factor for the kurtosis, which is made by the
# largest few moves of a sample, and a difference for the others, two to four times their spread over 10 seeds of 120
# days. The real samples are four to sixteen months and spread as much.
MARGIN = {
    "kurtosis": 1.5, "largest_autocorrelation": 0.015, "moves_after_bar": 0.06, "moves_after_hour": 0.06,
    "moves_after_day": 0.05, "move_to_volume": 0.10, "log_move_to_log_volume": 0.08, "log_volume_sd": 0.15,
    "american_hours": 0.12, "night_hours": 0.10, "american_volume": 0.30, "weekend": 0.12,
}  # fmt: skip


@pytest.fixture(scope="module")
def real_facts(market_data: Path) -> list[dict[str, float]]:
    files = [f"bybit/linear/{n}/5m.parquet" for n in NAMES]
    files += ["binance/usdm/BTCUSDT/5m.parquet", "binance/usdm/ETHUSDT/5m.parquet", "binance/spot/SOLUSDT/5m.parquet"]
    return [facts(pl.read_parquet(market_data / file).sort("ts")) for file in files]


@pytest.mark.parametrize("name", NAMES)
def test_stylised_facts_lie_in_the_band_of_real_bars(
    market: SimulatedMarket, real_facts: list[dict[str, float]], name: str
) -> None:
    simulated = facts(five_minute_bars(market.bars["linear", name]))
    outside = {}
    for fact, value in simulated.items():
        real, margin = [found[fact] for found in real_facts], MARGIN[fact]
        low, high = (
            (min(real) / margin, max(real) * margin) if fact == "kurtosis" else (min(real) - margin, max(real) + margin)
        )
        if not low <= value <= high:
            outside[fact] = (value, low, high)
    assert not outside


def test_symbols_correlate_as_real_ones(market: SimulatedMarket, market_data: Path) -> None:
    frames = [
        pl.read_parquet(market_data / f"bybit/linear/{n}/5m.parquet").select(
            "ts", pl.col("close").log().diff().alias(n)
        )
        for n in NAMES
    ]
    joined = frames[0].join(frames[1], on="ts").join(frames[2], on="ts").drop_nulls().select(NAMES).to_numpy().T
    real = np.corrcoef(joined)[np.triu_indices(3, 1)]
    simulated = np.corrcoef([np.diff(np.log(closes(market.bars["linear", n]))) for n in NAMES])[np.triu_indices(3, 1)]
    assert np.abs(simulated - real).max() < 0.12


def test_minute_bars_resemble_real_minutes(market: SimulatedMarket, market_data: Path) -> None:
    for name in NAMES:
        ratios = []
        for bars in (market.bars["linear", name], pl.read_parquet(market_data / f"binance/usdm/{name}/1m.parquet")):
            spread = np.log(bars["high"].to_numpy() / bars["low"].to_numpy()).mean()
            ratios.append(spread / np.abs(np.diff(np.log(bars["close"].to_numpy()))).mean())
        # Range over |return|: 1.6 to 1.85 in real minutes; a bar of few prints has less, a bar of noise more.
        assert abs(ratios[0] - ratios[1]) < 0.35


def test_taker_buys_lean_with_the_return(market: SimulatedMarket) -> None:
    for (_, name), bars in market.bars.items():
        share = (bars["taker_buy_volume"] / bars["volume"]).to_numpy()
        moves = np.log((bars["close"] / bars["open"]).to_numpy())
        scaled = moves / market.latent[f"volatility.{name}"].to_numpy()
        assert 0.3 < np.corrcoef(share, np.clip(scaled, -5, 5))[0, 1] < 0.8
        assert abs(share.mean() - 0.5) < 0.02


# Refusals


@pytest.mark.parametrize(
    ("change", "subject"),
    [
        ({"days": 0}, "MarketSpec.days"),
        ({"days": 1.5}, "MarketSpec.days"),
        ({"seed": -1}, "MarketSpec.seed"),
        ({"edge": math.nan}, "MarketSpec.edge"),
        ({"edge": -0.1}, "MarketSpec.edge"),
        ({"sub_steps": 1}, "MarketSpec.sub_steps"),
        ({"start": "2024-01-01T03:00"}, "MarketSpec.start"),
        ({"start": "soon"}, "MarketSpec.start"),
        ({"symbols": ()}, "MarketSpec.symbols"),
        ({"symbols": DEFAULT_SYMBOLS[:1] * 2}, "MarketSpec.symbols"),
    ],
)
def test_impossible_specifications_are_refused(change: dict[str, object], subject: str) -> None:
    with pytest.raises(InvalidInput, match=subject):
        replace(MarketSpec(), **change)


@pytest.mark.parametrize(
    ("part", "change"),
    [
        (VolatilitySpec(), {"tail_dof": 2.0}),
        (VolatilitySpec(), {"fast_half_life_minutes": 0.0}),
        (RegimeSpec(), {"mean_hours": (1.0, 0.0, 1.0)}),
        (BasisSpec(), {"sd_bps": -1.0}),
        (FundingSpec(), {"interval_hours": 5}),
        (DEFAULT_SYMBOLS[0], {"price_quote": 0.0}),
        (DEFAULT_SYMBOLS[0], {"common_frac": 1.1}),
        (DEFAULT_SYMBOLS[0], {"symbol": ""}),
    ],
)
def test_impossible_parts_are_refused(part: object, change: dict[str, object]) -> None:
    with pytest.raises(InvalidInput, match=next(iter(change))):
        replace(part, **change)  # type: ignore[type-var]
