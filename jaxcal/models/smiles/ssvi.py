"""SSVI: one family of hyperbolas for the whole surface, free of static arbitrage within its bounds.

J. Gatheral and A. Jacquier, "Arbitrage-free SVI volatility surfaces", Quantitative Finance 14 (2014) 59-71. The
at-the-money total variance theta(t) and a function phi of it give total variance at log-strike k = ln(K / F) (eq. 4.1):

    w(k, t) = theta / 2 (1 + rho phi k + sqrt((phi k + rho)^2 + 1 - rho^2)).

There is no calendar arbitrage where theta rises and 0 <= d(theta phi)/d theta <= phi (1 + sqrt(1 - rho^2)) / rho^2
(theorem 4.1), and no butterfly arbitrage where theta phi (1 + |rho|) < 4 and theta phi^2 (1 + |rho|) <= 4 (theorem
4.2). Both hold for every theta within the bounds of the two models here, so a calibration needs no penalty.
"""

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxcal._types import BoolLike, RealLike, float_arrays
from jaxcal.models.base import AbstractVolModel
from jaxcal.models.interval import Interval
from jaxcal.models.smiles.svi import Smile, hyperbola, log_strike, vol_of

_VARIANCE = Interval(1e-6, 25.0, "log")
_RHO = Interval(-0.999, 0.999, "linear")


class AbstractSSVI(AbstractVolModel):
    """A surface of smiles w(k, theta(t)). Subclass it with `knots`, `variance`, `rho` among the fields, and give `phi`.

    Attributes:
        knots: `[n]` increasing expiries, years: the ends of n intervals of time, of which the first starts at 0 and
            the last has no end. Not a parameter.
        variance: `[n]` at-the-money forward variance of each interval, per year. Its integral is theta.
        rho: correlation of the returns with the variance, in (-1, 1).

    Example:
        >>> issubclass(SSVI, AbstractSSVI)
        True
    """

    knots: eqx.AbstractVar[Float[Array, "..."]]
    variance: eqx.AbstractVar[Float[Array, "..."]]
    rho: eqx.AbstractVar[Float[Array, "..."] | float]

    vectors: ClassVar[frozenset[str]] = frozenset({"knots", "variance"})

    @abstractmethod
    def phi(self, theta: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
        """Steepness of the wings, in units of 1 / log-strike, where the at-the-money total variance is `theta`."""

    def theta(self, expiry: RealLike) -> Float[Array, "..."]:
        """At-the-money total variance at an expiry in years: the integral of the forward variance."""
        knots, variance, t = float_arrays(self.knots, self.variance, expiry)
        start = jnp.concatenate([jnp.zeros_like(knots[:1]), knots[:-1]])
        end = jnp.concatenate([knots[:-1], jnp.full_like(knots[:1], jnp.inf)])
        start, end, variance = (x.reshape((1,) * t.ndim + x.shape) for x in (start, end, variance))
        spent = jnp.clip(jnp.minimum(t[..., None], end) - start, 0.0)
        return jnp.sum(variance * spent, axis=-1)

    def smile(self, k: RealLike, expiry: RealLike) -> Smile:
        """Total variance at log-strikes `k` = ln(K / F) and expiries in years, with its first and second derivative in
        `k`; the arguments broadcast.
        """
        theta = self.theta(expiry)
        k, rho, theta, phi = float_arrays(k, self.rho, theta, self.phi(theta))
        k, theta, phi = jnp.broadcast_arrays(k, theta, phi)
        return ssvi_smile(k, theta, phi, rho)

    def total_variance(self, k: RealLike, expiry: RealLike) -> Float[Array, "..."]:
        """w at log-strikes `k` = ln(K / F) and expiries in years: variance times years."""
        return self.smile(k, expiry).w

    def durrleman(self, k: RealLike, expiry: RealLike) -> Float[Array, "..."]:
        """Durrleman's g at log-strikes `k` and expiries in years: negative where there is butterfly arbitrage."""
        smile = self.smile(k, expiry)
        return smile.durrleman(jnp.broadcast_to(jnp.asarray(k, smile.w.dtype), smile.w.shape))

    def vol(self, strike: RealLike, expiry: RealLike, forward: RealLike) -> Float[Array, "..."]:
        """Black volatilities, decimal. NaN where strike, forward or expiry is not positive."""
        k, years = log_strike(strike, expiry, forward)
        return vol_of(self.total_variance(k, expiry), years)


class SSVI(AbstractSSVI):
    """SSVI with the power law phi(theta) = eta / (theta^gamma (1 + theta)^(1 - gamma)) (eq. 4.5).

    No static arbitrage within the bounds: gamma in [0, 1/2], and the largest eta for which theorem 4.2 holds at every
    theta. With gamma = 1/2 that is eta <= 2 / sqrt(1 + |rho|); the paper's remark, eta (1 + |rho|) <= 2, is narrower.

    Args:
        knots: `[n]` increasing expiries, years; not a parameter.
        variance: `[n]` at-the-money forward variance per year, up to each knot, the last also beyond.
        rho: correlation, in (-1, 1), of the returns with the variance.
        eta: steepness.
        gamma: how fast the wings flatten with total variance; 1/2 is usual for equity.

    Raises:
        ValueError: outside `jit`, where knots are not positive and increasing, variance or eta is negative, rho not in
            (-1, 1), or gamma not in [0, 1]. Between the bounds and these, a surface may have arbitrage.

    Example:
        >>> import jax; jax.config.update("jax_enable_x64", True)
        >>> import jax.numpy as jnp
        >>> import jaxcal as jc
        >>> knots, variance = jnp.asarray([0.25, 1.0]), jnp.asarray([0.04, 0.05])
        >>> model = jc.SSVI(knots, variance, rho=-0.6, eta=1.0, gamma=0.4)
        >>> [round(float(v), 6) for v in model.vol(jnp.asarray([80.0, 100.0, 120.0]), 0.5, 100.0)]
        [0.276401, 0.212132, 0.173474]
    """

    knots: Float[Array, "..."]
    variance: Float[Array, "..."]
    rho: Float[Array, "*batch"] | float
    eta: Float[Array, "*batch"] | float
    gamma: Float[Array, "*batch"] | float

    bounds: ClassVar[Mapping[str, Interval]] = {
        "variance": _VARIANCE,
        "rho": _RHO,
        "gamma": Interval(0.0, 0.5, "linear"),
        "eta": Interval(1e-3, 1.0, "log", unit=lambda model: _steepest(model)),
    }

    def violations(self) -> Mapping[str, BoolLike]:
        return {
            **_term_structure_rules(self),
            "eta must not be negative": self.eta < 0,
            "gamma must lie in [0, 1]": (self.gamma < 0) | (self.gamma > 1),
        }

    def phi(self, theta: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
        eta, gamma, theta = float_arrays(self.eta, self.gamma, theta)
        return eta * jnp.exp(-gamma * jnp.log(theta) - (1.0 - gamma) * jnp.log1p(theta))


class SSVIHeston(AbstractSSVI):
    """SSVI with phi(theta) = (1 - (1 - exp(-x)) / x) / x, x = lambda theta: the term structure of Heston's skew.

    No static arbitrage within the bounds: lambda >= (1 + |rho|) / 4 (Gatheral and Jacquier 2014, section 4.1).

    Args:
        knots: `[n]` increasing expiries, years; not a parameter.
        variance: `[n]` at-the-money forward variance per year, up to each knot, the last also beyond.
        rho: correlation, in (-1, 1), of the returns with the variance.
        lam: lambda, how fast the wings flatten with total variance, positive.

    Raises:
        ValueError: outside `jit`, where knots are not positive and increasing, variance is negative, rho not in (-1,
            1), or lam not positive. Between the bounds and these, a surface may have arbitrage.

    Example:
        >>> import jax; jax.config.update("jax_enable_x64", True)
        >>> import jax.numpy as jnp
        >>> from jaxcal.models.smiles.ssvi import SSVIHeston
        >>> model = SSVIHeston(jnp.asarray([1.0]), jnp.asarray([0.04]), rho=-0.6, lam=2.0)
        >>> [round(float(v), 6) for v in model.vol(jnp.asarray([80.0, 100.0, 120.0]), 0.5, 100.0)]
        [0.206676, 0.2, 0.194668]
    """

    knots: Float[Array, "..."]
    variance: Float[Array, "..."]
    rho: Float[Array, "*batch"] | float
    lam: Float[Array, "*batch"] | float

    bounds: ClassVar[Mapping[str, Interval]] = {
        "variance": _VARIANCE,
        "rho": _RHO,
        "lam": Interval(1.0, 1e5, "log", unit=lambda model: 0.25 * (1.0 + abs(model.rho))),
    }

    def violations(self) -> Mapping[str, BoolLike]:
        return {**_term_structure_rules(self), "lam must be positive": self.lam <= 0}

    def phi(self, theta: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
        lam, theta = float_arrays(self.lam, theta)
        x = lam * theta
        small = x < 0.3
        h, far = jnp.where(small, x, 0.0), jnp.where(small, 1.0, x)
        # sum of (-x)^n / (n + 2)!, by Horner's rule
        series = jnp.ones_like(h)
        for n in range(13, 2, -1):
            series = 1.0 - h / n * series
        return jnp.where(small, 0.5 * series, (far + jnp.expm1(-far)) / (far * far))


def _steepest(model: Any) -> Array:
    """The largest eta of the power law that theorem 4.2 allows, for gamma in [0, 1/2].

    theta phi rises to eta, and theta phi^2 has its maximum eta^2 x^x (1 + x)^-(1 + x), x = 1 - 2 gamma, at theta = x.
    """
    rho, gamma = float_arrays(model.rho, model.gamma)
    skew = 1.0 + jnp.abs(rho)
    x = 1.0 - 2.0 * gamma
    inside = x > 0
    log_top = jnp.where(inside, x * jnp.log(jnp.where(inside, x, 1.0)), 0.0) - (1.0 + x) * jnp.log1p(x)
    return jnp.minimum(4.0 / skew, 2.0 * jnp.exp(-0.5 * log_top) / jnp.sqrt(skew))


def ssvi_smile(
    k: Float[Array, "*#s"], theta: Float[Array, "*#s"], phi: Float[Array, "*#s"], rho: Float[Array, "*#s"]
) -> Smile:
    """One smile of SSVI (eq. 4.1) and its derivatives in `k`, from at-the-money total variance, phi and rho.

    Example:
        >>> round(float(ssvi_smile(*(jnp.asarray(x) for x in (0.0, 0.04, 2.0, -0.5))).slope), 6)
        -0.04
    """
    room = (1.0 - rho) * (1.0 + rho)
    value, slope, curvature = hyperbola(phi * k + rho, rho, room)
    half = 0.5 * theta
    return Smile(half * (room + value), half * phi * slope, half * phi * phi * curvature)


def _term_structure_rules(model: AbstractSSVI) -> Mapping[str, BoolLike]:
    knots = model.knots
    return {
        "knots must rise from above 0": (knots[..., 0] <= 0) | (knots[..., 1:] <= knots[..., :-1]).any(-1),
        "variance must not be negative": (model.variance < 0).any(-1),
        "rho must lie in (-1, 1)": abs(model.rho) >= 1,
    }
