"""Negative controls: markets on which nothing can be foretold, as wild as the real one. It judges no strategy.

What still gains on them does so by an error (it sees the future, or costs are missing), by drift, by carry, or by
luck: a control is run under many seeds.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import polars as pl

from research.backtest.result import Result
from research.errors import InvalidInput
from research.kernel import FloatArray
from research.validation.stress import figures
from research.validation.stress_market import History, Market, common_rows, moves_of, rearranged, with_moves


def permuted_market(market: Market, seed: int, block: int = 1) -> Market:
    """Return the market with its bars in random order, rebuilt from the same first price.

    Each bar keeps what it is: gap, range and close as log moves over the close before it, volume and its other columns,
    and the distance of its mark. The first bar and gaps stay where they are, so that the path ends where it ended.
    All symbols are permuted alike: what they have in common in a bar stays, what one tells of the other's next does
    not. Bars that some symbols miss stay too.

    Parameters
    ----------
    market : Market
    seed : int
    block : int
        Bars that stay together, at least 1. Order within a block is kept, and with it what can be foretold over shorter
        spans.

    Returns
    -------
    Market
        Its returns have the distribution that they had, to ticks. Funding rates stay at their settlements' times with
        their intervals, in random order: their mean stays, and so does what a position earns by standing still.

    Raises
    ------
    InvalidInput
        If ``block`` is below 1 or leaves fewer than two blocks, or the seed is negative.

    Notes
    -----
    The drift of the market is in the distribution and stays: a strategy that is always long earns it, in any order.
    Volatility no longer clusters.

    References
    ----------
    .. [1] T. Masters, "Permutation and Randomization Tests for Trading System Development", 2020: bars permuted and
       rebuilt, against which a trained system is held.
    """
    _require_whole("block", block, 1)
    _require_whole("seed", seed, 0)
    generator = np.random.default_rng(seed)
    rows = common_rows(market)[1:]
    if rows.size < 2 * block:
        raise InvalidInput("block", f"must leave two blocks of {rows.size} bars after the first", block)
    pieces = [rows[begin : begin + block] for begin in range(0, rows.size, block)]
    source = np.arange(market.ts.size)
    source[rows] = np.concatenate([pieces[k] for k in generator.permutation(len(pieces))])
    found = {name: rearranged(history, source) for name, history in market.symbols.items()}
    return market.with_histories(
        {name: _with_rates(history, lambda rates: generator.permutation(rates)) for name, history in found.items()}
    )


def noise_market(market: Market, seed: int, degrees: float = math.inf) -> Market:
    r"""Return a random walk as volatile as the market, without drift, clustering or carry.

    Each bar's log return is an independent draw, times the market's own deviation per bar; several symbols keep their
    correlation. The price expected at any later time is the price now: from each return half its variance is taken for
    normal draws. A bar opens at the close before it, and its extremes are those of a Brownian path that ends where the
    bar ends,

    .. math:: H, L = \tfrac12\left(r \pm \sqrt{r^2 - 2\sigma^2 \ln U}\right)

    so that an order that waits within the bar gains nothing either: extremes drawn apart from the return would have the
    price come back to every limit order. High and low use a draw each; each is exact, their dependence given the return
    is not kept.

    Parameters
    ----------
    market : Market
    seed : int
    degrees : float
        Degrees of freedom of Student's t, above 2; infinite for normal draws. With fat tails the expected price need
        not exist, and the median is held instead.

    Returns
    -------
    Market
        On the clock, gaps and first price of the market, on ticks; volume, other columns and the mark's ratio to the
        price are of bars of the market drawn at random. Funding rates are the market's, in random order and with
        random signs: the expected carry is 0.

    Raises
    ------
    InvalidInput
        If ``degrees`` is not above 2, the seed is negative, or there are fewer than three bars that all symbols have.

    References
    ----------
    .. [1] P. Glasserman, "Monte Carlo Methods in Financial Engineering", 2003, section 6.4: the maximum of a Brownian
       bridge.
    """
    _require_whole("seed", seed, 0)
    if isinstance(degrees, bool) or not degrees > 2.0:
        raise InvalidInput("degrees", "must be above 2, or infinite: the variance must exist", degrees)
    generator = np.random.default_rng(seed)
    rows = common_rows(market)
    if rows.size < 3:
        raise InvalidInput("market", "must have at least 3 bars that all symbols have", rows.size)
    n = market.ts.size
    moves = {name: moves_of(history) for name, history in market.symbols.items()}
    covariance = np.atleast_2d(np.cov([values[3, rows[1:]] for values in moves.values()]))
    drawn = _root(covariance) @ generator.standard_normal((len(moves), n))
    spread = np.ones(n)
    if math.isfinite(degrees):
        # One divisor for all symbols in a bar: their tails come together. Scaled to unit variance.
        spread = (degrees - 2.0) / generator.chisquare(degrees, n)
    source = generator.choice(rows[1:], n)
    found = {}
    for k, (name, history) in enumerate(market.symbols.items()):
        drift = 0.0 if math.isfinite(degrees) else 0.5 * covariance[k, k]
        returns = drawn[k] * np.sqrt(spread) - drift
        reach = np.sqrt(returns**2 + 2.0 * covariance[k, k] * spread * generator.standard_exponential((2, n)))
        walked = np.stack([np.zeros(n), 0.5 * (returns + reach[0]), 0.5 * (returns - reach[1]), returns])
        is_gap = np.isnan(moves[name][3])
        taken = np.where(is_gap, np.arange(n), source)
        found[name] = with_moves(history, np.where(is_gap, np.nan, walked), taken)

    def carried(rates: FloatArray) -> FloatArray:
        return generator.permutation(rates) * generator.choice([-1.0, 1.0], rates.size)

    return market.with_histories({name: _with_rates(history, carried) for name, history in found.items()})


def control_table(
    market: Market, trade: Callable[[Market], Result], control: Callable[[Market, int], Market], seeds: int
) -> pl.DataFrame:
    """Trade a market and as many controls of it.

    Parameters
    ----------
    market : Market
    trade : callable
        As :func:`research.validation.stress.run_stresses` takes it: it decides anew on what it is given, and where a
        strategy is fitted or searched, fitting and search belong into it.
    control : callable
        ``control(market, seed)``: :func:`permuted_market` or :func:`noise_market`.
    seeds : int
        Controls, seeded 0, 1, …; at least 1.

    Returns
    -------
    DataFrame
        ``seed`` (null: the market as it is, first) and the figures of :func:`research.validation.stress.figures`.

    See Also
    --------
    control_p_value : what it says.
    """
    _require_whole("seeds", seeds, 1)
    rows: list[dict[str, object]] = [{"seed": None, **figures(trade(market))}]
    rows += [{"seed": seed, **figures(trade(control(market, seed)))} for seed in range(seeds)]
    return pl.DataFrame(rows, schema_overrides={"seed": pl.Int64})


def control_p_value(table: pl.DataFrame, figure: str = "sharpe") -> float:
    """Return the share of markets, the real one among them, on which a strategy does at least as well.

    Parameters
    ----------
    table : DataFrame
        From :func:`control_table`.
    figure : str
        The greater, the better. NaN (no trade, no variation) counts as worse than any value.

    Returns
    -------
    float
        In (0, 1]: with 19 controls at least 0.05. NaN where the real market has no figure.

    Raises
    ------
    InvalidInput
        If the table has no such figure, or not one real market and at least one control.

    Examples
    --------
    >>> control_p_value(pl.DataFrame({"seed": [None, 0, 1, 2], "sharpe": [2.0, 0.5, 2.5, float("nan")]}))
    0.5
    """
    if figure not in table.columns or "seed" not in table.columns:
        raise InvalidInput("table", f"must have the columns seed and {figure}", table.columns)
    real = table.filter(pl.col("seed").is_null())[figure]
    others = table.filter(pl.col("seed").is_not_null())[figure]
    if len(real) != 1 or not len(others):
        raise InvalidInput("table.seed", "must be null once, and a number at least once", [len(real), len(others)])
    value = float(real[0])
    if math.isnan(value):
        return math.nan
    return (1 + int((others.to_numpy() >= value).sum())) / (1 + len(others))


def _with_rates(history: History, changed: Callable[[FloatArray], FloatArray]) -> History:
    if history.funding is None:
        return history
    rates = pl.Series("rate", changed(history.funding["rate"].to_numpy()))
    return replace(history, funding=history.funding.with_columns(rates))


def _root(covariance: FloatArray) -> FloatArray:
    """Return a matrix whose product with its transpose is the covariance, singular ones included."""
    values, vectors = np.linalg.eigh(covariance)
    return vectors * np.sqrt(np.maximum(values, 0.0))


def _require_whole(name: str, value: int, least: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise InvalidInput(name, f"must be a whole number of at least {least}", value)
