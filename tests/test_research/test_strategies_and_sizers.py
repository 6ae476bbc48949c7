"""What the rules and the sizer decide, bar by bar, and against slow twins."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from research.risk import SIZERS
from research.strategies import STRATEGIES

NAN = math.nan
numbers = st.lists(st.one_of(st.just(NAN), st.sampled_from([-3.0, -1.0, -0.5, 0.0, 0.5, 1.0, 3.0])), max_size=40)


def decided(spec, *inputs, **params):
    arguments = spec.arguments(params)
    return spec.run([np.array(column, dtype=float) for column in inputs], arguments, spec.initial_state(arguments))[0]


def trend(values, quality=None, **params):
    quality = [1.0] * len(values) if quality is None else quality
    return list(decided(STRATEGIES["trend"], values, quality, **{"enter": 1.0, "exit": 0.25, **params}))


def threshold(values, **params):
    return list(decided(STRATEGIES["threshold"], values, **{"enter": 1.0, **params}))


def sized(target, volatility, **params):
    params = {"target_volatility": 0.01, "max_exposure": 2.0, "band": 0.1, **params}
    return list(decided(SIZERS["volatility_target"], target, volatility, **params))


def test_a_trend_is_entered_beyond_and_left_within():
    assert trend([0.5, 1.1, 0.5, 0.3, 0.2, 0.5, -1.1, -0.3, -0.2]) == [0, 1, 1, 1, 0, 0, -1, -1, 0]


def test_a_threshold_touched_is_not_crossed():
    assert trend([1.0, 1.1, 0.25, 0.24]) == [0, 1, 1, 0]


def test_a_flip_closes_and_turns_at_once_if_it_may():
    assert trend([2.0, -0.5, -2.0]) == [1, 0, -1]
    assert trend([2.0, -2.0, 2.0]) == [1, -1, 1]
    assert trend([2.0, -2.0, 2.0], allow_short=0) == [1, 0, 1]


def test_quality_opens_but_does_not_close():
    assert trend([2.0, 2.0, 2.0, 0.0], [0.1, 0.6, 0.1, 0.1], min_quality=0.5) == [0, 1, 1, 0]
    assert trend([2.0, -2.0], [0.6, 0.1], min_quality=0.5) == [1, 0]


def test_an_exit_beyond_the_entry_is_the_entry():
    assert trend([2.0, 1.5, 1.0, 0.9], exit=5.0) == trend([2.0, 1.5, 1.0, 0.9], exit=1.0) == [1, 1, 1, 0]


def test_a_rule_holds_what_it_has_through_a_gap():
    assert trend([NAN, 2.0, NAN, 0.0, NAN]) == [0, 1, 1, 0, 0]
    assert trend([2.0, 0.0, 0.0], [1.0, NAN, 1.0]) == [1, 1, 0]
    assert threshold([NAN, 2.0, NAN, -0.5, NAN]) == [0, 1, 1, 0, 0]


def test_a_score_is_followed_with_hysteresis():
    assert threshold([2.0, 0.5, -0.2, 0.5, -1.5, 0.2]) == [1, 1, 0, 0, -1, 0]
    assert threshold([2.0, 0.5, -0.2, -0.6, 2.0], exit=-0.5) == [1, 1, 1, 0, 1]
    assert threshold([2.0, -2.0], allow_short=0) == [1, 0]


def test_holding_times_are_kept():
    assert threshold([2.0, -2.0, -2.0, -2.0], min_hold_bars=3) == [1, 1, 1, -1]
    assert threshold([2.0, -2.0], min_hold_bars=0) == [1, -1]
    assert threshold([2.0] * 7, max_hold_bars=3) == [1, 1, 1, 0, 1, 1, 1]
    assert threshold([2.0, -2.0, -2.0], min_hold_bars=9, max_hold_bars=2) == [1, 1, 0]
    # A bar without a score ages the position, and the limit waits for the next score.
    assert threshold([2.0, NAN, NAN, NAN, 2.0, 2.0], max_hold_bars=2) == [1, 1, 1, 1, 0, 1]


def trend_twin(values, quality, enter, exit, min_quality, allow_short):
    side, out = "flat", []
    for strength, merit in zip(values, quality, strict=True):
        if not (math.isnan(strength) or math.isnan(merit)):
            limit = min(enter, exit)
            if (side == "long" and strength < limit) or (side == "short" and -strength < limit):
                side = "flat"
            if side == "flat" and merit >= min_quality and strength > enter:
                side = "long"
            elif side == "flat" and merit >= min_quality and -strength > enter and allow_short:
                side = "short"
        out.append({"flat": 0.0, "long": 1.0, "short": -1.0}[side])
    return out


@given(values=numbers, merits=numbers, enter=st.sampled_from([0.0, 0.5, 1.0]), exit=st.sampled_from([0.0, 0.5, 2.0]),
       short=st.sampled_from([0, 1]))  # fmt: skip
@settings(max_examples=200, deadline=None)
def test_the_trend_rule_equals_its_twin(values, merits, enter, exit, short):
    n = min(len(values), len(merits))
    ours = trend(values[:n], merits[:n], enter=enter, exit=exit, min_quality=0.0, allow_short=short)
    assert ours == trend_twin(values[:n], merits[:n], enter, exit, 0.0, short)


@given(values=numbers, low=st.integers(0, 4), high=st.integers(0, 6), exit=st.sampled_from([-0.5, 0.0, 0.5]))
@settings(max_examples=200, deadline=None)
def test_what_a_score_decides_keeps_its_promises(values, low, high, exit):
    out = threshold(values, exit=exit, min_hold_bars=low, max_hold_bars=high)
    assert set(out) <= {-1.0, 0.0, 1.0}
    runs, start = [], 0
    for i in range(1, len(out) + 1):
        if i == len(out) or out[i] != out[start]:
            runs.append((out[start], start, i))
            start = i
    for side, first, after in runs:
        if side == 0.0:
            continue
        assert side * values[first] > 1.0  # entered by a score beyond the threshold
        if after < len(out):
            held, leaving = after - first, values[after]
            assert not math.isnan(leaving)
            aged = high > 0 and held >= high
            assert aged or (held >= low and side * leaving < min(exit, 1.0))
            assert not aged or out[after] == 0.0
        if high > 0:  # beyond the limit only while no score came
            assert all(math.isnan(value) for value in values[first + high : after])


def test_exposure_is_the_ratio_of_volatilities_up_to_the_limit():
    assert sized([1.0, 1.0, -0.5], [0.01, 0.02, 0.02], band=0.0) == [1.0, 0.5, -0.25]
    assert sized([1.0, -1.0], [0.001, 1e-12]) == [2.0, -2.0]
    assert sized([7.0, -math.inf], [0.01, 0.01]) == [1.0, -1.0]


def test_the_band_holds_back_sizes_and_not_decisions():
    # 1.0, then wanted: 1.09 kept, 1.12 taken, 1.02 kept; 0 and the other sign at once.
    volatility = [0.01, 0.01 / 1.09, 0.01 / 1.12, 0.01 / 1.02]
    assert sized([1.0] * 4, volatility) == pytest.approx([1.0, 1.0, 1.12, 1.12])
    assert sized([1.0, 0.0, -1.0, 1.0], [0.01] * 4, band=10.0) == [1.0, 0.0, -1.0, 1.0]


@pytest.mark.parametrize("unknown", [NAN, 0.0, -0.01, math.inf])
def test_an_unknown_volatility_opens_nothing(unknown):
    assert sized([1.0, 1.0], [unknown, 0.01]) == [0.0, 1.0]
    assert sized([1.0, 1.0, 0.0], [0.01, unknown, unknown]) == [1.0, 1.0, 0.0]
    assert sized([1.0, -1.0, -1.0], [0.01, unknown, 0.01]) == [1.0, 0.0, -1.0]


def test_no_decision_keeps_the_exposure():
    assert sized([NAN, 1.0, NAN, NAN], [0.01, 0.01, 0.5, NAN]) == [0.0, 1.0, 1.0, 1.0]


@given(targets=numbers, volatilities=st.lists(st.sampled_from([NAN, 0.0, 1e-300, 0.001, 0.01, 0.5]), max_size=40),
       band=st.sampled_from([0.0, 0.1, 3.0]))  # fmt: skip
@settings(max_examples=200, deadline=None)
def test_exposure_never_exceeds_or_contradicts(targets, volatilities, band):
    n = min(len(targets), len(volatilities))
    out = sized(targets[:n], volatilities[:n], band=band)
    for target, exposure in zip(targets[:n], out, strict=True):
        assert abs(exposure) <= 2.0
        assert math.isnan(target) or exposure == 0.0 or exposure * target > 0.0
        assert target != 0.0 or exposure == 0.0
