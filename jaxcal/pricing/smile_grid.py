"""SmileGrid: what FourierGrid is to a characteristic function, for a model that gives volatilities."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxcal.formulas.black import black_otm
from jaxcal.models.base import AbstractVolModel


class SmileGrid(eqx.Module):
    """Strikes at which a smile model is priced: `e` rows of `k` strikes.

    Attributes:
        expiry: `[e]` years.
        forward: `[e]`.
        strike: `[e, k]`, in the units of the forward.

    Example:
        >>> import jaxcal as jc
        >>> grid = SmileGrid(jnp.asarray([1.0]), jnp.asarray([100.0]), jnp.asarray([[80.0, 100.0, 120.0]]))
        >>> model = jc.SVI(a=0.04, b=0.0, rho=0.0, m=0.0, sigma=0.1)
        >>> [round(float(v), 6) for v in grid.value(model)[0]]
        [0.011859, 0.079656, 0.021473]
    """

    expiry: Float[Array, " e"]
    forward: Float[Array, " e"]
    strike: Float[Array, "e k"]

    def value(self, model: AbstractVolModel) -> Float[Array, "e k"]:
        """Undiscounted out-of-the-money values (call where K >= F, put below), in units of the forward.

        A model of one expiry (`per_expiry`) may have fields of shape `[e]`: each row then has its own parameters. NaN
        where the model has no volatility.
        """
        expiry, forward = self.expiry[:, None], self.forward[:, None]
        if model.per_expiry:
            model = jax.tree.map(lambda leaf: leaf[:, None] if jnp.ndim(leaf) == 1 else leaf, model)
        vol = model.vol(self.strike, expiry, forward)
        return black_otm(vol, self.strike, expiry, forward=forward) / forward
