"""A named choice of features with their parameters, over whole tables or as a stream. It reads and writes no file."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property
from typing import Any

import polars as pl

from research.errors import InvalidInput
from research.features.catalogue import CATALOGUE
from research.features.feature_entry import Entry, entries_of, total
from research.features.feature_stream import FeatureStream
from research.features.timeframes import hold, merge_bars
from research.kernel import UNBOUNDED, code_hash
from research.market.bars import INTERVALS, interval_ns

TIMEFRAME = "timeframe"


class FeatureSet:
    """A choice of features; what a model is trained on and what live computes.

    Parameters
    ----------
    spec : mapping of str to mapping
        One entry per feature. The key is the column; the value holds the parameters, and ``"feature"`` where the key
        is an alias: ``{"rsi": {"length": 14}, "slow": {"feature": "ema", "length": 55}}``. A feature with several
        outputs gives ``key.output`` columns. Besides its parameters an entry may say

        ``timeframe``
            Compute it on bars of this longer interval, made of those that are pushed. Its columns change at the close
            of such a bar, and hold until the next.
        ``symbol``
            Read the columns of another symbol, ``SYMBOL.close`` and so on, instead of the bars' own.
        ``of``
            What a transform reads: a column of the bars, or one of another entry (two of them for an interaction).
        ``reference``, ``basket``, ``series``
            The other symbol of a cross-market feature, its list of symbols, or the context series that is read.
    timeframe : str, optional
        Interval of the bars that will be pushed, a key of ``research.market.bars.INTERVALS``; bars of another are then
        refused. ``spec`` may say it too, under the key ``"timeframe"``. Where neither does, it is learnt from the first
        two bars, and columns of entries with a timeframe begin with the second.

    Raises
    ------
    InvalidInput
        If a feature or parameter is unknown or out of range, two columns would have one name, entries read each other
        in a circle, or a timeframe does not fit the bars'.

    Examples
    --------
    >>> features = FeatureSet({"rsi": {"length": 14}, "slow": {"feature": "ema", "length": 55}, "macd": {}})
    >>> features.columns
    ['rsi', 'slow', 'macd.line', 'macd.signal', 'macd.histogram']
    >>> features.inputs, features.lookback, features.warmup
    (('close',), 55, 879)

    Several timeframes, another symbol, and a feature of a feature:

    >>> features = FeatureSet({
    ...     "rsi": {"length": 14},
    ...     "rsi_1h": {"feature": "rsi", "timeframe": "1h"},
    ...     "rsi_z": {"feature": "zscore", "of": "rsi", "length": 96},
    ...     "btc": {"feature": "log_return", "length": 12, "symbol": "BTCUSDT"},
    ... }, timeframe="5m")
    >>> features.inputs
    ('close', 'BTCUSDT.close')
    >>> features.lookback
    191
    """

    def __init__(self, spec: Mapping[str, Mapping[str, object]], timeframe: str | None = None) -> None:
        if not isinstance(spec, Mapping):
            raise InvalidInput("feature set", "must be a mapping with at least one feature", spec)
        told = spec.get(TIMEFRAME)
        if told is not None and not isinstance(told, Mapping):
            if timeframe is not None and told != timeframe:
                raise InvalidInput("feature set timeframe", f"must be {timeframe} as the one given with it", told)
            timeframe = str(told)
            spec = {key: given for key, given in spec.items() if key != TIMEFRAME}
        if not spec or TIMEFRAME in spec:
            rule = "must be a mapping with at least one feature, none of them called 'timeframe'"
            raise InvalidInput("feature set", rule, spec)
        if timeframe is not None:
            if not isinstance(timeframe, str):
                raise InvalidInput("feature set timeframe", f"must be one of {', '.join(INTERVALS)}", timeframe)
            spec = {key: _without(given, timeframe) for key, given in spec.items()}
        self._timeframe = timeframe
        self._entries = entries_of(spec, CATALOGUE)
        if timeframe is not None:
            step_ns = interval_ns(timeframe)
            for entry in self._entries:
                if entry.timeframe is not None and interval_ns(entry.timeframe) % step_ns:
                    rule = f"must be a multiple of the set's ({timeframe})"
                    raise InvalidInput(f"{entry.key}.timeframe", rule, entry.timeframe)

    @classmethod
    def from_dict(cls, spec: Mapping[str, Mapping[str, object]]) -> FeatureSet:
        """Return the set that :meth:`to_dict` described."""
        return cls(spec)

    def to_dict(self) -> dict[str, Any]:
        """Return the set in full: feature names and defaults spelled out; plain JSON types.

        Examples
        --------
        >>> FeatureSet({"rsi": {}}).to_dict()
        {'rsi': {'feature': 'rsi', 'length': 14}}
        >>> FeatureSet({"slow": {"feature": "ema", "timeframe": "1h"}}, timeframe="5m").to_dict()
        {'timeframe': '5m', 'slow': {'feature': 'ema', 'timeframe': '1h', 'length': 20}}
        """
        told = {} if self._timeframe is None else {TIMEFRAME: self._timeframe}
        return {**told, **{entry.key: entry.to_dict() for entry in self._entries}}

    @property
    def timeframe(self) -> str | None:
        """Interval of the bars that are pushed; None where it is learnt from them."""
        return self._timeframe

    @property
    def columns(self) -> list[str]:
        """Names of the output columns, in the order given."""
        return [column for entry in self._entries for column in entry.columns]

    @property
    def inputs(self) -> tuple[str, ...]:
        """Bar columns that are read, each once."""
        return tuple(dict.fromkeys(name for entry in self._entries for name in entry.bar_columns))

    @property
    def lookback(self) -> int:
        """Readable bars up to and including the first row without NaN.

        With longer timeframes it is the most that it can take: a stream that begins within a longer bar passes over
        the rest of it.

        Raises
        ------
        InvalidInput
            If entries have timeframes and the set's own was not told.
        """
        return max(self._total("lookback").values())

    @property
    def warmup(self) -> int:
        """Readable bars after a cold start until every column equals its long-running value within its tolerance.

        ``research.kernel.UNBOUNDED`` if a column never does: such a set continues from a snapshot, not from bars.
        Raises as :attr:`lookback` does.
        """
        found = self._total("warmup").values()
        return UNBOUNDED if UNBOUNDED in found else max(found)

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 of columns, features, parameters and the code of their kernels; the order does not count."""
        kernels: list[Any] = [entry.spec.kernel for entry in self._entries]
        if any(entry.timeframe is not None for entry in self._entries):
            kernels += [merge_bars, hold]
        reads = {
            e.key: [e.spec.inputs, e.sources, e.spec.outputs, e.merged if e.timeframe else ()] for e in self._entries
        }
        described = {"features": self.to_dict(), "reads": reads, "code": code_hash(kernels)}
        return hashlib.sha256(json.dumps(described, sort_keys=True, separators=(",", ":")).encode()).hexdigest()

    def batch(self, bars: pl.DataFrame, threads: int = 1) -> pl.DataFrame:
        """Return the features of a whole table, from a cold start.

        Parameters
        ----------
        bars : polars.DataFrame
            ``ts`` (UTC, open time) and the columns in ``inputs``, on one complete clock, absent bars as rows of NaN;
            :func:`research.features.assemble` joins what bars do not hold.
        threads : int
            Features computed side by side; the result is the same.

        Returns
        -------
        polars.DataFrame
            ``ts`` and one float column per output; NaN before the lookback.

        Raises
        ------
        SchemaMismatch, MisalignedBars, InvalidInput
            As :meth:`FeatureStream.push`, of which this is one call.
        """
        return self.stream().push(bars, threads)

    def blocks(self, tables: Iterable[pl.DataFrame], threads: int = 1) -> Iterator[pl.DataFrame]:
        """Yield the features of tables that follow one another, in memory that does not grow with their number.

        Parameters
        ----------
        tables : iterable of polars.DataFrame
            As for :meth:`batch`; :func:`research.market.blocks_on_clock` makes them of the blocks of a lake.
        threads : int
            Features computed side by side.
        """
        stream = self.stream()
        for table in tables:
            yield stream.push(table, threads)

    def stream(self) -> FeatureStream:
        """Return a cold stream of this set."""
        return FeatureStream(self._entries, self.fingerprint, self._timeframe)

    def lineage(self) -> pl.DataFrame:
        """Return where each column comes from.

        Returns
        -------
        polars.DataFrame
            ``column, feature, params`` (JSON), ``timeframe`` (null: the bars'), ``inputs`` (what it reads itself, of
            bars and of other entries), ``bars`` (the columns of bars that it comes from in the end), ``lookback,
            warmup`` (bars of its own timeframe, its sources being warm; -1: never), ``unit``.
        """
        by_column = {column: entry for entry in self._entries for column in entry.columns}

        def origins(entry: Entry) -> dict[str, None]:
            found = dict.fromkeys(entry.bar_columns)
            for name in entry.needs:
                found |= origins(by_column[name])
            return found

        rows = [
            (
                column, e.spec.name, json.dumps(e.params), e.timeframe, [*e.bar_columns, *e.needs], list(origins(e)),
                e.lookback, e.warmup, e.spec.unit,
            )
            for e in self._entries
            for column in e.columns
        ]  # fmt: skip
        schema: dict[str, Any] = {
            "column": pl.String, "feature": pl.String, "params": pl.String, "timeframe": pl.String,
            "inputs": pl.List(pl.String), "bars": pl.List(pl.String), "lookback": pl.Int64, "warmup": pl.Int64,
            "unit": pl.String,
        }  # fmt: skip
        return pl.DataFrame(rows, schema=schema, orient="row")

    def _total(self, of: str) -> dict[str, int]:
        ratio: dict[str | None, int] = {None: 1}
        for entry in self._entries:
            if entry.timeframe is not None and self._timeframe is None:
                rule = "must be told where entries have timeframes: FeatureSet(..., timeframe='1m')"
                raise InvalidInput("feature set timeframe", rule)
            if entry.timeframe is not None and self._timeframe is not None:
                ratio[entry.timeframe] = interval_ns(entry.timeframe) // interval_ns(self._timeframe)
        return total(self._entries, of, ratio)

    def __repr__(self) -> str:
        return f"FeatureSet({self.to_dict()!r})"

    def __reduce__(self) -> tuple[type[FeatureSet], tuple[dict[str, Any]]]:
        return FeatureSet, (self.to_dict(),)  # kernel specs hold functions that pickle refuses


def _without(given: object, timeframe: str) -> Any:
    """Return an entry without the timeframe that the set has anyway."""
    if isinstance(given, Mapping) and given.get(TIMEFRAME) == timeframe:
        return {name: value for name, value in given.items() if name != TIMEFRAME}
    return given
