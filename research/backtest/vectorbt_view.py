"""A result's fills as a vectorbt portfolio, where vectorbt can express them; the comparison is in crosscheck.py."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from research.errors import InvalidInput

if TYPE_CHECKING:
    import vectorbt as vbt

    from research.backtest.result import Result


def portfolio(result: Result) -> vbt.Portfolio:
    """Return the portfolio that :meth:`research.backtest.Result.to_vectorbt` describes."""
    _refuse_what_it_cannot_express(result)
    import pandas as pd
    import vectorbt as vbt

    fills = result.ledger.fills
    size, price, fees = np.full((3, result.ts.size), np.nan)
    notional = np.abs(fills["qty"]) * fills["price"]
    size[fills["bar"]], price[fills["bar"]] = fills["qty"], fills["price"]
    fees[fills["bar"]] = fills["fee"] / notional
    index = pd.DatetimeIndex(result.ts.astype("datetime64[ns]"))
    close = pd.Series(np.ravel(result.close), index=index).ffill().bfill()
    return vbt.Portfolio.from_orders(
        close, size=size, price=np.where(np.isnan(price), close, price), fees=np.nan_to_num(fees),
        init_cash=result.initial_cash_quote, freq=pd.Timedelta(result.step_ns, unit="ns"),
    )  # fmt: skip


def _refuse_what_it_cannot_express(result: Result) -> None:
    fills = result.ledger.fills
    if len(result.legs) > 1:
        raise InvalidInput("result", "must have one leg to be shown in vectorbt", ", ".join(result.legs))
    if result.is_ruined:
        raise InvalidInput("result", "must not be ruined to be shown in vectorbt", f"{fills.size} fills")
    again = np.flatnonzero(np.diff(fills["bar"]) == 0)
    if again.size:
        rule = "must be the only one of its bar to be shown in vectorbt, which takes one order per bar"
        raise InvalidInput(f"result.fills[{again[0] + 1}]", rule, f"bar {fills['bar'][again[0]]}")
    cash = result.initial_cash_quote - np.cumsum(fills["qty"] * fills["price"] + fills["fee"])
    short_of_cash = np.flatnonzero((cash < 0) & (fills["qty"] > 0))
    if short_of_cash.size:
        rule = "must be paid from cash to be shown in vectorbt, which knows no margin (targets below 1 leave room)"
        raise InvalidInput(f"result.fills[{short_of_cash[0]}]", rule, float(cash[short_of_cash[0]]))
