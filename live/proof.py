"""The proof that a replay did what research did: five tables, compared to the bit. It explains no difference away."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import polars as pl

from live.feeds import Recording
from live.venues.paper import PaperVenue
from research.bundle import REFERENCE, Bundle
from research.errors import InvalidInput
from research.execution.account import Ledger
from research.execution.records import FILLS, ORDERS, ROWS
from research.kernel import FloatArray, IntArray
from research.market.bars import epoch_ns, interval_ns
from research.parity import Comparison, Table, compare
from research.policy import Decisions, Policy

TABLES = ("features", "decisions", "orders", "fills", "equity")
_TIME = {"features": "ts", "decisions": "ts", "orders": "done_ts", "fills": "ts", "equity": "ts"}
_RECORDS = {"orders": ORDERS, "fills": FILLS, "equity": ROWS}  # every field of each is compared


@dataclass
class Trace:
    """What a run did, gathered bar by bar.

    Parameters
    ----------
    columns : list of str
        Feature columns.
    """

    columns: list[str]
    decisions: list[Decisions] = field(default_factory=list)
    ledgers: list[Ledger] = field(default_factory=list)
    ts: list[IntArray] = field(default_factory=list)

    def add(self, ts: IntArray, decisions: Decisions, ledger: Ledger) -> None:
        """Take in one chunk."""
        self.ts.append(ts)
        self.ledgers.append(ledger)
        if decisions.ts.size:
            self.decisions.append(decisions)

    def tables(self) -> dict[str, Table]:
        """Return the tables as columns."""
        return {
            **_decision_tables(
                _joined([d.ts for d in self.decisions], np.int64),
                np.concatenate([d.features for d in self.decisions])
                if self.decisions
                else np.empty((0, len(self.columns))),
                self.columns,
                {
                    n: _joined([getattr(d, n) for d in self.decisions], np.float64)
                    for n in ("score", "target", "exposure")
                },
            ),
            "orders": _fields([ledger.orders for ledger in self.ledgers], ORDERS),
            "fills": _fields([ledger.fills for ledger in self.ledgers], FILLS),
            "equity": {"ts": _joined(self.ts, np.int64), **_fields([ledger.rows for ledger in self.ledgers], ROWS)},
        }


def prove(bundle: Bundle, recording: Recording, trace: Trace, policy: Policy) -> tuple[str, list[Comparison]]:
    """Compare a replay with research's run of the same bars.

    Parameters
    ----------
    policy : Policy
        As the replay left it.

    Returns
    -------
    subject : str
        What it was compared with: the bundle's hold-out backtest where the bars begin with it; otherwise there is
        no such run, and the same kernels over all bars as one block stand in.
    comparisons : list of Comparison
        One for each of :data:`TABLES`, and at the end of the hold-out one for the state that the policy is left in.

    Raises
    ------
    InvalidInput
        If no decision was made: nothing would be proven.
    """
    if not trace.decisions:
        raise InvalidInput("the bars replayed", "must close at least one decision bar", f"{recording.ts.size} bars")
    actual, end_ns = trace.tables(), int(recording.ts[-1]) + interval_ns(bundle.spec.base_interval)
    if int(recording.ts[0]) != bundle.window["start_ns"] or end_ns > bundle.window["end_ns"]:
        expected = in_one_block(bundle, recording)
        return "one block of the same kernels (no backtest of these bars is in the bundle)", _compared(expected, actual)
    expected = _reference(bundle, trace.columns)
    if end_ns < bundle.window["end_ns"]:
        decided = end_ns - interval_ns(bundle.spec.decision_interval) + 1
        ends = {"features": decided, "decisions": decided, "equity": end_ns, "orders": end_ns, "fills": end_ns}
        expected = {name: _until(table, _TIME[name], ends[name], actual[name]) for name, table in expected.items()}
        return "the hold-out backtest of the bundle, up to these bars", _compared(expected, actual)
    states = [{"byte": np.frombuffer(b, dtype=np.uint8)} for b in (bundle.files["warm_end.bin"], policy.snapshot())]
    return "the hold-out backtest of the bundle", [*_compared(expected, actual), compare("state", *states)]


def _compared(expected: Mapping[str, Table], actual: Mapping[str, Table]) -> list[Comparison]:
    return [compare(name, expected[name], actual[name]) for name in TABLES]


def _until(table: Table, time: str, end_ns: int, actual: Table) -> Table:
    """Return the rows before ``end_ns``; one at that very time belongs to either side, as the replay has it."""
    before, upto = (int(np.searchsorted(table[time], end_ns, side=side)) for side in ("left", "right"))  # type: ignore[call-overload]
    rows = len(actual[time])
    keep = rows if before <= rows <= upto else before
    return {name: values[:keep] for name, values in table.items()}


def in_one_block(bundle: Bundle, recording: Recording) -> dict[str, Table]:
    """Return the tables of a run over all bars at once."""
    policy, venue = opened(bundle, recording)
    decisions = policy.push(recording.ts, recording.columns)
    exposure = decisions.exposures_per_bar(recording.ts.size)
    ledger = venue.on_bars(recording.ts, recording.columns, recording.mark, recording.funding_rate, exposure)
    trace = Trace(policy.columns)
    trace.add(recording.ts, decisions, ledger)
    return trace.tables()


def opened(bundle: Bundle, recording: Recording) -> tuple[Policy, PaperVenue]:
    """Return policy and account as they stand before a recording: warm where the hold-out begins, else cold."""
    starts_holdout = int(recording.ts[0]) == bundle.window["start_ns"]
    return bundle.policy("start" if starts_holdout else None), PaperVenue(bundle)


def _reference(bundle: Bundle, columns: Sequence[str]) -> dict[str, Table]:
    frames = {}
    for name in REFERENCE:
        try:
            frames[name] = pl.read_parquet(io.BytesIO(bundle.files[f"reference/{name}.parquet"]))
        except pl.exceptions.PolarsError as error:
            raise InvalidInput(f"bundle.reference/{name}.parquet", f"must be Parquet: {error}") from error
    decisions = frames["decisions"]
    words = {n: decisions[n].to_numpy() for n in ("score", "target", "exposure")}
    features = decisions.select(columns).to_numpy()
    tables = {name: _frame_columns(frames[name], dtype.names or ()) for name, dtype in _RECORDS.items()}
    tables["equity"] = {"ts": epoch_ns(frames["equity"]), **tables["equity"]}
    return {**_decision_tables(epoch_ns(decisions), features, list(columns), words), **tables}


def _decision_tables(ts: IntArray, features: FloatArray, columns: list[str], words: Table) -> dict[str, Table]:
    named = {name: np.ascontiguousarray(features[:, i]) for i, name in enumerate(columns)}
    return {"features": {"ts": ts, **named}, "decisions": {"ts": ts, **words}}


def _frame_columns(frame: pl.DataFrame, names: Sequence[str]) -> dict[str, np.ndarray]:
    times = {n for n in names if frame.schema[n].is_temporal()}
    return {n: epoch_ns(frame, n) if n in times else frame[n].to_numpy() for n in names}


def _fields(parts: Sequence[np.ndarray], dtype: np.dtype) -> dict[str, np.ndarray]:
    whole = np.concatenate([part for part in parts if part.size] or [np.empty(0, dtype)])
    return {n: np.ascontiguousarray(whole[n]) for n in dtype.names or ()}


def _joined(parts: list[np.ndarray], dtype: type) -> np.ndarray:
    return np.concatenate(parts) if parts else np.empty(0, dtype=dtype)
