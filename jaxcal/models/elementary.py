"""Sine, cosine and arc tangent for long arrays: polynomials, which vectorise where XLA calls the C library element by
element. Accurate to rounding.
"""

import math

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

# Half of pi in three parts whose multiples below 2^21 (2^12 in single precision) are exact but for the last, so that
# subtracting them loses nothing (W. Cody and W. Waite, Software Manual for the Elementary Functions, 1980).
_QUARTER = {
    np.dtype(np.float64): (1.5707963267341256, 6.07710050359346e-11, 2.912732056093356e-20),
    np.dtype(np.float32): (1.5703125, 0.0004837512969970703, 7.549789954891882e-08),
}
# Interpolants at Chebyshev points: (sin(x) / x - 1) / x^2 and (cos(x) - 1 + x^2 / 2) / x^4 in x^2 up to (pi / 4)^2,
# and (arctan(x) / x - 1) / x^2 in x^2 up to tan(pi / 8)^2.
_SINE = (
    -0.16666666666666666, 0.008333333333333331, -0.00019841269841265065, 2.7557319219339167e-06,
    -2.5052106232447578e-08, 1.6058531618986147e-10, -7.586697117706918e-13,
)  # fmt: skip
_COSINE = (
    0.041666666666666664, -0.0013888888888888887, 2.4801587301584645e-05, -2.7557319221402824e-07,
    2.087675579108042e-09, -1.1470460887609959e-11, 4.7458719020432915e-14,
)  # fmt: skip
_ARCTANGENT = (
    -0.3333333333333312, 0.19999999999940893, -0.14285714279250245, 0.11111110744919658, -0.09090896809064027,
    0.07692045330902225, -0.06662951813629191, 0.05846878297330872, -0.05035102456601552, 0.03796525745386593,
    -0.017805397205419446,
)  # fmt: skip


# pi in three parts likewise
_PI = (3.141592651605606, 1.9841871583270443e-09, 1.034036596358821e-18)


def sine(x: Float[Array, "..."]) -> Float[Array, "..."]:
    """sin(x), for |x| below about a million; less work than `sine_cosine` where the cosine is not wanted.

    Example:
        >>> print(f"{sine(jnp.asarray(2.0)):.15f}")
        0.909297426825682
    """
    turns = jnp.floor(x * (1.0 / math.pi) + 0.5)
    for part in _PI:
        x = x - turns * part
    square = x * x
    series = jnp.full_like(x, 1.0 / math.factorial(21))
    for n in range(19, 0, -2):
        series = (-1.0) ** (n // 2) / math.factorial(n) + series * square
    odd = turns - 2.0 * jnp.floor(0.5 * turns)
    return x * series * (1.0 - 2.0 * odd)


@jax.custom_jvp
def sine_cosine(x: Float[Array, "*s"]) -> tuple[Float[Array, "*s"], Float[Array, "*s"]]:
    """sin(x) and cos(x), for |x| below about a million.

    Example:
        >>> print(*(f"{value:.12f}" for value in sine_cosine(jnp.asarray(2.0))))
        0.909297426826 -0.416146836547
    """
    turns = jnp.floor(x * (2.0 / math.pi) + 0.5)  # Triton has no `round`
    for part in _QUARTER[np.dtype(x.dtype)]:
        x = x - turns * part
    x = jnp.clip(x, -1.0, 1.0)  # the sine of an argument too large to be reduced is unknown, but bounded
    square = x * x
    sine = x + x * square * _polynomial(_SINE, square)
    cosine = 1.0 - 0.5 * square + square * square * _polynomial(_COSINE, square)
    quadrant = turns - 4.0 * jnp.floor(0.25 * turns)
    swapped = (quadrant == 1.0) | (quadrant == 3.0)
    sign_sine = jnp.where(quadrant >= 2.0, -1.0, 1.0).astype(x.dtype)
    sign_cosine = jnp.where((quadrant == 1.0) | (quadrant == 2.0), -1.0, 1.0).astype(x.dtype)
    return sign_sine * jnp.where(swapped, cosine, sine), sign_cosine * jnp.where(swapped, sine, cosine)


@sine_cosine.defjvp
def _sine_cosine_jvp(primals: tuple[Array], tangents: tuple[Array]) -> tuple[tuple[Array, Array], tuple[Array, Array]]:
    sine, cosine = sine_cosine(primals[0])
    return (sine, cosine), (cosine * tangents[0], -sine * tangents[0])


@jax.custom_jvp
def arctangent(y: Float[Array, "*s"], x: Float[Array, "*s"]) -> Float[Array, "*s"]:
    """The angle of the point (x, y) in (-pi, pi]; NaN at the origin.

    Example:
        >>> print(f"{arctangent(jnp.asarray(1.0), jnp.asarray(-1.0)):.12f}")
        2.356194490192
    """
    above, right = jnp.abs(y), jnp.abs(x)
    low, high = jnp.minimum(above, right), jnp.maximum(above, right)
    # beyond tan(pi / 8) the angle is turned by pi / 4
    turned = low > (math.sqrt(2.0) - 1.0) * high
    slope = jnp.where(turned, low - high, low) / jnp.where(turned, low + high, high)
    square = slope * slope
    angle = jnp.where(turned, 0.25 * math.pi, 0.0) + (slope + slope * square * _polynomial(_ARCTANGENT, square))
    angle = jnp.where(above > right, 0.5 * math.pi - angle, angle)
    angle = jnp.where(x < 0, math.pi - angle, angle)
    return jnp.where(y < 0, -angle, angle).astype(x.dtype)


@arctangent.defjvp
def _arctangent_jvp(primals: tuple[Array, Array], tangents: tuple[Array, Array]) -> tuple[Array, Array]:
    (y, x), (dy, dx) = primals, tangents
    return arctangent(y, x), (x * dy - y * dx) / (x * x + y * y)


def _polynomial(coefficients: tuple[float, ...], x: Float[Array, "*s"]) -> Float[Array, "*s"]:
    value = jnp.full_like(x, coefficients[-1])
    for coefficient in coefficients[-2::-1]:
        value = coefficient + value * x
    return value
