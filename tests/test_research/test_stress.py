"""Stresses: what each does to a market, told by independent reckonings, and what it leaves as it was."""

from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from research.backtest import simulate
from research.errors import InvalidInput, MisalignedBars
from research.execution import Costs
from research.market.bars import NS_PER_DAY, TS, epoch_ns, require_clock
from research.market.instruments import sample_instrument
from research.market.quality import check_quality
from research.market.simulated import simulate_market
from research.market.simulated_spec import MarketSpec
from research.validation.stress import SCENARIOS, STRESSES, run_stresses, stress
from research.validation.stress_market import History, Market, common_rows, moves_of, prices_of, shifted, with_moves

SYMBOLS = ("SOLUSDT", "BTCUSDT")
COSTS = Costs(half_spread_bps=1.0, slippage_bps=2.0)
DAYS = 5
# Stresses of prices, each strong enough to be seen, and what else the market needs for them.
PATHS = {
    "atr": {"factor": 3.0},
    "correlations": {},
    "drops": {"drops": 2, "bars": 7, "recovery": 0.5, "recovery_bars": 30, "seed": 3},
    "losing_runs": {"factor": 2, "unit_bars": 60},
    "gaps": {"share": 0.05, "length": 20},
    "liquidity": {"factor": 0.2, "still_share": 0.1},
}
OTHERS = {
    "slippage": {},
    "fees": {},
    "spread": {"share": 0.05},
    "latency": {},
    "funding_spikes": {"against": "long", "share": 0.5},
}


@pytest.fixture(scope="module")
def simulated():
    return simulate_market(MarketSpec(days=DAYS, seed=7))


@pytest.fixture(scope="module")
def market(simulated):
    """Two perpetuals with marks, funding, a gap of one and a latency."""

    def history(symbol, gap):
        bars = simulated.bars["linear", symbol]
        hole = pl.int_range(pl.len()).is_between(*gap)
        names = [name for name, dtype in bars.schema.items() if name != "ts"]
        empty = [
            pl.when(hole).then(float("nan") if bars.schema[name].is_float() else None).otherwise(pl.col(name))
            .cast(bars.schema[name]).alias(name)
            for name in names
        ]  # fmt: skip
        return History(
            bars.with_columns(empty), simulated.instruments["linear", symbol], simulated.mark[symbol],
            simulated.funding[symbol],
        )  # fmt: skip

    return Market({SYMBOLS[0]: history(SYMBOLS[0], (900, 911)), SYMBOLS[1]: history(SYMBOLS[1], (1, 0))}, COSTS, 2)


def only(market, symbol=SYMBOLS[0]):
    return replace(market, symbols={symbol: market.symbols[symbol]})


def hourly(market):
    """Trade the first symbol against the last hour's move."""
    part = market.reference
    close = part.bars["close"].to_numpy()
    targets = np.full(close.size, np.nan)
    targets[60::60] = -np.sign(close[60::60] - close[:-60:60][: close[60::60].size])
    return simulate(
        part.bars, targets, instrument=part.instrument, costs=market.costs, funding=part.funding, mark=part.mark,
        unit=part.unit, latency_bars=market.latency_bars, gaps="hold",
    )  # fmt: skip


def equal(one, other):
    """Tell whether two markets hold the same, NaN equal to NaN."""
    same = (
        one.costs == other.costs and one.latency_bars == other.latency_bars and list(one.symbols) == list(other.symbols)
    )
    for a, b in zip(one.symbols.values(), other.symbols.values(), strict=True):
        same &= a.bars.equals(b.bars) and a.mark.equals(b.mark) and a.funding.equals(b.funding)
        same &= a.instrument == b.instrument
        same &= (a.unit is None and b.unit is None) or np.array_equal(a.unit, b.unit)
    return bool(same)


def copied(market):
    parts = {
        name: replace(part, bars=part.bars.clone(), mark=part.mark.clone(), funding=part.funding.clone())
        for name, part in market.symbols.items()
    }
    return replace(market, symbols=parts)


def closes(history):
    return history.bars["close"].to_numpy()


# ----------------------------------------------------------------- all of them
@pytest.mark.parametrize(("name", "params"), [*PATHS.items(), *OTHERS.items()])
def test_a_stress_gives_valid_bars_changes_something_and_leaves_its_input(market, name, params):
    before = copied(market)
    found = stress(market, {name: params})
    assert equal(market, before)
    assert not equal(found, market)
    assert equal(stress(market, {name: params}), found)
    for symbol, part in found.symbols.items():
        was = market.symbols[symbol]
        assert part.bars.schema == was.bars.schema
        assert np.array_equal(epoch_ns(part.bars), epoch_ns(was.bars))
        require_clock(epoch_ns(part.bars), 60 * 10**9)
        policies = {"nonpositive": "error", "crossed": "error", "volume_invalid": "error", "off_grid": "error"}
        kept = part.bars.drop_nans("close")
        assert check_quality(kept, "1m", policies=policies).frame.height >= kept.height
        opened, high, low, close = prices_of(part)[:, ~np.isnan(closes(part))]
        assert (high >= np.maximum(opened, close)).all()
        assert (low <= np.minimum(opened, close)).all()
        tick = part.instrument.terms[0].tick
        ticks = np.stack([opened, high, low, close]) / tick
        assert np.abs(ticks - np.rint(ticks)).max() < 1e-6
        opened, high, low, close = part.mark.drop_nans("open").select("open", "high", "low", "close").to_numpy().T
        assert opened.size > 0.9 * market.ts.size
        assert (high >= np.maximum(opened, close)).all()
        assert (low <= np.minimum(opened, close)).all()
        if name != "gaps":
            assert np.array_equal(np.isnan(closes(part)), np.isnan(closes(was)))


@pytest.mark.parametrize("name", list(STRESSES))
def test_a_stress_of_strength_nothing_is_the_market_itself(market, name):
    assert stress(market, {name: dict(STRESSES[name].nothing)}) is market


def test_every_stress_is_tried_here_and_described():
    assert set(STRESSES) == set(PATHS) | set(OTHERS)
    assert all(spec.description and spec.name == name for name, spec in STRESSES.items())
    for stresses in SCENARIOS.values():
        for name, params in stresses.items():
            assert STRESSES[name].resolve(params)


@pytest.mark.parametrize(
    ("stresses", "named"),
    [
        ({"quake": {}}, "stress must be one of"),
        ({"atr": {"times": 3}}, "atr.times is not a parameter"),
        ({"atr": {"factor": -1.0}}, "atr.factor must lie in"),
        ({"drops": {"drops": 1.5}}, "drops.drops must be a whole number"),
        ({"drops": {"gap": "maybe"}}, "drops.gap must be one of no, yes"),
        ({"drops": {"drops": 100, "bars": 1000}}, "drops.drops must leave 1000 of"),
        ({"gaps": {"share": 0.9, "length": 7}}, "gaps.share must leave a bar"),
        ({"funding_spikes": {"against": "position"}}, "SOLUSDT.held must be known"),
    ],
)
def test_what_is_wrong_is_named(market, stresses, named):
    with pytest.raises(InvalidInput, match=named.replace(".", r"\.")):
        stress(market, stresses)


@pytest.mark.parametrize(
    ("stresses", "named"),
    [
        ({"correlations": {}}, "needs at least two symbols"),
        ({"slippage": {}}, "slippage.factor has no effect"),
        ({"spread": {}}, "spread.factor has no effect"),
        ({"spread": {"share": 0.1}}, "spread.factor has no effect"),
        ({"latency": {}}, "latency.factor has no effect"),
        ({"funding_spikes": {"against": "long"}}, "funding_spikes has no effect"),
    ],
)
def test_a_stress_that_could_do_nothing_is_refused(market, stresses, named):
    part = replace(market.reference, funding=None)
    with pytest.raises(InvalidInput, match=named):
        stress(Market({"SOLUSDT": part}), stresses)


def test_a_market_is_checked(market):
    part = market.reference
    with pytest.raises(InvalidInput, match="must be at least one"):
        Market({})
    with pytest.raises(InvalidInput, match="latency_bars"):
        Market({"a": part}, latency_bars=-1)
    with pytest.raises(MisalignedBars, match=r"b\.bars\.ts"):
        Market({"a": part, "b": replace(part, bars=part.bars[:-1])})
    with pytest.raises(InvalidInput, match=r"a\.unit"):
        Market({"a": replace(part, unit=np.zeros(3))})


# ----------------------------------------------------------------- paths
def test_moves_built_again_are_the_bars(market):
    for part in market.symbols.values():
        again = with_moves(part, moves_of(part))
        assert again.bars.equals(part.bars.with_columns(again.bars["turnover"]))
        np.testing.assert_allclose(again.bars["turnover"], part.bars["turnover"], rtol=1e-15)
        assert again.mark.equals(part.mark)


def test_moves_are_log_prices_over_the_last_close(market):
    part = market.reference
    moves, close = moves_of(part), closes(part)
    assert moves[0, 0] == 0.0
    high = part.bars["high"].to_numpy()
    assert moves[1, 5] == pytest.approx(np.log(high[5] / close[4]), abs=1e-12)
    assert np.isnan(moves[:, 900:912]).all()
    assert moves[1, 912] == pytest.approx(np.log(high[912] / close[899]), abs=1e-12)  # over the gap


@given(st.lists(st.tuples(*[st.floats(-0.2, 0.2)] * 3, st.floats(0, 0.1), st.floats(0, 0.1)), min_size=1, max_size=9))
@settings(max_examples=60)
def test_shifted_bars_stay_bars_and_keep_their_wicks(rows):
    opened, close, shift, upper, lower = np.array(rows).T
    moves = np.stack([opened, np.maximum(opened, close) + upper, np.minimum(opened, close) - lower, close])
    found = shifted(moves, shift)
    np.testing.assert_array_equal(found[0], opened)
    np.testing.assert_allclose(found[3], close + shift, atol=1e-15)
    np.testing.assert_allclose(found[1] - np.maximum(found[0], found[3]), upper, atol=1e-15)
    np.testing.assert_allclose(np.minimum(found[0], found[3]) - found[2], lower, atol=1e-15)


def test_atr_is_three_times_as_large_and_the_ends_stay(market):
    found = stress(market, {"atr": {"factor": 3.0}})
    for symbol, part in market.symbols.items():
        was, now = moves_of(part), moves_of(found.symbols[symbol])
        tick = part.instrument.terms[0].tick / np.nanmin(prices_of(found.symbols[symbol]))
        rows = np.flatnonzero(~np.isnan(was[3]))
        np.testing.assert_allclose((now[1] - now[2])[rows], 3.0 * (was[1] - was[2])[rows], atol=1.1 * tick)
        spread = [np.std(moves[3, rows]) for moves in (was, now)]
        assert spread[1] / spread[0] == pytest.approx(3.0, rel=2e-3)  # ticks
        ends = [closes(history)[rows[-1]] for history in (part, found.symbols[symbol])]
        assert ends[1] == pytest.approx(ends[0], abs=1e-9)
        assert prices_of(found.symbols[symbol])[0, 0] == prices_of(part)[0, 0]


def test_reversed_correlations_change_sign_and_nothing_else(market):
    rows = common_rows(market)
    found = stress(market, {"correlations": {}})
    before = [moves_of(part)[3, rows] for part in market.symbols.values()]
    after = [moves_of(part)[3, rows] for part in found.symbols.values()]
    was, now = np.corrcoef(before)[0, 1], np.corrcoef(after)[0, 1]
    assert was > 0.3
    assert now == pytest.approx(-was, abs=2e-3)  # ticks
    assert np.std(after[1]) == pytest.approx(np.std(before[1]), rel=2e-3)
    assert after[1].sum() == pytest.approx(before[1].sum(), abs=2e-3)
    assert found.reference is market.reference
    half = stress(market, {"correlations": {"strength": 0.5}})
    middle = [moves_of(part)[3, rows] for part in half.symbols.values()]
    assert np.corrcoef(middle)[0, 1] == pytest.approx(0.0, abs=2e-3)
    assert np.std(middle[1]) == pytest.approx(np.std(before[1]), rel=2e-3)


@pytest.mark.parametrize("gap", ["no", "yes"])
def test_drops_fall_by_their_depth_within_their_bars_and_recover(market, gap):
    params = {"drops": 2, "depth": 0.2, "bars": 5, "recovery": 0.25, "recovery_bars": 10, "gap": gap}
    found = stress(market, {"drops": params})
    rows = common_rows(market)
    for symbol, part in market.symbols.items():
        ratio = closes(found.symbols[symbol])[rows] / closes(part)[rows]
        tick = part.instrument.terms[0].tick / closes(part)[rows].min()
        step = np.flatnonzero(np.diff(np.log(ratio)) < -0.02) + 1
        assert step.size == 10
        assert step.tolist() == [*range(step[0], step[0] + 5), *range(step[5], step[5] + 5)]
        kept = 1.0 - 0.2 * 0.75
        for number, first in enumerate((step[0], step[5])):
            before = kept**number
            assert ratio[first - 1] == pytest.approx(before, abs=2 * tick)
            assert ratio[first + 4] == pytest.approx(before * 0.8, abs=2 * tick)
            assert ratio[first + 14] == pytest.approx(before * kept, abs=2 * tick)
        half = (rows.size - 1) // 2
        assert abs(step[0] - half // 2) < 10
        assert abs(step[5] - half - half // 2) < 10
        opened = found.symbols[symbol].bars["open"].to_numpy()[rows]
        jump = opened[step[0]] / closes(found.symbols[symbol])[rows][step[0] - 1]
        assert (jump < 0.98) == (gap == "yes")
        funded = found.symbols[symbol].funding
        assert funded.equals(part.funding)


def test_drops_by_seed_lie_elsewhere(market):
    found = [stress(only(market), {"drops": {"seed": seed}}).reference.bars for seed in (1, 1, 2)]
    assert found[0].equals(found[1])
    assert not found[0].equals(found[2])


def longest_run(is_loss):
    best = length = 0
    for lost in is_loss:
        length = length + 1 if lost else 0
        best = max(best, length)
    return best


@pytest.mark.parametrize(("side", "sign"), [("long", 1.0), ("short", -1.0)])
def test_losing_runs_are_so_many_times_as_long_with_the_same_blocks(market, side, sign):
    whole = only(market, SYMBOLS[1])
    found = stress(whole, {"losing_runs": {"factor": 3, "side": side, "unit_bars": 60}}).reference

    def blocks(history):
        return np.add.reduceat(moves_of(history)[3], np.arange(0, DAYS * 1440, 60))

    was, now = blocks(whole.reference)[1:], blocks(found)[1:]
    assert longest_run(sign * now < 0) == 3 * longest_run(sign * was < 0)
    np.testing.assert_allclose(np.sort(now), np.sort(was), atol=1e-4)  # ticks
    assert abs(closes(found)[-1] - closes(whole.reference)[-1]) <= 0.1001
    assert np.array_equal(closes(found)[:60], closes(whole.reference)[:60])
    assert np.array_equal(np.sort(found.bars["volume"]), np.sort(whole.reference.bars["volume"]))


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ([0.01, -0.02, 0.03, -0.01, -0.03, 0.02, -0.04], [0.01, 0.03, -0.01, -0.03, -0.04, -0.02, 0.02]),
        ([-0.01, 0.03, -0.02, 0.01, -0.04, 0.02], [-0.01, 0.03, -0.02, -0.04, 0.01, 0.02]),  # the first day stays
    ],
)
def test_losing_days_of_made_up_prices(before, after):
    bars = six_hourly(before)
    plain = Market({"SOLUSDT": History(bars, sample_instrument("SOLUSDT"))})
    found = closes(stress(plain, {"losing_runs": {"factor": 2}}).reference)[3::4]
    np.testing.assert_allclose(np.diff(np.log(np.concatenate(([100.0], found)))), after, atol=3e-4)


def six_hourly(days):
    """Return four bars for each day's log return."""
    logs = np.log(100.0) + np.concatenate(([0.0], np.cumsum(np.repeat(np.array(days) / 4, 4))))
    opened, close = np.round(np.exp(logs[:-1]), 2), np.round(np.exp(logs[1:]), 2)
    ts = pl.Series("ts", 1_704_067_200 * 10**9 + NS_PER_DAY // 4 * np.arange(close.size)).cast(TS)
    return pl.DataFrame({
        "ts": ts, "open": opened, "high": np.maximum(opened, close), "low": np.minimum(opened, close), "close": close,
    })  # fmt: skip


def test_a_run_that_holds_all_losing_days_cannot_be_extended():
    from research.validation.stress_paths import _gathered

    with pytest.raises(InvalidInput, match="all losing blocks are in the longest run; received 2"):
        _gathered(np.array([False, True, True, False]), 2)
    assert _gathered(np.array([False, True, True, False]), 1) == [0, 1, 2, 3]


def test_a_market_without_a_losing_day_has_no_run_to_extend():
    bars = six_hourly([0.01] * 7)
    rising = bars.with_columns(*[pl.Series(n, 100.0 + np.arange(28.0)) for n in ("open", "high", "low", "close")])
    with pytest.raises(InvalidInput, match="no whole block but the first loses"):
        stress(Market({"SOLUSDT": History(rising, sample_instrument("SOLUSDT"))}), {"losing_runs": {}})


def test_marks_keep_their_ratio_to_the_price(market):
    found = stress(only(market), {"drops": {"drops": 8, "depth": 0.2}}).reference
    was = market.reference
    rows = np.flatnonzero(~np.isnan(closes(was)))
    for name in ("open", "close"):
        before = was.mark[name].to_numpy()[rows] / was.bars[name].to_numpy()[rows]
        after = found.mark[name].to_numpy()[rows] / found.bars[name].to_numpy()[rows]
        np.testing.assert_allclose(after, before, atol=8e-4)  # ticks of 0.01 at prices of 20
    ratio = found.mark["open"].to_numpy()[900:912] / was.mark["open"].to_numpy()[900:912]
    np.testing.assert_allclose(ratio, closes(found)[899] / closes(was)[899], atol=3e-4)  # in the gap
    assert ratio[0] == pytest.approx(0.8, abs=1e-3)  # the first drop lies before it


# ----------------------------------------------------------------- costs, funding, gaps, volume
def test_costs_are_multiplied(market):
    costs = Costs(
        maker_fee_bps=-1.0, half_spread_bps=1.0, slippage_bps=2.0, slippage_unit_frac=0.1, participation_frac=0.2,
        impact_unit_frac=0.3, fee_schedule=((0, 4.0, -0.5),),
    )  # fmt: skip
    base = replace(market, costs=costs)
    found = stress(base, {"slippage": {"factor": 5}, "spread": {"factor": 4, "add_bps": 0.5}, "fees": {"factor": 2}})
    assert found.costs == replace(
        costs, maker_fee_bps=-0.5, half_spread_bps=4.5, slippage_bps=10.0, slippage_unit_frac=0.5,
        participation_frac=1.0, impact_unit_frac=1.5, fee_schedule=((0, 8.0, -0.25),),
    )  # fmt: skip
    for symbol, part in found.symbols.items():
        was = market.symbols[symbol].instrument.terms[0]
        assert part.instrument.terms[0] == replace(
            was, taker_fee_bps=2 * was.taker_fee_bps, maker_fee_bps=2 * was.maker_fee_bps
        )
    assert stress(market, {"latency": {"factor": 10}}).latency_bars == 20
    assert stress(replace(market, latency_bars=0), {"latency": {"add_bars": 3}}).latency_bars == 3
    with pytest.raises(InvalidInput, match=r"spread\.share must be 1"):
        stress(base, {"spread": {"share": 0.5}})


def test_fees_paid_are_doubled_whoever_sets_them(market):
    for costs in (COSTS, Costs(taker_fee_bps=3.0), Costs(fee_schedule=((0, 4.0, 1.0),))):
        part = replace(only(market), costs=costs)
        once, twice = (hourly(case).fills for case in (part, stress(part, {"fees": {}})))
        n = 10  # later sizes follow the equity
        np.testing.assert_allclose(twice["fee"][:1], 2.0 * once["fee"][:1], rtol=1e-12)
        np.testing.assert_allclose(
            twice["fee"][:n] / (twice["qty"] * twice["price"]).abs()[:n],
            2.0 * once["fee"][:n] / (once["qty"] * once["price"]).abs()[:n], rtol=1e-12,
        )  # fmt: skip


def test_a_spread_that_widens_in_volatile_bars_is_paid_there_alone(market):
    part = only(market, SYMBOLS[1])
    told = replace(part, costs=Costs(half_spread_bps=1.0), latency_bars=0)
    wide = stress(told, {"spread": {"factor": 51.0, "share": 0.2}})
    with pytest.raises(InvalidInput, match="unit"):  # a backtest that is not given the unit does not run
        hourly(replace(wide, symbols={SYMBOLS[1]: replace(wide.reference, unit=None)}))
    fills = hourly(wide).fills
    _, high, low, _ = prices_of(part.reference)
    reach = np.log(high / low)
    is_wide = reach >= np.quantile(reach, 0.8)
    assert is_wide.mean() == pytest.approx(0.2, abs=0.001)
    bar, side = fills["bar"].to_numpy(), np.sign(fills["qty"].to_numpy())
    paid = side * (fills["price"] / fills["reference"] - 1.0).to_numpy() * 1e4
    assert 0 < is_wide[bar].sum() < bar.size
    np.testing.assert_allclose(paid, np.where(is_wide[bar], 51.0, 1.0), atol=0.05)  # ticks of 0.1 at 40,000
    with pytest.raises(InvalidInput, match="stress the costs after it"):
        stress(wide, {"atr": {}})


@pytest.mark.parametrize("against", ["long", "short", "sign", "position"])
def test_funding_spikes_hit_so_many_settlements_on_the_side_asked(market, against):
    held = np.where(np.arange(market.ts.size) < 2000, 1.0, -1.0)
    part = only(market).with_histories({"SOLUSDT": replace(market.reference, held=held)})
    params = {"factor": 10.0, "add": 0.001, "share": 0.4, "against": against, "seed": 5}
    was = part.reference.funding["rate"].to_numpy()
    now = stress(part, {"funding_spikes": params}).reference.funding["rate"].to_numpy()
    hit = np.flatnonzero(now != was)
    assert hit.size == round(0.4 * was.size)
    np.testing.assert_allclose(np.abs(now[hit]), 10.0 * np.abs(was[hit]) + 0.001, rtol=1e-14)
    minute = np.arange(was.size) * 480
    side = {
        "long": np.ones(was.size), "short": -np.ones(was.size), "sign": np.where(was < 0, -1.0, 1.0),
        # Held after the close before the settlement; nothing is held before the first bar.
        "position": np.where(minute == 0, np.where(was < 0, -1.0, 1.0), np.where(minute - 1 < 2000, 1.0, -1.0)),
    }[against]  # fmt: skip
    assert np.array_equal(np.sign(now[hit]), side[hit])


def test_what_is_held_at_a_settlement_is_what_the_close_before_it_left(market):
    held = np.arange(market.ts.size, dtype=float)
    found = replace(market.reference, held=held).held_at_settlements("SOLUSDT")
    minutes = np.arange(0, market.ts.size, 480)
    assert np.array_equal(found, np.where(minutes == 0, 0.0, minutes - 1.0))


def test_gaps_are_of_the_length_and_share_asked(market):
    found = stress(only(market, SYMBOLS[1]), {"gaps": {"share": 0.05, "length": 20, "seed": 1}}).reference
    lost = np.isnan(closes(found))
    edges = np.flatnonzero(np.diff(np.concatenate(([0], lost.astype(int), [0]))))
    assert set((edges[1::2] - edges[::2]).tolist()) == {20}
    assert edges.size // 2 == round(0.05 * lost.size / 20)
    assert not lost[[0, -1]].any()
    assert np.array_equal(np.isnan(found.mark["open"].to_numpy()), lost)
    assert found.bars["trade_count"].is_null().to_numpy()[lost].all()
    kept = found.bars.filter(pl.Series(~lost))
    assert kept.equals(market.symbols[SYMBOLS[1]].bars.filter(pl.Series(~lost)))


def test_liquidity_is_withdrawn_and_fills_are_capped(market):
    part = only(market)
    found = stress(part, {"liquidity": {"factor": 0.1, "still_share": 0.25, "cap_frac": 0.02}})
    bars, was = found.reference.bars, part.reference.bars
    rows = np.flatnonzero(~np.isnan(was["close"].to_numpy()))
    still = (bars["volume"].to_numpy()[rows] == 0.0) & (was["volume"].to_numpy()[rows] > 0.0)
    assert still.sum() == round(0.25 * (rows.size - 1))
    assert not still[0]
    close = bars["close"].to_numpy()[rows]
    at = np.flatnonzero(still)
    for name in ("open", "high", "low", "close"):
        assert np.array_equal(bars[name].to_numpy()[rows][at], close[at - 1])
        assert np.array_equal(bars[name].to_numpy()[rows][~still], was[name].to_numpy()[rows][~still])
    np.testing.assert_array_equal(bars["volume"].to_numpy()[rows][~still], 0.1 * was["volume"].to_numpy()[rows][~still])
    assert found.costs.volume_cap_frac == 0.02
    kept = stress(replace(part, costs=Costs(volume_cap_frac=0.5)), {"liquidity": {}})
    assert kept.costs.volume_cap_frac == 0.5
    fills = hourly(found).fills
    filled = fills.group_by("bar").agg(pl.col("qty").abs().sum())
    cap = 0.02 * bars["volume"].to_numpy()[filled["bar"].to_numpy()]
    assert (filled["qty"].to_numpy() <= cap + 1e-9).all()


# ----------------------------------------------------------------- results
def test_what_changes_nothing_is_refused_or_left_out_and_never_withstood(market):
    free = replace(only(market), costs=Costs(half_spread_bps=1.0))
    asked = {"dear": {"slippage": {"factor": 5.0}}, "wide": {"spread": {"factor": 5.0}}}
    with pytest.raises(InvalidInput, match="has no effect"):
        run_stresses(free, asked, hourly)
    table = run_stresses(free, asked, hourly, idle="leave out")
    assert table["scenario"].to_list() == ["none", "wide"]
    both = run_stresses(free, {"both": {**asked["dear"], **asked["wide"]}}, hourly, idle="leave out")
    assert both["stresses"][1] == '{"spread": {"factor": 5.0}}'
    assert both["net_return"][1] == table["net_return"][1]
    terms = tuple(replace(t, taker_fee_bps=0.0, maker_fee_bps=0.0) for t in free.reference.instrument.terms)
    waived = replace(free.reference, instrument=replace(free.reference.instrument, terms=terms))
    with pytest.raises(InvalidInput, match="there are no fees to multiply"):
        stress(replace(free, symbols={"SOLUSDT": waived}), {"fees": {"factor": 2.0}})
    with pytest.raises(InvalidInput, match="idle must be refuse or leave out"):
        run_stresses(free, asked, hourly, idle="ignore")
    with pytest.raises(InvalidInput, match="factor"):  # a mistake is not idle
        run_stresses(free, {"wrong": {"fees": {"factor": 0.5}}}, hourly, idle="leave out")


def test_scenarios_are_told_against_the_market_as_it_is(market):
    part = only(market)
    runs = {
        n: {"losing_runs": {**s["losing_runs"], "unit_bars": 60}} for n, s in SCENARIOS.items() if "losing_runs" in s
    }
    table = run_stresses(part, {**SCENARIOS, **runs}, hourly)  # three days hold no longer run of days
    assert table["scenario"].to_list() == ["none", *SCENARIOS]
    plain = hourly(part).metrics()
    first = table.row(0, named=True)
    assert first["net_return"] == plain["total_return"]
    assert first["costs"] == plain["fees"] + plain["slippage"] + plain["interest"]
    assert first["funding"] == plain["funding"]
    assert first["net_return_change"] == first["sharpe_change"] == first["max_drawdown_change"] == 0.0
    by_name = {row["scenario"]: row for row in table.rows(named=True)}
    for name in ("slippage x5", "spread x5", "spread x20 when volatile", "fees x2", "funding spikes"):
        assert by_name[name]["net_return"] < first["net_return"], name
        assert by_name[name]["net_return_change"] == by_name[name]["net_return"] - first["net_return"]
    assert by_name["funding spikes"]["funding"] < first["funding"]
    again = hourly(stress(part, SCENARIOS["atr x3"])).metrics()
    assert by_name["atr x3"]["net_return"] == again["total_return"]


def test_ruin_is_a_value_and_errors_name_their_scenario(market):
    part = only(market)

    def bold(market):
        held = market.reference
        return simulate(
            held.bars, np.full(market.ts.size, 10.0), instrument=held.instrument, costs=market.costs,
            max_leverage=10.0, gaps="hold",
        )  # fmt: skip

    table = run_stresses(part, {"crash": {"drops": {"drops": 1, "depth": 0.5, "gap": "yes"}}}, bold)
    assert table["is_ruined"].to_list() == [0.0, 1.0]
    assert table["net_return"][1] <= -1.0
    with pytest.raises(InvalidInput) as told:
        run_stresses(part, {"pairs": {"correlations": {}}}, bold)
    assert told.value.__notes__ == ["under scenario pairs"]
    with pytest.raises(InvalidInput, match=r"scenarios\.none"):
        run_stresses(part, {"none": {}}, bold)
