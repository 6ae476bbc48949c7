"""Correlation of returns with a reference's of other bars: who leads. Registered in the catalogue as ``lead_lag``."""

from __future__ import annotations

import math

from research.features.validity import GAP, is_price
from research.features.window import WINDOW_RTOL
from research.kernel import FloatArray, KernelSpec, Param, kernel

# Two lags tie where their correlations differ by less: a restart rounds otherwise and must not choose otherwise.
TIE = 3.1e-7


@kernel
def lead_lag(
    close: FloatArray, reference_close: FloatArray, length: int, max_lag: int, state: FloatArray, out: FloatArray
) -> None:
    r"""Advance the correlation of one-bar log returns with the reference's of k bars earlier, and the other way round.

    .. math::

        \rho_k = \frac{\sum_i y_{t-i} \, x_{t-i-k}}{\sqrt{\sum_i y_{t-i}^2} \sqrt{\sum_i x_{t-i-k}^2}}, \qquad
        \rho_{-k} = \frac{\sum_i x_{t-i} \, y_{t-i-k}}{\sqrt{\sum_i x_{t-i}^2} \sqrt{\sum_i y_{t-i-k}^2}}, \qquad
        0 \le i < length, \quad 0 \le k \le max\_lag

    y of the close and x of the reference; the best lag is the one other than 0 with the largest :math:`|\rho_k|`, of
    lags that tie the smallest in size, then the positive one.

    Parameters
    ----------
    close, reference_close : (n,) array
        Quote currency.
    length : int
        Returns in the window.
    max_lag : int
        Largest lag that is looked at, either way.
    state : (14 + 8 max_lag + (2 max_lag + 3) (length + 1),) array
        Close of the bar before (0: none), that of the reference; returns in the block under way; whether a block is
        complete; window norms held, up to ``max_lag + 1``; place of the newest return. Then, each in two equal rings
        of ``max_lag + 1``, newest first: returns of the close, of the reference, and reciprocals of the norms of a
        window of each (0: they were all 0). Sums of :math:`y^2`, :math:`x^2` and the products at lags from 0 to
        ``max_lag`` and -1 to ``-max_lag`` in the block under way; a row of them for each return of the block and, in
        the places that it has not reached, the suffix sums of the block before.
    out : (4, n) array
        ``lag``: the best one, in bars; above 0 the reference leads, below 0 this symbol does, 0 where all
        correlations are below 1e-9; ``best``: correlation there; ``next``: correlation at lag 1, what the reference's
        newest return says about the next one; ``same``: correlation at lag 0. In [-1, 1]; 0 where either side did not
        move. NaN until every window is full.

    Notes
    -----
    Lag 0 is left out of the search: between markets to which the same news comes within one bar it always wins. The
    means of one-bar returns are taken to be 0, as usual for covariances at high frequency: they are far below their
    own standard error.
    """
    columns, lags = 2 * max_lag + 3, max_lag + 1
    behind = 2 + max_lag  # the column of lag -k is behind + k, that of lag k is 2 + k
    at = int(state[5])
    ours, theirs = state[6 : 6 + 2 * lags], state[6 + 2 * lags : 6 + 4 * lags]
    our_norms, their_norms = state[6 + 4 * lags : 6 + 6 * lags], state[6 + 6 * lags : 6 + 8 * lags]
    sums = state[6 + 8 * lags : 6 + 8 * lags + columns]
    rows = state[6 + 8 * lags + columns :]
    previous, reference_previous = state[0], state[1]
    taken, full, held = int(state[2]), state[3], int(state[4])
    for i in range(close.shape[0]):
        price, reference = close[i], reference_close[i]
        for j in range(4):
            out[j, i] = math.nan
        if not (is_price(price) and is_price(reference)):
            continue
        if previous > 0.0:
            x, y = math.log(reference / reference_previous), math.log(price / previous)
            at = at - 1 if at > 0 else max_lag
            ours[at] = ours[at + lags] = y
            theirs[at] = theirs[at + lags] = x
            # Returns before the first stand as 0; they have left the window when the last norm is there.
            row = rows[taken * columns : (taken + 1) * columns]
            row[0], row[1] = y * y, x * x
            for k in range(lags):
                row[2 + k] = y * theirs[at + k]
            for k in range(1, lags):
                row[behind + k] = x * ours[at + k]
            taken += 1
            if taken < length:
                for j in range(columns):
                    sums[j] += row[j]
            else:
                for j in range(columns):
                    sums[j] = 0.0
                for j in range((length - 1) * columns - 1, -1, -1):
                    rows[j] += rows[j + columns]
                taken, full = 0, 1.0
            rest = rows[taken * columns : (taken + 1) * columns]  # of the block before
            our_norm, their_norm = 0.0, 0.0
            if full > 0.0:
                our_norm, their_norm = _reciprocal(sums[0] + rest[0]), _reciprocal(sums[1] + rest[1])
                held = min(held + 1, lags)
            our_norms[at] = our_norms[at + lags] = our_norm
            their_norms[at] = their_norms[at + lags] = their_norm
            if held == lags:
                lag, best, least = 0, 0.0, TIE
                for k in range(1, lags):
                    leads = (sums[2 + k] + rest[2 + k]) * their_norms[at + k] * our_norm
                    trails = (sums[behind + k] + rest[behind + k]) * our_norms[at + k] * their_norm
                    if abs(leads) > least:
                        lag, best, least = k, leads, abs(leads) + TIE
                    if abs(trails) > least:
                        lag, best, least = -k, trails, abs(trails) + TIE
                following = (sums[3] + rest[3]) * their_norms[at + 1] * our_norm
                same = (sums[2] + rest[2]) * our_norm * their_norm
                out[0, i] = lag
                out[1, i] = min(max(best, -1.0), 1.0)
                out[2, i] = min(max(following, -1.0), 1.0)
                out[3, i] = min(max(same, -1.0), 1.0)
        previous, reference_previous = price, reference
    state[0], state[1], state[2], state[3], state[4] = previous, reference_previous, taken, full, held
    state[5] = at


@kernel
def _reciprocal(squares: float) -> float:
    return 1.0 / math.sqrt(squares) if squares > 0.0 else 0.0


SPEC = KernelSpec(
    name="lead_lag",
    kernel=lead_lag,
    inputs=("close", "reference.close"),
    params=(Param("length", 240, 3, 100_000), Param("max_lag", 5, 1, 60)),
    outputs=("lag", "best", "next", "same"),
    state_size=lambda length, max_lag: 14 + 8 * max_lag + (2 * max_lag + 3) * (length + 1),
    lookback=lambda length, max_lag: length + max_lag + 1,
    warmup=lambda length, max_lag: length + max_lag + 1,
    warmup_rtol=WINDOW_RTOL,
    unit="bars; correlation; correlation; correlation",
    gap=GAP,
    reference=(
        "M. Hoffmann, M. Rosenbaum, N. Yoshida, Estimation of the lead-lag parameter from non-synchronous data, "
        "Bernoulli 19(2), 2013"
    ),
)
