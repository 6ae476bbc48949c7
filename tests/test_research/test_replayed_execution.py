"""Order-level replays against the account itself: without randomness, and path by path with it."""

import itertools
import math
from dataclasses import replace
from statistics import NormalDist

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from research.backtest import simulate
from research.errors import InvalidInput
from research.execution import Costs, Margin
from research.market.bars import TS
from research.market.instruments import margin_tiers, sample_instrument
from research.metrics.inference import sharpe_moments
from research.risk import Exits
from research.validation.replayed_account import drawn_run, replay_accounts
from research.validation.replayed_draws import delay_of, key_of, multiple_of, normal_quantile, uniform
from research.validation.replayed_execution import ExecutionRandomness, ReplayedExecution
from research.validation.replayed_market import decisions_of

PRICES = ("open", "high", "low", "close")
HOUR = 3_600 * 10**9
START = 1_704_067_200 * 10**9  # 2024-01-01
NONE = ExecutionRandomness()
ALL = ExecutionRandomness(
    delay_probabilities=(0.5, 0.3, 0.0, 0.2), slippage_log_sd=0.6, partial_probability=0.4, partial_range=(0.0, 1.0),
    miss_probability=0.15, start_frac=0.3,
)  # fmt: skip
SOL, SOL_SPOT = sample_instrument("SOLUSDT"), sample_instrument("SOLUSDT", "spot")
TIERS = margin_tiers([(2_000.0, 0.1, 0.5), (6_000.0, 0.2, 0.5), (1e9, 0.3, 1.0)])
EXACT = 1e-9  # relative: the same sums in the same order, but for the last bits


def market(seed, n, volatility=0.004, offset=0, volume=False):
    """Return hourly bars on ticks, each opening off the close before it."""
    rng = np.random.default_rng(seed)
    close = 100.0 * np.exp(np.cumsum(rng.normal(0.0, volatility, n)))
    opened = np.concatenate(([100.0], close[:-1])) * np.exp(rng.normal(0.0, volatility / 3, n))
    high = np.maximum(opened, close) * np.exp(np.abs(rng.normal(0.0, volatility / 2, n)))
    low = np.minimum(opened, close) * np.exp(-np.abs(rng.normal(0.0, volatility / 2, n)))
    ts = pl.Series("ts", START + (offset + np.arange(n)) * HOUR).cast(TS)
    frame = pl.DataFrame({"ts": ts, "open": opened, "high": high, "low": low, "close": close})
    return frame.with_columns(volume=pl.Series(rng.uniform(50.0, 500.0, n))) if volume else frame


def funding(bars, seed):
    """Return settlements at every eighth hour of the day."""
    rows = bars.filter(pl.col("ts").dt.hour() % 8 == 0).select("ts")
    rate = np.random.default_rng([seed, 7]).normal(0.0, 1e-3, rows.height)
    return rows.with_columns(rate=pl.Series(rate), interval_hours=pl.lit(8.0))


def decisions(seed, n, share=0.3, largest=0.9, is_spot=False):
    """Return targets of which many are repeated, reversed or 0."""
    rng = np.random.default_rng([seed, 3])
    values = largest * rng.choice([-1.0, -0.5, 0.0, 0.0, 0.3, 0.5, 1.0], n)
    return np.where(rng.random(n) < share, np.abs(values) if is_spot else values, math.nan)


def assert_same(figures, result):
    """A path's figures are those of an account's backtest."""
    rows, fills, metrics = result.ledger.rows, result.ledger.fills, result.metrics()
    cash = result.initial_cash_quote
    assert figures["final_equity"] == pytest.approx(rows["equity"][-1], rel=EXACT)
    assert figures["total"] == pytest.approx(rows["equity"][-1] / cash - 1.0, abs=EXACT)
    for name, expected in (("fees", rows["fee"].sum()), ("funding", rows["funding"].sum())):
        assert figures[name] == pytest.approx(expected, rel=EXACT, abs=EXACT), name
    assert figures["slippage"] == pytest.approx(rows["slippage"].sum(), rel=EXACT, abs=1e-7)  # sums that cancel
    assert figures["fills"] == fills.size
    assert figures["trades"] == metrics["trades"]
    assert figures["profit_factor"] == pytest.approx(metrics["profit_factor"], rel=1e-7, nan_ok=True)


settings_of_run = st.fixed_dictionaries(
    {
        "seed": st.integers(0, 10_000),
        "n": st.integers(30, 150),
        "offset": st.integers(0, 23),
        "costs": st.sampled_from(
            [
                Costs(half_spread_bps=2.0, slippage_bps=3.0),
                Costs(taker_fee_bps=0.0),
                Costs(half_spread_bps=1.0, slippage_unit_frac=0.1, participation_frac=0.05, impact_unit_frac=0.2),
                Costs(fee_schedule=[(START + 20 * HOUR, 2.0, 1.0), (START + 50 * HOUR + 1, 9.0, 1.0)]),
            ]
        ),
        "latency": st.integers(0, 3),
        "kind": st.sampled_from(["cross", "isolated", "spot", "marked", "terms"]),
    }
)


def run_of(given):
    """Return bars, targets and keywords of a random run."""
    seed, n, is_spot = given["seed"], given["n"], given["kind"] == "spot"
    bars = market(seed, n, offset=given["offset"], volume=True)
    keywords = {
        "instrument": SOL_SPOT if is_spot else SOL, "costs": given["costs"], "latency_bars": given["latency"],
        "unit": np.where(np.arange(n) % 3 == 0, math.nan, 0.5 + 0.01 * np.arange(n)),
    }  # fmt: skip
    if not is_spot:
        keywords |= {"funding": funding(bars, seed), "margin": Margin("isolated", leverage=2.0)}
    if given["kind"] in ("cross", "marked"):
        keywords["margin"] = Margin()
    if given["kind"] == "terms":
        first = SOL.terms[0]
        second = replace(
            first, from_ns=START + 45 * HOUR, tick=0.5, min_qty=20.0, taker_fee_bps=1.0, tiers=TIERS, max_leverage=2.0
        )
        keywords["instrument"] = replace(SOL, terms=(first, second))
    if given["kind"] == "marked":
        keywords["mark"] = bars.select("ts", pl.col("open") * 1.001)
    return bars, decisions(seed, n, is_spot=is_spot), keywords


@settings(max_examples=60, deadline=None)
@given(settings_of_run)
def test_without_randomness_a_path_is_the_backtest(given):
    bars, targets, keywords = run_of(given)
    path = ReplayedExecution(bars, targets, **keywords).path(NONE, 0, seed=1)
    assert_same(path.figures, simulate(bars, targets, **keywords))


@settings(max_examples=60, deadline=None)
@given(settings_of_run, st.integers(0, 10**6), st.sampled_from(["carry", "cancel"]))
def test_a_random_path_is_the_backtest_of_its_own_orders(given, number, rest):
    bars, targets, keywords = run_of(given)
    replayed = ReplayedExecution(bars, targets, **keywords)
    path = replayed.path(replace(ALL, partial_rest=rest), number, seed=5)
    twin = replayed.twin_result(path)
    assert_same(path.figures, twin)
    filled = path.events.filter(pl.col("lots") != 0)
    assert filled["price"].to_list() == twin.fills["price"].to_list()
    assert filled["ts"].to_list() == twin.fills["ts"].to_list()
    assert filled["lots"].to_list() == twin.fills["lots"].to_list()


def mark_of(bars, kind, seed):
    """Return no mark, one at opens, a way of its own, or one that never moves while the traded price does."""
    if kind == "none":
        return None
    if kind == "opens":
        return bars.select("ts", pl.col("open") * 0.995)
    if kind == "still":
        return bars.select("ts", *[pl.lit(100.0).alias(name) for name in ("open", "high", "low", "close")])
    wick = 1.0 + 0.02 * np.random.default_rng([seed, 9]).random(bars.height)
    return bars.select("ts", "open", "close", high=pl.col("high") * wick, low=pl.col("low") / wick)


@settings(max_examples=80, deadline=None)
@given(
    st.integers(0, 10_000), st.sampled_from([None, 10.0]), st.sampled_from(["cross", "isolated"]),
    st.sampled_from(["none", "opens", "way", "still"]), st.booleans(),
)  # fmt: skip
def test_a_path_is_refused_where_and_only_where_the_account_is_lost(seed, leverage, mode, kind, changes):
    bars = market(seed, 80, volatility=0.012)
    terms = (
        SOL.terms[0],
        replace(SOL.terms[0], from_ns=START + 40 * HOUR, taker_fee_bps=20.0, tiers=TIERS, max_leverage=2.0),
    )
    keywords = {
        "instrument": replace(SOL, terms=terms[: 1 + changes]), "margin": Margin(mode, leverage=leverage),
        "max_leverage": 8.0, "funding": funding(bars, seed), "mark": mark_of(bars, kind, seed),
    }  # fmt: skip
    if changes:
        keywords["margin"] = Margin(mode)
    targets = decisions(seed, 80, largest=8.0)
    result = simulate(bars, targets, **keywords)
    replayed = ReplayedExecution(bars, targets, **keywords)
    if result.is_ruined or result.metrics()["liquidations"] > 0:
        with pytest.raises(InvalidInput, match="liquidation"):
            replayed.path(NONE, 0, seed=1)
        with pytest.raises(InvalidInput, match="2 of 2"):
            replayed.paths(NONE, paths=2, seed=1)
    else:
        assert_same(replayed.path(NONE, 0, seed=1).figures, result)


def test_a_position_is_lost_at_an_open_although_its_exit_arrives_there():
    price = [100.0, 100.0, 100.0, 80.0, 80.0]  # 7 times the equity: a fifth lost is more than all of it
    bars = pl.DataFrame({"ts": BARS["ts"][:5]}).with_columns(**{n: pl.Series(price) for n in PRICES})
    targets = [7.0, math.nan, 0.0, math.nan, math.nan]
    result = simulate(bars, targets, instrument=SOL, max_leverage=8.0)
    assert result.fills["role"].to_list() == ["target", "liquidation"]
    with pytest.raises(InvalidInput, match="liquidation"):
        ReplayedExecution(bars, targets, instrument=SOL, max_leverage=8.0).path(NONE, 0, seed=1)


@pytest.mark.parametrize("fee_bps", [0.0, 500.0])
def test_the_fee_of_a_liquidation_brings_it_nearer(fee_bps):
    # 5 times the equity, 16 % lower: 2,000 left of 10,000, 420 to maintain, and at 5 % some 2,050 to close 41,900.
    low = [100.0, 100.0, 84.0, 100.0, 100.0]
    bars = pl.DataFrame({"ts": BARS["ts"][:5], "low": low}).with_columns(
        **{name: pl.lit(100.0) for name in ("open", "high", "close")}
    )
    keywords = {"instrument": SOL, "max_leverage": 8.0, "margin": Margin(liquidation_fee_bps=fee_bps)}
    targets = [5.0, math.nan, math.nan, 0.0, math.nan]
    assert simulate(bars, targets, **keywords).is_ruined == (fee_bps > 0.0)
    replayed = ReplayedExecution(bars, targets, **keywords)
    if fee_bps > 0.0:
        with pytest.raises(InvalidInput, match="liquidation"):
            replayed.path(NONE, 0, seed=1)
    else:
        assert replayed.path(NONE, 0, seed=1).figures["fills"] == 2.0


def test_liquidations_do_happen_in_the_markets_of_that_test():
    found = [
        simulate(
            market(seed, 80, 0.012), decisions(seed, 80, largest=8.0), instrument=SOL, margin=Margin(mode),
            max_leverage=8.0,
        ).metrics()["liquidations"]
        for seed, mode in itertools.product(range(30), ("cross", "isolated"))
    ]  # fmt: skip
    assert 5 < np.count_nonzero(found) < 55


BARS = market(11, 600)
TARGETS = decisions(11, 600)
RUN = {"instrument": SOL, "costs": Costs(half_spread_bps=2.0, slippage_bps=3.0), "funding": funding(BARS, 11)}
REPLAYED = ReplayedExecution(BARS, TARGETS, **RUN)


@pytest.mark.parametrize("bars", [1, 2, 5])
def test_a_constant_delay_is_the_latency_of_the_account(bars):
    late = ExecutionRandomness(delay_probabilities=(0.0,) * bars + (1.0,))
    assert_same(REPLAYED.path(late, 0, seed=1).figures, simulate(BARS, TARGETS, **RUN, latency_bars=bars))
    shared = ReplayedExecution(BARS, TARGETS, **RUN, latency_bars=1, latency_ms=1.0)
    assert_same(shared.path(late, 0, seed=1).figures, simulate(BARS, TARGETS, **RUN, latency_bars=bars + 2))


@pytest.mark.parametrize("multiple", [0.0, 0.5, 3.0])
@pytest.mark.parametrize("how", ["slippage_multiple", "slippage_range"])
def test_a_constant_multiple_is_that_of_the_costs(multiple, how):
    scaled = Costs(half_spread_bps=2.0 * multiple, slippage_bps=3.0 * multiple)
    asked = ExecutionRandomness(**{how: multiple if how == "slippage_multiple" else (multiple, multiple)})
    assert_same(REPLAYED.path(asked, 0, seed=1).figures, simulate(BARS, TARGETS, **{**RUN, "costs": scaled}))


def test_a_run_without_decisions_has_paths_without_orders():
    idle = ReplayedExecution(BARS, np.full(600, math.nan), **RUN)
    path = idle.path(ALL, 0, seed=1)
    assert path.figures["orders"] == 0.0
    assert path.events.is_empty()
    assert idle.twin_result(path).fills.is_empty()


def test_where_every_order_is_missed_nothing_is_traded():
    result = REPLAYED.paths(ExecutionRandomness(miss_probability=1.0), paths=20, seed=1)
    assert set(result.paths["final_equity"]) == {10_000.0}
    assert set(result.paths["fills"]) == {0.0}
    assert result.paths["missed"].to_list() == result.paths["orders"].to_list()
    assert min(result.paths["missed"]) > 50
    assert np.isnan(result.paths["profit_factor"].to_numpy()).all()
    assert np.isnan(result.paths["sharpe"].to_numpy()).all()


def test_statistics_are_those_of_the_equity_at_days_and_fills():
    result = simulate(BARS, TARGETS, **RUN)
    equity = result.equity["equity"].to_numpy()
    days = np.flatnonzero(BARS["ts"].dt.hour().to_numpy() == 23)
    marked = sorted({*days, *result.fills["bar"]})
    path = [10_000.0, *equity[marked]]
    peaks = list(itertools.accumulate(path, max))
    figures = REPLAYED.path(NONE, 0, seed=1).figures
    assert figures["max_drawdown"] == pytest.approx(min(e / p - 1 for e, p in zip(path, peaks, strict=True)), rel=EXACT)
    assert figures["lowest"] == pytest.approx(min(path) / 10_000.0 - 1, rel=EXACT)
    daily = np.array([10_000.0, *equity[days]])
    assert figures["sharpe"] == pytest.approx(sharpe_moments(daily[1:] / daily[:-1] - 1).sharpe, rel=EXACT)
    under = [equity[d] < peaks[1 + marked.index(d)] for d in days]
    assert figures["under_water_share"] == pytest.approx(np.mean(under), rel=EXACT)
    longest = max((len(list(run)) for is_under, run in itertools.groupby(under) if is_under), default=0)
    assert figures["longest_under_water"] == longest
    fan = REPLAYED.paths(NONE, paths=3, seed=1).fan((0.5,))
    assert fan["at"].to_list() == list(range(26))
    assert fan["q50"].to_list() == pytest.approx(daily.tolist(), rel=EXACT)


def test_a_path_is_the_same_alone_on_any_thread_and_among_more():
    few = REPLAYED.paths(ALL, paths=70, seed=4, threads=1)
    many = REPLAYED.paths(ALL, paths=200, seed=4, threads=3)
    assert few.paths.equals(many.paths.head(70))
    assert np.array_equal(few.fan_values, many.fan_values[:70])
    for number in (0, 69):
        assert REPLAYED.path(ALL, number, seed=4).figures == few.paths.row(number, named=True)
    assert not few.paths.equals(REPLAYED.paths(ALL, paths=70, seed=5).paths)


def test_a_start_is_a_decision_of_the_first_share_and_the_path_is_flat_before():
    begins = ExecutionRandomness(start_frac=0.25)
    bar, target = decisions_of(TARGETS)
    starts = math.ceil(0.25 * bar.size)
    # Begun at a target of 0, a flat account does nothing until the next one.
    expected = {BARS["ts"][int(bar[k if target[k] != 0.0 else k + 1])] for k in range(starts)}
    assert {REPLAYED.path(begins, p, seed=2).events["given_ts"][0] for p in range(400)} == expected
    assert 20 < len(expected) <= starts
    path = REPLAYED.path(begins, 0, seed=2)
    kept = np.where(BARS["ts"].to_numpy() < path.events["given_ts"].to_numpy()[0], math.nan, TARGETS)
    assert path.figures["final_equity"] == pytest.approx(
        simulate(BARS, kept, **RUN).ledger.rows["equity"][-1], rel=EXACT
    )


def test_shares_of_what_happens_to_orders_are_the_probabilities():
    asked = replace(ALL, start_frac=0.0, partial_range=(0.25, 0.25))
    events = pl.concat([REPLAYED.path(asked, p, seed=6).events for p in range(60)])
    met = events.filter(pl.col("ts") > pl.col("decided_ts"))
    orders = events.filter((pl.col("outcome") == "decided") & (pl.col("wanted") != 0)).height
    missed = met.filter(outcome="missed").height / orders
    assert abs(missed - 0.15) < 4 * math.sqrt(0.15 * 0.85 / orders) + 60 / orders  # a last one that never arrives
    cut = met.filter((pl.col("outcome") == "filled") & (pl.col("offered") != pl.col("wanted")))
    assert cut.height > 500
    assert (cut["offered"].abs() == (0.25 * cut["wanted"].abs()).floor()).all()
    assert abs(cut.height / orders - 0.85 * 0.4) < 4 * math.sqrt(0.34 * 0.66 / orders) + 60 / orders


def test_an_order_comes_as_late_and_pays_as_much_as_its_own_numbers_say():
    chances = np.cumsum(ALL.delay_probabilities)
    asked = replace(ALL, partial_probability=0.0, start_frac=0.0)
    late = ReplayedExecution(BARS, TARGETS, **RUN, latency_bars=2)
    opened, bar_of = BARS["open"].to_numpy(), {ts: bar for bar, ts in enumerate(BARS["ts"])}
    seen = set()
    for number in range(10):
        key = np.uint64(key_of(6, number))
        for event in late.path(asked, number, seed=6).events.filter(outcome="filled").iter_rows(named=True):
            bar, own = bar_of[event["ts"]], 8 * bar_of[event["given_ts"]]
            delay = delay_of(uniform(key, own), chances)
            assert bar == bar_of[event["decided_ts"]] + 1 + 2 + delay
            paid = math.exp(0.6 * NormalDist().inv_cdf(uniform(key, own + 1)) - 0.18) * 5e-4 * opened[bar]
            assert event["distance"] == pytest.approx(paid, rel=1e-12)
            assert (
                0.0 <= math.copysign(1, event["lots"]) * (event["price"] - opened[bar]) - paid < 0.01 + 1e-9
            )  # a tick
            assert uniform(key, own + 2) >= 0.15
            seen.add(delay)
    assert seen == {0, 1, 3}


def test_targets_in_lots_are_held_as_asked_and_not_sized():
    bars, lots = market(3, 60), np.full(60, math.nan)
    lots[[5, 20, 30, 45]] = [70, -30, -30, 0]
    replayed = ReplayedExecution(bars, lots, **{**RUN, "funding": funding(bars, 3)}, targets_in="lots")
    path = replayed.path(NONE, 0, seed=1)
    assert path.events.filter(outcome="filled")["lots"].to_list() == [70, -100, 30]
    orders = [
        {"ts": bars["ts"][bar], "type": "market", "side": side, "qty": qty}
        for bar, side, qty in ((5, "buy", 7.0), (20, "sell", 10.0), (45, "buy", 3.0))
    ]
    assert_same(
        path.figures, simulate(bars, orders=pl.DataFrame(orders), **{**RUN, "funding": funding(bars, 3)})
    )  # fmt: skip
    assert path.twin is None
    with pytest.raises(InvalidInput, match="takes no targets in lots"):
        replayed.twin_result(path)
    with pytest.raises(InvalidInput, match="whole lots"):
        ReplayedExecution(bars, lots + 0.5, **{**RUN, "funding": None}, targets_in="lots")


def test_results_say_what_was_random_and_keep_the_backtest_beside_it():
    result = REPLAYED.paths(ALL, paths=300, seed=1)
    assert result.unit == "day"
    assert "delay of 0 to 3 bars" in result.randomness
    assert "missed fills (15 %)" in result.randomness
    table = result.table()
    assert set(table["stands_for"]) == {result.randomness}
    assert result.observed["final_equity"] == REPLAYED.path(NONE, 0, seed=1).figures["final_equity"]
    low, high = result.interval("total", 0.99)
    assert low < result.interval("total", 0.95)[0] < result.interval("total", 0.95)[1] < high
    nothing = REPLAYED.paths(NONE, paths=3, seed=1)
    assert set(nothing.table()["note"]) == {"nothing is random"}
    assert nothing.table()["low95"].is_nan().all()
    assert NONE.described == "none"


def test_what_is_not_replayed_order_by_order_is_refused_by_name():
    for changes, subject in (
        ({"exits": Exits(stop_distance=0.02)}, "exits"),
        ({"orders": pl.DataFrame({"ts": BARS["ts"][:1], "type": "market", "side": "buy", "qty": 1.0})}, "orders"),
        ({"margin": Margin(borrow=True)}, "margin.borrow"),
        ({"costs": Costs(volume_cap_frac=0.1)}, "costs.volume_cap_frac"),
    ):
        with pytest.raises(InvalidInput, match="a backtest a path") as caught:
            ReplayedExecution(BARS, TARGETS, **{**RUN, **changes})
        assert caught.value.subject == subject
    gap = BARS.with_columns(pl.when(pl.col("ts") == BARS["ts"][9]).then(None).otherwise("close").alias("close"))
    with pytest.raises(InvalidInput, match=r"bars\[9\]"):
        ReplayedExecution(gap, TARGETS, **RUN)
    with pytest.raises(InvalidInput, match="max_leverage"):
        ReplayedExecution(BARS, 2.0 * TARGETS, **RUN)
    terms = (SOL.terms[0], replace(SOL.terms[0], from_ns=START + 9 * HOUR, qty_step=1.0, min_qty=1.0))
    with pytest.raises(InvalidInput, match="one qty_step"):
        ReplayedExecution(BARS[:60], np.full(60, math.nan), instrument=replace(SOL, terms=terms))


@pytest.mark.parametrize(
    "changes",
    [
        {"delay_probabilities": (0.5, 0.4)}, {"delay_probabilities": (1.5, -0.5)}, {"delay_probabilities": ()},
        {"slippage_log_sd": -1.0}, {"slippage_range": (2.0, 1.0)},
        {"slippage_range": (0.5, 1.0), "slippage_log_sd": 0.1},
        {"partial_probability": 1.1}, {"partial_range": (0.5, 1.5)}, {"partial_rest": "keep"},
        {"miss_probability": math.nan}, {"start_frac": -0.1}, {"slippage_multiple": True}, {"partial_range": 0.5},
    ],
)  # fmt: skip
def test_impossible_randomness_is_refused(changes):
    with pytest.raises(InvalidInput):
        ExecutionRandomness(**changes)


def test_numbers_of_paths_and_threads_must_be_possible():
    for changes in ({"paths": 0}, {"threads": 0}, {"seed": -1}, {"points": 1}, {"paths": 2.5}):
        with pytest.raises(InvalidInput):
            REPLAYED.paths(NONE, **{"paths": 2, "seed": 1, **changes})


# ---------------------------------------------------------------- accounts
def test_accounts_without_randomness_give_what_the_replay_gives():
    mine, theirs = REPLAYED.paths(NONE, paths=2, seed=1), replay_accounts(BARS, TARGETS, NONE, paths=2, seed=1, **RUN)
    for name, value in mine.observed.items():
        assert theirs.observed[name] == pytest.approx(value, rel=1e-7), name
    assert theirs.fan_values == pytest.approx(mine.fan_values, rel=EXACT)


def test_accounts_replay_exits_and_liquidations():
    risky = {**RUN, "max_leverage": 8.0, "exits": Exits(stop_distance=0.01)}
    asked = ExecutionRandomness(delay_probabilities=(0.5, 0.5), slippage_log_sd=0.5, miss_probability=0.1)
    result = replay_accounts(BARS, 8.0 * TARGETS, asked, paths=12, seed=1, **risky)
    assert result.observed["final_equity"] == simulate(BARS, 8.0 * TARGETS, **risky).ledger.rows["equity"][-1]
    assert result.paths["total"].n_unique() == 12
    again = simulate(BARS, **drawn_run(BARS, 8.0 * TARGETS, asked, 7, seed=1, **risky))
    assert result.paths["final_equity"][7] == again.ledger.rows["equity"][-1]
    assert "stop" in again.fills["role"].to_list()
    wild = market(12, 300, volatility=0.02)
    held = np.where(np.arange(300) == 5, 7.0, math.nan)
    bare = replay_accounts(wild, held, asked, paths=6, seed=1, instrument=SOL, max_leverage=8.0)
    assert bare.paths["is_liquidated"].sum() > 0
    assert np.isfinite(bare.paths["max_drawdown"].to_numpy()).all()


def test_accounts_draw_the_same_delays_and_misses_as_the_replay():
    asked = ExecutionRandomness(delay_probabilities=(0.6, 0.4), miss_probability=0.2)
    sparse = np.where(np.arange(600) % 20 == 0, np.tile([0.5, -0.5], 300)[np.arange(600) // 20], math.nan)
    events = ReplayedExecution(BARS, sparse, **RUN).path(asked, 3, seed=9).events
    told = drawn_run(BARS, sparse, asked, 3, seed=9, **RUN)["targets"]
    filled = events.filter(outcome="filled")["ts"].to_list()
    assert [BARS["ts"][int(bar) + 1] for bar in np.flatnonzero(~np.isnan(told))] == filled
    assert 10 < len(filled) < 30


def test_accounts_give_no_target_before_the_one_that_was_decided_before_it():
    targets = np.full(600, math.nan)
    targets[[10, 11, 12]] = [0.5, -0.5, 0.25]
    asked = ExecutionRandomness(delay_probabilities=(0.5, 0.0, 0.0, 0.5))
    overtaken = 0
    for path in range(40):
        told = drawn_run(BARS, targets, asked, path, seed=1, **RUN)["targets"]
        kept = told[~np.isnan(told)].tolist()
        assert kept[-1] == 0.25
        assert kept == [target for target in (0.5, -0.5, 0.25) if target in kept]
        if 0.5 not in kept:  # three bars late, and replaced when its time came, not before
            overtaken += 1
            assert np.flatnonzero(~np.isnan(told))[0] == 13
    assert 5 < overtaken < 35


def test_accounts_give_partial_targets_and_carry_the_rest_a_bar_later():
    targets = np.full(600, math.nan)
    targets[[10, 40]] = [0.8, 0.0]
    half = {"partial_probability": 1.0, "partial_range": (0.25, 0.25)}
    carried = drawn_run(BARS, targets, ExecutionRandomness(**half), 0, seed=1, **RUN)["targets"]
    assert carried[[10, 11, 40, 41]] == pytest.approx([0.2, 0.8, 0.6, 0.0])
    cancelled = drawn_run(BARS, targets, ExecutionRandomness(**half, partial_rest="cancel"), 0, seed=1, **RUN)
    assert cancelled["targets"][[10, 40]] == pytest.approx([0.2, 0.15])
    assert np.count_nonzero(~np.isnan(cancelled["targets"])) == 2


def test_accounts_refuse_to_draw_slippage_where_units_are_taken():
    asked = ExecutionRandomness(slippage_log_sd=0.5)
    with pytest.raises(InvalidInput, match="units"):
        drawn_run(BARS, TARGETS, asked, 0, seed=1, **{**RUN, "costs": Costs(slippage_unit_frac=0.1)})
    with pytest.raises(InvalidInput, match="explicit orders"):
        drawn_run(BARS, TARGETS, asked, 0, seed=1, **RUN, orders=pl.DataFrame())


# ---------------------------------------------------------------- random numbers
def test_normal_quantiles_are_those_of_the_standard_library():
    levels = np.concatenate((np.linspace(1e-6, 1 - 1e-6, 501), 10.0 ** -np.arange(2.0, 16.0)))
    found = [normal_quantile(p) for p in levels]
    assert found == pytest.approx([NormalDist().inv_cdf(p) for p in levels], rel=1e-14, abs=1e-15)


def test_numbers_are_uniform_and_independent_of_their_neighbours():
    numbers = np.array(
        [[uniform(np.uint64(key_of(3, path)), number) for number in range(100)] for path in range(100)]
    )  # fmt: skip
    counts, _ = np.histogram(numbers, bins=20, range=(0.0, 1.0))
    assert ((counts - 500) ** 2 / 500).sum() < 44.0  # chi-squared, 19 degrees of freedom: 0.1 %
    for neighbour in (numbers[:, 1:], numbers[1:, :]):
        other = numbers[:, :-1] if neighbour.shape[1] == 99 else numbers[:-1, :]
        assert abs(np.corrcoef(neighbour.ravel(), other.ravel())[0, 1]) < 0.04  # four standard errors
    assert len({key_of(seed, path) for seed in range(30) for path in range(30)}) == 900


def test_splitmix_gives_the_numbers_of_its_authors():
    # The first output of SplitMix64 seeded with 1234567, as published with the reference implementation in C.
    z = (1234567 + 0x9E3779B97F4A7C15) % 2**64
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9 % 2**64
    z = (z ^ (z >> 27)) * 0x94D049BB133111EB % 2**64
    z ^= z >> 31
    assert z == 6457827717110365317
    assert uniform(np.uint64(1234567), 0) == ((z >> 12) + 0.5) / 2**52


def test_delays_and_multiples_have_the_moments_asked_for():
    assert [delay_of(u, np.array([0.2, 0.2, 1.0])) for u in (0.0, 0.199, 0.2, 0.99)] == [0, 0, 2, 2]
    levels = (np.arange(20_000) + 0.5) / 20_000
    drawn = np.array([multiple_of(u, 2.0, 0.5, 1.0, 1.0) for u in levels])
    assert drawn.mean() == pytest.approx(2.0, rel=1e-3)  # of the tail beyond the last level 5e-4 is missing
    assert np.log(drawn).std() == pytest.approx(0.5, rel=1e-3)
    assert [multiple_of(u, 2.0, 0.0, 0.5, 1.5) for u in (0.0, 0.5, 1.0)] == [1.0, 2.0, 3.0]


def test_decisions_are_changes_of_the_target():
    bar, target = decisions_of(np.array([math.nan, 0.0, 0.5, 0.5, math.nan, 0.5, -0.5, 0.0]))
    assert bar.tolist() == [2, 6, 7]
    assert target.tolist() == [0.5, -0.5, 0.0]
