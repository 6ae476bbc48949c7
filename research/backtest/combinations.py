"""The combinations of a sweep: what each of them sets, and what they can share; it runs none of them.

A parameter is named by its path: ``features.KEY.PARAM``, ``strategy.PARAM``, ``sizer.PARAM``, ``exits.FIELD``,
``costs.FIELD``, ``margin.FIELD``, or ``latency_bars``.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import polars as pl

from research.errors import InvalidInput
from research.execution.costs import Costs
from research.execution.margin import Margin
from research.policy import PolicySpec
from research.risk.exits import Exits

SECTIONS = ("features", "strategy", "sizer", "exits", "costs", "margin")
Grid = Mapping[str, Sequence[Any]] | Sequence[Mapping[str, Any]] | pl.DataFrame


@dataclass(frozen=True, slots=True)
class Combination:
    """One row of a sweep, resolved.

    Parameters
    ----------
    params : mapping of str to value
        By path.
    spec : PolicySpec
        With its own strategy and sizer parameters. Its features are named as in the sweep's common set.
    costs, margin : Costs, Margin
    exits : Exits or None
    latency_bars : int
    unit, trail_low, trail_high : str or None
        Columns of the common feature set that exits and costs read.
    """

    params: Mapping[str, Any]
    spec: PolicySpec
    costs: Costs
    margin: Margin
    exits: Exits | None
    latency_bars: int
    unit: str | None
    trail_low: str | None
    trail_high: str | None

    @property
    def decision_key(self) -> str:
        """What combinations that decide alike have in common."""
        spec = self.spec
        parts = (spec.strategy_inputs, spec.strategy_params, spec.sizer_params)
        return repr([sorted(part.items()) for part in parts]) + spec.volatility

    @property
    def column_key(self) -> tuple[str | None, str | None, str | None]:
        """The columns beside its decisions that its account reads."""
        return self.unit, self.trail_low, self.trail_high


def rows_of(grid: Grid) -> list[dict[str, Any]]:
    """Return the combinations of a grid, the last parameter running fastest, or the rows of a list or frame.

    Raises
    ------
    InvalidInput
        If there is none, a parameter has no values, or a row lacks one.

    Examples
    --------
    >>> rows_of({"strategy.enter": [1, 2], "latency_bars": [0, 1]})[1]
    {'strategy.enter': 1, 'latency_bars': 1}
    """
    if isinstance(grid, pl.DataFrame):
        rows = grid.to_dicts()
    elif isinstance(grid, Mapping):
        for name, values in grid.items():
            if isinstance(values, (str, bytes)) or not hasattr(values, "__len__") or not len(values):
                raise InvalidInput(f"grid.{name}", "must be a list of at least one value", values)
        rows = [
            dict(zip(grid, (_plain(value) for value in row), strict=True)) for row in itertools.product(*grid.values())
        ]
    else:
        rows = [{name: _plain(value) for name, value in row.items()} for row in grid]
    if not rows or not rows[0]:
        raise InvalidInput("grid", "must name at least one parameter with a value", grid)
    for i, row in enumerate(rows):
        if set(row) != set(rows[0]):
            rule = f"must set the same parameters as the first ({', '.join(rows[0])})"
            raise InvalidInput(f"grid[{i}]", rule, sorted(row))
    return rows


def _plain(value: Any) -> Any:
    """Return a NumPy scalar as the Python value that it is."""
    return value.item() if hasattr(value, "item") and not hasattr(value, "__len__") else value


def spec_at(spec: PolicySpec, params: Mapping[str, Any]) -> PolicySpec:
    """Return the policy of one row of a sweep.

    Parameters
    ----------
    spec : PolicySpec
        That was swept.
    params : mapping
        ``features.KEY.PARAM``, ``strategy.PARAM`` and ``sizer.PARAM`` to values.

    Raises
    ------
    InvalidInput
        If a path is another one: what an account is opened with (costs, exits, margin, latency) is no policy's.

    Examples
    --------
    >>> features = {"trend": {"feature": "ema_spread", "fast": 12, "slow": 48}}
    >>> spec = PolicySpec("1m", "5m", features, "threshold", {"score": "trend"}, sizer="fixed")
    >>> found = spec_at(spec, {"features.trend.fast": 20, "strategy.enter": 1.5})
    >>> found.features["trend"]["fast"], found.strategy_params, spec.features["trend"]["fast"]
    (20, {'enter': 1.5}, 12)
    """
    features = {key: dict(entry) for key, entry in spec.features.items()}
    changed: dict[str, dict[str, Any]] = {"strategy": {}, "sizer": {}}
    for path, value in params.items():
        section, _, rest = path.partition(".")
        key, _, param = rest.rpartition(".")
        if section in changed and rest:
            changed[section][rest] = value
        elif section == "features" and key in features:
            features[key][param] = value
        else:
            known = ", ".join(f"features.{key}" for key in features)
            raise InvalidInput(f"params.{path}", f"must begin with strategy., sizer. or {known}", value)
    return replace(
        spec,
        features=features,
        strategy_params={**spec.strategy_params, **changed["strategy"]},
        sizer_params={**spec.sizer_params, **changed["sizer"]},
    )


class Combinations:
    """Resolves rows of a grid against what they vary.

    Parameters
    ----------
    spec : PolicySpec
    costs : Costs
    margin : Margin
    exits : Exits or None
    latency_bars : int
    unit, trail_low, trail_high : str, optional
        Feature columns that exits and costs read.

    Raises
    ------
    InvalidInput
        If a path is unknown or a value breaks its rule; the message names the path.
    """

    def __init__(
        self, spec: PolicySpec, costs: Costs, margin: Margin, exits: Exits | None, latency_bars: int,
        columns: Mapping[str, str | None],
    ) -> None:  # fmt: skip
        self.spec, self.costs, self.margin, self.exits = spec, costs, margin, exits
        self.latency_bars, self.columns = latency_bars, dict(columns)
        self.features: dict[str, dict[str, Any]] = {}  # of all combinations, each distinct one once
        self._names: dict[str, str] = {}  # description of an entry to its name
        self._accounts: dict[str, tuple[Costs, Margin, Exits | None, int]] = {}

    def resolve(self, params: Mapping[str, Any]) -> Combination:
        """Return one combination, its features taken into the common set."""
        changes: dict[str, dict[str, Any]] = {section: {} for section in SECTIONS}
        latency = self.latency_bars
        for path, value in params.items():
            section, _, rest = path.partition(".")
            if path == "latency_bars":
                latency = value
            elif section in SECTIONS and rest:
                changes[section][rest] = value
            else:
                rule = f"must be latency_bars, or begin with {', '.join(name + '.' for name in SECTIONS)}"
                raise InvalidInput(f"grid.{path}", rule, value)
        names = self._entries(changes["features"])
        spec = self.spec
        strategy = {**spec.strategy_params, **changes["strategy"]}
        sizer = {**spec.sizer_params, **changes["sizer"]}
        resolved = replace(
            spec,
            features={},
            strategy_params=strategy,
            sizer_params=sizer,
            strategy_inputs={role: _renamed(column, names) for role, column in spec.strategy_inputs.items()},
            volatility=_renamed(spec.volatility, names),
        )
        costs, margin, exits, latency = self._account(changes, latency)
        columns = {role: None if name is None else _renamed(name, names) for role, name in self.columns.items()}
        return Combination(
            dict(params), resolved, costs, margin, exits, latency,
            columns.get("unit"), columns.get("trail_low"), columns.get("trail_high"),
        )  # fmt: skip

    def _entries(self, changes: Mapping[str, Any]) -> dict[str, str]:
        """Return the name in the common set of each entry of a combination's features."""
        entries = {key: dict(entry) for key, entry in self.spec.features.items()}
        for path, value in changes.items():
            key, _, param = path.rpartition(".")
            if key not in entries:
                known = ", ".join(entries)
                raise InvalidInput(f"grid.features.{path}", f"must be features.KEY.PARAM with a KEY of {known}", value)
            entries[key][param] = value
        described: dict[str, str] = {}
        names: dict[str, str] = {}

        def describe(key: str, above: tuple[str, ...] = ()) -> str:
            """Return an entry with what it reads written out, so that equal ones are told from others."""
            if key in described:
                return described[key]
            if key in above:
                raise InvalidInput(f"features.{key}.of", "must not read itself", above)
            entry = {"feature": key, **entries[key]}
            if "of" in entry:
                entry["of"] = _each_key(entry["of"], entries, lambda other: describe(other, (*above, key)))
            described[key] = repr(sorted(entry.items()))
            return described[key]

        for key in entries:
            text = describe(key)
            if text not in self._names:
                taken = sum(name == key or name.startswith(f"{key}~") for name in self.features)
                self._names[text] = key if not taken else f"{key}~{taken}"
                self.features[self._names[text]] = {}
            names[key] = self._names[text]
        for key, entry in entries.items():
            fixed = {"feature": key, **entry}
            if "of" in fixed:
                fixed["of"] = _each_key(fixed["of"], entries, names.__getitem__)
            self.features[names[key]] = fixed
        return names

    def _account(
        self, changes: Mapping[str, Mapping[str, Any]], latency: int
    ) -> tuple[Costs, Margin, Exits | None, int]:
        """Return costs, margin, exits and latency with a combination's changes; equal ones are one object."""
        key = repr([sorted(changes[section].items()) for section in ("costs", "margin", "exits")] + [latency])
        if key not in self._accounts:
            costs = _changed(self.costs, changes["costs"], "costs")
            margin = _changed(self.margin, changes["margin"], "margin")
            exits = self.exits
            if changes["exits"]:
                exits = _changed(Exits() if exits is None else exits, changes["exits"], "exits")
            self._accounts[key] = costs, margin, exits, latency
        return self._accounts[key]


def _changed(settings: Any, changes: Mapping[str, Any], section: str) -> Any:
    """Return settings with some fields changed."""
    known = settings.__dataclass_fields__
    for name in changes:
        if name not in known:
            raise InvalidInput(f"grid.{section}.{name}", f"is not a field (known: {', '.join(sorted(known))})")
    return replace(settings, **changes) if changes else settings


def _each_key(of: Any, entries: Mapping[str, Any], change: Callable[[str], str]) -> Any:
    """Return what a feature is of, the key of each entry in it changed."""
    if isinstance(of, (list, tuple)):
        return [_each_key(one, entries, change) for one in of]
    key, dot, output = str(of).partition(".")
    return change(key) + dot + output if key in entries else of


def _renamed(column: str, names: Mapping[str, str]) -> str:
    """Return a feature column under its entry's name in the common set; what is no feature stays."""
    key, dot, output = column.partition(".")
    if key in names:
        return names[key] + dot + output
    return names.get(column, column)
