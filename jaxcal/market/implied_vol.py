"""Black implied volatility: the inverse of `black_price`, without a search.

P. Jaeckel, "Let's Be Rational", Wilmott 75 (2015): a closed-form start good to some per cent, then a fixed number of
Householder steps on the logarithm of the out-of-the-money value, or, where that is more than half of its upper bound,
of the distance to the bound. Both are nearly linear in what is sought, and both are formed from the price without
loss: in-the-money quotes lose their intrinsic value first, in compensated arithmetic.
"""

import math

import jax
import jax.numpy as jnp
from jax.custom_derivatives import SymbolicZero
from jaxtyping import Array, Float

from jaxcal._types import BoolLike, RealLike, float_arrays
from jaxcal.market.black import _price, _vega, otm_core

_STEPS = 2
_ROOT_TWO_PI = math.sqrt(2.0 * math.pi)


def implied_vol(
    price: RealLike,
    strike: RealLike,
    expiry: RealLike,
    *,
    forward: RealLike,
    discount: RealLike = 1.0,
    is_call: BoolLike = True,
) -> Float[Array, "*quotes"]:
    """Volatility at which `black_price` gives `price` (Jaeckel 2015).

    All arguments broadcast. `price` is what one pays today, in the units of `forward` and `strike`; `expiry` in years;
    the result is a decimal per square root of year. float64 input is inverted to about 1e-15 relative, at any strike
    and for prices down to 1e-300 of the forward.

    The result is 0 where the price is exactly the discounted intrinsic value, and NaN where there is no volatility:
    a price below intrinsic value, at or above the upper bound (the discounted forward for a call, strike for a put),
    a strike, expiry, forward or discount that is not positive and finite, a NaN anywhere.

    The derivatives are those of the inverse function, to any order: 1 / vega with respect to `price`. They are infinite
    where the volatility is 0, and 0 where it is NaN, so that a masked quote does not spoil the gradient of a sum.

    >>> import jax.numpy as jnp
    >>> from jaxcal.market.implied_vol import implied_vol
    >>> print(f"{implied_vol(2.2101541436, 110.0, 0.5, forward=100.0, discount=0.99):.10f}")
    0.2000000000
    >>> implied_vol(jnp.array([10.0, 9.0]), 90.0, 0.5, forward=100.0)
    Array([ 0., nan], dtype=float64)
    """
    price, strike, expiry, forward, discount = float_arrays(price, strike, expiry, forward, discount)
    is_call = jnp.broadcast_to(is_call, price.shape)
    return _implied_vol(price, strike, expiry, forward, discount, is_call)


def _start(value: Array, room: Array, distance: Array, root_ratio: Array) -> Array:
    """Total volatility to within 12 per cent, from the value and its room to the upper bound, both over min(F, K).

    Up to half the bound: the Bachelier formula at the same value, N(a) / a = value / distance, is inverted for a, the
    distance in standard deviations, by a rational function with the right limits at both ends (0.8 per cent); Black's
    a solves a^2 + theta t^2 = A for Bachelier's A = a^2, where t = s / 2 and the weight theta goes from A / 3 to 1.
    Above: room = Phi(-d) (1 + R) with R = m(sqrt(d^2 + 2k)) / m(d), taken at d = 0; then d is a normal quantile
    (M. Abramowitz and I. Stegun, eq. 26.2.22) and s = d + sqrt(d^2 + 2k).
    """
    high = value > room
    scaled = value * root_ratio
    distance_low = jnp.maximum(distance, 0.01 * scaled)  # at the money a is 0 and value / distance infinite
    root = jnp.sqrt(distance)
    tail = room / (1.0 + 1.0 / (1.0 + root * (1.13 + root * 0.9)))
    log = -jnp.log(jnp.where(high, tail * tail, scaled / (scaled + distance_low * (1.0 / _ROOT_TWO_PI))))

    square = log * log * (1.0 + 0.357 * log) / (1.0 + log * (1.936 + 0.178 * log))
    theta = square / (square + 3.0 + jnp.sqrt(square))
    inner = jnp.sqrt(jnp.maximum(square * square - theta * distance_low * distance_low, 0.0))
    low_vol = distance_low / jnp.sqrt(0.5 * (square + inner))

    tau = jnp.sqrt(log)
    d = tau - (2.30753 + 0.27061 * tau) / (1.0 + tau * (0.99229 + 0.04481 * tau))
    return jnp.where(high, d + jnp.sqrt(d * d + 2.0 * distance), low_vol)


def _step(total_vol: Array, value: Array, room: Array, distance: Array) -> Array:
    """One Householder step of order 4 on log(model / target), the target being `room` where the value is too close.

    With v' the derivative of the value, ratio = v / v' and v'' / v' = curvature; the derivatives of log v are
    polynomials in these, and 1 - value only changes the sign of the ratio.
    """
    z, ratio, above = otm_core(distance, total_vol)
    error = jnp.log(ratio / (_ROOT_TWO_PI * jnp.where(above, room, value))) - 0.5 * z * z
    newton = jnp.where(above, ratio, -ratio) * error
    inverse = 1.0 / total_vol
    moneyness = distance * inverse
    square = moneyness * moneyness
    curvature = square * inverse - 0.25 * total_vol
    bend = -3.0 * square * inverse * inverse - 0.25
    drift = curvature * newton
    second = drift + error
    third = drift * drift + bend * newton * newton + 3.0 * drift * error + 2.0 * error * error
    return total_vol + newton * (1.0 + 0.5 * second) / (1.0 + second + third * (1.0 / 6.0))


@jax.custom_jvp
def _implied_vol(
    price: Array, strike: Array, expiry: Array, forward: Array, discount: Array, is_call: Array
) -> Array:
    worth = price / discount
    low, high = jnp.minimum(forward, strike), jnp.maximum(forward, strike)
    gap = high - low
    gap_error = (high - gap) - low
    in_the_money = is_call == (forward > strike)
    value = jnp.where(in_the_money, (worth - gap) - gap_error, worth) / low
    room = (jnp.where(is_call, forward, strike) - worth) / low
    distance = jnp.log1p(gap / low)

    total_vol = _start(value, room, distance, jnp.sqrt(low / high))
    for _ in range(_STEPS):
        total_vol = _step(total_vol, value, room, distance)

    vol = jnp.where(value == 0, 0.0, total_vol / jnp.sqrt(expiry))
    finite = jnp.isfinite(high) & jnp.isfinite(expiry) & jnp.isfinite(discount)
    valid = (value >= 0) & (room > 0) & (low > 0) & (expiry > 0) & (discount > 0) & finite
    return jnp.where(valid, vol, jnp.nan)


def _implied_vol_jvp(primals, tangents):  # noqa: ANN001, ANN202
    vol = _implied_vol(*primals)
    *inputs, is_call = primals
    alive = ~jnp.isnan(vol)
    safe_vol, price, strike, expiry, forward, discount = (jnp.where(alive, x, 1.0) for x in (vol, *inputs))
    price_dot, *others = (
        jnp.zeros_like(vol) if isinstance(t, SymbolicZero) else t for t in tangents[:-1]
    )
    if not all(isinstance(t, SymbolicZero) for t in tangents[1:-1]):
        _, moved = jax.jvp(
            lambda K, T, F, D: _price(safe_vol, K, T, F, D, is_call), (strike, expiry, forward, discount), tuple(others)
        )
        price_dot = price_dot - moved
    slope = price_dot / _vega(safe_vol, strike, expiry, forward, discount)
    return vol, jnp.where(alive, slope, 0.0)


_implied_vol.defjvp(_implied_vol_jvp, symbolic_zeros=True)
