"""CalibrationProblem: residuals as a function of a search vector."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxcal as jc
from jaxcal.calibration.objective.calibration_problem import build_problem
from jaxcal.calibration.objective.residuals import MarketValues
from jaxcal.models.parameters import to_vector
from tests.small_models import BlackByBasis


class LessItsMean(jc.AbstractResidual):
    """Of which every quote moves every other."""

    def __call__(self, value, market):
        difference = (value - market.value) / market.vega
        return difference - jnp.mean(difference, where=market.used)


FREE = ("v0", "kappa", "theta", "sigma", "rho")


@pytest.fixture(scope="module")
def problem(dax):
    start = jax.tree.map(jnp.asarray, jc.Heston(0.15, 9.0, 0.07, 2.0, -0.5))
    weight = dax.weight * np.linspace(0.5, 2.0, 16)[None, :]

    @eqx.filter_jit  # operation by operation it would be a program each
    def built(start, surface, weight):
        market = MarketValues.of_surface(surface)
        return build_problem(start, FREE, market, weight, jc.ImpliedVolResidual(), jc.Laguerre(48))

    return built(start, dax, weight)


def test_values_are_prices_of_the_model(dax, problem):
    model = jax.tree.map(jnp.asarray, jc.Heston(0.2, 12.0, 0.08, 3.0, -0.4))
    values = jax.jit(lambda y: problem.values(y))(to_vector(model, FREE))
    strike, expiry, forward = np.asarray(dax.strike), np.asarray(dax.expiry)[:, None], np.asarray(dax.forward)[:, None]
    expected = np.asarray(jc.price(model, strike, expiry, forward=forward, is_call=strike >= forward))
    used = np.asarray(dax.weight) > 0
    np.testing.assert_allclose(np.asarray(values)[used], (expected / forward)[used], atol=1e-8)


def test_residuals_are_weighted_and_zero_at_padding(dax, problem):
    y = to_vector(problem.model, FREE)
    weighted, plain = jax.jit(lambda y: (problem.residuals(y), problem.residual(problem.values(y), problem.market)))(y)
    weighted, plain = np.asarray(weighted).reshape(8, 16), np.asarray(plain)
    used = np.asarray(dax.weight) > 0
    np.testing.assert_allclose(weighted[used], (plain * np.asarray(problem.root_weight))[used], rtol=1e-13)
    assert (weighted[~used] == 0).all()


def test_jacobian_is_the_finite_difference(problem):
    y = to_vector(problem.model, FREE)

    @jax.jit
    def everything(y):
        total = jax.grad(lambda y: jnp.sum(problem.residuals(y)))
        return problem.residuals(y), jax.jacfwd(problem.residuals)(y), total(y)

    _, jacobian, reverse = map(np.asarray, everything(y))
    assert np.isfinite(jacobian).all()
    for i in range(5):
        step = 1e-5 * np.eye(5)[i]
        difference = (np.asarray(everything(y + step)[0]) - np.asarray(everything(y - step)[0])) / 2e-5
        np.testing.assert_allclose(jacobian[:, i], difference, rtol=2e-6, atol=1e-8)
    np.testing.assert_allclose(reverse, jacobian.sum(axis=0), rtol=1e-9)


def test_linearised_is_forward_mode(problem):
    """By the basis of the model, with a loss and a prior; fewer parameters than its functions in forward mode."""
    extra = jc.Huber(0.01), jc.Gaussian({"kappa": 2.0}, std=0.5)
    whole = eqx.tree_at(lambda p: (p.loss, p.prior), problem, extra, is_leaf=lambda x: x is None)
    build = eqx.filter_jit(build_problem)
    quotes = problem.market, problem.root_weight**2, problem.residual
    some = build(problem.model, FREE[:1], *quotes, jc.Laguerre(48))
    mixed = eqx.tree_at(lambda p: p.residual, problem, LessItsMean())
    row_a_quote = build(problem.model, FREE, *quotes, jc.Saddle(32))
    assert row_a_quote.grid.expiry.size > problem.grid.expiry.size

    @eqx.filter_jit
    def both(problem, y):
        return problem.linearised(y), (problem.residuals(y), jax.jacfwd(problem.residuals)(y))

    # on contours of each quote's own, rounding of values over the vega of far quotes
    for one, rounding in ((whole, 1e-13), (mixed, 1e-13), (some, 1e-13), (row_a_quote, 1e-11)):
        (residuals, jacobian), (expected, slopes) = both(one, to_vector(one.model, one.free))
        np.testing.assert_allclose(residuals, expected, rtol=10 * rounding, atol=1e-15)
        np.testing.assert_allclose(jacobian, slopes, rtol=0, atol=rounding * float(jnp.max(jnp.abs(slopes))))


class LateNothing(BlackByBasis):
    """Whose derivative is no number after a year."""

    def mix(self, direction, t):
        return (jnp.where(t > 1.0, jnp.nan, -self.sigma * direction.sigma * t),)


class OneFactor(jc.Heston):
    """Whose factors are fewer than its functions."""

    def mix(self, direction, t):
        return super().mix(direction, t)[:1]


def test_a_mix_of_another_size_than_the_basis(problem):
    short = eqx.tree_at(lambda p: p.model, problem, OneFactor(0.15, 9.0, 0.07, 2.0, -0.5))
    with pytest.raises(ValueError, match=r"^OneFactor: basis gives (\d) functions and mix 1 factors, .* says \1"):
        eqx.filter_eval_shape(short.linearised, to_vector(problem.model, FREE))


def test_what_lies_where_there_is_no_quote_reaches_no_derivative(dax):
    model, expiry = LateNothing(0.2), np.asarray(dax.expiry)
    weight = dax.weight * np.where(expiry <= 1.0, 1.0, 0.0)[:, None]
    assert (expiry > 1.0).any()

    @eqx.filter_jit
    def both(surface, weight):
        market = MarketValues.of_surface(eqx.tree_at(lambda s: s.weight, surface, weight))
        problem = build_problem(model, ("sigma",), market, weight, jc.ImpliedVolResidual(), jc.Sinh(18))
        y = to_vector(model, ("sigma",))
        return problem.linearised(y)[1], jax.jacfwd(problem.residuals)(y)

    found, expected = map(np.asarray, both(dax, weight))
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-11)
    assert (found.reshape(weight.shape)[np.asarray(weight) == 0] == 0).all()
