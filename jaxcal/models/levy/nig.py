"""NIG (Barndorff-Nielsen 1997): the normal inverse Gaussian process."""

from collections.abc import Mapping
from typing import ClassVar

import jax.numpy as jnp
from jaxtyping import Array, Complex, Float

from jaxcal._types import BoolLike
from jaxcal.models.base import AbstractFourierModel
from jaxcal.models.complex_math import divide, reciprocal, sqrt
from jaxcal.models.interval import Interval


class NIG(AbstractFourierModel):
    """X_t = w t + NIG(alpha, beta, delta t), w such that exp X is a martingale: Brownian motion with drift,
    time-changed by an inverse Gaussian process.

    Args:
        alpha: steepness of the tails, per unit of log price; above |beta| and at least beta + 1.
        beta: asymmetry, per unit of log price; the left tail decays at rate alpha + beta, the right with alpha - beta.
        delta: scale, units of log price per year; the variance a year is delta alpha^2 / (alpha^2 - beta^2)^(3/2).

    Raises:
        ValueError: on construction with numbers outside the domain, as every model.

    References:
        O. Barndorff-Nielsen, Finance and Stochastics 2 (1997) 41-68, eq. 2.4.

    Example:
        >>> import jax; jax.config.update("jax_enable_x64", True)
        >>> import jaxcal as jc
        >>> model = jc.NIG(alpha=15.0, beta=-5.0, delta=0.5)
        >>> round(float(jc.price(model, 100.0, 1.0, forward=100.0)), 9)
        7.669629268
    """

    alpha: Float[Array, "*batch"] | float
    beta: Float[Array, "*batch"] | float
    delta: Float[Array, "*batch"] | float

    # in units that keep a search inside the domain: beta first, then alpha over the minimum that beta allows, then the
    # variance a year
    bounds: ClassVar[Mapping[str, Interval]] = {
        "beta": Interval(-100.0, 50.0, "linear"),
        "alpha": Interval(1.001, 1e3, "log", unit=lambda model: abs(model.beta + 0.5) + 0.5),
        # in units of the delta for a variance of 1 a year
        "delta": Interval(
            1e-6, 25.0, "log", unit=lambda m: ((m.alpha - m.beta) * (m.alpha + m.beta)) ** 1.5 / m.alpha**2
        ),
    }

    def log_cf(self, z: Complex[Array, "*shape"], t: Float[Array, "*#shape"]) -> Complex[Array, "*shape"]:
        """With S(z) = sqrt(alpha^2 - (beta + i z)^2), differences of S and of its compensator taken by
        a - b = (a^2 - b^2) / (a + b): they leave the factor z^2 + iz, so that nothing cancels.
        """
        alpha, beta, delta, t = (jnp.asarray(p).astype(z.dtype) for p in (self.alpha, self.beta, self.delta, t))
        at_0 = sqrt((alpha - beta) * (alpha + beta))
        at_minus_i = sqrt((alpha - beta - 1.0) * (alpha + beta + 1.0))
        root = sqrt((alpha - beta - 1j * z) * (alpha + beta + 1j * z))
        skew = 2.0 * beta + 1.0
        both = at_minus_i + root
        both = jnp.where(both == 0, 1.0, both)  # z = -i where alpha = beta + 1: z^2 + iz vanishes
        bend = at_0 + at_minus_i + skew * divide(skew + 1j * z, both)
        return -t * delta * (z * z + 1j * z) * bend * reciprocal((at_0 + root) * (at_0 + at_minus_i))

    def moment_bounds(self, t: Float[Array, "*shape"]) -> tuple[Float[Array, "*shape"], Float[Array, "*shape"]]:
        alpha, beta = (jnp.asarray(p, t.dtype) for p in (self.alpha, self.beta))
        return jnp.full_like(t, -(alpha + beta)), jnp.full_like(t, alpha - beta)

    def decay_cone(self) -> tuple[Float[Array, ""], Float[Array, ""]]:
        """ln |phi(r e^(iw))| falls like -t r (delta cos w + drift rate sin w), up to the cuts on the imaginary axis."""
        turn = jnp.arctan2(self._drift_rate(), jnp.asarray(self.delta, self._drift_rate().dtype))
        half = jnp.pi / 2
        return jnp.maximum(-half, turn - half), jnp.minimum(half, turn + half)

    def drift(self, t: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
        """The w t of the definition: at short times the density peaks there, with width delta t."""
        return self._drift_rate().astype(t.dtype) * t

    def _drift_rate(self) -> Float[Array, "*batch"]:
        alpha, beta, delta = (jnp.asarray(p) for p in (self.alpha, self.beta, self.delta))
        roots = jnp.sqrt((alpha - beta) * (alpha + beta)) + jnp.sqrt((alpha - beta - 1.0) * (alpha + beta + 1.0))
        return -delta * (2.0 * beta + 1.0) / roots

    def violations(self) -> Mapping[str, BoolLike]:
        return {
            "alpha must be above |beta|": self.alpha <= abs(self.beta),
            "alpha must be at least beta + 1": self.alpha < self.beta + 1,
            "delta must be positive": self.delta <= 0,
        }
