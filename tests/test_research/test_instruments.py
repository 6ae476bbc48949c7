"""Contract terms: validation, dated look-up and the JSON round trip."""

import json
import math
from dataclasses import FrozenInstanceError, replace
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from research.errors import InvalidInput, SchemaMismatch
from research.market import Instrument, MarginTier, Terms, sample_instrument
from research.market.instruments import margin_tiers

DAY = 86_400 * 10**9
TIERS = margin_tiers([(1e6, 0.01, 0.02), (5e6, 0.02, 0.04), (2e7, 0.05, 0.1)])


def terms(**changes) -> Terms:
    given_terms = Terms(
        from_ns=0, tick=0.01, qty_step=0.1, min_qty=0.1, max_qty=1_000.0, min_notional_quote=5.0, taker_fee_bps=5.5,
        maker_fee_bps=2.0, funding_interval_hours=8.0, max_leverage=50.0, tiers=TIERS,
    )  # fmt: skip
    return replace(given_terms, **changes)


def instrument(*dated: Terms, market: str = "linear") -> Instrument:
    return Instrument("bybit", market, "SOLUSDT", "SOL", "USDT", dated)


def test_terms_hold_from_their_date_until_the_next():
    first, second, third = terms(from_ns=DAY), terms(from_ns=2 * DAY, tick=0.02), terms(from_ns=5 * DAY, tick=0.05)
    dated = instrument(first, second, third)
    looked_up = [dated.at(t) for t in (DAY, 2 * DAY - 1, 2 * DAY, 5 * DAY - 1, 5 * DAY, 10**18)]
    assert looked_up == [first, first, second, second, third, third]
    for before in (DAY - 1, 0, -1):
        with pytest.raises(InvalidInput, match=r"SOLUSDT\.at must not be earlier than the first terms"):
            dated.at(before)


def test_dates_must_increase():
    for later in (DAY, 0):
        with pytest.raises(InvalidInput, match=r"SOLUSDT\.terms\[1\]\.from_ns must be later"):
            instrument(terms(from_ns=DAY), terms(from_ns=later))


@pytest.mark.parametrize(
    ("change", "subject"),
    [
        ({"tick": 0.0}, "tick"),
        ({"tick": -0.1}, "tick"),
        ({"tick": math.nan}, "tick"),
        ({"tick": math.inf}, "tick"),
        ({"qty_step": 0.0}, "qty_step"),
        ({"min_qty": 0.0}, "min_qty"),
        ({"max_qty": 0.05}, "max_qty"),
        ({"max_qty": math.nan}, "max_qty"),
        ({"min_notional_quote": -1.0}, "min_notional_quote"),
        ({"min_notional_quote": math.nan}, "min_notional_quote"),
        ({"taker_fee_bps": -1.0}, "taker_fee_bps"),
        ({"taker_fee_bps": math.nan}, "taker_fee_bps"),
        ({"maker_fee_bps": -6.0}, "maker_fee_bps"),
        ({"maker_fee_bps": math.nan}, "maker_fee_bps"),
        ({"funding_interval_hours": -8.0}, "funding_interval_hours"),
        ({"max_leverage": 0.5}, "max_leverage"),
        ({"max_leverage": math.inf}, "max_leverage"),
        ({"max_leverage": 51.0}, "max_leverage"),
        ({"from_ns": 1.5}, "from_ns"),
        ({"from_ns": True}, "from_ns"),
    ],
)
def test_numbers_out_of_range_are_refused(change, subject):
    with pytest.raises(InvalidInput, match=subject):
        terms(**change)


def test_a_rebate_and_no_upper_limit_are_accepted():
    assert terms(maker_fee_bps=-0.5, max_qty=math.inf).maker_fee_bps == -0.5


@pytest.mark.parametrize(
    ("change", "subject"),
    [
        ({"cap_quote": 0.0}, "cap_quote"),
        ({"cap_quote": math.nan}, "cap_quote"),
        ({"maintenance_frac": 0.0}, "maintenance_frac"),
        ({"maintenance_frac": 1.0}, "maintenance_frac"),
        ({"initial_frac": 0.005}, "initial_frac"),
        ({"initial_frac": 1.5}, "initial_frac"),
        ({"deduction_quote": -1.0}, "deduction_quote"),
        ({"deduction_quote": math.inf}, "deduction_quote"),
    ],
)
def test_a_tier_out_of_range_is_refused(change, subject):
    with pytest.raises(InvalidInput, match=f"tier.{subject}"):
        replace(MarginTier(1e6, 0.01, 0.02, 0.0), **change)


def test_deductions_make_maintenance_margin_continuous():
    for before, tier in pairwise(TIERS):
        at_cap = [before.cap_quote * t.maintenance_frac - t.deduction_quote for t in (before, tier)]
        assert at_cap[0] == pytest.approx(at_cap[1], rel=1e-12)  # rounding of one product
    # D_2 = 1e6 (0.02 - 0.01), D_3 = D_2 + 5e6 (0.05 - 0.02), by hand
    assert [t.deduction_quote for t in TIERS] == pytest.approx([0.0, 10_000.0, 160_000.0], rel=1e-12)


@pytest.mark.parametrize(
    ("tiers", "match"),
    [
        ((MarginTier(1e6, 0.01, 0.02, 1.0),), "first tier"),
        ((TIERS[0], replace(TIERS[1], deduction_quote=10_100.0)), r"tiers\[1\]\.deduction_quote must be 10000"),
        ((TIERS[0], replace(TIERS[1], deduction_quote=0.0)), "no jump"),
        ((TIERS[0], replace(TIERS[1], cap_quote=1e6)), r"tiers\[1\]\.cap_quote must exceed"),
        ((TIERS[1], TIERS[0]), "first tier"),
        ((TIERS[0], MarginTier(2e6, 0.01, 0.04, 0.0)), r"tiers\[1\]\.maintenance_frac must exceed"),
        ((TIERS[0], MarginTier(5e6, 0.012, 0.015, 2_000.0)), r"tiers\[1\]\.initial_frac must exceed"),
    ],
)
def test_tiers_that_do_not_fit_together_are_refused(tiers, match):
    with pytest.raises(InvalidInput, match=match):
        terms(tiers=tiers, max_leverage=1.0)


def test_a_published_deduction_may_be_rounded():
    rounded = replace(TIERS[2], deduction_quote=160_000.01)
    assert terms(tiers=(*TIERS[:2], rounded)).tiers[2] == rounded


def test_market_decides_what_the_terms_must_have():
    spot = terms(tiers=(), max_leverage=1.0, funding_interval_hours=0.0)
    assert instrument(spot, market="spot").at(0) == spot
    for change, match in (
        ({"tiers": TIERS}, "tiers must be empty"),
        ({"max_leverage": 2.0}, "max_leverage must be 1"),
        ({"funding_interval_hours": 8.0}, "funding_interval_hours must be 0"),
    ):
        with pytest.raises(InvalidInput, match=match):
            instrument(replace(spot, **change), market="spot")
    with pytest.raises(InvalidInput, match="tiers must not be empty"):
        instrument(terms(tiers=()))
    with pytest.raises(InvalidInput, match="funding_interval_hours must be positive"):
        instrument(terms(funding_interval_hours=0.0))
    with pytest.raises(InvalidInput, match="market must be one of linear, spot"):
        instrument(terms(), market="inverse")
    with pytest.raises(InvalidInput, match="terms must not be empty"):
        instrument()
    with pytest.raises(InvalidInput, match="symbol must be a name"):
        Instrument("bybit", "linear", "", "SOL", "USDT", (terms(),))


SAMPLES = [(f"{base}USDT", market) for base in ("BTC", "ETH", "SOL", "AVAX") for market in ("linear", "spot")]


@pytest.mark.parametrize(("symbol", "market"), SAMPLES)
def test_samples_are_valid_and_round_trip(symbol, market):
    sample = sample_instrument(symbol, market=market)
    assert (sample.symbol, sample.market, sample.quote) == (symbol, market, "USDT")
    fees = [(t.taker_fee_bps, t.maker_fee_bps) for t in sample.terms]
    assert fees == [(5.5, 2.0) if market == "linear" else (10.0, 10.0)]
    assert Instrument.from_dict(json.loads(json.dumps(sample.to_dict(), allow_nan=False))) == sample


def test_an_unknown_sample_is_refused():
    for symbol, market in (("DOGEUSDT", "linear"), ("SOL", "linear"), ("SOLUSDT", "inverse")):
        with pytest.raises(InvalidInput, match="must be one of"):
            sample_instrument(symbol, market=market)


positive = st.floats(1e-9, 1e9)


@given(
    dates=st.lists(st.integers(0, 2**62), min_size=1, max_size=4, unique=True).map(sorted),
    tick=positive, step=positive, taker=st.floats(0, 100), capped=st.booleans(),
)  # fmt: skip
def test_json_loses_nothing(dates, tick, step, taker, capped):
    tiers = TIERS if capped else (*TIERS[:-1], replace(TIERS[-1], cap_quote=math.inf))
    most = 2 * step if capped else math.inf
    dated = instrument(
        *(
            terms(from_ns=d, tick=tick, qty_step=step, min_qty=step, max_qty=most, taker_fee_bps=taker,
                  maker_fee_bps=0.0, tiers=tiers)
            for d in dates
        )
    )  # fmt: skip
    assert Instrument.from_dict(json.loads(json.dumps(dated.to_dict(), allow_nan=False))) == dated


@pytest.mark.parametrize(
    ("spoil", "match"),
    [
        (lambda d: d.pop("base"), "instrument must have exactly the fields"),
        (lambda d: d.update(extra=1), "instrument must have exactly the fields"),
        (lambda d: d.update(terms={}), "instrument.terms must be a list"),
        (lambda d: d.update(terms=[]), "terms must not be empty"),
        (lambda d: d.update(symbol=None), "symbol must be a name"),
        (lambda d: d["terms"][0].pop("tick"), r"terms\[0\] must have exactly"),
        (lambda d: d["terms"][0].update(tick="0.01"), r"terms\[0\]\.tick must be a number"),
        (lambda d: d["terms"][0].update(tick=None), r"terms\[0\]\.tick must be a number"),
        (lambda d: d["terms"][0].update(tick=True), r"terms\[0\]\.tick must be a number"),
        (lambda d: d["terms"][0].update(from_ns=1.5), "from_ns must be an int"),
        (lambda d: d["terms"][0].update(tiers=None), r"terms\[0\]\.tiers must be a list"),
        (lambda d: d["terms"][0]["tiers"][1].pop("cap_quote"), r"tiers\[1\] must have exactly"),
        (lambda d: d["terms"][0]["tiers"][0].update(cap_quote="x"), r"tiers\[0\]\.cap_quote must be a number"),
        (lambda d: d["terms"].append(3), r"terms\[1\] must have exactly"),
    ],
)
def test_a_damaged_record_is_named(spoil, match):
    record = sample_instrument("SOLUSDT").to_dict()
    spoil(record)
    with pytest.raises((SchemaMismatch, InvalidInput), match=match):
        Instrument.from_dict(record)
    for other in (None, [], "x", 3):
        with pytest.raises(SchemaMismatch, match="instrument must have exactly"):
            Instrument.from_dict(other)


def test_records_are_frozen():
    for record, name in ((terms(), "tick"), (TIERS[0], "cap_quote"), (sample_instrument("SOLUSDT"), "symbol")):
        with pytest.raises(FrozenInstanceError):
            setattr(record, name, 1)
