"""Round: one compiled fit on one pricing grid, checked on a finer one."""

from functools import partial
from typing import Generic, TypeVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from jaxcal._status import Outcome
from jaxcal.calibration.prior import AbstractPrior
from jaxcal.calibration.problem import grid_of, problem_of
from jaxcal.calibration.residuals import AbstractResidual, ImpliedVolResidual, MarketValues
from jaxcal.models.base import AbstractModel
from jaxcal.models.parameters import to_vector
from jaxcal.pricing.pricer import AbstractPricer
from jaxcal.solvers.least_squares import AbstractLeastSquaresSolver, least_squares

Model = TypeVar("Model", bound=AbstractModel)

_VOL_TOLERANCE = 5e-8  # root mean square change of volatility on the finer grid; 1e-3 of the misfit if that is more
_MAX_STEP = 1.0  # on the search scales: a factor of e in a positive parameter
_LEAST_VEGA = 1e-6  # of the forward: a quote with less says nothing in volatility


class Round(eqx.Module, Generic[Model]):
    """Where a round ended. `moved` says that the finer grid does not confirm its prices."""

    model: Model
    residuals: Float[Array, "*slices e k"]
    model_vol: Float[Array, "*slices e k"]
    information: Float[Array, "*slices p p"]
    cost: Float[Array, "*slices"]
    rmse_vol: Float[Array, "*slices"]
    gradient: Float[Array, "*slices"]
    num_steps: Int[Array, "*slices"]
    outcome: Int[Array, "*slices"]
    at_bound: Bool[Array, "*slices p"]
    moved: Bool[Array, "*slices"]


def _solve(
    names: tuple[str, ...],
    expiry: Float[Array, " e"],
    forward: Float[Array, " e"],
    strike: Float[Array, "e k"],
    vol: Float[Array, "e k"],
    residual: AbstractResidual,
    prior: AbstractPrior | None,
    weight: Float[Array, "e k"],
    solver: AbstractLeastSquaresSolver,
    limits: tuple[Float[Array | np.ndarray, " p"], Float[Array | np.ndarray, " p"]],
    start: Model,
    method: AbstractPricer,
    check: AbstractPricer,
) -> Round[Model]:
    market = MarketValues.of(expiry, forward, strike, vol, weight)
    problem = problem_of(start, names, market, weight, residual, method, prior)
    solution = least_squares(
        lambda y, p: p.residuals(y), solver, to_vector(start, names), problem,
        lower=limits[0], upper=limits[1], max_step=_MAX_STEP,
    )  # fmt: skip
    model = problem.model_at(solution.y)

    used = market.used
    count = jnp.sum(used.astype(vol.dtype))
    enough = count >= solution.y.size
    finer = grid_of(model, market, check).value(model).reshape(vol.shape)
    residuals = jnp.where(used, residual(finer, market), 0.0)
    if isinstance(residual, ImpliedVolResidual):
        # already volatilities: neither the inversion nor the prices of the fit are needed a second time
        off_market = residuals
        fitted = solution.residual[: vol.size].reshape(vol.shape)
        shift = residuals - fitted / jnp.where(used, problem.root_weight, 1.0)
    else:
        off_market = jnp.where(used, ImpliedVolResidual()(finer, market), 0.0)
        shift = jnp.where(used, (finer - problem.values(solution.y)) / jnp.maximum(market.vega, _LEAST_VEGA), 0.0)
    rmse = jnp.sqrt(jnp.sum(off_market**2) / jnp.maximum(count, 1.0))
    tolerance = jnp.maximum(_VOL_TOLERANCE, 1e-3 * jnp.where(jnp.isfinite(rmse), rmse, 0.0))
    return Round(
        model=model,
        residuals=jnp.where(used, residuals, jnp.nan),
        model_vol=jnp.where(used & (finer > ImpliedVolResidual().floor), vol + off_market, jnp.nan),
        information=solution.jacobian.T @ solution.jacobian,
        # of the finer prices, like the residuals
        cost=solution.cost + 0.5 * jnp.sum(weight * residuals**2) - 0.5 * jnp.sum(solution.residual[: vol.size] ** 2),
        rmse_vol=rmse,
        gradient=solution.gradient,
        num_steps=solution.num_steps,
        outcome=jnp.where(enough, solution.outcome, Outcome.TOO_FEW_QUOTES).astype(jnp.int32),
        at_bound=solution.at_bound,
        moved=~(jnp.sqrt(jnp.sum(shift**2) / jnp.maximum(count, 1.0)) <= tolerance)
        & enough
        & jnp.all(jnp.isfinite(market.value)),
    )


solve_round = partial(jax.jit, static_argnums=0)(_solve)


@partial(jax.jit, static_argnums=0)
def solve_slices(
    names: tuple[str, ...],
    expiry: Float[Array, " e"],
    forward: Float[Array, " e"],
    strike: Float[Array, "e k"],
    vol: Float[Array, "e k"],
    residual: AbstractResidual,
    prior: AbstractPrior | None,
    weight: Float[Array, "e k"],
    solver: AbstractLeastSquaresSolver,
    limits: tuple[Float[Array | np.ndarray, " p"], Float[Array | np.ndarray, " p"]],
    start: Model,
    method: AbstractPricer,
    check: AbstractPricer,
) -> Round[Model]:
    """Every expiry by itself, as one batch: each field of the result has a leading axis of expiries."""

    def one(expiry: Array, forward: Array, strike: Array, vol: Array, weight: Array, start: Model) -> Round[Model]:
        return _solve(
            names, expiry[None], forward[None], strike[None], vol[None],
            residual, prior, weight[None], solver, limits, start, method, check,
        )  # fmt: skip

    return jax.vmap(one)(expiry, forward, strike, vol, weight, start)
