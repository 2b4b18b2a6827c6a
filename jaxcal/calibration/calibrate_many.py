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
from jaxcal.calibration.arguments import Bounds
from jaxcal.calibration.arguments_of_many import (
    by_position,
    checked_starts,
    in_order,
    make_priors,
    make_targets,
    stacked_priors,
    stacked_starts,
    starts_given,
)
from jaxcal.calibration.best_fit import best_fit
from jaxcal.calibration.calibration_spec import CalibrationSpec, spec_of
from jaxcal.calibration.engine.dispatch import Devices, Precision, single
from jaxcal.calibration.engine.many_surfaces import ManySurfaces
from jaxcal.calibration.engine.multistart import FitSettings
from jaxcal.calibration.engine.one_surface import OneSurface
from jaxcal.calibration.engine.shape_buckets import few_shapes, shapes_of, stacked_targets
from jaxcal.calibration.objective.fit_data import Target
from jaxcal.calibration.objective.loss import AbstractLoss
from jaxcal.calibration.objective.objective import Objective
from jaxcal.calibration.objective.prior import AbstractPrior, Scaled
from jaxcal.calibration.objective.residuals import AbstractResidual
from jaxcal.calibration.objective.weights import AbstractWeights, find_weights
from jaxcal.calibration.prior_strength import (
    SearchedPriors,
    at_strength,
    is_searched,
    noise_of_quotes,
    search_of,
    searched_part,
)
from jaxcal.calibration.results.fits import Fits, ShapeBatch
from jaxcal.calibration.results.unfitted import make_unfitted, without_unfitted
from jaxcal.market.surface import Surface
from jaxcal.models.base import AbstractModel
from jaxcal.pricing.pricer import AbstractPricer
from jaxcal.solvers.least_squares import AbstractLeastSquaresSolver

Model = TypeVar("Model", bound=AbstractModel)


@host_only
def calibrate_many(
    model: type[Model] | Model | CalibrationSpec[Model] | Sequence[Model] | Mapping[Any, Model],
    surfaces: Sequence[Surface | Any] | Mapping[Any, Surface | Any] | Surface,
    *,
    residual: AbstractResidual | None = None,
    loss: AbstractLoss | str | None = None,
    weights: Sequence[ArrayLike | None] | Mapping[Any, ArrayLike] | AbstractWeights | str | None = None,
    solver: AbstractLeastSquaresSolver | None = None,
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
            leading axis of surfaces on its fields; or an instance for each surface, in a sequence or a dict; or a
            `CalibrationSpec` of the first two. With `free`, the other fields stay as they are in the instance.
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
    template, begin = starts_given(model.model if isinstance(model, CalibrationSpec) else model, keys)
    shared = prior if prior is None or not isinstance(prior, Mapping) else ()
    spec: CalibrationSpec[Model] = spec_of(
        model if isinstance(model, CalibrationSpec) else template, residual=residual, loss=loss, solver=solver,
        pricer=pricer, free=free, bounds=bounds, prior=shared,
    )  # fmt: skip
    names, residual = spec.names, spec.residual
    remembered = weights is None and spec.weights is not None
    if remembered and np.ndim(spec.weights) in (1, 2):
        raise ValueError("the spec has weights of the quotes of one surface: give weights for each, or a rule")
    every = by_position(spec.weights if weights is None else weights, keys, "weights")
    reasons: dict[int, str] = {}
    targets = make_targets(given, every, reasons, spread=residual.needs_spread, remembered=remembered)
    begin = checked_starts(begin, given, reasons)
    loss, settings = spec.loss, FitSettings.of(spec)
    priors = make_priors(prior if isinstance(prior, Mapping) else spec.prior, template, keys)
    rules = {i: searched_part(one, template) for i, one in enumerate(priors) if one is not None and is_searched(one)}
    noise = _noise(rules, given, targets, residual, reasons)
    fitted = np.asarray([i for i in range(len(keys)) if i not in reasons], int)
    objective = Objective(residual, scales=spec.scales)
    asked = _asked(spec, begin, every, priors, reasons)
    parts = [_refused(i, template if begin is None else begin[i], names, given[i]) for i in reasons]
    several = spec.free is None
    if template.vectors:
        # as long as the surface has expiries, or as the model has intervals: each its own program

        def alone(i: int) -> ShapeBatch:
            weighed = eqx.tree_at(lambda s: s.weight, given[i], jnp.asarray(targets[i].weight))
            start = template if begin is None else begin[i]
            one = priors[i]
            searched = None if i not in rules else search_of(one, template, weighed, residual)  # type: ignore[arg-type]
            result, used = best_fit(start, OneSurface(settings, weighed), loss, one, searched=searched, several=several)
            result, used = jax.tree.map(lambda leaf: np.asarray(leaf)[None], (result, used))
            weight = targets[i].weight[None]
            return ShapeBatch(np.asarray([i]), weight, without_unfitted(result, weight), *used)

        with ThreadPoolExecutor(os.cpu_count()) as pool:
            parts += pool.map(alone, fitted.tolist())
        return Fits(keys, given, reasons, names, tuple(parts), objective, asked)
    for group, shape in few_shapes(shapes_of(targets, fitted)):
        for place in _of_one_search(fitted[group], rules, priors):
            target = stacked_targets(targets, place, shape)
            start = template if begin is None else stacked_starts([begin[i] for i in place], target)
            if precision == "float32":
                target = single(target)
                start = start if isinstance(start, type) else single(start)
            quotes = ManySurfaces(settings, target, precision, devices)

            def combined(strength: NDArray, place: NDArray = place, dtype: Any = target.vol.dtype) -> Any:
                each = zip(place, strength, strict=True)
                return stacked_priors([at_strength(priors[i], float(x)) for i, x in each], dtype)  # type: ignore[arg-type]

            searched = own = None
            if place[0] in rules:
                levels = [np.zeros(shape) for _ in place]
                for level, i in zip(levels, place, strict=True):
                    level[tuple(slice(size) for size in noise[i].shape)] = noise[i]
                searched = SearchedPriors([rules[i] for i in place], combined, levels)
            else:
                own = stacked_priors([priors[i] for i in place], target.vol.dtype)
            result, used = best_fit(start, quotes, loss, own, searched=searched, several=several)
            parts.append(ShapeBatch(place, target.weight, without_unfitted(result, target.weight), *used))
    return Fits(keys, given, reasons, names, tuple(parts), objective, asked)


def _asked(
    spec: CalibrationSpec, begin: Sequence[Any] | None, weights: Sequence[Any] | None, priors: Sequence[Any],
    reasons: Mapping[int, str],
) -> CalibrationSpec | tuple[CalibrationSpec, ...]:  # fmt: skip
    """What is asked of all surfaces; or of each, where they have starts, weights or priors of their own."""
    rules = [None] * len(priors) if weights is None else list(weights)
    if begin is None and all(len(set(map(id, some))) == 1 for some in (rules, priors)):
        rule = rules[0]
        return spec.own(prior=priors[0], weights=find_weights(rule) if isinstance(rule, str) and not reasons else rule)
    rules = [find_weights(rule) if isinstance(rule, str) and i not in reasons else rule for i, rule in enumerate(rules)]
    starts = [spec.model] * len(priors) if begin is None else begin
    return tuple(
        spec.own(model=start, weights=rule, prior=prior)
        for start, rule, prior in zip(starts, rules, priors, strict=True)
    )


def _noise(
    rules: Mapping[int, Scaled], given: Sequence[Any], targets: Mapping[int, Target], residual: AbstractResidual,
    reasons: dict[int, str],
) -> dict[int, NDArray]:  # fmt: skip
    """Of the surfaces whose priors have a strength that is to be found, residuals that are all noise, or a reason."""
    found = {}
    for i, rule in rules.items():
        if i in reasons:
            continue
        try:
            weighed = eqx.tree_at(lambda s: s.weight, given[i], targets[i].weight)
            found[i] = noise_of_quotes(rule, weighed, residual)
        except ValueError as error:
            reasons[i] = f"Not fitted: {error}."
    return found


def _of_one_search(
    place: NDArray, rules: Mapping[int, Scaled], priors: Sequence[AbstractPrior | None]
) -> list[NDArray]:
    """Surfaces parted so that all of a part have priors without a search, or of one structure by one rule."""
    if not rules:
        return [place]
    groups: dict[Any, list[int]] = {}
    for i in place.tolist():
        key = (rules[i].strength, jax.tree.structure(at_strength(priors[i], 0.0))) if i in rules else None  # type: ignore[arg-type]
        groups.setdefault(key, []).append(i)
    return [np.asarray(group) for group in groups.values()]


def _refused(i: int, model: type[AbstractModel] | AbstractModel, names: tuple[str, ...], surface: Any) -> ShapeBatch:
    """A result for a surface that was not fitted."""
    e, k = surface.vol.shape if isinstance(surface, Surface) else (1, 1)
    result = make_unfitted(model, names, (e, k), Outcome.INVALID)
    return ShapeBatch(np.asarray([i]), np.zeros((1, e, k)), jax.tree.map(lambda leaf: np.asarray(leaf)[None], result))
