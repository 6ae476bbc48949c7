"""Negative controls: the distribution is kept, the order is not, and nothing is to be gained by looking back."""

from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from scipy import stats

from research.backtest import simulate
from research.errors import InvalidInput
from research.market.bars import TS, epoch_ns
from research.market.instruments import sample_instrument
from research.market.quality import check_quality
from research.market.simulated import simulate_market
from research.market.simulated_spec import MarketSpec
from research.validation.controls import control_p_value, control_table, noise_market, permuted_market
from research.validation.stress_market import History, Market, common_rows, moves_of, prices_of

SYMBOLS = ("SOLUSDT", "BTCUSDT")


@pytest.fixture(scope="module")
def market():
    """Two perpetuals of five days, a gap in one of them."""
    simulated = simulate_market(MarketSpec(days=5, seed=11, edge=8.0))
    parts = {}
    for symbol in SYMBOLS:
        bars = simulated.bars["linear", symbol]
        if symbol == SYMBOLS[0]:
            hole = pl.int_range(pl.len()).is_between(700, 719)
            prices = ("open", "high", "low", "close")
            bars = bars.with_columns([pl.when(hole).then(float("nan")).otherwise(pl.col(p)).alias(p) for p in prices])
        parts[symbol] = History(
            bars, simulated.instruments["linear", symbol], simulated.mark[symbol], simulated.funding[symbol]
        )
    return Market(parts)


# Of the sum of 60 squared autocorrelations of a series that has none (Ljung and Box), once in a million series.
LAGS = np.arange(1, 61)
BOUND = stats.chi2.ppf(1.0 - 1e-6, LAGS.size)


def dependence(values):
    """Return the statistic of Ljung and Box over 60 lags."""
    centred, n = values - values.mean(), values.size
    found = np.array([centred[lag:] @ centred[:-lag] for lag in LAGS]) / (centred @ centred)
    return n * (n + 2.0) * float(np.sum(found**2 / (n - LAGS)))


def closes(history):
    return history.bars["close"].to_numpy()


def are_bars(found, was):
    for symbol, part in found.symbols.items():
        assert part.bars.schema == was.symbols[symbol].bars.schema
        assert np.array_equal(epoch_ns(part.bars), epoch_ns(was.symbols[symbol].bars))
        assert np.array_equal(np.isnan(closes(part)), np.isnan(closes(was.symbols[symbol])))
        policies = {"nonpositive": "error", "crossed": "error", "nonfinite": "error", "volume_invalid": "error"}
        kept = part.bars.drop_nans("close")
        assert check_quality(kept, "1m", policies=policies).report.filter(pl.col("policy") == "nan").is_empty()
        ticks = prices_of(part) / part.instrument.terms[0].tick
        assert np.nanmax(np.abs(ticks - np.rint(ticks))) < 1e-6
        assert np.array_equal(epoch_ns(part.funding), epoch_ns(was.symbols[symbol].funding))
        assert part.funding["interval_hours"].equals(was.symbols[symbol].funding["interval_hours"])


def test_permuted_bars_are_the_same_bars_in_another_order(market):
    found = permuted_market(market, 3)
    are_bars(found, market)
    rows = common_rows(market)
    for symbol, part in market.symbols.items():
        other = found.symbols[symbol]
        tick = part.instrument.terms[0].tick / np.nanmin(closes(other))
        was, now = moves_of(part)[:, rows], moves_of(other)[:, rows]
        for a, b in zip(was, now, strict=True):
            np.testing.assert_allclose(np.sort(b), np.sort(a), atol=1.1 * tick)
        assert prices_of(other)[0, 0] == prices_of(part)[0, 0]
        assert closes(other)[-1] == pytest.approx(closes(part)[-1], abs=1e-9)
        assert np.array_equal(np.sort(other.bars["volume"]), np.sort(part.bars["volume"]))
        assert np.array_equal(np.sort(other.funding["rate"]), np.sort(part.funding["rate"]))
        assert not np.array_equal(closes(other), closes(part))
        # A bar is carried whole: of one volume there is one bar, and its range is what it was.
        a = pl.DataFrame({"v": part.bars["volume"].to_numpy()[rows], "r": was[1] - was[2]})
        b = pl.DataFrame({"v": other.bars["volume"].to_numpy()[rows], "r": now[1] - now[2]})
        joined = a.unique("v", keep="none").join(b.unique("v", keep="none"), on="v")
        assert joined.height > 0.9 * rows.size
        np.testing.assert_allclose(joined["r"], joined["r_right"], atol=1.1 * tick)
        basis = [h.mark["close"].to_numpy()[rows] / closes(h)[rows] for h in (part, other)]
        np.testing.assert_allclose(np.sort(basis[1]), np.sort(basis[0]), atol=2 * tick)


def test_permuting_destroys_order_and_keeps_what_symbols_share(market):
    rows = common_rows(market)[1:]
    was, now = (
        np.array([moves_of(h)[3, rows] for h in m.symbols.values()]) for m in (market, permuted_market(market, 5))
    )
    for k in range(2):
        # The planted drift can be foretold, and volatility clusters; then no longer.
        assert dependence(was[k]) > BOUND
        assert dependence(np.abs(was[k])) > 2.0 * BOUND
        assert dependence(now[k]) < BOUND
        assert dependence(np.abs(now[k])) < BOUND
    assert np.corrcoef(now)[0, 1] == pytest.approx(np.corrcoef(was)[0, 1], abs=2e-3)  # ticks


def test_blocks_keep_their_inner_order(market):
    history = market.symbols[SYMBOLS[1]]
    numbered = history.bars.with_columns(pl.int_range(pl.len()).cast(pl.Float64).alias("volume"))
    part = Market({SYMBOLS[1]: replace(history, bars=numbered)})
    found = permuted_market(part, 1, 60).reference.bars["volume"].to_numpy()
    assert found[0] == 0.0
    blocks = [np.arange(k, min(k + 60, found.size)) for k in range(1, found.size, 60)]
    breaks = np.flatnonzero(np.diff(found) != 1.0) + 1
    pieces = np.split(found[1:], breaks - 1) if breaks[0] == 1 else np.split(found, breaks)
    starts = {block[0] for block in blocks}
    assert {piece[0] for piece in pieces if piece.size} <= starts | {0.0}
    assert len(pieces) > 0.9 * len(blocks)


def test_a_mark_keeps_its_distance_to_the_bar_it_stems_from(market):
    history = market.symbols[SYMBOLS[1]]
    rows = np.arange(market.ts.size)
    basis = 1.0 + 0.01 * np.sin(rows)
    columns = [pl.Series(name, history.bars[name].to_numpy() * basis) for name in ("open", "close")]
    wide = [pl.Series("high", history.bars["high"] * 1.02), pl.Series("low", history.bars["low"] * 0.98)]
    mark = history.bars.select("ts").with_columns(*columns, *wide)
    numbered = history.bars.with_columns(pl.Series("volume", rows.astype(float)))
    found = permuted_market(Market({SYMBOLS[1]: replace(history, bars=numbered, mark=mark)}), 4).reference
    ratio = found.mark["close"].to_numpy() / closes(found)
    np.testing.assert_allclose(ratio, basis[found.bars["volume"].to_numpy().astype(int)], atol=1e-5)  # ticks


def test_permutations_are_told_by_their_seed(market):
    one, same, other = (permuted_market(market, seed).reference.bars for seed in (1, 1, 2))
    assert one.equals(same)
    assert not one.equals(other)


@pytest.mark.parametrize("degrees", [np.inf, 4.0])
def test_noise_is_a_walk_as_volatile_as_the_market(market, degrees):
    found = noise_market(market, 1, degrees)
    are_bars(found, market)
    rows = common_rows(market)[1:]
    was, now = (np.array([moves_of(h)[3, rows] for h in m.symbols.values()]) for m in (market, found))
    for k in range(2):
        if np.isinf(degrees):
            assert now[k].std() == pytest.approx(was[k].std(), rel=4.0 / np.sqrt(2 * rows.size))
            # The last test has a power of 1 against the market's own returns.
            assert stats.kstest((now[k] - now[k].mean()) / now[k].std(), "norm").pvalue > 1e-3
            assert stats.kstest((was[k] - was[k].mean()) / was[k].std(), "norm").pvalue < 1e-6
            assert dependence(np.abs(now[k])) < BOUND
        else:
            quartiles = np.quantile(now[k], [0.25, 0.75])
            expected = was[k].std() * stats.t.ppf([0.25, 0.75], degrees) / np.sqrt(degrees / (degrees - 2))
            np.testing.assert_allclose(quartiles, expected, rtol=0.08)
            assert stats.kurtosis(now[k]) > 1.0
        assert dependence(now[k]) < BOUND
        assert abs(now[k].mean()) < 4.0 * now[k].std() / np.sqrt(rows.size)
    assert np.corrcoef(now)[0, 1] == pytest.approx(np.corrcoef(was)[0, 1], abs=0.05)
    for symbol, part in found.symbols.items():
        rates = [np.sort(np.abs(h.funding["rate"])) for h in (part, market.symbols[symbol])]
        np.testing.assert_array_equal(*rates)
        assert prices_of(part)[0, 0] == prices_of(market.symbols[symbol])[0, 0]


def test_noise_has_no_drift_over_many_seeds(market):
    part = Market({SYMBOLS[1]: market.symbols[SYMBOLS[1]]})
    ends = np.array([closes(noise_market(part, seed).reference)[-1] for seed in range(120)]) / closes(part.reference)[0]
    assert abs(ends.mean() - 1.0) < 4.0 * ends.std() / np.sqrt(ends.size)
    logs = np.log(ends)
    expected = moves_of(part.reference)[3].std() * np.sqrt(part.ts.size)
    assert logs.std() == pytest.approx(expected, rel=4.0 / np.sqrt(2 * ends.size))


def test_noise_expects_the_price_to_stay_and_carry_to_be_nothing():
    n, deviation = 400, 0.05
    logs = np.cumsum(np.concatenate(([0.0], np.random.default_rng(2).normal(0.0, deviation, n))))
    edges = np.round(1e5 * np.exp(logs), 2)
    ts = pl.Series("ts", 1_704_067_200 * 10**9 + 3_600 * 10**9 * np.arange(n)).cast(TS)
    bars = pl.DataFrame({
        "ts": ts, "open": edges[:-1], "high": np.maximum(edges[:-1], edges[1:]),
        "low": np.minimum(edges[:-1], edges[1:]), "close": edges[1:],
    })  # fmt: skip
    funding = pl.DataFrame({"ts": ts[::8], "rate": np.full(n // 8, 1e-4), "interval_hours": np.full(n // 8, 8.0)})
    part = Market({"SOLUSDT": History(bars, sample_instrument("SOLUSDT"), funding=funding)})
    own = np.diff(np.log(edges)).std()
    found = [noise_market(part, seed).reference for seed in range(100)]
    ends = np.log([closes(history)[-1] / edges[0] for history in found])
    # The log price falls by half the variance, so that the price does not rise: without that it would be 5 errors off.
    assert abs(ends.mean() + 0.5 * own**2 * n) < 4.0 * own * np.sqrt(n / 100)
    rates = np.array([history.funding["rate"].to_numpy() for history in found])
    assert set(np.unique(rates)) == {-1e-4, 1e-4}
    assert abs(rates.mean()) < 4.0 * 1e-4 / np.sqrt(rates.size)


@pytest.mark.parametrize("degrees", [np.inf, 4.0])
@pytest.mark.parametrize("distance", [0.5, 1.0, 2.0])
@pytest.mark.parametrize("side", [1.0, -1.0])
def test_an_order_that_waits_in_noise_gains_nothing_within_its_bar(market, degrees, distance, side):
    # Filled where the price trades through it, it is worth its price at the close, whichever way it was met.
    gains = []
    for seed in range(6):
        opened, high, low, close = moves_of(noise_market(market, seed, degrees).symbols[SYMBOLS[1]])
        assert (opened == 0.0).all()
        level = -side * distance * moves_of(market.symbols[SYMBOLS[1]])[3].std()
        is_met = low < level if side > 0.0 else high > level
        gains.append(side * np.expm1(close[is_met] - level))
    gains = np.concatenate(gains)
    assert gains.size > 500
    assert abs(gains.mean()) < 4.0 * gains.std() / np.sqrt(gains.size)


@pytest.mark.parametrize(
    ("call", "named"),
    [
        (lambda m: permuted_market(m, -1), "seed must be"),
        (lambda m: permuted_market(m, 1, 0), "block must be a whole number"),
        (lambda m: permuted_market(m, 1, 5000), "block must leave two blocks"),
        (lambda m: noise_market(m, 1, 2.0), "degrees must be above 2"),
        (lambda m: noise_market(m, 1.5), "seed must be"),
        (lambda m: control_table(m, None, permuted_market, 0), "seeds must be"),
    ],
)
def test_what_is_wrong_is_named(market, call, named):
    with pytest.raises(InvalidInput, match=named):
        call(market)


def trading(sees_next):
    """Return a trader that follows the last hour's move, or, by mistake, the next hour's."""

    def trade(market):
        part = market.reference
        close = closes(part)
        every = np.arange(60, close.size - 60, 60)
        targets = np.full(close.size, np.nan)
        targets[every] = np.sign(close[every + 60] - close[every] if sees_next else close[every] - close[every - 60])
        return simulate(part.bars, targets, instrument=part.instrument, gaps="hold")

    return trade


def test_controls_expose_a_look_into_the_future_and_pass_a_real_edge(market):
    part = Market({SYMBOLS[1]: replace(market.symbols[SYMBOLS[1]], funding=None)})
    cheat = control_table(part, trading(True), permuted_market, 19)
    assert cheat["seed"].to_list() == [None, *range(19)]
    assert cheat["net_return"].min() > 0.0  # it gains where nothing can be known
    assert control_p_value(cheat) > 0.05
    honest = control_table(part, trading(False), noise_market, 19)
    gains = honest["net_return"].to_numpy()[1:]
    assert gains.min() < 0.0
    assert honest["net_return"][0] == trading(False)(part).metrics()["total_return"]


def test_p_value_counts_the_market_itself():
    def table(*values):
        return pl.DataFrame({"seed": [None, *range(len(values) - 1)], "sharpe": list(values)})

    assert control_p_value(table(3.0, 1.0, 2.0, 0.0)) == 0.25
    assert control_p_value(table(1.0, 1.0, 2.0, 0.0)) == 0.75
    assert np.isnan(control_p_value(table(float("nan"), 1.0)))
    for broken in (table(1.0), pl.DataFrame({"seed": [0, 1], "sharpe": [1.0, 2.0]}), pl.DataFrame({"seed": [None]})):
        with pytest.raises(InvalidInput, match="table"):
            control_p_value(broken)
