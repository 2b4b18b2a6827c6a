"""CalibrationProblem: residuals as a function of a search vector."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxcal as jc
from jaxcal.calibration.objective.calibration_problem import build_problem
from jaxcal.calibration.objective.residuals import MarketValues
from jaxcal.models.parameters import to_vector

FREE = ("v0", "kappa", "theta", "sigma", "rho")


@pytest.fixture(scope="module")
def problem(dax):
    start = jax.tree.map(jnp.asarray, jc.Heston(0.15, 9.0, 0.07, 2.0, -0.5))
    weight = dax.weight * jnp.linspace(0.5, 2.0, 16)[None, :]
    market = MarketValues.of_surface(dax)
    return build_problem(start, FREE, market, weight, jc.ImpliedVolResidual(), jc.Laguerre(48))


def test_values_are_prices_of_the_model(dax, problem):
    model = jax.tree.map(jnp.asarray, jc.Heston(0.2, 12.0, 0.08, 3.0, -0.4))
    values = problem.values(to_vector(model, FREE))
    expected = jc.price(
        model, dax.strike, dax.expiry[:, None], forward=dax.forward[:, None], is_call=dax.strike >= dax.forward[:, None]
    )
    used = np.asarray(dax.weight) > 0
    np.testing.assert_allclose(np.asarray(values)[used], np.asarray(expected / dax.forward[:, None])[used], atol=1e-8)


def test_residuals_are_weighted_and_zero_at_padding(dax, problem):
    y = to_vector(problem.model, FREE)
    weighted = np.asarray(problem.residuals(y)).reshape(8, 16)
    plain = np.asarray(problem.residual(problem.values(y), problem.market))
    used = np.asarray(dax.weight) > 0
    np.testing.assert_allclose(weighted[used], (plain * np.asarray(problem.root_weight))[used], rtol=1e-13)
    assert (weighted[~used] == 0).all()


def test_jacobian_is_the_finite_difference(problem):
    y = to_vector(problem.model, FREE)
    residuals = jax.jit(lambda y: problem.residuals(y))
    jacobian = np.asarray(jax.jit(jax.jacfwd(lambda y: problem.residuals(y)))(y))
    assert np.isfinite(jacobian).all()
    for i in range(5):
        step = 1e-5 * np.eye(5)[i]
        difference = (np.asarray(residuals(y + step)) - np.asarray(residuals(y - step))) / 2e-5
        np.testing.assert_allclose(jacobian[:, i], difference, rtol=2e-6, atol=1e-8)
    reverse = jax.jit(jax.grad(lambda y: jnp.sum(problem.residuals(y))))(y)
    np.testing.assert_allclose(np.asarray(reverse), jacobian.sum(axis=0), rtol=1e-9)
