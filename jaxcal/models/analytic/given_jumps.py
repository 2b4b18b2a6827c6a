"""Conditional laws: a model with jumps, given the numbers of jumps."""

from collections.abc import Mapping
from typing import ClassVar

import jax.numpy as jnp
from jaxtyping import Array, Complex, Float

from jaxcal.models.base import AbstractFourierModel
from jaxcal.models.complex_math import Cartesian, real
from jaxcal.models.interval import Interval


class WithNormal(AbstractFourierModel):
    """`base` and an independent normal amount of given variance, which keeps exp X a martingale. `variance` has one
    number a row of z.

    Example:
        >>> import jaxcal as jc
        >>> law = WithNormal(jc.BlackScholes(0.2), jnp.asarray([0.05]))
        >>> z, t = jnp.asarray([1.0 - 0.5j]), jnp.asarray([1.0])
        >>> bool(jnp.allclose(law.log_cf(z, t), jc.BlackScholes(0.3).log_cf(z, t)))
        True
    """

    base: AbstractFourierModel
    variance: Float[Array, " q"]

    bounds: ClassVar[Mapping[str, Interval]] = {}

    def log_cf(self, z: Complex[Array, "*shape"], t: Float[Array, "*#shape"]) -> Complex[Array, "*shape"]:
        nodes, (variance,) = Cartesian.of(z), real(z, by_row(self.variance, z))
        return self.base.log_cf(z, t) - (0.5 * variance * (nodes * nodes + 1j * nodes)).to_complex()

    def moment_bounds(self, t: Float[Array, "*shape"]) -> tuple[Float[Array, "*shape"], Float[Array, "*shape"]]:
        """A normal law has every moment."""
        return self.base.moment_bounds(t)

    def decay_cone(self) -> tuple[Float[Array, ""], Float[Array, ""]]:
        """That of the base, cut to the +-pi/4 of a normal law."""
        lower, upper = self.base.decay_cone()
        return jnp.maximum(lower, -jnp.pi / 4), jnp.minimum(upper, jnp.pi / 4)


def by_row(x: Float[Array, " q"], z: Array) -> Array:
    """One number a row of z, which may have further axes."""
    return x.reshape(x.shape + (1,) * (z.ndim - 1))
