"""A backtest engine to be read: what the platform assumes of orders, fills, margin and exits, without speed.

The compiled engine is tested against this one. It keeps exact fractions of the decimals that floats stand for, one
account-wide ``cash`` instead of a wallet, and walks each bar with ``if`` and lists. None stands for "unknown" or
"none". Start at :meth:`ReferenceEngine.step`: it is the course of one bar.

A position's wallet follows from its cash: buying a perpetual moves no money in truth, but it is simpler to let every
purchase pay its full value and to say ``wallet = cash + position * entry``: only fees, funding and realised gains
then change the wallet. The sum is the same, and no rounding enters by the averaging of entries.

Floats occur in one place: the square root in the impact of a fill. It ends in a price on the tick, so that its
rounding does not matter unless it lies within 1e-12 of a tick.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum, auto
from fractions import Fraction
from functools import lru_cache
from typing import Any

from research.execution.records import BOOK_CAPACITY, Kind, Reason, Role, Status, TimeInForce, TriggerBy
from research.market.instruments import Instrument, Terms

SNAP = Fraction(1, 10**12)
HOUR_NS = 3_600 * 10**9
STOP_ROLES = (Role.STOP, Role.TRAIL, Role.BREAK_EVEN)
TIMED_ROLES = (Role.TIME_STOP, Role.VOLATILITY)
EXIT_ROLES = (*STOP_ROLES, *TIMED_ROLES, Role.TAKE_PROFIT, Role.LIQUIDATION)


@lru_cache(maxsize=100_000)
def exact(number: float | None) -> Any:
    """Return the decimal that a float is the nearest one to; None if there is no number; infinity as it is."""
    if number is None or math.isnan(number):
        return None
    return number if math.isinf(number) else Fraction(repr(float(number)))


def sign(number: Any) -> int:
    return (number > 0) - (number < 0)


def whole(count: Fraction) -> int:
    """Truncate towards zero; a count within 1e-12 of a whole one is that one, as in the engine."""
    nearest = round(count)
    return nearest if abs(count - nearest) <= SNAP * max(1, abs(nearest)) else math.trunc(count)


def to_tick(price: Fraction, tick: Fraction, side: int) -> Fraction:
    """Return the tick above (side > 0) or below; never less than one tick."""
    count = price / tick
    ticks = whole(count)
    if side > 0 and count - ticks > SNAP * max(1, count):
        ticks += 1
    return max(ticks, 1) * tick


def common_step(first: Fraction, second: Fraction) -> Fraction:
    """Return the smallest quantity that is a whole number of both steps."""
    parts = math.lcm(first.numerator * second.denominator, second.numerator * first.denominator)
    return Fraction(parts, first.denominator * second.denominator)


# ---------------------------------------------------------------------------------------------------- what is given


@dataclass(frozen=True)
class Tier:
    cap: Any
    maintenance: Fraction
    initial: Fraction
    deduction: Fraction


class LegRules:
    """Contract terms, costs and exits of one leg, as exact numbers, while the terms hold."""

    def __init__(self, instrument: Instrument, terms: Terms, costs: Any, margin: Any, exits: Any = None):
        self.is_spot = instrument.market == "spot"
        self.tick, self.step = exact(terms.tick), exact(terms.qty_step)
        self.min_lots = math.ceil(exact(terms.min_qty) / self.step)
        self.max_lots = math.inf if math.isinf(terms.max_qty) else math.floor(exact(terms.max_qty) / self.step)
        self.min_notional = exact(terms.min_notional_quote) * (1 - SNAP)
        self.venue_leverage = exact(terms.max_leverage)
        self.tiers = [
            Tier(exact(t.cap_quote), exact(t.maintenance_frac), exact(t.initial_frac), exact(t.deduction_quote))
            for t in terms.tiers
        ]
        # In the order in which they count: what the account says, its fee tier by date, what the venue says.
        self.own_fees, venue = (costs.taker_fee_bps, costs.maker_fee_bps), (terms.taker_fee_bps, terms.maker_fee_bps)
        self.fees = [*((since, tuple(fees)) for since, *fees in reversed(costs.fee_schedule)), (-math.inf, venue)]
        self.own_liquidation_fee = margin.liquidation_fee_bps
        self.half_spread = exact(costs.half_spread_bps) / 10_000
        self.adverse = (exact(costs.half_spread_bps) + exact(costs.slippage_bps)) / 10_000
        self.slippage_unit = exact(costs.slippage_unit_frac)
        self.participation = exact(costs.participation_frac)
        self.impact_unit = exact(costs.impact_unit_frac)
        self.volume_cap = exact(costs.volume_cap_frac)
        self.carries, self.touch_fills = costs.carry, costs.touch_fills
        rate = margin.base_rate_hourly
        self.base_rate = exact(rate.get(instrument.symbol, 0.0) if isinstance(rate, Mapping) else rate)
        self.exits = None if exits is None else ExitRules(exits)

    def fee(self, is_maker: bool, ts: int) -> Fraction:
        """Return the fee as a fraction of the notional."""
        own = self.own_fees[is_maker]
        bps = own if own is not None else next(fees[is_maker] for since, fees in self.fees if since <= ts)
        return exact(bps) / 10_000

    def liquidation_fee(self, ts: int) -> Fraction:
        return self.fee(False, ts) if self.own_liquidation_fee is None else exact(self.own_liquidation_fee) / 10_000

    def tier(self, value: Fraction) -> Tier:
        return next((tier for tier in self.tiers if value <= tier.cap), self.tiers[-1])


class ExitRules:
    """The rules by which positions of a leg are left, as exact numbers."""

    def __init__(self, exits: Any):
        self.stop = (exact(exits.stop_distance), exits.stop_unit)
        self.take_profits = [
            ((exact(distance), exits.take_profit_unit), exact(share)) for distance, share in exits.take_profits
        ]
        self.take_profit_at_market = exits.take_profit_order == "market"
        self.trail, self.trail_distance = exits.trail, exact(exits.trail_distance)
        self.trail_after = exits.trail_after
        self.trail_activation = (exact(exits.trail_activation), exits.trail_activation_unit)
        self.break_even = (exact(exits.break_even_distance), exits.break_even_unit)
        self.break_even_offset = exact(exits.break_even_offset_bps) / 10_000
        self.time_stop_bars = exits.time_stop_bars
        self.volatility = exact(exits.volatility_multiple)
        self.stop_by_mark = exits.stop_by == "mark"

    def needs_unit(self) -> bool:
        """Whether a position cannot be opened by a target while the unit is unknown."""
        distances = [self.stop, self.trail_activation, self.break_even, *(step for step, _ in self.take_profits)]
        in_units = any(figure and unit == "unit" for figure, unit in distances)
        return in_units or self.trail == "unit" or self.volatility is not None


@dataclass
class Bar:
    """One bar of one leg; None is unknown. ``fine`` holds (open, high, low, close) of the finer bars within it."""

    open: Any = None
    high: Any = None
    low: Any = None
    close: Any = None
    volume: Any = None
    mark: Any = None
    mark_high: Any = None
    mark_low: Any = None
    mark_close: Any = None
    funding_rate: Any = Fraction(0)
    unit: Any = None
    trail_low: Any = None
    trail_high: Any = None
    target: Any = None
    fine: Sequence[tuple] = ()

    @property
    def is_gap(self) -> bool:
        return None in (self.open, self.high, self.low, self.close)

    @property
    def has_mark_path(self) -> bool:
        return None not in (self.mark_high, self.mark_low, self.mark_close)

    def basis(self) -> Any:
        """Return how far the mark is from the traded price at the open; without a path of its own it stays there."""
        return Fraction(0) if self.mark is None else self.mark - self.open

    def points(self) -> dict[str, tuple[Any, Any]]:
        """Return (price, mark) where the bar's path turns."""
        if self.has_mark_path:
            return {
                "low": (self.low, self.mark_low),
                "high": (self.high, self.mark_high),
                "close": (self.close, self.mark_close),
            }
        prices = {name: getattr(self, name) for name in ("low", "high", "close")}
        return {name: (price, price + self.basis()) for name, price in prices.items()}


# ------------------------------------------------------------------------------------------------- what is remembered


class Stage(Enum):
    """Where an open order is."""

    TRAVELLING = auto()  # decided, not yet at the venue
    WAITING = auto()  # a market order at the venue, of which volume has left a rest
    ARMED = auto()  # conditional, waits for its trigger
    RESTING = auto()  # a limit in the venue's book


@dataclass(eq=False)
class Order:
    """An open order; ``lots`` is what is left of ``ordered``, both signed."""

    order_id: int
    leg: Leg
    role: Role
    kind: Kind
    ordered: int
    decided_ts: int
    lots: int = 0
    wait: int = 0
    filled: int = 0
    tag: int = 0
    tif: TimeInForce = TimeInForce.GTC
    stage: Stage = Stage.TRAVELLING
    target: float = 0.0
    desired: int = 0  # position that an order to a target is to reach
    limit: Any = None
    trigger: Any = None
    trigger_direction: int = 0
    trigger_by: TriggerBy = TriggerBy.LAST
    reduce_only: bool = False
    carries: bool = False
    note: Reason = Reason.NONE  # said of the order even if it is filled
    partner_id: int = 0  # the other order of a pair
    stop_loss: Any = None
    take_profit: Any = None

    def __post_init__(self) -> None:
        self.lots = self.ordered


@dataclass(eq=False)
class Leg:
    """What the account remembers of one instrument."""

    index: int
    rules: LegRules
    lots: int = 0
    entry: Any = None  # average price of the position
    leverage: Any = Fraction(1)
    last_close: Any = None
    last_mark: Any = None
    unit: Any = None
    funding_since_fill: Any = Fraction(0)
    wish: float = 0.0  # the last target given
    standing: float = 0.0  # the last target acted upon
    blocked_side: int = 0  # the side that an exit has left and that no new target has asked for since
    # where the bar being walked stands
    now: Any = None
    mark_now: Any = None
    is_gap: bool = True
    volume: Any = None
    left: Any = math.inf  # lots that the bar's volume still allows
    # exits of the open position
    entry_bar: int = 0
    entry_lots: int = 0
    entry_unit: Any = None
    entered_within: bool = False
    best: Any = None
    risk: Any = None  # distance of the initial stop
    stop: Any = None
    stop_role: Role = Role.STOP
    stop_is_given: bool = False  # by the bracket of an order, not by the leg's rules
    was_broken_even: bool = False
    ladder: tuple = ()  # take-profits: (price, share)
    ladder_is_given: bool = False
    tp_next: int = 0
    tp_taken: int = 0  # lots that the current level has taken
    ladder_has_taken: bool = False

    @property
    def side(self) -> int:
        return sign(self.lots)

    @property
    def qty(self) -> Fraction:
        return self.lots * self.rules.step

    def lacks_unit(self) -> bool:
        """Whether an exit could not be placed because the unit is not known."""
        return self.unit is None and self.rules.exits is not None and self.rules.exits.needs_unit()

    def value(self, price: Any) -> Fraction:
        return self.qty * price if self.lots else Fraction(0)


@dataclass
class Level:
    """A price at which something happens: reached from below (direction +1) or from above (-1)."""

    rank: tuple  # among levels reached at the same moment the smallest comes first
    price: Fraction
    direction: int
    must_be_passed: bool  # touching it is not enough
    by_mark: bool
    act: Callable[[], None]

    def is_reached(self, price: Any) -> bool:
        beyond = self.direction * (price - self.price)
        return beyond > 0 or (beyond == 0 and not self.must_be_passed)


# ---------------------------------------------------------------------------------------------------------- the engine


@dataclass(eq=False)
class ReferenceEngine:
    """One account over its legs. Read :meth:`step` first."""

    instruments: Sequence[Instrument]
    costs: Sequence[Any]
    exits: Sequence[Any]
    cash: Fraction
    step_ns: int
    margin: Any
    latency_bars: int = 0
    max_leverage: Any = Fraction(1)
    limits: Any = None
    pairs: Sequence[tuple[int, int]] = ()
    intrabar: str = "worse"
    number: int = -1  # of the bar that is being walked
    last_id: int = 0
    is_ruined: bool = False
    is_walking: bool = False
    happened: int = 0  # counts fills and fates, to see whether a path met anything
    book: list[Order] = field(default_factory=list)
    orders: list[dict] = field(default_factory=list)
    fills: list[dict] = field(default_factory=list)
    rows: list[dict] = field(default_factory=list)

    def __post_init__(self) -> None:
        # Contract terms are dated: those at a bar's open hold for all of it, its close included.
        self.dated_rules = [
            [(terms.from_ns, LegRules(instrument, terms, costs, self.margin, exits)) for terms in instrument.terms]
            for instrument, costs, exits in zip(self.instruments, self.costs, self.exits, strict=True)
        ]
        self.legs = [Leg(index, dated[0][1]) for index, dated in enumerate(self.dated_rules)]
        self.is_cross = self.margin.mode == "cross"
        self.leverage = exact(self.margin.leverage)
        self.borrows = self.margin.borrow and any(leg.rules.is_spot for leg in self.legs)
        self.has_linear = any(not leg.rules.is_spot for leg in self.legs)
        self.fee = self.slippage = self.funding = self.interest = Fraction(0)
        self.ts = 0

    def step(self, ts: int, bars: Sequence[Bar], commands: Sequence[Mapping] = ()) -> None:
        """Take the account through one bar: ``bars`` has one for each leg."""
        self.ts, self.number = ts, self.number + 1
        self.fee = self.slippage = self.funding = self.interest = Fraction(0)
        for leg, dated in zip(self.legs, self.dated_rules, strict=True):
            leg.rules = [rules for since, rules in dated if since <= ts][-1]
        self.settle(bars)
        self.jump_to_open(bars)
        self.receive_orders()
        ambiguous = self.walk(bars)
        self.close(bars, commands)
        row = {name: getattr(self, name) for name in ("fee", "slippage", "funding", "interest", "wallet")}
        held = [leg.lots for leg in self.legs]
        row |= {
            "equity": self.equity(at_close=True),
            "maintenance": self.maintenance(at_close=True),
            "ambiguous": ambiguous,
        }
        self.rows.append({**row, "held": held})

    # ------------------------------------------------------------------------------------------------ sums of money

    @property
    def wallet(self) -> Fraction:
        return self.cash + sum(leg.value(leg.entry) for leg in self.legs if not leg.rules.is_spot)

    def equity(self, at_close: bool = False) -> Fraction:
        return self.cash + sum(leg.value(leg.last_close if at_close else leg.now) for leg in self.legs)

    def taker_price(self, leg: Leg, reference: Fraction, lots: int) -> Fraction:
        """Return what a market order of ``lots`` gets when the price is ``reference``.

        It pays half the spread and a fixed slippage, a share of the volatility, and the more the larger a part of the
        bar's volume it is: in proportion, and by the square root of that part times the volatility. What is not
        known costs nothing.
        """
        rules, side = leg.rules, sign(lots)
        unit = leg.unit or Fraction(0)
        part = abs(lots) * rules.step / leg.volume if leg.volume else Fraction(0)
        extra = rules.slippage_unit * unit + reference * rules.participation * part
        if part:
            extra += rules.impact_unit * unit * Fraction(math.sqrt(part))
        return to_tick(reference * (1 + side * rules.adverse) + side * extra, rules.tick, side)

    # ------------------------------------------------------------------------------ A to C: what happens at the open

    def settle(self, bars: Sequence[Bar]) -> None:
        """Pay funding and interest on what was held before the open."""
        hours = self.ts // HOUR_NS - (self.ts - self.step_ns) // HOUR_NS if self.borrows else 0
        for leg, bar in zip(self.legs, bars, strict=True):
            price = leg.last_close if bar.is_gap else bar.open
            if leg.rules.is_spot:
                if hours and leg.lots < 0:
                    self.interest -= leg.qty * price * leg.rules.base_rate * hours
            elif leg.lots:
                received = -leg.qty * (bar.mark or price) * bar.funding_rate
                self.funding += received
                leg.funding_since_fill += received
        self.cash += self.funding - self.interest
        if self.wallet < 0:
            on_quote = -self.wallet * exact(self.margin.quote_rate_hourly) * hours
            self.interest += on_quote
            self.cash -= on_quote

    def jump_to_open(self, bars: Sequence[Bar]) -> None:
        """Do what the open does to all that was at the venue before."""
        for leg, bar in zip(self.legs, bars, strict=True):
            leg.is_gap, leg.entered_within = bar.is_gap, False
            leg.now = leg.mark_now = leg.last_close
            leg.volume = bar.volume  # of this bar also in a gap, where only a liquidation of the account can trade
            if not bar.is_gap:
                cap = leg.rules.volume_cap
                unlimited = cap is None or bar.volume is None
                leg.left = math.inf if unlimited else whole(cap * bar.volume / leg.rules.step)
        self.jump([None if bar.is_gap else (bar.open, bar.mark or bar.open) for bar in bars])

    def jump(self, ends: Sequence[tuple | None]) -> None:
        """Put the legs at new prices: what is met is met there, since the price has not been anywhere between."""
        for leg, end in zip(self.legs, ends, strict=True):
            if end is not None:
                leg.now, leg.mark_now = end
        self.go_to(ends)

    def receive_orders(self) -> None:
        """Let orders that were under way reach the venue, the older first; in a gap there is no venue to reach."""
        for order in self.book:
            order.wait -= 1
        for order_id in [order.order_id for order in self.book]:
            order = self.open_order(order_id)
            if order and order.stage in (Stage.TRAVELLING, Stage.WAITING) and order.wait <= 0 and not order.leg.is_gap:
                self.receive(order)

    def receive(self, order: Order) -> None:
        leg = order.leg
        if order.kind == Kind.CANCEL:
            self.cancel(order)
        elif order.partner_id:
            self.receive_pair(order)
        elif order.trigger is not None and order.stage == Stage.TRAVELLING:
            order.stage = Stage.ARMED
            level = self.trigger_level(order)
            if level.is_reached(leg.mark_now if level.by_mark else leg.now):
                level.act()
        elif order.kind == Kind.LIMIT:
            self.meet_as_limit(order)
        else:
            self.meet_as_market(order)

    def cancel(self, order: Order) -> None:
        at_venue = [o for o in self.book if o.leg is order.leg and o.role == Role.COMMAND]
        at_venue = [o for o in at_venue if o.stage != Stage.TRAVELLING and order.tag in (0, o.tag)]
        for found in at_venue:
            self.finish(found, Status.CANCELLED, Reason.BY_COMMAND)
        if at_venue or order.tag == 0:
            self.finish(order, Status.FILLED)
        else:
            self.finish(order, Status.REJECTED, Reason.UNKNOWN_TAG)

    def receive_pair(self, first: Order) -> None:
        """Fill both orders of a pair or neither: a hedge with one leg is no hedge."""
        second = self.open_order(first.partner_id)
        if second.order_id < first.order_id or second.leg.is_gap:
            return  # the later order is looked at together with the earlier; a gap in one leg keeps both waiting
        kept = self.not_left([(order.leg, order.desired, sign(order.desired)) for order in (first, second)])
        if len(kept) < 2:
            first.partner_id = second.partner_id = 0
            for order in (first, second):
                if (order.leg, order.desired) in kept:
                    self.meet_as_market(order)
                else:
                    self.finish(order, Status.CANCELLED, Reason.EXITED)
            return
        trial = self.fork()
        for order_id in (first.order_id, second.order_id):
            order = trial.open_order(order_id)
            order.leg.left = math.inf  # the whole of both must be possible, whatever volume lets through now
            trial.meet_as_market(order)
        refused = any(row["status"] == Status.REJECTED for row in trial.orders[len(self.orders) :])
        first.partner_id = second.partner_id = 0
        for order in (first, second):
            if refused:
                self.finish(order, Status.REJECTED, Reason.INSUFFICIENT_MARGIN)
            else:
                self.meet_as_market(order)

    # ------------------------------------------------------------------------------------------ D: the way within it

    def walk(self, bars: Sequence[Bar]) -> Fraction:
        """Walk the bar and return how much its other possible order of events would have changed the equity.

        A bar says where the price was, not in which order. Low first and high first are both walked; if the outcomes
        differ, finer bars decide where there are any, else the worse of the two counts (or the better, if so set).
        """
        self.is_walking = True
        outcome, difference = self.either_path([None if bar.is_gap else bar.points() for bar in bars])
        traded = [bar for bar in bars if not bar.is_gap]
        if difference and traded and all(bar.fine and None not in sum(bar.fine, ()) for bar in traded):
            difference = self.walk_finely(bars)
        else:
            self.become(outcome)
        self.is_walking = False
        return difference

    def walk_finely(self, bars: Sequence[Bar]) -> Fraction:
        total = Fraction(0)
        for i in range(next(len(bar.fine) for bar in bars if not bar.is_gap)):
            # Finer bars have no marks; Bar.basis() of a fine bar is to be that of the whole bar.
            fine = [Bar() if bar.is_gap else Bar(*bar.fine[i], mark=bar.fine[i][0] + bar.basis()) for bar in bars]
            self.jump([None if bar.is_gap else (bar.open, bar.mark) for bar in fine])
            outcome, difference = self.either_path([None if bar.is_gap else bar.points() for bar in fine])
            self.become(outcome)
            total += difference
        self.jump([None if bar.is_gap else bar.points()["close"] for bar in bars])
        return total

    def either_path(self, points: Sequence[dict | None]) -> tuple[ReferenceEngine, Fraction]:
        """Return the account after the path that counts, and what the other would have changed."""
        low_first = self.fork()
        low_first.follow(points, ("low", "high", "close"))
        if low_first.happened == self.happened:
            return low_first, Fraction(0)  # nothing is met in this order, hence nothing in the other
        high_first = self.fork()
        high_first.follow(points, ("high", "low", "close"))
        worth, other = low_first.equity(), high_first.equity()
        difference = abs(worth - other)
        if difference <= Fraction(1, 10**9) * max(1, abs(worth)):
            return low_first, Fraction(0)
        takes_other = other < worth if self.intrabar == "worse" else other > worth
        return (high_first if takes_other else low_first), difference

    def follow(self, points: Sequence[dict | None], names: Sequence[str]) -> None:
        for name in names:
            self.go_to([None if point is None else point[name] for point in points])

    def go_to(self, ends: Sequence[tuple | None]) -> None:
        """Move all legs along one stretch, one leg after the other, then look at the account as a whole."""
        for leg, end in zip(self.legs, ends, strict=True):
            if end is not None:
                self.move(leg, *end)
        self.check_account()

    def move(self, leg: Leg, price: Fraction, mark: Fraction) -> None:
        """Move one leg in a straight line, and do what it meets on the way, one thing after the other."""
        start, mark_start, travelled = leg.now, leg.mark_now, Fraction(0)
        while True:
            meetings = []
            for level in self.levels(leg):
                here, begin, end = (leg.mark_now, mark_start, mark) if level.by_mark else (leg.now, start, price)
                if level.is_reached(here):
                    meetings.append((travelled, level.rank, level))
                elif level.is_reached(end):
                    meetings.append(((level.price - begin) / (end - begin), level.rank, level))
            if not meetings:
                break
            travelled, _, level = min(meetings, key=lambda meeting: meeting[:2])
            leg.now = start + travelled * (price - start)
            leg.mark_now = mark_start + travelled * (mark - mark_start)
            self.happened += 1
            level.act()
        leg.now, leg.mark_now = price, mark

    def levels(self, leg: Leg) -> list[Level]:
        """Return all that can happen to a leg while its price moves."""
        found, side, exits = [], leg.side, leg.rules.exits
        leaving = self.is_leaving(leg)
        if side and leg.stop is not None and not leaving:
            by_mark = exits is not None and exits.stop_by_mark
            found.append(Level((1,), leg.stop, -side, False, by_mark, lambda: self.stop_out(leg)))
        for order in self.book:
            if order.leg is leg and order.stage == Stage.ARMED:
                found.append(self.trigger_level(order))
            if order.leg is leg and order.stage == Stage.RESTING and leg.left >= 1:
                strict, direction = not leg.rules.touch_fills, -sign(order.lots)
                rest = self.meet_as_resting(order)
                found.append(Level((2, order.order_id), order.limit, direction, strict, False, rest))
        lots = 0 if leaving else self.ladder_lots(leg)
        if lots:
            at_market = exits is not None and exits.take_profit_at_market
            if at_market or leg.left >= 1:
                price, strict = leg.ladder[leg.tp_next][0], not (at_market or leg.rules.touch_fills)
                act = self.take_profit(leg, lots, at_market)
                found.append(Level((3,), price, side, strict, False, act))
        liquidation = self.liquidation_price(leg)
        if liquidation is not None:
            found.append(Level((4,), liquidation, -side, False, True, lambda: self.liquidate(leg)))
        return found

    def is_leaving(self, leg: Leg) -> bool:
        """Whether an exit has a rest at the venue: no other exit of the leg begins before volume has let it end."""
        return any(o.leg is leg and o.role in EXIT_ROLES and o.stage == Stage.WAITING for o in self.book)

    def trigger_level(self, order: Order) -> Level:
        def act() -> None:
            self.happened += 1
            if order.kind == Kind.LIMIT:
                self.meet_as_limit(order)
            else:
                self.meet_as_market(order)

        by_mark = order.trigger_by == TriggerBy.MARK
        return Level((2, order.order_id), order.trigger, order.trigger_direction, False, by_mark, act)

    # --------------------------------------------------------------------------------------- how orders meet a price

    def meet_as_market(self, order: Order) -> None:
        """Fill a market order at the price where its leg stands, as far as the bar's volume goes."""
        leg = order.leg
        if order.role == Role.TARGET:
            if order.desired and sign(order.desired) == leg.blocked_side:
                self.finish(order, Status.CANCELLED, Reason.EXITED)
                return
            lots = order.desired - leg.lots
            if sign(lots) != sign(order.ordered):
                self.finish(order, Status.CANCELLED, Reason.NOTHING_TO_DO)
                return
            order.lots = lots
        self.take(order, lambda lots: self.taker_price(leg, leg.now, lots))
        if order in self.book:
            order.stage = Stage.WAITING
            if not order.carries:
                self.finish(order, Status.CANCELLED, Reason.NO_LIQUIDITY)

    def meet_as_limit(self, order: Order) -> None:
        """Take what a limit order finds when it comes to the market, or let it rest there."""
        leg, rules, side = order.leg, order.leg.rules, sign(order.lots)
        touch = to_tick(leg.now * (1 + side * rules.half_spread), rules.tick, side)
        if side * (order.limit - touch) >= 0:
            if order.tif == TimeInForce.POST_ONLY:
                self.finish(order, Status.REJECTED, Reason.POST_ONLY_WOULD_TAKE)
                return
            better = min if side > 0 else max
            self.take(order, lambda lots: better(self.taker_price(leg, leg.now, lots), order.limit))
            if order in self.book and order.tif == TimeInForce.IOC:
                self.finish(order, Status.CANCELLED, Reason.NO_LIQUIDITY)
        elif order.tif == TimeInForce.IOC:
            self.finish(order, Status.CANCELLED, Reason.NOT_MARKETABLE)
        order.stage = Stage.RESTING

    def meet_as_resting(self, order: Order) -> Callable[[], None]:
        return lambda: self.take(order, lambda lots: order.limit, is_maker=True)

    def take(self, order: Order, price_of: Callable[[int], Fraction], is_maker: bool = False) -> None:
        """Fill what can be filled of an order now; it stays in the book with what is left."""
        leg, side = order.leg, sign(order.lots)
        owns_only = leg.rules.is_spot and not self.margin.borrow and order.role == Role.COMMAND and side < 0
        wanted = abs(order.lots)
        if order.reduce_only or owns_only:
            wanted = min(wanted, -side * leg.lots)  # no more than the order can close
            if wanted <= 0:
                self.finish(order, Status.CANCELLED, Reason.NOTHING_TO_REDUCE)
                return
        lots = side * min(wanted, leg.left)
        if lots == 0:
            return
        order.lots = side * wanted
        price, reference = price_of(lots), order.limit if is_maker else leg.now
        fee_frac = leg.rules.fee(is_maker, self.ts)
        refusal = Reason.NONE
        if not leg.rules.is_spot or self.margin.borrow:
            refusal = self.why_not_fill(leg, lots, price, fee_frac)
        elif side > 0:
            affordable = self.affordable_lots(leg, lots, price)
            if affordable == 0 or (affordable < lots and order.partner_id):
                refusal = Reason.INSUFFICIENT_MARGIN
            elif affordable < lots:
                lots = order.lots = affordable  # what no money is left for is dropped
                price = price_of(lots)
        if refusal != Reason.NONE:
            was_accepted = order.stage == Stage.RESTING or order.filled != 0
            self.finish(order, Status.CANCELLED if was_accepted else Status.REJECTED, refusal)
            return
        leg.left -= abs(lots)
        self.fill(order, lots, price, reference, abs(lots) * leg.rules.step * price * fee_frac, is_maker)

    def affordable_lots(self, leg: Leg, lots: int, price: Fraction) -> int:
        rules, cash = leg.rules, self.wallet
        if not self.is_cross:  # what isolated positions hold as margin cannot be spent
            held = [other for other in self.legs if other.lots and not other.rules.is_spot]
            cash -= sum(abs(other.value(other.entry)) / other.leverage for other in held)
        most = whole(max(cash, Fraction(0)) / (price * (1 + leg.rules.fee(False, self.ts))) / rules.step)
        if most >= lots:
            return lots
        return most if most >= rules.min_lots and most * rules.step * price >= rules.min_notional else 0

    def fill(
        self, order: Order, lots: int, price: Fraction, reference: Fraction, fee: Fraction, is_maker: bool = False,
        ts: int | None = None, reason: Reason = Reason.NONE,
    ) -> None:  # fmt: skip
        """Trade ``lots`` at ``price``: the only place where a position changes."""
        leg, before = order.leg, order.leg.lots
        after, qty = before + lots, lots * leg.rules.step
        closed = min(abs(before), abs(lots)) * leg.side if before * lots < 0 else 0
        realised = closed * leg.rules.step * (price - leg.entry) if closed else Fraction(0)
        opens = after != 0 and before * after <= 0
        grows = opens or abs(after) > abs(before)
        self.cash -= qty * price + fee
        self.fee += fee
        self.slippage += qty * (price - reference)
        if opens:
            leg.entry = price
        elif grows:
            leg.entry = (before * leg.entry + lots * price) / after
        if grows and not leg.rules.is_spot:
            leg.leverage = self.leverage_for(leg, abs(after) * leg.rules.step * price)
        leg.lots = after
        done_at = self.ts if ts is None else ts
        self.fills.append({
            "ts": done_at, "bar": self.number, "order_id": order.order_id, "leg": leg.index, "role": order.role,
            "is_maker": int(is_maker), "lots": lots, "price": price, "reference": reference, "fee": fee,
            "slippage": qty * (price - reference), "realised": realised, "funding": leg.funding_since_fill,
            "position_lots": after, "qty": qty, "position_qty": leg.qty,
        })  # fmt: skip
        leg.funding_since_fill = Fraction(0)
        order.filled += lots
        order.lots -= lots
        if order.lots == 0:
            self.finish(order, Status.FILLED, reason, ts)
        if after == 0:
            self.leave(leg, sign(before), order.role)
        elif grows:
            if opens:
                self.enter(leg, price)
            self.set_levels(leg)
            self.set_bracket(leg, order)

    def open_order(self, order_id: int) -> Any:
        return next((order for order in self.book if order.order_id == order_id), None)

    def finish(self, order: Order, status: Status, reason: Reason = Reason.NONE, ts: int | None = None) -> None:
        """Write the fate of an order and forget it."""
        self.happened += 1
        self.book = [o for o in self.book if o is not order]
        if reason == Reason.NONE and status == Status.FILLED:
            reason = order.note
        self.orders.append({
            "order_id": order.order_id, "tag": order.tag, "leg": order.leg.index, "role": order.role,
            "kind": order.kind, "decided_ts": order.decided_ts, "done_ts": self.ts if ts is None else ts,
            "lots": order.ordered, "filled_lots": order.filled, "status": status, "reason": reason,
            "target": order.target, "limit_price": order.limit, "trigger_price": order.trigger,
        })  # fmt: skip

    def new_order(self, leg: Leg, role: Role, kind: Kind, lots: int, decided_ts: int, **others: Any) -> Order:
        """Number an order and put it into the book."""
        self.last_id += 1
        order = Order(self.last_id, leg, role, kind, lots, decided_ts, **others)
        self.book.append(order)
        return order

    # ------------------------------------------------------------------------------------------ margin and liquidation

    def leverage_for(self, leg: Leg, value: Fraction) -> Fraction:
        """Return the leverage of a position: what is set, else the most that venue and tier allow."""
        if self.leverage is not None:
            return self.leverage
        return min(leg.rules.venue_leverage, 1 / leg.rules.tier(value).initial)

    def why_not_fill(self, leg: Leg, lots: int, price: Fraction, fee_frac: Fraction) -> Reason:
        """Say why a fill may not be made; one that only makes a position smaller always may."""
        before, after = leg.lots, leg.lots + lots
        if abs(after) <= abs(before) and before * after >= 0:
            return Reason.NONE
        if leg.rules.is_spot:
            return self.why_not_borrow(leg, lots, price, fee_frac)
        step, side, taker = leg.rules.step, sign(lots), leg.rules.fee(False, self.ts)
        value = abs(after) * step * price
        if value > leg.rules.tiers[-1].cap:
            return Reason.ABOVE_RISK_LIMIT
        leverage = self.leverage_for(leg, value)
        if 1 / leverage * (1 + SNAP) < leg.rules.tier(value).initial:
            return Reason.ABOVE_TIER_LEVERAGE
        closed = -before if before * lots < 0 else 0
        growth = abs(lots - closed) * step
        # The fee to open, and that to close where the margin is used up, which must be there in advance.
        fees = growth * price * taker * (1 + (1 - side / leverage))
        others = [other for other in self.legs if other is not leg and not other.rules.is_spot and other.lots]
        if self.is_cross:
            have = self.cash + leg.value(leg.now)
            for other in self.legs:
                if other is not leg:
                    have += other.value(other.now) * (self.collateral() if other.rules.is_spot else 1)
            used = sum(abs(other.value(other.now)) / other.leverage for other in others)
            # What the fill itself loses against the price where the leg stands has to be there too.
            lost = growth * max(side * (price - leg.now), Fraction(0))
            need = used + value / leverage + fees + lost
        else:
            realised = -closed * step * (price - leg.entry) if closed else Fraction(0)
            entry = price if closed or not before else (before * leg.entry + lots * price) / after
            have = self.wallet + realised
            used = sum(abs(other.value(other.entry)) / other.leverage for other in others)
            need = used + abs(after) * step * entry / leverage + fees
        return Reason.NONE if need <= have + SNAP * abs(have) else Reason.INSUFFICIENT_MARGIN

    def why_not_borrow(self, leg: Leg, lots: int, price: Fraction, fee_frac: Fraction) -> Reason:
        """Say whether a spot trade would leave more debt than the leverage allows on what would be owned."""
        qty = lots * leg.rules.step
        trial = self.fork()
        mine = trial.legs[leg.index]
        trial.cash -= qty * price + abs(qty) * price * fee_frac
        mine.lots += lots
        owned, owed = trial.balance()
        allowed = (exact(self.margin.spot_leverage) - 1) * (owned - owed)
        return Reason.NONE if owed <= allowed + SNAP * abs(allowed) else Reason.INSUFFICIENT_MARGIN

    def collateral(self) -> Fraction:
        return exact(self.margin.collateral_frac)

    def balance(self) -> tuple[Fraction, Fraction]:
        """Return what is owned and what is owed where the legs stand."""
        parts = [self.wallet]
        for leg in self.legs:
            parts.append(leg.value(leg.now) - (0 if leg.rules.is_spot else leg.value(leg.entry)))
        return sum((p for p in parts if p > 0), Fraction(0)), -sum((p for p in parts if p < 0), Fraction(0))

    def liquidation_price(self, leg: Leg) -> Fraction | None:
        """Return the mark at which the position's margin is down to what must be maintained, if one leg decides that.

        The maintenance margin is the largest of what the tiers say (their deductions join them without a jump), so
        the position falls at the first of the tiers' levels: for a long the highest, for a short the lowest.
        """
        side, rules = leg.side, leg.rules
        if not side or rules.is_spot or (self.is_cross and len(self.legs) > 1):
            return None
        qty, entry, lever = abs(leg.qty), leg.entry, 1 - side / leg.leverage
        levels = []
        for tier in rules.tiers:
            if self.is_cross:
                kept = tier.maintenance + lever * leg.rules.liquidation_fee(self.ts)
                paid = qty * entry - side * (self.wallet + tier.deduction)
            else:
                kept = tier.maintenance
                paid = qty * entry * lever - side * tier.deduction
            levels.append(paid / (qty * (1 - side * kept)))
        if side < 0:
            return min(levels)
        return max(levels) if max(levels) > 0 else None

    def liquidate(self, leg: Leg) -> None:
        """Close a position at the price at which nothing is left of its margin, whatever the market is at."""
        side, qty, tick = leg.side, abs(leg.qty), leg.rules.tick
        fee_frac = leg.rules.liquidation_fee(self.ts)
        order = self.new_order(leg, Role.LIQUIDATION, Kind.MARKET, -leg.lots, self.ts)
        if not self.is_cross:
            bankruptcy = leg.entry * (1 - side / leg.leverage)
            price = to_tick(bankruptcy, tick, -side)
            self.fill(order, -leg.lots, price, price, qty * price * fee_frac, reason=Reason.LIQUIDATION)
            return
        bankruptcy = (qty * leg.entry - side * self.wallet) / (qty * (1 - side * fee_frac))
        price = to_tick(bankruptcy, tick, side)  # for the account: the rest is taken as a fee anyhow
        rest = self.cash + leg.qty * price
        self.fill(order, -leg.lots, price, price, rest, reason=Reason.LIQUIDATION)
        self.end_account(self.ts)

    def maintenance(self, at_close: bool = False) -> Fraction:
        """Return the margin that the perpetuals need where their marks stand, the fee of closing them included."""
        total = Fraction(0)
        for leg in self.legs:
            if leg.lots and not leg.rules.is_spot:
                value, lever = abs(leg.value(leg.last_mark if at_close else leg.mark_now)), 1 - leg.side / leg.leverage
                tier = leg.rules.tier(value)
                total += value * (tier.maintenance + lever * leg.rules.liquidation_fee(self.ts)) - tier.deduction
        return total

    def check_account(self) -> None:
        """Liquidate an account whose legs share one margin, or whose debt has come near to what it owns."""
        held = [leg for leg in self.legs if leg.lots]
        if not held:
            return
        if self.is_cross and self.has_linear and len(self.legs) > 1:
            balance, maintenance = self.wallet, self.maintenance()
            for leg in held:
                if leg.rules.is_spot:
                    balance += self.collateral() * leg.value(leg.now)
                else:
                    balance += leg.value(leg.mark_now) - leg.value(leg.entry)
            if maintenance > 0 and balance <= maintenance:
                self.close_all(Role.LIQUIDATION, Reason.LIQUIDATION, takes_rest=True)
                self.end_account(self.ts)
                return
        if self.borrows:
            owned, owed = self.balance()
            if owed > 0 and owed >= exact(self.margin.debt_ratio) * owned:
                self.close_all(Role.LIQUIDATION, Reason.LIQUIDATION)

    def close_all(self, role: Role, reason: Reason, takes_rest: bool = False, ts: int | None = None) -> None:
        """Close every position where its leg stands, at market, regardless of volume."""
        held = [leg for leg in self.legs if leg.lots]
        for leg in held:
            lots = -leg.lots
            price = self.taker_price(leg, leg.now, lots)
            fee_frac = leg.rules.liquidation_fee(self.ts) if role == Role.LIQUIDATION else leg.rules.fee(False, self.ts)
            fee = abs(leg.qty) * price * fee_frac
            if takes_rest and leg is held[-1]:
                fee = max(self.cash - lots * leg.rules.step * price, Fraction(0))  # what is missing stays a debt
            order = self.new_order(leg, role, Kind.MARKET, lots, self.ts if ts is None else ts)
            self.fill(order, lots, price, leg.now, fee, ts=ts, reason=reason)

    def end_account(self, ts: int) -> None:
        self.is_ruined = True
        for order in list(self.book):
            self.finish(order, Status.REJECTED, Reason.RUINED, ts)

    # ------------------------------------------------------------------------------------------------------- exits

    def distance(self, leg: Leg, figure: tuple[Any, str]) -> Any:
        """Return a distance in quote currency: counted in the entry price, the unit at the entry, or the risk."""
        number, unit = figure
        if number == 0:
            return number
        counted_in = {"frac": leg.entry, "unit": leg.entry_unit, "risk": leg.risk}.get(unit)
        return None if number is None or counted_in is None else number * counted_in

    def enter(self, leg: Leg, price: Fraction) -> None:
        leg.entry_bar, leg.entry_unit, leg.entry_lots = self.number, leg.unit, 0
        leg.best, leg.entered_within = price, self.is_walking
        leg.stop, leg.stop_role, leg.stop_is_given, leg.was_broken_even, leg.risk = None, Role.STOP, False, False, None
        leg.ladder, leg.ladder_is_given, leg.ladder_has_taken, leg.tp_next, leg.tp_taken = (), False, False, 0, 0

    def leave(self, leg: Leg, side: int, role: Role) -> None:
        leg.entry, leg.stop, leg.ladder = None, None, ()
        if role in EXIT_ROLES:
            leg.blocked_side = side
        for order in [o for o in self.book if o.leg is leg and o.reduce_only]:
            # An exit by time belongs to its position and ends with it, under way or not.
            if order.stage != Stage.TRAVELLING or order.role in TIMED_ROLES:
                self.finish(order, Status.CANCELLED, Reason.NOTHING_TO_REDUCE)

    def set_levels(self, leg: Leg) -> None:
        """Put the levels of the leg's rules around the average entry; called whenever the position has grown."""
        leg.entry_lots = max(leg.entry_lots, abs(leg.lots))
        exits, side, tick = leg.rules.exits, leg.side, leg.rules.tick
        if exits is None:
            return
        if not leg.stop_is_given:
            leg.risk = self.distance(leg, exits.stop)
            if leg.risk is not None and leg.stop_role == Role.STOP:
                leg.stop = to_tick(leg.entry - side * leg.risk, tick, -side)
        self.set_ladder(leg)
        if not leg.ladder_has_taken:
            leg.tp_next = 0  # what was passed over as too small may be large enough now

    def set_ladder(self, leg: Leg) -> None:
        if leg.rules.exits is None or leg.ladder_is_given:
            return
        steps = [(self.distance(leg, figure), share) for figure, share in leg.rules.exits.take_profits]
        leg.ladder = tuple(
            (to_tick(leg.entry + leg.side * step, leg.rules.tick, leg.side), share)
            for step, share in steps
            if step is not None
        )

    def set_bracket(self, leg: Leg, order: Order) -> None:
        """Put the levels that an order brought with it in the place of those of the rules."""
        if order.stop_loss is not None:
            leg.stop, leg.stop_role, leg.stop_is_given = order.stop_loss, Role.STOP, True
            leg.risk = abs(leg.entry - leg.stop)
            self.set_ladder(leg)  # its distances may be counted in the risk
            if leg.rules.exits is not None:
                self.set_levels(leg)  # a ladder that is counted in the risk has another one now
        if order.take_profit is not None:
            leg.ladder, leg.ladder_is_given = ((order.take_profit, Fraction(1)),), True
            leg.tp_next = leg.tp_taken = 0

    def ladder_lots(self, leg: Leg) -> int:
        """Return the lots that the next take-profit has to take; levels too small for one lot are passed over."""
        takes_all = sum(share for _, share in leg.ladder) >= 1 - Fraction(1, 10**9)
        while leg.lots and leg.tp_next < len(leg.ladder):
            if takes_all and leg.tp_next == len(leg.ladder) - 1:
                return abs(leg.lots)
            lots = whole(leg.ladder[leg.tp_next][1] * leg.entry_lots) - leg.tp_taken
            if lots > 0:
                return min(lots, abs(leg.lots))
            leg.tp_next, leg.tp_taken = leg.tp_next + 1, 0
        return 0

    def exit_order(self, leg: Leg, role: Role, kind: Kind, lots: int, **others: Any) -> Order:
        return self.new_order(leg, role, kind, lots, reduce_only=True, carries=True, **others)

    def stop_out(self, leg: Leg) -> None:
        for order in [o for o in self.book if o.leg is leg and o.role == Role.TARGET and o.stage == Stage.WAITING]:
            if sign(order.desired) == leg.side:  # else its rest would go on adding to what is being left
                self.finish(order, Status.CANCELLED, Reason.EXITED)
        self.meet_as_market(self.exit_order(leg, leg.stop_role, Kind.MARKET, -leg.lots, decided_ts=self.ts))

    def take_profit(self, leg: Leg, lots: int, at_market: bool) -> Callable[[], None]:
        def act() -> None:
            leg.ladder_has_taken = True
            price, side = leg.ladder[leg.tp_next][0], leg.side
            if at_market:
                leg.tp_next, leg.tp_taken = leg.tp_next + 1, 0
                self.meet_as_market(
                    self.exit_order(leg, Role.TAKE_PROFIT, Kind.MARKET, -side * lots, decided_ts=self.ts)
                )
                return
            taken = min(lots, leg.left)
            leg.tp_next, leg.tp_taken = (leg.tp_next + 1, 0) if taken == lots else (leg.tp_next, leg.tp_taken + taken)
            order = self.exit_order(
                leg, Role.TAKE_PROFIT, Kind.LIMIT, -side * taken, decided_ts=self.ts, limit=price, stage=Stage.RESTING
            )
            self.meet_as_resting(order)()

        return act

    def manage(self, leg: Leg, bar: Bar) -> None:
        """Move the stop and give up what has lasted too long, by what is known at the close."""
        exits, side = leg.rules.exits, leg.side
        better = max if side > 0 else min
        # Of the bar of an entry within it, only the close is known to have come after the entry.
        leg.best = better(leg.best, bar.close if leg.entered_within else bar.high if side > 0 else bar.low)
        if exits is None:
            return
        gain = side * (leg.best - leg.entry)
        distance = self.distance(leg, exits.break_even)
        if distance is not None and not leg.was_broken_even and gain >= distance:
            leg.was_broken_even = True
            self.move_stop(leg, leg.entry * (1 + side * exits.break_even_offset), Role.BREAK_EVEN)
        activation = self.distance(leg, exits.trail_activation)
        # A trailing stop without activation trails at once, even if the best price is worse than an averaged entry.
        is_active = activation is not None and (activation == 0 or gain >= activation)
        self.ladder_lots(leg)  # passes over what is too small
        level = None
        if is_active and leg.tp_next >= exits.trail_after:
            if exits.trail == "unit" and leg.unit is not None:
                level = leg.best - side * exits.trail_distance * leg.unit
            elif exits.trail == "level":
                given = bar.trail_low if side > 0 else bar.trail_high
                level = given if given is not None and side * (bar.close - given) > 0 else None
            elif exits.trail == "profit_share" and gain > 0:
                level = leg.entry + (1 - exits.trail_distance) * (leg.best - leg.entry)
        if level is not None:
            self.move_stop(leg, level, Role.TRAIL)
        if self.is_leaving(leg) or any(o.leg is leg and o.role in TIMED_ROLES for o in self.book):
            return
        role = None
        if exits.time_stop_bars and self.number - leg.entry_bar + 1 >= exits.time_stop_bars:
            role = Role.TIME_STOP
        elif exits.volatility is not None and None not in (leg.unit, leg.entry_unit):
            role = Role.VOLATILITY if leg.unit >= exits.volatility * leg.entry_unit else None
        if role is not None:
            closes = self.ts + self.step_ns
            self.exit_order(leg, role, Kind.MARKET, -leg.lots, decided_ts=closes, wait=self.latency_bars + 1)

    def move_stop(self, leg: Leg, level: Fraction, role: Role) -> None:
        level = to_tick(level, leg.rules.tick, -leg.side)
        if leg.stop is None or leg.side * (level - leg.stop) > 0:  # a stop is never loosened
            leg.stop, leg.stop_role = level, role

    # ------------------------------------------------------------------------------------------------- E: the close

    def close(self, bars: Sequence[Bar], commands: Sequence[Mapping]) -> None:
        closes = self.ts + self.step_ns
        for leg, bar in zip(self.legs, bars, strict=True):
            if not bar.is_gap:
                leg.last_close, leg.last_mark = bar.close, leg.mark_now
                leg.unit = leg.unit if bar.unit is None else bar.unit
        if self.equity(at_close=True) <= 0 and not self.is_ruined and not any(bar.is_gap for bar in bars):
            self.end_account(closes)
            self.close_all(Role.RUIN, Reason.RUINED, ts=closes)
        for leg, bar in zip(self.legs, bars, strict=True):
            if leg.lots and not bar.is_gap:
                self.manage(leg, bar)
        for command in commands:
            self.accept(command, closes)
        hedges = [hedge for _, hedge in self.pairs]
        for leg, bar in zip(self.legs, bars, strict=True):
            if bar.target is not None:
                leg.wish = bar.target
                for one, wish in self.moved_by(leg, bar.target):
                    if sign(wish) != one.blocked_side:
                        one.blocked_side = 0
            if leg.index not in hedges:
                self.decide(leg, closes)

    def accept(self, command: Mapping, closes: int) -> None:
        """Send an order or a cancel of the user on its way, or refuse it."""
        leg = self.legs[command["leg"]]
        prices = {name: exact(command[name]) for name in ("limit_price", "stop_loss", "take_profit")}
        trigger = exact(command["trigger_price"])
        refusal = self.why_refuse_command(leg, command, prices["limit_price"] or trigger or leg.last_close)
        order = self.new_order(
            leg, Role.CANCEL if command["kind"] == Kind.CANCEL else Role.COMMAND, Kind(command["kind"]),
            command["lots"], closes, wait=self.latency_bars + 1, tag=command["tag"], tif=TimeInForce(command["tif"]),
            limit=prices["limit_price"], trigger=trigger, trigger_direction=command["trigger_direction"],
            trigger_by=TriggerBy(command["trigger_by"]), reduce_only=bool(command["reduce_only"]),
            carries=leg.rules.carries, stop_loss=prices["stop_loss"], take_profit=prices["take_profit"],
        )  # fmt: skip
        if refusal != Reason.NONE:
            self.finish(order, Status.REJECTED, refusal, closes)

    def why_refuse_command(self, leg: Leg, command: Mapping, price: Any) -> Reason:
        lots, rules = abs(command["lots"]), leg.rules
        if self.is_ruined:
            return Reason.RUINED
        if command["kind"] != Kind.CANCEL:
            if leg.last_close is None:
                return Reason.NO_PRICE
            if not command["reduce_only"] and leg.lacks_unit():
                return Reason.EXIT_UNKNOWN
            if lots < rules.min_lots:
                return Reason.BELOW_MIN_QTY
            if not command["reduce_only"] and lots > rules.max_lots:
                return Reason.ABOVE_MAX_QTY
            if not command["reduce_only"] and lots * rules.step * price < rules.min_notional:
                return Reason.BELOW_MIN_NOTIONAL
        return Reason.TOO_MANY_ORDERS if len(self.book) >= BOOK_CAPACITY else Reason.NONE

    def hedge_of(self, leg: Leg) -> Any:
        return next((self.legs[hedge] for first, hedge in self.pairs if first == leg.index), None)

    def moved_by(self, leg: Leg, target: float) -> list[tuple[Leg, float]]:
        """Return the legs that a target moves, each with its own: that of a hedge is the opposite."""
        hedge = self.hedge_of(leg)
        return [(leg, target)] if hedge is None else [(leg, target), (hedge, -target)]

    @staticmethod
    def not_left(plan: list[tuple[Leg, int, int]]) -> list[tuple[Leg, int]]:
        """Return what of (leg, position, side asked for) may be ordered.

        An exit has left a side until a target has asked for another. Where that stops one leg of a pair, the other
        may only become smaller: it would be without its hedge.
        """
        left = [one for one, _, side in plan if side and side == one.blocked_side]
        shrinks = [one for one, wanted, _ in plan if abs(wanted) <= abs(one.lots) and wanted * one.lots >= 0]
        return [(one, wanted) for one, wanted, _ in plan if not left or (one in shrinks and one not in left)]

    def decide(self, leg: Leg, closes: int) -> None:
        """Order what leads to the leg's target, if there is a new one."""
        hedge = self.hedge_of(leg)
        legs = [leg] if hedge is None else [leg, hedge]
        open_orders = [o for o in self.book if o.leg in legs and o.role == Role.TARGET]
        if leg.wish == leg.standing or any(one.last_close is None for one in legs):
            return
        if any(order.wait > 0 for order in open_orders):
            return  # what is under way cannot be called back
        leg.standing = leg.wish
        for order in open_orders:
            self.finish(order, Status.REPLACED, ts=closes)
        worth, target = self.equity(at_close=True), exact(leg.wish)
        asked = self.desired_lots(leg, target, worth)
        desired = self.within_limits(leg, asked, worth)
        is_cut = desired != asked
        if hedge is not None and target and worth > 0:
            joint = common_step(leg.rules.step, hedge.rules.step)
            desired = int(whole(desired * leg.rules.step / joint) * joint / leg.rules.step)
        plan = [(leg, desired)]
        if hedge is not None:
            plan.append((hedge, -int(desired * leg.rules.step / hedge.rules.step)))
            plan = [(one, wanted) for one, wanted in plan if wanted != one.lots]
        plan = self.not_left([(one, wanted, sign(leg.wish if one is leg else -leg.wish)) for one, wanted in plan])
        if not plan or (target == 0 and plan == [(leg, leg.lots)]):
            return
        refusals = [self.why_refuse_target(one, target, wanted, worth, is_cut) for one, wanted in plan]
        if plan[0] == (leg, leg.lots) and desired != 0 and refusals[0] == Reason.BELOW_MIN_QTY:
            return  # the position is what it should be
        first = next((reason for reason in refusals if reason != Reason.NONE), Reason.NONE)
        orders = [
            self.new_order(
                one, Role.TARGET, Kind.MARKET, wanted - one.lots, closes, wait=self.latency_bars + 1,
                target=leg.wish if one is leg else -leg.wish, desired=wanted, carries=one.rules.carries,
                note=Reason.EXPOSURE_LIMIT if is_cut else Reason.NONE,
            )
            for one, wanted in plan
        ]  # fmt: skip
        if len(orders) == 2:
            orders[0].partner_id, orders[1].partner_id = orders[1].order_id, orders[0].order_id
        if first != Reason.NONE:
            for order, refusal in zip(orders, refusals, strict=True):
                self.finish(order, Status.REJECTED, first if refusal == Reason.NONE else refusal, closes)

    def desired_lots(self, leg: Leg, target: Any, worth: Fraction) -> int:
        if target == 0:
            return 0
        if worth <= 0:
            return leg.lots
        lots = whole(target * worth / (leg.last_close * leg.rules.step))
        if leg.ladder_has_taken and sign(lots) == leg.side:  # what was taken as profit is not bought again
            lots = leg.side * min(abs(lots), abs(leg.lots))
        return lots

    def within_limits(self, leg: Leg, desired: int, worth: Fraction) -> int:
        """Cut a position to what the other legs leave of the account's limits, but not below what is held.

        A pair is looked at as a whole: its legs' values add up in gross, and offset each other in net.
        """
        if self.limits is None or desired == 0 or worth <= 0:
            return desired
        side, hedge = sign(desired), self.hedge_of(leg)
        prices = [leg.last_close] if hedge is None else [leg.last_close, -hedge.last_close]
        others = []
        for other in self.legs:
            ordered = [o.desired for o in self.book if o.leg is other and o.role == Role.TARGET]
            lots = ordered[-1] if ordered else other.lots
            if other is not leg and other is not hedge and lots:
                others.append(lots * other.rules.step * other.last_close)
        bounds = [(exact(self.limits.max_leg) * worth, abs(price)) for price in prices]
        bounds.append((exact(self.limits.max_gross) * worth - sum(map(abs, others)), sum(map(abs, prices))))
        added = side * sum(prices)  # net exposure of one unit more
        if added != 0:
            bounds.append((exact(self.limits.max_net) * worth - sign(added) * sum(others), abs(added)))
        room = min(max(left, Fraction(0)) / unit if left != math.inf else left for left, unit in bounds)
        if room == math.inf:
            return desired
        most = whole(room / leg.rules.step)
        if leg.side == side:
            most = max(most, abs(leg.lots))
        return side * min(abs(desired), most)

    def why_refuse_target(self, leg: Leg, target: Any, desired: int, worth: Fraction, is_cut: bool) -> Reason:
        """Say why the order to a target is not sent; an order that only makes a perpetual position smaller is."""
        lots, rules = desired - leg.lots, leg.rules
        adds = desired != 0 and (abs(desired) > abs(leg.lots) or sign(desired) != leg.side)
        if self.is_ruined:
            return Reason.RUINED
        if abs(target) > self.max_leverage:
            return Reason.ABOVE_LEVERAGE
        if worth <= 0 and target != 0:
            return Reason.INSUFFICIENT_MARGIN
        if adds and leg.lacks_unit():
            return Reason.EXIT_UNKNOWN
        if lots == 0 and is_cut:
            return Reason.EXPOSURE_LIMIT
        if abs(lots) < rules.min_lots:
            return Reason.BELOW_MIN_QTY
        if not adds and not rules.is_spot:
            return Reason.NONE
        if abs(lots) > rules.max_lots:
            return Reason.ABOVE_MAX_QTY
        if abs(lots) * rules.step * leg.last_close < rules.min_notional:
            return Reason.BELOW_MIN_NOTIONAL
        return Reason.NONE

    # ---------------------------------------------------------------------------------------- trying another course

    def fork(self) -> ReferenceEngine:
        """Return a copy that can be taken another way without moving this one."""
        twin = copy.copy(self)
        twin.legs = [copy.copy(leg) for leg in self.legs]
        twin.book = [copy.copy(order) for order in self.book]
        for order in twin.book:
            order.leg = twin.legs[order.leg.index]
        twin.orders, twin.fills = list(self.orders), list(self.fills)
        return twin

    def become(self, twin: ReferenceEngine) -> None:
        self.__dict__.update(twin.__dict__)
