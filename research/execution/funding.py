"""Funding rates on the clock of the bars that they are charged in; it charges nothing and fetches nothing."""

from __future__ import annotations

import numpy as np
import polars as pl

from research.errors import FundingHole, InvalidInput, MisalignedBars, SchemaMismatch
from research.kernel import FloatArray, IntArray
from research.market.bars import arrays, epoch_ns
from research.market.funding_rows import JITTER_NS, NS_PER_HOUR, funding_holes

# A stamp this little before an open is that open's, told by a clock that runs ahead. It is far below the jitter, since
# on bars of a minute all that is later than the bar's own open by nearly a minute would belong to the next one.
EARLY_NS = 1_000_000_000


def funding_per_bar(ts_ns: IntArray, step_ns: int, funding: pl.DataFrame) -> tuple[FloatArray, int]:
    """Return the funding rate settled at each bar's open, and how many settlements that is.

    A settlement is charged on the position held when it happens, which is known at opens alone: within a bar, fills
    at its open and the settlement would have to be put in order. A settlement that falls inside a bar is therefore
    an error, never charged on another position. A recorded time belongs to an open from :data:`EARLY_NS` before to
    ``JITTER_NS`` after it; one just before the end of the last bar is left to the bars that follow.

    Parameters
    ----------
    ts_ns : (n,) array of int64
        Bar open times, ns UTC, on a complete clock.
    step_ns : int
        Length of a bar. Every settlement must fall on an open: for settlements every 8 hours, a length that divides
        8 hours.
    funding : polars.DataFrame
        Columns ``ts`` (settlement time), ``rate`` (fraction; positive: longs pay shorts) and ``interval_hours``
        (the hours that ended with this settlement; it may differ between rows).

    Returns
    -------
    rate : (n,) array of float64
        Rate settled at the bar's open, 0 where there is none.
    count : int
        Settlements charged.

    Raises
    ------
    FundingHole
        If a settlement is missing: two rows are further apart than the later one's interval (plus one minute of
        jitter) and a settlement between them falls within the bars; the bars begin more than one interval before
        the first row or end more than one after the last; or a rate is not finite.
    MisalignedBars
        If a settlement within the bars falls on no bar's open, or two on the same; or if times do not increase.
    InvalidInput
        If an interval is not positive.

    Examples
    --------
    >>> from research.market.bars import TS
    >>> hour = 3_600_000_000_000
    >>> rows = pl.DataFrame({"ts": [0, 8 * hour], "rate": [1e-4, -2e-4], "interval_hours": [8.0, 8.0]})
    >>> rate, count = funding_per_bar(np.arange(0, 10 * hour, hour), hour, rows.with_columns(pl.col("ts").cast(TS)))
    >>> rate.nonzero()[0].tolist(), count
    ([0, 8], 2)

    In a bar of twelve hours nothing says whether the position before or after its fills pays at 8:00:

    >>> funding_per_bar(np.array([0]), 12 * hour, rows.with_columns(pl.col("ts").cast(TS)))  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    research.errors.MisalignedBars: funding.ts[1] must fall on a bar's open, ...; received '1970-01-01T08:00:00Z'
    """
    times, rates, hours = _rows(funding)
    per_bar = np.zeros(ts_ns.size)
    if ts_ns.size == 0:
        return per_bar, 0
    start, end = int(ts_ns[0]), int(ts_ns[-1]) + step_ns
    _refuse_holes(times, hours, start, end)
    bar, late_ns = opens_of(times, start, step_ns)
    within = (bar >= 0) & (bar < ts_ns.size)
    unknown = np.flatnonzero(within & ~np.isfinite(rates))
    if unknown.size:
        raise FundingHole(f"funding.rate[{unknown[0]}]", "must be finite within the bars", float(rates[unknown[0]]))
    inside = np.flatnonzero(within & (late_ns > JITTER_NS))
    if inside.size:
        k = int(inside[0])
        opened = _iso(start + int(bar[k]) * step_ns)
        rule = f"must fall on a bar's open, not inside the bar of {_span(step_ns)} that opens at {opened}"
        raise MisalignedBars(
            f"funding.ts[{k}]", f"{rule}: use bars that begin at settlements (finer base bars)", _iso(times[k])
        )
    twice = np.flatnonzero(within[1:] & (np.diff(bar) == 0))
    if twice.size:
        k = int(twice[0]) + 1
        rule = f"must fall on another bar's open than the row before ({_iso(times[k - 1])}), which is charged there"
        raise MisalignedBars(f"funding.ts[{k}]", rule, _iso(times[k]))
    per_bar[bar[within]] = rates[within]
    return per_bar, int(within.sum())


def opens_of(times: IntArray, start_ns: int, step_ns: int) -> tuple[IntArray, IntArray]:
    """Return the bar at whose open each settlement is due, and by how much the settlement is later than that open.

    Parameters
    ----------
    times : (n,) array of int64
        Settlement times, ns UTC.
    start_ns : int
        Open of bar 0.
    step_ns : int
        Length of a bar.

    Returns
    -------
    bar : (n,) array of int64
        Bars counted from ``start_ns``; negative before it.
    late_ns : (n,) array of int64
        At least minus :data:`EARLY_NS`.

    Examples
    --------
    >>> bar, late_ns = opens_of(np.array([59_995, 60_005, 119_000]) * 10**6, 0, 60 * 10**9)
    >>> bar.tolist(), (late_ns // 10**6).tolist()
    ([1, 1, 2], [-5, 5, -1000])
    """
    since = times - start_ns
    bar = (since + min(EARLY_NS, step_ns // 2)) // step_ns
    return bar, since - bar * step_ns


def _rows(funding: pl.DataFrame) -> tuple[IntArray, FloatArray, FloatArray]:
    """Return settlement times, rates and intervals in hours, refusing what is no settlement."""
    if "ts" not in funding.columns or not isinstance(funding.schema["ts"], pl.Datetime):
        raise SchemaMismatch("funding.ts", "must be a UTC datetime column", funding.columns)
    times = epoch_ns(funding)
    rates, hours = arrays(funding, ["rate", "interval_hours"])
    back = np.flatnonzero(np.diff(times) <= 0)
    if back.size:
        raise MisalignedBars(f"funding.ts[{back[0] + 1}]", "must be later than the row before", int(times[back[0] + 1]))
    bad = np.flatnonzero(~(np.isfinite(hours) & (hours > 0)))
    if bad.size:
        raise InvalidInput(f"funding.interval_hours[{bad[0]}]", "must be positive", float(hours[bad[0]]))
    return times, rates, hours


def _refuse_holes(times: IntArray, hours: FloatArray, start: int, end: int) -> None:
    if times.size == 0:
        raise FundingHole("funding", "must have rows that cover the bars", 0)
    interval_ns = np.rint(hours * NS_PER_HOUR).astype(np.int64)
    if start < times[0] - interval_ns[0] - JITTER_NS:
        raise FundingHole("funding", f"must begin within one interval of the first bar ({_iso(start)})", _iso(times[0]))
    if end > times[-1] + interval_ns[-1] + JITTER_NS:
        raise FundingHole(
            "funding", f"must reach to within one interval of the last bar ({_iso(end)})", _iso(times[-1])
        )
    start, end = start - EARLY_NS, end - EARLY_NS  # a stamp just before an open is that open's
    for k in np.flatnonzero(funding_holes(times, hours)):
        later, earlier, interval = int(times[k]), int(times[k - 1]), int(interval_ns[k])
        # The last settlement due before `later` that also lies before the end of the bars.
        steps = max(1, (later - end) // interval + 1)
        due = later - steps * interval
        if due >= start and due > earlier + JITTER_NS:
            raise FundingHole(f"funding.ts[{k}]", f"must follow a row at {_iso(due)}; the row before is", _iso(earlier))


def _span(step_ns: int) -> str:
    """Return the length of a bar in the largest unit that divides it."""
    for unit, name in ((NS_PER_HOUR, "h"), (NS_PER_HOUR // 60, "m"), (10**9, "s")):
        if step_ns % unit == 0:
            return f"{step_ns // unit}{name}"
    return f"{step_ns} ns"


def _iso(ts_ns: int) -> str:
    return f"{np.datetime64(int(ts_ns), 'ns').astype('datetime64[s]')}Z"
