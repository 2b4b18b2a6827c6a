"""scipy and optimistix end where the library's own solver ends, on two calibrations."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optimistix as optx
import pytest
import scipy.optimize

import jaxcal as jc
from jaxcal.calibration.objective.calibration_problem import build_problem
from jaxcal.calibration.objective.residuals import MarketValues
from jaxcal.models.parameters import search_bounds, to_vector

FREE = ("v0", "kappa", "theta", "sigma", "rho")
START = jc.Heston(0.1, 5.0, 0.1, 1.0, -0.5)
LOWER, UPPER = (jnp.asarray(x) for x in search_bounds(START, jc.Heston.bounds, FREE, np.dtype(np.float64)))
YEARS = np.array([7, 14, 30, 61, 91, 182, 365, 730]) / 365.0


def dax():
    return jc.Surface.from_quotes(jc.dax_quotes("quantlib")), jc.Heston(0.1, 5.0, 0.1, 1.0, -0.5)


def options():
    """The 120 options without noise, from the start that every peer is given."""
    truth, forward = jc.Heston(0.04, 1.5, 0.06, 0.7, -0.65), 100.0 * np.exp(0.02 * YEARS)
    strike = forward[:, None] * np.exp(np.linspace(-3.0, 2.0, 15) * 0.25 * np.sqrt(YEARS)[:, None])
    vol = jc.model_vol(truth, jnp.asarray(strike), jnp.asarray(YEARS)[:, None], forward=jnp.asarray(forward)[:, None])
    return jc.Surface.from_vols(YEARS, strike, vol, forward=forward), jc.Heston(0.09, 3.0, 0.09, 0.4, -0.3)


residuals = jax.jit(lambda y, problem: problem.residuals(y))
jacobian = jax.jit(jax.jacfwd(lambda y, problem: problem.residuals(y)))
own = jax.jit(
    lambda y, problem: jc.least_squares(
        lambda y, p: p.residuals(y), jc.LevenbergMarquardt(), y, problem, lower=LOWER, upper=UPPER
    )
)


@eqx.filter_jit
def problem_of(start, surface):
    market = MarketValues.of_surface(surface)
    return build_problem(start, FREE, market, surface.weight, jc.ImpliedVolResidual(), jc.Laguerre(48))


@pytest.fixture(scope="module", params=[dax, options], ids=["DAX", "120 options"])
def case(request):
    surface, start = request.param()
    start = jax.tree.map(jnp.asarray, start)
    problem = problem_of(start, surface)
    y0 = to_vector(start, FREE)
    solution = own(y0, problem)
    assert int(solution.outcome) == jc.Outcome.CONVERGED
    return problem, y0, solution


def same(y, cost, solution):
    """Costs agree to what can be gained, and points to how well the costs determine them."""
    assert float(solution.cost) <= cost * (1 + 1e-8) + 1e-15
    np.testing.assert_allclose(np.asarray(y), np.asarray(solution.y), atol=2e-5)


def test_scipy(case):
    problem, y0, solution = case
    theirs = scipy.optimize.least_squares(
        lambda y: np.asarray(residuals(jnp.asarray(y), problem)), np.asarray(y0),
        jac=lambda y: np.asarray(jacobian(jnp.asarray(y), problem)),  # pyright: ignore[reportArgumentType]
        bounds=(LOWER, UPPER),
        x_scale="jac", xtol=1e-12, ftol=1e-14, gtol=1e-14,
    )  # fmt: skip
    same(theirs.x, theirs.cost, solution)


def test_optimistix(case):
    problem, y0, solution = case
    theirs = optx.least_squares(
        lambda y, problem: problem.residuals(y), optx.LevenbergMarquardt(rtol=1e-9, atol=1e-11), y0, problem,
        max_steps=500, throw=False,
    )  # fmt: skip
    same(theirs.value, 0.5 * float(jnp.sum(residuals(theirs.value, problem) ** 2)), solution)
