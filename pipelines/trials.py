"""What was tried, in the pipeline or by hand, told to the ledger of trials. It tries nothing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import polars as pl

from pipelines.desk import candidates
from pipelines.params import Params
from pipelines.series import traded_series
from pipelines.trial_ledger import ledger_folder, market_name
from pipelines.workspace import Workspace
from research.market.bars import NS_PER_DAY, TS, epoch_ns, interval_ns
from research.search.desk import Desk
from research.validation.trial_identity import frames_hash, params_of
from research.validation.trial_ledger import Study, TrialLedger


def series_name(
    params: Params, bars: pl.DataFrame, mark: pl.DataFrame | None, funding: pl.DataFrame | None
) -> str:  # fmt: skip
    """Return the ledger's name of the traded series: the market, and a hash of what lies before the hold-out.

    Trials see no more of it, and another hold-out makes no other trial of them.
    """
    end_ns = int(epoch_ns(bars.tail(1))[0]) + interval_ns(params.market.base_interval)
    is_seen = pl.col("ts").cast(TS).to_physical() < end_ns - params.backtest.holdout_days * NS_PER_DAY
    seen = {"bars": bars, "mark": mark, "funding": funding}
    hashed = frames_hash(**{name: None if frame is None else frame.filter(is_seen) for name, frame in seen.items()})
    return f"{market_name(params)}:{hashed[:16]}"


def terms(params: Params, desk: Desk, candidate: str) -> dict[str, Any]:
    """Return what decides a trial's outcome beside the strategy's parameters: features, sizer, costs, account, fit."""
    found = next(c for c in candidates(params) if c.name == candidate)
    spec = found.policy_spec(desk.spec, {})
    told = {
        "policy": replace(spec, strategy_params={}).to_dict(), "costs": desk.costs, "account": dict(desk.account),
        "instrument": desk.instrument.to_dict(), "learning": dict(desk.learning), "seed": desk.seed,
    }  # fmt: skip
    ruled = ("learning", "seed")  # a rule is the same whatever is learned beside it
    return {name: value for name, value in told.items() if found.is_learned or name not in ruled}


def told_trials(params: Params, desk: Desk, series: str, trials: pl.DataFrame, returns: pl.DataFrame) -> TrialLedger:
    """Return the trials of a search as a ledger.

    Parameters
    ----------
    params : Params
    desk : Desk
    series : str
        From :func:`series_name`: hashing the series takes longer than telling the trials of a fold.
    trials, returns : DataFrame
        Of a :class:`research.search.candidates.Choice`.
    """
    daily = _per_day(returns)
    window = _window(daily["day"])
    found = TrialLedger()
    fixed = {c.name: c.params for c in candidates(params)}
    numbered = trials.with_row_index("row")
    for (name,), rows in numbered.group_by("candidate", maintain_order=True):
        candidate = str(name)
        columns = {str(row): str(k) for k, row in enumerate(rows["row"])}
        found.add_table(
            Study(candidate, series, window),
            [{**fixed[candidate], **given} for given in params_of(rows)],
            source="optuna",
            states=rows["state"].to_list(),
            costs=terms(params, desk, candidate),
            returns=daily.select("day", *columns).rename(columns),
        )
    return found


def record_trials(
    params: Params, workspace: Workspace, strategy: str, tried: list[Mapping[str, Any]], returns: pl.DataFrame, *,
    terms: object, source: str = "manual",
) -> TrialLedger:  # fmt: skip
    """Append what was tried outside of the pipeline (a notebook, a sweep, an evolution) to the workspace's ledger.

    Parameters
    ----------
    params : Params
        Whose market was traded.
    workspace : Workspace
    strategy : str
        Any name; that of a candidate where it is one.
    tried : list of mapping
        Parameters of each trial; :func:`research.validation.trial_identity.params_of` has those of a table.
    returns : DataFrame
        ``day`` and a column for each trial, named by its place in ``tried``: ``daily`` of a sweep. A trial whose column
        is absent is one that failed: it counts, and is in no matrix.
    terms : object
        Plain values of what else decides the outcome: costs, account, features. Two sweeps of one grid under other
        terms are other trials.
    source : str
        ``manual``, ``sweep``, ``optuna`` or ``deap``.

    Returns
    -------
    TrialLedger
        What was appended.

    Raises
    ------
    InvalidInput
        As :meth:`research.validation.trial_ledger.TrialLedger.add_table`; nothing has been appended then.
    """
    series = series_name(params, *traded_series(params, workspace))
    window = _window(returns["day"])
    told = TrialLedger()
    states = ["complete" if str(k) in returns.columns else "failed" for k in range(len(tried))]
    told.add_table(Study(strategy, series, window), tried, source=source, states=states, costs=terms, returns=returns)
    ledger_folder(workspace).append(told)
    return told


def _window(days: pl.Series) -> str:
    """Return days as the ledger names them: the first and the last."""
    told = days.cast(pl.Date).cast(pl.String).sort()
    return f"{told[0]}/{told[-1]}"


def _per_day(returns: pl.DataFrame) -> pl.DataFrame:
    """Return returns with one row for each day: a day that the edge of a segment cuts is there twice."""
    if returns["day"].n_unique() == returns.height:
        return returns.sort("day")
    whole = [((pl.col(name) + 1.0).product() - 1.0).alias(name) for name in returns.columns if name != "day"]
    return returns.group_by("day").agg(whole).sort("day")
