"""The values of many grids, and of their models' bases, as one kernel for NVIDIA's GPUs: phi stays in registers.

XLA writes phi and its pieces to memory and reads them again: of the 580 kB that a step of a Heston fit moves for each
surface, 390. Here a program of the kernel takes a few surfaces and one expiry, evaluates the basis a few nodes at a
time, and adds up its products with the weights.
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

_CHUNK = 4  # nodes at a time


def linearised_lanes(
    model: AbstractFourierModel,
    expiry: Float[Array, "l e"],
    z: Cartesian,
    log_factor: Cartesian,
    weights: Float[Array, "l e k m"],
    side: Int[Array, "l e k"],
    *,
    lanes: int = 16,
    warps: int = 2,
    interpret: bool = False,
) -> Float[Array, "l n e k"]:
    """Re(W . (c phi b)) for b = 1 and every function of the model's basis.

    Args:
        model: its fields `[l]`, one for each lane.
        expiry, z, log_factor, weights, side: those of `FourierGrid`, with a leading axis of lanes.
        lanes: of one program of the kernel, a power of two.
        warps: that work on it.
        interpret: whether to run it as JAX's own operations, on any platform.
    """
    size, expiries, strikes = side.shape
    sets, nodes = z.re.shape[2:]
    leaves, structure = jax.tree.flatten(model)
    columns = 1 + model.basis_size
    body = partial(_program, structure, columns, sets, nodes, strikes, lanes)
    dtype = weights.dtype
    call: Callable[..., Array] = pl.pallas_call(
        body,
        grid=(pl.cdiv(size, lanes), expiries),
        out_shape=jax.ShapeDtypeStruct((size, columns, expiries, strikes), dtype),
        name="fourier_basis",
        interpret=interpret,
        compiler_params=None if interpret else plgpu.CompilerParams(num_warps=warps, num_stages=1),
    )
    fields = [jnp.broadcast_to(jnp.asarray(leaf, dtype), (size,)) for leaf in leaves]
    flat = (x.reshape(size, expiries, sets * nodes) for x in (z.re, z.im, log_factor.re, log_factor.im))
    return call(expiry, *flat, weights, side, *fields)


def _program(
    structure: Any, columns: int, sets: int, nodes: int, strikes: int, lanes: int,
    expiry: Any, z_re: Any, z_im: Any, factor_re: Any, factor_im: Any, weights: Any, side: Any, *rest: Any,
) -> None:  # fmt: skip
    """One program: some lanes, one expiry."""
    *fields, out = rest
    size = expiry.shape[0]
    first, e = pl.program_id(0) * lanes, pl.program_id(1)
    wide = int(pl.next_power_of_2(strikes))
    lane, strike = first + jnp.arange(lanes, dtype=jnp.int32), jnp.arange(wide, dtype=jnp.int32)
    zero = e * 0  # of one integer type: JAX's interpreter takes no other
    rows = pl.ds(first, lanes)
    here = lane < size  # the last program has lanes that are none
    quoted = here[:, None] & (strike < strikes)[None, :]

    def take(ref: Any, *place: Any, mask: Array, other: float | int = 0.0) -> Array:
        return plgpu.load(ref.at[(rows, e, *place)], mask=mask, other=jnp.full(mask.shape, other, ref.dtype))

    def column(ref: Any) -> Array:
        return plgpu.load(ref.at[rows], mask=here, other=jnp.full(lanes, 0.1, ref.dtype))[:, None]

    law = jax.tree.unflatten(structure, [column(ref) for ref in fields])
    t = take(expiry, mask=here, other=1.0)[:, None]
    below = (take(side, pl.ds(zero, wide), mask=quoted, other=0) == 0)[:, :, None]

    def some(j: Array, sums: tuple[Array, ...]) -> tuple[Array, ...]:
        n = j * _CHUNK + jnp.arange(_CHUNK, dtype=jnp.int32)
        known = here[:, None] & (n < nodes)[None, :]

        def terms(s: int) -> list[Cartesian]:
            place = pl.ds(s * nodes + j * _CHUNK, _CHUNK)
            z = Cartesian(*(take(ref, place, mask=known, other=0.5) for ref in (z_re, z_im)))
            factor = Cartesian(*(take(ref, place, mask=known) for ref in (factor_re, factor_im)))
            found = law.basis(z, t)
            phi = exp(found.log_cf + factor)
            return [phi, *(phi * row for row in found.rows)]

        of_sets = [terms(s) for s in range(sets)]
        every = quoted[:, :, None] & known[:, None, :]
        re, im = (
            take(weights, pl.ds(zero, wide), pl.ds(start + j * _CHUNK, _CHUNK), mask=every) for start in (0, nodes)
        )
        added = []
        for total, *sides in zip(sums, *of_sets, strict=True):
            parts = [(one.re[:, None, :], one.im[:, None, :]) for one in sides]
            a, b = parts[0] if sets == 1 else (jnp.where(below, x, y) for x, y in zip(*parts, strict=True))
            added.append(total + jnp.sum(re * a + im * b, axis=2))
        return tuple(added)

    nothing = tuple(jnp.zeros((lanes, wide), weights.dtype) for _ in range(columns))
    sums = jax.lax.fori_loop(np.int32(0), np.int32(-(-nodes // _CHUNK)), some, nothing)
    for c, total in enumerate(sums):
        plgpu.store(out.at[rows, pl.ds(zero + c, 1), e, pl.ds(zero, wide)], total[:, None, :], mask=quoted[:, None, :])
