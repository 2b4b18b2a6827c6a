"""SmileGrid: what FourierGrid is to a characteristic function, for a model that gives volatilities."""

from typing import Any

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
    """

    expiry: Float[Array, " e"]
    forward: Float[Array, " e"]
    strike: Float[Array, "e k"]

    def value(self, model: AbstractVolModel) -> Float[Array, "e k"]:
        """Undiscounted out-of-the-money values (call where K >= F, put below), in units of the forward.

        A model of one expiry (`per_expiry`) may have fields of shape `[e]`: each row then has its own parameters. NaN
        where the model has no volatility.
        """
        slices = model if model.per_expiry else model.slices(self.expiry)
        return self.value_of_slices(slices) if slices is not None else self._value(model)

    def value_of_slices(self, slices: Any) -> Float[Array, "e k"]:
        """The same of smiles in fields of shape `[e]`, one a row."""
        return self._value(jax.tree.map(lambda leaf: leaf[:, None] if jnp.ndim(leaf) == 1 else leaf, slices))

    def _value(self, smiles: Any) -> Float[Array, "e k"]:
        expiry, forward = self.expiry[:, None], self.forward[:, None]
        vol = smiles.vol(self.strike, expiry, forward)
        return black_otm(vol, self.strike, expiry, forward=forward) / forward
