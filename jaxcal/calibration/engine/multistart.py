# pyright: reportArgumentType=false
# (arrays on the host, where the nouns are declared with those of JAX)
"""Tries: the fits of many surfaces from one start each, and the best of those from several starts."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import equinox as eqx
import jax
import numpy as np
from numpy.typing import NDArray

from jaxcal.calibration.arguments import free_names
from jaxcal.calibration.engine.dispatch import Devices, Precision, rounds
from jaxcal.calibration.engine.grid_fit import Method, Own, Round
from jaxcal.calibration.engine.grid_refinement import (
    PERFECT,
    goes_on,
    goes_to_contours,
    is_better,
    ladder_of,
    last_shared,
)
from jaxcal.calibration.objective.fit_data import Target
from jaxcal.calibration.objective.residuals import AbstractResidual
from jaxcal.calibration.starts.starting_values import simpler_model, starting_models
from jaxcal.models.base import AbstractModel
from jaxcal.models.interval import Interval
from jaxcal.models.parameters import Scales, search_bounds
from jaxcal.models.refusal import refuse_unlawful
from jaxcal.pricing.pricer import AbstractPricer
from jaxcal.solvers.least_squares import AbstractLeastSquaresSolver

_RARE = 32  # of how many surfaces one may go on to a finer grid by a program that is soon compiled and slow


class Settings(NamedTuple):
    """What all surfaces share."""

    names: tuple[str, ...]
    limits: Mapping[str, Interval]
    residual: AbstractResidual
    solver: AbstractLeastSquaresSolver
    pricer: AbstractPricer | None
    precision: Precision
    devices: Devices
    scales: Scales


class Batch(NamedTuple):
    """Surfaces of one padded shape: every leaf has a leading axis."""

    target: Target
    own: Own

    def rows(self, chosen: NDArray) -> "Batch":
        return rows_of(self, chosen)


class Tries(NamedTuple):
    """A fit of each surface: the last round, with the steps of all, and which rung of the ladder that was."""

    found: Round
    rung: NDArray[np.int64]


def best_tries(template: type[AbstractModel], batch: Batch, begin: Any, settings: Settings, *, several: bool) -> Tries:
    """The best of the fits from several starts, or from the first, as `calibrate` has it; from `begin` if given."""
    shape = batch.target.expiry.shape
    first = np.zeros(shape[0], int)
    if begin is not None:
        starts = [begin]
    elif (simpler := simpler_model(template)) is not None:
        plain = settings._replace(names=free_names(simpler, None), limits=simpler.bounds, scales=Scales())
        without = batch._replace(own=batch.own._replace(prior=None))
        before, first = best_tries(simpler, without, None, plain, several=True)
        starts = starting_models(template, batch.target, batch.target.vol.dtype, before.model)
    else:
        starts = starting_models(template, batch.target, batch.target.vol.dtype)
    starts = starts if several else starts[:1]
    refuse_unlawful(starts[0], numbers=False)

    slices = template.per_expiry
    if slices:
        own = jax.tree.map(lambda leaf: np.repeat(leaf, shape[1], axis=0), batch.own)
        batch, starts = Batch(jax.tree.map(_merged, batch.target.slices()), own), jax.tree.map(_merged, starts)
        first = np.repeat(first, shape[1])
    climb = _Climb(template, batch, settings, rows_of(starts[0], 0))

    tries, rows = [], np.arange(len(first))
    for start in starts:
        if tries:
            rows = rows[~(tries[-1].found.rmse_vol[rows] <= PERFECT)]
            if not rows.size:
                break
        more = climb.begun(rows, rows_of(start, rows), first[rows])
        tries.append(put(_unfit(tries[0]), rows, more) if tries else more)
    # the lowest, or the lowest confirmed one, goes on to the end, and of the others those that are not behind it
    cost, moved = (np.stack([getattr(each.found, name) for each in tries]) for name in ("cost", "moved"))
    order = np.lexsort((np.where(np.isnan(cost), np.inf, cost), moved), axis=0)
    best = climb.up(_chosen(tries, order[0]), np.arange(len(first)))
    for place in order[1:]:
        others = _chosen(tries, place)
        others = climb.up(others, np.flatnonzero(goes_on(others.found, best.found)), to_contours=False)
        others = climb.up(others, np.flatnonzero(goes_to_contours(others.found, best.found)))
        better = np.flatnonzero(is_better(others.found, best.found))
        steps = best.found.num_steps + others.found.num_steps
        best = put(best, better, rows_of(others, better))
        best = best._replace(found=eqx.tree_at(lambda r: r.num_steps, best.found, steps))
    return jax.tree.map(lambda leaf: leaf.reshape(*shape, *leaf.shape[1:]), best) if slices else best


class _Climb:
    """Fits of the surfaces of a batch, each on its own rung of the ladder of grids."""

    def __init__(self, template: type[AbstractModel], batch: Batch, settings: Settings, one: Any) -> None:
        self.batch, self.settings = batch, settings
        self.ladder = ladder_of(template, settings.pricer)
        self.shared = max(last_shared(self.ladder), 1)
        self.box = search_bounds(one, settings.limits, settings.names, batch.target.vol.dtype)

    def begun(self, rows: NDArray[np.int64], start: Any, first: NDArray[np.int64]) -> Tries:
        """Fits of these rows from a start each, and on one finer grid where that moves the prices."""
        first = np.minimum(first, last_shared(self.ladder))
        tries = Tries(self._round(rows, start, first), first)
        return self._up(tries, np.arange(len(rows)), rows, self.shared)

    def up(self, tries: Tries, rows: NDArray[np.int64], *, to_contours: bool = True) -> Tries:
        """Where a finer grid moves the prices of these rows, the grid is rebuilt there and the fit goes on: to the end,
        or to the last grid before contours of a quote's own.
        """
        for _ in self.ladder:
            tries = self._up(tries, rows, rows, len(self.ladder) - 1 if to_contours else self.shared)
        return tries

    def _up(self, tries: Tries, places: NDArray[np.int64], rows: NDArray[np.int64], last: int) -> Tries:
        """One rung up, to the `last` at most, for those of the `places` in `tries` whose prices moved; their `rows` are
        those of the batch.
        """
        found, rung = tries
        moved = found.moved[places] & (rung[places] < last)
        places, rows = places[moved], rows[moved]
        if not places.size:
            return tries
        higher = rung[places] + 1
        result = self._round(rows, rows_of(found.model, places), higher)
        return Tries(added(found, places, result), put(rung, places, higher))

    def _round(self, rows: NDArray[np.int64], start: Any, rung: NDArray[np.int64]) -> Round:
        names, _, residual, solver, _, precision, devices, scales = self.settings
        parts, order = [], []
        for level in np.unique(rung):
            at = np.flatnonzero(rung == level)
            pricer, check = self.ladder[level]
            method = Method(residual, None, solver, self.box, pricer, check, None, scales)
            target, own = self.batch.rows(rows[at])
            begin = rows_of(start, at)
            rare = bool(level) and _RARE * len(at) <= len(self.batch.target.expiry)
            parts.append(rounds(names, method, target, begin, precision, devices, own, rare=rare))
            order.append(at)
        if len(parts) == 1:
            return parts[0]
        back = np.argsort(np.concatenate(order))
        return jax.tree.map(lambda *leaves: np.concatenate(leaves)[back], *parts)


def rows_of(tree: Any, chosen: Any) -> Any:
    """Some rows of every array of a tree.

    Example:
        >>> rows_of((np.asarray([1, 2, 3]),), np.asarray([2, 0]))
        (array([3, 1]),)
    """
    return jax.tree.map(lambda leaf: leaf[chosen], tree)


def put(tree: Any, rows: NDArray[np.int64], new: Any) -> Any:
    """A copy with the rows replaced by those of `new`.

    Example:
        >>> put(np.asarray([1, 2, 3]), np.asarray([2, 0]), np.asarray([7, 8]))
        array([8, 2, 7])
    """

    def replaced(old: NDArray, new: NDArray) -> NDArray:
        whole = old.copy()
        whole[rows] = new
        return whole

    return jax.tree.map(replaced, tree, new)


def added(found: Round, rows: NDArray[np.int64], result: Round) -> Round:
    """`found` with the results of a later round in some rows, whose steps are added."""
    return put(found, rows, eqx.tree_at(lambda r: r.num_steps, result, result.num_steps + found.num_steps[rows]))


def _unfit(like: Tries) -> Tries:
    """No fit at all, of surfaces whose fit is perfect already."""
    cost, steps = np.full_like(like.found.cost, np.inf), np.zeros_like(like.found.num_steps)
    return like._replace(found=eqx.tree_at(lambda r: (r.cost, r.num_steps), like.found, (cost, steps)))


def _chosen(tries: Sequence[Tries], which: NDArray[np.int64]) -> Tries:
    """Of each surface the fit from the start that `which` names."""
    return jax.tree.map(lambda *leaves: np.stack(leaves)[which, np.arange(len(which))], *tries)


def _merged(leaf: NDArray) -> NDArray:
    """The first two axes as one."""
    return leaf.reshape(-1, *leaf.shape[2:])
