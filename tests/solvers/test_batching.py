"""Many problems over a few lanes end where each would end by itself."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxcal as jc
from jaxcal.solvers.batching import least_squares_many

RNG = np.random.default_rng(4)
SIZE = 37
TARGETS = RNG.uniform(0.5, 3.0, (SIZE, 2))
LOWER, UPPER = jnp.full((SIZE, 2), -10.0), jnp.full((SIZE, 2), 10.0)


def residuals(y, target):
    """Rosenbrock's valley towards a target: some starts take a few steps, some dozens."""
    return jnp.stack([10.0 * (y[1] - y[0] ** 2 - target[1] + target[0] ** 2), y[0] - target[0]])


def kept(solution, target):
    return solution.y, solution.cost, solution.num_steps, solution.outcome, target


def many(lanes, refill=1, count=SIZE, targets=TARGETS):
    run = jax.jit(
        lambda targets, count: least_squares_many(
            residuals, jc.LevenbergMarquardt(), jnp.full((SIZE, 2), -1.2), targets, build=lambda t: t, keep=kept,
            lower=LOWER, upper=UPPER, max_step=jnp.inf, count=count, lanes=lanes, refill=refill,
        )
    )  # fmt: skip
    return [np.asarray(x) for x in run(jnp.asarray(targets), count)]


@pytest.fixture(scope="module")
def one_by_one():
    solve = jax.jit(
        lambda t: jc.least_squares(
            residuals, jc.LevenbergMarquardt(), jnp.full(2, -1.2), t, lower=LOWER[0], upper=UPPER[0]
        )
    )
    return [solve(jnp.asarray(t)) for t in TARGETS]


@pytest.mark.parametrize(("lanes", "refill"), [(1, 1), (4, 1), (8, 3), (64, 64)])
def test_every_problem_ends_as_by_itself(one_by_one, lanes, refill):
    y, cost, steps, outcome, target = many(lanes, refill)
    np.testing.assert_array_equal(target, TARGETS)
    np.testing.assert_array_equal(steps, [int(s.num_steps) for s in one_by_one])
    np.testing.assert_array_equal(outcome, [int(s.outcome) for s in one_by_one])
    np.testing.assert_allclose(y, [np.asarray(s.y) for s in one_by_one], rtol=1e-12)
    np.testing.assert_allclose(cost, [float(s.cost) for s in one_by_one], rtol=1e-10, atol=1e-25)
    assert steps.max() > 2 * steps.min()  # else nothing was waited for


def test_padding_is_not_computed():
    y, _, steps, _, _ = many(4, count=5)
    assert (steps[:5] > 0).all()
    assert (y[5:] == 0).all()
    assert (steps[5:] == 0).all()


def test_nothing_to_do():
    assert (many(4, count=0)[0] == 0).all()


def test_a_problem_that_is_not_a_number_changes_no_other():
    bad = TARGETS.copy()
    bad[11] = np.nan
    whole, spoilt = many(8, 2), many(8, 2, targets=bad)
    others = np.arange(SIZE) != 11
    for a, b in zip(whole, spoilt, strict=True):
        np.testing.assert_array_equal(a[others], b[others])
    assert spoilt[3][11] == jc.Outcome.NOT_FINITE
