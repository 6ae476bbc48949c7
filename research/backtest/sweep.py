"""A strategy over all combinations of a grid, in memory that grows with neither bars nor results; it searches nothing.

Bars come in blocks that stay in cache: features are computed once for each distinct parameter, decisions once for each
distinct rule, and every combination's account passes over the block before the next one is read.
"""

from __future__ import annotations

import hashlib
import inspect
import json
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import polars as pl

from research.backtest.combinations import Combination, Combinations, Grid, rows_of
from research.backtest.legs import PATH, mark_columns
from research.backtest.packing import packed, parquet_of, unpacked
from research.backtest.simulate import latency_in_bars
from research.backtest.stopwatch import Stopwatch
from research.backtest.swept import figures_of, last_day
from research.errors import FingerprintMismatch, InvalidInput, MisalignedBars, SchemaMismatch
from research.execution.account import Account
from research.execution.costs import Costs
from research.execution.engine import PER_ROW, advance
from research.execution.funding import funding_per_bar
from research.execution.margin import Margin
from research.execution.portfolio import COLUMNS, KERNEL_ORDER, Portfolio
from research.execution.quiet import summary_of
from research.execution.records import FILLS, ORDERS
from research.execution.rules import rules_of
from research.features.feature_set import FeatureSet
from research.kernel import FloatArray, IntArray, code_hash
from research.market.bars import NS_PER_DAY, epoch_ns, interval_ns, read_in_place, require_clock
from research.market.instruments import Instrument
from research.market.resample import Resampler
from research.metrics.returns import DAYS_PER_YEAR
from research.policy import BAR_INPUTS, DecisionRule, PolicySpec
from research.predictor import Predictor
from research.risk.exits import Exits

# Bars looked at together. 200 combinations over 500,000 bars, two threads, ns per bar and combination: blocks of 8,192
# took 11.2, 16,384 9.0, 32,768 8.0, 65,536 7.4: fewer calls weigh more than the second-level cache.
BLOCK = 65_536
_FORMAT = "sweep/1"


class Checkpoint(Protocol):
    """Where a sweep keeps its state, so that it can be killed and go on."""

    def load(self) -> bytes | None:
        """Return what was saved last, None if nothing was."""

    def save(self, state: bytes) -> None:
        """Keep a state in place of the one before, whole or not at all."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What a sweep is going to do and what it will take.

    Parameters
    ----------
    combinations, decisions, features : int
        Accounts to run, distinct decision rules and distinct feature entries among them.
    bars : int or None
        None where the bars come as a stream whose length is not known.
    threads : int
    seconds_per_million_bars : float
        As measured on the first block with a few combinations.
    seconds : float or None
        Expected for all bars.
    memory_mb : float
        Expected above what the process holds already: states, one block, and daily returns if they are kept.
    """

    combinations: int
    decisions: int
    features: int
    bars: int | None
    threads: int
    seconds_per_million_bars: float
    seconds: float | None
    memory_mb: float

    def __str__(self) -> str:
        told = "unknown" if self.seconds is None else f"{self.seconds:,.1f} s"
        bars = "a stream of" if self.bars is None else f"{self.bars:,}"
        return (
            f"{self.combinations:,} combinations ({self.decisions:,} decision rules, {self.features:,} features) over "
            f"{bars} bars on {self.threads} threads: about {told}, {self.memory_mb:,.0f} MB"
        )


class Sweep:
    """A sweep that is prepared: :meth:`plan` says what it takes, :meth:`run` does it.

    Parameters
    ----------
    bars : polars.DataFrame or iterable of polars.DataFrame
        Base bars on a complete clock, as one frame or as blocks that follow one another
        (:func:`research.market.bars.blocks_on_clock` over a lake's blocks). Columns as
        :func:`research.backtest.simulate` reads them; ``mark``, ``mark_high``, ``mark_low`` and ``mark_close`` may be
        among them.
    strategy : PolicySpec
        Features, strategy and sizer, as a policy runs them live. What the grid does not name is taken from it.
    grid : mapping of str to list, list of mappings, or polars.DataFrame
        Values by path (see :mod:`research.backtest.combinations`): all combinations of the lists, or the rows given.
    instrument : Instrument
    costs, margin, exits
        As :func:`research.backtest.simulate` takes them.
    funding : polars.DataFrame, optional
        Settlements over all bars.
    mark : polars.DataFrame, optional
        Mark prices on the bars' clock.
    predictor : Predictor, optional
        Where the strategy reads a score.
    unit, trail_low, trail_high : str, optional
        Feature columns that exits and costs read, such as the key of an ATR.
    initial_cash_quote, latency_bars, latency_ms, max_leverage, intrabar
        As :func:`research.backtest.simulate` takes them.
    threads : int
        Accounts run side by side; the result is the same.
    daily : bool
        Whether to keep each combination's daily returns.
    block : int
        Bars looked at together.

    Raises
    ------
    InvalidInput, SchemaMismatch
        If a path, a parameter or a setting is wrong; bars are not read before :meth:`run`.
    """

    def __init__(
        self,
        bars: pl.DataFrame | Iterable[pl.DataFrame],
        strategy: PolicySpec,
        grid: Grid,
        *,
        instrument: Instrument,
        costs: Costs = Costs(),  # noqa: B008 - frozen
        margin: Margin = Margin(),  # noqa: B008 - frozen
        exits: Exits | None = None,
        funding: pl.DataFrame | None = None,
        mark: pl.DataFrame | None = None,
        predictor: Predictor | None = None,
        unit: str | None = None,
        trail_low: str | None = None,
        trail_high: str | None = None,
        initial_cash_quote: float = 10_000.0,
        latency_bars: int = 0,
        latency_ms: float = 0.0,
        max_leverage: float = 1.0,
        intrabar: str = "worse",
        threads: int = 2,
        daily: bool = False,
        block: int = BLOCK,
    ) -> None:
        for name, value in (("threads", threads), ("block", block)):
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise InvalidInput(f"sweep.{name}", "must be a whole number of at least 1", value)
        if funding is not None and instrument.market == "spot":
            raise InvalidInput("funding", "must be None on a spot market", f"{funding.height} rows")
        self._bars, self._spec, self._instrument = bars, strategy, instrument
        self._funding, self._mark = funding, mark
        self._predictor = Predictor.none() if predictor is None else predictor
        self._cash, self._max_leverage, self._intrabar = initial_cash_quote, max_leverage, intrabar
        self._threads, self._block, self._keeps_daily = threads, block, daily
        self._step_ns = interval_ns(strategy.base_interval)
        self._decision_ns = interval_ns(strategy.decision_interval)
        if self._decision_ns % self._step_ns:
            rule = f"must be a multiple of {strategy.base_interval}"
            raise InvalidInput("strategy.decision_interval", rule, strategy.decision_interval)
        latency = latency_in_bars(latency_bars, latency_ms, self._step_ns)
        columns = {"unit": unit, "trail_low": trail_low, "trail_high": trail_high}
        resolver = Combinations(strategy, costs, margin, exits, latency, columns)
        self._combinations = [resolver.resolve(params) for params in rows_of(grid)]
        self._feature_set = FeatureSet(resolver.features, timeframe=strategy.decision_interval)
        self._require_columns()
        self._groups = self._grouped()

    # ----------------------------------------------------------------- before
    def plan(self) -> Plan:
        """Return what the sweep will take, by running a few combinations over the first block.

        It reads the first block of a stream: give it a stream that can be read again, such as a list.
        """
        if isinstance(self._bars, Iterator):
            raise InvalidInput(
                "sweep.bars", "must be a frame or a list of blocks to be planned", type(self._bars).__name__
            )
        first = next(self._blocks(None), None)
        if first is None:
            raise InvalidInput("sweep.bars", "must have at least 2 rows", 0)
        sample = self._groups[: min(len(self._groups), 4)]
        run = _Run(self, sample)
        run.advance(*first)  # compiles, and warms the caches
        seconds = []
        for _ in range(3):
            run = _Run(self, sample)
            watch = Stopwatch()
            run.advance(*first)
            seconds.append(watch.seconds)
        n_sampled = sum(len(group.members) for group in sample)
        n_bars, share = first[0].shape[0], len(self._combinations) / n_sampled
        per_million = min(seconds) * share / n_bars * 1e6 / self._speed_up(len(sample))
        bars = self._bars.height if isinstance(self._bars, pl.DataFrame) else None
        return Plan(
            combinations=len(self._combinations), decisions=len(self._groups), features=len(self._feature_set.columns),
            bars=bars, threads=self._threads, seconds_per_million_bars=per_million,
            seconds=None if bars is None else per_million * bars / 1e6, memory_mb=self._memory_mb(bars),
        )  # fmt: skip

    def _speed_up(self, sampled: int) -> float:
        """Return how much more threads the whole sweep uses than the sample did."""
        return max(1.0, min(self._threads, len(self._groups)) / min(self._threads, sampled))

    def _memory_mb(self, bars: int | None) -> float:
        per_account = len(self._combinations) * 24e3
        per_block = self._block * 8.0 * (len(self._feature_set.columns) + 12 + 4 * self._threads)
        days = 0 if bars is None or not self._keeps_daily else bars * self._step_ns // NS_PER_DAY + 2
        return (per_account + per_block + days * 8.0 * len(self._combinations)) / 1e6

    def _require_columns(self) -> None:
        known = self._feature_set.columns
        for combination in self._combinations[:1]:
            DecisionRule(combination.spec, known)  # names of strategy, sizer and columns
        for combination in self._combinations:
            for role in ("unit", "trail_low", "trail_high"):
                name = getattr(combination, role)
                if name is not None and name not in known:
                    raise InvalidInput(f"sweep.{role}", f"must be a feature column ({', '.join(known)})", name)
            reads = combination.costs.reads_unit or (combination.exits is not None and combination.exits.reads_unit)
            if reads and combination.unit is None:
                raise InvalidInput("sweep.unit", "is required by costs or exits that are counted in units")

    def _grouped(self) -> list[_Group]:
        """Return the combinations by what they decide and read, in the order in which they first appear."""
        found: dict[Any, _Group] = {}
        for index, combination in enumerate(self._combinations):
            key = combination.decision_key, combination.column_key
            if key not in found:
                found[key] = _Group(combination, [])
            found[key].members.append(index)
        return list(found.values())

    # ----------------------------------------------------------------- run
    def run(
        self,
        *,
        progress: bool | None = None,
        checkpoint: Checkpoint | None = None,
        checkpoint_seconds: float = 30.0,
    ) -> Swept:
        """Run every combination over all bars.

        Parameters
        ----------
        progress : bool, optional
            Whether to show a bar; None shows one in terminals and notebooks.
        checkpoint : Checkpoint, optional
            State is saved there every ``checkpoint_seconds``. A sweep with the same settings over the same bars goes on
            from it.
        checkpoint_seconds : float

        Raises
        ------
        MisalignedBars, SchemaMismatch, InvalidInput, FundingHole
            If bars or funding cannot be used, as :func:`research.backtest.simulate` tells. NaN prices while a position
            is open keep its last close: a sweep does not stop for one combination.
        FingerprintMismatch
            If the checkpoint is of another sweep.
        """
        run = _Run(self, self._groups)
        resumed = None if checkpoint is None else checkpoint.load()
        if resumed is not None:
            run.restore(resumed)
        watch = Stopwatch()
        with _progress(progress, self._total(), run.bars_done) as shown:
            for block in self._blocks(run.last_ts):
                run.advance(*block)
                shown.update(block[0].shape[0])
                if checkpoint is not None and watch.seconds >= checkpoint_seconds:
                    checkpoint.save(run.snapshot())
                    watch.reset()
        if run.bars_done < 2:
            raise InvalidInput("sweep.bars", "must have at least 2 rows", run.bars_done)
        if checkpoint is not None:
            checkpoint.save(run.snapshot())
        return run.result()

    def _total(self) -> int | None:
        return self._bars.height if isinstance(self._bars, pl.DataFrame) else None

    @property
    def fingerprint(self) -> str:
        """Hash of all that decides what the sweep computes, but for the bars themselves."""
        rules = [DecisionRule(group.first.spec, self._feature_set.columns) for group in self._groups[:1]]
        kernels = [kernel for rule in rules for kernel in (rule.strategy.kernel, rule.sizer.kernel)]
        told = {
            "code": code_hash([*kernels, advance], [inspect.getfile(part) for part in (Account, Portfolio, rules_of)]),
            "mark": None if self._mark is None else int(self._mark.hash_rows().sum()),
            "combinations": [
                [c.params, c.decision_key, c.column_key, c.costs, c.margin.to_dict(), c.exits, c.latency_bars]
                for c in self._combinations
            ],
            "features": self._feature_set.fingerprint,
            "predictor": self._predictor.sha256,
            "account": [self._cash, self._max_leverage, self._intrabar, self._step_ns, self._decision_ns],
            "instrument": self._instrument.to_dict(),
            "funding": None if self._funding is None else int(self._funding.hash_rows().sum()),
            "keeps": [self._keeps_daily, self._spec.strategy, self._spec.sizer],
        }
        return hashlib.sha256(json.dumps(told, sort_keys=True, default=str).encode()).hexdigest()

    def _blocks(self, after: int | None) -> Iterator[tuple[IntArray, dict[str, FloatArray], pl.DataFrame]]:
        """Yield (times, base columns, frame) of each block later than a time, on one clock."""
        expected = None if after is None else after + self._step_ns
        for frame in self._frames():
            if frame.is_empty():
                continue
            ts = epoch_ns(frame)
            if after is not None and int(ts[-1]) <= after:
                continue
            if after is not None and int(ts[0]) <= after:
                frame = frame.slice(int(np.searchsorted(ts, after, side="right")))
                ts = epoch_ns(frame)
            require_clock(ts, self._step_ns, "sweep.bars")
            if expected is not None and int(ts[0]) != expected:
                raise MisalignedBars("sweep.bars", f"must go on at {expected} ns, after the block before", int(ts[0]))
            expected = int(ts[-1]) + self._step_ns
            yield ts, self._columns(frame, ts), frame

    def _frames(self) -> Iterator[pl.DataFrame]:
        whole = [self._bars] if isinstance(self._bars, pl.DataFrame) else self._bars
        for frame in whole:
            if not isinstance(frame, pl.DataFrame):
                raise SchemaMismatch("sweep.bars", "must be a frame or frames", type(frame).__name__)
            for begin in range(0, frame.height, self._block):
                yield frame.slice(begin, self._block)

    def _columns(self, frame: pl.DataFrame, ts: IntArray) -> dict[str, FloatArray]:
        """Return what accounts read of a block, as (1, n) arrays."""
        names = ["open", "high", "low", "close"]
        names += [name for name in ("volume", "mark", *PATH) if name in frame.columns]
        found = dict(zip(names, read_in_place(frame, names), strict=True))
        if self._mark is not None:
            found |= mark_columns(self._mark, ts, self._step_ns)
        if self._funding is not None:
            found["funding_rate"] = funding_per_bar(ts, self._step_ns, self._funding)[0]
        return {name: column.reshape(1, -1) for name, column in found.items() if name in COLUMNS}


def sweep(
    bars: pl.DataFrame | Iterable[pl.DataFrame], strategy: PolicySpec, grid: Grid, *,
    progress: bool | None = None, checkpoint: Checkpoint | None = None, **settings: Any,
) -> pl.DataFrame:  # fmt: skip
    """Run a strategy over all combinations of a grid and return a row for each.

    Parameters
    ----------
    bars, strategy, grid, settings
        As :class:`Sweep` takes them; ``instrument`` is required.
    progress, checkpoint
        As :meth:`Sweep.run` takes them.

    Returns
    -------
    polars.DataFrame
        One row per combination, in the order of the grid: its parameters by path, then its figures, under the names and
        conventions of :meth:`research.backtest.Result.metrics`. :class:`research.backtest.Surface` looks at it.

    Raises
    ------
    MisalignedBars, SchemaMismatch, InvalidInput, FundingHole, FingerprintMismatch
        As :class:`Sweep` and :meth:`Sweep.run`.
    """
    return Sweep(bars, strategy, grid, **settings).run(progress=progress, checkpoint=checkpoint).table


@dataclass(frozen=True, slots=True)
class Swept:
    """What a sweep found.

    Parameters
    ----------
    table : polars.DataFrame
        One row per combination: parameters by path, and figures.
    daily : polars.DataFrame or None
        ``day`` (date, UTC) and one column of daily returns for each combination, named by its row; None if they were
        not asked for. Overfitting statistics read it.
    """

    table: pl.DataFrame
    daily: pl.DataFrame | None

    def to_files(self) -> dict[str, bytes]:
        """Return the tables as Parquet files: ``table.parquet``, and ``daily.parquet`` if there is one."""
        found = {"table.parquet": parquet_of(self.table.to_arrow())}
        if self.daily is not None:
            found["daily.parquet"] = parquet_of(self.daily.to_arrow())
        return found


@dataclass(frozen=True, slots=True)
class _Group:
    """Combinations that decide alike: the first of them, and the rows of all."""

    first: Combination
    members: list[int]


class _Run:
    """A sweep under way: the states of its features, rules and accounts."""

    def __init__(self, sweep: Sweep, groups: list[_Group]) -> None:
        self.sweep, self.groups = sweep, groups
        spec = sweep._spec
        self.columns = sweep._feature_set.columns
        self.stream = sweep._feature_set.stream()
        is_same = sweep._decision_ns == sweep._step_ns
        self.resampler = None if is_same else Resampler(spec.base_interval, spec.decision_interval)
        self.rules = [DecisionRule(group.first.spec, self.columns) for group in groups]
        self.accounts = {i: self._account(sweep._combinations[i]) for group in groups for i in group.members}
        self.first_ts: int | None = None
        self.last_ts: int | None = None
        self.bars_done = 0
        self.daily = {i: np.zeros(512 if sweep._keeps_daily else 0) for i in self.accounts}
        rows = PER_ROW * next(iter(self.accounts.values()))._book_rows
        self.rooms = [(np.zeros(rows, FILLS), np.zeros(rows, ORDERS)) for _ in range(sweep._threads)]
        self.pool = ThreadPoolExecutor(sweep._threads) if sweep._threads > 1 and len(groups) > 1 else None

    def _account(self, combination: Combination) -> Account:
        sweep = self.sweep
        return Account(
            sweep._instrument, combination.costs, sweep._cash, combination.latency_bars, sweep._max_leverage,
            sweep._step_ns, margin=combination.margin, exits=combination.exits, intrabar=sweep._intrabar, open_orders=0,
        )  # fmt: skip

    # ----------------------------------------------------------------- a block
    def advance(self, ts: IntArray, given: dict[str, FloatArray], frame: pl.DataFrame) -> None:
        """Take every combination over one block."""
        n = ts.shape[0]
        features, score, index = self._decided(ts, frame)
        checked = next(iter(self.accounts.values()))
        base = checked._columns({**given, "target": np.full((1, n), np.nan)}, n)
        checked._refuse_fault(ts, base)
        self._make_room(ts)
        block = _Block(ts, base, features, score, index, summary_of(base))
        if self.pool is None:
            for k in range(len(self.groups)):
                self._take(k, block, 0)
        else:
            list(self.pool.map(lambda worker: self._take_share(block, worker), range(len(self.rooms))))
        self.bars_done += n
        self.first_ts = int(ts[0]) if self.first_ts is None else self.first_ts
        self.last_ts = int(ts[-1])

    def _decided(self, ts: IntArray, frame: pl.DataFrame) -> tuple[FloatArray, FloatArray, IntArray | None]:
        """Return features and scores of the decision bars that close in a block, and the base bars of their closes."""
        sweep = self.sweep
        names = [name for name in sweep._feature_set.inputs if name != "ts"]
        if self.resampler is None:
            decided_ts, bars, index = ts, dict(zip(names, read_in_place(frame, names), strict=True)), None
        else:
            absent = [name for name in names if name not in BAR_INPUTS]
            if absent:
                rule = f"must be columns of bars ({', '.join(BAR_INPUTS)}) where decisions are made on longer bars"
                raise InvalidInput("sweep.features", rule, absent)
            columns = {
                name: read_in_place(frame, [name])[0] if name in frame.columns else np.full(ts.shape[0], np.nan)
                for name in BAR_INPUTS
            }
            decided_ts, bars = self.resampler.push_arrays(ts, columns)
            index = (decided_ts + sweep._decision_ns - sweep._step_ns - ts[0]) // sweep._step_ns
        features = self.stream.push_arrays({**bars, "ts": decided_ts}, threads=sweep._threads)
        needs_score = any(rule.needs_score for rule in self.rules)
        score = sweep._predictor.predict(np.ascontiguousarray(features.T)) if needs_score else np.empty(0)
        return features, score, index

    def _take_share(self, block: _Block, worker: int) -> None:
        """Take one worker's share of the groups over a block."""
        for k in range(worker, len(self.groups), len(self.rooms)):
            self._take(k, block, worker)

    def _take(self, k: int, block: _Block, worker: int) -> None:
        """Decide once and take all accounts of a group over a block."""
        group, rule = self.groups[k], self.rules[k]
        _, exposure = rule.decide_columns(block.features, block.score)
        columns = dict(block.base)
        columns["target"] = block.per_bar(exposure)
        for role, name in zip(("unit", "trail_low", "trail_high"), group.first.column_key, strict=True):
            if name is not None:
                columns[role] = block.per_bar(block.features[self.columns.index(name)])
        ordered = [columns[name] for name in KERNEL_ORDER]
        for index in group.members:
            self.accounts[index].pass_block(block.ts, ordered, self.daily[index], *self.rooms[worker], block.summary)

    def _make_room(self, ts: IntArray) -> None:
        """See to it that the days of a block find room."""
        if not self.sweep._keeps_daily:
            return
        first = int(ts[0]) if self.first_ts is None else self.first_ts
        needed = int(ts[-1]) // NS_PER_DAY - first // NS_PER_DAY + 2
        for index, row in self.daily.items():
            if row.shape[0] < needed:
                self.daily[index] = np.concatenate((row, np.zeros(max(needed, row.shape[0]))))

    # ----------------------------------------------------------------- the end
    def result(self) -> Swept:
        """Return the tables."""
        sweep, rows = self.sweep, []
        per_year = DAYS_PER_YEAR * NS_PER_DAY / sweep._step_ns
        for index, combination in enumerate(sweep._combinations):
            figures = figures_of(self.accounts[index].state, sweep._cash, self.bars_done, per_year, sweep._intrabar)
            rows.append({**combination.params, **figures})
        table = pl.DataFrame(rows, infer_schema_length=None, strict=False)
        return Swept(table, self._daily_frame() if sweep._keeps_daily else None)

    def _daily_frame(self) -> pl.DataFrame:
        days = int(self.accounts[0].state["days"]) + 1
        first = (self.first_ts or 0) // NS_PER_DAY
        columns: dict[str, Any] = {"day": pl.Series(np.arange(first, first + days, dtype=np.int32)).cast(pl.Date)}
        for index in range(len(self.sweep._combinations)):
            account = self.accounts[index].state
            columns[str(index)] = np.append(self.daily[index][: days - 1], last_day(account))
        return pl.DataFrame(columns)

    # ----------------------------------------------------------------- bytes
    def snapshot(self) -> bytes:
        """Return all that the run remembers."""
        arrays: dict[str, Any] = {
            "header": _bytes(f"{_FORMAT} {self.sweep.fingerprint}".encode()),
            "clock": np.array([self.first_ts or 0, self.last_ts or 0, self.bars_done], np.int64),
            "stream": _bytes(self.stream.snapshot()),
            "resampler": _bytes(b"" if self.resampler is None else self.resampler.snapshot()),
        }
        for k, rule in enumerate(self.rules):
            arrays[f"strategy{k}"], arrays[f"sizer{k}"] = rule.strategy_state, rule.sizer_state
        for index, account in self.accounts.items():
            arrays[f"account{index}"] = _bytes(account.snapshot())
            arrays[f"daily{index}"] = self.daily[index]
        return packed(arrays)

    def restore(self, state: bytes) -> None:
        """Go on from a snapshot of the same sweep.

        Raises
        ------
        InvalidInput
            If the bytes are no snapshot.
        FingerprintMismatch
            If they are of another sweep.
        """
        arrays = unpacked(state)
        header = arrays["header"].tobytes().decode()
        if header != f"{_FORMAT} {self.sweep.fingerprint}":
            raise FingerprintMismatch(f"checkpoint is of another sweep: {header[:24]}; remove it to begin anew")
        self.first_ts, self.last_ts, self.bars_done = (int(value) for value in arrays["clock"])
        self.stream.restore(arrays["stream"].tobytes())
        if self.resampler is not None:
            self.resampler.restore(arrays["resampler"].tobytes())
        for k, rule in enumerate(self.rules):
            rule.strategy_state[:], rule.sizer_state[:] = arrays[f"strategy{k}"], arrays[f"sizer{k}"]
        for index, account in self.accounts.items():
            account.restore(arrays[f"account{index}"].tobytes())
            self.daily[index] = arrays[f"daily{index}"].copy()


@dataclass(frozen=True, slots=True)
class _Block:
    """What all groups read of one block."""

    ts: IntArray
    base: dict[str, FloatArray]
    features: FloatArray
    score: FloatArray
    index: IntArray | None
    summary: FloatArray

    def per_bar(self, values: FloatArray) -> FloatArray:
        """Return values of decision bars at the base bars of their closes, NaN between, shape (1, n)."""
        if self.index is None:
            return values.reshape(1, -1)
        found = np.full((1, self.ts.shape[0]), np.nan)
        found[0, self.index] = values
        return found


def _bytes(content: bytes) -> Any:
    return np.frombuffer(content, np.uint8)


def _progress(progress: bool | None, total: int | None, done: int) -> Any:
    """Return a progress bar over bars, silent where there is no terminal and none is asked for."""
    from tqdm.auto import tqdm

    hidden = None if progress is None else not progress
    return tqdm(total=total, initial=done, unit="bar", unit_scale=True, disable=hidden, desc="sweep", leave=False)
