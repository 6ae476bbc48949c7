"""Margin: order cost, tiers, liquidation, bankruptcy, borrowed spot; the venue's published numbers and worked cases."""

import math
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from research.errors import InvalidInput
from research.execution import Account, Costs, Limits, Margin, Portfolio, Reason, Role, Status
from research.market.instruments import margin_tiers
from tests.test_research.account_cases import (
    FREE,
    HOUR,
    MINUTE,
    NAN,
    SOL,
    cancel,
    commands_array,
    linear,
    order,
    play,
    spot,
    times,
)

BTC = linear("BTCUSDT", max_qty=1e6)  # tick 0.1, lots of 0.001, taker 5.5 bps, tiers from 0.5 % at 100x
TAKER = Fraction("0.00055")


def entered(lots, price, *, leverage, mode="isolated", cash=1e9, instrument=BTC, costs=Costs(), more=()):  # noqa: B008
    """Return an account that has opened a position at a price, and one bar after."""
    margin = Margin(mode, leverage=leverage)
    orders = [order(0, lots), *more]
    return play([price] * 3, orders, instrument=instrument, costs=costs, cash=cash, margin=margin, max_leverage=100.0)


# ---------------------------------------------------------------- the venue's numbers
@pytest.mark.parametrize(("side", "level", "bankruptcy"), [(1, 45_226.13, 45_000.0), (-1, 54_726.37, 55_000.0)])
def test_isolated_liquidation_is_where_the_venue_publishes_it(side, level, bankruptcy):
    found = entered(side * 1_000, 50_000.0, leverage=10.0, cash=10_000.0)
    assert found.account.liquidation_price == pytest.approx(level, abs=0.005)  # published to the cent
    # The mark goes there: the position goes at its bankruptcy price, with the taker fee on that value.
    at = found.account.liquidation_price
    bars = [50_000.0, 50_000.0, (50_000.0, max(50_000.0, at), min(50_000.0, at), at)]
    hit = play(
        bars, [order(0, side * 1_000)], instrument=BTC, costs=Costs(), margin=Margin("isolated", leverage=10.0),
        max_leverage=100.0,
    )  # fmt: skip
    assert hit.fills[-1] == (2, Role.LIQUIDATION, -side * 1_000, bankruptcy)
    fees = 50_000 * 5.5e-4 + bankruptcy * 5.5e-4
    assert hit.equity[-1] == pytest.approx(10_000.0 - 5_000.0 - fees, rel=1e-13)
    assert not hit.account.is_ruined
    assert hit.ledger.fills["slippage"][-1] == 0.0


@pytest.mark.parametrize("mode", ["isolated", "cross"])
@pytest.mark.parametrize(("side", "cost"), [(1, 5_052.25), (-1, 5_057.75)])
def test_an_order_costs_its_margin_and_both_fees(mode, side, cost):
    # 1 BTC at 50,000 and 10x: 5,000 + 27.50 to open + 27.50 (1 -+ 0.1) to close at bankruptcy.
    paid = entered(side * 1_000, 50_000.0, leverage=10.0, mode=mode, cash=cost)
    assert [fill[2] for fill in paid.fills][:1] == [side * 1_000]
    short = entered(side * 1_000, 50_000.0, leverage=10.0, mode=mode, cash=cost - 0.01)
    assert short.fates == [(Role.COMMAND, Status.REJECTED, Reason.INSUFFICIENT_MARGIN)]
    assert short.equity == [cost - 0.01] * 3


def tier_at(value, instrument=BTC):
    return next((tier for tier in instrument.terms[0].tiers if value <= tier.cap_quote), instrument.terms[0].tiers[-1])


GRID = [
    (side, leverage, value)
    for side in (1, -1)
    for leverage in (2.0, 5.0, 10.0, 16.0)
    for value in (1e6, 2e6, 2.1e6, 9.9e6, 10e6, 15e6, 30e6, 39e6, 70e6)
    if 1.0 / leverage >= tier_at(value).initial_frac
]


@pytest.mark.parametrize(("side", "leverage", "value"), GRID)
def test_margin_and_open_loss_are_the_maintenance_margin_at_an_isolated_level(side, leverage, value):
    lots = round(value / 50.0)
    found = entered(side * lots, 50_000.0, leverage=leverage)
    level, qty, entry = Fraction(found.account.liquidation_price), Fraction(lots, 1_000), Fraction(50_000)
    tier = tier_at(float(qty * level))
    # The fee to close at bankruptcy is part of both sides and cancels.
    left = qty * entry / Fraction(leverage) + side * qty * (level - entry)
    needed = qty * level * Fraction(str(tier.maintenance_frac)) - Fraction(tier.deduction_quote)
    assert float(left - needed) == pytest.approx(0.0, abs=1e-9 * value)


@pytest.mark.parametrize(("side", "leverage", "value"), GRID)
@pytest.mark.parametrize("share", [1.3, 3.0])
def test_equity_is_the_maintenance_margin_at_a_cross_level(side, leverage, value, share):
    lots, cash = round(value / 50.0), share * value / leverage
    found = entered(side * lots, 50_000.0, leverage=leverage, mode="cross", cash=cash)
    qty, entry, fee = Fraction(lots, 1_000), Fraction(50_000), Fraction(lots, 1_000) * 50_000 * TAKER
    level = found.account.liquidation_price
    if math.isnan(level):  # more cash than a long can lose
        assert side > 0
        assert Fraction(cash) - fee >= qty * entry
        return
    level = Fraction(level)
    tier = tier_at(float(qty * level))
    equity = Fraction(cash) - fee + side * qty * (level - entry)
    closing = qty * level * (1 - Fraction(side) / Fraction(leverage)) * TAKER
    needed = qty * level * Fraction(str(tier.maintenance_frac)) - Fraction(tier.deduction_quote) + closing
    assert float(equity - needed) == pytest.approx(0.0, abs=1e-9 * value)


def test_maintenance_has_no_jump_where_a_tier_ends():
    # 40 BTC: the first tier ends at a mark of 50,000.
    marks = [50_000.0, 50_000.0, 49_999.9, 50_000.0, 50_000.1]
    found = play(
        marks,
        [order(0, 40_000)],
        instrument=BTC,
        costs=FREE,
        cash=1e6,
        margin=Margin(leverage=10.0),
        max_leverage=100.0,
    )
    maintenance = found.ledger.rows["maintenance"]
    assert maintenance[3] == pytest.approx(2e6 * 0.005, rel=1e-14)
    assert maintenance[3] - maintenance[2] == pytest.approx(40 * 0.1 * 0.005, abs=1e-9)
    assert maintenance[4] - maintenance[3] == pytest.approx(40 * 0.1 * 0.01, abs=1e-9)


@settings(max_examples=60)
@given(st.integers(1, 90_000), st.sampled_from([1, -1]), st.sampled_from([3.0, 10.0]), st.floats(0.01, 0.3))
def test_the_isolated_level_moves_steadily_through_the_tiers(lots, side, leverage, more):
    # A larger position is liquidated no later: its maintenance fraction is no smaller.
    terms = replace(BTC.terms[0], tiers=margin_tiers([(1e6, 0.005, 0.01), (2e6, 0.05, 0.1), (9e6, 0.15, 0.3)]))
    instrument = replace(BTC, terms=(terms,))
    grown = int(lots * (1.0 + more)) + 1
    levels = [
        entered(side * size, 50_000.0, leverage=leverage, instrument=instrument).account.liquidation_price
        for size in (lots, grown)
    ]
    if not any(map(math.isnan, levels)) and max(lots, grown) * 50.0 <= (2e6 if leverage == 10.0 else 9e6):
        assert side * (levels[1] - levels[0]) >= -1e-6


# ---------------------------------------------------------------- leverage and tiers
def test_a_position_above_its_tier_needs_less_leverage():
    # SOL: 50x up to 500,000, 25x up to 2,000,000.
    for lots, reason in ((50_000, Reason.NONE), (50_001, Reason.ABOVE_TIER_LEVERAGE)):
        found = play(
            [100.0] * 3, [order(0, lots)], cash=1e6, margin=Margin(leverage=50.0), max_leverage=50.0
        )  # fmt: skip
        assert found.fates[0][2] == reason
    lower = play([100.0] * 3, [order(0, 50_001)], cash=1e6, margin=Margin(leverage=25.0), max_leverage=50.0)
    assert lower.lots[-1] == 50_001


def test_a_position_beyond_the_last_tier_is_refused():
    instrument = linear(max_qty=1e6)
    for lots, reason in ((2_000_000, Reason.NONE), (2_000_001, Reason.ABOVE_RISK_LIMIT)):  # 20 million
        found = play(
            [100.0] * 3,
            [order(0, lots)],
            cash=1e8,
            margin=Margin(leverage=5.0),
            max_leverage=50.0,
            instrument=instrument,
        )
        assert found.fates[0][2] == reason


def test_without_a_leverage_the_largest_of_the_tier_holds():
    # 600,000 is in the tier of 25x and 2 %, D = 5,000: level (60,000 * 10 * (1 - 1/25) - 5,000) / (6,000 * 0.98).
    found = play([100.0] * 3, [order(0, 60_000)], cash=1e6, margin=Margin("isolated"), max_leverage=50.0)
    assert found.account.liquidation_price == pytest.approx((600_000 * 0.96 - 5_000) / (6_000 * 0.98), rel=1e-14)
    small = play([100.0] * 3, [order(0, 1_000)], cash=1e6, margin=Margin("isolated"), max_leverage=50.0)
    assert small.account.liquidation_price == pytest.approx(100.0 * 0.98 / 0.99, rel=1e-14)


def test_a_target_beyond_its_margin_is_refused_whole_at_the_open():
    # 8x at a leverage of 10 fits at 100 and no more at 140: 11,200 / 10 = 1,120.
    found = play(
        [100.0, 140.0, 140.0], target={0: 8.0}, cash=1_000.0, margin=Margin(leverage=10.0), max_leverage=10.0
    )  # fmt: skip
    assert found.fates == [(Role.TARGET, Status.REJECTED, Reason.INSUFFICIENT_MARGIN)]


def test_growing_an_isolated_position_needs_margin_on_its_average_entry():
    # 1 BTC at 50,000, then 1 at 52,000: 2 * 51,000 / 10 + 52,000 * 5.5 bps * 1.9; 27.50 went for the first fee.
    needed = 2 * 51_000 / 10 + 52_000 * 5.5e-4 * 1.9 + 27.5
    for cash, lots in ((needed + 1e-6, 2_000), (needed - 0.01, 1_000)):
        found = play(
            [50_000.0, 50_000.0, 52_000.0, 52_000.0], [order(0, 1_000), order(1, 1_000)], instrument=BTC, costs=Costs(),
            cash=cash, margin=Margin("isolated", leverage=10.0), max_leverage=100.0,
        )  # fmt: skip
        assert found.lots[-1] == lots
    assert found.refusals == [Reason.INSUFFICIENT_MARGIN]


def test_open_profit_pays_for_more_in_cross_and_not_in_isolated_margin():
    # 10 SOL from 100 to 200 at 2x: the wallet holds 600, equity 1,600; 5 SOL more make 15 * 200 / 2 = 1,500 in cross.
    for mode, lots in (("cross", 150), ("isolated", 100)):
        found = play(
            [100.0, 100.0, 200.0, 200.0], [order(0, 100), order(1, 50)], cash=600.0, margin=Margin(mode, leverage=2.0),
            max_leverage=2.0,
        )  # fmt: skip
        assert found.lots[-1] == lots


def test_a_fill_that_only_reduces_always_passes_and_a_flip_is_checked():
    # The wallet has become too small for anything: 100 -> 90.95 leaves 95 of 1,000, above the maintenance margin of 91.
    bars = [100.0, 100.0, 90.95, 90.95, 90.95]
    shrinks = play(bars, [order(0, 1_000), order(2, -400)], cash=1_000.0, max_leverage=10.0)
    assert shrinks.lots == [0, 1_000, 1_000, 600, 600]
    flips = play(
        bars, [order(0, 1_000), order(2, -1_900)], cash=1_000.0, max_leverage=10.0, margin=Margin(leverage=10.0)
    )
    assert flips.lots == [0, 1_000, 1_000, 1_000, 1_000]  # 900 short ask for 818.55, equity is 95
    assert flips.refusals == [Reason.INSUFFICIENT_MARGIN]


def test_what_a_fill_loses_by_its_price_is_part_of_its_cost_in_cross_margin():
    # 100 SOL at 100 and 10x: 1,000 margin; 1 % of slippage takes 100 more from the equity, and margin on 101.
    costs = Costs(taker_fee_bps=0.0, slippage_bps=100.0)
    for cash, lots in ((1_110.0, 1_000), (1_109.99, 0)):
        found = play(
            [100.0] * 3, [order(0, 1_000)], cash=cash, costs=costs, margin=Margin(leverage=10.0), max_leverage=10.0
        )
        assert found.lots[-1] == lots


# ---------------------------------------------------------------- liquidation
def test_a_cross_account_is_liquidated_at_its_maintenance_margin_and_loses_everything():
    # 100 SOL at 100 with 1,000: fee 5.50, W = 994.50, L = 50, m = 1 %.
    level = (10_000 - 994.5) / (100 * (1 - 0.01 - (1 - 1 / 50) * 5.5e-4))
    near = math.ceil(level * 100) / 100  # a tick above it: nothing happens
    orders = [order(0, 1_000), order(1, 10, 50.0, tag=7), order(3, 10)]
    lives = play(
        [100.0, 100.0, (100.0, 100.0, near, near), near, near],
        orders[:2],
        cash=1_000.0,
        costs=Costs(),
        max_leverage=10.0,
    )
    assert lives.account.liquidation_price == pytest.approx(level, rel=1e-14)
    assert lives.lots[-1] == 1_000
    bars = [100.0, 100.0, (100.0, 100.0, near - 0.01, 100.0), 100.0, 100.0]
    found = play(bars, orders, cash=1_000.0, costs=Costs(), max_leverage=10.0)
    # Bankruptcy (10,000 - 994.50) / (100 (1 - 5.5 bps)) = 90.1046, up to the tick; what is left is the fee.
    assert found.fills[-1] == (2, Role.LIQUIDATION, -1_000, 90.11)
    assert found.ledger.fills["fee"][-1] == pytest.approx(994.5 - 100 * 9.89, abs=1e-9)
    assert found.equity[2:] == [0.0, 0.0, 0.0]
    assert found.account.is_ruined
    assert found.fates == [
        (Role.COMMAND, Status.FILLED, Reason.NONE),
        (Role.LIQUIDATION, Status.FILLED, Reason.LIQUIDATION),
        (Role.COMMAND, Status.REJECTED, Reason.RUINED),  # what was open
        (Role.COMMAND, Status.REJECTED, Reason.RUINED),  # what is asked for later
    ]
    assert found.ledger.orders["done_ts"][2] == times(3)[2]


def test_a_short_is_liquidated_upwards():
    # (10,000 + 994.50) / (100 (1 + 0.01 + 1.02 * 5.5 bps)) = 108.7961; bankrupt at (10,994.50) / (100.055) = 109.8845.
    found = play(
        [100.0, 100.0, (100.0, 108.8, 100.0, 100.0)], [order(0, -1_000)], cash=1_000.0, costs=Costs(), max_leverage=10.0
    )
    assert found.fills[-1] == (2, Role.LIQUIDATION, 1_000, 109.88)
    below = play(
        [100.0, 100.0, (100.0, 108.79, 100.0, 100.0)],
        [order(0, -1_000)],
        cash=1_000.0,
        costs=Costs(),
        max_leverage=10.0,
    )
    assert below.lots[-1] == -1_000


def test_the_mark_liquidates_and_the_traded_price_does_not():
    orders, margin = [order(0, 1_000)], Margin("isolated", leverage=10.0)  # level 90 / 0.99 = 90.909
    dip = [100.0, 100.0, (100.0, 100.0, 80.0, 100.0)]
    steady = {"mark": [100.0] * 3} | {name: [100.0] * 3 for name in ("mark_high", "mark_low", "mark_close")}
    assert play(dip, orders, margin=margin, max_leverage=10.0, **steady).lots == [0, 1_000, 1_000]
    calm = [100.0, 100.0, 100.0]
    marks = {"mark": [100.0] * 3, "mark_high": [100.0] * 3, "mark_low": [100.0, 100.0, 90.9], "mark_close": [100.0] * 3}
    found = play(calm, orders, margin=margin, max_leverage=10.0, **marks)
    assert found.fills[-1] == (2, Role.LIQUIDATION, -1_000, 90.0)  # bankruptcy, although nobody traded below 100
    # Without a path of its own the mark keeps its distance: 1 below the trade, 90.909 is met at 91.909.
    for low, lots in ((91.92, 1_000), (91.9, 0)):
        bars = [100.0, 100.0, (100.0, 100.0, low, 100.0)]
        assert play(bars, orders, margin=margin, max_leverage=10.0, mark=[99.0] * 3).lots[-1] == lots


def test_an_isolated_position_that_a_jump_leaps_over_loses_its_margin_and_no_more():
    found = play(
        [100.0, 100.0, 40.0, 100.0], [order(0, 1_000)], margin=Margin("isolated", leverage=10.0), max_leverage=10.0
    )
    assert found.fills[-1] == (2, Role.LIQUIDATION, -1_000, 90.0)
    assert found.equity[-1] == 9_000.0
    assert not found.account.is_ruined


def test_a_liquidation_is_no_place_to_enter_again():
    found = play(
        [100.0, 100.0, 80.0, 80.0, 80.0, 80.0, 80.0], target=[5.0, NAN, 4.0, -1.0, NAN, 4.0, NAN],
        margin=Margin("isolated", leverage=10.0), max_leverage=10.0,
    )  # fmt: skip
    # 4.0 has the side that was liquidated; -1.0 lifts the bar: 5,000 of equity, 625 lots; then 4.0 is taken again.
    assert [role for _, role, _, _ in found.fills] == [Role.TARGET, Role.LIQUIDATION, Role.TARGET, Role.TARGET]
    assert found.lots == [0, 5_000, 0, 0, -625, -625, 2_500]


def test_an_order_of_its_own_may_be_under_way_while_a_position_is_liquidated():
    # Reduce-only orders at the venue end with the position; a limit that would open one stays.
    orders = [order(0, 1_000), order(0, -500, 120.0, reduce_only=True), order(0, 50, 60.0)]
    found = play([100.0, 100.0, 85.0, 55.0], orders, margin=Margin("isolated", leverage=10.0), max_leverage=10.0)
    assert found.fates[1:3] == [
        (Role.LIQUIDATION, Status.FILLED, Reason.LIQUIDATION),
        (Role.COMMAND, Status.CANCELLED, Reason.NOTHING_TO_REDUCE),
    ]
    assert found.fills[-1] == (3, Role.COMMAND, 50, 60.0)


def test_the_liquidation_fee_may_be_another():
    margin = Margin("isolated", leverage=10.0, liquidation_fee_bps=50.0)
    found = play([100.0, 100.0, 85.0], [order(0, 1_000)], margin=margin, max_leverage=10.0)
    assert found.ledger.fills["fee"].tolist() == [0.0, pytest.approx(100 * 90.0 * 50e-4, rel=1e-14)]


def test_funding_moves_the_cross_level():
    # 1 % of 10,000 paid: W 900 instead of 1,000.
    found = play([100.0] * 4, [order(0, 1_000)], cash=1_000.0, max_leverage=10.0, funding_rate={2: 0.01})
    assert found.account.liquidation_price == pytest.approx((10_000 - 900) / 99.0, rel=1e-14)
    # So much that it is liquidated there and then, at the bankruptcy price: (10,000 - 50) / 100.
    broke = play([100.0] * 4, [order(0, 1_000)], cash=1_000.0, max_leverage=10.0, funding_rate={2: 0.095})
    assert broke.fills[-1] == (2, Role.LIQUIDATION, -1_000, 99.5)
    assert broke.equity[-1] == 0.0


def test_a_long_with_enough_cash_cannot_be_liquidated():
    found = play([100.0, 100.0, 0.01, 100.0], target={0: 0.9})
    assert math.isnan(found.account.liquidation_price)
    assert found.lots[-1] == 900


def test_new_tiers_move_the_level_at_their_date():
    first = SOL.terms[0]
    steps = margin_tiers([(20e6, 0.05, 0.1)])
    dated = replace(
        SOL,
        terms=(replace(first, from_ns=0), replace(first, from_ns=times(3)[2].item(), tiers=steps, max_leverage=10.0)),
    )
    bars = [100.0, 100.0, 100.0, (100.0, 100.0, 93.0, 93.0)]
    before = play(bars, [order(0, 1_000)], cash=1_000.0, max_leverage=10.0)
    assert before.lots[-1] == 1_000
    after = play(bars, [order(0, 1_000)], cash=1_000.0, max_leverage=10.0, instrument=dated)
    assert after.fills[-1][1] == Role.LIQUIDATION  # 9,000 / 95 = 94.74
    assert after.account.is_ruined


def test_a_new_fee_moves_the_level_at_its_date():
    # The fee to close is part of the maintenance margin: from 5.5 to 90 bps it moves the level from 90.00 to 90.76.
    costs = Costs(fee_schedule=((times(3)[2].item(), 90.0, 0.0),))
    level = (10_000 - 1_094.5) / (100 * (1 - 0.01 - (1 - 1 / 50) * 90e-4))
    for low, lots in ((level + 0.01, 1_000), (level - 0.01, 0)):
        price = round(low, 2)
        bars = [100.0, 100.0, 100.0, (100.0, 100.0, price, price)]
        found = play(bars, [order(0, 1_000)], cash=1_100.0, costs=costs, max_leverage=10.0)
        assert found.lots[-1] == lots


# ---------------------------------------------------------------- several legs
def two_legs(first, second, orders, *, instruments=(SOL, SOL), margin=Margin(), cash=1_000.0, costs=FREE, **columns):  # noqa: B008
    """Push two legs of (open, high, low, close) bars or single prices."""
    legs = [np.array([b if isinstance(b, tuple) else (b,) * 4 for b in bars], float).T for bars in (first, second)]
    prices = dict(zip(("open", "high", "low", "close"), np.stack(legs, axis=1), strict=True))
    portfolio = Portfolio(instruments, costs, cash, 0, 50.0, MINUTE, margin=margin, limits=Limits())
    ledger = portfolio.push(times(len(first)), prices | columns, commands=commands_array(orders))
    return portfolio, ledger


def test_cross_margined_legs_live_and_die_together():
    # 50 + 50 SOL at 100 with 1,000. At 91 and 91: equity 100, maintenance 91. At 90.9: 90 against 90.90.
    orders = [order(0, 500), order(0, 500, leg=1)]
    for low, dies in ((91.0, False), (90.9, True)):
        bars = [100.0, 100.0, (100.0, 100.0, low, 100.0), 100.0]
        portfolio, ledger = two_legs(bars, bars, orders)
        assert portfolio.is_ruined == dies
        if not dies:
            assert ledger.rows["equity"].tolist() == [1_000.0] * 4
            continue
        # Sold at the extreme of the bar; what was left is forfeited with the last fill.
        assert ledger.fills["price"].tolist() == [100.0, 100.0, 90.9, 90.9]
        assert ledger.fills["fee"].tolist() == [0.0, 0.0, 0.0, pytest.approx(90.0, abs=1e-9)]
        assert ledger.rows["equity"].tolist() == [1_000.0, 1_000.0, 0.0, 0.0]
        assert ledger.orders["reason"].tolist()[-2:] == [Reason.LIQUIDATION] * 2
    # One falls while the other stands: 50 * 15 are lost, 250 against 92.50.
    portfolio, _ = two_legs([100.0, 100.0, 85.0], [100.0] * 3, orders)
    assert not portfolio.is_ruined


def test_the_fee_to_close_is_part_of_the_maintenance_margin_of_several_legs():
    # W = 1,000 - 2 * 2.75; 994.50 + 100 (p - 100) meets 100 p (0.01 + 0.98 * 5.5 bps) at 9,005.50 / 98.9461 = 91.0142.
    orders = [order(0, 500), order(0, 500, leg=1)]
    for low, dies in ((91.02, False), (91.01, True)):
        bars = [100.0, 100.0, (100.0, 100.0, low, 100.0)]
        portfolio, ledger = two_legs(bars, bars, orders, costs=Costs())
        assert portfolio.is_ruined == dies
    assert ledger.rows["maintenance"][1] == pytest.approx(10_000 * (0.01 + 0.98 * 5.5e-4), rel=1e-14)
    short = play([100.0, 100.0, 120.0], [order(0, -100)], costs=Costs(), margin=Margin(leverage=5.0))
    assert short.ledger.rows["maintenance"][2] == pytest.approx(1_200 * (0.01 + 1.2 * 5.5e-4), rel=1e-14)


def test_a_cross_account_that_a_jump_leaves_without_margin_shows_its_debt():
    # 50 + 50 SOL at 100 with 1,000; both open at 80. No margin is left to take, and 1,000 are owed.
    portfolio, ledger = two_legs([100.0, 100.0, 80.0], [100.0, 100.0, 80.0], [order(0, 500), order(0, 500, leg=1)])
    assert ledger.fills["price"].tolist() == [100.0, 100.0, 80.0, 80.0]
    assert ledger.rows["equity"].tolist() == [1_000.0, 1_000.0, -1_000.0]
    assert (ledger.fills["fee"] >= 0.0).all()
    assert portfolio.is_ruined


def test_a_hedged_cross_account_is_not_liquidated_by_a_move_of_both():
    orders = [order(0, 500), order(0, -500, leg=1)]
    bars = [100.0, 100.0, (100.0, 150.0, 60.0, 60.0)]
    portfolio, ledger = two_legs(bars, bars, orders)
    assert ledger.rows["equity"].tolist() == [1_000.0] * 3
    assert portfolio.lots.tolist() == [500, -500]


def test_isolated_legs_die_one_by_one():
    orders = [order(0, 500), order(0, 500, leg=1)]
    portfolio, ledger = two_legs(
        [100.0, 100.0, 85.0, 85.0],
        [100.0, 100.0, 100.0, 85.0],
        orders,
        margin=Margin("isolated", leverage=10.0),
        cash=2_000.0,
    )
    assert [(int(f["leg"]), int(f["bar"]), float(f["price"])) for f in ledger.fills[2:]] == [(0, 2, 90.0), (1, 3, 90.0)]
    assert ledger.rows["equity"].tolist() == [2_000.0, 2_000.0, 1_500.0, 1_000.0]
    assert not portfolio.is_ruined


def test_coins_count_for_their_share_as_margin():
    # 50 of 100 SOL spot for 5,000; at half its value: 7,500 stand behind a short of 75,000 at 10x.
    instruments, margin = (spot(), linear()), Margin(leverage=10.0, collateral_frac=0.5)
    for lots, held in ((-7_500, -7_500), (-7_501, 0)):
        portfolio, ledger = two_legs(
            [100.0] * 4, [100.0] * 4, [order(0, 500), order(1, lots, leg=1)], instruments=instruments, margin=margin,
            cash=10_000.0,
        )  # fmt: skip
        assert portfolio.lots.tolist() == [500, held]
    assert ledger.orders["reason"].tolist() == [Reason.NONE, Reason.INSUFFICIENT_MARGIN]


# ---------------------------------------------------------------- borrowed spot
BORROW = Margin(borrow=True, spot_leverage=3.0)


def test_spot_may_be_bought_on_credit_up_to_its_leverage():
    for lots, bought in ((300, 300), (301, 0)):  # 3,000 of 1,000: debts of 2,000 are twice the equity
        found = play([100.0] * 3, [order(0, lots)], instrument=spot(), cash=1_000.0, margin=BORROW)
        assert found.lots[-1] == bought
    assert found.refusals == [Reason.INSUFFICIENT_MARGIN]
    for lots, sold in ((-200, -200), (-201, 0)):  # short: the coins are the debt
        found = play([100.0] * 3, [order(0, lots)], instrument=spot(), cash=1_000.0, margin=BORROW)
        assert found.lots[-1] == sold


def test_borrowed_cash_and_coins_cost_interest_at_full_hours():
    margin = replace(BORROW, quote_rate_hourly=1e-4, base_rate_hourly={"SOLUSDT": 2e-4})
    opens = {"instrument": spot(), "cash": 1_000.0, "margin": margin, "step_ns": 30 * MINUTE}
    found = play([100.0] * 6, [order(0, 200)], **opens)  # bars at 0:00, 0:30 (bought), 1:00, 1:30, 2:00, 2:30
    owed = 1_000.0
    assert found.ledger.rows["interest"].tolist() == pytest.approx([0, 0, 0.1, 0, (owed + 0.1) * 1e-4, 0], rel=1e-12)
    assert found.equity[-1] == pytest.approx(1_000.0 - 0.1 - (owed + 0.1) * 1e-4, rel=1e-14)
    short = play([100.0, 100.0, 120.0, 120.0], [order(0, -100)], **opens)  # at the price of the open
    assert short.ledger.rows["interest"].tolist() == [0, 0, pytest.approx(10 * 120 * 2e-4, rel=1e-14), 0]
    hourly = play([100.0] * 3, [order(0, 200)], **(opens | {"step_ns": HOUR}))
    assert hourly.ledger.rows["interest"].tolist() == [0.0, 0.0, pytest.approx(0.1, rel=1e-14)]


@pytest.mark.parametrize("minutes", [5, 30, 60, 240, 480])
def test_a_loan_costs_the_same_on_bars_of_every_length(minutes):
    # Bought at 8:00, 1,000 owed at 1e-4 an hour until 48:00: 40 hours, compounded as often as there are bars.
    step, margin = minutes * MINUTE, replace(BORROW, quote_rate_hourly=1e-4)
    n = 48 * HOUR // step + 1
    at_eight = 8 * HOUR // step
    found = play([100.0] * n, [order(at_eight - 1, 200)], instrument=spot(), cash=1_000.0, margin=margin, step_ns=step)
    paid = found.ledger.rows["interest"].sum()
    assert paid >= 40 * 0.1 - 1e-9
    assert paid <= 1_000 * ((1 + 1e-4) ** 40 - 1) + 1e-9


def test_debts_near_the_assets_sell_everything_and_the_account_goes_on():
    # 20 SOL for 2,000, 1,000 owed: 1,000 >= 0.97 * 20 p at p <= 51.546.
    opens = {"instrument": spot(), "cash": 1_000.0, "margin": BORROW}
    lives = play([100.0, 100.0, (100.0, 100.0, 51.55, 60.0)], [order(0, 200)], **opens)
    assert lives.lots[-1] == 200
    bars = [100.0, 100.0, (100.0, 100.0, 51.5, 60.0), 60.0, 60.0]
    found = play(bars, [order(0, 200), order(3, 1)], **opens)
    assert found.fills[1:] == [(2, Role.LIQUIDATION, -200, 51.5), (4, Role.COMMAND, 1, 60.0)]
    assert found.equity[2:] == pytest.approx([30.0] * 3, abs=1e-9)
    assert not found.account.is_ruined


def test_debts_that_a_jump_leaves_uncovered_are_shown():
    found = play(
        [100.0, 100.0, 45.0, 45.0], [order(0, 200), order(2, 1)], instrument=spot(), cash=1_000.0, margin=BORROW
    )
    assert found.fills[1:] == [(2, Role.LIQUIDATION, -200, 45.0)]
    assert found.equity[2:] == [-100.0, -100.0]
    assert found.account.is_ruined
    assert found.fates[-1] == (Role.COMMAND, Status.REJECTED, Reason.RUINED)


def test_a_short_sale_of_borrowed_coins_is_called_in_upwards():
    # 10 SOL sold for 1,000: 2,000 in cash; 10 p >= 0.97 * 2,000 at p >= 194.
    found = play(
        [100.0, 100.0, (100.0, 194.0, 100.0, 100.0)], [order(0, -100)], instrument=spot(), cash=1_000.0, margin=BORROW
    )
    assert found.fills[-1] == (2, Role.LIQUIDATION, 100, 194.0)
    assert found.equity[-1] == pytest.approx(60.0, abs=1e-9)


@pytest.mark.parametrize("mode", ["cross", "isolated"])
@pytest.mark.parametrize(("leverage", "close"), [(2.0, 51.0), (2.0, 53.0), (3.0, 70.0)])
def test_a_perpetual_in_a_borrowing_account_does_not_depend_on_what_else_happens_in_its_bar(mode, leverage, close):
    bars = [100.0, 100.0, 100.0, (100.0, 100.0, close, close), close, close]
    margin = Margin(mode, leverage=leverage, borrow=True)
    opens = {"cash": 10_000.0 / leverage + 1.0, "margin": margin, "max_leverage": 10.0}
    alone = play(bars, [order(0, 1_000)], **opens)
    accompanied = play(bars, [order(0, 1_000), cancel(2, 9), cancel(3, 9)], **opens)
    assert accompanied.ledger.rows.tobytes() == alone.ledger.rows.tobytes()


# ---------------------------------------------------------------- settings
@pytest.mark.parametrize(
    ("setting", "subject"),
    [
        ({"mode": "portfolio"}, "margin.mode"),
        ({"leverage": 0.5}, "margin.leverage"),
        ({"leverage": math.inf}, "margin.leverage"),
        ({"liquidation_fee_bps": -1.0}, "margin.liquidation_fee_bps"),
        ({"borrow": 1}, "margin.borrow"),
        ({"spot_leverage": 2.0}, "margin.spot_leverage"),  # without borrow
        ({"spot_leverage": 0.5, "borrow": True}, "margin.spot_leverage"),
        ({"debt_ratio": 0.0}, "margin.debt_ratio"),
        ({"debt_ratio": 1.5}, "margin.debt_ratio"),
        ({"quote_rate_hourly": -1e-4}, "margin.quote_rate_hourly"),
        ({"base_rate_hourly": {"SOLUSDT": math.nan}}, "margin.base_rate_hourly.SOLUSDT"),
        ({"collateral_frac": 1.1}, "margin.collateral_frac"),
    ],
)
def test_impossible_margins_are_refused_by_name(setting, subject):
    with pytest.raises(InvalidInput) as caught:
        Margin(**setting)
    assert caught.value.subject == subject


def test_leverage_beyond_the_first_tier_is_refused_by_name():
    with pytest.raises(InvalidInput, match=r"margin\.leverage must not exceed the 50 that the first tier of SOLUSDT"):
        Account(SOL, margin=Margin(leverage=51.0))
    with pytest.raises(InvalidInput, match=r"account\.max_leverage must not exceed the 50"):
        Account(SOL, max_leverage=51.0)
    with pytest.raises(InvalidInput, match="at most 3 on a spot market"):
        Account(spot(), max_leverage=3.5, margin=BORROW)
    assert Account(spot(), max_leverage=3.0, margin=BORROW).margin == BORROW
