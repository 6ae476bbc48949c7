"""``params.yaml`` as typed, validated values. It runs nothing.

Each section has the name of the stage that it steers; the sections in :data:`SHARED` are read by several.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from research.errors import InvalidInput
from research.market.bars import INTERVALS

SHARED = ("seed", "market", "costs")


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


Interval = Literal["1m", "3m", "5m", "15m", "30m", "1h", "2h", "4h", "6h", "8h", "12h", "1d"]


class Market(_Section):
    """What is traded and on which clocks."""

    venue: str = Field(pattern=r"^[a-z0-9_-]+$")
    market: Literal["linear", "spot"]
    symbol: str = Field(pattern=r"^[A-Z0-9]+$")
    base_interval: Interval
    decision_interval: Interval

    @model_validator(mode="after")
    def _clocks(self) -> Market:
        if INTERVALS[self.decision_interval] % INTERVALS[self.base_interval]:
            raise ValueError(f"decision_interval must be a multiple of base_interval {self.base_interval}")
        return self


class CostParams(_Section):
    """What trading costs; a null fee means the instrument's own, dated one."""

    taker_fee_bps: float | None = Field(ge=-10, le=1_000)
    half_spread_bps: float = Field(ge=0, le=1_000)
    slippage_bps: float = Field(ge=0, le=1_000)
    latency_bars: int = Field(ge=0, le=1_000)
    initial_cash_quote: float = Field(gt=0, le=1e12)
    max_leverage: float = Field(gt=0, le=200)


class SimulatedSource(_Section):
    """The embedded market."""

    symbols: list[str] = Field(min_length=1)
    start: str
    days: int = Field(ge=2, le=3_650)
    edge: float = Field(ge=0, le=10)

    @model_validator(mode="after")
    def _start_is_a_date(self) -> SimulatedSource:
        try:
            date.fromisoformat(self.start)
        except ValueError as error:
            raise ValueError(f"start must be a date such as 2024-01-01, received {self.start!r}") from error
        return self


class FilesSource(_Section):
    """A folder laid out as ``{venue}/{market}/{symbol}/{interval}.parquet``, with funding and mark beside it.

    ``market_folder`` names the middle part where the folder calls it otherwise (``usdm`` for Binance's linear market).
    """

    folder: str
    market_folder: str | None = None
    start: str | None = None
    end: str | None = None
    mark_interval: str | None = None


class LakeSource(_Section):
    """A lake filled by ``python -m pipelines.download`` or ``python -m pipelines.import_files``."""

    folder: str
    start: str | None = None
    end: str | None = None


class Ingest(_Section):
    """Where market data comes from; only the section of ``source`` is read."""

    source: Literal["simulated", "files", "lake"]
    simulated: SimulatedSource
    files: FilesSource
    lake: LakeSource


Policy = Literal["error", "drop", "nan", "keep"]


class Validate(_Section):
    """What is done about each kind of defect, and the share of bars that may be missing."""

    policies: dict[str, Policy]
    max_missing_frac: float = Field(ge=0, le=1)


class Features(_Section):
    """A feature set: column name to feature and parameters."""

    columns: dict[str, dict[str, Any]] = Field(min_length=1)


class StrategySpace(_Section):
    """A strategy, what it reads, what is fixed and what is searched."""

    strategy: str
    inputs: dict[str, str]
    params: dict[str, Any] = Field(default_factory=dict)
    space: dict[str, dict[str, Any]] = Field(default_factory=dict)


class Search(_Section):
    """Candidates and the budget of their search on the development period."""

    candidates: dict[str, StrategySpace] = Field(min_length=1)
    sizer: str
    sizer_params: dict[str, float]
    volatility: str
    trials: int = Field(ge=1, le=100_000)
    folds: int = Field(ge=1, le=50)
    sampler: Literal["tpe", "random"]


class Train(_Section):
    """The learned candidates' label and booster."""

    horizon_bars: int = Field(ge=1, le=10_000)
    rounds: int = Field(ge=1, le=10_000)
    learning_rate: float = Field(gt=0, le=1)
    num_leaves: int = Field(ge=2, le=4_096)
    min_data_in_leaf: int = Field(ge=1)
    feature_fraction: float = Field(gt=0, le=1)
    lambda_l2: float = Field(ge=0)


class Backtest(_Section):
    """The hold-out: the last days, which no search and no fit has seen."""

    holdout_days: int = Field(ge=1)


class WalkForward(_Section):
    """Rolling re-optimisation inside the development period."""

    train_days: int = Field(ge=1)
    test_days: int = Field(ge=1)
    step_days: int = Field(ge=1)
    trials: int = Field(ge=1, le=100_000)


class MonteCarlo(_Section):
    """Resampling of the out-of-sample trades."""

    paths: int = Field(ge=100, le=1_000_000)
    block: int = Field(ge=1)
    drawdown_limit_frac: float = Field(gt=0, le=1)


class GateCheck(_Section):
    """One threshold on one figure."""

    figure: str
    op: Literal[">=", ">", "<=", "<"]
    threshold: float
    why: str


class Gate(_Section):
    """What a candidate must reach out of sample."""

    checks: dict[str, GateCheck] = Field(min_length=1)


class Report(_Section):
    """The tear sheet."""

    title: str


class Publish(_Section):
    """Names in the tracking store."""

    experiment: str = Field(pattern=r"^[A-Za-z0-9_.-]+$")
    model: str = Field(pattern=r"^[A-Za-z0-9_.-]+$")


class Params(_Section):
    """All of ``params.yaml``."""

    seed: int = Field(ge=0, le=2**31 - 1)
    market: Market
    costs: CostParams
    ingest: Ingest
    validate_: Validate = Field(alias="validate")
    features: Features
    search: Search
    train: Train
    backtest: Backtest
    walk_forward: WalkForward
    monte_carlo: MonteCarlo
    gate: Gate
    report: Report
    publish: Publish

    @model_validator(mode="after")
    def _agree(self) -> Params:
        if self.ingest.source == "simulated":
            if self.market.symbol not in self.ingest.simulated.symbols:
                raise ValueError(f"market.symbol {self.market.symbol} must be among ingest.simulated.symbols")
            if self.market.base_interval != "1m":
                raise ValueError("market.base_interval must be 1m for the simulated source")
        if self.walk_forward.step_days > self.walk_forward.test_days:
            raise ValueError("walk_forward.step_days must not exceed test_days: the days between would never be tested")
        if self.search.volatility not in self.features.columns:
            raise ValueError(f"search.volatility {self.search.volatility!r} must be one of features.columns")
        return self


def load_params(path: str | Path = "params.yaml", overrides: Sequence[str] = ()) -> Params:
    """Read and validate a parameter file.

    Parameters
    ----------
    path : str or Path
        A YAML file. ``extends: FILE`` (relative to it) makes it a profile: a mapping of what differs from that file.
    overrides : sequence of str
        ``section.key=value`` pairs, the value in YAML.

    Raises
    ------
    InvalidInput
        If a key is unknown or missing, or a value has the wrong type or is impossible: the error names the key.
    """
    values = _read(Path(path))
    for override in overrides:
        _override(values, override)
    return parse_params(values, str(path))


def _read(path: Path) -> dict[str, Any]:
    try:
        values = yaml.safe_load(path.read_text())
    except yaml.YAMLError as error:
        raise InvalidInput(str(path), f"must be YAML: {error}") from error
    if not isinstance(values, dict):
        raise InvalidInput(str(path), "must hold a mapping of sections", type(values).__name__)
    base = values.pop("extends", None)
    if base is None:
        return values
    if not isinstance(base, str):
        raise InvalidInput(f"{path}: extends", "must name a file", base)
    return _merged(_read(path.parent / base), values)


def _merged(below: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    """Return ``below`` with the values of ``above`` in their place; mappings are merged, anything else replaced."""
    both = dict(below)
    for key, value in above.items():
        both[key] = _merged(both[key], value) if isinstance(value, dict) and isinstance(both.get(key), dict) else value
    return both


def parse_params(values: Mapping[str, Any], subject: str = "params") -> Params:
    """Return validated parameters from plain values; see :func:`load_params`."""
    try:
        return Params.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        rule = {"extra_forbidden": "is not a known key", "missing": "is required"}.get(first["type"], first["msg"])
        more = f" (and {error.error_count() - 1} more)" if error.error_count() > 1 else ""
        given = first["input"] if first["type"] not in ("missing", "value_error") else ...
        raise InvalidInput(f"{subject}: {where}".rstrip(": "), rule + more, given) from error


def _override(values: dict[str, Any], override: str) -> None:
    key, separator, text = override.partition("=")
    if not separator:
        raise InvalidInput("override", "must look like section.key=value", override)
    *path, last = key.strip().split(".")
    node = values
    for part in path:
        if not isinstance(node.get(part), dict):
            raise InvalidInput(f"override {key}", "must name an existing section", part)
        node = node[part]
    node[last] = yaml.safe_load(text)
