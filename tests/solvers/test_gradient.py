"""Optimisers of optax end where Levenberg-Marquardt ends, stay in the box, and say honestly how they ended."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jaxtyping import Array, Float

import jaxcal as jc
from jaxcal.solvers.batching import least_squares_many

ADAM = jc.Optax(optax.adam, learning_rate=0.05, num_steps=4000)
LBFGS = jc.Optax(optax.lbfgs(), num_steps=200)
DECAYING = jc.Optax(optax.adam(optax.cosine_decay_schedule(0.1, 1500)), num_steps=1500, gtol=1e-4)
X = np.linspace(0.0, 2.0, 25)
DATA = jnp.asarray(1.5 * np.exp(-0.8 * X) + 0.05 * np.sin(17.0 * X))  # no exponential is all of it


def decay(y, data):
    return y[0] * jnp.exp(-y[1] * jnp.asarray(X, y.dtype)) - data


@partial(jax.jit, static_argnums=0)
def run(fn, solver, y0, data, lower, upper):
    return jc.least_squares(fn, solver, y0, data, lower=lower, upper=upper)


def solve(solver, lower=-10.0, upper=10.0, fn=decay, y0=(0.5, 0.1), data=DATA):
    y0 = jnp.asarray(y0)
    return run(fn, solver, y0, data, *(jnp.full_like(y0, bound) for bound in (lower, upper)))


@pytest.fixture(scope="module")
def expected():
    return solve(jc.LevenbergMarquardt())


@pytest.mark.parametrize("solver", [ADAM, LBFGS, DECAYING], ids=["adam", "lbfgs", "schedule"])
def test_ends_at_the_optimum(expected, solver):
    found = solve(solver)
    assert found.outcome == jc.Outcome.CONVERGED
    assert float(found.gradient) <= solver.gtol
    np.testing.assert_allclose(found.y, expected.y, atol=1e-3)
    np.testing.assert_allclose(found.cost, expected.cost, rtol=1e-6)
    np.testing.assert_allclose(found.cost, 0.5 * jnp.sum(decay(found.y, DATA) ** 2), rtol=1e-12)
    assert int(found.num_steps) < solver.num_steps


@pytest.mark.parametrize("solver", [ADAM, LBFGS], ids=["adam", "lbfgs"])
def test_an_optimum_at_a_bound_is_held_there(solver):
    expected = solve(jc.LevenbergMarquardt(), lower=-10.0, upper=1.0)
    found = solve(solver, lower=-10.0, upper=1.0)
    assert found.at_bound.tolist() == expected.at_bound.tolist() == [True, False]
    assert found.outcome == jc.Outcome.CONVERGED
    np.testing.assert_allclose(found.y, expected.y, atol=1e-3)


def test_too_few_steps_are_said_to_be():
    found = solve(jc.Optax(optax.adam, learning_rate=0.05, num_steps=5))
    assert found.outcome == jc.Outcome.STEP_LIMIT
    assert int(found.num_steps) == 5
    assert float(found.gradient) > 1e-2


def test_minibatches_are_not_called_converged_unless_the_whole_gradient_is_zero(expected):
    noisy = solve(jc.Optax(optax.sgd, learning_rate=0.02, num_steps=600, share=0.3))
    assert noisy.outcome == jc.Outcome.STEP_LIMIT
    np.testing.assert_allclose(noisy.y, expected.y, atol=0.1)
    # the cosine is that of all residuals, at the point that is returned
    residual, jacobian = decay(noisy.y, DATA), jax.jacfwd(decay)(noisy.y, DATA)
    cosines = jnp.abs(residual @ jacobian) / jnp.linalg.norm(residual) / jnp.linalg.norm(jacobian, axis=0)
    np.testing.assert_allclose(noisy.gradient, jnp.max(cosines), rtol=1e-9)
    other = solve(jc.Optax(optax.sgd, learning_rate=0.02, num_steps=600, share=0.3, seed=1))
    assert not np.array_equal(other.y, noisy.y)


def test_a_start_without_a_number_and_a_way_into_nothing():
    missing = solve(ADAM, y0=(0.5, jnp.nan))
    assert missing.outcome == jc.Outcome.NOT_FINITE
    # the way to the optimum at 1.5 leads through a hole
    holed = solve(ADAM, fn=lambda y, data: jnp.where(y[0] > 1.0, jnp.nan, decay(y, data)))
    assert holed.outcome == jc.Outcome.STALLED
    assert float(holed.y[0]) <= 1.0
    assert np.isfinite(float(holed.cost))


def test_numbers_do_not_recompile():
    count = 0

    @jax.jit
    def run(solver, data):
        nonlocal count
        count += 1
        return jc.least_squares(decay, solver, jnp.asarray([0.5, 0.1]), data).cost

    kept = optax.adam(0.05)
    for steps, rate in ((5, 0.05), (7, 0.1)):
        run(jc.Optax(optax.adam, learning_rate=rate, num_steps=steps, share=0.5, seed=steps), DATA)
        run(jc.Optax(kept, num_steps=steps), DATA)
    assert count == 2


def test_a_batch_of_problems_ends_as_each_by_itself():
    data = jnp.stack([DATA, 0.5 * DATA, DATA**2])
    box = jnp.full((3, 2), 10.0)
    many = jax.jit(
        lambda solver, data: least_squares_many(
            decay, solver, jnp.full((3, 2), 0.3), data, build=lambda d: d, keep=lambda s, _: (s.y, s.num_steps),
            lower=-box, upper=box, max_step=jnp.inf, count=3, lanes=2,
        )
    )  # fmt: skip
    y, steps = many(LBFGS, data)
    for i in range(3):
        alone = solve(LBFGS, y0=(0.3, 0.3), data=data[i])
        np.testing.assert_allclose(y[i], alone.y, rtol=1e-6)
        assert abs(int(steps[i]) - int(alone.num_steps)) <= 2


def test_single_precision_stays_single():
    data = DATA.astype(jnp.float32)
    for solver in (DECAYING, LBFGS):
        found = solve(solver, y0=np.asarray([0.5, 0.1], np.float32), data=data)
        assert found.y.dtype == jnp.float32
        assert float(found.gradient) < 1e-2


class Line(jc.AbstractVolModel):
    """A level, and a slope that positive log-strikes see."""

    level: Float[Array, "..."] | float
    slope: Float[Array, "..."] | float
    bounds = {"level": jc.Interval(0.01, 3.0, "log"), "slope": jc.Interval(-1.0, 1.0, "linear")}  # noqa: RUF012

    def vol(self, strike, expiry, forward):
        return self.level + self.slope * jnp.log(strike / forward) + 0.0 * expiry


@pytest.mark.parametrize("solver", [ADAM, LBFGS], ids=["adam", "lbfgs"])
def test_a_calibration(solver):
    vols = [[0.21, 0.2, 0.2], [0.2, 0.2, 0.19]]
    surface = jc.Surface.from_vols([0.5, 1.0], [90.0, 100.0, 110.0], vols, forward=100.0)
    expected, fit = jc.calibrate(Line, surface), jc.calibrate(Line, surface, solver=solver)
    assert fit.converged, fit.status
    np.testing.assert_allclose(float(fit.model.level), float(expected.model.level), rtol=1e-5)
    np.testing.assert_allclose(float(fit.model.slope), float(expected.model.slope), rtol=1e-3)


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"optimiser": optax.adam(0.1), "share": 0.0}, "the share of the residuals"),
        ({"optimiser": optax.adam(0.1), "share": 1.5}, "the share of the residuals"),
        ({"optimiser": optax.adam(0.1), "learning_rate": 0.1}, "has its own learning rate"),
        ({"optimiser": optax.adam}, "needs a learning rate"),
        ({"optimiser": "adam", "learning_rate": 0.1}, "not str"),
    ],
)
def test_bad_input_is_a_sentence(settings, sentence):
    with pytest.raises(ValueError, match=sentence):
        jc.Optax(**settings)
