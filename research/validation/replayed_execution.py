"""The decisions of one run, executed again and again with other delays, costs, fills and beginnings.

Nothing is reshuffled: every order meets the bars at the time that is drawn for it, its size follows from the equity of
its own path, and funding is settled on what the path holds. Prices, and what was decided on them, stay as they were.
"""

from __future__ import annotations

import math
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from research.backtest import Result, simulate
from research.backtest.legs import Column, Leg, clock_of, columns_of
from research.backtest.simulate import latency_in_bars
from research.errors import InvalidInput
from research.execution import Costs, Margin
from research.execution.portfolio import Portfolio
from research.kernel import FloatArray
from research.market.bars import TS
from research.market.instruments import Instrument
from research.validation.fan import FAN_PATHS, FAN_POINTS, PATH_STATISTICS, PathsResult, fan_positions
from research.validation.replayed_kernel import replay
from research.validation.replayed_market import market_of, require_lots, twin_of
from research.validation.replayed_records import (
    DECIDED,
    EVENT_COLUMNS,
    EVENTS,
    FIGURES,
    FILLED,
    MISSED,
    REFUSED,
    Settings,
)

_OUTCOMES = {int(MISSED): "missed", int(FILLED): "filled", int(REFUSED): "refused", int(DECIDED): "decided"}
_ACCOUNTS = "research.validation.replayed_account.replay_accounts, a backtest a path"
_CHUNK = 64  # paths that a thread takes at a time


@dataclass(frozen=True, slots=True)
class ExecutionRandomness:
    """What is drawn for every order of a path, and for the path. By default nothing is.

    Parameters
    ----------
    delay_probabilities : tuple of float
        Probability of 0, 1, 2 … bars on top of the run's own latency; they add up to 1.
    slippage_multiple : float
        Multiplies the modelled spread and slippage of every order.
    slippage_log_sd : float
        Above 0, each order's spread and slippage is multiplied by a lognormal of mean 1 with this deviation of its log.
    slippage_range : (float, float)
        Instead: by a uniform number from this range.
    partial_probability : float
        Probability that an order is filled in part at first.
    partial_range : (float, float)
        The part, uniform, within [0, 1]; truncated to whole lots.
    partial_rest : str
        ``carry``: the rest is filled at the next open, unless a new decision replaces it. ``cancel``: it is lost.
    miss_probability : float
        Probability that an order is lost; the position stays as it is until the target changes.
    start_frac : float
        Above 0, a path begins flat at a decision drawn from this first share of them, all equally likely.

    Raises
    ------
    InvalidInput
        If a value lies outside its range, or both kinds of slippage are asked for.

    Examples
    --------
    >>> ExecutionRandomness(delay_probabilities=(0.7, 0.3), miss_probability=0.02).described
    'delay of 0 to 1 bars, missed fills (2 %)'
    """

    delay_probabilities: tuple[float, ...] = (1.0,)
    slippage_multiple: float = 1.0
    slippage_log_sd: float = 0.0
    slippage_range: tuple[float, float] = (1.0, 1.0)
    partial_probability: float = 0.0
    partial_range: tuple[float, float] = (0.5, 0.5)
    partial_rest: str = "carry"
    miss_probability: float = 0.0
    start_frac: float = 0.0

    def __post_init__(self) -> None:
        chances = np.asarray(self.delay_probabilities, dtype=np.float64)
        if chances.ndim != 1 or not chances.size or not (chances >= 0.0).all() or abs(chances.sum() - 1.0) > 1e-9:
            raise InvalidInput("delay_probabilities", "must be at least 0 and add up to 1", self.delay_probabilities)
        object.__setattr__(self, "delay_probabilities", tuple(chances.tolist()))
        for name in ("partial_probability", "miss_probability", "start_frac"):
            _require(name, getattr(self, name), 1.0)
        for name in ("slippage_multiple", "slippage_log_sd"):
            _require(name, getattr(self, name), 100.0)
        for name, most in (("slippage_range", 100.0), ("partial_range", 1.0)):
            pair = getattr(self, name)
            if not isinstance(pair, (tuple, list)) or len(pair) != 2:
                raise InvalidInput(name, "must be (low, high)", pair)
            for value in pair:
                _require(name, value, most)
            if pair[0] > pair[1]:
                raise InvalidInput(name, "must have its low end first", pair)
            object.__setattr__(self, name, (float(pair[0]), float(pair[1])))
        if self.slippage_log_sd > 0.0 and self.slippage_range != (1.0, 1.0):
            raise InvalidInput("slippage_range", "must be (1, 1) where slippage_log_sd is given", self.slippage_range)
        if self.partial_rest not in ("carry", "cancel"):
            raise InvalidInput("partial_rest", "must be carry or cancel", self.partial_rest)

    @property
    def described(self) -> str:
        """What differs from path to path, in words."""
        parts = []
        if max(self.delay_probabilities) < 1.0:
            parts.append(f"delay of 0 to {len(self.delay_probabilities) - 1} bars")
        if self.slippage_log_sd > 0.0:
            parts.append(f"slippage (lognormal, deviation of the log {self.slippage_log_sd:g})")
        elif self.slippage_range[0] < self.slippage_range[1]:
            parts.append(f"slippage (times {self.slippage_range[0]:g} to {self.slippage_range[1]:g})")
        if self.partial_probability > 0.0:
            parts.append(f"partial fills ({self.partial_probability:.3g}, the rest: {self.partial_rest})")
        if self.miss_probability > 0.0:
            parts.append(f"missed fills ({100 * self.miss_probability:.3g} %)")
        if self.start_frac > 0.0:
            parts.append(f"start at one of the first {100 * self.start_frac:.3g} % of decisions")
        return ", ".join(parts).replace("partial fills (", "partial fills (probability ") or "none"


def _require(name: str, value: object, most: float) -> None:
    is_number = isinstance(value, (int, float, np.floating)) and not isinstance(value, bool)
    if not (is_number and 0.0 <= value <= most):  # type: ignore[operator]
        raise InvalidInput(name, f"must be a number in [0, {most:g}]", value)


@dataclass(frozen=True, slots=True, eq=False)
class ReplayedPath:
    """One path: what became of every order, and what a backtest needs to do the same.

    Parameters
    ----------
    events : polars.DataFrame
        In order, what was decided and what became of it: ``decided_ts``, ``given_ts`` (bars at whose closes the order
        was sized, and its target given), ``target``, ``ts`` (bar of the event), ``outcome`` (``decided`` and, at a
        close, ``refused``; at an open ``filled``, ``missed``, ``refused``), ``wanted`` and ``offered`` (lots before and
        after a partial fill was drawn), ``lots``, ``price``, ``distance`` (paid beyond the open before the tick),
        ``fee``, ``position_lots``.
    figures : dict of str to float
        Statistics and figures of the path.
    twin : dict
        Keywords for :func:`research.backtest.simulate`, bars and targets included: the account with the drawn fate of
        every order told to it by columns of volume and unit. None for targets in lots.
    """

    events: pl.DataFrame
    figures: dict[str, float]
    twin: dict[str, Any] | None


class ReplayedExecution:
    """A run's decisions, ready to be executed on many paths.

    Parameters
    ----------
    bars, targets, instrument, costs, margin, funding, mark, unit, initial_cash_quote, latency_bars, latency_ms, \
max_leverage
        As :func:`research.backtest.simulate` takes them. No bar may be a gap.
    targets_in : str
        ``exposure``: targets are fractions of equity; ``lots``: signed whole lots, not bound by ``max_leverage``.

    Raises
    ------
    InvalidInput
        As ``simulate``, and for what is not replayed here: exit rules, borrowing, volume caps, gaps, terms whose lot
        changes within the bars. :mod:`research.validation.replayed_account` replays those, a backtest for each path.

    Examples
    --------
    >>> from research.market.instruments import sample_instrument
    >>> close = 100.0 + np.round(5.0 * np.sin(np.arange(400) / 9.0), 2)
    >>> opened = np.concatenate((close[:1], close[:-1]))
    >>> ts = pl.Series("ts", 1_704_067_200 * 10**9 + np.arange(400) * 3_600 * 10**9).cast(TS)
    >>> bars = pl.DataFrame({"ts": ts, "open": opened, "close": close}).with_columns(
    ...     high=pl.max_horizontal("open", "close"), low=pl.min_horizontal("open", "close")
    ... )
    >>> targets = 0.5 * np.sign(np.cos(np.arange(400) / 9.0))
    >>> run = ReplayedExecution(bars, targets, instrument=sample_instrument("SOLUSDT"))
    >>> result = run.paths(ExecutionRandomness(delay_probabilities=(0.5, 0.5)), paths=200, seed=1)
    >>> result.interval("total")[0] < result.observed["total"], result.randomness
    (True, 'delay of 0 to 1 bars')
    >>> path = run.path(ExecutionRandomness(delay_probabilities=(0.5, 0.5)), 7, seed=1)
    >>> path.figures["final_equity"] == result.paths["final_equity"][7] == run.twin_result(path).equity["equity"][-1]
    True
    """

    def __init__(
        self,
        bars: pl.DataFrame,
        targets: Column,
        *,
        instrument: Instrument,
        costs: Costs = Costs(),  # noqa: B008 - frozen
        margin: Margin = Margin(),  # noqa: B008 - frozen
        exits: object = None,
        orders: object = None,
        funding: pl.DataFrame | None = None,
        mark: pl.DataFrame | None = None,
        unit: Column | None = None,
        initial_cash_quote: float = 10_000.0,
        latency_bars: int = 0,
        latency_ms: float = 0.0,
        max_leverage: float = 1.0,
        targets_in: str = "exposure",
    ) -> None:
        if targets_in not in ("exposure", "lots"):
            raise InvalidInput("targets_in", "must be exposure or lots", targets_in)
        for name, given, is_there in (
            ("exits", exits, exits is not None), ("orders", orders, orders is not None),
            ("margin.borrow", margin.borrow, margin.borrow),
            ("costs.volume_cap_frac", costs.volume_cap_frac, costs.volume_cap_frac is not None),
        ):  # fmt: skip
            if is_there:
                raise InvalidInput(name, f"is not replayed order by order: use {_ACCOUNTS}", given)
        self._in_lots = targets_in == "lots"
        self._given: dict[str, Any] = {
            "instrument": instrument, "costs": costs, "margin": margin, "funding": funding, "mark": mark, "unit": unit,
            "initial_cash_quote": initial_cash_quote, "latency_bars": latency_bars, "latency_ms": latency_ms,
            "max_leverage": max_leverage,
        }  # fmt: skip
        self._bars = bars
        # Every check of the account is its own: of the prices, and of the targets where it knows them.
        simulate(bars, None if self._in_lots else targets, gaps="hold", **self._given)
        self._ts, step_ns = clock_of(bars)
        asked = Leg(bars, instrument, targets, funding, mark, unit)
        columns, _, _ = columns_of(asked, self._ts, step_ns, math.inf if self._in_lots else max_leverage)
        if self._in_lots:
            require_lots(columns["target"], instrument)
        self._cash, self._is_cross = float(initial_cash_quote), margin.mode == "cross"
        self._latency = latency_in_bars(latency_bars, latency_ms, step_ns)
        portfolio = Portfolio(
            (instrument,), costs, initial_cash_quote, self._latency, max_leverage, step_ns, margin=margin
        )  # fmt: skip
        self._market = market_of(columns, self._ts, portfolio)
        self.decisions = int(self._market.decision_bar.size)

    def paths(
        self, randomness: ExecutionRandomness, *, paths: int = 10_000, seed: int, threads: int = 2,
        points: int = FAN_POINTS,
    ) -> PathsResult:  # fmt: skip
        """Return the distribution of the run's figures over paths of random execution.

        Parameters
        ----------
        randomness : ExecutionRandomness
            What is drawn.
        paths : int
            Paths to replay.
        seed : int
            At least 0. Path p of a seed is the same however many are asked for, and on any number of threads.
        threads : int
            Threads over paths.
        points : int
            Points of the fan.

        Returns
        -------
        PathsResult
            Of equity at the closes of days (the last one may be part of a day) and, for depth and lowest, of bars with
            a fill too: ``sharpe`` per day, time under water in days, profit factor of reductions net of their share of
            fees and funding. Days before a drawn start are not counted. Beside these the paths have ``FIGURES``.
            Memory is 136 bytes per path and at most 8 MB for the fan.

        Raises
        ------
        InvalidInput
            If a path comes to a liquidation or to ruin, which is replayed by accounts alone; or if a number is out of
            range.
        """
        given = (("paths", paths, 1), ("seed", seed, 0), ("threads", threads, 1), ("points", points, 2))
        for name, value, least in given:
            if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < least:
                raise InvalidInput(name, f"must be a whole number of at least {least}", value)
        at = fan_positions(self._market.day_end.size, points)
        out = np.empty((paths, len(PATH_STATISTICS) + len(FIGURES)))
        fan = np.empty((min(paths, FAN_PATHS), at.size))
        settings, days, none = self._settings(randomness), at.astype(np.int64), np.empty(0, EVENTS)

        def work(first: int) -> None:
            stop = min(first + _CHUNK, paths)
            replay(self._market, settings, seed, first, days, out[first:stop], fan[first:stop], none)

        with ThreadPoolExecutor(threads) as pool:
            list(pool.map(work, range(0, paths, _CHUNK)))
        lost = np.flatnonzero(out[:, -1] != 0.0)
        if lost.size:
            rule = (
                f"must not come to a liquidation, as {lost.size} of {paths} do (the first: {lost[0]}): use {_ACCOUNTS}"
            )
            raise InvalidInput("paths", rule)
        observed = self._one(ExecutionRandomness(), 0, 0, np.empty(0, EVENTS))[0]
        names = [*PATH_STATISTICS, *FIGURES]
        return PathsResult(
            method="replayed_execution",
            randomness=randomness.described,
            unit="day",
            observed=dict(zip(names[:-1], observed.tolist()[:-1], strict=True)),
            paths=pl.DataFrame(out[:, :-1], schema=names[:-1]),
            fixed=dict.fromkeys(names[:-1], "nothing is random") if randomness.described == "none" else {},
            fan_at=at,
            fan_values=fan,
        )

    def path(self, randomness: ExecutionRandomness, path: int, *, seed: int) -> ReplayedPath:
        """Return one path of :meth:`paths` by its number, with its history.

        Raises
        ------
        InvalidInput
            If it comes to a liquidation.
        """
        events = np.zeros(3 * self.decisions + 8, EVENTS)  # decided, met, and the rest of it met
        out, count = self._one(randomness, seed, path, events)
        if out[-1] != 0.0:
            raise InvalidInput("path", f"must not come to a liquidation: use {_ACCOUNTS}", path)
        log = events[:count]
        names = [*PATH_STATISTICS, *FIGURES[:-1]]
        twin = None
        if not self._in_lots:
            twin = twin_of(log, self._given, self._bars, randomness.partial_rest == "carry")
        return ReplayedPath(self._frame(log), dict(zip(names, out.tolist()[:-1], strict=True)), twin)

    def twin_result(self, path: ReplayedPath) -> Result:
        """Return the backtest of a path's own orders by the account of :func:`research.backtest.simulate`."""
        if path.twin is None:
            raise InvalidInput("path", "must be of targets in exposure: an account takes no targets in lots")
        return simulate(**path.twin)

    # ----------------------------------------------------------------- inside
    def _one(
        self, randomness: ExecutionRandomness, seed: int, path: int, events: NDArray[Any]
    ) -> tuple[FloatArray, int]:
        out = np.empty((1, len(PATH_STATISTICS) + len(FIGURES)))
        count = replay(
            self._market, self._settings(randomness), seed, path, np.empty(0, np.int64), out, np.empty((0, 0)), events
        )  # fmt: skip
        return out[0], int(count)

    def _settings(self, randomness: ExecutionRandomness) -> Settings:
        cumulative = np.cumsum(randomness.delay_probabilities)
        latency = self._latency
        if max(randomness.delay_probabilities) == 1.0:  # a constant delay needs no draw
            latency += int(np.argmax(randomness.delay_probabilities))
            cumulative = np.ones(1)
        low, high = randomness.slippage_range
        scale = randomness.slippage_multiple * (low if low == high else 1.0)
        starts = math.ceil(randomness.start_frac * self.decisions)
        return Settings(
            self._cash, latency, self._is_cross, self._in_lots, cumulative, scale, randomness.slippage_log_sd, low,
            high, randomness.miss_probability, randomness.partial_probability, *randomness.partial_range,
            randomness.partial_rest == "carry", starts,
        )  # fmt: skip

    def _frame(self, log: NDArray[Any]) -> pl.DataFrame:
        ts = {
            new: pl.Series(new, self._ts[log[old]]).cast(TS)
            for new, old in (("decided_ts", "decided_bar"), ("given_ts", "given_bar"), ("ts", "bar"))
        }
        outcome = [_OUTCOMES[int(code)] for code in log["outcome"]]
        kept = {name: log[name] for name in EVENT_COLUMNS}
        return pl.DataFrame(
            {"decided_ts": ts["decided_ts"], "given_ts": ts["given_ts"], "target": log["target"], "ts": ts["ts"],
             "outcome": pl.Series(outcome, dtype=pl.String), **kept}
        )  # fmt: skip
