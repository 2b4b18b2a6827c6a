"""least_squares with LevenbergMarquardt on problems with known answers, in and out of boxes."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.optimize
from hypothesis import given, settings
from hypothesis import strategies as st

import jaxcal as jc
from jaxcal.solvers.least_squares import in_box

LM = jc.LevenbergMarquardt()


def rosenbrock(y, _):
    return jnp.stack([10.0 * (y[1] - y[0] ** 2), 1.0 - y[0]])


def powell(y, _):
    """Powell's singular function: the Jacobian loses half its rank at the answer."""
    a, b, c, d = y
    return jnp.stack([a + 10 * b, 5**0.5 * (c - d), (b - 2 * c) ** 2, 10**0.5 * (a - d) ** 2])


def linear(y, args):
    matrix, right = args
    return matrix @ y - right


@pytest.fixture(scope="module")
def system():
    random = np.random.default_rng(0)
    return jnp.asarray(random.standard_normal((12, 4))), jnp.asarray(random.standard_normal(12))


def outcome(solution):
    return jc.Outcome(int(solution.outcome))


@pytest.mark.parametrize("start", [(-1.2, 1.0), (3.0, -5.0), (0.0, 0.0), (1.0, 1.0)])
def test_rosenbrock(start):
    solution = solve_rosenbrock(jnp.asarray(start))
    assert outcome(solution) == jc.Outcome.CONVERGED
    np.testing.assert_allclose(np.asarray(solution.y), 1.0, atol=1e-8)
    assert float(solution.cost) < 1e-16


solve_rosenbrock = jax.jit(lambda y, solver=LM: jc.least_squares(rosenbrock, solver, y))


def test_powell_singular():
    """Converges only linearly here, to a point where the residual is nearly zero."""
    solution = jc.least_squares(powell, LM, jnp.asarray([3.0, -1.0, 0.0, 1.0]))
    assert outcome(solution) == jc.Outcome.CONVERGED
    np.testing.assert_allclose(np.asarray(solution.y), 0.0, atol=1e-3)
    assert float(solution.cost) < 1e-12


def test_linear_problem_takes_a_step_or_two(system):
    exact = np.linalg.lstsq(*map(np.asarray, system), rcond=None)[0]
    solver = jc.LevenbergMarquardt(damping=1e-9)
    solution = solve_linear(solver, jnp.full(4, 5.0), system)
    assert outcome(solution) == jc.Outcome.CONVERGED
    assert int(solution.num_steps) <= 2
    np.testing.assert_allclose(np.asarray(solution.y), exact, atol=1e-7)
    assert float(solution.gradient) < 1e-7


def test_solution_holds_what_belongs_together(system):
    solution = solve_linear(LM, jnp.zeros(4), system)
    np.testing.assert_allclose(np.asarray(solution.residual), np.asarray(linear(solution.y, system)), atol=1e-15)
    np.testing.assert_allclose(np.asarray(solution.jacobian), np.asarray(system[0]), atol=1e-15)
    assert float(solution.cost) == pytest.approx(0.5 * float(jnp.sum(solution.residual**2)), rel=1e-14)
    assert not np.asarray(solution.at_bound).any()


solve_linear = jax.jit(lambda solver, y, system: jc.least_squares(linear, solver, y, system))


@pytest.mark.parametrize("size", [1, 10, 11, *(pytest.param(size, marks=pytest.mark.slow) for size in (5, 14))])
def test_any_number_of_parameters(size):
    """More than ten go through the library's Cholesky."""
    random = np.random.default_rng(size)
    matrix, truth = random.standard_normal((2 * size + 3, size)), random.standard_normal(size)

    def curved(y, matrix):
        return matrix @ (y + 0.1 * jnp.sin(y)) - matrix @ jnp.asarray(truth + 0.1 * np.sin(truth))

    solution = jc.least_squares(curved, LM, jnp.zeros(size), jnp.asarray(matrix))
    assert outcome(solution) == jc.Outcome.CONVERGED
    np.testing.assert_allclose(np.asarray(solution.y), truth, atol=1e-7)


def test_rank_deficient_jacobian():
    """y0 + y1 is determined, their difference is not; a third parameter does nothing."""
    solution = jc.least_squares(
        lambda y, _: jnp.stack([y[0] + y[1] - 3.0, 2.0 * (y[0] + y[1]) - 6.0, 0.0 * y[2]]),
        LM,
        jnp.asarray([5.0, 1.0, 7.0]),
    )
    assert outcome(solution) == jc.Outcome.CONVERGED
    assert float(solution.y[0] + solution.y[1]) == pytest.approx(3.0, abs=1e-8)
    assert float(solution.y[2]) == 7.0
    assert np.isfinite(np.asarray(solution.y)).all()


def test_more_parameters_than_residuals():
    solution = jc.least_squares(lambda y, _: jnp.stack([jnp.sum(y**2) - 1.0]), LM, jnp.asarray([3.0, 1.0, -2.0]))
    assert outcome(solution) == jc.Outcome.CONVERGED
    assert float(jnp.sum(solution.y**2)) == pytest.approx(1.0, abs=1e-8)


BOXES = {
    "answer outside": ([-2.0, -2.0], [0.5, 2.0], [-1.2, 1.0]),
    "answer at a corner": ([-2.0, -2.0], [0.5, 0.1], [-1.2, -1.0]),
    "answer inside": ([0.0, 0.0], [3.0, 3.0], [2.5, 0.5]),
    "start outside": ([-1.0, -1.0], [0.8, 3.0], [10.0, -10.0]),
    "one point free": ([0.3, -5.0], [0.3 + 1e-12, 5.0], [0.3, 1.0]),
}


@pytest.mark.parametrize("name", BOXES)
def test_box(name):
    lower, upper, start = (jnp.asarray(x) for x in BOXES[name])
    solution = solve_in_box(start, lower, upper)
    assert outcome(solution) == jc.Outcome.CONVERGED
    assert (np.asarray(solution.y) >= np.asarray(lower)).all()
    assert (np.asarray(solution.y) <= np.asarray(upper)).all()
    theirs = scipy.optimize.least_squares(
        lambda y: np.asarray(rosenbrock(y, None)), np.clip(start, lower + 1e-13, upper - 1e-13),
        bounds=(lower, upper), xtol=1e-14, ftol=1e-14, gtol=1e-14,
    )  # fmt: skip
    assert float(solution.cost) <= theirs.cost * (1 + 1e-9) + 1e-15
    np.testing.assert_allclose(np.asarray(solution.y), theirs.x, atol=2e-6)
    at_bound = (np.asarray(solution.y) == lower) | (np.asarray(solution.y) == upper)
    np.testing.assert_array_equal(np.asarray(solution.at_bound), at_bound)


solve_in_box = jax.jit(lambda y, lower, upper: jc.least_squares(rosenbrock, LM, y, lower=lower, upper=upper))


def test_numbers_as_bounds():
    solution = jc.least_squares(rosenbrock, LM, jnp.asarray([-1.2, 1.0]), lower=-2.0, upper=0.9)
    np.testing.assert_allclose(np.asarray(solution.y), [0.9, 0.81], atol=1e-7)
    np.testing.assert_array_equal(np.asarray(solution.at_bound), [True, False])


def test_start_that_is_not_finite():
    solution = solve_rosenbrock(jnp.asarray([jnp.nan, 1.0]))
    assert outcome(solution) == jc.Outcome.NOT_FINITE
    solution = jc.least_squares(lambda y, _: jnp.log(y), LM, jnp.asarray([-1.0]))
    assert outcome(solution) == jc.Outcome.NOT_FINITE


def test_a_trial_that_is_not_finite_is_only_a_bad_step():
    """The full step from 5 lands where the logarithm does not exist."""
    solution = jc.least_squares(lambda y, _: jnp.log(y) - jnp.log(0.1), jc.LevenbergMarquardt(), jnp.asarray([5.0]))
    assert outcome(solution) == jc.Outcome.CONVERGED
    assert float(solution.y[0]) == pytest.approx(0.1, rel=1e-8)


@pytest.mark.parametrize("steps", [0, 1, 3])
def test_step_limit(steps):
    solution = solve_rosenbrock(jnp.asarray([-1.2, 1.0]), jc.LevenbergMarquardt(max_steps=steps))
    assert outcome(solution) == jc.Outcome.STEP_LIMIT
    assert int(solution.num_steps) == steps
    assert float(solution.cost) <= 12.1 + 1e-12  # never worse than the start


def test_start_at_the_answer_needs_no_step():
    solution = solve_rosenbrock(jnp.asarray([1.0, 1.0]))
    assert int(solution.num_steps) == 0
    assert float(solution.cost) == 0.0


def test_tolerances_are_numbers_not_programs():
    traces = []

    def counted(y, _):
        traces.append(1)
        return rosenbrock(y, None)

    solve = jax.jit(lambda solver, y: jc.least_squares(counted, solver, y))
    start = jnp.asarray([-1.2, 1.0])
    tight = solve(jc.LevenbergMarquardt(), start)
    before = len(traces)
    assert before > 0
    loose = solve(jc.LevenbergMarquardt(xtol=1e-1, ftol=1e-1, gtol=1e-1, atol=0.5), start)
    stopped = solve(jc.LevenbergMarquardt(max_steps=2, damping=10.0, atol=1e-3), start)
    assert len(traces) == before
    assert int(stopped.num_steps) == 2
    assert int(loose.num_steps) < int(tight.num_steps)


def test_vmap_is_the_loop():
    starts = jnp.asarray([[-1.2, 1.0], [3.0, -5.0], [0.0, 0.0], [jnp.nan, 0.0], [1.0, 1.0]])
    together = jax.jit(jax.vmap(lambda y: jc.least_squares(rosenbrock, LM, y)))(starts)
    for i, start in enumerate(starts):
        alone = solve_rosenbrock(start)
        assert int(together.outcome[i]) == int(alone.outcome)
        assert int(together.num_steps[i]) == int(alone.num_steps)
        np.testing.assert_allclose(np.asarray(together.y[i]), np.asarray(alone.y), rtol=1e-9, atol=1e-12)


def test_float32():
    solution = jc.least_squares(rosenbrock, LM, jnp.asarray([-1.2, 1.0], jnp.float32), lower=-5.0, upper=5.0)
    for leaf in (solution.y, solution.residual, solution.jacobian, solution.cost, solution.gradient):
        assert leaf.dtype == jnp.float32
    np.testing.assert_allclose(np.asarray(solution.y), 1.0, atol=1e-3)
    assert outcome(solution) == jc.Outcome.CONVERGED


def test_float32_with_a_misfit_converges(system):
    narrow = tuple(x.astype(jnp.float32) for x in system)
    solution = solve_linear(LM, jnp.zeros(4, jnp.float32), narrow)
    assert outcome(solution) == jc.Outcome.CONVERGED
    exact = np.linalg.lstsq(*map(np.asarray, system), rcond=None)[0]
    np.testing.assert_allclose(np.asarray(solution.y), exact, atol=1e-4)


def _curved(y, args):
    """Eight residuals of three parameters: a matrix times a mild or strong bend."""
    matrix, right, bend = args
    return matrix @ (y + bend * jnp.stack([y[0] * y[1], jnp.sin(y[2]), y[1] ** 2])) - right


solve_curved = jax.jit(lambda y, args: jc.least_squares(_curved, LM, y, args, lower=-4.0, upper=4.0))


def _problem(seed, bend, noise):
    random = np.random.default_rng(seed)
    matrix, truth = random.standard_normal((8, 3)), random.standard_normal(3)
    args = (jnp.asarray(matrix), jnp.zeros(8), jnp.asarray(bend))
    right = _curved(jnp.asarray(truth), args) + noise * jnp.asarray(random.standard_normal(8))
    return jnp.asarray(3.0 * random.standard_normal(3)), (args[0], right, args[2]), random


@settings(max_examples=150)
@given(st.integers(0, 2**32 - 1), st.floats(0.0, 1.5), st.floats(0.0, 3.0))
def test_converged_means_a_small_gradient(seed, bend, noise):
    """And no point nearby within the box is better. What is not converged has a gradient left."""
    start, args, random = _problem(seed, bend, noise)
    solution = solve_curved(start, args)
    if outcome(solution) != jc.Outcome.CONVERGED:
        assert outcome(solution) in (jc.Outcome.STEP_LIMIT, jc.Outcome.STALLED)
        assert float(solution.gradient) > LM.gtol
        return
    residual, jacobian, y = (np.asarray(x) for x in (solution.residual, solution.jacobian, solution.y))
    gradient = residual @ jacobian
    held = ((y <= -4.0) & (gradient > 0)) | ((y >= 4.0) & (gradient < 0))
    norms = np.linalg.norm(jacobian, axis=0) * np.linalg.norm(residual)
    if np.linalg.norm(residual) > 1e-9:
        assert (np.abs(gradient)[~held] <= 1e-5 * norms[~held]).all()
    for step in 1e-4 * random.standard_normal((10, 3)):
        near = jnp.clip(jnp.asarray(y + step), -4.0, 4.0)
        cost = 0.5 * float(jnp.sum(_curved(near, args) ** 2))
        assert cost >= float(solution.cost) * (1 - 1e-8) - 1e-15


def test_nearly_all_small_problems_converge():
    random = np.random.default_rng(4)
    outcomes = [
        outcome(solve_curved(*_problem(int(seed), random.uniform(0, 1.5), random.uniform(0, 3))[:2]))
        for seed in range(300)
    ]
    assert outcomes.count(jc.Outcome.CONVERGED) >= 297


def test_a_step_that_ends_a_rounding_beside_a_bound_is_at_it():
    inf = jnp.inf
    y = jnp.asarray([1.0 - 4e-15, 1e-15, 0.5, inf, -inf, 3.0, 1e300])
    lower, upper = jnp.asarray([0.0, 0.0, 0.0, -1.0, -inf, 5.0, -inf]), jnp.asarray([1.0, 1.0, 1.0, 1.0, 0.0, 5.0, inf])
    assert in_box(y, lower, upper).tolist() == [1.0, 0.0, 0.5, 1.0, -inf, 5.0, 1e300]
    assert jnp.isnan(in_box(jnp.asarray([jnp.nan]), lower[:1], upper[:1])).all()
