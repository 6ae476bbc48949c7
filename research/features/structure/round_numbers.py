"""Distance of the close from the round numbers around it. Registered in the catalogue as ``round_numbers``."""

from __future__ import annotations

import math

from research.features.validity import GAP, is_price
from research.kernel import FloatArray, KernelSpec, Param, kernel

# A quotient up to here is off by less than a half, and a step beyond it is finer than a price can say.
FINEST = 1e15
SMALLEST_POWER = -300
MOST_DECIMALS = 15


@kernel
def round_numbers(close: FloatArray, divisions: int, step: float, state: FloatArray, out: FloatArray) -> None:
    r"""Write the round numbers (psychological levels): the multiples of a round step next to the close.

    .. math::

        b_t = s \lfloor c_t / s \rfloor, \qquad a_t = s \lceil c_t / s \rceil, \qquad
        s = 10^{\lfloor \log_{10} c_t \rfloor} / divisions

    or the given step.

    Parameters
    ----------
    close : (n,) array
        Quote currency.
    divisions : int
        Steps to the power of ten at or below the close: with 10 a price of 67,321 lies between 67,000 and 68,000, with
        4 between 67,500 and 65,000, with 2 between 65,000 and 70,000. Not read where ``step`` is given.
    step : float
        The same step at every price, in quote currency; 0 takes it from the close.
    state : (0,) array
        Nothing is remembered.
    out : (4, n) array
        ``below``, ``above``: the round numbers; a close that is one is both, and so is a close beyond 1e15 steps.
        ``below_distance``, ``above_distance``: their distances as a fraction of the close, not negative.

    Notes
    -----
    Levels are whole numbers divided by whole numbers, so that 0.3 is a multiple of 0.1 and the level is the very
    number that an exchange means by 0.3; ``floor(0.3 / 0.1) * 0.1`` is 0.2. A given step is taken as the decimal that
    it is written as, up to 15 decimals. Where the price passes a power of ten the automatic step grows tenfold.
    """
    given, top, divisor = step > 0.0, step, 1.0
    scale = 1.0
    for _ in range(MOST_DECIMALS + 1):
        whole = math.floor(step * scale + 0.5)
        if whole > 0.0 and whole / scale == step:
            top, divisor = whole, scale
            break
        scale *= 10.0
    least, bound = 0.0, 0.0
    for i in range(close.shape[0]):
        price = close[i]
        if not is_price(price):
            out[0, i], out[1, i], out[2, i], out[3, i] = math.nan, math.nan, math.nan, math.nan
            continue
        if not (given or least <= price < bound):
            power = max(math.floor(math.log10(price)), SMALLEST_POWER)
            # The logarithm may round across a power of ten: the price itself decides.
            if price < _power_of_ten(power) and power > SMALLEST_POWER:
                power -= 1
            elif price >= _power_of_ten(power + 1):
                power += 1
            least, bound = _power_of_ten(power), _power_of_ten(power + 1)
            top, divisor = 1.0, float(divisions)
            if power >= 0:
                top = least
            else:
                divisor *= _power_of_ten(-power)
        steps = price * divisor / top
        below, above = price, price
        if steps <= FINEST:
            count = math.floor(steps + 0.5)
            level = count * top / divisor
            if level < price:
                below, above = level, (count + 1.0) * top / divisor
            elif level > price:
                below, above = (count - 1.0) * top / divisor, level
        out[0, i], out[1, i] = below, above
        out[2, i], out[3, i] = (price - below) / price, (above - price) / price


@kernel
def _power_of_ten(power: int) -> float:
    return 10.0**power if power >= 0 else 1.0 / 10.0 ** (-power)


SPEC = KernelSpec(
    name="round_numbers",
    kernel=round_numbers,
    inputs=("close",),
    params=(Param("divisions", 10, 1, 1_000), Param("step", 0.0, 0.0, 1e12)),
    outputs=("below", "above", "below_distance", "above_distance"),
    state_size=lambda divisions, step: 0,
    lookback=lambda divisions, step: 1,
    warmup=lambda divisions, step: 1,
    warmup_rtol=0.0,
    unit="quote currency; fraction of the close",
    gap=GAP,
    reference="C. L. Osler, Currency Orders and Exchange Rate Dynamics, Journal of Finance 58(5), 2003",
)
