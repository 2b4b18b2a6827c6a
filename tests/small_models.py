"""Models for tests of what does not depend on the model: a fit compiles quickly, and its answer is in a textbook."""

from typing import ClassVar

import jax.numpy as jnp
from jaxtyping import Array, Float

import jaxcal as jc
from jaxcal.models.base import LogCFBasis


class Line(jc.AbstractVolModel):
    """A volatility that is linear in log-moneyness, the same for all expiries."""

    level: Float[Array, "..."] | float
    slope: Float[Array, "..."] | float
    bounds = {"level": jc.Interval(0.01, 2.0, "log"), "slope": jc.Interval(-1.0, 1.0)}  # noqa: RUF012

    def vol(self, strike, expiry, forward):
        return self.level + self.slope * jnp.log(strike / forward) + 0.0 * expiry


class Flat(jc.AbstractVolModel):
    """One volatility for all, as of `BlackScholes`, whose values would be integrals."""

    sigma: Float[Array, "..."] | float
    bounds = {"sigma": jc.Interval(0.01, 5.0, "log")}  # noqa: RUF012

    def vol(self, strike, expiry, forward):
        return self.sigma + 0.0 * strike * expiry


class Lines(jc.AbstractVolModel):
    """One such line an expiry."""

    level: Float[Array, "..."] | float
    slope: Float[Array, "..."] | float
    bounds = Line.bounds
    per_expiry = True

    def vol(self, strike, expiry, forward):
        return Line(self.level, self.slope).vol(strike, expiry, forward)


class Parabola(jc.AbstractVolModel):
    """A volatility that is quadratic in log-moneyness; its parameters have the names of Feller's condition."""

    kappa: Float[Array, "..."] | float
    theta: Float[Array, "..."] | float
    sigma: Float[Array, "..."] | float
    bounds = {  # noqa: RUF012
        "kappa": jc.Interval(0.01, 5.0, "log"),
        "theta": jc.Interval(0.01, 2.0, "log"),
        "sigma": jc.Interval(0.01, 5.0, "log"),
    }

    def vol(self, strike, expiry, forward):
        x = jnp.log(strike / forward)
        return self.theta - self.kappa * x + self.sigma * x * x + 0.0 * expiry


class BlackByBasis(jc.AbstractFourierModel):
    """Black's law with a basis of one function, for tests that change one of its methods."""

    sigma: Float[Array, "..."] | float
    bounds = {"sigma": jc.Interval(0.01, 3.0, "log")}  # noqa: RUF012
    basis_size: ClassVar[int] = 1

    def log_cf(self, z, t):
        return -0.5 * jnp.asarray(self.sigma**2 * t).astype(z.dtype) * (z * z + 1j * z)

    def basis(self, z, t):
        quadratic = z * z + 1j * z
        return LogCFBasis((-0.5 * self.sigma**2 * t) * quadratic, (quadratic,))

    def mix(self, direction, t):
        return (-self.sigma * direction.sigma * t,)
