"""Run every benchmark of this folder, one process each, and print one table. It measures nothing itself."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks.sides import COLUMNS, shown

HERE = Path(__file__).resolve().parent
# Calibration is of rates, not of speed, and takes ten minutes; the others are parts of what is run.
NOT_RUN = {Path(__file__).name, "calibration.py", "traded_studies.py", "sides.py"}


def main() -> int:
    table = Table(title="Benchmarks: ratio = peer / ours, above 1 is faster than the peer", title_justify="left")
    for column in COLUMNS:
        table.add_column(column, justify="left" if column in ("name", "peer_name", "unit") else "right")
    failed = 0
    for script in sorted(HERE.glob("*.py")):
        if script.name in NOT_RUN or script.name.startswith("peers_"):
            continue
        done = subprocess.run(
            [sys.executable, "-m", f"benchmarks.{script.stem}"],
            cwd=HERE.parent,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            failed += 1
            table.add_row(script.stem, "failed", done.stderr.strip().splitlines()[-1][:60] if done.stderr else "")
        for line in done.stdout.splitlines():
            if line.startswith("{"):
                row = json.loads(line)
                table.add_row(*(shown(row.get(column)) for column in COLUMNS))
    Console(width=None if sys.stdout.isatty() else 180).print(table)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
