"""The stability of a walk-forward in a few figures, for a gate or a page. It measures nothing itself."""

from __future__ import annotations

import math

import polars as pl

from research.validation.efficiency import Efficiency
from research.validation.fold_plateaus import plateau_share


def stability_figures(
    parameters: pl.DataFrame, efficiency: Efficiency | None = None, judged: pl.DataFrame | None = None
) -> dict[str, float]:
    """Return the worst of all parameters beside the shares of folds.

    Parameters
    ----------
    parameters : DataFrame
        Of :func:`research.validation.stability.parameter_stability`.
    efficiency : Efficiency, optional
        Of :func:`research.validation.efficiency.walk_forward_efficiency`.
    judged : DataFrame, optional
        Of :func:`research.validation.fold_plateaus.fold_plateaus`.

    Returns
    -------
    dict of str to float
        ``dispersion`` and ``at_bound``, the largest of any parameter; ``drift_p_value``, the smallest ``p_value`` times
        the number of parameters that have one, at most 1 (Bonferroni); ``efficiency``, ``efficiency_median`` and
        ``share_kept``; ``share_on_plateau``, and ``share_plateau_known``, the share of folds where that is known. NaN
        where nothing tells, such as for what was not handed over: a gate refuses it.

    Examples
    --------
    >>> from research.validation.stability import parameter_stability
    >>> folds = pl.DataFrame({"fold": [0, 1, 2], "param.a": [1, 3, 2]})
    >>> figures = stability_figures(parameter_stability(folds, {"a": {"low": 1, "high": 5}}))
    >>> round(figures["dispersion"], 3), round(figures["at_bound"], 3), figures["efficiency"]
    (0.167, 0.333, nan)
    """
    p_values = parameters["p_value"].drop_nans()
    known = math.nan
    if judged is not None and judged.height:
        known = judged["on_plateau"].drop_nulls().len() / judged.height
    return {
        "dispersion": _largest(parameters["dispersion"]),
        "at_bound": _largest(parameters["at_bound"]),
        "drift_p_value": min(1.0, p_values.len() * float(p_values.min())) if p_values.len() else math.nan,  # type: ignore[arg-type]
        "efficiency": math.nan if efficiency is None else efficiency.overall,
        "efficiency_median": math.nan if efficiency is None else efficiency.median,
        "share_kept": math.nan if efficiency is None else efficiency.share_kept,
        "share_on_plateau": math.nan if judged is None else plateau_share(judged),
        "share_plateau_known": known,
    }


def _largest(column: pl.Series) -> float:
    known = column.drop_nans()
    return float(known.max()) if known.len() else math.nan  # type: ignore[arg-type]
