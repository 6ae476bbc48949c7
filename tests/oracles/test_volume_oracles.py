"""Volume features equal TA-Lib where it has them, and plain Python twins from the definition elsewhere."""

import math
import statistics
from collections import defaultdict
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import talib

from research.features.volume import SPECS

SPEC = {spec.name: spec for spec in SPECS}
N = 2_000
MINUTE_NS = 60_000_000_000
DAY_NS = 1_440 * MINUTE_NS
MIDNIGHT_NS = 1_700_006_400_000_000_000 // DAY_NS * DAY_NS
# Both sides round differently in sums of some hundred terms; each term is exact to 1.1e-16 of the largest.
ROUNDING = 1e-12


@pytest.fixture(scope="module", params=[1.0, 1e-8, 1e7], ids=["near 100", "near 1e-6", "near 1e9"])
def bars(request):
    rng = np.random.default_rng(12)
    close = 100.0 * request.param * np.exp(np.cumsum(rng.normal(0.0, 2e-3, N)))
    close[700:720] = close[700]  # a market that stands still for a while
    reach = np.abs(rng.normal(0.0, 1e-3, N))
    reach[700:720] = 0.0
    before = np.concatenate([close[:1], close[:-1]])
    volume = rng.lognormal(2.0, 1.5, N)
    volume[700:720] = 0.0
    volume[rng.random(N) < 0.02] = 0.0
    ts = MIDNIGHT_NS + 500 * MINUTE_NS + np.arange(N) * 5 * MINUTE_NS  # seven days, each of which begins with a bar
    start = np.flatnonzero((ts - 6 * 60 * MINUTE_NS) % DAY_NS == 0)[1]
    volume[start : start + 4] = 0.0  # a session from six o'clock that begins without volume
    return {
        "ts": ts, "close": close, "high": np.maximum(before, close) * (1 + reach),
        "low": np.minimum(before, close) * (1 - reach), "volume": volume,
    }  # fmt: skip


def feature(bars, name, **params):
    out = SPEC[name].apply([bars[column] for column in SPEC[name].inputs], params)
    return dict(zip(SPEC[name].outputs, out, strict=True))


def agree(ours, theirs, scale, rtol=ROUNDING, seen_at_least=N // 2):
    theirs = np.asarray(theirs, dtype=float)
    np.testing.assert_array_equal(np.isnan(ours), np.isnan(theirs))
    seen = ~np.isnan(ours)
    assert seen.sum() >= seen_at_least
    np.testing.assert_allclose(ours[seen], theirs[seen], rtol=0.0, atol=rtol * scale)


def vwap_of(bars, i, j):
    """Return the answer of a VWAP over bars i..j: level, deviation, position of the close of bar j."""
    typical = [(bars["high"][k] + bars["low"][k] + bars["close"][k]) / 3 for k in range(i, j + 1)]
    volume = bars["volume"][i : j + 1]
    total = math.fsum(volume)
    if total == 0.0:
        return bars["close"][j], 0.0, 0.0
    level = math.fsum(v * p for v, p in zip(volume, typical, strict=True)) / total
    traded = {p for v, p in zip(volume, typical, strict=True) if v > 0.0}
    if len(traded) == 1:
        return level, 0.0, 0.0
    deviation = math.sqrt(math.fsum(v * (p - level) ** 2 for v, p in zip(volume, typical, strict=True)) / total)
    return level, deviation, (bars["close"][j] - level) / deviation


def agree_vwap(ours, answers, scale):
    level, deviation, position = (np.array(column) for column in zip(*answers, strict=True))
    agree(ours["vwap"], level, scale)
    for side, sign in (("upper", 1), ("lower", -1)):
        for k in (1, 2):
            agree(ours[f"{side}_{k}"], level + sign * k * deviation, scale)
    # Bars may lie close together: their deviation then is some ten thousand times smaller than the price.
    agree(ours["position"], position, np.nanmax(np.abs(position)), 1e-9)


@pytest.mark.parametrize("start_hour", [0, 6, 23])
def test_session_vwap_is_that_of_the_bars_since_the_session_began(bars, start_hour):
    session = (bars["ts"] - start_hour * 60 * MINUTE_NS) // DAY_NS
    answers = [vwap_of(bars, int(np.searchsorted(session, session[i])), i) for i in range(N)]
    agree_vwap(feature(bars, "session_vwap", start_hour=start_hour), answers, bars["high"].max())


def test_session_vwap_of_three_bars_is_what_a_hand_reckons():
    ts = MIDNIGHT_NS + np.array([-1, 0, 1, 2]) * MINUTE_NS
    price = np.array([50.0, 10.0, 20.0, 16.0])
    hand = {"ts": ts, "high": price, "low": price, "close": price, "volume": np.array([9.0, 1.0, 3.0, 0.0])}
    ours = feature(hand, "session_vwap")
    np.testing.assert_allclose(ours["vwap"], [50.0, 10.0, 17.5, 17.5])  # (10 + 3 * 20) / 4; midnight forgets the 50
    np.testing.assert_allclose(ours["upper_1"] - ours["vwap"], [0, 0, math.sqrt(18.75), math.sqrt(18.75)])
    np.testing.assert_allclose(ours["position"], [0, 0, 2.5 / math.sqrt(18.75), -1.5 / math.sqrt(18.75)])


def test_before_the_first_volume_of_a_session_its_level_is_the_close(bars):
    session = (bars["ts"] - 6 * 60 * MINUTE_NS) // DAY_NS
    empty = [i for i in range(N) if not bars["volume"][np.searchsorted(session, session[i]) : i + 1].any()]
    ours = feature(bars, "session_vwap", start_hour=6)
    assert len(empty) >= 4
    for name in ("vwap", "upper_1", "lower_1", "upper_2", "lower_2"):
        np.testing.assert_array_equal(ours[name][empty], bars["close"][empty])
    np.testing.assert_array_equal(ours["position"][empty], 0.0)


@pytest.mark.parametrize("length", [2, 20, 300])
def test_rolling_vwap_is_that_of_the_last_bars(bars, length):
    nothing = (math.nan, math.nan, math.nan)
    answers = [nothing if i + 1 < length else vwap_of(bars, i + 1 - length, i) for i in range(N)]
    agree_vwap(feature(bars, "rolling_vwap", length=length), answers, bars["high"].max())


def test_a_vwap_survives_a_jump_of_twenty_orders_of_magnitude(bars):
    wild = {name: column.copy() for name, column in bars.items()}
    for name in ("high", "low", "close", "volume"):
        wild[name][1_000:1_010] *= 1e20
    ours, calm = feature(wild, "rolling_vwap", length=20), feature(bars, "rolling_vwap", length=20)
    answers = [vwap_of(wild, i - 19, i) for i in range(1_000, 1_029)]
    for name, column in (("vwap", 0), ("position", 2)):
        expected = [answer[column] for answer in answers]
        np.testing.assert_allclose(ours[name][1_000:1_029], expected, rtol=1e-9, atol=1e-9 * np.abs(expected).max())
    deviation = (ours["upper_1"] - ours["vwap"])[1_010:1_029]
    np.testing.assert_allclose(deviation, [answer[1] for answer in answers[10:]], rtol=1e-3)  # of 1e22, less 1e22
    for name in ours:  # nothing of it is left
        agree(ours[name][1_029:], calm[name][1_029:], np.abs(calm[name][1_029:]).max(), 1e-9, 900)


def test_obv_is_talib_s(bars):
    agree(feature(bars, "obv")[""], talib.OBV(bars["close"], bars["volume"]), bars["volume"].sum())


@pytest.mark.parametrize("length", [1, 20, 300])
def test_obv_change_is_that_of_talib_s_over_the_volume(bars, length):
    level = pd.Series(talib.OBV(bars["close"], bars["volume"]))
    total = pd.Series([math.fsum(bars["volume"][max(i + 1 - length, 0) : i + 1]) for i in range(N)])
    expected = (level.diff(length) / total.where(total > 0.0)).where(total > 0.0, 0.0)
    expected[:length] = math.nan
    # The level is a sum of thousands of volumes; what is left of its rounding counts against a few of them.
    agree(feature(bars, "obv_change", length=length)[""], expected, bars["volume"].sum(), 1e-12)


def test_obv_change_is_the_volume_of_rises_less_that_of_falls():
    hand = {"close": np.array([1.0, 2.0, 3.0, 3.0, 2.0]), "volume": np.array([7.0, 1.0, 2.0, 4.0, 3.0])}
    ours = feature(hand, "obv_change", length=3)[""]
    np.testing.assert_allclose(ours[3:], [3 / 7, (2 - 3) / 9])
    assert np.isnan(ours[:3]).all()


def relative_volume_twin(ts, volume, days, slot_minutes):
    by_slot = defaultdict(list)
    key = [(int(t // DAY_NS), int(t % DAY_NS // MINUTE_NS // slot_minutes)) for t in ts]
    for at, v in zip(key, volume, strict=True):
        by_slot[at].append(v)
    usual = {}
    for day, slot in by_slot:
        past = [v for d in range(day - days, day) for v in by_slot.get((d, slot), [])]
        usual[day, slot] = statistics.fmean(past) if any(past) else None
    rows = []
    for i, (day, slot) in enumerate(key):
        now = usual[day, slot]
        same = [volume[j] for j in range(i + 1) if key[j] == (day, slot)]
        known = [j for j in range(i + 1) if key[j][0] == day and usual[key[j]] is not None]
        expected = math.fsum(usual[key[j]] for j in known)
        rows.append(
            (
                volume[i] / now if now else 1.0,
                statistics.fmean(same) / now if now else 1.0,
                math.fsum(volume[j] for j in known) / expected if expected else 1.0,
            )
        )
    return np.array(rows).T


@pytest.mark.parametrize(("days", "slot_minutes"), [(4, 15), (1, 5), (2, 60), (3, 1_440), (2, 7), (3, 1)])
def test_relative_volume_is_that_over_the_same_slot_of_the_days_before(bars, days, slot_minutes):
    here = np.ones(N, dtype=bool)
    here[900:1_250] = False  # more than a whole day is missing
    here[1_400:1_403] = False
    ts, volume = bars["ts"][here], bars["volume"][here]
    ours = feature({"ts": ts, "volume": volume}, "relative_volume", days=days, slot_minutes=slot_minutes)
    theirs = relative_volume_twin(ts, volume, days, slot_minutes)
    for name, expected in zip(("bar", "slot", "day"), theirs, strict=True):
        agree(ours[name], expected, np.abs(expected).max())
    assert (ours["bar"] != 1.0).mean() > 0.3


def test_relative_volume_of_a_day_that_trades_twice_as_much_is_two():
    minutes = np.arange(5 * 1_440)
    of_the_day = 1.0 + np.sin(minutes % 1_440 / 200.0) ** 2  # busy and quiet hours
    twice = np.where(minutes >= 4 * 1_440, 2.0, 1.0)
    hand = {"ts": MIDNIGHT_NS + minutes * MINUTE_NS, "volume": of_the_day * twice}
    ours = feature(hand, "relative_volume", days=4, slot_minutes=1)
    for name in ours:
        np.testing.assert_allclose(ours[name], twice, rtol=1e-12)
    spread = feature(hand, "relative_volume", days=4, slot_minutes=60)
    hour_ends = minutes % 60 == 59
    np.testing.assert_allclose(spread["slot"][hour_ends], twice[hour_ends], rtol=1e-12)


def profile_twin(bars, length, bin_bps, area):
    width = bin_bps / 1e4
    rows = []
    for i in range(N):
        if i + 1 < length:
            rows.append((math.nan,) * 5)
            continue
        held = defaultdict(list)
        for j in range(i + 1 - length, i + 1):
            if bars["volume"][j] > 0.0:
                typical = (bars["high"][j] + bars["low"][j] + bars["close"][j]) / 3
                held[math.floor(math.log(typical) / width)].append(bars["volume"][j])
        close = bars["close"][i]
        if not held:
            rows.append((close, close, close, 0.5, 0.0))
            continue
        volume = {row: math.fsum(held[row]) for row in sorted(held)}
        poc = max(volume, key=volume.get)
        inside, goal = [poc], area * math.fsum(volume.values())
        while math.fsum(volume[row] for row in inside) < goal:
            outside = [min((r for r in volume if r > max(inside)), default=None),
                       max((r for r in volume if r < min(inside)), default=None)]  # fmt: skip
            inside.append(max((r for r in outside if r is not None), key=volume.get))
        lowest, highest = math.exp(min(inside) * width), math.exp((max(inside) + 1) * width)
        middle = math.exp((poc + 0.5) * width)
        position = math.log(close / lowest) / math.log(highest / lowest)
        rows.append((middle, highest, lowest, position, math.log(close / middle)))
    return np.array(rows).T


@pytest.mark.parametrize(
    ("length", "bin_bps", "area"), [(240, 10.0, 0.7), (20, 50.0, 0.7), (60, 1.0, 0.3), (1, 9, 0.7)]
)
def test_volume_profile_is_the_sum_of_volume_by_row(bars, length, bin_bps, area):
    ours = feature(bars, "volume_profile", length=length, bin_bps=float(bin_bps), area=area)
    theirs = profile_twin(bars, length, bin_bps, area)
    scale = {"poc": bars["high"].max(), "vah": bars["high"].max(), "val": bars["high"].max(), "poc_distance": 1.0}
    for name, expected in zip(SPEC["volume_profile"].outputs, theirs, strict=True):
        agree(ours[name], expected, scale.get(name, np.nanmax(np.abs(expected))), 1e-10)


def test_volume_profile_of_a_drawn_market_is_what_one_sees():
    # Rows of a tenth in ln(price); the bars lie in the middles of rows 0, 1, 2, 3 and 9 with this much volume.
    row = np.array([0, 1, 2, 2, 3, 9])
    price = np.exp((row + 0.5) / 10)
    hand = {"high": price, "low": price, "close": price, "volume": np.array([1.0, 4.0, 5.0, 6.0, 3.0, 2.0])}
    ours = {name: column[-1] for name, column in feature(hand, "volume_profile", length=6, bin_bps=1e3).items()}
    # Of 21 in all 14.7 are wanted: 11 in row 2, and 4 in row 1 make 15.
    assert ours["poc"] == pytest.approx(math.exp(0.25))
    assert ours["val"] == pytest.approx(math.exp(0.1))
    assert ours["vah"] == pytest.approx(math.exp(0.3))
    assert ours["position"] == pytest.approx((0.95 - 0.1) / 0.2)
    assert ours["poc_distance"] == pytest.approx(0.95 - 0.25)
    wide = {
        name: column[-1] for name, column in feature(hand, "volume_profile", length=6, bin_bps=1e3, area=0.9).items()
    }
    # 18.9: then row 3 (3 against 1), and with 18 held the one above, which lies over five rows without volume.
    assert wide["val"] == pytest.approx(math.exp(0.1))
    assert wide["vah"] == pytest.approx(math.exp(1.0))


@pytest.mark.parametrize(("length", "factor", "max_bars"), [(50, 3.0, 50), (1, 1.5, 1), (8, 10.0, 500)])
def test_volume_spike_is_the_volume_over_the_median_before(bars, length, factor, max_bars):
    ratio, flag, age, last = [], [], [], None
    for i in range(N):
        if i < length:
            ratio.append(math.nan), flag.append(math.nan), age.append(math.nan)
            continue
        median = statistics.median(bars["volume"][i - length : i])
        ratio.append(bars["volume"][i] / median if median else 1.0)
        flag.append(float(bool(median) and ratio[-1] >= factor))
        last = i if flag[-1] else last
        age.append(max_bars if last is None else min(i - last, max_bars))
    ours = feature(bars, "volume_spike", length=length, factor=factor, max_bars=max_bars)
    agree(ours["ratio"], ratio, np.nanmax(ratio))
    agree(ours["flag"], flag, 0.0)
    agree(ours["age"], age, 0.0)
    assert 0.01 < np.nanmean(flag) < 0.6


def test_a_volume_spike_is_not_measured_by_itself():
    hand = {"volume": np.array([1.0, 1.0, 2.0, 2.0, 6.0, 6.0, 6.0])}
    ours = feature(hand, "volume_spike", length=4, factor=4.0, max_bars=2)
    np.testing.assert_array_equal(ours["ratio"][4:], [4.0, 3.0, 1.5])
    np.testing.assert_array_equal(ours["flag"][4:], [1.0, 0.0, 0.0])
    np.testing.assert_array_equal(ours["age"][4:], [0.0, 1.0, 2.0])


def test_volume_zscore_is_that_of_log_volume(bars):
    logs = pd.Series(np.log1p(bars["volume"]))
    rolling = logs.rolling(20)
    deviation = rolling.std(ddof=1).mask(rolling.max() == rolling.min(), math.inf)
    # pandas adds and subtracts: its deviation of nearly equal volumes is off by the root of a rounding.
    agree(feature(bars, "volume_zscore", length=20)[""], (logs - rolling.mean()) / deviation, 1.0, 1e-6)


def test_every_feature_of_the_family_has_an_oracle():
    source = Path(__file__).read_text(encoding="utf-8")
    assert [name for name in SPEC if f'"{name}"' not in source] == []
