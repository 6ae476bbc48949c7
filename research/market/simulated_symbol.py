"""One symbol of the simulated market, day by day: prices, bars, flow, mark and funding. It draws no common factor."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from research.kernel import FloatArray
from research.market.bars import NS_PER_DAY
from research.market.simulated_kernels import bars_from_prints, funding_rates, mark_prints
from research.market.simulated_returns import Common, Noise, Reverting, Streams, unit_variance
from research.market.simulated_spec import FIVE_MINUTES_PER_DAY, MINUTES_PER_DAY, TRENDING, MarketSpec, SymbolSpec

MARKETS = ("linear", "spot")

# Volume: log V = log(typical) + sum of elasticities below. Fitted by hand to Bybit and Binance 5m bars: correlation of
# log volume with log |return| 0.33 to 0.52, of volume with |return| 0.48 to 0.67, standard deviation of log volume
# 0.86 to 1.0, its autocorrelation 0.7 after one bar, 0.35 to 0.5 after an hour, 0.2 to 0.3 after a day.
_VOLUME_VOLATILITY = 1.2  # of the minute's expected volatility
_VOLUME_SEASON = 0.5  # of the season, on top of its part in volatility
_VOLUME_MOVEMENT = 1.1  # of the minute's path and |return| over expected volatility
_VOLUME_OWN_SD = 0.42
_VOLUME_OWN_HALF_LIFE_MINUTES = 5.0
_VOLUME_NOISE_SD = 0.35
_TRADE_QUOTE = 2_500.0  # typical quote value of one trade
_TAKER_SLOPE = 0.35  # of the log odds of a taker buy, per standard deviation of the minute's return
_TAKER_NOISE = 0.45


@dataclass(frozen=True, slots=True)
class _Efficient:
    """One day of a symbol's efficient price, which perpetual and spot share."""

    variance: FloatArray  # of each minute given the past, in units of a typical minute's
    drift: FloatArray  # expected log return of each minute
    path: FloatArray  # (minutes, sub_steps): log price at each print
    log_return: FloatArray  # of each minute
    movement: FloatArray  # path length and |return| over expected volatility


class SymbolPath:
    """One symbol, day by day; the warm-up day leaves state and its last funding interval only."""

    def __init__(self, spec: MarketSpec, symbol: SymbolSpec) -> None:
        self.symbol = symbol
        self._spec = spec
        self._streams = Streams(spec.seed, symbol.symbol)
        self._noise = Noise(spec, self._streams)
        self._drift = Reverting(spec.drift.half_life_minutes)
        self._basis = Reverting(spec.basis.half_life_minutes)
        self._volume = {m: Reverting(_VOLUME_OWN_HALF_LIFE_MINUTES) for m in MARKETS}
        self.instruments = {m: symbol.instrument(m) for m in MARKETS}
        self._log_price = math.log(symbol.price_quote)
        self._last_basis = math.nan
        self._last = {name: np.zeros(1) for name in (*MARKETS, "mark")}
        self._mark_state = np.zeros(2)
        self.columns: dict[str, list[FloatArray]] = {}

    def day(self, day: int, common: Common) -> None:
        """Simulate one day and append it to ``columns``; day -1 is the warm-up."""
        spec = self._spec
        ts_ns = spec.start_ns + max(day, 0) * NS_PER_DAY  # terms need not exist before the start
        efficient = self._efficient(day, common)
        index = np.exp(efficient.path)
        basis = self._basis_prints(day)
        prints = {"linear": index * np.exp(basis), "spot": index}
        bps = spec.basis.noise_bps * 1e-4
        kept: dict[str, FloatArray] = {}
        for market in MARKETS:
            noise = self._streams.generator(f"prints {market}", day).standard_normal(index.shape)
            prints[market] = prints[market] * np.exp(bps * noise)
            bars, vwap = self._bars(market, prints[market], ts_ns)
            log_quote, lean = self._appetite(market, day, efficient, common.season)
            flow = self._flow(market, ts_ns, vwap, log_quote, lean)
            kept |= {f"{market}.{k}": v for k, v in (bars | flow).items()}
        kept |= self._mark(index, prints["linear"], ts_ns)
        premium = kept["linear.close"] / index[:, -1] - 1.0
        kept |= {"index": index[:, -1], "premium": premium, "funding": self._funding(premium)}
        scale = self.symbol.daily_volatility_frac / math.sqrt(MINUTES_PER_DAY)
        kept |= {"drift": efficient.drift, "volatility": scale * np.sqrt(efficient.variance)}
        kept |= {"log_price": efficient.path[:, -1]}
        self._log_price = float(efficient.path[-1, -1])
        if day < 0:
            kept = {"funding": kept["funding"][-1:]}
            self._restart()
        for name, values in kept.items():
            self.columns.setdefault(name, []).append(values)

    def _restart(self) -> None:
        """Set prices to the specified ones after the warm-up day, and let the first bar open at its first print."""
        self._log_price = math.log(self.symbol.price_quote)
        for state in self._last.values():
            state[0] = 0.0

    def _efficient(self, day: int, common: Common) -> _Efficient:
        spec, symbol = self._spec, self.symbol
        weight = spec.volatility.common_weight
        own_log = weight * common.log_volatility
        own_log = own_log + math.sqrt(1.0 - weight**2) * self._noise.log_volatility(day)
        own_variance = common.calm_variance * unit_variance(own_log, spec)
        own_tail, own_steps, own_jumps = self._noise.steps(day, own_variance)
        scale = symbol.daily_volatility_frac / math.sqrt(MINUTES_PER_DAY)
        # Jumps are part of the declared variance: what they bring is taken from the rest.
        rest = 1.0 / (1.0 + spec.volatility.jumps_per_day * spec.volatility.jump_sd_days**2)
        common_part, own_part = rest * symbol.common_frac, rest * (1.0 - symbol.common_frac)
        variance = common_part * common.variance + own_part * own_variance
        given_tail = common_part * common.variance * common.tail + own_part * own_variance * own_tail
        steps = math.sqrt(common_part) * (common.steps + common.jumps) + math.sqrt(own_part) * (own_steps + own_jumps)
        # Half the variance of what was drawn, minute by minute and jump by jump: the exponential has mean one.
        jump_variance = spec.volatility.jump_sd_days**2 * MINUTES_PER_DAY
        given_jump = jump_variance * (common_part * (common.jumps != 0.0) + own_part * (own_jumps != 0.0))
        drift = self._drifting(day, common)
        tilt = (drift - 0.5 * scale**2 * given_tail) / spec.sub_steps
        moves = scale * steps + tilt[:, None] - 0.5 * scale**2 * given_jump
        path = self._log_price + np.cumsum(moves.ravel()).reshape(moves.shape)
        log_return = path[:, -1] - np.concatenate(([self._log_price], path[:-1, -1]))
        movement = 0.5 * np.sqrt(np.sum(np.square(steps), axis=1)) + 0.5 * np.abs(np.sum(steps, axis=1))
        return _Efficient(variance, drift, path, log_return, movement / np.sqrt(variance))

    def _drifting(self, day: int, common: Common) -> FloatArray:
        """Return the latent drift per minute: zero outside the trending regime."""
        spec = self._spec
        own = self._drift.day(self._streams.generator("drift", day))
        share = spec.drift.common_frac
        drift = math.sqrt(share) * common.drift + math.sqrt(1.0 - share) * own
        per_minute = spec.drift_sd_bps(self.symbol) * 1e-4 * FIVE_MINUTES_PER_DAY / MINUTES_PER_DAY
        return np.where(common.regime == TRENDING, per_minute * drift, 0.0)

    def _basis_prints(self, day: int) -> FloatArray:
        """Return the log basis at each print: a straight line between minutes."""
        spec = self._spec
        closes = self._basis.day(self._streams.generator("basis", day))
        closes = (spec.basis.mean_bps + spec.basis.sd_bps * closes) * 1e-4
        first = closes[0] if math.isnan(self._last_basis) else self._last_basis
        before = np.concatenate(([first], closes[:-1]))
        self._last_basis = float(closes[-1])
        share = np.arange(1, spec.sub_steps + 1) / spec.sub_steps
        return before[:, None] + (closes - before)[:, None] * share

    def _bars(self, market: str, prints: FloatArray, ts_ns: int) -> tuple[dict[str, FloatArray], FloatArray]:
        """Return open, high, low, close and the mean price of each minute; the mark has the perpetual's tick."""
        tick = self.instruments["linear" if market == "mark" else market].at(ts_ns).tick
        ticks = np.empty((4, MINUTES_PER_DAY))
        vwap = np.empty(MINUTES_PER_DAY)
        bars_from_prints(prints, tick, self._last[market], ticks, vwap)
        return dict(zip(("open", "high", "low", "close"), _multiples(ticks, tick), strict=True)), vwap * tick

    def _appetite(
        self, market: str, day: int, efficient: _Efficient, season: FloatArray
    ) -> tuple[FloatArray, FloatArray]:
        """Return log quote turnover and the log odds that a trade is a taker's buy."""
        symbol = self.symbol
        typical = symbol.minute_turnover_quote * (symbol.spot_turnover_frac if market == "spot" else 1.0)
        generator = self._streams.generator(f"volume {market}", day)
        own = _VOLUME_OWN_SD * self._volume[market].day(generator)
        noise, taker = generator.standard_normal((2, MINUTES_PER_DAY))
        log_quote = math.log(typical) + own + _VOLUME_NOISE_SD * noise
        log_quote += _VOLUME_VOLATILITY * 0.5 * np.log(efficient.variance) + _VOLUME_SEASON * np.log(season)
        log_quote += _VOLUME_MOVEMENT * np.log(0.15 + efficient.movement)
        expected = symbol.daily_volatility_frac / math.sqrt(MINUTES_PER_DAY) * np.sqrt(efficient.variance)
        scaled = np.clip(efficient.log_return / expected, -6.0, 6.0)
        return log_quote, _TAKER_SLOPE * scaled + _TAKER_NOISE * taker

    def _flow(
        self, market: str, ts_ns: int, vwap: FloatArray, log_quote: FloatArray, lean: FloatArray
    ) -> dict[str, FloatArray]:
        """Return volume of at least one lot, turnover, trade count and taker buys."""
        step = self.instruments[market].at(ts_ns).qty_step
        lots = np.maximum(1.0, np.rint(np.exp(log_quote) / vwap / step))
        volume = _multiples(lots, step)
        trades = np.maximum(1.0, np.rint(np.exp(log_quote) / _TRADE_QUOTE))
        return {
            "volume": volume,
            "turnover": volume * vwap,
            "trade_count": np.minimum(trades, lots),
            "taker_buy_volume": _multiples(np.rint(lots / (1.0 + np.exp(-lean))), step),
        }

    def _mark(self, index: FloatArray, prints: FloatArray, ts_ns: int) -> dict[str, FloatArray]:
        funding = self._spec.funding
        out = np.empty_like(index)
        decay = 0.5 ** (1.0 / (funding.mark_half_life_minutes * index.shape[1]))
        mark_prints(index, prints, decay, funding.mark_clip_frac, self._mark_state, out)
        bars, _ = self._bars("mark", out, ts_ns)
        return {f"mark.{name}": values for name, values in bars.items()}

    def _funding(self, premium: FloatArray) -> FloatArray:
        f = self._spec.funding
        rates = np.empty(24 // f.interval_hours)
        interest = f.interest_daily_frac * f.interval_hours / 24.0
        funding_rates(premium, 60 * f.interval_hours, interest, f.clamp_frac, f.cap_frac, rates)
        return np.round(rates, 8)  # as Bybit publishes them


def _multiples(counts: FloatArray, step: float) -> FloatArray:
    """Return ``counts * step`` as the decimals an exchange would print.

    Division by a whole number rounds once: 1234 * 0.01 is 12.34, 1229 * 0.01 is 12.290000000000001.
    """
    inverse = 1.0 / step
    whole = round(inverse)
    if whole >= 1 and abs(inverse - whole) < 1e-9 * inverse:
        return counts / whole
    return counts * step
