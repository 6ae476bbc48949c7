"""Costs, orders, margin, funding and the account that backtest, paper and live share; it reads and sends nothing."""

from research.execution.account import Account
from research.execution.costs import Costs
from research.execution.funding import funding_per_bar
from research.execution.margin import Margin
from research.execution.portfolio import Ledger, Portfolio
from research.execution.records import (
    COMMANDS,
    FILLS,
    ORDERS,
    ROWS,
    Kind,
    Reason,
    Role,
    Status,
    TimeInForce,
    TriggerBy,
)
from research.execution.rounding import exposure_lots, in_units, lots_of, price_to_tick
from research.execution.rules import Limits

__all__ = [
    "COMMANDS",
    "FILLS",
    "ORDERS",
    "ROWS",
    "Account",
    "Costs",
    "Kind",
    "Ledger",
    "Limits",
    "Margin",
    "Portfolio",
    "Reason",
    "Role",
    "Status",
    "TimeInForce",
    "TriggerBy",
    "exposure_lots",
    "funding_per_bar",
    "in_units",
    "lots_of",
    "price_to_tick",
]
