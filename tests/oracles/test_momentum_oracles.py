"""Momentum features equal TA-Lib where it has them, and plain Python twins elsewhere."""

import math
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import talib

from research.features import CATALOGUE
from research.features.momentum import SPECS

N = 2_000
PAUSE = slice(700, 720)


@pytest.fixture(scope="module", params=[1.0, 1e-8, 1e7], ids=["near 100", "near 1e-6", "near 1e9"])
def bars(request):
    rng = np.random.default_rng(23)
    close = 100.0 * request.param * np.exp(np.cumsum(rng.normal(0.0, 2e-3, N)))
    close[PAUSE] = close[700]  # a market that stands still for a while
    reach = np.abs(rng.normal(0.0, 1e-3, N))
    before = np.concatenate([close[:1], close[:-1]])
    high, low = np.maximum(before, close) * (1.0 + reach), np.minimum(before, close) * (1.0 - reach)
    high[PAUSE] = low[PAUSE] = close[700]
    volume = rng.lognormal(2.0, 1.5, N)
    volume[PAUSE] = 0.0
    return {"close": close, "high": high, "low": low, "volume": volume}


def feature(bars, name, **params):
    spec = CATALOGUE[name]
    out = spec.apply([bars[column] for column in spec.inputs], params)
    return out if len(spec.outputs) > 1 else out[0]


def agree(ours, theirs, scale, rtol, but=None):
    """Hold two rows against each other, bars ``but`` left out."""
    theirs = np.asarray(theirs, dtype=float)
    np.testing.assert_array_equal(np.isnan(ours), np.isnan(theirs))
    seen = ~np.isnan(ours) if but is None else ~np.isnan(ours) & ~but
    assert seen.sum() > N // 2
    np.testing.assert_allclose(ours[seen], theirs[seen], rtol=0.0, atol=rtol * scale)


def near_100(bars):
    """Return prices near 100: TA-Lib takes small sums for none. To divide all by a power of two is exact."""
    unit = 2.0 ** round(math.log2(bars["close"][0] / 100.0))
    return {name: column if name == "volume" else column / unit for name, column in bars.items()}


def windows(values, length):
    """Return the last ``length`` values of every bar from the first that has so many."""
    return np.lib.stride_tricks.sliding_window_view(np.asarray(values), length)


def led(length, values):
    """Return values with the NaN of ``length - 1`` bars before them."""
    return np.concatenate([np.full(length - 1, math.nan), values])


def mean_of(values, length):
    """Return the mean of the last ``length`` values, NaN where one of them is."""
    return led(length, windows(values, length).mean(axis=1))


def still(bars, length, later=0):
    """Return the bars whose last ``length`` have one and the same price, and ``later`` bars after each."""
    highest, lowest = windows(bars["high"], length).max(axis=1), windows(bars["low"], length).min(axis=1)
    flat = led(length, (highest == lowest).astype(float)) == 1.0
    return np.convolve(flat, np.ones(later + 1))[:N] > 0.0


def typical(bars):
    return (bars["high"] + bars["low"] + bars["close"]) / 3.0


def at_one_price(n, price=3.0, volume=1.0):
    return {name: np.full(n, price) for name in ("high", "low", "close")} | {"volume": np.full(n, volume)}


@pytest.mark.parametrize(("fast_k", "slow_k", "slow_d"), [(14, 3, 3), (5, 1, 1), (40, 7, 5), (2, 1, 9)])
def test_stochastic_is_talib_s(bars, fast_k, slow_k, slow_d):
    ours = feature(bars, "stochastic", fast_k=fast_k, slow_k=slow_k, slow_d=slow_d)
    theirs = talib.STOCH(bars["high"], bars["low"], bars["close"], fast_k, slow_k, 0, slow_d, 0)
    # Where nothing moves TA-Lib takes 0 for the place in the range: those bars and those that average them.
    but = still(bars, fast_k, slow_k + slow_d - 2)
    for ours_row, theirs_row in zip(ours, theirs, strict=True):
        agree(ours_row, theirs_row, 100.0, 1e-11, but)  # a range is a thousandth of the price whose rounding it has


@pytest.mark.parametrize(("fast_k", "slow_k", "slow_d"), [(14, 3, 3), (1, 1, 1), (3, 20, 4)])
def test_stochastic_is_the_mean_place_in_the_range(bars, fast_k, slow_k, slow_d):
    top = led(fast_k, windows(bars["high"], fast_k).max(axis=1))
    bottom = led(fast_k, windows(bars["low"], fast_k).min(axis=1))
    with np.errstate(invalid="ignore"):
        place = np.where(top == bottom, 50.0, 100.0 * (bars["close"] - bottom) / (top - bottom))
    k = mean_of(place, slow_k)
    d = mean_of(k, slow_d)
    ours = feature(bars, "stochastic", fast_k=fast_k, slow_k=slow_k, slow_d=slow_d)
    agree(ours[0], np.where(np.isnan(d), math.nan, k), 100.0, 1e-13)
    agree(ours[1], d, 100.0, 1e-13)
    assert ((ours[:, ~np.isnan(d)] >= 0.0) & (ours[:, ~np.isnan(d)] <= 100.0)).all()


@pytest.mark.parametrize("length", [1, 2, 14, 100])
def test_williams_r_is_talib_s(bars, length):
    ours = feature(bars, "williams_r", length=length)
    if length == 1:  # TA-Lib refuses: the place in the bar's own range
        span = bars["high"] - bars["low"]
        theirs = -100.0 * np.divide(bars["high"] - bars["close"], span, out=np.full(N, 0.5), where=span > 0.0)
        agree(ours, theirs, 100.0, 1e-14)
        return
    theirs = talib.WILLR(bars["high"], bars["low"], bars["close"], length)
    agree(ours, theirs, 100.0, 1e-14, still(bars, length))


def test_a_market_that_stands_still_is_in_the_middle_of_its_range():
    flat = at_one_price(60)
    assert (feature(flat, "williams_r")[13:] == -50.0).all()
    assert (feature(flat, "stochastic")[:, 17:] == 50.0).all()
    assert (feature(flat, "stoch_rsi")[:, 31:] == 50.0).all()
    assert (talib.WILLR(flat["high"], flat["low"], flat["close"])[13:] == 0.0).all()  # what is not copied
    assert (talib.STOCH(flat["high"], flat["low"], flat["close"], 14)[0][17:] == 0.0).all()


@pytest.mark.parametrize(("close", "place"), [(7.0, 0.0), (1.0, 100.0), (9.0, 0.0), (0.5, 100.0)])
def test_a_close_outside_its_bar_widens_the_range(close, place):
    bar = {"high": np.array([7.0]), "low": np.array([1.0]), "close": np.array([close])}
    assert feature(bar, "williams_r", length=1)[0] == -place
    assert (feature(bar, "stochastic", fast_k=1, slow_k=1, slow_d=1)[:, 0] == 100.0 - place).all()


@pytest.mark.parametrize(("length", "stoch", "d"), [(14, 14, 3), (14, 5, 3), (5, 40, 1)])
def test_stoch_rsi_is_talib_s_where_k_is_not_smoothed(bars, length, stoch, d):
    # TA-Lib's STOCHRSI is the fast stochastic of the index: its fastk is our k with k=1 and its fastd our d. With k=3,
    # as charts have it, our k is their fastd of three, and the next test covers it.
    close = near_100(bars)["close"]
    ours = feature(bars, "stoch_rsi", length=length, stoch=stoch, k=1, d=d)
    theirs = talib.STOCHRSI(close, length, stoch, d, 0)
    # In the pause the index varies by its rounding alone, and TA-Lib's answer is where in it the newest lies.
    noise = still(bars, stoch, d - 1) | still(bars, 2, d - 1)
    for ours_row, theirs_row in zip(ours, theirs, strict=True):
        agree(ours_row, theirs_row, 100.0, 1e-9, noise)


@pytest.mark.parametrize(("length", "stoch", "k", "d"), [(14, 14, 3, 3), (3, 8, 1, 5), (14, 1, 2, 2)])
def test_stoch_rsi_is_the_mean_place_of_the_index_in_its_range(bars, length, stoch, k, d):
    index = talib.RSI(near_100(bars)["close"], length)
    top, bottom = led(stoch, windows(index, stoch).max(axis=1)), led(stoch, windows(index, stoch).min(axis=1))
    span = np.maximum(top - bottom, 0.01)  # a range that is less counts as one of 0.01 around its middle
    place = 50.0 + 100.0 * (index - 0.5 * (top + bottom)) / span
    means = mean_of(place, k)
    smooth = mean_of(means, d)
    ours = feature(bars, "stoch_rsi", length=length, stoch=stoch, k=k, d=d)
    agree(ours[0], np.where(np.isnan(smooth), math.nan, means), 100.0, 1e-9)
    agree(ours[1], smooth, 100.0, 1e-9)


@pytest.mark.parametrize("length", [2, 14, 100])
def test_mfi_is_talib_s(bars, length):
    near = near_100(bars)
    ours = feature(bars, "mfi", length=length)
    theirs = talib.MFI(near["high"], near["low"], near["close"], near["volume"], length)
    # Where nothing flowed TA-Lib answers 0; elsewhere its running sums carry the rounding of what has left them.
    agree(ours, theirs, 100.0, 1e-10, led(length, windows(typical_flow(near), length).max(axis=1)) == 0.0)


def typical_flow(bars):
    price = typical(bars)
    return np.where(np.diff(price, prepend=price[0]) == 0.0, 0.0, price * bars["volume"])


def test_mfi_is_the_share_of_flows_on_rises(bars):
    price, length = typical(bars), 9
    flows = [(0.0, 0.0)] + [
        (p * v if p > q else 0.0, p * v if p < q else 0.0)
        for q, p, v in zip(price[:-1], price[1:], bars["volume"][1:], strict=True)
    ]
    expected = [math.nan] * length
    for i in range(length, N):
        rise, fall = (math.fsum(side) for side in zip(*flows[i - length + 1 : i + 1], strict=True))
        expected.append(100.0 * rise / (rise + fall) if rise + fall else 50.0)
    agree(feature(bars, "mfi", length=length), expected, 100.0, 1e-14)


def test_mfi_takes_a_bar_at_an_unchanged_price_for_no_flow():
    close = np.array([4.0, 5.0, 5.0, 4.0])
    bars = {"high": close, "low": close, "close": close, "volume": np.array([9.0, 2.0, 7.0, 1.0])}
    assert feature(bars, "mfi", length=3)[3] == pytest.approx(100.0 * 10.0 / 14.0)


@pytest.mark.parametrize("per_unit", [10, 100])
@pytest.mark.parametrize("length", [3, 14])
def test_mfi_on_a_grid_of_ticks_is_that_of_exact_arithmetic(per_unit, length):
    rng = np.random.default_rng(per_unit)
    close = 2_000 + np.cumsum(rng.integers(-1, 2, N))
    high, low = close + rng.integers(0, 3, N), close - rng.integers(0, 3, N)
    volume = rng.integers(0, 1_000, N)
    bars = {"high": high / per_unit, "low": low / per_unit, "close": close / per_unit, "volume": volume * 1.0}
    ticks = [int(total) for total in high + low + close]  # three times the typical price, exactly
    ties = np.diff(ticks) == 0
    assert ties.sum() > N // 20
    assert (np.diff(typical(bars))[ties] != 0.0).sum() > 10  # rounding alone would take these for rises and falls
    expected = [math.nan] * length
    for i in range(length, N):
        steps = [(ticks[j] - ticks[j - 1], ticks[j] * int(volume[j])) for j in range(i - length + 1, i + 1)]
        rise, fall = sum(flow for step, flow in steps if step > 0), sum(flow for step, flow in steps if step < 0)
        expected.append(100.0 * rise / (rise + fall) if rise + fall else 50.0)
    ours = feature(bars, "mfi", length=length)
    agree(ours, expected, 100.0, 1e-14)
    theirs = talib.MFI(bars["high"], bars["low"], bars["close"], bars["volume"], length)
    agree(ours, theirs, 100.0, 1e-12, np.array(expected) == 50.0)  # where nothing flowed TA-Lib answers 0


def test_mfi_of_a_window_without_flow_is_neutral_to_the_bit():
    rng = np.random.default_rng(5)
    close = 100.0 + rng.normal(0.0, 1.0, 200)
    for volume in (1e-9, 0.1, 1e12):
        traded = np.where(
            np.arange(200) < 100, volume * rng.random(200), 0.0
        )  # flows, then none: what left is no trace
        ours = feature({"high": close, "low": close, "close": close, "volume": traded}, "mfi", length=14)
        assert (ours[113:] == 50.0).all()
        assert (np.abs(ours[14:110] - 50.0) > 0.0).all()


@pytest.mark.parametrize("length", [1, 10])
def test_roc_is_talib_s(bars, length):
    agree(feature(bars, "roc", length=length), talib.ROC(bars["close"], length), 1.0, 1e-15)


def test_roc_is_in_percent():
    np.testing.assert_allclose(feature({"close": np.array([4.0, 5.0, 6.0, 2.0])}, "roc", length=2)[2:], [50.0, -60.0])


@pytest.mark.parametrize("length", [3, 20, 101])
def test_cci_is_talib_s(bars, length):
    ours = feature(bars, "cci", length=length)
    theirs = talib.CCI(bars["high"], bars["low"], bars["close"], length)
    # A deviation is a thousandth of the price, or less in a window of three; where all prices are equal TA-Lib's mean
    # differs from them by its rounding.
    agree(ours, theirs, 100.0, 1e-9, still(bars, length))


@pytest.mark.parametrize("length", [2, 7, 20])
def test_cci_is_the_deviation_over_the_mean_deviation(bars, length):
    expected = [math.nan] * (length - 1)
    for window in windows(typical(bars), length):
        mean = window[-1] + math.fsum(window - window[-1]) / length
        deviation = math.fsum(abs(window - mean)) / length
        flat = window.min() == window.max()
        expected.append(0.0 if flat else (window[-1] - mean) / (0.015 * deviation))
    agree(feature(bars, "cci", length=length), expected, 100.0, 1e-9)


def test_cci_of_equal_prices_is_nothing_and_no_rounding():
    for price in (0.1, 3.3, 1e13 / 7.0):
        assert (feature(at_one_price(100, price), "cci", length=20)[19:] == 0.0).all()


@pytest.mark.parametrize("length", [1, 20])
def test_cmf_is_the_mean_place_in_the_bar_weighted_by_volume(bars, length):
    flows = [
        0.0 if h == low else v * (2.0 * (c - low) / (h - low) - 1.0)
        for h, low, c, v in zip(bars["high"], bars["low"], bars["close"], bars["volume"], strict=True)
    ]
    expected = [math.nan] * (length - 1)
    for flow, volume in zip(windows(flows, length), windows(bars["volume"], length), strict=True):
        traded = math.fsum(volume)
        expected.append(math.fsum(flow) / traded if traded else 0.0)
    agree(feature(bars, "cmf", length=length), expected, 1.0, 1e-11)


def test_cmf_of_closes_at_the_high_is_one():
    bar = {"high": np.full(9, 5.0), "low": np.full(9, 2.0), "close": np.full(9, 5.0), "volume": np.full(9, 0.3)}
    assert (feature(bar, "cmf", length=4)[3:] == 1.0).all()
    assert (feature(bar | {"close": np.full(9, 2.0)}, "cmf", length=4)[3:] == -1.0).all()
    assert (feature(bar | {"close": np.full(9, 3.5)}, "cmf", length=4)[3:] == 0.0).all()


def test_cmf_is_nothing_where_nothing_is_traded_after_much_was():
    volume = np.where(np.arange(80) < 40, 1e9 / 3.0, 0.0)
    rng = np.random.default_rng(1)
    close = 10.0 + rng.random(80)
    bars = {"high": close + 0.3, "low": close - 0.1, "close": close, "volume": volume}
    assert (feature(bars, "cmf", length=20)[59:] == 0.0).all()


@pytest.mark.parametrize(("slow", "fast", "signal"), [(25, 13, 13), (13, 25, 7), (3, 1, 1)])
def test_tsi_is_made_of_talib_s_averages(bars, slow, fast, signal):
    change = np.diff(near_100(bars)["close"], prepend=math.nan)

    def ema(values, length):
        return values if length == 1 else talib.EMA(values, length)  # TA-Lib takes no length of one

    index = 100.0 * ema(ema(change, slow), fast) / ema(ema(np.abs(change), slow), fast)
    line = ema(index, signal)
    ours = feature(bars, "tsi", slow=slow, fast=fast, signal=signal)
    # In a pause the short averages shrink by some 1e-6, and TA-Lib's rounding does not shrink with them.
    agree(ours[0], np.where(np.isnan(line), math.nan, index), 100.0, 1e-8)
    agree(ours[1], line, 100.0, 1e-8)


def test_tsi_of_one_direction_is_full_and_of_none_nothing():
    rising = {"close": np.cumsum(np.random.default_rng(2).random(400)) + 1.0}
    assert (feature(rising, "tsi")[:, 50:] == 100.0).all()
    assert (feature({"close": 500.0 - rising["close"]}, "tsi")[:, 50:] == -100.0).all()
    assert (feature(at_one_price(400), "tsi")[:, 50:] == 0.0).all()


KINDS = ("bullish", "bearish", "hidden_bullish", "hidden_bearish")


def pivots_of(values, left, right):
    """Return the bars whose value is above all ``left`` before and not below any of ``right`` after."""
    return [
        p
        for p in range(left, len(values) - right)
        if all(values[p] > v for v in values[p - left : p])
        and all(values[p] >= v for v in values[p + 1 : p + right + 1])
    ]


def divergences(bars, left, right, max_age, first, measure_change):
    """Return the eight rows by definition: pivots, their pairs, and a look back for the newest of each kind.

    ``first`` is the first bar that may confirm a pivot, ``measure_change(p, q)`` what the measure did from one pivot to
    the next.
    """
    n = len(bars["close"])
    strengths = np.zeros((4, n))
    for kind, values in ((0, -bars["low"]), (1, bars["high"])):
        known = [p for p in pivots_of(values, left, right) if p + right >= first]
        for p, q in pairwise(known):
            if q - p > max_age:
                continue
            towards = measure_change(p, q) * (-1.0 if kind == 0 else 1.0)  # up for highs, down for lows
            if values[q] > values[p] and towards < 0.0:
                strengths[kind, q + right] = -towards
            if values[q] < values[p] and towards > 0.0:
                strengths[kind + 2, q + right] = towards
    ages = np.empty((4, n))
    for kind in range(4):
        for i in range(n):
            since = [age for age in range(min(max_age, i + 1)) if strengths[kind, i - age] > 0.0]
            ages[kind, i] = since[0] if since else max_age
    rows = np.concatenate([strengths, ages])
    rows[:, :first] = math.nan
    return rows


def hold_divergences(ours, expected, rtol):
    for kind, ours_row, expected_row in zip(KINDS, ours[:4], expected[:4], strict=True):
        assert (expected_row > 0.0).sum() >= 3, kind
        agree(ours_row, expected_row, np.nanmax(expected_row), rtol)
    np.testing.assert_array_equal(ours[4:], expected[4:])


@pytest.mark.parametrize(
    ("length", "left", "right", "max_age"), [(14, 5, 5, 60), (5, 2, 4, 25), (9, 6, 1, 40), (3, 20, 2, 200)]
)
def test_rsi_divergence_is_price_beyond_a_pivot_that_the_index_does_not_pass(bars, length, left, right, max_age):
    close = bars["close"]

    def index(p):
        changes = np.diff(close[p - length : p + 1])
        way = math.fsum(abs(changes))
        return 100.0 * math.fsum(changes[changes > 0.0]) / way if way else 50.0

    expected = divergences(bars, left, right, max_age, right + max(left, length), lambda p, q: index(q) - index(p))
    ours = feature(bars, "rsi_divergence", length=length, left=left, right=right, max_age=max_age)
    hold_divergences(ours, expected, 1e-9)


@pytest.mark.parametrize(("left", "right", "max_age"), [(5, 5, 60), (2, 4, 25), (6, 1, 40), (20, 2, 200)])
def test_volume_divergence_is_price_beyond_a_pivot_against_net_volume(bars, left, right, max_age):
    obv = talib.OBV(bars["close"], bars["volume"])
    whole = np.cumsum(bars["volume"])

    def share(p, q):
        return (obv[q] - obv[p]) / (whole[q] - whole[p])

    expected = divergences(bars, left, right, max_age, left + right, share)
    # On-balance volume is thousands of bars long: its differences carry the rounding of all of them.
    hold_divergences(feature(bars, "volume_divergence", left=left, right=right, max_age=max_age), expected, 1e-9)


def two_dips(first, second, volume=None):
    """Return bars that fall fast to ``first``, recover, and fall by small steps to ``second``."""
    down, up = np.linspace(100.0, first, 6), np.linspace(first, 98.0, 7)[1:]
    steps = np.linspace(98.0, second, 9)[1:]
    zigzag = np.ravel(np.column_stack([steps, steps + 0.8]))[:-1]  # every step down is half taken back
    close = np.concatenate([np.full(4, 100.0), down, up, zigzag, np.linspace(second, 99.0, 8)[1:]])
    return {"high": close + 0.1, "low": close - 0.1, "close": close, "volume": np.ones(close.size)}


def test_a_lower_low_on_a_higher_index_is_bullish_once_the_low_is_confirmed():
    bars = two_dips(90.0, 89.5)
    low = int(np.argmin(bars["low"]))
    ours = feature(bars, "rsi_divergence", length=5, left=3, right=3, max_age=40)
    assert np.flatnonzero(ours[0] > 0.0).tolist() == [low + 3]
    # Five falls to the first dip are an index of 0; the five changes to the second are three falls of 1.8625 and two
    # rises of 0.8 between them, of which nothing shows before three bars later.
    step = (98.0 - 89.5) / 8.0 + 0.8
    assert ours[0, low + 3] == pytest.approx(100.0 * 1.6 / (1.6 + 3.0 * step))
    assert ours[4, low + 2 : low + 6].tolist() == [40.0, 0.0, 1.0, 2.0]
    assert np.nansum(ours[1:4]) == 0.0


def test_a_higher_high_on_a_lower_index_is_bearish():
    dips = two_dips(90.0, 89.5)
    mirrored = {"high": 200.0 - dips["low"], "low": 200.0 - dips["high"], "close": 200.0 - dips["close"]}
    ours, of_dips = (feature(b, "rsi_divergence", length=5, left=3, right=3, max_age=40) for b in (mirrored, dips))
    np.testing.assert_allclose(ours[[1, 0, 3, 2, 5, 4, 7, 6]], of_dips, rtol=0.0, atol=1e-9)
    assert (ours[1] > 0.0).sum() == 1


def test_pivots_further_apart_than_max_age_are_no_pair():
    bars = two_dips(90.0, 89.5)
    apart = int(np.argmin(bars["low"]) - np.argmin(bars["low"][:12]))
    for max_age, found in ((apart, 1), (apart - 1, 0)):
        ours = feature(bars, "rsi_divergence", length=5, left=3, right=3, max_age=max_age)
        assert (ours[0] > 0.0).sum() == found


def test_a_lower_low_after_net_buying_is_bullish():
    bars = two_dips(90.0, 89.5)
    low, older = int(np.argmin(bars["low"])), int(np.argmin(bars["low"][:12]))
    rises = np.concatenate([[False], np.diff(bars["close"]) > 0.0])
    bars["volume"] = np.where(rises, 3.0, 1.0)
    ours = feature(bars, "volume_divergence", left=3, right=3, max_age=40)
    bought = 3.0 * rises[older + 1 : low + 1].sum()
    sold = float((~rises[older + 1 : low + 1]).sum())
    assert np.flatnonzero(ours[0] > 0.0).tolist() == [low + 3]
    assert ours[0, low + 3] == (bought - sold) / (bought + sold)
    bars["volume"] = np.where(rises, 1.0, 3.0)  # sold on balance: price and volume agree
    assert np.nansum(feature(bars, "volume_divergence", left=3, right=3, max_age=40)[0]) == 0.0
    bars["volume"] = np.where(rises, 3.0, 1.0)
    bars["close"][low - 2] = bars["close"][low - 3]  # what is traded at an unchanged close is whole volume alone
    changes = np.sign(np.diff(bars["close"], prepend=100.0))[older + 1 : low + 1]
    traded = bars["volume"][older + 1 : low + 1]
    ours = feature(bars, "volume_divergence", left=3, right=3, max_age=40)
    assert (changes == 0.0).sum() == 1
    assert ours[0, low + 3] == (changes * traded).sum() / traded.sum()
    bars["volume"] = np.zeros(rises.size)  # nothing was traded: nothing can be said
    assert np.nansum(feature(bars, "volume_divergence", left=3, right=3, max_age=40)[:4]) == 0.0


def test_a_higher_low_after_net_selling_is_hidden_bullish():
    bars = two_dips(90.0, 91.0)
    low = bars["close"].size - 8
    rises = np.concatenate([[False], np.diff(bars["close"]) > 0.0])
    bars["volume"] = np.where(rises, 1.0, 3.0)
    ours = feature(bars, "volume_divergence", left=3, right=3, max_age=40)
    assert np.flatnonzero(ours[2] > 0.0).tolist() == [low + 3]
    assert ours[6, low + 3] == 0.0


def test_of_equal_lows_the_first_is_the_pivot():
    low = np.array([9.0, 8.0, 7.0, 7.0, 7.0, 8.0, 9.0, 8.0, 6.0, 6.0, 8.0, 9.0])
    assert pivots_of(-low, 2, 2) == [2, 8]
    bars = {"high": low + 4.0, "low": low, "close": low.copy()}
    both_fell = feature(bars, "rsi_divergence", length=2, left=2, right=2, max_age=20)
    assert np.nansum(both_fell[:4]) == 0.0  # the index is 0 at either
    bars["close"][8] = 9.0  # a fall by 1 and a rise by 1: 50
    ours = feature(bars, "rsi_divergence", length=2, left=2, right=2, max_age=20)
    assert np.flatnonzero(ours[0] > 0.0).tolist() == [10]
    assert ours[0, 10] == 50.0


def test_every_momentum_feature_has_an_oracle():
    sources = [file.read_text(encoding="utf-8") for file in Path(__file__).parent.glob("test_*_oracles.py")]
    assert [spec.name for spec in SPECS if not any(f'"{spec.name}"' in source for source in sources)] == []
