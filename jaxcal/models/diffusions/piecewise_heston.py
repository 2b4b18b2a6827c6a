"""Heston with parameters that are constant between given dates: one model for the smiles of all expiries."""

from collections.abc import Mapping, Sequence
from typing import ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Complex, Float

from jaxcal._types import BoolLike
from jaxcal.models.analytic.buckets import bucket_violations, check_buckets, lift, numbers, per_bucket, years_in_buckets
from jaxcal.models.analytic.critical_moments import CriticalMoments
from jaxcal.models.analytic.riccati import piecewise_heston_log_cf
from jaxcal.models.base import AbstractFourierModel
from jaxcal.models.diffusions.heston import Heston, heston_violations
from jaxcal.models.interval import Interval

_VARYING = ("kappa", "theta", "sigma", "rho")


class PiecewiseHeston(AbstractFourierModel):
    """Heston's model whose parameters change at the times `knots`: n - 1 knots make n buckets, the last without end.

    Each of kappa, theta, sigma and rho is one number, or one a bucket. A calibration keeps the shapes of its start:
    start it from a model whose fields to vary are vectors, such as `PiecewiseHeston.of(heston, knots)` makes. An
    option's price depends on the buckets before its expiry only, so put the knots at (some) expiries of the surface.

    Args:
        v0: variance today, per year.
        kappa: speed of mean reversion, per year; a number or `[n]`.
        theta: long-run variance, per year; a number or `[n]`.
        sigma: volatility of variance, per year; a number or `[n]`.
        rho: correlation of the returns with the variance, in (-1, 1); a number or `[n]`.
        knots: `[n - 1]` times in years, positive and increasing, at which parameters change. Not a parameter.

    Raises:
        ValueError: on construction with numbers outside the domain, as every model, or with vectors whose length does
            not fit the knots.

    References:
        S. Mikhailov, U. Noegel, "Heston's stochastic volatility model: implementation, calibration and some
        extensions", Wilmott (July 2003) 74-79, section 4; A. Elices, "Models with time-dependent parameters using
        transform methods" (2007), arXiv:0708.2020.

    Example:
        >>> import jax; jax.config.update("jax_enable_x64", True)
        >>> import jaxcal as jc
        >>> model = jc.PiecewiseHeston(0.04, 1.5, [0.04, 0.09], 0.7, [-0.7, -0.4], knots=[0.5])
        >>> [round(float(jc.model_vol(model, 90.0, years, forward=100.0)), 6) for years in (0.5, 2.0)]
        [0.216346, 0.23523]
    """

    v0: Float[Array, "..."] | float
    kappa: Float[Array, "..."] | float = eqx.field(converter=numbers)
    theta: Float[Array, "..."] | float = eqx.field(converter=numbers)
    sigma: Float[Array, "..."] | float = eqx.field(converter=numbers)
    rho: Float[Array, "..."] | float = eqx.field(converter=numbers)
    knots: Float[Array, "..."] = eqx.field(converter=numbers)

    bounds: ClassVar[Mapping[str, Interval]] = Heston.bounds
    vectors: ClassVar[frozenset[str]] = frozenset({*_VARYING, "knots"})

    def __check_init__(self) -> None:
        check_buckets(self, _VARYING)

    @classmethod
    def of(
        cls, model: Heston, knots: Sequence[float] | ArrayLike, vary: Sequence[str] = ("theta", "sigma", "rho")
    ) -> "PiecewiseHeston":
        """The same law as `model`, with the fields named in `vary` as vectors: a start for a calibration.

        Raises:
            ValueError: for a name in `vary` that cannot vary.

        Example:
            >>> import jaxcal as jc
            >>> jc.PiecewiseHeston.of(jc.Heston(0.04, 1.5, 0.06, 0.7, -0.65), [0.25, 1.0], vary=("rho",)).rho.tolist()
            [-0.65, -0.65, -0.65]
        """
        return cls(**lift(model, knots, vary, _VARYING), knots=knots)

    def log_cf(self, z: Complex[Array, "*shape"], t: Float[Array, "*#shape"]) -> Complex[Array, "*shape"]:
        dtype = jnp.real(z).dtype
        years = years_in_buckets(self.knots, t.astype(dtype), z.ndim)
        varying = (per_bucket(p, len(years), dtype) for p in (self.kappa, self.theta, self.sigma, self.rho))
        return piecewise_heston_log_cf(jnp.asarray(self.v0, dtype), *varying, z, years)

    def moment_bounds(self, t: Float[Array, "*shape"]) -> tuple[Float[Array, "*shape"], Float[Array, "*shape"]]:
        return piecewise_heston_moments(self.kappa, self.sigma, self.rho, self.knots, t)

    def decay_cone(self) -> tuple[Float[Array, ""], Float[Array, ""]]:
        """Where every bucket's part decays; see `Heston.decay_cone`."""
        turn = jnp.arcsin(jnp.asarray(self.rho))
        return jnp.max(-jnp.pi / 2 - turn), jnp.min(jnp.pi / 2 - turn)

    def violations(self) -> Mapping[str, BoolLike]:
        return bucket_violations(heston_violations(self.v0, self.kappa, self.theta, self.sigma, self.rho), self.knots)


def piecewise_heston_moments(
    kappa: ArrayLike, sigma: ArrayLike, rho: ArrayLike, knots: Float[Array, " m"], t: Float[Array, "*shape"]
) -> CriticalMoments:
    """Critical moments: where D, the coefficient of the variance, explodes before today.

    For real q outside [0, 1] it starts from 0 at `t` and solves dD/dtau = (q^2 - q) / 2 - (kappa - rho sigma q) D +
    sigma^2 D^2 / 2 backwards through the buckets; the explosion time from any D generalises L. Andersen and V.
    Piterbarg (Finance and Stochastics 11, 2007, proposition 3.1).
    """
    years = years_in_buckets(knots, t)
    parameters = tuple(per_bucket(p, len(years), t.dtype) for p in (kappa, sigma, rho))

    def infinite(q: Float[Array, "*shape"]) -> Array:
        def step(carry: tuple[Array, Array], bucket: tuple[Array, ...]) -> tuple[tuple[Array, Array], None]:
            level, gone = carry
            kappa, sigma, rho, tau = bucket
            beta, pull = kappa - rho * sigma * q, q * q - q
            square = beta * beta - sigma**2 * pull
            ahead = sigma**2 * level - beta
            oscillates = square < 0
            gamma = jnp.sqrt(jnp.where(oscillates, -square, 1.0))
            d = jnp.sqrt(jnp.where(square > 0, square, float(jnp.finfo(t.dtype).tiny) ** 0.5))
            # above its upper fixed point, or without one, D explodes
            rises = ahead > d
            gap = jnp.where(rises, ahead - d, 1.0)
            wait = jnp.where(rises, jnp.log1p(2.0 * d / gap) / d, jnp.inf)
            wait = jnp.where(oscillates, 2.0 / gamma * jnp.arctan2(gamma, ahead), wait)
            gone = gone | (wait <= tau)
            half = 0.5 * tau
            cosine = jnp.where(oscillates, jnp.cos(gamma * half), 1.0)
            sine = jnp.where(oscillates, jnp.sin(gamma * half) / gamma, jnp.tanh(d * half) / d)
            divisor = jnp.where(gone, 1.0, cosine - ahead * sine)
            level = jnp.where(gone, 0.0, level * (cosine - beta * sine) + pull * sine) / divisor
            return (level, gone), None

        start = (jnp.zeros_like(q), jnp.zeros(jnp.shape(q), bool))
        return jax.lax.scan(step, start, (*parameters, years), reverse=True)[0][1]

    return CriticalMoments.bisect(infinite, t)
