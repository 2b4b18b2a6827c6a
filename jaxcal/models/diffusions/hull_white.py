"""Stochastic interest rates (Hull and White 1990) beside Black-Scholes and Heston: for long-dated options."""

import math
from collections.abc import Mapping
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from jaxtyping import Array, Complex, Float

from jaxcal._types import BoolLike
from jaxcal.models.analytic.critical_moments import CriticalMoments
from jaxcal.models.base import AbstractFourierModel, LogCFBasis
from jaxcal.models.complex_math import Cartesian, real
from jaxcal.models.diffusions.heston import (
    Heston,
    heston_basis,
    heston_log_cf,
    heston_mix,
    heston_moments,
    heston_violations,
)
from jaxcal.models.interval import Interval

_RATE_BOUNDS = {"mean_reversion": Interval(1e-3, 5.0, "log"), "rate_vol": Interval(1e-5, 0.5, "log")}


class BlackScholesHullWhite(AbstractFourierModel):
    """Constant volatility of the stock under a Gaussian short rate: dS/S = r dt + sigma dW,
    dr = (level(t) - mean_reversion r) dt + rate_vol dB, d<W, B> = rate_correlation dt.

    The level fits today's discount curve, which the forwards and discount factors of the quotes already hold. What is
    left is a forward S / P(t, T) that moves with the bond too: X = ln(S_T / F) is Gaussian, with variance
    sigma^2 T + integral of 2 rate_correlation sigma rate_vol B + rate_vol^2 B^2, B(u) = (1 - exp(-mean_reversion u)) /
    mean_reversion. Prices of one expiry determine that variance only: hold the rate's parameters at what swaptions say
    (`free` of `calibrate`) unless the surface is long. With `rate_vol = 0` this is `BlackScholes`.

    Args:
        sigma: volatility of the stock, decimal, per square root of year.
        mean_reversion: speed of mean reversion of the short rate, per year; 0 (Ho-Lee) and less are lawful.
        rate_vol: volatility of the short rate, absolute (0.01 is 100 basis points), per square root of year.
        rate_correlation: correlation of the stock with the short rate, in [-1, 1].

    References:
        D. Brigo, F. Mercurio, "Interest Rate Models" (2nd edition, 2006), appendix B, equation (B.4); J. Hull, A.
        White, Review of Financial Studies 3 (1990) 573-592.

    Example:
        >>> import jax; jax.config.update("jax_enable_x64", True)
        >>> import jaxcal as jc
        >>> model = jc.BlackScholesHullWhite(sigma=0.2, mean_reversion=0.05, rate_vol=0.01, rate_correlation=0.3)
        >>> [round(float(jc.model_vol(model, 100.0, years, forward=100.0)), 4) for years in (0.1, 1.0, 10.0)]
        [0.2002, 0.2015, 0.2178]
    """

    sigma: Float[Array, "*batch"] | float
    mean_reversion: Float[Array, "*batch"] | float
    rate_vol: Float[Array, "*batch"] | float
    rate_correlation: Float[Array, "*batch"] | float

    held: ClassVar[frozenset[str]] = frozenset({"mean_reversion"})
    bounds: ClassVar[Mapping[str, Interval]] = {
        "sigma": Interval(1e-3, 10.0, "log"),
        **_RATE_BOUNDS,
        "rate_correlation": Interval(-0.999, 0.999),
    }

    def log_cf(self, z: Complex[Array, "*shape"], t: Float[Array, "*#shape"]) -> Complex[Array, "*shape"]:
        fields = (self.sigma, self.mean_reversion, self.rate_vol, self.rate_correlation)
        sigma, speed, rate_vol, correlation = (jnp.asarray(p).astype(t.dtype) for p in fields)
        bond, squared = _bond_integrals(speed, t)
        variance = sigma**2 * t + rate_vol * (2.0 * correlation * sigma * bond + rate_vol * squared)
        return -0.5 * variance.astype(z.dtype) * (z * z + 1j * z)

    def moment_bounds(self, t: Float[Array, "*shape"]) -> tuple[Float[Array, "*shape"], Float[Array, "*shape"]]:
        """A Gaussian has every moment."""
        return CriticalMoments.everything(t)

    def violations(self) -> Mapping[str, BoolLike]:
        return {
            "sigma must not be negative": self.sigma < 0,
            "rate_vol must not be negative": self.rate_vol < 0,
            "rate_correlation must lie in [-1, 1]": abs(self.rate_correlation) > 1,
        }


class HestonHullWhite(AbstractFourierModel):
    """Heston's stochastic variance under a Gaussian short rate that moves independently of stock and variance.

    dS/S = r dt + sqrt(v) dW, dv = kappa (theta - v) dt + sigma sqrt(v) dB, d<W, B> = rho dt,
    dr = (level(t) - mean_reversion r) dt + rate_vol dZ. The forward S / P(t, T) gains an independent Gaussian factor of
    variance rate_vol^2 times the integral of B^2, as in `BlackScholesHullWhite`; with `rate_vol = 0` this is `Heston`.

    Args:
        v0: variance today, per year.
        kappa: speed of mean reversion of the variance, per year.
        theta: long-run variance, per year.
        sigma: volatility of variance, per year.
        rho: correlation of the returns with the variance, in (-1, 1).
        mean_reversion: speed of mean reversion of the short rate, per year; 0 (Ho-Lee) and less are lawful.
        rate_vol: volatility of the short rate, absolute (0.01 is 100 basis points), per square root of year.

    References:
        L. Grzelak, C. Oosterlee, SIAM Journal on Financial Mathematics 2 (2011) 255-286, section 2, with the rate
        uncorrelated; J. Hull, A. White, Review of Financial Studies 3 (1990) 573-592.

    Example:
        >>> import jax; jax.config.update("jax_enable_x64", True)
        >>> import jaxcal as jc
        >>> heston = jc.Heston(v0=0.04, kappa=1.5, theta=0.06, sigma=0.7, rho=-0.65)
        >>> model = jc.HestonHullWhite(0.04, 1.5, 0.06, 0.7, -0.65, mean_reversion=0.05, rate_vol=0.015)
        >>> [round(float(jc.model_vol(m, 100.0, 10.0, forward=100.0)), 4) for m in (heston, model)]
        [0.2164, 0.2284]
    """

    v0: Float[Array, "*batch"] | float
    kappa: Float[Array, "*batch"] | float
    theta: Float[Array, "*batch"] | float
    sigma: Float[Array, "*batch"] | float
    rho: Float[Array, "*batch"] | float
    mean_reversion: Float[Array, "*batch"] | float
    rate_vol: Float[Array, "*batch"] | float

    held: ClassVar[frozenset[str]] = frozenset({"mean_reversion"})
    bounds: ClassVar[Mapping[str, Interval]] = {**Heston.bounds, **_RATE_BOUNDS}

    def log_cf(self, z: Complex[Array, "*shape"], t: Float[Array, "*#shape"]) -> Complex[Array, "*shape"]:
        fields = (self.v0, self.kappa, self.theta, self.sigma, self.rho)
        heston = heston_log_cf(*real(z, *fields), z, *real(z, t))
        return heston - 0.5 * self._rate_variance(t).astype(z.dtype) * (z * z + 1j * z)

    def _rate_variance(self, t: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
        """Of the forward, from the rate."""
        speed, rate_vol = (jnp.asarray(p).astype(t.dtype) for p in (self.mean_reversion, self.rate_vol))
        return rate_vol**2 * _bond_integrals(speed, t)[1]

    basis_size: ClassVar[int] = 6

    def basis(self, z: Cartesian, t: Float[Array, "*#shape"]) -> LogCFBasis:
        *parameters, years = real(z, self.v0, self.kappa, self.theta, self.sigma, self.rho, t)
        heston = heston_basis(parameters, z, years)
        normal = -0.5 * (z * z + 1j * z)
        return LogCFBasis(heston.log_cf + self._rate_variance(t).astype(z.re.dtype) * normal, (*heston.rows, normal))

    def mix(self, direction: Any, t: Float[Array, "*shape"]) -> tuple[Any, ...]:
        moves = (direction.v0, direction.kappa, direction.theta, direction.sigma, direction.rho)
        _, of_rate = jax.jvp(lambda model: model._rate_variance(t), (self,), (direction,))
        return *heston_mix((self.v0, self.kappa, self.theta, self.sigma, self.rho), moves), of_rate

    def moment_bounds(self, t: Float[Array, "*shape"]) -> tuple[Float[Array, "*shape"], Float[Array, "*shape"]]:
        """Those of Heston: a Gaussian factor has every moment."""
        return heston_moments(self.kappa, self.sigma, self.rho, t)

    def decay_cone(self) -> tuple[Float[Array, ""], Float[Array, ""]]:
        """Where both factors decay: Heston's cone, cut to the +-pi/4 of a Gaussian."""
        turn = jnp.arcsin(jnp.asarray(self.rho))
        quarter = jnp.pi / 4
        return jnp.maximum(-jnp.pi / 2 - turn, -quarter), jnp.minimum(jnp.pi / 2 - turn, quarter)

    def violations(self) -> Mapping[str, BoolLike]:
        rules = heston_violations(self.v0, self.kappa, self.theta, self.sigma, self.rho)
        return rules | {"rate_vol must not be negative": self.rate_vol < 0}


def _bond_integrals(
    speed: Float[Array, "..."], t: Float[Array, "*shape"]
) -> tuple[Float[Array, "*shape"], Float[Array, "*shape"]]:
    """The integrals of B and B^2 from 0 to t, B(u) = (1 - exp(-speed u)) / speed, by their series for small speed * t
    (where the closed forms divide a cancelled difference by its square and its cube).
    """
    x = speed * t
    small = jnp.abs(x) < 0.5
    h = jnp.where(small, x, 0.0)
    y = jnp.where(small, 1.0, x)
    fallen = jnp.expm1(-y)
    once, twice = jnp.zeros_like(h), jnp.zeros_like(h)
    for n in range(15, -1, -1):
        once = 1.0 / math.factorial(n + 2) - h * once
        twice = 2.0 ** (n + 2) * (1.0 - 2.0 ** -(n + 1)) / math.factorial(n + 3) - h * twice
    once = jnp.where(small, once, (y + fallen) / (y * y))
    twice = jnp.where(small, twice, (y + fallen - 0.5 * fallen * fallen) / y**3)
    return t * t * once, t**3 * twice
