"""Which rows the lake takes, which partition they belong to and how they merge. It touches no file."""

from __future__ import annotations

import operator
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import SupportsIndex

import polars as pl

from research.errors import InvalidInput, MisalignedBars, SchemaMismatch
from research.kernel import IntArray
from research.market.bars import KEYS, NS_PER_DAY, conform, epoch_ns, interval_ns

Time = str | date | SupportsIndex  # a datetime is a date

# No crypto market is older than the first block of Bitcoin; a time outside is one read in the wrong unit.
FIRST_YEAR, LAST_YEAR = 2009, 2099
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_TICKS_PER_SECOND = {"ms": 10**3, "us": 10**6, "ns": 10**9}
_DAILY_KINDS = {"trades", "book"}
_TIME_COLUMNS = ("ts", "available_ts")


@dataclass(frozen=True, slots=True)
class WriteReport:
    """What a write did, in rows.

    Parameters
    ----------
    rows_added : int
        Rows under a key that was not stored.
    rows_replaced : int
        Rows whose key was stored with other values.
    rows_unchanged : int
        Rows that were stored already.
    """

    rows_added: int = 0
    rows_replaced: int = 0
    rows_unchanged: int = 0

    def __add__(self, other: WriteReport) -> WriteReport:
        return WriteReport(
            self.rows_added + other.rows_added,
            self.rows_replaced + other.rows_replaced,
            self.rows_unchanged + other.rows_unchanged,
        )


def accepted(frame: pl.DataFrame, kind: str, interval: str | None, subject: str) -> pl.DataFrame:
    """Return the rows in the kind's schema, refusing what the lake must not hold.

    Raises
    ------
    SchemaMismatch
        If columns or types are not the kind's, a key is empty, or a time lies outside 2009 to 2099, as it does when
        milliseconds were read as nanoseconds.
    MisalignedBars
        If rows are unsorted, a key comes twice, or a bar does not open on the grid of its interval. Nothing is
        sorted or dropped silently.
    """
    for name in _TIME_COLUMNS:
        if name in frame.columns:
            _require_plausible_times(frame[name], f"{subject}.{name}")
    rows = conform(frame, kind, subject)
    keys = KEYS[kind]
    for name in keys:
        empty = rows[name].is_null()
        if rows.schema[name].is_float():
            empty = empty | rows[name].is_nan()
        if empty.any():
            raise SchemaMismatch(
                f"{subject}.{name}[{empty.arg_max()}]", f"must not be empty: it is part of the key {keys}"
            )
    ts = epoch_ns(rows)
    _require_order(ts, kind, subject)
    if len(keys) > 1 and (twice := rows.select(keys).is_duplicated()).any():
        rule = f"repeats the key {keys} of another row; remove one of them"
        raise MisalignedBars(f"{subject}[{twice.arg_max()}]", rule, rows.row(twice.arg_max() or 0))
    if kind in ("bars", "mark") and interval is not None and (off := ts % interval_ns(interval) != 0).any():
        i = int(off.argmax())
        raise MisalignedBars(f"{subject}.ts[{i}]", f"must lie on the {interval} grid", str(rows["ts"][i]))
    return rows


def _require_order(ts: IntArray, kind: str, subject: str) -> None:
    """Refuse rows out of order; trades and book updates may share a time, in order of arrival."""
    strict = KEYS[kind] == ("ts",)
    wrong = (ts[1:] <= ts[:-1]) if strict else (ts[1:] < ts[:-1])
    if not wrong.any():
        return
    i = int(wrong.argmax()) + 1
    rule = f"must {'be later than' if strict else 'not be earlier than'} the row before: the lake neither sorts nor "
    hint = "drops rows (research.market.check_quality does both, and reports it)" if strict else "drops rows"
    when = datetime.fromtimestamp(int(ts[i]) // 10**9, UTC).isoformat()
    raise MisalignedBars(f"{subject}.ts[{i}]", rule + hint, when)


def _require_plausible_times(column: pl.Series, subject: str) -> None:
    """Refuse times outside the years of crypto markets, in the unit they come in: a cast could overflow."""
    dtype = column.dtype
    if not isinstance(dtype, pl.Datetime):
        return  # conform names the type
    per_second = _TICKS_PER_SECOND[dtype.time_unit]
    low = int((datetime(FIRST_YEAR, 1, 1, tzinfo=UTC) - _EPOCH).total_seconds()) * per_second
    high = int((datetime(LAST_YEAR + 1, 1, 1, tzinfo=UTC) - _EPOCH).total_seconds()) * per_second
    ticks = column.to_physical()
    wrong = ((ticks < low) | (ticks >= high)).fill_null(False)
    if wrong.any():
        i = wrong.arg_max() or 0
        rule = (
            f"must lie in the years {FIRST_YEAR} to {LAST_YEAR}; the column is in {dtype.time_unit}, "
            "so its numbers were probably taken in another unit"
        )
        raise SchemaMismatch(f"{subject}[{i}]", rule, ticks[i])


def partitions(rows: pl.DataFrame, kind: str) -> Iterator[tuple[str, pl.DataFrame]]:
    """Yield the file stem (``2024-01``, or ``2024-01-31`` for trades and book) and rows of each partition, in order."""
    every, pattern = ("1d", "%Y-%m-%d") if kind in _DAILY_KINDS else ("1mo", "%Y-%m")
    marked = rows.with_columns(pl.col("ts").dt.truncate(every).alias("_partition"))
    for part in marked.partition_by("_partition", maintain_order=True):
        yield part["_partition"][0].strftime(pattern), part.drop("_partition")


def partition_bounds(stem: str, kind: str) -> tuple[int, int] | None:
    """Return the first time of a partition and the first after it (ns), or None if the stem names no partition.

    Examples
    --------
    >>> partition_bounds("2024-01", "bars")
    (1704067200000000000, 1706745600000000000)
    >>> partition_bounds("notes", "bars") is None
    True
    """
    pattern = "%Y-%m-%d" if kind in _DAILY_KINDS else "%Y-%m"
    try:
        first = datetime.strptime(stem, pattern).replace(tzinfo=UTC)
    except ValueError:
        return None
    if first.strftime(pattern) != stem:  # strptime also takes 2024-1
        return None
    after = first + timedelta(days=1) if kind in _DAILY_KINDS else (first + timedelta(days=31)).replace(day=1)
    return (first - _EPOCH).days * NS_PER_DAY, (after - _EPOCH).days * NS_PER_DAY


def merged(
    stored: pl.DataFrame, incoming: pl.DataFrame, kind: str, absent: frozenset[str]
) -> tuple[pl.DataFrame, WriteReport]:
    """Return one partition's rows after a write, and what the write did to them.

    Parameters
    ----------
    stored, incoming : polars.DataFrame
        Rows in the kind's schema, sorted by ``ts``, keys unique in each.
    kind : str
        A key of :data:`research.market.bars.SCHEMAS`.
    absent : frozenset of str
        Optional columns that the incoming frame did not have. They say nothing, so they are not compared: a row that
        agrees in the others stays as it is. A row that differs is replaced whole, never mixed from two sources.

    Returns
    -------
    (polars.DataFrame, WriteReport)
        Sorted by ``ts``; rows of one time in the order in which they came into the lake.
    """
    keys = list(KEYS[kind])
    compared = [c for c in incoming.columns if c not in keys and c not in absent]
    numbered = stored.with_row_index("_row")
    found = incoming.join(numbered, on=keys, how="left", suffix="_stored", maintain_order="left")
    equal = pl.all_horizontal([pl.col(c).eq_missing(pl.col(f"{c}_stored")) for c in compared])
    flags = found.select(is_new=pl.col("_row").is_null(), is_same=pl.col("_row").is_not_null() & equal)
    added, unchanged = int(flags["is_new"].sum()), int(flags["is_same"].sum())
    report = WriteReport(added, incoming.height - added - unchanged, unchanged)
    if unchanged == incoming.height:
        return stored, report
    changed = (
        found.filter(~flags["is_same"])
        .with_row_index("_order")
        .select(pl.coalesce("_row", pl.col("_order") + stored.height).cast(pl.UInt32).alias("_row"), *incoming.columns)
    )
    kept = numbered.join(changed.select("_row"), on="_row", how="anti", maintain_order="left")
    rows = pl.concat([kept, changed]).sort("ts", "_row").drop("_row")
    return rows, report


def time_ns(value: Time, subject: str) -> int:
    """Return a moment as nanoseconds since the epoch.

    Parameters
    ----------
    value : str, datetime, date or int
        ISO 8601 text, a datetime (both UTC where no zone is given) or a day; an integer is nanoseconds.
    subject : str
        What the error names.

    Raises
    ------
    InvalidInput
        If text is not ISO 8601, or an integer is not nanoseconds of the years 2009 to 2099.

    Examples
    --------
    >>> time_ns("2024-01-01", "start") == time_ns("2024-01-01T01:00:00+01:00", "start") == 1_704_067_200 * 10**9
    True
    """
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value)
        except ValueError as error:
            raise InvalidInput(subject, "must be an ISO 8601 date or time such as 2024-01-01T00:00", value) from error
    if isinstance(value, datetime):
        moment = (value if value.tzinfo else value.replace(tzinfo=UTC)) - _EPOCH
        return (moment.days * 86_400 + moment.seconds) * 10**9 + moment.microseconds * 1_000
    if isinstance(value, date):
        return (value - _EPOCH.date()).days * NS_PER_DAY
    try:
        number = operator.index(value)
    except TypeError as error:
        raise InvalidInput(subject, "must be ISO 8601 text, a datetime or nanoseconds", value) from error
    if not time_ns(f"{FIRST_YEAR}-01-01", "") <= number < time_ns(f"{LAST_YEAR + 1}-01-01", ""):
        raise InvalidInput(subject, f"must be nanoseconds of the years {FIRST_YEAR} to {LAST_YEAR}", value)
    return number


def time_range(start: Time | None, end: Time | None) -> tuple[int, int]:
    """Return ``[start, end)`` in nanoseconds, all of time where None.

    Raises
    ------
    InvalidInput
        If a bound cannot be read, or the start lies after the end.
    """
    first = time_ns(start, "start") if start is not None else -(2**63)
    after = time_ns(end, "end") if end is not None else 2**63 - 1
    if first > after:
        raise InvalidInput("start", f"must not be later than end ({end})", start)
    return first, after


def within(rows: pl.DataFrame, start_ns: int, end_ns: int) -> pl.DataFrame:
    """Return the rows of ``[start_ns, end_ns)`` from rows sorted by ``ts``, without a copy."""
    first, after = epoch_ns(rows).searchsorted([start_ns, end_ns])
    return rows[int(first) : int(after)]
