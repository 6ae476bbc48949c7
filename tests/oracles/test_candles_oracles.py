"""Candle patterns equal TA-Lib where its rule can hold in a market that never closes, and plain twins elsewhere."""

import math

import numpy as np
import pytest
import talib

from research.features import CATALOGUE

N = 6_000
COLUMNS = ("open", "high", "low", "close")
GRID = 64.0  # prices in 64ths: sums and mirror images are exact, and many bars tie


@pytest.fixture(scope="module", params=["with gaps", "without gaps", "on a coarse grid", "near 1e-6"])
def bars(request):
    rng = np.random.default_rng(31)
    close = 100.0 * np.exp(np.cumsum(rng.normal(0.0, 2e-3, N)))
    first = np.concatenate([close[:1], close[:-1]])
    if request.param != "without gaps":
        first = first * np.exp(rng.normal(0.0, 1e-3, N))
    # Some bars have short wicks, others long ones.
    reach = np.abs(rng.normal(0.0, 2e-3, (2, N))) * rng.choice([0.02, 1.0, 3.0], (2, N))
    high, low = np.maximum(first, close) * (1.0 + reach[0]), np.minimum(first, close) * (1.0 - reach[1])
    columns = dict(zip(COLUMNS, (first, high, low, close), strict=True))
    for column in columns.values():
        column[2_000:2_050] = close[2_000]
        if request.param == "on a coarse grid":
            column[:] = np.round(column * 4.0) / 4.0
        if request.param == "near 1e-6":
            column *= 2.0**-27  # exact: a pattern has no unit
    return columns


def on_grid(bars):
    """Return the bars as multiples of a power of two, near 100, and their mirror image at 256."""
    scale = 2.0 ** round(math.log2(100.0 / bars["close"][0]))
    first, high, low, close = (np.round(bars[name] * scale * GRID) / GRID for name in COLUMNS)
    mirrored = (256.0 - first, 256.0 - low, 256.0 - high, 256.0 - close)
    return dict(zip(COLUMNS, (first, high, low, close), strict=True)), dict(zip(COLUMNS, mirrored, strict=True))


def feature(bars, name, **params):
    spec = CATALOGUE[name]
    out = spec.apply([bars[column] for column in spec.inputs], params)
    return out if len(spec.outputs) > 1 else out[0]


def same(ours, theirs, lookback):
    """Check that a pattern is the other's from the bar on at which both look, and that it occurs."""
    assert np.isnan(ours[: lookback - 1]).all()
    assert np.isfinite(ours[lookback - 1 :]).all()
    np.testing.assert_array_equal(ours[lookback - 1 :], theirs[lookback - 1 :])
    assert np.count_nonzero(theirs) > 1


def of(bars):
    return [bars[name] for name in COLUMNS]


def make(*rows):
    """Return bars from rows of open, high, low and close."""
    return dict(zip(COLUMNS, np.array(rows, dtype=float).T.copy(), strict=True))


def test_candle_shape_is_shares_of_the_range(bars):
    body, upper, lower, location = feature(bars, "candle_shape")
    for i, (first, high, low, close) in enumerate(zip(*of(bars), strict=True)):
        reach = high - low
        if reach == 0.0:
            assert (body[i], upper[i], lower[i], location[i]) == (0.0, 0.0, 0.0, 0.5)
            continue
        expected = (close - first, high - max(first, close), min(first, close) - low, close - low)
        assert (body[i], upper[i], lower[i], location[i]) == tuple(part / reach for part in expected)
    moved = bars["high"] > bars["low"]
    np.testing.assert_allclose((np.abs(body) + upper + lower)[moved], 1.0, rtol=1e-12)


def test_candle_shape_by_hand():
    shape = feature(make((10, 14, 9, 12), (12, 12, 8, 8)), "candle_shape")
    np.testing.assert_array_equal(shape.T, [[0.4, 0.4, 0.2, 0.6], [-1.0, 0.0, 0.0, 0.0]])


def test_engulfing_is_talib_s(bars):
    # TA-Lib answers 80 where one end of the bodies is equal. It starts one bar later than it could.
    theirs = np.sign(talib.CDLENGULFING(*of(bars))).astype(float)
    ours = feature(bars, "engulfing")
    assert np.isnan(ours[0])
    np.testing.assert_array_equal(ours[2:], theirs[2:])
    assert (ours == 1.0).sum() > 5
    assert (ours == -1.0).sum() > 5


@pytest.mark.parametrize(
    ("before", "now", "expected"),
    [
        ((10.0, 9.0), (8.9, 10.1), 1.0),
        ((10.0, 9.0), (9.0, 10.1), 1.0),  # opens where the one before closed
        ((10.0, 9.0), (9.0, 10.0), 0.0),  # the same body is not more
        ((10.0, 9.0), (9.1, 10.5), 0.0),
        ((9.0, 10.0), (10.0, 8.9), -1.0),
        ((9.0, 9.0), (9.0, 8.9), -1.0),  # a bar that stood still did not fall
        ((9.0, 10.0), (8.0, 11.0), 0.0),  # both rose
    ],
)
def test_engulfing_by_hand(before, now, expected):
    first, close = np.array([before, now]).T.copy()
    assert feature({"open": first, "close": close}, "engulfing")[1] == expected


def test_hammer_is_talib_s(bars):
    hammer = feature(bars, "pin_bar", wick=1.0)[0]
    theirs = (talib.CDLHAMMER(*of(bars)) / 100).astype(float)
    assert np.isfinite(hammer[10])  # where TA-Lib does not look yet
    same(np.where(np.arange(N) < 11, math.nan, hammer), theirs, 12)


def test_shooting_star_is_a_hammer_upside_down(bars):
    straight, mirrored = on_grid(bars)
    for wick in (1.0, 2.0):
        np.testing.assert_array_equal(
            feature(straight, "pin_bar", wick=wick)[1], feature(mirrored, "pin_bar", wick=wick)[0]
        )
    star = feature(straight, "pin_bar", wick=1.0)[1]
    same(np.where(np.arange(N) < 11, math.nan, star), talib.CDLHAMMER(*of(mirrored)) / 100.0, 12)


def pattern_twin(bars, length, wick, stub, near):
    """Return hammers and shooting stars by their definition, from the whole history."""
    first, high, low, close = of(bars)
    n = close.size
    body, reach = np.abs(close - first), high - low
    roof, floor = np.maximum(first, close), np.minimum(first, close)
    hammer, star = np.full(n, math.nan), np.full(n, math.nan)
    for i in range(max(length, 6), n):
        small = body[i] < body[i - length : i].mean()
        limit, close_by = stub * reach[i - length : i].mean(), near * reach[i - 6 : i - 1].mean()
        upper, lower = high[i] - roof[i], floor[i] - low[i]
        hammer[i] = small and lower > wick * body[i] and upper < limit and floor[i] <= low[i - 1] + close_by
        star[i] = small and upper > wick * body[i] and lower < limit and roof[i] >= high[i - 1] - close_by
    return hammer, star


@pytest.mark.parametrize(("length", "wick", "stub", "near"), [(10, 2.0, 0.1, 0.2), (3, 1.0, 0.3, 1.0)])
def test_hammer_and_star_follow_their_parameters(bars, length, wick, stub, near):
    ours = feature(bars, "pin_bar", length=length, wick=wick, stub=stub, near=near)
    for row, theirs in zip(ours, pattern_twin(bars, length, wick, stub, near), strict=False):
        np.testing.assert_array_equal(np.isnan(row), np.isnan(theirs))
        # Where ten bars are all alike their mean may be off by a rounding, either way.
        assert (row != theirs)[~np.isnan(row)].mean() < 1e-3
        assert np.nansum(theirs) > 5


@pytest.mark.parametrize("tail", [0.5, 0.66, 0.8])
def test_pin_is_the_share_of_the_long_wick(bars, tail):
    pin = feature(bars, "pin_bar", tail=tail)[2]
    shape = feature(bars, "candle_shape")
    upper, lower = shape[1], shape[2]
    expected = np.where(upper > lower, np.where(upper >= tail, -upper, 0.0), np.where(lower >= tail, lower, 0.0))
    expected[upper == lower] = 0.0
    expected[:10] = math.nan
    np.testing.assert_array_equal(pin, expected)
    assert (pin > 0.0).sum() > 20
    assert (pin < 0.0).sum() > 20


def test_soldiers_are_talib_s(bars):
    same(np.maximum(feature(bars, "three_soldiers"), 0.0), talib.CDL3WHITESOLDIERS(*of(bars)) / 100.0, 13)


def test_crows_are_soldiers_upside_down(bars):
    straight, mirrored = on_grid(bars)
    ours = feature(straight, "three_soldiers")
    np.testing.assert_array_equal(ours, -feature(mirrored, "three_soldiers"))
    same(np.maximum(-ours, 0.0), talib.CDL3WHITESOLDIERS(*of(mirrored)) / 100.0, 13)


def test_where_bars_open_at_the_last_close_talib_sees_no_stars_and_no_crows(bars):
    first = np.concatenate([bars["close"][:1], bars["close"][:-1]])
    high, low = np.maximum(bars["high"], first), np.minimum(bars["low"], first)
    seamless = dict(zip(COLUMNS, (first, high, low, bars["close"]), strict=True))
    assert np.count_nonzero(talib.CDLSHOOTINGSTAR(*of(seamless))) == 0
    assert np.count_nonzero(talib.CDL3BLACKCROWS(*of(seamless))) == 0
    assert np.nansum(feature(seamless, "pin_bar")[1]) > 5
    assert np.count_nonzero(feature(seamless, "three_soldiers") == -1.0) > 5


def test_three_soldiers_by_hand():
    quiet = [(100.0, 101.0, 99.0, 100.0)] * 12
    march = [(100.0, 103.1, 100.0, 103.0), (103.0, 106.1, 103.0, 106.0), (106.0, 109.1, 106.0, 109.0)]
    assert feature(make(*quiet, *march), "three_soldiers")[-1] == 1.0
    wicked = [*march[:2], (106.0, 112.0, 106.0, 109.0)]
    assert feature(make(*quiet, *wicked), "three_soldiers")[-1] == 0.0
    down = [(100.0, 100.0, 96.9, 97.0), (97.0, 97.0, 93.9, 94.0), (94.0, 94.0, 90.9, 91.0)]
    assert feature(make(*quiet, *down), "three_soldiers")[-1] == -1.0


def test_hikkake_is_talib_s(bars):
    ours = feature(bars, "hikkake")
    same(ours, talib.CDLHIKKAKE(*of(bars)) / 100.0, 6)
    assert set(ours[5:]) == {-2.0, -1.0, 0.0, 1.0, 2.0}


def inside_twin(bars, max_bars):
    """Return inside bars, their number and breakouts by their definition, looking back from every bar."""
    high, low, close = bars["high"], bars["low"], bars["close"]
    n = close.size
    counts, out = np.zeros(n, dtype=int), np.full((3, n), math.nan)
    for i in range(n):
        for age in range(1, min(max_bars, i) + 1):
            if high[i - age] > high[i - age + 1 : i + 1].max() and low[i - age] < low[i - age + 1 : i + 1].min():
                counts[i] = age
        if i < max_bars + 1:
            continue
        out[0, i] = high[i] < high[i - 1] and low[i] > low[i - 1]
        out[1, i] = counts[i]
        mother = i - 1 - counts[i - 1]
        out[2, i] = 0.0 if mother == i - 1 else float(close[i] > high[mother]) - float(close[i] < low[mother])
    return out


@pytest.mark.parametrize("max_bars", [1, 3, 10, 40])
def test_inside_bars_are_those_within_their_mother(bars, max_bars):
    expected = inside_twin(bars, max_bars)
    np.testing.assert_array_equal(feature(bars, "inside_bar", max_bars=max_bars), expected)
    assert np.nanmax(expected[1]) == min(max_bars, np.nanmax(expected[1]))
    assert (expected[2] == 1.0).sum() > 5
    assert (expected[2] == -1.0).sum() > 5


def test_inside_bar_by_hand():
    wait = [(10.0, 11.0, 9.0, 10.0)] * 4
    inner = [(100.0, 120.0, 80.0, 100.0), (100.0, 110.0, 90.0, 100.0), (100.0, 112.0, 95.0, 100.0)]
    inside, count, breakout = feature(make(*wait, *inner, (100.0, 130.0, 99.0, 125.0)), "inside_bar", max_bars=3)
    assert np.isnan(inside[:4]).all()
    # The third is not inside the second, but still inside the mother; the fourth closes above the mother's high.
    np.testing.assert_array_equal(inside[4:], [0.0, 1.0, 0.0, 0.0])
    np.testing.assert_array_equal(count[4:], [0.0, 1.0, 2.0, 0.0])
    np.testing.assert_array_equal(breakout[4:], [0.0, 0.0, 0.0, 1.0])


@pytest.mark.parametrize("name", ["engulfing", "hikkake", "inside_bar", "pin_bar", "three_soldiers"])
def test_bars_that_are_all_alike_are_no_pattern(name):
    for row in ((100.0, 100.0, 100.0, 100.0), (100.0, 101.0, 99.3, 100.1)):
        out = np.atleast_2d(feature(make(*[row] * 60), name))
        out = out[:2] if name == "pin_bar" else out  # the pin is a share of each bar alone
        assert (out[:, 20:] == 0.0).all()
