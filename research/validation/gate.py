"""Thresholds that a candidate must meet, and why it did not meet them. It computes no figure and promotes nothing."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import polars as pl

from research.errors import GateRefused, InvalidInput

OPERATORS: dict[str, Callable[[float, float], bool]] = {
    ">=": operator.ge, ">": operator.gt, "<=": operator.le, "<": operator.lt,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Check:
    """One threshold on one figure.

    Parameters
    ----------
    name : str
        Of the check, distinct within a gate.
    figure : str
        Key of the figure.
    op : str
        ``>=``, ``>``, ``<=`` or ``<``: how the figure must stand to the threshold.
    threshold : float
        In the figure's unit; not NaN.
    description : str
        Why it is asked for.
    """

    name: str
    figure: str
    op: str
    threshold: float
    description: str = ""

    def __post_init__(self) -> None:
        if self.op not in OPERATORS:
            raise InvalidInput(f"{self.name}.op", f"must be one of {', '.join(OPERATORS)}", self.op)
        if isinstance(self.threshold, bool) or not isinstance(self.threshold, (int, float)):
            raise InvalidInput(f"{self.name}.threshold", "must be a number", self.threshold)
        if math.isnan(self.threshold):
            raise InvalidInput(f"{self.name}.threshold", "must not be NaN", self.threshold)


@dataclass(frozen=True, slots=True)
class GateVerdict:
    """Whether every check was met.

    Parameters
    ----------
    passed : bool
        True where all were.
    table : DataFrame
        One row per check: ``check``, ``figure``, ``value`` (null where unknown), ``low`` and ``high`` (ends of the
        figure's interval, null where it has none), ``rule``, ``threshold``, ``passed``, ``reason`` (empty where passed)
        and ``description``.
    """

    passed: bool
    table: pl.DataFrame

    def require(self, subject: str) -> None:
        """Raise unless the gate passed.

        Raises
        ------
        GateRefused
            With the reason of every check that was not met.
        """
        if not self.passed:
            reasons = self.table.filter(~pl.col("passed"))["reason"].to_list()
            raise GateRefused(f"{subject} must pass the gate; {'; '.join(reasons)}")


def evaluate_gate(
    figures: Mapping[str, float | None],
    checks: Sequence[Check],
    intervals: Mapping[str, tuple[float, float]] | None = None,
) -> GateVerdict:
    """Hold figures against thresholds.

    Parameters
    ----------
    figures : mapping of str to float
        Out-of-sample figures. One that is missing, None, NaN or not a number is refused: not knowing is not passing.
        None also stands for an infinite figure where they come from JSON, which has none.
    checks : sequence of Check
        At least one, with distinct names.
    intervals : mapping of str to (float, float), optional
        Of figures, to stand beside them in the table. They decide nothing: a threshold on a figure's uncertainty is a
        check on a figure of its own.

    Raises
    ------
    InvalidInput
        If there are no checks (an empty gate would pass everything) or two have one name.

    Examples
    --------
    >>> verdict = evaluate_gate({"sharpe": 0.4}, [Check("sharpe", "sharpe", ">=", 1.0)])
    >>> verdict.passed, verdict.table["reason"][0]
    (False, 'sharpe must be >= 1; it is 0.4')
    """
    if not checks:
        raise InvalidInput("checks", "must not be empty: a gate without checks passes everything")
    names = [check.name for check in checks]
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise InvalidInput(f"checks.{repeated[0]}", "must be named once")
    around = {} if intervals is None else intervals
    rows = [_row(check, figures.get(check.figure), around.get(check.figure)) for check in checks]
    schema = {
        "check": pl.String, "figure": pl.String, "value": pl.Float64, "low": pl.Float64, "high": pl.Float64,
        "rule": pl.String, "threshold": pl.Float64,
        "passed": pl.Boolean, "reason": pl.String, "description": pl.String,
    }  # fmt: skip
    table = pl.DataFrame(rows, schema=schema, orient="row")
    return GateVerdict(passed=bool(table["passed"].all()), table=table)


def _row(check: Check, received: object, interval: tuple[float, float] | None) -> tuple[object, ...]:
    value = _number(received)
    rule = f"{check.figure} must be {check.op} {check.threshold:g}"
    if value is None:
        told = "unknown (missing or not finite)" if received is None else f"{received!r}, not a number"
        reason = f"{rule}; it is {told}"
    elif math.isnan(value):
        reason = f"{rule}; it is unknown (NaN)"
    elif OPERATORS[check.op](value, float(check.threshold)):
        reason = ""
    else:
        reason = f"{rule}; it is {value:.6g}"
    return (
        check.name, check.figure, value, *_known(interval), f"{check.op} {check.threshold:g}", float(check.threshold),
        not reason, reason,
        check.description,
    )  # fmt: skip


def _known(interval: tuple[float, float] | None) -> tuple[float | None, float | None]:
    low, high = (math.nan, math.nan) if interval is None else interval
    return (None if math.isnan(low) else low), (None if math.isnan(high) else high)


def _number(received: object) -> float | None:
    """Return a real number, Python's or NumPy's, as float; None for anything else, truth values included."""
    if isinstance(received, bool) or not hasattr(received, "__float__"):
        return None
    if hasattr(received, "dtype") and (getattr(received, "ndim", 1) != 0 or received.dtype.kind not in "iuf"):
        return None
    return float(received)
