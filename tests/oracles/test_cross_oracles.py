"""Cross-market features equal SciPy and plain twins, and give what one can see in small markets."""

import itertools
import math
import statistics

import numpy as np
import pytest
import talib
from numpy.lib.stride_tricks import sliding_window_view
from scipy import stats

from research.features import CATALOGUE

N = 1_500
STILL = slice(700, 780)


@pytest.fixture(scope="module", params=[1.0, 1e-8, 1e7], ids=["near 100", "near 1e-6", "near 1e9"])
def pair(request):
    """Return a symbol that follows its reference, 60 percent at once and some of it one bar late."""
    rng = np.random.default_rng(23)
    shocks = rng.normal(0.0, 1e-3, N)
    own = 0.6 * shocks + 0.5 * np.roll(shocks, 1) + rng.normal(0.0, 7e-4, N)
    own[STILL] = shocks[STILL] = 0.0  # both markets stand still for a while
    reference = 40_000.0 * np.exp(np.cumsum(shocks))
    members = [reference * 0.05 * np.exp(np.cumsum(rng.normal(0.0, 1e-3, N))) for _ in range(4)]
    return {
        "close": 100.0 * request.param * np.exp(np.cumsum(own)),
        "reference.close": reference,
        "basket.close": np.stack(members, axis=1),
    }


def feature(columns, name, **params):
    spec = CATALOGUE[name]
    arguments = spec.arguments(params)
    inputs = [np.ascontiguousarray(columns[role], dtype=np.float64) for role in spec.inputs]
    out = spec.run(inputs, arguments, spec.initial_state(arguments))
    return dict(zip(spec.outputs, out, strict=True))


def returns(close):
    return np.diff(np.log(close))


def padded(values, first):
    """Return values as a column whose bars before ``first`` are NaN."""
    return np.concatenate([np.full(first, math.nan), values])


def agree(ours, theirs, scale, rtol):
    np.testing.assert_array_equal(np.isnan(ours), np.isnan(theirs))
    seen = ~np.isnan(ours)
    assert seen.sum() > 0
    np.testing.assert_allclose(ours[seen], theirs[seen], rtol=0.0, atol=rtol * scale)


def pearson(x, y):
    return 0.0 if np.ptp(x) == 0.0 or np.ptp(y) == 0.0 else stats.pearsonr(x, y).statistic


@pytest.mark.parametrize("length", [5, 60])
def test_correlation_is_pearson_s_of_the_returns(pair, length):
    x = sliding_window_view(returns(pair["reference.close"]), length)
    y = sliding_window_view(returns(pair["close"]), length)
    expected = padded([pearson(a, b) for a, b in zip(x, y, strict=True)], length)
    assert 0.3 < np.median(expected[length:]) < 0.9
    agree(feature(pair, "correlation", length=length)[""], expected, 1.0, 1e-10)


def test_correlation_of_a_mirrored_market_is_minus_one():
    swings = np.array([100.0, 110.0, 99.0, 101.0, 90.0, 120.0, 119.0])
    value = feature({"close": 1e6 / swings, "reference.close": swings}, "correlation", length=5)[""]
    np.testing.assert_allclose(value[5:], -1.0, atol=1e-12)
    assert np.isnan(value[:5]).all()


def test_correlation_is_talib_s_of_the_returns(pair):
    # TA-Lib takes levels, and takes from its running sums what leaves: after 1,500 bars its digits are fewer.
    x, y = returns(pair["reference.close"]), returns(pair["close"])
    expected = np.r_[math.nan, talib.CORREL(x, y, 120)]
    agree(feature(pair, "correlation", length=120)[""], expected, 1.0, 1e-9)


def test_beta_is_talib_s_where_returns_are_small(pair):
    # TA-Lib's returns are simple ones: of a thousandth, they differ from log returns by as much.
    expected = talib.BETA(pair["reference.close"], pair["close"], 120)
    agree(feature(pair, "beta", length=120)["beta"], expected, 1.0, 5e-3)


@pytest.mark.parametrize("reference", [np.full(20, 7.0), 7.0 * 1.01 ** np.arange(20)], ids=["still", "steady"])
def test_correlation_with_a_market_whose_returns_are_all_alike_is_0(reference):
    swings = 100.0 * np.exp(np.random.default_rng(1).normal(0.0, 0.01, 20))
    pair = {"close": swings, "reference.close": reference}
    assert (feature(pair, "correlation", length=6)[""][6:] == 0.0).all()
    assert (feature(pair, "beta", length=6)["beta"][6:] == 0.0).all()


@pytest.mark.parametrize("length", [5, 60])
def test_beta_is_the_line_of_scipy(pair, length):
    x = sliding_window_view(returns(pair["reference.close"]), length)
    y = sliding_window_view(returns(pair["close"]), length)
    slopes, alphas, residuals = [], [], []
    for a, b in zip(x, y, strict=True):
        slope, alpha = (0.0, b.mean()) if np.ptp(a) == 0.0 else stats.linregress(a, b)[:2]
        slopes.append(slope)
        alphas.append(alpha)
        residuals.append(math.sqrt(((b - alpha - slope * a) ** 2).sum() / (length - 2)))
    ours = feature(pair, "beta", length=length)
    # Where a window holds one move and a pause, the line goes through two places and the residual is a rounding.
    for name, expected, scale in (("beta", slopes, 1.0), ("alpha", alphas, 1e-3), ("residual", residuals, 1e-3)):
        agree(ours[name], padded(expected, length), scale, 1e-8)


def test_beta_of_a_market_that_moves_twice_as_far_is_two():
    steps = np.array([0.0, 0.01, -0.02, 0.005, 0.03, -0.01])
    reference = 50.0 * np.exp(np.cumsum(steps))
    close = 3.0 * np.exp(np.cumsum(2.0 * steps + 0.001))
    out = feature({"close": close, "reference.close": reference}, "beta", length=5)
    assert out["beta"][-1] == pytest.approx(2.0, abs=1e-10)
    assert out["alpha"][-1] == pytest.approx(0.001, abs=1e-12)
    assert out["residual"][-1] == pytest.approx(0.0, abs=1e-8)


def test_beta_keeps_its_residual_through_a_jump_of_both_markets():
    rng = np.random.default_rng(2)
    shocks, noise = rng.normal(0.0, 1e-3, 80), rng.normal(0.0, 1e-4, 80)
    shocks[40] = 40.0  # a redenomination, say
    reference, close = np.exp(np.cumsum(shocks)), np.exp(np.cumsum(shocks + noise))
    residual = feature({"close": close, "reference.close": reference}, "beta", length=30)["residual"]
    assert residual[60] == pytest.approx(np.std(noise[31:61], ddof=1), rel=0.1)


@pytest.mark.parametrize("length", [2, 60])
def test_relative_strength_is_the_log_ratio_of_the_closes(pair, length):
    ratio = np.log(pair["close"]) - np.log(pair["reference.close"])
    ours = feature(pair, "relative_strength", length=length)
    expected = padded(ratio[length:], length)
    agree(ours["log_ratio"], expected, 30.0, 1e-14)
    agree(ours["change"], padded(ratio[length:] - ratio[:-length], length), 30.0, 1e-14)
    scores = []
    for window in sliding_window_view(ratio, length)[1:]:
        deviation = statistics.stdev(window)
        # Where nothing moved, the logarithms of two prices and that of their ratio round apart.
        scores.append(0.0 if np.ptp(window) < 1e-12 else (window[-1] - window.mean()) / deviation)
    # A log ratio near 30 is known to 4e-15, and its deviation in a short window may be 1e-7.
    agree(ours["zscore"], padded(scores, length), 1.0, 1e-6)


def test_relative_strength_is_above_0_for_the_stronger_one():
    out = feature(
        {"close": [100.0, 102.0, 110.0], "reference.close": [50.0, 50.0, 52.5]}, "relative_strength", length=2
    )
    assert out["log_ratio"][2] == pytest.approx(math.log(110.0 / 52.5))
    assert out["change"][2] == pytest.approx(math.log(1.10) - math.log(1.05))
    assert out["zscore"][2] == pytest.approx(1.0 / math.sqrt(2.0))
    assert np.isnan(out["change"][:2]).all()


@pytest.mark.parametrize("length", [1, 24])
def test_altcoin_index_is_the_chain_of_mean_returns(pair, length):
    steps = np.diff(np.log(pair["basket.close"]), axis=0)
    chained = np.array([math.fsum(window) for window in sliding_window_view(steps.mean(axis=1), length)])
    own = np.array([math.fsum(window) for window in sliding_window_view(returns(pair["close"]), length)])
    ours = feature(pair, "altcoin_index", length=length)
    agree(ours["index"], padded(chained, length), 1e-2, 1e-10)
    agree(ours["relative"], padded(own - chained, length), 1e-2, 1e-10)
    closes = pair["basket.close"]
    rising = (closes[length:] > closes[:-length]).mean(axis=1)
    agree(ours["breadth"], padded(rising, length), 1.0, 1e-15)
    gains = np.log(closes[length:] / closes[:-length])
    agree(ours["dispersion"], padded(gains.std(axis=1), length), 1e-2, 1e-10)


def test_altcoin_index_of_three_coins():
    basket = np.array([[10.0, 200.0, 3.0], [11.0, 100.0, 3.0]])
    out = feature({"close": [5.0, 6.0], "basket.close": basket}, "altcoin_index", length=1)
    gains = [math.log(1.1), math.log(0.5), 0.0]
    assert out["index"][1] == pytest.approx(sum(gains) / 3)
    assert out["relative"][1] == pytest.approx(math.log(1.2) - sum(gains) / 3)
    assert out["breadth"][1] == pytest.approx(0.5)  # one rose, one fell, one stood still
    assert out["dispersion"][1] == pytest.approx(statistics.pstdev(gains))


@pytest.mark.parametrize("members", [1, 2, 32])
def test_altcoin_index_takes_up_to_32_members_and_none_may_be_missing(members):
    rng = np.random.default_rng(members)
    basket = 5.0 * np.exp(np.cumsum(rng.normal(0.0, 0.01, (50, members)), axis=0))
    close = np.full(50, 2.0)
    whole = feature({"close": close, "basket.close": basket}, "altcoin_index", length=3)
    np.testing.assert_allclose(whole["index"][3:], np.log(basket[3:] / basket[:-3]).mean(axis=1), atol=1e-14)
    basket[20, -1] = math.nan
    gap = feature({"close": close, "basket.close": basket}, "altcoin_index", length=3)
    without = feature({"close": close[1:], "basket.close": np.delete(basket, 20, axis=0)}, "altcoin_index", length=3)
    for name in gap:
        assert np.isnan(gap[name][20])
        np.testing.assert_array_equal(np.delete(gap[name], 20), without[name])


def spread_twin(x, y):
    """Return hedge ratio, last residual, z-score and half-life of one window from SciPy's line."""
    n = len(x)
    hedge, level = (0.0, y.mean()) if np.ptp(x) == 0.0 else stats.linregress(x, y)[:2]
    e = y - level - hedge * x
    left = math.fsum(e**2)
    ratio = y - x
    if left <= 1e-10 * math.fsum((ratio - ratio.mean()) ** 2) or np.ptp(ratio) < 1e-12:
        return hedge, e[-1], 0.0, float(n)
    phi = 1.0 - math.fsum(np.diff(e) ** 2) / left / 2.0
    steep = min(max(phi, 0.0) / 0.05, 1.0)  # straight to 0 where the curve is infinitely steep
    half_life = min(-steep * math.log(2.0) / math.log(max(phi, 0.05)), n) if phi < 1.0 else float(n)
    return hedge, e[-1], e[-1] / math.sqrt(left / (n - 2)), half_life


@pytest.mark.parametrize("length", [30, 240])
def test_cointegration_spread_is_the_residual_of_scipy_s_line(pair, length):
    x, y = np.log(pair["reference.close"]), np.log(pair["close"])
    rows = [
        spread_twin(a, b) for a, b in zip(sliding_window_view(x, length), sliding_window_view(y, length), strict=True)
    ]
    ours = feature(pair, "cointegration_spread", length=length)
    expected = np.array(rows).T
    # Logarithms near 20 are known to 4e-15, returns are a thousandth: what a line leaves magnifies the rounding.
    for column, twin, scale in zip(ours.values(), expected, (1.0, 1e-3, 1.0, length), strict=True):
        twin = padded(twin, length - 1)
        moving = np.ones(N, dtype=bool)
        moving[STILL.start : STILL.stop + length] = length > STILL.stop - STILL.start  # SciPy's line through a rounding
        agree(np.where(moving, column, 0.0), np.where(moving, twin, 0.0), scale, 1e-7)


def test_cointegration_spread_of_a_square_is_a_perfect_fit():
    reference = 30.0 * np.exp(np.cumsum(np.random.default_rng(4).normal(0.0, 0.01, 40)))
    out = feature({"close": reference**2, "reference.close": reference}, "cointegration_spread", length=20)
    np.testing.assert_allclose(out["hedge_ratio"][19:], 2.0, atol=1e-9)
    np.testing.assert_allclose(out["spread"][19:], 0.0, atol=1e-12)
    assert (out["zscore"][19:] == 0.0).all()
    assert (out["half_life"][19:] == 20.0).all()


def test_cointegration_spread_finds_the_half_life_of_an_autoregression():
    rng = np.random.default_rng(6)
    n, keep = 20_000, 0.9
    noise = list(itertools.accumulate(rng.normal(0.0, 1e-3, n), lambda before, shock: keep * before + shock))
    reference = np.cumsum(rng.normal(0.0, 1e-3, n))
    pair = {"close": np.exp(1.5 * reference + noise), "reference.close": np.exp(reference)}
    out = feature(pair, "cointegration_spread", length=10_000)
    assert out["hedge_ratio"][-1] == pytest.approx(1.5, abs=0.02)
    assert out["half_life"][-1] == pytest.approx(-math.log(2.0) / math.log(keep), rel=0.1)
    assert out["spread"][-1] == pytest.approx(noise[-1] - np.mean(noise[-10_000:]), abs=5e-4)


def test_cointegration_spread_that_turns_every_bar_has_no_half_life():
    reference = np.exp(np.linspace(0.0, 1.0, 30))
    close = reference * np.where(np.arange(30) % 2 == 0, 1.01, 0.99)
    out = feature({"close": close, "reference.close": reference}, "cointegration_spread", length=20)
    assert (out["half_life"][19:] == 0.0).all()


def test_a_reference_that_stands_still_explains_nothing():
    close = 50.0 * np.exp(np.cumsum(np.random.default_rng(8).normal(0.0, 0.01, 40)))
    pair = {"close": close, "reference.close": np.full(40, 3.0)}
    line = feature(pair, "beta", length=10)
    assert line["beta"][-1] == 0.0
    assert line["alpha"][-1] == pytest.approx(returns(close)[-10:].mean())
    assert line["residual"][-1] == pytest.approx(returns(close)[-10:].std() * math.sqrt(10 / 8))
    spread = feature(pair, "cointegration_spread", length=20)
    last = np.log(close[-20:])
    assert spread["hedge_ratio"][-1] == 0.0
    assert spread["spread"][-1] == pytest.approx(last[-1] - last.mean())
    assert spread["zscore"][-1] == pytest.approx((last[-1] - last.mean()) / (last.std() * math.sqrt(20 / 18)))


def test_two_markets_that_stand_still_are_neutral():
    pair = {"close": np.full(40, 0.1), "reference.close": np.full(40, 3.3)}
    line, spread = feature(pair, "beta", length=10), feature(pair, "cointegration_spread", length=20)
    assert [column[-1] for column in line.values()] == [0.0, 0.0, 0.0]
    assert [column[-1] for column in spread.values()] == [0.0, 0.0, 0.0, 20.0]


def cosine(x, y):
    scale = math.sqrt(math.fsum(x**2) * math.fsum(y**2))
    return math.fsum(x * y) / scale if scale else 0.0


@pytest.mark.parametrize(("length", "max_lag"), [(8, 1), (60, 5), (120, 12)])
def test_lead_lag_is_the_lag_with_the_largest_correlation(pair, length, max_lag):
    x, y = returns(pair["reference.close"]), returns(pair["close"])
    lags, best, following, same = [], [], [], []
    for end in range(length + max_lag, N):
        now = slice(end - length, end)
        rho = {0: cosine(x[now], y[now])}
        for k in range(1, max_lag + 1):
            earlier = slice(end - length - k, end - k)
            rho[k], rho[-k] = cosine(y[now], x[earlier]), cosine(x[now], y[earlier])
        moved = [k for k in rho if k != 0 and abs(rho[k]) > 1e-9]
        lags.append(max(moved, key=lambda k: (round(abs(rho[k]), 9), -abs(k), k)) if moved else 0)
        best.append(rho[lags[-1]] if moved else 0.0)
        following.append(rho[1])
        same.append(rho[0])
    ours = feature(pair, "lead_lag", length=length, max_lag=max_lag)
    first = length + max_lag
    assert {-1, 1} <= set(lags) or length > 8
    agree(ours["lag"], padded(lags, first), 1.0, 0.0)
    agree(ours["best"], padded(best, first), 1.0, 1e-10)
    agree(ours["next"], padded(following, first), 1.0, 1e-10)
    agree(ours["same"], padded(same, first), 1.0, 1e-10)


@pytest.mark.parametrize(("delay", "sign"), [(1, 1.0), (2, -1.0), (4, 1.0), (-1, -1.0), (-2, 1.0), (-4, -1.0)])
def test_lead_lag_finds_how_late_a_copy_is(delay, sign):
    steps = np.random.default_rng(9).normal(0.0, 0.01, 200)
    late = sign * np.roll(steps, delay)
    pair = {"close": np.exp(np.cumsum(late)), "reference.close": np.exp(np.cumsum(steps))}
    out = feature(pair, "lead_lag", length=50, max_lag=4)
    seen = slice(60, 195)  # what was rolled around the ends is no copy
    assert (out["lag"][seen] == delay).all()
    np.testing.assert_allclose(out["best"][seen], sign, atol=1e-12)
    assert (np.abs(out["next"][seen] - sign) < 1e-12).all() == (delay == 1)
    assert (np.abs(out["same"][seen]) < 0.6).all()


def test_lead_lag_is_found_where_the_same_bar_says_more():
    rng = np.random.default_rng(10)
    x = rng.normal(0.0, 0.01, 3_000)
    y = x + 0.3 * np.roll(x, 2) + rng.normal(0.0, 0.005, 3_000)  # mostly at once, some of it two bars late
    pair = {"close": np.exp(np.cumsum(y)), "reference.close": np.exp(np.cumsum(x))}
    swapped = {"close": pair["reference.close"], "reference.close": pair["close"]}
    out, mirrored = (feature(columns, "lead_lag", length=2_000) for columns in (pair, swapped))
    assert (out["lag"][2_010:] == 2.0).all()
    assert (out["same"][2_010:] > 0.8).all()
    np.testing.assert_array_equal(mirrored["lag"][2_010:], -2.0)
    np.testing.assert_allclose(mirrored["best"], out["best"], atol=1e-12)
    np.testing.assert_allclose(mirrored["same"], out["same"], atol=1e-12)


def test_lead_lag_takes_the_smallest_of_lags_that_tie_and_then_the_reference_s():
    steps = np.tile([0.01, -0.01], 40)  # every lag is as good as any other
    market = np.exp(np.cumsum(steps))
    out = feature({"close": market, "reference.close": market}, "lead_lag", length=20, max_lag=6)
    assert (out["lag"][27:] == 1.0).all()
    np.testing.assert_allclose(out["best"][27:], -1.0, atol=1e-12)
    np.testing.assert_allclose(out["next"][27:], -1.0, atol=1e-12)
    np.testing.assert_allclose(out["same"][27:], 1.0, atol=1e-12)


def test_lead_lag_of_a_market_that_stands_still_is_0():
    steps = np.random.default_rng(9).normal(0.0, 0.01, 60)
    out = feature({"close": np.exp(steps), "reference.close": np.full(60, 9.0)}, "lead_lag", length=20, max_lag=3)
    assert all((column[24:] == 0.0).all() for column in out.values())
