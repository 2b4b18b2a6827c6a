"""Rounds of many surfaces of one padded shape: cut into pieces of a few sizes, spread over cores or devices."""

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from typing import Any, Literal, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, PartitionSpec
from jaxtyping import Array

from jaxcal._status import Outcome
from jaxcal.calibration.round import Method, Round, Target, solve_many
from jaxcal.models.base import AbstractModel

Model = TypeVar("Model", bound=AbstractModel)
Precision = Literal["float64", "float32", "mixed"]

_PIECES = (8, 64, 512)  # surfaces in one call, on a processor: a handful of programs serve batches of any size
_LANES = 16  # that step together on one core: as many as its cache holds the grids of
_ACCELERATOR_PIECES = (1024, 16384, 131072)
_ACCELERATOR_LANES = 16384


def rounds(
    names: tuple[str, ...],
    method: Method,
    target: Target,
    start: Model,
    precision: Precision = "float64",
    devices: Sequence[jax.Device] | None = None,
) -> Round[Model]:
    """A `Round` of each surface, on the host; every field of `target` and `start`, numpy arrays, has a leading axis.

    In mixed precision each fit runs in float32 first and continues in float64 from where that ended.
    """
    if precision == "mixed" and target.vol.dtype == np.float64:
        rough = _spread(names, _cast(method._replace(check=None), np.float32), *_cast((target, start), np.float32), devices)
        usable = (rough.outcome != Outcome.NOT_FINITE) & np.isfinite(rough.cost)
        start = jax.tree.map(
            lambda new, old: np.where(usable.reshape(-1, *(1,) * (old.ndim - 1)), new.astype(old.dtype), old),
            rough.model,
            start,
        )
        found = _spread(names, method, target, start, devices)
        return jax.tree.map(lambda x: x, found, is_leaf=None) if rough is None else _with_steps(found, rough)
    return _spread(names, method, target, start, devices)


def _with_steps(found: Round[Model], rough: Round[Model]) -> Round[Model]:
    import equinox as eqx

    return eqx.tree_at(lambda r: r.num_steps, found, found.num_steps + rough.num_steps)


def _cast(tree: Any, dtype: Any) -> Any:
    """Every array of floating point numbers in another precision."""
    return jax.tree.map(
        lambda leaf: np.asarray(leaf, dtype)
        if isinstance(leaf, np.ndarray | jax.Array) and jnp.issubdtype(leaf.dtype, jnp.floating)
        else leaf,
        tree,
    )


def _spread(
    names: tuple[str, ...], method: Method, target: Target, start: Model, devices: Sequence[jax.Device] | None
) -> Round[Model]:
    size = len(target.expiry)
    devices = tuple(devices or jax.local_devices())
    on_cpu = devices[0].platform == "cpu"
    workers = (os.cpu_count() or 1) if on_cpu and len(devices) == 1 else len(devices)
    sizes = _PIECES if on_cpu else _ACCELERATOR_PIECES
    # the largest piece that still gives every worker one
    piece = next((s for s in reversed(sizes) if s * workers <= size), next((s for s in sizes if s >= size), sizes[0]))
    lanes = _LANES if on_cpu else _ACCELERATOR_LANES
    lanes, refill = min(lanes, piece), 1 if on_cpu else max(1, min(lanes, piece) // 8)
    stride = piece * (len(devices) if len(devices) > 1 else 1)

    def one(first: int) -> Round[Model]:
        count = min(stride, size - first)
        chosen = np.minimum(np.arange(first, first + stride), size - 1)
        inputs = jax.tree.map(lambda leaf: leaf[chosen], (target, start))
        if len(devices) > 1:
            counts = np.clip(count - piece * np.arange(len(devices)), 0, piece).astype(np.int32)
            found = _sharded(names, lanes, refill, devices)(method, *inputs, counts)
        else:
            found = solve_many(names, lanes, refill, method, *inputs, np.int32(count))
        return jax.tree.map(lambda leaf: np.asarray(leaf)[:count], found)

    starts = range(0, size, stride)
    if len(devices) > 1 or workers == 1 or len(starts) == 1:
        found = [one(first) for first in starts]
    else:
        with ThreadPoolExecutor(workers) as pool:
            found = list(pool.map(one, starts))
    return found[0] if len(found) == 1 else jax.tree.map(lambda *leaves: np.concatenate(leaves), *found)


@lru_cache
def _sharded(names: tuple[str, ...], lanes: int, refill: int, devices: tuple[jax.Device, ...]) -> Any:
    """`solve_many` on every device at once, each with its own part of the surfaces and its own loop: under `jit` of
    sharded inputs the loop would go on everywhere until the slowest surface of all has ended.
    """
    mesh, split, whole = Mesh(np.asarray(devices), ("surface",)), PartitionSpec("surface"), PartitionSpec()

    def local(method: Method, target: Target, start: Any, count: Array) -> Any:
        return solve_many(names, lanes, refill, method, target, start, count[0])

    return jax.jit(
        jax.shard_map(local, mesh=mesh, in_specs=(whole, split, split, split), out_specs=split, check_vma=False)
    )
