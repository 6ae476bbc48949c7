"""Read a column of times in whatever unit and writing it came. It guesses no time zone and repairs no value."""

from __future__ import annotations

import re

import polars as pl

from research.errors import InvalidInput, SchemaMismatch
from research.market.bars import NS_PER_MINUTE, TS

NS_PER_UNIT = {"s": 1_000_000_000, "ms": 1_000_000, "us": 1_000, "ns": 1}
# Magnitudes of a moment between March 1973 and November 5138, apart by a factor of a thousand: nothing is ambiguous.
_FROM = {"s": 1e8, "ms": 1e11, "us": 1e14, "ns": 1e17}
_FIRST_NS, _LAST_NS = 1_230_768_000_000_000_000, 4_102_444_800_000_000_000  # 2009 to 2100: the age of crypto markets
_NUMBER = re.compile(r"\s*[+-]?\d+(\.\d*)?([eE][+-]?\d+)?\s*")
_ZONED = r"([+-]\d{2}:?\d{2})$"
_FORMATS = {
    r"\d{4}-\d{2}-\d{2} \d{2}:\d{2}:\d{2}(\.\d+)?": "%Y-%m-%d %H:%M:%S%.f",
    r"\d{4}-\d{2}-\d{2} \d{2}:\d{2}": "%Y-%m-%d %H:%M",
    r"\d{4}-\d{2}-\d{2}": "%Y-%m-%d",
}


def times(
    column: pl.Series, subject: str, *, time_unit: str | None = None, utc_offset_hours: float | None = None
) -> pl.Series:
    """Return a column as UTC times in nanoseconds, exactly as written.

    Parameters
    ----------
    column : polars.Series
        Integers, floats, text of numbers, ISO 8601 text (also with dots or slashes in the date, year first),
        or datetimes. No value may be missing.
    subject : str
        What errors name.
    time_unit : {"s", "ms", "us", "ns"}, optional
        Of numbers; told by magnitude where left out. The same unit must hold for the whole column.
    utc_offset_hours : float, optional
        Clock of times that carry no zone: 0 says that they are UTC, 3 that they are three hours ahead of it.

    Returns
    -------
    polars.Series
        ``Datetime("ns", "UTC")``. Text of decimals is taken digit by digit; floats in seconds are rounded to the
        microsecond, which is all that a float64 holds there.

    Raises
    ------
    SchemaMismatch
        If units are mixed, a value is no time, has no zone, or lies outside 2009 to 2100.

    Examples
    --------
    >>> times(pl.Series(["1585180700.0647"]), "ts").to_list()
    [datetime.datetime(2020, 3, 25, 23, 58, 20, 64700, tzinfo=zoneinfo.ZoneInfo(key='UTC'))]
    """
    if time_unit is not None and time_unit not in NS_PER_UNIT:
        raise InvalidInput("time_unit", f"must be one of {', '.join(NS_PER_UNIT)}", time_unit)
    if column.null_count():
        raise SchemaMismatch(f"{subject}[{column.is_null().arg_max()}]", "must not be empty")
    if column.is_empty():
        return pl.Series(column.name, [], dtype=TS)
    dtype = column.dtype
    if isinstance(dtype, pl.Datetime | pl.Date):
        found = _to_utc(column.cast(pl.Datetime("ns")) if dtype == pl.Date else column, subject, utc_offset_hours)
    elif dtype == pl.String and not _NUMBER.fullmatch(column[0]):
        found = _parsed(column.str.strip_chars(), subject, utc_offset_hours)
    elif dtype == pl.String or dtype.is_numeric():
        found = _counted(column.str.strip_chars() if dtype == pl.String else column, subject, time_unit)
    else:
        raise SchemaMismatch(subject, "must be a time", str(dtype))
    ns = found.to_physical()
    wrong = (ns < _FIRST_NS) | (ns >= _LAST_NS)
    if wrong.any():
        i = wrong.arg_max() or 0
        raise SchemaMismatch(f"{subject}[{i}]", f"must lie between 2009 and 2100; it reads {column[i]!r} as", found[i])
    return found


def _counted(column: pl.Series, subject: str, time_unit: str | None) -> pl.Series:
    """Return numbers of units since the epoch as times."""
    sizes = _numbers(column, subject, pl.Float64).abs()
    unit = time_unit or _unit(column, sizes, subject)
    limit = 2**63 / NS_PER_UNIT[unit]
    if not (sizes < limit).all():  # also where one is NaN
        i = (~(sizes < limit)).arg_max() or 0
        raise SchemaMismatch(f"{subject}[{i}]", f"must be a time in {unit}", column[i])
    if column.dtype.is_float():
        whole_us = (column * (NS_PER_UNIT[unit] / 1_000)).round()
        ns = whole_us.cast(pl.Int64) * 1_000
    elif column.dtype.is_integer():
        ns = column.cast(pl.Int64) * NS_PER_UNIT[unit]
    else:
        digits = len(str(NS_PER_UNIT[unit])) - 1
        ns = _numbers(column, subject, pl.Decimal(38, digits)).to_physical().cast(pl.Int64)
    return ns.cast(TS)


def _numbers(column: pl.Series, subject: str, dtype: pl.DataType | type[pl.DataType]) -> pl.Series:
    try:
        return column.cast(dtype)
    except pl.exceptions.InvalidOperationError as error:
        wrong = column.is_not_null() & column.cast(dtype, strict=False).is_null()
        i = wrong.arg_max() or 0
        raise SchemaMismatch(f"{subject}[{i}]", "must be a number like the rows before it", column[i]) from error


def _unit(column: pl.Series, sizes: pl.Series, subject: str) -> str:
    """Return the one unit whose magnitude every value has."""
    first = next((unit for unit, low in _FROM.items() if low <= sizes[0] < 1_000 * low), None)
    if first is None:
        rule = "must be seconds, ms, us or ns since 1970; state time_unit if it is another way to count"
        raise SchemaMismatch(f"{subject}[0]", rule, column[0])
    same = (sizes >= _FROM[first]) & (sizes < 1_000 * _FROM[first])
    if not same.all():  # also where one is NaN
        i = (~same).arg_max() or 0
        rule = f"must be in {first} by its size, as the first value ({column[0]}) is: units are mixed"
        raise SchemaMismatch(f"{subject}[{i}]", rule, column[i])
    return first


def _parsed(column: pl.Series, subject: str, utc_offset_hours: float | None) -> pl.Series:
    """Return written dates and times as times."""
    text = (
        column.str.replace(r"^(\d{4})[./](\d{2})[./](\d{2})", "$1-$2-$3")
        .str.replace(r"^(\d{4}-\d{2}-\d{2})T", "$1 ")
        .str.replace(r"\s*(Z|UTC)$", "+00:00")
        .str.replace(r"(\d)\s+([+-]\d{2}:?\d{2})$", "$1$2")
    )
    zoned = text.str.contains(r":\d{2}.*[+-]\d{2}:?\d{2}$")
    if zoned.any() and not zoned.all():
        i = (zoned != zoned[0]).arg_max() or 0
        raise SchemaMismatch(
            f"{subject}[{i}]", f"must have a zone if and only if the first ({column[0]!r}) has", column[i]
        )
    sample = re.sub(_ZONED, "", text[0]) if zoned.all() else text[0]
    formats = [form for pattern, form in _FORMATS.items() if re.fullmatch(pattern, sample)]
    if not formats:
        raise SchemaMismatch(f"{subject}[0]", "must be a number or a date with the year first", column[0])
    form = formats[0] + ("%z" if zoned.all() else "")
    parsed = text.str.to_datetime(form, time_unit="ns", strict=False)
    if parsed.null_count():
        i = parsed.is_null().arg_max() or 0
        raise SchemaMismatch(f"{subject}[{i}]", f"must be written like the first value ({column[0]!r})", column[i])
    return _to_utc(parsed, subject, utc_offset_hours)


def _to_utc(column: pl.Series, subject: str, utc_offset_hours: float | None) -> pl.Series:
    dtype = column.dtype
    if isinstance(dtype, pl.Datetime) and dtype.time_zone is not None:
        return column.dt.convert_time_zone("UTC").cast(TS)
    if utc_offset_hours is None:
        rule = "has no time zone: state utc_offset_hours (0 if the file is in UTC); its first value is"
        raise SchemaMismatch(subject, rule, str(column[0]))
    local = column.cast(pl.Datetime("ns")).to_physical()
    return (local - round(utc_offset_hours * 60) * NS_PER_MINUTE).cast(TS)
