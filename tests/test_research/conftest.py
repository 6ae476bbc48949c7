"""Results made by hand: an account in plain Python, so that what reads ledgers is tested without the engine."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

from research.backtest.result import Result
from research.execution import Costs, Ledger, Margin
from research.execution.records import FILLS, ORDERS, ROWS, Reason, Role, Status
from research.market.instruments import sample_instrument

MINUTE = 60 * 10**9
START = 1_704_067_200 * 10**9  # 2024-01-01


@dataclass
class Deal:
    """One fill to come: signed quantity of a leg at a price in a bar."""

    bar: int
    qty: float
    price: float
    leg: int = 0
    role: Role = Role.TARGET
    is_maker: bool = False
    fee: float = 0.0


@dataclass
class Book:
    """Wallet and legs of a linear or spot account while deals are applied to it."""

    cash: float
    is_spot: list[bool]
    held: list[float] = field(default_factory=list)
    entry: list[float] = field(default_factory=list)
    funding: list[float] = field(default_factory=list)
    wallet: float = 0.0

    def __post_init__(self):
        self.wallet = self.cash
        self.held, self.entry, self.funding = ([0.0] * len(self.is_spot) for _ in range(3))

    def apply(self, deal, k, ts, row, step):
        before, after = self.held[deal.leg], round((self.held[deal.leg] + deal.qty) / step) * step
        after = round(after, 9)
        realised = 0.0
        if before and before * deal.qty < 0:
            closed = min(abs(before), abs(deal.qty)) * (1 if before > 0 else -1)
            realised = closed * (deal.price - self.entry[deal.leg])
        if before * after <= 0:
            self.entry[deal.leg] = deal.price if after else 0.0
        elif abs(after) > abs(before):
            self.entry[deal.leg] += (deal.price - self.entry[deal.leg]) * deal.qty / after
        self.wallet += (-deal.qty * deal.price if self.is_spot[deal.leg] else realised) - deal.fee
        fill = {
            "ts": ts, "bar": deal.bar, "order_id": k + 1, "leg": deal.leg, "role": deal.role,
            "is_maker": deal.is_maker, "lots": round(deal.qty / step), "qty": deal.qty, "reference": deal.price,
            "price": deal.price, "fee": deal.fee, "realised": realised, "funding": self.funding[deal.leg],
            "position_lots": round(after / step), "position_qty": after,
        }  # fmt: skip
        self.funding[deal.leg], self.held[deal.leg] = 0.0, after
        row["fee"] += deal.fee
        return fill

    def equity(self, prices):
        return self.wallet + sum(
            (q * p if spot else q * (p - e)) if q else 0.0
            for q, p, e, spot in zip(self.held, prices, self.entry, self.is_spot, strict=True)
        )


def structured(rows: list[dict[str, Any]], dtype: np.dtype) -> np.ndarray:
    found = np.zeros(len(rows), dtype)
    for k, row in enumerate(rows):
        for name, value in row.items():
            found[k][name] = value
    return found


def made_by_hand(
    close, deals, *, high=None, low=None, instruments=None, cash=10_000.0, funding=None, rows=None, step_ns=MINUTE,
    start_ns=START, pending=(), more_orders=(), **fields,
) -> Result:  # fmt: skip
    """Return the result of deals on closes; ``funding`` maps (bar, leg) to what is received at its open."""
    closes = np.atleast_2d(np.asarray(close, float))
    instruments = instruments or (sample_instrument("SOLUSDT"),)
    n, steps = closes.shape[1], [i.terms[0].qty_step for i in instruments]
    book = Book(cash, [i.market == "spot" for i in instruments])
    ts = start_ns + step_ns * np.arange(n)
    found, fills, orders, held = np.zeros(n, ROWS), [], [], np.zeros((len(steps), n), np.int64)
    last, queue = np.full(len(steps), np.nan), sorted(deals, key=lambda deal: deal.bar)
    for i in range(n):
        row = found[i]
        for (bar, leg), amount in (funding or {}).items():
            if bar == i:
                book.wallet += amount
                book.funding[leg] += amount
                row["funding"] += amount
        while queue and queue[0].bar == i:
            deal = queue.pop(0)
            k = len(fills)
            fills.append(book.apply(deal, k, ts[i], row, steps[deal.leg]))
            reason = Reason.LIQUIDATION if deal.role == Role.LIQUIDATION else Reason.NONE
            orders.append(
                {
                    "order_id": k + 1, "leg": deal.leg, "role": deal.role, "decided_ts": ts[i], "done_ts": ts[i],
                    "lots": fills[-1]["lots"], "filled_lots": fills[-1]["lots"], "status": Status.FILLED,
                    "reason": reason, "limit_price": np.nan, "trigger_price": np.nan,
                }
            )  # fmt: skip
        last = np.where(np.isnan(closes[:, i]), last, closes[:, i])
        held[:, i] = [round(q / s) for q, s in zip(book.held, steps, strict=True)]
        row["equity"], row["wallet"], row["position_lots"] = book.equity(last), book.wallet, held[0, i]
    for name, values in (rows or {}).items():
        found[name] = values
    one = len(steps) == 1
    shaped = {
        name: np.asarray(closes if values is None else np.atleast_2d(values), float)
        for name, values in (("high", high), ("low", low), ("close", close))
    }
    settings = {
        "costs": Costs(), "margin": Margin(), "exits": None, "funding_settlements": len(funding or {}),
        "funding_on_mark": 0, "is_ruined": False,
    }  # fmt: skip
    return Result(
        instruments=tuple(instruments), initial_cash_quote=cash, step_ns=step_ns, ts=ts,
        **{name: values[0] if one else values for name, values in shaped.items()},
        ledger=Ledger(
            found, structured(fills, FILLS), structured([*orders, *more_orders], ORDERS), held[:, :0] if one else held
        ),
        pending=structured(list(pending), ORDERS), **(settings | fields),
    )  # fmt: skip


def drawn_by_lot(n, seed=1, *, scale=0.001, every=40, legs=1, step_ns=MINUTE, cash=10_000.0, drift=0.0) -> Result:
    """Return a result with random positions on random walks: stops, targets, maker fills, gaps, several fills a bar."""
    rng = np.random.Generator(np.random.PCG64(seed))
    close = np.round(100.0 * np.exp(np.cumsum(rng.normal(drift, scale, (legs, n)), axis=1)), 2)
    reach = np.abs(rng.normal(0.0, scale, (2, legs, n)))
    high, low = np.round(close * (1 + reach[0]), 2), np.round(close * (1 - reach[1]), 2)
    close[:, n // 3 : n // 3 + 3] = high[:, n // 3 : n // 3 + 3] = low[:, n // 3 : n // 3 + 3] = np.nan
    exits = [Role.TARGET, Role.STOP, Role.TAKE_PROFIT, Role.TRAIL, Role.TIME_STOP]
    deals, held = [], np.zeros(legs)
    for bar in np.flatnonzero(rng.random(n) < 1.0 / every):
        if np.isnan(close[:, bar]).any():
            continue
        for _ in range(rng.integers(1, 3)):
            leg = int(rng.integers(legs))
            wish = float(rng.integers(-60, 61)) / legs if rng.random() < 0.6 else 0.0
            qty = round(round((wish - held[leg]) / 0.1) * 0.1, 9)
            if not qty:
                continue
            role = exits[rng.integers(5)] if held[leg] and abs(wish) < abs(held[leg]) else Role.TARGET
            price = float(close[leg, bar]) + (0.01 if qty > 0 else -0.01)
            maker = role == Role.TAKE_PROFIT
            fee = abs(qty) * price * (2e-4 if maker else 5.5e-4)
            deals.append(Deal(int(bar), qty, price, leg, role, maker, fee))
            held[leg] = round(held[leg] + qty, 9)
    names = ("SOLUSDT", "AVAXUSDT")[:legs]
    instruments = tuple(sample_instrument(name) for name in names)
    settled = {(int(bar), 0): float(rng.normal(0, 1)) for bar in range(480, n, 480)} if step_ns == MINUTE else {}
    exposure = np.abs(rng.normal(0, 40, n))
    rows = {"maintenance": exposure, "ambiguous": np.where(rng.random(n) < 0.01, np.abs(rng.normal(0, 5, n)), 0.0)}
    prices = {"close": close, "high": high, "low": low}
    if legs == 1:
        prices = {name: values[0] for name, values in prices.items()}
    return made_by_hand(**prices, deals=deals, instruments=instruments, funding=settled, rows=rows, step_ns=step_ns,
                        cash=cash)  # fmt: skip


@pytest.fixture(scope="session")
def hand_made():
    """Return the function that applies deals to closes."""
    return made_by_hand


@pytest.fixture(scope="session")
def deal():
    """Return the class of one deal."""
    return Deal


@pytest.fixture(scope="session")
def by_lot():
    """Return the function that draws a result."""
    return drawn_by_lot
