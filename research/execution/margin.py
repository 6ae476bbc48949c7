"""Margin: tiers, maintenance, liquidation and bankruptcy prices, and what an account may borrow; it fills nothing.

Formulas: Bybit's help pages "Initial Margin", "Maintenance Margin" and "Liquidation Price (USDT Contract)" as of
September 2025, where the fee to close at the bankruptcy price is part of the maintenance margin.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from research.errors import InvalidInput
from research.execution.books import Books, Record, Records
from research.kernel import inlined_kernel, inner_kernel, kernel

MODES = ("cross", "isolated")


@dataclass(frozen=True, slots=True)
class Margin:
    """How an account is margined.

    Parameters
    ----------
    mode : str
        ``cross``: all positions share the account's equity, and a liquidation takes all of it. ``isolated``: each
        position has the initial margin of its leverage and loses no more than that.
    leverage : float, optional
        Leverage set at the venue, at least 1. None takes the largest that the tier of a position's value allows.
    liquidation_fee_bps : float, optional
        Fee of a liquidation on its notional. None takes the taker fee.
    borrow : bool
        Whether spot legs may be bought beyond the cash and sold short, as in cross margin on spot.
    spot_leverage : float
        With ``borrow``: liabilities may be up to ``spot_leverage - 1`` times the equity when a position grows.
    debt_ratio : float
        With ``borrow``: at liabilities of this fraction of the assets everything is sold.
    quote_rate_hourly, base_rate_hourly : float
        Interest per full hour on borrowed quote currency and coins, fractions. ``base_rate_hourly`` may be a mapping of
        symbols.
    collateral_frac : float
        What coins of spot legs count for as margin of perpetuals, a fraction of their value.

    Raises
    ------
    InvalidInput
        If a value is out of range.

    Examples
    --------
    >>> Margin("isolated", leverage=10).leverage
    10
    """

    mode: str = "cross"
    leverage: float | None = None
    liquidation_fee_bps: float | None = None
    borrow: bool = False
    spot_leverage: float = 1.0
    debt_ratio: float = 0.97
    quote_rate_hourly: float = 0.0
    base_rate_hourly: float | Mapping[str, float] = field(default=0.0)
    collateral_frac: float = 1.0

    def __post_init__(self) -> None:
        if self.mode not in MODES:
            raise InvalidInput("margin.mode", f"must be one of {', '.join(MODES)}", self.mode)
        if not isinstance(self.borrow, bool):
            raise InvalidInput("margin.borrow", "must be True or False", self.borrow)
        if self.leverage is not None:
            _require_number("margin.leverage", self.leverage, 1.0, math.inf)
        if self.liquidation_fee_bps is not None:
            _require_number("margin.liquidation_fee_bps", self.liquidation_fee_bps, 0.0, 10_000.0)
        _require_number("margin.spot_leverage", self.spot_leverage, 1.0, math.inf)
        _require_number("margin.quote_rate_hourly", self.quote_rate_hourly, 0.0, 1.0)
        rates = self.base_rate_hourly
        for name, rate in rates.items() if isinstance(rates, Mapping) else (("", rates),):
            _require_number(f"margin.base_rate_hourly{'.' * bool(name)}{name}", rate, 0.0, 1.0)
        for name in ("debt_ratio", "collateral_frac"):
            value = getattr(self, name)
            _require_number(f"margin.{name}", value, 0.0, math.nextafter(1.0, 2.0))
        if self.debt_ratio == 0.0:
            raise InvalidInput("margin.debt_ratio", "must be positive", self.debt_ratio)
        if self.spot_leverage > 1.0 and not self.borrow:
            raise InvalidInput("margin.spot_leverage", "must be 1 without borrow", self.spot_leverage)

    def base_rate_of(self, symbol: str) -> float:
        """Return the hourly rate on borrowed coins of a symbol; 0 where a mapping does not name it."""
        rates = self.base_rate_hourly
        return float(rates.get(symbol, 0.0)) if isinstance(rates, Mapping) else float(rates)

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON types, which ``Margin(**...)`` takes back."""
        found = {name: getattr(self, name) for name in self.__dataclass_fields__}
        if isinstance(found["base_rate_hourly"], Mapping):
            found["base_rate_hourly"] = dict(found["base_rate_hourly"])
        return found


def _require_number(subject: str, value: object, low: float, high: float) -> None:
    """Refuse what is no finite number in [low, high)."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not low <= value < high:
        raise InvalidInput(subject, f"must be a finite number in [{low:g}, {high:g})", value)


@kernel
def tier_of(tiers: Records, first: int, n_tiers: int, value: float) -> int:
    """Return the row of the tier of a position value: the first whose cap is not below it, else the last.

    Parameters
    ----------
    tiers : array of TIERS
        Caps increasing.
    first, n_tiers : int
        The first row of the schedule, and how many it has.
    value : float
        Quote currency.
    """
    i = first
    while i < first + n_tiers - 1 and value > tiers[i]["cap"]:
        i += 1
    return i


@kernel
def largest_leverage(rule: Record, tiers: Records, first: int, value: float) -> float:
    """Return the leverage of a position of this value: the one set, else the largest that its tier allows."""
    if not math.isnan(rule["leverage"]):
        return rule["leverage"]
    tier = tiers[tier_of(tiers, first, rule["n_tiers"], value)]
    return min(rule["venue_leverage"], 1.0 / tier["initial"])


@kernel
def maintenance_at(leg: Record, rule: Record, tiers: Records, first: int, mark: float) -> float:
    """Return the maintenance margin of a linear leg at a mark price, the fee to close it included.

    ``q M m - D + q M (1 - s/L) t`` with rate m and deduction D of the tier of ``q M``.
    """
    if leg["lots"] == 0:
        return 0.0
    value = abs(leg["qty"]) * mark
    tier = tiers[tier_of(tiers, first, rule["n_tiers"], value)]
    side = 1.0 if leg["lots"] > 0 else -1.0
    closing = value * (1.0 - side / leg["leverage"]) * rule["liquidation_frac"]
    return value * tier["maintenance"] - tier["deduction"] + closing


@kernel
def isolated_level(
    qty: float, side: int, entry: float, leverage: float, tiers: Records, first: int, n_tiers: int
) -> float:
    r"""Return the mark price at which an isolated position is liquidated; NaN where there is none.

    .. math:: P_{long} = \frac{q E (1 - 1/L) - D}{q (1 - m)}, \qquad P_{short} = \frac{q E (1 + 1/L) + D}{q (1 + m)}

    Parameters
    ----------
    qty : float
        Positive, base units.
    side : int
        +1 long, -1 short.
    entry, leverage : float
        Average entry price and leverage.
    tiers : array of TIERS
    first, n_tiers : int
        The first row of the schedule, and how many it has. The tier is that of the value at the level itself.

    References
    ----------
    .. [1] Bybit help centre, "Liquidation Price (USDT Contract)", from 2 September 2025.
    """
    for i in range(first, first + n_tiers):
        m, d = tiers[i]["maintenance"], tiers[i]["deduction"]
        level = (qty * entry * (1.0 - side / leverage) - side * d) / (qty * (1.0 - side * m))
        if i == first + n_tiers - 1 or qty * level <= tiers[i]["cap"]:
            return level if level > 0.0 else math.nan
    return math.nan


@kernel
def cross_level(
    qty: float,
    side: int,
    entry: float,
    leverage: float,
    wallet: float,
    fee_frac: float,
    tiers: Records,
    first: int,
    n_tiers: int,
) -> float:
    r"""Return the mark price at which an account with one cross-margined position is liquidated.

    NaN where a long cannot be; 0 where a short is at any price.

    Where wallet and open profit equal the maintenance margin, that of :func:`maintenance_at`:

    .. math:: P = \frac{s q E - W - D}{q (s - m - (1 - s/L) t)}
    """
    for i in range(first, first + n_tiers):
        m, d = tiers[i]["maintenance"], tiers[i]["deduction"]
        level = (side * qty * entry - wallet - d) / (qty * (side - m - (1.0 - side / leverage) * fee_frac))
        if i == first + n_tiers - 1 or qty * level <= tiers[i]["cap"]:
            if level > 0.0:
                return level
            return math.nan if side > 0 else 0.0
    return math.nan


@kernel
def isolated_bankruptcy(entry: float, side: int, leverage: float) -> float:
    """Return the price at which an isolated position has lost its initial margin: ``E (1 - s/L)``.

    Examples
    --------
    >>> isolated_bankruptcy(50_000.0, 1, 10.0), isolated_bankruptcy(50_000.0, -1, 10.0)
    (45000.0, 55000.00000000001)
    """
    return entry * (1.0 - side / leverage)


@kernel
def cross_bankruptcy(qty: float, side: int, entry: float, wallet: float, fee_frac: float) -> float:
    """Return the price at which closing the one position of an account, fee included, leaves nothing."""
    return (qty * entry - side * wallet) / (qty * (1.0 - side * fee_frac))


@inlined_kernel
def refresh_liquidation(b: Books, k: int) -> None:
    """Work out the mark price at which a leg is liquidated on its own; NaN where that is the account's affair."""
    leg, rule = b.legs[k], b.rules[k]
    leg["liquidation"] = math.nan
    if leg["lots"] == 0 or rule["is_spot"] != 0:
        return
    side, first = 1 if leg["lots"] > 0 else -1, k * b.settings[0]["tier_rows"]
    if b.settings[0]["is_cross"] == 0:
        leg["liquidation"] = isolated_level(
            abs(leg["qty"]), side, leg["entry_price"], leg["leverage"], b.tiers, first, rule["n_tiers"]
        )
    elif b.settings[0]["n_legs"] == 1:
        leg["liquidation"] = cross_level(
            abs(leg["qty"]), side, leg["entry_price"], leg["leverage"], b.account[0]["wallet"],
            rule["liquidation_frac"], b.tiers, first, rule["n_tiers"],
        )  # fmt: skip


@inlined_kernel
def equity_now(b: Books) -> float:
    """Return the account's worth in quote currency, every leg at its current traded price.

    Linear: open profit over the average entry. Spot: coins.
    """
    worth = b.account[0]["wallet"]
    for k in range(b.settings[0]["n_legs"]):
        leg = b.legs[k]
        if leg["lots"] != 0:
            base = 0.0 if b.rules[k]["is_spot"] != 0 else leg["entry_price"]
            worth += leg["qty"] * (leg["now"] - base)
    return worth


@inner_kernel
def maintenance_now(b: Books) -> float:
    """Return the maintenance margin of all linear legs at their current mark prices."""
    total = 0.0
    for k in range(b.settings[0]["n_legs"]):
        if b.rules[k]["is_spot"] == 0:
            total += maintenance_at(
                b.legs[k], b.rules[k], b.tiers, k * b.settings[0]["tier_rows"], b.legs[k]["mark_now"]
            )
    return total


@inner_kernel
def margin_balance(b: Books) -> float:
    """Return what stands behind the perpetuals: wallet, open profit on marks, and coins as collateral."""
    balance = b.account[0]["wallet"]
    for k in range(b.settings[0]["n_legs"]):
        leg = b.legs[k]
        if leg["lots"] != 0:
            if b.rules[k]["is_spot"] != 0:
                coins = leg["qty"] * leg["now"]
                balance += coins * b.rules[k]["collateral_frac"] if coins > 0.0 else coins
            else:
                balance += leg["qty"] * (leg["mark_now"] - leg["entry_price"])
    return balance


@inner_kernel
def debts_and_assets(b: Books) -> tuple[float, float]:
    """Return liabilities and assets of an account that borrows, both positive, at current prices."""
    wallet = b.account[0]["wallet"]
    owed, owned = max(-wallet, 0.0), max(wallet, 0.0)
    for k in range(b.settings[0]["n_legs"]):
        leg = b.legs[k]
        if leg["lots"] != 0:
            worth = leg["qty"] * leg["now"]
            if b.rules[k]["is_spot"] == 0:
                worth = leg["qty"] * (leg["now"] - leg["entry_price"])
            owed, owned = owed + max(-worth, 0.0), owned + max(worth, 0.0)
    return owed, owned


@inner_kernel
def breach(b: Books) -> int:
    """Tell whether the account as a whole must be liquidated at current prices: 2 by its margin, 1 by its debt, else 0.

    Accounts with one linear leg and isolated positions have a level of their own: :func:`refresh_liquidation`.
    """
    settings = b.settings[0]
    if settings["is_cross"] != 0 and settings["n_legs"] > 1:
        maintenance = maintenance_now(b)
        if maintenance > 0.0 and margin_balance(b) <= maintenance:
            return 2
    if settings["can_borrow"] != 0:
        owed, owned = debts_and_assets(b)
        if owed > 0.0 and owed >= settings["debt_ratio"] * owned:
            return 1
    return 0
