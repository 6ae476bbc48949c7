"""Named stresses of a market, composable, and a strategy's results under each. It decides and simulates nothing itself.

A stress takes a :class:`research.validation.stress_market.Market` and returns another one; a strategy then decides anew
on what it is given. Every stress is the same for the same seed, and one whose strength is nothing returns the market.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import polars as pl

from research.backtest.result import Result
from research.errors import InvalidInput
from research.kernel import Param
from research.validation import stress_paths as paths
from research.validation import stress_terms as terms
from research.validation.stress_market import Market

Trade = Callable[[Market], Result]
NO_EFFECT = "has no effect"  # how the rule begins where a stress would change nothing
Scenarios = Mapping[str, Mapping[str, Mapping[str, Any]]]
FLOWS = ("volume", "turnover", "trade_count", "taker_buy_volume")


@dataclass(frozen=True, slots=True)
class OneOf:
    """A parameter that is one of some words.

    Parameters
    ----------
    name, default : str
    options : tuple of str
    """

    name: str
    default: str
    options: tuple[str, ...]

    def check(self, owner: str, given: object) -> str:
        """Return ``given``, or raise :class:`InvalidInput`."""
        if not isinstance(given, str) or given not in self.options:
            raise InvalidInput(f"{owner}.{self.name}", f"must be one of {', '.join(self.options)}", given)
        return given


@dataclass(frozen=True, slots=True)
class StressSpec:
    """A registered stress.

    Parameters
    ----------
    name : str
        Registry key.
    apply : callable
        ``apply(market, **params)`` returns the stressed market.
    params : tuple of Param or OneOf
        Defaults are the stress as it is usually asked for.
    nothing : mapping
        Values of parameters at which the market is returned as it is.
    description : str
        What it does, in one sentence.
    """

    name: str
    apply: Callable[..., Market]
    params: tuple[Param | OneOf, ...]
    nothing: Mapping[str, Any]
    description: str

    def resolve(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """Return all parameters, checked; those not given take their defaults."""
        known = {param.name for param in self.params}
        unknown = sorted(set(given) - known)
        if unknown:
            raise InvalidInput(f"{self.name}.{unknown[0]}", f"is not a parameter ({', '.join(sorted(known))})")
        return {param.name: param.check(self.name, given.get(param.name, param.default)) for param in self.params}

    def __call__(self, market: Market, given: Mapping[str, Any]) -> Market:
        """Return the stressed market."""
        params = self.resolve(given)
        if all(params[name] == value for name, value in self.nothing.items()):
            return market
        return self.apply(market, **params)


def stress(market: Market, stresses: Mapping[str, Mapping[str, Any]]) -> Market:
    """Return the market under several stresses, one after the other in the order given.

    Parameters
    ----------
    market : Market
        Not changed.
    stresses : mapping of str to mapping
        Parameters by name, a key of :data:`STRESSES`. Stresses of the path come before ``spread`` with a share below 1.

    Raises
    ------
    InvalidInput
        If a name or a parameter is unknown or out of range, or a stress would have no effect on this market (five times
        no slippage): it would be taken for one that was withstood.

    Examples
    --------
    >>> from research.execution import Costs
    >>> from research.market.instruments import sample_instrument
    >>> from research.market.simulated import simulate_market
    >>> from research.market.simulated_spec import MarketSpec
    >>> from research.validation.stress_market import History
    >>> bars = simulate_market(MarketSpec(days=1, seed=7)).bars["linear", "SOLUSDT"]
    >>> calm = Market({"SOLUSDT": History(bars, sample_instrument("SOLUSDT"))}, Costs(slippage_bps=1.0))
    >>> found = stress(calm, {"drops": {"drops": 1}, "slippage": {"factor": 5}})
    >>> found.costs.slippage_bps, bool(found.reference.bars["close"].min() < 0.85 * bars["close"].min())
    (5.0, True)
    """
    for name, params in stresses.items():
        _spec(name).resolve(params)
    for name, params in stresses.items():
        market = _spec(name)(market, params)
    return market


def run_stresses(market: Market, scenarios: Scenarios, trade: Trade, *, idle: str = "refuse") -> pl.DataFrame:
    """Trade a market as it is and under each scenario.

    Parameters
    ----------
    market : Market
    scenarios : mapping of str to mapping
        Stresses by the scenario's name, as :func:`stress` takes them; :data:`SCENARIOS` has the usual ones.
    trade : callable
        ``trade(market)`` decides on the market's bars, features computed on them, and returns the backtest with the
        market's costs, latency, instruments, mark, funding and ``unit``; ``gaps="hold"`` where data may be missing.
    idle : str
        What becomes of a scenario that would have no effect on this market, such as five times no slippage, or funding
        on a spot market: ``refuse``, or ``leave out``: of several stresses those that have one are applied, and a
        scenario of which none has is without a row.

    Returns
    -------
    DataFrame
        One row per scenario, ``none`` (the market as it is) first: ``scenario``, ``stresses`` (JSON),
        ``net_return`` (fraction of the initial cash, after all costs), ``sharpe`` (annualised), ``max_drawdown``
        (fraction, at most 0), ``profit_factor``, ``trades``, ``costs`` (fees, slippage and interest paid) and
        ``funding`` (received) in quote currency, ``liquidations``, ``is_ruined``, and the changes of return, ratio and
        drawdown against ``none``. NaN is a figure that does not exist. Ruin is a value.

    Raises
    ------
    InvalidInput
        As :func:`stress`, if a scenario is called ``none``, or ``idle`` is another word. What ``trade`` raises is
        raised with the scenario's name.
    """
    if "none" in scenarios:
        raise InvalidInput("scenarios.none", "is the name of the market as it is")
    if idle not in ("refuse", "leave out"):
        raise InvalidInput("idle", "must be refuse or leave out", idle)
    plain = trade(market)
    known = market.with_held(plain)
    first = figures(plain)
    rows = [{"scenario": "none", "stresses": "{}"} | first]
    for name, stresses in scenarios.items():
        try:
            stressed, applied = stress(known, stresses), stresses
        except InvalidInput as error:
            if idle == "refuse" or not error.rule.startswith(NO_EFFECT):
                error.add_note(f"under scenario {name}")
                raise
            stressed, applied = _what_works(known, stresses)
        if stresses and not applied:
            continue
        try:
            found = figures(trade(stressed))
        except Exception as error:
            error.add_note(f"under scenario {name}")
            raise
        rows.append({"scenario": name, "stresses": json.dumps(applied)} | found)
    table = pl.DataFrame(rows)
    compared = ("net_return", "sharpe", "max_drawdown")
    return table.with_columns([(pl.col(name) - first[name]).alias(f"{name}_change") for name in compared])


def _what_works(
    market: Market, stresses: Mapping[str, Mapping[str, Any]]
) -> tuple[Market, dict[str, Mapping[str, Any]]]:  # fmt: skip
    """Return the market under those of the stresses that have an effect on it, and these."""
    applied: dict[str, Mapping[str, Any]] = {}
    for name, params in stresses.items():
        try:
            market = stress(market, {name: params})
        except InvalidInput as error:
            if not error.rule.startswith(NO_EFFECT):
                raise
        else:
            applied[name] = params
    return market, applied


def figures(result: Result) -> dict[str, float]:
    """Return the figures of a backtest that stresses are compared by."""
    found = result.metrics()
    kept = ("sharpe", "max_drawdown", "profit_factor", "trades")
    return {
        "net_return": found["total_return"],
        **{name: found[name] for name in kept},
        "costs": found["fees"] + found["slippage"] + found["interest"],
        **{name: found[name] for name in ("funding", "liquidations", "is_ruined")},
    }


def _spec(name: str) -> StressSpec:
    if name not in STRESSES:
        raise InvalidInput("stress", f"must be one of {', '.join(STRESSES)}", name)
    return STRESSES[name]


def _wide_drops(
    market: Market, drops: int, depth: float, bars: int, recovery: float, recovery_bars: int, gap: str, seed: int
) -> Market:
    return paths.dropped(market, drops, depth, bars, recovery, recovery_bars, int(gap == "yes"), seed)


def _losing(market: Market, factor: int, side: str, unit_bars: int) -> Market:
    return paths.longer_runs(market, factor, side == "long", unit_bars)


_SEED = Param("seed", 0, 0, 2**31 - 1)
_SPECS = (
    StressSpec(
        "atr", paths.wider, (Param("factor", 3.0, 0.0, 20.0),), {"factor": 1.0},
        "log moves and ranges multiplied, first and last price kept",
    ),
    StressSpec(
        "correlations", paths.reversed_correlations, (Param("strength", 1.0, 0.0, 1.0),), {"strength": 0.0},
        "every other symbol's correlation to the first turned round, its variance kept",
    ),
    StressSpec(
        "drops", _wide_drops,
        (
            Param("drops", 3, 0, 10_000), Param("depth", 0.2, 0.0, 0.95), Param("bars", 1, 1, 1_000_000),
            Param("recovery", 0.0, 0.0, 1.0), Param("recovery_bars", 60, 1, 1_000_000),
            OneOf("gap", "no", ("no", "yes")), Param("seed", -1, -1, 2**31 - 1),
        ),
        {"drops": 0}, "sudden falls of all symbols, evenly spaced or (seed of at least 0) at random",
    ),
    StressSpec(
        "losing_runs", _losing,
        (
            Param("factor", 3, 1, 1_000), OneOf("side", "long", ("long", "short")),
            Param("unit_bars", 0, 0, 1_000_000),
        ),
        {"factor": 1}, "days rearranged until the longest losing run is some times as long",
    ),
    StressSpec(
        "slippage", terms.dearer_slippage, (Param("factor", 5.0, 0.0, 1_000.0), Param("add_bps", 0.0, 0.0, 1_000.0)),
        {"factor": 1.0, "add_bps": 0.0}, "every part of the slippage multiplied",
    ),
    StressSpec("fees", terms.dearer_fees, (Param("factor", 2.0, 1.0, 100.0),), {"factor": 1.0}, "all fees multiplied"),
    StressSpec(
        "spread", terms.blown_spread,
        (
            Param("factor", 5.0, 1.0, 1_000.0), Param("add_bps", 0.0, 0.0, 1_000.0),
            Param("share", 1.0, 1e-4, 1.0),
        ),
        {"factor": 1.0, "add_bps": 0.0}, "half spread multiplied, always or in the bars of widest range",
    ),
    StressSpec(
        "latency", terms.later, (Param("factor", 10.0, 1.0, 10_000.0), Param("add_bars", 0, 0, 100_000)),
        {"factor": 1.0, "add_bars": 0}, "orders under way for longer",
    ),
    StressSpec(
        "funding_spikes", terms.spiked_funding,
        (
            Param("factor", 10.0, 0.0, 1_000.0), Param("add", 0.0, 0.0, 0.1), Param("share", 0.1, 0.0, 1.0),
            OneOf("against", "position", ("long", "short", "sign", "position")), _SEED,
        ),
        {"share": 0.0}, "some settlements at many times their rate",
    ),
    StressSpec(
        "gaps", terms.missing, (Param("share", 0.01, 0.0, 0.9), Param("length", 30, 1, 1_000_000), _SEED),
        {"share": 0.0}, "outages: bars and marks missing",
    ),
    StressSpec(
        "liquidity", terms.thinner,
        (
            Param("factor", 0.1, 0.0, 1.0), Param("still_share", 0.0, 0.0, 0.95),
            Param("cap_frac", 0.05, 1e-6, 1.0), _SEED,
        ),
        {"factor": 1.0, "still_share": 0.0}, "volume withdrawn, and bars without trades",
    ),
)  # fmt: skip
STRESSES: Mapping[str, StressSpec] = MappingProxyType({spec.name: spec for spec in _SPECS})
# The usual scenarios of one symbol whose costs have a spread, a slippage and a latency of at least a bar.
SCENARIOS: Scenarios = MappingProxyType(
    {
        "atr x3": {"atr": {"factor": 3.0}},
        "slippage x5": {"slippage": {"factor": 5.0}},
        "spread x5": {"spread": {"factor": 5.0}},
        "spread x20 when volatile": {"spread": {"factor": 20.0, "share": 0.05}},
        "fees x2": {"fees": {"factor": 2.0}},
        "latency x10": {"latency": {"factor": 10.0}},
        "three drops of 20 %": {"drops": {"drops": 3, "depth": 0.2}},
        "losing runs x3": {"losing_runs": {"factor": 3}},
        "losing runs x3, shorts": {"losing_runs": {"factor": 3, "side": "short"}},
        "funding spikes": {"funding_spikes": {"factor": 10.0, "add": 0.001}},
        "data gaps": {"gaps": {"share": 0.01, "length": 30}},
        "liquidity withdrawn": {"liquidity": {"factor": 0.1, "still_share": 0.05}},
    }
)
