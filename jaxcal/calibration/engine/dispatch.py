"""Batches of surfaces of one padded shape, cut into pieces of a few sizes and dispatched to cores or devices."""

import dataclasses
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache, partial
from threading import Lock
from typing import Any, Literal

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, PartitionSpec
from jaxtyping import Array

from jaxcal._status import Outcome
from jaxcal.calibration.engine.grid_fit import (
    GridFit,
    LossAndPrior,
    Method,
    solve_batch,
    solve_on_finer_grid,
    solve_on_grid,
)
from jaxcal.calibration.objective.fit_data import Target
from jaxcal.compilation.quick_jit import QuickJit, never
from jaxcal.models.base import Model
from jaxcal.solvers.levenberg_marquardt import LevenbergMarquardt

Precision = Literal["float64", "float32", "mixed"]
Devices = Sequence[Any] | None  # of jax.Device

_PIECES = (512,)  # surfaces in one call, on a processor, however few they are: one program serves batches of any size
_FEW = 16  # surfaces, at most, fitted one by one there, by the program of `calibrate`: it compiles in half the time
_LANES, _REFILL = 8, 2  # fits that step together on one core, as many as its cache holds, and that are replaced at once
_ACCELERATOR_PIECES = (1024, 16384, 131072)
# Of a piece an eighth steps together, at most so many, and a quarter of them is replaced at once: by the model of
# `benchmarks.speed.gpu_compile` more lanes wait longer for the last fits, fewer for their kernels to start.
_ACCELERATOR_LANES = 8192
_STARTING = Lock()  # calls start one after the other and run together: two at once would both compile what is new


def fit_batch(
    names: tuple[str, ...],
    method: Method,
    target: Target,
    start: Model,
    precision: Precision = "float64",
    devices: Devices = None,
    own: LossAndPrior | None = None,
    *,
    rare: bool = False,
) -> GridFit[Model]:
    """A `GridFit` of each surface, on the host; every field of `target`, `start` and `own`, numpy arrays, has a leading
    axis.

    With `rare`, few surfaces are fitted by slower programs that compile quickly, for grids that few need.

    In mixed precision each fit runs in float32 first and continues in float64 from where that ended.
    """
    if precision != "mixed" or target.vol.dtype == np.float32:
        return _spread(names, method, target, start, devices, own, rare)
    quotes, begin, near = single((target, start, own))
    solver = method.solver
    if isinstance(solver, LevenbergMarquardt):
        # only near: what single precision takes to converge, double precision does in two steps
        solver = dataclasses.replace(solver, xtol=0.03, ftol=1e-3, gtol=1e-3, atol=1e-4)
    rough = _spread(names, single(method._replace(check=None, solver=solver)), quotes, begin, devices, near, rare)
    usable = (rough.outcome != Outcome.NOT_FINITE) & np.isfinite(rough.cost)
    start = jax.tree.map(lambda new, old: np.where(usable, new.astype(old.dtype), old), rough.model, start)
    found = _spread(names, method, target, start, devices, own, rare)
    return eqx.tree_at(lambda r: r.num_steps, found, found.num_steps + rough.num_steps)


def single(tree: Any) -> Any:
    """Every array of floating point numbers in single precision."""
    return jax.tree.map(
        lambda x: np.asarray(x, np.float32) if eqx.is_array_like(x) and jnp.result_type(x) == np.float64 else x, tree
    )


def _spread(
    names: tuple[str, ...],
    method: Method,
    target: Target,
    start: Model,
    devices: Devices,
    own: LossAndPrior | None,
    rare: bool,
) -> GridFit[Model]:
    size = len(target.expiry)
    devices = tuple(devices or jax.local_devices())
    on_cpu = on_processors(devices)
    workers = (os.cpu_count() or 1) if on_cpu and len(devices) == 1 else len(devices)
    if on_cpu and len(devices) == 1 and size <= _FEW:
        solve_one = partial(solve_on_finer_grid if rare else solve_on_grid, names)
        return _one_by_one(solve_one, method, target, start, own, devices[0], workers)
    sizes = _PIECES if on_cpu else _ACCELERATOR_PIECES
    piece = next((s for s in sizes if s * workers >= size), sizes[-1])
    lanes = min(_LANES, piece) if on_cpu else min(_ACCELERATOR_LANES, max(1, piece // 8))
    refill = _REFILL if on_cpu else max(1, lanes // 4)

    def solve(inputs: Any, count: int) -> GridFit[Model]:
        target, start, own = inputs
        with jax.default_device(devices[0]):  # by which a trace knows the platform too
            if len(devices) == 1:
                return solve_batch(names, lanes, refill, method, target, start, np.int32(count), own)
            counts = np.clip(count - piece * np.arange(len(devices)), 0, piece).astype(np.int32)
            return _sharded(names, lanes, refill, devices)(method, target, start, counts, own)

    several = len(devices) > 1
    return _in_pieces(
        solve, (target, start, own), size, piece * (len(devices) if several else 1), 1 if several else workers
    )


def on_processors(devices: Devices) -> bool:
    """Whether fits run on processors."""
    return (devices or jax.local_devices())[0].platform == "cpu"


def run_in_pieces(fn: Callable[..., Any], inputs: tuple[Any, ...], size: int, devices: Devices) -> Any:
    """`fn` of trees of arrays with a leading axis, on the first device, by programs of the sizes that fits have there;
    on the host.
    """
    device = (devices or jax.local_devices())[0]
    piece = next((s for s in _ACCELERATOR_PIECES if s >= size), _ACCELERATOR_PIECES[-1])

    def run(some: Any, _: int) -> Any:
        with jax.default_device(device):
            return fn(*some)

    return _in_pieces(run, inputs, size, piece, 1)


def _one_by_one(
    solve: Callable[..., GridFit[Model]], method: Method, target: Target, start: Model, own: LossAndPrior | None,
    device: Any, workers: int,
) -> GridFit[Model]:  # fmt: skip
    def one(i: int) -> GridFit[Model]:
        mine, begin, more = jax.tree.map(lambda leaf: leaf[i], (target, start, own))
        by = method if more is None else method._replace(**more._asdict())
        with _STARTING, jax.default_device(device):
            found = solve(by, mine, begin)
        return jax.tree.map(np.asarray, found)

    with ThreadPoolExecutor(workers) as pool:
        return jax.tree.map(lambda *leaves: np.stack(leaves), *pool.map(one, range(len(target.expiry))))


def _in_pieces(fn: Callable[[Any, int], Any], inputs: Any, size: int, piece: int, workers: int) -> Any:
    """`fn` of parts of the leading axis, filled up to `piece`, each with how many of it count."""
    number = -(-size // piece)
    number = min(size, -(-number // workers) * workers)
    edges = np.linspace(0, size, number + 1).astype(int)

    def started(i: int) -> tuple[Any, int]:
        first, count = int(edges[i]), int(edges[i + 1] - edges[i])
        whole = first + piece <= size  # a view then, not a copy
        chosen = slice(first, first + piece) if whole else np.minimum(np.arange(first, first + piece), size - 1)
        with _STARTING:
            return fn(jax.tree.map(lambda leaf: leaf[chosen], inputs), count), count

    def fetched(found: Any, count: int) -> Any:
        return jax.tree.map(lambda leaf: np.asarray(leaf)[:count], found)

    if workers == 1 or number == 1:
        # the next piece is on its way while the results of one come back
        found, running = [], started(0)
        for i in range(1, number):
            following = started(i)
            found.append(fetched(*running))
            running = following
        found.append(fetched(*running))
    else:
        with ThreadPoolExecutor(workers) as pool:
            found = list(pool.map(lambda i: fetched(*started(i)), range(number)))
    return found[0] if number == 1 else jax.tree.map(lambda *leaves: np.concatenate(leaves), *found)


@lru_cache
def _sharded(names: tuple[str, ...], lanes: int, refill: int, devices: tuple) -> Any:
    """`solve_batch` on every device at once, each with its own surfaces and its own loop: under `jit` of sharded inputs
    every loop would run until the slowest surface of all has ended.
    """
    mesh, split, whole = Mesh(np.asarray(devices), ("surface",)), PartitionSpec("surface"), PartitionSpec()

    def local(method: Method, target: Target, start: Any, count: Array, own: LossAndPrior | None) -> Any:
        return solve_batch(names, lanes, refill, method, target, start, count[0], own)

    return QuickJit(
        jax.shard_map(local, mesh=mesh, in_specs=(whole, split, split, split, split), out_specs=split, check_vma=False),
        small=never, task="fits of many surfaces",
    )  # fmt: skip
