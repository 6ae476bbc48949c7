"""Exit rules of a position: stop, take-profit ladder, trailing, break-even and time; it holds no position itself.

What the rules do bar by bar is :mod:`research.execution.exit_levels`; ``docs/execution.md`` tells it in words.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from research.errors import InvalidInput

MAX_LEVELS = 8
_UNITS = ("frac", "unit")
_RELATIVE_UNITS = ("frac", "unit", "risk")
_TRAILS = ("none", "unit", "level", "profit_share")


@dataclass(frozen=True, slots=True)
class Exits:
    """How positions are left, beyond what the targets say.

    A distance is counted in ``frac`` (of the entry price), ``unit`` (times the account's unit column, such as an ATR,
    at the entry) or ``risk`` (times the distance of the initial stop).

    Parameters
    ----------
    stop_distance, stop_unit : float, str
        Initial stop below the entry of a long; NaN for none.
    take_profits : sequence of (distance, share)
        The ladder, nearest first: at each distance that share of the position is taken. Shares sum to at most 1; what
        they leave runs on. 40/30/20/10 with a runner is ``((1, 0.4), (2, 0.3), (3, 0.2))``.
    take_profit_unit : str
    take_profit_order : str
        ``limit`` rests in the venue's book and pays the maker fee, ``market`` triggers at the level.
    trail : str
        ``unit`` (best price less ``trail_distance`` units), ``level`` (the columns ``trail_low`` and ``trail_high``,
        such as a Parabolic SAR or the last swing), ``profit_share`` (gives back the share ``trail_distance`` of the
        best profit), or ``none``. A trailing stop never loosens.
    trail_distance : float
    trail_after : int
        Steps of the ladder that must have been taken before the trailing begins: 3 lets the runner trail.
    trail_activation, trail_activation_unit : float, str
        Profit from which the trailing begins.
    break_even_distance, break_even_unit : float, str
        Profit at which the stop moves to the entry; NaN for never.
    break_even_offset_bps : float
        How far beyond the entry it moves, to pay the costs.
    time_stop_bars : int
        The position is closed after so many bars, its first one included; 0 for never.
    volatility_multiple : float
        The position is closed where the unit has grown to this multiple of that at the entry; NaN for never.
    stop_by : str
        Price that triggers the stop: ``last`` or ``mark``.

    Raises
    ------
    InvalidInput
        If a figure is out of range, a distance in ``risk`` has no stop, or the ladder is not increasing or takes more
        than the whole.

    Examples
    --------
    >>> Exits(stop_distance=2.0, stop_unit="unit", take_profits=((1.0, 0.5),), take_profit_unit="risk").reads_unit
    True
    """

    stop_distance: float = math.nan
    stop_unit: str = "frac"
    take_profits: Sequence[tuple[float, float]] = ()
    take_profit_unit: str = "frac"
    take_profit_order: str = "limit"
    trail: str = "none"
    trail_distance: float = math.nan
    trail_after: int = 0
    trail_activation: float = 0.0
    trail_activation_unit: str = "frac"
    break_even_distance: float = math.nan
    break_even_unit: str = "frac"
    break_even_offset_bps: float = 0.0
    time_stop_bars: int = 0
    volatility_multiple: float = math.nan
    stop_by: str = "last"

    def __post_init__(self) -> None:
        _one_of("exits.stop_unit", self.stop_unit, _UNITS)
        for name in ("take_profit_unit", "trail_activation_unit", "break_even_unit"):
            _one_of(f"exits.{name}", getattr(self, name), _RELATIVE_UNITS)
        _one_of("exits.take_profit_order", self.take_profit_order, ("limit", "market"))
        _one_of("exits.trail", self.trail, _TRAILS)
        _one_of("exits.stop_by", self.stop_by, ("last", "mark"))
        for name in ("stop_distance", "break_even_distance", "volatility_multiple"):
            _positive(f"exits.{name}", getattr(self, name))
        for name, low, high in (("trail_activation", 0.0, math.inf), ("break_even_offset_bps", 0.0, 1e4)):
            value = getattr(self, name)
            if not (_is_number(value) and low <= value < high):
                raise InvalidInput(f"exits.{name}", f"must be a finite number in [{low:g}, {high:g})", value)
        for name in ("trail_after", "time_stop_bars"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < 0:
                raise InvalidInput(f"exits.{name}", "must be a whole number of at least 0", value)
        self._check_ladder()
        self._check_trail()
        if self.stop_unit == "frac" and self.has_stop and self.stop_distance >= 1.0:
            raise InvalidInput("exits.stop_distance", "must be below 1, the whole price", self.stop_distance)
        for name, is_used in (
            ("take_profit_unit", bool(self.take_profits)),
            ("trail_activation_unit", self.trail_activation > 0.0),
            ("break_even_unit", not math.isnan(self.break_even_distance)),
        ):
            if is_used and getattr(self, name) == "risk" and not self.has_stop:
                raise InvalidInput(f"exits.{name}", "needs stop_distance, which the risk is measured by", "risk")

    def _check_ladder(self) -> None:
        steps = tuple(tuple(step) if isinstance(step, (tuple, list)) else step for step in self.take_profits)
        if len(steps) > MAX_LEVELS:
            raise InvalidInput("exits.take_profits", f"must have at most {MAX_LEVELS} levels", len(steps))
        before, total = 0.0, 0.0
        for i, step in enumerate(steps):
            subject = f"exits.take_profits[{i}]"
            if not isinstance(step, tuple) or len(step) != 2 or not all(_is_number(x) for x in step):
                raise InvalidInput(subject, "must be (distance, share)", step)
            distance, share = step
            if not distance > before:
                raise InvalidInput(
                    f"{subject}.distance", f"must exceed that of the level before ({before:g})", distance
                )
            if not 0.0 < share <= 1.0:
                raise InvalidInput(f"{subject}.share", "must lie in (0, 1]", share)
            before, total = distance, total + share
        if total > 1.0 + 1e-9:
            raise InvalidInput("exits.take_profits", "must take at most the whole position; shares sum to", total)
        object.__setattr__(self, "take_profits", tuple((float(d), float(s)) for d, s in steps))

    def _check_trail(self) -> None:
        needs_distance = self.trail in ("unit", "profit_share")
        if needs_distance and not (_is_number(self.trail_distance) and self.trail_distance > 0.0):
            raise InvalidInput("exits.trail_distance", f"must be positive for trail {self.trail}", self.trail_distance)
        if self.trail == "profit_share" and not self.trail_distance < 1.0:
            raise InvalidInput("exits.trail_distance", "must be below 1, the whole profit", self.trail_distance)
        if self.trail_after > len(self.take_profits):
            rule = f"must be at most the number of take-profits ({len(self.take_profits)})"
            raise InvalidInput("exits.trail_after", rule, self.trail_after)

    @property
    def has_stop(self) -> bool:
        """Whether positions have an initial stop."""
        return not math.isnan(self.stop_distance)

    @property
    def reads_unit(self) -> bool:
        """Whether the unit column is read, so that no position is opened while the unit is unknown."""
        counted = [self.stop_unit] if self.has_stop else []
        counted += [self.take_profit_unit] if self.take_profits else []
        counted += [self.trail_activation_unit] if self.trail_activation > 0.0 else []
        counted += [self.break_even_unit] if not math.isnan(self.break_even_distance) else []
        return "unit" in counted or self.trail == "unit" or not math.isnan(self.volatility_multiple)

    @property
    def is_managed(self) -> bool:
        """Whether something is looked at on every close while a position is open."""
        times = self.time_stop_bars > 0 or not math.isnan(self.volatility_multiple)
        return times or self.trail != "none" or not math.isnan(self.break_even_distance)

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON types, which :meth:`from_dict` takes back; None stands for a figure that is not set."""
        found: dict[str, Any] = {}
        for name in self.__dataclass_fields__:
            value = getattr(self, name)
            if isinstance(value, float) and math.isnan(value):
                value = None
            found[name] = [list(step) for step in value] if name == "take_profits" else value
        return found

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Exits:
        """Return the rules that :meth:`to_dict` described; fields that are left out take their defaults.

        Raises
        ------
        InvalidInput
            If a field is unknown or a value breaks a rule.
        """
        known = set(cls.__dataclass_fields__)
        for name in values:
            if name not in known:
                raise InvalidInput(f"exits.{name}", f"is not a field (known: {', '.join(sorted(known))})")
        given: dict[str, Any] = {name: math.nan if value is None else value for name, value in values.items()}
        return cls(**given)


def _is_number(value: object) -> bool:
    return not isinstance(value, bool) and isinstance(value, (int, float)) and math.isfinite(value)


def _one_of(subject: str, value: object, allowed: Sequence[str]) -> None:
    if value not in allowed:
        raise InvalidInput(subject, f"must be one of {', '.join(allowed)}", value)


def _positive(subject: str, value: object) -> None:
    """Refuse what is neither a positive finite number nor NaN, which stands for none."""
    if isinstance(value, float) and math.isnan(value):
        return
    if not (_is_number(value) and value > 0.0):  # type: ignore[operator]  # a number, as asked before
        raise InvalidInput(subject, "must be positive and finite, or NaN for none", value)
