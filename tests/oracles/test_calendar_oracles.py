"""Calendar features equal Python's own datetime and calendar, over a century and on days that a human can check."""

import calendar
import datetime
import math

import numpy as np
import pytest

from research.features.calendar import SPECS
from research.features.calendar.civil_days import days_from_march, last_friday, month_of_day, weekday

BY_NAME = {spec.name: spec for spec in SPECS}
EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)
MINUTE = 60_000_000_000
DAY = datetime.timedelta(days=1)


def feature(ts, name, **params):
    return BY_NAME[name].apply([ts], params)


def ns(*at):
    return (datetime.datetime(*at, tzinfo=datetime.UTC) - EPOCH) // datetime.timedelta(minutes=1) * MINUTE


def moment(at):
    return EPOCH + datetime.timedelta(microseconds=int(at) // 1_000)


def minutes(span):
    return span / datetime.timedelta(minutes=1)


@pytest.fixture(scope="module")
def ts():
    """Return minutes all over 1965 to 2105, and those around the ends of all its months and of 29 February."""
    rng = np.random.default_rng(4)
    some = rng.integers(ns(1965, 1, 1) // MINUTE, ns(2105, 1, 1) // MINUTE, 4_000)
    edges = []
    for year in range(1965, 2105):
        for month in range(1, 13):
            first = datetime.datetime(year, month, 1, tzinfo=datetime.UTC)
            last = first + DAY * (calendar.monthrange(year, month)[1] - 1)
            friday = max(last - DAY * k for k in range(7) if (last - DAY * k).weekday() == 4)
            for around in (first, friday + datetime.timedelta(hours=8)):
                edges += [(around - EPOCH) // datetime.timedelta(minutes=1) + k for k in (-1, 0, 1)]
    return np.sort(np.concatenate([some, edges])) * MINUTE


def test_days_and_months_are_those_of_datetime():
    for day in range(-40_000, 60_000):
        at = datetime.date(1970, 1, 1) + datetime.timedelta(days=day)
        years, months = month_of_day(day)
        assert (years + (months > 9), (months + 2) % 12 + 1) == (at.year, at.month)
        assert day - days_from_march(years, months) == at.day - 1
        assert weekday(day) == at.weekday()


def test_the_last_friday_is_the_one_on_the_calendar_s_page():
    for year in (1999, 2000, 2023, 2024, 2100):
        for month in range(1, 13):
            page = calendar.monthcalendar(year, month)
            expected = datetime.date(year, month, max(week[calendar.FRIDAY] for week in page))
            day = last_friday(year - (month < 3), (month - 3) % 12)
            assert datetime.date(1970, 1, 1) + datetime.timedelta(days=day) == expected


def test_week_cycle_is_the_angle_of_the_week(ts):
    sine, cosine, day, weekend = feature(ts, "week_cycle")
    at = [moment(t) for t in ts]
    angles = [2 * math.pi * (m.weekday() + (m.hour + m.minute / 60) / 24) / 7 for m in at]
    np.testing.assert_allclose(sine, np.sin(angles), rtol=0, atol=1e-14)
    np.testing.assert_allclose(cosine, np.cos(angles), rtol=0, atol=1e-14)
    np.testing.assert_array_equal(day, [m.weekday() for m in at])
    np.testing.assert_array_equal(weekend, [float(m.isoweekday() in (6, 7)) for m in at])


def test_week_cycle_of_a_week_that_is_known():
    monday = ns(2024, 1, 1)  # a Monday
    sine, cosine, day, weekend = feature(monday + np.arange(7) * 1_440 * MINUTE, "week_cycle")
    assert (sine[0], cosine[0]) == (0.0, 1.0)
    assert day.tolist() == [0, 1, 2, 3, 4, 5, 6]
    assert weekend.tolist() == [0, 0, 0, 0, 0, 1, 1]


def test_hour_cycle_is_the_angle_of_the_clock(ts):
    angles = [2 * math.pi * (moment(t).hour * 60 + moment(t).minute) / 1_440 for t in ts]
    sine, cosine = feature(ts, "hour_cycle")
    np.testing.assert_allclose(sine, np.sin(angles), rtol=0, atol=1e-14)
    np.testing.assert_allclose(cosine, np.cos(angles), rtol=0, atol=1e-14)


def test_hour_close_is_what_the_clock_leaves_of_the_hour(ts):
    np.testing.assert_array_equal(feature(ts, "hour_close")[0], [60 - moment(t).minute for t in ts])
    half = np.array([ns(2024, 5, 5, 10, 59) + MINUTE // 2])
    assert feature(half, "hour_close")[0, 0] == 0.5


@pytest.mark.parametrize("interval", [1, 4, 8, 24, 7])
def test_funding_countdown_goes_to_the_next_settlement(ts, interval):
    left, gone = feature(ts, "funding_countdown", interval_hours=interval)
    for i, t in enumerate(ts[::7]):
        at = moment(t)
        midnight = at.replace(hour=0, minute=0)
        settlements = [midnight + datetime.timedelta(hours=h) for h in range(0, 24, interval)] + [midnight + DAY]
        before, after = max(s for s in settlements if s <= at), min(s for s in settlements if s > at)
        assert left[7 * i] == minutes(after - at)
        assert gone[7 * i] == pytest.approx((at - before) / (after - before), abs=1e-15)


def test_a_bar_that_opens_at_a_settlement_waits_for_the_next():
    at = np.array([ns(2024, 5, 5, 7, 59), ns(2024, 5, 5, 8, 0), ns(2024, 5, 5, 12, 0)])
    assert feature(at, "funding_countdown").tolist() == [[1.0, 480.0, 240.0], [479 / 480, 0.0, 0.5]]


@pytest.mark.parametrize("hour", [0, 8, 23])
def test_option_expiry_goes_to_the_next_listed_day(ts, hour):
    listed = {"daily": [], "weekly": [], "monthly": [], "quarterly": []}
    day = datetime.datetime(1964, 12, 1, hour, tzinfo=datetime.UTC)
    while day.year < 2106:
        listed["daily"].append(day)
        if day.weekday() == calendar.FRIDAY:
            listed["weekly"].append(day)
            if (day + 7 * DAY).month != day.month:
                listed["monthly"].append(day)
                if day.month % 3 == 0:
                    listed["quarterly"].append(day)
        day += DAY
    out = feature(ts, "option_expiry", expiry_hour=hour)
    assert BY_NAME["option_expiry"].outputs == tuple(listed)
    for row, days in zip(out, listed.values(), strict=True):
        marks = np.array([(d - EPOCH) // datetime.timedelta(minutes=1) for d in days])
        following = marks[np.searchsorted(marks, ts // MINUTE, side="right")]
        np.testing.assert_array_equal(row, following - ts // MINUTE)


@pytest.mark.parametrize(
    ("at", "expected"),
    [
        # Thursday before the last Friday of February in a leap year: 23 February, and 29 March for the quarter.
        ((2024, 2, 22, 8, 0), (1_440, 1_440, 1_440, 36 * 1_440)),
        # That Friday a minute before and at the expiry.
        ((2024, 2, 23, 7, 59), (1, 1, 1, 35 * 1_440 + 1)),
        ((2024, 2, 23, 8, 0), (1_440, 7 * 1_440, 35 * 1_440, 35 * 1_440)),
        # 29 December 2023 was the last Friday of a year: the next are 26 January and 29 March.
        ((2023, 12, 29, 8, 0), (1_440, 7 * 1_440, 28 * 1_440, 91 * 1_440)),
    ],
)
def test_option_expiry_on_days_that_are_known(at, expected):
    assert feature(np.array([ns(*at)]), "option_expiry")[:, 0].tolist() == list(expected)


SESSIONS = {"asia": (0, 9), "europe": (7, 16), "us": (13, 22)}


@pytest.mark.parametrize(
    "hours",
    [SESSIONS, {"asia": (22, 7), "europe": (5, 5), "us": (0, 24)}, {"asia": (3, 3), "europe": (3, 3), "us": (9, 1)}],
    ids=["default", "over midnight, none, all day", "one"],
)
def test_sessions_are_read_off_a_list_of_every_opening_and_close(ts, hours):
    params = {
        f"{name}_{edge}": hour
        for name, pair in hours.items()
        for edge, hour in zip(("start", "end"), pair, strict=True)
    }
    out = dict(zip(BY_NAME["sessions"].outputs, feature(ts, "sessions", **params), strict=True))
    for i, t in enumerate(ts[::7]):
        at = moment(t)
        midnight = at.replace(hour=0, minute=0)
        inside, opened, closing = {}, [], []
        for name, (start, end) in hours.items():
            inside[name] = 0.0
            for back in (2, 1, 0, -1) if start != end else ():
                opens = midnight - back * DAY + datetime.timedelta(hours=start)
                closes = opens + datetime.timedelta(hours=end - start if end > start else end - start + 24)
                inside[name] += opens <= at < closes
                opened += [opens] if opens <= at else []
                closing += [closes] if closes > at else []
        found = {name: row[7 * i] for name, row in out.items()}
        assert {name: found[name] for name in inside} == inside
        assert found["asia_europe"] == (inside["asia"] and inside["europe"])
        assert found["europe_us"] == (inside["europe"] and inside["us"])
        assert found["since_open"] == minutes(at - max(opened))
        assert found["to_close"] == minutes(min(closing) - at)


def test_sessions_of_a_day_that_is_known():
    at = np.array(
        [ns(2024, 5, 6, *clock) for clock in [(0, 0), (6, 59), (8, 30), (14, 0), (21, 59), (22, 0), (23, 59)]]
    )
    asia, europe, us, asia_europe, europe_us, since_open, to_close = feature(at, "sessions")
    assert asia.tolist() == [1, 1, 1, 0, 0, 0, 0]
    assert europe.tolist() == [0, 0, 1, 1, 0, 0, 0]
    assert us.tolist() == [0, 0, 0, 1, 1, 0, 0]
    assert asia_europe.tolist() == [0, 0, 1, 0, 0, 0, 0]
    assert europe_us.tolist() == [0, 0, 0, 1, 0, 0, 0]
    assert since_open.tolist() == [0, 419, 90, 60, 539, 540, 659]
    assert to_close.tolist() == [540, 121, 30, 120, 1, 660, 541]


def test_without_any_session_there_is_nothing_to_wait_for():
    none = {"asia_end": 0, "europe_end": 7, "us_end": 13}
    assert not feature(np.array([ns(2024, 5, 6, 3, 0)]), "sessions", **none).any()
