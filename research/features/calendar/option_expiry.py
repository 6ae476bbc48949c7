"""Time to the next option expiries. Registered in the catalogue as ``option_expiry``."""

from __future__ import annotations

from research.features.calendar.civil_days import DAY_NS, FRIDAY, HOUR_NS, MINUTE_NS, last_friday, month_of_day, weekday
from research.kernel import FloatArray, IntArray, KernelSpec, Param, kernel


@kernel
def option_expiry(ts: IntArray, expiry_hour: int, state: FloatArray, out: FloatArray) -> None:
    """Write the minutes from each bar's open to the next daily, weekly, monthly and quarterly option expiry.

    Weekly ones expire on Fridays, monthly ones on the last Friday of a month, quarterly ones on that of March, June,
    September and December.

    Parameters
    ----------
    ts : (n,) array of int64
        Open time, nanoseconds since the epoch, UTC.
    expiry_hour : int
        Hour of the UTC day at which options expire.
    state : (0,) array
        Nothing is remembered.
    out : (4, n) array
        Minutes to the daily, weekly, monthly and quarterly expiry, above 0: a bar that opens at one waits for the next.

    Notes
    -----
    Counted from the open of the bar: at its close, when it is known, one bar's length less remains.
    """
    known = False
    at = weekly = monthly = quarterly = 0
    for i in range(ts.shape[0]):
        # Days that begin at the expiry hour: an expiry on day d is over for a bar once d is its day.
        moment = ts[i] - expiry_hour * HOUR_NS
        day = moment // DAY_NS
        if not known or day != at:
            known, at = True, day
            weekly = day + 1 + (FRIDAY - weekday(day + 1)) % 7
            years, months = month_of_day(day)
            monthly = last_friday(years, months)
            if monthly <= day:
                monthly = last_friday(years, months + 1)
            # Months that count from March: every third one ends a quarter.
            third = months + (-months) % 3
            quarterly = last_friday(years, third)
            if quarterly <= day:
                quarterly = last_friday(years, third + 3)
        gone = moment - day * DAY_NS
        out[0, i] = (DAY_NS - gone) / MINUTE_NS
        out[1, i] = ((weekly - day) * DAY_NS - gone) / MINUTE_NS
        out[2, i] = ((monthly - day) * DAY_NS - gone) / MINUTE_NS
        out[3, i] = ((quarterly - day) * DAY_NS - gone) / MINUTE_NS


SPEC = KernelSpec(
    name="option_expiry",
    kernel=option_expiry,
    inputs=("ts",),
    params=(Param("expiry_hour", 8, 0, 23),),
    outputs=("daily", "weekly", "monthly", "quarterly"),
    state_size=lambda expiry_hour: 0,
    lookback=lambda expiry_hour: 1,
    warmup=lambda expiry_hour: 1,
    warmup_rtol=0.0,
    unit="minutes",
    gap="none: time passes in a gap as elsewhere",
    reference="expiry rules of Deribit and Bybit options: 08:00 UTC, weekly on Fridays, the last Friday of the month",
)
