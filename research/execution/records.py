"""Layouts of the account's state, orders, fills, rows and rules; it computes nothing."""

from __future__ import annotations

from enum import IntEnum

import numpy as np

from research.risk.exits import MAX_LEVELS

BOOK_CAPACITY = 64  # orders of one account that may be open, those under way and cancels included
MAX_TAKE_PROFITS = MAX_LEVELS


class Status(IntEnum):
    """What became of an order."""

    PENDING = 0
    FILLED = 1
    REJECTED = 2
    REPLACED = 3
    CANCELLED = 4


class Reason(IntEnum):
    """Why an order was rejected, cancelled or cut, or why it was filled when neither target nor user asked for it."""

    NONE = 0
    BELOW_MIN_QTY = 1
    ABOVE_MAX_QTY = 2
    BELOW_MIN_NOTIONAL = 3
    ABOVE_LEVERAGE = 4
    INSUFFICIENT_MARGIN = 5
    RUINED = 6
    ABOVE_TIER_LEVERAGE = 7
    ABOVE_RISK_LIMIT = 8
    EXIT_UNKNOWN = 9
    EXPOSURE_LIMIT = 10
    TOO_MANY_ORDERS = 11
    NO_PRICE = 12
    NO_LIQUIDITY = 13
    NOT_MARKETABLE = 14
    POST_ONLY_WOULD_TAKE = 15
    NOTHING_TO_REDUCE = 16
    NOTHING_TO_DO = 17
    EXITED = 18
    BY_COMMAND = 19
    LIQUIDATION = 20
    UNKNOWN_TAG = 21


class Role(IntEnum):
    """What an order was made for."""

    TARGET = 0
    COMMAND = 1
    STOP = 2
    TRAIL = 3
    BREAK_EVEN = 4
    TAKE_PROFIT = 5
    TIME_STOP = 6
    VOLATILITY = 7
    LIQUIDATION = 8
    RUIN = 9
    CANCEL = 10


class Kind(IntEnum):
    """How an order meets the market once it may."""

    MARKET = 0
    LIMIT = 1
    CANCEL = 2


class TimeInForce(IntEnum):
    """How long a limit order stays."""

    GTC = 0
    IOC = 1
    POST_ONLY = 2


class TriggerBy(IntEnum):
    """The price that a trigger watches."""

    LAST = 0
    MARK = 1


class DistanceUnit(IntEnum):
    """What the distance of an exit level is counted in."""

    NONE = 0
    FRAC = 1  # of the entry price
    UNIT = 2  # times the account's unit column (such as ATR) at the entry
    RISK = 3  # times the distance of the initial stop


class TrailMode(IntEnum):
    """How a trailing stop finds its level."""

    NONE = 0
    UNIT = 1
    LEVEL = 2
    PROFIT_SHARE = 3


# One row per bar and account. Quote currency; `fee`, `slippage` and `interest` are paid (fees and slippage may be
# negative: rebates), `funding` is received (negative: paid). `equity` and `wallet` are after the bar's close,
# `position_lots` is signed and of the first leg, `maintenance` is the margin below which the positions held would be
# liquidated, `ambiguous` what the bar's other possible order of events would have added to the equity.
ROWS = np.dtype(
    [
        ("equity", "f8"),
        ("position_lots", "i8"),
        ("wallet", "f8"),
        ("fee", "f8"),
        ("slippage", "f8"),
        ("funding", "f8"),
        ("interest", "f8"),
        ("maintenance", "f8"),
        ("ambiguous", "f8"),
    ]
)

# One row per fill. `ts` is the open of the bar it happened in (at ruin that bar's close), `bar` counts bars since the
# account began, `lots` and `qty` are signed, `reference` is the price before spread, slippage and tick,
# `slippage` = qty * (price - reference), `realised` is gross, `funding` was received since the leg's fill before,
# `role` is that of the order, `is_maker` 0 or 1.
FILLS = np.dtype(
    [
        ("ts", "i8"),
        ("bar", "i8"),
        ("order_id", "i8"),
        ("leg", "i8"),
        ("role", "i8"),
        ("is_maker", "i8"),
        ("lots", "i8"),
        ("qty", "f8"),
        ("reference", "f8"),
        ("price", "f8"),
        ("fee", "f8"),
        ("slippage", "f8"),
        ("realised", "f8"),
        ("funding", "f8"),
        ("position_lots", "i8"),
        ("position_qty", "f8"),
    ]
)

# One row per order, written when its fate is known. `decided_ts` is the close that decided it (for an exit that the
# venue holds: the open of the bar in which it was met), `done_ts` the open of the bar in which its fate was decided,
# or the close of the one that refused or replaced it. `lots` is what was ordered, signed.
ORDERS = np.dtype(
    [
        ("order_id", "i8"),
        ("tag", "i8"),
        ("leg", "i8"),
        ("role", "i8"),
        ("kind", "i8"),
        ("decided_ts", "i8"),
        ("done_ts", "i8"),
        ("target", "f8"),
        ("limit_price", "f8"),
        ("trigger_price", "f8"),
        ("lots", "i8"),
        ("filled_lots", "i8"),
        ("status", "i8"),
        ("reason", "i8"),
    ]
)

# What a user asks for, in the kernel's units; `bar` is the position within the chunk of the bar at whose close it is
# given. `kind` CANCEL ends the order of that tag (0: all commands of the leg). Prices that are not set are NaN.
COMMANDS = np.dtype(
    [
        ("bar", "i8"),
        ("leg", "i8"),
        ("tag", "i8"),
        ("kind", "i8"),
        ("tif", "i8"),
        ("lots", "i8"),
        ("limit_price", "f8"),
        ("trigger_price", "f8"),
        ("trigger_direction", "i8"),
        ("trigger_by", "i8"),
        ("reduce_only", "i8"),
        ("stop_loss", "f8"),
        ("take_profit", "f8"),
    ]
)

# An open order. `wait` counts the opens up to the one at which it arrives: above 0 it is under way. `lots` is what is
# left of `ordered`. `is_resting`: a limit order in the venue's book; `is_armed`: a conditional order waiting for its
# trigger. `desired` is the position that a target order is to reach, `pair_id` the other order of a pair.
BOOK = np.dtype(
    [
        ("order_id", "i8"),
        ("tag", "i8"),
        ("leg", "i8"),
        ("role", "i8"),
        ("kind", "i8"),
        ("tif", "i8"),
        ("decided_ts", "i8"),
        ("wait", "i8"),
        ("target", "f8"),
        ("desired", "i8"),
        ("ordered", "i8"),
        ("lots", "i8"),
        ("filled", "i8"),
        ("limit_price", "f8"),
        ("trigger_price", "f8"),
        ("trigger_direction", "i8"),
        ("trigger_by", "i8"),
        ("reduce_only", "i8"),
        ("carries", "i8"),
        ("is_resting", "i8"),
        ("is_armed", "i8"),
        ("has_arrived", "i8"),
        ("note", "i8"),
        ("pair_id", "i8"),
        ("stop_loss", "f8"),
        ("take_profit", "f8"),
    ]
)

# What an account remembers of one leg. `wish` is the last target given, `standing` the last one acted upon.
# Between `low_level` and `high_level` of the traded price, and those of the mark, the leg meets nothing.
# `pending_id` is the order to a target that is open, `leaving_id` a closing order under way, `closing_id` one that has
# arrived and goes on until the position is closed. Exit levels are NaN where there is none. `now` and `mark_now` are
# the prices within the bar that is being walked, `left` what the bar's volume still allows.
LEG = np.dtype(
    [
        ("term", "i8"),
        ("lots", "i8"),
        ("qty", "f8"),
        ("entry_price", "f8"),
        ("leverage", "f8"),
        ("last_close", "f8"),
        ("unit", "f8"),
        ("funding_since_fill", "f8"),
        ("wish", "f8"),
        ("standing", "f8"),
        ("pending_id", "i8"),
        ("closing_id", "i8"),
        ("leaving_id", "i8"),
        ("blocked_side", "i8"),
        ("entry_bar", "i8"),
        ("entry_lots", "i8"),
        ("entry_unit", "f8"),
        ("best", "f8"),
        ("entered_within", "i8"),
        ("stop", "f8"),
        ("stop_role", "i8"),
        ("has_broken_even", "i8"),
        ("risk", "f8"),
        ("tp_next", "i8"),
        ("tp_left", "i8"),
        ("tp_taken", "i8"),
        ("has_taken", "i8"),
        ("tp_price", "f8", (MAX_TAKE_PROFITS,)),
        ("tp_count", "i8"),
        ("has_bracket_stop", "i8"),
        ("has_bracket_profit", "i8"),
        ("liquidation", "f8"),
        ("low_level", "f8"),
        ("high_level", "f8"),
        ("mark_low_level", "f8"),
        ("mark_high_level", "f8"),
        ("now", "f8"),
        ("mark_now", "f8"),
        ("left", "f8"),
        ("bar_volume", "f8"),
        ("is_gap", "i8"),
        ("open_fee", "f8"),
        ("open_funding", "f8"),
    ]
)

# What an account remembers beside its legs and its book, and the figures that it gathers of its own curve: of daily
# (UTC) returns their number, mean, sum of squared deviations, sums of gains, of losses and of squared losses; of
# closed trades their number, sums and squares; `held_bars` are those of ended positions, `bars_held` those with any.
STATE = np.dtype(
    [
        ("bar", "i8"),
        ("last_ts", "i8"),
        ("wallet", "f8"),
        ("equity", "f8"),
        ("is_ruined", "i8"),
        ("last_order_id", "i8"),
        ("n_open", "i8"),
        ("is_busy", "i8"),
        ("fills_written", "i8"),
        ("orders_written", "i8"),
        ("commands_written", "i8"),
        ("peak", "f8"),
        ("max_drawdown", "f8"),
        ("under_since", "i8"),
        ("longest_drawdown", "i8"),
        ("day", "i8"),
        ("day_start_equity", "f8"),
        ("days", "i8"),
        ("day_mean", "f8"),
        ("day_m2", "f8"),
        ("day_gains", "f8"),
        ("day_losses", "f8"),
        ("day_losses_squared", "f8"),
        ("bars_held", "i8"),
        ("trades", "i8"),
        ("round_trips", "i8"),
        ("wins", "i8"),
        ("won", "f8"),
        ("lost", "f8"),
        ("trade_sum", "f8"),
        ("trade_sum_squares", "f8"),
        ("held_bars", "i8"),
        ("bar_fee", "f8"),
        ("bar_slippage", "f8"),
        ("fees", "f8"),
        ("slippage", "f8"),
        ("funding", "f8"),
        ("interest", "f8"),
        ("traded", "f8"),
        ("fills", "i8"),
        ("orders", "i8"),
        ("rejected", "i8"),
        ("liquidations", "i8"),
        ("ambiguous_bars", "i8"),
        ("ambiguous", "f8"),
    ]
)

# The rules of one leg over a chunk: the instrument's dated terms, costs, margin and exits, in the kernel's units.
RULES = np.dtype(
    [
        ("is_spot", "i8"),
        ("latency_bars", "i8"),
        ("max_leverage", "f8"),
        ("leverage", "f8"),
        ("venue_leverage", "f8"),
        ("tick", "f8"),
        ("qty_step", "f8"),
        ("tick_inverse", "f8"),
        ("step_inverse", "f8"),
        ("min_lots", "i8"),
        ("max_lots", "f8"),
        ("min_notional_quote", "f8"),
        ("taker_frac", "f8"),
        ("maker_frac", "f8"),
        ("liquidation_frac", "f8"),
        ("half_spread_frac", "f8"),
        ("adverse_frac", "f8"),
        ("slippage_unit_frac", "f8"),
        ("participation_frac", "f8"),
        ("impact_unit_frac", "f8"),
        ("volume_cap_frac", "f8"),
        ("carries", "i8"),
        ("touch_fills", "i8"),
        ("n_tiers", "i8"),
        ("base_rate_hourly", "f8"),
        ("collateral_frac", "f8"),
        ("max_leg", "f8"),
        ("hedge_leg", "i8"),
        ("stop_unit", "i8"),
        ("stop_distance", "f8"),
        ("n_take_profits", "i8"),
        ("take_profit_unit", "i8"),
        ("take_profit_distance", "f8", (MAX_TAKE_PROFITS,)),
        ("take_profit_share", "f8", (MAX_TAKE_PROFITS,)),
        ("take_profit_at_market", "i8"),
        ("trail_mode", "i8"),
        ("trail_distance", "f8"),
        ("trail_after", "i8"),
        ("trail_activation_unit", "i8"),
        ("trail_activation", "f8"),
        ("break_even_unit", "i8"),
        ("break_even_distance", "f8"),
        ("break_even_offset_frac", "f8"),
        ("time_stop_bars", "i8"),
        ("volatility_multiple", "f8"),
        ("stop_by", "i8"),
        ("has_exits", "i8"),
        ("needs_unit", "i8"),
        ("is_managed", "i8"),
    ]
)

# The rules of the whole account.
ACCOUNT_RULES = np.dtype(
    [
        ("step_ns", "i8"),
        ("n_legs", "i8"),
        ("book_rows", "i8"),
        ("open_orders", "i8"),
        ("tier_rows", "i8"),
        ("fills_room", "i8"),
        ("orders_room", "i8"),
        ("is_cross", "i8"),
        ("can_borrow", "i8"),
        ("spot_leverage", "f8"),
        ("debt_ratio", "f8"),
        ("quote_rate_hourly", "f8"),
        ("max_gross", "f8"),
        ("max_net", "f8"),
        ("has_limits", "i8"),
        ("prefers_better", "i8"),
    ]
)

TIERS = np.dtype([("cap", "f8"), ("maintenance", "f8"), ("initial", "f8"), ("deduction", "f8")])
