"""scipy: `least_squares` with MINPACK's Levenberg-Marquardt on jaxcal's residual function."""

import jax
import numpy as np
from numpy.typing import NDArray
from scipy.optimize import least_squares

from benchmarks.inputs.work import Work
from benchmarks.peers import Fit, Outcome
from benchmarks.peers.residual import parameters, problem, residual

VALUE = jax.jit(residual)
JACOBIAN = jax.jit(jax.jacfwd(residual))


def prepare(work: Work) -> Fit:
    """One fit; residuals and their Jacobian are compiled functions, the loop is scipy's."""
    built, start = problem(work)

    def value(y: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.asarray(VALUE(y, built))

    def jacobian(y: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.asarray(JACOBIAN(y, built))

    def fit() -> Outcome:
        tolerances = {"xtol": 1e-8, "ftol": 1e-8, "gtol": 1e-8}
        result = least_squares(value, np.asarray(start), jac=jacobian, method="lm", **tolerances)  # pyright: ignore[reportArgumentType]
        return Outcome(parameters(result.x), int(result.nfev), "evaluations")

    return fit
