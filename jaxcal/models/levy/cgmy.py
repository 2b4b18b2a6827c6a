"""CGMY (Carr, Geman, Madan and Yor 2002): tempered stable jumps, the same power on both sides."""

from collections.abc import Mapping
from typing import Any, ClassVar

import jax.numpy as jnp
from jax.scipy.special import gammaln
from jaxtyping import Array, Complex, Float

from jaxcal._types import BoolLike
from jaxcal.models.base import AbstractFourierModel
from jaxcal.models.complex_math import divide, log1p
from jaxcal.models.interval import Interval


class CGMY(AbstractFourierModel):
    """The Levy process with jump density c exp(-g |x|) / |x|^(1+y) to the left and c exp(-m x) / x^(1+y) to the right,
    with the drift that makes exp X a martingale.

    y = 0 is variance gamma; y < 0 jumps finitely often (the price then stands still with positive probability), y in
    [0, 1) infinitely often with finite variation, y in [1, 2) with infinite variation. All are one smooth formula here.

    Args:
        c: overall activity of jumps, per year.
        g: exponential decay rate of jumps down, positive.
        m: exponential decay rate of jumps up, above 1 (the price has no mean otherwise; at 1 it has one, but no
            derivative in m, and the model is refused).
        y: fine structure, below 2.

    Raises:
        ValueError: on construction with numbers outside the domain, as every model.

    References:
        P. Carr, H. Geman, D. Madan, M. Yor, Journal of Business 75 (2002) 305-332, theorem 1. The price below is that
        of F. Fang and C. Oosterlee, SIAM J. Sci. Comput. 31 (2008) 826-848, table 9.

    Example:
        >>> import jax; jax.config.update("jax_enable_x64", True)
        >>> import jaxcal as jc
        >>> model = jc.CGMY(c=1.0, g=5.0, m=5.0, y=0.5)
        >>> round(float(jc.price(model, 100.0, 1.0, forward=110.517091808, discount=0.904837418)), 6)
        19.812949
    """

    c: Float[Array, "*batch"] | float
    g: Float[Array, "*batch"] | float
    m: Float[Array, "*batch"] | float
    y: Float[Array, "*batch"] | float

    # c last, in units in which it is the variance a year
    bounds: ClassVar[Mapping[str, Interval]] = {
        "g": Interval(0.05, 500.0, "log"),
        "m": Interval(1.01, 500.0, "log"),
        "y": Interval(-5.0, 1.98, "linear"),
        "c": Interval(1e-6, 25.0, "log", unit=lambda model: _per_variance(model.g, model.m, model.y)),
    }

    def log_cf(self, z: Complex[Array, "*shape"], t: Float[Array, "*#shape"]) -> Complex[Array, "*shape"]:
        """With R(e) = ((1 + e)^y - 1 - y e) / (y (y - 1)), the compensated exponent is
        c Gamma(2 - y) (m^y (R(-iz/m) - iz R(-1/m)) + g^y (R(iz/g) - iz R(1/g))).
        """
        real = jnp.real(z).dtype
        c, g, m, y = (jnp.asarray(p).astype(real) for p in (self.c, self.g, self.m, self.y))
        activity = c * _gamma(y)
        per_g, per_m, power = (x.astype(z.dtype) for x in (1.0 / g, 1.0 / m, y))
        right = _remainder(-1j * z * per_m, power) - 1j * z * _remainder(-per_m, power)
        left = _remainder(1j * z * per_g, power) - 1j * z * _remainder(per_g, power)
        return t.astype(z.dtype) * (
            (activity * m**y).astype(z.dtype) * right + (activity * g**y).astype(z.dtype) * left
        )

    def moment_bounds(self, t: Float[Array, "*shape"]) -> tuple[Float[Array, "*shape"], Float[Array, "*shape"]]:
        return -jnp.full_like(t, self.g), jnp.full_like(t, self.m)

    def decay_cone(self) -> tuple[Float[Array, ""], Float[Array, ""]]:
        """ln |phi(r e^(iw))| falls like -r^y cos(y w), about the drift where y < 1."""
        half = jnp.pi / 2 / jnp.maximum(jnp.asarray(self.y), 1.0)
        return -half, half

    def drift(self, t: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
        """Less the mean of the jumps in exp X, where they have finite variation (y < 1); 0 otherwise."""
        c, g, m, y = (jnp.asarray(p, t.dtype) for p in (self.c, self.g, self.m, self.y))
        finite = y < 1
        y = jnp.where(finite, y, 0.5)
        nonzero = jnp.where(jnp.abs(y) < 1e-8, 1e-8, y)
        jumps = m**y * jnp.expm1(nonzero * jnp.log1p(-1.0 / m)) + g**y * jnp.expm1(nonzero * jnp.log1p(1.0 / g))
        return jnp.where(finite, t * c * _gamma(y) / (1.0 - y) * jumps / nonzero, 0.0)

    def violations(self) -> Mapping[str, BoolLike]:
        return {
            "c must be positive": self.c <= 0,
            "g must be positive": self.g <= 0,
            "m must be above 1": self.m <= 1,
            "y must be below 2": self.y >= 2,
        }


def _gamma(y: Array) -> Array:
    """Gamma(2 - y)."""
    return jnp.exp(gammaln(2.0 - y))


def _per_variance(g: Any, m: Any, y: Any) -> Any:
    """c for a variance of 1 a year."""
    g, m, y = jnp.asarray(g), jnp.asarray(m), jnp.asarray(y)
    return 1.0 / (_gamma(y) * (g ** (y - 2.0) + m ** (y - 2.0)))


def _remainder(e: Array, y: Array) -> Array:
    """((1 + e)^y - 1 - y e) / (y (y - 1)): smooth in y, 0 and 1 included, and second order in e.

    With y0 the nearer of 0 and 1, (1 + e)^y = (1 + e)^y0 exp((y - y0) ln(1 + e)), and what does not depend on y - y0
    is cancelled analytically.
    """
    small = jnp.abs(e) < 0.02
    h = jnp.where(small, e, 0.0)
    # sum over n >= 2 of (y - 2) ... (y - n + 1) / n! e^n
    series = 1.0 + h * (y - 8.0) * (1.0 / 9.0)
    for n in range(8, 2, -1):
        series = 1.0 + h * (y - (n - 1.0)) * (1.0 / n) * series
    log = log1p(jnp.where(small, 1.0, e))
    upper = jnp.real(y) > 0.5
    growth = log * _mean_exp(jnp.where(upper, y - 1.0, y) * log)
    closed = jnp.where(upper, (1.0 + e) * growth - e, growth - e)
    below = jnp.where(upper, y, y - 1.0)
    return divide(jnp.where(small, 0.5 * h * h * series, closed), jnp.where(small, 1.0, below))


def _mean_exp(x: Array) -> Array:
    """(exp(x) - 1) / x, by its series where the derivatives of the closed form cancel."""
    small = jnp.abs(x) < 0.02
    h = jnp.where(small, x, 0.0)
    series = 1.0 + h / 8
    for n in range(7, 1, -1):
        series = 1.0 + h / n * series
    return divide(jnp.where(small, series, jnp.expm1(x)), jnp.where(small, 1.0, x))
