"""Black implied volatility: the inverse of `black_price`, in a fixed number of steps.

P. Jaeckel, "Let's Be Rational", Wilmott 75 (2015): a closed-form initial guess good to some per cent, then
Householder steps on the logarithm of the out-of-the-money value or, where that is too near its upper bound, of the
distance to the bound. Both logarithms are smooth and nearly linear where they are used, and both quantities are formed
from the price without loss: the intrinsic value of in-the-money quotes is subtracted in compensated arithmetic. The
closed form here is not the paper's: it needs one logarithm and no value of Black's formula.
"""

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.custom_derivatives import SymbolicZero
from jax.typing import ArrayLike
from jaxtyping import Array, Float, Int

from jaxcal._arguments import NumbersLike, SidesLike, named_only, numbers, sides
from jaxcal._types import float_arrays, float_dtype
from jaxcal.formulas.black import black_price, black_vega, otm_ratio
from jaxcal.formulas.normal import ROOT_TWO_PI, mills_ratio

# From a start within 4 per cent one step reaches 1e-6, two reach 1e-15, for any strike and any price above 1e-300.
STEPS = 2


@named_only
def implied_vol(
    price: NumbersLike,
    strike: NumbersLike,
    expiry: NumbersLike,
    *,
    forward: NumbersLike,
    discount: NumbersLike = 1.0,
    is_call: SidesLike = True,
) -> Float[Array, "*quotes"]:
    """Volatility at which `black_price` gives `price` (Jaeckel 2015).

    All arguments broadcast. `price` is what one pays today, in the units of `forward` and `strike`; `expiry` in years;
    the result is a decimal per square root of year. An undiscounted float64 price, taken as exact, is inverted to
    about 1e-15 relative, in or out of the money, at any strike, down to prices of 1e-300 of the forward.

    The result is 0 where the price is exactly the discounted intrinsic value, and NaN where there is no volatility:
    a price below intrinsic value, at or above the upper bound (the discounted forward for a call, strike for a put),
    a strike, expiry, forward or discount that is not positive and finite, a NaN anywhere.

    The derivatives are those of the inverse function, to any order: 1 / vega with respect to `price`. They are infinite
    where the volatility is 0, and 0 where it is NaN, so that a masked quote does not spoil the gradient of a sum.

    >>> import jax.numpy as jnp
    >>> from jaxcal.formulas.implied_vol import implied_vol
    >>> print(f"{implied_vol(2.1891339692, 110.0, 0.5, forward=100.0, discount=0.99):.10f}")
    0.2000000000
    >>> print(implied_vol(jnp.array([10.0, 9.0]), 90.0, 0.5, forward=100.0))
    [ 0. nan]
    """
    given = numbers(price=price, strike=strike, expiry=expiry, forward=forward, discount=discount)
    return _implied_vol(*float_arrays(*given), sides(is_call, *given))


def implied_vol_of_logs(
    log_value: Float[ArrayLike, "*#quotes"],
    log_room: Float[ArrayLike, "*#quotes"],
    log_strike: Float[ArrayLike, "*#quotes"],
    expiry: Float[ArrayLike, "*#quotes"],
) -> tuple[Float[Array, "*quotes"], Float[Array, "*quotes"], Float[Array, "*quotes"]]:
    """Volatility from the logarithm of an out-of-the-money value: where the value itself would underflow, and where its
    distance to the upper bound would be lost to rounding.

    Args:
        log_value: ln(v / min(F, K)), v the undiscounted out-of-the-money value.
        log_room: ln(1 - v / min(F, K)). Of the two, the one below about ln 0.6 is used.
        log_strike: ln(K / F).
        expiry: years.

    Returns:
        The volatility, decimal per square root of year; and the ratio of its relative error to a relative error of the
        value, and of the distance to the bound (0 for the one that is not used). NaN where the logarithms are not
        negative, where `expiry` is not positive, and where an argument is NaN. Derivatives as in `implied_vol`.

    Example:
        A value of exp(-242,000) of the forward: 11 % out of the money a minute before expiry.

        >>> vol, by_value, by_room = implied_vol_of_logs(-242_000.0, -0.0, 0.1, 1e-5)
        >>> f"{vol:.6f}", f"{by_value:.1e}"
        ('0.045457', '2.1e-06')
    """
    dtype = float_dtype(log_value, log_room, log_strike, expiry)
    arrays = (jnp.asarray(x, dtype) for x in (log_value, log_room, jnp.abs(log_strike), expiry))
    log_value, log_room, distance, expiry = jnp.broadcast_arrays(*arrays)
    valid = (jnp.maximum(log_value, log_room) <= 0) & (jnp.minimum(log_value, log_room) < 0)
    valid &= jnp.isfinite(log_value + log_room + distance + expiry) & (expiry > 0)
    # a placeholder where an argument is not valid: about half the bound, at the money
    half = (jnp.full_like(expiry, -0.7), jnp.full_like(expiry, -0.69), jnp.zeros_like(expiry), jnp.ones_like(expiry))
    log_value, log_room, distance, expiry = (
        jnp.where(valid, x, safe) for x, safe in zip((log_value, log_room, distance, expiry), half, strict=True)
    )
    total_vol = _inverse_of_logs(log_value, log_room, distance)
    _, ratio, above = otm_ratio(distance, jax.lax.stop_gradient(total_vol))
    by_either = jnp.where(valid, ratio / jax.lax.stop_gradient(total_vol), jnp.nan)
    vol = jnp.where(valid, total_vol / jnp.sqrt(expiry), jnp.nan)
    return vol, jnp.where(above, 0.0, by_either), jnp.where(above, by_either, 0.0)


def _start(
    value: Array, room: Array, distance: Array, root_ratio: Array, logs: tuple[Array, Array] | None = None
) -> Array:
    """Total volatility to within 4 per cent, from the value and its distance to the upper bound, both over min(F, K);
    where they may underflow, from their `logs` too.

    Up to half the bound: the Bachelier formula at the same value, N(a) / a = value / distance, is inverted for a, the
    distance in standard deviations, by a rational function with the right limits at both ends (0.8 per cent); Black's
    a solves a^2 + theta t^2 = A for Bachelier's A = a^2, where t = s / 2 and the weight theta goes from A / 3 to 1.
    Above it: room = Phi(-d) (1 + R) with R = m(sqrt(d^2 + 2k)) / m(d), which is near 1 / sqrt(1 + 1.4 k) wherever it
    matters; d is a normal quantile (M. Abramowitz and I. Stegun, eq. 26.2.22) and s = d + sqrt(d^2 + 2k). Strikes more
    than exp(12) away, and values near half the bound at more than exp(4.4), where s depends on A like a square root,
    use the same formula from below: value = Phi(-|d|) (1 - R), with R near 1 / sqrt(1 + 3.8 k).
    """
    high = value > room
    by_quantile = high | (distance > 12.0) | (distance * value > 2.2)
    scaled = value * root_ratio
    distance_low = jnp.maximum(distance, 0.01 * scaled)  # at the money a is 0 and value / distance infinite
    mills = 1.0 / jnp.sqrt(1.0 + jnp.where(high, 1.4, 3.8) * distance)  # R
    whole = jnp.where(by_quantile, 1.0 + jnp.where(high, mills, -mills), scaled + distance_low * (1.0 / ROOT_TWO_PI))
    if logs is None:
        part = jnp.where(by_quantile, jnp.where(high, room, value), scaled)
        log = -jnp.log(jnp.maximum(part / whole, float(jnp.finfo(value.dtype).tiny)))
    else:
        log_value, log_room = logs
        log = jnp.log(whole) - jnp.where(
            by_quantile, jnp.where(high, log_room, log_value), log_value + jnp.log(root_ratio)
        )

    square = log * log * (1.0 + 0.357 * log) / (1.0 + log * (1.936 + 0.178 * log))
    theta = square / (square + 3.0 + jnp.sqrt(square))
    inner = jnp.sqrt(jnp.maximum(square * square - theta * distance_low * distance_low, 0.0))
    by_distance = distance_low / jnp.sqrt(0.5 * (square + inner))

    tau = jnp.sqrt(2.0 * log)
    d = tau - (2.30753 + 0.27061 * tau) / (1.0 + tau * (0.99229 + 0.04481 * tau))
    reach = jnp.sqrt(d * d + 2.0 * distance)
    return jnp.where(by_quantile, jnp.where(high, reach + d, 2.0 * distance / (reach + d)), by_distance)


def _step(total_vol: Array, log_over: Callable[[Array, Array], Array], distance: Array) -> Array:
    """One Householder step, of fourth order, on log(model / target); the target is the room where `otm_ratio` says so.
    `log_over(ratio, above)` is ln(ratio / (sqrt(2 pi) target)).

    With v' = dv/ds, a = k/s and t = s/2, the Newton step on log v is -ratio * error, with the other sign for M - v, and
    v'' / v' = (a^2 - t^2) / s, whose derivative is -(3 a^2 + t^2) / s^2. `second` and `third` are the second and third
    derivatives of log v over the first, times powers of the Newton step: in these products no division by v is left.
    """
    z, ratio, above = otm_ratio(distance, total_vol)
    error = log_over(ratio, above) - 0.5 * z * z
    inverse = 1.0 / total_vol
    newton = jnp.where(above, ratio, -ratio) * error * inverse
    a, t = distance * inverse, 0.5 * total_vol
    a_squared, t_squared = a * a, t * t
    drift = (a_squared - t_squared) * newton
    second = drift + error
    third = drift * drift - (3.0 * a_squared + t_squared) * newton * newton + error * (3.0 * drift + 2.0 * error)
    return total_vol * (1.0 + newton * (1.0 + 0.5 * second) / (1.0 + second + third * (1.0 / 6.0)))


def _over(value: Array, room: Array) -> Callable[[Array, Array], Array]:
    """`log_over` of `_step`, for a value and a distance that do not underflow."""
    return lambda ratio, above: jnp.log(ratio / (ROOT_TWO_PI * jnp.where(above, room, value)))


@jax.custom_jvp
def _inverse(price: Array, strike: Array, expiry: Array, forward: Array, discount: Array, is_call: Array) -> Array:
    worth = price / discount
    low, high = jnp.minimum(forward, strike), jnp.maximum(forward, strike)
    gap = high - low
    rounding = (high - gap) - low  # gap + rounding is the exact difference (T. Dekker 1971)
    in_the_money = is_call == (forward > strike)
    value = jnp.where(in_the_money, (worth - gap) - rounding, worth) / low
    room = (jnp.where(is_call, forward, strike) - worth) / low
    distance = jnp.log1p(gap / low)

    total_vol = _start(value, room, distance, jnp.sqrt(low / high))
    for _ in range(STEPS):
        total_vol = _step(total_vol, _over(value, room), distance)

    vol = jnp.where(value == 0, 0.0, total_vol / jnp.sqrt(expiry))
    finite = jnp.isfinite(high) & jnp.isfinite(expiry) & jnp.isfinite(discount)
    valid = (value >= 0) & (room > 0) & (low > 0) & (expiry > 0) & (discount > 0) & finite
    return jnp.where(valid, vol, jnp.nan)


def _inverse_jvp(primals: tuple[Array, ...], tangents: tuple[Any, ...]) -> tuple[Array, Array]:
    """Implicit function theorem on black_price(vol, ...) = price; inputs without tangent cost nothing."""
    vol = _inverse(*primals)
    *inputs, is_call = primals
    alive = ~jnp.isnan(vol)
    safe_vol, _, *market = (jnp.where(alive, x, 1.0) for x in (vol, *inputs))
    price_dot, *market_dot = (jnp.zeros_like(vol) if isinstance(t, SymbolicZero) else t for t in tangents[:-1])
    if not all(isinstance(t, SymbolicZero) for t in tangents[1:-1]):

        def value(K: Array, T: Array, F: Array, D: Array) -> Array:
            return black_price(safe_vol, K, T, forward=F, discount=D, is_call=is_call)

        price_dot = price_dot - jax.jvp(value, market, market_dot)[1]
    strike, expiry, forward, discount = market
    slope = price_dot / black_vega(safe_vol, strike, expiry, forward=forward, discount=discount)
    return vol, jnp.where(alive, slope, 0.0)


_inverse.defjvp(_inverse_jvp, symbolic_zeros=True)


@jax.custom_jvp
def _inverse_of_logs(log_value: Array, log_room: Array, distance: Array) -> Array:
    """Total volatility."""

    def log_over(ratio: Array, above: Array) -> Array:
        return jnp.log(ratio) - jnp.where(above, log_room, log_value) - math.log(ROOT_TWO_PI)

    logs = (log_value, log_room)
    total_vol = _start(jnp.exp(log_value), jnp.exp(log_room), distance, jnp.exp(-0.5 * distance), logs)
    far = float(jnp.finfo(distance.dtype).eps) ** -0.25

    def improve(_: Int[ArrayLike, ""], total_vol: Array) -> Array:
        step = _step(total_vol, log_over, distance)
        # so many deviations away the terms of that step cancel to rounding, and ln v is linear in 1 / s^2
        deviations = distance / total_vol
        z, ratio, above = otm_ratio(distance, total_vol)
        grown = 1.0 + 2.0 * (log_over(ratio, above) - 0.5 * z * z) / jnp.square(jnp.maximum(deviations, far))
        return jnp.where(deviations > far, total_vol / jnp.sqrt(jnp.maximum(grown, 0.25)), step)

    # where the value underflows the start is no better than 6 per cent; in a loop, which is compiled once
    return jax.lax.fori_loop(0, STEPS + 1, improve, total_vol)


@_inverse_of_logs.defjvp
def _inverse_of_logs_jvp(
    primals: tuple[Array, Array, Array], tangents: tuple[Array, Array, Array]
) -> tuple[Array, Array]:
    """d(value) = M phi(z) (ds - m(z + s) dk), and value or room = M phi(z) ratio."""
    (_, _, distance), (log_value_dot, log_room_dot, distance_dot) = primals, tangents
    total_vol = _inverse_of_logs(*primals)
    _, ratio, above = otm_ratio(distance, total_vol)
    by_strike = mills_ratio(distance / total_vol + 0.5 * total_vol)
    return total_vol, ratio * jnp.where(above, -log_room_dot, log_value_dot) + by_strike * distance_dot


@jax.jit
def _implied_vol(price: Array, strike: Array, expiry: Array, forward: Array, discount: Array, is_call: Array) -> Array:
    return _inverse(*jnp.broadcast_arrays(price, strike, expiry, forward, discount, is_call))
