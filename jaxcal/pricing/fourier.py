"""The one idea behind every price here: a linear functional of the characteristic function on fixed nodes."""

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Complex, Float

from jaxcal.models.base import AbstractFourierModel


class FourierGrid(eqx.Module):
    """Out-of-the-money value / forward = offset + Re(W . phi(nodes)), `E` rows of `N` nodes priced at `K` strikes each.

    Nothing in it depends on the parameters that a calibration moves, so it is built once, before the first iteration.
    `weights` holds Re W and -Im W side by side, so that a price is one real product. `shift` is subtracted from ln phi
    and already in the weights: it keeps both factors in range where phi is far from 1.
    """

    expiry: Float[Array, " e"]
    nodes: Complex[Array, "e n"]
    shift: Float[Array, " e"]
    weights: Float[Array, "e k 2*n"]
    offset: Float[Array, "e k"]

    def value(self, model: AbstractFourierModel) -> Float[Array, "e k"]:
        """Undiscounted values of the out-of-the-money options (call where K >= F, put below), in units of the forward."""
        return self.offset + jnp.einsum("ekm,em->ek", self.weights, self.cf(model))

    def cf(self, model: AbstractFourierModel) -> Float[Array, "e 2*n"]:
        """Re phi and Im phi side by side at the nodes."""
        phi = jnp.exp(model.log_cf(self.nodes, self.expiry[:, None]) - self.shift[:, None].astype(self.nodes.dtype))
        return jnp.concatenate([jnp.real(phi), jnp.imag(phi)], axis=-1)


def fourier_grid(
    expiry: Float[Array, " e"],
    nodes: Complex[Array, "e n"],
    weights: Complex[Array, "e k n"],
    offset: Float[Array, "e k"],
    shift: Float[Array, " e"] | None = None,
) -> FourierGrid:
    """A FourierGrid from complex weights."""
    real = jnp.concatenate([jnp.real(weights), -jnp.imag(weights)], axis=-1)
    return FourierGrid(expiry, nodes, jnp.zeros_like(expiry) if shift is None else shift, real, offset)
