"""The proof that a replay did what research did: five tables, compared to the bit. It explains no difference away."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import polars as pl

from live.feeds import Recording
from live.venues.paper import PaperVenue
from research.bundle import REFERENCE, Bundle
from research.execution.account import Ledger
from research.execution.records import FILLS, ORDERS, ROWS
from research.kernel import FloatArray, IntArray
from research.market.bars import epoch_ns
from research.parity import Comparison, Table, compare
from research.policy import Decisions, Policy

TABLES = ("features", "decisions", "orders", "fills", "equity")
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


def prove(bundle: Bundle, recording: Recording, trace: Trace) -> tuple[str, list[Comparison]]:
    """Compare a replay with research's run of the same bars.

    Returns
    -------
    subject : str
        What it was compared with: the bundle's hold-out backtest where the bars are those, otherwise the same
        kernels run over all bars as one block.
    comparisons : list of Comparison
        One for each of :data:`TABLES`.
    """
    if is_holdout(bundle, recording):
        subject, expected = "the hold-out backtest of the bundle", _reference(bundle, trace.columns)
    else:
        subject, expected = "one block of the same kernels", in_one_block(bundle, recording)
    actual = trace.tables()
    return subject, [compare(name, expected[name], actual[name]) for name in TABLES]


def is_holdout(bundle: Bundle, recording: Recording) -> bool:
    """Whether a recording spans exactly the bundle's hold-out."""
    step = int(recording.ts[1] - recording.ts[0]) if recording.ts.size > 1 else 0
    span = (int(recording.ts[0]), int(recording.ts[-1]) + step)
    return span == (bundle.window["start_ns"], bundle.window["end_ns"])


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
    frames = {n: pl.read_parquet(io.BytesIO(bundle.files[f"reference/{n}.parquet"])) for n in REFERENCE}
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
