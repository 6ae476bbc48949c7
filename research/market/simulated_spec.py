"""Parameters of the simulated market, with their units and where the defaults come from. It draws nothing.

The defaults are fitted by hand to 5-minute bars of Bybit BTCUSDT, ETHUSDT and SOLUSDT (perpetual and spot,
April to August 2025) and Binance perpetuals (2023 to 2024).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from datetime import UTC, datetime

from research.errors import InvalidInput
from research.market.bars import NS_PER_DAY
from research.market.instruments import Instrument, sample_instrument

MINUTES_PER_DAY = 1_440
FIVE_MINUTES_PER_DAY = 288

# Mean |5m return| by UTC hour over the day's mean: average of Bybit BTC, ETH and SOL, April to August 2025.
# The night trough is 04-05, the European opening 07-08, the American one 13-15, Asia's midnight 00.
HOURLY_VOLATILITY = (
    1.16, 1.09, 1.02, 0.81, 0.76, 0.80, 0.80, 0.90, 0.90, 0.83, 0.81, 0.83,
    0.93, 1.30, 1.43, 1.22, 1.17, 1.16, 1.07, 1.06, 1.02, 1.08, 0.96, 0.87,
)  # fmt: skip
WEEKEND_VOLATILITY = 0.76  # same series: 0.69 to 0.81

REGIMES = ("calm", "trending", "volatile")
TRENDING = 1


def _require(
    spec: object, name: str, *, low: float = -math.inf, high: float = math.inf, open_low: bool = False
) -> None:
    value = getattr(spec, name)
    subject = f"{type(spec).__name__}.{name}"
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise InvalidInput(subject, "must be a finite number", value)
    if value > high or value < low or (open_low and value == low):
        raise InvalidInput(subject, f"must lie in {'(' if open_low else '['}{low}, {high}]", value)


@dataclass(frozen=True, slots=True)
class SymbolSpec:
    """One simulated symbol.

    Parameters
    ----------
    symbol : str
        Also seeds the symbol's own streams: the same name draws the same numbers beside any other symbols.
    price_quote : float
        Efficient price at the start.
    daily_volatility_frac : float
        Root of the unconditional variance of a day's log return (0.02 is two percent).
    common_frac : float
        Share of that variance that comes from the factor common to all symbols, in [0, 1].
    minute_turnover_quote : float
        Typical quote turnover of the perpetual in one minute.
    spot_turnover_frac : float
        Spot turnover over that of the perpetual.
    linear, spot : Instrument, optional
        Ticks and lots; default ``sample_instrument(symbol, market)``.
    """

    symbol: str
    price_quote: float
    daily_volatility_frac: float
    common_frac: float = 0.77
    minute_turnover_quote: float = 500_000.0
    spot_turnover_frac: float = 0.09
    linear: Instrument | None = None
    spot: Instrument | None = None

    def __post_init__(self) -> None:
        if not self.symbol:
            raise InvalidInput("SymbolSpec.symbol", "must not be empty", self.symbol)
        _require(self, "price_quote", low=0.0, open_low=True)
        _require(self, "daily_volatility_frac", low=0.0, open_low=True, high=0.5)
        _require(self, "common_frac", low=0.0, high=1.0)
        _require(self, "minute_turnover_quote", low=0.0, open_low=True)
        _require(self, "spot_turnover_frac", low=0.0, open_low=True)

    def instrument(self, market: str) -> Instrument:
        """Return the instrument of ``market`` ("linear" or "spot")."""
        own = self.linear if market == "linear" else self.spot
        return own if own is not None else sample_instrument(self.symbol, market)


@dataclass(frozen=True, slots=True)
class VolatilitySpec:
    """Clustering, tails and jumps of returns.

    The log of volatility is the sum of a fast and a slow Ornstein-Uhlenbeck process; a minute's return is Student-t
    given it (a normal whose variance is inverse-gamma); jumps are Poisson, in the factor and in each symbol.

    Parameters
    ----------
    fast_half_life_minutes, slow_half_life_minutes : float
        Time in which a deviation of log volatility halves.
    fast_sd, slow_sd : float
        Stationary standard deviation of each part of log volatility.
    common_weight : float
        Correlation of a symbol's own log volatility with the factor's, in [0, 1].
    tail_dof : float
        Degrees of freedom of the minute's Student-t, above 2.
    jumps_per_day : float
        In the factor, and as many again in each symbol's own part.
    jump_sd_days : float
        Standard deviation of a jump in units of a day's standard deviation.
    """

    fast_half_life_minutes: float = 25.0
    fast_sd: float = 0.42
    slow_half_life_minutes: float = 2_880.0
    slow_sd: float = 0.34
    common_weight: float = 0.7
    tail_dof: float = 4.0
    jumps_per_day: float = 0.7
    jump_sd_days: float = 0.25

    def __post_init__(self) -> None:
        for name in ("fast_half_life_minutes", "slow_half_life_minutes"):
            _require(self, name, low=0.0, open_low=True)
        for name in ("fast_sd", "slow_sd", "jumps_per_day", "jump_sd_days"):
            _require(self, name, low=0.0, high=10.0)
        _require(self, "common_weight", low=0.0, high=1.0)
        _require(self, "tail_dof", low=2.0, open_low=True)

    @property
    def log_variance(self) -> float:
        """Stationary variance of log volatility."""
        return self.fast_sd**2 + self.slow_sd**2


@dataclass(frozen=True, slots=True)
class RegimeSpec:
    """Markov regimes in the order of :data:`REGIMES`, common to all symbols.

    Parameters
    ----------
    mean_hours : tuple of three float
        Mean stay in each regime.
    volatility : tuple of three float
        Multiplier of volatility in each regime.
    into : tuple of three float
        Relative chance of being entered, when another regime ends.
    """

    mean_hours: tuple[float, float, float] = (30.0, 24.0, 9.0)
    volatility: tuple[float, float, float] = (0.80, 1.00, 1.60)
    into: tuple[float, float, float] = (1.0, 1.0, 1.0)

    def __post_init__(self) -> None:
        for name in ("mean_hours", "volatility", "into"):
            values = getattr(self, name)
            if len(values) != len(REGIMES) or not all(math.isfinite(v) and v > 0.0 for v in values):
                raise InvalidInput(f"RegimeSpec.{name}", "must be three finite numbers above 0", values)
        if min(self.mean_hours) < 1.0 / 60.0:
            raise InvalidInput("RegimeSpec.mean_hours", "must be at least one minute each", self.mean_hours)

    def fractions(self) -> tuple[float, float, float]:
        """Return the long-run share of time in each regime.

        Examples
        --------
        >>> [round(share, 2) for share in RegimeSpec().fractions()]
        [0.48, 0.38, 0.14]
        """
        into = self.into
        # Flow balance of the jump chain with entry chances proportional to `into`: visits go as into * (total - into).
        visits = [w * (sum(into) - w) for w in into]
        time = [v * h for v, h in zip(visits, self.mean_hours, strict=True)]
        total = sum(time)
        return time[0] / total, time[1] / total, time[2] / total


@dataclass(frozen=True, slots=True)
class DriftSpec:
    """The planted edge: a latent drift of log price that exists only in the trending regime.

    Parameters
    ----------
    sd_ratio : float
        Stationary standard deviation of the drift per 5 minutes at ``edge=1``, in units of the symbol's typical
        standard deviation per 5 minutes. For the default SOLUSDT, 22 bps per 5 minutes, 0.25 is 5.5 bps.
    half_life_minutes : float
        Time in which the drift's deviation from zero halves.
    common_frac : float
        Share of the drift's variance common to all symbols.
    """

    sd_ratio: float = 0.25
    half_life_minutes: float = 180.0
    common_frac: float = 0.5

    def __post_init__(self) -> None:
        _require(self, "sd_ratio", low=0.0, high=10.0)
        _require(self, "half_life_minutes", low=0.0, open_low=True)
        _require(self, "common_frac", low=0.0, high=1.0)


@dataclass(frozen=True, slots=True)
class BasisSpec:
    """Log of perpetual over spot, an Ornstein-Uhlenbeck process, and the noise of traded prices.

    Parameters
    ----------
    mean_bps, sd_bps : float
        Stationary mean and standard deviation. Bybit 2025: mean -4, standard deviation 2.2 to 2.7.
    half_life_minutes : float
        Bybit 2025: autocorrelation 0.92 to 0.82 after an hour, 0.89 to 0.75 after four.
    noise_bps : float
        Standard deviation of a traded price around the efficient one, drawn apart for every print: the bounce
        between bid and ask.
    """

    mean_bps: float = -2.0
    sd_bps: float = 4.0
    half_life_minutes: float = 480.0
    noise_bps: float = 0.5

    def __post_init__(self) -> None:
        _require(self, "mean_bps", low=-1_000.0, high=1_000.0)
        _require(self, "sd_bps", low=0.0, high=1_000.0)
        _require(self, "half_life_minutes", low=0.0, open_low=True)
        _require(self, "noise_bps", low=0.0, high=100.0)


@dataclass(frozen=True, slots=True)
class FundingSpec:
    """Funding of the perpetual and the mark price.

    Parameters
    ----------
    interval_hours : int
        A divisor of 24.
    interest_daily_frac : float
        Interest part per day; 0.0003 is Bybit's 0.01 % per 8 hours.
    clamp_frac : float
        Bound of interest minus premium.
    cap_frac : float
        Bound of the rate of one settlement, either way.
    mark_half_life_minutes : float
        Smoothing of the premium in the mark price.
    mark_clip_frac : float
        Bound of that premium, either way.
    """

    interval_hours: int = 8
    interest_daily_frac: float = 0.0003
    clamp_frac: float = 0.0005
    cap_frac: float = 0.005
    mark_half_life_minutes: float = 2.5
    mark_clip_frac: float = 0.005

    def __post_init__(self) -> None:
        if self.interval_hours not in (1, 2, 3, 4, 6, 8, 12, 24):
            raise InvalidInput("FundingSpec.interval_hours", "must be a divisor of 24", self.interval_hours)
        _require(self, "interest_daily_frac", low=-1.0, high=1.0)
        for name in ("clamp_frac", "cap_frac", "mark_clip_frac"):
            _require(self, name, low=0.0, high=1.0)
        _require(self, "mark_half_life_minutes", low=0.0, open_low=True)


DEFAULT_SYMBOLS = (
    # Volatility and turnover: Bybit, April to August 2025, 5m standard deviation times sqrt(288), median volume.
    SymbolSpec("BTCUSDT", 42_000.0, 0.018, minute_turnover_quote=3_300_000.0, spot_turnover_frac=0.11),
    SymbolSpec("ETHUSDT", 2_300.0, 0.030, minute_turnover_quote=2_400_000.0, spot_turnover_frac=0.08),
    SymbolSpec("SOLUSDT", 100.0, 0.0375, minute_turnover_quote=800_000.0, spot_turnover_frac=0.09),
)


@dataclass(frozen=True, slots=True)
class MarketSpec:
    """A simulated market: what :func:`research.market.simulated.simulate_market` is asked for.

    Parameters
    ----------
    days : int
        Length. A longer market begins with the bytes of a shorter one.
    seed : int
        At least 0. The same specification and seed give the same bytes.
    edge : float
        Size of the planted drift; 0 makes efficient prices a martingale. See :class:`DriftSpec`.
    start : str
        UTC midnight, ISO format (``2024-01-01``).
    symbols : tuple of SymbolSpec
        Adding one changes nothing of the others.
    sub_steps : int
        Prints per minute that a bar is built from, 2 to 60.
    volatility, regimes, drift, basis, funding
        The parts' own parameters.
    """

    days: int = 120
    seed: int = 0
    edge: float = 1.0
    start: str = "2024-01-01"
    symbols: tuple[SymbolSpec, ...] = DEFAULT_SYMBOLS
    sub_steps: int = 8
    volatility: VolatilitySpec = field(default_factory=VolatilitySpec)
    regimes: RegimeSpec = field(default_factory=RegimeSpec)
    drift: DriftSpec = field(default_factory=DriftSpec)
    basis: BasisSpec = field(default_factory=BasisSpec)
    funding: FundingSpec = field(default_factory=FundingSpec)

    def __post_init__(self) -> None:
        for name, low, high in (("days", 1, 36_500), ("seed", 0, 2**63 - 1), ("sub_steps", 2, 60)):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
                raise InvalidInput(f"MarketSpec.{name}", f"must be a whole number in [{low}, {high}]", value)
        _require(self, "edge", low=0.0, high=100.0)
        names = [s.symbol for s in self.symbols]
        if not names or len(set(names)) != len(names):
            raise InvalidInput("MarketSpec.symbols", "must be at least one, each name once", names)
        if self.start_ns % NS_PER_DAY:
            raise InvalidInput("MarketSpec.start", "must be a UTC midnight", self.start)

    @property
    def start_ns(self) -> int:
        """Open time of the first bar, ns since the epoch."""
        try:
            moment = datetime.fromisoformat(self.start)
        except ValueError as error:
            raise InvalidInput("MarketSpec.start", "must be an ISO date", self.start) from error
        moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
        whole = int((moment - datetime(1970, 1, 1, tzinfo=UTC)).total_seconds())
        return whole * 1_000_000_000

    def drift_sd_bps(self, symbol: SymbolSpec) -> float:
        """Return the stationary standard deviation of the latent drift in bps per 5 minutes.

        Examples
        --------
        >>> spec = MarketSpec()
        >>> round(spec.drift_sd_bps(spec.symbols[2]), 2)
        5.52
        """
        typical_bps = symbol.daily_volatility_frac / math.sqrt(FIVE_MINUTES_PER_DAY) * 1e4
        return self.edge * self.drift.sd_ratio * typical_bps
