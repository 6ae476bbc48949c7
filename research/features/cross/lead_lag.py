"""Correlation of returns with a reference's earlier returns: who leads. Registered in the catalogue as ``lead_lag``."""

from __future__ import annotations

import math

from research.features.validity import GAP, is_price
from research.features.window import WINDOW_RTOL
from research.kernel import FloatArray, KernelSpec, Param, kernel

# Two lags tie where their correlations differ by less: a restart rounds otherwise and must not choose otherwise.
TIE = 1e-9


@kernel
def lead_lag(
    close: FloatArray, reference_close: FloatArray, length: int, max_lag: int, state: FloatArray, out: FloatArray
) -> None:
    r"""Advance the correlation of one-bar log returns with the reference's returns of k bars earlier.

    .. math::

        \rho_k = \frac{\sum_{i < length} y_{t-i} \, x_{t-i-k}}
        {\sqrt{\sum_{i < length} y_{t-i}^2} \sqrt{\sum_{i < length} x_{t-i-k}^2}}, \qquad k = 0, \dots, max\_lag

    y of the close and x of the reference; the best lag is the one with the largest :math:`|\rho_k|`, of lags that tie
    the smallest.

    Parameters
    ----------
    close, reference_close : (n,) array
        Quote currency.
    length : int
        Returns in the window.
    max_lag : int
        Largest lag that is looked at.
    state : (7 + 2 max_lag + (max_lag + 3) (length + 1),) array
        Close of the bar before (0: none), that of the reference; returns in the block under way; whether a block is
        complete; window norms held, up to ``max_lag + 1``; the reference's newest ``max_lag + 1`` returns, newest
        first; as many reciprocals of the norm of a window of its returns (0: they were all 0); sums of
        :math:`y^2`, :math:`x^2` and the products by lag in the block under way; a row of them for each return of the
        block and, in the places that it has not reached, the suffix sums of the block before.
    out : (3, n) array
        ``lag``: the best one, in bars that the reference leads; ``best``: correlation there; ``next``: correlation at
        lag 1, what the reference's newest return says about the next one. In [-1, 1]; 0 where either side did not
        move. NaN until every window is full.

    Notes
    -----
    The means of one-bar returns are taken to be 0, as usual for covariances at high frequency: they are far below
    their own standard error.
    """
    columns, lags = max_lag + 3, max_lag + 1
    recent = 5
    norms = recent + lags
    sums = norms + lags
    rows = sums + columns
    previous, reference_previous = state[0], state[1]
    taken, full, held = int(state[2]), state[3], int(state[4])
    for i in range(close.shape[0]):
        price, reference = close[i], reference_close[i]
        out[0, i] = out[1, i] = out[2, i] = math.nan
        if not (is_price(price) and is_price(reference)):
            continue
        if previous > 0.0:
            x, y = math.log(reference / reference_previous), math.log(price / previous)
            for k in range(max_lag, 0, -1):
                state[recent + k] = state[recent + k - 1]
                state[norms + k] = state[norms + k - 1]
            state[recent] = x
            # Returns before the first stand as 0; they have left the window when the last norm is there.
            row = rows + taken * columns
            state[row], state[row + 1] = y * y, x * x
            for k in range(lags):
                state[row + 2 + k] = y * state[recent + k]
            taken += 1
            if taken < length:
                for j in range(columns):
                    state[sums + j] += state[row + j]
                row += columns
            else:
                for j in range(sums, rows):
                    state[j] = 0.0
                for j in range((length - 1) * columns - 1, -1, -1):
                    state[rows + j] += state[rows + j + columns]
                taken, full, row = 0, 1.0, rows
            if full > 0.0:
                # The window: the rest of the block before joined with the block under way.
                square, own = state[sums + 1] + state[row + 1], state[sums] + state[row]
                state[norms] = 1.0 / math.sqrt(square) if square > 0.0 else 0.0
                held = min(held + 1, lags)
                if held == lags:
                    scale = 1.0 / math.sqrt(own) if own > 0.0 else 0.0
                    lag, best, following, least = 0, 0.0, 0.0, -1.0
                    for k in range(lags):
                        value = (state[sums + 2 + k] + state[row + 2 + k]) * state[norms + k] * scale
                        if k == 1:
                            following = value
                        if abs(value) > least:
                            lag, best, least = k, value, abs(value) + TIE
                    out[0, i] = lag
                    out[1, i] = min(max(best, -1.0), 1.0)
                    out[2, i] = min(max(following, -1.0), 1.0)
        previous, reference_previous = price, reference
    state[0], state[1], state[2], state[3], state[4] = previous, reference_previous, taken, full, held


SPEC = KernelSpec(
    name="lead_lag",
    kernel=lead_lag,
    inputs=("close", "reference.close"),
    params=(Param("length", 240, 3, 100_000), Param("max_lag", 5, 1, 60)),
    outputs=("lag", "best", "next"),
    state_size=lambda length, max_lag: 7 + 2 * max_lag + (max_lag + 3) * (length + 1),
    lookback=lambda length, max_lag: length + max_lag + 1,
    warmup=lambda length, max_lag: length + max_lag + 1,
    warmup_rtol=WINDOW_RTOL,
    unit="bars; correlation; correlation",
    gap=GAP,
    reference=(
        "M. Hoffmann, M. Rosenbaum, N. Yoshida, Estimation of the lead-lag parameter from non-synchronous data, "
        "Bernoulli 19(2), 2013"
    ),
)
