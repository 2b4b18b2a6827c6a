"""Merton (1976): constant volatility and normal jumps of the log price."""

from collections.abc import Mapping
from typing import Any, ClassVar

import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Complex, Float

from jaxcal._types import BoolLike
from jaxcal.models.analytic.critical_moments import CriticalMoments
from jaxcal.models.analytic.given_jumps import WithNormal
from jaxcal.models.base import AbstractFourierModel, JumpKinds, LogCFBasis
from jaxcal.models.complex_math import Cartesian, exp, expm1, real
from jaxcal.models.diffusions.black_scholes import BlackScholes
from jaxcal.models.interval import Interval
from jaxcal.models.jumps.odd_parts import odd_jumps

JUMP_BOUNDS = {
    "jump_intensity": Interval(1e-3, 200.0, "log"),
    "jump_mean": Interval(-2.0, 2.0, "linear"),
    "jump_std": Interval(1e-3, 2.0, "log"),
}


class Merton(AbstractFourierModel):
    """Geometric Brownian motion whose logarithm jumps by a normal amount at the times of a Poisson process.

    Args:
        sigma: volatility between jumps, decimal per square root of year.
        jump_intensity: expected number of jumps a year.
        jump_mean: mean of a jump of the log price.
        jump_std: standard deviation of a jump of the log price.

    Raises:
        ValueError: on construction with numbers outside the domain, as every model.

    References:
        R. Merton, Journal of Financial Economics 3 (1976) 125-144. `jc.Series` prices by his series, eq. 16.

    Example:
        >>> import jax; jax.config.update("jax_enable_x64", True)
        >>> import jaxcal as jc
        >>> model = jc.Merton(sigma=0.2, jump_intensity=0.5, jump_mean=-0.1, jump_std=0.15)
        >>> round(float(jc.price(model, 100.0, 1.0, forward=100.0)), 9)
        9.164898622
    """

    sigma: Float[Array, "*batch"] | float
    jump_intensity: Float[Array, "*batch"] | float
    jump_mean: Float[Array, "*batch"] | float
    jump_std: Float[Array, "*batch"] | float

    bounds: ClassVar[Mapping[str, Interval]] = {"sigma": Interval(1e-3, 10.0, "log"), **JUMP_BOUNDS}

    def log_cf(self, z: Complex[Array, "*shape"], t: Float[Array, "*#shape"]) -> Complex[Array, "*shape"]:
        parameters = (self.sigma, self.jump_intensity, self.jump_mean, self.jump_std)
        sigma, intensity, mean, std, t = real(z, *parameters, t)
        nodes = Cartesian.of(z)
        diffusion = 0.5 * sigma**2 * (nodes * nodes + 1j * nodes)
        return (t * (intensity * normal_jumps(mean, std, nodes) - diffusion)).to_complex()

    basis_size: ClassVar[int] = 4

    def basis(self, z: Cartesian, t: Float[Array, "*#shape"]) -> LogCFBasis:
        sigma, intensity, mean, std, t = real(z, self.sigma, self.jump_intensity, self.jump_mean, self.jump_std, t)
        normal = -0.5 * (z * z + 1j * z)
        jumps, rows = normal_jump_rows(mean, std, z)
        return LogCFBasis(t * (intensity * jumps + sigma**2 * normal), tuple(t * row for row in (normal, *rows)))

    def mix(self, direction: Any, t: Float[Array, "*shape"]) -> tuple[Any, ...]:
        moves = (direction.jump_intensity, direction.jump_mean, direction.jump_std)
        return 2.0 * self.sigma * direction.sigma, *normal_jump_mix(self.jump_intensity, self.jump_std, moves)

    def moment_bounds(self, t: Float[Array, "*shape"]) -> tuple[Float[Array, "*shape"], Float[Array, "*shape"]]:
        return CriticalMoments.of_normal_jumps(jnp.asarray(self.jump_mean), jnp.asarray(self.jump_std), t)

    def decay_cone(self) -> tuple[Float[Array, ""], Float[Array, ""]]:
        return normal_jump_cone(jnp.asarray(self.jump_mean), jnp.asarray(self.jump_std))

    def revival(self, z: Complex[Array, "*shape"], t: Float[Array, "*#shape"]) -> Float[Array, "*shape"]:
        parameters = (self.jump_intensity, self.jump_mean, self.jump_std)
        intensity, mean, std, t = real(z, *parameters, t)
        return normal_jump_revival(intensity * t, mean, std, Cartesian.of(z))

    def jump_kinds(self, t: Float[Array, "*shape"]) -> JumpKinds:
        return normal_jump_kinds(jnp.asarray(self.jump_intensity).astype(t.dtype) * t, self.jump_mean, self.jump_std)

    def given_jumps(self, count: Float[Array, "kinds q"]) -> AbstractFourierModel:
        return WithNormal(BlackScholes(self.sigma), normal_jump_variance(count, self.jump_std))

    def odd_parts(self) -> tuple[str, ...]:
        return odd_jumps(self.jump_intensity, np.square(self.jump_mean) + np.square(self.jump_std))

    def violations(self) -> Mapping[str, BoolLike]:
        return {
            "sigma must not be negative": self.sigma < 0,
            "jump_intensity must not be negative": self.jump_intensity < 0,
            "jump_std must not be negative": self.jump_std < 0,
        }


def normal_jumps(mean: Array, std: Array, z: Cartesian) -> Cartesian:
    """E[exp(i z J)] - 1 - i z E[exp(J) - 1] for a normal J: ln phi of compensated jumps, a year and a unit of
    intensity.
    """
    compensator = jnp.expm1(mean + 0.5 * std**2)
    return expm1(1j * z * mean - 0.5 * std**2 * (z * z)) - 1j * z * compensator


def normal_jump_rows(mean: Array, std: Array, z: Cartesian) -> tuple[Cartesian, tuple[Cartesian, ...]]:
    """`normal_jumps`, and the functions of which its derivatives are made by `normal_jump_mix`."""
    jumped, grown = expm1(1j * z * mean - 0.5 * std**2 * (z * z)), jnp.expm1(mean + 0.5 * std**2)
    value, drift = jumped - 1j * z * grown, (1.0 + grown) * (1j * z)
    return value, (value, 1j * z * (1.0 + jumped) - drift, z * z * (1.0 + jumped) + drift)


def normal_jump_mix(intensity: Any, std: Any, moves: tuple[Any, ...]) -> tuple[Any, ...]:
    """From the changes of intensity, mean and standard deviation."""
    in_intensity, in_mean, in_std = moves
    return in_intensity, intensity * in_mean, -intensity * std * in_std


def normal_jump_kinds(expected: Float[Array, "*shape"], mean: ArrayLike, std: ArrayLike) -> JumpKinds:
    """Normal jumps of one kind."""
    mean, std = (jnp.asarray(p).astype(expected.dtype) for p in (mean, std))
    return JumpKinds(expected[None], (mean + 0.5 * std**2)[None])


def normal_jump_variance(count: Float[Array, "kinds q"], std: ArrayLike) -> Float[Array, " q"]:
    """What so many normal jumps of each kind add to the variance of the log price."""
    return jnp.square(jnp.atleast_1d(jnp.asarray(std).astype(count.dtype))) @ count


def normal_jump_revival(count: Array, mean: Array, std: Array, z: Cartesian) -> Array:
    """`AbstractFourierModel.revival` of `count` expected normal jumps: how far Re E[exp(i z J)] is below |E[...]|."""
    exponent = 1j * z * mean - 0.5 * std**2 * (z * z)
    return count * (jnp.exp(exponent.re) - exp(exponent).re)


def normal_jump_cone(mean: Array, std: Array) -> tuple[Array, Array]:
    """Where E[exp(i z J)] along z = r e^(iw) stays below e, J normal: beyond the angle at which it decays in the end.

    On the side of the jumps its logarithm rises to mean^2 sin(w)^2 / (2 std^2 cos 2w) before it falls, and a contour
    there meets the exponential of intensity x t times the exponential of that.
    """
    tiny = jnp.finfo(mean.dtype).tiny
    turn = jnp.arcsin(jnp.sqrt((2.0 * std**2 + tiny) / (mean**2 + 4.0 * std**2 + 2.0 * tiny)))
    return jnp.where(mean > 0, -turn, -jnp.pi / 4), jnp.where(mean < 0, turn, jnp.pi / 4)
