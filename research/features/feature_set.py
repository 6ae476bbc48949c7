"""A named choice of features with their parameters, over whole tables or as a stream. It reads and writes no file."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from functools import cached_property
from typing import Any

import polars as pl

from research.errors import InvalidInput
from research.features.catalogue import CATALOGUE
from research.features.feature_stream import Entry, FeatureStream
from research.kernel import code_hash


class FeatureSet:
    """A choice of features; what a model is trained on and what live computes.

    Parameters
    ----------
    spec : mapping of str to mapping
        One entry per feature. The key is the column; the value holds the parameters, and ``"feature"`` where the key
        is an alias: ``{"rsi": {"length": 14}, "slow": {"feature": "ema", "length": 55}}``. A feature with several
        outputs gives ``key.output`` columns.

    Raises
    ------
    InvalidInput
        If a feature or parameter is unknown or out of range, or two columns would have one name.

    Examples
    --------
    >>> features = FeatureSet({"rsi": {"length": 14}, "slow": {"feature": "ema", "length": 55}, "macd": {}})
    >>> features.columns
    ['rsi', 'slow', 'macd.line', 'macd.signal', 'macd.histogram']
    >>> features.inputs, features.lookback, features.warmup
    (('close',), 55, 879)
    """

    def __init__(self, spec: Mapping[str, Mapping[str, object]]) -> None:
        if not isinstance(spec, Mapping) or not spec:
            raise InvalidInput("feature set", "must be a mapping with at least one feature", spec)
        self._entries = tuple(_entry(key, given) for key, given in spec.items())
        columns = self.columns
        repeated = sorted({column for column in columns if columns.count(column) > 1 or column == "ts"})
        if repeated:
            raise InvalidInput(f"feature set column {repeated[0]!r}", "must be the name of one output only")

    @classmethod
    def from_dict(cls, spec: Mapping[str, Mapping[str, object]]) -> FeatureSet:
        """Return the set that :meth:`to_dict` described."""
        return cls(spec)

    def to_dict(self) -> dict[str, dict[str, Any]]:
        """Return the set in full: feature names and defaults spelled out; plain JSON types.

        Examples
        --------
        >>> FeatureSet({"rsi": {}}).to_dict()
        {'rsi': {'feature': 'rsi', 'length': 14}}
        """
        return {entry.key: {"feature": entry.spec.name, **entry.params} for entry in self._entries}

    @property
    def columns(self) -> list[str]:
        """Names of the output columns, in the order given."""
        return [column for entry in self._entries for column in entry.columns]

    @property
    def inputs(self) -> tuple[str, ...]:
        """Bar columns that are read, each once."""
        return tuple(dict.fromkeys(name for entry in self._entries for name in entry.spec.inputs))

    @property
    def lookback(self) -> int:
        """Readable bars up to and including the first row without NaN."""
        return max(entry.lookback for entry in self._entries)

    @property
    def warmup(self) -> int:
        """Readable bars after a cold start until every column equals its long-running value within its tolerance."""
        return max(entry.warmup for entry in self._entries)

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 of columns, features, parameters and the code of their kernels; the order does not count."""
        described = {"features": self.to_dict(), "code": code_hash([entry.spec.kernel for entry in self._entries])}
        return hashlib.sha256(json.dumps(described, sort_keys=True, separators=(",", ":")).encode()).hexdigest()

    def batch(self, bars: pl.DataFrame, threads: int = 1) -> pl.DataFrame:
        """Return the features of a whole table, from a cold start.

        Parameters
        ----------
        bars : polars.DataFrame
            ``ts`` (UTC, open time) and the columns in ``inputs``, on one complete clock, absent bars as rows of NaN.
        threads : int
            Features computed side by side; the result is the same.

        Returns
        -------
        polars.DataFrame
            ``ts`` and one float column per output; NaN before the lookback.

        Raises
        ------
        SchemaMismatch, MisalignedBars
            As :meth:`FeatureStream.push`, of which this is one call.
        """
        return self.stream().push(bars, threads)

    def stream(self) -> FeatureStream:
        """Return a cold stream of this set."""
        return FeatureStream(self._entries, self.fingerprint)

    def lineage(self) -> pl.DataFrame:
        """Return where each column comes from.

        Returns
        -------
        polars.DataFrame
            ``column, feature, params`` (JSON), ``inputs`` (list), ``lookback, warmup, unit``.
        """
        rows = [
            (column, e.spec.name, json.dumps(e.params), list(e.spec.inputs), e.lookback, e.warmup, e.spec.unit)
            for e in self._entries
            for column in e.columns
        ]
        schema: dict[str, Any] = {
            "column": pl.String, "feature": pl.String, "params": pl.String, "inputs": pl.List(pl.String),
            "lookback": pl.Int64, "warmup": pl.Int64, "unit": pl.String,
        }  # fmt: skip
        return pl.DataFrame(rows, schema=schema, orient="row")

    def __repr__(self) -> str:
        return f"FeatureSet({self.to_dict()!r})"

    def __reduce__(self) -> tuple[type[FeatureSet], tuple[dict[str, dict[str, Any]]]]:
        return FeatureSet, (self.to_dict(),)  # kernel specs hold functions that pickle refuses


def _entry(key: object, given: object) -> Entry:
    if not isinstance(key, str) or not key:
        raise InvalidInput("feature set key", "must be the name of a column", key)
    if not isinstance(given, Mapping):
        raise InvalidInput(f"feature set entry {key!r}", "must be a mapping of parameters", given)
    name = given.get("feature", key)
    if not isinstance(name, str) or name not in CATALOGUE:
        raise InvalidInput(f"feature set entry {key!r}", f"must name a feature ({', '.join(sorted(CATALOGUE))})", name)
    spec = CATALOGUE[name]
    return Entry(key, spec, spec.arguments({k: v for k, v in given.items() if k != "feature"}))
