"""Sessions of Asia, Europe and the United States by the UTC clock. Registered in the catalogue as ``sessions``."""

from __future__ import annotations

from research.features.calendar.civil_days import DAY_NS, HOUR_NS, MINUTE_NS
from research.kernel import FloatArray, IntArray, KernelSpec, Param, kernel


@kernel
def sessions(
    ts: IntArray,
    asia_start: int,
    asia_end: int,
    europe_start: int,
    europe_end: int,
    us_start: int,
    us_end: int,
    state: FloatArray,
    out: FloatArray,
) -> None:
    """Write the trading sessions (Asia, Europe, US) in which each bar opens, and how far they have come.

    Parameters
    ----------
    ts : (n,) array of int64
        Open time, nanoseconds since the epoch, UTC.
    asia_start : int
        Hour of the UTC day at which the session of Asia opens, its first minute included.
    asia_end : int
        Hour at which it closes, not included. Before its start: it runs over midnight. Equal to it: there is none.
    europe_start : int
        Hour of the UTC day at which the session of Europe opens, its first minute included.
    europe_end : int
        Hour at which it closes, not included. Before its start: it runs over midnight. Equal to it: there is none.
    us_start : int
        Hour of the UTC day at which the session of the United States opens, its first minute included.
    us_end : int
        Hour at which it closes, not included. Before its start: it runs over midnight. Equal to it: there is none.
    state : (0,) array
        Nothing is remembered.
    out : (7, n) array
        1 inside and 0 outside of: Asia; Europe; US; Asia and Europe at once; Europe and US at once. Minutes since any
        session last opened; minutes until any next closes, above 0 (both 0 if there is no session at all).

    Notes
    -----
    A crypto market never closes; these are the hours at which desks are manned. The defaults are nine hours each, 9 to
    18 in Tokyo, 8 to 17 in Frankfurt and in New York, which is 9 to 18 under summer time: UTC does not follow it, so
    that an hour at either edge changes its meaning twice a year.

    All is counted from the open of the bar: at its close, when it is known, one bar's length less remains to the next
    close of a session, and one more has gone by since the last opening.
    """
    open_asia, open_europe, open_us = asia_start * HOUR_NS, europe_start * HOUR_NS, us_start * HOUR_NS
    # Lengths in hours, 0 for a session that is none; a start of 0 with an end of 24 is the whole day.
    span_asia, span_europe, span_us = asia_end - asia_start, europe_end - europe_start, us_end - us_start
    span_asia = (span_asia if span_asia >= 0 else span_asia + 24) * HOUR_NS
    span_europe = (span_europe if span_europe >= 0 else span_europe + 24) * HOUR_NS
    span_us = (span_us if span_us >= 0 else span_us + 24) * HOUR_NS
    for i in range(ts.shape[0]):
        at = ts[i] % DAY_NS
        since = closing = DAY_NS
        in_asia = in_europe = in_us = 0.0
        if span_asia > 0:
            gone = at - open_asia if at >= open_asia else at - open_asia + DAY_NS
            in_asia = 1.0 if gone < span_asia else 0.0
            since = min(since, gone)
            closing = min(closing, span_asia - gone if gone < span_asia else span_asia - gone + DAY_NS)
        if span_europe > 0:
            gone = at - open_europe if at >= open_europe else at - open_europe + DAY_NS
            in_europe = 1.0 if gone < span_europe else 0.0
            since = min(since, gone)
            closing = min(closing, span_europe - gone if gone < span_europe else span_europe - gone + DAY_NS)
        if span_us > 0:
            gone = at - open_us if at >= open_us else at - open_us + DAY_NS
            in_us = 1.0 if gone < span_us else 0.0
            since = min(since, gone)
            closing = min(closing, span_us - gone if gone < span_us else span_us - gone + DAY_NS)
        none = span_asia + span_europe + span_us == 0
        out[0, i], out[1, i], out[2, i] = in_asia, in_europe, in_us
        out[3, i], out[4, i] = in_asia * in_europe, in_europe * in_us
        out[5, i] = 0.0 if none else since / MINUTE_NS
        out[6, i] = 0.0 if none else closing / MINUTE_NS


SPEC = KernelSpec(
    name="sessions",
    kernel=sessions,
    inputs=("ts",),
    params=(
        Param("asia_start", 0, 0, 23),
        Param("asia_end", 9, 0, 24),
        Param("europe_start", 7, 0, 23),
        Param("europe_end", 16, 0, 24),
        Param("us_start", 13, 0, 23),
        Param("us_end", 22, 0, 24),
    ),
    outputs=("asia", "europe", "us", "asia_europe", "europe_us", "since_open", "to_close"),
    state_size=lambda *hours: 0,
    lookback=lambda *hours: 1,
    warmup=lambda *hours: 1,
    warmup_rtol=0.0,
    unit="1 inside, 0 outside; minutes",
    gap="none: time passes in a gap as elsewhere",
    reference="definition; office hours of Tokyo, Frankfurt and New York",
)
