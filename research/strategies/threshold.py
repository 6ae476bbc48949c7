"""Position from a predicted score, with hysteresis and holding times. Registered as the strategy ``threshold``."""

from __future__ import annotations

from research.kernel import UNBOUNDED, FloatArray, KernelSpec, Param, kernel


@kernel
def threshold(
    score: FloatArray,
    enter: float,
    exit: float,
    allow_short: int,
    min_hold_bars: int,
    max_hold_bars: int,
    state: FloatArray,
    out: FloatArray,
) -> None:
    """Advance the target exposure that follows a predicted score.

    Parameters
    ----------
    score : (n,) array
        Prediction centred on 0: above it speaks for a long.
    enter : float
        Flat goes long where ``score > enter`` and short where ``score < -enter``.
    exit : float
        A long is closed where ``score < exit``, a short where ``-score < exit``. Below 0 a position outlives a mild
        change of sign. Above ``enter`` it counts as ``enter``.
    allow_short : int
        0 or 1.
    min_hold_bars : int
        Bars that a target stands before the score may close it, the one it was set on included.
    max_hold_bars : int
        Bars after which it is closed whatever the score; 0 is never. Wins over ``min_hold_bars``.
    state : (2,) array
        The standing target; the bars it has stood (0 when flat).
    out : (1, n) array
        Target exposure: -1, 0 or 1. A bar with NaN keeps the standing target, and counts as a bar that it stood;
        before the first bar it is 0.

    Notes
    -----
    A position closed by the score may turn on the same bar. One closed by ``max_hold_bars`` leaves at least one bar
    flat, or the limit would mean nothing while the score stays high. The limit waits for a bar that has a score.
    """
    leave = min(exit, enter)
    target, held = state[0], int(state[1])
    for i in range(score.shape[0]):
        value = score[i]
        if value == value:
            if target != 0.0 and max_hold_bars > 0 and held >= max_hold_bars:
                target = 0.0
            else:
                if target != 0.0 and held >= min_hold_bars and target * value < leave:
                    target = 0.0
                if target == 0.0:
                    held = 0
                    if value > enter:
                        target = 1.0
                    elif value < -enter and allow_short == 1:
                        target = -1.0
        held = held + 1 if target != 0.0 else 0
        out[0, i] = target
    state[0], state[1] = target, held


SPEC = KernelSpec(
    name="threshold",
    kernel=threshold,
    inputs=("score",),
    params=(
        Param("enter", 0.001, 0.0, 1e6),
        Param("exit", 0.0, -1e6, 1e6),
        Param("allow_short", 1, 0, 1),
        Param("min_hold_bars", 1, 0, 1_000_000),
        Param("max_hold_bars", 0, 0, 1_000_000),
    ),
    outputs=("",),
    state_size=lambda enter, exit, allow_short, min_hold_bars, max_hold_bars: 2,
    lookback=lambda enter, exit, allow_short, min_hold_bars, max_hold_bars: 1,
    warmup=lambda enter, exit, allow_short, min_hold_bars, max_hold_bars: UNBOUNDED,
    warmup_rtol=0.0,
    unit="target exposure, -1 to 1",
    gap="a bar with NaN keeps the standing target, and counts as a bar that it stood",
    reference="threshold rule with hysteresis; no outside source",
)
