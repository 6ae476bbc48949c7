"""Bars, orders and accounts for tests of the execution engine: short ones by hand, random ones with everything."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from hypothesis import strategies as st

from research.execution import (
    COMMANDS,
    Account,
    Costs,
    Kind,
    Limits,
    Margin,
    Portfolio,
    Reason,
    Role,
    Status,
    TimeInForce,
    TriggerBy,
)
from research.market.instruments import Instrument, sample_instrument
from research.risk.exits import Exits

MINUTE = 60 * 10**9
HOUR = 60 * MINUTE
START = 1_704_067_200 * 10**9  # 2024-01-01, a full hour
NAN = math.nan
FREE = Costs(taker_fee_bps=0.0, maker_fee_bps=0.0)
LOTS = 100  # of 0.1: 10 SOL, 1,000 at a price of 100


def linear(symbol: str = "SOLUSDT", **changes: Any) -> Instrument:
    """Return a sample perpetual with changed terms; SOL has a tick of 0.01 and lots of 0.1."""
    instrument = sample_instrument(symbol)
    return replace(instrument, terms=(replace(instrument.terms[0], **changes),))


def spot(symbol: str = "SOLUSDT", **changes: Any) -> Instrument:
    """Return a sample spot market with lots as coarse as the perpetual's, unless told otherwise."""
    instrument = sample_instrument(symbol, "spot")
    terms = replace(instrument.terms[0], **({"qty_step": 0.1, "min_qty": 0.1} | changes))
    return replace(instrument, terms=(terms,))


SOL, SOL_SPOT = linear(), spot()


# ---------------------------------------------------------------- orders
def order(
    bar: int, lots: int, limit: float = NAN, *, leg: int = 0, tag: int = 0, tif: TimeInForce = TimeInForce.GTC,
    rises_to: float = NAN, falls_to: float = NAN, by: TriggerBy = TriggerBy.LAST, reduce_only: bool = False,
    stop_loss: float = NAN, take_profit: float = NAN,
) -> dict[str, Any]:  # fmt: skip
    """Return an order given at a bar's close: a market order, or with ``limit`` a limit order."""
    rises = not math.isnan(rises_to)
    return {
        "bar": bar, "leg": leg, "tag": tag, "kind": Kind.MARKET if math.isnan(limit) else Kind.LIMIT, "tif": tif,
        "lots": lots, "limit_price": limit, "trigger_price": rises_to if rises else falls_to,
        "trigger_direction": 1 if rises else -1, "trigger_by": by, "reduce_only": reduce_only, "stop_loss": stop_loss,
        "take_profit": take_profit,
    }  # fmt: skip


def cancel(bar: int, tag: int = 0, *, leg: int = 0) -> dict[str, Any]:
    """Return the cancellation of a tag's orders, 0 for all of the leg."""
    return order(bar, 0, leg=leg, tag=tag) | {"kind": Kind.CANCEL}


def commands_array(given: Sequence[dict[str, Any]], first: int = 0, last: int | None = None) -> np.ndarray:
    """Return the orders given in bars ``first`` to ``last`` - 1 as COMMANDS counted from ``first``."""
    chosen = [command for command in given if first <= command["bar"] and (last is None or command["bar"] < last)]
    found = np.zeros(len(chosen), COMMANDS)
    for row, command in zip(found, chosen, strict=True):
        for name, value in command.items():
            row[name] = value
        row["bar"] -= first
    return found


# ---------------------------------------------------------------- worked examples
@dataclass
class Played:
    """An account after its bars, and how it got there, in plain numbers."""

    account: Account
    ledger: Any

    @property
    def fills(self) -> list[tuple[int, Role, int, float]]:
        """(bar, role, signed lots, price) of every fill."""
        return [(int(f["bar"]), Role(f["role"]), int(f["lots"]), float(f["price"])) for f in self.ledger.fills]

    @property
    def fates(self) -> list[tuple[Role, Status, Reason]]:
        """(role, status, reason) of every order whose fate is known, in the order it became known."""
        return [(Role(o["role"]), Status(o["status"]), Reason(o["reason"])) for o in self.ledger.orders]

    @property
    def refusals(self) -> list[Reason]:
        """Reasons of the orders that were rejected or cancelled."""
        return [reason for _, status, reason in self.fates if status in (Status.REJECTED, Status.CANCELLED)]

    @property
    def lots(self) -> list[int]:
        """Position after each bar."""
        return self.ledger.rows["position_lots"].tolist()

    @property
    def equity(self) -> list[float]:
        """Equity after each bar."""
        return self.ledger.rows["equity"].tolist()


def times(n: int, step_ns: int = MINUTE) -> np.ndarray:
    """Return the open times of n bars."""
    return START + step_ns * np.arange(n)


def play(
    bars: Sequence[tuple[float, float, float, float] | float], orders: Sequence[dict[str, Any]] = (), *,
    instrument: Instrument = SOL, costs: Costs = FREE, exits: Exits | None = None, fine: Any = None,
    step_ns: int = MINUTE, cash: float = 10_000.0, latency: int = 0, max_leverage: float = 1.0,
    margin: Margin = Margin(), intrabar: str = "worse", **columns: Any,  # noqa: B008 - frozen
) -> Played:  # fmt: skip
    """Push bars, each (open, high, low, close) or one price, through a new account.

    A column may be a mapping of bar to value, NaN (funding 0) elsewhere; ``fine`` one of bar to finer bars.
    """
    prices = np.array([bar if isinstance(bar, tuple) else (bar,) * 4 for bar in bars], float).T
    n = prices.shape[1]
    account = Account(
        instrument, costs, cash, latency, max_leverage, step_ns, margin=margin, exits=exits, intrabar=intrabar
    )
    given = {}
    for name, values in columns.items():
        if isinstance(values, dict):
            column = np.full(n, 0.0 if name == "funding_rate" else NAN)
            for bar, value in values.items():
                column[bar] = value
            values = column
        given[name] = np.asarray(values, float)
    if fine is not None:
        m = len(next(iter(fine.values())))
        finer = np.full((4, n * m), NAN)
        for bar, rows in fine.items():
            finer[:, bar * m : bar * m + m] = np.array(rows, float).T
        fine = tuple(finer)
    ledger = account.push(times(n, step_ns), *prices, commands=commands_array(orders), fine=fine, **given)
    return Played(account, ledger)


# ---------------------------------------------------------------- random accounts with everything
@dataclass
class Case:
    """A portfolio's settings, and all that is pushed through it. Columns have shape (legs, bars)."""

    instruments: tuple[Instrument, ...]
    columns: dict[str, np.ndarray]
    settings: dict[str, Any]
    orders: list[dict[str, Any]] = field(default_factory=list)
    fine: np.ndarray | None = None

    @property
    def n(self) -> int:
        return self.columns["open"].shape[1]

    @property
    def step_ns(self) -> int:
        return self.settings["step_ns"]

    def portfolio(self) -> Portfolio:
        return Portfolio(self.instruments, **self.settings)

    def push(self, portfolio: Portfolio, first: int = 0, last: int | None = None) -> Any:
        """Push bars ``first`` to ``last`` - 1."""
        last = self.n if last is None else last
        m = 0 if self.fine is None else self.fine.shape[2] // self.n
        return portfolio.push(
            times(self.n, self.step_ns)[first:last],
            {name: column[:, first:last] for name, column in self.columns.items()},
            commands=commands_array(self.orders, first, last),
            fine=None if self.fine is None else self.fine[:, :, first * m : last * m],
        )

    def __repr__(self) -> str:
        """Return what tells the case apart, without its prices."""
        markets = [f"{i.symbol} {i.market}" for i in self.instruments]
        said = ", ".join(f"{name}={value!r}" for name, value in self.settings.items())
        return f"Case({markets}, {self.n} bars, {sorted(self.columns)}, {said}, {len(self.orders)} orders)"

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        printer.text(repr(self))


def walk_of(rng, n: int, k: int, tick: float, scale: float, start: float) -> tuple[np.ndarray, np.ndarray]:
    """Return (4, n) bars and their (4, n * k) finer bars, on ticks."""
    steps = rng.normal(0.0, scale, n * k * 4)
    steps[rng.random(steps.size) < 0.01] *= 8.0
    path = np.maximum(np.round(start * np.exp(np.cumsum(steps)) / tick) * tick, tick).reshape(n * k, 4)
    fine = np.stack([path[:, 0], path.max(axis=1), path.min(axis=1), path[:, 3]])
    bars = fine.reshape(4, n, k)
    whole = np.stack([bars[0, :, 0], bars[1].max(axis=1), bars[2].min(axis=1), bars[3, :, -1]])
    return np.round(whole, 6), np.round(fine, 6)


def random_exits(rng) -> Exits | None:
    """Return rules of every kind, or none."""
    if rng.random() < 0.15:
        return None
    steps = int(rng.integers(0, 5))
    unit = str(rng.choice(["frac", "unit", "risk"]))
    scale = {"frac": 0.004, "unit": 0.8, "risk": 0.7}[unit]
    has_stop = unit == "risk" or rng.random() < 0.7
    stop_unit = str(rng.choice(["frac", "unit"]))
    trail = str(rng.choice(["none", "unit", "level", "profit_share"]))
    return Exits(
        stop_distance=({"frac": 0.006, "unit": 1.3}[stop_unit] * rng.uniform(0.5, 2.0)) if has_stop else NAN,
        stop_unit=stop_unit,
        take_profits=tuple(
            (scale * (i + 1) * rng.uniform(0.9, 1.1), share) for i, share in enumerate([0.4, 0.3, 0.2, 0.1][:steps])
        ),
        take_profit_unit=unit,
        take_profit_order=str(rng.choice(["limit", "market"])),
        trail=trail,
        trail_distance=rng.uniform(0.3, 0.9) * (3.0 if trail == "unit" else 1.0) if trail != "level" else NAN,
        trail_after=int(rng.integers(0, steps + 1)),
        trail_activation=scale * 0.5 if rng.random() < 0.5 else 0.0,
        trail_activation_unit=unit,
        break_even_distance=scale * 0.7 if rng.random() < 0.5 else NAN,
        break_even_unit=unit,
        break_even_offset_bps=float(rng.choice([0.0, 5.0])),
        time_stop_bars=int(rng.choice([0, 0, 7, 20])),
        volatility_multiple=float(rng.choice([NAN, NAN, 1.6])),
        stop_by=str(rng.choice(["last", "mark"])),
    )


def random_orders(rng, columns: dict[str, np.ndarray], n_legs: int, most: int, often: float) -> list[dict[str, Any]]:
    """Return explicit orders of every kind near the closes at which they are given, and cancellations."""
    found = []
    for bar in np.flatnonzero(rng.random(columns["open"].shape[1]) < often):
        for _ in range(int(rng.integers(1, 4))):
            leg = int(rng.integers(n_legs))
            close = columns["close"][leg, bar]
            if rng.random() < 0.15 or math.isnan(close):
                found.append(cancel(int(bar), int(rng.integers(0, 4)), leg=leg))
                continue
            side = int(rng.choice([-1, 1]))
            near = [float(np.round(close * (1.0 + rng.normal(0.0, 0.004)), 2)) for _ in range(4)]
            given = {"leg": leg, "tag": int(rng.integers(0, 4)), "reduce_only": bool(rng.random() < 0.25)}
            if rng.random() < 0.6:
                given["limit"] = near[0]
                given["tif"] = TimeInForce(int(rng.integers(0, 3)))
            if rng.random() < 0.4:
                given["rises_to" if rng.random() < 0.5 else "falls_to"] = near[1]
                given["by"] = TriggerBy(int(rng.integers(0, 2)))
            if rng.random() < 0.4 and not given["reduce_only"]:
                given["stop_loss"] = float(np.round(close * (1.0 - side * rng.uniform(0.001, 0.01)), 2))
                given["take_profit"] = float(np.round(close * (1.0 + side * rng.uniform(0.001, 0.01)), 2))
            found.append(order(int(bar), side * int(rng.integers(1, most)), **given))
    return found


@st.composite
def everything(draw, legs: Sequence[int] = (1, 2, 3), bars: tuple[int, int] = (20, 60)) -> Case:
    """Draw an account with all that the engine knows: any of it may be absent."""
    rng = np.random.Generator(np.random.PCG64(draw(st.integers(0, 2**32))))
    n_legs, n, k = draw(st.sampled_from(list(legs))), int(rng.integers(*bars)), 4
    step_ns = int(rng.choice([MINUTE, 15 * MINUTE, HOUR]))
    has_pair = n_legs > 1 and rng.random() < 0.4
    may_borrow = bool(rng.random() < 0.4)
    instruments, prices, finer = [], [], []
    for leg in range(n_legs):
        is_spot = leg == 0 if has_pair and leg < 2 else bool(rng.random() < 0.3)
        changes = {"qty_step": float(rng.choice([0.1, 0.5])), "min_qty": 0.5}
        instruments.append(spot(**changes) if is_spot else linear(**changes))
        drawn = walk_of(rng, n, k, 0.01, draw(st.sampled_from([0.0004, 0.003])), 100.0)
        prices.append(drawn[0])
        finer.append(drawn[1])
    if rng.random() < 0.3:  # dated terms: other fees, a coarser tick
        first = instruments[0].terms[0]
        later = replace(first, from_ns=START + (n // 2) * step_ns, taker_fee_bps=20.0, tick=0.05)
        instruments[0] = replace(instruments[0], terms=(first, later))
    quotes, fine = np.stack(prices, axis=1), np.stack(finer, axis=1)
    columns = dict(zip(("open", "high", "low", "close"), quotes.copy(), strict=True))
    if rng.random() < 0.5:
        gaps = rng.random((n_legs, n)) < 0.08
        columns["close"][gaps] = NAN
    shape = (n_legs, n)
    is_linear = np.array([[i.market == "linear"] for i in instruments])
    if rng.random() < 0.6:
        columns["volume"] = rng.uniform(0.0, 400.0, shape).round(1)
        columns["volume"][rng.random(shape) < 0.05] = NAN
    if rng.random() < 0.6:
        basis = rng.normal(0.0, 0.1, shape).round(2)
        columns["mark"] = quotes[0] + basis
        columns["mark"][rng.random(shape) < 0.1] = NAN
        if rng.random() < 0.5:
            columns |= {
                f"mark_{name}": quotes[q] + basis for q, name in ((1, "high"), (2, "low"), (3, "close"))
            }  # fmt: skip
            columns["mark_low"][rng.random(shape) < 0.1] = NAN
    columns["funding_rate"] = np.where(is_linear & (rng.random(shape) < 0.1), rng.normal(0.0, 1e-3, shape), 0.0)
    columns["unit"] = rng.uniform(0.3, 1.0, shape).round(3)
    columns["unit"][rng.random(shape) < 0.1] = NAN
    columns["trail_low"], columns["trail_high"] = quotes[2] * 0.998, quotes[1] * 1.002
    columns["trail_low"][rng.random(shape) < 0.3] = NAN
    most = draw(st.sampled_from([0.8, 5.0]))
    wishes = np.where(rng.random(shape) < 0.2, rng.uniform(-most, most, shape).round(2), NAN)
    wishes[(rng.random(shape) < 0.05)] = 0.0
    for leg, instrument in enumerate(instruments):
        if instrument.market == "spot":
            wishes[leg] = np.clip(wishes[leg], -0.9 if may_borrow else 0.0, 0.9)
    if has_pair:
        wishes[0], wishes[1] = np.abs(wishes[0]), NAN
    columns["target"] = wishes
    has_volume = "volume" in columns
    costs = tuple(
        Costs(
            half_spread_bps=float(rng.choice([0.0, 2.0])),
            slippage_bps=float(rng.choice([0.0, 3.0])),
            slippage_unit_frac=float(rng.choice([0.0, 0.05])),
            participation_frac=float(rng.choice([0.0, 0.01])),
            impact_unit_frac=float(rng.choice([0.0, 0.5])),
            volume_cap_frac=float(rng.choice([0.05, 0.3])) if has_volume and rng.random() < 0.6 else None,
            carry=bool(rng.random() < 0.7),
            touch_fills=bool(rng.random() < 0.3),
            fee_schedule=((START + (n // 3) * step_ns, 4.0, -1.0),) if rng.random() < 0.3 else (),
        )
        for _ in range(n_legs)
    )
    margin = Margin(
        mode=str(rng.choice(["cross", "isolated"])),
        leverage=[None, 3.0, 10.0][int(rng.integers(3))],
        liquidation_fee_bps=[None, 40.0][int(rng.integers(2))],
        borrow=may_borrow,
        spot_leverage=3.0 if may_borrow else 1.0,
        quote_rate_hourly=1e-4,
        base_rate_hourly=2e-4,
        collateral_frac=float(rng.choice([1.0, 0.8])),
    )
    settings = {
        "costs": costs, "initial_cash_quote": float(rng.choice([2_000.0, 10_000.0])),
        "latency_bars": int(rng.integers(0, 3)),
        "max_leverage": 0.9 if all(i.market == "spot" for i in instruments) else 5.0,
        "step_ns": step_ns, "margin": margin, "exits": tuple(random_exits(rng) for _ in range(n_legs)),
        "limits": Limits(max_gross=4.0, max_net=2.5, max_leg=2.0) if rng.random() < 0.4 else Limits(),
        "pairs": ((0, 1),) if has_pair else (), "intrabar": str(rng.choice(["worse", "better"])),
        "open_orders": int(rng.choice([3, 64])),
    }  # fmt: skip
    orders = random_orders(rng, columns, n_legs, 80, draw(st.sampled_from([0.0, 0.3])))
    return Case(tuple(instruments), columns, settings, orders, fine if rng.random() < 0.5 else None)
