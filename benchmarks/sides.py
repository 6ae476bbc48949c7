"""Sides of a benchmark in processes of their own, and the rows they come to. It measures nothing itself."""

from __future__ import annotations

import contextlib
import io
import json
import os
import resource
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
COLUMNS = ("name", "ours", "peer", "peer_name", "ratio", "unit", "peak_mb", "goal", "met")


def peak_mb() -> float:
    """Return this process's peak resident memory."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024.0


def run_side(module: str, side: str, *arguments: Any, environment: dict[str, str] | None = None) -> dict[str, Any]:
    """Return what a side of a benchmark found, run in a fresh process."""
    command = [sys.executable, "-W", "ignore", "-m", module, "side", json.dumps([side, *arguments])]
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, check=False, env={**os.environ, **(environment or {})}
    )
    if done.returncode:
        raise RuntimeError(f"{side} failed: {done.stderr.strip().splitlines()[-1]}")
    return json.loads(done.stdout.splitlines()[-1])


def tell(
    name: str, ours: float, peer: float | None, peer_name: str, unit: str, peak: float, goal: float, *,
    is_met: bool | None = None,
) -> None:  # fmt: skip
    """Print one row: ratio = peer / ours; met where the ratio reaches the goal, or as told."""
    ratio = None if peer is None else peer / ours
    met = is_met if is_met is not None else ratio is not None and ratio >= goal
    line = {
        "name": name, "ours": round(ours, 3), "peer": None if peer is None else round(peer, 3), "peer_name": peer_name,
        "ratio": None if ratio is None else round(ratio, 3), "unit": unit, "peak_mb": round(peak, 1), "goal": goal,
        "met": bool(met),
    }  # fmt: skip
    print(json.dumps(line), flush=True)


def main(
    arguments: list[str], parts: Mapping[str, Callable[[], None]], sides: Mapping[str, Callable[..., dict[str, Any]]]
) -> None:
    """Run parts by name, or all; or one side, whose finding is printed. ``--markdown`` makes the rows a table."""
    if arguments[:1] == ["side"]:
        side, *given = json.loads(arguments[1])
        print(json.dumps(sides[side](*given)))
        return
    named = [name for name in arguments if name != "--markdown"]
    if len(named) < len(arguments):
        print(f"| {' | '.join(COLUMNS)} |\n|{'---|' * len(COLUMNS)}")
    for name in named or parts:
        if len(named) == len(arguments):
            parts[name]()
            continue
        with contextlib.redirect_stdout(io.StringIO()) as told:
            parts[name]()
        for line in told.getvalue().splitlines():
            row = json.loads(line)
            print(f"| {' | '.join(shown(row[column]) for column in COLUMNS)} |", flush=True)


def shown(value: object) -> str:
    """Return a cell of a table."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:.4g}" if isinstance(value, float) else "" if value is None else str(value)
