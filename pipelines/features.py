"""Stage ``features``: decision bars and their features as one table. It fits nothing and looks at no label."""

from __future__ import annotations

from pipelines.params import Params
from pipelines.series import traded_series
from pipelines.workspace import REPORTS, Workspace, stage_main
from research.features import FeatureSet
from research.market.resample import resample


def run(params: Params, workspace: Workspace) -> None:
    """Write ``data/features/table.parquet``: ts, close and one column per feature output."""
    market = params.market
    bars, _, _ = traded_series(params, workspace)
    if market.base_interval != market.decision_interval:
        bars = resample(bars, market.base_interval, market.decision_interval)
    feature_set = FeatureSet(params.features.columns)
    table = feature_set.batch(bars, threads=2)
    table.insert_column(1, bars["close"])
    workspace.write_frame("data/features/table.parquet", table)
    workspace.write_frame("data/features/lineage.parquet", feature_set.lineage())
    figures = {
        "fingerprint": feature_set.fingerprint, "columns": feature_set.columns, "rows": table.height,
        "lookback_bars": feature_set.lookback, "warmup_bars": feature_set.warmup,
    }  # fmt: skip
    workspace.write_json(f"{REPORTS}/features.json", figures)


if __name__ == "__main__":
    stage_main(run)
