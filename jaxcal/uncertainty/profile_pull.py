"""ProfilePenalty: pulls one parameter to a value, so that a fit is a point of its profile likelihood."""

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxcal.calibration.objective.prior import AbstractPrior
from jaxcal.models.base import AbstractModel
from jaxcal.models.parameters import Scales, to_vector


class ProfilePenalty(AbstractPrior):
    """A penalty `stiffness (direction . y - centre)` on the search vector y, beside the fit's own prior.

    At its optimum no other parameters with the same `direction . y` have a lower cost without the penalty. So that cost
    is exactly on the profile, and one compiled fit serves the profiles of all parameters.

    Args:
        free: names of the parameters in y.
        scales: of the fit.
        inner: the fit's own prior, or None.
        direction: `[p]`, 1 at one place and 0 elsewhere.
        centre: on the search scale.
        stiffness: of the penalty.

    Example:
        >>> import jaxcal as jc
        >>> drawn = ProfilePenalty(("sigma",), Scales(), None, np.ones(1), np.log(0.2), 3.0)
        >>> print(drawn(jc.BlackScholes(0.22)).round(3))
        [0.286]
    """

    free: tuple[str, ...] = eqx.field(static=True)
    scales: Scales = eqx.field(static=True)
    inner: AbstractPrior | None
    direction: Float[Array | np.ndarray, "*b p"]
    centre: Float[Array | np.ndarray, "*b"] | float
    stiffness: Float[Array | np.ndarray, "*b"] | float

    def __call__(self, model: AbstractModel) -> Float[Array, " r"]:
        """See `AbstractPrior`."""
        y = to_vector(model, self.free, self.scales)
        place = jnp.sum(jnp.asarray(self.direction, y.dtype) * y)
        drawn = jnp.asarray(self.stiffness, y.dtype) * (place - jnp.asarray(self.centre, y.dtype))
        if self.inner is None:
            return drawn[None]
        return jnp.concatenate([self.inner(model).astype(y.dtype), drawn[None]])
