"""Variance gamma (Madan, Carr and Chang 1998): Brownian motion with drift, time-changed by a gamma process."""

from collections.abc import Mapping
from typing import ClassVar

import jax.numpy as jnp
from jaxtyping import Array, Complex, Float

from jaxcal._types import BoolLike
from jaxcal.models.base import AbstractFourierModel
from jaxcal.models.complex_math import log1p
from jaxcal.models.interval import Interval


class VarianceGamma(AbstractFourierModel):
    """X_t = w t + theta G_t + sigma W(G_t), G a gamma process of mean t and variance nu t; w makes exp X a martingale.

    A pure jump process of finite variation: between jumps ln(S / F) moves by w alone, and the density at a short time
    peaks there, without bound where t < nu / 2.

    Args:
        sigma: volatility of the Brownian motion, decimal per square root of year of gamma time.
        nu: variance of gamma time per year, years.
        theta: drift of the Brownian motion, per year of gamma time; negative for a skew to the left.

    Raises:
        ValueError: on construction with numbers outside the domain, as every model; E[exp X] is finite where
            (theta + sigma^2 / 2) nu < 1.

    References:
        D. Madan, P. Carr, E. Chang, European Finance Review 2 (1998) 79-105, eq. 7 and 22.

    Example:
        >>> import jax; jax.config.update("jax_enable_x64", True)
        >>> import jaxcal as jc
        >>> model = jc.VarianceGamma(sigma=0.12, nu=0.2, theta=-0.14)
        >>> round(float(jc.price(model, 90.0, 1.0, forward=110.517, discount=0.904837)), 9)
        19.099267909
    """

    sigma: Float[Array, "*batch"] | float
    nu: Float[Array, "*batch"] | float
    theta: Float[Array, "*batch"] | float

    bounds: ClassVar[Mapping[str, Interval]] = {
        "sigma": Interval(1e-3, 10.0, "log"),
        "nu": Interval(1e-4, 20.0, "log"),
        "theta": Interval(-10.0, 5.0, "linear"),
    }

    def log_cf(self, z: Complex[Array, "*shape"], t: Float[Array, "*#shape"]) -> Complex[Array, "*shape"]:
        sigma, nu, theta, t = (jnp.asarray(p).astype(z.dtype) for p in (self.sigma, self.nu, self.theta, t))
        clock = log1p(nu * (0.5 * sigma**2 * z * z - 1j * theta * z))
        return t / nu * (1j * z * log1p(-nu * (theta + 0.5 * sigma**2)) - clock)

    def moment_bounds(self, t: Float[Array, "*shape"]) -> tuple[Float[Array, "*shape"], Float[Array, "*shape"]]:
        """The roots of 1 - nu (theta q + sigma^2 q^2 / 2)."""
        sigma, nu, theta = (jnp.asarray(p, t.dtype) for p in (self.sigma, self.nu, self.theta))
        larger = jnp.abs(theta) + jnp.sqrt(theta**2 + 2.0 * sigma**2 / nu)
        far, near = larger / sigma**2, 2.0 / (nu * larger)  # neither cancels
        lower, upper = jnp.where(theta > 0, -far, -near), jnp.where(theta > 0, near, far)
        return jnp.broadcast_to(lower, t.shape), jnp.broadcast_to(upper, t.shape)

    def decay_cone(self) -> tuple[Float[Array, ""], Float[Array, ""]]:
        """About the drift: phi(z) exp(-i z drift) falls like a power of z in the half-plane."""
        return jnp.asarray(-jnp.pi / 2), jnp.asarray(jnp.pi / 2)

    def drift(self, t: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
        sigma, nu, theta = (jnp.asarray(p, t.dtype) for p in (self.sigma, self.nu, self.theta))
        return t / nu * jnp.log1p(-nu * (theta + 0.5 * sigma**2))

    def violations(self) -> Mapping[str, BoolLike]:
        return {
            "sigma must be positive": self.sigma <= 0,
            "nu must be positive": self.nu <= 0,
            "(theta + sigma^2 / 2) nu must be below 1": (self.theta + 0.5 * self.sigma * self.sigma) * self.nu >= 1,
        }
