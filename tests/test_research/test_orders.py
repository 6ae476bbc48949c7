"""Explicit orders by worked examples: each type, volume, slippage, fees and refusals; frames of orders; bad input."""

import math
from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import polars as pl
import pytest

from research.backtest import simulate
from research.errors import FundingHole, InvalidInput, MisalignedBars, SchemaMismatch
from research.execution import Account, Costs, Margin, Portfolio, Reason, Role, Status, TimeInForce, TriggerBy
from research.execution.commands import commands_of
from research.market.bars import TS
from research.risk.exits import Exits
from tests.test_research.account_cases import (
    FREE,
    LOTS,
    MINUTE,
    NAN,
    SOL,
    START,
    cancel,
    commands_array,
    linear,
    order,
    play,
    spot,
    times,
)

ORDER = Role.COMMAND
FILLED, CANCELLED, REJECTED = Status.FILLED, Status.CANCELLED, Status.REJECTED
FEES = Costs(taker_fee_bps=10.0, maker_fee_bps=2.0)
SPREAD = Costs(taker_fee_bps=10.0, maker_fee_bps=2.0, half_spread_bps=5.0, slippage_bps=20.0)
IOC, POST_ONLY = TimeInForce.IOC, TimeInForce.POST_ONLY


def shown(found):
    """Return (bar, lots, price, is_maker) of every fill."""
    return [(int(f["bar"]), int(f["lots"]), float(f["price"]), bool(f["is_maker"])) for f in found.ledger.fills]


# ---------------------------------------------------------------- limit orders
@pytest.mark.parametrize(
    ("low", "touches", "is_filled"),
    [(99.0, False, False), (98.99, False, True), (99.0, True, True), (99.01, True, False)],
)
def test_a_resting_limit_is_filled_where_the_price_trades_through_it(low, touches, is_filled):
    costs = replace(FEES, touch_fills=touches)
    found = play([100, (100, 101, low, 100)], [order(0, LOTS, 99.0)], costs=costs)
    assert shown(found) == ([(1, LOTS, 99.0, True)] if is_filled else [])
    if is_filled:
        assert found.ledger.fills["fee"][0] == pytest.approx(10 * 99 * 2e-4, rel=1e-14)
    else:
        assert found.account.pending()["limit_price"].tolist() == [99.0]


def test_a_resting_limit_that_the_market_leaps_over_is_filled_at_its_own_price():
    found = play([100, 100, (97, 98, 96, 97)], [order(0, LOTS, 99.0)])
    assert shown(found) == [(2, LOTS, 99.0, True)]
    sale = play([100, 100, (103, 104, 102, 103)], [order(0, -LOTS, 101.0)])
    assert shown(sale) == [(2, -LOTS, 101.0, True)]


def test_a_marketable_limit_takes_and_pays_no_more_than_its_price():
    # The touch is 100.05; a market order would pay 100.25.
    for limit, price in ((101.0, 100.25), (100.1, 100.1), (100.05, 100.05)):
        found = play([100, 100], [order(0, LOTS, limit)], costs=SPREAD)
        assert shown(found) == [(1, LOTS, price, False)]
        assert found.ledger.fills["fee"][0] == pytest.approx(10 * price * 10e-4, rel=1e-14)
    assert shown(play([100, 100], [order(0, -LOTS, 99.9)], costs=SPREAD)) == [(1, -LOTS, 99.9, False)]


def test_a_limit_within_the_spread_rests_and_is_filled_at_once_as_a_maker():
    found = play([100, 100], [order(0, LOTS, 100.04)], costs=SPREAD)
    assert shown(found) == [(1, LOTS, 100.04, True)]


def test_immediate_or_cancel_fills_or_goes():
    assert play([100, 100], [order(0, LOTS, 99.0, tif=IOC)]).fates == [(ORDER, CANCELLED, Reason.NOT_MARKETABLE)]
    assert shown(play([100, 100], [order(0, LOTS, 100.0, tif=IOC)])) == [(1, LOTS, 100.0, False)]
    capped = play(
        [100, 100], [order(0, LOTS, 100.0, tif=IOC)], costs=replace(FREE, volume_cap_frac=0.1), volume=[40, 40]
    )
    assert shown(capped) == [(1, 40, 100.0, False)]
    assert capped.fates == [(ORDER, CANCELLED, Reason.NO_LIQUIDITY)]
    assert capped.ledger.orders["filled_lots"].tolist() == [40]


def test_post_only_rests_or_is_rejected():
    found = play(
        [100, 100, (100, 100, 98, 99)], [order(0, LOTS, 100.0, tif=POST_ONLY), order(0, LOTS, 99.0, tif=POST_ONLY)]
    )
    assert found.fates == [(ORDER, REJECTED, Reason.POST_ONLY_WOULD_TAKE), (ORDER, FILLED, Reason.NONE)]
    assert shown(found) == [(2, LOTS, 99.0, True)]


# ---------------------------------------------------------------- conditional orders
@pytest.mark.parametrize(
    ("given", "bar", "price"),
    [
        (order(0, LOTS, rises_to=105.0), (100, 104.99, 100, 104), None),
        (order(0, LOTS, rises_to=105.0), (100, 106, 100, 104), 105.0),
        (order(0, LOTS, rises_to=105.0), (107, 108, 106, 107), 107.0),  # leapt over: at the open
        (order(0, -LOTS, falls_to=95.0), (100, 100, 94, 99), 95.0),
        (order(0, -LOTS, falls_to=95.0), (92, 93, 91, 92), 92.0),
        (order(0, LOTS, falls_to=95.0), (100, 100, 95, 99), 95.0),  # take-profit of a short: any side, either direction
        (order(0, -LOTS, rises_to=105.0), (100, 105, 100, 101), 105.0),
    ],
)
def test_a_trigger_is_met_at_the_worse_of_its_level_and_the_open(given, bar, price):
    found = play([100, 100, bar], [given])
    assert shown(found) == ([] if price is None else [(2, given["lots"], price, False)])


def test_a_triggered_market_order_pays_spread_and_slippage():
    found = play([100, 100, (100, 106, 100, 104)], [order(0, LOTS, rises_to=105.0)], costs=SPREAD)
    assert shown(found) == [(2, LOTS, 105.27, False)]  # 105 * 1.0025 = 105.2625
    assert found.ledger.fills["reference"].tolist() == [105.0]


def test_a_trigger_that_holds_when_it_arrives_goes_at_once():
    assert shown(play([100, (106, 106, 104, 104)], [order(0, LOTS, rises_to=105.0)])) == [(1, LOTS, 106.0, False)]


def test_a_trigger_by_mark_is_filled_where_the_trade_stands():
    path = {"mark": [100.0] * 3, "mark_high": [100, 100, 104.0], "mark_low": [100.0] * 3, "mark_close": [100.0] * 3}
    found = play([100, 100, (100, 102, 100, 100)], [order(0, LOTS, rises_to=103.0, by=TriggerBy.MARK)], **path)
    assert shown(found) == [(2, LOTS, 101.5, False)]  # three quarters of both ways


def test_a_stop_limit_becomes_its_limit_order():
    # Through the trigger at 105 with a limit of 105.50: taken at 105.
    assert shown(play([100, 100, (100, 106, 100, 104)], [order(0, LOTS, 105.5, rises_to=105.0)])) == [
        (2, LOTS, 105.0, False)
    ]
    # Opened at 107, beyond the limit of 106: rests, until the price comes back through it.
    leapt = play([100, 100, (107, 108, 106.5, 107), (107, 107, 105.5, 106)], [order(0, LOTS, 106.0, rises_to=105.0)])
    assert shown(leapt) == [(3, LOTS, 106.0, True)]
    # A limit below the trigger waits for a pullback, in the same bar if there is one.
    pullback = play([100, 100, (100, 106, 100, 100)], [order(0, LOTS, 104.0, rises_to=105.0)])
    assert shown(pullback) == [(2, LOTS, 104.0, True)]


def test_a_triggered_post_only_or_immediate_limit_is_judged_where_it_is_triggered():
    rejected = play([100, 100, (100, 106, 100, 104)], [order(0, LOTS, 105.5, rises_to=105.0, tif=POST_ONLY)])
    assert rejected.fates == [(ORDER, REJECTED, Reason.POST_ONLY_WOULD_TAKE)]
    gone = play([100, 100, (100, 106, 100, 104)], [order(0, LOTS, 104.0, rises_to=105.0, tif=IOC)])
    assert gone.fates == [(ORDER, CANCELLED, Reason.NOT_MARKETABLE)]


# ---------------------------------------------------------------- reduce-only and cancellations
def test_reduce_only_is_cut_to_the_position():
    found = play([100] * 4, [order(0, LOTS), order(1, -150, reduce_only=True), order(2, -10, reduce_only=True)])
    assert found.lots == [0, 100, 0, 0]
    assert found.fates[1:] == [(ORDER, FILLED, Reason.NONE), (ORDER, CANCELLED, Reason.NOTHING_TO_REDUCE)]
    assert found.ledger.orders["filled_lots"].tolist() == [100, -100, 0]
    wrong_side = play([100] * 3, [order(0, LOTS), order(1, 10, reduce_only=True)])
    assert wrong_side.refusals == [Reason.NOTHING_TO_REDUCE]


def test_reduce_only_orders_end_with_the_position_if_they_have_arrived():
    orders = [
        order(0, LOTS),
        order(1, -LOTS, 120.0, reduce_only=True),
        order(2, -LOTS),
        order(3, -50, 130.0, reduce_only=True),
    ]
    found = play([100] * 6, orders)
    assert found.fates == [
        (ORDER, FILLED, Reason.NONE),
        (ORDER, FILLED, Reason.NONE),
        (ORDER, CANCELLED, Reason.NOTHING_TO_REDUCE),  # in the bar in which the position ended
    ]
    # The one that came later rests: nothing has become flat since.
    assert found.account.pending()["limit_price"].tolist() == [130.0]


def test_orders_are_cancelled_by_tag_or_all_together():
    resting = [order(0, LOTS, 90.0, tag=1), order(0, LOTS, 91.0, tag=2), order(0, LOTS, 92.0, tag=2)]
    by_tag = play([100] * 3, [*resting, cancel(1, 2)])
    assert [fate for fate in by_tag.fates if fate[0] == ORDER] == [(ORDER, CANCELLED, Reason.BY_COMMAND)] * 2
    assert by_tag.fates[-1] == (Role.CANCEL, FILLED, Reason.NONE)
    assert by_tag.account.pending()["tag"].tolist() == [1]
    everything = play([100] * 3, [*resting, cancel(1)])
    assert everything.account.pending().size == 0
    unknown = play([100] * 3, [*resting, cancel(1, 9)])
    assert unknown.fates == [(Role.CANCEL, REJECTED, Reason.UNKNOWN_TAG)]
    assert unknown.account.pending().size == 3


def test_a_cancellation_takes_as_long_as_an_order():
    # Given at the close of bar 2 with a latency of 1, it arrives at the open of bar 4; the limit is met in bar 3.
    bars = [100, 100, 100, (100, 100, 98, 100), 100]
    found = play(bars, [order(0, LOTS, 99.0, tag=1), cancel(2, 1)], latency=1)
    assert shown(found) == [(3, LOTS, 99.0, True)]
    assert found.fates[-1] == (Role.CANCEL, REJECTED, Reason.UNKNOWN_TAG)
    at_open = play([100, 100, 100, 100, (98, 98, 98, 98)], [order(0, LOTS, 99.0, tag=1), cancel(2, 1)], latency=1)
    assert shown(at_open) == [
        (4, LOTS, 99.0, True)
    ]  # what the open leaps over is filled before the cancellation arrives


def test_a_cancellation_does_not_reach_orders_given_after_it():
    found = play([100] * 4, [order(0, LOTS, 90.0, tag=1), cancel(1, 1), order(1, LOTS, 91.0, tag=1)])
    assert found.account.pending()["limit_price"].tolist() == [91.0]


# ---------------------------------------------------------------- when and in which order
def test_orders_meet_the_open_after_their_latency_and_wait_for_a_price():
    bars = [100, 101, 102, (NAN, NAN, NAN, NAN), 104, 105]
    for latency, bar in ((0, 1), (1, 2), (2, 4), (3, 4), (4, 5)):
        found = play(bars, [order(0, LOTS)], latency=latency)
        assert shown(found) == [(bar, LOTS, float(100 + bar), False)]


def test_orders_that_arrive_together_are_filled_in_the_order_given():
    # The sale frees what the purchase needs: 10 SOL of spot, no cash left.
    orders = [order(0, LOTS), order(1, -LOTS), order(1, 50)]
    found = play([100] * 3, orders, instrument=spot(), cash=1_000.0)
    assert found.lots == [0, 100, 50]
    reversed_ = play([100] * 3, [order(0, LOTS), order(1, 50), order(1, -LOTS)], instrument=spot(), cash=1_000.0)
    assert reversed_.lots == [0, 100, 0]
    assert reversed_.refusals == [Reason.INSUFFICIENT_MARGIN]


def test_of_levels_met_at_one_price_the_stop_comes_first_then_orders_then_the_take_profit():
    exits = Exits(stop_distance=0.05)
    orders = [order(0, LOTS), order(0, -30, falls_to=95.0), order(0, -20, falls_to=95.0, reduce_only=True)]
    found = play([100, 100, (99, 99, 94, 94)], orders, exits=exits)
    assert [fill[1:3] for fill in found.fills] == [(ORDER, LOTS), (Role.STOP, -LOTS), (ORDER, -30)]
    profit = play(
        [100, 100, (100, 106, 100, 106)],
        [order(0, LOTS), order(0, -60, 105.0)],
        exits=Exits(take_profits=((0.05, 1.0),)),
    )
    assert [fill[1:3] for fill in profit.fills] == [(ORDER, LOTS), (ORDER, -60), (Role.TAKE_PROFIT, -40)]


def test_a_limit_and_a_stop_in_one_bar_take_the_worse_order_of_events():
    # Buy at 98 with a stop at 96 while the bar reaches 104 and 95: through both on the way down, whichever way it went.
    found = play([100, (100, 104, 95, 103)], [order(0, LOTS, 98.0, stop_loss=96.0, take_profit=102.0)])
    assert shown(found) == [(1, LOTS, 98.0, True), (1, -LOTS, 96.0, False)]
    # With a low of 97 the bar may have been at 98 and then at 102, and was in any case, since it closes at 103.
    rise = play([100, (100, 104, 97, 103)], [order(0, LOTS, 98.0, stop_loss=96.0, take_profit=102.0)])
    assert shown(rise) == [(1, LOTS, 98.0, True), (1, -LOTS, 102.0, True)]
    assert rise.ledger.rows["ambiguous"].tolist() == [0.0, 0.0]


def test_a_standing_target_asks_for_nothing_also_where_orders_have_moved_the_position():
    found = play([100] * 6, [order(0, LOTS)], target=[NAN, 0.0, NAN, 0.05, 0.0, NAN])
    # The first 0 is the target that stands from the beginning; 0.05 is another, and so is the second 0.
    assert found.lots == [0, 100, 100, 100, 50, 0]


# ---------------------------------------------------------------- volume, slippage, fees
def test_a_market_order_takes_its_share_of_the_volume_and_carries_on_or_ends():
    capped = replace(FREE, volume_cap_frac=0.25)
    volumes = [NAN, 16.0, 0.0, 20.0, 100.0]  # quarters: 40 lots, none, 50, 250
    found = play([100, 100, 101, 102, 103], [order(0, LOTS)], costs=capped, volume=volumes)
    assert shown(found) == [(1, 40, 100.0, False), (3, 50, 102.0, False), (4, 10, 103.0, False)]
    assert found.fates == [(ORDER, FILLED, Reason.NONE)]
    ends = play([100, 100, 101, 102, 103], [order(0, LOTS)], costs=replace(capped, carry=False), volume=volumes)
    assert shown(ends) == [(1, 40, 100.0, False)]
    assert ends.fates == [(ORDER, CANCELLED, Reason.NO_LIQUIDITY)]
    nothing = play([100] * 3, [order(1, LOTS)], costs=replace(capped, carry=False), volume=[0.0] * 3)
    assert nothing.fates == [(ORDER, CANCELLED, Reason.NO_LIQUIDITY)]
    unknown = play([100] * 3, [order(0, LOTS)], costs=capped, volume=[NAN] * 3)
    assert shown(unknown) == [(1, LOTS, 100.0, False)]


def test_orders_of_one_bar_share_its_volume():
    orders = [order(0, 60), order(0, 60), order(0, 30, 99.5)]
    found = play(
        [100, (100, 100, 99, 99.8), 100], orders, costs=replace(FREE, volume_cap_frac=0.25), volume=[100, 36, 400]
    )
    # 90 lots: 60 and 30 at the open, nothing is left for the limit that bar; the rest and then the limit at the next.
    assert shown(found) == [(1, 60, 100.0, False), (1, 30, 100.0, False), (2, 30, 100.0, False)]
    assert found.account.pending()["limit_price"].tolist() == [99.5]


def test_a_resting_limit_is_filled_in_parts():
    bars = [100, (100, 100, 98, 100), (100, 100, 98, 100), (100, 100, 98, 100)]
    found = play(bars, [order(0, LOTS, 99.0)], costs=replace(FREE, volume_cap_frac=0.25), volume=[16.0] * 4)
    assert shown(found) == [(1, 40, 99.0, True), (2, 40, 99.0, True), (3, 20, 99.0, True)]
    assert found.ledger.orders["filled_lots"].tolist() == [100]


def test_a_target_carries_on_at_its_size_until_a_newer_one_replaces_it():
    costs = replace(FREE, volume_cap_frac=0.25)
    found = play([100, 100, 110, 110], target=[0.1, NAN, NAN, NAN], costs=costs, volume=[16.0] * 4)
    assert found.lots == [0, 40, 80, 100]
    newer = play([100, 100, 100, 100, 100], target=[0.1, -0.02, NAN, NAN, NAN], costs=costs, volume=[16.0] * 5)
    assert newer.lots == [0, 40, 0, -20, -20]
    assert newer.fates[0] == (Role.TARGET, Status.REPLACED, Reason.NONE)


@pytest.mark.parametrize(
    ("costs", "price"),
    [
        ({"half_spread_bps": 5.0, "slippage_bps": 20.0}, 100.25),
        ({"slippage_unit_frac": 0.1}, 100.2),  # a tenth of the unit of 2
        ({"participation_frac": 0.05}, 100.2),  # 10 of 250: 4 % of 5 %
        ({"impact_unit_frac": 0.5}, 100.2),  # half of 2 times the root of 4 %
        (
            {"half_spread_bps": 5.0, "slippage_unit_frac": 0.1, "participation_frac": 0.05, "impact_unit_frac": 0.5},
            100.65,
        ),
        ({"slippage_bps": 0.1}, 100.01),  # 100.001, to the next tick
    ],
)
def test_slippage_adds_up_from_its_parts(costs, price):
    made = Costs(taker_fee_bps=0.0, **costs)
    columns = {"unit": {0: 2.0, 1: 50.0}, "volume": [1.0, 250.0]}  # the unit known at the open, the bar's own volume
    bought = play([100, 100], [order(0, LOTS)], costs=made, **columns)
    assert shown(bought) == [(1, LOTS, price, False)]
    sold = play([100, 100], [order(0, -LOTS)], costs=made, **columns)
    assert shown(sold)[0][2] == pytest.approx(200.0 - price, abs=1e-9)


def test_slippage_of_what_is_unknown_is_none():
    made = Costs(taker_fee_bps=0.0, slippage_unit_frac=0.1, participation_frac=0.05, impact_unit_frac=0.5)
    assert shown(play([100, 100], [order(0, LOTS)], costs=made)) == [(1, LOTS, 100.0, False)]
    no_volume = play([100, 100], [order(0, LOTS)], costs=made, unit={0: 2.0}, volume=[0.0, 0.0])
    assert shown(no_volume) == [(1, LOTS, 100.2, False)]


def test_impact_is_that_of_the_part_filled():
    made = Costs(taker_fee_bps=0.0, impact_unit_frac=0.5, volume_cap_frac=0.01)
    found = play([100] * 4, [order(0, 50)], costs=made, unit=[2.0] * 4, volume=[250.0] * 4)
    # 2.5 of 250 twice: half of 2 times 0.1.
    assert shown(found) == [(1, 25, 100.1, False), (2, 25, 100.1, False)]


def test_fees_follow_their_schedule():
    schedule = ((START + 2 * MINUTE, 4.0, -1.0), (START + 4 * MINUTE, 3.0, 0.5))
    orders = [order(k, 10) for k in range(5)]
    found = play([100] * 6, orders, costs=Costs(fee_schedule=schedule))
    expected = [5.5, 4.0, 4.0, 3.0, 3.0]  # the instrument's own before the first date
    assert found.ledger.fills["fee"].tolist() == pytest.approx([100 * bps / 1e4 for bps in expected], rel=1e-12)
    rebate = play([100] * 2 + [(100, 100, 98, 98)] * 3, [order(1, 10, 99.0)], costs=Costs(fee_schedule=schedule))
    assert rebate.ledger.fills["fee"].tolist() == pytest.approx([-99 * 1e-4], rel=1e-12)
    fixed = play([100] * 6, orders, costs=Costs(taker_fee_bps=7.0, fee_schedule=schedule))
    assert fixed.ledger.fills["fee"].tolist() == pytest.approx([100 * 7 / 1e4] * 5, rel=1e-12)
    one = Account(SOL, Costs(fee_schedule=schedule))
    two = Account(SOL, Costs(fee_schedule=[list(row) for row in schedule]))
    assert one.snapshot() == two.snapshot()


# ---------------------------------------------------------------- refusals
@pytest.mark.parametrize(
    ("terms", "given", "reason"),
    [
        ({"min_qty": 1.0}, order(0, 9), Reason.BELOW_MIN_QTY),
        ({"min_qty": 1.0}, order(0, 9, reduce_only=True), Reason.BELOW_MIN_QTY),
        ({"max_qty": 5.0}, order(0, 51), Reason.ABOVE_MAX_QTY),
        ({"min_notional_quote": 100.0}, order(0, 9), Reason.BELOW_MIN_NOTIONAL),  # 90 at the close
        ({"min_notional_quote": 100.0}, order(0, 10, 99.0), Reason.BELOW_MIN_NOTIONAL),  # 99 at its limit
        ({"min_notional_quote": 100.0}, order(0, 10, rises_to=99.0), Reason.BELOW_MIN_NOTIONAL),
    ],
)
def test_an_order_that_the_venue_would_not_take_is_refused_at_its_close(terms, given, reason):
    found = play([100] * 3, [given], instrument=linear(**terms))
    assert found.fates == [(ORDER, REJECTED, reason)]
    assert found.ledger.orders["done_ts"].tolist() == [START + MINUTE]
    assert found.equity == [10_000.0] * 3


def test_reduce_only_orders_are_exempt_from_the_minimum_value_and_the_largest_quantity():
    instrument = linear(min_notional_quote=100.0, max_qty=10.0)
    orders = [order(0, LOTS), order(1, LOTS), order(2, -195, reduce_only=True), order(3, -5, reduce_only=True)]
    found = play([100] * 5, orders, instrument=instrument)
    assert found.lots == [0, 100, 200, 5, 0]


def test_an_order_before_the_first_price_or_beyond_the_open_ones_is_refused():
    early = play([(NAN,) * 4, 100, 100], [order(0, LOTS), order(0, LOTS, 90.0)])
    assert early.fates == [(ORDER, REJECTED, Reason.NO_PRICE)] * 2
    portfolio = Portfolio((SOL,), FREE, open_orders=2)
    columns = {name: np.full((1, 3), 100.0) for name in ("open", "high", "low", "close")}
    orders = [order(0, LOTS, 90.0), order(0, LOTS, 91.0), order(0, LOTS, 92.0), cancel(0), cancel(1), order(1, LOTS)]
    ledger = portfolio.push(times(3), columns, commands=commands_array(orders))
    assert [(o["role"], o["reason"]) for o in ledger.orders] == [
        (ORDER, Reason.TOO_MANY_ORDERS), (Role.CANCEL, Reason.TOO_MANY_ORDERS), (Role.CANCEL, Reason.TOO_MANY_ORDERS),
        (ORDER, Reason.TOO_MANY_ORDERS),
    ]  # fmt: skip


def test_spot_sells_what_it_holds_and_buys_what_it_can_pay():
    opens = {"instrument": spot(), "cash": 1_000.0}
    found = play([100] * 4, [order(0, 50), order(1, -80), order(2, -10)], **opens)
    assert found.lots == [0, 50, 0, 0]
    assert found.fates[1:] == [(ORDER, FILLED, Reason.NONE), (ORDER, CANCELLED, Reason.NOTHING_TO_REDUCE)]
    cut = play([100] * 2, [order(0, 150)], costs=Costs(taker_fee_bps=10.0), **opens)
    assert (cut.lots[-1], cut.ledger.orders["lots"][0], cut.ledger.orders["filled_lots"][0]) == (99, 150, 99)
    limit = play([100, (100, 100, 49, 50)], [order(0, 150, 50.0)], **opens)
    assert limit.fills == [(1, ORDER, 150, 50.0)]


# ---------------------------------------------------------------- frames of orders
def stamp(bar):
    return datetime.fromtimestamp(START // 10**9 + 60 * bar, UTC)


def frame(*rows):
    return pl.DataFrame(list(rows)).with_columns(pl.col("ts").cast(TS))


def bars_of(*bars):
    """Return a frame of bars, each (open, high, low, close) or one price."""
    rows = [bar if isinstance(bar, tuple) else (bar,) * 4 for bar in bars]
    columns = dict(zip(("open", "high", "low", "close"), zip(*rows, strict=True), strict=True))
    given = {name: [float(value) for value in values] for name, values in columns.items()}
    return pl.DataFrame({"ts": times(len(rows)), **given}).with_columns(pl.col("ts").cast(TS))


FLAT = bars_of(*[100] * 5)


def test_a_frame_of_orders_of_every_type():
    orders = frame(
        {"ts": stamp(1), "type": "limit", "side": "buy", "qty": 1.0, "price": 99.0, "id": 7,
         "time_in_force": "post_only"},
        {"ts": stamp(0), "type": "market", "side": "buy", "qty": 10.0, "stop_loss": 90.0, "take_profit": 120.0},
        {"ts": stamp(1), "type": "stop_market", "side": "sell", "qty": 2.0, "trigger_price": 95.0, "reduce_only": True},
        {"ts": stamp(1), "type": "stop_limit", "side": "buy", "qty": 3.0, "trigger_price": 103.0, "price": 103.5},
        {"ts": stamp(1), "type": "take_profit_market", "side": "sell", "qty": 4.0, "trigger_price": 110.0,
         "trigger_by": "mark"},
        {"ts": stamp(1), "type": "take_profit_limit", "side": "buy", "qty": 5.0, "trigger_price": 94.0, "price": 93.5},
        {"ts": stamp(3), "type": "cancel", "id": 7},
    )  # fmt: skip
    found = commands_of(orders, times(5), [SOL], ["SOLUSDT"])
    assert found["bar"].tolist() == [0, 1, 1, 1, 1, 1, 3]
    assert found["lots"].tolist() == [100, 10, -20, 30, -40, 50, 0]
    assert found["trigger_direction"].tolist() == [0, 0, -1, 1, 1, -1, 0]
    assert found["trigger_by"].tolist() == [0, 0, 0, 0, 1, 0, 0]
    assert (found["tif"][1], found["reduce_only"][2], found["tag"][-1]) == (TimeInForce.POST_ONLY, 1, 7)
    assert (found["stop_loss"][0], found["take_profit"][0]) == (90.0, 120.0)
    result = simulate(FLAT, instrument=SOL, costs=FREE, orders=orders)
    assert result.orders.select("kind", "status", "reason").rows() == [
        ("market", "filled", "none"), ("limit", "cancelled", "by_command"), ("market", "pending", "none"),
        ("limit", "pending", "none"), ("market", "pending", "none"), ("limit", "pending", "none"),
        ("cancel", "filled", "none"),
    ]  # fmt: skip
    assert result.orders["leg"].unique().to_list() == ["SOLUSDT"]


GOOD = {"ts": stamp(1), "type": "limit", "side": "buy", "qty": 1.0, "price": 99.0}


@pytest.mark.parametrize(
    ("changes", "subject", "rule"),
    [
        ({"type": "iceberg"}, "orders[0].type", "one of market, limit"),
        ({"side": "long"}, "orders[0].side", "one of buy, sell"),
        ({"qty": 0.0}, "orders[0].qty", "positive"),
        ({"qty": 1.05}, "orders[0].qty", "whole number of lots of 0.1"),
        ({"qty": math.inf}, "orders[0].qty", "finite"),
        ({"qty": None}, "orders[0].qty", "positive"),
        ({"price": 99.005}, "orders[0].price", "whole number of ticks of 0.01"),
        ({"price": -99.0}, "orders[0].price", "positive"),
        ({"price": None}, "orders[0].price", "required by type limit"),
        ({"type": "market"}, "orders[0].price", "not be set for market"),
        ({"type": "stop_limit"}, "orders[0].trigger_price", "required by type stop_limit"),
        ({"trigger_price": 101.0}, "orders[0].trigger_price", "not be set for limit"),
        ({"time_in_force": "fok"}, "orders[0].time_in_force", "one of gtc, ioc, post_only"),
        ({"id": -1}, "orders[0].id", "positive whole number"),
        ({"stop_loss": 90.0, "reduce_only": True}, "orders[0].stop_loss", "not be set for reduce_only"),
        ({"type": "cancel"}, "orders[0].side", "not be set for cancel"),
        ({"leg": "BTCUSDT"}, "orders[0].leg", "one of SOLUSDT"),
        ({"take_profit": 120.001}, "orders[0].take_profit", "ticks"),
    ],
)
def test_orders_that_make_no_sense_are_refused_by_field(changes, subject, rule):
    with pytest.raises(InvalidInput) as caught:
        simulate(FLAT, instrument=SOL, orders=frame(GOOD | changes))
    assert caught.value.subject == subject
    assert rule in str(caught.value)


def test_frames_of_orders_with_foreign_columns_or_times_are_refused():
    with pytest.raises(SchemaMismatch, match=r"orders\.quantity is not a field"):
        simulate(FLAT, instrument=SOL, orders=frame(GOOD | {"quantity": 1.0}))
    with pytest.raises(SchemaMismatch, match=r"orders\.type is required"):
        simulate(FLAT, instrument=SOL, orders=frame(GOOD).drop("type"))
    with pytest.raises(SchemaMismatch, match=r"orders\.ts must be a UTC datetime"):
        simulate(FLAT, instrument=SOL, orders=frame(GOOD).with_columns(pl.col("ts").to_physical()))
    late = GOOD | {"ts": datetime.fromtimestamp(START // 10**9 + 90, UTC)}
    with pytest.raises(MisalignedBars, match=r"orders\.ts\[1\] must be the open time of a bar"):
        simulate(FLAT, instrument=SOL, orders=frame(GOOD, late))
    with pytest.raises(MisalignedBars, match="open time of a bar"):
        simulate(FLAT, instrument=SOL, orders=frame(GOOD | {"ts": stamp(9)}))


def test_raw_commands_are_checked_where_they_would_break_the_account():
    account = Account(SOL)

    def refused(subject, **changes):
        array = commands_array([order(0, LOTS, 99.0)])
        for name, value in changes.items():
            array[name] = value
        with pytest.raises(InvalidInput) as caught:
            account.push(times(2), *[np.full(2, 100.0)] * 4, commands=array)
        assert caught.value.subject == subject

    refused("account.commands[0].bar", bar=2)
    refused("account.commands[0].leg", leg=1)
    refused("account.commands[0].kind", kind=9)
    refused("account.commands[0].lots", lots=0)
    refused("account.commands[0].limit_price", limit_price=math.inf)
    refused("account.commands[0].stop_loss", stop_loss=-1.0)
    refused("account.commands[0].trigger_direction", trigger_price=101.0, trigger_direction=0)
    with pytest.raises(InvalidInput, match="array of COMMANDS"):
        account.push(times(2), *[np.full(2, 100.0)] * 4, commands=np.zeros(1))
    backwards = commands_array([order(1, LOTS), order(0, LOTS)])
    with pytest.raises(InvalidInput, match="increasing"):
        account.push(times(2), *[np.full(2, 100.0)] * 4, commands=backwards)
    assert account.bars_seen == 0


# ---------------------------------------------------------------- backtests
def test_milliseconds_of_latency_are_whole_bars_upwards():
    orders = frame({"ts": stamp(0), "type": "market", "side": "buy", "qty": 1.0})
    bars = bars_of(100, 101, 102, 103, 104)
    for ms, bar in ((0.0, 1), (1.0, 2), (60_000.0, 2), (60_001.0, 3)):
        found = simulate(bars, instrument=SOL, costs=FREE, orders=orders, latency_ms=ms)
        assert found.fills["bar"].to_list() == [bar]
    assert simulate(bars, instrument=SOL, orders=orders, latency_bars=1, latency_ms=1.0).fills["bar"].to_list() == [3]
    for bad in (-1.0, math.inf, "fast"):
        with pytest.raises(InvalidInput, match="latency_ms must be a finite number"):
            simulate(bars, instrument=SOL, orders=orders, latency_ms=bad)


def test_a_backtest_reads_finer_bars_by_their_times():
    bars = bars_of(100, 100, (100, 106, 94, 100), 100)
    exits = Exits(stop_distance=0.05, take_profits=((0.05, 1.0),))
    rows = [(100, 106, 100, 105), (105, 105, 94, 100)]
    fine = pl.DataFrame(
        {"ts": [START + 2 * MINUTE, START + 2 * MINUTE + MINUTE // 2]}
        | {name: [float(row[k]) for row in rows] for k, name in enumerate(("open", "high", "low", "close"))}
    ).with_columns(pl.col("ts").cast(TS))
    targets = [0.1, None, None, None]
    without = simulate(bars, targets, instrument=SOL, costs=FREE, exits=exits)
    assert without.fills["role"].to_list() == ["target", "stop"]
    assert simulate(bars, targets, instrument=SOL, costs=FREE, exits=exits, fine=fine).fills["role"].to_list() == [
        "target", "take_profit",
    ]  # fmt: skip
    for wrong in (fine.head(1), bars, fine.with_columns(pl.col("ts") + pl.duration(seconds=7))):
        with pytest.raises(MisalignedBars, match=r"fine\.ts"):
            simulate(bars, targets, instrument=SOL, exits=exits, fine=wrong)


def test_what_exits_and_costs_read_must_be_given():
    units = Exits(stop_distance=1.0, stop_unit="unit")
    with pytest.raises(InvalidInput, match=r"SOLUSDT\.unit is required"):
        simulate(FLAT, [0.1] * 5, instrument=SOL, exits=units)
    with pytest.raises(InvalidInput, match=r"SOLUSDT\.unit is required"):
        simulate(FLAT, [0.1] * 5, instrument=SOL, costs=Costs(slippage_unit_frac=0.1))
    with pytest.raises(InvalidInput, match=r"SOLUSDT\.bars\.volume is required"):
        simulate(FLAT, [0.1] * 5, instrument=SOL, costs=Costs(volume_cap_frac=0.1))
    with pytest.raises(InvalidInput, match=r"SOLUSDT\.trail_low"):
        simulate(FLAT, [0.1] * 5, instrument=SOL, exits=Exits(trail="level"))
    assert simulate(FLAT, [0.1] * 5, instrument=SOL, exits=units, unit=[1.0] * 5).fills.height == 1
    with pytest.raises(InvalidInput, match="unit must be 5, one for each bar"):
        simulate(FLAT, [0.1] * 5, instrument=SOL, exits=units, unit=[1.0] * 4)
    with pytest.raises(InvalidInput, match=r"account\.unit\[2\] must not be negative"):
        simulate(FLAT, [0.1] * 5, instrument=SOL, exits=units, unit=[1.0, 1.0, -1.0, 1.0, 1.0])


def test_a_backtest_beyond_its_margin_or_without_its_funding_is_refused():
    with pytest.raises(InvalidInput, match=r"margin\.leverage must not exceed the 50.*received 60"):
        simulate(FLAT, [0.1] * 5, instrument=SOL, margin=Margin(leverage=60.0))
    with pytest.raises(InvalidInput, match=r"targets\[1\] must lie within max_leverage, ±2; received -2\.5"):
        simulate(FLAT, [0.1, -2.5, 0.1, 0.1, 0.1], instrument=SOL, max_leverage=2.0)
    rows = pl.DataFrame({"ts": [START + 600 * MINUTE], "rate": [1e-4], "interval_hours": [8.0]}).with_columns(
        pl.col("ts").cast(TS)
    )
    with pytest.raises(FundingHole):
        simulate(FLAT, [0.1] * 5, instrument=SOL, funding=rows)
    with pytest.raises(InvalidInput, match=r"account\.intrabar must be worse or better; received 'random'"):
        simulate(FLAT, [0.1] * 5, instrument=SOL, intrabar="random")


@pytest.mark.parametrize(
    ("column", "value", "subject"),
    [
        ("volume", -1.0, "account.volume[1]"),
        ("volume", math.inf, "account.volume[1]"),
        ("mark", 0.0, "account.mark[1]"),
        ("mark_low", 101.0, "account.mark_high[1]"),  # above the close of the mark
        ("unit", -0.1, "account.unit[1]"),
        ("trail_low", 0.0, "account.trail_low[1]"),
        ("trail_high", math.inf, "account.trail_high[1]"),
        ("funding_rate", NAN, "account.funding_rate[1]"),
        ("target", -math.inf, "account.target[1]"),
    ],
)
def test_columns_that_cannot_be_are_refused_by_bar(column, value, subject):
    account = Account(SOL)
    columns = {name: np.full(3, 100.0) for name in ("mark", "mark_high", "mark_low", "mark_close")}
    columns |= {name: np.full(3, 1.0) for name in ("volume", "unit", "trail_low", "trail_high")}
    columns |= {"funding_rate": np.zeros(3), "target": np.full(3, NAN)}
    columns[column][1] = value
    with pytest.raises(InvalidInput) as caught:
        account.push(times(3), *[np.full(3, 100.0)] * 4, **columns)
    assert caught.value.subject == subject
    assert account.bars_seen == 0


def test_bars_whose_prices_contradict_each_other_are_refused():
    account = Account(SOL)
    for quotes in ((100, 99, 98, 98.5), (100, 101, 100.5, 101), (100, 101, 99, 102)):
        with pytest.raises(InvalidInput, match=r"account\.price\[0\] must have open and close between low and high"):
            account.push(times(1), *[np.array([float(q)]) for q in quotes])
    with pytest.raises(InvalidInput, match="must come with mark_low and mark_close"):
        account.push(times(1), *[np.array([100.0])] * 4, mark_high=[100.0])
    with pytest.raises(InvalidInput, match=r"account\.fine must have shape"):
        account.push(times(2), *[np.full(2, 100.0)] * 4, fine=[np.full(3, 100.0)] * 4)


@pytest.mark.parametrize(
    "quotes", [(100, 101, 0, 100), (100, 99, 100, 100), (-5, 101, 99, 100), (100, math.inf, 99, 100)]
)
def test_finer_bars_that_cannot_be_are_refused(quotes):
    account = Account(SOL)
    finer = [np.array([100.0, 100.0, 100.0, float(quote)]) for quote in quotes]
    with pytest.raises(InvalidInput, match=r"account\.fine"):
        account.push(times(2), *[np.full(2, 100.0)] * 4, fine=finer)
    assert account.bars_seen == 0


@pytest.mark.parametrize(
    ("settings", "subject"),
    [
        ({"volume_cap_frac": 0.0}, "costs.volume_cap_frac"),
        ({"volume_cap_frac": 1.1}, "costs.volume_cap_frac"),
        ({"participation_frac": -0.1}, "costs.participation_frac"),
        ({"impact_unit_frac": math.nan}, "costs.impact_unit_frac"),
        ({"slippage_unit_frac": True}, "costs.slippage_unit_frac"),
        ({"carry": 1}, "costs.carry"),
        ({"touch_fills": None}, "costs.touch_fills"),
        ({"fee_schedule": ((0, 5.0),)}, "costs.fee_schedule[0]"),
        ({"fee_schedule": ((0, 5.0, 2.0), (0, 4.0, 1.0))}, "costs.fee_schedule[1]"),
        ({"fee_schedule": ((0, -5.0, 2.0),)}, "costs.fee_schedule[0].taker_fee_bps"),
    ],
)
def test_impossible_costs_of_size_and_date_are_refused_by_name(settings, subject):
    with pytest.raises(InvalidInput) as caught:
        Costs(**settings)
    assert caught.value.subject == subject
