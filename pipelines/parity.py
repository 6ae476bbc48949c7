"""The hold-out once more as live runs it, bar by bar from the same bytes. It compares to the bit and tunes nothing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np

from research.backtest import Result
from research.backtest.legs import Leg, columns_of
from research.execution.account import Account
from research.execution.costs import Costs
from research.execution.records import FILLS, ORDERS, ROWS
from research.kernel import IntArray
from research.market.bars import arrays, epoch_ns, interval_ns
from research.parity import Comparison, Table, compare
from research.policy import BAR_INPUTS, Decisions, Policy

SINGLE_BARS = 2 * 1_440  # pushed one at a time, before chunks of random length
LONGEST_CHUNK = 64


def chunk_edges(n: int, seed: int) -> IntArray:
    """Return where chunks of a run begin and end: single bars first, then of random length up to ``LONGEST_CHUNK``."""
    single = np.arange(min(SINGLE_BARS, n) + 1)
    lengths = np.random.default_rng(seed).integers(1, LONGEST_CHUNK + 1, n)
    later = single[-1] + np.cumsum(lengths)
    return np.concatenate([single, later[later < n], [n]]) if single[-1] < n else single


def prove(
    policy: Policy, warm_start: bytes, warm_end: bytes, leg: Leg, costs: Costs, account: Mapping[str, Any],
    decisions: Decisions, result: Result, seed: int,
) -> list[Comparison]:  # fmt: skip
    """Run the hold-out again in small chunks and compare with what the backtest did in one block.

    Parameters
    ----------
    policy : Policy
        Of the backtest; its state is replaced.
    warm_start, warm_end : bytes
        Its states before and after the hold-out.
    leg : Leg
        The hold-out's bars, instrument, funding and mark; its targets are not read.
    costs : Costs
    account : mapping
        ``initial_cash_quote``, ``latency_bars`` and ``max_leverage``.
    decisions, result : Decisions, Result
        What the block came to.
    seed : int
        Of the chunks.

    Returns
    -------
    list of Comparison
        ``features``, ``decisions``, ``orders``, ``fills``, ``equity`` and ``state``.
    """
    policy.restore(warm_start)
    step_ns = interval_ns(policy.spec.base_interval)
    live = Account(leg.instrument, costs, step_ns=step_ns, **account)
    ts, columns = epoch_ns(leg.bars), dict(zip(BAR_INPUTS, arrays(leg.bars, BAR_INPUTS), strict=True))
    given = columns_of(replace(leg, targets=None), ts, step_ns, float(account["max_leverage"]))[0]
    decided, ledgers = [], []
    for begin, end in pairwise(chunk_edges(ts.size, seed)):
        found = policy.push(ts[begin:end], {name: values[begin:end] for name, values in columns.items()})
        if found.ts.size:
            decided.append(found)
        chunk: dict[str, Any] = {name: values[begin:end] for name, values in given.items()}
        chunk["target"] = found.exposures_per_bar(end - begin)
        ledgers.append(live.push(ts[begin:end], **chunk))
    expected = _tables(policy.columns, [decisions], [result.ledger])
    actual = _tables(policy.columns, decided, ledgers)
    states = [{"byte": np.frombuffer(blob, np.uint8)} for blob in (warm_end, policy.snapshot())]
    return [*(compare(name, expected[name], actual[name]) for name in expected), compare("state", *states)]


def _tables(columns: list[str], decisions: list[Decisions], ledgers: list[Any]) -> dict[str, Table]:
    ts = np.concatenate([d.ts for d in decisions])
    features = np.concatenate([d.features for d in decisions])
    named = {name: np.ascontiguousarray(features[:, i]) for i, name in enumerate(columns)}
    decided = {name: np.concatenate([getattr(d, name) for d in decisions]) for name in ("score", "target", "exposure")}
    records = (("orders", "orders", ORDERS), ("fills", "fills", FILLS), ("equity", "rows", ROWS))
    found: dict[str, Table] = {"features": {"ts": ts, **named}, "decisions": {"ts": ts, **decided}}
    for name, attribute, layout in records:
        rows = np.concatenate([getattr(ledger, attribute) for ledger in ledgers])
        found[name] = {field: np.ascontiguousarray(rows[field]) for field in layout.names or ()}
    return found
