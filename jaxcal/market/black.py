"""Black-76: the price of a European option on a forward, its out-of-the-money value and its vega.

F. Black, "The pricing of commodity contracts", Journal of Financial Economics 3 (1976), eq. 16. With s = vol sqrt(T),
k = |log(F / K)| and M = min(F, K), the out-of-the-money option is worth

    M (Phi(-z) - exp(k) Phi(-z - s)) = M phi(z) (m(z) - m(z + s)),    z = k / s - s / 2,  m = Mills' ratio,

and the second form has no cancellation: `mills_drop` takes the difference. Far above the money (z < -3/8) the small
quantity is M minus the price, M phi(z) (m(-z) + m(z + s)).
"""

import math

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from jaxcal._types import BoolLike, RealLike, float_arrays
from jaxcal.market.normal import DOMAIN_START, mills_drop, normal_cdf, normal_pdf

# Beyond this many standard deviations a density is zero in every dtype, but its products with d are still finite.
_FAR = 1e3


def black_price(
    vol: RealLike,
    strike: RealLike,
    expiry: RealLike,
    *,
    forward: RealLike,
    discount: RealLike = 1.0,
    is_call: BoolLike = True,
) -> Float[Array, "*quotes"]:
    """Price of a European call or put on a forward (Black 1976, eq. 16).

    All arguments broadcast. `vol` is a decimal per square root of year, `expiry` in years; `strike` and the result are
    in the units of `forward`; `discount` is the value today of one unit paid at expiry. The out-of-the-money part keeps
    its relative accuracy as long as it can be represented, and intrinsic value is added to it.

    The result is NaN where `vol` or `expiry` is negative, where `strike` or `forward` is not positive, and where an
    argument is NaN. First and second derivatives are finite everywhere else; where the true one is infinite or does not
    exist (`expiry` zero; second derivatives at `vol` zero with `strike` at the forward) it is reported as 0.

    >>> import jax.numpy as jnp
    >>> from jaxcal.market.black import black_price
    >>> print(f"{black_price(0.2, 110.0, 0.5, forward=100.0, discount=0.99):.10f}")
    2.2101541436
    """
    vol, strike, expiry, forward, discount = float_arrays(vol, strike, expiry, forward, discount)
    is_call = jnp.broadcast_to(is_call, vol.shape)
    return _price(vol, strike, expiry, forward, discount, is_call)


def black_otm(
    vol: RealLike, strike: RealLike, expiry: RealLike, *, forward: RealLike
) -> Float[Array, "*quotes"]:
    """Undiscounted Black price of whichever of call and put is out of the money: the put below the forward.

    Arguments, units and NaN as in `black_price`.

    >>> print(f"{black_otm(0.2, 150.0, 0.01, forward=100.0):.10e}")
    8.9838018803e-93
    """
    vol, strike, expiry, forward = float_arrays(vol, strike, expiry, forward)
    return _price(vol, strike, expiry, forward, jnp.ones_like(vol), strike >= forward)


def black_vega(
    vol: RealLike,
    strike: RealLike,
    expiry: RealLike,
    *,
    forward: RealLike,
    discount: RealLike = 1.0,
) -> Float[Array, "*quotes"]:
    """Derivative of `black_price` with respect to `vol`: discount x forward x phi(d1) x sqrt(expiry).

    Per unit of volatility, not per point; the same for call and put. Arguments, units and NaN as in `black_price`.

    >>> print(f"{black_vega(0.2, 110.0, 0.5, forward=100.0, discount=0.99):.10f}")
    22.6478837541
    """
    vol, strike, expiry, forward, discount = float_arrays(vol, strike, expiry, forward, discount)
    return _vega(vol, strike, expiry, forward, discount)


def log_moneyness(forward: Float[Array, "*q"], strike: Float[Array, "*q"]) -> Float[Array, "*q"]:
    """log(forward / strike), to full relative accuracy at and near the money."""
    return _log_moneyness(forward, strike)


@jax.custom_jvp
def _log_moneyness(forward: Array, strike: Array) -> Array:
    low, high = jnp.minimum(forward, strike), jnp.maximum(forward, strike)
    distance = jnp.log1p((high - low) / low)
    return jnp.where(forward < strike, -distance, distance)


@_log_moneyness.defjvp
def _log_moneyness_jvp(primals: tuple[Array, Array], tangents: tuple[Array, Array]) -> tuple[Array, Array]:
    (forward, strike), (forward_dot, strike_dot) = primals, tangents
    return _log_moneyness(forward, strike), forward_dot / forward - strike_dot / strike


def otm_core(distance: Float[Array, "*q"], total_vol: Float[Array, "*q"]) -> tuple[Array, Array, Array]:
    """What the out-of-the-money value and its inverse share, at log-distance k = |log(F/K)| and s = vol sqrt(T) > 0.

    Returns `(z, ratio, above)`: z = k/s - s/2; `above` where z < -3/8; `ratio` = v / (M phi(z)), with v the value, or M
    minus the value where `above`. With respect to s, M phi(z) is the derivative of the value.
    """
    moneyness, half = distance / total_vol, 0.5 * total_vol
    z = moneyness - half
    above = z < DOMAIN_START
    near, drop = mills_drop(jnp.where(above, -z, z), jnp.where(above, 2.0 * moneyness, total_vol))
    return z, jnp.where(above, 2.0 * near - drop, drop), above


def _regular(distance: Array, total_vol: Array) -> Array:
    """Where the total volatility is neither zero nor too small to reach the strike."""
    return (total_vol > math.sqrt(float(jnp.finfo(total_vol.dtype).tiny))) & (distance < _FAR * total_vol)


def _d1_d2(total_vol: Array, strike: Array, forward: Array) -> tuple[Array, Array]:
    """The two arguments of Black's formula; +-1000 where they are infinite, 0 at zero volatility at the money."""
    x = _log_moneyness(forward, strike)
    regular = _regular(jnp.abs(x), total_vol)
    safe = jnp.where(regular, total_vol, 1.0)
    limit = _FAR * jnp.sign(x)
    return jnp.where(regular, x / safe + 0.5 * safe, limit), jnp.where(regular, x / safe - 0.5 * safe, limit)


def _root(expiry: Array) -> Array:
    """Square root of a time with a finite derivative at zero."""
    alive = expiry > 0
    root = jnp.where(alive, jnp.sqrt(jnp.where(alive, expiry, 1.0)), 0.0)
    return jnp.where(expiry >= 0, root, jnp.nan)


@jax.custom_jvp
def _undiscounted(total_vol: Array, strike: Array, forward: Array, is_call: Array) -> Array:
    low = jnp.minimum(forward, strike)
    distance = jnp.abs(_log_moneyness(forward, strike))
    regular = _regular(distance, total_vol)
    z, ratio, above = otm_core(distance, jnp.where(regular, total_vol, 1.0))
    part = normal_pdf(z) * ratio
    otm = jnp.where(regular, low * jnp.where(above, 1.0 - part, part), 0.0)
    intrinsic = jnp.where(is_call == (forward > strike), jnp.abs(forward - strike), 0.0)
    valid = (total_vol >= 0) & (strike > 0) & (forward > 0)
    return jnp.where(valid, intrinsic + otm, jnp.nan)


@_undiscounted.defjvp
def _undiscounted_jvp(
    primals: tuple[Array, Array, Array, Array], tangents: tuple[Array, Array, Array, Array]
) -> tuple[Array, Array]:
    total_vol, strike, forward, is_call = primals
    total_vol_dot, strike_dot, forward_dot, _ = tangents
    d1, d2 = _d1_d2(total_vol, strike, forward)
    sign = jnp.where(is_call, jnp.ones_like(d1), -jnp.ones_like(d1))
    slope = sign * (normal_cdf(sign * d1) * forward_dot - normal_cdf(sign * d2) * strike_dot)
    return _undiscounted(*primals), slope + forward * normal_pdf(d1) * total_vol_dot


@jax.jit
def _price(vol: Array, strike: Array, expiry: Array, forward: Array, discount: Array, is_call: Array) -> Array:
    return discount * _undiscounted(vol * _root(expiry), strike, forward, is_call)


@jax.jit
def _vega(vol: Array, strike: Array, expiry: Array, forward: Array, discount: Array) -> Array:
    root = _root(expiry)
    d1, _ = _d1_d2(vol * root, strike, forward)
    valid = (vol >= 0) & (strike > 0) & (forward > 0)
    return jnp.where(valid, discount * forward * normal_pdf(d1) * root, jnp.nan)
