"""Derivatives: residuals, Jacobian and Hessian at a fit, on a grid fine enough for second derivatives."""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from numpy.typing import NDArray

from jaxcal.calibration.arguments import Bounds
from jaxcal.calibration.engine.grid_refinement import Refined, agreement, derivative_grids, refine
from jaxcal.calibration.objective.calibration_problem import build_problem
from jaxcal.calibration.objective.fit_data import Target
from jaxcal.calibration.objective.objective import Objective
from jaxcal.calibration.objective.residuals import MarketValues
from jaxcal.calibration.results.fit import Fit
from jaxcal.compilation.quick_jit import QuickJit
from jaxcal.models.base import AbstractModel
from jaxcal.models.parameters import to_vector
from jaxcal.pricing.pricer import AbstractPricer
from jaxcal.pricing.sinh import Sinh


class Derivatives(NamedTuple):
    """Residuals and derivatives of the cost at a fit, on the search scales, one row for each problem: one, or one an
    expiry.

    Attributes:
        residual: `[s, m]` of the quotes, before weights and loss; 0 at padding.
        jacobian: `[s, m, p]` of those.
        hessian: `[s, p, p]` of the whole cost: of the losses, second derivatives of the residuals and prior included.
    """

    residual: NDArray[np.floating]
    jacobian: NDArray[np.floating]
    hessian: NDArray[np.floating]


def merge_bounds(fit: Fit, bounds: Bounds | None) -> Bounds:
    """The bounds to fit again with: those of the fit, and those given instead."""
    return {**fit.spec.bounds, **(bounds or {})}


def derivatives(fit: Fit) -> Derivatives:
    """Of the cost of `fit` at its solution.

    Example:
        >>> import jaxcal as jc
        >>> surface = jc.Surface.from_vols([0.5], [90.0, 100.0, 110.0], [[0.21, 0.2, 0.2]], forward=100.0)
        >>> found = derivatives(jc.calibrate(jc.BlackScholes, surface))
        >>> found.jacobian.shape, bool(abs(found.hessian - 3 * 0.2033**2) < 1e-3)
        ((1, 8, 1), True)
    """
    residual = fit.objective.residual
    target = Target.of(fit.surface, spread=residual.needs_spread)
    one = fit.model
    if fit.by_expiry:
        target = target.slices()
    else:
        target, one = jax.tree.map(lambda leaf: jnp.asarray(leaf)[None], (target, one))
    reported = np.nan_to_num(np.asarray(fit.residuals)).reshape(len(target.vol), -1)
    least = float(agreement(np.asarray(_size(reported)), reported.dtype))
    grids = derivative_grids(fit.model)

    def run(level: Any) -> _OnGrid:
        pricer = grids[int(level)] or Sinh()
        found = Derivatives(*(np.asarray(x, float) for x in _derivatives(fit.free, fit.objective, pricer, target, one)))
        return _OnGrid(found, not _size(found.residual - reported) <= least)

    coarsest = np.zeros((), int)
    first = Refined(run(coarsest), coarsest)
    return refine(lambda _, level, __: run(level), first, np.ones((), bool), len(grids) - 1).found.derivatives


class _OnGrid(NamedTuple):
    """Derivatives, and whether a finer grid is needed because the residuals differ from those of the fit."""

    derivatives: Derivatives
    moved: bool


def _size(residuals: NDArray) -> float:
    """Root mean square over the quotes."""
    return float(np.sqrt(np.sum(residuals**2) / max(1, np.count_nonzero(residuals))))


@partial(QuickJit, static_argnums=0, task="derivatives of a fit")
def _derivatives(
    names: tuple[str, ...], made: Objective, pricer: AbstractPricer, targets: Target, models: AbstractModel
) -> tuple[Array, Array, Array]:
    def of_one(target: Target, model: AbstractModel) -> tuple[Array, Array, Array]:
        market = MarketValues.of(*target)
        problem = build_problem(
            model, names, market, target.weight, made.residual, pricer, made.prior, made.loss, made.scales
        )

        def quotes(y: Float[Array, " p"]) -> Any:
            return jnp.where(market.used, made.residual(problem.values(y), market), 0.0).ravel()

        y = to_vector(model, names, made.scales)
        basis = jnp.eye(y.shape[0], dtype=y.dtype)
        value, columns = jax.vmap(lambda v: jax.jvp(quotes, (y,), (v,)), out_axes=(None, 1))(basis)
        # a direction at a time: the memory of one, and one small program
        hessian = jax.lax.map(lambda v: jax.jvp(jax.grad(problem.cost), (y,), (v,))[1], basis)
        return value, columns, 0.5 * (hessian + hessian.T)

    return jax.vmap(of_one)(targets, models)
