"""calibrate: one model to one surface."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from functools import partial
from typing import TypeVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float
from numpy.typing import ArrayLike

from jaxcal._status import Outcome
from jaxcal.calibration.fit import CalibrationError, Fit
from jaxcal.calibration.initial import start_from
from jaxcal.calibration.problem import problem_of
from jaxcal.calibration.residuals import AbstractResidual, ImpliedVolResidual
from jaxcal.market.surface import Surface
from jaxcal.models.base import AbstractFourierModel
from jaxcal.models.parameters import Interval, search_bounds, to_vector
from jaxcal.pricing.laguerre import Laguerre
from jaxcal.pricing.pricer import AbstractPricer
from jaxcal.pricing.saddle import Saddle
from jaxcal.solvers.cholesky import solve_spd
from jaxcal.solvers.least_squares import AbstractLeastSquaresSolver, Solution, least_squares
from jaxcal.solvers.levenberg_marquardt import LevenbergMarquardt

Model = TypeVar("Model", bound=AbstractFourierModel)

_REBUILDS = 3  # grids rebuilt at the solution before the prices there count as unresolved
_VOL_TOLERANCE = 1e-7  # largest change of a volatility on the finer grid, or a thousandth of the misfit if that is more
_LEAST_VEGA = 1e-6  # of the forward: a quote with less says nothing in volatility


def calibrate(
    model: type[Model] | Model,
    surface: Surface,
    *,
    residual: AbstractResidual = ImpliedVolResidual(),
    weights: ArrayLike | None = None,
    solver: AbstractLeastSquaresSolver = LevenbergMarquardt(),
    pricer: AbstractPricer | None = None,
    free: Sequence[str] | None = None,
    bounds: Mapping[str, Interval | tuple[float, float]] | None = None,
    throw: bool = False,
) -> Fit[Model]:
    """Fit a model to a surface by least squares, with exact derivatives.

    The pricing grid is built once, from the market; after the fit the quotes are priced again at the solution on a finer
    grid, and where that moves them, the grid is rebuilt there and the fit continues.

    Args:
        model: a class, to start from parameters read off the surface; or an instance, to start there.
        surface: market quotes, `[E, K]`.
        residual: what is made small; `ImpliedVolResidual()` by default.
        weights: `[E, K]`, multiply the weights of the surface (and the squared residuals).
        solver: for instance `LevenbergMarquardt(xtol=1e-6)`; other numbers do not recompile.
        pricer: the Fourier method, `Laguerre()` by default.
        free: names of the parameters to fit; all by default. The others stay as in `model`.
        bounds: by name, `(lower, upper)` to replace the model's own.
        throw: raise `CalibrationError` where the fit does not converge, instead of saying so in `fit.status`.

    Returns:
        A `Fit`. A surface that cannot be fitted (fewer quotes than parameters, no finite price at the start) is a status,
        not an error.

    Raises:
        ValueError: an unknown parameter in `free` or `bounds`, an empty interval, weights that are negative or not finite,
            or of another shape.
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
    names = _free_names(template, free)
    limits = search_bounds(_intervals(template, bounds), names, surface.vol.dtype)
    weight = surface.weight if weights is None else surface.weight * _checked(weights, surface)
    if isinstance(model, type):
        start = _start(template, surface)
    else:
        start = jax.tree.map(lambda leaf: np.asarray(leaf, surface.vol.dtype), model)

    method = (pricer or Laguerre()).sized()
    fit, moved = _fit(names, start, surface, weight, residual, solver, method, method.finer() or Saddle(), limits)
    if moved:
        fit = _refit(fit, partial(_fit, names, surface=surface, weight=weight, residual=residual, solver=solver, limits=limits))
    if throw and not fit.converged:
        raise CalibrationError(str(fit.status))
    return fit


def _refit(fit: Fit[Model], run: Callable[..., tuple[Fit[Model], Bool[Array, ""]]]) -> Fit[Model]:
    """Continue a fit on grids built at its solution, until building another no longer moves the prices."""
    steps, moved = fit.num_steps, True
    for _ in range(_REBUILDS):
        if moved:
            fit, moved = run(fit.model, method=Saddle(), check=Saddle())
            steps = steps + fit.num_steps
    outcome = jnp.where(moved & (fit.outcome == Outcome.CONVERGED), Outcome.UNRESOLVED, fit.outcome)
    return eqx.tree_at(lambda f: (f.num_steps, f.outcome), fit, (steps, outcome.astype(fit.outcome.dtype)))


_start = jax.jit(start_from, static_argnums=0)


@partial(jax.jit, static_argnums=0)
def _fit(
    names: tuple[str, ...],
    start: Model,
    surface: Surface,
    weight: Float[Array, "e k"],
    residual: AbstractResidual,
    solver: AbstractLeastSquaresSolver,
    method: AbstractPricer,
    check: AbstractPricer,
    limits: tuple[Float[ArrayLike, " p"], Float[ArrayLike, " p"]],
) -> tuple[Fit[Model], Bool[Array, ""]]:
    """Fit on the grid of `method` around `start`; price the solution on that of `check` and say whether that moves it."""
    problem = problem_of(start, names, surface, weight, residual, method)
    lower, upper = limits
    solution = least_squares(
        lambda y, p: p.residuals(y), solver, to_vector(start, names), problem, lower=lower, upper=upper
    )
    model = problem.model_at(solution.y)
    used = weight > 0
    on_grid = problem.grid.value(model).reshape(used.shape)
    finer = problem_of(model, names, surface, weight, residual, check).grid.value(model).reshape(used.shape)
    market = problem.market
    in_vol = jnp.where(used, (finer - on_grid) / jnp.maximum(market.vega, _LEAST_VEGA), 0.0)
    vol = jnp.where(finer > 16.0 * jnp.finfo(finer.dtype).eps, market.implied_vol(finer), jnp.nan)
    count = jnp.sum(used.astype(surface.vol.dtype))
    rmse = jnp.sqrt(jnp.sum(jnp.where(used, (vol - surface.vol) ** 2, 0.0)) / jnp.maximum(count, 1.0))
    enough = count >= len(names)
    tolerance = jnp.maximum(_VOL_TOLERANCE, 1e-3 * jnp.where(jnp.isfinite(rmse), rmse, 0.0))
    moved = ~(jnp.max(jnp.abs(in_vol)) <= tolerance) & (solution.outcome != Outcome.NOT_FINITE) & enough
    fit = Fit(
        model=model,
        surface=eqx.tree_at(lambda s: s.weight, surface, weight),
        residuals=jnp.where(used, residual(finer, market), jnp.nan),
        model_vol=jnp.where(used, vol, jnp.nan),
        standard_errors=_standard_errors(model, names, solution, count),
        cost=solution.cost,
        rmse_vol=rmse,
        gradient=solution.gradient,
        num_steps=solution.num_steps,
        outcome=jnp.where(enough, solution.outcome, Outcome.TOO_FEW_QUOTES).astype(jnp.int32),
        at_bound=solution.at_bound,
        free=names,
    )
    return fit, moved


def _standard_errors(model: Model, names: tuple[str, ...], solution: Solution, count: Float[Array, ""]) -> Model:
    """s^2 (J' J)^-1 over the parameters inside their bounds, brought from search scales to the parameters' own."""
    inside = ~solution.at_bound
    jacobian = jnp.where(inside[None, :], solution.jacobian, 0.0)
    normal = jacobian.T @ jacobian + jnp.diag(jnp.where(inside, 0.0, 1.0))
    norm = jnp.sqrt(jnp.diagonal(normal))
    identity = jnp.eye(len(names), dtype=norm.dtype)
    inverse = jax.vmap(solve_spd, in_axes=(None, 0))(normal / (norm[:, None] * norm[None, :]), identity)
    freedom = count - jnp.sum(inside.astype(norm.dtype))
    noise = jnp.where(freedom > 0, 2.0 * solution.cost / jnp.where(freedom > 0, freedom, 1.0), jnp.nan)
    on_search_scale = jnp.where(inside, jnp.sqrt(noise * jnp.diagonal(inverse)) / norm, jnp.nan)
    values = {field.name: jnp.full_like(jnp.asarray(getattr(model, field.name)), jnp.nan) for field in fields(model)}
    for i, name in enumerate(names):
        value = jnp.asarray(getattr(model, name))
        scale = value if model.bounds[name].scale == "log" else 1.0
        values[name] = on_search_scale[i] * scale
    return type(model)(**values)


def _free_names(template: type[AbstractFourierModel], free: Sequence[str] | None) -> tuple[str, ...]:
    known = tuple(template.bounds)
    if free is None:
        return known
    unknown = [name for name in free if name not in known]
    if unknown or not free:
        raise ValueError(f"free must name parameters of {template.__name__} ({', '.join(known)}), not {list(free)}")
    return tuple(name for name in known if name in free)


def _intervals(
    template: type[AbstractFourierModel], bounds: Mapping[str, Interval | tuple[float, float]] | None
) -> dict[str, Interval]:
    intervals = dict(template.bounds)
    for name, pair in (bounds or {}).items():
        if name not in intervals:
            raise ValueError(f"bounds name {name!r}, which is not a parameter of {template.__name__} ({', '.join(intervals)})")
        lower, upper = float(pair[0]), float(pair[1])
        scale = intervals[name].scale
        if not lower < upper or not math.isfinite(upper - lower) or (scale == "log" and lower <= 0):
            rule = "0 < lower < upper" if scale == "log" else "lower < upper"
            raise ValueError(f"bounds of {name} are ({lower}, {upper}): they must be finite with {rule}")
        intervals[name] = Interval(lower, upper, scale)
    return intervals


def _checked(weights: ArrayLike, surface: Surface) -> Float[Array, "e k"]:
    values = np.asarray(weights, dtype=surface.vol.dtype)
    if values.shape != surface.weight.shape:
        raise ValueError(f"weights have shape {values.shape}, the surface has {surface.weight.shape}")
    if not (np.isfinite(values) & (values >= 0)).all():
        raise ValueError("weights must be finite and not negative")
    return jnp.asarray(values)
