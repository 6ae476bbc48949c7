"""Orders meeting prices: what an account can pay for, and what a fill does to it; it decides neither when nor whether.

Kernels over :class:`research.execution.books.Books`. The only place where positions, wallet and fees change by trading.
"""

from __future__ import annotations

import math

from research.execution.books import Books, end_order, end_void_orders
from research.execution.costs import fee_quote, taker_price
from research.execution.exit_levels import clear_exits, set_bracket, set_levels
from research.execution.margin import (
    debts_and_assets,
    equity_now,
    largest_leverage,
    refresh_liquidation,
    tier_of,
)
from research.execution.records import Kind, Reason, Role, Status, TimeInForce
from research.execution.rounding import SNAP, lots_of, side_of, times_unit
from research.kernel import constant, inlined_kernel, inner_kernel

_FILLED, _REJECTED, _CANCELLED = constant(Status.FILLED), constant(Status.REJECTED), constant(Status.CANCELLED)
_NONE, _NO_LIQUIDITY, _NOTHING_TO_REDUCE = (
    constant(Reason.NONE),
    constant(Reason.NO_LIQUIDITY),
    constant(Reason.NOTHING_TO_REDUCE),
)
_INSUFFICIENT_MARGIN, _ABOVE_RISK_LIMIT = constant(Reason.INSUFFICIENT_MARGIN), constant(Reason.ABOVE_RISK_LIMIT)
_ABOVE_TIER_LEVERAGE, _BELOW_MIN_QTY = constant(Reason.ABOVE_TIER_LEVERAGE), constant(Reason.BELOW_MIN_QTY)
_COMMAND, _STOP, _LIQUIDATION = constant(Role.COMMAND), constant(Role.STOP), constant(Role.LIQUIDATION)
_MARKET, _IOC = constant(Kind.MARKET), constant(TimeInForce.IOC)


@inner_kernel
def refresh_all(b: Books) -> None:
    """Work out every leg's liquidation level again, after the wallet has changed."""
    for k in range(b.settings[0]["n_legs"]):
        refresh_liquidation(b, k)


@inner_kernel
def record_trade(b: Books, k: int, closed_qty: float, qty: float, price: float, fee: float) -> float:
    """Take a reduction of a leg's position into the account's trade figures; return the fee's share of it.

    Fees and funding gathered by the position are shared out by what was closed of it, as
    :func:`research.metrics.trades.closed_trades` does.
    """
    account, leg = b.account[0], b.legs[k]
    held_share, exit_share = abs(closed_qty) / abs(leg["qty"]), abs(closed_qty) / abs(qty)
    gross = closed_qty * (price - leg["entry_price"])
    pnl = gross - (leg["open_fee"] * held_share + fee * exit_share) + leg["open_funding"] * held_share
    leg["open_fee"] -= leg["open_fee"] * held_share
    leg["open_funding"] -= leg["open_funding"] * held_share
    account["trades"] += 1
    account["trade_sum"] += pnl
    account["trade_sum_squares"] += pnl * pnl
    if pnl > 0.0:
        account["wins"] += 1
        account["won"] += pnl
    else:
        account["lost"] -= pnl
    return exit_share


@inner_kernel
def apply_fill(
    b: Books, k: int, ts: int, lots: int, reference: float, price: float, fee: float,
    order_id: int, role: int, is_maker: int, is_within: int,
) -> None:  # fmt: skip
    """Trade ``lots`` of a leg at ``price``: wallet, average entry, exit levels, records.

    The average entry moves only when the position grows; reducing realises profit against it; a reversal closes all
    and opens the rest at the fill price. ``is_within`` tells that the bar was already under way.
    """
    account, leg, rule = b.account[0], b.legs[k], b.rules[k]
    qty = times_unit(lots, rule["qty_step"], rule["step_inverse"])
    slippage = qty * (price - reference)
    before, entry = leg["lots"], leg["entry_price"]
    after = before + lots
    after_qty = times_unit(after, rule["qty_step"], rule["step_inverse"])
    realised = 0.0
    fee_of_rest = fee
    is_reduction = before != 0 and (before > 0) != (lots > 0)
    if is_reduction:
        closed = min(abs(lots), abs(before)) * (1 if before > 0 else -1)
        closed_qty = times_unit(closed, rule["qty_step"], rule["step_inverse"])
        realised = closed_qty * (price - entry)
        fee_of_rest = fee * (1.0 - record_trade(b, k, closed_qty, qty, price, fee))
    is_opening = after != 0 and (before == 0 or (before > 0) != (after > 0))
    if after == 0:
        entry = 0.0
    elif is_opening:
        entry = price
    elif abs(after) > abs(before):
        entry += (price - entry) * (qty / after_qty)
    account["wallet"] += (-qty * price if rule["is_spot"] != 0 else realised) - fee
    leg["lots"], leg["qty"], leg["entry_price"] = after, after_qty, entry
    if is_reduction and (after == 0 or is_opening):
        account["round_trips"] += 1
        account["held_bars"] += account["bar"] - leg["entry_bar"]

    row = b.fills[b.account[0]["fills_written"]]
    row["ts"], row["bar"], row["order_id"], row["leg"], row["role"] = ts, account["bar"], order_id, k, role
    row["is_maker"], row["lots"], row["qty"], row["reference"], row["price"] = is_maker, lots, qty, reference, price
    row["fee"], row["slippage"], row["realised"] = fee, slippage, realised
    row["funding"], row["position_lots"], row["position_qty"] = leg["funding_since_fill"], after, after_qty
    b.account[0]["fills_written"] += 1
    leg["funding_since_fill"] = 0.0
    account["fills"] += 1
    account["fees"], account["bar_fee"] = account["fees"] + fee, account["bar_fee"] + fee
    account["slippage"], account["bar_slippage"] = account["slippage"] + slippage, account["bar_slippage"] + slippage
    account["traded"] += abs(qty) * price

    if after == 0:
        clear_exits(leg)
        leg["open_fee"] = leg["open_funding"] = 0.0
        if role >= _STOP and role <= _LIQUIDATION:
            leg["blocked_side"] = 1 if before > 0 else -1
    elif is_opening:
        clear_exits(leg)
        leg["open_fee"], leg["open_funding"] = fee_of_rest, 0.0
        leg["entry_bar"], leg["entry_unit"], leg["best"] = account["bar"], leg["unit"], price
        leg["entered_within"] = is_within
    elif not is_reduction:
        leg["open_fee"] += fee
    if after != 0 and not (is_reduction and not is_opening):  # opened or grown
        if rule["is_spot"] == 0:
            leg["leverage"] = largest_leverage(rule, b.tiers, k * b.settings[0]["tier_rows"], abs(after_qty) * price)
        if rule["has_exits"] != 0 or leg["has_bracket_stop"] != 0 or leg["has_bracket_profit"] != 0:
            set_levels(leg, rule)
    refresh_all(b)


@inner_kernel
def growth_refusal(b: Books, k: int, lots: int, reference: float, price: float, spent: float) -> int:
    """Return why a leg's position may not grow by a fill of ``lots`` at ``price``, 0 where it may.

    Parameters
    ----------
    b : Books
    k : int
        The leg.
    lots : int
        Signed.
    reference, price : float
        Before and after costs.
    spent : float
        What another fill of the same moment takes from the account first, quote currency.

    Notes
    -----
    Linear: the position's value must fit into a tier at the leverage in force, and initial margins, with the fees to
    open and to close at the bankruptcy price, into the equity (cross) or what the other positions leave of the wallet
    (isolated). Spot with borrowing: liabilities within ``spot_leverage - 1`` times the equity. Spot without: always.
    """
    leg, rule, settings = b.legs[k], b.rules[k], b.settings[0]
    before = leg["lots"]
    after = before + lots
    if abs(after) <= abs(before) and side_of(after) * side_of(before) >= 0:
        return _NONE
    qty_after = times_unit(after, rule["qty_step"], rule["step_inverse"])
    if rule["is_spot"] != 0:
        if settings["can_borrow"] == 0:
            return _NONE
        qty = times_unit(lots, rule["qty_step"], rule["step_inverse"])
        owed, owned = debts_and_assets(b)
        equity = owned - owed - spent - fee_quote(qty, price, rule["taker_frac"]) - qty * (price - leg["now"])
        wallet = b.account[0]["wallet"] - spent - qty * price - fee_quote(qty, price, rule["taker_frac"])
        liabilities = max(-wallet, 0.0)
        for i in range(b.settings[0]["n_legs"]):
            held = qty_after if i == k else b.legs[i]["qty"]
            if b.rules[i]["is_spot"] != 0:
                liabilities += max(-held * b.legs[i]["now"], 0.0)
        limit = (settings["spot_leverage"] - 1.0) * equity
        return _NONE if liabilities <= limit + SNAP * abs(limit) else _INSUFFICIENT_MARGIN
    value = abs(qty_after) * price
    first, n_tiers = k * settings["tier_rows"], rule["n_tiers"]
    if value > b.tiers[first + n_tiers - 1]["cap"]:
        return _ABOVE_RISK_LIMIT
    leverage = largest_leverage(rule, b.tiers, first, value)
    if 1.0 / leverage < b.tiers[tier_of(b.tiers, first, n_tiers, value)]["initial"] * (1.0 - SNAP):
        return _ABOVE_TIER_LEVERAGE
    side = 1.0 if after > 0 else -1.0
    grown = (
        abs(qty_after)
        if side_of(before) * side_of(after) <= 0
        else abs(times_unit(lots, rule["qty_step"], rule["step_inverse"]))
    )
    cost = grown * price * rule["taker_frac"] * (2.0 - side / leverage)
    if settings["is_cross"] != 0:  # what the fill itself loses against the price that the equity is taken at
        cost += grown * max(side * (price - leg["now"]), 0.0)
    others = 0.0
    for i in range(b.settings[0]["n_legs"]):
        if i != k and b.rules[i]["is_spot"] == 0 and b.legs[i]["lots"] != 0:
            at = b.legs[i]["now"] if settings["is_cross"] != 0 else b.legs[i]["entry_price"]
            others += abs(b.legs[i]["qty"]) * at / b.legs[i]["leverage"]
    if settings["is_cross"] != 0:
        available = equity_now(b) - haircut(b) - spent
        needed = others + value / leverage + cost
    else:
        entry = price
        available = b.account[0]["wallet"] - spent
        if side_of(before) * side_of(after) > 0:
            qty = times_unit(lots, rule["qty_step"], rule["step_inverse"])
            entry = leg["entry_price"] + (price - leg["entry_price"]) * (qty / qty_after)
        elif before != 0:
            available += leg["qty"] * (price - leg["entry_price"])
        needed = others + abs(qty_after) * entry / leverage + cost
    return _NONE if needed <= available + SNAP * abs(available) else _INSUFFICIENT_MARGIN


@inner_kernel
def haircut(b: Books) -> float:
    """Return what coins are worth beyond what they count for as collateral."""
    total = 0.0
    for k in range(b.settings[0]["n_legs"]):
        if b.rules[k]["is_spot"] != 0 and b.legs[k]["lots"] > 0:
            total += b.legs[k]["qty"] * b.legs[k]["now"] * (1.0 - b.rules[k]["collateral_frac"])
    return total


@inner_kernel
def free_cash(b: Books) -> float:
    """Return the cash that buys coins without borrowing: the wallet less the margins of isolated positions."""
    cash = b.account[0]["wallet"]
    if b.settings[0]["is_cross"] == 0:
        for i in range(b.settings[0]["n_legs"]):
            if b.rules[i]["is_spot"] == 0 and b.legs[i]["lots"] != 0:
                cash -= abs(b.legs[i]["qty"]) * b.legs[i]["entry_price"] / b.legs[i]["leverage"]
    return max(cash, 0.0)


@inner_kernel
def affordable_lots(b: Books, k: int, lots: int, price: float) -> int:
    """Return how many of the lots the cash of an account without borrowing pays for, 0 below the venue's minimum."""
    rule = b.rules[k]
    most = lots_of(free_cash(b) / (price * (1.0 + rule["taker_frac"])), rule["qty_step"])
    if most >= lots:
        return lots
    notional = times_unit(most, rule["qty_step"], rule["step_inverse"]) * price
    return most if most >= rule["min_lots"] and notional >= rule["min_notional_quote"] else 0


@inlined_kernel
def is_cash_spot(b: Books, k: int) -> bool:
    """Tell whether a leg is spot in an account that cannot borrow."""
    return b.rules[k]["is_spot"] != 0 and b.settings[0]["can_borrow"] == 0


@inner_kernel
def refuse(b: Books, j: int, ts: int, reason: int) -> None:
    """End an order that the account cannot pay for: rejected, or cancelled where it had been in the market."""
    row = b.book[j]
    was_in = row["filled"] != 0 or row["is_resting"] != 0
    end_order(b, j, ts, _CANCELLED if was_in else _REJECTED, reason)


@inner_kernel
def try_fill(b: Books, j: int, ts: int, reference: float, own_price: float, is_maker: int, is_within: int) -> None:
    """Fill the order in row ``j`` of the book as far as position, volume and money allow, and end it where it is done.

    Parameters
    ----------
    b : Books
    j : int
        Row of the book.
    ts : int
        Open of the bar.
    reference : float
        Price that a taker meets.
    own_price : float
        Limit price: a maker is filled there, a taker no worse; NaN for a market order.
    is_maker, is_within : int
        0 or 1.
    """
    row = b.book[j]
    k, lots, order_id, role = row["leg"], row["lots"], row["order_id"], row["role"]
    leg, rule = b.legs[k], b.rules[k]
    is_final = False
    if lots == 0:  # no lots are left of it where a coarser step came into force
        refuse(b, j, ts, _BELOW_MIN_QTY)
        return
    if row["reduce_only"] != 0 or (role == _COMMAND and lots < 0 and is_cash_spot(b, k)):
        if side_of(leg["lots"]) * side_of(lots) >= 0:
            end_order(b, j, ts, _CANCELLED, _NOTHING_TO_REDUCE)
            return
        if abs(lots) > abs(leg["lots"]):
            lots, is_final = -leg["lots"], True
    side = 1 if lots > 0 else -1
    wanted = lots
    if abs(lots) > leg["left"]:
        lots = side * int(leg["left"])
        is_final = False
    if lots == 0:
        if (row["kind"] == _MARKET and row["carries"] == 0) or (row["tif"] == _IOC and row["kind"] != _MARKET):
            end_order(b, j, ts, _CANCELLED, _NO_LIQUIDITY)
        elif row["kind"] != _MARKET:
            row["is_resting"] = 1
        return
    price = price_of(b, k, lots, reference, own_price, is_maker)
    reason = growth_refusal(b, k, lots, reference, price, 0.0)
    if reason == _NONE and side > 0 and is_cash_spot(b, k):
        affordable = affordable_lots(b, k, lots, price)
        if affordable == 0:
            reason = _INSUFFICIENT_MARGIN
        elif affordable < lots:
            lots, is_final = affordable, True
            price = price_of(b, k, lots, reference, own_price, is_maker)
    if reason != _NONE:
        refuse(b, j, ts, reason)
        return
    fee = fee_quote(
        times_unit(lots, rule["qty_step"], rule["step_inverse"]),
        price,
        rule["maker_frac"] if is_maker != 0 else rule["taker_frac"],
    )
    stop_loss, take_profit = row["stop_loss"], row["take_profit"]
    before = leg["lots"]
    leg["left"] -= abs(lots)
    row["filled"] += lots
    row["lots"] = 0 if is_final else row["lots"] - lots
    if not is_final and abs(wanted) < abs(row["lots"] + lots):  # cut to the position, and by the volume as well
        row["lots"] = wanted - lots
    apply_fill(b, k, ts, lots, price if is_maker != 0 else reference, price, fee, order_id, role, is_maker, is_within)
    grew = leg["lots"] != 0 and not (abs(leg["lots"]) <= abs(before) and side_of(leg["lots"]) * side_of(before) >= 0)
    if grew and not (math.isnan(stop_loss) and math.isnan(take_profit)):
        set_bracket(leg, rule, stop_loss, take_profit)
    if row["lots"] == 0:
        end_order(b, j, ts, _FILLED, row["note"])
    elif (row["kind"] == _MARKET and row["carries"] == 0) or (row["kind"] != _MARKET and row["tif"] == _IOC):
        end_order(b, j, ts, _CANCELLED, _NO_LIQUIDITY)
    elif row["kind"] != _MARKET:
        row["is_resting"] = 1
    if leg["lots"] == 0:
        end_void_orders(b, k, ts)


@inlined_kernel
def price_of(b: Books, k: int, lots: int, reference: float, own_price: float, is_maker: int) -> float:
    """Return the price at which so many lots of a leg are filled."""
    if is_maker != 0:
        return own_price
    leg, rule = b.legs[k], b.rules[k]
    side = 1 if lots > 0 else -1
    price = taker_price(
        rule, reference, side, leg["unit"], leg["bar_volume"], times_unit(lots, rule["qty_step"], rule["step_inverse"])
    )
    if math.isnan(own_price):
        return price
    return min(price, own_price) if side > 0 else max(price, own_price)
