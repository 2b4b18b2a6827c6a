"""Differential evolution: finds what local methods miss, stays in its box, and survives costs that are not numbers."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcal.solvers.differential_evolution import differential_evolution
from jaxcal.solvers.sobol import sobol_points

LOWER, UPPER = jnp.full(3, -5.0), jnp.asarray([4.0, 4.0, 0.5])
Y0 = jnp.asarray(np.asarray(LOWER) + sobol_points(64, 3, seed=3) * np.asarray(UPPER - LOWER))


def rastrigin(y):
    """Eleven minima a coordinate; the best at 0, inside the box."""
    return jnp.sum(y**2 + 10.0 * (1.0 - jnp.cos(2.0 * jnp.pi * y)), axis=1)


def holed(y):
    """The same with no number in half of the box."""
    return jnp.where(y[:, 0] > 0.5, jnp.nan, rastrigin(y))


def beyond(y):
    """Falls towards a point outside the box."""
    return jnp.sum((y - jnp.asarray([6.0, 0.0, 3.0])[None]) ** 2, axis=1)


@pytest.fixture(scope="module")
def evolve():
    def run(fn, generations=150, seed=0):
        return jax.jit(lambda n, s: differential_evolution(fn, Y0, LOWER, UPPER, generations=n, seed=s))(
            generations, seed
        )

    return run


@pytest.mark.parametrize("fn", [rastrigin, holed])
def test_finds_the_best_of_many_minima(evolve, fn) -> None:
    last = evolve(fn)
    assert float(jnp.min(last.cost)) < 1e-8
    np.testing.assert_allclose(last.y[jnp.argmin(last.cost)], 0.0, atol=1e-4)


def test_stays_in_the_box_and_reaches_its_corner(evolve) -> None:
    last = evolve(beyond)
    assert bool(jnp.all((last.y >= LOWER[None]) & (last.y <= UPPER[None])))
    np.testing.assert_allclose(last.y[jnp.argmin(last.cost)], [4.0, 0.0, 0.5], atol=1e-3)


def test_costs_are_those_of_the_points_and_never_rise(evolve) -> None:
    first, later = evolve(rastrigin, generations=0), evolve(rastrigin, generations=10)
    np.testing.assert_array_equal(first.y, Y0)
    for last in (first, later):
        np.testing.assert_allclose(last.cost, rastrigin(last.y), rtol=1e-12)
    assert bool(jnp.all(later.cost <= first.cost))


def test_the_seed_decides(evolve) -> None:
    a, b, c = (evolve(rastrigin, 5, seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(a.y, b.y)
    assert not np.array_equal(a.y, c.y)


def test_too_few_members() -> None:
    with pytest.raises(ValueError, match="at least 4"):
        differential_evolution(rastrigin, Y0[:3], LOWER, UPPER, generations=1)
