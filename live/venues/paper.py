"""A venue without an exchange: the execution kernels of the backtest fill its orders. It decides nothing."""

from __future__ import annotations

from collections.abc import Mapping

from research.bundle import Bundle
from research.execution.account import Account, Ledger
from research.kernel import FloatArray, IntArray
from research.market.bars import interval_ns


class PaperVenue:
    """An account opened with a bundle's costs, instrument and settings.

    Parameters
    ----------
    bundle : Bundle
        What to trade and at which costs.
    """

    def __init__(self, bundle: Bundle) -> None:
        self.account = Account(
            bundle.instrument, bundle.costs, step_ns=interval_ns(bundle.spec.base_interval), **bundle.account
        )

    def on_bars(
        self,
        ts: IntArray,
        columns: Mapping[str, FloatArray],
        mark: FloatArray,
        funding_rate: FloatArray,
        exposure: FloatArray,
    ) -> Ledger:
        """Advance by closed bars: funding, fills at the open, equity at the close, then the new target.

        Parameters
        ----------
        exposure : (n,) array of float64
            Target decided at each bar's close, NaN where none was.
        """
        return self.account.push(
            ts, columns["open"], columns["high"], columns["low"], columns["close"], mark, funding_rate, exposure
        )
