"""Bates with parameters that are constant between given dates."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Complex, Float

from jaxcal._types import BoolLike
from jaxcal.models.analytic.buckets import bucket_violations, check_buckets, lift, numbers, per_bucket, years_in_buckets
from jaxcal.models.analytic.critical_moments import CriticalMoments
from jaxcal.models.analytic.given_jumps import WithNormal
from jaxcal.models.analytic.riccati import piecewise_heston_log_cf
from jaxcal.models.base import AbstractFourierModel, JumpKinds
from jaxcal.models.complex_math import Cartesian
from jaxcal.models.diffusions.heston import heston_violations
from jaxcal.models.diffusions.piecewise_heston import PiecewiseHeston, piecewise_heston_moments
from jaxcal.models.interval import Interval
from jaxcal.models.jumps.bates import Bates
from jaxcal.models.jumps.merton import normal_jump_cone, normal_jump_revival, normal_jump_variance, normal_jumps
from jaxcal.models.jumps.odd_parts import odd_jumps, odd_reversion

_VARYING = ("kappa", "theta", "sigma", "rho", "jump_intensity", "jump_mean", "jump_std")


class PiecewiseBates(AbstractFourierModel):
    """`PiecewiseHeston` whose log price also jumps: n - 1 `knots` make n buckets, the last without end.

    Each of kappa, theta, sigma, rho, jump_intensity, jump_mean and jump_std is one number, or one a bucket. A
    calibration keeps the shapes of its start: start it from a model whose fields to vary are vectors, such as
    `PiecewiseBates.of(bates, knots)` makes.

    Args:
        v0: variance today, per year.
        kappa: speed of mean reversion, per year; a number or `[n]`.
        theta: long-run variance, per year, jumps not counted; a number or `[n]`.
        sigma: volatility of variance, per year; a number or `[n]`.
        rho: correlation of the returns with the variance, in (-1, 1); a number or `[n]`.
        jump_intensity: expected number of jumps a year; a number or `[n]`.
        jump_mean: mean of a jump of the log price; a number or `[n]`.
        jump_std: standard deviation of a jump of the log price; a number or `[n]`.
        knots: `[n - 1]` times in years, positive and increasing, at which parameters change. Not a parameter.

    Raises:
        ValueError: on construction with numbers outside the domain, as every model, or with vectors whose length does
            not fit the knots.

    References:
        D. Bates, Review of Financial Studies 9 (1996) 69-107; the recursion over buckets is that of `PiecewiseHeston`.

    Example:
        >>> import jax; jax.config.update("jax_enable_x64", True)
        >>> import jaxcal as jc
        >>> model = jc.PiecewiseBates(
        ...     0.03, 1.5, 0.04, 0.6, -0.6, jump_intensity=[2.0, 0.5], jump_mean=-0.08, jump_std=0.06, knots=[0.25]
        ... )
        >>> [round(float(jc.model_vol(model, 90.0, years, forward=100.0)), 6) for years in (0.1, 1.0)]
        [0.273273, 0.208551]
    """

    v0: Float[Array, "..."] | float
    kappa: Float[Array, "..."] | float = eqx.field(converter=numbers)
    theta: Float[Array, "..."] | float = eqx.field(converter=numbers)
    sigma: Float[Array, "..."] | float = eqx.field(converter=numbers)
    rho: Float[Array, "..."] | float = eqx.field(converter=numbers)
    jump_intensity: Float[Array, "..."] | float = eqx.field(converter=numbers)
    jump_mean: Float[Array, "..."] | float = eqx.field(converter=numbers)
    jump_std: Float[Array, "..."] | float = eqx.field(converter=numbers)
    knots: Float[Array, "..."] = eqx.field(converter=numbers)

    bounds: ClassVar[Mapping[str, Interval]] = Bates.bounds
    vectors: ClassVar[frozenset[str]] = frozenset({*_VARYING, "knots"})

    def __check_init__(self) -> None:
        check_buckets(self, _VARYING)

    @classmethod
    def of(
        cls,
        model: Bates,
        knots: Sequence[float] | ArrayLike,
        vary: Sequence[str] = ("theta", "sigma", "rho", "jump_intensity"),
    ) -> "PiecewiseBates":
        """The same law as `model`, with the fields named in `vary` as vectors: a start for a calibration.

        Raises:
            ValueError: for a name in `vary` that cannot vary.

        Example:
            >>> import jaxcal as jc
            >>> bates = jc.Bates(0.03, 1.5, 0.04, 0.6, -0.6, jump_intensity=2.0, jump_mean=-0.08, jump_std=0.06)
            >>> jc.PiecewiseBates.of(bates, [0.25], vary=("jump_intensity",)).jump_intensity.tolist()
            [2.0, 2.0]
        """
        return cls(**lift(model, knots, vary, _VARYING), knots=knots)

    def log_cf(self, z: Complex[Array, "*shape"], t: Float[Array, "*#shape"]) -> Complex[Array, "*shape"]:
        dtype = jnp.real(z).dtype
        years = years_in_buckets(self.knots, t.astype(dtype), z.ndim)
        size = len(years)
        varying = (per_bucket(p, size, dtype) for p in (self.kappa, self.theta, self.sigma, self.rho))
        diffusion = piecewise_heston_log_cf(jnp.asarray(self.v0, dtype), *varying, z, years)
        jumps = (self.jump_intensity, self.jump_mean, self.jump_std)
        # jumps of one law through all buckets cost one exponential, not n
        count = size if max(jnp.ndim(p) for p in jumps[1:]) else 1
        wide = (slice(None), *(None,) * z.ndim)
        intensity = per_bucket(jumps[0], size, dtype)[wide] * years
        intensity = intensity if count == size else jnp.sum(intensity, axis=0, keepdims=True)
        mean, std = (per_bucket(p, count, dtype)[wide] for p in jumps[1:])
        jumped = intensity * normal_jumps(mean, std, Cartesian.of(z[None]))
        return diffusion + jnp.sum(jumped.to_complex(), axis=0)

    def moment_bounds(self, t: Float[Array, "*shape"]) -> tuple[Float[Array, "*shape"], Float[Array, "*shape"]]:
        jumps = jax.vmap(CriticalMoments.of_normal_jumps, (0, 0, None))(*self._jumps(t.dtype), t)
        every = CriticalMoments(jnp.max(jumps.lower, axis=0), jnp.min(jumps.upper, axis=0))
        return piecewise_heston_moments(self.kappa, self.sigma, self.rho, self.knots, t).within(every)

    def decay_cone(self) -> tuple[Float[Array, ""], Float[Array, ""]]:
        """Where every bucket's part decays; see `Heston.decay_cone` and `Bates.decay_cone`."""
        turn = jnp.arcsin(jnp.asarray(self.rho))
        lower, upper = normal_jump_cone(*self._jumps(turn.dtype))
        lower, upper = jnp.max(lower), jnp.min(upper)
        return jnp.maximum(lower, jnp.max(-jnp.pi / 2 - turn)), jnp.minimum(upper, jnp.min(jnp.pi / 2 - turn))

    def revival(self, z: Complex[Array, "*shape"], t: Float[Array, "*#shape"]) -> Float[Array, "*shape"]:
        """The sum over the buckets."""
        dtype = jnp.real(z).dtype
        years = years_in_buckets(self.knots, t.astype(dtype), z.ndim)
        wide = (slice(None), *(None,) * z.ndim)
        count = per_bucket(self.jump_intensity, len(years), dtype)[wide] * years
        mean, std = (jumps[wide] for jumps in self._jumps(dtype))
        return jnp.sum(normal_jump_revival(count, mean, std, Cartesian.of(z[None])), axis=0)

    def jump_kinds(self, t: Float[Array, "*shape"]) -> JumpKinds:
        """One a bucket; a single one where all buckets have the same law of a jump."""
        years = years_in_buckets(self.knots, t)
        expected = per_bucket(self.jump_intensity, len(years), t.dtype)[(..., *(None,) * t.ndim)] * years
        mean, std = self._jumps(t.dtype)
        if not self._kinds_differ():
            mean, std, expected = mean[:1], std[:1], jnp.sum(expected, axis=0, keepdims=True)
        return JumpKinds(expected, mean + 0.5 * std**2)

    def given_jumps(self, count: Float[Array, "kinds q"]) -> AbstractFourierModel:
        diffusion = PiecewiseHeston(self.v0, self.kappa, self.theta, self.sigma, self.rho, self.knots)
        std = self._jumps(count.dtype)[1]
        return WithNormal(diffusion, normal_jump_variance(count, std if self._kinds_differ() else std[:1]))

    def _kinds_differ(self) -> bool:
        return max(jnp.ndim(self.jump_mean), jnp.ndim(self.jump_std)) > 0

    def _jumps(self, dtype: Any) -> tuple[Float[Array, " n"], Float[Array, " n"]]:
        size = self.knots.size + 1
        return per_bucket(self.jump_mean, size, dtype), per_bucket(self.jump_std, size, dtype)

    def odd_parts(self) -> tuple[str, ...]:
        jumps = odd_jumps(self.jump_intensity, np.square(self.jump_mean) + np.square(self.jump_std))
        return jumps + odd_reversion(self.kappa, self.bounds["kappa"])

    def violations(self) -> Mapping[str, BoolLike]:
        rules = heston_violations(self.v0, self.kappa, self.theta, self.sigma, self.rho) | {
            "jump_intensity must not be negative": self.jump_intensity < 0,
            "jump_std must not be negative": self.jump_std < 0,
        }
        return bucket_violations(rules, self.knots)
