"""A result as the bytes of files, and back to the bit: Parquet tables and one JSON of settings. It touches no file."""

from __future__ import annotations

import io
import json
import math
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from research.errors import SchemaMismatch
from research.execution import Costs, Ledger, Margin
from research.execution.records import FILLS, ORDERS, ROWS
from research.market.instruments import Instrument
from research.risk.exits import Exits

if TYPE_CHECKING:
    from research.backtest.result import Result

FORMAT = 1
_SETTINGS = "settings.json"
_RECORDS = {"rows": ROWS, "fills": FILLS, "orders": ORDERS, "pending": ORDERS}
_NAMES = (_SETTINGS, "bars.parquet", "held.parquet", *(f"{name}.parquet" for name in _RECORDS))
_KINDS = {kind.__name__: kind for kind in (Costs, Margin, Exits)}
_PLAIN = ("initial_cash_quote", "step_ns", "funding_settlements", "funding_on_mark", "is_ruined", "intrabar")
_NOT_FINITE = {"nan": math.nan, "inf": math.inf, "-inf": -math.inf}


def files_of(result: Result) -> dict[str, bytes]:
    """Return what :meth:`research.backtest.Result.to_files` describes."""
    settings = {
        "format": FORMAT,
        "instruments": [instrument.to_dict() for instrument in result.instruments],
        **{name: _encoded(getattr(result, name)) for name in ("costs", "margin", "exits", *_PLAIN)},
        "has_leg_axis": result.close.ndim == 2,
    }
    bars: dict[str, NDArray[Any]] = {"ts": result.ts}
    for name in ("high", "low", "close"):
        bars |= {f"{name}_{k}": column for k, column in enumerate(np.atleast_2d(getattr(result, name)))}
    held = {f"held_{k}": lots for k, lots in enumerate(result.ledger.held)}
    records = {"rows": result.ledger.rows, "fills": result.ledger.fills}
    records |= {"orders": result.ledger.orders, "pending": result.pending}
    tables = {"bars": bars, "held": held} | {n: {f: r[f] for f in r.dtype.names or ()} for n, r in records.items()}
    text = json.dumps(settings, indent=1, allow_nan=False) + "\n"
    return {_SETTINGS: text.encode(), **{f"{name}.parquet": _parquet(table) for name, table in tables.items()}}


def result_of(files: Mapping[str, bytes]) -> Result:
    """Return what :meth:`research.backtest.Result.from_files` describes."""
    from research.backtest.result import Result

    if set(files) != set(_NAMES):
        raise SchemaMismatch("result.files", f"must be exactly {', '.join(_NAMES)}", sorted(files))
    settings = _settings(files[_SETTINGS])
    tables = {name: _table(name, files[f"{name}.parquet"]) for name in ("bars", "held", *_RECORDS)}
    try:
        instruments = tuple(Instrument.from_dict(record) for record in settings["instruments"])
        plain: dict[str, Any] = {name: _decoded(settings[name]) for name in ("costs", "margin", "exits", *_PLAIN)}
        has_leg_axis = settings["has_leg_axis"]
    except KeyError as error:
        raise SchemaMismatch(f"result.{_SETTINGS}", f"lacks {error}") from error
    bars, n_legs = tables["bars"], len(instruments)
    arrays: dict[str, Any] = {"ts": _column(bars, "bars", "ts")}
    for name in ("high", "low", "close"):
        legs = _legs_of(bars, "bars", name, n_legs)
        arrays[name] = legs if has_leg_axis else legs[0]
    records = {name: _records(name, tables[name], dtype) for name, dtype in _RECORDS.items()}
    arrays["pending"] = records.pop("pending")
    ledger = Ledger(**records, held=_legs_of(tables["held"], "held", "held", n_legs))
    return Result(instruments=instruments, ledger=ledger, **arrays, **plain)


def _parquet(columns: Mapping[str, NDArray[Any]]) -> bytes:
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pa.table({name: np.ascontiguousarray(column) for name, column in columns.items()})
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, compression="zstd", write_statistics=False)
    return sink.getvalue().to_pybytes()


def _table(name: str, content: bytes) -> pl.DataFrame:
    try:
        return pl.read_parquet(io.BytesIO(content))
    except pl.exceptions.PolarsError as error:
        raise SchemaMismatch(f"result.{name}.parquet", f"must be Parquet: {error}") from error


def _settings(content: bytes) -> dict[str, Any]:
    try:
        found = json.loads(content)
    except ValueError as error:
        raise SchemaMismatch(f"result.{_SETTINGS}", f"must be JSON: {error}") from error
    if not isinstance(found, dict) or found.get("format") != FORMAT:
        received = found.get("format") if isinstance(found, dict) else found
        raise SchemaMismatch(f"result.{_SETTINGS}.format", f"must be {FORMAT}", received)
    return found


def _column(frame: pl.DataFrame, table: str, name: str) -> NDArray[Any]:
    if name not in frame.columns:
        raise SchemaMismatch(f"result.{table}.{name}", "is required; columns are", frame.columns)
    return frame[name].to_numpy(writable=True)


def _legs_of(frame: pl.DataFrame, table: str, name: str, n_legs: int) -> NDArray[Any]:
    return np.stack([_column(frame, table, f"{name}_{k}") for k in range(n_legs)])


def _records(name: str, frame: pl.DataFrame, dtype: np.dtype) -> NDArray[Any]:
    names = list(dtype.names or ())
    if frame.columns != names:
        raise SchemaMismatch(f"result.{name}.parquet", f"must have the columns {', '.join(names)}", frame.columns)
    records = np.empty(frame.height, dtype)
    for field in names:
        records[field] = frame[field].to_numpy()
    return records


def _encoded(value: Any) -> Any:
    """Return plain JSON types: a settings class as its name and fields, what is not finite as a word."""
    if is_dataclass(value) and not isinstance(value, type):
        return {"kind": type(value).__name__} | {f.name: _encoded(getattr(value, f.name)) for f in fields(value)}
    if isinstance(value, Mapping):
        return {str(key): _encoded(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_encoded(item) for item in value]
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return "nan" if math.isnan(value) else "inf" if value > 0 else "-inf"
    return value


def _decoded(value: Any) -> Any:
    """Return what :func:`_encoded` was given; sequences come back as tuples."""
    if isinstance(value, dict) and "kind" in value:
        named = {name: _decoded(item) for name, item in value.items() if name != "kind"}
        try:
            return _KINDS[value["kind"]](**named)
        except (KeyError, TypeError) as error:
            raise SchemaMismatch(f"result.{_SETTINGS}", f"must hold known settings, not {value['kind']}") from error
    if isinstance(value, dict):
        return {name: _decoded(item) for name, item in value.items()}
    if isinstance(value, list):
        return tuple(_decoded(item) for item in value)
    return _NOT_FINITE.get(value, value) if isinstance(value, str) else value
