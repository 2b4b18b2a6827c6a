"""calibrate: one model to one surface."""

from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from itertools import chain, islice
from typing import Any, NamedTuple, TypeVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array
from numpy.typing import ArrayLike

from jaxcal._arguments import host_only
from jaxcal.calibration.arguments import (
    Bounds,
    checked_weights,
    free_names,
    intervals,
    scales_of,
    start_of,
    without_ties,
)
from jaxcal.calibration.engine.grid_fit import Method, Round, solve_round, solve_slices
from jaxcal.calibration.engine.grid_refinement import (
    PERFECT,
    goes_on,
    goes_to_contours,
    is_better,
    ladder_of,
    last_shared,
)
from jaxcal.calibration.engine.piecewise_bootstrap import bootstrapped
from jaxcal.calibration.objective.fit_data import Target
from jaxcal.calibration.objective.loss import AbstractLoss, is_automatic, loss_of
from jaxcal.calibration.objective.objective import Objective
from jaxcal.calibration.objective.prior import AbstractPrior, prior_of
from jaxcal.calibration.objective.residuals import AbstractResidual, ImpliedVolResidual
from jaxcal.calibration.objective.weights import AbstractWeights
from jaxcal.calibration.prior_strength import fit_with_own_strength, is_searched
from jaxcal.calibration.results.fit import CalibrationError, Fit
from jaxcal.calibration.results.fit_from_rounds import fit_of
from jaxcal.calibration.robust_scale import fit_with_own_scale
from jaxcal.calibration.starts.starting_values import GROWN, simpler_model, starts_from
from jaxcal.market.surface import Surface
from jaxcal.models.base import AbstractModel
from jaxcal.models.interval import Interval
from jaxcal.models.parameters import search_bounds
from jaxcal.models.refusal import refuse_unlawful
from jaxcal.pricing.pricer import AbstractPricer
from jaxcal.solvers.least_squares import AbstractLeastSquaresSolver
from jaxcal.solvers.levenberg_marquardt import LevenbergMarquardt

Model = TypeVar("Model", bound=AbstractModel)

_SOLVER, _RESIDUAL = LevenbergMarquardt(), ImpliedVolResidual()


class _Settings(NamedTuple):
    """What is fitted and how, and what is made small."""

    names: tuple[str, ...]
    limits: Mapping[str, Interval]
    objective: Objective
    solver: AbstractLeastSquaresSolver
    pricer: AbstractPricer | None


class _Try(NamedTuple):
    """A fit from one start: its last round with the steps of all, and the rung of the ladder that this was."""

    found: Round[Any]
    rung: int


@host_only
def calibrate(
    model: type[Model] | Model,
    surface: Surface,
    *,
    residual: AbstractResidual = _RESIDUAL,
    loss: AbstractLoss | str | None = None,
    weights: ArrayLike | AbstractWeights | str | None = None,
    solver: AbstractLeastSquaresSolver = _SOLVER,
    pricer: AbstractPricer | None = None,
    free: Sequence[str] | None = None,
    bounds: Bounds | None = None,
    prior: AbstractPrior | Sequence[AbstractPrior] | None = None,
    throw: bool = False,
) -> Fit[Model]:
    """Fit a model to a surface by least squares, or with a robust loss, with exact derivatives.

    The pricing grid is built once, from the market; after the fit the quotes are priced again at the solution on a
    finer grid, and where that moves them, the grid is rebuilt there and the fit continues.

    Args:
        model: a class, to start from parameters read off the surface (for a model with several optima, from several
            points, of which the best is kept); or an instance, to start there and nowhere else.
        surface: market quotes, `[E, K]`.
        residual: what is made small; `ImpliedVolResidual()` by default.
        loss: of every residual: `Huber(0.01)`, `SoftL1()`, `Cauchy()`, your own, or a name ("huber") for the one whose
            scale comes from the residuals; least squares by default.
        weights: multiply the weights of the surface (and the losses): `[E, K]`, as from `weights_from`; a rule such as
            `VegaWeights()`; or its name, "uniform", "vega" or "inverse_spread".
        solver: for instance `LevenbergMarquardt(xtol=1e-6)`; other numbers do not recompile.
        pricer: the Fourier method, `Sinh()` by default.
        free: names of the parameters to fit; all by default. The others stay as in `model`.
        bounds: by name, `(lower, upper)` to replace the model's own; an `Interval` with a unit or an origin, as
            `feller_bounds` gives; or the name of another parameter, to which this one is then tied.
        prior: residuals of the parameters, added to those of the quotes: `Gaussian(...)`, `toward(fit)`, `Feller()`,
            `Smoothness(...)` or your own; several in a sequence.
        throw: raise `CalibrationError` where the fit does not converge, instead of saying so in `fit.status`.

    Returns:
        A `Fit`. A surface that cannot be fitted (fewer quotes than parameters, no finite price at the start) is a
        status, not an error, and every number of that fit is NaN.

    Raises:
        ValueError: an unknown loss, a prior that names no parameter of the model, a tie that cannot be, an
            unknown parameter in `free` or `bounds`, an empty interval, weights that are negative or not
            finite, or of another shape.
            Also a class of your own whose `log_cf` is no law: see `check_model`.
        CalibrationError: with `throw`, where the fit does not converge.

    Example:
        >>> import jaxcal as jc
        >>> truth = jc.Heston(v0=0.04, kappa=1.5, theta=0.06, sigma=0.7, rho=-0.65)
        >>> strike, expiry = [80.0, 90.0, 100.0, 110.0, 120.0], [0.25, 1.0]
        >>> vol = [jc.model_vol(truth, jnp.asarray(strike), t, forward=100.0) for t in expiry]
        >>> fit = jc.calibrate(jc.Heston, jc.Surface.from_vols(expiry, strike, vol, forward=100.0))
        >>> print(f"{fit.model.kappa:.4f} {fit.model.rho:.4f}")
        1.5000 -0.6500
    """
    template = model if isinstance(model, type) else type(model)
    scales, prior = scales_of(template, bounds), prior_of(prior, template)
    names, limits = without_ties(free_names(template, free), free, scales), intervals(template, bounds)
    if weights is not None:
        surface = eqx.tree_at(lambda s: s.weight, surface, surface.weight * checked_weights(weights, surface))
    loss = loss_of(loss)
    common = {"residual": residual, "solver": solver, "pricer": pricer}
    if prior is not None and is_searched(prior):

        def run_with(start: type[Model] | Model, more: AbstractPrior, loss: AbstractLoss | None) -> Fit[Model]:
            return calibrate(start, surface, loss=loss, free=free, bounds=bounds, prior=more, **common)

        return _checked(fit_with_own_strength(run_with, model, loss, prior), throw)
    if loss is not None and is_automatic(loss):

        def run_at(start: type[Model] | Model, loss: AbstractLoss) -> Fit[Model]:
            return calibrate(start, surface, loss=loss, free=free, bounds=bounds, prior=prior, **common)

        return _checked(fit_with_own_scale(run_at, model, loss, PERFECT), throw)
    settings = _Settings(names, limits, Objective(residual, prior, loss, scales), solver, pricer)
    result = _best(model, surface, settings, several=free is None).found
    return _checked(fit_of(result, names, surface, settings.objective), throw)


def _checked(fit: Fit[Model], throw: bool) -> Fit[Model]:
    if throw and not fit.converged:
        raise CalibrationError(str(fit.status))
    return fit


def _best(model: type[Any] | Any, surface: Surface, settings: _Settings, *, several: bool) -> _Try:
    """The best of the fits from several starts, or from the first; with the steps of all.

    Every fit gets one finer grid, if that moves its prices (but no contours of a quote's own, unless that is all there
    is). Then the lowest, or the lowest confirmed one, goes on to the end; of the others those that are not behind it go
    on, and to contours of a quote's own only where they are lower. After a perfect fit the others are spared.
    """
    names, limits, objective, solver, pricer = settings
    residual, prior, loss = objective.residual, objective.prior, objective.loss
    template = model if isinstance(model, type) else type(model)
    first = 0
    if not isinstance(model, type):
        starts = [start_of(model, surface)]
    elif (simpler := simpler_model(template)) is not None:
        plain = settings._replace(
            names=free_names(simpler, None), limits=simpler.bounds, objective=Objective(residual, loss=loss)
        )
        before, first = _best(simpler, surface, plain, several=True)
        starts = starts_from(template, surface, before.model)
    else:
        starts = starts_from(template, surface)
    starts = starts if several else starts[:1]  # from elsewhere the fixed parameters would be others
    refuse_unlawful(starts[0], surface.expiry, numbers=False)

    ladder = ladder_of(template, pricer)
    shared = last_shared(ladder)
    first = min(first, shared)
    slices = template.per_expiry
    one = jax.tree.map(lambda leaf: leaf[0], starts[0]) if slices else starts[0]
    box = search_bounds(one, limits, names, surface.vol.dtype)
    target = Target.of(surface, spread=residual.needs_spread)

    def run(start: Any, rung: int, target: Target = target) -> Round[Any]:
        method = Method(residual, prior, solver, box, *ladder[rung], loss, objective.scales)
        return (solve_slices if slices else solve_round)(names, method, target, start)

    def climbed(tried: _Try, last: int) -> _Try:
        """Where a finer grid moves the prices, the grid is rebuilt there and the fit goes on."""
        found, rung = tried
        while np.any(np.asarray(found.moved)) and rung < min(last, len(ladder) - 1):
            rung += 1
            found = _after(run(found.model, rung), found)
        return _Try(found, rung)

    waiting: Iterable[Any] = starts
    if isinstance(model, type) and model in GROWN:
        # the first as it is, too; each only when it is tried
        staged = (bootstrapped(lambda t, m: run(m, first, t), start, names, target) for start in starts)
        waiting = chain(islice(staged, 1), starts[:1], staged)
    tries: list[_Try] = []
    for start in waiting:
        tries.append(climbed(_Try(run(start, first), first), min(first + 1, max(shared, 1))))
        if np.all(np.asarray(tries[-1].found.rmse_vol) <= PERFECT):
            break
    tries.sort(key=_rank)
    best = climbed(tries[0], len(ladder))
    for tried in tries[1:]:
        other = climbed(tried, max(shared, 1)) if np.any(goes_on(tried.found, best.found)) else tried
        if np.any(goes_to_contours(other.found, best.found)):
            other = climbed(other, len(ladder))
        steps = best.found.num_steps + other.found.num_steps
        better = is_better(other.found, best.found)
        found = jax.tree.map(partial(_choose, better), other.found, best.found)
        best = _Try(eqx.tree_at(lambda r: r.num_steps, found, steps), other.rung if np.all(better) else best.rung)
    return best


def _rank(tried: _Try) -> tuple[bool, float]:
    """Fits whose prices are confirmed come first, then the lower."""
    cost = float(np.sum(np.asarray(tried.found.cost)))
    return bool(np.any(np.asarray(tried.found.moved))), np.inf if np.isnan(cost) else cost


def _after(found: Round[Any], before: Round[Any]) -> Round[Any]:
    """A round with the steps of those before it."""
    return eqx.tree_at(lambda r: r.num_steps, found, found.num_steps + before.num_steps)


def _choose(first: np.ndarray, a: Array, b: Array) -> Array:
    if not first.ndim:
        return a if first else b
    return jnp.where(first.reshape(first.shape + (1,) * (a.ndim - first.ndim)), a, b)
