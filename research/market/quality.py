"""Findings on stored bars and funding rows, and what a stated policy makes of each. It repairs nothing unreported.

A policy is one of

- ``error``: refuse the series, naming the rule, the count and the first rows;
- ``drop``: remove the row, so that it is absent, hence NaN, on the clock;
- ``nan``: keep its time and set all its values to NaN;
- ``keep``: only report.

No value is ever replaced by another value.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
import polars as pl

from research.errors import InvalidInput, QualityRefused
from research.kernel import IntArray
from research.market import quality_rules as rules
from research.market.bars import TS, conform, epoch_ns, interval_ns, on_clock
from research.market.quality_rules import Found, Thresholds

# Policies that mean something for each rule, in the order in which the rules are applied: a row that another tells
# again cannot be kept beside it on one clock, and an absent row cannot be dropped.
POLICIES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "unordered": ("error", "drop", "nan", "keep"),
        "off_grid": ("error", "drop"),
        "duplicate": ("error", "drop"),
        "conflict": ("error", "drop", "nan"),
        "gap": ("error", "keep"),
        "nonfinite": ("error", "drop", "nan", "keep"),
        "nonpositive": ("error", "drop", "nan", "keep"),
        "crossed": ("error", "drop", "nan", "keep"),
        "spike": ("error", "drop", "nan", "keep"),
        "jump": ("error", "drop", "nan", "keep"),
        "stale": ("error", "drop", "nan", "keep"),
        "volume_invalid": ("error", "drop", "nan", "keep"),
        "volume_spike": ("error", "drop", "nan", "keep"),
    }
)
# Broken times refuse the series: the source is not what it claims. Impossible values become NaN. What may be the
# market itself (a jump, a halt) is reported and left.
DEFAULT_POLICIES: Mapping[str, str] = MappingProxyType(
    {
        "unordered": "error",
        "off_grid": "error",
        "duplicate": "drop",
        "conflict": "error",
        "gap": "keep",
        "nonfinite": "nan",
        "nonpositive": "nan",
        "crossed": "nan",
        "spike": "keep",
        "jump": "keep",
        "stale": "keep",
        "volume_invalid": "nan",
        "volume_spike": "keep",
    }
)
REPORT_SCHEMA: dict[str, pl.DataType | type[pl.DataType]] = {
    "rule": pl.String, "policy": pl.String, "start_ts": TS, "end_ts": TS,
    "rows": pl.Int64, "value": pl.Float64, "threshold": pl.Float64,
}  # fmt: skip
MAX_CLOCK_BARS = 30_000_000  # 57 years of minutes: beyond that one time is garbage


@dataclass(frozen=True, slots=True)
class QualityResult:
    """What :func:`check_quality` or :func:`research.market.quality_funding.check_funding` returns.

    Parameters
    ----------
    frame : polars.DataFrame
        Bars on a complete clock (absent and refused ones NaN), or funding rows in order.
    report : polars.DataFrame
        One row per range of neighbouring rows that break one rule: ``rule, policy, start_ts, end_ts, rows, value,
        threshold``. ``end_ts`` is the time of the last row, ``value`` the worst of the range, in the rule's measure
        (see :mod:`research.market.quality_rules`).
    summary : polars.DataFrame
        One row per rule, also those that found nothing: ``rule, policy, ranges, rows, worst, threshold``.
    """

    frame: pl.DataFrame
    report: pl.DataFrame
    summary: pl.DataFrame


class Findings:
    """Collects findings in the order of the rules and refuses where the policy says so."""

    def __init__(self, allowed: Mapping[str, tuple[str, ...]], policies: Mapping[str, str], subject: str) -> None:
        for rule, policy in policies.items():
            if rule not in allowed:
                raise InvalidInput(f"policies.{rule}", f"is not a rule ({', '.join(allowed)})", policy)
            if policy not in allowed[rule]:
                raise InvalidInput(f"policies.{rule}", f"must be one of {', '.join(allowed[rule])}", policy)
        self._policies, self._subject = policies, subject
        self._allowed = allowed
        self._rows: list[tuple[str, str, int, int, int, float, float]] = []

    def policy(self, rule: str) -> str:
        """Return the policy of ``rule``."""
        return self._policies[rule]

    def add(self, rule: str, ts: IntArray, found: Found) -> str:
        """Record the rows of ``found`` and return the rule's policy.

        Raises
        ------
        QualityRefused
            If rows were found and the policy is ``error``.
        """
        policy = self._policies[rule]
        rows = np.flatnonzero(found.mask)
        if rows.size and policy == "error":
            first = ", ".join(f"{np.datetime64(int(ts[i]), 'ns')}Z ({found.value[i]:.6g})" for i in rows[:3])
            raise QualityRefused(
                f"{self._subject} must not hold {rule} rows (policy error); received {rows.size}, first: {first}"
            )
        for start, end in rules.runs(rows):
            values = found.value[start:end]
            finite = np.where(np.isfinite(values), np.abs(values), -1.0)
            worst = float(values[int(np.argmax(finite))])
            span = ts[start:end]
            self._rows.append((rule, policy, int(span.min()), int(span.max()), end - start, worst, found.threshold))
        return policy

    def result(self, frame: pl.DataFrame) -> QualityResult:
        """Return the frame with the report and summary of all that was added."""
        plain = {name: pl.Int64 if dtype == TS else dtype for name, dtype in REPORT_SCHEMA.items()}
        report = pl.DataFrame(self._rows, schema=plain, orient="row").cast({"start_ts": TS, "end_ts": TS})
        asked = pl.DataFrame(
            {"rule": list(self._allowed), "policy": [self._policies[r] for r in self._allowed]},
            schema={"rule": pl.String, "policy": pl.String},
        )
        counted = report.group_by("rule").agg(
            pl.len().cast(pl.Int64).alias("ranges"),
            pl.col("rows").sum(),
            pl.col("value").sort_by(pl.col("value").abs()).last().alias("worst"),
            pl.col("threshold").first(),
        )
        summary = asked.join(counted, on="rule", how="left", maintain_order="left")
        return QualityResult(frame, report, summary.with_columns(pl.col("ranges", "rows").fill_null(0)))


def check_quality(
    bars: pl.DataFrame,
    interval: str,
    policies: Mapping[str, str] | None = None,
    thresholds: Thresholds | None = None,
) -> QualityResult:
    """Examine bars by every rule, apply each rule's policy and report all of it.

    Parameters
    ----------
    bars : polars.DataFrame
        Kind ``bars``, rows in the order received. A row with NaN or null in all four prices and the volume is an
        absent bar.
    interval : str
        A key of :data:`research.market.bars.INTERVALS`.
    policies : mapping of str to str, optional
        Overrides of :data:`DEFAULT_POLICIES`, each one of :data:`POLICIES`.
    thresholds : Thresholds, optional
        Limits of the measured rules.

    Returns
    -------
    QualityResult
        Rows that no rule changed have the values they came with. Optional columns that were null are NaN, as
        :func:`research.market.bars.on_clock` makes them.

    Raises
    ------
    QualityRefused
        If a rule whose policy is ``error`` finds rows.
    InvalidInput
        If a policy is unknown or impossible for its rule, a time is null, or the times span more than
        :data:`MAX_CLOCK_BARS` bars.

    Notes
    -----
    Rules are applied in the order of :data:`POLICIES`; a bar with impossible prices is left out of the measures of
    spikes, staleness and volume. Spikes and volumes are measured against centred windows and the next bar: findings
    about a bar use later bars, so a cleaned series must not be taken for what was knowable at the time.

    Examples
    --------
    >>> from research.market.simulated import MarketSpec, simulate_market
    >>> bars = simulate_market(MarketSpec(days=1)).bars["linear", "BTCUSDT"]
    >>> holed = bars.filter(pl.col("ts").dt.hour() != 3)
    >>> check_quality(holed, "1m").report.filter(pl.col("rule") == "gap").select("rows", "value").row(0)
    (60, 60.0)
    """
    step = interval_ns(interval)
    frame = conform(bars, "bars", "bars")
    if frame["ts"].null_count():
        raise InvalidInput(f"bars.ts[{frame['ts'].is_null().arg_max()}]", "must not be null")
    findings = Findings(POLICIES, {**DEFAULT_POLICIES, **(policies or {})}, "bars")
    limits = thresholds or Thresholds()
    clock, lost = _on_one_clock(frame, interval, step, findings)
    if not clock.is_empty():
        clock = on_clock(_judged(clock, lost, findings, limits), interval)
    return findings.result(clock)


def _on_one_clock(frame: pl.DataFrame, interval: str, step: int, findings: Findings) -> tuple[pl.DataFrame, pl.Series]:
    """Apply the rules on times; return the bars on a complete clock and which absences those rules made."""
    frame = frame.with_columns(pl.lit(False).alias("lost"))
    ts = epoch_ns(frame)
    found = rules.unordered(ts, step)
    policy = findings.add("unordered", ts, found)
    refused = frame["ts"].filter(pl.Series(found.mask)) if policy == "drop" else frame["ts"].clear()
    frame = _without(frame, found, policy)
    ts = epoch_ns(frame)
    found = rules.off_grid(ts, step)
    frame = _without(frame, found, findings.add("off_grid", ts, found)).sort("ts", maintain_order=True)
    ts = epoch_ns(frame)
    duplicate, conflict = rules.repeated(frame.drop("lost"))
    findings.add("duplicate", ts, duplicate)
    policy = findings.add("conflict", ts, conflict)
    if policy == "drop":
        refused = pl.concat([refused, frame["ts"].filter(pl.Series(conflict.mask))])
    frame = _without(frame, conflict, policy).unique("ts", keep="first", maintain_order=True)
    if frame.is_empty():
        return frame.drop("lost"), pl.Series("lost", [], dtype=pl.Boolean)
    span = (epoch_ns(frame)[-1] - epoch_ns(frame)[0]) // step + 1
    if span > MAX_CLOCK_BARS:
        raise InvalidInput("bars.ts", f"must span at most {MAX_CLOCK_BARS} bars of {interval}", int(span))
    clock = on_clock(frame, interval)
    # Null where no row is left: lost if a rule refused the rows of that time, a gap if there were none.
    lost = clock["lost"].fill_null(clock["ts"].is_in(refused.implode()))
    return clock.drop("lost"), lost


def _judged(clock: pl.DataFrame, lost: pl.Series, findings: Findings, limits: Thresholds) -> pl.DataFrame:
    """Apply the rules on values; return the clock with refused rows blanked, dropped ones removed."""
    ts = epoch_ns(clock)
    prices = np.ascontiguousarray(clock.select(rules.PRICES).to_numpy().T)
    volume = clock["volume"].to_numpy()
    present = ~(np.isnan(prices).all(axis=0) & np.isnan(volume))
    blank = np.zeros(ts.size, dtype=bool)
    dropped = np.zeros(ts.size, dtype=bool)

    def apply(rule: str, found: Found) -> None:
        policy = findings.add(rule, ts, found)
        if policy == "drop":
            dropped[found.mask] = True
        elif policy == "nan":
            blank[found.mask] = True

    findings.add("gap", ts, rules.absent(present | lost.to_numpy()))
    valid = present.copy()
    for rule, found in (
        ("nonfinite", rules.nonfinite(prices, present)),
        ("nonpositive", rules.nonpositive(prices)),
        ("crossed", rules.crossed(prices)),
    ):
        apply(rule, found)
        valid &= ~found.mask
    spike, jump = rules.spikes(prices, valid, limits)
    apply("spike", spike)
    apply("jump", jump)
    apply("stale", rules.stale(prices, volume, valid, limits))
    apply("volume_invalid", rules.volume_invalid(clock, present))
    apply("volume_spike", rules.volume_spike(volume, valid, limits))
    return _blanked(clock, pl.Series(blank)).filter(pl.Series(~dropped))


def _without(frame: pl.DataFrame, found: Found, policy: str) -> pl.DataFrame:
    mask = pl.Series(found.mask)
    if policy == "nan":
        return _blanked(frame, mask)
    return frame.filter(~mask) if policy == "drop" else frame


def _blanked(frame: pl.DataFrame, mask: pl.Series) -> pl.DataFrame:
    """Return ``frame`` with the values of masked rows NaN (integers null) and ``lost`` set, times untouched."""
    if not mask.any():
        return frame
    values: list[pl.Expr] = []
    for name, dtype in frame.schema.items():
        if name == "ts":
            continue
        empty = pl.lit(True) if name == "lost" else pl.lit(float("nan") if dtype.is_float() else None)
        values.append(pl.when(mask).then(empty).otherwise(pl.col(name)).cast(dtype).alias(name))
    return frame.with_columns(values)
