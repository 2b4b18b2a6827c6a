"""Refit: how the minimum of a fit moves with its quotes, for any number of fits."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float
from numpy.typing import NDArray

from jaxcal._status import Outcome
from jaxcal.calibration.arguments_of_many import for_each
from jaxcal.calibration.engine.grid_refinement import (
    Refined,
    agreement,
    derivative_grids,
    put_rows,
    refine,
    take_rows,
)
from jaxcal.calibration.engine.shape_buckets import few_shapes, stacked
from jaxcal.calibration.objective.calibration_problem import CalibrationProblem, build_grid
from jaxcal.calibration.objective.fit_data import Target
from jaxcal.calibration.objective.objective import Objective
from jaxcal.calibration.objective.residuals import ImpliedVolResidual, MarketValues
from jaxcal.calibration.results.fit import Fit
from jaxcal.compilation.quick_jit import QuickJit
from jaxcal.compilation.side_by_side import map_some, side_by_side
from jaxcal.market.padding import power_of_two
from jaxcal.models.base import AbstractModel
from jaxcal.models.parameters import from_vector, natural_vector, to_vector
from jaxcal.pricing.pricer import AbstractPricer
from jaxcal.pricing.sinh import Sinh
from jaxcal.solvers.implicit import minimum

_TOGETHER = 64  # fits worked on together on an accelerator
_CHUNK = 64, 1024  # fits in one program, by platform


class Refit(NamedTuple):
    """Derivatives of the free parameters, in their own units and one row a place, in the target volatilities.

    Attributes:
        slope: `[p, E, K]`; `[E, p, 1, K]` where every expiry was fitted by itself. 0 at padding and for parameters at
            their bounds, NaN where the fit did not converge or its Hessian is not positive definite.
        parameters: `[p]`, `[E, p]`: the minimum itself on that grid, to more digits than the fit has.
    """

    slope: NDArray[np.floating]
    parameters: NDArray[np.floating]


class _Item(NamedTuple):
    """One minimum: the quotes, the model there, which of its places are held, and what was made small."""

    target: Target
    model: AbstractModel
    held: Bool[Array | np.ndarray, "*b p"]
    objective: Objective


class _Moving(NamedTuple):
    """Of every minimum its slope, how far its volatilities are from those reported, its place; and whether another grid
    should say so.
    """

    slope: NDArray[np.floating]
    shift: NDArray[np.floating]
    point: NDArray[np.floating]
    moved: NDArray[np.bool_]


def moving(fit: Fit) -> tuple[str, ...]:
    """The parameters that move with the quotes: the free ones, then those tied to others."""
    return (*fit.free, *(name for name, _ in fit.objective.scales.ties))


def refits(fits: Sequence[Fit]) -> list[Refit]:
    """How each fit moves with its quotes; all have the same class of model and free parameters."""
    found: dict[int, Refit] = {}
    groups: dict[tuple, list[int]] = {}
    for i, fit in enumerate(fits):
        shapes = tuple(np.shape(leaf) for leaf in jax.tree.leaves((fit.model, fit.objective)))
        groups.setdefault((shapes, jax.tree.structure(fit.objective)), []).append(i)
    slices = any(fit.by_expiry for fit in fits)
    for group in groups.values():
        # where parameters are vectors the shapes of the surfaces are left as they are: a padded one is another program
        for members, shape in few_shapes([fits[i].surface.vol.shape for i in group]):  # type: ignore[misc]
            some = [group[j] for j in members]
            if slices:
                for i in some:
                    found[i] = _by_slice(fits[i])
            else:
                found |= dict(zip(some, _together([fits[i] for i in some], shape), strict=True))
    return [found[i] for i in range(len(fits))]


def _together(fits: Sequence[Fit], shape: tuple[int, int]) -> list[Refit]:
    """Fits whose surfaces are padded to one shape."""
    targets = stacked([jax.tree.map(np.asarray, _target(fit)) for fit in fits], shape)
    alone = [for_each(fit.objective, 1, targets.vol.dtype) for fit in fits]
    objectives = jax.tree.map(lambda *leaves: np.concatenate(leaves), *alone)
    models = jax.tree.map(lambda *leaves: np.stack([np.asarray(leaf) for leaf in leaves]), *(f.model for f in fits))
    held = np.stack([np.asarray(fit.at_bound) for fit in fits])
    vols = np.full(targets.vol.shape, np.nan)
    for row, fit in zip(vols, fits, strict=True):
        row[tuple(slice(size) for size in fit.model_vol.shape)] = fit.model_vol
    slopes, _, points, _ = _resolved(fits[0], _Item(targets, models, held, objectives), vols)
    results = []
    for fit, slope, point in zip(fits, slopes, points, strict=True):
        e, k = fit.surface.vol.shape
        used = np.asarray(fit.surface.weight) > 0
        good = int(fit.outcome) == Outcome.CONVERGED
        results.append(Refit(np.where(used, np.where(good, slope[:, :e, :k], np.nan), 0.0), point))
    return results


def _by_slice(fit: Fit) -> Refit:
    """A fit of every expiry by itself: as many minima as expiries."""
    targets = jax.tree.map(np.asarray, _target(fit).slices())
    objectives = for_each(fit.objective, len(targets.vol), targets.vol.dtype)
    models = jax.tree.map(np.asarray, fit.model)
    vols = np.asarray(fit.model_vol)[:, None, :]
    slopes, _, points, _ = _resolved(fit, _Item(targets, models, np.asarray(fit.at_bound), objectives), vols)
    good = (np.asarray(fit.outcome) == Outcome.CONVERGED)[:, None, None, None]
    used = (np.asarray(fit.surface.weight) > 0)[:, None, None, :]
    return Refit(np.where(used, np.where(good, slopes, np.nan), 0.0), points)


def _target(fit: Fit) -> Target:
    return Target.of(fit.surface, spread=fit.objective.residual.needs_spread)


def _resolved(like: Fit, items: _Item, vols: NDArray) -> _Moving:
    """On the first grid that gives each model the volatilities it was reported to have."""
    grids = derivative_grids(like.model)
    known = np.isfinite(vols) & (items.target.weight > 0)

    def run(before: _Moving | None, level: NDArray[np.int64], rows: NDArray[np.bool_]) -> _Moving:
        left = np.flatnonzero(rows)
        program = partial(_compiled, like.free, moving(like), grids[int(level[left[0]])])  # all are on one level
        slope, vol, point = _in_chunks(program, take_rows(items, left))
        shift = vol - vols[left]
        least = agreement(_size(vols[left] - items.target.vol[left], known[left]), slope.dtype)
        found = _Moving(slope, shift, point, ~(_size(shift, known[left]) <= least))
        return found if before is None else put_rows(before, left, found)

    everything, coarsest = np.ones(len(vols), bool), np.zeros(len(vols), int)
    first = Refined(run(None, coarsest, everything), coarsest)
    return refine(run, first, everything, len(grids) - 1).found


def _size(values: NDArray, known: NDArray) -> NDArray:
    """Root mean square over the quotes known."""
    quotes = np.maximum(known.sum(axis=(1, 2)), 1)
    return np.sqrt(np.sum(np.where(known, values, 0.0) ** 2, axis=(1, 2)) / quotes)


def _in_chunks(fn: Callable[[_Item], tuple[Array, ...]], items: _Item) -> tuple[NDArray, ...]:
    """Padded to powers of two, so that few programs serve all."""
    count, found = len(items.held), []
    chunk = side_by_side(*_CHUNK)
    for start in range(0, count, chunk):
        rows = np.arange(start, min(start + chunk, count))
        padded = np.resize(rows, power_of_two(len(rows)))
        parts = fn(jax.tree.map(lambda x: jnp.asarray(x[padded]), items))  # noqa: B023
        found.append([np.array(part)[: len(rows)] for part in parts])
    return tuple(np.concatenate(parts) for parts in zip(*found, strict=True))


@partial(QuickJit, static_argnums=(0, 1, 2), task="derivatives of fits in their quotes")
def _compiled(
    names: tuple[str, ...], moved: tuple[str, ...], pricer: AbstractPricer | None, items: _Item
) -> tuple[Array, ...]:
    """On a processor one after the other: a minimum fills it by itself."""
    return map_some(partial(_one, names, moved, pricer), items, side_by_side(1, _TOGETHER))


def _one(
    names: tuple[str, ...], moved: tuple[str, ...], pricer: AbstractPricer | None, item: _Item
) -> tuple[Float[Array, "q e k"], Float[Array, "e k"], Float[Array, " q"]]:
    target, model, held, objective = item
    residual, prior, loss, scales = objective.residual, objective.prior, objective.loss, objective.scales
    shape = target.vol.shape
    market = MarketValues.of(*target)
    # a price does not depend on where the grid is
    grid = jax.lax.stop_gradient(build_grid(model, market, pricer or Sinh()))
    root_weight = jnp.sqrt(target.weight)

    def problem(vol: Array) -> CalibrationProblem:
        there = MarketValues.of(*target._replace(vol=vol.reshape(shape)))
        return CalibrationProblem(model, names, there, grid, residual, prior, root_weight, loss, scales)

    def natural(y: Array) -> Array:
        return natural_vector(from_vector(model, names, y, scales), moved)

    y = to_vector(model, names, scales)
    found = minimum(lambda y, vol: problem(vol).cost(y), y, target.vol.ravel(), jnp.asarray(held))
    slope = jax.jacfwd(natural)(found.y) @ found.slope
    # as the fit reports it
    vol = market.vol + ImpliedVolResidual()(problem(target.vol).values(y), market)
    return slope.reshape(-1, *shape), vol, natural(found.y)
