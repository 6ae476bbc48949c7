"""An account of one or several legs that bars are pushed through, many or one at a time; it places no real order."""

from __future__ import annotations

import hashlib
import json
import math
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from research.errors import FingerprintMismatch, InvalidInput, MisalignedBars
from research.execution.books import book_size
from research.execution.costs import Costs
from research.execution.engine import PER_ROW, advance
from research.execution.faults import FAULTS, first_fault
from research.execution.margin import Margin
from research.execution.records import (
    BOOK,
    BOOK_CAPACITY,
    COMMANDS,
    FILLS,
    LEG,
    ORDERS,
    ROWS,
    STATE,
    Kind,
    Role,
    Status,
)
from research.execution.rounding import in_units
from research.execution.rules import Limits, account_rules, rules_of, tiers_of
from research.execution.walk import enter_terms
from research.kernel import FloatArray, IntArray
from research.market.bars import NS_PER_MINUTE
from research.market.instruments import Instrument
from research.risk.exits import Exits

Records = NDArray[Any]
_advance: Any = advance  # a checker cannot count arguments that come as tuples
_first_fault: Any = first_fault

PRICES = ("open", "high", "low", "close")
OPTIONAL = (
    "volume", "mark", "mark_high", "mark_low", "mark_close", "unit", "trail_low", "trail_high", "target",
)  # fmt: skip
COLUMNS = (*PRICES, "funding_rate", *OPTIONAL)

_MAGIC = b"ACCOUNT3"  # the digit is the version of the snapshot's layout and of what its fields mean


NO_SUMMARY = np.empty((5, 0))  # nothing is passed in runs


@dataclass(frozen=True, slots=True)
class Ledger:
    """What a chunk of bars did to an account.

    Parameters
    ----------
    rows : (n,) array of ROWS
        One per bar.
    fills : array of FILLS
        In the order they happened.
    orders : array of ORDERS
        Those whose fate became known in the chunk; what is still open is :meth:`Portfolio.pending`.
    held : (S, n) array of int64
        Lots of each leg after each bar; with one leg without bars, since ``rows`` has them.
    """

    rows: Records
    fills: Records
    orders: Records
    held: IntArray


class Portfolio:
    """The account of several instruments with one wallet.

    Research pushes blocks, live pushes single bars, through the same compiled kernel; any split of the bars gives the
    same bytes. What happens in a bar is told in ``docs/execution.md``.

    Parameters
    ----------
    instruments : sequence of Instrument
        The legs. Their dated terms are applied from their dates on.
    costs : Costs or sequence of Costs
        For all legs, or one for each.
    initial_cash_quote : float
        Positive.
    latency_bars : int
        Whole bars between the close that decides and the open from which the order may fill, beyond the next one.
    max_leverage : float
        Largest absolute target; a larger one is refused as ``above_leverage``. At most 1 for spot without borrowing.
    step_ns : int
        Length of a bar, ns.
    margin : Margin
        Mode, leverage, borrowing.
    exits : Exits, None, or sequence of them
        Exit rules for all legs, or for each.
    limits : Limits
        Bounds of the exposure.
    pairs : sequence of (int, int)
        Legs (spot, linear) that are traded as one position: the target of the first moves both, in opposite quantities.
    intrabar : str
        Which of a bar's two possible orders of events is kept where they differ: ``worse`` or ``better``.
    open_orders : int
        A user's order is refused while so many are open.

    Raises
    ------
    InvalidInput
        If a setting lies outside its range.
    """

    def __init__(
        self,
        instruments: Sequence[Instrument],
        costs: Costs | Sequence[Costs] = Costs(),  # noqa: B008 - frozen
        initial_cash_quote: float = 10_000.0,
        latency_bars: int = 0,
        max_leverage: float = 1.0,
        step_ns: int = NS_PER_MINUTE,
        *,
        margin: Margin = Margin(),  # noqa: B008 - frozen
        exits: Exits | Sequence[Exits | None] | None = None,
        limits: Limits = Limits(),  # noqa: B008 - frozen
        pairs: Sequence[tuple[int, int]] = (),
        intrabar: str = "worse",
        open_orders: int = BOOK_CAPACITY,
    ) -> None:
        self.instruments = tuple(instruments)
        if not self.instruments:
            raise InvalidInput("account.instruments", "must not be empty", 0)
        size = len(self.instruments)
        self.costs = _each(costs, Costs, size, "account.costs")
        self.exits = _each(exits, (Exits, type(None)), size, "account.exits")
        self.initial_cash_quote, self.latency_bars = initial_cash_quote, latency_bars
        self.max_leverage, self.step_ns = max_leverage, step_ns
        self.margin, self.limits, self.intrabar, self.open_orders = margin, limits, intrabar, open_orders
        self.pairs = tuple((int(a), int(c)) for a, c in pairs)
        self._check_settings()
        self._hedges = dict(self.pairs)
        has_spot = any(instrument.market == "spot" for instrument in self.instruments)
        self._settings = account_rules(step_ns, margin, limits, intrabar, open_orders, has_spot)
        self._boundaries = sorted(
            {terms.from_ns for instrument in self.instruments for terms in instrument.terms}
            | {row[0] for cost in self.costs for row in cost.fee_schedule}
        )
        self._rules: dict[int, tuple[Records, Records]] = {}
        # Three times the room: the kernel keeps the state of a bar and of a finer bar beside the one at work.
        self._book_rows = book_size(size, open_orders)
        self._room = np.zeros(3, STATE), np.zeros(3 * size, LEG), np.zeros(3 * self._book_rows, BOOK)
        self._in_force: Records | None = None  # the rules that levels were worked out for
        self._ready: tuple[int, int, tuple[Any, ...]] | None = None  # rules at hand: from, until, arrays
        self._no_fine, self._no_held = np.empty((4, size, 0)), np.empty((size, 0), np.int64)
        account, legs = self._account, self._legs
        account["wallet"] = account["equity"] = account["peak"] = account["day_start_equity"] = initial_cash_quote
        for name in (
            "last_close", "unit", "stop", "risk", "liquidation", "now", "mark_now", "bar_volume", "entry_unit",
        ):  # fmt: skip
            legs[name] = math.nan
        legs["stop_role"] = int(Role.STOP)
        legs["low_level"] = legs["mark_low_level"] = -math.inf
        legs["high_level"] = legs["mark_high_level"] = math.inf

    # ----------------------------------------------------------------- bars
    def push(
        self,
        ts: IntArray,
        columns: Mapping[str, ArrayLike],
        *,
        commands: Records | None = None,
        fine: ArrayLike | None = None,
    ) -> Ledger:
        """Advance by a chunk of bars and return what happened.

        Parameters
        ----------
        ts : (n,) array of int64
            Bar open times, ns UTC; the first follows the last one pushed.
        columns : mapping of str to (S, n) array
            ``open``, ``high``, ``low``, ``close`` (a NaN in any of them marks a gap of that leg), and as far as known:
            ``volume`` (base units), ``mark`` (at the bar's open), ``mark_high``, ``mark_low``, ``mark_close``,
            ``funding_rate`` (0 where none is settled), ``unit``, ``trail_low``, ``trail_high`` (known at the close) and
            ``target`` (exposure decided on the close; NaN is no new decision).
        commands : array of COMMANDS, optional
            By bar.
        fine : (4, S, n * m) array, optional
            Open, high, low and close of m finer bars for each bar, NaN where there is none.

        Raises
        ------
        InvalidInput
            If shapes differ, a value breaks its rule, or new terms make the position no whole number of lots. The
            account is then as it was.
        MisalignedBars
            If the bars are not one step apart, or do not follow the last one.
        """
        times = writable(np.ascontiguousarray(ts, dtype=np.int64))
        given = self._columns(columns, times.shape[0])
        finer = self._fine(fine, times.shape[0])
        asked = self._commands(commands, times.shape[0])
        self._refuse_fault(times, given)
        kept = (self._room[0].copy(), self._room[1].copy(), self._room[2].copy())
        try:
            return self._run(times, given, asked, finer)
        except InvalidInput:  # of terms that no longer fit the position
            self._room, self._ready, self._in_force = kept, None, None
            raise

    def _run(self, ts: IntArray, given: dict[str, FloatArray], commands: Records, fine: FloatArray) -> Ledger:
        """Run the kernel over each stretch of constant rules, with buffers that grow when they fill up."""
        n, n_legs = ts.shape[0], len(self.instruments)
        rows = np.empty(n, ROWS)
        held = np.empty((n_legs, n if n_legs > 1 else 0), np.int64)
        room = min(n, 1024) + PER_ROW * self._book_rows
        fills, orders = np.empty(room, FILLS), np.empty(room, ORDERS)
        daily = np.empty(0)
        account = self._account
        account["fills_written"] = account["orders_written"] = account["commands_written"] = 0
        done = 0
        for begin, end, rules, tiers in self.stretches(ts):
            self.enter_rules(int(ts[begin]), rules, tiers)
            done = begin
            while done < end:
                done = _advance(
                    *self.arrays(rules, tiers, fills, orders), ts, *(given[name] for name in KERNEL_ORDER), commands,
                    fine, rows, held, daily, NO_SUMMARY, done, end,
                )  # fmt: skip
                if done < end:
                    fills, orders = _doubled(fills), _doubled(orders)
        n_fills, n_orders = int(account["fills_written"][0]), int(account["orders_written"][0])
        account["fills_written"] = account["orders_written"] = account["commands_written"] = 0
        return Ledger(rows, fills[:n_fills], orders[:n_orders], held)

    def arrays(self, rules: Records, tiers: Records, fills: Records, orders: Records) -> tuple[Any, ...]:
        """Return the account as the first arguments of :func:`research.execution.engine.advance`."""
        account, legs, book = self._room
        settings = self._settings
        settings["n_legs"], settings["book_rows"] = len(self.instruments), self._book_rows
        settings["tier_rows"] = tiers.shape[0] // len(self.instruments)
        settings["fills_room"], settings["orders_room"] = fills.shape[0], orders.shape[0]
        return account, settings, legs, rules, tiers, book, fills, orders

    def pass_block(
        self, ts: IntArray, columns: Sequence[Records], daily: FloatArray, fills: Records, orders: Records,
        summary: FloatArray = NO_SUMMARY,
    ) -> None:  # fmt: skip
        """Advance by a chunk of bars of which nothing is kept but the account's own figures: for sweeps.

        Parameters
        ----------
        ts : (n,) array of int64
            Bar open times; trusted, as everything here.
        columns : sequence of (S, n) or (S, 0) arrays
            In the order of ``KERNEL_ORDER``.
        daily : array of float64
            Receives the return of each day that ends, by its number since the account began, as far as it reaches.
        fills, orders : arrays of FILLS and ORDERS
            Room for those of one bar; may be shared by accounts that are not run at the same time.
        summary : (5, n // RUN) or (5, 0) array
            Of the block's bars, from :func:`research.execution.quiet.summarise_runs`, for an account of one leg.
        """
        if not ts.size:
            return
        first, last = int(ts[0]), int(ts[-1])
        if not (self._ready is not None and self._ready[0] <= first and last < self._ready[1]):
            stretches = self.stretches(ts)
            if len(stretches) == 1:  # blocks of a sweep are: what is made for one serves those behind it
                self._ready = first, self._next_boundary(first), self.arrays(*stretches[0][2:], fills, orders)[:6]
            for begin, end, rules, tiers in stretches:
                self.enter_rules(int(ts[begin]), rules, tiers)
                _advance(
                    *self.arrays(rules, tiers, fills, orders), ts, *columns, _NO_COMMANDS, self._no_fine, _NO_ROWS,
                    self._no_held, daily, summary, begin, end,
                )  # fmt: skip
        else:
            _advance(
                *self._ready[2], fills, orders, ts, *columns, _NO_COMMANDS, self._no_fine, _NO_ROWS, self._no_held,
                daily, summary, 0, ts.shape[0],
            )  # fmt: skip
        self._account["fills_written"] = self._account["orders_written"] = 0

    def _next_boundary(self, now: int) -> int:
        """Return the moment from which other rules hold."""
        at = bisect_right(self._boundaries, now)
        return self._boundaries[at] if at < len(self._boundaries) else np.iinfo(np.int64).max

    @property
    def state(self) -> Any:
        """The account's own record of STATE: its figures; not to be written to."""
        return self._room[0][0]

    def stretches(self, ts: IntArray) -> list[tuple[int, int, Records, Records]]:
        """Return the runs of bars under constant rules: (first, last + 1, RULES, TIERS)."""
        found, begin = [], 0
        while begin < ts.shape[0]:
            now = int(ts[begin])
            at = bisect_right(self._boundaries, now)
            later = self._boundaries[at] if at < len(self._boundaries) else None
            end = ts.shape[0] if later is None or int(ts[-1]) < later else int(np.searchsorted(ts, later))
            found.append((begin, end, *self.rules_at(now, at)))
            begin = end
        return found

    def rules_at(self, now: int, boundary: int) -> tuple[Records, Records]:
        """Return the RULES of every leg and their TIERS at a moment after so many boundaries, made once for each."""
        if boundary not in self._rules:
            terms = []
            for instrument in self.instruments:
                if now < instrument.terms[0].from_ns:
                    first = instrument.terms[0].from_ns
                    rule = f"must not be before the first terms of {instrument.symbol} ({first})"
                    raise InvalidInput("account.ts", rule, now)
                terms.append(instrument.at(now))
            rules = np.concatenate(
                [
                    rules_of(
                        instrument, terms[k], self.costs[k], self.margin, self.exits[k], self.limits, now,
                        latency_bars=self.latency_bars, max_leverage=self.max_leverage,
                        hedge_leg=self._hedges.get(k, -1),
                    )
                    for k, instrument in enumerate(self.instruments)
                ]
            )  # fmt: skip
            self._rules[boundary] = rules, tiers_of(terms)
        return self._rules[boundary]

    def enter_rules(self, now: int, rules: Records, tiers: Records) -> None:
        """Express lots in the steps of the rules that come into force, and liquidation levels in their tiers."""
        if self._in_force is rules:
            return
        account, legs, book = self._room
        for k, instrument in enumerate(self.instruments):
            term = bisect_right([terms.from_ns for terms in instrument.terms], now) - 1
            before = int(legs[k]["term"])
            if before != term:
                old, new = instrument.terms[before].qty_step, instrument.terms[term].qty_step
                if old != new and int(account["bar"][0]) > 0:
                    _in_new_lots(legs, book[: int(account["n_open"][0])], k, old, new)
                legs[k]["term"] = term
        enter_terms(*self.arrays(rules, tiers, _NO_FILLS, _NO_ORDERS))
        self._in_force = rules

    # ----------------------------------------------------------------- standing
    @property
    def _account(self) -> Records:
        return self._room[0][:1]

    @property
    def _legs(self) -> Records:
        return self._room[1][: len(self.instruments)]

    @property
    def _book(self) -> Records:
        return self._room[2][: self._book_rows]

    @property
    def equity(self) -> float:
        """Worth at the last close, quote currency."""
        return float(self._account["equity"][0])

    @property
    def wallet(self) -> float:
        """Cash; of perpetuals with realised profit, fees and funding."""
        return float(self._account["wallet"][0])

    @property
    def lots(self) -> IntArray:
        """Signed position of each leg in lots of the terms in force, shape (S,)."""
        return self._legs["lots"].copy()

    @property
    def qty(self) -> FloatArray:
        """Signed position of each leg in base units, shape (S,)."""
        return self._legs["qty"].copy()

    @property
    def entry_prices(self) -> FloatArray:
        """Average entry of each leg, 0 when flat, shape (S,)."""
        return self._legs["entry_price"].copy()

    @property
    def liquidation_prices(self) -> FloatArray:
        """Mark price at which each leg is liquidated on its own; NaN for none, or where the account decides."""
        return self._legs["liquidation"].copy()

    @property
    def stops(self) -> FloatArray:
        """Level of the exit stop of each leg, NaN for none, shape (S,)."""
        return self._legs["stop"].copy()

    @property
    def is_ruined(self) -> bool:
        """Whether the account is closed: nothing was left, or it was liquidated as a whole."""
        return bool(self._account["is_ruined"][0])

    @property
    def bars_seen(self) -> int:
        """Bars pushed since the account began."""
        return int(self._account["bar"][0])

    def pending(self) -> Records:
        """Return the orders that are open, as an array of ORDERS with status PENDING."""
        book = self._book[: int(self._account["n_open"][0])]
        found = np.zeros(book.shape[0], ORDERS)
        for name in ("order_id", "tag", "leg", "role", "kind", "decided_ts", "target", "limit_price", "trigger_price"):
            found[name] = book[name]
        found["lots"], found["filled_lots"], found["status"] = book["ordered"], book["filled"], int(Status.PENDING)
        return found

    # ----------------------------------------------------------------- bytes
    def snapshot(self) -> bytes:
        """Return all that the account remembers; :meth:`restore` continues as if never interrupted."""
        book = self._book[: int(self._account["n_open"][0])]
        state = self._account.tobytes() + self._legs.tobytes() + book.tobytes()
        return _MAGIC + self._fingerprint(self._legs["term"].tolist()) + state

    def restore(self, blob: bytes) -> None:
        """Continue from a snapshot of an account with the same settings.

        Terms that come into force after the snapshot may have been added since.

        Raises
        ------
        InvalidInput
            If the bytes are not a snapshot of this layout.
        FingerprintMismatch
            If it was taken with other settings, costs or past terms. The account is then as it was.
        """
        header, size = len(_MAGIC), len(self.instruments)
        fixed = header + 32 + STATE.itemsize + size * LEG.itemsize
        rest = len(blob) - fixed
        if not blob.startswith(_MAGIC) or rest < 0 or rest % BOOK.itemsize:
            raise InvalidInput("account.snapshot", f"must be {_MAGIC!r} and its state", blob[:header])
        account = np.frombuffer(blob, STATE, 1, header + 32).copy()
        legs = np.frombuffer(blob, LEG, size, header + 32 + STATE.itemsize).copy()
        open_orders = np.frombuffer(blob, BOOK, rest // BOOK.itemsize, fixed)
        terms, taken_with = legs["term"].tolist(), blob[header : header + 32]
        known = all(0 <= t < len(i.terms) for t, i in zip(terms, self.instruments, strict=True))
        if not known or taken_with != self._fingerprint(terms):
            rule = "was taken with other settings, costs or terms than this account's"
            raise FingerprintMismatch(f"account.snapshot {rule}; received {taken_with.hex()[:16]}")
        if int(account["n_open"][0]) != open_orders.shape[0] or open_orders.shape[0] > self._book.shape[0]:
            raise InvalidInput("account.snapshot", "must hold as many open orders as it says", open_orders.shape[0])
        self._in_force = self._ready = None
        self._account[:], self._legs[:] = account, legs
        self._book[: open_orders.shape[0]] = open_orders

    def _fingerprint(self, terms: Sequence[int]) -> bytes:
        """Return the hash of everything that gave the state its meaning: settings, and terms up to the current ones."""
        settings = {
            "legs": [
                [i.venue, i.market, i.symbol, i.to_dict()["terms"][: t + 1]]
                for i, t in zip(self.instruments, terms, strict=True)
            ],
            "costs": [asdict(cost) for cost in self.costs],
            "exits": [None if rules is None else rules.to_dict() for rules in self.exits],
            "account": [
                self.initial_cash_quote,
                self.latency_bars,
                self.max_leverage,
                self.step_ns,
                self.intrabar,
                self.open_orders,
            ],
            "margin": self.margin.to_dict(),
            "limits": asdict(self.limits),
            "pairs": self.pairs,
            "layout": [str(STATE.descr), str(LEG.descr), str(BOOK.descr)],
        }
        return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).digest()

    # ----------------------------------------------------------------- rules
    def _check_settings(self) -> None:
        for name in ("initial_cash_quote", "max_leverage"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, (int, float)) or not (0 < value < math.inf):
                raise InvalidInput(f"account.{name}", "must be a positive finite number", value)
        for name, low in (("latency_bars", 0), ("step_ns", 1), ("open_orders", 0)):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < low:
                raise InvalidInput(f"account.{name}", f"must be a whole number of at least {low}", value)
        if self.intrabar not in ("worse", "better"):
            raise InvalidInput("account.intrabar", "must be worse or better", self.intrabar)
        for name, kind in (("margin", Margin), ("limits", Limits)):
            if not isinstance(getattr(self, name), kind):
                raise InvalidInput(f"account.{name}", f"must be a {kind.__name__}", getattr(self, name))
        for instrument in self.instruments:
            if instrument.quote != self.instruments[0].quote:
                rule = f"must be {self.instruments[0].quote}, the account's currency, for {instrument.symbol}"
                raise InvalidInput("account.instruments.quote", rule, instrument.quote)
            self._check_leverage(instrument)
        self._check_pairs()

    def _check_leverage(self, instrument: Instrument) -> None:
        if instrument.market == "spot":
            most = self.margin.spot_leverage if self.margin.borrow else 1.0
            if self.max_leverage > most and len(self.instruments) == 1:
                rule = f"must be at most {most:g} on a spot market"
                raise InvalidInput("account.max_leverage", rule, self.max_leverage)
            return
        ceiling = max(terms.max_leverage for terms in instrument.terms)
        if self.max_leverage > ceiling:
            rule = f"must not exceed the {ceiling:g} that {instrument.symbol} allows"
            raise InvalidInput("account.max_leverage", rule, self.max_leverage)
        leverage = self.margin.leverage
        if leverage is not None and leverage > ceiling:
            rule = f"must not exceed the {ceiling:g} that the first tier of {instrument.symbol} allows"
            raise InvalidInput("margin.leverage", rule, leverage)

    def _check_pairs(self) -> None:
        used: set[int] = set()
        for i, (spot, linear) in enumerate(self.pairs):
            subject, size = f"account.pairs[{i}]", len(self.instruments)
            if not (0 <= spot < size and 0 <= linear < size) or spot == linear or {spot, linear} & used:
                raise InvalidInput(
                    subject, f"must be two different legs below {size}, each in one pair", (spot, linear)
                )
            used |= {spot, linear}
            if self.instruments[spot].market != "spot" or self.instruments[linear].market != "linear":
                markets = self.instruments[spot].market, self.instruments[linear].market
                raise InvalidInput(subject, "must be a spot leg and a linear leg", markets)
            for mine in self.instruments[spot].terms:
                for other in self.instruments[linear].terms:
                    ratio = max(mine.qty_step, other.qty_step) / min(mine.qty_step, other.qty_step)
                    if abs(ratio - round(ratio)) > 1e-9 * ratio:
                        steps = mine.qty_step, other.qty_step
                        raise InvalidInput(f"{subject}.qty_step", "must be whole multiples of one another", steps)

    # ----------------------------------------------------------------- input
    def _columns(self, columns: Mapping[str, ArrayLike], n: int) -> dict[str, FloatArray]:
        unknown = [name for name in columns if name not in COLUMNS]
        if unknown:
            raise InvalidInput(f"account.{unknown[0]}", f"is not a column (known: {', '.join(COLUMNS)})")
        given: dict[str, FloatArray] = {}
        shape = (len(self.instruments), n)
        for name in COLUMNS:
            values = columns.get(name)
            if values is not None:
                found = np.ascontiguousarray(values, dtype=np.float64)
                if found.shape != shape:
                    raise InvalidInput(f"account.{name}", f"must have shape {shape}, legs by bars", found.shape)
                given[name] = writable(found)
            elif name in PRICES:
                raise InvalidInput(f"account.{name}", "is required")
            elif name == "funding_rate":
                given[name] = np.zeros(shape)
            else:
                given[name] = np.empty((shape[0], 0))
        path = [name for name in ("mark_high", "mark_low", "mark_close") if given[name].shape[1]]
        if path and len(path) < 3:
            raise InvalidInput("account.mark_high", "must come with mark_low and mark_close; received", path)
        for k, cost in enumerate(self.costs):
            if cost.volume_cap_frac is not None and not given["volume"].shape[1] and n:
                raise InvalidInput("account.volume", f"is required by costs.volume_cap_frac of leg {k}")
        for first, _ in self.pairs:
            other = self._hedges[first]
            if given["target"].shape[1] and not np.isnan(given["target"][other]).all():
                rule = "must be NaN: the other leg of its pair moves it"
                raise InvalidInput(f"account.target[{other}]", rule, self.instruments[other].symbol)
        return given

    def _fine(self, fine: ArrayLike | None, n: int) -> FloatArray:
        size = len(self.instruments)
        if fine is None:
            return np.empty((4, size, 0))
        found = writable(np.ascontiguousarray(fine, dtype=np.float64))
        if found.ndim != 3 or found.shape[:2] != (4, size) or (n and found.shape[2] % n) or (not n and found.size):
            rule = f"must have shape (4, {size}, {n} * m): open, high, low, close of m finer bars a bar"
            raise InvalidInput("account.fine", rule, found.shape)
        o, h, lo, c = found
        bad = ~(np.isnan(o + h + lo + c) | ((lo > 0.0) & (h < math.inf) & (lo <= o) & (lo <= c) & (h >= o) & (h >= c)))
        if bad.any():
            leg, at = (int(found_at[0]) for found_at in np.nonzero(bad))
            rule = "must be positive and finite with open and close between low and high, or NaN"
            raise InvalidInput(f"account.fine[{leg}, {at}]", rule, found[:, leg, at].tolist())
        return found

    def _commands(self, commands: Records | None, n: int) -> Records:
        if commands is None:
            return np.zeros(0, COMMANDS)
        if commands.dtype != COMMANDS:
            raise InvalidInput("account.commands", "must be an array of COMMANDS", commands.dtype)
        bars = commands["bar"]
        wrong = np.flatnonzero((bars < 0) | (bars >= n) | np.append(False, np.diff(bars) < 0)[: bars.size])
        if wrong.size:
            rule = f"must be increasing and within the chunk's {n} bars"
            raise InvalidInput(f"account.commands[{wrong[0]}].bar", rule, int(bars[wrong[0]]))
        for i, row in enumerate(commands):
            self._check_command(f"account.commands[{i}]", row)
        return writable(np.ascontiguousarray(commands))

    def _check_command(self, subject: str, row: Any) -> None:
        if not 0 <= row["leg"] < len(self.instruments):
            raise InvalidInput(f"{subject}.leg", f"must be below {len(self.instruments)}", int(row["leg"]))
        if row["kind"] not in tuple(Kind):
            raise InvalidInput(f"{subject}.kind", "must be one of Kind", int(row["kind"]))
        if row["kind"] == Kind.CANCEL:
            return
        if row["lots"] == 0:
            raise InvalidInput(f"{subject}.lots", "must not be 0", 0)
        if row["kind"] == Kind.LIMIT and not row["limit_price"] > 0.0:
            raise InvalidInput(f"{subject}.limit_price", "must be positive for a limit order", row["limit_price"])
        for name in ("limit_price", "trigger_price", "stop_loss", "take_profit"):
            if not math.isnan(row[name]) and not 0.0 < row[name] < math.inf:
                raise InvalidInput(f"{subject}.{name}", "must be positive and finite, or NaN for none", row[name])
        if not math.isnan(row["trigger_price"]) and row["trigger_direction"] not in (-1, 1):
            rule = "must be 1 (rises to it) or -1 (falls to it) with a trigger_price"
            raise InvalidInput(f"{subject}.trigger_direction", rule, int(row["trigger_direction"]))

    def _refuse_fault(self, ts: IntArray, given: dict[str, FloatArray]) -> None:
        account = self._account[0]
        for k, instrument in enumerate(self.instruments):
            columns = [given[name][k] for name in KERNEL_ORDER]
            shorts = instrument.market != "spot" or self.margin.borrow
            code, i = _first_fault(
                ts, *columns, int(account["last_ts"]), self.step_ns, bool(account["bar"] == 0),
                instrument.market == "spot", shorts,
            )  # fmt: skip
            if code == 0:
                continue
            name, rule = FAULTS[code]
            where = "" if len(self.instruments) == 1 else f"{k}, "
            subject = f"account.{name}[{where}{i}]"
            if name == "ts":
                raise MisalignedBars(f"account.ts[{i}]", f"{rule} of {self.step_ns} ns", int(ts[i]))
            if name == "price":
                raise InvalidInput(subject, rule, [float(given[price][k, i]) for price in PRICES])
            raise InvalidInput(subject, rule, float(given[name][k, i]))


# The columns in the order of the kernel's arguments.
KERNEL_ORDER = (
    "open", "high", "low", "close", "volume", "mark", "mark_high", "mark_low", "mark_close", "funding_rate", "unit",
    "trail_low", "trail_high", "target",
)  # fmt: skip
_NO_FILLS, _NO_ORDERS = np.zeros(0, FILLS), np.zeros(0, ORDERS)
_NO_COMMANDS, _NO_ROWS = np.zeros(0, COMMANDS), np.zeros(0, ROWS)


def writable(column: NDArray[Any]) -> NDArray[Any]:
    """Return the array, copied if it is read-only: to Numba that is another type, and the kernel would compile anew."""
    return column if column.flags.writeable else column.copy()


def _each(given: Any, kind: Any, size: int, subject: str) -> tuple[Any, ...]:
    """Return one setting for each leg, from one for all or a sequence of them."""
    found = (given,) * size if isinstance(given, kind) else tuple(given) if isinstance(given, (list, tuple)) else None
    if found is None or len(found) != size or not all(isinstance(item, kind) for item in found):
        raise InvalidInput(subject, f"must be one for all, or one for each of {size} legs", given)
    return found


def _in_new_lots(legs: Records, book: Records, k: int, old: float, new: float) -> None:
    """Express what a leg holds and has ordered in lots of another step."""
    leg = legs[k]
    held = float(leg["lots"]) * old / new
    lots = round(held)
    if abs(held - lots) > 1e-9 * max(1.0, abs(held)):  # steps are decimals: a real remainder is far larger
        rule = f"must be a whole number of the new qty_step {new:g}"
        raise InvalidInput("account.position_qty", rule, float(leg["qty"]))
    leg["lots"], leg["qty"] = lots, in_units(lots, new)
    for name in ("entry_lots", "tp_left", "tp_taken"):
        leg[name] = math.trunc(float(leg[name]) * old / new * (1.0 + 1e-12))
    for row in book:
        if row["leg"] == k:
            for name in ("lots", "ordered", "filled", "desired"):
                row[name] = math.trunc(float(row[name]) * old / new * (1.0 + 1e-12))


def _doubled(records: Records) -> Records:
    grown = np.empty(2 * records.shape[0], records.dtype)
    grown[: records.shape[0]] = records
    return grown
