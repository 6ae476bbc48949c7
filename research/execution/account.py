"""An account that bars are pushed through, many or one at a time; it places no real order and does no I/O."""

from __future__ import annotations

import hashlib
import json
import math
from bisect import bisect_right
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from research.errors import FingerprintMismatch, InvalidInput, MisalignedBars
from research.execution.costs import Costs
from research.execution.ledger import FILLS_PER_BAR, ORDERS_PER_BAR, trade
from research.execution.records import FILLS, ORDERS, ROWS, RULES, STATE, Status
from research.execution.rounding import SNAP, in_units
from research.kernel import FloatArray, IntArray, kernel
from research.market.bars import NS_PER_MINUTE
from research.market.instruments import Instrument, Terms

Records = NDArray[Any]
Columns = tuple[
    IntArray, FloatArray, FloatArray, FloatArray, FloatArray, FloatArray, FloatArray, FloatArray
]  # as pushed

_MAGIC = b"ACCOUNT2"  # the digit is the version of the snapshot's layout and of what its fields mean
_FAULTS = {
    1: ("ts", "must be one step after the bar before it"),
    2: ("ts", "must be a multiple of the step"),
    3: ("price", "must be positive and finite, or NaN in a gap"),
    4: ("mark", "must be positive and finite, or NaN"),
    5: ("funding_rate", "must be finite, 0 where none is settled"),
    6: ("funding_rate", "must be 0 on a spot market"),
    7: ("target", "must be finite, or NaN for no new decision"),
    8: ("target", "must not be short on a spot market"),
}


@dataclass(frozen=True, slots=True)
class Ledger:
    """What a chunk of bars did to an account.

    Parameters
    ----------
    rows : (n,) array of ROWS
        One per bar: equity, position_lots, wallet, fee, slippage, funding (quote currency).
    fills : array of FILLS
        In the order they happened.
    orders : array of ORDERS
        Those whose fate became known in the chunk; one that still waits is :meth:`Account.pending`.
    """

    rows: Records
    fills: Records
    orders: Records


@kernel
def first_fault(
    ts: IntArray, open_: FloatArray, high: FloatArray, low: FloatArray, close: FloatArray,
    mark: FloatArray, funding_rate: FloatArray, target: FloatArray,
    last_ts: int, step_ns: int, is_first: bool, is_spot: bool,
) -> tuple[int, int]:  # fmt: skip
    """Return the code (a key of ``_FAULTS``; 0 for none) and index of the first bar that breaks a rule."""
    before = last_ts
    for i in range(ts.shape[0]):
        if is_first and i == 0:
            if ts[0] % step_ns != 0:
                return 2, i
        elif ts[i] - before != step_ns:
            return 1, i
        before = ts[i]
        for price in (open_[i], high[i], low[i], close[i]):
            if price <= 0.0 or price == math.inf:
                return 3, i
        if mark[i] <= 0.0 or mark[i] == math.inf:
            return 4, i
        if not math.isfinite(funding_rate[i]):
            return 5, i
        if is_spot and funding_rate[i] != 0.0:
            return 6, i
        if math.isinf(target[i]):
            return 7, i
        if is_spot and target[i] < 0.0:
            return 8, i
    return 0, 0


@dataclass(slots=True)
class Account:
    """One instrument's account: targets in, fills and equity out.

    Research pushes blocks, live pushes single bars, through the same compiled kernel; any split of the bars gives
    the same bytes. Orders are market orders; :mod:`research.execution.ledger` says when and at what price.

    Parameters
    ----------
    instrument : Instrument
        Its dated terms are applied from their dates on.
    costs : Costs
        Fees, spread and slippage.
    initial_cash_quote : float
        Positive.
    latency_bars : int
        Whole bars between the close that decides and the open from which the order may fill, beyond the next one. Until
        then the order is not recalled: a newer target waits until it is filled or refused.
    max_leverage : float
        Largest absolute target; a larger one is refused as ``above_leverage``. At most 1 on a spot market.
    step_ns : int
        Length of a bar, ns.

    Raises
    ------
    InvalidInput
        If a setting lies outside its range.

    Notes
    -----
    Spot fees are charged in quote currency, as the equivalent of what venues take in coins on a purchase.
    """

    instrument: Instrument
    costs: Costs = field(default_factory=Costs)
    initial_cash_quote: float = 10_000.0
    latency_bars: int = 0
    max_leverage: float = 1.0
    step_ns: int = NS_PER_MINUTE
    _state: Records = field(init=False, repr=False)
    _rules: list[Records] = field(init=False, repr=False)
    _from_ns: list[int] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self._check_settings()
        self._from_ns = [terms.from_ns for terms in self.instrument.terms]
        self._rules = [self._rules_of(terms) for terms in self.instrument.terms]
        self._state = np.zeros(1, STATE)
        self._state["wallet"] = self._state["equity"] = self.initial_cash_quote
        self._state["last_close"] = math.nan

    # ----------------------------------------------------------------- bars
    def push(
        self,
        ts: IntArray,
        open: ArrayLike,
        high: ArrayLike,
        low: ArrayLike,
        close: ArrayLike,
        mark: ArrayLike,
        funding_rate: ArrayLike,
        target: ArrayLike,
    ) -> Ledger:
        """Advance by a chunk of bars and return what happened.

        Parameters
        ----------
        ts : (n,) array of int64
            Bar open times, ns UTC; the first follows the last one pushed.
        open, high, low, close : (n,) arrays of float64
            Prices; NaN in any of them marks a gap.
        mark : (n,) array of float64
            Mark price at the bar's open, NaN where unknown.
        funding_rate : (n,) array of float64
            From :func:`research.execution.funding.funding_per_bar`; 0 where none.
        target : (n,) array of float64
            Exposure decided on this bar's close, a signed fraction of equity; NaN is no new decision.

        Raises
        ------
        InvalidInput
            If lengths differ, a value breaks its rule, or new terms make the position no whole number of lots. The
            account is then as it was.
        MisalignedBars
            If the bars are not one step apart, or do not follow the last one.
        """
        times = _writable(np.ascontiguousarray(ts, dtype=np.int64))
        given = {"open": open, "high": high, "low": low, "close": close}
        given |= {"mark": mark, "funding_rate": funding_rate, "target": target}
        o, h, lo, c, m, rate, wanted = (_column(name, values, times.shape) for name, values in given.items())
        columns = (times, o, h, lo, c, m, rate, wanted)
        self._refuse_fault(columns)
        working = self._state.copy()
        ledger = self._run(working, columns)
        self._state = working
        return ledger

    def _run(self, working: Records, columns: Columns) -> Ledger:
        """Run the kernel over each stretch of constant terms, with buffers that grow when they fill up."""
        ts = columns[0]
        n = ts.shape[0]
        rows = np.zeros(n, ROWS)
        fills = np.zeros(min(n, 1024) + FILLS_PER_BAR, FILLS)
        orders = np.zeros(min(n, 1024) + ORDERS_PER_BAR, ORDERS)
        written = np.zeros(2, np.int64)
        begin = 0
        while begin < n:
            term = self._term_at(int(ts[begin]))
            self._enter_term(working, term)
            later = self._from_ns[term + 1] if term + 1 < len(self._from_ns) else None
            end = n if later is None or int(ts[-1]) < later else int(np.searchsorted(ts, later))
            within = slice(begin, end)
            t, o, h, lo = columns[0][within], columns[1][within], columns[2][within], columns[3][within]
            c, m, rate, wanted = columns[4][within], columns[5][within], columns[6][within], columns[7][within]
            rules, done = self._rules[term], 0
            while done < end - begin:
                done = trade(
                    t, o, h, lo, c, m, rate, wanted, rules, working, rows[within], fills, orders, written, done
                )
                if done < end - begin:
                    fills, orders = _doubled(fills), _doubled(orders)
            begin = end
        return Ledger(rows, fills[: written[0]], orders[: written[1]])

    # ----------------------------------------------------------------- standing
    @property
    def equity(self) -> float:
        """Worth at the last close, quote currency."""
        return float(self._state["equity"][0])

    @property
    def wallet(self) -> float:
        """Linear: cash with realised profit, fees and funding. Spot: cash alone."""
        return float(self._state["wallet"][0])

    @property
    def position_lots(self) -> int:
        """Signed position in lots of the terms in force."""
        return int(self._state["lots"][0])

    @property
    def position_qty(self) -> float:
        """Signed position in base units."""
        return float(self._state["qty"][0])

    @property
    def entry_price(self) -> float:
        """Average entry of the open position; 0 when flat."""
        return float(self._state["entry_price"][0])

    @property
    def standing_target(self) -> float:
        """Last target acted upon; 0 before the first. A newer one may wait behind an order under way."""
        return float(self._state["standing"][0])

    @property
    def is_ruined(self) -> bool:
        """Whether equity reached zero: the position was flattened and nothing trades any more."""
        return bool(self._state["is_ruined"][0])

    @property
    def bars_seen(self) -> int:
        """Bars pushed since the account began."""
        return int(self._state["bar"][0])

    def pending(self) -> Records:
        """Return the order under way or waiting for an open, as an array of ORDERS of length 0 or 1."""
        state = self._state[0]
        found = np.zeros(int(state["pending_id"] != 0), ORDERS)
        if found.size:
            found["order_id"], found["decided_ts"] = state["pending_id"], state["pending_ts"]
            found["target"], found["lots"] = state["pending_target"], state["pending_lots"]
            found["status"] = Status.PENDING
        return found

    # ----------------------------------------------------------------- bytes
    def snapshot(self) -> bytes:
        """Return all that the account remembers; :meth:`restore` continues as if never interrupted."""
        return _MAGIC + self._fingerprint(int(self._state["term"][0])) + self._state.tobytes()

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
        header = len(_MAGIC)
        if len(blob) != header + 32 + STATE.itemsize or not blob.startswith(_MAGIC):
            raise InvalidInput("account.snapshot", f"must be {_MAGIC!r} and its state", blob[:header])
        state = np.frombuffer(blob[header + 32 :], STATE).copy()
        term = int(state["term"][0])
        taken_with = blob[header : header + 32]
        if not 0 <= term < len(self._rules) or taken_with != self._fingerprint(term):
            rule = "was taken with other settings, costs or terms than this account's"
            raise FingerprintMismatch(f"account.snapshot {rule}; received {taken_with.hex()[:16]}")
        self._state = state

    def _fingerprint(self, term: int) -> bytes:
        """Return the hash of everything that gave the state its meaning: settings, and terms up to the current."""
        settings = {
            "venue": [self.instrument.venue, self.instrument.market, self.instrument.symbol],
            "terms": self.instrument.to_dict()["terms"][: term + 1],
            "costs": asdict(self.costs),
            "account": [self.initial_cash_quote, self.latency_bars, self.max_leverage, self.step_ns],
            "layout": STATE.descr,
        }
        return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).digest()

    # ----------------------------------------------------------------- rules
    def _check_settings(self) -> None:
        is_spot = self.instrument.market == "spot"
        for name in ("initial_cash_quote", "max_leverage"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, (int, float)) or not (0 < value < math.inf):
                raise InvalidInput(f"account.{name}", "must be a positive finite number", value)
        for name, low in (("latency_bars", 0), ("step_ns", 1)):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < low:
                raise InvalidInput(f"account.{name}", f"must be a whole number of at least {low}", value)
        if is_spot and self.max_leverage > 1:
            raise InvalidInput("account.max_leverage", "must be at most 1 on a spot market", self.max_leverage)
        ceiling = max(terms.max_leverage for terms in self.instrument.terms)
        if not is_spot and self.max_leverage > ceiling:
            rule = f"must not exceed the {ceiling:g} that {self.instrument.symbol} allows"
            raise InvalidInput("account.max_leverage", rule, self.max_leverage)

    def _rules_of(self, terms: Terms) -> Records:
        rules = np.zeros(1, RULES)
        is_spot = self.instrument.market == "spot"
        rules["step_ns"], rules["is_spot"] = self.step_ns, is_spot
        rules["latency_bars"] = self.latency_bars
        rules["max_leverage"] = self.max_leverage if is_spot else min(self.max_leverage, terms.max_leverage)
        rules["venue_leverage"] = terms.max_leverage
        rules["tick"], rules["qty_step"] = terms.tick, terms.qty_step
        rules["min_lots"] = max(1, math.ceil(terms.min_qty / terms.qty_step * (1.0 - SNAP)))
        rules["max_lots"] = math.inf if math.isinf(terms.max_qty) else math.floor(
            terms.max_qty / terms.qty_step * (1.0 + SNAP)
        )  # fmt: skip
        rules["min_notional_quote"] = terms.min_notional_quote
        rules["taker_frac"] = self.costs.taker_frac(terms)
        rules["adverse_frac"] = self.costs.adverse_frac
        return rules

    def _term_at(self, ts: int) -> int:
        term = bisect_right(self._from_ns, ts) - 1
        if term < 0:
            rule = f"must not be before the first terms of {self.instrument.symbol} ({self._from_ns[0]})"
            raise InvalidInput("account.ts", rule, ts)
        return term

    def _enter_term(self, working: Records, term: int) -> None:
        """Express the lots held and pending in the step of the terms that come into force."""
        state = working[0]
        if state["term"] != term:
            old, new = float(self._rules[int(state["term"])]["qty_step"][0]), float(self._rules[term]["qty_step"][0])
            if old != new:
                held = float(state["lots"]) * old / new
                lots = round(held)
                if abs(held - lots) > 1e-9 * max(1.0, abs(held)):  # steps are decimals: a real remainder is far larger
                    rule = f"must be a whole number of the new qty_step {new:g}"
                    raise InvalidInput("account.position_qty", rule, float(state["qty"]))
                state["lots"], state["qty"] = lots, in_units(lots, new)
                waiting = float(state["pending_lots"]) * old / new
                state["pending_lots"] = math.trunc(waiting * (1.0 + SNAP))
            state["term"] = term

    def _refuse_fault(self, columns: Columns) -> None:
        state = self._state[0]
        is_spot, is_first = self.instrument.market == "spot", bool(state["bar"] == 0)
        t, o, h, lo, c, m, rate, wanted = columns
        code, i = first_fault(t, o, h, lo, c, m, rate, wanted, int(state["last_ts"]), self.step_ns, is_first, is_spot)
        if code == 0:
            return
        name, rule = _FAULTS[code]
        if code <= 2:
            raise MisalignedBars(f"account.ts[{i}]", f"{rule} of {self.step_ns} ns", int(columns[0][i]))
        position = {"mark": 5, "funding_rate": 6, "target": 7}.get(name)
        received = [float(c[i]) for c in columns[1:5]] if position is None else float(columns[position][i])
        raise InvalidInput(f"account.{name}[{i}]", rule, received)


def _column(name: str, values: ArrayLike, shape: tuple[int, ...]) -> FloatArray:
    column = np.ascontiguousarray(values, dtype=np.float64)
    if column.shape != shape or column.ndim != 1:
        raise InvalidInput(f"account.{name}", f"must have shape {shape} as ts", column.shape)
    return _writable(column)


def _writable(column: NDArray[Any]) -> NDArray[Any]:
    """Return the array, copied if it is read-only: to Numba that is another type, and the kernel would compile anew."""
    return column if column.flags.writeable else column.copy()


def _doubled(records: Records) -> Records:
    grown = np.zeros(2 * records.shape[0], records.dtype)
    grown[: records.shape[0]] = records
    return grown
