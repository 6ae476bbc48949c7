"""How large the trades of a bar were. Registered in the catalogue as ``trade_size``."""

from __future__ import annotations

import math

from research.features.flow.paired_sums import pair_size, windowed_pair
from research.features.flow.shares import share_of
from research.features.validity import CEILING, GAP, is_number, is_volume
from research.features.window import WINDOW_RTOL
from research.kernel import FloatArray, KernelSpec, Param, kernel

# Below this share of the mean square, a variance of log sizes is the rounding of the sums.
LEAST_SHARE = 1e-9
# Logs of sizes and z-scores are held within this: no sizes of trades are so far apart, only rows that are wrong.
MOST = 1e3


@kernel
def trade_size(
    volume: FloatArray,
    taker_buy_volume: FloatArray,
    trade_count: FloatArray,
    buy_count: FloatArray,
    max_trade: FloatArray,
    log_size_sum: FloatArray,
    log_size_square_sum: FloatArray,
    length: int,
    state: FloatArray,
    out: FloatArray,
) -> None:
    r"""Advance the trade sizes of a bar: mean, spread and largest, buys to sells, and z-score among recent trades.

    .. math::

        m_t = \frac{1}{n_t} \sum \ln q, \qquad s_t^2 = \frac{1}{n_t} \sum \ln^2 q - m_t^2, \qquad
        z_t = \frac{m_t - M_t}{S_t}

    with M and S the same mean and deviation over all trades of the last ``length`` bars.

    Parameters
    ----------
    volume, taker_buy_volume : (n,) array
        Base currency.
    trade_count, buy_count : (n,) array
        Trades, and those whose taker bought.
    max_trade : (n,) array
        The largest trade, base currency.
    log_size_sum, log_size_square_sum : (n,) array
        Sums over the trades of the logarithm of their size in base currency, and of its square.
    length : int
        Bars in the window, the newest among them.
    state : (8 + 4 length,) array
        Twice as ``windowed_pair``.
    out : (6, n) array
        ``mean``: base per trade, of the window where the bar had no trade, 0 where it had none either. ``log_mean``:
        :math:`m_t`, of the window where the bar had no trade. ``log_deviation``: :math:`s_t`. ``largest``: share of the
        volume that was one trade, in [0, 1]. ``buy_to_sell``: log ratio of the mean size of taker buys to that of taker
        sells. ``zscore``: :math:`z_t`. The last four are 0 where there is nothing to compare. NaN until ``length`` bars
        were seen.

    Notes
    -----
    Logarithms because trade sizes spread over six powers of ten. The z-score is in deviations of single trades, not of
    means of bars: a bar with one trade is as far from 0 as that trade is unusual.
    """
    sizes = 4 + 2 * length
    for i in range(volume.shape[0]):
        traded, count, largest = volume[i], trade_count[i], max_trade[i]
        bought, buys = taker_buy_volume[i], buy_count[i]
        logs, squares = log_size_sum[i], log_size_square_sum[i]
        for k in range(6):
            out[k, i] = math.nan
        if not (
            is_volume(traded)
            and is_volume(bought)
            and is_volume(count)
            and is_volume(buys)
            and is_volume(largest)
            and is_number(logs)
            and is_volume(squares)
        ):
            continue
        window_volume, window_count = windowed_pair(state, 0, length, traded, count)
        window_logs, window_squares = windowed_pair(state, sizes, length, logs, squares)
        if not window_count >= 0.0:  # NaN until full
            continue
        window_mean, window_log, window_deviation = 0.0, 0.0, 0.0
        if window_count > 0.0:
            window_mean = min(window_volume / window_count, CEILING)
            window_log, window_deviation = _log_moments(window_logs, window_squares, window_count)
        mean, log_mean, deviation, score = window_mean, window_log, 0.0, 0.0
        if count > 0.0:
            mean = min(traded / count, CEILING)
            log_mean, deviation = _log_moments(logs, squares, count)
            if window_deviation > 0.0:
                score = min(max((log_mean - window_log) / window_deviation, -MOST), MOST)
        bought, buys = min(bought, traded), min(buys, count)
        sold, sells = traded - bought, count - buys
        compared = 0.0
        if bought > 0.0 and sold > 0.0 and buys > 0.0 and sells > 0.0:
            compared = min(max((math.log(bought) - math.log(buys)) - (math.log(sold) - math.log(sells)), -MOST), MOST)
        out[0, i] = mean
        out[1, i] = log_mean
        out[2, i] = deviation
        out[3, i] = share_of(largest, traded)
        out[4, i] = compared
        out[5, i] = score


@kernel
def _log_moments(logs: float, squares: float, count: float) -> tuple[float, float]:
    mean = min(max(logs / count, -MOST), MOST)
    square = squares / count
    variance = square - mean * mean
    return mean, min(math.sqrt(variance), MOST) if variance > LEAST_SHARE * square else 0.0


SPEC = KernelSpec(
    name="trade_size",
    kernel=trade_size,
    inputs=(
        "volume",
        "taker_buy_volume",
        "trade_count",
        "buy_count",
        "max_trade",
        "log_size_sum",
        "log_size_square_sum",
    ),
    params=(Param("length", 60, 1, 100_000),),
    outputs=("mean", "log_mean", "log_deviation", "largest", "buy_to_sell", "zscore"),
    state_size=lambda length: 2 * pair_size(length),
    lookback=lambda length: length,
    warmup=lambda length: length,
    warmup_rtol=WINDOW_RTOL,
    unit="base; ln(base); ln(base); share of volume; log ratio; standard deviations of a trade",
    gap=GAP,
    reference="definition",
)
