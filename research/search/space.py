"""What a search may choose from. It chooses nothing."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from research.errors import InvalidInput

Value = bool | int | float | str


@dataclass(frozen=True, slots=True)
class Span:
    """A range of numbers.

    Parameters
    ----------
    low, high : int or float
        Both included.
    is_integer : bool
        Whole numbers only.
    is_log : bool
        Equal ratios are equally likely, instead of equal differences.
    step : int, float or None
        Distance of neighbouring values; None for a continuum, 1 for whole numbers.
    """

    low: float
    high: float
    is_integer: bool
    is_log: bool
    step: float | None

    def at(self, unit: float) -> int | float:
        """Return the value at a position in [0, 1], every value of a stepped range taking an equal part of it."""
        unit = min(max(unit, 0.0), 1.0)
        if self.is_log:
            # Half a step beyond both ends, so that the first and the last whole number get their share.
            margin = 0.5 if self.is_integer else 0.0
            low, high = math.log(self.low - margin), math.log(self.high + margin)
            value = math.exp(low + unit * (high - low))
        elif self.step is None:
            value = self.low + unit * (self.high - self.low)
        else:
            count = round((self.high - self.low) / self.step) + 1
            value = self.low + self.step * min(int(unit * count), count - 1)
        value = min(max(value, self.low), self.high)
        return round(value) if self.is_integer else float(value)


@dataclass(frozen=True, slots=True)
class Choices:
    """One of several values, in no order."""

    values: tuple[Value, ...]

    def at(self, unit: float) -> Value:
        """Return the value at a position in [0, 1], each taking an equal part of it."""
        return self.values[min(max(int(unit * len(self.values)), 0), len(self.values) - 1)]


@dataclass(frozen=True, slots=True)
class Space:
    """Parameters by name, each with what it may be."""

    axes: dict[str, Span | Choices]

    @classmethod
    def from_dict(cls, stated: Mapping[str, Mapping[str, Any]]) -> Space:
        """Return the space that plain values describe.

        Parameters
        ----------
        stated : mapping
            Parameter name to ``{"low", "high"}`` with optional ``"step"`` or ``"log"``, or to ``{"choices": [...]}``.
            A range is of whole numbers where ``low`` and ``high`` (and ``step``) are. Empty: nothing to search, every
            trial is the same.

        Raises
        ------
        InvalidInput
            Naming the parameter and key at fault.

        Examples
        --------
        >>> Space.from_dict({"length": {"low": 5, "high": 50}, "mode": {"choices": ["long", "both"]}}).at([0.0, 0.9])
        {'length': 5, 'mode': 'both'}
        """
        axes: dict[str, Span | Choices] = {}
        for name, axis in stated.items():
            if not isinstance(axis, Mapping):
                raise InvalidInput(f"space.{name}", "must be a mapping with low and high, or choices", axis)
            unknown = sorted(set(axis) - {"low", "high", "step", "log", "choices"})
            if unknown:
                raise InvalidInput(f"space.{name}.{unknown[0]}", "is not one of low, high, step, log, choices")
            axes[name] = _choices(name, axis) if "choices" in axis else _span(name, axis)
        return cls(axes)

    def at(self, units: list[float]) -> dict[str, Value]:
        """Return the parameters at a point of the unit cube, one coordinate per axis in order."""
        return {name: axis.at(unit) for (name, axis), unit in zip(self.axes.items(), units, strict=True)}


def _choices(name: str, axis: Mapping[str, Any]) -> Choices:
    if len(axis) > 1:
        raise InvalidInput(f"space.{name}", "must have either choices or a range", sorted(axis))
    values = axis["choices"]
    if not isinstance(values, (list, tuple)) or not values:
        raise InvalidInput(f"space.{name}.choices", "must be a list of at least one value", values)
    for value in values:
        if not isinstance(value, (bool, int, float, str)) or value != value:
            raise InvalidInput(f"space.{name}.choices", "must hold numbers, text or truth values", value)
    if len({(type(value), value) for value in values}) < len(values):
        raise InvalidInput(f"space.{name}.choices", "must be distinct", values)
    return Choices(tuple(values))


def _span(name: str, axis: Mapping[str, Any]) -> Span:
    low, high = (_number(name, axis, key) for key in ("low", "high"))
    step = _number(name, axis, "step") if axis.get("step") is not None else None
    is_log = axis.get("log", False)
    if not isinstance(is_log, bool):
        raise InvalidInput(f"space.{name}.log", "must be true or false", is_log)
    if low > high:
        raise InvalidInput(f"space.{name}.low", f"must not exceed high = {high}", low)
    is_integer = isinstance(low, int) and isinstance(high, int) and not isinstance(step, float)
    if is_log and low <= 0:
        raise InvalidInput(f"space.{name}.low", "must be positive on a log scale", low)
    if step is not None:
        if is_log:
            raise InvalidInput(f"space.{name}.step", "does not go with log", step)
        if step <= 0:
            raise InvalidInput(f"space.{name}.step", "must be positive", step)
        steps = (high - low) / step
        if abs(steps - round(steps)) > 1e-9 * max(1.0, steps):
            raise InvalidInput(f"space.{name}.step", f"must divide high - low = {high - low}", step)
    elif is_integer and not is_log:
        step = 1
    return Span(low, high, is_integer, is_log, step)


def _number(name: str, axis: Mapping[str, Any], key: Literal["low", "high", "step"]) -> int | float:
    value = axis.get(key)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise InvalidInput(f"space.{name}.{key}", "must be a finite number", value)
    return value
