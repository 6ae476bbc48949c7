"""Market structure equals what its definitions say of the whole history up to each bar, and what a chart shows."""

import datetime
import math
from decimal import Decimal
from fractions import Fraction

import numpy as np
import pytest

from research.features import CATALOGUE

N = 600
RATIOS = (0.236, 0.382, 0.5, 0.618, 0.786)


def market(tick, seed, n=N):
    """Return bars on a grid of prices: a coarse one has many equal highs; for a while the market stands still."""
    rng = np.random.default_rng(seed)
    steps = rng.normal(0.0, 0.4, n) + 0.15 * np.sin(np.arange(n) / 25.0)
    close = 100.0 + np.cumsum(steps)
    close[300:360] = close[300]
    before = np.concatenate([close[:1], close[:-1]])
    first = np.where(rng.random(n) < 0.7, before, before + rng.normal(0.0, 0.3, n))
    reach = np.abs(rng.normal(0.0, 0.2, (2, n)))
    first[301:360], reach[:, 301:360] = close[300], 0.0
    bars = {
        "open": first, "close": close,
        "high": np.maximum(first, close) + reach[0], "low": np.minimum(first, close) - reach[1],
    }  # fmt: skip
    bars = {name: np.round(column / tick) * tick for name, column in bars.items()}
    return bars | {"ts": 1_700_000_100_000_000_000 + np.arange(n) * 300_000_000_000}


@pytest.fixture(scope="module", params=[(1e-6, 1), (0.1, 2), (0.5, 3)], ids=["fine", "ticks", "coarse"])
def bars(request):
    return market(*request.param)


def candles(rows):
    """Return bars from (open, high, low, close)."""
    table = np.array(rows, dtype=float)
    return {name: table[:, j].copy() for j, name in enumerate(("open", "high", "low", "close"))}


def line(closes):
    """Return bars that open at the close before and reach no farther."""
    close = np.array(closes, dtype=float)
    before = np.concatenate([close[:1], close[:-1]])
    return {"open": before, "close": close, "high": np.maximum(before, close), "low": np.minimum(before, close)}


def points(closes):
    """Return bars whose four prices are one."""
    close = np.array(closes, dtype=float)
    return {name: close.copy() for name in ("open", "high", "low", "close")}


def feature(bars, name, /, **params):
    spec = CATALOGUE[name]
    arguments = spec.arguments(params)
    out = spec.run([bars[column] for column in spec.inputs], arguments, spec.initial_state(arguments))
    return dict(zip(spec.outputs, out, strict=True))


def agree(ours, expected, rtol=1e-12):
    """Compare outputs with a list of rows (None: NaN); flags, ages and counts come out exact at this tolerance too."""
    names = list(ours)
    table = np.array([[math.nan] * len(names) if row is None else [row[k] for k in names] for row in expected])
    assert all(row is None or set(row) == set(names) for row in expected)
    for j, name in enumerate(names):
        np.testing.assert_allclose(ours[name], table[:, j], rtol=rtol, atol=1e-13, err_msg=name)


def swing_bars(bars, side, left, right):
    """Return every bar that is a swing, as one sees it with hindsight."""
    values = list(bars["high"]) if side == "high" else [-v for v in bars["low"]]
    return [
        p
        for p in range(left, len(values) - right)
        if all(values[q] < values[p] for q in range(p - left, p))
        and all(values[q] <= values[p] for q in range(p + 1, p + right + 1))
    ]


class Swings:
    """What is known of swings at the close of a bar."""

    def __init__(self, bars, left, right, max_age):
        self.bars, self.right, self.max_age = bars, right, max_age
        self.all = {side: swing_bars(bars, side, left, right) for side in ("high", "low")}

    def known(self, side, t):
        return [p for p in self.all[side] if p + self.right <= t and t - p <= self.max_age]

    def label(self, side, t):
        levels = [self.bars[side][p] for p in self.known(side, t)[-2:]]
        return float(np.sign(levels[1] - levels[0])) if len(levels) == 2 else 0.0

    def trend(self, t):
        both = {self.label("high", t), self.label("low", t)}
        return both.pop() if len(both) == 1 else 0.0

    def break_at(self, t):
        """Return direction and swing of the break at bar t, or None."""
        found = []
        for side, sign in (("high", 1), ("low", -1)):
            p = self.known(side, t)[-1:]
            if not p:
                continue
            beyond = sign * (self.bars["close"][p[0] : t + 1] - self.bars[side][p[0]]) > 0.0
            if beyond[-1] and not beyond[:-1].any():
                found.append((sign, p[0]))
        assert len(found) <= 1
        return found[0] if found else None


WINDOWS = [(5, 5, 100), (2, 3, 20), (1, 1, 10), (4, 12, 10)]


@pytest.mark.parametrize(("left", "right", "max_age"), WINDOWS)
def test_swings_are_those_seen_with_hindsight_once_they_are_confirmed(bars, left, right, max_age):
    swings, expected = Swings(bars, left, right, max_age), []
    for t in range(N):
        if t < left + right:
            expected.append(None)
            continue
        row = {}
        for side in ("high", "low"):
            p = (swings.known(side, t) or [None])[-1]
            level = bars["close"][t] if p is None else bars[side][p]
            row |= {
                side: level, f"{side}_distance": (bars["close"][t] - level) / bars["close"][t],
                f"{side}_age": max_age if p is None else t - p, f"{side}_label": swings.label(side, t),
            }  # fmt: skip
        expected.append(row | {"trend": swings.trend(t)})
    agree(feature(bars, "swings", left=left, right=right, max_age=max_age), expected)


def test_a_swing_is_known_at_the_close_that_confirms_it_and_not_before():
    path = [10, 11, 12, 15, 13, 12, 11, 12, 13, 14, 16, 15, 14, 13, 12.5, 14]
    ours = feature(points(path), "swings", left=2, right=2, max_age=10)
    assert ours["high"][4] == 13  # the top of 15 at bar 3 is followed by one bar only: the close stands in
    assert ours["high"][5] == 15
    assert ours["high_age"][5] == 2
    assert ours["low"][8] == 11
    assert (ours["high_label"][11], ours["high_label"][12]) == (0, 1)  # 16 after 15: a higher high, known at bar 12
    assert ours["high_label"][14] == 0  # the swing of 15 is more than 10 bars old
    assert ours["low_age"][7] == 10  # none


def test_of_equal_highs_the_first_is_the_swing_and_a_flat_market_has_none():
    ours = feature(points([1, 2, 3, 3, 3, 2, 1, 1, 1, 1, 1, 1, 1]), "swings", left=2, right=2, max_age=10)
    assert (ours["high"][4], ours["high_age"][4]) == (3, 2)
    assert ours["high_age"][6] == 4
    assert (ours["low"][8], ours["low_age"][8]) == (1, 2)
    flat = feature(points([5] * 40), "swings")
    assert (flat["high_age"][10:] == 100).all()
    assert (flat["trend"][10:] == 0).all()


@pytest.mark.parametrize("name", ["break_of_structure", "change_of_character"])
@pytest.mark.parametrize(("left", "right", "max_age"), WINDOWS)
def test_breaks_are_first_closes_beyond_the_newest_swing(bars, name, left, right, max_age):
    swings, expected, newest, found = Swings(bars, left, right, max_age), [], None, 0
    breaks = {t: swings.break_at(t) for t in range(N) if swings.break_at(t)}
    for t in range(N):
        direction = 0
        if t in breaks:
            before = [breaks[s][0] for s in range(max(0, t - max_age + 1), t) if s in breaks][-1:]
            if (before == [-breaks[t][0]]) == (name == "change_of_character"):
                direction = breaks[t][0]
                newest = (t, bars["high" if direction > 0 else "low"][breaks[t][1]])
                found += 1
        if t < left + right:
            expected.append(None)
            continue
        close, level, age = bars["close"][t], bars["close"][t], max_age
        if newest and t - newest[0] < max_age:
            age, level = t - newest[0], newest[1]
        expected.append({"direction": direction, "level": level, "distance": (close - level) / close, "age": age})
    assert found > 0 or max_age == 10
    agree(feature(bars, name, left=left, right=right, max_age=max_age), expected)


def test_a_falling_market_that_closes_above_its_last_lower_high_changes_character():
    #       high 20 ...... low 14 ...... lower high 18 ..... lower low 12 ........ above 18
    path = [18, 20, 18, 16, 14, 15, 16, 18, 16, 14, 13, 12, 13, 15, 17, 17.5, 18.5, 19, 20]
    sizes = {"left": 1, "right": 1, "max_age": 50}
    character = feature(points(path), "change_of_character", **sizes)
    structure = feature(points(path), "break_of_structure", **sizes)
    assert list(np.flatnonzero(character["direction"] == 1)) == [16]
    assert character["level"][18] == 18
    assert character["age"][18] == 2
    assert character["distance"][18] == pytest.approx(0.1)
    # The close of 13 below the low of 14 is the first break of all: it turns nothing.
    assert list(np.flatnonzero(structure["direction"] == -1)) == [10]
    assert not (structure["direction"] == 1).any()
    assert not (character["direction"] == -1).any()


def kinds(path, max_age):
    """Return the bars of breaks of structure and of changes of character, negative downwards."""
    found = []
    for name in ("break_of_structure", "change_of_character"):
        direction = feature(points(path), name, left=1, right=1, max_age=max_age)["direction"]
        found.append([int(t * direction[t]) for t in np.flatnonzero(np.nan_to_num(direction))])
    return found


def test_two_breaks_up_then_two_down_change_character_once():
    #        top .. low, up: 13 > 12, up: 14 > 13, down: 11.5 < 12, down: 11 < 11.5, up: 13 > 12.5
    path = [10, 12, 11, 13, 12, 14, 13, 11.5, 12.5, 11, 12, 13]
    structure, character = kinds(path, 50)
    assert structure == [3, 5, -9]
    assert character == [-7, 11]


def test_a_turn_before_any_label_is_known_changes_character():
    path = [10, 12, 11, 13, 10.5]
    assert feature(points(path), "swings", left=1, right=1, max_age=50)["trend"][4] == 0
    assert kinds(path, 50) == [[3], [-4]]


def test_a_break_too_long_ago_is_not_turned():
    up, wait, down = [10, 12, 11, 13, 12], [12.5] * 7, [11.9]  # up at bar 3, the low of 12 at bar 4
    assert kinds(up + wait + down, 10) == [[3], [-12]]
    assert kinds(up + wait + [12.5] + down, 10) == [[3, -13], []]
    assert kinds(up + wait + [12.5] + down, 11) == [[3], [-13]]


@pytest.mark.parametrize("name", ["break_of_structure", "change_of_character"])
def test_the_warmup_of_breaks_is_as_long_as_it_must_be(name):
    # The oldest swing of 12, broken at the last moment, turned at the last moment, reported for the last time: whoever
    # misses the bar before that swing is wrong about it 29 bars later, and right from the 30th on.
    path = [10, 12] + [11] * 9 + [13, 12] + [12.5] * 7 + [11.5] * 11
    sizes = {"left": 1, "right": 1, "max_age": 10}
    spec = CATALOGUE[name]
    assert spec.warmup(*spec.arguments(sizes)) == 30
    early, late = feature(points(path), name, **sizes), feature(points(path[1:]), name, **sizes)
    differ = [t for t in range(3, len(path)) if early["age"][t] != late["age"][t - 1]]
    assert differ[-1] == 29
    assert (early["age"][29] == 9) == (name == "change_of_character")


@pytest.mark.parametrize("max_age", [10, 40])
@pytest.mark.parametrize("right", [1, 4])
def test_every_break_is_of_one_kind(bars, right, max_age):
    sizes = {"left": 3, "right": right, "max_age": max_age}
    structure = feature(bars, "break_of_structure", **sizes)["direction"]
    character = feature(bars, "change_of_character", **sizes)["direction"]
    swings = Swings(bars, **sizes)
    breaks = [(swings.break_at(t) or (0, 0))[0] for t in range(N)]
    np.testing.assert_array_equal(np.nan_to_num(structure + character), breaks)
    assert not (structure * character)[20:].any()


def mean_true_range(bars, last, length):
    """Return the mean of the true ranges of up to ``length`` bars up to ``last``; bar 0 has none."""
    ranges = [
        max(bars["high"][j], bars["close"][j - 1]) - min(bars["low"][j], bars["close"][j - 1])
        for j in range(max(1, last - length + 1), last + 1)
    ]
    return math.fsum(ranges) / len(ranges) if ranges else 0.0


# Fractions of a mean range that are no multiple of a tick: whether a level is within does not hang on rounding.
@pytest.mark.parametrize(
    ("left", "right", "length", "tolerance", "max_age"),
    [(5, 5, 14, 0.4371, 300), (1, 2, 3, 1.0313, 50), (1, 1, 20, 2.0177, 500), (3, 3, 5, 0.0, 100)],
)
def test_support_and_resistance_are_the_nearest_swings(bars, left, right, length, tolerance, max_age):
    swings, expected, most = Swings(bars, left, right, max_age), [], 0
    for t in range(N):
        if t < left + right:
            expected.append(None)
            continue
        by_bar = {}
        for side in ("high", "low"):
            for p in swings.known(side, t):
                width = tolerance * mean_true_range(bars, p + right, length)
                by_bar.setdefault(p, []).append((bars[side][p], width))
        kept = []
        for p in sorted(by_bar, reverse=True):  # whole bars, the newest first, as long as there is room
            if len(kept) + len(by_bar[p]) > 64:
                break
            kept += by_bar[p]
        most = max(most, len(kept))
        close, row = bars["close"][t], {}
        for side, choose, fits in (("support", max, lambda v: v <= close), ("resistance", min, lambda v: v > close)):  # noqa: B023 - used within its turn
            levels = [v for v, _ in kept if fits(v)]
            level, touches = close, 0
            if levels:
                level = choose(levels)
                width = max(w for v, w in kept if v == level)
                touches = sum(abs(v - level) <= width for v, _ in kept)
            row |= {side: level, f"{side}_distance": abs(close - level) / close, f"{side}_touches": touches}
        expected.append(row)
    ours = feature(
        bars, "support_resistance", left=left, right=right, length=length, tolerance=tolerance, max_age=max_age
    )
    agree(ours, expected)
    assert most >= 63 or (left, right) != (1, 1)  # the register was full
    assert max(ours["support_touches"][left + right :]) > 1 or tolerance == 0.0


def test_a_level_that_turned_price_twice_has_two_touches():
    path = [12, 14, 16, 18, 20, 18, 16, 14, 13, 15, 17, 20.1, 18, 16, 14, 15, 17, 16, 15.5]
    ours = feature(points(path), "support_resistance", left=2, right=2, length=5, tolerance=0.5, max_age=50)
    assert ours["resistance_touches"][12] == 1  # the second top at bar 11 is not confirmed
    assert (ours["resistance"][13], ours["resistance_touches"][13]) == (20, 2)
    assert ours["resistance_distance"][13] == pytest.approx((20 - 16) / 16)
    assert (ours["support"][13], ours["support_touches"][13]) == (13, 1)
    assert (ours["support"][7], ours["support_touches"][7], ours["support_distance"][7]) == (14, 0, 0)  # none yet


def order_block_row(zones, t, bars, max_age):
    row, close = {}, bars["close"][t]
    for side, sign in (("bullish", 1), ("bearish", -1)):
        alive = [z for z in zones[sign] if z["made"] <= t and t - z["swing"] <= max_age]
        alive = [z for z in alive if not (sign * (bars["close"][z["made"] + 1 : t + 1] - z["far"]) < 0.0).any()]
        reach = bars["low"] if sign > 0 else bars["high"]
        known = {f"{side}_high": close, f"{side}_low": close, f"{side}_distance": 0.0, f"{side}_mitigated": 0.0}
        if alive:
            z = max(alive, key=lambda z: (sign * z["near"], z["made"]))
            known[f"{side}_high"], known[f"{side}_low"] = max(z["near"], z["far"]), min(z["near"], z["far"])
            known[f"{side}_distance"] = sign * (close - z["near"]) / close
            entered = (sign * (reach[z["made"] + 1 : t + 1] - z["near"]) <= 0.0).any()
            known[f"{side}_mitigated"] = float(entered)
        row |= known | {f"{side}_count": len(alive)}
    return row


@pytest.mark.parametrize(
    ("left", "right", "length", "factor", "max_age"),
    [(5, 5, 14, 0.4371, 300), (2, 2, 5, 1.0313, 60), (1, 1, 3, 0.0, 12), (3, 1, 30, 0.7019, 100)],
)
def test_order_blocks_are_the_last_opposite_candles_before_a_displacement(bars, left, right, length, factor, max_age):
    swings, zones = Swings(bars, left, right, max_age), {1: [], -1: []}
    body = bars["close"] - bars["open"]
    for b in range(N):
        sign, p = swings.break_at(b) or (0, 0)
        if sign == 0 or sign * body[b] <= 0.0 or abs(body[b]) < factor * mean_true_range(bars, b - 1, length):
            continue
        opposite = [c for c in range(p, b) if sign * body[c] < 0.0]
        if opposite:
            near, far = ("high", "low") if sign > 0 else ("low", "high")
            zones[sign].append(
                {"made": b, "swing": p, "near": bars[near][opposite[-1]], "far": bars[far][opposite[-1]]}
            )
    assert min(len(z) for z in zones.values()) >= 2
    expected = [None if t < left + right else order_block_row(zones, t, bars, max_age) for t in range(N)]
    assert max(row["bullish_count"] for row in expected if row) <= 16
    ours = feature(bars, "order_blocks", left=left, right=right, length=length, factor=factor, max_age=max_age)
    agree(ours, expected)


def test_an_order_block_is_made_touched_and_lost():
    rows = [
        (10, 10.5, 9.5, 10), (10, 11, 9.8, 10.8), (10.8, 12, 10.6, 11.5), (11.5, 11.6, 10.6, 10.8),
        (10.8, 10.9, 10.2, 10.4),            # bar 4 confirms the high of 12; it is also the last falling candle
        (10.4, 13, 10.4, 12.8),              # bar 5 displaces and closes above 12
        (12.8, 13.4, 12.4, 13.2),
        (13.2, 13.3, 10.8, 11.4),            # bar 7 trades into 10.2..10.9
        (11.4, 11.5, 10.0, 10.3),            # bar 8 closes inside
        (10.3, 10.4, 9.9, 10.0),             # bar 9 closes below: lost
    ]  # fmt: skip
    bars = candles(rows)
    mirrored = {name: 30.0 - bars[name] for name in ("open", "close")}
    mirrored |= {"high": 30.0 - bars["low"], "low": 30.0 - bars["high"]}
    sizes = {"left": 2, "right": 2, "length": 3, "factor": 1.5, "max_age": 50}
    ours, other = feature(bars, "order_blocks", **sizes), feature(mirrored, "order_blocks", **sizes)
    assert list(ours["bullish_count"][4:]) == [0, 1, 1, 1, 1, 0]
    assert list(ours["bullish_mitigated"][4:]) == [0, 0, 0, 1, 1, 0]
    assert (ours["bullish_high"][5], ours["bullish_low"][5]) == (10.9, 10.2)
    assert ours["bullish_distance"][5] == pytest.approx((12.8 - 10.9) / 12.8)
    assert ours["bullish_distance"][8] < 0
    assert not ours["bearish_count"][4:].any()
    assert list(other["bearish_count"][4:]) == [0, 1, 1, 1, 1, 0]
    assert list(other["bearish_mitigated"][4:]) == [0, 0, 0, 1, 1, 0]
    assert other["bearish_low"][5] == pytest.approx(30 - 10.9)
    assert other["bearish_high"][5] == pytest.approx(30 - 10.2)


def test_of_many_order_blocks_the_newest_sixteen_are_kept():
    path = [100.0]
    for _ in range(30):
        path += [path[-1] + 3.0, path[-1] + 2.0]
    bars = line(path)
    ours = feature(bars, "order_blocks", left=1, right=1, length=2, factor=0.0, max_age=200)
    assert ours["bullish_count"][-1] == 16
    # A crash closes below all that are kept but the oldest of them: it is far down, yet not as far as those dropped.
    count = feature(line([*path, path[-1] - 3.5]), "order_blocks", left=1, right=1, length=2, factor=0.0)
    assert 1 <= count["bullish_count"][-1] < 16


def gap_row(bars, t, min_size, max_age, ring=32):
    close, row, full = bars["close"][t], {}, 0
    for side, sign, near, far in (
        ("bullish", 1, bars["low"], bars["high"]),
        ("bearish", -1, bars["high"], bars["low"]),
    ):
        found = []
        for c in range(max(2, t - max_age), t + 1):
            size = sign * (near[c] - far[c - 2])
            if size <= 0.0 or size < min_size * bars["close"][c]:
                continue
            left = sign * min(sign * near[c : t + 1])  # where later bars have traded it down to
            if c == t or sign * (min(sign * near[c + 1 : t + 1]) * sign - far[c - 2]) > 0.0:
                found.append((sign * left, c, left, far[c - 2]))
        full = max(full, len(found))
        best = max(found[-ring:], default=None)
        row |= {
            f"{side}_distance": sign * (close - best[2]) / close if best else 0.0,
            f"{side}_size": sign * (best[2] - best[3]) / close if best else 0.0,
            f"{side}_count": min(len(found), ring),
        }  # fmt: skip
    return row, full


@pytest.mark.parametrize(("min_size", "max_age"), [(0.0, 300), (0.0, 10), (0.0031, 60)])
def test_fair_value_gaps_are_what_no_later_bar_has_filled(bars, min_size, max_age):
    rows = [gap_row(bars, t, min_size, max_age) if t >= 2 else (None, 0) for t in range(N)]
    assert 0 < max(full for _, full in rows) <= 32  # whether the register overflows is another test
    agree(feature(bars, "fair_value_gaps", min_size=min_size, max_age=max_age), [row for row, _ in rows])


def test_a_fair_value_gap_is_opened_narrowed_and_filled():
    rows = [
        (9.5, 10, 9, 9.8), (9.8, 12, 9.7, 11.9), (11.9, 13, 11, 12.8),  # bar 2: nothing traded between 10 and 11
        (12.8, 13, 10.4, 12.0),                                         # bar 3 takes 0.6 of it
        (12.0, 12.5, 10.5, 12.0), (12.0, 12.1, 10.0, 11.0),             # bar 5 reaches 10
    ]  # fmt: skip
    ours = feature(candles(rows), "fair_value_gaps", max_age=10)
    assert list(ours["bullish_count"][2:]) == [1, 1, 1, 0]
    np.testing.assert_allclose(ours["bullish_size"][2:], [1 / 12.8, 0.4 / 12, 0.4 / 12, 0.0])
    np.testing.assert_allclose(ours["bullish_distance"][2:], [1.8 / 12.8, 1.6 / 12, 1.6 / 12, 0.0])
    assert not ours["bearish_count"][2:].any()


def test_of_many_fair_value_gaps_the_newest_32_are_kept():
    rising = line(np.arange(100.0, 200.0, 1.0))
    rising["low"] = rising["low"] + 0.1  # bar c spans (c - 0.9, c): the bar after next starts 1.1 above its high
    ours = feature(rising, "fair_value_gaps")
    assert ours["bullish_count"][-1] == 32
    expected = [gap_row(rising, t, 0.0, 300)[0] if t >= 2 else None for t in range(100)]
    agree(ours, expected)


@pytest.mark.parametrize(
    ("left", "right", "bars_to_fail", "max_age"), [(5, 5, 3, 200), (1, 1, 1, 10), (2, 3, 6, 30), (1, 2, 2, 60)]
)
def test_sweeps_take_out_untraded_swings(bars, left, right, bars_to_fail, max_age):
    close = bars["close"]
    swept = {"high": [0] * N, "low": [0] * N}
    failed = [0] * N
    for side, sign in (("high", 1), ("low", -1)):
        breakouts = {}
        for p in swing_bars(bars, side, left, right):
            level = bars[side][p]
            beyond = [t for t in range(p + 1, N) if sign * (bars[side][t] - level) > 0.0]
            if not beyond or beyond[0] - p > max_age:
                continue
            t = beyond[0]
            assert t > p + right
            if sign * (close[t] - level) <= 0.0:
                swept[side][t] += 1
            else:
                breakouts[t] = sign * max(sign * level, sign * breakouts.get(t, level))
        for b, level in breakouts.items():
            back = [t for t in range(b + 1, min(b + bars_to_fail, N - 1) + 1) if sign * (close[t] - level) <= 0.0]
            if back and not any(b < other < back[0] for other in breakouts):
                failed[back[0]] = -sign
    assert min(map(sum, swept.values())) > 0
    assert {-1, 1} <= set(failed)

    def age(events, t):
        past = [t - e for e in range(t + 1) if events[e]]
        return min([*past, max_age])

    expected = [
        None if t < left + right else {
            "swept_highs": swept["high"][t], "swept_lows": swept["low"][t], "failed_breakout": failed[t],
            "swept_highs_age": age(swept["high"], t), "swept_lows_age": age(swept["low"], t),
            "failed_breakout_age": age(failed, t),
        }
        for t in range(N)
    ]  # fmt: skip
    agree(feature(bars, "liquidity_sweep", left=left, right=right, bars=bars_to_fail, max_age=max_age), expected)


def test_equal_highs_are_swept_together_and_a_breakout_fails():
    up = [(9, 9.5, 8.5, 9), (9, 11, 9, 10), (10, 10, 8, 9)]
    rows = [
        *up, *up,                # two highs at 11, confirmed by the bar after each
        (9, 11.2, 8.9, 10.5),    # bar 6: above both and back
        (10.5, 10.6, 10, 10.2), (10.2, 10.4, 10, 10.3),
        (10.3, 11.8, 10.3, 11.6), (11.6, 11.7, 11.3, 11.4), (11.4, 11.5, 10.9, 11.1),  # bar 9 closes above 11.2,
    ]  # fmt: skip
    ours = feature(candles(rows), "liquidity_sweep", left=1, right=1, bars=2, max_age=20)
    assert list(np.flatnonzero(ours["swept_highs"] > 0)) == [6]
    assert ours["swept_highs"][6] == 2
    assert ours["swept_highs_age"][8] == 2
    assert list(np.flatnonzero(ours["failed_breakout"] < 0)) == [11]  # ... and bar 11 closes back below it
    late = feature(candles(rows), "liquidity_sweep", left=1, right=1, bars=1, max_age=20)
    assert not (late["failed_breakout"] < 0).any()


def test_of_many_untraded_swings_the_newest_32_are_kept():
    path = [200.0]
    for _ in range(40):
        path += [path[-1] + 1.0, path[-1] - 1.0]
    bars = points([*path, path[-1] - 1.0, path[-1] - 2.0])
    bars["high"][-1] = 500.0
    ours = feature(bars, "liquidity_sweep", left=1, right=1, max_age=500)
    assert ours["swept_highs"][-1] == 32
    short = feature(bars, "liquidity_sweep", left=1, right=1, max_age=20)
    assert short["swept_highs"][-1] == len([p for p in swing_bars(bars, "high", 1, 1) if len(path) + 1 - p <= 20])


@pytest.mark.parametrize(("length", "factor", "max_age"), [(14, 5.0037, 100), (1, 2.0113, 10), (5, 3.0171, 37)])
def test_a_trading_range_is_the_longest_stretch_no_higher_than_allowed(bars, length, factor, max_age):
    expected = []
    for t in range(N):
        if t < length:
            expected.append(None)
            continue
        unit = mean_true_range(bars, t, length)
        n = 1
        for longer in range(1, min(max_age, t + 1) + 1):
            if max(bars["high"][t - longer + 1 : t + 1]) - min(bars["low"][t - longer + 1 : t + 1]) <= factor * unit:
                n = longer
        top, bottom = max(bars["high"][t - n + 1 : t + 1]), min(bars["low"][t - n + 1 : t + 1])
        expected.append({
            "duration": n, "height": (top - bottom) / unit if unit else 0.0, "high": top, "low": bottom,
            "position": (bars["close"][t] - bottom) / (top - bottom) if top > bottom else 0.5,
        })  # fmt: skip
    ours = feature(bars, "trading_range", length=length, factor=factor, max_age=max_age)
    agree(ours, expected, rtol=1e-10)
    assert np.nanmax(ours["duration"]) > 3 * length
    assert np.nanmax(ours["duration"]) == max_age or max_age == 100


def test_a_trading_range_ends_where_price_leaves_it():
    path = [10, 11] * 10 + [14]
    ours = feature(line(path), "trading_range", length=4, factor=2.0, max_age=50)
    assert ours["duration"][19] == 20
    assert (ours["low"][19], ours["high"][19], ours["position"][19], ours["height"][19]) == (10, 11, 1, 1)
    assert ours["duration"][20] == 1  # mean range (1 + 1 + 1 + 3) / 4, at most 3: 11..14 alone fits
    assert (ours["low"][20], ours["high"][20], ours["height"][20]) == (11, 14, 2)


@pytest.mark.parametrize(("left", "right", "max_age"), WINDOWS)
def test_fibonacci_levels_divide_the_leg_between_the_newest_swings(bars, left, right, max_age):
    swings, expected, legs = Swings(bars, left, right, max_age), [], set()
    names = [f"level_{round(1000 * r)}" for r in RATIOS]
    for t in range(N):
        if t < left + right:
            expected.append(None)
            continue
        close = bars["close"][t]
        row = {"direction": 0, "retracement": 0.5, "distance": 0.0} | dict.fromkeys(names, close)
        highs, lows = swings.known("high", t), swings.known("low", t)
        if highs and lows and bars["high"][highs[-1]] > bars["low"][lows[-1]]:
            top, bottom = bars["high"][highs[-1]], bars["low"][lows[-1]]
            start, end = (bottom, top) if highs[-1] >= lows[-1] else (top, bottom)
            levels = [end + r * (start - end) for r in RATIOS]
            gaps = sorted((abs(close - v), (close - v) / close) for v in levels)
            row = dict(zip(names, levels, strict=True)) | {
                "direction": 1 if end == top else -1,
                "retracement": min(max((close - end) / (start - end), -10.0), 10.0),
                "distance": gaps[0][1],
            }
            # Halfway between two levels either is nearest: no sign is right there.
            if gaps[1][0] - gaps[0][0] < 1e-9:
                row["distance"] = math.nan
        legs.add(row["direction"])
        expected.append(row)
    ours = feature(bars, "fibonacci_levels", left=left, right=right, max_age=max_age)
    for t, row in enumerate(expected):
        if row and math.isnan(row["distance"]):
            row["distance"] = ours["distance"][t]
    agree(ours, expected, rtol=1e-10)
    assert legs >= {-1, 1} or right > max_age


def test_a_pullback_of_half_a_leg_has_retraced_half_of_it():
    ours = feature(points([12, 11, 10, 14, 17, 20, 18, 15]), "fibonacci_levels", left=1, right=1, max_age=50)
    assert ours["direction"][5] == 0  # the top is not confirmed
    assert (ours["direction"][7], ours["retracement"][7], ours["distance"][7]) == (1, 0.5, 0)
    levels = [ours[f"level_{r}"][7] for r in (236, 382, 500, 618, 786)]
    np.testing.assert_allclose(levels, [17.64, 16.18, 15.0, 13.82, 12.14])


def pivots(kind, high, low, close):
    span, pivot = high - low, (high + low + close) / 3
    if kind == "classic":
        return {
            "pivot": pivot, "r1": 2 * pivot - low, "r2": pivot + span, "r3": high + 2 * (pivot - low),
            "s1": 2 * pivot - high, "s2": pivot - span, "s3": low - 2 * (high - pivot),
        }  # fmt: skip
    if kind == "fibonacci":
        rows = {
            f"{s}{k + 1}": pivot + g * f * span
            for k, f in enumerate((0.382, 0.618, 1))
            for s, g in (("r", 1), ("s", -1))
        }
        return {"pivot": pivot} | rows
    return {
        f"{s}{k + 1}": close + g * span * 1.1 / d for k, d in enumerate((12, 6, 4, 2)) for s, g in (("r", 1), ("s", -1))
    }


@pytest.mark.parametrize("kind", ["classic", "fibonacci", "camarilla"])
@pytest.mark.parametrize("minutes", [1440, 240, 7])
@pytest.mark.parametrize("begin", ["2024-03-05T00:00+00:00", "2024-03-05T17:35+00:00"])
def test_pivots_come_from_the_period_before(bars, kind, minutes, begin):
    opened = datetime.datetime.fromisoformat(begin)
    clock = [opened + datetime.timedelta(minutes=5 * i) for i in range(N)]
    del clock[400:]
    clock += [c + datetime.timedelta(days=3) for c in clock[200:400]]  # two days without a bar
    epoch = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)
    at = [int((c - epoch).total_seconds()) for c in clock]
    period = [s // (60 * minutes) for s in at]
    whole = sorted(set(period))
    if at[0] % (60 * minutes):
        whole = whole[1:]
    expected = []
    for t in range(N):
        close, before = bars["close"][t], [k for k in whole if k < period[t]]
        if before:
            rows = [j for j in range(N) if period[j] == before[-1]]
            levels = pivots(kind, bars["high"][rows].max(), bars["low"][rows].min(), bars["close"][rows[-1]])
        else:
            levels = dict.fromkeys(pivots(kind, 1, 1, 1), close)
        gaps = sorted((abs(close - v), (close - v) / close) for v in levels.values())
        expected.append(levels | {"distance": gaps[0][1], "unclear": gaps[1][0] - gaps[0][0] < 1e-9})
    ours = feature(bars | {"ts": np.array(at) * 1_000_000_000}, f"pivot_{kind}", period_minutes=minutes)
    for t, row in enumerate(expected):
        if row.pop("unclear"):  # halfway between two levels, or in a period without a range
            assert abs(abs(row["distance"]) - abs(ours["distance"][t])) < 1e-11
            row["distance"] = ours["distance"][t]
    agree(ours, expected, rtol=1e-11)
    assert (ours["r1"] != bars["close"]).sum() > 50


def test_pivots_of_a_day_from_120_to_90_that_closed_at_105():
    day = candles([(100, 120, 90, 105), (105, 106, 104, 105)]) | {"ts": np.array([0, 86_400_000_000_000])}
    classic = {name: row[1] for name, row in feature(day, "pivot_classic").items()}
    assert classic == {"pivot": 105, "r1": 120, "r2": 135, "r3": 150, "s1": 90, "s2": 75, "s3": 60, "distance": 0}
    fibonacci = feature(day, "pivot_fibonacci")
    np.testing.assert_allclose(
        [fibonacci[k][1] for k in ("pivot", "r1", "r2", "r3", "s1", "s2", "s3", "distance")],
        [105, 116.46, 123.54, 135, 93.54, 86.46, 75, 0],
    )
    camarilla = feature(day, "pivot_camarilla")
    np.testing.assert_allclose(
        [camarilla[k][1] for k in ("r1", "r2", "r3", "r4", "s1", "s2", "s3", "s4", "distance")],
        [107.75, 110.5, 113.25, 121.5, 102.25, 99.5, 96.75, 88.5, -2.75 / 105],
    )
    part = {name: column.copy() for name, column in day.items()}
    part["ts"][0] += 60_000_000_000  # who comes a minute late has not seen the day
    assert (feature(part, "pivot_classic")["r1"] == part["close"]).all()


def written(price):
    """Return the decimal that a price is written as."""
    return Fraction(Decimal(repr(float(price))))


@pytest.mark.parametrize(
    ("divisions", "step"),
    [(10, 0.0), (1, 0.0), (2, 0.0), (4, 0.0), (100, 0.0), (10, 0.1), (10, 0.05), (10, 2.5), (10, 1e-8), (10, 250.0)],
)
def test_round_numbers_are_exact_decimals(divisions, step):
    rng = np.random.default_rng(8)
    prices = [
        0.3,
        0.7,
        1.1,
        0.1,
        1000.0,
        999.9,
        0.001,
        1e-8,
        3e-8,
        67321.5,
        70000.0,
        1e14,
        123456789012345.0,
        0.29,
        1e22,
    ]
    for decimals in (0, 1, 2, 5, 8):
        prices += [round(v, decimals) for v in 10.0 ** rng.uniform(-decimals + 1, 5, 200)]
        prices += [float(Decimal(int(k)).scaleb(-decimals)) for k in rng.integers(1, 3_000, 200)]
    prices = np.array([p for p in prices if p > 0.0])
    expected = []
    for price in prices:
        exact = written(price)
        unit = written(step) if step else Fraction(10) ** math.floor(Decimal(repr(float(price))).log10()) / divisions
        count = exact / unit
        below, above = float(math.floor(count) * unit), float(math.ceil(count) * unit)
        if count > 10**15:  # the step is finer than a price can say
            below = above = price
        expected.append({
            "below": below, "above": above, "below_distance": (price - below) / price,
            "above_distance": (above - price) / price,
        })  # fmt: skip
    ours = feature({"close": prices}, "round_numbers", divisions=divisions, step=step)
    for name in ours:
        np.testing.assert_array_equal(ours[name], [row[name] for row in expected], err_msg=name)


def test_round_numbers_a_trader_would_name():
    close = np.array([67_321.5, 70_000.0, 0.3])
    thousands = feature({"close": close}, "round_numbers")
    np.testing.assert_array_equal(thousands["below"], [67_000.0, 70_000.0, 0.3])
    np.testing.assert_array_equal(thousands["above"], [68_000.0, 70_000.0, 0.3])
    np.testing.assert_allclose(thousands["below_distance"], [321.5 / 67_321.5, 0.0, 0.0])
    np.testing.assert_allclose(thousands["above_distance"], [678.5 / 67_321.5, 0.0, 0.0])
    quarters = feature({"close": close}, "round_numbers", divisions=4)
    assert (quarters["below"][0], quarters["above"][0]) == (65_000.0, 67_500.0)
    tenths = feature({"close": np.array([0.3, 0.7, 1.1])}, "round_numbers", step=0.1)
    np.testing.assert_array_equal(tenths["below"], [0.3, 0.7, 1.1])
    assert math.floor(0.3 / 0.1) * 0.1 == 0.2  # what is not done
