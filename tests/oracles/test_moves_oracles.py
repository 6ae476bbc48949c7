"""Features of moves equal plain Python twins from the definition, in whole ticks where a kernel works in doubles."""

import math
from pathlib import Path

import numpy as np
import pytest

from research.features.moves import SPECS

SPEC = {spec.name: spec for spec in SPECS}
N = 2_000
MINUTE_NS = 60_000_000_000
DAY_NS = 1_440 * MINUTE_NS
MIDNIGHT_NS = 1_700_006_400_000_000_000 // DAY_NS * DAY_NS
STEP = 50  # a target, in ticks


@pytest.fixture(scope="module", params=[0.01, 1e-8, 1e6], ids=["cents", "tiny ticks", "huge ticks"])
def bars(request):
    """Return bars in whole ticks, and the tick: a kernel sees them times the tick, which doubles mostly cannot hold."""
    rng = np.random.default_rng(13)
    close = 10_000 + np.cumsum(rng.integers(-12, 13, N))
    close[500] += 3 * STEP  # several targets in one bar, up and down
    close[900:] -= 400
    close[1_200:1_260] = close[1_200]
    before = np.concatenate([close[:1], close[:-1]]) + rng.integers(-3, 4, N)
    still = np.zeros(N, dtype=bool)
    still[1_201:1_260] = True
    before[still] = close[still]
    ticks = {
        "open": before, "close": close,
        "high": np.maximum(before, close) + np.where(still, 0, rng.integers(0, 8, N)),
        "low": np.minimum(before, close) - np.where(still, 0, rng.integers(0, 8, N)),
    }  # fmt: skip
    ts = MIDNIGHT_NS + 700 * MINUTE_NS + np.arange(N) * 5 * MINUTE_NS
    assert min(column.min() for column in ticks.values()) > 0
    return ticks, request.param, ts


def feature(bars, name, **params):
    ticks, tick, ts = bars
    columns = {"ts": ts, **{column: values * tick for column, values in ticks.items()}}
    out = SPEC[name].apply([columns[column] for column in SPEC[name].inputs], {"target": STEP * tick, **params})
    return dict(zip(SPEC[name].outputs, out, strict=True))


def agree(ours, theirs, scale):
    # A difference of prices of ten thousand ticks is off by their rounding, some 1e-12 ticks.
    theirs = np.asarray(theirs, dtype=float)
    np.testing.assert_array_equal(np.isnan(ours), np.isnan(theirs))
    np.testing.assert_allclose(ours, theirs, rtol=0.0, atol=1e-10 * scale)


def legs_of(path):
    """Return the legs of a path of whole ticks: direction, place of the anchor, place that confirms, place that ends.

    A leg leads from an extreme to the next; it is confirmed, and the one before is over, once the path is a step away
    from the extreme. The last one may go on beyond the path: its end is the path's length.
    """
    first = None
    for j in range(len(path)):
        if path[j] - min(path[: j + 1]) >= STEP:
            first = (1, path.index(min(path[: j + 1])), j)
        elif max(path[: j + 1]) - path[j] >= STEP:
            first = (-1, path.index(max(path[: j + 1])), j)
        if first:
            break
    legs = []
    while first:
        direction, anchor, confirmed = first
        ends = [
            j
            for j in range(confirmed + 1, len(path))
            if max(direction * p for p in path[anchor : j + 1]) - direction * path[j] >= STEP
        ]
        end = ends[0] if ends else len(path)
        legs.append((direction, anchor, confirmed, end))
        turn = max(range(anchor, end), key=lambda j: direction * path[j])
        first = (-direction, turn, end) if ends else None
    return legs


def days_of(bars):
    """Yield each day's path: its first open, then its closes."""
    ticks, _, ts = bars
    for day in np.unique(ts // DAY_NS):
        rows = np.flatnonzero(ts // DAY_NS == day)
        yield [int(ticks["open"][rows[0]]), *(int(p) for p in ticks["close"][rows])]


def test_target_moves_today_are_the_whole_steps_of_the_day_s_legs(bars):
    expected = []
    for path in days_of(bars):
        legs = legs_of(path)
        for j in range(1, len(path)):
            count = {1: 0, -1: 0}
            for direction, anchor, confirmed, end in legs:
                if confirmed <= j:
                    way = max(direction * (p - path[anchor]) for p in path[anchor : min(j, end - 1) + 1])
                    count[direction] += way // STEP
            expected.append((count[1], count[-1], count[1] - count[-1]))
    ours = feature(bars, "target_moves_today")
    for name, column in zip(("up", "down", "net"), np.array(expected).T, strict=True):
        np.testing.assert_array_equal(ours[name], column)
    assert ours["up"].max() >= 5
    assert ours["down"].max() >= 5


def test_target_distance_is_the_way_to_the_next_step_of_the_leg_or_to_its_turn(bars):
    expected = []
    for path in days_of(bars):
        legs = legs_of(path)
        for j in range(1, len(path)):
            upper, lower, size = min(path[: j + 1]) + STEP, max(path[: j + 1]) - STEP, 0.0
            for direction, anchor, confirmed, end in legs:
                if confirmed <= j < end:
                    extreme = max(path[anchor : j + 1], key=lambda p, d=direction: d * p)
                    done = abs(extreme - path[anchor]) // STEP
                    onward, back = path[anchor] + direction * (done + 1) * STEP, extreme - direction * STEP
                    upper, lower = (onward, back) if direction > 0 else (back, onward)
                    size = (extreme - path[anchor]) / STEP
            up, down = upper - path[j], path[j] - lower
            expected.append((up, down, down / (up + down), size))
    ours = feature(bars, "target_distance")
    tick = bars[1]
    for name, column in zip(("up", "down", "position", "leg"), np.array(expected).T, strict=True):
        agree(ours[name], column * (tick if name in ("up", "down") else 1.0), tick if name in ("up", "down") else 1.0)
    assert (ours["leg"] > 1.0).any()
    assert (ours["leg"] < -1.0).any()


def test_moves_of_a_dollar_are_those_that_a_hand_counts():
    close = [100.4, 101.0, 102.3, 101.4, 101.3, 101.35, 99.3, 100.29, 100.3, 100.0]
    ts = MIDNIGHT_NS + np.array([*range(9), 1_440]) * MINUTE_NS
    hand = [ts, np.array([100.0, *close[:-1]]), np.array(close)]
    up, down, net = SPEC["target_moves_today"].apply(hand, {"target": 1.0})
    # A dollar above the open; a second one of 2.3; 101.3 is a dollar below 102.3; 99.3 is the third; 100.3 turns up.
    np.testing.assert_array_equal(up, [0, 1, 2, 2, 2, 2, 2, 2, 3, 0])
    np.testing.assert_array_equal(down, [0, 0, 0, 0, 1, 1, 3, 3, 3, 0])
    np.testing.assert_array_equal(net, up - down)
    ahead, behind, position, leg = SPEC["target_distance"].apply(hand, {"target": 1.0})
    np.testing.assert_allclose(ahead, [0.6, 1.0, 0.7, 1.6, 1.0, 0.95, 1.0, 0.01, 1.0, 1.0], atol=1e-12)
    np.testing.assert_allclose(behind, [1.0, 1.0, 1.0, 0.1, 1.0, 1.05, 1.0, 1.99, 1.0, 0.7], atol=1e-12)
    np.testing.assert_allclose(position, behind / (ahead + behind), atol=1e-12)
    np.testing.assert_allclose(leg, [0, 1.0, 2.3, 2.3, -1.0, -1.0, -3.0, -3.0, 1.0, 0], atol=1e-12)


def test_a_jump_of_a_hundred_trillion_targets_is_counted_at_once():
    ts = MIDNIGHT_NS + np.arange(4) * MINUTE_NS
    close = np.array([1e-6, 1e14, 1e-6, 1e150])
    hand = [ts, np.full(4, 1e-6), close]
    up, down, net = SPEC["target_moves_today"].apply(hand, {"target": 1.0})
    np.testing.assert_array_equal(up, [0.0, 1e14, 1e14, 1e14 + 1e150])
    np.testing.assert_array_equal(down, [0.0, 0.0, 1e14, 1e14])
    np.testing.assert_array_equal(net, up - down)
    assert np.isfinite(SPEC["target_distance"].apply(hand, {"target": 1e-12})).all()


@pytest.mark.parametrize("length", [1, 10, 60])
def test_move_speed_is_the_move_per_bar_and_its_change(bars, length):
    ticks, tick, _ = bars
    close = ticks["close"].astype(float)
    move = np.full(N, math.nan)
    move[length:] = close[length:] - close[:-length]
    change = np.full(N, math.nan)
    change[2 * length :] = move[2 * length :] - move[length:-length]
    move[: 2 * length] = math.nan
    ours = feature(bars, "move_speed", length=length)
    agree(ours["velocity"], move * tick / length, tick)
    agree(ours["acceleration"], change * tick / length, tick)
    agree(ours["targets"], move / STEP, 1.0)
    agree(ours["targets_change"], change / STEP, 1.0)


def test_move_speed_of_a_straight_line_is_its_slope():
    velocity, acceleration, targets, change = SPEC["move_speed"].apply([3.0 + 0.5 * np.arange(40)], {"target": 2.0})
    np.testing.assert_array_equal(velocity[20:], 0.5)
    np.testing.assert_array_equal(acceleration[20:], 0.0)
    np.testing.assert_array_equal(targets[20:], 2.5)
    np.testing.assert_array_equal(change[20:], 0.0)


@pytest.mark.parametrize(
    ("width", "min_bars", "max_bars"),
    [(0.5, 15, 60), (1.0, 15, 60), (0.5, 3, 7), (2.0, 5, 20), (0.2, 1, 1), (1.0, 9, 4)],
)
def test_consolidation_is_the_longest_run_within_the_band(bars, width, min_bars, max_bars):
    ticks, tick, _ = bars
    high, low, close = (ticks[name].tolist() for name in ("high", "low", "close"))
    runs = []
    for i in range(N):
        fitting = [
            n
            for n in range(1, min(max_bars, i + 1) + 1)
            if max(high[i + 1 - n : i + 1]) - min(low[i + 1 - n : i + 1]) <= width * STEP
        ]
        runs.append(max(fitting, default=0))
    ranges = [max(high[i + 1 - n : i + 1]) - min(low[i + 1 - n : i + 1]) if n else 0 for i, n in enumerate(runs)]
    moves = []
    for i in range(N):
        ends = [s for s in range(max(i - max_bars, 0), i + 1) if runs[s] >= min(min_bars, max_bars)]
        move = 0
        if ends:
            band = slice(ends[-1] + 1 - runs[ends[-1]], ends[-1] + 1)
            move = max(close[i] - max(high[band]), 0) + min(close[i] - min(low[band]), 0)
        moves.append(move)
    ours = feature(bars, "consolidation", width=width, min_bars=min_bars, max_bars=max_bars)
    np.testing.assert_array_equal(ours["bars"], runs)
    agree(ours["range"], np.array(ranges) * tick, tick)
    agree(ours["move"], np.array(moves) * tick, tick)
    assert len(set(runs)) > 1
    assert any(moves)


def test_a_consolidation_that_one_sees_is_found():
    high = np.array([10.2, 10.3, 10.3, 10.2, 11.0, 11.5, 9.0, 10.1])
    low = np.array([9.9, 10.0, 9.9, 9.8, 10.2, 10.9, 8.0, 10.0])
    close = np.array([10.0, 10.1, 10.0, 10.2, 10.9, 11.4, 8.5, 10.05])
    found = SPEC["consolidation"].apply([high, low, close], {"width": 0.5, "min_bars": 3, "max_bars": 4})
    np.testing.assert_array_equal(found[0], [1, 2, 3, 4, 0, 0, 0, 1])
    np.testing.assert_allclose(found[1], [0.3, 0.4, 0.4, 0.5, 0, 0, 0, 0.1], atol=1e-12)
    np.testing.assert_allclose(found[2], [0, 0, 0, 0, 0.6, 1.1, -1.3, 0], atol=1e-12)  # from 9.8 to 10.3


def test_every_feature_of_the_family_has_an_oracle():
    source = Path(__file__).read_text(encoding="utf-8")
    assert [name for name in SPEC if f'"{name}"' not in source] == []
