"""GridFit: one compiled fit on one pricing grid, checked on a finer one; of a surface, of its expiries, or of many."""

from functools import partial
from typing import Any, Generic, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from jaxcal._status import Outcome
from jaxcal.calibration.objective.calibration_problem import (
    CalibrationProblem,
    ProblemResiduals,
    build_grid,
    build_problem,
)
from jaxcal.calibration.objective.fit_data import Target
from jaxcal.calibration.objective.loss import AbstractLoss, losses, root_and_slope
from jaxcal.calibration.objective.prior import AbstractPrior
from jaxcal.calibration.objective.residuals import AbstractResidual, ImpliedVolResidual, MarketValues
from jaxcal.compilation.quick_jit import QuickJit, never
from jaxcal.models.base import AbstractFourierModel, Model
from jaxcal.models.parameters import Scales, from_vector, to_vector
from jaxcal.pricing.pricer import AbstractPricer
from jaxcal.pricing.sinh import Sinh
from jaxcal.solvers.batching import least_squares_many
from jaxcal.solvers.least_squares import AbstractLeastSquaresSolver, Residuals, Solution, least_squares

Limits = tuple[Float[Array | np.ndarray, " p"], Float[Array | np.ndarray, " p"]]

_VOL_TOLERANCE = 5e-8  # root mean square change of volatility on the finer grid; 1e-3 of the misfit if that is more
MAX_STEP = 1.0  # on the search scales: a factor of e in a positive parameter
_SMALL = 256  # places for quotes: of more, a program is slower by half without what its compilation is spared
_RESIDUALS = ProblemResiduals()
_LEAST_VEGA = 1e-6  # of the forward: a quote with less says nothing in volatility


class GridFit(eqx.Module, Generic[Model]):
    """The result of a fit on one grid. `moved`: the finer grid does not confirm its prices. `rmse_vol` is of the
    default residuals, by which such fits are compared; `model_vol` is NaN also where a shared grid cannot resolve it.
    """

    model: Model
    residuals: Float[Array, "*b e k"]
    model_vol: Float[Array, "*b e k"]
    information: Float[Array, "*b p p"]
    cost: Float[Array, "*b"]
    rmse_vol: Float[Array, "*b"]
    gradient: Float[Array, "*b"]
    num_steps: Int[Array, "*b"]
    outcome: Int[Array, "*b"]
    at_bound: Bool[Array, "*b p"]
    moved: Bool[Array, "*b"]

    @property
    def by_expiry(self) -> bool:
        """Whether each expiry was fitted separately: there is then an axis of expiries."""
        return self.model.per_expiry


class Method(NamedTuple):
    """What is minimised and how, without the quotes and the start. The scale of a loss is a number here."""

    residual: AbstractResidual
    prior: AbstractPrior | None
    solver: AbstractLeastSquaresSolver
    limits: Limits
    pricer: AbstractPricer
    check: AbstractPricer | None
    loss: AbstractLoss | None = None
    scales: Scales = Scales()


class LossAndPrior(NamedTuple):
    """The loss and the prior of one surface, or of each of many: every leaf then has a leading axis of surfaces."""

    loss: AbstractLoss | None = None
    prior: AbstractPrior | None = None


def build_fit_problem(
    names: tuple[str, ...], method: Method, target: Target, start: Model
) -> CalibrationProblem[Model]:
    """The problem that `method` minimises for these quotes, on a grid built around `start`."""
    return _problem(names, method, MarketValues.of(*target), target.weight, start)


def _problem(
    names: tuple[str, ...], method: Method, market: MarketValues, weight: Array, start: Model, offset: Any = None
) -> CalibrationProblem[Model]:
    return build_problem(
        start, names, market, weight, method.residual, method.pricer, method.prior, method.loss, method.scales, offset
    )


class _Check(NamedTuple):
    """A fit priced by a second rule, `[E, K]` each: residuals, the volatilities of the model, residuals as
    volatilities, and the difference of the two rules in volatility.
    """

    residuals: Float[Array, "e k"]
    model_vol: Float[Array, "e k"]
    off_market: Float[Array, "e k"]
    shift: Float[Array, "e k"]

    @classmethod
    def of_values(
        cls, method: Method, problem: CalibrationProblem, finer: Array, fitted: Array | None, residual: Array
    ) -> "_Check":
        """From values by the second rule, and by that of the fit, which may be absent where its `residual` will do."""
        market, used = problem.market, problem.market.used
        residuals = jnp.where(used, method.residual(finer, market), 0.0)
        plain = method.residual if isinstance(method.residual, ImpliedVolResidual) else ImpliedVolResidual()
        if plain is method.residual:
            # already volatilities: neither the inversion nor the prices of the fit are needed a second time
            off_market, roots, slope = residuals, residuals, 1.0
            if problem.loss is not None:
                roots, slope = root_and_slope(problem.loss, residuals)
            root = residual[: used.size].reshape(used.shape)
            shift = (roots - root / jnp.where(used, problem.root_weight, 1.0)) / slope
        else:
            assert fitted is not None
            off_market = jnp.where(used, plain(finer, market), 0.0)
            shift = jnp.where(used, (finer - fitted) / jnp.maximum(market.vega, _LEAST_VEGA), 0.0)
        return cls(residuals, plain.model_vol(finer, market), off_market, shift)


def _ended(method: Method, solution: Solution, problem: CalibrationProblem[Model]) -> GridFit[Model]:
    """The result of a fit, from prices of the finer grid; without one, from its own."""
    model, market = problem.model_at(solution.y), problem.market
    if method.check is None:
        finer = problem.values(solution.y)
    else:
        finer = build_grid(model, market, method.check).value(model).reshape(market.vol.shape)
    fitted = None if isinstance(method.residual, ImpliedVolResidual) else problem.values(solution.y)
    return _reported(solution, problem, _Check.of_values(method, problem, finer, fitted, solution.residual))


def _reported(solution: Solution, problem: CalibrationProblem[Model], check: _Check) -> GridFit[Model]:
    market, vol = problem.market, problem.market.vol
    used, weight = market.used, problem.root_weight**2
    count = jnp.sum(used.astype(vol.dtype))
    enough = count >= solution.y.size
    jacobian = solution.jacobian
    if problem.loss is not None:
        # the information is that of the residuals, whatever their loss
        _, slope = root_and_slope(problem.loss, check.residuals)
        jacobian = jnp.concatenate([jacobian[: vol.size] / slope.reshape(-1, 1), jacobian[vol.size :]])
    rmse = jnp.sqrt(jnp.sum(check.off_market**2) / jnp.maximum(count, 1.0))
    resolved = max(_VOL_TOLERANCE, 1000.0 * float(jnp.finfo(vol.dtype).eps))  # single precision shows no more
    tolerance = jnp.maximum(resolved, 1e-3 * jnp.where(jnp.isfinite(rmse), rmse, 0.0))
    return GridFit(
        model=problem.model_at(solution.y),
        residuals=jnp.where(used, check.residuals, jnp.nan),
        model_vol=check.model_vol,
        information=jacobian.T @ jacobian,
        # of the finer prices, like the residuals
        cost=solution.cost
        + jnp.sum(weight * losses(problem.loss, check.residuals))
        - 0.5 * jnp.sum(solution.residual[: vol.size] ** 2),
        rmse_vol=rmse,
        gradient=solution.gradient,
        num_steps=solution.num_steps,
        outcome=jnp.where(enough, solution.outcome, Outcome.TOO_FEW_QUOTES).astype(jnp.int32),
        at_bound=solution.at_bound,
        moved=~(jnp.sqrt(jnp.sum(check.shift**2) / jnp.maximum(count, 1.0)) <= tolerance)
        & enough
        & jnp.all(jnp.isfinite(market.value)),
    )


def _along_parameters(y: Array, problem: CalibrationProblem) -> Array:
    return problem.residuals(y)


def _residuals_of(target: Target) -> Residuals:
    """The residuals of one surface. A program that is compiled quickly is slower by the model's basis (SVCJ by 18 %)
    than along each parameter; others are faster.
    """
    return _along_parameters if target.vol.size <= _SMALL else _RESIDUALS


def _solve(names: tuple[str, ...], method: Method, target: Target, start: Model) -> GridFit[Model]:
    if isinstance(start, AbstractFourierModel) and isinstance(method.pricer, Sinh) and method.check is not None:
        return _solve_in_turns(names, method, target, start)
    problem = build_fit_problem(names, method, target, start)
    lower, upper = method.limits
    solution = least_squares(
        _residuals_of(target), method.solver, to_vector(start, names, method.scales), problem,
        lower=lower, upper=upper, max_step=MAX_STEP,
    )  # fmt: skip
    return _ended(method, solution, problem)


def _solve_in_turns(names: tuple[str, ...], method: Method, target: Target, start: Model) -> GridFit[Model]:
    """The same as three turns of one loop, which compiles in half the time: the fit, prices on a grid built at the
    solution, and prices on the midpoints of its nodes. The mean of these two is the rule of twice as many nodes, which
    checks the fit; `method.check`, another shape of grid, is not compiled.
    """
    market, (lower, upper) = MarketValues.of(*target), method.limits

    def turn(y: Array, rule: tuple[Array, Array]) -> tuple[Array, tuple[Solution, Array]]:
        fits, offset = rule
        here = from_vector(start, names, y, method.scales)
        problem = _problem(names, method, market, target.weight, here, offset)
        solution = least_squares(
            _residuals_of(target), method.solver, y, problem,
            lower=lower, upper=upper, max_step=MAX_STEP, run=fits,
        )  # fmt: skip
        return solution.y, (solution, problem.values(solution.y))

    y0 = to_vector(start, names, method.scales)
    rules = jnp.asarray([True, False, False]), jnp.asarray([0.0, 0.0, 0.5], y0.dtype)
    _, (solutions, values) = jax.lax.scan(turn, y0, rules)
    solution = jax.tree.map(lambda leaf: leaf[0], solutions)
    problem = CalibrationProblem(
        start, names, market, None, method.residual, method.prior, jnp.sqrt(target.weight), method.loss, method.scales
    )
    # of values, not of volatilities: what the two rules are wrong by cancels in values only
    finer = 0.5 * (values[1] + values[2])
    return _reported(solution, problem, _Check.of_values(method, problem, finer, values[0], solution.residual))


def is_small(names: tuple[str, ...], method: Method, target: Target, start: Any) -> bool:
    """Whether a quickly compiled program is as fast for so few quotes."""
    return target.vol.size <= _SMALL


solve_on_grid = QuickJit(_solve, static_argnums=0, small=is_small, task="fit")
solve_on_finer_grid = QuickJit(_solve, static_argnums=0, rare=True, task="fit on a finer grid")


@partial(QuickJit, static_argnums=0, small=never, task="fit of every expiry")
def solve_expiries(names: tuple[str, ...], method: Method, target: Target, start: Model) -> GridFit[Model]:
    """Fit each expiry separately, as one batch: each field of the result has a leading axis of expiries."""
    return jax.vmap(partial(_solve, names, method))(target.slices(), start)


@partial(QuickJit, static_argnums=(0, 1, 2), small=never, task="fits of many surfaces")
def solve_batch(
    names: tuple[str, ...],
    lanes: int,
    refill: int,
    method: Method,
    target: Target,
    start: Model,
    count: Int[Array, ""],
    own: LossAndPrior | None = None,
) -> GridFit[Model]:
    """Fit many surfaces at once: every field of `target`, `start`, `own` and the result has a leading axis, padding
    from `count` on. `own` replaces the loss and the prior of `method`.
    """
    y0 = jax.vmap(partial(to_vector, names=names, scales=method.scales))(start)
    lower, upper = (jnp.broadcast_to(jnp.asarray(limit, y0.dtype), y0.shape) for limit in method.limits)

    def build(data: tuple[Target, Model, LossAndPrior | None]) -> CalibrationProblem[Model]:
        target, start, own = data
        return build_fit_problem(names, method if own is None else method._replace(**own._asdict()), target, start)

    return least_squares_many(
        _RESIDUALS, method.solver, y0, (target, start, own),
        build=build, keep=partial(_ended, method),
        lower=lower, upper=upper, max_step=MAX_STEP, count=count, lanes=lanes, refill=refill,
    )  # fmt: skip
