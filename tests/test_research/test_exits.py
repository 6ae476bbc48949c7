"""Exits of a position by worked examples: stops, ladders, trailing, break-even, time, volatility, and what comes first.

Unless told otherwise a position of 10 SOL (100 lots) is opened at 100.00 at the open of bar 1, free of costs.
"""

import math
from dataclasses import replace

import pytest

from research.errors import InvalidInput
from research.execution import Costs, Reason, Role, Status, TriggerBy
from research.risk.exits import Exits
from tests.test_research.account_cases import LOTS, NAN, linear, order, play, times

LONG, SHORT = [order(0, LOTS)], [order(0, -LOTS)]
STOP, TARGET, TRAIL, EVEN = Role.STOP, Role.TAKE_PROFIT, Role.TRAIL, Role.BREAK_EVEN
SLIPPAGE = Costs(taker_fee_bps=0.0, maker_fee_bps=0.0, slippage_bps=10.0)


def left(found):
    """Return the fills after the entry."""
    return found.fills[1:]


# ---------------------------------------------------------------- stops
@pytest.mark.parametrize(
    ("orders", "bar", "price"),
    [
        (LONG, (100, 100, 95.01, 95.01), None),
        (LONG, (100, 100, 95, 96), 95.0),  # touched is enough
        (LONG, (100, 100, 90, 99), 95.0),  # at its level, whatever came after
        (LONG, (93, 94, 92, 94), 93.0),  # leapt over: at the open
        (SHORT, (100, 104.99, 100, 100), None),
        (SHORT, (100, 110, 100, 101), 105.0),
        (SHORT, (107, 107, 104, 104), 107.0),
    ],
)
def test_a_stop_is_filled_at_the_worse_of_its_level_and_the_open(orders, bar, price):
    found = play([100, 100, bar, 100], orders, exits=Exits(stop_distance=0.05))
    assert left(found) == ([] if price is None else [(2, STOP, -orders[0]["lots"], price)])


def test_a_stop_pays_slippage_beyond_its_level():
    # Bought at 100.10; stop 95.095, down to 95.09; sold at 95.09 * 0.999 = 94.99491, down to 94.99.
    found = play([100, 100, (100, 100, 95, 100)], LONG, exits=Exits(stop_distance=0.05), costs=SLIPPAGE)
    assert found.fills == [(1, Role.COMMAND, LOTS, 100.1), (2, STOP, -LOTS, 94.99)]
    assert found.ledger.fills["reference"][1] == 95.09
    assert found.ledger.fills["slippage"][1] == pytest.approx(10 * (95.09 - 94.99), abs=1e-9)


def test_a_stop_lives_from_its_entry_on_in_the_same_bar():
    found = play([100, (100, 101, 94, 101)], LONG, exits=Exits(stop_distance=0.05))
    assert found.fills == [(1, Role.COMMAND, LOTS, 100.0), (1, STOP, -LOTS, 95.0)]


def test_stops_are_rounded_away_from_the_price():
    # 100.05 * 0.97 = 97.0485 down; 100.05 * 1.03 = 103.0515 up.
    for orders, stop in ((LONG, 97.04), (SHORT, 103.06)):
        found = play([100.05, 100.05], orders, exits=Exits(stop_distance=0.03))
        assert found.account.stops.tolist() == [stop]


def test_a_stop_in_units_takes_the_last_unit_known_before_its_fill():
    units = {0: 2.0, 1: 5.0, 2: 9.0}
    found = play([100, 100, 100], LONG, exits=Exits(stop_distance=1.5, stop_unit="unit"), unit=units)
    assert found.account.stops.tolist() == [97.0]  # 1.5 * 2.0, known at the close of bar 0


def test_a_stop_may_watch_the_mark_and_is_filled_where_the_trade_stands():
    exits = Exits(stop_distance=0.05, stop_by="mark")
    path = {"mark": [100.0] * 3, "mark_high": [100.0] * 3, "mark_low": [100, 100, 95.0], "mark_close": [100.0] * 3}
    found = play([100, 100, (100, 100, 98, 99)], LONG, exits=exits, **path)
    # Mark and trade move together from open to low: at the mark's 95 the trade is at 98.
    assert left(found) == [(2, STOP, -LOTS, 98.0)]
    steady = {"mark": [100.0] * 3} | {name: [100.0] * 3 for name in ("mark_high", "mark_low", "mark_close")}
    assert left(play([100, 100, (100, 100, 90, 99)], LONG, exits=exits, **steady)) == []
    halfway = path | {"mark_low": [100, 100, 90.0]}  # 95 is half of the way of the mark: so is 99 of the trade's
    assert left(play([100, 100, (100, 100, 98, 99)], LONG, exits=exits, **halfway)) == [(2, STOP, -LOTS, 99.0)]


def test_growth_sets_the_stop_anew_from_the_average_entry():
    # 10 at 100 and 10 at 110: entry 105, stop 99.75.
    found = play([100, 100, 110, 110, (110, 110, 99, 99)], [*LONG, order(1, LOTS)], exits=Exits(stop_distance=0.05))
    assert found.ledger.fills["price"].tolist() == [100.0, 110.0, 99.75]
    assert found.fills[-1][2] == -2 * LOTS


def test_a_reduction_leaves_the_stop_and_a_reversal_sets_a_new_one():
    orders = [*LONG, order(1, -40), order(2, -160)]
    found = play([100, 100, 104, 104], orders, exits=Exits(stop_distance=0.05))
    assert found.lots == [0, 100, 60, -100]
    assert found.account.stops.tolist() == [109.2]
    kept = play([100, 100, 104], orders[:2], exits=Exits(stop_distance=0.05))
    assert kept.account.stops.tolist() == [95.0]


# ---------------------------------------------------------------- take-profits
@pytest.mark.parametrize(
    ("high", "touches", "kind", "price"),
    [
        (105.0, False, "limit", None),  # touched, not traded through
        (105.01, False, "limit", 105.0),
        (105.0, True, "limit", 105.0),
        (105.0, False, "market", 105.0),
        (104.99, True, "market", None),
    ],
)
def test_a_take_profit_at_its_limit_or_at_market(high, touches, kind, price):
    exits = Exits(take_profits=((0.05, 1.0),), take_profit_order=kind)
    costs = Costs(taker_fee_bps=10.0, maker_fee_bps=2.0, touch_fills=touches)
    found = play([100, 100, (100, high, 100, 100)], LONG, exits=exits, costs=costs)
    assert left(found) == ([] if price is None else [(2, TARGET, -LOTS, price)])
    if price is not None:
        maker = kind == "limit"
        assert bool(found.ledger.fills["is_maker"][1]) == maker
        assert found.ledger.fills["fee"][1] == pytest.approx(10 * 105 * (2e-4 if maker else 10e-4), rel=1e-14)


def test_a_market_that_opens_beyond_a_take_profit():
    for kind, price in (("limit", 105.0), ("market", 108.0)):  # the limit gives nothing back, and gets nothing extra
        exits = Exits(take_profits=((0.05, 1.0),), take_profit_order=kind)
        found = play([100, 100, (108, 109, 107, 107)], LONG, exits=exits)
        assert left(found) == [(2, TARGET, -LOTS, price)]
    assert left(play([100, 100, (92, 93, 91, 91)], SHORT, exits=Exits(take_profits=((0.05, 1.0),)))) == [
        (2, TARGET, LOTS, 95.0)
    ]


def test_take_profits_are_rounded_away_from_the_price():
    for orders, price in ((LONG, 103.06), (SHORT, 97.04)):  # 100.05 * 1.03 = 103.0515, 100.05 * 0.97 = 97.0485
        bars = [100.05, 100.05, (100.05, 110, 90, 100.05)]
        found = play(bars, orders, exits=Exits(take_profits=((0.03, 1.0),)), intrabar="better")
        assert left(found) == [(2, TARGET, -orders[0]["lots"], price)]


def test_a_ladder_of_40_30_20_10_with_a_runner_that_trails():
    # Risk 2 (2 %): steps at 102, 104, 106 for 40, 30 and 20 lots; after the third the last 10 trail by 1.5 units of 1.
    exits = Exits(
        stop_distance=0.02, take_profits=((1.0, 0.4), (2.0, 0.3), (3.0, 0.2)), take_profit_unit="risk",
        trail="unit", trail_distance=1.5, trail_after=3,
    )  # fmt: skip
    bars = [
        100, 100,
        (100, 102.5, 99.5, 102.3),  # 40 at 102
        (102.3, 104.2, 101, 104),  # 30 at 104
        (104, 107, 103.5, 106.8),  # 20 at 106; best 107, stop 105.50
        (106.8, 109, 106, 108.5),  # best 109, stop 107.50
        (108.5, 108.6, 107, 107.2),  # 10 at 107.50
        107.2,
    ]  # fmt: skip
    found = play(bars, LONG, exits=exits, unit=[1.0] * 8)
    assert left(found) == [
        (2, TARGET, -40, 102.0),
        (3, TARGET, -30, 104.0),
        (4, TARGET, -20, 106.0),
        (6, TRAIL, -10, 107.5),
    ]
    assert found.equity[-1] == pytest.approx(10_000 + 4 * 2 + 3 * 4 + 2 * 6 + 1 * 7.5, abs=1e-9)
    assert [fate[0] for fate in found.fates] == [Role.COMMAND, TARGET, TARGET, TARGET, TRAIL]


def test_one_bar_may_take_several_steps_in_their_order():
    exits = Exits(take_profits=((0.01, 0.4), (0.02, 0.3), (0.03, 0.3)))
    found = play([100, 100, (100, 103.5, 100, 103)], LONG, exits=exits)
    assert left(found) == [(2, TARGET, -40, 101.0), (2, TARGET, -30, 102.0), (2, TARGET, -30, 103.0)]
    assert found.lots[-1] == 0


def test_the_last_step_of_a_whole_ladder_takes_the_rest():
    # Thirds of 10 lots: 3, 3 and what is left.
    exits = Exits(take_profits=((0.01, 1 / 3), (0.02, 1 / 3), (0.03, 1 / 3)))
    found = play([100, 100, (100, 104, 100, 104)], [order(0, 10)], exits=exits)
    assert [fill[2] for fill in left(found)] == [-3, -3, -4]


def test_steps_too_small_for_a_lot_are_passed_over_until_the_position_grows():
    exits = Exits(take_profits=((0.01, 0.3), (0.02, 0.3)))
    bars = [100, 100, (100, 101.5, 100, 101), 101, (100.5, 101.6, 100.5, 101)]
    small = play(bars[:3], [order(0, 2)], exits=exits)
    assert left(small) == []
    # 2 lots at 100 and 98 at 101: entry 100.98, first step 101.9898 up to 101.99; then 30 lots of it.
    grown = play([*bars[:3], 101, (101, 102.5, 101, 102)], [order(0, 2), order(2, 98)], exits=exits)
    assert left(grown)[1:] == [(4, TARGET, -30, 101.99)]


def test_a_target_does_not_refill_what_a_ladder_has_taken():
    exits = Exits(take_profits=((0.02, 0.5),))
    bars = [100, 100, (100, 103, 100, 100), 100, 100, 100]
    found = play(bars, exits=exits, target=[0.1, NAN, 0.2, 0.05, 0.2, NAN])
    # 100 lots, 50 taken; 0.2 asks for more and gets nothing, 0.05 asks for 50 and has them; up again: nothing.
    assert found.lots == [0, 100, 50, 50, 50, 50]
    lower = play(bars, exits=exits, target=[0.1, NAN, 0.02, NAN, NAN, NAN])
    assert lower.lots == [0, 100, 50, 20, 20, 20]
    assert play(bars, exits=exits, target=[0.1, NAN, -0.1, NAN, NAN, NAN]).lots[-1] == -100


# ---------------------------------------------------------------- moving stops
def test_break_even_moves_the_stop_once_at_a_close_beyond_its_distance():
    exits = Exits(stop_distance=0.05, break_even_distance=0.02, break_even_offset_bps=10.0)
    bars = [100, 100, (100, 101.99, 99, 101), (101, 102, 100.5, 101), (101, 101, 99, 99)]
    found = play(bars, LONG, exits=exits)
    # 102 is reached in bar 3; its stop of 100.10 holds from its close on.
    assert left(found) == [(4, EVEN, -LOTS, 100.1)]
    assert play(bars[:3], LONG, exits=exits).account.stops.tolist() == [95.0]
    mirrored = [100, 100, (100, 101, 97.9, 99), (99, 101, 99, 101)]
    assert left(play(mirrored, SHORT, exits=exits)) == [(3, EVEN, LOTS, 99.9)]


def test_break_even_counted_in_risk_does_not_loosen_a_trail():
    exits = Exits(
        stop_distance=0.02, break_even_distance=2.0, break_even_unit="risk", trail="unit", trail_distance=1.0
    )  # fmt: skip
    bars = [100, 100, (100, 103, 100, 103), (103, 104.5, 103, 104.5), (104.5, 104.5, 103, 103)]
    found = play(bars, LONG, exits=exits, unit=[1.0] * 5)
    assert left(found) == [(4, TRAIL, -LOTS, 103.5)]


def test_a_trail_in_units_follows_the_best_price_and_never_loosens():
    exits = Exits(stop_distance=0.05, trail="unit", trail_distance=2.0)
    units = [1.0, 1.0, 1.0, 1.0, 3.0, NAN]
    bars = [100, 100, (100, 103, 100, 102.5), (102.5, 106, 102.5, 105), (105, 105, 104.5, 105), (105, 105, 103, 103)]
    stops = [play(bars[:k], LONG, exits=exits, unit=units[:k]).account.stops[0] for k in range(2, 6)]
    assert stops == [98.0, 101.0, 104.0, 104.0]  # 106 - 2 * 3 would be lower
    assert left(play(bars, LONG, exits=exits, unit=units)) == [(5, TRAIL, -LOTS, 104.0)]


def test_a_trail_waits_for_its_activation():
    exits = Exits(stop_distance=0.05, trail="unit", trail_distance=1.0, trail_activation=0.03)
    for high, stop in ((102.99, 95.0), (103.0, 102.0)):
        found = play([100, 100, (100, high, 100, 102)], LONG, exits=exits, unit=[1.0] * 3)
        assert found.account.stops.tolist() == [stop]


def test_a_trail_by_levels_takes_those_on_its_side_of_the_close():
    exits = Exits(stop_distance=0.05, trail="level")
    lows = [NAN, 97.0, 98.5, 103.0, NAN]  # 103 lies above the close of bar 3
    bars = [100, 100, (100, 102, 100, 102), (102, 102, 101, 102), (102, 102, 98, 98)]
    found = play(bars, LONG, exits=exits, trail_low=lows)
    assert left(found) == [(4, TRAIL, -LOTS, 98.5)]
    highs = [NAN, 103.0, 101.005, NAN, NAN]  # to the tick away from the price
    found = play([100, 100, (100, 100, 98, 98), 98, (98, 102, 98, 98)], SHORT, exits=exits, trail_high=highs)
    assert left(found) == [(4, TRAIL, LOTS, 101.01)]


def test_a_trail_by_profit_gives_back_its_share_of_the_best():
    exits = Exits(stop_distance=0.05, trail="profit_share", trail_distance=0.25)
    bars = [100, 100, (100, 108, 100, 107), (107, 107, 105.9, 106)]
    found = play(bars, LONG, exits=exits)
    assert left(found) == [(3, TRAIL, -LOTS, 106.0)]  # 100 + 0.75 * 8
    flat = play([100, 100, (100, 100, 99, 99)], LONG, exits=exits)
    assert flat.account.stops.tolist() == [95.0]  # no profit, nothing to share


def test_a_stop_that_a_close_puts_beyond_the_price_is_met_at_the_next_open():
    # Best 110, unit 2: 108, while the market has closed at 103.
    exits = Exits(stop_distance=0.05, trail="unit", trail_distance=1.0)
    found = play([100, 100, (100, 110, 100, 103), (104, 104, 104, 104)], LONG, exits=exits, unit=[2.0] * 4)
    assert left(found) == [(3, TRAIL, -LOTS, 104.0)]


def test_of_the_bar_of_an_entry_within_it_only_the_close_counts_as_best():
    # A limit is filled on the way down; whether the high came before or after is not known to be after.
    exits = Exits(trail="unit", trail_distance=1.0)
    within = play([100, (100, 103, 98, 101)], [order(0, LOTS, 99.0)], exits=exits, unit=[1.0] * 2)
    assert within.fills == [(1, Role.COMMAND, LOTS, 99.0)]
    assert within.account.stops.tolist() == [100.0]  # 101 - 1
    at_open = play([100, (100, 103, 98, 101)], LONG, exits=exits, unit=[1.0] * 2)
    assert at_open.account.stops.tolist() == [102.0]  # 103 - 1
    short = play([100, (100, 102, 97, 99)], [order(0, -LOTS, 101.0)], exits=exits, unit=[1.0] * 2)
    assert short.account.stops.tolist() == [100.0]  # 99 + 1
    assert play([100, (100, 102, 97, 99)], SHORT, exits=exits, unit=[1.0] * 2).account.stops.tolist() == [98.0]


# ---------------------------------------------------------------- time and volatility
def test_a_time_stop_closes_after_its_bars_with_the_latency_of_an_order():
    bars = [100, 100, 101, 102, 103, 104, 105]
    for latency, bar in ((0, 4), (1, 6)):  # bars 1 to 3 are its three; decided at the close of the third
        found = play(bars, LONG, exits=Exits(time_stop_bars=3), latency=latency)
        entry = 1 + latency
        assert found.fills == [
            (entry, Role.COMMAND, LOTS, float(bars[entry])), (bar, Role.TIME_STOP, -LOTS, float(bars[bar])),
        ]  # fmt: skip


def test_a_stop_comes_before_a_time_stop_under_way():
    found = play(
        [100, 100, 100, (100, 100, 90, 90), 90, 90], LONG, exits=Exits(stop_distance=0.05, time_stop_bars=1), latency=1
    )
    # Entered in bar 2; the time stop, decided at its close, would arrive in bar 4; the stop is met in bar 3.
    assert left(found) == [(3, STOP, -LOTS, 95.0)]
    assert found.fates[-1] == (Role.TIME_STOP, Status.CANCELLED, Reason.NOTHING_TO_REDUCE)
    assert found.ledger.orders["done_ts"].tolist()[-2:] == [times(4)[3]] * 2  # at once, both


def test_a_time_stop_under_way_does_not_close_a_position_opened_after_its_own():
    # Decided at the close of bar 2, it would arrive in bar 4: stopped in bar 3, where a limit order enters again.
    orders = [*LONG, order(1, LOTS, 92.0)]
    bars = [100, 100, 100, (100, 100, 91, 96), 96, 96]
    found = play(bars, orders, exits=Exits(stop_distance=0.05, time_stop_bars=1), latency=1)
    assert left(found)[:2] == [(3, STOP, -LOTS, 95.0), (3, Role.COMMAND, LOTS, 92.0)]
    assert left(found)[2:] == [(5, Role.TIME_STOP, -LOTS, 96.0)]  # its own, decided at the close of bar 3


def test_a_volatility_stop_closes_where_the_unit_has_grown():
    exits = Exits(volatility_multiple=2.0)
    found = play([100] * 6, LONG, exits=exits, unit=[1.5, 2.9, 2.99, 3.0, 9.0, 9.0])
    assert left(found) == [(4, Role.VOLATILITY, -LOTS, 100.0)]  # the entry saw 1.5


# ---------------------------------------------------------------- which came first
BOTH = Exits(stop_distance=0.05, take_profits=((0.05, 1.0),))
WIDE = [100, 100, (100, 106, 94, 100)]


def test_a_bar_that_holds_stop_and_take_profit_takes_the_worse_and_says_so():
    worse, better = (play(WIDE, LONG, exits=BOTH, intrabar=name) for name in ("worse", "better"))
    assert left(worse) == [(2, STOP, -LOTS, 95.0)]
    assert left(better) == [(2, TARGET, -LOTS, 105.0)]
    for found in (worse, better):
        assert found.ledger.rows["ambiguous"].tolist() == [0.0, 0.0, pytest.approx(100.0, abs=1e-9)]
    one_side = play([100, 100, (100, 106, 96, 100)], LONG, exits=BOTH)
    assert one_side.ledger.rows["ambiguous"].tolist() == [0.0] * 3


def test_a_bar_that_opens_at_one_of_them_leaves_nothing_open():
    found = play([100, 100, (94, 106, 94, 100)], LONG, exits=BOTH)
    assert left(found) == [(2, STOP, -LOTS, 94.0)]
    assert found.ledger.rows["ambiguous"].tolist() == [0.0] * 3


def test_finer_bars_decide_what_came_first():
    rising = {2: [(100, 103, 99, 102), (102, 106, 101, 105), (105, 105, 94, 95), (95, 100, 94, 100)]}
    falling = {2: [(100, 101, 97, 98), (98, 99, 94, 95), (95, 106, 95, 106), (106, 106, 99, 100)]}
    for name in ("worse", "better"):
        up = play(WIDE, LONG, exits=BOTH, fine=rising, intrabar=name)
        assert left(up) == [(2, TARGET, -LOTS, 105.0)]
        down = play(WIDE, LONG, exits=BOTH, fine=falling, intrabar=name)
        assert left(down) == [(2, STOP, -LOTS, 95.0)]
        assert up.ledger.rows["ambiguous"][2] == down.ledger.rows["ambiguous"][2] == 0.0


def test_a_finer_bar_that_holds_both_takes_the_worse_of_itself():
    finer = {2: [(100, 101, 99, 100), (100, 106, 94, 100)]}
    found = play(WIDE, LONG, exits=BOTH, fine=finer)
    assert left(found) == [(2, STOP, -LOTS, 95.0)]
    assert found.ledger.rows["ambiguous"][2] == pytest.approx(100.0, abs=1e-9)


def test_a_jump_between_finer_bars_is_one():
    # The second half opens at 91: that is where a stop of 95 is first met. A limit keeps its own price.
    found = play([100, 100, (100, 106, 90, 100)], LONG, exits=BOTH, fine={2: [(100, 101, 99, 100), (91, 106, 90, 100)]})
    assert left(found) == [(2, STOP, -LOTS, 91.0)]
    up = play([100, 100, (100, 110, 94, 100)], LONG, exits=BOTH, fine={2: [(100, 101, 99, 100), (108, 110, 94, 100)]})
    assert left(up) == [(2, TARGET, -LOTS, 105.0)]
    # So is the way from the last finer bar to the close of the whole one.
    late = play([100, 100, (100, 106, 93, 93)], LONG, exits=BOTH, fine={2: [(100, 101, 99, 100), (100, 104, 99, 100)]})
    assert left(late) == [(2, STOP, -LOTS, 93.0)]


def test_finer_bars_with_a_hole_decide_nothing():
    finer = {2: [(100, 103, 99, 102), (NAN, NAN, NAN, NAN), (102, 106, 94, 100), (100, 100, 100, 100)]}
    found = play(WIDE, LONG, exits=BOTH, fine=finer)
    assert left(found) == [(2, STOP, -LOTS, 95.0)]
    assert found.ledger.rows["ambiguous"][2] == pytest.approx(100.0, abs=1e-9)


def test_a_stop_comes_before_a_liquidation_at_the_same_open():
    # Opened at 80: the stop sells there and the account owes 1,000, where the venue would have taken over at 90.
    found = play(
        [100, 100, 80, 80], [order(0, 1_000)], exits=Exits(stop_distance=0.05), cash=1_000.0, max_leverage=10.0
    )
    assert left(found) == [(2, STOP, -1_000, 80.0)]
    assert found.equity[2:] == [-1_000.0, -1_000.0]
    assert found.account.is_ruined
    # Within a bar the nearer level comes first.
    within = play(
        [100, 100, (100, 100, 80, 80)],
        [order(0, 1_000)],
        exits=Exits(stop_distance=0.05),
        cash=1_000.0,
        max_leverage=10.0,
    )
    assert left(within) == [(2, STOP, -1_000, 95.0)]
    further = play(
        [100, 100, (100, 100, 80, 80)],
        [order(0, 1_000)],
        exits=Exits(stop_distance=0.15),
        cash=1_000.0,
        max_leverage=10.0,
    )
    assert left(further) == [(2, Role.LIQUIDATION, -1_000, 90.0)]


# ---------------------------------------------------------------- exits and targets, orders, volume
def test_after_an_exit_its_side_is_not_entered_until_another_is_asked_for():
    targets = [0.1, NAN, NAN, 0.1, 0.2, 0.0, 0.2, NAN]
    bars = [100, 100, (100, 100, 94, 100), 100, 100, 100, 100, 100]
    found = play(bars, exits=Exits(stop_distance=0.05), target=targets)
    # 0.2 at bar 4 is the stopped side; 0 at bar 5 is another; 0.2 at bar 6 is taken.
    assert [fill[:2] for fill in found.fills] == [(1, Role.TARGET), (2, STOP), (7, Role.TARGET)]
    reversed_ = play(bars, exits=Exits(stop_distance=0.05), target=[0.1, NAN, -0.1, *[NAN] * 5])
    assert [fill[:2] for fill in reversed_.fills] == [(1, Role.TARGET), (2, STOP), (3, Role.TARGET)]


def test_an_order_under_way_to_the_side_that_is_left_is_cancelled():
    targets = [0.1, NAN, 0.2, *[NAN] * 4]
    found = play(
        [100, 100, 100, (100, 100, 94, 94), 94, 94, 94], exits=Exits(stop_distance=0.05), target=targets, latency=1
    )
    # Entered in bar 2; 0.2, decided at its close, arrives in bar 4, after the stop of bar 3.
    assert [fill[:2] for fill in found.fills] == [(2, Role.TARGET), (3, STOP)]
    assert found.fates[-1] == (Role.TARGET, Status.CANCELLED, Reason.EXITED)


def test_no_position_is_opened_whose_exit_is_unknown():
    exits = Exits(stop_distance=1.0, stop_unit="unit")
    found = play([100] * 4, exits=exits, target=[0.1, 0.2, NAN, NAN], unit=[NAN, 1.0, NAN, NAN])
    assert found.fates == [
        (Role.TARGET, Status.REJECTED, Reason.EXIT_UNKNOWN), (Role.TARGET, Status.FILLED, Reason.NONE),
    ]  # fmt: skip
    assert found.account.stops.tolist() == [99.0]
    by_order = play([100] * 4, [*LONG, order(0, 10, reduce_only=True)], exits=exits, unit=[NAN] * 4)
    assert by_order.fates == [
        (Role.COMMAND, Status.REJECTED, Reason.EXIT_UNKNOWN),
        (Role.COMMAND, Status.CANCELLED, Reason.NOTHING_TO_REDUCE),
    ]


def test_the_unit_of_an_earlier_bar_is_known_until_there_is_a_newer_one():
    # Also where nothing happens between the bar of the unit and the one that decides.
    exits = Exits(stop_distance=1.0, stop_unit="unit")
    found = play([100] * 6, exits=exits, target={3: 0.1}, unit={0: 1.0, 1: 2.0})
    assert found.fills == [(4, Role.TARGET, 100, 100.0)]
    assert found.account.stops.tolist() == [98.0]
    costs = Costs(taker_fee_bps=0.0, slippage_unit_frac=0.1)
    assert play([100] * 6, costs=costs, target={3: 0.1}, unit={0: 1.0, 1: 2.0}).fills[0][3] == 100.2


def test_a_ladder_goes_on_in_the_lots_of_new_terms():
    # Half of 10 SOL at 105: 3 of 5 are taken when lots become five times as large; then 5 SOL are added at 104.
    first = linear().terms[0]
    later = replace(first, from_ns=int(times(4)[3]), qty_step=0.5, min_qty=0.5)
    instrument = replace(linear(), terms=(replace(first, from_ns=0), later))
    exits, costs = Exits(take_profits=((0.05, 0.5),)), Costs(taker_fee_bps=0.0, maker_fee_bps=0.0, volume_cap_frac=0.1)
    bars = [100, 100, (100, 106, 100, 104), 104, 104, (104, 110, 104, 108)]
    found = play(
        bars,
        [*LONG, order(3, 10)],
        exits=exits,
        costs=costs,
        instrument=instrument,
        volume=[1e4, 1e4, 30, 1e4, 1e4, 1e4],
    )
    # 7 at 100 and 5 at 104: entry 101.667, step at 106.75. The largest position is 12: 6 in all, 3 of them taken.
    assert left(found) == [(2, TARGET, -30, 105.0), (4, Role.COMMAND, 10, 104.0), (5, TARGET, -6, 106.75)]


def test_a_stop_larger_than_the_volume_goes_on_and_keeps_the_other_exits_waiting():
    costs = Costs(taker_fee_bps=0.0, maker_fee_bps=0.0, volume_cap_frac=0.1, carry=False)
    exits = Exits(stop_distance=0.05, take_profits=((0.05, 1.0),))
    bars = [100, 100, (100, 100, 94, 94), (96, 110, 96, 100), (101, 101, 101, 101)]
    # 10 SOL; the bar of the stop and the next trade 40 of which a tenth, 40 lots, may be ours.
    found = play(bars, LONG, exits=exits, costs=costs, volume=[1e4, 1e4, 40, 40, 40])
    assert left(found) == [(2, STOP, -40, 95.0), (3, STOP, -40, 96.0), (4, STOP, -20, 101.0)]
    assert found.fates[-1] == (STOP, Status.FILLED, Reason.NONE)


def test_a_take_profit_larger_than_the_volume_is_one_order_a_fill():
    costs = Costs(taker_fee_bps=0.0, maker_fee_bps=0.0, volume_cap_frac=0.1)
    bars = [100, 100, (100, 106, 100, 106), (106, 106, 104, 104), (104, 104, 104, 104)]
    found = play(bars, LONG, exits=Exits(take_profits=((0.05, 0.5),)), costs=costs, volume=[1e4, 1e4, 30, 30, 30])
    assert left(found) == [(2, TARGET, -30, 105.0), (3, TARGET, -20, 105.0)]
    assert found.fates[1:] == [(TARGET, Status.FILLED, Reason.NONE)] * 2


def test_a_stop_ends_the_rest_of_a_target_that_would_add_to_what_it_closes():
    costs = Costs(taker_fee_bps=0.0, volume_cap_frac=0.1)
    bars = [100, 100, (100, 100, 94, 94), 94, 94]
    found = play(bars, exits=Exits(stop_distance=0.05), costs=costs, target={0: 0.1}, volume=[1e4, 40, 1e4, 1e4, 1e4])
    assert found.fills == [(1, Role.TARGET, 40, 100.0), (2, Role.TARGET, 60, 100.0), (2, STOP, -100, 95.0)]
    slow = play(bars, exits=Exits(stop_distance=0.05), costs=costs, target={0: 0.1}, volume=[1e4, 40, 40, 1e4, 1e4])
    # 40, 40 more at the open of bar 2, and the stop finds no volume: the last 20 are not bought any more.
    assert slow.fills == [(1, Role.TARGET, 40, 100.0), (2, Role.TARGET, 40, 100.0), (3, STOP, -80, 94.0)]
    assert (Role.TARGET, Status.CANCELLED, Reason.EXITED) in slow.fates


# ---------------------------------------------------------------- brackets
def test_a_bracket_replaces_the_levels_of_its_leg():
    exits = Exits(stop_distance=0.05, take_profits=((0.02, 0.5), (0.04, 0.5)))
    bracket = [order(0, LOTS, stop_loss=98.0, take_profit=103.0)]
    assert left(play([100, 100, (100, 104, 99, 104)], bracket, exits=exits)) == [(2, TARGET, -LOTS, 103.0)]
    assert left(play([100, 100, (100, 102, 97, 97)], bracket, exits=exits)) == [(2, STOP, -LOTS, 98.0)]
    without_rules = play([100, 100, (100, 104, 99, 104)], bracket)
    assert left(without_rules) == [(2, TARGET, -LOTS, 103.0)]
    half = play([100, 100, (100, 102.5, 99, 102)], [order(0, LOTS, stop_loss=98.0)], exits=exits)
    assert left(half) == [(2, TARGET, -50, 102.0)]  # the ladder stays where only the stop is given
    assert half.account.stops.tolist() == [98.0]


def test_a_bracket_comes_with_the_fill_and_not_before():
    bracket = [order(0, LOTS, 99.0, stop_loss=98.0, take_profit=103.0)]
    found = play([100, (100, 104, 99.5, 100), (100, 100, 98.5, 99), (99, 99, 97, 97)], bracket)
    assert found.fills == [(2, Role.COMMAND, LOTS, 99.0), (3, STOP, -LOTS, 98.0)]


def test_the_risk_of_a_bracket_measures_the_rules_that_count_in_it():
    exits = Exits(stop_distance=0.05, break_even_distance=1.0, break_even_unit="risk")
    found = play([100, 100, (100, 102, 100, 101)], [order(0, LOTS, stop_loss=98.0)], exits=exits)
    assert found.account.stops.tolist() == [100.0]  # a profit of 2 is the risk to 98


def test_the_risk_of_a_bracket_measures_the_ladder_from_its_first_fill_on():
    exits = Exits(stop_distance=0.05, take_profits=((1.0, 0.5),), take_profit_unit="risk")
    found = play([100, 100, (100, 102.5, 100, 102)], [order(0, LOTS, stop_loss=98.0)], exits=exits)
    assert left(found) == [(2, TARGET, -50, 102.0)]
    by_rule = play([100, 100, (100, 102.5, 100, 102)], LONG, exits=exits)
    assert left(by_rule) == []  # 105


def test_a_mark_triggered_order_beside_exits_closes_only_what_is_left():
    orders = [*LONG, order(0, -LOTS, falls_to=97.0, by=TriggerBy.MARK, reduce_only=True)]
    found = play([100, 100, (100, 103, 96, 96)], orders, exits=Exits(take_profits=((0.02, 0.5),)), intrabar="better")
    assert left(found) == [(2, TARGET, -50, 102.0), (2, Role.COMMAND, -50, 97.0)]


# ---------------------------------------------------------------- rules that are none
@pytest.mark.parametrize(
    ("rules", "subject", "rule"),
    [
        ({"stop_distance": 0.0}, "exits.stop_distance", "positive"),
        ({"stop_distance": -1.0}, "exits.stop_distance", "positive"),
        ({"stop_distance": 1.0}, "exits.stop_distance", "below 1"),
        ({"stop_distance": 0.1, "stop_unit": "risk"}, "exits.stop_unit", "one of"),
        ({"take_profits": ((0.02, 0.5), (0.01, 0.5))}, "exits.take_profits[1].distance", "exceed"),
        ({"take_profits": ((0.01, 0.7), (0.02, 0.4))}, "exits.take_profits", "at most the whole"),
        ({"take_profits": ((0.01, 0.0),)}, "exits.take_profits[0].share", "(0, 1]"),
        ({"take_profits": (0.01,)}, "exits.take_profits[0]", "(distance, share)"),
        ({"take_profits": tuple((0.01 * k, 0.1) for k in range(1, 10))}, "exits.take_profits", "at most 8"),
        ({"take_profits": ((1.0, 1.0),), "take_profit_unit": "risk"}, "exits.take_profit_unit", "needs stop_distance"),
        ({"take_profit_order": "stop"}, "exits.take_profit_order", "one of"),
        ({"trail": "percent"}, "exits.trail", "one of"),
        ({"trail": "unit"}, "exits.trail_distance", "positive"),
        ({"trail": "profit_share", "trail_distance": 1.0}, "exits.trail_distance", "below 1"),
        ({"trail": "level", "trail_after": 1}, "exits.trail_after", "at most the number"),
        ({"trail_activation": -0.1}, "exits.trail_activation", "[0, inf)"),
        ({"break_even_distance": math.inf}, "exits.break_even_distance", "finite"),
        ({"break_even_offset_bps": math.nan}, "exits.break_even_offset_bps", "finite"),
        ({"time_stop_bars": 1.5}, "exits.time_stop_bars", "whole number"),
        ({"volatility_multiple": 0.0}, "exits.volatility_multiple", "positive"),
        ({"stop_by": "index"}, "exits.stop_by", "one of"),
    ],
)
def test_impossible_exits_are_refused_by_name(rules, subject, rule):
    with pytest.raises(InvalidInput) as caught:
        Exits(**rules)
    assert caught.value.subject == subject
    assert rule in str(caught.value)


def test_exits_come_back_from_plain_types():
    exits = Exits(stop_distance=2.0, stop_unit="unit", take_profits=((1.0, 0.4), (2.0, 0.3)), take_profit_unit="risk")
    assert Exits.from_dict(exits.to_dict()).to_dict() == exits.to_dict()
    assert (exits.reads_unit, exits.is_managed, exits.has_stop) == (True, False, True)
    with pytest.raises(InvalidInput, match=r"exits\.stop is not a field"):
        Exits.from_dict({"stop": 2.0})


def test_a_position_of_a_coarse_tick_has_a_stop_of_at_least_one_tick():
    instrument = linear(tick=5.0)
    found = play([10, 10, 10], LONG, instrument=instrument, exits=Exits(stop_distance=0.9))
    assert found.account.stops.tolist() == [5.0]  # not 0, where 1 would be rounded to
