"""Rounding, costs, funding and the account: identities, laws and refusals."""

import math
from dataclasses import replace
from fractions import Fraction
from itertools import pairwise

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from research.errors import FingerprintMismatch, FundingHole, InvalidInput, MisalignedBars
from research.execution import (
    Account,
    Costs,
    Reason,
    Role,
    Status,
    exposure_lots,
    funding_per_bar,
    in_units,
    lots_of,
)
from research.execution.funding import EARLY_NS
from research.execution.rounding import price_to_tick
from research.market.bars import TS
from research.market.instruments import Instrument, sample_instrument

MINUTE = 60 * 10**9
HOUR = 60 * MINUTE
START = 1_704_067_200 * 10**9
SOL = sample_instrument("SOLUSDT")
SOL_SPOT = sample_instrument("SOLUSDT", market="spot")
FREE = Costs(taker_fee_bps=0.0)
COLUMNS = ("open", "high", "low", "close", "mark", "funding_rate", "target")


def make_bars(opens, closes, targets, *, mark=None, rate=None):
    """Return the account's eight columns from opens and closes; NaN in either is a gap."""
    opens, closes = np.asarray(opens, float), np.asarray(closes, float)
    n = opens.size
    return (
        START + MINUTE * np.arange(n),
        opens,
        np.maximum(opens, closes),
        np.minimum(opens, closes),
        closes,
        np.full(n, np.nan) if mark is None else np.asarray(mark, float),
        np.zeros(n) if rate is None else np.asarray(rate, float),
        np.asarray(targets, float),
    )


@st.composite
def random_bars(draw, market="linear"):
    rng = np.random.Generator(np.random.PCG64(draw(st.integers(0, 2**32))))
    n = draw(st.integers(1, 80))
    path = 100.0 * np.exp(np.cumsum(rng.normal(0, draw(st.sampled_from([0.001, 0.03])), 2 * n)))
    opens, closes = np.round(path[::2], 2), np.round(path[1::2], 2)
    closes[rng.random(n) < draw(st.sampled_from([0.0, 0.2]))] = np.nan
    choices = [np.nan, np.nan, 0.0, 0.3, 1.0] + ([-0.7, -1.0] if market == "linear" else [])
    rate = np.where(rng.random(n) < 0.2, rng.normal(0, 1e-3, n), 0.0) if market == "linear" else None
    return make_bars(opens, closes, rng.choice(choices, n), mark=opens * 1.0005, rate=rate)


def part(bars, start, stop):
    return tuple(column[start:stop] for column in bars)


# ---------------------------------------------------------------- rounding and costs
@pytest.mark.parametrize(
    ("qty", "step", "lots"),
    [
        (0.1 + 0.2, 0.1, 3),  # 3.0000000000000004 lots
        (0.3, 0.1, 3),  # 2.9999999999999996
        (sum([0.1] * 10), 0.1, 10),  # 0.9999999999999999
        (0.29, 0.1, 2),
        (-0.29, 0.1, -2),
        (-(0.1 + 0.2), 0.1, -3),
        (1_234_567.891, 0.001, 1_234_567_891),
        (1e-9, 0.001, 0),
        (0.0, 0.001, 0),
    ],
)
def test_lots_are_truncated_but_not_by_float_noise(qty, step, lots):
    assert lots_of(qty, step) == lots


@given(st.integers(-(10**9), 10**9), st.sampled_from([1.0, 0.5, 0.1, 0.25, 0.01, 0.001, 1e-6, 10.0]))
def test_units_are_the_nearest_float_and_come_back_as_the_same_count(count, unit):
    quantity = in_units(count, unit)
    assert quantity == float(count * Fraction(repr(unit)))
    assert lots_of(quantity, unit) == count


@given(
    st.floats(-10, 10), st.floats(1, 1e7), st.floats(0.01, 1e5), st.sampled_from([1.0, 0.1, 0.001, 1e-6])
)  # fmt: skip
def test_exposure_is_never_exceeded_and_misses_by_less_than_a_lot(exposure, equity, price, step):
    lots = exposure_lots(exposure, equity, price, step)
    wanted = Fraction(exposure) * Fraction(equity) / (Fraction(price) * Fraction(step))
    slack = Fraction(1, 10**12) * max(1, abs(wanted)) * 2
    assert abs(lots) <= abs(wanted) + slack
    assert abs(wanted) - abs(lots) < 1 + slack
    assert lots == 0 or (lots > 0) == (exposure > 0)


@pytest.mark.parametrize(
    ("price", "tick", "side", "rounded"),
    [
        (0.1 + 0.2, 0.1, 1, 0.3),
        (0.1 + 0.2, 0.1, -1, 0.3),
        (0.7, 0.1, -1, 0.7),  # 6.999999999999999 ticks
        (100.001, 0.01, 1, 100.01),
        (100.009, 0.01, -1, 100.0),
        (100.26, 0.25, 1, 100.5),
        (30_000.1 * (1 + 1e-4), 0.1, 1, 30_003.2),
        (0.004, 0.01, -1, 0.01),  # never to nothing
        (7.0, 5.0, 1, 10.0),
    ],
)
def test_prices_go_to_the_tick_on_the_adverse_side(price, tick, side, rounded):
    assert price_to_tick(price, tick, side) == rounded


def test_round_trip_costs_equal_the_worked_example():
    # cases.json 111: entry 100, exit 102, slippage 5 bps and fee 5.5 bps per leg: net return 0.017870070464767768 of
    # the entry's fill notional when fills are 100.05 and 101.949; a tick of 0.001 keeps both.
    terms = replace(SOL.terms[0], tick=0.001, qty_step=1.0, min_qty=1.0)
    account = Account(replace(SOL, terms=(terms,)), Costs(slippage_bps=5.0), 10_000.0)
    ledger = account.push(*make_bars([100, 100, 102, 102], [100, 102, 102, 102], [0.1, 0.0, np.nan, np.nan]))
    assert ledger.fills["price"].tolist() == [100.05, 101.949]
    assert ledger.fills["lots"].tolist() == [10, -10]
    assert (account.equity - 10_000.0) / (10 * 100.05) == pytest.approx(0.017870070464767768, rel=1e-11)


@pytest.mark.parametrize(
    ("settings_", "subject"),
    [
        ({"taker_fee_bps": -1.0}, "costs.taker_fee_bps"),
        ({"half_spread_bps": math.nan}, "costs.half_spread_bps"),
        ({"slippage_bps": -0.1}, "costs.slippage_bps"),
        ({"slippage_bps": 6_000.0, "half_spread_bps": 4_000.0}, "costs.slippage_bps"),
        ({"maker_fee_bps": "2"}, "costs.maker_fee_bps"),
        ({"half_spread_bps": None}, "costs.half_spread_bps"),
    ],
)
def test_impossible_costs_are_refused_by_name(settings_, subject):
    with pytest.raises(InvalidInput) as caught:
        Costs(**settings_)
    assert caught.value.subject == subject


# ---------------------------------------------------------------- funding rows
def funding_frame(hours, rates=None, interval=8.0):
    n = len(hours)
    return pl.DataFrame(
        {
            "ts": [START + int(h * HOUR) for h in hours],
            "rate": [1e-4] * n if rates is None else rates,
            "interval_hours": [interval] * n if isinstance(interval, float) else interval,
        }
    ).with_columns(pl.col("ts").cast(TS))


def hourly(first, last):
    return START + HOUR * np.arange(first, last)


def test_funding_falls_on_the_open_at_which_it_is_settled():
    rows = funding_frame([0, 8.000001, 16], [1e-4, 2e-4, -3e-4])  # 3.6 ms late
    rate, count = funding_per_bar(hourly(0, 20), HOUR, rows)
    assert {int(i): rate[i] for i in rate.nonzero()[0]} == {0: 1e-4, 8: 2e-4, 16: -3e-4}
    assert count == 3


@pytest.mark.parametrize(
    ("step", "interval", "inside"),
    [
        (24 * HOUR, 8.0, "2024-01-01T08:00:00Z"),
        (12 * HOUR, 8.0, "2024-01-01T08:00:00Z"),
        (16 * HOUR, 8.0, "2024-01-01T08:00:00Z"),  # the settlement of 16:00 is at an open, the one before is not
        (4 * HOUR, 1.0, "2024-01-01T01:00:00Z"),
        (2 * HOUR, 1.0, "2024-01-01T01:00:00Z"),
    ],
)
def test_a_settlement_inside_a_bar_is_an_error(step, interval, inside):
    rows = funding_frame(np.arange(0, 97, interval), interval=interval)
    span = f"{step // HOUR}h"
    with pytest.raises(MisalignedBars, match=f"not inside the bar of {span} .*finer base bars.*{inside}"):
        funding_per_bar(START + step * np.arange(96 * HOUR // step), step, rows)


def test_bars_that_begin_between_settlements_are_refused_for_the_same_reason():
    with pytest.raises(MisalignedBars, match="not inside the bar of 1h that opens at 2024-01-01T07:30:00Z"):
        funding_per_bar(hourly(1, 20) + HOUR // 2, HOUR, funding_frame([0, 8, 16]))


@pytest.mark.parametrize("minutes", [1, 3, 5, 15, 30, 60, 120, 240, 480])
def test_every_bar_that_divides_eight_hours_takes_settlements_of_eight_hours(minutes):
    step = minutes * MINUTE
    ts = START + step * np.arange(48 * HOUR // step)
    rows = funding_frame([0, 8, 16 + 1e-6, 24 - 1e-6, 32, 40], [1e-4, 2e-4, -3e-4, 4e-4, 5e-4, 6e-4])  # ± 3.6 ms
    rate, count = funding_per_bar(ts, step, rows)
    at = rate.nonzero()[0]
    assert ((ts[at] - START) // HOUR).tolist() == [0, 8, 16, 24, 32, 40]
    assert rate[at].tolist() == [1e-4, 2e-4, -3e-4, 4e-4, 5e-4, 6e-4]
    assert count == 6


@pytest.mark.parametrize("step", [MINUTE, HOUR])
def test_a_stamp_just_before_an_open_is_that_opens(step):
    ts = START + step * np.arange(9 * HOUR // step)
    at_eight = 8 * HOUR // step
    for early, bar in ((0, at_eight), (EARLY_NS, at_eight), (EARLY_NS + 1, at_eight - 1)):
        rows = funding_frame([0, 8]).with_columns(ts=pl.Series([START, START + 8 * HOUR - early]).cast(TS))
        if step == HOUR and early > EARLY_NS:  # almost an hour late
            with pytest.raises(MisalignedBars, match="not inside the bar of 1h"):
                funding_per_bar(ts, step, rows)
        else:
            assert funding_per_bar(ts, step, rows)[0].nonzero()[0].tolist() == [0, bar]


def test_a_stamp_may_be_one_minute_late_and_no_more():
    rows = funding_frame([0, 8 + 1 / 60, 16])
    assert funding_per_bar(hourly(0, 20), HOUR, rows)[0].nonzero()[0].tolist() == [0, 8, 16]
    with pytest.raises(MisalignedBars, match="must fall on a bar's open"):
        funding_per_bar(hourly(2, 20), HOUR, rows.with_columns(pl.col("ts") + pl.duration(milliseconds=1)))


@settings(max_examples=60)
@given(st.lists(st.integers(-EARLY_NS, 50 * 10**9), min_size=6, max_size=6), st.integers(0, 40))
def test_ranges_that_follow_one_another_charge_each_settlement_once(late, cut):
    rows = funding_frame([0, 8, 16, 24, 32, 40]).with_columns(ts=START + 8 * HOUR * np.arange(6) + np.array(late))
    rows = rows.with_columns(pl.col("ts").cast(TS))
    whole, count = funding_per_bar(hourly(0, 41), HOUR, rows)
    parts = [funding_per_bar(hourly(*bounds), HOUR, rows) for bounds in ((0, cut), (cut, 41))]
    assert np.concatenate([rate for rate, _ in parts]).tolist() == whole.tolist()
    assert sum(part_count for _, part_count in parts) == count == 6


def test_one_settlement_told_twice_is_not_charged_twice():
    rows = funding_frame([0, 8, 8.000001, 16])  # the hour, and the same with the venue's milliseconds
    for step in (MINUTE, HOUR):
        with pytest.raises(MisalignedBars, match=r"funding\.ts\[2\] must fall on another bar's open"):
            funding_per_bar(START + step * np.arange(20 * HOUR // step), step, rows)
    assert funding_per_bar(hourly(9, 20), HOUR, rows)[1] == 1  # outside the bars it costs nobody anything


def test_a_missing_settlement_after_an_early_stamp_is_still_a_hole():
    rows = funding_frame([0, 16 - 1e-6, 24])  # 8:00 is missing; counted back from the early stamp it is due before 8:00
    with pytest.raises(FundingHole):
        funding_per_bar(hourly(8, 20), HOUR, rows)
    assert funding_per_bar(hourly(0, 8), HOUR, rows)[1] == 1


def test_the_interval_may_change_between_rows():
    rows = funding_frame([0, 8, 12, 16, 24], interval=[8.0, 8.0, 4.0, 4.0, 8.0])
    assert funding_per_bar(hourly(0, 30), HOUR, rows)[1] == 5


@pytest.mark.parametrize(
    ("first", "last", "hours", "interval"),
    [
        (0, 24, [0, 16], 8.0),  # 8:00 is missing
        (0, 24, [0, 8, 12, 20], [8.0, 8.0, 4.0, 4.0]),  # 16:00 of the four-hourly rows is
        (0, 30, [10, 18, 26], 8.0),  # begins more than one interval before the rows
        (0, 40, [0, 8, 16, 24], 8.0),  # ends more than one after
        (9, 30, [0, 8, 32], 8.0),  # 16:00 and 24:00, rows on both sides of the bars
        (8, 10, [0, 16], 8.0),  # the only settlement of these two bars, at their very start
    ],
)
def test_a_hole_in_the_rows_is_an_error(first, last, hours, interval):
    with pytest.raises(FundingHole):
        funding_per_bar(hourly(first, last), HOUR, funding_frame(hours, interval=interval))


def test_a_hole_outside_the_bars_is_none():
    assert funding_per_bar(hourly(24, 40), HOUR, funding_frame([-40, 0, 16, 24, 32, 80, 88]))[1] == 2
    assert funding_per_bar(hourly(9, 15), HOUR, funding_frame([0, 8, 16]))[1] == 0


def test_unusable_funding_rows_are_refused():
    with pytest.raises(FundingHole, match="rate"):
        funding_per_bar(hourly(0, 9), HOUR, funding_frame([0, 8], [1e-4, math.nan]))
    with pytest.raises(FundingHole, match="must have rows"):
        funding_per_bar(hourly(0, 9), HOUR, funding_frame([0]).clear())
    with pytest.raises(MisalignedBars):
        funding_per_bar(hourly(0, 9), HOUR, funding_frame([0, 0, 8]))
    with pytest.raises(InvalidInput, match="interval_hours"):
        funding_per_bar(hourly(0, 9), HOUR, funding_frame([0, 8], interval=[8.0, 0.0]))


def test_real_funding_rows_cover_real_bars(market_data):
    bars = pl.read_parquet(market_data / "bybit/linear/SOLUSDT/5m.parquet")
    rows = pl.read_parquet(market_data / "bybit/linear/SOLUSDT/funding.parquet")
    rows = rows.with_columns(pl.lit(8.0).alias("interval_hours"))
    ts = bars["ts"].cast(TS).to_physical().to_numpy()
    ts = ts[ts < rows["ts"].cast(TS).to_physical()[-1] + 8 * HOUR]
    rate, count = funding_per_bar(ts, 5 * MINUTE, rows)
    assert count == rows.height  # every settlement of the file lies within the bars
    assert rate.sum() == pytest.approx(rows["rate"].sum(), rel=1e-12)
    with pytest.raises(FundingHole):
        funding_per_bar(ts, 5 * MINUTE, rows.filter(pl.int_range(pl.len()) != 100))


@pytest.mark.parametrize("minutes", [1, 5, 60, 240, 480])
def test_real_rows_with_milliseconds_are_charged_at_opens(market_data, minutes):
    rows = pl.read_parquet(market_data / "binance/usdm/SOLUSDT/funding.parquet")
    rows = rows.with_columns(pl.col("ts").cast(TS), pl.lit(8.0).alias("interval_hours"))
    stamps, step = rows["ts"].to_physical().to_numpy(), minutes * MINUTE
    late = stamps % (8 * HOUR)
    assert 0 < late.max() < 1_000_000_000  # some are not on the hour
    first = stamps[0] - late[0]
    ts = np.arange(first, stamps[-1] + 8 * HOUR, step)
    rate, count = funding_per_bar(ts, step, rows)
    charged = np.searchsorted(ts, stamps - late)
    assert count == rows.height
    assert rate[charged].tolist() == rows["rate"].to_list()
    assert np.count_nonzero(rate) == np.count_nonzero(rows["rate"].to_numpy())
    midnight = -(-first // (24 * HOUR)) * 24 * HOUR
    with pytest.raises(MisalignedBars, match="not inside the bar of 24h"):
        funding_per_bar(np.arange(midnight, stamps[-1] - 24 * HOUR, 24 * HOUR), 24 * HOUR, rows)


def test_the_same_fills_pay_the_same_funding_on_bars_of_every_length():
    # Opens and closes of a straight line, decided and filled on the hours that all lengths share.
    paid = []
    for step in (MINUTE, 5 * MINUTE, HOUR, 4 * HOUR, 8 * HOUR):
        n = 96 * HOUR // step
        prices = 100.0 + (np.arange(n + 1) * step / HOUR) / 8
        ts = START + step * np.arange(n)
        rate, count = funding_per_bar(ts, step, funding_frame(np.arange(0, 96, 8), [1e-3, -2e-3, 3e-3] * 4))
        targets = np.full(n, np.nan)
        for hour, target in ((8, 0.5), (40, -1.0), (72, 0.0)):
            targets[hour * HOUR // step - 1] = target
        account = Account(SOL, FREE, step_ns=step)
        ledger = account.push(
            ts, prices[:-1], prices[1:], prices[:-1], prices[1:], np.full(n, np.nan), rate, targets
        )  # fmt: skip
        assert ledger.fills["ts"].tolist() == [START + hour * HOUR for hour in (8, 40, 72)]
        assert count == 12
        paid.append((ledger.rows["funding"].sum(), ledger.fills["price"].tolist(), account.equity))
    assert paid[0][0] != 0.0
    for funding, prices, equity in paid[1:]:
        assert prices == paid[0][1]
        assert (funding, equity) == pytest.approx((paid[0][0], paid[0][2]), rel=1e-12)  # sums of floats


# ---------------------------------------------------------------- semantics by hand
def test_a_decision_fills_at_the_next_open_not_at_its_close():
    account = Account(SOL, FREE, 10_000.0)
    ledger = account.push(*make_bars([100, 110, 120], [105, 115, 125], [0.5, np.nan, np.nan]))
    fill = ledger.fills[0]
    assert (fill["ts"], fill["price"], fill["lots"]) == (START + MINUTE, 110.0, 476)  # 5000 / (105 * 0.1) = 476.19
    assert ledger.rows["equity"].tolist() == pytest.approx([1e4, 1e4 + 47.6 * 5, 1e4 + 47.6 * 15], rel=1e-15)
    assert ledger.rows["position_lots"].tolist() == [0, 476, 476]


def test_latency_counts_whole_bars_and_a_gap_waits():
    bars = make_bars([100, 101, 102, 103, np.nan, 105, 106], [100, 101, 102, 103, 104, 105, 106], [0.5] + [np.nan] * 6)
    for latency, opened in ((0, 101.0), (1, 102.0), (2, 103.0), (3, 105.0), (4, 105.0), (5, 106.0)):
        ledger = Account(SOL, FREE, latency_bars=latency).push(*bars)
        assert ledger.fills["price"].tolist() == [opened]
    account = Account(SOL, FREE, latency_bars=6)
    assert account.push(*bars).fills.size == 0
    assert account.pending()["lots"].tolist() == [500]


def test_an_unchanged_target_makes_no_further_order():
    account = Account(SOL, FREE)
    ledger = account.push(*make_bars([100] * 6, [100, 120, 90, 80, 130, 70], [0.5] * 6))
    assert ledger.orders.size == 1


def test_an_order_under_way_is_not_recalled_and_the_newest_target_follows_it():
    account = Account(SOL, FREE, latency_bars=2)
    closes = [100, 100, 100, 125, 125, 125, 125]
    targets = [0.5, 0.9, -0.3, np.nan, np.nan, np.nan, np.nan]
    ledger = account.push(*make_bars([100, 100, 100, 100, 125, 125, 125], closes, targets))
    assert ledger.orders["status"].tolist() == [Status.FILLED, Status.FILLED]
    assert ledger.orders["target"].tolist() == [0.5, -0.3]  # 0.9 was overtaken while it waited: no order was made
    # Decided at the close of bar 0, open of bar 3; then at the close of that bar, open of bar 6.
    assert ledger.orders["decided_ts"].tolist() == [START + MINUTE, START + 4 * MINUTE]
    assert ledger.orders["done_ts"].tolist() == [START + 3 * MINUTE, START + 6 * MINUTE]
    # Sized at the close of bar 3: -0.3 * (10,000 + 50 * 25) / 12.5 = -270 lots.
    assert ledger.fills["lots"].tolist() == [500, -770]
    assert ledger.fills["position_lots"].tolist() == [500, -270]


def test_a_target_given_at_the_last_close_before_the_arrival_waits_too():
    # The order arrives at the very next open; at latency 1 and a decision on every close nothing would ever fill.
    n = 9
    targets = np.round(0.1 + 0.01 * np.arange(n), 2)  # each one new
    ledger = Account(SOL, FREE, latency_bars=1).push(*make_bars([100] * n, [100] * n, targets))
    assert ledger.fills["ts"].tolist() == [START + k * MINUTE for k in (2, 4, 6, 8)]
    assert ledger.fills["position_lots"].tolist() == [100, 120, 140, 160]


def test_a_target_that_returns_to_the_order_under_way_asks_for_nothing():
    account = Account(SOL, FREE, latency_bars=3)
    ledger = account.push(*make_bars([100] * 10, [100] * 10, [0.5, 0.2, 0.5] + [np.nan] * 7))
    assert (ledger.orders.size, ledger.fills["lots"].tolist()) == (1, [500])


def test_an_exit_decided_while_the_entry_is_under_way_is_executed_after_it():
    account = Account(SOL, FREE, latency_bars=4)
    ledger = account.push(*make_bars([100] * 12, [100] * 12, [0.5, np.nan, 0.0] + [np.nan] * 9))
    assert ledger.fills["lots"].tolist() == [500, -500]
    assert ledger.fills["ts"].tolist() == [START + 5 * MINUTE, START + 10 * MINUTE]
    assert account.position_lots == 0


def test_latency_beyond_the_decision_interval_still_trades_and_ends_in_the_newest_target():
    n, rng = 10_000, np.random.Generator(np.random.PCG64(7))
    path = np.round(100.0 * np.exp(np.cumsum(rng.normal(0, 1e-3, n + 1))), 2)
    targets = np.full(n, np.nan)
    targets[::5] = np.round(rng.uniform(-1, 1, n // 5), 3)
    targets[-30:] = np.nan
    targets[-30] = 0.625
    account = Account(SOL, Costs(half_spread_bps=1.0), latency_bars=7)
    ledger = account.push(*make_bars(path[:-1], path[1:], targets))
    assert set(ledger.orders["status"].tolist()) == {int(Status.FILLED)}
    # Each order takes eight bars, its successor is decided at the close of the bar that filled it.
    assert ledger.fills.size == ledger.orders.size > 0.99 * n / 8
    assert (ledger.orders["done_ts"] - ledger.orders["decided_ts"] == 7 * MINUTE).all()
    last = ledger.orders[-1]
    assert (last["target"], account.standing_target) == (0.625, 0.625)
    decided = (last["decided_ts"] - START) // MINUTE - 1
    worth = ledger.rows["equity"][decided]
    assert account.position_lots == exposure_lots(0.625, worth, path[decided + 1], 0.1)
    for order in ledger.orders:  # each follows the newest target known at its close
        known = targets[: (order["decided_ts"] - START) // MINUTE]
        assert order["target"] == known[np.isfinite(known)][-1]


def test_a_target_follows_an_order_that_was_refused_at_its_open():
    account = Account(SOL, FREE, 1_000.0, latency_bars=2, max_leverage=50.0)
    opens = [100, 100, 100, 140, 140, 140, 140]  # 40x sized at 100 is 56x at 140: beyond the venue's 50
    ledger = account.push(*make_bars(opens, opens, [40.0, 0.7] + [np.nan] * 5))
    assert ledger.orders["reason"].tolist() == [Reason.INSUFFICIENT_MARGIN, Reason.NONE]
    assert ledger.fills["lots"].tolist() == [50]  # 0.7 * 1,000 / 14


@pytest.mark.parametrize("latency", [0, 1, 2])
def test_an_order_that_waits_out_a_gap_is_replaced_by_a_newer_target(latency):
    n = latency + 6
    prices, targets = np.full(n, 100.0), np.full(n, np.nan)
    arrival = latency + 1
    prices[arrival : arrival + 2] = np.nan  # it arrives in the gap
    targets[0], targets[arrival] = 0.5, -0.3
    account = Account(SOL, FREE, latency_bars=latency)
    ledger = account.push(*make_bars(prices, prices, targets))
    assert ledger.orders["status"][0] == Status.REPLACED
    assert ledger.orders["done_ts"][0] == START + (arrival + 1) * MINUTE
    fills = START + max(arrival + 2, arrival + 1 + latency) * MINUTE
    assert (ledger.fills["ts"].tolist(), ledger.fills["lots"].tolist()) == ([fills], [-300])


def test_a_gap_on_the_way_changes_nothing():
    prices = np.array([100, np.nan, np.nan, 100, 100, 100, 100, 100], float)
    ledger = Account(SOL, FREE, latency_bars=2).push(*make_bars(prices, prices, [0.5, -0.3] + [np.nan] * 6))
    assert ledger.fills["ts"].tolist() == [START + 3 * MINUTE, START + 6 * MINUTE]
    assert ledger.fills["lots"].tolist() == [500, -800]


def steady_mark(n, price=100.0):
    """Return a mark price that stays where it is: the account is ruined at a traded close before it is liquidated."""
    return {name: np.full(n, price) for name in ("mark_high", "mark_low", "mark_close")}


def test_ruin_cancels_what_is_under_way_and_refuses_what_waits_behind_it():
    account = Account(SOL, FREE, 1_000.0, latency_bars=2, max_leverage=10.0)
    targets = [10.0, np.nan, np.nan, 5.0, -1.0, np.nan, np.nan, np.nan]
    bars = make_bars([100] * 5 + [80] * 3, [100] * 4 + [80] * 4, targets, mark=[100] * 8)
    ledger = account.push(*bars, **steady_mark(8))
    assert account.is_ruined
    assert account.pending().size == 0
    fates = [(o["role"], o["status"], o["reason"]) for o in ledger.orders]
    assert fates == [
        (Role.TARGET, Status.FILLED, Reason.NONE),
        (Role.TARGET, Status.REJECTED, Reason.RUINED),
        (Role.RUIN, Status.FILLED, Reason.RUINED),
        (Role.TARGET, Status.REJECTED, Reason.RUINED),
    ]
    asked = ledger.orders["target"]
    assert asked[[0, 1, 3]].tolist() == [10.0, 5.0, -1.0]
    assert math.isnan(asked[2])  # nobody's target


def test_partial_reduction_and_reversal_go_by_the_average_entry():
    # +10 at 100, +10 at 110: entry 105. Sell 5 at 120: realises 75. Then to -5 at 90: closes 15 at -15 each.
    terms = replace(SOL.terms[0], qty_step=1.0, min_qty=1.0)
    account = Account(replace(SOL, terms=(terms,)), FREE, 100_000.0, max_leverage=10.0)
    opens, closes = [100, 100, 110, 120, 90, 90], [100, 110, 120, 90, 90, 90]
    lots = [10, 20, 15, -5]
    equity = [100_000.0, 100_100.0, 100_300.0, 100_000.0 - 150.0]
    targets = [want * close / worth * (1 + 1e-9) for want, close, worth in zip(lots, closes, equity, strict=False)]
    ledger = account.push(*make_bars(opens, closes, [*targets, np.nan, np.nan]))
    assert ledger.fills["lots"].tolist() == [10, 10, -5, -20]
    assert ledger.fills["realised"].tolist() == [0.0, 0.0, 75.0, -225.0]
    assert ledger.rows["wallet"].tolist() == [100_000.0, 100_000.0, 100_000.0, 100_075.0, 99_850.0, 99_850.0]
    assert account.entry_price == 90.0


def test_funding_is_charged_on_the_position_before_the_open():
    flat_then_long = make_bars([100, 100, 100], [100, 100, 100], [0.5, np.nan, np.nan], rate=[0.001, 0.001, 0.001])
    ledger = Account(SOL, FREE).push(*flat_then_long)
    assert ledger.rows["funding"].tolist() == [0.0, 0.0, -5.0]  # bar 1 opens the position after its settlement
    short = make_bars([100] * 3, [100] * 3, [-0.5, np.nan, np.nan], rate=[0, 0, 0.001], mark=[np.nan, np.nan, 110])
    assert Account(SOL, FREE).push(*short).rows["funding"].tolist() == pytest.approx([0, 0, 5.5], rel=1e-15)


def test_funding_in_a_gap_uses_the_mark_or_the_last_close():
    for mark, paid in ((110.0, -5.5), (np.nan, -5.2)):
        bars = make_bars(
            [100, 100, np.nan], [100, 104, np.nan], [0.5, np.nan, np.nan], rate=[0, 0, 1e-3], mark=[np.nan] * 2 + [mark]
        )
        ledger = Account(SOL, FREE).push(*bars)
        assert ledger.rows["funding"][2] == pytest.approx(paid, rel=1e-15)
        assert ledger.rows["equity"][2] == pytest.approx(10_000 + 50 * 4 + paid, rel=1e-15)


def test_the_published_funding_example():
    # Bybit, transaction log: 100 * 0.3676 * 0.0001 = 0.003676 paid by a long.
    terms = replace(SOL.terms[0], tick=0.0001, qty_step=1.0, min_qty=1.0, min_notional_quote=0.0)
    bars = make_bars([0.3676] * 3, [0.3676] * 3, [0.36760001, np.nan, np.nan], rate=[0, 0, 1e-4], mark=[0.3676] * 3)
    ledger = Account(replace(SOL, terms=(terms,)), FREE, 100.0).push(*bars)
    assert ledger.rows["position_lots"][1] == 100
    assert ledger.rows["funding"][2] == pytest.approx(-0.003676, rel=1e-12)


def test_a_decision_before_the_first_price_waits_for_it():
    account = Account(SOL, FREE)
    ledger = account.push(*make_bars([np.nan, 100, 101], [np.nan, 100, 101], [0.5, np.nan, np.nan]))
    assert (ledger.fills["price"].tolist(), ledger.fills["lots"].tolist()) == ([101.0], [500])


@pytest.mark.parametrize(
    ("target", "terms", "reason"),
    [
        (0.0005, {}, Reason.BELOW_MIN_QTY),  # 0.05 SOL is no lot of 0.1
        (0.002, {"min_qty": 0.5}, Reason.BELOW_MIN_QTY),
        (0.004, {"min_notional_quote": 50.0}, Reason.BELOW_MIN_NOTIONAL),
        (0.5, {"max_qty": 40.0}, Reason.ABOVE_MAX_QTY),
        (1.5, {}, Reason.ABOVE_LEVERAGE),
    ],
)
def test_refusals_are_recorded_with_their_reason(target, terms, reason):
    instrument = replace(SOL, terms=(replace(SOL.terms[0], **terms),))
    ledger = Account(instrument, FREE).push(*make_bars([100] * 3, [100] * 3, [target, np.nan, np.nan]))
    assert [(o["status"], o["reason"]) for o in ledger.orders] == [(Status.REJECTED, reason)]
    assert ledger.fills.size == 0
    assert (ledger.rows["equity"] == 10_000.0).all()


def test_an_order_that_only_shrinks_a_perpetual_is_exempt_from_the_minimum_notional():
    terms = replace(SOL.terms[0], min_notional_quote=2_000.0)
    account = Account(replace(SOL, terms=(terms,)), FREE)
    ledger = account.push(*make_bars([100] * 4, [100] * 4, [0.5, 0.4, 0.0, np.nan]))
    assert ledger.fills["lots"].tolist() == [500, -100, -400]


def test_a_fill_beyond_the_venues_leverage_is_refused():
    account = Account(SOL, FREE, 1_000.0, max_leverage=50.0)
    # Sized at 100 with 40x; the open is 80: equity still 1,000, notional 32,000; then a gap up to 140: 56,000 > 50x.
    ledger = account.push(*make_bars([100, 140, 140], [100, 140, 140], [40.0, np.nan, np.nan]))
    assert ledger.orders["reason"].tolist() == [Reason.INSUFFICIENT_MARGIN]


def test_ruin_flattens_at_the_close_and_stops_trading():
    account = Account(SOL, Costs(), 1_000.0, max_leverage=10.0)
    targets = [10.0, np.nan, np.nan, -1.0, np.nan]
    bars = make_bars([100, 100, 95, 80, 80], [100, 100, 80, 80, 80], targets, mark=[100] * 5)
    ledger = account.push(*bars, **steady_mark(5))
    assert account.is_ruined
    assert ledger.rows["position_lots"].tolist() == [0, 1000, 0, 0, 0]
    assert (ledger.fills["ts"][-1], ledger.fills["price"][-1]) == (START + 3 * MINUTE, 80.0)
    fees = 100 * 100 * 5.5e-4 + 100 * 80 * 5.5e-4
    assert ledger.rows["equity"][2:].tolist() == pytest.approx([1_000 - 2_000 - fees] * 3, rel=1e-14)
    assert [(o["status"], o["reason"]) for o in ledger.orders] == [
        (Status.FILLED, Reason.NONE),
        (Status.FILLED, Reason.RUINED),
        (Status.REJECTED, Reason.RUINED),
    ]


def test_spot_buys_no_more_than_its_cash():
    account = Account(SOL_SPOT, Costs(taker_fee_bps=10.0), 1_000.0)
    ledger = account.push(*make_bars([100, 100, 105], [100, 105, 105], [1.0, 0.0, np.nan]))
    order = ledger.orders[0]
    assert (order["lots"], order["filled_lots"]) == (10_000, 9_990)  # lots of 0.001; 9.99 * 100.1 = 999.999
    assert ledger.rows["wallet"][1] == pytest.approx(1_000 - 9.99 * 100 * 1.001, abs=1e-9)
    assert account.wallet == pytest.approx(0.001 + 9.99 * 105 * 0.999, abs=1e-9)
    assert account.position_lots == 0


def test_a_spot_purchase_that_cash_cuts_below_the_minimum_is_refused():
    instrument = replace(SOL_SPOT, terms=(replace(SOL_SPOT.terms[0], min_qty=1.0),))
    account = Account(instrument, FREE, 10.0)
    ledger = account.push(*make_bars([10, 20, 20], [10, 20, 20], [1.0, np.nan, np.nan]))  # half a coin is left
    assert [(o["lots"], o["filled_lots"], o["reason"]) for o in ledger.orders] == [
        (1_000, 0, Reason.INSUFFICIENT_MARGIN)
    ]
    assert account.wallet == 10.0


# ---------------------------------------------------------------- identities and laws
@settings(max_examples=150)
@given(random_bars(), st.integers(0, 2))
def test_equity_changes_by_price_profit_funding_and_costs_alone(bars, latency):
    account = Account(SOL, Costs(half_spread_bps=1.0, slippage_bps=3.0), latency_bars=latency)
    ledger = account.push(*bars)
    _, opens, _, _, closes, _, _, _ = bars
    before_equity, before_qty, before_price = 10_000.0, 0.0, math.nan
    for i, row in enumerate(ledger.rows):
        qty = row["position_lots"] / 10
        price = closes[i] if not math.isnan(closes[i]) else before_price
        profit = 0.0
        if not account.is_ruined and not math.isnan(closes[i]):
            profit = (before_qty * (opens[i] - before_price) if before_qty else 0.0) + qty * (price - opens[i])
        change = profit + row["funding"] - row["fee"] - row["slippage"]
        if not account.is_ruined:
            assert row["equity"] - before_equity == pytest.approx(change, abs=1e-8)  # of 10,000; sums of floats
        assert row["fee"] >= 0
        assert row["slippage"] >= 0
        before_equity, before_qty, before_price = row["equity"], qty, price
    fills = ledger.fills
    assert fills["fee"].sum() == pytest.approx(ledger.rows["fee"].sum(), abs=1e-9)
    assert np.cumsum(fills["lots"]).tolist() == fills["position_lots"].tolist()


@settings(max_examples=60)
@given(random_bars())
def test_without_a_decision_nothing_changes(bars):
    for targets in (np.full(bars[0].size, np.nan), np.zeros(bars[0].size)):
        ledger = Account(SOL, Costs(half_spread_bps=5.0)).push(*bars[:7], targets)
        assert ledger.orders.size == ledger.fills.size == 0
        assert (ledger.rows["equity"] == 10_000.0).all()


@settings(max_examples=100)
@given(random_bars(), st.sampled_from([Costs(5.5), Costs(0.0, None, 2.0), Costs(1.0, None, 1.0, 4.0)]))
def test_costs_never_help_a_single_round_trip(bars, costs):
    n = bars[0].size
    targets = np.full(n, np.nan)
    targets[0], targets[n // 2] = 0.7, 0.0
    free = Account(SOL, FREE).push(*bars[:7], targets)
    paid = Account(SOL, costs).push(*bars[:7], targets)
    assert paid.fills["lots"].tolist() == free.fills["lots"].tolist()  # sized before any cost is paid
    assert (paid.rows["equity"] <= free.rows["equity"] + 1e-9).all()


@settings(max_examples=60)
@given(random_bars())
def test_negated_targets_negate_the_profit_of_each_first_trade(bars):
    # One decision, no fee, prices on the tick: the only asymmetry left would be in the engine.
    n = bars[0].size
    targets = np.full(n, np.nan)
    targets[0] = 0.5
    up = Account(SOL, FREE).push(*bars[:7], targets).rows["equity"] - 10_000.0
    down = Account(SOL, FREE).push(*bars[:7], -targets).rows["equity"] - 10_000.0
    assert up == pytest.approx(-down, abs=1e-8)


@settings(max_examples=200)
@given(random_bars(), st.sampled_from([0, 1, 2, 7]), st.data())
def test_any_split_of_the_bars_gives_the_same_bytes_and_so_does_a_snapshot(bars, latency, data):
    n = bars[0].size
    costs = Costs(half_spread_bps=1.0)
    whole_account = Account(SOL, costs, latency_bars=latency)
    whole = whole_account.push(*bars)
    cuts = sorted(data.draw(st.lists(st.integers(0, n), max_size=6)))
    account, pieces = Account(SOL, costs, latency_bars=latency), []
    for start, stop in zip([0, *cuts], [*cuts, n], strict=True):
        pieces.append(account.push(*part(bars, start, stop)))
        fresh = Account(SOL, costs, latency_bars=latency)
        fresh.restore(account.snapshot())
        account = fresh
    for name in ("rows", "fills", "orders"):
        assert np.concatenate([getattr(p, name) for p in pieces]).tobytes() == getattr(whole, name).tobytes()
    assert account.snapshot() == whole_account.snapshot()


@settings(max_examples=100)
@given(random_bars(), st.data())
def test_the_future_changes_nothing_before_it(bars, data):
    n = bars[0].size
    k = data.draw(st.integers(1, n))
    scrambled = [column.copy() for column in bars]
    for column in scrambled[1:6]:
        column[k:] *= 1.7
    scrambled[6][k:] += 0.001
    scrambled[7][k:] = -0.25
    one, other = Account(SOL), Account(SOL)
    assert one.push(*bars).rows[:k].tobytes() == other.push(*scrambled).rows[:k].tobytes()


@settings(max_examples=100)
@given(random_bars(), st.integers(0, 2))
def test_no_fill_uses_a_price_from_before_its_decision_was_known(bars, latency):
    ledger = Account(SOL, latency_bars=latency).push(*bars)
    opens = dict(zip(bars[0].tolist(), bars[1].tolist(), strict=True))
    orders = {o["order_id"]: o for o in ledger.orders}
    for fill in ledger.fills:
        order = orders[fill["order_id"]]
        if order["reason"] == Reason.RUINED:
            continue
        assert fill["reference"] == opens[int(fill["ts"])]
        assert fill["ts"] >= order["decided_ts"] + latency * MINUTE


@settings(max_examples=100)
@given(random_bars(), st.integers(0, 9))
def test_no_order_is_recalled_before_it_arrives(bars, latency):
    account = Account(SOL, latency_bars=latency)
    ledger = account.push(*bars)
    orders = [*ledger.orders, *account.pending()]
    for order in orders:
        if order["status"] == Status.REPLACED:  # it has seen at least one open, in a gap
            assert order["done_ts"] >= order["decided_ts"] + (latency + 1) * MINUTE
            assert math.isnan(bars[4][(order["done_ts"] - START) // MINUTE - 1])
    waiting = [o for o in orders if o["reason"] == Reason.NONE]
    for order, after in pairwise(waiting):  # one at a time
        assert after["decided_ts"] >= order["done_ts"]


@settings(max_examples=60)
@given(random_bars("spot"))
def test_spot_never_borrows_and_never_goes_short(bars):
    ledger = Account(SOL_SPOT, Costs(half_spread_bps=2.0)).push(*bars)
    assert (ledger.rows["wallet"] >= -1e-8).all()  # the snap of the rounding: 1e-12 of the cash
    assert (ledger.rows["position_lots"] >= 0).all()


def test_buffers_that_fill_up_lose_nothing():
    n = 5_000  # an order on every bar: more than the first buffers hold
    targets = np.where(np.arange(n) % 2 == 0, 0.5, -0.5)
    bars = make_bars(np.full(n, 100.0), np.full(n, 100.0), targets)
    ledger = Account(SOL, FREE).push(*bars)
    assert (ledger.fills.size, ledger.orders.size) == (n - 1, n - 1)
    assert ledger.fills["order_id"].tolist() == list(range(1, n))


def test_the_inputs_are_not_touched():
    bars = make_bars([100, 101, 102], [101, 102, 103], [0.5, 0.0, np.nan])
    before = [column.tobytes() for column in bars]
    Account(SOL).push(*bars)
    assert [column.tobytes() for column in bars] == before


# ---------------------------------------------------------------- dated terms
def dated(**later) -> Instrument:
    first = replace(SOL.terms[0], from_ns=0)
    return replace(SOL, terms=(first, replace(first, from_ns=START + 3 * MINUTE, **later)))


def test_new_terms_hold_from_their_date():
    bars = make_bars([100] * 6, [100] * 6, [0.5, np.nan, 0.0, np.nan, np.nan, np.nan])
    ledger = Account(dated(taker_fee_bps=20.0), Costs()).push(*bars)
    assert ledger.fills["fee"].tolist() == pytest.approx([5_000 * 5.5e-4, 5_000 * 20e-4], rel=1e-14)


def test_lots_are_expressed_anew_when_the_step_changes():
    bars = make_bars([100] * 6, [100] * 6, [0.5, np.nan, np.nan, np.nan, 0.0, np.nan])
    instrument = dated(qty_step=0.5, min_qty=0.5)
    account = Account(instrument, FREE)
    ledger = account.push(*bars)
    assert ledger.rows["position_lots"].tolist() == [0, 500, 500, 100, 100, 0]
    assert (ledger.rows["equity"] == 10_000.0).all()
    split = Account(instrument, FREE)
    rows = [split.push(*part(bars, i, i + 1)).rows for i in range(6)]
    assert np.concatenate(rows).tobytes() == ledger.rows.tobytes()
    for cut in range(1, 6):  # a chunk that ends on the first bar of the new terms among them
        split = Account(instrument, FREE)
        rows = [split.push(*part(bars, 0, cut)).rows, split.push(*part(bars, cut, 6)).rows]
        assert np.concatenate(rows).tobytes() == ledger.rows.tobytes()


def test_a_position_that_new_lots_cannot_express_is_refused_and_nothing_is_lost():
    bars = make_bars([100] * 6, [100] * 6, [0.5, np.nan, np.nan, np.nan, np.nan, np.nan])
    account = Account(dated(qty_step=0.3, min_qty=0.3), FREE)
    account.push(*part(bars, 0, 1))
    before = account.snapshot()
    with pytest.raises(InvalidInput, match="whole number of the new qty_step"):
        account.push(*part(bars, 1, 6))
    assert account.snapshot() == before


def test_a_snapshot_outlives_terms_that_are_announced_later():
    bars = make_bars([100] * 3, [100] * 3, [0.5, np.nan, np.nan])
    first = replace(SOL, terms=(replace(SOL.terms[0], from_ns=0),))
    account = Account(first, FREE)
    account.push(*bars)
    later = Account(dated(tick=0.1), FREE)
    later.restore(account.snapshot())
    assert later.position_lots == 500


# ---------------------------------------------------------------- bad input
def test_bad_bars_are_refused_by_name_and_leave_the_account_as_it_was():
    account = Account(SOL)
    good = make_bars([100] * 4, [100] * 4, [0.5, np.nan, np.nan, np.nan])
    account.push(*part(good, 0, 2))
    before = account.snapshot()
    rest = part(good, 2, 4)

    def spoilt(index, value):
        columns = [column.copy() for column in rest]
        columns[index][1] = value
        return columns

    for index, value, subject in (
        (1, -1.0, "account.price[1]"),
        (4, math.inf, "account.price[1]"),
        (5, 0.0, "account.mark[1]"),
        (6, math.nan, "account.funding_rate[1]"),
        (7, math.inf, "account.target[1]"),
    ):
        with pytest.raises(InvalidInput) as caught:
            account.push(*spoilt(index, value))
        assert caught.value.subject == subject
    with pytest.raises(MisalignedBars, match=r"ts\[1\]"):
        account.push(*spoilt(0, rest[0][0] + 2 * MINUTE))
    with pytest.raises(MisalignedBars, match=r"ts\[0\]"):  # the same bars a second time
        account.push(*part(good, 0, 2))
    with pytest.raises(InvalidInput, match="shape"):
        account.push(*rest[:7], np.array([0.5]))
    assert account.snapshot() == before
    account.push(*rest)


def test_a_first_bar_off_the_grid_or_before_the_terms_is_refused():
    bars = make_bars([100] * 2, [100] * 2, [np.nan] * 2)
    with pytest.raises(MisalignedBars, match="multiple of the step"):
        Account(SOL).push(bars[0] + 1, *bars[1:])
    late = replace(SOL, terms=(replace(SOL.terms[0], from_ns=START + MINUTE),))
    with pytest.raises(InvalidInput, match="first terms"):
        Account(late).push(*bars)


def test_spot_refuses_short_targets_funding_and_leverage():
    for bars in (
        make_bars([100] * 2, [100] * 2, [-0.1, np.nan]),
        make_bars([100] * 2, [100] * 2, [0.1, np.nan], rate=[0.0, 1e-4]),
    ):
        with pytest.raises(InvalidInput, match="spot"):
            Account(SOL_SPOT).push(*bars)
    with pytest.raises(InvalidInput, match="spot"):
        Account(SOL_SPOT, max_leverage=2.0)


@pytest.mark.parametrize(
    "setting",
    [
        {"initial_cash_quote": 0.0},
        {"initial_cash_quote": math.inf},
        {"latency_bars": -1},
        {"latency_bars": 0.5},
        {"max_leverage": 0.0},
        {"max_leverage": 1_000.0},
        {"step_ns": 0},
    ],
)
def test_impossible_settings_are_refused_by_name(setting):
    with pytest.raises(InvalidInput, match=next(iter(setting))):
        Account(SOL, **setting)


def test_foreign_snapshots_are_refused():
    account = Account(SOL, Costs(half_spread_bps=1.0))
    account.push(*make_bars([100] * 2, [100] * 2, [0.5, np.nan]))
    blob = account.snapshot()
    for other in (
        Account(SOL, Costs(half_spread_bps=2.0)),
        Account(SOL, Costs(half_spread_bps=1.0), latency_bars=1),
        Account(sample_instrument("ETHUSDT"), Costs(half_spread_bps=1.0)),
    ):
        before = other.snapshot()
        with pytest.raises(FingerprintMismatch):
            other.restore(blob)
        assert other.snapshot() == before
    for broken in (b"", blob[:-1], b"X" + blob[1:]):
        with pytest.raises(InvalidInput):
            account.restore(broken)
