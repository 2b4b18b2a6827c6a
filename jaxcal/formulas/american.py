"""American options under Black and Scholes with a continuous yield: prices, many at once.

A put is the European one and the premium of `exercise_boundary.py`. A call is the put with spot and strike, and rate
and yield, exchanged (R. McDonald and M. Schroder, "A parity result for American options", Journal of Computational
Finance 1 (1998)). So what is said of a put with its rate and yield holds of a call with its yield and rate:

- rate > 0, or rate = 0 > yield: one boundary, beneath which it is exercised (`exercise_boundary.py`);
- 0 >= rate and yield >= rate: waiting costs nothing, so the European price is exact;
- 0 > rate > yield: two boundaries, between which it is exercised (`double_boundary.py`).
"""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxcal._arguments import NumbersLike, SidesLike, named_only, numbers, sides
from jaxcal._types import Block, Flags, float_arrays
from jaxcal.compilation.side_by_side import side_by_side
from jaxcal.formulas.double_boundary import double_boundary_exercise
from jaxcal.formulas.exercise_boundary import early_exercise
from jaxcal.formulas.normal import normal_cdf

_BLOCK = 2048, 131072  # options worked on together, on a processor and on an accelerator
_NEVER = 1e-8  # a rate of that size is none
_LEAST_VOL = 2e-3  # below it prices are interpolated to the one without volatility


@named_only
def american_price(
    vol: NumbersLike,
    strike: NumbersLike,
    expiry: NumbersLike,
    *,
    spot: NumbersLike,
    rate: NumbersLike,
    dividend_yield: NumbersLike = 0.0,
    is_call: SidesLike = True,
) -> Float[Array, "*quotes"]:
    """Price of an American call or put on an asset that pays a continuous yield.

    All arguments broadcast. `vol` is a decimal per square root of year, `expiry` in years; `rate` and `dividend_yield`
    are continuously compounded decimals a year; `strike` and the result are in the units of `spot`. Right to 5e-5 of
    the spot over volatilities of 8 to 120 %, rates and yields of 0 to 10 % and expiries to three years;
    docs/american.md has the accuracy elsewhere. Never below the European price, nor below the value without volatility,
    of which exercise at once is a part.

    The boundary of exercise is found in single precision, so prices are smooth to about 1e-7 of the spot: take
    derivatives by `jax.grad` rather than from differences. Where the option is exercised at once they are those of the
    payoff.

    The result is NaN where `vol` or `expiry` is negative, where `strike` or `spot` is not positive and finite, where an
    argument is NaN. Any rate and yield has a price. Where there are two boundaries (a put with yield < rate < 0, a call
    with rate < yield < 0) it comes from a tree, which takes some 50 us an option.

    Source: Andersen, Lake and Offengenden (2016), eq. 30 and section 5; see `exercise_boundary.py`.

    >>> from jaxcal.formulas.american import american_price
    >>> print(f"{american_price(0.2, 100.0, 1.0, spot=100.0, rate=0.05, is_call=False):.3f}")
    6.090
    """
    given = numbers(vol=vol, strike=strike, expiry=expiry, spot=spot, rate=rate, dividend_yield=dividend_yield)
    return in_blocks(price_block, *float_arrays(*given), sides(is_call, *given))


def price_block(
    vol: Block, strike: Block, expiry: Block, spot: Block, rate: Block, dividend_yield: Block, is_call: Flags
) -> Block:
    """`american_price` of `[b]` options, without blocks, for use inside a compiled function.

    >>> numbers = (jnp.array([x]) for x in (0.2, 100.0, 1.0, 100.0, 0.05, 0.0))
    >>> print(f"{price_block(*numbers, jnp.array([False]))[0]:.3f}")
    6.090
    """
    put = _as_put(strike, expiry, spot, rate, dividend_yield, is_call)
    known = put.known & (vol >= 0) & jnp.isfinite(vol)
    log_inner, gain, loss, least = put.log_inner, put.gain, put.loss, put.least
    double = (gain < -_NEVER) & (loss < gain)
    early = (gain > _NEVER) | ((gain >= -_NEVER) & (loss < -_NEVER))
    alive = known & (vol > 0) & (expiry > 0)
    years, volatile = jnp.where(alive, expiry, 1.0), jnp.where(alive, jnp.maximum(vol, _LEAST_VOL), 0.2)
    deviation = volatile * jnp.sqrt(years)
    up = (log_inner + (gain - loss) * years) / deviation + 0.5 * deviation
    value = jnp.exp(-gain * years) * normal_cdf(deviation - up) - jnp.exp(log_inner - loss * years) * normal_cdf(-up)
    exercise = early_exercise(volatile, log_inner, years, jnp.where(early, jnp.maximum(gain, _NEVER), 0.01), loss)
    between = double_boundary_exercise(double & alive, volatile, log_inner, years, gain, loss)
    value = value + jnp.where(early, exercise.premium, between.premium)
    at_once = jnp.where(early, log_inner <= exercise.log_last - exercise.depth, between.at_once)
    value = jnp.maximum(jnp.where(at_once, -jnp.expm1(log_inner), value), least)
    share = jnp.where(alive, jnp.minimum(vol * (1.0 / _LEAST_VOL), 1.0), 0.0)
    return jnp.where(known, put.outer * (least + share * (value - least)), jnp.nan)


def least_block(strike: Block, expiry: Block, spot: Block, rate: Block, dividend_yield: Block, is_call: Flags) -> Block:
    """`[b]` prices without volatility, of which exercise at once is a part; NaN as `american_price`.

    >>> numbers = (jnp.array([x]) for x in (110.0, 1.0, 100.0, 0.05, 0.0))
    >>> print(f"{least_block(*numbers, jnp.array([False]))[0]:.3f}")
    10.000
    """
    put = _as_put(strike, expiry, spot, rate, dividend_yield, is_call)
    return jnp.where(put.known, put.outer * put.least, jnp.nan)


def most_worth(strike: Block, expiry: Block, spot: Block, rate: Block, dividend_yield: Block, is_call: Flags) -> Block:
    """`[b]` prices that none reaches: the spot for a call, the strike for a put, as much as they grow while one waits.

    >>> numbers = (jnp.array([x]) for x in (110.0, 1.0, 100.0, -0.05, 0.0))
    >>> print(f"{most_worth(*numbers, jnp.array([False]))[0]:.3f}")
    115.640
    """
    grows = jnp.exp(jnp.maximum(-jnp.where(is_call, dividend_yield, rate), 0.0) * expiry)
    return grows * jnp.where(is_call, spot, strike)


class _Put(NamedTuple):
    """`[b]` options as puts, on which one gains the rate on the outer price and loses the yield on the inner one."""

    known: Array  # else the other numbers are harmless
    outer: Array
    log_inner: Array  # over the outer price
    gain: Array
    loss: Array
    least: Array  # the value without volatility, over the outer price


def _as_put(strike: Array, expiry: Array, spot: Array, rate: Array, dividend_yield: Array, is_call: Array) -> _Put:
    known = (expiry >= 0) & (strike > 0) & (spot > 0)
    for x in (strike, expiry, spot, rate, dividend_yield):
        known &= jnp.isfinite(x)
    inner, outer = jnp.where(is_call, strike, spot), jnp.where(is_call, spot, strike)
    gain, loss = jnp.where(is_call, dividend_yield, rate), jnp.where(is_call, rate, dividend_yield)
    inner, outer = jnp.where(known, inner, 1.0), jnp.where(known, outer, 1.0)
    gain, loss = jnp.where(known, gain, 0.0), jnp.where(known, loss, 0.0)
    log_inner = jnp.log(inner / outer)
    least = jnp.maximum(_surely(log_inner, jnp.where(known, expiry, 0.0), gain, loss), 0.0)
    return _Put(known, outer, log_inner, gain, loss, least)


def _surely(log_inner: Array, expiry: Array, gain: Array, loss: Array) -> Array:
    """The best payoff, over the outer price, if there were no volatility: now, at expiry or where it is stationary."""
    drift = loss - gain
    # a maximum between now and the end: the inner price falls and the outer one does too, or both rise and it more
    turns = ((drift > 1e-12) & (gain > 0)) | ((drift < -1e-12) & (gain < 0))
    ratio = jnp.where(turns, loss, 1.0) / jnp.where(turns, gain, 1.0)
    stationary = (jnp.log(ratio) + log_inner) / jnp.where(turns, drift, 1.0)
    between = jnp.where(turns, jnp.clip(stationary, 0.0, expiry), 0.0)

    def payoff(at: Array) -> Array:
        return jnp.exp(-gain * at) - jnp.exp(log_inner - loss * at)

    return jnp.maximum(jnp.maximum(-jnp.expm1(log_inner), payoff(expiry)), payoff(between))


@partial(jax.jit, static_argnums=0, static_argnames="block")
def in_blocks(fn: Callable[..., Array], *arrays: Array, block: tuple[int, int] = _BLOCK) -> Array:
    """`fn` of the arrays, broadcast and flattened, at most `block` numbers at a time, by platform: `[b]` to `[b]`.

    >>> in_blocks(jnp.add, jnp.ones((2, 1)), jnp.ones(3)).shape
    (2, 3)
    """
    shape = jnp.broadcast_shapes(*(jnp.shape(x) for x in arrays))
    size = int(np.prod(shape))
    if not size:
        return jnp.zeros(shape, arrays[0].dtype)
    flat = [jnp.broadcast_to(x, shape).ravel() for x in arrays]
    number = -(-size // side_by_side(*block))
    length = -(-size // number)
    rows = tuple(jnp.pad(x, (0, number * length - size), mode="edge").reshape(number, length) for x in flat)
    return jax.lax.map(lambda row: fn(*row), rows).ravel()[:size].reshape(shape)
