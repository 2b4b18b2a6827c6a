"""One fit of a stream, as one compiled program, and the `Fit` of it."""

from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

import equinox as eqx
import jax
import numpy as np
from jaxtyping import Array

from jaxcal._status import Outcome
from jaxcal.calibration.arguments import checked_weights
from jaxcal.calibration.engine.grid_fit import GridFit, Method, is_small, solve_on_grid
from jaxcal.calibration.objective.fit_data import Target
from jaxcal.calibration.objective.residuals import AbstractResidual
from jaxcal.calibration.objective.weights import AbstractWeights
from jaxcal.calibration.results.fit import Fit
from jaxcal.calibration.results.make_fit import resolve_outcome
from jaxcal.compilation.quick_jit import QuickJit
from jaxcal.market.surface import Surface
from jaxcal.models.base import Model
from jaxcal.models.parameters import Scales, to_vector
from jaxcal.streams.filter_step import estimate_noise
from jaxcal.streams.state import StreamState
from jaxcal.streams.update import Update

_BETTER = 0.95  # of the cost, from which on another optimum is worth a move
_FAR_BETTER = 0.75  # of the cost, from which on one surface is enough


class StepFit(NamedTuple):
    """A fit on one grid with its search vector, and the noise above which it is absurd and not worth a finer grid,
    which may have to be compiled.
    """

    result: GridFit[Any]
    y: Array
    absurd: float

    @property
    def moved(self) -> bool:
        """Whether to fit again on the next grid."""
        return bool(self.result.moved) and not estimate_noise(np.asarray(self.result.residuals))[0] > self.absurd


@partial(QuickJit, static_argnums=0, small=is_small, task="step of a stream")
def solve_step(names: tuple[str, ...], method: Method, target: Target, start: Model) -> tuple[GridFit[Model], Array]:
    """A fit on one grid, with its outcome by the finer grid, and its search vector, from one program."""
    result = solve_on_grid(names, method, target, start)
    result = eqx.tree_at(lambda r: r.outcome, result, resolve_outcome(result))
    return result, to_vector(result.model, names, method.scales)


def usable_quotes(
    surface: Surface, residual: AbstractResidual, weights: AbstractWeights | str | None, parameters: int
) -> Target | Outcome:
    """The quotes on the host, or why so many parameters cannot be fitted to them."""
    target = jax.tree.map(np.asarray, Target.of(surface, spread=residual.needs_spread))
    try:
        if weights is not None:
            target = target._replace(weight=target.weight * np.asarray(checked_weights(weights, surface)))
    except ValueError:
        return Outcome.INVALID
    used = target.weight > 0
    lines = used.any(axis=-1)
    numbers = (target.vol[used], target.strike[used], target.expiry[lines], target.forward[lines])
    if not all((np.isfinite(x) & (x > 0)).all() for x in numbers) or not np.isfinite(target.weight).all():
        return Outcome.INVALID
    return target if used.sum() >= parameters else Outcome.TOO_FEW_QUOTES


def make_state(
    fit: Fit[Model],
    names: tuple[str, ...],
    scales: Scales,
    stationary: np.ndarray,
    at: float,
    years: float,
    shape: tuple[int, ...],
    update: Update,
) -> StreamState[Model]:
    """The state after one fit with the prior `stationary`; `at` is the effective noise of a quote."""
    mean = np.asarray(to_vector(fit.model, names, scales), np.float64)
    noise, correlation = estimate_noise(np.asarray(fit.residuals))
    nothing = np.full(len(mean), np.nan)
    return StreamState(
        model=fit.model,
        mean=mean,
        covariance=np.linalg.inv(np.asarray(fit.information, np.float64) / at**2 + np.linalg.inv(stationary)),
        time=np.asarray(years),
        noise=np.asarray(noise),
        correlation=np.asarray(correlation),
        pace=np.asarray(1.0),
        shape=np.asarray([max(a, b) for a, b in zip(shape, fit.surface.vol.shape, strict=True)]),
        update=np.asarray(update.value),
        surprise=np.asarray(np.nan),
        candidate=nothing,
        candidate_noise=np.asarray(np.nan),
        rejected=np.asarray(0),
        rival=nothing,
        confirmed=np.asarray(0),
        since=np.asarray(0),
        unfitted=np.asarray(0),
    )


def compare_optima(
    state: StreamState[Model], here: Fit[Model], there: Fit[Model], scales: Scales, patience: int
) -> tuple[StreamState[Model], bool]:
    """The state after two fits of one surface without the past, one from the state's mean and one from elsewhere; and
    whether to move there: if it fits better on `patience` surfaces in a row, or far better on this one.
    """
    better, far_better = (
        there.converged and not float(there.cost) >= part * float(here.cost) for part in (_BETTER, _FAR_BETTER)
    )
    mean = np.asarray(to_vector(there.model, there.free, scales), np.float64)
    confirmed = int(state.confirmed) + 1 if better else 0
    rival = mean if better else np.full_like(mean, np.nan)
    state = replace(state, rival=rival, confirmed=np.asarray(confirmed), since=np.asarray(0))
    return state, far_better or confirmed >= patience
