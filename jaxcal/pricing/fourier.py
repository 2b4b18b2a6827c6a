"""The one idea behind every price here: a linear functional of the characteristic function on fixed nodes."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Complex, Float, Int

from jaxcal.formulas.black import black_otm
from jaxcal.models.base import AbstractFourierModel
from jaxcal.models.complex_math import Cartesian, exp


class FourierGrid(eqx.Module):
    """Out-of-the-money value / forward = offset + Re(W . (c phi(z))): `e` rows of `k` strikes.

    Nothing in it depends on the parameters that a calibration moves, so it is built once, before the first iteration.
    A row has one or two sets of `n` nodes; where there are two, each strike uses the set of its own side.

    Attributes:
        expiry: `[e]` years.
        z: `[e, s, n]` the nodes, where phi is evaluated.
        log_factor: `[e, s, n]` logarithm of what all strikes multiply phi by, added to ln phi: no product overflows.
        weights: `[e, k, m]`, m = 2n: Re W and -Im W side by side, so that a price is one real product.
        side: `[e, k]` which set of nodes a strike uses.
        offset: `[e, k]`.
    """

    expiry: Float[Array, " e"]
    z: Cartesian
    log_factor: Cartesian
    weights: Float[Array, "e k m"]
    side: Int[Array, "e k"]
    offset: Float[Array, "e k"]

    @property
    def nodes(self) -> Complex[Array, "e s n"]:
        """Where phi is evaluated, as a complex array."""
        return self.z.to_complex()

    def value(self, model: AbstractFourierModel) -> Float[Array, "e k"]:
        """Undiscounted out-of-the-money values (call where K >= F, put below), in units of the forward."""
        return self.apply(self.factored_cf(model))

    def factored_cf(self, model: AbstractFourierModel) -> Float[Array, "e s m"]:
        """Re c phi and Im c phi side by side at the nodes.

        Evaluated on flat rows: with a set axis in between, XLA fuses the whole of phi into each part of the result and
        computes it several times over.
        """
        rows, sets, nodes = self.z.re.shape
        phi = exp(self._log_terms(model))
        parts = jnp.concatenate([phi.re, phi.im], axis=-1).reshape(rows, 2, sets, nodes)
        return jnp.swapaxes(parts, 1, 2).reshape(rows, sets, 2 * nodes)

    def log_terms(self, model: AbstractFourierModel) -> Complex[Array, "e s n"]:
        """ln(c phi) at the nodes."""
        return self._log_terms(model).to_complex().reshape(self.z.re.shape)

    def _log_terms(self, model: AbstractFourierModel) -> Cartesian:
        z, log_factor = self.z.flat_rows(), self.log_factor.flat_rows()
        return Cartesian.of(model.log_cf(z.to_complex(), self.expiry[:, None])) + log_factor

    def linearised(self, model: AbstractFourierModel) -> tuple[Float[Array, "e k"], Float[Array, "n e k"]]:
        """Values, and the same functional of c phi times each row of the model's `basis`. On a GPU, under `vmap`,
        by one kernel for all.
        """
        values = self._columns_on_gpu(model) if on_gpu() else self._columns(model)
        return self.offset + values[0], values[1:]

    def _columns_on_gpu(self, model: AbstractFourierModel) -> Float[Array, "n e k"]:
        law, years = model.still(self.expiry)
        if any(jnp.shape(leaf) not in ((), (0,)) for leaf in jax.tree.leaves(law)):
            return self._columns(model)
        return _columns_by_kernel(eqx.tree_at(lambda grid: grid.expiry, self, years), law)

    def _columns(self, model: AbstractFourierModel) -> Float[Array, "n e k"]:
        rows, sets, nodes = self.z.re.shape
        found = model.basis(self.z.flat_rows(), self.expiry[:, None])
        phi = exp(found.log_cf + self.log_factor.flat_rows())
        # columns first: one product with the weights for all of them
        parts = jnp.stack([jnp.concatenate([x.re, x.im], axis=-1) for x in (phi, *(phi * row for row in found.rows))])
        parts = jnp.swapaxes(parts.reshape(-1, rows, 2, sets, nodes), 2, 3).reshape(-1, rows, sets, 2 * nodes)
        by_side = jnp.einsum("ekm,nesm->neks", self.weights, parts)
        return by_side[..., 0] if sets == 1 else jnp.where(self.side == 0, by_side[..., 0], by_side[..., 1])

    def apply(self, factored_cf: Float[Array, "e s m"]) -> Float[Array, "e k"]:
        """The linear functional."""
        by_side = jnp.einsum("ekm,esm->eks", self.weights, factored_cf)
        if self.z.re.shape[1] == 1:
            return self.offset + by_side[:, :, 0]
        return self.offset + jnp.where(self.side == 0, by_side[:, :, 0], by_side[:, :, 1])

    def controlled(self, log_strike: Float[Array, "e k"], total_vol: Float[Array, " e"]) -> "FourierGrid":
        """With Black's formula at `total_vol` as control variate under the same rule, so that only the difference to it
        is integrated: an offset for a grid whose contour crosses at -i/2.
        """
        black = black_otm(total_vol[:, None], jnp.exp(log_strike), 1.0, forward=1.0)
        variance = (total_vol**2)[:, None, None]
        control = exp(self.log_factor - (0.5 * variance) * (self.z * self.z + 1j * self.z))
        offset = black - self.apply(jnp.concatenate([control.re, control.im], axis=-1))
        return eqx.tree_at(lambda grid: grid.offset, self, offset)


def on_gpu() -> bool:
    """Whether what is traced here runs on a GPU: a caller may have chosen a processor beside one."""
    device = jax.config.jax_default_device  # type: ignore[attr-defined]
    return (jax.default_backend() if device is None else getattr(device, "platform", device)) in ("gpu", "cuda")


@jax.custom_batching.custom_vmap
def _columns_by_kernel(grid: FourierGrid, model: AbstractFourierModel) -> Float[Array, "n e k"]:
    """Of one grid as XLA has it; of many by `fourier_kernel.py`."""
    return grid._columns(model)


@_columns_by_kernel.def_vmap
def _(size: int, mapped: Any, grid: FourierGrid, model: AbstractFourierModel) -> tuple[Array, bool]:
    def wide(leaf: Array, has: bool) -> Array:
        return leaf if has else jnp.broadcast_to(leaf, (size, *jnp.shape(leaf)))

    grid, model = (jax.tree.map(wide, tree, has) for tree, has in zip((grid, model), mapped, strict=True))
    parts = grid.expiry, grid.z, grid.log_factor, grid.weights, grid.side
    try:
        from jaxcal.pricing import fourier_kernel
    except ImportError:  # a build of JAX without Triton
        return jax.vmap(FourierGrid._columns)(grid, model), True
    if not type(model).__module__.startswith("jaxcal.") and not _lowers(fourier_kernel.linearised_lanes, model, *parts):
        return jax.vmap(FourierGrid._columns)(grid, model), True
    return fourier_kernel.linearised_lanes(model, *parts), True


def _lowers(kernel: Any, *args: Any) -> bool:
    """Whether Triton takes a user's basis: it has no arrays of its own in it, and only some of JAX's functions."""
    shapes = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype), args)
    try:
        jax.jit(kernel).trace(*shapes).lower(lowering_platforms=("cuda",))
    except Exception:  # of whatever kind: XLA's operations do the same
        return False
    return True
