"""Features equal TA-Lib where it has them, and plain Python twins elsewhere."""

import datetime
import math
import statistics
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import talib

from research.features import CATALOGUE

N = 2_000
# Both sides round differently in sums of some hundred terms; each term is exact to 1.1e-16 of the price.
ROUNDING = 1e-12


@pytest.fixture(scope="module", params=[1.0, 1e-8, 1e7], ids=["near 100", "near 1e-6", "near 1e9"])
def bars(request):
    rng = np.random.default_rng(11)
    close = 100.0 * request.param * np.exp(np.cumsum(rng.normal(0.0, 2e-3, N)))
    close[700:720] = close[700]  # a market that stands still for a while
    reach = np.abs(rng.normal(0.0, 1e-3, N))
    reach[700:720] = 0.0
    before = np.concatenate([close[:1], close[:-1]])
    volume = rng.lognormal(2.0, 1.5, N)
    volume[700:720] = 0.0
    ts = 1_700_000_100_000_000_000 + np.arange(N) * 300_000_000_000
    return {
        "ts": ts, "close": close, "high": np.maximum(before, close) * (1 + reach),
        "low": np.minimum(before, close) * (1 - reach), "volume": volume,
    }  # fmt: skip


def feature(bars, name, **params):
    spec = CATALOGUE[name]
    arguments = spec.arguments(params)
    out = spec.run(
        [bars["close" if column == "value" else column] for column in spec.inputs],
        arguments,
        spec.initial_state(arguments),
    )
    return out if len(spec.outputs) > 1 else out[0]


def agree(ours, theirs, scale, rtol=ROUNDING):
    theirs = np.asarray(theirs, dtype=float)
    np.testing.assert_array_equal(np.isnan(ours), np.isnan(theirs))
    seen = ~np.isnan(ours)
    assert seen.sum() > N // 2
    np.testing.assert_allclose(ours[seen], theirs[seen], rtol=0.0, atol=rtol * scale)


def log_returns(close):
    return [math.nan] + [math.log(b / a) for a, b in pairwise(close)]


def windows(values, length, first=0):
    """Yield the last ``length`` values at every bar, None until there are so many from ``first`` on."""
    for i in range(len(values)):
        yield list(values[i - length + 1 : i + 1]) if i - length + 1 >= first else None


def sample_z(window):
    if window is None:
        return math.nan
    if len(set(window)) == 1:
        return 0.0
    return (window[-1] - statistics.fmean(window)) / statistics.stdev(window)


@pytest.mark.parametrize("length", [2, 14, 200])
def test_ema_is_talib_s(bars, length):
    agree(feature(bars, "ema", length=length), talib.EMA(bars["close"], length), bars["close"].max())


def test_an_ema_of_one_bar_is_the_close(bars):
    np.testing.assert_array_equal(feature(bars, "ema", length=1), bars["close"])


@pytest.mark.parametrize("length", [1, 14, 100])
def test_atr_is_talib_s(bars, length):
    high, low, close = bars["high"], bars["low"], bars["close"]
    agree(feature(bars, "atr", length=length), talib.ATR(high, low, close, length), high.max())


@pytest.mark.parametrize("length", [2, 14, 100])
def test_rsi_is_talib_s(bars, length):
    ours = feature(bars, "rsi", length=length)
    # TA-Lib calls a total change below 1e-14 none: it is asked about the same market quoted near 100. Dividing every
    # price by a power of two is exact, and an RSI has no unit.
    unit = 2.0 ** round(math.log2(bars["close"][0] / 100.0))
    theirs = talib.RSI(bars["close"] / unit, length)
    flat = np.zeros(N, dtype=bool)
    if length == 2:  # the averages of two changes fall below TA-Lib's zero within a pause of twenty bars
        flat[700:720] = True
    # A change is the difference of two prices: relative to it, their rounding is some thousand times larger.
    agree(np.where(flat, 50.0, ours), np.where(flat, 50.0, theirs), 100.0, 1e-10)


def test_rsi_of_a_market_that_never_moved_is_neutral():
    still = {"close": np.full(50, 3.0)}
    assert (feature(still, "rsi", length=5)[5:] == 50.0).all()
    assert (talib.RSI(still["close"], 5)[5:] == 0.0).all()  # what is not copied


@pytest.mark.parametrize(("fast", "slow", "signal"), [(12, 26, 9), (3, 10, 16), (5, 35, 1), (26, 12, 9)])
def test_macd_is_talib_s(bars, fast, slow, signal):
    ours = feature(bars, "macd", fast=fast, slow=slow, signal=signal)
    theirs = talib.MACD(bars["close"], fast, slow, signal)  # swaps the lengths where the fast one is longer
    sign = -1.0 if fast > slow else 1.0
    for ours_row, theirs_row in zip(ours, theirs, strict=True):
        agree(sign * ours_row, theirs_row, bars["close"].max())


def test_macd_is_not_the_difference_of_two_separate_averages(bars):
    line = feature(bars, "macd")[0]
    naive = feature(bars, "ema", length=12) - feature(bars, "ema", length=26)
    first = 26 + 9 - 2
    assert abs(line[first] - naive[first]) > 1e-6 * bars["close"][first]


def test_ema_spread_is_ema_less_ema_over_atr(bars):
    fast, slow = talib.EMA(bars["close"], 12), talib.EMA(bars["close"], 48)
    atr = talib.ATR(bars["high"], bars["low"], bars["close"], 14)
    # The spread is a difference of prices in units of their range: some thousand times their rounding.
    agree(feature(bars, "ema_spread"), (fast - slow) / np.maximum(atr, 1e-6 * bars["close"]), 1.0, 1e-9)


def test_ema_spread_has_a_floor_in_a_market_that_stands_still():
    close = np.concatenate([np.full(100, 100.0), np.full(N, 110.0)])
    still = {"close": close, "high": close, "low": close}
    spread = feature(still, "ema_spread", fast=5, slow=80, length=2)
    difference, atr = talib.EMA(close, 5) - talib.EMA(close, 80), talib.ATR(close, close, close, 2)
    floor = 1e-6 * close
    assert (atr[150:] < floor[150:]).all()  # without it the spread of a dead market would grow beyond all bounds
    # TA-Lib's averages of 110 are off by 1e-14, which is 1e-10 of the floor.
    agree(spread, difference / np.maximum(atr, floor), np.nanmax(spread), 1e-9)
    assert spread[-1] == pytest.approx(0.0, abs=1e-9)


@pytest.mark.parametrize("length", [1, 7])
def test_log_return_is_the_logarithm_of_the_ratio(bars, length):
    close = bars["close"]
    expected = [math.nan] * length + [math.log(b / a) for a, b in zip(close[:-length], close[length:], strict=True)]
    agree(feature(bars, "log_return", length=length), expected, 1.0, 1e-15)


@pytest.mark.parametrize("length", [2, 48])
def test_volatility_is_the_sample_deviation_of_returns(bars, length):
    expected = [math.nan if w is None else statistics.stdev(w) for w in windows(log_returns(bars["close"]), length, 1)]
    agree(feature(bars, "volatility", length=length), expected, 1e-3)


@pytest.mark.parametrize("length", [2, 48])
def test_zscore_is_the_deviation_over_the_sample_deviation(bars, length):
    # The deviation is about a thousandth of the price, and so is its rounding magnified.
    agree(feature(bars, "zscore", length=length), list(map(sample_z, windows(bars["close"], length))), 1.0, 1e-9)


@pytest.mark.parametrize("length", [2, 20])
def test_volume_zscore_is_that_of_log_volume(bars, length):
    logs = [math.log1p(v) for v in bars["volume"]]
    # Two volumes may be nearly alike: their deviation then is as uncertain as their rounding.
    agree(feature(bars, "volume_zscore", length=length), list(map(sample_z, windows(logs, length))), 1.0, 1e-10)


@pytest.mark.parametrize("length", [3, 48])
def test_autocorrelation_is_pearson_s_of_neighbouring_returns(bars, length):
    returns = log_returns(bars["close"])
    expected = []
    for i in range(N):
        if i < length + 1:
            expected.append(math.nan)
            continue
        later, earlier = returns[i - length + 1 : i + 1], returns[i - length : i]
        still = len(set(later)) == 1 or len(set(earlier)) == 1
        expected.append(0.0 if still else statistics.correlation(earlier, later))
    # Three pairs may nearly lie on a line or hardly vary: the correlation magnifies their rounding.
    agree(feature(bars, "autocorrelation", length=length), expected, 1.0, 1e-8)


@pytest.mark.parametrize("length", [2, 20])
def test_efficiency_is_the_way_made_over_the_way_gone(bars, length):
    close = bars["close"]
    expected = []
    for i in range(N):
        if i < length:
            expected.append(math.nan)
            continue
        gone = math.fsum(abs(close[j] - close[j - 1]) for j in range(i - length + 1, i + 1))
        expected.append(abs(close[i] - close[i - length]) / gone if gone else 0.0)
    agree(feature(bars, "efficiency", length=length), expected, 1.0)


@pytest.mark.parametrize("length", [1, 48])
def test_parkinson_is_the_root_mean_square_log_range(bars, length):
    squares = [math.log(h / low) ** 2 / (4 * math.log(2)) for h, low in zip(bars["high"], bars["low"], strict=True)]
    expected = [math.nan if w is None else math.sqrt(math.fsum(w) / length) for w in windows(squares, length)]
    agree(feature(bars, "parkinson", length=length), expected, 1e-3)


def test_hour_cycle_is_the_angle_of_the_clock(bars):
    expected = []
    for ns in bars["ts"]:
        at = datetime.datetime.fromtimestamp(ns / 1e9, tz=datetime.UTC)
        expected.append(2 * math.pi * (at.hour + at.minute / 60 + at.second / 3600) / 24)
    sine, cosine = feature(bars, "hour_cycle")
    agree(sine, np.sin(expected), 1.0, 1e-14)
    agree(cosine, np.cos(expected), 1.0, 1e-14)


def test_every_feature_has_an_oracle():
    source = "".join(
        file.read_text(encoding="utf-8") for file in sorted(Path(__file__).parent.glob("test_*_oracles.py"))
    )
    assert [name for name in CATALOGUE if f'"{name}"' not in source] == []
