"""Volume over that of the same time of day before. Registered in the catalogue as ``relative_volume``."""

from __future__ import annotations

import math

from research.features.validity import GAP, is_volume
from research.kernel import FloatArray, IntArray, KernelSpec, Param, kernel

MINUTE_NS = 60_000_000_000
DAY_MINUTES = 1_440
HEAD = 7
ENTRY = 3
# A usual volume below this is none: the quotient of the largest volume and a smaller one would overflow.
LEAST_VOLUME = 1e-150


@kernel
def relative_volume(
    ts: IntArray, volume: FloatArray, days: int, slot_minutes: int, state: FloatArray, out: FloatArray
) -> None:
    r"""Advance the relative volume (RVOL) by time of day: volume over what a bar usually has at this time.

    The UTC day is cut into slots of ``slot_minutes``. What is usual in a slot is the mean volume of a bar,

    .. math::

        u_{d,s} = \frac{\sum v \text{ of the bars in slot } s \text{ of days } d - days \dots d - 1}
                       {\text{number of those bars}}

    Parameters
    ----------
    ts : (n,) array of int64
        Open time, nanoseconds since the epoch, UTC.
    volume : (n,) array
        Base currency, not below zero.
    days : int
        Days before this one that are looked at; one without bars in the slot is left out, not replaced by an older one.
    slot_minutes : int
        Length of a slot; the last one of the day is shorter where this does not divide 1,440. Bars longer than it
        each have a slot of their own.
    state : (7 + 3 slots days,) array
        Day; slot + 1 (0: none); volume and bars of the slot under way; what is usual in it (0: unknown); volume
        and usual volume of today; then by slot and ``day % days``: day, volume, bars.
    out : (3, n) array
        ``bar``: volume of the bar, over what is usual; ``slot``: mean volume of the bars of this slot so far, over
        what is usual; ``day``: volume since midnight over the sum of what was usual at each of its bars. Not below 0
        and finite; 1 is usual, and also stands for unknown: no bar in this slot on the days before, or none with
        volume. Bars without a known usual volume count on neither side of ``day``.

    Notes
    -----
    Measured per bar and not per minute, so that it needs to know neither how long bars are nor how much of a slot is
    over. The warm-up is in bars of one minute: of longer bars fewer would do, of shorter ones it takes more. The first
    day is incomplete wherever a cold start falls, which is why it is a day longer than ``days``; from there on every
    sum is the same to the bit.
    """
    today, current = int(state[0]), int(state[1]) - 1
    total, count, usual, traded, expected = state[2], state[3], state[4], state[5], state[6]
    for i in range(volume.shape[0]):
        size = volume[i]
        if not is_volume(size):
            out[0, i] = out[1, i] = out[2, i] = math.nan
            continue
        minute = ts[i] // MINUTE_NS
        day = minute // DAY_MINUTES
        slot = (minute - day * DAY_MINUTES) // slot_minutes
        if slot != current or day != today:
            if current >= 0:
                at = HEAD + ENTRY * (current * days + today % days)
                state[at], state[at + 1], state[at + 2] = today, total, count
            if day != today:
                traded, expected = 0.0, 0.0
            past_volume, past_bars = 0.0, 0.0
            for at in range(HEAD + ENTRY * slot * days, HEAD + ENTRY * (slot + 1) * days, ENTRY):
                if day - days <= state[at] < day:
                    past_volume += state[at + 1]
                    past_bars += state[at + 2]
            usual = past_volume / past_bars if past_volume > 0.0 else 0.0
            if usual < LEAST_VOLUME:
                usual = 0.0
            today, current, total, count = day, slot, 0.0, 0.0
        total += size
        count += 1.0
        out[0, i] = out[1, i] = out[2, i] = 1.0
        if usual > 0.0:
            traded += size
            expected += usual
            out[0, i] = size / usual
            out[1, i] = total / (count * usual)
        if expected > 0.0:
            out[2, i] = traded / expected
    state[0], state[1] = today, current + 1
    state[2], state[3], state[4], state[5], state[6] = total, count, usual, traded, expected


SPEC = KernelSpec(
    name="relative_volume",
    kernel=relative_volume,
    inputs=("ts", "volume"),
    params=(Param("days", 4, 1, 60), Param("slot_minutes", 15, 1, DAY_MINUTES)),
    outputs=("bar", "slot", "day"),
    state_size=lambda days, slot_minutes: HEAD + ENTRY * days * -(-DAY_MINUTES // slot_minutes),
    lookback=lambda days, slot_minutes: 1,
    warmup=lambda days, slot_minutes: (days + 1) * DAY_MINUTES,
    warmup_rtol=0.0,
    unit="multiples of the usual volume",
    gap=GAP,
    reference="definition",
)
