"""Day numbers of the Gregorian calendar in whole-number arithmetic. It holds no feature.

Day 0 is 1 January 1970, a Thursday; days before it are negative. There is no leap second and no time zone but UTC.
"""

from __future__ import annotations

from research.kernel import kernel

# Not imported from research.market: a fingerprint covers every module that a kernel's file imports.
MINUTE_NS = 60_000_000_000
HOUR_NS = 60 * MINUTE_NS
DAY_NS = 24 * HOUR_NS

FRIDAY = 4

# 400 Gregorian years are always as long, so that the calendar is worked out within one such era. Years are counted
# from March: the leap day is then the last of its year, and 719,468 days lie between 1 March of year 0 and day 0.
DAYS_PER_ERA = 146_097
DAYS_BEFORE_1970 = 719_468


@kernel
def weekday(day: int) -> int:
    """Return the day of the week of a day number, Monday 0 to Sunday 6."""
    return (day + 3) % 7


@kernel
def days_from_march(years: int, months: int) -> int:
    """Return the day number of the first of the month ``months`` after March of a year (0: March itself)."""
    years += months // 12
    months %= 12
    # Five months from March on (31, 30, 31, 30, 31) hold 153 days, and so do the next five.
    return 365 * years + years // 4 - years // 100 + years // 400 + (153 * months + 2) // 5 - DAYS_BEFORE_1970


@kernel
def month_of_day(day: int) -> tuple[int, int]:
    """Return the year, counted from its March, and the months after March in which a day number lies.

    References
    ----------
    .. [1] E. G. Richards, "Calendars", in S. E. Urban, P. K. Seidelmann (eds.), Explanatory Supplement to the
       Astronomical Almanac, 3rd ed., 2013, ch. 15.
    """
    since = day + DAYS_BEFORE_1970
    era, in_era = since // DAYS_PER_ERA, since % DAYS_PER_ERA
    # Of the days so far, one in 1,461 is a leap day, but one in 36,524 is not, but the last of the era is.
    year = (in_era - in_era // 1_460 + in_era // 36_524 - in_era // 146_096) // 365
    in_year = in_era - (365 * year + year // 4 - year // 100)
    return 400 * era + year, (5 * in_year + 2) // 153


@kernel
def last_friday(years: int, months: int) -> int:
    """Return the day number of the last Friday of the month ``months`` after March of a year."""
    last = days_from_march(years, months + 1) - 1
    return last - (weekday(last) - FRIDAY) % 7
