"""Black-76: the price of a European option on a forward, its out-of-the-money value and its vega.

F. Black, "The pricing of commodity contracts", Journal of Financial Economics 3 (1976), eq. 16. With s = vol sqrt(T),
k = |log(F / K)| and M = min(F, K), the out-of-the-money option is worth

    M (Phi(-z) - exp(k) Phi(-z - s)) = M phi(z) (m(z) - m(z + s)),    z = k / s - s / 2,  m = Mills' ratio,

and the second form does not cancel: `mills_drop` takes the difference. Where z < -3/8 the formula is the same with the
distance to the upper bound, M minus the value, which is M phi(z) (m(-z) + m(z + s)).
"""

import math

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxcal._arguments import NumbersLike, SidesLike, named_only, numbers, sides
from jaxcal._types import float_arrays
from jaxcal.formulas.normal import DOMAIN_START, mills_drop, normal_cdf, normal_pdf

# Beyond this many standard deviations a density is 0 in every dtype, while its products with d, d^2 ... stay finite.
_FAR = 1e3


@named_only
def black_price(
    vol: NumbersLike,
    strike: NumbersLike,
    expiry: NumbersLike,
    *,
    forward: NumbersLike,
    discount: NumbersLike = 1.0,
    is_call: SidesLike = True,
) -> Float[Array, "*quotes"]:
    """Price of a European call or put on a forward (Black 1976, eq. 16).

    All arguments broadcast. `vol` is a decimal per square root of year, `expiry` in years; `strike` and the result are
    in the units of `forward`; `discount` is the value today of one unit paid at expiry. The out-of-the-money part keeps
    its relative accuracy as long as it can be represented, and intrinsic value is added to it.

    The result is NaN where `vol` or `expiry` is negative, where `strike` or `forward` is not positive and finite, and
    where an argument is NaN. Everywhere else first and second derivatives are finite; those that are truly infinite
    (in `expiry` at 0; of second order at `vol` 0 with the strike at the forward) are reported as 0.

    >>> from jaxcal.formulas.black import black_price
    >>> print(f"{black_price(0.2, 110.0, 0.5, forward=100.0, discount=0.99):.10f}")
    2.1891339692
    """
    given = numbers(vol=vol, strike=strike, expiry=expiry, forward=forward, discount=discount)
    return _price(*float_arrays(*given), sides(is_call, *given))


@named_only
def black_otm(
    vol: NumbersLike, strike: NumbersLike, expiry: NumbersLike, *, forward: NumbersLike
) -> Float[Array, "*quotes"]:
    """Undiscounted Black price of whichever of call and put is out of the money: the put below the forward.

    Arguments, units and NaN as in `black_price`.

    >>> print(f"{black_otm(0.2, 150.0, 0.01, forward=100.0):.10e}")
    1.3316709838e-92
    """
    vol, strike, expiry, forward = float_arrays(*numbers(vol=vol, strike=strike, expiry=expiry, forward=forward))
    return _price(vol, strike, expiry, forward, jnp.ones_like(vol), strike >= forward)


@named_only
def black_vega(
    vol: NumbersLike, strike: NumbersLike, expiry: NumbersLike, *, forward: NumbersLike, discount: NumbersLike = 1.0
) -> Float[Array, "*quotes"]:
    """Derivative of `black_price` with respect to `vol`: discount x forward x phi(d1) x sqrt(expiry).

    Per unit of volatility, not per point; the same for call and put. Arguments, units and NaN as in `black_price`.

    >>> print(f"{black_vega(0.2, 110.0, 0.5, forward=100.0, discount=0.99):.10f}")
    23.2815699241
    """
    given = numbers(vol=vol, strike=strike, expiry=expiry, forward=forward, discount=discount)
    return _vega(*float_arrays(*given))


def otm_ratio(distance: Float[Array, "*q"], total_vol: Float[Array, "*q"]) -> tuple[Array, Array, Array]:
    """The Black formula without its density, at log-distance k = |log(F/K)| >= 0 and s = vol sqrt(T) > 0.

    Returns `(z, ratio, above)`: z = k/s - s/2; `above`, whether z < -3/8; `ratio` = v / (M phi(z)) with M = min(F, K)
    and v the out-of-the-money value, or M minus that value where `above`. M phi(z) is also dv/ds.
    """
    moneyness, half = distance / total_vol, 0.5 * total_vol
    z = moneyness - half
    above = z < DOMAIN_START
    near, drop = mills_drop(jnp.where(above, -z, z), jnp.where(above, 2.0 * moneyness, total_vol))
    return z, jnp.where(above, 2.0 * near - drop, drop), above


@jax.custom_jvp
def log_moneyness(forward: Float[Array, "*q"], strike: Float[Array, "*q"]) -> Float[Array, "*q"]:
    """log(forward / strike), to full relative accuracy at and near the money."""
    low, high = jnp.minimum(forward, strike), jnp.maximum(forward, strike)
    distance = jnp.log1p((high - low) / low)
    return jnp.where(forward < strike, -distance, distance)


@log_moneyness.defjvp
def _log_moneyness_jvp(primals: tuple[Array, Array], tangents: tuple[Array, Array]) -> tuple[Array, Array]:
    (forward, strike), (forward_dot, strike_dot) = primals, tangents
    return log_moneyness(forward, strike), forward_dot / forward - strike_dot / strike


def _negligible(x: Array) -> float:
    """The largest volatility or time that counts as zero: second derivatives above it do not overflow."""
    return math.sqrt(float(jnp.finfo(x.dtype).tiny))


def _regular(distance: Array, total_vol: Array) -> Array:
    """Where there is volatility and it can reach the strike."""
    return (total_vol > _negligible(total_vol)) & (distance < _FAR * total_vol)


def _d1_d2(total_vol: Array, strike: Array, forward: Array) -> tuple[Array, Array]:
    """The two arguments of Black's formula; where they are infinite +-1000, and 0 at the money without volatility."""
    x = log_moneyness(forward, strike)
    regular = _regular(jnp.abs(x), total_vol)
    safe = jnp.where(regular, total_vol, 1.0)
    centre = x / safe
    limit = _FAR * jnp.sign(x)
    return jnp.where(regular, centre + 0.5 * safe, limit), jnp.where(regular, centre - 0.5 * safe, limit)


def _time_root(expiry: Array) -> Array:
    """Square root with derivative 0 at 0."""
    alive = expiry > _negligible(expiry)
    root = jnp.where(alive, jnp.sqrt(jnp.where(alive, expiry, 1.0)), 0.0)
    return jnp.where(expiry >= 0, root, jnp.nan)


@jax.custom_jvp
def _undiscounted(total_vol: Array, strike: Array, forward: Array, is_call: Array) -> Array:
    low = jnp.minimum(forward, strike)
    distance = jnp.abs(log_moneyness(forward, strike))
    regular = _regular(distance, total_vol)
    z, ratio, above = otm_ratio(distance, jnp.where(regular, total_vol, 1.0))
    part = normal_pdf(z) * ratio
    otm = jnp.where(regular, low * jnp.where(above, 1.0 - part, part), 0.0)
    intrinsic = jnp.where(is_call == (forward > strike), jnp.abs(forward - strike), 0.0)
    valid = (total_vol >= 0) & (low > 0) & jnp.isfinite(distance)
    return jnp.where(valid, intrinsic + otm, jnp.nan)


@_undiscounted.defjvp
def _undiscounted_jvp(
    primals: tuple[Array, Array, Array, Array], tangents: tuple[Array, Array, Array, Array]
) -> tuple[Array, Array]:
    # Delta = Phi(d1) for a call, -Phi(-d1) for a put; vega = F phi(d1). They hold on both sides of the strike, so the
    # kinks of `minimum` and `abs` above never show, and their own derivatives are those of Phi and phi.
    total_vol, strike, forward, is_call = primals
    total_vol_dot, strike_dot, forward_dot, _ = tangents
    d1, d2 = _d1_d2(total_vol, strike, forward)
    sign = jnp.where(is_call, jnp.ones_like(d1), -jnp.ones_like(d1))
    slope = sign * (normal_cdf(sign * d1) * forward_dot - normal_cdf(sign * d2) * strike_dot)
    return _undiscounted(*primals), slope + forward * normal_pdf(d1) * total_vol_dot


@jax.jit
def _price(vol: Array, strike: Array, expiry: Array, forward: Array, discount: Array, is_call: Array) -> Array:
    vol, strike, expiry, forward, discount, is_call = jnp.broadcast_arrays(
        vol, strike, expiry, forward, discount, is_call
    )
    total_vol = jnp.where(vol >= 0, vol, jnp.nan) * _time_root(expiry)
    return discount * _undiscounted(total_vol, strike, forward, is_call)


@jax.jit
def _vega(vol: Array, strike: Array, expiry: Array, forward: Array, discount: Array) -> Array:
    vol, strike, expiry, forward, discount = jnp.broadcast_arrays(vol, strike, expiry, forward, discount)
    root = _time_root(expiry)
    d1, _ = _d1_d2(vol * root, strike, forward)
    valid = (vol >= 0) & (strike > 0) & (forward > 0) & jnp.isfinite(forward) & jnp.isfinite(strike)
    return jnp.where(valid, discount * forward * normal_pdf(d1) * root, jnp.nan)
