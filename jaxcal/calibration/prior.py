"""Priors: what a fit should look like besides fitting its quotes, as extra residuals."""

from abc import abstractmethod

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxcal.models.base import AbstractModel
from jaxcal.models.parameters import search_value


class AbstractPrior(eqx.Module):
    """Residuals of the parameters themselves, added to those of the quotes. Subclass it for another belief.

    Example:
        >>> class NearHalf(AbstractPrior):
        ...     def __call__(self, model):
        ...         return jnp.atleast_1d(0.1 * (model.sigma - 0.5))
        >>> import jaxcal as jc
        >>> surface = jc.Surface.from_vols([0.5], [90.0, 100.0], [[0.2, 0.2]], forward=100.0)
        >>> print(f"{jc.calibrate(jc.BlackScholes, surface, prior=NearHalf()).model.sigma:.3f}")
        0.201
    """

    @abstractmethod
    def __call__(self, model: AbstractModel) -> Float[Array, " r"]:
        """Any number of residuals; half their sum of squares is added to the cost."""


class Smoothness(AbstractPrior):
    """Parameters that vary over time should vary smoothly: `weight` times the difference of neighbours.

    Applies to every parameter that is a vector, on its search scale (so relative differences of positive parameters).
    A residual of a quote is a volatility difference: with a weight of 0.001 and uniform quotes, a change of a factor
    of e from one interval to the next costs as much as one quote missed by 0.1 vol points.

    Args:
        weight: volatility difference that equals one unit on the search scale.

    Example:
        >>> Smoothness(0.01).weight
        0.01
    """

    weight: Float[Array, ""] | float = 1e-3

    def __call__(self, model: AbstractModel) -> Float[Array, " r"]:
        varying = [search_value(model, name) for name in model.bounds if jnp.ndim(getattr(model, name)) == 1]
        steps = [jnp.diff(values) for values in varying]
        return self.weight * jnp.concatenate(steps) if steps else jnp.zeros(0)
