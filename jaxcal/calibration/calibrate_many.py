"""calibrate_many: one model to many surfaces."""

# pyright: reportArgumentType=false
# (arrays on the host, where the nouns are declared with those of JAX)
import dataclasses
import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple, TypeVar, get_args

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import ArrayLike, NDArray

from jaxcal._status import Outcome
from jaxcal.calibration.arguments import free_names, intervals
from jaxcal.calibration.arguments_of_many import (
    by_position,
    checked_starts,
    in_order,
    stacked_starts,
    starts_given,
    targets_of,
)
from jaxcal.calibration.batch import Devices, Precision, rounds, single, starts_of_many
from jaxcal.calibration.calibrate import PERFECT, calibrate, ladder_of
from jaxcal.calibration.fits import Fits, Part
from jaxcal.calibration.initial import simpler_model
from jaxcal.calibration.objective import Objective
from jaxcal.calibration.prior import AbstractPrior
from jaxcal.calibration.residuals import AbstractResidual, ImpliedVolResidual
from jaxcal.calibration.round import Method, Round
from jaxcal.calibration.shapes import few_shapes, stacked
from jaxcal.calibration.target import Target
from jaxcal.market.surface import Surface
from jaxcal.models.base import AbstractModel
from jaxcal.models.interval import Interval
from jaxcal.models.parameters import search_bounds
from jaxcal.pricing.pricer import AbstractPricer
from jaxcal.solvers.least_squares import AbstractLeastSquaresSolver
from jaxcal.solvers.levenberg_marquardt import LevenbergMarquardt

Model = TypeVar("Model", bound=AbstractModel)

_SOLVER, _RESIDUAL = LevenbergMarquardt(), ImpliedVolResidual()


class _Settings(NamedTuple):
    """What all surfaces share."""

    names: tuple[str, ...]
    limits: Mapping[str, Interval]
    residual: AbstractResidual
    prior: AbstractPrior | None
    solver: AbstractLeastSquaresSolver
    pricer: AbstractPricer | None
    precision: Precision
    devices: Devices


def calibrate_many(
    model: type[Model] | Model | Sequence[Model] | Mapping[Any, Model],
    surfaces: Sequence[Surface | Any] | Mapping[Any, Surface | Any] | Surface,
    *,
    residual: AbstractResidual = _RESIDUAL,
    weights: Sequence[ArrayLike | None] | Mapping[Any, ArrayLike] | None = None,
    solver: AbstractLeastSquaresSolver = _SOLVER,
    pricer: AbstractPricer | None = None,
    free: Sequence[str] | None = None,
    bounds: Mapping[str, Interval | tuple[float, float]] | None = None,
    prior: AbstractPrior | None = None,
    precision: Precision = "float64",
    devices: Devices = None,
) -> Fits[Model]:
    """Fit a model to each of many surfaces, as `calibrate` does one, in compiled batches on all cores or devices.

    Surfaces of different sizes are padded to a few common shapes, so that few programs are compiled. A few fits step
    together; when one ends the next surface takes its place, so none waits for the slowest. The result for a surface
    does not depend on the others.

    Args:
        model: a class, to start from each surface's own data; an instance, to start everywhere there, or one with a
            leading axis of surfaces on its fields; or an instance for each surface, in a sequence or a dict. With
            `free`, the other fields stay as they are in the instance.
        surfaces: a sequence; a dict, whose keys the results then have; or one `Surface` whose fields have a leading
            axis `[B]`. What is not a surface among them gets a status like one that cannot be fitted.
        residual, solver, pricer, free, bounds, prior: as in `calibrate`, for all surfaces.
        weights: for each surface `[E, K]` or None, as in `calibrate`.
        precision: "float64"; "float32"; or "mixed", which iterates in float32 and ends in float64 at the same optimum.
            Surfaces in float32 are fitted in float32.
        devices: where to fit; all of JAX's local devices by default.

    Returns:
        `Fits`, in the order of `surfaces`. A surface that cannot be fitted, or whose weights or start break a rule, has
        a status and a reason, and changes nothing for the others.

    Raises:
        ValueError: no surfaces, more or fewer weights or starts than surfaces, and what `calibrate` raises for
            arguments that all surfaces share.

    Example:
        >>> import jaxcal as jc
        >>> def flat(vol):
        ...     return jc.Surface.from_vols([0.5, 1.0], [90.0, 100.0, 110.0], [[vol] * 3] * 2, forward=100.0)
        >>> fits = jc.calibrate_many(jc.BlackScholes, {"A": flat(0.2), "B": flat(0.3)})
        >>> print(f"{fits['B'].model.sigma:.4f}", fits.outcome)
        0.3000 [0 0]
    """
    if precision not in get_args(Precision):
        raise ValueError(f"precision {precision!r} is none of {', '.join(get_args(Precision))}")
    keys, given = in_order(surfaces)
    template, begin = starts_given(model, keys)
    names, limits = free_names(template, free), intervals(template, bounds)
    reasons: dict[int, str] = {}
    targets = targets_of(given, by_position(weights, keys, "weights"), reasons)
    begin = checked_starts(begin, given, reasons)
    settings = _Settings(names, limits, residual, prior, solver, pricer, precision, devices)
    fitted = np.asarray([i for i in range(len(keys)) if i not in reasons], int)
    objective = Objective(residual, prior)
    refused = [_refused(i, template, names, given[i]) for i in reasons]
    if template.vectors:
        # as long as the surface has expiries, or as the model has intervals: each its own program
        common = {"residual": residual, "solver": solver, "pricer": pricer, "free": free, "bounds": bounds}

        def alone(i: int) -> Part:
            weighed = eqx.tree_at(lambda s: s.weight, given[i], jnp.asarray(targets[i].weight))
            fit = calibrate(template if begin is None else begin[i], weighed, prior=prior, **common)
            return Part.of_fit(i, fit)

        with ThreadPoolExecutor(os.cpu_count()) as pool:
            return Fits(keys, given, reasons, names, (*refused, *pool.map(alone, fitted.tolist())), objective)
    parts = []
    for group, shape in few_shapes([targets[i].vol.shape for i in fitted]):  # type: ignore[misc]
        place = fitted[group]
        batch = stacked([targets[i] for i in place], shape)
        start = None if begin is None else stacked_starts([begin[i] for i in place], batch)
        if precision == "float32":
            batch, start = single((batch, start))
        result = _fit_batch(template, batch, start, settings, several=free is None)
        parts.append(Part(place, batch.weight, result))
    return Fits(keys, given, reasons, names, (*refused, *parts), objective)


def _fit_batch(
    template: type[AbstractModel], batch: Target, begin: Any, settings: _Settings, *, several: bool
) -> Round:
    """`calibrate` of a batch, step by step; the steps of all rounds are added up."""
    names, limits, residual, prior, solver, pricer, precision, devices = settings
    if begin is not None:
        starts = [begin]
    elif (simpler := simpler_model(template)) is not None:
        plain = settings._replace(names=free_names(simpler, None), limits=simpler.bounds, prior=None)
        starts = starts_of_many(template, batch, _fit_batch(simpler, batch, None, plain, several=True).model)
    else:
        starts = starts_of_many(template, batch, None)
    starts = starts if several else starts[:1]

    slices = getattr(template, "per_expiry", False)
    shape = batch.expiry.shape
    if slices:
        batch, starts = Target(*(_merged(x) for x in batch.slices())), jax.tree.map(_merged, starts)
    one = jax.tree.map(lambda leaf: leaf[0], starts[0])
    box = search_bounds(one, limits, names, batch.vol.dtype)

    def resolved(rows: NDArray[np.int64], start: Any) -> Round:
        """Where a finer grid moves the prices of a fit, its grid is rebuilt there and it goes on."""
        found: Any = None
        left, first = np.arange(len(rows)), True
        for method, check in ladder_of(template, pricer):
            if not first:
                left = np.flatnonzero(found.moved)
                start = jax.tree.map(lambda leaf: leaf[left], found.model)  # noqa: B023
            if not left.size:
                break
            quotes = Target(*(field[rows[left]] for field in batch))
            result = rounds(
                names, Method(residual, prior, solver, box, method, check), quotes, start, precision, devices
            )
            found, first = (result if first else _updated(found, left, result)), False
        return found

    everything = np.arange(len(batch.expiry))
    best = resolved(everything, starts[0])
    for start in starts[1:]:
        rows = np.flatnonzero(~(best.rmse_vol <= PERFECT))
        if not rows.size:
            break
        other = resolved(rows, jax.tree.map(lambda leaf: leaf[rows], start))  # noqa: B023
        steps = best.num_steps.copy()
        steps[rows] += other.num_steps
        better = np.isfinite(other.cost) & ~(best.cost[rows] <= other.cost)
        taken = jax.tree.map(lambda leaf: leaf[better], other)  # noqa: B023
        best = _replaced(best, rows[better], taken)
        best = eqx.tree_at(lambda r: r.num_steps, best, steps)
    return jax.tree.map(lambda leaf: leaf.reshape(*shape, *leaf.shape[1:]), best) if slices else best


def _updated(found: Round, rows: NDArray[np.int64], result: Round) -> Round:
    """`found` with the results of a later round in some rows, whose steps are added."""
    return _replaced(found, rows, eqx.tree_at(lambda r: r.num_steps, result, result.num_steps + found.num_steps[rows]))


def _replaced(found: Round, rows: NDArray[np.int64], result: Round) -> Round:
    def put(old: NDArray, new: NDArray) -> NDArray:
        whole = old.copy()
        whole[rows] = new
        return whole

    return jax.tree.map(put, found, result)


def _merged(leaf: NDArray) -> NDArray:
    """The first two axes as one."""
    return leaf.reshape(-1, *leaf.shape[2:])


def _refused(i: int, template: type[AbstractModel], names: tuple[str, ...], surface: Any) -> Part:
    """A result for a surface that was not fitted."""
    e, k = surface.vol.shape if isinstance(surface, Surface) else (1, 1)
    slices, p = (e,) if getattr(template, "per_expiry", False) else (), len(names)

    def nan(*shape: int) -> jax.Array:
        return jnp.full((1, *shape), jnp.nan)

    result = Round(
        model=template(**{field.name: nan(*slices) for field in dataclasses.fields(template)}),
        residuals=nan(e, k), model_vol=nan(e, k), information=nan(*slices, p, p), cost=nan(*slices),
        rmse_vol=nan(*slices), gradient=nan(*slices), num_steps=jnp.zeros((1, *slices), jnp.int32),
        outcome=jnp.full((1, *slices), int(Outcome.INVALID), jnp.int32),
        at_bound=jnp.zeros((1, *slices, p), bool), moved=jnp.zeros((1, *slices), bool),
    )  # fmt: skip
    return Part(np.asarray([i]), np.zeros((1, e, k)), jax.tree.map(np.asarray, result))
