"""Bates (1996): Heston's stochastic variance with normal jumps of the log price."""

from collections.abc import Mapping
from typing import Any, ClassVar

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Complex, Float

from jaxcal._types import BoolLike
from jaxcal.models.analytic.critical_moments import CriticalMoments
from jaxcal.models.analytic.given_jumps import WithNormal
from jaxcal.models.base import AbstractFourierModel, JumpKinds, LogCFBasis
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
from jaxcal.models.jumps.merton import (
    JUMP_BOUNDS,
    normal_jump_cone,
    normal_jump_kinds,
    normal_jump_mix,
    normal_jump_revival,
    normal_jump_rows,
    normal_jump_variance,
    normal_jumps,
)
from jaxcal.models.jumps.odd_parts import odd_jumps, odd_reversion


class Bates(AbstractFourierModel):
    """Heston's model whose log price also jumps by a normal amount at the times of a Poisson process.

    Args:
        v0: variance today, per year.
        kappa: speed of mean reversion, per year.
        theta: long-run variance, per year, jumps not counted.
        sigma: volatility of variance, per year.
        rho: correlation of the returns with the variance, in (-1, 1).
        jump_intensity: expected number of jumps a year.
        jump_mean: mean of a jump of the log price.
        jump_std: standard deviation of a jump of the log price.

    Raises:
        ValueError: on construction with numbers outside the domain, as every model.

    References:
        D. Bates, Review of Financial Studies 9 (1996) 69-107.

    Example:
        >>> import jax; jax.config.update("jax_enable_x64", True)
        >>> import jaxcal as jc
        >>> model = jc.Bates(0.04, 1.5, 0.04, 0.6, -0.6, jump_intensity=0.5, jump_mean=-0.1, jump_std=0.1)
        >>> round(float(jc.price(model, 100.0, 1.0, forward=100.0)), 9)
        7.955081782
    """

    v0: Float[Array, "*batch"] | float
    kappa: Float[Array, "*batch"] | float
    theta: Float[Array, "*batch"] | float
    sigma: Float[Array, "*batch"] | float
    rho: Float[Array, "*batch"] | float
    jump_intensity: Float[Array, "*batch"] | float
    jump_mean: Float[Array, "*batch"] | float
    jump_std: Float[Array, "*batch"] | float

    bounds: ClassVar[Mapping[str, Interval]] = {**Heston.bounds, **JUMP_BOUNDS}

    def log_cf(self, z: Complex[Array, "*shape"], t: Float[Array, "*#shape"]) -> Complex[Array, "*shape"]:
        diffusion = (self.v0, self.kappa, self.theta, self.sigma, self.rho)
        jumps = (self.jump_intensity, self.jump_mean, self.jump_std)
        *heston, intensity, mean, std, t = real(z, *diffusion, *jumps, t)
        jumped = (intensity * t) * normal_jumps(mean, std, Cartesian.of(z))
        return heston_log_cf(*heston, z, t) + jumped.to_complex()

    basis_size: ClassVar[int] = 8

    def basis(self, z: Cartesian, t: Float[Array, "*#shape"]) -> LogCFBasis:
        diffusion = (self.v0, self.kappa, self.theta, self.sigma, self.rho)
        *heston, intensity, mean, std, t = real(z, *diffusion, self.jump_intensity, self.jump_mean, self.jump_std, t)
        still, (jumps, rows) = heston_basis(heston, z, t), normal_jump_rows(mean, std, z)
        return LogCFBasis(still.log_cf + (intensity * t) * jumps, (*still.rows, *(t * row for row in rows)))

    def mix(self, direction: Any, t: Float[Array, "*shape"]) -> tuple[Any, ...]:
        moves = (direction.v0, direction.kappa, direction.theta, direction.sigma, direction.rho)
        jumps = (direction.jump_intensity, direction.jump_mean, direction.jump_std)
        heston = heston_mix((self.v0, self.kappa, self.theta, self.sigma, self.rho), moves)
        return *heston, *normal_jump_mix(self.jump_intensity, self.jump_std, jumps)

    def moment_bounds(self, t: Float[Array, "*shape"]) -> tuple[Float[Array, "*shape"], Float[Array, "*shape"]]:
        jumps = CriticalMoments.of_normal_jumps(jnp.asarray(self.jump_mean), jnp.asarray(self.jump_std), t)
        return heston_moments(self.kappa, self.sigma, self.rho, t).within(jumps)

    def decay_cone(self) -> tuple[Float[Array, ""], Float[Array, ""]]:
        """Where both parts decay."""
        turn = jnp.arcsin(jnp.asarray(self.rho))
        lower, upper = normal_jump_cone(jnp.asarray(self.jump_mean), jnp.asarray(self.jump_std))
        return jnp.maximum(lower, -jnp.pi / 2 - turn), jnp.minimum(upper, jnp.pi / 2 - turn)

    def revival(self, z: Complex[Array, "*shape"], t: Float[Array, "*#shape"]) -> Float[Array, "*shape"]:
        parameters = (self.jump_intensity, self.jump_mean, self.jump_std)
        intensity, mean, std, t = real(z, *parameters, t)
        return normal_jump_revival(intensity * t, mean, std, Cartesian.of(z))

    def jump_kinds(self, t: Float[Array, "*shape"]) -> JumpKinds:
        return normal_jump_kinds(jnp.asarray(self.jump_intensity).astype(t.dtype) * t, self.jump_mean, self.jump_std)

    def given_jumps(self, count: Float[Array, "kinds q"]) -> AbstractFourierModel:
        heston = Heston(self.v0, self.kappa, self.theta, self.sigma, self.rho)
        return WithNormal(heston, normal_jump_variance(count, self.jump_std))

    def odd_parts(self) -> tuple[str, ...]:
        jumps = odd_jumps(self.jump_intensity, np.square(self.jump_mean) + np.square(self.jump_std))
        return jumps + odd_reversion(self.kappa, self.bounds["kappa"])

    def violations(self) -> Mapping[str, BoolLike]:
        return heston_violations(self.v0, self.kappa, self.theta, self.sigma, self.rho) | {
            "jump_intensity must not be negative": self.jump_intensity < 0,
            "jump_std must not be negative": self.jump_std < 0,
        }
