"""optimistix: `LevenbergMarquardt` on jaxcal's residual function, the whole fit one compiled program."""

import equinox as eqx
import optimistix as optx
from jaxtyping import Array

from benchmarks.inputs.work import Work
from benchmarks.peers import Fit, Outcome
from benchmarks.peers.residual import parameters, problem, residual
from jaxcal.calibration.objective.calibration_problem import CalibrationProblem

SOLVER = optx.LevenbergMarquardt(rtol=1e-8, atol=1e-8)


@eqx.filter_jit
def solve(start: Array, built: CalibrationProblem) -> tuple[Array, Array]:
    """The optimum and the number of steps."""
    solution = optx.least_squares(residual, SOLVER, start, built, options={"jac": "fwd"}, max_steps=200, throw=False)
    return solution.value, solution.stats["num_steps"]


def prepare(work: Work) -> Fit:
    """One fit by `optimistix.least_squares` at relative and absolute tolerances of 1e-8."""
    built, start = problem(work)

    def fit() -> Outcome:
        found, steps = solve(start, built)
        return Outcome(parameters(found), int(steps), "steps")

    return fit
