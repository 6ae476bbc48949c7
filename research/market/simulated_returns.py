"""Sources of returns of the simulated market: seeded streams, volatility, tails, jumps and the common factor.

It knows no symbol, price or tick.
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass

import numpy as np

from research.kernel import FloatArray, IntArray
from research.market.bars import NS_PER_DAY
from research.market.simulated_kernels import regime_path, reverting_path
from research.market.simulated_spec import HOURLY_VOLATILITY, MINUTES_PER_DAY, WEEKEND_VOLATILITY, MarketSpec


@dataclass(frozen=True, slots=True)
class Common:
    """One day of what all symbols share; variances are per minute, in units of a typical minute's."""

    regime: IntArray
    season: FloatArray
    calm_variance: FloatArray  # season and regime
    log_volatility: FloatArray
    tail: FloatArray
    steps: FloatArray  # (minutes, sub_steps): returns of the factor
    jumps: FloatArray
    variance: FloatArray
    drift: FloatArray  # unit variance


class Streams:
    """Independent generators by purpose, symbol and day."""

    def __init__(self, seed: int, symbol: str) -> None:
        name = hashlib.sha256(symbol.encode()).digest()[:16]
        self._key = tuple(int.from_bytes(name[i : i + 4], "little") for i in range(0, 16, 4))
        self._seed = seed

    def generator(self, purpose: str, day: int) -> np.random.Generator:
        """Return the generator of one purpose on one day; day -1 is the warm-up."""
        named = int.from_bytes(hashlib.sha256(purpose.encode()).digest()[:4], "little")
        sequence = np.random.SeedSequence(self._seed, spawn_key=(*self._key, named, day + 1))
        return np.random.Generator(np.random.PCG64(sequence))


class Reverting:
    """A unit-variance mean-reverting path that continues from day to day."""

    def __init__(self, half_life_minutes: float) -> None:
        self._decay = 0.5 ** (1.0 / half_life_minutes)
        self._state = np.zeros(2)

    def day(self, generator: np.random.Generator) -> FloatArray:
        """Return the next day of the path, one value per minute."""
        out = np.empty(MINUTES_PER_DAY)
        reverting_path(generator.standard_normal(MINUTES_PER_DAY), self._decay, self._state, out)
        return out


class Noise:
    """Log volatility, Student-t steps and jumps of one source of returns."""

    def __init__(self, spec: MarketSpec, streams: Streams) -> None:
        self._spec, self._streams = spec, streams
        self._fast = Reverting(spec.volatility.fast_half_life_minutes)
        self._slow = Reverting(spec.volatility.slow_half_life_minutes)

    def log_volatility(self, day: int) -> FloatArray:
        """Return the next day of log volatility, of mean zero."""
        v = self._spec.volatility
        generator = self._streams.generator("volatility", day)
        return v.fast_sd * self._fast.day(generator) + v.slow_sd * self._slow.day(generator)

    def steps(self, day: int, variance: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Return ``(tail, steps, jumps)`` given the expected variance of each minute."""
        v, count = self._spec.volatility, self._spec.sub_steps
        generator = self._streams.generator("returns", day)
        tail = (v.tail_dof - 2.0) / generator.chisquare(v.tail_dof, MINUTES_PER_DAY)
        scale = np.sqrt(variance * tail / count)
        steps = scale[:, None] * generator.standard_normal((MINUTES_PER_DAY, count))
        jumps = np.zeros((MINUTES_PER_DAY, count))
        generator = self._streams.generator("jumps", day)
        hit = generator.random(MINUTES_PER_DAY) < v.jumps_per_day / MINUTES_PER_DAY
        where = generator.integers(0, count, MINUTES_PER_DAY)
        size = v.jump_sd_days * math.sqrt(MINUTES_PER_DAY) * generator.standard_normal(MINUTES_PER_DAY)
        jumps[hit, where[hit]] = size[hit]
        return tail, steps, jumps


class Factor:
    """The common factor, day by day."""

    def __init__(self, spec: MarketSpec) -> None:
        self._spec = spec
        self._streams = Streams(spec.seed, "")
        self._noise = Noise(spec, self._streams)
        self._drift = Reverting(spec.drift.half_life_minutes)
        self._regime = np.zeros(2)
        self._shares = np.array(spec.regimes.fractions())
        self._typical = float(np.mean(season_of_week() ** 2)) * float(self._shares @ np.square(spec.regimes.volatility))
        self.regimes: list[IntArray] = []

    def day(self, day: int) -> Common:
        """Return the next day; days must be asked for in order, from -1."""
        spec = self._spec
        generator = self._streams.generator("regime", day)
        regime = np.empty(MINUTES_PER_DAY, dtype=np.int64)
        exit_prob = 1.0 / (60.0 * np.array(spec.regimes.mean_hours))
        leaving, entering = generator.random((2, MINUTES_PER_DAY))
        regime_path(leaving, entering, self._shares, exit_prob, np.array(spec.regimes.into), self._regime, regime)
        self.regimes.append(regime)
        weekday = ((spec.start_ns // NS_PER_DAY + day) + 3) % 7  # the epoch was a Thursday
        season = season_of_week()[weekday * MINUTES_PER_DAY : (weekday + 1) * MINUTES_PER_DAY]
        calm = np.square(season * np.array(spec.regimes.volatility)[regime]) / self._typical
        log_volatility = self._noise.log_volatility(day)
        variance = calm * unit_variance(log_volatility, spec)
        tail, steps, jumps = self._noise.steps(day, variance)
        drift = self._drift.day(self._streams.generator("drift", day))
        return Common(regime, season, calm, log_volatility, tail, steps, jumps, variance, drift)


def unit_variance(log_volatility: FloatArray, spec: MarketSpec) -> FloatArray:
    """Return ``exp(2 x)`` over its mean, for a normal ``x`` of the stationary variance."""
    return np.exp(2.0 * log_volatility - 2.0 * spec.volatility.log_variance)


def season_of_week() -> FloatArray:
    """Return the volatility multiplier of each minute of the week from Monday 00:00 UTC, lines between mid-hours."""
    middle = 60.0 * np.arange(24) + 30.0
    minute = np.arange(MINUTES_PER_DAY) + 0.5
    day = np.interp(minute, middle, HOURLY_VOLATILITY, period=float(MINUTES_PER_DAY))
    weekend = np.ones(7)
    weekend[5:] = WEEKEND_VOLATILITY
    return np.concatenate([day * w for w in weekend])
