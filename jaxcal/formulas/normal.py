"""The normal distribution where Black's formula needs it: far in the tail, and as a difference that cancels.

Everything rests on Mills' ratio M(z) = (1 - Phi(z)) / phi(z), which varies slowly: 1.25 at 0, about 1/z far out.
"""

import math

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

ROOT_TWO_PI = math.sqrt(2.0 * math.pi)

# M(z) for z >= -3/8 as a polynomial in w = (z - 4.5) / (z + 5.25), which maps [-3/8, inf) to [-1, 1): the Chebyshev
# series of M in w, computed with 50 digits, cut after 26 terms and rewritten in powers of w. What was cut is below
# 2e-18, and below 1e-15 in its slope. The change of variable is that of M. Shepherd and J. Laframboise, "Chebyshev
# approximation of (1 + 2x) exp(x^2) erfc x in 0 <= x < infinity", Mathematics of Computation 36 (1981).
DOMAIN_START = -0.375
_POLE = 5.25
_SCALE = 2.0 * (_POLE + DOMAIN_START)
_COEFFICIENTS = (
    0.21257058044203178, -0.4234657831058552, 0.39049900164477, -0.3098732387935028, 0.2094150881276855,
    -0.11814224183518708, 0.05353492692928189, -0.01787691716794738, 0.003276772129903626, 0.0004401148003373657,
    -0.0004858041678049215, 8.824258978354963e-05, 3.764237054948023e-05, -1.8956446459449925e-05,
    -2.0473570026665986e-06, 2.988242105393161e-06, 2.2917469191286638e-08, -4.6994781824797463e-07,
    1.3528291956327705e-08, 7.824377238135418e-08, -1.7268364726121082e-09, -1.3125382955770118e-08,
    -3.781450150431965e-11, 1.874347954998983e-09, 2.8024872259763236e-11, -1.5674325354894032e-10,
)  # fmt: skip


def mills_ratio(z: Float[Array, "..."]) -> Float[Array, "..."]:
    """Mills' ratio (1 - Phi(z)) / phi(z) for z >= -3/8."""
    w = 1.0 - _SCALE / (z + _POLE)
    ratio = jnp.full_like(w, _COEFFICIENTS[-1])
    for coefficient in _COEFFICIENTS[-2::-1]:
        ratio = ratio * w + coefficient
    return ratio


def mills_drop(z: Float[Array, "..."], gap: Float[Array, "..."]) -> tuple[Float[Array, "..."], Float[Array, "..."]]:
    """M(z) and M(z) - M(z + gap) for z >= -3/8, gap >= 0, the second without cancellation however small the gap.

    Horner's rule for a polynomial carries its divided difference along: if `slope` is the divided difference of `ratio`
    between w and v, that of `ratio * w + c` is `slope * v + ratio`. And w - v is known exactly from the gap.
    """
    near, far = z + _POLE, z + gap + _POLE
    inverse = _SCALE / (near * far)
    w, v = 1.0 - far * inverse, 1.0 - near * inverse
    ratio, slope = jnp.full_like(w, _COEFFICIENTS[-1]), jnp.zeros_like(w)
    for coefficient in _COEFFICIENTS[-2::-1]:
        slope = slope * v + ratio
        ratio = ratio * w + coefficient
    return ratio, -slope * (gap * inverse)


def normal_pdf(d: Float[Array, "..."]) -> Float[Array, "..."]:
    """Standard normal density."""
    return jnp.exp(-0.5 * d * d) * (1.0 / ROOT_TWO_PI)


@jax.custom_jvp
def normal_cdf(d: Float[Array, "..."]) -> Float[Array, "..."]:
    """Standard normal distribution function, with full relative accuracy in the left tail."""
    tail = normal_pdf(d) * mills_ratio(jnp.abs(d))
    return jnp.where(d > 0, 1.0 - tail, tail)


@normal_cdf.defjvp
def _normal_cdf_jvp(primals: tuple[Array], tangents: tuple[Array]) -> tuple[Array, Array]:
    (d,), (d_dot,) = primals, tangents
    return normal_cdf(d), normal_pdf(d) * d_dot
