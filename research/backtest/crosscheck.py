"""A backtest compared with vectorbt's accounting of the same fills; it judges what vectorbt can express, no more."""

from __future__ import annotations

import numpy as np
import polars as pl

from research.backtest.result import Result
from research.metrics.drawdown import max_drawdown
from research.metrics.returns import bar_returns, sharpe


def crosscheck_vectorbt(result: Result) -> pl.DataFrame:
    """Return figures of a result beside vectorbt's.

    vectorbt keeps cash and coins where a linear account keeps a wallet and an average entry, so that equal curves
    are two independent accounts agreeing. Funding and interest are left out of ours: vectorbt has neither.

    Parameters
    ----------
    result : Result
        Not ruined, and without borrowed purchases (see :meth:`Result.to_vectorbt`).

    Returns
    -------
    polars.DataFrame
        Columns ``figure``, ``ours``, ``theirs``, ``difference`` (ours minus theirs). The row ``equity_curve`` holds
        the bar at which the two curves differ most.
    """
    portfolio = result.to_vectorbt()
    rows = result.ledger.rows
    ours = rows["equity"] - np.cumsum(rows["funding"] - rows["interest"])
    theirs = portfolio.value().to_numpy()
    worst = int(np.abs(ours - theirs).argmax())
    start = result.initial_cash_quote
    figures = {
        "order_count": (float(result.ledger.fills.size), float(portfolio.orders.count())),
        "total_return": (ours[-1] / start - 1.0, float(portfolio.total_return())),
        "final_equity": (ours[-1], float(portfolio.final_value())),
        "max_drawdown": (max_drawdown(np.concatenate(([start], ours))), float(portfolio.max_drawdown())),
        "sharpe_bar": (
            sharpe(bar_returns(ours, start), result.bars_per_year),
            float(portfolio.sharpe_ratio(year_freq="365 days")),
        ),
        "fees": (float(rows["fee"].sum()), float(portfolio.orders.fees.sum())),
        "equity_curve": (ours[worst], theirs[worst]),
    }
    return pl.DataFrame(
        [
            {"figure": name, "ours": float(mine), "theirs": float(other), "difference": float(mine - other)}
            for name, (mine, other) in figures.items()
        ]
    )
