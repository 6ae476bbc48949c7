"""Trend features equal TA-Lib where it has them, plain Python twins elsewhere, and what a human can see."""

import math
import statistics
from itertools import pairwise

import numpy as np
import pytest
import talib

from research.features import CATALOGUE

N = 2_000
STILL = slice(700, 740)  # where the market of the fixture does not move
# Both sides round differently in sums of some hundred terms; each term is exact to 1.1e-16 of the price.
ROUNDING = 1e-12


@pytest.fixture(scope="module", params=[1.0, 1e-8, 1e7], ids=["near 100", "near 1e-6", "near 1e9"])
def bars(request):
    rng = np.random.default_rng(19)
    close = 100.0 * request.param * np.exp(np.cumsum(rng.normal(0.0, 2e-3, N)))
    close[STILL] = close[STILL.start]
    reach = np.abs(rng.normal(0.0, 1e-3, N))
    reach[STILL] = 0.0
    before = np.concatenate([close[:1], close[:-1]])
    volume = rng.lognormal(2.0, 1.5, N)
    volume[STILL] = 0.0
    return {
        "close": close, "high": np.maximum(before, close) * (1 + reach),
        "low": np.minimum(before, close) * (1 - reach), "volume": volume,
    }  # fmt: skip


def feature(bars, name, **params):
    spec = CATALOGUE[name]
    out = spec.apply([bars[column] for column in spec.inputs], params)
    return out if len(spec.outputs) > 1 else out[0]


def agree(ours, theirs, scale, rtol=ROUNDING):
    theirs = np.asarray(theirs, dtype=float)
    np.testing.assert_array_equal(np.isnan(ours), np.isnan(theirs))
    seen = ~np.isnan(ours)
    assert seen.sum() > seen.size // 3
    np.testing.assert_allclose(ours[seen], theirs[seen], rtol=0.0, atol=rtol * scale)


def before(bars, end):
    return {name: column[:end].copy() for name, column in bars.items()}


def near_100(bars):
    """Return the market quoted near 100, and the unit: dividing by a power of two is exact."""
    unit = 2.0 ** round(math.log2(bars["close"][0] / 100.0))
    return bars["high"] / unit, bars["low"] / unit, bars["close"] / unit


def over_windows(function, length, *columns):
    """Apply a function to the last ``length`` values of each column at every bar, NaN before there are so many."""
    return [
        math.nan if i + 1 < length else function(*(list(column[i + 1 - length : i + 1]) for column in columns))
        for i in range(len(columns[0]))
    ]


def weighted_mean(window):
    return math.fsum((i + 1) * x for i, x in enumerate(window)) / math.fsum(range(1, len(window) + 1))


def middle(highs, lows):
    return (max(highs) + min(lows)) / 2


def straightness(window):
    gone = math.fsum(abs(b - a) for a, b in pairwise(window))
    return abs(window[-1] - window[0]) / gone if gone else math.nan


@pytest.mark.parametrize("length", [2, 7, 20, 301])
@pytest.mark.parametrize("name", ["sma", "wma"])
def test_plain_and_weighted_means_are_talib_s(bars, name, length):
    theirs = getattr(talib, name.upper())(bars["close"], length)
    agree(feature(bars, name, length=length), theirs, bars["close"].max())


@pytest.mark.parametrize("length", [1, 2, 7, 20])
def test_plain_and_weighted_means_are_the_definition_s(bars, length):
    agree(feature(bars, "sma", length=length), over_windows(statistics.fmean, length, bars["close"]),
          bars["close"].max(), 1e-15)  # fmt: skip
    agree(feature(bars, "wma", length=length), over_windows(weighted_mean, length, bars["close"]),
          bars["close"].max(), 1e-15)  # fmt: skip


def test_means_that_a_human_can_see():
    ladder = {"close": np.array([1.0, 2.0, 3.0, 4.0, 8.0]), "volume": np.array([1.0, 0.0, 3.0, 0.0, 0.0])}
    np.testing.assert_allclose(feature(ladder, "sma", length=3)[2:], [2.0, 3.0, 5.0], rtol=1e-15)
    np.testing.assert_allclose(feature(ladder, "wma", length=3)[2:], [14 / 6, 20 / 6, 35 / 6], rtol=1e-15)
    # Bars 2 to 4 traded only at 3; bars 4 and 5 not at all: their plain mean.
    np.testing.assert_allclose(feature(ladder, "vwma", length=3)[2:], [10 / 4, 3.0, 3.0], rtol=1e-15)
    np.testing.assert_allclose(feature(ladder, "vwma", length=2)[1:], [1.0, 3.0, 3.0, 6.0], rtol=1e-15)


@pytest.mark.parametrize("name", ["sma", "wma", "vwma", "hull_ma", "dema", "tema", "kama"])
def test_an_average_of_equal_closes_is_that_close_to_the_bit(name):
    still = {"close": np.full(200, 0.1), "volume": np.full(200, 0.3)}
    ours = feature(still, name, length=7)
    late = ours[100:] if name in ("dema", "tema") else ours[~np.isnan(ours)]  # the sum of a seed may round
    assert late.size >= 100
    assert (late == 0.1).all()


@pytest.mark.parametrize("name", ["sma", "wma", "vwma", "hull_ma"])
def test_a_price_that_left_the_window_leaves_no_trace(bars, name):
    spiked = before(bars, 400)
    spiked["close"][100] *= 1e14
    ours, calm = feature(spiked, name), feature(before(bars, 400), name)
    assert abs(ours[110] / calm[110]) > 1e6
    np.testing.assert_allclose(ours[150:], calm[150:], rtol=1e-15)


@pytest.mark.parametrize("length", [2, 14, 50])
def test_vwma_is_talib_s_while_there_are_trades(bars, length):
    trading = before(bars, STILL.start)
    theirs = talib.VWMA(trading["close"], trading["volume"], length)
    agree(feature(trading, "vwma", length=length), theirs, trading["close"].max())


@pytest.mark.parametrize("length", [1, 3, 14])
def test_vwma_is_the_mean_by_volume_and_the_plain_mean_without_any(bars, length):
    def by_volume(closes, volumes):
        if not any(volumes):
            return statistics.fmean(closes)
        return math.fsum(c * v for c, v in zip(closes, volumes, strict=True)) / math.fsum(volumes)

    expected = over_windows(by_volume, length, bars["close"], bars["volume"])
    agree(feature(bars, "vwma", length=length), expected, bars["close"].max(), 1e-14)


@pytest.mark.parametrize("length", [2, 4, 5, 20, 100])
def test_hull_ma_is_talib_s_where_both_round_the_root_alike(bars, length):
    assert math.isqrt(length) == math.floor(math.sqrt(length) + 0.5)
    agree(feature(bars, "hull_ma", length=length), talib.HMA(bars["close"], length), bars["close"].max())


@pytest.mark.parametrize(("length", "root"), [(2, 1), (3, 2), (8, 3), (14, 4), (20, 4), (21, 5)])
def test_hull_ma_is_three_weighted_means(bars, length, root):
    fast = over_windows(weighted_mean, length // 2, bars["close"])
    slow = over_windows(weighted_mean, length, bars["close"])
    ahead = [2 * a - b for a, b in zip(fast, slow, strict=True)]
    expected = over_windows(weighted_mean, root, ahead)  # NaN in a window makes the whole of it NaN
    agree(feature(bars, "hull_ma", length=length), expected, bars["close"].max(), 1e-14)


@pytest.mark.parametrize("length", [1, 2, 14, 200])
@pytest.mark.parametrize("name", ["ema", "dema", "tema"])
def test_exponential_means_are_talib_s(bars, name, length):
    # TA-Lib begins each average of an average with the plain mean of the first ``length`` there are, as we do.
    theirs = bars["close"] if length == 1 else getattr(talib, name.upper())(bars["close"], length)
    agree(feature(bars, name, length=length), theirs, bars["close"].max())


def test_dema_has_no_lag_on_a_line_nor_tema_on_a_parabola():
    time = np.arange(1_000.0)
    line, parabola = 50.0 + 0.25 * time, 50.0 + 1e-3 * time**2
    assert feature({"close": line}, "ema")[-1] == pytest.approx(line[-1] - 0.25 * 19 / 2, rel=1e-12)
    assert feature({"close": line}, "dema")[-1] == pytest.approx(line[-1], rel=1e-13)
    assert feature({"close": parabola}, "dema")[-1] < parabola[-1] - 0.1
    assert feature({"close": parabola}, "tema")[-1] == pytest.approx(parabola[-1], rel=1e-13)


@pytest.mark.parametrize(("fast", "slow", "signal"), [(12, 26, 9), (3, 10, 16), (5, 35, 1), (26, 12, 9)])
def test_macd_is_talib_s(bars, fast, slow, signal):
    ours = feature(bars, "macd", fast=fast, slow=slow, signal=signal)
    theirs = talib.MACD(bars["close"], fast, slow, signal)  # swaps the lengths where the fast one is longer
    sign = -1.0 if fast > slow else 1.0
    for ours_row, theirs_row in zip(ours, theirs, strict=True):
        agree(sign * ours_row, theirs_row, bars["close"].max())


def test_macd_s_histogram_is_line_less_signal(bars):
    line, signal, histogram = feature(bars, "macd")
    agree(histogram, line - signal, bars["close"].max())


def test_ema_spread_is_ema_less_ema_over_atr(bars):
    fast, slow = talib.EMA(bars["close"], 12), talib.EMA(bars["close"], 48)
    atr = talib.ATR(bars["high"], bars["low"], bars["close"], 14)
    # The spread is a difference of prices in units of their range: some thousand times their rounding.
    agree(feature(bars, "ema_spread"), (fast - slow) / np.maximum(atr, 1e-6 * bars["close"]), 1.0, 1e-9)


def test_ema_ribbon_is_five_averages_side_by_side(bars):
    lengths = (8, 13, 21, 34, 55)
    averages = np.array([talib.EMA(bars["close"], length) for length in lengths])
    averages[:, :55] = math.nan  # the change of the mean needs all five a bar ago
    order, spread, slope = feature(bars, "ema_ribbon")
    agree(order, np.sign(averages[:-1] - averages[1:]).sum(axis=0) / 4, 1.0)
    agree(spread, averages[0] / averages[-1] - 1.0, 1.0)
    mean = np.mean([talib.EMA(bars["close"], length) for length in lengths], axis=0)
    agree(slope, np.concatenate([[math.nan], mean[1:] / mean[:-1] - 1.0]), 1.0)


def test_ema_ribbon_takes_its_lengths_by_name():
    close = np.exp(np.cumsum(np.random.default_rng(2).normal(0.0, 1e-3, 300)))
    lengths = {"first": 5, "second": 3, "third": 9, "fourth": 4, "fifth": 2}
    averages = np.array([talib.EMA(close, length) for length in lengths.values()])
    averages[:, :9] = math.nan
    order, spread, _ = feature({"close": close}, "ema_ribbon", **lengths)
    agree(order, np.sign(averages[:-1] - averages[1:]).sum(axis=0) / 4, 1.0)
    agree(spread, averages[0] / averages[-1] - 1.0, 1.0)


def test_ema_ribbon_tells_up_from_down_and_from_nothing():
    up = np.exp(1e-3 * np.arange(600.0))
    assert (feature({"close": up}, "ema_ribbon")[0, 55:] == 1.0).all()
    assert (feature({"close": up[::-1]}, "ema_ribbon")[0, 55:] == -1.0).all()
    assert feature({"close": up}, "ema_ribbon")[2, -1] == pytest.approx(math.expm1(1e-3), rel=1e-9)
    assert (feature({"close": np.full(400, 0.1)}, "ema_ribbon")[:, 300:] == 0.0).all()
    halted = np.concatenate([up, np.full(2_000, up[-1])])
    assert (feature({"close": halted}, "ema_ribbon")[0, -100:] == 0.0).all()


@pytest.mark.parametrize("length", [2, 20])
def test_efficiency_is_the_way_made_over_the_way_gone(bars, length):
    ratio = over_windows(straightness, length + 1, bars["close"])
    expected = [0.0 if i >= length and math.isnan(x) else x for i, x in enumerate(ratio)]
    agree(feature(bars, "efficiency", length=length), expected, 1.0)


@pytest.mark.parametrize("length", [2, 20])
def test_efficiency_is_talib_s_while_the_market_moves(bars, length):
    moving = before(bars, STILL.start)
    # TA-Lib carries the rounding of its running sum of changes.
    agree(feature(moving, "efficiency", length=length), talib.ER(moving["close"], length), 1.0, 1e-10)


@pytest.mark.parametrize("length", [2, 10, 55])
def test_kama_is_talib_s_while_the_market_moves(bars, length):
    # In a market that stands still TA-Lib's running sum of changes leaves a rounding that it may take for a change.
    moving = before(bars, STILL.start)
    agree(feature(moving, "kama", length=length), talib.KAMA(moving["close"], length), moving["close"].max())


@pytest.mark.parametrize(("length", "fast", "slow"), [(10, 2, 30), (4, 5, 9), (3, 30, 2), (1, 2, 30)])
def test_kama_weighs_by_the_efficiency_squared(bars, length, fast, slow):
    ratios = over_windows(straightness, length + 1, bars["close"])
    expected, average = [], math.nan
    for i, (price, ratio) in enumerate(zip(bars["close"], ratios, strict=True)):
        if i >= length:
            ratio = 1.0 if math.isnan(ratio) else ratio  # nothing moved: straight
            average = bars["close"][i - 1] if i == length else average
            weight = ratio * 2 / (fast + 1) + (1 - ratio) * 2 / (slow + 1)
            average = weight**2 * price + (1 - weight**2) * average
        expected.append(average)
    agree(feature(bars, "kama", length=length, fast=fast, slow=slow), expected, bars["close"].max())


def test_kama_goes_fast_where_prices_run_straight_and_hardly_where_they_alternate():
    straight = np.concatenate([np.full(20, 100.0), 100.0 + np.arange(1.0, 41.0)])
    # Weight 4/9 throughout: the average trails a line by (1 - 4/9) / (4/9) steps.
    assert feature({"close": straight}, "kama")[-1] == pytest.approx(straight[-1] - 1.25, abs=1e-6)
    alternating = np.concatenate([np.full(20, 100.0), np.tile([101.0, 102.0], 10)])
    late = feature({"close": alternating}, "kama")[30:]
    assert np.abs(np.diff(late)).max() < 2 * (2 / 31) ** 2


@pytest.mark.parametrize("length", [2, 14, 50])
def test_adx_and_its_indicators_are_talib_s(bars, length):
    # TA-Lib calls a sum below 1e-14 none: it is asked about the same market quoted near 100.
    high, low, close = near_100(bars)
    ours = feature(bars, "adx", length=length)
    agree(ours[0], talib.ADX(high, low, close, length), 100.0)
    # PLUS_DI and MINUS_DI have the seeds that the index has, and answer ``length - 1`` bars before it.
    for row, theirs in ((1, talib.PLUS_DI(high, low, close, length)), (2, talib.MINUS_DI(high, low, close, length))):
        assert np.flatnonzero(~np.isnan(theirs))[0] == length
        theirs[: 2 * length - 1] = math.nan
        agree(ours[row], theirs, 100.0)


def test_adx_of_a_market_that_only_rises_and_of_one_that_never_moved():
    close = 100.0 + np.arange(100.0)
    rising = {"high": close + 1.0, "low": close - 1.0, "close": close}
    index, plus, minus = feature(rising, "adx")[:, 30:]
    np.testing.assert_allclose(index, 100.0, rtol=1e-12)
    np.testing.assert_allclose(plus, 50.0, rtol=1e-12)  # each bar rises by one and ranges over two
    assert (minus == 0.0).all()
    still = {name: np.full(100, 3.0) for name in ("high", "low", "close")}
    assert (feature(still, "adx")[:, 27:] == 0.0).all()


def test_adx_survives_ranges_that_fade_out():
    high = np.concatenate([[2.0, 2.5], np.full(30_000, 2.5)])
    out = feature({"high": high, "low": high, "close": high}, "adx")[:, 30:]
    assert np.isfinite(out).all()
    assert out.max() <= 100.0 + 1e-9
    assert (out[1:, -1] == 0.0).all()


@pytest.mark.parametrize("length", [2, 14, 100])
@pytest.mark.parametrize("ticks", [None, 0.5], ids=["no two alike", "many alike"])
def test_aroon_is_talib_s_to_the_bit(bars, length, ticks):
    high, low, _ = near_100(bars)
    if ticks:
        high, low = np.ceil(high / ticks) * ticks, np.floor(low / ticks) * ticks
        assert np.unique(high).size < 300
    up, down, oscillator = feature({"high": high, "low": low}, "aroon", length=length)
    their_down, their_up = talib.AROON(high, low, length)
    np.testing.assert_array_equal(up, their_up)
    np.testing.assert_array_equal(down, their_down)
    np.testing.assert_array_equal(oscillator, talib.AROONOSC(high, low, length))


def test_aroon_counts_bars_since_the_newest_extreme():
    high = np.array([5.0, 9.0, 7.0, 9.0, 8.0, 7.0, 6.0, 5.0, 4.0])
    low = np.array([4.0, 3.0, 2.0, 2.0, 3.0, 4.0, 4.0, 4.0, 1.0])
    up, down, oscillator = feature({"high": high, "low": low}, "aroon", length=4)
    # Five bars: at the fifth one the newer 9 and the newer 2 are one bar old; at the eighth the 9 is four bars old.
    assert up[4:].tolist() == [75.0, 50.0, 25.0, 0.0, 0.0]
    assert down[4:].tolist() == [75.0, 50.0, 25.0, 0.0, 100.0]
    assert oscillator[4:].tolist() == [0.0, 0.0, 0.0, 0.0, -100.0]


def test_aroon_of_one_bar_asks_which_of_two_is_further_out():
    rng = np.random.default_rng(4)
    high, low = rng.integers(5, 9, 200).astype(float), rng.integers(1, 5, 200).astype(float)
    up, down, _ = feature({"high": high, "low": low}, "aroon", length=1)
    assert up[1:].tolist() == np.where(high[1:] >= high[:-1], 100.0, 0.0).tolist()
    assert down[1:].tolist() == np.where(low[1:] <= low[:-1], 100.0, 0.0).tolist()


@pytest.mark.parametrize(("conversion", "base", "span"), [(9, 26, 52), (5, 3, 4), (1, 1, 1), (20, 10, 7)])
def test_ichimoku_is_midpoints_now_and_base_bars_ago(bars, conversion, base, span):
    high, low, close = bars["high"], bars["low"], bars["close"]
    quick, slow, wide = (over_windows(middle, length, high, low) for length in (conversion, base, span))
    ready = max(conversion, base, span) + base - 1
    expected = []
    for i in range(N):
        if i < ready:
            expected.append([math.nan] * 6)
            continue
        first, second = (quick[i - base] + slow[i - base]) / 2, wide[i - base]
        top, bottom, price = max(first, second), min(first, second), close[i]
        inside = (price - (top + bottom) / 2) / ((top - bottom) / 2) if top > bottom else 0.0
        position = 1.0 if price > top else -1.0 if price < bottom else inside
        expected.append([quick[i], slow[i], first, second, position, price / close[i - base] - 1])
    ours = feature(bars, "ichimoku", conversion=conversion, base=base, span=span)
    for row, scale in enumerate([close.max()] * 4 + [1.0, 1.0]):
        # Where the cloud is thin the position magnifies the rounding of prices.
        agree(ours[row], np.array(expected)[:, row], scale, 1e-9 if row == 4 else 1e-15)


def test_ichimoku_s_cloud_is_known_before_its_bar():
    rng = np.random.default_rng(8)
    close = 100.0 * np.exp(np.cumsum(rng.normal(0.0, 1e-3, 300)))
    market = {"high": close * 1.001, "low": close * 0.999, "close": close}
    other = {name: np.concatenate([column[:200], 3.0 * column[200:]]) for name, column in market.items()}
    ours, changed = feature(market, "ichimoku"), feature(other, "ichimoku")
    assert (ours[2:4, 200:226] == changed[2:4, 200:226]).all()  # 26 bars of a cloud that stood before the change
    assert (ours[2:4, 226] != changed[2:4, 226]).all()
    assert (changed[4, 200:226] == 1.0).all()


@pytest.mark.parametrize(("acceleration", "maximum"), [(0.02, 0.2), (0.1, 0.1), (0.3, 0.2), (0.0, 0.2), (1.0, 1.0)])
def test_parabolic_sar_is_talib_s(bars, acceleration, maximum):
    # In a market that stands still the stop reaches the price, and the last digit says which way it turns.
    moving = before(bars, STILL.start)
    level, direction, distance = feature(moving, "parabolic_sar", acceleration=acceleration, maximum=maximum)
    agree(level, talib.SAR(moving["high"], moving["low"], acceleration, maximum), moving["close"].max())
    seen = slice(1, None)
    np.testing.assert_array_equal(direction[seen], np.where(level < (moving["high"] + moving["low"]) / 2, 1, -1)[seen])
    agree(distance, 1.0 - level / moving["close"], 1.0)


def test_parabolic_sar_follows_a_rise_and_turns_when_it_is_touched():
    second = 10.0 + 0.02 * (12.0 - 10.0)  # from the first low towards the highest high by 2, 4, 6 and 8 percent
    third = second + 0.04 * (13.0 - second)
    fourth = third + 0.06 * (14.0 - third)
    fifth = fourth + 0.08 * (15.0 - fourth)
    low = np.array([10.0, 11.0, 12.0, 13.0, 14.0, fifth, 10.0])  # equal is a touch
    high = np.array([11.0, 12.0, 13.0, 14.0, 15.0, 12.0, 11.0])
    level, direction, distance = feature({"high": high, "low": low, "close": low + 0.5}, "parabolic_sar")
    np.testing.assert_allclose(level[1:5], [10.0, second, third, fourth], rtol=1e-15)
    assert direction[1:].tolist() == [1.0, 1.0, 1.0, 1.0, -1.0, -1.0]
    assert level[5] == 15.0  # the highest high of the rise
    assert level[6] == 15.0  # two percent down, were it not for the high of the bar before the last
    assert distance[6] == pytest.approx((10.5 - 15.0) / 10.5)


@pytest.mark.parametrize(
    ("high", "low", "expected"),
    [
        ([10.0, 11.0], [9.0, 9.5], [9.0, 1.0]),  # a rise: long, the stop at the first low
        ([10.0, 9.5], [9.0, 8.0], [10.0, -1.0]),  # a fall: short, the stop at the first high
        ([10.0, 9.5], [9.0, 9.2], [9.0, 1.0]),  # neither: long
        ([10.0, 11.5], [9.0, 8.0], [11.5, -1.0]),  # more of a rise, but it touches the stop of the long side at once
        ([10.0, 10.5], [9.0, 8.0], [8.0, 1.0]),  # more of a fall, likewise
    ],
)
def test_parabolic_sar_starts_on_the_side_of_the_first_change(high, low, expected):
    bars = {"high": np.array(high), "low": np.array(low), "close": np.array(low)}
    assert feature(bars, "parabolic_sar")[:2, 1].tolist() == expected
    assert talib.SAR(bars["high"], bars["low"])[1] == expected[0]


@pytest.mark.parametrize(("length", "factor"), [(10, 3.0), (2, 1.0), (21, 0.5), (14, 6.0)])
def test_supertrend_is_talib_s(bars, length, factor):
    high, low, close = bars["high"], bars["low"], bars["close"]
    level, direction, distance = feature(bars, "supertrend", length=length, factor=factor)
    their_level, their_direction = talib.SUPERTREND(high, low, close, length, factor)
    agree(level, their_level, close.max())
    np.testing.assert_array_equal(direction[length:], their_direction[length:])
    atr = talib.ATR(high, low, close, length)
    # The distance is a difference of prices in units of their range, floored at a millionth of the price.
    agree(distance, (close - level) / np.maximum(atr, 1e-6 * close), np.nanmax(np.abs(distance)), 1e-9)


def test_supertrend_holds_through_a_dip_and_turns_below_its_line():
    close = np.array([100.0] * 4 + [110.0, 120.0, 117.0, 100.0, 99.0])
    bars = {"high": close + 1.0, "low": close - 1.0, "close": close}
    level, direction, _ = feature(bars, "supertrend", length=3, factor=1.0)
    assert direction[3:].tolist() == [1.0, 1.0, 1.0, 1.0, -1.0, -1.0]
    first = 2.0 * 2 / 3 + 11.0 / 3  # the average true range at the first jump: from 100 to 111
    second = first * 2 / 3 + 11.0 / 3
    assert level[3] == 98.0
    assert level[4] == pytest.approx(110.0 - first)
    assert level[5] == level[6] == pytest.approx(120.0 - second)  # a dip does not take it back
    assert level[7] > 100.0


@pytest.mark.parametrize("length", [2, 14, 100])
def test_linear_regression_is_talib_s(bars, length):
    slope, slope_frac, value, _, _ = feature(bars, "linear_regression", length=length)
    close = bars["close"]
    agree(slope, talib.LINEARREG_SLOPE(close, length), close.max())
    agree(value, talib.LINEARREG(close, length), close.max())
    agree(slope_frac, talib.LINEARREG_SLOPE(close, length) / close, 1.0)


@pytest.mark.parametrize("length", [3, 14, 100])
def test_linear_regression_s_fit_is_least_squares(bars, length):
    places = list(range(length))

    def share(window):
        return 0.0 if len(set(window)) == 1 else statistics.correlation(places, window) ** 2

    def distance(window):
        slope, intercept = statistics.linear_regression(places, window)
        return math.sqrt(
            statistics.fmean((x - slope * k - intercept) ** 2 for k, x in zip(places, window, strict=True))
        )

    _, _, _, r2, deviation = feature(bars, "linear_regression", length=length)
    # What the line leaves is some thousandth of the price, and its rounding that much magnified.
    agree(r2, over_windows(share, length, bars["close"]), 1.0, 1e-10)
    agree(deviation, over_windows(distance, length, bars["close"]), bars["close"].max())


def test_linear_regression_of_a_line_and_of_nothing():
    close = 0.3 + 0.1 * np.arange(100.0)
    slope, slope_frac, value, r2, deviation = feature({"close": close}, "linear_regression", length=20)[:, 19:]
    np.testing.assert_allclose(slope, 0.1, rtol=1e-13)
    np.testing.assert_allclose(slope_frac, 0.1 / close[19:], rtol=1e-13)
    np.testing.assert_allclose(value, close[19:], rtol=1e-14)
    assert (r2 == 1.0).all()
    assert (deviation == 0.0).all()
    still = feature({"close": np.full(100, 0.1)}, "linear_regression")[:, 13:]
    assert (still[[0, 1, 3, 4]] == 0.0).all()
    assert (still[2] == 0.1).all()
