"""The `Fit` of the last round of a fit."""

from collections.abc import Callable
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int

from jaxcal._status import Outcome
from jaxcal.calibration.calibration_spec import CalibrationSpec
from jaxcal.calibration.engine.grid_fit import GridFit
from jaxcal.calibration.objective.objective import Objective
from jaxcal.calibration.results.fit import Fit
from jaxcal.calibration.results.goodness_of_fit import GoodnessOfFit, with_far_vols
from jaxcal.calibration.results.unfitted import make_unfitted, without_unfitted
from jaxcal.market.surface import Surface
from jaxcal.models.base import Model


def resolve_outcome(result: GridFit) -> Int[Array, "*b"]:
    """The outcome of the last round of a fit: converged on prices that moved is unresolved."""
    unresolved = result.moved & (result.outcome == Outcome.CONVERGED)
    return jnp.where(unresolved, jnp.asarray(Outcome.UNRESOLVED, result.outcome.dtype), result.outcome)


def make_fit(
    result: GridFit[Model],
    names: tuple[str, ...],
    surface: Surface,
    objective: Objective,
    spec: CalibrationSpec[Model],
) -> Fit[Model]:
    """The result of the last round of a fit, whose steps are those of all; without numbers where nothing was fitted."""
    result = without_unfitted(result, surface.weight)
    shape, dtype = surface.vol.shape, result.model_vol.dtype
    on_grid = np.asarray(result.model_vol).reshape(shape)
    model_vol = with_far_vols(on_grid, result.model, surface)

    # what is as it should be stays: a program for each would take longer than the rest
    def of_all(fn: Callable[[Array], Array], x: Array) -> Array:
        return fn(x) if x.ndim else x

    def on_surface(x: Array) -> Array:
        return x if x.shape == shape else x.reshape(shape)

    rmse_vol = np.asarray(GoodnessOfFit.of(model_vol, surface).rmse_vol, dtype)
    return Fit(
        model=result.model,
        surface=surface,
        residuals=on_surface(result.residuals),
        model_vol=on_surface(result.model_vol) if model_vol is on_grid else jnp.asarray(model_vol, dtype),
        information=result.information,
        cost=of_all(jnp.sum, result.cost),
        rmse_vol=jax.device_put(rmse_vol),
        gradient=of_all(jnp.max, result.gradient),
        num_steps=of_all(jnp.max, result.num_steps),
        outcome=resolve_outcome(result) if np.any(np.asarray(result.moved)) else result.outcome,
        at_bound=result.at_bound,
        free=names,
        objective=objective,
        spec=spec,
    )


def narrow_fit(fit: Fit[Model], surface: Surface) -> Fit[Model]:
    """The fit of `surface.widened(...)` as one of `surface`, with the weights that the fit gave its quotes."""
    expiries, strikes = surface.vol.shape
    weight = np.asarray(fit.surface.weight)[:expiries, :strikes]
    own = surface if np.array_equal(weight, surface.weight) else replace(surface, weight=jnp.asarray(weight))
    return replace(fit, surface=own, **_narrow(fit, surface))


def _narrow(wide: GridFit[Model] | Fit[Model], surface: Surface) -> dict[str, Array]:
    shape = surface.vol.shape
    arrays = {name: getattr(wide, name) for name in ("residuals", "model_vol")}
    if arrays["residuals"].shape != shape:
        # on the host: a slice on the device is one more program for every shape
        arrays = {name: jnp.asarray(np.asarray(x)[: shape[0], : shape[1]]) for name, x in arrays.items()}
    return arrays


def make_step_fit(
    result: GridFit[Model], surface: Surface, objective: Objective, spec: CalibrationSpec[Model]
) -> Fit[Model]:
    """The fit of a round of a surface that was padded to a larger shape."""
    whole = replace(result, **_narrow(result, surface))
    return make_fit(whole, spec.names, surface, objective, spec)


def make_empty_fit(
    model: type[Model] | Model, surface: Surface, outcome: Outcome, spec: CalibrationSpec[Model]
) -> Fit[Model]:
    """A fit that did not take place: no numbers, and none in the model."""
    result = make_unfitted(model, spec.names, surface.vol.shape, outcome, np.asarray(surface.vol).dtype)
    return make_fit(result, spec.names, surface, Objective(scales=spec.scales), spec)
