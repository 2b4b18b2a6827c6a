"""Black-Scholes: constant volatility."""

from collections.abc import Mapping
from typing import ClassVar

import jax.numpy as jnp
from jaxtyping import Array, Complex, Float

from jaxcal._types import BoolLike
from jaxcal.models.analytic.critical_moments import CriticalMoments
from jaxcal.models.base import AbstractFourierModel
from jaxcal.models.interval import Interval


class BlackScholes(AbstractFourierModel):
    """Geometric Brownian motion with constant volatility `sigma` (decimal, per square root of year).

    Example:
        >>> import jax; jax.config.update("jax_enable_x64", True)
        >>> import jaxcal as jc
        >>> round(float(jc.price(jc.BlackScholes(0.2), 100.0, 1.0, forward=100.0)), 6)
        7.965567
    """

    sigma: Float[Array, "*batch"] | float

    bounds: ClassVar[Mapping[str, Interval]] = {"sigma": Interval(1e-3, 10.0, "log")}

    def log_cf(self, z: Complex[Array, "*shape"], t: Float[Array, "*#shape"]) -> Complex[Array, "*shape"]:
        variance = (jnp.asarray(self.sigma, t.dtype) ** 2 * t).astype(z.dtype)
        return -0.5 * variance * (z * z + 1j * z)

    def moment_bounds(self, t: Float[Array, "*shape"]) -> tuple[Float[Array, "*shape"], Float[Array, "*shape"]]:
        return CriticalMoments.everything(t)

    def violations(self) -> Mapping[str, BoolLike]:
        return {"sigma must not be negative": self.sigma < 0}
