"""calibrate_many: one model to many surfaces."""

# pyright: reportArgumentType=false
# (arrays on the host, where the nouns are declared with those of JAX)
import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar, get_args

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import ArrayLike, NDArray

from jaxcal._arguments import host_only
from jaxcal._status import Outcome
from jaxcal.calibration.arguments import Bounds, free_names, intervals, scales_of, without_ties
from jaxcal.calibration.arguments_of_many import (
    by_position,
    checked_starts,
    for_each,
    in_order,
    priors_of,
    stacked_priors,
    stacked_starts,
    starts_given,
    targets_of,
)
from jaxcal.calibration.calibrate import calibrate
from jaxcal.calibration.engine.dispatch import Devices, Precision, single
from jaxcal.calibration.engine.grid_fit import Own, Round
from jaxcal.calibration.engine.grid_refinement import PERFECT
from jaxcal.calibration.engine.multistart import Batch, Settings, added, best_tries
from jaxcal.calibration.engine.shape_buckets import few_shapes, stacked
from jaxcal.calibration.objective.fit_data import Target
from jaxcal.calibration.objective.loss import AbstractLoss, at_scale, is_automatic, loss_of
from jaxcal.calibration.objective.objective import Objective
from jaxcal.calibration.objective.prior import AbstractPrior
from jaxcal.calibration.objective.residuals import AbstractResidual, ImpliedVolResidual
from jaxcal.calibration.objective.weights import AbstractWeights
from jaxcal.calibration.prior_strength import is_searched
from jaxcal.calibration.results.fits import Fits, Part
from jaxcal.calibration.results.unfitted import unknown_model, without_unfitted
from jaxcal.calibration.robust_scale import MOST_ROUNDS, UNBOUNDED, least_scale, scale_of, unsettled
from jaxcal.market.surface import Surface
from jaxcal.models.base import AbstractModel
from jaxcal.pricing.pricer import AbstractPricer
from jaxcal.solvers.least_squares import AbstractLeastSquaresSolver
from jaxcal.solvers.levenberg_marquardt import LevenbergMarquardt

Model = TypeVar("Model", bound=AbstractModel)

_SOLVER, _RESIDUAL = LevenbergMarquardt(), ImpliedVolResidual()


@host_only
def calibrate_many(
    model: type[Model] | Model | Sequence[Model] | Mapping[Any, Model],
    surfaces: Sequence[Surface | Any] | Mapping[Any, Surface | Any] | Surface,
    *,
    residual: AbstractResidual = _RESIDUAL,
    loss: AbstractLoss | str | None = None,
    weights: Sequence[ArrayLike | None] | Mapping[Any, ArrayLike] | AbstractWeights | str | None = None,
    solver: AbstractLeastSquaresSolver = _SOLVER,
    pricer: AbstractPricer | None = None,
    free: Sequence[str] | None = None,
    bounds: Bounds | None = None,
    prior: AbstractPrior | Sequence[AbstractPrior] | Mapping[Any, AbstractPrior] | None = None,
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
        residual, loss, solver, pricer, free, bounds, prior: as in `calibrate`, for all surfaces. A loss whose scale
            comes from the residuals has its own for each surface. Priors in a dict, as from `toward(fits)`, are those
            of the surfaces with these keys; the others have none.
        weights: for each surface `[E, K]` or None; or a rule for all, or its name, as in `calibrate`.
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
    scales, limits = scales_of(template, bounds), intervals(template, bounds)
    names = without_ties(free_names(template, free), free, scales)
    reasons: dict[int, str] = {}
    targets = targets_of(given, by_position(weights, keys, "weights"), reasons, spread=residual.needs_spread)
    begin = checked_starts(begin, given, reasons)
    loss = loss_of(loss)
    settings = Settings(names, limits, residual, solver, pricer, precision, devices, scales)
    priors = priors_of(prior, template, keys)
    fitted = np.asarray([i for i in range(len(keys)) if i not in reasons], int)
    objective = Objective(residual, scales=scales)
    refused = [_refused(i, template if begin is None else begin[i], names, given[i]) for i in reasons]
    if template.vectors or any(map(is_searched, priors)):
        # as long as the surface has expiries, or as the model has intervals: each its own program; or each a search
        common = {"residual": residual, "solver": solver, "pricer": pricer, "free": free, "bounds": bounds}

        def alone(i: int) -> Part:
            weighed = eqx.tree_at(lambda s: s.weight, given[i], jnp.asarray(targets[i].weight))
            fit = calibrate(template if begin is None else begin[i], weighed, loss=loss, prior=priors[i], **common)
            return Part.of_fit(i, fit)

        with ThreadPoolExecutor(os.cpu_count()) as pool:
            parts = tuple(pool.map(alone, fitted.tolist()))
        return Fits(keys, given, reasons, names, (*refused, *parts), objective)
    parts = []
    for group, shape in few_shapes([targets[i].vol.shape for i in fitted]):  # type: ignore[misc]
        place = fitted[group]
        batch = stacked([targets[i] for i in place], shape)
        start = None if begin is None else stacked_starts([begin[i] for i in place], batch)
        if precision == "float32":
            batch, start = single((batch, start))
        own = Own(None, stacked_priors([priors[i] for i in place], batch.vol.dtype))
        result, used = _fit_at_scale(template, Batch(batch, own), start, settings, loss, several=free is None)
        parts.append(Part(place, batch.weight, without_unfitted(result, batch.weight), used, own.prior))
    return Fits(keys, given, reasons, names, (*refused, *parts), objective)


def _fit_at_scale(
    template: type[AbstractModel],
    batch: Batch,
    begin: Any,
    settings: Settings,
    loss: AbstractLoss | None,
    *,
    several: bool,
) -> tuple[Round, AbstractLoss | None]:
    """A batch with its loss, and that loss for each surface; an automatic scale as `loss_scale` has it."""
    size, dtype = len(batch.target.expiry), batch.target.vol.dtype
    automatic = is_automatic(loss)
    wide: Any = for_each(at_scale(loss, UNBOUNDED) if automatic else loss, size, dtype)

    def fitted(batch: Batch, begin: Any, loss: Any, several: bool) -> Round:
        batch = batch._replace(own=batch.own._replace(loss=loss))
        return best_tries(template, batch, begin, settings, several=several).found

    found = fitted(batch, begin, wide, several)
    if loss is None or not automatic:
        return found, wide
    scale, least, rows = np.full(size, UNBOUNDED), least_scale(np.asarray(found.residuals, float)), np.arange(size)
    for _ in range(MOST_ROUNDS):
        new = scale_of(loss.tuning, np.asarray(found.residuals[rows], float), least[rows])
        go = unsettled(new, scale[rows]) & ~(_rmse_of_surfaces(found, batch.target)[rows] <= PERFECT)
        rows, new = rows[go], new[go]
        if not rows.size:
            break
        scale[rows] = new
        start = jax.tree.map(lambda leaf: leaf[rows], found.model)  # noqa: B023
        found = added(found, rows, fitted(batch.rows(rows), start, at_scale(wide, new.astype(dtype)), False))
    return found, at_scale(wide, scale.astype(dtype))


def _rmse_of_surfaces(found: Round, target: Target) -> NDArray:
    if found.rmse_vol.ndim == 1:
        return np.asarray(found.rmse_vol)
    counts = np.sum(target.weight > 0, axis=-1)
    return np.sqrt(np.sum(found.rmse_vol**2 * counts, axis=1) / np.maximum(counts.sum(axis=1), 1))


def _refused(i: int, model: type[AbstractModel] | AbstractModel, names: tuple[str, ...], surface: Any) -> Part:
    """A result for a surface that was not fitted."""
    e, k = surface.vol.shape if isinstance(surface, Surface) else (1, 1)
    quotes = (e, 1, k) if model.per_expiry else (e, k)
    slices, p = (e,) if model.per_expiry else (), len(names)

    def nan(*shape: int) -> jax.Array:
        return jnp.full((1, *shape), jnp.nan)

    like = unknown_model(model) if isinstance(model, type) else model
    result = Round(
        model=jax.tree.map(lambda _: nan(*slices), like),
        residuals=nan(*quotes), model_vol=nan(*quotes), information=nan(*slices, p, p), cost=nan(*slices),
        rmse_vol=nan(*slices), gradient=nan(*slices), num_steps=jnp.zeros((1, *slices), jnp.int32),
        outcome=jnp.full((1, *slices), int(Outcome.INVALID), jnp.int32),
        at_bound=jnp.zeros((1, *slices, p), bool), moved=jnp.zeros((1, *slices), bool),
    )  # fmt: skip
    return Part(np.asarray([i]), np.zeros((1, e, k)), jax.tree.map(np.asarray, result))
