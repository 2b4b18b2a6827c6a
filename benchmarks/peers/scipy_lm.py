"""scipy: `least_squares` with MINPACK's Levenberg-Marquardt on jaxcal's residual function."""

import jax
import numpy as np
from scipy.optimize import least_squares

from benchmarks.peers import Fit, Outcome
from benchmarks.peers.residual import residual_of
from benchmarks.work import Work


def prepare(work: Work) -> Fit:
    """One fit; residuals and their forward-mode Jacobian are compiled functions, the loop is scipy's in Python."""
    residual, start, natural = residual_of(work)
    value, jacobian = jax.jit(residual), jax.jit(jax.jacfwd(residual))

    def fit() -> Outcome:
        result = least_squares(
            lambda y: np.asarray(value(y)),
            np.asarray(start),
            jac=lambda y: np.asarray(jacobian(y)),
            method="lm",
            xtol=1e-8,
            ftol=1e-8,
            gtol=1e-8,
        )
        return Outcome(natural(result.x), int(result.nfev), "evaluations")

    return fit
