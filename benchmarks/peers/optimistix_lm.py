"""optimistix: `LevenbergMarquardt` on jaxcal's residual function, the whole fit one compiled program."""

import equinox as eqx
import optimistix as optx
from jaxtyping import Array

from benchmarks.peers import Fit, Outcome
from benchmarks.peers.residual import residual_of
from benchmarks.work import Work


def prepare(work: Work) -> Fit:
    """One fit by `optimistix.least_squares` at relative and absolute tolerances of 1e-8."""
    residual, start, natural = residual_of(work)
    solver = optx.LevenbergMarquardt(rtol=1e-8, atol=1e-8)

    @eqx.filter_jit
    def solve(y0: Array) -> tuple[Array, Array]:
        solution = optx.least_squares(lambda y, _: residual(y), solver, y0, options={"jac": "fwd"}, max_steps=200, throw=False)
        return solution.value, solution.stats["num_steps"]

    def fit() -> Outcome:
        found, steps = solve(start)
        return Outcome(natural(found), int(steps), "steps")

    return fit
