"""calibrate: one model to one surface."""

import math
from collections.abc import Mapping, Sequence
from functools import lru_cache, partial
from typing import Generic, TypeVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int
from numpy.typing import ArrayLike

from jaxcal._status import Outcome
from jaxcal.calibration.fit import CalibrationError, Fit
from jaxcal.calibration.initial import start_from
from jaxcal.calibration.problem import problem_of
from jaxcal.calibration.residuals import AbstractResidual, ImpliedVolResidual, MarketValues
from jaxcal.market.surface import Surface
from jaxcal.models.base import AbstractFourierModel
from jaxcal.models.interval import Interval
from jaxcal.models.parameters import search_bounds, to_vector
from jaxcal.pricing.laguerre import Laguerre
from jaxcal.pricing.pricer import AbstractPricer
from jaxcal.pricing.saddle import Saddle
from jaxcal.solvers.least_squares import AbstractLeastSquaresSolver, least_squares
from jaxcal.solvers.levenberg_marquardt import LevenbergMarquardt

Model = TypeVar("Model", bound=AbstractFourierModel)

_REBUILDS = 3  # contours built at the solution before the prices there count as unresolved
_VOL_TOLERANCE = 5e-8  # root mean square change of volatility on the finer grid; 1e-3 of the misfit if that is more
_MAX_STEP = 1.0  # on the search scales: a factor of e in a positive parameter
_LEAST_VEGA = 1e-6  # of the forward: a quote with less says nothing in volatility

_LAGUERRE, _SADDLE = Laguerre(), Saddle()
_SOLVER, _RESIDUAL = LevenbergMarquardt(), ImpliedVolResidual()


@lru_cache
def _ladder(pricer: AbstractPricer) -> tuple[tuple[AbstractPricer, AbstractPricer], ...]:
    """The grids of a fit, each with the finer one that checks it: the next pair is used where the prices moved.

    The last pairs give every quote a contour of its own, which resolves what shared nodes cannot.
    """
    first = pricer.sized()
    pairs: list[tuple[AbstractPricer, AbstractPricer]] = [(first, first.finer() or _SADDLE)]
    if isinstance(first, Laguerre) and (first.num_nodes or 0) < 80:
        pairs.append((Laguerre(80), Laguerre(120)))
    return (*pairs, *[(Saddle(64), Saddle(128))] * _REBUILDS)


def calibrate(
    model: type[Model] | Model,
    surface: Surface,
    *,
    residual: AbstractResidual = _RESIDUAL,
    weights: ArrayLike | None = None,
    solver: AbstractLeastSquaresSolver = _SOLVER,
    pricer: AbstractPricer | None = None,
    free: Sequence[str] | None = None,
    bounds: Mapping[str, Interval | tuple[float, float]] | None = None,
    throw: bool = False,
) -> Fit[Model]:
    """Fit a model to a surface by least squares, with exact derivatives.

    The pricing grid is built once, from the market; after the fit the quotes are priced again at the solution on a
    finer grid, and where that moves them, the grid is rebuilt there and the fit continues.

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
        A `Fit`. A surface that cannot be fitted (fewer quotes than parameters, no finite price at the start) is a
        status, not an error.

    Raises:
        ValueError: an unknown parameter in `free` or `bounds`, an empty interval, weights that are negative or not
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
    names = _free_names(template, free)
    limits = search_bounds(_intervals(template, bounds), names, surface.vol.dtype)
    if weights is not None:
        surface = eqx.tree_at(lambda s: s.weight, surface, surface.weight * _checked(weights, surface))
    if isinstance(model, type):
        start = _start(template, surface)
    else:
        for name in template.bounds:
            if np.ndim(getattr(model, name)):
                raise ValueError(f"{name} has shape {np.shape(getattr(model, name))}, not that of one model")
        start = jax.tree.map(lambda leaf: np.asarray(leaf, surface.vol.dtype), model)

    (method, check), *finer = _ladder(pricer or _LAGUERRE)
    run = partial(
        _run,
        names,
        surface.expiry,
        surface.forward,
        surface.strike,
        surface.vol,
        surface.weight,
        residual,
        solver,
        limits,
    )
    result = run(start, method, check)
    steps = result.num_steps
    for method, check in finer:
        if not result.moved:
            break
        # the grid is rebuilt around the solution, and the fit goes on from there
        result = run(result.model, method, check)
        steps = steps + result.num_steps
    fit = _fit(result, steps, names, surface)
    if throw and not fit.converged:
        raise CalibrationError(str(fit.status))
    return fit


_start = jax.jit(start_from, static_argnums=0)


class _Result(eqx.Module, Generic[Model]):
    """What the compiled part returns."""

    model: Model
    residuals: Float[Array, "e k"]
    model_vol: Float[Array, "e k"]
    information: Float[Array, "p p"]
    cost: Float[Array, ""]
    rmse_vol: Float[Array, ""]
    gradient: Float[Array, ""]
    num_steps: Int[Array, ""]
    outcome: Int[Array, ""]
    at_bound: Bool[Array, " p"]
    moved: Bool[Array, ""]


@partial(jax.jit, static_argnums=0)
def _run(
    names: tuple[str, ...],
    expiry: Float[Array, " e"],
    forward: Float[Array, " e"],
    strike: Float[Array, "e k"],
    vol: Float[Array, "e k"],
    weight: Float[Array, "e k"],
    residual: AbstractResidual,
    solver: AbstractLeastSquaresSolver,
    limits: tuple[Float[Array | np.ndarray, " p"], Float[Array | np.ndarray, " p"]],
    start: Model,
    method: AbstractPricer,
    check: AbstractPricer,
) -> _Result[Model]:
    """Fit on the grid of `method` around `start`; price the solution on that of `check`; say whether that moves it."""
    market = MarketValues.of(expiry, forward, strike, vol, weight)
    problem = problem_of(start, names, market, weight, residual, method)
    solution = least_squares(
        lambda y, p: p.residuals(y), solver, to_vector(start, names), problem,
        lower=limits[0], upper=limits[1], max_step=_MAX_STEP,
    )  # fmt: skip
    model = problem.model_at(solution.y)

    used = market.used
    count = jnp.sum(used.astype(vol.dtype))
    enough = count >= len(names)
    finer = check.grid(model, expiry, market.log_strike, market.atm_total_vol()).value(model).reshape(vol.shape)
    residuals = jnp.where(used, residual(finer, market), 0.0)
    if isinstance(residual, ImpliedVolResidual):
        # already volatilities: neither the inversion nor the prices of the fit are needed a second time
        off_market = residuals
        shift = residuals - solution.residual.reshape(vol.shape) / jnp.where(used, problem.root_weight, 1.0)
    else:
        off_market = jnp.where(used, ImpliedVolResidual()(finer, market), 0.0)
        shift = jnp.where(used, (finer - problem.values(solution.y)) / jnp.maximum(market.vega, _LEAST_VEGA), 0.0)
    rmse = jnp.sqrt(jnp.sum(off_market**2) / jnp.maximum(count, 1.0))
    tolerance = jnp.maximum(_VOL_TOLERANCE, 1e-3 * jnp.where(jnp.isfinite(rmse), rmse, 0.0))
    return _Result(
        model=model,
        residuals=jnp.where(used, residuals, jnp.nan),
        model_vol=jnp.where(used & (finer > ImpliedVolResidual().floor), vol + off_market, jnp.nan),
        information=solution.jacobian.T @ solution.jacobian,
        cost=solution.cost,
        rmse_vol=rmse,
        gradient=solution.gradient,
        num_steps=solution.num_steps,
        outcome=jnp.where(enough, solution.outcome, Outcome.TOO_FEW_QUOTES).astype(jnp.int32),
        at_bound=solution.at_bound,
        moved=~(jnp.sqrt(jnp.sum(shift**2) / jnp.maximum(count, 1.0)) <= tolerance)
        & enough
        & jnp.all(jnp.isfinite(market.value)),
    )


def _fit(result: _Result[Model], steps: Int[Array, ""], names: tuple[str, ...], surface: Surface) -> Fit[Model]:
    outcome = result.outcome
    if result.moved and int(outcome) == Outcome.CONVERGED:
        outcome = jnp.asarray(Outcome.UNRESOLVED, outcome.dtype)
    return Fit(
        model=result.model,
        surface=surface,
        residuals=result.residuals,
        model_vol=result.model_vol,
        information=result.information,
        cost=result.cost,
        rmse_vol=result.rmse_vol,
        gradient=result.gradient,
        num_steps=steps,
        outcome=outcome,
        at_bound=result.at_bound,
        free=names,
    )


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
            raise ValueError(
                f"bounds name {name!r}, which is not a parameter of {template.__name__} ({', '.join(intervals)})"
            )
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
