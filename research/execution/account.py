"""The account of one instrument; it places no real order and does no I/O."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from research.errors import InvalidInput
from research.execution.costs import Costs
from research.execution.margin import Margin
from research.execution.portfolio import Ledger, Portfolio, Records
from research.execution.records import BOOK_CAPACITY
from research.kernel import IntArray
from research.market.bars import NS_PER_MINUTE
from research.market.instruments import Instrument
from research.risk.exits import Exits

__all__ = ["Account", "Ledger"]


class Account(Portfolio):
    """One instrument's account: targets and orders in, fills and equity out.

    Parameters
    ----------
    instrument : Instrument
        Its dated terms are applied from their dates on.
    costs : Costs
        Fees, spread and slippage.
    initial_cash_quote : float
        Positive.
    latency_bars : int
        Whole bars between the close that decides and the open from which the order may fill, beyond the next one. Until
        then an order to a target is not recalled: a newer target waits until it is filled or refused.
    max_leverage : float
        Largest absolute target; a larger one is refused as ``above_leverage``. At most 1 on a spot market that is not
        borrowed for.
    step_ns : int
        Length of a bar, ns.
    margin : Margin
        Mode, leverage, borrowing.
    exits : Exits, optional
        Rules by which positions are left.
    intrabar, open_orders : str, int
        As :class:`research.execution.Portfolio` takes them.

    Raises
    ------
    InvalidInput
        If a setting lies outside its range.

    Notes
    -----
    Spot fees are charged in quote currency, as the equivalent of what venues take in coins on a purchase.
    """

    def __init__(
        self,
        instrument: Instrument,
        costs: Costs = Costs(),  # noqa: B008 - frozen
        initial_cash_quote: float = 10_000.0,
        latency_bars: int = 0,
        max_leverage: float = 1.0,
        step_ns: int = NS_PER_MINUTE,
        *,
        margin: Margin = Margin(),  # noqa: B008 - frozen
        exits: Exits | None = None,
        intrabar: str = "worse",
        open_orders: int = BOOK_CAPACITY,
    ) -> None:
        super().__init__(
            (instrument,), costs, initial_cash_quote, latency_bars, max_leverage, step_ns, margin=margin, exits=exits,
            intrabar=intrabar, open_orders=open_orders,
        )  # fmt: skip

    def push(  # type: ignore[override]  # one leg: columns by name instead of a mapping
        self,
        ts: IntArray,
        open: ArrayLike,
        high: ArrayLike,
        low: ArrayLike,
        close: ArrayLike,
        mark: ArrayLike | None = None,
        funding_rate: ArrayLike | None = None,
        target: ArrayLike | None = None,
        *,
        volume: ArrayLike | None = None,
        mark_high: ArrayLike | None = None,
        mark_low: ArrayLike | None = None,
        mark_close: ArrayLike | None = None,
        unit: ArrayLike | None = None,
        trail_low: ArrayLike | None = None,
        trail_high: ArrayLike | None = None,
        commands: Records | None = None,
        fine: Sequence[ArrayLike] | None = None,
    ) -> Ledger:
        """Advance by a chunk of bars and return what happened.

        Parameters
        ----------
        ts : (n,) array of int64
            Bar open times, ns UTC; the first follows the last one pushed.
        open, high, low, close, mark, funding_rate, target, volume, mark_high, mark_low, mark_close, unit, trail_low, \
trail_high : (n,) arrays of float64
            As :meth:`research.execution.Portfolio.push` takes them.
        commands : array of COMMANDS, optional
            By bar.
        fine : (open, high, low, close), each an (n * m,) array, optional
            Finer bars.

        Raises
        ------
        InvalidInput
            If lengths differ, a value breaks its rule, or new terms make the position no whole number of lots. The
            account is then as it was.
        MisalignedBars
            If the bars are not one step apart, or do not follow the last one.
        """
        given = {
            "open": open, "high": high, "low": low, "close": close, "mark": mark, "funding_rate": funding_rate,
            "target": target, "volume": volume, "mark_high": mark_high, "mark_low": mark_low, "mark_close": mark_close,
            "unit": unit, "trail_low": trail_low, "trail_high": trail_high,
        }  # fmt: skip
        shape = np.shape(ts)
        columns: dict[str, Any] = {}
        for name, values in given.items():
            if values is not None:
                column = np.asarray(values, dtype=np.float64)
                if column.shape != shape or column.ndim != 1:
                    raise InvalidInput(f"account.{name}", f"must have shape {shape} as ts", column.shape)
                columns[name] = column.reshape(1, -1)
        finer: Any = None if fine is None else np.stack([np.asarray(part, np.float64) for part in fine])[:, None, :]
        return super().push(ts, columns, commands=commands, fine=finer)

    @property
    def instrument(self) -> Instrument:
        """What is traded."""
        return self.instruments[0]

    @property
    def position_lots(self) -> int:
        """Signed position in lots of the terms in force."""
        return int(self._legs["lots"][0])

    @property
    def position_qty(self) -> float:
        """Signed position in base units."""
        return float(self._legs["qty"][0])

    @property
    def entry_price(self) -> float:
        """Average entry of the open position; 0 when flat."""
        return float(self._legs["entry_price"][0])

    @property
    def liquidation_price(self) -> float:
        """Mark price at which the position is liquidated; NaN for none."""
        return float(self._legs["liquidation"][0])

    @property
    def standing_target(self) -> float:
        """Last target acted upon; 0 before the first. A newer one may wait behind an order under way."""
        return float(self._legs["standing"][0])
