"""American puts that are exercised between two boundaries: where the yield is below a rate that is below 0.

Waiting then costs the strike nothing, it grows; what exercise saves is the negative yield on the spot, and that is more
only where the spot is high enough. So there is a boundary above and one beneath, and beneath it one waits again: A.
Battauz, M. De Donno and A. Sbuelz, "Real options and American derivatives: the double continuation region", Management
Science 61 (2015); L. Andersen and M. Lake, "Fast American option pricing: the double-boundary case", Wilmott (2021).
With much volatility or time the two meet, and one waits everywhere until the last of it.

The premium of early exercise comes from a binomial tree, which does not mind how many boundaries there are: the
American price less the European one of the same tree, extrapolated from two trees whose last step is Black's formula
(M. Broadie and J. Detemple, "American option valuation: new bounds, approximations, and a comparison of existing
methods", Review of Financial Studies 9 (1996)). The premium is small, and so is its error. Nodes fall
or rise by a few of their distances until expiry: were they level, a boundary would lie at the same place between two of
them all the time, and the error would go up and down with the steps. What falling does to it rising undoes, so the two
are averaged.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Int

from jaxcal._types import Block, Flags
from jaxcal.compilation.side_by_side import side_by_side
from jaxcal.formulas.black import black_price

_STEPS = 96  # of the finer of two trees
_FALL, _STEEPEST = 3.0, 0.5  # of nodes until expiry, in distances between them; of one step, in its deviation
_FEW = 64, 4096  # options that are worked on together, where there are any, by platform


class DoubleExercise(NamedTuple):
    """What early exercise means for `[b]` puts.

    Attributes:
        premium: its value, over the strike; 0 where the put was not `wanted`.
        at_once: whether the put is exercised now.
    """

    premium: Block
    at_once: Flags


def double_boundary_exercise(
    wanted: Flags, vol: Block, moneyness: Block, expiry: Block, rate: Block, dividend_yield: Block
) -> DoubleExercise:
    """The premium of early exercise of American puts, of any rate and yield, by two trees.

    It takes a hundred times as long as `early_exercise`, so only the puts that are `wanted` are worked on, a few at a
    time. Right to about 3e-5 of the larger of spot and strike.

    Args:
        wanted: `[b]` which puts.
        vol: `[b]` decimal per square root of a year, positive.
        moneyness: `[b]` `ln(spot / strike)`.
        expiry: `[b]` years, positive.
        rate: `[b]` continuously compounded decimal a year.
        dividend_yield: `[b]` the same.

    Returns:
        The premium and where exercise is at once.

    Source: Broadie and Detemple (1996), section 3 (BBSR).

    >>> put = (jnp.array([x]) for x in (0.1, 0.0, 1.0, -0.01, -0.04))
    >>> print(f"{double_boundary_exercise(jnp.array([True]), *put).premium[0]:.4f}")
    0.0026
    """
    harmless = (0.2, 0.0, 1.0, -0.01, -0.03)
    numbers = (vol, moneyness, expiry, rate, dividend_yield)
    options = [jnp.where(wanted, x, y) for x, y in zip(numbers, harmless, strict=True)]
    size = wanted.shape[0]
    few = min(side_by_side(*_FEW), size)
    order = jnp.argsort(~wanted, stable=True)
    rows = jnp.pad(order, (0, -size % few), mode="edge").reshape(-1, few)
    nothing = jnp.zeros(few, vol.dtype), jnp.zeros(few, bool)

    def of_some(some: Int[Array, " few"]) -> tuple[Array, Array]:
        put = tuple(x[some] for x in options)
        return jax.lax.cond(jnp.any(wanted[some]), lambda: _extrapolated(*put), lambda: nothing)

    premium, at_once = jax.lax.map(of_some, rows)
    place = jnp.argsort(order)
    return DoubleExercise(jnp.where(wanted, premium.ravel()[place], 0.0), wanted & at_once.ravel()[place])


def _extrapolated(*put: Block) -> tuple[Array, Array]:
    """`[b]` premiums, extrapolated to no error of the steps, and whether exercise is at once."""
    size = put[0].shape[0]
    vol, moneyness, expiry, rate, dividend_yield = (jnp.concatenate([x, x])[None] for x in put)
    fall = jnp.asarray(np.repeat([_FALL, -_FALL], size)[None], put[0].dtype)
    fine, at_once = _tree(vol, moneyness, expiry, rate, dividend_yield, fall, steps=_STEPS)
    coarse, _ = _tree(vol, moneyness, expiry, rate, dividend_yield, fall, steps=_STEPS // 2)
    premium = 2.0 * fine - coarse
    return jnp.maximum(0.5 * (premium[:size] + premium[size:]), 0.0), at_once[:size] & at_once[size:]


def _tree(
    vol: Array, moneyness: Array, expiry: Array, rate: Array, dividend_yield: Array, fall: Array, *, steps: int
) -> tuple[Array, Array]:
    """`[b]` premiums of `[1, b]` puts on `[steps, b]` nodes: j ups of i steps are in row j; the strike is 1."""
    period = expiry / steps
    deviation = vol * jnp.sqrt(period)
    drift = (rate - dividend_yield) * period - 0.5 * deviation**2
    tilt = jnp.clip(drift + deviation * (2.0 * fall / steps), -_STEEPEST * deviation, _STEEPEST * deviation)
    jump = jnp.sqrt(deviation**2 + tilt**2)  # the variance is right, and with the chance of going up the mean is
    up = jnp.expm1(0.5 * deviation**2 + tilt + jump) / jnp.expm1(2.0 * jump)
    growth, discount = jnp.exp((rate - dividend_yield) * period), jnp.exp(-rate * period)
    ups = jnp.asarray(np.arange(steps)[:, None], vol.dtype)

    def pays(step: Array) -> Array:
        return -jnp.expm1(moneyness + step * (drift - tilt - jump) + 2.0 * ups * jump)

    def back(before: Int[ArrayLike, ""], values: tuple[Array, Array]) -> tuple[Array, Array]:
        american, european = (discount * (up * jnp.concatenate([x[1:], x[-1:]]) + (1.0 - up) * x) for x in values)
        return jnp.maximum(american, pays(jnp.asarray(steps - 2 - before, vol.dtype))), european

    exercised = pays(jnp.asarray(steps - 1, vol.dtype))
    one = jnp.ones_like(period)
    black = black_price(vol, one, period, forward=(1.0 - exercised) * growth, discount=discount, is_call=False)
    american, european = jax.lax.fori_loop(0, steps - 1, back, (jnp.maximum(black, exercised), black))
    return american[0] - european[0], american[0] <= -jnp.expm1(moneyness[0])
