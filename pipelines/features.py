"""Stage ``features``: decision bars and their features as one table. It fits nothing and looks at no label."""

from __future__ import annotations

from pipelines.params import Params
from pipelines.series import traded_series
from pipelines.workspace import REPORTS, Workspace, stage_main
from research.errors import InvalidInput
from research.features import FeatureSet
from research.market.resample import resample

RESERVED = ("close", "score")  # the table's own column, and the predictor's output


def run(params: Params, workspace: Workspace) -> None:
    """Write ``data/features/table.parquet``: ts, close and one column per feature output."""
    market, features = params.market, feature_set(params)
    bars, _, _ = traded_series(params, workspace)
    if market.base_interval != market.decision_interval:
        bars = resample(bars, market.base_interval, market.decision_interval)
    table = features.batch(bars, threads=2)
    table.insert_column(1, bars["close"])
    workspace.write_frame("data/features/table.parquet", table)
    workspace.write_frame("data/features/lineage.parquet", features.lineage())
    figures = {
        "fingerprint": features.fingerprint, "columns": features.columns, "rows": table.height,
        "lookback_bars": features.lookback, "warmup_bars": features.warmup,
    }  # fmt: skip
    workspace.write_json(f"{REPORTS}/features.json", figures)


def feature_set(params: Params) -> FeatureSet:
    """Return the feature set of ``features.columns``.

    Raises
    ------
    InvalidInput
        Naming the column whose feature or parameter is unknown or out of range, or whose name is taken.
    """
    for column in params.features.columns:
        if column in RESERVED:
            raise InvalidInput(f"features.columns.{column}", f"must not be called {' or '.join(RESERVED)}")
    try:
        return FeatureSet(params.features.columns, timeframe=params.market.decision_interval)
    except InvalidInput as error:
        raise InvalidInput(f"features.columns.{error.subject}", error.rule, error.received) from error


if __name__ == "__main__":
    stage_main(run)
