"""The compiled engine against the plain one in ``reference_engine.py``, on random markets, rules and orders.

Lots, times, fates and roles must be equal, and so must the prices of fills, which are multiples of a tick. Amounts
must be equal to 1e-9 of the initial cash (or of the largest amount, where that is larger): a few hundred float
additions are off by less than 1e-12 of it. Market prices lie on ticks and distances have digits that never add up to
a tick, so that no comparison hangs on the last bit of a float.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from research.execution import Account, Costs, Limits, Margin, Portfolio
from research.execution.records import BOOK_CAPACITY, COMMANDS, Kind, Reason, Role, Status, TimeInForce, TriggerBy
from research.market.instruments import Instrument, Terms, margin_tiers
from research.risk.exits import Exits
from tests.oracles.reference_engine import Bar, ReferenceEngine, exact

START_NS = 1_704_067_200 * 10**9
MINUTE_NS = 60 * 10**9
# Maintenance fractions of which no liquidation price lies on a tick by chance.
TIERS = (
    [(1e9, 0.00517, 0.01)],
    [(30_000.0, 0.00517, 0.01), (90_000.0, 0.02093, 0.04)],
    [(4_000.0, 0.00517, 0.01), (60_000.0, 0.06131, 0.0667)],  # tiers so different that taking the wrong one shows
    [(6_000.0, 0.01037, 0.02), (20_000.0, 0.02531, 0.05), (70_000.0, 0.05173, 0.1)],
)
ORDER_FIELDS = (
    "order_id", "tag", "leg", "role", "kind", "decided_ts", "done_ts", "lots", "filled_lots", "status", "reason",
)  # fmt: skip
FILL_FIELDS = ("ts", "bar", "order_id", "leg", "role", "is_maker", "lots", "position_lots")
COLUMNS = (
    "open", "high", "low", "close", "volume", "mark", "mark_high", "mark_low", "mark_close", "funding_rate", "unit",
    "trail_low", "trail_high", "target",
)  # fmt: skip


@dataclass
class Case:
    """All that both engines are given. Columns and fine bars have shape (legs, bars) and (legs, bars * k)."""

    instruments: tuple
    columns: Mapping[str, np.ndarray]
    costs: tuple
    margin: Any
    exits: tuple
    cash: float = 10_000.0
    latency: int = 0
    max_leverage: float = 1.0
    step_ns: int = MINUTE_NS
    intrabar: str = "worse"
    limits: Any = None
    pairs: tuple = ()
    commands: list = field(default_factory=list)
    fine: Any = None
    split: int = 0  # bars of a first chunk; 0: all at once


# ------------------------------------------------------------------------------------------------------- both engines


def run_reference(case):
    engine = ReferenceEngine(
        case.instruments, case.costs, case.exits, exact(case.cash), case.step_ns, case.margin, case.latency,
        exact(case.max_leverage), case.limits, case.pairs, case.intrabar,
    )  # fmt: skip
    n_legs, n = case.columns["open"].shape
    k = 0 if case.fine is None else case.fine[0].shape[1] // n
    for i in range(n):
        bars = []
        for leg in range(n_legs):
            values = {name: exact(float(column[leg, i])) for name, column in case.columns.items()}
            values["target"] = None if values["target"] is None else float(case.columns["target"][leg, i])
            fine = [tuple(exact(float(prices[leg, j])) for prices in case.fine or ()) for j in range(i * k, i * k + k)]
            bars.append(Bar(**values, fine=fine))
        engine.step(START_NS + i * case.step_ns, bars, [command for command in case.commands if command["bar"] == i])
    return engine


def as_records(commands, first, last):
    records = np.zeros(sum(first <= command["bar"] < last for command in commands), COMMANDS)
    chosen = [command for command in commands if first <= command["bar"] < last]
    for record, command in zip(records, chosen, strict=True):
        for name, value in command.items():
            record[name] = value
        record["bar"] -= first
    return records


def run_compiled(case):
    n_legs, n = case.columns["open"].shape
    shared = {
        "initial_cash_quote": case.cash, "latency_bars": case.latency, "max_leverage": case.max_leverage,
        "step_ns": case.step_ns, "margin": case.margin, "intrabar": case.intrabar,
    }  # fmt: skip
    if n_legs == 1:
        account = Account(case.instruments[0], costs=case.costs[0], exits=case.exits[0], **shared)
    else:
        limits = {} if case.limits is None else {"limits": case.limits}
        account = Portfolio(
            instruments=case.instruments, costs=case.costs, exits=case.exits, pairs=case.pairs, **limits, **shared
        )
    ts = START_NS + case.step_ns * np.arange(n)
    k = 0 if case.fine is None else case.fine[0].shape[1] // n
    ledgers = []
    for first, last in ((0, case.split), (case.split, n)):
        if first == last:
            continue
        columns = {name: np.ascontiguousarray(column[:, first:last]) for name, column in case.columns.items()}
        fine = None if case.fine is None else tuple(p[:, first * k : last * k].copy() for p in case.fine)
        commands = as_records(case.commands, first, last)
        if n_legs == 1:
            flat = {name: column[0] for name, column in columns.items()}
            prices = [flat.pop(n) for n in ("open", "high", "low", "close", "mark", "funding_rate", "target")]
            fine = None if fine is None else tuple(p[0] for p in fine)
            ledgers.append(account.push(ts[first:last], *prices, **flat, commands=commands, fine=fine))
        else:
            ledgers.append(account.push(ts[first:last], columns, commands=commands, fine=fine))
    return account, ledgers


def whole_of(ledgers, name):
    return np.concatenate([getattr(ledger, name) for ledger in ledgers])


def assert_equal(case):
    plain = run_reference(case)
    account, ledgers = run_compiled(case)
    orders, fills, rows = (whole_of(ledgers, name) for name in ("orders", "fills", "rows"))

    # Which of two orders that end in the same bar is written first says nothing.
    got = [tuple(int(row[name]) for name in ORDER_FIELDS) for row in np.sort(orders, order="order_id")]
    expected = sorted(tuple(int(order[name]) for name in ORDER_FIELDS) for order in plain.orders)
    assert got == expected
    expected = {order["order_id"]: order for order in plain.orders}
    for row in orders:
        order = expected[int(row["order_id"])]
        if row["role"] == Role.TARGET:
            assert row["target"] == order["target"]
        if row["role"] in (Role.COMMAND, Role.TAKE_PROFIT):
            for name in ("limit_price", "trigger_price"):
                price = math.nan if order[name] is None else float(order[name])
                assert row[name] == price or (math.isnan(row[name]) and math.isnan(price)), name

    got = [tuple(int(row[name]) for name in FILL_FIELDS) for row in fills]
    assert got == [tuple(int(fill[name]) for name in FILL_FIELDS) for fill in plain.fills]
    # A multiple of the tick, as the nearest float, exactly.
    assert fills["price"].tolist() == [float(fill["price"]) for fill in plain.fills]
    for name in ("fee", "slippage", "realised", "funding", "reference", "qty", "position_qty"):
        assert_close(fills[name], [fill[name] for fill in plain.fills], case, name)

    held = np.array([row["held"] for row in plain.rows])
    assert rows["position_lots"].tolist() == held[:, 0].tolist()
    if held.shape[1] > 1:
        assert np.concatenate([ledger.held for ledger in ledgers], axis=1).tolist() == held.T.tolist()
    for name in ("equity", "wallet", "fee", "slippage", "funding", "interest", "maintenance", "ambiguous"):
        assert_close(rows[name], [row[name] for row in plain.rows], case, name)

    waiting = sorted((o.order_id, o.leg.index, int(o.role), int(o.kind), o.ordered, o.filled) for o in plain.book)
    names = ("order_id", "leg", "role", "kind", "lots", "filled_lots")
    pending = account.pending()
    assert sorted(tuple(int(row[name]) for name in names) for row in pending) == waiting
    assert all(row["status"] == Status.PENDING for row in pending)
    assert account.is_ruined == plain.is_ruined


def assert_close(got, expected, case, name):
    expected = np.array([float(number) for number in expected])
    tolerance = 1e-9 * max(case.cash, np.abs(expected).max(initial=0.0))
    worst = np.abs(got - expected).max(initial=0.0)
    assert worst <= tolerance, f"{name}: {worst:g} off, first at {np.argmax(np.abs(got - expected) > tolerance)}"


# ------------------------------------------------------------------------------------------------------- random cases


def instrument_of(draw, index, market="linear"):
    """Return an instrument of which the terms may change after some bars; the lot stays."""
    tick, qty_step = draw(st.sampled_from([(0.01, 0.001), (0.1, 0.1), (0.5, 1.0), (0.01, 0.01)]))
    is_spot = market == "spot"
    terms = []
    changes_after = draw(st.sampled_from([None, None, 12]))
    for since, by in [(0, 1), *([] if changes_after is None else [(START_NS + changes_after * MINUTE_NS, 2)])]:
        tiers = draw(st.sampled_from(TIERS))
        terms.append(
            Terms(
                from_ns=since,
                tick=tick * by,
                qty_step=qty_step,
                min_qty=round(qty_step * draw(st.sampled_from([1, 1, 3])), 3),
                max_qty=draw(st.sampled_from([math.inf, math.inf, 300.0])),
                min_notional_quote=draw(st.sampled_from([0.0, 5.0, 400.0])),
                taker_fee_bps=5.5 * by,
                maker_fee_bps=2.0,
                funding_interval_hours=0.0 if is_spot else 8.0,
                max_leverage=1.0 if is_spot else 1 / tiers[0][2],
                tiers=() if is_spot else margin_tiers(tiers),
            )
        )
    return Instrument("bybit", market, f"TEST{index}USDT", f"TEST{index}", "USDT", tuple(terms))


def costs_of(draw):
    plain = [Costs(0.0, 0.0), Costs(half_spread_bps=1.5, slippage_bps=2.0), Costs(6.0, -1.0, touch_fills=True)]
    sized = Costs(slippage_unit_frac=0.0531, participation_frac=0.0137, impact_unit_frac=0.217)
    capped = [
        Costs(half_spread_bps=2.0, volume_cap_frac=0.1),
        Costs(volume_cap_frac=0.05, carry=False),
        Costs(10.0, 1.0, 5.0, participation_frac=0.0531, impact_unit_frac=0.117, volume_cap_frac=0.2),
    ]
    tiers = ((START_NS + 5 * MINUTE_NS, 4.5, -0.5), (START_NS + 10**12, 3.0, 1.0))
    by_date = Costs(slippage_bps=1.0, fee_schedule=tiers)
    return draw(st.sampled_from([*plain, sized, by_date, *capped]))


def on_tick(prices, tick):
    return np.round(np.maximum(np.rint(prices / tick), 4) * tick, 2)


def bars_of(rng, n, instrument, width, gaps=0.0, k=0, with_marks=False, lag=0):
    """Return a leg's market columns, and its k finer bars per bar if k > 0: a random walk on ticks."""
    tick = instrument.terms[0].tick
    m = 4 * max(k, 1)
    steps = rng.normal(0.0, width / math.sqrt(m), n * m)
    steps[rng.random(n * m) < 0.02] *= 6  # a jump now and then
    # Noise around the walk makes bars wide, so that levels on both sides are met in one.
    path = np.exp(np.cumsum(steps) + rng.normal(0.0, 0.4 * width, n * m)).clip(0.02, 50.0)
    path = on_tick(100.0 * path, tick).reshape(n, m)
    quarters = path.reshape(n * max(k, 1), 4)
    fine = (quarters[:, 0], quarters.max(axis=1), quarters.min(axis=1), quarters[:, 3])
    opens, highs, lows, closes = path[:, 0], path.max(axis=1), path.min(axis=1), path[:, -1]
    gap = rng.random(n) < gaps
    columns = {name: np.where(gap, np.nan, x) for name, x in zip(COLUMNS, (opens, highs, lows, closes), strict=False)}
    unknown = np.full(n, np.nan)
    volume = np.round(np.exp(rng.normal(4.5, 1.0, n)), 1)
    volume[rng.random(n) < 0.05] = 0.0
    columns["volume"] = np.where(rng.random(n) < 0.2, np.nan, volume)
    columns["mark"] = np.where(rng.random(n) < 0.5, np.round(opens * (1 + rng.normal(0, 0.003, n)), 4), np.nan)
    columns |= dict.fromkeys(("mark_high", "mark_low", "mark_close"), unknown)
    if with_marks:
        basis = 1 + rng.normal(0, rng.choice([0.1, 0.3, 3.0]) * width, (4, n)).clip(-0.3, 0.3)
        marks = np.round(np.array([opens, highs, lows, closes]) * basis, 4)
        # A mark that lags: the price can take all equity before the mark liquidates.
        marks = np.roll(marks, lag, axis=1)
        marks[:, rng.random(n) < 0.2] = np.nan
        columns["mark"], columns["mark_close"] = marks[0], marks[3]
        columns["mark_high"], columns["mark_low"] = marks.max(axis=0), marks.min(axis=0)
    rate = np.where(rng.random(n) < 0.15, np.round(rng.normal(0, 0.003, n), 5), 0.0)
    columns["funding_rate"] = rate if instrument.market == "linear" else np.zeros(n)
    unit = np.round(opens * width * (0.3 + 0.9 * rng.random(n)), 5) + 0.00001
    unit[rng.random(n) < 0.2] = np.nan
    unit[: rng.integers(0, 4)] = np.nan
    columns["unit"] = unit
    columns["trail_low"] = np.where(rng.random(n) < 0.4, np.nan, np.round(lows * (1 - 0.01 * rng.random(n)), 4))
    columns["trail_high"] = np.where(rng.random(n) < 0.4, np.nan, np.round(highs * (1 + 0.01 * rng.random(n)), 4))
    columns["target"] = unknown
    return columns, fine


def columns_of(legs):
    return {name: np.array([columns[name] for columns in legs], dtype=float) for name in COLUMNS}


def targets_of(rng, n, most, is_spot=False, often=0.25):
    choices = [0.0, 0.003, 0.25, 0.5, 1.0, 0.33, 0.71 * most, most, most * 1.1]
    if not is_spot:
        choices += [-x for x in choices]
    return np.where(rng.random(n) < often, rng.choice(choices, n), np.nan)


def exits_of(draw, width):
    """Return rules of which each part is there or not; distances never add up to whole ticks."""
    has_stop = draw(st.sampled_from([False, True, True]))
    # In the order of one bar's range.
    size = {"frac": round(0.7 * width, 4) + 0.000037, "unit": 0.9337, "risk": 0.9137}
    near, far = st.sampled_from([0.4, 1.0]), st.sampled_from([1.0, 2.5])
    rules = {}
    if has_stop:
        unit = draw(st.sampled_from(["frac", "unit"]))
        rules |= {"stop_unit": unit, "stop_distance": round(size[unit] * draw(near), 6)}
        rules["stop_by"] = draw(st.sampled_from(["last", "last", "mark"]))
    units = st.sampled_from(["frac", "unit", *(["risk"] if has_stop else [])])
    shares = draw(st.sampled_from([(), (1.0,), (0.5, 0.5), (0.3, 0.3, 0.2), (0.013, 0.5, 0.487)]))
    if shares:
        unit, first = draw(units), draw(near)
        rules["take_profits"] = tuple(
            (round(first * size[unit] * (1 + 0.5 * i), 6), share) for i, share in enumerate(shares)
        )
        rules |= {"take_profit_unit": unit, "take_profit_order": draw(st.sampled_from(["limit", "market"]))}
    trail = draw(st.sampled_from(["none", "unit", "level", "profit_share"]))
    if trail != "none":
        unit = draw(units)
        rules |= {"trail": trail, "trail_activation_unit": unit}
        rules["trail_activation"] = draw(st.sampled_from([0.0, round(0.4 * size[unit], 6)]))
        rules["trail_after"] = draw(st.sampled_from([0, min(1, len(shares))]))
        if trail != "level":
            rules["trail_distance"] = {"unit": round(0.97 * draw(far), 6), "profit_share": 0.437}[trail]
    if draw(st.booleans()):
        unit = draw(units)
        rules |= {"break_even_unit": unit, "break_even_distance": round(size[unit] * draw(near), 6)}
        rules["break_even_offset_bps"] = draw(st.sampled_from([0.0, 7.3]))
    rules["time_stop_bars"] = draw(st.sampled_from([0, 0, 0, 1, 5]))
    rules["volatility_multiple"] = draw(st.sampled_from([math.nan, math.nan, 1.437]))
    return Exits(**rules)


def command_of(bar, leg, tag, kind=Kind.MARKET, lots=0, **others):
    return {
        "bar": bar, "leg": leg, "tag": tag, "kind": kind, "tif": TimeInForce.GTC, "lots": lots, "limit_price": math.nan,
        "trigger_price": math.nan, "trigger_direction": 0, "trigger_by": TriggerBy.LAST, "reduce_only": 0,
        "stop_loss": math.nan, "take_profit": math.nan, **others,
    }  # fmt: skip


def commands_of(d, columns, instruments, cash, often, most=1.0):
    """Return random orders around the price, their brackets, and cancels of some of them."""
    rng, width, commands, tags = d.rng, d.width, [], {}
    n_legs, n = columns["close"].shape
    for i in range(n):
        for leg in range(n_legs):
            price, terms = columns["close"][leg, i], instruments[leg].terms[0]
            while rng.random() < often:
                if rng.random() < 0.2:
                    tag = int(rng.choice([0, len(tags) + 50, *list(tags.get(leg, [1]))[-4:]]))
                    commands.append(command_of(i, leg, tag, Kind.CANCEL))
                    continue
                at = 100.0 if math.isnan(price) else price
                side = int(rng.choice([1, -1]))
                size = most * cash * rng.choice([0.0001, 0.05, 0.2, 0.5, 1.1]) / at
                lots = side * int(max(rng.integers(1, 3), size / terms.qty_step))
                near = [float(on_tick(np.array([at * (1 + width * rng.normal())]), terms.tick)[0]) for _ in range(2)]
                others = {"tif": int(rng.choice(list(TimeInForce)))}
                kind = Kind(int(rng.choice([Kind.MARKET, Kind.LIMIT, Kind.LIMIT])))
                if kind == Kind.LIMIT:
                    others["limit_price"] = near[1]
                else:
                    others["tif"] = int(TimeInForce.GTC)
                if rng.random() < 0.4:
                    others |= {"trigger_price": near[0], "trigger_direction": int(rng.choice([1, -1]))}
                    others["trigger_by"] = int(rng.choice([TriggerBy.LAST, TriggerBy.LAST, TriggerBy.MARK]))
                if rng.random() < 0.25:
                    others["reduce_only"] = 1
                elif rng.random() < 0.4:
                    entry = others.get("limit_price", others.get("trigger_price", at))
                    away = side * 1.5 * width * at * rng.random(2) * rng.choice([1, -1], p=[0.9, 0.1])
                    stop, profit = on_tick(entry + np.array([-1.0, 1.0]) * away, terms.tick).tolist()
                    if rng.random() < 0.8:
                        others["stop_loss"] = stop
                    if rng.random() < 0.8:
                        others["take_profit"] = profit
                tag = sum(len(of_leg) for of_leg in tags.values()) + 1
                tags.setdefault(leg, []).append(tag)
                commands.append(command_of(i, leg, tag, kind, lots, **others))
    return commands


@dataclass
class Draws:
    """The draws that all kinds of cases begin with."""

    draw: Any
    bars: tuple = (10, 70)

    def __post_init__(self):
        self.n = self.draw(st.integers(*self.bars))
        self.rng = np.random.Generator(np.random.PCG64(self.draw(st.integers(0, 2**32))))
        self.width = self.draw(st.sampled_from([0.003, 0.015, 0.05, 0.2]))
        self.gaps = self.draw(st.sampled_from([0.0, 0.0, 0.15]))
        self.latency = self.draw(st.sampled_from([0, 0, 0, 1, 3]))
        self.intrabar = self.draw(st.sampled_from(["worse", "worse", "better"]))
        self.split = self.draw(st.sampled_from([0, self.n // 2]))

    def case(self, instruments, columns, costs, margin, exits, **others):
        general = {"latency": self.latency, "intrabar": self.intrabar, "split": self.split}
        return Case(instruments, columns, costs, margin, exits, **(general | others))


def margin_of(draw, instrument):
    highest = instrument.terms[0].max_leverage if instrument.market == "linear" else 25.0
    leverage = draw(st.sampled_from([None, 2.0, 5.0, 10.0, 20.0, 25.0]))
    leverage = None if leverage is None else min(leverage, highest)
    mode = draw(st.sampled_from(["cross", "isolated"]))
    return Margin(mode=mode, leverage=leverage, liquidation_fee_bps=draw(st.sampled_from([None, None, 12.5])))


@st.composite
def target_cases(draw):
    """One perpetual, targets only."""
    d = Draws(draw)
    instrument = instrument_of(draw, 0)
    columns, _ = bars_of(d.rng, d.n, instrument, d.width, d.gaps)
    most = draw(st.sampled_from([1.0, 3.0, 8.0]))
    columns["target"] = targets_of(d.rng, d.n, most)
    cash = draw(st.sampled_from([300.0, 10_000.0, 60_000.0]))
    return d.case(
        (instrument,), columns_of([columns]), (costs_of(draw),), margin_of(draw, instrument), (None,), cash=cash,
        max_leverage=most,
    )  # fmt: skip


@st.composite
def exit_cases(draw):
    """One perpetual with exits, targets, and now and then an order of the user."""
    d = Draws(draw)
    instrument = instrument_of(draw, 0)
    columns, _ = bars_of(d.rng, d.n, instrument, d.width, d.gaps, with_marks=draw(st.booleans()))
    columns["target"] = targets_of(d.rng, d.n, 2.0, often=0.5)
    columns, cash = columns_of([columns]), 10_000.0
    often = draw(st.sampled_from([0.0, 0.0, 0.1]))
    return d.case(
        (instrument,), columns, (costs_of(draw),), margin_of(draw, instrument), (exits_of(draw, d.width),),
        max_leverage=2.0, commands=commands_of(d, columns, (instrument,), cash, often),
    )  # fmt: skip


@st.composite
def command_cases(draw):
    """One perpetual and orders of all kinds, sometimes beside targets and exits."""
    d = Draws(draw)
    instrument = instrument_of(draw, 0)
    columns, _ = bars_of(d.rng, d.n, instrument, d.width, d.gaps, with_marks=draw(st.booleans()))
    if draw(st.booleans()):
        columns["target"] = targets_of(d.rng, d.n, 2.0, often=0.1)
    columns, cash = columns_of([columns]), draw(st.sampled_from([1_000.0, 10_000.0]))
    exits = exits_of(draw, d.width) if draw(st.sampled_from([False, False, True])) else None
    commands = commands_of(d, columns, (instrument,), cash, draw(st.sampled_from([0.2, 0.5])))
    if draw(st.sampled_from([False] * 19 + [True])):  # more than an account may have open
        lots = int(max(3, 600 / instrument.terms[0].qty_step / 500))
        commands += [command_of(2, 0, 1000 + i, Kind.LIMIT, lots, limit_price=60.0) for i in range(BOOK_CAPACITY + 3)]
    return d.case(
        (instrument,), columns, (costs_of(draw),), margin_of(draw, instrument), (exits,), max_leverage=2.0, cash=cash,
        commands=sorted(commands, key=lambda command: command["bar"]),
    )  # fmt: skip


@st.composite
def liquidation_cases(draw):
    """One perpetual with much leverage."""
    d = Draws(draw)
    instrument = instrument_of(draw, 0)
    lag = draw(st.sampled_from([0, 0, 3, 8]))
    d.width = max(d.width, 0.05 if lag else 0.0)
    columns, _ = bars_of(d.rng, d.n, instrument, d.width, d.gaps, with_marks=lag > 0 or draw(st.booleans()), lag=lag)
    margin = margin_of(draw, instrument)
    # As much as the leverage allows, or so near to it that the fees decide.
    near = draw(st.sampled_from([1.0, 0.999, 0.99, 0.97, 0.9]))
    most = round(near * (margin.leverage or draw(st.sampled_from([18.0, 8.0, 3.0]))), 6)
    columns["target"] = targets_of(d.rng, d.n, most, often=0.4)
    columns, cash = columns_of([columns]), draw(st.sampled_from([1_000.0, 4_000.0, 20_000.0]))
    exits = exits_of(draw, d.width) if draw(st.sampled_from([False, False, True])) else None
    commands = commands_of(d, columns, (instrument,), cash, draw(st.sampled_from([0.0, 0.3])), most)
    return d.case(
        (instrument,), columns, (costs_of(draw),), margin, (exits,), max_leverage=max(most, 1.0), cash=cash,
        commands=commands,
    )  # fmt: skip


@st.composite
def spot_cases(draw):
    """One coin, bought with the cash there is or with borrowed money, or sold short with borrowed coins."""
    d = Draws(draw)
    instrument = instrument_of(draw, 0, "spot")
    columns, _ = bars_of(d.rng, d.n, instrument, d.width, d.gaps)
    borrows = draw(st.booleans())
    margin, most = Margin(), 1.0
    if borrows:
        most = draw(st.sampled_from([1.5, 2.0, 4.0]))
        margin = Margin(
            borrow=True, spot_leverage=max(most, draw(st.sampled_from([2.0, 5.0]))),
            debt_ratio=draw(st.sampled_from([0.8, 0.97])),
            quote_rate_hourly=0.00037, base_rate_hourly=draw(st.sampled_from([0.00021, {instrument.symbol: 0.0013}])),
        )  # fmt: skip
    columns["target"] = targets_of(d.rng, d.n, most, is_spot=not borrows)
    columns, cash = columns_of([columns]), draw(st.sampled_from([400.0, 10_000.0]))
    exits = exits_of(draw, d.width) if draw(st.booleans()) else None
    commands = commands_of(d, columns, (instrument,), cash, draw(st.sampled_from([0.0, 0.3])), most)
    return d.case(
        (instrument,), columns, (costs_of(draw),), margin, (exits,), max_leverage=most, cash=cash, commands=commands,
        step_ns=draw(st.sampled_from([15, 60, 240])) * MINUTE_NS,
    )  # fmt: skip


@st.composite
def portfolio_cases(draw):
    """Two or three legs that share a wallet, with limits on what they hold together."""
    d = Draws(draw, bars=(10, 45))
    kinds = [("linear",) * 2, ("linear",) * 3, ("linear", "spot"), ("spot", "linear", "linear"), ("spot", "spot")]
    markets = draw(st.sampled_from(kinds))
    instruments = tuple(instrument_of(draw, i, market) for i, market in enumerate(markets))
    borrows = draw(st.sampled_from([False, False, True]))
    most = draw(st.sampled_from([1.0, 3.0, 8.0]))
    if "spot" in markets:
        most = 2.0 if borrows else 1.0
    legs = []
    for instrument in instruments:
        columns, _ = bars_of(d.rng, d.n, instrument, d.width, d.gaps, with_marks=draw(st.booleans()))
        columns["target"] = targets_of(d.rng, d.n, most, instrument.market == "spot" and not borrows, often=0.2)
        legs.append(columns)
    columns, cash = columns_of(legs), 10_000.0
    margin = Margin(
        mode=draw(st.sampled_from(["cross", "cross", "isolated"])), leverage=draw(st.sampled_from([None, 5.0, 10.0])),
        collateral_frac=draw(st.sampled_from([1.0, 0.85])), borrow=borrows, spot_leverage=3.0 if borrows else 1.0,
        debt_ratio=0.9, quote_rate_hourly=0.00037, base_rate_hourly=0.00053,
    )  # fmt: skip
    limits = draw(st.sampled_from([None, Limits(max_gross=1.7), Limits(max_net=0.6), Limits(2.3, 1.1, 0.9)]))
    exits = tuple(exits_of(draw, d.width) if draw(st.sampled_from([False, True])) else None for _ in legs)
    return d.case(
        instruments, columns, tuple(costs_of(draw) for _ in legs), margin, exits, max_leverage=most, limits=limits,
        commands=commands_of(d, columns, instruments, cash, draw(st.sampled_from([0.0, 0.1]))),
    )  # fmt: skip


@st.composite
def pair_cases(draw):
    """A coin and the perpetual that hedges it, bought and sold together."""
    d = Draws(draw, bars=(10, 45))
    instruments = (instrument_of(draw, 0, "spot"), instrument_of(draw, 1))
    legs = [bars_of(d.rng, d.n, instruments[0], d.width, d.gaps)[0]]
    # The perpetual's price follows the coin's.
    tick = instruments[1].terms[0].tick
    legs.append(bars_of(d.rng, d.n, instruments[1], d.width, d.gaps)[0])
    for name in ("open", "high", "low", "close"):
        coin = np.where(np.isnan(legs[0][name]), 100.0, legs[0][name])
        legs[1][name] = np.where(np.isnan(legs[1][name]), np.nan, on_tick(coin * 1.003, tick))
    legs[1]["mark"] = np.round(legs[1]["open"] * (1 + d.rng.normal(0, 0.003, d.n)), 4)
    legs[0]["target"] = targets_of(d.rng, d.n, 0.8, is_spot=True)
    limits, commands = None, []
    if draw(st.sampled_from([False, False, True])):  # beside a third leg
        instruments += (instrument_of(draw, 2),)
        legs.append(bars_of(d.rng, d.n, instruments[2], d.width, d.gaps)[0])
        legs[2]["target"] = targets_of(d.rng, d.n, 1.0)
        limits = draw(st.sampled_from([None, Limits(max_gross=1.7), Limits(max_net=0.6), Limits(2.3, 1.1, 0.5)]))
        commands = [c for c in commands_of(d, columns_of(legs), instruments, 1_000.0, 0.1) if c["leg"] == 2]
    margin = Margin(
        mode=draw(st.sampled_from(["cross", "isolated"])), leverage=draw(st.sampled_from([None, 2.0, 5.0])),
        collateral_frac=draw(st.sampled_from([1.0, 0.9])),
    )  # fmt: skip
    exits = tuple(exits_of(draw, d.width) if draw(st.sampled_from([False] * 4 + [True])) else None for _ in legs)
    return d.case(
        instruments, columns_of(legs), tuple(costs_of(draw) for _ in legs), margin, exits, pairs=((0, 1),),
        limits=limits, commands=commands,
        cash=draw(st.sampled_from([500.0, 10_000.0])),
    )  # fmt: skip


@st.composite
def fine_cases(draw):
    """One or two legs with finer bars that decide what the bar leaves open."""
    d = Draws(draw, bars=(10, 45))
    d.width = draw(st.sampled_from([0.015, 0.05, 0.2]))
    k, gaps = draw(st.sampled_from([2, 5])), draw(st.sampled_from([0.0, 0.1]))
    markets = draw(st.sampled_from([("linear",), ("linear",), ("spot",), ("linear", "linear"), ("linear", "spot")]))
    instruments = tuple(instrument_of(draw, i, market) for i, market in enumerate(markets))
    most = 1.0 if "spot" in markets else 4.0
    legs, fines = [], []
    for instrument in instruments:
        columns, fine = bars_of(d.rng, d.n, instrument, d.width, gaps, k=k, with_marks=draw(st.booleans()))
        fine = np.array(fine)
        fine[:, d.rng.random(fine.shape[1]) < 0.02] = np.nan
        columns["target"] = targets_of(d.rng, d.n, most, instrument.market == "spot", often=0.4)
        legs.append(columns)
        fines.append(fine)
    columns, cash = columns_of(legs), 10_000.0
    exits = tuple(exits_of(draw, d.width) if draw(st.sampled_from([False, True, True])) else None for _ in legs)
    return d.case(
        instruments, columns, tuple(costs_of(draw) for _ in legs), margin_of(draw, instruments[0]), exits,
        max_leverage=most, fine=tuple(np.array([fine[i] for fine in fines]) for i in range(4)),
        commands=commands_of(d, columns, instruments, cash, draw(st.sampled_from([0.0, 0.3]))),
    )  # fmt: skip


# ----------------------------------------------------------------------------- the plain engine against a calculator


def plain_account(margin, exits=None, intrabar="worse"):
    terms = Terms(0, 0.1, 0.001, 0.001, math.inf, 0.0, 0.0, 0.0, 8.0, 100.0, margin_tiers([(1e9, 0.005, 0.01)]))
    instrument = Instrument("bybit", "linear", "TESTUSDT", "TEST", "USDT", (terms,))
    return ReferenceEngine(
        (instrument,), (Costs(),), (exits,), exact(10_000.0), MINUTE_NS, margin, 0, exact(1.0), intrabar=intrabar
    )


def walk(engine, *bars):
    for i, (open_, high, low, close, target) in enumerate(bars):
        engine.step(i * MINUTE_NS, [Bar(*map(exact, (open_, high, low, close)), target=target)])
    return engine


@pytest.mark.parametrize(("target", "level", "bankruptcy"), [(1.0, 45_226.13, 45_000.0), (-1.0, 54_726.37, 55_000.0)])
def test_the_plain_engine_liquidates_an_isolated_position(target, level, bankruptcy):
    """Entry 50,000 at 10x and a maintenance margin of 0.5 %: 50,000 * 0.9 / 0.995 and 50,000 * 1.1 / 1.005."""
    engine = plain_account(Margin("isolated", leverage=10.0))
    still = (50_000.0,) * 4
    walk(engine, (*still, target), (*still, None))
    assert float(engine.liquidation_price(engine.legs[0])) == pytest.approx(level, abs=0.005)
    walk(engine, (50_000.0, 56_000.0, 44_000.0, 50_000.0, None))
    assert engine.fills[-1]["role"] == Role.LIQUIDATION
    assert (engine.fills[-1]["price"], engine.wallet) == (bankruptcy, 9_000)  # a tenth of what was held is lost


@pytest.mark.parametrize(("intrabar", "wallet"), [("worse", 9_500), ("better", 10_500)])
def test_the_plain_engine_takes_one_of_two_paths(intrabar, wallet):
    """Stop and take-profit, each 5 % away, lie both within a bar: 500 are lost or won, and 1,000 are in doubt."""
    exits = Exits(stop_distance=0.05, take_profits=((0.05, 1.0),))
    engine = plain_account(Margin(leverage=1.0), exits, intrabar)
    walk(engine, (100.0, 100.0, 100.0, 100.0, 1.0), (100.0, 106.0, 94.0, 100.0, None))
    assert (engine.wallet, engine.rows[-1]["ambiguous"]) == (wallet, 1_000)


# --------------------------------------------------------------------------------------- the engines, one by the other


KINDS = {
    "targets": (target_cases, 400),
    "exits": (exit_cases, 550),
    "commands": (command_cases, 500),
    "liquidation": (liquidation_cases, 450),
    "spot": (spot_cases, 300),
    "portfolio": (portfolio_cases, 350),
    "pairs": (pair_cases, 250),
    "fine": (fine_cases, 250),
}


@pytest.mark.parametrize("kind", KINDS)
def test_the_engine_equals_the_plain_one(kind):
    cases, examples = KINDS[kind]

    @settings(max_examples=examples)
    @given(cases())
    def check(case):
        assert_equal(case)

    check()


@pytest.mark.slow
def test_the_cases_reach_every_fate():
    """Cases that never ruin or reject would make the tests above say little."""
    seen = set()
    for cases, examples in KINDS.values():

        @settings(max_examples=examples, database=None)
        @given(cases())
        def collect(case):
            plain = run_reference(case)
            seen.update((order["role"].name, order["status"].name, order["reason"].name) for order in plain.orders)
            seen.update([("a bar", "AMBIGUOUS", "")] if any(row["ambiguous"] for row in plain.rows) else [])

        collect()
    roles, statuses, reasons = (set(names) for names in zip(*seen, strict=True))
    assert roles >= {role.name for role in Role}
    assert statuses >= {status.name for status in Status if status != Status.PENDING} | {"AMBIGUOUS"}
    assert reasons >= {reason.name for reason in Reason}
    # The rarer ends of an exit, of a forced close and of an order.
    assert seen >= {
        ("STOP", "CANCELLED", "NOTHING_TO_REDUCE"),
        ("LIQUIDATION", "FILLED", "LIQUIDATION"),
        ("RUIN", "FILLED", "RUINED"),
        ("COMMAND", "CANCELLED", "INSUFFICIENT_MARGIN"),
        ("TARGET", "CANCELLED", "EXITED"),
        ("TARGET", "FILLED", "EXPOSURE_LIMIT"),
    }
