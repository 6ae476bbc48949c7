"""Findings on funding rows: order, times, holes against each row's own interval, impossible rates. It fills no hole."""

from __future__ import annotations

import math
from collections.abc import Mapping
from types import MappingProxyType

import numpy as np
import polars as pl

from research.errors import InvalidInput
from research.market import quality_rules as rules
from research.market.bars import conform, epoch_ns
from research.market.funding_rows import JITTER_NS, NS_PER_HOUR, funding_holes, uncovered_ns
from research.market.quality import Findings, QualityResult
from research.market.quality_rules import Found

FUNDING_POLICIES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "unordered": ("error", "drop", "keep"),
        "jitter": ("error", "snap", "keep"),
        "off_hour": ("error", "drop", "keep"),
        "duplicate": ("error", "drop"),
        "conflict": ("error", "drop"),
        "interval": ("error", "drop", "keep"),
        "nonfinite": ("error", "drop", "keep"),
        "cap": ("error", "drop", "nan", "keep"),
        "hole": ("error", "keep"),
        "overlap": ("error", "keep"),
    }
)
DEFAULT_FUNDING_POLICIES: Mapping[str, str] = MappingProxyType(
    {
        "unordered": "error",
        "jitter": "snap",
        "off_hour": "keep",
        "duplicate": "drop",
        "conflict": "error",
        "interval": "error",
        "nonfinite": "error",
        "cap": "keep",
        "hole": "keep",
        "overlap": "keep",
    }
)


def check_funding(
    funding: pl.DataFrame, policies: Mapping[str, str] | None = None, cap_frac: float = 0.02
) -> QualityResult:
    """Examine funding rows by every rule, apply each rule's policy and report all of it.

    Parameters
    ----------
    funding : polars.DataFrame
        Kind ``funding``: settlement time, rate as a fraction, hours that the rate covers *up to* its time.
    policies : mapping of str to str, optional
        Overrides of :data:`DEFAULT_FUNDING_POLICIES`, each one of :data:`FUNDING_POLICIES`. ``snap`` moves a time
        within a minute of an hour onto that hour: exchanges report settlements a few milliseconds off.
    cap_frac : float
        Largest believable absolute rate of one settlement. Two percent is a loose bound; give the instrument's own
        where it is known.

    Returns
    -------
    QualityResult
        ``frame`` holds the rows that remain, in order of time. Values in the report: ``unordered`` hours behind,
        ``jitter`` and ``off_hour`` nanoseconds past the nearest hour, ``duplicate`` and ``conflict`` rows telling
        that time, ``interval`` the hours, ``nonfinite`` the rate, ``cap`` the rate, ``hole`` settlements missing
        before the row, ``overlap`` hours told twice. A rate that is not finite is left only under ``keep``.

    Raises
    ------
    QualityRefused
        If a rule whose policy is ``error`` finds rows.
    InvalidInput
        If a policy is unknown or impossible for its rule, ``cap_frac`` is not above 0, or a time is null.

    Examples
    --------
    >>> from datetime import datetime
    >>> at = [datetime(2024, 1, 1, 0), datetime(2024, 1, 1, 8), datetime(2024, 1, 2, 0)]
    >>> rows = pl.DataFrame({"ts": at, "rate": [1e-4, 1e-4, 2e-4], "interval_hours": [8.0, 8.0, 8.0]})
    >>> rows = rows.with_columns(pl.col("ts").dt.replace_time_zone("UTC"))
    >>> check_funding(rows).report.select("rule", "rows", "value").row(0)
    ('hole', 1, 1.0)
    """
    if not (math.isfinite(cap_frac) and cap_frac > 0.0):
        raise InvalidInput("cap_frac", "must be finite and above 0", cap_frac)
    frame = conform(funding, "funding", "funding")
    if frame["ts"].null_count():
        raise InvalidInput(f"funding.ts[{frame['ts'].is_null().arg_max()}]", "must not be null")
    findings = Findings(FUNDING_POLICIES, {**DEFAULT_FUNDING_POLICIES, **(policies or {})}, "funding")
    frame = _timed(frame, findings)
    frame = _rated(frame, findings, cap_frac)
    return findings.result(_spaced(frame, findings))


def _timed(frame: pl.DataFrame, findings: Findings) -> pl.DataFrame:
    """Apply the rules on times and return one row per time, in order."""
    ts = epoch_ns(frame)
    found = rules.unordered(ts, NS_PER_HOUR)
    frame = _kept(frame, found, findings.add("unordered", ts, found))
    ts = epoch_ns(frame)
    past = (ts + NS_PER_HOUR // 2) % NS_PER_HOUR - NS_PER_HOUR // 2
    near = (past != 0) & (np.abs(past) <= JITTER_NS)
    if findings.add("jitter", ts, Found(near, past.astype(np.float64), 0.0)) == "snap":
        snapped = pl.Series("ts", np.where(near, ts - past, ts)).cast(frame.schema["ts"])
        frame = frame.with_columns(snapped)
    found = Found((past != 0) & ~near, past.astype(np.float64), float(JITTER_NS))
    frame = _kept(frame, found, findings.add("off_hour", ts, found)).sort("ts", maintain_order=True)
    ts = epoch_ns(frame)
    duplicate, conflict = rules.repeated(frame)
    findings.add("duplicate", ts, duplicate)
    findings.add("conflict", ts, conflict)
    return frame.filter(pl.Series(~(duplicate.mask | conflict.mask)))


def _rated(frame: pl.DataFrame, findings: Findings, cap_frac: float) -> pl.DataFrame:
    hours = frame["interval_hours"].fill_null(float("nan")).to_numpy()
    found = Found(~(np.isfinite(hours) & (hours > 0.0)), hours, 0.0)
    frame = _kept(frame, found, findings.add("interval", epoch_ns(frame), found))
    rate = frame["rate"].fill_null(float("nan")).to_numpy()
    found = Found(~np.isfinite(rate), rate, 0.0)
    frame = _kept(frame, found, findings.add("nonfinite", epoch_ns(frame), found))
    rate = frame["rate"].fill_null(float("nan")).to_numpy()
    found = Found(np.isfinite(rate) & (np.abs(rate) > cap_frac), rate, cap_frac)
    policy = findings.add("cap", epoch_ns(frame), found)
    if policy == "nan":
        rate = np.where(found.mask, np.nan, rate)
        return frame.with_columns(pl.Series("rate", rate))
    return _kept(frame, found, policy)


def _spaced(frame: pl.DataFrame, findings: Findings) -> pl.DataFrame:
    """Compare each row's distance from the one before with the hours that it says it covers."""
    ts = epoch_ns(frame)
    hours = frame["interval_hours"].fill_null(float("nan")).to_numpy()
    uncovered = uncovered_ns(ts, hours)
    with np.errstate(divide="ignore", invalid="ignore"):  # intervals kept although they are not positive
        missing = np.round(uncovered / NS_PER_HOUR / hours)
    findings.add("hole", ts, Found(funding_holes(ts, hours), np.maximum(missing, 1.0), 0.0))
    findings.add("overlap", ts, Found(uncovered < -JITTER_NS, -uncovered / NS_PER_HOUR, 0.0))
    return frame


def _kept(frame: pl.DataFrame, found: Found, policy: str) -> pl.DataFrame:
    return frame.filter(pl.Series(~found.mask)) if policy == "drop" else frame
