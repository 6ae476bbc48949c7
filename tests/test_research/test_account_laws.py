"""Laws of the account, on random markets, rules and orders: books close, chunks join, and the future is not known."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from research.execution import Account, Costs, Portfolio, Role, Status
from research.execution.portfolio import KERNEL_ORDER
from research.execution.quiet import summary_of
from research.execution.records import FILLS, ORDERS
from research.market.bars import NS_PER_DAY
from tests.test_research.account_cases import (
    FREE,
    MINUTE,
    NAN,
    SOL,
    Case,
    cancel,
    everything,
    linear,
    order,
    times,
    walk_of,
)


def joined(ledgers, name):
    parts = [getattr(ledger, name) for ledger in ledgers]
    return np.concatenate(parts, axis=1 if name == "held" else 0)


def same_but(found, expected, *names):
    """Tell whether two structured arrays have the same bytes in all fields but those named."""
    kept = [name for name in found.dtype.names if name not in names]
    return found.size == expected.size and all(found[name].tobytes() == expected[name].tobytes() for name in kept)


def last_closes(case):
    """Return the last valid close of each leg after each bar, NaN before the first."""
    columns, found = case.columns, np.full(case.columns["close"].shape, NAN)
    is_gap = np.isnan(columns["open"] + columns["high"] + columns["low"] + columns["close"])
    for i in range(case.n):
        before = found[:, i - 1] if i else NAN
        found[:, i] = np.where(is_gap[:, i], before, columns["close"][:, i])
    return found


# ---------------------------------------------------------------- books
@settings(max_examples=250)
@given(everything())
def test_equity_changes_by_price_profit_funding_fees_and_interest_alone(case):
    portfolio = case.portfolio()
    ledger = case.push(portfolio)
    steps = [instrument.terms[0].qty_step for instrument in case.instruments]
    closes, cash = last_closes(case), case.settings["initial_cash_quote"]
    qty, equity = np.zeros(len(steps)), cash
    fills = ledger.fills
    for i, row in enumerate(ledger.rows):
        before = closes[:, i - 1] if i else closes[:, i]
        earned = sum(q * (now - then) for q, now, then in zip(qty, closes[:, i], before, strict=True) if q)
        fee = slippage = 0.0
        for fill in fills[fills["bar"] == i]:
            leg = int(fill["leg"])
            earned += fill["qty"] * (closes[leg, i] - fill["price"])
            fee, slippage = fee + fill["fee"], slippage + fill["slippage"]
            qty[leg] += fill["qty"]
            assert fill["lots"] * steps[leg] == pytest.approx(fill["qty"], rel=1e-12)
            assert fill["position_qty"] == pytest.approx(qty[leg], abs=1e-9)
            assert fill["slippage"] == pytest.approx(fill["qty"] * (fill["price"] - fill["reference"]), abs=1e-12)
            assert fill["slippage"] >= -1e-9  # where a mark triggered, the reference is a quotient of floats
        assert (row["fee"], row["slippage"]) == pytest.approx((fee, slippage), abs=1e-9)
        change = earned + row["funding"] - row["fee"] - row["interest"]
        assert row["equity"] - equity == pytest.approx(change, abs=1e-9 * cash)
        assert row["interest"] >= 0.0
        assert row["maintenance"] >= 0.0
        equity = row["equity"]
    assert equity == portfolio.equity


@settings(max_examples=150)
@given(everything())
def test_books_close_over_all_fills_and_orders(case):
    portfolio = case.portfolio()
    ledger = case.push(portfolio)
    fills, rows, cash = ledger.fills, ledger.rows, case.settings["initial_cash_quote"]
    worth = cash + fills["realised"].sum() - fills["fee"].sum() + rows["funding"].sum() - rows["interest"].sum()
    closes = last_closes(case)[:, -1]
    open_profit = [q * (c - e) for q, c, e in zip(portfolio.qty, closes, portfolio.entry_prices, strict=True) if q]
    assert portfolio.equity == pytest.approx(worth + sum(open_profit), abs=1e-9 * cash)
    held = ledger.held[:, -1] if len(case.instruments) > 1 else rows["position_lots"][-1:]
    for leg, lots in enumerate(portfolio.lots):
        of_leg = fills[fills["leg"] == leg]
        assert np.cumsum(of_leg["lots"]).tolist() == of_leg["position_lots"].tolist()
        assert lots == of_leg["lots"].sum() == held[leg]
    known = np.concatenate((ledger.orders, portfolio.pending()))
    assert sorted(known["order_id"].tolist()) == list(range(1, known.size + 1))  # none is lost, none told twice
    for row in known:
        assert row["filled_lots"] == fills["lots"][fills["order_id"] == row["order_id"]].sum()
        if row["status"] == Status.FILLED and row["role"] != Role.CANCEL:
            assert row["filled_lots"] != 0
        elif row["status"] == Status.REJECTED:
            assert row["filled_lots"] == 0


@settings(max_examples=60)
@given(everything())
def test_without_an_order_nothing_changes(case):
    idle = Case(case.instruments, {k: v for k, v in case.columns.items() if k != "target"}, case.settings)
    portfolio = idle.portfolio()
    ledger = idle.push(portfolio)
    assert ledger.orders.size == ledger.fills.size == portfolio.pending().size == 0
    assert (ledger.rows["equity"] == case.settings["initial_cash_quote"]).all()
    for name in ("wallet", "equity"):
        assert (ledger.rows[name] == case.settings["initial_cash_quote"]).all()
    for name in ("fee", "slippage", "funding", "interest", "maintenance", "ambiguous"):
        assert (ledger.rows[name] == 0.0).all()


# ---------------------------------------------------------------- chunks, the future, paths of the kernel
@settings(max_examples=150)
@given(everything(), st.data())
def test_any_split_and_any_resumption_give_the_same_bytes(case, data):
    whole = case.portfolio()
    expected = case.push(whole)
    cuts = sorted(data.draw(st.lists(st.integers(0, case.n), max_size=5)))
    portfolio, pieces = case.portfolio(), []
    for first, last in zip([0, *cuts], [*cuts, case.n], strict=True):
        pieces.append(case.push(portfolio, first, last))
        fresh = case.portfolio()
        fresh.restore(portfolio.snapshot())
        portfolio = fresh
    for name in ("rows", "fills", "orders", "held"):
        assert joined(pieces, name).tobytes() == getattr(expected, name).tobytes()
    assert portfolio.snapshot() == whole.snapshot()
    assert portfolio.pending().tobytes() == whole.pending().tobytes()


@settings(max_examples=60)
@given(everything(), st.booleans())
def test_one_bar_at_a_time_gives_the_same_bytes(case, resumes):
    whole = case.portfolio()
    expected = case.push(whole)
    portfolio, pieces = case.portfolio(), []
    for i in range(case.n):
        pieces.append(case.push(portfolio, i, i + 1))
        if resumes:
            fresh = case.portfolio()
            fresh.restore(portfolio.snapshot())
            portfolio = fresh
    for name in ("rows", "fills", "orders", "held"):
        assert joined(pieces, name).tobytes() == getattr(expected, name).tobytes()
    assert portfolio.snapshot() == whole.snapshot()


def scrambled_from(case, k):
    """Return the case with everything after its first k bars changed."""
    columns = {name: column.copy() for name, column in case.columns.items()}
    for name, column in columns.items():
        if name == "target":
            known = ~np.isnan(column).all(axis=1)
            column[known, k:] = 0.37
        elif name == "funding_rate":
            column[:, k:] *= -3.0
        elif name == "volume":
            column[:, k:] = column[:, k:][:, ::-1] * 0.1
        else:
            column[:, k:] *= 1.37
    later = [command | {"lots": 3, "limit_price": 55.5} for command in case.orders if command["bar"] >= k]
    orders = [command for command in case.orders if command["bar"] < k] + [
        command for command in later if command["kind"] != 2
    ]
    fine = None
    if case.fine is not None:
        fine = case.fine.copy()
        fine[:, :, k * (fine.shape[2] // case.n) :] *= 1.37
    return replace(case, columns=columns, orders=orders, fine=fine)


@settings(max_examples=150)
@given(everything(), st.data())
def test_what_comes_later_changes_nothing_before_it(case, data):
    k = data.draw(st.integers(1, case.n - 1))
    until = case.push(case.portfolio(), 0, k)
    told = {"rows": k, "fills": until.fills.size, "orders": until.orders.size}
    for ledger in (case.push(case.portfolio()), scrambled_from(case, k).push(case.portfolio())):
        for name, count in told.items():
            assert getattr(ledger, name)[:count].tobytes() == getattr(until, name).tobytes()
        assert ledger.held[:, :k].tobytes() == until.held.tobytes()
        assert (ledger.fills["bar"][told["fills"] :] >= k).all()


@settings(max_examples=200)
@given(everything(legs=(1,)))
def test_bars_in_which_nothing_happens_may_be_passed_over(case):
    # A cancellation of nobody at every close keeps an order under way: every bar goes through all its events.
    case.settings["open_orders"] = 64
    busy = replace(
        case, orders=sorted(case.orders + [cancel(i, 1_000) for i in range(case.n)], key=lambda row: row["bar"])
    )
    one, other = case.portfolio(), busy.portfolio()
    quiet, eventful = case.push(one), busy.push(other)
    assert eventful.rows.tobytes() == quiet.rows.tobytes()
    assert same_but(eventful.fills, quiet.fills, "order_id")
    asked = eventful.orders[(eventful.orders["role"] != Role.CANCEL) | (eventful.orders["tag"] != 1_000)]
    assert same_but(asked, quiet.orders, "order_id")
    mine, theirs = one.state, other.state
    for name in mine.dtype.names:
        if name not in ("last_order_id", "n_open", "is_busy", "orders", "rejected"):
            assert mine[name] == theirs[name], name


@settings(max_examples=60)
@given(st.integers(0, 2**32), st.sampled_from([0, 2, 9]), st.booleans(), st.sampled_from([MINUTE, 15 * MINUTE]))
def test_a_block_of_which_nothing_is_kept_leaves_the_same_account(seed, changes, has_funding, step_ns):
    # Long stretches without events, passed in runs.
    rng = np.random.Generator(np.random.PCG64(seed))
    n = 700
    prices = walk_of(rng, n, 1, 0.01, rng.choice([1e-4, 1e-3]), 100.0)[0]
    targets = np.full(n, NAN)
    targets[rng.integers(0, n, changes)] = rng.choice([-0.9, 0.0, 0.5, 0.9], changes)
    if rng.random() < 0.5:
        prices[3, rng.integers(0, n, 3)] = NAN
    rate = np.where((np.arange(n) % 96 == 0) & has_funding, 1e-4, 0.0)
    columns = dict(zip(("open", "high", "low", "close"), prices, strict=True))
    columns |= {"funding_rate": rate, "target": targets}
    ts, costs = times(n, step_ns), Costs(half_spread_bps=1.0)
    kept = Portfolio((SOL,), costs, step_ns=step_ns)
    rows = kept.push(ts, {name: column[None] for name, column in columns.items()}).rows
    passed, empty = Portfolio((SOL,), costs, step_ns=step_ns), np.empty((1, 0))
    given_ = [columns[name][None].copy() if name in columns else empty for name in KERNEL_ORDER]
    daily = np.full(20, NAN)
    for first, last in ((0, 300), (300, n)):
        block = [column[:, first:last].copy() for column in given_]
        summary = summary_of(dict(zip(KERNEL_ORDER, block, strict=True)))
        passed.pass_block(ts[first:last], block, daily, np.zeros(2_000, FILLS), np.zeros(2_000, ORDERS), summary)
    assert passed.snapshot() == kept.snapshot()
    equity = np.concatenate(([10_000.0], rows["equity"]))
    days = ts // NS_PER_DAY
    ends = np.flatnonzero(np.diff(days)) + 1
    at = equity[np.concatenate(([0], ends))]
    assert daily[: ends.size].tolist() == (np.diff(at) / at[:-1]).tolist()
    assert np.isnan(daily[ends.size :]).all()


@settings(max_examples=100)
@given(everything(), st.data())
def test_a_block_of_which_nothing_is_kept_goes_through_all_events_too(case, data):
    case.orders, case.fine = [], None  # blocks know neither
    kept, passed = case.portfolio(), case.portfolio()
    case.push(kept)
    empty = np.empty((len(case.instruments), 0))
    ts, cut = times(case.n, case.step_ns), data.draw(st.integers(1, case.n - 1))
    for first, last in ((0, cut), (cut, case.n)):
        block = [case.columns[n][:, first:last].copy() if n in case.columns else empty for n in KERNEL_ORDER]
        given_ = [summary_of(dict(zip(KERNEL_ORDER, block, strict=True)))] if len(case.instruments) == 1 else []
        passed.pass_block(ts[first:last], block, np.empty(0), np.zeros(4_000, FILLS), np.zeros(4_000, ORDERS), *given_)
    assert passed.snapshot() == kept.snapshot()


# ---------------------------------------------------------------- costs, symmetry, margin, the two paths
@st.composite
def market_orders(draw, legs=(1, 2)):
    """Draw perpetuals that are traded by market orders alone, far from any margin."""
    rng = np.random.Generator(np.random.PCG64(draw(st.integers(0, 2**32))))
    n, n_legs = int(rng.integers(10, 40)), draw(st.sampled_from(list(legs)))
    quotes = np.stack([walk_of(rng, n, 1, 0.01, 0.002, 100.0)[0] for _ in range(n_legs)], axis=1)
    columns = dict(zip(("open", "high", "low", "close"), quotes, strict=True))
    columns["funding_rate"] = np.where(rng.random((n_legs, n)) < 0.2, rng.normal(0.0, 1e-3, (n_legs, n)), 0.0)
    columns["volume"], columns["unit"] = np.full((n_legs, n), 200.0), np.full((n_legs, n), 0.5)
    orders = [
        order(int(bar), int(rng.choice([-1, 1]) * rng.integers(1, 50)), leg=int(rng.integers(n_legs)))
        for bar in np.flatnonzero(rng.random(n) < 0.4)
    ]
    settings_ = {"costs": FREE, "latency_bars": int(rng.integers(0, 2)), "step_ns": MINUTE}
    return Case((SOL,) * n_legs, columns, settings_, orders)


@settings(max_examples=80)
@given(market_orders(), st.lists(st.floats(0.0, 5.0), min_size=5, max_size=5))
def test_costs_never_help_the_same_fills(case, parts):
    fee, spread, slip, unit_frac, impact = parts
    some = Costs(fee, None, spread, slip, unit_frac / 100.0, participation_frac=0.01 * slip, impact_unit_frac=impact)
    more = replace(
        some,
        taker_fee_bps=2.0 * fee,
        half_spread_bps=2.0 * spread,
        slippage_bps=slip + 1.0,
        impact_unit_frac=impact + 0.1,
    )
    runs = [replace(case, settings=case.settings | {"costs": costs}) for costs in (FREE, some, more)]
    ledgers = [run.push(run.portfolio()) for run in runs]
    for ledger in ledgers[1:]:
        assert same_but(ledger.fills[["lots", "leg", "ts"]], ledgers[0].fills[["lots", "leg", "ts"]])
    free, paid, most = (ledger.rows["equity"] for ledger in ledgers)
    assert (paid <= free + 1e-8).all()
    assert (most <= paid + 1e-8).all()


@settings(max_examples=80)
@given(market_orders())
def test_opposite_orders_earn_the_opposite(case):
    mirrored = replace(case, orders=[command | {"lots": -command["lots"]} for command in case.orders])
    up, down = case.push(case.portfolio()), mirrored.push(mirrored.portfolio())
    assert up.fills["lots"].tolist() == (-down.fills["lots"]).tolist()
    assert up.rows["equity"] - 10_000.0 == pytest.approx(10_000.0 - down.rows["equity"], abs=1e-8)
    assert up.rows["funding"] == pytest.approx(-down.rows["funding"], abs=1e-10)


@settings(max_examples=150)
@given(everything(), st.sampled_from([5.0, 20.0]))
def test_a_cross_account_that_lives_has_its_maintenance_margin_at_every_close(case, most):
    # Marks are the traded prices here, so that the equity at a close is what the venue compares.
    instruments = tuple(linear() if instrument.market == "spot" else instrument for instrument in case.instruments)
    columns = {name: column.copy() for name, column in case.columns.items() if not name.startswith("mark")}
    columns["target"] = np.where(np.isnan(columns["target"]), NAN, np.sign(columns["target"]) * most)
    margin = replace(case.settings["margin"], mode="cross", borrow=False, spot_leverage=1.0, leverage=None)
    changed = {"margin": margin, "pairs": (), "max_leverage": most}
    tight = Case(instruments, columns, case.settings | changed, case.orders, case.fine)
    ledger = tight.push(tight.portfolio())
    rows = ledger.rows
    held = rows["maintenance"] > 0.0
    assert (rows["equity"][held] >= rows["maintenance"][held] * (1.0 - 1e-9)).all()
    lots = ledger.held if len(instruments) > 1 else rows["position_lots"][None]
    assert (held == (lots != 0).any(axis=0)).all()


@settings(max_examples=200)
@given(everything())
def test_worse_and_better_differ_by_what_is_called_ambiguous(case):
    case.fine = None
    runs = {}
    for name in ("worse", "better"):
        case.settings["intrabar"] = name
        runs[name] = case.push(case.portfolio()).rows
    worse, better = runs["worse"], runs["better"]
    apart = np.flatnonzero((worse["ambiguous"] > 0.0) | (better["ambiguous"] > 0.0))
    first = int(apart[0]) if apart.size else case.n
    assert worse[:first].tobytes() == better[:first].tobytes()
    if apart.size:
        assert worse["ambiguous"][first] == better["ambiguous"][first]
        if worse["equity"][first] > 0.0:  # otherwise ruin costs something more
            gained = better["equity"][first] - worse["equity"][first]
            assert gained == pytest.approx(worse["ambiguous"][first], abs=1e-9 * case.settings["initial_cash_quote"])
            assert gained > 0.0


@settings(max_examples=100)
@given(everything(legs=(1, 2)))
def test_no_fill_lies_outside_what_was_traded_but_for_its_costs(case):
    # Liquidations and closes of gaps aside, the price met is one that the bar traded.
    ledger = case.push(case.portfolio())
    for fill in ledger.fills:
        leg, bar = int(fill["leg"]), int(fill["bar"])
        if fill["role"] in (Role.LIQUIDATION, Role.RUIN):
            continue
        low, high = case.columns["low"][leg, bar], case.columns["high"][leg, bar]
        assert fill["ts"] == times(case.n, case.step_ns)[bar]
        if fill["is_maker"]:  # at its limit, which the bar went through or opened beyond
            assert (fill["price"] >= low) if fill["lots"] > 0 else (fill["price"] <= high)
            assert fill["slippage"] == 0.0
        else:
            assert low - 1e-9 <= fill["reference"] <= high + 1e-9


def test_a_portfolio_of_one_leg_is_the_account():
    rng = np.random.Generator(np.random.PCG64(3))
    prices = walk_of(rng, 50, 1, 0.01, 0.002, 100.0)[0]
    target = np.where(np.arange(50) % 7 == 0, 0.5, NAN) * np.where(np.arange(50) % 2, 1.0, -1.0)
    account, portfolio = Account(SOL, FREE), Portfolio((SOL,), FREE)
    one = account.push(times(50), *prices, target=target)
    named = dict(zip(("open", "high", "low", "close", "target"), (*prices, target), strict=True))
    other = portfolio.push(times(50), {name: column[None] for name, column in named.items()})
    assert one.rows.tobytes() == other.rows.tobytes()
    assert account.snapshot() == portfolio.snapshot()
    assert one.fills.size > 5
