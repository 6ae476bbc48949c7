"""Features of derivatives equal plain twins that know the whole history, and cases that a human can check."""

import math

import numpy as np
import pytest

from research.features.derivatives import SPECS

BY_NAME = {spec.name: spec for spec in SPECS}
MINUTE = 60_000_000_000
START = 1_699_920_000  # seconds: 14 November 2023, 00:00 UTC
N = 3_000


def feature(name, *inputs, **params):
    return dict(zip(BY_NAME[name].outputs, BY_NAME[name].apply(inputs, params), strict=True))


def zscores(sample, length, first=0):
    """Return the z-score of every value among the last ``length``, NaN until there are so many from ``first`` on."""
    windows = np.lib.stride_tricks.sliding_window_view(sample[first:], length)
    still = np.ptp(windows, axis=1) == 0.0
    deviation = np.where(still, 1.0, windows.std(axis=1, ddof=1))
    score = np.where(still, 0.0, (windows[:, -1] - windows.mean(axis=1)) / deviation)
    return np.concatenate([np.full(first + length - 1, np.nan), score])


def agree(ours, expected, first, atol=1e-9):
    """Check that a row is NaN before bar ``first`` and the expected one from it on."""
    assert np.isnan(ours[:first]).all()
    np.testing.assert_allclose(ours[first:], np.asarray(expected, dtype=float)[first:], rtol=0, atol=atol)


def settlements(n_bars, bar_minutes, changes):
    """Return settlement times (minutes since the start), rates and intervals; ``changes``: interval from a time on."""
    rng = np.random.default_rng(9)
    found, at = [], -480.0
    while at <= n_bars * bar_minutes:
        hours = next(hours for since, hours in reversed(changes) if at >= since)
        found.append((at, round(rng.normal(1e-4, 2e-4), 6), hours))
        at += 60.0 * hours
    return found


def funding_columns(rows, n_bars, bar_minutes):
    """Return ts and what was last settled at the close of every bar."""
    ts = (START // 60 + np.arange(n_bars) * bar_minutes) * MINUTE
    closes = (np.arange(n_bars) + 1.0) * bar_minutes
    last = [max(k for k, row in enumerate(rows) if row[0] <= close) for close in closes]
    rate, hours = np.array([rows[k][1] for k in last]), np.array([float(rows[k][2]) for k in last])
    return ts, rate, hours, closes - [rows[k][0] for k in last]


@pytest.mark.parametrize(
    ("bar_minutes", "count", "changes"),
    [(1, 2, [(-480, 8)]), (5, 21, [(-480, 8), (2_400, 4), (5_040, 1)]), (60, 40, [(-480, 8)])],
)
def test_funding_is_that_of_the_last_settlements(bar_minutes, count, changes):
    rows = settlements(N, bar_minutes, changes)
    ts, rate, hours, age = funding_columns(rows, N, bar_minutes)
    found = feature("funding", ts, rate, hours, age, settlements=count)
    paid, score = [], []
    for close in (np.arange(N) + 1.0) * bar_minutes:
        last = [rate for at, rate, _ in rows if 0.0 <= at <= close][-count:]  # one at the start of the first bar
        paid.append(sum(last))
        score.append((last[-1] - np.mean(last)) / np.std(last, ddof=1) if len(set(last)) > 1 else 0.0)
    agree(found["rate"], rate, 0, 0.0)
    agree(found["annualised"], rate * 3.0 * 365.0 * 8.0 / hours, 0, 1e-12)
    agree(found["paid"], paid, 0, 1e-15)
    agree(found["zscore"], score, 0, 1e-9)


def funded(rates, bars_each, **params):
    """Return the feature over settlements every 8 hours, each seen in so many bars of equal length."""
    n = len(rates) * bars_each
    minutes = 480 // bars_each
    ts = (START // 60 + np.arange(n) * minutes) * MINUTE
    age = (np.arange(n) % bars_each) * float(minutes)
    return feature("funding", ts, np.repeat(rates, bars_each), np.full(n, 8.0), age, **params)


def test_funding_after_equal_rates_does_not_measure_how_many_bars_they_stood():
    rates = [1e-4] * 9 + [5e-4]
    score = 0.9 * 10 / math.sqrt(10)  # one of ten differs: (n - 1) / sqrt(n), however long the bars
    for bars_each in (1, 8, 480):
        found = funded(rates, bars_each, settlements=10)
        assert (found["zscore"][: 9 * bars_each] == 0.0).all()
        assert found["zscore"][-bars_each:] == pytest.approx(score)
        assert found["paid"][-1] == pytest.approx(14e-4)


def test_funding_of_a_bar_longer_than_the_interval_counts_every_settlement():
    days = 40
    ts = (START // 60 + np.arange(days) * 1_440) * MINUTE
    rate = np.linspace(1e-4, 3e-4, days)
    # A day's bar closes at a settlement: three lie in each, at 08:00, 16:00 and 24:00. Of the first day one is known.
    found = feature("funding", ts, rate, np.full(days, 8.0), np.zeros(days), settlements=21)
    each = np.repeat(rate, 3)[2:]
    last = [each[: 3 * i + 1][-21:] for i in range(days)]
    agree(found["paid"], [rates.sum() for rates in last], 0, 1e-15)
    agree(found["zscore"][1:], [(rates[-1] - rates.mean()) / rates.std(ddof=1) for rates in last[1:]], 0, 1e-9)


def test_funding_is_counted_once_whatever_is_missing():
    ts = (START // 60 + np.arange(30)) * MINUTE
    rate = np.where(np.arange(30) < 10, 1e-4, 5e-4)
    age = np.where(np.arange(30) < 10, 470.0 + np.arange(30), np.arange(30) - 10.0)
    whole = feature("funding", ts, rate, np.full(30, 8.0), age)["paid"]
    rate[8:14] = np.nan  # the settlement falls into a gap
    holed = feature("funding", ts, rate, np.full(30, 8.0), age)["paid"]
    assert whole[:10] == pytest.approx(1e-4)
    assert whole[10:] == pytest.approx(6e-4)
    assert holed[14:] == pytest.approx(6e-4)


def test_funding_missed_is_taken_at_the_newest_rate():
    ts = (START // 60 + np.array([0, 480, 4 * 480, 100_000 * 480])) * MINUTE
    found = feature("funding", ts, [1e-4, 2e-4, 4e-4, 3e-4], [8.0] * 4, [0.0] * 4, settlements=10)
    assert found["paid"] == pytest.approx([1e-4, 3e-4, 15e-4, 30e-4])
    assert found["zscore"][3] == 0.0  # nothing older is left


def test_funding_rate_that_is_mended_replaces_the_newest():
    ts = (START // 60 + np.arange(4)) * MINUTE
    age = [479.0, 0.0, 1.0, 2.0]
    found = feature("funding", ts, [1e-4, 2e-4, 3e-4, 3e-4], [8.0] * 4, age)
    assert found["paid"] == pytest.approx([1e-4, 3e-4, 4e-4, 4e-4])
    assert found["zscore"] == pytest.approx([0.0] + [math.sqrt(0.5)] * 3)


def test_funding_per_year_of_the_usual_rate():
    found = funded([1e-4] * 5, 4)
    assert found["annualised"] == pytest.approx(0.1095)  # 0.01 % three times a day
    assert (found["zscore"] == 0.0).all()


def test_funding_time_is_the_rest_of_the_interval():
    found = feature("funding_time", [8.0, 8.0, 8.0, 1.0, 4.0], [0.0, 120.0, 500.0, 59.5, math.nan])
    np.testing.assert_array_equal(found["minutes"], [480.0, 360.0, 0.0, 0.5, math.nan])
    np.testing.assert_allclose(found["elapsed"], [0.0, 0.25, 1.0, 59.5 / 60, math.nan])


def walks(seed=12, n=N):
    rng = np.random.default_rng(seed)
    anchor = 100.0 * np.exp(rng.normal(0.0, 1e-3, n).cumsum())
    price = anchor * (1.0 + rng.normal(2e-4, 3e-4, n))
    price[500:900], anchor[500:900] = 100.1, 100.0
    return price, anchor


@pytest.mark.parametrize("name", ["basis", "premium"])
@pytest.mark.parametrize("length", [2, 200])
def test_basis_and_premium_are_the_gap_over_the_anchor(name, length):
    price, anchor = walks()
    gap = price / anchor - 1.0
    found = feature(name, price, anchor, length=length)
    agree(found["fraction"], gap, length - 1, 1e-15)
    means = np.lib.stride_tricks.sliding_window_view(gap, length).mean(axis=1)
    agree(found["mean"], np.concatenate([np.full(length - 1, np.nan), means]), length - 1, 1e-15)
    # A gap of 1e-4 is the difference of two prices, each rounded to 1e-16 of itself: so is its deviation's.
    agree(found["zscore"], zscores((price - anchor) / anchor, length), length - 1, 1e-9)


def test_basis_and_premium_have_the_sign_of_the_dearer():
    assert feature("basis", [101.0] * 3, [100.0] * 3, length=2)["fraction"][-1] == pytest.approx(0.01)
    assert feature("premium", [99.0] * 3, [100.0] * 3, length=2)["mean"][-1] == pytest.approx(-0.01)


@pytest.mark.parametrize("floor", [1.0, 1_440.0])
def test_futures_basis_is_annualised_by_the_time_left(floor):
    future, spot = walks(13)
    left = np.maximum(2_900.0 - np.arange(N), 0.0)  # it expires within the history
    left[300] = 0.5
    length = 100
    found = feature("futures_basis", future, spot, left, length=length, floor_minutes=floor)
    gap = (future - spot) / spot
    years = np.maximum(left, floor) / (365 * 24 * 60)
    annualised = np.where(left < 1.0, 0.0, gap / years)
    agree(found["fraction"], gap, length - 1, 1e-15)
    agree(found["annualised"], annualised, length - 1, 1e-12 * np.abs(annualised).max())
    agree(found["zscore"], zscores(annualised, length), length - 1, 1e-9)
    agree(found["contango"], np.sign(future - spot), length - 1, 0.0)
    assert {-1.0, 1.0} <= set(found["contango"][length:])


def test_futures_basis_of_a_quarter_to_go():
    quarter = [0.25 * 525_600] * 3
    found = feature("futures_basis", [102.0] * 3, [100.0] * 3, quarter, length=2)
    assert found["annualised"][-1] == pytest.approx(0.08)  # 2 % in a quarter of a year
    assert found["contango"][-1] == 1.0
    assert feature("futures_basis", [100.0] * 3, [100.0] * 3, quarter, length=2)["contango"][-1] == 0.0
    expired = feature("futures_basis", [102.0] * 3, [100.0] * 3, [0.0] * 3, length=2)
    assert (expired["fraction"][-1], expired["annualised"][-1]) == (pytest.approx(0.02), 0.0)


@pytest.mark.parametrize(("length", "window"), [(1, 2), (60, 200), (200, 60)])
def test_open_interest_change_is_a_log_change_by_the_side_of_the_price(length, window):
    rng = np.random.default_rng(15)
    interest = np.repeat(1e5 * np.exp(rng.normal(0.0, 1e-2, N // 5).cumsum()), 5)  # published every fifth bar
    close, _ = walks(16)
    interest[1_700:1_720] = 0.0
    found = feature("open_interest_change", close, interest, length=length, window=window)
    change, opening, closing = np.full(N, np.nan), np.full(N, np.nan), np.full(N, np.nan)
    for i in range(length, N):
        now, before = interest[i], interest[i - length]
        change[i] = math.log(now / before) if now > 0 and before > 0 else 0.0
        way = np.sign(close[i] - close[i - length])
        opening[i], closing[i] = (way, 0.0) if now > before else (0.0, way) if now < before else (0.0, 0.0)
    first = length + window - 1
    agree(found["change"], change, first, 1e-13)
    agree(found["opening"], opening, first, 0.0)
    agree(found["closing"], closing, first, 0.0)
    # Logarithms near 12 are off by 2e-15 of themselves, their changes by as much of some 1e-3.
    agree(found["zscore"], zscores(change, window, length), first, 1e-8)
    assert {-1.0, 0.0, 1.0} == set(found["opening"][first:]) == set(found["closing"][first:])


@pytest.mark.parametrize(
    ("price", "interest", "opening", "closing"),
    [(1, 1, 1, 0), (-1, 1, -1, 0), (1, -1, 0, 1), (-1, -1, 0, -1), (0, 1, 0, 0), (1, 0, 0, 0)],
    ids=["new longs", "new shorts", "short covering", "long liquidation", "no price change", "no change of interest"],
)
def test_the_four_quadrants_of_price_and_open_interest(price, interest, opening, closing):
    steps = np.arange(6.0)
    found = feature("open_interest_change", 100.0 + price * steps, 1e4 + interest * steps, length=1, window=2)
    assert (found["opening"][-1], found["closing"][-1]) == (opening, closing)


@pytest.mark.parametrize("length", [2, 300])
def test_long_short_ratio_is_a_log_ratio(length):
    rng = np.random.default_rng(17)
    longs = np.repeat(rng.uniform(0.2, 0.8, N // 5), 5)
    found = feature("long_short_ratio", longs, 1.0 - longs, length=length)
    expected = np.log(longs) - np.log1p(-longs)
    agree(found["log_ratio"], expected, length - 1, 1e-14)
    agree(found["zscore"], zscores(expected, length), length - 1, 1e-9)


def test_long_short_ratio_without_one_side_is_bounded():
    found = feature("long_short_ratio", [0.5, 0.75, 1.0, 0.0, 0.0], [0.5, 0.25, 0.0, 1.0, 0.0], length=2)
    expected = [math.nan, math.log(3.0), math.log(1e6), -math.log(1e6), 0.0]
    np.testing.assert_allclose(found["log_ratio"], expected, rtol=1e-12)
