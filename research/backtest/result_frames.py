"""An account's records as frames, their codes as words and their legs by name; it computes no figure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from enum import IntEnum
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from research.execution.records import Kind, Reason, Role, Status
from research.market.bars import TS
from research.market.instruments import Instrument

_TIMES = ("ts", "decided_ts", "done_ts", "entry_ts", "exit_ts")
_WORDS: dict[str, type[IntEnum]] = {
    "status": Status, "reason": Reason, "role": Role, "kind": Kind, "exit_role": Role,
}  # fmt: skip


def records_frame(records: NDArray[Any]) -> pl.DataFrame:
    """Return a structured array as a frame, its times as UTC datetimes and its codes as they are."""
    names = records.dtype.names or ()
    frame = pl.DataFrame({name: np.ascontiguousarray(records[name]) for name in names})
    return frame.with_columns(pl.col(name).cast(TS) for name in names if name in _TIMES)


def worded_frame(records: NDArray[Any], legs: Sequence[str]) -> pl.DataFrame:
    """Return a structured array as a frame for readers: enums as lower-case words, legs by name, truths as such."""
    frame = records_frame(records)
    words = [
        pl.col(name).replace_strict({int(kind): kind.name.lower() for kind in kinds}, return_dtype=pl.String)
        for name, kinds in _WORDS.items()
        if name in frame.columns
    ]
    if "leg" in frame.columns:
        words.append(pl.col("leg").replace_strict(dict(enumerate(legs)), return_dtype=pl.String))
    if "is_maker" in frame.columns:
        words.append(pl.col("is_maker").cast(pl.Boolean))
    return frame.with_columns(words)


def leg_names(instruments: Sequence[Instrument]) -> tuple[str, ...]:
    """Return one name per leg: its symbol, or as much more as tells it from the others.

    Examples
    --------
    >>> from research.market.instruments import sample_instrument
    >>> leg_names([sample_instrument("SOLUSDT"), sample_instrument("BTCUSDT")])
    ('SOLUSDT', 'BTCUSDT')
    >>> leg_names([sample_instrument("SOLUSDT", "spot"), sample_instrument("SOLUSDT")])
    ('SOLUSDT:spot', 'SOLUSDT:linear')
    """
    longer = [
        (i.symbol, f"{i.symbol}:{i.market}", f"{i.symbol}:{i.market}:{i.venue}", f"{i.symbol}:{i.market}:{i.venue}:{k}")
        for k, i in enumerate(instruments)
    ]
    counts = [Counter(column) for column in zip(*longer, strict=True)]
    return tuple(next(name for name, count in zip(names, counts, strict=True) if count[name] == 1) for names in longer)
