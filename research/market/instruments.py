"""Contract terms of an instrument: grid, limits, fees, funding interval and margin tiers, dated. It fetches none.

Formulas of the tiers: https://bybit-exchange.github.io/docs/v5/market/risk-limit and the help page "Maintenance
Margin (USDT Contract)".
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime
from typing import Any

from research.errors import InvalidInput, SchemaMismatch

MARKETS = ("linear", "spot")
# Deductions are published rounded; a wrong tier is off by whole units of quote currency.
_DEDUCTION_RTOL = 1e-6


@dataclass(frozen=True, slots=True)
class MarginTier:
    """One step of a maintenance-margin schedule.

    Parameters
    ----------
    cap_quote : float
        Largest position value of the step, at the mark price; ``inf`` where the last step has no cap.
    maintenance_frac : float
        Maintenance margin as a fraction of position value, before the deduction.
    initial_frac : float
        Initial margin fraction, 1 / largest leverage of the step.
    deduction_quote : float
        What is subtracted so that the maintenance margin has no jump at the step's lower end; 0 in the first.
    """

    cap_quote: float
    maintenance_frac: float
    initial_frac: float
    deduction_quote: float

    def __post_init__(self) -> None:
        _require(self.cap_quote > 0, "tier.cap_quote", "must be positive", self.cap_quote)
        _require(0 < self.maintenance_frac < 1, "tier.maintenance_frac", "must lie in (0, 1)", self.maintenance_frac)
        rule = f"must lie between maintenance_frac ({self.maintenance_frac}) and 1"
        _require(self.maintenance_frac <= self.initial_frac <= 1, "tier.initial_frac", rule, self.initial_frac)
        finite = math.isfinite(self.deduction_quote) and self.deduction_quote >= 0
        _require(finite, "tier.deduction_quote", "must be finite and not negative", self.deduction_quote)


def margin_tiers(steps: Sequence[tuple[float, float, float]]) -> tuple[MarginTier, ...]:
    r"""Return tiers with their deductions worked out.

    .. math:: D_1 = 0, \qquad D_i = D_{i-1} + C_{i-1} (m_i - m_{i-1})

    Parameters
    ----------
    steps : sequence of (cap_quote, maintenance_frac, initial_frac)
        Caps increasing.

    Examples
    --------
    >>> [tier.deduction_quote for tier in margin_tiers([(2e6, 0.005, 0.01), (10e6, 0.01, 0.02)])]
    [0.0, 10000.0]
    """
    tiers: list[MarginTier] = []
    for cap, maintenance, initial in steps:
        deduction = 0.0
        if tiers:
            before = tiers[-1]
            deduction = before.deduction_quote + before.cap_quote * (maintenance - before.maintenance_frac)
        tiers.append(MarginTier(float(cap), float(maintenance), float(initial), deduction))
    _require_tiers(tiers)
    return tuple(tiers)


@dataclass(frozen=True, slots=True)
class Terms:
    """What an exchange's contract says from one date on.

    Parameters
    ----------
    from_ns : int
        First moment at which it holds, ns UTC.
    tick : float
        Price increment, quote per base.
    qty_step : float
        One lot, in base units.
    min_qty, max_qty : float
        Limits of one order, in base units; ``max_qty`` may be ``inf``.
    min_notional_quote : float
        Smallest order value; 0 for none.
    taker_fee_bps, maker_fee_bps : float
        Fraction of traded value in basis points; a negative maker fee is a rebate.
    funding_interval_hours : float
        Of the contract; charging goes by the dated funding rows. 0 for spot.
    max_leverage : float
        1 for spot.
    tiers : tuple of MarginTier
        Empty for spot.
    """

    from_ns: int
    tick: float
    qty_step: float
    min_qty: float
    max_qty: float
    min_notional_quote: float
    taker_fee_bps: float
    maker_fee_bps: float
    funding_interval_hours: float
    max_leverage: float
    tiers: tuple[MarginTier, ...] = ()

    def __post_init__(self) -> None:
        if isinstance(self.from_ns, bool) or not isinstance(self.from_ns, int):
            raise InvalidInput("terms.from_ns", "must be an int of nanoseconds", self.from_ns)
        for name in ("tick", "qty_step", "min_qty"):
            value = getattr(self, name)
            _require(math.isfinite(value) and value > 0, f"terms.{name}", "must be positive and finite", value)
        _require(
            self.max_qty >= self.min_qty, "terms.max_qty", f"must be at least min_qty ({self.min_qty})", self.max_qty
        )
        for name in ("min_notional_quote", "funding_interval_hours"):
            value = getattr(self, name)
            _require(math.isfinite(value) and value >= 0, f"terms.{name}", "must be finite and not negative", value)
        taker, maker = self.taker_fee_bps, self.maker_fee_bps
        _require(0 <= taker < 10_000, "terms.taker_fee_bps", "must lie in [0, 10000)", taker)
        _require(-taker <= maker < 10_000, "terms.maker_fee_bps", "must lie in [-taker_fee_bps, 10000)", maker)
        leverage = self.max_leverage
        _require(math.isfinite(leverage) and leverage >= 1, "terms.max_leverage", "must be at least 1", leverage)
        if self.tiers:
            _require_tiers(self.tiers)
            highest = 1 / self.tiers[0].initial_frac
            rule = f"must not exceed 1 / initial_frac of the first tier ({highest:g})"
            _require(leverage <= highest * (1 + 1e-9), "terms.max_leverage", rule, leverage)


@dataclass(frozen=True, slots=True)
class Instrument:
    """A traded contract and its dated terms.

    Parameters
    ----------
    venue, market, symbol : str
        As in the lake; market is ``linear`` (USDT perpetual) or ``spot``.
    base, quote : str
        Currencies.
    terms : tuple of Terms
        Dates increasing; each holds until the next.

    Raises
    ------
    InvalidInput
        If a rule is broken: the message names the field.
    """

    venue: str
    market: str
    symbol: str
    base: str
    quote: str
    terms: tuple[Terms, ...]

    def __post_init__(self) -> None:
        for name in ("venue", "symbol", "base", "quote"):
            value = getattr(self, name)
            _require(isinstance(value, str) and value != "", f"instrument.{name}", "must be a name", value)
        _require(self.market in MARKETS, "instrument.market", f"must be one of {', '.join(MARKETS)}", self.market)
        _require(len(self.terms) > 0, f"{self.symbol}.terms", "must not be empty", self.terms)
        for i, terms in enumerate(self.terms):
            subject = f"{self.symbol}.terms[{i}]"
            if i and terms.from_ns <= self.terms[i - 1].from_ns:
                raise InvalidInput(f"{subject}.from_ns", "must be later than that of the terms before", terms.from_ns)
            if self.market == "spot":
                _require(not terms.tiers, f"{subject}.tiers", "must be empty for spot", terms.tiers)
                _require(terms.max_leverage == 1, f"{subject}.max_leverage", "must be 1 for spot", terms.max_leverage)
                hours = terms.funding_interval_hours
                _require(hours == 0, f"{subject}.funding_interval_hours", "must be 0 for spot", hours)
            else:
                _require(len(terms.tiers) > 0, f"{subject}.tiers", "must not be empty for a perpetual", terms.tiers)
                hours = terms.funding_interval_hours
                _require(hours > 0, f"{subject}.funding_interval_hours", "must be positive for a perpetual", hours)

    def at(self, ts_ns: int) -> Terms:
        """Return the terms that hold at a moment.

        Raises
        ------
        InvalidInput
            If the moment lies before the first terms: what held then is not known.
        """
        i = bisect_right(self.terms, ts_ns, key=_from_ns)
        if i == 0:
            rule = f"must not be earlier than the first terms ({self.terms[0].from_ns})"
            raise InvalidInput(f"{self.symbol}.at", rule, ts_ns)
        return self.terms[i - 1]

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON types; no cap and no largest quantity (``inf``) become None."""
        return {
            **{name: getattr(self, name) for name in ("venue", "market", "symbol", "base", "quote")},
            "terms": [{**_plain(terms), "tiers": [_plain(tier) for tier in terms.tiers]} for terms in self.terms],
        }

    @classmethod
    def from_dict(cls, record: Mapping[str, Any]) -> Instrument:
        """Return the instrument that :meth:`to_dict` described.

        Raises
        ------
        SchemaMismatch
            If a field is missing, unknown or of another type.
        InvalidInput
            If a value breaks a rule.
        """
        given = _fields(record, cls, "instrument")
        if not isinstance(given["terms"], (list, tuple)):
            raise SchemaMismatch("instrument.terms", "must be a list", given["terms"])
        terms = []
        for i, item in enumerate(given["terms"]):
            subject = f"instrument.terms[{i}]"
            entry = dict(_fields(item, Terms, subject))
            if not isinstance(entry["tiers"], (list, tuple)):
                raise SchemaMismatch(f"{subject}.tiers", "must be a list", entry["tiers"])
            tiers = tuple(
                MarginTier(**_numbers(_fields(tier, MarginTier, f"{subject}.tiers[{j}]"), f"{subject}.tiers[{j}]"))
                for j, tier in enumerate(entry.pop("tiers"))
            )
            terms.append(Terms(**_numbers(entry, subject), tiers=tiers))
        return cls(**{name: given[name] for name in ("venue", "market", "symbol", "base", "quote")}, terms=tuple(terms))


def _from_ns(terms: Terms) -> int:
    return terms.from_ns


def _require(holds: bool, subject: str, rule: str, received: object) -> None:
    if not holds:
        raise InvalidInput(subject, rule, received)


def _require_tiers(tiers: Sequence[MarginTier]) -> None:
    first = tiers[0].deduction_quote
    _require(first == 0, "tiers[0].deduction_quote", "must be 0 in the first tier", first)
    for i in range(1, len(tiers)):
        before, tier = tiers[i - 1], tiers[i]
        for name in ("cap_quote", "maintenance_frac", "initial_frac"):
            low, value = getattr(before, name), getattr(tier, name)
            increases = value > low or (name == "initial_frac" and value == low)
            _require(increases, f"tiers[{i}].{name}", f"must exceed that of the tier before ({low})", value)
        expected = before.deduction_quote + before.cap_quote * (tier.maintenance_frac - before.maintenance_frac)
        rule = f"must be {expected:.10g}, so that maintenance margin has no jump at {before.cap_quote:g}"
        close = math.isclose(tier.deduction_quote, expected, rel_tol=_DEDUCTION_RTOL)
        _require(close, f"tiers[{i}].deduction_quote", rule, tier.deduction_quote)


def _plain(record: Terms | MarginTier) -> dict[str, Any]:
    return {name: None if value == math.inf else value for name, value in asdict(record).items()}


def _fields(record: object, kind: type, subject: str) -> Mapping[str, Any]:
    """Return ``record`` if it has exactly the fields of a dataclass."""
    expected = [field.name for field in fields(kind)]
    if not isinstance(record, Mapping) or set(record) != set(expected):
        received = sorted(map(str, record)) if isinstance(record, Mapping) else record
        raise SchemaMismatch(subject, f"must have exactly the fields {', '.join(expected)}", received)
    return record


def _numbers(entry: Mapping[str, Any], subject: str) -> dict[str, Any]:
    """Return a record's numbers as floats; None stands for ``inf`` where :func:`_plain` wrote it."""
    numbers: dict[str, Any] = {}
    for name, value in entry.items():
        if value is None and name in ("cap_quote", "max_qty"):
            value = math.inf
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise SchemaMismatch(f"{subject}.{name}", "must be a number", value)
        numbers[name] = value if name == "from_ns" else float(value)
    return numbers


# Sample terms, near to what Bybit published in 2024-2025 and rounded: for examples, tests and the simulated market.
# (base: tick, qty_step, min_qty, max_qty), perpetual then spot; real terms come from the exchange, dated.
_SAMPLE_GRID: dict[str, dict[str, tuple[float, float, float, float]]] = {
    "linear": {
        "BTC": (0.1, 0.001, 0.001, 1_190.0),
        "ETH": (0.01, 0.01, 0.01, 7_240.0),
        "SOL": (0.01, 0.1, 0.1, 79_770.0),
        "AVAX": (0.001, 0.1, 0.1, 84_900.0),
    },
    "spot": {
        "BTC": (0.01, 0.000001, 0.000048, 83.0),
        "ETH": (0.01, 0.00001, 0.00062, 1_222.0),
        "SOL": (0.01, 0.001, 0.01, 12_230.0),
        "AVAX": (0.001, 0.001, 0.05, 25_000.0),
    },
}
_SAMPLE_STEPS = {
    "BTC": [(2e6, 0.005, 0.01), (10e6, 0.01, 0.02), (20e6, 0.015, 0.03), (40e6, 0.02, 0.04), (80e6, 0.03, 0.06)],
    "ETH": [(1e6, 0.005, 0.01), (5e6, 0.01, 0.02), (10e6, 0.015, 0.03), (20e6, 0.02, 0.04), (40e6, 0.03, 0.06)],
    "SOL": [(0.5e6, 0.01, 0.02), (2e6, 0.02, 0.04), (5e6, 0.03, 0.06), (10e6, 0.05, 0.1), (20e6, 0.1, 0.2)],
    "AVAX": [(0.2e6, 0.01, 0.02), (1e6, 0.025, 0.05), (2e6, 0.05, 0.1), (4e6, 0.1, 0.2)],
}


def sample_instrument(
    symbol: str, market: str = "linear", venue: str = "bybit", from_ns: int | None = None
) -> Instrument:
    """Return sample terms of BTC, ETH, SOL or AVAX against USDT, for examples and tests.

    Fees are Bybit's for an account without tier: 5.5 bps taker and 2 bps maker on perpetuals, 10 and 10 on spot.
    Grid, limits and margin tiers are of the right size, not a record of what held on any date.

    Parameters
    ----------
    symbol : str
        ``BTCUSDT``, ``ETHUSDT``, ``SOLUSDT`` or ``AVAXUSDT``.
    market : str
        ``linear`` or ``spot``.
    venue : str
        Name only.
    from_ns : int, optional
        When the terms begin, ns UTC; default 2009-01-01, before any data.

    Examples
    --------
    >>> terms = sample_instrument("SOLUSDT").at(1_704_067_200 * 10**9)
    >>> terms.tick, terms.qty_step, terms.taker_fee_bps, terms.max_leverage
    (0.01, 0.1, 5.5, 50.0)
    """
    _require(market in MARKETS, "market", f"must be one of {', '.join(MARKETS)}", market)
    base = symbol.removesuffix("USDT")
    if base == symbol or base not in _SAMPLE_GRID[market]:
        known = ", ".join(f"{name}USDT" for name in _SAMPLE_GRID[market])
        raise InvalidInput("symbol", f"must be one of the samples {known}", symbol)
    if from_ns is None:
        from_ns = int(datetime(2009, 1, 1, tzinfo=UTC).timestamp()) * 10**9
    tick, step, least, most = _SAMPLE_GRID[market][base]
    if market == "spot":
        terms = Terms(from_ns, tick, step, least, most, 5.0, 10.0, 10.0, 0.0, 1.0)
    else:
        tiers = margin_tiers(_SAMPLE_STEPS[base])
        terms = Terms(from_ns, tick, step, least, most, 5.0, 5.5, 2.0, 8.0, 1 / tiers[0].initial_frac, tiers)
    return Instrument(venue, market, symbol, base, "USDT", (terms,))
