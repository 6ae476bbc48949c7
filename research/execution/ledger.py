"""The one compiled account: market orders to a target, their fills, funding, fees and equity; it does no I/O.

The order of a bar's events, the same in backtest, paper and live:

1. funding settled at the bar's open is charged on the position held before that open;
2. the pending order fills at the open, once its latency has passed and if the bar is not a gap;
3. equity is marked at the close; where it is not positive the position is flattened there and trading stops;
4. a target that differs from the standing one makes one order, sized at this close.

An order under way, whose first possible open has not come yet, cannot be recalled: newer targets wait, and the newest
of them is acted upon at the close of the bar that met the order, if it then differs from the target of that order. An
order that has arrived and waits for a bar without a gap is replaced by a newer target.

It holds no stop, no limit order, no maintenance margin and no liquidation.
"""

from __future__ import annotations

import math
from typing import Any

from research.execution.costs import fee_quote, fill_price
from research.execution.records import Reason, Status
from research.execution.rounding import SNAP, exposure_lots, in_units, lots_of
from research.kernel import FloatArray, IntArray, kernel

# Records of NumPy structured arrays: fields as in research.execution.records.
Record = Any
Records = Any

FILLS_PER_BAR = 2  # at the open, and flattened at the close by ruin
ORDERS_PER_BAR = 4  # filled or replaced, flattened, and the new one refused; one spare

# Kernels read plain integers: an IntEnum member inside one is looked up at every use.
_FILLED, _REJECTED, _REPLACED = int(Status.FILLED), int(Status.REJECTED), int(Status.REPLACED)
_NONE, _RUINED = int(Reason.NONE), int(Reason.RUINED)
_BELOW_MIN_QTY, _ABOVE_MAX_QTY = int(Reason.BELOW_MIN_QTY), int(Reason.ABOVE_MAX_QTY)
_BELOW_MIN_NOTIONAL, _ABOVE_LEVERAGE = int(Reason.BELOW_MIN_NOTIONAL), int(Reason.ABOVE_LEVERAGE)
_INSUFFICIENT_EQUITY = int(Reason.INSUFFICIENT_EQUITY)


@kernel
def equity_at(state: Record, rules: Record, price: float) -> float:
    """Return the account's worth in quote currency with the position marked at ``price``.

    Linear: wallet plus the open profit over the average entry. Spot: cash plus coins.
    """
    if state["lots"] == 0:
        return state["wallet"]
    if rules["is_spot"] != 0:
        return state["wallet"] + state["qty"] * price
    return state["wallet"] + state["qty"] * (price - state["entry_price"])


@kernel
def record_order(
    orders: Records, written: IntArray, order_id: int, decided_ts: int, done_ts: int,
    target: float, lots: int, filled: int, status: int, reason: int,
) -> None:  # fmt: skip
    """Write one order whose fate is known."""
    row = orders[written[1]]
    row["order_id"], row["decided_ts"], row["done_ts"] = order_id, decided_ts, done_ts
    row["target"], row["lots"], row["filled_lots"] = target, lots, filled
    row["status"], row["reason"] = status, reason
    written[1] += 1


@kernel
def charge_funding(state: Record, rate: float, price: float) -> float:
    """Settle funding on the position held and return what was received (negative: paid).

    A long pays when the rate is positive: ``-qty * price * rate``.
    """
    if rate == 0.0 or state["lots"] == 0:
        return 0.0
    amount = -state["qty"] * price * rate
    state["wallet"] += amount
    state["funding_since_fill"] += amount
    return amount


@kernel
def apply_fill(
    state: Record, rules: Record, ts: int, reference: float, order_id: int, lots: int,
    fills: Records, written: IntArray,
) -> tuple[float, float]:  # fmt: skip
    """Trade ``lots`` against ``reference`` at the account's costs; return fee and slippage, both paid.

    The average entry moves only when the position grows; reducing realises profit against it; a reversal closes
    all and opens the rest at the fill price.
    """
    price = fill_price(reference, 1 if lots > 0 else -1, rules["adverse_frac"], rules["tick"])
    qty = in_units(lots, rules["qty_step"])
    fee = fee_quote(qty, price, rules["taker_frac"])
    slippage = qty * (price - reference)
    before, entry = state["lots"], state["entry_price"]
    after = before + lots
    after_qty = in_units(after, rules["qty_step"])
    realised = 0.0
    if before != 0 and (before > 0) != (lots > 0):
        closed = min(abs(lots), abs(before)) * (1 if before > 0 else -1)
        realised = in_units(closed, rules["qty_step"]) * (price - entry)
    if after == 0:
        entry = 0.0
    elif before == 0 or (before > 0) != (after > 0):
        entry = price
    elif abs(after) > abs(before):
        entry += (price - entry) * (qty / after_qty)
    state["wallet"] += (-qty * price if rules["is_spot"] != 0 else realised) - fee
    state["lots"], state["qty"], state["entry_price"] = after, after_qty, entry

    row = fills[written[0]]
    row["ts"], row["bar"], row["order_id"] = ts, state["bar"], order_id
    row["lots"], row["qty"], row["reference"], row["price"] = lots, qty, reference, price
    row["fee"], row["slippage"], row["realised"] = fee, slippage, realised
    row["funding"], row["position_lots"], row["position_qty"] = state["funding_since_fill"], after, after_qty
    written[0] += 1
    state["funding_since_fill"] = 0.0
    return fee, slippage


@kernel
def payable_lots(state: Record, rules: Record, open_: float) -> int:
    """Return how many of the pending lots the account can pay for at this open; 0 refuses the order.

    Linear: all, or none where the position would exceed the venue's leverage on the equity at this open; an order
    that only shrinks the position always passes. Spot: a purchase takes no more than the cash pays for, fee
    included, as a market order in quote currency does, and is refused where that is below the venue's minimum.
    """
    lots, before = state["pending_lots"], state["lots"]
    if lots < 0 and rules["is_spot"] != 0:
        return lots
    price = fill_price(open_, 1 if lots > 0 else -1, rules["adverse_frac"], rules["tick"])
    if rules["is_spot"] != 0:
        affordable = lots_of(state["wallet"] / (price * (1.0 + rules["taker_frac"])), rules["qty_step"])
        if affordable >= lots:
            return lots
        notional = in_units(affordable, rules["qty_step"]) * price
        return affordable if affordable >= rules["min_lots"] and notional >= rules["min_notional_quote"] else 0
    if abs(before + lots) <= abs(before):
        return lots
    notional = abs(in_units(before + lots, rules["qty_step"])) * price
    return lots if notional <= rules["venue_leverage"] * equity_at(state, rules, open_) else 0


@kernel
def meet_open(
    state: Record, rules: Record, ts: int, open_: float,
    fills: Records, orders: Records, written: IntArray,
) -> tuple[float, float]:  # fmt: skip
    """Fill the pending order at a bar's open, or record why it is refused; return fee and slippage."""
    order_id, lots = state["pending_id"], state["pending_lots"]
    fee = slippage = 0.0
    filled = 0
    status, reason = _REJECTED, _BELOW_MIN_QTY  # no lots are left where a coarser step came into force
    if lots != 0:
        reason = _INSUFFICIENT_EQUITY
        filled = payable_lots(state, rules, open_)
        if filled != 0:
            status, reason = _FILLED, _NONE
            fee, slippage = apply_fill(state, rules, ts, open_, order_id, filled, fills, written)
    record_order(
        orders, written, order_id, state["pending_ts"], ts, state["pending_target"], lots, filled, status, reason
    )
    state["pending_id"] = 0
    return fee, slippage


@kernel
def ruin(
    state: Record, rules: Record, ts: int, close: float,
    fills: Records, orders: Records, written: IntArray,
) -> tuple[float, float]:  # fmt: skip
    """Cancel what waits, flatten the position at this close and stop trading; return fee and slippage."""
    if state["pending_id"] != 0:
        record_order(
            orders, written, state["pending_id"], state["pending_ts"], ts, state["pending_target"],
            state["pending_lots"], 0, _REJECTED, _RUINED,
        )  # fmt: skip
        state["pending_id"] = 0
    fee = slippage = 0.0
    lots = -state["lots"]
    if lots != 0:
        state["last_order_id"] += 1
        fee, slippage = apply_fill(state, rules, ts, close, state["last_order_id"], lots, fills, written)
        record_order(orders, written, state["last_order_id"], ts, ts, 0.0, lots, lots, _FILLED, _RUINED)
    state["is_ruined"] = 1
    return fee, slippage


@kernel
def refusal(state: Record, rules: Record, target: float, desired: int) -> int:
    """Return the reason why an order from the held to the ``desired`` lots is refused, 0 where it is accepted.

    On a linear market an order that only shrinks the position goes out reduce-only, which venues exempt from
    the minimum notional and split above the maximum quantity.
    """
    if state["is_ruined"] != 0:
        return _RUINED
    if abs(target) > rules["max_leverage"]:
        return _ABOVE_LEVERAGE
    if state["equity"] <= 0.0 and target != 0.0:  # marked so by funding on a gap, where ruin waits for a close
        return _INSUFFICIENT_EQUITY
    lots, before = abs(desired - state["lots"]), state["lots"]
    if lots < rules["min_lots"]:
        return _BELOW_MIN_QTY
    if rules["is_spot"] == 0 and abs(desired) < abs(before) and desired * before >= 0:
        return _NONE
    if lots > rules["max_lots"]:
        return _ABOVE_MAX_QTY
    if in_units(lots, rules["qty_step"]) * state["last_close"] < rules["min_notional_quote"] * (1.0 - SNAP):
        return _BELOW_MIN_NOTIONAL
    return _NONE


@kernel
def decide(state: Record, rules: Record, ts: int, orders: Records, written: IntArray) -> None:
    """Turn a new target into one order sized at the last valid close; it replaces one that waits out a gap.

    Not to be called while an order is under way.
    """
    target = state["wish"]
    state["standing"] = target
    if state["pending_id"] != 0:
        record_order(
            orders, written, state["pending_id"], state["pending_ts"], ts, state["pending_target"],
            state["pending_lots"], 0, _REPLACED, _NONE,
        )  # fmt: skip
        state["pending_id"] = 0
    if target == 0.0:
        desired = 0
    elif state["equity"] > 0.0:
        desired = exposure_lots(target, state["equity"], state["last_close"], rules["qty_step"])
    else:
        desired = state["lots"]
    lots = desired - state["lots"]
    if lots == 0 and target == 0.0:
        return
    reason = refusal(state, rules, target, desired)
    # The lots held are the lots wanted: nothing to do. A wish too small for a single lot is a refusal, though.
    if lots == 0 and reason == _BELOW_MIN_QTY and desired != 0:
        return
    state["last_order_id"] += 1
    if reason != _NONE:
        record_order(orders, written, state["last_order_id"], ts, ts, target, lots, 0, _REJECTED, reason)
        return
    state["pending_id"], state["pending_lots"] = state["last_order_id"], lots
    state["pending_target"], state["pending_ts"] = target, ts
    state["pending_wait"] = rules["latency_bars"] + 1


@kernel
def trade(
    ts: IntArray, open_: FloatArray, high: FloatArray, low: FloatArray, close: FloatArray,
    mark: FloatArray, funding_rate: FloatArray, target: FloatArray,
    rules_in_force: Records, account: Records, rows: Records, fills: Records, orders: Records,
    written: IntArray, start: int,
) -> int:  # fmt: skip
    """Advance the account over a chunk of bars.

    Parameters
    ----------
    ts : (n,) array of int64
        Bar open times, ns UTC, one step apart.
    open_, high, low, close : (n,) arrays of float64
        Prices; a NaN in any of them makes the bar a gap: nothing fills and equity keeps the last valid close.
    mark : (n,) array of float64
        Mark price at the bar's open; NaN takes the bar's open, in a gap the last valid close.
    funding_rate : (n,) array of float64
        Rate settled at the bar's open, as a fraction; 0 where none.
    target : (n,) array of float64
        Exposure wanted at this bar's close, as a signed fraction of equity; NaN is no new decision.
    rules_in_force, account : (1,) arrays of RULES and STATE
        ``account`` is updated in place.
    rows : (n,) array of ROWS
        Filled for the bars consumed.
    fills, orders : arrays of FILLS and ORDERS
        Filled from ``written[0]`` and ``written[1]`` on, which are advanced.
    start : int
        First bar to consume.

    Returns
    -------
    int
        The bar to go on with: n, or the first one for which ``fills`` or ``orders`` might be too short.

    Notes
    -----
    Trusts what :func:`research.execution.account.first_fault` has established.
    """
    state, rules = account[0], rules_in_force[0]
    for i in range(start, ts.shape[0]):
        if written[0] + FILLS_PER_BAR > fills.shape[0] or written[1] + ORDERS_PER_BAR > orders.shape[0]:
            return i
        is_gap = math.isnan(open_[i] + high[i] + low[i] + close[i])
        funding = 0.0
        if funding_rate[i] != 0.0:
            price = mark[i]
            if math.isnan(price):
                price = state["last_close"] if is_gap else open_[i]
            funding = charge_funding(state, funding_rate[i], price)
        fee = slippage = 0.0
        if state["pending_id"] != 0:
            if state["pending_wait"] > 0:
                state["pending_wait"] -= 1
            if state["pending_wait"] == 0 and not is_gap:
                fee, slippage = meet_open(state, rules, ts[i], open_[i], fills, orders, written)
        if not is_gap:
            state["last_close"] = close[i]
        known_ts = ts[i] + rules["step_ns"]
        equity = equity_at(state, rules, state["last_close"])
        if equity <= 0.0 and not is_gap and state["is_ruined"] == 0:
            more_fee, more_slippage = ruin(state, rules, known_ts, close[i], fills, orders, written)
            fee, slippage = fee + more_fee, slippage + more_slippage
            equity = equity_at(state, rules, close[i])
        state["equity"] = equity
        if not math.isnan(target[i]):
            state["wish"] = target[i]
        is_under_way = state["pending_id"] != 0 and state["pending_wait"] > 0
        if state["wish"] != state["standing"] and not is_under_way and not math.isnan(state["last_close"]):
            decide(state, rules, known_ts, orders, written)
        row = rows[i]
        row["equity"], row["position_lots"], row["wallet"] = equity, state["lots"], state["wallet"]
        row["fee"], row["slippage"], row["funding"] = fee, slippage, funding
        state["last_ts"] = ts[i]
        state["bar"] += 1
    return ts.shape[0]
