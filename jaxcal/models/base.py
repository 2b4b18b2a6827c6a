"""What every model is: named parameters with bounds, and a law of X = ln(S_T / F)."""

from abc import abstractmethod
from collections.abc import Mapping
from typing import ClassVar

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Complex, Float

from jaxcal.models.interval import Interval


class AbstractModel(eqx.Module):
    """A pricing model: a frozen pytree whose fields are its parameters.

    `bounds` names, for every field, the interval a calibration searches and whether it searches it on a
    logarithmic or a linear scale. Bounds are not enforced on construction: a model may be priced anywhere its
    formula holds.

    Example:
        >>> import jaxcal as jc
        >>> issubclass(jc.Heston, AbstractModel), jc.Heston.bounds["rho"].upper
        (True, 0.999)
    """

    bounds: ClassVar[Mapping[str, Interval]]


class AbstractFourierModel(AbstractModel):
    """A model known by its characteristic function. Subclass it, give `log_cf`, and it prices and calibrates.

    X = ln(S_T / F) must be a martingale in the sense E[exp X] = 1, so that `log_cf(-1j, t) = 0`.

    Example:
        >>> class MyBlack(AbstractFourierModel):
        ...     sigma: Float[Array, ""] | float
        ...     bounds = {"sigma": Interval(0.01, 3.0, "log")}
        ...     def log_cf(self, z, t):
        ...         return -0.5 * (self.sigma**2 * t).astype(z.dtype) * (z * z + 1j * z)
        >>> import jaxcal as jc
        >>> round(float(jc.model_vol(MyBlack(0.2), 110.0, 1.0, forward=100.0)), 9)
        0.2
    """

    @abstractmethod
    def log_cf(self, z: Complex[Array, "*shape"], t: Float[Array, "*#shape"]) -> Complex[Array, "*shape"]:
        """ln E[exp(i z X)] for complex `z` and time `t` in years; `t` broadcasts against `z`."""

    def moment_bounds(self, t: Float[Array, "*shape"]) -> tuple[Float[Array, "*shape"], Float[Array, "*shape"]]:
        """The open interval of real q for which E[exp(q X)] is finite at time `t` (years).

        Every martingale has (0, 1), the answer given here. A model that knows more says so by defining this method;
        far out-of-the-money prices then keep their relative accuracy, and COS can bound its range.
        """
        return jnp.zeros_like(t), jnp.ones_like(t)

    def decay_cone(self) -> tuple[Float[Array, ""], Float[Array, ""]]:
        """The angles (lower, upper), in radians, between which |phi(r exp(i w))| decays as r grows.

        A tilted contour must stay inside. The answer given here, +-0.4, holds for every model whose log-return has a
        Gaussian part; a model that knows a wider or a narrower cone defines this method.
        """
        return jnp.asarray(-0.4), jnp.asarray(0.4)
