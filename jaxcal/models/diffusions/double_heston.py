"""Double Heston: two independent square-root variances."""

from collections.abc import Mapping
from typing import Any, ClassVar

import jax.numpy as jnp
from jax.typing import ArrayLike
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


class DoubleHeston(AbstractFourierModel):
    """dS/S = sqrt(v_1) dW_1 + sqrt(v_2) dW_2, each variance as in Heston's model, the two independent.

    Args:
        v0_1, v0_2: variances today, per year; their sum is that of the returns.
        kappa_1, kappa_2: speeds of mean reversion, per year.
        theta_1, theta_2: long-run variances, per year.
        sigma_1, sigma_2: volatilities of variance, per year.
        rho_1, rho_2: correlations of each variance with its own part of the returns, in (-1, 1).

    Which factor is called the first does not matter to a price.

    Raises:
        ValueError: on construction with numbers outside the domain, as every model.

    References:
        P. Christoffersen, S. Heston, K. Jacobs, Management Science 55 (2009) 1914-1932.

    Example:
        >>> import jax; jax.config.update("jax_enable_x64", True)
        >>> import jaxcal as jc
        >>> model = jc.DoubleHeston(0.02, 6.0, 0.02, 0.6, -0.8, 0.02, 0.5, 0.03, 0.3, -0.4)
        >>> round(float(jc.price(model, 100.0, 1.0, forward=100.0)), 9)
        7.709775373
    """

    v0_1: Float[Array, "*batch"] | float
    kappa_1: Float[Array, "*batch"] | float
    theta_1: Float[Array, "*batch"] | float
    sigma_1: Float[Array, "*batch"] | float
    rho_1: Float[Array, "*batch"] | float
    v0_2: Float[Array, "*batch"] | float
    kappa_2: Float[Array, "*batch"] | float
    theta_2: Float[Array, "*batch"] | float
    sigma_2: Float[Array, "*batch"] | float
    rho_2: Float[Array, "*batch"] | float

    bounds: ClassVar[Mapping[str, Interval]] = {
        f"{name}_{factor}": interval for factor in (1, 2) for name, interval in Heston.bounds.items()
    }

    def log_cf(self, z: Complex[Array, "*shape"], t: Float[Array, "*#shape"]) -> Complex[Array, "*shape"]:
        return double_heston_log_cf(self, z, t)

    basis_size: ClassVar[int] = 10

    def basis(self, z: Cartesian, t: Float[Array, "*#shape"]) -> LogCFBasis:
        return double_heston_basis(self, z, t)

    def mix(self, direction: Any, t: Float[Array, "*shape"]) -> tuple[Any, ...]:
        return double_heston_mix(self, direction)

    def moment_bounds(self, t: Float[Array, "*shape"]) -> tuple[Float[Array, "*shape"], Float[Array, "*shape"]]:
        return double_heston_moments(self, t)

    def decay_cone(self) -> tuple[Float[Array, ""], Float[Array, ""]]:
        return double_heston_cone(self.rho_1, self.rho_2)

    def violations(self) -> Mapping[str, BoolLike]:
        return double_heston_violations(self)


def double_heston_log_cf(model: Any, z: Complex[Array, "*shape"], t: Float[Array, "*#shape"]) -> Array:
    """ln phi of a model with the fields of `DoubleHeston`: the sum of its factors."""
    (years,) = real(z, t)
    first, second = (heston_log_cf(*real(z, *parameters), z, years) for parameters in double_heston_factors(model))
    return first + second


def double_heston_basis(model: Any, z: Cartesian, t: Float[Array, "*#shape"]) -> LogCFBasis:
    """The basis of each factor, one after the other."""
    (years,) = real(z, t)
    first, second = (heston_basis(real(z, *parameters), z, years) for parameters in double_heston_factors(model))
    return LogCFBasis(first.log_cf + second.log_cf, first.rows + second.rows)


def double_heston_mix(model: Any, direction: Any) -> tuple[Any, ...]:
    """Likewise."""
    both = zip(double_heston_factors(model), double_heston_factors(direction), strict=True)
    first, second = (heston_mix(parameters, moves) for parameters, moves in both)
    return first + second


def double_heston_moments(model: Any, t: Float[Array, "*shape"]) -> CriticalMoments:
    """The moments that both factors have."""
    first, second = (heston_moments(kappa, sigma, rho, t) for _, kappa, _, sigma, rho in double_heston_factors(model))
    return first.within(second)


def double_heston_cone(rho_1: ArrayLike, rho_2: ArrayLike) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """Where both factors decay."""
    turn_1, turn_2 = jnp.arcsin(jnp.asarray(rho_1)), jnp.arcsin(jnp.asarray(rho_2))
    return -jnp.pi / 2 - jnp.minimum(turn_1, turn_2), jnp.pi / 2 - jnp.maximum(turn_1, turn_2)


def double_heston_violations(model: Any) -> dict[str, BoolLike]:
    """Heston's rules, about each factor."""
    return {
        rule.replace(" ", f"_{factor} ", 1): broken
        for factor, parameters in enumerate(double_heston_factors(model), 1)
        for rule, broken in heston_violations(*parameters).items()
    }


def double_heston_factors(model: Any) -> list[tuple[Any, ...]]:
    """Heston's parameters of each factor."""
    return [tuple(getattr(model, f"{name}_{factor}") for name in Heston.bounds) for factor in (1, 2)]
