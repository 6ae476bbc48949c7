"""Build an instrument from Bybit's instruments-info and risk-limit. It dates nothing: only today's terms are shown."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from research.errors import RefusedBySource, SourceError
from research.market.instruments import Instrument, MarginTier, Terms, margin_tiers
from research.market.sources.bybit_rest import BybitRest

# Fees are an account's own (/v5/account/fee-rate needs a key); these are what an account without VIP level pays.
TAKER_FEE_BPS = {"linear": 5.5, "spot": 10.0}
MAKER_FEE_BPS = {"linear": 2.0, "spot": 10.0}


def instrument(
    rest: BybitRest,
    market: str,
    symbol: str,
    *,
    from_ns: int = 0,
    taker_fee_bps: float | None = None,
    maker_fee_bps: float | None = None,
) -> Instrument:
    """Return an instrument with one set of terms, dated ``from_ns``.

    Parameters
    ----------
    rest : BybitRest
        Client to ask with.
    market : str
        ``linear`` or ``spot``.
    symbol : str
        As Bybit writes it.
    from_ns : int
        Date the terms hold from. The default says that today's have always held, which a backtest of older years
        should know to be an assumption: ticks, steps, tiers and limits change (order limits twice a month).
    taker_fee_bps, maker_fee_bps : float, optional
        Default to an account without VIP level: 5.5 and 2.0 on linear, 10 and 10 on spot.

    Returns
    -------
    Instrument
        ``max_qty`` is the limit of a market order. Tiers carry the maintenance deduction worked out from rates and
        caps, checked against the reply's own where it says it. On spot there are no tiers, leverage is 1 and the
        funding interval 0.

    Raises
    ------
    RefusedBySource
        If Bybit lists no such instrument.
    SourceError
        If a field is absent or not a number, or margin rates and leverage contradict each other.
    """
    subject = f"bybit {market} {symbol} instrument"
    query = {"category": market, "symbol": symbol}
    rows = rest.ask(rest.http.get_instruments_info, subject, query).result.get("list") or []
    found = [row for row in rows if row.get("symbol") == symbol]
    if not found:
        raise RefusedBySource(f"{subject}: Bybit lists no such instrument")
    row = found[0]
    terms = _linear_terms if market == "linear" else _spot_terms
    fields = terms(row, subject)
    tiers: tuple[MarginTier, ...] = ()
    if market == "linear":
        tiers = _tiers(rest, symbol, subject)
        fields["max_leverage"] = min(fields["max_leverage"], 1 / tiers[0].initial_frac)
    return Instrument(
        venue="bybit",
        market=market,
        symbol=symbol,
        base=str(_get(row, "baseCoin", subject)),
        quote=str(_get(row, "quoteCoin", subject)),
        terms=(
            Terms(
                from_ns=from_ns,
                taker_fee_bps=TAKER_FEE_BPS[market] if taker_fee_bps is None else taker_fee_bps,
                maker_fee_bps=MAKER_FEE_BPS[market] if maker_fee_bps is None else maker_fee_bps,
                tiers=tiers,
                **fields,
            ),
        ),
    )


def _linear_terms(row: Mapping[str, Any], subject: str) -> dict[str, Any]:
    lots = _get(row, "lotSizeFilter", subject)
    return {
        "tick": _number(_get(row, "priceFilter", subject), "tickSize", subject),
        "qty_step": _number(lots, "qtyStep", subject),
        "min_qty": _number(lots, "minOrderQty", subject),
        "max_qty": _number(lots, "maxMktOrderQty", subject),
        "min_notional_quote": _number(lots, "minNotionalValue", subject),
        "funding_interval_hours": _number(row, "fundingInterval", subject) / 60,  # minutes
        "max_leverage": _number(_get(row, "leverageFilter", subject), "maxLeverage", subject),
    }


def _spot_terms(row: Mapping[str, Any], subject: str) -> dict[str, Any]:
    lots = _get(row, "lotSizeFilter", subject)
    step = _number(lots, "basePrecision", subject)
    return {
        "tick": _number(_get(row, "priceFilter", subject), "tickSize", subject),
        "qty_step": step,
        # Deprecated by Bybit in favour of the minimum amount, which is enforced as well; the stricter one decides.
        "min_qty": _number(lots, "minOrderQty", subject) if lots.get("minOrderQty") else step,
        "max_qty": _number(lots, "maxMarketOrderQty" if "maxMarketOrderQty" in lots else "maxOrderQty", subject),
        "min_notional_quote": _number(lots, "minOrderAmt", subject),
        "funding_interval_hours": 0.0,
        "max_leverage": 1.0,
    }


def _tiers(rest: BybitRest, symbol: str, subject: str) -> tuple[MarginTier, ...]:
    rows: list[Mapping[str, Any]] = []
    cursor: str | None = None
    while True:
        query = {"category": "linear", "symbol": symbol, "cursor": cursor}
        result = rest.ask(rest.http.get_risk_limit, subject, query).result
        page = result.get("list") or []
        rows += [row for row in page if row.get("symbol") == symbol]
        following = result.get("nextPageCursor") or None
        if not page or following is None or following == cursor:
            break
        cursor = following
    if not rows:
        raise SourceError(f"{subject}: Bybit lists no risk limit")
    by_cap = {_number(row, "riskLimitValue", subject): row for row in rows}  # a cursor's pages may repeat a row
    steps = [(cap, *_rates(by_cap[cap], subject)) for cap in sorted(by_cap)]
    tiers = margin_tiers(steps)
    for tier in tiers:
        stated = by_cap[tier.cap_quote].get("mmDeduction")
        if stated and not math.isclose(
            _number(by_cap[tier.cap_quote], "mmDeduction", subject), tier.deduction_quote, rel_tol=1e-3, abs_tol=1e-6
        ):
            raise SourceError(
                f"{subject}: mmDeduction of the tier up to {tier.cap_quote:g} is {stated}, "
                f"its margin rates make it {tier.deduction_quote:g}"
            )
    return tiers


def _rates(row: Mapping[str, Any], subject: str) -> tuple[float, float]:
    """Return maintenance and initial margin as fractions.

    Bybit's documentation shows 0.5 and 1 (percent) where other answers carry 0.005 and 0.01; the initial rate is one
    over the leverage, so their product tells which. It is published rounded (0.0134 for 75x), so the leverage counts.
    """
    maintenance, initial = _number(row, "maintenanceMargin", subject), _number(row, "initialMargin", subject)
    leverage = _number(row, "maxLeverage", subject)
    for per in (1, 100):
        if leverage >= 1 and abs(initial * leverage / per - 1) <= 0.05:
            return maintenance / per, 1 / leverage
    raise SourceError(f"{subject}: initialMargin {initial:g} times maxLeverage {leverage:g} is neither 1 nor 100")


def _get(row: Mapping[str, Any], field: str, subject: str) -> Any:
    if not isinstance(row, Mapping) or field not in row:
        raise SourceError(f"{subject}: the reply has no {field}")
    return row[field]


def _number(row: Mapping[str, Any], field: str, subject: str) -> float:
    text = _get(row, field, subject)
    try:
        value = float(text)
    except (TypeError, ValueError) as error:
        raise SourceError(f"{subject}: {field} is not a number; received {text!r}") from error
    if not math.isfinite(value):
        raise SourceError(f"{subject}: {field} is not finite; received {text!r}")
    return value
