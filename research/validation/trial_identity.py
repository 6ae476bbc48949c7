"""What a trial is, as a hash: of plain values and of frames, the same in every process. It counts nothing."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, is_dataclass
from typing import Any

import numpy as np
import polars as pl

from research.errors import InvalidInput


def content_hash(value: object) -> str:
    """Return the SHA-256 of plain values: the same however keys are ordered and numbers are typed.

    Parameters
    ----------
    value : object
        Mappings with text keys, sequences, dataclasses, text, numbers, truth values and None. 14, 14.0 and NumPy's are
        one number; True is not 1.

    Raises
    ------
    InvalidInput
        If it holds anything else, or a number that is not finite.

    Examples
    --------
    >>> content_hash({"a": 1, "b": 2.5}) == content_hash({"b": np.float64(2.5), "a": 1.0})
    True
    """
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()


def canonical_json(value: object) -> str:
    """Return the text that :func:`content_hash` hashes."""
    return json.dumps(_plain(value, "value"), sort_keys=True, separators=(",", ":"), allow_nan=False)


def _plain(value: Any, subject: str) -> Any:
    if is_dataclass(value) and not isinstance(value, type):
        value = asdict(value)
    if isinstance(value, Mapping):
        for key in value:
            if not isinstance(key, str):
                raise InvalidInput(f"{subject} key", "must be text", key)
        return {key: _plain(item, f"{subject}.{key}") for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item, f"{subject}[{k}]") for k, item in enumerate(value)]
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or isinstance(value, (bool, str, int)):
        return value
    if isinstance(value, float) and math.isfinite(value):
        return int(value) if value.is_integer() else value
    raise InvalidInput(subject, "must be plain and finite", value)


def frames_hash(**frames: pl.DataFrame | None) -> str:
    """Return the SHA-256 of frames: names, columns, types and values, to the bit.

    Examples
    --------
    >>> one, other = pl.DataFrame({"close": [1.0, 2.0]}), pl.DataFrame({"close": [1.0, 2.5]})
    >>> frames_hash(bars=one) == frames_hash(bars=one.clone()), frames_hash(bars=one) == frames_hash(bars=other)
    (True, False)
    """
    digest = hashlib.sha256()
    for name in sorted(frames):
        frame = frames[name]
        digest.update(json.dumps([name, None if frame is None else frame.height]).encode())
        for series in () if frame is None else frame.iter_columns():
            digest.update(json.dumps([series.name, str(series.dtype)]).encode())
            digest.update(series.is_null().to_numpy().tobytes())
            if series.dtype.is_numeric() or series.dtype.is_temporal():
                digest.update(series.to_physical().fill_null(0).to_numpy().tobytes())
            else:
                digest.update(json.dumps(series.to_list(), default=str).encode())
    return digest.hexdigest()


def params_of(
    trials: pl.DataFrame, prefix: str = "param.", columns: Iterable[str] | None = None
) -> list[dict[str, Any]]:
    """Return the parameters of each row of a table of trials, nulls left out.

    Parameters
    ----------
    trials : polars.DataFrame
        Such as :attr:`research.search.StudyResult.trials`.
    prefix : str
        Of the columns that are parameters; it is taken off.
    columns : iterable of str, optional
        The columns that are parameters, by their names: those of a sweep's grid.

    Examples
    --------
    >>> params_of(pl.DataFrame({"trial": [0, 1], "param.length": [5, 8], "param.band": [None, 0.5]}))
    [{'length': 5}, {'length': 8, 'band': 0.5}]
    """
    if columns is None:
        named = {name: name.removeprefix(prefix) for name in trials.columns if name.startswith(prefix)}
    else:
        named = {name: name for name in columns}
    found = []
    for row in trials.select(list(named)).iter_rows(named=True):
        found.append({named[name]: value for name, value in row.items() if value is not None})
    # A table without a parameter column still has its trials: one that sets nothing.
    return found if named else [{} for _ in range(trials.height)]
