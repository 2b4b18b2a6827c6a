"""Models for tests of what does not depend on the model: a fit compiles quickly, and its answer is in a textbook."""

import jax.numpy as jnp
from jaxtyping import Array, Float

import jaxcal as jc


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
