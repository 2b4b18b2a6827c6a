"""jaxcal's residual function for solvers of other libraries: what `jc.calibrate` hands to its own solver."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array
from numpy.typing import ArrayLike, NDArray

import jaxcal as jc
from benchmarks.inputs.work import Work
from jaxcal.calibration.objective.calibration_problem import CalibrationProblem, build_problem
from jaxcal.calibration.objective.residuals import MarketValues


def problem(work: Work) -> tuple[CalibrationProblem, Array]:
    """The problem, its pricing grid built here, before the clock starts; and the start, as `residual` takes it."""
    jax.config.update("jax_enable_x64", True)
    surface = jc.Surface.from_vols(work.expiry, work.strike, work.vol, forward=work.forward, discount=work.discount)
    model = jc.Heston(*(jnp.asarray(p, jnp.float64) for p in work.start))
    names = tuple(jc.Heston.bounds)
    market = MarketValues.of_surface(surface)
    built = build_problem(model, names, market, surface.weight, jc.ImpliedVolResidual(), jc.Laguerre().sized())
    return built, jnp.asarray(np.append(np.log(work.start[:4]), np.arctanh(work.start[4])))


def residual(y: Array, problem: CalibrationProblem) -> Array:
    """Volatility residuals at `y` = (ln v0, ln kappa, ln theta, ln sigma, atanh rho), which needs no bounds."""
    return problem.residuals(y.at[4].set(jnp.tanh(y[4])))


def parameters(y: ArrayLike) -> NDArray[np.float64]:
    """The parameters of `y`."""
    values = np.asarray(y, np.float64)
    return np.append(np.exp(values[:4]), np.tanh(values[4]))
