"""A seeded market of correlated symbols, spot and perpetual, with an edge of known size; it is not a forecast.

What it has: volatility in two time scales, regimes, Student-t minutes, jumps, the day's and the week's season, volume
that follows volatility and movement, a mean-reverting basis, mark price and funding. What it lacks: an order book,
an asymmetry between falls and rises in volatility, contagion of jumps, outages and bad prints.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
import polars as pl

from research.kernel import FloatArray, IntArray
from research.market.bars import NS_PER_DAY, NS_PER_MINUTE, TS
from research.market.instruments import Instrument
from research.market.simulated_returns import Factor
from research.market.simulated_spec import MINUTES_PER_DAY, REGIMES, MarketSpec
from research.market.simulated_symbol import MARKETS, SymbolPath


@dataclass(frozen=True, slots=True)
class SimulatedMarket:
    """What :func:`simulate_market` returns.

    Parameters
    ----------
    spec : MarketSpec
    bars : mapping of (market, symbol) to polars.DataFrame
        1m bars on a complete clock, the columns of kind ``bars``; market is "linear" or "spot".
    mark : mapping of symbol to polars.DataFrame
        1m bars of the mark price.
    funding : mapping of symbol to polars.DataFrame
        Kind ``funding``: one row per settlement in [start, end); the first settles the day before the start.
    premium : mapping of symbol to polars.DataFrame
        ``ts, index, premium`` at each minute's close: the index price and perpetual close over index minus one.
    instruments : mapping of (market, symbol) to Instrument
    latent : polars.DataFrame
        What nobody can observe, for tests: ``ts``, ``regime`` (index into ``REGIMES``), and for each symbol
        ``drift.SYMBOL`` (expected log return of the minute), ``volatility.SYMBOL`` (standard deviation of the
        minute's log return given the past, jumps apart) and ``log_price.SYMBOL`` (efficient price at its close).
    """

    spec: MarketSpec
    bars: Mapping[tuple[str, str], pl.DataFrame]
    mark: Mapping[str, pl.DataFrame]
    funding: Mapping[str, pl.DataFrame]
    premium: Mapping[str, pl.DataFrame]
    instruments: Mapping[tuple[str, str], Instrument]
    latent: pl.DataFrame

    @property
    def regimes(self) -> pl.DataFrame:
        """``ts`` and the name of the regime."""
        return self.latent.select("ts", pl.col("regime").replace_strict(dict(enumerate(REGIMES))))


def simulate_market(spec: MarketSpec) -> SimulatedMarket:
    r"""Build a market, reproducible to the byte from its specification.

    Parameters
    ----------
    spec : MarketSpec
        Size, seed, symbols and the parts' parameters.

    Returns
    -------
    SimulatedMarket

    Notes
    -----
    The efficient log price of a symbol moves by

    .. math::

        dp = \sqrt{\rho}\,dF + \sqrt{1 - \rho}\,dG + \mathbb{1}[\text{trending}]\,\mu\,dt - \tfrac12 v\,dt

    with :math:`F` common and :math:`G` the symbol's own, each with its own volatility and jumps, :math:`\mu` the
    drift of :class:`DriftSpec` and :math:`v` the conditional variance, so that with ``edge=0`` the efficient price is
    a martingale. Traded prices are not exactly: they bounce around it, and the perpetual's basis reverts.

    Randomness comes from one PCG64 stream per (purpose, symbol, day), so that more days or more symbols change no
    byte of what was there. Bytes are equal across processes and runs; across processors NumPy's ``exp`` and ``log`` may
    differ in the last bit, which rounding to the tick hides nearly always.

    One day is simulated before the start, to settle the smoothed premium and to date the first funding row.

    Examples
    --------
    >>> market = simulate_market(MarketSpec(days=1, seed=7))
    >>> market.bars["linear", "SOLUSDT"].height, market.funding["SOLUSDT"].height
    (1440, 3)
    """
    factor = Factor(spec)
    symbols = [SymbolPath(spec, s) for s in spec.symbols]
    for day in range(-1, spec.days):
        common = factor.day(day)
        for symbol in symbols:
            symbol.day(day, common)
    return _assembled(spec, np.concatenate(factor.regimes), symbols)


def _assembled(spec: MarketSpec, regimes: IntArray, symbols: list[SymbolPath]) -> SimulatedMarket:
    end_ns = spec.start_ns + spec.days * NS_PER_DAY
    ts = pl.Series("ts", np.arange(spec.start_ns, end_ns, NS_PER_MINUTE)).cast(TS)
    bars, mark, funding, premium, instruments = {}, {}, {}, {}, {}
    latent = {"ts": ts, "regime": pl.Series(regimes[MINUTES_PER_DAY:])}
    for symbol in symbols:
        name = symbol.symbol.symbol
        column = {key: np.concatenate(blocks) for key, blocks in symbol.columns.items()}
        for market in MARKETS:
            frame = pl.DataFrame({"ts": ts} | _under(column, f"{market}."))
            bars[market, name] = frame.with_columns(pl.col("trade_count").cast(pl.Int64))
            instruments[market, name] = symbol.instruments[market]
        mark[name] = pl.DataFrame({"ts": ts} | _under(column, "mark."))
        premium[name] = pl.DataFrame({"ts": ts, "index": column["index"], "premium": column["premium"]})
        funding[name] = _funding_frame(spec, column["funding"])
        latent |= {f"{key}.{name}": pl.Series(column[key]) for key in ("drift", "volatility", "log_price")}
    return SimulatedMarket(
        spec,
        MappingProxyType(bars),
        MappingProxyType(mark),
        MappingProxyType(funding),
        MappingProxyType(premium),
        MappingProxyType(instruments),
        pl.DataFrame(latent),
    )


def _under(column: Mapping[str, FloatArray], prefix: str) -> dict[str, FloatArray]:
    return {key.removeprefix(prefix): values for key, values in column.items() if key.startswith(prefix)}


def _funding_frame(spec: MarketSpec, rates: FloatArray) -> pl.DataFrame:
    """Return the settlements in [start, end); the rate of an interval settles at its end."""
    hours = spec.funding.interval_hours
    step = hours * 60 * NS_PER_MINUTE
    kept = rates[: spec.days * 24 // hours]
    settled = pl.Series("ts", spec.start_ns + step * np.arange(kept.size)).cast(TS)
    return pl.DataFrame({"ts": settled, "rate": kept, "interval_hours": np.full(kept.size, float(hours))})
