"""Arrays of records as bare pointers inside kernels, so that many of them can be handed on at every call for nothing.

A NumPy array is seven words to Numba, whose references are counted with locked instructions at every call. The
account has eight arrays of records, fourteen columns, and some sixty kernels that call one another for every event: as
arrays an event took 700 ns and the kernels 37 s to compile, as pointers 90 ns and 11 s. It holds no data and checks no
bound.
"""

from __future__ import annotations

import hashlib
import operator
from typing import Any

from llvmlite import ir
from numba.core import cgutils, types
from numba.core.datamodel.models import PrimitiveModel
from numba.extending import intrinsic, overload, register_model


class Table(types.Type):
    """Numba's type of a pointer to records of one layout.

    Parameters
    ----------
    record : numba.types.Record
        The layout.
    """

    def __init__(self, record: types.Record) -> None:
        self.record = record
        name = hashlib.sha256(str(record).encode()).hexdigest()[:12]  # the layout in full makes names of kilobytes
        super().__init__(name=f"Table{name}")


@register_model(Table)
class _TableModel(PrimitiveModel):  # type: ignore[misc]  # Numba is untyped
    """A table is a byte pointer."""

    def __init__(self, models: Any, kind: Any) -> None:
        super().__init__(models, kind, ir.IntType(8).as_pointer())


def table(records):
    """Return an array of records as a table, inside a kernel; without the compiler it stays the array that it is.

    Parameters
    ----------
    records : array of records
        One-dimensional and contiguous. Whoever calls the kernel keeps it alive; indices are not checked.
    """
    return records


def column(values):
    """Return an array of float64 as a pointer to its values in order, inside a kernel; elsewhere as a flat array.

    Parameters
    ----------
    values : array of float64
        Contiguous, of any shape. Whoever calls the kernel keeps it alive; indices are not checked.
    """
    return values.ravel()


@intrinsic
def _values(typing_context: Any, values: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return context.make_array(signature.args[0])(context, builder, arguments[0]).data

    return types.CPointer(types.float64)(values), generate


@overload(column)
def _column(values):
    if isinstance(values, types.Array) and values.dtype == types.float64:
        return lambda values: _values(values)  # type: ignore[call-arg]  # the compiler gives the context
    return None


@intrinsic
def _pointer(typing_context: Any, records: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        array = context.make_array(signature.args[0])(context, builder, arguments[0])
        return builder.bitcast(array.data, ir.IntType(8).as_pointer())

    return Table(records.dtype)(records), generate


@intrinsic
def _record_at(typing_context: Any, records: Any, index: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        record = signature.args[0].record
        at = _address(context, builder, record, *arguments)
        return builder.bitcast(at, context.get_value_type(record))

    return records.record(records, types.intp), generate


@intrinsic
def _write_record(typing_context: Any, records: Any, index: Any, value: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        record = signature.args[0].record
        at = _address(context, builder, record, arguments[0], arguments[1])
        source = builder.bitcast(arguments[2], at.type)
        cgutils.raw_memcpy(builder, at, source, ir.Constant(ir.IntType(64), record.size), 1)
        return context.get_dummy_value()

    return types.none(records, types.intp, value), generate


def _address(context: Any, builder: Any, record: Any, pointer: Any, index: Any) -> Any:
    """Return the address of a record."""
    return builder.gep(pointer, [builder.mul(index, ir.Constant(index.type, record.size))])


@overload(table)
def _table(records):
    if isinstance(records, types.Array) and isinstance(records.dtype, types.Record):
        return lambda records: _pointer(records)  # type: ignore[call-arg]  # the compiler gives the context
    return None


@overload(operator.getitem)
def _getitem(records, index):
    if isinstance(records, Table) and isinstance(index, types.Integer):
        return lambda records, index: _record_at(records, index)  # type: ignore[call-arg]  # the compiler gives the context
    return None


@overload(operator.setitem)
def _setitem(records, index, value):
    if isinstance(records, Table) and isinstance(index, types.Integer) and value == records.record:
        return lambda records, index, value: _write_record(records, index, value)  # type: ignore[call-arg]  # the compiler gives the context
    return None
