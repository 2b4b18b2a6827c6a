"""The values of many grids, and of their models' bases, as one kernel for NVIDIA's GPUs: phi stays in registers.

XLA writes phi and its pieces to memory and reads them again: of the 580 kB that a step of a Heston fit moves for each
surface, 390. Here a program of the kernel takes a few surfaces and one expiry, evaluates the basis a few nodes at a
time, and adds up its products with the weights.

The sizes are chosen for registers: a thread evaluates one node, and holds the products of all nodes with some strikes.
So the axis of nodes is the first, which no two threads share, and a sum over it stays within each.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import pallas as pl
from jax.experimental.pallas import triton as plgpu
from jaxtyping import Array, Float, Int

from jaxcal.models.base import AbstractFourierModel
from jaxcal.models.complex_math import Cartesian, exp

_THREADS = 32  # of one program
_SUMS = 4  # for each of the basis, of one thread


def linearised_lanes(
    model: AbstractFourierModel,
    expiry: Float[Array, "l e"],
    z: Cartesian,
    log_factor: Cartesian,
    weights: Float[Array, "l e k m"],
    side: Int[Array, "l e k"],
    *,
    lanes: int | None = None,
    interpret: bool = False,
) -> Float[Array, "l n e k"]:
    """Re(W . (c phi b)) for b = 1 and every function of the model's basis.

    Args:
        model: its fields `[l]`, one for each lane, or `[l 0]`; its `basis` acts on arrays element by element.
        expiry, z, log_factor, weights, side: those of `FourierGrid`, with a leading axis of lanes.
        lanes: of one program of the kernel, a power of two up to 16; as many as suit the strikes by default.
        interpret: whether to run it as JAX's own operations, on any platform.
    """
    size, expiries, strikes = side.shape
    sets, nodes = z.re.shape[2:]
    leaves, structure = jax.tree.flatten(model)
    whole = tuple(bool(jnp.size(leaf)) for leaf in leaves)  # a vector without entries is no argument of a kernel
    columns, wide = 1 + model.basis_size, int(pl.next_power_of_2(strikes))
    lanes = min(16, max(1, _SUMS * _THREADS // wide)) if lanes is None else lanes
    chunk = max(1, _THREADS // (lanes * sets))
    body = partial(_program, structure, whole, columns, sets, nodes, chunk, wide, lanes)
    dtype = weights.dtype
    call: Callable[..., Array] = pl.pallas_call(
        body,
        grid=(pl.cdiv(size, lanes), expiries),
        out_shape=jax.ShapeDtypeStruct((size, columns, expiries, strikes), dtype),
        name="fourier_basis",
        interpret=interpret,
        compiler_params=None if interpret else plgpu.CompilerParams(num_warps=_THREADS // 32, num_stages=1),
    )
    fields = [jnp.asarray(leaf, dtype) for leaf in leaves if jnp.size(leaf)]
    flat = (x.reshape(size, expiries, sets * nodes) for x in (z.re, z.im, log_factor.re, log_factor.im))
    return call(expiry, *flat, weights, side, *fields)


def _program(
    structure: Any, whole: tuple[bool, ...], columns: int, sets: int, nodes: int, chunk: int, wide: int, lanes: int,
    expiry: Any, z_re: Any, z_im: Any, factor_re: Any, factor_im: Any, weights: Any, side: Any, *rest: Any,
) -> None:  # fmt: skip
    """One program: some lanes, one expiry."""
    *fields, out = rest
    size, _, strikes = side.shape
    e = pl.program_id(1)
    lane = pl.program_id(0) * lanes + jnp.arange(lanes, dtype=jnp.int32)
    here = lane < size  # the last program has lanes that are none
    strike = jnp.arange(wide, dtype=jnp.int32)
    quoted = here[:, None] & (strike < strikes)[None, :]
    of_set = jnp.arange(sets, dtype=jnp.int32)[:, None, None]

    def take(ref: Any, *place: Any, mask: Array, other: float | int = 0.0) -> Array:
        return plgpu.load(ref.at[place], mask=mask, other=jnp.full(mask.shape, other, ref.dtype))

    numbers = (take(ref, lane, mask=here, other=0.1)[None, None, :] for ref in fields)
    law = jax.tree.unflatten(structure, [next(numbers) if has else np.zeros(0) for has in whole])
    t = take(expiry, lane, e, mask=here, other=1.0)[None, None, :]
    below = (take(side, lane[:, None], e, strike[None, :], mask=quoted, other=0) == 0)[None, :, :]

    def some(j: Array, sums: list[Array]) -> list[Array]:
        n = j * chunk + jnp.arange(chunk, dtype=jnp.int32)
        known = (n < nodes)[:, None] & here[None, :]
        wanted = jnp.broadcast_to(known[None], (sets, *known.shape))
        place = lane[None, None, :], e, of_set * nodes + n[None, :, None]
        # where there is no node, one at which every law is finite: its weight is 0, and 0 times no number is none
        z = Cartesian(*(take(ref, *place, mask=wanted, other=at) for ref, at in ((z_re, 0.5), (z_im, -0.5))))
        factor = Cartesian(*(take(ref, *place, mask=wanted) for ref in (factor_re, factor_im)))
        found = law.basis(z, t)
        phi = exp(found.log_cf + factor)
        every, added = known[:, :, None] & quoted[None, :, :], list(sums)
        for part, first in (("re", 0), ("im", nodes)):
            place = lane[None, :, None], e, strike[None, None, :], (first + n)[:, None, None]
            weight = take(weights, *place, mask=every)
            for c, row in enumerate([phi, *(phi * row for row in found.rows)]):
                # values have no slices here: that of one set is a sum in which the others are zero
                every_set = getattr(row, part)
                by_set = [jnp.sum(jnp.where(of_set == s, every_set, 0.0), axis=0)[:, :, None] for s in range(sets)]
                added[c] += jnp.sum(weight * (by_set[0] if sets == 1 else jnp.where(below, *by_set)), axis=0)
        return added

    nothing = [jnp.zeros((lanes, wide), weights.dtype) for _ in range(columns)]
    sums = jax.lax.fori_loop(np.int32(0), np.int32(-(-nodes // chunk)), some, nothing)
    for c, total in enumerate(sums):
        plgpu.store(out.at[lane[:, None], c, e, strike[None, :]], total, mask=quoted)
