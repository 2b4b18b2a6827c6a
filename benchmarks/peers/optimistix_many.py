"""optimistix under `vmap`: `LevenbergMarquardt` on jaxcal's residual function, all surfaces in one compiled loop."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optimistix as optx
from jaxtyping import Array

from benchmarks.inputs.work import Work
from benchmarks.peers.residual import parameters, problem, residual
from jaxcal.calibration.objective.calibration_problem import CalibrationProblem

SOLVER = optx.LevenbergMarquardt(rtol=1e-8, atol=1e-8)


@eqx.filter_jit
def solve(start: Array, built: CalibrationProblem) -> Array:
    """The optima, `[B, 5]`."""

    def one(start: Array, built: CalibrationProblem) -> Array:
        options = {"jac": "fwd"}
        return optx.least_squares(residual, SOLVER, start, built, options=options, max_steps=200, throw=False).value

    return jax.vmap(one)(start, built)


class ManyFits:
    """All fits at once; grids are built here, before the clock starts."""

    def __init__(self, works: list[Work]) -> None:
        pairs = [problem(work) for work in works]
        self.built = jax.tree.map(lambda *leaves: jnp.stack(leaves), *(built for built, _ in pairs))
        self.start = jnp.stack([start for _, start in pairs])

    def __call__(self) -> np.ndarray:
        """`[B, 5]` parameters."""
        return np.stack([parameters(y) for y in np.asarray(solve(self.start, self.built))])
