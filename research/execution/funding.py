"""Funding rates on the clock of the bars that they are charged in; it charges nothing and fetches nothing."""

from __future__ import annotations

import numpy as np
import polars as pl

from research.errors import FundingHole, InvalidInput, MisalignedBars, SchemaMismatch
from research.kernel import FloatArray, IntArray
from research.market.bars import NS_PER_MINUTE, arrays, epoch_ns

# Recorded settlement times are late by some milliseconds; no interval is shorter than an hour.
JITTER_NS = NS_PER_MINUTE
_NS_PER_HOUR = 60 * NS_PER_MINUTE


def funding_per_bar(ts_ns: IntArray, step_ns: int, funding: pl.DataFrame) -> tuple[FloatArray, int]:
    """Return the funding rate settled within each bar, and how many settlements that is.

    Parameters
    ----------
    ts_ns : (n,) array of int64
        Bar open times, ns UTC, on a complete clock.
    step_ns : int
        Length of a bar.
    funding : polars.DataFrame
        Columns ``ts`` (settlement time), ``rate`` (fraction; positive: longs pay shorts) and ``interval_hours``
        (the hours that ended with this settlement; it may differ between rows).

    Returns
    -------
    rate : (n,) array of float64
        Sum of the rates settled in ``[ts, ts + step_ns)``, 0 where there is none.
    count : int
        Settlements charged.

    Raises
    ------
    FundingHole
        If a settlement is missing: two rows are further apart than the later one's interval (plus one minute of
        jitter) and a settlement between them falls within the bars; the bars begin more than one interval before
        the first row or end more than one after the last; or a rate is not finite.
    InvalidInput
        If times do not increase or an interval is not positive.

    Examples
    --------
    >>> from research.market.bars import TS
    >>> hour = 3_600_000_000_000
    >>> rows = pl.DataFrame({"ts": [0, 8 * hour], "rate": [1e-4, -2e-4], "interval_hours": [8.0, 8.0]})
    >>> rate, count = funding_per_bar(np.arange(0, 10 * hour, hour), hour, rows.with_columns(pl.col("ts").cast(TS)))
    >>> rate.nonzero()[0].tolist(), count
    ([0, 8], 2)
    """
    times, rates, interval_ns = _rows(funding)
    per_bar = np.zeros(ts_ns.size)
    if ts_ns.size == 0:
        return per_bar, 0
    start, end = int(ts_ns[0]), int(ts_ns[-1]) + step_ns
    _refuse_holes(times, interval_ns, start, end)
    within = (times >= start) & (times < end)
    unknown = np.flatnonzero(within & ~np.isfinite(rates))
    if unknown.size:
        raise FundingHole(f"funding.rate[{unknown[0]}]", "must be finite within the bars", float(rates[unknown[0]]))
    np.add.at(per_bar, (times[within] - start) // step_ns, rates[within])
    return per_bar, int(within.sum())


def _rows(funding: pl.DataFrame) -> tuple[IntArray, FloatArray, IntArray]:
    """Return settlement times, rates and intervals in ns, refusing what is no settlement."""
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
    return times, rates, np.rint(hours * _NS_PER_HOUR).astype(np.int64)


def _refuse_holes(times: IntArray, interval_ns: IntArray, start: int, end: int) -> None:
    if times.size == 0:
        raise FundingHole("funding", "must have rows that cover the bars", 0)
    if start < times[0] - interval_ns[0] - JITTER_NS:
        raise FundingHole("funding", f"must begin within one interval of the first bar ({_iso(start)})", _iso(times[0]))
    if end > times[-1] + interval_ns[-1] + JITTER_NS:
        raise FundingHole(
            "funding", f"must reach to within one interval of the last bar ({_iso(end)})", _iso(times[-1])
        )
    for k in np.flatnonzero(np.diff(times) > interval_ns[1:] + JITTER_NS) + 1:
        later, earlier, interval = int(times[k]), int(times[k - 1]), int(interval_ns[k])
        # The last settlement due before `later` that also lies before the end of the bars.
        steps = max(1, (later - end) // interval + 1)
        due = later - steps * interval
        if due >= start and due > earlier + JITTER_NS:
            raise FundingHole(f"funding.ts[{k}]", f"must follow a row at {_iso(due)}; the row before is", _iso(earlier))


def _iso(ts_ns: int) -> str:
    return f"{np.datetime64(int(ts_ns), 'ns').astype('datetime64[s]')}Z"
