"""Trend following with hysteresis and a quality filter. Registered as the strategy ``trend``."""

from __future__ import annotations

from research.kernel import UNBOUNDED, FloatArray, KernelSpec, Param, kernel


@kernel
def trend(
    trend: FloatArray,
    quality: FloatArray,
    enter: float,
    exit: float,
    min_quality: float,
    allow_short: int,
    state: FloatArray,
    out: FloatArray,
) -> None:
    """Advance the target exposure of a trend rule.

    Parameters
    ----------
    trend : (n,) array
        Signed trend strength, in any unit; ``enter`` and ``exit`` are in the same.
    quality : (n,) array
        Higher is better; asked only when a position is opened, never to close one.
    enter : float
        Flat goes long where ``trend > enter`` and short where ``trend < -enter``.
    exit : float
        A long is closed where ``trend < exit``, a short where ``trend > -exit``: also when the sign flips. Above
        ``enter`` it counts as ``enter``.
    min_quality : float
        Nothing is opened where ``quality < min_quality``.
    allow_short : int
        0 or 1.
    state : (1,) array
        The standing target.
    out : (1, n) array
        Target exposure: -1, 0 or 1. A bar with NaN keeps the standing target; before the first bar it is 0.

    Notes
    -----
    A long that is closed by a trend beyond ``-enter`` turns short on the same bar.
    """
    leave = min(exit, enter)
    target = state[0]
    for i in range(trend.shape[0]):
        strength, merit = trend[i], quality[i]
        if strength == strength and merit == merit:
            if target * strength < leave:  # 0 when flat: nothing to close, and nothing changes
                target = 0.0
            if target == 0.0 and merit >= min_quality:
                if strength > enter:
                    target = 1.0
                elif strength < -enter and allow_short == 1:
                    target = -1.0
        out[0, i] = target
    state[0] = target


SPEC = KernelSpec(
    name="trend",
    kernel=trend,
    inputs=("trend", "quality"),
    params=(
        Param("enter", 1.0, 0.0, 1e6),
        Param("exit", 0.25, 0.0, 1e6),
        Param("min_quality", 0.0, -1e6, 1e6),
        Param("allow_short", 1, 0, 1),
    ),
    outputs=("",),
    state_size=lambda enter, exit, min_quality, allow_short: 1,
    lookback=lambda enter, exit, min_quality, allow_short: 1,
    warmup=lambda enter, exit, min_quality, allow_short: UNBOUNDED,
    warmup_rtol=0.0,
    unit="target exposure, -1 to 1",
    gap="a bar with NaN keeps the standing target",
    reference="threshold rule with hysteresis; no outside source",
)
