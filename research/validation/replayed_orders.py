"""One order of a replayed path: decided at a close, met by an open, paid for; it walks no path.

The rules are those of :mod:`research.execution` for one leg without exits; ``docs/execution.md`` tells them in words.
"""

from __future__ import annotations

import math

from research.execution.costs import fee_quote, sized_slippage
from research.execution.margin import isolated_level, largest_leverage, tier_of
from research.execution.rounding import SNAP, exposure_lots, lots_of, on_tick, side_of, times_unit, whole_within
from research.kernel import inlined_kernel, inner_kernel
from research.validation.replayed_draws import (
    DELAY,
    FRACTION,
    MISS,
    PARTIAL,
    PER_ORDER,
    SLIPPAGE,
    delay_of,
    multiple_of,
    uniform,
)
from research.validation.replayed_records import DECIDED, FILLED, IDLE, MISSED, REFUSED, REST, UNDER_WAY


@inlined_kernel
def base_price(rule, entry):  # type: ignore[no-untyped-def]
    """Return the price that a position's worth is counted from: its entry, or 0 where coins are owned."""
    return 0.0 if rule["is_spot"] != 0 else entry


@inlined_kernel
def is_met(s, market, is_cross, price):  # type: ignore[no-untyped-def]
    """Tell whether the position is liquidated at a mark price: the levels of :mod:`research.execution.margin`."""
    if not is_cross:
        return (price - s["level"] if s["lots"] > 0 else s["level"] - price) <= 0.0  # false where there is none
    rule, first = market.rules[s["segment"]], market.tiers_from[s["segment"]]
    value = abs(s["qty"]) * price
    tier = market.tiers[tier_of(market.tiers, first, rule["n_tiers"], value)]
    needed = value * (tier["maintenance"] + s["closing_frac"]) - tier["deduction"]
    return s["wallet"] + s["qty"] * (price - s["entry"]) <= needed


@inlined_kernel
def is_near(s, market, is_cross, day):  # type: ignore[no-untyped-def]
    """Tell whether the position could be lost at any price of a day: hardly ever, and then its bars are looked at."""
    if s["lots"] == 0 or not market.has_margin:
        return False
    worst = market.day_low[day] if s["lots"] > 0 else market.day_high[day]
    return is_met(s, market, is_cross, worst) or s["wallet"] + s["qty"] * (worst - s["entry"]) <= 0.0


@inner_kernel
def is_lost_before(s, market, is_cross, stop):  # type: ignore[no-untyped-def]
    """Tell whether the position held since bar ``since`` meets its liquidation, or ruin at a close, before ``stop``."""
    for i in range(s["since"], stop):
        worst = market.low[i] if s["lots"] > 0 else market.high[i]
        if is_met(s, market, is_cross, worst) or s["wallet"] + s["qty"] * (market.close[i] - s["entry"]) <= 0.0:
            return True
    return False


@inlined_kernel
def _may_grow(s, market, is_cross, lots, qty, now, price):  # type: ignore[no-untyped-def]
    """Tell whether margin and tiers let a perpetual's position grow by a fill, as the account does."""
    after = s["lots"] + lots
    if abs(after) <= abs(s["lots"]) and side_of(after) * side_of(s["lots"]) >= 0:
        return True
    rule, first = market.rules[s["segment"]], market.tiers_from[s["segment"]]
    n_tiers = rule["n_tiers"]
    qty_after = times_unit(after, rule["qty_step"], rule["step_inverse"])
    value = abs(qty_after) * price
    loss = abs(qty) * abs(price - now)
    if math.isnan(rule["leverage"]) and value <= market.tiers[first]["cap"]:
        # Whatever the leverage: no margin is above the value, no fees above three times the fee on it.
        least = s["wallet"] + min(s["qty"] * (now - s["entry"]), s["qty"] * (price - s["entry"]), 0.0)
        if value * (1.0 + 3.0 * rule["taker_frac"]) + 2.0 * loss <= least:
            return True
    if value > market.tiers[first + n_tiers - 1]["cap"]:
        return False
    leverage = largest_leverage(rule, market.tiers, first, value)
    if 1.0 / leverage < market.tiers[tier_of(market.tiers, first, n_tiers, value)]["initial"] * (1.0 - SNAP):
        return False
    side = 1.0 if after > 0 else -1.0
    is_added = side_of(s["lots"]) * side_of(after) > 0
    grown = abs(qty) if is_added else abs(qty_after)
    cost = grown * price * rule["taker_frac"] * (2.0 - side / leverage)
    if is_cross:
        available = s["wallet"] + s["qty"] * (now - s["entry"])
        needed = value / leverage + cost + grown * max(side * (price - now), 0.0)
    else:
        entry, available = price, s["wallet"]
        if is_added:
            entry = s["entry"] + (price - s["entry"]) * (qty / qty_after)
        elif s["lots"] != 0:
            available += s["qty"] * (price - s["entry"])
        needed = abs(qty_after) * entry / leverage + cost
    return needed <= available + SNAP * abs(available)


@inner_kernel
def refresh_level(s, market, is_cross):  # type: ignore[no-untyped-def]
    """Work out where an isolated position is liquidated, and the share of its value that a liquidation costs."""
    rule = market.rules[s["segment"]]
    if rule["is_spot"] != 0 or s["lots"] == 0:
        return
    side = 1.0 if s["lots"] > 0 else -1.0
    s["closing_frac"] = (1.0 - side / s["leverage"]) * rule["liquidation_frac"]
    if not is_cross:
        first = market.tiers_from[s["segment"]]
        s["level"] = isolated_level(
            abs(s["qty"]), side_of(s["lots"]), s["entry"], s["leverage"], market.tiers, first, rule["n_tiers"]
        )  # fmt: skip


@inlined_kernel
def _apply(s, market, is_cross, lots, qty, price, fee):  # type: ignore[no-untyped-def]
    """Trade lots at a price: wallet, average entry, and the figures of closed trades."""
    rule = market.rules[s["segment"]]
    before, entry, after = s["lots"], s["entry"], s["lots"] + lots
    after_qty = 0.0 if after == 0 else times_unit(after, rule["qty_step"], rule["step_inverse"])
    realised, rest_fee = 0.0, fee
    is_reduction = before != 0 and (before > 0) != (lots > 0)
    if is_reduction:
        closed_qty, held_share, exit_share = s["qty"], 1.0, 1.0  # most orders close all: no division for them
        if abs(lots) > abs(before):
            exit_share = abs(closed_qty) / abs(qty)
        elif after != 0:
            closed_qty = -qty
            held_share = closed_qty / s["qty"]
        realised = closed_qty * (price - entry)
        pnl = realised - (s["open_fee"] * held_share + fee * exit_share) + s["open_funding"] * held_share
        s["open_fee"] -= s["open_fee"] * held_share
        s["open_funding"] -= s["open_funding"] * held_share
        rest_fee = fee * (1.0 - exit_share)
        s["trades"] += 1
        if pnl > 0.0:
            s["won"] += pnl
        else:
            s["lost"] -= pnl
    is_opening = after != 0 and (before == 0 or (before > 0) != (after > 0))
    if after == 0:
        entry = s["open_fee"] = s["open_funding"] = 0.0
    elif is_opening:
        entry, s["open_fee"], s["open_funding"] = price, rest_fee, 0.0
    elif not is_reduction:
        entry += (price - entry) * (qty / after_qty)
        s["open_fee"] += fee
    s["wallet"] += (-qty * price if rule["is_spot"] != 0 else realised) - fee
    s["lots"], s["qty"], s["entry"] = after, after_qty, entry
    s["fees"] += fee
    s["fills"] += 1
    if rule["is_spot"] == 0 and after != 0:
        first = market.tiers_from[s["segment"]]
        if not is_reduction or is_opening:
            s["leverage"] = largest_leverage(rule, market.tiers, first, abs(after_qty) * price)
        refresh_level(s, market, is_cross)


@inner_kernel
def _log(s, events, bar, outcome, wanted, offered, lots, price, distance, fee):  # type: ignore[no-untyped-def]
    """Write one line of a path's history, where it is kept."""
    if s["logged"] < events.shape[0]:
        row = events[s["logged"]]
        row["decided_bar"], row["given_bar"], row["target"] = s["decided"], s["given_then"], s["standing"]
        row["bar"], row["outcome"], row["wanted"], row["offered"], row["lots"] = bar, outcome, wanted, offered, lots
        row["price"], row["distance"], row["fee"], row["position_lots"] = price, distance, fee, s["lots"]
        s["logged"] += 1


@inlined_kernel
def meet_open(s, market, settings, key, bar, events):  # type: ignore[no-untyped-def]
    """Let the order that arrives at a bar's open meet it: missed, filled whole or in part, or refused."""
    rule, number = market.rules[s["segment"]], s["given_then"] * PER_ORDER
    is_first = s["stage"] == UNDER_WAY
    s["stage"] = IDLE
    wanted = s["desired"] - s["lots"]
    if is_first and settings.miss > 0.0 and uniform(key, number + MISS) < settings.miss:
        s["missed"] += 1
        _log(s, events, bar, MISSED, wanted, 0, 0, math.nan, 0.0, 0.0)
        return
    side, lots = 1 if wanted > 0 else -1, wanted
    if is_first and settings.partial > 0.0 and uniform(key, number + PARTIAL) < settings.partial:
        share = settings.least + (settings.most - settings.least) * uniform(key, number + FRACTION)
        lots = side * whole_within(abs(wanted) * share)
    is_whole, offered = lots == wanted, lots
    if lots != 0:
        now, extra = market.open[bar], 0.0
        qty = times_unit(lots, rule["qty_step"], rule["step_inverse"])
        if market.has_volume or market.has_unit:
            unit = market.unit[bar] if market.has_unit else math.nan
            volume = market.volume[bar] if market.has_volume else math.nan
            extra = sized_slippage(rule, now, unit, volume, qty)
        adverse = rule["adverse_frac"] * s["multiple"]
        extra *= s["multiple"]
        price = on_tick(now * (1.0 + side * adverse) + side * extra, rule["tick"], rule["tick_inverse"], side)
        is_payable = True
        if rule["is_spot"] == 0:
            is_payable = _may_grow(s, market, settings.is_cross, lots, qty, now, price)
        elif side > 0:
            affordable = lots_of(max(s["wallet"], 0.0) / (price * (1.0 + rule["taker_frac"])), rule["qty_step"])
            if affordable < lots:
                notional = times_unit(affordable, rule["qty_step"], rule["step_inverse"]) * price
                is_payable = affordable >= rule["min_lots"] and notional >= rule["min_notional_quote"]
                lots, is_whole = affordable, True
                qty = times_unit(lots, rule["qty_step"], rule["step_inverse"])
        if not is_payable:
            s["refused"] += 1
            _log(s, events, bar, REFUSED, wanted, offered, 0, math.nan, now * adverse + extra, 0.0)
            return
        fee = fee_quote(qty, price, rule["taker_frac"])
        s["slippage"] += qty * (price - now)
        _apply(s, market, settings.is_cross, lots, qty, price, fee)
        _log(s, events, bar, FILLED, wanted, offered, lots, price, now * adverse + extra, fee)
    else:
        _log(s, events, bar, FILLED, wanted, 0, 0, math.nan, 0.0, 0.0)
    if not is_whole and settings.carries:
        s["stage"], s["arrival"] = REST, bar + 1


@inlined_kernel
def decide(s, market, settings, key, bar, events):  # type: ignore[no-untyped-def]
    """Turn the newest target into an order sized at a close, as the account does; it replaces a waiting rest."""
    target, rule, close = s["wish"], market.rules[s["segment"]], market.close[bar]
    s["standing"], s["stage"], s["decided"], s["given_then"] = target, IDLE, bar, s["given"]
    equity = s["wallet"] + s["qty"] * (close - base_price(rule, s["entry"]))
    desired = 0
    if settings.in_lots:
        desired = int(target)
    elif target != 0.0:
        desired = exposure_lots(target, equity, close, rule["qty_step"])
    lots = desired - s["lots"]
    _log(s, events, bar, DECIDED, lots, 0, 0, math.nan, 0.0, 0.0)
    if lots == 0 and (desired != 0 or target == 0.0):
        return
    grows = abs(desired) > abs(s["lots"]) or side_of(desired) * side_of(s["lots"]) < 0
    size = abs(lots)
    is_refused = (not settings.in_lots and abs(target) > rule["max_leverage"]) or size < rule["min_lots"]
    if grows or rule["is_spot"] != 0:
        value = times_unit(size, rule["qty_step"], rule["step_inverse"]) * close
        is_refused = is_refused or size > rule["max_lots"] or value < rule["min_notional_quote"] * (1.0 - SNAP)
    s["orders"] += 1
    if is_refused:
        s["refused"] += 1
        _log(s, events, bar, REFUSED, lots, 0, 0, math.nan, 0.0, 0.0)
        return
    number = s["given"] * PER_ORDER
    delay = settings.latency
    if settings.cumulative.shape[0] > 1:
        delay += delay_of(uniform(key, number + DELAY), settings.cumulative)
    s["multiple"] = settings.scale
    if settings.log_sd > 0.0 or settings.low != settings.high:
        s["multiple"] = multiple_of(
            uniform(key, number + SLIPPAGE), settings.scale, settings.log_sd, settings.low, settings.high
        )  # fmt: skip
    s["desired"], s["stage"], s["arrival"] = desired, UNDER_WAY, bar + 1 + delay
