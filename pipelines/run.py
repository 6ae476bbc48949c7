"""Command: every stage in order in one process, below any folder and with any parameter file. It caches nothing.

``python -m pipelines.run --params profiles/FILE.yaml --root DIR [--set SECTION.KEY=VALUE]``: what ``dvc repro`` does
for ``params.yaml``, for a profile beside it.
"""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console

from pipelines import (
    backtest,
    controls,
    features,
    gate,
    ingest,
    monte_carlo,
    publish,
    report,
    search,
    stress,
    train,
    validate,
    walk_forward,
)
from pipelines.checks import check_params
from pipelines.params import Params
from pipelines.workspace import Workspace, stage_arguments
from research.errors import PlatformError

STAGES = (
    ingest, validate, features, search, train, backtest, walk_forward, monte_carlo, stress, controls, gate, report,
    publish,
)  # fmt: skip


def run(params: Params, workspace: Workspace, console: Console | None = None) -> None:
    """Run all stages; an error carries the name of the stage it happened in.

    Raises
    ------
    InvalidInput
        Before the first stage, if parameters are what a later one would refuse.
    """
    check_params(params)
    stress.check(params)
    for number, stage in enumerate(STAGES, start=1):
        if console is not None:
            console.print(f"[{number}/{len(STAGES)}] {stage.__name__}", markup=False)
        try:
            stage.run(params, workspace)
        except PlatformError as error:
            error.add_note(f"in stage {stage.__name__}")
            raise


def main(argv: Sequence[str] | None = None) -> None:
    """Run all stages from the command line."""
    params, workspace = stage_arguments("all stages in one process", argv)
    try:
        run(params, workspace, Console())
    except PlatformError as error:
        where = f" ({'; '.join(error.__notes__)})" if hasattr(error, "__notes__") else ""
        raise SystemExit(f"{type(error).__name__}: {error}{where}") from error


if __name__ == "__main__":
    main()
