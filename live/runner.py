"""``python -m live.runner``: a promoted bundle, bar by bar, on paper. Wiring alone: what it decides, research decided.

One row of features is scored by one thread: OpenMP threads wait for each other, and a busy core beside them turns
0.2 ms into 4 (99th percentile).
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

import numpy as np
from rich.console import Console

from live.bundle_files import load_bundle
from live.decide import Decider, decision_event
from live.feeds import Recording, bar_event, open_recording
from live.journal import Journal
from live.ports import Clock, SystemClock
from live.proof import Trace, opened, prove
from live.screen import Screen
from live.settings import Settings, read_settings
from live.venues.paper import PaperVenue
from research.bundle import Bundle
from research.errors import PlatformError
from research.market.bars import interval_ns

EQUAL, FAILED, DIFFERENT = 0, 2, 3  # 1 is an unforeseen error of Python itself


def main(argv: Sequence[str] | None = None, clock: Clock | None = None) -> int:
    """Run one session and return the exit code: 0 proven equal, 2 not run, 3 different from research."""
    try:
        settings = read_settings(argv)
        bundle, version = find_bundle(settings)
        return replay(settings, bundle, version, clock or SystemClock())
    except (PlatformError, OSError) as error:
        Console(stderr=True).print(f"[red]{type(error).__name__}[/]: {error}", highlight=False, soft_wrap=True)
        return FAILED


def find_bundle(settings: Settings) -> tuple[Bundle, str]:
    """Return the bundle asked for and its version: exported, or of a registry where it is named ``models:/``."""
    if settings.bundle.startswith("models:/"):
        from live.registry import download_bundle  # loads mlflow

        return download_bundle(settings.bundle)
    return load_bundle(settings.bundle, settings.promoted)


def replay(settings: Settings, bundle: Bundle, version: str, clock: Clock) -> int:
    """Push a recording through the bundle one bar at a time, journal it, and prove it equal to research."""
    recording = open_recording(settings, bundle)
    policy, venue = opened(bundle, recording)
    decider = Decider(policy, bundle.fingerprint, bundle.instrument.symbol, interval_ns(bundle.spec.decision_interval))
    trace = Trace(policy.columns)
    screen = Screen(bundle, version, recording.ts.size, settings.quiet)
    with Journal(settings.journal, durable=False) as journal, screen:
        journal.write(
            "session", {"bundle": bundle.name, "version": version, "fingerprint": bundle.fingerprint,
                        "mode": settings.mode, "wall_ns": clock.now_ns(), "bars": int(recording.ts.size)},
        )  # fmt: skip
        _run(recording, decider, venue, trace, journal, screen)
        subject, comparisons = prove(bundle, recording, trace, policy)
        is_equal = all(c.is_equal for c in comparisons)
        journal.write(
            "proof", {"subject": subject, "equal": is_equal, "sha256": {c.name: c.actual for c in comparisons}}
        )
    screen.summary(int(recording.ts[0]), int(recording.ts[-1]), recording.ts.size, venue, str(settings.journal))
    screen.proof(subject, comparisons)
    return EQUAL if is_equal else DIFFERENT


def _run(
    recording: Recording, decider: Decider, venue: PaperVenue, trace: Trace, journal: Journal, screen: Screen
) -> None:
    standing = 0.0
    if recording.ahead:
        at = slice(0, recording.ahead)
        ts, columns = recording.ts[at], recording.columns_at(at)
        decisions, _ = decider.on_bar(ts, columns)
        exposure = decisions.exposures_per_bar(recording.ahead)
        trace.add(ts, decisions, venue.on_bars(ts, columns, recording.mark[at], recording.funding_rate[at], exposure))
    for number, at in recording.one_by_one():
        ts = recording.ts[at]
        columns = recording.columns_at(at)
        journal.write("bar", bar_event(recording, number))
        decisions, intent = decider.on_bar(ts, columns)
        if decisions.ts.size:
            journal.write("decision", decision_event(decisions))
        exposure = np.full(1, np.nan)
        if intent is not None:
            exposure[0] = intent.exposure
            standing = intent.exposure
            screen.orders += 1
            journal.write(
                "order", {"client_id": intent.client_id, "decided_ns": intent.decided_ns, "exposure": intent.exposure}
            )
        ledger = venue.on_bars(ts, columns, recording.mark[at], recording.funding_rate[at], exposure)
        for fill in ledger.fills:
            journal.write("fill", {"ts": int(fill["ts"]), "lots": int(fill["lots"]), "price": float(fill["price"]),
                                   "fee": float(fill["fee"])})  # fmt: skip
        screen.decisions += decisions.ts.size
        screen.fills += ledger.fills.size
        trace.add(ts, decisions, ledger)
        if number % 500 == 0:
            screen.update(number, int(ts[0]), float(columns["close"][0]), venue, standing)


if __name__ == "__main__":
    sys.exit(main())
