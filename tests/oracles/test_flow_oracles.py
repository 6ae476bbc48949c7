"""Order flow features equal plain twins over the whole history, and give what one can see in a few bars."""

import datetime
import math

import numpy as np
import pandas as pd
import pytest
from numpy.lib.stride_tricks import sliding_window_view
from scipy import stats

from research.features import CATALOGUE
from research.features.flow import SPECS

N = 2_000
EMPTY = slice(300, 420)  # bars on which nothing was traded and the book was empty
ROUNDING = 1e-11


@pytest.fixture(scope="module")
def bars():
    """Return bars made of trades and book rows: sizes are log-normal, and the price follows the takers."""
    rng = np.random.default_rng(31)
    counts = rng.poisson(6.0, N)
    counts[EMPTY] = 0
    rows = []
    for count in counts:
        sizes, buys = rng.lognormal(-1.0, 1.2, count), rng.random(count) < 0.5
        large = sizes > 2.0
        rows.append(
            {
                "volume": sizes.sum(),
                "taker_buy_volume": sizes[buys].sum(),
                "trade_count": float(count),
                "buy_count": float(buys.sum()),
                "max_trade": sizes.max(initial=0.0),
                "log_size_sum": np.log(sizes).sum(),
                "log_size_square_sum": (np.log(sizes) ** 2).sum(),
                "large_buy_volume": sizes[large & buys].sum(),
                "large_sell_volume": sizes[large & ~buys].sum(),
                "large_count": float(large.sum()),
            }
        )
    columns = {name: column.to_numpy(copy=True) for name, column in pd.DataFrame(rows).items()}
    delta = 2.0 * columns["taker_buy_volume"] - columns["volume"]
    close = 100.0 * np.exp(np.cumsum(2e-4 * delta + rng.normal(0.0, 5e-4, N) * (counts > 0)))
    columns |= {
        "ts": 1_700_000_100_000_000_000 + np.arange(N) * 300_000_000_000,
        "close": close,
        "turnover": columns["volume"] * close,
        "bid_price": close * (1.0 - rng.uniform(1e-5, 2e-4, N)),
        "ask_price": close * (1.0 + rng.uniform(1e-5, 2e-4, N)),
        "spread_mean": close * rng.uniform(2e-5, 4e-4, N),
        "order_flow_imbalance": rng.normal(0.0, 5.0, N),
    }
    depth = {side: rng.lognormal(1.0, 1.0, (4, N)).cumsum(axis=0) for side in ("bid", "ask")}
    for side, levels in depth.items():
        levels[:, EMPTY] = 0.0
        for name, column in zip(("size", "depth_5", "depth_10", "depth_20"), levels, strict=True):
            columns[f"{side}_{name}"] = column
        stands = (rng.random(N) < 0.4) & (levels[0] > 0.0)
        columns[f"{side}_wall_size"] = stands * levels[3] * rng.random(N)
        columns[f"{side}_wall_distance"] = stands * rng.uniform(0.0, 0.02, N)
        columns[f"{side}_wall_age"] = stands * rng.uniform(0.0, 900.0, N)
    forced = rng.random((2, N)) ** 8 * columns["volume"] * (rng.random((2, N)) < 0.3)
    forced[:, 1_200:1_212] = 3.0 * columns["volume"][1_200:1_212]  # more than was traded, says a careless source
    columns["long_liquidation_volume"], columns["short_liquidation_volume"] = forced
    return columns


def feature(columns, name, **params):
    spec = CATALOGUE[name]
    arguments = spec.arguments(params)
    kinds = [np.int64 if role == "ts" else np.float64 for role in spec.inputs]
    inputs = [np.array(columns[role], dtype=kind) for role, kind in zip(spec.inputs, kinds, strict=True)]
    out = spec.run(inputs, arguments, spec.initial_state(arguments))
    return dict(zip(spec.outputs, out, strict=True))


def over(values, length):
    """Return for every bar the sum of the last ``length`` values, NaN before there are so many."""
    sums = [math.fsum(window) for window in sliding_window_view(np.asarray(values, dtype=float), length)]
    return np.concatenate([np.full(length - 1, math.nan), sums])


def share(part, whole):
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(np.asarray(whole) == 0.0, 0.0, np.divide(part, whole))


def score(values, length):
    rolling = pd.Series(values).rolling(length)
    moments = [(window.mean(), window.std()) for window in rolling if len(window) == length]
    scores = [
        0.0 if deviation == 0.0 else (newest - mean) / deviation
        for newest, (mean, deviation) in zip(values[length - 1 :], moments, strict=True)
    ]
    return np.concatenate([np.full(length - 1, math.nan), scores])


def from_bar(values, first):
    """Return a copy that is NaN before bar number ``first``."""
    values = np.array(values, dtype=float)
    values[: first - 1] = math.nan
    return values


def agree(ours, expected, rtol=ROUNDING):
    assert list(ours) == list(expected)
    for name, twin in expected.items():
        np.testing.assert_array_equal(np.isnan(ours[name]), np.isnan(twin), err_msg=name)
        scale = np.nanmax(np.abs(twin))
        assert scale > 0.0, name
        np.testing.assert_allclose(ours[name], twin, rtol=0.0, atol=rtol * scale, err_msg=name)


def deltas(bars):
    return bars["taker_buy_volume"] - (bars["volume"] - bars["taker_buy_volume"])


@pytest.mark.parametrize("length", [2, 48])
def test_delta_is_bought_less_sold(bars, length):
    delta = deltas(bars)
    expected = {
        "delta": from_bar(delta, length),
        "share": from_bar(share(delta, bars["volume"]), length),
        "zscore": score(delta, length),
    }
    agree(feature(bars, "delta", length=length), expected, 1e-9)


def test_delta_of_three_bars():
    out = feature({"taker_buy_volume": [3.0, 0.0, 9.0], "volume": [4.0, 0.0, 6.0]}, "delta", length=2)
    assert out["delta"][1:].tolist() == [0.0, 6.0]  # no more can have been bought than was traded
    assert out["share"][1:].tolist() == [0.0, 1.0]
    np.testing.assert_allclose(out["zscore"][1:], [-math.sqrt(0.5), math.sqrt(0.5)])


@pytest.mark.parametrize("length", [1, 2, 60])
def test_cvd_is_the_running_sum_of_deltas(bars, length):
    delta, volume, close = deltas(bars), bars["volume"], bars["close"]
    days = pd.Series([datetime.datetime.fromtimestamp(ns / 1e9, tz=datetime.UTC).date() for ns in bars["ts"]])
    assert days.nunique() > 5
    session = pd.Series(delta).groupby(days).cumsum().to_numpy()
    traded = pd.Series(volume).groupby(days).cumsum().to_numpy()
    window, window_volume = over(delta, length), over(volume, length)
    slopes = []
    for end in range(length + 1, N + 1):
        points = np.concatenate([[0.0], np.cumsum(delta[end - length : end])])
        rise = stats.linregress(np.arange(length + 1.0), points).slope
        mean = math.fsum(volume[end - length : end]) / length
        slopes.append(rise / mean if mean else 0.0)
    moved = np.concatenate([np.full(length, math.nan), np.sign(close[length:] - close[:-length])])
    bought = np.sign(window)
    expected = {
        "session": from_bar(session, length + 1),
        "session_share": from_bar(share(session, traded), length + 1),
        "rolling": from_bar(window, length + 1),
        "share": from_bar(share(window, window_volume), length + 1),
        "slope": np.concatenate([np.full(length, math.nan), slopes]),
        "divergence": from_bar(np.where(bought * moved < 0.0, bought, 0.0), length + 1),
    }
    expected["divergence"][:length] = math.nan
    agree(feature(bars, "cvd", length=length), expected)
    assert set(np.unique(expected["divergence"][length:])) == {-1.0, 0.0, 1.0}


def test_cvd_starts_anew_at_midnight():
    minute = 60_000_000_000
    midnight = 1_700_006_400_000_000_000
    columns = {
        "ts": midnight + np.arange(-3, 3) * minute,
        "close": [10.0, 11.0, 12.0, 11.0, 9.0, 8.0],
        "taker_buy_volume": [1.0, 1.0, 0.0, 2.0, 2.0, 2.0],
        "volume": [1.0, 2.0, 1.0, 2.0, 2.0, 4.0],
    }
    out = feature(columns, "cvd", length=2)  # deltas 1, 0, -1 before midnight and 2, 2, 0 after it
    np.testing.assert_array_equal(out["session"], [math.nan, math.nan, 0.0, 2.0, 4.0, 4.0])
    np.testing.assert_array_equal(out["session_share"], [math.nan, math.nan, 0.0, 1.0, 1.0, 0.5])
    np.testing.assert_array_equal(out["rolling"], [math.nan, math.nan, -1.0, 1.0, 4.0, 2.0])
    np.testing.assert_allclose(out["share"], [math.nan, math.nan, -1 / 3, 1 / 3, 1.0, 1 / 3])
    # Takers sold and the price rose; bought, and it stood; bought twice, and it fell.
    np.testing.assert_array_equal(out["divergence"], [math.nan, math.nan, -1.0, 0.0, 1.0, 1.0])
    # Two deltas weigh alike in the line through three points.
    np.testing.assert_allclose(out["slope"], out["share"])


def test_cvd_of_a_steady_buyer_has_a_slope_of_one():
    columns = {"ts": np.arange(30) * 60_000_000_000, "close": np.full(30, 5.0)}
    columns |= {"taker_buy_volume": np.full(30, 2.0), "volume": np.full(30, 2.0)}
    np.testing.assert_allclose(feature(columns, "cvd", length=7)["slope"][7:], 1.0, rtol=1e-14)


def test_footprint_of_four_bars():
    columns = {
        "high": [110.0, 110.0, 100.0, 110.0],
        "low": [100.0, 100.0, 100.0, 100.0],
        "close": [108.0, 101.0, 100.0, 105.0],
        "volume": [20.0, 10.0, 0.0, 5.0],
        "footprint_poc": [102.0, 109.0, 100.0, 120.0],
        "footprint_high_delta": [-2.0, 4.0, 0.0, 50.0],
        "footprint_low_delta": [-5.0, 1.0, 0.0, 0.0],
        "footprint_buy_imbalances": [3.0, 0.0, 0.0, 2.0],
        "footprint_sell_imbalances": [1.0, 2.0, 0.0, 2.0],
    }
    out = feature(columns, "footprint")
    np.testing.assert_allclose(out["poc"], [0.2, 0.9, 0.5, 1.0])
    np.testing.assert_allclose(out["high_delta"], [-0.1, 0.4, 0.0, 1.0])
    np.testing.assert_allclose(out["low_delta"], [-0.25, 0.1, 0.0, 0.0])
    # A quarter sold at the low, and the close is 80 percent up; 40 percent bought at the high, the close 90 percent
    # down; a bar of one price; all bought at the high, the close half way.
    np.testing.assert_allclose(out["absorption"], [0.25 * 0.8, -0.4 * 0.9, 0.0, -0.5])
    np.testing.assert_allclose(out["imbalance"], [0.5, -1.0, 0.0, 0.0])


def test_footprint_is_its_definition_on_random_bars():
    rng = np.random.default_rng(12)
    low = rng.uniform(90.0, 100.0, 500)
    high = low + rng.uniform(0.1, 5.0, 500)
    columns = {
        "low": low,
        "high": high,
        "close": rng.uniform(low, high),
        "footprint_poc": rng.uniform(low, high),
        "volume": rng.uniform(5.0, 9.0, 500),
        "footprint_high_delta": rng.uniform(-4.0, 4.0, 500),
        "footprint_low_delta": rng.uniform(-4.0, 4.0, 500),
        "footprint_buy_imbalances": rng.integers(0, 4, 500).astype(float),
        "footprint_sell_imbalances": rng.integers(1, 4, 500).astype(float),
    }
    at_high, at_low = (
        columns["footprint_high_delta"] / columns["volume"],
        columns["footprint_low_delta"] / columns["volume"],
    )
    buys, sells = columns["footprint_buy_imbalances"], columns["footprint_sell_imbalances"]
    rejected_low = np.where(at_low < 0.0, -at_low, 0.0) * (columns["close"] - low) / (high - low)
    rejected_high = np.where(at_high > 0.0, at_high, 0.0) * (high - columns["close"]) / (high - low)
    expected = {
        "poc": (columns["footprint_poc"] - low) / (high - low),
        "high_delta": at_high,
        "low_delta": at_low,
        "absorption": rejected_low - rejected_high,
        "imbalance": (buys - sells) / (buys + sells),
    }
    agree(feature(columns, "footprint"), expected)


def twin_log_moments(logs, squares, count):
    mean = share(logs, count)
    return mean, np.sqrt(np.maximum(share(squares, count) - mean**2, 0.0))


@pytest.mark.parametrize("length", [1, 60])
def test_trade_size_is_that_of_the_trades(bars, length):
    count, logs, squares = bars["trade_count"], bars["log_size_sum"], bars["log_size_square_sum"]
    window_count = over(count, length)
    usual, spread = twin_log_moments(over(logs, length), over(squares, length), window_count)
    own, own_spread = twin_log_moments(logs, squares, count)
    bought, buys = bars["taker_buy_volume"], bars["buy_count"]
    sold, sells = bars["volume"] - bought, count - buys
    both = (buys > 0.0) & (sells > 0.0)
    filled = [np.where(both, column, 1.0) for column in (bought, buys, sold, sells)]
    compared = np.log((filled[0] / filled[1]) / (filled[2] / filled[3])) * both
    alone = (count > 0.0) & (spread > 1e-6)
    expected = {
        "mean": np.where(count > 0.0, share(bars["volume"], count), share(over(bars["volume"], length), window_count)),
        "log_mean": np.where(count > 0.0, own, usual),
        # A bar with one trade has no spread: there the twin is the root of a rounding.
        "log_deviation": np.where(count > 1.0, own_spread, 0.0),
        "largest": share(bars["max_trade"], bars["volume"]),
        "buy_to_sell": compared,
        "zscore": np.where(alone, (own - usual) / np.where(alone, spread, 1.0), 0.0),
    }
    expected = {name: from_bar(column, length) for name, column in expected.items()}
    ours = feature(bars, "trade_size", length=length)
    if length == 1:  # every bar is its own window
        assert np.abs(ours["zscore"]).max() < 1e-12
        del ours["zscore"], expected["zscore"]
    agree(ours, expected, 1e-9)


def test_trade_size_of_bars_one_can_count():
    sizes = [[1.0, 4.0], [], [2.0, 2.0, 8.0]]  # taker buys: 4 of the first bar, 2 and 2 of the last
    columns = {
        "volume": [sum(bar) for bar in sizes],
        "taker_buy_volume": [4.0, 0.0, 4.0],
        "trade_count": [len(bar) for bar in sizes],
        "buy_count": [1.0, 0.0, 2.0],
        "max_trade": [max(bar, default=0.0) for bar in sizes],
        "log_size_sum": [sum(map(math.log, bar)) for bar in sizes],
        "log_size_square_sum": [sum(math.log(size) ** 2 for size in bar) for bar in sizes],
    }
    out = feature(columns, "trade_size", length=2)
    two = math.log(2.0)
    np.testing.assert_allclose(out["mean"][1:], [2.5, 4.0])
    np.testing.assert_allclose(out["log_mean"][1:], [two, 5.0 / 3.0 * two])
    np.testing.assert_allclose(out["log_deviation"][1:], [0.0, np.std([1.0, 1.0, 3.0]) * two])
    np.testing.assert_allclose(out["largest"][1:], [0.0, 2.0 / 3.0])
    np.testing.assert_allclose(out["buy_to_sell"][1:], [0.0, math.log(2.0 / 8.0)])
    np.testing.assert_allclose(out["zscore"][1:], 0.0, atol=1e-14)
    # Against the five trades of the last three bars: 1, 4 and 2, 2, 8.
    wide = feature(columns, "trade_size", length=3)
    logs = np.array([0.0, 2.0, 1.0, 1.0, 3.0])
    assert wide["zscore"][2] == pytest.approx((5.0 / 3.0 - logs.mean()) / logs.std())


@pytest.mark.parametrize("length", [1, 60])
def test_large_trades_are_shares_of_the_volume(bars, length):
    bought, sold, volume = bars["large_buy_volume"], bars["large_sell_volume"], bars["volume"]
    arrivals = over(bars["large_count"], length)
    none = arrivals == 0.0
    expected = {
        "share": share(bought + sold, volume),
        "delta": share(bought - sold, volume),
        "rolling_share": share(over(bought + sold, length), over(volume, length)),
        "rolling_delta": share(over(bought - sold, length), over(volume, length)),
        "arrivals": np.where(none, 1.0, bars["large_count"] / np.where(none, 1.0, arrivals) * length),
    }
    expected = {name: from_bar(column, length) for name, column in expected.items()}
    agree(feature(bars, "large_trades", length=length), expected)


def test_large_trades_of_three_bars():
    columns = {"large_buy_volume": [6.0, 0.0, 0.0], "large_sell_volume": [0.0, 2.0, 0.0]}
    out = feature(columns | {"large_count": [3.0, 1.0, 0.0], "volume": [12.0, 1.0, 0.0]}, "large_trades", length=2)
    # The second bar claims less volume than its large trade: it is taken as all there was.
    assert out["share"][1:].tolist() == [1.0, 0.0]
    assert out["delta"][1:].tolist() == [-1.0, 0.0]
    np.testing.assert_allclose(out["rolling_share"][1:], [8.0 / 14.0, 1.0])
    np.testing.assert_allclose(out["rolling_delta"][1:], [4.0 / 14.0, -1.0])
    assert out["arrivals"][1:].tolist() == [0.5, 0.0]


@pytest.mark.parametrize("length", [1, 20])
def test_trade_imbalance_counts_trades(bars, length):
    sells = bars["trade_count"] - bars["buy_count"]
    difference = bars["buy_count"] - sells
    expected = {
        "share": from_bar(share(difference, bars["trade_count"]), length),
        "rolling": share(over(difference, length), over(bars["trade_count"], length)),
    }
    agree(feature(bars, "trade_imbalance", length=length), expected)


def test_trade_imbalance_of_three_bars():
    out = feature({"buy_count": [3.0, 0.0, 9.0], "trade_count": [4.0, 0.0, 6.0]}, "trade_imbalance", length=2)
    assert out["share"][1:].tolist() == [0.0, 1.0]
    assert out["rolling"][1:].tolist() == [0.5, 1.0]


@pytest.mark.parametrize("length", [1, 20])
def test_taker_ratio_is_the_log_of_bought_over_sold(bars, length):
    bought, sold = bars["taker_buy_volume"], bars["volume"] - bars["taker_buy_volume"]

    def log_ratio(plus, minus):
        part = np.clip(share(plus, plus + minus), 0.001, 0.999)
        return np.where(plus + minus == 0.0, 0.0, np.log(part) - np.log(1.0 - part))

    expected = {
        "log_ratio": from_bar(log_ratio(bought, sold), length),
        "rolling": from_bar(log_ratio(over(bought, length), over(sold, length)), length),
    }
    agree(feature(bars, "taker_ratio", length=length), expected)


def test_taker_ratio_of_four_bars():
    columns = {"taker_buy_volume": [3.0, 0.0, 5.0, 0.0], "volume": [4.0, 0.0, 5.0, 5.0]}
    out = feature(columns, "taker_ratio", length=2)
    np.testing.assert_allclose(out["log_ratio"][1:], [0.0, math.log(999.0), -math.log(999.0)])
    np.testing.assert_allclose(out["rolling"][1:], [math.log(3.0), math.log(999.0), 0.0], atol=1e-12)


@pytest.mark.parametrize(("fast", "slow"), [(1, 1), (10, 60), (10, 15), (7, 3)])
def test_flow_momentum_compares_windows(bars, fast, slow):
    delta, volume = deltas(bars), bars["volume"]
    quick = share(over(delta, fast), over(volume, fast))
    tide = share(over(delta, slow), over(volume, slow))
    before = np.concatenate([np.full(fast, math.nan), quick[:-fast]])
    first = max(2 * fast, slow)
    expected = {"momentum": from_bar(quick - tide, first), "acceleration": from_bar(quick - before, first)}
    ours = feature(bars, "flow_momentum", fast=fast, slow=slow)
    if fast == slow:
        assert (ours.pop("momentum")[first - 1 :] == 0.0).all()
        del expected["momentum"]
    agree(ours, expected)


def test_flow_momentum_of_buyers_who_take_over():
    columns = {"taker_buy_volume": [0.0, 0.0, 0.0, 0.0, 1.0, 1.0], "volume": np.ones(6)}
    out = feature(columns, "flow_momentum", fast=2, slow=4)
    assert out["momentum"][3:].tolist() == [0.0, 0.5, 1.0]
    assert out["acceleration"][3:].tolist() == [0.0, 1.0, 2.0]


@pytest.mark.parametrize("length", [1, 50])
def test_vpin_is_the_share_that_met_no_other_side(bars, length):
    expected = share(over(np.abs(deltas(bars)), length), over(bars["volume"], length))
    agree(feature(bars, "vpin", length=length), {"": expected})


def test_vpin_of_flows_that_cancel_from_bar_to_bar_is_one():
    out = feature({"taker_buy_volume": [2.0, 0.0, 1.0, 0.0], "volume": [2.0, 2.0, 2.0, 0.0]}, "vpin", length=2)[""]
    assert out[1:].tolist() == [1.0, 0.5, 0.0]


@pytest.mark.parametrize("length", [1, 60])
def test_amihud_is_the_mean_return_per_million(bars, length):
    returns = np.abs(np.diff(np.log(bars["close"])))
    turnover = bars["turnover"][1:]
    own = 1e6 * share(returns, turnover)
    mean = share(over(own, length), over(turnover > 0.0, length))
    relative = np.where((turnover > 0.0) & (mean > 0.0), own / np.where(mean > 0.0, mean, 1.0), 1.0)
    relative[: length - 1] = math.nan
    expected = {"illiquidity": np.r_[math.nan, mean], "relative": np.r_[math.nan, relative]}
    agree(feature(bars, "amihud", length=length), expected)


def test_amihud_passes_over_bars_without_turnover():
    close = [100.0, 101.0, 101.0, 102.0]
    out = feature({"close": close, "turnover": [1.0, 2e6, 0.0, 1e6]}, "amihud", length=3)
    first, second = math.log(1.01) / 2.0, math.log(102.0 / 101.0)
    assert out["illiquidity"][3] == pytest.approx((first + second) / 2.0)
    assert out["relative"][3] == pytest.approx(second / ((first + second) / 2.0))


@pytest.mark.parametrize("length", [3, 60])
def test_kyle_lambda_is_scipy_s_slope_of_returns_on_delta(bars, length):
    flows = sliding_window_view(deltas(bars)[1:], length)
    returns = sliding_window_view(np.diff(np.log(bars["close"])), length)
    rows = []
    for x, y in zip(flows, returns, strict=True):
        if np.ptp(x) == 0.0 or np.ptp(y) == 0.0:
            rows.append((0.0, 0.0, 0.0))
            continue
        line = stats.linregress(x, y)
        rows.append((line.slope, line.slope * x.std(ddof=1), line.rvalue))
    columns = np.vstack([np.full((length, 3), math.nan), rows]).T
    assert np.median(columns[2][length:]) > 0.3
    agree(
        feature(bars, "kyle_lambda", length=length),
        dict(zip(("slope", "impact", "correlation"), columns, strict=True)),
        1e-9,
    )


def test_kyle_lambda_of_a_price_that_only_flow_moves():
    delta = np.array([0.0, 2.0, -1.0, 4.0, 3.0])
    columns = {
        "close": np.exp(0.01 * np.cumsum(delta)),
        "taker_buy_volume": 5.0 + delta / 2.0,
        "volume": np.full(5, 10.0),
    }
    out = feature(columns, "kyle_lambda", length=4)
    assert out["slope"][-1] == pytest.approx(0.01)
    assert out["impact"][-1] == pytest.approx(0.01 * np.std(delta[1:], ddof=1))
    assert out["correlation"][-1] == pytest.approx(1.0)


@pytest.mark.parametrize("length", [1, 20])
def test_book_imbalance_is_bid_less_ask_over_both(bars, length):
    expected = {}
    for name, column in (
        ("best", "size"),
        ("levels_5", "depth_5"),
        ("levels_10", "depth_10"),
        ("levels_20", "depth_20"),
    ):
        bid, ask = bars[f"bid_{column}"], bars[f"ask_{column}"]
        expected[name] = share(bid - ask, bid + ask)
    means = {f"mean_{name.removeprefix('levels_')}": over(column, length) / length for name, column in expected.items()}
    expected = {name: from_bar(column, length) for name, column in expected.items()} | means
    agree(feature(bars, "book_imbalance", length=length), expected)


def test_book_imbalance_of_a_book_with_no_offers_is_one():
    sizes = {"size": [1.0, 3.0], "depth_5": [2.0, 4.0], "depth_10": [3.0, 0.0], "depth_20": [5.0, 6.0]}
    others = {"size": [1.0, 1.0], "depth_5": [2.0, 0.0], "depth_10": [3.0, 0.0], "depth_20": [5.0, 10.0]}
    columns = {f"bid_{k}": v for k, v in sizes.items()} | {f"ask_{k}": v for k, v in others.items()}
    out = feature(columns, "book_imbalance", length=2)
    assert [column[1] for column in out.values()] == [0.5, 1.0, 0.0, -0.25, 0.25, 0.5, 0.0, -0.125]


def test_microprice_is_the_mid_weighted_by_the_other_side_s_size(bars):
    bid, ask, bids, asks = (bars[name] for name in ("bid_price", "ask_price", "bid_size", "ask_size"))
    both = bids + asks
    mid = (bid + ask) / 2.0
    weighted = np.where(both > 0.0, (ask * bids + bid * asks) / np.where(both > 0.0, both, 1.0), mid)
    expected = {
        "price": weighted,
        "fraction": (weighted - mid) / (ask - bid),
        "bps": 1e4 * (weighted - mid) / mid,
        "close_bps": 1e4 * (weighted / bars["close"] - 1.0),
    }
    # The twin subtracts two prices near 100 whose difference is a ten-thousandth.
    agree(feature(bars, "microprice"), expected, 1e-9)


def test_microprice_leans_to_the_thin_side():
    columns = {"close": [100.0, 102.0, 100.0], "bid_price": [99.0, 99.0, 100.0], "ask_price": [101.0, 101.0, 100.0]}
    out = feature(columns | {"bid_size": [3.0, 0.0, 3.0], "ask_size": [1.0, 0.0, 1.0]}, "microprice")
    np.testing.assert_allclose(out["price"], [100.5, 100.0, 100.0])
    np.testing.assert_allclose(out["fraction"], [0.25, 0.0, 0.0])
    np.testing.assert_allclose(out["bps"], [50.0, 0.0, 0.0])
    np.testing.assert_allclose(out["close_bps"], [50.0, -1e4 * 2.0 / 102.0, 0.0])


@pytest.mark.parametrize("length", [2, 60])
def test_quoted_spread_is_in_basis_points_of_the_mid(bars, length):
    mid = (bars["bid_price"] + bars["ask_price"]) / 2.0
    of_bar = bars["spread_mean"] / mid * 1e4
    expected = {
        "bps": from_bar((bars["ask_price"] - bars["bid_price"]) / mid * 1e4, length),
        "bar_bps": from_bar(of_bar, length),
        "mean_bps": over(of_bar, length) / length,
        "zscore": score(of_bar, length),
    }
    agree(feature(bars, "quoted_spread", length=length), expected, 1e-9)


def test_quoted_spread_of_three_books():
    columns = {"bid_price": [99.0, 99.5, 100.1], "ask_price": [101.0, 100.5, 99.9], "spread_mean": [1.0, 3.0, 900.0]}
    out = feature(columns, "quoted_spread", length=2)
    np.testing.assert_allclose(out["bps"][1:], [100.0, -20.0])  # the last book is crossed
    np.testing.assert_allclose(out["bar_bps"][1:], [300.0, 20_000.0])  # no spread is wider than twice the mid price
    np.testing.assert_allclose(out["mean_bps"][1:], [200.0, 10_150.0])
    np.testing.assert_allclose(out["zscore"][1:], math.sqrt(0.5))


@pytest.mark.parametrize("length", [2, 20])
def test_order_flow_imbalance_is_in_mean_depths(bars, length):
    flow = bars["order_flow_imbalance"]
    depth = over((bars["bid_size"] + bars["ask_size"]) / 2.0, length) / length
    expected = {
        "depths": from_bar(share(flow, depth), length),
        "rolling": share(over(flow, length), depth),
        "zscore": score(flow, length),
    }
    agree(feature(bars, "order_flow_imbalance", length=length), expected, 1e-9)


def test_order_flow_imbalance_of_three_bars():
    columns = {"order_flow_imbalance": [4.0, -6.0, 2.0], "bid_size": [1.0, 2.0, 0.0], "ask_size": [3.0, 6.0, 0.0]}
    out = feature(columns, "order_flow_imbalance", length=2)
    np.testing.assert_allclose(out["depths"][1:], [-2.0, 1.0])  # mean depths of 3 and 2
    np.testing.assert_allclose(out["rolling"][1:], [-2.0 / 3.0, -2.0])
    np.testing.assert_allclose(out["zscore"][1:], [-math.sqrt(0.5), math.sqrt(0.5)])


@pytest.mark.parametrize("length", [2, 20])
def test_walls_are_their_definition(bars, length):
    expected = {}
    for side in ("bid", "ask"):
        wall, depth = bars[f"{side}_wall_size"], bars[f"{side}_depth_20"]
        stands = wall > 0.0
        before = np.r_[math.nan, wall[:-1]]
        expected |= {
            f"{side}_size": share(wall, depth),
            f"{side}_distance": np.where(stands, np.minimum(bars[f"{side}_wall_distance"], 0.01), 0.01),
            f"{side}_age": bars[f"{side}_wall_age"] / 60.0,
            f"{side}_persistence": over(stands, length) / length,
            f"{side}_change": share(wall - before, np.maximum(wall, before)),
        }
    bid, ask = bars["bid_wall_size"], bars["ask_wall_size"]
    expected["asymmetry"] = share(bid - ask, bid + ask)
    ours = feature(bars, "walls", length=length)
    agree(ours, {name: from_bar(expected[name], length) for name in ours})


def test_walls_that_are_stacked_and_pulled():
    columns = {
        "bid_wall_size": [0.0, 10.0, 15.0, 0.0],
        "ask_wall_size": [8.0, 4.0, 5.0, 0.0],
        "bid_wall_distance": [0.0, 0.002, 0.02, 0.0],
        "ask_wall_distance": [0.001, 0.001, 0.001, 0.0],
        "bid_wall_age": [0.0, 30.0, 90.0, 0.0],
        "ask_wall_age": [60.0, 120.0, 180.0, 0.0],
        "bid_depth_20": [50.0, 50.0, 10.0, 0.0],
        "ask_depth_20": [40.0, 40.0, 40.0, 40.0],
    }
    out = feature(columns, "walls", length=2, max_distance=0.005)
    seen = {name: column[1:].tolist() for name, column in out.items()}
    assert seen["bid_size"] == [0.2, 1.0, 0.0]
    assert seen["ask_size"] == [0.1, 0.125, 0.0]
    assert seen["bid_distance"] == [0.002, 0.005, 0.005]
    assert seen["ask_distance"] == [0.001, 0.001, 0.005]
    assert seen["bid_age"] == [0.5, 1.5, 0.0]
    assert seen["ask_age"] == [2.0, 3.0, 0.0]
    assert seen["bid_persistence"] == [0.5, 1.0, 0.5]
    assert seen["ask_persistence"] == [1.0, 1.0, 0.5]
    np.testing.assert_allclose(seen["bid_change"], [1.0, 1.0 / 3.0, -1.0])
    np.testing.assert_allclose(seen["ask_change"], [-0.5, 0.2, -1.0])
    np.testing.assert_allclose(seen["asymmetry"], [6.0 / 14.0, 0.5, 0.0])


@pytest.mark.parametrize(
    ("length", "slow", "factor", "max_bars"), [(15, 480, 2.0, 60), (1, 20, 3.0, 5), (30, 10, 1.5, 8)]
)
def test_liquidations_are_shares_and_clusters(bars, length, slow, factor, max_bars):
    longs, shorts, volume = bars["long_liquidation_volume"], bars["short_liquidation_volume"], bars["volume"]
    rolling_long, rolling_short, rolling = over(longs, length), over(shorts, length), over(volume, length)
    first = max(length, slow)
    usual = over(longs + shorts, slow) / slow
    cluster = (rolling_long + rolling_short) / length > factor * usual
    cluster[: first - 1] = False
    age, ages = max_bars, []
    for flag in cluster:
        age = 0 if flag else min(age + 1, max_bars)
        ages.append(age)
    assert 5 < cluster.sum() < N // 2
    expected = {
        "long_share": np.minimum(share(longs, volume), 1.0),
        "short_share": np.minimum(share(shorts, volume), 1.0),
        "rolling_long": np.minimum(share(rolling_long, rolling), 1.0),
        "rolling_short": np.minimum(share(rolling_short, rolling), 1.0),
        "imbalance": share(rolling_short - rolling_long, rolling_short + rolling_long),
        "cluster": cluster,
        "age": ages,
    }
    expected = {name: from_bar(column, first) for name, column in expected.items()}
    agree(feature(bars, "liquidations", length=length, slow=slow, factor=factor, max_bars=max_bars), expected)


def test_liquidations_cluster_after_a_calm():
    columns = {
        "long_liquidation_volume": [1.0, 0.0, 0.0, 0.0, 6.0, 0.0, 0.0, 0.0],
        "short_liquidation_volume": [0.0, 0.0, 0.0, 0.0, 2.0, 0.0, 0.0, 0.0],
        "volume": [4.0, 4.0, 4.0, 0.0, 10.0, 4.0, 4.0, 4.0],
    }
    out = feature(columns, "liquidations", length=1, slow=4, factor=2.0, max_bars=2)
    seen = {name: column[3:].tolist() for name, column in out.items()}
    assert seen["long_share"] == seen["rolling_long"] == [0.0, 0.6, 0.0, 0.0, 0.0]
    assert seen["short_share"] == seen["rolling_short"] == [0.0, 0.2, 0.0, 0.0, 0.0]
    assert seen["imbalance"] == [0.0, -0.5, 0.0, 0.0, 0.0]
    assert seen["cluster"] == [0.0, 1.0, 0.0, 0.0, 0.0]
    assert seen["age"] == [2.0, 0.0, 1.0, 2.0, 2.0]


def test_steady_liquidations_are_no_cluster():
    steady = np.full(50, 0.1)
    columns = {"long_liquidation_volume": steady, "short_liquidation_volume": steady, "volume": np.ones(50)}
    out = feature(columns, "liquidations", length=3, slow=7, factor=1.0, max_bars=4)
    assert (out["cluster"][6:] == 0.0).all()  # three tenths are no more than seven, whatever their sums round to


@pytest.mark.parametrize("name", [spec.name for spec in SPECS])
def test_the_worst_rows_give_finite_answers(name):
    # Empty bars beside the largest and smallest sizes that can be read: no quotient may leave the numbers.
    spec = CATALOGUE[name]
    rng = np.random.default_rng(3)
    least = {p.name: max(int(p.low), 3) for p in spec.params if isinstance(p.default, int)}
    columns = {}
    for role in spec.inputs:
        if role in ("high", "low", "close", "footprint_poc", "bid_price", "ask_price"):
            columns[role] = rng.choice([1e-8, 1e-6, 1.0, 1e14], 500)
        elif role == "ts":
            columns[role] = 1_700_000_100_000_000_000 + np.arange(500) * 60_000_000_000
        else:
            columns[role] = rng.choice([0.0, 5e-324, 1e-150, 0.1, 3.3, 1e150], 500)
    out = feature(columns, name, **least)
    first = spec.lookback(*spec.arguments(least)) - 1
    assert all(np.isfinite(column[first:]).all() for column in out.values())
