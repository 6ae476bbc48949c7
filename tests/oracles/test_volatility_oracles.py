"""Volatility features equal TA-Lib where it has them, and plain Python twins elsewhere."""

import math
import statistics
from itertools import pairwise

import numpy as np
import pytest
import scipy.stats
import talib

from research.features import CATALOGUE

N = 1_500
STILL = slice(700, 760)  # a market that stands still for a while
# Both sides round differently in sums of some hundred terms; each term is exact to 1.1e-16 of the price.
ROUNDING = 1e-12


@pytest.fixture(scope="module", params=[1.0, 1e-8, 1e7], ids=["near 100", "near 1e-6", "near 1e9"])
def bars(request):
    rng = np.random.default_rng(23)
    speed = 1e-3 * np.exp(np.sin(np.arange(N) / 60.0))
    close = 100.0 * request.param * np.exp(np.cumsum(rng.normal(0.0, 1.0, N) * speed))
    close[STILL] = close[STILL.start]
    first = np.concatenate([close[:1], close[:-1]]) * np.exp(rng.normal(0.0, 2e-4, N))
    first[STILL] = close[STILL.start]
    reach = np.abs(rng.normal(0.0, 0.5, (2, N)) * speed)
    reach[:, STILL] = 0.0
    high, low = np.maximum(first, close) * (1.0 + reach[0]), np.minimum(first, close) * (1.0 - reach[1])
    return {"open": first, "high": high, "low": low, "close": close}


def feature(bars, name, **params):
    spec = CATALOGUE[name]
    out = spec.apply([bars[column] for column in spec.inputs], params)
    return out if len(spec.outputs) > 1 else out[0]


def alike(n, first=100.0, high=101.0, low=99.5, close=100.5):
    """Return bars that are all the same."""
    return {"open": np.full(n, first), "high": np.full(n, high), "low": np.full(n, low), "close": np.full(n, close)}


def agree(ours, theirs, scale, rtol=ROUNDING):
    theirs = np.asarray(theirs, dtype=float)
    np.testing.assert_array_equal(np.isnan(ours), np.isnan(theirs))
    seen = ~np.isnan(ours)
    assert seen.sum() > N // 2
    np.testing.assert_allclose(ours[seen], theirs[seen], rtol=0.0, atol=rtol * scale)


def over_windows(function, *columns, length, first=0):
    """Return a function of the last ``length`` values of columns at every bar, NaN until there are so many."""
    n = len(columns[0])
    lists = [list(map(float, column)) for column in columns]
    return [
        function(*[values[i - length + 1 : i + 1] for values in lists]) if i - length + 1 >= first else math.nan
        for i in range(n)
    ]


def log_returns(close):
    return [math.nan] + [math.log(b / a) for a, b in pairwise(close)]


def true_ranges(bars):
    rows = zip(bars["high"][1:], bars["low"][1:], bars["close"][:-1], strict=True)
    return [math.nan] + [max(high - low, abs(high - before), abs(low - before)) for high, low, before in rows]


def mid_rank(values):
    """Return the share of the others that the last value is above, ties counted half."""
    *others, newest = values
    near = 1e-9 * newest
    return math.fsum(1.0 if x < newest - near else 0.5 if x <= newest + near else 0.0 for x in others) / len(others)


def test_true_range_is_talib_s(bars):
    ours = feature(bars, "true_range")
    np.testing.assert_array_equal(ours, talib.TRANGE(bars["high"], bars["low"], bars["close"]))
    np.testing.assert_array_equal(ours[1:], true_ranges(bars)[1:])


def test_true_range_passes_over_a_bar_that_cannot_be_read(bars):
    # Blocks of bars are looked at together: a gap in one must not touch the others, and the way is from the last close.
    gaps = [3, 255, 256, 900]
    holed = {name: column.copy() for name, column in bars.items()}
    holed["low"][gaps] = math.nan
    kept = np.setdiff1d(np.arange(N), gaps)
    ours = feature(holed, "true_range")
    assert np.isnan(ours[gaps]).all()
    np.testing.assert_array_equal(ours[kept], true_ranges({name: column[kept] for name, column in bars.items()}))


@pytest.mark.parametrize("length", [1, 2, 14, 100])
def test_atr_is_talib_s_bar_by_bar_and_across_gaps(bars, length):
    high, low, close = (bars[name] for name in ("high", "low", "close"))
    expected = talib.ATR(high, low, close, length)
    agree(feature(bars, "atr", length=length), expected, high.max())
    spec, gap = CATALOGUE["atr"], np.array([math.nan])
    state, ours = spec.initial_state((length,)), []
    for i in range(N):  # four bars are taken together, but for a gap, or when they come one by one
        if i % 7 == 0:
            assert np.isnan(spec.run([gap, gap, gap], (length,), state)).all()
        ours.append(spec.run([high[i : i + 1], low[i : i + 1], close[i : i + 1]], (length,), state)[0, 0])
    agree(np.array(ours), expected, high.max())


@pytest.mark.parametrize(("length", "window"), [(14, 100), (1, 2), (5, 30)])
def test_atr_percentile_is_the_rank_of_the_mean_true_range(bars, length, window):
    means = over_windows(lambda w: math.fsum(w) / length, true_ranges(bars), length=length, first=1)
    expected = over_windows(mid_rank, means, length=window, first=length)
    agree(feature(bars, "atr_percentile", length=length, window=window), expected, 1.0)


def test_atr_percentile_of_bars_that_are_all_alike_is_neutral():
    # Averages of 1.3 are not all the same to the bit: their order would be that of their rounding.
    ranks = feature(alike(400, high=101.1, low=99.8), "atr_percentile")
    assert (ranks[114:] == 0.5).all()


def test_atr_percentile_of_a_market_that_wakes_up_is_one_and_dying_down_is_zero():
    n = 300
    sizes = np.concatenate([np.linspace(1.0, 2.0, n), np.linspace(2.0, 1.0, n)])
    bars = {"high": 100.0 + sizes, "low": 100.0 - sizes, "close": np.full(2 * n, 100.0)}
    ranks = feature(bars, "atr_percentile")
    assert (ranks[120:n] == 1.0).all()
    assert (ranks[-150:] == 0.0).all()


@pytest.mark.parametrize(("length", "factor"), [(20, 2.0), (2, 1.0), (100, 2.5)])
def test_bollinger_is_mean_and_population_deviation(bars, length, factor):
    close = bars["close"]
    upper, middle, lower, width, percent_b = feature(bars, "bollinger", length=length, factor=factor)
    means = np.array(over_windows(statistics.fmean, close, length=length))
    deviations = np.array(over_windows(statistics.pstdev, close, length=length))
    agree(upper, means + factor * deviations, close.max())
    agree(middle, means, close.max())
    agree(lower, means - factor * deviations, close.max())
    agree(width, 2.0 * factor * deviations / means, 1.0)
    flat = deviations == 0.0
    spread = np.where(flat, 1.0, 2.0 * factor * deviations)
    # Relative to the deviation, a thousandth of the price, the rounding of a price is some thousand times larger.
    agree(percent_b, np.where(flat, 0.5, (close - means + factor * deviations) / spread), 1.0, 1e-9)
    assert (percent_b[STILL][length:] == 0.5).all()
    assert (width[STILL][length:] == 0.0).all()


def test_bollinger_is_talib_s(bars):
    close = bars["close"]
    bands = talib.BBANDS(close, 20, 2.0, 2.0)
    # TA-Lib takes the deviation from the mean of squares: half of the digits of the price are lost, all in a pause.
    for ours, theirs in zip(feature(bars, "bollinger")[:3], bands, strict=True):
        agree(ours, theirs, close.max(), 1e-7)


def test_bollinger_by_hand():
    bands = feature({"close": np.array([2.0, 4.0, 4.0, 4.0, 5.0, 5.0, 7.0, 9.0])}, "bollinger", length=8, factor=1.0)
    np.testing.assert_allclose(bands[:, -1], [7.0, 5.0, 3.0, 0.8, 1.5], rtol=1e-15)


@pytest.mark.parametrize("length", [2, 20, 150])
def test_donchian_is_talib_s_max_and_min(bars, length):
    upper, lower, middle, position = feature(bars, "donchian", length=length)
    highest, lowest = talib.MAX(bars["high"], length), talib.MIN(bars["low"], length)
    np.testing.assert_array_equal(upper, highest)
    np.testing.assert_array_equal(lower, lowest)
    agree(middle, (highest + lowest) / 2.0, bars["high"].max())
    flat = highest == lowest
    height = np.where(flat, 1.0, highest - lowest)
    agree(position, np.where(flat, 0.5, (bars["close"] - lowest) / height), 1.0)
    assert np.nanmin(position) >= 0.0
    assert np.nanmax(position) <= 1.0


@pytest.mark.parametrize(("length", "atr_length", "factor"), [(20, 10, 2.0), (3, 30, 1.5), (50, 1, 1.0)])
def test_keltner_is_talib_s_ema_and_atr(bars, length, atr_length, factor):
    close = bars["close"]
    upper, middle, lower, position = feature(bars, "keltner", length=length, atr_length=atr_length, factor=factor)
    atr = talib.ATR(bars["high"], bars["low"], close, atr_length)
    ema = np.where(np.isnan(atr), math.nan, talib.EMA(close, length))
    atr = np.where(np.isnan(ema), math.nan, atr)
    agree(upper, ema + factor * atr, close.max())
    agree(middle, ema, close.max())
    agree(lower, ema - factor * atr, close.max())
    expected = 0.5 + (close - ema) / (2.0 * factor * np.maximum(atr, 1e-6 * close))
    # The rounding of the price, in units of a range that may be a millionth of it.
    agree(position, expected, 1.0, 1e-8)


def test_keltner_of_a_market_that_never_moved_is_neutral():
    assert (feature(alike(100, high=100.5, low=100.5), "keltner")[3, 20:] == 0.5).all()


@pytest.mark.parametrize(
    ("length", "factor", "channel_length", "channel_factor", "max_bars"),
    [(20, 2.0, 20, 1.5, 50), (20, 1.0, 10, 1.0, 4), (8, 1.5, 25, 1.5, 1_000)],
)
def test_squeeze_is_bands_within_the_channel(bars, length, factor, channel_length, channel_factor, max_bars):
    high, low, close = (bars[name] for name in ("high", "low", "close"))
    on, lasted, momentum, strength = feature(
        bars, "squeeze", length=length, factor=factor, channel_length=channel_length, channel_factor=channel_factor,
        max_bars=max_bars,
    )  # fmt: skip
    mean = np.array(over_windows(statistics.fmean, close, length=length))
    reach = factor * np.array(over_windows(statistics.pstdev, close, length=length))
    middle = np.array(over_windows(statistics.fmean, close, length=channel_length))
    ranges = np.array(over_windows(statistics.fmean, true_ranges(bars), length=channel_length, first=1))
    within = (mean + reach < middle + channel_factor * ranges) & (mean - reach > middle - channel_factor * ranges)
    within &= ranges > 0.0  # where nothing moves neither has a height, and whatever is left is rounding
    count, expected_lasted = 0, []
    for inside in within:
        count = min(count + 1, max_bars) if inside else 0
        expected_lasted.append(float(count))
    highest, lowest = talib.MAX(high, channel_length), talib.MIN(low, channel_length)
    distance = close - ((highest + lowest) / 2.0 + middle) / 2.0
    start = channel_length - 1
    line = np.concatenate([np.full(start, math.nan), talib.LINEARREG(distance[start:], channel_length)])
    unknown = np.isnan(line + mean + ranges)
    agree(momentum, np.where(unknown, math.nan, line), close.max())
    agree(strength, np.where(unknown, math.nan, line / np.maximum(ranges, 1e-6 * close)), 1.0, 1e-8)
    agree(on, np.where(unknown, math.nan, within), 0.0)
    agree(lasted, np.where(unknown, math.nan, expected_lasted), 0.0)
    assert 20 < within.sum() < N - 20


def test_a_squeeze_sets_in_when_closes_come_together_and_ends_with_the_break():
    calm, jump = 60, 40
    close = 100.0 + np.concatenate([0.01 * (-1.0) ** np.arange(calm), 3.0 * np.arange(1, jump + 1)])
    bars = {"high": close + 0.5, "low": close - 0.5, "close": close}
    on, lasted, momentum, strength = feature(bars, "squeeze", max_bars=30)
    assert (on[38:calm] == 1.0).all()
    np.testing.assert_array_equal(lasted[38:calm], np.minimum(np.arange(38, calm) - 19, 30))
    assert (on[calm + 3 :] == 0.0).all()
    assert (lasted[calm + 3 :] == 0.0).all()
    assert (momentum[calm + 3 :] > 0.0).all()
    assert (strength[calm + 3 :] > 1.0).all()


def test_a_squeeze_in_a_market_that_never_moved_is_none():
    np.testing.assert_array_equal(feature(alike(80, high=100.5, low=100.5), "squeeze")[:, 38:], 0.0)


@pytest.mark.parametrize("length", [1, 20])
def test_garman_klass_is_range_less_body(bars, length):
    terms = [
        0.5 * math.log(h / low) ** 2 - (2.0 * math.log(2.0) - 1.0) * math.log(c / o) ** 2
        for o, h, low, c in zip(*(bars[name] for name in ("open", "high", "low", "close")), strict=True)
    ]
    expected = over_windows(lambda w: math.sqrt(math.fsum(w) / length), terms, length=length)
    # A single bar that is all body leaves the difference of two squares, and the root of its rounding.
    agree(feature(bars, "garman_klass", length=length), expected, 1e-3, 1e-10)


def rogers_satchell_terms(bars):
    return [
        math.log(h / o) * math.log(h / c) + math.log(low / o) * math.log(low / c)
        for o, h, low, c in zip(*(bars[name] for name in ("open", "high", "low", "close")), strict=True)
    ]


@pytest.mark.parametrize("length", [1, 20])
def test_rogers_satchell_is_the_mean_of_two_products(bars, length):
    terms = rogers_satchell_terms(bars)
    expected = over_windows(lambda w: math.sqrt(math.fsum(w) / length), terms, length=length)
    # The logarithm of a wick is exact to 1e-16: of a wick of 1e-7 one part in 1e9.
    agree(feature(bars, "rogers_satchell", length=length), expected, 1e-3, 1e-9)


@pytest.mark.parametrize("length", [2, 20])
def test_yang_zhang_is_gaps_and_bodies_and_bars(bars, length):
    gaps = [math.nan] + [math.log(o / c) for c, o in zip(bars["close"][:-1], bars["open"][1:], strict=True)]
    bodies = np.log(bars["close"] / bars["open"])
    k = 0.34 / (1.34 + (length + 1) / (length - 1))

    def value(gaps, bodies, terms):
        bar = math.fsum(terms) / length
        return math.sqrt(statistics.variance(gaps) + k * statistics.variance(bodies) + (1.0 - k) * bar)

    expected = over_windows(value, gaps, bodies, rogers_satchell_terms(bars), length=length, first=1)
    agree(feature(bars, "yang_zhang", length=length), expected, 1e-3, 1e-9)


@pytest.mark.parametrize("name", ["garman_klass", "rogers_satchell", "yang_zhang", "parkinson"])
def test_the_estimators_find_the_deviation_that_bars_were_made_with(name):
    # Bars of 400 steps each: what happens between steps is not seen, and ranges read a few percent low.
    rng, sigma, steps = np.random.default_rng(4), 0.01, 400
    path = np.cumsum(rng.normal(0.0, sigma / math.sqrt(steps), (3_000, steps)).ravel()).reshape(3_000, steps)
    first = np.concatenate([[0.0], path[:-1, -1]])
    columns = {
        "open": first, "high": np.maximum(path.max(axis=1), first), "low": np.minimum(path.min(axis=1), first),
        "close": path[:, -1],
    }  # fmt: skip
    found = feature({key: 100.0 * np.exp(column) for key, column in columns.items()}, name, length=2_500)[-1]
    assert 0.90 * sigma < found < 1.02 * sigma


@pytest.mark.parametrize("name", ["garman_klass", "rogers_satchell", "yang_zhang", "volatility"])
def test_the_estimators_of_a_market_that_never_moved_are_zero(name):
    still = alike(100, first=100.5, high=100.5, low=100.5)
    assert (feature(still, name)[50:] == 0.0).all()


@pytest.mark.parametrize("length", [3, 48])
def test_realised_moments_are_scipy_s(bars, length):
    returns = log_returns(bars["close"])

    def shape(measure):
        return over_windows(lambda w: measure(w) if len(set(w)) > 1 else 0.0, returns, length=length, first=1)

    skew, kurtosis = feature(bars, "realised_moments", length=length)
    # Three returns may be nearly equal: what is left of their differences is as uncertain as their rounding.
    agree(skew, shape(scipy.stats.skew), 1.0, 1e-8)
    agree(kurtosis, shape(scipy.stats.kurtosis), 1.0, 1e-8)
    assert (skew[STILL][length:] == 0.0).all()
    assert (kurtosis[STILL][length:] == 0.0).all()


def test_realised_moments_of_one_fall_are_at_their_bounds():
    close = np.concatenate([np.full(30, 100.0), np.full(30, 90.0)])
    skew, kurtosis = feature({"close": close}, "realised_moments", length=20)
    np.testing.assert_allclose(skew[30:50], -18.0 / math.sqrt(19.0), rtol=1e-12)
    np.testing.assert_allclose(kurtosis[30:50], 15.0 + 1.0 / 19.0, rtol=1e-12)
    assert (skew[50:] == 0.0).all()


@pytest.mark.parametrize(("length", "window"), [(20, 100), (2, 2), (5, 30)])
def test_volatility_percentile_is_the_rank_of_the_deviation(bars, length, window):
    variances = over_windows(statistics.variance, log_returns(bars["close"]), length=length, first=1)
    expected = over_windows(mid_rank, variances, length=window, first=length)
    agree(feature(bars, "volatility_percentile", length=length, window=window), expected, 1.0)


def test_volatility_percentile_where_every_return_is_the_same_is_neutral():
    # The logarithms of 1.001 differ in their last digit, and the deviation of that means nothing.
    ranks = feature({"close": 100.0 * 1.001 ** np.arange(400.0)}, "volatility_percentile")
    assert (ranks[120:] == 0.5).all()
