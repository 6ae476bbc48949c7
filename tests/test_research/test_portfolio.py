"""Several legs on one wallet by worked examples: sizes, exposure limits, spot and perpetual as a pair, bad input."""

import math
from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import polars as pl
import pytest

from research.backtest import Leg, simulate_portfolio
from research.errors import FingerprintMismatch, InvalidInput, MisalignedBars
from research.execution import Costs, Limits, Margin, Portfolio, Reason, Role, Status
from research.market.bars import TS
from research.risk.exits import Exits
from tests.test_research.account_cases import (
    FREE,
    MINUTE,
    NAN,
    START,
    linear,
    spot,
    times,
)

SOL, AVAX, COIN = linear(), linear("AVAXUSDT", tick=0.01), spot()
FILLED, REJECTED = Status.FILLED, Status.REJECTED


def push(
    instruments, legs, targets=None, orders=(), *, cash=10_000.0, costs=FREE, max_leverage=5.0, rates=None, **settings
):
    """Push legs of (open, high, low, close) bars or single prices; ``targets`` maps (leg, bar) to a target."""
    quotes = np.array([[bar if isinstance(bar, tuple) else (bar,) * 4 for bar in bars] for bars in legs], float)
    n = quotes.shape[1]
    columns = dict(zip(("open", "high", "low", "close"), np.moveaxis(quotes, 2, 0), strict=True))
    columns["target"], columns["funding_rate"] = np.full((len(legs), n), NAN), np.zeros((len(legs), n))
    for (leg, bar), target in (targets or {}).items():
        columns["target"][leg, bar] = target
    for (leg, bar), rate in (rates or {}).items():
        columns["funding_rate"][leg, bar] = rate
    portfolio = Portfolio(instruments, costs, cash, settings.pop("latency", 0), max_leverage, MINUTE, **settings)
    ledger = portfolio.push(times(n), columns)
    return portfolio, ledger


def fates(ledger):
    return [(int(o["leg"]), Status(o["status"]), Reason(o["reason"])) for o in ledger.orders]


# ---------------------------------------------------------------- one wallet
def test_legs_share_wallet_and_equity():
    legs = [[100, 100, 110, 110, 110], [50, 50, 45, 45, 45]]
    portfolio, ledger = push((SOL, AVAX), legs, {(0, 0): 1.0, (1, 0): -0.5, (1, 2): 0.5})
    # 100 SOL and -100 AVAX of 10,000; at 110 and 45: 10,000 + 1,000 + 500; half of 11,500 at 45 are 127.7 AVAX.
    assert ledger.held.tolist() == [[0, 1_000, 1_000, 1_000, 1_000], [0, -1_000, -1_000, 1_277, 1_277]]
    assert ledger.rows["equity"].tolist() == [10_000.0, 10_000.0, 11_500.0, 11_500.0, 11_500.0]
    assert ledger.rows["position_lots"].tolist() == ledger.held[0].tolist()
    assert portfolio.entry_prices.tolist() == [100.0, 45.0]


def test_coins_and_perpetuals_share_the_cash():
    # 50 SOL spot for 5,000 of cash; the perpetual moves the wallet by its profit only.
    legs = [[100, 100, 120, 120], [100, 100, 120, 120]]
    _, ledger = push((COIN, SOL), legs, {(0, 0): 0.5, (1, 0): 0.5, (1, 2): 0.0})
    assert ledger.rows["wallet"].tolist() == [10_000.0, 5_000.0, 5_000.0, 6_000.0]
    assert ledger.rows["equity"].tolist() == [10_000.0, 10_000.0, 12_000.0, 12_000.0]


def test_a_gap_of_one_leg_stops_that_leg_alone():
    gap = (NAN, NAN, NAN, NAN)
    legs = [[100, gap, gap, 104, 104], [50, 50, 60, 60, 60]]
    _, ledger = push((SOL, AVAX), legs, {(0, 0): 0.5, (1, 0): 0.5})
    assert ledger.held.tolist() == [[0, 0, 0, 500, 500], [0, 1_000, 1_000, 1_000, 1_000]]
    assert ledger.fills["price"].tolist() == [50.0, 104.0]
    _, held = push((SOL, AVAX), [[100, 100, gap, 110], [50, 50, 60, 60]], {(0, 0): 0.5, (1, 0): 0.5})
    assert held.rows["equity"].tolist() == [10_000.0, 10_000.0, 11_000.0, 11_500.0]  # 100 until it is known again


def test_each_leg_has_its_own_costs_and_exits():
    costs = (FREE, Costs(taker_fee_bps=10.0))
    exits = (Exits(stop_distance=0.05), None)
    legs = [[100, 100, (100, 100, 94, 94)], [50, 50, (50, 50, 47, 47)]]
    _, ledger = push((SOL, AVAX), legs, {(0, 0): 0.5, (1, 0): 0.5}, costs=costs, exits=exits)
    assert ledger.fills["fee"].tolist() == [0.0, pytest.approx(5.0, rel=1e-12), 0.0]
    assert [(int(f["leg"]), Role(f["role"])) for f in ledger.fills] == [
        (0, Role.TARGET),
        (1, Role.TARGET),
        (0, Role.STOP),
    ]


# ---------------------------------------------------------------- exposure limits
@pytest.mark.parametrize(
    ("limits", "held"),
    [
        (Limits(), (1_000, 1_000)),
        (Limits(max_leg=0.8), (800, 800)),
        (Limits(max_gross=1.5), (1_000, 500)),  # the first leg first
        (Limits(max_net=1.2), (1_000, 200)),
        (Limits(max_gross=1.5, max_net=1.2, max_leg=0.9), (900, 300)),
    ],
)
def test_targets_are_cut_to_what_the_limits_leave(limits, held):
    _, ledger = push((SOL, SOL), [[100] * 3] * 2, {(0, 0): 1.0, (1, 0): 1.0}, limits=limits)
    assert ledger.held[:, -1].tolist() == list(held)
    reasons = [Reason.NONE if lots == 1_000 else Reason.EXPOSURE_LIMIT for lots in held]
    assert fates(ledger) == [(0, FILLED, reasons[0]), (1, FILLED, reasons[1])]


def test_opposite_legs_net_and_a_limit_that_leaves_nothing_is_said():
    _, ledger = push((SOL, SOL), [[100] * 3] * 2, {(0, 0): 1.0, (1, 0): -1.0}, limits=Limits(max_net=0.5))
    assert ledger.held[:, -1].tolist() == [500, -1_000]  # 0.5 net first; then down to -0.5
    _, none = push((SOL, SOL), [[100] * 4] * 2, {(0, 0): 1.0, (1, 1): 1.0}, limits=Limits(max_gross=1.0))
    assert fates(none) == [(0, FILLED, Reason.NONE), (1, REJECTED, Reason.EXPOSURE_LIMIT)]


def test_a_limit_never_sells_what_is_held():
    # 200 SOL at 75 are three times the 5,000 left: a limit of 2 lets a target of 4 add nothing, and takes nothing.
    legs = [[100, 100, 75, 75], [100] * 4]
    _, ledger = push((SOL, SOL), legs, {(0, 0): 2.0, (0, 2): 4.0}, limits=Limits(max_leg=2.0))
    assert ledger.held[0].tolist() == [0, 2_000, 2_000, 2_000]
    assert fates(ledger)[-1] == (0, REJECTED, Reason.EXPOSURE_LIMIT)
    _, lower = push((SOL, SOL), legs, {(0, 0): 2.0, (0, 2): 1.5}, limits=Limits(max_leg=2.0))
    assert lower.held[0].tolist() == [0, 2_000, 2_000, 1_000]  # what the target itself asks for is sold


@pytest.mark.parametrize(
    ("limits", "lots"),
    [
        (Limits(max_leg=0.5), 500),
        (Limits(max_gross=1.0), 500),  # both legs count
        (Limits(max_net=0.1), 900),  # they offset each other
    ],
)
def test_a_pair_is_cut_on_both_sides_alike(limits, lots):
    portfolio, _ = push((COIN, SOL), [[100] * 3] * 2, {(0, 0): 0.9}, pairs=[(0, 1)], limits=limits)
    assert portfolio.lots.tolist() == [lots, -lots]


@pytest.mark.parametrize(("target", "lots"), [(0.9, 500), (-0.9, -900)])
def test_the_basis_of_a_pair_is_its_net_exposure(target, lots):
    # A coin at 100 against a perpetual at 60: 40 net for each unit, on top of 800 in a third leg. 2,800 less 800 are 50
    # units; the other way round the pair takes from what is held, and 90 units leave it at -2,800.
    legs = [[100] * 4, [60] * 4, [100] * 4]
    margin = Margin("cross", borrow=True, spot_leverage=3.0)
    portfolio, _ = push(
        (COIN, SOL, SOL),
        legs,
        {(2, 0): 0.08, (0, 1): target},
        pairs=[(0, 1)],
        limits=Limits(max_net=0.28),
        margin=margin,
    )
    assert portfolio.lots.tolist() == [lots, -lots, 80]


# ---------------------------------------------------------------- pairs
def test_a_pair_earns_funding_and_basis_and_no_move_of_the_price():
    # 50 SOL at 100.00 against 50 at 100.50; a rate of 1 bp on 101; both rise by 20, the basis falls from 0.50 to 0.40.
    legs = [[100, 100, 100.5, 120], [100.5, 100.5, 101, 120.4]]
    portfolio, ledger = push((COIN, SOL), legs, {(0, 0): 0.5}, pairs=[(0, 1)], rates={(1, 2): 1e-4})
    assert ledger.held.tolist() == [[0, 500, 500, 500], [0, -500, -500, -500]]
    assert ledger.rows["funding"].tolist() == [0.0, 0.0, pytest.approx(50 * 101 * 1e-4, rel=1e-12), 0.0]
    assert ledger.rows["equity"][-1] == pytest.approx(10_000 + 0.505 + 50 * 0.1, rel=1e-14)
    assert portfolio.qty.tolist() == [50.0, -50.0]


def test_a_pair_trades_the_same_quantity_in_whole_lots_of_both():
    coin = spot(qty_step=0.001, min_qty=0.001)
    _, ledger = push((coin, SOL), [[99.7] * 4, [99.7] * 4], {(0, 0): 0.5, (0, 2): 0.0}, pairs=[(0, 1)])
    # 5,000 / 99.7 = 50.150 coins; the perpetual has lots of 0.1.
    assert ledger.held.tolist() == [[0, 50_100, 50_100, 0], [0, -501, -501, 0]]
    assert ledger.fills["qty"].tolist() == [50.1, -50.1, -50.1, 50.1]


def test_a_pair_is_refused_together():
    coin = spot(min_notional_quote=600.0)
    _, ledger = push((coin, SOL), [[100] * 3] * 2, {(0, 0): 0.05}, pairs=[(0, 1)])
    assert fates(ledger) == [(0, REJECTED, Reason.BELOW_MIN_NOTIONAL), (1, REJECTED, Reason.BELOW_MIN_NOTIONAL)]
    large = linear(max_qty=40.0)
    _, ledger = push((COIN, large), [[100] * 3] * 2, {(0, 0): 0.5}, pairs=[(0, 1)])
    assert fates(ledger) == [(0, REJECTED, Reason.ABOVE_MAX_QTY), (1, REJECTED, Reason.ABOVE_MAX_QTY)]


def test_a_pair_is_filled_together_or_not_at_all():
    gap = (NAN, NAN, NAN, NAN)
    _, waits = push((COIN, SOL), [[100, 100, 100, 101], [100, gap, gap, 101]], {(0, 0): 0.5}, pairs=[(0, 1)])
    assert waits.held.tolist() == [[0, 0, 0, 500], [0, 0, 0, -500]]
    # At an open of 110 the cash does not pay for 95 coins: neither leg trades.
    _, dear = push((COIN, SOL), [[100, 110, 110], [100, 110, 110]], {(0, 0): 0.95}, pairs=[(0, 1)])
    assert fates(dear) == [(0, REJECTED, Reason.INSUFFICIENT_MARGIN), (1, REJECTED, Reason.INSUFFICIENT_MARGIN)]
    # Isolated: 9,500 for the coins, 950 of margin for the short at 10x.
    _, tight = push(
        (COIN, SOL), [[100] * 3] * 2, {(0, 0): 0.95}, pairs=[(0, 1)], margin=Margin("isolated", leverage=10.0)
    )
    assert fates(tight) == [(0, REJECTED, Reason.INSUFFICIENT_MARGIN), (1, REJECTED, Reason.INSUFFICIENT_MARGIN)]
    _, fits = push(
        (COIN, SOL), [[100] * 3] * 2, {(0, 0): 0.9}, pairs=[(0, 1)], margin=Margin("isolated", leverage=10.0)
    )
    assert fits.held[:, -1].tolist() == [900, -900]


@pytest.mark.parametrize(
    ("margin", "target", "premium", "costs"),
    [
        (Margin(leverage=1.0, collateral_frac=0.5), 0.9, 0.0, FREE),
        (Margin(collateral_frac=0.0), 0.99, 0.0, FREE),
        (Margin(leverage=1.0), 0.99, 0.9, Costs(taker_fee_bps=0.0, slippage_bps=100.0)),
    ],
)
def test_a_pair_counts_what_buying_its_coins_takes_from_the_margin(margin, target, premium, costs):
    legs = [[100.0] * 3, [100.0 + premium] * 3]
    portfolio, ledger = push((COIN, SOL), legs, {(0, 0): target}, pairs=[(0, 1)], margin=margin, costs=costs)
    assert fates(ledger) == [(0, REJECTED, Reason.INSUFFICIENT_MARGIN), (1, REJECTED, Reason.INSUFFICIENT_MARGIN)]
    assert portfolio.lots.tolist() == [0, 0]


def test_a_pair_survives_a_rise_that_would_liquidate_the_short_alone():
    # Twice the price: the short has lost what the coins have won; in isolated margin nothing helps it.
    legs = [[100, 100, 150, 200], [100, 100, 150, 200]]
    portfolio, ledger = push((COIN, SOL), legs, {(0, 0): 0.8}, pairs=[(0, 1)], margin=Margin(leverage=10.0))
    assert ledger.rows["equity"].tolist() == [10_000.0] * 4
    assert portfolio.lots.tolist() == [800, -800]
    portfolio, ledger = push((COIN, SOL), legs, {(0, 0): 0.8}, pairs=[(0, 1)], margin=Margin("isolated", leverage=10.0))
    assert portfolio.lots.tolist() == [800, 0]
    assert ledger.fills["price"].tolist()[-1] == 110.0  # bankrupt at 100 (1 + 1/10)
    assert ledger.rows["equity"][-1] == pytest.approx(10_000 + 80 * 100 - 800, rel=1e-14)


def test_a_hedge_that_was_left_is_not_entered_alone_nor_is_its_other_leg():
    exits = (None, Exits(stop_distance=0.05))
    legs = [[100, 100, 106, 106, 106, 106, 106]] * 2
    targets = {(0, 0): 0.5, (0, 3): 0.6, (0, 4): 0.0, (0, 5): 0.5}
    _, ledger = push((COIN, SOL), legs, targets, pairs=[(0, 1)], exits=exits)
    # The short is stopped at 106; 0.6 would enter it again and does nothing; 0 closes the coins, then both may again.
    # Equity is 10,000 by then (the coins won what the short lost): 5,000 / 106 = 47.1.
    assert ledger.held[0].tolist() == [0, 500, 500, 500, 500, 0, 471]
    assert ledger.held[1].tolist() == [0, -500, 0, 0, 0, 0, -471]


# ---------------------------------------------------------------- bad input
@pytest.mark.parametrize(
    ("pairs", "instruments", "subject"),
    [
        ([(0, 0)], (COIN, SOL), "account.pairs[0]"),
        ([(0, 2)], (COIN, SOL), "account.pairs[0]"),
        ([(1, 0)], (COIN, SOL), "account.pairs[0]"),
        ([(0, 1)], (SOL, SOL), "account.pairs[0]"),
        ([(0, 1), (0, 2)], (COIN, SOL, SOL), "account.pairs[1]"),
        ([(0, 1)], (spot(qty_step=0.03, min_qty=0.03), SOL), "account.pairs[0].qty_step"),
    ],
)
def test_pairs_that_are_none_are_refused_by_name(pairs, instruments, subject):
    with pytest.raises(InvalidInput) as caught:
        Portfolio(instruments, FREE, pairs=pairs)
    assert caught.value.subject == subject


def test_a_target_for_a_hedge_is_refused():
    with pytest.raises(InvalidInput) as caught:
        push((COIN, SOL), [[100] * 3] * 2, {(0, 0): 0.5, (1, 1): -0.5}, pairs=[(0, 1)])
    assert caught.value.subject == "account.target[1]"
    assert "the other leg of its pair moves it" in str(caught.value)


@pytest.mark.parametrize(
    ("settings", "subject"),
    [
        ({"costs": (FREE,)}, "account.costs"),
        ({"costs": 5.0}, "account.costs"),
        ({"exits": (None, None, None)}, "account.exits"),
        ({"limits": 2.0}, "account.limits"),
        ({"margin": "cross"}, "account.margin"),
        ({"intrabar": "both"}, "account.intrabar"),
        ({"open_orders": -1}, "account.open_orders"),
    ],
)
def test_settings_of_the_wrong_kind_are_refused_by_name(settings, subject):
    with pytest.raises(InvalidInput) as caught:
        Portfolio((SOL, AVAX), **settings)
    assert caught.value.subject == subject


@pytest.mark.parametrize("bound", [0.0, -1.0, NAN, "1"])
def test_exposure_limits_are_positive(bound):
    with pytest.raises(InvalidInput, match=r"limits\.max_net must be positive"):
        Limits(max_net=bound)


def test_columns_of_the_wrong_shape_or_name_are_refused_and_nothing_is_lost():
    portfolio = Portfolio((SOL, AVAX), FREE)
    before = portfolio.snapshot()
    good = {name: np.full((2, 3), 100.0) for name in ("open", "high", "low", "close")}

    def refused(subject, columns):
        with pytest.raises(InvalidInput) as caught:
            portfolio.push(times(3), columns)
        assert caught.value.subject == subject
        assert portfolio.snapshot() == before

    refused("account.close", {name: good[name] for name in ("open", "high", "low")})
    refused("account.low", good | {"low": np.full((1, 3), 100.0)})
    refused("account.vwap", good | {"vwap": good["low"]})
    spoilt = good["close"].copy()
    spoilt[1, 2] = -5.0
    refused("account.price[1, 2]", good | {"close": spoilt})
    with pytest.raises(MisalignedBars, match=r"account\.ts\[2\]"):
        portfolio.push(times(3) + np.array([0, 0, MINUTE]), good)
    with pytest.raises(InvalidInput, match="must not be empty"):
        Portfolio((), FREE)


def test_a_snapshot_of_other_legs_limits_or_margin_is_refused():
    made = Portfolio((SOL, AVAX), FREE)
    blob = made.snapshot()
    for other in (
        Portfolio((AVAX, SOL), FREE),
        Portfolio((SOL, AVAX), FREE, limits=Limits(max_gross=2.0)),
        Portfolio((SOL, AVAX), FREE, margin=Margin("isolated")),
        Portfolio((SOL, AVAX), FREE, exits=(None, Exits(stop_distance=0.1))),
        Portfolio((SOL, AVAX), FREE, intrabar="better"),
    ):
        with pytest.raises(FingerprintMismatch):
            other.restore(blob)
    with pytest.raises((FingerprintMismatch, InvalidInput)):
        Portfolio((SOL,), FREE).restore(blob)


# ---------------------------------------------------------------- backtests
def bars_of(*prices, volume=None):
    given = {name: [float(price) for price in prices] for name in ("open", "high", "low", "close")}
    frame = pl.DataFrame({"ts": times(len(prices)), **given}).with_columns(pl.col("ts").cast(TS))
    return frame if volume is None else frame.with_columns(volume=pl.lit(volume))


def test_a_backtest_of_a_pair_with_orders_and_limits_by_name():
    legs = {
        "coin": Leg(bars_of(100, 100, 110, 110), COIN, targets=[0.4, NAN, NAN, NAN]),
        "perp": Leg(bars_of(100, 100, 110, 110), SOL),
        "avax": Leg(bars_of(50, 50, 50, 60), AVAX, costs=Costs(taker_fee_bps=10.0)),
    }
    stamp = datetime.fromtimestamp(START // 10**9, UTC)
    orders = pl.DataFrame({"ts": [stamp], "leg": ["avax"], "type": ["market"], "side": ["buy"], "qty": [10.0]})
    result = simulate_portfolio(
        legs, costs=FREE, pairs=[("coin", "perp")], orders=orders.with_columns(pl.col("ts").cast(TS)),
        limits=Limits(max_leg=0.3),
    )  # fmt: skip
    assert result.legs == ("SOLUSDT:spot", "SOLUSDT:linear", "AVAXUSDT")
    assert result.positions["SOLUSDT:spot"].to_list() == [0.0, 30.0, 30.0, 30.0]
    assert result.positions["SOLUSDT:linear"].to_list() == [0.0, -30.0, -30.0, -30.0]
    assert result.positions["AVAXUSDT"].to_list() == [0.0, 10.0, 10.0, 10.0]
    # Orders are sent in the order of decision: commands before targets.
    assert result.orders["role"].to_list() == ["command", "target", "target"]
    assert result.equity["equity"][-1] == pytest.approx(10_000 + 10 * 10 - 0.5, rel=1e-13)


def test_backtests_of_legs_that_do_not_fit_are_refused():
    coin, perp = Leg(bars_of(100, 100, 110), COIN, [0.4, NAN, NAN]), Leg(bars_of(100, 100, 110), SOL)
    with pytest.raises(InvalidInput, match=r"legs must not be empty"):
        simulate_portfolio({})
    with pytest.raises(InvalidInput, match=r"pairs must name legs \(coin, perp\); received 'swap'"):
        simulate_portfolio({"coin": coin, "perp": perp}, pairs=[("coin", "swap")])
    short = replace(perp, bars=perp.bars[1:])
    with pytest.raises(MisalignedBars, match=r"perp\.bars\.ts must have the clock of coin"):
        simulate_portfolio({"coin": coin, "perp": short})
    own = replace(perp, targets=[-0.4, NAN, NAN])
    with pytest.raises(InvalidInput, match=r"account\.target\[1\] must be NaN"):
        simulate_portfolio({"coin": coin, "perp": own}, pairs=[("coin", "perp")])
    funded = replace(coin, funding=pl.DataFrame({"ts": [0], "rate": [0.0], "interval_hours": [8.0]}))
    with pytest.raises(InvalidInput, match="funding must be None on a spot market"):
        simulate_portfolio({"coin": funded, "perp": perp})
    hole = replace(perp, bars=bars_of(100, 100, NAN), targets=[0.4, NAN, NAN])
    with pytest.raises(InvalidInput, match=r"perp\.bars\[2\] must have prices while a position is open"):
        simulate_portfolio({"coin": coin, "perp": hole})
    assert simulate_portfolio({"coin": coin, "perp": hole}, gaps="hold").fills.height == 2
    assert not math.isnan(simulate_portfolio({"coin": coin, "perp": perp}).equity["equity"][-1])
