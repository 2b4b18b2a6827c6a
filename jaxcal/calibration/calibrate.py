"""calibrate: one model to one surface."""

from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache, partial
from itertools import chain, islice
from typing import TypeVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int
from numpy.typing import ArrayLike, NDArray

from jaxcal._status import Outcome
from jaxcal.calibration.arguments import (
    Bounds,
    checked_weights,
    free_names,
    intervals,
    scales_of,
    start_of,
    without_ties,
)
from jaxcal.calibration.bootstrap import bootstrapped
from jaxcal.calibration.fit import CalibrationError, Fit
from jaxcal.calibration.initial import simpler_model, starts_from
from jaxcal.calibration.loss import AbstractLoss, is_automatic, loss_of
from jaxcal.calibration.loss_scale import fit_with_own_scale
from jaxcal.calibration.objective import Objective
from jaxcal.calibration.prior import AbstractPrior, prior_of
from jaxcal.calibration.prior_strength import fit_with_own_strength, is_searched
from jaxcal.calibration.residuals import AbstractResidual, ImpliedVolResidual
from jaxcal.calibration.round import Method, Round, solve_round, solve_slices
from jaxcal.calibration.target import Target
from jaxcal.calibration.weights import AbstractWeights
from jaxcal.market.surface import Surface
from jaxcal.models.base import AbstractFourierModel, AbstractModel, AbstractVolModel
from jaxcal.models.parameters import search_bounds
from jaxcal.pricing.laguerre import Laguerre
from jaxcal.pricing.pricer import AbstractPricer
from jaxcal.pricing.saddle import Saddle
from jaxcal.pricing.sinh import Sinh
from jaxcal.solvers.least_squares import AbstractLeastSquaresSolver
from jaxcal.solvers.levenberg_marquardt import LevenbergMarquardt

Model = TypeVar("Model", bound=AbstractModel)

_REBUILDS = 3  # contours built at the solution before the prices there count as unresolved
PERFECT = 1e-8  # root mean square error in volatility, a grid's own, after which no other start is tried
BEHIND = 1.1  # of the best cost: above it, on a grid rebuilt once, a fit from another start is not worth a finer one

_SINH, _SADDLE = Sinh(), Saddle()
_SOLVER, _RESIDUAL = LevenbergMarquardt(), ImpliedVolResidual()


def ladder_of(
    model: type[AbstractModel], pricer: AbstractPricer | None
) -> tuple[tuple[AbstractPricer, AbstractPricer], ...]:
    """The grids of a fit of `model`, each with the finer one that checks it: the next pair is used where the prices
    moved.
    """
    ladder = _ladder(pricer or _SINH)
    # in closed form there is no grid to refine
    return ladder[:1] if issubclass(model, AbstractVolModel) else ladder


@lru_cache
def _ladder(pricer: AbstractPricer) -> tuple[tuple[AbstractPricer, AbstractPricer], ...]:
    """The last pairs give every quote a contour of its own, which resolves what shared nodes cannot."""
    first = pricer.sized()
    pairs: list[tuple[AbstractPricer, AbstractPricer]] = [(first, first.finer() or _SADDLE)]
    if isinstance(first, Sinh | Laguerre) and (first.num_nodes or 0) < 64:
        pairs += [(Sinh(64), Sinh(96)), (Sinh(128), Sinh(192))]
    return (*pairs, *[(Saddle(64), Saddle(128))] * _REBUILDS)


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
        status, not an error.

    Raises:
        ValueError: an unknown loss, a prior that names no parameter of the model, a tie that cannot be, an
            unknown parameter in `free` or `bounds`, an empty interval, weights that are negative or not
            finite, or of another shape.
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
    if not isinstance(model, type):
        starts = [start_of(model, surface)]
    elif (simpler := simpler_model(template)) is not None:
        before = calibrate(simpler, surface, loss=loss, **common)
        starts = starts_from(template, surface, before.model)
    else:
        starts = starts_from(template, surface)
    starts = starts if free is None else starts[:1]  # from elsewhere the fixed parameters would be others

    ladder = ladder_of(template, pricer)
    slices = getattr(template, "per_expiry", False)
    one = jax.tree.map(lambda leaf: leaf[0], starts[0]) if slices else starts[0]
    box = search_bounds(one, limits, names, surface.vol.dtype)
    target = Target.of(surface, spread=residual.needs_spread)

    def run(start: Model, method: AbstractPricer, check: AbstractPricer, target: Target = target) -> Round[Model]:
        return (solve_slices if slices else solve_round)(
            names, Method(residual, prior, solver, box, method, check, loss, scales), target, start
        )

    tried: Iterable[Model] = starts
    if isinstance(model, type) and starts[0].vectors and isinstance(starts[0], AbstractFourierModel):
        # the first as it is, too; each only when it is tried
        staged = (bootstrapped(lambda t, m: run(m, *ladder[0], t), start, names, target) for start in starts)
        tried = chain(islice(staged, 1), starts[:1], staged)
    result, steps = _best(run, tried, ladder)
    return _checked(fit_of(result, steps, names, surface, Objective(residual, prior, loss, scales)), throw)


def _checked(fit: Fit[Model], throw: bool) -> Fit[Model]:
    if throw and not fit.converged:
        raise CalibrationError(str(fit.status))
    return fit


def _best(
    run: Callable[..., Round[Model]], starts: Iterable[Model], ladder: Sequence[tuple[AbstractPricer, AbstractPricer]]
) -> tuple[Round[Model], Int[Array, "*slices"]]:
    """The best of the fits from several starts (for each slice), and the steps of all; after a perfect fit the others
    are spared.
    """
    waiting = iter(starts)
    best, steps = _resolved(run, next(waiting), ladder, np.inf)
    while not np.all(np.asarray(best.rmse_vol) <= PERFECT) and (start := next(waiting, None)) is not None:
        other, more = _resolved(run, start, ladder, BEHIND * np.asarray(best.cost))
        steps = steps + more
        better = np.asarray(np.isfinite(other.cost) & ~(np.asarray(best.cost) <= np.asarray(other.cost)))
        best = jax.tree.map(partial(_choose, better), other, best)
    return best, steps


def _resolved(
    run: Callable[..., Round[Model]],
    start: Model,
    ladder: Sequence[tuple[AbstractPricer, AbstractPricer]],
    most: float | NDArray,
) -> tuple[Round[Model], Int[Array, "*slices"]]:
    """A fit from one start; where a finer grid moves its prices, the grid is rebuilt there and the fit goes on: once
    always, for what a coarse grid says of the cost may be wrong, then only while the cost is at most `most`.
    """
    result = run(start, *ladder[0])
    steps = result.num_steps
    for rung, (method, check) in enumerate(ladder[1:]):
        behind = np.asarray(result.cost) > (most if rung else np.inf)
        if not np.any(np.asarray(result.moved) & ~behind):
            break
        result = run(result.model, method, check)
        steps = steps + result.num_steps
    return result, steps


def _choose(first: np.ndarray, a: Array, b: Array) -> Array:
    if not first.ndim:
        return a if first else b
    return jnp.where(first.reshape(first.shape + (1,) * (a.ndim - first.ndim)), a, b)


def outcome_of(result: Round) -> Int[Array, "*b"]:
    """The outcome of the last round of a fit: converged on prices that moved is unresolved."""
    unresolved = result.moved & (result.outcome == Outcome.CONVERGED)
    return jnp.where(unresolved, jnp.asarray(Outcome.UNRESOLVED, result.outcome.dtype), result.outcome)


def fit_of(
    result: Round[Model], steps: Int[Array, "*slices"], names: tuple[str, ...], surface: Surface, objective: Objective
) -> Fit[Model]:
    """The result of the last round of a fit, with the steps of all."""
    slices = result.outcome.ndim > 0
    outcome = outcome_of(result)
    model, rmse = result.model, result.rmse_vol
    if slices:
        counts = jnp.sum(surface.weight > 0, axis=-1).astype(rmse.dtype)
        rmse = jnp.sqrt(jnp.sum(rmse**2 * counts) / jnp.maximum(jnp.sum(counts), 1.0))
        # an expiry with too few quotes for its parameters has none
        known = outcome != Outcome.TOO_FEW_QUOTES
        model = jax.tree.map(lambda leaf: jnp.where(known, leaf, jnp.nan), model)
    return Fit(
        model=model,
        surface=surface,
        residuals=result.residuals.reshape(surface.vol.shape),
        model_vol=result.model_vol.reshape(surface.vol.shape),
        information=result.information,
        cost=jnp.sum(result.cost),
        rmse_vol=rmse,
        gradient=jnp.max(result.gradient),
        num_steps=jnp.max(steps),
        outcome=outcome,
        at_bound=result.at_bound,
        free=names,
        objective=objective,
    )
