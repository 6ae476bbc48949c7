"""Arrays and tables as bytes; it opens no file."""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from research.errors import InvalidInput

_MAGIC = b"arrays/1"


def packed(arrays: Mapping[str, NDArray[Any]]) -> bytes:
    """Return arrays of plain types as bytes with a checksum.

    Examples
    --------
    >>> unpacked(packed({"a": np.arange(3.0)}))["a"].tolist()
    [0.0, 1.0, 2.0]
    """
    shapes = {name: [array.dtype.str, list(array.shape)] for name, array in arrays.items()}
    header = json.dumps(shapes).encode()
    body = len(header).to_bytes(8, "little") + header + b"".join(array.tobytes() for array in arrays.values())
    return _MAGIC + zlib.crc32(body).to_bytes(4, "little") + body


def unpacked(content: bytes) -> dict[str, NDArray[Any]]:
    """Return the arrays that :func:`packed` made bytes of.

    Raises
    ------
    InvalidInput
        If the bytes are no such, or were cut or altered.
    """
    at = len(_MAGIC) + 4
    if not content.startswith(_MAGIC) or content[len(_MAGIC) : at] != zlib.crc32(content[at:]).to_bytes(4, "little"):
        raise InvalidInput("checkpoint", "must be one of a sweep, whole and unaltered", content[: len(_MAGIC)])
    size = int.from_bytes(content[at : at + 8], "little")
    shapes = json.loads(content[at + 8 : at + 8 + size])
    at += 8 + size
    found = {}
    for name, (kind, shape) in shapes.items():
        dtype, count = np.dtype(kind), int(np.prod(shape, dtype=np.int64))
        found[name] = np.frombuffer(content, dtype, count, at).reshape(shape).copy()
        at += count * dtype.itemsize
    return found


def parquet_of(table: Any) -> bytes:
    """Return a pyarrow table as a Parquet file, with statistics and no timestamp of its making."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, compression="zstd")
    return sink.getvalue().to_pybytes()
