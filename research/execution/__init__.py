"""Costs, fills, funding and the account that backtest, paper and live share; it reads and sends nothing."""

from research.execution.account import Account, Ledger
from research.execution.costs import Costs
from research.execution.funding import funding_per_bar
from research.execution.records import FILLS, ORDERS, ROWS, Reason, Status
from research.execution.rounding import exposure_lots, in_units, lots_of, price_to_tick

__all__ = [
    "FILLS",
    "ORDERS",
    "ROWS",
    "Account",
    "Costs",
    "Ledger",
    "Reason",
    "Status",
    "exposure_lots",
    "funding_per_bar",
    "in_units",
    "lots_of",
    "price_to_tick",
]
