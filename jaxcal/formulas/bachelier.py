"""Bachelier: the price of a European option on a forward with normal increments, which may be negative.

L. Bachelier, "Theorie de la speculation" (1900). With s = vol sqrt(T) and d = |F - K| / s, the out-of-the-money option
is worth s (phi(d) - d Phi(-d)) = -s phi(d) m'(d), m being Mills' ratio; the second form does not cancel.
"""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxcal._arguments import NumbersLike, SidesLike, named_only, numbers, sides
from jaxcal._types import float_arrays
from jaxcal.formulas.normal import mills_ratio, normal_cdf, normal_pdf


@named_only
def bachelier_price(
    vol: NumbersLike,
    strike: NumbersLike,
    expiry: NumbersLike,
    *,
    forward: NumbersLike,
    discount: NumbersLike = 1.0,
    is_call: SidesLike = True,
) -> Float[Array, "*quotes"]:
    """Price of a European call or put on a forward that is normally distributed (Bachelier 1900).

    All arguments broadcast. `vol` is the normal volatility, in the units of `forward` per square root of year; `expiry`
    in years; `strike` and `forward` have one unit and any sign. NaN where `vol` or `expiry` is negative, and where an
    argument is NaN.

    >>> from jaxcal.formulas.bachelier import bachelier_price
    >>> print(f"{bachelier_price(0.008, -0.002, 2.0, forward=-0.001):.10f}")
    0.0050311361
    """
    given = numbers(vol=vol, strike=strike, expiry=expiry, forward=forward, discount=discount)
    return _price(*float_arrays(*given), sides(is_call, *given))


@jax.jit
def _price(vol: Array, strike: Array, expiry: Array, forward: Array, discount: Array, is_call: Array) -> Array:
    vol, strike, expiry, forward, discount, is_call = jnp.broadcast_arrays(
        vol, strike, expiry, forward, discount, is_call
    )
    alive = expiry > 0
    root = jnp.where(alive, jnp.sqrt(jnp.where(alive, expiry, 1.0)), jnp.where(expiry == 0, 0.0, jnp.nan))
    return discount * _undiscounted(jnp.where(vol >= 0, vol, jnp.nan) * root, strike, forward, is_call)


@jax.custom_jvp
def _undiscounted(total_vol: Array, strike: Array, forward: Array, is_call: Array) -> Array:
    gap = jnp.abs(forward - strike)
    regular = total_vol > 0
    safe = jnp.where(regular, total_vol, 1.0)
    d = gap / safe
    slope = jax.jvp(mills_ratio, (d,), (jnp.ones_like(d),))[1]
    otm = jnp.where(regular, -safe * normal_pdf(d) * slope, 0.0 * total_vol)
    return otm + jnp.where(is_call == (forward > strike), gap, 0.0)


@_undiscounted.defjvp
def _undiscounted_jvp(primals: tuple[Array, ...], tangents: tuple[Any, ...]) -> tuple[Array, Array]:
    # delta = +-Phi(+-d) and vega = phi(d) hold on both sides of the strike
    total_vol, strike, forward, is_call = primals
    total_vol_dot, strike_dot, forward_dot, _ = tangents
    regular = total_vol > 0
    centre = (forward - strike) / jnp.where(regular, total_vol, 1.0)
    d = jnp.where(regular, centre, 1e3 * jnp.sign(forward - strike))
    sign = jnp.where(is_call, jnp.ones_like(d), -jnp.ones_like(d))
    slope = sign * normal_cdf(sign * d) * (forward_dot - strike_dot)
    return _undiscounted(*primals), slope + normal_pdf(d) * total_vol_dot
