"""A series from outside the market, and how old its newest value is. Registered in the catalogue as ``context``."""

from __future__ import annotations

import math

from research.features.validity import GAP, is_number, is_volume
from research.kernel import FloatArray, KernelSpec, Param, kernel


@kernel
def context(series: FloatArray, age: FloatArray, max_age_minutes: float, state: FloatArray, out: FloatArray) -> None:
    """Write the newest value of a series that was available at each bar, its staleness, and whether it is fresh.

    Parameters
    ----------
    series : (n,) array
        Newest value that was available at the close of the bar, in the unit of the series.
    age : (n,) array
        Minutes since it became available.
    max_age_minutes : float
        Age from which a value is stale. The default is a week.
    state : (0,) array
        Nothing is remembered.
    out : (3, n) array
        The value, held however old it is; its age as a share of ``max_age_minutes``, in [0, 1]; 1 below that age and
        0 from it on.

    Notes
    -----
    A stale value is not replaced: any number put in its place would itself be a statement about the series. Rules that
    must not act on an old value ask ``fresh``, models find it beside the value.
    """
    for i in range(series.shape[0]):
        value, minutes = series[i], age[i]
        if not (is_number(value) and is_volume(minutes)):
            out[0, i] = out[1, i] = out[2, i] = math.nan
            continue
        out[0, i] = value
        out[1, i] = min(minutes / max_age_minutes, 1.0)
        out[2, i] = 1.0 if minutes < max_age_minutes else 0.0


SPEC = KernelSpec(
    name="context",
    kernel=context,
    inputs=("series", "series.age"),
    params=(Param("max_age_minutes", 10_080.0, 1.0, 1e7),),
    outputs=("value", "staleness", "fresh"),
    state_size=lambda max_age_minutes: 0,
    lookback=lambda max_age_minutes: 1,
    warmup=lambda max_age_minutes: 1,
    warmup_rtol=0.0,
    unit="that of the series; fraction of max_age_minutes; 1 fresh, 0 stale",
    gap=GAP,
    reference="definition",
)
